"""Sums of squared deviations in one sweep: what they are taken from, most often a mean, is known only after it.

Instead of (x - c)**2, the sweep adds up x - a and (x - a)**2 in double precision, where a is the first x; what c makes
of them follows in the end. Since a is one of the numbers, no more is lost than a double can spare: the second sum is at
most n + 1 times that of the squared deviations from the mean, which no other c makes smaller. (T. F. Chan, G. H. Golub
and R. J. LeVeque, "Algorithms for computing the sample variance", The American Statistician 37, 1983, on shifted data.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graphc.backends.numpy.llvm.values import BOOL, F32, F64, DType
from graphc.kernels import Affine, Apply, Fixed, Kernel, Load, Position, Reduce, Value


def without_means(kernel: Kernel) -> Kernel:
    """The same kernel with sums over (x - c)**2, for x in single precision, and over the same x, as folds of x alone.

    Law: where the reduced loops are not empty it stores the same numbers, to within what single precision rounds.
    """
    found = {
        i: square
        for i, value in enumerate(kernel.values)
        if isinstance(value, Reduce) and value.fold == "sum" and not value.across and value.dtype in (F32, F64)
        if (square := _square(kernel, value.operand)) is not None
    }
    return _Rewriter(kernel, found).run() if found else kernel


def _square(kernel: Kernel, number: int) -> tuple[int, int] | None:
    """x and c, if the value is (x - c)**2, x is known before any fold, and c is the same all along."""
    value = _before_casts(kernel, number)
    if not isinstance(value, Apply):
        return None
    square = value.op == "integer_pow" and dict(value.attrs).get("exponent") == 2
    if not square and not (value.op == "mul" and value.operands[0] == value.operands[1]):
        return None
    value = _before_casts(kernel, value.operands[0])
    if not isinstance(value, Apply) or value.op != "sub" or value.dtype != F32:
        return None
    pair = value.operands
    for x, c in (pair, pair[::-1]):
        alone = kernel.stages[x] == 0 and kernel.varies[x] & kernel.reduced
        if alone and kernel.stages[c] > 0 and not kernel.varies[c] & kernel.reduced and _has_first(kernel, x):
            return x, c
    return None


def _before_casts(kernel: Kernel, number: int) -> Value:
    """What a number is before it changes between single and double precision."""
    value = kernel.values[number]
    while isinstance(value, Apply) and value.op == "cast" and value.dtype in (F32, F64):
        value = kernel.values[value.operands[0]]
    return value


def _has_first(kernel: Kernel, number: int) -> bool:
    """Whether a value can be computed where the reduced loops begin: no load asks where they are."""
    stack = [number]
    seen: set[int] = set()
    while stack:
        i = stack.pop()
        if i in seen:
            continue
        seen.add(i)
        value = kernel.values[i]
        if isinstance(value, Load) and any(w.loop in kernel.reduced for w in value.within):
            return False
        if isinstance(value, Apply):
            stack.extend(value.operands)
    return True


class _Rewriter:
    """Writes the values anew, in order. found: of each fold to be replaced, x and c, by their old numbers."""

    def __init__(self, kernel: Kernel, found: Mapping[int, tuple[int, int]]) -> None:
        self.kernel = kernel
        self.found = found
        self.values: list[Value] = []
        self.known: dict[Any, int] = {}  # of what was written beside the old values
        self.number: dict[int, int] = {}  # of an old value, the new one
        self.first: dict[int, int] = {}  # of an old value, the one where the reduced loops begin
        self.moments: dict[int, tuple[int, int, int]] = {}  # of an old value: its first, and both sums

    def run(self) -> Kernel:
        shifted = {x for x, _ in self.found.values()}
        for i, value in enumerate(self.kernel.values):
            match value:
                case Reduce(fold="sum", operand=x, across=False) if i in self.found:
                    x, c = self.found[i]
                    new = self.deviations(x, self.number[c], value.dtype)
                case Reduce(fold="sum", operand=x, across=False) if x in shifted and value.dtype == F32:
                    first, total, _ = self.shifted(x)
                    new = self.cast(self.apply("add", total, self.apply("mul", self.count(), first)), F32)
                case Reduce(operand=x):
                    new = self.write(replace(value, operand=self.number[x]))
                case Apply(operands=operands):
                    new = self.write(replace(value, operands=tuple(self.number[j] for j in operands)))
                case _:
                    new = self.write(value)
            self.number[i] = new
        stores = tuple(replace(s, value=self.number[s.value]) for s in self.kernel.stores)
        return Kernel(self.kernel.sizes, tuple(self.values), stores, self.kernel.reduced)

    def write(self, value: Value) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def value(self, value: Value) -> int:
        """The number of a value, which is written unless it was before."""
        key = repr(value) if isinstance(value, Fixed) else value  # 0 equals -0
        if key not in self.known:
            self.known[key] = self.write(value)
        return self.known[key]

    def apply(self, op: str, *operands: int, dtype: DType | None = None) -> int:
        return self.value(Apply(dtype or self.values[operands[-1]].dtype, op, operands))

    def cast(self, number: int, dtype: DType) -> int:
        if self.values[number].dtype == dtype:
            return number
        return self.value(Apply(dtype, "cast", (number,), (("dtype", dtype), ("weak", False))))

    def fixed(self, number: float, dtype: DType = F64) -> int:
        return self.value(Fixed(dtype, number))

    def count(self) -> int:
        """How many points the reduced loops have, in double precision."""
        found = self.fixed(math.prod(n for k in self.kernel.reduced if isinstance(n := self.kernel.sizes[k], int)))
        for k in sorted(self.kernel.reduced):
            size = self.kernel.sizes[k]
            if not isinstance(size, int):
                place = Affine.constant(size, len(self.kernel.sizes))
                found = self.apply("mul", found, self.value(Position(F64, place)))
        return found

    def at_first(self, i: int) -> int:
        """An old value where the reduced loops begin."""
        if not self.kernel.varies[i] & self.kernel.reduced:
            return self.number[i]
        if i not in self.first:
            value = self.kernel.values[i]
            match value:
                case Load(at=at) | Position(at=at):
                    here = tuple(0 if k in self.kernel.reduced else s for k, s in enumerate(at.strides))
                    new = self.value(replace(value, at=Affine(at.offset, here)))
                case Apply(operands=operands):
                    new = self.value(replace(value, operands=tuple(self.at_first(j) for j in operands)))
                case _:
                    raise AssertionError("it is known before any fold")
            self.first[i] = new
        return self.first[i]

    def shifted(self, x: int) -> tuple[int, int, int]:
        """The first x, or 0 if that is not finite, and the sums of distances from it and of their squares."""
        if x not in self.moments:
            first = self.at_first(x)
            finite = self.apply("lt", self.apply("abs", first), self.fixed(math.inf, F32), dtype=BOOL)
            start = self.cast(self.apply("where", finite, first, self.fixed(0.0, F32)), F64)
            distance = self.apply("sub", self.cast(self.number[x], F64), start)
            square = self.apply("mul", distance, distance)
            total, squares = (self.value(Reduce(F64, "plain_sum", v)) for v in (distance, square))
            self.moments[x] = start, total, squares
        return self.moments[x]

    def deviations(self, x: int, c: int, dtype: DType) -> int:
        """The sum of (x - c)**2."""
        first, total, squares = self.shifted(x)
        limit = self.fixed(math.inf)
        from_first = self.apply("sub", self.cast(c, F64), first)
        # squares - d * (2 * total - n * d); the difference of large numbers may come out below 0
        twice = self.apply("add", total, total)
        inner = self.apply("sub", twice, self.apply("mul", self.count(), from_first))
        sum = self.apply("sub", squares, self.apply("mul", from_first, inner))
        sum = self.apply("maximum", sum, self.fixed(0.0))
        # an infinite x is infinitely far from a number, and no number away from infinity
        wide = self.cast(c, F64)
        here = self.apply("lt", self.apply("abs", wide), limit, dtype=BOOL)
        far = self.apply("where", here, squares, self.apply("sub", wide, wide))
        bounded = self.apply("lt", squares, limit, dtype=BOOL)
        return self.cast(self.apply("where", bounded, sum, far), dtype)
