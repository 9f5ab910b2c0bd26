"""Diagonals, triangles and matrices made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.errors import AxisError, ShapeError
from graphc.numpy.checks import check_device, memory_order, real_dtype
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.picking import fixed_size, whole_number
from graphc.numpy.reductions import sum
from graphc.numpy.shaping import ravel, reshape, stack, transpose
from graphc.numpy.views import Diagonal
from graphc.ops.matrices import numbered
from graphc.ops.typing import normalise_axis
from graphc.tracing import as_size, placed, view_of

__all__ = [
    "diag",
    "diag_indices_from",
    "diagflat",
    "diagonal",
    "eye",
    "identity",
    "trace",
    "tri",
    "tril",
    "tril_indices_from",
    "triu",
    "triu_indices_from",
    "vander",
]


def band(world: Any, rows: Size, columns: Size, offset: int) -> tuple[Any, Any]:
    """Row number plus offset and column number, as a column and a row to compare."""
    row, column = numbered(world, rows, columns)
    return (row + offset if offset else row), column


@traceable(np.tri)
def tri(N: Any, M: Any = None, k: int = 0, dtype: Any = float, *, like: Any = None) -> Any:
    """Ones on and below the diagonal k of a matrix of zeros; the sizes may be symbolic."""
    world = common_world(N, M, like)
    rows = as_size(N)
    row, column = band(world, rows, rows if M is None else as_size(M), whole_number("tri", "k", k))
    return world.convert(row >= column, real_dtype(dtype))


@traceable(np.eye, maker=True)
def eye(
    N: Any, M: Any = None, k: int = 0, dtype: Any = float, order: str = "C", *, device: Any = None, like: Any = None
) -> Any:
    """Ones on the diagonal k of a matrix of zeros; the sizes may be symbolic."""
    order = memory_order(order, "C", "CF")
    check_device(device)
    world = common_world(N, M, like)
    rows = as_size(N)
    row, column = band(world, rows, rows if M is None else as_size(M), whole_number("eye", "k", k))
    return placed(world.convert(row == column, real_dtype(dtype)), order)


@traceable(np.identity, maker=True)
def identity(n: Any, dtype: Any = None, *, like: Any = None) -> Any:
    """The square matrix with ones on its diagonal and zeros elsewhere; the size may be symbolic."""
    return eye(n, dtype=float if dtype is None else dtype, like=like)


def _triangle(function: str, m: Any, k: int, lower: bool) -> Any:
    x = strong(m, common_world(m))
    if not x.ndim:
        raise ShapeError(f"{function}: the operand has no axis", expected="at least one", actual=repr(x.type))
    rows, columns = x.type.shape[-2:] if x.ndim > 1 else x.type.shape * 2
    row, column = band(x.world, rows, columns, whole_number(function, "k", k))
    return x.world.select(row >= column if lower else row <= column, x, False if x.type.dtype.kind == "b" else 0)


@traceable(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    """The elements on and below the diagonal k of the matrices in the last two axes; zeros above."""
    return _triangle("tril", m, k, lower=True)


@traceable(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    """The elements on and above the diagonal k of the matrices in the last two axes; zeros below."""
    return _triangle("triu", m, k, lower=False)


@traceable(np.diagonal, view=True)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """A diagonal of the matrices in two axes, as a new last axis: a read-only view."""
    return diagonal_of(strong(a, common_world(a)), offset, axis1, axis2, writeable=False)


def diagonal_of(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, writeable: bool = True) -> Any:
    """As `diagonal`; einsum gives one that can be written to."""
    if x.ndim < 2:
        raise ShapeError("diagonal: too few axes", expected="at least 2", actual=repr(x.type))
    first, second = (normalise_axis("diagonal", k, x.ndim) for k in (axis1, axis2))
    if first == second:
        raise AxisError("diagonal: axis1 and axis2 cannot be the same", actual=f"{axis1} and {axis2}")
    shift = whole_number("diagonal", "offset", offset)
    rest = [k for k in range(x.ndim) if k not in (first, second)]
    y = transpose(x, [*rest, first, second])
    rows, columns = y.type.shape[-2:]
    row, column = max(-shift, 0), max(shift, 0)
    count = dims.maximum(dims.minimum(rows - row, columns - column), 0)
    return view_of(y, Diagonal(row, column, count), writeable=writeable)


@traceable(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    """The sum of the elements on a diagonal of the matrices in two axes."""
    return sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@traceable(np.diag, view=True)
def diag(v: Any, k: int = 0) -> Any:
    """The diagonal k of a matrix; or the square matrix whose diagonal k a vector is."""
    x = strong(v, common_world(v))
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError("diag: the operand must be a vector or a matrix", expected="1-d or 2-d", actual=repr(x.type))
    shift = whole_number("diag", "k", k)
    world, count = x.world, x.type.shape[0]
    size = count + abs(shift)
    start = max(-shift, 0)
    rows = world.unslice(x, index=((start, start + count, 1),), shape=(size,)) if shift else x
    row, column = band(world, size, size, shift)
    return world.select(row == column, world.reshape(rows, shape=(size, 1)), False if x.type.dtype.kind == "b" else 0)


@traceable(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    """The square matrix whose diagonal k is the flattened array."""
    return diag(ravel(strong(v, common_world(v))), k)


@traceable(np.vander)
def vander(x: Any, N: Any = None, increasing: bool = False) -> Any:
    """The matrix whose columns are powers of a vector, falling from N - 1 to 0, or rising if `increasing`."""
    value = strong(x, common_world(x))
    if value.ndim != 1:
        raise ShapeError("vander: the operand must be a vector", expected="1-d", actual=repr(value.type))
    count = fixed_size("vander", value.type.shape[0]) if N is None else whole_number("vander", "N", N)
    world = value.world
    value = world.convert(value, np.promote_types(value.type.dtype, int))
    if count < 0:
        raise ValueError("negative dimensions are not allowed")
    if count == 0:
        return reshape(value[:0], (value.type.shape[0], 0)) if value.type.shape[0] == 0 else value[:, None][:, :0]
    powers = [world.full(1, value.type)]
    while len(powers) < count:
        powers.append(value if len(powers) == 1 else powers[-1] * value)
    return stack(powers if increasing else powers[::-1], axis=1)


def _known_shape(function: str, arr: Any) -> tuple[int, ...]:
    """The shape of an array as numbers; ShapeError where a size is symbolic."""
    return tuple(fixed_size(function, d) for d in strong(arr, common_world(arr)).type.shape)


def _rows_and_columns(function: str, arr: Any) -> tuple[int, int]:
    shape = _known_shape(function, arr)
    if len(shape) != 2:
        raise ValueError("input array must be 2-d")
    return shape[0], shape[1]


@traceable(np.tril_indices_from)
def tril_indices_from(arr: Any, k: int = 0) -> Any:
    """The indices of the elements on and below the diagonal k of a matrix, whose sizes must be numbers."""
    rows, columns = _rows_and_columns("tril_indices_from", arr)
    return np.tril_indices(rows, k, columns)


@traceable(np.triu_indices_from)
def triu_indices_from(arr: Any, k: int = 0) -> Any:
    """The indices of the elements on and above the diagonal k of a matrix, whose sizes must be numbers."""
    rows, columns = _rows_and_columns("triu_indices_from", arr)
    return np.triu_indices(rows, k, columns)


@traceable(np.diag_indices_from)
def diag_indices_from(arr: Any) -> Any:
    """The indices of the main diagonal of an array whose axes have all the same size, which must be a number."""
    shape = _known_shape("diag_indices_from", arr)
    if len(shape) < 2:
        raise ValueError("input array must be at least 2-d")
    if len(set(shape)) > 1:
        raise ValueError("All dimensions of input must be of equal length")
    return np.diag_indices(shape[0], len(shape))
