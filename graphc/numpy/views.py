"""The views that NumPy takes of arrays: what each shows of a value, and how a write through it changes the value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.errors import IRError
from graphc.ops.structure import Index, invert
from graphc.ops.world import size_value
from graphc.tracing import Traced, doubt, in_c_order, is_scalar, snapshot, view_of
from graphc.tracing.layout import strides_of, unordered
from graphc.tracing.strides import assumed, reshaped

Shape = tuple[Size, ...]
INTEGER: Final = np.dtype(np.int64)


@dataclass(frozen=True, slots=True)
class Sliced:
    """`x[start:stop:step, ...]`, one slice for each axis."""

    index: Index

    def show(self, base: Any) -> Any:
        return base.world.slice(base, index=self.index)

    def store(self, base: Any, part: Any) -> Any:
        return base.world.insert_slice(base, part, index=self.index)

    def strides(self, shape: Shape, strides: Shape) -> Shape:
        return tuple(step * stride for (_, _, step), stride in zip(self.index, strides, strict=True))


@dataclass(frozen=True, slots=True)
class Transposed:
    """`x.transpose(perm)`."""

    perm: tuple[int, ...]

    def show(self, base: Any) -> Any:
        return base.world.transpose(base, perm=self.perm)

    def store(self, base: Any, part: Any) -> Any:
        return part.world.transpose(part, perm=invert(self.perm))

    def strides(self, shape: Shape, strides: Shape) -> Shape:
        return tuple(strides[k] for k in self.perm)


@dataclass(frozen=True, slots=True)
class Reshaped:
    """`x.reshape(shape)`, where NumPy need not copy."""

    shape: Shape

    def show(self, base: Any) -> Any:
        return base.world.reshape(base, shape=self.shape)

    def store(self, base: Any, part: Any) -> Any:
        return part.world.reshape(part, shape=base.type.shape)

    def strides(self, shape: Shape, strides: Shape) -> Shape | None:
        return reshaped(shape, strides, self.shape)[1]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """`np.broadcast_to(x, shape)`: read-only, since one element may be shown in many places."""

    shape: Shape

    def show(self, base: Any) -> Any:
        return base if base.type.shape == self.shape else base.world.broadcast_to(base, shape=self.shape)

    def store(self, base: Any, part: Any) -> Any:
        raise IRError("a broadcast array is read-only")

    def strides(self, shape: Shape, strides: Shape) -> Shape:
        lead = len(self.shape) - len(shape)
        sizes = zip(shape, self.shape[lead:], strides, strict=True)
        return (*(0 for _ in range(lead)), *(0 if old == 1 and new != 1 else stride for old, new, stride in sizes))


@dataclass(frozen=True, slots=True)
class Diagonal:
    """A diagonal of the matrices in the last two axes, as a new last axis; `row` and `column` are where it begins."""

    row: int
    column: int
    count: Size

    def show(self, base: Any) -> Any:
        world, lead, (rows, columns) = base.world, base.type.shape[:-2], base.type.shape[-2:]
        if isinstance(columns, int):
            return world.slice(world.reshape(base, shape=(*lead, rows * columns)), index=self._index(lead, columns))
        counted = world.iota(size=self.count, dtype=INTEGER)
        return world.gather(base, counted + self.row, counted + self.column, axis=len(lead))

    def store(self, base: Any, part: Any) -> Any:
        world, lead, (rows, columns) = base.world, base.type.shape[:-2], base.type.shape[-2:]
        if isinstance(columns, int):
            flat = world.reshape(base, shape=(*lead, rows * columns))
            changed = world.insert_slice(flat, part, index=self._index(lead, columns))
            return changed.world.reshape(changed, shape=base.type.shape)
        index = (*((0, d, 1) for d in lead), (self.row, self.row + self.count, 1))
        spread = part.world.unslice(part, index=index, shape=(*lead, rows))
        row = world.reshape(world.iota(size=rows, dtype=INTEGER), shape=(rows, 1)) - self.row
        column = world.reshape(world.iota(size=columns, dtype=INTEGER), shape=(1, columns)) - self.column
        inside = world.logical_and(row == column, row >= 0)
        return world.where(inside, spread.world.reshape(spread, shape=(*lead, rows, 1)), base)

    def strides(self, shape: Shape, strides: Shape) -> Shape:
        return (*strides[:-2], strides[-2] + strides[-1])

    def _index(self, lead: Shape, columns: int) -> Index:
        """Where the diagonal lies in the flattened matrices: their every `columns + 1`st element."""
        start = self.row * columns + self.column
        stop = start + (self.count - 1) * (columns + 1) + 1
        one = (0, 0, 1) if self.count == 0 else (start, stop, columns + 1)
        return (*((0, d, 1) for d in lead), one)


@dataclass(frozen=True, slots=True, eq=False)
class Picked:
    """`x[..., i, j, ...]` with traced integers in place of adjacent axes."""

    axis: int
    positions: tuple[Traced, ...]

    def show(self, base: Any) -> Any:
        return base.world.gather(base, *self.positions, axis=self.axis)

    def store(self, base: Any, part: Any) -> Any:
        hit: Any = None
        shape = base.type.shape
        for axis, position in enumerate(self.positions, self.axis):
            world = position.world
            counted = world.iota(size=shape[axis], dtype=INTEGER)
            # a negative position counts from the end
            at = world.where(position < 0, position + size_value(world, shape[axis]), position)
            here = counted == at
            here = world.reshape(here, shape=tuple(d if k == axis else 1 for k, d in enumerate(shape)))
            hit = here if hit is None else hit & here
        thin = tuple(1 if 0 <= k - self.axis < len(self.positions) else d for k, d in enumerate(shape))
        return hit.world.where(hit, part.world.reshape(part, shape=thin), base)

    def strides(self, shape: Shape, strides: Shape) -> Shape:
        return (*strides[: self.axis], *strides[self.axis + len(self.positions) :])


@dataclass(frozen=True, slots=True)
class Windows:
    """Every window of neighbours along axes, as new axes at the end: read-only, since windows overlap."""

    axes: tuple[int, ...]
    widths: tuple[int, ...]

    def show(self, base: Any) -> Any:
        world = base.world
        for axis, width in zip(self.axes, self.widths, strict=True):
            count = base.type.shape[axis] - width + 1
            first = world.reshape(world.iota(size=count, dtype=INTEGER), shape=(count, 1))
            base = world.gather(base, first + world.iota(size=width, dtype=INTEGER), axis=axis)
            rest = [k for k in range(base.ndim) if k != axis + 1]
            base = world.transpose(base, perm=(*rest, axis + 1))
        return base

    def store(self, base: Any, part: Any) -> Any:
        raise IRError("overlapping windows are read-only")

    def strides(self, shape: Shape, strides: Shape) -> Shape:
        return (*strides, *(strides[axis] for axis in self.axes))


def reshape_of(base: Traced, shape: Shape) -> Traced:
    """The array in another shape: a view where NumPy gives one, a copy where it has to."""
    return _view_or_copy(base, shape, is_scalar(base) or reshaped(base.type.shape, strides_of(base), shape)[0])


def line_of(base: Traced) -> Traced:
    """The elements in one line, as `ravel` gives them: a view only where they follow one another in memory."""
    return _view_or_copy(base, (dims.product(base.type.shape),), in_c_order(base))


def _view_or_copy(base: Traced, shape: Shape, view: bool | None) -> Traced:
    if view:
        return view_of(base, Reshaped(shape))
    result: Traced = base.world.reshape(snapshot(base), shape=shape)
    if view is None:
        doubt(base, unordered(result))
    elif sizes := assumed(base.type.shape):
        doubt(base, result, sizes)
    return result
