"""Sorting where only a few elements of the sorted array are read, as a median or a quantile does: NumPy's partitions.

A partition brings the elements to some places that sorting would bring there, NaN last, and leaves the others in any
order, which nobody sees here. It costs a few sweeps, where sorting costs as many as the length has bits.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.ir import Graph
from graphc.ops.functions import partition_from

MOST: Final = 8  # places: with more, sorting is about as fast


def places(graph: Graph, node: int) -> tuple[Size, ...] | None:
    """The places along its axis at which a sorted array is read; None if they are many, not known, or sorting is fast.

    The length of the axis may turn out to be short where it has a name.
    """
    nodes = graph._node
    data = nodes[node]
    axis = dict(data["attrs"])["axis"]
    size = data["type"].shape[axis]
    if node in graph.outputs or (isinstance(size, int) and size < partition_from(data["type"].dtype)):
        return None
    found: dict[Size, None] = {}
    for reader in graph.successors(node):
        count = nodes[reader]["type"].shape[axis] if nodes[reader]["op"] == "slice" else None
        if not isinstance(count, int) or count > MOST:
            return None
        start, _, step = dict(nodes[reader]["attrs"])["index"][axis]
        found.update(dict.fromkeys(start + k * step for k in range(count)))
    return tuple(found) if 0 < len(found) <= MOST else None


def call(operand: str, places: str, axis: int, size: Size, dtype: np.dtype[np.generic]) -> str:
    """The source of a call that sorts as far as these places are concerned."""
    surely = dims.less_equal(partition_from(dtype), size) is True
    return f"{'np.partition' if surely else 'nk.sorted_at'}({operand}, {places}, axis={axis})"
