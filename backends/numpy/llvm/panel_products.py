"""Products of matrices by panels: columns of the second matrix that fill the registers are copied, and stay at hand.

A panel is as many columns as one row of a block of the result takes registers for, and so many rows of the second
matrix that it fits into the second cache. It is copied once, row after row without gaps, and then multiplied by all
rows of the first matrix, a few at a time. These are read where they lie. While the first of them are multiplied, what
the next panel consists of is fetched into the cache. This is the inner part of the algorithm of Goto and van de Geijn,
"Anatomy of High-Performance Matrix Multiplication" (ACM Transactions on Mathematical Software 34, 2008), without its
copy of the first matrix.

Each element of the result is added up in the same order, wherever it stands and whichever thread computes it. The code
is the same for all sizes: a function for a dtype and a layout of the second matrix, compiled once for all programs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from graphc.backends.numpy.llvm import memory
from graphc.backends.numpy.llvm.emit import ELEMENTS, F64, I32, I64, DType, Emitter, Value
from graphc.backends.numpy.llvm.interleave import interleaved
from graphc.backends.numpy.llvm.machine import Machine
from graphc.backends.numpy.llvm.memory import LINE, Tail
from graphc.backends.numpy.llvm.module import Features, Module
from graphc.backends.numpy.llvm.nest import Nest
from graphc.backends.numpy.llvm.panels import COLUMNS, Panels

DEPTH: Final = 256  # rows of a panel, and terms that are added up one after the other
BLOCKS: Final = (6, 4, 2, 1)  # rows of blocks of the result: as many of the first as there are, and the rest by others
ARRAYS: Final = ("left", "right", "result")
SIZES: Final = ("rows", "inner", "columns", "left_apart", "right_apart", "result_apart", "first", "last")
PARAMETERS: Final = ", ".join([*(f"ptr %{x}" for x in ARRAYS), *(f"i64 %{x}" for x in SIZES)])


def write(nest: Nest, product: Panels, machine: Machine) -> None:
    """The columns that a call is for, of all rows."""
    e, loads = nest.e, (product.left, product.right)
    name = declared(e.module, product.left.dtype, product.turned, machine)
    nest.index = dict.fromkeys(range(3), nest.zero)
    places = [memory.element(e, nest.source(x.root), nest.affine(x.at), x.dtype) for x in loads]
    places.append(memory.element(e, nest.target(0), nest.affine(product.store.at), product.left.dtype))
    apart = [nest.size(stride) for stride in product.apart]
    arguments = [*(f"ptr {p}" for p in places), *map(repr, (*nest.extents, *apart, *nest.ends))]
    e.statement(f"call void @{name}({', '.join(arguments)})")


def declared(module: Module, dtype: DType, turned: bool, machine: Machine) -> str:
    """The name of the function for a dtype, and a second matrix that is turned or not, once a module has it."""
    name = f"graphc.panels.{dtype.name}{'.turned' if turned else ''}"
    text, inside = _helper(name, dtype, turned, machine.features_used, machine.register)
    module.help(name, f"declare void @{name}({PARAMETERS})", inside, text)
    return name


@lru_cache(maxsize=16)
def _helper(name: str, dtype: DType, turned: bool, features: Features, register: int) -> tuple[str, Module]:
    """The function, and what its module has besides it."""
    inside = Module(features)
    return _Writer(inside, dtype, turned, register).text(name), inside


class _Panel(NamedTuple):
    """Where a panel begins in the second matrix, and its rows and columns."""

    depth: Value
    column: Value
    rows: Value
    columns: Value


class _Writer:
    """Writes the function. `turned`: whether columns of the second matrix lie in memory as a whole, not its rows."""

    def __init__(self, module: Module, dtype: DType, turned: bool, register: int) -> None:
        self.e = e = Emitter(module)
        self.dtype = dtype
        self.turned = turned
        self.counts = I64 if dtype == F64 else I32
        self.lanes = register // dtype.itemsize
        self.vectors = 4 if register == 64 else 2  # with six rows that is 24 sums in 32 registers, or 12 in 16
        self.width = self.vectors * self.lanes
        self.rows, self.inner, self.columns, self.left_apart, self.right_apart, self.result_apart, *ends = (
            e.value(f"%{name}", I64, 1) for name in SIZES
        )
        self.first, self.last = ends
        self.zero = e.const(0, I64, 1)

    def text(self, name: str) -> str:
        """The text of the function."""
        e = self.e
        e.label("entry")
        e.statement(f"%copied = alloca {ELEMENTS[self.dtype]}, i64 {DEPTH * self.width}, align {LINE}")
        start, stop = self.first * COLUMNS, self.least(self.last * COLUMNS, self.columns)

        def panels(column: Value) -> None:
            columns = self.least(stop - column, e.const(self.width, I64, 1))

            def panel(depth: Value) -> None:
                found = _Panel(depth, column, self.least(self.inner - depth, e.const(DEPTH, I64, 1)), columns)
                (self.copy_turned if self.turned else self.copy)(found)
                self.multiply(found)

            # sums of no terms are 0
            e.span(self.zero, e.select(self.inner > 0, self.inner, e.const(1, I64, 1)), DEPTH, panel)

        e.span(start, stop, self.width, panels)
        e.statement("ret void")
        return "\n".join([f"define void @{name}({PARAMETERS}) nounwind {{", *e.lines, "}"]) + "\n"

    def least(self, a: Value, b: Value) -> Value:
        return self.e.select(a < b, a, b)

    def element(self, base: str, index: Value) -> str:
        return memory.element(self.e, base, index, self.dtype)

    # copying

    def right(self, depth: Value, column: Value) -> str:
        """The address of an element of the second matrix."""
        whole, part = (column, depth) if self.turned else (depth, column)
        return self.element("%right", whole * self.right_apart + part)

    def place(self, row: Value, column: Value | int) -> str:
        """The address of an element of the copy."""
        return self.element("%copied", row * self.width + column)

    def copy(self, panel: _Panel) -> None:
        """A panel of a matrix whose rows lie in memory as a whole."""
        e = self.e

        def row(k: Value) -> None:
            source = self.right(panel.depth + k, panel.column)
            for v in range(self.vectors):
                at = e.const(v * self.lanes, I64, 1)
                lanes = Tail.of(panel.columns - at, self.lanes, self.counts)
                e.store(memory.load(e, source, at, 1, self.dtype, self.lanes, lanes), self.place(k, v * self.lanes))

        e.span(self.zero, panel.rows, 1, row)

    def copy_turned(self, panel: _Panel) -> None:
        """A panel of a matrix whose columns lie in memory as a whole: squares of as many rows as lanes are turned."""
        e, lanes, zero = self.e, self.lanes, self.zero
        across, down = (e.binary("sdiv", size, lanes) * lanes for size in (panel.columns, panel.rows))

        def square(c: Value, k: Value) -> None:
            here, there = panel.depth + k, panel.column + c
            lines = [e.load(self.right(here, there + j), self.dtype, lanes) for j in range(lanes)]
            for r, vector in enumerate(interleaved(e, lines)):
                e.store(vector, self.place(k + r, c))

        def single(c: Value, k: Value) -> None:
            e.store(e.load(self.right(panel.depth + k, panel.column + c), self.dtype, 1), self.place(k, c))

        e.span(zero, across, lanes, lambda c: e.span(zero, down, lanes, lambda k: square(c, k)))
        e.span(zero, across, 1, lambda c: e.span(down, panel.rows, 1, lambda k: single(c, k)))
        # lanes beyond the last column are computed too, and not stored: of zeros
        empty, end = e.const(0.0, self.dtype, lanes), e.const(self.width, I64, 1)
        e.span(across, end, lanes, lambda c: e.span(zero, panel.rows, 1, lambda k: e.store(empty, self.place(k, c))))
        e.span(across, panel.columns, 1, lambda c: e.span(zero, panel.rows, 1, lambda k: single(c, k)))

    # multiplying

    def multiply(self, panel: _Panel) -> None:
        """All rows of the first matrix times the panel."""
        e = self.e
        ahead = None if self.turned else self.ahead(panel)
        for vectors in range(self.vectors, 0, -1):
            # by as many vectors as the columns fill, the last one in part
            fits = panel.columns > (vectors - 1) * self.lanes
            if vectors < self.vectors:
                fits = fits & (panel.columns <= vectors * self.lanes)
            start, end = self.zero, e.select(fits, self.rows, self.zero)
            for rows in BLOCKS:
                stop = start + e.binary("sdiv", end - start, rows) * rows
                self.blocks((start, stop), (rows, vectors), panel, ahead)
                start = stop

    def blocks(self, span: tuple[Value, Value], size: tuple[int, int], panel: _Panel, ahead: str | None) -> None:
        """Blocks of the result, each of so many rows and vectors."""
        self.e.span(*span, size[0], lambda row: self.block(row, *size, panel, ahead))

    def ahead(self, panel: _Panel) -> str:
        """Where the next panel begins in the second matrix; after the last one that is beyond it, and never read."""
        e = self.e
        deeper = panel.depth + DEPTH
        more = deeper < self.inner
        return self.right(e.select(more, deeper, self.zero), e.select(more, panel.column, panel.column + self.width))

    def block(self, row: Value, rows: int, vectors: int, panel: _Panel, ahead: str | None) -> None:
        """Some rows of the result, of the panel's columns."""
        e, lanes = self.e, self.lanes
        lines = [self.element("%left", (row + r) * self.left_apart + panel.depth) for r in range(rows)]
        fetched = None if ahead is None else self.fetched(ahead, row)

        def add(k: Value, sums: list[Value]) -> list[Value]:
            if fetched is not None:
                self.fetch(fetched, k)
            here = [e.load(self.place(k, v * lanes), self.dtype, lanes) for v in range(vectors)]
            found = []
            for r, line in enumerate(lines):
                factor = e.splat(e.load(self.element(line, k), self.dtype, 1), lanes)
                for vector, total in zip(here, sums[r * vectors : (r + 1) * vectors], strict=True):
                    found.append(e.fma(factor, vector, total))
            return found

        sums = e.loop(self.zero, panel.rows, 1, [e.const(0.0, self.dtype, lanes)] * (rows * vectors), add)
        # of the first panel of some columns there is nothing in the result yet
        there = e.select(panel.depth > 0, panel.columns, self.zero)
        for number, total in enumerate(sums):
            r, v = divmod(number, vectors)
            at = e.const(v * lanes, I64, 1)
            target = self.element("%result", (row + r) * self.result_apart + panel.column)
            before = Tail(there - at, lanes, self.counts)
            whole = memory.load(e, target, at, 1, self.dtype, lanes, before) + total
            memory.store(e, whole, target, at, 1, Tail(panel.columns - at, lanes, self.counts))

    def fetched(self, ahead: str, row: Value) -> str:
        """Where in the next panel a block of rows fetches a line of the cache of each row: in turn, each its own."""
        e = self.e
        count = max(1, self.width * self.dtype.itemsize // LINE)
        turn = e.binary("srem", e.binary("sdiv", row, BLOCKS[0]), count)
        return self.element(ahead, turn * (LINE // self.dtype.itemsize))

    def fetch(self, line: str, row: Value) -> None:
        """Fetch a line of the cache: to read, into the second cache."""
        e = self.e
        e.module.define("llvm.prefetch.p0", "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        place = self.element(line, row * self.right_apart)
        e.statement(f"call void @llvm.prefetch.p0(ptr {place}, i32 0, i32 2, i32 1)")
