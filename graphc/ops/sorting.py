"""Order along an axis: sorted elements, the positions that sort them, the position of the largest, searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.errors import AxisError, DTypeError, ShapeError
from graphc.ir import TensorType, Type
from graphc.ops.batching import carried, repeated
from graphc.ops.record import ErrorSample, Jvp, Linear, Op, Reason, Sample
from graphc.ops.typing import Facts, check_kind, normalise_axis, reduced_shape, tensor
from graphc.ops.work import for_each

NO_TANGENT: Final[Mapping[str, Reason]] = {"rule": "integer or boolean result: no tangent"}
INT: Final = np.dtype(np.int64)


def check_axis(op: str, axis: int, rank: int) -> None:
    if normalise_axis(op, axis, rank) != axis:
        raise AxisError(f"{op}: axes of a node are counted from the front", actual=str(axis))


def sort_type(facts: Facts, operand: Type, *, axis: int) -> TensorType:
    x = tensor(operand, "sort")
    check_axis("sort", axis, x.ndim)
    return TensorType(x.shape, x.dtype)


def argsort_type(facts: Facts, operand: Type, *, axis: int, stable: bool) -> TensorType:
    x = tensor(operand, "argsort")
    check_axis("argsort", axis, x.ndim)
    return TensorType(x.shape, INT)


def along(w: Any, x: Any, index: Any, axis: int) -> Any:
    """The elements of x at positions `index` along an axis; x and index agree along the others."""
    positions = []
    for k, size in enumerate(x.shape):
        if k == axis:
            positions.append(index)
        else:
            shape = tuple(size if j == k else 1 for j in range(x.ndim))
            positions.append(w.reshape(w.iota(size=size, dtype=INT), shape=shape))
    return w.gather(x, *positions, axis=0)


def sort_jvp(w: Any, y: Any, operands: Any, tangents: Any, *, axis: int) -> Any:
    (x,), (t,) = operands, tangents
    moved = along(w, t, w.argsort(x, axis=axis, stable=True), axis)
    return w.average_ties(moved, y, axis=axis)


def average_ties_type(facts: Facts, values: Type, keys: Type, *, axis: int) -> TensorType:
    v, k = tensor(values, "average_ties"), tensor(keys, "average_ties")
    check_kind("average_ties", v, "f")
    check_axis("average_ties", axis, v.ndim)
    if len(v.shape) != len(k.shape) or not all(map(facts.equal, v.shape, k.shape)):
        raise ShapeError("average_ties: values and keys differ in shape", actual=f"{v!r} and {k!r}")
    return TensorType(v.shape, v.dtype)


def average_ties_exact(s: Any, values: Any, keys: Any, *, axis: int) -> Any:
    def averaged(line: list[Any]) -> list[Any]:
        result: list[Any] = []
        start = 0
        for stop in range(1, len(line) + 1):
            if stop == len(line) or not s.holds(s.equal(line[stop][1], line[stop - 1][1])):
                total = sum((v for v, _ in line[start + 1 : stop]), line[start][0])
                result.extend([total / (stop - start)] * (stop - start))
                start = stop
        return result

    pairs = np.frompyfunc(lambda v, k: (v, k), 2, 1)(values, keys)
    return s.along(averaged, pairs, axis, values.shape[axis])


def best_type(op: str) -> Any:
    def rule(facts: Facts, operand: Type, *, axis: int, keepdims: bool) -> TensorType:
        x = tensor(operand, op)
        check_axis(op, axis, x.ndim)
        if dims.equal(x.shape[axis], 0):
            raise ShapeError(
                f"{op}: no position in an empty range",
                expected="a size of at least 1 along the axis",
                actual=f"{x!r} along axis {axis}",
            )
        return TensorType(reduced_shape(x.shape, {axis}, keepdims), INT)

    return rule


SHORT: Final = np.dtype(np.int32)
MANY: Final = 1 << 16  # elements of which a library finds the best along the last axis as fast as kernels, or faster


def best_expansion(op: str) -> Any:
    def expansion(w: Any, x: Any, *, axis: int, keepdims: bool) -> Any:
        """The first position of what the maximum or minimum is; NaN, which these are then, equals nothing."""
        elements = dims.product(x.shape)
        if axis == x.ndim - 1 and isinstance(elements, int) and elements > MANY:
            return None
        if x.dtype.kind == "b":
            x = w.cast(x, dtype=np.dtype(np.uint8), weak=False)
        size = x.shape[axis]
        # vectors have more lanes for short positions, if these are known to hold the last one
        short = isinstance(size, int) and size <= np.iinfo(SHORT).max
        counts = SHORT if short else INT
        top = getattr(w, f"reduce_{op[3:]}")(x, axes=(axis,), keepdims=True)
        place = w.reshape(w.iota(size=size, dtype=counts), shape=tuple(size if k == axis else 1 for k in range(x.ndim)))
        found = w.logical_or(w.eq(x, top), w.ne(x, x))
        places = w.where(found, place, w.constant(np.iinfo(counts).max, counts))
        first = w.reduce_min(places, axes=(axis,), keepdims=keepdims)
        return w.cast(first, dtype=INT, weak=False) if short else first

    return expansion


def best(op: str, doc: str) -> Op:
    def exact(s: Any, x: Any, *, axis: int, keepdims: bool) -> Any:
        better = (lambda a, b: s.less(b, a)) if op == "argmax" else s.less
        found = s.along(lambda line: s.argbest(line, better), x, axis, 1)
        return found if keepdims else found.squeeze(axis)

    return Op(
        op,
        type=best_type(op),
        numpy=f"np.{op}({{0}}, axis={{axis}}, keepdims={{keepdims}})",
        silent=True,
        work=for_each("other"),
        exact=exact,
        expansion=best_expansion(op),
        batch=carried,
        domains=("real",),
        samples=(
            Sample(((3,),), {"axis": 0, "keepdims": False}),
            Sample(((2, 3),), {"axis": 1, "keepdims": True}),
            Sample(((2, 3, 2),), {"axis": 1, "keepdims": False}),
            Sample((np.array([1.0, 3.0, 3.0, 1.0]),), {"axis": 0, "keepdims": False}),
        ),
        errors=(
            ErrorSample(("f64[2]",), {"axis": 1, "keepdims": False}, AxisError, "out of bounds"),
            ErrorSample(("f64[2,0]",), {"axis": 1, "keepdims": False}, ShapeError, "empty range"),
        ),
        reasons=NO_TANGENT,
        doc=doc,
    )


def searchsorted_type(facts: Facts, sorted_values: Type, values: Type, *, right: bool) -> TensorType:
    a, v = tensor(sorted_values, "searchsorted"), tensor(values, "searchsorted")
    if a.ndim != 1:
        raise ShapeError("searchsorted: the sorted array must have one axis", actual=repr(a))
    if a.dtype != v.dtype:
        raise DTypeError("searchsorted: operands differ in dtype", actual=f"{a!r} and {v!r}")
    return TensorType(v.shape, INT)


def searchsorted_exact(s: Any, a: Any, v: Any, *, right: bool) -> Any:
    def place(value: Any) -> Any:
        held = [not s.holds(s.less(value, x)) if right else s.holds(s.less(x, value)) for x in a]
        return s.number(sum(held))

    return np.frompyfunc(place, 1, 1)(v)


def searchsorted_rows(
    w: Any, name: str, size: Size, operands: Sequence[Any], batched: Sequence[bool], attrs: Mapping[str, Any]
) -> Any:
    """Arrays of their own for the rows: a value's place among both, less its place among the values alone."""
    a, v = operands
    if not batched[0]:
        return w.apply(name, operands, **attrs)
    shape = v.shape if batched[1] else (size, *v.shape)
    v = w.reshape(v if batched[1] else repeated(w, v, size), shape=(size, dims.product(shape[1:])))
    count, number = a.shape[1], v.shape[1]
    # equals keep their order: what stands first counts as less
    both = w.concatenate(a, v, axis=1) if attrs["right"] else w.concatenate(v, a, axis=1)
    start = count if attrs["right"] else 0
    among_both = w.slice(places(w, both), index=((0, size, 1), (start, start + number, 1)))
    return w.reshape(among_both - places(w, v), shape=shape)


def places(w: Any, x: Any) -> Any:
    """For each element of each row, how many come before it when the row is sorted."""
    return w.argsort(w.argsort(x, axis=1, stable=True), axis=1, stable=True)


ASCENDING = np.array([-2.0, 0.5, 0.5, 3.0])

OPS = (
    Op(
        "sort",
        type=sort_type,
        numpy="np.sort({0}, axis={axis})",
        silent=True,
        work="other",
        exact=lambda s, x, *, axis: s.sort(x, axis),
        rule=Jvp(sort_jvp),
        batch=carried,
        domains=("real",),
        samples=(
            Sample(((7,),), {"axis": 0}),
            Sample(((2, 4),), {"axis": 1}),
            Sample(((4, 2),), {"axis": 0}),
            Sample(((2, 4, 2),), {"axis": 1}),
            Sample(((1, 2),), {"axis": 1}),
            Sample(((0, 2),), {"axis": 0}),
        ),
        errors=(ErrorSample(("f64[2]",), {"axis": 1}, AxisError, "out of bounds"),),
        doc="The elements in ascending order along an axis, NaN last; equals share the derivative equally.",
    ),
    Op(
        "average_ties",
        type=average_ties_type,
        numpy="nk.average_ties({0}, {1}, {axis})",
        exact=average_ties_exact,
        # a symmetric matrix
        rule=Linear((0,), lambda w, ct, v, k, *, axis: (w.average_ties(ct, k, axis=axis), None)),
        batch=carried,
        domains=("real", "real"),
        samples=(
            Sample(((4,), (4,)), {"axis": 0}),
            Sample(((4,), np.array([-1, 0, 0, 2])), {"axis": 0}),
            Sample(((2, 3), np.array([[1, 1, 1], [1, 2, 2]])), {"axis": 1}),
            Sample(((3, 2, 1), np.array([1, 0, 1, 0, 2, 0]).reshape(3, 2, 1)), {"axis": 0}),
            Sample(((0, 2), (0, 2)), {"axis": 0}),
        ),
        errors=(
            ErrorSample(("f64[2]", "f64[3]"), {"axis": 0}, ShapeError, "differ in shape"),
            ErrorSample(("f64[2]", "f64[2]"), {"axis": 1}, AxisError, "out of bounds"),
            ErrorSample(("i64[2]", "f64[2]"), {"axis": 0}, DTypeError, "not defined for i64"),
        ),
        work=for_each("other"),
        ulps=4,
        reasons={"mask": "gives masks itself, or adds up elements under different ones"},
        doc="The values, each run of them along an axis that has equal keys replaced by its mean.",
    ),
    Op(
        "argsort",
        type=argsort_type,
        numpy="np.argsort({0}, axis={axis}, stable={stable})",
        silent=True,
        work="other",
        exact=lambda s, x, *, axis, stable: s.along(s.argsort, x, axis, x.shape[axis]),
        batch=carried,
        domains=("real",),
        samples=(
            Sample(((3,),), {"axis": 0, "stable": True}),
            Sample(((3, 2),), {"axis": 0, "stable": False}),
            # short lines are sorted by insertion, which is stable in any case
            Sample((np.tile([2.0, 1.0], 20),), {"axis": 0, "stable": True}),
        ),
        errors=(ErrorSample(("f64[2]",), {"axis": 1, "stable": True}, AxisError, "out of bounds"),),
        reasons=NO_TANGENT,
        doc="The positions that sort an axis, equals in their order if `stable`.",
    ),
    best("argmax", "The position of the largest element along an axis, the first of several; NaN is the largest."),
    best("argmin", "The position of the smallest element along an axis, the first of several; NaN is the smallest."),
    Op(
        "searchsorted",
        type=searchsorted_type,
        numpy="np.searchsorted({0}, {1}, side='right' if {right} else 'left')",
        silent=True,
        work="other",
        exact=searchsorted_exact,
        batch=searchsorted_rows,
        domains=("real", "real"),
        samples=(
            Sample((ASCENDING, (2, 3)), {"right": False}),
            Sample((ASCENDING, np.array([0.5, -3.0, 4.0, -2.0])), {"right": False}),
            Sample((ASCENDING, np.array([0.5, -3.0, 4.0, -2.0])), {"right": True}),
        ),
        errors=(
            ErrorSample(("f64[2,2]", "f64[2]"), {"right": False}, ShapeError, "one axis"),
            ErrorSample(("f64[2]", "f32[2]"), {"right": False}, DTypeError, "differ in dtype"),
        ),
        reasons=NO_TANGENT,
        doc="How many elements of an ascending array lie before each value, equal ones counted if `right`.",
    ),
)
