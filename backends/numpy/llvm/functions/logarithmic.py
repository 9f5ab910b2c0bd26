"""Logarithms.

x = 2**k m with m between sqrt(1/2) and sqrt(2), f = m - 1, and s = f / (2 + f), so that log(m) = 2 atanh(s). The sum is
arranged as in the log of 4.3BSD and FreeBSD (K. C. Ng): the leading terms f - f**2 / 2 stand apart from the polynomial,
so that nothing cancels near 1. The natural logarithm in single precision is a polynomial in f, with m between 2/3 and
4/3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from graphc.backends.numpy.llvm import coefficients
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.functions.exponential import power_of_two
from graphc.backends.numpy.llvm.functions.formats import format_of
from graphc.backends.numpy.llvm.functions.pairs import Pair, fast_two_sum, two_product
from graphc.backends.numpy.llvm.values import BITS, F32, F64, Value

SQRT_HALF: Final = {dtype: int(np.array(math.sqrt(0.5), dtype).view(bits)) for dtype, bits in BITS.items()}
TWO_THIRDS: Final = int(np.array(2 / 3, F32).view(BITS[F32]))
# by how much a subnormal number is scaled to become normal
SCALE: Final = {F32: 25, F64: 54}


@dataclass(frozen=True, slots=True)
class Base:
    """Of a logarithm: 1 / log(base), and log(2) / log(base), whose first part times an exponent is exact."""

    inverse: tuple[float, float]
    two: tuple[float, float]


BASE_2: Final = {
    F32: Base((float.fromhex("0x1.715476p+0"), float.fromhex("0x1.4ae0c0p-26")), (1.0, 0.0)),
    F64: Base((float.fromhex("0x1.71547652b82fep+0"), float.fromhex("0x1.777d0ffda0d24p-56")), (1.0, 0.0)),
}
BASE_10: Final = {
    F32: Base(
        (float.fromhex("0x1.bcb7b2p-2"), float.fromhex("-0x1.5b235ep-27")),
        (float.fromhex("0x1.344p-2"), float.fromhex("0x1.3509f8p-18")),
    ),
    F64: Base(
        (float.fromhex("0x1.bcb7b1526e50ep-2"), float.fromhex("0x1.95355baaafad3p-57")),
        (float.fromhex("0x1.34413509f8p-2"), float.fromhex("-0x1.80433b83b532ap-44")),
    ),
}


@dataclass(frozen=True, slots=True)
class Parts:
    """x = 2**k m: m and k as floats, and k + 2**(exponent bits - 1) as an integer."""

    m: Value
    k: Value
    biased: Value


def split(e: Emitter, x: Value, subnormal: bool = True, least: int | None = None) -> Parts:
    """The parts of a positive finite number; anything, without harm, of others. least: the bits of the smallest m."""
    f = format_of(x)
    least = SQRT_HALF[x.dtype] if least is None else least
    middle = (f.bias + 1) << f.digits
    # the bits of 2**digits, whose fraction takes up an integer
    carrier = (f.bias + f.digits) << f.digits
    shift = 2.0**f.digits + f.bias + 1
    back: Value | float = shift
    if subnormal:
        small = x < f.smallest
        x = e.select(small, x * 2.0 ** SCALE[x.dtype], x)
        back = e.select(small, e.const(shift + SCALE[x.dtype], x.dtype, x.lanes), shift)
    above = e.bits(x) + (middle - least)
    biased = above.shift_right_logical(f.digits)
    m = e.bitcast((above & ((1 << f.digits) - 1)) + least, x.dtype)
    return Parts(m, e.bitcast(biased | carrier, x.dtype) - back, biased)


def log_sum(e: Emitter, f: Value, k: Value, more: Value | None = None) -> Value:
    """log(1 + f) + k log(2) + more, for f between sqrt(1/2) - 1 and sqrt(2) - 1."""
    form = format_of(f)
    # s multiplies what is small beside f
    s = e.near_quotient(f, f + 2.0)
    z = s * s
    half = f * f * 0.5
    tail = z * e.horner(z, coefficients.LOG[f.dtype])
    low = k * form.log2_low if more is None else e.fma(k, form.log2_low, more)
    rest = half - e.fma(s, half + tail, low)
    return e.fma(k, form.log2_high, f - rest)


def outside(e: Emitter, x: Value, y: Value, pole: float) -> Value:
    """y, but -inf at the pole, NaN below it, and x itself where that is inf or NaN."""
    y = e.select(x < math.inf, y, x)
    edge = e.select(x.equals(pole), e.const(-math.inf, x.dtype, x.lanes), math.nan)
    return e.select(x <= pole, edge, y)


def log(e: Emitter, x: Value) -> Value:
    if x.dtype == F32:
        parts = split(e, x, least=TWO_THIRDS)
        f = parts.m - 1.0
        tail = f * e.horner(f, coefficients.LOG_NEAR[F32])
        return outside(e, x, e.fma(parts.k, math.log(2), e.fma(f, tail, f)), 0.0)
    parts = split(e, x)
    return outside(e, x, log_sum(e, parts.m - 1.0, parts.k), 0.0)


def log_in_base(e: Emitter, x: Value, base: Base) -> Value:
    """A logarithm rounded nearly once, so that powers of the base have exact logarithms."""
    parts = split(e, x)
    high, low = _log_near(e, parts.m)
    product, rest = two_product(e, high, base.inverse[0])
    rest = e.fma(low, base.inverse[0], e.fma(high, base.inverse[1], rest))
    total, lost = fast_two_sum(parts.k * base.two[0], product)
    if base.two[1]:
        rest = e.fma(parts.k, base.two[1], rest)
    return outside(e, x, total + (lost + rest), 0.0)


def _log_near(e: Emitter, m: Value) -> Pair:
    """log(m) as a sum of two floats, for m between sqrt(1/2) and sqrt(2)."""
    f = m - 1.0
    s = f / (f + 2.0)
    z = s * s
    half, half_rest = two_product(e, f, f * 0.5)
    high, low = fast_two_sum(f, -half)
    return high, low + (s * (half + z * e.horner(z, coefficients.LOG[m.dtype])) - half_rest)


def log2(e: Emitter, x: Value) -> Value:
    return log_in_base(e, x, BASE_2[x.dtype])


def log10(e: Emitter, x: Value) -> Value:
    return log_in_base(e, x, BASE_10[x.dtype])


def log1p(e: Emitter, x: Value) -> Value:
    return outside(e, x, e.copysign(log1p_times(e, x), x), -1.0)


def log1p_times(e: Emitter, x: Value, doubled: Value | None = None) -> Value:
    """log(1 + x) for finite x > -1, and log(2 (1 + x)) where the mask is true."""
    u = x + 1.0
    lost = e.at_most(1.0, x) - (u - e.at_least(1.0, x))
    return log_of_sum(e, u, lost, x, doubled)


def log_of_sum(
    e: Emitter, u: Value, lost: Value, near: Value, doubled: Value | None = None, subnormal: bool = False
) -> Value:
    """log(u + lost), where `lost` is below the last place of u, and `near` is u + lost - 1 if u is close to 1.

    A subnormal u has a logarithm only if asked for.
    """
    form = format_of(u)
    parts = split(e, u, subnormal)
    # over 2**k m; 1 / m by a line, since it is a correction in the last place
    power = power_of_two(e, 2 * form.bias + 2 - parts.biased, u)
    f = parts.m - 1.0
    correction = lost * power * e.fma(f, -math.sqrt(0.125), 0.5)
    close = parts.biased.equals(form.bias + 1)
    zero = e.const(0.0, u.dtype, u.lanes)
    k = parts.k if doubled is None else parts.k + e.select(doubled, e.const(1.0, u.dtype, u.lanes), zero)
    return log_sum(e, e.select(close, near, f), k, e.select(close, zero, correction))


def log1p_unit(e: Emitter, t: Value) -> Value:
    """log(1 + t) for t between 0 and 1."""
    s = t / (t + 2.0)
    z = s * s
    # 2 s = t - s t
    return e.fma(-s, e.fma(-z, e.estrin(z, coefficients.LOG1P_UNIT[t.dtype]), t), t)
