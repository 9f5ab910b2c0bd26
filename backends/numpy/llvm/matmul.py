"""Products of matrices in a native program: by a kernel where the matrices are small, else by BLAS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.backends.numpy.llvm.builder import Builder
from graphc.backends.numpy.llvm.instructions import Matrix, Place, Product
from graphc.backends.numpy.llvm.layouts import Layout
from graphc.dims import Size
from graphc.ir import TensorType
from graphc.kernels import HALF, SINGLE, Affine, Apply, Kernel, Load, Reduce, Store, Value

FLOATS: Final = (np.dtype(np.float32), np.dtype(np.float64))  # of which BLAS knows
# multiplications of a product that a kernel does faster than a call of BLAS: in any case, and where the columns of the
# second matrix are adjacent, so that vectors of them are read as they lie
SMALL: Final = 4096
BLOCKS: Final = 32768
LONGEST: Final = 256  # terms that are added up one after the other, as BLAS does with some hundred
WIDE: Final = 4  # columns from which on a row of the result is worth vectors


def multiply(builder: Builder, a: Layout, b: Layout, target: Layout) -> None:
    """Write the products of two stacks of matrices, each of which is repeated as often as the target needs it."""
    *stack, rows, columns = target.shape
    inner = a.shape[-1]
    a, b = a.broadcast((*stack, rows, inner)), b.broadcast((*stack, inner, columns))
    if inner == 0:
        builder.clear(target)
    elif target.dtype not in FLOATS or inner == 1 or _is_small(b, rows, inner, columns):
        _by_kernel(builder, a, b, target)
    else:
        _by_blas(builder, a, b, target)


def _is_small(b: Layout, rows: Size, inner: Size, columns: Size) -> bool:
    """Whether a kernel is faster than a call of BLAS."""
    return _by_blocks(b, rows, inner, columns) or _few((rows, inner, columns), SMALL)


def _by_blocks(b: Layout, rows: Size, inner: Size, columns: Size) -> bool:
    """Whether a kernel holds blocks of the result in registers (see `small_products`), and is faster than BLAS so."""
    if b.dtype not in FLOATS or rows == 1 or columns == 1 or not (isinstance(inner, int) and 1 < inner <= LONGEST):
        return False
    return _few((rows, inner, columns), BLOCKS if b.strides[-1] == 1 else SMALL)


def _by_kernel(builder: Builder, a: Layout, b: Layout, target: Layout) -> None:
    """A product as a loop nest: along rows of the result if those are long, else along what is summed."""
    *stack, rows, columns = target.shape
    inner = a.shape[-1]
    count = len(stack)
    along_rows = b.strides[-1] == 1 and not (isinstance(columns, int) and columns < WIDE)
    upright = columns == 1 and a.strides[-1] != 1 and a.strides[-2] == 1
    along_rows = along_rows or _by_blocks(b, rows, inner, columns)
    # loops: the stack, then rows, inner and columns in some order
    order = (0, 1, 2) if along_rows else (1, 0, 2) if upright else (0, 2, 1)
    sizes = (rows, inner, columns)
    loops = count + 3
    place = {axis: Affine.index(count + k, loops) for k, axis in enumerate(order)}
    lead = [Affine.index(k, loops) for k in range(count)]
    # the products of half precision are not rounded to it
    dtype = SINGLE if target.dtype == HALF else target.dtype
    values: list[Value] = [
        Load(target.dtype, -1, a.at([*lead, place[0], place[1]], loops)),
        Load(target.dtype, -2, b.at([*lead, place[1], place[2]], loops)),
    ]
    if dtype != target.dtype:
        values += [_cast(dtype, 0), _cast(dtype, 1)]
    values.append(Apply(dtype, "mul", (len(values) - 2, len(values) - 1)))
    reduced = frozenset[int]()
    if inner != 1:
        values.append(Reduce(dtype, "sum", len(values) - 1))
        reduced = frozenset([count + order.index(1)])
    if dtype != target.dtype:
        values.append(_cast(target.dtype, len(values) - 1))
    store = Store(len(values) - 1, -1, target.at([*lead, place[0], place[2]], loops))
    kernel = Kernel((*stack, *(sizes[k] for k in order)), tuple(values), (store,), reduced)
    builder.do(kernel, [Place.of(a), Place.of(b)], [Place.of(target)])


def _by_blas(builder: Builder, a: Layout, b: Layout, target: Layout) -> None:
    *stack, rows, columns = target.shape
    inner = a.shape[-1]
    turned = (*range(len(stack)), len(stack) + 1, len(stack))
    gram = a.transposed(turned) == b  # which is then known by its place, so it is copied once at most
    a = _matrices(builder, a)
    b = a.transposed(turned) if gram else _matrices(builder, b)
    # a stack of matrices times one: a single product of more rows
    while stack and all(s == 0 for s in b.strides[: len(stack)]):
        joined = a.strides[-1] == 1 and a.strides[len(stack) - 1] == a.shape[-2] * a.strides[-2]
        if not joined:
            break
        last = len(stack) - 1
        taken = stack.pop()
        a = _joined(a, last, taken)
        target = _joined(target, last, taken)
        b = Layout(
            b.storage, b.dtype, b.shape[:last] + b.shape[last + 1 :],
            b.strides[:last] + b.strides[last + 1 :], b.offset,
        )  # fmt: skip
        rows = rows * taken
    builder.instructions.append(
        Product(target.dtype, tuple(stack), rows, inner, columns, _matrix(a), _matrix(b), _matrix(target))
    )


def _matrices(builder: Builder, layout: Layout) -> Layout:
    """The same matrices as BLAS takes them: rows or columns of adjacent elements."""
    down, along = layout.strides[-2:]
    if (along == 1 and _apart(down, layout.shape[-1])) or (down == 1 and _apart(along, layout.shape[-2])):
        return layout
    # what is repeated along the stack is copied once
    once = tuple(1 if s == 0 else d for s, d in zip(layout.strides[:-2], layout.shape[:-2], strict=True))
    part = Layout(layout.storage, layout.dtype, (*once, *layout.shape[-2:]), layout.strides, layout.offset)
    found = builder.stored(TensorType(part.shape, part.dtype))
    builder.copy(part, found)
    return found.broadcast(layout.shape)


def _cast(dtype: np.dtype[Any], operand: int) -> Apply:
    return Apply(dtype, "cast", (operand,), (("dtype", dtype), ("weak", False)))


def _few(sizes: Sequence[Size], most: int) -> bool:
    """Whether the product of some sizes is known to be no more than a number."""
    return all(isinstance(d, int) for d in sizes) and dims.less_equal(dims.product(sizes), most) is True


def _apart(stride: Size, size: Size) -> bool:
    """Whether lines this far apart do not overlap."""
    return stride == size or dims.less_equal(size, stride) is True


def _joined(layout: Layout, last: int, taken: Size) -> Layout:
    """A stack's innermost axis joined with the rows."""
    shape = (*layout.shape[:last], taken * layout.shape[-2], layout.shape[-1])
    strides = (*layout.strides[:last], *layout.strides[-2:])
    return Layout(layout.storage, layout.dtype, shape, strides, layout.offset)


def _matrix(layout: Layout) -> Matrix:
    return Matrix(Place.of(layout), layout.strides)
