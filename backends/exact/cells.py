"""Cells: SymPy expressions beside their value at a sample point, for proofs of graphs with branches.

A comparison is decided at the point, so `maximum`, `abs` and `where` become the branch taken there, and what is
left is a smooth expression that holds on the whole cell around the point. SymPy's own `Max` and `Piecewise` make
the same proofs hopeless.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from graphc.backends.exact.expressions import sympy_function
from graphc.backends.exact.fields import Array, ExactError, Undecided, empty
from graphc.backends.exact.jets import JetField, Numbers
from graphc.backends.exact.reals import reals


class Cell:
    """An expression and its value at the sample point."""

    __array_ufunc__ = None
    __slots__ = ("expr", "real")

    def __init__(self, expr: Any, real: Any) -> None:
        self.expr = expr
        self.real = real

    def __repr__(self) -> str:
        return f"<{self.expr} ~ {self.real}>"

    def __neg__(self) -> Cell:
        return Cell(-self.expr, -self.real)

    def __add__(self, other: Any) -> Cell:
        expr, real = _parts(other)
        return Cell(self.expr + expr, self.real + real)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Cell:
        expr, real = _parts(other)
        return Cell(self.expr - expr, self.real - real)

    def __rsub__(self, other: Any) -> Cell:
        expr, real = _parts(other)
        return Cell(expr - self.expr, real - self.real)

    def __mul__(self, other: Any) -> Cell:
        expr, real = _parts(other)
        return Cell(self.expr * expr, self.real * real)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Cell:
        expr, real = _parts(other)
        return Cell(self.expr / sp.sympify(expr), self.real / real)

    def __rtruediv__(self, other: Any) -> Cell:
        expr, real = _parts(other)
        return Cell(sp.sympify(expr) / self.expr, real / self.real)


def _parts(x: Any) -> tuple[Any, Any]:
    if isinstance(x, Cell):
        return x.expr, x.real
    if not isinstance(x, int):
        raise ExactError(f"a {type(x).__name__} arose inside exact arithmetic", actual=repr(x))
    return x, x


class CellNumbers(Numbers):
    """Expressions in symbols whose values at the sample point are known."""

    def __init__(self, point: Mapping[Any, Fraction]) -> None:
        self.reals = reals()
        self.point = point
        self.decisions: list[int] = []  # how each comparison came out: equal lists mean the same cell
        self.frozen = {s: sp.Symbol(f"{s.name}_fixed", real=True) for s in point}

    def working(self) -> AbstractContextManager[None]:
        return self.reals.working()

    def number(self, value: Fraction | int) -> Cell:
        value = Fraction(value)
        return Cell(sp.Rational(value.numerator, value.denominator), self.reals.number(value))

    def symbol(self, symbol: Any) -> Cell:
        return Cell(symbol, self.reals.number(self.point[symbol]))

    def pi(self) -> Cell:
        return Cell(sp.pi, self.reals.pi())

    def call(self, name: str, x: Cell, *order: int) -> Cell:
        expr = self._expression(name, x, *order)
        if expr.has(sp.Abs):  # SymPy writes sqrt(x**2) as |x|
            expr = expr.replace(sp.Abs, lambda u: -u if self._negative(u) else u)
        return Cell(expr, self.reals.call(name, x.real, *order))

    def _expression(self, name: str, x: Cell, *order: int) -> Any:
        if name == "cbrt" and x.expr.free_symbols:
            side = self.sign(x)
            return side * (side * x.expr) ** sp.Rational(1, 3)
        if name == "spherical_jn" and x.expr.free_symbols:
            # in sines and cosines: SymPy's own function is not simplified, and its sinc differentiates to a Piecewise
            return sp.expand_func(sp.jn(*order, x.expr))
        return sympy_function(name, x.expr, *order)

    def _negative(self, expr: Any) -> bool:
        value = expr.xreplace({s: sp.Rational(v.numerator, v.denominator) for s, v in self.point.items()})
        if value.is_negative is None:
            raise Undecided(f"the sign of {expr}")
        return bool(value.is_negative)

    def pow(self, a: Cell, b: Cell) -> Cell:
        return Cell(a.expr**b.expr, self.reals.call("exp", b.real * self.reals.call("log", a.real)))

    def sign(self, x: Cell) -> int:
        if x.expr.is_zero:
            return 0
        sign = self.reals.sign(x.real)
        if sign == 0 and x.expr.free_symbols and sp.expand(x.expr) != 0:
            raise Undecided(f"{x.expr} is 0 at the sample point")
        return self._decided(x, sign)

    def floor(self, x: Cell) -> int:
        return self._decided(x, self.reals.floor(x.real))

    def _decided(self, x: Cell, choice: int) -> int:
        if x.expr.free_symbols:
            self.decisions.append(choice)
        return choice

    def freeze(self, x: Cell) -> Cell:
        return Cell(x.expr.xreplace(self.frozen), x.real)

    def thaw(self, expr: Any) -> Any:
        """Undo `freeze`, once derivatives have been taken."""
        return expr.xreplace({v: k for k, v in self.frozen.items()})


class CellField(JetField):
    """The exact field of cells; SymPy's `diff` differentiates, so the jets have one coefficient."""

    numbers: CellNumbers

    def __init__(self, point: Mapping[Any, Fraction]) -> None:
        super().__init__(CellNumbers(point))

    def symbols(self, symbols: Array) -> Array:
        """An object array of symbols as elements of this field."""
        result = empty(symbols.shape)
        for i, s in np.ndenumerate(symbols):
            result[i] = self.jet(self.numbers.symbol(s))
        return result

    def expression(self, x: Any) -> Any:
        """The SymPy expression of an element."""
        return x if isinstance(x, bool) else x.c[0].expr

    def derivative(self, x: Any, symbol: Any) -> Any:
        """SymPy's derivative of an element: the reference."""
        if isinstance(x, bool):
            return sp.Integer(0)
        return self.numbers.thaw(sp.diff(x.c[0].expr, symbol))
