"""Entropies, losses and transforms of data."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special

from graphc.errors import UnsupportedError
from graphc.numpy.elementwise import absolute, exp, expm1, log, log1p, sqrt, where
from graphc.numpy.universal import convert_operands
from graphc.scipy.special.elementary import exprel, xlogy
from graphc.scipy.special.operands import floating, special
from graphc.tracing import Traced

__all__ = [
    "boxcox",
    "boxcox1p",
    "entr",
    "huber",
    "inv_boxcox",
    "inv_boxcox1p",
    "kl_div",
    "pseudo_huber",
    "rel_entr",
]


@special("entr")
def entr(x: Any, /) -> Any:
    """-x log(x), 0 at 0, -inf below."""
    _, value = floating(scipy.special.entr, x)
    return where(value < 0, -np.inf, -xlogy(value, value))


@special("rel_entr")
def rel_entr(x: Any, y: Any, /) -> Any:
    """x log(x / y), 0 at x = 0 <= y, inf outside."""
    _, (a, b) = convert_operands(scipy.special.rel_entr, (x, y))
    zero = (a == 0) & (b >= 0)
    inside = zero | ((a > 0) & (b > 0))
    missing = (a != a) | (b != b)
    return where(missing, np.nan, where(inside, where(zero, 0, xlogy(a, a / b)), np.inf))


@special("kl_div")
def kl_div(x: Any, y: Any, /) -> Any:
    """x log(x / y) - x + y, y at x = 0 <= y, inf outside."""
    return rel_entr(x, y) - x + y


@special("huber")
def huber(delta: Any, r: Any, /) -> Any:
    """The Huber loss: r**2 / 2 up to a size of delta, and a line beyond; inf for a negative delta."""
    _, (d, x) = convert_operands(scipy.special.huber, (delta, r))
    size = absolute(x)
    return where(d < 0, np.inf, where(size <= d, 0.5 * (x * x), d * (size - 0.5 * d)))


@special("pseudo_huber")
def pseudo_huber(delta: Any, r: Any, /) -> Any:
    """delta**2 (sqrt(1 + (r / delta)**2) - 1), a smooth Huber loss; inf for a negative delta, 0 for 0."""
    _, (d, x) = convert_operands(scipy.special.pseudo_huber, (delta, r))
    ratio = x / d
    # the same without cancellation near 0
    loss = x * x / (1 + sqrt(1 + ratio * ratio))
    return where(d < 0, np.inf, where(d == 0, 0, loss))


def _power_transform(x: Any, logarithm: Any, exponent: Any) -> Any:
    """(exp(exponent * logarithm) - 1) / exponent, and its limit where the exponent is 0."""
    grown = logarithm * exponent
    # at x = 0, whose logarithm is not finite, only the quotient has a value
    return where(x, logarithm * exprel(grown), expm1(grown) / exponent)


@special("boxcox")
def boxcox(x: Any, lmbda: Any, /) -> Any:
    """(x**lmbda - 1) / lmbda, and log(x) where lmbda is 0."""
    _, (value, exponent) = convert_operands(scipy.special.boxcox, (x, lmbda))
    return _power_transform((value != 0) | (exponent == 0), log(value), exponent)


@special("boxcox1p")
def boxcox1p(x: Any, lmbda: Any, /) -> Any:
    """((1 + x)**lmbda - 1) / lmbda, and log(1 + x) where lmbda is 0."""
    _, (value, exponent) = convert_operands(scipy.special.boxcox1p, (x, lmbda))
    return _power_transform((value != -1) | (exponent == 0), log1p(value), exponent)


def _inverse(name: str, y: Any, lmbda: Any, less: Any) -> Any:
    if isinstance(lmbda, Traced):
        raise UnsupportedError(
            f"{name}: lmbda must be known when the graph is traced",
            expected="a number, or an array of numbers",
            actual=repr(lmbda.type),
            fix="exp(log1p(lmbda * y) / lmbda), where lmbda is never 0",
        )
    _, (value, _) = convert_operands(getattr(scipy.special, name), (y, lmbda))
    exponent = np.asarray(lmbda, value.type.dtype)
    straight = exponent == 0
    grown = log1p(exponent * value) / np.where(straight, exponent.dtype.type(1), exponent)
    return less(where(straight, value, grown))


@special("inv_boxcox")
def inv_boxcox(x: Any, lmbda: Any, /) -> Any:
    """The number whose Box-Cox transform is x.

    The exponent must be known when the graph is traced.
    """
    return _inverse("inv_boxcox", x, lmbda, exp)


@special("inv_boxcox1p")
def inv_boxcox1p(x: Any, lmbda: Any, /) -> Any:
    """The number whose Box-Cox transform after adding 1 is x.

    The exponent must be known when the graph is traced.
    """
    return _inverse("inv_boxcox1p", x, lmbda, expm1)
