"""Gathers at constant positions that are evenly spaced: slices, which are views, and which kernels read in place."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from graphc.ir import Constant, static_shape
from graphc.ops.world import Value
from graphc.passes.rewrite import Nodes, Procedure, RewritingWorld

Positions = np.ndarray[Any, Any]


def may_pick(nodes: Nodes, data: dict[str, Any]) -> bool:
    """Whether all positions are constants."""
    return all(nodes[a]["op"] == "const" for a in data["args"][1:])


def pick(w: RewritingWorld, node: int, data: dict[str, Any]) -> Value | None:
    """Read evenly spaced elements by a slice (float-exact)."""
    nodes, axis = w.builder.nodes, dict(data["attrs"])["axis"]
    x = Value(w, data["args"][0])
    indices: list[Constant] = [nodes[a]["attrs"][0][1] for a in data["args"][1:]]
    beyond = axis + len(indices)
    sizes = static_shape(x.type.shape[axis:beyond])
    places = None if sizes is None else _places([i.array for i in indices], sizes)
    index = None if places is None else _evenly(places.ravel())
    if sizes is None or places is None or index is None or (places.ndim != 1 and index[2] != 1):
        return None  # a reshape of every other element is a copy
    lead, rest = x.type.shape[:axis], x.type.shape[beyond:]
    line = x if len(indices) == 1 else w.reshape(x, shape=(*lead, math.prod(sizes), *rest))
    whole = [(0, d, 1) for d in line.type.shape]
    part = w.slice(line, index=(*whole[:axis], index, *whole[axis + 1 :]))
    shape = (*lead, *places.shape, *rest)
    return part if places.ndim == 1 else w.reshape(part, shape=shape)  # type: ignore[no-any-return]


def _places(indices: list[Positions], sizes: tuple[int, ...]) -> Positions | None:
    """Positions along some axes as positions in their row-major order; None if there are none, or one is outside."""
    if any(i.size == 0 or i.min() < -d or i.max() >= d for i, d in zip(indices, sizes, strict=True)):
        return None
    counted = [np.where(i < 0, i + d, i).astype(np.int64) for i, d in zip(indices, sizes, strict=True)]
    return np.ravel_multi_index(np.broadcast_arrays(*counted), sizes) if counted else None


def _evenly(places: Positions) -> tuple[int, int | None, int] | None:
    """The slice that gives these positions; None if they are not evenly spaced."""
    first, last = int(places[0]), int(places[-1])
    step = int(places[1]) - first if len(places) > 1 else 1
    if step == 0 or (np.diff(places) != step).any():
        return None
    if step > 0:
        return first, last + 1, step
    return first, last - 1 if last else None, step


PICK: Final = Procedure("pick", may_pick, pick, "gather")
