"""The LLVM generator: kernels in, functions over NumPy arrays out."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from graphc.backends.numpy.arrays import Arguments
from graphc.backends.numpy.llvm import entry, externals
from graphc.backends.numpy.llvm.code import library
from graphc.backends.numpy.llvm.emit import Module
from graphc.backends.numpy.llvm.loops import function
from graphc.backends.numpy.llvm.machine import Library, Machine, host
from graphc.backends.numpy.llvm.schedule import Schedule
from graphc.backends.numpy.llvm.unroll import unrolled
from graphc.kernels import Kernel

Run = Callable[..., None]


def load(kernels: Sequence[Kernel], fast: bool = False, machine: Machine | None = None) -> list[Run]:
    """Functions that run the kernels: called with the arrays of the roots, those of the results, and the sizes.

    machine: what to make code for, if not all that this processor offers.
    """
    machine = machine or host()
    text, names = source(kernels, machine, fast)
    found = library(text, machine, names)
    externals.settle(found.addresses)
    return runs([unrolled(kernel) for kernel in kernels], found)


def runs(kernels: Sequence[Kernel], found: Library) -> list[Run]:
    """The functions of kernels in a library."""
    made: list[Run] = []
    for number, kernel in enumerate(kernels):
        slow = _Caller(kernel, found.addresses[f"kernel{number}"], found)
        made.append(entry.builtin(found.addresses[f"entry{number}"], slow) if entry.SUPPORTED else slow)
    return made


def source(kernels: Sequence[Kernel], machine: Machine, fast: bool = False) -> tuple[str, tuple[str, ...]]:
    """The kernels as one LLVM module, and the names in it whose addresses are wanted."""
    module = Module(machine.features_used)
    texts = []
    for number, kernel in enumerate(map(unrolled, kernels)):
        texts.append(function(kernel, f"kernel{number}", machine, module, fast))
        if entry.SUPPORTED:
            texts.append(entry.function(kernel, f"kernel{number}", f"entry{number}"))
    kinds = ("kernel", "entry") if entry.SUPPORTED else ("kernel",)
    names = [f"{kind}{number}" for number in range(len(kernels)) for kind in kinds]
    head = [externals.declarations(entry.EXTERNALS), entry.PRELUDE]
    return "\n".join([module.text(), *head, *texts]), (*names, *entry.EXTERNALS)


class _Caller:
    """Calls a kernel by ctypes: on any interpreter, and on arrays that are not dense."""

    def __init__(self, kernel: Kernel, address: int, library: Any) -> None:
        self.kernel = kernel
        self.library = library
        self.function = ctypes.CFUNCTYPE(
            ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
        )(address)
        self.division = Schedule(kernel).division

    def __call__(self, *args: Any) -> None:
        arguments = Arguments(self.kernel, args)
        pointers = (ctypes.c_void_p * len(arguments.dense))(*[a.ctypes.data for a in arguments.dense])
        numbers = (ctypes.c_int64 * len(arguments.sizes))(*arguments.sizes)
        last = 1
        if self.division is not None:
            extent = self.kernel.sizes[self.division.loop]
            count = extent if isinstance(extent, int) else arguments.sizes[self.kernel.symbolic.index(extent)]
            last = -(-count // self.division.width)
        if self.function(pointers, numbers, 0, last):
            raise MemoryError
        arguments.write_back()
