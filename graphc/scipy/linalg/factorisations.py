"""Factorisations: Cholesky's, eigenvalues of symmetric matrices, singular values, QR."""

from __future__ import annotations

from typing import Any

import scipy.linalg

from graphc.errors import ShapeError, UnsupportedError
from graphc.ir import TensorType
from graphc.numpy.decompositions import cholesky as numpy_cholesky
from graphc.numpy.decompositions import qr as numpy_qr
from graphc.numpy.decompositions import svd as numpy_svd
from graphc.numpy.diagonals import tril, triu
from graphc.numpy.dispatch import traceable
from graphc.numpy.equations import floats
from graphc.numpy.shaping import concatenate, swapaxes
from graphc.ops.matrices import mirrored, square

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


def _reduced(function: str, a: Any, b: Any, lower: bool, type: int) -> tuple[Any, Any]:
    """The symmetric matrix with the eigenvalues of a v = w b v, and the Cholesky factor l of b: inv(l) a inv(l).T.

    G. H. Golub and C. F. Van Loan, Matrix Computations, 4th edition, algorithm 8.7.1.
    """
    x, y = floats(a, b)
    world = x.world
    for one in (x, y):
        square(world.facts, function, one.type)
    if not world.facts.equal(x.type.shape[-1], y.type.shape[-1]):
        raise ShapeError(
            f"{function}: the matrices differ in size",
            expected="a.shape == b.shape",
            actual=f"{x.type!r} and {y.type!r}",
        )
    if type not in (1, 2, 3):
        raise ValueError('"type" keyword only accepts 1, 2, and 3.')
    _refuse(function, type=None if type == 1 else type)
    factor = world.cholesky(y if lower else swapaxes(y, -1, -2))
    half = world.solve_triangular(factor, mirrored(world, x, lower), lower=True, unit=False)
    return world.solve_triangular(factor, swapaxes(half, -1, -2), lower=True, unit=False), factor


def _eigen(
    function: str, a: Any, b: Any, lower: bool, type: int, subset_by_index: Any, subset_by_value: Any, vectors: bool
) -> Any:
    """The eigenvalues of a symmetric matrix, or of a pair of them, and the eigenvectors too, if asked."""
    _refuse(function, subset_by_index=subset_by_index, subset_by_value=subset_by_value)
    if b is None:
        (x,) = floats(a)
        values = x.world.eigvalsh(x, lower=lower)
        return (values, x.world.eigh_vectors(x, lower=lower)) if vectors else values
    core, factor = _reduced(function, a, b, lower, type)
    world = core.world
    values = world.eigvalsh(core, lower=True)
    if not vectors:
        return values
    turned = world.eigh_vectors(core, lower=True)
    return values, world.solve_triangular(swapaxes(factor, -1, -2), turned, lower=False, unit=False)


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
    """The eigenvalues w, ascending, and eigenvectors v, as columns, of a symmetric matrix a: a v = w v.

    With a positive definite b: a v = w b v and v.T b v = 1; the types 2 and 3 and subsets are refused. One triangle of
    each matrix is read. The signs of the vectors are those that `numpy.linalg.eigh` gives, of inv(l) a inv(l).T with
    b = l l.T where there is b.
    """
    return _eigen("eigh", a, b, bool(lower), type, subset_by_index, subset_by_value, vectors=not eigvals_only)


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
    """The eigenvalues of a symmetric matrix in ascending order, by one triangle of it; of a v = w b v, if b is given.

    The types 2 and 3 and subsets are refused.
    """
    return _eigen("eigvalsh", a, b, bool(lower), type, subset_by_index, subset_by_value, vectors=False)


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
