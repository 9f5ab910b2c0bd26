"""The error function, its complements, and the normal distribution.

The complement is exp(-x**2) times a function that varies little, a polynomial in (x - c) / (x + c) over 1 + a x (after
M. M. Shepherd and J. G. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x**2) erfc x", 1981), in single precision
over x + c, whose inverse gives the argument of the polynomial too. The square is taken in two parts, for its error is
the relative error of the exponential.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from graphc.backends.numpy.llvm import coefficients
from graphc.backends.numpy.llvm.emit import F32, F64, Emitter, Operand, Value
from graphc.backends.numpy.llvm.functions.exponential import LOG2E, expm1_near, power_of_two, reduce, scale
from graphc.backends.numpy.llvm.functions.formats import format_of
from graphc.backends.numpy.llvm.functions.logarithmic import log_of_sum
from graphc.backends.numpy.llvm.functions.pairs import remainder, two_product

# from here on erf is 1, erfc is 0, and exp(x**2) is inf
ERF_HIGHEST: Final = {F32: 4.0, F64: 6.0}
ERFC_HIGHEST: Final = {F32: 10.1, F64: 28.0}
# from here on log(x) is nothing beside x**2
LOG_HIGHEST: Final = 1e10
CENTRE: Final = {F32: 3.05859375, F64: 3.12109375}
SLOPE: Final = 1.128173828125
ERFCX: Final = {F32: coefficients.ERFCX_SINGLE[F32], F64: coefficients.ERFCX_DOUBLE[F64]}
# where 1 - erf(x) begins to cancel
MIDDLE: Final = 0.6
NDTR_MIDDLE: Final = 0.7
SQRT_HALF: Final = math.sqrt(0.5)
# powers of two are taken so much larger that they are normal numbers down to where erfc is 0
RAISED: Final = 64


@dataclass(frozen=True, slots=True)
class Short:
    """The formula of the complement in single precision, for exp(-share x**2).

    table: of P. centre: c. factor: what the quotient (1 + P) / (x + c) is multiplied by.
    slope: by about how much the logarithm of all that falls where that of the inverse of x + c does.
    """

    share: float
    table: tuple[float, ...]
    centre: float
    factor: float
    slope: float


# values at 0 are exact
SHORT_ERFC: Final = Short(1.0, coefficients.ERFC_SHORT[F32], 1.8125, 1.0, 1.4)
SHORT_TAIL: Final = Short(0.5, coefficients.NORMAL_TAIL[F32], 2.515625, 0.5, 1.7)


def erf_near(e: Emitter, x: Value) -> Value:
    """erf(x) for |x| <= 1."""
    z = x * x
    return e.fma(x, e.estrin(z, coefficients.ERF_NEAR[x.dtype]), x)


def erf(e: Emitter, x: Value) -> Value:
    size = e.abs(x)
    g = e.horner(e.at_most(ERF_HIGHEST[x.dtype], size) - 1.0, coefficients.ERF_FAR[x.dtype])
    # the polynomial gives twice the exponential
    r, n = reduce(e, g, format_of(x).bias - 1)
    far = e.fma(-e.horner(r, coefficients.EXP[x.dtype]), power_of_two(e, n, x), 1.0)
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


def short_complement(e: Emitter, x: Value, short: Short) -> Value:
    """The same, times a factor, by one quotient: what that and the sum below it lack goes into the exponent."""
    share, form = short.share, format_of(x)
    inverse = 1.0 / (x + short.centre)
    part = e.fma(inverse, -short.centre, 1.0)
    lost = e.fma(-inverse, x, part)
    g = e.horner(part - 0.5, short.table)
    square, rest = two_product(e, x, x)
    # square = r - n log(2) / share
    shifter = form.shifter + RAISED
    shifted = e.fma(square, -share * LOG2E, shifter)
    n = shifted - shifter
    r = e.fma(n, form.log2_high / share, square)
    r = r + e.fma(n, form.log2_low / share, e.fma(lost, -short.slope / share, rest))
    # exp(-share r) - 1
    u = r * e.horner(r, [(-share) ** k * c for k, c in enumerate((1.0, *coefficients.EXP_TAIL[x.dtype]), 1)])
    # the inverse and its product with a power of two are normal numbers; where it is NaN, u is too
    y = e.bitcast(e.bits(inverse) + (e.bits(shifted) << form.digits), x.dtype)
    return e.fma(y, e.fma(u, g, u) + g, y) * (short.factor * 2.0**-RAISED)


def erfc(e: Emitter, x: Value) -> Value:
    size = e.at_most(ERFC_HIGHEST[x.dtype], e.abs(x))
    short = x.dtype == F32
    far = short_complement(e, size, SHORT_ERFC) if short else complement(e, size, *two_product(e, size, size))
    y = e.select(x < 0, 2.0 - far, far)
    return y if short else e.select(size < MIDDLE, 1.0 - erf_near(e, x), y)


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
    tail = _smaller_tail(e, x)
    y = e.select(x < 0, tail, 1.0 - tail)
    return y if x.dtype == F32 else e.select(e.abs(x) < NDTR_MIDDLE, _ndtr_near(e, x), y)


def log_ndtr(e: Emitter, x: Value) -> Value:
    tail, near = _smaller_tail(e, x), _ndtr_near(e, x)
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


def _smaller_tail(e: Emitter, x: Value) -> Value:
    """The probability beyond |x|."""
    size = e.at_most(ERFC_HIGHEST[x.dtype] / SQRT_HALF, e.abs(x))
    if x.dtype == F32:
        return short_complement(e, size, SHORT_TAIL)
    square, rest = two_product(e, size, size)
    return complement(e, size, square * 0.5, rest * 0.5, SQRT_HALF) * 0.5


def _ndtr_near(e: Emitter, x: Value) -> Value:
    """The distribution function for small |x|."""
    return e.fma(erf_near(e, x * SQRT_HALF), 0.5, 0.5)
