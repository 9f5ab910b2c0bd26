"""Array functions that the NumPy meaning of some ops needs and NumPy does not have."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from graphc.ops.lapack import cofactor as cofactor
from graphc.ops.lapack import eigh_vectors as eigh_vectors
from graphc.ops.lapack import solve_triangular as solve_triangular
from graphc.ops.lapack import stacked_vectors as stacked_vectors
from graphc.ops.lapack import svd_vectors as svd_vectors
from graphc.ops.philox import derived_key as derived_key
from graphc.ops.philox import random_below as random_below
from graphc.ops.philox import random_bits as random_bits
from graphc.ops.philox import random_order as random_order
from graphc.ops.philox import random_word as random_word

Array = np.ndarray[Any, Any]


def logsumexp(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """log(sum(exp(x))) shifted by the largest element; -inf over an empty range."""
    shift = _shift(x, axes)
    result = np.log(np.add.reduce(np.exp(x - shift), axis=axes, keepdims=True)) + shift
    return result if keepdims else result.squeeze(axes)


def softmax(x: Array, axes: tuple[int, ...]) -> Array:
    """exp(x) / sum(exp(x)) shifted by the largest element."""
    e = np.exp(x - _shift(x, axes))
    return e / np.add.reduce(e, axis=axes, keepdims=True)  # type: ignore[no-any-return]


def log_softmax(x: Array, axes: tuple[int, ...]) -> Array:
    """log of softmax, without rounding small probabilities to zero."""
    shifted = x - _shift(x, axes)
    return shifted - np.log(np.add.reduce(np.exp(shifted), axis=axes, keepdims=True))


def _shift(x: Array, axes: tuple[int, ...]) -> Array:
    """The largest element, or 0 where it is not finite and would turn its neighbours into NaN."""
    top = np.max(x, axis=axes, keepdims=True, initial=-np.inf)
    return np.where(np.isfinite(top), top, 0).astype(x.dtype, copy=False)


def norm(x: Array, axes: tuple[int, ...], keepdims: bool) -> Any:
    """The Euclidean norm; scaled by the largest element where squares overflow or underflow."""
    result: Any = np.sqrt(np.sum(x * x, axis=axes, keepdims=keepdims))
    if x.dtype == object or not x.size:
        return result
    limits = np.finfo(x.dtype)
    safe = (result > np.sqrt(limits.tiny) / limits.eps) & (result < np.inf)
    if np.all(safe):
        return result
    top = np.max(np.abs(x), axis=axes, keepdims=True, initial=0)
    scale = np.where((top > 0) & (top < np.inf), top, 1).astype(x.dtype)
    y = x / scale
    scaled = scale * np.sqrt(np.sum(y * y, axis=axes, keepdims=True))
    return np.where(safe, result, scaled if keepdims else scaled.squeeze(axes))[()]


def cumsum(x: Array, axis: int, reverse: bool) -> Array:
    """Running sums along an axis, in the operand's own dtype."""
    if not reverse:
        return np.add.accumulate(x, axis=axis, dtype=x.dtype)
    return np.flip(np.add.accumulate(np.flip(x, axis), axis=axis, dtype=x.dtype), axis)


def expit(x: Array) -> Array:
    """The logistic function."""
    return special("expit", x)


def share(a: Array, b: Array) -> Array:
    """exp(a) / (exp(a) + exp(b)); the rounding error of a - b, which a small quotient feels, is made good."""
    dtype = a.dtype
    if dtype != np.float64:
        a, b = a.astype(np.float64), b.astype(np.float64)
    difference = np.where(a == b, 0, a - b)
    # SciPy's logistic function is 0 below the smallest normal number
    result = np.where(difference < -40, np.exp(difference), special("expit", difference))
    if dtype != np.float64:
        return result.astype(dtype)
    # the error of a difference is a float: D. E. Knuth, "The Art of Computer Programming", volume 2, 4.2.2
    back = difference - a
    error = (a - (difference - back)) - (b + back)
    return result + np.where(np.isfinite(error), result * special("expit", -difference) * error, 0)


def special(name: str, *operands: Any, order: int | None = None, part: int | None = None) -> Array:
    """One of SciPy's functions in the operands' own dtype; SciPy has no loops for half precision and would widen it.

    `part` is the number of the result, for functions that have several.
    """
    function = getattr(import_module("scipy.special"), name)
    result = function(*operands) if order is None else function(order, *operands)
    found: Array = result if part is None else result[part]
    return found.astype(operands[0].dtype, copy=False)


def exprel(x: Array, order: int) -> Array:
    """The integral of t**order exp(x t) from 0 to 1: far out by parts, else a hypergeometric function.

    See dlmf.nist.gov/13.4; the integration by parts loses no digits where |x| is above the order.
    """
    if order == 0:
        return special("exprel", x)
    wide = x.astype(np.float64, copy=False)
    far = np.abs(wide) > 2 * order + 2
    away = np.where(far, wide, 1.0)
    growth, value = np.exp(away), special("exprel", away)
    for n in range(1, order + 1):
        value = np.abs((growth - n * value) / away)
    near = import_module("scipy.special").hyp1f1(order + 1, order + 2, np.where(far, 0.0, wide)) / (order + 1)
    found = np.where(far, np.where(np.isinf(growth), np.inf, value), near)
    return found.astype(x.dtype, copy=False)


def sinc(x: Array) -> Array:
    """sin(pi x) / (pi x), from the distance to the nearest whole number: 0 at whole numbers other than 0."""
    whole = np.rint(x)
    sine = np.where(whole % 2, -1, 1).astype(x.dtype) * np.sin(x.dtype.type(np.pi) * (x - whole))
    result: Array = np.where(x == 0, x.dtype.type(1), sine / (x.dtype.type(np.pi) * x))
    return result


def spherical_jn(x: Array, order: int) -> Array:
    """The spherical Bessel function; near 0, where SciPy's loses digits, by its series (dlmf.nist.gov/10.53)."""
    small = np.abs(x) < 0.5
    near = np.where(small, x, x.dtype.type(0))
    term = np.ones_like(near)
    for k in range(order):
        term = term * near / (2 * k + 3)
    total = term
    for k in range(1, 9):
        term = term * (near * near) / (-2 * k * (2 * (order + k) + 1))
        total = total + term
    return np.where(small, total, special("spherical_jn", x, order=order))


def erfc(x: Array) -> Array:
    """The complementary error function; its tail by exp of an exact square and a small rest, as in `ndtr`.

    SciPy computes it for narrower floats in double precision, which loses nothing.
    """
    if x.dtype != np.float64:
        return special("erfc", x)
    high = np.clip(x, x.dtype.type(1), x.dtype.type(100))
    part = np.rint(16 * high) / 16
    tail = np.exp(-part * part) * np.exp(-(high - part) * (high + part))
    return np.where(x > 1, tail * special("erfcx", high), special("erfc", x))


def ndtr(x: Array) -> Array:
    """The normal distribution function; its tail by exp of an exact square and a small rest.

    The splitting is that of W. J. Cody, "Rational Chebyshev approximations for the error function", 1969.
    """
    low = np.clip(x, x.dtype.type(-100), x.dtype.type(-1))
    part = np.rint(16 * low) / 16
    tail = np.exp(-0.5 * part * part) * np.exp(-0.5 * (low - part) * (low + part))
    scaled = special("erfcx", low * x.dtype.type(-np.sqrt(0.5)))
    return np.where(x < -1, 0.5 * tail * scaled, special("ndtr", x))


def log_ndtr(x: Array) -> Array:
    """log of the normal distribution function, on the right by its complement."""
    left: Array = special("log_ndtr", np.minimum(x, x.dtype.type(0)))
    return np.where(x > 0, np.log1p(-ndtr(-x)), left)


def log_cosh(x: Array) -> Array:
    """log(cosh(x)), near 0 by the half angle."""
    size = np.abs(x)
    half = np.sinh(np.minimum(size, x.dtype.type(1)) / 2)
    far = size + np.log1p(np.exp(-2 * size)) - x.dtype.type(np.log(2))
    result: Array = np.where(size < 1, np.log1p(2 * half * half), far)
    return result


def log_erfc(x: Array) -> Array:
    """log(erfc(x)), on the right by the scaled function."""
    far = np.log(special("erfcx", np.maximum(x, x.dtype.type(1)))) - x * x
    return np.where(x < 1, np.log1p(-special("erf", np.minimum(x, x.dtype.type(1)))), far)


def gammaln(x: Array) -> Array:
    """log |gamma(x)|; near its zeros 1 and 2, where SciPy's loses digits, by its series (dlmf.nist.gov/5.7.3)."""
    if x.dtype != np.float64:
        # SciPy's is computed in double precision, which leaves digits enough
        return special("gammaln", x)
    near = (x > 0.5) & (x < 2.5)
    first = x < 1.5
    z = np.where(near, np.where(first, x - 1, x - 2), x.dtype.type(0))
    n = np.arange(2, 32)
    coefficients = special("zeta", n.astype(np.float64), np.float64(2)) * np.where(n % 2, -1, 1) / n
    total = np.zeros_like(z)
    for c in coefficients[::-1]:
        total = (total + x.dtype.type(c)) * z
    total = z * (x.dtype.type(1 - np.euler_gamma) + total)
    total = total - np.where(first, np.log1p(z), x.dtype.type(0))
    return np.where(near, total, special("gammaln", x))


def lerp(a: Array, b: Array, u: Array) -> Array:
    """a + u * (b - a); where u lies from 0 to 1, exclusive, rounding does not lead to b, but to its neighbour."""
    limits = np.finfo(b.dtype)
    result: Array = a + u * (b - a)
    rising = a < b
    # between one half and three halves of the place that b has; the product of a tiny b may be rounded to one half
    step = np.maximum(np.abs(b) * b.dtype.type(0.5625 * limits.eps), limits.smallest_subnormal)
    step = np.where(rising, -step, step)
    near = b + step
    near = np.where(near == b, near + 2 * step, near)
    end = np.where(rising, np.maximum(near, a), np.minimum(near, a))
    reached = np.where(rising, result >= b, result <= b) & (u >= 0) & (u < 1) & (a != b) & np.isfinite(b)
    found: Array = np.where(reached, end, result)
    return found


def slices(index: tuple[tuple[int, int | None, int], ...]) -> tuple[slice, ...]:
    """Python slices of (start, stop, step) triples; a negative step may stop at None, before element 0."""
    return tuple(slice(*one) for one in index)


def unslice(u: Array, index: tuple[tuple[int, int | None, int], ...], shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with `u` written to the slice."""
    result = np.zeros(shape, u.dtype)
    result[slices(index)] = u
    return result


def insert_slice(x: Array, u: Array, index: tuple[tuple[int, int | None, int], ...], out: Array | None = None) -> Array:
    """A copy of `x` with `u` written to the slice; `x` itself where it is given as `out`."""
    result = np.array(x) if out is None else out
    result[slices(index)] = u
    return result


def gather(x: Array, indices: tuple[Any, ...], axis: int) -> Any:
    """Elements at integer positions along adjacent axes, always in storage of their own."""
    if any(np.ndim(i) for i in indices):
        return x[(slice(None),) * axis + indices]
    # NumPy shows a view where every position is a plain integer; steps that overwrite it would change `x`
    whole = (slice(None),) * axis
    position: Any = (*whole, np.asarray(indices[0])[None], *indices[1:])
    return x[position][(*whole, 0)]


def scatter_add(u: Array, indices: tuple[Array, ...], axis: int, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with `u` added at integer positions; repeated positions add up."""
    result = np.zeros(shape, u.dtype)
    position: Any = (slice(None),) * axis + indices
    np.add.at(result, position, u)
    return result


def cumprod(x: Array, axis: int, reverse: bool) -> Array:
    """Running products along an axis, in the operand's own dtype."""
    if not reverse:
        return np.multiply.accumulate(x, axis=axis, dtype=x.dtype)
    return np.flip(np.multiply.accumulate(np.flip(x, axis), axis=axis, dtype=x.dtype), axis)


def partition_from(dtype: np.dtype[Any]) -> int:
    """The length from which on a partition at a few places is faster than sorting, by NumPy 2.4 with AVX-512."""
    return 2048 if dtype.itemsize == 8 else 4096


def sorted_at(x: Array, places: tuple[int, ...], axis: int) -> Array:
    """The elements in ascending order along an axis, NaN last, as far as some places there are concerned."""
    if x.shape[axis] < partition_from(x.dtype):
        return np.sort(x, axis=axis)
    return np.partition(x, places, axis=axis)


def average_ties(values: Array, keys: Array, axis: int) -> Array:
    """The means of the values over runs of equal keys along an axis."""
    lines, runs = (np.moveaxis(v, axis, -1) for v in (values, keys))
    if not np.any(runs[..., 1:] == runs[..., :-1]):
        return values.copy()
    # runs are numbered through all lines, so that one count and one sum serve them all
    starts = np.ones(runs.shape, bool)
    starts[..., 1:] = runs[..., 1:] != runs[..., :-1]
    number = np.cumsum(starts.ravel()) - 1
    wide = np.dtype(np.float32) if values.dtype == np.float16 else values.dtype
    totals = np.zeros(number[-1] + 1, wide)
    np.add.at(totals, number, lines.ravel())
    means = (totals / np.bincount(number).astype(wide)).astype(values.dtype)
    return np.moveaxis(means[number].reshape(lines.shape), -1, axis)


def last_write(indices: tuple[Array, ...], shape: tuple[int, ...]) -> Array:
    """The number of the last write to each element: assignments in NumPy keep the last of several values."""
    result = np.full(shape, -1, np.int64)
    positions = np.broadcast_arrays(*indices)
    result[tuple(positions)] = np.arange(positions[0].size).reshape(positions[0].shape)
    return result
