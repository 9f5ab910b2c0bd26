"""Gathering by integer arrays, and its transpose, the scatter-add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.errors import AxisError, DTypeError, ShapeError
from graphc.ir import TensorType, Type
from graphc.ops.batching import moved, repeated, row_numbers, row_rank, widened
from graphc.ops.record import ErrorSample, Linear, Op, Reason, Sample
from graphc.ops.typing import Facts, broadcast, normalise_axis, show, tensor
from graphc.ops.work import for_each

STRUCTURAL: Final[Mapping[str, Reason]] = {"exact": "structural: acts on exact values as NumPy acts on object arrays"}


def index_shape(facts: Facts, op: str, indices: tuple[Type, ...]) -> tuple[Size, ...]:
    types = [tensor(t, op) for t in indices]
    if not types:
        raise ShapeError(f"{op}: needs at least one index array")
    for t in types:
        if t.dtype.kind not in "iu":
            raise DTypeError(
                f"{op}: indices must be integers",
                expected="integers",
                actual=repr(t),
                fix="i.astype(np.int64), which cuts off fractions; or pass an int",
            )
    return broadcast(facts, op, *[t.shape for t in types])


def gather_type(facts: Facts, operand: Type, *indices: Type, axis: int) -> TensorType:
    x = tensor(operand, "gather")
    picked = index_shape(facts, "gather", indices)
    if normalise_axis("gather", axis, x.ndim) != axis or axis + len(indices) > x.ndim:
        raise AxisError("gather: more index arrays than axes", actual=f"{len(indices)} from axis {axis} of {x!r}")
    return TensorType((*x.shape[:axis], *picked, *x.shape[axis + len(indices) :]), x.dtype)


def scatter_add_type(facts: Facts, updates: Type, *indices: Type, axis: int, shape: tuple[Size, ...]) -> TensorType:
    u = tensor(updates, "scatter_add")
    picked = index_shape(facts, "scatter_add", indices)
    if axis < 0 or axis + len(indices) > len(shape):
        raise AxisError(
            "scatter_add: more index arrays than axes",
            actual=f"{len(indices)} from axis {axis} of {show(shape)}",
        )
    expected = (*shape[:axis], *picked, *shape[axis + len(indices) :])
    if len(expected) != u.ndim or not all(facts.equal(a, b) for a, b in zip(expected, u.shape, strict=True)):
        raise ShapeError("scatter_add: updates do not match the indices", expected=show(expected), actual=show(u.shape))
    return TensorType(shape, u.dtype)


def last_write_type(facts: Facts, *indices: Type, shape: tuple[Size, ...]) -> TensorType:
    index_shape(facts, "last_write", indices)
    if len(indices) != len(shape):
        raise AxisError(
            "last_write: one index array is needed for each axis",
            actual=f"{len(indices)} for {show(shape)}",
        )
    return TensorType(shape, np.dtype(np.int64))


def last_write_exact(s: Any, *indices: Any, shape: tuple[int, ...]) -> Any:
    positions = np.broadcast_arrays(*map(s.integers, indices))
    writes = zip(*(p.ravel().tolist() for p in positions), strict=True)
    result = np.full(shape, -1, dtype=object)
    for number, position in enumerate(writes):
        result[position] = number
    return result


def scatter_back(w: Any, ct: Any, x: Any, *indices: Any, axis: int) -> tuple[Any, ...]:
    return (w.scatter_add(ct, *indices, axis=axis, shape=x.shape), *(None for _ in indices))


def gather_back(w: Any, ct: Any, updates: Any, *indices: Any, axis: int, shape: tuple[Size, ...]) -> tuple[Any, ...]:
    return (w.gather(ct, *indices, axis=axis), *(None for _ in indices))


def index_rows(w: Any, size: Size, indices: Sequence[Any], batched: Sequence[bool]) -> tuple[int, list[Any]]:
    """The rank of what index arrays pick in a row; and an index that picks the row, with those that pick in it."""
    rank = max(map(row_rank, indices, batched))
    wide = [widened(w, i, rank) if b else i for i, b in zip(indices, batched, strict=True)]
    return rank, [row_numbers(w, size, rank), *wide]


def blocks(*lengths: int) -> list[range]:
    """Axes numbered from 0 on, in blocks of so many."""
    return [range(start, stop) for start, stop in pairwise(accumulate(lengths, initial=0))]


def gather_rows(
    w: Any, name: str, size: Size, operands: Sequence[Any], batched: Sequence[bool], attrs: Mapping[str, Any]
) -> Any:
    x, *indices = operands
    axis = attrs["axis"]
    if not any(batched[1:]):
        return w.gather(x, *indices, axis=axis + 1)
    rank, (numbers, *inner) = index_rows(w, size, indices, batched[1:])
    if not batched[0]:
        found = w.gather(x, *inner, axis=axis)
        lead, rows, rest = blocks(axis, 1, found.ndim - axis - 1)
        return moved(w, found, [*rows, *lead, *rest])
    # the row is one more position; positions stand side by side, so the axes before them move behind
    row, lead, places, rest = blocks(1, axis, len(inner), x.ndim - 1 - axis - len(inner))
    found = w.gather(moved(w, x, [*row, *places, *lead, *rest]), numbers, *inner, axis=0)
    row, picked, lead, rest = blocks(1, rank, axis, found.ndim - 1 - rank - axis)
    return moved(w, found, [*row, *lead, *picked, *rest])


def scatter_rows(
    w: Any, name: str, size: Size, operands: Sequence[Any], batched: Sequence[bool], attrs: Mapping[str, Any]
) -> Any:
    updates, *indices = operands
    axis, shape = attrs["axis"], attrs["shape"]
    if not any(batched[1:]):
        return w.scatter_add(updates, *indices, axis=axis + 1, shape=(size, *shape))
    updates = updates if batched[0] else repeated(w, updates, size)
    rank, (numbers, *inner) = index_rows(w, size, indices, batched[1:])
    row, lead, picked, rest = blocks(1, axis, rank, updates.ndim - 1 - axis - rank)
    updates = moved(w, updates, [*row, *picked, *lead, *rest])
    stop = axis + len(inner)
    whole = (size, *shape[axis:stop], *shape[:axis], *shape[stop:])
    found = w.scatter_add(updates, numbers, *inner, axis=0, shape=whole)
    row, places, lead, rest = blocks(1, len(inner), axis, len(shape) - stop)
    return moved(w, found, [*row, *lead, *places, *rest])


def last_write_rows(
    w: Any, name: str, size: Size, operands: Sequence[Any], batched: Sequence[bool], attrs: Mapping[str, Any]
) -> Any:
    _, positions = index_rows(w, size, operands, batched)
    rows = [i.type.shape[b:] for i, b in zip(operands, batched, strict=True)]
    writes = w.dim(size=dims.product(broadcast(w.facts, name, *rows)))
    found = w.last_write(*positions, shape=(size, *attrs["shape"]))
    # writes are numbered through all rows
    return w.select(found < 0, found, found - row_numbers(w, size, len(attrs["shape"])) * writes)


ROWS = np.array([0, 2, 2, -1])
COLUMNS = np.array([1, 0, 0, 1])
TABLE = np.array([[0, 1], [1, -1]])

OPS = (
    Op(
        "gather",
        type=gather_type,
        numpy="nk.gather({0}, ({1*},), {axis})",
        silent=True,
        rule=Linear((0,), scatter_back, mask=scatter_back),
        batch=gather_rows,
        domains=("real", "index", "index"),
        samples=(
            Sample(((3,), ROWS), {"axis": 0}),
            Sample(((3, 2), ROWS, COLUMNS), {"axis": 0}),
            Sample(((2, 3), ROWS), {"axis": 1}),
            Sample(((2, 2), TABLE), {"axis": 0}),
            Sample(((3, 2), np.array(-1)), {"axis": 0}),
            Sample(((2, 3, 2), TABLE), {"axis": 1}),
        ),
        errors=(
            ErrorSample(("f64[3]", "f64[2]"), {"axis": 0}, DTypeError, "must be integers"),
            ErrorSample(("f64[3]", "i64[2]", "i64[2]"), {"axis": 0}, AxisError, "more index arrays"),
            ErrorSample(("f64[3]", "i64[2]"), {"axis": 1}, AxisError, "out of bounds"),
        ),
        reasons=STRUCTURAL,
        doc="Elements at integer positions along adjacent axes; negative positions count from the end.",
    ),
    Op(
        "scatter_add",
        type=scatter_add_type,
        numpy="nk.scatter_add({0}, ({1*},), {axis}, {shape})",
        work=for_each("add"),
        rule=Linear((0,), gather_back, mask=gather_back),
        batch=scatter_rows,
        domains=("real", "index", "index"),
        samples=(
            Sample(((4,), ROWS), {"axis": 0, "shape": (3,)}),
            Sample(((4,), ROWS, COLUMNS), {"axis": 0, "shape": (3, 2)}),
            Sample(((2, 4), ROWS), {"axis": 1, "shape": (2, 3)}),
            Sample(((2, 2, 2), TABLE), {"axis": 0, "shape": (2, 2)}),
            Sample(((2, 2, 2, 3), TABLE), {"axis": 1, "shape": (2, 2, 3)}),
        ),
        errors=(
            ErrorSample(("f64[3]", "i64[2]"), {"axis": 0, "shape": (5,)}, ShapeError, "do not match"),
            ErrorSample(("f64[2]", "f64[2]"), {"axis": 0, "shape": (5,)}, DTypeError, "must be integers"),
            ErrorSample(("f64[2]", "i64[2]"), {"axis": 1, "shape": (5,)}, AxisError, "more index arrays"),
        ),
        reasons=STRUCTURAL,
        ulps=4,
        doc="Zeros with updates added at integer positions: the transpose of `gather`.",
    ),
    Op(
        "last_write",
        type=last_write_type,
        numpy="nk.last_write(({0*},), {shape})",
        exact=last_write_exact,
        batch=last_write_rows,
        ulps=0,
        domains=("index", "index"),
        samples=(
            Sample((ROWS,), {"shape": (3,)}),
            Sample((ROWS, COLUMNS), {"shape": (3, 2)}),
            Sample((TABLE,), {"shape": (2,)}),
            Sample((np.zeros(0, np.int64),), {"shape": (2,)}),
        ),
        errors=(
            ErrorSample(("f64[2]",), {"shape": (5,)}, DTypeError, "must be integers"),
            ErrorSample(("i64[2]",), {"shape": (5, 2)}, AxisError, "for each axis"),
        ),
        reasons={"rule": "integer or boolean result: no tangent"},
        doc="For each element of an array, which of the writes to integer positions comes last; -1 without one.",
    ),
)
