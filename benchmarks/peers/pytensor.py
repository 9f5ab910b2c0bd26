"""PyTensor in Numba mode: static shapes, trusted inputs, borrowed outputs, and shared variables for what is carried.

https://pytensor.readthedocs.io/en/latest/tutorial/aliasing.html
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.io import In, Out

from benchmarks.peers import Peer
from benchmarks.peers.numpy import ready
from benchmarks.prepared import Array, Prepared
from benchmarks.tree import leaves, rebuilt
from benchmarks.workload import Workload

sys.setrecursionlimit(50_000)  # it walks a graph by recursion


class Updating(Prepared):
    """A step whose state lives in shared variables, which the compiled function updates in place."""

    def __init__(self, workload: Workload) -> None:
        inputs = workload.inputs()
        self.first = [np.asarray(leaf) for leaf in leaves(inputs[: workload.carry])]
        self.state = [pytensor.shared(leaf.copy(), borrow=True, shape=leaf.shape) for leaf in self.first]
        rest = inputs[workload.carry :]
        variables = [symbol(leaf) for leaf in leaves(rest)]
        results = workload.pytensor()(*rebuilt(inputs, [*self.state, *variables]))
        found = leaves(results)
        updates = list(zip(self.state, found[: len(self.state)], strict=True))
        self.call = pytensor.function(
            [In(v, borrow=True) for v in variables],
            [Out(v, borrow=True) for v in found[len(self.state) :]],
            updates=updates,
            mode="NUMBA",
            trust_input=True,
        )
        self.rest = tuple(leaves(rest))

    def reset(self) -> None:
        for variable, value in zip(self.state, self.first, strict=True):
            variable.set_value(value.copy(), borrow=True)

    def run(self, calls: int) -> None:
        call, rest = self.call, self.rest
        for _ in range(calls):
            call(*rest)

    def results(self) -> list[Array]:
        self.reset()
        returned = self.call(*self.rest)
        found = [*(np.array(v.get_value(borrow=True)) for v in self.state), *(np.array(r) for r in returned)]
        self.reset()
        return found


def symbol(leaf: Any) -> Any:
    array = np.asarray(leaf)
    return pt.tensor(dtype=str(array.dtype), shape=array.shape)


class PyTensor(Peer):
    """Numba is the backend; it compiles at the first call."""

    def version(self) -> str:
        return str(pytensor.__version__)

    def prepare(self, workload: Workload) -> Prepared:
        # the precision of Python numbers in expressions
        pytensor.config.floatX = np.dtype(workload.dtype).name
        program = workload.pytensor()
        if workload.carry:
            return Updating(workload)
        inputs = workload.inputs()
        variables = [symbol(leaf) for leaf in leaves(inputs)]
        results = leaves(program(*rebuilt(inputs, variables)))
        outputs = [Out(result, borrow=True) for result in results]
        compiled = pytensor.function(
            [In(v, borrow=True) for v in variables],
            outputs if len(outputs) > 1 else outputs[0],
            mode="NUMBA",
            trust_input=True,
            on_unused_input="ignore",
        )
        return ready(compiled, workload)


PEERS = {"PyTensor": PyTensor}
