"""The order in memory that NumPy gives new arrays.

They lie as in C, the last axis fastest, unless NumPy keeps the order of an operand (order "K"): `x.T + 1` lies as `x.T`
does. What NumPy does with operands of several orders is asked of NumPy itself, by small arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from graphc.ir import TensorType
from graphc.ops.record import Op
from graphc.tracing.storage import Memory, Storage, is_scalar
from graphc.tracing.strides import MOST_AXES, Array, Order, Shape, contiguous, order_of, order_of_array, packed, sample

if TYPE_CHECKING:
    from graphc.tracing.values import Traced


def strides_of(value: Traced) -> Shape | None:
    """The strides of an array; None where they are not known."""
    return packed(value.type.shape) if value.memory is None else value.memory.strides


def in_c_order(value: Traced) -> bool | None:
    """Whether an array lies as in C, without gaps; None where that is not known."""
    return contiguous(value.type.shape, strides_of(value))


def in_f_order(value: Traced) -> bool | None:
    """Whether an array lies as in Fortran, the first axis fastest, without gaps; None where that is not known."""
    strides = strides_of(value)
    return contiguous(value.type.shape[::-1], None if strides is None else strides[::-1])


def copied(value: Traced, order: str = "K") -> Traced:
    """The content of a value as a new array, or as a number if it was one, in the order that NumPy's `order` means."""
    if is_scalar(value):
        return value.world.value_class(value.world, value.id)
    return placed(value, order, value)


def placed(content: Traced, order: str = "C", model: Traced | None = None) -> Traced:
    """A new array of the content; the orders "K" and "A" are those of the model."""
    result = content.world.value_class(content.world, content.id)
    rank = len(content.type.shape)
    if order == "A" and model is not None:
        order = "F" if not in_c_order(model) and in_f_order(model) else "C"
    if not rank:
        result.memory = Memory(Storage(result), strides=())
    elif order == "F" and rank > 1:
        _order(result, tuple(reversed(range(rank))))
    elif order == "K" and model is not None:
        return like(model, result)
    return result


def like(model: Traced, result: Traced) -> Traced:
    """The result, a new array, in the order that "K" keeps of the model's."""
    if model.memory is not None and len(model.type.shape) > 1:
        strides = model.memory.strides
        if strides is None or len(strides) > MOST_AXES:
            return unordered(result)
        _order(result, order_of(strides, model.type.shape))
    return result


def ordered_as(result: Traced, array: Array) -> Traced:
    """The result, a new array, in the order that "K" keeps of an array's."""
    if array.ndim > 1 and not array.flags.c_contiguous:
        _order(result, order_of_array(np.empty_like(array), result.type.shape))
    return result


def unordered(result: Traced) -> Traced:
    """The result, a new array of which the order in memory is not known."""
    if len(result.type.shape) > 1:
        result.memory = Memory(Storage(result), strides=None)
    return result


def _order(result: Traced, order: Order | None) -> None:
    if order is not None:
        result.memory = Memory(Storage(result), strides=packed(result.type.shape, order))


def arrange(op: Op, operands: Sequence[Traced], result: Any, attrs: dict[str, Any]) -> None:
    """Give the result of an op the order that NumPy would, where operands lie otherwise than in C."""
    if not isinstance(result.type, TensorType):
        return
    shape = result.type.shape
    if len(shape) < 2 or not any(map(_lies_otherwise, operands)):
        return
    ask = _elementwise if op.elementwise else ASKED.get(op.name)
    small = None if ask is None else samples(operands)
    if ask is None or small is None:
        unordered(result)
    else:
        _order(result, order_of_array(ask(*small, **attrs), shape))


def _lies_otherwise(value: Traced) -> bool:
    """Whether an array of at least two axes may lie otherwise than in C, with or without gaps."""
    memory, shape = value.memory, value.type.shape
    if memory is None or len(shape) < 2:
        return False
    return memory.strides is None or len(shape) > MOST_AXES or order_of(memory.strides, shape) is not None


def samples(values: Sequence[Traced]) -> list[Array] | None:
    """Small arrays of the order of the values'; None where that of one is not known."""
    result = []
    for value in values:
        strides = strides_of(value)
        if strides is None or len(strides) > MOST_AXES:
            return None
        result.append(sample(value.type.shape, strides))
    return result


def _elementwise(*operands: Array, **_: Any) -> Array:
    given: Any = [*operands, None]
    flags: Any = [["readonly"]] * len(operands) + [["writeonly", "allocate"]]
    return np.nditer(given, ["zerosize_ok"], flags, [np.dtype(np.int8)] * len(given)).operands[-1]


def reading_order(value: Traced) -> Order | None:
    """The axes of an array from the slowest to the fastest, as NumPy goes through its elements where any order will do.

    None where the order in memory is not known.
    """
    shape, strides = value.type.shape, strides_of(value)
    if strides is None or len(strides) > MOST_AXES:
        return None
    return order_of_array(_elementwise(sample(shape, strides)), shape) or tuple(range(len(shape)))


def _reduced(x: Array, *, axes: tuple[int, ...], keepdims: bool = False, **_: Any) -> Array:
    return np.asarray(np.sum(x, axis=axes, keepdims=keepdims, dtype=np.int8))


def _same(x: Array, **_: Any) -> Array:
    return np.empty_like(x)


ASKED: Final[dict[str, Callable[..., Array]]] = {
    **dict.fromkeys(("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_any", "reduce_all"), _reduced),
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "sort"), _same),
    "concatenate": lambda *parts, axis: np.concatenate(parts, axis=axis),
    "matmul": lambda a, b: np.matmul(a, b),
}
