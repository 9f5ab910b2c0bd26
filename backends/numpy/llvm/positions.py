"""Reads and additions at given positions of an array, by whole rows."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from graphc.backends.numpy.arrays import Array
from graphc.backends.numpy.llvm import code, memory
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.machine import Machine, host
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.reuse import empty
from graphc.backends.numpy.llvm.values import I64, DType, Value
from graphc.kernels import HALF, KERNEL_DTYPES, SINGLE
from graphc.ops import functions

SIZES: Final = ("blocks", "count", "rows", "width")
FEW: Final = 4096  # elements: up to as many, NumPy's own way has less to prepare


def gather(x: Array, indices: tuple[Array, ...], axis: int) -> Array:
    """Elements at integer positions along adjacent axes, in storage of their own."""
    beyond = axis + len(indices)
    rows = _rows(indices, x.shape[axis:beyond]) if x.size > FEW and x.flags.c_contiguous else None
    if rows is None or not rows.ndim:
        found: Array = functions.gather(x, indices, axis)
        return found
    result = empty((*x.shape[:axis], *rows.shape, *x.shape[beyond:]), x.dtype)
    blocks, width = math.prod(x.shape[:axis]), math.prod(x.shape[beyond:])
    # the positions are known to lie inside; `clip` keeps NumPy from copying once more for the case that they do not
    x.reshape(blocks, -1, width).take(rows.ravel(), 1, result.reshape(blocks, rows.size, width), "clip")
    return result


def scatter_add(u: Array, indices: tuple[Array, ...], axis: int, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with `u` added at integer positions; repeated positions add up, in the order of `u`.

    As `numpy.add.at` computes it, which takes each element by itself.
    """
    indexed = shape[axis : axis + len(indices)]
    fits = u.size > FEW and u.dtype in KERNEL_DTYPES and u.dtype.kind != "b"
    rows = _rows(indices, indexed) if fits else None
    if rows is None:
        return functions.scatter_add(u, indices, axis, shape)
    result = empty(shape, u.dtype)
    result[...] = 0
    dense = np.ascontiguousarray(u)
    sizes = math.prod(shape[:axis]), rows.size, math.prod(indexed), math.prod(shape[axis + len(indices) :])
    _function(u.dtype)(result.ctypes.data, dense.ctypes.data, rows.ctypes.data, *sizes)
    return result


def _rows(indices: Sequence[Array], sizes: Sequence[int]) -> Array | None:
    """Positions along some axes as positions in their row-major order; None if one of them lies outside."""
    total: Any = np.zeros((), np.int64)
    for index, size in zip(indices, sizes, strict=True):
        first, last = (index.min(), index.max()) if index.size else (0, -1)
        if first < -size or last >= size:
            return None
        position = index.astype(np.int64, copy=False)
        if first < 0:
            position = np.where(position < 0, position + size, position)
        total = total * size + position
    return np.asarray(total, order="C")  # `ascontiguousarray` would make a number an array of one


def source(dtype: DType, machine: Machine) -> str:
    """A function over dense arrays: in each of `blocks`, `count` rows of `width` elements go into some of `rows`."""
    e = Emitter(Module(machine.features_used))
    lanes = max(1, machine.register // dtype.itemsize)
    e.label("entry")
    blocks, count, rows, width = (e.value(f"%{name}", I64, 1) for name in SIZES)
    zero = e.const(0, I64, 1)
    whole = e.binary("sdiv", width, lanes) * lanes

    def row(block: Value, number: Value) -> None:
        place = memory.load(e, "%positions", number, 1, I64, 1, None)
        into, out_of = (block * rows + place) * width, (block * count + number) * width

        def add(at: Value, lanes: int) -> None:
            so_far = memory.load(e, "%result", into + at, 1, dtype, lanes, None)
            update = memory.load(e, "%updates", out_of + at, 1, dtype, lanes, None)
            wide = SINGLE if dtype == HALF else dtype
            total = e.convert(e.convert(so_far, wide) + e.convert(update, wide), dtype)
            memory.store(e, total, "%result", into + at, 1, None)

        e.span(zero, whole, lanes, lambda at: add(at, lanes))
        e.span(whole, width, 1, lambda at: add(at, 1))

    e.span(zero, blocks, 1, lambda block: e.span(zero, count, 1, lambda number: row(block, number)))
    e.statement("ret void")
    arguments = ", ".join(["ptr %result", "ptr %updates", "ptr %positions", *(f"i64 %{name}" for name in SIZES)])
    return "\n".join([e.module.text(), f"define void @scatter_add({arguments}) nounwind {{", *e.lines, "}", ""])


@lru_cache(maxsize=len(KERNEL_DTYPES))
def _function(dtype: DType) -> Any:
    library = code.library((code.Part(source(dtype, host()), shared=True),), host(), ("scatter_add",))
    kinds = [*[ctypes.c_void_p] * 3, *[ctypes.c_int64] * len(SIZES)]
    function = ctypes.CFUNCTYPE(None, *kinds)(library.addresses["scatter_add"])
    function.library = library  # type: ignore[attr-defined]  # the code stays as long as the function does
    return function
