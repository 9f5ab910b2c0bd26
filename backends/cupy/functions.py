"""Array functions that the CuPy meaning of some ops needs and CuPy does not have."""

from __future__ import annotations

import math
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from graphc.backends.cupy import philox, scattering
from graphc.backends.cupy.copies import fill as fill
from graphc.backends.cupy.gathering import gather as gather
from graphc.backends.cupy.joining import concatenate as concatenate
from graphc.backends.cupy.launching import dense, flush, held
from graphc.backends.cupy.library import cupy, resident
from graphc.backends.cupy.linear_algebra import cholesky as cholesky
from graphc.backends.cupy.linear_algebra import cofactor as cofactor
from graphc.backends.cupy.linear_algebra import det as det
from graphc.backends.cupy.linear_algebra import det_sign as det_sign
from graphc.backends.cupy.linear_algebra import eigh_vectors as eigh_vectors
from graphc.backends.cupy.linear_algebra import eigvalsh as eigvalsh
from graphc.backends.cupy.linear_algebra import inv as inv
from graphc.backends.cupy.linear_algebra import log_abs_det as log_abs_det
from graphc.backends.cupy.linear_algebra import pinv as pinv
from graphc.backends.cupy.linear_algebra import qr_q as qr_q
from graphc.backends.cupy.linear_algebra import qr_r as qr_r
from graphc.backends.cupy.linear_algebra import solve as solve
from graphc.backends.cupy.linear_algebra import solve_triangular as solve_triangular
from graphc.backends.cupy.linear_algebra import svd_vectors as svd_vectors
from graphc.backends.cupy.linear_algebra import svdvals as svdvals
from graphc.backends.cupy.products import matmul as matmul
from graphc.ops import calls
from graphc.ops.functions import slices as slices
from graphc.ops.philox import FOLD, SPLIT

Array = Any  # a cupy.ndarray


def on_device(number: Any) -> Array:
    """A NumPy scalar on the current device, as a 0-d array that nobody writes to."""
    found = np.asarray(number)
    # numbers that compare equal may differ in dtype or in the sign of zero
    return held(_scalar(found.dtype.str, found.tobytes(), cupy().cuda.runtime.getDevice()))


@lru_cache(maxsize=1024)
def _scalar(kind: str, content: bytes, device: int) -> Array:
    flush()  # its memory may be what a launch noted before still reads
    return resident(np.frombuffer(content, np.dtype(kind)).reshape(()).copy())


def unslice(u: Array, index: tuple[tuple[int, int | None, int], ...], shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with `u` written to the slice."""
    result = cupy().zeros(shape, u.dtype)
    result[slices(index)] = u
    return result


def insert_slice(x: Array, u: Array, index: tuple[tuple[int, int | None, int], ...]) -> Array:
    """A copy of `x` with `u` written to the slice."""
    result = x.copy()
    result[slices(index)] = u
    return result


def scatter_add(u: Array, indices: tuple[Array, ...], axis: int, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with `u` added at integer positions, in the order of `u`; repeated positions add up."""
    cp = cupy()
    positions, places = scattering.dense_positions(indices)
    sizes = shape[axis : axis + len(indices)]
    lead, rest = shape[:axis], shape[axis + len(indices) :]
    full = cp.broadcast_to(u, (*lead, *places, *rest))
    # one number for all positions stays one
    values = full if not any(full.strides) else dense(full)
    return scattering.add(values, (math.prod(lead), math.prod(places), math.prod(rest)), positions, sizes).reshape(
        shape
    )


def last_write(indices: tuple[Array, ...], shape: tuple[int, ...]) -> Array:
    """The number of the last write to each element, -1 where there is none."""
    positions, _ = scattering.dense_positions(indices)
    result = cupy().full(math.prod(shape), -1, np.int64)
    if positions[0].size:
        scattering.last(positions, shape, result)
    return result.reshape(shape)


def of_nothing(x: Array, axes: tuple[int, ...], keepdims: bool, number: float) -> Array:
    """What a reduction of an empty array gives: the number wherever it gives anything."""
    kept = tuple(1 if a in axes else d for a, d in enumerate(x.shape))
    shape = kept if keepdims else tuple(d for a, d in enumerate(x.shape) if a not in axes)
    return cupy().full(shape, number, x.dtype)


def cumulative(name: str, x: Array, axis: int, reverse: bool) -> Array:
    """Running sums or products along an axis, in the operand's own dtype."""
    cp = cupy()
    if not x.size:
        return x.copy()
    run = getattr(cp, name)
    if not reverse:
        return run(x, axis=axis, dtype=x.dtype)
    return cp.ascontiguousarray(cp.flip(run(cp.ascontiguousarray(cp.flip(x, axis)), axis=axis, dtype=x.dtype), axis))


def running(larger: Any, x: Array, axis: int) -> Array:
    """Running maxima or minima along an axis, each step twice as far as the last."""
    cp = cupy()
    y = cp.moveaxis(x, axis, -1).copy()
    step = 1
    while step < y.shape[-1]:
        z = y.copy()
        z[..., step:] = larger(y[..., step:], y[..., :-step])
        y, step = z, 2 * step
    return cp.ascontiguousarray(cp.moveaxis(y, -1, axis))


def position_of(name: str, x: Array, axis: int | None, keepdims: bool) -> Array:
    """Where the largest or smallest element is; the first NaN, if there is one."""
    cp = cupy()
    found = getattr(cp, name)(x, axis=axis, keepdims=keepdims)
    if x.dtype.kind == "f":
        nan = cp.isnan(x)
        found = cp.where(nan.any(axis=axis, keepdims=keepdims), cp.argmax(nan, axis=axis, keepdims=keepdims), found)
    return found.astype(np.int64, copy=False)


def special(name: str, x: Array) -> Array:
    """One of SciPy's functions, by CuPy, in the operand's own dtype."""
    return getattr(import_module("cupyx.scipy.special"), name)(x).astype(x.dtype, copy=False)


def derived_key(key: Array, data: Array, stream: str) -> Array:
    """The key derived from each key and 64-bit number."""
    return philox.blocks(key, data, SPLIT if stream == "split" else FOLD)


def random_bits(key: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The first numbers of each key's stream of draws, as unsigned integers of any width."""
    return philox.bits(key, shape, dtype)


def random_below(key: Array, span: Array, shape: tuple[int, ...]) -> Array:
    """Whole numbers from 0 to span - 1, each exactly as likely as any other."""
    return philox.below(key, span, shape)


def debug_print(format: str, *operands: Array) -> None:
    """Write a format whose fields are numbers of operands, which are copied from the GPU."""
    calls.debug_print(format, *map(_on_host, operands))


def pure_callback(
    callback: Any, shapes: tuple[tuple[int, ...], ...], dtypes: tuple[np.dtype[Any], ...], *operands: Array
) -> tuple[Array, ...]:
    """Call the user's function on copies of the operands as NumPy arrays; its results go to the GPU."""
    cp = cupy()
    return tuple(map(cp.asarray, calls.pure_callback(callback, shapes, dtypes, *map(_on_host, operands))))


def _on_host(x: Array) -> Any:
    return cupy().asnumpy(x)
