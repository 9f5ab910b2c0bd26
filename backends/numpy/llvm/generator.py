"""The LLVM generator: kernels in, functions over NumPy arrays out."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from graphc.backends.numpy.arrays import Arguments
from graphc.backends.numpy.llvm import effort, entry, externals
from graphc.backends.numpy.llvm.code import Part, helpers, library
from graphc.backends.numpy.llvm.loops import function
from graphc.backends.numpy.llvm.machine import BRIEF, Library, Machine, host
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.pool import pool
from graphc.backends.numpy.llvm.schedule import Schedule
from graphc.backends.numpy.llvm.unroll import unrolled
from graphc.backends.numpy.llvm.work import SHARED, Work
from graphc.dims import Size
from graphc.kernels import Kernel

Run = Callable[..., None]


def load(kernels: Sequence[Kernel], fast: bool = False, machine: Machine | None = None) -> list[Run]:
    """Functions that run the kernels: called with the arrays of the roots, those of the results, and the sizes.

    machine: what to make code for, if not all that this processor offers.
    """
    machine = machine or host()
    kernels = [unrolled(kernel) for kernel in kernels]
    numbers = range(len(kernels))
    modules = parts(kernels, [*map(effort.look, kernels)], machine, fast)
    inside = externals.defined(modules[0].text)
    names = [*(f"kernel{number}" for number in numbers), *inside]
    if not entry.SUPPORTED:
        found = library(modules, machine, names)
        externals.settle(found.addresses)
        return list(callers(enumerate(kernels), found))
    entries = [entry.function(kernel, f"kernel{number}", f"entry{number}") for number, kernel in enumerate(kernels)]
    words = externals.referred(entries)
    head = [externals.declarations(words, inside), entry.PRELUDE, *map(declaration, numbers)]
    modules.append(Part("\n".join([*head, *entries]), BRIEF))
    names += [*(f"entry{number}" for number in numbers), *(word for word in words if word not in inside)]
    found = library(modules, machine, names)
    externals.settle(found.addresses)
    slow = callers(enumerate(kernels), found)
    return [entry.builtin(found.addresses[f"entry{number}"], caller) for number, caller in enumerate(slow)]


def callers(kernels: Iterable[tuple[int, Kernel]], found: Library) -> Iterator[Run]:
    """Functions that run kernels of a library, given with their numbers, as `load` gives them but slower to call."""
    for number, kernel in kernels:
        yield _Caller(kernel, found.addresses[f"kernel{number}"], found)


def parts(
    kernels: Sequence[Kernel], looks: Sequence[effort.Look], machine: Machine, fast: bool = False, hurried: bool = False
) -> list[Part]:
    """The kernels as one module, functions `kernel0`, `kernel1`, ...; and those of the functions that they call.

    looks: what `effort` finds in the kernels.
    """
    module = Module(machine.features_used, hurried)
    texts = [
        function(kernel, f"kernel{number}", machine, module, fast, look)
        for number, (kernel, look) in enumerate(zip(kernels, looks, strict=True))
    ]
    level = BRIEF if hurried else effort.level(looks)
    return [Part("\n".join([module.text(), *texts]), level), *helpers(module)]


def declaration(number: int) -> str:
    """A kernel, as another module sees it."""
    return f"declare i32 @kernel{number}(ptr, ptr, i64, i64)"


class _Caller:
    """Calls a kernel by ctypes: on any interpreter, and on arrays that are not dense."""

    def __init__(self, kernel: Kernel, address: int, library: Library) -> None:
        self.kernel = kernel
        self.library = library
        self.function = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)(address)
        self.address = address
        self.schedule = Schedule(kernel)
        self.work = Work.of(kernel)

    def __call__(self, *args: Any) -> None:
        arguments = Arguments(self.kernel, args)
        pointers = (ctypes.c_void_p * (len(arguments.dense) + 1))(*[a.ctypes.data for a in arguments.dense])
        numbers = (ctypes.c_int64 * len(arguments.sizes))(*arguments.sizes)

        def known(size: Size) -> int:
            return size if isinstance(size, int) else arguments.sizes[self.kernel.symbolic.index(size)]

        division = self.schedule.division
        count = 1 if division is None else -(-known(self.kernel.sizes[division.loop]) // division.width)
        work = self.work.each * math.prod(map(known, self.work.sizes))
        if division is not None and self.schedule.shared and work >= SHARED:
            status = pool().run(self.address, pointers, numbers, count, work, division.step)
        else:
            status = self.function(pointers, numbers, 0, count)
        if status:
            raise MemoryError
        arguments.write_back()
