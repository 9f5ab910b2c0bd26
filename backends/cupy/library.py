"""CuPy, loaded on first use, and clear words where it or a GPU is missing."""

from __future__ import annotations

import threading
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from graphc.backends.cupy.schedule import Device
from graphc.errors import UnsupportedError

PER_THREAD: Final = 2  # cudaStreamPerThread: the same number in all threads, and a stream of its own in each


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


def several_devices(cp: Any) -> bool:
    """Whether arrays may lie on another GPU than the current one."""
    return bool(cp.cuda.runtime.getDeviceCount() > 1)


def current_stream(cp: Any) -> tuple[int, int, int]:
    """What tells the current stream from others: the device, the stream's number, and the thread where that counts."""
    stream = cp.cuda.get_current_stream().ptr
    return cp.cuda.runtime.getDevice(), stream, threading.get_ident() if stream == PER_THREAD else 0


def resident(array: Any) -> Any:
    """A NumPy array copied to the current device, where every stream may read it from now on.

    It is made on a stream of its own, and waited for: the current one may be recorded, and others run ahead of it.
    """
    cp = cupy()
    with cp.cuda.Stream(non_blocking=True) as stream:
        found = cp.asarray(array)
        stream.synchronize()
    return found


@lru_cache(maxsize=64)
def device(number: int) -> Device:
    """What the scheduler wants to know of a GPU."""
    return Device(cupy().cuda.Device(number).attributes["MultiProcessorCount"])
