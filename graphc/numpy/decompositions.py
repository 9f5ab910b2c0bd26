"""Factorisations: Cholesky's, eigenvalues of symmetric matrices, singular values, QR.

Derivatives of eigenvectors and singular vectors are not finite where eigenvalues, or singular values, are equal.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import UnsupportedError
from graphc.numpy.dispatch import traceable
from graphc.numpy.elementwise import absolute
from graphc.numpy.equations import floats, result_class
from graphc.numpy.masking import take_along_axis
from graphc.numpy.shaping import expand_dims, swapaxes
from graphc.numpy.sorting import argsort
from graphc.numpy.ufuncs import copysign


@traceable(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """The triangular matrix l with l l.T = a (u.T u = a, if upper) of a positive definite matrix.

    Of a, the triangle that the result has is read, and the derivative is by that triangle.
    """
    (x,) = floats(a)
    if not upper:
        return x.world.cholesky(x)
    return swapaxes(x.world.cholesky(swapaxes(x, -1, -2)), -1, -2)


def _lower(UPLO: Any) -> bool:
    triangle = UPLO.upper()
    if triangle not in ("L", "U"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    return bool(triangle == "L")


@traceable(np.linalg.eigh)
def eigh(a: Any, UPLO: Any = "L") -> Any:
    """The eigenvalues, in ascending order, and orthonormal eigenvectors, as columns, of a symmetric matrix.

    The derivative is by the triangle that is read.
    """
    (x,) = floats(a)
    lower = _lower(UPLO)
    return result_class(np.linalg.eigh)(x.world.eigvalsh(x, lower=lower), x.world.eigh_vectors(x, lower=lower))


@traceable(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: Any = "L") -> Any:
    """The eigenvalues of a symmetric matrix in ascending order.

    The derivative is by the triangle that is read.
    """
    (x,) = floats(a)
    return x.world.eigvalsh(x, lower=_lower(UPLO))


def _square(x: Any, columns_too: bool = False) -> bool:
    """Whether matrices are known to be square (or to have more columns than rows, where that does as well)."""
    return bool(x.world.facts.known("<=" if columns_too else "==", *x.type.shape[-2:]))


@traceable(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """Left singular vectors as columns, singular values in descending order, right singular vectors as rows.

    All vectors of matrices that are not square, NumPy's default, are refused: those for no singular value are not
    determined, so that they have no derivative; full_matrices=False gives the others.
    """
    (x,) = floats(a)
    world = x.world
    if hermitian:
        values = eigvalsh(x)
        order = argsort(absolute(values))[..., ::-1]
        sizes = take_along_axis(absolute(values), order, axis=-1)
        if not compute_uv:
            return sizes
        vectors = take_along_axis(world.eigh_vectors(x, lower=True), expand_dims(order, -2), axis=-1)
        # an eigenvalue 0 has a vector too
        signs = expand_dims(take_along_axis(copysign(1.0, values), order, axis=-1), -2)
        return result_class(np.linalg.svd)(vectors, sizes, swapaxes(vectors * signs, -1, -2))
    if not compute_uv:
        return world.svdvals(x)
    if full_matrices and not _square(x):
        raise UnsupportedError(
            "svd: singular vectors that belong to no singular value cannot be traced",
            expected="full_matrices=False, or square matrices",
            actual=f"full_matrices=True of {x.type!r}",
            fix="np.linalg.svd(x, full_matrices=False)",
        )
    rows = x.type.shape[-2]
    vectors = world.svd_vectors(x)
    left, right = vectors[..., :rows, :], swapaxes(vectors[..., rows:, :], -1, -2)
    return result_class(np.linalg.svd)(left, world.svdvals(x), right)


@traceable(np.linalg.svdvals)
def svdvals(x: Any, /) -> Any:
    """The singular values of a matrix in descending order."""
    (a,) = floats(x)
    return a.world.svdvals(a)


@traceable(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    """Orthonormal columns q and the upper triangular r with q r = a.

    The mode 'raw' is refused, and 'complete' of matrices with more rows than columns: their further columns are not
    determined, so that they have no derivative.
    """
    (x,) = floats(a)
    mode = {"f": "reduced", "full": "reduced"}.get(mode, mode)  # names of long ago
    if mode not in ("reduced", "complete", "r", "raw"):
        raise ValueError(f"Unrecognized mode '{mode}'")
    if mode == "raw" or (mode == "complete" and not _square(x, columns_too=True)):
        raise UnsupportedError(
            f"qr: mode={mode!r} cannot be traced"
            + (" where there are more rows than columns" if mode != "raw" else ""),
            expected="'reduced' or 'r'",
            actual=f"mode={mode!r} of {x.type!r}",
            fix="np.linalg.qr(x)",
        )
    r = x.world.qr_r(x)
    return r if mode == "r" else result_class(np.linalg.qr)(x.world.qr_q(x), r)
