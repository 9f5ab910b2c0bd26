"""`graphc.numpy.fft`: what of NumPy's Fourier transforms needs no complex numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.numpy.arranging import roll
from graphc.numpy.dispatch import common_world, outside_of, strong, traceable
from graphc.ops.typing import normalise_axis

__all__ = ["fftfreq", "fftshift", "ifftshift", "rfftfreq"]

# they take numbers known when the graph is traced, and a spacing that NumPy only divides by
fftfreq, rfftfreq = np.fft.fftfreq, np.fft.rfftfreq


def _shifted(x: Any, axes: Any, forward: bool) -> Any:
    value = strong(x, common_world(x))
    if axes is None:
        places = list(range(value.ndim))
    else:
        places = [normalise_axis("fftshift", k, value.ndim) for k in (axes if np.iterable(axes) else (axes,))]
    halves = [value.shape[k] // 2 for k in places]
    return roll(value, tuple(h if forward else -h for h in halves), tuple(places)) if places else value


@traceable(np.fft.fftshift)
def fftshift(x: Any, axes: Any = None) -> Any:
    """The elements along axes rolled by half, so that what stood first stands in the middle."""
    return _shifted(x, axes, forward=True)


@traceable(np.fft.ifftshift)
def ifftshift(x: Any, axes: Any = None) -> Any:
    """The elements along axes rolled back by half: undoes `fftshift`."""
    return _shifted(x, axes, forward=False)


def __getattr__(name: str) -> Any:
    """NumPy's other functions are refused by name."""
    return outside_of("fft", name)
