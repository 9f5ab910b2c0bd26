"""Bits, whole numbers, coins and categories."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import DTypeError, ShapeError
from graphc.ops.typing import normalise_axis
from graphc.random.continuous import halves, unit, waiting
from graphc.random.drawing import (
    DOUBLE,
    Shape,
    as_key,
    as_shape,
    cast,
    check,
    draws,
    emit,
    integer_dtype,
    is_literal,
    parameter,
    result_shape,
)
from graphc.tracing import SymbolicSize, Traced, as_size

INT64 = np.dtype(np.int64)


@draws
def bits(key: Any, shape: Any = (), dtype: Any = np.uint64) -> Any:
    """Random bits, as unsigned integers.

    They are the stream of the generator Philox4x32-10: words of any width are cut from the same bytes.

    >>> import graphc
    >>> graphc.random.bits(graphc.random.key(7), 2, np.uint32)
    array([4099963437, 3221879260], dtype=uint32)
    """
    return emit(
        "random_bits",
        as_key("bits", key),
        shape=as_shape("bits", () if shape is None else shape),
        dtype=integer_dtype("bits", dtype, "u"),
    )


@draws
def integers(key: Any, shape: Any, low: Any, high: Any = None, dtype: Any = np.int64, endpoint: bool = False) -> Any:
    """Whole numbers from `low` to `high`, exclusive, each exactly as likely as any other.

    Args:
        key: u32[4].
        shape: of the result; None for the shape that the bounds broadcast to.
        low, high: the bounds. With one of them only, it is the upper one, and the lower one is 0. Both may be traced,
            and then an empty range gives `low`.
        dtype: any integer dtype.
        endpoint: whether `high` itself is one of the numbers.

    Raises:
        ValueError: there is no number in the range, or one that the dtype does not hold.

    >>> import graphc
    >>> graphc.random.integers(graphc.random.key(7), 5, 1, 6, endpoint=True)
    array([5, 1, 5, 6, 1])
    """
    kind = integer_dtype("integers", dtype)
    if high is None:
        low, high = 0, low
    word = np.dtype(np.uint64 if kind.itemsize == 8 else np.uint32)
    pair = [_bound(name, v) for name, v in (("low", low), ("high", high))]
    if any(isinstance(v, Traced) for v in pair):
        # narrow dtypes leave room for a bound just beyond them
        start, stop = (cast(v, kind if kind.itemsize == 8 else INT64) for v in pair)
        one = 1 if endpoint else 0
        some = stop >= start if endpoint else stop > start
        span = cast(np.where(some, cast(stop, np.uint64) - cast(start, np.uint64) + one, 1), word)
        base = cast(start, word)
    else:
        base, span = _range(pair[0], pair[1], kind, endpoint, word)
    sizes = result_shape("integers", shape, low=base, high=span)
    drawn = emit("random_below", as_key("integers", key), span, shape=sizes, dtype=word)
    return cast(drawn if is_literal(low, 0) else drawn + base, kind)


def _bound(name: str, value: Any) -> Any:
    """A bound as a traced integer, or as an array of Python's integers."""
    if isinstance(value, SymbolicSize):
        value = value.value()
    kind = value.type.dtype.kind if isinstance(value, Traced) else np.asarray(value).dtype.kind
    if kind == "O" and all(type(v) is int for v in np.asarray(value).ravel()):
        kind = "i"
    if kind not in "iu":
        raise DTypeError(
            f"random.integers: {name} must be whole",
            expected="integers",
            actual=repr(value)[:60],
            fix="graphc.random.uniform draws floats",
        )
    return value if isinstance(value, Traced) else np.asarray(value).astype(object)


def _range(low: Any, high: Any, kind: np.dtype[Any], endpoint: bool, word: np.dtype[Any]) -> tuple[Any, Any]:
    """The first number of each range and the count of them, modulo the word's size."""
    limits = np.iinfo(kind)
    last = high if endpoint else high - 1
    if np.any(low > last):
        raise ValueError(f"graphc.random.integers: there is no number from low {low} to high {high}")
    if np.any(low < limits.min) or np.any(last > limits.max):
        raise ValueError(f"graphc.random.integers: low {low} or high {high} is out of bounds for {kind}")
    size = 1 << 8 * word.itemsize
    return np.asarray(low % size).astype(word), np.asarray((last - low + 1) % size).astype(word)


@draws
def bernoulli(key: Any, p: Any = 0.5, shape: Any = None) -> Any:
    """True with probability `p`, else False; never True where p is 0, always where it is 1.

    Args:
        key: u32[4].
        p: the probability, which may be traced.
        shape: of the result; without it, the shape of p.

    Raises:
        ValueError: p is not a probability.

    >>> import graphc
    >>> graphc.random.bernoulli(graphc.random.key(7), 0.1, 6)
    array([False,  True, False, False,  True, False])
    """
    chance = parameter("bernoulli", "p", p, DOUBLE)
    check("bernoulli", "p", chance, lambda v: (v >= 0) & (v <= 1), "from 0 to 1")
    sizes = result_shape("bernoulli", shape, p=chance)
    return unit(as_key("bernoulli", key), sizes, DOUBLE) < chance


@draws
def rademacher(key: Any, shape: Any = (), dtype: Any = np.int64) -> Any:
    """1 or -1, equally likely.

    >>> import graphc
    >>> graphc.random.rademacher(graphc.random.key(7), 6)
    array([-1,  1,  1,  1,  1, -1])
    """
    kind = integer_dtype("rademacher", dtype, "if")
    sizes = as_shape("rademacher", () if shape is None else shape)
    words = emit("random_bits", as_key("rademacher", key), shape=sizes, dtype=np.dtype(np.uint8))
    return 1 - 2 * cast(words & 1, kind)


@draws
def categorical(key: Any, logits: Any, axis: int = -1, shape: Any = None) -> Any:
    """Positions along an axis, each with a probability proportional to exp(logits); never where that is 0.

    By the largest of the logits with Gumbel noise added (E. J. Gumbel, 1954).

    Args:
        key: u32[4].
        logits: logarithms of weights, which need not be normalised; they may be traced, and -inf.
        axis: along which the categories stand.
        shape: of the result, which ends with the shape of the logits without the axis; by default it is that.

    Returns:
        i64[shape].

    >>> import graphc
    >>> graphc.random.categorical(graphc.random.key(7), np.log([0.1, 0.2, 0.7]), shape=6)
    array([1, 1, 2, 1, 2, 2])
    """
    weights = parameter("categorical", "logits", logits, DOUBLE)
    rank = weights.ndim
    place = normalise_axis("categorical", axis, rank)
    rest = tuple(d for k, d in enumerate(weights.shape) if k != place)
    sizes: Shape = rest if shape is None else as_shape("categorical", shape)
    more = len(sizes) - len(rest)
    if more < 0 or not all(dims.equal(as_size(a), as_size(b)) for a, b in zip(sizes[more:], rest, strict=True)):
        raise ShapeError(
            "random.categorical: the shape does not end with that of the logits",
            expected=f"a shape that ends with {rest}",
            actual=str(sizes),
            fix="put further axes first",
        )
    noise = -np.log(waiting(*halves(as_key("categorical", key), (*sizes[:more], *weights.shape), DOUBLE)))
    return np.argmax(weights + noise, axis=more + place)
