"""Products of matrices by panels: columns of the second matrix that fill the registers are copied, and stay at hand.

A panel is as many columns as one row of a block of the result takes registers for, and so many rows of the second
matrix that it fits into the second cache. It is copied once, row after row without gaps, and then multiplied by all rows
of the first matrix, a few at a time. These are read where they lie. While the first of them are multiplied, what the next
panel consists of is fetched into the cache. This is the inner part of the algorithm of Goto and van de Geijn, "Anatomy of
High-Performance Matrix Multiplication" (ACM Transactions on Mathematical Software 34, 2008), without its copy of the first
matrix.

Each element of the result is added up in the same order, wherever it stands and whichever thread computes it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from graphc.backends.numpy.llvm import memory
from graphc.backends.numpy.llvm.emit import F64, I32, I64, Value
from graphc.backends.numpy.llvm.interleave import interleaved
from graphc.backends.numpy.llvm.machine import Machine
from graphc.backends.numpy.llvm.memory import LINE, Tail
from graphc.backends.numpy.llvm.nest import Nest
from graphc.backends.numpy.llvm.panels import COLUMNS, Panels

DEPTH: Final = 256  # rows of a panel, and terms that are added up one after the other
TOGETHER: Final = 6  # rows of a block of the result
ROWS, INNER, ALONG = range(3)  # the kernel's loops


class _Panel(NamedTuple):
    """Where a panel begins in the second matrix, its rows, and its vectors; `left` columns, if that is not all."""

    depth: Value
    column: Value
    count: Value
    vectors: int
    left: Value | None


def write(nest: Nest, product: Panels, machine: Machine) -> None:
    """The columns that a call is for, of all rows."""
    _Panels(nest, product, machine).write()


class _Panels:
    def __init__(self, nest: Nest, product: Panels, machine: Machine) -> None:
        self.nest = nest
        self.product = product
        self.dtype = product.left.dtype
        self.counts = I64 if self.dtype == F64 else I32
        self.lanes = machine.register // self.dtype.itemsize
        self.vectors = 4 if machine.register == 64 else 2  # with six rows that is 24 sums in 32 registers, or 12 in 16
        self.width = self.vectors * self.lanes
        self.copied = nest.slot(self.dtype, DEPTH * self.width)
        self.rows, self.inner, self.columns = nest.extents

    def write(self) -> None:
        nest, e = self.nest, self.nest.e
        first, last = nest.ends
        start, stop = first * COLUMNS, self.least(last * COLUMNS, self.columns)
        whole = start + e.binary("sdiv", stop - start, self.width) * self.width
        e.span(start, whole, self.width, lambda column: self.deep(column, self.vectors, None))
        size = nest.kernel.sizes[ALONG]
        left = size % self.width if isinstance(size, int) else None
        if left != 0:
            vectors = self.vectors if left is None else -(-left // self.lanes)
            e.span(whole, stop, self.width, lambda column: self.deep(column, vectors, stop - column))

    def deep(self, column: Value, vectors: int, left: Value | None) -> None:
        """Some columns of the result, by one panel after another."""
        e = self.nest.e

        def body(depth: Value) -> None:
            count = self.least(self.inner - depth, e.const(DEPTH, I64, 1))
            panel = _Panel(depth, column, count, vectors, left)
            if self.product.turned:
                self.copy_turned(panel)
            else:
                self.copy(panel)
            self.multiply(panel)

        e.span(self.nest.zero, self.inner, DEPTH, body)

    def least(self, a: Value, b: Value) -> Value:
        return self.nest.e.select(a < b, a, b)

    def tail(self, panel: _Panel, vector: int) -> Tail | None:
        """Which lanes of one of the vectors of a row there are."""
        return None if panel.left is None else Tail(panel.left - vector * self.lanes, self.lanes, self.counts)

    # copying

    def right(self, depth: Value, column: Value) -> str:
        """The address of an element of the second matrix."""
        nest, right = self.nest, self.product.right
        nest.index[INNER], nest.index[ALONG] = depth, column
        return memory.element(nest.e, nest.source(right.root), nest.affine(right.at), self.dtype)

    def place(self, row: Value, column: Value | int) -> str:
        """The address of an element of the copy."""
        return memory.element(self.nest.e, self.copied, row * self.width + column, self.dtype)

    def copy(self, panel: _Panel) -> None:
        """A panel of a matrix whose rows lie in memory as a whole."""
        e = self.nest.e

        def row(k: Value) -> None:
            source = self.right(panel.depth + k, panel.column)
            for v in range(panel.vectors):
                at = e.const(v * self.lanes, I64, 1)
                vector = memory.load(e, source, at, 1, self.dtype, self.lanes, self.tail(panel, v))
                e.store(vector, self.place(k, v * self.lanes))

        e.span(self.nest.zero, panel.count, 1, row)

    def copy_turned(self, panel: _Panel) -> None:
        """A panel of a matrix whose columns lie in memory as a whole: squares of as many rows as lanes are turned."""
        e, lanes, zero = self.nest.e, self.lanes, self.nest.zero
        depth, column, count = panel.depth, panel.column, panel.count
        columns = e.const(self.width, I64, 1) if panel.left is None else panel.left
        across, down = (e.binary("sdiv", size, lanes) * lanes for size in (columns, count))

        def square(c: Value, k: Value) -> None:
            lines = [e.load(self.right(depth + k, column + (c + j)), self.dtype, lanes) for j in range(lanes)]
            for r, vector in enumerate(interleaved(e, lines)):
                e.store(vector, self.place(k + r, c))

        def single(c: Value, k: Value) -> None:
            e.store(e.load(self.right(depth + k, column + c), self.dtype, 1), self.place(k, c))

        e.span(zero, across, lanes, lambda c: e.span(zero, down, lanes, lambda k: square(c, k)))
        e.span(zero, across, 1, lambda c: e.span(down, count, 1, lambda k: single(c, k)))
        if panel.left is not None:
            # lanes beyond the last column are computed too, and not stored: of zeros
            empty, end = e.const(0.0, self.dtype, lanes), e.const(panel.vectors * lanes, I64, 1)
            e.span(across, end, lanes, lambda c: e.span(zero, count, 1, lambda k: e.store(empty, self.place(k, c))))
            e.span(across, columns, 1, lambda c: e.span(zero, count, 1, lambda k: single(c, k)))

    # multiplying

    def multiply(self, panel: _Panel) -> None:
        """All rows of the first matrix times the panel."""
        e = self.nest.e
        ahead = None if self.product.turned else self.ahead(panel)
        start = self.nest.zero
        for rows in self.blocks():
            stop = start + e.binary("sdiv", self.rows - start, rows) * rows
            self.span(start, stop, rows, panel, ahead)
            start = stop

    def span(self, start: Value, stop: Value, rows: int, panel: _Panel, ahead: str | None) -> None:
        self.nest.e.span(start, stop, rows, lambda row: self.block(row, rows, panel, ahead))

    def blocks(self) -> list[int]:
        """Of how many rows blocks are made, the largest first."""
        size = self.nest.kernel.sizes[ROWS]
        if not isinstance(size, int):
            return [TOGETHER, TOGETHER // 2, 1]
        rest = size % TOGETHER
        return [TOGETHER, rest] if rest else [TOGETHER]

    def ahead(self, panel: _Panel) -> str:
        """Where the next panel begins in the second matrix; after the last one that is beyond it, and never read."""
        e = self.nest.e
        deeper = panel.depth + DEPTH
        more = deeper < self.inner
        return self.right(
            e.select(more, deeper, self.nest.zero), e.select(more, panel.column, panel.column + self.width)
        )

    def block(self, row: Value, rows: int, panel: _Panel, ahead: str | None) -> None:
        """Some rows of the result, of the panel's columns."""
        nest, e, vectors = self.nest, self.nest.e, panel.vectors
        left, store = self.product.left, self.product.store
        nest.index[INNER], nest.index[ALONG] = panel.depth, panel.column
        lines, targets = [], []
        for r in range(rows):
            nest.index[ROWS] = row + r
            lines.append(memory.element(e, nest.source(left.root), nest.affine(left.at), self.dtype))
            targets.append(memory.element(e, nest.target(0), nest.affine(store.at), self.dtype))
        fetched = None if ahead is None else self.fetched(ahead, row)

        def add(k: Value, sums: list[Value]) -> list[Value]:
            if fetched is not None:
                self.fetch(fetched, k)
            here = [e.load(self.place(k, v * self.lanes), self.dtype, self.lanes) for v in range(vectors)]
            found = []
            for r, line in enumerate(lines):
                factor = e.splat(e.load(memory.element(e, line, k, self.dtype), self.dtype, 1), self.lanes)
                for vector, total in zip(here, sums[r * vectors : (r + 1) * vectors], strict=True):
                    found.append(e.fma(factor, vector, total))
            return found

        empty = e.const(0.0, self.dtype, self.lanes)
        sums = e.loop(nest.zero, panel.count, 1, [empty] * (rows * vectors), add)

        def finish(more: bool) -> None:
            for number, total in enumerate(sums):
                r, v = divmod(number, vectors)
                at, tail = e.const(v * self.lanes, I64, 1), self.tail(panel, v)
                if more:
                    total = memory.load(e, targets[r], at, 1, self.dtype, self.lanes, tail) + total
                memory.store(e, total, targets[r], at, 1, tail)

        inner = nest.kernel.sizes[INNER]
        if isinstance(inner, int) and inner <= DEPTH:
            finish(more=False)
        else:
            e.either(panel.depth > 0, lambda: finish(more=True), lambda: finish(more=False))

    def fetched(self, ahead: str, row: Value) -> str:
        """Where in the next panel a block of rows fetches a line of the cache of each row: in turn, each its own."""
        e = self.nest.e
        count = max(1, self.width * self.dtype.itemsize // LINE)
        turn = e.binary("srem", e.binary("sdiv", row, TOGETHER), count)
        return memory.element(e, ahead, turn * (LINE // self.dtype.itemsize), self.dtype)

    def fetch(self, line: str, row: Value) -> None:
        e = self.nest.e
        e.module.define("llvm.prefetch.p0", "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        place = memory.element(e, line, row * self.nest.size(self.product.right.at.strides[INNER]), self.dtype)
        e.statement(f"call void @llvm.prefetch.p0(ptr {place}, i32 0, i32 2, i32 1)")  # to read, into the second cache
