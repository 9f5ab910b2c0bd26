"""Random orders and random elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import DTypeError, ShapeError, TraceError
from graphc.ops.typing import normalise_axis
from graphc.random.continuous import halves, unit, waiting
from graphc.random.drawing import DOUBLE, Shape, as_key, as_shape, cast, count, draws, emit, parameter
from graphc.tracing import SymbolicSize, Traced, as_size

U64 = np.dtype(np.uint64)


def _is_size(x: Any) -> bool:
    return isinstance(x, (int, np.integer, SymbolicSize)) and not isinstance(x, bool)


def _population(function: str, x: Any, axis: int) -> tuple[Any, int, Any]:
    """What is drawn from (None for 0, 1, ...), the axis, and how much there is along it."""
    if not isinstance(x, Traced) and not isinstance(x, (np.ndarray, SymbolicSize)):
        x = np.asarray(x)[()]
    if _is_size(x):
        (size,) = as_shape(function, x)
        return None, 0, size
    if not isinstance(x, (Traced, np.ndarray)):
        raise DTypeError(
            f"random.{function}: neither an array nor a number of elements", expected="an array", actual=repr(x)
        )
    if not x.ndim:
        if isinstance(x, Traced) and x.type.dtype.kind in "iu":
            raise TraceError(
                f"random.{function}: how many elements there are is known only when the graph runs",
                expected="a number, a size as in x.shape, or an array",
                actual=f"a traced {x.type!r}",
                fix="make the number a static argument",
            )
        if x.dtype.kind in "iu":
            return _population(function, int(x), axis)
    place = normalise_axis(function, axis, x.ndim)
    return x, place, x.shape[place]


@draws
def permutation(key: Any, x: Any, axis: int = 0, independent: bool = False) -> Any:
    """The elements along an axis in random order, all orders exactly as likely.

    Args:
        key: u32[4].
        x: an array, which may be traced; or a number n, which stands for 0, 1, ..., n - 1.
        axis: the axis along which slices are moved.
        independent: whether each line along the axis has an order of its own.

    Returns:
        An array of the shape and dtype of x (i64[n] for a number).

    >>> import graphc
    >>> graphc.random.permutation(graphc.random.key(7), 5)
    array([4, 1, 0, 2, 3])
    >>> graphc.random.permutation(graphc.random.key(7), np.array([[1, 2], [3, 4]]), independent=True)
    array([[3, 2],
           [1, 4]])
    """
    source = as_key("permutation", key)
    elements, place, size = _population("permutation", x, axis)
    if elements is None or not independent:
        order = emit("random_order", source, shape=(size,))
        return order if elements is None else np.take(elements, order, axis=place)
    last = elements.ndim - 1
    lines = np.moveaxis(elements, place, last)
    order = emit("random_order", source, shape=tuple(lines.shape))
    return np.moveaxis(np.take_along_axis(lines, order, axis=last), last, place)


@draws
def choice(key: Any, a: Any, shape: Any = (), replace: bool = True, p: Any = None, axis: int = 0) -> Any:
    """Random elements of an array.

    Args:
        key: u32[4].
        a: an array, which may be traced; or a number n, which stands for 0, 1, ..., n - 1.
        shape: how many elements; it takes the place of the axis in the shape of the result.
        replace: whether an element can be drawn again.
        p: the probability of each element along the axis; by default all are alike. An element of probability 0 is
            never drawn. A traced p is divided by its sum.
        axis: along which `a` is drawn from.

    Raises:
        ValueError: p is no distribution, or there are not enough elements to draw without replacement.

    >>> import graphc
    >>> graphc.random.choice(graphc.random.key(7), np.array([10, 20, 30]), 4, p=[0.5, 0.0, 0.5])
    array([30, 10, 30, 30])
    >>> graphc.random.choice(graphc.random.key(7), 10, 4, replace=False)
    array([4, 1, 7, 6])
    """
    source, sizes = as_key("choice", key), as_shape("choice", () if shape is None else shape)
    elements, place, size = _population("choice", a, axis)
    chances = None if p is None else _chances(p, size, None if replace else count(sizes))
    found = _with_replacement(source, sizes, size, chances) if replace else _without(source, sizes, size, chances)
    return found if elements is None else np.take(elements, found, axis=place)


def _chances(p: Any, size: Any, needed: Any) -> Any:
    """Probabilities in double precision; where they are known now, they have to be right."""
    chances = parameter("choice", "p", p, DOUBLE)
    if chances.ndim != 1 or dims.equal(as_size(chances.shape[0]), as_size(size)) is False:
        raise ShapeError(
            "random.choice: p does not have a probability for each element",
            expected=f"a vector of {size}",
            actual=f"an array of shape {chances.shape}",
        )
    if isinstance(chances, Traced):
        return chances
    if np.any(np.isnan(chances)) or np.any(chances < 0):
        raise ValueError("graphc.random.choice: probabilities are not non-negative")
    given = np.asarray(p).dtype
    tolerance = max(1e-8, float(np.sqrt(np.finfo(given).eps)) if given.kind == "f" else 0.0)
    if abs(np.sum(chances) - 1) > tolerance:
        raise ValueError(f"graphc.random.choice: probabilities add up to {np.sum(chances)}, not to 1")
    if isinstance(needed, int) and needed > np.count_nonzero(chances):
        raise ValueError(f"graphc.random.choice: fewer than {needed} elements have a probability other than 0")
    return chances


def _with_replacement(key: Any, shape: Shape, size: Any, chances: Any) -> Any:
    if dims.equal(as_size(size), 0) and dims.equal(as_size(count(shape)), 0) is not True:
        raise ValueError("graphc.random.choice: there is nothing to choose from")
    if chances is None:
        span = cast(size.value() if isinstance(size, SymbolicSize) else np.int64(size), U64)
        return cast(emit("random_below", key, span, shape=shape, dtype=U64), np.int64)
    sums = np.cumsum(chances)
    # the last quotient is exactly 1, above every number drawn; where p is 0, no number lies between two sums
    return np.searchsorted(sums / sums[-1], unit(key, shape, DOUBLE), side="right")


def _without(key: Any, shape: Shape, size: Any, chances: Any) -> Any:
    wanted = count(shape)
    if dims.less(as_size(size), as_size(wanted)):
        raise ValueError(f"graphc.random.choice: {wanted} of {size} elements cannot be drawn without replacement")
    if chances is None:
        order = emit("random_order", key, shape=(size,))
    else:
        # the order of arrival, when the rates of arrival are the probabilities: P. S. Efraimidis, P. G. Spirakis, 2006
        order = np.argsort(waiting(*halves(key, (size,), DOUBLE)) / chances, stable=True)
    return np.reshape(order[:wanted], shape)
