"""Bits of bytes: packed eight to one, and unpacked."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.elementwise import truth
from graphc.numpy.picking import fixed_size
from graphc.numpy.shaping import concatenate, moveaxis, ravel, reshape
from graphc.ops.typing import normalise_axis

__all__ = ["packbits", "unpackbits"]

BYTE: Any = np.dtype(np.uint8)


def _last(function: str, x: Any, axis: Any) -> tuple[Any, int]:
    """The operand with the axis last, or in one line if no axis is named; and the axis."""
    if axis is None:
        return ravel(x), 0
    place = normalise_axis(function, operator.index(axis), x.ndim)
    return moveaxis(x, place, -1), place


def _values(order: Any) -> np.ndarray[Any, Any]:
    """What each of eight bits is worth."""
    if order not in ("big", "little"):
        raise ValueError("'order' must be either 'little' or 'big'")
    ascending = 2 ** np.arange(8, dtype=np.uint8)
    return ascending if order == "little" else ascending[::-1].copy()


def _padded(x: Any, count: int) -> Any:
    """The operand with zeros put behind its last axis."""
    if not count:
        return x
    return concatenate([x, x.world.full(0, type(x.type)((*x.type.shape[:-1], count), x.type.dtype))], axis=-1)


@traceable(np.packbits)
def packbits(a: Any, /, axis: Any = None, bitorder: Any = "big") -> Any:
    """Eight elements of an axis, each as the bit whether it differs from 0, in one byte."""
    value = strong(a, common_world(a))
    if value.type.dtype.kind not in "biu":
        raise TypeError("Expected an input array of integer or boolean data type")
    values = _values(bitorder)
    x, place = _last("packbits", truth(value), axis)
    x = _padded(x.world.convert(x, BYTE), -fixed_size("packbits", x.type.shape[-1]) % 8)
    groups = reshape(x, (*x.type.shape[:-1], x.type.shape[-1] // 8, 8)) * values
    packed = x.world.reduce_sum(groups, axes=(groups.ndim - 1,), keepdims=False)
    return moveaxis(packed, -1, place)


@traceable(np.unpackbits)
def unpackbits(a: Any, /, axis: Any = None, count: Any = None, bitorder: Any = "big") -> Any:
    """The eight bits of each byte of an axis, as elements 0 and 1 of it."""
    value = strong(a, common_world(a))
    if value.type.dtype != BYTE:
        raise TypeError("Expected an input array of unsigned byte data type")
    values = _values(bitorder)
    x, place = _last("unpackbits", value, axis)
    bits = x.world.convert((reshape(x, (*x.type.shape, 1)) & values) != 0, BYTE)
    size = fixed_size("unpackbits", x.type.shape[-1]) * 8
    bits = reshape(bits, (*x.type.shape[:-1], size))
    if count is not None:
        wanted = operator.index(count)
        if wanted < 0:
            wanted += size
            if wanted < 0:
                raise ValueError("-count larger than number of elements")
        bits = bits[..., :wanted] if wanted <= size else _padded(bits, wanted - size)
    return moveaxis(bits, -1, place)
