"""Graphs of many operations, for the time that compiling them takes: elementwise ones, and an unrolled network."""

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


class UnrolledLSTM(Workload):
    """A long short-term memory (Hochreiter and Schmidhuber, 1997), unrolled by a Python loop: loss and gradient.

    Each step has a kernel of its own, and products of matrices before it.
    """

    name = "compile-lstm"
    derivative = True

    def __init__(self, steps: int, hidden: int, batch: int) -> None:
        self.steps, self.hidden, self.batch = steps, hidden, batch
        self.title = (
            f"loss and gradient of an LSTM, unrolled over {steps} steps, {hidden} hidden units, batch {batch}, float64"
        )

    def inputs(self) -> tuple[Array, ...]:
        """Weights of the input and of the state, biases, the inputs of all steps one below the other, a state."""
        draw, n = rng(), self.hidden
        w, u = (draw.standard_normal((n, 4 * n)) / np.sqrt(n) for _ in range(2))
        x = draw.standard_normal((self.steps * self.batch, n))
        return w, u, draw.standard_normal(4 * n) / 10, x, np.zeros((self.batch, n))

    def loss(self, xp: Any, mean: Program) -> Program:
        """The mean square of the last output, in a library's functions."""
        n, batch = self.hidden, self.batch

        def sigmoid(z: Any) -> Any:
            return 1 / (1 + xp.exp(-z))

        def f(w: Any, u: Any, b: Any, x: Any, start: Any) -> Any:
            h, c = start, start
            for row in range(0, self.steps * batch, batch):
                z = x[row : row + batch, :] @ w + h @ u + b
                i, f, g, o = (z[:, k * n : (k + 1) * n] for k in range(4))
                c = sigmoid(f) * c + sigmoid(i) * xp.tanh(g)
                h = sigmoid(o) * xp.tanh(c)
            return mean(h * h)

        return f

    def numpy(self) -> Program:
        n, batch = self.hidden, self.batch

        def gradient(w: Any, u: Any, b: Any, x: Any, start: Any) -> Any:
            h, c, kept = start, start, []
            for row in range(0, self.steps * batch, batch):
                z = x[row : row + batch] @ w + h @ u + b
                i, f, o = (1 / (1 + np.exp(-z[:, k * n : (k + 1) * n])) for k in (0, 1, 3))
                g, before = np.tanh(z[:, 2 * n : 3 * n]), (h, c)
                c = f * c + i * g
                kept.append((row, *before, i, f, g, o, np.tanh(c)))
                h = o * kept[-1][-1]
            dw, du, db = np.zeros_like(w), np.zeros_like(u), np.zeros_like(b)
            dh, dc = 2 * h / h.size, np.zeros_like(c)
            for row, earlier, cell, i, f, g, o, shown in reversed(kept):
                dc = dc + dh * o * (1 - shown**2)
                gates = (dc * g * i * (1 - i), dc * cell * f * (1 - f), dc * i * (1 - g**2), dh * shown * o * (1 - o))
                dz = np.concatenate(gates, axis=1)
                dw, du, db = dw + x[row : row + batch].T @ dz, du + earlier.T @ dz, db + dz.sum(axis=0)
                dh, dc = dz @ u.T, dc * f
            return np.mean(h * h), (dw, du, db)

        return gradient

    def graphc(self) -> Program:
        import graphc

        return graphc.value_and_grad(self.loss(np, np.mean), argnums=(0, 1, 2))

    def jax(self) -> Program:
        import jax
        import jax.numpy as jnp

        return jax.value_and_grad(self.loss(jnp, jnp.mean), argnums=(0, 1, 2))

    def torch(self) -> Program:
        import torch

        from benchmarks.peers.torch import value_and_grad

        return value_and_grad(self.loss(torch, torch.mean), (0, 1, 2))

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        def gradient(w: Any, u: Any, b: Any, x: Any, start: Any) -> Any:
            loss = self.loss(pt, pt.mean)(w, u, b, x, start)
            return loss, pt.grad(loss, [w, u, b])

        return gradient

    def casadi(self) -> Any:
        import casadi

        from benchmarks.peers.casadi import Symbolic

        n, batch = self.hidden, self.batch
        shapes = {"w": (n, 4 * n), "u": (n, 4 * n), "b": (1, 4 * n), "x": (self.steps * batch, n), "start": (batch, n)}
        w, u, b, x, start = (casadi.MX.sym(name, *shape) for name, shape in shapes.items())
        mean = lambda m: casadi.sum1(casadi.sum2(m)) / (batch * n)  # noqa: E731
        loss = self.loss(casadi, mean)(w, u, casadi.repmat(b, batch, 1), x, start)
        return Symbolic([w, u, b, x, start], [loss, *(casadi.gradient(loss, v) for v in (w, u, b))])


def rows(quick: bool) -> list[Workload]:
    sizes = (30,) if quick else (30, 300, 3000)
    lstm = UnrolledLSTM(2, 4, 3) if quick else UnrolledLSTM(20, 32, 16)
    return [*(ElementwiseGraph(ops) for ops in sizes), lstm]
