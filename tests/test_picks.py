"""Gathers at constant, evenly spaced positions are slices, and others stay as they are: what they give is NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.compiler import Compiled
from graphc.ir import Builder, TensorType
from graphc.ops.world import GraphWorld, Value
from graphc.passes.pipeline import simplify

X = np.arange(1.0, 13.0)
M = X.reshape(3, 4)

SLICES: tuple[tuple[str, Callable[[Any], Any], Any], ...] = (
    ("adjacent", lambda x: x[np.arange(2, 9)], X),
    ("all", lambda x: x[np.arange(12)], X),
    ("every third", lambda x: x[np.arange(1, 12, 3)], X),
    ("backwards to the first", lambda x: x[np.arange(7, -1, -1)], X),
    ("backwards", lambda x: x[np.arange(10, 2, -3)], X),
    ("from the end", lambda x: x[np.array([-3, -2, -1])], X),
    ("of either sign", lambda x: x[np.array([9, -2, 11])], X),
    ("one", lambda x: x[np.array([-1])], X),
    ("small integers", lambda x: x[np.array([4, 6, 8], np.uint8)], X),
    ("rows", lambda x: x[np.array([2, 1])], M),
    ("columns", lambda x: x[:, np.array([0, 2])], M),
    ("a table of adjacent ones", lambda x: x[np.arange(6).reshape(2, 3) + 1], X),
    ("a table of columns", lambda x: x[:, np.array([[0, 1], [2, 3]])], M),
    ("a diagonal", lambda x: x[np.arange(3), np.arange(3)], M),
    ("a diagonal of the last axes", lambda x: x[:, np.arange(2), np.arange(2) + 1], X.reshape(2, 2, 3)),
    ("a row", lambda x: x[np.array([1]), np.arange(4)], M),
)
GATHERS: tuple[tuple[str, Callable[[Any], Any], Any], ...] = (
    ("one place twice", lambda x: x[np.array([3, 3])], X),
    ("unevenly", lambda x: x[np.array([0, 1, 3])], X),
    ("round the end", lambda x: x[np.array([10, 11, 0])], X),
    ("a table of every other one", lambda x: x[np.arange(0, 12, 2).reshape(2, 3)], X),
    ("none", lambda x: x[np.zeros(0, np.int64)], X),
)


def ops(f: Callable[[Any], Any], x: Any, **options: Any) -> set[str]:
    return {data["op"] for data in graphc.compile(f, x, **options).passes[-1].graph._node.values()}


@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "?"])
@pytest.mark.parametrize(("f", "x"), [row[1:] for row in SLICES], ids=[row[0] for row in SLICES])
def test_slices(f: Callable[[Any], Any], x: Any, dtype: str) -> None:
    x = (x % 5).astype(dtype)
    assert "gather" not in ops(f, x)
    for kernels in ("llvm", "none"):
        found = graphc.compile(f, x, kernels=kernels)(x)
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(found, f(x))
        assert not np.shares_memory(found, x)


@pytest.mark.parametrize(("f", "x"), [row[1:] for row in GATHERS], ids=[row[0] for row in GATHERS])
def test_gathers(f: Callable[[Any], Any], x: Any) -> None:
    assert "slice" not in ops(f, x)
    np.testing.assert_array_equal(graphc.compile(f, x)(x), f(x))


def test_an_exact_order_keeps_arrays_of_their_own() -> None:
    """A view may be summed in another order than a copy."""
    f = SLICES[2][1]
    assert "gather" in ops(f, X, exact_order=True)


@pytest.mark.parametrize("bad", [[3, 4, 5, 12], [-13, -12, -11]])
def test_positions_outside_stay_errors_of_the_run(bad: list[int]) -> None:
    w = GraphWorld(Builder("outside"))
    x = Value(w, w.builder.input("x", TensorType((12,), X.dtype)))
    graph = w.builder.finish([w.gather(x, w.constant(np.array(bad)), axis=0).id])
    assert simplify(graph)[0] is graph
    with pytest.raises(IndexError, match=r"index (12|-13) is out of bounds for axis 0 with size 12"):
        Compiled(graph, None, None)(X)


def test_named_sizes_stay_gathers() -> None:
    f = graphc.compile(lambda x: x[np.array([0, 1, 2])], "f64[n]")
    np.testing.assert_array_equal(f(X), X[:3])
    with pytest.raises(IndexError, match="index 2 is out of bounds for axis 0 with size 2"):
        f(X[:2])


def test_derivatives() -> None:
    i = np.arange(11)
    by_positions = graphc.compile(graphc.hessian(lambda x: np.sum(x[i] * x[i + 1] ** 2)), X)
    by_slices = graphc.compile(graphc.hessian(lambda x: np.sum(x[:-1] * x[1:] ** 2)), X)
    np.testing.assert_array_equal(by_positions(X), by_slices(X))
    assert "gather" not in ops(graphc.grad(lambda x: np.sum(x[i] * x[i + 1] ** 2)), X)
