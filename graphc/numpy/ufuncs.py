"""The rest of NumPy's ufuncs, and functions near them: angles, rounding, bits, divisors, closeness."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.elementwise import (
    absolute,
    divide,
    equal,
    floor_divide,
    isnan,
    multiply,
    remainder,
    where,
)
from graphc.numpy.universal import convert_operands, elementwise, universal
from graphc.ops import lookup
from graphc.tracing import Traced

__all__ = [
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "around",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_count",
    "bitwise_left_shift",
    "bitwise_right_shift",
    "cbrt",
    "ceil",
    "copysign",
    "cosh",
    "deg2rad",
    "degrees",
    "divmod",
    "exp2",
    "fix",
    "float_power",
    "floor",
    "fmax",
    "fmin",
    "fmod",
    "frexp",
    "gcd",
    "heaviside",
    "i0",
    "isneginf",
    "isposinf",
    "lcm",
    "ldexp",
    "left_shift",
    "log2",
    "log10",
    "logaddexp2",
    "modf",
    "rad2deg",
    "radians",
    "right_shift",
    "rint",
    "round",
    "signbit",
    "sinc",
    "sinh",
    "trunc",
]

exp2 = elementwise(np.exp2, "exp2")
log2 = elementwise(np.log2, "log2")
log10 = elementwise(np.log10, "log10")
logaddexp2 = elementwise(np.logaddexp2, "logaddexp2")
cbrt = elementwise(np.cbrt, "cbrt")
arcsin = asin = elementwise(np.arcsin, "arcsin")
arccos = acos = elementwise(np.arccos, "arccos")
arctan = atan = elementwise(np.arctan, "arctan")
arctan2 = atan2 = elementwise(np.arctan2, "arctan2")
sinh = elementwise(np.sinh, "sinh")
cosh = elementwise(np.cosh, "cosh")
arcsinh = asinh = elementwise(np.arcsinh, "arcsinh")
arccosh = acosh = elementwise(np.arccosh, "arccosh")
arctanh = atanh = elementwise(np.arctanh, "arctanh")
deg2rad = elementwise(np.deg2rad, "deg2rad")
radians = elementwise(np.radians, "deg2rad")
rad2deg = elementwise(np.rad2deg, "rad2deg")
degrees = elementwise(np.degrees, "rad2deg")
rint = elementwise(np.rint, "rint")
fmax = elementwise(np.fmax, "fmax")
fmin = elementwise(np.fmin, "fmin")
fmod = elementwise(np.fmod, "fmod")
copysign = elementwise(np.copysign, "copysign")
heaviside = elementwise(np.heaviside, "heaviside")
signbit = elementwise(np.signbit, "signbit")
ldexp = elementwise(np.ldexp, "ldexp")
float_power = elementwise(np.float_power, "pow")
left_shift = bitwise_left_shift = elementwise(np.left_shift, "left_shift")
right_shift = bitwise_right_shift = elementwise(np.right_shift, "right_shift")
gcd = elementwise(np.gcd, "gcd")
lcm = elementwise(np.lcm, "lcm")


def _whole(ufunc: np.ufunc, op: str) -> Any:
    """A rounding function, which leaves integers and booleans as they are."""
    record = lookup(op)

    def apply(x: Any, /) -> Any:
        world, (value,) = convert_operands(ufunc, (x,))
        return world.emit(record, (value,), ()) if value.type.dtype.kind == "f" else value

    apply.__doc__ = record.doc
    return universal(ufunc)(apply)


floor = _whole(np.floor, "floor")
ceil = _whole(np.ceil, "ceil")
trunc = _whole(np.trunc, "trunc")


@traceable(np.fix)
def fix(x: Any, out: Any = None) -> Any:
    """The integer nearest to x between 0 and x."""
    return trunc(x)


@traceable(np.round, np.around)
def round(a: Any, decimals: int = 0, out: Any = None) -> Any:
    """The elements rounded to some decimals; halves go to the even neighbour."""
    world = common_world(a)
    value = strong(a, world)
    if value.type.dtype.kind == "b" and decimals != 0:
        raise DTypeError("round: booleans have no decimals", actual=repr(value.type), fix="decimals=0")
    scale = 10.0 ** abs(decimals)
    if value.type.dtype.kind in "iu":
        if decimals >= 0:
            return value
        return world.convert(multiply(rint(divide(value, scale)), scale), value.type.dtype)
    if decimals == 0:
        return rint(value)
    if decimals > 0:
        return divide(rint(multiply(value, scale)), scale)
    return multiply(rint(divide(value, scale)), scale)


around = round


@universal(np.divmod)
def divmod(a: Any, b: Any, /) -> Any:
    """The whole quotient and the remainder, at once."""
    return floor_divide(a, b), remainder(a, b)


@universal(np.modf)
def modf(x: Any, /) -> Any:
    """The fractional part of a number, whose derivative is 1, and its whole part, whose derivative is 0."""
    world, (value,) = convert_operands(np.modf, (x,))
    endless = equal(absolute(value), np.inf)
    fraction = world.select(endless, copysign(world.constant(0, value.type.dtype), value), fmod(value, 1))
    return fraction, trunc(value)


@universal(np.frexp)
def frexp(x: Any, /) -> Any:
    """The number as a fraction from 0.5 to 1 times a power of 2, and the exponent, which counts as constant."""
    world, (value,) = convert_operands(np.frexp, (x,))
    exponent = world.exponent(value)
    return world.ldexp(value, -exponent), exponent


@universal(np.bitwise_count)
def bitwise_count(x: Any, /) -> Any:
    """How many bits of the absolute value are set."""
    world, (value,) = convert_operands(np.bitwise_count, (x,))
    if value.type.dtype.kind == "b":
        return world.convert(value, np.dtype(np.uint8))
    return world.emit(lookup("bitwise_count"), (value,), ())


@traceable(np.sinc)
def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), which is 1 at 0."""
    world, value = _float(x)
    return world.emit(lookup("sinc"), (value,), ())


@traceable(np.i0)
def i0(x: Any) -> Any:
    """The modified Bessel function of the first kind of order 0, as a double."""
    world, value = _float(x)
    return world.bessel_i(value, order=0)


def _float(x: Any) -> tuple[Any, Any]:
    world = common_world(x)
    value = strong(x, world)
    return world, value if value.type.dtype.kind == "f" else world.convert(value, np.dtype(np.float64))


@traceable(np.isposinf)
def isposinf(x: Any, out: Any = None) -> Any:
    """Whether an element is plus infinity."""
    return _is(x, np.inf)


@traceable(np.isneginf)
def isneginf(x: Any, out: Any = None) -> Any:
    """Whether an element is minus infinity."""
    return _is(x, -np.inf)


def _is(x: Any, number: float) -> Any:
    value = strong(x, common_world(x))
    return equal(value, number) if value.type.dtype.kind == "f" else value != value


def without_nan(x: Traced, value: float) -> Any:
    """The operand with another value in place of NaN."""
    return where(isnan(x), value, x) if x.type.dtype.kind == "f" else x
