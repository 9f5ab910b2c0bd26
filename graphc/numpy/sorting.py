"""Order: sorting, the positions of extremes, searches, quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import UnsupportedError
from graphc.numpy.dispatch import common_world, convert_operands, refuse, strong, traceable
from graphc.numpy.elementwise import isnan, where
from graphc.numpy.reductions import axes_of
from graphc.ops.typing import normalise_axis
from graphc.tracing import Traced


def _line(name: str, x: Traced, axis: Any) -> tuple[Any, int]:
    """The operand and an axis counted from the front; None lays all elements in one line."""
    if axis is None:
        return x.world.reshape(x, shape=(dims.product(x.type.shape),)), 0
    return x, normalise_axis(name, axis.__index__(), x.ndim)


def _kind(name: str, kind: Any, order: Any, stable: Any) -> bool:
    refuse(name, order=order)
    if kind is not None and stable is not None:
        raise ValueError("`kind` and `stable` parameters can't be provided at the same time. Use only one of them.")
    return bool(stable) or kind in ("stable", "mergesort")


@traceable(np.sort)
def sort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    """As `numpy.sort`. Equal elements share their derivatives equally."""
    _kind("sort", kind, order, stable)
    x, place = _line("sort", strong(a, common_world(a)), axis)
    return x.world.sort(x, axis=place)


@traceable(np.argsort)
def argsort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    in_order = _kind("argsort", kind, order, stable)
    value = strong(a, common_world(a))
    if not value.ndim:
        value = value.world.reshape(value, shape=(1,))  # the one position, as NumPy gives it
    x, place = _line("argsort", value, axis)
    return x.world.argsort(x, axis=place, stable=in_order)


def _extreme(numpy_function: Any) -> Any:
    name = numpy_function.__name__

    def apply(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        refuse(name, out=out)
        value = strong(a, common_world(a))
        if not value.ndim and axis is not None:
            value = value.world.reshape(value, shape=(1,))
            return value.world.apply(name, (value,), axis=normalise_axis(name, axis, 1), keepdims=False)
        x, place = _line(name, value, axis)
        keep = keepdims is not np._NoValue and bool(keepdims)
        found = x.world.apply(name, (x,), axis=place, keepdims=keep and axis is not None)
        return found if axis is not None or not keep else x.world.reshape(found, shape=(1,) * value.ndim)

    return traceable(numpy_function)(apply)


argmax = _extreme(np.argmax)
argmin = _extreme(np.argmin)


@traceable(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    refuse("searchsorted", sorter=sorter)
    if side not in ("left", "right"):
        raise ValueError(f"search side must be 'left' or 'right' (got '{side}')")
    world, values = convert_operands(np.add, (strong(a, common_world(a, v)), strong(v, common_world(a, v))))
    return world.searchsorted(*values, right=side == "right")


@traceable(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    if isinstance(bins, Traced):
        raise UnsupportedError(
            "np.digitize: whether traced bins ascend is not known",
            expected="an array of bins",
            actual=repr(bins.type),
            fix="np.searchsorted(bins, x, side='right') for ascending bins",
        )
    edges = np.asarray(bins)
    if edges.ndim == 1 and np.all(np.diff(edges) >= 0):
        return searchsorted(edges, x, side="left" if right else "right")
    if edges.ndim == 1 and np.all(np.diff(edges) <= 0):
        return len(edges) - searchsorted(edges[::-1], x, side="left" if right else "right")
    raise ValueError("bins must be monotonically increasing or decreasing")


def _sorted_rows(name: str, a: Any, axis: Any) -> tuple[Any, tuple[int, ...], Any]:
    """Elements sorted along a new last axis that holds the given axes; these; and where a line has a NaN."""
    world = common_world(a)
    value = strong(a, world)
    if value.type.dtype.kind != "f":
        value = world.convert(value, np.dtype(np.float64))
    axes = axes_of(name, axis, value.ndim)
    kept = tuple(k for k in range(value.ndim) if k not in axes)
    count = dims.product([value.type.shape[k] for k in axes])
    rows = world.transpose(value, perm=kept + axes)
    rows = world.reshape(rows, shape=(*(value.type.shape[k] for k in kept), count))
    if dims.equal(count, 0):
        raise UnsupportedError(f"np.{name}: an empty range has no {name}", actual=repr(value.type))
    ordered = world.sort(rows, axis=len(kept))
    return ordered, axes, ordered[..., -1]


def _restored(result: Any, axes: tuple[int, ...], rank: int, keepdims: Any) -> Any:
    if keepdims is np._NoValue or not keepdims:
        return result
    sizes = iter(result.type.shape)
    return result.world.reshape(result, shape=tuple(1 if k in axes else next(sizes) for k in range(rank)))


@traceable(np.median)
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False) -> Any:
    """As `numpy.median`; of an even number of elements the two in the middle share the derivative, and so do ties."""
    refuse("median", out=out)
    ordered, axes, last = _sorted_rows("median", a, axis)
    count = ordered.shape[-1]
    low, high = ordered[..., (count - 1) // 2], ordered[..., count // 2]
    middle = low if low.id == high.id else _mean_of_two(low, high)
    # NaN is sorted to the end
    return _restored(where(isnan(last), last, middle), axes, np.ndim(a), keepdims)


def _mean_of_two(low: Any, high: Any) -> Any:
    # as numpy.mean: half precision is added in single
    world, dtype = low.world, low.type.dtype
    wide = np.dtype(np.float32) if dtype == np.float16 else dtype
    return world.convert((world.convert(low, wide) + world.convert(high, wide)) / 2, dtype)


def _quantile(name: str, a: Any, q: Any, axis: Any, method: str, keepdims: Any) -> Any:
    if isinstance(q, Traced):
        raise UnsupportedError(f"np.{name}: q cannot be traced", expected="numbers known when the graph is traced")
    if method != "linear":
        raise UnsupportedError(f"np.{name}: method={method!r} cannot be traced", expected="'linear'")
    levels = np.asarray(q, np.float64)
    if not np.all((levels >= 0) & (levels <= 1)):
        raise ValueError(
            "Quantiles must be in the range [0, 1]"
            if name == "quantile"
            else "Percentiles must be in the range [0, 100]"
        )
    ordered, axes, last = _sorted_rows(name, a, axis)
    count = ordered.shape[-1]
    if not isinstance(count, int):
        raise UnsupportedError(
            f"np.{name} along an axis of symbolic size cannot be traced",
            expected="a size known when the graph is traced",
            actual=str(count),
            fix="np.median, or np.sort and indexing",
        )
    results = []
    for level in levels.ravel():
        at = float(level) * (count - 1)
        below = int(np.floor(at))
        low, high = ordered[..., below], ordered[..., min(below + 1, count - 1)]
        results.append(_restored(where(isnan(last), last, _between(low, high, at - below)), axes, np.ndim(a), keepdims))
    world = ordered.world
    if not levels.ndim:
        return results[0]
    parts = [world.reshape(r, shape=(1, *r.type.shape)) for r in results]
    stacked = world.concatenate(*parts, axis=0)
    return world.reshape(stacked, shape=(*levels.shape, *results[0].type.shape))


def _between(low: Any, high: Any, weight: float) -> Any:
    """Linear interpolation as NumPy does it: from the nearer side."""
    step = high - low
    return high - step * (1 - weight) if weight >= 0.5 else low + step * weight


@traceable(np.quantile)
def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: Any = False,
    *,
    weights: Any = None,
) -> Any:
    """As `numpy.quantile` with linear interpolation, at levels that are known when the graph is traced."""
    refuse("quantile", out=out, weights=weights)
    return _quantile("quantile", a, q, axis, method, keepdims)


@traceable(np.percentile)
def percentile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: Any = False,
    *,
    weights: Any = None,
) -> Any:
    """As `numpy.percentile` with linear interpolation, at levels that are known when the graph is traced."""
    refuse("percentile", out=out, weights=weights)
    if isinstance(q, Traced):
        raise UnsupportedError("np.percentile: q cannot be traced", expected="numbers known when the graph is traced")
    return _quantile("percentile", a, np.true_divide(q, 100), axis, method, keepdims)
