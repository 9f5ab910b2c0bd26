"""Running products."""

from __future__ import annotations

from typing import Any

from graphc.errors import AxisError
from graphc.ir import TensorType, Type
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


def _by_doubling(w: Any, x: Any, t: Any, axis: int, reverse: bool, count: int) -> Any:
    """Products of 2, 4, 8, ... neighbours with their tangents: exact at zeros, to any order, in n log n work."""

    def part(v: Any, start: int, stop: int) -> Any:
        return w.slice(v, index=tuple((start, stop, 1) if k == axis else (0, d, 1) for k, d in enumerate(v.shape)))

    step = 1
    while step < count:
        # the elements that have a whole partner `step` places before (after, if reversed) are joined with it
        kept, own, other = (
            ((count - step, count), (0, count - step), (step, count))
            if reverse
            else ((0, step), (step, count), (0, count - step))
        )
        a, da, b, db = part(x, *own), part(t, *own), part(x, *other), part(t, *other)
        moved, changed = a * b, da * b + a * db
        pieces = [(moved, changed), (part(x, *kept), part(t, *kept))]
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


OPS = (
    Op(
        "cumprod",
        type=cumprod_type,
        numpy="nk.cumprod({0}, {axis}, {reverse})",
        work=for_each("mul"),
        exact=lambda s, x, *, axis, reverse: s.cumprod(x, axis, reverse),
        rule=Jvp(cumprod_jvp),
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
)
