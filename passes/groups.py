"""Groups of nodes that run together: what fusion decides, and how the nodes of a group lie over its loops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from graphc.dims import Size
from graphc.errors import IRError
from graphc.ir import Graph, TensorType
from graphc.kernels import KERNEL_DTYPES, Affine, computes
from graphc.ops import TABLE
from graphc.passes.reading import VIEWS, Nodes, Read
from graphc.text import labels

Axes = tuple[int | None, ...]  # for each axis of a node the loop that runs along it; None along size 1


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that one kernel computes over loops of the sizes `domain`; reductions run over the loops `reduced`.

    axes: for each node, which loop runs along each of its axes.
    across: reductions that run over all other loops instead.
    """

    nodes: tuple[int, ...]
    domain: tuple[Size, ...]
    reduced: frozenset[int]
    axes: Mapping[int, Axes]
    across: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node is not in the kernel of one of its operands."""

    producer: int
    consumer: int
    why: str


@dataclass(frozen=True, slots=True)
class Fusion:
    """The groups of a graph, and what was kept apart. Its text is a line for each kernel and each refusal."""

    graph: Graph
    groups: tuple[Group, ...]
    refusals: tuple[Refusal, ...]
    wanted: bool = True  # without, each operation is a call of its own: `kernels="none"`, or the order is NumPy's

    def explain(self, producer: str | int, consumer: str | int) -> str:
        """Why two nodes, the second reading the first, run in one kernel or do not.

        A node is what the dump of `graph` calls it, or its id.
        """
        first, second = self._node(producer), self._node(consumer)
        if not self.wanted:
            return "nothing is fused: the function was compiled without kernels"
        for group in self.groups:
            if first in group.nodes and second in group.nodes:
                return "they run in one kernel"
        for refusal in self.refusals:
            if (refusal.producer, refusal.consumer) == (first, second):
                return refusal.why
        return "they are not neighbours that kernels could join"

    def _node(self, which: str | int) -> int:
        for i, label in labels(self.graph).items():
            if which in (i, label):
                return i
        raise IRError(
            f"the graph has no node {which}",
            expected="a name from the dump of the compiled graph, such as %3, or an id",
            actual=repr(which),
            fix="print(f.fusion) and print(f.graph) show the names; passes may have rewritten what was traced",
        )

    def __str__(self) -> str:
        nodes, known = self.graph._node, labels(self.graph)
        lines = []
        for number, group in enumerate(self.groups):
            ops = ", ".join(f"{known[i]} {nodes[i]['op']}" for i in group.nodes)
            domain = ",".join(map(str, group.domain))
            folds = "".join(f" folding axis {k}" for k in sorted(group.reduced))
            across = "".join(f", and {known[i]} across" for i in sorted(group.across))
            lines.append(f"kernel {number} over [{domain}]{folds}{across}: {ops}")
        lines += dict.fromkeys(f"{known[r.producer]} and {known[r.consumer]} apart: {r.why}" for r in self.refusals)
        return "\n".join(lines)


def kernel_node(nodes: Nodes, node: int) -> bool:
    """Whether a kernel can compute the node: its op has a scalar meaning, or folds, at dtypes that kernels hold."""
    data = nodes[node]
    op = TABLE.get(data["op"])
    if op is None or (op.kernel is None and op.fold is None) or data["op"] in VIEWS:
        return False
    types = [data["type"], *(nodes[a]["type"] for a in data["args"])]
    return all(isinstance(t, TensorType) and t.dtype in KERNEL_DTYPES for t in types) and (
        computes(op.name, op.kernel_kinds, data["type"].dtype)
    )


def cheap_scalars(graph: Graph) -> frozenset[int]:
    """0-d nodes that follow from constants and sizes alone: every kernel that needs one computes it itself."""
    nodes = graph._node
    found: set[int] = set()
    for i, data in nodes.items():
        if not isinstance(data["type"], TensorType) or data["type"].shape:
            continue
        follows = data["args"] and found.issuperset(data["args"]) and kernel_node(nodes, i)
        if data["op"] in ("const", "dim", "pi") or follows:
            found.add(i)
    return frozenset(found)


def whole_axes(shape: Sequence[Size]) -> Axes:
    """The axes of what fills all loops of a kernel over this shape."""
    return tuple(None if d == 1 else k for k, d in enumerate(shape))


def loops_along(own: Axes, axes: Iterable[int]) -> frozenset[int]:
    """The loops that run along some axes of a node."""
    return frozenset(loop for a in axes if (loop := own[a]) is not None)


def operand_index(nodes: Nodes, node: int, operand: int, axes: Axes, loops: int) -> tuple[Affine, ...]:
    """Where an elementwise node with these axes reads an operand: axes aligned from the right, size 1 broadcasts."""
    shape = nodes[operand]["type"].shape
    lead = len(axes) - len(shape)
    return tuple(
        Affine.constant(0, loops) if d == 1 or (loop := axes[lead + j]) is None else Affine.index(loop, loops)
        for j, d in enumerate(shape)
    )


def in_place(found: Read, own: Axes) -> bool:
    """Whether a read takes the value of the same iteration from a node with these axes."""
    if found.index is None or found.within:
        return False
    return all(
        index.loop == loop if loop is not None else not index.loops and index.offset == 0
        for index, loop in zip(found.index, own, strict=True)
    )
