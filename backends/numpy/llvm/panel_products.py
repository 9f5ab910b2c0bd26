"""Products of matrices by panels: columns of the second matrix that fill the registers are copied, and stay at hand.

A panel is as many columns as one row of a block of the result takes registers for, and so many rows of the second
matrix that it fits into the second cache. It is copied once, row after row without gaps, and then multiplied by all
rows of the first matrix, a few at a time. These are read where they lie. Meanwhile what comes next is fetched into the
cache: the next panel, by the first of the rows; the lines of a block of the result, which is written, and perhaps added
to, when its terms are added up; and of a first matrix that is turned, the rows to come, which lie in the next lines.
This is the inner part of the algorithm of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication"
(ACM Transactions on Mathematical Software 34, 2008), without its copy of the first matrix.

Each element of the result is added up in the same order, wherever it stands and whichever thread computes it. The code
is the same for all sizes: a function for a dtype and a layout of both matrices, compiled once for all programs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from graphc.backends.numpy.llvm import memory
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.interleave import interleaved
from graphc.backends.numpy.llvm.machine import Machine
from graphc.backends.numpy.llvm.memory import LINE, Tail
from graphc.backends.numpy.llvm.module import Features, Module
from graphc.backends.numpy.llvm.nest import Nest
from graphc.backends.numpy.llvm.panels import COLUMNS, Panels
from graphc.backends.numpy.llvm.values import ELEMENTS, F64, I32, I64, DType, Value
from graphc.kernels import Load

DEPTH: Final = 256  # rows of a panel, and terms that are added up one after the other
ROWS: Final = 2048  # that are multiplied by all panels before the next ones: their pages stay known to the processor
BLOCKS: Final = (6, 4, 2, 1)  # rows of blocks of the result: as many of the first as there are, and the rest by others
ARRAYS: Final = ("left", "right", "added", "result")
SIZES: Final = ("rows", "inner", "columns", "left_apart", "right_apart", "result_apart", "first", "last")
FACTORS: Final = ("scale", "factor")  # of the products, and of what they are added to


class Form(NamedTuple):
    """What a function multiplies: matrices of a dtype; of one that is turned, columns lie in memory as a whole."""

    dtype: DType
    left_turned: bool
    right_turned: bool

    @property
    def parameters(self) -> str:
        """Those of the function, as it is declared."""
        kind = ELEMENTS[self.dtype]
        found = [*(f"ptr %{x}" for x in ARRAYS), *(f"i64 %{x}" for x in SIZES), *(f"{kind} %{x}" for x in FACTORS)]
        return ", ".join(found)

    def __str__(self) -> str:
        turned = (".left" if self.left_turned else "") + (".turned" if self.right_turned else "")
        return f"graphc.panels.{self.dtype.name}{turned}"


def write(nest: Nest, product: Panels, machine: Machine) -> None:
    """The columns that a call is for, of all rows."""
    e, dtype = nest.e, product.left.dtype
    name = declared(e.module, Form(dtype, product.left_turned, product.right_turned), machine)
    nest.index = dict.fromkeys(range(3), nest.zero)

    def place(x: Load) -> str:
        return memory.element(e, nest.source(x.root), nest.affine(x.at), x.dtype)

    result = memory.element(e, nest.target(0), nest.affine(product.store.at), dtype)
    places = [place(product.left), place(product.right), place(product.added) if product.added else result, result]
    apart = [nest.size(stride) for stride in product.apart]
    scale = product.scale
    factors = [
        e.load(place(scale), dtype, 1) if isinstance(scale, Load) else e.const(scale, dtype, 1),
        e.const(product.factor, dtype, 1),
    ]
    arguments = [*(f"ptr {p}" for p in places), *map(repr, (*nest.extents, *apart, *nest.ends, *factors))]
    e.statement(f"call void @{name}({', '.join(arguments)})")


def declared(module: Module, form: Form, machine: Machine) -> str:
    """The name of the function for matrices of a form, once a module has it."""
    name = str(form)
    text, inside = _helper(form, machine.features_used, machine.register)
    module.help(name, f"declare void @{name}({form.parameters})", inside, text)
    return name


@lru_cache(maxsize=16)
def _helper(form: Form, features: Features, register: int) -> tuple[str, Module]:
    """The function, and what its module has besides it."""
    inside = Module(features)
    return _Writer(inside, form, register).text(), inside


class _Panel(NamedTuple):
    """Where a panel begins in the second matrix, and its rows and columns."""

    depth: Value
    column: Value
    rows: Value
    columns: Value


class _Writer:
    """Writes the function."""

    def __init__(self, module: Module, form: Form, register: int) -> None:
        self.e = e = Emitter(module)
        self.form = form
        self.dtype = dtype = form.dtype
        self.counts = I64 if dtype == F64 else I32
        self.lanes = register // dtype.itemsize
        self.vectors = 4 if register == 64 else 2  # with six rows that is 24 sums in 32 registers, or 12 in 16
        self.width = self.vectors * self.lanes
        self.rows, self.inner, self.columns, self.left_apart, self.right_apart, self.result_apart, *ends = (
            e.value(f"%{name}", I64, 1) for name in SIZES
        )
        self.first, self.last = ends
        self.scale, self.factor = (e.value(f"%{name}", dtype, 1) for name in FACTORS)
        self.zero = e.const(0, I64, 1)

    def text(self) -> str:
        """The text of the function."""
        e = self.e
        e.label("entry")
        e.statement(f"%copied = alloca {ELEMENTS[self.dtype]}, i64 {DEPTH * self.width}, align {LINE}")
        start, stop = self.first * COLUMNS, self.least(self.last * COLUMNS, self.columns)

        def rows(top: Value) -> None:
            bottom = self.least(self.rows, top + ROWS)

            def panels(column: Value) -> None:
                columns = self.least(stop - column, e.const(self.width, I64, 1))

                def panel(depth: Value) -> None:
                    found = _Panel(depth, column, self.least(self.inner - depth, e.const(DEPTH, I64, 1)), columns)
                    (self.copy_turned if self.form.right_turned else self.copy)(found)
                    self.multiply(found, top, bottom)

                # sums of no terms are 0
                e.span(self.zero, e.select(self.inner > 0, self.inner, e.const(1, I64, 1)), DEPTH, panel)

            e.span(start, stop, self.width, panels)

        e.span(self.zero, self.rows, ROWS, rows)
        e.statement("ret void")
        return "\n".join([f"define void @{self.form}({self.form.parameters}) nounwind {{", *e.lines, "}"]) + "\n"

    def least(self, a: Value, b: Value) -> Value:
        return self.e.select(a < b, a, b)

    def element(self, base: str, index: Value) -> str:
        return memory.element(self.e, base, index, self.dtype)

    # copying

    def right(self, depth: Value, column: Value) -> str:
        """The address of an element of the second matrix."""
        whole, part = (column, depth) if self.form.right_turned else (depth, column)
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

    def multiply(self, panel: _Panel, top: Value, bottom: Value) -> None:
        """Some rows of the first matrix times the panel."""
        e = self.e
        # many rows use a panel for long; besides, there the columns of the first matrix are fetched
        ahead = None if self.form.left_turned or self.form.right_turned else self.ahead(panel)
        for vectors in range(self.vectors, 0, -1):
            # by as many vectors as the columns fill, the last one in part
            fits = panel.columns > (vectors - 1) * self.lanes
            if vectors < self.vectors:
                fits = fits & (panel.columns <= vectors * self.lanes)
            start, end = top, e.select(fits, bottom, top)
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
        targets = [self.element("%result", (row + r) * self.result_apart + panel.column) for r in range(rows)]
        self.fetch_targets(targets, vectors)
        lines = self.lines(row, rows, panel)
        fetched = None if ahead is None else self.fetched(ahead, row)

        def add(k: Value, sums: list[Value]) -> list[Value]:
            if fetched is not None:
                self.fetch(fetched, k)
            here = [e.load(self.place(k, v * lanes), self.dtype, lanes) for v in range(vectors)]
            found = []
            for r, first in enumerate(self.column(lines, rows, k)):
                factor = e.splat(first, lanes)
                for vector, total in zip(here, sums[r * vectors : (r + 1) * vectors], strict=True):
                    found.append(e.fma(factor, vector, total))
            return found

        sums = e.loop(self.zero, panel.rows, 1, [e.const(0.0, self.dtype, lanes)] * (rows * vectors), add)
        # what the first panel of some columns is added to, if anything; the others go to what is there
        later = panel.depth > 0
        base = f"%{e.fresh('base')}"
        e.statement(f"{base} = select {later!r}, ptr %result, ptr %added")
        places = [self.element(base, (row + r) * self.result_apart + panel.column) for r in range(rows)]
        some = later | self.factor.differs(0.0)
        there = e.select(some, panel.columns, self.zero)
        factor = e.splat(e.select(later, e.const(1.0, self.dtype, 1), self.factor), lanes)
        scale = e.splat(self.scale, lanes)

        def finish(whole: bool, add: bool = True) -> None:
            for number, total in enumerate(sums):
                r, v = divmod(number, vectors)
                at = e.const(v * lanes, I64, 1)
                before = e.const(0.0, self.dtype, lanes)
                if add:
                    read = None if whole else Tail(there - at, lanes, self.counts)
                    before = memory.load(e, places[r], at, 1, self.dtype, lanes, read) * factor
                written = None if whole else Tail(panel.columns - at, lanes, self.counts)
                memory.store(e, e.fma(scale, total, before), targets[r], at, 1, written)

        if (rows, vectors) != (BLOCKS[0], self.vectors):
            finish(whole=False)
            return
        # most blocks are such: they ask once whether they are whole
        e.either(
            panel.columns >= self.width,
            lambda: e.either(some, lambda: finish(whole=True), lambda: finish(whole=True, add=False)),
            lambda: finish(whole=False),
        )

    def lines(self, row: Value, rows: int, panel: _Panel) -> list[str]:
        """Where rows of the first matrix begin, or the column that the panel begins with."""
        if self.form.left_turned:
            return [self.element("%left", panel.depth * self.left_apart + row)]
        return [self.element("%left", (row + r) * self.left_apart + panel.depth) for r in range(rows)]

    def column(self, lines: list[str], rows: int, k: Value) -> list[Value]:
        """Of some rows of the first matrix the elements of column `k`."""
        e = self.e
        if not self.form.left_turned:
            return [e.load(self.element(line, k), self.dtype, 1) for line in lines]
        start = self.element(lines[0], k * self.left_apart)
        # the rows to come lie behind these, soon in the next line of the cache
        self.prefetch(self.element(start, e.const(LINE // self.dtype.itemsize, I64, 1)), 0, 2)
        return [e.load(self.element(start, e.const(r, I64, 1)), self.dtype, 1) for r in range(rows)]

    def fetch_targets(self, targets: list[str], vectors: int) -> None:
        """Fetch lines of the result, which are read when all terms are added up."""
        each = LINE // self.dtype.itemsize
        for target in targets:
            for at in range(0, vectors * self.lanes, each):
                self.prefetch(self.element(target, self.e.const(at, I64, 1)), 1, 3)

    def fetched(self, ahead: str, row: Value) -> str:
        """Where in the next panel a block of rows fetches a line of the cache of each row: in turn, each its own."""
        e = self.e
        count = max(1, self.width * self.dtype.itemsize // LINE)
        turn = e.binary("srem", e.binary("sdiv", row, BLOCKS[0]), count)
        return self.element(ahead, turn * (LINE // self.dtype.itemsize))

    def fetch(self, line: str, row: Value) -> None:
        """Fetch a line of the cache: to read, into the second cache."""
        self.prefetch(self.element(line, row * self.right_apart), 0, 2)

    def prefetch(self, place: str, write: int, near: int) -> None:
        """Ask for a line of the cache; `near` is 3 for the first one."""
        self.e.module.define("llvm.prefetch.p0", "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.e.statement(f"call void @llvm.prefetch.p0(ptr {place}, i32 {write}, i32 {near}, i32 1)")
