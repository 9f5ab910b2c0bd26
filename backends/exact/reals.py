"""Real numbers with error bounds (Arb, by python-flint), or with many digits where it is missing (mpmath)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from importlib import import_module
from math import factorial
from typing import Any, Final

from graphc.backends.exact.fields import Undecided
from graphc.backends.exact.jets import Numbers

PRECISION: Final = 256  # bits of a ball's centre
DIGITS: Final = 60


def ball_function(name: str, x: Any, *order: int) -> Any:
    """An elementary function of a ball."""
    special = BALLS.get(name)
    return getattr(x, name)() if special is None else special(x, *order)


def _ball_cbrt(x: Any) -> Any:
    return x.root(3) if x > 0 else -(-x).root(3) if x < 0 else x if x == 0 else x * float("nan")


def _ball_polygamma(x: Any, n: int) -> Any:
    if n == 0:
        return x.digamma()
    # by recurrence from the right half line, where it is a Hurwitz zeta function; https://dlmf.nist.gov/5.15
    scale = (-1) ** (n + 1) * factorial(n)
    total = type(x)(0)
    for _ in range(1000):
        if x > 0:
            return scale * (total + type(x)(n + 1).zeta(x))
        total = total + 1 / x ** (n + 1)
        x = x + 1
    return x * float("nan")


def _ball_spherical(x: Any, n: int) -> Any:
    # x**n / (2n + 1)!! times an entire series; https://dlmf.nist.gov/10.53 and 16.2
    ball = type(x)
    scale = ball(1)
    for k in range(n):
        scale = scale * x / (2 * k + 3)
    return scale * (-(x * x) / 4).hypgeom_0f1(ball(2 * n + 3) / 2)


BALLS: Final[dict[str, Callable[..., Any]]] = {
    "cbrt": _ball_cbrt,
    "polygamma": _ball_polygamma,
    "bessel_i": lambda x, n: x.bessel_i(n),
    "bessel_j": lambda x, n: x.bessel_j(n),
    "bessel_k": lambda x, n: x.bessel_k(n),
    "exprel": lambda x, n: x.hypgeom([type(x)(n + 1)], [type(x)(n + 2)]) / (n + 1),
    "expi": lambda x: x.ei(),
    "fresnels": lambda x: x.fresnel_s(),
    "fresnelc": lambda x: x.fresnel_c(),
    "spherical_jn": _ball_spherical,
}
MPMATH: Final[dict[str, Callable[..., Any]]] = {
    "cbrt": lambda mp, x: mp.sign(x) * mp.cbrt(abs(x)),
    "polygamma": lambda mp, x, n: mp.psi(n, x),
    "bessel_i": lambda mp, x, n: mp.besseli(n, x),
    "bessel_j": lambda mp, x, n: mp.besselj(n, x),
    "bessel_k": lambda mp, x, n: mp.besselk(n, x),
    "exprel": lambda mp, x, n: mp.hyp1f1(n + 1, n + 2, x) / (n + 1),
    "expi": lambda mp, x: mp.ei(x),
    "spherical_jn": lambda mp, x, n: x**n / mp.fac2(2 * n + 1) * mp.hyp0f1(n + mp.mpf(3) / 2, -x * x / 4),
}


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

    def call(self, name: str, x: Any, *order: int) -> Any:
        return ball_function(name, x, *order)

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

    def call(self, name: str, x: Any, *order: int) -> Any:
        mp = self.mp
        special = MPMATH.get(name)
        try:
            value = getattr(mp, name)(x.value) if special is None else special(mp, x.value, *order)
        except (ValueError, ZeroDivisionError):  # a pole
            value = mp.nan
        return Guarded(self, value if isinstance(value, mp.mpf) and mp.isfinite(value) else mp.nan)

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
