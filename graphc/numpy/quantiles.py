"""Medians and quantiles, of all elements or of those that are no NaN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.errors import DTypeError, IndexingError
from graphc.numpy.dispatch import common_world, refuse, strong, traceable
from graphc.numpy.elementwise import isnan, logical_not, where
from graphc.numpy.into import Out
from graphc.numpy.methods import axes_of, flag
from graphc.numpy.reductions import mean, sum
from graphc.tracing import SymbolicSize, Traced

__all__ = ["median", "nanmedian", "nanpercentile", "nanquantile", "percentile", "quantile"]

INT: Final = np.dtype(np.int64)
SPREAD: Final = Out(spread=True)  # NumPy broadcasts these results to `out`


@dataclass(frozen=True, slots=True)
class Rows:
    """Elements sorted along a last axis that joins the given axes, NaN last; and how many of each row count."""

    world: Any
    sorted: Any
    count: Any  # a size, or a traced number for each row
    axes: tuple[int, ...]
    rank: int

    @property
    def last(self) -> Any:
        return self.sorted[..., -1]

    @property
    def floating(self) -> bool:
        return bool(self.sorted.type.dtype.kind == "f")

    def at(self, place: Any) -> Any:
        """The elements at a place: a number, or a traced number for each row and whatever stands before it."""
        if not isinstance(place, Traced):
            return self.sorted[..., int(place)]
        kept = self.sorted.ndim - 1
        index = [place]
        for k, size in enumerate(self.sorted.type.shape[:-1]):
            counted = self.world.iota(size=size, dtype=INT)
            index.insert(-1, self.world.reshape(counted, shape=tuple(size if i == k else 1 for i in range(kept))))
        return self.world.gather(self.sorted, *index, axis=0)

    def restored(self, result: Any, keepdims: Any, lead: int = 0) -> Any:
        """The result with the reduced axes as axes of size 1, if they are to be kept."""
        if not flag(keepdims):
            return result
        front, sizes = result.type.shape[:lead], iter(result.type.shape[lead:])
        return self.world.reshape(
            result, shape=(*front, *(1 if k in self.axes else next(sizes) for k in range(self.rank)))
        )


def _rows(name: str, a: Any, axis: Any, others: Any = ()) -> Rows:
    world = common_world(a, others)
    value = strong(a, world)
    axes = axes_of(name, axis, value.ndim)
    kept = tuple(k for k in range(value.ndim) if k not in axes)
    count = dims.product([value.type.shape[k] for k in axes])
    rows = world.transpose(value, perm=kept + axes)
    rows = world.reshape(rows, shape=(*(value.type.shape[k] for k in kept), count))
    if not world.facts.settle("<=", 1, count):
        raise IndexingError(f"np.{name}: an empty range has no {name}", actual=repr(value.type))
    return Rows(world, world.sort(rows, axis=len(kept)), rows.shape[-1], axes, value.ndim)


def _is_empty(value: Any, axes: Sequence[int] | None = None) -> bool:
    """Whether there are no elements, along all axes or some; a guard where that is not known yet."""
    sizes = value.type.shape if axes is None else [value.type.shape[k] for k in axes]
    return not value.world.facts.settle("<=", 1, dims.product(sizes))


def _present(rows: Rows) -> Rows:
    """The rows with NaN left out of the count."""
    if not rows.floating:
        return rows
    count = sum(logical_not(isnan(rows.sorted)), axis=-1)
    return Rows(rows.world, rows.sorted, count, rows.axes, rows.rank)


def _median(rows: Rows, keepdims: Any) -> Any:
    count, world = rows.count, rows.world
    if isinstance(count, Traced):
        # in a row of NaN alone the first element is NaN
        low, high = rows.at(np.maximum((count - 1) // 2, 0)), rows.at(count // 2)
    else:
        low, high = rows.sorted[..., (count - 1) // 2], rows.sorted[..., count // 2]
    middle = _as_float(low) if low.id == high.id else _mean_of_two(low, high)
    if low.id != high.id and not isinstance(count, int):
        # of an odd number there is one in the middle, of which the sum with itself may overflow
        middle = where(strong(count % 2, world) == 1, _as_float(low), middle)
    return rows.restored(world.convert(middle, middle.type.dtype), keepdims)


def _as_float(x: Any) -> Any:
    return x if x.type.dtype.kind == "f" else x.world.convert(x, np.dtype(np.float64))


def _mean_of_two(low: Any, high: Any) -> Any:
    # as numpy.mean: half precision is added in single
    world, dtype = low.world, low.type.dtype if low.type.dtype.kind == "f" else np.dtype(np.float64)
    wide = np.dtype(np.float32) if dtype == np.float16 else dtype
    return world.convert((world.convert(low, wide) + world.convert(high, wide)) / 2, dtype)


def _without_nan(rows: Rows, result: Any) -> Any:
    """NaN where a row has one: it is sorted to the end."""
    return where(isnan(rows.last), rows.last, result) if rows.floating else result


@traceable(np.median)
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False) -> Any:
    """The middle element, or the mean of the two in the middle, of which ties share the derivative; NaN if empty."""
    value = strong(a, common_world(a))
    if _is_empty(value, axes_of("median", axis, value.ndim)):
        return mean(value, axis, keepdims=keepdims)
    rows = _rows("median", value, axis)
    return rows.restored(_without_nan(rows, _median(rows, False)), keepdims)


@traceable(np.nanmedian, out=SPREAD)
def nanmedian(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = np._NoValue
) -> Any:
    """The median over axes of what is no NaN; NaN where nothing is."""
    value = strong(a, common_world(a))
    if _is_empty(value):
        return mean(value, axis, keepdims=keepdims)
    return _median(_present(_rows("nanmedian", value, axis)), keepdims)


# --- quantiles ----------------------------------------------------------------------------------------------

Place = Callable[[Any, Any], Any]


def _continuous(alpha: float, beta: float) -> Place:
    return lambda n, q: n * q + (alpha + q * (1 - alpha - beta)) - 1


def _step(place: Place, keeps: Callable[[Any, Any], Any]) -> Place:
    """The whole place at or after a real one: the former where `keeps` of the fraction and the whole part holds."""

    def whole(n: Any, q: Any) -> Any:
        at = place(n, q)
        below = np.floor(at)
        return np.maximum(np.where(keeps(at - below, below), below, below + 1), 0.0)

    return whole


def _rounded(rounding: Any) -> Place:
    return lambda n, q: rounding((n - 1) * q)


# The place of the quantile q of n sorted elements, counted from 0 (R. J. Hyndman and Y. Fan, "Sample quantiles in
# statistical packages", The American Statistician 50, 1996; and four of NumPy's own), and for methods between two
# elements what the weight of the second is, by the fraction and the place.
METHODS: Final[dict[str, tuple[Place, Callable[[Any, Any], Any] | None]]] = {
    "linear": (lambda n, q: (n - 1) * q, lambda t, at: t),
    "interpolated_inverted_cdf": (_continuous(0, 1), lambda t, at: t),
    "hazen": (_continuous(0.5, 0.5), lambda t, at: t),
    "weibull": (_continuous(0, 0), lambda t, at: t),
    "median_unbiased": (_continuous(1 / 3.0, 1 / 3.0), lambda t, at: t),
    "normal_unbiased": (_continuous(3 / 8.0, 3 / 8.0), lambda t, at: t),
    "averaged_inverted_cdf": (lambda n, q: n * q - 1, lambda t, at: np.where(t == 0, 0.5, 1.0)),
    "midpoint": (
        lambda n, q: 0.5 * (np.floor((n - 1) * q) + np.ceil((n - 1) * q)),
        lambda t, at: np.where(at % 1 == 0, 0.0, 0.5),
    ),
    "inverted_cdf": (_step(lambda n, q: n * q - 1, lambda t, below: t == 0), None),
    "closest_observation": (_step(lambda n, q: n * q - 1.5, lambda t, below: (t == 0) & (below % 2 == 1)), None),
    "lower": (_rounded(np.floor), None),
    "higher": (_rounded(np.ceil), None),
    "nearest": (_rounded(np.round), None),
}


def _quantile(rows: Rows, q: Any, method: str, keepdims: Any) -> Any:
    """The quantiles at levels between 0 and 1, their axes first."""
    if method not in METHODS:
        raise ValueError(f"{method!r} is not a valid method. Use one of: {', '.join(METHODS)}")
    world, count = rows.world, rows.count
    weak = type(q) in (int, float)
    kept = rows.sorted.ndim - 1
    if isinstance(count, int) and not isinstance(q, Traced):
        levels = np.asarray(q)
        parts = [_one(rows, level, count, method, weak) for level in levels.ravel()]
        if not levels.ndim:
            return rows.restored(parts[0], keepdims)
        rest = parts[0].type.shape
        stacked = world.concatenate(*[world.reshape(p, shape=(1, *rest)) for p in parts], axis=0)
        result = world.reshape(stacked, shape=(*levels.shape, *rest))
        return rows.restored(result, keepdims, levels.ndim)
    count = count.value() if isinstance(count, SymbolicSize) else count
    levels = strong(q, world)
    lead = levels.ndim
    if lead:
        levels = world.reshape(levels, shape=(*levels.type.shape, *(1,) * kept))
    return rows.restored(_one(rows, levels, count, method, weak), keepdims, lead)


def _one(rows: Rows, level: Any, count: Any, method: str, weak: bool) -> Any:
    place, weight = METHODS[method]
    traced = isinstance(count, Traced) or isinstance(level, Traced)
    n = rows.world.convert(count, np.dtype(np.float64)) if isinstance(count, Traced) else count
    at = place(n, level)
    top = np.maximum(n - 1, 0) if traced else n - 1
    below = np.clip(np.floor(at), 0.0, top)
    if weight is None:
        return rows.at(_index(below))
    above = np.where(at < 0, below, np.minimum(below + 1, top))
    share = weight(at - np.floor(at), at)
    low, high = rows.at(_index(below)), rows.at(_index(above))
    kind = np.result_type(low.type.dtype, 1.0 if weak else share.dtype)
    low, high = (rows.world.convert(v, kind) for v in (low, high))
    share = rows.world.convert(share, kind) if traced else kind.type(share)
    # from the nearer side, as NumPy interpolates
    step = high - low
    if traced:
        return where(share >= 0.5, high - step * (1 - share), low + step * share)
    return high - step * (1 - share) if share >= 0.5 else low + step * share


def _index(place: Any) -> Any:
    return place.world.convert(place, INT) if isinstance(place, Traced) else int(place)


def _check_levels(name: str, q: Any) -> None:
    """Levels known now lie between 0 and 1."""
    if not isinstance(q, Traced) and not np.all((np.asarray(q) >= 0) & (np.asarray(q) <= 1)):
        limit = "Percentiles must be in the range [0, 100]" if "percentile" in name else None
        raise ValueError(limit or "Quantiles must be in the range [0, 1]")


def _percent(q: Any) -> Any:
    """Percentages as levels; a Python number stays one."""
    return q / 100 if isinstance(q, Traced) or type(q) in (int, float) else np.true_divide(q, 100)


def _numbers(name: str, a: Any, q: Any) -> Any:
    """The operand of a quantile as a value of the trace."""
    value = strong(a, common_world(a, q))
    if value.type.dtype.kind == "b":
        raise DTypeError(f"{name}: booleans have no difference", actual=repr(value.type), fix="x.astype(float)")
    return value


def _of_all(name: str, a: Any, q: Any, axis: Any, method: str, keepdims: Any, weights: Any) -> Any:
    refuse(name, weights=weights)
    _check_levels(name, q)
    rows = _rows(name, _numbers(name, a, q), axis, [q])
    result = _quantile(rows, q, method, False)
    result = _without_nan(rows, result)
    return rows.restored(result, keepdims, np.ndim(q))


def _of_present(name: str, a: Any, q: Any, axis: Any, method: str, keepdims: Any, weights: Any) -> Any:
    refuse(name, weights=weights)
    _check_levels(name, q)
    value = _numbers(name, a, q)
    if _is_empty(value):
        return mean(value, axis, keepdims=keepdims)  # as NumPy has it, without an axis for the levels
    return _quantile(_present(_rows(name, value, axis, [q])), q, method, keepdims)


@traceable(np.quantile, out=SPREAD)
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
    """The quantiles of elements over axes, at levels from 0 to 1.

    The levels may be traced values, which are not checked to lie in that range. There are no weights.
    """
    return _of_all("quantile", a, q, axis, method, keepdims, weights)


@traceable(np.percentile, out=SPREAD)
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
    """The quantiles of elements over axes, at levels from 0 to 100.

    The levels may be traced values, which are not checked to lie in that range. There are no weights.
    """
    return _of_all("percentile", a, _percent(q), axis, method, keepdims, weights)


@traceable(np.nanquantile, out=SPREAD)
def nanquantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: Any = np._NoValue,
    *,
    weights: Any = None,
) -> Any:
    """The quantiles over axes of what is no NaN, at levels from 0 to 1; NaN where nothing is.

    The levels may be traced values, which are not checked to lie in that range. There are no weights.
    """
    return _of_present("nanquantile", a, q, axis, method, keepdims, weights)


@traceable(np.nanpercentile, out=SPREAD)
def nanpercentile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: Any = np._NoValue,
    *,
    weights: Any = None,
) -> Any:
    """The quantiles over axes of what is no NaN, at levels from 0 to 100; NaN where nothing is.

    The levels may be traced values, which are not checked to lie in that range. There are no weights.
    """
    return _of_present("nanpercentile", a, _percent(q), axis, method, keepdims, weights)
