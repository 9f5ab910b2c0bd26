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
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.functions.exponential import (
    LOG2E,
    expm1_near,
    power_of_two,
    powers_of_two,
    reduce,
    scale,
)
from graphc.backends.numpy.llvm.functions.formats import format_of
from graphc.backends.numpy.llvm.functions.logarithmic import log_of_sum
from graphc.backends.numpy.llvm.functions.pairs import fast_two_sum, product_and_sum, remainder, two_product
from graphc.backends.numpy.llvm.values import F32, F64, Value

# from here on erf is 1, erfc is 0, and 2 exp(x**2) is inf, but exp(x**2) / 2 is not
ERF_HIGHEST: Final = {F32: 4.0, F64: 6.0}
ERFC_HIGHEST: Final = {F32: 10.1, F64: 28.0}
EXP_HIGHEST: Final = {F32: 9.39, F64: 26.63}
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

    table: of P. centre: c. scale: k, which makes 1 + P less than 2, and still large beside its rounding in the tail.
    factor: what the quotient (1 + P) k / (x + c) is multiplied by.
    slope: by about how much the logarithm of all that falls where that of the inverse of x + c does, as a line in
    x / (x + c) - 1/2.
    """

    share: float
    table: tuple[float, ...]
    centre: float
    scale: float
    factor: float
    slope: tuple[float, float]


# values at 0 are exact
SHORT_ERFC: Final = Short(1.0, coefficients.ERFC_SHORT[F32], 1.81640625, 0.9375, 1.0, (1.565, -1.05))
SHORT_TAIL: Final = Short(0.5, coefficients.NORMAL_TAIL[F32], 2.603515625, 1.34375, 0.5, (1.535, -1.03))


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
    """exp(z**2) erfc(z) for z = unit * x >= 0, and what that lost by the quotient; clipped: x is at most 1e10."""
    quotient = e.near_quotient if clipped else e.quotient
    c = CENTRE[x.dtype] / unit
    # an error of t is hardly one of the polynomial, and that of the inverse is made up for
    t = quotient(x - c, x + c)
    first, *others = ERFCX[x.dtype]
    p = e.fma(t, e.estrin(t, others), first)
    one = 1.0
    if not clipped:
        # halved, so that the denominator does not overflow
        one, p, x = one * 0.5, p * 0.5, x * 0.5
    below, rest = product_and_sum(e, x, unit * SLOPE, one)
    inverse = quotient(e.const(1.0, x.dtype, x.lanes), below)
    y = p * inverse
    return y, e.fma(-y, rest, remainder(e, p, y, below)) * inverse


def with_exponential(e: Emitter, factor: Value, lost: Value, square: Value, rest: Value) -> Value:
    """exp(-square - rest) (factor + lost), where the rest and what was lost are small."""
    r, n = reduce(e, -square, 2 * format_of(square).bias)
    return scale(e, factor + e.fma(expm1_near(e, r - rest), factor, lost), n)


def short_complement(e: Emitter, x: Value, short: Short) -> Value:
    """erfc(sqrt(share) x) times a factor, for x >= 0, by one quotient.

    What that and the sum below it lack goes into the exponent.
    """
    share, k, form = short.share, short.scale, format_of(x)
    inverse = k / (x + short.centre)
    h, lost = _place(e, x, inverse, short)
    g = e.horner(h, short.table)
    square, rest = two_product(e, x, x)
    # square = r - n log(2) / share
    shifter = form.shifter + RAISED
    shifted = e.fma(square, -share * LOG2E, shifter)
    n = shifted - shifter
    r = e.fma(n, form.log2_high / share, square)
    # both have a factor k
    first, second = (-s / (share * k) for s in short.slope)
    r = r + e.fma(n, form.log2_low / share, e.fma(lost, e.fma(h, second / k, first), rest))
    # exp(-share r) - 1
    above = r * e.horner(r, [(-share) ** i * c for i, c in enumerate(coefficients.EXP_TAIL[x.dtype], 2)])
    u = e.fma(above, r, r * -share)
    # the inverse and its product with a power of two are normal numbers; where it is NaN, u is too
    y = e.bitcast(e.bits(inverse) + (e.bits(shifted) << form.digits), x.dtype)
    return e.fma(y, e.fma(u, g, u) + g, y) * (short.factor * 2.0**-RAISED)


def _place(e: Emitter, x: Value, inverse: Value, short: Short) -> tuple[Value, Value]:
    """k / 2 - c inverse, and k - (x + c) inverse, where the inverse is nearly k / (x + c)."""
    k, c = short.scale, short.centre
    if e.module.features.fma:
        # the rounding of this goes into both, where the effects of one nearly make up for those of the other
        part = e.fma(inverse, -c, k)
        return part - k / 2, e.fma(-inverse, x, part)
    wide = e.convert(inverse, F64)
    return e.convert(k / 2 - wide * c, F32), e.convert(k - wide * (e.convert(x, F64) + c), F32)


def erfc(e: Emitter, x: Value) -> Value:
    size = e.at_most(ERFC_HIGHEST[x.dtype], e.abs(x))
    if x.dtype == F32:
        far = short_complement(e, size, SHORT_ERFC)
    else:
        far = with_exponential(e, *scaled(e, size, clipped=True), *two_product(e, size, size))
    y = e.select(x < 0, 2.0 - far, far)
    return y if x.dtype == F32 else e.select(size < MIDDLE, 1.0 - erf_near(e, x), y)


def erfcx(e: Emitter, x: Value) -> Value:
    size = e.abs(x)
    far, lost = scaled(e, size)
    far = e.select(size.equals(math.inf), 0.0, far + lost)
    clipped = e.at_most(EXP_HIGHEST[x.dtype], size)
    square, rest = two_product(e, clipped, clipped)
    r, n = reduce(e, square, 2 * format_of(x).bias)
    u = expm1_near(e, r + rest)
    # half of 2 exp(x**2) - far
    a, b = powers_of_two(e, n, x)
    below = e.fma(a * u, b, e.fma(a, b, far * -0.5))
    return e.select(x < 0, below + below, far)


def log_erfc(e: Emitter, x: Value) -> Value:
    erf_x = erf(e, x)
    near = x < MIDDLE
    u = 1.0 - erf_x
    far, rest = scaled(e, e.at_most(LOG_HIGHEST, e.abs(x)), clipped=True)
    y = log_of_sum(e, e.select(near, u, far), e.select(near, (1.0 - u) - erf_x, rest), -erf_x)
    y = e.select(near, y, e.fma(-x, x, y))
    return e.copysign(e.select(x.equals(math.inf), x, y), -x)


def ndtr(e: Emitter, x: Value) -> Value:
    """The normal distribution function: erfc(-x / sqrt(2)) / 2, with an exact square in the exponent."""
    size = e.at_most(ERFC_HIGHEST[x.dtype] / SQRT_HALF, e.abs(x))
    if x.dtype == F32:
        tail = short_complement(e, size, SHORT_TAIL)
        return e.select(x < 0, tail, 1.0 - tail)
    tail = _normal_tail(e, size, *scaled(e, size, SQRT_HALF, clipped=True))
    y = e.select(x < 0, tail, 1.0 - tail)
    return e.select(size < NDTR_MIDDLE, _half_erf(e, x) + 0.5, y)


def log_ndtr(e: Emitter, x: Value) -> Value:
    size, half = e.abs(x), _half_erf(e, x)
    near, near_rest = fast_two_sum(e.const(0.5, x.dtype, x.lanes), half)
    right = x > NDTR_MIDDLE
    left = x < -NDTR_MIDDLE
    far, rest = scaled(e, e.at_most(LOG_HIGHEST, size), SQRT_HALF, clipped=True)
    size = e.at_most(ERFC_HIGHEST[x.dtype] / SQRT_HALF, size)
    tail = short_complement(e, size, SHORT_TAIL) if x.dtype == F32 else _normal_tail(e, size, far, rest)
    u = 1.0 - tail
    lost = e.select(right, (1.0 - u) - tail, e.select(left, rest * 0.5, near_rest))
    u = e.select(right, u, e.select(left, far * 0.5, near))
    y = log_of_sum(e, u, lost, e.select(right, -tail, half - 0.5))
    y = e.select(left, e.fma(x * -0.5, x, y), y)
    return -e.abs(e.select(x.equals(-math.inf), x, y))


def _normal_tail(e: Emitter, x: Value, far: Value, lost: Value) -> Value:
    """The probability beyond x >= 0, from exp(x**2 / 2) erfc(x / sqrt(2)) and what that lost."""
    square, rest = two_product(e, x, x)
    return with_exponential(e, far, lost, square * 0.5, rest * 0.5) * 0.5


def _half_erf(e: Emitter, x: Value) -> Value:
    """What the distribution function exceeds 1/2 by, for small |x|."""
    return erf_near(e, x * SQRT_HALF) * 0.5
