"""Lowering: a group of nodes as a kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.dims import Size
from graphc.ir import Graph
from graphc.kernels import (
    Affine,
    Apply,
    Fixed,
    Kernel,
    Load,
    Position,
    Reduce,
    Store,
    Value,
    Within,
    simplified,
    without_halves,
)
from graphc.ops import TABLE
from graphc.passes.groups import Group, in_place, operand_index, whole_axes
from graphc.passes.reading import VIEWS, Nodes, behind_markers, read


def lower(graph: Graph, group: Group, scalars: frozenset[int], inserts: Mapping[int, int] | None = None) -> Kernel:
    """The kernel that computes a group, over as few loops as its arrays allow.

    scalars: what every kernel computes itself (`graphc.passes.groups.cheap_scalars`).
    inserts: for results that are stored in a slice of a larger array at once, the `insert_slice` that does so.
    """
    return _Lowering(graph, group, scalars, inserts or {}).run()


def results(graph: Graph, group: Group) -> tuple[int, ...]:
    """The nodes of a group that something outside it reads."""
    nodes: Nodes = graph._node
    inside, outputs = frozenset(group.nodes), frozenset(graph.outputs)
    return tuple(i for i in group.nodes if _needed(graph, nodes, inside, outputs, i))


def _needed(graph: Graph, nodes: Nodes, inside: frozenset[int], outputs: frozenset[int], node: int) -> bool:
    """Whether a graph output or another step shows `node`, itself or through views."""
    stack = [node]
    while stack:
        i = stack.pop()
        if i in outputs:
            return True
        for user in graph.successors(i):
            if nodes[user]["op"] in VIEWS:
                stack.append(user)
            elif user not in inside:
                return True
    return False


class _Lowering:
    def __init__(self, graph: Graph, group: Group, scalars: frozenset[int], inserts: Mapping[int, int]) -> None:
        self.graph = graph
        self.nodes: Nodes = graph._node
        self.group = group
        self.loops = len(group.domain)
        self.inside = frozenset(group.nodes)
        self.scalars = scalars
        self.inserts = inserts
        self.values: list[Value] = []
        self.known: dict[Value, int] = {}
        self.number: dict[int, int] = {}

    def run(self) -> Kernel:
        group = self.group
        for i in group.nodes:
            self.number[i] = self.computed(i)
        stores = []
        for i in results(self.graph, group):
            shape: tuple[Size, ...] = self.nodes[i]["type"].shape
            index = [self.along(loop) for loop in group.axes[i]]
            node = self.inserts.get(i, i)
            if node != i:
                shape = self.nodes[node]["type"].shape
                places = zip(index, dict(self.nodes[node]["attrs"])["index"], strict=True)
                index = [at.scaled(step).moved(start) for at, (start, _, step) in places]
            stores.append(Store(self.number[i], node, Affine.row_major(shape, index, self.loops)))
        return without_halves(simplified(Kernel(group.domain, tuple(self.values), tuple(stores), group.reduced)))

    def along(self, loop: int | None) -> Affine:
        return Affine.constant(0, self.loops) if loop is None else Affine.index(loop, self.loops)

    def append(self, value: Value) -> int:
        """The number of a value; an equal one is computed once. Zeros of both signs differ."""
        key: Any = value
        if isinstance(value, Fixed):
            key = (value.dtype, type(value.number), np.asarray(value.number, value.dtype).tobytes())
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = len(self.values)
            self.values.append(value)
        return found

    def computed(self, node: int) -> int:
        """The value of a member."""
        data = self.nodes[node]
        op = TABLE[data["op"]]
        dtype = data["type"].dtype
        if op.fold is not None:
            operand = data["args"][0]
            member = behind_markers(self.nodes, operand)
            whole = whole_axes(self.nodes[operand]["type"].shape)
            index = tuple(self.along(loop) for loop in self.group.axes.get(member, whole))
            return self.append(Reduce(dtype, op.fold, self.operand(operand, index), node in self.group.across))
        axes = self.group.axes[node]
        operands = [
            self.number[a]
            if self.group.axes.get(a) == axes and a in self.inside  # where it was just computed, without a view between
            else self.operand(a, operand_index(self.nodes, node, a, axes, self.loops))
            for a in data["args"]
        ]
        return self.append(Apply(dtype, data["op"], tuple(operands), data["attrs"]))

    def operand(self, node: int, index: Sequence[Affine]) -> int:
        """The value of an operand: computed in this kernel, known, or loaded."""
        found = read(self.nodes, node, index, self.loops)
        root = found.root
        data = self.nodes[root]
        dtype = data["type"].dtype
        if root in self.inside:
            assert in_place(found, self.group.axes[root])
            return self.number[root]
        if not found.within:
            if root in self.scalars:
                return self.scalar(root)
            if data["op"] == "iota" and found.index is not None:
                return self.append(Position(dtype, found.index[0]))
        return self.append(Load(dtype, root, found.at, self.possible(found.within)))

    def possible(self, within: tuple[Within, ...]) -> tuple[Within, ...]:
        """The conditions that do not hold throughout."""
        return tuple(dict.fromkeys(w for w in within if not (w.start == 0 and w.stop == self.group.domain[w.loop])))

    def scalar(self, node: int) -> int:
        """A 0-d value that follows from constants and sizes."""
        data = self.nodes[node]
        dtype = data["type"].dtype
        attrs = dict(data["attrs"])
        match data["op"]:
            case "const":
                return self.append(Fixed(dtype, attrs["value"].array.item()))
            case "pi":
                return self.append(Fixed(dtype, dtype.type(np.pi).item()))
            case "dim":
                return self.append(Position(dtype, Affine.constant(attrs["size"], self.loops)))
        return self.append(Apply(dtype, data["op"], tuple(self.scalar(a) for a in data["args"]), data["attrs"]))
