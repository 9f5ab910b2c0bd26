"""Differences, integrals and interpolation of sampled functions, and angles without jumps."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.elementwise import absolute, isnan, remainder, where
from graphc.numpy.indexing import diff
from graphc.numpy.methods import axes_of
from graphc.numpy.picking import part, static_array
from graphc.numpy.reductions import cumsum, sum
from graphc.numpy.shaping import broadcast_to, concatenate, ravel, reshape
from graphc.numpy.sorting import searchsorted
from graphc.ops.typing import normalise_axis
from graphc.tracing import Traced, holds_traced, lift, placed

__all__ = [
    "ediff1d",
    "gradient",
    "interp",
    "trapezoid",
    "unwrap",
]


def _along(value: Any, axis: int, rank: int) -> Any:
    """A vector laid along one of `rank` axes."""
    return reshape(value, tuple(value.type.shape[0] if k == axis else 1 for k in range(rank)))


@traceable("trapezoid", "trapz")
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral along an axis by the trapezoidal rule, of samples at positions x or dx apart."""
    world = common_world(y, x, dx)
    value = strong(y, world)
    place = normalise_axis("trapezoid", axis, value.ndim)
    if x is None:
        step = dx if type(dx) in (int, float) else lift(dx, world)
    else:
        points = strong(x, world)
        step = _along(diff(points), place, value.ndim) if points.ndim == 1 else diff(points, axis=place)
    return sum(step * (part(value, place, 1, None) + part(value, place, None, -1)) / 2.0, axis=place)


@traceable(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """Differences of neighbours in the flattened array, with values put before and after them."""
    world = common_world(ary, to_end, to_begin)
    x = ravel(strong(ary, world))
    parts = [diff(x)]
    for end, name in ((to_begin, "to_begin"), (to_end, "to_end")):
        if end is None:
            continue
        value = lift(end, world)
        if not value.type.weak and not np.can_cast(value.type.dtype, x.type.dtype, "same_kind"):
            raise DTypeError(
                f"ediff1d: dtype of `{name}` must be compatible with input `ary` under the `same_kind` rule.",
                actual=repr(value.type),
            )
        if value.type.weak and value.type.dtype.kind == "f" and x.type.dtype.kind != "f":
            raise DTypeError(f"ediff1d: dtype of `{name}` must be compatible with input `ary`", actual=repr(end))
        converted = ravel(world.convert(value, x.type.dtype))
        parts.insert(0, converted) if end is to_begin else parts.append(converted)
    return concatenate(parts) if len(parts) > 1 else parts[0]


@traceable(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Slopes of sampled values: central differences inside, one-sided ones of `edge_order` at both ends.

    The positions of samples may be traced values; they are treated as uneven then, whatever they turn out to be.
    """
    world = common_world(f, list(varargs))
    x = strong(f, world)
    axes = tuple(range(x.ndim)) if axis is None else axes_of("gradient", axis, x.ndim)
    if isinstance(axis, tuple):
        axes = tuple(normalise_axis("gradient", k, x.ndim) for k in axis)
    if edge_order not in (1, 2):
        raise ValueError("'edge_order' greater than 2 not supported")
    if len(varargs) not in (0, 1, len(axes)) or (len(varargs) == 1 and len(axes) != 1 and np.ndim(varargs[0])):
        raise TypeError("invalid number of arguments")
    spacings = [1.0] * len(axes) if not varargs else list(varargs) * (len(axes) if len(varargs) == 1 else 1)
    if x.type.dtype.kind == "b":
        raise DTypeError("gradient: booleans have no difference", actual=repr(x.type), fix="x.astype(float)")
    if x.type.dtype.kind in "iu":
        x = world.convert(x, np.dtype(np.float64))
    results = [
        _slope(x, k, _steps(x, k, spacing, world), edge_order) for k, spacing in zip(axes, spacings, strict=True)
    ]
    return results[0] if len(axes) == 1 else tuple(results)


def _steps(x: Any, axis: int, spacing: Any, world: Any) -> Any:
    """One step for the axis, or the steps between its positions laid along it."""
    if not np.ndim(spacing):
        return spacing if type(spacing) in (int, float) else strong(spacing, world)
    points = strong(spacing, world)
    if points.ndim != 1:
        raise ShapeError("gradient: distances must be either scalars or 1d", actual=repr(points.type))
    if not world.facts.equal(points.type.shape[0], x.type.shape[axis]):
        raise ShapeError(
            "gradient: positions must match the length of the axis",
            expected=str(x.type.shape[axis]),
            actual=str(points.type.shape[0]),
        )
    if points.type.dtype.kind in "iub":
        points = world.convert(points, np.dtype(np.float64))
    if not isinstance(spacing, Traced):
        steps = np.diff(np.asarray(spacing, points.type.dtype))
        if steps.size and (steps == steps[0]).all():
            return strong(steps[0], world)
    return _along(diff(points), axis, x.ndim)


def _slope(x: Any, axis: int, step: Any, edge_order: int) -> Any:
    """Second-order differences inside, of `edge_order` at both ends (Fornberg, Math. Comp. 51, 1988)."""
    size = x.type.shape[axis]
    if not x.world.facts.settle("<=", edge_order + 1, size):
        raise ShapeError(
            "gradient: too few elements along the axis",
            expected=f"at least {edge_order + 1}",
            actual=str(size),
        )

    def at(start: int | None, stop: int | None) -> Any:
        return part(x, axis, start, stop)

    first, second, third = (at(k, k + 1) for k in (0, 1, 2)) if edge_order == 2 else (at(0, 1), at(1, 2), None)
    last, before = at(-1, None), at(-2, -1)
    if not getattr(step, "ndim", 0):
        inside = (at(2, None) - at(None, -2)) / (2.0 * step)
        if edge_order == 1:
            ends = (second - first) / step, (last - before) / step
        else:
            ends = (
                (-1.5 / step) * first + (2.0 / step) * second + (-0.5 / step) * third,
                (0.5 / step) * at(-3, -2) + (-2.0 / step) * before + (1.5 / step) * last,
            )
    else:
        left, right = part(step, axis, None, -1), part(step, axis, 1, None)
        inside = (
            -(right / (left * (left + right))) * at(None, -2)
            + (right - left) / (left * right) * at(1, -1)
            + left / (right * (left + right)) * at(2, None)
        )
        if edge_order == 1:
            ends = (second - first) / part(step, axis, 0, 1), (last - before) / part(step, axis, -1, None)
        else:
            d1, d2 = part(step, axis, 0, 1), part(step, axis, 1, 2)
            e1, e2 = part(step, axis, -2, -1), part(step, axis, -1, None)
            ends = (
                -(2.0 * d1 + d2) / (d1 * (d1 + d2)) * first
                + (d1 + d2) / (d1 * d2) * second
                - d1 / (d2 * (d1 + d2)) * third,
                e2 / (e1 * (e1 + e2)) * at(-3, -2)
                - (e2 + e1) / (e1 * e2) * before
                + (2.0 * e2 + e1) / (e2 * (e1 + e2)) * last,
            )
    world = x.world
    # NumPy writes into an array of the operand's dtype
    parts = [world.convert(v, x.type.dtype) for v in (ends[0], inside, ends[1])]
    return placed(world.apply("concatenate", parts, axis=axis), "K", x)


@traceable(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """Values at points x of the line that joins samples (xp, fp); constant beyond the first and the last.

    At a sample the derivative is that of the piece to its right. `period` needs samples that are known when the graph
    is traced.
    """
    world = common_world(x, xp, fp, left, right, period)
    kind = np.dtype(np.float64)
    if period is not None:
        if period == 0:
            raise ValueError("period must be a non-zero value")
        span = np.abs(static_array("interp", "period", period).astype(float))
        at = static_array("interp", "xp", xp).astype(float) % span
        order = np.argsort(at)
        at = at[order]
        xp = np.concatenate((at[-1:] - span, at, at[:1] + span))
        values = strong(fp, world)[order]
        fp = concatenate([values[-1:], values, values[:1]])
        x, left, right = world.convert(strong(x, world), kind) % float(span), None, None
    points, samples, heights = (world.convert(strong(v, world), kind) for v in (x, xp, fp))
    if samples.ndim != 1 or heights.ndim != 1:
        raise ShapeError("interp: samples must be vectors", actual=f"{samples.type!r} and {heights.type!r}")
    count = samples.type.shape[0]
    if not world.facts.equal(count, heights.type.shape[0]):
        raise ShapeError("interp: fp and xp are not of the same length.", actual=f"{samples.type!r}, {heights.type!r}")
    if count == 0:
        raise ValueError("array of sample points is empty")
    below = heights[0] if left is None else world.convert(strong(left, world), kind)
    above = heights[-1] if right is None else world.convert(strong(right, world), kind)
    if count == 1:
        value = broadcast_to(heights[0], points.type.shape)
    else:
        # how many samples are at most x, less one: the number of the piece
        piece = np.clip(searchsorted(samples, points, "right") - 1, 0, samples.shape[0] - 2)
        slope = (diff(heights) / diff(samples))[piece]
        value = slope * (points - samples[piece]) + heights[piece]
        if not _lines_are_finite(xp, fp):
            # beside infinite samples the line is no number: take the sample itself, or the line from the other end
            value = where(isnan(value) & (points == samples[piece]), heights[piece], value)
            value = where(isnan(value), slope * (points - samples[piece + 1]) + heights[piece + 1], value)
            value = where(isnan(value) & (heights[piece] == heights[piece + 1]), heights[piece], value)
        value = where(points == samples[-1], heights[-1], value)
    value = where(points < samples[0], below, where(points > samples[-1], above, value))
    return value if count == 1 else where(isnan(points), points, value)  # NumPy compares with a single sample alone


def _lines_are_finite(xp: Any, fp: Any) -> bool:
    """Whether samples are known, finite, and so are the slopes between them."""
    if holds_traced(xp) or holds_traced(fp):
        return False
    at, heights = np.asarray(xp, float), np.asarray(fp, float)
    with np.errstate(all="ignore"):
        slopes = np.diff(heights) / np.diff(at)
    return all(bool(np.isfinite(v).all()) for v in (at, heights, slopes))


@traceable(np.unwrap)
def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * np.pi) -> Any:
    """Values along an axis, shifted by multiples of a period so that neighbours differ by at most half of it."""
    world = common_world(p, discont, period)
    x = strong(p, world)
    place = normalise_axis("unwrap", axis, x.ndim)
    step = diff(x, axis=place)
    kind = np.result_type(step.type.dtype, period.type.dtype if isinstance(period, Traced) else period)
    whole = kind.kind in "iu"
    half = period // 2 if whole else period / 2
    jump = half if discont is None and whole else period / 2 if discont is None else discont
    change = remainder(step + half, period) - half
    if not whole or period % 2 == 0:
        # at exactly half a period the sign of the step decides
        change = where((change == -half) & (step > 0), half, change)
    shift = where(absolute(step) < jump, 0, change - step)
    first = world.convert(part(x, place, 0, 1), kind)
    rest = world.convert(part(x, place, 1, None) + cumsum(shift, place), kind)
    return world.concatenate(first, rest, axis=place)
