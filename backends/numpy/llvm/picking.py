"""Rows of an array that positions pick, in a native program: gathered, or added to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.backends.numpy.llvm import moves
from graphc.backends.numpy.llvm.builder import Builder
from graphc.backends.numpy.llvm.instructions import Cleared, Moves, Place, Rows
from graphc.backends.numpy.llvm.layouts import Layout
from graphc.backends.numpy.llvm.matmul import FLOATS
from graphc.ir import static_shape


def gather(builder: Builder, array: Layout, target: Layout, positions: Sequence[Layout], axis: int) -> None:
    """Write rows of a dense array, at positions along its axes from `axis` on, to the target."""
    known = _known(builder, array, axis, positions)
    if known is None:
        _rows(builder, axis, array, target, positions)
    else:
        places = Place.of(array), Place.of(target), builder.constant(moves.brief(known))
        builder.instructions.append(Moves(array.dtype, known.size, *places))


def scatter_add(
    builder: Builder, added: Layout, target: Layout, positions: Sequence[Layout], axis: int, same: bool
) -> None:
    """Fill the target with zeros, and add the rows of a dense array at positions along its axes from `axis` on.

    same: whether the array has one number everywhere, and need not be dense.
    """
    known = None if same else _known(builder, target, axis, positions)
    number = target.dtype.kind != "f" or target.dtype in FLOATS  # half precision is added in single
    if known is None or not number or np.unique(known).size != known.size:
        builder.clear(target)
        row = dims.product(target.shape[axis + len(positions) :])
        _rows(builder, axis, target, added, positions, builder.of_rows("add", target.dtype, row), same)
        return
    pieces = moves.pieces(known, target)
    if pieces is None:
        builder.clear(target)
        cleared, targets = None, known
    else:
        targets, starts = pieces
        cleared = Cleared(moves.nbytes(target), moves.PIECE, builder.constant(moves.brief(starts)))
    places = Place.of(added), Place.of(target), None, builder.constant(moves.brief(targets))
    zero = target.dtype.kind == "f"
    builder.instructions.append(Moves(target.dtype, known.size, *places, zero=zero, cleared=cleared))


def _known(builder: Builder, array: Layout, axis: int, positions: Sequence[Layout]) -> np.ndarray[Any, Any] | None:
    """Which elements of an array constant positions pick, if they pick single ones and are all within bounds."""
    shape = static_shape(array.shape)
    if shape is None or math.prod((*shape[:axis], *shape[axis + len(positions) :])) != 1:
        return None
    found = []
    for layout in positions:
        storage = builder.storages[layout.storage]
        if storage.origin != "constant" or not layout.is_whole:
            return None
        found.append(builder.constants[storage.index].reshape(layout.shape))
    sizes = shape[axis : axis + len(positions)]
    for index, size in zip(found, sizes, strict=True):
        if index.size == 0 or index.min() < -size or index.max() >= size:
            return None
    whole = [np.where(i < 0, i + d, i).astype(np.int64) for i, d in zip(found, sizes, strict=True)]
    return np.ravel(np.ravel_multi_index(np.broadcast_arrays(*whole), sizes))


def _rows(
    builder: Builder,
    axis: int,
    array: Layout,
    other: Layout,
    positions: Sequence[Layout],
    kernel: int | None = None,
    same: bool = False,
) -> None:
    """Gather from a dense array, or scatter into it; `same` is whether the other array has one number everywhere."""
    stop = axis + len(positions)
    picked = other.shape[axis : len(other.shape) - (len(array.shape) - stop)]
    dense = [builder.dense(p.broadcast(picked)) for p in positions]
    builder.instructions.append(
        Rows(
            array.dtype,
            lead=dims.product(array.shape[:axis]),
            axes=array.shape[axis:stop],
            count=dims.product(picked),
            row=dims.product(array.shape[stop:]),
            array=Place.of(array),
            rows=Place.of(other),
            positions=tuple(Place.of(p) for p in dense),
            kinds=tuple(p.dtype for p in dense),
            kernel=kernel,
            same=same,
        )
    )
