"""Expression style: graphs cut out of what free symbols were computed into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.compiler.compiled import Compiled, Options
from graphc.compiler.donation import donated_inputs, with_donated
from graphc.compiler.pytrees import flatten, show_call
from graphc.errors import TraceError
from graphc.ir import NOTHING, Builder, Graph, set_name
from graphc.tracing import Traced, TracingWorld, lift


def compile_expressions(symbols: list[Any], outputs: Any, options: Options, donate: tuple[Any, Any]) -> Compiled:
    """Compile outputs as a function of symbols; `donate` says of which, by position and by name."""
    leaves, out_tree = flatten(outputs)
    worlds = {id(v.world): v.world for v in [*symbols, *leaves] if isinstance(v, Traced)}
    if len(worlds) != 1 or not all(isinstance(s, Traced) for s in symbols):
        raise TraceError(
            "compile([inputs], [outputs]) takes symbols and expressions of them",
            expected="traced values that belong together",
            actual=show_call("compile", None, [*symbols, *leaves]),
            fix='make inputs with graphc.symbol("x", "f64[3]")',
        )
    world = next(iter(worlds.values()))
    listed: set[int] = set()
    for symbol in symbols:
        if symbol.id in listed:
            raise TraceError(
                f"{_input_name(symbol)} stands twice among the inputs",
                expected="each input once",
                actual=f"compile([{', '.join(map(_input_name, symbols))}], [...])",
                fix="list it once, or make a symbol for each argument",
            )
        listed.add(symbol.id)
    graph, _ = extract(world, symbols, [lift(v, world) for v in leaves], name="expression", effects=True)
    names = [graph.attrs(i)["name"] for i in graph.inputs]
    graph = with_donated(graph, donated_inputs(len(names), names, *donate))
    _, in_tree = flatten((tuple(symbols), {}))
    return Compiled(graph, in_tree, out_tree, options)


def extract(
    world: TracingWorld,
    inputs: Sequence[Traced],
    outputs: Sequence[Traced],
    name: str,
    marked: Sequence[Traced] = (),
    open_inputs: bool = False,
    effects: bool = False,
) -> tuple[Graph, list[int]]:
    """The part of a running trace that computes `outputs` from `inputs`, and the ids its inputs had there.

    Inputs of the trace that are needed but not listed are refused, or appended if `open_inputs`. Values in
    `marked` are wrapped in `identity`, and their wrapped nodes are appended to the outputs. With `effects`, the graph
    has those of the trace's effects of which it computes the operands.
    """
    world.builder.settle_names()
    nodes = world.builder.nodes
    cut = {v.id for v in inputs}
    needed: set[int] = set()
    stack = [v.id for v in (*outputs, *marked)]
    while stack:
        i = stack.pop()
        if i not in needed:
            needed.add(i)
            if i not in cut:
                stack.extend(nodes[i]["args"])
    if effects:
        for i, data in enumerate(nodes):
            if data["type"] is NOTHING and needed.issuperset(data["args"]):
                needed.add(i)
    builder = Builder(name)
    builder.guards.update(world.builder.guards)
    ids: dict[int, int] = {}
    origins = [v.id for v in inputs]
    for number, value in enumerate(inputs):
        data = nodes[value.id]
        ids[value.id] = builder.input(dict(data["attrs"]).get("name", f"x{number}"), data["type"], data["loc"])
    barriers = {v.id for v in marked}
    for i in sorted(needed | cut):
        data = nodes[i]
        if i not in ids:
            if data["op"] == "input":
                if not open_inputs:
                    label = dict(data["attrs"])["name"]
                    made = f", made at {data['loc'][0].described}" if data["loc"] else ""
                    names = [*map(_input_name, inputs)]
                    # a symbol is what was made, not its name
                    which = f"another symbol called {label}" if label in names else label
                    raise TraceError(
                        f"the outputs depend on {which}, which is not among the inputs",
                        expected=f"{'both' if label in names else label} in the list of inputs",
                        actual=f"{label}: {data['type']!r}{made}",
                        fix="make the symbol once and use it wherever it is meant, or give the two different names"
                        if label in names
                        else f"compile([{', '.join([*names, label])}], [...])",
                    )
                ids[i] = builder.input(dict(data["attrs"])["name"], data["type"], data["loc"])
                origins.append(i)
            else:
                builder.region = data["region"]
                args = tuple(ids[a] for a in data["args"])
                ids[i] = builder.add(data["op"], args, data["attrs"], data["type"], data["loc"], None)
                set_name(builder.nodes[ids[i]], data.get("name"))
        if i in barriers:
            ids[i] = builder.add("identity", (ids[i],), (), data["type"], data["loc"], None)
    return builder.finish([ids[v.id] for v in (*outputs, *marked)]), origins


def _input_name(value: Traced) -> str:
    return str(dict(value.world.builder.nodes[value.id]["attrs"]).get("name", f"%{value.id}"))
