"""Batching: a graph of one row becomes a graph of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.dims import Size
from graphc.errors import UnsupportedError
from graphc.ir import Builder, Callback, Graph, TensorType, copy_into, copy_node
from graphc.ops import TABLE
from graphc.ops.batching import rule_of
from graphc.ops.record import Op
from graphc.ops.world import GraphWorld, Value


def batched_graph(graph: Graph, batched: Sequence[bool], size: Size) -> tuple[Graph, tuple[bool, ...]]:
    """The graph on `size` rows at once, and which of its outputs have rows.

    Inputs that are `batched` get one more axis, of that size, in front; so do the outputs that depend on them. Row i of
    such an output is what `graph` gives for row i of the batched inputs and the whole of the others; the other outputs
    are as before. Only nodes that depend on batched inputs change, so what all rows share is computed once.
    """
    builder = Builder(f"{graph.name}_batch")
    w = GraphWorld(builder)
    nodes = graph._node
    inputs, rows = [], set()
    for i, b in zip(graph.inputs, batched, strict=True):
        type = nodes[i]["type"]
        if b:
            rows.add(i)
            type = TensorType((size, *type.shape), type.dtype)
        inputs.append(builder.input(dict(nodes[i]["attrs"])["name"], type, nodes[i]["loc"]))
    ids: dict[int, int] = {}

    def batch_node(i: int, data: dict[str, Any], args: tuple[int, ...]) -> int:
        carried = [a in rows for a in data["args"]]
        if not any(carried):
            return copy_node(builder, data, args, ids)
        rows.add(i)
        op, attrs = TABLE[data["op"]], dict(data["attrs"])
        rule = rule_of(op)
        if rule is None:
            raise _no_rule(op, data)
        w.loc, w.origin = data["loc"], ids.get(data["origin"])
        result: Value = rule(w, op.name, size, [Value(w, a) for a in args], carried, attrs)
        return result.id

    copy_into(builder, graph, inputs, batch_node, ids)
    return builder.finish([ids[o] for o in graph.outputs]), tuple(o in rows for o in graph.outputs)


def _no_rule(op: Op, data: dict[str, Any]) -> UnsupportedError:
    """The error of a node that cannot take rows: what the user's Python code does with them is not known."""
    callback = dict(data["attrs"]).get("callback")
    name = callback.name if isinstance(callback, Callback) else "it"
    return UnsupportedError(
        f"vmap: {op.name} cannot be batched: what {name} does with one more axis is not known",
        expected="a function written with NumPy's functions",
        actual=f"{op.name}({name}, ...), which depends on a mapped argument",
        loc=data["loc"][0] if data["loc"] else None,
        fix="call it on all rows at once, outside vmap; or loop over the rows in Python",
    )
