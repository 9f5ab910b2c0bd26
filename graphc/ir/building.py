"""Graphs under construction: nodes are appended, merged, and frozen at the end."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import networkx as nx

from graphc.ir.graphs import Attrs, Graph, Guard, Locs
from graphc.ir.naming import Assignment, set_name, settle
from graphc.ir.types import NOTHING, TensorType, Type


@contextmanager
def paused_gc() -> Iterator[None]:
    """Hold the cyclic garbage collector while a graph is built.

    A graph is many small containers and no garbage; collecting while they appear doubles the time of large compiles.
    """
    enabled = gc.isenabled()
    try:
        gc.disable()
        yield
    finally:
        if enabled:
            gc.enable()


class Builder:
    """Appends nodes, each after its operands, and merges the ones that compute the same thing.

    The key of a node is its op, operands, attributes and region; merging unions locations. A builder knows no
    op's meaning: types come from the caller. A node of type `NOTHING` is an effect, and never merged. Inputs get
    names of their own; with `names_repeat` they keep those given, which no whole graph can: it is for what graphs
    are cut out of.
    """

    def __init__(self, name: str = "graph", names_repeat: bool = False) -> None:
        self.name = name
        self.names_repeat = names_repeat
        self.nodes: list[dict[str, Any]] = []
        self.inputs: list[int] = []
        self._names: set[str] = set()
        self.guards: dict[Guard, None] = {}
        self.region = 0
        self._last_region = 0
        self._table: dict[tuple[Any, ...], int] = {}
        self._effects: list[int] = []
        self._assignments: list[Assignment] = []
        self._replaced: list[tuple[int, int]] = []

    def input(self, name: str, type: TensorType, loc: Locs = ()) -> int:
        """Append the next input; a name that is taken gets underscores, unless names may repeat."""
        node = len(self.nodes)
        while name in self._names and not self.names_repeat:
            name += "_"
        self._names.add(name)
        self.nodes.append(
            {
                "op": "input",
                "args": (),
                "attrs": (("name", name),),
                "type": type,
                "loc": loc,
                "region": 0,
                "origin": None,
            }
        )
        self.inputs.append(node)
        return node

    def find(self, op: str, args: tuple[int, ...], attrs: Attrs) -> int | None:
        """The existing node that computes this in the current region, if there is one."""
        return self._table.get((op, args, attrs, self.region))

    def add(self, op: str, args: tuple[int, ...], attrs: Attrs, type: Type, loc: Locs, origin: int | None) -> int:
        """The node that computes this, appended if it is new."""
        key = (op, args, attrs, self.region)
        node = self._table.get(key)
        if node is None:
            node = len(self.nodes)
            if type is NOTHING:
                self._effects.append(node)
            else:
                self._table[key] = node
            self.nodes.append(
                {
                    "op": op,
                    "args": args,
                    "attrs": attrs,
                    "type": type,
                    "loc": loc,
                    "region": self.region,
                    "origin": origin,
                }
            )
        elif loc:
            self.merge_loc(node, loc)
        return node

    def assign(self, site: object, name: str | tuple[str | None, ...], node: int | tuple[int, ...]) -> None:
        """Note that the program assigns this node's value, or one made of it, to a variable: see `naming`."""
        self._assignments.append((site, name, node))

    def replace(self, old: int, new: int) -> None:
        """Note that an array, until now of the value `old`, has the value `new`: it keeps its name."""
        self._replaced.append((old, new))

    @property
    def assigned(self) -> int:
        """How many assignments were noted and not settled."""
        return len(self._assignments)

    def settle_names(self) -> None:
        """Give the nodes that were assigned to variables their names."""
        settle(self.nodes, self._assignments)
        self._assignments.clear()
        for old, new in self._replaced:
            data = self.nodes[old]
            set_name(self.nodes[new], dict(data["attrs"])["name"] if data["op"] == "input" else data.get("name"))
        self._replaced.clear()

    def fresh_region(self) -> int:
        """A region number that no node bears yet: nothing in it merges with anything outside."""
        self._last_region += 1
        return self._last_region

    def merge_loc(self, node: int, loc: Locs) -> None:
        """Union `loc` into the node's locations; the first one stays first."""
        data = self.nodes[node]
        known: Locs = data["loc"]
        if known is not loc and len(known) < 8:
            data["loc"] = known + tuple(x for x in loc if x not in known)

    def finish(self, outputs: Iterable[int], donated: Sequence[int] = (), effects: bool = True) -> Graph:
        """Freeze what outputs and effects need, and every input, into a graph with dense ids."""
        outputs = tuple(outputs)
        self.settle_names()
        nodes = self.nodes
        live = bytearray(len(nodes))
        for i in (*outputs, *self.inputs, *(self._effects if effects else ())):
            live[i] = 1
        for i in range(len(nodes) - 1, -1, -1):
            if live[i]:
                for a in nodes[i]["args"]:
                    live[a] = 1
        # inputs come first, so that dumps number them 0, 1, ... and the rest follows
        ids: dict[int, int] = {i: k for k, i in enumerate(self.inputs)}
        for i, alive in enumerate(live):
            if alive and i not in ids:
                ids[i] = len(ids)
        return _assemble(
            self.name,
            ((ids[i], nodes[i]) for i in ids),
            ids,
            tuple(ids[i] for i in self.inputs),
            tuple(ids[o] for o in outputs),
            tuple(self.guards),
            tuple(donated),
        )


def _assemble(
    name: str,
    nodes: Iterator[tuple[int, dict[str, Any]]],
    ids: Mapping[int, int],
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    guards: tuple[Guard, ...],
    donated: tuple[int, ...],
) -> Graph:
    graph = Graph(name=name, inputs=inputs, outputs=outputs, guards=guards, donated=donated)
    # networkx's own dictionaries are filled directly: add_node and add_edge cost several times as much
    node_table, successors, predecessors = graph._node, graph._succ, graph._pred
    for i, data in nodes:
        args = tuple([ids[a] for a in data["args"]])
        copy = data.copy()
        copy["args"] = args
        origin = data["origin"]
        if origin is not None:
            copy["origin"] = ids.get(origin)
        node_table[i] = copy
        successors[i] = {}
        before: dict[int, dict[str, Any]] = {}
        predecessors[i] = before
        for a in args:
            if a not in before:
                edge: dict[str, Any] = {}
                before[a] = edge
                successors[a][i] = edge
    return nx.freeze(graph)  # type: ignore[no-any-return]


def copy_inputs(builder: Builder, graph: Graph) -> list[int]:
    """Give `builder` inputs of the names and types of a graph's; return their ids."""
    nodes = graph._node
    return [builder.input(dict(nodes[i]["attrs"])["name"], nodes[i]["type"], nodes[i]["loc"]) for i in graph.inputs]


def copy_node(builder: Builder, data: Mapping[str, Any], args: tuple[int, ...], ids: Mapping[int, int]) -> int:
    """Append a node like one of another graph, with new operands; `ids` are the new ids of that graph's nodes."""
    origin = None if data["origin"] is None else ids.get(data["origin"])
    return builder.add(data["op"], args, data["attrs"], data["type"], data["loc"], origin)


def copy_into(
    builder: Builder,
    graph: Graph,
    arguments: Sequence[int],
    node_rule: Callable[[int, dict[str, Any], tuple[int, ...]], int] | None = None,
    ids: dict[int, int] | None = None,
) -> dict[int, int]:
    """Append `graph` to `builder` with its inputs bound to `arguments`; return old id -> new id.

    `node_rule(old id, node data, new operand ids)` may put something else in a node's place; this is the
    copy-with-substitution sweep that every rewriting pass is made of. `ids`, if given, is filled as the sweep goes.
    """
    ids = {} if ids is None else ids
    ids.update(zip(graph.inputs, arguments, strict=True))
    for guard in graph.guards:
        if guard.swapped not in builder.guards:
            builder.guards.setdefault(guard)
    regions: dict[int, int] = {0: builder.region}
    base = builder.region
    for i, data in graph._node.items():
        if i in ids:
            continue
        region = data["region"]
        if region not in regions:
            regions[region] = builder.fresh_region()
        builder.region = regions[region]
        args = tuple([ids[a] for a in data["args"]])
        if node_rule is not None:
            ids[i] = node_rule(i, data, args)
        else:
            ids[i] = copy_node(builder, data, args, ids)
        if "name" in data:
            set_name(builder.nodes[ids[i]], data["name"])
    builder.region = base
    return ids


def without_effects(graph: Graph) -> Graph:
    """The graph with nothing but what its outputs need."""
    if not graph.effects:
        return graph
    builder = Builder(graph.name)
    ids = copy_into(builder, graph, copy_inputs(builder, graph))
    return builder.finish([ids[o] for o in graph.outputs], graph.graph["donated"], effects=False)
