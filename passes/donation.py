"""Donated inputs: which results take their memory, and when it may be written."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any, Final

from graphc.dims import Size
from graphc.ir import Graph, TensorType
from graphc.ops import TABLE
from graphc.plan import Step

# Ops that refuse some values of their operands. Donated memory is written after them, so that an error leaves all as it
# was.
FALLIBLE: Final = frozenset(
    {"gather", "scatter_add", "last_write", "argmax", "argmin", "random_below", "debug_print", "pure_callback"}
)


def fallible(nodes: Mapping[int, dict[str, Any]], node: int) -> bool:
    """Whether the node may raise an error; positions that are constants were looked at when it was made."""
    data = nodes[node]
    if data["op"] not in FALLIBLE:
        return False
    indexed = data["op"] in ("gather", "scatter_add", "last_write")
    return not indexed or any(nodes[a]["op"] != "const" for a in data["args"][1:])


def fallible_first(
    nodes: Mapping[int, dict[str, Any]], units: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> list[int]:
    """An order in which what may raise an error comes first, with what it needs, and else nothing changes.

    Units are their nodes and what they read, in an order that is possible; the result numbers them.
    """
    maker = {i: number for number, (made, _) in enumerate(units) for i in made}
    first: set[int] = set()
    stack = [number for number, (made, _) in enumerate(units) if any(fallible(nodes, i) for i in made)]
    while stack:
        number = stack.pop()
        if number in first:
            continue
        first.add(number)
        needed = list(units[number][1])
        while needed:
            i = needed.pop()
            if i in maker:
                stack.append(maker[i])
            else:
                needed.extend(nodes[i]["args"])  # a view, which is no unit
    numbers = range(len(units))
    return [n for n in numbers if n in first] + [n for n in numbers if n not in first]


class Donations:
    """The memory of donated inputs while a plan is made. Numbers have no memory worth donating.

    start: the first step that may write to it.
    """

    def __init__(
        self, graph: Graph, steps: Sequence[Sequence[int]], root: Mapping[int, int], partial: frozenset[int]
    ) -> None:
        """`steps` are the nodes of each step; `root` says for each node which other's storage it shows.

        `partial` are the results of which a kernel writes only a part.
        """
        self.graph = graph
        self.nodes: Mapping[int, dict[str, Any]] = graph._node
        self.root = root
        self.partial = partial
        self.inputs = {graph.inputs[k]: k for k in graph.graph["donated"] if self.nodes[graph.inputs[k]]["type"].shape}
        self.shown = {root[o] for o in graph.outputs}
        self.start = 0
        for position, nodes in enumerate(steps):
            if self.inputs and any(fallible(self.nodes, i) for i in nodes):
                self.start = position + 1

    def open(self, position: int, result: int, filled: bool) -> frozenset[int]:
        """The inputs whose elements a result of this step may replace: one that is returned, or an update of them."""
        if position < self.start or not (filled or result in self.graph.outputs):
            return frozenset()
        return frozenset(self.inputs) - self.shown

    def settle(
        self, steps: Sequence[Step], storage: MutableMapping[int, Size], last_use: Mapping[int, int]
    ) -> list[Step]:
        """The steps, outputs that are made when nobody reads an input any more being made in its memory."""
        into = {result: operand for step in steps for result, operand in step.into.items()}
        made = {i: position for position, step in enumerate(steps) for i in step.results}
        free = [d for d in self.inputs if d not in self.shown and d not in into.values()]
        new = list(steps)
        for o in dict.fromkeys(self.graph.outputs):
            chain = [o]  # what the output overwrites, and what that does
            while chain[-1] in into:
                chain.append(into[chain[-1]])
            if self.root[o] != o or chain[-1] not in storage:
                continue
            for d in free:
                place = self.place(d, chain, made, new, last_use)
                if place is None:
                    continue
                position = made[place]
                step = new[position]
                frees = step.frees
                if place in into:
                    storage[place] = storage[chain[-1]]
                    frees = (*frees, into[place])
                del storage[place]
                into[place] = d
                new[position] = replace(step, into={**step.into, place: d}, frees=frees)
                free.remove(d)
                break
        return new

    def place(
        self,
        given: int,
        chain: Sequence[int],
        made: Mapping[int, int],
        steps: Sequence[Step],
        last_use: Mapping[int, int],
    ) -> int | None:
        """The one of a chain of results, each in the storage of the next, that can be made in an input's memory."""
        for i in chain:
            if self.nodes[given]["type"] is not self.nodes[i]["type"] or i not in made:
                return None
            if last_use.get(given, -1) < made[i] and made[i] >= self.start and self.writes_into(steps[made[i]], i):
                return i
        return None

    def writes_into(self, step: Step, result: int) -> bool:
        """Whether the step can write the result into memory that it is given."""
        type = self.nodes[result]["type"]
        if not isinstance(type, TensorType):
            return False
        if result in self.partial or (step.kernel is None and TABLE[self.nodes[result]["op"]].updates):
            return False  # what it does not write has to be there
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
