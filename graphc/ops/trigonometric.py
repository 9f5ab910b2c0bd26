"""Trigonometric and hyperbolic functions, and their inverses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graphc.errors import DTypeError
from graphc.ir import TensorType, Type
from graphc.ops.record import NOT_FUSED, ErrorSample, Linear, Masked, Op, Partials, Rule, Sample
from graphc.ops.typing import Facts, elementwise
from graphc.ops.work import per_element

INTEGER = ErrorSample(("i64[2]",), {}, DTypeError, "not defined for i64")
INTEGERS = ErrorSample(("i64[2]", "i64[2]"), {}, DTypeError, "not defined for i64")


UNORDERED = ErrorSample(("f64[2]",), {"order": -1}, DTypeError, "a whole number from 0 on")


def unary(
    name: str,
    numpy: str,
    exact: str | Rule,
    partial: Rule,
    doc: str,
    domain: str = "real",
    ulps: float = 2,
    **more: Any,
) -> Op:
    """The record of a smooth function of one float."""
    return Op(
        name,
        type=elementwise(name, "f"),
        numpy=numpy,
        exact=exact,
        rule=Partials(partial),
        domains=(domain,),
        errors=(INTEGER,),
        elementwise=True,
        ulps=ulps,
        doc=doc,
        **more,
    )


def ordered(name: str) -> Callable[..., TensorType]:
    """Type rule of a function of one float in a family numbered by `order`."""
    plain = elementwise(name, "f")

    def rule(facts: Facts, operand: Type, *, order: int) -> TensorType:
        if order < 0:
            raise DTypeError(f"{name}: bad order", expected="a whole number from 0 on", actual=str(order))
        return plain(facts, operand)

    return rule


def angle_partial(w: Any, side: Any, a: Any, b: Any) -> Any:
    # side / (a*a + b*b) without overflow; at (0, 0) the angle jumps on every line, and is constant beside it
    length = w.hypot(a, b)
    return Masked(length != 0, side / length / length)


def degrees(w: Any, ct: Any, x: Any) -> tuple[Any]:
    return (w.rad2deg(ct),)


def radians(w: Any, ct: Any, x: Any) -> tuple[Any]:
    return (w.deg2rad(ct),)


def spherical_partial(w: Any, y: Any, x: Any, *, order: int) -> Any:
    # no power of 1/x: right at 0 to any order; https://dlmf.nist.gov/10.51
    above = w.spherical_jn(x, order=order + 1)
    if order == 0:
        return -above
    return (order * w.spherical_jn(x, order=order - 1) - (order + 1) * above) / (2 * order + 1)


def carried(w: Any, m: Any, x: Any) -> tuple[Any]:
    return (m,)


def sech2_kernel(k: Any, x: Any) -> Any:
    y = 1.0 / k.cosh(x)
    return y * y


def log_cosh_kernel(k: Any, x: Any) -> Any:
    # near 0 by the half angle
    size, one = k.abs(x), k.number(1, x)
    half = k.sinh(k.minimum(size, one) * 0.5)
    far = size + k.log1p(k.exp(-2.0 * size)) - math.log(2)
    return k.where(size < 1.0, k.log1p(2.0 * half * half), far)


def sinc_kernel(k: Any, x: Any) -> Any:
    # from the distance to the nearest whole number
    whole = k.rint(x)
    half = whole * 0.5
    sine = k.sin((x - whole) * math.pi)
    sine = k.where(k.eq(half, k.floor(half)), sine, -sine)
    return k.where(k.eq(x, k.number(0, x)), k.number(1, x), sine / (x * math.pi))


OPS = (
    Op(
        "sin",
        type=elementwise("sin", "f"),
        numpy="np.sin",
        kernel="sin",
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
        kernel="cos",
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
        kernel="tanh",
        exact="tanh",
        rule=Partials(lambda w, y, x: w.sech2(x)),
        domains=("real",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=3,
        doc="Hyperbolic tangent of x.",
    ),
    unary(
        "sech2",
        "np.square(1 / np.cosh({0}))",
        lambda s, x: 1 - s.integer_pow(s.tanh(x), 2),
        lambda w, y, x: -2 * (w.tanh(x) * y),
        "1 - tanh(x)**2, the square of the hyperbolic secant, without cancellation for large x.",
        ulps=8,
        kernel=sech2_kernel,
    ),
    unary(
        "tan",
        "np.tan",
        lambda s, x: s.sin(x) / s.cos(x),
        lambda w, y, x: 1 + y * y,
        "Tangent of x in radians.",
        ulps=4,
        kernel="tan",
    ),
    unary(
        "arcsin",
        "np.arcsin",
        "asin",
        lambda w, y, x: 1 / w.cos_arcsin(x),
        "The angle in [-pi/2, pi/2] whose sine is x; its derivative at -1 and 1 is inf.",
        domain="unit",
        kinks=(-1.0, 1.0),
        kernel="arcsin",
    ),
    unary(
        "arccos",
        "np.arccos",
        "acos",
        lambda w, y, x: -1 / w.cos_arcsin(x),
        "The angle in [0, pi] whose cosine is x; its derivative at -1 and 1 is -inf.",
        domain="unit",
        kinks=(-1.0, 1.0),
        kernel="arccos",
    ),
    unary(
        "cos_arcsin",
        # 1 - x*x would cancel near the ends
        "np.sqrt((1 - {0}) * (1 + {0}))",
        lambda s, x: s.sqrt(1 - x * x),
        lambda w, y, x: -(x / y),
        "sqrt(1 - x**2), the cosine of the arcsine of x, without cancellation near -1 and 1.",
        domain="unit",
        kinks=(-1.0, 1.0),
        work=per_element(add=2, mul=1, div=1),
        kernel=lambda k, x: k.sqrt((1.0 - x) * (1.0 + x)),
    ),
    unary(
        "arctan",
        "np.arctan",
        "atan",
        lambda w, y, x: 1 / (1 + x * x),
        "The angle in [-pi/2, pi/2] whose tangent is x.",
        kernel="arctan",
    ),
    Op(
        "arctan2",
        type=elementwise("arctan2", "f"),
        numpy="np.arctan2",
        kernel="arctan2",
        exact="atan2",
        rule=Partials(
            lambda w, y, a, b: angle_partial(w, b, a, b),
            lambda w, y, a, b: angle_partial(w, -a, a, b),
        ),
        domains=("real", "real"),
        errors=(INTEGERS,),
        elementwise=True,
        ulps=2,
        doc="The angle in [-pi, pi] of the point (b, a); its derivative at the origin is 0.",
    ),
    unary(
        "sinh",
        "np.sinh",
        lambda s, x: (s.exp(x) - s.exp(-x)) / 2,
        lambda w, y, x: w.cosh(x),
        "Hyperbolic sine of x.",
        kernel="sinh",
    ),
    unary(
        "cosh",
        "np.cosh",
        lambda s, x: (s.exp(x) + s.exp(-x)) / 2,
        lambda w, y, x: w.sinh(x),
        "Hyperbolic cosine of x.",
        kernel="cosh",
    ),
    unary(
        "log_cosh",
        "nk.log_cosh({0})",
        lambda s, x: s.log((s.exp(x) + s.exp(-x)) / 2),
        lambda w, y, x: w.tanh(x),
        "log(cosh(x)) without overflow, and without cancellation near 0.",
        ulps=4,
        kernel=log_cosh_kernel,
    ),
    unary(
        "arcsinh",
        "np.arcsinh",
        "asinh",
        lambda w, y, x: w.cos_arctan(x),
        "The number whose hyperbolic sine is x.",
        kernel="arcsinh",
    ),
    unary(
        "arccosh",
        "np.arccosh",
        "acosh",
        lambda w, y, x: 1 / w.sinh_arccosh(x),
        "The number from 0 on whose hyperbolic cosine is x >= 1; its derivative at 1 is inf.",
        domain="above 1",
        kinks=(1.0,),
        kernel="arccosh",
    ),
    unary(
        "sinh_arccosh",
        "np.sqrt({0} - 1) * np.sqrt({0} + 1)",
        lambda s, x: s.sqrt(x - 1) * s.sqrt(x + 1),
        lambda w, y, x: x / y,
        "sqrt(x**2 - 1) for x >= 1, the hyperbolic sine of the hyperbolic arccosine of x, without overflow.",
        domain="above 1",
        kinks=(1.0,),
        work=per_element(add=2, mul=1, div=2),
        kernel=lambda k, x: k.sqrt(x - 1.0) * k.sqrt(x + 1.0),
    ),
    unary(
        "arctanh",
        "np.arctanh",
        "atanh",
        lambda w, y, x: 1 / ((1 - x) * (1 + x)),
        "The number whose hyperbolic tangent is x, between -1 and 1.",
        domain="unit",
        kernel="arctanh",
    ),
    Op(
        "deg2rad",
        type=elementwise("deg2rad", "f"),
        numpy="np.deg2rad",
        kernel=lambda k, x: x * (math.pi / 180),
        work="mul",
        exact=lambda s, x: x * s.pi() / 180,
        rule=Linear(None, radians, mask=carried),
        domains=("real",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=2,
        doc="x degrees in radians.",
    ),
    Op(
        "rad2deg",
        type=elementwise("rad2deg", "f"),
        numpy="np.rad2deg",
        kernel=lambda k, x: x * (180 / math.pi),
        work="mul",
        exact=lambda s, x: x * 180 / s.pi(),
        rule=Linear(None, degrees, mask=carried),
        domains=("real",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=2,
        doc="x radians in degrees.",
    ),
    unary(
        "sinc",
        # np.sinc is off by pi x at whole numbers
        "nk.sinc({0})",
        lambda s, x: s.spherical_jn(s.pi() * x, 0),
        lambda w, y, x: -(w.pi(dtype=x.dtype) * w.spherical_jn(w.pi(dtype=x.dtype) * x, order=1)),
        "sin(pi x) / (pi x), and 1 at 0, where its derivative is 0.",
        ulps=4,
        kernel=sinc_kernel,
    ),
    Op(
        "spherical_jn",
        type=ordered("spherical_jn"),
        numpy="nk.spherical_jn({0}, {order})",
        exact=lambda s, x, *, order: s.spherical_jn(x, order),
        rule=Partials(spherical_partial),
        domains=("real",),
        samples=tuple(Sample(((3,),), {"order": n}) for n in (0, 1, 2, 4)),
        errors=(ErrorSample(("i64[2]",), {"order": 1}, DTypeError, "not defined for i64"), UNORDERED),
        elementwise=True,
        ulps=16,
        doc="Spherical Bessel function of the first kind of a whole order; order 0 is sin(x) / x.",
        reasons=NOT_FUSED,
    ),
)
