"""Running products, maxima and minima."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from graphc.errors import AxisError
from graphc.ir import TensorType, Type
from graphc.ops.batching import carried
from graphc.ops.record import ErrorSample, Jvp, Op, Sample
from graphc.ops.typing import Facts, check_kind, normalise_axis, tensor
from graphc.ops.work import for_each


def cumprod_type(facts: Facts, operand: Type, *, axis: int, reverse: bool) -> TensorType:
    x = tensor(operand, "cumprod")
    check_kind("cumprod", x, "iuf")
    if normalise_axis("cumprod", axis, x.ndim) != axis:
        raise AxisError("cumprod: axes of a node are counted from the front", actual=str(axis))
    return TensorType(x.shape, x.dtype)


def cumprod_jvp(w: Any, y: Any, operands: Any, tangents: Any, *, axis: int, reverse: bool) -> Any:
    (x,), (t,) = operands, tangents
    count = x.shape[axis]
    return (_by_doubling if isinstance(count, int) else _by_pairs)(w, x, t, axis, reverse, count)


def part(w: Any, v: Any, axis: int, start: int, stop: int) -> Any:
    """The elements from start to stop along an axis."""
    return w.slice(v, index=tuple((start, stop, 1) if k == axis else (0, d, 1) for k, d in enumerate(v.shape)))


def _by_doubling(w: Any, x: Any, t: Any, axis: int, reverse: bool, count: int) -> Any:
    """Products of 2, 4, 8, ... neighbours with their tangents: exact at zeros, to any order, in n log n work."""
    step = 1
    while step < count:
        # the elements that have a whole partner `step` places before (after, if reversed) are joined with it
        kept, own, other = (
            ((count - step, count), (0, count - step), (step, count))
            if reverse
            else ((0, step), (step, count), (0, count - step))
        )
        (a, da), (b, db) = ([part(w, v, axis, *ends) for v in (x, t)] for ends in (own, other))
        moved, changed = a * b, da * b + a * db
        pieces = [(moved, changed), (part(w, x, axis, *kept), part(w, t, axis, *kept))]
        if not reverse:
            pieces.reverse()
        x, t = (w.concatenate(*both, axis=axis) for both in zip(*pieces, strict=True))
        step *= 2
    return t


def _by_pairs(w: Any, x: Any, t: Any, axis: int, reverse: bool, count: Any) -> Any:
    """Sum over i of t_i times the running product that leaves x_i out; for sizes known only at run time."""
    last = x.ndim
    perm = (*(k for k in range(x.ndim) if k != axis), axis)
    x, t = (w.transpose(v, perm=perm) for v in (x, t))
    lead = x.shape[:-1]
    index = w.iota(size=count, dtype=x.dtype)
    i, j = w.reshape(index, shape=(count, 1)), w.reshape(index, shape=(1, count))
    others = w.select(i == j, 1, w.reshape(x, shape=(*lead, 1, count)))
    running = w.cumprod(others, axis=last, reverse=reverse)
    reached = i >= j if reverse else i <= j
    terms = w.select(reached, running * w.reshape(t, shape=(*lead, count, 1)), 0)
    total = w.reduce_sum(terms, axes=(last - 1,), keepdims=False)
    back = tuple(sorted(range(len(perm)), key=perm.__getitem__))
    return w.transpose(total, perm=back)


def extreme_type(op: str) -> Any:
    def rule(facts: Facts, operand: Type, *, axis: int) -> TensorType:
        x = tensor(operand, op)
        if normalise_axis(op, axis, x.ndim) != axis:
            raise AxisError(f"{op}: axes of a node are counted from the front", actual=str(axis))
        return TensorType(x.shape, x.dtype)

    return rule


def extreme_jvp(better: str, worse: str) -> Any:
    """The derivative of a running maximum or minimum: the elements reached so far that equal it share it equally."""

    def jvp(w: Any, y: Any, operands: Any, tangents: Any, *, axis: int) -> Any:
        (x,), (t,) = operands, tangents
        count = x.shape[axis]
        if isinstance(count, int):
            return _ties_by_doubling(w, better, worse, x, t, axis, count)
        return _ties_by_pairs(w, x, y, t, axis, count)

    return jvp


def _ties_by_doubling(w: Any, better: str, worse: str, x: Any, t: Any, axis: int, count: int) -> Any:
    """Extremes of 2, 4, 8, ... neighbours, with the sum of the tangents of those that reach them, and their number."""
    total, ties = t, w.full(1, x.type)
    step = 1
    while step < count:
        before, after = (
            [part(w, v, axis, *ends) for v in (x, total, ties)] for ends in ((0, count - step), (step, count))
        )
        best = w.apply(better, (before[0], after[0]))
        reached = [w.logical_not(w.apply(worse, (v[0], best))) for v in (before, after)]
        joined = [
            best,
            *(w.select(reached[0], before[k], 0) + w.select(reached[1], after[k], 0) for k in (1, 2)),
        ]
        first = [part(w, v, axis, 0, step) for v in (x, total, ties)]
        x, total, ties = (w.concatenate(a, b, axis=axis) for a, b in zip(first, joined, strict=True))
        step *= 2
    return total / ties


def _ties_by_pairs(w: Any, x: Any, y: Any, t: Any, axis: int, count: Any) -> Any:
    """The same from a square of all pairs, for sizes known only at run time."""
    last = x.ndim
    perm = (*(k for k in range(x.ndim) if k != axis), axis)
    x, y, t = (w.transpose(v, perm=perm) for v in (x, y, t))
    lead = x.shape[:-1]
    index = w.iota(size=count, dtype=x.dtype)
    past = w.reshape(index, shape=(count, 1)) >= w.reshape(index, shape=(1, count))
    ties = w.logical_and(past, w.reshape(y, shape=(*lead, count, 1)) == w.reshape(x, shape=(*lead, 1, count)))
    terms = w.select(ties, w.reshape(t, shape=(*lead, 1, count)), 0)
    number = w.reduce_sum(w.convert(ties, x.dtype), axes=(last,), keepdims=False)
    back = tuple(sorted(range(len(perm)), key=perm.__getitem__))
    return w.transpose(w.reduce_sum(terms, axes=(last,), keepdims=False) / number, perm=back)


def extreme(op: str, ufunc: str, worse: str, doc: str) -> Op:
    def exact(s: Any, x: Any, *, axis: int) -> Any:
        return s.along(lambda line: list(accumulate(line, getattr(s, ufunc))), x, axis, x.shape[axis])

    return Op(
        op,
        type=extreme_type(op),
        numpy=f"np.{ufunc}.accumulate({{0}}, axis={{axis}})",
        exact=exact,
        rule=Jvp(extreme_jvp(ufunc, worse)),
        batch=carried,
        domains=("real",),
        samples=(
            Sample(((5,),), {"axis": 0}),
            Sample(((2, 3),), {"axis": 1}),
            Sample(((4, 2),), {"axis": 0}),
            Sample(((0, 2),), {"axis": 0}),
        ),
        errors=(ErrorSample(("f64[2]",), {"axis": 1}, AxisError, "out of bounds"),),
        updates=True,
        work="other",
        doc=doc,
    )


OPS = (
    Op(
        "cumprod",
        type=cumprod_type,
        numpy="nk.cumprod({0}, {axis}, {reverse})",
        work=for_each("mul"),
        exact=lambda s, x, *, axis, reverse: s.cumprod(x, axis, reverse),
        rule=Jvp(cumprod_jvp),
        batch=carried,
        domains=("real",),
        samples=(
            Sample(((3,),), {"axis": 0, "reverse": False}),
            Sample(((2, 5),), {"axis": 1, "reverse": True}),
            Sample(((4, 2),), {"axis": 0, "reverse": False}),
            Sample(((0, 2),), {"axis": 0, "reverse": False}),
        ),
        errors=(ErrorSample(("f64[2]",), {"axis": 1, "reverse": False}, AxisError, "out of bounds"),),
        ulps=8,
        doc="Running products along an axis, from the end if `reverse`.",
    ),
    extreme("cummax", "maximum", "lt", "Running maxima along an axis, NaN from the first NaN on; ties share equally."),
    extreme("cummin", "minimum", "gt", "Running minima along an axis, NaN from the first NaN on; ties share equally."),
)
