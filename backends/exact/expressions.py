"""SymPy expressions as an exact field: what `to_sympy` and `backend="sympy"` show."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

import numpy as np
import sympy as sp

from graphc.backends.exact.fields import ExactError, Field, Undecided


def sympy_function(name: str, x: Any, *order: int) -> Any:
    """SymPy's expression of an elementary function.

    >>> t = sp.Symbol("t", real=True)
    >>> sympy_function("spherical_jn", t, 0), sympy_function("bessel_i", t, 1)
    (sinc(t), besseli(1, t))
    """
    special = SYMPY.get(name)
    return getattr(sp, name)(x) if special is None else special(x, *order)


# SymPy's names where they differ; orders come first there
SYMPY: Final[dict[str, Callable[..., Any]]] = {
    "log1p": lambda x: sp.log(1 + x),
    "cbrt": lambda x: sp.sign(x) * sp.Abs(x) ** sp.Rational(1, 3),
    "polygamma": lambda x, n: sp.polygamma(n, x),
    "bessel_i": lambda x, n: sp.besseli(n, x),
    "bessel_j": lambda x, n: sp.besselj(n, x),
    "bessel_k": lambda x, n: sp.besselk(n, x),
    "exprel": lambda x, n: sp.hyper((n + 1,), (n + 2,), x) / (n + 1),
    "expi": lambda x: sp.Ei(x),
    "spherical_jn": lambda x, n: sp.sinc(x) if n == 0 else sp.jn(n, x) if x != 0 else sp.Integer(0),
}


class Expressions(Field):
    """Plain expressions. Comparisons of constants are decided at once, the others stay as conditions.

    >>> field = Expressions()
    >>> x = sp.Symbol("x", real=True)
    >>> field.where(field.less(x, field.number(0)), -x, x)
    Piecewise((-x, x < 0), (x, True))
    """

    def number(self, value: Fraction | int) -> Any:
        value = Fraction(value)
        return sp.Rational(value.numerator, value.denominator)

    def lift(self, x: Any) -> Any:
        if isinstance(x, (bool, sp.logic.boolalg.BooleanAtom)):
            return sp.Integer(int(bool(x)))
        if isinstance(x, sp.logic.boolalg.Boolean) and not isinstance(x, sp.Symbol):
            return sp.Piecewise((sp.Integer(1), x), (sp.Integer(0), True))
        return super().lift(x)

    def admit(self, x: Any) -> Any:
        if isinstance(x, sp.logic.boolalg.BooleanAtom):
            return bool(x)
        if isinstance(x, sp.Expr) and x.has(sp.Float):
            raise ExactError("a Float arose inside exact arithmetic", actual=str(x))
        return super().admit(x)

    def stop_gradient(self, x: Any) -> Any:
        return x

    def integer(self, x: Any) -> int:
        value = self.lift(x)
        if not value.is_Integer:
            raise Undecided(f"a position that is known only when the graph runs: {value}")
        return int(value)

    def pi(self) -> Any:
        return sp.pi

    def elementary(self, name: str, x: Any, *order: int) -> Any:
        return sympy_function(name, self.lift(x), *order)

    def atan2(self, y: Any, x: Any) -> Any:
        return sp.atan2(self.lift(y), self.lift(x))

    def holds(self, condition: Any) -> bool:
        if isinstance(condition, sp.logic.boolalg.BooleanAtom):
            return bool(condition)
        return super().holds(condition)

    def integer_pow(self, x: Any, exponent: int) -> Any:
        return self.lift(x) ** exponent

    def pow(self, a: Any, b: Any) -> Any:
        return self.lift(a) ** self.lift(b)

    def abs(self, x: Any) -> Any:
        return sp.Abs(x)

    def sign(self, x: Any) -> Any:
        return sp.sign(x)

    def floor(self, x: Any) -> Any:
        return sp.floor(x)

    def equal(self, a: Any, b: Any) -> Any:
        return sp.Eq(self.lift(a), self.lift(b))

    def less(self, a: Any, b: Any) -> Any:
        return sp.Lt(self.lift(a), self.lift(b))

    def logical_and(self, a: Any, b: Any) -> Any:
        return sp.And(a, b)

    def logical_or(self, a: Any, b: Any) -> Any:
        return sp.Or(a, b)

    def logical_not(self, a: Any) -> Any:
        return sp.Not(a)

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        if isinstance(condition, (bool, sp.logic.boolalg.BooleanAtom)):
            return x if condition else y
        return sp.Piecewise((self.lift(x), condition), (self.lift(y), True))

    def maximum(self, a: Any, b: Any) -> Any:
        return sp.Max(self.lift(a), self.lift(b))

    def minimum(self, a: Any, b: Any) -> Any:
        return sp.Min(self.lift(a), self.lift(b))

    def cast(self, x: Any, dtype: np.dtype[Any]) -> Any:
        if dtype.kind == "b":
            return x if isinstance(x, (bool, sp.logic.boolalg.Boolean)) else sp.Ne(x, 0)
        x = self.lift(x)
        if dtype.kind == "f" or x.is_integer:
            return x
        return self.where(self.less(x, 0), -sp.floor(-x), sp.floor(x))
