"""Comparisons, logic, selection and clamping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from graphc.errors import DTypeError, ShapeError
from graphc.ir import TensorType, Type
from graphc.ops.record import ErrorSample, Linear, Masked, Op, Partials, Reason, Rule
from graphc.ops.typing import Facts, broadcast, elementwise, tensor

MISFIT = ErrorSample(("f64[2]", "f64[3]"), {}, ShapeError, "do not broadcast")
NO_TANGENT: Final[Mapping[str, Reason]] = {"rule": "integer or boolean result: no tangent"}


def comparison(name: str, numpy: str, exact: Rule, doc: str) -> Op:
    return Op(
        name,
        type=elementwise(name, "biuf", result="bool"),
        numpy=numpy,
        kernel=name,
        work="other",
        exact=exact,
        domains=("real", "real"),
        errors=(MISFIT,),
        elementwise=True,
        reasons=NO_TANGENT,
        doc=doc,
    )


def logic(name: str, arity: int, exact: Rule, doc: str) -> Op:
    return Op(
        name,
        type=elementwise(name, "b"),
        numpy=f"np.{name}",
        kernel=name,
        work="other",
        exact=exact,
        domains=("bool",) * arity,
        errors=(ErrorSample(("f64[2]",) * arity, {}, DTypeError, "not defined for f64"),),
        elementwise=True,
        reasons=NO_TANGENT,
        doc=doc,
    )


def where_type(facts: Facts, condition: Type, x: Type, y: Type) -> TensorType:
    c, a, b = (tensor(t, "where") for t in (condition, x, y))
    if c.dtype.kind != "b":
        raise DTypeError("where: the condition must be boolean", expected="bool", actual=repr(c))
    if a.dtype != b.dtype:
        raise DTypeError("where: branches differ in dtype", actual=f"{a!r} and {b!r}")
    return TensorType(broadcast(facts, "where", c.shape, a.shape, b.shape), a.dtype, a.weak and b.weak)


OPS = (
    comparison("eq", "np.equal", lambda s, a, b: s.equal(a, b), "a == b."),
    comparison("ne", "np.not_equal", lambda s, a, b: s.logical_not(s.equal(a, b)), "a != b."),
    comparison("lt", "np.less", lambda s, a, b: s.less(a, b), "a < b."),
    comparison("le", "np.less_equal", lambda s, a, b: s.logical_not(s.less(b, a)), "a <= b."),
    comparison("gt", "np.greater", lambda s, a, b: s.less(b, a), "a > b."),
    comparison("ge", "np.greater_equal", lambda s, a, b: s.logical_not(s.less(a, b)), "a >= b."),
    logic("logical_and", 2, lambda s, a, b: s.logical_and(a, b), "a and b."),
    logic("logical_or", 2, lambda s, a, b: s.logical_or(a, b), "a or b."),
    logic("logical_not", 1, lambda s, a: s.logical_not(a), "not a."),
    Op(
        "where",
        type=where_type,
        numpy="np.where({0}, {1}, {2})",
        kernel="where",
        work="other",
        exact=lambda s, c, x, y: s.where(c, x, y),
        rule=Linear(
            (1, 2),
            lambda w, ct, c, x, y: (None, Masked(c, ct), Masked(w.logical_not(c), ct)),
        ),
        domains=("bool", "real", "real"),
        errors=(
            ErrorSample(("f64[2]", "f64[2]", "f64[2]"), {}, DTypeError, "must be boolean"),
            ErrorSample(("bool[2]", "f64[2]", "f32[2]"), {}, DTypeError, "differ in dtype"),
            ErrorSample(("bool[2]", "f64[3]", "f64[3]"), {}, ShapeError, "do not broadcast"),
        ),
        elementwise=True,
        reasons={"mask": "gives masks itself, or adds up elements under different ones"},
        doc="x where the condition holds, else y; derivatives select by mask, never by value.",
    ),
    Op(
        "maximum",
        type=elementwise("maximum", "biuf"),
        numpy="np.maximum",
        kernel="maximum",
        work="other",
        exact=lambda s, a, b: s.maximum(a, b),
        rule=Partials(
            lambda w, y, a, b: Masked(a >= b, w.select(a == b, w.constant(0.5, a.dtype), 1)),
            lambda w, y, a, b: Masked(b >= a, w.select(a == b, w.constant(0.5, a.dtype), 1)),
        ),
        domains=("real", "real"),
        errors=(MISFIT,),
        elementwise=True,
        doc="The larger of a and b, NaN if either is; ties share the derivative equally.",
    ),
    Op(
        "minimum",
        type=elementwise("minimum", "biuf"),
        numpy="np.minimum",
        kernel="minimum",
        work="other",
        exact=lambda s, a, b: s.minimum(a, b),
        rule=Partials(
            lambda w, y, a, b: Masked(a <= b, w.select(a == b, w.constant(0.5, a.dtype), 1)),
            lambda w, y, a, b: Masked(b <= a, w.select(a == b, w.constant(0.5, a.dtype), 1)),
        ),
        domains=("real", "real"),
        errors=(MISFIT,),
        elementwise=True,
        doc="The smaller of a and b, NaN if either is; ties share the derivative equally.",
    ),
    Op(
        "fmax",
        type=elementwise("fmax", "biuf"),
        numpy="np.fmax",
        kernel="fmax",
        work="other",
        exact=lambda s, a, b: s.maximum(a, b),
        rule=Partials(
            lambda w, y, a, b: Masked(w.logical_or(a >= b, b != b), w.select(a == b, w.constant(0.5, a.dtype), 1)),
            lambda w, y, a, b: Masked(w.logical_or(b >= a, a != a), w.select(a == b, w.constant(0.5, a.dtype), 1)),
        ),
        domains=("real", "real"),
        errors=(MISFIT,),
        elementwise=True,
        doc="The larger of a and b, the other one if one is NaN; ties share the derivative equally.",
    ),
    Op(
        "fmin",
        type=elementwise("fmin", "biuf"),
        numpy="np.fmin",
        kernel="fmin",
        work="other",
        exact=lambda s, a, b: s.minimum(a, b),
        rule=Partials(
            lambda w, y, a, b: Masked(w.logical_or(a <= b, b != b), w.select(a == b, w.constant(0.5, a.dtype), 1)),
            lambda w, y, a, b: Masked(w.logical_or(b <= a, a != a), w.select(a == b, w.constant(0.5, a.dtype), 1)),
        ),
        domains=("real", "real"),
        errors=(MISFIT,),
        elementwise=True,
        doc="The smaller of a and b, the other one if one is NaN; ties share the derivative equally.",
    ),
)
