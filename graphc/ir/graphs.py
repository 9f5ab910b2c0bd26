"""The graph: frozen, in single-assignment form, with the facts about sizes that it relies on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import networkx as nx

from graphc import dims
from graphc.dims import Size
from graphc.errors import Loc, TraceError
from graphc.ir.types import NOTHING, TensorType


@dataclass(frozen=True, slots=True)
class Guard:
    """A fact about sizes that the graph relies on and that each run must check."""

    relation: Literal["==", "!=", "<", "<="]
    left: Size
    right: Size

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"

    @property
    def swapped(self) -> Guard:
        """The same fact with its sides exchanged, if that is one; otherwise the guard itself."""
        return Guard(self.relation, self.right, self.left) if self.relation in ("==", "!=") else self

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether the fact is true of these sizes."""
        left, right = dims.evaluate(self.left, sizes), dims.evaluate(self.right, sizes)
        return {"==": left == right, "!=": left != right, "<": left < right, "<=": left <= right}[self.relation]


Attrs = tuple[tuple[str, Any], ...]
Locs = tuple[Loc, ...]


class Graph(nx.DiGraph):  # type: ignore[type-arg]
    """A frozen dataflow graph in single-assignment form.

    Node ids are ints in topological order. Each node has the attributes `op`, `args` (ordered operand ids),
    `attrs`, `type`, `loc`, `region` and `origin` (the forward node a derivative came from, or None); `name`, if the
    program assigns the value to a variable.
    Edges are only the derived index of `args`, so every networkx algorithm applies. The graph's own state is
    kept in `self.graph` as tuples. Two graphs are equal when their computations are: ids, names and locations do not
    count.
    """

    _node: dict[int, dict[str, Any]]
    _succ: dict[int, dict[int, dict[str, Any]]]
    _pred: dict[int, dict[int, dict[str, Any]]]

    @property
    def inputs(self) -> tuple[int, ...]:
        """Ids of the input nodes, in argument order."""
        return self.graph["inputs"]  # type: ignore[no-any-return]

    @property
    def outputs(self) -> tuple[int, ...]:
        """Ids of the result nodes, in result order; an id may stand twice."""
        return self.graph["outputs"]  # type: ignore[no-any-return]

    @property
    def guards(self) -> tuple[Guard, ...]:
        """Facts about sizes that each run checks."""
        return self.graph["guards"]  # type: ignore[no-any-return]

    @property
    def effects(self) -> tuple[int, ...]:
        """Ids of the nodes without results, in the order in which they act. No pass drops, merges or reorders them."""
        return tuple(i for i, data in self._node.items() if data["type"] is NOTHING)

    @property
    def input_types(self) -> tuple[TensorType, ...]:
        return tuple(self._node[i]["type"] for i in self.inputs)

    @property
    def output_types(self) -> tuple[TensorType, ...]:
        return tuple(self._node[i]["type"] for i in self.outputs)

    def attrs(self, node: int) -> dict[str, Any]:
        """The attributes of a node's op as a new dict."""
        return dict(self._node[node]["attrs"])

    def canonical(self) -> tuple[Any, ...]:
        """The graph's content, free of ids and locations; equal for equal graphs."""
        state = self.__dict__
        if "_canonical" not in state:
            state["_canonical"] = _canonical(self)
        return state["_canonical"]  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and (self is other or self.canonical() == other.canonical())

    def __hash__(self) -> int:
        return hash(self.canonical())

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = self.__dict__.copy()
        state.pop("_canonical", None)
        return state

    def __str__(self) -> str:
        from graphc.text import dump

        return dump(self)

    def __repr__(self) -> str:
        inputs = ", ".join(map(repr, self.input_types))
        outputs = ", ".join(map(repr, self.output_types)) or "()"
        count = len(self) - len(self.inputs)
        return f"<graph {self.name}({inputs}) -> {outputs}: {count} node{'s' if count != 1 else ''}>"

    def _repr_html_(self) -> str:
        from graphc.inspection.notebook import repr_html

        return repr_html(self)

    def to_sympy(self, **sizes: int) -> Any:
        """The outputs as SymPy expressions of symbols named after the inputs; named sizes as keywords."""
        from graphc.symbolic import to_sympy

        return to_sympy(self, sizes)


def _typed(attrs: Attrs) -> tuple[Any, ...]:
    """Attributes with the classes of their values, which `==` does not tell apart: 1 is not True."""
    return tuple((name, type(value), value) for name, value in attrs)


def _canonical(graph: Graph) -> tuple[Any, ...]:
    """Number the nodes depth-first from outputs, then effects; ids, dead nodes and locations drop out."""
    number: dict[int, int] = {}
    regions: dict[int, int] = {0: 0}
    rows: list[tuple[Any, ...]] = []
    nodes = graph._node
    for i in graph.inputs:
        number[i] = len(number)
        rows.append(("input", nodes[i]["attrs"], nodes[i]["type"]))
    for output in (*graph.outputs, *graph.effects):
        stack = [output]
        while stack:
            node = stack[-1]
            if node in number:
                stack.pop()
                continue
            waiting = [a for a in nodes[node]["args"] if a not in number]
            if waiting:
                stack.extend(reversed(waiting))
                continue
            stack.pop()
            data = nodes[node]
            number[node] = len(number)
            region = regions.setdefault(data["region"], len(regions))
            rows.append(
                (data["op"], tuple(number[a] for a in data["args"]), _typed(data["attrs"]), data["type"], region)
            )
    outputs = tuple(number[o] for o in graph.outputs)
    return (
        graph.name,
        tuple(rows),
        len(graph.inputs),
        outputs,
        frozenset(graph.guards),
        graph.graph["donated"],
    )


def check_graph(what: str, given: object) -> None:
    """Raise TraceError, with what to write instead, unless something is a graph."""
    if isinstance(given, Graph):
        return
    fix = "graphc.trace(f, ...) gives the graph of a function"
    if isinstance(getattr(given, "graph", None), Graph):
        fix = f"{what}(x.graph) for the graph as traced, {what}(x.passes[-1].graph) for what runs"
    elif callable(given):
        fix = f'{what}(graphc.trace(f, "f64[n]"))'
    raise TraceError(
        f"{what}: a {type(given).__name__} is no graph", expected="a Graph", actual=repr(given)[:60], fix=fix
    )
