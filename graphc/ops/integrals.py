"""Functions that are integrals of elementary ones: of exp(x) / x, exp(x**2) and sin(x**2).

Derivatives are from F. W. J. Olver et al., "NIST Digital Library of Mathematical Functions", https://dlmf.nist.gov/6
and https://dlmf.nist.gov/7.
"""

from __future__ import annotations

from typing import Any

from graphc.ops.record import NOT_FUSED
from graphc.ops.special import family, root
from graphc.ops.trigonometric import unary


def quarter(w: Any, x: Any) -> Any:
    """The angle pi x**2 / 2 of the Fresnel integrals."""
    return 0.5 * w.pi(dtype=x.dtype) * (x * x)


OPS = (
    family(
        "exprel",
        "nk.exprel({0}, {order})",
        lambda s, x, *, order: s.exprel(x, order),
        lambda w, y, x, *, order: w.exprel(x, order=order + 1),
        "The integral of t**order exp(x t) for t from 0 to 1; of order 0 it is (exp(x) - 1) / x, and 1 at 0.",
        ulps=16,
        reasons=NOT_FUSED,
    ),
    unary(
        "exp1",
        "nk.special('exp1', {0})",
        lambda s, x: -s.expi(-x),
        lambda w, y, x: -w.exp(-x) / x,
        "The exponential integral E1, whose derivative is -exp(-x) / x.",
        domain="positive",
        ulps=16,
        reasons=NOT_FUSED,
    ),
    unary(
        "erfi",
        "nk.special('erfi', {0})",
        "erfi",
        lambda w, y, x: 2 / root(w, 1, x) * w.exp(x * x),
        "The imaginary error function, 2/sqrt(pi) times the integral of exp(t**2) from 0 to x.",
        ulps=16,
        reasons=NOT_FUSED,
    ),
    unary(
        "dawsn",
        "nk.special('dawsn', {0})",
        lambda s, x: s.sqrt(s.pi()) / 2 * s.exp(-x * x) * s.erfi(x),
        lambda w, y, x: 1 - 2 * (x * y),
        "Dawson's function, exp(-x**2) times the integral of exp(t**2) from 0 to x.",
        ulps=16,
        reasons=NOT_FUSED,
    ),
    unary(
        "fresnel_sine",
        "nk.special('fresnel', {0}, part=0)",
        "fresnels",
        lambda w, y, x: w.sin(quarter(w, x)),
        "The integral of sin(pi t**2 / 2) from 0 to x. SciPy loses digits in proportion to x where x is beyond 10.",
        ulps=8,
        reasons=NOT_FUSED,
    ),
    unary(
        "fresnel_cosine",
        "nk.special('fresnel', {0}, part=1)",
        "fresnelc",
        lambda w, y, x: w.cos(quarter(w, x)),
        "The integral of cos(pi t**2 / 2) from 0 to x. SciPy loses digits in proportion to x where x is beyond 10.",
        ulps=8,
        reasons=NOT_FUSED,
    ),
)
