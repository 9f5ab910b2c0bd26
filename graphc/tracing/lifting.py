"""Bringing things into a trace: numbers, arrays, sizes, and symbols that are free."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from graphc.dims import Dim
from graphc.errors import REAL_PARTS, UnsupportedError
from graphc.forks import Lock
from graphc.ir import Builder, TensorType
from graphc.ops.world import Operand, size_value
from graphc.tracing.delegates import namespace
from graphc.tracing.places import user_locs
from graphc.tracing.sizes import SymbolicSize
from graphc.tracing.values import Traced
from graphc.tracing.worlds import TracingWorld, deepest

# The world of free symbols lives as long as any value in it.
_symbols: list[weakref.ref[TracingWorld]] = []
_symbols_lock: Final = Lock()


def free_symbol(name: str, type: TensorType) -> Traced:
    """A free variable, for building expressions without a function."""
    with _symbols_lock.held:
        world = _symbols[0]() if _symbols else None
        if world is None:
            # one lives until its last value goes: symbols that are made anew must not be told from older ones by name
            world = TracingWorld(Builder("expression", names_repeat=True))
            _symbols[:] = [weakref.ref(world)]
        return Traced(world, world.builder.input(name, type, user_locs()))


def lift(value: Any, world: TracingWorld) -> Any:
    """A Python number, array or size as a value of a trace; traced values pass."""
    if isinstance(value, Operand):
        return value
    if isinstance(value, SymbolicSize):
        return value.value()
    if isinstance(value, Dim):
        return size_value(world, value)
    if isinstance(value, (bool, int, float)) and not isinstance(value, np.generic):
        return world.constant(value, np.asarray(value).dtype, weak=True)
    if isinstance(value, (list, tuple)) and any(map(holds_traced, value)):
        return namespace().stack([lift(v, world) for v in value])
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise UnsupportedError(
            f"a {type(value).__name__} of dtype {array.dtype} cannot be traced",
            expected="a bool, integer or real float array",
            actual=repr(value)[:60],
            loc=(user_locs() or (None,))[0],
            fix=REAL_PARTS if array.dtype.kind == "c" else None,
        )
    return world.constant(array)


def holds_traced(value: Any) -> bool:
    """Whether a traced value or size stands in a value, at any depth of lists and tuples."""
    if isinstance(value, (Traced, SymbolicSize)):
        return True
    return isinstance(value, (list, tuple)) and any(map(holds_traced, value))


def world_of(values: Sequence[Any]) -> TracingWorld | None:
    """The innermost trace that the values belong to; None if no value is traced."""
    traced = [v for v in values if isinstance(v, (Traced, SymbolicSize))]
    return deepest(traced) if traced else None
