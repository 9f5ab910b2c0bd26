"""Reductions that pass over NaN."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.numpy.checks import real_dtype
from graphc.numpy.dispatch import common_world, given, strong, traceable
from graphc.numpy.elementwise import isnan, logical_not, where
from graphc.numpy.methods import flag, reduce
from graphc.numpy.reductions import cumsum, prod, sum
from graphc.numpy.reductions import mean as mean_of_all
from graphc.numpy.reductions import var as variance_of_all
from graphc.numpy.sorting import argmax, argmin
from graphc.numpy.statistics import cumprod
from graphc.numpy.ufuncs import without_nan

__all__ = [
    "nanargmax",
    "nanargmin",
    "nancumprod",
    "nancumsum",
    "nanmax",
    "nanmean",
    "nanmin",
    "nanprod",
    "nanstd",
    "nansum",
    "nanvar",
]

select = where


def _present(a: Any, value: float) -> Any:
    """The operand with another value in place of NaN."""
    return without_nan(strong(a, common_world(a)), value)


@traceable(np.nansum)
def nansum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = np._NoValue,
    initial: Any = np._NoValue,
    where: Any = np._NoValue,
) -> Any:
    """The sum over axes of what is no NaN; 0 where nothing is."""
    return sum(_present(a, 0), axis, dtype, None, keepdims, initial, where)


@traceable(np.nanprod)
def nanprod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = np._NoValue,
    initial: Any = np._NoValue,
    where: Any = np._NoValue,
) -> Any:
    """The product over axes of what is no NaN; 1 where nothing is."""
    return prod(_present(a, 1), axis, dtype, None, keepdims, initial, where)


@traceable(np.nancumsum)
def nancumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """Running sums along an axis, or of all elements in one line, in which NaN counts 0."""
    return cumsum(_present(a, 0), axis, dtype)


@traceable(np.nancumprod)
def nancumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """Running products along an axis, or of all elements in one line, in which NaN counts 1."""
    return cumprod(_present(a, 1), axis, dtype)


@traceable(np.nanmax)
def nanmax(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = np._NoValue,
    initial: Any = np._NoValue,
    where: Any = np._NoValue,
) -> Any:
    """The largest element over axes that is no NaN; NaN where nothing is. Ties share the derivative equally."""
    return reduce(np.fmax, a, axis, None, None, keepdims, initial, where, name="nanmax")


@traceable(np.nanmin)
def nanmin(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = np._NoValue,
    initial: Any = np._NoValue,
    where: Any = np._NoValue,
) -> Any:
    """The smallest element over axes that is no NaN; NaN where nothing is. Ties share the derivative equally."""
    return reduce(np.fmin, a, axis, None, None, keepdims, initial, where, name="nanmin")


@traceable(np.nanargmax)
def nanargmax(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = np._NoValue) -> Any:
    """The position along an axis of the largest element that is no NaN.

    Where nothing is, the position is 0 and no error is raised.
    """
    return argmax(_present(a, -np.inf), axis, keepdims=keepdims)


@traceable(np.nanargmin)
def nanargmin(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = np._NoValue) -> Any:
    """The position along an axis of the smallest element that is no NaN.

    Where nothing is, the position is 0 and no error is raised.
    """
    return argmin(_present(a, np.inf), axis, keepdims=keepdims)


def _check_inexact(dtype: Any) -> None:
    if dtype is not None and np.dtype(dtype).kind not in "fc":
        raise TypeError("If a is inexact, then dtype must be inexact")


def _mean(x: Any, axis: Any, dtype: Any, keepdims: Any, where: Any) -> Any:
    """The mean of what is no NaN."""
    count = sum(logical_not(isnan(x)), axis=axis, keepdims=keepdims, where=where)
    total = sum(without_nan(x, 0), axis=axis, dtype=dtype, keepdims=keepdims, where=where)
    # the count is exact in the wider dtype that NumPy divides in
    wide = total / count
    return wide.world.convert(wide, total.type.dtype)


@traceable(np.nanmean)
def nanmean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = np._NoValue,
    *,
    where: Any = np._NoValue,
) -> Any:
    """The mean over axes of what is no NaN; NaN where nothing is."""
    x = strong(a, common_world(a, where))
    if x.type.dtype.kind != "f":
        return mean_of_all(x, axis, dtype, None, keepdims, where=where)
    _check_inexact(dtype)
    return _mean(x, axis, dtype, keepdims, where)


@traceable(np.nanvar)
def nanvar(
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
    """The variance over axes of what is no NaN; NaN where nothing is left, `ddof` taken off."""
    if given(correction):
        if ddof != 0:
            raise ValueError("ddof and correction can't be provided simultaneously.")
        ddof = correction
    x = strong(a, common_world(a, where, mean))
    if x.type.dtype.kind != "f":
        return variance_of_all(x, axis, dtype, None, ddof, keepdims, where=where, mean=mean)
    world = x.world
    _check_inexact(dtype)
    if dtype is not None:
        x = world.convert(x, real_dtype(dtype))
    missing = isnan(x)
    # one selection between the operand and all that follows keeps NaN out of its derivatives
    x = without_nan(x, 0)
    if given(mean):
        centre = strong(mean, world)
    else:
        number = sum(logical_not(missing), axis=axis, keepdims=True, where=where)
        centre = sum(x, axis=axis, keepdims=True, where=where) / number
    off = select(missing, 0, x - world.convert(centre, x.type.dtype))
    keep = flag(keepdims)
    count = sum(logical_not(missing), axis=axis, keepdims=keep, where=where)
    total = sum(off * off, axis=axis, keepdims=keep, where=where)
    result = world.convert(total / (count - ddof), total.type.dtype)
    return select(count <= ddof, np.nan, result)


@traceable(np.nanstd)
def nanstd(
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
    """The standard deviation over axes of what is no NaN: the square root of `nanvar`."""
    squared = nanvar(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    return squared.world.sqrt(squared)
