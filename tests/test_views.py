"""Views of big graphs: what is folded is alike, nothing is lost, and nobody takes a view for the format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import IRError, ParseError, TraceError
from graphc.ir import Graph
from graphc.text.sections import FOLDS, Section, sections
from graphc.text.writing import Writer


def dense(x: Any, w: Any, b: Any) -> Any:
    return np.tanh(x @ w + b)


def network(x: Any, layers: Any) -> Any:
    for w, b in layers:
        x = dense(x, w, b)
    return np.sum(x)


def loop(x: Any, y: Any) -> Any:
    for _ in range(50):
        h = np.sin(x)
        x = h * y + x
    return x


def nested(x: Any) -> Any:
    scale = np.mean(x)
    for _ in range(6):
        for _ in range(5):
            x = np.sin(x) * 2
        x = np.exp(-x) / scale
    return x


def fibonacci(a: Any, b: Any) -> Any:
    for _ in range(10):
        a, b = b, np.sin(a) + b
    return b


def skipping(old: Any, new: Any) -> Any:
    """Blocks alike in ops, each of which takes the result of the block before last."""
    for _ in range(10):
        old, new = new, np.sin(old) * 2
    return new + old


def mixed(x: Any) -> Any:
    """Blocks alike in ops through which values do not flow alike."""
    a = np.sin(x) * 2
    b = np.sin(a) * x
    c = np.sin(x) * b
    return np.sin(b) * c


LAYERS = [("f64[4,4]", "f64[4]")] * 5


def folded(graph: Graph, fold: Any) -> list[int | Section]:
    writer = Writer(graph)
    return sections(graph, [i for i in graph if i not in writer.inline and i not in writer.inputs], fold)


def outline(graph: Graph, items: Any) -> str:
    words = []
    for item in items:
        if isinstance(item, int):
            words.append(graph.nodes[item]["op"])
        else:
            words.append(f"{item.count}*{item.function or ''}({outline(graph, item.body)})")
    return " ".join(words)


def graph_of(f: Any, *specs: Any) -> Graph:
    return graphc.trace(f, *specs)


CASES = [
    (loop, ("f64[n]", "f64[n]"), "repeat", "50*(sin mul add)"),
    (loop, ("f64[n]", "f64[n]"), "function", "sin mul add " * 49 + "sin mul add"),
    (network, ("f64[n,4]", LAYERS), "function", "5*dense(matmul add tanh) reduce_sum"),
    (network, ("f64[n,4]", LAYERS), "repeat", "5*(matmul add tanh) reduce_sum"),
    (network, ("f64[n,4]", LAYERS), "all", "5*dense(matmul add tanh) reduce_sum"),
    (nested, ("f64[n]",), "repeat", "reduce_sum dim cast div 6*(5*(sin mul) neg exp div)"),
    (fibonacci, ("f64[n]", "f64[n]"), "repeat", "10*(sin add)"),
    (skipping, ("f64[n]", "f64[n]"), "repeat", "10*(sin mul) add"),
    (mixed, ("f64[n]",), "repeat", "sin mul sin mul mul sin mul"),
    (lambda x: np.sin(np.sin(np.sin(x))), ("f64[n]",), "repeat", "sin sin sin"),
    (lambda x: np.sin(np.sin(np.sin(np.sin(x)))), ("f64[n]",), "repeat", "4*(sin)"),
    (lambda x: x, ("f64[n]",), "all", ""),
]  # fmt: skip


@pytest.mark.parametrize(("f", "specs", "fold", "expected"), CASES)
def test_what_is_folded(f: Any, specs: Any, fold: str, expected: str) -> None:
    graph = graph_of(f, *specs)
    assert outline(graph, folded(graph, fold)) == expected


def test_layers_of_other_shapes_are_not_alike() -> None:
    layers = [("f64[4,8]", "f64[8]"), ("f64[8,8]", "f64[8]"), ("f64[8,8]", "f64[8]"), ("f64[8,2]", "f64[2]")]
    graph = graph_of(network, "f64[n,4]", layers)
    assert outline(graph, folded(graph, "repeat")) == ("matmul add tanh 2*(matmul add tanh) matmul add tanh reduce_sum")
    assert "dense" in graphc.dump(graph, fold="function")


def test_derivatives_fold_apart_from_what_they_derive() -> None:
    graph = graphc.compile(graphc.value_and_grad(network), "f64[n,4]", LAYERS).passes[-1].graph
    view = graphc.dump(graph, fold="function")
    assert re.search(r"= 5 x dense\(.*\{ 15 nodes \}", view)
    assert re.search(r"= derivative of dense\(", view)


def blocks(graph: Graph, section: Section) -> Iterator[list[int]]:
    size = len(section.nodes) // section.count
    for k in range(section.count):
        yield list(section.nodes[k * size : (k + 1) * size])


@pytest.mark.parametrize("seed", range(30))
def test_blocks_of_a_repetition_do_the_same(seed: int) -> None:
    """On random graphs: every node is shown once and in order, and blocks are the same function of their operands."""
    picks = np.random.default_rng(seed).uniform(size=(60, 3)).tolist()

    def f(x: Any) -> Any:
        values = [x, x + 1]
        for first, second, which in picks:
            a, b = (values[-1 - int(u * min(4, len(values)))] for u in (first, second))
            values.append([lambda a, b: a * b, lambda a, b: np.sin(a), lambda a, b: a + b][int(3 * which)](a, b))
        return values[-1]

    graph = graph_of(f, "f64[3]")
    writer = Writer(graph)
    for fold in FOLDS:
        items = folded(graph, fold)
        order = [n for item in items for n in ([item] if isinstance(item, int) else item.nodes)]
        assert order == [i for i in graph if i not in writer.inline and i not in writer.inputs]
        for section in items:
            if isinstance(section, Section) and section.count > 1:
                shapes = {structure(graph, block) for block in blocks(graph, section)}
                assert len(shapes) == 1


def structure(graph: Graph, block: list[int]) -> Any:
    place = {node: k for k, node in enumerate(block)}
    return tuple(
        (graph.nodes[i]["op"], graph.nodes[i]["type"], tuple(place.get(a, "outside") for a in graph.nodes[i]["args"]))
        for i in block
    )


def test_folding_large_graphs_is_near_linear() -> None:
    """A count of steps, not a time: the flow of values is looked at a bounded number of times for each node."""

    def f(x: Any) -> Any:
        for _ in range(2500):
            x = np.sin(x) * x + np.cos(x)
        return x

    graph = graph_of(f, "f64[n]")
    assert outline(graph, folded(graph, "all")) == "2500*(sin mul cos add)"
    assert len(graphc.dump(graph, fold="all").split("\n")) == 5


# texts


@pytest.fixture(scope="module")
def gradient() -> Graph:
    return graphc.compile(graphc.value_and_grad(network), "f64[n,4]", LAYERS).passes[-1].graph


def lines_replaced(text: str) -> str:
    return re.sub(r"(test_views\.py):[0-9]+(?:-[0-9]+)?", r"\1:LINE", text)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_views(depth: int, golden: Callable[[str, str], None]) -> None:
    graph = graph_of(nested, "f64[n]")
    golden(f"views/depth_{depth}", lines_replaced(graphc.dump(graph, fold="repeat", depth=depth)))


def test_a_view_of_calls(golden: Callable[[str, str], None]) -> None:
    graph = graph_of(network, "f64[n,4]", LAYERS)
    golden("views/calls", lines_replaced(graphc.dump(graph, fold="function", depth=1)))


def test_only(golden: Callable[[str, str], None]) -> None:
    graph = graph_of(network, "f64[n,4]", LAYERS)
    golden("views/only", lines_replaced(graphc.dump(graph, only=["matmul", "network"])))
    lines = graphc.dump(graph, only="%x.2").split("\n")
    assert [line.split(":")[0].strip() for line in lines[2:-2]] == ["... 5 nodes", "%x.2", "... 10 nodes"]
    assert graphc.dump(graph, only="x").count("tanh") == 5


def test_around() -> None:
    graph = graph_of(network, "f64[n,4]", LAYERS)
    text = graphc.dump(graph, around="%x.3", radius=1)
    assert re.findall(r"%(\S+): .* = ", text) == ["18", "x.3", "20"]
    assert graphc.dump(graph, around="x.3", radius=1) == text
    (node,) = [i for i, data in graph.nodes(data=True) if Writer(graph).labels.get(i) == "%x.3"]
    assert graphc.dump(graph, around=node, radius=1) == text
    assert re.findall(r"%(\S+): .* = ", graphc.dump(graph, around="%x.3", radius=0)) == ["x.3"]
    assert re.findall(r"%(\S+): .* = ", graphc.dump(graph, around="%x", radius=1)) == ["11"]
    whole = graphc.dump(graph, around="%x.3", radius=99)
    assert "..." not in whole.partition("{")[2]
    assert len(re.findall(r" = ", whole)) == 16


def test_both() -> None:
    graph = graph_of(network, "f64[n,4]", LAYERS)
    assert re.findall(r"%(\S+): .* = ", graphc.dump(graph, only="tanh", around="%x.3", radius=3)) == [
        "x.2",
        "x.3",
        "x.4",
    ]


@pytest.mark.parametrize("options", [{"fold": "all"}, {"fold": "repeat", "depth": 9}, {"only": "tanh"}, {"around": 11}])
def test_a_view_is_not_read(gradient: Graph, options: Any) -> None:
    view = graphc.dump(gradient, **options)
    assert view.startswith("# a view of ")
    with pytest.raises(ParseError, match=r"(?s)a view of a graph.*dump\(graph\) without fold"):
        graphc.parse(view)


def test_a_view_without_locations(gradient: Graph) -> None:
    assert "#" not in graphc.dump(gradient, fold="all", depth=3, locations=False).partition("\n")[2].replace(
        "# 15 nodes", ""
    ).replace("# 19 nodes", "").replace("# 16 nodes", "")


def test_large_constants_and_guards_in_views() -> None:
    table = np.eye(6)

    def f(x: Any, y: Any) -> Any:
        return (x + y) @ table

    graph = graph_of(f, "f64[n,6]", "f64[m,6]")
    view = graphc.dump(graph, only="matmul")
    assert [str(guard) for guard in graph.guards] == re.findall(r"^  guard (.*)$", view, re.MULTILINE)
    assert "%table: f64[6,6] = the identity" in graphc.dump(graph, fold="all")


def test_opening_everything_shows_every_node_of_the_first_blocks(gradient: Graph) -> None:
    closed, opened = (graphc.dump(gradient, fold="all", depth=d) for d in (0, 99))
    assert len(closed.split("\n")) < 8
    labels = set(re.findall(r"^\s*(%\S+): ", graphc.dump(gradient), re.MULTILINE))
    assert set(re.findall(r"^\s*(%\S+): ", opened, re.MULTILINE)) < labels


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fold": "loops"}, r"(?s)no fold 'loops'.*'function', 'repeat', 'all'"),
        ({"fold": "all", "only": "tanh"}, "fold shows the whole graph"),
        ({"fold": "all", "around": "%x.1"}, "fold shows the whole graph"),
        ({"only": "tan"}, r"(?s)only: network has nothing called tan\b.*did you mean tanh"),
        ({"around": "%y"}, "around: network has nothing called %y"),
        ({"around": 999}, "around: network has nothing called 999"),
        ({"around": "%x.1", "radius": -1}, "radius: expected at least 0"),
    ],
)
def test_wrong_options(options: Any, words: str) -> None:
    with pytest.raises(IRError, match=words):
        graphc.dump(graph_of(network, "f64[n,4]", LAYERS), **options)


def test_a_view_is_text() -> None:
    with pytest.raises(IRError, match="a view is text"):
        graphc.dump(graph_of(network, "f64[n,4]", LAYERS), "json", fold="all")


@pytest.mark.parametrize("name", ["odd name", "a\nb", 'x"y', "<b>", "\u202e"])
def test_odd_names_stay_within_their_lines(name: str) -> None:
    x = graphc.symbol(name, "f64[2]")
    y = x
    for _ in range(5):
        y = np.sin(y)
    graph = graphc.compile([x], [y]).graph
    view = graphc.dump(graph, fold="all")
    assert len(view.split("\n")) == 5
    assert all(line.isprintable() for line in view.split("\n"))


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        (lambda: graphc.compile(np.sin, "f64[n]"), r"dump\(x\.graph\).*dump\(x\.passes\[-1\]\.graph\)"),
        (lambda: np.sin, r'dump\(graphc\.trace\(f, "f64\[n\]"\)\)'),
        (lambda: 3, r"graphc\.trace\(f, \.\.\.\)"),
        (lambda: graphc.symbol("x", "f64[2]"), "is no graph"),
    ],
)
def test_what_is_no_graph(given: Any, fix: str) -> None:
    with pytest.raises(TraceError, match=rf"(?s)dump: a .* is no graph.*{fix}" if "no graph" not in fix else fix):
        graphc.dump(given())
