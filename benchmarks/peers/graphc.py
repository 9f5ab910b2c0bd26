"""graphc, through its public interface: `graphc.compile` for the types and sizes of the inputs.

What a step feeds to itself is donated.
"""

from __future__ import annotations

import graphc
from benchmarks.peers import Peer
from benchmarks.peers.numpy import ready
from benchmarks.prepared import Prepared
from benchmarks.workload import Workload


class Graphc(Peer):
    """NumPy arrays in and out."""

    def version(self) -> str:
        return graphc.__version__

    def prepare(self, workload: Workload) -> Prepared:
        donated = tuple(range(workload.carry))
        return ready(graphc.compile(workload.graphc(), *workload.inputs(), donate_argnums=donated), workload)


PEERS = {"graphc": Graphc}
