"""Products of matrices: on views as they are, by a kernel of ours where cuBLAS is slow, and else by cuBLAS.

How arrays of certain shapes and strides are multiplied is found out once; from then on a product costs the host a
look-up, the memory of the result, and a launch.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from graphc.backends.cupy import cublas, small_products, tiled_products
from graphc.backends.cupy.cublas import LARGEST, PLAIN, TRANSPOSED, multiply
from graphc.backends.cupy.launching import flush, launch
from graphc.backends.cupy.library import cupy, device
from graphc.backends.cupy.prelude import C_TYPES

Array = Any  # a cupy.ndarray
Product = Callable[[Array, Array], Array]

REMEMBERED: Final = 1024  # products of shapes and strides
ALIGNED: Final = 16  # bytes, at multiples of which as many are read at a time
NARROW: Final = 1 << 30  # sizes that an index of 32 bits reaches beyond

_products: dict[Any, Product] = {}


class Matrices(NamedTuple):
    """A stack of matrices as cuBLAS reads it: elements between rows (or columns) and between matrices."""

    operation: int
    leading: int
    step: int


class Sizes(NamedTuple):
    """How many matrices there are in a stack, and what sizes a product of two has."""

    stack: int
    rows: int
    inner: int
    columns: int


def matmul(a: Array, b: Array) -> Array:
    """NumPy's product of matrices or stacks of them; what neither we nor cuBLAS multiply, CuPy does."""
    aligned = not (a.data.ptr | b.data.ptr) % ALIGNED
    number = cupy().cuda.runtime.getDevice()
    key = number, aligned, a.shape, a.strides, a.dtype.char, b.shape, b.strides, b.dtype.char
    product = _products.get(key)
    if product is None:
        if len(_products) >= REMEMBERED:
            _products.clear()
        product = _products[key] = _found(a, b, aligned, number)
    return product(a, b)


def _found(a: Array, b: Array, aligned: bool, number: int) -> Product:
    """How to multiply arrays like these, on the device of that number."""
    dtype = a.dtype
    if dtype != b.dtype or dtype.kind != "f" or dtype.itemsize < 4 or cublas.library() is None:
        return _by_cupy
    # a vector is a row on the left, a column on the right
    left, down = ((1, *a.shape), (0, *a.strides)) if a.ndim == 1 else (a.shape, a.strides)
    right, across = ((*b.shape, 1), (*b.strides, 0)) if b.ndim == 1 else (b.shape, b.strides)
    lead = np.broadcast_shapes(left[:-2], right[:-2])
    shape = (*lead, *(left[-2:-1] if a.ndim > 1 else ()), *(right[-1:] if b.ndim > 1 else ()))
    inner = left[-1]
    if 0 in shape:
        return lambda a, b: cupy().empty(shape, dtype)
    if inner == 0:
        return lambda a, b: _zeros(shape, dtype)
    if len(right) == 2 and len(left) > 2 and a.flags.c_contiguous:
        # one product of taller matrices
        left, down = (math.prod(left[:-1]), inner), (inner * dtype.itemsize, dtype.itemsize)
        lead = ()
    x, y = layout(left, down, dtype.itemsize, lead), layout(right, across, dtype.itemsize, lead)
    if x is None or y is None:
        return lambda a, b: matmul(a if x else _copied(a, lead), b if y else _copied(b, lead))
    sizes = Sizes(math.prod(lead), left[-2], inner, right[-1])
    what = sizes, x, y, shape, dtype
    if math.prod(sizes) <= small_products.MOST:
        return _small(*what)
    if max(*sizes, x.leading, y.leading) > LARGEST:
        return _by_cupy
    if dtype.itemsize == 4 and not cublas.tf32() and max(sizes) < NARROW:
        chunk = tiled_products.chunk_of(device(number).processors, *sizes)
        if chunk is not None:
            return _tiled(*what, aligned, chunk)
    return _by_cublas(*what)


def _by_cupy(a: Array, b: Array) -> Array:
    flush()
    return cupy().matmul(a, b)


def _zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    flush()
    return cupy().zeros(shape, dtype)


def _copied(x: Array, lead: tuple[int, ...]) -> Array:
    """A copy that can be read as it is, or one that is nearer to that."""
    flush()
    if x.flags.c_contiguous:  # repeated along some axes of the stack only
        x = cupy().broadcast_to(x, (*lead, *x.shape[-2:]))
    return cupy().ascontiguousarray(x)


def _small(sizes: Sizes, x: Matrices, y: Matrices, shape: tuple[int, ...], dtype: Any) -> Product:
    """The product of small matrices, by a kernel of ours."""
    work = math.prod(sizes)
    results = work // sizes.inner
    lanes = small_products.lanes_of(results, sizes.inner)
    steps = [s for m in (x, y) for s in (m.step, *((m.leading, 1) if m.operation == PLAIN else (1, m.leading)))]
    text = small_products.text(C_TYPES[dtype], lanes)
    block = small_products.THREADS, 1
    grid = -(-results * lanes // small_products.THREADS), 1
    numbers = *sizes, *steps

    def product(a: Array, b: Array) -> Array:
        result = cupy().empty(shape, dtype)
        launch(text, grid, block, (a.data.ptr, b.data.ptr, result.data.ptr, *numbers), work)
        return result

    return product


def _tiled(
    sizes: Sizes, x: Matrices, y: Matrices, shape: tuple[int, ...], dtype: Any, aligned: bool, chunk: int
) -> Product:
    """The product of matrices by a kernel of ours whose blocks share the inner size, and another that adds up."""
    count, rows, inner, columns = sizes

    def operand(m: Matrices, along: bool, extent: int) -> tiled_products.Operand:
        wide = aligned and not (extent | m.leading | m.step) % tiled_products.WIDTH
        return tiled_products.Operand(along, wide)

    # which of an operand's axes has its elements side by side
    a_along, b_along = x.operation == PLAIN, y.operation == TRANSPOSED
    text = tiled_products.text(
        operand(x, a_along, inner if a_along else rows),
        operand(y, b_along, inner if b_along else columns),
        columns % tiled_products.WIDTH == 0,
    )
    grid = tiled_products.grid_of(*sizes, chunk)
    numbers = *sizes, x.step, x.leading, y.step, y.leading, chunk
    results = count * rows * columns
    parts = grid[1] // count
    work = math.prod(sizes)
    height = tiled_products.sharers(results, parts)
    across = tiled_products.JOINED // height
    adds, blocks = tiled_products.join_text(height), -(-results // across)

    def product(a: Array, b: Array) -> Array:
        cp = cupy()
        result = cp.empty(shape, dtype)
        place = cp.cuda.alloc(parts * results * dtype.itemsize)
        launch(text, grid, (tiled_products.THREADS, 1), (a.data.ptr, b.data.ptr, place.ptr, *numbers), work)
        join = place.ptr, result.data.ptr, results, parts
        launch(adds, (blocks, 1), (across, height), join, parts * results)
        return result

    return product


def _by_cublas(sizes: Sizes, x: Matrices, y: Matrices, shape: tuple[int, ...], dtype: Any) -> Product:
    """The product by cuBLAS."""
    count, rows, inner, columns = sizes
    one_pair, stack, number = cublas.GEMM[dtype.itemsize]
    one, zero = number(1), number(0)
    scale, nothing = ctypes.byref(one), ctypes.byref(zero)
    # row by row, the transposed product: columns of the result are its rows
    begin = y.operation, x.operation, columns, rows, inner, scale
    right: tuple[int, ...] = (y.leading,)
    left: tuple[int, ...] = (x.leading,)
    end: tuple[int, ...] = (columns,)
    if count > 1:
        right, left, end = (*right, y.step), (*left, x.step), (columns, rows * columns, count)
    name = one_pair if count == 1 else stack
    library = cublas.library()

    def product(a: Array, b: Array) -> Array:
        flush()
        result = cupy().empty(shape, dtype)
        function = getattr(library, name)
        multiply(function, *begin, b.data.ptr, *right, a.data.ptr, *left, nothing, result.data.ptr, *end)
        return result

    return product


def layout(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int, lead: tuple[int, ...]) -> Matrices | None:
    """How cuBLAS reads matrices with these strides, broadcast to `lead`, without a copy; None if it cannot.

    >>> layout((5, 3, 4), (48, 16, 4), 4, (5,)), layout((3, 4), (4, 12), 4, (5,))
    (Matrices(operation=0, leading=4, step=12), Matrices(operation=1, leading=3, step=0))
    >>> layout((3, 4), (32, 8), 4, ())
    """
    if any(s % itemsize for s in strides):
        return None
    *outer, down, right = (s // itemsize for s in strides)
    rows, columns = shape[-2:]
    # along an axis of one element strides mean nothing
    row = down if rows > 1 else columns
    column = right if columns > 1 else rows
    if (columns == 1 or right == 1) and row >= columns:
        operation, leading = PLAIN, row
    elif (rows == 1 or down == 1) and column >= rows:
        operation, leading = TRANSPOSED, column
    else:
        return None
    step = extent = None
    missing = len(lead) - len(outer)
    for k in reversed(range(len(lead))):
        if lead[k] == 1:
            continue
        stride = 0 if k < missing or shape[k - missing] == 1 else outer[k - missing]
        if step is None:
            step, extent = stride, stride * lead[k]
        elif stride != extent:
            return None
        else:
            extent = stride * lead[k]
    return Matrices(operation, leading, step or 0) if (step or 0) >= 0 else None
