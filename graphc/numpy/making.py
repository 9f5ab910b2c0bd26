"""Functions that make arrays: of one value, of a range, of nested lists."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.dims import Size
from graphc.errors import UnsupportedError
from graphc.numpy.checks import check_device, memory_order, real_dtype
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.shaping import atleast, shape_of, unknown_order
from graphc.tracing import (
    as_size,
    copied,
    holds_traced,
    in_c_order,
    in_f_order,
    is_scalar,
    is_writeable,
    lift,
    owns_storage,
    placed,
)

__all__ = [
    "arange",
    "array",
    "asanyarray",
    "asarray",
    "ascontiguousarray",
    "asfortranarray",
    "empty",
    "empty_like",
    "full",
    "full_like",
    "ones",
    "ones_like",
    "require",
    "zeros",
    "zeros_like",
]


def _filled(name: str, value: float, doc: str) -> Any:
    def apply(
        a: Any,
        dtype: Any = None,
        order: str = "K",
        subok: bool = True,
        shape: Any = None,
        *,
        device: Any = None,
    ) -> Any:
        return full_like(a, value, dtype=dtype, order=order, shape=shape, device=device)

    apply.__doc__ = doc
    return traceable(getattr(np, name), view=True, maker=True)(apply)


@traceable(np.full_like, view=True, maker=True)
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
    """An array of the shape and dtype of another, all of whose elements have one value."""
    order = memory_order(order)
    check_device(device)
    world = common_world(a, fill_value)
    like = lift(a, world)
    target = like.type.shape if shape is None else shape_of(shape)
    kind = like.type.dtype if dtype is None else real_dtype(dtype)
    value = _spread(world.convert(lift(fill_value, world), kind), target)
    return placed(value, order, like if len(target) == like.ndim else None)


def _spread(value: Any, shape: tuple[Size, ...]) -> Any:
    return value if value.type.shape == shape else value.world.broadcast_to(value, shape=shape)


zeros_like = _filled("zeros_like", 0, "Zeros in an array of the shape and dtype of another.")
ones_like = _filled("ones_like", 1, "Ones in an array of the shape and dtype of another.")


@traceable(np.empty_like, view=True, maker=True)
def empty_like(
    prototype: Any,
    /,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Any:
    """An array of the shape and dtype of another, to be written to.

    Until then it holds zeros: what NumPy leaves in it is not defined.
    """
    return full_like(prototype, 0, dtype=dtype, order=order, shape=shape, device=device)


def _maker(name: str, value: float, doc: str) -> Any:
    def apply(shape: Any, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None) -> Any:
        return full(shape, float(value), dtype=dtype, order=order, device=device, like=like)

    apply.__doc__ = doc
    return traceable(getattr(np, name), view=True, maker=True)(apply)


zeros = _maker("zeros", 0, "An array of zeros; the sizes may be symbolic.")
ones = _maker("ones", 1, "An array of ones; the sizes may be symbolic.")
empty = _maker(
    "empty",
    0,
    """An array to be written to; the sizes may be symbolic.

    Until then it holds zeros: what NumPy leaves in it is not defined.
    """,
)


@traceable(np.full, view=True, maker=True)
def full(
    shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None
) -> Any:
    """An array of some shape, all of whose elements have one value; sizes may be symbolic, the value traced."""
    order = memory_order(order, "C", "CF")
    check_device(device)
    world = common_world(shape, fill_value, like)
    value = strong(fill_value, world)
    return placed(_spread(value if dtype is None else world.convert(value, real_dtype(dtype)), shape_of(shape)), order)


@traceable(np.arange)
def arange(
    start: Any = None,
    stop: Any = None,
    step: Any = 1,
    dtype: Any = None,
    *,
    device: Any = None,
    like: Any = None,
) -> Any:
    """Numbers from start up to stop, exclusive, in steps.

    Limits may be symbolic sizes, and then the step must be a whole number; values computed in a run are refused, since
    the size of the result would depend on them.
    """
    check_device(device)
    if start is None and stop is None:
        raise TypeError("arange() requires stop to be specified.")
    start, stop = (start, stop) if stop is None or start is not None else (0, stop)
    world = common_world(start, stop, step, like)
    if not any(map(holds_traced, (start, stop, step))):
        limits: Any = (start,) if stop is None else (start, stop, step)
        known = np.arange(*limits, dtype=None if dtype is None else real_dtype(dtype))
        return placed(lift(known, world))
    first, last = (0, as_size(start)) if stop is None else (as_size(start), as_size(stop))
    if not isinstance(step, int) or step == 0:
        raise UnsupportedError("np.arange: the step must be a whole number that is not 0", actual=repr(step))
    count = (last - first + step - (1 if step > 0 else -1)) // step
    if not world.facts.settle("<=", 0, count):
        count = 0
    kind = real_dtype(np.int64 if dtype is None else dtype)
    counted = world.iota(size=count, dtype=kind)
    scaled = counted if step == 1 else counted * step
    return scaled if first == 0 else scaled + lift(first, world)


@traceable(np.array, view=True)
def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: Any = True,
    order: str | None = "K",
    subok: bool = False,
    ndmin: int = 0,
    ndmax: int = 64,
    like: Any = None,
) -> Any:
    """An array of a number or of nested lists, which may hold traced values."""
    order = memory_order(order)
    world = common_world(object, like)
    x = strong(object, world)
    if x.ndim > ndmax:
        raise ValueError(f"setting an array element with a sequence: the array would have more than {ndmax} axes")
    x = x if dtype is None else world.convert(x, real_dtype(dtype))
    fits = x is object and not is_scalar(x) and _lies(x, order)
    if copy or not fits:
        if copy is False:
            raise ValueError("Unable to avoid copy while creating an array as requested.")
        if x is object and fits is None and not copy:
            raise unknown_order("array", x)
        x = placed(x, order, x)
    return atleast(ndmin, x)


def _lies(x: Any, order: str) -> bool | None:
    """Whether an array lies in memory as an order asks; None where that is not known."""
    return True if order in ("K", "A") else in_c_order(x) if order == "C" else in_f_order(x)


@traceable(np.asarray, np.asanyarray, view=True)
def asarray(
    a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: Any = None, like: Any = None
) -> Any:
    """An array of a number, a nested list or an array, which may hold traced values; an array is not copied."""
    check_device(device)
    return array(a, dtype, copy=copy, order=order, like=like)


asanyarray = asarray


@traceable(np.ascontiguousarray, view=True)
def ascontiguousarray(a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    """The array, with at least one axis: itself where it lies in memory as in C, a copy that does where not."""
    return array(a, dtype, copy=None, order="C", ndmin=1, like=like)


@traceable(np.asfortranarray, view=True)
def asfortranarray(a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    """The array, with at least one axis: itself where it lies in memory as in Fortran, a copy that does where not."""
    return array(a, dtype, copy=None, order="F", ndmin=1, like=like)


@traceable(np.require, view=True)
def require(a: Any, dtype: Any = None, requirements: Any = None, *, like: Any = None) -> Any:
    """The array, copied where it does not lie in memory as required."""
    known = {"C", "F", "A", "W", "O", "E"}
    names = {"CONTIGUOUS": "C", "C_CONTIGUOUS": "C", "F_CONTIGUOUS": "F", "FORTRAN": "F", "ALIGNED": "A"}
    names |= {"WRITEABLE": "W", "OWNDATA": "O", "ENSUREARRAY": "E"} | {name: name for name in known}
    flags = {names[one.upper()] for one in requirements or ()}
    if flags >= {"C", "F"}:
        raise ValueError('Cannot specify both "C" and "F" order')
    order = "C" if "C" in flags else "F" if "F" in flags else "A"
    x = array(a, dtype, copy=None, order=order, like=like)
    return x if (owns_storage(x) or "O" not in flags) and (is_writeable(x) or "W" not in flags) else copied(x, order)
