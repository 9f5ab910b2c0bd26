"""Plain NumPy (and SciPy's special functions), not compiled; derivatives are written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import Peer
from benchmarks.prepared import Array, Calls, Prepared, Program, Steps
from benchmarks.tree import mapped
from benchmarks.workload import Workload


def ready(program: Program, workload: Workload, host: Callable[[Any], Array] = np.asarray) -> Prepared:
    """A program that takes and gives NumPy arrays."""
    if workload.carry:
        return Steps(program, lambda: mapped(np.copy, workload.inputs()), workload.carry, host=host)
    return Calls(program, workload.inputs(), host=host)


class NumPy(Peer):
    """The NumPy code as it is."""

    def version(self) -> str:
        return np.__version__

    def prepare(self, workload: Workload) -> Prepared:
        return ready(workload.numpy(), workload)


PEERS = {"NumPy": NumPy}
