"""Grids of positions, and positions in flattened arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import DTypeError, ShapeError
from graphc.numpy.checks import clip_mode, real_dtype
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.shaping import broadcast_to, shape_of, stack
from graphc.ops.typing import broadcast
from graphc.tracing import as_size, wrap_size

__all__ = [
    "broadcast_shapes",
    "fromfunction",
    "indices",
    "ravel_multi_index",
    "unravel_index",
]

INT: Any = np.dtype(np.int64)


@traceable(np.indices)
def indices(dimensions: Any, dtype: Any = int, sparse: bool = False) -> Any:
    """The positions along each axis of a grid, as one array with an axis more, or one for each axis if `sparse`."""
    world = common_world(dimensions)
    sizes = shape_of(tuple(dimensions))
    thin = []
    for k, size in enumerate(sizes):
        counted = world.iota(size=size, dtype=real_dtype(dtype))
        thin.append(world.reshape(counted, shape=tuple(size if i == k else 1 for i in range(len(sizes)))))
    return tuple(thin) if sparse else stack([broadcast_to(v, sizes) for v in thin])


@traceable(np.fromfunction)
def fromfunction(
    function: Callable[..., Any], shape: Any, *, dtype: Any = float, like: Any = None, **kwargs: Any
) -> Any:
    """What a function gives for the positions in an array of a shape, whose sizes may be symbolic."""
    return function(*indices(shape, dtype=dtype), **kwargs)


def _strides(world: Any, shape: Any, order: str) -> list[Any]:
    if order not in ("C", "F", None):
        raise ValueError("only 'C' or 'F' order is permitted")
    sizes = [as_size(d) for d in (shape if isinstance(shape, (tuple, list)) else (shape,))]
    count = len(sizes)
    rest = [sizes[k + 1 :] if order != "F" else sizes[:k] for k in range(count)]
    return [wrap_size(world, dims.product(r)) for r in rest]


def _whole(function: str, value: Any) -> Any:
    if value.type.dtype.kind not in "iu":
        raise DTypeError(f"{function}: positions must be integers", actual=repr(value.type))
    return value.world.convert(value, INT)


@traceable(np.unravel_index)
def unravel_index(indices: Any, shape: Any, order: str = "C") -> tuple[Any, ...]:
    """The positions along the axes of a shape of positions in the flattened array.

    Traced positions outside are not noticed.
    """
    world = common_world(indices, shape)
    flat = _whole("unravel_index", strong(indices, world))
    sizes = list(shape) if isinstance(shape, (tuple, list)) else [shape]
    strides = _strides(world, shape, order)
    result = []
    for k, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
        outermost = k == (0 if order != "F" else len(sizes) - 1)
        place = flat if isinstance(stride, int) and stride == 1 else flat // stride
        result.append(place if outermost else place % size)
    return tuple(result)


@traceable(np.ravel_multi_index)
def ravel_multi_index(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Any:
    """The positions in the flattened array of positions along the axes of a shape.

    With mode="raise" traced positions outside are not noticed.
    """
    world = common_world(multi_index, dims)
    sizes = list(dims) if isinstance(dims, (tuple, list)) else [dims]
    parts = [_whole("ravel_multi_index", strong(i, world)) for i in multi_index]
    if len(parts) != len(sizes):
        raise ShapeError(
            "ravel_multi_index: one array is needed for each axis", expected=str(len(sizes)), actual=str(len(parts))
        )
    modes = list(mode) if isinstance(mode, (tuple, list)) else [mode] * len(parts)
    total: Any = None
    for part, size, stride, how in zip(parts, sizes, _strides(world, dims, order), map(clip_mode, modes), strict=True):
        if how == "wrap":
            part = part % size
        elif how == "clip":
            part = np.clip(part, 0, size - 1)
        term = part * stride
        total = term if total is None else total + term
    return total


@traceable(np.broadcast_shapes)
def broadcast_shapes(*args: Any) -> tuple[Any, ...]:
    """The shape that arrays of some shapes have together, symbolic sizes included."""
    world = common_world(*args)
    shapes = [shape_of(s) for s in args]
    return tuple(wrap_size(world, d) for d in broadcast(world.facts, "broadcast_shapes", *shapes))
