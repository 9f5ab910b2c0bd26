"""What a picture of a graph shows: boxes for nodes and folded sections, and the arrows between them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import networkx as nx

from graphc.inspection.layout import Layout
from graphc.ir import Graph
from graphc.ops import TABLE, factorisations, systems
from graphc.text.sections import Fold, Section, ends, sections, some, title
from graphc.text.writing import Writer, summary_of

WIDEST: Final = 36  # characters of a line in a box

# Inches at full size.
CHARACTER: Final = 0.085
PADDING: Final = 0.22
HEIGHT: Final = 0.42
LAYER: Final = 0.78

# Fill and border of each kind of node, in the order of the legend.
COLOURS: Final = {
    "input": ("#cfe8ff", "#1f6fb2"),
    "constant": ("#ececec", "#8a8a8a"),
    "elementwise": ("#dff3d8", "#4a8f3c"),
    "reduction": ("#ffe3c2", "#c9761a"),
    "structure": ("#f4f0dc", "#9a8f55"),
    "derivative": ("#eadcf7", "#7a48ad"),
    "folded": ("#dfe4f2", "#4b5c96"),
}
# ops that add up products of many elements, and are coloured as reductions
ADDING: Final = frozenset({"matmul", "logsumexp", "cumsum", *(op.name for op in (*systems.OPS, *factorisations.OPS))})
EDGE: Final = "#7d8590"
RESULT: Final = "#c0262d"

_SAID: Final = re.compile(r"\b(?:axes|axis|exponent|size)=(?:\([^)]*\)|[^,\]]+)")  # attributes worth their room
_MEANING: Final = re.compile(r"(?P<op>\w+)(?:\[(?P<attrs>.*?)\])?\((?P<operands>[^()]*)\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Box:
    """What the picture shows of a node or a section: two lines, its kind, what results it is."""

    title: str
    below: str
    kind: str
    result: str
    folded: bool = False

    @property
    def width(self) -> float:
        return max(0.6, CHARACTER * max(len(self.title), len(self.below)) + PADDING)


def kind_of(graph: Graph, node: int) -> str:
    """The kind a node is coloured by, one of the keys of `COLOURS`."""
    data = graph._node[node]
    name = data["op"]
    if name == "input":
        return "input"
    if data["origin"] is not None:
        return "derivative"
    if not data["args"]:
        return "constant"
    op = TABLE.get(name)
    if op is not None and op.elementwise:
        return "elementwise"
    return "reduction" if name.startswith("reduce_") or name in ADDING else "structure"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a picture shows: a box for each key, and for every node the key of the box that it lies in."""

    boxes: Mapping[int, Box]
    owners: Mapping[int, int]


def parts(graph: Graph, fold: Fold | None = None) -> Parts:
    """The boxes of a graph: one for a node, but for the scalars that the dump, too, writes among the operands.

    With `fold`, one for each section.
    """
    writer = Writer(graph)
    shown: dict[int, Box] = {}
    owners: dict[int, int] = {}
    single = [node for node in graph if node not in writer.inline]
    items: list[int | Section] = list(single)
    if fold is not None:
        inner = [node for node in single if node not in writer.inputs]
        items = [*graph.inputs, *sections(graph, inner, fold)]
    for item in items:
        if isinstance(item, int):
            owners[item] = item
            shown[item] = _node_box(graph, writer, item)
        else:
            key = item.nodes[-1]
            owners.update(dict.fromkeys(item.nodes, key))
            shown[key] = _section_box(graph, writer, item)
    return Parts(shown, owners)


def _node_box(graph: Graph, writer: Writer, node: int) -> Box:
    data = graph._node[node]
    kind = kind_of(graph, node)
    type = writer.type(data["type"])
    if kind == "input":
        return Box(_short(writer.labels[node][1:]), _short(type), kind, _result(graph, [node]))
    title = summary_of(data) or _title(writer.meaning(data))
    return Box(_short(title), _typed(writer.labels[node], type), kind, _result(graph, [node]))


def _section_box(graph: Graph, writer: Writer, section: Section) -> Box:
    _, results = ends(graph, section)
    derived = all(graph._node[node]["origin"] is not None for node in section.nodes)
    given = _typed(writer.labels[results[0]], writer.type(graph._node[results[0]]["type"])) if results else "nothing"
    more = f", ... {len(results) - 1} more" if len(results) > 1 else ""
    return Box(
        _short(title(graph, section, most=2)),
        f"{len(section.nodes)} nodes → {given}{more}",
        "derivative" if derived else "folded",
        _result(graph, set(section.nodes)),
        folded=True,
    )


def _typed(label: str, type: str) -> str:
    """Label and type, each shortened so that both fit."""
    label = _short(label, max(WIDEST // 2, WIDEST - len(type)))
    return f"{label}: {_short(type, WIDEST - len(label))}"


def _short(text: str, most: int = WIDEST) -> str:
    """The text, without its middle if it is long."""
    if len(text) <= most:
        return text
    return f"{text[: (most + 1) // 2 - 1]}…{text[len(text) - most // 2 :]}"


def _result(graph: Graph, nodes: Collection[int]) -> str:
    """Which results of the graph are among some nodes: empty if none, numbered if there are several."""
    places = [str(k) for k, output in enumerate(graph.outputs) if output in nodes]
    if not places:
        return ""
    return "result" if len(graph.outputs) == 1 else f"result {some(places)}"


def _title(meaning: str) -> str:
    """The op, with the literals among its operands and the axes it works along; the value of a constant."""
    match = _MEANING.match(meaning)
    if match is None:
        return meaning if len(meaning) <= 24 else meaning[:14] + "..."
    op, operands = match["op"], [o.strip() for o in match["operands"].split(",") if o]
    if not all(o.startswith("%") for o in operands):
        op = f"{op}({', '.join('·' if o.startswith('%') else o for o in operands)})"
    said = _SAID.search(match["attrs"] or "")
    return f"{op} {said[0].replace('(', '').replace(',)', '').replace(')', '')}" if said else op


def _ports(operands: Sequence[int], width: float) -> list[float]:
    """Where on the top of a box the arrows from its operands end: from left to right in their order."""
    step = min(0.24, 0.7 * width / len(operands)) if operands else 0.0
    return [step * (k - (len(operands) - 1) / 2) for k in range(len(operands))]


def flow_of(graph: Graph, drawn: Parts) -> nx.DiGraph[Any]:
    """The boxes and the edges between them; `ends` tells every port of an operand that is used twice."""
    flow: nx.DiGraph[Any] = nx.DiGraph()
    flow.add_nodes_from(drawn.boxes)
    taken: dict[int, list[int]] = {key: [] for key in drawn.boxes}
    for node, key in drawn.owners.items():
        for a in graph._node[node]["args"]:
            if a in drawn.owners and drawn.owners[a] != key:
                taken[key].append(drawn.owners[a])
    for key, operands in taken.items():
        if drawn.boxes[key].folded:
            operands = list(dict.fromkeys(operands))
        ports = _ports(operands, drawn.boxes[key].width)
        for a in dict.fromkeys(operands):
            tips = [port for operand, port in zip(operands, ports, strict=True) if operand == a]
            flow.add_edge(a, key, port=sum(tips) / len(tips), ends=tips)
    return flow


def _curve(route: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
    """Control points of a curve that passes every point of a route vertically."""
    points = [route[0]]
    for (x0, y0), (x1, y1) in pairwise(route):
        middle = (y0 + y1) / 2
        points += [(x0, middle), (x1, middle), (x1, y1)]
    return points


def paths(layout: Layout, flow: nx.DiGraph[Any]) -> list[list[tuple[float, float]]]:
    """Each arrow in inches, y downwards, from the bottom of one box to the top of another."""
    paths = []
    for (a, b), route in layout.routes.items():
        inches = [(x, y * LAYER) for x, y in route]
        start, *through, end = inches
        # where an edge passes a layer it keeps straight for the height of the boxes there
        bent = [p for x, y in through for p in ((x, y - HEIGHT / 2), (x, y + HEIGHT / 2))]
        for port in flow.edges[a, b]["ends"]:
            last = (layout.centres[b][0] + port, end[1] - HEIGHT / 2)
            paths.append(_curve(((start[0], start[1] + HEIGHT / 2), *bent, last)))
    return paths
