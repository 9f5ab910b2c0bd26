"""The fast tier: fewer instructions for errors of a few units in the last place, mostly in single precision.

Numbers are taken to be normal: subnormal ones count as zero, in operands and results, and so do results of `exp` below
the second smallest power of two. Zeros keep no sign in sine and tangent, whose angles are taken to be below 2**17 in
single and 2**26 in double precision; NaN stays NaN, and infinities are right.
"""

from __future__ import annotations

import math
from typing import Final

from graphc.backends.numpy.llvm import coefficients
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.functions import angles, error, exponential, logarithmic, trigonometric
from graphc.backends.numpy.llvm.functions.exponential import power_of_two, reduce
from graphc.backends.numpy.llvm.functions.formats import format_of
from graphc.backends.numpy.llvm.values import F32, F64, Value

# the exponents of 2 that are left at the ends are the smallest and the largest of normal numbers
EXP_RANGE: Final = {F32: (-87.67, 89.0), F64: (-708.7, 710.0)}
TANH_HIGHEST: Final = 9.0
ERF_HIGHEST: Final = 3.9


def _exp(e: Emitter, x: Value) -> Value:
    """exp(x) for x that is not too large; a polynomial that gives twice the exponential of the rest."""
    r, n = reduce(e, e.at_least(EXP_RANGE[x.dtype][0], x), format_of(x).bias - 1)
    return e.horner(r, coefficients.EXP[x.dtype]) * power_of_two(e, n, x)


def exp(e: Emitter, x: Value) -> Value:
    return _exp(e, e.at_most(EXP_RANGE[x.dtype][1], x))


def sigmoid(e: Emitter, x: Value) -> Value:
    return 1.0 / (exp(e, -x) + 1.0)


def softplus(e: Emitter, x: Value) -> Value:
    t = _exp(e, -e.abs(x))
    if x.dtype == F32:
        return e.at_least(0.0, x) + e.fma(t * t, e.horner(t, coefficients.LOG1P_UNIT_FAST[F32]), t)
    return e.at_least(0.0, x) + logarithmic.log1p_unit(e, t)


def log_sigmoid(e: Emitter, x: Value) -> Value:
    return -softplus(e, -x)


def log(e: Emitter, x: Value) -> Value:
    if x.dtype != F32:
        return logarithmic.log(e, x)
    form = format_of(x)
    parts = logarithmic.split(e, x, subnormal=False)
    f = parts.m - 1.0
    y = e.fma(f * f, e.horner(f, coefficients.LOG_FAST[F32]), e.fma(parts.k, form.log2_low, f))
    y = e.fma(parts.k, form.log2_high, y)
    small = e.select(x < 0, math.nan, e.const(-math.inf, x.dtype, x.lanes))
    return e.select(x < math.inf, e.select(x < form.smallest, small, y), x)


def tanh(e: Emitter, x: Value) -> Value:
    if x.dtype != F32:
        return exponential.tanh(e, x)
    x = e.at_most(TANH_HIGHEST, e.at_least(-TANH_HIGHEST, x))
    z = x * x
    top = x * e.horner(z, coefficients.TANH_FAST_TOP[F32])
    return _unit(e, top / e.horner(z, coefficients.TANH_FAST_BELOW[F32]))


def erf(e: Emitter, x: Value) -> Value:
    if x.dtype != F32:
        return error.erf(e, x)
    x = e.at_most(ERF_HIGHEST, e.at_least(-ERF_HIGHEST, x))
    z = x * x
    top = x * e.horner(z, coefficients.ERF_FAST_TOP[F32])
    return _unit(e, top / e.horner(z, coefficients.ERF_FAST_BELOW[F32]))


def _unit(e: Emitter, y: Value) -> Value:
    """y, but not beyond 1: users take 1 - y**2 for positive."""
    return e.at_most(1.0, e.at_least(-1.0, y))


def sin(e: Emitter, x: Value) -> Value:
    return trigonometric.turned(e, *angles.reduce_moderate(e, x))


def cos(e: Emitter, x: Value) -> Value:
    r, n = angles.reduce_moderate(e, x)
    return trigonometric.turned(e, r, n + 1)


def tan(e: Emitter, x: Value) -> Value:
    r, n = angles.reduce_moderate(e, x)
    s, c = trigonometric.sin_near(e, r), trigonometric.cos_near(e, r)
    odd = (n & 1).differs(0)
    return e.select(odd, -c, s) / e.select(odd, s, c)
