"""Philox on the GPU for what kernels do not fuse: keys from keys, several keys at once, numbers below a bound.

The numbers are those of `graphc.ops.philox`, bit for bit.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from graphc.backends.cupy.compiling import function
from graphc.backends.cupy.library import cupy
from graphc.backends.cupy.prelude import TYPES
from graphc.ops.philox import BLOCK, BUMPS, DRAW, MULTIPLIERS, RETRY, ROUNDS

THREADS: Final = 256
Array = Any  # a cupy.ndarray

ROUND_FUNCTION: Final = f"""{TYPES}
struct Words {{ u32 v[4]; }};
// one block of a key's stream
__device__ Words scrambled(const u32* key, u64 position, u32 tag) {{
  u32 a = (u32)position, b = (u32)(position >> 32), c = key[2], d = key[3] ^ tag, k = key[0], m = key[1];
  for (int round = 0; round < {ROUNDS}; ++round) {{
    const u64 first = (u64){MULTIPLIERS[0]}u * a, second = (u64){MULTIPLIERS[1]}u * c;
    a = (u32)(second >> 32) ^ b ^ k; b = (u32)second;
    c = (u32)(first >> 32) ^ d ^ m; d = (u32)first;
    k += {BUMPS[0]}u; m += {BUMPS[1]}u;
  }}
  return Words{{{{a, b, c, d}}}};
}}
"""

BLOCKS: Final = f"""{ROUND_FUNCTION}
extern "C" __global__ void kernel(const u32* keys, const u64* positions, u32* result, i64 count, i64 tag) {{
  const i64 step = (i64)blockDim.x * gridDim.x;
  for (i64 t = (i64)blockIdx.x * blockDim.x + threadIdx.x; t < count; t += step) {{
    const Words found = scrambled(keys + 4 * t, positions[t], (u32)tag);
    for (int k = 0; k < 4; ++k) result[4 * t + k] = found.v[k];
  }}
}}
"""

STREAMS: Final = f"""{ROUND_FUNCTION}
// for each key so many blocks of its stream
extern "C" __global__ void kernel(const u32* keys, u32* result, i64 count, i64 each) {{
  const i64 step = (i64)blockDim.x * gridDim.x;
  for (i64 t = (i64)blockIdx.x * blockDim.x + threadIdx.x; t < count * each; t += step) {{
    const Words found = scrambled(keys + 4 * (t / each), (u64)(t % each), {DRAW}u);
    for (int k = 0; k < 4; ++k) result[4 * t + k] = found.v[k];
  }}
}}
"""


def below_text(bits: int) -> str:
    """The text of `below`: a thread draws again until its number is accepted, as D. Lemire's method says (2019)."""
    kind, high = f"u{bits}", "(u32)((u64)word * span >> 32)" if bits == 32 else "__umul64hi(word, span)"
    per_block = 128 // bits
    word = "found.v[part]" if bits == 32 else "(u64)found.v[2 * part] | (u64)found.v[2 * part + 1] << 32"
    return f"""{ROUND_FUNCTION}
extern "C" __global__ void kernel(const u32* keys, const {kind}* spans, {kind}* result, i64 count, i64 each) {{
  const i64 step = (i64)blockDim.x * gridDim.x;
  for (i64 t = (i64)blockIdx.x * blockDim.x + threadIdx.x; t < count * each; t += step) {{
    const u32* key = keys + 4 * (t / each);
    const i64 place = t % each;
    const int part = (int)(place % {per_block});
    const {kind} span = spans[t];
    Words derived = Words{{{{key[0], key[1], key[2], key[3]}}}};
    for (u64 attempt = 1;; ++attempt) {{
      const Words found = scrambled(derived.v, (u64)(place / {per_block}), {DRAW}u);
      const {kind} word = {word};
      if (span == 0) {{ result[t] = word; break; }}
      const {kind} low = ({kind})(word * span), surplus = ({kind})(~span + 1) % span;
      if (low >= surplus) {{ result[t] = {high}; break; }}
      derived = scrambled(key, attempt, {RETRY}u);
    }}
  }}
}}
"""


def blocks(key: Array, data: Array, tag: int) -> Array:
    """The block at a position of each key's stream: keys (..., 4), positions (...), which broadcast."""
    cp = cupy()
    shape = np.broadcast_shapes(key.shape[:-1], data.shape)
    keys = cp.ascontiguousarray(cp.broadcast_to(key, (*shape, 4)))
    positions = cp.ascontiguousarray(cp.broadcast_to(data, shape))
    result = cp.empty((*shape, 4), np.uint32)
    count = math.prod(shape)
    if count:
        _run(BLOCKS, count, keys, positions, result, count, tag)
    return result


def bits(key: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The first numbers of each key's stream of draws."""
    cp = cupy()
    lead, count = key.shape[:-1], math.prod(shape)
    each = -(-count * dtype.itemsize // BLOCK)
    keys = cp.ascontiguousarray(key)
    rows = math.prod(lead)
    words = cp.empty((rows, each * 4), np.uint32)
    if words.size:
        _run(STREAMS, rows * each, keys, words, rows, each)
    return cp.ascontiguousarray(words.view(dtype)[:, :count]).reshape((*lead, *shape))


def below(key: Array, span: Array, shape: tuple[int, ...]) -> Array:
    """Whole numbers below a bound for each key; a bound of 0 stands for all numbers."""
    cp = cupy()
    whole = (*key.shape[:-1], *shape)
    keys = cp.ascontiguousarray(key)
    spans = cp.ascontiguousarray(cp.broadcast_to(span, whole))
    result = cp.empty(whole, span.dtype)
    rows, each = math.prod(key.shape[:-1]), math.prod(shape)
    if result.size:
        _run(below_text(8 * span.dtype.itemsize), result.size, keys, spans, result, rows, each)
    return result


def _run(text: str, count: int, *arguments: Any) -> None:
    grid = max(1, min(-(-count // THREADS), 1 << 20)), 1, 1
    given = tuple(a.data.ptr if hasattr(a, "data") and hasattr(a.data, "ptr") else a for a in arguments)
    function(text)(grid, (THREADS, 1, 1), given)
