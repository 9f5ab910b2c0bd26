"""Residues modulo the prime 2**61 - 1: identities are tested at random points, the Schwartz-Zippel way.

exp, log, ... become uninterpreted kernels: random functions that give equal values for equal arguments. A
difference of two expressions that vanishes at random points then vanishes as a rational function of the
variables and kernels, but for a chance of at most degree / p per point. An inequality means little (tanh against
its exp form differ here), so a mismatch is only a reason to ask Arb.

Reference: J. T. Schwartz, "Fast Probabilistic Algorithms for Verification of Polynomial Identities", 1980.
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from fractions import Fraction
from typing import Any, Final

from graphc.backends.exact.fields import ExactError, Undecided
from graphc.backends.exact.jets import Numbers
from graphc.backends.exact.reals import reals

P: Final = 2**61 - 1
ODD: Final = frozenset({"erf", "erfinv", "erfi", "asin", "atan", "asinh", "atanh", "cbrt", "fresnels", "fresnelc"})


class Residue:
    """A residue, a bound on its degrees as a fraction, and the real value that decides its branches.

    `v` is None for what is not a number. `real` is None where no branch can depend on it: derivatives.
    """

    __array_ufunc__ = None
    __slots__ = ("above", "below", "real", "v")

    def __init__(self, v: int | None, real: Any, above: int = 0, below: int = 0) -> None:
        self.v = v
        self.real = real
        self.above = above
        self.below = below

    def __repr__(self) -> str:
        return f"<{self.v} ~ {self.real}>"

    def __neg__(self) -> Residue:
        return Residue(
            None if self.v is None else -self.v % P,
            None if self.real is None else -self.real,
            self.above,
            self.below,
        )

    def __add__(self, other: Any) -> Residue:
        v, real, above, below = _parts(other)
        return Residue(
            None if v is None or self.v is None else (self.v + v) % P,
            None if real is None or self.real is None else self.real + real,
            max(self.above + below, above + self.below),
            self.below + below,
        )

    __radd__ = __add__

    def __sub__(self, other: Any) -> Residue:
        v, real, above, below = _parts(other)
        return Residue(
            None if v is None or self.v is None else (self.v - v) % P,
            None if real is None or self.real is None else self.real - real,
            max(self.above + below, above + self.below),
            self.below + below,
        )

    def __rsub__(self, other: Any) -> Residue:
        return (-self).__add__(other)

    def __mul__(self, other: Any) -> Residue:
        v, real, above, below = _parts(other)
        return Residue(
            None if v is None or self.v is None else self.v * v % P,
            None if real is None or self.real is None else self.real * real,
            self.above + above,
            self.below + below,
        )

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Residue:
        v, real, above, below = _parts(other)
        return Residue(
            None if not v or self.v is None else self.v * pow(v, P - 2, P) % P,
            None if real is None or self.real is None else self.real / (real if v else self.real * 0),
            self.above + below,
            self.below + above,
        )

    def __rtruediv__(self, other: Any) -> Residue:
        v, real, above, below = _parts(other)
        return Residue(
            None if not self.v or v is None else v * pow(self.v, P - 2, P) % P,
            None if real is None or self.real is None else real / self.real,
            above + self.below,
            below + self.above,
        )


def _parts(x: Any) -> tuple[int | None, Any, int, int]:
    if isinstance(x, Residue):
        return x.v, x.real, x.above, x.below
    if not isinstance(x, int):
        raise ExactError(f"a {type(x).__name__} arose inside exact arithmetic", actual=repr(x))
    return x % P, x, 0, 0


class Residues(Numbers):
    """The field with 2**61 - 1 elements, with kernels drawn from `seed`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.reals = reals()

    def working(self) -> AbstractContextManager[None]:
        return self.reals.working()

    def draw(self, *key: object) -> int:
        """A random residue that belongs to a key."""
        text = "|".join(map(str, (self.seed, *key))).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little") % P

    def number(self, value: Fraction | int) -> Residue:
        value = Fraction(value)
        v = value.numerator % P * pow(value.denominator, P - 2, P) % P
        return Residue(v, self.reals.number(value))

    def variable(self, key: object, value: Fraction) -> Residue:
        """A random point of one variable, with the real value that decides its branches."""
        return Residue(self.draw("variable", key), self.reals.number(value), 1)

    def direction(self, key: object, value: Fraction) -> Residue:
        """A random residue where the direction is not 0; no branch depends on it."""
        return Residue(self.draw("direction", key) if value else 0, None, 1 if value else 0)

    def pi(self) -> Residue:
        # a square, so that sqrt(pi) has a value at once
        return Residue(pow(self.draw("pi"), 2, P), self.reals.pi(), 2)

    def call(self, name: str, x: Residue, *order: int) -> Residue:
        real = None if x.real is None else self.reals.call(name, x.real, *order)
        if x.v is None:
            return Residue(None, real)
        # tanh is a quotient; a spherical Bessel function and exprel have a power of x below
        below = 1 if name == "tanh" else order[0] + 1 if name in ("spherical_jn", "exprel") else 0
        return Residue(self._kernel(name, x.v, *order), real, 1 + below, below)

    def _kernel(self, name: str, v: int, *order: int) -> int | None:
        """The value of a function; what identities between functions say of it, it keeps."""
        if name == "exp":
            return self._exp(v)
        if name == "tanh":
            # through exp, so that it agrees with forms written in exp
            e = self._exp(2 * v % P)
            return (e - 1) * pow(e + 1, P - 2, P) % P
        if name == "sqrt":
            root = pow(v, (P + 1) // 4, P)
            if root * root % P != v:
                raise Undecided("a residue without a square root: draw another point")
            return root
        if name in ("sin", "cos"):
            return self._circle(name, v)
        if name == "log1p":
            return self._kernel("log", (v + 1) % P)
        if name in ("log", "acosh") and v == 1:
            return 0
        if name == "erfc":
            return (1 - self._odd("erf", v)) % P
        if name == "acos":
            return (pow(self.draw("pi"), 2, P) * pow(2, P - 2, P) - self._odd("asin", v)) % P
        if name == "spherical_jn":
            return self._spherical(v, *order)
        if name == "exprel":
            return self._exprel(v, *order)
        return self._odd(name, v) if name in ODD else self.draw(name, *order, v)

    def _spherical(self, v: int, order: int) -> int:
        """sin(x) / x and its successors by their recurrence."""
        if v == 0:
            return int(order == 0)
        over = pow(v, P - 2, P)
        low, high = self._circle("cos", v) * over % P, self._circle("sin", v) * over % P
        for n in range(order):
            low, high = high, ((2 * n + 1) * over * high - low) % P
        return high

    def _exprel(self, v: int, order: int) -> int:
        """(exp(x) - 1) / x and its successors by parts."""
        if v == 0:
            return pow(order + 1, P - 2, P)
        growth, over = self._exp(v), pow(v, P - 2, P)
        value = (growth - 1) * over % P
        for n in range(1, order + 1):
            value = (growth - n * value) * over % P
        return value

    def _exp(self, v: int) -> int:
        if v == 0:
            return 1
        # exp(-u) is 1 / exp(u)
        return self.draw("exp", v) if v <= P // 2 else pow(self.draw("exp", P - v), P - 2, P)

    def _odd(self, name: str, v: int) -> int:
        if v == 0:
            return 0
        return self.draw(name, v) if v <= P // 2 else P - self.draw(name, P - v)

    def _circle(self, name: str, v: int) -> int:
        # a point of the unit circle from the half-angle tangent keeps sin**2 + cos**2 = 1
        t = self._odd("half tangent", v)
        scale = pow(1 + t * t, P - 2, P)
        return (2 * t if name == "sin" else 1 - t * t) * scale % P

    def pow(self, a: Residue, b: Residue) -> Residue:
        product = b * self.call("log", a)
        real = None if product.real is None else self.reals.call("exp", product.real)
        return Residue(None if product.v is None else self._exp(product.v), real, 1)

    def sign(self, x: Residue) -> int:
        if x.v == 0 or x.v is None:
            if x.v is None:
                raise Undecided("a comparison with what is not a number")
            return 0
        if x.real is None:
            return 1  # asked only whether a coefficient vanishes
        sign = self.reals.sign(x.real)
        if sign == 0:
            raise Undecided("a kink or a tie at the sample point")
        return sign

    def floor(self, x: Residue) -> int:
        return self.reals.floor(x.real)
