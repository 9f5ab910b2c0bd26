"""The gamma function and its kin, and factorials."""

from __future__ import annotations

from math import factorial as whole_factorial
from math import log as real_log
from math import pi
from typing import Any

import numpy as np
import scipy.special

from graphc.errors import UnsupportedError
from graphc.numpy.elementwise import where
from graphc.numpy.ufuncs import copysign, floor
from graphc.scipy.special.operands import double, floating, one_op, special, whole_order
from graphc.tracing import Traced

__all__ = [
    "digamma",
    "factorial",
    "gamma",
    "gammaln",
    "gammasgn",
    "loggamma",
    "multigammaln",
    "polygamma",
    "psi",
    "zeta",
]

gamma = one_op("gamma", "gamma")
gammaln = one_op("gammaln", "gammaln")
digamma = psi = one_op("psi", "digamma")


@special("loggamma")
def loggamma(z: Any, /) -> Any:
    """log of the gamma function of a positive number; NaN below 0, where it is complex."""
    world, value = floating(scipy.special.gammaln, z)
    return where(value < 0, np.nan, world.gammaln(value))


@special("gammasgn")
def gammasgn(x: Any, /) -> Any:
    """The sign of the gamma function, NaN at its poles; its derivative is 0."""
    world, value = floating(scipy.special.gammasgn, x)
    whole = floor(value)
    below = where(whole == value, np.nan, 1 - 2 * (whole % 2))
    one = world.constant(1, value.type.dtype)
    return where(value > 0, 1, where(value == 0, copysign(one, value), below))


@special("polygamma")
def polygamma(n: Any, x: Any) -> Any:
    """The derivative of digamma of a whole order known when the graph is traced."""
    order = whole_order("polygamma", n)
    world, value = double(x)
    return world.digamma(value) if order == 0 else world.polygamma(value, order=order)


@special("zeta")
def zeta(x: Any, q: Any = None, out: Any = None) -> Any:
    """The Hurwitz zeta function of a whole `x` from 2 on, known when the graph is traced, at a traced `q`."""
    if isinstance(x, Traced) or np.ndim(x) or x != int(x) or x < 2 or q is None:
        raise UnsupportedError(
            "zeta: the first argument must be known when the graph is traced",
            expected="a whole number from 2 on, and a traced q",
            actual=repr(x),
            fix="make it a static argument",
        )
    order = int(x) - 1
    sign = 1 if order % 2 else -1
    return sign * polygamma(order, q) / float(whole_factorial(order))


@special("multigammaln")
def multigammaln(a: Any, d: Any) -> Any:
    """log of the multivariate gamma function of a dimension known when the graph is traced.

    That `a` is above (d - 1) / 2 is not checked.
    """
    size = whole_order("multigammaln", d)
    _, value = double(a)
    total: Any = size * (size - 1) * 0.25 * real_log(pi)
    for k in range(size):
        total = total + gammaln(value - k / 2)
    return total


@special("factorial")
def factorial(n: Any, exact: bool = False, extend: str = "zero") -> Any:
    """n! = gamma(n + 1) in floats, 0 for negative numbers."""
    if exact or extend != "zero":
        raise UnsupportedError(
            "factorial: exact=True and extend= cannot be traced",
            expected="exact=False, extend='zero'",
            actual=f"exact={exact!r}, extend={extend!r}",
            fix="gamma(n + 1)",
        )
    _, value = double(n)
    return where(value < 0, 0, gamma(value + 1))
