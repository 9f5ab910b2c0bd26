"""Half precision to and from single precision, by instructions where the processor has them, else by its bits.

A value of half precision is an integer of 16 bits for LLVM. Its own type for it would become calls of library
functions, one for each lane, on processors without such instructions, and for double precision on most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from graphc.backends.numpy.llvm.values import I32, Value
from graphc.kernels import HALF, SINGLE

if TYPE_CHECKING:
    from graphc.backends.numpy.llvm.emit import Emitter

I16: Final = np.dtype(np.int16)

FRACTION: Final = 10  # bits of a fraction; 23 in single precision
SHIFT: Final = 23 - FRACTION
BIAS: Final = 127  # of an exponent in single precision; 15 in half precision
LEAST: Final = -14  # the exponent of the smallest number that is not subnormal
INFINITY: Final = 0x7C00
NAN: Final = 0x7E00
SIGN: Final = 0x8000


def widened(e: Emitter, a: Value) -> Value:
    """Half precision in single precision, which has all its numbers."""
    if e.module.features.half:
        half = e.instruction(f"bitcast {a!r} to {_half(a.lanes)}", HALF, a.lanes)
        return e.instruction(f"fpext {_half(a.lanes)} {half.text} to {_single(a.lanes)}", SINGLE, a.lanes)
    bits = e.convert(e.bitcast(a, I16), I32)
    # with the fraction where single precision has it, only the exponent is too small, by what both biases differ;
    # the product is exact, for subnormal numbers too
    size = e.bitcast((bits & 0x7FFF) << SHIFT, SINGLE) * 2.0 ** (BIAS - 15)
    # from the exponent of infinity on, which became 2**16
    endless = e.select(size >= 65536.0, e.bits(size) | (0xFF << 23), e.bits(size))
    return e.bitcast(endless | ((bits & SIGN) << 16), SINGLE)


def narrowed(e: Emitter, a: Value) -> Value:
    """Single or double precision rounded to half precision once, to the nearest, halfway to even."""
    if a.dtype != SINGLE:
        a = _to_odd(e, a)
    if e.module.features.half:
        # LLVM makes one rounding of two that follow each other, and a call of that from double precision
        a = e.intrinsic("arithmetic.fence", a)
        half = e.instruction(f"fptrunc {a!r} to {_half(a.lanes)}", HALF, a.lanes)
        return e.instruction(f"bitcast {_half(a.lanes)} {half.text} to {half.type}", HALF, a.lanes)
    bits, size = e.bits(a), e.abs(a)
    # 2**(exponent + 13): added to it, a number loses the bits that half precision does not have, and is rounded as
    # it should be; what is left in the fraction of the sum is a count of units in the last place of half precision
    exponent = bits & (0xFF << 23)
    lowest = (BIAS + LEAST) << 23
    magic = e.select(exponent > lowest, exponent, lowest) + (SHIFT << 23)
    count = e.bits(size + e.bitcast(magic, SINGLE)) - magic
    # a count that has grown to twice 2**10 carries into the exponent, and from the largest one to infinity
    finite = ((magic.shift_right_logical(23) - (BIAS + SHIFT + LEAST)) << FRACTION) + count
    found = e.select(size < 65536.0, finite, e.select(e.is_nan(a), e.like(NAN, bits), INFINITY))
    return e.bitcast(e.convert(found | (bits.shift_right_logical(16) & SIGN), I16), HALF)


def _to_odd(e: Emitter, a: Value) -> Value:
    """Double precision in single precision, rounded so that rounding again gives what rounding once would have given.

    Of the two neighbours of a number that single precision does not have, it is the one with an odd fraction. Two
    bits more than half precision has are enough: S. Boldo and G. Melquiond, "Emulation of a FMA and correctly rounded
    sums: proved algorithms using rounding to odd", 2008. Beyond the exponents of single precision, half precision has
    zero or infinity anyway.
    """
    lost = (1 << 29) - 1
    bits = e.bits(a)
    odd = (bits | ((bits & lost) + lost)) & ~lost
    return e.convert(e.bitcast(odd, a.dtype), SINGLE)


def _half(lanes: int) -> str:
    return "half" if lanes == 1 else f"<{lanes} x half>"


def _single(lanes: int) -> str:
    return "float" if lanes == 1 else f"<{lanes} x float>"
