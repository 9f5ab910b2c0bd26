"""Code in memory: from this process's own memory, from the package, from the cache on disk, or compiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from functools import lru_cache
from typing import NamedTuple

from graphc.backends.numpy import cache
from graphc.backends.numpy.llvm import archive
from graphc.backends.numpy.llvm.kinds import kind_of
from graphc.backends.numpy.llvm.machine import BRIEF, BUSY, Library, Machine, assemble, link, llvm_version
from graphc.backends.numpy.llvm.module import Module


class Part(NamedTuple):
    """A module's text, and how much time to spend on its instructions: `BUSY`, `LONG` or `BRIEF` of `machine`."""

    text: str
    level: int = BUSY
    shared: bool = False  # other programs have it too


def library(parts: Sequence[Part], machine: Machine, names: Sequence[str]) -> Library:
    """Modules that may refer to each other as code, with the addresses of some names in them."""
    return _linked(tuple(parts), machine, tuple(names))


@lru_cache(maxsize=256)
def _linked(parts: tuple[Part, ...], machine: Machine, names: tuple[str, ...]) -> Library:
    return link([_shared(part, machine) if part.shared else _object(part, machine) for part in parts], names)


def helpers(module: Module) -> list[Part]:
    """The helpers of a module."""
    return [Part(text, BRIEF if name in module.rare else BUSY, shared=True) for name, text in module.helpers.items()]


def name(part: Part, machine: Machine) -> str:
    """A digest of all that decides on a part's code, but for the version of LLVM."""
    return cache.key(part.text, str(part.level), *map(str, astuple(machine)))


def are_kept(parts: Sequence[Part], machine: Machine) -> bool:
    """Whether the cache on disk has those of the parts that other programs have not."""
    return all(cache.get(_key(part, machine)) is not None for part in parts if not part.shared)


def _key(part: Part, machine: Machine) -> str:
    return cache.key(name(part, machine), llvm_version())


def _object(part: Part, machine: Machine) -> bytes:
    key = _key(part, machine)
    object_file = cache.get(key)
    if object_file is None:
        object_file = assemble(part.text, machine, part.level)
        cache.put(key, object_file)
    return object_file


@lru_cache(maxsize=1024)
def _shared(part: Part, machine: Machine) -> bytes:
    """What other programs have too is compiled for a kind of processors, and comes with the package."""
    kind = kind_of(machine)
    if kind is None:
        return _object(part, machine)
    return archive.find(kind.name, name(part, kind.machine)) or _object(part, kind.machine)
