"""From a kernel's text to a function on the GPU: compiled by NVRTC to machine code, which is kept on disk."""

from __future__ import annotations

import re
import threading
from importlib import import_module
from typing import Any, Final

from graphc.backends.cupy.library import cupy
from graphc.backends.numpy import cache
from graphc.errors import GraphcError

# Products and sums are rounded each for itself, as on the processor; subnormal numbers are numbers, and division and
# square root are exact to the last place: NVRTC's defaults, which CuPy's own compiler changes.
OPTIONS: Final = ("--std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true")

BOUNDS: Final = re.compile(r"__launch_bounds__\((\d+), \d+\)")
LOCAL_BYTES: Final = 3  # CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES of cuda.h

_functions: dict[tuple[int, str], Any] = {}
_lock = threading.Lock()


def function(text: str, name: str = "kernel") -> Any:
    """The kernel `name` of a text, loaded on the current device."""
    key = cupy().cuda.runtime.getDevice(), text
    found = _functions.get(key)
    if found is None:
        with _lock:
            found = _functions.get(key)
            if found is None:
                found = _load(text).get_function(name)
                if relaxed(text) != text and _spills(found):
                    found = _load(relaxed(text)).get_function(name)
                _functions[key] = found
    return found


def spills(text: str) -> bool:
    """Whether threads of a text's kernel have fewer registers than they need, and keep the rest in memory."""
    return _spills(function(text))


def relaxed(text: str) -> str:
    """The text without the wish that several blocks run on a processor at the same time."""
    return BOUNDS.sub(r"__launch_bounds__(\1, 1)", text)


def _spills(found: Any) -> bool:
    driver = import_module("cupy_backends.cuda.api.driver")
    return bool(driver.funcGetAttribute(LOCAL_BYTES, found.ptr))


def _load(text: str) -> Any:
    cp = cupy()
    nvrtc = import_module("cupy_backends.cuda.libs.nvrtc")
    architecture = int(cp.cuda.Device().compute_capability)
    # a GPU newer than the compiler gets code that its driver translates
    known = [n for n in nvrtc.getSupportedArchs() if n <= architecture]
    exact = architecture in known
    target = f"sm_{architecture}" if exact else f"compute_{max(known)}"
    name = cache.key("cuda", text, target, *OPTIONS, ".".join(map(str, nvrtc.getVersion())))
    code = cache.get(name)
    if code is None:
        code = _compiled(nvrtc, text, target)
        cache.put(name, code)
    module = import_module("cupy.cuda.function").Module()
    module.load(code)
    return module


def _compiled(nvrtc: Any, text: str, target: str) -> bytes:
    program = nvrtc.createProgram(text, "kernel.cu", (), ())
    try:
        try:
            nvrtc.compileProgram(program, (*OPTIONS, f"--gpu-architecture={target}"))
        except nvrtc.NVRTCError as error:
            log = nvrtc.getProgramLog(program)
            raise GraphcError(
                "a generated CUDA kernel does not compile: this is a mistake in graphc",
                actual=log[:2000] or str(error),
                fix='please report it; backend="numpy" runs the function without CUDA',
            ) from None
        code: bytes = nvrtc.getCUBIN(program) if target.startswith("sm_") else nvrtc.getPTX(program)
        return code
    finally:
        nvrtc.destroyProgram(program)
