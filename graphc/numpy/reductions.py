"""Reductions and running sums."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import UnsupportedError
from graphc.numpy.checks import real_dtype
from graphc.numpy.dispatch import common_world, given, strong, traceable
from graphc.numpy.elementwise import maximum, truth
from graphc.numpy.into import Out
from graphc.numpy.methods import accumulate, axes_of, flag, mask_of, reduce
from graphc.ops.typing import normalise_axis
from graphc.ops.world import size_value
from graphc.tracing import Traced

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "cumsum",
    "max",
    "mean",
    "min",
    "prod",
    "std",
    "sum",
    "var",
]


@traceable(np.sum, out=Out("unsafe", computes=True))
def sum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = np._NoValue,
    initial: Any = np._NoValue,
    where: Any = np._NoValue,
) -> Any:
    """The sum of elements over axes; 0 over an empty range."""
    return reduce(np.add, a, axis, dtype, None, keepdims, initial, where, name="sum")


@traceable(np.prod, out=Out("unsafe", computes=True))
def prod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = np._NoValue,
    initial: Any = np._NoValue,
    where: Any = np._NoValue,
) -> Any:
    """The product of elements over axes; 1 over an empty range. Its derivatives are right where elements are 0."""
    return reduce(np.multiply, a, axis, dtype, None, keepdims, initial, where, name="prod")


@traceable(np.max, np.amax, out=Out("unsafe"))
def max(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = np._NoValue,
    initial: Any = np._NoValue,
    where: Any = np._NoValue,
) -> Any:
    """The largest element over axes, NaN if there is one; ties share the derivative equally."""
    return reduce(np.maximum, a, axis, None, None, keepdims, initial, where, name="max")


@traceable(np.min, np.amin, out=Out("unsafe"))
def min(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = np._NoValue,
    initial: Any = np._NoValue,
    where: Any = np._NoValue,
) -> Any:
    """The smallest element over axes, NaN if there is one; ties share the derivative equally."""
    return reduce(np.minimum, a, axis, None, None, keepdims, initial, where, name="min")


amax, amin = max, min


@traceable(np.any, out=Out("unsafe"))
def any(a: Any, axis: Any = None, out: Any = None, keepdims: Any = np._NoValue, *, where: Any = np._NoValue) -> Any:
    """Whether any element over axes is not 0; false over an empty range."""
    return reduce(np.logical_or, truth(a), axis, keepdims=keepdims, where=where, name="any")


@traceable(np.all, out=Out("unsafe"))
def all(a: Any, axis: Any = None, out: Any = None, keepdims: Any = np._NoValue, *, where: Any = np._NoValue) -> Any:
    """Whether all elements over axes differ from 0; true over an empty range."""
    return reduce(np.logical_and, truth(a), axis, keepdims=keepdims, where=where, name="all")


def count_of(x: Any, axes: tuple[int, ...]) -> Any:
    """How many elements meet in one result: a number, or a traced size."""
    size = dims.product([x.type.shape[i] for i in axes])
    return size if isinstance(size, int) else size_value(x.world, size)


def _mean(x: Any, axes: tuple[int, ...], keepdims: bool, ddof: Any = 0, mask: Any = None) -> Any:
    """The mean of what the mask holds, if there is one, its divisor lowered by `ddof`."""
    world = x.world
    if mask is None:
        total, count = world.reduce_sum(x, axes=axes, keepdims=keepdims), count_of(x, axes)
    else:
        total = world.reduce_sum(world.select(mask, x, 0), axes=axes, keepdims=keepdims)
        count = world.reduce_sum(world.convert(mask, np.dtype(np.int64)), axes=axes, keepdims=keepdims)
    # a traced size minus 0 would stand in every dump of a mean
    if not (isinstance(ddof, int) and ddof == 0):
        left = count - ddof
        # NumPy divides by no less than 0
        count = maximum(left, 0) if isinstance(left, Traced) else left if left > 0 else 0
    return world.convert(total / count, x.type.dtype)


def _float_operand(dtype: Any, a: Any, *others: Any) -> tuple[Any, np.dtype[Any]]:
    """The operand in the dtype that means are accumulated in, and the dtype of the result."""
    world = common_world(a, *others)
    x = strong(a, world)
    result = (
        real_dtype(dtype) if dtype is not None else x.type.dtype if x.type.dtype.kind == "f" else np.dtype(np.float64)
    )
    if result.kind == "b":
        raise UnsupportedError("dtype=bool cannot be traced here: a mean of booleans is a number", actual=str(result))
    # NumPy accumulates half precision in single
    inner = np.dtype(np.float32) if result == np.float16 and x.type.dtype == np.float16 else result
    return world.convert(x, inner), result


@traceable(np.mean)
def mean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = np._NoValue,
    *,
    where: Any = np._NoValue,
) -> Any:
    """The arithmetic mean over axes; NaN over an empty range."""
    x, result = _float_operand(dtype, a, where)
    axes = axes_of("mean", axis, x.ndim)
    return x.world.convert(_mean(x, axes, flag(keepdims), mask=mask_of("mean", where, x)), result)


@traceable(np.var)
def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = np._NoValue,
    *,
    where: Any = np._NoValue,
    mean: Any = np._NoValue,
    correction: Any = np._NoValue,
) -> Any:
    """The variance over axes: the mean of squared distances from the mean, its divisor lowered by `ddof`."""
    if given(correction):
        if ddof != 0:
            raise ValueError("ddof and correction can't be provided simultaneously.")
        ddof = correction
    x, result = _float_operand(dtype, a, where, mean)
    axes, mask = axes_of("var", axis, x.ndim), mask_of("var", where, x)
    centre = x.world.convert(strong(mean, x.world), x.type.dtype) if given(mean) else _mean(x, axes, True, mask=mask)
    centred = x - centre
    return x.world.convert(_mean(centred * centred, axes, flag(keepdims), ddof, mask), result)


@traceable(np.std)
def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = np._NoValue,
    *,
    where: Any = np._NoValue,
    mean: Any = np._NoValue,
    correction: Any = np._NoValue,
) -> Any:
    """The standard deviation over axes: the square root of the variance."""
    squared = var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    kind = squared.type.dtype
    if kind.kind == "f":
        return squared.world.sqrt(squared)
    if squared.ndim:
        # NumPy converts a number, but not an array
        raise TypeError(f"std: square roots cannot be cast to {kind} according to the rule 'same_kind'")
    world = squared.world
    return world.convert(world.sqrt(world.convert(squared, np.dtype(np.float64))), kind)


def running(ufunc: np.ufunc, a: Any, axis: Any, dtype: Any) -> Any:
    """A ufunc's accumulation as `cumsum` and its kin take it: all elements in one line if no axis is named."""
    world = common_world(a)
    x = strong(a, world)
    if axis is None or not x.ndim:
        axis = 0 if axis is None else normalise_axis(ufunc.__name__, operator.index(axis), 1)
        x = world.reshape(x, shape=(dims.product(x.type.shape),))
    return accumulate(ufunc, x, axis, dtype)


@traceable(np.cumsum, out=Out("unsafe", computes=True))
def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """Running sums along an axis, or of all elements in one line."""
    return running(np.add, a, axis, dtype)
