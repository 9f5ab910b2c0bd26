"""Products of matrices by BLAS, called by the addresses of its routines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from graphc import dims
from graphc.backends.numpy.llvm import grams
from graphc.backends.numpy.llvm.externals import dtype_name
from graphc.backends.numpy.llvm.instructions import Matrix, Place, Product
from graphc.backends.numpy.llvm.places import Places
from graphc.backends.numpy.llvm.values import ELEMENTS, I64, Value, literal
from graphc.dims import Size

INT32: Final = (1 << 31) - 1  # sizes that BLAS takes

PRELUDE: Final = """
@plain = internal constant i8 78
@turned = internal constant i8 84
@lower = internal constant i8 76
"""


class Blas:
    """Writes products. Around them, in the same function, `%integer0`, ... have room for numbers of 32 bits."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.e = places.e
        self.sizes = places.sizes

    def write(self, product: Product) -> None:
        a, b, c = (self.places.pointer(m.place) for m in (product.a, product.b, product.c))
        self.stacked(product, 0, a, b, c)

    def stacked(self, product: Product, axis: int, a: str, b: str, c: str) -> None:
        """The loops over the stack."""
        if axis == len(product.stack):
            self.multiplied(product, a, b, c)
            return
        width = product.dtype.itemsize
        steps = [self.sizes.value(m.strides[axis] * width) for m in (product.a, product.b, product.c)]

        def body(index: Value) -> None:
            moved = [self.places.moved(x, index * step) for x, step in zip((a, b, c), steps, strict=True)]
            self.stacked(product, axis + 1, *moved)

        self.places.count(product.stack[axis], body)

    def multiplied(self, product: Product, a: str, b: str, c: str) -> None:
        """One product. BLAS has columns of adjacent elements, so it is told of the transposed matrices, in turn."""
        rows, inner, columns = product.rows, product.inner, product.columns
        for size in (rows, inner, columns):
            self.sizes.at_most(size, INT32)
        turn_a, lead_a = self.leading(product.a, rows, inner)
        turn_b, lead_b = self.leading(product.b, inner, columns)
        _, lead_c = self.leading(product.c, rows, columns)
        alpha, beta = (self.factor(number, product) for number in (product.alpha, product.beta))
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
        self.places.when(least > 0, multiply)
        nbytes = self.sizes.value(rows * columns * product.dtype.itemsize)
        self.places.when(zero, lambda: self.places.clear(c, nbytes))

    def routine(self, product: Product, name: str, *arguments: str | Value) -> None:
        """Call a routine of BLAS, which takes numbers by their addresses."""
        e = self.e
        routine = f"{'s' if product.dtype.itemsize == 4 else 'd'}{name}"
        callee = self.places.callee(routine)
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

    def factor(self, number: float | Place, product: Product) -> str:
        """The address of a number."""
        if isinstance(number, Place):
            return self.places.pointer(number)
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
