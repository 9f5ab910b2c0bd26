"""Elementwise graphs of many operations, for the time that compiling them takes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.prepared import Array, Program
from benchmarks.workload import Unavailable, Workload, rng


class ElementwiseGraph(Workload):
    """A third each of sines, products and sums on 1,000 numbers; no two steps are alike, so none can be shared."""

    def __init__(self, ops: int) -> None:
        self.ops = ops
        self.name = f"compile-{ops}"
        self.title = f"an elementwise graph of {ops:,} operations"
        # below one: an error of one step fades in the next
        self.factors = tuple(round(0.3 + 0.5 * k / ops, 6) for k in range(ops // 3))

    def inputs(self) -> tuple[Array]:
        return (rng().random(1000),)

    def graph(self, xp: Any) -> Program:
        def f(x: Any) -> Any:
            y = x
            for factor in self.factors:
                y = xp.sin(y) * factor + x
            return y

        return f

    def numpy(self) -> Program:
        return self.graph(np)

    def jax(self) -> Program:
        import jax.numpy as jnp

        return self.graph(jnp)

    def torch(self) -> Program:
        import torch

        return self.graph(torch)

    def torch_eager(self) -> Program:
        raise Unavailable("PyTorch without its compiler compiles nothing")

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        return self.graph(pt)

    def numba(self) -> Program:
        import numba

        lines = [f"        y = math.sin(y) * {factor!r} + x[i]" for factor in self.factors]
        source = ["def f(x):", "    out = np.empty_like(x)", "    for i in range(x.size):", "        y = x[i]"]
        scope: dict[str, Any] = {"math": math, "np": np}
        exec("\n".join([*source, *lines, "        out[i] = y", "    return out"]), scope)
        return numba.njit(fastmath=True)(scope["f"])

    def numexpr(self) -> Program:
        import numexpr

        text = "x"
        for factor in self.factors:
            text = f"(sin({text}) * {factor!r} + x)"
        return lambda x: numexpr.evaluate(text, local_dict={"x": x})

    def casadi(self) -> Any:
        import casadi

        from benchmarks.peers.casadi import elementwise

        return elementwise(self.graph(casadi), 1, 1000)


def rows(quick: bool) -> list[Workload]:
    return [ElementwiseGraph(ops) for ops in ((30, 300) if quick else (30, 300, 3000))]
