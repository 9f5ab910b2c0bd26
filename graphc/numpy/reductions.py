"""Reductions and running sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import dims
from graphc.numpy.dispatch import REDUCTIONS, common_world, refuse, strong, traceable
from graphc.numpy.elementwise import maximum, truth
from graphc.ops.typing import check_axes, normalise_axis
from graphc.ops.world import size_value
from graphc.tracing import Traced


def axes_of(name: str, axis: Any, rank: int) -> tuple[int, ...]:
    """NumPy's axis argument as ascending axes counted from the front."""
    if axis is None:
        return tuple(range(rank))
    given = axis if isinstance(axis, tuple) else (axis,)
    return check_axes(name, sorted(normalise_axis(name, int(a.__index__()), rank) for a in given), rank)


def reduced_axes(name: str, axis: Any, rank: int) -> tuple[int, ...]:
    """As `axes_of`, but that NumPy's reductions by ufunc let a scalar have an axis 0."""
    if rank == 0 and not isinstance(axis, tuple) and axis in (0, -1):
        return ()
    return axes_of(name, axis, rank)


def _flag(keepdims: Any) -> bool:
    return False if keepdims is np._NoValue else bool(keepdims)


def _sum_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The accumulator of sum and prod: integers narrower than the platform's widen."""
    if dtype.kind == "b":
        return np.dtype(np.int64)
    if dtype.kind in "iu" and dtype.itemsize < 8:
        return np.dtype(np.int64 if dtype.kind == "i" else np.uint64)
    return dtype


def _reduce(op: str, name: str, a: Any, axis: Any, dtype: Any, keepdims: Any, widen: bool) -> Any:
    world = common_world(a)
    x = strong(a, world)
    target = np.dtype(dtype) if dtype is not None else _sum_dtype(x.type.dtype) if widen else x.type.dtype
    x = world.convert(x, target)
    return world.apply(op, (x,), axes=reduced_axes(name, axis, x.ndim), keepdims=_flag(keepdims))


@traceable(np.sum)
def sum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    refuse("sum", out=out, where=where)
    result = _reduce("reduce_sum", "sum", a, axis, dtype, keepdims, widen=True)
    return result if initial is None or initial is np._NoValue else result + initial


@traceable(np.prod)
def prod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    refuse("prod", out=out, where=where)
    result = _reduce("reduce_prod", "prod", a, axis, dtype, keepdims, widen=True)
    return result if initial is None or initial is np._NoValue else result * initial


@traceable(np.max, np.amax)
def max(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = None
) -> Any:
    refuse("max", out=out, initial=initial, where=where)
    return _reduce("reduce_max", "max", a, axis, None, keepdims, widen=False)


@traceable(np.min, np.amin)
def min(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = None
) -> Any:
    refuse("min", out=out, initial=initial, where=where)
    return _reduce("reduce_min", "min", a, axis, None, keepdims, widen=False)


amax, amin = max, min


def _quantifier(numpy_function: Any, op: str) -> Any:
    def apply(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = None) -> Any:
        refuse(numpy_function.__name__, out=out, where=where)
        world = common_world(a)
        x = strong(truth(a), world)
        return world.apply(op, (x,), axes=reduced_axes(numpy_function.__name__, axis, x.ndim), keepdims=_flag(keepdims))

    return traceable(numpy_function)(apply)


any = _quantifier(np.any, "reduce_any")
all = _quantifier(np.all, "reduce_all")


def _count(x: Any, axes: tuple[int, ...]) -> Any:
    """How many elements meet in one result: a number, or a traced size."""
    size = dims.product([x.type.shape[i] for i in axes])
    return size if isinstance(size, int) else size_value(x.world, size)


def _mean(x: Any, axes: tuple[int, ...], keepdims: bool, ddof: Any = 0) -> Any:
    total = x.world.reduce_sum(x, axes=axes, keepdims=keepdims)
    count = _count(x, axes)
    # a traced size minus 0 would stand in every dump of a mean
    if not (isinstance(ddof, int) and ddof == 0):
        left = count - ddof
        # NumPy divides by no less than 0
        count = maximum(left, 0) if isinstance(left, Traced) else left if left > 0 else 0
    return total / count


def _float_operand(a: Any, dtype: Any) -> tuple[Any, np.dtype[Any]]:
    """The operand in the dtype that means are accumulated in, and the dtype of the result."""
    world = common_world(a)
    x = strong(a, world)
    result = (
        np.dtype(dtype) if dtype is not None else x.type.dtype if x.type.dtype.kind == "f" else np.dtype(np.float64)
    )
    # NumPy accumulates half precision in single
    inner = np.dtype(np.float32) if result == np.float16 and x.type.dtype == np.float16 else result
    return world.convert(x, inner), result


@traceable(np.mean)
def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = None
) -> Any:
    refuse("mean", out=out, where=where)
    x, result = _float_operand(a, dtype)
    return x.world.convert(_mean(x, axes_of("mean", axis, x.ndim), _flag(keepdims)), result)


@traceable(np.var)
def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: Any = None,
) -> Any:
    refuse("var", out=out, where=where, mean=mean)
    if correction is not None and correction is not np._NoValue:
        ddof = correction
    x, result = _float_operand(a, dtype)
    axes = axes_of("var", axis, x.ndim)
    centred = x - _mean(x, axes, True)
    return x.world.convert(_mean(centred * centred, axes, _flag(keepdims), ddof), result)


@traceable(np.std)
def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: Any = None,
) -> Any:
    refuse("std", out=out, where=where, mean=mean)
    squared = var(a, axis=axis, dtype=dtype, ddof=ddof, keepdims=keepdims, correction=correction)
    return squared.world.sqrt(squared)


@traceable(np.cumsum)
def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    refuse("cumsum", out=out)
    world = common_world(a)
    x = strong(a, world)
    x = world.convert(x, np.dtype(dtype) if dtype is not None else _sum_dtype(x.type.dtype))
    if axis is None or not x.ndim:
        x = world.reshape(x, shape=(dims.product(x.type.shape),))
        axis = 0 if axis is None else axis
    return world.cumsum(x, axis=normalise_axis("cumsum", axis, x.ndim), reverse=False)


REDUCTIONS.update(add=sum, multiply=prod, maximum=max, minimum=min, logical_and=all, logical_or=any)
