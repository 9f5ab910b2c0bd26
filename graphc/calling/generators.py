"""Where a function's random numbers may come from: the global generators, and those that its code can reach.

Reachable are generators among the arguments and the defaults, in closures, in globals and modules that the code names,
in the attributes of objects met on the way, and what the functions met on the way reach. Not found are generators that
only computed names lead to (`getattr`, `globals()[...]`), and those behind other libraries' functions.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, Final

import numpy as np

from graphc.ops.world import Operand
from graphc.tracing.places import is_users

MOST: Final = 2_000  # things looked at; a larger program is searched no further
MOST_ITEMS: Final = 100  # elements of one container

# Names of what makes a generator: without a seed, it begins elsewhere in every trace.
MAKERS: Final = frozenset(
    {"default_rng", "RandomState", "SeedSequence", "MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64", "Random"}
    | {"SystemRandom", "secrets", "urandom", "uuid4"}
)
GENERATORS: Final = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random)
CALLABLE: Final = (FunctionType, MethodType, partial, *GENERATORS)
PLAIN: Final = (str, bytes, int, float, complex, bool, type(None), np.ndarray, np.generic, Operand)


@dataclass(frozen=True, slots=True)
class Source:
    """One generator: what a user calls it, and its state as a value to compare."""

    name: str
    state: Callable[[], Any]


def frozen(state: Any) -> Any:
    """A state as a value to compare."""
    if isinstance(state, dict):
        return tuple((name, frozen(value)) for name, value in state.items())
    return state.tobytes() if isinstance(state, np.ndarray) else state


GLOBAL: Final = (
    Source("NumPy's global generator", lambda: frozen(np.random.get_state(legacy=False))),
    Source("Python's global generator", random.getstate),
)


def source(name: str, generator: Any) -> Source | None:
    """The source that a generator object is; None for one that has no state, but the operating system's numbers."""
    if isinstance(generator, random.SystemRandom):
        return None
    if isinstance(generator, random.Random):
        return Source(name, generator.getstate)
    if isinstance(generator, np.random.RandomState):
        return Source(name, lambda: frozen(generator.get_state(legacy=False)))
    bits = generator.bit_generator if isinstance(generator, np.random.Generator) else generator
    return Source(name, lambda: frozen(bits.state))


class Search:
    """All that a function reaches: `sources`, and in `makers` whether its code names what makes generators."""

    def __init__(self, f: Any, args: Iterable[Any], kwargs: Mapping[str, Any]) -> None:
        self.sources: list[Source] = list(GLOBAL)
        self.makers = False
        self._seen: set[int] = set()
        self._classes: dict[type, _Class] = {}
        self._waiting: list[tuple[str, Any]] = [("", f), *(("", a) for a in args), *kwargs.items()]
        while self._waiting and len(self._seen) < MOST:
            self._look(*self._waiting.pop())
        self._waiting.clear()

    def _look(self, name: str, value: Any) -> None:
        if isinstance(value, PLAIN) or id(value) in self._seen:
            return
        self._seen.add(id(value))
        if isinstance(value, GENERATORS):
            found = source(name or type(value).__name__, value)
            self.makers = self.makers or found is None
            if found is not None:
                self.sources.append(found)
        elif isinstance(value, FunctionType):
            self._waiting.extend(self._of_function(value))
        elif isinstance(value, MethodType):
            self._waiting += [(name, value.__func__), (name, value.__self__)]
        elif isinstance(value, partial):
            self._waiting += [(name, value.func), (name, value.args), *value.keywords.items()]
        elif isinstance(value, dict):
            self._waiting.extend((name, v) for v in islice(value.values(), MOST_ITEMS))
        elif isinstance(value, (list, tuple, set, frozenset)):
            self._waiting.extend((name, v) for v in islice(value, MOST_ITEMS))
        elif isinstance(value, type):
            self._of_class(name, value)
        elif isinstance(value, ModuleType) and not _is_users(value):
            return  # what a library holds is not the program's
        else:
            self._of_object(name, value)

    def _of_object(self, name: str, value: Any) -> None:
        """The attributes of an object and what its class holds; of a library's object the functions among them."""
        known = self._of_class(name, type(value))
        attributes = getattr(value, "__dict__", None)
        for key, held in islice(attributes.items(), MOST_ITEMS) if isinstance(attributes, dict) else ():
            if known.mine or isinstance(held, CALLABLE):
                self._waiting.append((f"{name}.{key}" if name else key, held))
        for key, slot in known.slots:
            try:
                self._waiting.append((f"{name}.{key}" if name else key, slot.__get__(value)))
            except AttributeError:  # a slot that is not set
                continue

    def _of_class(self, name: str, kind: type) -> _Class:
        """A class; the first time that it is met, what it holds is looked at too."""
        known = self._classes.get(kind)
        if known is None:
            bases = list(filter(_is_of_user, kind.__mro__))
            slots = [(k, v) for base in bases for k, v in vars(base).items() if isinstance(v, MemberDescriptorType)]
            known = self._classes[kind] = _Class(_is_of_user(kind), tuple(slots))
            self._waiting.extend((name, held) for held in _held_by(bases))
        return known

    def _of_function(self, f: FunctionType) -> Iterator[tuple[str, Any]]:
        module = f.__globals__.get("__name__") or ""
        mine = is_users(module, f.__code__.co_filename)
        if not mine and f.__closure__ is None:
            return  # a library's own function, no wrapper around one of the user's
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            try:
                yield name, cell.cell_contents
            except ValueError:  # not assigned yet
                continue
        yield from (("", value) for value in (f.__defaults__ or ()))
        yield from (f.__kwdefaults__ or {}).items()
        if mine:
            names = set(_names(f.__code__))
            self.makers = self.makers or not MAKERS.isdisjoint(names)
            yield from _named(names, f.__globals__)


def _is_users(module: ModuleType) -> bool:
    return is_users(module.__name__, getattr(module, "__file__", None) or "")


def _is_of_user(kind: type) -> bool:
    return is_users(kind.__module__, getattr(sys.modules.get(kind.__module__), "__file__", None) or "")


@dataclass(frozen=True, slots=True)
class _Class:
    """What instances of a class have in common: whether it is the user's, and its slots."""

    mine: bool
    slots: tuple[tuple[str, MemberDescriptorType], ...]


def _held_by(bases: Iterable[type]) -> Iterator[Any]:
    """The functions and generators that classes hold."""
    for base in bases:
        for held in vars(base).values():
            if isinstance(held, CALLABLE):
                yield held
            elif isinstance(held, (staticmethod, classmethod)):
                yield held.__func__
            elif isinstance(held, property):
                yield held.fget


def _names(code: CodeType) -> Iterator[str]:
    """The globals and attributes that code names, functions inside it included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _named(names: set[str], scope: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The globals of those names, and what modules among them hold under any of the names."""
    waiting: list[tuple[str, Mapping[str, Any]]] = [("", scope)]
    modules: set[int] = set()
    while waiting:
        prefix, held = waiting.pop()
        for name in names & held.keys():
            value, path = held[name], prefix + name
            if not isinstance(value, ModuleType):
                yield path, value
            elif id(value) not in modules and _is_users(value):
                modules.add(id(value))
                waiting.append((f"{path}.", vars(value)))
