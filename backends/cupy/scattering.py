"""Adding up at repeated positions in a fixed order: one thread takes all that goes to a place, in the order it stands.

Which thread that is, the others see by looking for an earlier one with their position. Where there are too many to look
through, positions are sorted first, so that equals are neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from graphc.backends.cupy.compiling import function
from graphc.backends.cupy.library import cupy
from graphc.backends.cupy.prelude import C_TYPES, PRELUDE, fold_type

THREADS: Final = 256
FEW: Final = 2048  # positions that every thread looks through
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


def few_text(kind: str, fold: str, indices: Sequence[str]) -> str:
    """The text that adds `values`, (lead, count, rest), to `result`, (lead, span, rest).

    indices: the types of positions along each axis.
    """
    parameters = "".join(f", const {index}* i{k}, i64 n{k}" for k, index in enumerate(indices))
    arguments = "".join(f", i{k}, n{k}" for k in range(len(indices)))
    digits = "\n".join(
        f"  p = (i64)i{k}[j]; place = place * n{k} + (p < 0 ? p + n{k} : p);" for k in range(len(indices))
    )
    return f"""{PRELUDE}
__device__ i64 place_of(i64 j{parameters}) {{
  i64 place = 0, p;
{digits}
  return place;
}}
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


def add(values: Array, indices: Sequence[Array], sizes: Sequence[int], result: Array) -> None:
    """Add `values`, (lead, count, rest), to `result` at positions along several axes of these sizes.

    Both are dense; so are the indices, of `count` elements each. Negative positions count from the end.
    """
    lead, count, rest = values.shape
    dtype = values.dtype
    fold = "AnyOf" if dtype == np.bool_ else fold_type("sum", dtype, fast=False)
    kind = "u8" if dtype == np.bool_ else C_TYPES[dtype]
    numbers = (values.data.ptr, result.data.ptr, lead, count, result.shape[1], rest)
    if count <= FEW:
        text = few_text(kind, fold, [C_TYPES[i.dtype] for i in indices])
        places = [x for i, size in zip(indices, sizes, strict=True) for x in (i.data.ptr, size)]
        _run(text, values.size, *numbers, *places)
        return
    order, positions = in_order(indices, sizes)
    _run(sorted_text(kind, fold), values.size, *numbers, order.data.ptr, positions.data.ptr)


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
    return [cp.ascontiguousarray(cp.broadcast_to(i, shape)).reshape(math.prod(shape)) for i in indices], shape


def _run(text: str, count: int, *arguments: int) -> None:
    grid = max(1, min(-(-count // THREADS), 1 << 20)), 1, 1
    function(text)(grid, (THREADS, 1, 1), arguments)
