"""Graphs as SymPy expressions."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import graphc
from graphc.errors import ShapeError
from graphc.symbolic import input_symbols, latex, to_sympy

X = sp.Symbol("x", real=True)


def test_a_scalar_input_is_one_real_symbol() -> None:
    graph = graphc.trace(lambda x: np.tanh(x) / 2 + 0.1, "f64[]")
    assert to_sympy(graph) == sp.tanh(X) / 2 + sp.Rational(*(0.1).as_integer_ratio())
    assert graph.to_sympy() == to_sympy(graph)
    assert not to_sympy(graph).has(sp.Float)


def test_elements_of_an_array_are_numbered() -> None:
    graph = graphc.trace(lambda x, w: x @ w, "f64[2]", "f64[2,2]")
    (x,), w = [a.tolist()[:1] for a in input_symbols(graph)]
    assert (x.name, w[0][1].name) == ("x_0", "w_0_1")
    found = to_sympy(graph)
    a, b = sp.symbols("x_0 x_1", real=True)
    assert found.shape == (2,)
    assert found[0] == a * sp.Symbol("w_0_0", real=True) + b * sp.Symbol("w_1_0", real=True)


def test_several_outputs_are_a_tuple() -> None:
    graph = graphc.trace(lambda x: (np.sin(x), np.maximum(x, 0), x > 1), "f64[]")
    assert to_sympy(graph) == (sp.sin(X), sp.Max(0, X), sp.Lt(1, X))


def test_integers_and_positions_stay_integers() -> None:
    graph = graphc.trace(lambda x, n: x[np.array([2, 0])] * n, "f64[3]", "i64[]")
    n = sp.Symbol("n", integer=True)
    assert to_sympy(graph)[0] == n * sp.Symbol("x_2", real=True)


def test_symbolic_sizes_have_to_be_given() -> None:
    graph = graphc.trace(lambda x: np.mean(x * x), "f64[n]")
    with pytest.raises(ShapeError, match="a number for n"):
        to_sympy(graph)
    assert to_sympy(graph, env={"n": 2}) == sum(sp.Symbol(f"x_{i}", real=True) ** 2 for i in range(2)) / 2


def test_latex() -> None:
    graph = graphc.trace(lambda x: (np.exp(-x * x), np.sqrt(x)), "f64[]")
    assert latex(graph) == r"e^{- x^{2}}, \sqrt{x}"
