"""Selection among arrays: by conditions, by numbers, by constant masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import DTypeError, IndexingError, ShapeError
from graphc.numpy.checks import clip_mode
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.elementwise import truth, where
from graphc.numpy.picking import fixed_size, pick, static_array
from graphc.numpy.shaping import broadcast_arrays, broadcast_to, ravel, stack
from graphc.ops.typing import broadcast, normalise_axis
from graphc.tracing import Traced, lift, placed

__all__ = [
    "choose",
    "compress",
    "extract",
    "piecewise",
    "select",
    "take_along_axis",
]


@traceable(np.select, view=True)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """Elements of the first choice whose condition holds, and the default where none does."""
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    if not len(condlist):
        raise ValueError("select with an empty condition list is not possible")
    world = common_world(list(condlist), list(choicelist), default)
    conditions = [strong(c, world) for c in condlist]
    for k, c in enumerate(conditions):
        if c.type.dtype.kind != "b":
            raise TypeError(f"invalid entry {k} in condlist: should be boolean ndarray")
    written = [_number(v, world) for v in (*choicelist, default)]
    values = [strong(v, world) for v in world.promote(written)]
    result = values[-1]
    for condition, value in zip(conditions[::-1], values[-2::-1], strict=True):
        result = where(condition, value, result)
    shape = broadcast(world.facts, "select", *[v.type.shape for v in (*conditions, *values)])
    return placed(result if result.type.shape == shape else world.broadcast_to(result, shape=shape))


def _number(v: Any, world: Any) -> Any:
    """A Python number stays weak, traced or not; a bool is no weak number here."""
    if type(v) in (int, float):
        return v
    value = lift(v, world)
    return value if value.type.weak and value.type.dtype.kind != "b" else strong(value, world)


@traceable(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    """Elements of the choice that each integer of `a` names.

    With mode="raise" an integer outside raises when the graph runs.
    """
    mode = clip_mode(mode)
    world = common_world(a, list(choices))
    number = strong(a, world)
    if number.type.dtype.kind not in "biu":
        raise DTypeError("choose: numbers of choices must be integers", actual=repr(number.type))
    values = [strong(v, world) for v in world.promote([lift(c, world) for c in choices])]
    number, *values = broadcast_arrays(world.convert(number, np.dtype(np.int64)), *values)
    shape, count = number.type.shape, len(values)
    if mode == "wrap":
        number = number % count
    elif mode == "clip":
        number = np.clip(number, 0, count - 1)
    else:
        # a negative number is none of the choices either: send it to where the gather raises
        number = where(number < 0, count, number)
    flat = stack([world.reshape(v, shape=(dims.product(shape),)) for v in values])
    column = world.iota(size=dims.product(shape), dtype=np.dtype(np.int64))
    picked = world.gather(flat, world.reshape(number, shape=(dims.product(shape),)), column, axis=0)
    return world.reshape(picked, shape=shape)


@traceable(np.piecewise, view=True)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """Values of one function or constant where its condition holds, of the next where that one's does.

    Every function is called on the whole array, and is only chosen where its condition holds: NumPy calls it with the
    chosen elements alone.
    """
    world = common_world(x, condlist, list(funclist))
    value = strong(x, world)
    if isinstance(condlist, Traced):
        conditions = list(condlist) if condlist.ndim > 1 or not value.ndim else [condlist]
    elif not isinstance(condlist, (list, tuple, np.ndarray)) or (
        not isinstance(condlist[0], (list, np.ndarray, Traced)) and value.ndim
    ):
        conditions = [condlist]
    else:
        conditions = list(condlist)
    masks = [strong(truth(c), world) for c in conditions]
    count = len(masks)
    if len(funclist) not in (count, count + 1):
        raise ValueError(f"with {count} condition(s), either {count} or {count + 1} functions are expected")
    functions = list(funclist)
    result = world.full(0, type(value.type)(value.type.shape, value.type.dtype))
    if len(functions) == count + 1:
        result = _piece(functions.pop(), value, args, kw)
    for mask, function in zip(masks, functions, strict=True):
        mask = _of_leading_axes(mask, value)
        result = where(mask, _piece(function, value, args, kw), result)
    return placed(result, "K", value)


def _of_leading_axes(mask: Any, x: Any) -> Any:
    """A mask of the first axes of an array, as a boolean index is, in a shape that broadcasts to the array's."""
    lead, rest = x.type.shape[: mask.ndim], x.type.shape[mask.ndim :]
    if mask.ndim > x.ndim or not all(x.world.facts.equal(m, n) for m, n in zip(mask.type.shape, lead, strict=True)):
        raise IndexingError(
            "piecewise: a condition does not match the array",
            expected=f"the first sizes of {x.type!r}",
            actual=repr(mask.type),
            fix="one condition for each function, each of the array's shape",
        )
    return mask.world.reshape(mask, shape=(*mask.type.shape, *(1,) * len(rest))) if rest else mask


def _piece(function: Any, x: Any, args: Any, kw: Any) -> Any:
    """A function's values on all of x, in the dtype of x, as NumPy stores them."""
    y = function(x, *args, **kw) if callable(function) else function
    number = type(y) in (bool, int, float)
    value = x.world.convert(y if number else strong(y, common_world(x, y)), x.type.dtype)
    return value if value.type.shape == x.type.shape else broadcast_to(value, x.type.shape)


@traceable(np.compress)
def compress(condition: Any, a: Any, axis: int | None = None, out: Any = None) -> Any:
    """The slices of an axis, or of the flattened array, where a condition holds.

    The condition must be known when the graph is traced: the size of the result depends on it.
    """
    mask = static_array("compress", "condition", condition)
    if mask.ndim != 1:
        raise ShapeError("compress: condition must be a 1-d array", actual=f"{mask.ndim}-d")
    x = strong(a, common_world(a))
    x, place = (ravel(x), 0) if axis is None else (x, normalise_axis("compress", axis, x.ndim))
    wanted = np.flatnonzero(mask)
    size = fixed_size("compress", x.type.shape[place])
    if wanted.size and wanted[-1] >= size:
        raise IndexingError(f"index {wanted[-1]} is out of bounds for axis {place} with size {size}")
    return pick(x, wanted, place)


@traceable(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    """The elements of the flattened array where a condition holds.

    The condition must be known when the graph is traced: the size of the result depends on it.
    """
    mask = static_array("extract", "condition", condition)
    return compress(mask.reshape(-1), ravel(strong(arr, common_world(arr))), 0)


@traceable(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    """Elements at positions along an axis, different ones for each line: what `argsort` gives for `sort`."""
    world = common_world(arr, indices)
    x, index = strong(arr, world), strong(indices, world)
    if index.type.dtype.kind not in "iu":
        raise IndexingError(
            "`indices` must be an integer array",
            expected="an array of integers",
            actual=repr(index.type),
            fix="indices.astype(int)",
        )
    if axis is None:
        if index.ndim != 1:
            raise ValueError("when axis=None, `indices` must have a single dimension.")
        return world.gather(ravel(x), index, axis=0)
    place = normalise_axis("take_along_axis", axis, x.ndim)
    if index.ndim != x.ndim:
        raise ShapeError(
            "take_along_axis: `indices` and `arr` must have the same number of dimensions",
            expected=str(x.ndim),
            actual=str(index.ndim),
        )
    if x.ndim == 1:
        return world.gather(x, index, axis=0)
    places = []
    for k, size in enumerate(x.type.shape):
        if k == place:
            places.append(index)
            continue
        counted = world.iota(size=size, dtype=np.dtype(np.int64))
        places.append(world.reshape(counted, shape=tuple(size if i == k else 1 for i in range(x.ndim))))
    return world.gather(x, *places, axis=0)
