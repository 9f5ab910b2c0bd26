"""What every arrangement of loops is written with: loops, a kernel's values, reads and writes of its arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from graphc.backends.numpy.llvm import interleave, memory
from graphc.backends.numpy.llvm.effort import Look
from graphc.backends.numpy.llvm.frame import Frame
from graphc.backends.numpy.llvm.machine import Machine
from graphc.backends.numpy.llvm.memory import Mask, Tail
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.scalars import LlvmScalars
from graphc.backends.numpy.llvm.schedule import Schedule
from graphc.backends.numpy.llvm.values import BOOL, I32, I64, DType, Value
from graphc.backends.numpy.llvm.work import WEIGHTS, weight
from graphc.kernels import Affine, Apply, Fixed, Kernel, Load, Position, Reduce, Within
from graphc.ops import TABLE

# Additions for an element: more are written once for whole vectors and for the rest.
SHORT: Final = 9
SHORT_IN_ROWS: Final = 20  # where there is a rest at the end of each row, and the choice is guessed wrong there
# A read or a write with a choice takes as much text as so many instructions: with few between, all is shorter twice.
CHOICE: Final = 8
WRITTEN: Final = 30  # instructions of a transcendental function that is not called

Env = dict[int, Value]  # values of a kernel that have been computed, by number


class Copied(NamedTuple):
    """Elements that a load finds in a copy of a part of its array, adjacent ones along the vector loop.

    at: where, counted from the element that all indices of 0 would find; `first` is the place of the copy's first one.
    """

    array: str
    at: Affine
    first: Value


class Streaming(NamedTuple):
    """Stores that go past the cache if the scalar `wanted` is true, which also says that their lines are aligned.

    lanes: of the vectors of each sweep that has such stores. rooms: for some stores room on the stack for what their
    arrays would hold between two sweeps, along the vector loop.
    """

    wanted: Value
    stores: frozenset[int]
    lanes: Mapping[int, int]
    rooms: Mapping[int, str]


def _numbers(*values: Value) -> tuple[int, ...] | None:
    """What constants are; None unless all values are."""
    return tuple(int(v.text) for v in values) if all(v.text.lstrip("-").isdecimal() for v in values) else None


class Nest(Frame):
    """A kernel's loop nest being written: which loops are open, and what is known inside them."""

    def __init__(self, kernel: Kernel, look: Look, machine: Machine, module: Module, fast: bool) -> None:
        super().__init__(kernel, module)
        self.schedule = Schedule(kernel)
        self.register = machine.register
        self.lanes = self.schedule.lanes(machine, look.chain, module.hurried)
        self.vector_loop = self.schedule.vector_loop
        self.counts = I64 if any(v.dtype.itemsize == 8 for v in kernel.values) else I32
        self.calls = module.hurried or look.calls
        self.abreast = 0 if module.hurried else self.schedule.abreast(machine, self.lanes)
        self.k = LlvmScalars(self.e, fast, self.calls)
        self.index: dict[int, Value] = {}  # of the loops that are open
        self.bounds: dict[int, tuple[Value, Value]] = {}  # of loops of which only a part runs
        self.copies: dict[int, Copied] = {}  # of what some loads find
        self.streaming: Streaming | None = None
        self.decided: dict[Within, bool] = {}  # conditions known to hold, or not, in the segment being written
        self.loads = self.schedule.loads_apart
        # where a vector is a line of the cache, one that is not aligned is read from two
        self.beside = interleave.shifted(kernel) if self.lanes > 1 and machine.register >= memory.LINE else {}
        self.stores = interleave.stores(kernel)

    def range(self, loop: int) -> tuple[Value, Value]:
        """Where a loop begins and ends."""
        return self.bounds.get(loop, (self.zero, self.extents[loop]))

    def affine(self, at: Affine) -> Value:
        """The number at the open loops' indices."""
        total = self.size(at.offset)
        for loop, stride in enumerate(at.strides):
            if stride == 0:
                continue
            index = self.index[loop]
            part = index if stride == 1 else index * self.size(stride)
            total = part if total.text == "0" else total + part
        return total

    # Loops

    def along(
        self,
        loop: int,
        start: Value,
        stop: Value,
        carried: list[Value],
        body: Callable[[list[Value]], Sequence[Value]],
    ) -> list[Value]:
        """One of the kernel's loops, a point at a time; `body` maps the carried values to their next ones."""

        def at(index: Value, held: list[Value]) -> Sequence[Value]:
            self.index[loop] = index
            return body(held)

        for first, last in self.parts(loop, start, stop):
            carried = self.e.loop(first, last, 1, carried, at)
        return carried

    def parts(self, loop: int, start: Value, stop: Value) -> Iterator[tuple[Value, Value]]:
        """The parts of a loop in which each condition on it is decided, and taken as such, or open throughout."""
        e, cut = self.e, self.schedule.segments[loop]
        for segment in cut:
            end = stop
            if segment is not cut[-1]:
                end = self.size(segment.stop)
                known = _numbers(start, stop, end)
                if known is not None:
                    end = e.const(max(known[0], min(known[1], known[2])), I64, 1)
                else:
                    end = e.select(end < stop, end, stop)
                    end = e.select(end < start, start, end)
            around, self.decided = self.decided, {**self.decided, **segment.decided}
            yield start, end
            self.decided = around
            start = end

    def vectors(
        self,
        start: Value,
        stop: Value,
        carried: list[Value],
        body: Callable[[list[Value], int, Mask | None], list[Value]],
        once: bool = False,
        lanes: int = 0,
        narrow: bool = False,
    ) -> list[Value]:
        """The vector loop from `start` to `stop`: of each segment whole vectors, then a masked rest.

        `body` takes the carried values, the number of lanes, and where lanes are left over the mask of the others.
        once: whether it is written once, with a mask for every vector. lanes: of the vectors, if not those of all.
        narrow: whether a rest whose length is known may be a vector of fewer.
        """
        lanes = lanes or self.lanes
        for first, last in self.parts(self.vector_loop, start, stop):
            known = _numbers(first, last) if lanes > 1 else None
            if known is not None:
                carried = self._known_vectors(known[0], known[1], carried, body, once, lanes, narrow)
            else:
                carried = self._vectors(first, last, carried, body, once, lanes)
        return carried

    def _known_vectors(
        self,
        start: int,
        stop: int,
        carried: list[Value],
        body: Callable[[list[Value], int, Mask | None], list[Value]],
        once: bool,
        lanes: int,
        narrow: bool,
    ) -> list[Value]:
        """The same where both ends are known, and so is how much is left over."""
        e, loop = self.e, self.vector_loop
        rest = max(stop - start, 0) % lanes
        end = max(stop, start) - rest

        def whole(index: Value, held: list[Value]) -> list[Value]:
            self.index[loop] = index
            return body(held, lanes, None)

        def either(index: Value, held: list[Value]) -> list[Value]:
            self.index[loop] = index
            return body(held, lanes, Tail.of(stop - index, lanes, self.counts))

        if once and rest and end > start:
            return e.loop(e.const(start, I64, 1), e.const(stop, I64, 1), lanes, carried, either)
        if end > start:
            carried = e.loop(e.const(start, I64, 1), e.const(end, I64, 1), lanes, carried, whole)
        if rest:
            width = 1 << (rest - 1).bit_length() if narrow else lanes
            self.index[loop] = e.const(end, I64, 1)
            carried = body(carried, width, None if rest == width else Tail(e.const(rest, I64, 1), width, self.counts))
        return carried

    def lanes_of(self, stage: int) -> int:
        """Lanes of the vectors of a sweep."""
        return self.lanes if self.streaming is None else self.streaming.lanes.get(stage, self.lanes)

    def once(self, computed: Iterable[int], accesses: int, times: int = 1) -> bool:
        """Whether a body is written once for whole vectors and for the rest, rather than once for each.

        It computes some values for `times` vectors together, with as many reads, writes and folds for each.
        """
        weights = [weight(self.kernel.values[i]) for i in computed]
        if times * sum(weights) <= (SHORT if len(self.kernel.sizes) == 1 else SHORT_IN_ROWS):
            return False
        transcendental = 1 if self.calls else WRITTEN
        written = sum(transcendental if w == WEIGHTS["transcendental"] else 1 for w in weights)
        return written > CHOICE * accesses

    def _vectors(
        self,
        start: Value,
        stop: Value,
        carried: list[Value],
        body: Callable[[list[Value], int, Mask | None], list[Value]],
        once: bool,
        lanes: int,
    ) -> list[Value]:
        e, loop = self.e, self.vector_loop
        size = self.kernel.sizes[loop]

        def whole(index: Value, held: list[Value]) -> list[Value]:
            self.index[loop] = index
            return body(held, lanes, None)

        if lanes == 1:
            return self.e.loop(start, stop, 1, carried, whole)
        if isinstance(size, int) and size < lanes:
            self.index[loop] = start
            return body(carried, lanes, Tail(stop - start, lanes, self.counts))
        if once:

            def either(index: Value, held: list[Value]) -> list[Value]:
                self.index[loop] = index
                return body(held, lanes, Tail.of(stop - index, lanes, self.counts))

            return self.e.loop(start, stop, lanes, carried, either)
        # held values after the loop, and the index that it reached: start + lanes * count
        count = e.binary("sdiv", stop - start, lanes)
        end = start + count * lanes
        held = self.e.loop(start, end, lanes, carried, whole)
        before, inside, after = e.block, e.fresh("rest"), e.fresh("done")
        more = e.instruction(f"icmp slt {end!r}, {stop.text}", BOOL, 1)
        e.statement(f"br {more!r}, label %{inside}, label %{after}")
        e.label(inside)
        self.index[loop] = end
        new = body(held, lanes, Tail(stop - end, lanes, self.counts))
        latch = e.block
        e.statement(f"br label %{after}")
        e.label(after)
        return [
            e.instruction(f"phi {h.type} [ {h.text}, %{before} ], [ {n.text}, %{latch} ]", h.dtype, h.lanes, pure=False)
            for h, n in zip(held, new, strict=True)
        ]

    # Values

    def settled(self, known: frozenset[int]) -> Iterator[int]:
        """Values that the points of some loops determine before anything is reduced."""
        kernel = self.kernel
        for i, value in enumerate(kernel.values):
            if kernel.stages[i] == 0 and kernel.varies[i] <= known and not isinstance(value, Reduce):
                yield i

    def compute(self, numbers: Iterable[int], env: Env, lanes: int = 1, mask: Mask | None = None) -> None:
        """Values that are not in `env` yet: vectors of what varies over the vector loop, if it runs by vectors."""
        for i in numbers:
            if i not in env:
                varies = lanes > 1 and self.vector_loop in self.schedule.varies[i]
                if varies and i in self.loads and self.loads[i].fits(lanes):
                    self._load_apart(self.loads[i], env, lanes, mask)
                    continue
                if varies and mask is None and i in self.beside and lanes >= interleave.WIDEST:
                    self._load_beside(self.beside[i], env, lanes)
                    continue
                env[i] = self.emit(i, env, lanes if varies else 1, mask if varies else None)

    def emit(self, i: int, env: Env, lanes: int, mask: Mask | None) -> Value:
        """The instructions of one value, of `lanes` lanes; its operands are in `env`."""
        e = self.e
        value = self.kernel.values[i]
        saved, e.lanes = e.lanes, lanes
        try:
            match value:
                case Fixed(dtype=dtype, number=number):
                    return e.const(number, dtype, lanes)
                case Position(dtype=dtype, at=at):
                    # integers of fewer bits wrap as those of 64 do
                    return e.convert(self._position(at, lanes, dtype if dtype.kind in "iu" else I64), dtype)
                case Load(dtype=dtype) if i in self.copies:
                    copied = self.copies[i]
                    place = self.affine(copied.at) - copied.first
                    return memory.load(e, copied.array, place, 1, dtype, lanes, mask)
                case Load(dtype=dtype, root=root, at=at, within=within):
                    if any(self.decided.get(w) is False for w in within):
                        return e.const(0, dtype, lanes)
                    unknown = [w for w in within if w not in self.decided]
                    if lanes > 1 and self.vector_loop not in at.loops.union(w.loop for w in unknown):
                        return e.splat(self._load(root, at, dtype, 1, self._within(unknown, 1, None)), lanes)
                    return self._load(root, at, dtype, lanes, self._within(unknown, lanes, mask))
                case Apply(operands=operands):
                    return self.applied(value, [self.wide(env[j], lanes) for j in operands], lanes)
                case _:
                    raise AssertionError("reductions are emitted by sweeps")
        finally:
            e.lanes = saved

    def applied(self, value: Apply, given: Sequence[Value], lanes: int) -> Value:
        """The instructions of an op on these operands, of `lanes` lanes."""
        saved, self.e.lanes = self.e.lanes, lanes
        try:
            kernel = TABLE[value.op].kernel
            if isinstance(kernel, str):
                result: Value = getattr(self.k, kernel)(*given)
            else:
                assert kernel is not None
                result = kernel(self.k, *given, **dict(value.attrs))
        finally:
            self.e.lanes = saved
        assert result.dtype == value.dtype, (value.op, result.dtype, value.dtype)
        return result

    def _load_apart(self, group: interleave.Group, env: Env, lanes: int, mask: Mask | None) -> None:
        """The loads of a group, by vectors of adjacent elements: none beyond the last one that a lane wants."""
        e, stride = self.e, group.stride
        assert not isinstance(mask, Value), "loads with conditions have no group"
        load = self.kernel.values[group.members[0]]
        assert isinstance(load, Load)
        start, kept = self.affine(group.start), memory.stored(load.dtype)
        unwanted = stride - 1 - group.places[-1]  # elements after the last lane's last one
        vectors = []
        for k in range(stride):
            count = min(lanes, stride * lanes - unwanted - k * lanes)
            part = None if mask is None else mask.of_elements(stride, unwanted + k * lanes, count)
            vector = memory.load(e, self.source(load.root), start + k * lanes, 1, kept, count, part)
            vectors.append(vector if count == lanes else interleave.widened(e, vector, lanes))
        apart = interleave.deinterleaved(e, vectors)
        for i, place in zip(group.members, group.places, strict=True):
            env[i] = apart[place].differs(0) if load.dtype == BOOL else apart[place]

    def _load_beside(self, group: interleave.Group, env: Env, lanes: int) -> None:
        """The loads of a group that begin a few elements apart: from the first vector and what follows on it."""
        load = self.kernel.values[group.members[0]]
        assert isinstance(load, Load)
        source, start = self.source(load.root), self.affine(group.start)
        first = memory.load(self.e, source, start, 1, load.dtype, lanes, None)
        others = memory.load(self.e, source, start + lanes, 1, load.dtype, group.places[-1], None)
        env.update(zip(group.members, interleave.moved(self.e, first, others, group.places), strict=True))

    def read_abreast(self, i: int, env: Env, lanes: int) -> None:
        """A load of several vectors, as they lie: in LLVM's own order, the cache does not see which ones come next."""
        value = self.kernel.values[i]
        assert isinstance(value, Load)
        each = self.register // value.dtype.itemsize
        if i in env or i in self.beside or self.stride(value.at) != 1 or value.dtype == BOOL or lanes <= each:
            self.compute((i,), env, lanes)
            return
        e, source, start = self.e, self.source(value.root), self.affine(value.at)
        places = [memory.element(e, source, start + k, value.dtype) for k in range(0, lanes, each)]
        env[i] = interleave.joined(e, [e.load(place, value.dtype, each, in_order=True) for place in places])

    def _load(self, root: int, at: Affine, dtype: DType, lanes: int, mask: Mask | None) -> Value:
        stride = self.stride(at) if lanes > 1 else 1
        return memory.load(self.e, self.source(root), self.affine(at), stride, dtype, lanes, mask)

    def wide(self, value: Value, lanes: int) -> Value:
        return value if value.lanes == lanes else self.e.splat(value, lanes)

    def hoisted(self, needed: Iterable[int], env: Env, lanes: int) -> Env:
        """The same values, those that vectors of so many lanes will use in every lane already spread."""
        wanted = {j for i in needed if isinstance(v := self.kernel.values[i], Apply) for j in v.operands}
        return {
            i: self.e.splat(v, lanes) if i in wanted and v.lanes == 1 and lanes > 1 and v.text.startswith("%") else v
            for i, v in env.items()
        }

    def stride(self, at: Affine) -> Value | int:
        """How far apart the elements of neighbouring lanes lie."""
        stride = at.strides[self.vector_loop]
        return stride if isinstance(stride, int) else self.size(stride)

    def _position(self, at: Affine, lanes: int, dtype: DType) -> Value:
        e = self.e
        base = e.convert(self.affine(at), dtype)
        if lanes == 1:
            return base
        stride = self.stride(at)
        step = e.convert(e.const(stride, I64, 1) if isinstance(stride, int) else stride, dtype)
        numbers = memory.lane_numbers(e, lanes, dtype)
        return e.splat(base, lanes) + (numbers if stride == 1 else numbers * e.splat(step, lanes))

    def _within(self, within: Sequence[Within], lanes: int, mask: Mask | None) -> Mask | None:
        """Where a load's conditions hold, and the mask."""
        e = self.e
        if within and isinstance(mask, Tail):
            mask = mask.mask()
        for w in within:
            start, stop, index = self.size(w.start), self.size(w.stop), self.index[w.loop]
            if lanes > 1 and w.loop == self.vector_loop:
                index = e.splat(index, lanes) + memory.lane_numbers(e, lanes)
            inside = (index >= self.wide(start, index.lanes)) & (index < self.wide(stop, index.lanes))
            inside = self.wide(inside, lanes)
            mask = mask & inside if isinstance(mask, Value) else inside
        return mask

    # Arrays of results

    def write(self, n: int, value: Value, lanes: int = 1, mask: Mask | None = None) -> None:
        """Elements of the array of store `n`."""
        at = self.kernel.stores[n].at
        along = lanes > 1 and at.strides[self.vector_loop] != 0
        value = self.wide(value, lanes) if along else self.e.lane(value, 0)
        stride = self.stride(at) if along else 1
        streams = self.streaming.wanted if self.streaming is not None and n in self.streaming.stores else None
        memory.store(self.e, value, self.target(n), self.affine(at), stride, mask if along else None, streams)

    def write_all(self, numbers: Iterable[int], env: Env, lanes: int, mask: Mask | None) -> None:
        """Elements of the arrays of several stores, all of whose values are in `env`."""
        done: set[int] = set()
        for n in numbers:
            group = self.stores.get(n)
            if group is None or lanes == 1:
                self.write(n, env[self.kernel.stores[n].value], lanes, mask)
            elif n not in done:
                done.update(group.members)
                self._write_together(group, env, lanes, mask)

    def _write_together(self, group: interleave.Group, env: Env, lanes: int, mask: Mask | None) -> None:
        """The stores of a group, by vectors of adjacent elements."""
        e = self.e
        assert not isinstance(mask, Value), "stores have no conditions"
        values = [self.wide(env[self.kernel.stores[n].value], lanes) for n in group.members]
        if values[0].dtype == BOOL:
            values = [e.convert(value, memory.BYTE) for value in values]
        start, target = self.affine(group.start), self.target(group.members[0])
        for k, vector in enumerate(interleave.interleaved(e, values)):
            part = None if mask is None else mask.of_elements(group.stride, k * lanes, lanes)
            memory.store(e, vector, target, start + k * lanes, 1, part)

    def keep(self, n: int, value: Value, lanes: int, mask: Mask | None) -> None:
        """Keep elements for a later sweep in the array of store `n`."""
        if self.streaming is None or n not in self.streaming.rooms:
            self.write(n, value, lanes, mask)
        else:
            memory.store(self.e, value, self.streaming.rooms[n], self.index[self.vector_loop], 1, mask)

    def kept(self, n: int, dtype: DType, lanes: int, mask: Mask | None) -> Value:
        """Elements that `keep` has kept, or that the store itself has written."""
        if self.streaming is None or n not in self.streaming.rooms:
            return self.read_back(n, dtype, lanes, mask)
        return memory.load(self.e, self.streaming.rooms[n], self.index[self.vector_loop], 1, dtype, lanes, mask)

    def read_back(self, n: int, dtype: DType, lanes: int, mask: Mask | None) -> Value:
        """Elements that were written to the array of store `n`."""
        at = self.kernel.stores[n].at
        stride = self.stride(at) if lanes > 1 else 1
        return memory.load(self.e, self.target(n), self.affine(at), stride, dtype, lanes, mask)
