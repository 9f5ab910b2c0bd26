"""Numba: loops written by hand.

`fastmath` lets LLVM reorder sums and assume that there is no NaN; `error_model="numpy"` divides without a check for
zero, which would keep loops from being vectorised. Intel's vector mathematics (SVML) is used where llvmlite is built
for it; PyPI's is not.

https://numba.readthedocs.io/en/stable/user/performance-tips.html
"""

from __future__ import annotations

from typing import Any

import llvmlite
import numba
import numpy as np

from benchmarks.peers import Peer
from benchmarks.peers.numpy import ready
from benchmarks.prepared import Array, Prepared
from benchmarks.workload import Workload

njit = numba.njit(fastmath=True, error_model="numpy")


class Numba(Peer):
    """Compiled at the first call, for the types of the arguments."""

    def version(self) -> str:
        svml = ", SVML" if numba.config.USING_SVML else ""
        return f"{numba.__version__} (llvmlite {llvmlite.__version__}{svml})"

    def prepare(self, workload: Workload) -> Prepared:
        def host(leaf: Any) -> Array:
            # a float32 result that is a scalar arrives as a Python float
            return np.asarray(leaf, workload.dtype) if isinstance(leaf, float) else np.asarray(leaf)

        return ready(workload.numba(), workload, host)


PEERS = {"Numba": Numba}
