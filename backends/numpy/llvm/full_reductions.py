"""Kernels that reduce all their loops: each sweep is a function that runs for pieces of the first loop."""

from __future__ import annotations

from collections.abc import Callable

from graphc.backends.numpy.llvm.across import Across
from graphc.backends.numpy.llvm.nest import Env, Nest
from graphc.backends.numpy.llvm.pieces import Context, bound, cut, spread
from graphc.backends.numpy.llvm.schedule import Schedule
from graphc.backends.numpy.llvm.sweeps import BLOCK, Sweeps
from graphc.backends.numpy.llvm.values import I64, Value
from graphc.kernels import Kernel, Reduce


class FullReduction:
    """Writes the functions of one kernel; `opened` begins one.

    The context has the length of a piece, then the results of all reductions so far.
    """

    def __init__(self, kernel: Kernel, name: str, opened: Callable[[], Nest]) -> None:
        self.kernel = kernel
        self.name = name
        self.opened = opened
        self.schedule = Schedule(kernel)
        self.stages = range(self.schedule.last_stage + 1)
        self.results = {i: 1 + k for k, i in enumerate(i for s in self.stages for i, _ in self.schedule.folds(s))}

    def write(self) -> str:
        """The text of all functions."""
        texts = [self._sweep(stage) for stage in self.stages if self.schedule.sweeps(stage)]
        return "\n".join([*texts, self._whole()])

    def _context(self, nest: Nest, made: bool) -> Context:
        most = max(len(self.schedule.folds(stage)) for stage in self.stages)
        return Context(nest, 1 + len(self.results), most, made)

    def _whole(self) -> str:
        """The kernel itself: sweep after sweep, and what is known between them."""
        nest = self.opened()
        kernel, schedule = self.kernel, self.schedule
        context = self._context(nest, made=True)
        first, *others = schedule.inner
        # sums move to a wider total after each block, which pieces leave whole
        pieces = cut(nest, first, others, 1 if others else BLOCK)
        context.put(0, pieces.length)
        env: Env = {}
        for stage in self.stages:
            self._known(nest, stage, env)
            if schedule.sweeps(stage):
                spread(nest, f"@{self.name}_sweep{stage}", pieces)
                folds = schedule.folds(stage)
                for (i, _), result in zip(folds, context.join([r for _, r in folds], pieces.count), strict=True):
                    env[i] = result
                    context.put(self.results[i], result)
            # the sweep has read for itself what is known: a result may lie where an operand does
            for n in schedule.late_stores(stage):
                nest.write(n, env[kernel.stores[n].value])
        return nest.finished(self.name)

    def _sweep(self, stage: int) -> str:
        """A sweep, as a function of the numbers of the first piece and of the one after the last."""
        nest = self.opened()
        e, schedule = nest.e, self.schedule
        context = self._context(nest, made=False)
        env: Env = {}
        for before in range(stage + 1):
            if before:
                env |= {i: context.get(self.results[i], r.dtype) for i, r in schedule.folds(before - 1)}
            self._known(nest, before, env)
        length = context.get(0, I64)
        sweeps = Sweeps(nest, Across(nest))

        def body(piece: Value, _: list[Value]) -> list[Value]:
            bound(nest, schedule.inner[0], piece, length)
            for fold, (_r, *parts) in enumerate(sweeps.totals(stage, dict(env))):
                context.leave(fold, piece, *parts)
            return []

        first, last = nest.ends
        e.loop(first, last, 1, [], body)
        return nest.finished(f"{self.name}_sweep{stage}", "internal")

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
