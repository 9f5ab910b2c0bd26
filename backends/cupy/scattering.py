"""Adding up at repeated positions in a fixed order: one thread takes all that goes to a place, in the order it stands.

Where there are few, each result looks for its positions among all; or each position for an earlier one at its place,
whose thread adds up for both. Where there are too many for that, every block owns some places, and looks through the
positions for those that go there. Where that is too much too, positions are sorted first, so that equals are
neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from graphc.backends.cupy.compiling import function
from graphc.backends.cupy.launching import dense, flush, launch
from graphc.backends.cupy.library import cupy, device
from graphc.backends.cupy.prelude import C_TYPES, PRELUDE, acc_bytes, fold_type

THREADS: Final = 256
FEW: Final = 2048  # positions that every thread looks through
MOST_SEARCHED: Final = 1 << 18  # positions times results, where each result looks through all positions
LANES: Final = 64  # elements of a place, at most, side by side in a block that owns it
ROOM: Final = 32 << 10  # bytes of a block's accumulators
LISTED: Final = 1536  # positions that a block notes at a time
MOST_COUNT: Final = 1 << 20
MOST_LOOKS: Final = 1 << 26  # positions times blocks
Array = Any  # a cupy.ndarray

HEAD: Final = (
    'extern "C" __global__ void kernel(const {kind}* values, {kind}* result, '
    "i64 lead, i64 count, i64 span, i64 rest{more}) {{"
)
LOOP: Final = """\
  const i64 step = (i64)blockDim.x * gridDim.x;
  for (i64 t = (i64)blockIdx.x * blockDim.x + threadIdx.x; t < count * lead * rest; t += step) {
    const i64 r = t % rest, k = t / rest % count, l = t / rest / count;
"""


def _places(indices: Sequence[str]) -> tuple[str, str]:
    """The parameters that hold positions along each axis, and the same as arguments."""
    parameters = "".join(f", const {index}* i{k}, i64 n{k}" for k, index in enumerate(indices))
    return parameters, "".join(f", i{k}, n{k}" for k in range(len(indices)))


def _place_of(indices: Sequence[str]) -> str:
    """The text of a function that gives the place of an element."""
    parameters, _ = _places(indices)
    digits = "\n".join(
        f"  p = (i64)i{k}[j]; place = place * n{k} + (p < 0 ? p + n{k} : p);" for k in range(len(indices))
    )
    return f"""__device__ __forceinline__ i64 place_of(i64 j{parameters}) {{
  i64 place = 0, p;
{digits}
  return place;
}}"""


def few_text(kind: str, fold: str, indices: Sequence[str]) -> str:
    """The text that adds `values`, (lead, count, rest), to `result`, (lead, span, rest).

    indices: the types of positions along each axis.
    """
    parameters, arguments = _places(indices)
    return f"""{PRELUDE}
{_place_of(indices)}
{HEAD.format(kind=kind, more=parameters)}
{LOOP}    const i64 place = place_of(k{arguments});
    bool first = place >= 0 && place < span;
    for (i64 j = 0; j < k && first; ++j) first = place_of(j{arguments}) != place;
    if (!first) continue;
    {fold}::Acc acc = {fold}::start();
    for (i64 j = k; j < count; ++j) {{
      if (place_of(j{arguments}) == place) acc = {fold}::take(acc, values[(l * count + j) * rest + r]);
    }}
    result[(l * span + place) * rest + r] = {fold}::result(acc);
  }}
}}
"""


@lru_cache(maxsize=32)
def searched_text(kind: str, fold: str, indices: tuple[str, ...]) -> str:
    """The same where each result looks through all positions; values are one and the same where `unit` is 0."""
    parameters, arguments = _places(indices)
    return f"""{PRELUDE}
{_place_of(indices)}
{HEAD.format(kind=kind, more=f"{parameters}, i64 unit")}
  const i64 step = (i64)blockDim.x * gridDim.x;
  for (i64 t = (i64)blockIdx.x * blockDim.x + threadIdx.x; t < lead * span * rest; t += step) {{
    const i64 r = t % rest, place = t / rest % span, l = t / rest / span;
    {fold}::Acc acc = {fold}::start();
    for (i64 top = 0; top < count; top += 8) {{
      i64 places[8];  // on their way at the same time
#pragma unroll
      for (i64 u = 0; u < 8; ++u) places[u] = top + u < count ? place_of(top + u{arguments}) : -1;
#pragma unroll
      for (i64 u = 0; u < 8; ++u) {{
        if (places[u] == place) acc = {fold}::take(acc, values[((l * count + top + u) * rest + r) * unit]);
      }}
    }}
    result[t] = {fold}::result(acc);
  }}
}}
"""


def owned_text(kind: str, fold: str, indices: Sequence[str], lanes: int) -> str:
    """The same where a block owns `each` places, and `lanes` of the elements that lead and rest make there.

    Each warp looks through a part of the positions, and notes those that go to the block in a list of its own, in
    order. Where a list is too short, the positions are looked through again for a list of the whole block, piece by
    piece; each warp knows by then where in it its own begin.
    """
    parameters, arguments = _places(indices)
    return f"""{PRELUDE}
{_place_of(indices)}
{HEAD.format(kind=kind, more=f"{parameters}, i64 each")}
  typedef {fold} F;
  constexpr i32 threads = {THREADS}, warps = threads / 32, groups = threads / {lanes}, own = {LISTED} / warps;
  __shared__ double room[{ROOM // 8}];
  __shared__ i32 numbers[{LISTED}], places[{LISTED}], counts[warps];
  F::Acc* const acc = (F::Acc*)room;
  const i32 t = threadIdx.x, lane = t & 31, warp = t >> 5, group = t / {lanes};
  const i64 low = (i64)blockIdx.x * each, high = low + each < span ? low + each : span;
  const i64 column = (i64)blockIdx.y * {lanes} + t % {lanes};
  const bool real = column < lead * rest;
  const i64 l = real ? column / rest : 0, r = real ? column % rest : 0;
  const auto add = [&](const i32* numbers, const i32* places, i32 listed) {{
    for (i32 k = 0; k < listed; k += 8) {{
      {kind} x[8];
      i32 to[8];
#pragma unroll
      for (i32 u = 0; u < 8; ++u) {{
        const i32 place = k + u < listed ? places[k + u] : -1;
        to[u] = real && place >= 0 && place % groups == group ? place : -1;
        x[u] = to[u] >= 0 ? values[(l * count + numbers[k + u]) * rest + r] : ({kind})0;
      }}
#pragma unroll
      for (i32 u = 0; u < 8; ++u) {{
        F::Acc& sum = acc[to[u] >= 0 ? to[u] * {lanes} + t % {lanes} : 0];
        if (to[u] >= 0) sum = F::take(sum, x[u]);
      }}
    }}
  }};
  for (i32 p = group; p < each; p += groups) acc[p * {lanes} + t % {lanes}] = F::start();
  const i64 part = (count + threads - 1) / threads * 32, begin = warp * part;
  const i64 end = begin + part < count ? begin + part : count;
  i32 mine = 0;
  for (i64 top = begin; top < end; top += 128) {{
    i64 place[4];
#pragma unroll
    for (i32 u = 0; u < 4; ++u) {{
      const i64 j = top + 32 * u + lane;
      place[u] = j < end ? place_of(j{arguments}) : -1;
    }}
#pragma unroll
    for (i32 u = 0; u < 4; ++u) {{
      const bool here = place[u] >= low && place[u] < high;
      const u32 all = __ballot_sync(0xffffffffu, here);
      const i32 slot = mine + __popc(all & ((1u << lane) - 1));
      if (here && slot < own) {{
        numbers[warp * own + slot] = (i32)(top + 32 * u + lane);
        places[warp * own + slot] = (i32)(place[u] - low);
      }}
      mine += __popc(all);
    }}
  }}
  if (lane == 0) counts[warp] = mine;
  __syncthreads();
  i32 first = 0, total = 0, most = 0;
  for (i32 w = 0; w < warps; ++w) {{
    first += w < warp ? counts[w] : 0;
    total += counts[w];
    most = counts[w] > most ? counts[w] : most;
  }}
  if (most <= own) {{
    for (i32 w = 0; w < warps; ++w) add(numbers + w * own, places + w * own, counts[w]);
    total = 0;
  }}
  for (i32 window = 0; window < total; window += {LISTED}) {{
    __syncthreads();
    i32 at = first - window;
    for (i64 top = begin; top < end; top += 32) {{
      const i64 j = top + lane, place = j < end ? place_of(j{arguments}) : -1;
      const bool here = place >= low && place < high;
      const u32 all = __ballot_sync(0xffffffffu, here);
      const i32 slot = at + __popc(all & ((1u << lane) - 1));
      if (here && slot >= 0 && slot < {LISTED}) {{
        numbers[slot] = (i32)j;
        places[slot] = (i32)(place - low);
      }}
      at += __popc(all);
    }}
    __syncthreads();
    add(numbers, places, total - window < {LISTED} ? total - window : {LISTED});
  }}
  if (!real) return;
  for (i64 p = group; low + p < high; p += groups) {{
    result[(l * span + low + p) * rest + r] = F::result(acc[p * {lanes} + t % {lanes}]);
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Owners:
    """How places are dealt out: places of a block, lanes, and the grid."""

    each: int
    lanes: int
    grid: tuple[int, int]


def owners(count: int, span: int, columns: int, bytes: int, processors: int) -> Owners | None:
    """How to deal out `span` places of so many elements, with accumulators of so many bytes; None if sorting pays."""
    lanes = min(LANES, 1 << (columns - 1).bit_length())
    each = max(1, min(ROOM // (bytes * lanes), -(-span // (2 * processors))))
    grid = -(-span // each), -(-columns // lanes)
    if count > MOST_COUNT or grid[0] * grid[1] * count > MOST_LOOKS or grid[1] >= 1 << 16:
        return None
    return Owners(each, lanes, grid)


def sorted_text(kind: str, fold: str) -> str:
    """The same for positions that `order` sorts, stably, to `sorted`."""
    return f"""{PRELUDE}
{HEAD.format(kind=kind, more=", const i64* order, const i64* sorted")}
{LOOP}    const i64 place = sorted[k];
    if ((k > 0 && sorted[k - 1] == place) || place < 0 || place >= span) continue;
    {fold}::Acc acc = {fold}::start();
    for (i64 j = k; j < count && sorted[j] == place; ++j) {{
      acc = {fold}::take(acc, values[(l * count + order[j]) * rest + r]);
    }}
    result[(l * span + place) * rest + r] = {fold}::result(acc);
  }}
}}
"""


LAST: Final = f"""{PRELUDE}
extern "C" __global__ void kernel(const i64* order, const i64* sorted, i64* result, i64 count, i64 span) {{
  const i64 step = (i64)blockDim.x * gridDim.x;
  for (i64 k = (i64)blockIdx.x * blockDim.x + threadIdx.x; k < count; k += step) {{
    const i64 place = sorted[k];
    if (k + 1 < count && sorted[k + 1] == place) continue;
    if (place >= 0 && place < span) result[place] = order[k];
  }}
}}
"""


def add(values: Array, extents: tuple[int, int, int], indices: Sequence[Array], sizes: Sequence[int]) -> Array:
    """The sums of `values` at positions along several axes of these sizes; 0 where there are none.

    extents: lead, count and rest of the values, which are dense, or one number repeated. The indices are dense, of
    `count` elements each; negative positions count from the end.
    """
    cp = cupy()
    lead, count, rest = extents
    shape = lead, math.prod(sizes), rest
    if 0 in extents or 0 in shape:
        flush()
        return cp.zeros(shape, values.dtype)
    dtype = values.dtype
    fold = "AnyOf" if dtype == np.bool_ else fold_type("sum", dtype, fast=False)
    kind = "u8" if dtype == np.bool_ else C_TYPES[dtype]
    kinds = tuple(C_TYPES[i.dtype] for i in indices)
    size = math.prod(shape)
    if size * count <= MOST_SEARCHED:
        result = cp.empty(shape, dtype)
        numbers = (values.data.ptr, result.data.ptr, *shape[:1], count, *shape[1:])
        grid = -(-size // THREADS), 1
        unit = 0 if not any(values.strides) else 1
        arguments = (*numbers, *_numbers(indices, sizes), unit)
        launch(searched_text(kind, fold, kinds), grid, (THREADS, 1), arguments, size * count * len(indices))
        return result
    values = dense(values)
    flush()
    processors = device(cp.cuda.runtime.getDevice()).processors
    bytes = 1 if dtype == np.bool_ else acc_bytes("sum", dtype)
    found = owners(count, shape[1], lead * rest, bytes, processors) if count > FEW else None
    result = cp.zeros(shape, dtype) if found is None else cp.empty(shape, dtype)
    numbers = (values.data.ptr, result.data.ptr, *shape[:1], count, *shape[1:])
    if count <= FEW:
        _run(few_text(kind, fold, kinds), values.size, *numbers, *_numbers(indices, sizes))
    elif found is not None:
        text = owned_text(kind, fold, kinds, found.lanes)
        function(text)((*found.grid, 1), (THREADS, 1, 1), (*numbers, *_numbers(indices, sizes), found.each))
    else:
        order, positions = in_order(indices, sizes)
        _run(sorted_text(kind, fold), values.size, *numbers, order.data.ptr, positions.data.ptr)
    return result


def _numbers(indices: Sequence[Array], sizes: Sequence[int]) -> list[int]:
    return [x for i, size in zip(indices, sizes, strict=True) for x in (i.data.ptr, size)]


def last(indices: Sequence[Array], sizes: Sequence[int], result: Array) -> None:
    """Write to each position the number of the last index that has it."""
    order, positions = in_order(indices, sizes)
    _run(LAST, order.size, order.data.ptr, positions.data.ptr, result.data.ptr, order.size, result.size)


def in_order(indices: Sequence[Array], sizes: Sequence[int]) -> tuple[Array, Array]:
    """What sorts positions along several axes, stably, and the sorted positions along one."""
    cp = cupy()
    if cp.cuda.get_current_stream().is_capturing():
        raise RuntimeError("sorting waits for the GPU, and cannot be recorded")
    total = cp.zeros(indices[0].shape, np.int64)
    for one, size in zip(indices, sizes, strict=True):
        wide = one.astype(np.int64)
        total = total * size + cp.where(wide < 0, wide + size, wide)
    order = cp.argsort(total)
    return order, total[order]


def dense_positions(indices: Sequence[Array]) -> tuple[list[Array], tuple[int, ...]]:
    """Broadcast positions as dense vectors, and their shape before."""
    cp = cupy()
    shape = np.broadcast_shapes(*(i.shape for i in indices))
    return [dense(cp.broadcast_to(i, shape)).reshape(math.prod(shape)) for i in indices], shape


def _run(text: str, count: int, *arguments: int) -> None:
    grid = max(1, min(-(-count // THREADS), 1 << 20)), 1, 1
    function(text)(grid, (THREADS, 1, 1), arguments)
