"""Running a kernel on CuPy arrays: the schedule of a call, made once for sizes and addresses of a kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from graphc.backends.cupy.launching import launch
from graphc.backends.cupy.library import cupy, device
from graphc.backends.cupy.schedule import Program
from graphc.kernels import Kernel

REMEMBERED: Final = 256  # schedules of a kernel
ALIGNED: Final = 15  # the bits of an address that decide how wide accesses may be


def load(kernels: Sequence[Kernel], fast: bool = False) -> list[Callable[..., None]]:
    """Functions that run the kernels: called with the arrays of the roots, those of the results, and the sizes."""
    return [Runner(kernel, fast) for kernel in kernels]


class Runner:
    """Launches a kernel on the current stream; arrays have to be dense."""

    def __init__(self, kernel: Kernel, fast: bool) -> None:
        self.program = Program(kernel, fast)
        self.nodes = (*kernel.roots, *kernel.nodes)
        self.cp = cupy()
        self._prepared: dict[Any, Any] = {}

    def __call__(self, *args: Any) -> None:
        count = len(self.nodes)
        addresses = [a.data.ptr for a in args[:count]]
        key = self.cp.cuda.runtime.getDevice(), args[count:], tuple([a & ALIGNED for a in addresses])
        found = self._prepared.get(key)
        if found is None:
            found = self._prepare(key)
        launches, workspaces = found
        held = [self.cp.cuda.alloc(size) for size in workspaces]
        places = [*addresses, *(memory.ptr for memory in held)]
        for text, grid, block, arrays, numbers, work in launches:
            launch(text, grid, block, (*[places[a] for a in arrays], *numbers), work)

    def _prepare(self, key: Any) -> Any:
        number, sizes, low = key
        aligned = {node: (bits & -bits) or 16 for node, bits in zip(self.nodes, low, strict=True)}
        schedule = self.program.schedule(sizes, aligned, device(number))
        position = {node: k for k, node in enumerate((*self.nodes, *schedule.workspaces))}
        launches = [
            (
                planned.source,
                planned.grid,
                planned.block,
                [position[a] for a in planned.arrays],
                planned.numbers,
                planned.work,
            )
            for planned in schedule.launches
        ]
        if len(self._prepared) >= REMEMBERED:
            self._prepared = {}
        found = self._prepared[key] = launches, list(schedule.workspaces.values())
        return found
