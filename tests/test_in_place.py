"""In-place operators on traced values: NumPy's result, or a refusal where another name would see the change."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import optree
import pytest

import graphc
from graphc.errors import DTypeError, ShapeError, UnsupportedError

OPERATORS = {
    "+=": operator.iadd,
    "-=": operator.isub,
    "*=": operator.imul,
    "/=": operator.itruediv,
    "//=": operator.ifloordiv,
    "%=": operator.imod,
    "**=": operator.ipow,
}
OTHERS = {"a number": 3, "an array": np.array([1.5, 2.0, 4.0]), "a wider dtype": np.float64(2.5), "a row": np.ones(1)}


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_result_is_numpys(symbol: str, other: str, dtype: str) -> None:
    def f(x: Any) -> Any:
        return OPERATORS[symbol](x + 1, OTHERS[other])

    x = np.array([0.5, 1.0, 2.0], dtype)
    expected, actual = f(x), graphc.jit(f)(x)
    assert actual.dtype == expected.dtype == dtype
    np.testing.assert_allclose(actual, expected, rtol=4 * np.finfo(dtype).eps)


def test_the_callers_array_stays() -> None:
    def f(x: Any) -> Any:
        x += 1
        return x

    x = np.zeros(2)
    np.testing.assert_array_equal(graphc.jit(f)(x), [1, 1])
    np.testing.assert_array_equal(x, [0, 0])


def second_name(x: Any) -> Any:
    y = x * 1
    z = y
    z += 1
    return y, z


def in_another_function(x: Any) -> Any:
    def step(v: Any) -> None:
        v *= 2

    y = x * 1
    step(y)
    return y


def in_a_list(x: Any) -> Any:
    parts = [x * 1, x * 2]
    first = parts[0]
    parts[0] += 1
    return first, parts


def copies(x: Any) -> Any:
    y = x * 1
    made = [y.copy(), +y, y.astype(y.dtype), graphc.numpy.array(y), y.flatten(), y**1, np.copy(y)]
    y += 1
    for copy in made:
        copy -= 1
    return y, made


def not_copies(x: Any) -> Any:
    y = x * 1
    same = graphc.numpy.asarray(y)
    same += 1
    return y


def scalars(x: Any) -> Any:
    total = x.sum()
    before = total
    total += 1
    return before, total


def accumulated(x: Any) -> Any:
    y = x[:, None] - x[None, :]
    x = x + 0
    for k in range(3):
        x += (x[:, None] * y).sum(axis=1) * 0.1**k
    return x


def before_a_pullback(x: Any) -> Any:
    y = x * 1.0
    if not graphc.is_traced(x):
        return y * y, 2 * y
    square, pullback = graphc.vjp(lambda v: v * v, y)
    y += 1
    return square, pullback(np.ones(2))[0]


@pytest.mark.parametrize(
    "f",
    [second_name, in_another_function, in_a_list, copies, not_copies, scalars, accumulated, before_a_pullback],
    ids=lambda f: f.__name__,
)
def test_every_name_of_an_array_sees_the_change(f: Callable[[Any], Any]) -> None:
    x = np.array([1.0, 2.0])
    expected, actual = optree.tree_leaves(f(x)), optree.tree_leaves(graphc.jit(f)(x))
    for want, have in zip(expected, actual, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-14)


def view(x: Any) -> Any:
    y = x * 2
    z = y[:1]
    z += 1
    return y


def base_of_a_view(x: Any) -> Any:
    y = x * 2
    z = y.reshape(2, 1)
    y += 1
    return z


def outer_value(x: Any) -> Any:
    y = x * 2

    def inner(v: Any) -> Any:
        nonlocal y
        y += v
        return y.sum()

    return graphc.grad(inner)(x)


@pytest.mark.parametrize("f", [view, base_of_a_view, outer_value])
def test_a_change_that_shows_elsewhere_is_refused(f: Callable[[Any], Any]) -> None:
    with pytest.raises(UnsupportedError, match=r"in place that .* shows too"):
        graphc.trace(f, "f64[2]")


def test_a_view_of_nothing_else_is_free() -> None:
    def f(x: Any) -> Any:
        y = (x * 2).reshape(2, 1)
        y += 1
        return y

    np.testing.assert_array_equal(graphc.jit(f)(np.ones(2)), [[3], [3]])


def test_equal_values_are_not_one_array() -> None:
    def f(x: Any) -> Any:
        a, b = x * 2, x * 2
        a += 1
        return a, b

    a, b = graphc.jit(f)(np.ones(2))
    np.testing.assert_array_equal(a, [3, 3])
    np.testing.assert_array_equal(b, [2, 2])


def test_the_result_must_fit() -> None:
    def grow(x: Any) -> Any:
        y = x * 2
        y += np.ones((3, 2))
        return y

    def widen(x: Any) -> Any:
        y = x * 2
        y += 1.5
        return y

    with pytest.raises(ShapeError, match="does not fit"):
        graphc.trace(grow, "f64[2]")
    with pytest.raises(DTypeError, match="cannot be stored"):
        graphc.trace(widen, "i64[2]")
