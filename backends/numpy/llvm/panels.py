"""Which products of matrices are computed panel by panel, by a kernel (see `panel_products`), rather than by BLAS.

BLAS copies both matrices into blocks before it multiplies. Where the first has few rows, it has hardly begun to use what
it copied when it is done with it: with 100 rows that is a tenth of its time. The kernel copies a panel of the second
matrix alone, as narrow as its registers hold, and fetches the next one while it multiplies by this one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from graphc.backends.numpy.llvm.instructions import Between, Choice, Instruction, Matrix, Product, Program, Run
from graphc.dims import Size
from graphc.kernels import Affine, Apply, Kernel, Load, Reduce, Store, Value

COLUMNS: Final = 64  # of the result that one call computes at least: a whole number of panels on every processor
FEWEST: Final = (16, 64, 64)  # rows, terms of a sum, and columns; below, BLAS is as fast
MOST_ROWS: Final = 1024  # from here on BLAS has much to do with what it copied
LEAST: Final = 1 << 18  # multiplications
COST: Final = 0.2  # additions, for each multiplication


@dataclass(frozen=True, slots=True)
class Panels:
    """A kernel that multiplies two matrices by panels; its loops are rows, terms of the sums, and columns."""

    left: Load
    right: Load
    store: Store

    @property
    def turned(self) -> bool:
        """Whether columns of the second matrix lie in memory as a whole, not its rows."""
        return self.right.at.strides[2] != 1

    @property
    def apart(self) -> tuple[Size, Size, Size]:
        """How far apart lines of the matrices lie, that is rows, or columns of a second one that is turned."""
        right = self.right.at.strides
        return self.left.at.strides[0], right[2] if self.turned else right[1], self.store.at.strides[0]


def panels(kernel: Kernel) -> Panels | None:
    """What a kernel is, if it is one that is multiplied by panels; None if it is something else."""
    if len(kernel.values) != 4 or len(kernel.stores) != 1 or len(kernel.sizes) != 3 or kernel.reduced != {1}:
        return None
    a, b, product, total = kernel.values
    if not (isinstance(a, Load) and isinstance(b, Load) and isinstance(product, Apply) and isinstance(total, Reduce)):
        return None
    if product.op != "mul" or total.fold != "sum" or total.across or a.within or b.within or a.dtype.kind != "f":
        return None
    (store,) = kernel.stores
    if a.dtype.itemsize < 4 or a.at.loops != {0, 1} or b.at.loops != {1, 2} or store.at.loops != {0, 2}:
        return None
    if a.at.strides[1] != 1 or store.at.strides[2] != 1 or 1 not in b.at.strides[1:]:
        return None
    return Panels(a, b, store) if _worth_it(*kernel.sizes) else None


def chosen(program: Program) -> Program:
    """The program with those products as kernels that are better multiplied by panels."""
    kernels = list(program.kernels)
    instructions = [_chosen(i, kernels) if isinstance(i, Product) else i for i in program.instructions]
    return replace(program, kernels=tuple(kernels), instructions=tuple(instructions))


def _chosen(product: Product, kernels: list[Kernel]) -> Instruction:
    if product.stack or product.beta or product.alpha != 1.0:
        return product
    kernel = _kernel(product)
    if panels(kernel) is None:
        return product
    if kernel not in kernels:
        kernels.append(kernel)
    run = Run(kernels.index(kernel), (product.a.place, product.b.place), (product.c.place,))
    if isinstance(product.rows, int):
        return run
    return Choice(Between(product.rows, MOST_ROWS, FEWEST[0]), (run,), (product,))


def _kernel(product: Product) -> Kernel:
    dtype = product.dtype
    values: tuple[Value, ...] = (
        Load(dtype, -1, _at(product.a, 0, 1)),
        Load(dtype, -2, _at(product.b, 1, 2)),
        Apply(dtype, "mul", (0, 1)),
        Reduce(dtype, "sum", 2),
    )
    store = Store(3, -1, _at(product.c, 0, 2))
    return Kernel((product.rows, product.inner, product.columns), values, (store,), frozenset({1}))


def _at(matrix: Matrix, *loops: int) -> Affine:
    """Where the elements of a matrix lie, whose rows and columns are two of three loops."""
    strides = dict(zip(loops, matrix.strides, strict=True))
    return Affine(0, tuple(strides.get(k, 0) for k in range(3)))


def _worth_it(rows: Size, inner: Size, columns: Size) -> bool:
    """Whether panels are faster than BLAS for all sizes, or, if they are named, for usual numbers of rows."""
    sizes: Sequence[Size] = (rows, inner, columns)
    if any(isinstance(d, int) and d < least for d, least in zip(sizes, FEWEST, strict=True)):
        return False
    if isinstance(rows, int) and rows > MOST_ROWS:
        return False
    return any(not isinstance(d, int) for d in sizes) or math.prod(map(int, sizes)) >= LEAST  # type: ignore[arg-type]
