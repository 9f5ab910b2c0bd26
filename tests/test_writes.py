"""The pass that follows writes: random chains keep every bit, and loops become concatenations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc
from graphc.compiler import check
from graphc.ir import Builder, Graph, TensorType
from graphc.ops import TABLE
from graphc.ops.meaning import evaluate
from graphc.ops.structure import sliced_size
from graphc.ops.world import GraphWorld, Value
from graphc.passes import pipeline
from graphc.passes.plan import plan
from graphc.passes.writes import FEWEST_WRITES, forward_writes, span_along

F64 = np.dtype(np.float64)


def values(graph: Graph, arrays: list[Any]) -> list[Any]:
    found = dict(zip(graph.inputs, arrays, strict=True))
    for i, data in graph._node.items():
        if i not in found:
            found[i] = evaluate(TABLE[data["op"]], [found[a] for a in data["args"]], dict(data["attrs"]))
    return [found[o] for o in graph.outputs]


def count(graph: Graph, op: str) -> int:
    return sum(data["op"] == op for data in graph._node.values())


@st.composite
def bounds(draw: Any, size: int) -> tuple[int, int | None, int]:
    kind = draw(st.sampled_from(["whole", "one", "range", "range", "strided"]))
    if kind == "whole" or size == 0:
        return 0, size, 1
    start = draw(st.integers(0, size - 1))
    if kind == "one":
        return start, start + 1, 1
    if kind == "range":
        return start, draw(st.integers(start, size)), 1
    return draw(st.sampled_from([(0, size, 2), (size - 1, None, -1), (size - 1, None, -2)]))


@st.composite
def programs(draw: Any) -> tuple[Graph, list[Any]]:
    """Writes into an array and reads of it, in any order, from inputs, constants and what was read before."""
    shape = draw(st.sampled_from([(6,), (3, 4), (4, 3), (2, 3, 2), (1, 5), (0, 3), (1,)]))
    w = GraphWorld(Builder("program"))
    type = TensorType(shape, F64)
    arrays = [Value(w, w.builder.input(f"x{k}", type)) for k in range(2)]
    parts: list[Any] = []
    for number in range(draw(st.integers(1, 14))):
        index = tuple(draw(bounds(d)) for d in shape)
        size = tuple(sliced_size(*one) for one in index)
        at = draw(st.integers(0, min(2, len(arrays) - 1)))
        if draw(st.integers(0, 3)):
            fitting = [p for p in parts if p.type.shape == size]
            u = (
                draw(st.sampled_from(fitting))
                if fitting and draw(st.booleans())
                else w.full(float(number), TensorType(size, F64))
            )
            arrays.append(w.insert_slice(arrays[-1 - at], u, index=index))
        else:
            parts.append(w.slice(arrays[-1 - at], index=index))
    outputs = [*arrays[-draw(st.integers(1, 2)) :], *parts[-3:]]
    given_arrays = [np.arange(float(np.prod(shape))).reshape(shape) * (k + 1) - 3.5 for k in range(2)]
    return w.builder.finish([o.id for o in outputs]), given_arrays


@settings(max_examples=400, deadline=None)
@given(programs())
def test_every_bit_is_kept(program: tuple[Graph, list[Any]]) -> None:
    graph, arrays = program
    after, applied = forward_writes(graph)
    check(after)
    assert after.output_types == graph.output_types
    for have, want in zip(values(after, arrays), values(graph, arrays), strict=True):
        np.testing.assert_array_equal(have, want, strict=True)
    if not applied:
        assert after is graph
    assert forward_writes(after)[1] == {}, "the pass does not come to an end"
    compiled = graphc.compile(graph)
    for have, want in zip(compiled(*arrays), values(graph, arrays), strict=True):
        np.testing.assert_array_equal(have, want, strict=True)


@pytest.mark.parametrize(
    ("index", "shape", "axis", "expected"),
    [
        (((1, 3, 1),), (5,), None, (1, 3)),
        (((1, 2, 1), (0, 4, 1)), (3, 4), None, (4, 8)),
        (((1, 2, 1), (1, 3, 1)), (3, 4), None, (5, 7)),
        (((1, 2, 1), (2, 3, 1), (0, 2, 1)), (2, 3, 2), None, (10, 12)),
        (((0, 3, 1), (1, 2, 1)), (3, 4), None, None),
        (((0, 3, 1), (1, 2, 1)), (3, 4), 1, (1, 2)),
        (((0, 3, 1), (0, 4, 1)), (3, 4), 1, (0, 4)),
        (((0, 3, 1), (0, 4, 1)), (3, 4), None, (0, 12)),
        (((1, 3, 1), (0, 4, 1)), (3, 4), 1, None),
        (((0, 3, 2),), (5,), 0, None),
        (((4, None, -1),), (5,), 0, None),
    ],
)
def test_spans(index: Any, shape: Any, axis: int | None, expected: tuple[int, int] | None) -> None:
    found = span_along(index, shape, axis)
    assert (None if found is None else (found.start, found.stop)) == expected


def loop(n: int, write: Any, read: Any = None) -> Graph:
    def f(x: Any) -> Any:
        y = np.zeros_like(x)
        for k in range(n):
            write(y, x, k)
        return y if read is None else read(y, x)

    return forward_writes(graphc.trace(f, f"f64[{n},{n}]"))[0]


def test_loops_become_one_concatenation() -> None:
    def rows(y: Any, x: Any, k: int) -> None:
        y[k] = 2 * x[k] + (y[k - 1] if k else 0)

    def columns(y: Any, x: Any, k: int) -> None:
        y[:, k] = x[k]

    def elements(y: Any, x: Any, k: int) -> None:
        for j in range(6):
            y[k, j] = x[j, k] + (y[k, j - 1] if j else 0)

    for write in (rows, columns, elements):
        graph = loop(6, write)
        assert (count(graph, "insert_slice"), count(graph, "concatenate")) == (0, 1)
        x = np.arange(36.0).reshape(6, 6)
        y = np.zeros((6, 6))
        for k in range(6):
            write(y, x, k)
        np.testing.assert_array_equal(graphc.compile(graph)(x)[0], y)


def test_few_writes_that_leave_elements_stay() -> None:
    def some(number: int) -> Graph:
        def f(x: Any) -> Any:
            y = x * 2
            for k in range(number):
                y[2 * k] = k
            return y

        return forward_writes(graphc.trace(f, "f64[40]"))[0]

    assert count(some(FEWEST_WRITES - 1), "insert_slice") == FEWEST_WRITES - 1
    assert count(some(FEWEST_WRITES), "insert_slice") == 0
    assert count(some(FEWEST_WRITES), "concatenate") == 1


@pytest.mark.parametrize("shape", [(3, 0), (2, 0, 4), (0, 3)])
def test_writes_into_what_has_no_elements(shape: tuple[int, ...]) -> None:
    def f(x: Any) -> Any:
        y = x * 2
        for _ in range(5):
            y[1:] += y[:-1]
        return y

    x = np.zeros(shape)
    assert graphc.compile(f, x)(x).shape == shape


def test_an_overwritten_value_is_not_computed() -> None:
    def f(x: Any) -> Any:
        y = np.zeros_like(x)
        y[:] = np.exp(x)
        y[1:] = np.sin(x[1:])
        y[:1] = x[:1]
        return y

    steps = pipeline.run(graphc.trace(f, "f64[4]"), pipeline.PIPELINE)
    assert count(steps[-1].graph, "exp") == 0


def test_an_array_that_is_read_between_stays() -> None:
    def f(x: Any) -> Any:
        total = x.sum()
        for k in range(5):
            x[k] = total
            total = total + (x * x).sum()
        return total

    graph = forward_writes(graphc.trace(f, "f64[5]"))[0]
    assert count(graph, "insert_slice") == 5
    x = np.arange(5.0)
    np.testing.assert_allclose(graphc.compile(graph)(x)[0], f(x.copy()))


def test_symbolic_sizes_stay() -> None:
    def f(x: Any) -> Any:
        for k in range(1, 5):
            x[k : x.shape[0] - k] = k
        return x

    assert count(forward_writes(graphc.trace(f, "f64[n]"))[0], "insert_slice") == 4


def test_writes_reuse_the_array_that_dies() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        y[::2] = 0
        y[1::3] = x[1::3]
        return y

    compiled = graphc.compile(f, "f64[n]")
    nodes = compiled.plan.graph._node
    into = [
        step.into.get(step.nodes[0]) for step in compiled.plan.steps if nodes[step.nodes[0]]["op"] == "insert_slice"
    ]
    assert len(into) == 2
    assert None not in into
    for n in (1, 5, 8):
        np.testing.assert_array_equal(compiled(np.arange(float(n))), f(np.arange(float(n))))


def test_an_argument_and_what_lives_on_are_copied() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        before = y.copy()
        y[::2] = x[::2]
        x[::3] = 7
        return x, y, before

    compiled = graphc.compile(f, "f64[6]")
    x = np.arange(6.0)
    for have, want in zip(compiled(x), f(x.copy()), strict=True):
        np.testing.assert_array_equal(have, want)
    np.testing.assert_array_equal(x, np.arange(6.0))
    exact = plan(compiled.plan.graph, overwrite=False)
    assert not any(step.into for step in exact.steps)
