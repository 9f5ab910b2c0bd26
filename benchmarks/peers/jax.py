"""jax.jit, with NumPy arrays in and out, and with its own arrays, donated where a step feeds itself.

64-bit types are enabled (`jax_enable_x64`), or float64 rows would silently be float32.
https://docs.jax.dev/en/latest/benchmarking.html
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from benchmarks.peers import Peer
from benchmarks.prepared import Calls, Prepared, Steps
from benchmarks.tree import mapped
from benchmarks.workload import Workload

jax.config.update("jax_enable_x64", True)


class WithNumPy(Peer):
    """As a NumPy user calls it: arguments and results are NumPy arrays."""

    def version(self) -> str:
        return f"{jax.__version__} (jaxlib {jaxlib.__version__})"

    def prepare(self, workload: Workload) -> Prepared:
        compiled = jax.jit(workload.jax())

        def call(*args: Any) -> Any:
            return jax.device_get(compiled(*args))  # waits

        if workload.carry:
            return Steps(call, workload.inputs, workload.carry)
        return Calls(call, workload.inputs())


class Resident(Peer):
    """Arguments and results stay jax arrays; `block_until_ready` waits for each result, or for the last step."""

    def version(self) -> str:
        return WithNumPy().version()

    def prepare(self, workload: Workload) -> Prepared:
        compiled = jax.jit(workload.jax(), donate_argnums=tuple(range(workload.carry)))

        def resident() -> Any:
            # a copy: an array that shares NumPy's memory could not be donated
            return mapped(lambda leaf: jnp.array(leaf, copy=True), workload.inputs())

        if workload.carry:
            return Steps(compiled, resident, workload.carry, jax.block_until_ready, np.asarray)
        return Calls(compiled, resident(), jax.block_until_ready, np.asarray)


PEERS = {"jax": WithNumPy, "jax, resident": Resident}
