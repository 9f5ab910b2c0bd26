"""Exponentials and the functions that are made of one: hyperbolic, logistic.

The method is that of W. J. Cody and W. Waite, "Software Manual for the Elementary Functions", 1980, and P. T. P. Tang,
"Table-driven implementation of the exponential function", 1989, without the table: x = n log(2) + r with a whole n, the
logarithm in two parts so that r is exact to the last place, then 2**n times a polynomial in r.
"""

from __future__ import annotations

from typing import Final

from graphc.backends.numpy.llvm import coefficients
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.functions.formats import format_of
from graphc.backends.numpy.llvm.values import F32, F64, Value

LOG2E: Final = 1.4426950408889634
# beyond these exp is inf or 0; where the sum of exponents still fits
EXP_RANGE: Final = {F32: (-104.0, 89.0), F64: (-746.0, 710.0)}
EXP2_RANGE: Final = {F32: (-151.0, 129.0), F64: (-1076.0, 1025.0)}
# from here on expm1 is -1
EXPM1_LOWEST: Final = {F32: -18.0, F64: -40.0}
# here exp(x) / 2 is inf, but exp(x) / 4 is not
HYPERBOLIC_HIGHEST: Final = {F32: 89.5, F64: 710.5}
# below this expm1, sinh, ... of x are x
TINY: Final = {F32: 2.0**-25, F64: 2.0**-54}
# from here on tanh is 1
TANH_HIGHEST: Final = {F32: 9.5, F64: 20.0}


def whole_logarithms(e: Emitter, x: Value, offset: int) -> tuple[Value, Value]:
    """The whole number n nearest to x / log(2), and an integer whose low bits are n + offset."""
    shifter = format_of(x).shifter + offset
    shifted = e.fma(x, LOG2E, shifter)
    return shifted - shifter, e.bits(shifted)


def reduce(e: Emitter, x: Value, offset: int) -> tuple[Value, Value]:
    """r with x = n log(2) + r, and an integer whose low bits are n + offset."""
    f = format_of(x)
    n, bits = whole_logarithms(e, x, offset)
    r = e.fma(n, -f.log2_high, x)
    return e.fma(n, -f.log2_low, r), bits


def expm1_near(e: Emitter, r: Value) -> Value:
    """exp(r) - 1 for |r| <= log(2) / 2."""
    return e.fma(e.horner(r, coefficients.EXPM1[r.dtype]), r * r, r)


def power_of_two(e: Emitter, biased: Value, like: Value) -> Value:
    """2**k from an integer whose low bits are k + bias; whatever stands in the high ones."""
    return e.bitcast(biased << format_of(like).digits, like.dtype)


def scale(e: Emitter, p: Value, n: Value) -> Value:
    """p 2**n, with one rounding where it is subnormal; the low bits of the integer are n plus twice the bias."""
    a, b = powers_of_two(e, n, p)
    return p * a * b


def powers_of_two(e: Emitter, n: Value, like: Value) -> tuple[Value, Value]:
    """Two numbers whose product is 2**n; the low bits of the integer are n plus twice the bias."""
    half = n.shift_right_logical(1)
    return power_of_two(e, half, like), power_of_two(e, n - half, like)


def exp(e: Emitter, x: Value) -> Value:
    low, high = EXP_RANGE[x.dtype]
    # the polynomial gives twice the exponential
    r, n = reduce(e, e.at_most(high, e.at_least(low, x)), 2 * format_of(x).bias - 1)
    return scale(e, e.horner(r, coefficients.EXP[x.dtype]), n)


def exp2(e: Emitter, x: Value) -> Value:
    f = format_of(x)
    low, high = EXP2_RANGE[x.dtype]
    x = e.at_most(high, e.at_least(low, x))
    shifter = f.shifter + 2 * f.bias
    shifted = x + shifter
    r = x - (shifted - shifter)
    return scale(e, e.fma(e.horner(r, coefficients.EXP2[x.dtype]), r, 1.0), e.bits(shifted))


def expm1_scaled(e: Emitter, x: Value, highest: float, shift: int) -> Value:
    """(exp(x) - 1) / 2**shift for x at most `highest`, of which it takes that of larger ones; not for tiny x."""
    x = e.at_most(highest, e.at_least(EXPM1_LOWEST[x.dtype], x))
    f = format_of(x)
    n, bits = whole_logarithms(e, x, f.bias - shift)
    part = e.fma(n, -f.log2_high, x)
    r = e.fma(n, -f.log2_low, part)
    near = expm1_near(e, r)
    if x.dtype == F64:
        # near 1/2, where the sum below cancels, what r lost counts
        lost = e.fma(n, -f.log2_low, part - r)
        near = r + e.fma(e.horner(r, coefficients.EXPM1[F64]), r * r, lost)
    power = power_of_two(e, bits, x)
    return e.fma(near, power, power - 2.0**-shift)


def expm1(e: Emitter, x: Value) -> Value:
    half = expm1_scaled(e, x, EXP_RANGE[x.dtype][1], 1)
    return e.select(e.abs(x) < TINY[x.dtype], x, half + half)


def sinh(e: Emitter, x: Value) -> Value:
    size = e.abs(x)
    quarter = expm1_scaled(e, size, HYPERBOLIC_HIGHEST[x.dtype], 2)
    half = quarter + quarter
    y = half + quarter / (half + 0.5)
    return e.copysign(e.select(size < TINY[x.dtype], size, y), x)


def cosh(e: Emitter, x: Value) -> Value:
    quarter = expm1_scaled(e, e.abs(x), HYPERBOLIC_HIGHEST[x.dtype], 2)
    return (0.125 / (quarter + 0.25) + 0.5) + (quarter + quarter)


def tanh(e: Emitter, x: Value) -> Value:
    """By exp(-2|x|) - 1: half of it is below the result, and so is its rounding."""
    twice = e.at_least(-2 * TANH_HIGHEST[x.dtype], e.abs(x) * -2.0)
    y = expm1_scaled(e, twice, 0.0, 0)
    return e.copysign(y / (y + 2.0), x)


def sigmoid(e: Emitter, x: Value) -> Value:
    """1 / (1 + exp(-x)), by an exponential that cannot overflow."""
    t = exp(e, -e.abs(x))
    return e.select(x < 0, t, 1.0) / (t + 1.0)
