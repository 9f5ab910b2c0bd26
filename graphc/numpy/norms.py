"""Norms, ranks and condition numbers, and the functions of `numpy.linalg` that only arrange or multiply."""

from __future__ import annotations

import operator
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.errors import AxisError, ShapeError
from graphc.numpy.decompositions import svd, svdvals
from graphc.numpy.diagonals import diagonal
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.elementwise import absolute, isnan, logical_not, power, where
from graphc.numpy.equations import floats, inv
from graphc.numpy.methods import axes_of
from graphc.numpy.products import matmul, outer, tensordot
from graphc.numpy.reductions import any, max, min, sum
from graphc.numpy.shaping import expand_dims, matrix_transpose, moveaxis, reshape, swapaxes
from graphc.numpy.statistics import count_nonzero
from graphc.numpy.vectors import cross, vecdot
from graphc.ops import lookup
from graphc.ops.typing import normalise_axis

INT: Final = np.dtype(np.int64)


@traceable(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """A norm of vectors or matrices along axes, the Euclidean one by default.

    Where a Euclidean norm is 0 its derivative is 0.
    """
    (value,) = floats(x)
    if axis is None:
        if ord is None or (ord == 2 and value.ndim == 1) or (ord in ("f", "fro") and value.ndim == 2):
            return _euclidean(value, tuple(range(value.ndim)), keepdims)
        axes = tuple(range(value.ndim))
    else:
        given = axis if isinstance(axis, tuple) else (axis,)
        # the order of two axes matters: rows, then columns
        axes = tuple(axes_of("norm", operator.index(k), value.ndim)[0] for k in given)
    if len(axes) == 1:
        return _vector(value, ord, axes, keepdims)
    if len(axes) == 2:
        if axes[0] == axes[1]:
            raise AxisError("norm: an axis is named twice", actual=str(axis))
        return _matrix(value, ord, axes, keepdims)
    raise ShapeError(
        "norm: improper number of dimensions",
        expected="one axis for a vector norm, two for a matrix norm",
        actual=f"{value.type!r}, axis={axis}",
        fix="leave out ord for the Euclidean norm of all elements",
    )


def _euclidean(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return x.world.emit(lookup("reduce_norm"), (x,), (("axes", tuple(sorted(axes))), ("keepdims", bool(keepdims))))


def _vector(x: Any, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if ord is None or ord == 2:
        return _euclidean(x, axes, keepdims)
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order '{ord}' for vectors")
    if ord == np.inf:
        return max(absolute(x), axis=axes, keepdims=keepdims)
    if ord == -np.inf:
        return min(absolute(x), axis=axes, keepdims=keepdims)
    if ord == 0:
        return sum(x.world.convert(x != 0, x.type.dtype), axis=axes, keepdims=keepdims)
    if ord == 1:
        return sum(absolute(x), axis=axes, keepdims=keepdims)
    total = sum(power(absolute(x), ord), axis=axes, keepdims=keepdims)
    root = power(total, 1 / ord)
    # the root has no derivative at 0, where the norm's is 0 by convention
    return where(total != 0, root, 0) if ord > 0 else root


def _matrix(x: Any, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if ord is None or ord in ("fro", "f"):
        return _euclidean(x, axes, keepdims)
    if ord in (2, -2, "nuc"):
        values = svdvals(moveaxis(x, axes, (-2, -1)))
        if ord == "nuc" or dims.equal(values.type.shape[-1], 0):
            found = min(values, axis=-1) if ord == -2 else sum(values, axis=-1)
        else:
            found = values[..., 0 if ord == 2 else -1]  # they descend
        if not keepdims:
            return found
        return reshape(found, tuple(1 if k in axes else d for k, d in enumerate(x.type.shape)))
    if ord not in (1, -1, np.inf, -np.inf):
        raise ValueError("Invalid norm order for matrices.")
    row, column = axes
    summed, kept = (row, column) if ord in (1, -1) else (column, row)
    totals = sum(absolute(x), axis=summed, keepdims=True)
    extreme = (max if ord > 0 else min)(totals, axis=kept, keepdims=True)
    if keepdims:
        return extreme
    return reshape(extreme, tuple(d for k, d in enumerate(extreme.type.shape) if k not in axes))


@traceable(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """A norm of vectors along axes, or of all elements; the Euclidean one by default."""
    (value,) = floats(x)
    return _vector(value, ord, axes_of("vector_norm", axis, value.ndim), keepdims)


@traceable(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """A norm of the matrices in the last two axes, Frobenius' by default."""
    (value,) = floats(x)
    rows, columns = (normalise_axis("matrix_norm", k, value.ndim) for k in (-2, -1))
    return _matrix(value, ord, (rows, columns), keepdims)


@traceable(np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """How many singular values of a matrix are above a tolerance, by default relative to the largest.

    A rank has no derivative.
    """
    if rtol is not None and tol is not None:
        raise ValueError("`tol` and `rtol` can't be both set.")
    (x,) = floats(A)
    if x.ndim < 2:
        return x.world.convert(any(x != 0), INT)
    values = svd(x, compute_uv=False, hermitian=hermitian)
    if tol is None:
        if rtol is None:
            size = dims.maximum(*x.type.shape[-2:])
            share = (size if isinstance(size, int) else x.world.dim(size=size)) * float(np.finfo(x.type.dtype).eps)
        else:
            share = expand_dims(strong(rtol, x.world), -1)
        limit = max(values, axis=-1, keepdims=True, initial=0) * share
    else:
        limit = expand_dims(strong(tol, x.world), -1)
    return count_nonzero(values > limit, axis=-1)


@traceable(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    """The condition number of a matrix in a norm, that of the largest singular value by default.

    Where it is by an inverse (orders other than None, 2 and -2), a singular matrix raises LinAlgError.
    """
    (a,) = floats(x)
    if p is None or p in (2, -2):
        values = svdvals(a)
        ends = values[..., 0], values[..., -1]
        found = ends[1] / ends[0] if p == -2 else ends[0] / ends[1]
    else:
        found = norm(a, p, axis=(-2, -1)) * norm(inv(a), p, axis=(-2, -1))
    known = logical_not(any(isnan(a), axis=(-2, -1)))
    return where(isnan(found) & known, np.inf, found)


@traceable(np.linalg.trace)
def linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sum of the elements on a diagonal of the matrices in the last two axes."""
    return sum(diagonal(x, offset, -2, -1), axis=-1, dtype=dtype)


@traceable(np.linalg.diagonal, view=True)
def linalg_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The diagonal of the matrices in the last two axes."""
    return diagonal(x, offset, -2, -1)


@traceable(np.linalg.matrix_transpose, view=True)
def linalg_matrix_transpose(x: Any, /) -> Any:
    """The last two axes swapped."""
    return swapaxes(x, -1, -2) if x.ndim > 1 else matrix_transpose(x)


@traceable(np.linalg.matmul)
def linalg_matmul(x1: Any, x2: Any, /) -> Any:
    """The matrix product of stacks of matrices."""
    return matmul(x1, x2)


@traceable(np.linalg.tensordot)
def linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """Products of elements, summed over pairs of axes."""
    return tensordot(x1, x2, axes)


@traceable(np.linalg.vecdot)
def linalg_vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The sum of products along an axis of both operands."""
    return vecdot(x1, x2, axis=operator.index(axis))


@traceable(np.linalg.outer)
def linalg_outer(x1: Any, x2: Any, /) -> Any:
    """The products of every element of one vector with every element of another."""
    world = common_world(x1, x2)
    a, b = (strong(v, world) for v in (x1, x2))
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError("outer: the operands must be vectors", actual=f"{a.type!r} and {b.type!r}", fix="use np.outer")
    return outer(a, b)


@traceable(np.linalg.cross)
def linalg_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The cross product of vectors of three elements."""
    for x in (x1, x2):
        size = np.shape(x)[operator.index(axis)]
        if size != 3:
            raise ShapeError("cross: both operands must hold vectors of three elements", expected="3", actual=str(size))
    return cross(x1, x2, axis=axis)
