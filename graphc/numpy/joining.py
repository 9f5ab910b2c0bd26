"""Functions that join arrays and take them apart."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import ShapeError
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.picking import fixed_size, part, pick, static_array
from graphc.numpy.shaping import atleast, broadcast_to, concatenate, expand_dims, moveaxis, ravel, squeeze
from graphc.numpy.views import Sliced, reshape_of
from graphc.ops.typing import normalise_axis
from graphc.tracing import SymbolicSize, Traced, copied, snapshot, view_of
from graphc.tracing.layout import unordered

__all__ = [
    "append",
    "array_split",
    "atleast_3d",
    "block",
    "column_stack",
    "delete",
    "dsplit",
    "dstack",
    "hsplit",
    "insert",
    "ix_",
    "meshgrid",
    "resize",
    "split",
    "unstack",
    "vsplit",
]


@traceable(np.column_stack)
def column_stack(tup: Any) -> Any:
    """Vectors as the columns of a matrix; arrays of more axes are joined along their second."""
    world = common_world(tup)
    values = [strong(a, world) for a in tup]
    return concatenate([v if v.ndim > 1 else atleast(2, v).T for v in values], axis=1)


def with_depth(x: Any) -> Any:
    """A value with at least three axes, new ones where NumPy's atleast_3d puts them."""
    if x.ndim < 2:
        return expand_dims(atleast(2, x), 2)
    return expand_dims(x, 2) if x.ndim == 2 else x


@traceable(np.atleast_3d, view=True)
def atleast_3d(*arys: Any) -> Any:
    """Each array with at least three axes: vectors become (1, n, 1), matrices (m, n, 1)."""
    world = common_world(*arys)
    results = [with_depth(strong(a, world)) for a in arys]
    return results[0] if len(results) == 1 else tuple(results)


@traceable(np.dstack)
def dstack(tup: Any) -> Any:
    """The arrays joined along their third axis, which vectors and matrices get first."""
    world = common_world(tup)
    return concatenate([with_depth(strong(a, world)) for a in tup], axis=2)


@traceable(np.block)
def block(arrays: Any) -> Any:
    """An array put together from nested lists of blocks: the innermost lists join along the last axis."""
    world = common_world(arrays)

    def depth(value: Any, place: str) -> int:
        if isinstance(value, tuple):
            raise TypeError(f"{place} is a tuple. Only lists can be used to arrange blocks")
        if not isinstance(value, list):
            return 0
        if not value:
            raise ValueError(f"List at {place} cannot be empty")
        depths = [depth(v, f"{place}[{k}]") for k, v in enumerate(value)]
        if len(set(depths)) > 1:
            raise ShapeError(
                "block: lists are nested to different depths",
                expected=f"each element of {place} as deep as the first",
                actual=str(depths),
                fix="put every array of a row into a list of its own level",
            )
        return depths[0] + 1

    levels = depth(arrays, "arrays")

    def rank(value: Any) -> int:
        return max(map(rank, value)) if isinstance(value, list) else strong(value, world).ndim

    total = max(levels, rank(arrays))

    def join(value: Any, level: int) -> Any:
        if not isinstance(value, list):
            return atleast(total, strong(value, world))
        return concatenate([join(v, level - 1) for v in value], axis=-level)

    return unordered(snapshot(join(arrays, levels)))


@traceable(np.append)
def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    """Values put behind an array along an axis; without one, both are flattened."""
    world = common_world(arr, values)
    return concatenate([strong(arr, world), strong(values, world)], axis=axis)


def _flat_or(function: str, x: Any, axis: int | None) -> tuple[Any, int]:
    """The operand and the axis to work along; no axis means the flattened operand."""
    return (ravel(x), 0) if axis is None else (x, normalise_axis(function, axis, x.ndim))


@traceable(np.delete)
def delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    """The array without the slices at some positions of an axis, or of the flattened array.

    What is deleted must be known when the graph is traced: the size of the result depends on it.
    """
    x, place = _flat_or("delete", strong(arr, common_world(arr, obj)), axis)
    size = fixed_size("delete", x.type.shape[place])
    return unordered(snapshot(pick(x, np.delete(np.arange(size), _places("delete", obj)), place)))


def _places(function: str, obj: Any) -> Any:
    if isinstance(obj, slice) or (isinstance(obj, int) and not isinstance(obj, bool)):
        return obj
    return static_array(function, "obj", obj)


@traceable(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """The array with values put before some positions of an axis, or of the flattened array.

    The positions must be known when the graph is traced; the values may be traced.
    """
    world = common_world(arr, obj, values)
    x, place = _flat_or("insert", strong(arr, world), axis)
    new = world.convert(strong(values, world), x.type.dtype)
    size = fixed_size("insert", x.type.shape[place])
    places = _places("insert", obj)
    count = len(np.insert(np.arange(size), places, 0)) - size
    if count == 1 and not isinstance(places, slice):
        new = atleast(x.ndim, new)
        if np.ndim(places) == 0:
            # one place given as a number: the first axis of the values runs along the axis
            new = moveaxis(new, 0, place)
        count = fixed_size("insert", new.type.shape[place])
    shape = (*x.type.shape[:place], count, *x.type.shape[place + 1 :])
    marks = np.insert(np.arange(size), places, np.arange(size, size + count))
    return pick(concatenate([x, broadcast_to(without_leading_ones(new, x.ndim), shape)], axis=place), marks, place)


def without_leading_ones(value: Any, rank: int) -> Any:
    """A value to be assigned: NumPy ignores axes of size 1 in front of those of the target."""
    extra = max(value.ndim - rank, 0)
    return squeeze(value, tuple(range(extra))) if extra else value


@traceable(np.array_split, view=True)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Parts along an axis, cut at positions or into a number of parts whose sizes differ by at most one."""
    return _split("array_split", ary, indices_or_sections, axis, uneven=True)


@traceable(np.split, view=True)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Equal parts along an axis, or parts cut at given positions."""
    return _split("split", ary, indices_or_sections, axis, uneven=False)


def _split(function: str, ary: Any, sections: Any, axis: int, uneven: bool) -> list[Any]:
    x = strong(ary, common_world(ary, sections))
    place = normalise_axis(function, axis, x.ndim)
    size = x.type.shape[place]
    bounds: list[Any]
    if isinstance(sections, (list, tuple)) or (isinstance(sections, np.ndarray) and sections.ndim):
        cuts = [c if isinstance(c, SymbolicSize) else operator.index(c) for c in sections]
        bounds = [0, *cuts, None]
    else:
        count = operator.index(sections)
        if not count and not uneven:
            raise ZeroDivisionError("integer modulo by zero")
        if count <= 0:
            raise ValueError("number sections must be larger than 0.")
        if uneven:
            each, extra = divmod(fixed_size(function, size), count)
            bounds = [0, *np.cumsum([each + (k < extra) for k in range(count)]).tolist()]
        elif not x.world.facts.equal(size % count, 0):
            raise ShapeError(
                "split: the axis does not divide into equal parts",
                expected=f"a size that {count} divides",
                actual=str(size),
                fix="np.array_split allows parts of different sizes",
            )
        else:
            each_part = size // count
            index = [(0, d, 1) for d in x.type.shape]
            pieces = []
            for k in range(count):
                index[place] = (k * each_part, (k + 1) * each_part, 1)
                pieces.append(view_of(x, Sliced(tuple(index))))
            return pieces
    return [part(x, place, start, stop) for start, stop in pairwise(bounds)]


def _splitter(numpy_function: Any, least: int, axis_of: Any, doc: str) -> Any:
    name = numpy_function.__name__

    def apply(ary: Any, indices_or_sections: Any) -> list[Any]:
        x = strong(ary, common_world(ary, indices_or_sections))
        if x.ndim < least:
            raise ShapeError(
                f"{name}: too few axes", expected=f"at least {least}", actual=repr(x.type), fix="use np.split"
            )
        return _split("split", x, indices_or_sections, axis_of(x.ndim), uneven=False)

    apply.__doc__ = doc
    return traceable(numpy_function, view=True)(apply)


hsplit = _splitter(
    np.hsplit, 1, lambda rank: 0 if rank == 1 else 1, "Parts along the second axis of an array, or the only one."
)
vsplit = _splitter(np.vsplit, 2, lambda rank: 0, "Parts along the first axis of an array that has at least two.")
dsplit = _splitter(np.dsplit, 3, lambda rank: 2, "Parts along the third axis of an array.")


@traceable("unstack", view=True)
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The slices along an axis, as a tuple."""
    value = strong(x, common_world(x))
    if not value.ndim:
        raise ShapeError("unstack: the operand has no axis", expected="at least one axis", actual=repr(value.type))
    return tuple(moveaxis(value, axis, 0))


@traceable(np.resize)
def resize(a: Any, new_shape: Any) -> Any:
    """A new array of some shape, filled with the elements in order, again from the start where they run out."""
    x = ravel(strong(a, common_world(a)))
    shape = tuple(new_shape) if isinstance(new_shape, (list, tuple)) else (new_shape,)
    sizes = tuple(operator.index(d) for d in shape)
    if any(d < 0 for d in sizes):
        raise ValueError("all elements of `new_shape` must be non-negative")
    total, size = int(np.prod(sizes, dtype=int)), fixed_size("resize", x.type.shape[0])
    if not size or not total:
        return x.world.full(0, type_like(x, sizes))
    copies = -(-total // size)
    repeated = x.world.reshape(broadcast_to(x, (copies, size)), shape=(copies * size,))
    return x.world.reshape(part(repeated, 0, 0, total), shape=sizes)


def type_like(x: Any, shape: Sequence[Any]) -> Any:
    """A tensor type of the value's dtype and another shape."""
    return type(x.type)(tuple(shape), x.type.dtype)


@traceable(np.meshgrid, view=True)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Any, ...]:
    """The coordinates of a grid: each vector repeated along the axes of the others."""
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    world = common_world(*xi)
    rank = len(xi)
    order = [1, 0, *range(2, rank)] if indexing == "xy" and rank > 1 else list(range(rank))
    arrays = [strong(x, world) for x in xi]
    values = [reshape_of(a, (dims.product(a.type.shape),)) for a in arrays]
    grids = [
        reshape_of(v, tuple(v.type.shape[0] if axis == k else 1 for axis in range(rank)))
        for v, k in zip(values, order, strict=True)
    ]
    if not sparse:
        sizes = [v.type.shape[0] for v in values]
        grids = [broadcast_to(v, tuple(sizes[k] for k in order)) for v in grids]
    return tuple(copied(v, "C") for v in grids) if copy else tuple(grids)


@traceable(np.ix_)
def ix_(*args: Any) -> tuple[Any, ...]:
    """Vectors of positions, shaped so that together they index every combination.

    Traced ones must hold integers.
    """
    world = common_world(*args)
    rank, result = len(args), []
    for k, sequence in enumerate(args):
        if not isinstance(sequence, Traced):
            flat = np.asarray(sequence)
            flat = np.flatnonzero(flat) if flat.dtype == np.bool_ else flat if flat.size else flat.astype(np.int64)
            value = strong(flat, world)
        else:
            value = sequence
        if value.ndim != 1:
            raise ShapeError("ix_: cross index must be 1 dimensional", expected="sequences", actual=repr(value.type))
        if value.type.dtype.kind == "b":
            static_array("ix_", "a mask", value)
        size = dims.product(value.type.shape)
        result.append(world.reshape(value, shape=tuple(size if axis == k else 1 for axis in range(rank))))
    return tuple(result)
