"""Python functions applied slice by slice or element by element, unrolled into the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ShapeError, UnsupportedError
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.picking import fixed_size
from graphc.numpy.shaping import broadcast_to, expand_dims, moveaxis, reshape, stack
from graphc.ops.typing import normalise_axis
from graphc.tracing import holds_traced

__all__ = [
    "apply_along_axis",
    "apply_over_axes",
    "vectorize",
]


@traceable(np.apply_along_axis)
def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """A function of vectors applied to every vector along an axis.

    It is traced once for each vector, so the other axes must have sizes that are known.
    """
    world = common_world(arr, list(args), list(kwargs.values()))
    x = strong(arr, world)
    place = normalise_axis("apply_along_axis", axis, x.ndim)
    moved = moveaxis(x, place, -1)
    outer = tuple(fixed_size("apply_along_axis", d) for d in moved.type.shape[:-1])
    if 0 in outer:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    results = [strong(func1d(moved[at], *args, **kwargs), world) for at in np.ndindex(*outer)]
    kind = results[0].type.dtype
    joined = stack([world.convert(r, kind) for r in results])
    inner = joined.type.shape[1:]
    value = reshape(joined, (*outer, *inner))
    rank = len(inner)
    if not rank:
        return value
    last = range(len(outer), len(outer) + rank)
    return moveaxis(value, tuple(last), tuple(range(place, place + rank)))


@traceable(np.apply_over_axes)
def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Any:
    """A function `func(a, axis)` applied over one axis after the other; lost axes come back with size 1."""
    value = strong(a, common_world(a))
    rank = value.ndim
    for axis in axes if isinstance(axes, (tuple, list, np.ndarray)) and np.ndim(axes) else (axes,):
        place = normalise_axis("apply_over_axes", int(axis), rank)
        result = func(value, place)
        if result.ndim != value.ndim:
            result = expand_dims(result, place)
            if result.ndim != value.ndim:
                raise ShapeError("function is not returning an array of the correct shape", actual=f"{result.ndim}-d")
        value = result
    return value


def vectorize(pyfunc: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """A function of numbers as one of arrays, which is traced once for each element.

    >>> import numpy as np, graphc
    >>> step = graphc.numpy.vectorize(lambda x, n: x**n if n > 1 else x)
    >>> graphc.compile(lambda x: step(x, np.array([1, 2])), "f64[2]")(np.array([3.0, 3.0]))
    array([3., 9.])
    """
    on_arrays = np.vectorize(pyfunc, **options)

    def call(*args: Any) -> Any:
        if not holds_traced(args):
            return on_arrays(*args)
        if {"signature", "excluded", "otypes"} & options.keys():
            raise UnsupportedError(
                "np.vectorize: signature, excluded and otypes cannot be traced", fix="leave them out"
            )
        world = common_world(*args)
        shape = np.broadcast_shapes(*[np.shape(a) for a in args])
        if 0 in shape:
            raise ValueError("cannot call `vectorize` on size 0 inputs unless `otypes` is set")
        # arrays known now stay arrays, so that the function may decide by their elements
        spread = [broadcast_to(strong(a, world), shape) if holds_traced(a) else np.broadcast_to(a, shape) for a in args]
        results = [strong(pyfunc(*[a[at] for a in spread]), world) for at in np.ndindex(*shape)]
        return reshape(stack([world.convert(r, results[0].type.dtype) for r in results]), shape)

    return call
