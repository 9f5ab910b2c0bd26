"""Derivatives at kinks, ties, poles and under `where`: the policies, in forward and reverse, at several orders."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special

import graphc
from tests.special_points import POINTS, SECTIONS, Point

Function = Callable[..., Any]
INF, NAN = np.inf, np.nan
LOG2 = np.log(2.0)


def array(*values: float) -> Any:
    return np.array(values)


def same(found: Any, stated: Any) -> bool:
    """Equal within a few last places; infinities, zeros and NaN exactly."""
    wanted = np.broadcast_to(np.asarray(stated, float), np.shape(found))
    return bool(np.allclose(found, wanted, rtol=4e-15, atol=0, equal_nan=True))


def derivatives(f: Function, x: Any) -> tuple[list[Any], list[Any]]:
    """First and second derivatives, by every combination of the modes."""
    first = [graphc.grad(f)(x), graphc.jacfwd(f)(x), graphc.vjp(f, x)[1](1.0)[0]]
    modes = (graphc.jacfwd, graphc.jacrev)
    return first, [outer(inner(f))(x) for outer in modes for inner in modes]


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_a_special_point(point: Point) -> None:
    x = np.array(point.at)[()] if isinstance(point.at, list) else point.at
    f = eval(f"lambda x: {point.function}", {"np": np, "special": graphc.scipy.special})
    first, second = derivatives(f, x)
    assert [g for g in first if not same(g, point.first)] == []
    if point.second is not None:
        assert [h for h in second if not same(h, point.second)] == []


# --- the page -------------------------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[1]
TABLES = re.compile(r"(<!-- points:[^\n]*-->\n)(.*?)(<!-- end -->)", re.DOTALL)
SYSTEMS = {"jax": "JAX", "torch": "PyTorch", "pytensor": "PyTensor", "autograd": "autograd"}


def agrees(found: Any, stated: Any) -> bool:
    """Whether a system's answer is the stated value, but for rounding."""
    if found is None:
        return False
    wanted = np.broadcast_to(np.asarray(stated, float), np.shape(found))
    return bool(np.allclose(found, wanted, rtol=1e-9, atol=0, equal_nan=True))


def shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    return f"{value:.3g}".replace("e-0", "e-").replace("e+", "e")


def tables() -> str:
    """The tables of the page: what graphc gives, as the tests above hold it to, and what others gave."""
    others = json.loads((ROOT / "docs" / "special-points.json").read_text(encoding="utf-8"))
    assert all({str(point) for point in POINTS} | {"version"} == set(answers) for answers in others.values())
    names = [f"{SYSTEMS[name]} {others[name]['version']}" for name in SYSTEMS]
    lines = []
    for order, title in enumerate(("First derivatives", "Second derivatives")):
        lines.append(f"\n## {title}\n")
        right: Counter[str] = Counter()
        count = 0
        for section, points in SECTIONS.items():
            lines.append(f"\n### {section}{', second derivatives' if order else ''}\n")
            lines.append(f"| function | at | graphc | why | {' | '.join(names)} |")
            lines.append("|---" * (4 + len(names)) + "|")
            for point in points:
                stated = point.second if order else point.first
                if stated is None:
                    continue
                count += 1
                cells = []
                for name in SYSTEMS:
                    answer = others[name][str(point)][order]
                    right[name] += agrees(answer, stated)
                    cells.append("–" if answer is None else "✓" if agrees(answer, stated) else shown(answer))
                why = "" if order else point.reason
                at = f"| `{point.function}` | {shown(point.at)} | {shown(stated)} | {why} "
                lines.append(f"{at}| {' | '.join(cells)} |")
        totals = ", ".join(f"{SYSTEMS[name]} {right[name]}" for name in SYSTEMS)
        lines.append(f"\nThe stated value in {count} rows: graphc {count}, {totals}.")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n\n"


def test_the_page_shows_what_is_so(request: pytest.FixtureRequest) -> None:
    """The tables in docs/special-points.md; --update-golden writes them."""
    path = ROOT / "docs" / "special-points.md"
    page = path.read_text(encoding="utf-8")
    found = TABLES.search(page)
    assert found is not None
    if request.config.getoption("--update-golden"):
        path.write_text(page[: found.start(2)] + tables() + page[found.end(2) :], encoding="utf-8")
        return
    assert found[2] == tables(), "if the change is meant: pytest tests/test_special_points.py --update-golden"


# --- more of them ---------------------------------------------------------------------------------------------

# name, function, point, gradient, second derivative (None: not stated): what has no words in other systems
KINKS: tuple[tuple[str, Function, Any, Any, Any], ...] = (
    ("fabs at 0", np.fabs, 0.0, 0.0, 0.0),
    ("abs at -0", np.abs, -0.0, 0.0, 0.0),
    ("cbrt at 0", np.cbrt, 0.0, INF, None),
    ("minimum with 0 at 0", lambda x: np.minimum(x, 0), 0.0, 0.5, 0.0),
    ("clip outside", lambda x: np.clip(x, 0, 1), 2.0, 0.0, 0.0),
    ("clip between equal integers", lambda x: np.clip(x, 1, 1), 1.0, 0.0, 0.0),
    ("floor division", lambda x: x // 1.0, 1.0, 0.0, 0.0),
    ("root of a sum of squares at 0", lambda x: np.sqrt(np.sum(x**2)), np.zeros(2), np.zeros(2), np.zeros((2, 2))),
    ("root mean square at 0", lambda x: np.sqrt(np.mean(x * x)), np.zeros(2), np.zeros(2), np.zeros((2, 2))),
    ("root of x @ x at 0", lambda x: np.sqrt(x @ x), np.zeros(2), np.zeros(2), np.zeros((2, 2))),
    ("distance of equal points", lambda x: np.sqrt(np.sum((x - np.ones(2)) ** 2)), np.ones(2), np.zeros(2), None),
    ("square of hypot at 0", lambda x: np.hypot(x[0], x[1]) ** 2, np.zeros(2), np.zeros(2), 2 * np.eye(2)),
    ("square of abs at 0", lambda x: np.abs(x) ** 2, 0.0, 0.0, 2.0),
    ("root of 1 - x**2 at 1", lambda x: np.sqrt(1 - x**2), 1.0, -INF, -INF),
    ("power(x, 0.0) at 0", lambda x: np.power(x, 0.0), 0.0, 0.0, 0.0),
    ("x ** 2.5 at 0", lambda x: x**2.5, 0.0, 0.0, 0.0),
    ("power of a negative base", lambda x: np.power(x, array(2.0, 3.0, 1.0, 0.0)).sum(), -1.0, 2.0, -4.0),
    ("power of 0 with several exponents", lambda x: np.power(x, array(2.0, 3.0, 1.0, 0.0)).sum(), 0.0, 1.0, 2.0),
    ("percentile of a tie", lambda x: np.percentile(x, 50), array(1.0, 1.0, 0.0), array(0.5, 0.5, 0.0), None),
    ("median of two ties", np.median, array(2.0, 1.0, 2.0, 1.0), np.full(4, 0.25), None),
    ("largest two of a tie", lambda x: np.sort(x)[-2:].sum(), np.ones(4), np.full(4, 0.5), np.zeros((4, 4))),
    ("logsumexp of rows", lambda x: np.log(np.sum(np.exp(x))), array(-INF, -INF, -INF, -INF), np.full(4, 0.25), None),
    ("tanh at -40, by hand", lambda x: x * (1 - np.tanh(x) ** 2), -40.0, -316 * np.exp(-80.0), None),
)


@pytest.mark.parametrize(("f", "x", "first", "second"), [row[1:] for row in KINKS], ids=[row[0] for row in KINKS])
def test_policies_at_special_points(f: Function, x: Any, first: Any, second: Any) -> None:
    gradients, squares = derivatives(f, x)
    assert [g for g in gradients if not same(g, first)] == []
    if second is not None:
        assert [h for h in squares if not same(h, second)] == []


def test_an_entropy_with_an_outcome_that_never_happens() -> None:
    p = np.array([0.0, 0.5, 0.5])
    value, gradient = graphc.value_and_grad(lambda p: -np.sum(p * np.log(p)))(p)
    assert value == LOG2
    np.testing.assert_allclose(gradient, [INF, LOG2 - 1, LOG2 - 1], rtol=1e-15)


def test_sinc_at_0_to_the_fourth_derivative() -> None:
    f: Function = np.sinc
    for wanted in (1.0, 0.0, -(np.pi**2) / 3, 0.0, np.pi**4 / 5):
        assert same(f(0.0), wanted)
        f = graphc.grad(f)


def test_the_gradient_of_a_symmetric_function_is_symmetric() -> None:
    """At ties too: permuting the arguments permutes the gradient."""
    x = np.array([2.0, 1.0, 2.0, 3.0, 1.0, 2.0])
    order = np.array([3, 5, 0, 4, 1, 2])
    weights = np.arange(6.0) ** 2
    for f in (
        np.median,
        np.max,
        np.ptp,
        np.std,
        lambda v: np.percentile(v, 30),
        lambda v: np.sum(np.sort(v) * weights),
    ):
        gradient = graphc.grad(f)
        np.testing.assert_allclose(gradient(x[order]), gradient(x)[order], rtol=1e-14, atol=1e-16)
        pushed = graphc.jvp(f, (x,), (weights,))[1]
        np.testing.assert_allclose(pushed, gradient(x) @ weights, rtol=1e-13, atol=1e-14)


def test_ties_of_sort_along_any_axis_and_dtype() -> None:
    x = np.array([[1.0, 1.0, 0.0], [2.0, 3.0, 3.0]], np.float16)
    weights = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]], np.float16)
    rows = graphc.grad(lambda v: np.sum(weights * np.sort(v, axis=1)))(x)
    assert rows.dtype == np.float16
    np.testing.assert_array_equal(rows, [[3, 3, 1], [8, 24, 24]])
    columns = graphc.grad(lambda v: np.sum(weights.T * np.sort(v, axis=0)))(x.T)
    np.testing.assert_array_equal(columns, rows.T)


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
SIX = np.array([-1.0, 0.0, 2.0, -0.0, 0.5, 3.0])


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

    derived = thrice(selected, modes)(SIX)
    taken = SIX > 0
    np.testing.assert_array_equal(derived[~taken], 0)
    inside = np.where(taken, SIX, 1.0)
    np.testing.assert_allclose(derived[taken], thrice(f, modes)(inside)[taken], rtol=1e-9)


ORDER = np.array([5, 2, 1, 0, 3, 4])
OTHER = np.array([0.0, 1.0, 2.0, -1.0, 0.0, 3.0])
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
    (
        "nested three",
        lambda x: np.where(x > 1, np.log(x - 1), np.where(x > 0, np.sqrt(x), np.where(x < 0, np.log(-x), 0))),
    ),
    ("both branches bad", lambda x: np.where(x > 0, np.log(x), np.where(x < 0, np.sqrt(-x), 1.0))),
    ("cond from where", lambda x: np.where(np.where(x > 0, np.log(x), -1) > -0.5, np.log(x), 0)),
    ("where feeding bad", lambda x: np.where(x > 0, np.log(np.where(x > 1, x, np.sqrt(x))), 0)),
    ("gather before", lambda x: np.where(x[ORDER] > 0, np.log(x[ORDER]), 0)),
    ("gather after", lambda x: np.where(x > 0, np.log(x), 0)[ORDER]),
    ("gather inside", lambda x: np.where(x[ORDER] > 0, np.log(x)[ORDER], 0)),
    ("take_along", lambda x: np.take_along_axis(np.where(x > 0, np.log(x), 0), ORDER, 0)),
    (
        "flip roll",
        lambda x: np.where(x[::-1] > 0, np.flip(np.log(x)), 0) + np.where(np.roll(x, 1) > 0, np.roll(np.log(x), 1), 0),
    ),
    ("repeat tile", lambda x: np.where(np.repeat(x, 2) > 0, np.repeat(np.log(x), 2), 0)),
    ("pad", lambda x: np.pad(np.where(x > 0, np.log(x), 0), 2)),
    ("stack", lambda x: np.where(np.stack([x, -x]) > 0, np.log(np.stack([x, -x])), 0)),
    ("stack in", lambda x: np.where(np.stack([x, x]) > 0, np.stack([np.log(x), np.sqrt(x)]), 0)),
    ("outer", lambda x: np.where(x[:, None] * x[None] > 0, np.log(x[:, None] * x[None]), 0)),
    ("outer log", lambda x: np.where((x[:, None] > 0) & (x[None] > 0), np.log(x)[:, None] * np.log(x)[None], 0)),
    ("ratio", lambda x: np.where(x != 0, 1.0 / x, 0)),
    ("ratio2", lambda x: np.where(x != 0, np.sin(x) / x, 1)),
    ("y/x", lambda x: np.where(x > 0, OTHER / x, 0)),
    ("x/y", lambda x: np.where(OTHER > 0, x / OTHER, 0)),
    ("x**y", lambda x: np.where(x > 0, x**OTHER, 0)),
    ("y**x", lambda x: np.where(OTHER > 0, OTHER**x, 0)),
    ("x**x", lambda x: np.where(x > 0, x**x, 0)),
    ("mod", lambda x: np.where(x > 0, 1.0 % x, 0)),
    ("arctan2", lambda x: np.where(x > 0, np.arctan2(1, 1 / x), 0)),
    ("arcsin", lambda x: np.where(np.abs(x) < 1, np.arcsin(x), 0)),
    ("arccosh", lambda x: np.where(x > 1, np.arccosh(x), 0)),
    ("arctanh", lambda x: np.where(np.abs(x) < 1, np.arctanh(x), 0)),
    ("logaddexp", lambda x: np.where(x > 0, np.logaddexp(np.log(x), np.log(x)), 0)),
    ("maximum", lambda x: np.where(x > 0, np.maximum(np.log(x), np.log(2 * x)), 0)),
    ("clip b", lambda x: np.where(x > 0, np.clip(1.0, np.log(x), 5), 0)),
    ("clip of where", lambda x: np.clip(np.where(x > 0, np.log(x), 0), -0.5, 0.5)),
    ("max of maximum", lambda x: np.maximum(np.where(x > 0, np.sqrt(x), 0.0), 0.3)),
    ("select", lambda x: np.select([x > 1, x > 0], [np.log(x - 1), np.sqrt(x)], 0.0)),
    ("piecewise", lambda x: np.piecewise(x, [x > 0, x < 0], [lambda v: np.log(v), lambda v: np.sqrt(-v), 0.0])),
    ("matmul", lambda x: np.where(x.reshape(2, 3) > 0, np.log(x.reshape(2, 3)), 0) @ np.arange(6.0).reshape(3, 2)),
    ("matmul vec sq", lambda x: np.where(x > 0, np.log(x), 0) @ np.where(x > 0, np.sqrt(x), 0)),
    ("einsum", lambda x: np.einsum("i,j->ij", np.where(x > 0, np.log(x), 0), np.ones(3))),
    ("cumsum", lambda x: np.cumsum(np.where(x > 0, np.log(x), 0))),
    ("cumprod", lambda x: np.cumprod(np.where(x > 0, np.log(x), 1))),
    ("prod", lambda x: np.prod(np.where(x > 0, np.sqrt(x), 1))),
    ("logsumexp", lambda x: np.log(np.sum(np.exp(np.where(x > 0, np.log(x), -5.0))))),
    ("softmax", lambda x: (lambda z: np.exp(z) / np.sum(np.exp(z)) * np.arange(6.0))(np.where(x > 0, np.log(x), -5.0))),
    ("norm", lambda x: np.linalg.norm(np.where(x > 0, np.log(x), 0))),
    ("std", lambda x: np.std(np.where(x > 0, np.log(x), 0))),
    ("sort", lambda x: np.sort(np.where(x > 0, np.log(x), 0)) * np.arange(6.0)),
    ("median", lambda x: np.median(np.where(x > 0, np.log(x), 0))),
    ("masked mean", lambda x: np.sum(np.where(x > 0, np.log(x), 0)) / np.sum(x > 0)),
    (
        "row condition",
        lambda x: np.where(
            (np.sum(x.reshape(3, 2), axis=1, keepdims=True) > 0),
            np.sqrt(np.sum(x.reshape(3, 2), axis=1, keepdims=True)) * x.reshape(3, 2),
            0,
        ),
    ),
    (
        "normalise rows",
        lambda x: (
            lambda z: np.where(
                np.linalg.norm(z, axis=1, keepdims=True) > 0, z / np.linalg.norm(z, axis=1, keepdims=True), 0
            )
        )(np.where(x > 0, x, 0).reshape(3, 2)),
    ),
    ("xlogy", lambda x: np.where(x > 0, special.xlogy(x, x), 0)),
    ("gammaln", lambda x: np.where(x > 0, special.gammaln(x), 0)),
    ("cast", lambda x: np.where(x > 0, np.log(x.astype(np.float32)), 0).astype(np.float64)),
    ("where of where shared", lambda x: (lambda y: np.where(x > 0, y, 0) * np.where(x > 1, y, 1))(np.log(x))),
    ("logs in both", lambda x: np.where(x > 0, np.log(x), 0) - np.where(x > 0, np.log(np.where(x > 0, x, 1) + 1), 0)),
    ("reduced in mask", lambda x: np.where(x > 0, np.log(x) - np.max(np.where(x > 0, np.log(x), -9)), 0)),
    ("bcast scalar", lambda x: np.where(x > 0, np.log(x[1] * np.ones(6) + x), 0)),
    ("scalar where", lambda x: np.where(x[0] > 0, np.log(x[0]), 0) + np.where(x[1] > 0, np.sqrt(x[1]) / x[1], 0)),
    ("scalar where bcast", lambda x: np.where(x[1] > 0, np.log(x[1]), 0) * x),
    ("scalar inside", lambda x: np.where(x[1] > 0, x / x[1], x)),
    ("entropy", lambda x: -np.sum(np.where(x > 0, x * np.log(x), 0))),
    ("selu", lambda x: np.where(x > 0, x, np.exp(x * 1000) - 1)),
    ("softplus naive", lambda x: np.where(x > 1, x, np.log(1 + np.exp(1000 * x)))),
    ("maximum of a singular branch", lambda x: np.maximum(np.sqrt(np.where(x > 0, x, 1.0)), 0.5)),
)


@pytest.mark.parametrize("f", [row[1] for row in SHIELDS], ids=[row[0] for row in SHIELDS])
def test_where_is_safe_in_context(f: Function) -> None:
    ones = np.ones(6)
    first = lambda x: graphc.grad(lambda v: np.sum(f(v)))(x)  # noqa: E731
    pushed = lambda x: graphc.jvp(lambda v: np.sum(f(v)), (x,), (ones,))[1]  # noqa: E731
    assert np.isfinite(first(SIX)).all()
    np.testing.assert_allclose(pushed(SIX), first(SIX).sum(), rtol=1e-12)
    for second in (graphc.jacfwd(first), graphc.jacrev(first), graphc.jacfwd(graphc.jacfwd(lambda v: np.sum(f(v))))):
        assert np.isfinite(second(SIX)).all()
    third = graphc.grad(lambda v: np.sum(first(v) ** 2 * v))
    assert np.isfinite(third(SIX)).all()


# Where a selection makes an operand constant, a singular function of it is constant too.
# name, function of x, a point at which it is constant beside it
CLAMPED: tuple[tuple[str, Function, Any], ...] = (
    ("root of maximum", lambda x: np.sqrt(np.maximum(x, 0)), -1.0),
    ("root of where", lambda x: np.sqrt(np.where(x > 0, x, 0.0)), -1.0),
    ("log of clip", lambda x: np.log(np.clip(x, 0, 1)), -1.0),
    ("power of minimum", lambda x: (1 - np.minimum(x, 1)) ** 0.3, 2.0),
    ("product of roots", lambda x: np.sqrt(np.maximum(x, 0)) * np.cbrt(np.maximum(x, 0)), -2.0),
    ("root of a product", lambda x: np.sqrt(np.maximum(x, 0) * np.maximum(x + 0.5, 0)), -2.0),
    ("nested", lambda x: np.sqrt(np.where(x > 0, x, np.where(x > -0.5, -x, 0))), -2.0),
    ("other mask", lambda x: np.sqrt(np.where(x > 0, x, 0) + np.maximum(x - 1, 0)), -2.0),
    ("moved", lambda x: np.sum(np.sqrt(np.maximum(x, 0).reshape(2, 1).T[:, ::-1])), -np.ones(2)),
    ("picked", lambda x: np.sum(np.sqrt(np.maximum(x, 0)[np.array([1, 1, 0])])), -np.ones(2)),
    ("broadcast", lambda x: np.sum(np.sqrt(np.broadcast_to(np.maximum(x, 0), (2, 2)))), -np.ones(2)),
    ("cast", lambda x: np.sum(np.sqrt(np.maximum(x, 0).astype(np.float32))), -np.ones(2)),
    ("a variance that has come to 0", lambda x: np.sqrt(np.maximum(0.1 * x + np.sqrt(np.maximum(x, 0)), 0)), -1.0),
)


@pytest.mark.parametrize(("f", "x"), [row[1:] for row in CLAMPED], ids=[row[0] for row in CLAMPED])
def test_a_function_of_a_clamped_value_is_constant(f: Function, x: Any) -> None:
    first, second = derivatives(f, x)
    for found in (*first, *second, *(graphc.jacfwd(lambda v, g=g: g(f)(v))(x) for g in (graphc.jacfwd, graphc.grad))):
        np.testing.assert_array_equal(found, np.zeros(np.shape(found)))


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
