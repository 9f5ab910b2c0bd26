"""Where the elements of a value lie: storage, offset and strides, through views; without moving anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.kernels import Affine

Index = Sequence[tuple[Size, Size | None, int]]
Box = tuple[tuple[Size, Size, int], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """An array within a storage. Strides and offset count elements.

    >>> x = Layout.dense(0, np.dtype("f8"), (4, 6))
    >>> x.transposed((1, 0)).strides, x.sliced(((3, None, -1), (2, 6, 2)), (4, 2)).offset
    ((1, 6), 20)
    """

    storage: int
    dtype: np.dtype[Any]
    shape: tuple[Size, ...]
    strides: tuple[Size, ...]
    offset: Size = 0

    @classmethod
    def dense(cls, storage: int, dtype: np.dtype[Any], shape: Sequence[Size]) -> Layout:
        """A whole storage, in row-major order."""
        return cls(storage, dtype, tuple(shape), row_major(shape))

    @property
    def is_dense(self) -> bool:
        """Whether the elements are adjacent, in row-major order."""
        wanted = row_major(self.shape)
        return all(d == 1 or s == w for d, s, w in zip(self.shape, self.strides, wanted, strict=True))

    @property
    def is_whole(self) -> bool:
        """Whether it begins where its storage does, and is dense: another shape of the same array at most."""
        return self.offset == 0 and self.is_dense

    def transposed(self, perm: Sequence[int]) -> Layout:
        return replace(self, shape=tuple([self.shape[k] for k in perm]), strides=tuple([self.strides[k] for k in perm]))

    def sliced(self, index: Index, shape: Sequence[Size]) -> Layout:
        """Elements start, start + step, ... along each axis; `shape` is that of the result."""
        offset = self.offset
        for (start, _, _), stride in zip(index, self.strides, strict=True):
            offset = offset + start * stride
        strides = tuple([stride * step for (_, _, step), stride in zip(index, self.strides, strict=True)])
        return replace(self, shape=tuple(shape), strides=strides, offset=offset)

    def broadcast(self, shape: Sequence[Size]) -> Layout:
        """The same elements again along new axes, and along axes of size 1."""
        lead = len(shape) - len(self.shape)
        pairs = zip(self.shape, shape[lead:], self.strides, strict=True)
        strides = [0 if d == 1 and d != wanted else s for d, wanted, s in pairs]
        return replace(self, shape=tuple(shape), strides=(*[0] * lead, *strides))

    def reshaped(self, shape: Sequence[Size]) -> Layout | None:
        """The elements in row-major order under another shape; None if they would have to be moved for that."""
        if self.is_dense:
            return replace(self, shape=tuple(shape), strides=row_major(shape))
        old = [(d, s) for d, s in zip(self.shape, self.strides, strict=True) if d != 1]
        new = [k for k, d in enumerate(shape) if d != 1]
        strides: list[Size] = [0] * len(shape)
        while old and new:
            # the fewest axes, old and new, that hold the same number of elements
            took, gave = [old.pop(0)], [new.pop(0)]
            have, want = took[0][0], shape[gave[0]]
            while dims.equal(have, want) is not True:
                if old and (dims.less(have, want) or not new):
                    took.append(old.pop(0))
                    have = have * took[-1][0]
                elif new:
                    gave.append(new.pop(0))
                    want = want * shape[gave[-1]]
                else:
                    return None
            if any(s != d * below for (_, s), (d, below) in pairwise(took)):
                return None
            stride = took[-1][1]
            for k in reversed(gave):
                strides[k] = stride
                stride = stride * shape[k]
        return None if old or new else replace(self, shape=tuple(shape), strides=tuple(strides))

    def at(self, indices: Sequence[Affine], loops: int) -> Affine:
        """Where, counted from the offset, the element with these indices lies."""
        total = Affine.constant(0, loops)
        for index, stride in zip(indices, self.strides, strict=True):
            total = total + index.scaled(stride)
        return total


def around(shape: Sequence[Size], index: Index) -> list[Box] | None:
    """What lies outside of a slice of an array, as slices that do not overlap; None if the slice itself leaves gaps.

    Where sizes have names some of them may turn out to be empty.

    >>> around((4, 6), ((1, 3, 1), (0, 5, 1)))
    [((0, 1, 1), (0, 6, 1)), ((3, 4, 1), (0, 6, 1)), ((1, 3, 1), (5, 6, 1))]
    """
    inside: list[tuple[Size, Size, int]] = []
    boxes: list[Box] = []
    whole = [(0, d, 1) for d in shape]
    for k, ((start, stop, step), size) in enumerate(zip(index, shape, strict=True)):
        if step != 1 or stop is None:
            return None
        for low, high in ((0, start), (stop, size)):
            if dims.equal(low, high) is not True:
                boxes.append((*inside, (low, high, 1), *whole[k + 1 :]))
        inside.append((start, stop, 1))
    return boxes


def extent(box: Box) -> tuple[Size, ...]:
    """The shape of a slice."""
    return tuple([stop - start for start, stop, _ in box])


def row_major(shape: Sequence[Size]) -> tuple[Size, ...]:
    """The strides of a dense array.

    >>> row_major((2, 3, 4))
    (12, 4, 1)
    """
    strides: list[Size] = []
    stride: Size = 1
    for d in reversed(shape):
        strides.append(stride)
        stride = stride * d
    return tuple(reversed(strides))
