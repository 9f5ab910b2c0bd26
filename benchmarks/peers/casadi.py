"""CasADi: expression graphs in float64, called through a buffer.

Each function is tried on CasADi's virtual machine and as C code compiled by the system's compiler, and the faster is
kept; without a compiler only the first. https://web.casadi.org/docs/
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import casadi
import numpy as np

from benchmarks.peers import Peer
from benchmarks.prepared import Array, Prepared
from benchmarks.tree import leaves
from benchmarks.workload import Unavailable, Workload

OPTIONS = {
    "jit": True,
    "compiler": "shell",
    "jit_options": {
        "compiler": "gcc",
        "flags": ["-O3", "-march=native", "-ffast-math"],
        "linker_flags": ["-lmvec", "-lm"],  # the vector mathematics that -ffast-math calls
    },
}


@dataclass(frozen=True, slots=True)
class Symbolic:
    """Inputs and outputs as CasADi expressions; `copies` of it work on vectors of that length."""

    inputs: list[Any]
    outputs: list[Any]
    copies: int = 1


def elementwise(f: Callable[..., Any], arity: int, n: int) -> Symbolic:
    """A function of scalars for each of n elements."""
    variables = [casadi.SX.sym(f"x{k}") for k in range(arity)]
    return Symbolic(variables, [f(*variables)], n)


class Buffered(Prepared):
    """A function with its arguments and results in memory it was told of once."""

    def __init__(self, function: Any, workload: Workload) -> None:
        self.function = function
        buffer, self.evaluate = function.buffer()
        self.buffer = buffer
        self.args = [np.asfortranarray(leaf, np.float64) for leaf in leaves(workload.inputs())]
        self.out = [np.zeros(function.size_out(k), order="F") for k in range(function.n_out())]
        for k, array in enumerate(self.args):
            buffer.set_arg(k, array.reshape(-1, order="F").data)
        for k, array in enumerate(self.out):
            buffer.set_res(k, array.reshape(-1, order="F").data)
        self.first = [array.copy() for array in self.args]
        self.carry = workload.carry

    def reset(self) -> None:
        for array, first in zip(self.args, self.first, strict=True):
            array[...] = first

    def run(self, calls: int) -> None:
        evaluate = self.evaluate
        if self.carry:
            for _ in range(calls):
                evaluate()
                for array, result in zip(self.args, self.out, strict=False):
                    array[...] = result.reshape(array.shape)
        else:
            for _ in range(calls):
                evaluate()

    def results(self) -> list[Array]:
        self.reset()
        self.evaluate()
        return [array.copy() for array in self.out]


class CasADi(Peer):
    """The virtual machine, or generated C."""

    def version(self) -> str:
        return f"{casadi.__version__}{', with a C compiler' if shutil.which('gcc') else ''}"

    def prepare(self, workload: Workload) -> Prepared:
        if workload.dtype is not np.float64:
            raise Unavailable("CasADi computes in float64 only")
        symbolic = workload.casadi()
        choices = []
        for options in ({}, OPTIONS) if shutil.which("gcc") else ({},):
            try:
                choices.append(Buffered(_function(symbolic, options), workload))
            except RuntimeError:
                if not options:
                    raise  # else the C compiler failed, and the virtual machine is what there is
        return min(choices, key=_seconds)


def _function(symbolic: Symbolic, options: dict[str, Any]) -> Any:
    if symbolic.copies == 1:
        return casadi.Function("f", symbolic.inputs, symbolic.outputs, options)
    one = casadi.Function("one", symbolic.inputs, symbolic.outputs)
    rows = [casadi.MX.sym(f"x{k}", 1, symbolic.copies) for k in range(one.n_in())]
    return casadi.Function("f", rows, one.map(symbolic.copies).call(rows), options)


def _seconds(prepared: Prepared) -> float:
    found = []
    for _ in range(3):
        start = time.perf_counter()
        prepared.run(1)
        found.append(time.perf_counter() - start)
    return min(found)


PEERS = {"CasADi": CasADi}
