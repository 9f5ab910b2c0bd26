"""What SymPy is asked to prove: an expression is called zero only where it is zero."""

from __future__ import annotations

from typing import Any, Final

import pytest
import sympy as sp

from graphc.verification.zero import vanishes

X, Y = sp.symbols("x y", real=True)
DISGUISED: Final = (X + 1) ** 2 - X**2 - 2 * X - 1
INNER: Final = sp.sqrt((X + Y) ** 2 + 1)

ZEROS: Final[dict[str, Any]] = {
    "a sum of quotients": X / (X + Y) + Y / (X + Y) - 1,
    "equal radicands of two forms": INNER - sp.sqrt(X**2 + 2 * X * Y + Y**2 + 1),
    "a root in a denominator": 1 / (sp.sqrt(X**2 + 2) - 1) - (sp.sqrt(X**2 + 2) + 1) / (X**2 + 1),
    "a root within a root": (sp.sqrt(INNER + Y) + INNER) * (sp.sqrt(INNER + Y) - INNER) - Y - INNER + INNER**2,
    "a power of three halves": ((X + Y) ** 2 + 1) ** sp.Rational(3, 2) - (X**2 + 2 * X * Y + Y**2 + 1) * INNER,
}
OTHERS: Final[dict[str, Any]] = {
    "another root": sp.sqrt(X**2 + 1) - sp.sqrt(X**2 + 2),
    "a root of the other sign": 1 / (INNER - 1) - (1 - INNER) / ((X + Y) ** 2),
    "the sign of a root of 0": sp.sign(sp.sqrt(DISGUISED)) - 1,
    "the size of a root that may be imaginary": sp.Abs(sp.sqrt(X)) - sp.sqrt(X),
    "a quotient of zeros": (X * (X + 1) - X**2 - X) / DISGUISED,
    "a difference of infinities": 1 / DISGUISED - 1 / ((X + 2) ** 2 - X**2 - 4 * X - 4),
    "a root of 0 in a denominator": (X * (X + 1) - X**2 - X) / sp.sqrt(DISGUISED),
    "a condition of a root's sign": sp.Piecewise((1, sp.sqrt(X) > 0), (0, True)) - 1,
    "the sign of a root within": sp.sqrt(Y) * (sp.sign(sp.sqrt(sp.Max(X, 0))) - 1),
    "a root that is a size": sp.sqrt(X**2) - X,
    "a product of roots of two negative numbers": sp.sqrt(X) * sp.sqrt(X - 1) - sp.sqrt(X * (X - 1)),
    "a root of the opposite number": sp.sqrt(X - 1) - sp.sqrt(1 - X),
    "what is all but zero": INNER - sp.Rational(1, 10**30) - sp.sqrt(X**2 + 2 * X * Y + Y**2 + 1),
    "a Float": sp.Float(0.5) * X - X / 3,
}


@pytest.mark.parametrize("name", ZEROS)
def test_what_is_zero(name: str) -> None:
    assert ZEROS[name] != 0, "SymPy alone sees it"
    assert vanishes(ZEROS[name])
    assert not vanishes(ZEROS[name] + 1)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not(name: str) -> None:
    assert not vanishes(OTHERS[name])
