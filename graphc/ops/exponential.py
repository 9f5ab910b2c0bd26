"""Exponentials and logarithms, with the stabilised relatives that naive formulas are rewritten to."""

from __future__ import annotations

import math
from typing import Any

from graphc.errors import DTypeError
from graphc.ops.record import NOT_FUSED, ErrorSample, Masked, Op, Partials
from graphc.ops.typing import elementwise
from graphc.ops.work import per_element

INTEGER = ErrorSample(("i64[2]",), {}, DTypeError, "not defined for i64")
INTEGERS = ErrorSample(("i64[2]", "i64[2]"), {}, DTypeError, "not defined for i64")


def hypot_partial(w: Any, y: Any, a: Any) -> Any:
    return Masked(y != 0, a / y)


def log_of(w: Any, base: int, x: Any) -> Any:
    # a logarithm, not a literal: rules hold exactly
    return w.log(w.constant(base, x.dtype))


def sin_arctan_kernel(k: Any, x: Any) -> Any:
    one = k.number(1, x)
    return k.copysign(k.where(k.eq(k.abs(x), k.number(math.inf, x)), one, x / k.hypot(x, one)), x)


def log1mexp_kernel(k: Any, x: Any) -> Any:
    decay = k.exp(-x)
    near = k.log(k.where(x > 0.0, -k.expm1(-x), 1.0 - decay))
    return k.where(x < math.log(2), near, k.log1p(-decay))


def share_kernel(k: Any, a: Any, b: Any) -> Any:
    # the error of the difference is a float: D. E. Knuth, "The Art of Computer Programming", volume 2, 4.2.2
    zero = k.number(0, a)
    difference = k.where(k.eq(a, b), zero, a - b)
    back = difference - a
    error = (a - (difference - back)) - (b + back)
    small = k.where(difference < -40.0, k.exp(difference), k.sigmoid(difference))
    return small + k.where(k.eq(error, error), small * k.sigmoid(-difference) * error, zero)


OPS = (
    Op(
        "exp",
        type=elementwise("exp", "f"),
        numpy="np.exp",
        kernel="exp",
        exact="exp",
        rule=Partials(lambda w, y, x: y),
        domains=("real",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=2,
        doc="e to the power x.",
    ),
    Op(
        "log",
        type=elementwise("log", "f"),
        numpy="np.log",
        kernel="log",
        exact="log",
        rule=Partials(lambda w, y, x: 1 / x),
        domains=("positive",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=2,
        doc="The natural logarithm of x > 0.",
    ),
    Op(
        "xlogx",
        type=elementwise("xlogx", "f"),
        numpy="np.where({0} == 0, 0, {0} * np.log({0}))",
        kernel=lambda k, x: k.where(k.eq(x, k.number(0, x)), k.number(0, x), x * k.log(x)),
        exact=lambda s, x: x * s.log(x),
        rule=Partials(lambda w, y, x: w.log(x) + 1),
        domains=("positive",),
        errors=(INTEGER,),
        kinks=(0.0,),
        elementwise=True,
        ulps=2,
        doc="x log(x), and its limit 0 at 0, where its derivative is -inf.",
    ),
    Op(
        "expm1",
        type=elementwise("expm1", "f"),
        numpy="np.expm1",
        kernel="expm1",
        exact=lambda s, x: s.exp(x) - 1,
        rule=Partials(lambda w, y, x: w.exp(x)),
        domains=("real",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=2,
        doc="exp(x) - 1 without cancellation near 0.",
    ),
    Op(
        "log1p",
        type=elementwise("log1p", "f"),
        numpy="np.log1p",
        kernel="log1p",
        exact=lambda s, x: s.log(1 + x),
        rule=Partials(lambda w, y, x: 1 / (1 + x)),
        domains=("above -1",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=2,
        doc="log(1 + x) without cancellation near 0.",
    ),
    Op(
        "sqrt",
        type=elementwise("sqrt", "f"),
        numpy="np.sqrt",
        kernel="sqrt",
        work="div",
        exact="sqrt",
        rule=Partials(lambda w, y, x: 0.5 / y),
        domains=("positive",),
        errors=(INTEGER,),
        kinks=(0.0,),
        elementwise=True,
        doc="The square root of x >= 0; its derivative at 0 is inf.",
    ),
    Op(
        "sigmoid",
        type=elementwise("sigmoid", "f"),
        numpy="nk.expit({0})",
        kernel="sigmoid",
        exact=lambda s, x: 1 / (1 + s.exp(-x)),
        # 1 - y cancels for large x, sigmoid(-x) does not
        rule=Partials(lambda w, y, x: y * w.sigmoid(-x)),
        domains=("real",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=4,
        doc="1 / (1 + exp(-x)).",
    ),
    Op(
        "softplus",
        type=elementwise("softplus", "f"),
        numpy="np.logaddexp({0}, 0)",
        kernel="softplus",
        exact=lambda s, x: s.log(1 + s.exp(x)),
        rule=Partials(lambda w, y, x: w.sigmoid(x)),
        domains=("real",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=4,
        doc="log(1 + exp(x)) without overflow.",
    ),
    Op(
        "logaddexp",
        type=elementwise("logaddexp", "f"),
        numpy="np.logaddexp",
        kernel="logaddexp",
        exact=lambda s, a, b: s.log(s.exp(a) + s.exp(b)),
        rule=Partials(lambda w, y, a, b: w.share(a, b), lambda w, y, a, b: w.share(b, a)),
        domains=("real", "real"),
        errors=(INTEGERS,),
        elementwise=True,
        ulps=4,
        doc="log(exp(a) + exp(b)) without overflow; equal infinities share the derivative equally.",
    ),
    Op(
        "share",
        type=elementwise("share", "f"),
        numpy="nk.share({0}, {1})",
        kernel=share_kernel,
        exact=lambda s, a, b: 1 / (1 + s.exp(b - a)),
        rule=Partials(lambda w, y, a, b: y * w.share(b, a), lambda w, y, a, b: -(y * w.share(b, a))),
        domains=("real", "real"),
        errors=(INTEGERS,),
        elementwise=True,
        ulps=4,
        doc="exp(a) / (exp(a) + exp(b)) without overflow, one half for equal infinities.",
    ),
    Op(
        "gap",
        type=elementwise("gap", "f"),
        numpy="np.where({0} == {1}, 0, {0} - {1})",
        kernel=lambda k, a, b: k.where(k.eq(a, b), k.number(0, a), a - b),
        exact=lambda s, a, b: a - b,
        rule=Partials(lambda w, y, a, b: 1, lambda w, y, a, b: -1),
        domains=("real", "real"),
        errors=(INTEGERS,),
        elementwise=True,
        work=per_element(add=1, other=2),
        doc="a - b, and 0 where a and b are equal infinities.",
    ),
    Op(
        "log1mexp",
        type=elementwise("log1mexp", "f"),
        # the switch at log 2 is that of M. Maechler, "Accurately Computing log(1 - exp(-|a|))", 2012
        # for x <= 0 it is what NumPy gives: -inf where 1 - exp(-x) rounds to 0, NaN below
        numpy=(
            "np.where({0} < 0.6931471805599453, "
            "np.log(np.where({0} > 0, -np.expm1(-{0}), 1 - np.exp(-{0}))), np.log1p(-np.exp(-{0})))"
        ),
        kernel=log1mexp_kernel,
        exact=lambda s, x: s.log(1 - s.exp(-x)),
        # 1 / expm1(x) overflows on the way to its own derivative
        rule=Partials(lambda w, y, x: w.exp(-x) / -w.expm1(-x)),
        domains=("positive",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=4,
        doc="log(1 - exp(-x)) for x > 0 without cancellation.",
    ),
    Op(
        "hypot",
        type=elementwise("hypot", "f"),
        numpy="np.hypot",
        kernel="hypot",
        exact=lambda s, a, b: s.sqrt(a * a + b * b),
        rule=Partials(lambda w, y, a, b: hypot_partial(w, y, a), lambda w, y, a, b: hypot_partial(w, y, b)),
        domains=("real", "real"),
        errors=(INTEGERS,),
        elementwise=True,
        ulps=2,
        doc="sqrt(a**2 + b**2) without overflow; its derivative at (0, 0) is 0.",
    ),
    Op(
        "sin_arctan",
        type=elementwise("sin_arctan", "f"),
        numpy="np.copysign(np.where(np.isinf({0}), 1, {0} / np.hypot({0}, 1)), {0})",
        kernel=sin_arctan_kernel,
        exact=lambda s, x: x / s.sqrt(x * x + 1),
        # the cosine's cube: no difference of nearly equal terms at any order
        rule=Partials(lambda w, y, x: w.integer_pow(w.cos_arctan(x), exponent=3)),
        domains=("real",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=4,
        doc="x / sqrt(x**2 + 1), the sine of the arctangent of x.",
    ),
    Op(
        "cos_arctan",
        type=elementwise("cos_arctan", "f"),
        numpy="1 / np.hypot({0}, 1)",
        kernel=lambda k, x: 1.0 / k.hypot(x, k.number(1, x)),
        exact=lambda s, x: 1 / s.sqrt(x * x + 1),
        rule=Partials(lambda w, y, x: -(w.sin_arctan(x) * y * y)),
        domains=("real",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=4,
        doc="1 / sqrt(x**2 + 1), the cosine of the arctangent of x.",
    ),
    Op(
        "exp2",
        type=elementwise("exp2", "f"),
        numpy="np.exp2",
        kernel="exp2",
        exact=lambda s, x: s.exp(x * s.log(s.number(2))),
        rule=Partials(lambda w, y, x: y * log_of(w, 2, x)),
        domains=("real",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=2,
        doc="2 to the power x.",
    ),
    Op(
        "log2",
        type=elementwise("log2", "f"),
        numpy="np.log2",
        kernel="log2",
        exact=lambda s, x: s.log(x) / s.log(s.number(2)),
        rule=Partials(lambda w, y, x: 1 / (x * log_of(w, 2, x))),
        domains=("positive",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=2,
        doc="The logarithm of x > 0 to base 2.",
    ),
    Op(
        "log10",
        type=elementwise("log10", "f"),
        numpy="np.log10",
        kernel="log10",
        exact=lambda s, x: s.log(x) / s.log(s.number(10)),
        rule=Partials(lambda w, y, x: 1 / (x * log_of(w, 10, x))),
        domains=("positive",),
        errors=(INTEGER,),
        elementwise=True,
        ulps=2,
        doc="The logarithm of x > 0 to base 10.",
    ),
    Op(
        "logaddexp2",
        type=elementwise("logaddexp2", "f"),
        numpy="np.logaddexp2",
        exact=lambda s, a, b: s.log(s.pow(s.number(2), a) + s.pow(s.number(2), b)) / s.log(s.number(2)),
        rule=Partials(
            lambda w, y, a, b: w.sigmoid(w.gap(a, b) * log_of(w, 2, a)),
            lambda w, y, a, b: w.sigmoid(w.gap(b, a) * log_of(w, 2, a)),
        ),
        domains=("real", "real"),
        errors=(INTEGERS,),
        elementwise=True,
        ulps=4,
        doc="log2(2**a + 2**b) without overflow.",
        reasons=NOT_FUSED,
    ),
    Op(
        "cbrt",
        type=elementwise("cbrt", "f"),
        numpy="np.cbrt",
        kernel="cbrt",
        exact="cbrt",
        rule=Partials(lambda w, y, x: 1 / (3 * y * y)),
        domains=("real",),
        errors=(INTEGER,),
        kinks=(0.0,),
        elementwise=True,
        ulps=2,
        doc="The real cube root of x; its derivative at 0 is inf.",
    ),
)
