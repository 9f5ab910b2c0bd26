"""Code in memory, from this process's own memory, from disk, or compiled."""

from __future__ import annotations

from dataclasses import astuple
from functools import lru_cache

from graphc.backends.numpy import cache
from graphc.backends.numpy.llvm.machine import Library, Machine, assemble, link, llvm_version


@lru_cache(maxsize=256)
def library(text: str, machine: Machine, names: tuple[str, ...]) -> Library:
    """A module's text as code, with the addresses of some names in it."""
    name = cache.key(text, *map(str, astuple(machine)), llvm_version())
    object_file = cache.get(name)
    if object_file is None:
        object_file = assemble(text, machine)
        cache.put(name, object_file)
    return link(object_file, names)
