"""The error and normal distribution functions, integrals, logistic functions, and careful forms of elementary ones."""

from __future__ import annotations

from typing import Any

import scipy.special

from graphc.numpy.elementwise import absolute, log, power, sin, where
from graphc.numpy.ufuncs import sinc
from graphc.numpy.universal import convert_operands
from graphc.scipy.special.operands import double, floating, one_op, special

__all__ = [
    "cbrt",
    "cosm1",
    "dawsn",
    "erf",
    "erfc",
    "erfcinv",
    "erfcx",
    "erfi",
    "erfinv",
    "exp1",
    "exp2",
    "exp10",
    "expit",
    "expm1",
    "exprel",
    "fresnel",
    "log1p",
    "log_expit",
    "log_ndtr",
    "logit",
    "ndtr",
    "ndtri",
    "powm1",
    "round",
    "sinc",
    "softplus",
    "xlog1py",
    "xlogy",
]

erf = one_op("erf", "erf")
erfc = one_op("erfc", "erfc")
erfcx = one_op("erfcx", "erfcx")
erfi = one_op("erfi", "erfi")
erfinv = one_op("erfinv", "erfinv")
erfcinv = one_op("erfcinv", "erfcinv")
dawsn = one_op("dawsn", "dawsn")
exp1 = one_op("exp1", "exp1")
ndtr = one_op("ndtr", "ndtr")
log_ndtr = one_op("log_ndtr", "log_ndtr")
ndtri = one_op("ndtri", "ndtri")
expit = one_op("expit", "sigmoid")
logit = one_op("logit", "logit")
xlogy = one_op("xlogy", "xlogy")
xlog1py = one_op("xlog1py", "xlog1py")
exp2 = one_op("exp2", "exp2")
expm1 = one_op("expm1", "expm1")
log1p = one_op("log1p", "log1p")
cbrt = one_op("cbrt", "cbrt")
round = one_op("round", "rint")


@special("log_expit")
def log_expit(x: Any, /) -> Any:
    """log of the logistic function, without underflow."""
    world, value = floating(scipy.special.log_expit, x)
    return -world.softplus(-value)


@special("softplus")
def softplus(x: Any) -> Any:
    """log(1 + exp(x)), without overflow."""
    world, value = double(x)
    return world.softplus(value)


@special("exprel")
def exprel(x: Any, /) -> Any:
    """(exp(x) - 1) / x, and 1 at 0, where derivatives of every order are the limits."""
    world, value = floating(scipy.special.exprel, x)
    return world.exprel(value, order=0)


@special("exp10")
def exp10(x: Any, /) -> Any:
    """10 to the power of x."""
    _, value = floating(scipy.special.exp10, x)
    return power(10.0, value)


@special("cosm1")
def cosm1(x: Any, /) -> Any:
    """cos(x) - 1 without cancellation near 0, by the half angle."""
    _, value = floating(scipy.special.cosm1, x)
    half = sin(value / 2)
    return 0 - 2 * (half * half)


@special("powm1")
def powm1(x: Any, y: Any, /) -> Any:
    """x**y - 1 without cancellation where x**y is near 1."""
    _, (base, exponent) = convert_operands(scipy.special.powm1, (x, y))
    grown = exponent * log(base)
    near = (base > 0) & (absolute(grown) < 0.5)
    return where(near, expm1(grown), power(base, exponent) - 1)


@special("fresnel")
def fresnel(x: Any, /) -> Any:
    """The Fresnel integrals of sin(pi t**2 / 2) and of cos(pi t**2 / 2), each from 0 to x."""
    world, (value,) = convert_operands(scipy.special.fresnel, (x,))
    return world.fresnel_sine(value), world.fresnel_cosine(value)
