"""The order in memory that NumPy would give an array: it decides whether a reshape is a view or a copy.

New arrays lie as in C, the last axis fastest, unless NumPy keeps the order of an operand (order "K"): `x.T + 1` lies
as `x.T` does. Strides are counted in elements and may be symbolic. What NumPy does with operands of several orders is
asked of NumPy itself, by small arrays of the same ranks and orders.
"""

from __future__ import annotations


from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided

from graphc import dims
from graphc.dims import Dim, Size
from graphc.ops.record import Op
from graphc.tracing.storage import Memory, Storage

if TYPE_CHECKING:
    from graphc.tracing.values import Traced

Array = np.ndarray[Any, Any]
Order = tuple[int, ...]
Shape = tuple[Size, ...]
UNKNOWN: Final[Order] = ()
LARGE: Final = 1009  # stands for a symbolic size where only the order of strides matters
MOST_AXES: Final = 8  # more are not asked about: the small arrays would no longer be small


def strides_of(value: Traced) -> Shape | None:
    """The strides of an array; None where they are not known."""
    memory = value.memory
    if memory is None:
        return packed(value.type.shape)
    storage = memory.storage
    if storage.order == UNKNOWN:
        return None
    shown: Any = storage.value()
    strides: Shape | None = packed(shown.type.shape, storage.order)
    for view in memory.path:
        if strides is None:
            return None
        strides = view.strides(shown.type.shape, strides)
        shown = view.show(shown)
    return strides


def packed(shape: Sequence[Size], order: Order | None = None) -> Shape:
    """The strides of an array without gaps, its axes in the given order from the slowest to the fastest."""
    result: list[Size] = [0] * len(shape)
    step: Size = 1
    for axis in reversed(range(len(shape)) if order is None else order):
        result[axis] = step
        step = step * shape[axis]
    return tuple(result)


def in_c_order(value: Traced) -> bool | None:
    """Whether an array lies as in C, without gaps; None where that is not known."""
    shape = value.type.shape
    return reshaped(shape, strides_of(value), (dims.product(shape),))[0]


def reshaped(shape: Shape, strides: Shape | None, target: Shape) -> tuple[bool | None, Shape | None]:
    """Whether a reshape is a view, False if NumPy has to copy, None if that is not known; and the strides of a view.

    The rule is NumPy's (`_attempt_nocopy_reshape`): axes that are joined must follow one another in memory. A symbolic
    size is taken to be other than 1, see `assumed`.
    """
    if 0 in shape or 0 in target:
        return True, packed(target)
    old = [(size, stride) for size, stride in zip(shape, shape if strides is None else strides, strict=True) if size != 1]
    new = [k for k, size in enumerate(target) if size != 1]
    found: dict[int, Size] = {}
    if [size for size, _ in old] == [target[k] for k in new]:
        found = {k: stride for k, (_, stride) in zip(new, old, strict=True)}
        return True, tuple(found.get(k, 1) for k in range(len(target))) if strides is not None else None
    if not old or not new:
        return True, packed(target)
    if strides is None and len(old) > 1:
        return None, None
    i = j = 0
    while i < len(old):
        first, start = i, j
        count, wanted = old[i][0], target[new[j]]
        i, j = i + 1, j + 1
        while dims.equal(count, wanted) is not True:
            shorter = dims.less(count, wanted)
            if shorter is None or (i if shorter else j) == len(old if shorter else new):
                return None, None
            if shorter:
                count, i = count * old[i][0], i + 1
            else:
                wanted, j = wanted * target[new[j]], j + 1
        for k in range(first, i - 1):
            joined = _equal(old[k][1], old[k + 1][0] * old[k + 1][1])
            if not joined:
                return joined, None
        step = old[i - 1][1]
        for axis in reversed(new[start:j]):
            found[axis] = step
            step = step * target[axis]
    return True, tuple(found.get(k, 1) for k in range(len(target))) if strides is not None else None


def _equal(a: Size, b: Size) -> bool | None:
    """Whether two numbers of elements are equal wherever no named size is 0 or 1."""
    known = dims.equal(a, b)
    if known is None:
        larger = {name: dims.symbol(name) + 2 for name in dims.symbols(a) | dims.symbols(b)}
        known = dims.equal(dims.substitute(a, larger), dims.substitute(b, larger))
    return known


def assumed(shape: Shape) -> tuple[Size, ...]:
    """The sizes that a copying reshape of this shape relies on being other than 1: with fewer axes it might be a view."""
    sizes = {*shape, *(dims.symbol(name) for d in shape for name in dims.symbols(d))}
    return tuple(d for d in sorted(sizes, key=str) if dims.equal(d, 1) is None)


def order_of(strides: Sequence[Size], shape: Sequence[Size]) -> Order | None:
    """The axes from the slowest to the fastest, as order "K" keeps them; None if that is the order of C."""
    rank = len(shape)
    if rank < 2:
        return None
    found = np.empty_like(sample(shape, strides)) if rank <= MOST_AXES else None
    return UNKNOWN if found is None else _order(found.strides, shape)


def _order(strides: Sequence[int], shape: Sequence[Size]) -> Order | None:
    long = [k for k, size in enumerate(shape) if size != 1]
    by_stride = sorted(long, key=lambda k: -strides[k])
    if by_stride == long or 0 in shape:
        return None
    return (*(k for k, size in enumerate(shape) if size == 1), *by_stride)


def sample(shape: Sequence[Size], strides: Sequence[Size]) -> Array:
    """A small array whose strides have the same order, signs and zeros."""
    sizes = [size if size in (0, 1) else 2 for size in shape]
    numbers = [dims.evaluate(s, dict.fromkeys(dims.symbols(s), LARGE)) for s in strides]
    ranks = sorted({abs(n) for n in numbers} - {0})
    steps = [int(np.sign(n)) * 3 ** ranks.index(abs(n)) if n else 0 for n in numbers]
    first = sum(-step for step in steps if step < 0)
    memory = np.zeros(1 + sum(abs(step) for step in steps), np.int8)
    return as_strided(memory[first:], sizes, steps)


def arrange(op: Op, operands: Sequence[Traced], result: Traced, attrs: dict[str, Any]) -> None:
    """Give the result of an op the order that NumPy would, where operands lie otherwise than in C."""
    shape = result.type.shape
    if len(shape) < 2 or result.memory is not None or not any(_lies_otherwise(x) for x in operands):
        return
    found = _asked(op, operands, attrs)
    order = UNKNOWN if found is None else _order(found.strides, shape)
    if order is not None:
        result.memory = Memory(Storage(result, order))


def like(value: Traced, result: Traced) -> Traced:
    """The result, a new array, in the order that "K" keeps of the value's."""
    if value.memory is not None and len(value.type.shape) > 1:
        strides = strides_of(value)
        order = UNKNOWN if strides is None else order_of(strides, value.type.shape)
        if order is not None:
            result.memory = Memory(Storage(result, order))
    return result


def copied(value: Traced, order: str = "K") -> Traced:
    """A new array of the same content, in the order that NumPy's `order` means."""
    result = value.world.value_class(value.world, value.id)
    rank = len(value.type.shape)
    if order == "A":
        order = "F" if not in_c_order(value) and in_f_order(value) else "C"
    if order == "F" and rank > 1:
        result.memory = Memory(Storage(result, tuple(reversed(range(rank)))))
    if not rank and value.memory is not None:
        result.memory = Memory(Storage(result))
    return like(value, result) if order == "K" else result


def in_f_order(value: Traced) -> bool | None:
    """Whether an array lies as in Fortran, the first axis fastest, without gaps; None where that is not known."""
    shape, strides = value.type.shape[::-1], strides_of(value)
    return reshaped(shape, None if strides is None else strides[::-1], (dims.product(shape),))[0]


def laid_out(result: Traced, array: Array) -> Traced:
    """The result, a new array, in the order that "K" keeps of an array's."""
    if array.ndim > 1 and not array.flags.c_contiguous:
        order = order_of(array.strides, array.shape)
        if order is not None:
            result.memory = Memory(Storage(result, order))
    return result


def _lies_otherwise(value: Traced) -> bool:
    """Whether an array of at least two axes may lie otherwise than in C; one that is only strided in C's order may not."""
    memory = value.memory
    if memory is None or len(value.type.shape) < 2 or (not memory.path and memory.storage.order is None):
        return False
    strides = strides_of(value)
    return strides is None or order_of(strides, value.type.shape) is not None


def samples(values: Sequence[Traced]) -> list[Array] | None:
    """Small arrays in place of the values; None where the order of one is not known."""
    result = []
    for value in values:
        strides = strides_of(value)
        if strides is None or len(strides) > MOST_AXES:
            return None
        result.append(sample(value.type.shape, strides))
    return result


def _asked(op: Op, operands: Sequence[Traced], attrs: dict[str, Any]) -> Array | None:
    """What NumPy makes of small operands; None for an op that is not asked about."""
    ask: Callable[..., Array] | None = _elementwise if op.elementwise else ASKED.get(op.name)
    if ask is None:
        return None
    small = samples(operands)
    return None if small is None else ask(*small, **attrs)


def _elementwise(*operands: Array, **_: Any) -> Array:
    flags = [["readonly"]] * len(operands) + [["writeonly", "allocate"]]
    iterator = np.nditer([*operands, None], ["zerosize_ok"], flags, [np.dtype(np.int8)] * (len(operands) + 1))
    return iterator.operands[-1]


def _reduced(x: Array, *, axes: tuple[int, ...], keepdims: bool = False, **_: Any) -> Array:
    return np.asarray(np.add.reduce(x, axis=axes, keepdims=keepdims, dtype=np.int8))


def _same(x: Array, **_: Any) -> Array:
    return np.empty_like(x)


ASKED: Final[dict[str, Callable[..., Array]]] = {
    **dict.fromkeys(("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_any", "reduce_all"), _reduced),
    **dict.fromkeys(("cumsum", "cumprod", "sort", "argsort"), _same),
    "concatenate": lambda *parts, axis: np.concatenate(parts, axis=axis),
    "matmul": lambda a, b: np.matmul(a, b),
}
