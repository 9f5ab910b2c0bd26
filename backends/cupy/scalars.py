"""The functions that kernels are written in (`graphc.kernels.Scalars`), as CUDA C++.

Elementary functions are CUDA's own where their largest error, as the CUDA programming guide states it, is not above 2.5
units in the last place. The others are those of the CPU's kernels, which are written once for both.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from graphc.backends.cupy import error, exponential
from graphc.backends.cupy.emit import CudaEmitter, double, number_of
from graphc.backends.numpy.llvm.functions import ACCURATE, pow_constant
from graphc.backends.numpy.llvm.scalars import LlvmScalars
from graphc.backends.numpy.llvm.values import BOOL, F32, F64, Operand, Value

# (ours, CUDA's name for doubles, largest error in single and in double precision as documented)
LIBRARY: Final = (
    ("exp", "exp", 1, 1),
    ("exp2", "exp2", 2, 1),
    ("expm1", "expm1", 1, 1),
    ("log", "log", 1, 1),
    ("log2", "log2", 1, 1),
    ("log10", "log10", 2, 1),
    ("log1p", "log1p", 1, 1),
    ("sin", "sin", 2, 2),
    ("cos", "cos", 2, 2),
    ("tan", "tan", 4, 2),
    ("sinh", "sinh", 3, 2),
    ("cosh", "cosh", 2, 1),
    ("tanh", "tanh", 2, 1),
    ("arcsin", "asin", 2, 2),
    ("arccos", "acos", 2, 2),
    ("arctan", "atan", 2, 2),
    ("arctan2", "atan2", 3, 2),
    ("arcsinh", "asinh", 3, 3),
    ("arccosh", "acosh", 4, 3),
    ("arctanh", "atanh", 3, 2),
    ("pow", "pow", 4, 2),
    ("hypot", "hypot", 3, 2),
    ("cbrt", "cbrt", 1, 1),
    ("erf", "erf", 2, 2),
    ("erfc", "erfc", 4, 5),
)
MOST_ULPS: Final = 2.5
FUNCTIONS: Final = {
    (name, dtype): cuda + ("f" if dtype == F32 else "")
    for name, cuda, *errors in LIBRARY
    for dtype, error in zip((F32, F64), errors, strict=True)
    if error <= MOST_ULPS
}
# what takes fewer instructions than CUDA's, or is not as exact there
OURS: Final = {
    ("erfc", F32): error.erfc,
    ("erfc", F64): error.erfc,
    ("exp", F64): exponential.exp,
    ("log", F32): exponential.log,
    ("log", F64): exponential.log,
}
# single precision by way of double: CUDA's own error is too large, and the CPU's reduction of angles is not portable
WIDENED: Final = {"tan"}
# instructions of the processor, in single precision; errors grow away from 1
FAST: Final = {"exp": "__expf", "log": "__logf", "log2": "__log2f", "sin": "__sinf", "cos": "__cosf"}


class CudaScalars(LlvmScalars):
    """Writes each function's statements with an emitter. fast: take the processor's approximations."""

    e: CudaEmitter

    def __init__(self, emitter: CudaEmitter, fast: bool = False) -> None:
        super().__init__(emitter, fast)

    def __getattr__(self, name: str) -> Any:
        if name not in ACCURATE:
            raise AttributeError(name)
        return lambda *operands: self.function(name, *operands)

    def function(self, name: str, *operands: Value) -> Value:
        """An elementary function."""
        dtype = operands[0].dtype
        if self.fast and dtype == F32 and name in FAST:
            return self.e.call(FAST[name], *operands)
        ours = OURS.get((name, dtype))
        if ours is not None:
            return ours(self.e, *operands)
        library = FUNCTIONS.get((name, dtype))
        if library is not None:
            return self.e.call(library, *operands)
        if name in WIDENED:
            return self.e.convert(self.function(name, *(double(self.e, x) for x in operands)), dtype)
        return ACCURATE[name](self.e, *operands)

    def div(self, a: Value, b: Value) -> Value:
        if a.dtype != F64:
            return a / b
        e = self.e
        quotient = inverse = e.call("exact_inverse", b)
        if number_of(a.text) != 1:
            quotient = e.call("exact_quotient", a, b, inverse)
        outside = e.instruction(f"!is_exact({a.text}, {b.text}, {quotient.text})", BOOL)
        return e.rarely(outside, (quotient,), lambda: (a / b,))[0]

    def pow(self, a: Value, b: Value) -> Value:
        exponent = number_of(b.text)
        return pow_constant(self.e, a, exponent) if exponent is not None else self.function("pow", a, b)

    # Remainders of floats: as NumPy's, from C's exact one

    def fmod(self, a: Value, b: Value) -> Value:
        return self.e._float("fmod", a, b) if a.is_float else super().fmod(a, b)

    def remainder(self, a: Value, b: Value) -> Value:
        if not a.is_float:
            return super().remainder(a, b)
        rest = self.fmod(a, b)
        moved = self.e.select((rest < 0) ^ (b < 0), rest + b, rest)
        signed = self.e.select(rest.equals(0), self.e.copysign(0.0, b), moved)
        return self.e.select(b.equals(0), math.nan, signed)

    def floor_divide(self, a: Value, b: Value) -> Value:
        if not a.is_float:
            return super().floor_divide(a, b)
        e, rest = self.e, self.fmod(a, b)
        quotient = (a - rest) / b
        quotient = e.select(rest.differs(0) & ((rest < 0) ^ (b < 0)), quotient - 1.0, quotient)
        whole = e.floor(quotient)
        whole = e.select(quotient - whole > 0.5, whole + 1.0, whole)
        plain = a / b
        signed = e.select(quotient.equals(0), e.copysign(0.0, plain), whole)
        return e.select(b.equals(0), plain, signed)

    def bitwise_count(self, a: Value) -> Value:
        size = self.e.abs(a)
        # the absolute value of the smallest integer is itself, and has one bit
        kind, function = ("u64", "__popcll") if a.dtype.itemsize == 8 else (f"u{8 * a.dtype.itemsize}", "__popc")
        return self.e.instruction(f"(u8){function}(({kind}){size.text})", np.dtype(np.uint8))

    def copysign(self, size: Operand, sign: Value) -> Value:
        return self.e.copysign(size, sign)
