"""Products of small matrices by a kernel of ours: cuBLAS takes longer to begin with them than they take.

Sums run over the inner size in order, each step rounded once; or where results are few, in up to 32 interleaved parts
that are joined as a tree.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from graphc.backends.cupy.prelude import PRELUDE

THREADS: Final = 256
MOST: Final = 1 << 20  # products of numbers, in all
THREADS_OF_ALL: Final = 1 << 17  # threads that run on a GPU at the same time, or more
LEAST: Final = 16  # products of a result that are a thread's own, where several share it


def lanes_of(results: int, inner: int) -> int:
    """How many threads share a result."""
    lanes = 1
    while lanes < 32 and 2 * lanes * results <= THREADS_OF_ALL and inner >= 2 * lanes * LEAST:
        lanes *= 2
    return lanes


@lru_cache(maxsize=8)
def text(kind: str, lanes: int) -> str:
    """The text that multiplies stacks of matrices; steps of an index of `a` and `b` are given, in elements."""
    fma = "fmaf" if kind == "float" else "fma"
    fold = f"SumOf<{kind}>"
    together = 32 if lanes > 1 else 1
    joined = f"over_lanes<{fold}, {lanes}>(sum)" if lanes > 1 else "sum"
    return f"""{PRELUDE}
template <class A> struct SumOf {{
  typedef A Acc;
  __device__ static Acc join(Acc a, Acc b) {{ return a + b; }}
}};
extern "C" __global__ void kernel(const {kind}* a, const {kind}* b, {kind}* result, i64 count, i64 rows, i64 inner, \
i64 columns, i64 step_a, i64 down_a, i64 right_a, i64 step_b, i64 down_b, i64 right_b) {{
  const i32 n = (i32)(count * rows * columns), width = (i32)columns, height = (i32)rows, depth = (i32)inner;
  const i64 next_a = right_a * {lanes}, next_b = down_b * {lanes};
  const i32 lane = threadIdx.x % {lanes};
  const i32 step = blockDim.x * gridDim.x / {lanes};
  // threads that join their sums stay together to the end
  const i32 own = threadIdx.x % {together} / {lanes};
  for (i32 top = (blockIdx.x * blockDim.x + threadIdx.x) / {lanes} - own; top < n; top += step) {{
    const i32 t = top + own < n ? top + own : n - 1;
    const i32 column = t % width, row = t / width % height;
    const i64 matrix = t / width / height;
    const {kind}* x = a + (matrix * step_a + row * down_a + lane * right_a);
    const {kind}* y = b + (matrix * step_b + column * right_b + lane * down_b);
    {kind} sum = 0;
#pragma unroll 8
    for (i32 k = lane; k < depth; k += {lanes}) {{
      sum = {fma}(*x, *y, sum);
      x += next_a;
      y += next_b;
    }}
    sum = {joined};
    if (lane == 0 && top + own < n) result[t] = sum;
  }}
}}
"""
