"""What the polynomials of the vector functions approximate: the table from which `fit.py` computes coefficients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import mpmath as mp

from graphc.backends.numpy.llvm.emit import F32, F64, DType

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


# a little beyond half of log 2: the reduced argument may lie there by rounding
def half_log2() -> Real:
    return mp.log(2) / 2 * mp.mpf("1.0001")


FITS: Final = (
    Fit(
        "EXP",
        "exp(r) = 1 + r + r**2 P(r) for |r| <= log(2) / 2; the error is that of exp",
        lambda r: (mp.expm1(r) - r) / r**2,
        lambda: (-half_log2(), half_log2()),
        lambda r: r**2 / mp.exp(r),
        {F32: 4, F64: 9},
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
        lambda: (mp.mpf(0), (3 - 2 * mp.sqrt(2)) ** 2 * mp.mpf("1.0001")),
        lambda z: z * mp.sqrt(z) / (2 * mp.atanh(mp.sqrt(z))),
        {F32: 2, F64: 6},
    ),
    Fit(
        "TANH",
        "tanh(x) = x + x z P(z) with z = x**2, for |x| <= 0.55",
        lambda z: (mp.tanh(mp.sqrt(z)) / mp.sqrt(z) - 1) / z,
        lambda: (mp.mpf(0), mp.mpf("0.55") ** 2),
        lambda z: z * mp.sqrt(z) / mp.tanh(mp.sqrt(z)),
        {F32: 4, F64: 10},
    ),
    Fit(
        "LOG1P_UNIT",
        "log((1 + s) / (1 - s)) = 2 s + s z P(z) with z = s**2, for s up to 1/3",
        lambda z: (mp.atanh(mp.sqrt(z)) * 2 / mp.sqrt(z) - 2) / z,
        lambda: (mp.mpf(0), mp.mpf(1) / 9 * mp.mpf("1.0001")),
        lambda z: z * mp.sqrt(z) / (2 * mp.atanh(mp.sqrt(z))),
        {F32: 4, F64: 10},
    ),
)
