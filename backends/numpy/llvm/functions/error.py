"""The error function, its complements, and the normal distribution.

The complement is exp(-x**2) times a function that varies little, a polynomial in (x - c) / (x + c) over 1 + a x (after
M. M. Shepherd and J. G. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x**2) erfc x", 1981). The square is taken
in two parts, for its error is the relative error of the exponential.
"""

from __future__ import annotations

import math
from typing import Final

from graphc.backends.numpy.llvm import coefficients
from graphc.backends.numpy.llvm.emit import F32, F64, Emitter, Operand, Value
from graphc.backends.numpy.llvm.functions.exponential import expm1_near, power_of_two, reduce, scale
from graphc.backends.numpy.llvm.functions.formats import format_of
from graphc.backends.numpy.llvm.functions.logarithmic import log_of_sum
from graphc.backends.numpy.llvm.functions.pairs import remainder, two_product

# from here on erf is 1, erfc is 0, and exp(x**2) is inf
ERF_HIGHEST: Final = {F32: 4.0, F64: 6.0}
ERFC_HIGHEST: Final = {F32: 10.5, F64: 28.0}
# from here on log(x) is nothing beside x**2
LOG_HIGHEST: Final = 1e10
CENTRE: Final = {F32: 3.05859375, F64: 3.12109375}
SLOPE: Final = 1.128173828125
ERFCX: Final = {F32: coefficients.ERFCX_SINGLE[F32], F64: coefficients.ERFCX_DOUBLE[F64]}
# where 1 - erf(x) begins to cancel
MIDDLE: Final = 0.6
NDTR_MIDDLE: Final = 0.7
SQRT_HALF: Final = math.sqrt(0.5)


def erf_near(e: Emitter, x: Value) -> Value:
    """erf(x) for |x| <= 1."""
    z = x * x
    return e.fma(x, e.estrin(z, coefficients.ERF_NEAR[x.dtype]), x)


def erf(e: Emitter, x: Value) -> Value:
    size = e.abs(x)
    g = e.estrin(e.at_most(ERF_HIGHEST[x.dtype], size) - 1.0, coefficients.ERF_FAR[x.dtype])
    r, n = reduce(e, g, format_of(x).bias)
    power = power_of_two(e, n, x)
    far = 1.0 - e.fma(expm1_near(e, r), power, power)
    return e.copysign(e.select(size < 1.0, erf_near(e, size), far), x)


def scaled(e: Emitter, x: Value, unit: float = 1.0, clipped: bool = False) -> tuple[Value, Value]:
    """exp(z**2) erfc(z) for z = unit * x >= 0, and what that lost by the quotient; clipped: z is below 100."""
    quotient = e.near_quotient if clipped else e.quotient
    c = CENTRE[x.dtype] / unit
    # an error of t is hardly one of the polynomial, and that of the inverse is made up for
    t = quotient(x - c, x + c)
    first, *others = ERFCX[x.dtype]
    p = e.fma(t, e.estrin(t, others), first)
    # both halved, so that the denominator does not overflow
    half = 1.0 if clipped else 0.5
    p = p if clipped else p * half
    slope = unit * SLOPE * half
    below = e.fma(x, slope, half)
    rest = e.fma(x, slope, half - below)
    inverse = quotient(e.const(1.0, x.dtype, x.lanes), below)
    y = p * inverse
    return y, e.fma(-y, rest, remainder(e, p, y, below)) * inverse


def exp_of_pair(e: Emitter, high: Value, low: Value, factor: Value, rest: Operand) -> Value:
    """exp(high + low) times factor + rest; the low part and the rest are small."""
    r, n = reduce(e, high, 2 * format_of(high).bias)
    return scale(e, factor + e.fma(expm1_near(e, r + low), factor, rest), n)


def complement(e: Emitter, x: Value, square: Value, rest: Value, unit: float = 1.0) -> Value:
    """erfc(z) for z = unit * x from 0 to 100, where square + rest is z**2."""
    return exp_of_pair(e, -square, -rest, *scaled(e, x, unit, clipped=True))


def erfc(e: Emitter, x: Value) -> Value:
    size = e.at_most(ERFC_HIGHEST[x.dtype], e.abs(x))
    far = complement(e, size, *two_product(e, size, size))
    y = e.select(x < 0, 2.0 - far, far)
    return e.select(size < MIDDLE, 1.0 - erf_near(e, x), y)


def erfcx(e: Emitter, x: Value) -> Value:
    size = e.abs(x)
    far, lost = scaled(e, size)
    far = e.select(size.equals(math.inf), 0.0, far + lost)
    clipped = e.at_most(ERFC_HIGHEST[x.dtype], size)
    square, rest = two_product(e, clipped, clipped)
    below = exp_of_pair(e, square, rest, e.const(2.0, x.dtype, x.lanes), 0.0) - far
    return e.select(x < 0, below, far)


def log_erfc(e: Emitter, x: Value) -> Value:
    erf_x = erf(e, x)
    near = x < MIDDLE
    u = 1.0 - erf_x
    far, rest = scaled(e, e.at_most(LOG_HIGHEST, e.abs(x)))
    y = log_of_sum(e, e.select(near, u, far), e.select(near, (1.0 - u) - erf_x, rest), -erf_x)
    y = e.select(near, y, e.fma(-x, x, y))
    return e.copysign(e.select(x.equals(math.inf), x, y), -x)


def ndtr(e: Emitter, x: Value) -> Value:
    """The normal distribution function: erfc(-x / sqrt(2)) / 2, with an exact square in the exponent."""
    tail, near = _ndtr_parts(e, x)
    return e.select(e.abs(x) < NDTR_MIDDLE, near, e.select(x < 0, tail, 1.0 - tail))


def log_ndtr(e: Emitter, x: Value) -> Value:
    tail, near = _ndtr_parts(e, x)
    right = x > NDTR_MIDDLE
    left = x < -NDTR_MIDDLE
    u = 1.0 - tail
    far, rest = scaled(e, e.at_most(LOG_HIGHEST, e.abs(x)), SQRT_HALF)
    zero = e.const(0.0, x.dtype, x.lanes)
    lost = e.select(right, (1.0 - u) - tail, e.select(left, rest * 0.5, zero))
    u = e.select(right, u, e.select(left, far * 0.5, near))
    y = log_of_sum(e, u, lost, e.select(right, -tail, near - 1.0))
    y = e.select(left, e.fma(x * -0.5, x, y), y)
    return -e.abs(e.select(x.equals(-math.inf), x, y))


def _ndtr_parts(e: Emitter, x: Value) -> tuple[Value, Value]:
    """The smaller tail beyond |x|, and the whole distribution function, good for small |x|."""
    size = e.at_most(ERFC_HIGHEST[x.dtype] / SQRT_HALF, e.abs(x))
    square, rest = two_product(e, size, size)
    tail = complement(e, size, square * 0.5, rest * 0.5, SQRT_HALF) * 0.5
    return tail, e.fma(erf_near(e, x * SQRT_HALF), 0.5, 0.5)
