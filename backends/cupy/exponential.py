"""The exponential function on a GPU, in parts that `graphc.backends.cupy.error` uses too.

In single precision exp is CUDA's. In double precision it is the CPU kernels' formula: CUDA's own takes two instructions
for each of its constants, and cannot be shared with the erfc whose derivative it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from graphc.backends.cupy.emit import CudaEmitter
from graphc.backends.numpy.llvm import coefficients
from graphc.backends.numpy.llvm.functions.exponential import EXP_RANGE, LOG2E
from graphc.backends.numpy.llvm.functions.formats import format_of
from graphc.backends.numpy.llvm.functions.logarithmic import log_sum
from graphc.backends.numpy.llvm.functions.logarithmic import outside as ends
from graphc.backends.numpy.llvm.values import BOOL, F32, F64, Value

NORMAL: Final = 708.0  # below this the exponential and its inverse are normal numbers


@dataclass(frozen=True, slots=True)
class Power:
    """exp(x) as 2**n exp(r). shifted: its low bits are n; high: r but for the lower part of n log(2)."""

    e: CudaEmitter
    shifted: Value
    n: Value
    high: Value

    def above(self, more: Value | None = None) -> Value:
        """exp(r + more) - 1, where `more` is tiny."""
        e, form = self.e, format_of(self.high)
        if more is not None and more.dtype == F32:
            # one rounding less
            return self._expm1(self.high + e.fma(self.n, -form.log2_low, more))
        u = self._expm1(e.fma(self.n, -form.log2_low, self.high))
        return u if more is None else u + e.fma(more, u, more)

    def _expm1(self, r: Value) -> Value:
        return self.e.fma(self.e.horner(r, coefficients.EXP_TAIL[r.dtype]), r * r, r)


def power(e: CudaEmitter, x: Value, offset: int = 0) -> Power:
    """The parts of exp(x), where the low bits are n + offset."""
    form = format_of(x)
    shifter = form.shifter + offset
    shifted = e.fma(x, LOG2E, shifter)
    n = shifted - shifter
    return Power(e, shifted, n, e.fma(n, -form.log2_high, x))


def exp(e: CudaEmitter, x: Value) -> Value:
    """In double precision."""
    parts = power(e, x)
    y = parts.above() + 1.0

    def rare() -> tuple[Value]:
        low, high = EXP_RANGE[x.dtype]
        some = e.call("scaled", y, parts.shifted)
        return (e.select(x > high, math.inf, e.select(x < low, 0.0, some)),)

    # also true of NaN
    outside = e.instruction(f"!(fabs({x.text}) < {NORMAL})", BOOL)
    return e.rarely(outside, (e.call("raised", y, parts.shifted),), rare)[0]


def log(e: CudaEmitter, x: Value) -> Value:
    usual = _log_of_normal(e, x)
    # true of subnormal numbers, 0, negative ones, infinity and NaN
    if x.dtype == F32:
        outside = e.instruction(f"(u32)__float_as_int({x.text}) - 0x800000u >= 0x7f000000u", BOOL)
        return e.rarely(outside, (usual,), lambda: (e.call("logf", x),))[0]
    outside = e.instruction(f"(u32)high_half({x.text}) - 0x100000u >= 0x7fe00000u", BOOL)
    return e.rarely(outside, (usual,), lambda: (ends(e, x, _log_of_normal(e, x * 2.0**54, -54.0), 0.0),))[0]


def _log_of_normal(e: CudaEmitter, x: Value, more: float = 0.0) -> Value:
    """log(2**more x), where x is a positive normal number."""
    f, k = e.call("mantissa", x) - 1.0, e.call("exponent", x)
    if x.dtype == F64:
        return log_sum(e, f, k + more if more else k)
    with e.keeping():
        tail = f * e.horner(f, coefficients.LOG_NEAR[F32])
    # k counts units of 2**-23
    return e.fma(k, math.log(2) * 2.0**-23, e.fma(f, tail, f))
