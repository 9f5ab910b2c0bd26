"""Reductions built from others: counts, ranges, averages, running products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ShapeError
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.elementwise import truth
from graphc.numpy.methods import axes_of
from graphc.numpy.reductions import count_of, cumsum, max, min, running, sum
from graphc.numpy.shaping import atleast
from graphc.ops.typing import normalise_axis
from graphc.tracing import holds_traced

__all__ = ["average", "count_nonzero", "cumprod", "cumulative_prod", "cumulative_sum", "ptp"]


@traceable(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = np._NoValue) -> Any:
    """The largest element over axes less the smallest."""
    return max(a, axis=axis, keepdims=keepdims) - min(a, axis=axis, keepdims=keepdims)


@traceable(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """How many elements over axes are not 0."""
    world = common_world(a)
    return sum(truth(strong(a, world)), axis=axis, keepdims=keepdims)


@traceable(np.average)
def average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = np._NoValue
) -> Any:
    """The weighted mean over axes, and the sums of the weights if they are to be returned.

    Where traced weights sum to 0 the result is not finite, and no error is raised.
    """
    world = common_world(a, weights) if weights is not None else common_world(a)
    x = strong(a, world)
    if x.type.dtype.kind != "f":
        x = world.convert(x, np.dtype(np.float64))
    axes = axes_of("average", axis, x.ndim)
    if weights is None:
        total = sum(x, axis=axes, keepdims=keepdims)
        count = count_of(x, axes)
        mean = total / count
        return (mean, mean * 0 + count) if returned else mean
    w = strong(weights, world)
    if not holds_traced(weights) and np.any(np.sum(weights, axes if np.ndim(weights) == x.ndim else None) == 0):
        raise ZeroDivisionError("Weights sum to zero, can't be normalized")
    if w.type.shape != x.type.shape:
        if axis is None:
            raise TypeError("Axis must be specified when shapes of a and weights differ.")
        given = axis if isinstance(axis, tuple) else (axis,)
        order = [normalise_axis("average", k, x.ndim) for k in given]
        if w.ndim != len(order) or w.type.shape != tuple(x.type.shape[k] for k in order):
            raise ShapeError(
                "average: the weights fit neither the array nor the axes",
                expected=f"{x.type!r}, or its sizes along the axes {axis}",
                actual=repr(w.type),
                fix="give weights of the array's own shape",
            )
        w = world.transpose(w, perm=tuple(int(k) for k in np.argsort(order)))
        w = world.reshape(w, shape=tuple(d if k in axes else 1 for k, d in enumerate(x.type.shape)))
        w = world.broadcast_to(w, shape=x.type.shape)
    x, w = world.promote((x, w))
    scale = sum(w, axis=axes, keepdims=keepdims)
    mean = sum(x * w, axis=axes, keepdims=keepdims) / scale
    return (mean, scale) if returned else mean


@traceable(np.cumprod)
def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """Running products along an axis, or of all elements in one line.

    Derivatives are right where elements are 0, to any order.
    """
    return running(np.multiply, a, axis, dtype)


def _cumulative(function: str, of: Callable[..., Any], first: int, doc: str) -> Any:
    def apply(x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False) -> Any:
        value = atleast(1, strong(x, common_world(x)))
        if isinstance(axis, tuple) and len(axis) == 1:
            (axis,) = axis
        if axis is None and value.ndim != 1:
            raise ValueError("For arrays which have more than one dimension ``axis`` argument is required.")
        result = of(value, axis, dtype)
        if not include_initial:
            return result
        place = normalise_axis(function, 0 if axis is None else axis, value.ndim)
        shape = (*result.type.shape[:place], 1, *result.type.shape[place + 1 :])
        start = result.world.full(first, type(result.type)(shape, result.type.dtype))
        return result.world.concatenate(start, result, axis=place)

    apply.__doc__ = doc
    return traceable(function)(apply)


cumulative_sum = _cumulative("cumulative_sum", cumsum, 0, "Running sums along an axis, with a 0 in front if asked for.")
cumulative_prod = _cumulative(
    "cumulative_prod", cumprod, 1, "Running products along an axis, with a 1 in front if asked for."
)
