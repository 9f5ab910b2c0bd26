"""Pictures of graphs: matplotlib files for papers and terminals, SVG for notebooks."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import networkx as nx

from graphc.errors import UnsupportedError
from graphc.inspection.layout import Layout, layered
from graphc.ir import Graph
from graphc.ops import TABLE
from graphc.text import dump, format_node

LIMIT: Final = 400  # boxes; beyond it a picture says less than a text
SVG_LIMIT: Final = 60
PIXELS: Final = 12_000  # the longer side of a picture file

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
}
EDGE: Final = "#7d8590"
RESULT: Final = "#c0262d"

_LINE: Final = re.compile(r"(?P<label>%\S+): (?P<type>.*?)(?: = (?P<meaning>.*))?$", re.DOTALL)
_SAID: Final = re.compile(r"\b(?:axes|axis|exponent|size)=(?:\([^)]*\)|[^,\]]+)")  # attributes worth their room
_MEANING: Final = re.compile(r"(?P<op>\w+)(?:\[(?P<attrs>.*?)\])?\((?P<operands>[^()]*)\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Box:
    """What the picture shows of one node: two lines, its kind, and what results it is, if any."""

    title: str
    below: str
    kind: str
    result: str

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
    return "reduction" if name.startswith("reduce_") or name in ("matmul", "logsumexp", "cumsum") else "structure"


def boxes(graph: Graph) -> dict[int, Box]:
    """The nodes that get a box: all but the scalars that the dump, too, writes among the operands."""
    lines = {node: _LINE.match(format_node(graph, node)) for node in graph}
    shown = {}
    for node, line in lines.items():
        if line is not None:
            kind = kind_of(graph, node)
            title = line["label"][1:] if kind == "input" else _title(line["meaning"])
            below = line["type"] if kind == "input" else f"{line['label']}: {line['type']}"
            shown[node] = Box(title, below, kind, _result(graph, node))
    return shown


def _result(graph: Graph, node: int) -> str:
    """Which results of the graph a node is: empty if none, numbered if there are several."""
    places = [str(k) for k, output in enumerate(graph.outputs) if output == node]
    if not places:
        return ""
    return "result" if len(graph.outputs) == 1 else f"result {', '.join(places)}"


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


def _flow(graph: Graph, shown: Mapping[int, Box]) -> nx.DiGraph[Any]:
    """The boxes and the edges between them; `ends` tells every port of an operand that is used twice."""
    flow: nx.DiGraph[Any] = nx.DiGraph()
    flow.add_nodes_from(shown)
    for node, box in shown.items():
        operands = [a for a in graph._node[node]["args"] if a in shown]
        ports = _ports(operands, box.width)
        for a in dict.fromkeys(operands):
            ends = [port for operand, port in zip(operands, ports, strict=True) if operand == a]
            flow.add_edge(a, node, port=sum(ends) / len(ends), ends=ends)
    return flow


def _refuse_large(graph: Graph, count: int) -> None:
    if count > LIMIT:
        raise UnsupportedError(
            f"{graph.name} has too many nodes for a picture",
            expected=f"at most {LIMIT}",
            actual=str(count),
            fix='read its text, print(graph); or write dump(graph, "dot") to a file for Graphviz',
        )


def draw(graph: Graph, target: Any = None, *, title: str | None = None, legend: bool = True) -> Any:
    """Draw a graph with matplotlib: operands above results, colours by kind, types in the boxes.

    Args:
        graph: at most 400 nodes; 5 to 60 read well.
        target: a file name (PNG, SVG or PDF, by its ending), matplotlib axes to draw into, or None for new axes.
        title: stands above the picture; the graph's name if None.
        legend: whether to explain the colours.

    Returns:
        The path that was written, or the axes. A file is replaced only when the new picture is complete.

    Raises:
        UnsupportedError: the graph is too large, or matplotlib is not installed (``pip install graphc[plot]``).

    >>> from graphc import trace
    >>> draw(trace(lambda x, y: x * y + 1, "f64[n]", "f64[n]"), "product.png").name
    'product.png'
    """
    _refuse_large(graph, graph.number_of_nodes())
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnsupportedError(
            "drawing needs matplotlib", fix='pip install "graphc[plot]"; print(graph) needs nothing'
        ) from error
    shown = boxes(graph)
    flow = _flow(graph, shown)
    layout = layered(flow, {node: box.width for node, box in shown.items()})
    title = graph.name if title is None else title
    if target is not None and not isinstance(target, (str, os.PathLike)):
        _paint(target, layout, flow, shown, title, legend)
        return target
    width, height = _extent(layout, legend)
    if target is None:
        from matplotlib import pyplot

        axes = pyplot.figure(figsize=(width, height)).add_axes((0, 0, 1, 1))
        _paint(axes, layout, flow, shown, title, legend)
        return axes
    # a figure of its own, apart from pyplot: nothing to close, no window, safe in threads
    figure = Figure(figsize=(width, height))
    _paint(figure.add_axes((0, 0, 1, 1)), layout, flow, shown, title, legend)
    path = Path(target)
    with mpl.rc_context({"svg.hashsalt": "graphc"}):
        _save(figure, path)
    return path


def _save(figure: Any, path: Path) -> None:
    """Write the figure beside its place, then move it there."""
    handle, name = tempfile.mkstemp(suffix=path.suffix, prefix=f".{path.stem}-", dir=path.parent)
    os.close(handle)
    try:
        figure.savefig(name, dpi=min(150.0, PIXELS / max(figure.get_size_inches())))
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _extent(layout: Layout, legend: bool) -> tuple[float, float]:
    """Width and height of the whole picture in inches."""
    least = 6.2 if legend else 2.0
    return max(least, layout.width + 0.5), layout.layers * LAYER + 0.55 + (0.45 if legend else 0.0)


def _curve(route: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
    """Control points of a curve that passes every point of a route vertically."""
    points = [route[0]]
    for (x0, y0), (x1, y1) in pairwise(route):
        middle = (y0 + y1) / 2
        points += [(x0, middle), (x1, middle), (x1, y1)]
    return points


def _paths(layout: Layout, flow: nx.DiGraph[Any]) -> list[list[tuple[float, float]]]:
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


def _paint(
    axes: Any, layout: Layout, flow: nx.DiGraph[Any], shown: Mapping[int, Box], title: str, legend: bool
) -> None:
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
    from matplotlib.path import Path as Curve

    width, height = _extent(layout, legend)
    figure = axes.get_figure()
    place = axes.get_position()
    scale = min(place.width * figure.get_figwidth() / width, place.height * figure.get_figheight() / height)
    margin = (width - layout.width) / 2
    axes.set_axis_off()
    axes.set_xlim(-margin, layout.width + margin)
    top = -0.55 - HEIGHT / 2
    axes.set_ylim(top + height, top)
    axes.set_aspect("equal")
    for points in _paths(layout, flow):
        codes = [Curve.MOVETO] + [Curve.CURVE4] * (len(points) - 1)
        axes.add_patch(
            FancyArrowPatch(
                path=Curve(points, codes),
                arrowstyle="-|>",
                mutation_scale=8 * scale,
                color=EDGE,
                linewidth=0.9 * scale,
                shrinkA=0,
                shrinkB=0,
                zorder=1,
            )
        )
    for node, box in shown.items():
        x, y = layout.centres[node][0], layout.centres[node][1] * LAYER
        fill, border = COLOURS[box.kind]
        axes.add_patch(
            FancyBboxPatch(
                (x - box.width / 2 + 0.06, y - HEIGHT / 2 + 0.06),
                box.width - 0.12,
                HEIGHT - 0.12,
                boxstyle="round,pad=0.06",
                facecolor=fill,
                edgecolor=RESULT if box.result else border,
                linewidth=(2.0 if box.result else 1.0) * scale,
                zorder=2,
            )
        )
        axes.text(x, y - 0.085, box.title, ha="center", va="center", fontsize=8.5 * scale, weight="bold", zorder=3)
        axes.text(
            x,
            y + 0.1,
            box.below,
            ha="center",
            va="center",
            fontsize=7 * scale,
            family="monospace",
            color="#444444",
            zorder=3,
        )
        # beside the middle, where arrows leave the box
        axes.text(
            x + 0.12, y + HEIGHT / 2 + 0.08, box.result, va="center", fontsize=6.5 * scale, color=RESULT, zorder=3
        )
    axes.text(layout.width / 2, -0.38 - HEIGHT / 2, title, ha="center", va="center", fontsize=11 * scale)
    if legend:
        _legend(axes, shown, scale)


def _legend(axes: Any, shown: Mapping[int, Box], scale: float) -> None:
    from matplotlib.patches import Patch

    used = {box.kind for box in shown.values()}
    handles = [Patch(facecolor=f, edgecolor=e, label=kind) for kind, (f, e) in COLOURS.items() if kind in used]
    handles.append(Patch(facecolor="white", edgecolor=RESULT, linewidth=2 * scale, label="result"))
    axes.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=len(handles),
        frameon=False,
        fontsize=7.5 * scale,
        handlelength=1.2,
        columnspacing=1.0,
    )


def repr_html(graph: Graph) -> str:
    """The graph for a notebook: a drawing of at most 60 boxes, above its text.

    >>> from graphc import trace
    >>> "<svg" in repr_html(trace(lambda x: x + 1, "f64[n]"))
    True
    """
    text = f"<pre>{escape(dump(graph))}</pre>"
    if graph.number_of_nodes() > LIMIT:
        return text
    shown = boxes(graph)
    if len(shown) > SVG_LIMIT:
        return text
    flow = _flow(graph, shown)
    layout = layered(flow, {node: box.width for node, box in shown.items()})
    return f"<div>{_svg(layout, flow, shown)}<details><summary>text</summary>{text}</details></div>"


def _svg(layout: Layout, flow: nx.DiGraph[Any], shown: Mapping[int, Box]) -> str:
    dots = 90  # to the inch
    margin = 10.0
    width, height = layout.width * dots + 2 * margin, layout.layers * LAYER * dots
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{-margin:.0f} {-LAYER * dots / 2:.0f} {width:.0f} {height:.0f}" font-family="sans-serif">'
    ]
    for points in _paths(layout, flow):
        first, *rest = [f"{x * dots:.1f},{y * dots:.1f}" for x, y in points]
        parts.append(f'<path d="M{first} C{" ".join(rest)}" fill="none" stroke="{EDGE}"/>')
        x, y = points[-1][0] * dots, points[-1][1] * dots
        parts.append(f'<path d="M{x - 3:.1f},{y - 7:.1f} L{x + 3:.1f},{y - 7:.1f} L{x:.1f},{y:.1f} z" fill="{EDGE}"/>')
    for node, box in shown.items():
        x, y = layout.centres[node][0] * dots, layout.centres[node][1] * LAYER * dots
        wide, high = box.width * dots, HEIGHT * dots
        fill, border = COLOURS[box.kind]
        stroke, thick = (RESULT, 2) if box.result else (border, 1)
        below = y + high / 2 + 10
        parts += [
            f'<rect x="{x - wide / 2:.1f}" y="{y - high / 2:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="6" '
            f'fill="{fill}" stroke="{stroke}" stroke-width="{thick}"/>',
            f'<text x="{x:.1f}" y="{y - 4:.1f}" text-anchor="middle" font-size="11" font-weight="bold" fill="#222">'
            f"{escape(box.title)}</text>",
            f'<text x="{x:.1f}" y="{y + 11:.1f}" text-anchor="middle" font-size="9" font-family="monospace" '
            f'fill="#444">{escape(box.below)}</text>',
            f'<text x="{x + 8:.1f}" y="{below:.1f}" font-size="9" fill="{RESULT}">{box.result}</text>',
        ]
    return "".join([*parts, "</svg>"])
