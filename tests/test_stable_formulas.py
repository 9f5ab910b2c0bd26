"""Naive formulas at ±1000, ±40, ±1e-8 and 0: finite and right at orders 0, 1 and 2, against 50 and more digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import graphc

Function = Callable[..., Any]
DIGITS = 350  # second differences of functions that differ by exp(-1000) from a straight line
WEIGHTS, SHIFTS = np.array([1.0, -1.0, 0.5]), np.array([0.25, 0.0, 1.5])
FAR = (-1000.0, -40.0, -3.0, -1e-8, 0.0, 1e-8, 0.7, 40.0, 1000.0)
POSITIVE = tuple(x for x in FAR if x > 0)
NEGATIVE = tuple(x for x in FAR if x < 0)
AWAY = tuple(x for x in FAR if x != 0)
mp = mpmath.mp


def rows(x: Any) -> Any:
    return x[..., None] * WEIGHTS.astype(x.dtype) + SHIFTS.astype(x.dtype)


def exact_rows(x: Any) -> list[Any]:
    return [x * mp.mpf(w) + mp.mpf(s) for w, s in zip(WEIGHTS, SHIFTS, strict=True)]


def exact_logsumexp(x: Any) -> Any:
    return mp.log(sum(map(mp.exp, exact_rows(x))))


def exact_log_softmax(x: Any) -> Any:
    return exact_rows(x)[0] - exact_logsumexp(x)


def exact_softmax(x: Any) -> Any:
    return mp.exp(exact_log_softmax(x))


def softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def exact_norm(x: Any) -> Any:
    return mp.sqrt(sum(z * z for z in exact_rows(x)))


def exact_std(x: Any) -> Any:
    values = exact_rows(x)
    return mp.sqrt(sum((z - sum(values) / 3) ** 2 for z in values) / 3)


def shifted(z: Any) -> Any:
    return z - np.max(z, axis=-1, keepdims=True)


# name, naive NumPy formula over an array of points, exact formula, points
FORMULAS: tuple[tuple[str, Function, Function, tuple[float, ...]], ...] = (
    ("log(1 + exp(x))", lambda x: np.log(1 + np.exp(x)), softplus, FAR),
    ("log(exp(x) + 1)", lambda x: np.log(np.exp(x) + 1), softplus, FAR),
    ("log1p(exp(x))", lambda x: np.log1p(np.exp(x)), softplus, FAR),
    ("logaddexp(x, 0)", lambda x: np.logaddexp(x, 0), softplus, FAR),
    ("logaddexp(0, x)", lambda x: np.logaddexp(0.0, x), softplus, FAR),
    ("-log(1 / (1 + exp(x)))", lambda x: -np.log(1 / (1 + np.exp(x))), softplus, FAR),
    ("-log(1 / (1 + exp(-x)))", lambda x: -np.log(1 / (1 + np.exp(-x))), lambda x: softplus(-x), FAR),
    ("log(1 - sigmoid)", lambda x: np.log(1 - 1 / (1 + np.exp(-x))), lambda x: -softplus(x), FAR),
    ("1 / (1 + exp(-x))", lambda x: 1 / (1 + np.exp(-x)), sigmoid, FAR),
    ("exp(x) / (1 + exp(x))", lambda x: np.exp(x) / (1 + np.exp(x)), sigmoid, FAR),
    ("exp(x) / (exp(x) + 1)", lambda x: np.exp(x) / (np.exp(x) + 1), sigmoid, FAR),
    ("1 - sigmoid", lambda x: 1 - 1 / (1 + np.exp(-x)), lambda x: sigmoid(-x), FAR),
    ("x * sigmoid(x)", lambda x: x / (1 + np.exp(-x)), lambda x: x * sigmoid(x), FAR),
    (
        "tanh by exps",
        lambda x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)),
        mp.tanh,
        FAR,
    ),
    ("tanh by exp(2x)", lambda x: (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1), mp.tanh, FAR),
    ("tanh by exp(-2x)", lambda x: (1 - np.exp(-2 * x)) / (1 + np.exp(-2 * x)), mp.tanh, FAR),
    ("2 sigmoid(2x) - 1", lambda x: 2 / (1 + np.exp(-2 * x)) - 1, mp.tanh, FAR),
    ("tanh", np.tanh, mp.tanh, FAR),
    ("log(1 - exp(-x))", lambda x: np.log(1 - np.exp(-x)), lambda x: mp.log(-mp.expm1(-x)), POSITIVE),
    ("log(1 - exp(x))", lambda x: np.log(1 - np.exp(x)), lambda x: mp.log(-mp.expm1(x)), NEGATIVE),
    ("log1p(-exp(-x))", lambda x: np.log1p(-np.exp(-x)), lambda x: mp.log(-mp.expm1(-x)), POSITIVE),
    ("exp(x) - 1", lambda x: np.exp(x) - 1, mp.expm1, tuple(x for x in FAR if x < 100)),
    ("log(1 + x)", lambda x: np.log(1 + x), mp.log1p, tuple(x for x in FAR if x > -1)),
    ("log(exp(x))", lambda x: np.log(np.exp(x)), lambda x: x, FAR),
    ("log of a sum of two exps", lambda x: np.log(np.exp(x) + np.exp(2 * x)), lambda x: x + softplus(x), FAR),
    ("log cosh", lambda x: np.log((np.exp(x) + np.exp(-x)) / 2), lambda x: mp.log(mp.cosh(x)), FAR),
    ("log(exp(x) / (1 + exp(x)))", lambda x: np.log(np.exp(x) / (1 + np.exp(x))), lambda x: -softplus(-x), FAR),
    ("logsumexp", lambda x: np.log(np.sum(np.exp(rows(x)), axis=-1)), exact_logsumexp, FAR),
    (
        "logsumexp with keepdims",
        lambda x: np.log(np.sum(np.exp(rows(x)), axis=-1, keepdims=True))[..., 0],
        exact_logsumexp,
        FAR,
    ),
    (
        "logsumexp shifted by hand",
        lambda x: np.log(np.exp(shifted(rows(x))).sum(axis=-1)) + rows(x).max(axis=-1),
        exact_logsumexp,
        FAR,
    ),
    (
        "log mean exp",
        lambda x: np.log(np.mean(np.exp(rows(x)), axis=-1)),
        lambda x: exact_logsumexp(x) - mp.log(3),
        FAR,
    ),
    (
        "softmax",
        lambda x: (np.exp(rows(x)) / np.exp(rows(x)).sum(axis=-1, keepdims=True))[..., 0],
        exact_softmax,
        FAR,
    ),
    (
        "softmax shifted by hand",
        lambda x: (np.exp(shifted(rows(x))) / np.exp(shifted(rows(x))).sum(axis=-1, keepdims=True))[..., 0],
        exact_softmax,
        FAR,
    ),
    (
        "log of softmax",
        lambda x: np.log(np.exp(rows(x)) / np.sum(np.exp(rows(x)), axis=-1, keepdims=True))[..., 0],
        exact_log_softmax,
        FAR,
    ),
    (
        "log softmax by log sum exp",
        lambda x: (rows(x) - np.log(np.sum(np.exp(rows(x)), axis=-1, keepdims=True)))[..., 0],
        exact_log_softmax,
        FAR,
    ),
    (
        "log softmax without keepdims",
        lambda x: (rows(x) - np.log(np.sum(np.exp(rows(x)), axis=-1))[..., None])[..., 0],
        exact_log_softmax,
        FAR,
    ),
    (
        "log softmax shifted by hand",
        lambda x: (shifted(rows(x)) - np.log(np.sum(np.exp(shifted(rows(x))), axis=-1, keepdims=True)))[..., 0],
        exact_log_softmax,
        FAR,
    ),
    (
        "log of softmax shifted by hand",
        lambda x: np.log(np.exp(shifted(rows(x))) / np.sum(np.exp(shifted(rows(x))), axis=-1, keepdims=True))[..., 0],
        exact_log_softmax,
        FAR,
    ),
    (
        "log softmax of columns",
        lambda x: np.log(np.exp(rows(x).T) / np.sum(np.exp(rows(x).T), axis=0))[0],
        exact_log_softmax,
        FAR,
    ),
    (
        "log of a part of softmax",
        lambda x: np.log((np.exp(rows(x)) / np.sum(np.exp(rows(x)), axis=-1, keepdims=True))[..., 0]),
        exact_log_softmax,
        FAR,
    ),
    (
        "log of a picked softmax",
        lambda x: np.log(np.take(np.exp(rows(x)) / np.sum(np.exp(rows(x)), axis=-1, keepdims=True), [0], axis=-1))[
            ..., 0
        ],
        exact_log_softmax,
        FAR,
    ),
    (
        "log of a part over the sum",
        lambda x: np.log(np.exp(rows(x)[..., 0]) / np.sum(np.exp(rows(x)), axis=-1)),
        exact_log_softmax,
        FAR,
    ),
    (
        "softmax through transposes",
        lambda x: (np.exp(rows(x)).T / np.sum(np.exp(rows(x)), axis=-1)).T[..., 0],
        exact_softmax,
        FAR,
    ),
    ("x / sqrt(x**2 + 1)", lambda x: x / np.sqrt(x**2 + 1), lambda x: x / mp.sqrt(x * x + 1), FAR),
    ("1 / sqrt(1 + x**2)", lambda x: 1 / np.sqrt(1 + x**2), lambda x: 1 / mp.sqrt(x * x + 1), FAR),
    ("sqrt(x**2 + 1)", lambda x: np.sqrt(x**2 + 1), lambda x: mp.sqrt(x * x + 1), FAR),
    ("sqrt(x**2 + y**2)", lambda x: np.sqrt(x**2 + (2 * x) ** 2), lambda x: abs(x) * mp.sqrt(5), AWAY),
    ("norm", lambda x: np.linalg.norm(rows(x), axis=-1), exact_norm, FAR),
    ("norm by hand", lambda x: np.sqrt(np.sum(rows(x) ** 2, axis=-1)), exact_norm, FAR),
    ("std", lambda x: np.std(rows(x), axis=-1), exact_std, FAR),
    ("1 - cos(x)", lambda x: 1 - np.cos(x), lambda x: 2 * mp.sin(x / 2) ** 2, tuple(x for x in FAR if abs(x) < 50)),
    (
        "sqrt(x + 1) - sqrt(x)",
        lambda x: np.sqrt(x + 1) - np.sqrt(x),
        lambda x: 1 / (mp.sqrt(x + 1) + mp.sqrt(x)),
        POSITIVE,
    ),
)


# How many orders are right to the last digits even where they all but vanish; the others have zeros there.
RELATIVE = {
    "2 sigmoid(2x) - 1": 0,
    "log cosh": 0,
    "log of softmax": 0,
    "log softmax by log sum exp": 0,
    "log softmax without keepdims": 0,
    "log softmax shifted by hand": 0,
    "log of softmax shifted by hand": 0,
    "log softmax of columns": 0,
    "log of a part of softmax": 0,
    "log of a picked softmax": 0,
    "log of a part over the sum": 0,
    "softmax through transposes": 1,
    "tanh by exps": 1,
    "tanh by exp(2x)": 1,
    "tanh by exp(-2x)": 1,
    "tanh": 1,
    "softmax": 1,
    "softmax shifted by hand": 1,
    "1 / (1 + exp(-x))": 2,
    "exp(x) / (1 + exp(x))": 2,
    "exp(x) / (exp(x) + 1)": 2,
    "1 - sigmoid": 2,
    "logsumexp": 2,
    "logsumexp with keepdims": 2,
    "log mean exp": 2,
    "sqrt(x**2 + y**2)": 2,
    "norm": 2,
    "norm by hand": 2,
    "std": 2,
}


def derivative(f: Function, order: int, forward: bool) -> Function:
    for _ in range(order):
        inner = f
        if forward:
            f = lambda x, g=inner: graphc.jvp(g, (x,), (np.ones_like(x),))[1]  # noqa: E731
        else:
            f = lambda x, g=inner: graphc.grad(lambda v: np.sum(g(v)))(x)  # noqa: E731
    return f


def reference(f: Function, points: Any, order: int) -> Any:
    with mp.workdps(DIGITS):
        return np.array(
            [float(mp.diff(f, mp.mpf(float(x)), order)) if order else float(f(mp.mpf(float(x)))) for x in points]
        )


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize(("name", "f", "exact", "points"), FORMULAS, ids=[row[0] for row in FORMULAS])
def test_naive_formulas_are_right(name: str, f: Function, exact: Function, points: Any, order: int, dtype: Any) -> None:
    x = np.array(points, dtype)
    expected = reference(exact, x, order)
    rtol, atol = (1e-12, 1e-300) if dtype is np.float64 else (2e-5, 1e-36)
    if order >= RELATIVE.get(name, 3):
        atol = rtol
    for forward in (False, True)[: order + 1]:
        actual = derivative(f, order, forward)(x) if order else graphc.jit(f)(x)
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)
