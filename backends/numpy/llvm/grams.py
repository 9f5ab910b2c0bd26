"""Products of a matrix with its own transpose, such as ``x @ x.T``: a triangle by BLAS, and its mirror image.

That is half of the multiplications (BLAS calls it `syrk`), and a result that is symmetric to the bit. The triangle is
turned over by squares that fit into registers, each of which is read and written by whole lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Final

from graphc import dims
from graphc.backends.numpy.llvm import memory
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.instructions import Between, Choice, Instruction, Product, Program
from graphc.backends.numpy.llvm.interleave import interleaved
from graphc.backends.numpy.llvm.module import Features, Module
from graphc.backends.numpy.llvm.values import I64, DType, Value

# Rows from which on a triangle takes less time than the product, by panels too (OpenBLAS 0.3.30 on Zen 4).
LEAST: Final = 80
MOST: Final = (1 << 31) - 1
SQUARE: Final = 32  # bytes of a row of a square: half a line, so that eight rows fit into the registers of every kind
TILE: Final = 64  # rows of a tile: what it reads and writes stays in the first cache
PARAMETERS: Final = "ptr %matrix, i64 %size, i64 %apart"


def chosen(program: Program) -> Program:
    """The program with its products of a matrix and its transpose marked as such, where that is faster."""
    return replace(program, instructions=tuple(_chosen(program.instructions)))


def _chosen(instructions: tuple[Instruction, ...]) -> Iterator[Instruction]:
    for instruction in instructions:
        if not isinstance(instruction, Product) or not is_gram(instruction):
            yield instruction
        elif not isinstance(instruction.rows, int):
            marked = replace(instruction, gram=True)
            yield Choice(Between(instruction.rows, MOST, LEAST), (marked,), (instruction,))
        else:
            yield replace(instruction, gram=instruction.rows >= LEAST)


def is_gram(product: Product) -> bool:
    """Whether the second matrix is the first one, turned, and the product is added to nothing."""
    a, b = product.a, product.b
    (*lead, down, along), (*beside, there, here) = a.strides, b.strides
    same = a.place == b.place and (lead, down, along) == (beside, here, there)
    return same and not product.beta and dims.equal(product.rows, product.columns) is True


def declared(module: Module, dtype: DType) -> str:
    """The name of the function that copies the triangle above the diagonal below it, once a module has it."""
    name = f"graphc.mirror.{dtype.name}"
    text, inside = _helper(name, dtype, module.features)
    module.help(name, f"declare void @{name}({PARAMETERS})", inside, text)
    return name


@lru_cache(maxsize=4)
def _helper(name: str, dtype: DType, features: Features) -> tuple[str, Module]:
    """The function, and what its module has besides it."""
    inside = Module(features)
    e = Emitter(inside)
    e.label("entry")
    lanes = SQUARE // dtype.itemsize
    size, apart = (e.value(f"%{parameter}", I64, 1) for parameter in ("size", "apart"))
    zero = e.const(0, I64, 1)
    whole = e.binary("sdiv", size, lanes) * lanes

    def least(a: Value, b: Value) -> Value:
        return e.select(a < b, a, b)

    def place(row: Value, column: Value) -> str:
        return memory.element(e, "%matrix", row * apart + column, dtype)

    def square(row: Value, column: Value) -> None:
        lines = [e.load(place(row + k, column), dtype, lanes) for k in range(lanes)]
        for k, vector in enumerate(interleaved(e, lines)):
            e.store(vector, place(column + k, row))

    def tile(top: Value, left: Value) -> None:
        """The squares of a tile that lie above the diagonal."""

        def line(row: Value) -> None:
            beyond = row + lanes
            start = e.select(left > beyond, left, beyond)
            e.span(start, least(left + TILE, whole), lanes, lambda column: square(row, column))

        e.span(top, least(top + TILE, whole), lanes, line)

    e.span(zero, whole, TILE, lambda top: e.span(top, whole, TILE, lambda left: tile(top, left)))

    def rest(row: Value) -> None:
        """Of a row, what no square has written: beside the diagonal, or all of it."""
        start = e.select(row < whole, e.binary("sdiv", row, lanes) * lanes, zero)
        e.span(start, row, 1, lambda column: e.store(e.load(place(column, row), dtype, 1), place(row, column)))

    e.span(zero, size, 1, rest)
    e.statement("ret void")
    return "\n".join([f"define void @{name}({PARAMETERS}) nounwind {{", *e.lines, "}"]) + "\n", inside
