"""A function at a point: what is computed there once, and the linear map that is left."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

from graphc.compiler import Compiled, Traceout, flatten, is_array, not_an_array, trace_call, type_of, unflatten
from graphc.forks import Lock
from graphc.ir import Graph, TensorType, static_shape
from graphc.passes.derive import split
from graphc.tracing import STACK, TracingWorld, deepest, inline, lift, located, world_of
from graphc.transforms.arguments import check_differentiable, check_fit, check_structure, matching


def trace_point(f: Callable[..., Any], primals: tuple[Any, ...], transform: str) -> Traceout:
    """Trace `f` on the types of concrete primals."""
    for leaf in flatten(primals)[0]:
        if not is_array(leaf):
            raise not_an_array(leaf, None)
        check_differentiable(type_of(leaf), transform)
    return trace_call(f, primals, {})


def surroundings(out: Traceout) -> TracingWorld | None:
    """The trace that a function of plain arrays is a part of: it uses values of it, or has effects when it runs."""
    if out.captures:
        return deepest(out.captures)
    return STACK.worlds[-1] if STACK.worlds and out.graph.effects else None


# What was derived and compiled of which graph. The function is traced at each call, which sees what has changed
# around it since; the rest takes far longer, and depends on the graph alone.
_DERIVED: Final[OrderedDict[tuple[str, Graph], Any]] = OrderedDict()
_LOCK: Final = Lock()
LIMIT: Final = 128

T = TypeVar("T")


def derived(what: str, graph: Graph, make: Callable[[Graph], T]) -> T:
    """`make(graph)`, or what it gave for an equal graph before. `what` names it."""
    key = (what, graph)
    with _LOCK.held:
        found: T | None = _DERIVED.get(key)
        if found is not None:
            _DERIVED.move_to_end(key)
            return found
    made = make(graph)
    with _LOCK.held:
        _DERIVED[key] = made
        while len(_DERIVED) > LIMIT:
            _DERIVED.popitem(last=False)
    return made


@dataclass(frozen=True, slots=True)
class SplitFunction:
    """A joint graph in two parts: the outputs and residuals at a point, and the linear rest."""

    known: Compiled
    linear: Compiled
    outputs: int

    @classmethod
    def of(cls, joint: Graph, arrays: int, outputs: int) -> SplitFunction:
        """The parts of a graph whose first inputs are the point, and whose first outputs are the function's."""
        known, linear = split(joint, range(arrays, len(joint.inputs)), outputs)
        return cls(Compiled(known, None, None), Compiled(linear, None, None), outputs)

    def at(self, arrays: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        """The outputs and the residuals at a point."""
        results = self.known._run(*arrays)
        return results[: self.outputs], results[self.outputs :]


class LinearMap:
    """The compiled linear part of a function at a point, holding its residuals.

    It takes arguments of the structure `in_tree` and the types `in_types`, and gives `out_tree` and `out_types`.
    Integers and booleans among them carry no tangents: those given are not used, those returned are zeros.
    """

    def __init__(
        self,
        linear: Compiled,
        residuals: Sequence[Any],
        ins: tuple[Any, Sequence[TensorType]],
        outs: tuple[Any, Sequence[TensorType]],
        what: str,
    ) -> None:
        self._compiled = linear
        self._residuals = residuals
        self._in_tree, self._in_types = ins
        self._out_tree, self._out_types = outs
        self._what = what

    def __call__(self, *given: Any) -> Any:
        with located():
            return self._apply(given)

    def _apply(self, given: tuple[Any, ...]) -> Any:
        leaves, structure = flatten(given)
        check_structure(structure, self._in_tree, leaves, self._in_types, self._what)
        world = world_of(leaves)
        if world is not None:
            leaves = matching(given, self._in_tree, self._in_types, world, self._what)
        else:
            check_fit([type_of(leaf) for leaf in leaves], self._in_types, self._what)
        kept = [leaf for leaf, t in zip(leaves, self._in_types, strict=True) if t.differentiable]
        if world is None:
            values: Sequence[Any] = self._compiled._run(*self._residuals, *kept)
        else:
            values = inline(world, self._compiled.graph, [lift(v, world) for v in (*self._residuals, *kept)])
        found = iter(values)
        filled = [next(found) if t.differentiable else zeros(t) for t in self._out_types]
        return unflatten(self._out_tree, filled)


def zeros(type: TensorType) -> Any:
    """The derivative of integers and booleans."""
    shape = static_shape(type.shape)
    assert shape is not None, "at a point every size is known"
    return np.zeros(shape, type.dtype)
