"""Jacobians and Hessians as batches: against a pullback for each row, for all sizes, and how large their graphs are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from tests.test_transforms import FUNCTIONS, close, scalar

Function = Callable[..., Any]
EACH = pytest.mark.parametrize(("f", "x"), [row[1:] for row in FUNCTIONS], ids=[row[0] for row in FUNCTIONS])
TRANSFORMS = pytest.mark.parametrize("transform", [graphc.jacfwd, graphc.jacrev])
RNG = np.random.default_rng(8)


def run(f: Function, *args: Any) -> Any:
    return graphc.compile(f, *args, kernels="none")(*args)


def by_rows(f: Function, x: Any) -> Any:
    """The Jacobian from a pullback for each element of the result."""
    y, pullback = graphc.vjp(f, x)
    result = np.zeros((*np.shape(y), *np.shape(x)))
    for place in np.ndindex(np.shape(y)):
        unit = np.zeros(np.shape(y))
        unit[place] = 1
        (result[place],) = pullback(unit)
    return result


@EACH
def test_all_rows_at_once_are_the_rows_one_by_one(f: Function, x: Any) -> None:
    expected = by_rows(f, x)
    close(run(graphc.jacrev(f), x), expected, 1e-14)
    close(run(graphc.jacfwd(f), x), expected, 1e-13)


@EACH
def test_hessians_are_the_rows_of_the_gradient(f: Function, x: Any) -> None:
    g = scalar(f)
    expected = by_rows(graphc.grad(g), x)
    close(run(graphc.hessian(g), x), expected, 1e-11)


def test_hessians_of_named_sizes() -> None:
    hessian = graphc.hessian(lambda v: np.sum(np.sin(v) * np.cumsum(v * v, axis=1) + np.prod(v, axis=0)))
    f = graphc.compile(hessian, "f64[a,b]")
    for shape in ((2, 3), (1, 3), (3, 1), (0, 2), (2, 0)):
        x = RNG.normal(size=shape)
        close(f(x), run(hessian, x), 1e-13)


def rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_graphs_do_not_grow_with_the_sizes() -> None:
    for transform in (graphc.hessian, lambda f: graphc.jacrev(graphc.grad(f))):
        sizes = [len(graphc.trace(transform(rosenbrock), f"f64[{n}]")) for n in (20, 100, 1000)]
        assert sizes[0] == sizes[1] == sizes[2] < 80


@TRANSFORMS
def test_sizes_may_be_named(transform: Function) -> None:
    f = graphc.compile(transform(lambda x, w: np.tanh(w @ x)), "f64[n]", "f64[m,n]")
    for m, n in ((2, 3), (1, 4), (3, 1), (0, 2), (2, 0), (1, 1)):
        x, w = RNG.normal(size=n), RNG.normal(size=(m, n))
        close(f(x, w), (1 - np.tanh(w @ x) ** 2)[:, None] * w, 1e-14)
    jitted = transform(lambda x: x * x[::-1])
    for n in (2, 3, 4, 5):
        x = RNG.normal(size=n)
        close(jitted(x), np.diag(x[::-1]) + np.eye(n)[::-1] * x[:, None], 1e-14)
    assert len(jitted.explain().splitlines()) == 2


@TRANSFORMS
def test_a_pole_of_one_result_does_not_spoil_another(transform: Function) -> None:
    logs, same = transform(lambda x: (np.log(x[:1]), x[:1] * 2))(np.array([0.0, 1.0]))
    assert logs[0, 0] == np.inf
    close(same, [[2.0, 0.0]])


@TRANSFORMS
def test_arguments_and_results_without_elements(transform: Function) -> None:
    assert transform(lambda x: x * 2)(np.zeros((0, 2))).shape == (0, 2, 0, 2)
    assert transform(lambda x: np.sum(x))(np.zeros(0)).shape == (0,)
    close(transform(lambda x: (x[:0], x.sum()))(np.ones(2))[1], np.ones(2))


@TRANSFORMS
def test_integers_among_the_results(transform: Function) -> None:
    numbers, squares = transform(lambda x: (x > 0, x**2))(np.array([1.0, 2.0]))
    assert numbers.shape == (2, 2)
    assert not numbers.any()
    close(squares, np.diag([2.0, 4.0]))


def test_products_with_a_matrix_are_products_of_matrices() -> None:
    w = RNG.normal(size=(50, 40))
    graph = graphc.trace(graphc.jacobian(lambda x: np.tanh(x @ w)), "f64[50]")
    shapes = [data["type"].shape for data in graph._node.values() if data["op"] == "matmul"]
    assert shapes == [(1, 40), (40, 50)]


def test_mapped_jacobians_are_jacobians_of_rows() -> None:
    x = RNG.normal(size=(4, 3))
    f = lambda r: np.cumsum(np.sin(r)) * r[0]  # noqa: E731
    close(graphc.vmap(graphc.jacobian(f))(x), np.stack([graphc.jacobian(f)(r) for r in x]), 1e-14)
    whole = graphc.jacobian(graphc.vmap(f))(x)
    close(np.einsum("ijik->ijk", whole), graphc.vmap(graphc.jacfwd(f))(x), 1e-14)
    close(whole[0, :, 1], np.zeros((3, 3)))
