"""Pieces of a reduced loop, which several threads may take.

A part of the kernel is a function of its own, which runs for some of the pieces. It leaves what each has come to in a
block of memory, the *context*, and there it is joined in order. Where pieces end depends on the sizes of the loops
alone: so the result is the same for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from graphc.backends.numpy.llvm import memory
from graphc.backends.numpy.llvm.externals import PARALLEL, declarations
from graphc.backends.numpy.llvm.folding import folded, identity, joined, wide
from graphc.backends.numpy.llvm.nest import Nest
from graphc.backends.numpy.llvm.values import F64, I64, DType, Value
from graphc.backends.numpy.llvm.work import SHARED, Work, weight
from graphc.kernels import Reduce

PIECE: Final = 131_072  # additions that a piece costs at least
MOST_PIECES: Final = 128  # of a kernel


@dataclass(frozen=True, slots=True)
class Cut:
    """How a loop is cut: the points of a piece, how many pieces there are, and what all of them cost."""

    length: Value
    count: Value
    work: Value


def cut(nest: Nest, loop: int, beside: Iterable[int], unit: int = 1, most: Callable[[], Value] | None = None) -> Cut:
    """Cut a loop into pieces of whole units of points, and no more than `most` pieces; one, if there is little to do.

    There is one of no points where the loop has none: results are begun by the first piece. `beside` are the loops that
    run at each of its points.
    """
    e, extent, work = nest.e, nest.extents[loop], total(nest)
    whole, one = larger(nest, extent, 1), e.const(1, I64, 1)
    # divisions take long: they are made only where there is much to do
    before, much, ready = e.block, e.fresh("much"), e.fresh("ready")
    e.statement(f"br {work >= SHARED!r}, label %{much}, label %{ready}")
    e.label(much)
    points = max(1, int(PIECE / (2.0 + sum(map(weight, nest.kernel.values)))))
    around = e.const(unit, I64, 1)
    for k in beside:
        around = around * nest.extents[k]
    around = larger(nest, around, 1)
    least = larger(nest, e.binary("sdiv", e.const(points, I64, 1), around), 1)
    limit = e.const(MOST_PIECES, I64, 1)
    if most is not None:
        own = most()
        limit = e.select(own < limit, own, limit)
    needed = quotient(nest, quotient(nest, extent, e.const(unit, I64, 1)), limit)
    length = e.select(needed > least, needed, least) * unit
    count = quotient(nest, extent, length)
    latch = e.block
    e.statement(f"br label %{ready}")
    e.label(ready)
    pairs = ((whole, length), (one, count))
    texts = [f"phi i64 [ {few.text}, %{before} ], [ {many.text}, %{latch} ]" for few, many in pairs]
    length, count = (e.instruction(text, I64, 1, pure=False) for text in texts)
    return Cut(length, count, work)


def bound(nest: Nest, loop: int, piece: Value, length: Value) -> None:
    """Let a loop run over one piece."""
    start = piece * length
    stop = start + length
    extent = nest.extents[loop]
    nest.bounds[loop] = start, nest.e.select(stop < extent, stop, extent)


def larger(nest: Nest, value: Value, least: int) -> Value:
    return nest.e.select(value > least, value, least)


def quotient(nest: Nest, value: Value, divisor: Value) -> Value:
    """Rounded up."""
    return nest.e.binary("sdiv", value + divisor - 1, divisor)


def total(nest: Nest) -> Value:
    """About how many additions the kernel costs, in floating point."""
    e = nest.e
    each, sizes = Work.of(nest.kernel)
    found = e.const(each, F64, 1)
    for size in sizes:
        found = found * e.convert(nest.size(size), F64)
    return found


def spread(nest: Nest, target: str, pieces: Cut, arrays: str = "%arrays") -> None:
    """Call a function for all pieces; on several threads if it is worth it."""
    e = nest.e
    some, one, both = (e.fresh(stem) for stem in ("some", "one", "both"))
    e.statement(f"br {pieces.work >= SHARED!r}, label %{some}, label %{one}")
    e.label(some)
    e.module.define(PARALLEL, declarations([PARALLEL]))
    parallel = f"%{e.fresh('parallel')}"
    e.statement(f"{parallel} = load ptr, ptr @{PARALLEL}")
    arguments = f"ptr {target}, ptr {arrays}, ptr %sizes, {pieces.count!r}, {pieces.work!r}, i64 1"
    e.statement(f"%{e.fresh('status')} = call i32 {parallel}({arguments})")
    e.statement(f"br label %{both}")
    e.label(one)
    e.statement(f"%{e.fresh('status')} = call i32 {target}(ptr {arrays}, ptr %sizes, i64 0, {pieces.count!r})")
    e.statement(f"br label %{both}")
    e.label(both)


class Context:
    """The block: some words, then for each of some reductions the totals of all pieces, and what these have lost.

    The kernel makes it on its stack, and puts its address after those of its arrays, where its parts find it.
    """

    def __init__(self, nest: Nest, words: int, folds: int, made: bool, arrays: str = "%arrays") -> None:
        self.nest = nest
        self.words = words
        e = nest.e
        if not made:
            self.name = nest.context
            return
        self.name = "%context"
        nest.slots.append(f"  %context = alloca i64, i64 {words + 2 * folds * MOST_PIECES}, align 64")
        count = len(nest.kernel.roots) + len(nest.kernel.nodes)
        e.statement(f"%context_at = getelementptr ptr, ptr {arrays}, i64 {count}")
        e.statement("store ptr %context, ptr %context_at")

    def put(self, word: int, value: Value) -> None:
        memory.store(self.nest.e, value, self._at(word), self.nest.zero, 1, None)

    def get(self, word: int, dtype: DType) -> Value:
        return memory.load(self.nest.e, self._at(word), self.nest.zero, 1, dtype, 1, None)

    def leave(self, fold: int, piece: Value, *parts: Value) -> None:
        """What a reduction has come to in a piece."""
        for part, value in enumerate(parts):
            memory.store(self.nest.e, value, self._totals(fold, part), piece, 1, None)

    def join(self, folds: list[Reduce], count: Value) -> list[Value]:
        """The results of reductions, from all pieces in order."""
        nest, e = self.nest, self.nest.e
        if not folds:
            return []
        starts = [identity(e, r.fold, wide(r.fold, r.dtype), 1) for r in folds]
        rests = [e.const(0, s.dtype, 1) for s in starts]

        def body(piece: Value, held: list[Value]) -> list[Value]:
            pairs = []
            for fold, (r, so_far, rest) in enumerate(zip(folds, held[: len(folds)], held[len(folds) :], strict=True)):
                found = [memory.load(e, self._totals(fold, part), piece, 1, so_far.dtype, 1, None) for part in (0, 1)]
                pairs.append(joined(e, r.fold, (so_far, rest), (found[0], found[1])))
            return [so_far for so_far, _ in pairs] + [rest for _, rest in pairs]

        held = e.loop(nest.zero, count, 1, [*starts, *rests], body)
        triples = zip(folds, held[: len(folds)], held[len(folds) :], strict=True)
        return [folded(e, r.fold, so_far, rest, r.dtype) for r, so_far, rest in triples]

    def _totals(self, fold: int, part: int) -> str:
        return self._at(self.words + (2 * fold + part) * MOST_PIECES)

    def _at(self, word: int) -> str:
        name = f"%{self.nest.e.fresh('word')}"
        self.nest.e.statement(f"{name} = getelementptr i64, ptr {self.name}, i64 {word}")
        return name
