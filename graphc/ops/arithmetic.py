"""Elementwise arithmetic: the four operations, powers, remainders, absolute value and sign, casts."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.ir import TensorType, Type
from graphc.ops.record import ErrorSample, Linear, Masked, Op, Partials, Sample
from graphc.ops.typing import Facts, check_kind, elementwise, tensor
from graphc.ops.work import integer_power, per_element

MISFIT = ErrorSample(("f64[2]", "f64[3]"), {}, ShapeError, "do not broadcast")
MIXED = ErrorSample(("f64[2]", "f32[2]"), {}, DTypeError, "differ in dtype")


def no_bool(name: str) -> ErrorSample:
    return ErrorSample(
        ("bool[2]",) if name in ("neg", "abs", "sign") else ("bool[2]", "bool[2]"),
        {},
        DTypeError,
        "not defined for bool",
    )


def integer_pow_type(facts: Facts, operand: Type, *, exponent: int) -> TensorType:
    x = tensor(operand, "integer_pow")
    check_kind("integer_pow", x, "iuf")
    if exponent < 0 and x.dtype.kind != "f":
        raise DTypeError(
            "integer_pow: integers to negative powers are not integers", expected="a float", actual=repr(x)
        )
    return x


def integer_pow_partial(w: Any, y: Any, x: Any, *, exponent: int) -> Any:
    if exponent in (0, 1):
        return exponent or None
    return exponent * (x if exponent == 2 else w.integer_pow(x, exponent=exponent - 1))


def pow_base_partial(w: Any, y: Any, a: Any, b: Any) -> Any:
    # b * a**(b-1); where b is 0 the power is constant, whatever a is
    return Masked(b != 0, b * w.pow(a, b - 1))


def pow_exponent_partial(w: Any, y: Any, a: Any, b: Any) -> Any:
    # a**b log a; 0**b is constantly 0 beside b > 0
    return Masked(a != 0, y * w.log(a))


def lerp_kernel(k: Any, a: Any, b: Any, u: Any) -> Any:
    limits = np.finfo(b.dtype)
    result = a + u * (b - a)
    rising = k.lt(a, b)
    # the step to the neighbour of b, as in the NumPy meaning
    step = k.maximum(k.abs(b) * k.number(0.5625 * float(limits.eps), b), k.number(float(limits.smallest_subnormal), b))
    step = k.where(rising, -step, step)
    near = b + step
    near = k.where(k.eq(near, b), near + 2.0 * step, near)
    end = k.where(rising, k.maximum(near, a), k.minimum(near, a))
    inside = k.logical_and(k.ge(u, k.number(0, u)), k.lt(u, k.number(1, u)))
    apart = k.logical_and(k.ne(a, b), k.lt(k.abs(b), k.number(float("inf"), b)))
    reached = k.where(rising, k.ge(result, b), k.le(result, b))
    return k.where(k.logical_and(reached, k.logical_and(inside, apart)), end, result)


def cast_type(facts: Facts, operand: Type, *, dtype: np.dtype[Any], weak: bool) -> TensorType:
    return TensorType(tensor(operand, "cast").shape, dtype, weak)


OPS = (
    Op(
        "add",
        type=elementwise("add", "biuf"),
        numpy="np.add",
        kernel="add",
        work="add",
        exact=lambda s, a, b: a + b,
        rule=Partials(lambda w, y, a, b: 1, lambda w, y, a, b: 1),
        domains=("real", "real"),
        errors=(MISFIT, MIXED),
        elementwise=True,
        doc="a + b; logical or for booleans.",
    ),
    Op(
        "sub",
        type=elementwise("sub", "iuf"),
        numpy="np.subtract",
        kernel="sub",
        work="add",
        exact=lambda s, a, b: a - b,
        rule=Partials(lambda w, y, a, b: 1, lambda w, y, a, b: -1),
        domains=("real", "real"),
        errors=(MISFIT, MIXED, no_bool("sub")),
        elementwise=True,
        doc="a - b.",
    ),
    Op(
        "mul",
        type=elementwise("mul", "biuf"),
        numpy="np.multiply",
        kernel="mul",
        work="mul",
        exact=lambda s, a, b: a * b,
        rule=Partials(lambda w, y, a, b: b, lambda w, y, a, b: a),
        domains=("real", "real"),
        errors=(MISFIT, MIXED),
        elementwise=True,
        doc="a * b; logical and for booleans.",
    ),
    Op(
        "div",
        type=elementwise("div", "f"),
        numpy="np.true_divide",
        kernel="div",
        work="div",
        exact=lambda s, a, b: a / b,
        rule=Partials(lambda w, y, a, b: 1 / b, lambda w, y, a, b: -(y / b)),
        domains=("real", "nonzero"),
        errors=(MISFIT, MIXED, ErrorSample(("i64[2]", "i64[2]"), {}, DTypeError, "not defined for i64")),
        elementwise=True,
        doc="a / b for floats.",
    ),
    Op(
        "floor_divide",
        type=elementwise("floor_divide", "iuf"),
        numpy="np.floor_divide",
        kernel="floor_divide",
        work="div",
        exact=lambda s, a, b: s.floor(a / b),
        rule=Partials(None, None),
        domains=("real", "nonzero"),
        errors=(MISFIT, MIXED),
        elementwise=True,
        doc="The floor of a / b; its derivative is 0.",
    ),
    Op(
        "remainder",
        type=elementwise("remainder", "iuf"),
        numpy="np.remainder",
        kernel="remainder",
        work="div",
        exact=lambda s, a, b: a - b * s.floor(a / b),
        rule=Partials(lambda w, y, a, b: 1, lambda w, y, a, b: -w.floor_divide(a, b)),
        domains=("real", "nonzero"),
        errors=(MISFIT, MIXED),
        elementwise=True,
        doc="a - b * floor(a / b), with the sign of b.",
    ),
    Op(
        "lerp",
        type=elementwise("lerp", "f"),
        numpy="nk.lerp({0}, {1}, {2})",
        kernel=lerp_kernel,
        exact=lambda s, a, b, u: a + u * (b - a),
        rule=Partials(lambda w, y, a, b, u: 1 - u, lambda w, y, a, b, u: u, lambda w, y, a, b, u: b - a),
        domains=("real", "real", "real"),
        samples=(
            Sample(((2, 3), (3,), (2, 1))),
            Sample(((), (), ())),
            Sample((np.array([0.1, -0.7]), np.array(0.7), np.array([0.3, 1 / 3]))),
        ),
        errors=(
            ErrorSample(("f64[2]", "f64[2]", "f32[2]"), {}, DTypeError, "differ in dtype"),
            ErrorSample(("f64[2]", "f64[3]", "f64[]"), {}, ShapeError, "do not broadcast"),
            ErrorSample(("i64[2]", "i64[2]", "i64[2]"), {}, DTypeError, "not defined for i64"),
        ),
        work=per_element(add=2, mul=1, other=1),
        elementwise=True,
        ulps=4,
        doc="a + u * (b - a), the way from a to b; where u lies from 0 to 1, exclusive, rounding does not lead to b.",
    ),
    Op(
        "neg",
        type=elementwise("neg", "iuf"),
        numpy="np.negative",
        kernel="neg",
        work="other",
        exact=lambda s, x: -x,
        rule=Partials(lambda w, y, x: -1),
        domains=("real",),
        errors=(no_bool("neg"),),
        elementwise=True,
        doc="-x.",
    ),
    Op(
        "integer_pow",
        type=integer_pow_type,
        numpy="np.power({0}, {exponent})",
        kernel=lambda k, x, *, exponent: k.integer_pow(x, exponent),
        work=integer_power,
        exact=lambda s, x, *, exponent: s.integer_pow(x, exponent),
        rule=Partials(integer_pow_partial),
        domains=("nonzero",),
        samples=tuple(Sample(((3,),), {"exponent": e}) for e in (-2, 0, 1, 2, 3, 7)),
        errors=(ErrorSample(("i64[2]",), {"exponent": -1}, DTypeError, "negative powers"),),
        elementwise=True,
        ulps=2,
        doc="x to a fixed integer power.",
    ),
    Op(
        "pow",
        type=elementwise("pow", "iuf"),
        numpy="np.power",
        kernel="pow",
        kernel_kinds="f",  # a negative power of integers is an error
        exact=lambda s, a, b: s.pow(a, b),
        rule=Partials(pow_base_partial, pow_exponent_partial),
        domains=("positive", "real"),
        errors=(MISFIT, MIXED),
        elementwise=True,
        ulps=2,
        doc="a to the power b.",
    ),
    Op(
        "abs",
        type=elementwise("abs", "iuf"),
        numpy="np.absolute",
        kernel="abs",
        work="other",
        exact=lambda s, x: s.abs(x),
        rule=Partials(lambda w, y, x: w.sign(x)),
        domains=("real",),
        errors=(no_bool("abs"),),
        kinks=(0.0,),
        elementwise=True,
        doc="The absolute value; its derivative at 0 is 0.",
    ),
    Op(
        "sign",
        type=elementwise("sign", "iuf"),
        numpy="np.sign",
        kernel="sign",
        work="other",
        exact=lambda s, x: s.sign(x),
        rule=Partials(None),
        domains=("real",),
        errors=(no_bool("sign"),),
        kinks=(0.0,),
        elementwise=True,
        doc="-1, 0 or 1 as x is negative, zero or positive; its derivative is 0.",
    ),
    Op(
        "cast",
        type=cast_type,
        numpy="{0}.astype({dtype})",
        kernel=lambda k, x, *, dtype, weak: k.convert(x, dtype),
        work="other",
        exact=lambda s, x, *, dtype, weak: s.cast(x, dtype),
        rule=Linear(
            None,
            lambda w, ct, x, *, dtype, weak: (w.convert(ct, x.dtype),),
            mask=lambda w, m, x, *, dtype, weak: (m,),
        ),
        domains=("real",),
        samples=(
            Sample(((3,),), {"dtype": np.dtype(np.float32), "weak": False}),
            Sample(((2, 2),), {"dtype": np.dtype(np.float64), "weak": False}),
            Sample(((3,),), {"dtype": np.dtype(np.int64), "weak": False}),
            Sample(((3,),), {"dtype": np.dtype(np.bool_), "weak": False}),
        ),
        elementwise=True,
        reasons={"errors": "any input is accepted"},
        doc="The operand in another dtype, as astype converts it.",
    ),
    Op(
        "identity",
        type=lambda facts, x: x,
        numpy="{0}",
        exact=lambda s, x: x,
        rule=Linear(None, lambda w, ct, x: (ct,), mask=lambda w, m, x: (m,)),
        domains=("real",),
        elementwise=True,
        view=True,
        reasons={"errors": "any input is accepted"},
        doc="The operand itself; no rewrite before differentiation sees through it.",
    ),
    Op(
        "stop_gradient",
        type=lambda facts, x: x,
        numpy="{0}",
        exact=lambda s, x: s.stop_gradient(x),
        rule=Partials(None),
        domains=("real",),
        elementwise=True,
        view=True,
        reasons={"errors": "any input is accepted"},
        doc="The operand as a constant of differentiation.",
    ),
)
