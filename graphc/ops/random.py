"""Random numbers as functions of a key: streams of bits, whole numbers below a bound, orders, and keys from keys.

The generator is Philox4x32-10, see `graphc.ops.philox`. A key is u32[4]; keys along leading axes each give their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.errors import DTypeError, ShapeError
from graphc.ir import DTYPE_NAMES, TensorType, Type
from graphc.ops.batching import leading, lined_up, repeated, widened
from graphc.ops.philox import BUMPS, FOLD, MASK, MULTIPLIERS, RETRY, ROUNDS, SPLIT, block
from graphc.ops.record import ErrorSample, Op, Reason, Sample
from graphc.ops.typing import Facts, broadcast, elementwise, show, tensor
from graphc.ops.work import random_below, random_order, random_word, random_words

NO_TANGENT: Final[Mapping[str, Reason]] = {"rule": "integer or boolean result: no tangent"}
U32, U64, INT = (np.dtype(t) for t in (np.uint32, np.uint64, np.int64))
WORD: Final = elementwise("random_word", "u")
Key = tuple[int, int, int, int]


def lead(op: str, key: Type) -> tuple[Size, ...]:
    """The axes along which keys stand."""
    k = tensor(key, op)
    if k.dtype != U32:
        raise DTypeError(f"{op}: a key holds 32-bit words", expected="u32[...,4]", actual=repr(k))
    if not k.ndim or k.shape[-1] != 4:
        raise ShapeError(f"{op}: a key holds four words", expected="u32[...,4]", actual=repr(k))
    return k.shape[:-1]


def random_bits_type(facts: Facts, key: Type, *, shape: tuple[Size, ...], dtype: np.dtype[Any]) -> TensorType:
    if dtype.kind != "u":
        raise DTypeError(
            "random_bits: bits are unsigned integers", expected="u8, u16, u32 or u64", actual=DTYPE_NAMES[dtype]
        )
    return TensorType((*lead("random_bits", key), *shape), dtype)


def random_word_type(facts: Facts, *operands: Type, bits: int) -> TensorType:
    result = WORD(facts, *operands)
    if result.dtype != U64:
        raise DTypeError("random_word: positions and words are 64 bits wide", expected="u64", actual=repr(result))
    if bits not in (8, 16, 32, 64):
        raise DTypeError("random_word: no such words", expected="8, 16, 32 or 64 bits", actual=str(bits))
    return result


def random_word_kernel(k: Any, position: Any, a: Any, b: Any, c: Any, d: Any, *, bits: int) -> Any:
    """As `philox.scrambled`: each half of a block in one number, the first word on top."""
    each = 128 // bits
    block = position >> (each.bit_length() - 1)
    left, right = (block << 32) | (block >> 32), (c << 32) | (d & MASK)
    for number in range(ROUNDS):
        first, second = (left >> 32) * MULTIPLIERS[0], (right >> 32) * MULTIPLIERS[1]
        left = second ^ (left << 32) ^ ((a + (number * BUMPS[0] & MASK)) << 32)
        right = first ^ (right << 32) ^ ((b + (number * BUMPS[1] & MASK)) << 32)
    half = k.where(k.ne(position & (each // 2), k.number(0, position)), right, left)
    half = (half >> 32) | (half << 32)
    if bits == 64:
        return half
    return (half >> ((position & (each // 2 - 1)) * bits)) & ((1 << bits) - 1)


def random_bits_expansion(w: Any, key: Any, *, shape: tuple[Size, ...], dtype: np.dtype[Any]) -> Any:
    if key.ndim > 1:
        return None  # several keys
    position = w.iota(size=dims.product(shape), dtype=U64)
    words = [w.convert(w.reshape(w.slice(key, index=((k, k + 1, 1),)), shape=()), U64) for k in range(4)]
    return w.reshape(w.convert(w.random_word(position, *words, bits=8 * dtype.itemsize), dtype), shape=shape)


def random_below_type(
    facts: Facts, key: Type, span: Type, *, shape: tuple[Size, ...], dtype: np.dtype[Any]
) -> TensorType:
    whole, bound = (*lead("random_below", key), *shape), tensor(span, "random_below")
    if dtype not in (U32, U64):
        raise DTypeError("random_below: a draw has 32 or 64 bits", expected="u32 or u64", actual=DTYPE_NAMES[dtype])
    if bound.dtype != dtype:
        raise DTypeError("random_below: the bound has another dtype", expected=DTYPE_NAMES[dtype], actual=repr(bound))
    if broadcast(facts, "random_below", whole, bound.shape) != whole:
        raise ShapeError("random_below: more bounds than numbers", expected=show(whole), actual=repr(bound))
    return TensorType(whole, dtype)


def random_order_type(facts: Facts, key: Type, *, shape: tuple[Size, ...]) -> TensorType:
    if not shape:
        raise ShapeError("random_order: there is no axis to put in order", expected="a shape with axes", actual="[]")
    return TensorType((*lead("random_order", key), *shape), INT)


def derived_key_type(facts: Facts, key: Type, data: Type, *, stream: str) -> TensorType:
    number = tensor(data, "derived_key")
    if number.dtype != U64:
        raise DTypeError("derived_key: keys are derived from 64-bit numbers", expected="u64", actual=repr(number))
    return TensorType((*broadcast(facts, "derived_key", lead("derived_key", key), number.shape), 4), U32)


# --- exact meanings, in Python's integers ----------------------------------------------------------------------


def integers(s: Any, x: Any) -> Any:
    """Exact whole numbers as Python integers."""
    return np.asarray(np.frompyfunc(lambda v: s.integer(s.lift(v)), 1, 1)(x), np.dtype(object))


def keys_of(s: Any, x: Any) -> list[Key]:
    return [tuple(row) for row in integers(s, x).reshape(-1, 4).tolist()]


def filled(s: Any, values: list[int], shape: tuple[int, ...]) -> Any:
    result = np.empty(len(values), np.dtype(object))
    result[:] = [s.number(v) for v in values]
    return result.reshape(shape)


def number_at(key: Key, position: int, bits: int) -> int:
    """One number of a key's stream of draws."""
    first = position * bits
    words = block(key, first // 128)
    whole = sum(word << 32 * k for k, word in enumerate(words))
    return whole >> first % 128 & (1 << bits) - 1


def retried(key: Key, attempt: int) -> Key:
    """The key from which a number that was rejected is drawn again."""
    return block(key, attempt, RETRY) if attempt else key


def random_bits_exact(s: Any, key: Any, *, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    count = range(math.prod(shape))
    found = [number_at(k, i, 8 * dtype.itemsize) for k in keys_of(s, key) for i in count]
    return filled(s, found, (*key.shape[:-1], *shape))


def random_word_exact(s: Any, position: Any, *words: Any, bits: int) -> Any:
    place, *key = (s.integer(s.lift(x)) for x in (position, *words))
    return s.number(number_at(tuple(w & MASK for w in key), place, bits))


def below(key: Key, position: int, span: int, bits: int) -> int:
    attempt = 0
    span %= 1 << bits
    while span:
        product = number_at(retried(key, attempt), position, bits) * span
        if product % (1 << bits) >= (1 << bits) % span:
            return product >> bits
        attempt += 1
    return number_at(key, position, bits)


def random_below_exact(s: Any, key: Any, span: Any, *, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    whole = (*key.shape[:-1], *shape)
    spans = np.broadcast_to(integers(s, span), whole).reshape(-1).tolist()
    count = math.prod(shape)
    keys = keys_of(s, key)
    found = [below(keys[i // count], i % count, one, 8 * dtype.itemsize) for i, one in enumerate(spans)]
    return filled(s, found, whole)


def random_order_exact(s: Any, key: Any, *, shape: tuple[int, ...]) -> Any:
    found: list[int] = []
    size = shape[-1]
    for k in keys_of(s, key):
        for start in range(0, math.prod(shape), max(1, size)):
            words: list[tuple[int, ...]] = [()] * size
            attempt = 0
            while len(set(words)) < size:
                again = retried(k, attempt)
                words = [(*w, number_at(again, start + i, 64)) for i, w in enumerate(words)]
                attempt += 1
            found += sorted(range(size), key=words.__getitem__)
    return filled(s, found, (*key.shape[:-1], *shape))


def derived_key_exact(s: Any, key: Any, data: Any, *, stream: str) -> Any:
    numbers = integers(s, data)
    whole = np.broadcast_shapes(key.shape[:-1], numbers.shape)
    keys = np.broadcast_to(key, (*whole, 4))
    places = np.broadcast_to(numbers, whole).reshape(-1).tolist()
    tag = {"split": SPLIT, "fold": FOLD}[stream]
    words = [word for k, place in zip(keys_of(s, keys), places, strict=True) for word in block(k, place, tag)]
    return filled(s, words, (*whole, 4))


def random_below_rows(
    w: Any, name: str, size: Size, operands: Sequence[Any], batched: Sequence[bool], attrs: Mapping[str, Any]
) -> Any:
    """Keys along leading axes draw each for itself; bounds line up with what is drawn."""
    key, span = operands
    key = key if batched[0] else repeated(w, key, size)
    rank = key.ndim - 2 + len(attrs["shape"])
    return w.random_below(key, widened(w, span, rank) if batched[1] else span, **attrs)


SOME: Final = np.array([1, 2, 3, 4], np.uint32)
LARGE: Final = np.array([2**32 - 1, 0x9E3779B9, 0x80000000, 7], np.uint32)
TWO: Final = np.stack([SOME, LARGE])
WORDS: Final = tuple(np.array(w, np.uint64) for w in (7, 2**32 - 1, 0x9E3779B9, 2**40 + 5))  # upper halves do not count
PLACES: Final = np.array([0, 1, 2, 3, 2**33 + 1, 2**64 - 1], np.uint64)
NO_KEY: Final = (
    ErrorSample(("i64[4]",), {}, DTypeError, "32-bit words"),
    ErrorSample(("u32[2]",), {}, ShapeError, "four words"),
    ErrorSample(("u32[]",), {}, ShapeError, "four words"),
)


def no_key(attrs: Mapping[str, Any], *others: str) -> tuple[ErrorSample, ...]:
    """What is no key, beside an op's other operands."""
    return tuple(ErrorSample((*e.operands, *others), attrs, e.error, e.words) for e in NO_KEY)


OPS = (
    Op(
        "random_bits",
        type=random_bits_type,
        numpy="nk.random_bits({0}, {shape}, {dtype})",
        expansion=random_bits_expansion,
        exact=random_bits_exact,
        batch=leading,
        domains=("real",),
        samples=(
            Sample((SOME,), {"shape": (5,), "dtype": U32}),
            Sample((LARGE,), {"shape": (2, 3), "dtype": U64}),
            Sample((SOME,), {"shape": (19,), "dtype": np.dtype(np.uint8)}),
            Sample((SOME,), {"shape": (), "dtype": np.dtype(np.uint16)}),
            Sample((TWO,), {"shape": (3,), "dtype": U64}),
            Sample((TWO[:, None],), {"shape": (0, 2), "dtype": U32}),
        ),
        errors=(
            *no_key({"shape": (3,), "dtype": U32}),
            ErrorSample(("u32[4]",), {"shape": (3,), "dtype": INT}, DTypeError, "unsigned"),
        ),
        work=random_words,
        reasons=NO_TANGENT,
        doc="The first numbers of a key's stream, of any width; an element does not depend on how many follow.",
    ),
    Op(
        "random_word",
        type=random_word_type,
        numpy="nk.random_word({0}, {1}, {2}, {3}, {4}, {bits})",
        kernel=random_word_kernel,
        kernel_kinds="u",
        exact=random_word_exact,
        domains=("real",) * 5,
        samples=(
            Sample((PLACES, *WORDS), {"bits": 64}),
            Sample((PLACES, *WORDS), {"bits": 32}),
            Sample((np.arange(19, dtype=np.uint64), *WORDS), {"bits": 16}),
            Sample((np.array(2**64 - 1, np.uint64), *WORDS[::-1]), {"bits": 8}),
            Sample((np.array(7, np.uint64), *WORDS[:3], PLACES), {"bits": 32}),
        ),
        errors=(
            ErrorSample(("u32[2]",) * 5, {"bits": 32}, DTypeError, "64 bits wide"),
            ErrorSample(("i64[2]",) * 5, {"bits": 32}, DTypeError, "not defined for i64"),
            ErrorSample(("u64[2]",) * 5, {"bits": 7}, DTypeError, "no such words"),
            ErrorSample(("u64[2]", "u64[3]", "u64[]", "u64[]", "u64[]"), {"bits": 8}, ShapeError, "do not broadcast"),
        ),
        elementwise=True,
        work=random_word,
        reasons=NO_TANGENT,
        doc="One number of the stream of a key with four words, at a position: what kernels make of `random_bits`.",
    ),
    Op(
        "random_below",
        type=random_below_type,
        numpy="nk.random_below({0}, {1}, {shape})",
        exact=random_below_exact,
        batch=random_below_rows,
        domains=("real", "real"),
        samples=(
            Sample((SOME, np.array(6, np.uint32)), {"shape": (7,), "dtype": U32}),
            Sample((LARGE, np.array(3 << 62, np.uint64)), {"shape": (20,), "dtype": U64}),
            Sample((SOME, np.array((1 << 31) + 1, np.uint32)), {"shape": (20,), "dtype": U32}),
            Sample((TWO, np.array([[1, 0, 5], [2**64 - 1, 2**63 + 1, 2]], np.uint64)), {"shape": (3,), "dtype": U64}),
            Sample((TWO, np.array((1 << 31) + 1, np.uint32)), {"shape": (3, 2), "dtype": U32}),
            Sample((SOME, np.array([0, 2**32 - 1], np.uint32)), {"shape": (3, 2), "dtype": U32}),
            Sample((SOME, np.array(6, np.uint32)), {"shape": (0,), "dtype": U32}),
        ),
        errors=(
            *no_key({"shape": (3,), "dtype": U32}, "u32[]"),
            ErrorSample(("u32[4]", "u8[]"), {"shape": (3,), "dtype": np.dtype(np.uint8)}, DTypeError, "32 or 64 bits"),
            ErrorSample(("u32[4]", "u32[]"), {"shape": (3,), "dtype": U64}, DTypeError, "another dtype"),
            ErrorSample(("u32[4]", "u32[2,3]"), {"shape": (3,), "dtype": U32}, ShapeError, "more bounds"),
            ErrorSample(("u32[4]", "u32[2]"), {"shape": (3,), "dtype": U32}, ShapeError, "do not broadcast"),
        ),
        work=random_below,
        reasons=NO_TANGENT,
        doc="Whole numbers from 0 to a bound, exclusive, all exactly as likely; a bound of 0 is none. "
        "By the upper half of a product, with rejection (D. Lemire, 2019).",
    ),
    Op(
        "random_order",
        type=random_order_type,
        numpy="nk.random_order({0}, {shape})",
        exact=random_order_exact,
        batch=leading,
        domains=("real",),
        samples=(
            Sample((SOME,), {"shape": (7,)}),
            Sample((LARGE,), {"shape": (2, 4)}),
            Sample((TWO,), {"shape": (5,)}),
            Sample((SOME,), {"shape": (0,)}),
            Sample((SOME,), {"shape": (3, 0)}),
        ),
        errors=(
            *no_key({"shape": (3,)}),
            ErrorSample(("u32[4]",), {"shape": ()}, ShapeError, "no axis"),
        ),
        work=random_order,
        reasons=NO_TANGENT,
        doc="0, 1, ... in random order along the last axis, each line for itself; all orders are exactly as likely. "
        "By sorting random words, with more of them where two are equal.",
    ),
    Op(
        "derived_key",
        type=derived_key_type,
        numpy="nk.derived_key({0}, {1}, {stream})",
        exact=derived_key_exact,
        batch=lined_up(1, 0),
        domains=("real", "real"),
        samples=(
            Sample((SOME, np.array([0, 1, 2**32 + 1, 2**64 - 1], np.uint64)), {"stream": "split"}),
            Sample((LARGE, np.array(3, np.uint64)), {"stream": "fold"}),
            Sample((TWO[:, None], np.array([1, 2, 3], np.uint64)), {"stream": "fold"}),
        ),
        errors=(
            *no_key({"stream": "fold"}, "u64[]"),
            ErrorSample(("u32[4]", "i64[]"), {"stream": "fold"}, DTypeError, "64-bit numbers"),
            ErrorSample(("u32[2,4]", "u64[3]"), {"stream": "fold"}, ShapeError, "do not broadcast"),
        ),
        work=random_words,
        reasons=NO_TANGENT,
        doc="A new key from a key and a number; keys from split and from fold are unlike each other and all draws.",
    ),
)
