"""Products in single precision whose results are too few tiles to fill the GPU, by kernels of ours.

A block takes a tile of the result, and a chunk of the inner size: so a tile is shared by several blocks, and all
processors have something to do. Each sum runs over its chunk in order, each step rounded once (`fmaf`); a second kernel
adds the chunks up in order. A block has the next pieces of both operands on the way in registers while it multiplies
those that lie in shared memory; see V. Volkov and J. Demmel, "Benchmarking GPUs to tune dense linear algebra", 2008.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from graphc.backends.cupy.prelude import PRELUDE

THREADS: Final = 128
TILE: Final = 64  # rows and columns of the result that a block takes
DEPTH: Final = 16  # of the inner size that lies in shared memory at a time
LEAST: Final = 32  # rows or columns, below which most of a tile would be empty
LEAST_CHUNK: Final = 64
RESIDENT: Final = 2  # blocks for a processor
WIDTH: Final = 4  # elements that are read or written at a time, where they may
MANY: Final = 1 << 15  # results with a thread each that fill a good part of the GPU
JOINED: Final = 256  # threads of a block of the second kernel


@dataclass(frozen=True, slots=True)
class Operand:
    """How a kernel reads an operand.

    along: neighbours along the inner size lie side by side. wide: it is read 16 bytes at a time.
    """

    along: bool
    wide: bool


def chunk_of(processors: int, count: int, rows: int, inner: int, columns: int) -> int | None:
    """How much of the inner size a block should take; None for products that are better left whole.

    >>> chunk_of(132, 1, 100, 784, 1000), chunk_of(132, 1, 1000, 1000, 1000), chunk_of(132, 1, 100, 100, 100)
    (112, None, None)
    """
    tiles = count * -(-rows // TILE) * -(-columns // TILE)
    if min(rows, columns) < LEAST or 2 * tiles > processors:
        return None
    parts = min(RESIDENT * processors // tiles, inner // LEAST_CHUNK)
    return -(-inner // (parts * DEPTH)) * DEPTH if parts > 1 else None


def grid_of(count: int, rows: int, inner: int, columns: int, chunk: int) -> tuple[int, int]:
    """The blocks of `text`: tiles, and chunks of each matrix."""
    return -(-rows // TILE) * -(-columns // TILE), count * -(-inner // chunk)


PIECES: Final = """\
typedef Pack<float, 4> Four;

// a piece of an operand, TILE elements across and DEPTH along the inner size, on its way to shared memory
template <bool ALONG, bool WIDE> struct Piece {
  float v[8];
  // limit: how many elements there are across; of those beyond, and from `stop` on, nothing is read
  __device__ __forceinline__ void read(const float* from, i64 lead, i32 limit, i32 k, i32 stop) {
    if (WIDE) {
#pragma unroll
      for (i32 j = 0; j < 2; ++j) {
        const i32 e = threadIdx.x + j * THREADS;
        const i32 across = ALONG ? e / 4 : e % 16 * 4, along = k + (ALONG ? e % 4 * 4 : e / 16);
        Four four = {{0, 0, 0, 0}};
        if (across < limit && along < stop)
          four = *(const Four*)(from + (ALONG ? across * lead + along : along * lead + across));
#pragma unroll
        for (i32 q = 0; q < 4; ++q) v[4 * j + q] = four.v[q];
      }
    } else {
#pragma unroll
      for (i32 j = 0; j < 8; ++j) {
        const i32 e = threadIdx.x + j * THREADS;
        const i32 across = ALONG ? e / DEPTH : e % TILE, along = k + (ALONG ? e % DEPTH : e / TILE);
        v[j] = across < limit && along < stop ? from[ALONG ? across * lead + along : along * lead + across] : 0.0f;
      }
    }
  }
  __device__ __forceinline__ void write(float (*to)[PITCH]) const {
    if (WIDE) {
#pragma unroll
      for (i32 j = 0; j < 2; ++j) {
        const i32 e = threadIdx.x + j * THREADS;
        if (ALONG) {
#pragma unroll
          for (i32 q = 0; q < 4; ++q) to[e % 4 * 4 + q][e / 4] = v[4 * j + q];
        } else {
          *(Four*)&to[e / 16][e % 16 * 4] = Four{{v[4 * j], v[4 * j + 1], v[4 * j + 2], v[4 * j + 3]}};
        }
      }
    } else {
#pragma unroll
      for (i32 j = 0; j < 8; ++j) {
        const i32 e = threadIdx.x + j * THREADS;
        to[ALONG ? e % DEPTH : e / TILE][ALONG ? e / DEPTH : e % TILE] = v[j];
      }
    }
  }
};
"""


@lru_cache(maxsize=64)
def text(a: Operand, b: Operand, wide: bool) -> str:
    """The text that multiplies stacks of matrices, a chunk of the inner size in each block.

    It writes the sums of chunk s of matrix m to `result[s][m]`, in the result's shape. lead_a: elements from a row to
    the next, or from a column to the next where not `a.along`; lead_b: the same for `b.along`, of its transpose. step:
    from a matrix to the next. wide: results are written 16 bytes at a time.
    """
    left, right = (f"Piece<{str(o.along).lower()}, {str(o.wide).lower()}>" for o in (a, b))
    across_a, across_b = ("row * lead_a" if a.along else "row"), ("column * lead_b" if b.along else "column")
    return f"""{PRELUDE}
constexpr i32 THREADS = {THREADS}, TILE = {TILE}, DEPTH = {DEPTH}, PITCH = {TILE + 4};
{PIECES}
extern "C" __global__ void __launch_bounds__({THREADS}, 4) kernel(const float* a, const float* b, float* result, \
i64 count, i64 rows, i64 inner, i64 columns, i64 step_a, i64 lead_a, i64 step_b, i64 lead_b, i64 chunk) {{
  __shared__ Four pieces[2][2][DEPTH][PITCH / 4];
  float (*const left)[DEPTH][PITCH] = (float (*)[DEPTH][PITCH])pieces[0];
  float (*const right)[DEPTH][PITCH] = (float (*)[DEPTH][PITCH])pieces[1];
  const i32 across = (i32)((columns + TILE - 1) / TILE);
  const i64 row = (i64)(blockIdx.x / across) * TILE, column = (i64)(blockIdx.x % across) * TILE;
  const i64 matrix = blockIdx.y % (i32)count;
  const i32 first = (i32)(blockIdx.y / (i32)count * chunk);
  const i32 stop = first + chunk < inner ? (i32)(first + chunk) : (i32)inner;
  const float* const x = a + matrix * step_a + {across_a};
  const float* const y = b + matrix * step_b + {across_b};
  const i32 most_x = rows - row < TILE ? (i32)(rows - row) : TILE;
  const i32 most_y = columns - column < TILE ? (i32)(columns - column) : TILE;
  // a warp takes a quarter of the tile, each of its threads 8 rows and 4 columns
  const i32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const i32 down = warp / 2 * 32 + lane / 8 * 4, over = warp % 2 * 32 + lane % 8 * 4;
  float sum[8][4];
#pragma unroll
  for (i32 i = 0; i < 8; ++i)
#pragma unroll
    for (i32 j = 0; j < 4; ++j) sum[i][j] = 0;
  {left} p;
  {right} q;
  p.read(x, lead_a, most_x, first, stop);
  q.read(y, lead_b, most_y, first, stop);
  p.write(left[0]);
  q.write(right[0]);
  __syncthreads();
  i32 at = 0;
  for (i32 k = first; k < stop; k += DEPTH, at ^= 1) {{
    const bool more = k + DEPTH < stop;
    if (more) {{
      p.read(x, lead_a, most_x, k + DEPTH, stop);
      q.read(y, lead_b, most_y, k + DEPTH, stop);
    }}
#pragma unroll
    for (i32 d = 0; d < DEPTH; ++d) {{
      const Four upper = *(const Four*)&left[at][d][down], lower = *(const Four*)&left[at][d][down + 16];
      const Four values = *(const Four*)&right[at][d][over];
#pragma unroll
      for (i32 i = 0; i < 4; ++i)
#pragma unroll
        for (i32 j = 0; j < 4; ++j) {{
          sum[i][j] = fmaf(upper.v[i], values.v[j], sum[i][j]);
          sum[i + 4][j] = fmaf(lower.v[i], values.v[j], sum[i + 4][j]);
        }}
    }}
    if (more) {{
      // nobody reads these since the last barrier
      p.write(left[at ^ 1]);
      q.write(right[at ^ 1]);
      __syncthreads();
    }}
  }}
  float* const to = result + (i64)blockIdx.y * rows * columns + (row + down) * columns + column + over;
  const i32 low = most_x - down, wide = most_y - over;
#pragma unroll
  for (i32 i = 0; i < 8; ++i) {{
    const i32 r = i % 4 + i / 4 * 16;
    if (r >= low) continue;
{_written(wide)}
  }}
}}
"""


def _written(wide: bool) -> str:
    if wide:
        return """\
    const Four four = {{sum[i][0], sum[i][1], sum[i][2], sum[i][3]}};
    if (wide > 0) *(Four*)(to + r * columns) = four;"""
    return """\
#pragma unroll
    for (i32 j = 0; j < 4; ++j)
      if (j < wide) to[r * columns + j] = sum[i][j];"""


@lru_cache(maxsize=2)
def join_text(height: int) -> str:
    """The text that adds up `parts` arrays of n elements that lie one after another.

    Each element is a sum in the order of the arrays; or where `height` threads share it, of the sums of every so many.
    """
    across = JOINED // height
    room = f"  ROOM({JOINED // 2});\n  float* const sums = (float*)room;\n" if height > 1 else ""
    shared = f"""
  __syncthreads();  // the room may have been another block's, whose threads are behind
  sums[threadIdx.y * {across} + threadIdx.x] = sum;
  __syncthreads();
  sum = 0;
  for (i32 k = 0; k < {height}; ++k) sum += sums[k * {across} + threadIdx.x];"""
    return f"""{PRELUDE}
extern "C" __global__ void kernel(const float* part, float* result, i64 n, i64 parts) {{
{room}  const i64 wanted = (i64)blockIdx.x * {across} + threadIdx.x, t = wanted < n ? wanted : n - 1;
  float sum = 0;
#pragma unroll 8
  for (i64 k = threadIdx.y; k < parts; k += {height}) sum += part[k * n + t];{shared if height > 1 else ""}
  if (threadIdx.y == 0 && wanted < n) result[t] = sum;
}}
"""


def sharers(results: int, parts: int) -> int:
    """How many threads share an element of the second kernel: where there are few, and much to add up."""
    return 8 if results < MANY and parts >= 16 else 1
