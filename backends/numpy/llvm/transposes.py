"""Arrays that a kernel reads across: adjacent elements along another loop than the one that runs by vectors.

Gathering the lanes of a vector one by one takes a line of the cache for each. So blocks of such an array are transposed
first, as many elements a side as a vector has lanes. Vectors along the other loop are read, their elements change
places in registers, two vectors at a time (J. O. Eklundh, "A fast computer method for matrix transposing", 1972), and
the kernel reads the block row by row. What transposes is a function for each size of an element, compiled once for all
programs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from graphc.backends.numpy.llvm import memory
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.module import Features, Module
from graphc.backends.numpy.llvm.values import I64, DType, Value
from graphc.kernels import Kernel, Load, Reduce

SHORTEST: Final = 8  # points of a loop along which blocks are worth it
MOST: Final = 4  # arrays of which a kernel has blocks: each takes as much of the stack as a block
WIDTH: Final = 64  # elements of a row of a block at least
WIDE: Final = 256  # bytes of it at least: vectors have so many at most
BLOCK: Final = 1 << 14  # bytes of a block: some of them, and the rows that are written, fit into the first cache
FEWEST: Final = 4  # vectors that change places
LANES: Final = 16  # elements of such a vector at most
PARAMETERS: Final = "ptr %source, i64 %apart, ptr %target, i64 %pitch, i64 %rows, i64 %columns"


@dataclass(frozen=True, slots=True)
class Turned:
    """Loads that find adjacent elements along an outer loop, and lie apart along the last one.

    height, width: points of the two loops in a block.
    """

    loop: int
    loads: tuple[int, ...]
    height: int
    width: int


def turned(kernel: Kernel, apart: Collection[int]) -> Turned | None:
    """The loads of which a kernel had better transpose blocks first; None if there are none, or it folds.

    apart: loads whose lanes lie so near to each other that shuffles of whole vectors give them.
    """
    last = len(kernel.sizes) - 1
    if last < 1 or not _long(kernel, last) or any(isinstance(v, Reduce) for v in kernel.values):
        return None
    found = {i: _outer_loop(kernel, v) for i, v in enumerate(kernel.values) if isinstance(v, Load) and i not in apart}
    loops = Counter(loop for loop in found.values() if loop is not None)
    if not loops:
        return None
    ((loop, _),) = loops.most_common(1)
    loads = tuple([i for i in found if found[i] == loop][:MOST])
    widest = max(kernel.values[i].dtype.itemsize for i in loads)
    width = max(WIDTH, WIDE // widest)
    return Turned(loop, loads, BLOCK // (width * widest), width)


def _long(kernel: Kernel, loop: int) -> bool:
    size = kernel.sizes[loop]
    return not isinstance(size, int) or size >= SHORTEST


def _outer_loop(kernel: Kernel, load: Load) -> int | None:
    """The outer loop along which the elements that a load finds are adjacent, if they lie apart along the last one."""
    if load.within or load.at.strides[-1] in (-1, 0, 1):
        return None
    return next((k for k, s in enumerate(load.at.strides[:-1]) if s == 1 and _long(kernel, k)), None)


def declared(module: Module, dtype: DType, register: int) -> str:
    """The name of the function for elements of as many bytes, once a module has it.

    It writes ``target[row * pitch + column] = source[row + column * apart]``, counted in elements.
    """
    size = memory.stored(dtype).itemsize
    name = f"graphc.transpose.{size}"
    text, inside = _helper(name, size, module.features, register)
    module.help(name, f"declare void @{name}({PARAMETERS})", inside, text)
    return name


@lru_cache(maxsize=16)
def _helper(name: str, size: int, features: Features, register: int) -> tuple[str, Module]:
    inside = Module(features)
    return _Writer(inside, np.dtype(f"u{size}"), register).text(name), inside


class _Writer:
    """Writes the function for elements of a dtype."""

    def __init__(self, module: Module, dtype: DType, register: int) -> None:
        self.e = e = Emitter(module)
        self.dtype = dtype
        self.lanes = min(LANES, register // dtype.itemsize)
        self.apart, self.pitch, self.rows, self.columns = (
            e.value(f"%{name}", I64, 1) for name in ("apart", "pitch", "rows", "columns")
        )
        self.zero = e.const(0, I64, 1)

    def text(self, name: str) -> str:
        """The largest squares that fit between both sides; those at the end overlap with the ones before."""
        e = self.e
        e.label("entry")
        side = e.select(self.rows < self.columns, self.rows, self.columns)
        for lanes in self.sides():
            fits, smaller = e.fresh("fits"), e.fresh("smaller")
            e.statement(f"br {side >= lanes!r}, label %{fits}, label %{smaller}")
            e.label(fits)
            self.everywhere(lanes)
            e.statement("ret void")
            e.label(smaller)
        self.everywhere(1)
        e.statement("ret void")
        return "\n".join([f"define void @{name}({PARAMETERS}) nounwind {{", *e.lines, "}"]) + "\n"

    def sides(self) -> Iterator[int]:
        """Elements a side of the squares, larger ones first."""
        lanes = self.lanes
        while lanes >= min(FEWEST, self.lanes):
            yield lanes
            lanes //= 2

    def everywhere(self, lanes: int) -> None:
        """Squares of so many elements a side: along what is adjacent in the source first."""
        e = self.e
        last_row, last_column = self.rows - lanes, self.columns - lanes

        def columns(column: Value) -> None:
            column = e.select(column < last_column, column, last_column)

            def rows(row: Value) -> None:
                self.square(lanes, e.select(row < last_row, row, last_row), column)

            e.span(self.zero, self.rows, lanes, rows)

        e.span(self.zero, self.columns, lanes, columns)

    def square(self, lanes: int, row: Value, column: Value) -> None:
        e = self.e
        vectors = []
        place = row + column * self.apart
        for k in range(lanes):
            vectors.append(e.load(memory.element(e, "%source", place, self.dtype), self.dtype, lanes))
            if k + 1 < lanes:
                place = place + self.apart
        place = row * self.pitch + column
        for k, vector in enumerate(transposed(e, vectors)):
            e.store(vector, memory.element(e, "%target", place, self.dtype))
            if k + 1 < lanes:
                place = place + self.pitch


def transposed(e: Emitter, vectors: list[Value]) -> list[Value]:
    """As many vectors as each has lanes: the first lanes of all, the second ones, and so on."""
    lanes, distance = len(vectors), 1
    while distance < lanes:
        found = list(vectors)
        for k in range(lanes):
            if k & distance:
                continue
            a, b = vectors[k], vectors[k + distance]
            # of each pair of groups of lanes the first ones of both vectors, then the second ones
            firsts = [lane if not lane & distance else lanes + lane - distance for lane in range(lanes)]
            seconds = [lane + distance if not lane & distance else lanes + lane for lane in range(lanes)]
            found[k], found[k + distance] = e.shuffle(a, b, firsts), e.shuffle(a, b, seconds)
        vectors, distance = found, 2 * distance
    return vectors
