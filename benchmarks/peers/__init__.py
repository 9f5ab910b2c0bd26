"""One file to a library: how it is compiled, called and waited for in its best setting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from benchmarks.prepared import Prepared
from benchmarks.workload import Workload


class Peer(ABC):
    """A library in one way of using it."""

    compiles_ahead = False
    """Whether nothing is left to compile when a program is prepared; else it is at the first call."""

    @abstractmethod
    def version(self) -> str:
        """The version of the library, and of what it computes with."""

    @abstractmethod
    def prepare(self, workload: Workload) -> Prepared:
        """Compile the workload's program for its inputs.

        Raises:
            Unavailable: the library has no such program.
        """


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a peer is, and how tables call it. Its module is imported in the worker only."""

    title: str
    module: str
    compiles: bool = True

    def load(self) -> Peer:
        peer: Peer = import_module(f"benchmarks.peers.{self.module}").PEERS[self.title]()
        return peer


PEERS: Final = {
    "graphc": Entry("graphc", "graphc"),
    "graphc-fast": Entry("graphc, fast_math", "graphc"),
    "jax": Entry("jax", "jax"),
    "jax-resident": Entry("jax, resident", "jax"),
    "torch-compile": Entry("torch.compile", "torch"),
    "torch": Entry("torch eager", "torch", compiles=False),
    "pytensor": Entry("PyTensor", "pytensor"),
    "numba": Entry("Numba", "numba"),
    "numexpr": Entry("NumExpr", "numexpr"),
    "casadi": Entry("CasADi", "casadi"),
    "autograd": Entry("autograd", "autograd", compiles=False),
    "numpy": Entry("NumPy", "numpy", compiles=False),
}
"""Every peer by its name on the command line, in the order of tables."""
