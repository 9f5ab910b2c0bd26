"""Which products of matrices are computed panel by panel, by a kernel (see `panel_products`), rather than by BLAS.

BLAS copies both matrices into blocks before it multiplies. The kernel copies a panel of the second matrix alone, as
narrow as its registers hold, and fetches what comes next while it multiplies. It runs on the threads that other kernels
run on, and gives the same bits on any number of them. BLAS has threads of its own, which sleep when they have had
nothing to do for a while, and may wake on the CPU of their caller; and the order in which it adds up depends on their
number.

Measured beside OpenBLAS 0.3.30 on one thread, on grids of 2 to 4,000 rows, 2 to 2,000 terms and 4 to 1,024 columns, in
both precisions and all layouts, with registers of 64 bytes (Zen 4) and of 32 (the same, without AVX-512). Within these
limits panels are faster in geometric mean: with 16 to 512 rows 1.3 times in single precision and 1.17 times in double;
with registers of 64 bytes and up to 4,000 rows 1.07 and 1.14 times, and 1.16 and 1.05 times where the first matrix is
turned. With registers of 32 bytes, of which a quarter hold as many sums, many rows are BLAS's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from graphc.backends.numpy.llvm.instructions import (
    All,
    Between,
    Choice,
    Instruction,
    Many,
    Matrix,
    Place,
    Product,
    Program,
    Run,
)
from graphc.backends.numpy.llvm.machine import Machine
from graphc.dims import Size
from graphc.kernels import Affine, Apply, Fixed, Kernel, Load, Reduce, Store, Value

COLUMNS: Final = 64  # of the result that one call computes at least: a whole number of panels on every processor
COST: Final = 0.2  # additions, for each multiplication
FEWEST: Final = 16  # rows
NARROWEST: Final = 32  # columns
COPIED: Final = 1_000_000  # multiplications: OpenBLAS copies nothing where there are no more
TURNED: Final = (32, 1 << 17)  # but if the second is turned it does, from so many of each size and multiplications on
MOST: Final = (1 << 63) - 1
LEFT, RIGHT, ADDED, SCALE = -1, -2, -3, -4  # roots of kernels that are made here: no node of a graph has such numbers


class Limits(NamedTuple):
    """With which products panels are faster than BLAS: the fewest terms of a sum, columns, and rows by precision."""

    terms: int
    columns: int
    single: int
    double: int
    rows: int = MOST  # at most


# by the bytes of a register, which say how many columns a panel has, and so how often the first matrix is read; where
# they are fewer, panels have not been measured
LIMITS: Final[Mapping[int, Limits]] = {64: Limits(4, 8, 4, 12), 32: Limits(128, 32, 16, 16, 128)}
# where the first matrix is turned, as in gradients of weights; of too many rows the next column lies too far away
LEFT_TURNED: Final[Mapping[int, Limits]] = {64: Limits(8, 8, 4, 16, 4096)}


@dataclass(frozen=True, slots=True)
class Panels:
    """A kernel that multiplies two matrices by panels; its loops are rows, terms of the sums, and columns.

    The result is `scale` times the product, and `factor` times what it is `added` to, if it is. `scale` may be an
    element of an array.
    """

    left: Load
    right: Load
    store: Store
    scale: float | Load = 1.0
    added: Load | None = None
    factor: float = 0.0

    @property
    def left_turned(self) -> bool:
        """Whether columns of the first matrix lie in memory as a whole, not its rows."""
        return self.left.at.strides[1] != 1

    @property
    def right_turned(self) -> bool:
        """Whether columns of the second matrix do."""
        return self.right.at.strides[2] != 1

    @property
    def apart(self) -> tuple[Size, Size, Size]:
        """How far apart lines of the matrices lie, that is rows, or columns of one that is turned."""
        left, right = self.left.at.strides, self.right.at.strides
        return (
            left[1] if self.left_turned else left[0],
            right[2] if self.right_turned else right[1],
            self.store.at.strides[0],
        )


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
    added = _added(kernel)
    found = factors(kernel if added is None else replace(kernel, values=kernel.values[:4]))
    if found is None or len(kernel.sizes) != 3 or kernel.reduced != {1}:
        return None
    a, b, store = found
    if a.dtype.itemsize < 4 or a.at.loops != {0, 1} or b.at.loops != {1, 2} or store.at.loops != {0, 2}:
        return None
    if 1 not in a.at.strides[:2] or store.at.strides[2] != 1 or 1 not in b.at.strides[1:]:
        return None
    if a.root == LEFT:  # it was chosen
        return Panels(a, b, store, *(added or ()))
    rows, inner, columns = kernel.sizes
    if not (isinstance(inner, int) and isinstance(columns, int)) or (isinstance(rows, int) and rows < FEWEST):
        return None
    large = inner * columns * (rows if isinstance(rows, int) else FEWEST) >= TURNED[1] and columns >= NARROWEST
    return Panels(a, b, store) if large else None


def _added(kernel: Kernel) -> tuple[float | Load, Load, float] | None:
    """The number that a product is scaled by, what it is added to, and the number that scales that, as made here."""
    if len(kernel.values) != 10:
        return None
    scale, into, factor = (kernel.values[k] for k in (4, 6, 7))
    if not isinstance(into, Load) or into.root != ADDED or not isinstance(factor, Fixed):
        return None
    assert isinstance(scale, Load | Fixed)
    return scale.number if isinstance(scale, Fixed) else scale, into, factor.number


def chosen(program: Program, machine: Machine) -> Program:
    """The program with those products as kernels that are faster by panels."""
    if machine.register not in LIMITS:
        return program
    kernels = list(program.kernels)
    instructions = tuple(_chosen(i, machine.register, kernels) for i in program.instructions)
    return replace(program, kernels=tuple(kernels), instructions=instructions)


def _chosen(instruction: Instruction, register: int, kernels: list[Kernel]) -> Instruction:
    """The instruction; of a product a kernel in its place, or where sizes have names, the one or the other."""
    if isinstance(instruction, Choice):
        if any(isinstance(i, Product) and i.gram for i in instruction.usual):
            return instruction  # otherwise, there are few rows
        usual, otherwise = (
            tuple(_chosen(i, register, kernels) for i in side) for side in (instruction.usual, instruction.otherwise)
        )
        return replace(instruction, usual=usual, otherwise=otherwise)
    if not isinstance(instruction, Product) or instruction.stack or instruction.gram:
        return instruction
    kernel = _kernel(instruction)
    found = panels(kernel)
    limits = None if found is None else (LEFT_TURNED if found.left_turned else LIMITS).get(register)
    if found is None or limits is None:
        return instruction
    conditions = []
    for condition in _conditions(instruction, found, limits):
        if isinstance(condition, Many) or not isinstance(condition.size, int):
            conditions.append(condition)
        elif not condition.least <= condition.size <= condition.most:
            return instruction
    if kernel not in kernels:
        kernels.append(kernel)
    places = {LEFT: instruction.a.place, RIGHT: instruction.b.place, ADDED: instruction.c.place}
    if isinstance(instruction.alpha, Place):
        places[SCALE] = instruction.alpha
    run = Run(kernels.index(kernel), tuple(places[root] for root in kernel.roots), (instruction.c.place,))
    return Choice(All(tuple(conditions)), (run,), (instruction,)) if conditions else run


def _conditions(product: Product, found: Panels, limits: Limits) -> Iterator[Between | Many]:
    """When panels are faster."""
    rows, inner, columns = product.rows, product.inner, product.columns
    fewest = limits.single if product.dtype.itemsize == 4 else limits.double
    yield Between(columns, MOST, limits.columns)
    yield Between(inner, MOST, limits.terms)
    if not (isinstance(inner, int) and isinstance(columns, int)):
        yield Between(rows, limits.rows, fewest)
        yield Many((rows, inner, columns), COPIED + 1)
        return
    each = max(inner * columns, 1)
    least = max(fewest, COPIED // each + 1)
    if found.right_turned and not found.left_turned and inner >= TURNED[0] and columns >= TURNED[0]:
        least = min(least, max(TURNED[0], -(-TURNED[1] // each)))
    yield Between(rows, limits.rows, least)


def _kernel(product: Product) -> Kernel:
    dtype = product.dtype
    values: tuple[Value, ...] = (
        Load(dtype, LEFT, _at(product.a, 0, 1)),
        Load(dtype, RIGHT, _at(product.b, 1, 2)),
        Apply(dtype, "mul", (0, 1)),
        Reduce(dtype, "sum", 2),
    )
    at = _at(product.c, 0, 2)
    if product.beta or product.alpha != 1.0:
        alpha = product.alpha
        values += (
            Load(dtype, SCALE, Affine.constant(0, 3)) if isinstance(alpha, Place) else Fixed(dtype, alpha),
            Apply(dtype, "mul", (3, 4)),
            Load(dtype, ADDED, at),
            Fixed(dtype, product.beta),
            Apply(dtype, "mul", (6, 7)),
            Apply(dtype, "add", (5, 8)),
        )
    store = Store(len(values) - 1, -1, at)
    return Kernel((product.rows, product.inner, product.columns), values, (store,), frozenset({1}))


def _at(matrix: Matrix, *loops: int) -> Affine:
    """Where the elements of a matrix lie, whose rows and columns are two of three loops."""
    strides = dict(zip(loops, matrix.strides, strict=True))
    return Affine(0, tuple(strides.get(k, 0) for k in range(3)))
