"""Attention: the gradients of softmax(q kᵀ) v, as one layer of a transformer computes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.prepared import Array, Program
from benchmarks.workload import Workload, rng


def attention(xp: Any, q: Any, k: Any, v: Any) -> Any:
    """Scaled dot-product attention (Vaswani et al., 2017), for heads along the leading axes."""
    scores = xp.matmul(q, xp.swapaxes(k, -1, -2)) * q.shape[-1] ** -0.5
    e = xp.exp(scores - scores.max(axis=-1, keepdims=True))
    return xp.matmul(e / e.sum(axis=-1, keepdims=True), v)


class Attention(Workload):
    """The sum of the weighted results, and its gradients by queries, keys and values."""

    name = "attention-gradient"
    derivative = True
    dtype = np.float32

    def __init__(self, heads: int, length: int, width: int) -> None:
        self.shape = heads, length, width
        self.title = f"attention and its gradients, {heads} heads of {length} × {width}, float32"
        self.flops = 12.0 * heads * length * length * width

    def inputs(self) -> tuple[Array, ...]:
        draw = rng()
        return tuple(draw.standard_normal(self.shape, np.float32) for _ in range(4))

    def numpy(self) -> Program:
        def gradient(q: Any, k: Any, v: Any, c: Any) -> Any:
            scale = q.shape[-1] ** -0.5
            scores = q @ k.swapaxes(-1, -2) * scale
            e = np.exp(scores - scores.max(axis=-1, keepdims=True))
            p = e / e.sum(axis=-1, keepdims=True)
            out = p @ v
            g = c @ v.swapaxes(-1, -2)
            g = p * (g - (g * p).sum(axis=-1, keepdims=True)) * scale
            return np.sum(out * c), (g @ k, g.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ c)

        return gradient

    def graphc(self) -> Program:
        import graphc

        return graphc.value_and_grad(lambda q, k, v, c: np.sum(attention(np, q, k, v) * c), argnums=(0, 1, 2))

    def jax(self) -> Program:
        import jax
        import jax.numpy as jnp

        def loss(q: Any, k: Any, v: Any, c: Any) -> Any:
            p = jax.nn.softmax(jnp.matmul(q, jnp.swapaxes(k, -1, -2)) * q.shape[-1] ** -0.5, axis=-1)
            return jnp.sum(jnp.matmul(p, v) * c)

        return jax.value_and_grad(loss, argnums=(0, 1, 2))

    def torch(self) -> Program:
        import torch

        from benchmarks.peers.torch import value_and_grad

        def loss(q: Any, k: Any, v: Any, c: Any) -> Any:
            p = torch.softmax(torch.matmul(q, k.transpose(-1, -2)) * q.shape[-1] ** -0.5, dim=-1)
            return torch.sum(torch.matmul(p, v) * c)

        return value_and_grad(loss, (0, 1, 2))
