"""Logistic regression, two networks with their whole training step, and the gradient of an embedding table."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.prepared import Array, Prepared, Program
from benchmarks.tree import leaves, rebuilt
from benchmarks.workload import Workload, rng

Tree = Any
Gradient = Callable[..., tuple[Any, Tree]]
"""From parameters, inputs and targets to the loss and its gradient by the parameters."""

LEAK = 0.2
ALPHA, BETA1, BETA2, EPSILON = 0.001, 0.9, 0.999, 1e-8
RATE = 0.01


class LogisticRegression(Workload):
    """The mean log-loss of a linear classifier and its gradient by the weights."""

    name = "logistic-regression"
    derivative = True

    def __init__(self, points: int, features: int) -> None:
        self.points, self.features = points, features
        self.title = f"logistic regression: value and gradient, {points:,} × {features}, float64"

    def inputs(self) -> tuple[Array, Array, Array]:
        draw = rng()
        x = draw.standard_normal((self.points, self.features))
        w = draw.standard_normal(self.features) / 10
        t = (draw.random(self.points) < 0.5).astype(np.float64)
        return w, x, t

    def numpy(self) -> Program:
        def gradient(w: Any, x: Any, t: Any) -> Any:
            z = x @ w
            return np.mean(np.logaddexp(0, z) - t * z), (1 / (1 + np.exp(-z)) - t) @ x / len(t)

        return gradient

    def graphc(self) -> Program:
        import graphc

        def loss(w: Any, x: Any, t: Any) -> Any:
            z = x @ w
            return np.mean(np.logaddexp(0, z) - t * z)

        return graphc.value_and_grad(loss)

    def jax(self) -> Program:
        import jax
        import jax.numpy as jnp

        def loss(w: Any, x: Any, t: Any) -> Any:
            z = x @ w
            return jnp.mean(jax.nn.softplus(z) - t * z)

        return jax.value_and_grad(loss)

    def torch(self) -> Program:
        import torch

        from benchmarks.peers.torch import value_and_grad

        def loss(w: Any, x: Any, t: Any) -> Any:
            return torch.nn.functional.binary_cross_entropy_with_logits(x @ w, t)

        return value_and_grad(loss, (0,))

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        def gradient(w: Any, x: Any, t: Any) -> Any:
            z = x @ w
            loss = pt.mean(pt.softplus(z) - t * z)
            return loss, pt.grad(loss, w)

        return gradient

    def casadi(self) -> Any:
        import casadi

        from benchmarks.peers.casadi import Symbolic

        w = casadi.MX.sym("w", self.features)
        x = casadi.MX.sym("x", self.points, self.features)
        t = casadi.MX.sym("t", self.points)
        z = casadi.mtimes(x, w)
        loss = casadi.sum1(casadi.log1p(casadi.exp(z)) - t * z) / self.points
        return Symbolic([w, x, t], [loss, casadi.gradient(loss, w)])

    def autograd(self) -> Program:
        import autograd.numpy as anp
        from autograd import value_and_grad

        def loss(w: Any, x: Any, t: Any) -> Any:
            z = anp.dot(x, w)
            return anp.mean(anp.logaddexp(0, z) - t * z)

        return value_and_grad(loss)


def layers(sizes: tuple[int, ...]) -> dict[str, dict[str, Array]]:
    """Float32 weights from N(0, 1 / fan-in) and zero biases."""
    draw = rng()
    return {
        f"l{k}": {
            "W": (draw.standard_normal((out, into)) / np.sqrt(into)).astype(np.float32),
            "b": np.zeros(out, np.float32),
        }
        for k, (into, out) in enumerate(pairwise(sizes), start=1)
    }


def network(activation: Callable[[Any], Any], last: bool, params: Tree, x: Any) -> Any:
    """Dense layers, each followed by the activation; the last one too if `last`."""
    for name in params:
        x = x @ params[name]["W"].T + params[name]["b"]
        if last or name != f"l{len(params)}":
            x = activation(x)
    return x


def by_hand(slope: Callable[[Any], Any], last: bool, params: Tree, x: Any, loss: Callable[[Any], Any]) -> Any:
    """Backpropagation in NumPy. `loss` gives the value and the gradient by the network's output."""
    inputs, sums = {}, {}
    for name in params:
        inputs[name] = x
        sums[name] = x @ params[name]["W"].T + params[name]["b"]
        x = sums[name] * slope(sums[name]) if last or name != f"l{len(params)}" else sums[name]
    value, g = loss(x)
    gradient = {}
    for name in reversed(params):
        if last or name != f"l{len(params)}":
            g = g * slope(sums[name])
        gradient[name] = {"W": g.T @ inputs[name], "b": g.sum(axis=0)}
        g = g @ params[name]["W"] if name != "l1" else g
    return value, {name: gradient[name] for name in params}


def adam_step(sqrt: Any, gradient: Gradient) -> Program:
    """One training step with Adam (Kingma and Ba, 2015, algorithm 1): new parameters, new state, loss."""

    def step(params: Tree, state: Tree, x: Any, t: Any) -> Any:
        loss, g = gradient(params, x, t)
        count = state["count"] + 1
        scale1, scale2 = 1 - BETA1**count, 1 - BETA2**count
        new: list[Any] = []
        for p, d, m, v in zip(leaves(params), leaves(g), leaves(state["m"]), leaves(state["v"]), strict=True):
            m = BETA1 * m + (1 - BETA1) * d
            v = BETA2 * v + (1 - BETA2) * d * d
            new.append((p - ALPHA * (m / scale1) / (sqrt(v / scale2) + EPSILON), m, v))
        p, m, v = ([entry[k] for entry in new] for k in range(3))
        return rebuilt(params, p), {"count": count, "m": rebuilt(params, m), "v": rebuilt(params, v)}, loss

    return step


class ExponentialNetwork(Workload):
    """Learning y = eˣ: 1-16-32-1, leaky ReLU, mean squared error, Adam, batches of 100; the whole step."""

    name = "mlp-adam-step"
    title = "training step of a 1-16-32-1 network with Adam, batch 100, float32"
    dtype = np.float32
    derivative = True
    carry = 2
    tolerance = 2.0**15

    def inputs(self) -> tuple[Any, ...]:
        params = layers((1, 16, 32, 1))
        zeros = [np.zeros_like(p) for p in leaves(params)]
        state = {
            "count": np.asarray(0, np.float32),
            "m": rebuilt(params, zeros),
            "v": rebuilt(params, [np.zeros_like(p) for p in zeros]),
        }
        x = rng(1).random((100, 1), np.float32)
        return params, state, x, np.exp(x)

    def numpy(self) -> Program:
        def gradient(params: Tree, x: Any, t: Any) -> Any:
            def loss(y: Any) -> Any:
                return np.mean((y - t) ** 2), 2 / y.size * (y - t)

            return by_hand(lambda s: np.where(s >= 0, 1, LEAK).astype(s.dtype), True, params, x, loss)

        return adam_step(np.sqrt, gradient)

    def graphc(self) -> Program:
        import graphc

        def loss(params: Tree, x: Any, t: Any) -> Any:
            return np.mean((network(lambda s: np.where(s >= 0, s, LEAK * s), True, params, x) - t) ** 2)

        return adam_step(np.sqrt, graphc.value_and_grad(loss))

    def jax(self) -> Program:
        import jax
        import jax.numpy as jnp

        def loss(params: Tree, x: Any, t: Any) -> Any:
            return jnp.mean((network(lambda s: jax.nn.leaky_relu(s, LEAK), True, params, x) - t) ** 2)

        return adam_step(jnp.sqrt, jax.value_and_grad(loss))

    def torch_loss(self) -> Program:
        from torch.nn import functional

        def loss(params: Tree, x: Any, t: Any) -> Any:
            return functional.mse_loss(network(lambda s: functional.leaky_relu(s, LEAK), True, params, x), t)

        return loss

    def torch(self) -> Program:
        import torch

        gradient = torch.func.grad_and_value(self.torch_loss())

        def value_first(*args: Any) -> Any:
            g, value = gradient(*args)
            return value, g

        return adam_step(torch.sqrt, value_first)

    def torch_eager(self) -> Prepared:
        import torch

        from benchmarks.peers.torch import Training

        def optimiser(parameters: list[Any]) -> Any:
            return torch.optim.Adam(parameters, lr=ALPHA, betas=(BETA1, BETA2), eps=EPSILON, fused=True)

        def state_of(optimiser: Any, parameters: list[Any]) -> list[Any]:
            states = [optimiser.state[p] for p in parameters]
            return [states[0]["step"], *(s["exp_avg"] for s in states), *(s["exp_avg_sq"] for s in states)]

        params, _, x, t = self.inputs()
        return Training(self.torch_loss(), optimiser, params, (x, t), state_of)

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        def gradient(params: Tree, x: Any, t: Any) -> Any:
            y = network(lambda s: pt.switch(s >= 0, s, np.float32(LEAK) * s), True, params, x)
            loss = pt.mean((y - t) ** 2)
            return loss, rebuilt(params, pt.grad(loss, leaves(params)))

        return adam_step(pt.sqrt, gradient)

    def autograd(self) -> Program:
        import autograd.numpy as anp
        from autograd import value_and_grad

        def loss(params: Tree, x: Any, t: Any) -> Any:
            y = network(lambda s: anp.where(s >= 0, s, LEAK * s), True, params, x)
            return anp.mean((y - t) ** 2)

        return adam_step(np.sqrt, value_and_grad(loss))


class Mnist(Workload):
    """The network of Chainer's MNIST example, 784-1000-1000-10 with ReLU, cross-entropy and SGD, batches of 100."""

    name = "mlp-mnist-step"
    dtype = np.float32
    derivative = True
    carry = 1
    memory = True
    tolerance = 2.0**15

    def __init__(self, width: int) -> None:
        self.sizes = (784, width, width, 10)
        self.title = f"training step of a {'-'.join(map(str, self.sizes))} network with SGD, batch 100, float32"
        products = [into * out for into, out in pairwise(self.sizes)]
        self.flops = 100.0 * (6 * sum(products) - 2 * products[0])  # the data needs no gradient

    def inputs(self) -> tuple[Any, ...]:
        draw = rng(1)
        return layers(self.sizes), draw.random((100, 784), np.float32), draw.integers(0, 10, 100).astype(np.int32)

    def numpy(self) -> Program:
        def step(params: Tree, x: Any, t: Any) -> Any:
            rows = np.arange(len(t))

            def loss(y: Any) -> Any:
                shifted = y - np.max(y, axis=1, keepdims=True)
                e = np.exp(shifted)
                total = np.sum(e, axis=1, keepdims=True)
                g = e / total
                g[rows, t] -= 1
                g /= len(t)
                return -np.mean(shifted[rows, t] - np.log(total[:, 0])), g

            value, gradient = by_hand(lambda s: s > 0, False, params, x, loss)
            for p, g in zip(leaves(params), leaves(gradient), strict=True):
                g *= RATE
                p -= g
            return params, value

        return step

    def graphc(self) -> Program:
        import graphc

        def loss(params: Tree, x: Any, t: Any) -> Any:
            y = network(lambda s: np.maximum(s, 0), False, params, x)
            shifted = y - np.max(y, axis=1, keepdims=True)
            log_softmax = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
            return -np.mean(log_softmax[np.arange(100), t])

        return self.sgd_step(graphc.value_and_grad(loss))

    @staticmethod
    def sgd_step(gradient: Gradient) -> Program:
        """One step: new parameters and the loss."""

        def step(params: Tree, x: Any, t: Any) -> Any:
            value, g = gradient(params, x, t)
            return rebuilt(params, [p - RATE * d for p, d in zip(leaves(params), leaves(g), strict=True)]), value

        return step

    def jax(self) -> Program:
        import jax
        import jax.numpy as jnp

        def loss(params: Tree, x: Any, t: Any) -> Any:
            log_softmax = jax.nn.log_softmax(network(jax.nn.relu, False, params, x), axis=1)
            return -jnp.mean(jnp.take_along_axis(log_softmax, t[:, None], axis=1))

        return self.sgd_step(jax.value_and_grad(loss))

    def torch_loss(self) -> Program:
        from torch.nn import functional

        def loss(params: Tree, x: Any, t: Any) -> Any:
            return functional.cross_entropy(network(functional.relu, False, params, x), t.long())

        return loss

    def torch(self) -> Program:
        import torch

        gradient = torch.func.grad_and_value(self.torch_loss())

        def step(params: Tree, x: Any, t: Any) -> Any:
            g, value = gradient(params, x, t)
            for p, d in zip(leaves(params), leaves(g), strict=True):
                p.sub_(d, alpha=RATE)
            return params, value

        return step

    def torch_eager(self) -> Prepared:
        import torch

        from benchmarks.peers.torch import Training

        params, x, t = self.inputs()
        return Training(self.torch_loss(), lambda parameters: torch.optim.SGD(parameters, lr=RATE), params, (x, t))

    def pytensor(self) -> Program:
        import pytensor.tensor as pt
        from pytensor.tensor.special import log_softmax

        def gradient(params: Tree, x: Any, t: Any) -> Any:
            y = network(lambda s: pt.maximum(s, np.float32(0)), False, params, x)
            loss = -pt.mean(log_softmax(y, axis=1)[pt.arange(100), t])
            return loss, rebuilt(params, pt.grad(loss, leaves(params)))

        return self.sgd_step(gradient)

    def autograd(self) -> Program:
        import autograd.numpy as anp
        from autograd import value_and_grad
        from autograd.scipy.special import logsumexp

        def loss(params: Tree, x: Any, t: Any) -> Any:
            y = network(lambda s: anp.maximum(s, 0), False, params, x)
            return anp.mean(logsumexp(y, axis=1) - y[np.arange(100), t])

        return self.sgd_step(value_and_grad(loss))


class Embedding(Workload):
    """A linear model on rows gathered from a table: the gradient adds into the rows, some of them several times."""

    name = "embedding-gradient"
    dtype = np.float32
    derivative = True

    def __init__(self, words: int, batch: int) -> None:
        self.words, self.batch = words, batch
        self.title = f"embedding: value and gradient of a {words:,} × 64 table, {batch:,} look-ups, float32"

    def inputs(self) -> tuple[Array, ...]:
        draw = rng()
        table = draw.standard_normal((self.words, 64), np.float32)
        w = draw.standard_normal(64, np.float32)
        return table, w, draw.integers(0, self.words, self.batch).astype(np.int32)

    def numpy(self) -> Program:
        def gradient(table: Any, w: Any, words: Any) -> Any:
            y = table[words] @ w
            rows = (2 / len(words) * y)[:, None] * w
            g = np.zeros_like(table)
            np.add.at(g, words, rows)
            return np.mean(y * y), g

        return gradient

    def graphc(self) -> Program:
        import graphc

        return graphc.value_and_grad(lambda table, w, words: np.mean((table[words] @ w) ** 2))

    def jax(self) -> Program:
        import jax
        import jax.numpy as jnp

        return jax.value_and_grad(lambda table, w, words: jnp.mean((table[words] @ w) ** 2))

    def torch(self) -> Program:
        import torch

        from benchmarks.peers.torch import value_and_grad

        def loss(table: Any, w: Any, words: Any) -> Any:
            return torch.mean((torch.nn.functional.embedding(words, table) @ w) ** 2)

        return value_and_grad(loss, (0,))

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        def gradient(table: Any, w: Any, words: Any) -> Any:
            loss = pt.mean((table[words] @ w) ** 2)
            return loss, pt.grad(loss, table)

        return gradient

    def autograd(self) -> Program:
        import autograd.numpy as anp
        from autograd import value_and_grad

        return value_and_grad(lambda table, w, words: anp.mean(anp.dot(table[words], w) ** 2))


def rows(quick: bool) -> list[Workload]:
    return [
        LogisticRegression(2_000 if quick else 20_000, 100),
        ExponentialNetwork(),
        Mnist(250 if quick else 1000),
        Embedding(2_000 if quick else 20_000, 500 if quick else 5_000),
    ]
