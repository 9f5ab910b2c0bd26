"""Reductions over axes, and the softmax family."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import AxisError, DTypeError, ShapeError
from graphc.ir import TensorType, Type
from graphc.ops import work
from graphc.ops.batching import carried
from graphc.ops.record import ErrorSample, Jvp, Linear, Op, Sample
from graphc.ops.typing import Facts, check_axes, check_kind, normalise_axis, reduced_shape, reduction, tensor

SAMPLES = tuple(
    Sample((shape,), {"axes": axes, "keepdims": keepdims})
    for shape, axes, keepdims in (
        ((3,), (0,), False),
        ((2, 3), (1,), False),
        ((2, 3), (0,), True),
        ((2, 3), (0, 1), False),
        ((2, 3, 2), (0, 2), True),
        ((2, 1, 3), (1,), False),
    )
)
EMPTY = (
    Sample(((0, 3),), {"axes": (0,), "keepdims": False}),
    Sample(((),), {"axes": (), "keepdims": False}),
)
ERRORS = (
    ErrorSample(("f64[2,3]",), {"axes": (2,), "keepdims": False}, AxisError, "out of bounds"),
    ErrorSample(("f64[2,3]",), {"axes": (1, 1), "keepdims": False}, AxisError, "twice"),
)
BOOL_ERRORS = (
    ErrorSample(("bool[2,3]",), {"axes": (2,), "keepdims": False}, AxisError, "out of bounds"),
    ErrorSample(("bool[2,3]",), {"axes": (1, 1), "keepdims": False}, AxisError, "twice"),
)
NO_RANGE = ErrorSample(("f64[0]",), {"axes": (0,), "keepdims": False}, ShapeError, "no identity")
NOT_FLOAT = ErrorSample(("i64[3]",), {"axes": (0,), "keepdims": False}, DTypeError, "not defined for i64")
NOT_BOOL = ErrorSample(("f64[3]",), {"axes": (0,), "keepdims": False}, DTypeError, "not defined for f64")


def sum_transpose(w: Any, ct: Any, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> tuple[Any]:
    return (w.expand(ct, axes, x.shape, keepdims),)


def extremum_jvp(worse: str) -> Any:
    """The derivative of max or min: elements that are not `worse` than the result share it equally."""

    def jvp(w: Any, y: Any, operands: Any, tangents: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
        (x,), (t,) = operands, tangents
        # where the result is NaN nothing compares, and all elements share
        best = w.logical_not(w.apply(worse, (x, w.expand(y, axes, x.shape, keepdims))))
        ties = w.reduce_sum(w.convert(best, x.dtype), axes=axes, keepdims=keepdims)
        return w.reduce_sum(w.select(best, t, 0), axes=axes, keepdims=keepdims) / ties

    return jvp


def prod_jvp(w: Any, y: Any, operands: Any, tangents: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    (x,), (t,) = operands, tangents
    # several axes become one, the last
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    kept = tuple(x.shape[i] for i in rest)
    count = dims.product([x.shape[i] for i in axes])
    x, t = (w.reshape(w.transpose(v, perm=rest + axes), shape=(*kept, count)) for v in (x, t))
    tangent = _prod_tangent_tree(w, x, t, count) if isinstance(count, int) else _prod_tangent(w, x, t, count)
    return w.reshape(tangent, shape=y.shape)


def _prod_tangent_tree(w: Any, x: Any, t: Any, count: int) -> Any:
    """Halve the last axis until one product is left: exact at zeros, to any order, in linear work."""
    if count == 0:
        return w.reduce_sum(t, axes=(x.ndim - 1,), keepdims=False)
    while count > 1:
        half = count // 2
        (a, da), (b, db), (odd, d_odd) = (
            tuple(w.slice(v, index=whole(v, start, stop)) for v in (x, t))
            for start, stop in ((0, half), (half, 2 * half), (2 * half, count))
        )
        x, t = a * b, da * b + a * db
        if count % 2:
            axis = x.ndim - 1
            x, t = w.concatenate(x, odd, axis=axis), w.concatenate(t, d_odd, axis=axis)
        count = half + count % 2
    return w.reduce_sum(t, axes=(x.ndim - 1,), keepdims=False)


def whole(x: Any, start: Any, stop: Any) -> tuple[tuple[Any, Any, int], ...]:
    """A slice index: everything, but start to stop along the last axis."""
    return (*((0, d, 1) for d in x.shape[:-1]), (start, stop, 1))


def _prod_tangent(w: Any, x: Any, t: Any, count: Any) -> Any:
    """Sum of t_i times the product of the others, from a square of all pairs; for sizes known only at run time."""
    last = x.ndim - 1
    index = w.iota(size=count, dtype=x.dtype)
    diagonal = w.reshape(index, shape=(count, 1)) == w.reshape(index, shape=(1, count))
    others = w.select(diagonal, 1, w.reshape(x, shape=(*x.shape[:last], 1, count)))
    return w.reduce_sum(t * w.reduce_prod(others, axes=(last + 1,), keepdims=False), axes=(last,), keepdims=False)


def norm_jvp(w: Any, y: Any, operands: Any, tangents: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    (x,), (t,) = operands, tangents
    length = w.expand(y, axes, x.shape, keepdims)
    direction = w.select(length != 0, x / length, 0)
    return w.reduce_sum(direction * t, axes=axes, keepdims=keepdims)


def logsumexp_jvp(w: Any, y: Any, operands: Any, tangents: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    (x,), (t,) = operands, tangents
    # where all elements are -inf they share equally, as equal finite ones do
    lowest = w.constant(np.finfo(x.dtype).min, x.dtype)
    x = w.select(w.expand(y, axes, x.shape, keepdims) < lowest, 0, x)
    return w.reduce_sum(w.softmax(x, axes=axes) * t, axes=axes, keepdims=keepdims)


def mean_tangent(w: Any, weights: Any, t: Any, axes: tuple[int, ...]) -> Any:
    return w.expand(w.reduce_sum(weights * t, axes=axes, keepdims=True), axes, t.shape, True)


def softmax_jvp(w: Any, y: Any, operands: Any, tangents: Any, *, axes: tuple[int, ...]) -> Any:
    (t,) = tangents
    return y * (t - mean_tangent(w, y, t, axes))


def log_softmax_jvp(w: Any, y: Any, operands: Any, tangents: Any, *, axes: tuple[int, ...]) -> Any:
    (x,), (t,) = operands, tangents
    return t - mean_tangent(w, w.softmax(x, axes=axes), t, axes)


def softmax_type(facts: Facts, operand: Type, *, axes: tuple[int, ...]) -> TensorType:
    x = tensor(operand, "softmax")
    check_kind("softmax", x, "f")
    check_axes("softmax", axes, x.ndim)
    return TensorType(x.shape, x.dtype)


def cumsum_type(facts: Facts, operand: Type, *, axis: int, reverse: bool) -> TensorType:
    x = tensor(operand, "cumsum")
    check_kind("cumsum", x, "iuf")
    if normalise_axis("cumsum", axis, x.ndim) != axis:
        raise AxisError("cumsum: axes of a node are counted from the front", actual=str(axis))
    return TensorType(x.shape, x.dtype)


def softmax_exact(s: Any, x: Any, axes: tuple[int, ...]) -> Any:
    e = s.each("exp", x)
    return e / s.sum(e, axes, True)


def finite_top(w: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """The largest element, or 0 where it is not finite and would turn its neighbours into NaN."""
    top = w.reduce_max(x, axes=axes, keepdims=True)
    return w.where(w.abs(top) < w.constant(np.inf, x.dtype), top, w.constant(0, x.dtype))


def logsumexp_expansion(w: Any, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    shift = finite_top(w, x, axes)
    result = w.log(w.reduce_sum(w.exp(x - shift), axes=axes, keepdims=True)) + shift
    return result if keepdims else w.reshape(result, shape=reduced_shape(x.shape, set(axes), False))


# powers of 2 that bring what squares to 0, or to inf, back into range
SCALE = 2.0**600


def norm_expansion(w: Any, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
    """The root of a sum of squares that neither over- nor underflows.

    Double precision holds every square of single precision exactly. For itself it takes three sums in one sweep, two of
    them of scaled numbers, and of these the one in range: the method of J. L. Blue, "A Portable Fortran Program to Find
    the Euclidean Norm of a Vector", 1978, with one sum for each range instead of a choice for each element.
    """
    if x.dtype == np.float32:
        wide = w.cast(x, dtype=np.dtype(np.float64), weak=False)
        root_of_sum = w.sqrt(w.reduce_sum(wide * wide, axes=axes, keepdims=keepdims))
        return w.cast(root_of_sum, dtype=x.dtype, weak=False)
    up, down = SCALE, 1 / SCALE
    limits = np.finfo(x.dtype)

    def root(scale: float) -> Any:
        y = x if scale == 1 else x * w.constant(scale, x.dtype)
        return w.sqrt(w.reduce_sum(y * y, axes=axes, keepdims=keepdims))

    plain = root(1)
    low = plain <= w.constant(np.sqrt(limits.tiny) / limits.eps, x.dtype)
    small, large = root(up) / w.constant(up, x.dtype), root(down) / w.constant(down, x.dtype)
    return w.where(low, small, w.where(plain < w.constant(np.inf, x.dtype), plain, large))


def softmax_expansion(w: Any, x: Any, *, axes: tuple[int, ...]) -> Any:
    e = w.exp(x - finite_top(w, x, axes))
    return e / w.reduce_sum(e, axes=axes, keepdims=True)


def log_softmax_expansion(w: Any, x: Any, *, axes: tuple[int, ...]) -> Any:
    shifted = x - finite_top(w, x, axes)
    return shifted - w.log(w.reduce_sum(w.exp(shifted), axes=axes, keepdims=True))


SOFTMAX_SAMPLES = (
    Sample(((3,),), {"axes": (0,)}),
    Sample(((2, 3),), {"axes": (1,)}),
    Sample(((2, 3),), {"axes": (0,)}),
    Sample(((2, 2),), {"axes": (0, 1)}),
)
SOFTMAX_ERRORS = (
    ErrorSample(("f64[2,3]",), {"axes": (2,)}, AxisError, "out of bounds"),
    ErrorSample(("i64[3]",), {"axes": (0,)}, DTypeError, "not defined for i64"),
)

OPS = (
    Op(
        "reduce_sum",
        fold="sum",
        type=reduction("reduce_sum", "iuf"),
        numpy="np.add.reduce({0}, axis={axes}, dtype={0}.dtype, keepdims={keepdims})",
        work=work.for_each("add"),
        exact=lambda s, x, *, axes, keepdims: s.sum(x, axes, keepdims),
        rule=Linear(None, sum_transpose, mask=sum_transpose),
        batch=carried,
        domains=("real",),
        samples=SAMPLES + EMPTY,
        errors=ERRORS,
        ulps=8,
        doc="The sum over axes; 0 over an empty range.",
    ),
    Op(
        "reduce_prod",
        fold="prod",
        type=reduction("reduce_prod", "iuf"),
        numpy="np.multiply.reduce({0}, axis={axes}, dtype={0}.dtype, keepdims={keepdims})",
        work=work.for_each("mul"),
        exact=lambda s, x, *, axes, keepdims: s.prod(x, axes, keepdims),
        rule=Jvp(prod_jvp),
        batch=carried,
        domains=("real",),
        samples=SAMPLES + EMPTY,
        errors=ERRORS,
        ulps=8,
        doc="The product over axes; 1 over an empty range.",
    ),
    Op(
        "reduce_max",
        fold="max",
        type=reduction("reduce_max", "biuf", empty=False),
        numpy="np.maximum.reduce({0}, axis={axes}, keepdims={keepdims})",
        work=work.for_each("other"),
        exact=lambda s, x, *, axes, keepdims: s.reduce("maximum", x, axes, keepdims),
        rule=Jvp(extremum_jvp("lt")),
        batch=carried,
        domains=("real",),
        samples=SAMPLES,
        errors=(*ERRORS, NO_RANGE),
        doc="The largest element, NaN if there is one; ties share the derivative equally.",
    ),
    Op(
        "reduce_min",
        fold="min",
        type=reduction("reduce_min", "biuf", empty=False),
        numpy="np.minimum.reduce({0}, axis={axes}, keepdims={keepdims})",
        work=work.for_each("other"),
        exact=lambda s, x, *, axes, keepdims: s.reduce("minimum", x, axes, keepdims),
        rule=Jvp(extremum_jvp("gt")),
        batch=carried,
        domains=("real",),
        samples=SAMPLES,
        errors=(*ERRORS, NO_RANGE),
        doc="The smallest element, NaN if there is one; ties share the derivative equally.",
    ),
    Op(
        "reduce_any",
        fold="any",
        type=reduction("reduce_any", "b"),
        numpy="np.logical_or.reduce({0}, axis={axes}, keepdims={keepdims})",
        work=work.for_each("other"),
        exact=lambda s, x, *, axes, keepdims: s.reduce("logical_or", x, axes, keepdims, False),
        batch=carried,
        domains=("bool",),
        samples=SAMPLES + EMPTY,
        errors=(*BOOL_ERRORS, NOT_BOOL),
        reasons={"rule": "integer or boolean result: no tangent"},
        doc="Whether any element holds; false over an empty range.",
    ),
    Op(
        "reduce_all",
        fold="all",
        type=reduction("reduce_all", "b"),
        numpy="np.logical_and.reduce({0}, axis={axes}, keepdims={keepdims})",
        work=work.for_each("other"),
        exact=lambda s, x, *, axes, keepdims: s.reduce("logical_and", x, axes, keepdims, True),
        batch=carried,
        domains=("bool",),
        samples=SAMPLES + EMPTY,
        errors=(*BOOL_ERRORS, NOT_BOOL),
        reasons={"rule": "integer or boolean result: no tangent"},
        doc="Whether all elements hold; true over an empty range.",
    ),
    Op(
        "reduce_norm",
        expansion=norm_expansion,
        type=reduction("reduce_norm", "f"),
        numpy="nk.norm({0}, {axes}, {keepdims})",
        work=work.norm,
        exact=lambda s, x, *, axes, keepdims: s.each("sqrt", s.sum(x * x, axes, keepdims)),
        rule=Jvp(norm_jvp),
        batch=carried,
        domains=("real",),
        samples=SAMPLES,
        errors=(*ERRORS, NOT_FLOAT),
        kinks=(0.0,),
        ulps=8,
        doc="The Euclidean norm over axes; its derivative at 0 is 0.",
    ),
    Op(
        "logsumexp",
        expansion=logsumexp_expansion,
        type=reduction("logsumexp", "f"),
        numpy="nk.logsumexp({0}, {axes}, {keepdims})",
        work=work.logsumexp,
        exact=lambda s, x, *, axes, keepdims: s.each("log", s.sum(s.each("exp", x), axes, keepdims)),
        rule=Jvp(logsumexp_jvp),
        batch=carried,
        domains=("real",),
        samples=SAMPLES,
        errors=(*ERRORS, NOT_FLOAT),
        ulps=8,
        doc="log of the sum of exponentials over axes, without overflow; equal -inf share the derivative equally.",
    ),
    Op(
        "softmax",
        expansion=softmax_expansion,
        type=softmax_type,
        numpy="nk.softmax({0}, {axes})",
        work=work.softmax,
        exact=lambda s, x, *, axes: softmax_exact(s, x, axes),
        rule=Jvp(softmax_jvp),
        batch=carried,
        domains=("real",),
        samples=SOFTMAX_SAMPLES,
        errors=SOFTMAX_ERRORS,
        ulps=16,
        doc="exp(x) over its sum along axes, without overflow.",
    ),
    Op(
        "log_softmax",
        expansion=log_softmax_expansion,
        type=softmax_type,
        numpy="nk.log_softmax({0}, {axes})",
        work=work.log_softmax,
        exact=lambda s, x, *, axes: s.each("log", softmax_exact(s, x, axes)),
        rule=Jvp(log_softmax_jvp),
        batch=carried,
        domains=("real",),
        samples=SOFTMAX_SAMPLES,
        errors=SOFTMAX_ERRORS,
        ulps=16,
        doc="log of softmax along axes, without overflow.",
    ),
    Op(
        "cumsum",
        type=cumsum_type,
        numpy="nk.cumsum({0}, {axis}, {reverse})",
        work=work.for_each("add"),
        exact=lambda s, x, *, axis, reverse: s.cumsum(x, axis, reverse),
        rule=Linear(None, lambda w, ct, x, *, axis, reverse: (w.cumsum(ct, axis=axis, reverse=not reverse),)),
        batch=carried,
        domains=("real",),
        samples=(
            Sample(((3,),), {"axis": 0, "reverse": False}),
            Sample(((2, 3),), {"axis": 1, "reverse": True}),
            Sample(((0, 2),), {"axis": 0, "reverse": False}),
        ),
        errors=(ErrorSample(("f64[2]",), {"axis": 1, "reverse": False}, AxisError, "out of bounds"),),
        ulps=8,
        reasons={"mask": "gives masks itself, or adds up elements under different ones"},
        doc="Running sums along an axis, from the end if `reverse`.",
    ),
)
