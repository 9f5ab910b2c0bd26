"""Windows of signals: weights that fall off to both ends, and views of neighbouring elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import UnsupportedError
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.elementwise import cos, sqrt, where
from graphc.numpy.picking import whole_number
from graphc.numpy.ufuncs import i0
from graphc.numpy.views import Windows
from graphc.ops.typing import normalise_axis
from graphc.tracing import SymbolicSize, Traced, as_size, view_of

__all__ = ["bartlett", "blackman", "hamming", "hanning", "kaiser", "sliding_window_view"]

FLOAT: Any = np.dtype(np.float64)


def _window(function: Callable[[int], Any], shape: Callable[[Any, Any], Any], doc: str) -> Any:
    """graphc's version of a window, by its weights at the places 1 - M, 3 - M, ..., M - 1 and by M - 1."""

    def apply(M: Any) -> Any:
        if isinstance(M, Traced):
            whole_number(function.__name__, "M", M)
        world = common_world(M)
        size = as_size(M)
        places = 2 * world.iota(size=size, dtype=FLOAT) - (M - 1)
        # one place alone has the weight 1
        rest = strong(M - 1, world)
        return where(rest == 0, 1.0, shape(places, where(rest == 0, 1.0, rest)))

    apply.__doc__ = doc
    return traceable(function)(apply)


def _cosines(*weights: float) -> Callable[[Any, Any], Any]:
    def shape(places: Any, rest: Any) -> Any:
        total: Any = weights[0]
        for k, weight in enumerate(weights[1:], 1):
            total = total + weight * cos(k * np.pi * places / rest)
        return total

    return shape


bartlett = _window(
    np.bartlett,
    lambda n, rest: where(n <= 0, 1 + n / rest, 1 - n / rest),
    "The Bartlett window of M points: a triangle that is 0 at both ends.",
)
blackman = _window(np.blackman, _cosines(0.42, 0.5, 0.08), "The Blackman window of M points: a sum of three cosines.")
hamming = _window(np.hamming, _cosines(0.54, 0.46), "The Hamming window of M points: a raised cosine, above 0.")
hanning = _window(np.hanning, _cosines(0.5, 0.5), "The Hann window of M points: a raised cosine, 0 at both ends.")


@traceable(np.kaiser)
def kaiser(M: Any, beta: Any) -> Any:
    """The Kaiser window of M points, of a shape `beta` that may be a traced value."""
    world = common_world(M, beta)
    if isinstance(M, Traced):
        whole_number("kaiser", "M", M)
    sharpness = world.convert(strong(beta, world), FLOAT)
    half = (M - 1) / 2.0 if isinstance(M, SymbolicSize) else max((int(M) - 1) / 2.0, 0.5)
    places = (world.iota(size=as_size(M), dtype=FLOAT) - half) / half
    if isinstance(M, int) and M == 1:
        return world.full(1.0, places.type)
    return i0(sharpness * sqrt(1 - places**2)) / i0(sharpness)


@traceable(np.lib.stride_tricks.sliding_window_view, view=True)
def sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Any:
    """Every window of neighbouring elements along axes, as new axes at the end.

    It is a read-only view, as in NumPy; what computes with it reads an array as long as all windows together.
    """
    if writeable:
        raise UnsupportedError("sliding_window_view: writeable=True cannot be traced", fix="leave it out")
    value = strong(x, common_world(x, window_shape))
    world = value.world
    windows = tuple(window_shape) if np.iterable(window_shape) else (window_shape,)
    sizes = [whole_number("sliding_window_view", "window_shape", w) for w in windows]
    if any(w < 0 for w in sizes):
        raise ValueError("`window_shape` cannot contain negative values")
    axes = range(value.ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    places = [normalise_axis("sliding_window_view", k, value.ndim) for k in axes]
    if len(places) != len(sizes):
        raise ValueError("Must provide matching length window_shape and axis")
    left = list(value.type.shape)
    for place, width in zip(places, sizes, strict=True):
        if not world.facts.settle("<=", width, left[place]):
            raise ValueError("window shape cannot be larger than input array shape")
        left[place] = left[place] - width + 1
    return view_of(value, Windows(tuple(places), tuple(sizes)), writeable=False)
