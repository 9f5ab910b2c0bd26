"""Instructions in the text of LLVM's intermediate language: kernels and their mathematics are written by them.

An `Emitter` writes the body of one function, of `values`. The text is built directly: for a kernel of a few thousand
instructions the object model of `llvmlite.ir` takes twice the time of code generation itself, text takes a fiftieth.

Floating-point instructions carry no fast-math flags: every operation rounds as IEEE 754 says, and `fma` is the only one
that may fuse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from graphc.backends.numpy.llvm import halves
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.values import (
    BITS,
    BOOL,
    ELEMENTS,
    F16,
    F32,
    I32,
    I64,
    U32,
    U64,
    DType,
    Operand,
    Value,
    literal,
    llvm_type,
    width,
)

# how often a branch is taken, so that what is rare stands apart
LIKELY: Final = '!prof !{!"branch_weights", i32 10000, i32 1}'
UNLIKELY: Final = '!prof !{!"branch_weights", i32 1, i32 10000}'

_ORDERED: Final = {"<": "olt", "<=": "ole", ">": "ogt", ">=": "oge", "==": "oeq", "!=": "une"}
_WHOLE: Final = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
_FLOAT_NAMES: Final = {"add": "fadd", "sub": "fsub", "mul": "fmul"}


class Emitter:
    r"""Writes the instructions of one function.

    Equal instructions of one basic block are written once, so that functions which share a computation (sine and cosine
    of one angle) share it in the kernel too. A kernel asks for values by operators and methods; what has no method
    (loops, calls) it writes with `label`, `instruction` and `statement`.

    >>> from graphc.backends.numpy.llvm.module import Features
    >>> from graphc.backends.numpy.llvm.values import F64
    >>> module = Module(Features(fma=True, rounding=True))
    >>> e = Emitter(module, lanes=8)
    >>> x = e.value("%x", F64)
    >>> y = e.select(x > 1, x * x + x * x, x)
    >>> print("\n".join(e.lines))
      %v1 = fcmp ogt <8 x double> %x, splat (double 0x3FF0000000000000)
      %v2 = fmul <8 x double> %x, %x
      %v3 = fadd <8 x double> %v2, %v2
      %v4 = select <8 x i1> %v1, <8 x double> %v3, <8 x double> %x
    """

    __slots__ = ("_constants", "_count", "_known", "_shared", "block", "lanes", "lines", "module")

    def __init__(self, module: Module, lanes: int = 1) -> None:
        self.module = module
        self.lanes = lanes
        self.lines: list[str] = []
        self.block = "entry"
        self._count = 0
        self._known: dict[tuple[str, DType], Value] = {}
        self._shared: dict[tuple[str, ...], tuple[Value, ...]] = {}
        self._constants: dict[tuple[str, DType, int], Value] = {}

    # Writing

    def fresh(self, stem: str = "v") -> str:
        """A name that this function does not use yet, without its sigil."""
        self._count += 1
        return f"{stem}{self._count}"

    def statement(self, text: str) -> None:
        """Write an instruction without a result."""
        self.lines.append(f"  {text}")

    def label(self, name: str) -> None:
        """Begin a basic block."""
        self.lines.append(f"{name}:")
        self.block = name
        self._known.clear()
        self._shared.clear()

    def once(self, key: tuple[str, ...], build: Callable[[], tuple[Value, ...]]) -> tuple[Value, ...]:
        """What `build` gives, or gave before in this block: for computations that are more than instructions."""
        if key not in self._shared:
            self._shared[key] = build()
        return self._shared[key]

    def rarely(
        self, flag: Value, usual: tuple[Value, ...], build: Callable[[], tuple[Value, ...]]
    ) -> tuple[Value, ...]:
        """The usual values, or if the scalar flag is true those that `build` writes in a block of its own.

        The code after it stands in a new block, but still knows what was computed before.
        """
        before, known, shared = self.block, dict(self._known), dict(self._shared)
        rare, joined = self.fresh("rare"), self.fresh("joined")
        self.statement(f"br i1 {flag.text}, label %{rare}, label %{joined}, {UNLIKELY}")
        self.label(rare)
        instead = build()
        after = self.block
        self.statement(f"br label %{joined}")
        self.label(joined)
        self._known, self._shared = known, shared
        return tuple(
            self.instruction(
                f"phi {a.type} [ {a.text}, %{before} ], [ {b.text}, %{after} ]", a.dtype, a.lanes, pure=False
            )
            for a, b in zip(usual, instead, strict=True)
        )

    def either(self, flag: Value, build: Callable[[], Value | None], otherwise: Callable[[], Value | None]) -> Any:
        """What `build` gives if a scalar flag is true, else what `otherwise` gives: a value, or both nothing.

        Each is in a block of its own. The code after it still knows what was computed before.
        """
        known, shared = dict(self._known), dict(self._shared)
        yes, no, joined = self.fresh("yes"), self.fresh("no"), self.fresh("joined")
        self.statement(f"br i1 {flag.text}, label %{yes}, label %{no}, {LIKELY}")
        found: list[Value | None] = []
        blocks = []
        for name, write in ((yes, build), (no, otherwise)):
            self.label(name)
            self._known, self._shared = dict(known), dict(shared)
            found.append(write())
            blocks.append(self.block)
            self.statement(f"br label %{joined}")
        self.label(joined)
        self._known, self._shared = known, shared
        a, b = found
        if a is None or b is None:
            return None
        (first, second) = blocks
        return self.instruction(
            f"phi {a.type} [ {a.text}, %{first} ], [ {b.text}, %{second} ]", a.dtype, a.lanes, pure=False
        )

    def loop(
        self,
        start: Value,
        stop: Value,
        step: int,
        carried: Sequence[Value],
        body: Callable[[Value, list[Value]], Sequence[Value]],
    ) -> list[Value]:
        """``for index in range(start, stop, step)``; `body` maps the carried values to their next ones."""
        before = self.block
        head, inside, after = (self.fresh(stem) for stem in ("head", "body", "after"))
        self.statement(f"br label %{head}")
        self.label(head)
        index = self.value(f"%{self.fresh('i')}", I64, 1)
        held = [self.value(f"%{self.fresh('c')}", c.dtype, c.lanes) for c in carried]
        phis = len(self.lines)
        more = self.instruction(f"icmp slt {index!r}, {stop.text}", BOOL, 1)
        self.statement(f"br {more!r}, label %{inside}, label %{after}")
        self.label(inside)
        new = body(index, held)
        following = index + step
        latch = self.block
        self.statement(f"br label %{head}")
        self.lines[phis:phis] = [
            f"  {h.text} = phi {h.type} [ {c.text}, %{before} ], [ {n.text}, %{latch} ]"
            for h, c, n in zip([index, *held], [start, *carried], [following, *new], strict=True)
        ]
        self.label(after)
        return held

    def span(self, start: Value, stop: Value, step: int, body: Callable[[Value], None]) -> None:
        """The same without values that are carried from one turn to the next."""

        def turn(index: Value, _: list[Value]) -> list[Value]:
            body(index)
            return []

        self.loop(start, stop, step, [], turn)

    def instruction(self, text: str, dtype: DType, lanes: int | None = None, pure: bool = True) -> Value:
        """Write an instruction; its result has `lanes` lanes, the emitter's own number unless given.

        A pure one (no memory read, no phi) is not written again within its block.
        """
        known = self._known.get((text, dtype)) if pure else None
        if known is not None:
            return known
        name = f"%{self.fresh()}"
        self.lines.append(f"  {name} = {text}")
        value = Value(self, name, dtype, self.lanes if lanes is None else lanes)
        if pure:
            self._known[text, dtype] = value
        return value

    def intrinsic(self, name: str, *operands: Value, dtype: DType | None = None, suffix: str = "") -> Value:
        """Call one of LLVM's overloaded functions, `llvm.sqrt` say, on operands of one type."""
        first = operands[0]
        vector = "" if first.lanes == 1 else f"v{first.lanes}"
        full = f"llvm.{name}.{vector}{'f' if first.is_float else 'i'}{width(first.dtype)}"
        result = llvm_type(first.dtype if dtype is None else dtype, first.lanes)
        types = ", ".join([*(x.type for x in operands), *([suffix.split()[0]] if suffix else [])])
        self.module.define(full, f"declare {result} @{full}({types})")
        arguments = ", ".join([*map(repr, operands), *([suffix] if suffix else [])])
        return self.instruction(f"call {result} @{full}({arguments})", dtype or first.dtype, first.lanes)

    # Values

    def value(self, text: str, dtype: DType, lanes: int | None = None) -> Value:
        """An SSA name that is there already: an argument, a phi."""
        return Value(self, text, dtype, self.lanes if lanes is None else lanes)

    def const(self, number: float, dtype: DType, lanes: int | None = None) -> Value:
        """A constant in every lane."""
        lanes = self.lanes if lanes is None else lanes
        text = literal(number, dtype)
        key = text, dtype, lanes
        known = self._constants.get(key)
        if known is None:
            known = Value(self, text if lanes == 1 else f"splat ({ELEMENTS[dtype]} {text})", dtype, lanes)
            self._constants[key] = known
        return known

    def like(self, operand: Operand, model: Value) -> Value:
        """The operand, a Python number as a constant of the model's dtype and lanes."""
        return operand if isinstance(operand, Value) else self.const(operand, model.dtype, model.lanes)

    def splat(self, scalar: Value, lanes: int | None = None) -> Value:
        """A scalar in every lane."""
        lanes = self.lanes if lanes is None else lanes
        if lanes == 1:
            return scalar
        if not scalar.text.startswith("%"):
            return self.value(f"splat ({ELEMENTS[scalar.dtype]} {scalar.text})", scalar.dtype, lanes)
        vector = llvm_type(scalar.dtype, lanes)
        first = self.instruction(f"insertelement {vector} poison, {scalar!r}, i32 0", scalar.dtype, lanes)
        mask = f"<{lanes} x i32> zeroinitializer"
        return self.instruction(f"shufflevector {first!r}, {vector} poison, {mask}", scalar.dtype, lanes)

    def shuffle(self, first: Value, second: Value | None, lanes: Sequence[int]) -> Value:
        """Lanes of a vector, or of two of the same type, counted through; any, where -1 is asked for."""
        shown = ", ".join("i32 poison" if k < 0 else f"i32 {k}" for k in lanes)
        other = repr(second) if second is not None else f"{first.type} poison"
        text = f"shufflevector {first!r}, {other}, <{len(lanes)} x i32> <{shown}>"
        return self.instruction(text, first.dtype, len(lanes))

    def lane(self, vector: Value, index: int) -> Value:
        """One lane as a scalar."""
        if vector.lanes == 1:
            return vector
        return self.instruction(f"extractelement {vector!r}, i32 {index}", vector.dtype, 1)

    # Memory

    def load(self, pointer: str, dtype: DType, lanes: int | None = None, in_order: bool = False) -> Value:
        """Adjacent elements in memory, aligned as their dtype; booleans are bytes there.

        in_order: after all others that were written so, and alone.
        """
        if dtype == BOOL:
            return self.load(pointer, np.dtype(np.uint8), lanes, in_order).differs(0)
        kind = llvm_type(dtype, self.lanes if lanes is None else lanes)
        name = "load volatile" if in_order else "load"
        return self.instruction(f"{name} {kind}, ptr {pointer}, align {dtype.itemsize}", dtype, lanes, pure=False)

    def store(self, value: Value, pointer: str) -> None:
        if value.dtype == BOOL:
            value = self.convert(value, np.dtype(np.uint8))
        self.statement(f"store {value!r}, ptr {pointer}, align {value.dtype.itemsize}")

    def stream(self, value: Value, pointer: str, line: int) -> None:
        """Write a vector past the cache. It fills lines of the cache, of `line` bytes, or lies within one, aligned."""
        aligned = min(line, value.lanes * value.dtype.itemsize)
        self.statement(f"store {value!r}, ptr {pointer}, align {aligned}, !nontemporal !{{i32 1}}")

    # Arithmetic

    def binary(self, name: str, a: Operand, b: Operand, contract: bool = False) -> Value:
        """An instruction of two operands of one type; `add`, `sub` and `mul` choose by the dtype.

        contract: let the processor round a sum of floats and a product in it once, if both allow it.
        """
        if isinstance(a, Value):
            b = self.like(b, a)
        else:
            assert isinstance(b, Value)
            a = self.like(a, b)
        if a.is_float:
            name = _FLOAT_NAMES.get(name, name) + (" contract" if contract else "")
        return self.instruction(f"{name} {a.type} {a.text}, {b.text}", a.dtype, a.lanes)

    def quotient(self, a: Value, b: Value) -> Value:
        return self.binary("fdiv", a, b)

    def near_quotient(self, a: Value, b: Value) -> Value:
        """a / b to within two units in the last place, if b is from 2**-126 to 2**126 in size."""
        return self.quotient(a, b)

    def negative(self, a: Value) -> Value:
        if a.is_float:
            return self.instruction(f"fneg {a!r}", a.dtype, a.lanes)
        return self.binary("sub", 0, a)

    def fma(self, a: Value, b: Operand, c: Operand) -> Value:
        """a * b + c, rounded once where the processor can (`module.features.fma`), else twice."""
        b = self.like(b, a)
        if not self.module.features.fma:
            return a * b + c
        return self.intrinsic("fma", a, b, self.like(c, a))

    def abs(self, a: Value) -> Value:
        if a.is_float:
            return self.intrinsic("fabs", a)
        return a if a.dtype.kind in "bu" else self.select(a < 0, -a, a)

    def sqrt(self, a: Value) -> Value:
        return self.intrinsic("sqrt", a)

    def copysign(self, size: Operand, sign: Value) -> Value:
        return self.intrinsic("copysign", self.like(size, sign), sign)

    def maximum(self, a: Operand, b: Value) -> Value:
        """The larger, and NaN if either is NaN, as NumPy; of zeros of both signs, either."""
        a = self.like(a, b)
        return self._extremum(a, b, a > b)

    def minimum(self, a: Operand, b: Value) -> Value:
        """The smaller, and NaN if either is NaN, as NumPy; of zeros of both signs, either."""
        a = self.like(a, b)
        return self._extremum(a, b, a < b)

    def _extremum(self, a: Value, b: Value, first: Value) -> Value:
        # the select alone is one instruction of x86, which gives b if either is NaN
        chosen = self.select(first, a, b)
        return self.select(self.is_nan(a), a, chosen) if a.is_float else chosen

    def at_least(self, bound: Operand, a: Value) -> Value:
        """a, but not below a bound that is no NaN; NaN stays. One instruction of x86."""
        bound = self.like(bound, a)
        return self.select(bound > a, bound, a)

    def at_most(self, bound: Operand, a: Value) -> Value:
        """a, but not above a bound that is no NaN; NaN stays. One instruction of x86."""
        bound = self.like(bound, a)
        return self.select(bound < a, bound, a)

    # Rounding to whole numbers

    def floor(self, a: Value) -> Value:
        if self.module.features.rounding:
            return self.intrinsic("floor", a)
        near = self.rint(a)
        return self.copysign(self.select(near > a, near - 1.0, near), a)

    def ceil(self, a: Value) -> Value:
        if self.module.features.rounding:
            return self.intrinsic("ceil", a)
        near = self.rint(a)
        return self.copysign(self.select(near < a, near + 1.0, near), a)

    def trunc(self, a: Value) -> Value:
        if self.module.features.rounding:
            return self.intrinsic("trunc", a)
        return self.copysign(self.floor(self.abs(a)), a)

    def rint(self, a: Value) -> Value:
        """To the nearest whole number, halves to even; the sign of zero stays."""
        if self.module.features.rounding:
            return self.intrinsic("rint", a)
        # from here on all floats are whole; adding it leaves no bits for a fraction
        whole = 2.0**23 if a.dtype == F32 else 2.0**52
        size = self.abs(a)
        near = (size + whole) - whole
        return self.select(size < whole, self.copysign(near, a), a)

    # Tests and choices

    def compare(self, relation: str, a: Operand, b: Operand) -> Value:
        """Boolean lanes: one of ``< <= > >= == !=``; integers by the sign of their dtype."""
        if isinstance(a, Value):
            b = self.like(b, a)
        else:
            assert isinstance(b, Value)
            a = self.like(a, b)
        if a.is_float:
            text = f"fcmp {_ORDERED[relation]}"
        else:
            sign = "" if relation in ("==", "!=") else "s" if a.dtype.kind == "i" else "u"
            text = f"icmp {sign}{_WHOLE[relation]}"
        return self.instruction(f"{text} {a.type} {a.text}, {b.text}", BOOL, a.lanes)

    def is_nan(self, a: Value) -> Value:
        return self.instruction(f"fcmp uno {a.type} {a.text}, {a.text}", BOOL, a.lanes)

    def sign_bit(self, a: Value) -> Value:
        """Whether the sign bit is set: of −0.0 and of NaN too."""
        return self.bits(a) < 0

    def select(self, mask: Value, a: Operand, b: Operand) -> Value:
        """Lane by lane a where the mask is true, else b; nothing of the other operand comes through."""
        if isinstance(a, Value):
            b = self.like(b, a)
        else:
            assert isinstance(b, Value)
            a = self.like(a, b)
        return self.instruction(f"select {mask!r}, {a!r}, {b!r}", a.dtype, a.lanes)

    def any(self, mask: Value) -> Value:
        """A scalar: whether any lane is true."""
        if mask.lanes == 1:
            return mask
        word = f"%{self.fresh()}"
        self.statement(f"{word} = bitcast {mask!r} to i{mask.lanes}")
        return self.instruction(f"icmp ne i{mask.lanes} {word}, 0", BOOL, 1)

    # Conversions

    def bits(self, a: Value) -> Value:
        """The bits of a float as a signed integer of its width."""
        return self.bitcast(a, BITS[a.dtype])

    def bitcast(self, a: Value, dtype: DType) -> Value:
        """The same bits as another dtype of the same width."""
        if ELEMENTS[dtype] == ELEMENTS[a.dtype]:
            return self.value(a.text, dtype, a.lanes)
        return self.instruction(f"bitcast {a!r} to {llvm_type(dtype, a.lanes)}", dtype, a.lanes)

    def convert(self, a: Value, dtype: DType) -> Value:
        """The value in another dtype, as `astype`: floats to integers toward zero, integers modulo their width.

        A float that the integer dtype does not hold gives an unspecified integer, as in NumPy. As there, one that a
        wider dtype holds is taken modulo the width, wherever it stands in an array.
        """
        source, target = a.dtype, dtype
        if source == target:
            return a
        if source == F16:
            return self.convert(halves.widened(self, a), target)
        if target == F16:
            return halves.narrowed(self, a if source.kind == "f" else self.convert(a, F32))
        if target == BOOL:
            return a.differs(0)
        if source.kind == "f" and target.kind == "f":
            name = "fpext" if target.itemsize > source.itemsize else "fptrunc"
        elif source.kind == "f":
            return self._whole(a, target)
        elif target.kind == "f":
            name = "sitofp" if source.kind == "i" else "uitofp"
        elif width(target) > width(source):
            name = "sext" if source.kind == "i" else "zext"
        elif width(target) < width(source):
            name = "trunc"
        else:
            return self.value(a.text, target, a.lanes)
        return self.instruction(f"{name} {a!r} to {llvm_type(target, a.lanes)}", target, a.lanes)

    def _whole(self, a: Value, target: DType) -> Value:
        """A float as an integer, by way of a signed one that processors convert to."""
        if target != U64:
            signed = I64 if width(target) > 32 or target == U32 else I32
            found = self.instruction(f"fptosi {a!r} to {llvm_type(signed, a.lanes)}", signed, a.lanes)
            return self.convert(found, target)
        half = float(1 << 63)
        high = a >= half
        low = self.convert(self.select(high, a - half, a), I64)
        return self.convert(self.select(high, low ^ -(1 << 63), low), U64)

    # Polynomials

    def horner(self, x: Value, coefficients: Sequence[float]) -> Value:
        """The polynomial with these coefficients, that of x**0 first."""
        result = self.const(coefficients[-1], x.dtype, x.lanes)
        for c in reversed(coefficients[:-1]):
            result = self.fma(result, x, c)
        return result

    def estrin(self, x: Value, coefficients: Sequence[float]) -> Value:
        """The same polynomial in logarithmic depth: a few more products, less waiting."""
        terms: list[Operand] = list(coefficients)
        power = x
        while len(terms) > 1:
            pairs: list[Operand] = [self._pair(terms[i], power, terms[i + 1]) for i in range(0, len(terms) - 1, 2)]
            terms = pairs + terms[len(pairs) * 2 :]
            if len(terms) > 1:
                power = power * power
        return self.like(terms[0], x)

    def _pair(self, low: Operand, x: Value, high: Operand) -> Value:
        return self.fma(x, high, low)
