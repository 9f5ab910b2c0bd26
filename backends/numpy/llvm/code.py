"""Code in memory, from this process's own memory, from disk, or compiled."""

from __future__ import annotations

from dataclasses import astuple
from functools import lru_cache
from typing import NamedTuple

from graphc.backends.numpy import cache
from graphc.backends.numpy.llvm.machine import BUSY, Library, Machine, assemble, link, llvm_version


class Part(NamedTuple):
    """A module's text, and how much time to spend on its instructions: `BUSY`, `LONG` or `BRIEF` of `machine`."""

    text: str
    level: int = BUSY


@lru_cache(maxsize=256)
def library(parts: tuple[Part, ...], machine: Machine, names: tuple[str, ...]) -> Library:
    """Modules that may refer to each other as code, with the addresses of some names in them."""
    return link([_object(part, machine) for part in parts], names)


def _object(part: Part, machine: Machine) -> bytes:
    name = cache.key(part.text, str(part.level), *map(str, astuple(machine)), llvm_version())
    object_file = cache.get(name)
    if object_file is None:
        object_file = assemble(part.text, machine, part.level)
        cache.put(name, object_file)
    return object_file
