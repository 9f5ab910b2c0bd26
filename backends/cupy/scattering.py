"""Adding up at repeated positions in a fixed order: positions are sorted, and one thread takes each run of equals."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from graphc.backends.cupy.compiling import function
from graphc.backends.cupy.prelude import C_TYPES, PRELUDE, fold_type

THREADS: Final = 256


def run_text(kind: str, fold: str) -> str:
    """The text of a kernel. `values`: (lead, count, rest); `result`: (lead, span, rest), zeros."""
    return f"""{PRELUDE}
extern "C" __global__ void kernel(const {kind}* values, const i64* order, const i64* sorted, {kind}* result,
                                  i64 lead, i64 count, i64 span, i64 rest) {{
  const i64 step = (i64)blockDim.x * gridDim.x;
  for (i64 t = (i64)blockIdx.x * blockDim.x + threadIdx.x; t < lead * count * rest; t += step) {{
    const i64 r = t % rest, k = t / rest % count, l = t / rest / count;
    const i64 place = sorted[k];
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


def add_runs(values: Any, order: Any, positions: Any, result: Any) -> None:
    """Add `values` along axis 1 to `result`; `order` sorts their positions, stably, to `positions`."""
    lead, count, rest = values.shape
    dtype = values.dtype
    if dtype == np.bool_:
        fold = "AnyOf"
    else:
        fold = fold_type("sum", dtype, fast=False)
    run = function(run_text("u8" if dtype == np.bool_ else C_TYPES[dtype], fold))
    pointers = (values.data.ptr, order.data.ptr, positions.data.ptr, result.data.ptr)
    run(_grid(values.size), (THREADS, 1, 1), (*pointers, lead, count, result.shape[1], rest))


def last_of_runs(order: Any, positions: Any, result: Any) -> None:
    """Write to each position the number of the last that has it."""
    run = function(LAST)
    pointers = (order.data.ptr, positions.data.ptr, result.data.ptr)
    run(_grid(order.size), (THREADS, 1, 1), (*pointers, order.size, result.size))


def _grid(count: int) -> tuple[int, int, int]:
    return max(1, min(-(-count // THREADS), 1 << 20)), 1, 1
