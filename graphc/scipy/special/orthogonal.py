"""Orthogonal polynomials of a whole degree known when the graph is traced, by their recurrences.

The recurrences are those of https://dlmf.nist.gov/18.9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.numpy.dispatch import common_world, strong
from graphc.numpy.universal import loop_dtypes
from graphc.scipy.special.operands import of_scipy, special, whole_order
from graphc.tracing import Traced

__all__ = [
    "eval_chebyc",
    "eval_chebys",
    "eval_chebyt",
    "eval_chebyu",
    "eval_gegenbauer",
    "eval_genlaguerre",
    "eval_hermite",
    "eval_hermitenorm",
    "eval_jacobi",
    "eval_laguerre",
    "eval_legendre",
    "eval_sh_chebyt",
    "eval_sh_chebyu",
    "eval_sh_jacobi",
    "eval_sh_legendre",
]

# (k, x, current, previous, parameters) -> the polynomial of degree k + 1
Step = Callable[..., Any]


def _recurrence(n: int, one: Any, first: Any, step: Callable[[int, Any, Any], Any]) -> Any:
    previous, current = one, first
    if n == 0:
        return one
    for k in range(1, n):
        previous, current = current, step(k, current, previous)
    return current


def _polynomial(name: str, first: Step, step: Step, doc: str) -> Any:
    """graphc's version of one of SciPy's polynomials: degree, parameters, point."""
    ufunc = of_scipy(name)

    def apply(n: Any, *rest: Any) -> Any:
        degree = whole_order(name, n)
        world = common_world(*rest)
        kinds = [x.type.dtype if isinstance(x, Traced) else type(x) if type(x) is float else np.float64 for x in rest]
        kind = loop_dtypes(ufunc, (int, *map(_dtype, kinds)))[-1]
        *given, point = (world.convert(strong(x, world), kind) for x in rest)
        one = world.full(1, point.type)
        # the parameters may have a shape of their own
        for value in given:
            one = one + 0 * value
        return _recurrence(
            degree,
            one,
            first(point, *given) + 0 * one if given else first(point),
            lambda k, current, previous: step(k, point, current, previous, *given),
        )

    apply.__doc__ = doc + "\n\n    The degree must be a whole number known when the graph is traced.\n    "
    return special(name)(apply)


def _dtype(kind: Any) -> Any:
    return kind if kind is float else np.dtype(kind)


def _jacobi_first(x: Any, a: Any, b: Any) -> Any:
    return (a - b) / 2 + (a + b + 2) / 2 * x


def _jacobi_step(k: int, x: Any, current: Any, previous: Any, a: Any, b: Any) -> Any:
    total = 2 * k + a + b
    slope = (total + 1) * (total + 2) / (2 * (k + 1) * (k + a + b + 1))
    shift = (a * a - b * b) * (total + 1) / (2 * (k + 1) * (k + a + b + 1) * total)
    last = (k + a) * (k + b) * (total + 2) / ((k + 1) * (k + a + b + 1) * total)
    return (slope * x + shift) * current - last * previous


def _shifted(first: Step, step: Step) -> tuple[Step, Step]:
    """The polynomial at 2x - 1."""
    return lambda x, *p: first(2 * x - 1, *p), lambda k, x, *rest: step(k, 2 * x - 1, *rest)


def _halved(first: Step, step: Step) -> tuple[Step, Step]:
    """The polynomial at x / 2."""
    return lambda x: first(x / 2), lambda k, x, *rest: step(k, x / 2, *rest)


_CHEBYT: tuple[Step, Step] = (lambda x: x, lambda k, x, c, p: 2 * x * c - p)
_CHEBYU: tuple[Step, Step] = (lambda x: 2 * x, lambda k, x, c, p: 2 * x * c - p)
_LEGENDRE: tuple[Step, Step] = (lambda x: x, lambda k, x, c, p: ((2 * k + 1) * x * c - k * p) / (k + 1))

eval_chebyt = _polynomial("eval_chebyt", *_CHEBYT, "Chebyshev polynomial of the first kind.")
eval_chebyu = _polynomial("eval_chebyu", *_CHEBYU, "Chebyshev polynomial of the second kind.")
eval_chebys = _polynomial("eval_chebys", *_halved(*_CHEBYU), "Chebyshev polynomial of the second kind at x / 2.")
eval_sh_chebyt = _polynomial("eval_sh_chebyt", *_shifted(*_CHEBYT), "Chebyshev polynomial of the first kind on [0, 1].")
eval_sh_chebyu = _polynomial(
    "eval_sh_chebyu", *_shifted(*_CHEBYU), "Chebyshev polynomial of the second kind on [0, 1]."
)
eval_legendre = _polynomial("eval_legendre", *_LEGENDRE, "Legendre polynomial.")
eval_sh_legendre = _polynomial("eval_sh_legendre", *_shifted(*_LEGENDRE), "Legendre polynomial on [0, 1].")
eval_hermite = _polynomial(
    "eval_hermite", lambda x: 2 * x, lambda k, x, c, p: 2 * x * c - 2 * k * p, "Hermite polynomial of physicists."
)
eval_hermitenorm = _polynomial(
    "eval_hermitenorm", lambda x: x, lambda k, x, c, p: x * c - k * p, "Hermite polynomial of statisticians."
)
eval_laguerre = _polynomial(
    "eval_laguerre",
    lambda x: 1 - x,
    lambda k, x, c, p: ((2 * k + 1 - x) * c - k * p) / (k + 1),
    "Laguerre polynomial.",
)
eval_genlaguerre = _polynomial(
    "eval_genlaguerre",
    lambda x, a: 1 + a - x,
    lambda k, x, c, p, a: ((2 * k + 1 + a - x) * c - (k + a) * p) / (k + 1),
    "Generalised Laguerre polynomial of a parameter alpha, which may be a traced value.",
)
eval_gegenbauer = _polynomial(
    "eval_gegenbauer",
    lambda x, a: 2 * a * x,
    lambda k, x, c, p, a: (2 * (k + a) * x * c - (k + 2 * a - 1) * p) / (k + 1),
    "Gegenbauer polynomial of a parameter alpha, which may be a traced value.",
)
eval_jacobi = _polynomial(
    "eval_jacobi",
    _jacobi_first,
    _jacobi_step,
    "Jacobi polynomial of parameters alpha and beta, which may be traced values.",
)


def _chebyc(n: Any, x: Any) -> Any:
    """Chebyshev polynomial of the first kind at x / 2, times 2.

    The degree must be a whole number known when the graph is traced.
    """
    return 2 * eval_chebyt(n, x / 2)


eval_chebyc = special("eval_chebyc")(_chebyc)


def _sh_jacobi(n: Any, p: Any, q: Any, x: Any) -> Any:
    """Jacobi polynomial on [0, 1], monic, of parameters p and q.

    The degree must be a whole number known when the graph is traced.
    """
    degree = whole_order("eval_sh_jacobi", n)
    # the leading coefficient of the polynomial on [0, 1]
    leading: Any = 1
    for k in range(degree):
        leading = leading * (degree + p + k) / (k + 1)
    return eval_jacobi(degree, p - q, q - 1, 2 * x - 1) / leading


eval_sh_jacobi = special("eval_sh_jacobi")(_sh_jacobi)
