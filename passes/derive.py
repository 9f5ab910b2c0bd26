"""Derivative graphs: a graph in, a graph of its cotangents or tangents out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.ir import Builder, Graph, TensorType, copy_inputs, copy_into, set_name, without_effects
from graphc.ops.world import GraphWorld, Value
from graphc.passes.linearize import forward
from graphc.passes.transpose import backward


def _open(graph: Graph, name: str, with_value: bool = True) -> tuple[GraphWorld, list[int], list[int]]:
    """Copy a graph into a fresh builder; the world to go on building in, input ids and output ids.

    The effects of a function belong to its value: a derivative without the value has none of them.
    """
    builder = Builder(name)
    graph = graph if with_value else without_effects(graph)
    inputs = copy_inputs(builder, graph)
    ids = copy_into(builder, graph, inputs)
    return GraphWorld(builder), inputs, [ids[o] for o in graph.outputs]


def differentiable_outputs(graph: Graph) -> tuple[int, ...]:
    """Positions of the outputs that carry tangents."""
    return tuple(k for k, t in enumerate(graph.output_types) if t.differentiable)


def value_and_gradient_graph(graph: Graph, wrt: Sequence[int], output: int = 0) -> Graph:
    """Outputs: those of `graph`, then the gradient of its scalar `output` for each input position in `wrt`."""
    w, inputs, outputs = _open(graph, f"{graph.name}_grad")
    seed = w.full(1, graph.output_types[output])
    parts = backward(w, [outputs[output]], [seed], [inputs[k] for k in wrt])
    return w.builder.finish([*outputs, *_ids(w, parts, [graph.input_types[k] for k in wrt])])


def vjp_graph(graph: Graph, wrt: Sequence[int], with_value: bool = False, seeds: Sequence[int] | None = None) -> Graph:
    """Inputs: those of `graph`, then a cotangent per output in `seeds`. Outputs: a cotangent per `wrt`.

    If not given, `seeds` are the differentiable outputs. `with_value` puts the outputs of `graph` first. A disconnected
    input's cotangent is zeros.
    """
    w, inputs, outputs = _open(graph, f"{graph.name}_vjp", with_value)
    seeded = differentiable_outputs(graph) if seeds is None else seeds
    cotangents: list[Value | None] = []
    for k in seeded:
        name = f"ct_{k}"
        cotangents.append(Value(w, w.builder.input(name, graph.output_types[k])))
    parts = backward(w, [outputs[k] for k in seeded], cotangents, [inputs[k] for k in wrt])
    results = _ids(w, parts, [graph.input_types[k] for k in wrt])
    return w.builder.finish([*outputs, *results] if with_value else results)


def jvp_graph(graph: Graph, wrt: Sequence[int], with_value: bool = False) -> Graph:
    """Inputs: those of `graph`, then a tangent per `wrt`. Outputs: a tangent per differentiable output."""
    w, inputs, outputs = _open(graph, f"{graph.name}_jvp", with_value)
    tangents: list[Value | None] = []
    for k in wrt:
        name = f"t_{dict(graph._node[graph.inputs[k]]['attrs'])['name']}"
        tangents.append(Value(w, w.builder.input(name, graph.input_types[k])))
    seeded = differentiable_outputs(graph)
    parts = forward(w, [outputs[k] for k in seeded], [inputs[k] for k in wrt], tangents)
    results = _ids(w, parts, [graph.output_types[k] for k in seeded])
    return w.builder.finish([*outputs, *results] if with_value else results)


def gradients_graph(graph: Graph, results: int) -> Graph:
    """The cotangents of the outputs after the first `results`, which are the ones differentiated.

    Inputs: those of `graph`, then a cotangent per result. The nodes to differentiate by are given as outputs, so
    that they may be inputs or intermediate values (then marked by `identity`, which no rewrite sees through).
    """
    w, _, outputs = _open(graph, f"{graph.name}_gradients", with_value=False)
    cotangents: list[Value | None] = [
        Value(w, w.builder.input(f"ct_{k}", t)) for k, t in enumerate(graph.output_types[:results])
    ]
    parts = backward(w, outputs[:results], cotangents, outputs[results:])
    return w.builder.finish(_ids(w, parts, graph.output_types[results:]))


def split(graph: Graph, unknown: Sequence[int], known_outputs: int) -> tuple[Graph, Graph]:
    """Cut a graph where its inputs at the positions `unknown` come in.

    The first graph takes the other inputs and gives the first `known_outputs` outputs and the residuals; the
    second takes the residuals and the unknown inputs and gives the remaining outputs.
    """
    nodes = graph._node
    late = {graph.inputs[k] for k in unknown}
    for i, data in nodes.items():
        if i not in late and any(a in late for a in data["args"]):
            late.add(i)
    wanted = graph.outputs[known_outputs:]
    residuals = dict.fromkeys(
        a for i, data in nodes.items() if i in late for a in data["args"] if a not in late and nodes[a]["op"] != "const"
    )
    residuals.update(dict.fromkeys(o for o in wanted if o not in late and nodes[o]["op"] != "const"))
    first, second = Builder(f"{graph.name}_known"), Builder(f"{graph.name}_linear")
    for builder in (first, second):
        for guard in graph.guards:
            builder.guards[guard] = None
    early: dict[int, int] = {}
    after: dict[int, int] = {}
    for k, i in enumerate(graph.inputs):
        if k not in unknown:
            early[i] = first.input(dict(nodes[i]["attrs"])["name"], nodes[i]["type"], nodes[i]["loc"])
    for number, r in enumerate(residuals):
        after[r] = second.input(f"r{number}", nodes[r]["type"], nodes[r]["loc"])
    for k in unknown:
        i = graph.inputs[k]
        after[i] = second.input(dict(nodes[i]["attrs"])["name"], nodes[i]["type"], nodes[i]["loc"])
    for i, data in nodes.items():
        for builder, ids, here in (
            (first, early, i not in late),
            (second, after, i in late or data["op"] == "const"),
        ):
            if here and i not in ids:
                builder.region = data["region"]
                args = tuple(ids[a] for a in data["args"])
                ids[i] = builder.add(data["op"], args, data["attrs"], data["type"], data["loc"], None)
                set_name(builder.nodes[ids[i]], data.get("name"))
    known = [early[o] for o in graph.outputs[:known_outputs]]
    return first.finish([*known, *(early[r] for r in residuals)]), second.finish([after[o] for o in wanted])


def _ids(w: GraphWorld, parts: Sequence[Value | None], types: Sequence[TensorType]) -> list[int]:
    return [(w.full(0, t) if p is None else _strong(w, p, t)).id for p, t in zip(parts, types, strict=True)]


def _strong(w: GraphWorld, value: Value, type: TensorType) -> Any:
    """The derivative in its variable's dtype; weakness is a matter of the variable, not of its derivative."""
    return w.convert(value, type.dtype, value.type.weak)
