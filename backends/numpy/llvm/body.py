"""The body of a native program: its instructions, one after the other, as LLVM's text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from graphc import dims
from graphc.backends.numpy.llvm import chains, grams, memory, searching
from graphc.backends.numpy.llvm.arena import Arena
from graphc.backends.numpy.llvm.emit import BOOL, ELEMENTS, F64, I64, DType, Emitter, Value, literal
from graphc.backends.numpy.llvm.externals import PARALLEL, dtype_name
from graphc.backends.numpy.llvm.instructions import (
    All,
    Between,
    Choice,
    Clear,
    Copy,
    Instruction,
    Many,
    Matrix,
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
from graphc.backends.numpy.llvm.pool import is_alone
from graphc.backends.numpy.llvm.schedule import Schedule
from graphc.backends.numpy.llvm.sizes import Sizes
from graphc.backends.numpy.llvm.work import SHARED, Work
from graphc.dims import Size
from graphc.kernels import HALF

INT32: Final = (1 << 31) - 1  # sizes that BLAS takes

PRELUDE: Final = """
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
@plain = internal constant i8 78
@turned = internal constant i8 84
@lower = internal constant i8 76
"""


class Body:
    """Writes instructions. What they refer to stands around them, in the same function.

    That is `%argument0`, ... and `%result0`, ... for the elements of arguments and results, `%arena`, and the labels
    `%bail` for positions that are out of bounds and `%lacking` for want of memory; and what is found here once all
    instructions are written:

    constants: names of the constants' elements, by their numbers.
    callees: names of the BLAS routines, by theirs.
    most_arrays, most_sizes: how many words calls of kernels take at most, at `%arrays` and at `%sizes`.
    """

    def __init__(self, program: Program, arena: Arena, e: Emitter, sizes: Sizes) -> None:
        self.program = program
        self.arena = arena
        self.e = e
        self.sizes = sizes
        self.owners = {r.layout.storage: k for k, r in enumerate(program.results) if r.owned}
        self.constants: dict[int, str] = {}
        self.callees: dict[str, str] = {}
        self.most_arrays = self.most_sizes = 1

    def pointer(self, place: Place) -> str:
        """The address of a place."""
        number, offset = place.storage, place.offset
        storage = self.program.storages[number]
        host = self.arena.within.get(number, number)
        if storage.origin == "argument":
            base = f"%argument{storage.index}"
        elif storage.origin == "constant":
            base = self.constants.setdefault(storage.index, f"%constant{storage.index}")
        elif host in self.owners:
            base = f"%result{self.owners[host]}"
        else:
            base, offset = "%arena", offset + self.arena.offsets[number]
        return base if offset == 0 else self.moved(base, self.sizes.value(offset))

    def moved(self, base: str, nbytes: Value) -> str:
        name = f"%{self.e.fresh('p')}"
        self.e.statement(f"{name} = getelementptr i8, ptr {base}, i64 {nbytes.text}")
        return name

    def move(self, source: str, target: str, nbytes: int) -> None:
        """Copy a number."""
        value = f"%{self.e.fresh('moved')}"
        self.e.statement(f"{value} = load i{8 * nbytes}, ptr {source}, align 1")
        self.e.statement(f"store i{8 * nbytes} {value}, ptr {target}, align 1")

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
                self.product(instruction)
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
        callee = self.callees.setdefault(PARALLEL, f"%callee_{PARALLEL}")
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

    def work(self, work: Work) -> Value:
        """About how many additions a kernel costs, in floating point."""
        total = self.e.const(work.each, F64, 1)
        for size in work.sizes:
            total = total * self.e.convert(self.sizes.value(size), F64)
        return total

    def copy(self, source: str, target: str, nbytes: Size) -> None:
        if nbytes in (1, 2, 4, 8):
            assert isinstance(nbytes, int)
            self.move(source, target, nbytes)
            return
        size = self.sizes.value(nbytes)
        self.e.statement(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, {size!r}, i1 false)")

    def clear(self, target: str, nbytes: Value) -> None:
        self.e.statement(f"call void @llvm.memset.p0.i64(ptr {target}, i8 0, {nbytes!r}, i1 false)")

    def count(self, size: Size, body: Callable[[Value], None]) -> None:
        """``for index in range(size)``."""
        self.e.span(self.e.const(0, I64, 1), self.sizes.value(size), 1, body)

    def when(self, condition: Value, body: Callable[[], None]) -> None:
        e = self.e
        inside, after = e.fresh("inside"), e.fresh("after")
        e.statement(f"br {condition!r}, label %{inside}, label %{after}")
        e.label(inside)
        body()
        e.statement(f"br label %{after}")
        e.label(after)

    def choice(self, choice: Choice) -> None:
        e = self.e
        match choice.condition:
            case Nonzero(dtype=dtype, place=place):
                condition = e.load(self.pointer(place), dtype, 1).differs(0.0)
            case Between():
                condition = self.holds(choice.condition)
            case All(conditions=conditions):
                condition = self.holds(conditions[0])
                for other in conditions[1:]:
                    condition = condition & self.holds(other)
        usual, otherwise, after = e.fresh("usual"), e.fresh("otherwise"), e.fresh("after")
        e.statement(f"br {condition!r}, label %{usual}, label %{otherwise}")
        for label, instructions in ((usual, choice.usual), (otherwise, choice.otherwise)):
            e.label(label)
            for instruction in instructions:
                self.write(instruction)
            e.statement(f"br label %{after}")
        e.label(after)

    def holds(self, condition: Between | Many) -> Value:
        if isinstance(condition, Many):
            return self.work(Work(1.0, condition.sizes)) >= float(condition.least)
        value = self.sizes.value(condition.size)
        return (value >= condition.least) & (value <= condition.most)

    # products

    def product(self, product: Product) -> None:
        a, b, c = (self.pointer(m.place) for m in (product.a, product.b, product.c))
        self.stacked(product, 0, a, b, c)

    def stacked(self, product: Product, axis: int, a: str, b: str, c: str) -> None:
        """The loops over the stack."""
        if axis == len(product.stack):
            self.multiplied(product, a, b, c)
            return
        width = product.dtype.itemsize
        steps = [self.sizes.value(m.strides[axis] * width) for m in (product.a, product.b, product.c)]

        def body(index: Value) -> None:
            moved = [self.moved(x, index * step) for x, step in zip((a, b, c), steps, strict=True)]
            self.stacked(product, axis + 1, *moved)

        self.count(product.stack[axis], body)

    def multiplied(self, product: Product, a: str, b: str, c: str) -> None:
        """One product. BLAS has columns of adjacent elements, so it is told of the transposed matrices, in turn."""
        rows, inner, columns = product.rows, product.inner, product.columns
        for size in (rows, inner, columns):
            self.sizes.at_most(size, INT32)
        turn_a, lead_a = self.leading(product.a, rows, inner)
        turn_b, lead_b = self.leading(product.b, inner, columns)
        _, lead_c = self.leading(product.c, rows, columns)
        alpha = self.pointer(product.alpha) if isinstance(product.alpha, Place) else self.number(product.alpha, product)
        beta = self.number(product.beta, product)
        m, n, k = (self.sizes.value(size) for size in (columns, rows, inner))

        def multiply() -> None:
            if product.gram:
                # above the diagonal, that is below it for BLAS
                self.routine(product, "syrk", "@lower", turn_b, n, k, alpha, a, lead_a, beta, c, lead_c)
                mirror = grams.declared(self.e.module, product.dtype)
                self.e.statement(f"call void @{mirror}(ptr {c}, {n!r}, {lead_c!r})")
            else:
                self.routine(product, "gemm", turn_b, turn_a, m, n, k, alpha, b, lead_b, a, lead_a, beta, c, lead_c)

        if all(isinstance(size, int) for size in (rows, inner, columns)):
            if rows and columns:
                multiply()
            return
        least = self.least([self.sizes.value(size) for size in (rows, inner, columns)])
        zero = self.sizes.value(inner).equals(0)
        self.when(least > 0, multiply)
        nbytes = self.sizes.value(rows * columns * product.dtype.itemsize)
        self.when(zero, lambda: self.clear(c, nbytes))

    def routine(self, product: Product, name: str, *arguments: str | Value) -> None:
        """Call a routine of BLAS, which takes numbers by their addresses."""
        e = self.e
        routine = f"{'s' if product.dtype.itemsize == 4 else 'd'}{name}"
        callee = self.callees.setdefault(routine, f"%callee_{routine}")
        pointers: list[str] = []
        integers = 0
        for argument in arguments:
            if isinstance(argument, str):
                pointers.append(argument)
                continue
            short = argument.text
            if short.startswith("%"):
                short = f"%{e.fresh('short')}"
                e.statement(f"{short} = trunc {argument!r} to i32")
            e.statement(f"store i32 {short}, ptr %integer{integers}")
            pointers.append(f"%integer{integers}")
            integers += 1
        e.statement(f"call void {callee}({', '.join(f'ptr {x}' for x in pointers)})")

    def number(self, number: float, product: Product) -> str:
        """The address of a constant."""
        bits = literal(number, product.dtype)
        name = f"number_{dtype_name(product.dtype)}_{bits}"
        self.e.module.define(name, f"@{name} = internal constant {ELEMENTS[product.dtype]} {bits}")
        return f"@{name}"

    def least(self, values: Sequence[Value]) -> Value:
        found, *others = values
        for other in others:
            found = self.e.select(other < found, other, found)
        return found

    def leading(self, matrix: Matrix, rows: Size, columns: Size) -> tuple[str, Value]:
        """How BLAS reads a matrix: as it is transposed, or turned again; and how far its lines lie apart."""
        down, along = matrix.strides[-2:]
        stride, length, letter = (down, columns, "@plain") if along == 1 else (along, rows, "@turned")
        if isinstance(stride, int) and isinstance(length, int):
            return letter, self.e.const(max(stride, length, 1), I64, 1)
        lead = self.sizes.value(dims.maximum(stride, length, 1))
        self.sizes.at_most(stride, INT32)
        return letter, lead

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

    def loaded(self, pointer: str, kind: DType, index: Value) -> Value:
        """An integer of an array, as 64 bits."""
        e = self.e
        place, found = f"%{e.fresh('p')}", f"%{e.fresh('position')}"
        e.statement(f"{place} = getelementptr {ELEMENTS[kind]}, ptr {pointer}, {index!r}")
        e.statement(f"{found} = load {ELEMENTS[kind]}, ptr {place}, align {kind.itemsize}")
        return e.convert(e.value(found, kind, 1), I64)
