"""Deciding by SymPy whether an expression is identically zero."""

from __future__ import annotations

import time
from typing import Any, Final

import sympy as sp

LIMIT: Final = 3000  # operations; beyond this SymPy's canonical forms take minutes


def vanishes(expr: Any, deadline: float | None = None, limit: int = LIMIT) -> bool:
    """Whether SymPy brings the expression to exactly 0. False means only that it did not.

    An expression with a Float in it is never called zero. Cheap canonical forms come first; `simplify` is
    tried last and only on what is small.

    >>> x = sp.Symbol("x", real=True)
    >>> vanishes(sp.exp(x) / (1 + sp.exp(x)) - 1 / (1 + sp.exp(-x)))
    True
    >>> vanishes(sp.Float(0.5) * x - x / 2)
    False
    """
    expr = sp.sympify(expr)
    if expr.has(sp.Float) or expr.has(sp.nan, sp.zoo, sp.oo):
        return False
    if expr == 0:
        return True
    if not expr.free_symbols and not expr.has(sp.Function, sp.Pow, sp.NumberSymbol):
        return False
    for number, form in enumerate(FORMS):
        if deadline is not None and time.monotonic() > deadline:
            return False
        size = sp.count_ops(expr)
        if size > (limit if number < len(FORMS) - 1 else limit // 30):
            return False
        expr = form(expr)
        if expr == 0:
            return True
    return False


def _exponentials(expr: Any) -> Any:
    """Numerator over one denominator, hyperbolic functions as exponentials, exponents split into sums."""
    if expr.has(sp.tanh):
        expr = expr.rewrite(sp.exp)
    expr = sp.expand_power_exp(sp.powdenest(expr))
    top, _ = sp.fraction(sp.together(expr))
    return sp.expand(top)


def _powers(expr: Any) -> Any:
    return sp.expand(sp.powsimp(sp.expand_log(sp.expand_func(expr), force=False)))


FORMS: Final = (sp.expand, _exponentials, _powers, sp.simplify)
