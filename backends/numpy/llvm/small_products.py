"""Small matrix products: a block of the result stays in registers while its sums are added up.

BLAS does that too, and better for large matrices; but asking it costs more than multiplying two matrices of a few rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from graphc.backends.numpy.llvm import memory, panels
from graphc.backends.numpy.llvm.machine import Machine
from graphc.backends.numpy.llvm.nest import Nest
from graphc.backends.numpy.llvm.values import ELEMENTS, I64, Value
from graphc.kernels import Kernel, Load

MANY: Final = 1 << 20  # rows: as if there were so many, where their number is not known
UNROLLED: Final = 64  # multiplications of vectors for a block: fewer are written out


@dataclass(frozen=True, slots=True)
class SmallProduct:
    """A kernel that is a stack of products: its operands, and which loops are rows, sums and columns of each."""

    left: Load
    right: Load
    rows: int
    inner: int
    columns: int


def small_product(kernel: Kernel) -> SmallProduct | None:
    """What a kernel is, if it multiplies matrices of known sizes; None if it does something else.

    There may be any number of rows: those of a stack of matrices, all times the same one, follow each other.
    """
    factors = panels.factors(kernel)
    if factors is None:
        return None
    a, b, store = factors
    (inner,) = kernel.reduced
    columns = len(kernel.sizes) - 1
    if columns in (inner, -1) or (columns in a.at.loops) == (columns in b.at.loops) or store.at.strides[columns] != 1:
        return None
    left, right = (b, a) if columns in a.at.loops else (a, b)
    rows = [k for k in left.at.loops & store.at.loops - right.at.loops if k != inner]
    if not rows or inner not in left.at.loops or inner not in right.at.loops:
        return None
    found = SmallProduct(left, right, max(rows), inner, columns)
    sizes = [kernel.sizes[k] for k in (inner, columns)]
    strides = [at.strides[k] for at in (left.at, right.at, store.at) for k in (found.rows, inner, columns)]
    known = all(isinstance(size, int) for size in (*sizes, *strides))
    return found if known and 0 not in (*sizes, kernel.sizes[found.rows]) else None


def write(nest: Nest, product: SmallProduct, machine: Machine) -> None:
    """All products, or those of the kernel's division from the first to the last."""
    _Products(nest, product, machine).open(0)


class _Products:
    def __init__(self, nest: Nest, product: SmallProduct, machine: Machine) -> None:
        self.nest = nest
        self.product = product
        self.dtype = product.left.dtype
        self.registers = 24 if machine.register == 64 else 12  # for sums
        self.lanes = machine.register // self.dtype.itemsize
        matrix = (product.rows, product.inner, product.columns)
        self.stack = [k for k in range(len(nest.kernel.sizes)) if k not in matrix]

    def open(self, depth: int) -> None:
        """The loops over the stack."""
        nest = self.nest
        if depth == len(self.stack):
            self.blocks()
            return
        loop = self.stack[depth]

        def body(held: list[Value]) -> list[Value]:
            self.open(depth + 1)
            return held

        nest.along(loop, *self.range(loop), [], body)

    def range(self, loop: int) -> tuple[Value, Value]:
        """What of a loop this call does: all, if it is not the one that is divided."""
        division = self.nest.schedule.division
        if division is not None and division.loop == loop:
            return self.nest.ends
        return self.nest.zero, self.nest.extents[loop]

    def blocks(self) -> None:
        """Blocks of rows, and of as many columns as the registers hold."""
        nest, e, loop = self.nest, self.nest.e, self.product.rows
        size, columns = nest.kernel.sizes[loop], nest.kernel.sizes[self.product.columns]
        assert isinstance(columns, int)
        vectors = pieces(columns, self.lanes)
        together = min(len(vectors), 4)
        rows = rows_of_block(size if isinstance(size, int) else MANY, self.registers // together)
        start, stop = self.range(loop)
        whole = start + e.binary("sdiv", stop - start, rows) * rows

        def block(count: int, first: Value) -> None:
            for k in range(0, len(vectors), together):
                self.block(first, count, vectors[k : k + together])

        e.span(start, whole, rows, lambda first: block(rows, first))
        if rows > 1:
            e.span(whole, stop, 1, lambda first: block(1, first))

    def block(self, first: Value, count: int, vectors: Sequence[tuple[int, int]]) -> None:
        """The sums of some rows and columns; `vectors` are the first column and the number of lanes of each."""
        nest, e, product = self.nest, self.nest.e, self.product
        left, right = product.left, product.right
        nest.index[product.rows] = first
        nest.index[product.inner] = nest.zero
        nest.index[product.columns] = nest.zero
        a, b = (memory.element(e, nest.source(x.root), nest.affine(x.at), self.dtype) for x in (left, right))
        down, along = left.at.strides[product.rows], left.at.strides[product.inner]
        step, apart = right.at.strides[product.inner], right.at.strides[product.columns]
        assert isinstance(down, int)
        assert isinstance(along, int)
        assert isinstance(step, int)
        assert isinstance(apart, int)

        def add(index: Value, sums: list[Value]) -> list[Value]:
            here, there = self.moved(a, index * along), self.moved(b, index * step)
            row = [
                memory.load(e, self.moved(there, apart * start), nest.zero, apart, self.dtype, lanes, None)
                for start, lanes in vectors
            ]
            found = []
            for k in range(count):
                factor = e.load(self.moved(here, down * k), self.dtype, 1)
                for vector, total in zip(row, sums[k * len(row) :], strict=False):
                    found.append(e.fma(e.splat(factor, vector.lanes), vector, total))
            return found

        sums = [e.const(0.0, self.dtype, lanes) for _ in range(count) for _, lanes in vectors]
        inner = nest.kernel.sizes[product.inner]
        assert isinstance(inner, int)
        if inner * len(sums) <= UNROLLED:
            for k in range(inner):
                sums = add(e.const(k, I64, 1), sums)
        else:
            sums = e.loop(nest.zero, nest.extents[product.inner], 1, sums, add)
        (store,) = nest.kernel.stores
        target = memory.element(e, nest.target(0), nest.affine(store.at), self.dtype)
        below = store.at.strides[product.rows]
        assert isinstance(below, int)
        for k in range(count):
            for (start, _), total in zip(vectors, sums[k * len(vectors) :], strict=False):
                e.store(total, self.moved(target, below * k + start))

    def moved(self, pointer: str, distance: Value | int) -> str:
        """A pointer so many elements on."""
        if distance == 0 or (isinstance(distance, Value) and distance.text == "0"):
            return pointer
        name = f"%{self.nest.e.fresh('p')}"
        far = distance.text if isinstance(distance, Value) else str(distance)
        self.nest.e.statement(f"{name} = getelementptr {ELEMENTS[self.dtype]}, ptr {pointer}, i64 {far}")
        return name


def pieces(columns: int, lanes: int) -> list[tuple[int, int]]:
    """Columns cut into vectors of powers of two: the first column and the number of each.

    >>> pieces(21, 8)
    [(0, 8), (8, 8), (16, 4), (20, 1)]
    """
    found = []
    start = 0
    while start < columns:
        while lanes > columns - start:
            lanes //= 2
        found.append((start, lanes))
        start += lanes
    return found


def rows_of_block(rows: int, most: int) -> int:
    """How many rows are taken together: few are left over.

    >>> rows_of_block(16, 12), rows_of_block(3, 12), rows_of_block(17, 12), rows_of_block(100, 12)
    (8, 3, 8, 10)
    """
    most = min(rows, most)
    return min(range(max(1, most // 2), most + 1), key=lambda count: (rows // count + 2 * (rows % count), -count))
