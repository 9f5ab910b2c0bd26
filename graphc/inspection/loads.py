"""What each kernel of a plan has to do, and on how many threads it may run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from graphc import dims
from graphc.dims import Dim, Size
from graphc.inspection.counting import substituted
from graphc.kernels import Kernel
from graphc.plan import Plan

# The generator of machine code is loaded where something is asked of it: importing graphc shall not take it along.

OPS: Final = 6  # that a line names


@dataclass(frozen=True, slots=True)
class Load:
    """The work of a kernel, in additions of float32 that take as long; and into how many parts it can be divided."""

    ops: tuple[str, ...]
    work: Size
    parts: Size

    @property
    def threads(self) -> int | None:
        """How many threads it is worth at most, where there are so many; None where that depends on named sizes."""
        if self.parts == 1:
            return 1
        if isinstance(self.work, Dim) or isinstance(self.parts, Dim):
            return None
        from graphc.backends.numpy.llvm.work import SHARED
        from graphc.backends.numpy.llvm.workers import SHARE

        return max(1, min(int(self.work / SHARE), self.parts)) if self.work >= SHARED else 1

    @property
    def shown(self) -> str:
        """The threads, as a table shows them."""
        count = self.threads
        return "if much" if count is None else "1" if count == 1 else f"up to {count:,}"

    def __str__(self) -> str:
        return " ".join(self.ops[:OPS]) + (" ..." if len(self.ops) > OPS else "")

    def at(self, **sizes: int) -> Load:
        """The same with numbers for named sizes."""
        return replace(self, work=substituted(self.work, sizes), parts=substituted(self.parts, sizes))

    def as_dict(self) -> dict[str, Any]:
        """The numbers by name; formulas as text."""
        numbers = {"work": self.work, "parts": self.parts, "threads": self.threads}
        return {"ops": list(self.ops)} | {k: str(v) if isinstance(v, Dim) else v for k, v in numbers.items()}


def loads(plan: Plan) -> tuple[Load, ...]:
    """The kernels of a plan, in order."""
    nodes = plan.graph._node
    return tuple(
        Load(tuple(nodes[i]["op"] for i in step.nodes), *_measured(step.kernel))
        for step in plan.steps
        if step.kernel is not None
    )


def _measured(kernel: Kernel) -> tuple[Size, Size]:
    """The work of a kernel, and into how many parts it can be divided."""
    from graphc.backends.numpy.llvm.pieces import MOST_PIECES
    from graphc.backends.numpy.llvm.schedule import Schedule
    from graphc.backends.numpy.llvm.unroll import unrolled
    from graphc.backends.numpy.llvm.work import Work

    kernel = unrolled(kernel)
    (each, sizes), schedule = Work.of(kernel), Schedule(kernel)
    work = dims.product((int(each), *sizes))
    if schedule.reduces_all:
        return work, MOST_PIECES
    if schedule.folds_strips:
        return work, dims.minimum(kernel.sizes[schedule.outer[0]], MOST_PIECES)
    if not schedule.divisible or schedule.division is None:
        return work, 1
    loop, width, step = schedule.division
    found = dims.maximum((kernel.sizes[loop] + width * step - 1) // (width * step), 1)
    if schedule.tiled and not schedule.outer:
        # its rows are cut where there is one part of its columns
        found = found + (dims.minimum(kernel.sizes[schedule.inner[0]], MOST_PIECES) - 1) * (1 // found)
    return work, found
