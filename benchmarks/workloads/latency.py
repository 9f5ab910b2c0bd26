"""Elementwise graphs of many operations, for the time that compiling them takes."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np

from benchmarks.prepared import Array, Program
from benchmarks.workload import Unavailable, Workload, rng

WINDOW = 8
"""How far back a step looks for its second operand."""


class ElementwiseGraph(Workload):
    """Sines, tanhs, sums, products and maxima of 1,000 numbers: each step uses the last value and an earlier one."""

    def __init__(self, ops: int) -> None:
        self.ops = ops
        self.name = f"compile-{ops}"
        self.title = f"an elementwise graph of {ops:,} operations"
        draw = random.Random(ops)
        sizes = {"sin": 1, "larger": 1, "mean": 2, "gate": 3}
        self.steps: list[tuple[str, int]] = []
        while ops > 0:
            kind = draw.choice([kind for kind, size in sizes.items() if size <= ops])
            self.steps.append((kind, draw.randint(1, WINDOW)))
            ops -= sizes[kind]

    def inputs(self) -> tuple[Array]:
        return (rng().random(1000),)

    def graph(self, xp: Any, larger: Program) -> Program:
        """The graph in a library's functions; `larger` is its elementwise maximum."""
        steps = self.steps

        def f(x: Any) -> Any:
            values = [x] * WINDOW
            for kind, back in steps:
                last, earlier = values[-1], values[-back]
                if kind == "sin":
                    new = xp.sin(last)
                elif kind == "larger":
                    new = larger(last, earlier)
                elif kind == "mean":
                    new = (last + earlier) * 0.5
                else:
                    new = xp.tanh(last) * earlier + x
                values.append(new)
            return values[-1]

        return f

    def numpy(self) -> Program:
        return self.graph(np, np.maximum)

    def jax(self) -> Program:
        import jax.numpy as jnp

        return self.graph(jnp, jnp.maximum)

    def torch(self) -> Program:
        import torch

        return self.graph(torch, torch.maximum)

    def torch_eager(self) -> Program:
        raise Unavailable("PyTorch without its compiler compiles nothing")

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        return self.graph(pt, pt.maximum)

    def numba(self) -> Program:
        from benchmarks.peers.numba import njit

        source = ["def f(x):", "    out = np.empty_like(x)", "    for i in range(x.size):"]
        source += [f"        v{k} = x[i]" for k in range(WINDOW)]
        texts = {
            "sin": "math.sin({0})",
            "larger": "max({0}, {1})",
            "mean": "({0} + {1}) * 0.5",
            "gate": "math.tanh({0}) * {1} + x[i]",
        }
        for k, (kind, back) in enumerate(self.steps, start=WINDOW):
            source.append(f"        v{k} = {texts[kind].format(f'v{k - 1}', f'v{k - back}')}")
        source += [f"        out[i] = v{WINDOW + len(self.steps) - 1}", "    return out"]
        scope: dict[str, Any] = {"math": math, "np": np}
        exec("\n".join(source), scope)
        return njit(scope["f"])

    def numexpr(self) -> Program:
        raise Unavailable("NumExpr names no intermediate values: one used twice is written out twice")

    def casadi(self) -> Any:
        import casadi

        from benchmarks.peers.casadi import elementwise

        return elementwise(self.graph(casadi, casadi.fmax), 1, 1000)


def rows(quick: bool) -> list[Workload]:
    return [ElementwiseGraph(ops) for ops in ((30,) if quick else (30, 300, 3000))]
