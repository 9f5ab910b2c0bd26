"""Rounding to whole numbers, signs and steps, scaling by powers of 2: constant or linear in pieces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.ir import TensorType, Type
from graphc.ops.record import NOT_FUSED, ErrorSample, Linear, Masked, Op, Partials, Reason, Rule, Sample
from graphc.ops.typing import Facts, broadcast, check_kind, elementwise, tensor

INTEGER = ErrorSample(("i64[2]",), {}, DTypeError, "not defined for i64")
INTEGERS = ErrorSample(("i64[2]", "i64[2]"), {}, DTypeError, "not defined for i64")
MISFIT = ErrorSample(("f64[2]", "f64[3]"), {}, ShapeError, "do not broadcast")
NO_TANGENT: Final[Mapping[str, Reason]] = {"rule": "integer or boolean result: no tangent"}

# the whole numbers among those that the table tests look at
JUMPS: Final = (-1.0, 0.0, 1.0, 2.0)


def rounding(name: str, exact: Rule, doc: str, kinks: tuple[float, ...]) -> Op:
    return Op(
        name,
        type=elementwise(name, "f"),
        numpy=f"np.{name}",
        kernel=name,
        work="other",
        exact=exact,
        rule=Partials(None),
        domains=("real",),
        errors=(INTEGER,),
        kinks=kinks,
        elementwise=True,
        doc=doc,
    )


def fmod_partial(w: Any, y: Any, a: Any, b: Any) -> Any:
    # the quotient cut towards zero; a - y is a multiple of b, so rint only undoes the division's rounding
    return -w.rint((a - y) / b)


def heaviside_kernel(k: Any, x: Any, h: Any) -> Any:
    zero, one = k.number(0, x), k.number(1, x)
    return k.where(k.is_nan(x), x, k.where(k.eq(x, zero), h, k.where(x < 0, zero, one)))


def ldexp_type(facts: Facts, operand: Type, exponent: Type) -> TensorType:
    x, n = tensor(operand, "ldexp"), tensor(exponent, "ldexp")
    check_kind("ldexp", x, "f")
    if n.dtype.kind != "i":
        raise DTypeError("ldexp: the exponent must be an integer", actual=repr(n))
    return TensorType(broadcast(facts, "ldexp", x.shape, n.shape), x.dtype)


def ldexp_exact(s: Any, x: Any, n: Any) -> Any:
    return x * s.integer_pow(s.number(2), s.integer(s.lift(n)))


def exponent_type(facts: Facts, operand: Type) -> TensorType:
    x = tensor(operand, "exponent")
    check_kind("exponent", x, "f")
    return TensorType(x.shape, np.dtype(np.int32))


def exponent_exact(s: Any, x: Any) -> Any:
    size, half, n = s.abs(s.lift(x)), s.number(1) / 2, 0
    if s.holds(s.equal(size, s.number(0))):
        return s.number(0)
    while not s.holds(s.less(size, s.number(1))):
        size, n = size / 2, n + 1
    while s.holds(s.less(size, half)):
        size, n = size * 2, n - 1
    return s.number(n)


OPS = (
    rounding(
        "floor",
        lambda s, x: s.floor(x),
        "The largest whole number not above x; its derivative is 0.",
        JUMPS,
    ),
    rounding(
        "ceil",
        lambda s, x: -s.floor(-x),
        "The smallest whole number not below x; its derivative is 0.",
        JUMPS,
    ),
    rounding(
        "trunc",
        lambda s, x: s.trunc(x),
        "x cut towards zero to a whole number; its derivative is 0.",
        tuple(k for k in JUMPS if k),
    ),
    rounding(
        "rint",
        lambda s, x: s.rint(x),
        "The nearest whole number, the even one of two; its derivative is 0.",
        (),
    ),
    Op(
        "fmod",
        type=elementwise("fmod", "iuf"),
        numpy="np.fmod",
        kernel="fmod",
        work="div",
        exact=lambda s, a, b: a - b * s.trunc(a / b),
        rule=Partials(lambda w, y, a, b: 1, fmod_partial),
        domains=("real", "nonzero"),
        errors=(MISFIT,),
        elementwise=True,
        doc="a - b * trunc(a / b), with the sign of a.",
    ),
    Op(
        "copysign",
        type=elementwise("copysign", "f"),
        numpy="np.copysign",
        kernel="copysign",
        work="other",
        exact=lambda s, a, b: s.where(s.less(b, s.number(0)), -s.abs(a), s.abs(a)),
        rule=Partials(lambda w, y, a, b: w.sign(a) * w.copysign(w.constant(1, a.dtype), b), None),
        domains=("real", "real"),
        errors=(INTEGERS, MISFIT),
        elementwise=True,
        doc="The size of a with the sign of b, which zeros have too; its derivative by a is 0 at a = 0.",
    ),
    Op(
        "heaviside",
        type=elementwise("heaviside", "f"),
        numpy="np.heaviside",
        kernel=heaviside_kernel,
        work="other",
        exact=lambda s, x, h: s.where(
            s.equal(x, s.number(0)), h, s.where(s.less(x, s.number(0)), s.number(0), s.number(1))
        ),
        rule=Partials(None, lambda w, y, x, h: Masked(x == 0, 1)),
        domains=("real", "real"),
        errors=(INTEGERS, MISFIT),
        elementwise=True,
        doc="0 for x < 0, h for x = 0, 1 for x > 0; its derivative by x is 0.",
    ),
    Op(
        "signbit",
        type=elementwise("signbit", "f", result="bool"),
        numpy="np.signbit",
        kernel="signbit",
        work="other",
        exact=lambda s, x: s.less(x, s.number(0)),
        domains=("real",),
        errors=(INTEGER,),
        elementwise=True,
        reasons=NO_TANGENT,
        doc="Whether the sign bit is set: true for negative numbers and for -0.0.",
    ),
    Op(
        "ldexp",
        type=ldexp_type,
        numpy="np.ldexp",
        work="mul",
        exact=ldexp_exact,
        rule=Linear((0,), lambda w, ct, x, n: (w.ldexp(ct, n), None), mask=lambda w, m, x, n: (m, None)),
        domains=("real", "index"),
        samples=(Sample(((3,), np.array([2, 0, -3]))), Sample(((2, 1), np.array([5, -1])))),
        errors=(
            ErrorSample(("i64[2]", "i64[2]"), {}, DTypeError, "not defined for i64"),
            ErrorSample(("f64[2]", "f64[2]"), {}, DTypeError, "must be an integer"),
            ErrorSample(("f64[2]", "i64[3]"), {}, ShapeError, "do not broadcast"),
        ),
        elementwise=True,
        doc="x times 2 to the power of an integer n.",
        reasons=NOT_FUSED,
    ),
    Op(
        "exponent",
        type=exponent_type,
        numpy="np.frexp({0})[1]",
        exact=exponent_exact,
        domains=("real",),
        errors=(INTEGER,),
        elementwise=True,
        work="other",
        reasons={**NO_TANGENT, **NOT_FUSED},
        doc="The exponent n for which x / 2**n has a size from 0.5 to 1; 0 for 0.",
    ),
)
