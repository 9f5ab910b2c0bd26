"""Trigonometric and hyperbolic functions, and the error function."""

from __future__ import annotations

from typing import Any

from graphc.errors import DTypeError
from graphc.ops.record import ErrorSample, Op, Partials
from graphc.ops.typing import elementwise

INTEGER = ErrorSample(("i64[2]",), {}, DTypeError, "not defined for i64")


def erf_partial(w: Any, y: Any, x: Any) -> Any:
    return 2 / w.sqrt(w.pi(dtype=x.dtype)) * w.exp(-(x * x))


OPS = (
    Op(
        "sin",
        type=elementwise("sin", "f"),
        numpy="np.sin",
        exact="sin",
        rule=Partials(lambda w, y, x: w.cos(x)),
        domains=("real",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=2,
        doc="Sine of x in radians.",
    ),
    Op(
        "cos",
        type=elementwise("cos", "f"),
        numpy="np.cos",
        exact="cos",
        rule=Partials(lambda w, y, x: -w.sin(x)),
        domains=("real",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=2,
        doc="Cosine of x in radians.",
    ),
    Op(
        "tanh",
        type=elementwise("tanh", "f"),
        numpy="np.tanh",
        exact="tanh",
        rule=Partials(lambda w, y, x: 1 - y * y),
        domains=("real",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=2,
        doc="Hyperbolic tangent of x.",
    ),
    Op(
        "erf",
        type=elementwise("erf", "f"),
        numpy="nk.erf({0})",
        exact="erf",
        rule=Partials(erf_partial),
        domains=("real",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=4,
        doc="The error function, 2/sqrt(pi) times the integral of exp(-t**2) from 0 to x.",
    ),
)
