"""Order: sorting, the positions of extremes, searches, quantiles."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import UnsupportedError
from graphc.numpy.dispatch import common_world, refuse, strong, traceable
from graphc.numpy.picking import static_array
from graphc.ops.sorting import along
from graphc.ops.typing import normalise_axis
from graphc.tracing import Traced

__all__ = [
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "digitize",
    "isin",
    "lexsort",
    "partition",
    "searchsorted",
    "sort",
]


def _line(name: str, x: Traced, axis: Any) -> tuple[Any, int]:
    """The operand and an axis counted from the front; None lays all elements in one line."""
    if axis is None:
        return x.world.reshape(x, shape=(dims.product(x.type.shape),)), 0
    return x, normalise_axis(name, operator.index(axis), x.ndim)


def _kind(name: str, kind: Any, order: Any, stable: Any) -> bool:
    refuse(name, order=order)
    # NumPy looks at the first letter only
    letter = None if kind is None else str(kind)[:1].lower()
    if letter not in (None, "q", "h", "m", "s"):
        raise ValueError(f"sort kind must be one of 'quick', 'heap', or 'stable' (got {kind!r})")
    if kind is not None and stable is not None:
        raise ValueError("`kind` and `stable` parameters can't be provided at the same time. Use only one of them.")
    return bool(stable) or letter in ("m", "s")


@traceable(np.sort)
def sort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    """The elements in ascending order along an axis, NaN last.

    Equal elements share their derivatives equally.
    """
    _kind("sort", kind, order, stable)
    x, place = _line("sort", strong(a, common_world(a)), axis)
    return x.world.sort(x, axis=place)


@traceable(np.argsort)
def argsort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    """The positions that sort an axis, NaN last; equal elements in their order if `stable`."""
    in_order = _kind("argsort", kind, order, stable)
    value = strong(a, common_world(a))
    if not value.ndim:
        value = value.world.reshape(value, shape=(1,))  # the one position, as NumPy gives it
    x, place = _line("argsort", value, axis)
    return x.world.argsort(x, axis=place, stable=in_order)


def _check_partition(function: str, x: Any, kth: Any, axis: Any, kind: Any, order: Any) -> Any:
    """Refuse what NumPy refuses; the axis to sort along."""
    refuse(function, order=order)
    if kind != "introselect":
        raise ValueError(f"select kind must be 'introselect' (got {kind!r})")
    places = static_array(function, "kth", kth)
    if places.dtype.kind not in "iu":
        wrong = "Booleans unacceptable as" if places.dtype.kind == "b" else "must be integer, not a float,"
        raise (ValueError if places.dtype.kind == "b" else TypeError)(f"{wrong} partition index")
    size = dims.product(x.type.shape) if axis is None else x.type.shape[normalise_axis(function, axis, x.ndim)]
    outside = [k for k in places.ravel().tolist() if isinstance(size, int) and not -size <= k < size]
    if outside:
        raise ValueError(f"kth(={outside[0]}) out of bounds ({size})")


@traceable(np.partition)
def partition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None) -> Any:
    """The elements along an axis so that the k-th stands where it does in order, and no smaller one behind it.

    The elements are all in order here, which NumPy does not promise.
    """
    x = strong(a, common_world(a))
    _check_partition("partition", x, kth, axis, kind, order)
    return sort(x, axis)


@traceable(np.argpartition)
def argpartition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None) -> Any:
    """The positions that partition an axis: here those that sort it, of equals the first first."""
    x = strong(a, common_world(a))
    if not x.ndim:
        x = x.world.reshape(x, shape=(1,))
    _check_partition("argpartition", x, kth, axis, kind, order)
    return argsort(x, axis, stable=True)


@traceable(np.lexsort)
def lexsort(keys: Any, axis: int = -1) -> Any:
    """The positions that sort by the last key, equals by the key before it, and so on."""
    world = common_world(keys)
    values = [strong(k, world) for k in (keys if not isinstance(keys, Traced) or keys.ndim else ())]
    if not values:
        raise TypeError("need sequence of keys with len > 0 in lexsort")
    if any(v.type.shape != values[0].type.shape for v in values):
        raise ValueError("all keys need to be the same shape")
    if not values[0].ndim:
        return world.constant(0, np.dtype(np.int64))
    place = normalise_axis("lexsort", operator.index(axis), values[0].ndim)
    order = world.argsort(values[0], axis=place, stable=True)
    for key in values[1:]:
        order = along(world, order, world.argsort(along(world, key, order, place), axis=place, stable=True), place)
    return order


def _extreme(numpy_function: Any, doc: str) -> Any:
    name = numpy_function.__name__

    def apply(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = np._NoValue) -> Any:
        value = strong(a, common_world(a))
        if not value.ndim and axis is not None:
            value = value.world.reshape(value, shape=(1,))
            return value.world.apply(name, (value,), axis=normalise_axis(name, axis, 1), keepdims=False)
        x, place = _line(name, value, axis)
        keep = keepdims is not np._NoValue and bool(keepdims)
        found = x.world.apply(name, (x,), axis=place, keepdims=keep and axis is not None)
        return found if axis is not None or not keep else x.world.reshape(found, shape=(1,) * value.ndim)

    apply.__doc__ = doc
    return traceable(numpy_function)(apply)


argmax = _extreme(
    np.argmax, "The position of the largest element along an axis, or of all: the first of several; NaN is the largest."
)
argmin = _extreme(
    np.argmin,
    "The position of the smallest element along an axis, or of all: the first of several; NaN is the smallest.",
)


@traceable(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    """Where to insert values into a vector in ascending order, before or behind equal elements.

    That the vector ascends is not checked, as in NumPy.
    """
    if side not in ("left", "right"):
        raise ValueError(f"search side must be 'left' or 'right' (got '{side}')")
    world = common_world(a, v, sorter)
    edges, values = world.promote([strong(x, world) for x in (a, v)])
    if sorter is not None:
        order = strong(sorter, world)
        if order.type.dtype.kind not in "iu":
            raise TypeError("sorter must only contain integers")
        if order.type.shape != edges.type.shape:
            raise ValueError("sorter.size must equal len(a)")
        edges = world.gather(edges, order, axis=0)
    return world.searchsorted(edges, values, right=side == "right")


@traceable(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """The number of the bin between edges that each value lies in.

    The edges must be known when the graph is traced, for they may ascend or descend.
    """
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


@traceable(np.isin, "in1d")
def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, kind: Any = None
) -> Any:
    """Whether each element is one of the test elements."""
    if kind not in (None, "sort", "table"):
        raise ValueError(f"Invalid kind: '{kind}'. Please use None, 'sort' or 'table'.")
    world = common_world(element, test_elements)
    x, tests = world.promote([strong(v, world) for v in (element, test_elements)])
    if kind == "table" and x.type.dtype.kind not in "biu":
        raise ValueError("The 'table' method is only supported for boolean or integer arrays.")
    tests = world.reshape(tests, shape=(dims.product(tests.type.shape),))
    count = tests.type.shape[0]
    if not world.facts.settle("<=", 1, count):
        return world.full(bool(invert), type(x.type)(x.type.shape, np.dtype(np.bool_)))
    ordered = world.sort(tests, axis=0)
    places = np.minimum(searchsorted(ordered, x), ordered.shape[0] - 1)
    found = world.gather(ordered, places, axis=0)
    return found != x if invert else found == x
