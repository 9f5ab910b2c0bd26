"""Positions out of bounds, known only when a graph runs: NumPy's error, and the line of the program that has them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import GraphcError, IndexingError
from graphc.printing import printing_to

X = np.arange(6.0)
KERNELS = ("none", "ufunc", "llvm")


def picked(x: Any, i: Any) -> Any:
    y = np.exp(x)
    return y[i] + 1


def written(x: Any, i: Any) -> Any:
    y = np.zeros_like(x)
    y[i] = x[0]
    return y


def added(x: Any, i: Any) -> Any:
    y = np.ones_like(x)
    np.add.at(y, i, 2.0)
    return y


def counted(x: Any, i: Any) -> Any:
    return np.bincount(i, minlength=6) * x


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(
    ("f", "line", "op"), [(picked, 2, "gather"), (written, 2, "last_write"), (added, 2, "last_write")]
)
@pytest.mark.parametrize("bad", [6, -7, 2**40])
def test_the_line_and_the_position(f: Callable[..., Any], line: int, op: str, bad: int, kernels: str) -> None:
    if kernels == "llvm":
        pytest.importorskip("llvmlite")
    with pytest.raises(IndexError) as numpys:
        f(X.copy(), np.array([0, bad]))
    for compiled in (graphc.compile(f, "f64[n]", "i64[k]", kernels=kernels), graphc.jit(f, kernels=kernels)):
        np.testing.assert_array_equal(compiled(X, np.array([0, -6])), f(X.copy(), np.array([0, -6])))
        with pytest.raises(IndexingError) as caught:
            compiled(X, np.array([0, bad]))
        error = caught.value
        assert error.problem == str(numpys.value) == f"index {bad} is out of bounds for axis 0 with size 6"
        assert (error.expected, error.actual) == ("an index from -6 to 5", str(bad))
        assert error.loc is not None
        assert error.loc.file == __file__
        assert error.loc.line == inspect.getsourcelines(f)[1] + line
        assert f" = {op}[" in str(error.graph_line)
        assert error.fix


@pytest.mark.parametrize("size", [1, 20_000])
def test_large_and_small_arrays(size: int) -> None:
    f = graphc.compile(picked, "f64[n]", "i64[k]")
    with pytest.raises(IndexingError, match=f"index {size} is out of bounds for axis 0 with size {size}"):
        f(np.zeros(size), np.arange(2 * size))


def test_an_empty_axis() -> None:
    with pytest.raises(IndexingError, match=r"no index \(the axis is empty\)"):
        graphc.compile(picked, "f64[n]", "i64[k]")(np.ones(0), np.array([0]))


@pytest.mark.parametrize("kernels", KERNELS)
def test_every_step_that_takes_positions(kernels: str) -> None:
    """Which of the steps raised is seen by the line of the generated text."""
    if kernels == "llvm":
        pytest.importorskip("llvmlite")

    def f(x: Any, y: Any, i: Any, j: Any) -> Any:
        a = np.tanh(x)[i]
        b = np.sinh(y)[j]
        return a * b

    start = inspect.getsourcelines(f)[1]
    compiled = graphc.compile(f, "f64[n]", "f64[m]", "i64[k]", "i64[k]", kernels=kernels)
    good, bad = np.array([0, 1]), np.array([0, 9])
    for positions, line in (((bad, good), 1), ((good, bad), 2), ((bad, bad), 1)):
        with pytest.raises(IndexingError) as caught:
            compiled(X, X, *positions)
        assert caught.value.loc is not None
        assert caught.value.loc.line == start + line


def test_derivatives_name_the_line_of_the_function() -> None:
    def loss(x: Any, i: Any) -> Any:
        return np.sum(x[i])

    with pytest.raises(IndexingError) as caught:
        graphc.grad(loss)(X, np.array([0, 6]))
    assert caught.value.loc is not None
    assert caught.value.loc.line == inspect.getsourcelines(loss)[1] + 1


def test_a_graph_without_places_names_the_call() -> None:
    graph = graphc.parse("graph f(%x: f64[n], %i: i64[k]) -> f64[k] { %2: f64[k] = gather[axis=0](%x, %i) return %2 }")
    compiled = graphc.compile(graph)
    with pytest.raises(IndexingError, match=r"compiled\(X, np.array"):
        compiled(X, np.array([6]))


def test_the_errors_of_ones_own_code_stay_what_they_are() -> None:
    def fail(x: Any) -> Any:
        return {"list": [1.0]}["list"][7]

    def f(x: Any, i: Any) -> Any:
        return x[i] + graphc.pure_callback(fail, "f64[]", x)

    with pytest.raises(IndexError, match="list index out of range") as caught:
        graphc.jit(f)(X, np.array([0]))
    assert not isinstance(caught.value, GraphcError)

    def emit(text: str) -> None:
        raise IndexError("index 9 is out of bounds for axis 0 with size 3")

    def g(x: Any, i: Any) -> Any:
        graphc.debug_print("{}", x)
        return x[i]

    with printing_to(emit), pytest.raises(IndexError) as caught:
        graphc.jit(g)(X, np.array([0]))
    assert not isinstance(caught.value, GraphcError)


def test_numbers_of_bins_that_lie_outside() -> None:
    with pytest.raises(IndexingError, match=r"np\.bincount\(i, minlength=6\)"):
        graphc.jit(counted)(X, np.array([0, 6]))
