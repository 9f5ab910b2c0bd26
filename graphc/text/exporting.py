"""Graphs as JSON and as Graphviz dot, for other programs; only text is read back."""

from __future__ import annotations

import math
from typing import Any

from graphc.ir import Graph
from graphc.text.scalars import (
    printable,
)
from graphc.text.writing import Writer, _value


def dump_json(graph: Graph) -> str:
    """The graph in JSON, for other programs: nodes by their ids, types and sizes as text.

    >>> import json
    >>> from graphc.text.reading import parse
    >>> json.loads(dump_json(parse("graph f(%x: f64[n]) -> f64[n] { return %x }")))["nodes"][0]["type"]
    'f64[n]'
    """
    import json  # of no use to whoever only computes

    return json.dumps(_plain_graph(graph), indent=1)


def _plain_graph(graph: Graph) -> dict[str, Any]:
    nodes = [
        {
            "id": i,
            "name": data.get("name"),
            "op": data["op"],
            "args": data["args"],
            "attrs": {name: _plain(value) for name, value in data["attrs"]},
            "type": repr(data["type"]),
            "region": data["region"],
            "origin": data["origin"],
            "loc": [{"file": one.file, "line": one.line, "function": one.function} for one in data["loc"]],
        }
        for i, data in graph._node.items()
    ]
    state = {"inputs": graph.inputs, "outputs": graph.outputs, "donated": graph.graph["donated"]}
    return {"name": graph.name, **state, "guards": [str(guard) for guard in graph.guards], "nodes": nodes}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Graph):
        return _plain_graph(value)
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _value(value, str)


def dump_dot(graph: Graph) -> str:
    r"""The graph as a drawing in Graphviz's language.

    >>> from graphc.text.reading import parse
    >>> print(dump_dot(parse("graph f(%x: f64[]) -> f64[] { %y: f64[] = sin(%x) return %y }")))
    digraph "f" {
      node [shape=box, fontname=monospace];
      0 [label="%x: f64[]", shape=ellipse];
      1 [label="%y: f64[] = sin(%x)"];
      0 -> 1;
      return [label="return %y", shape=plaintext];
      1 -> return;
    }
    """
    writer = Writer(graph)
    lines = ["node [shape=box, fontname=monospace];"]
    for i, data in graph._node.items():
        if i in writer.inline:
            continue
        shape = ", shape=ellipse" if i in graph.inputs else ""
        lines.append(f"{i} [label={_dot_string(writer.node(i))}{shape}];")
        lines += [f"{a} -> {i};" for a in dict.fromkeys(data["args"]) if a not in writer.inline]
    result = f"return {', '.join(writer.labels[i] for i in graph.outputs)}".rstrip()
    lines.append(f"return [label={_dot_string(result)}, shape=plaintext];")
    lines += [f"{i} -> return;" for i in dict.fromkeys(graph.outputs)]
    return "\n".join([f"digraph {_dot_string(graph.name)} {{", *(f"  {line}" for line in lines), "}"])


def _dot_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{printable(escaped)}"'
