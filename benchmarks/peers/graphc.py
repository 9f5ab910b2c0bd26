"""graphc, through its public interface: `graphc.compile` for the types and sizes of the inputs."""

from __future__ import annotations

import graphc
from benchmarks.peers import Peer
from benchmarks.peers.numpy import ready
from benchmarks.prepared import Prepared
from benchmarks.workload import Workload


class Graphc(Peer):
    """NumPy arrays in and out, results as NumPy's."""

    fast_math = False

    def version(self) -> str:
        return graphc.__version__

    def prepare(self, workload: Workload) -> Prepared:
        return ready(graphc.compile(workload.graphc(), *workload.inputs(), fast_math=self.fast_math), workload)


class FastGraphc(Graphc):
    """A product and a sum rounded once, and faster elementary functions, as most of the others do by default."""

    fast_math = True


PEERS = {"graphc": Graphc, "graphc, fast_math": FastGraphc}
