"""cuBLAS, called directly: its functions, and handles that have their stream and workspace already.

CuPy's own calls tell cuBLAS the stream each time, and refuse to be part of a CUDA graph. Here a stream has a handle
with a workspace that stays. In a recording the workspace comes from the recording's own memory, in the order of the
stream, for each product; so a recording owns what it uses.
"""

from __future__ import annotations

import ctypes
import os
from collections import OrderedDict
from ctypes import c_int, c_longlong, c_size_t, c_void_p
from functools import lru_cache
from typing import Any, Final

from graphc.backends.cupy.launching import recording
from graphc.backends.cupy.library import cupy, current_stream
from graphc.errors import GraphcError

# Numbers of cublas_api.h.
PLAIN: Final = 0
TRANSPOSED: Final = 1
TF32: Final = 3  # CUBLAS_TF32_TENSOR_OP_MATH; a new handle has none
# names of the product of two matrices and of stacks, and the type of a factor, by the bytes of an element
GEMM: Final = {
    4: ("cublasSgemm_v2", "cublasSgemmStridedBatched", ctypes.c_float),
    8: ("cublasDgemm_v2", "cublasDgemmStridedBatched", ctypes.c_double),
}

LARGEST: Final = (1 << 31) - 1  # size, or step between rows, that it takes
WORKSPACE: Final = 8 << 20  # bytes; everywhere the same, for on them depends how cuBLAS adds up
MOST_STREAMS: Final = 32  # that keep a workspace


class Handle:
    """A handle of cuBLAS that one thread uses at a time. memory: its workspace."""

    def __init__(self, library: Any) -> None:
        self.library = library
        made = c_void_p()
        check(library.cublasCreate_v2(ctypes.byref(made)), "a handle")
        assert made.value is not None
        self.value = made.value
        if tf32():
            check(library.cublasSetMathMode(self.value, TF32), "a mode")
        self.memory: Any = None

    def bind(self, stream: int) -> None:
        """Use a stream, and a workspace."""
        self.memory = cupy().cuda.alloc(WORKSPACE)
        # a stream comes before its workspace, which it resets
        check(self.library.cublasSetStream_v2(self.value, stream), "a stream")
        check(self.library.cublasSetWorkspace_v2(self.value, self.memory.ptr, WORKSPACE), "a workspace")


def tf32() -> bool:
    """Whether single precision may be multiplied in fewer digits."""
    return os.environ.get("CUPY_TF32") == "1"


class Handles:
    """Handles in no use: those of streams, which stay bound to them, and by device those of none."""

    def __init__(self) -> None:
        self.bound: OrderedDict[tuple[int, int, int], list[Handle]] = OrderedDict()
        self.free: dict[int, list[Handle]] = {}

    def unbound(self, device: int) -> Handle:
        try:
            return self.free[device].pop()
        except (KeyError, IndexError):
            return Handle(library())

    def give_back(self, device: int, handle: Handle) -> None:
        handle.memory = None  # what is given this memory next, comes after the product on the stream
        self.free.setdefault(device, []).append(handle)

    def of_stream(self, key: tuple[int, int, int]) -> list[Handle]:
        """The list of free handles that are bound to a stream; see `current_stream`."""
        found = self.bound.get(key)
        if found is None:
            found = self.bound[key] = []
            while len(self.bound) > MOST_STREAMS:
                (device, _, _), old = self.bound.popitem(last=False)
                for handle in old:
                    self.give_back(device, handle)
        return found


_handles: Final = Handles()


def multiply(function: Any, *arguments: Any) -> None:
    """Call a product of cuBLAS on the current stream."""
    key = device, stream, _ = current_stream(cupy())
    if recording():
        handle = _handles.unbound(device)
        try:
            handle.bind(stream)
            status = function(handle.value, *arguments)
        finally:
            _handles.give_back(device, handle)
    else:
        ready = _handles.of_stream(key)
        try:
            handle = ready.pop()
        except IndexError:
            handle = _handles.unbound(device)
            handle.bind(stream)
        status = function(handle.value, *arguments)
        ready.append(handle)
    check(status, "a product of matrices")


def check(status: int, what: str) -> None:
    """Raise for a status of cuBLAS that is not success."""
    if status:
        raise GraphcError(
            f"cuBLAS failed at {what}",
            expected="status 0",
            actual=f"status {status} of cublas_api.h",
            fix="is there memory left on the GPU? otherwise please report it",
        )


@lru_cache(maxsize=1)
def library() -> Any | None:
    """The cuBLAS that CuPy has loaded; None where it has another name than on Linux."""
    cp = cupy()
    cp.cuda.device.get_cublas_handle()
    try:
        found = ctypes.CDLL(f"libcublas.so.{cp.cuda.runtime.runtimeGetVersion() // 1000}")
        _declare(found)
    except (OSError, AttributeError):
        return None
    return found


def _declare(found: Any) -> None:
    """The parameters of the functions that are called."""
    handle, number, pointer, step = c_void_p, c_int, c_void_p, c_longlong
    found.cublasCreate_v2.argtypes = [pointer]
    found.cublasSetStream_v2.argtypes = [handle, pointer]
    found.cublasSetWorkspace_v2.argtypes = [handle, pointer, c_size_t]
    found.cublasSetMathMode.argtypes = [handle, number]
    begin = [handle, number, number, number, number, number, pointer]
    one, many = [pointer, number], [pointer, number, step]
    for single, stacked, _ in GEMM.values():
        getattr(found, single).argtypes = [*begin, *one, *one, pointer, *one]
        getattr(found, stacked).argtypes = [*begin, *many, *many, pointer, *many, number]
