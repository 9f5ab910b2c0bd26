"""The cube root, and the length of a vector."""

from __future__ import annotations

import math
from typing import Final

from graphc.backends.numpy.llvm import coefficients
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.functions.exponential import power_of_two
from graphc.backends.numpy.llvm.functions.formats import format_of
from graphc.backends.numpy.llvm.functions.logarithmic import split
from graphc.backends.numpy.llvm.values import F32, F64, Value

# 2**(r / 3) = 1 + r (A + r B) for r = -1, 0, 1
A: Final = (2 ** (1 / 3) - 2 ** (-1 / 3)) / 2
B: Final = (2 ** (1 / 3) + 2 ** (-1 / 3)) / 2 - 1
# where squares neither overflow nor lose digits; and a power of two that leads back there
SAFE: Final = {F32: (2.0**-50, 2.0**60), F64: (2.0**-450, 2.0**500)}
LIFT: Final = {F32: 2.0**80, F64: 2.0**600}


def cbrt(e: Emitter, x: Value) -> Value:
    """A polynomial, then one step of E. Halley's method, which triples the digits."""
    f = format_of(x)
    size = e.abs(x)
    parts = split(e, size)
    shifter = f.shifter + f.bias
    shifted = e.fma(parts.k, 1 / 3, shifter)
    third = shifted - shifter
    r = e.fma(third, -3.0, parts.k)  # -1, 0 or 1
    a = parts.m * e.fma(r, e.fma(r, 0.25, 0.75), 1.0)
    y = e.horner(parts.m, coefficients.CBRT[x.dtype]) * e.fma(r, e.fma(r, B, A), 1.0)
    square = y * y
    cube = square * y
    y = y + y * e.fma(-square, y, a) / e.fma(cube, 2.0, a)
    y = e.copysign(y * power_of_two(e, e.bits(shifted), x), x)
    return e.select((size > 0) & (size < math.inf), y, x)


def hypot(e: Emitter, x: Value, y: Value) -> Value:
    """sqrt(x**2 + y**2), scaled where the squares would overflow or become subnormal."""
    a, b = e.abs(x), e.abs(y)
    large = e.maximum(a, b)
    low, high = SAFE[x.dtype]
    up, down = (e.const(number, x.dtype, x.lanes) for number in (LIFT[x.dtype], 1 / LIFT[x.dtype]))
    tiny, huge = large < low, large > high
    by = e.select(tiny, up, e.select(huge, down, 1.0))
    back = e.select(tiny, down, e.select(huge, up, 1.0))
    a, b = a * by, b * by
    root = e.sqrt(e.fma(a, a, b * b)) * back
    return e.select(a.equals(math.inf) | b.equals(math.inf), math.inf, root)
