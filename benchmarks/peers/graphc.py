"""graphc, through its public interface: `graphc.compile` for the types and sizes of the inputs.

What a step feeds to itself is donated; where no result can take its memory, that is of no use.
"""

from __future__ import annotations

import warnings

import graphc
from benchmarks.peers import Peer
from benchmarks.peers.numpy import ready
from benchmarks.prepared import Prepared
from benchmarks.workload import Workload
from graphc.errors import DonationWarning


class Graphc(Peer):
    """NumPy arrays in and out, results as NumPy's."""

    fast_math = False
    compiles_ahead = True

    def version(self) -> str:
        return graphc.__version__

    def prepare(self, workload: Workload) -> Prepared:
        donated = tuple(range(workload.carry))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DonationWarning)
            compiled = graphc.compile(
                workload.graphc(), *workload.inputs(), donate_argnums=donated, fast_math=self.fast_math
            )
        return ready(compiled, workload)


class FastGraphc(Graphc):
    """A product and a sum rounded once, and faster elementary functions, as most of the others do by default."""

    fast_math = True


PEERS = {"graphc": Graphc, "graphc, fast_math": FastGraphc}
