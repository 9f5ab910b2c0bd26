"""Donated inputs: which results take their memory, and when it may be written."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final

from graphc.dims import Size
from graphc.ir import Graph, TensorType
from graphc.ops import TABLE
from graphc.plan import Step

# Ops that refuse some values of their operands. Donated memory is written after them, so that an error leaves everything
# as it was.
FALLIBLE: Final = frozenset(
    {"gather", "scatter_add", "last_write", "argmax", "argmin", "random_below", "debug_print", "pure_callback"}
)


class Gifts:
    """The memory of donated inputs while a plan is made. Numbers have no memory worth donating.

    start: the first step that may write to it.
    """

    def __init__(self, graph: Graph, steps: Sequence[Sequence[int]], root: Mapping[int, int]) -> None:
        """`steps` are the nodes of each step; `root` says for each node which other's storage it shows."""
        self.graph = graph
        self.nodes: Mapping[int, dict[str, Any]] = graph._node
        self.root = root
        self.inputs = {graph.inputs[k]: k for k in graph.graph["donated"] if self.nodes[graph.inputs[k]]["type"].shape}
        self.shown = {root[o] for o in graph.outputs}
        self.start = 0
        for position, nodes in enumerate(steps):
            if self.inputs and any(self.fallible(i) for i in nodes):
                self.start = position + 1

    def fallible(self, node: int) -> bool:
        """Whether the node may raise an error; positions that are constants were looked at when it was made."""
        data = self.nodes[node]
        if data["op"] not in FALLIBLE:
            return False
        indexed = data["op"] in ("gather", "scatter_add", "last_write")
        return not indexed or any(self.nodes[a]["op"] != "const" for a in data["args"][1:])

    def open(self, position: int, result: int, filled: bool) -> frozenset[int]:
        """The inputs whose elements a result of this step may replace: one that is returned, or an update of them."""
        if position < self.start or not (filled or result in self.graph.outputs):
            return frozenset()
        return frozenset(self.inputs) - self.shown

    def settle(
        self, steps: Sequence[Step], storage: MutableMapping[int, Size], last_use: Mapping[int, int]
    ) -> dict[int, int]:
        """Give inputs that nobody reads any more to outputs that are made later; further entries for `Step.into`."""
        into = {result: operand for step in steps for result, operand in step.into.items()}
        made = {i: position for position, step in enumerate(steps) for i in step.results}
        free = [d for d in self.inputs if d not in self.shown and d not in into.values()]
        found: dict[int, int] = {}
        for o in dict.fromkeys(self.graph.outputs):
            owner = o
            while owner in into:
                owner = into[owner]
            if self.root[o] != o or owner not in made or not self.writes_into(steps[made[owner]], owner):
                continue
            for d in free:
                same = self.nodes[d]["type"] is self.nodes[owner]["type"]
                if same and last_use.get(d, -1) < made[owner] and made[owner] >= self.start:
                    found[owner] = d
                    free.remove(d)
                    del storage[owner]
                    break
        return found

    def writes_into(self, step: Step, result: int) -> bool:
        """Whether the step can write the result into memory that it is given."""
        type = self.nodes[result]["type"]
        if not isinstance(type, TensorType):
            return False
        return step.kernel is not None or TABLE[self.nodes[result]["op"]].ufunc or self.nodes[result]["op"] == "matmul"

    def returned(self) -> dict[int, int]:
        """Inputs that are outputs as they are: their first position among the outputs."""
        outputs = self.graph.outputs
        return {d: outputs.index(d) for d in self.inputs if d in outputs}

    def views(self, into: Mapping[int, int]) -> frozenset[int]:
        """Positions of outputs that show donated memory under another shape, or a part of it."""
        found = set()
        for position, o in enumerate(self.graph.outputs):
            owner = self.root[o]
            if owner == o:
                continue
            while owner in into:
                owner = into[owner]
            if owner in self.inputs:
                found.add(position)
        return frozenset(found)

    def used(self, into: Mapping[int, int], copies: frozenset[int]) -> tuple[int, ...]:
        """Positions of the inputs whose memory is written, or returned."""
        returned = {d for d, position in self.returned().items() if position not in copies}
        return tuple(sorted(k for d, k in self.inputs.items() if d in returned or d in into.values()))
