"""Evenly spaced numbers between traced ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.numpy.checks import check_device, real_dtype
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.elementwise import absolute, exp, floor_divide, log, power, sign
from graphc.numpy.picking import whole_number
from graphc.numpy.shaping import broadcast_arrays, expand_dims, moveaxis, reshape
from graphc.tracing import lift

__all__ = [
    "geomspace",
    "linspace",
    "logspace",
]


def _ends(start: Any, stop: Any) -> tuple[Any, Any, np.dtype[Any]]:
    """Both ends in one float dtype, broadcast to one shape, and that dtype."""
    world = common_world(start, stop)
    numbers = [v if type(v) in (bool, int, float) else lift(v, world) for v in (start, stop)]
    # the literal makes integers floats
    first, last = (strong(v, world) for v in world.promote((*numbers, 1.0))[:2])
    first, last = broadcast_arrays(first, last)
    return first, last, first.type.dtype


def _count(function: str, num: Any) -> int:
    count = whole_number(function, "num", num)
    if count < 0:
        raise ValueError(f"Number of samples, {count}, must be non-negative.")
    return count


def _finished(values: Any, dtype: Any, found: np.dtype[Any], axis: int) -> Any:
    kind = found if dtype is None else real_dtype(dtype)
    if kind.kind in "iu":
        values = floor_divide(values, 1)
    return values.world.convert(moveaxis(values, 0, axis) if axis != 0 else values, kind)


@traceable(np.linspace)
def linspace(
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """Numbers from start to stop in equal steps; how many must be known when the graph is traced."""
    check_device(device)
    count = _count("linspace", num)
    first, last, found = _ends(start, stop)
    world = first.world
    parts = count - 1 if endpoint else count
    delta = last - first
    step = delta / parts if parts > 0 else world.full(float("nan"), first.type)
    counted = reshape(world.iota(size=count, dtype=found), (count,) + (1,) * first.ndim)
    values = counted * (step if parts > 0 else delta) + first
    if endpoint and count > 1:
        # the last sample is the end itself, whatever the step was rounded to
        values = world.concatenate(values[:-1], expand_dims(last, 0), axis=0)
    result = _finished(values, dtype, found, axis)
    return (result, step) if retstep else result


@traceable(np.logspace)
def logspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    """Powers of a base whose exponents go in equal steps; how many must be known when the graph is traced."""
    world = common_world(start, stop, base)
    root = base if type(base) in (bool, int, float) else strong(base, world)
    first, last = (v if type(v) in (bool, int, float) else strong(v, world) for v in (start, stop))
    if getattr(root, "ndim", 0):
        first, last, root = broadcast_arrays(first, last, root)
        root = expand_dims(root, 0)
    # where only the base is traced, an end has to be lifted for linspace to know the trace
    exponents = linspace(lift(first, world), last, num, endpoint)
    values = power(root, exponents)
    return values.world.convert(moveaxis(values, 0, axis), values.type.dtype if dtype is None else real_dtype(dtype))


@traceable(np.geomspace)
def geomspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """Numbers from start to stop in equal ratios; how many must be known when the graph is traced."""
    count = _count("geomspace", num)
    # unlike linspace, a Python number is an array here, whose dtype counts
    ends_world = common_world(start, stop)
    first, last, found = _ends(*(strong(v, ends_world) for v in (start, stop)))
    world = first.world
    turn = sign(first)
    values = exp(linspace(log(absolute(first)), log(turn * last), count, endpoint))
    parts = [
        expand_dims(absolute(first), 0),
        *([values[1:-1], expand_dims(turn * last, 0)] if endpoint else [values[1:]]),
    ]
    if count > 1:
        values = world.concatenate(*parts, axis=0)
    elif count == 1:
        values = parts[0]
    values = moveaxis(values * turn, 0, axis)
    return world.convert(values, found if dtype is None else real_dtype(dtype))
