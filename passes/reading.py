"""How an operand of a kernel is read: through views, down to an array that lies in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphc import dims
from graphc.dims import Size
from graphc.kernels import Affine, Within

Nodes = Mapping[int, dict[str, Any]]

# Ops that only say something about their operand.
MARKERS: Final = frozenset({"identity", "stop_gradient"})

# Ops that only rearrange: a kernel reads through them instead of running them.
VIEWS: Final = MARKERS | {"reshape", "transpose", "broadcast_to", "slice", "unslice"}


@dataclass(frozen=True, slots=True)
class Read:
    """An operand as elements of the array of node `root`; outside `within` they are 0.

    index: for each axis of the array; None where only the place `at` in its dense storage is affine.
    counted: the sizes and indices by which `at` counts.
    """

    root: int
    index: tuple[Affine, ...] | None
    counted: tuple[tuple[Size, ...], tuple[Affine, ...], int]
    within: tuple[Within, ...] = ()

    @property
    def at(self) -> Affine:
        return Affine.row_major(*self.counted)


def behind_markers(nodes: Nodes, node: int) -> int:
    """The node that a chain of markers shows."""
    while nodes[node]["op"] in MARKERS:
        node = nodes[node]["args"][0]
    return node


def read(nodes: Nodes, node: int, index: Sequence[Affine], loops: int) -> Read:
    """The element of `node` with this index, traced through views as far as they keep to affine places."""
    within: list[Within] = []
    current = tuple(index)
    while True:
        data = nodes[node]
        below = _through(nodes, data, current, loops) if data["op"] in VIEWS else None
        if below is None:
            break
        node, current, conditions = below
        within += conditions
    shape = nodes[node]["type"].shape
    if nodes[node]["op"] == "reshape":
        # a reshape of something dense is the same storage counted otherwise
        operand = nodes[node]["args"][0]
        if nodes[operand]["op"] not in VIEWS:
            return Read(operand, None, (shape, current, loops), tuple(within))
    return Read(node, current, (shape, current, loops), tuple(within))


Below = tuple[int, tuple[Affine, ...], list[Within]]


def _through(nodes: Nodes, data: dict[str, Any], index: tuple[Affine, ...], loops: int) -> Below | None:
    """One view down: its operand, the index there, and conditions; None if the operand's index is not affine."""
    operand = data["args"][0]
    shape: tuple[Size, ...] = nodes[operand]["type"].shape
    attrs = dict(data["attrs"])
    zero = Affine.constant(0, loops)
    match data["op"]:
        case "identity" | "stop_gradient":
            return operand, index, []
        case "transpose":
            perm = attrs["perm"]
            return operand, tuple(index[perm.index(axis)] for axis in range(len(perm))), []
        case "broadcast_to":
            lead = len(index) - len(shape)
            return operand, tuple(zero if d == 1 else index[lead + i] for i, d in enumerate(shape)), []
        case "slice":
            places = zip(index, attrs["index"], strict=True)
            return operand, tuple(i.scaled(step).moved(start) for i, (start, _, step) in places), []
        case "unslice":
            return _unsliced(operand, shape, attrs, index)
        case _:
            found = split_index(shape, data["type"].shape, index, loops)
            return None if found is None else (operand, found, [])


def _unsliced(operand: int, shape: tuple[Size, ...], attrs: dict[str, Any], index: tuple[Affine, ...]) -> Below | None:
    """Zeros with the operand in a slice: inside it the operand, outside 0. Only for slices without steps."""
    places: list[Affine] = []
    conditions: list[Within] = []
    for one, (start, _, step), size, full in zip(index, attrs["index"], shape, attrs["shape"], strict=True):
        if step == 1 and start == 0 and size == full:
            places.append(one)
            continue
        unit = [k for k, s in enumerate(one.strides) if s != 0]
        if step != 1 or len(unit) != 1 or one.strides[unit[0]] != 1:
            return None
        first = start - one.offset
        conditions.append(Within(unit[0], first, first + size))
        places.append(one.moved(-start))
    return operand, tuple(places), conditions


def split_index(
    old: Sequence[Size], new: Sequence[Size], index: Sequence[Affine], loops: int
) -> tuple[Affine, ...] | None:
    """The index before a reshape, for one after it; None where an axis of the result runs over several before.

    >>> split_index((6, 4), (2, 3, 1, 4), [Affine.index(k, 4) for k in range(4)], 4)
    (Affine(offset=0, strides=(3, 1, 0, 0)), Affine(offset=0, strides=(0, 0, 0, 1)))
    """
    result: list[Affine] = []
    k = 0
    for size in old:
        if size == 1:
            result.append(Affine.constant(0, loops))
            continue
        run: list[int] = []
        count: Size = 1
        while k < len(new) and count != size:
            count = count * new[k]
            if new[k] != 1:
                run.append(k)
            k += 1
        if dims.equal(count, size) is not True:
            return None
        result.append(Affine.row_major([new[j] for j in run], [index[j] for j in run], loops))
    return tuple(result) if all(d == 1 for d in new[k:]) else None
