"""In-place operators on traced values: NumPy's result, or a refusal where another name would see the change."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
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
        y = x + 1
        y = OPERATORS[symbol](y, OTHERS[other])
        return y

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
    y = x
    y += 1
    return x


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


@pytest.mark.parametrize("f", [second_name, view, base_of_a_view])
def test_a_change_that_shows_elsewhere_is_refused(f: Callable[[Any], Any]) -> None:
    with pytest.raises(UnsupportedError, match="in place that . shows too"):
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
