"""Graphs in notebooks: a drawing in SVG above the text."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Final

import networkx as nx

from graphc.inspection.boxes import COLOURS, EDGE, HEIGHT, LAYER, Box, flow_of, parts, paths
from graphc.inspection.layout import Layout, layered
from graphc.ir import Graph
from graphc.text import dump
from graphc.text.sections import Fold

SVG_LIMIT: Final = 60  # boxes
RED: Final = "#e5484d"  # seen on white and on black
LINES: Final = 400
FOLDINGS: Final[tuple[Fold | None, ...]] = (None, "all")


def repr_html(graph: Graph) -> str:
    """The graph for a notebook: a drawing of at most 60 boxes, above its text.

    A larger graph is folded first, both in the drawing and in the text.

    >>> from graphc import trace
    >>> "<svg" in repr_html(trace(lambda x: x + 1, "f64[n]"))
    True
    """
    text = escape(_text(graph))
    for fold in FOLDINGS:
        drawn = parts(graph, fold)
        if len(drawn.boxes) <= SVG_LIMIT:
            flow = flow_of(graph, drawn)
            layout = layered(flow, {key: box.width for key, box in drawn.boxes.items()})
            picture = _svg(layout, flow, drawn.boxes)
            return f"<div>{picture}<details><summary>text</summary><pre>{text}</pre></details></div>"
    return f"<pre>{text}</pre>"


def _text(graph: Graph) -> str:
    """The text of the graph; of a large one a view, and of that no more than can be scrolled through."""
    if graph.number_of_nodes() <= LINES:
        return dump(graph)
    lines = dump(graph, fold="all").split("\n")
    more = len(lines) - LINES
    return "\n".join(lines if more <= 0 else [*lines[:LINES], f"  ... {more} more lines"])


def _svg(layout: Layout, flow: nx.DiGraph[Any], shown: Mapping[int, Box]) -> str:
    dots = 90  # to the inch
    margin = 10.0
    width, height = layout.width * dots + 2 * margin, layout.layers * LAYER * dots
    elements = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{-margin:.0f} {-LAYER * dots / 2:.0f} {width:.0f} {height:.0f}" font-family="sans-serif" '
        'style="max-width:100%;height:auto">'
    ]
    for points in paths(layout, flow):
        first, *rest = [f"{x * dots:.1f},{y * dots:.1f}" for x, y in points]
        elements.append(f'<path d="M{first} C{" ".join(rest)}" fill="none" stroke="{EDGE}"/>')
        x, y = points[-1][0] * dots, points[-1][1] * dots
        elements.append(
            f'<path d="M{x - 3:.1f},{y - 7:.1f} L{x + 3:.1f},{y - 7:.1f} L{x:.1f},{y:.1f} z" fill="{EDGE}"/>'
        )
    for node, box in shown.items():
        x, y = layout.centres[node][0] * dots, layout.centres[node][1] * LAYER * dots
        wide, high = box.width * dots, HEIGHT * dots
        fill, border = COLOURS[box.kind]
        stroke, thick = (RED, 2) if box.result else (border, 1)
        below = y + high / 2 + 10
        elements += [
            f'<rect x="{x - wide / 2:.1f}" y="{y - high / 2:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="6" '
            f'fill="{fill}" stroke="{stroke}" stroke-width="{thick}"/>',
            f'<text x="{x:.1f}" y="{y - 4:.1f}" text-anchor="middle" font-size="11" font-weight="bold" fill="#222">'
            f"{escape(box.title)}</text>",
            f'<text x="{x:.1f}" y="{y + 11:.1f}" text-anchor="middle" font-size="9" font-family="monospace" '
            f'fill="#444">{escape(box.below)}</text>',
            f'<text x="{x + 8:.1f}" y="{below:.1f}" font-size="9" fill="{RED}">{box.result}</text>',
        ]
    return "".join([*elements, "</svg>"])
