"""Deciding by SymPy whether an expression is identically zero."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import CO_GENERATOR
from types import FrameType
from typing import Any, Final

import sympy as sp

INTERRUPTED: Final = ("sympy.", __name__)
LIMIT: Final = 3000  # operations; beyond this SymPy's canonical forms take minutes


class OutOfTime(BaseException):
    """The time for a proof is up. Not an `Exception`, so that SymPy's own handlers let it pass."""


@contextmanager
def limited(deadline: float) -> Iterator[None]:
    """Raise OutOfTime in this thread's Python code once `time.thread_time()` is past the deadline.

    One call of SymPy may take minutes and offers no way to stop it, so a profile hook looks at the clock.
    """
    known = sys.getprofile()
    calls, late = 0, False

    def look(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls, late
        calls += 1
        late = late or (calls % 256 == 0 and time.thread_time() > deadline)
        if late and event == "call" and _interruptible(frame):
            raise OutOfTime

    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(known)


def _interruptible(frame: FrameType) -> bool:
    """Whether an exception gets out: a generator being closed, a finaliser or a weakref callback swallows it."""
    code = frame.f_code
    here = frame.f_globals.get("__name__", "").startswith(INTERRUPTED)
    return bool(here and not code.co_flags & CO_GENERATOR and code.co_name != "__del__")


def vanishes(expr: Any, limit: int = LIMIT) -> bool:
    """Whether SymPy brings the expression to exactly 0. False means only that it did not.

    An expression with a Float in it is never called zero. Cheap canonical forms come first; `simplify` is
    tried last and only on what is small.

    >>> x = sp.Symbol("x", real=True)
    >>> vanishes(sp.exp(x) / (1 + sp.exp(x)) - 1 / (1 + sp.exp(-x)))
    True
    >>> vanishes(sp.Float(0.5) * x - x / 3)
    False
    """
    expr = sp.sympify(expr)
    if expr == 0:
        return True
    if expr.has(sp.Float, sp.nan, sp.zoo, sp.oo) or expr.is_Rational:
        return False
    if any(p.exp.is_negative and sp.expand(p.base) == 0 for p in expr.atoms(sp.Pow)):
        return False  # divided by 0 in disguise
    if sp.count_ops(expr) <= limit and _numerator(expr) == 0:
        return True
    for form in FORMS:
        if sp.count_ops(expr) > (limit if form is not sp.simplify else limit // 30):
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


def _numerator(expr: Any) -> Any:
    """The numerator over one denominator, as a polynomial in square roots none of which is squared.

    Roots within roots are symbols of their own, inner ones first; equal radicands, brought to the same form, share one.
    Nothing is assumed of the symbols, since a radicand may be 0, or negative.
    """
    roots: dict[Any, Any] = {}  # radicand, free of squares of roots -> its root's symbol
    seen: dict[Any, Any] = {}  # half a power -> what stands for it
    halves = [p for p in expr.atoms(sp.Pow) if p.exp.is_Rational and p.exp.q == 2]
    for power in sorted(halves, key=sp.count_ops):
        radicand = _reduced(power.base.xreplace(seen), roots)
        if radicand is None:
            return expr
        root = roots.setdefault(radicand, sp.Dummy())
        seen[power] = root**power.exp.p
    top, bottom = sp.fraction(sp.together(expr.xreplace(seen)))
    found = _reduced(top, roots)
    if found is None:
        return expr
    # a quotient by what is 0 itself has no value, whatever stands above
    factors = [f.as_base_exp()[0] for f in sp.Mul.make_args(bottom)] if found == 0 else []
    return expr if any(_reduced(f, roots) in (None, 0) for f in factors) else found


def _reduced(expr: Any, roots: dict[Any, Any]) -> Any:
    """A polynomial with squares of roots replaced by their radicands, outer roots first; None if it is none."""
    for radicand, root in reversed(roots.items()):
        try:
            powers = sp.Poly(expr, root)
        except sp.PolynomialError:
            return None
        expr = sum(c * radicand ** (k // 2) * root ** (k % 2) for (k,), c in powers.terms())
    return sp.expand(expr) if expr.is_polynomial(*roots.values()) else None


FORMS: Final = (sp.expand, _exponentials, _powers, sp.simplify)
