"""Graphs inside a running trace: their ops are appended, with other sizes if need be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc import dims
from graphc.dims import Dim, Size
from graphc.errors import GuardError
from graphc.ir import Graph, copy_into
from graphc.ops import lookup
from graphc.tracing.values import Traced
from graphc.tracing.worlds import TracingWorld


def inline(
    world: TracingWorld, graph: Graph, arguments: Sequence[Any], sizes: Mapping[str, Size] | None = None
) -> list[Traced]:
    """Append a graph to a running trace, its inputs bound to values; the values of its outputs.

    `sizes` says what the graph's named sizes stand for in this trace, where they are not the trace's own.
    """
    bound = [world.adopt(a) for a in arguments]
    own = {s: dims.symbol(s) for t in graph.input_types for d in t.shape for s in dims.symbols(d)}
    if sizes is None or sizes == own:
        ids = copy_into(world.builder, graph, [a.id for a in bound])
        return [Traced(world, ids[o]) for o in graph.outputs]
    return _instantiate(world, graph, bound, sizes)


def _instantiate(
    world: TracingWorld, graph: Graph, arguments: Sequence[Traced], sizes: Mapping[str, Size]
) -> list[Traced]:
    """Build a graph's ops anew with other sizes: their types follow by the ops' own rules."""
    for guard in graph.guards:
        left, right = dims.substitute(guard.left, sizes), dims.substitute(guard.right, sizes)
        relation = "==" if guard.relation == "!=" else guard.relation
        if world.facts.settle(relation, left, right) == (guard.relation == "!="):
            raise GuardError(f"{graph.name} was traced under the assumption {guard}", actual=f"{left} and {right}")
    values = dict(zip(graph.inputs, arguments, strict=True))
    for i, data in graph._node.items():
        if i not in values:
            attrs = tuple((name, _resize(value, sizes)) for name, value in data["attrs"])
            values[i] = world.emit(lookup(data["op"]), [values[a] for a in data["args"]], attrs)
    return [values[o] for o in graph.outputs]


def _resize(value: Any, sizes: Mapping[str, Size]) -> Any:
    """An attribute with its named sizes replaced."""
    if isinstance(value, tuple):
        return tuple(_resize(v, sizes) for v in value)
    return dims.substitute(value, sizes) if isinstance(value, Dim) else value
