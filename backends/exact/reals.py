"""Real numbers with error bounds (Arb, by python-flint), or with many digits where it is missing (mpmath)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from graphc.backends.exact.fields import Undecided
from graphc.backends.exact.jets import Numbers

PRECISION: Final = 256  # bits of a ball's centre
DIGITS: Final = 60


class Balls(Numbers):
    """Arb balls: every operation encloses the true result, so an exclusion of 0 is a proof.

    Reference: F. Johansson, "Arb: efficient arbitrary-precision midpoint-radius interval arithmetic", 2017.
    """

    certified = True

    def __init__(self, precision: int = PRECISION, widen: bool = False) -> None:
        self.flint = import_module("flint")
        self.precision = precision
        self.widen = widen

    @contextmanager
    def working(self) -> Iterator[None]:
        with self.flint.ctx.workprec(self.precision):
            yield

    def number(self, value: Fraction | int) -> Any:
        if isinstance(value, int):
            return self.flint.arb(value)
        if value.denominator == 1:
            return self.flint.arb(value.numerator)
        centre = self.flint.arb(self.flint.fmpq(value.numerator, value.denominator))
        if self.widen and inexact(value):
            return self.flint.arb(centre, abs(float(value)) * 2.0**-52)
        return centre

    def pi(self) -> Any:
        return self.flint.arb.pi()

    def call(self, name: str, x: Any) -> Any:
        return getattr(x, name)()

    def sign(self, x: Any) -> int:
        if x > 0:
            return 1
        if x < 0:
            return -1
        if x == 0:
            return 0
        raise Undecided(f"the sign of {x}")

    def floor(self, x: Any) -> int:
        whole = x.floor().unique_fmpz() if x.is_finite() else None
        if whole is None:
            raise Undecided(f"the whole part of {x}")
        return int(whole)

    def close(self, difference: Any, scale: float) -> bool:
        """Whether a difference may be 0; a value that is not finite may not."""
        return bool(difference.is_finite() and difference.contains(0))

    def radius(self, x: Any) -> float:
        return float(x.rad())

    def magnitude(self, x: Any) -> float:
        return float(abs(x).upper()) if x.is_finite() else float("nan")

    def centre(self, x: Any) -> float:
        return float(x.mid()) if x.is_finite() else float("nan")


class Digits(Numbers):
    """mpmath numbers at 60 digits: good for a check, without proof."""

    def __init__(self, digits: int = DIGITS, widen: bool = False) -> None:
        self.mp = import_module("mpmath").MPContext()
        self.mp.dps = digits
        self.tolerance = self.mp.mpf(10) ** (-digits // 2)
        self.widen = widen

    def number(self, value: Fraction | int) -> Any:
        value = Fraction(value)
        return Guarded(self, self.mp.mpf(value.numerator) / value.denominator)

    def pi(self) -> Any:
        return Guarded(self, +self.mp.pi)

    def call(self, name: str, x: Any) -> Any:
        value = x.value
        if (name == "log" and value <= 0) or (name == "sqrt" and value < 0):
            return Guarded(self, self.mp.nan)
        return Guarded(self, getattr(self.mp, name)(value))

    def sign(self, x: Any) -> int:
        value = x.value
        if value == 0:
            return 0
        if not self.mp.isfinite(value) or abs(value) < self.tolerance:
            raise Undecided(f"the sign of {value}")
        return 1 if value > 0 else -1

    def floor(self, x: Any) -> int:
        if not self.mp.isfinite(x.value):
            raise Undecided(f"the whole part of {x.value}")
        return int(self.mp.floor(x.value))

    def close(self, difference: Any, scale: float) -> bool:
        value = difference.value
        return bool(self.mp.isfinite(value)) and abs(value) <= (2e-15 if self.widen else self.tolerance) * (1 + scale)

    def radius(self, x: Any) -> float:
        return float(abs(x.value))

    def magnitude(self, x: Any) -> float:
        return float(abs(x.value))

    def centre(self, x: Any) -> float:
        return float(x.value)


class Guarded:
    """An mpf whose division by zero gives NaN, so that the branch of a `where` not taken may be anything."""

    __array_ufunc__ = None
    __slots__ = ("numbers", "value")

    def __init__(self, numbers: Digits, value: Any) -> None:
        self.numbers = numbers
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)

    def _with(self, value: Any) -> Guarded:
        return Guarded(self.numbers, value)

    def __neg__(self) -> Guarded:
        return self._with(-self.value)

    def __add__(self, other: Any) -> Guarded:
        return self._with(self.value + _value(other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Guarded:
        return self._with(self.value - _value(other))

    def __rsub__(self, other: Any) -> Guarded:
        return self._with(_value(other) - self.value)

    def __mul__(self, other: Any) -> Guarded:
        return self._with(self.value * _value(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Guarded:
        by = _value(other)
        return self._with(self.value / by if by else self.numbers.mp.nan)

    def __rtruediv__(self, other: Any) -> Guarded:
        return self._with(_value(other) / self.value if self.value else self.numbers.mp.nan)


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Guarded) else x


def inexact(value: Fraction) -> bool:
    """Whether a float constant looks like the rounding of another number: more than 32 significant bits.

    >>> inexact(Fraction(0.375)), inexact(Fraction(0.1))
    (False, True)
    """
    return value.numerator.bit_length() > 32


@lru_cache(maxsize=1)
def have_flint() -> bool:
    """Whether python-flint is installed (the `verify` extra)."""
    try:
        import_module("flint")
    except ImportError:
        return False
    return True


def reals(widen: bool = False) -> Balls | Digits:
    """The best real numbers installed here."""
    return Balls(widen=widen) if have_flint() else Digits(widen=widen)
