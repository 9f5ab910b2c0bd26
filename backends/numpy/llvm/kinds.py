"""Kinds of processors: functions that kernels call are compiled for one of these, and not for the exact model.

A kernel and the functions that it calls hand each other vectors in registers, or in memory where registers are too
narrow. They agree on it because the kind's widest register is the processor's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple

from graphc.backends.numpy.llvm.machine import ARM_NEON, X86_AVX2, X86_AVX512, X86_BASELINE, Machine

KNOWN: Final = {
    "x86_64-avx512": X86_AVX512,
    "x86_64-avx2": X86_AVX2,
    "x86_64-baseline": X86_BASELINE,
    "aarch64-neon": ARM_NEON,
}
ARCHITECTURES: Final = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
# by the word that a triple has for a system: how its own triples go on
SYSTEMS: Final = {"linux": "unknown-linux-gnu", "darwin": "apple-darwin", "windows": "pc-windows-msvc"}


class Kind(NamedTuple):
    """A kind of processors under an operating system, which decides the format of object files."""

    name: str
    machine: Machine


def every() -> Iterator[Kind]:
    """All kinds, under each system."""
    return (_kind(name, system) for system in SYSTEMS for name in KNOWN)


def _kind(name: str, system: str) -> Kind:
    architecture = name.split("-")[0]
    return Kind(f"{name}-{system}", replace(KNOWN[name], triple=f"{architecture}-{SYSTEMS[system]}"))


@lru_cache(maxsize=16)
def kind_of(machine: Machine) -> Kind | None:
    """The kind that a processor is of: it runs the kind's code, and its kernels are written in the same way.

    None for one of no kind, such as x86 with half of what AVX2 came with.

    >>> found = kind_of(Machine("arm64-apple-darwin23.5.0", "apple-m1", "+neon,+sha3", 16))
    >>> found.name, found.machine.triple
    ('aarch64-neon-darwin', 'aarch64-apple-darwin')
    """
    architecture, *others = machine.triple.split("-")
    system = next((word for word in SYSTEMS if any(other.startswith(word) for other in others)), None)
    if system is None:
        return None
    for name, known in KNOWN.items():
        if name.split("-")[0] == ARCHITECTURES.get(architecture) and _is_of(machine, known):
            return _kind(name, system)
    return None


def _is_of(machine: Machine, known: Machine) -> bool:
    # every aarch64 has what the one kind of it needs
    needed = set() if known is ARM_NEON else set(filter(None, known.features.split(",")))
    alike = machine.register == known.register and machine.features_used == known.features_used
    return alike and needed <= set(machine.features.split(","))
