"""Strides: how far apart neighbours along each axis lie in memory. They decide whether a reshape is a view or a copy.

Strides are counted in elements and may be symbolic. What is said of them holds for NumPy's arrays; nothing here knows
of traces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided

from graphc import dims
from graphc.dims import Size

Array = np.ndarray[Any, Any]
Shape = tuple[Size, ...]
Order = tuple[int, ...]  # axes from the slowest to the fastest
LARGE: Final = 1009  # stands for a symbolic size where only the order of strides matters
MOST_AXES: Final = 8  # NumPy is not asked about more: the small arrays would no longer be small


def packed(shape: Sequence[Size], order: Order | None = None) -> Shape:
    """The strides of an array without gaps, its axes in the given order, or in that of C."""
    result: list[Size] = [0] * len(shape)
    step: Size = 1
    for axis in reversed(range(len(shape)) if order is None else order):
        result[axis] = step
        step = step * shape[axis]
    return tuple(result)


def reshaped(shape: Shape, strides: Shape | None, target: Shape) -> tuple[bool | None, Shape | None]:
    """Whether a reshape is a view, False if NumPy has to copy, None if that is not known; and the strides of a view.

    The rule is NumPy's (`_attempt_nocopy_reshape`): axes that are joined must follow one another in memory. A symbolic
    size is taken to be other than 1, see `assumed`.
    """
    if 0 in shape or 0 in target:
        return True, packed(target)
    old = [
        (size, stride)
        for size, stride in zip(shape, shape if strides is None else strides, strict=True)
        if not _decided(dims.equal, size, 1)
    ]
    new = [k for k, size in enumerate(target) if not _decided(dims.equal, size, 1)]
    found: dict[int, Size] = {}
    if [size for size, _ in old] == [target[k] for k in new]:
        found = {k: stride for k, (_, stride) in zip(new, old, strict=True)}
        return True, _spread(found, target, strides)
    if not old or not new:
        return True, packed(target)
    if strides is None and len(old) > 1:
        return None, None
    i = j = 0
    while i < len(old):
        if j == len(new):
            return None, None
        first, start = i, j
        count, wanted = old[i][0], target[new[j]]
        i, j = i + 1, j + 1
        while not _decided(dims.equal, count, wanted):
            shorter = _decided(dims.less, count, wanted)
            if shorter is None or (i if shorter else j) == len(old if shorter else new):
                return None, None
            if shorter:
                count, i = count * old[i][0], i + 1
            else:
                wanted, j = wanted * target[new[j]], j + 1
        for k in range(first, i - 1):
            joined = _decided(dims.equal, old[k][1], old[k + 1][0] * old[k + 1][1])
            if not joined:
                return joined, None
        step = old[i - 1][1]
        for axis in reversed(new[start:j]):
            found[axis] = step
            step = step * target[axis]
    return True, _spread(found, target, strides)


def _spread(found: dict[int, Size], target: Shape, strides: Shape | None) -> Shape | None:
    return None if strides is None else tuple(found.get(k, 1) for k in range(len(target)))


def contiguous(shape: Shape, strides: Shape | None) -> bool | None:
    """Whether strides are those of an array in C's order without gaps; None where that is not known."""
    if 0 in shape:
        return True
    step: Size = 1
    for axis in reversed([k for k, size in enumerate(shape) if size != 1]):
        same = None if strides is None else _decided(dims.equal, strides[axis], step)
        if not same:
            return same
        step = step * shape[axis]
    return True


def _decided(comparison: Callable[[Size, Size], bool | None], a: Size, b: Size) -> bool | None:
    """A comparison of numbers of elements, wherever no named size is 0 or 1."""
    known = comparison(a, b)
    if known is None:
        larger = {name: dims.symbol(name) + 2 for name in dims.symbols(a) | dims.symbols(b)}
        known = comparison(dims.substitute(a, larger), dims.substitute(b, larger))
    return known


def assumed(shape: Shape) -> Shape:
    """The sizes that a reshape relies on being other than 1 where it copies: with fewer axes it might be a view."""
    sizes = {*shape, *(dims.symbol(name) for d in shape for name in dims.symbols(d))}
    return tuple(d for d in sorted(sizes, key=str) if dims.equal(d, 1) is None)


def order_of(strides: Shape, shape: Shape) -> Order | None:
    """The order of the axes that order "K" keeps; None if it is that of C."""
    numbers = _numbers(strides)
    long = [abs(n) for n, size in zip(numbers, shape, strict=True) if size != 1]
    if long == sorted(long, reverse=True):
        return None
    return order_of_array(np.empty_like(_small(numbers, shape)), shape)


def order_of_array(array: Array, shape: Shape) -> Order | None:
    """The order of an array's axes, where those of size 1 in `shape` do not count; None if it is that of C."""
    long = [k for k, size in enumerate(shape) if size != 1]
    by_stride = sorted(long, key=lambda k: -abs(array.strides[k]))
    if by_stride == long or 0 in shape:
        return None
    return (*(k for k, size in enumerate(shape) if size == 1), *by_stride)


def sample(shape: Shape, strides: Shape) -> Array:
    """A small array whose strides have the same order, signs and zeros: for NumPy to say what it does with such."""
    return _small(_numbers(strides), shape)


def _numbers(strides: Shape) -> list[int]:
    return [s if isinstance(s, int) else dims.evaluate(s, dict.fromkeys(dims.symbols(s), LARGE)) for s in strides]


def _small(numbers: list[int], shape: Shape) -> Array:
    sizes = [size if isinstance(size, int) and size < 2 else 2 for size in shape]
    ranks = sorted({abs(n) for n in numbers} - {0})
    steps = [(1 if n > 0 else -1) * 3 ** ranks.index(abs(n)) if n else 0 for n in numbers]
    first = sum(-step for step in steps if step < 0)
    memory = np.zeros(1 + sum(abs(step) for step in steps), np.int8)
    return as_strided(memory[first:], sizes, steps)
