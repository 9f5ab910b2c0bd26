"""A function at a point: what is computed there once, and the linear map that is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.compiler import Compiled, Traceout, flatten, trace_call, type_of, unflatten
from graphc.ir import Graph, TensorType, static_shape
from graphc.passes.derive import split
from graphc.tracing import STACK, TracingWorld, deepest, inline, lift, located, world_of
from graphc.transforms.arguments import check_differentiable, check_structure, matching


def trace_point(f: Callable[..., Any], primals: tuple[Any, ...], transform: str) -> Traceout:
    """Trace `f` on the types of concrete primals."""
    for leaf in flatten(primals)[0]:
        check_differentiable(type_of(leaf), transform)
    return trace_call(f, primals, {})


def surroundings(out: Traceout) -> TracingWorld | None:
    """The trace that a function of plain arrays is a part of: it uses values of it, or has effects when it runs."""
    if out.captures:
        return deepest(out.captures)
    return STACK.worlds[-1] if STACK.worlds and out.graph.effects else None


def split_at(joint: Graph, arrays: Sequence[Any], outputs: int) -> tuple[Sequence[Any], Sequence[Any], Graph]:
    """Run what a joint graph computes of its first inputs: the outputs, the residuals, and the linear rest."""
    known, linear = split(joint, range(len(arrays), len(joint.inputs)), outputs)
    first = Compiled(known, None, None)._run(*arrays)
    return first[:outputs], first[outputs:], linear


class LinearMap:
    """The compiled linear part of a function at a point, holding its residuals.

    It takes arguments of the structure `in_tree` and the types `in_types`, and gives `out_tree` and `out_types`.
    Integers and booleans among them carry no tangents: those given are not used, those returned are zeros.
    """

    def __init__(
        self,
        linear: Graph,
        residuals: Sequence[Any],
        ins: tuple[Any, Sequence[TensorType]],
        outs: tuple[Any, Sequence[TensorType]],
        what: str,
    ) -> None:
        self._compiled = Compiled(linear, None, None)
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
        kept = [leaf for leaf, t in zip(leaves, self._in_types, strict=True) if t.differentiable]
        if world is None:
            values: Sequence[Any] = self._compiled._run(*self._residuals, *kept)
        else:
            values = inline(world, self._compiled.graph, [lift(v, world) for v in (*self._residuals, *kept)])
        found = iter(values)
        filled = [
            next(found) if t.differentiable else np.zeros(static_shape(t.shape) or (), t.dtype) for t in self._out_types
        ]
        return unflatten(self._out_tree, filled)
