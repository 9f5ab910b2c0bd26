"""np.pad, every mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from graphc.dims import Size
from graphc.errors import ShapeError, UnsupportedError
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.indexing import flip
from graphc.numpy.picking import fixed_size, part, pick
from graphc.numpy.ranges import linspace
from graphc.numpy.shaping import broadcast_to, expand_dims, reshape
from graphc.ops.typing import normalise_axis
from graphc.tracing import SymbolicSize, Traced, as_size, wrap_size

__all__ = [
    "pad",
]

Widths = list[tuple[Size, Size]]

# What each mode takes besides the widths, and what it is without.
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "constant": {"constant_values": 0},
    "edge": {},
    "empty": {},
    "linear_ramp": {"end_values": 0},
    "maximum": {"stat_length": None},
    "mean": {"stat_length": None},
    "median": {"stat_length": None},
    "minimum": {"stat_length": None},
    "reflect": {"reflect_type": "even"},
    "symmetric": {"reflect_type": "even"},
    "wrap": {},
}


@traceable(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    """The array with borders around it, filled in one of NumPy's modes.

    Mode "empty" pads with zeros. A function as mode fills its argument in place and is refused.
    """
    world = common_world(array, pad_width, *kwargs.values())
    x = strong(array, world)
    widths = _widths(pad_width, x.ndim)
    if not isinstance(mode, str):
        raise UnsupportedError(
            "np.pad: a function as mode fills its argument in place and cannot be traced",
            expected=" or ".join(OPTIONS),
            actual=repr(mode)[:60],
            fix="join the parts with np.concatenate",
        )
    if mode not in OPTIONS:
        raise ValueError(f"mode '{mode}' is not supported")
    unknown = set(kwargs) - set(OPTIONS[mode])
    if unknown:
        raise ValueError(f"unsupported keyword arguments for mode '{mode}': {unknown}")
    option = {**OPTIONS[mode], **kwargs}
    if mode == "empty" or (mode == "constant" and _is_zero(option["constant_values"])):
        index = tuple((before, before + d, 1) for d, (before, _) in zip(x.type.shape, widths, strict=True))
        shape = tuple(before + d + after for d, (before, after) in zip(x.type.shape, widths, strict=True))
        return x if shape == x.type.shape else world.unslice(x, index=index, shape=shape)
    if mode == "constant":
        return _by_ends(x, widths, _constants(x, option["constant_values"]))
    if mode != "linear_ramp":
        _check_not_empty(x, widths, mode)
    if mode == "linear_ramp":
        return _by_ends(x, widths, _ramps(x, option["end_values"]))
    if mode in ("reflect", "symmetric") and option["reflect_type"] == "odd":
        for axis, width in enumerate(widths):
            x = _reflect_odd(x, axis, width, keeps_edge=mode == "symmetric")
        return x
    if mode in POSITIONS:
        for axis, width in enumerate(widths):
            x = _by_positions(x, axis, width, POSITIONS[mode])
        return x
    return _by_ends(x, widths, _statistics(x, mode, option["stat_length"]))


def _is_zero(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == 0 and not np.signbit(value)


def _pairs(function: str, value: Any, rank: int) -> list[tuple[Any, Any]]:
    """An argument of NumPy's form (one for all, a pair for all, or a pair for each axis) as a pair for each axis."""
    if not isinstance(value, (list, tuple, np.ndarray, Traced)):
        return [(value, value)] * rank
    rows = list(value) if not isinstance(value, (np.ndarray, Traced)) or value.ndim else None
    if rows is None:
        return [(value, value)] * rank
    nested = [list(r) if isinstance(r, (list, tuple, np.ndarray, Traced)) and np.ndim(r) else None for r in rows]
    if all(r is None for r in nested) and len(rows) in (1, 2):
        return [(rows[0], rows[-1])] * rank
    if all(r is not None and len(r) in (1, 2) for r in nested) and len(rows) in (1, rank):
        pairs = [(r[0], r[-1]) for r in nested if r is not None]
        return pairs * rank if len(pairs) == 1 else pairs
    raise ShapeError(
        f"pad: {function} does not fit the array",
        expected=f"a number, a pair, or a pair for each of {rank} axes",
        actual=repr(value)[:60],
    )


def _widths(pad_width: Any, rank: int) -> Widths:
    if isinstance(pad_width, dict):
        pairs: list[tuple[Any, Any]] = [(0, 0)] * rank
        for axis, width in pad_width.items():
            pairs[normalise_axis("pad", axis, rank)] = _pairs("pad_width", width, 1)[0]
    else:
        pairs = _pairs("pad_width", pad_width, rank)
    result: Widths = []
    for pair in pairs:
        for one in pair:
            if isinstance(one, SymbolicSize):
                continue
            if isinstance(one, Traced) or np.asarray(one).dtype.kind not in "iu":
                raise TypeError("`pad_width` must be of integral type.")
            if one < 0:
                raise ValueError("index can't contain negative values")
        result.append((as_size(pair[0]), as_size(pair[1])))
    return result


def _check_not_empty(x: Any, widths: Widths, mode: str) -> None:
    for size, width in zip(x.type.shape, widths, strict=True):
        if size == 0 and width != (0, 0):
            raise ShapeError(
                f"pad: an empty axis has nothing to take, in mode {mode!r}",
                expected="sizes of at least 1 along padded axes",
                actual=repr(x.type),
                fix="use mode='constant' or 'empty'",
            )


Ends = Callable[[Any, int, Size, bool], Any]


def _by_ends(x: Any, widths: Widths, end: Ends) -> Any:
    """Pad axis by axis with computed ends; `end(x, axis, width, left)` may look at what the axes before gave."""
    for axis, (before, after) in enumerate(widths):
        # both ends are computed from the unpadded axis
        parts = [x]
        if before != 0:
            parts.insert(0, end(x, axis, before, True))
        if after != 0:
            parts.append(end(x, axis, after, False))
        if len(parts) > 1:
            x = x.world.apply("concatenate", [x.world.convert(v, x.type.dtype) for v in parts], axis=axis)
    return x


def _thin(x: Any, axis: int, size: Size) -> tuple[Size, ...]:
    return (*x.type.shape[:axis], size, *x.type.shape[axis + 1 :])


def _constants(x: Any, values: Any) -> Ends:
    pairs = _pairs("constant_values", values, x.ndim)

    def end(y: Any, axis: int, width: Size, left: bool) -> Any:
        value = y.world.convert(strong(pairs[axis][0 if left else 1], y.world), y.type.dtype)
        return broadcast_to(value, _thin(y, axis, width))

    return end


def _edge(x: Any, axis: int, left: bool) -> Any:
    """The first or last element along an axis, whose size stays as 1."""
    last = x.type.shape[axis] - 1
    start = 0 if left else last
    index = tuple((start, start + 1, 1) if k == axis else (0, d, 1) for k, d in enumerate(x.type.shape))
    return x.world.slice(x, index=index)


def _ramps(x: Any, values: Any) -> Ends:
    pairs = _pairs("end_values", values, x.ndim)

    def end(y: Any, axis: int, width: Size, left: bool) -> Any:
        edge = reshape(_edge(y, axis, left), tuple(d for k, d in enumerate(y.type.shape) if k != axis))
        count = fixed_size("pad", width, "the width of a ramp")
        ramp = linspace(pairs[axis][0 if left else 1], edge, count, endpoint=False, dtype=y.type.dtype, axis=axis)
        return ramp if left else flip(ramp, axis)

    return end


def _statistics(x: Any, mode: str, lengths: Any) -> Ends:
    pairs = [(None, None)] * x.ndim if lengths is None else _pairs("stat_length", lengths, x.ndim)
    if any(n is not None and n < 0 for pair in pairs for n in pair):
        raise ValueError("index can't contain negative values")

    def end(y: Any, axis: int, width: Size, left: bool) -> Any:
        length, size = pairs[axis][0 if left else 1], y.shape[axis]
        near = y
        if length is not None and not (isinstance(size, int) and length >= size):
            near = part(y, axis, 0, length) if left else part(y, axis, size - length, None)
        if length == 0 and mode in ("maximum", "minimum"):
            raise ValueError("stat_length of 0 yields no value for padding")
        value = expand_dims(_statistic(near, mode, axis), axis)
        if y.type.dtype.kind in "iu" and value.type.dtype.kind == "f":
            value = np.round(value)
        return broadcast_to(y.world.convert(value, y.type.dtype), _thin(y, axis, width))

    return end


def _statistic(x: Any, mode: str, axis: int) -> Any:
    if mode == "mean":
        return np.mean(x, axis=axis)
    if mode == "median":
        return np.median(x, axis=axis)
    return np.max(x, axis=axis) if mode == "maximum" else np.min(x, axis=axis)


# Modes that repeat elements: which position stands at j, for j on both sides of 0 <= j < n. The arguments are
# arrays, or traced values where the size is symbolic.


def _clamped(j: Any, n: Any) -> Any:
    return np.clip(j, 0, n - 1)


def _wrapped(j: Any, n: Any) -> Any:
    return j % n


def _mirrored(j: Any, n: Any) -> Any:
    """Mirrored at the outer borders of the first and the last element, with period 2 n."""
    t = j % (2 * n)
    return np.where(t < n, t, 2 * n - 1 - t)


def _reflected(j: Any, n: Any) -> Any:
    """Mirrored at the first and the last element, with period 2 (n - 1); a single element is repeated."""
    t = j % np.maximum(2 * n - 2, 1)
    return np.where(t < n, t, 2 * n - 2 - t)


POSITIONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "edge": _clamped,
    "wrap": _wrapped,
    "symmetric": _mirrored,
    "reflect": _reflected,
}


def _by_positions(x: Any, axis: int, width: tuple[Size, Size], position: Callable[[Any, Any], Any]) -> Any:
    before, after = width
    size = x.type.shape[axis]
    if width == (0, 0):
        return x
    if isinstance(size, int) and isinstance(before, int) and isinstance(after, int):
        return pick(x, position(np.arange(-before, size + after), size), axis)
    world = x.world
    n = strong(wrap_size(world, size), world)
    j = world.iota(size=before + size + after, dtype=np.dtype(np.int64)) - strong(wrap_size(world, before), world)
    return world.gather(x, position(j, n), axis=axis)


def _reflect_odd(x: Any, axis: int, width: tuple[Size, Size], keeps_edge: bool) -> Any:
    """Reflect so that the pad continues the edge: 2 * edge - mirrored, as often as the width needs."""
    before, after = (fixed_size("pad", w, "the width of an odd reflection") for w in width)
    size = fixed_size("pad", x.type.shape[axis])
    if size == 1:
        return _by_positions(x, axis, width, _clamped)
    skip = 0 if keeps_edge else 1
    world = x.world
    while before > 0 or after > 0:
        # whole periods of the array, so that the next reflection continues them
        length = x.type.shape[axis]
        length = length // size * size if keeps_edge else (length - 1) // (size - 1) * (size - 1)
        parts = [x]
        if before > 0:
            count = min(length, before)
            parts.insert(0, 2 * _edge(x, axis, True) - flip(part(x, axis, skip, skip + count), axis))
            before -= count
        if after > 0:
            count = min(length, after)
            stop = x.type.shape[axis] - skip
            parts.append(2 * _edge(x, axis, False) - flip(part(x, axis, stop - count, stop), axis))
            after -= count
        x = world.apply("concatenate", [world.convert(v, x.type.dtype) for v in parts], axis=axis)
    return x
