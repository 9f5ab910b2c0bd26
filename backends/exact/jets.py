"""Truncated Taylor series over any exact numbers: the forward meaning differentiates itself.

A jet is x(t) = c0 + c1 t + c2 t**2 along one direction. Evaluating a graph's forward meaning on jets gives its
derivatives without any of the derivative rules in the op table, which is what makes jets a reference for them.
Mixed second derivatives follow by polarisation: 2 u'Hv = q(u + v) - q(u) - q(v).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from fractions import Fraction
from typing import Any, Final

from graphc.backends.exact.elementary import DERIVATIVES
from graphc.backends.exact.fields import Branching, Undecided


class Numbers:
    """The coefficients of jets: numbers with `+ - * /` and the elementary functions.

    A function outside its domain gives a value that is not a number, never an exception: the branch of a `where`
    that is not taken may be anything.
    """

    certified = False

    def number(self, value: Fraction | int) -> Any:
        raise NotImplementedError

    def variable(self, key: object, value: Fraction) -> Any:
        """The point of one variable; `key` names it."""
        return self.number(value)

    def direction(self, key: object, value: Fraction) -> Any:
        """One element of a direction or a weight; no comparison depends on it."""
        return self.number(value)

    def pi(self) -> Any:
        raise NotImplementedError

    def call(self, name: str, x: Any, *order: int) -> Any:
        """One of the elementary functions at x; families such as `polygamma` take a whole order."""
        raise NotImplementedError

    def pow(self, a: Any, b: Any) -> Any:
        return self.call("exp", b * self.call("log", a))

    def sign(self, x: Any) -> int:
        """-1, 0 or 1, or Undecided."""
        raise NotImplementedError

    def floor(self, x: Any) -> int:
        raise NotImplementedError

    def freeze(self, x: Any) -> Any:
        """The number as a constant of whatever differentiation the numbers themselves know."""
        return x

    def working(self) -> AbstractContextManager[None]:
        return nullcontext()


MAX_ORDER: Final = 2


class Jet:
    """c0 + c1 t + ...; trailing coefficients left out are 0, so a constant has one coefficient."""

    __array_ufunc__ = None
    __slots__ = ("c", "order")

    def __init__(self, c: tuple[Any, ...], order: int) -> None:
        self.c = c
        self.order = order

    def __repr__(self) -> str:
        return f"Jet{self.c}"

    def coefficient(self, k: int) -> Any:
        """The coefficient of t**k; the int 0 where it is structurally zero."""
        return self.c[k] if k < len(self.c) else 0

    def __add__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return Jet((self.c[0] + other, *self.c[1:]), self.order)
        a, b = (self.c, other.c) if len(self.c) >= len(other.c) else (other.c, self.c)
        return Jet((*(x + y for x, y in zip(a, b, strict=False)), *a[len(b) :]), self.order)

    __radd__ = __add__

    def __neg__(self) -> Jet:
        return Jet(tuple(-x for x in self.c), self.order)

    def __sub__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return Jet((self.c[0] - other, *self.c[1:]), self.order)
        a, b = self.c, other.c
        same = tuple(x - y for x, y in zip(a, b, strict=False))
        return Jet((*same, *a[len(b) :], *(-y for y in b[len(a) :])), self.order)

    def __rsub__(self, other: Any) -> Jet:
        return (-self).__add__(other)

    def __mul__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return Jet(tuple(x * other for x in self.c), self.order)
        a, b = self.c, other.c
        length = min(len(a) + len(b) - 1, self.order + 1)
        return Jet(tuple(_convolve(a, b, k) for k in range(length)), self.order)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return Jet(tuple(x / other for x in self.c), self.order)
        return _divide(self.c, other)

    def __rtruediv__(self, other: Any) -> Jet:
        return _divide((other,), self)


def _convolve(a: tuple[Any, ...], b: tuple[Any, ...], k: int) -> Any:
    low, high = max(0, k - len(b) + 1), min(k, len(a) - 1)
    total = a[low] * b[k - low]
    for i in range(low + 1, high + 1):
        total = total + a[i] * b[k - i]
    return total


def _divide(a: tuple[Any, ...], by: Jet) -> Jet:
    b = by.c
    length = max(len(a), 1) if len(b) == 1 else by.order + 1
    q: list[Any] = []
    for k in range(length):
        rest = a[k] if k < len(a) else None
        for i in range(max(0, k - len(b) + 1), k):
            term = q[i] * b[k - i]
            rest = -term if rest is None else rest - term
        q.append(rest / b[0])
    return Jet(tuple(q), by.order)


class JetField(Branching):
    """Jets over some numbers; comparisons are decided by the constant coefficient."""

    def __init__(self, numbers: Numbers, order: int = 0) -> None:
        if not 0 <= order <= MAX_ORDER:
            raise ValueError(f"jets of order {order}: expected 0 to {MAX_ORDER}")
        self.numbers = numbers
        self.order = order

    @contextmanager
    def working(self) -> Iterator[None]:
        with self.numbers.working():
            yield

    def number(self, value: Fraction | int) -> Jet:
        return Jet((self.numbers.number(value),), self.order)

    def jet(self, *coefficients: Any) -> Jet:
        """A jet with the given coefficients, cut off after this field's order."""
        return Jet(coefficients[: self.order + 1], self.order)

    def pi(self) -> Jet:
        return Jet((self.numbers.pi(),), self.order)

    def stop_gradient(self, x: Any) -> Any:
        return x if isinstance(x, bool) else Jet((self.numbers.freeze(x.c[0]),), self.order)

    def sign_of(self, x: Jet) -> int:
        sign = self.numbers.sign(x.c[0])
        if sign == 0 and len(x.c) > 1 and any(self.numbers.sign(c) for c in x.c[1:]):
            raise Undecided("a kink or a tie at the sample point")
        return sign

    def floor_of(self, x: Jet) -> int:
        whole = self.numbers.floor(x.c[0])
        if len(x.c) > 1:
            self.sign_of(x - whole)  # a jump of floor at the sample point is undecided
        return whole

    def pow(self, a: Jet, b: Jet) -> Jet:
        """a**b: a product for a constant whole b, exp(b log a) otherwise."""
        a, b = self.lift(a), self.lift(b)
        if len(b.c) == 1:
            try:
                whole = self.numbers.floor(b.c[0])
                if self.numbers.sign(b.c[0] - whole) == 0:
                    power: Jet = self.integer_pow(a, whole)
                    return power
            except Undecided:
                pass
        if len(a.c) == 1:
            if self.numbers.sign(a.c[0]) == 0 and self.numbers.sign(b.c[0]) > 0:
                return self.number(0)
            if len(b.c) == 1:
                return Jet((self.numbers.pow(a.c[0], b.c[0]),), self.order)
        return self.elementary("exp", b * self.elementary("log", a))

    def elementary(self, name: str, x: Any, *order: int) -> Jet:
        """An elementary function of a jet, by the chain rule."""
        x = self.lift(x)
        n, c = self.numbers, x.c
        value = n.call(name, c[0], *order)
        if len(c) == 1:
            return Jet((value,), self.order)
        first, second = DERIVATIVES[name](n, c[0], value, *order)
        terms = [value, first * c[1]]
        if self.order > 1:
            curved = second * (c[1] * c[1]) / 2
            terms.append(first * c[2] + curved if len(c) > 2 else curved)
        return Jet(tuple(terms), self.order)

    def atan2(self, y: Any, x: Any) -> Jet:
        """The angle of the point (x, y); undecided where it jumps, on the negative half of the x axis."""
        y, x = self.lift(y), self.lift(x)
        across, up = self.numbers.sign(x.c[0]), self.numbers.sign(y.c[0])
        if across > 0:
            return self.elementary("atan", y / x)
        if up:
            return up * self.pi() / 2 - self.elementary("atan", x / y)
        if len(y.c) > 1 or (not across and len(x.c) > 1):
            raise Undecided("an angle that jumps")
        return self.pi() if across else self.number(0)
