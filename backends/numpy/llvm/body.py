"""The body of a native program: its instructions, one after the other, as LLVM's text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graphc import dims
from graphc.backends.numpy.llvm import chains, memory, searching
from graphc.backends.numpy.llvm.arena import Arena
from graphc.backends.numpy.llvm.blas import Blas
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.externals import PARALLEL
from graphc.backends.numpy.llvm.instructions import (
    All,
    Between,
    Choice,
    Clear,
    Condition,
    Copy,
    Instruction,
    Many,
    Moves,
    Nonzero,
    Place,
    Product,
    Program,
    Rows,
    Run,
    Running,
    Search,
)
from graphc.backends.numpy.llvm.places import Places
from graphc.backends.numpy.llvm.pool import is_alone
from graphc.backends.numpy.llvm.schedule import Schedule
from graphc.backends.numpy.llvm.sizes import Sizes
from graphc.backends.numpy.llvm.values import BOOL, ELEMENTS, I64, Value
from graphc.backends.numpy.llvm.work import SHARED, Work
from graphc.kernels import HALF


class Body(Places):
    """Writes instructions. Besides what `Places` and `Blas` name, they refer to two labels of the function around them.

    These are `%bail` for positions that are out of bounds and `%lacking` for want of memory.

    most_arrays, most_sizes: how many words calls of kernels take at most, at `%arrays` and at `%sizes`.
    """

    def __init__(self, program: Program, arena: Arena, e: Emitter, sizes: Sizes) -> None:
        super().__init__(program, arena, e, sizes)
        self.blas = Blas(self)
        self.most_arrays = self.most_sizes = 1

    def write(self, instruction: Instruction) -> None:
        match instruction:
            case Run():
                pointers = [self.pointer(p) for p in (*instruction.reads, *instruction.writes)]
                self.call(instruction.kernel, pointers, shared=True)
            case Copy(source=source, target=target, nbytes=nbytes):
                self.copy(self.pointer(source), self.pointer(target), nbytes)
            case Clear(target=target, nbytes=nbytes):
                self.clear(self.pointer(target), self.sizes.value(nbytes))
            case Product():
                self.blas.write(instruction)
            case Rows():
                self.rows(instruction)
            case Search():
                self.search(instruction)
            case Moves():
                self.moves(instruction)
            case Running():
                self.running(instruction)
            case Choice():
                self.choice(instruction)

    def call(self, number: int, pointers: Sequence[str], shared: bool = False) -> None:
        """Call a kernel on arrays; on several threads if there are any, it may be `shared`, and is worth it."""
        e = self.e
        kernel = self.program.kernels[number]
        assert len(pointers) == len(kernel.roots) + len(kernel.nodes)
        self.most_arrays = max(self.most_arrays, len(pointers) + 1)  # and a word for the kernel itself
        self.most_sizes = max(self.most_sizes, len(kernel.symbolic))
        for k, pointer in enumerate(pointers):
            at = "%arrays" if k == 0 else self.moved("%arrays", e.const(8 * k, I64, 1))
            e.statement(f"store ptr {pointer}, ptr {at}")
        for k, size in enumerate(kernel.symbolic):
            at = "%sizes" if k == 0 else self.moved("%sizes", e.const(8 * k, I64, 1))
            e.statement(f"store {self.sizes.value(size)!r}, ptr {at}")
        count = e.const(1, I64, 1)
        schedule = Schedule(kernel)
        division = schedule.division
        if division is not None:
            extent, width = kernel.sizes[division.loop], division.width
            if isinstance(extent, int):
                count = e.const(-(-extent // width), I64, 1)
            else:
                count = self.sizes.value(extent)
                count = count if width == 1 else e.binary("sdiv", count + (width - 1), width)
        alone = f"call i32 @kernel{number}(ptr %arrays, ptr %sizes, i64 0, {count!r})"
        if not shared or division is None or not schedule.shared or is_alone():
            status = f"%{e.fresh('status')}"
            e.statement(f"{status} = {alone}")
            if schedule.in_strips:
                after = e.fresh("next")
                lacking = e.instruction(f"icmp ne i32 {status}, 0", BOOL, 1)
                e.statement(f"br {lacking!r}, label %lacking, label %{after}")
                e.label(after)
            return
        callee = self.callee(PARALLEL)
        work = self.work(Work.of(kernel))
        some, one, both = (e.fresh(stem) for stem in ("some", "one", "both"))
        e.statement(f"br {work >= SHARED!r}, label %{some}, label %{one}")
        e.label(some)
        arguments = f"ptr @kernel{number}, ptr %arrays, ptr %sizes, {count!r}, {work!r}, i64 {division.step}"
        e.statement(f"%{e.fresh('status')} = call i32 {callee}({arguments})")
        e.statement(f"br label %{both}")
        e.label(one)
        e.statement(f"%{e.fresh('status')} = {alone}")
        e.statement(f"br label %{both}")
        e.label(both)

    def choice(self, choice: Choice) -> None:
        e = self.e
        condition = self.holds(choice.condition)
        usual, otherwise, after = e.fresh("usual"), e.fresh("otherwise"), e.fresh("after")
        e.statement(f"br {condition!r}, label %{usual}, label %{otherwise}")
        for label, instructions in ((usual, choice.usual), (otherwise, choice.otherwise)):
            e.label(label)
            for instruction in instructions:
                self.write(instruction)
            e.statement(f"br label %{after}")
        e.label(after)

    def holds(self, condition: Condition) -> Value:
        match condition:
            case Nonzero(dtype=dtype, place=place):
                return self.e.load(self.pointer(place), dtype, 1).differs(0.0)
            case Between(size=size, most=most, least=least):
                value = self.sizes.value(size)
                return (value >= least) & (value <= most)
            case Many(sizes=sizes, least=least):
                return self.work(Work(1.0, sizes)) >= float(least)
            case All(conditions=(first, *others)):
                found = self.holds(first)
                for other in others:
                    found = found & self.holds(other)
                return found
            case _:
                raise AssertionError("a choice has a condition")

    # by positions

    def rows(self, rows: Rows) -> None:
        e = self.e
        width = rows.dtype.itemsize
        array, other = self.pointer(rows.array), self.pointer(rows.rows)
        positions = [self.pointer(p) for p in rows.positions]
        nbytes = self.sizes.value(rows.row * width)
        block = self.sizes.value(dims.product(rows.axes) * rows.row * width)
        beside = self.sizes.value(rows.count * rows.row * width)

        def lead(first: Value) -> None:
            here = self.moved(array, first * block)
            there = other if rows.same else self.moved(other, first * beside)

            def each(number: Value) -> None:
                found = self.position(rows, positions, number)
                inside = self.moved(here, found * nbytes)
                outside = there if rows.same else self.moved(there, number * nbytes)
                if rows.kernel is None:
                    self.copy(inside, outside, rows.row * width)
                elif rows.row == 1 and rows.dtype not in (BOOL, HALF):
                    total = e.load(inside, rows.dtype, 1) + e.load(outside, rows.dtype, 1)
                    e.store(total, inside)
                else:
                    self.call(rows.kernel, [inside, outside, inside])

            self.count(rows.count, each)

        if rows.lead == 1:
            lead(e.const(0, I64, 1))
        else:
            self.count(rows.lead, lead)

    def search(self, search: Search) -> None:
        name = searching.declared(self.e.module, search.dtype, search.right)
        pointers = [f"ptr {self.pointer(place)}" for place in (search.edges, search.values, search.target)]
        sizes = [repr(self.sizes.value(size)) for size in (search.count, search.number)]
        self.e.statement(f"call void @{name}({', '.join([*pointers, *sizes])})")

    def moves(self, moves: Moves) -> None:
        e, cleared, zero = self.e, moves.cleared, self.e.const(0, I64, 1)
        source, target = self.pointer(moves.source), self.pointer(moves.target)
        sources, targets = (self.listed(positions) for positions in (moves.sources, moves.targets))
        if cleared is None:
            self.count(moves.count, lambda number: self.moved_number(moves, source, sources, target, targets, number))
            return
        starts = self.listed(cleared.starts)

        def piece(number: Value, nbytes: int) -> None:
            here = self.moved(target, number * cleared.piece)
            self.zeros(here, nbytes)
            first, last = starts(number), starts(number + 1)
            e.span(first, last, 1, lambda number: self.moved_number(moves, source, sources, here, targets, number))

        whole, rest = divmod(cleared.nbytes, cleared.piece)
        e.span(zero, e.const(whole, I64, 1), 1, lambda number: piece(number, cleared.piece))
        if rest:
            piece(e.const(whole, I64, 1), rest)

    def listed(self, positions: Place | None) -> Callable[[Value], Value]:
        """Positions by their numbers; without a list they are the numbers."""
        if positions is None:
            return lambda number: number
        pointer, kind = self.pointer(positions), self.program.storages[positions.storage].dtype
        return lambda number: self.loaded(pointer, kind, number)

    def moved_number(
        self,
        moves: Moves,
        source: str,
        sources: Callable[[Value], Value],
        target: str,
        targets: Callable[[Value], Value],
        number: Value,
    ) -> None:
        """Move one number."""
        e, kind = self.e, ELEMENTS[moves.dtype if moves.zero else np.dtype(f"u{moves.dtype.itemsize}")]
        found, from_here, to_there = (f"%{e.fresh(stem)}" for stem in ("moved", "from", "to"))
        e.statement(f"{from_here} = getelementptr {kind}, ptr {source}, {sources(number)!r}")
        e.statement(f"{to_there} = getelementptr {kind}, ptr {target}, {targets(number)!r}")
        e.statement(f"{found} = load {kind}, ptr {from_here}")
        if moves.zero:
            found = (e.value(found, moves.dtype, 1) + 0.0).text
        e.statement(f"store {kind} {found}, ptr {to_there}")

    def zeros(self, target: str, nbytes: int) -> None:
        """Fill a piece with zeros, by vectors: the processor looks beyond them, but not beyond a call."""
        e = self.e
        rest = nbytes % memory.LINE
        lanes = memory.LINE // I64.itemsize
        end = e.const((nbytes - rest) // I64.itemsize, I64, 1)
        nothing = e.const(0, I64, lanes)
        e.span(e.const(0, I64, 1), end, lanes, lambda at: memory.store(e, nothing, target, at, 1, None))
        if rest:
            self.clear(self.moved(target, e.const(nbytes - rest, I64, 1)), e.const(rest, I64, 1))

    def running(self, running: Running) -> None:
        e = self.e
        source, target = self.pointer(running.source), self.pointer(running.target)
        kernel = running.kernel
        if kernel is None:
            some = self.sizes.value(running.count) > 0
            self.when(some, lambda: chains.write(e, running, source, target, self.sizes.value))
            return
        width = running.dtype.itemsize
        row = self.sizes.value(running.row * width)
        block = self.sizes.value(running.count * running.row * width)
        last = self.sizes.value((running.count - 1) * running.row * width)

        def lead(first: Value) -> None:
            here, there = (self.moved(p, first * block) for p in (source, target))
            if running.reverse:
                here, there = self.moved(here, last), self.moved(there, last)
            if running.source != running.target:
                self.copy(here, there, running.row * width)

            def each(number: Value) -> None:
                before, after = number * row, number * row + row
                if running.reverse:
                    before, after = -before, -after
                result = self.moved(there, after)
                self.call(kernel, [self.moved(there, before), self.moved(here, after), result])

            self.count(running.count - 1, each)

        def leads() -> None:
            if running.lead == 1:
                lead(e.const(0, I64, 1))
            else:
                self.count(running.lead, lead)

        if isinstance(running.count, int):
            if running.count:
                leads()
        else:
            self.when(self.sizes.value(running.count) > 0, leads)

    def position(self, rows: Rows, positions: Sequence[str], number: Value) -> Value:
        """Where the row of this number lies among those of the array."""
        e = self.e
        total: Value | None = None
        for axis, pointer, kind in zip(rows.axes, positions, rows.kinds, strict=True):
            found = self.loaded(pointer, kind, number)
            size = self.sizes.value(axis)
            if kind.kind == "i":
                found = e.select(found < 0, found + size, found)
            # as unsigned numbers, negative ones are too large as well
            inside = e.instruction(f"icmp ult {found!r}, {size.text}", BOOL, 1)
            after = e.fresh("next")
            e.statement(f"br {inside!r}, label %{after}, label %bail")
            e.label(after)
            total = found if total is None else total * size + found
        assert total is not None
        return total
