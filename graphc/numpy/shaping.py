"""Functions that make, reshape, join and repeat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, Size
from graphc.errors import AxisError, ShapeError, UnsupportedError
from graphc.ir import Guard, TensorType
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.universal import check_order
from graphc.ops.typing import broadcast, normalise_axis, show
from graphc.tracing import Traced, TracingWorld, as_size, fresh, lift

__all__ = [
    "arange",
    "array",
    "asanyarray",
    "asarray",
    "ascontiguousarray",
    "asfortranarray",
    "atleast_1d",
    "atleast_2d",
    "broadcast_arrays",
    "broadcast_to",
    "concatenate",
    "empty",
    "empty_like",
    "expand_dims",
    "full",
    "full_like",
    "hstack",
    "matrix_transpose",
    "moveaxis",
    "ndim",
    "ones",
    "ones_like",
    "ravel",
    "require",
    "reshape",
    "row_stack",
    "shape",
    "size",
    "squeeze",
    "stack",
    "swapaxes",
    "transpose",
    "vstack",
    "zeros",
    "zeros_like",
]


def shape_of(shape: Any) -> tuple[Size, ...]:
    """A user's shape argument as sizes of the IR."""
    return tuple(map(as_size, shape)) if isinstance(shape, (tuple, list)) else (as_size(shape),)


@traceable(np.reshape)
def reshape(a: Any, /, shape: Any, order: str = "C", *, copy: Any = None) -> Any:
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
    if order in ("C", "K"):
        return world.reshape(x, shape=tuple(target))
    if order != "F":
        raise UnsupportedError(f"reshape: order={order!r} cannot be traced", expected="'C' or 'F'")
    return transpose(world.reshape(transpose(x), shape=tuple(target[::-1])))


@traceable(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    return reshape(a, (-1,) if 0 not in a.type.shape else (0,), order=order)


@traceable(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Any:
    x = strong(a, common_world(a))
    rank = x.ndim
    perm = tuple(range(rank))[::-1] if axes is None else tuple(normalise_axis("transpose", int(i), rank) for i in axes)
    return x if perm == tuple(range(rank)) else x.world.transpose(x, perm=perm)


@traceable(np.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    return swapaxes(x, -1, -2)


@traceable(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    perm = list(range(a.ndim))
    i, j = (normalise_axis("swapaxes", k, a.ndim) for k in (axis1, axis2))
    perm[i], perm[j] = perm[j], perm[i]
    return transpose(a, perm)


@traceable(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
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


@traceable(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
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
    return x.world.reshape(x, shape=tuple(1 if k in places else next(sizes) for k in range(rank)))


def _is_one(world: TracingWorld, size: Size) -> bool:
    """Whether a size is 1; one that is named is taken to be another, as long as no running call says so."""
    if isinstance(size, Dim) and world.facts.hints is None and world.facts.known("==", size, 1) is None:
        world.builder.guards.setdefault(Guard("!=", size, 1))
        return False
    return world.facts.equal(size, 1)


@traceable(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
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
    return x.world.reshape(x, shape=tuple(d for k, d in enumerate(x.type.shape) if k not in places))


@traceable(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    world = common_world(array, shape)
    x = strong(array, world)
    target = shape_of(shape)
    return x if target == x.type.shape else world.broadcast_to(x, shape=target)


@traceable(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    world = common_world(*args)
    values = [strong(a, world) for a in args]
    target = broadcast(world.facts, "broadcast_arrays", *[v.type.shape for v in values])
    return tuple(broadcast_to(v, target) for v in values)


def _joined(arrays: Sequence[Any], dtype: Any = None) -> tuple[Any, list[Any]]:
    world = common_world(*arrays)
    values = [strong(a, world) for a in arrays]
    if dtype is not None:
        return world, [world.convert(v, np.dtype(dtype)) for v in values]
    return world, [strong(v, world) for v in world.promote(values)]


@traceable(np.concatenate)
def concatenate(
    arrays: Any, /, axis: int | None = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Any:
    world, values = _joined(list(arrays), dtype)
    if axis is None:
        values, axis = [ravel(v) for v in values], 0
    if not values[0].ndim:
        raise ShapeError("concatenate: zero-dimensional arrays cannot be concatenated", fix="use np.stack")
    return world.apply("concatenate", values, axis=normalise_axis("concatenate", axis, values[0].ndim))


@traceable(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    world, values = _joined(list(arrays), dtype)
    place = normalise_axis("stack", axis, values[0].ndim + 1)
    return world.apply("concatenate", [expand_dims(v, place) for v in values], axis=place)


def atleast(rank: int, a: Any) -> Any:
    """A value with at least `rank` axes, new ones where NumPy's atleast_1d and atleast_2d put them."""
    return reshape(a, (1,) * (rank - a.ndim) + a.type.shape) if a.ndim < rank else a


@traceable(np.atleast_1d)
def atleast_1d(*arrays: Any) -> Any:
    results = [atleast(1, strong(a, common_world(*arrays))) for a in arrays]
    return results[0] if len(results) == 1 else tuple(results)


@traceable(np.atleast_2d)
def atleast_2d(*arrays: Any) -> Any:
    results = [atleast(2, strong(a, common_world(*arrays))) for a in arrays]
    return results[0] if len(results) == 1 else tuple(results)


@traceable(np.vstack, "row_stack")
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    world = common_world(tup)
    return concatenate([atleast(2, strong(a, world)) for a in tup], axis=0, dtype=dtype)


row_stack = vstack


@traceable(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    world = common_world(tup)
    values = [atleast(1, strong(a, world)) for a in tup]
    return concatenate(values, axis=0 if values[0].ndim == 1 else 1, dtype=dtype)


def _filled(name: str, value: float) -> Any:
    def apply(
        a: Any,
        dtype: Any = None,
        order: str = "K",
        subok: bool = True,
        shape: Any = None,
        *,
        device: Any = None,
    ) -> Any:
        return full_like(a, value, dtype=dtype, shape=shape)

    return traceable(getattr(np, name))(apply)


@traceable(np.full_like)
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Any:
    world = common_world(a, fill_value)
    like: TensorType = lift(a, world).type
    target = like.shape if shape is None else shape_of(shape)
    kind = like.dtype if dtype is None else np.dtype(dtype)
    value = world.convert(lift(fill_value, world), kind)
    return broadcast_to(value, target)


zeros_like = _filled("zeros_like", 0)
ones_like = _filled("ones_like", 1)
empty_like = _filled("empty_like", 0)


def _maker(name: str, value: float) -> Any:
    def apply(shape: Any, dtype: Any = float, order: str = "C", *, device: Any = None, like: Any = None) -> Any:
        world = common_world(shape, like)
        return world.full(value, TensorType(shape_of(shape), np.dtype(dtype)))

    return traceable(getattr(np, name))(apply)


zeros = _maker("zeros", 0)
ones = _maker("ones", 1)
empty = _maker("empty", 0)


@traceable(np.full)
def full(
    shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None
) -> Any:
    world = common_world(shape, fill_value, like)
    value = strong(fill_value, world)
    return broadcast_to(value if dtype is None else world.convert(value, np.dtype(dtype)), shape_of(shape))


@traceable(np.arange)
def arange(
    start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, *, device: Any = None, like: Any = None
) -> Any:
    """As `numpy.arange` for whole sizes, symbolic ones included."""
    world = common_world(start, stop, step, like)
    first, last = (0, as_size(start)) if stop is None else (as_size(start), as_size(stop))
    if not isinstance(step, int) or step == 0:
        raise UnsupportedError("np.arange: the step must be a whole number that is not 0", actual=repr(step))
    count = (last - first + step - (1 if step > 0 else -1)) // step
    kind = np.dtype(np.int64 if dtype is None else dtype)
    counted = world.iota(size=count, dtype=kind)
    scaled = counted if step == 1 else counted * step
    return scaled if first == 0 else scaled + lift(first, world)


@traceable(np.array)
def array(
    object: Any, dtype: Any = None, *, copy: Any = True, order: str = "K", ndmin: int = 0, like: Any = None
) -> Any:
    """As `numpy.array`, for nested lists that hold traced values too."""
    world = common_world(object)
    x = strong(object, world)
    x = x if dtype is None else world.convert(x, np.dtype(dtype))
    return fresh(atleast(ndmin, x))


@traceable(np.asarray, np.asanyarray)
def asarray(
    a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: Any = None, like: Any = None
) -> Any:
    """An array of a number, a nested list or an array, which may hold traced values; an array is not copied."""
    check_order(order)
    if copy:
        return array(a, dtype)
    if isinstance(a, Traced) and not a.type.weak and (dtype is None or np.dtype(dtype) == a.type.dtype):
        return a
    return array(a, dtype)


asanyarray = asarray


@traceable(np.ascontiguousarray, np.asfortranarray)
def ascontiguousarray(a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    """The array itself, with at least one axis: a traced value has no order in memory."""
    return atleast(1, asarray(a, dtype))


asfortranarray = ascontiguousarray


@traceable(np.require)
def require(a: Any, dtype: Any = None, requirements: Any = None, *, like: Any = None) -> Any:
    """The array itself: what is required of its place in memory has no meaning for a traced value."""
    known = {"C", "F", "A", "W", "O", "E"}
    names = {"CONTIGUOUS": "C", "C_CONTIGUOUS": "C", "F_CONTIGUOUS": "F", "FORTRAN": "F", "ALIGNED": "A"}
    names |= {"WRITEABLE": "W", "OWNDATA": "O", "ENSUREARRAY": "E"} | {name: name for name in known}
    flags = {names[one.upper()] for one in requirements or ()}
    if flags >= {"C", "F"}:
        raise ValueError('Cannot specify both "C" and "F" order')
    return asarray(a, dtype)


@traceable(np.shape)
def shape(a: Any) -> Any:
    return a.shape


@traceable(np.ndim)
def ndim(a: Any) -> int:
    return a.ndim  # type: ignore[no-any-return]


@traceable(np.size)
def size(a: Any, axis: int | None = None) -> Any:
    return a.size if axis is None else a.shape[axis]
