"""Inverse trigonometric and hyperbolic functions."""

from __future__ import annotations

import math
from typing import Final

from graphc.backends.numpy.llvm import coefficients
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.functions.logarithmic import log1p_times, outside
from graphc.backends.numpy.llvm.values import F32, F64, Value

# pi / 2 as the nearest float and the rest
HALF_PI: Final = {
    F32: (float.fromhex("0x1.921fb6p+0"), float.fromhex("-0x1.777a5cp-25")),
    F64: (float.fromhex("0x1.921fb54442d18p+0"), float.fromhex("0x1.1a62633145c07p-54")),
}
# from here on sqrt(x**2 + 1) is x
LARGE: Final = {F32: 2.0**14, F64: 2.0**28}


def atan_unit(e: Emitter, t: Value) -> Value:
    """What the arctangent of t between 0 and 1 exceeds t by."""
    z = t * t
    return t * z * e.estrin(z, coefficients.ATAN[t.dtype])


def turned(e: Emitter, quarters: Value, y: Value, more: Value) -> Value:
    """A whole number of quarter turns, 0 to 2, plus an angle y + more, of which the second part is small."""
    high, low = HALF_PI[y.dtype]
    # the products of the whole number are exact, and so is the first sum where it is smaller than y
    return e.fma(quarters, high, y) + e.fma(quarters, low, more)


def arctan(e: Emitter, x: Value) -> Value:
    size = e.abs(x)
    far = size > 1.0
    t = e.at_most(1.0, size) / e.at_least(1.0, size)
    more = atan_unit(e, t)
    high, low = HALF_PI[x.dtype]
    return e.copysign(e.select(far, (high - t) - (more - low), t + more), x)


def arctan2(e: Emitter, y: Value, x: Value) -> Value:
    """The angle of the point (x, y), with the signs of zeros and at infinity as in C."""
    high, wide = e.abs(y), e.abs(x)
    steep = high > wide
    small, large = e.select(steep, wide, high), e.select(steep, high, wide)
    zero, one = (e.const(number, x.dtype, x.lanes) for number in (0.0, 1.0))
    # equal infinities and zeros have no quotient
    t = e.select(small.equals(large), e.select(large.equals(0.0), zero, one), small / large)
    back = e.sign_bit(x)
    quarters = e.select(steep, one, e.select(back, e.const(2.0, x.dtype, x.lanes), zero))
    t = e.select(steep ^ back, -t, t)
    return e.copysign(turned(e, quarters, t, atan_unit(e, t)), y)


def arcsin(e: Emitter, x: Value) -> Value:
    far, t, more = _asin_parts(e, x)
    high, low = HALF_PI[x.dtype]
    y = e.fma(t, -2.0, high)
    lost = e.fma(t, -2.0, high - y)
    return e.copysign(e.select(far, y + (lost + e.fma(more, -2.0, low)), t + more), x)


def arccos(e: Emitter, x: Value) -> Value:
    far, t, more = _asin_parts(e, x)
    zero, one, two = (e.const(number, x.dtype, x.lanes) for number in (0.0, 1.0, 2.0))
    quarters = e.select(far, e.select(x < 0, two, zero), one)
    sign = e.select(far, x, -x)
    factor = e.copysign(e.select(far, two, one), sign)
    return turned(e, quarters, t * factor, more * factor)


def _asin_parts(e: Emitter, x: Value) -> tuple[Value, Value, Value]:
    """Whether |x| is above 1/2, and asin|x| as t + more; or there asin sqrt((1 - |x|) / 2): the half of acos|x|."""
    size = e.abs(x)
    far = size > 0.5
    z = e.select(far, e.fma(size, -0.5, 0.5), x * x)
    t = e.select(far, e.sqrt(z), size)
    return far, t, t * z * e.horner(z, coefficients.ASIN[x.dtype])


def arcsinh(e: Emitter, x: Value) -> Value:
    size = e.abs(x)
    far = size > LARGE[x.dtype]
    square = size * size
    # size + sqrt(square + 1) - 1
    f = size + square / (e.sqrt(square + 1.0) + 1.0)
    y = log1p_times(e, e.select(far, size - 1.0, f), far)
    return e.copysign(e.select(size < math.inf, y, size), x)


def arccosh(e: Emitter, x: Value) -> Value:
    far = x > LARGE[x.dtype]
    t = x - 1.0
    f = t + e.sqrt(e.fma(t, t, t + t))
    y = e.select(x < 1.0, math.nan, log1p_times(e, e.select(far, t, f), far))
    return e.select(x < math.inf, y, x)


def arctanh(e: Emitter, x: Value) -> Value:
    size = e.abs(x)
    f = (size + size) / (1.0 - size)
    return e.copysign(outside(e, f, log1p_times(e, f), -1.0) * 0.5, x)
