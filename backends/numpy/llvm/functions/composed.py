"""Functions that are a few others put together so that nothing overflows or cancels."""

from __future__ import annotations

import math
from typing import Final

from graphc.backends.numpy.llvm import coefficients
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.functions.exponential import exp, exp2, expm1
from graphc.backends.numpy.llvm.functions.formats import format_of
from graphc.backends.numpy.llvm.functions.logarithmic import log, log1p, log1p_unit, log_of_sum, outside
from graphc.backends.numpy.llvm.functions.pairs import remainder
from graphc.backends.numpy.llvm.values import F32, F64, Value

LOG2: Final = math.log(2)
LOG2E: Final = 1 / LOG2
# from here on sqrt(1 + x**2) is x
LARGE: Final = {F32: 2.0**13, F64: 2.0**27}


def softplus(e: Emitter, x: Value) -> Value:
    """log(1 + exp(x))."""
    return e.at_least(0.0, x) + log1p_unit(e, exp(e, -e.abs(x)))


def log_sigmoid(e: Emitter, x: Value) -> Value:
    """log(1 / (1 + exp(-x)))."""
    return -softplus(e, -x)


def logaddexp(e: Emitter, a: Value, b: Value) -> Value:
    """log(exp(a) + exp(b))."""
    y = e.maximum(a, b) + log1p_unit(e, exp(e, -e.abs(a - b)))
    return e.select(a.equals(b), a + LOG2, y)  # of infinities too


def logaddexp2(e: Emitter, a: Value, b: Value) -> Value:
    """log2(2**a + 2**b)."""
    y = e.maximum(a, b) + log1p_unit(e, exp2(e, -e.abs(a - b))) * LOG2E
    return e.select(a.equals(b), a + 1.0, y)


def log1mexp(e: Emitter, x: Value) -> Value:
    """log(1 - exp(-x)), from whichever of 1 - exp(-x) and exp(-x) is small."""
    t, small = exp(e, -x), -expm1(e, -x)
    near = x < LOG2
    zero = e.const(0.0, x.dtype, x.lanes)
    u = e.select(near, small, 1.0 - t)
    y = log_of_sum(e, u, e.select(near, zero, (1.0 - u) - t), -t, subnormal=True)
    y = outside(e, u, -e.abs(y), 0.0)
    # so small below 0 that exp(-x) is 1
    return e.select((x < 0) & t.equals(1.0), -math.inf, y)


def log_cosh(e: Emitter, x: Value) -> Value:
    """log(cosh(x)): near 0 from cosh(x) - 1, else from |x| - log(2)."""
    form = format_of(x)
    size = e.abs(x)
    z = x * x
    near = size < 1.0
    above = e.fma(z * z, e.horner(z, coefficients.COSH[x.dtype]), z * 0.5)
    y = log1p_unit(e, e.select(near, above, exp(e, size * -2.0)))
    return e.select(near, y, (size - form.log2_high) + (y - form.log2_low))


def logit(e: Emitter, x: Value) -> Value:
    """log(x / (1 - x)), with what the quotient loses; around 1/2 from what it exceeds 1 by."""
    below = 1.0 - x
    quotient = x / below
    # 1 / (1 - x) is 1 more than the quotient
    lost = (remainder(e, x, quotient, below) - quotient * ((1.0 - below) - x)) * (quotient + 1.0)
    y = log_of_sum(e, quotient, lost, (x + x - 1.0) / below, subnormal=True)
    return outside(e, quotient, y, 0.0)


def sin_arctan(e: Emitter, x: Value) -> Value:
    """x / sqrt(1 + x**2), the sine of the arctangent."""
    y = e.at_most(format_of(x).largest, e.abs(x))
    return e.copysign(y / _secant(e, y), x)


def cos_arctan(e: Emitter, x: Value) -> Value:
    """1 / sqrt(1 + x**2), the cosine of the arctangent."""
    return 1.0 / _secant(e, e.abs(x))


def _secant(e: Emitter, size: Value) -> Value:
    return e.select(size > LARGE[size.dtype], size, e.sqrt(e.fma(size, size, 1.0)))


def xlogy(e: Emitter, x: Value, y: Value) -> Value:
    """x log(y), and 0 where x is 0."""
    return _product_or_zero(e, x, y, log(e, y))


def xlog1py(e: Emitter, x: Value, y: Value) -> Value:
    """x log(1 + y), and 0 where x is 0."""
    return _product_or_zero(e, x, y, log1p(e, y))


def _product_or_zero(e: Emitter, x: Value, y: Value, logarithm: Value) -> Value:
    # the NaN of a negative number is hidden, one that was there is not
    hidden = e.select(e.is_nan(y), y, e.const(0.0, x.dtype, x.lanes))
    return e.select(x.equals(0.0), hidden, x * logarithm)


def sinc(e: Emitter, x: Value) -> Value:
    """sin(pi x) / (pi x), from the distance to the nearest whole number."""
    whole = e.rint(x)
    r = x - whole
    z = r * r
    y = e.fma(r * z, e.horner(z, coefficients.SINC[x.dtype]), r) / x
    half = whole * 0.5
    y = e.select(e.rint(half).differs(half), -y, y)
    return e.select(x.equals(0.0), 1.0, y)
