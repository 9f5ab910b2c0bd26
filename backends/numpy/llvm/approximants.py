"""What the polynomials of the vector functions approximate: the table from which `fit.py` computes coefficients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import mpmath as mp

from graphc.backends.numpy.llvm.values import F32, F64, DType

Real = Any  # an mpmath number


@dataclass(frozen=True, slots=True)
class Fit:
    """One polynomial P.

    function: what P approximates.
    interval: where, as a function because its ends are computed in the precision of the fit.
    weight: the error of P(x) is multiplied by this; it makes it the relative error of the final result.
    degrees: the degree for each dtype.
    note: the formula that P stands in, as a comment for the reader of the coefficients.
    """

    name: str
    note: str
    function: Callable[[Real], Real]
    interval: Callable[[], tuple[Real, Real]]
    weight: Callable[[Real], Real]
    degrees: Mapping[DType, int]


@dataclass(frozen=True, slots=True)
class Quotient:
    """One quotient of polynomials, P over Q, for single precision.

    start: the value at 0, which P(0) / Q(0) is made to have; Q(0) is 1.
    degrees: of P and of Q.
    """

    name: str
    note: str
    function: Callable[[Real], Real]
    interval: Callable[[], tuple[Real, Real]]
    weight: Callable[[Real], Real]
    start: Callable[[], Real]
    degrees: tuple[int, int]


# intervals are a little wider than they need be: rounding may lead a reduced argument beyond its end


def half_log2() -> Real:
    return mp.log(2) / 2 * mp.mpf("1.0001")


def quotient_of_sqrt2() -> Real:
    """(m - 1) / (m + 1) for m = sqrt(2)."""
    return (3 - 2 * mp.sqrt(2)) * mp.mpf("1.0001")


def scaled_erfcx(t: Real, c: float) -> Real:
    """(1 + a x) exp(x**2) erfc(x), where t = (x - c) / (x + c).

    a is nearly 2 / sqrt(pi), which makes the slope at x = 0 small; the c below make the value at x = c almost a float.
    """
    x = c * (1 + t) / (1 - t)
    factor = 1 + mp.mpf("1.128173828125") * x
    if x < 50:
        return factor * mp.exp(x * x) * mp.erfc(x)
    # the asymptotic series, https://dlmf.nist.gov/7.12
    term, total, n = mp.mpf(1), mp.mpf(1), 1
    while abs(term) > mp.eps and n < 200:
        term *= -(2 * n - 1) / (2 * x * x)
        total += term
        n += 1
    return factor * total / (x * mp.sqrt(mp.pi))


def unit_place(x: float, c: float) -> Real:
    """Where x from 0 to infinity lies between -1 and 1."""
    return (mp.mpf(x) - c) / (mp.mpf(x) + c)


def erfcx_times_sum(t: Real, c: float) -> Real:
    """2 (x + c) exp(x**2) erfc(x), where t = (x - c) / (x + c)."""
    x = c * (1 + t) / (1 - t)
    return 2 * scaled_erfcx(t, c) * (x + c) / (1 + mp.mpf("1.128173828125") * x)


def erfc_times_sum(h: Real, c: float, k: float, share: float) -> Real:
    """(x + c) / k exp(z**2) erfc(z), where z**2 is a share of x**2, and h = k / 2 - k c / (x + c)."""
    x = c * (k + 2 * h) / (k - 2 * h)
    z = x * mp.sqrt(share)
    return (x + c) / k * mp.exp(z * z) * mp.erfc(z)


def short_place(x: float, c: float, k: float) -> Real:
    """The h of a number x."""
    return mp.mpf(k) / 2 - k * c / (mp.mpf(x) + c)


def eighth_turn() -> Real:
    return mp.pi / 4 * mp.mpf("1.0001")


FITS: Final = (
    Fit(
        "EXP",
        "2 exp(r) = P(r) for |r| <= log(2) / 2",
        lambda r: 2 * mp.exp(r),
        lambda: (-half_log2(), half_log2()),
        lambda r: mp.exp(-r),
        {F32: 6, F64: 11},
    ),
    Fit(
        "EXPM1",
        "exp(r) = 1 + r + r**2 P(r) for |r| <= log(2) / 2; the error is that of expm1",
        lambda r: (mp.expm1(r) - r) / r**2,
        lambda: (-half_log2(), half_log2()),
        lambda r: r**2 / mp.expm1(r),
        {F32: 4, F64: 10},
    ),
    Fit(
        "EXP_TAIL",
        "exp(r) = 1 + r + r**2 P(r) for |r| <= log(2) / 2; the error is that of exp",
        lambda r: (mp.expm1(r) - r) / r**2,
        lambda: (-half_log2(), half_log2()),
        lambda r: r**2 * mp.exp(-r),
        {F32: 4, F64: 9},
    ),
    Fit(
        "EXP2",
        "2**r = 1 + r P(r) for |r| <= 1/2; the error is that of 2**r",
        lambda r: mp.expm1(r * mp.log(2)) / r,
        lambda: (-mp.mpf("0.5001"), mp.mpf("0.5001")),
        lambda r: r / mp.power(2, r),
        {F32: 6, F64: 11},
    ),
    Fit(
        "LOG",
        "log((1 + s) / (1 - s)) = 2 s + s z P(z) with z = s**2, for (1 + s) / (1 - s) between sqrt(1/2) and sqrt(2)",
        lambda z: (mp.atanh(mp.sqrt(z)) * 2 / mp.sqrt(z) - 2) / z,
        lambda: (mp.mpf(0), quotient_of_sqrt2() ** 2),
        lambda z: z * mp.sqrt(z) / (2 * mp.atanh(mp.sqrt(z))),
        {F32: 2, F64: 6},
    ),
    Fit(
        "LOG_NEAR",
        "log(1 + f) = f + f**2 P(f), for 1 + f between 2/3 and 4/3",
        lambda f: (mp.log1p(f) - f) / f**2,
        lambda: (-mp.mpf(1) / 3 * mp.mpf("1.0001"), mp.mpf(1) / 3 * mp.mpf("1.0001")),
        lambda f: f**2 / mp.log1p(f),
        {F32: 8},
    ),
    Fit(
        "LOG1P_UNIT",
        "log((1 + s) / (1 - s)) = 2 s + s z P(z) with z = s**2, for s up to 1/3",
        lambda z: (mp.atanh(mp.sqrt(z)) * 2 / mp.sqrt(z) - 2) / z,
        lambda: (mp.mpf(0), mp.mpf(1) / 9 * mp.mpf("1.0001")),
        lambda z: z * mp.sqrt(z) / (2 * mp.atanh(mp.sqrt(z))),
        {F32: 4, F64: 10},
    ),
    Fit(
        "SIN",
        "sin(r) = r + r z P(z) with z = r**2, for |r| <= pi / 4",
        lambda z: (mp.sin(mp.sqrt(z)) / mp.sqrt(z) - 1) / z,
        lambda: (mp.mpf(0), eighth_turn() ** 2),
        lambda z: z * mp.sqrt(z) / mp.sin(mp.sqrt(z)),
        {F32: 2, F64: 5},
    ),
    Fit(
        "COS",
        "cos(r) = 1 - z / 2 + z**2 P(z) with z = r**2, for |r| <= pi / 4",
        lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2,
        lambda: (mp.mpf(0), eighth_turn() ** 2),
        lambda z: z**2 / mp.cos(mp.sqrt(z)),
        {F32: 2, F64: 5},
    ),
    Fit(
        "ATAN",
        "atan(t) = t + t z P(z) with z = t**2, for t up to 1",
        lambda z: (mp.atan(mp.sqrt(z)) / mp.sqrt(z) - 1) / z,
        lambda: (mp.mpf(0), mp.mpf(1)),
        lambda z: z * mp.sqrt(z) / mp.atan(mp.sqrt(z)),
        {F32: 8, F64: 19},
    ),
    Fit(
        "ASIN",
        "asin(t) = t + t z P(z) with z = t**2, for t up to 1/2",
        lambda z: (mp.asin(mp.sqrt(z)) / mp.sqrt(z) - 1) / z,
        lambda: (mp.mpf(0), mp.mpf("0.25")),
        lambda z: z * mp.sqrt(z) / mp.asin(mp.sqrt(z)),
        {F32: 4, F64: 11},
    ),
    Fit(
        "LOG2_TAIL",
        "log2((1 + s) / (1 - s)) = s (2 / log(2) + z (2 / (3 log(2)) + z P(z))) with z = s**2, for s up to 0.1716",
        lambda z: (
            mp.log((1 + mp.sqrt(z)) / (1 - mp.sqrt(z)), 2) / (z**2 * mp.sqrt(z)) - (2 / z**2 + 2 / (3 * z)) / mp.log(2)
        ),
        lambda: (mp.mpf("1e-5"), quotient_of_sqrt2() ** 2),
        lambda z: z**2,
        {F64: 7},
    ),
    Fit(
        "LOG2_SHORT",
        "log2((1 + s) / (1 - s)) = s P(z) with z = s**2, for s up to 0.1716, to be rounded to single precision",
        lambda z: mp.atanh(mp.sqrt(z)) * 2 / mp.sqrt(z) / mp.log(2),
        lambda: (mp.mpf(0), quotient_of_sqrt2() ** 2),
        lambda z: 1 / mp.atanh(mp.sqrt(z)) * mp.sqrt(z),
        {F64: 5},
    ),
    Fit(
        "EXP2_SHORT",
        "2**r = P(r) for |r| <= 1/2, to be rounded to single precision",
        lambda r: mp.power(2, r),
        lambda: (-mp.mpf("0.5001"), mp.mpf("0.5001")),
        lambda r: mp.power(2, -r),
        {F64: 6},
    ),
    Fit(
        "CBRT",
        "m**(1/3) for m between sqrt(1/2) and sqrt(2), a first approximation",
        lambda m: mp.cbrt(m),
        lambda: (mp.sqrt(mp.mpf(1) / 2), mp.sqrt(2)),
        lambda m: 1 / mp.cbrt(m),
        {F32: 2, F64: 5},
    ),
    Fit(
        "ERF_NEAR",
        "erf(x) = x + x P(z) with z = x**2, for |x| <= 1",
        lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1,
        lambda: (mp.mpf(0), mp.mpf(1)),
        lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)),
        {F32: 6, F64: 12},
    ),
    Fit(
        "ERF_FAR",
        "log(erfc(x)) = P(x - 1), for x from 1 to 6, in single precision to 4; the error is that of erf",
        lambda v: mp.log(mp.erfc(v + 1)),
        lambda: (mp.mpf(0), mp.mpf(5)),
        lambda v: mp.erfc(v + 1),
        {F32: 8, F64: 19},
    ),
    Fit(
        "ERFCX_SINGLE",
        "exp(x**2) erfc(x) = P((x - c) / (x + c)) / (1 + a x) for x >= 0, with a = 1.128173828125, c = 3.05859375",
        lambda t: scaled_erfcx(t, 3.05859375),
        lambda: (-mp.mpf(1), mp.mpf("0.9999")),
        lambda t: 1 / scaled_erfcx(t, 3.05859375),
        {F32: 11},
    ),
    Fit(
        "ERFCX_DOUBLE",
        "exp(x**2) erfc(x) = P((x - c) / (x + c)) / (1 + a x) for x >= 0, with a = 1.128173828125, c = 3.12109375",
        lambda t: scaled_erfcx(t, 3.12109375),
        lambda: (-mp.mpf(1), mp.mpf("0.9999")),
        lambda t: 1 / scaled_erfcx(t, 3.12109375),
        {F64: 24},
    ),
    Fit(
        "ERFC_SINGLE",
        "exp(x**2) erfc(x) = (1 + P((x - c) / (x + c))) / (2 (x + c)) for x from 0 to 10.6, with c = 1.1875",
        lambda t: erfcx_times_sum(t, 1.1875) - 1,
        lambda: (-mp.mpf(1), unit_place(10.6, 1.1875)),
        lambda t: 1 / erfcx_times_sum(t, 1.1875),
        {F32: 11},
    ),
    Fit(
        "ERFC_DOUBLE",
        "exp(x**2) erfc(x) = (1 + P((x - c) / (x + c))) / (2 (x + c)) for x from 0 to 27.3, with c = 2.125",
        lambda t: erfcx_times_sum(t, 2.125) - 1,
        lambda: (-mp.mpf(1), unit_place(27.3, 2.125)),
        lambda t: 1 / erfcx_times_sum(t, 2.125),
        {F64: 24},
    ),
    Fit(
        "ERFC_SHORT",
        "exp(x**2) erfc(x) = (1 + P(k / 2 - k c / (x + c))) k / (x + c) for x up to 10.11, c = 1.81640625, k = 0.9375",
        lambda h: erfc_times_sum(h, 1.81640625, 0.9375, 1.0) - 1,
        lambda: (-mp.mpf("0.46875"), short_place(10.11, 1.81640625, 0.9375)),
        lambda h: 1 / erfc_times_sum(h, 1.81640625, 0.9375, 1.0),
        {F32: 9},
    ),
    Fit(
        "NORMAL_TAIL",
        "the same of exp(x**2 / 2) erfc(x / sqrt(2)) for x up to 14.3, with c = 2.603515625, k = 1.34375",
        lambda h: erfc_times_sum(h, 2.603515625, 1.34375, 0.5) - 1,
        lambda: (-mp.mpf("0.671875"), short_place(14.3, 2.603515625, 1.34375)),
        lambda h: 1 / erfc_times_sum(h, 2.603515625, 1.34375, 0.5),
        {F32: 9},
    ),
    Fit(
        "COSH",
        "cosh(x) = 1 + z / 2 + z**2 P(z) with z = x**2, for |x| <= 1; the error is that of cosh(x) - 1",
        lambda z: (mp.cosh(mp.sqrt(z)) - 1 - z / 2) / z**2,
        lambda: (mp.mpf(0), mp.mpf(1)),
        lambda z: z**2 / (mp.cosh(mp.sqrt(z)) - 1),
        {F32: 2, F64: 6},
    ),
    Fit(
        "SINC",
        "sin(pi r) / (pi r) = 1 + z P(z) with z = r**2, for |r| <= 1/2",
        lambda z: (mp.sinc(mp.pi * mp.sqrt(z)) - 1) / z,
        lambda: (mp.mpf(0), mp.mpf("0.25")),
        lambda z: z / mp.sinc(mp.pi * mp.sqrt(z)),
        {F32: 4, F64: 8},
    ),
    Fit(
        "LOG_FAST",
        "log(1 + f) = f + f**2 P(f), for 1 + f between sqrt(1/2) and sqrt(2)",
        lambda f: (mp.log1p(f) - f) / f**2,
        lambda: (mp.sqrt(mp.mpf(1) / 2) - 1, mp.sqrt(2) - 1),
        lambda f: f**2 / mp.log1p(f),
        {F32: 7},
    ),
    Fit(
        "LOG1P_UNIT_FAST",
        "log(1 + t) = t + t**2 P(t), for t between 0 and 1",
        lambda t: (mp.log1p(t) - t) / t**2,
        lambda: (mp.mpf(0), mp.mpf(1)),
        lambda t: t**2 / mp.log1p(t),
        {F32: 7},
    ),
)

QUOTIENTS: Final = (
    Quotient(
        "TANH_FAST",
        "tanh(x) = x P(z) / Q(z) with z = x**2, for |x| <= 9",
        lambda z: mp.tanh(mp.sqrt(z)) / mp.sqrt(z),
        lambda: (mp.mpf(0), mp.mpf(81)),
        lambda z: mp.sqrt(z) / mp.tanh(mp.sqrt(z)),
        lambda: mp.mpf(1),
        (4, 4),
    ),
    Quotient(
        "ERF_FAST",
        "erf(x) = x P(z) / Q(z) with z = x**2, for |x| <= 3.9",
        lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z),
        lambda: (mp.mpf(0), mp.mpf("3.9") ** 2),
        lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)),
        lambda: 2 / mp.sqrt(mp.pi),
        (5, 5),
    ),
)
