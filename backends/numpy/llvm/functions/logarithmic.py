"""Logarithms, and the functions that are made of one.

x = 2**k m with m between sqrt(1/2) and sqrt(2), f = m - 1, and s = f / (2 + f), so that log(m) = 2 atanh(s). The sum is
arranged as in the log of 4.3BSD and FreeBSD (K. C. Ng): the leading terms f - f**2 / 2 stand apart from the polynomial,
so that nothing cancels near 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from graphc.backends.numpy.llvm import coefficients
from graphc.backends.numpy.llvm.emit import BITS, F32, F64, Emitter, Value
from graphc.backends.numpy.llvm.functions.exponential import exp, power_of_two
from graphc.backends.numpy.llvm.functions.formats import format_of

SQRT_HALF: Final = {dtype: int(np.array(math.sqrt(0.5), dtype).view(bits)) for dtype, bits in BITS.items()}
# by how much a subnormal number is scaled to become normal
SCALE: Final = {F32: 25, F64: 54}


@dataclass(frozen=True, slots=True)
class Parts:
    """x = 2**k m: m and k as floats, and k + 2**(exponent bits - 1) as an integer."""

    m: Value
    k: Value
    biased: Value


def split(e: Emitter, x: Value, subnormal: bool = True) -> Parts:
    """The parts of a positive finite number; anything, without harm, of others."""
    f = format_of(x)
    middle = (f.bias + 1) << f.digits
    # the bits of 2**digits, whose fraction takes up an integer
    carrier = (f.bias + f.digits) << f.digits
    shift = 2.0**f.digits + f.bias + 1
    back: Value | float = shift
    if subnormal:
        small = x < f.smallest
        x = e.select(small, x * 2.0 ** SCALE[x.dtype], x)
        back = e.select(small, e.const(shift + SCALE[x.dtype], x.dtype, x.lanes), shift)
    above = e.bits(x) + (middle - SQRT_HALF[x.dtype])
    biased = above.shift_right_logical(f.digits)
    m = e.bitcast((above & ((1 << f.digits) - 1)) + SQRT_HALF[x.dtype], x.dtype)
    return Parts(m, e.bitcast(biased | carrier, x.dtype) - back, biased)


def log_sum(e: Emitter, f: Value, k: Value, more: Value | None = None) -> Value:
    """log(1 + f) + k log(2) + more, for f between sqrt(1/2) - 1 and sqrt(2) - 1."""
    form = format_of(f)
    s = f / (f + 2.0)
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
    parts = split(e, x)
    return outside(e, x, log_sum(e, parts.m - 1.0, parts.k), 0.0)


def log1p(e: Emitter, x: Value) -> Value:
    form = format_of(x)
    u = x + 1.0
    parts = split(e, u, subnormal=False)
    # what the sum lost, over 2**k m; 1 / m by a line, since it is a correction in the last place
    lost = e.at_most(1.0, x) - (u - e.at_least(1.0, x))
    power = power_of_two(e, 2 * form.bias + 2 - parts.biased, x)
    f = parts.m - 1.0
    correction = lost * power * e.fma(f, -math.sqrt(0.125), 0.5)
    near = parts.biased.equals(form.bias + 1)
    zero = e.const(0.0, x.dtype, x.lanes)
    y = log_sum(e, e.select(near, x, f), parts.k, e.select(near, zero, correction))
    return outside(e, x, e.copysign(y, x), -1.0)


def log1p_unit(e: Emitter, t: Value) -> Value:
    """log(1 + t) for t between 0 and 1."""
    s = t / (t + 2.0)
    z = s * s
    # 2 s = t - s t
    return e.fma(-s, e.fma(-z, e.horner(z, coefficients.LOG1P_UNIT[t.dtype]), t), t)


def softplus(e: Emitter, x: Value) -> Value:
    """log(1 + exp(x))."""
    return e.at_least(0.0, x) + log1p_unit(e, exp(e, -e.abs(x)))


def log_sigmoid(e: Emitter, x: Value) -> Value:
    """log(1 / (1 + exp(-x)))."""
    return -softplus(e, -x)


def logaddexp(e: Emitter, a: Value, b: Value) -> Value:
    """log(exp(a) + exp(b)); of equal infinities that infinity."""
    apart = -e.abs(a - b)
    distance = e.select(a.equals(b), e.const(0.0, a.dtype, a.lanes), apart)
    return e.maximum(a, b) + log1p_unit(e, exp(e, distance))
