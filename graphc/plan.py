"""The plan: a graph as a list of steps over values, with storage decided. Executors only write it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphc import dims
from graphc.dims import Size
from graphc.ir import Graph, TensorType, Type


@dataclass(frozen=True, slots=True)
class Step:
    """Run a group of nodes as one unit.

    nodes: the group, in order; one node until a kernel generator takes fused groups.
    into: an operand whose storage the result overwrites, or None for fresh storage.
    frees: nodes whose storage nobody reads after this step.
    """

    nodes: tuple[int, ...]
    into: int | None
    frees: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an executor does for one call.

    graph: the optimised graph.
    steps: in order; inputs and constants need none.
    copies: positions of outputs that would share storage with an input, a constant or another output.
    storage: for each node that owns storage at some time, its size in bytes as a formula in the named sizes.
    """

    graph: Graph
    steps: tuple[Step, ...]
    copies: frozenset[int]
    storage: Mapping[int, Size]

    def peak_bytes(self, sizes: Mapping[str, int] | None = None) -> int:
        """The most bytes of results and temporaries alive at once, given values for the named sizes.

        Inputs and constants are not counted; what a library call allocates inside itself is not either.
        """
        env = sizes or {}
        alive = peak = 0
        held: dict[int, int] = {}
        for step in self.steps:
            for node in step.nodes:
                if node in self.storage:
                    held[node] = dims.evaluate(self.storage[node], env)
                    alive += held[node]
                elif step.into is not None:
                    held[node] = held.pop(step.into, 0)
            peak = max(peak, alive)
            for node in step.frees:
                alive -= held.pop(node, 0)
        return peak


def nbytes(type: Type) -> Size:
    """The size of a dense array of this type, or of several of them, in bytes."""
    if isinstance(type, TensorType):
        return dims.product((*type.shape, type.dtype.itemsize))
    total: Size = 0
    for item in type.items:
        total = total + nbytes(item)
    return total
