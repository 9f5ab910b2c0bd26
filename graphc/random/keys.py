"""Keys: made from a seed, and derived from one another."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.random.drawing import as_key, as_shape, cast, count, draws, emit
from graphc.tracing import SymbolicSize, Traced

U32, U64 = np.dtype(np.uint32), np.dtype(np.uint64)


@draws
def key(seed: Any) -> Any:
    """The key of a seed: where all random numbers of a program begin.

    A key is a plain array of four 32-bit words. It can be an argument of a traced function, stand in a pytree, be
    stacked and saved. The same key always gives the same numbers.

    Args:
        seed: a whole number; one below 0 counts modulo 2**64, and a Python number may have up to 128 bits. It may be
            traced.

    Returns:
        u32[4].

    Raises:
        DTypeError: the seed is no whole number.

    >>> key(0)
    array([0, 0, 0, 0], dtype=uint32)
    >>> split(key(0))
    array([[1291340450,  447823904, 3820092232, 1255026540],
           [3628696745, 2908351882, 1439298958, 2829538911]], dtype=uint32)
    """
    if isinstance(seed, int) and not isinstance(seed, bool):
        if not -(2**63) <= seed < 2**128:
            raise ValueError(f"graphc.random.key: a seed has at most 128 bits, not {seed.bit_length()}")
        whole = seed % 2**64 if seed < 0 else seed
        return np.array([whole >> 32 * k & 0xFFFFFFFF for k in range(4)], U32)
    number = _number("key", "a seed", seed)
    if number.ndim:
        raise DTypeError(
            "random.key: a seed is a single number",
            expected="a whole number",
            actual=f"an array of shape {number.shape}",
            fix="split(key(seed), shape) makes many keys, fold_in(key(seed), numbers) a key for each number",
        )
    low, high = cast(number & 0xFFFFFFFF, U32), cast(number >> 32, U32)
    return np.stack([low, high, *2 * [np.zeros((), U32)]])


@draws
def split(key: Any, num: Any = 2) -> Any:
    """New keys from a key, each with random numbers of its own.

    Which key is derived at a place does not depend on how many there are: `split(key, 9)[:3]` is `split(key, 3)`. What
    is drawn with `key` itself, and the keys that `fold_in` derives from it, are independent of them all.

    Args:
        key: u32[4].
        num: how many keys, or the shape in which they stand.

    Returns:
        u32[num,4], or u32[*num,4].

    >>> first, second = split(key(7))
    >>> bool((first == second).all())
    False
    """
    shape = as_shape("split", num)
    parent = as_key("split", key)
    numbers = np.reshape(emit("iota", size=count(shape), dtype=U64), shape)
    return emit("derived_key", parent, numbers, stream="split")


@draws
def fold_in(key: Any, data: Any) -> Any:
    """The key derived from a key and a number: for each step of a loop, each worker, each name that has a number.

    Args:
        key: u32[4].
        data: whole numbers of up to 64 bits; one below 0 counts modulo 2**64. An array gives a key for each element.

    Returns:
        u32[4], or u32[*data.shape,4].

    >>> base = key(7)
    >>> noise = [fold_in(base, step) for step in range(3)]
    >>> bool((noise[0] == fold_in(base, 0)).all()), bool((noise[0] == noise[1]).all())
    (True, False)
    """
    return emit("derived_key", as_key("fold_in", key), _number("fold_in", "the number", data), stream="fold")


def _number(function: str, what: str, value: Any) -> Any:
    """Whole numbers as u64, modulo 2**64."""
    if isinstance(value, SymbolicSize):
        value = value.value()
    if type(value) is int and not -(2**63) <= value < 2**64:
        raise ValueError(f"graphc.random.{function}: {what} has more than 64 bits: {value}")
    dtype = value.type.dtype if isinstance(value, Traced) else np.asarray(value).dtype
    if dtype.kind not in "iu":
        raise DTypeError(
            f"random.{function}: {what} must be whole",
            expected="an integer",
            actual=repr(value)[:60],
            fix="int(...), or .astype(np.int64)" if dtype.kind in "fb" else None,
        )
    return cast(value, U64)
