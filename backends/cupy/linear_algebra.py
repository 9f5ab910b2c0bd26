"""Linear algebra by cuSOLVER and cuBLAS, through CuPy, on stacks of matrices as NumPy has it.

Nothing waits for the GPU. So a matrix that NumPy refuses is not noticed: there NaN or infinities result.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from graphc.backends.cupy.library import cupy

Array = Any  # a cupy.ndarray


def _together(a: Array, b: Array) -> tuple[Array, Array]:
    """Matrices and right-hand sides in stacks of the same shape."""
    cp = cupy()
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return cp.broadcast_to(a, (*lead, *a.shape[-2:])), cp.broadcast_to(b, (*lead, *b.shape[-2:]))


def solve(a: Array, b: Array) -> Array:
    """The solutions x of a x = b, where stacks broadcast."""
    matrices, sides = _together(a, b)
    return cupy().linalg.solve(matrices, sides) if sides.size else cupy().empty(sides.shape, sides.dtype)


def solve_triangular(a: Array, b: Array, lower: bool, unit: bool) -> Array:
    """The solutions x of a x = b, where one triangle of a counts, and its diagonal is taken as 1 if `unit`."""
    matrices, sides = _together(a, b)
    if not sides.size:
        return cupy().empty(sides.shape, sides.dtype)
    substitute = import_module("cupyx.scipy.linalg").solve_triangular
    return substitute(matrices, sides, lower=lower, unit_diagonal=unit)


def inv(a: Array) -> Array:
    """The inverses of square matrices, by solving: of singular ones cuBLAS's own function promises nothing."""
    return solve(a, cupy().eye(a.shape[-1], dtype=a.dtype))


def pinv(a: Array, rcond: float) -> Array:
    """Moore-Penrose inverses; singular values up to `rcond` times the largest count as 0."""
    cp = cupy()
    if not a.size:
        return cp.empty((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
    u, s, v = _svd(a)
    inverse = cp.where(s <= rcond * s.max(axis=-1, keepdims=True), s.dtype.type(0), 1 / s)
    return cp.matmul(cp.swapaxes(v, -1, -2), inverse[..., None] * cp.swapaxes(u, -1, -2))


def det(a: Array) -> Array:
    """The determinants of square matrices."""
    return cupy().linalg.det(a)


def det_sign(a: Array) -> Array:
    """The signs of determinants: 1, 0 or -1."""
    return cupy().linalg.slogdet(a)[0].astype(np.int64)


def log_abs_det(a: Array) -> Array:
    """The logarithms of the sizes of determinants."""
    return cupy().linalg.slogdet(a)[1]


def cofactor(a: Array) -> Array:
    """The cofactors of square matrices, by the formula of `graphc.ops.lapack` that serves singular ones too."""
    cp = cupy()
    size = a.shape[-1]
    if not a.size or size == 1:
        return cp.ones(a.shape, a.dtype)
    if size == 2:
        turned = a[..., ::-1, ::-1]
        return cp.where(cp.eye(2, dtype=bool), turned, -turned)
    u, s, v = _svd(a)
    others = cp.where(cp.eye(size, dtype=bool), s.dtype.type(1), s[..., None, :]).prod(axis=-1)
    turn = (cp.linalg.slogdet(u)[0] * cp.linalg.slogdet(v)[0])[..., None, None]
    return turn * cp.matmul(u * others[..., None, :], v)


def cholesky(a: Array) -> Array:
    """The lower triangular l with l l.T = a of positive definite matrices, of which the lower triangle is read.

    Of other matrices cuSOLVER leaves what it had so far, and CuPy does not say so: then a pivot is not above 0, or the
    squares along some row of l do not add up to the element of a on the diagonal. That is NaN here.
    """
    cp = cupy()
    root = cp.linalg.cholesky(a)
    if not a.size:
        return root
    pivots, wanted = (cp.diagonal(x, axis1=-2, axis2=-1) for x in (root, a))
    # more than rounding makes, by N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2002, theorem 10.3
    limits = np.finfo(a.dtype)
    size = a.shape[-1]
    error = 4 * (size + 1) * float(limits.eps) * wanted + size * float(limits.tiny)
    sound = (pivots > 0) & (cp.abs((root * root).sum(axis=-1) - wanted) <= error)
    return cp.where(sound.all(axis=-1)[..., None, None], root, root.dtype.type(np.nan))


def eigvalsh(a: Array, lower: bool) -> Array:
    """The eigenvalues of symmetric matrices, of which one triangle is read, in ascending order."""
    if not a.size:
        return cupy().empty(a.shape[:-1], a.dtype)
    plain, usable, nothing = _plain(_symmetric(a, lower))
    return cupy().where(usable[..., 0], cupy().linalg.eigvalsh(plain), nothing[..., 0])


def eigh_vectors(a: Array, lower: bool) -> Array:
    """Orthonormal eigenvectors, as columns in the order of `eigvalsh`."""
    if not a.size:
        return cupy().empty(a.shape, a.dtype)
    plain, _, nothing = _plain(_symmetric(a, lower))
    return cupy().linalg.eigh(plain)[1] + nothing


def _symmetric(a: Array, lower: bool) -> Array:
    """The symmetric matrices that one triangle gives."""
    cp = cupy()
    below = cp.tri(a.shape[-1], dtype=bool)
    return cp.where(below if lower else below.T, a, cp.swapaxes(a, -1, -2))


def svdvals(a: Array) -> Array:
    """Singular values in descending order."""
    if not a.size:
        return cupy().empty((*a.shape[:-2], min(a.shape[-2:])), a.dtype)
    plain, usable, nothing = _plain(a)
    return cupy().where(usable[..., 0], cupy().linalg.svd(plain, compute_uv=False), nothing[..., 0])


def svd_vectors(a: Array) -> Array:
    """Left singular vectors above right ones, as columns in the order of `svdvals`."""
    cp = cupy()
    if not a.size:
        return cp.empty((*a.shape[:-2], sum(a.shape[-2:]), min(a.shape[-2:])), a.dtype)
    u, _, v = _svd(a)
    return cp.concatenate((u, cp.swapaxes(v, -1, -2)), axis=-2)


def _svd(a: Array) -> tuple[Array, Array, Array]:
    """Left singular vectors as columns, singular values, right singular vectors as rows."""
    cp = cupy()
    plain, usable, nothing = _plain(a)
    u, s, v = cp.linalg.svd(plain, full_matrices=False)
    return u + nothing, cp.where(usable[..., 0], s, nothing[..., 0]), v + nothing


def _plain(a: Array) -> tuple[Array, Array, Array]:
    """Matrices to iterate on, of which cuSOLVER makes neither NaN, as of zeros alone, nor numbers of NaN, nor an error.

    In the place of zeros, and of what is not finite, there are ones on the diagonal. Then, which matrices are used as
    they are; and 0, or NaN for those that are not finite, to take for values or to add to vectors.
    """
    cp = cupy()
    largest = cp.abs(a).max(axis=(-2, -1), keepdims=True)
    usable = (largest > 0) & (largest < np.inf)
    return cp.where(usable, a, cp.eye(*a.shape[-2:], dtype=a.dtype)), usable, largest * 0


def qr_q(a: Array) -> Array:
    """The orthonormal columns q of a = q r."""
    return cupy().linalg.qr(a)[0]


def qr_r(a: Array) -> Array:
    """The upper triangular r of a = q r."""
    return cupy().linalg.qr(a, mode="r")
