"""The elementary functions of exact fields: the first two derivatives of each, written in the functions themselves.

Derivatives are from F. W. J. Olver et al., "NIST Digital Library of Mathematical Functions", https://dlmf.nist.gov.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

# n: the numbers, x: the point, y: the value there; then the order, for functions that come in families
Pair = Sequence[Any]


def _log(n: Any, x: Any, y: Any) -> Pair:
    return 1 / x, -1 / (x * x)


def _log1p(n: Any, x: Any, y: Any) -> Pair:
    slope = 1 / (1 + x)
    return slope, -slope * slope


def _sqrt(n: Any, x: Any, y: Any) -> Pair:
    return 1 / (2 * y), -1 / (4 * x * y)


def _cbrt(n: Any, x: Any, y: Any) -> Pair:
    slope = 1 / (3 * y * y)
    return slope, -2 * slope * slope / y


def _sin(n: Any, x: Any, y: Any) -> Pair:
    return n.call("cos", x), -y


def _cos(n: Any, x: Any, y: Any) -> Pair:
    return -n.call("sin", x), -y


def _tanh(n: Any, x: Any, y: Any) -> Pair:
    slope = 1 - y * y
    return slope, -2 * y * slope


def _asin(n: Any, x: Any, y: Any) -> Pair:
    slope = 1 / n.call("sqrt", 1 - x * x)
    return slope, x * slope / (1 - x * x)


def _acos(n: Any, x: Any, y: Any) -> Pair:
    first, second = _asin(n, x, y)
    return -first, -second


def _atan(n: Any, x: Any, y: Any) -> Pair:
    slope = 1 / (1 + x * x)
    return slope, -2 * x * slope * slope


def _asinh(n: Any, x: Any, y: Any) -> Pair:
    slope = 1 / n.call("sqrt", 1 + x * x)
    return slope, -x * slope / (1 + x * x)


def _acosh(n: Any, x: Any, y: Any) -> Pair:
    slope = 1 / n.call("sqrt", x * x - 1)
    return slope, -x * slope / (x * x - 1)


def _atanh(n: Any, x: Any, y: Any) -> Pair:
    slope = 1 / (1 - x * x)
    return slope, 2 * x * slope * slope


def _erf(n: Any, x: Any, y: Any) -> Pair:
    slope = 2 * n.call("exp", -(x * x)) / n.call("sqrt", n.pi())
    return slope, -2 * x * slope


def _erfc(n: Any, x: Any, y: Any) -> Pair:
    first, second = _erf(n, x, y)
    return -first, -second


def _erfinv(n: Any, x: Any, y: Any) -> Pair:
    slope = n.call("sqrt", n.pi()) * n.call("exp", y * y) / 2
    return slope, 2 * y * slope * slope


def _gamma(n: Any, x: Any, y: Any) -> Pair:
    psi = n.call("polygamma", x, 0)
    return y * psi, y * (psi * psi + n.call("polygamma", x, 1))


def _polygamma(n: Any, x: Any, y: Any, order: int) -> Pair:
    return n.call("polygamma", x, order + 1), n.call("polygamma", x, order + 2)


def _bessel_i(n: Any, x: Any, y: Any, order: int) -> Pair:
    low, high = (n.call("bessel_i", x, abs(order + k)) for k in (-1, 1))
    lower, higher = (n.call("bessel_i", x, abs(order + k)) for k in (-2, 2))
    return (low + high) / 2, (lower + 2 * y + higher) / 4


def bessel_j(n: Any, x: Any, order: int) -> Any:
    """J of any whole order by those from 0 on."""
    value = n.call("bessel_j", x, abs(order))
    return -value if order < 0 and order % 2 else value


def _bessel_j(n: Any, x: Any, y: Any, order: int) -> Pair:
    low, high, lower, higher = (bessel_j(n, x, order + k) for k in (-1, 1, -2, 2))
    return (low - high) / 2, (lower - 2 * y + higher) / 4


def _spherical_slope(n: Any, x: Any, order: int) -> Any:
    high = n.call("spherical_jn", x, order + 1)
    if order == 0:
        return -high
    return (order * n.call("spherical_jn", x, order - 1) - (order + 1) * high) / (2 * order + 1)


def _spherical_jn(n: Any, x: Any, y: Any, order: int) -> Pair:
    above = _spherical_slope(n, x, order + 1)
    if order == 0:
        return _spherical_slope(n, x, 0), -above
    below = _spherical_slope(n, x, order - 1)
    return _spherical_slope(n, x, order), (order * below - (order + 1) * above) / (2 * order + 1)


def _bessel_k(n: Any, x: Any, y: Any, order: int) -> Pair:
    low, high = (n.call("bessel_k", x, abs(order + k)) for k in (-1, 1))
    lower, higher = (n.call("bessel_k", x, abs(order + k)) for k in (-2, 2))
    return -(low + high) / 2, (lower + 2 * y + higher) / 4


def _exprel(n: Any, x: Any, y: Any, order: int) -> Pair:
    return n.call("exprel", x, order + 1), n.call("exprel", x, order + 2)


def _erfi(n: Any, x: Any, y: Any) -> Pair:
    slope = 2 * n.call("exp", x * x) / n.call("sqrt", n.pi())
    return slope, 2 * x * slope


def _expi(n: Any, x: Any, y: Any) -> Pair:
    slope = n.call("exp", x) / x
    return slope, slope - slope / x


def _fresnels(n: Any, x: Any, y: Any) -> Pair:
    angle = n.pi() * x * x / 2
    return n.call("sin", angle), n.pi() * x * n.call("cos", angle)


def _fresnelc(n: Any, x: Any, y: Any) -> Pair:
    angle = n.pi() * x * x / 2
    return n.call("cos", angle), -n.pi() * x * n.call("sin", angle)


DERIVATIVES: Final[dict[str, Callable[..., Pair]]] = {
    "exp": lambda n, x, y: (y, y),
    "log": _log,
    "log1p": _log1p,
    "sqrt": _sqrt,
    "cbrt": _cbrt,
    "sin": _sin,
    "cos": _cos,
    "tanh": _tanh,
    "asin": _asin,
    "acos": _acos,
    "atan": _atan,
    "asinh": _asinh,
    "acosh": _acosh,
    "atanh": _atanh,
    "erf": _erf,
    "erfc": _erfc,
    "erfinv": _erfinv,
    "gamma": _gamma,
    "polygamma": _polygamma,
    "bessel_i": _bessel_i,
    "bessel_j": _bessel_j,
    "bessel_k": _bessel_k,
    "spherical_jn": _spherical_jn,
    "exprel": _exprel,
    "erfi": _erfi,
    "expi": _expi,
    "fresnels": _fresnels,
    "fresnelc": _fresnelc,
}
# families of functions, which take a whole order
FAMILIES: Final = frozenset({"polygamma", "bessel_i", "bessel_j", "bessel_k", "exprel", "spherical_jn"})
