"""The pass that batches a graph: its law on every op, once, twice, and together with derivatives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.dims import symbol
from graphc.errors import UnsupportedError
from graphc.inspection.counting import work_of
from graphc.ir import Graph
from graphc.ops import TABLE
from graphc.ops.batching import rule_of
from graphc.passes.batch import batched_graph
from graphc.passes.derive import jvp_graph, vjp_graph
from graphc.verification.batches import batching, one_node, rows_of
from graphc.verification.cases import Case, cases, samples
from graphc.verification.limits import emitted

KNOWN = [name for name, op in TABLE.items() if not op.opaque and rule_of(op) is not None]
SMOOTH = [name for name in KNOWN if TABLE[name].rule is not None]
ROWS = 3


def trials(name: str) -> Iterator[tuple[Case, Graph, list[list[Any]]]]:
    """An op on each of its samples: the graph of it alone, and operands for three rows."""
    op = TABLE[name]
    for case, sample in zip(cases(op), samples(op), strict=True):
        yield case, one_node(case), rows_of(case, sample, ROWS)


def near(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    assert found.dtype == wanted.dtype


@pytest.mark.parametrize("name", KNOWN)
def test_rows_at_once_are_rows_one_by_one(name: str) -> None:
    assert list(batching(TABLE[name])) == []


@pytest.mark.parametrize("name", KNOWN)
def test_a_batch_of_batches(name: str) -> None:
    for _, graph, rows in trials(name):
        count = len(graph.inputs)
        once, carried = batched_graph(graph, [True] * count, ROWS)
        assert carried == (True,)
        inner = [np.stack([row[k] for row in rows]) for k in range(count)]
        expected = np.stack([emitted(once, [np.roll(x, turn, 0) for x in inner])[0] for turn in range(2)])
        outer = [np.stack([np.roll(x, turn, 0) for turn in range(2)]) for x in inner]
        for size in (2, symbol("turns")):
            twice, _ = batched_graph(once, [True] * count, size)
            graphc.compiler.check(twice)
            near(emitted(twice, outer)[0], expected)
        # only the first operand has rows of rows
        part, _ = batched_graph(once, [k == 0 for k in range(count)], 2)
        mixed = [outer[0], *inner[1:]]
        expected = np.stack([emitted(once, [outer[0][turn], *inner[1:]])[0] for turn in range(2)])
        near(emitted(part, mixed)[0], expected)


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_of_rows_are_rows_of_derivatives(name: str) -> None:
    for case, graph, rows in trials(name):
        if not case.floats or not case.result.differentiable:
            continue
        for wrt in ({*case.floats}, {case.floats[0]}):
            operands = [np.stack([row[k] for row in rows]) if k in wrt else rows[0][k] for k in range(len(case.types))]
            flags = [k in wrt for k in range(len(case.types))]
            whole, _ = batched_graph(graph, flags, ROWS)
            rng = np.random.default_rng(1)
            ct = rng.normal(size=(ROWS, *case.result.shape))
            gradients = emitted(vjp_graph(whole, sorted(wrt)), [*operands, ct])
            each, carried = batched_graph(vjp_graph(graph, sorted(wrt)), [*flags, True], ROWS)
            for one, all_rows, has_rows in zip(emitted(each, [*operands, ct]), gradients, carried, strict=True):
                near(one if has_rows else np.broadcast_to(one, all_rows.shape), all_rows)
            along = [rng.normal(size=operands[k].shape) for k in sorted(wrt)]
            (tangent,) = emitted(jvp_graph(whole, sorted(wrt)), [*operands, *along])
            each, carried = batched_graph(jvp_graph(graph, sorted(wrt)), [*flags, *(True for _ in along)], ROWS)
            (one,) = emitted(each, [*operands, *along])
            near(one if carried[0] else np.broadcast_to(one, tangent.shape), tangent)


def test_only_user_code_has_no_rule() -> None:
    missing = {name for name, op in TABLE.items() if rule_of(op) is None}
    assert missing == {"const", "dim", "iota", "pi", "pure_callback"}


def test_outputs_say_whether_they_have_rows() -> None:
    graph = graphc.trace(lambda x, y: (x * y, y + 1, x), "f64[3]", "f64[3]")
    assert batched_graph(graph, (True, False), 4)[1] == (True, False, True)
    assert batched_graph(graph, (False, True), 4)[1] == (True, True, False)
    same, carried = batched_graph(graph, (False, False), 4)
    assert carried == (False, False, False)
    assert same.canonical()[1:] == graph.canonical()[1:]


def test_the_graph_grows_by_what_lines_axes_up_alone() -> None:
    def f(x: Any, w: Any) -> Any:
        for _ in range(100):
            x = np.tanh(x * w)
        return x

    graph = graphc.trace(f, "f64[3]", "f64[3]")
    assert len(batched_graph(graph, (True, True), 5)[0]) == len(graph)
    assert len(batched_graph(graph, (True, False), 5)[0]) == len(graph)


def test_a_matrix_takes_all_rows_in_one_product() -> None:
    for f, specs in ((lambda x, w: x @ w, ("f64[3]", "f64[3,5]")), (lambda x, w: w @ x, ("f64[3]", "f64[5,3]"))):
        graph, _ = batched_graph(graphc.trace(f, *specs), (True, False), 7)
        (product,) = [d for d in graph._node.values() if d["op"] == "matmul"]
        assert product["type"].shape == (7, 5)
        found = work_of(TABLE["matmul"], product["type"], [graph._node[a]["type"] for a in product["args"]], {})
        assert found["mul"] == 7 * 5 * 3


def test_regions_and_guards_are_kept() -> None:
    graph = graphc.trace(lambda x, y: x + y, "f64[n]", "f64[m]")
    batch, _ = batched_graph(graph, (True, False), symbol("rows"))
    assert batch.guards == graph.guards
    graphc.compiler.check(batch)


def test_python_code_is_refused_with_its_line() -> None:
    graph = graphc.trace(lambda x: graphc.pure_callback(np.sort, "f64[3]", x), "f64[3]")
    with pytest.raises(UnsupportedError, match=r"numpy\.sort") as raised:
        batched_graph(graph, (True,), 2)
    assert raised.value.loc is not None
