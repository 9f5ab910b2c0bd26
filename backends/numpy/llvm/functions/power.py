"""Powers: of any exponent, and of one known when the kernel is made.

x**y = 2**(y log2(x)) needs log2(x) to more digits than a float has, for its error is multiplied by as much as the
largest exponent. In double precision it is computed as a pair of floats; single precision computes in double. Special
values are those of C, Annex F. Reference: J.-M. Muller, "Elementary Functions", 3rd edition, section 11.5.
"""

from __future__ import annotations

import math
from typing import Final

from graphc.backends.numpy.llvm import coefficients
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.functions.exponential import EXP2_RANGE, power_of_two, scale
from graphc.backends.numpy.llvm.functions.formats import format_of
from graphc.backends.numpy.llvm.functions.logarithmic import split
from graphc.backends.numpy.llvm.functions.pairs import Pair, fast_two_sum, remainder, two_product, two_sum
from graphc.backends.numpy.llvm.values import F32, F64, Value

# 2 / log(2) and 2 / (3 log(2)) as pairs
FIRST: Final = (float.fromhex("0x1.71547652b82fep+1"), float.fromhex("0x1.777d0ffda0d24p-55"))
SECOND: Final = (float.fromhex("0x1.ec709dc3a03fdp-1"), float.fromhex("0x1.d27f05548af0cp-55"))
# an exponent larger than this gives 0 or inf with every base but 1
LARGEST_EXPONENT: Final = 2.0**70


def pow(e: Emitter, x: Value, y: Value) -> Value:
    size = e.abs(x)
    infinite, zero = size.equals(math.inf), size.equals(0.0)
    exponent = e.at_most(LARGEST_EXPONENT, e.at_least(-LARGEST_EXPONENT, y))
    if x.dtype == F32:
        p = e.convert(_size_of_power_short(e, e.convert(size, F64), e.convert(exponent, F64)), F32)
    else:
        p = _size_of_power(e, size, exponent)
    none, all_ = e.const(0.0, x.dtype, x.lanes), e.const(math.inf, x.dtype, x.lanes)
    grows = (y > 0) ^ zero
    p = e.select(infinite | zero, e.select(grows, all_, none), p)
    whole = e.rint(y).equals(y)
    half = y * 0.5
    odd = whole & e.rint(half).differs(half)
    p = e.select(odd, e.copysign(p, x), p)
    p = e.select((x < 0) & ~whole & ~infinite, math.nan, p)
    p = e.select(e.is_nan(x) | e.is_nan(y), math.nan, p)
    return e.select(x.equals(1.0) | y.equals(0.0), 1.0, p)


def _size_of_power(e: Emitter, size: Value, y: Value) -> Value:
    """size**y in double precision for a positive finite size."""
    high, low = log2_pair(e, size)
    product, lost = two_product(e, y, high)
    lost = e.fma(y, low, lost)
    lowest, highest = EXP2_RANGE[F64]
    clipped = e.at_most(highest, e.at_least(lowest, product))
    lost = e.select(clipped.equals(product), lost, 0.0)
    f = format_of(size)
    shifter = f.shifter + 2 * f.bias
    shifted = clipped + shifter
    r = (clipped - (shifted - shifter)) + lost
    return scale(e, e.fma(e.horner(r, coefficients.EXP2[F64]), r, 1.0), e.bits(shifted))


def log2_pair(e: Emitter, x: Value) -> Pair:
    """log2(x) for positive finite x in double precision, with an error of about 2**-65."""
    parts = split(e, x)
    f = parts.m - 1.0
    below, below_rest = two_sum(parts.m, e.const(1.0, x.dtype, x.lanes))
    inverse = 1.0 / below
    s = f * inverse
    s_rest = (remainder(e, f, s, below) - s * below_rest) * inverse
    z, z_rest = two_product(e, s, s)
    z_rest = e.fma(s + s, s_rest, z_rest)
    tail = z * e.horner(z, coefficients.LOG2_TAIL[F64])
    c, c_rest = fast_two_sum(e.const(SECOND[0], x.dtype, x.lanes), tail)
    u, u_rest = two_product(e, z, c)
    u_rest = e.fma(z, c_rest + SECOND[1], e.fma(z_rest, c, u_rest))
    v, v_rest = fast_two_sum(e.const(FIRST[0], x.dtype, x.lanes), u)
    v_rest = v_rest + (u_rest + FIRST[1])
    w, w_rest = two_product(e, s, v)
    w_rest = e.fma(s, v_rest, e.fma(s_rest, v, w_rest))
    high, low = fast_two_sum(parts.k, w)
    return fast_two_sum(high, low + w_rest)


def _size_of_power_short(e: Emitter, size: Value, y: Value) -> Value:
    """size**y for what was single precision, in double precision, where nothing overflows early."""
    parts = split(e, size, subnormal=False)
    s = (parts.m - 1.0) / (parts.m + 1.0)
    exponent = e.fma(s, e.horner(s * s, coefficients.LOG2_SHORT[F64]), parts.k) * y
    lowest, highest = EXP2_RANGE[F32]
    f = format_of(size)
    exponent = e.at_most(highest, e.at_least(lowest, exponent))
    shifter = f.shifter + f.bias
    shifted = exponent + shifter
    r = exponent - (shifted - shifter)
    return e.horner(r, coefficients.EXP2_SHORT[F64]) * power_of_two(e, e.bits(shifted), size)


def pow_constant(e: Emitter, x: Value, exponent: float) -> Value:
    """x to an exponent known now: by products or a square root where that is as exact, else as `pow`."""
    if exponent == 0.5:  # the signs of the root's special values are those NumPy gives
        return e.sqrt(x)
    if float(exponent).is_integer() and abs(exponent) <= 64:
        return integer_pow(e, x, int(exponent))
    return pow(e, x, e.const(exponent, x.dtype, x.lanes))


def integer_pow(e: Emitter, x: Value, exponent: int) -> Value:
    """x to a whole power: of integers modulo their width, of floats to the last place."""
    if exponent == 0:
        return e.const(1, x.dtype, x.lanes)
    if not x.is_float or 0 < exponent <= 4:
        return _product(x, exponent)
    if exponent == -1:
        return 1.0 / x
    if x.dtype == F32:
        wide = e.convert(x, F64)
        p = _product(wide, abs(exponent))
        return e.convert(p if exponent > 0 else 1.0 / p, F32)
    return _paired_product(e, x, exponent)


def _product(x: Value, exponent: int) -> Value:
    """x**exponent for an exponent from 1 on, by squaring."""
    power: Value | None = None
    while True:
        if exponent & 1:
            power = x if power is None else power * x
        exponent >>= 1
        if not exponent:
            assert power is not None
            return power
        x = x * x


def _paired_product(e: Emitter, x: Value, exponent: int) -> Value:
    base: Pair = (x, e.const(0.0, x.dtype, x.lanes))
    if exponent < 0:
        inverse = 1.0 / x
        base = inverse, remainder(e, e.const(1.0, x.dtype, x.lanes), inverse, x) * inverse
    power: Pair | None = None
    n = abs(exponent)
    while True:
        if n & 1:
            power = base if power is None else _multiply(e, power, base)
        n >>= 1
        if not n:
            break
        base = _multiply(e, base, base)
    assert power is not None
    high, low = power
    # at infinity the rest is no number, at zero it has no sign
    return e.select((e.abs(low) < math.inf) & high.differs(0), high + low, high)


def _multiply(e: Emitter, a: Pair, b: Pair) -> Pair:
    high, low = two_product(e, a[0], b[0])
    return high, e.fma(a[0], b[1], e.fma(a[1], b[0], low))
