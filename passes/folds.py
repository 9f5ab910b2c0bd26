"""Folds in kernels: over which loops of a kernel a reduction can run, beside those that it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from graphc.ir import Graph
from graphc.kernels import HALF
from graphc.ops import TABLE
from graphc.passes.groups import Axes, loops_along
from graphc.passes.reading import VIEWS, Nodes, behind_markers
from graphc.passes.units import Unit

# of a fold in a kernel: over its reduced loops, over the others, or over loops that become the reduced ones
ROLES: Final = ("reduced", "across", "instead")


class Folds:
    """What the folds of a graph are, or could be, in kernels under construction."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: Nodes = graph._node

    def of(self, node: int) -> str | None:
        """The fold that a node is, if it is one."""
        return TABLE[self.nodes[node]["op"]].fold

    def axes(self, node: int, unit: Unit) -> Axes | str:
        """The axes that a fold would have in a kernel; or why it cannot join."""
        data = self.nodes[node]
        attrs = dict(data["attrs"])
        operand = data["args"][0]
        shape = self.nodes[operand]["type"].shape
        own = unit.axes.get(behind_markers(self.nodes, operand))
        if own is None or self.nodes[behind_markers(self.nodes, operand)]["type"].shape != shape:
            return "it folds a rearranged result of the kernel"
        over = loops_along(own, attrs["axes"])
        role = self.role(node, unit, over, own)
        return role if role not in ROLES else self.left(own, attrs)

    @staticmethod
    def left(own: Axes, attrs: Mapping[str, Any]) -> Axes:
        """The axes of a fold, of what has these."""
        if attrs["keepdims"]:
            return tuple(None if a in attrs["axes"] else loop for a, loop in enumerate(own))
        return tuple(loop for a, loop in enumerate(own) if a not in attrs["axes"])

    def role(self, node: int, unit: Unit, over: frozenset[int], own: Axes) -> str:
        """What `node`, a fold over some loops of a value with these axes, would be in a kernel; or why it cannot be."""
        loops = {k for k, d in enumerate(unit.domain) if d != 1}
        named = {loop for loop in own if loop is not None}
        if not over:
            return "it folds over no loop of the kernel"
        reduced = unit.reduced
        if reduced is None:
            if named != loops:
                return "it folds what not all loops of the kernel run along"
            return "reduced" if not any(self.lower(unit, i) for i in unit.nodes) else "the kernel has other axes"
        if named == loops and over == reduced:
            return "reduced"
        last = max(loops)
        rest = loops - reduced
        if self._halves((node, *unit.nodes)):
            # what goes across is stored as it was added up, and half precision is not added up in
            return "folds of half precision run over the same loops"
        if over != rest or not rest or named not in (loops, rest):
            return "the kernel folds over other loops"
        if last in reduced:
            return "across"
        if named == loops and not unit.across and all(self._unread(unit, i) for i in unit.nodes if self.of(i)):
            return "instead"
        return "the kernel folds over other loops, and uses the results"

    def note(self, unit: Unit, node: int, role: str, over: frozenset[int]) -> None:
        """Note what a fold is in the kernel."""
        if role == "across":
            unit.across.add(node)
            return
        if role == "instead":
            unit.across = {i for i in unit.nodes if self.of(i)}
            unit.across.discard(node)
        unit.reduced = over

    def turns(self, unit: Unit, other: Unit, node: int) -> bool:
        """Whether all folds of a kernel can become folds across in another one, which folds over the other loops."""
        assert unit.reduced is not None
        assert other.reduced is not None
        loops = {k for k, d in enumerate(unit.domain) if d != 1}
        rest = loops - other.reduced
        if unit.across or self._used(unit) or unit.reduced != rest or max(loops) not in other.reduced:
            return False
        if self._halves(unit.nodes):
            return False
        return all(self._unread(unit, i) for i in unit.nodes if self.of(i)) and self.of(node) is None

    def lower(self, unit: Unit, node: int) -> bool:
        """Whether a node is the same along one of the kernel's loops."""
        return set(unit.axes[node]) - {None} != {k for k, d in enumerate(unit.domain) if d != 1}

    def _used(self, unit: Unit) -> bool:
        """Whether a node of the kernel needs the result of a fold."""
        return any(stage > 1 or self.of(i) is None for i, stage in unit.stages.items())

    def _halves(self, nodes: Iterable[int]) -> bool:
        """Whether one of the nodes is a fold to half precision."""
        return any(self.nodes[i]["type"].dtype == HALF for i in nodes if self.of(i))

    def _unread(self, unit: Unit, node: int) -> bool:
        """Whether no other node of the kernel reads this one."""
        inside = set(unit.nodes)
        stack = [node]
        while stack:
            for user in self.graph.successors(stack.pop()):
                if user in inside:
                    return False
                if self.nodes[user]["op"] in VIEWS:
                    stack.append(user)
        return True
