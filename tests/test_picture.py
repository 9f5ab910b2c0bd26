"""Pictures of graphs: what stands in them, how they are laid out, how files are written."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

import graphc
from graphc.errors import IRError, TraceError, UnsupportedError
from graphc.inspection import draw, repr_html
from graphc.inspection.boxes import COLOURS, WIDEST, Box, flow_of, parts
from graphc.inspection.layout import layered
from graphc.ir import Graph


def loss(w, x):
    return np.mean(np.log1p(np.exp(-(x @ w)))) + 0.5 * np.sum(w * w)


@pytest.fixture(scope="module")
def gradient() -> Graph:
    return graphc.compile(graphc.value_and_grad(loss), "f64[3]", "f64[n,3]").passes[-1].graph


def boxes(graph: Graph) -> dict[int, Box]:
    return dict(parts(graph).boxes)


def long_chain(length: int) -> Graph:
    def f(x):
        for _ in range(length):
            x = np.sin(x)
        return x

    return graphc.trace(f, "f64[n]")


def test_boxes_say_what_the_dump_says(gradient: Graph) -> None:
    shown = boxes(gradient)
    text = graphc.dump(gradient, locations=False)
    for box in shown.values():
        if box.kind != "input":
            label, type_ = box.below.split(": ", 1)
            assert f"  {label}: {type_} = {box.title.split('(')[0].split(' ')[0]}" in text
    assert {box.title for box in shown.values() if box.kind == "input"} == {"w", "x"}
    assert {box.result for box in shown.values()} == {"", "result 0", "result 1"}


def test_linear_algebra_is_shown_as_products_are() -> None:
    graph = graphc.trace(lambda a, b: np.linalg.solve(a, a @ b).sum() + np.linalg.det(a), "f64[n,n]", "f64[n,n]")
    kinds = {box.title.split("(")[0]: box.kind for box in boxes(graph).values()}
    assert kinds["solve"] == kinds["det"] == kinds["matmul"] == "reduction"


def test_kinds(gradient: Graph) -> None:
    kinds = {
        box.title.split("(")[0].split(" ")[0]: box.kind for box in boxes(gradient).values() if box.kind != "derivative"
    }
    assert kinds["reduce_sum"] == "reduction"
    assert kinds["reshape"] == "structure"
    assert kinds["dim"] == "constant"
    assert kinds["div"] == "elementwise"
    every = {box.kind for box in boxes(gradient).values()}
    assert "derivative" in every
    assert every <= COLOURS.keys()


def test_literals_and_axes_stand_in_titles() -> None:
    graph = graphc.trace(lambda x: np.sum(2.5 - x, axis=1), "f64[n,2]")
    assert [box.title for box in boxes(graph).values()] == ["x", "sub(2.5, ·)", "reduce_sum axes=1"]


def random_flow(seed: int, size: int = 40) -> nx.DiGraph:
    rng = np.random.default_rng(seed)
    flow: nx.DiGraph = nx.DiGraph()
    flow.add_nodes_from(range(size))
    for node in range(1, size):
        for a in rng.choice(node, size=min(node, int(rng.integers(0, 3))), replace=False):
            flow.add_edge(int(a), node, port=float(rng.choice([-0.1, 0.1])))
    return flow


@pytest.mark.parametrize("seed", range(8))
def test_boxes_never_overlap_and_arrows_point_down(seed: int) -> None:
    flow = random_flow(seed)
    widths = {node: 0.6 + node % 3 for node in flow}
    layout = layered(flow, widths)
    assert layout.centres.keys() == set(flow)
    for y in range(layout.layers):
        row = sorted((layout.centres[n][0], n) for n in flow if layout.centres[n][1] == y)
        for (x0, a), (x1, b) in pairwise(row):
            assert x1 - x0 > (widths[a] + widths[b]) / 2
    for (a, b), route in layout.routes.items():
        assert route[0] == layout.centres[a]
        assert route[-1][0] == pytest.approx(layout.centres[b][0] + flow.edges[a, b]["port"])
        assert [y for _, y in route] == list(np.arange(layout.centres[a][1], layout.centres[b][1] + 1))
        # on the way an edge passes beside the boxes
        for x, y in route[1:-1]:
            for n in flow:
                if layout.centres[n][1] == y:
                    assert abs(layout.centres[n][0] - x) > widths[n] / 2


def test_a_layout_is_the_same_every_time() -> None:
    flow = random_flow(3)
    widths = dict.fromkeys(flow, 1.0)
    assert layered(flow, widths) == layered(flow, widths)


def test_an_edge_runs_straight_where_it_can() -> None:
    layout = layered(nx.path_graph(6, create_using=nx.DiGraph), dict.fromkeys(range(6), 1.0))
    assert len({x for x, _ in layout.centres.values()}) == 1


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_draw_writes_a_file(gradient: Graph, tmp_path: Path, ending: str) -> None:
    pytest.importorskip("matplotlib")
    path = draw(gradient, tmp_path / f"graph.{ending}", title="a title")
    assert path == tmp_path / f"graph.{ending}"
    assert path.stat().st_size > 8_000
    assert list(tmp_path.iterdir()) == [path]


def test_draw_into_axes(gradient: Graph) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(4, 3))
    axes = figure.subplots()
    assert draw(gradient, axes, legend=False) is axes
    words = {text.get_text() for text in axes.texts}
    assert {"w", "x"} <= words
    assert any(word.startswith("reduce_sum") for word in words)


def test_a_failed_picture_leaves_the_old_file(gradient: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure
    path = tmp_path / "graph.png"
    path.write_bytes(b"old")

    def fail(self, target, **_):
        Path(target).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        draw(gradient, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_large_graphs_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r'(?s)too many nodes.*at most 400.*501.*fold="all".*dump'):
        draw(long_chain(500), "never.png")


def network(x, layers):
    for w in layers:
        x = layer(x, w)
    return np.sum(x)


def layer(x, w):
    return np.tanh(x @ w)


@pytest.fixture(scope="module")
def deep() -> Graph:
    return graphc.compile(graphc.value_and_grad(network), "f64[n,4]", ["f64[4,4]"] * 6).passes[-1].graph


def test_a_folded_picture_has_a_box_for_each_section(deep: Graph) -> None:
    drawn = parts(deep, "function")
    named = [box for box in drawn.boxes.values() if box.kind != "input"]
    assert [box.title for box in named] == ["6 x layer", "reduce_sum axes=0, 1", "derivative of layer"]
    assert [box.kind for box in named] == ["folded", "reduction", "derivative"]
    assert [box.folded for box in named] == [True, False, True]
    assert named[0].below.startswith("12 nodes → ")
    assert named[-1].result == "result 1"
    assert set(drawn.owners) >= {node for node in deep if deep.nodes[node]["args"]}


@pytest.mark.parametrize("fold", [None, "function", "repeat", "all"])
def test_the_flow_between_boxes_is_that_between_their_nodes(deep: Graph, fold: str | None) -> None:
    drawn = parts(deep, fold)  # type: ignore[arg-type]
    flow = flow_of(deep, drawn)
    assert nx.is_directed_acyclic_graph(flow)
    expected = {
        (drawn.owners[a], drawn.owners[node])
        for node, data in deep.nodes(data=True)
        for a in data["args"]
        if node in drawn.owners and a in drawn.owners and drawn.owners[a] != drawn.owners[node]
    }
    assert set(flow.edges) == expected
    assert set(flow) == set(drawn.boxes)


def test_a_folded_picture_of_a_graph_too_large_to_draw(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert draw(long_chain(500), tmp_path / "folded.png", fold="repeat").stat().st_size > 3_000


def test_long_words_are_shortened() -> None:
    long = "x" * 80
    x = graphc.symbol(long, "f64[a_rather_long_name_of_a_size,another_long_name_of_a_size]")
    graph = graphc.compile([x], [np.sin(x) + 1]).graph
    for box in boxes(graph).values():
        assert len(box.title) <= WIDEST
        assert len(box.below) <= WIDEST + 2
    assert boxes(graph)[0].title == "x" * 17 + "…" + "x" * 18


def test_a_large_constant_is_described() -> None:
    eye = np.eye(9)
    graph = graphc.trace(lambda x: x @ eye, "f64[n,9]")
    assert ("the identity", "%eye: f64[9,9]") in {(box.title, box.below) for box in boxes(graph).values()}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda: graphc.compile(np.sin, "f64[n]"), r"a Compiled is no graph.*draw\(x\.graph\)"),
        (lambda: np.sin, r"a ufunc is no graph.*draw\(graphc\.trace"),
        (lambda: "loss", r"a str is no graph.*graphc\.trace"),
    ],
)
def test_what_is_no_graph_is_refused(given, words: str) -> None:
    with pytest.raises(TraceError, match=f"(?s)draw: {words}"):
        draw(given(), "never.png")


def test_an_unknown_fold_is_refused(deep: Graph) -> None:
    with pytest.raises(IRError, match="no fold 'loops'"):
        draw(deep, "never.png", fold="loops")  # type: ignore[arg-type]


def test_without_matplotlib(gradient: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UnsupportedError, match=r"graphc\[plot\]"):
        draw(gradient, "never.png")


def test_a_graph_with_nothing_in_it() -> None:
    empty = graphc.trace(lambda: (), *())
    assert "<svg" in repr_html(empty)


def test_notebooks_see_a_drawing(gradient: Graph) -> None:
    html = gradient._repr_html_()
    svg = html[html.index("<svg") : html.index("</svg>") + 6]
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    shown = boxes(gradient)
    assert len(root.findall(f"{space}rect")) == len(shown)
    titles = [text.text for text in root.findall(f"{space}text")][::3]
    assert titles == [box.title for box in shown.values()]
    assert "-&gt;" in html[html.index("<pre>") :]


def test_notebooks_see_a_large_graph_folded() -> None:
    html = repr_html(long_chain(100))
    assert "100 x (sin)" in html
    assert "%x.100: f64[n] = sin(%x.99)" in html
    larger = repr_html(long_chain(2000))
    assert "2000 x (sin)" in larger
    assert "# a view of 2000 nodes" in larger
    assert len(larger) < 5_000


def test_notebooks_see_the_beginning_of_a_large_graph_that_does_not_fold() -> None:
    picks = np.random.default_rng(0).uniform(size=(3000, 3)).tolist()

    def f(x):
        values = [x]
        for first, second, which in picks:
            a, b = (values[int(u * len(values))] for u in (first, second))
            values.append([a * b, np.sin(a), a + b, np.exp(b)][int(4 * which)])
        return values

    html = repr_html(graphc.trace(f, "f64[2]"))
    assert html.startswith("<pre># a view of ")
    assert html.count("\n") <= 401


def test_names_are_escaped() -> None:
    x = graphc.symbol("<b>", "f64[]")
    html = repr_html(graphc.compile([x], [x + 1]).graph)
    assert "<b>" not in html
    assert "&lt;b&gt;" in html
