"""Kernels that reduce all their loops: swept over in pieces, which several threads may take.

A sweep is a function of its own. For each piece it leaves the totals in a block of memory, the *context*, and they are
joined there in order. Where pieces end depends on the sizes of the loops alone: so the result is the same for any
number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from graphc.backends.numpy.llvm import memory
from graphc.backends.numpy.llvm.across import Across
from graphc.backends.numpy.llvm.emit import F64, I64, Value
from graphc.backends.numpy.llvm.externals import PARALLEL
from graphc.backends.numpy.llvm.folding import folded, identity, joined, wide
from graphc.backends.numpy.llvm.nest import Env, Nest
from graphc.backends.numpy.llvm.schedule import MOST_PIECES, SHARED, Schedule, Work, weight
from graphc.backends.numpy.llvm.sweeps import BLOCK, Sweeps
from graphc.kernels import Kernel, Reduce

PIECE: Final = 131_072  # additions that a piece costs at least
LENGTH: Final = 0  # the word of the context that says how long a piece is; the results of reductions follow it


class Pieces:
    """Writes the functions of one kernel; `opened` begins one."""

    def __init__(self, kernel: Kernel, name: str, opened: Callable[[], Nest]) -> None:
        self.kernel = kernel
        self.name = name
        self.opened = opened
        self.schedule = Schedule(kernel)
        stages = range(self.schedule.last_stage + 1)
        self.folds = [i for stage in stages for i, _ in self.schedule.folds(stage)]
        self.words = 1 + len(self.folds) * (1 + 2 * MOST_PIECES)

    def write(self) -> str:
        """The text of all functions."""
        texts = [self._sweep(k) for k in range(self.schedule.last_stage + 1) if self.schedule.sweeps(k)]
        return "\n".join([*texts, self._whole()])

    def _whole(self) -> str:
        """The kernel itself: sweep after sweep, and what is known between them."""
        nest = self.opened()
        e, kernel, schedule = nest.e, self.kernel, self.schedule
        nest.slots.append(f"  %context = alloca i64, i64 {self.words}, align 64")
        arrays = len(kernel.roots) + len(kernel.nodes)
        e.statement(f"%context_at = getelementptr ptr, ptr %arrays, i64 {arrays}")
        e.statement("store ptr %context, ptr %context_at")
        length, count = self._cut(nest)
        memory.store(e, length, "%context", e.const(LENGTH, I64, 1), 1, None)
        work = self._work(nest)
        env: Env = {}
        for stage in range(schedule.last_stage + 1):
            self._known(nest, stage, env)
            for n in schedule.late_stores(stage):
                nest.write(n, env[kernel.stores[n].value])
            if schedule.sweeps(stage):
                self._run(nest, stage, count, work)
                self._join(nest, stage, count, env)
        return nest.finished(self.name)

    def _cut(self, nest: Nest) -> tuple[Value, Value]:
        """The length of a piece, in points of the first loop, and how many there are."""
        e, inner = nest.e, self.schedule.inner
        extent = nest.extents[inner[0]]
        each = 2.0 + sum(map(weight, self.kernel.values))
        points = max(1, int(PIECE / each))
        if len(inner) == 1:
            unit = BLOCK
            least = e.const(max(1, points // BLOCK), I64, 1)
        else:
            unit = 1
            beside = e.const(1, I64, 1)
            for loop in inner[1:]:
                beside = beside * nest.extents[loop]
            beside = e.select(beside > 1, beside, 1)
            least = e.binary("sdiv", e.const(points, I64, 1), beside)
            least = e.select(least > 1, least, 1)
        units = e.binary("sdiv", extent + (unit * MOST_PIECES - 1), unit * MOST_PIECES)
        length = e.select(units > least, units, least) * unit
        return length, e.binary("sdiv", extent + length - 1, length)

    def _work(self, nest: Nest) -> Value:
        e = nest.e
        each, sizes = Work.of(self.kernel)
        total = e.const(each, F64, 1)
        for size in sizes:
            total = total * e.convert(nest.size(size), F64)
        return total

    def _known(self, nest: Nest, stage: int, env: Env) -> None:
        """What this many ended sweeps make known for all points."""
        values, stages = self.kernel.values, self.kernel.stages
        nest.compute(
            (
                i
                for i, value in enumerate(values)
                if stages[i] == stage and not self.schedule.swept[i] and not isinstance(value, Reduce)
            ),
            env,
        )

    def _run(self, nest: Nest, stage: int, count: Value, work: Value) -> None:
        """Call a sweep for all pieces."""
        e = nest.e
        target = f"@{self.name}_sweep{stage}"
        some, one, both = (e.fresh(stem) for stem in ("some", "one", "both"))
        e.statement(f"br {work >= SHARED!r}, label %{some}, label %{one}")
        e.label(some)
        parallel = f"%{e.fresh('parallel')}"
        e.statement(f"{parallel} = load ptr, ptr @{PARALLEL}")
        shared = f"call i32 {parallel}(ptr {target}, ptr %arrays, ptr %sizes, {count!r}, {work!r}, i64 1)"
        e.statement(f"%{e.fresh('status')} = {shared}")
        e.statement(f"br label %{both}")
        e.label(one)
        e.statement(f"%{e.fresh('status')} = call i32 {target}(ptr %arrays, ptr %sizes, i64 0, {count!r})")
        e.statement(f"br label %{both}")
        e.label(both)

    def _join(self, nest: Nest, stage: int, count: Value, env: Env) -> None:
        """The results of a sweep's reductions, from the totals of all pieces."""
        e, folds = nest.e, self.schedule.folds(stage)
        if not folds:
            return
        starts = [identity(e, r.fold, wide(r.fold, r.dtype), 1) for _, r in folds]
        rests = [e.const(0, s.dtype, 1) for s in starts]

        def body(index: Value, held: list[Value]) -> list[Value]:
            pairs = []
            for (i, r), total, rest in zip(folds, held[: len(folds)], held[len(folds) :], strict=True):
                found = [memory.load(e, self._at(nest, i, k), index, 1, total.dtype, 1, None) for k in (0, 1)]
                pairs.append(joined(e, r.fold, (total, rest), (found[0], found[1])))
            return [total for total, _ in pairs] + [rest for _, rest in pairs]

        held = e.loop(nest.zero, count, 1, [*starts, *rests], body)
        for (i, r), total, rest in zip(folds, held[: len(folds)], held[len(folds) :], strict=True):
            env[i] = folded(e, r.fold, total, rest, r.dtype)
            memory.store(e, env[i], self._result(nest, i), nest.zero, 1, None)

    def _result(self, nest: Nest, i: int) -> str:
        """Where the context has the result of a reduction."""
        return self._word(nest, 1 + self.folds.index(i))

    def _at(self, nest: Nest, i: int, part: int) -> str:
        """Where it has the totals of the pieces; of `part` 1, what they lost by rounding."""
        return self._word(nest, 1 + len(self.folds) + (2 * self.folds.index(i) + part) * MOST_PIECES)

    def _word(self, nest: Nest, number: int) -> str:
        name = f"%{nest.e.fresh('word')}"
        nest.e.statement(f"{name} = getelementptr i64, ptr %context, i64 {number}")
        return name

    def _sweep(self, stage: int) -> str:
        """A sweep, as a function of the numbers of the first piece and of the one after the last."""
        nest = self.opened()
        e, schedule = nest.e, self.schedule
        e.statement(f"%context = bitcast ptr {nest.context} to ptr")
        env: Env = {}
        for before in range(stage + 1):
            if before:
                for i, r in schedule.folds(before - 1):
                    env[i] = memory.load(e, self._result(nest, i), nest.zero, 1, r.dtype, 1, None)
            self._known(nest, before, env)
        loop = schedule.inner[0]
        extent = nest.extents[loop]
        length = memory.load(e, "%context", e.const(LENGTH, I64, 1), 1, I64, 1, None)
        sweeps = Sweeps(nest, Across(nest))

        def body(piece: Value, _: list[Value]) -> list[Value]:
            start = piece * length
            stop = start + length
            nest.bounds[loop] = start, e.select(stop < extent, stop, extent)
            for (i, _r), *parts in sweeps.totals(stage, dict(env)):
                for k, part in enumerate(parts):
                    memory.store(e, part, self._at(nest, i, k), piece, 1, None)
            return []

        first, last = nest.ends
        e.loop(first, last, 1, [], body)
        return nest.finished(f"{self.name}_sweep{stage}", "internal")
