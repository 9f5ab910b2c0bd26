"""Products of matrices by cuBLAS, called directly: on views as they are, and inside of a recording.

CuPy's own product copies transposed stacks of matrices, and refuses to be part of a CUDA graph. Here cuBLAS gets its
workspace from CuPy's pool for each product, in the order of the stream; so a recording owns what it uses.
"""

from __future__ import annotations

import ctypes
import math
import os
from ctypes import c_int, c_longlong, c_size_t, c_void_p
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from graphc.backends.cupy import small_products
from graphc.backends.cupy.launching import flush, launch
from graphc.backends.cupy.library import cupy
from graphc.backends.cupy.prelude import C_TYPES
from graphc.errors import GraphcError

Array = Any  # a cupy.ndarray

# Numbers of cublas_api.h and library_types.h.
PLAIN: Final = 0
TRANSPOSED: Final = 1
SINGLE: Final = (0, 68, ctypes.c_float)  # CUDA_R_32F, CUBLAS_COMPUTE_32F
DOUBLE: Final = (1, 70, ctypes.c_double)  # CUDA_R_64F, CUBLAS_COMPUTE_64F
COMPUTE_TF32: Final = 77
DEFAULT_ALGORITHM: Final = -1

LARGEST: Final = (1 << 31) - 1
WORKSPACE: Final = (1 << 20, 32 << 20)  # the least and the most bytes
SPLITS: Final = 32  # parts of a sum that a workspace has room for


class Matrices(NamedTuple):
    """A stack of matrices as cuBLAS reads it: elements between rows (or columns) and between matrices."""

    operation: int
    leading: int
    step: int


def matmul(a: Array, b: Array) -> Array:
    """NumPy's product of matrices or stacks of them; what neither we nor cuBLAS multiply, CuPy does."""
    dtype = a.dtype
    if dtype != b.dtype or dtype.kind != "f" or dtype.itemsize < 4 or (library := _library()) is None:
        flush()
        return cupy().matmul(a, b)
    x, y = (a[None, :] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
    result = _stacks(library, x, y)
    if result is None:
        flush()
        return cupy().matmul(a, b)
    shape = result.shape
    if a.ndim == 1:
        shape = (*shape[:-2], shape[-1])
    if b.ndim == 1:
        shape = shape[:-1]
    return result if shape == result.shape else result.reshape(shape)


def _stacks(library: Any, a: Array, b: Array) -> Array | None:
    """The product of stacks; None if a size is too large for cuBLAS."""
    cp = cupy()
    rows, inner, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    lead = a.shape[:-2] if a.shape[:-2] == b.shape[:-2] else np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = (*lead, rows, columns)
    if 0 in shape:
        return cp.empty(shape, a.dtype)
    if inner == 0:
        flush()
        return cp.zeros(shape, a.dtype)
    if b.ndim == 2 and a.ndim > 2 and a.flags.c_contiguous:
        found = _stacks(library, a.reshape(math.prod(a.shape[:-1]), inner), b)  # one product of taller matrices
        return None if found is None else found.reshape(shape)
    count = math.prod(lead)
    if count * rows * inner * columns <= small_products.MOST and (found := _small(a, b, lead, shape)) is not None:
        return found
    flush()
    a, left = _readable(a, lead)
    b, right = _readable(b, lead)
    if max(rows, inner, columns, count, left.leading, right.leading) > LARGEST:
        return None
    result = cp.empty(shape, a.dtype)
    kind, compute, number = SINGLE if a.dtype.itemsize == 4 else DOUBLE
    if kind == 0 and os.environ.get("CUPY_TF32") == "1":
        compute = COMPUTE_TF32
    one, zero = number(1), number(0)
    scale, nothing = ctypes.byref(one), ctypes.byref(zero)
    # row by row, the transposed product: columns of the result are its rows
    with _Handle(library, result.nbytes) as handle:
        if count == 1:
            status = library.cublasGemmEx(
                *(handle, right.operation, left.operation, columns, rows, inner, scale),
                *(b.data.ptr, kind, right.leading, a.data.ptr, kind, left.leading),
                *(nothing, result.data.ptr, kind, columns, compute, DEFAULT_ALGORITHM),
            )
        else:
            status = library.cublasGemmStridedBatchedEx(
                *(handle, right.operation, left.operation, columns, rows, inner, scale),
                *(b.data.ptr, kind, right.leading, right.step, a.data.ptr, kind, left.leading, left.step),
                *(nothing, result.data.ptr, kind, columns, rows * columns, count, compute, DEFAULT_ALGORITHM),
            )
    _check(status, "a product of matrices")
    return result


def _small(a: Array, b: Array, lead: tuple[int, ...], shape: tuple[int, ...]) -> Array | None:
    """The product of small matrices by a kernel of ours; None if a copy would be needed."""
    dtype = a.dtype
    left = layout(a.shape, a.strides, dtype.itemsize, lead)
    right = layout(b.shape, b.strides, dtype.itemsize, lead)
    if left is None or right is None:
        return None
    result = cupy().empty(shape, dtype)
    rows, inner, columns = shape[-2], a.shape[-1], shape[-1]
    lanes = small_products.lanes_of(result.size, inner)
    sizes = math.prod(lead), rows, inner, columns
    steps = [x for m in (left, right) for x in (m.step, *((m.leading, 1) if m.operation == PLAIN else (1, m.leading)))]
    threads = small_products.THREADS
    launch(
        small_products.text(C_TYPES[dtype], lanes),
        (-(-result.size * lanes // threads), 1),
        (threads, 1),
        (a.data.ptr, b.data.ptr, result.data.ptr, *sizes, *steps),
        math.prod(sizes),
    )
    return result


def _readable(x: Array, lead: tuple[int, ...]) -> tuple[Array, Matrices]:
    """A stack that cuBLAS can read, as it is or copied, and how."""
    found = layout(x.shape, x.strides, x.dtype.itemsize, lead)
    if found is None:
        x = cupy().ascontiguousarray(x)
        found = layout(x.shape, x.strides, x.dtype.itemsize, lead)
    if found is None:  # repeated along some axes of the stack only
        x = cupy().ascontiguousarray(cupy().broadcast_to(x, (*lead, *x.shape[-2:])))
        found = layout(x.shape, x.strides, x.dtype.itemsize, lead)
    assert found is not None
    return x, found


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


class _Handle:
    """A handle of cuBLAS that nobody else uses meanwhile, on the current stream, with a workspace of its own."""

    def __init__(self, library: Any, size: int) -> None:
        self.library = library
        self.size = min(max(SPLITS * size, WORKSPACE[0]), WORKSPACE[1])

    def __enter__(self) -> int:
        cp, library = cupy(), self.library
        self.free = _free(cp.cuda.runtime.getDevice())
        try:
            self.handle = self.free.pop()
        except IndexError:
            made = c_void_p()
            _check(library.cublasCreate_v2(ctypes.byref(made)), "a handle")
            assert made.value is not None
            self.handle = made.value
        self.memory = cp.cuda.alloc(self.size)
        # a stream comes before its workspace, which it resets
        _check(library.cublasSetStream_v2(self.handle, cp.cuda.get_current_stream().ptr), "a stream")
        _check(library.cublasSetWorkspace_v2(self.handle, self.memory.ptr, self.size), "a workspace")
        return self.handle

    def __exit__(self, *_: object) -> None:
        self.free.append(self.handle)
        del self.memory  # what is given this memory next, comes after the product on the stream


@lru_cache(maxsize=64)
def _free(device: int) -> list[int]:
    """Handles of a device that are in no use."""
    return []


def _check(status: int, what: str) -> None:
    if status:
        raise GraphcError(
            f"cuBLAS failed at {what}",
            expected="status 0",
            actual=f"status {status} of cublas_api.h",
            fix="is there memory left on the GPU? otherwise please report it",
        )


@lru_cache(maxsize=1)
def _library() -> Any | None:
    """The cuBLAS that CuPy has loaded; None where it has another name than on Linux."""
    cp = cupy()
    cp.cuda.device.get_cublas_handle()
    try:
        library = ctypes.CDLL(f"libcublas.so.{cp.cuda.runtime.runtimeGetVersion() // 1000}")
        _declare(library)
    except (OSError, AttributeError):
        return None
    return library


def _declare(library: Any) -> None:
    """The parameters of the functions that are called."""
    handle, number, pointer, step = c_void_p, c_int, c_void_p, c_longlong
    begin = [handle, number, number, number, number, number, pointer]
    library.cublasCreate_v2.argtypes = [pointer]
    library.cublasSetStream_v2.argtypes = [handle, pointer]
    library.cublasSetWorkspace_v2.argtypes = [handle, pointer, c_size_t]
    one, many = [pointer, number, number], [pointer, number, number, step]
    library.cublasGemmEx.argtypes = [*begin, *one, *one, pointer, *one, number, number]
    library.cublasGemmStridedBatchedEx.argtypes = [*begin, *many, *many, pointer, *many, number, number, number]
