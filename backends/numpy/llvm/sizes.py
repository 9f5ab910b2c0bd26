"""Named sizes in machine code: every formula that a program needs, once, with a check that nothing overflows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.values import BOOL, F64, I64, Value
from graphc.dims import Dim, Size, symbols
from graphc.dims.polynomials import Atom
from graphc.ir import Guard

LARGEST: Final = 1 << 52  # sizes beyond are left to Python, whose integers do not overflow


class Sizes:
    """The sizes of one function. `value` may be asked for a size anywhere in it; `write` computes them all, first.

    fits: whether everything that was computed and required so far holds.
    """

    def __init__(self, e: Emitter) -> None:
        self.e = e
        self.fits = e.const(True, BOOL, 1)
        self._names: dict[Dim, Value] = {}
        self._known: dict[Dim, Value] = {}
        self._atoms: dict[Atom, Value] = {}
        self._symbols: dict[str, Value] = {}
        self._limits: dict[Size, int] = {}

    def value(self, size: Size) -> Value:
        """A size in the body of the function."""
        if isinstance(size, int):
            return self.e.const(size, I64, 1)
        found = self._names.get(size)
        if found is None:
            found = self._names[size] = self.e.value(f"%{self.e.fresh('size')}", I64, 1)
        return found

    def at_most(self, size: Size, limit: int) -> None:
        """Require that a size is no larger than a number."""
        self._limits[size] = min(limit, self._limits.get(size, limit))

    def bind(self, size: Size, actual: Value) -> None:
        """An axis of an argument: it says what a symbol is, or is checked when sizes are written."""
        assert isinstance(size, Dim)
        self._symbols[str(size)] = actual

    def binds(self, size: Size) -> bool:
        """Whether a size is a symbol that has no value yet."""
        return str(size) in symbols(size) and str(size) not in self._symbols

    def require(self, condition: Value) -> None:
        self.fits = self.fits & condition if self.fits.text != "true" else condition

    def write(self) -> None:
        """Compute all sizes that were asked for, where the symbols are known and no body has begun."""
        for size, limit in self._limits.items():
            self.require(self.compute(size) <= limit)
        for size, named in self._names.items():
            found = self.compute(size)
            self.e.statement(f"{named.text} = add i64 {found.text}, 0")

    def guard(self, guard: Guard) -> None:
        left, right = self.compute(guard.left), self.compute(guard.right)
        self.require(self.e.compare(guard.relation, left, right))

    def compute(self, size: Size) -> Value:
        """A size, here and now."""
        if isinstance(size, int):
            return self.e.const(size, I64, 1)
        found = self._known.get(size)
        if found is None:
            found = self._known[size] = self._polynomial(size)
        return found

    def times(self, each: float, sizes: Iterable[Value]) -> Value:
        """A number times sizes, in floating point."""
        total = self.e.const(each, F64, 1)
        for size in sizes:
            total = total * self.e.convert(size, F64)
        return total

    def _polynomial(self, size: Dim) -> Value:
        e = self.e
        total: Value | None = None
        # the same in floating point, which does not wrap around: the sum of what the terms may be at most
        bound = e.const(0.0, F64, 1)
        for monomial, coefficient in size.terms:
            if abs(coefficient) >= LARGEST:
                self.require(e.const(False, BOOL, 1))
                coefficient = 1
            term = e.const(coefficient, I64, 1)
            most = e.const(abs(coefficient), F64, 1)
            for atom, power in monomial:
                factor = self._atom(atom)
                wide = e.abs(e.convert(factor, F64))
                for _ in range(power):
                    term = factor if term.text == "1" else factor * term
                    most = most * wide
            total = term if total is None else total + term
            bound = bound + most
        assert total is not None
        self.require(bound < float(LARGEST))
        return total

    def _atom(self, atom: Atom) -> Value:
        if not atom.op:
            return self._symbols[atom.text]
        found = self._atoms.get(atom)
        if found is None:
            found = self._atoms[atom] = self._operation(atom)
        return found

    def _operation(self, atom: Atom) -> Value:
        e = self.e
        first, *others = (self.compute(a) for a in atom.args)
        if atom.op in ("max", "min"):
            for other in others:
                first = e.select((first > other) if atom.op == "max" else (first < other), first, other)
            return first
        (divisor,) = others
        positive = divisor > 0
        self.require(positive)
        divisor = e.select(positive, divisor, 1)
        quotient = e.binary("sdiv", first, divisor)
        rest = first - quotient * divisor
        if atom.op == "//":
            return e.select(rest < 0, quotient - 1, quotient)
        return e.select(rest < 0, rest + divisor, rest)
