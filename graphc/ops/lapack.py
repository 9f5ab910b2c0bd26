"""NumPy meanings of the ops of linear algebra that NumPy has no function for, on stacks of matrices."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np

from graphc.ops.scipy_modules import alone

Array = np.ndarray[Any, Any]

WELL: Final = 0.5  # the power of 1/eps up to which a condition number lets an inverse give the cofactors


@lru_cache(maxsize=16)
def routine(name: str, kind: str) -> Any:
    """One of LAPACK's routines, as SciPy shows them, for a dtype by its letter."""
    return getattr(alone("scipy.linalg._flapack"), {"f": "s", "d": "d"}[kind] + name)


def cofactor(a: Array) -> Array:
    """The cofactors of square matrices: their determinants' derivatives, of singular matrices too.

    A well-conditioned matrix has det(a) inv(a).T, any other the formula by singular values, of which none divides:
    with a = u diag(s) v, the cofactors are det(u) det(v) u diag(p) v, where p_i is the product of all s_j but s_i.
    """
    if not a.size:
        return np.zeros(a.shape, a.dtype)
    size = a.shape[-1]
    result = np.empty(a.shape, a.dtype)
    for i in np.ndindex(a.shape[:-2]):
        result[i] = _cofactor(a[i], size)
    return result


def _cofactor(a: Array, size: int) -> Array:
    if size == 1:
        return np.ones_like(a)
    if size == 2:
        return np.array([[a[1, 1], -a[1, 0]], [-a[0, 1], a[0, 0]]], a.dtype)
    if not np.isfinite(a).all():
        return np.full_like(a, np.nan)
    with np.errstate(all="ignore"):
        try:
            inverse, det = np.linalg.inv(a), np.linalg.det(a)
        except np.linalg.LinAlgError:
            pass
        else:
            limit = np.finfo(a.dtype).eps ** -WELL
            if abs(det) > np.finfo(a.dtype).tiny and _norm(a) * _norm(inverse) < limit:
                return np.asarray(det * inverse.T)
    u, s, v = np.linalg.svd(a)
    others = np.where(np.eye(size, dtype=bool), 1, s).prod(-1)
    turn = np.rint(np.linalg.det(u) * np.linalg.det(v)).astype(a.dtype)
    return np.asarray(turn * ((u * others) @ v))


def _norm(a: Array) -> Any:
    """The largest sum of sizes along a column."""
    return np.abs(a).sum(-2).max(-1)


def solve_triangular(a: Array, b: Array, lower: bool, unit: bool) -> Array:
    """The solutions x of a x = b, where one triangle of a counts, and its diagonal is taken as 1 if `unit`."""
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:])
    result = np.empty(shape, a.dtype)
    if not result.size:
        return result
    trtrs = routine("trtrs", a.dtype.char)
    matrices = np.broadcast_to(a, (*shape[:-2], *a.shape[-2:]))
    sides = np.broadcast_to(b, shape)
    for i in np.ndindex(shape[:-2]):
        # the transpose of a matrix in rows lies in columns, as LAPACK wants it, and needs no copy
        x, info = trtrs(matrices[i].T, sides[i], lower=not lower, trans=1, unitdiag=unit)
        if info > 0:
            raise np.linalg.LinAlgError("Singular matrix")
        result[i] = x
    return result


def eigh_vectors(a: Array, lower: bool) -> Array:
    """Orthonormal eigenvectors of symmetric matrices, as columns, in the ascending order of their eigenvalues."""
    vectors: Array = np.linalg.eigh(a, UPLO="L" if lower else "U")[1]
    return vectors


def svd_vectors(a: Array) -> Array:
    """Left singular vectors above right ones, as columns, in the descending order of singular values."""
    return stacked_vectors(*np.linalg.svd(a, full_matrices=False))


def stacked_vectors(u: Array, s: Array, v: Array) -> Array:
    """Left singular vectors, which are columns, above right ones, which are rows."""
    return np.concatenate((u, np.swapaxes(v, -1, -2)), axis=-2)
