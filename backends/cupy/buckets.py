"""Adding up at many positions: the positions of each place gathered, put in order, and added up in it.

Integer atomics count the positions of each place and hand out slots for them; in which order is up to chance, so what
a place has got is sorted before anything is added. A few threads take each place with few positions, and keep eight of
them at a time, sorted, in registers. A place with many has a whole block: it marks them in a bitmap, whose bits are in
order. So the order of additions is fixed, by the positions alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

THREADS: Final = 256
SHORT: Final = 64  # positions of a place that single threads put in order
AT_ONCE: Final = 8  # positions that a thread keeps
WINDOW: Final = 1 << 16  # positions that a block marks at a time
NEIGHBOURS: Final = 8  # places side by side in memory that take one access
MOST_BLOCKS: Final = 1 << 20
MOST_ROWS: Final = 1 << 15  # of blocks

PLACES: Final = f"""\
// the sum over the threads before this one; `all` gets that of the block, and `room` has a number for each warp
template <class U> __device__ __forceinline__ U sum_before(U x, U* room, U& all) {{
  const i32 lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  U sum = x;
#pragma unroll
  for (i32 o = 1; o < 32; o <<= 1) {{
    const U other = __shfl_up_sync(0xffffffffu, sum, o);
    if (lane >= o) sum += other;
  }}
  __syncthreads();
  if (lane == 31) room[warp] = sum;
  __syncthreads();
  U before = 0;
  all = 0;
#pragma unroll
  for (i32 w = 0; w < {THREADS // 32}; ++w) {{
    before += w < warp ? room[w] : 0;
    all += room[w];
  }}
  return before + sum - x;
}}
"""


@dataclass(frozen=True, slots=True)
class Sharing:
    """How places are dealt out.

    width: elements of a place that a thread takes by one access. lanes: threads side by side at a place. grid: of
    blocks.
    """

    width: int
    lanes: int
    grid: tuple[int, int]


def sharing(span: int, columns: int, rest: int, itemsize: int, aligned: int) -> Sharing:
    """For `span` places of `columns` elements, of which `rest` lie side by side. aligned: divides both addresses."""
    width = max(1, min(4, 16 // itemsize))
    while width > 1 and (rest % width or aligned % (width * itemsize)):
        width //= 2
    across = -(-columns // width)
    lanes = min(32, 1 << (across - 1).bit_length())
    blocks = -(-span // (THREADS // lanes))
    return Sharing(width, lanes, (min(blocks, MOST_BLOCKS), min(-(-across // lanes), MOST_ROWS)))


def count_text(place_of: str, parameters: str, arguments: str, unsigned: str) -> str:
    """The text that counts the positions of each place, and numbers them in the order of their arrival."""
    return f"""{place_of}
extern "C" __global__ void kernel({unsigned}* counts, {unsigned}* number, i64 count, i64 span{parameters}) {{
  const i64 step = (i64)blockDim.x * gridDim.x;
  for (i64 j = (i64)blockIdx.x * blockDim.x + threadIdx.x; j < count; j += step) {{
    const i64 place = place_of(j{arguments});
    if (place >= 0 && place < span) number[j] = atomicAdd(&counts[place], ({unsigned})1);
  }}
}}
"""


def first_text(unsigned: str) -> str:
    """The text that finds room for the positions of each place: `counts[span]` is how much is taken."""
    return f"""{PLACES}
extern "C" __global__ void kernel({unsigned}* counts, {unsigned}* firsts, i64 span) {{
  __shared__ {unsigned} room[{THREADS // 32}], base;
  for (i64 top = (i64)blockIdx.x * {THREADS}; top < span; top += (i64)gridDim.x * {THREADS}) {{
    const i64 place = top + threadIdx.x;
    {unsigned} all;
    const {unsigned} before = sum_before(place < span ? counts[place] : ({unsigned})0, room, all);
    if (threadIdx.x == 0) base = atomicAdd(&counts[span], all);
    __syncthreads();
    if (place < span) firsts[place] = base + before;
  }}
}}
"""


def order_text(place_of: str, parameters: str, arguments: str, unsigned: str) -> str:
    """The text that writes the positions of each place side by side."""
    return f"""{place_of}
extern "C" __global__ void kernel(const {unsigned}* firsts, const {unsigned}* number, {unsigned}* order, \
i64 count, i64 span{parameters}) {{
  const i64 step = (i64)blockDim.x * gridDim.x;
  for (i64 j = (i64)blockIdx.x * blockDim.x + threadIdx.x; j < count; j += step) {{
    const i64 place = place_of(j{arguments});
    if (place >= 0 && place < span) order[firsts[place] + number[j]] = ({unsigned})j;
  }}
}}
"""


def sum_text(kind: str, fold: str, unsigned: str, shape: Sharing) -> str:
    """The text that adds up the elements of `values`, (lead, count, rest), in `result`, (lead, span, rest)."""
    lanes, width = shape.lanes, shape.width
    groups = THREADS // lanes
    unit = max(1, min(groups, NEIGHBOURS // lanes))
    return f"""{PLACES}
typedef {fold} F; typedef {unsigned} U;  // U counts positions
typedef Pack<{kind}, {width}> Few;

// the next {AT_ONCE} positions, in order; all bits are set where there is none
__device__ __forceinline__ void add(const {kind}* from, i64 rest, const U (&at)[{AT_ONCE}], F::Acc (&acc)[{width}]) {{
  Few x[{AT_ONCE}];
#pragma unroll
  for (i32 u = 0; u < {AT_ONCE}; ++u) {{
    if (at[u] != ~(U)0) x[u] = *(const Few*)(from + (i64)at[u] * rest);
  }}
#pragma unroll
  for (i32 u = 0; u < {AT_ONCE}; ++u) {{
    if (at[u] != ~(U)0) {{
#pragma unroll
      for (i32 v = 0; v < {width}; ++v) acc[v] = F::take(acc[v], x[u].v[v]);
    }}
  }}
}}

__device__ __forceinline__ void write({kind}* to, const F::Acc (&acc)[{width}]) {{
  Few y;
#pragma unroll
  for (i32 v = 0; v < {width}; ++v) y.v[v] = F::result(acc[v]);
  *(Few*)to = y;
}}

extern "C" __global__ void __launch_bounds__({THREADS}, 3) kernel(const {kind}* values, {kind}* result, \
const {unsigned}* counts, const {unsigned}* firsts, const {unsigned}* order, i64 lead, i64 count, i64 span, i64 rest) {{
  constexpr i32 groups = {groups}, words = {WINDOW // 32};
  __shared__ u32 bits[words];
  __shared__ double room[{THREADS * 8}];  // of positions in a window, or of accumulators
  __shared__ i64 many[groups];
  __shared__ i32 sums[{THREADS // 32}];
  u16* const listed = (u16*)room;
  F::Acc* const kept = (F::Acc*)room;
  const i32 t = threadIdx.x, lane = t % {lanes}, group = t / {lanes};
  for (i64 left = (i64)blockIdx.y * {lanes * width}; left < lead * rest; left += (i64)gridDim.y * {lanes * width}) {{
  const i64 column = left + lane * {width};
  const bool real = column < lead * rest;
  const i64 l = real ? column / rest : 0, r = real ? column % rest : 0;
  const {kind}* const from = values + l * count * rest + r;
  {kind}* const to = result + l * span * rest + r;
  // neighbours go to different blocks: places with many positions are often side by side
  for (i64 k = 0; k * {unit} * gridDim.x < span; k += {groups // unit}) {{
    const i64 place = ((k + group / {unit}) * gridDim.x + blockIdx.x) * {unit} + group % {unit};
    const U here = place < span ? counts[place] : 0;
    if (here <= {SHORT} && place < span && real) {{
      F::Acc acc[{width}];
#pragma unroll
      for (i32 v = 0; v < {width}; ++v) acc[v] = F::start();
      const U first = here ? firsts[place] : 0;
      for (U done = 0, low = 0; done < here; done += {AT_ONCE}) {{
        U at[{AT_ONCE}];
#pragma unroll
        for (i32 u = 0; u < {AT_ONCE}; ++u) at[u] = ~(U)0;
#pragma unroll 4
        for (U i = 0; i < here; ++i) {{
          U next = order[first + i];
          if (next < low) next = ~(U)0;
#pragma unroll
          for (i32 u = 0; u < {AT_ONCE}; ++u) {{
            const U less = next < at[u] ? next : at[u];
            next = next < at[u] ? at[u] : next;
            at[u] = less;
          }}
        }}
        add(from, rest, at, acc);
        low = at[{AT_ONCE - 1}] + 1;
      }}
      write(to + place * rest, acc);
    }}
    if (lane == 0) many[group] = here > {SHORT} ? place : -1;
    __syncthreads();
    for (i32 g = 0; g < groups; ++g) {{
      const i64 place = many[g];
      if (place < 0) continue;
      const U here = counts[place], first = firsts[place];
      F::Acc acc[{width}];
#pragma unroll
      for (i32 v = 0; v < {width}; ++v) acc[v] = F::start();
      for (i64 window = 0; window < count; window += {WINDOW}) {{
        for (i32 w = t; w < words; w += {THREADS}) bits[w] = 0;
        __syncthreads();
        for (U i = t; i < here; i += {THREADS}) {{
          const i64 at = (i64)order[first + i] - window;
          if (at >= 0 && at < {WINDOW}) atomicOr(&bits[at >> 5], 1u << (at & 31));
        }}
        __syncthreads();
        for (i32 piece = 0; piece < words; piece += {THREADS}) {{
          u32 word = bits[piece + t];
          i32 all, slot = sum_before(__popc(word), sums, all);
          for (; word; word &= word - 1) listed[slot++] = (u16)((piece + t) * 32 + __ffs(word) - 1);
          __syncthreads();
          const i32 share = (all + groups - 1) / groups, end = share * (group + 1) < all ? share * (group + 1) : all;
          for (i32 i = share * group; real && i < end; i += {AT_ONCE}) {{
            U at[{AT_ONCE}];
#pragma unroll
            for (i32 u = 0; u < {AT_ONCE}; ++u) at[u] = i + u < end ? (U)(window + listed[i + u]) : ~(U)0;
            add(from, rest, at, acc);
          }}
        }}
      }}
      __syncthreads();
#pragma unroll
      for (i32 v = 0; v < {width}; ++v) kept[t * {width} + v] = acc[v];
      for (i32 o = groups / 2; o > 0; o >>= 1) {{
        __syncthreads();
        if (group < o) {{
#pragma unroll
          for (i32 v = 0; v < {width}; ++v) {{
            acc[v] = F::join(acc[v], kept[(t + o * {lanes}) * {width} + v]);
            kept[t * {width} + v] = acc[v];
          }}
        }}
      }}
      if (group == 0 && real) write(to + place * rest, acc);
      __syncthreads();
    }}
    __syncthreads();
  }}
}}
}}
"""
