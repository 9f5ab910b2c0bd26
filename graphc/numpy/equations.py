"""Systems of linear equations, inverses and determinants."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.errors import ShapeError, UnsupportedError
from graphc.numpy.dispatch import common_world, given, strong, traceable
from graphc.numpy.shaping import moveaxis, reshape, swapaxes
from graphc.ops.matrices import mirrored, square
from graphc.tracing import Traced

DOUBLE: Final = np.dtype(np.float64)


@cache
def result_class(function: Any) -> Any:
    """The class of what a function of NumPy's gives, several arrays by name; it has no public one."""
    return type(function(np.eye(1)))


def floats(*operands: Any) -> list[Any]:
    """Operands in the dtype that LAPACK computes in: integers count as float64, whatever their size."""
    world = common_world(*operands)
    values = [strong(x, world) for x in operands]
    values = [v if v.type.dtype.kind == "f" else world.convert(v, DOUBLE) for v in values]
    return world.promote(values) if len(values) > 1 else values


@traceable(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    """The solution x of a x = b, where b is a vector, or right-hand sides as the columns of matrices."""
    matrix, side = floats(a, b)
    world = matrix.world
    if side.ndim != 1:
        return world.solve(matrix, side)
    found = world.solve(matrix, reshape(side, (side.type.shape[0], 1)))
    return reshape(found, found.type.shape[:-1])


@traceable(np.linalg.inv)
def inv(a: Any) -> Any:
    """The inverse of a square matrix, or of each of a stack."""
    (x,) = floats(a)
    return x.world.inv(x)


@traceable(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue) -> Any:
    """The Moore-Penrose inverse; singular values up to rcond times the largest count as 0.

    rcond and rtol are Python numbers. The derivative is that for changes which keep the rank.
    """
    if rcond is not None and given(rtol):
        raise ValueError("`rtol` and `rcond` can't be both set.")
    whole = strong(a, common_world(a))
    if whole.type.dtype.kind != "f" and dims.equal(dims.product(whole.type.shape[-2:]), 0):
        return swapaxes(whole, -1, -2)  # NumPy leaves the dtype of nothing as it is
    (x,) = floats(whole)
    if rcond is None and rtol is None:
        rows, columns = x.type.shape[-2:]
        size = dims.maximum(rows, columns)
        if not isinstance(size, int):
            raise UnsupportedError(
                "pinv: rtol=None takes the sizes of the matrix, which must be numbers when the graph is traced",
                expected="fixed sizes, or rcond or rtol as a number",
                actual=repr(x.type),
            )
        cut = size * float(np.finfo(x.type.dtype).eps)
    else:
        cut = _tolerance("rtol", rtol) if given(rtol) else 1e-15 if rcond is None else _tolerance("rcond", rcond)
    if hermitian:
        square(x.world.facts, "pinv", x.type)
        x = mirrored(x.world, x, lower=True)
    return x.world.pinv(x, rcond=cut)


def _tolerance(name: str, value: Any) -> float:
    if isinstance(value, Traced) or np.ndim(value):
        raise UnsupportedError(
            f"pinv: {name} must be a number when the graph is traced",
            expected="a Python number",
            actual=repr(value.type) if isinstance(value, Traced) else repr(value),
        )
    return float(value)


@traceable(np.linalg.det)
def det(a: Any) -> Any:
    """The determinant of a square matrix, or of each of a stack."""
    (x,) = floats(a)
    return x.world.det(x)


@traceable(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    """The sign of the determinant of a square matrix, and the logarithm of its size."""
    (x,) = floats(a)
    world = x.world
    return result_class(np.linalg.slogdet)(world.convert(world.det_sign(x), x.type.dtype), world.log_abs_det(x))


@traceable(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Sequence[int] | None = None) -> Any:
    """The array x with tensordot(a, x, x.ndim) == b; the axes given are those of a that x has, moved to the end."""
    left, right = floats(a, b)
    if axes is not None:
        last = range(left.ndim - len(axes), left.ndim)
        left = moveaxis(left, tuple(axes), tuple(last))
    kept = left.type.shape[-(left.ndim - right.ndim) :]
    size = dims.product(kept)
    if not left.world.facts.equal(dims.product(left.type.shape[: right.ndim]), size):
        raise ShapeError(
            "tensorsolve: the array is no square matrix",
            expected="prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim])",
            actual=f"a is {left.type!r}, b is {right.type!r}",
        )
    found = solve(reshape(left, (size, size)), reshape(right, (size,)))
    return reshape(found, kept)


@traceable(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse with respect to tensordot(a, b, ind)."""
    (x,) = floats(a)
    count = operator.index(ind)
    if count <= 0:
        raise ValueError("Invalid ind argument.")
    shape = x.type.shape
    rows = dims.product(shape[:count])
    matrix = reshape(x, (rows, dims.product(shape[count:])))
    return reshape(inv(matrix), (*shape[count:], *shape[:count]))
