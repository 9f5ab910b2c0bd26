"""Counting: how often whole numbers occur, and how many values lie in each bin."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from graphc.errors import DTypeError, ShapeError, UnsupportedError
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.elementwise import where
from graphc.numpy.indexing import diff
from graphc.numpy.picking import fixed_size, whole_number
from graphc.numpy.ranges import linspace
from graphc.numpy.reductions import max, min, sum
from graphc.numpy.shaping import ravel, reshape, transpose
from graphc.numpy.sorting import searchsorted
from graphc.tracing import Traced, holds_traced

__all__ = ["bincount", "histogram", "histogram2d", "histogram_bin_edges", "histogramdd"]

INT: Any = np.dtype(np.int64)


@traceable(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: Any = 0) -> Any:
    """How often each whole number from 0 on occurs, or the sums of the weights of those places.

    Where `x` is traced, its largest number is not known, so that `minlength` is needed and is the length of the
    result; a number that is not below it, or is negative, raises an error when the graph runs.
    """
    world = common_world(x, weights)
    least = whole_number("bincount", "minlength", minlength)
    if least < 0:
        raise ValueError("'minlength' must not be negative")
    if isinstance(x, Traced):
        if not least:
            raise UnsupportedError(
                "np.bincount: the size of the result depends on the largest number of a traced value",
                expected="minlength=",
                actual=repr(x.type),
                fix="np.bincount(x, minlength=n), where n is above every number in x",
            )
        places = strong(x, world)
    else:
        known = np.asarray(x)
        if known.size and known.dtype.kind in "iu" and known.min() < 0:
            raise ValueError("'list' argument must have no negative elements")
        least = builtins.max(least, int(known.max()) + 1 if known.size else 0)
        places = strong(known, world)
    if places.ndim != 1:
        raise ShapeError("bincount: object of too small depth for desired array", actual=repr(places.type))
    if not np.can_cast(places.type.dtype, INT, "safe"):
        raise DTypeError(
            f"bincount: cannot cast {places.type.dtype} to int64 according to the rule 'safe'", actual=repr(places.type)
        )
    places = world.convert(places, INT)
    # a negative number would count from the end: send it to where the scatter raises
    places = where(places < 0, least, places)
    if weights is None:
        number = world.full(1, places.type)
    else:
        number = world.convert(strong(weights, world), np.dtype(np.float64))
        if number.ndim != 1 or not world.facts.equal(number.type.shape[0], places.type.shape[0]):
            raise ShapeError(
                "bincount: the weights and list don't have the same length.",
                actual=f"{places.type!r} and {number.type!r}",
            )
    return world.scatter_add(number, places, axis=0, shape=(least,))


# --- bins ---------------------------------------------------------------------------------------------------


def _edges(function: str, x: Any, bins: Any, range: Any, dtype: Any = None) -> Any:
    """The ends of the bins: a plain array where they do not depend on traced values."""
    if isinstance(bins, str):
        raise UnsupportedError(
            f"np.{function}: how many bins {bins!r} gives depends on the values",
            expected="bins= as a number or as an array of edges",
            actual=f"bins={bins!r}",
            fix="give the number of bins",
        )
    if np.ndim(bins) == 1:
        return strong(bins, common_world(x, bins)) if holds_traced(bins) else _ascending(np.asarray(bins))
    if np.ndim(bins):
        raise ValueError("`bins` must be 1d, when an array")
    try:
        count = whole_number(function, "bins", bins)
    except TypeError as error:
        if isinstance(error, UnsupportedError):
            raise
        raise TypeError("`bins` must be an integer, a string, or an array") from error
    if count < 1:
        raise ValueError("`bins` must be positive, when an integer")
    if range is not None and not holds_traced(range):
        return np.histogram_bin_edges(np.zeros(0, x.type.dtype if dtype is None else dtype), count, range)
    first, last = _outer(x, range)
    kind = np.result_type(x.type.dtype, first.type.dtype, last.type.dtype)
    if dtype is not None or kind.kind != "f":
        kind = np.result_type(kind, np.float64)
    return linspace(first, last, count + 1, dtype=kind)


def _ascending(edges: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if np.any(edges[:-1] > edges[1:]):
        raise ValueError("`bins` must increase monotonically, when an array")
    return edges


def _outer(x: Any, range: Any) -> tuple[Any, Any]:
    """The first and the last edge: those given, or the extremes of the values, moved apart where they are equal."""
    world = x.world
    if range is not None:
        first, last = (strong(v, world) for v in range)
    elif x.type.shape == (0,):
        first, last = (world.constant(v, np.dtype(np.int64)) for v in (0, 1))
    else:
        first, last = min(x), max(x)
    same = first == last
    return where(same, first - 0.5, first), where(same, last + 0.5, last)


def _bins(x: Any, edges: Any) -> tuple[Any, Any]:
    """The bin of each value, and whether it lies in one; the last bin holds its right edge too."""
    count = edges.shape[0] - 1
    last = edges[-1]
    places = searchsorted(edges, x, "right") - 1
    places = where(x == last, count - 1, places)
    return places, (places >= 0) & (places < count)


@traceable(np.histogram_bin_edges)
def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    """The edges of the bins that `histogram` counts in.

    The number of bins must be known when the graph is traced; names of rules for it are refused.
    """
    value = strong(a, common_world(a, bins, range, weights))
    if weights is not None and np.shape(weights) != value.shape:
        raise ValueError("weights should have the same shape as a.")
    x = ravel(value)
    return strong(_edges("histogram_bin_edges", x, bins, range), x.world)


@traceable(np.histogram)
def histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """How many values lie in each bin, or the sums of their weights; and the edges of the bins.

    The number of bins must be known when the graph is traced; names of rules for it are refused. That traced edges
    ascend, and that a range found is finite, is not checked. Counts have no derivative, sums of weights do.
    """
    world = common_world(a, bins, range, weights)
    x = strong(a, world)
    if x.type.dtype.kind == "b":
        x = world.convert(x, np.dtype(np.uint8))
    number = None
    if weights is not None:
        number = strong(weights, world)
        if number.type.shape != x.type.shape:
            raise ValueError("weights should have the same shape as a.")
        number = ravel(number)
    x = ravel(x)
    edges = _edges("histogram", x, bins, range)
    places, inside = _bins(x, edges)
    if number is None:
        number = world.full(1, type(x.type)(x.type.shape, INT))
    count = fixed_size("histogram", edges.shape[0], "the number of bins") - 1
    # what lies in no bin goes to one more place, which is left out
    totals = world.scatter_add(number, where(inside, places, count), axis=0, shape=(count + 1,))[:-1]
    if density:
        width = world.convert(
            strong(np.diff(edges) if isinstance(edges, np.ndarray) else diff(edges), world), np.dtype(float)
        )
        totals = totals / width / sum(totals)
    return totals, edges


@traceable(np.histogramdd)
def histogramdd(sample: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """How many points lie in each box of a grid, or the sums of their weights; and the edges along each axis.

    The numbers of bins must be known when the graph is traced. That traced edges ascend is not checked.
    """
    world = common_world(sample, bins, range, weights)
    if isinstance(sample, (list, tuple)):
        columns = [strong(v, world) for v in sample]
    else:
        points = strong(sample, world)
        if points.ndim != 2:
            points = transpose(reshape(points, (1, *points.type.shape)))
        columns = [points[:, k] for k in builtins.range(fixed_size("histogramdd", points.type.shape[1]))]
    rank = len(columns)
    if np.ndim(bins) == 0:
        bins = [bins] * rank
    elif len(bins) != rank:
        raise ValueError("The dimension of bins must be equal to the dimension of the sample x.")
    if range is None:
        range = (None,) * rank
    elif len(range) != rank:
        raise ValueError("range argument must have one entry per dimension")
    edges = [_edges("histogramdd", x, b, r, np.float64) for x, b, r in zip(columns, bins, range, strict=True)]
    found = [_bins(x, e) for x, e in zip(columns, edges, strict=True)]
    inside = found[0][1]
    for _, one in found[1:]:
        inside = inside & one
    counts = [fixed_size("histogramdd", e.shape[0], "the number of bins") - 1 for e in edges]
    places = [where(inside, p, n) for (p, _), n in zip(found, counts, strict=True)]
    float64 = np.dtype(np.float64)
    size = type(columns[0].type)(columns[0].type.shape, float64)
    number = world.full(1, size) if weights is None else world.convert(strong(weights, world), float64)
    totals = world.scatter_add(number, *places, axis=0, shape=tuple(n + 1 for n in counts))
    totals = totals[(slice(-1),) * rank]
    if density:
        whole = sum(totals)
        for k, e in enumerate(edges):
            width = strong(np.diff(e) if isinstance(e, np.ndarray) else diff(e), world)
            totals = totals / reshape(width, tuple(counts[k] if i == k else 1 for i in builtins.range(rank)))
        totals = totals / whole
    return totals, edges


@traceable(np.histogram2d)
def histogram2d(x: Any, y: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """How many points lie in each rectangle of a grid, or the sums of their weights; and the edges of both axes.

    The numbers of bins must be known when the graph is traced. That traced edges ascend is not checked.
    """
    if (not isinstance(bins, Traced) and np.ndim(bins) == 0) or isinstance(bins, Traced) or len(bins) not in (1, 2):
        bins = [bins, bins]
    totals, edges = histogramdd([x, y], bins, range, density, weights)
    return totals, edges[0], edges[1]
