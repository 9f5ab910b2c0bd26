"""Pictures of graphs in files and axes, drawn with matplotlib."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import networkx as nx

from graphc.errors import UnsupportedError
from graphc.inspection.boxes import COLOURS, EDGE, HEIGHT, LAYER, RESULT, Box, flow_of, parts, paths
from graphc.inspection.layout import Layout, layered
from graphc.ir import Graph, check_graph
from graphc.text.sections import Fold, check_fold

LIMIT: Final = 400  # boxes; beyond it a picture says less than a text
PIXELS: Final = 12_000  # the longer side of a picture file


def draw(
    graph: Graph, target: Any = None, *, title: str | None = None, legend: bool = True, fold: Fold | None = None
) -> Any:
    """Draw a graph with matplotlib: operands above results, colours by kind, types in the boxes.

    Args:
        graph: 5 to 60 boxes read well; more than 400 are refused.
        target: a file name (PNG, SVG or PDF, by its ending), matplotlib axes to draw into, or None for new axes.
        title: stands above the picture; the graph's name if None.
        legend: whether to explain the colours.
        fold: what to draw as one box, as for `dump`: "function" the calls of each user function, "repeat" blocks of
            nodes that repeat, "all" both.

    Returns:
        The path that was written, or the axes. A file is replaced only when the new picture is complete.

    Raises:
        TraceError: it is no graph.
        UnsupportedError: the graph is too large, or matplotlib is not installed (``pip install graphc[plot]``).

    >>> from graphc import trace
    >>> draw(trace(lambda x, y: x * y + 1, "f64[n]", "f64[n]"), "product.png").name
    'product.png'
    """
    check_graph("draw", graph)
    check_fold(fold)
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnsupportedError(
            "drawing needs matplotlib", fix='pip install "graphc[plot]"; print(graph) needs nothing'
        ) from error
    drawn = parts(graph, fold)
    _refuse_large(graph, len(drawn.boxes), fold)
    flow = flow_of(graph, drawn)
    layout = layered(flow, {key: box.width for key, box in drawn.boxes.items()})
    title = graph.name if title is None else title
    if target is not None and not isinstance(target, (str, os.PathLike)):
        _paint(target, layout, flow, drawn.boxes, title, legend)
        return target
    width, height = _extent(layout, legend)
    if target is None:
        from matplotlib import pyplot

        axes = pyplot.figure(figsize=(width, height)).add_axes((0, 0, 1, 1))
        _paint(axes, layout, flow, drawn.boxes, title, legend)
        return axes
    # a figure of its own, apart from pyplot: nothing to close, no window, safe in threads
    figure = Figure(figsize=(width, height))
    _paint(figure.add_axes((0, 0, 1, 1)), layout, flow, drawn.boxes, title, legend)
    path = Path(target)
    with mpl.rc_context({"svg.hashsalt": "graphc"}):
        _save(figure, path)
    return path


def _refuse_large(graph: Graph, count: int, fold: Fold | None) -> None:
    if count > LIMIT:
        folded = 'fold="all"; or ' if fold is None else ""
        raise UnsupportedError(
            f"{graph.name} has too many nodes for a picture",
            expected=f"at most {LIMIT} boxes",
            actual=str(count),
            fix=f'{folded}read its text, print(graph); or write dump(graph, "dot") to a file for Graphviz',
        )


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
    for points in paths(layout, flow):
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
