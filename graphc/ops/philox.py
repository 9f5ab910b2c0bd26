"""The Philox4x32-10 generator: a fixed scrambling of a counter under a key, so that every draw has an address.

A key of graphc is four 32-bit words. Two of them are Philox's own key, two are the upper half of its counter; the lower
half is the position in the stream. Each block of the stream is 16 bytes. Tags in the last word keep the streams apart
that one key is used for: the numbers drawn with it, the keys derived from it, and what a rejection draws again. For
one key, Philox is a bijection of the counter, so no two blocks of its streams are equal.

Reference: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, Any]

ROUNDS: Final = 10
MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
BUMPS: Final = (0x9E3779B9, 0xBB67AE85)  # what a round adds to the key: the golden ratio and sqrt(3) - 1
MASK: Final = 0xFFFFFFFF
BLOCK: Final = 16  # bytes
CHUNK: Final = 1 << 13  # blocks at a time, so that the work stays in the processor's cache

# What a stream is for, xored into the last word of the key: ASCII, far from any words made by hand.
DRAW: Final = 0
SPLIT: Final = 0x73706C74
FOLD: Final = 0x666F6C64
RETRY: Final = 0x72747279

U32, U64 = np.dtype("<u4"), np.dtype("<u8")
HALF: Final = np.uint64(32)
LOW: Final = np.uint64(MASK)


def scramble(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox4x32-10 of one counter, in Python's integers.

    >>> [f"{word:08x}" for word in scramble((0, 0, 0, 0), (0, 0))]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    a, b, c, d = counter
    k, m = key
    for _ in range(ROUNDS):
        first, second = MULTIPLIERS[0] * a, MULTIPLIERS[1] * c
        a, b, c, d = (second >> 32) ^ b ^ k, second & MASK, (first >> 32) ^ d ^ m, first & MASK
        k, m = (k + BUMPS[0]) & MASK, (m + BUMPS[1]) & MASK
    return a, b, c, d


def block(key: tuple[int, int, int, int], position: int, tag: int = DRAW) -> tuple[int, int, int, int]:
    """One block of a key's stream, in Python's integers."""
    return scramble((position & MASK, position >> 32, key[2], key[3] ^ tag), key[:2])


def blocks(keys: Array, positions: Array, tag: int = DRAW) -> Array:
    """Blocks of streams: keys of shape (..., 4) at 64-bit positions of shape (...), which broadcast; words (..., 4)."""
    pairs = scrambled(np.asarray(positions, U64), [keys[..., k].astype(U64) for k in range(4)], tag)
    result = np.empty((*pairs[0].shape, 4), U32)
    for k, pair in enumerate(pairs):
        result[..., 2 * k] = pair >> HALF
        result[..., 2 * k + 1] = pair & LOW
    return result


def scrambled(positions: Array, words: Sequence[Array], tag: int = DRAW) -> tuple[Array, Array]:
    """The two halves of blocks, each with its first word on top.

    Two words to a number make a round five operations on each half.
    """
    shape = np.broadcast_shapes(positions.shape, *(w.shape for w in words))
    left, right = np.empty(shape, U64), np.empty(shape, U64)
    left[...] = (positions << HALF) | (positions >> HALF)
    right[...] = (words[2] << HALF) | ((words[3] ^ np.uint64(tag)) & LOW)
    first, second = np.empty(shape, U64), np.empty(shape, U64)
    multiply_left, multiply_right = (np.uint64(m) for m in MULTIPLIERS)
    for number in range(ROUNDS):
        key_left, key_right = ((words[k] + np.uint64(number * BUMPS[k] & MASK)) << HALF for k in range(2))
        np.multiply(np.right_shift(left, HALF, out=first), multiply_left, out=first)
        np.multiply(np.right_shift(right, HALF, out=second), multiply_right, out=second)
        np.left_shift(left, HALF, out=left)
        np.bitwise_xor(left, key_left, out=left)
        np.bitwise_xor(left, second, out=left)
        np.left_shift(right, HALF, out=right)
        np.bitwise_xor(right, key_right, out=right)
        np.bitwise_xor(right, first, out=right)
    return left, right


def random_word(position: Array, a: Array, b: Array, c: Array, d: Array, bits: int) -> Array:
    """The number of so many bits at a position of the stream of draws of the key with the words a, b, c, d."""
    each = 128 // bits
    places = np.asarray(position, U64)
    block, within = places // each, places % each
    words = [np.asarray(x, U64) for x in (a, b, c, d)]
    flat = block.reshape(-1)
    fresh = np.ones(flat.size, bool)
    fresh[1:] = flat[1:] != flat[:-1]
    if all(w.size == 1 for w in words) and not fresh.all():
        # neighbours share a block
        shared = scrambled(flat[fresh], [w.reshape(()) for w in words])
        shape = np.broadcast_shapes(block.shape, *(w.shape for w in words))
        chosen = np.cumsum(fresh) - 1
        halves = [half[chosen].reshape(shape) for half in shared]
    else:
        halves = list(scrambled(block, words))
    half = np.where(within >= each // 2, halves[1], halves[0])
    half = (half >> HALF) | (half << HALF)
    found: Array = half >> (within % np.uint64(each // 2) * np.uint64(bits)) & np.uint64((1 << bits) - 1)
    return found


def random_bits(key: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The first numbers of each key's stream of draws, as unsigned integers of any width: the bytes are the same."""
    lead = key.shape[:-1]
    count = math.prod(shape)
    rows = key.reshape(-1, 4)
    each = -(-count * dtype.itemsize // BLOCK)
    words = np.empty((len(rows), each, 4), U32)
    # short streams of many keys together, long ones in pieces
    together = max(1, CHUNK // max(1, each))
    for row in range(0, len(rows), together):
        part = rows[row : row + together]
        for start in range(0, each, CHUNK):
            stop = min(start + CHUNK, each)
            keys = part[0] if len(part) == 1 else part[:, None, :]
            words[row : row + together, start:stop] = blocks(keys, np.arange(start, stop, dtype=U64))
    stream = words.reshape(len(rows), each * 4).view(dtype.newbyteorder("<"))
    return stream[:, :count].reshape((*lead, *shape)).astype(dtype, copy=False)


def words_at(keys: Array, positions: Array, dtype: np.dtype[Any]) -> Array:
    """The numbers at given positions of each key's stream of draws."""
    per_block = BLOCK // dtype.itemsize
    found = blocks(keys, positions // per_block).view(dtype.newbyteorder("<"))
    return np.take_along_axis(found, (positions % per_block)[..., None].astype(np.int64), -1)[..., 0].astype(dtype)


def derived_key(key: Array, data: Array, stream: str) -> Array:
    """The key derived from each key and 64-bit number; the streams "split" and "fold" have no key in common."""
    return blocks(key, data, SPLIT if stream == "split" else FOLD).astype(np.uint32, copy=False)


def random_below(key: Array, span: Array, shape: tuple[int, ...]) -> Array:
    """Whole numbers from 0 to span - 1, each exactly as likely as any other; a span of 0 stands for all numbers.

    The number is the upper half of a product, as in D. Lemire, "Fast random integer generation in an interval", 2019.
    Elements that his test rejects are drawn again, from keys derived for the first, second, ... such attempt.
    """
    words = random_bits(key, shape, span.dtype)
    spans = np.broadcast_to(span, words.shape)
    result, again = _scaled(words, spans)
    places = np.flatnonzero(again)
    attempt = 0
    count = math.prod(shape)
    while places.size:
        attempt += 1
        derived = blocks(key.reshape(-1, 4), np.asarray(attempt, U64), RETRY)[places // count]
        part = spans.reshape(-1)[places]
        drawn, again = _scaled(words_at(derived, (places % count).astype(U64), span.dtype), part)
        result.reshape(-1)[places] = drawn
        places = places[again]
    return result


def _scaled(words: Array, spans: Array) -> tuple[Array, Array]:
    """The words scaled down to the spans, and which of them have to be drawn again."""
    if words.dtype.itemsize == 4:
        product = words.astype(np.uint64) * spans
        high, low = (product >> HALF).astype(words.dtype), product.astype(words.dtype)
    else:
        high, low = _product(words, spans)
    whole = spans == 0
    # 2**bits modulo the span: so many of the lowest products are one too many
    surplus = (~spans + words.dtype.type(1)) % np.where(whole, words.dtype.type(1), spans)
    return np.where(whole, words, high), ~whole & (low < surplus)


def _product(a: Array, b: Array) -> tuple[Array, Array]:
    """The upper and the lower 64 bits of the product of 64-bit numbers."""
    a_high, a_low, b_high, b_low = a >> HALF, a & LOW, b >> HALF, b & LOW
    one, other = a_high * b_low, a_low * b_high
    middle = (a_low * b_low >> HALF) + (one & LOW) + (other & LOW)
    return a_high * b_high + (one >> HALF) + (other >> HALF) + (middle >> HALF), a * b


def random_order(key: Array, shape: tuple[int, ...]) -> Array:
    """For each line along the last axis, 0, 1, ... in random order; every order exactly as likely as any other."""

    def more(attempt: int) -> Array:
        return random_bits(blocks(key, np.asarray(attempt, U64), RETRY), shape, U64)

    return order(random_bits(key, shape, U64), more)


def order(words: Array, more: Callable[[int], Array]) -> Array:
    """The positions that sort words along the last axis; `more(attempt)` gives further words, which break ties.

    Equal words in their old order would make some orders likelier than others.
    """
    keys = [words]
    found = np.argsort(words, axis=-1, kind="stable")
    while _tied(keys, found):
        keys.insert(0, more(len(keys)))
        found = np.lexsort(keys, axis=-1)
    return found


def _tied(keys: list[Array], found: Array) -> bool:
    """Whether two neighbours in the order found are equal in all of their words."""
    equal = np.ones((*found.shape[:-1], max(0, found.shape[-1] - 1)), bool)
    for words in keys:
        lined = np.take_along_axis(words, found, -1)
        equal &= lined[..., 1:] == lined[..., :-1]
    return bool(equal.any())
