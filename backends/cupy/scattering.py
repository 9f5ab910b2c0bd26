"""Adding up at repeated positions in a fixed order: one thread takes all that goes to a place, in the order it stands.

Where there are few, each result looks for its positions among all; or each position for an earlier one at its place,
whose thread adds up for both. Where there are too many for that, the positions of each place are gathered first, by
`buckets`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from graphc.backends.cupy import buckets
from graphc.backends.cupy.compiling import function
from graphc.backends.cupy.launching import dense, flush, launch
from graphc.backends.cupy.library import cupy
from graphc.backends.cupy.prelude import C_TYPES, PRELUDE, fold_type

THREADS: Final = 256
FEW: Final = 2048  # positions that every thread looks through
MOST_SEARCHED: Final = 1 << 18  # positions times results, where each result looks through all positions
NARROW: Final = 1 << 31  # positions, or places, from which on they take 64 bits
Array = Any  # a cupy.ndarray

# a position that counts from the end, or is none, as one from 0 to n - 1
WRAPPED: Final = """\
__device__ __forceinline__ i64 wrapped(i64 p, i64 n) {
  p += p < 0 ? n : 0;
  if ((u64)p >= (u64)n) p = (p % n + n) % n;  // takes many operations, and is seldom needed
  return p;
}"""
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
    digits = "\n".join(f"  place = place * n{k} + wrapped((i64)i{k}[j], n{k});" for k in range(len(indices)))
    return f"""{WRAPPED}
__device__ __forceinline__ i64 place_of(i64 j{parameters}) {{
  i64 place = 0;
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
    if count <= FEW:
        result = cp.zeros(shape, dtype)
        numbers = (values.data.ptr, result.data.ptr, lead, count, shape[1], rest)
        _run(few_text(kind, fold, kinds), values.size, *numbers, *_numbers(indices, sizes))
        return result
    return _gathered(values, extents, indices, sizes, kind, fold)


def _gathered(
    values: Array, extents: tuple[int, int, int], indices: Sequence[Array], sizes: Sequence[int], kind: str, fold: str
) -> Array:
    """The same where the positions of each place are gathered first."""
    cp = cupy()
    lead, count, rest = extents
    span = math.prod(sizes)
    number = np.dtype(np.uint32 if max(count, span) < NARROW else np.uint64)
    result = cp.empty((lead, span, rest), values.dtype)
    counts = cp.zeros(span + 1, number)
    firsts, arrivals, order = cp.empty(span, number), cp.empty(count, number), cp.empty(count, number)
    aligned = math.gcd(values.data.ptr, result.data.ptr, 16)
    shape = buckets.sharing(span, lead * rest, rest, values.dtype.itemsize, aligned)
    texts = gathered_texts(kind, fold, tuple(C_TYPES[i.dtype] for i in indices), C_TYPES[number], shape)
    places = _numbers(indices, sizes)
    counted, first, ordered, summed = texts
    _run(counted, count, counts.data.ptr, arrivals.data.ptr, count, span, *places)
    _run(first, span, counts.data.ptr, firsts.data.ptr, span)
    _run(ordered, count, firsts.data.ptr, arrivals.data.ptr, order.data.ptr, count, span, *places)
    pointers = values.data.ptr, result.data.ptr, counts.data.ptr, firsts.data.ptr, order.data.ptr
    function(summed)((*shape.grid, 1), (buckets.THREADS, 1, 1), (*pointers, lead, count, span, rest))
    return result


@lru_cache(maxsize=32)
def gathered_texts(
    kind: str, fold: str, indices: tuple[str, ...], number: str, shape: buckets.Sharing
) -> tuple[str, str, str, str]:
    """The texts that count the positions of each place, find room for them, put them there, and add up in order.

    indices: the types of positions along each axis; number: of what counts them, unsigned.
    """
    places = f"{PRELUDE}\n{_place_of(indices)}", *_places(indices), number
    return (
        buckets.count_text(*places),
        f"{PRELUDE}\n{buckets.first_text(number)}",
        buckets.order_text(*places),
        f"{PRELUDE}\n{buckets.sum_text(kind, fold, number, shape)}",
    )


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
        total = total * size + one.astype(np.int64) % size  # not below 0: as NumPy's remainder
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
