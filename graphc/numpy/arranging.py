"""Functions that turn, roll, repeat and tile arrays."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.errors import AxisError, ShapeError
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.indexing import flip
from graphc.numpy.picking import fixed_size, pick, static_array, whole_number
from graphc.numpy.shaping import broadcast_to, moveaxis, ravel, swapaxes
from graphc.ops.typing import normalise_axis
from graphc.tracing import SymbolicSize, Traced, as_size, view_of, wrap_size

__all__ = [
    "fliplr",
    "flipud",
    "repeat",
    "roll",
    "rollaxis",
    "rot90",
    "tile",
]


@traceable(np.fliplr, view=True)
def fliplr(m: Any) -> Any:
    """The columns in reverse order: axis 1 is turned around."""
    x = strong(m, common_world(m))
    if x.ndim < 2:
        raise ShapeError("fliplr: too few axes", expected="at least 2", actual=repr(x.type), fix="use np.flip")
    return flip(x, 1)


@traceable(np.flipud, view=True)
def flipud(m: Any) -> Any:
    """The rows in reverse order: axis 0 is turned around."""
    x = strong(m, common_world(m))
    if x.ndim < 1:
        raise ShapeError("flipud: too few axes", expected="at least 1", actual=repr(x.type))
    return flip(x, 0)


@traceable(np.rot90, view=True)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """The plane of two axes turned by quarter turns, from the first axis towards the second."""
    x = strong(m, common_world(m))
    if len(axes) != 2:
        raise ValueError("len(axes) must be 2.")
    first, second = (normalise_axis("rot90", operator.index(a), x.ndim) for a in axes)
    if first == second:
        raise AxisError("rot90: the axes must differ", actual=str(tuple(axes)))
    turns = whole_number("rot90", "k", k) % 4
    if turns == 1:
        return swapaxes(flip(x, second), first, second)
    if turns == 2:
        return flip(flip(x, first), second)
    return flip(swapaxes(x, first, second), second) if turns == 3 else view_of(x)


@traceable(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """The elements moved along axes, those that fall off coming back in at the other end.

    No axis means the flattened array. The shifts may be traced integers; then the axes must have a size.
    """
    world = common_world(a, shift, axis)
    x = strong(a, world)
    if axis is None:
        shape = x.type.shape
        flat = ravel(x)
        shifts = shift if isinstance(shift, (tuple, list)) else (shift,)
        return world.reshape(_roll(flat, shifts, (0,) * len(shifts)), shape=shape)
    shifts, axes = (list(v) if isinstance(v, (tuple, list)) else [v] for v in (shift, axis))
    if len(shifts) == 1:
        shifts *= len(axes)
    if len(axes) == 1:
        axes *= len(shifts)
    if len(shifts) != len(axes):
        raise ShapeError(
            "roll: shifts and axes differ in number",
            expected="one shift for each axis",
            actual=f"{len(shifts)} and {len(axes)}",
        )
    return _roll(x, shifts, [normalise_axis("roll", operator.index(k), x.ndim) for k in axes])


def _roll(x: Any, shifts: Any, axes: Any) -> Any:
    if any(isinstance(s, (np.ndarray, Traced)) and s.ndim for s in shifts):
        raise ShapeError("roll: the shift must be a number, or a tuple of numbers", actual=repr(shifts)[:60])
    total: dict[int, Any] = {}
    for shift, axis in zip(shifts, axes, strict=True):
        given = shift if isinstance(shift, (Traced, SymbolicSize)) else operator.index(shift)
        total[axis] = total[axis] + given if axis in total else given
    for axis, shift in total.items():
        x = _rolled(x, shift, axis)
    return x


def _rolled(x: Any, shift: Any, axis: int) -> Any:
    world, size = x.world, x.type.shape[axis]
    if size == 0:
        return x
    if isinstance(shift, Traced):
        world = common_world(x, shift)
        x = world.adopt(x)
        places = world.iota(size=size, dtype=np.dtype(np.int64)) - world.convert(shift, np.dtype(np.int64))
        return world.gather(x, places % strong(wrap_size(world, size), world), axis=axis)
    period = size if world.facts.known("<=", 1, size) else dims.maximum(size, 1)
    cut = size - as_size(shift) % period
    if cut in (0, size):
        return x
    index = [(0, d, 1) for d in x.type.shape]
    parts = []
    for ends in ((cut, size, 1), (0, cut, 1)):
        index[axis] = ends
        parts.append(world.slice(x, index=tuple(index)))
    return world.apply("concatenate", parts, axis=axis)


@traceable(np.rollaxis, view=True)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """One axis moved to stand before another.

    `moveaxis` says the same more clearly.
    """
    x = strong(a, common_world(a))
    place = normalise_axis("rollaxis", axis, x.ndim)
    target = start + x.ndim if start < 0 else start
    if not 0 <= target <= x.ndim:
        raise AxisError("rollaxis: start is out of bounds", axis=start, ndim=x.ndim, expected=f"-{x.ndim} to {x.ndim}")
    return moveaxis(x, place, target - 1 if place < target else target)


@traceable(np.repeat)
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    """Every element repeated in place, along an axis or in the flattened array.

    How often must be known when the graph is traced: the size of the result depends on it. One symbolic size for all
    elements is allowed.
    """
    world = common_world(a, repeats)
    x = strong(a, world)
    if axis is None or not x.ndim:
        x = ravel(x)
    place = 0 if axis is None else normalise_axis("repeat", axis, x.ndim)
    size = x.type.shape[place]
    times: Any
    if isinstance(repeats, SymbolicSize):
        times = as_size(repeats)
    else:
        counts = static_array("repeat", "repeats", repeats)
        if counts.size == 1 and counts.ndim < 2 and counts.dtype.kind in "biu":
            times = int(counts.reshape(()))
            if times < 0:
                raise ValueError("repeats may not contain negative values.")
        else:
            places = np.repeat(np.arange(fixed_size("repeat", size)), counts)
            return pick(x, places, place)
    before, after = x.type.shape[:place], x.type.shape[place + 1 :]
    spread = world.reshape(x, shape=(*before, size, 1, *after))
    spread = broadcast_to(spread, (*before, size, times, *after))
    return world.reshape(spread, shape=(*before, size * times, *after))


@traceable(np.tile)
def tile(A: Any, reps: Any) -> Any:
    """The array repeated as a whole along its axes, `reps` times along each; the counts may be symbolic sizes."""
    world = common_world(A, reps)
    x = strong(A, world)
    given = (
        reps if isinstance(reps, (tuple, list)) else np.atleast_1d(reps) if isinstance(reps, np.ndarray) else (reps,)
    )
    counts: list[Size] = [as_size(r) if isinstance(r, SymbolicSize) else whole_number("tile", "reps", r) for r in given]
    if any(isinstance(r, int) and r < 0 for r in counts):
        raise ShapeError("tile: negative repeats", actual=str(counts))
    rank = max(len(counts), x.ndim)
    counts = [*(1 for _ in range(rank - len(counts))), *counts]
    shape = (1,) * (rank - x.ndim) + x.type.shape
    if all(r == 1 for r in counts):
        return world.reshape(x, shape=shape) if shape != x.type.shape else x
    thin = tuple(d for size in shape for d in (1, size))
    wide = tuple(d for times, size in zip(counts, shape, strict=True) for d in (times, size))
    spread = broadcast_to(world.reshape(x, shape=thin), wide)
    return world.reshape(spread, shape=tuple(t * d for t, d in zip(counts, shape, strict=True)))
