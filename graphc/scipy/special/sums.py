"""Sums of exponentials along axes, without overflow."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import dims
from graphc.numpy.dispatch import common_world, strong
from graphc.numpy.elementwise import absolute, exp, log, minimum, sign, where
from graphc.numpy.methods import axes_of
from graphc.numpy.reductions import max, sum
from graphc.numpy.shaping import broadcast_arrays
from graphc.scipy.special.operands import special
from graphc.tracing import Traced

__all__ = ["log_softmax", "logsumexp", "softmax"]


def _axes(name: str, a: Any, axis: Any, *others: Any) -> tuple[Any, Any, tuple[int, ...]]:
    world = common_world(a, *others)
    x = strong(a, world)
    if x.type.dtype.kind != "f":
        x = world.convert(x, np.dtype(np.float64))
    return world, x, axes_of(name, axis, x.ndim)


@special("softmax")
def softmax(x: Any, axis: Any = None) -> Any:
    """exp(x) over its sum along axes."""
    world, value, axes = _axes("softmax", x, axis)
    return world.softmax(value, axes=axes)


@special("log_softmax")
def log_softmax(x: Any, axis: Any = None) -> Any:
    """log of softmax, without rounding small probabilities to 0."""
    world, value, axes = _axes("log_softmax", x, axis)
    return world.log_softmax(value, axes=axes)


@special("logsumexp")
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """log of the sum of exponentials along axes, each times a weight `b`; and the sign of the sum, if it is wanted.

    Without the sign a negative sum gives NaN. A weight of 0 leaves its element out.
    """
    world, value, axes = _axes("logsumexp", a, axis, b)
    if b is None:
        result = world.logsumexp(value, axes=axes, keepdims=bool(keepdims))
        if not return_sign:
            return result
        # NaN has no sign, and a sum of nothing the sign 0
        empty = any(dims.equal(value.type.shape[k], 0) for k in axes)
        return result, where(result == -np.inf, 0.0 if empty else sign(exp(result)), sign(exp(result)))
    known = None if isinstance(b, Traced) else np.asarray(b)
    if known is not None and not return_sign and (known >= 0).all():
        kind = np.result_type(value.type.dtype, b if type(b) in (int, float) else known.dtype)
        with np.errstate(divide="ignore"):
            weighted = world.convert(value, kind) + np.log(known.astype(kind))
        return world.logsumexp(weighted, axes=axes_of("logsumexp", axis, weighted.ndim), keepdims=bool(keepdims))
    value, weight = broadcast_arrays(*world.promote([value, strong(b, world)]))
    axes = axes_of("logsumexp", axis, value.ndim)
    left_out = weight == 0
    if any(dims.equal(value.type.shape[k], 0) for k in axes):
        total = sum(value, axis=axes, keepdims=keepdims)
        return (log(total), total) if return_sign else log(total)
    # the shift cancels in value and derivatives, so that it may count as constant
    top = world.stop_gradient(max(where(left_out, -np.inf, value), axis=axes, keepdims=True))
    top = where(absolute(top) < np.inf, top, 0)
    # an element left out may be larger by far
    limit = float(np.floor(np.log(np.finfo(value.type.dtype).max)))
    terms = weight * exp(where(left_out, minimum(value - top, limit), value - top))
    total = sum(terms, axis=axes, keepdims=bool(keepdims))
    shift = top if keepdims else sum(top, axis=axes)
    if return_sign:
        return log(absolute(total)) + shift, sign(total)
    return log(total) + shift
