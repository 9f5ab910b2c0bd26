"""Liveness: up to where in a graph the value of each node is read."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import accumulate

from graphc.ir import Graph
from graphc.passes.reading import VIEWS, Nodes


class Liveness:
    """When the values of a graph are read for the last time, if its nodes run in order.

    unstored: whether a node has no value of its own to keep. Reading a view is reading what it shows.
    """

    def __init__(self, graph: Graph, unstored: Callable[[int], bool]) -> None:
        self.graph = graph
        self.nodes: Nodes = graph._node
        self.unstored = unstored

    @cached_property
    def positions(self) -> dict[int, int]:
        """Where in the graph each node stands."""
        return {i: position for position, i in enumerate(self.nodes)}

    @cached_property
    def last_reads(self) -> list[int]:
        """For each node of the graph the last position at which its value is read; -1 for one that is not stored."""
        last = dict.fromkeys(self.graph.outputs, len(self.nodes))
        for i in reversed(list(self.nodes)):
            data = self.nodes[i]
            read = last.get(i, -1) if data["op"] in VIEWS else self.positions[i]
            for a in data["args"]:
                last[a] = max(last.get(a, -1), read)
        return [-1 if self.unstored(i) else last.get(i, -1) for i in self.nodes]

    def left(self, first: int, end: int, more: int) -> list[int]:
        """How many of the values from one node on are read at another one, `end`, or later; then at each of `more`."""
        start, position = self.positions[first], self.positions[end]
        stop = min(position + more, len(self.last_reads))
        changes = [0] * (stop - start + 2)
        for k in range(start, stop):
            last = self.last_reads[k]
            if last > k:
                changes[k + 1 - start] += 1
                changes[min(last, stop) + 1 - start] -= 1
        return list(accumulate(changes))[position - start : -1]
