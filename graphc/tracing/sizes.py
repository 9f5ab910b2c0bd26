"""Sizes inside a trace: what `x.shape` shows, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, Size
from graphc.errors import TraceError
from graphc.ir import Guard
from graphc.ops.world import size_value
from graphc.tracing.places import user_locs
from graphc.tracing.worlds import TracingWorld


class SymbolicSize:
    """A size that is known only when the graph runs, as `x.shape` shows it inside a trace.

    Arithmetic gives sizes; a comparison is proved, or decided by the running call's size and guarded, or refused.
    """

    __slots__ = ("dim", "world")

    def __init__(self, world: TracingWorld, dim: Dim) -> None:
        self.world = world
        self.dim = dim

    def __repr__(self) -> str:
        # text that a program makes of a size has to be right for every call: in jit the size is pinned by a guard
        hints = self.world.facts.hints
        return str(self.dim if hints is None or not self.world.active else self.__index__())

    def __hash__(self) -> int:
        # a dict or set looks for the number, so it has to be known
        return hash(self.__index__())

    def __format__(self, spec: str) -> str:
        return format(self.__index__(), spec) if spec else repr(self)

    def value(self) -> Any:
        """The size as a traced int64."""
        return size_value(self.world, self.dim)

    def _arithmetic(self, other: Any, size_op: Callable[[Size, Size], Size], name: str, swapped: bool) -> Any:
        if isinstance(other, (SymbolicSize, int)) and not isinstance(other, bool):
            pair = (self.dim, as_size(other))
            return wrap_size(self.world, size_op(*(pair[::-1] if swapped else pair)))
        other_value = other.value() if isinstance(other, SymbolicSize) else other
        pair_values = (other_value, self.value()) if swapped else (self.value(), other_value)
        return self.world.binary(name, *pair_values)

    def __add__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a + b, "add", False)

    def __radd__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a + b, "add", True)

    def __sub__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a - b, "sub", False)

    def __rsub__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a - b, "sub", True)

    def __mul__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a * b, "mul", False)

    def __rmul__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a * b, "mul", True)

    def __floordiv__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a // b, "floor_divide", False)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a // b, "floor_divide", True)

    def __mod__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a % b, "remainder", False)

    def __rmod__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a % b, "remainder", True)

    def __truediv__(self, other: Any) -> Any:
        return self.world.binary("div", self.value(), other.value() if isinstance(other, SymbolicSize) else other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.world.binary("div", other, self.value())

    def __pow__(self, other: Any) -> Any:
        return (
            wrap_size(self.world, self.dim**other) if isinstance(other, int) and other >= 0 else self.value() ** other
        )

    def __rpow__(self, other: Any) -> Any:
        return other ** self.__index__()

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return wrap_size(self.world, dims.maximum(self.dim, -self.dim))

    def __neg__(self) -> Any:
        return wrap_size(self.world, -self.dim)

    def __eq__(self, other: Any) -> Any:
        return decide(self.world, "==", self.dim, as_size(other)) if _is_size(other) else NotImplemented

    def __ne__(self, other: Any) -> Any:
        return not decide(self.world, "==", self.dim, as_size(other)) if _is_size(other) else NotImplemented

    def __lt__(self, other: Any) -> Any:
        return decide(self.world, "<", self.dim, as_size(other)) if _is_size(other) else NotImplemented

    def __le__(self, other: Any) -> Any:
        return decide(self.world, "<=", self.dim, as_size(other)) if _is_size(other) else NotImplemented

    def __gt__(self, other: Any) -> Any:
        return decide(self.world, "<", as_size(other), self.dim) if _is_size(other) else NotImplemented

    def __ge__(self, other: Any) -> Any:
        return decide(self.world, "<=", as_size(other), self.dim) if _is_size(other) else NotImplemented

    def __bool__(self) -> bool:
        return bool(not decide(self.world, "==", self.dim, 0))

    def __index__(self) -> int:
        hints = self.world.facts.hints
        if hints is not None and dims.symbols(self.dim) <= hints.keys():
            value = dims.evaluate(self.dim, hints)
            known = len(self.world.builder.guards)
            self.world.builder.guards.setdefault(Guard("==", self.dim, value))
            _note_question(self.world, known)
            return value
        raise TraceError(
            f"Python needs the number behind the size {self.dim}, which is known only when the graph runs",
            expected="a fixed size, for instance in range(n) or as an index",
            actual=f"the size {self.dim}",
            loc=(user_locs() or (None,))[0],
            fix=f"write a number for {self.dim} in the spec, or use jit, which compiles again for a new size",
        )

    __int__ = __index__

    def __float__(self) -> float:
        return float(self.__index__())

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        values = [x.value() if isinstance(x, SymbolicSize) else x for x in inputs]
        return getattr(ufunc, method)(*values, **kwargs)


def _is_size(other: Any) -> bool:
    return isinstance(other, (int, np.integer, SymbolicSize, Dim))


def as_size(size: Any) -> Size:
    """A size the user wrote, as the IR's own."""
    if isinstance(size, SymbolicSize):
        return size.dim
    return size if isinstance(size, Dim) else int(size)


def wrap_size(world: TracingWorld, size: Size) -> int | SymbolicSize:
    """A size of the IR, as the user sees it."""
    return SymbolicSize(world, size) if isinstance(size, Dim) else size


def decide(world: TracingWorld, relation: Any, a: Size, b: Size) -> bool:
    """Whether `a relation b`: by proof, by a guard already there, or by the running call's sizes and a new guard."""
    facts = world.facts
    known = facts.known(relation, a, b)
    if known is not None:
        return known
    if facts.hints is None or not (dims.symbols(a) | dims.symbols(b)) <= facts.hints.keys():
        raise TraceError(
            f"whether {a} {relation} {b} is known only when the graph runs",
            expected="a comparison of sizes that holds, or fails, for every size",
            actual=f"{a} {relation} {b}",
            loc=(user_locs() or (None,))[0],
            fix="write numbers for these sizes in the spec, or use jit, which guards the answer and compiles again",
        )
    before = len(facts.guards)
    answer = facts.record(relation, a, b)
    _note_question(world, before)
    return answer


def _note_question(world: TracingWorld, before: int) -> None:
    """Note the user's line for the guards beyond the first `before`."""
    here = user_locs()
    if here:
        world.asked.update(dict.fromkeys(list(world.builder.guards)[before:], here[0]))
