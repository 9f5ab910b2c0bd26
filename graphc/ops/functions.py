"""Array functions that the NumPy meaning of some ops needs and NumPy does not have."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def logsumexp(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """log(sum(exp(x))) shifted by the largest element; -inf over an empty range."""
    shift = _shift(x, axes)
    result = np.log(np.add.reduce(np.exp(x - shift), axis=axes, keepdims=True)) + shift
    return result if keepdims else result.squeeze(axes)


def softmax(x: Array, axes: tuple[int, ...]) -> Array:
    """exp(x) / sum(exp(x)) shifted by the largest element."""
    e = np.exp(x - _shift(x, axes))
    return e / np.add.reduce(e, axis=axes, keepdims=True)  # type: ignore[no-any-return]


def log_softmax(x: Array, axes: tuple[int, ...]) -> Array:
    """log of softmax, without rounding small probabilities to zero."""
    shifted = x - _shift(x, axes)
    return shifted - np.log(np.add.reduce(np.exp(shifted), axis=axes, keepdims=True))


def _shift(x: Array, axes: tuple[int, ...]) -> Array:
    """The largest element, or 0 where it is not finite and would turn its neighbours into NaN."""
    top = np.max(x, axis=axes, keepdims=True, initial=-np.inf)
    return np.where(np.isfinite(top), top, 0).astype(x.dtype, copy=False)


def cumsum(x: Array, axis: int, reverse: bool) -> Array:
    """Running sums along an axis, in the operand's own dtype."""
    if not reverse:
        return np.add.accumulate(x, axis=axis, dtype=x.dtype)
    return np.flip(np.add.accumulate(np.flip(x, axis), axis=axis, dtype=x.dtype), axis)


def expit(x: Array) -> Array:
    """The logistic function; SciPy has no loop for half precision and would widen it."""
    return import_module("scipy.special").expit(x).astype(x.dtype, copy=False)  # type: ignore[no-any-return]


def erf(x: Array) -> Array:
    """The error function, in the operand's own dtype as `expit`."""
    return import_module("scipy.special").erf(x).astype(x.dtype, copy=False)  # type: ignore[no-any-return]


def slices(index: tuple[tuple[int, int | None, int], ...]) -> tuple[slice, ...]:
    """Python slices of (start, stop, step) triples; a negative step may stop at None, before element 0."""
    return tuple(slice(*one) for one in index)


def unslice(u: Array, index: tuple[tuple[int, int | None, int], ...], shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with `u` written to the slice."""
    result = np.zeros(shape, u.dtype)
    result[slices(index)] = u
    return result


def gather(x: Array, indices: tuple[Any, ...], axis: int) -> Any:
    """Elements at integer positions along adjacent axes, always in storage of their own."""
    if any(np.ndim(i) for i in indices):
        return x[(slice(None),) * axis + indices]
    # NumPy shows a view where every position is a plain integer; steps that overwrite it would change `x`
    whole = (slice(None),) * axis
    position: Any = (*whole, np.asarray(indices[0])[None], *indices[1:])
    return x[position][(*whole, 0)]


def scatter_add(u: Array, indices: tuple[Array, ...], axis: int, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with `u` added at integer positions; repeated positions add up."""
    result = np.zeros(shape, u.dtype)
    position: Any = (slice(None),) * axis + indices
    np.add.at(result, position, u)
    return result


def last_write(indices: tuple[Array, ...], shape: tuple[int, ...]) -> Array:
    """The number of the last write to each element: assignments in NumPy keep the last of several values."""
    result = np.full(shape, -1, np.int64)
    positions = np.broadcast_arrays(*indices)
    result[tuple(positions)] = np.arange(positions[0].size).reshape(positions[0].shape)
    return result
