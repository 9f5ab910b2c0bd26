"""NumExpr: expressions as text, run blockwise; `re_evaluate` skips parsing and checks.

https://numexpr.readthedocs.io/en/latest/user_guide.html
"""

from __future__ import annotations

import numexpr

from benchmarks.peers import Peer
from benchmarks.peers.numpy import ready
from benchmarks.prepared import Prepared
from benchmarks.workload import Workload


class NumExpr(Peer):
    """As many threads as NUMEXPR_NUM_THREADS says."""

    def version(self) -> str:
        return f"{numexpr.__version__}{', VML' if numexpr.use_vml else ''}"

    def prepare(self, workload: Workload) -> Prepared:
        return ready(workload.numexpr(), workload)


PEERS = {"NumExpr": NumExpr}
