"""Array functions that the NumPy meaning of some ops needs and NumPy does not have."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def logsumexp(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """log(sum(exp(x))) shifted by the largest element; -inf over an empty range."""
    top = np.max(x, axis=axes, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, 0).astype(x.dtype, copy=False)
    result = np.log(np.add.reduce(np.exp(x - shift), axis=axes, keepdims=True)) + shift
    return result if keepdims else result.squeeze(axes)


def softmax(x: Array, axes: tuple[int, ...]) -> Array:
    """exp(x) / sum(exp(x)) shifted by the largest element."""
    e = np.exp(x - _top(x, axes))
    return e / np.add.reduce(e, axis=axes, keepdims=True)  # type: ignore[no-any-return]


def log_softmax(x: Array, axes: tuple[int, ...]) -> Array:
    """log of softmax, without rounding small probabilities to zero."""
    shifted = x - _top(x, axes)
    return shifted - np.log(np.add.reduce(np.exp(shifted), axis=axes, keepdims=True))


def _top(x: Array, axes: tuple[int, ...]) -> Array:
    return np.max(x, axis=axes, keepdims=True, initial=-np.inf)  # type: ignore[no-any-return]


def cumsum(x: Array, axis: int, reverse: bool) -> Array:
    """Running sums along an axis, in the operand's own dtype."""
    if not reverse:
        return np.add.accumulate(x, axis=axis, dtype=x.dtype)
    return np.flip(np.add.accumulate(np.flip(x, axis), axis=axis, dtype=x.dtype), axis)


def slices(index: tuple[tuple[int, int | None, int], ...]) -> tuple[slice, ...]:
    """Python slices of (start, stop, step) triples; a negative step may stop at None, before element 0."""
    return tuple(slice(*one) for one in index)


def unslice(u: Array, index: tuple[tuple[int, int | None, int], ...], shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with `u` written to the slice."""
    result = np.zeros(shape, u.dtype)
    result[slices(index)] = u
    return result


def scatter_add(u: Array, indices: tuple[Array, ...], axis: int, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with `u` added at integer positions; repeated positions add up."""
    result = np.zeros(shape, u.dtype)
    position: Any = (slice(None),) * axis + indices
    np.add.at(result, position, u)
    return result


def cumprod(x: Array, axis: int, reverse: bool) -> Array:
    """Running products along an axis, in the operand's own dtype."""
    if not reverse:
        return np.multiply.accumulate(x, axis=axis, dtype=x.dtype)
    return np.flip(np.multiply.accumulate(np.flip(x, axis), axis=axis, dtype=x.dtype), axis)
