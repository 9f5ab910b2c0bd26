"""The plan: a graph as a list of steps over values, with storage decided. Executors only write it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphc import dims
from graphc.dims import Size
from graphc.ir import Graph, TensorType
from graphc.kernels import Kernel


@dataclass(frozen=True, slots=True)
class Step:
    """Run one node by its NumPy meaning, or a group of nodes as a kernel.

    nodes: what the step computes, in order.
    into: for results that overwrite an operand's storage, that operand; the others get fresh storage.
    frees: nodes whose storage nobody reads after this step.
    kernel: what computes the group; its stores are the results. None for a single node run by NumPy.
    """

    nodes: tuple[int, ...]
    into: Mapping[int, int]
    frees: tuple[int, ...]
    kernel: Kernel | None = None

    @property
    def results(self) -> tuple[int, ...]:
        """The nodes whose values the step leaves behind."""
        return self.nodes if self.kernel is None else self.kernel.nodes


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
            for node in step.results:
                if node in self.storage:
                    held[node] = dims.evaluate(self.storage[node], env)
                    alive += held[node]
                elif node in step.into:
                    held[node] = held.pop(step.into[node], 0)
            peak = max(peak, alive)
            for node in step.frees:
                alive -= held.pop(node, 0)
        return peak


def nbytes(type: TensorType) -> Size:
    """The size of a dense array of this type, in bytes."""
    return dims.product((*type.shape, type.dtype.itemsize))
