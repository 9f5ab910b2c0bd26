"""Sweeps: the inner loops of a kernel whose last loop is reduced, or that reduces nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from graphc.backends.numpy.llvm.across import Across
from graphc.backends.numpy.llvm.folding import added, combine, folded, identity, wide
from graphc.backends.numpy.llvm.memory import Mask, masked
from graphc.backends.numpy.llvm.nest import Env, Nest
from graphc.backends.numpy.llvm.values import I64, Value
from graphc.kernels import Load, Reduce

BLOCK: Final = 4096  # elements summed in vectors before the sum moves to a wider total


class Sweeps:
    """Writes what happens at one point of the outer loops, with accumulators in registers."""

    def __init__(self, nest: Nest, across: Across) -> None:
        self.nest = nest
        self.across = across
        self.schedule = nest.schedule
        self.kernel = nest.kernel

    def write(self, env: Env) -> None:
        """Every sweep, and before it what the ones before it make known."""
        nest, schedule = self.nest, self.schedule
        for stage in range(schedule.last_stage + 1):
            known = (
                i
                for i, value in enumerate(self.kernel.values)
                if self.kernel.stages[i] == stage and not schedule.swept[i] and not isinstance(value, Reduce)
            )
            nest.compute(known, env)
            for n in schedule.late_stores(stage):
                nest.write(n, env[self.kernel.stores[n].value])
            if schedule.inner:
                self._sweep(stage, env)
        self.across.point(env)

    def _sweep(self, stage: int, env: Env) -> None:
        """One pass over the inner loops, and the results of the reductions that end with it."""
        if self.across.sweeps(stage) or self.schedule.sweeps(stage):
            for (i, r), total, rest in self.totals(stage, env):
                env[i] = folded(self.nest.e, r.fold, total, rest, r.dtype)

    def totals(self, stage: int, env: Env) -> list[tuple[tuple[int, Reduce], Value, Value]]:
        """One pass over the inner loops: each of its reductions, with its total and what that lost by rounding."""
        e, folds = self.nest.e, self.schedule.folds(stage)
        totals = [identity(e, r.fold, wide(r.fold, r.dtype), 1) for _, r in folds]
        rests = [e.const(0, t.dtype, 1) for t in totals]
        held = self._open(stage, 0, env, [*totals, *rests])
        return list(zip(folds, held[: len(folds)], held[len(folds) :], strict=True))

    def _open(self, stage: int, depth: int, env: Env, carried: list[Value]) -> list[Value]:
        """The inner loops from `depth` on."""
        nest, inner = self.nest, self.schedule.inner
        opened = frozenset(inner[:depth])
        here = dict(env)
        nest.compute(
            (
                i
                for i in self.schedule.needed(stage)
                if self.schedule.varies[i] & frozenset(inner) <= opened and not self.schedule.at_home(i, stage)
            ),
            here,
        )
        if depth == len(inner) - 1:
            return self._vector_loop(stage, here, carried)
        loop = inner[depth]
        return nest.along(loop, *nest.range(loop), carried, lambda held: self._open(stage, depth + 1, here, held))

    def _vector_loop(self, stage: int, env: Env, carried: list[Value]) -> list[Value]:
        nest, e, loop = self.nest, self.nest.e, self.nest.vector_loop
        start, stop = nest.range(loop)
        if nest.abreast:
            rest = self._abreast(stage, env, start, stop)
            if rest is None:
                return carried
            start = rest
        most = nest.lanes_of(stage)
        plain, env = env, nest.hoisted(self.schedule.needed(stage), env, most)
        folds = self.schedule.folds(stage)
        once = nest.once(self.schedule.computed(stage), self.schedule.accesses(stage))

        def body(held: list[Value], lanes: int, mask: Mask | None) -> list[Value]:
            here = self._vector(stage, env if lanes == most else plain, lanes, mask)
            result = []
            for (_, r), so_far in zip(folds, held, strict=True):
                x = nest.wide(here[r.operand], lanes)
                if mask is not None:
                    x = masked(e, mask, x, identity(e, r.fold, r.dtype, lanes))
                result.append(combine(e, r.fold, so_far, x))
            return result

        if not folds:
            apart = nest.loads or nest.stores or self.schedule.across
            nest.vectors(start, stop, [], body, once, most, narrow=not apart)
            return carried

        def block(first: Value, last: Value, held: list[Value]) -> list[Value]:
            starts = [identity(e, r.fold, r.dtype, nest.lanes) for _, r in folds]
            vectors = nest.vectors(first, last, starts, body, once)
            triples = zip(folds, vectors, held[: len(folds)], held[len(folds) :], strict=True)
            pairs = [added(e, r.fold, vector, total, rest) for (_, r), vector, total, rest in triples]
            return [total for total, _ in pairs] + [rest for _, rest in pairs]

        size = self.kernel.sizes[loop]
        if isinstance(size, int) and size <= BLOCK:
            return block(start, stop, carried)

        def blocks(index: Value, held: list[Value]) -> list[Value]:
            end = index + BLOCK
            return block(index, e.select(end < stop, end, stop), held)

        return nest.e.loop(start, stop, BLOCK, carried, blocks)

    def _abreast(self, stage: int, env: Env, start: Value, stop: Value) -> Value | None:
        """The vector loop, vectors side by side, while there are enough; gives where the rest begins, if any."""
        nest, e, lanes, loop = self.nest, self.nest.e, self.nest.abreast, self.nest.vector_loop
        needed = self.schedule.needed(stage)
        env = nest.hoisted(needed, env, lanes)
        reads = [i for i in needed if isinstance(self.kernel.values[i], Load)]
        rest = e.fresh("rest")

        def several(index: Value) -> None:
            nest.index[loop] = index
            here = dict(env)
            for i in reads:
                nest.read_abreast(i, here, lanes)
            # Within a block LLVM may put instructions in another order: if registers are scarce, all of one vector
            # before the next is read. So the block ends here, on a condition that always holds, which LLVM can't know.
            following = e.fresh("read")
            e.statement(f"br {index < stop!r}, label %{following}, label %{rest}")
            e.label(following)
            self._vector(stage, here, lanes, None)

        size = self.kernel.sizes[loop]
        if isinstance(size, int) and start.text == "0" and stop.text == str(size):
            end = e.const(size - size % lanes, I64, 1)
        else:
            end = start + e.binary("sdiv", stop - start, lanes) * lanes
        e.span(start, end, lanes, several)
        e.statement(f"br label %{rest}")
        e.label(rest)
        return None if end.text == stop.text else end

    def _vector(self, stage: int, env: Env, lanes: int, mask: Mask | None) -> Env:
        """One vector of a sweep: its values and stores."""
        here = vector_values(self.nest, stage, self.schedule.needed(stage), env, lanes, mask)
        self.across.sweep(stage, here, lanes, mask)
        return here


def vector_values(nest: Nest, stage: int, needed: Sequence[int], env: Env, lanes: int, mask: Mask | None) -> Env:
    """The values of one vector of a sweep; what the sweep stores, and what later ones find at home, is written."""
    schedule, kernel = nest.schedule, nest.kernel
    here = dict(env)
    for i in needed:
        if i not in here and schedule.at_home(i, stage):
            here[i] = nest.kept(schedule.homes[i], kernel.values[i].dtype, lanes, mask)
        else:
            nest.compute((i,), here, lanes, mask)
    for i, n in schedule.homes.items():
        if kernel.stages[i] == stage and kernel.stores[n].value != i:
            nest.keep(n, here[i], lanes, mask)
    nest.write_all(schedule.stores(stage), here, lanes, mask)
    return here
