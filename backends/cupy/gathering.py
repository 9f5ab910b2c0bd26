"""Elements at integer positions, by a kernel that copies as many bytes at a time as lie together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from graphc.backends.cupy import scattering
from graphc.backends.cupy.body import NARROW
from graphc.backends.cupy.launching import dense, flush, launch
from graphc.backends.cupy.library import cupy
from graphc.backends.cupy.prelude import C_TYPES, PRELUDE

THREADS: Final = 256
MOST_BLOCKS: Final = 1 << 20
WIDEST: Final = 16  # bytes that a thread copies
Array = Any  # a cupy.ndarray


@lru_cache(maxsize=64)
def text(indices: tuple[str, ...], width: int, wide: bool) -> str:
    """The text that takes units of so many bytes from `x`, (lead, span, rest), to `result`, (lead, count, rest).

    indices: the types of positions along each axis of the span. wide: 64 bits for indices.
    """
    parameters = "".join(f", const {index}* i{k}, i64 n{k}" for k, index in enumerate(indices))
    digits = "\n".join(f"    place = place * n{k} + wrapped((i64)i{k}[at], n{k});" for k in range(len(indices)))
    return f"""{PRELUDE}
typedef {"i64" if wide else "i32"} idx;
typedef Pack<u{8 * min(width, 8)}, {max(1, width // 8)}> Unit;
{scattering.WRAPPED}
extern "C" __global__ void kernel(const u8* from, u8* to, i64 lead, i64 count, i64 span, i64 rest{parameters}) {{
  const Unit* const x = (const Unit*)from;
  Unit* const result = (Unit*)to;
  const idx all = (idx)(lead * count * rest), places = (idx)count, size = (idx)rest;
  const idx step = (idx)blockDim.x * gridDim.x;
  for (idx t = (idx)blockIdx.x * blockDim.x + threadIdx.x; t < all; t += step) {{
    const idx r = t % size, at = t / size % places, l = t / size / places;
    i64 place = 0;
{digits}
    result[t] = x[(l * span + place) * rest + r];
  }}
}}
"""


def gather(x: Array, indices: tuple[Array, ...], axis: int) -> Array:
    """Elements at integer positions along adjacent axes; positions outside wrap around."""
    cp = cupy()
    sizes = x.shape[axis : axis + len(indices)]
    if 0 in sizes:
        flush()
        return x[(slice(None),) * axis + tuple(indices)]
    positions, places = scattering.dense_positions(indices)
    x = dense(x)
    result = cp.empty((*x.shape[:axis], *places, *x.shape[axis + len(indices) :]), x.dtype)
    if result.size:
        lead, rest = math.prod(x.shape[:axis]), math.prod(x.shape[axis + len(indices) :])
        _take(x, result, positions, sizes, (lead, math.prod(places), rest))
    return result


def _take(
    x: Array, result: Array, positions: Sequence[Array], sizes: Sequence[int], shape: tuple[int, int, int]
) -> None:
    lead, count, rest = shape
    together = rest * x.dtype.itemsize | x.data.ptr | result.data.ptr
    width = min(WIDEST, together & -together)
    units = rest * x.dtype.itemsize // width
    total = lead * count * units
    numbers = [n for i, size in zip(positions, sizes, strict=True) for n in (i.data.ptr, size)]
    launch(
        text(tuple(C_TYPES[i.dtype] for i in positions), width, total >= NARROW),
        (min(-(-total // THREADS), MOST_BLOCKS), 1),
        (THREADS, 1),
        (x.data.ptr, result.data.ptr, lead, count, math.prod(sizes), units, *numbers),
        4 * total,
    )
