"""Copies by kernels: of several arrays at once, to where a recording reads them or the caller does, and of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from graphc.backends.cupy.allocation import Block
from graphc.backends.cupy.compiling import function
from graphc.backends.cupy.launching import dense, launch
from graphc.backends.cupy.library import cupy
from graphc.backends.cupy.prelude import PRELUDE, TYPES

THREADS: Final = 256
PLACE: Final = "(i64)blockIdx.x * blockDim.x + threadIdx.x, (i64)blockDim.x * gridDim.x"
UNIT: Final = 16  # bytes that a thread copies at a time
MOST_BLOCKS: Final = 1024
TOGETHER: Final = 4  # units on their way at the same time

COPIED: Final = f"""
struct alignas({UNIT}) Unit {{ u64 v[2]; }};
// the part of a thread, of which there are `step`
__device__ void copied(const u8* a, u8* b, i64 n, i64 first, i64 step) {{
  const bool aligned = (((u64)a | (u64)b) & {UNIT - 1}) == 0;
  const i64 whole = aligned ? n / {UNIT} : 0;
  i64 at = first;
  for (; at + {TOGETHER - 1} * step < whole; at += {TOGETHER} * step) {{
    Unit some[{TOGETHER}];
#pragma unroll
    for (i32 k = 0; k < {TOGETHER}; ++k) some[k] = ((const Unit*)a)[at + k * step];
#pragma unroll
    for (i32 k = 0; k < {TOGETHER}; ++k) ((Unit*)b)[at + k * step] = some[k];
  }}
  for (; at < whole; at += step) ((Unit*)b)[at] = ((const Unit*)a)[at];
  for (i64 t = whole * {UNIT} + first; t < n; t += step) b[t] = a[t];
}}
"""


def copy_text(count: int) -> str:
    """The text of a kernel that copies so many arrays by bytes, to the addresses in a table, with their sizes."""
    parameters = ", ".join(f"const u8* a{k}" for k in range(count))
    cases = "\n".join(
        f"    case {k}: copied(a{k}, (u8*)table[{2 * k}], table[{2 * k + 1}], {PLACE}); break;" for k in range(count)
    )
    return f"""{TYPES}{COPIED}
extern "C" __global__ void kernel(const i64* table, {parameters}) {{
  switch (blockIdx.y) {{
{cases}
  }}
}}
"""


# copies arrays, whose addresses and sizes are in a table, to places of one piece of memory
GATHER: Final = f"""{TYPES}{COPIED}
extern "C" __global__ void kernel(const i64* table, u8* to) {{
  const i64* const row = table + 3 * blockIdx.y;
  copied((const u8*)row[0], to + row[1], row[2], {PLACE});
}}
"""


# copies one array by bytes; it may be joined with other kernels
ONE: Final = f"""{PRELUDE}{COPIED}
extern "C" __global__ void kernel(const u8* from, u8* to, i64 bytes) {{
  copied(from, to, bytes, {PLACE});
}}
"""


def fill(result: Any, x: Any) -> None:
    """Write an array of the same dtype, broadcast, to a dense one: a launch like others, in order with them."""
    source = dense(cupy().broadcast_to(x, result.shape))
    if result.nbytes:
        blocks, _, _ = _grid([result])
        addresses = source.data.ptr, result.data.ptr
        launch(ONE, (blocks, 1), (THREADS, 1), (*addresses, result.nbytes), result.nbytes // UNIT)


def _grid(arrays: Sequence[Any]) -> tuple[int, int, int]:
    """Blocks enough for the largest of some arrays; a row of blocks for each."""
    units = -(-max(array.nbytes for array in arrays) // UNIT)
    return max(1, min(-(-units // (THREADS * TOGETHER)), MOST_BLOCKS)), len(arrays), 1


class Copy:
    """Copies arrays into fixed ones of the same types by one launch."""

    def __init__(self, fixed: Sequence[Any]) -> None:
        self.places = [k for k, array in enumerate(fixed) if array.nbytes]
        if not self.places:
            return
        kept = [fixed[k] for k in self.places]
        rows = [[array.data.ptr, array.nbytes] for array in kept]
        self.table = cupy().asarray(np.asarray(rows, np.int64))
        self.run = function(copy_text(len(kept)))
        self.grid = _grid(kept)

    def __call__(self, sources: Sequence[Any]) -> None:
        if self.places:
            self.run(self.grid, (THREADS, 1, 1), (self.table.data.ptr, *[sources[k].data.ptr for k in self.places]))


class Gather:
    """Copies fixed arrays to where a block has them, in some piece of memory, by one launch."""

    def __init__(self, fixed: Sequence[Any], block: Block) -> None:
        kept = [(array, place) for array, (place, _, _) in zip(fixed, block.kinds, strict=True) if array.nbytes]
        self.any = bool(kept)
        if not kept:
            return
        rows = [[array.data.ptr, place, array.nbytes] for array, place in kept]
        self.table = cupy().asarray(np.asarray(rows, np.int64))
        self.run = function(GATHER)
        self.grid = _grid([array for array, _ in kept])

    def __call__(self, memory: Any) -> None:
        if self.any:
            self.run(self.grid, (THREADS, 1, 1), (self.table.data.ptr, memory.ptr))
