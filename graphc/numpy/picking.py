"""Elements at positions known when the graph is traced: by slices where a few do, by a gather otherwise."""

from __future__ import annotations

import operator
from typing import Any, Final

import numpy as np

from graphc.dims import Size
from graphc.errors import UnsupportedError
from graphc.tracing import Traced

MOST_RUNS: Final = 8  # a slice is a view and a gather copies element by element: so many slices are still cheaper


def whole_number(function: str, argument: str, value: Any) -> int:
    """A whole number that must be known when the graph is traced."""
    if isinstance(value, Traced):
        raise UnsupportedError(
            f"np.{function}: {argument} decides the size of the result, so it cannot be a traced value",
            expected="a whole number",
            actual=repr(value.type),
            fix="make the argument static",
        )
    return operator.index(value)


def fixed_size(function: str, size: Size, what: str = "the size") -> int:
    """A size that must be a number."""
    if isinstance(size, int):
        return size
    raise UnsupportedError(
        f"np.{function}: {what} must be a number when the graph is traced",
        expected="a fixed size",
        actual=str(size),
        fix=f"write a number for {size} in the spec, or use jit, which compiles again for a new size",
    )


def static_array(function: str, argument: str, value: Any) -> np.ndarray[Any, Any]:
    """An array argument whose values shape the result."""
    if isinstance(value, (list, tuple)):
        value = [static_array(function, argument, v) for v in value] if value else np.zeros(0, np.int64)
    if isinstance(value, Traced):
        raise UnsupportedError(
            f"np.{function}: {argument} decides the shape of the result, so it cannot be a traced value",
            expected="an array known when the graph is traced",
            actual=repr(value.type),
            fix="make the argument static, or select by mask: np.where(mask, x, 0)",
        )
    return np.asarray(value)


def runs(positions: list[int]) -> list[tuple[int, int, int]]:
    """The positions as (first, step, count) of arithmetic progressions, each as long as it can be."""
    result: list[tuple[int, int, int]] = []
    start = 0
    while start < len(positions):
        stop = start + 1
        step = positions[stop] - positions[start] if stop < len(positions) else 1
        while stop < len(positions) and positions[stop] - positions[stop - 1] == step:
            stop += 1
        result.append((positions[start], step, stop - start))
        start = stop
    return result


def pick(x: Any, positions: Any, axis: int) -> Any:
    """The elements of `x` along an axis at the given positions, which count from the front."""
    wanted = np.asarray(positions, np.int64)
    size = x.type.shape[axis]
    if wanted.shape == (size,) and (wanted == np.arange(size)).all():
        return x
    found = runs(wanted.tolist()) if len(wanted) <= 4096 or _few_runs(wanted) else []
    if not len(wanted):
        return x.world.slice(x, index=_along(x, axis, (0, 0, 1)))
    if not found or len(found) > MOST_RUNS:
        return x.world.gather(x, x.world.constant(wanted), axis=axis)
    parts = [_run(x, axis, *one) for one in found]
    return parts[0] if len(parts) == 1 else x.world.apply("concatenate", parts, axis=axis)


def _few_runs(wanted: np.ndarray[Any, Any]) -> bool:
    steps = np.diff(wanted)
    return int(np.count_nonzero(np.diff(steps))) < 2 * MOST_RUNS


def _run(x: Any, axis: int, first: int, step: int, count: int) -> Any:
    if step == 0:
        one = x.world.slice(x, index=_along(x, axis, (first, first + 1, 1)))
        return x.world.broadcast_to(one, shape=(*x.type.shape[:axis], count, *x.type.shape[axis + 1 :]))
    last = first + (count - 1) * step
    if step > 0:
        return x.world.slice(x, index=_along(x, axis, (first, last + 1, step)))
    return x.world.slice(x, index=_along(x, axis, (first, last - 1 if last else None, step)))


def _along(x: Any, axis: int, one: tuple[Size, Size | None, int]) -> tuple[tuple[Size, Size | None, int], ...]:
    return tuple(one if k == axis else (0, d, 1) for k, d in enumerate(x.type.shape))


def part(x: Any, axis: int, start: Any, stop: Any) -> Any:
    """The elements of `x` from start to stop along an axis, as Python slices."""
    return x[(slice(None),) * axis + (slice(start, stop),)]
