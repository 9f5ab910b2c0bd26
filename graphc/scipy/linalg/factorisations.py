"""Factorisations: Cholesky's, eigenvalues of symmetric matrices, singular values, QR."""

from __future__ import annotations

from typing import Any

import scipy.linalg

from graphc.errors import UnsupportedError
from graphc.ir import TensorType
from graphc.numpy.decompositions import cholesky as numpy_cholesky
from graphc.numpy.decompositions import qr as numpy_qr
from graphc.numpy.decompositions import svd as numpy_svd
from graphc.numpy.diagonals import tril, triu
from graphc.numpy.dispatch import traceable
from graphc.numpy.equations import floats
from graphc.numpy.shaping import concatenate

__all__ = ["cho_factor", "cholesky", "eigh", "eigvalsh", "qr", "svd", "svdvals"]


@traceable(scipy.linalg.cholesky)
def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The triangular factor u with u.T u = a (l with l l.T = a, if lower), by the same triangle of a."""
    return numpy_cholesky(a, upper=not lower)


@traceable(scipy.linalg.cho_factor)
def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Cholesky's factor for `cho_solve`, and whether it is the lower one; the other triangle holds what a has there."""
    (x,) = floats(a)
    factor = numpy_cholesky(x, upper=not lower)
    return factor + (triu(x, 1) if lower else tril(x, -1)), bool(lower)


def _refuse(function: str, **given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise UnsupportedError(
                f"{function}: the argument {name}= cannot be traced",
                expected=f"{function} without {name}=",
                actual=f"{name}={value!r}"[:60],
                fix="leave it out",
            )


@traceable(scipy.linalg.eigh)
def eigh(
    a: Any,
    b: Any = None,
    *,
    lower: bool = True,
    eigvals_only: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    type: int = 1,
    check_finite: bool = True,
    subset_by_index: Any = None,
    subset_by_value: Any = None,
    driver: Any = None,
) -> Any:
    """The eigenvalues, in ascending order, and eigenvectors, as columns, of a symmetric matrix by one triangle of it.

    A second matrix and subsets are refused. The signs of the vectors are those that `numpy.linalg.eigh` gives.
    """
    _refuse("eigh", b=b, subset_by_index=subset_by_index, subset_by_value=subset_by_value)
    (x,) = floats(a)
    values = x.world.eigvalsh(x, lower=bool(lower))
    return values if eigvals_only else (values, x.world.eigh_vectors(x, lower=bool(lower)))


@traceable(scipy.linalg.eigvalsh)
def eigvalsh(
    a: Any,
    b: Any = None,
    *,
    lower: bool = True,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    type: int = 1,
    check_finite: bool = True,
    subset_by_index: Any = None,
    subset_by_value: Any = None,
    driver: Any = None,
) -> Any:
    """The eigenvalues of a symmetric matrix in ascending order, by one triangle of it.

    A second matrix and subsets are refused.
    """
    return eigh(a, b, lower=lower, eigvals_only=True, subset_by_index=subset_by_index, subset_by_value=subset_by_value)


@traceable(scipy.linalg.svd)
def svd(
    a: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    overwrite_a: bool = False,
    check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:
    """Left singular vectors as columns, singular values in descending order, right singular vectors as rows.

    Where matrices are not square, full_matrices=True is refused, as it is by `numpy.linalg.svd`.
    """
    (x,) = floats(a)
    found = numpy_svd(x, full_matrices=full_matrices, compute_uv=compute_uv)
    return tuple(found) if compute_uv else found


@traceable(scipy.linalg.svdvals)
def svdvals(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The singular values of a matrix in descending order."""
    (x,) = floats(a)
    return x.world.svdvals(x)


@traceable(scipy.linalg.qr)
def qr(
    a: Any,
    overwrite_a: bool = False,
    lwork: Any = None,
    mode: str = "full",
    pivoting: bool = False,
    check_finite: bool = True,
) -> Any:
    """Orthonormal columns q and the upper triangular r with q r = a; of the mode 'r', r alone, in a tuple.

    Pivoting and the mode 'raw' are refused, and 'full', SciPy's default, where there are more rows than columns: the
    columns of q beyond are not determined, so that they have no derivative.
    """
    if mode not in ("full", "r", "economic", "raw"):
        raise ValueError("Mode argument should be one of ['full', 'r', 'economic', 'raw']")
    _refuse("qr", pivoting=pivoting or None)
    (x,) = floats(a)
    if mode != "r":
        return tuple(numpy_qr(x, {"full": "complete", "economic": "reduced"}.get(mode, mode)))
    r = numpy_qr(x, "r")
    rows, columns = x.type.shape[-2:]
    if x.world.facts.known("<=", rows, columns):
        return (r,)
    missing = x.world.full(0, TensorType((*r.type.shape[:-2], rows - r.type.shape[-2], columns), r.type.dtype))
    return (concatenate([r, missing], axis=-2),)
