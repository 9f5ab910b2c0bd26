"""Running results of single numbers: rows side by side, as each result of one waits for the result before it.

The results so far stay in registers. Those of a row are computed in its order, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from graphc.backends.numpy.llvm import memory
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.instructions import Running
from graphc.backends.numpy.llvm.scalars import LlvmScalars
from graphc.backends.numpy.llvm.values import F16, F32, Value
from graphc.dims import Size
from graphc.ops import TABLE

SIDE_BY_SIDE: Final = 8  # rows: two additions begin in a cycle, and each takes some four


def apart(row: Size) -> bool:
    """Whether results along an axis are computed one number at a time, if adjacent ones are so many rows."""
    return isinstance(row, int) and row <= SIDE_BY_SIDE


def write(e: Emitter, running: Running, source: str, target: str, size: Callable[[Size], Value]) -> None:
    """The instructions of running results without a kernel; `size` gives the value of a size."""
    _Chains(e, running, source, target, size).write()


class _Chains:
    def __init__(self, e: Emitter, running: Running, source: str, target: str, size: Callable[[Size], Value]) -> None:
        self.e = e
        self.running = running
        self.source = source
        self.target = target
        self.scalars = LlvmScalars(e)
        assert isinstance(running.row, int)
        self.row = running.row
        self.lead, self.count = size(running.lead), size(running.count)
        self.block = size(running.count * running.row)  # elements from one array along the axes before to the next
        self.zero = e.const(0, self.count.dtype, 1)

    def write(self) -> None:
        """All arrays along the axes before this one; where their rows are single numbers, several together."""
        e, lead = self.e, self.running.lead
        together = 1 if self.row > 1 else SIDE_BY_SIDE
        if isinstance(lead, int) and lead <= together:
            self.chains(self.zero, lead)
            return
        whole = self.zero
        if together > 1:
            whole = e.binary("sdiv", self.lead, together) * together
            e.span(self.zero, whole, together, lambda first: self.chains(first, together))
        e.span(whole, self.lead, 1, lambda first: self.chains(first, 1))

    def chains(self, first: Value, arrays: int) -> None:
        """Side by side all that some arrays have along the axis; there is one element at least."""
        e = self.e
        starts = [(first + k) * self.block + column for k in range(arrays) for column in range(self.row)]
        step = self.row
        if self.running.reverse:
            step = -step
            starts = [start + (self.block - self.row) for start in starts]
        held = [self.read(start) for start in starts]
        for start, value in zip(starts, held, strict=True):
            self.put(start, value)

        def link(number: Value, so_far: list[Value]) -> Sequence[Value]:
            places = [start + number * step for start in starts]
            found = [self.joined(a, self.read(place)) for a, place in zip(so_far, places, strict=True)]
            for place, value in zip(places, found, strict=True):
                self.put(place, value)
            return found

        e.loop(e.const(1, self.count.dtype, 1), self.count, 1, held, link)

    def read(self, place: Value) -> Value:
        dtype = self.running.dtype
        return self.e.load(memory.element(self.e, self.source, place, dtype), dtype, 1)

    def put(self, place: Value, value: Value) -> None:
        self.e.store(value, memory.element(self.e, self.target, place, value.dtype))

    def joined(self, so_far: Value, here: Value) -> Value:
        """The next result; half precision is computed in single, and rounded."""
        e, dtype = self.e, self.running.dtype
        wide = F32 if dtype == F16 else dtype
        kernel = TABLE[self.running.op].kernel
        assert isinstance(kernel, str)
        result: Value = getattr(self.scalars, kernel)(e.convert(so_far, wide), e.convert(here, wide))
        return e.convert(result, dtype)
