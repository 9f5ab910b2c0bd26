"""CuPy, loaded on first use, and clear words where it or a GPU is missing."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from graphc.backends.cupy.schedule import Device
from graphc.errors import UnsupportedError


@lru_cache(maxsize=1)
def cupy() -> Any:
    """The module cupy, with a GPU that it can use; UnsupportedError without either."""
    if find_spec("cupy") is None:
        raise UnsupportedError(
            'backend="cupy" needs CuPy, which is not installed',
            expected="the package cupy",
            actual="no such package",
            fix='pip install "graphc[cuda13]", or "graphc[cuda12]" for an older driver (nvidia-smi shows the version)',
        )
    cp = import_module("cupy")
    try:
        count = cp.cuda.runtime.getDeviceCount()
        why = "there is none"
    except Exception as error:
        count, why = 0, str(error)
    if not count:
        raise UnsupportedError(
            'backend="cupy" needs an NVIDIA GPU and its driver',
            expected="a GPU that CuPy can use",
            actual=why,
            fix='run it on a machine with a GPU; backend="numpy" runs everywhere',
        )
    return cp


@lru_cache(maxsize=64)
def device(number: int) -> Device:
    """What the scheduler wants to know of a GPU."""
    return Device(cupy().cuda.Device(number).attributes["MultiProcessorCount"])
