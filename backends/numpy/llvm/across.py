"""Reductions over the outer loops of a kernel, which are known only when it ends.

Those that leave an array fold into the array itself; those that leave a single number keep a total on the stack, and
what the total has lost by rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from graphc.backends.numpy.llvm import memory
from graphc.backends.numpy.llvm.folding import added, combine, folded, identity, wide
from graphc.backends.numpy.llvm.memory import Mask
from graphc.backends.numpy.llvm.nest import Env, Nest
from graphc.backends.numpy.llvm.values import Value
from graphc.kernels import Reduce


class Across:
    """The reductions of one kernel over its outer loops."""

    def __init__(self, nest: Nest) -> None:
        self.nest = nest
        schedule = nest.schedule
        self.arrays = [(n, r) for n, r, _ in schedule.across if schedule.swept[r.operand]]
        self.numbers = [(n, r) for n, r, _ in schedule.across if not schedule.swept[r.operand]]
        self.totals = {n: (nest.slot(kind := wide(r.fold, r.dtype), 1), nest.slot(kind, 1)) for n, r in self.numbers}

    def begin(self) -> None:
        e = self.nest.e
        for n, r in self.numbers:
            kind = wide(r.fold, r.dtype)
            self._put(n, identity(e, r.fold, kind, 1), e.const(0, kind, 1))
        if self.arrays:
            self._everywhere(self._clear)

    def _clear(self, lanes: int, mask: Mask | None) -> None:
        """Arrays of results start with what changes nothing."""
        for n, r in self.arrays:
            self.nest.write(n, identity(self.nest.e, r.fold, r.dtype, lanes), lanes, mask)

    def _everywhere(self, visit: Callable[[int, Mask | None], None], depth: int = 0) -> None:
        """Visit all elements of the arrays of results."""
        nest, inner = self.nest, self.nest.schedule.inner
        loop = inner[depth]

        def deeper(_: list[Value]) -> list[Value]:
            self._everywhere(visit, depth + 1)
            return []

        def body(_: list[Value], lanes: int, mask: Mask | None) -> list[Value]:
            visit(lanes, mask)
            return []

        if depth + 1 < len(inner):
            nest.along(loop, nest.zero, nest.extents[loop], [], deeper)
        else:
            nest.vectors(nest.zero, nest.extents[loop], [], body)

    def sweep(self, stage: int, env: Env, lanes: int, mask: Mask | None) -> None:
        """Fold what a sweep has just computed into the arrays."""
        nest = self.nest
        for n, r in self.arrays:
            if nest.kernel.stages[r.operand] == stage:
                so_far = nest.read_back(n, r.dtype, lanes, mask)
                nest.write(n, combine(nest.e, r.fold, so_far, nest.wide(env[r.operand], lanes)), lanes, mask)

    def point(self, env: Env) -> None:
        """Fold what is known at a point of the outer loops into the totals."""
        for n, r in self.numbers:
            self._put(n, *added(self.nest.e, r.fold, env[r.operand], *self._get(n, r)))

    def end(self) -> None:
        """Store the totals."""
        self.store([folded(self.nest.e, r.fold, *self._get(n, r), r.dtype) for n, r in self.numbers])

    def store(self, totals: Sequence[Value]) -> None:
        """Write totals: once, or along inner loops at all of whose points what was folded is the same."""
        nest = self.nest
        inner = frozenset(nest.schedule.inner)
        repeated: list[tuple[int, Value]] = []
        for (n, _), total in zip(self.numbers, totals, strict=True):
            if nest.kernel.stores[n].at.loops & inner:
                repeated.append((n, total))
            else:
                nest.write(n, total)

        def visit(lanes: int, mask: Mask | None) -> None:
            for n, total in repeated:
                nest.write(n, total, lanes, mask)

        if repeated:
            self._everywhere(visit)

    def parts(self) -> list[tuple[Value, Value]]:
        """The totals, and what they lost by rounding."""
        return [self._get(n, r) for n, r in self.numbers]

    def join(self, others: Mapping[int, str]) -> None:
        """Fold arrays that lie elsewhere into those of the results."""
        nest = self.nest

        def visit(lanes: int, mask: Mask | None) -> None:
            for n, r in self.arrays:
                so_far = nest.read_back(n, r.dtype, lanes, mask)
                with nest.instead(n, others[n]):
                    other = nest.read_back(n, r.dtype, lanes, mask)
                nest.write(n, combine(nest.e, r.fold, so_far, other), lanes, mask)

        self._everywhere(visit)

    def sweeps(self, stage: int) -> bool:
        """Whether a sweep gives something to fold."""
        return any(self.nest.kernel.stages[r.operand] == stage for _, r in self.arrays)

    def _put(self, n: int, *parts: Value) -> None:
        for part, slot in zip(parts, self.totals[n], strict=True):
            memory.store(self.nest.e, part, slot, self.nest.zero, 1, None)

    def _get(self, n: int, reduce: Reduce) -> tuple[Value, Value]:
        kind = wide(reduce.fold, reduce.dtype)
        total, rest = (memory.load(self.nest.e, slot, self.nest.zero, 1, kind, 1, None) for slot in self.totals[n])
        return total, rest
