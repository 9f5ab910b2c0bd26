"""Reductions built from others: counts, ranges, averages, running products, and those that pass over NaN."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import ShapeError, UnsupportedError
from graphc.numpy.dispatch import ACCUMULATIONS, REDUCTIONS, common_world, refuse, strong, traceable
from graphc.numpy.elementwise import isnan, logical_not, truth, where
from graphc.numpy.reductions import _count, _flag, _sum_dtype, axes_of, cumsum, max, min, prod, sum
from graphc.numpy.reductions import all as all_
from graphc.numpy.reductions import mean as _mean
from graphc.numpy.reductions import var as _var
from graphc.numpy.ufuncs import without_nan
from graphc.ops.typing import normalise_axis


@traceable(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    refuse("ptp", out=out)
    return max(a, axis=axis, keepdims=keepdims) - min(a, axis=axis, keepdims=keepdims)


@traceable(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    world = common_world(a)
    return sum(truth(strong(a, world)), axis=axis, keepdims=keepdims)


@traceable(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    """As `numpy.average`; where the weights sum to 0 the result is not finite, and no error is raised."""
    world = common_world(a, weights) if weights is not None else common_world(a)
    x = strong(a, world)
    if x.type.dtype.kind != "f":
        x = world.convert(x, np.dtype(np.float64))
    axes = axes_of("average", axis, x.ndim)
    if weights is None:
        total = sum(x, axis=axes, keepdims=keepdims)
        count = _count(x, axes)
        mean = total / count
        return (mean, mean * 0 + count) if returned else mean
    w = strong(weights, world)
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
    """As `numpy.cumprod`; derivatives are right where elements are 0, to any order."""
    refuse("cumprod", out=out)
    world = common_world(a)
    x = strong(a, world)
    x = world.convert(x, np.dtype(dtype) if dtype is not None else _sum_dtype(x.type.dtype))
    if axis is None or not x.ndim:
        x = world.reshape(x, shape=(dims.product(x.type.shape),))
        axis = 0 if axis is None else axis
    return world.cumprod(x, axis=normalise_axis("cumprod", axis, x.ndim), reverse=False)


def _cumulative(numpy_function: Any, running: Any) -> Any:
    name = numpy_function.__name__

    def apply(x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False) -> Any:
        refuse(name, out=out)
        if include_initial:
            raise UnsupportedError(
                f"np.{name}: include_initial=True cannot be traced", fix="np.concatenate the first value in front"
            )
        if axis is None and np.ndim(x) != 1:
            raise ValueError("For arrays which have more than one dimension ``axis`` argument is required.")
        return running(x, axis=axis, dtype=dtype)

    return traceable(numpy_function)(apply)


# NumPy has these from 2.1 on
if hasattr(np, "cumulative_sum"):
    cumulative_sum = _cumulative(np.cumulative_sum, cumsum)
    cumulative_prod = _cumulative(np.cumulative_prod, cumprod)


# --- passing over NaN ---------------------------------------------------------------------------------------


def _skipping(numpy_function: Any, inner: Any, neutral: float) -> Any:
    name = numpy_function.__name__

    def apply(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = None,
    ) -> Any:
        refuse(name, out=out, where=where)
        return inner(
            without_nan(strong(a, common_world(a)), neutral),
            axis=axis,
            dtype=dtype,
            keepdims=_flag(keepdims),
            initial=initial,
        )

    return traceable(numpy_function)(apply)


nansum = _skipping(np.nansum, sum, 0)
nanprod = _skipping(np.nanprod, prod, 1)


def _running(numpy_function: Any, inner: Any, neutral: float) -> Any:
    def apply(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        refuse(numpy_function.__name__, out=out)
        return inner(without_nan(strong(a, common_world(a)), neutral), axis=axis, dtype=dtype)

    return traceable(numpy_function)(apply)


nancumsum = _running(np.nancumsum, cumsum, 0)
nancumprod = _running(np.nancumprod, cumprod, 1)


def _nan_extreme(numpy_function: Any, inner: Any, beyond: float) -> Any:
    name = numpy_function.__name__

    def apply(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None, where: Any = None
    ) -> Any:
        refuse(name, out=out, initial=initial, where=where)
        x = strong(a, common_world(a))
        found = inner(without_nan(x, beyond), axis=axis, keepdims=_flag(keepdims))
        if x.type.dtype.kind != "f":
            return found
        empty = all_(isnan(x), axis=axis, keepdims=_flag(keepdims))
        return select(empty, np.nan, found)

    return traceable(numpy_function)(apply)


select = where
nanmax = _nan_extreme(np.nanmax, max, -np.inf)
nanmin = _nan_extreme(np.nanmin, min, np.inf)


def _nan_mean(x: Any, axis: Any, dtype: Any, keepdims: bool) -> Any:
    """The mean of what is no NaN."""
    count = sum(logical_not(isnan(x)), axis=axis, keepdims=keepdims)
    total = sum(without_nan(x, 0), axis=axis, dtype=dtype, keepdims=keepdims)
    # the count is exact in the wider dtype that NumPy divides in
    wide = total / count
    return wide.world.convert(wide, total.type.dtype)


@traceable(np.nanmean)
def nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = None
) -> Any:
    refuse("nanmean", out=out, where=where)
    x = strong(a, common_world(a))
    if x.type.dtype.kind != "f":
        return _mean(x, axis=axis, dtype=dtype, keepdims=keepdims)
    return _nan_mean(x, axis, dtype, _flag(keepdims))


@traceable(np.nanvar)
def nanvar(
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
    refuse("nanvar", out=out, where=where, mean=mean)
    if correction is not None and correction is not np._NoValue:
        ddof = correction
    x = strong(a, common_world(a))
    if x.type.dtype.kind != "f":
        return _var(x, axis=axis, dtype=dtype, ddof=ddof, keepdims=keepdims)
    if dtype is not None:
        x = x.world.convert(x, np.dtype(dtype))
    missing = isnan(x)
    # one selection between the operand and all that follows keeps NaN out of its derivatives
    x = without_nan(x, 0)
    present = sum(logical_not(missing), axis=axis, keepdims=True)
    centre = sum(x, axis=axis, keepdims=True) / present
    off = select(missing, 0, x - x.world.convert(centre, x.type.dtype))
    count = sum(logical_not(missing), axis=axis, keepdims=_flag(keepdims))
    total = sum(off * off, axis=axis, keepdims=_flag(keepdims))
    result = x.world.convert(total / (count - ddof), total.type.dtype)
    return select(count <= ddof, np.nan, result)


@traceable(np.nanstd)
def nanstd(
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
    refuse("nanstd", out=out, where=where, mean=mean)
    squared = nanvar(a, axis=axis, dtype=dtype, ddof=ddof, keepdims=keepdims, correction=correction)
    return squared.world.sqrt(squared)


REDUCTIONS.update(fmax=nanmax, fmin=nanmin)
ACCUMULATIONS.update(add=cumsum, multiply=cumprod)
