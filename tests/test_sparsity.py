"""Zeros that Jacobians must have: what the analysis says of every op, how directions are grouped, what comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import graphc
from graphc.ir import Graph
from graphc.ops import TABLE
from graphc.passes.derive import jvp_graph
from graphc.passes.sparsity import PLACING, colours, dependence
from graphc.verification.batches import one_node
from graphc.verification.cases import cases, rounded
from graphc.verification.limits import emitted
from tests.test_jacobians import by_rows, rosenbrock, run
from tests.test_transforms import close

Function = Callable[..., Any]
RNG = np.random.default_rng(12)
N = 24
X = RNG.normal(size=N)
ANY = 10**9
TRANSFORMS = pytest.mark.parametrize("transform", [graphc.jacfwd, graphc.jacrev])
FLOATS = [name for name, op in TABLE.items() if not op.opaque and any(case.floats for case in cases(op))]


def changed(graph: Graph, operands: list[Any], position: int) -> Any:
    """Marks where an element of the result changes with one of the operand."""
    (before,) = emitted(graph, operands)
    x = operands[position]
    rows = []
    for place in np.ndindex(x.shape):
        other = x.copy()
        other[place] += 2.0**-7
        (after,) = emitted(graph, [*operands[:position], other, *operands[position + 1 :]])
        rows.append((before != after) & ~(np.isnan(before) & np.isnan(after)))
    return np.array(rows, bool).reshape(x.size, *before.shape)


@pytest.mark.parametrize("name", FLOATS)
def test_what_changes_is_marked(name: str) -> None:
    """Every change is marked; of ops that only place elements, nothing else is."""
    for case in cases(TABLE[name]):
        graph = one_node(case)
        operands = [rounded(v, t.dtype) for v, t in zip(case.operands, case.types, strict=True)]
        for k in case.floats:
            marks = dependence(graph, k, ANY)
            if marks is None:
                assert not case.op.elementwise
                continue
            (own,) = marks
            actual = changed(graph, operands, k)
            assert own is not None
            assert own.shape == actual.shape
            assert not (actual & ~own).any()
            if name in PLACING and case.result.shape:
                assert np.array_equal(own, actual)


def test_indices_have_to_be_known() -> None:
    held = graphc.trace(lambda x: x[(np.arange(6) * 5) % 6], "f64[6]")
    (marks,) = dependence(held, 0, ANY) or [None]
    assert np.array_equal(marks, np.eye(6, dtype=bool)[:, (np.arange(6) * 5) % 6])
    assert dependence(graphc.trace(lambda x, i: x[i], "f64[6]", "i64[2]"), 0, ANY) is None
    assert dependence(graphc.trace(lambda x: x[np.argsort(x)], "f64[6]"), 0, ANY) is None
    assert dependence(graphc.trace(lambda x: x * 2, "f64[n]"), 0, ANY) is None


def test_the_search_ends_where_there_are_few_zeros() -> None:
    graph = graphc.trace(lambda x: np.sum(x) * x, "f64[24]")
    assert dependence(graph, 0, 23) is None
    assert dependence(graph, 0, 24) is not None
    large = graphc.trace(lambda x: x * 2, "f64[5000]")
    assert dependence(large, 0, ANY) is None


def test_results_that_do_not_depend_have_no_marks() -> None:
    graph = graphc.trace(lambda x, y: (x, y, x * y), "f64[2]", "f64[2]")
    first, second, both = dependence(graph, 0, ANY) or []
    assert second is None
    assert np.array_equal(first, np.eye(2, dtype=bool))
    assert np.array_equal(both, np.eye(2, dtype=bool))


@given(hnp.arrays(bool, st.tuples(st.integers(0, 12), st.integers(0, 12))))
def test_rows_of_one_colour_do_not_meet(marks: Any) -> None:
    found = colours(marks, max(1, len(marks)))
    assert found is not None
    for colour in set(found.tolist()):
        assert marks[found == colour].sum(axis=0).max(initial=0) <= 1
    count = int(found.max(initial=0)) + 1
    assert colours(marks, count) is not None
    if count > 1:
        assert colours(marks, count - 1) is None


def test_a_band_takes_as_many_colours_as_it_is_wide() -> None:
    distance = np.abs(np.arange(50)[:, None] - np.arange(50))
    for width in range(5):
        found = colours(distance <= width, 50)
        assert found is not None
        assert found.max() == 2 * width
    hessian = graphc.trace(graphc.grad(rosenbrock), "f64[50]")
    (marks,) = dependence(jvp_graph(hessian, (0,)), 1, ANY) or [None]
    assert np.array_equal(marks, distance <= 1)


def directions(f: Function, *specs: Any) -> list[int]:
    """How many directions a traced derivative takes: the rows of a table of unit vectors, or of sums of them."""
    graph = graphc.trace(f, *specs)
    found = []
    for data in graph._node.values():
        if data["op"] == "eq":  # a table that is computed from the numbers of elements
            found.append(data["type"].shape[0])
        elif data["op"] == "const" and data["type"].dtype.kind == "f" and data["type"].ndim > 1:
            table = data["attrs"][0][1].array
            if np.isin(table, (0, 1)).all() and (table.sum(axis=0) == 1).all():
                found.append(len(table))
    return found


def stencil(x: Any) -> Any:
    """A difference equation with a jump, a weight and a gather."""
    inner = np.where(x[1:-1] > 0, x[:-2] * x[2:], np.sin(x[1:-1]))
    return np.concatenate([x[:1] ** 2, inner * np.arange(1.0, N - 1), x[-1:]]) / np.exp(x[::-1][::-1])


def recurrence(x: Any) -> Any:
    """The same kind of thing with writes in place."""
    y = np.zeros_like(x)
    y[1:] = x[1:] - x[:-1] ** 2
    y[:1] += x[:1]
    return y


PROGRAMS: tuple[tuple[str, Function, Any, int], ...] = (
    ("elementwise", lambda x: np.tanh(x) * x, X, 1),
    ("stencil", stencil, X, 3),
    ("writes in place", recurrence, X, 2),
    ("blocks", lambda x: np.cumprod(np.sin(x.reshape(6, 4)), axis=0)[:1], X, 1),
    ("sums of blocks", lambda x: np.sum(np.exp(x.reshape(8, 3)), axis=1), X, 3),
    ("products of blocks", lambda x: x.reshape(8, 1, 3) @ np.ones((3, 2)), X, 3),
    ("gather", lambda x: x[(np.arange(N) * 5) % N] * x[::-1], X, 3),
    ("matrix", lambda x: x.T * 2 + np.pad(x[1:, :], ((0, 1), (0, 0))).T, X.reshape(6, 4), 2),
    ("outer product", lambda x: x[:, None] * np.ones(3), X, 1),
    ("repeat and roll", lambda x: np.repeat(np.roll(x, 2), 2), X, 1),
    ("constant in part", lambda x: np.concatenate([x[:3] ** 2, np.ones(4)]), X, 1),
)


@pytest.mark.parametrize(("f", "x", "count"), [row[1:] for row in PROGRAMS], ids=[row[0] for row in PROGRAMS])
def test_grouped_directions_give_every_element(f: Function, x: Any, count: int) -> None:
    expected = by_rows(f, x)
    for transform in (graphc.jacfwd, graphc.jacrev):
        found = run(transform(f), x)
        close(found, expected, 1e-14)
        assert np.array_equal(found == 0, expected == 0)
        close(transform(f)(x), expected, 1e-14)
        single = run(transform(f), x.astype(np.float32))
        np.testing.assert_allclose(single, expected, rtol=2e-4, atol=1e-5)
    assert directions(graphc.jacfwd(f), x) == [count]


def test_hessians_take_the_width_of_their_band() -> None:
    assert directions(graphc.hessian(rosenbrock), "f64[100]") == [3]
    close(graphc.hessian(rosenbrock)(X), by_rows(graphc.grad(rosenbrock), X), 1e-14)
    third = graphc.jacfwd(graphc.hessian(lambda x: np.sum(x[1:] ** 3 * x[:-1])))(X)
    expected = np.zeros((N, N, N))
    for k in range(N - 1):
        expected[k + 1, k + 1, k + 1] = 6 * X[k]
        for place in ((k, k + 1, k + 1), (k + 1, k, k + 1), (k + 1, k + 1, k)):
            expected[place] = 6 * X[k + 1]
    close(third, expected)


@TRANSFORMS
def test_trees_of_results_and_arguments(transform: Function) -> None:
    def f(p: Any) -> Any:
        return {"a": p["x"] ** 2 * p["s"], "b": (p["x"][1:] - p["x"][:-1], p["s"] * 2)}

    p = {"x": X, "s": 3.0}
    found = transform(f)(p)
    close(found["a"]["x"], np.diag(6 * X))
    close(found["a"]["s"], X**2)
    close(found["b"][0]["x"], np.eye(N)[1:] - np.eye(N)[:-1])
    close(found["b"][0]["s"], np.zeros(N - 1))
    close(found["b"][1]["x"], np.zeros(N))
    assert found["b"][1]["s"] == 2.0


def test_in_batches_and_derivatives() -> None:
    rows = RNG.normal(size=(3, N))
    found = graphc.vmap(graphc.hessian(rosenbrock))(rows)
    close(found, np.stack([graphc.hessian(rosenbrock)(r) for r in rows]))
    slope = graphc.grad(lambda x: np.sum(graphc.jacobian(np.sin)(x) ** 2))(X)
    close(slope, -2 * np.sin(X) * np.cos(X))


def test_zeros_are_zeros_beside_poles() -> None:
    x = np.zeros(N)
    found = graphc.jacfwd(np.log)(x)
    assert np.isinf(np.diag(found)).all()
    assert not found[~np.eye(N, dtype=bool)].any()


@TRANSFORMS
def test_few_zeros_take_all_directions(transform: Function) -> None:
    w = RNG.normal(size=(N, N))
    assert directions(transform(lambda x: np.tanh(w @ x)), X) == [N]
    assert directions(transform(lambda x: np.cumsum(x)), X) == [N]
    assert directions(transform(lambda x: x * np.sum(x)), X) == [N]
    assert directions(transform(np.sin), np.ones(5)) == [5]
    close(transform(lambda x: np.cumsum(np.sin(x)))(X), np.tril(np.ones((N, N))) * np.cos(X))
