"""Continuous distributions, each by the inverse of its distribution function: one word of random bits to a number.

So element i of a draw depends on the key and on i alone, and derivatives with respect to the parameters are those of an
ordinary formula.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.random.drawing import (
    DOUBLE,
    HALF,
    SINGLE,
    Shape,
    as_key,
    as_shape,
    cast,
    check,
    draws,
    emit,
    float_dtype,
    is_literal,
    parameter,
    result_shape,
    scaled,
)
from graphc.tracing import Traced


def unit(key: Any, shape: Shape, dtype: np.dtype[Any], open: bool = False) -> Any:
    """Uniform on [0, 1): as many random bits as the dtype has digits; `open`: one bit less, and the middles between."""
    width = 8 * dtype.itemsize
    digits = np.finfo(dtype).nmant + (not open)
    words = emit("random_bits", key, shape=shape, dtype=np.dtype(f"u{dtype.itemsize}"))
    whole = cast(words >> (width - digits), dtype)
    return (whole + 0.5 if open else whole) * 2.0**-digits


def halves(key: Any, shape: Shape, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """A number p uniform on (0, 1/2], as finely as its float dtype near 0 allows, and a fair coin: 0 or 1.

    A distribution function read from p at either end, as the coin says, has both tails in full: a float near 1 could
    not tell small probabilities apart.
    """
    words = emit("random_bits", key, shape=shape, dtype=np.dtype(f"u{dtype.itemsize}"))
    p = (cast(words >> 1, dtype) + 0.5) * 2.0 ** (-8 * dtype.itemsize)
    return p, cast(words & 1, dtype)


def working(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that a draw is computed in: half precision has too few digits for a probability."""
    return SINGLE if dtype == HALF else dtype


@draws
def uniform(key: Any, shape: Any = None, dtype: Any = np.float64, minval: Any = 0.0, maxval: Any = 1.0) -> Any:
    """Numbers between two bounds, the upper one exclusive, each place as likely as any other.

    Between 0 and 1 these are the multiples of 2**-53 (2**-24 for float32, 2**-11 for float16).

    Args:
        key: u32[4].
        shape: of the result; without it, the shape that the bounds broadcast to.
        dtype: float16, float32 or float64.
        minval, maxval: the bounds, which may be traced; the result is differentiable by them. Where they are equal, it
            is minval.

    Raises:
        ValueError: minval > maxval. OverflowError: maxval - minval is not finite in this dtype.

    >>> import graphc
    >>> graphc.random.uniform(graphc.random.key(7), 3)
    array([0.75015222, 0.08565787, 0.79528404])
    """
    given = None if shape is None else as_shape("uniform", shape)
    kind = float_dtype("uniform", dtype)
    low, high = parameter("uniform", "minval", minval, kind), parameter("uniform", "maxval", maxval, kind)
    if not isinstance(low, Traced) and not isinstance(high, Traced):
        if np.any(low > high):
            raise ValueError(f"graphc.random.uniform: minval {minval} lies above maxval {maxval}")
        if not np.all(np.isfinite(high - low)):
            raise OverflowError(f"graphc.random.uniform: maxval - minval is not finite in {kind}")
    u = unit(as_key("uniform", key), result_shape("uniform", given, minval=low, maxval=high), kind)
    if is_literal(minval, 0) and is_literal(maxval, 1):
        return u
    return emit("lerp", low, high, u)


def _located(
    function: str, key: Any, shape: Any, dtype: Any, loc: Any, scale: Any, standard: Any, loc_name: str = "loc"
) -> Any:
    """loc + scale * standard(p, coin), in its dtype."""
    given = None if shape is None else as_shape(function, shape)
    kind = float_dtype(function, dtype)
    place, width = parameter(function, loc_name, loc, kind), parameter(function, "scale", scale, kind)
    check(function, "scale", width, lambda v: v >= 0, "at least 0")
    sizes = result_shape(function, given, **{loc_name: place, "scale": width})
    draw = standard(*halves(as_key(function, key), sizes, working(kind)))
    return scaled(cast(draw, kind), place, width, (is_literal(loc, 0), is_literal(scale, 1)))


@draws
def normal(key: Any, shape: Any = None, dtype: Any = np.float64, loc: Any = 0.0, scale: Any = 1.0) -> Any:
    """Normally distributed numbers.

    By the inverse of the distribution function; tails reach 9.1 standard deviations in float64, 6.3 in float32 and
    float16, beyond which fewer than one draw in 2**64, or 2**32, would lie.

    Args:
        key: u32[4].
        shape: of the result; without it, the shape that loc and scale broadcast to.
        dtype: float16, float32 or float64.
        loc: the mean. scale: the standard deviation. Both may be traced; the result is differentiable by them.

    >>> import graphc
    >>> graphc.random.normal(graphc.random.key(7), 3, loc=10.0)
    array([10.31843865,  8.28123881, 10.25945521])
    """
    return _located("normal", key, shape, dtype, loc, scale, lambda p, coin: (1 - 2 * coin) * emit("ndtri", p))


@draws
def laplace(key: Any, shape: Any = None, dtype: Any = np.float64, loc: Any = 0.0, scale: Any = 1.0) -> Any:
    """Numbers with the density exp(-|x - loc| / scale) / (2 scale); arguments as those of `normal`."""
    return _located("laplace", key, shape, dtype, loc, scale, lambda p, coin: (1 - 2 * coin) * np.log(2 * p))


@draws
def logistic(key: Any, shape: Any = None, dtype: Any = np.float64, loc: Any = 0.0, scale: Any = 1.0) -> Any:
    """Numbers whose distribution function is the logistic function of (x - loc) / scale; arguments as of `normal`."""
    return _located(
        "logistic", key, shape, dtype, loc, scale, lambda p, coin: (1 - 2 * coin) * (np.log(p) - np.log1p(-p))
    )


@draws
def cauchy(key: Any, shape: Any = None, dtype: Any = np.float64, loc: Any = 0.0, scale: Any = 1.0) -> Any:
    """Numbers with the density 1 / (pi scale (1 + ((x - loc) / scale)**2)); arguments as those of `normal`."""
    return _located("cauchy", key, shape, dtype, loc, scale, lambda p, coin: (2 * coin - 1) / np.tan(np.pi * p))


def waiting(p: Any, coin: Any) -> Any:
    """Exponentially distributed: -log of p, or of 1 - p, as the coin says; never 0."""
    return -(coin * np.log(p) + (1 - coin) * np.log1p(-p))


@draws
def exponential(key: Any, shape: Any = None, dtype: Any = np.float64, scale: Any = 1.0) -> Any:
    """Numbers with the density exp(-x / scale) / scale, for x > 0; arguments as those of `normal`."""
    return _located("exponential", key, shape, dtype, 0.0, scale, waiting)


@draws
def gumbel(key: Any, shape: Any = None, dtype: Any = np.float64, loc: Any = 0.0, scale: Any = 1.0) -> Any:
    """Numbers whose distribution function is exp(-exp(-(x - loc) / scale)); arguments as those of `normal`."""
    return _located("gumbel", key, shape, dtype, loc, scale, lambda p, coin: -np.log(waiting(p, coin)))


@draws
def truncated_normal(key: Any, lower: Any, upper: Any, shape: Any = None, dtype: Any = np.float64) -> Any:
    """Standard normal numbers between two bounds.

    The bounds may be infinite, and both may lie in one tail, as far as 37 standard deviations out.

    Args:
        key: u32[4].
        lower, upper: the bounds, which may be traced; the result is differentiable by them.
        shape: of the result; without it, the shape that the bounds broadcast to.
        dtype: float16, float32 or float64.

    Raises:
        ValueError: lower >= upper.

    >>> import graphc
    >>> graphc.random.truncated_normal(graphc.random.key(7), 8.0, np.inf, 2)
    array([8.03532215, 8.29722119])
    """
    given = None if shape is None else as_shape("truncated_normal", shape)
    kind = float_dtype("truncated_normal", dtype)
    low, high = (parameter("truncated_normal", n, v, kind) for n, v in (("lower", lower), ("upper", upper)))
    if not isinstance(low, Traced) and not isinstance(high, Traced) and not np.all(low < high):
        raise ValueError(f"graphc.random.truncated_normal: lower must lie below upper, not {lower} and {upper}")
    sizes = result_shape("truncated_normal", given, lower=low, upper=high)
    u = unit(as_key("truncated_normal", key), sizes, DOUBLE, open=True)
    first, last = cast(low, DOUBLE), cast(high, DOUBLE)
    # probabilities are told apart on the left only: what lies mostly on the right is mirrored
    mirrored = first + last > 0
    start, stop = np.where(mirrored, -last, first), np.where(mirrored, -first, last)
    x = emit("ndtri", emit("lerp", emit("ndtr", start), emit("ndtr", stop), u))
    return np.minimum(np.maximum(cast(np.where(mirrored, -x, x), kind), low), high)
