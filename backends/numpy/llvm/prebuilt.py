"""Compile what all programs of a kind of processors share, when the package is built.

    python -m graphc.backends.numpy.llvm.prebuilt

writes an archive of object files beside this module. `setup.py` runs that; the variable ``GRAPHC_BUILD_FOR`` says for
which processors: ``host`` for the kind of this one, ``all`` for every kind that is known, ``none`` for nothing.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np

from graphc.backends.numpy.llvm import (
    archive,
    grams,
    kinds,
    panel_products,
    positions,
    reuse,
    searching,
    transposes,
    workers,
)
from graphc.backends.numpy.llvm.code import Part, helpers, name
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.functions import ACCURATE, FAST
from graphc.backends.numpy.llvm.kinds import Kind, kind_of
from graphc.backends.numpy.llvm.machine import BRIEF, Machine, assemble, host
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.panels import LEFT_TURNED, LIMITS
from graphc.backends.numpy.llvm.scalars import LlvmScalars
from graphc.backends.numpy.llvm.schedule import MOST_REGISTERS
from graphc.backends.numpy.llvm.values import F32, F64, DType
from graphc.environment import choice
from graphc.kernels import KERNEL_DTYPES

PLATFORMS: Final = {"linux": "linux", "darwin": "darwin", "windows": "win32"}  # as `sys.platform` names them


def called(function: str, dtype: DType, lanes: int, machine: Machine, fast: bool = False) -> list[Part]:
    """What a kernel needs that calls a function of vectors: it, and what it calls in its turn."""
    e = Emitter(Module(machine.features_used), lanes)
    e.label("entry")
    # all but the emitter
    count = len(inspect.signature((FAST if fast else ACCURATE)[function]).parameters) - 1
    getattr(LlvmScalars(e, fast, calls=True), function)(*(e.value(f"%x{k}", dtype) for k in range(count)))
    return helpers(e.module)


def lanes(dtype: DType, machine: Machine) -> Iterator[int]:
    """Those of the vectors that kernels compute with: powers of two, up to some registers."""
    count = 1
    while count * dtype.itemsize <= MOST_REGISTERS * machine.register:
        yield count
        count *= 2


def mathematics(machine: Machine) -> Iterator[Part]:
    """All functions of vectors, of both tiers."""
    for fast, functions in ((False, ACCURATE), (True, FAST)):
        for function in functions:
            for dtype in (F32, F64):
                for count in lanes(dtype, machine):
                    yield from called(function, dtype, count, machine, fast)


def products(machine: Machine) -> Iterator[Part]:
    """What multiplies matrices by panels, and what completes symmetric products."""
    for dtype in (F32, F64):
        module = Module(machine.features_used)
        grams.declared(module, dtype)
        yield from helpers(module)
    for dtype in (F32, F64) if machine.register in LIMITS else ():
        for left, right in product((False, True) if machine.register in LEFT_TURNED else (False,), (False, True)):
            module = Module(machine.features_used)
            panel_products.declared(module, panel_products.Form(dtype, left, right), machine)
            yield from helpers(module)


def searches(machine: Machine) -> Iterator[Part]:
    """What searches ascending arrays."""
    for dtype in KERNEL_DTYPES:
        for right in (False, True):
            module = Module(machine.features_used)
            searching.declared(module, dtype, right)
            yield from helpers(module)


def transposed(machine: Machine) -> Iterator[Part]:
    """What transposes blocks of arrays."""
    for size in (1, 2, 4, 8):
        module = Module(machine.features_used)
        transposes.declared(module, np.dtype(f"u{size}"), machine.register)
        yield from helpers(module)


def services(kind: Kind) -> Iterator[Part]:
    """What programs have beside kernels: a pool of threads, memory that is kept, additions at positions."""
    platform = PLATFORMS[kind.name.rsplit("-", 1)[1]]
    yield Part(workers.WITHOUT_THREADS, BRIEF, shared=True)
    yield Part(workers.source(platform, kind.machine), BRIEF, shared=True)
    yield Part(reuse.source(platform), BRIEF, shared=True)
    for dtype in KERNEL_DTYPES:
        if dtype.kind != "b":
            yield Part(positions.source(dtype, kind.machine), shared=True)


def parts(kind: Kind) -> Iterator[Part]:
    """All that programs of a kind of processors share."""
    yield from mathematics(kind.machine)
    yield from products(kind.machine)
    yield from searches(kind.machine)
    yield from transposed(kind.machine)
    yield from services(kind)


def build(folder: Path, wanted: Iterable[Kind]) -> list[Path]:
    """Write the archives of some kinds, in place of all that a folder has."""
    for old in folder.glob("*" + archive.SUFFIX):
        old.unlink(missing_ok=True)  # another build may have been quicker
    written = []
    for kind in wanted:
        found = {name(part, kind.machine): part for part in parts(kind)}
        objects = {key: assemble(part.text, kind.machine, part.level) for key, part in found.items()}
        written.append(folder / (kind.name + archive.SUFFIX))
        archive.write(written[-1], objects)
    return written


def wanted() -> tuple[Kind, ...]:
    """The kinds that ``GRAPHC_BUILD_FOR`` stands for."""
    asked = choice("GRAPHC_BUILD_FOR", ("host", "all", "none"))
    if asked != "host":
        return tuple(kinds.every()) if asked == "all" else ()
    kind = kind_of(host())
    return () if kind is None else (kind,)


def main() -> None:
    for path in build(archive.FOLDER, wanted()):
        sys.stdout.write(f"{path}: {path.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
