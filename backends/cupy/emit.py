"""Typed values over the text of CUDA C++: kernels and their mathematics are written in them.

The emitter offers what the one for LLVM offers, so that mathematics written for that one serves here too. A value is a
C++ constant; every operation rounds as IEEE 754 says, and `fma` is the only one that may fuse (kernels are compiled
with ``-fmad=false``). Arithmetic of signed integers goes through unsigned ones, in which overflow wraps.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from graphc.backends.cupy.prelude import C_TYPES, unsigned
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.module import Features, Module
from graphc.backends.numpy.llvm.values import BOOL, F32, F64, DType, Operand, Value

SYMBOLS: Final = {"add": "+", "sub": "-", "mul": "*", "fdiv": "/", "and": "&", "or": "|", "xor": "^"}
DIVISIONS: Final = {"sdiv": "/", "udiv": "/", "srem": "%", "urem": "%"}
# a double whose lower half is not 0: instructions hold the upper half only
LONG: Final = re.compile(r"-?0x1\.[0-9a-f]{5}(?!0{8})[0-9a-f]{8}p[+-]\d+(?!\d*f)")
HEX_FLOAT: Final = re.compile(r"\(?(-?0x[0-9a-f.]+p[+-]\d+)f?\)?")


def literal(number: float, dtype: DType) -> str:
    """A number as a C++ constant of the dtype; floats by their digits to base 16, which are exact.

    >>> literal(0.5, F32), literal(-1, np.dtype("i2")), literal(True, BOOL)
    ('0x1.0000000000000p-1f', '(i16)-1', 'true')
    """
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            rounded = float(dtype.type(number))
        if math.isfinite(rounded):
            text = rounded.hex() + ("f" if dtype == F32 else "")
            return f"({text})" if text.startswith("-") else text
        if dtype == F32:
            return f"__int_as_float({struct.unpack('<i', struct.pack('<f', rounded))[0]})"
        return f"__longlong_as_double({struct.unpack('<q', struct.pack('<d', rounded))[0] + 1}ll - 1)"
    if dtype.kind == "b":
        return "true" if number else "false"
    # -1 stands for all bits set, in unsigned types too
    whole = int(number) & ((1 << 8 * dtype.itemsize) - 1) if dtype.kind == "u" else int(number)
    if whole == -(1 << 63):
        return f"({whole + 1}ll - 1)"
    suffix = {"i8": "ll", "u8": "ull", "u4": "u"}.get(f"{dtype.kind}{dtype.itemsize}", "")
    return f"({C_TYPES[dtype]}){whole}{suffix}"


def number_of(text: str) -> float | None:
    """The number that a float constant stands for; None for other text.

    >>> number_of("0x1.0000000000000p-1f"), number_of("(-0x1.8000000000000p+1)"), number_of("v3")
    (0.5, -3.0, None)
    """
    found = HEX_FLOAT.fullmatch(text)
    return None if found is None else float.fromhex(found[1])


class CudaEmitter(Emitter):
    """Writes the statements of one kernel. An expression that a block, or one around it, has is not written again."""

    __slots__ = ("_keeping", "depth", "kept", "numbers", "opposites", "tables")

    def __init__(self) -> None:
        super().__init__(Module(Features(fma=True, rounding=True)), lanes=1)
        self.depth = 1
        self.kept: dict[str, str] = {}  # of each constant that is kept in a register, its name
        self._keeping = False
        self.numbers: dict[str, str] = {}  # of each constant that is kept in memory, where it is
        self.opposites: dict[str, Value] = {}  # of -x, by its text: x
        self.tables: dict[tuple[float, ...], str] = {}  # of each table of constants its name

    # Writing

    def statement(self, text: str) -> None:
        """Write a line."""
        # in memory such a constant takes no instruction of its own
        self.lines.append("  " * self.depth + LONG.sub(lambda found: self.held(found[0]), text))

    def held(self, constant: str) -> str:
        """A constant in memory."""
        return self.numbers.setdefault(constant, f"numbers[{len(self.numbers)}]")

    @contextmanager
    def scope(self, head: str) -> Iterator[None]:
        """A block in braces after `head`; what is computed in it is not known after it."""
        self.statement(f"{head} {{".lstrip())
        self.depth += 1
        known, shared = dict(self._known), dict(self._shared)
        yield
        self._known, self._shared = known, shared
        self.depth -= 1
        self.statement("}")

    def instruction(self, text: str, dtype: DType, lanes: int | None = None, pure: bool = True) -> Value:
        """A constant with the value of an expression."""
        known = self._known.get((text, dtype)) if pure else None
        if known is not None:
            return known
        name = self.fresh()
        self.statement(f"const {C_TYPES[dtype]} {name} = {text};")
        value = Value(self, name, dtype, 1)
        if pure:
            self._known[text, dtype] = value
        return value

    def call(self, function: str, *operands: Value, dtype: DType | None = None) -> Value:
        """A call of a function without effects."""
        return self.instruction(f"{function}({', '.join(x.text for x in operands)})", dtype or operands[0].dtype)

    def rarely(
        self, flag: Value, usual: tuple[Value, ...], build: Callable[[], tuple[Value, ...]]
    ) -> tuple[Value, ...]:
        names = [self.fresh() for _ in usual]
        for name, value in zip(names, usual, strict=True):
            self.statement(f"{C_TYPES[value.dtype]} {name} = {value.text};")
        with self.scope(f"if (__builtin_expect({flag.text}, 0))"):
            for name, value in zip(names, build(), strict=True):
                self.statement(f"{name} = {value.text};")
        return tuple(Value(self, n, v.dtype, 1) for n, v in zip(names, usual, strict=True))

    # Values

    def const(self, number: float, dtype: DType, lanes: int | None = None) -> Value:
        return Value(self, literal(number, dtype), dtype, 1)

    def splat(self, scalar: Value, lanes: int | None = None) -> Value:
        return scalar

    def lane(self, vector: Value, index: int) -> Value:
        return vector

    # Arithmetic

    def binary(self, name: str, a: Operand, b: Operand, contract: bool = False) -> Value:
        # CUDA's compiler contracts everywhere or nowhere, and the elementary functions rely on roundings
        if isinstance(a, Value):
            b = self.like(b, a)
        else:
            assert isinstance(b, Value)
            a = self.like(a, b)
        dtype = a.dtype
        kind, wide = C_TYPES[dtype], unsigned(dtype)
        if dtype.kind == "f":
            text = f"{a.text} {SYMBOLS[name]} {b.text}"
        elif name in SYMBOLS and dtype == BOOL:
            text = f"(bool)({a.text} {SYMBOLS[name]} {b.text})"
        elif name in SYMBOLS:
            text = f"({kind})(({wide}){a.text} {SYMBOLS[name]} ({wide}){b.text})"
        elif name in DIVISIONS:
            text = f"({kind})({a.text} {DIVISIONS[name]} {b.text})"
        elif name == "shl":
            text = f"({kind})(({wide}){a.text} << (int){b.text})"
        elif name == "lshr":
            text = f"({kind})((u{8 * dtype.itemsize}){a.text} >> (int){b.text})"
        else:
            assert name == "ashr", name
            text = f"({kind})({a.text} >> (int){b.text})"
        return self.instruction(text, dtype)

    def near_quotient(self, a: Value, b: Value) -> Value:
        return self.call("near_quotient", a, b)

    def negative(self, a: Value) -> Value:
        if not a.is_float:
            return self.binary("sub", 0, a)
        result = self.instruction(f"-{a.text}", a.dtype)
        self.opposites[result.text] = a
        return result

    def opposite(self, a: Value) -> Value:
        """x where the value is known as -x, else the value: either serves in even functions."""
        return self.opposites.get(a.text, a)

    def _float(self, function: str, *operands: Value) -> Value:
        """A function of C's mathematics library, by its name for doubles."""
        return self.call(function + ("f" if operands[0].dtype == F32 else ""), *operands)

    def fma(self, a: Value, b: Operand, c: Operand) -> Value:
        b, c = self.like(b, a), self.like(c, a)
        # one constant fits into an instruction
        if number_of(c.text) is not None and number_of(b.text) is not None:
            if a.dtype == F64:
                c = Value(self, self.held(c.text), F64, 1)
            elif self._keeping:
                b = self._keep(b)
        elif number_of(c.text) is not None and number_of(a.text) is not None and self._keeping and a.dtype == F32:
            a = self._keep(a)
        return self._float("fma", a, b, c)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """In single precision, constants that no instruction holds stay in registers: for long formulas."""
        before, self._keeping = self._keeping, True
        yield
        self._keeping = before

    def _keep(self, constant: Value) -> Value:
        name = self.kept.setdefault(constant.text, f"kept_{len(self.kept)}")
        return Value(self, name, constant.dtype, 1)

    def head(self) -> list[str]:
        """What stands at the beginning of the kernel."""
        # the compiler would rather load a constant wherever it is used, so it is not to see that this is one
        return [
            f"  const float {name} = __int_as_float(__float_as_int({number}) + (i32)blockDim.z - 1);"
            for number, name in self.kept.items()
        ]

    def horner(self, x: Value, coefficients: Sequence[float]) -> Value:
        if x.dtype == F32:
            return super().horner(x, coefficients)
        # a double in the text takes two instructions to bring to where it is used, one in constant memory takes one
        name = self.tables.setdefault(tuple(coefficients), f"table{len(self.tables)}")
        terms = [Value(self, f"{name}[{k}]", x.dtype, 1) for k in range(len(coefficients))]
        result = terms[-1]
        for c in reversed(terms[:-1]):
            result = self.fma(result, x, c)
        return result

    def estrin(self, x: Value, coefficients: Sequence[float]) -> Value:
        # other warps use the time that one waits
        return self.horner(x, coefficients)

    def declarations(self) -> list[str]:
        """The tables of constants, to stand before the kernel."""
        tables = {name: [literal(c, F64) for c in table] for table, name in self.tables.items()}
        if self.numbers:
            tables["numbers"] = list(self.numbers)
        return [f"__constant__ double {name}[{len(table)}] = {{{', '.join(table)}}};" for name, table in tables.items()]

    def abs(self, a: Value) -> Value:
        return self._float("fabs", a) if a.is_float else super().abs(a)

    def sqrt(self, a: Value) -> Value:
        return self._float("sqrt", a)

    def copysign(self, size: Operand, sign: Value) -> Value:
        return self._float("copysign", self.like(size, sign), sign)

    def floor(self, a: Value) -> Value:
        return self._float("floor", a)

    def ceil(self, a: Value) -> Value:
        return self._float("ceil", a)

    def trunc(self, a: Value) -> Value:
        return self._float("trunc", a)

    def rint(self, a: Value) -> Value:
        return self._float("rint", a)

    # Tests and choices

    def compare(self, relation: str, a: Operand, b: Operand) -> Value:
        if isinstance(a, Value):
            b = self.like(b, a)
        else:
            assert isinstance(b, Value)
            a = self.like(a, b)
        return self.instruction(f"{a.text} {relation} {b.text}", BOOL)

    def is_nan(self, a: Value) -> Value:
        return self.instruction(f"{a.text} != {a.text}", BOOL)

    def select(self, mask: Value, a: Operand, b: Operand) -> Value:
        if isinstance(a, Value):
            b = self.like(b, a)
        else:
            assert isinstance(b, Value)
            a = self.like(a, b)
        return self.instruction(f"{mask.text} ? {a.text} : {b.text}", a.dtype)

    def any(self, mask: Value) -> Value:
        return mask

    # Conversions

    def bitcast(self, a: Value, dtype: DType) -> Value:
        if dtype == a.dtype:
            return a
        kind = C_TYPES[dtype]
        if a.is_float:
            function = "__float_as_int" if a.dtype == F32 else "__double_as_longlong"
            return self.instruction(f"({kind}){function}({a.text})", dtype)
        if dtype.kind == "f":
            function = "__int_as_float" if dtype == F32 else "__longlong_as_double"
            return self.instruction(f"{function}({a.text})", dtype)
        return self.instruction(f"({kind}){a.text}", dtype)

    def convert(self, a: Value, dtype: DType) -> Value:
        if a.dtype == dtype:
            return a
        if dtype == BOOL:
            return a.differs(0)
        if a.is_float and dtype.kind in "iu" and dtype.itemsize < 4:
            # by way of a wider integer, as processors do it
            return self.instruction(f"({C_TYPES[dtype]})(i32){a.text}", dtype)
        return self.instruction(f"({C_TYPES[dtype]}){a.text}", dtype)

    def intrinsic(self, name: str, *operands: Value, dtype: DType | None = None, suffix: str = "") -> Value:
        raise AssertionError(f"an instruction of LLVM's: {name}")


def double(e: CudaEmitter, x: Any) -> Value:
    """The value in double precision."""
    return e.convert(x, F64)
