"""Planning: when each value dies, which results may overwrite an operand, which outputs must be copied."""

from __future__ import annotations

from typing import Any

from graphc.dims import Size
from graphc.ir import Graph, TensorType
from graphc.ops import TABLE
from graphc.plan import Plan, Step, nbytes

SOURCES = frozenset({"input", "const"})


def plan(graph: Graph, overwrite: bool = True) -> Plan:
    """Assign storage. A value lives until the last step that reads it or a view of it.

    A result that overwrites an operand takes over its memory layout, and NumPy sums other layouts in another order;
    `overwrite=False` gives every result NumPy's own layout.
    """
    nodes = graph._node
    root = _roots(nodes)
    last_use = _last_uses(nodes, root, graph.outputs)
    dying: dict[int, list[int]] = {}
    for r, at in last_use.items():
        dying.setdefault(at, []).append(r)
    steps: list[Step] = []
    storage: dict[int, Size] = {}
    for i, data in nodes.items():
        if data["op"] in SOURCES:
            continue
        into = _overwritable(nodes, root, last_use, i, data) if overwrite else None
        if into is None and root[i] == i and isinstance(data["type"], TensorType):
            storage[i] = nbytes(data["type"])
        # an unread result dies where it is made; an overwritten operand's storage lives on in the result
        frees = tuple(r for r in dying.get(i, ()) if r != into and nodes[r]["op"] not in SOURCES)
        steps.append(Step((i,), into, frees))
    return Plan(graph, tuple(steps), _copies(graph, root), storage)


def _roots(nodes: dict[int, dict[str, Any]]) -> dict[int, int]:
    """For each node, the node whose storage it may show: itself, or for a view the root of its first operand."""
    root: dict[int, int] = {}
    for i, data in nodes.items():
        op = TABLE.get(data["op"])
        root[i] = root[data["args"][0]] if op is not None and op.view else i
    return root


def _last_uses(nodes: dict[int, dict[str, Any]], root: dict[int, int], outputs: tuple[int, ...]) -> dict[int, int]:
    last: dict[int, int] = {}
    for i, data in nodes.items():
        last.setdefault(root[i], i)
        for a in data["args"]:
            last[root[a]] = i
    for o in outputs:
        last.pop(root[o], None)  # outputs outlive every step
    return last


def _overwritable(
    nodes: dict[int, dict[str, Any]],
    root: dict[int, int],
    last_use: dict[int, int],
    i: int,
    data: dict[str, Any],
) -> int | None:
    """An operand that dies here and whose storage fits the result exactly, of an op that can write there."""
    type, op = data["type"], TABLE[data["op"]]
    if not (op.ufunc or op.updates) or not type.shape:
        return None
    args = data["args"]
    for a in args[:1] if op.updates else args:
        if (
            root[a] == a
            and nodes[a]["type"] is type
            and nodes[a]["op"] not in SOURCES
            and last_use.get(a) == i
            and sum(root[b] == a for b in set(args)) == 1
        ):
            return int(a)
    return None


def _copies(graph: Graph, root: dict[int, int]) -> frozenset[int]:
    """Outputs that must not share storage with what the caller or another output holds."""
    nodes = graph._node
    taken: set[int] = set()
    result = set()
    for position, o in enumerate(graph.outputs):
        r = root[o]
        partial = nodes[o]["op"] in ("broadcast_to", "slice")
        if nodes[r]["op"] in SOURCES or r in taken or partial:
            result.add(position)
        taken.add(r)
    return frozenset(result)
