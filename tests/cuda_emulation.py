"""Running generated CUDA kernels on the processor, compiled by the system's C++ compiler through `cuda_emulation.h`."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import pytest

from graphc.backends.cupy import (
    allocation,
    copies,
    cublas,
    functions,
    gathering,
    joining,
    launching,
    products,
    recording,
    replaying,
    scattering,
)
from graphc.backends.cupy.prelude import PRELUDE, TYPES
from graphc.backends.cupy.schedule import Device, Launch, Program
from graphc.kernels import Kernel

HEADER: Final = Path(__file__).with_suffix(".h")
COMPILER: Final = shutil.which(os.environ.get("CXX", "g++"))
FLAGS: Final = ("-std=c++17", "-O1", "-ffp-contract=off", "-fno-strict-aliasing", "-shared", "-fPIC", "-w")
SIGNATURE: Final = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\(\d+, \d+\) )?kernel\((.*)\) \{')
ORDERS: Final = (0, 1, 2)
Array = np.ndarray[Any, Any]


def instead_of_cupy(double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the backend see `double.cupy` for CuPy, `double.function` for what compiles kernels, and no cuBLAS."""
    memory = allocation, copies, recording, replaying
    for module in (*memory, cublas, functions, gathering, joining, launching, products, scattering):
        monkeypatch.setattr(module, "cupy", lambda: double.cupy)
    for module in (copies, launching, recording):
        monkeypatch.setattr(module, "function", double.function)
    monkeypatch.setattr(recording, "spills", lambda text: False)
    monkeypatch.setattr(cublas, "library", lambda: SimpleNamespace())
    monkeypatch.setattr(products, "device", lambda number: Device())
    monkeypatch.setattr(products, "_products", {})


class Emulator:
    """Texts compiled together, once; then run by launches."""

    def __init__(self, texts: Iterable[str], folder: Path, flags: Sequence[str] = ()) -> None:
        self.number = {text: k for k, text in enumerate(dict.fromkeys(texts))}
        assert COMPILER is not None
        source = [f'#include "{HEADER}"', PRELUDE]
        for text, k in self.number.items():
            source.append(_wrapped(text, k))
        code = "\n".join(source)
        name = (
            folder / hashlib.sha256((code + HEADER.read_text(encoding="utf-8") + str(flags)).encode()).hexdigest()[:16]
        )
        library = name.with_suffix(".so")
        if not library.exists():
            name.with_suffix(".cpp").write_text(code, encoding="utf-8")
            command = [COMPILER, *FLAGS, *flags, str(name.with_suffix(".cpp")), "-o", str(library)]
            made = subprocess.run(command, capture_output=True, text=True, check=False)
            if made.returncode:
                raise AssertionError(f"{made.stderr[:4000]}\n{name.with_suffix('.cpp')}")
        self.library = ctypes.CDLL(str(library))

    def launch(self, launch: Launch, arrays: Mapping[int, Array], order: int) -> None:
        run = getattr(self.library, f"launch_{self.number[launch.source]}")
        shape = (ctypes.c_longlong * 4)(*launch.grid, *launch.block)
        pointers = (ctypes.c_void_p * max(1, len(launch.arrays)))(*[arrays[a].ctypes.data for a in launch.arrays])
        numbers = (ctypes.c_longlong * max(1, len(launch.numbers)))(*launch.numbers)
        status = run(shape, order, pointers, numbers)
        assert status == 0, {1: "threads wait for each other", 2: f"no such grid: {launch.grid} {launch.block}"}[status]


def _wrapped(text: str, k: int) -> str:
    """A kernel's text in a namespace of its own, and a function that launches it."""
    body = text.removeprefix(PRELUDE).removeprefix(TYPES)
    found = SIGNATURE.search(body)
    assert found is not None
    body = SIGNATURE.sub(f"static void kernel({found[1]}) {{", body)
    arguments = []
    arrays = numbers = 0
    for parameter in filter(None, re.split(r", (?![^<]*>)", found[1])):
        kind = parameter.rpartition(" ")[0]
        if kind.endswith("*"):
            arguments.append(f"(k{k}::kind<{kind}>::type)arrays[{arrays}]")
            arrays += 1
        else:
            arguments.append(f"numbers[{numbers}]")
            numbers += 1
    alone = "false" if any(word in body for word in ("over_row", "over_lanes", "__syncthreads")) else "true"
    return (
        f"namespace k{k} {{\ntemplate <class T> struct kind {{ typedef T type; }};\n{body}}}\n"
        f'extern "C" int launch_{k}(const long long* shape, int order, void** arrays, const long long* numbers) {{\n'
        f"  return emulation::launch(shape, order, {alone}, [=] {{ k{k}::kernel({', '.join(arguments)}); }});\n}}\n"
    )


class Case:
    """A kernel, sizes, operands; what it gives by emulation."""

    def __init__(
        self,
        kernel: Kernel,
        operands: Mapping[int, Array],
        results: Mapping[int, tuple[tuple[int, ...], np.dtype[Any]]],
        sizes: Sequence[int] = (),
        device: Device | None = None,
        fast: bool = False,
        offset: int = 0,
    ) -> None:
        """offset: bytes beyond a multiple of 16 at which arrays begin."""
        self.operands = {node: placed(np.asarray(array), offset) for node, array in operands.items()}
        self.results = results
        aligned = {
            **{node: alignment(array) for node, array in self.operands.items()},
            **dict.fromkeys(results, 16 if offset == 0 else offset & -offset),
        }
        self.offset = offset
        self.schedule = Program(kernel, fast).schedule(sizes, aligned, device or Device())

    @property
    def texts(self) -> list[str]:
        return [launch.source for launch in self.schedule.launches]

    def run(self, emulator: Emulator, order: int = 0) -> dict[int, Array]:
        arrays: dict[int, Array] = dict(self.operands)
        found = {}
        for node, (shape, dtype) in self.results.items():
            found[node] = arrays[node] = placed(_poison(shape, dtype), self.offset)
        for number, size in self.schedule.workspaces.items():
            arrays[number] = placed(np.full(size, 0xA5, np.uint8), 0)
        for launch in self.schedule.launches:
            emulator.launch(launch, arrays, order)
        return found


def _poison(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    array = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8)[...] = 0xA5
    return array


def placed(array: Array, offset: int) -> Array:
    """A dense copy that begins so many bytes beyond a multiple of 16."""
    room = np.empty(array.nbytes + 32, np.uint8)
    first = -room.ctypes.data % 16 + offset
    copy = room[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def alignment(array: Array) -> int:
    address = array.ctypes.data
    return min(16, address & -address) if address else 16
