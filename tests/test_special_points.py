"""Derivatives at kinks, ties, poles and under `where`: the policies, in forward and reverse, at several orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

Function = Callable[..., Any]
INF, NAN = np.inf, np.nan


def array(*values: float) -> Any:
    return np.array(values)


# name, function, point, gradient, second derivative (None: not stated)
KINKS: tuple[tuple[str, Function, Any, Any, Any], ...] = (
    ("sqrt at 0", np.sqrt, 0.0, INF, -INF),
    ("abs at 0", np.abs, 0.0, 0.0, 0.0),
    ("fabs at 0", np.fabs, 0.0, 0.0, 0.0),
    ("abs at -0", np.abs, -0.0, 0.0, 0.0),
    ("sign at 0", np.sign, 0.0, 0.0, 0.0),
    ("relu at 0", lambda x: np.where(x > 0, x, 0.0), 0.0, 0.0, 0.0),
    ("maximum with 0 at 0", lambda x: np.maximum(x, 0), 0.0, 0.5, 0.0),
    ("minimum with 0 at 0", lambda x: np.minimum(x, 0), 0.0, 0.5, 0.0),
    ("maximum with itself", lambda x: np.maximum(x, x), 2.0, 1.0, 0.0),
    ("max of a tie", np.max, array(1.0, 1.0, 0.0), array(0.5, 0.5, 0.0), np.zeros((3, 3))),
    ("min of a tie", np.min, array(1.0, 0.0, 0.0), array(0.0, 0.5, 0.5), np.zeros((3, 3))),
    ("clip at its lower bound", lambda x: np.clip(x, 0, 1), 0.0, 0.5, 0.0),
    ("clip at its upper bound", lambda x: np.clip(x, 0, 1), 1.0, 0.5, 0.0),
    ("clip outside", lambda x: np.clip(x, 0, 1), 2.0, 0.0, 0.0),
    ("floor division", lambda x: x // 1.0, 1.0, 0.0, 0.0),
    ("remainder", lambda x: x % 1.0, 1.0, 1.0, 0.0),
    ("norm at 0", np.linalg.norm, np.zeros(2), np.zeros(2), np.zeros((2, 2))),
    ("root of a sum of squares at 0", lambda x: np.sqrt(np.sum(x**2)), np.zeros(2), np.zeros(2), np.zeros((2, 2))),
    ("root of two squares at 0", lambda x: np.sqrt(x[0] ** 2 + x[1] ** 2), np.zeros(2), np.zeros(2), None),
    ("root of a square at 0", lambda x: np.sqrt(x**2), 0.0, 0.0, 0.0),
    ("root mean square at 0", lambda x: np.sqrt(np.mean(x * x)), np.zeros(2), np.zeros(2), np.zeros((2, 2))),
    ("square of the norm at 0", lambda x: np.linalg.norm(x) ** 2, np.zeros(2), np.zeros(2), None),
    ("hypot at 0", lambda x: np.hypot(x[0], x[1]), np.zeros(2), np.zeros(2), None),
    ("std of equal elements", np.std, np.ones(2), np.zeros(2), np.zeros((2, 2))),
    ("var of equal elements", np.var, np.ones(2), np.zeros(2), array(0.5, -0.5)[:, None] * array(1.0, -1.0)),
    ("x ** 0.0 at 0", lambda x: x**0.0, 0.0, 0.0, 0.0),
    ("power(x, 0.0) at 0", lambda x: np.power(x, 0.0), 0.0, 0.0, 0.0),
    ("0.0 ** x at 2", lambda x: 0.0**x, 2.0, 0.0, 0.0),
    ("x ** 1.0 at 0", lambda x: x**1.0, 0.0, 1.0, 0.0),
    ("x ** 2.0 at 0", lambda x: x**2.0, 0.0, 0.0, 2.0),
    ("x ** 1.5 at 0", lambda x: x**1.5, 0.0, 0.0, INF),
    ("x ** 2.5 at 0", lambda x: x**2.5, 0.0, 0.0, 0.0),
    ("power of a negative base", lambda x: np.power(x, array(2.0, 3.0, 1.0, 0.0)).sum(), -1.0, 2.0, -4.0),
    ("power of 0 with several exponents", lambda x: np.power(x, array(2.0, 3.0, 1.0, 0.0)).sum(), 0.0, 1.0, 2.0),
    ("product with one zero", np.prod, array(0.0, 2.0, 3.0), array(6.0, 0.0, 0.0), array(0, 3, 2, 3, 0, 0, 2, 0, 0)),
    ("product with two zeros", np.prod, array(0.0, 0.0, 3.0), np.zeros(3), array(0, 3, 0, 3, 0, 0, 0, 0, 0)),
    ("x * abs(x) at 0", lambda x: x * np.abs(x), 0.0, 0.0, 0.0),
    ("logsumexp with one -inf", lambda x: np.log(np.sum(np.exp(x))), array(-INF, 0.0), array(0.0, 1.0), None),
    ("logaddexp of equal large", lambda x: np.logaddexp(x[0], x[1]), array(1e3, 1e3), array(0.5, 0.5), None),
    ("log1p(exp(x)) at 1000", lambda x: np.log1p(np.exp(x)), 1000.0, 1.0, 0.0),
    ("-log(1 / (1 + exp(-x))) at -800", lambda x: -np.log(1 / (1 + np.exp(-x))), -800.0, -1.0, 0.0),
)


@pytest.mark.parametrize(("f", "x", "first", "second"), [row[1:] for row in KINKS], ids=[row[0] for row in KINKS])
def test_policies_at_special_points(f: Function, x: Any, first: Any, second: Any) -> None:
    for gradient in (graphc.grad(f), graphc.jacfwd(f), graphc.jacrev(f), lambda v: graphc.vjp(f, v)[1](1.0)[0]):
        np.testing.assert_array_equal(gradient(x), first)
    if second is not None:
        square = np.reshape(second, np.shape(x) * 2)
        for outer in (graphc.jacfwd, graphc.jacrev):
            for inner in (graphc.jacfwd, graphc.jacrev):
                np.testing.assert_array_equal(outer(inner(f))(x), square)


@pytest.mark.parametrize("values", [np.arange(3.0), np.array([2.0, 2.0, 2.0]), np.array([0.0, 1.0, 1.0])])
def test_ties_share_equally_along_any_axis(values: Any) -> None:
    x = np.stack([values, values[::-1]])
    share = (x == x.max(axis=1, keepdims=True)) / (x == x.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(graphc.grad(lambda v: np.max(v, axis=1).sum())(x), share)
    np.testing.assert_array_equal(graphc.jvp(lambda v: np.max(v, axis=1), (x,), (x,))[1], (share * x).sum(axis=1))


# A branch that is not taken leaves no NaN or inf, whatever comes between it and the selection.
# name, function singular where its argument is <= 0, derivatives 1 to 3 where it is taken
SINGULAR: tuple[tuple[str, Function], ...] = (
    ("log", np.log),
    ("sqrt", np.sqrt),
    ("reciprocal", lambda x: 1 / x),
    ("negative power", lambda x: x**-3),
    ("real power", lambda x: x**0.3),
    ("x log x", lambda x: x * np.log(x)),
    ("log of sqrt", lambda x: np.log(np.sqrt(x))),
    ("sqrt of log1p", lambda x: np.sqrt(np.log1p(x))),
    ("quotient", lambda x: np.sin(x) / x),
    ("exp of reciprocal", lambda x: np.exp(1 / x)),
    ("log of cast", lambda x: np.log(x.astype(np.float32)).astype(np.float64)),
    ("maximum inside", lambda x: np.maximum(np.log(x), np.sqrt(x))),
    ("clip inside", lambda x: np.clip(np.log(x), -5, 5)),
    ("where inside", lambda x: np.where(x > 1, np.log(x), np.sqrt(x))),
    ("hypot inside", lambda x: np.hypot(np.log(x), 1)),
    ("tanh", lambda x: np.tanh(np.log(x))),
    ("overflow", lambda x: np.exp(1e3 / x) * 0 + np.exp(x / (x * x))),
)
POINTS = np.array([-1.0, 0.0, 2.0, -0.0, 0.5, 3.0])


def thrice(f: Function, modes: str) -> Function:
    for mode in modes:
        inner = f
        if mode == "r":
            f = lambda x, g=inner: graphc.grad(lambda v: np.sum(g(v)))(x)  # noqa: E731
        else:
            f = lambda x, g=inner: graphc.jvp(g, (x,), (np.ones(6),))[1]  # noqa: E731
    return f


@pytest.mark.parametrize("modes", ["r", "f", "rr", "fr", "rf", "ff", "rrr", "fff", "rfr", "frf", "rff", "frr"])
@pytest.mark.parametrize("f", [row[1] for row in SINGULAR], ids=[row[0] for row in SINGULAR])
def test_where_is_safe(f: Function, modes: str) -> None:
    def selected(x: Any) -> Any:
        return np.where(x > 0, f(x), 0)

    derived = thrice(selected, modes)(POINTS)
    taken = POINTS > 0
    np.testing.assert_array_equal(derived[~taken], 0)
    inside = np.where(taken, POINTS, 1.0)
    np.testing.assert_allclose(derived[taken], thrice(f, modes)(inside)[taken], rtol=1e-9)


SHIELDS: tuple[tuple[str, Function], ...] = (
    ("through a broadcast", lambda x: np.where(x > 0, np.log(x) * np.ones((2, 1)), 0)),
    ("through a row of one", lambda x: np.where((x > 0)[:, None], np.log(x)[:, None] * np.array([1.0, 2.0]), 0)),
    ("through a sum", lambda x: np.sum(np.where(x > 0, np.log(x), 0))),
    ("through a mean of squares", lambda x: np.mean(np.where(x > 0, np.log(x), 0) ** 2)),
    ("through reshape and slice", lambda x: np.where(x[:4].reshape(2, 2) > 0, np.log(x[:4].reshape(2, 2)), 0)),
    ("through transpose", lambda x: np.where(x.reshape(2, 3).T > 0, np.sqrt(x.reshape(2, 3).T), 0)),
    ("through concatenate", lambda x: np.where(np.concatenate([x, x]) > 0, np.log(np.concatenate([x, x])), 0)),
    ("negated condition", lambda x: np.where(~(x > 0), 0, np.log(x))),
    ("nested", lambda x: np.where(x > 0, np.where(x > 1, np.log(x - 1), np.sqrt(x)), 0)),
    ("conjunction", lambda x: np.where((x > 0) & (x < 10), np.log(x), 0)),
    ("twice", lambda x: np.where(x > 0, np.log(x), 0) + np.where(x > 0, np.sqrt(x), 0)),
    ("multiplied afterwards", lambda x: np.where(x > 0, np.log(x), 0) * x**2 + np.exp(x)),
    ("into exp", lambda x: np.exp(np.where(x > 0, np.log(x), 0))),
    ("into max", lambda x: np.max(np.where(x > 0, np.log(x), -9.0))),
    ("into maximum", lambda x: np.maximum(np.where(x > 0, np.log(x), -9.0), -8.0)),
    ("into matmul", lambda x: np.where(x > 0, np.log(x), 0) @ np.arange(6.0)),
    ("maximum of a singular branch", lambda x: np.maximum(np.sqrt(np.where(x > 0, x, 1.0)), 0.5)),
)


@pytest.mark.parametrize("f", [row[1] for row in SHIELDS], ids=[row[0] for row in SHIELDS])
def test_where_is_safe_in_context(f: Function) -> None:
    ones = np.ones(6)
    first = lambda x: graphc.grad(lambda v: np.sum(f(v)))(x)  # noqa: E731
    pushed = lambda x: graphc.jvp(lambda v: np.sum(f(v)), (x,), (ones,))[1]  # noqa: E731
    assert np.isfinite(first(POINTS)).all()
    np.testing.assert_allclose(pushed(POINTS), first(POINTS).sum(), rtol=1e-12)
    for second in (graphc.jacfwd(first), graphc.jacrev(first), graphc.jacfwd(graphc.jacfwd(lambda v: np.sum(f(v))))):
        assert np.isfinite(second(POINTS)).all()
    third = graphc.grad(lambda v: np.sum(first(v) ** 2 * v))
    assert np.isfinite(third(POINTS)).all()


def test_a_taken_branch_keeps_ieee_arithmetic() -> None:
    """The counter-test: selecting by mask must not hide what a taken element gives."""
    for gradient in (graphc.grad, graphc.jacfwd):
        assert np.isnan(gradient(lambda x: np.sqrt(x) ** 2)(0.0))
        assert np.isnan(gradient(lambda x: np.where(x >= 0, np.sqrt(x) * 0.0, 1.0))(0.0))
        assert np.isnan(gradient(lambda x: x * np.nan)(1.0))
        assert gradient(lambda x: np.where(x >= 0, np.sqrt(x), 0))(0.0) == np.inf
    assert np.isnan(graphc.compile(lambda x: 0 * x, "f64[]")(np.inf))


def test_one_sided_singularities_stay_visible() -> None:
    assert np.isnan(graphc.grad(lambda x: x * np.log(x))(0.0)) or graphc.grad(lambda x: x * np.log(x))(0.0) == -np.inf
    assert graphc.grad(np.log)(0.0) == np.inf
    assert graphc.grad(lambda x: 1 / x)(0.0) == -np.inf
