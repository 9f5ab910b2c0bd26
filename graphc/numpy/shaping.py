"""Functions that reshape arrays, turn their axes, broadcast and join them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, Size
from graphc.errors import AxisError, ShapeError, UnsupportedError
from graphc.ir import Guard
from graphc.numpy.checks import check_cast, memory_order, real_dtype
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.views import Broadcast, Transposed, line_of, reshape_of
from graphc.ops.typing import broadcast, normalise_axis, show
from graphc.tracing import (
    Traced,
    TracingWorld,
    as_size,
    copied,
    in_c_order,
    in_f_order,
    is_scalar,
    same_storage,
    view_of,
)
from graphc.tracing.layout import reading_order

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "broadcast_arrays",
    "broadcast_to",
    "concat",
    "concatenate",
    "expand_dims",
    "hstack",
    "matrix_transpose",
    "moveaxis",
    "ndim",
    "permute_dims",
    "ravel",
    "reshape",
    "row_stack",
    "shape",
    "size",
    "squeeze",
    "stack",
    "swapaxes",
    "transpose",
    "vstack",
]


def shape_of(shape: Any) -> tuple[Size, ...]:
    """A user's shape argument as sizes of the IR."""
    return tuple(map(as_size, shape)) if isinstance(shape, (tuple, list)) else (as_size(shape),)


@traceable(np.reshape, view=True)
def reshape(a: Any, /, shape: Any, order: str = "C", *, copy: Any = None) -> Any:
    """The elements in another shape: a view of the array where NumPy gives one, a copy where it has to copy."""
    order = memory_order(order, "C", "CFA")
    world = common_world(a, shape)
    x = strong(a, world)
    target = list(shape_of(shape))
    if -1 in target:
        if target.count(-1) > 1:
            raise ShapeError("reshape: only one size can be -1", actual=show(target))
        total = dims.product(x.type.shape)
        rest = dims.product([d for d in target if d != -1])
        missing = dims.divide_exactly(total, rest) if rest != 0 else None
        if missing is None:
            raise ShapeError(
                "reshape: the number of elements changes",
                expected=f"a shape of {total} elements",
                actual=f"{show(x.type.shape)} to {show(target)}",
                fix="check the other sizes: their product has to divide the number of elements",
            )
        target[target.index(-1)] = missing
    if order == "A":
        order = "F" if not in_c_order(x) and in_f_order(x) else "C"
    if copy:
        x = copied(x, order)
    result = reshape_of(x, tuple(target)) if order == "C" else transpose(reshape_of(transpose(x), tuple(target[::-1])))
    if copy is False and not (is_scalar(x) or same_storage(x, result)):
        raise ValueError("Unable to avoid creating a copy while reshaping.")
    return result


def unknown_order(function: str, x: Any) -> UnsupportedError:
    return UnsupportedError(
        f"np.{function}: whether the array has to be copied depends on its order in memory, which is not known here",
        expected="an array whose order in memory is known",
        actual=repr(x.type),
        fix="copy it first: x.copy()",
    )


@traceable(np.ravel, view=True)
def ravel(a: Any, order: str = "C") -> Any:
    """The elements in one line: a view of an array without gaps, a copy of any other."""
    order = memory_order(order, "C")
    x = strong(a, common_world(a))
    if order == "A":
        order = "F" if not in_c_order(x) and in_f_order(x) else "C"
    if order != "C":
        axes = reading_order(x) if order == "K" else None
        if order == "K" and axes is None:
            raise unknown_order("ravel", x)
        x = transpose(x, axes)
    return line_of(x)


@traceable(np.transpose, np.permute_dims, view=True)
def transpose(a: Any, axes: Any = None) -> Any:
    """The axes in another order, reversed by default."""
    x = strong(a, common_world(a))
    rank = x.ndim
    perm = tuple(range(rank))[::-1] if axes is None else tuple(normalise_axis("transpose", int(i), rank) for i in axes)
    return view_of(x) if perm == tuple(range(rank)) else view_of(x, Transposed(perm))


permute_dims = transpose


@traceable(np.matrix_transpose, view=True)
def matrix_transpose(x: Any, /) -> Any:
    """The last two axes swapped."""
    return swapaxes(x, -1, -2)


@traceable(np.swapaxes, view=True)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """Two axes in each other's place."""
    perm = list(range(a.ndim))
    i, j = (normalise_axis("swapaxes", k, a.ndim) for k in (axis1, axis2))
    perm[i], perm[j] = perm[j], perm[i]
    return transpose(a, perm)


@traceable(np.moveaxis, view=True)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """Some axes moved to other places; the rest keep their order."""
    sources, targets = (
        [normalise_axis("moveaxis", k, a.ndim) for k in (v if isinstance(v, (tuple, list)) else (v,))]
        for v in (source, destination)
    )
    if len(sources) != len(targets) or len(set(sources)) != len(sources) or len(set(targets)) != len(targets):
        raise AxisError(
            "moveaxis: source and destination must name the same number of distinct axes",
            expected="one destination for each source",
            actual=f"{source} to {destination}",
            fix="name each axis once",
        )
    perm = [k for k in range(a.ndim) if k not in sources]
    for target, origin in sorted(zip(targets, sources, strict=True)):
        perm.insert(target, origin)
    return transpose(a, perm)


@traceable(np.expand_dims, view=True)
def expand_dims(a: Any, axis: Any) -> Any:
    """The array with new axes of size 1 at some places of the result's shape."""
    x = strong(a, common_world(a))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    rank = x.ndim + len(axes)
    places = {normalise_axis("expand_dims", k.__index__(), rank) for k in axes}
    if len(places) != len(axes):
        raise AxisError(
            "expand_dims: an axis is named twice",
            expected="distinct axes",
            actual=str(axis),
            fix="name each axis once; -1 and the last one are the same",
        )
    sizes = iter(x.type.shape)
    return reshape_of(x, tuple(1 if k in places else next(sizes) for k in range(rank)))


def _is_one(world: TracingWorld, size: Size) -> bool:
    """Whether a size is 1; one that is named is taken to be another, as long as no running call says so."""
    if isinstance(size, Dim) and world.facts.hints is None and world.facts.known("==", size, 1) is None:
        world.builder.guards.setdefault(Guard("!=", size, 1))
        return False
    return world.facts.equal(size, 1)


@traceable(np.squeeze, view=True)
def squeeze(a: Any, axis: Any = None) -> Any:
    """The array without axes of size 1, all of them or those given.

    An axis of a symbolic size stays if none is given.
    """
    x = strong(a, common_world(a))
    if axis is None:
        places = {k for k, d in enumerate(x.type.shape) if _is_one(x.world, d)}
    else:
        places = {normalise_axis("squeeze", k, x.ndim) for k in (axis if isinstance(axis, tuple) else (axis,))}
        for k in places:
            if not x.world.facts.equal(x.type.shape[k], 1):
                raise ShapeError(
                    "squeeze: the axis has a size other than 1", expected="1", actual=f"{x.type!r}, axis {k}"
                )
    if not places:
        return x
    return reshape_of(x, tuple(d for k, d in enumerate(x.type.shape) if k not in places))


@traceable(np.broadcast_to, view=True)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    """The array repeated along new axes and axes of size 1: a read-only view."""
    world = common_world(array, shape)
    return view_of(strong(array, world), Broadcast(shape_of(shape)), writeable=False)


@traceable(np.broadcast_arrays, view=True)
def broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    """Views of the arrays in the shape they broadcast to; those that are repeated are read-only."""
    world = common_world(*args)
    values = [strong(a, world) for a in args]
    target = broadcast(world.facts, "broadcast_arrays", *[v.type.shape for v in values])
    if all(v.type.shape == target for v in values):
        return tuple(values)
    return tuple(view_of(v) if v.type.shape == target else broadcast_to(v, target) for v in values)


def _joined(function: str, arrays: Sequence[Any], dtype: Any, casting: Any) -> tuple[Any, list[Any]]:
    """The arrays in the dtype that they have together, or in one that is asked for."""
    world = common_world(*arrays)
    values = [strong(a, world) for a in arrays]
    if dtype is not None:
        kind = real_dtype(dtype)
        for v in values:
            check_cast(function, v.type.dtype, kind, casting)
        return world, [world.convert(v, kind) for v in values]
    return world, [strong(v, world) for v in world.promote(values)]


@traceable(np.concatenate)
def concatenate(
    arrays: Any, /, axis: int | None = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Any:
    """The arrays joined along an axis they have; without one, each is flattened first."""
    world, values = _joined("concatenate", list(arrays), dtype, casting)
    if axis is None:
        values, axis = [ravel(v) for v in values], 0
    if not values[0].ndim:
        raise ShapeError("concatenate: zero-dimensional arrays cannot be concatenated", fix="use np.stack")
    return world.apply("concatenate", values, axis=normalise_axis("concatenate", axis, values[0].ndim))


concat = concatenate


@traceable(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """The arrays joined along a new axis."""
    world, values = _joined("stack", list(arrays), dtype, casting)
    place = normalise_axis("stack", axis, values[0].ndim + 1)
    return world.apply("concatenate", [expand_dims(v, place) for v in values], axis=place)


def atleast(rank: int, a: Any) -> Any:
    """A value with at least `rank` axes, new ones where NumPy's atleast_1d and atleast_2d put them."""
    return reshape(a, (1,) * (rank - a.ndim) + a.type.shape) if a.ndim < rank else a


@traceable(np.atleast_1d, view=True)
def atleast_1d(*arys: Any) -> Any:
    """Each array with at least one axis."""
    results = [atleast(1, strong(a, common_world(*arys))) for a in arys]
    return results[0] if len(results) == 1 else tuple(results)


@traceable(np.atleast_2d, view=True)
def atleast_2d(*arys: Any) -> Any:
    """Each array with at least two axes; vectors become rows."""
    results = [atleast(2, strong(a, common_world(*arys))) for a in arys]
    return results[0] if len(results) == 1 else tuple(results)


@traceable(np.vstack, "row_stack")
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """The arrays joined along their first axis; vectors count as rows."""
    world = common_world(tup)
    return concatenate([atleast(2, strong(a, world)) for a in tup], axis=0, dtype=dtype, casting=casting)


row_stack = vstack


@traceable(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """The arrays joined along their second axis; vectors along their only one."""
    world = common_world(tup)
    values = [atleast(1, strong(a, world)) for a in tup]
    return concatenate(values, axis=0 if values[0].ndim == 1 else 1, dtype=dtype, casting=casting)


@traceable(np.shape)
def shape(a: Any) -> Any:
    """The sizes of the axes, as numbers or symbolic sizes."""
    return a.shape if isinstance(a, Traced) else strong(a, common_world(a)).shape


@traceable(np.ndim)
def ndim(a: Any) -> int:
    """The number of axes."""
    return len(shape(a))


@traceable(np.size)
def size(a: Any, axis: Any = None) -> Any:
    """The number of elements, or of those along some axes."""
    sizes = shape(a)
    if axis is not None:
        places = axis if isinstance(axis, tuple) else (axis,)
        sizes = tuple(sizes[normalise_axis("size", k, len(sizes))] for k in places)
    total: Any = 1
    for one in sizes:
        total = total * one
    return total
