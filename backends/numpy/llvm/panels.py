"""Which products of matrices are computed panel by panel, by a kernel (see `panel_products`), rather than by BLAS.

BLAS copies both matrices into blocks before it multiplies. Where the first has few rows, it has hardly begun to use
what it copied when it is done with it. The kernel copies a panel of the second matrix alone, as narrow as its registers
hold, and fetches the next one while it multiplies by this one. With many rows it is BLAS that is faster, which keeps
blocks of the first matrix at hand too.

Measured beside OpenBLAS 0.3.30 on a grid of 4 to 1,000 rows and 10 to 1,000 terms and columns, in both precisions and
layouts, with registers of 64 bytes (Zen 4) and of 32 (the same, without AVX-512): within these limits 1.3 times as fast
in geometric mean in single precision, 1.17 times in double.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from graphc.backends.numpy.llvm.instructions import Between, Choice, Instruction, Matrix, Product, Program, Run
from graphc.backends.numpy.llvm.machine import Machine
from graphc.dims import Size
from graphc.kernels import Affine, Apply, Kernel, Load, Reduce, Store, Value

COLUMNS: Final = 64  # of the result that one call computes at least: a whole number of panels on every processor
COST: Final = 0.2  # additions, for each multiplication
FEWEST: Final = 16  # rows
NARROWEST: Final = 32  # columns
COPIED: Final = 1_000_000  # multiplications: OpenBLAS copies nothing where there are no more
TURNED: Final = (32, 1 << 17)  # but if the second matrix is turned it does, from so many rows and multiplications on


class Limits(NamedTuple):
    """The fewest terms of a sum and the most rows with which panels are faster than BLAS."""

    terms: int
    rows: int


# by the bytes of a register, which say how many columns a panel has, and so how often the first matrix is read; where
# they are fewer, panels have not been measured
LIMITS: Final[Mapping[int, Limits]] = {64: Limits(32, 512), 32: Limits(128, 128)}


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


def factors(kernel: Kernel) -> tuple[Load, Load, Store] | None:
    """The factors and the result of a kernel that adds up products of floats along a loop; None if it is another."""
    if len(kernel.values) != 4 or len(kernel.stores) != 1 or len(kernel.reduced) != 1:
        return None
    a, b, product, total = kernel.values
    if not (isinstance(a, Load) and isinstance(b, Load) and isinstance(product, Apply) and isinstance(total, Reduce)):
        return None
    if product.op != "mul" or total.fold != "sum" or total.across or a.within or b.within or a.dtype.kind != "f":
        return None
    return a, b, kernel.stores[0]


def panels(kernel: Kernel) -> Panels | None:
    """What a kernel is, if it is multiplied by panels: two matrices of more than a few elements; else None."""
    found = factors(kernel)
    if found is None or len(kernel.sizes) != 3 or kernel.reduced != {1}:
        return None
    a, b, store = found
    if a.dtype.itemsize < 4 or a.at.loops != {0, 1} or b.at.loops != {1, 2} or store.at.loops != {0, 2}:
        return None
    if a.at.strides[1] != 1 or store.at.strides[2] != 1 or 1 not in b.at.strides[1:]:
        return None
    rows, inner, columns = kernel.sizes
    if not (isinstance(inner, int) and isinstance(columns, int)) or (isinstance(rows, int) and rows < FEWEST):
        return None
    large = inner * columns * (rows if isinstance(rows, int) else FEWEST) >= TURNED[1] and columns >= NARROWEST
    return Panels(a, b, store) if large else None


def chosen(program: Program, machine: Machine) -> Program:
    """The program with those products as kernels that are faster by panels."""
    limits = LIMITS.get(machine.register)
    if limits is None:
        return program
    kernels = list(program.kernels)
    instructions = tuple(_chosen(i, limits, kernels) if isinstance(i, Product) else i for i in program.instructions)
    return replace(program, kernels=tuple(kernels), instructions=instructions)


def _chosen(product: Product, limits: Limits, kernels: list[Kernel]) -> Instruction:
    """The product, or a kernel in its place; where the number of rows has a name, the one or the other."""
    if product.stack or product.beta or product.alpha != 1.0 or product.gram:
        return product
    kernel = _kernel(product)
    found = panels(kernel)
    rows, inner, columns = kernel.sizes
    if found is None or not isinstance(inner, int) or not isinstance(columns, int) or inner < limits.terms:
        return product
    each = inner * columns
    least = max(FEWEST, COPIED // each + 1)
    if found.turned:
        least = min(least, max(TURNED[0], -(-TURNED[1] // each)))
    if isinstance(rows, int) and not least <= rows <= limits.rows:
        return product
    if kernel not in kernels:
        kernels.append(kernel)
    run = Run(kernels.index(kernel), (product.a.place, product.b.place), (product.c.place,))
    return run if isinstance(rows, int) else Choice(Between(rows, limits.rows, least), (run,), (product,))


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
