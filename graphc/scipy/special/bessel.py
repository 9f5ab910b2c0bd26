"""Bessel functions of whole orders known when the graph is traced, and their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from typing import Any

import scipy.special

from graphc.scipy.special.operands import floating, special, whole_order

__all__ = [
    "i0",
    "i0e",
    "i1",
    "i1e",
    "iv",
    "ive",
    "ivp",
    "j0",
    "j1",
    "jn",
    "jv",
    "jve",
    "jvp",
    "k0",
    "k0e",
    "k1",
    "k1e",
    "kn",
    "kv",
    "kve",
    "kvp",
    "spherical_jn",
]


def _fixed(name: str, op: str, order: int, doc: str) -> Any:
    ufunc = getattr(scipy.special, name)

    def apply(x: Any, /) -> Any:
        world, value = floating(ufunc, x)
        return world.apply(op, (value,), order=order)

    apply.__doc__ = doc
    return special(name)(apply)


def _numbered(name: str, op: str, doc: str) -> Any:
    def apply(v: Any, z: Any, /) -> Any:
        order = whole_order(name, v)
        world, value = floating(scipy.special.i0, z)
        return world.apply(op, (value,), order=order)

    apply.__doc__ = doc + "\n\n    The order must be a whole number known when the graph is traced.\n    "
    return special(name)(apply)


_I, _J = "Modified Bessel function of the first kind", "Bessel function of the first kind"
_K = "Modified Bessel function of the second kind"

i0 = _fixed("i0", "bessel_i", 0, f"{_I}, of order 0.")
i1 = _fixed("i1", "bessel_i", 1, f"{_I}, of order 1.")
i0e = _fixed("i0e", "bessel_ie", 0, f"{_I}, of order 0, times exp(-|x|).")
i1e = _fixed("i1e", "bessel_ie", 1, f"{_I}, of order 1, times exp(-|x|).")
j0 = _fixed("j0", "bessel_j", 0, f"{_J}, of order 0.")
j1 = _fixed("j1", "bessel_j", 1, f"{_J}, of order 1.")
k0 = _fixed("k0", "bessel_k", 0, f"{_K}, of order 0.")
k1 = _fixed("k1", "bessel_k", 1, f"{_K}, of order 1.")
k0e = _fixed("k0e", "bessel_ke", 0, f"{_K}, of order 0, times exp(x).")
k1e = _fixed("k1e", "bessel_ke", 1, f"{_K}, of order 1, times exp(x).")
iv = _numbered("iv", "bessel_i", f"{_I}.")
ive = _numbered("ive", "bessel_ie", f"{_I}, times exp(-|x|).")
jv = _numbered("jv", "bessel_j", f"{_J}.")
jn = jv
jve = _numbered("jve", "bessel_j", f"{_J}; the factor that SciPy's has is 1 for real numbers.")
kv = _numbered("kv", "bessel_k", f"{_K}.")
kn = _numbered("kn", "bessel_k", f"{_K}.")
kve = _numbered("kve", "bessel_ke", f"{_K}, times exp(x).")


def _derivative(name: str, op: str, reflected: Callable[[int], int], step: int, scale: int, doc: str) -> Any:
    """The n-th derivative by the functions of neighbouring orders (https://dlmf.nist.gov/10.6 and 10.29).

    `reflected(m)` is the factor between the orders -m and m, `step` the sign between two terms, `scale` of a step down.
    """

    def apply(v: Any, z: Any, n: Any = 1) -> Any:
        order, times = whole_order(name, v), whole_order(name, n)
        world, value = floating(scipy.special.i0, z)
        total: Any = None
        for k in range(times + 1):
            at = order - times + 2 * k
            factor = comb(times, k) * step**k * (reflected(-at) if at < 0 else 1)
            term = factor * world.apply(op, (value,), order=abs(at))
            total = term if total is None else total + term
        return total * (scale / 2) ** times

    apply.__doc__ = doc + "\n\n    The orders must be whole numbers known when the graph is traced.\n    "
    return special(name)(apply)


jvp = _derivative("jvp", "bessel_j", lambda m: (-1) ** m, -1, 1, "The n-th derivative of `jv`.")
ivp = _derivative("ivp", "bessel_i", lambda m: 1, 1, 1, "The n-th derivative of `iv`.")
kvp = _derivative("kvp", "bessel_k", lambda m: 1, 1, -1, "The n-th derivative of `kv`.")


@special("spherical_jn")
def spherical_jn(n: Any, z: Any, derivative: bool = False) -> Any:
    """The spherical Bessel function of the first kind, or its derivative.

    The order must be a whole number known when the graph is traced.
    """
    order = whole_order("spherical_jn", n)
    world, value = floating(scipy.special.i0, z)
    if not derivative:
        return world.spherical_jn(value, order=order)
    above = world.spherical_jn(value, order=order + 1)
    if order == 0:
        return -above
    return (order * world.spherical_jn(value, order=order - 1) - (order + 1) * above) / (2 * order + 1)
