"""autograd (HIPS): derivatives of NumPy code by a tape, rebuilt at every call."""

from __future__ import annotations

from importlib.metadata import version

import autograd  # noqa: F401  (a missing library is noticed here)

from benchmarks.peers import Peer
from benchmarks.peers.numpy import ready
from benchmarks.prepared import Prepared
from benchmarks.workload import Workload


class Autograd(Peer):
    """Nothing to set."""

    def version(self) -> str:
        return version("autograd")

    def prepare(self, workload: Workload) -> Prepared:
        return ready(workload.autograd(), workload)


PEERS = {"autograd": Autograd}
