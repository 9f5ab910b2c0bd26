"""Joins of arrays, by kernels that copy each of them to its rows of the result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from graphc.backends.cupy.launching import captured, dense, launch
from graphc.backends.cupy.library import cupy
from graphc.backends.cupy.prelude import PRELUDE

THREADS: Final = 256
MOST_BLOCKS: Final = 1024
WIDEST: Final = 16  # bytes that a thread copies at a time
MANY: Final = 8  # arrays, of more of which CuPy makes one by one launch


@lru_cache(maxsize=8)
def rows_text(width: int) -> str:
    """The text that copies dense rows to rows that lie further apart, in units of so many bytes; it may be joined."""
    return f"""{PRELUDE}
typedef Pack<u{8 * min(width, 8)}, {max(1, width // 8)}> Unit;
extern "C" __global__ void kernel(const u8* from, u8* to, i64 rows, i64 row, i64 apart) {{
  const i64 step = (i64)blockDim.x * gridDim.x;
  for (i64 t = (i64)blockIdx.x * blockDim.x + threadIdx.x; t < rows * row; t += step)
    ((Unit*)to)[t / row * apart + t % row] = ((const Unit*)from)[t];
}}
"""


def concatenate(arrays: Sequence[Any], axis: int) -> Any:
    """Arrays of the same dtype, one behind the other along an axis.

    Many at once CuPy finds by a table of addresses, which it copies from the host: a graph would copy whatever is there
    when it runs. So where launches are recorded, each array is copied by a launch of its own.
    """
    cp = cupy()
    if len(arrays) > MANY and not captured():
        return cp.concatenate(arrays, axis)
    first = arrays[0]
    shape = *first.shape[:axis], sum(a.shape[axis] for a in arrays), *first.shape[axis + 1 :]
    result = cp.empty(shape, first.dtype)
    beside = math.prod(shape[axis + 1 :]) * first.dtype.itemsize  # bytes of one position
    apart = shape[axis] * beside
    to = result.data.ptr
    for array in arrays:
        row = array.shape[axis] * beside
        if array.nbytes:
            source = dense(array)
            together = row | apart | source.data.ptr | to
            width = min(WIDEST, together & -together)
            units = array.nbytes // width
            grid = min(-(-units // THREADS), MOST_BLOCKS), 1
            numbers = array.nbytes // row, row // width, apart // width
            launch(rows_text(width), grid, (THREADS, 1), (source.data.ptr, to, *numbers), units)
        to += row
    return result
