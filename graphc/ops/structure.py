"""Ops that move elements: reshape, transpose, broadcast, concatenate, slices and their transposes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.errors import AxisError, DTypeError, IRError, ShapeError
from graphc.ir import TensorType, TupleType, Type
from graphc.ops.batching import carried, leading, widened
from graphc.ops.record import ErrorSample, Linear, Masked, Op, Reason, Sample
from graphc.ops.typing import Facts, normalise_axis, show, tensor

STRUCTURAL: Final[Mapping[str, Reason]] = {"exact": "structural: acts on exact values as NumPy acts on object arrays"}
Index = tuple[tuple[Size, Size | None, int], ...]


def reshape_type(facts: Facts, operand: Type, *, shape: tuple[Size, ...]) -> TensorType:
    x = tensor(operand, "reshape")
    if not facts.equal(dims.product(x.shape), dims.product(shape)):
        raise ShapeError(
            "reshape: the number of elements changes",
            expected=f"a shape of {dims.product(x.shape)} elements",
            actual=f"{show(x.shape)} to {show(shape)}",
            fix="-1 stands for the size that fits",
        )
    return TensorType(shape, x.dtype, x.weak and not shape)


def transpose_type(facts: Facts, operand: Type, *, perm: tuple[int, ...]) -> TensorType:
    x = tensor(operand, "transpose")
    if sorted(perm) != list(range(x.ndim)):
        raise AxisError(
            "transpose: not a permutation of the axes",
            expected=f"each of {tuple(range(x.ndim))} once",
            actual=str(perm),
        )
    return TensorType([x.shape[i] for i in perm], x.dtype, x.weak)


def invert(perm: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


def broadcast_to_type(facts: Facts, operand: Type, *, shape: tuple[Size, ...]) -> TensorType:
    x = tensor(operand, "broadcast_to")
    lead = len(shape) - x.ndim
    if lead < 0 or not all(d == 1 or facts.equal(d, shape[lead + i]) for i, d in enumerate(x.shape)):
        raise ShapeError(
            "broadcast_to: the shape does not broadcast",
            expected="sizes that agree or are 1, aligned from the right",
            actual=f"{show(x.shape)} to {show(shape)}",
        )
    return TensorType(shape, x.dtype)


def concatenate_type(facts: Facts, *operands: Type, axis: int) -> TensorType:
    types = [tensor(t, "concatenate") for t in operands]
    if not types:
        raise ShapeError("concatenate: needs at least one array")
    first = types[0]
    if normalise_axis("concatenate", axis, first.ndim) != axis:
        raise AxisError("concatenate: axes of a node are counted from the front", actual=str(axis))
    total: Size = 0
    for t in types:
        if t.dtype != first.dtype:
            raise DTypeError("concatenate: operands differ in dtype", actual=", ".join(map(repr, types)))
        if t.ndim != first.ndim or not all(
            i == axis or facts.equal(a, b) for i, (a, b) in enumerate(zip(first.shape, t.shape, strict=True))
        ):
            raise ShapeError(
                f"concatenate: shapes differ outside axis {axis}",
                expected=f"the same sizes along every axis but {axis}",
                actual=", ".join(map(repr, types)),
                fix="join along another axis, or reshape first",
            )
        total = total + t.shape[axis]
    return TensorType((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype)


def concatenate_transpose(w: Any, ct: Any, *operands: Any, axis: int) -> tuple[Any, ...]:
    parts = []
    start: Size = 0
    for x in operands:
        stop = start + x.shape[axis]
        index = tuple((start, stop, 1) if i == axis else (0, d, 1) for i, d in enumerate(ct.shape))
        parts.append(w.slice(ct, index=index))
        start = stop
    return tuple(parts)


def sliced_size(start: Size, stop: Size | None, step: int) -> Size:
    """The number of indices start, start + step, ... before stop (None: before -1)."""
    if step > 0 and stop is not None:
        return (stop - start + step - 1) // step
    return (start - (-1 if stop is None else stop) - step - 1) // -step


def slice_type(facts: Facts, operand: Type, *, index: Index) -> TensorType:
    x = tensor(operand, "slice")
    if len(index) != x.ndim:
        raise ShapeError("slice: one (start, stop, step) is needed for each axis", actual=f"{index} of {show(x.shape)}")
    return TensorType([_checked_slice(one, d) for one, d in zip(index, x.shape, strict=True)], x.dtype)


def _checked_slice(one: tuple[Size, Size | None, int], size: Size) -> Size:
    start, stop, step = one
    valid = step != 0 and (stop is not None or step < 0)
    if valid:
        last = -1 if stop is None else stop
        low, high = (start, last) if step > 0 else (last + 1, start + 1)
        count = sliced_size(start, stop, step)
        valid = not (dims.less(low, 0) or dims.less(count, 0) or dims.less(size, high))
    if not valid:
        raise ShapeError(
            "slice: bounds leave the axis",
            expected=f"0 <= start <= stop <= {size}, step not 0",
            actual=str(one),
        )
    return count


def unslice_type(facts: Facts, operand: Type, *, index: Index, shape: tuple[Size, ...]) -> TensorType:
    u = tensor(operand, "unslice")
    if len(index) != len(shape):
        raise ShapeError("unslice: one (start, stop, step) is needed for each axis", actual=f"{index} of {show(shape)}")
    expected = tuple(_checked_slice(one, d) for one, d in zip(index, shape, strict=True))
    if len(expected) != u.ndim or not all(facts.equal(a, b) for a, b in zip(expected, u.shape, strict=True)):
        raise ShapeError("unslice: the operand does not fill the slice", expected=show(expected), actual=show(u.shape))
    return TensorType(shape, u.dtype)


def insert_slice_type(facts: Facts, operand: Type, update: Type, *, index: Index) -> TensorType:
    x, u = tensor(operand, "insert_slice"), tensor(update, "insert_slice")
    if len(index) != x.ndim:
        raise ShapeError(
            "insert_slice: one (start, stop, step) is needed for each axis", actual=f"{index} of {show(x.shape)}"
        )
    if x.dtype != u.dtype:
        raise DTypeError("insert_slice: operands differ in dtype", actual=f"{x!r} and {u!r}")
    expected = tuple(_checked_slice(one, d) for one, d in zip(index, x.shape, strict=True))
    if len(expected) != u.ndim or not all(facts.equal(a, b) for a, b in zip(expected, u.shape, strict=True)):
        raise ShapeError(
            "insert_slice: the second operand does not fill the slice", expected=show(expected), actual=show(u.shape)
        )
    return TensorType(x.shape, x.dtype)


def get_type(facts: Facts, operand: Type, *, index: int) -> TensorType:
    if not isinstance(operand, TupleType) or not 0 <= index < len(operand.items):
        raise IRError("get: needs a tuple with that many results", actual=f"get({index}) of {operand!r}")
    return operand.items[index]


def broadcast_transpose(reducer: str) -> Any:
    def transpose(w: Any, ct: Any, x: Any, *, shape: tuple[Size, ...]) -> tuple[Any]:
        return (w.reduce_to(reducer, ct, x.shape),)

    return transpose


def broadcast_rows(
    w: Any, name: str, size: Size, operands: Sequence[Any], batched: Sequence[bool], attrs: Mapping[str, Any]
) -> Any:
    shape: tuple[Size, ...] = attrs["shape"]
    return w.broadcast_to(widened(w, operands[0], len(shape)), shape=(size, *shape))


def reshape_back(w: Any, ct: Any, x: Any, **_: Any) -> tuple[Any]:
    return (w.reshape(ct, shape=x.shape),)


def permute_back(w: Any, ct: Any, x: Any, *, perm: tuple[int, ...]) -> tuple[Any]:
    return (w.transpose(ct, perm=invert(perm)),)


def insert_back(w: Any, ct: Any, x: Any, u: Any, *, index: Index) -> tuple[Any, Any]:
    """What was overwritten is selected away by a mask, so that an inf or NaN there meets no 0 later on."""
    kept = w.insert_slice(_truth(w, True, x.shape), _truth(w, False, u.shape), index=index)
    return Masked(kept, ct), w.slice(ct, index=index)


def insert_mask(w: Any, m: Any, x: Any, u: Any, *, index: Index) -> tuple[Any, Any]:
    return w.insert_slice(m, _truth(w, False, u.shape), index=index), w.slice(m, index=index)


def _truth(w: Any, value: bool, shape: tuple[Size, ...]) -> Any:
    return w.full(value, TensorType(shape, np.dtype(np.bool_)))


def put_back(w: Any, ct: Any, x: Any, *, index: Index) -> tuple[Any]:
    return (w.unslice(ct, index=index, shape=x.shape),)


OPS = (
    Op(
        "reshape",
        type=reshape_type,
        numpy="np.reshape({0}, {shape})",
        rule=Linear(None, reshape_back, mask=reshape_back),
        batch=carried,
        domains=("real",),
        samples=(
            Sample(((2, 3),), {"shape": (3, 2)}),
            Sample(((1,),), {"shape": ()}),
            Sample(((0, 3),), {"shape": (3, 0)}),
            Sample(((),), {"shape": (1, 1)}),
        ),
        errors=(ErrorSample(("f64[2,3]",), {"shape": (4,)}, ShapeError, "number of elements"),),
        view=True,
        reasons=STRUCTURAL,
        doc="The same elements, in row-major order, under another shape.",
    ),
    Op(
        "transpose",
        type=transpose_type,
        numpy="np.transpose({0}, {perm})",
        rule=Linear(None, permute_back, mask=permute_back),
        batch=carried,
        domains=("real",),
        samples=(Sample(((2, 3),), {"perm": (1, 0)}), Sample(((2, 1, 3),), {"perm": (2, 0, 1)})),
        errors=(ErrorSample(("f64[2,3]",), {"perm": (0, 0)}, AxisError, "permutation"),),
        view=True,
        reasons=STRUCTURAL,
        doc="Axes in the order `perm`.",
    ),
    Op(
        "broadcast_to",
        type=broadcast_to_type,
        numpy="np.broadcast_to({0}, {shape})",
        rule=Linear(None, broadcast_transpose("reduce_sum"), mask=broadcast_transpose("reduce_any")),
        batch=broadcast_rows,
        domains=("real",),
        samples=(
            Sample(((3,),), {"shape": (2, 3)}),
            Sample(((2, 1),), {"shape": (2, 3)}),
            Sample(((),), {"shape": (2,)}),
            Sample(((1,),), {"shape": (0,)}),
        ),
        errors=(ErrorSample(("f64[2]",), {"shape": (3,)}, ShapeError, "does not broadcast"),),
        view=True,
        reasons=STRUCTURAL,
        doc="The operand repeated along new axes and axes of size 1.",
    ),
    Op(
        "concatenate",
        type=concatenate_type,
        numpy="np.concatenate(({*},), axis={axis})",
        silent=True,
        rule=Linear(None, concatenate_transpose, mask=concatenate_transpose),
        batch=carried,
        domains=("real",),
        samples=(
            Sample(((2,), (3,)), {"axis": 0}),
            Sample(((2, 1), (2, 3), (2, 0)), {"axis": 1}),
        ),
        errors=(
            ErrorSample(("f64[2]", "f64[2,2]"), {"axis": 0}, ShapeError, "shapes differ"),
            ErrorSample(("f64[2]", "f32[2]"), {"axis": 0}, DTypeError, "differ in dtype"),
            ErrorSample(("f64[2]",), {"axis": 1}, AxisError, "out of bounds"),
        ),
        reasons=STRUCTURAL,
        doc="Arrays joined along an axis.",
    ),
    Op(
        "slice",
        type=slice_type,
        numpy="{0}[{index!slice}]",
        rule=Linear(None, put_back, mask=put_back),
        batch=carried,
        domains=("real",),
        samples=(
            Sample(((5,),), {"index": ((1, 4, 1),)}),
            Sample(((5, 3),), {"index": ((4, None, -2), (0, 3, 2))}),
            Sample(((3,),), {"index": ((2, 2, 1),)}),
        ),
        errors=(
            ErrorSample(("f64[3]",), {"index": ((0, 4, 1),)}, ShapeError, "leave the axis"),
            ErrorSample(("f64[3]",), {"index": ((0, 3, 0),)}, ShapeError, "leave the axis"),
            ErrorSample(("f64[3]",), {"index": ()}, ShapeError, "for each axis"),
        ),
        view=True,
        reasons=STRUCTURAL,
        doc="Elements start, start + step, ... before stop along each axis.",
    ),
    Op(
        "unslice",
        type=unslice_type,
        numpy="nk.unslice({0}, {index}, {shape})",
        rule=Linear(
            None,
            lambda w, ct, u, *, index, shape: (w.slice(ct, index=index),),
            mask=lambda w, m, u, *, index, shape: (w.slice(m, index=index),),
        ),
        batch=carried,
        domains=("real",),
        samples=(
            Sample(((3,),), {"index": ((1, 4, 1),), "shape": (5,)}),
            Sample(((3, 2),), {"index": ((4, None, -2), (0, 3, 2)), "shape": (5, 3)}),
            Sample(((0,),), {"index": ((2, 2, 1),), "shape": (3,)}),
        ),
        errors=(
            ErrorSample(("f64[2]",), {"index": ((0, 4, 1),), "shape": (5,)}, ShapeError, "does not fill"),
            ErrorSample(("f64[2]",), {"index": ((0, 4, 1),), "shape": (3,)}, ShapeError, "leave the axis"),
        ),
        reasons=STRUCTURAL,
        doc="Zeros with the operand written to a slice: the transpose of `slice`.",
    ),
    Op(
        "insert_slice",
        type=insert_slice_type,
        numpy="nk.insert_slice({0}, {1}, {index})",
        updates=True,
        rule=Linear(None, insert_back, mask=insert_mask),
        batch=carried,
        domains=("real", "real"),
        samples=(
            Sample(((5,), (3,)), {"index": ((1, 4, 1),)}),
            Sample(((5, 3), (3, 2)), {"index": ((4, None, -2), (0, 3, 2))}),
            Sample(((3,), (0,)), {"index": ((2, 2, 1),)}),
        ),
        errors=(
            ErrorSample(("f64[3]", "f64[4]"), {"index": ((0, 4, 1),)}, ShapeError, "leave the axis"),
            ErrorSample(("f64[3]", "f64[1]"), {"index": ((0, 2, 1),)}, ShapeError, "does not fill"),
            ErrorSample(("f64[3]", "f64[2,1]"), {"index": ((0, 2, 1),)}, ShapeError, "does not fill"),
            ErrorSample(("f64[3]", "f32[2]"), {"index": ((0, 2, 1),)}, DTypeError, "differ in dtype"),
            ErrorSample(("f64[3]", "f64[]"), {"index": ()}, ShapeError, "for each axis"),
        ),
        reasons=STRUCTURAL,
        doc="The first operand with a slice replaced by the second.",
    ),
    Op(
        "get",
        type=get_type,
        numpy="{0}[{index}]",
        batch=leading,
        errors=(ErrorSample(("f64[2]",), {"index": 0}, IRError, "needs a tuple"),),
        view=True,
        doc="One result of a node with several.",
        reasons={
            "exact": "structural: acts on exact values as NumPy acts on object arrays",
            "rule": "no operands",
            "domains": "no operands",
            "samples": "its operand has several results, which no sample gives",
        },
    ),
)
