"""Kernels that fold over their outer loops: a function runs for strips of the first one, each with results of its own.

The first strip folds into the arrays of the results themselves, the others into memory beside, which is joined to them
in order.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

from graphc.backends.numpy.llvm import streaming
from graphc.backends.numpy.llvm.across import Across
from graphc.backends.numpy.llvm.memory import LINE
from graphc.backends.numpy.llvm.nest import Nest
from graphc.backends.numpy.llvm.pieces import Context, Cut, bound, cut, larger, spread
from graphc.backends.numpy.llvm.schedule import Schedule
from graphc.backends.numpy.llvm.values import I64, Value
from graphc.kernels import Kernel

BESIDE: Final = 1 << 20  # bytes of what the strips fold into, beyond the results
LENGTH, MEMORY, EACH = 0, 1, 2  # words of the context: points of a strip; the memory beside, and bytes for each strip


class Strips:
    """Writes the functions of one kernel; `opened` begins one, and `walk` writes the loops inside it."""

    def __init__(
        self, kernel: Kernel, name: str, opened: Callable[[], Nest], walk: Callable[[Nest, Across], None]
    ) -> None:
        self.kernel = kernel
        self.name = name
        self.opened = opened
        self.walk = walk
        self.schedule = Schedule(kernel)
        self.loop = self.schedule.outer[0]

    def write(self) -> str:
        """The text of both functions."""
        return f"{self._strips()}\n{self._whole()}"

    def _context(self, nest: Nest, across: Across, made: bool) -> Context:
        return Context(nest, 3, len(across.numbers), made)

    def _whole(self) -> str:
        """The kernel itself: it makes room, and joins what the strips have come to."""
        nest = self.opened()
        e = nest.e
        across = Across(nest)
        context = self._context(nest, across, made=True)
        room = self._room(nest, across)
        beside = [k for k in range(len(self.kernel.sizes)) if k != self.loop]
        most = partial(self._most, nest, room)
        strips = cut(nest, self.loop, beside, most=most)
        memory = self._memory(nest, across, strips, room)
        context.put(LENGTH, strips.length)
        context.put(EACH, room)
        context.put(MEMORY, nest.number(memory))
        spread(nest, f"@{self.name}_strips", strips)
        across.store(context.join([r for _, r in across.numbers], strips.count))
        if across.arrays:

            def joined(strip: Value, _: list[Value]) -> list[Value]:
                across.join(self._targets(nest, across, strip, memory, room))
                return []

            e.loop(e.const(1, I64, 1), strips.count, 1, [], joined)
            e.statement(f"call void @PyMem_RawFree(ptr {memory})")
        return nest.finished(self.name)

    def _most(self, nest: Nest, room: Value) -> Value:
        """For how many strips there is memory."""
        return nest.e.binary("sdiv", nest.e.const(BESIDE, I64, 1), larger(nest, room, 1)) + 1

    def _strips(self) -> str:
        """The function of the numbers of the first strip and of the one after the last."""
        nest = self.opened()
        e = nest.e
        streaming.begin(nest)
        across = Across(nest)
        context = self._context(nest, across, made=False)
        length, room = context.get(LENGTH, I64), context.get(EACH, I64)
        memory = nest.pointer(context.get(MEMORY, I64))

        def body(strip: Value, _: list[Value]) -> list[Value]:
            bound(nest, self.loop, strip, length)
            first = strip.equals(0)
            with ExitStack() as targets:
                for n, place in self._targets(nest, across, strip, memory, room).items():
                    name = f"%{e.fresh('target')}"
                    e.statement(f"{name} = select {first!r}, ptr {nest.target(n)}, ptr {place}")
                    targets.enter_context(nest.instead(n, name))
                across.begin()
                self.walk(nest, across)
            for fold, parts in enumerate(across.parts()):
                context.leave(fold, strip, *parts)
            return []

        start, stop = nest.ends
        e.loop(start, stop, 1, [], body)
        streaming.end(nest)
        return nest.finished(f"{self.name}_strips", "internal")

    def _room(self, nest: Nest, across: Across) -> Value:
        """Bytes that a strip needs for its results."""
        total = nest.zero
        for n, _ in across.arrays:
            total = total + self._bytes(nest, n)
        return total

    def _bytes(self, nest: Nest, n: int) -> Value:
        """From the first element that a store writes to the end of the last, in whole lines of the cache."""
        e, store = nest.e, self.kernel.stores[n]
        last = nest.zero
        for loop, stride in enumerate(store.at.strides):
            if stride != 0:
                last = last + (nest.extents[loop] - 1) * nest.size(stride)
        nbytes = larger(nest, (last + 1) * self.kernel.values[store.value].dtype.itemsize, 0)
        return e.binary("sdiv", nbytes + (LINE - 1), LINE) * LINE

    def _targets(self, nest: Nest, across: Across, strip: Value, memory: str, room: Value) -> dict[int, str]:
        """For each array what takes its place in a strip, where that is not the first: so that its offset fits."""
        e, found = nest.e, {}
        at = (strip - 1) * room
        for n, _ in across.arrays:
            store = self.kernel.stores[n]
            offset = nest.size(store.at.offset) * self.kernel.values[store.value].dtype.itemsize
            found[n] = f"%{e.fresh('beside')}"
            e.statement(f"{found[n]} = getelementptr i8, ptr {memory}, {at - offset!r}")
            at = at + self._bytes(nest, n)
        return found

    def _memory(self, nest: Nest, across: Across, strips: Cut, room: Value) -> str:
        """Memory for all strips but the first; without it the kernel ends, with a status that is not 0."""
        e = nest.e
        if not across.arrays:
            return "null"
        nest.e.module.define("PyMem_RawMalloc", "declare ptr @PyMem_RawMalloc(i64)")
        nest.e.module.define("PyMem_RawFree", "declare void @PyMem_RawFree(ptr)")
        several, make, lacking, ready = (e.fresh(stem) for stem in ("several", "make", "lacking", "ready"))
        before = e.block
        e.statement(f"%{several} = icmp sgt {strips.count!r}, 1")
        nbytes = (strips.count - 1) * room
        e.statement(f"br i1 %{several}, label %{make}, label %{ready}")
        e.label(make)
        e.statement(f"%made = call ptr @PyMem_RawMalloc({nbytes!r})")
        e.statement("%lacks = icmp eq ptr %made, null")
        e.statement(f"br i1 %lacks, label %{lacking}, label %{ready}")
        e.label(lacking)
        e.statement("ret i32 1")
        e.label(ready)
        e.statement(f"%memory = phi ptr [ null, %{before} ], [ %made, %{make} ]")
        return "%memory"
