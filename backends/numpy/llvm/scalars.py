"""The functions that the records of ops describe kernels in, as LLVM instructions."""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np

from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.functions import ACCURATE, FAST, Function, integer_pow, pow_constant
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.values import BOOL, DType, Operand, Value, width


class LlvmScalars:
    """Writes each function's instructions with an emitter; transcendental ones come from the vector mathematics.

    fast: take the variants with a larger, documented error, and round a sum and a product in it once.
    calls: call the transcendental functions rather than writing them out each time. A call costs little beside the
    function, and a kernel of hundreds of them compiles several times faster.
    """

    def __init__(self, emitter: Emitter, fast: bool = False, calls: bool = False) -> None:
        self.e = emitter
        self.fast = fast
        self.calls = calls

    def __getattr__(self, name: str) -> Any:
        function = (FAST if self.fast else ACCURATE).get(name)
        if function is None:
            raise AttributeError(name)
        if self.calls:
            return lambda *operands: self._called(name, function, operands)
        return lambda *operands: function(self.e, *operands)

    def _called(self, name: str, function: Function, operands: tuple[Value, ...]) -> Value:
        """The function, called."""
        e, first = self.e, operands[0]
        symbol = f"{name}_{first.lanes}x{first.dtype.name}"
        if symbol not in e.module.definitions:
            inside = Module(e.module.features)
            inner = Emitter(inside, first.lanes)
            inner.label("entry")
            arguments = [inner.value(f"%x{k}", x.dtype, x.lanes) for k, x in enumerate(operands)]
            result = function(inner, *arguments)
            inner.statement(f"ret {result!r}")
            head = f"define {result.type} @{symbol}({', '.join(map(repr, arguments))}) nounwind {{"
            declaration = f"declare {result.type} @{symbol}({', '.join(x.type for x in arguments)}) nounwind"
            e.module.help(symbol, declaration, inside, "\n".join([head, *inner.lines, "}", ""]))
        return e.instruction(f"call {first.type} @{symbol}({', '.join(map(repr, operands))})", first.dtype, first.lanes)

    def number(self, number: float, like: Value) -> Value:
        """A constant in the dtype and lanes of another value."""
        return self.e.like(number, like)

    # Arithmetic

    def add(self, a: Value, b: Value) -> Value:
        return a | b if a.dtype == BOOL else self.e.binary("add", a, b, self.fast)

    def sub(self, a: Value, b: Value) -> Value:
        return self.e.binary("sub", a, b, self.fast)

    def mul(self, a: Value, b: Value) -> Value:
        return a & b if a.dtype == BOOL else self.e.binary("mul", a, b, self.fast)

    def div(self, a: Value, b: Value) -> Value:
        return a / b

    def neg(self, a: Value) -> Value:
        return -a

    def abs(self, a: Value) -> Value:
        return self.e.abs(a)

    def sqrt(self, a: Value) -> Value:
        return self.e.sqrt(a)

    def sign(self, a: Value) -> Value:
        one, zero = self.e.like(1, a), self.e.like(0, a)
        positive = self.e.select(a > 0, one, zero)
        if a.dtype.kind == "u":
            return positive
        result = self.e.select(a < 0, -one, positive)
        return self.e.select(self.e.is_nan(a), a, result) if a.is_float else result

    def integer_pow(self, x: Value, exponent: int) -> Value:
        return integer_pow(self.e, x, exponent)

    def pow(self, a: Value, b: Value) -> Value:
        exponent = _known(b)
        if exponent is not None:
            return pow_constant(self.e, a, exponent)
        function = ACCURATE["pow"]
        return self._called("pow", function, (a, b)) if self.calls else function(self.e, a, b)

    # Whole numbers and remainders

    def floor(self, a: Value) -> Value:
        return self.e.floor(a)

    def ceil(self, a: Value) -> Value:
        return self.e.ceil(a)

    def trunc(self, a: Value) -> Value:
        return self.e.trunc(a)

    def rint(self, a: Value) -> Value:
        return self.e.rint(a)

    def floor_divide(self, a: Value, b: Value) -> Value:
        if a.is_float:
            return ACCURATE["floor_divide"](self.e, a, b)
        quotient, remainder, whole = self._divided(a, b)
        if a.dtype.kind == "i":
            quotient = self.e.select(self._uneven(remainder, b), quotient - 1, quotient)
        return self.e.select(whole, quotient, 0)

    def remainder(self, a: Value, b: Value) -> Value:
        if a.is_float:
            return ACCURATE["remainder"](self.e, a, b)
        _, remainder, whole = self._divided(a, b)
        if a.dtype.kind == "i":
            remainder = self.e.select(self._uneven(remainder, b), remainder + b, remainder)
        return self.e.select(whole, remainder, 0)

    def fmod(self, a: Value, b: Value) -> Value:
        if a.is_float:
            return ACCURATE["fmod"](self.e, a, b)
        _, remainder, whole = self._divided(a, b)
        return self.e.select(whole, remainder, 0)

    def _uneven(self, remainder: Value, b: Value) -> Value:
        """Whether a division was cut towards zero from below."""
        return remainder.differs(0) & ((remainder ^ b) < 0)

    def _divided(self, a: Value, b: Value) -> tuple[Value, Value, Value]:
        """Quotient and remainder of integers, cut towards zero, and whether b is not 0, where NumPy gives 0.

        The processor faults on a division by 0, and on that of the smallest integer by -1, which wraps in NumPy.
        """
        e = self.e
        whole = b.differs(0)
        if a.dtype.kind != "i":
            safe = e.select(whole, b, 1)
            quotient = e.binary("udiv", a, safe)
            return quotient, a - quotient * safe, whole
        wraps = b.equals(-1)
        safe = e.select(whole & ~wraps, b, 1)
        quotient = e.select(wraps, -a, e.binary("sdiv", a, safe))
        return quotient, a - quotient * b, whole

    # Choices and comparisons

    def where(self, condition: Value, a: Value, b: Value) -> Value:
        return self.e.select(condition, a, b)

    def maximum(self, a: Value, b: Value) -> Value:
        return self.e.maximum(a, b)

    def minimum(self, a: Value, b: Value) -> Value:
        return self.e.minimum(a, b)

    def fmax(self, a: Value, b: Value) -> Value:
        larger = self.e.select(a < b, b, a)
        return self.e.select(self.e.is_nan(a), b, larger) if a.is_float else larger

    def fmin(self, a: Value, b: Value) -> Value:
        smaller = self.e.select(b < a, b, a)
        return self.e.select(self.e.is_nan(a), b, smaller) if a.is_float else smaller

    def eq(self, a: Value, b: Value) -> Value:
        return a.equals(b)

    def ne(self, a: Value, b: Value) -> Value:
        return a.differs(b)

    def lt(self, a: Value, b: Value) -> Value:
        return a < b

    def le(self, a: Value, b: Value) -> Value:
        return a <= b

    def gt(self, a: Value, b: Value) -> Value:
        return a > b

    def ge(self, a: Value, b: Value) -> Value:
        return a >= b

    def logical_and(self, a: Value, b: Value) -> Value:
        return a & b

    def logical_or(self, a: Value, b: Value) -> Value:
        return a | b

    def logical_not(self, a: Value) -> Value:
        return ~a

    def is_nan(self, a: Value) -> Value:
        return self.e.is_nan(a)

    # Bits

    def bitwise_and(self, a: Value, b: Value) -> Value:
        return a & b

    def bitwise_or(self, a: Value, b: Value) -> Value:
        return a | b

    def bitwise_xor(self, a: Value, b: Value) -> Value:
        return a ^ b

    def invert(self, a: Value) -> Value:
        return ~a

    def left_shift(self, a: Value, b: Value) -> Value:
        inside, places = self._places(b)
        return self.e.select(inside, a << places, 0)

    def right_shift(self, a: Value, b: Value) -> Value:
        inside, places = self._places(b)
        rest: Operand = self.e.select(a < 0, -1, self.e.like(0, a)) if a.dtype.kind == "i" else 0
        return self.e.select(inside, a >> places, rest)

    def _places(self, b: Value) -> tuple[Value, Value]:
        """Whether a shift stays inside the word, and by how much; beyond, LLVM leaves the result open."""
        bits = width(b.dtype)
        inside = b < bits if b.dtype.kind == "u" else (b >= 0) & (b < bits)
        return inside, self.e.select(inside, b, 0)

    def bitwise_count(self, a: Value) -> Value:
        return self.e.convert(self.e.intrinsic("ctpop", self.e.abs(a)), np.dtype(np.uint8))

    def signbit(self, a: Value) -> Value:
        return self.e.sign_bit(a)

    def copysign(self, size: Operand, sign: Value) -> Value:
        return self.e.copysign(size, sign)

    # Conversions

    def convert(self, a: Value, dtype: DType) -> Value:
        return self.e.convert(a, dtype)


def _known(value: Value) -> float | None:
    """The number that a float constant stands for."""
    found = re.search(r"0x([0-9A-F]{16})\)?$", value.text)
    return None if found is None else float(struct.unpack("<d", bytes.fromhex(found[1])[::-1])[0])
