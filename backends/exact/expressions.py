"""SymPy expressions as an exact field: what `to_sympy` and `backend="sympy"` show."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from graphc.backends.exact.fields import ExactError, Field, Undecided


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

    def exp(self, x: Any) -> Any:
        return sp.exp(x)

    def log(self, x: Any) -> Any:
        return sp.log(x)

    def sqrt(self, x: Any) -> Any:
        return sp.sqrt(x)

    def sin(self, x: Any) -> Any:
        return sp.sin(x)

    def cos(self, x: Any) -> Any:
        return sp.cos(x)

    def tanh(self, x: Any) -> Any:
        return sp.tanh(x)

    def erf(self, x: Any) -> Any:
        return sp.erf(x)

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
