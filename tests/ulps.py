"""Distances between floats and exact values of functions, in units in the last place (ULP)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.values import F32, F64, Value

Array = np.ndarray[Any, Any]
Real = Any  # an Arb ball
LIMIT: Final = 1 << 15  # bits


@dataclass(frozen=True, slots=True)
class Exact:
    """Values of a function: the floats nearest to them, and what is missing, in units in the last place of those.

    A value beyond the largest float counts as infinity, the float after it.
    """

    nearest: Array
    rest: Array

    def distances(self, found: Array) -> Array:
        """How many floats lie between what was found and the exact value; infinite where NaN was found."""
        steps = ordinal(found) - ordinal(self.nearest)
        return np.where(np.isnan(found), np.inf, np.abs(steps - self.rest))


def ordinal(x: Array) -> Array:
    """The place of a float in the order of all floats of its dtype, 0 for both zeros."""
    bits = x.view(f"i{x.itemsize}").astype(np.int64)
    return np.where(bits < 0, np.iinfo(f"i{x.itemsize}").min - bits, bits)


def exact(function: Callable[..., Real], operands: Sequence[Array]) -> Exact:
    """The function of each row of operands, by Arb, to a millionth of a unit in the last place."""
    import flint

    dtype = operands[0].dtype
    columns = [operand.astype(np.float64).tolist() for operand in operands]
    nearest = np.empty(len(columns[0]), dtype)
    rest = np.empty(len(nearest))
    for row, numbers in enumerate(zip(*columns, strict=True)):
        precision = 128
        while True:
            with flint.ctx.workprec(precision):
                y = function(*map(flint.arb, numbers))
                near, missing = _round(y, dtype)
            if near is not None:
                break
            precision *= 2
            if precision > LIMIT:
                raise ArithmeticError(f"no value at {numbers}")
        nearest[row], rest[row] = near, missing
    return Exact(nearest, rest)


def _round(y: Real, dtype: np.dtype[Any]) -> tuple[Any, float]:
    """The float nearest to the middle of a ball and the rest, or None if the ball is too wide to say."""
    if not y.is_finite():
        return None, 0.0
    if y.abs_lower() > type(y)(2) ** 1025:
        return dtype.type(math.inf if y > 0 else -math.inf), 0.0
    if y.abs_upper() < type(y)(2) ** -1200:
        return dtype.type(0), 0.0
    with np.errstate(over="ignore"):
        near = dtype.type(float(y.mid()))
    if np.isinf(near):
        return near, 0.0
    unit = float(np.spacing(abs(near)))
    if not _scaled(y.rad(), unit) < 1e-6:
        return None, 0.0
    return near, _scaled(y - type(y)(float(near)), unit)


def _scaled(y: Real, unit: float) -> float:
    """y / unit as a float, where the quotient may be a float although y is none."""
    mantissa, exponent = map(int, y.mid().man_exp())
    extra = max(mantissa.bit_length() - 64, 0)
    power = exponent + extra - math.frexp(unit)[1] + 1
    if power > 100:
        return math.copysign(math.inf, mantissa) if mantissa else 0.0
    return math.ldexp(mantissa >> extra, max(power, -(10**6)))


def single_distance(e: Emitter, found: Value, exact: Value) -> Value:
    """The distance of single-precision results from double-precision ones, in units in the last place, as code."""
    limit = 2.0**128  # stands for infinity
    wide = e.convert(found, F64)
    near, far = (e.at_most(limit, e.at_least(-limit, v)) for v in (wide, exact))
    power = e.bitcast(e.bits(far) & (0x7FF << 52), F64)
    unit = e.at_most(2.0**127, e.at_least(2.0**-126, power)) * 2.0**-23
    distance = e.abs(near - far) / unit
    # what rounds to infinity is no error if it is infinity
    rounded = (e.abs(far) >= limit - 2.0**103) & e.abs(near).equals(limit) & ((near > 0) ^ (far < 0))
    distance = e.select(rounded, 0.0, distance)
    both = e.is_nan(wide) & e.is_nan(exact)
    return e.convert(e.select(both, 0.0, e.select(e.is_nan(wide) | e.is_nan(exact), math.inf, distance)), F32)
