"""GELU, softmax, layer normalisation, logsumexp, and a sum of squares: elementwise code around reductions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.prepared import Array, Program
from benchmarks.workload import Unavailable, Workload, rng

GELU_SCALE = math.sqrt(2 / math.pi)


class Float32(Workload):
    """A workload on one float32 matrix, or on a vector."""

    dtype = np.float32
    what = ""

    def __init__(self, *shape: int) -> None:
        self.shape = shape
        self.title = f"{self.what}, {' × '.join(f'{n:,}' for n in shape)} float32"

    def inputs(self) -> tuple[Array, ...]:
        return (rng().standard_normal(self.shape, np.float32),)


class Gelu(Float32):
    """The tanh form of GELU (Hendrycks and Gimpel, 2016)."""

    name = "gelu"
    what = "GELU, tanh form"

    def numpy(self) -> Program:
        def gelu(x: Any) -> Any:
            return 0.5 * x * (1 + np.tanh(GELU_SCALE * (x + 0.044715 * x * x * x)))

        return gelu

    def jax(self) -> Program:
        import jax

        return lambda x: jax.nn.gelu(x, approximate=True)

    def torch(self) -> Program:
        import torch

        return lambda x: torch.nn.functional.gelu(x, approximate="tanh")

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        return lambda x: 0.5 * x * (1 + pt.tanh(GELU_SCALE * (x + 0.044715 * x * x * x)))

    def numba(self) -> Program:
        from benchmarks.peers.numba import njit

        half, one, scale, cubic = (np.float32(v) for v in (0.5, 1, GELU_SCALE, 0.044715))

        @njit
        def gelu(x: Any) -> Any:
            out = np.empty_like(x)
            for i in range(x.size):
                y = x[i]
                out[i] = half * y * (one + math.tanh(scale * (y + cubic * y * y * y)))
            return out

        return gelu

    def numexpr(self) -> Program:
        import numexpr

        constants = {"half": np.float32(0.5), "scale": np.float32(GELU_SCALE), "cubic": np.float32(0.044715)}
        text = "half * x * (1 + tanh(scale * (x + cubic * x * x * x)))"
        numexpr.validate(text, local_dict={"x": self.inputs()[0], **constants})
        return lambda x: numexpr.re_evaluate(local_dict={"x": x, **constants})


class Softmax(Float32):
    """Softmax of every row."""

    name = "softmax"
    what = "softmax of rows"

    def numpy(self) -> Program:
        def softmax(x: Any) -> Any:
            e = np.exp(x - np.max(x, axis=1, keepdims=True))
            return e / np.sum(e, axis=1, keepdims=True)

        return softmax

    def jax(self) -> Program:
        import jax

        return lambda x: jax.nn.softmax(x, axis=1)

    def torch(self) -> Program:
        import torch

        return lambda x: torch.softmax(x, 1)

    def pytensor(self) -> Program:
        from pytensor.tensor.special import softmax

        return lambda x: softmax(x, axis=1)

    def numba(self) -> Program:
        from benchmarks.peers.numba import njit

        @njit
        def softmax(x: Any) -> Any:
            out = np.empty_like(x)
            for i in range(x.shape[0]):
                largest = x[i, 0]
                for j in range(x.shape[1]):
                    largest = max(largest, x[i, j])
                total = np.float32(0)
                for j in range(x.shape[1]):
                    out[i, j] = math.exp(x[i, j] - largest)
                    total += out[i, j]
                for j in range(x.shape[1]):
                    out[i, j] /= total
            return out

        return softmax


def layer_norm(xp: Any, x: Any, gain: Any, bias: Any) -> Any:
    """Layer normalisation (Ba, Kiros and Hinton, 2016)."""
    mean = xp.mean(x, axis=1, keepdims=True)
    centred = x - mean
    variance = xp.mean(centred * centred, axis=1, keepdims=True)
    return centred / xp.sqrt(variance + 1e-5) * gain + bias


class LayerNorm(Float32):
    """Layer normalisation of every row, with gain and bias."""

    name = "layernorm"
    what = "layer normalisation"

    def inputs(self) -> tuple[Array, ...]:
        draw = rng()
        x = draw.standard_normal(self.shape, np.float32)
        width = self.shape[1]
        return x, draw.random(width, np.float32) + np.float32(0.5), draw.standard_normal(width, np.float32)

    def numpy(self) -> Program:
        return lambda *arrays: layer_norm(np, *arrays)

    def jax(self) -> Program:
        import jax.numpy as jnp

        return lambda *arrays: layer_norm(jnp, *arrays)

    def torch(self) -> Program:
        import torch

        return lambda x, gain, bias: torch.nn.functional.layer_norm(x, x.shape[1:], gain, bias)

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        return lambda *arrays: layer_norm(pt, *arrays)

    def numba(self) -> Program:
        from benchmarks.peers.numba import njit

        one, epsilon = np.float32(1), np.float32(1e-5)

        @njit
        def layer_norm(x: Any, gain: Any, bias: Any) -> Any:
            out = np.empty_like(x)
            width = np.float32(x.shape[1])
            for i in range(x.shape[0]):
                mean = np.float32(0)
                for j in range(x.shape[1]):
                    mean += x[i, j]
                mean /= width
                variance = np.float32(0)
                for j in range(x.shape[1]):
                    variance += (x[i, j] - mean) * (x[i, j] - mean)
                inverse = one / math.sqrt(variance / width + epsilon)
                for j in range(x.shape[1]):
                    out[i, j] = (x[i, j] - mean) * inverse * gain[j] + bias[j]
            return out

        return layer_norm


class LayerNormGradient(LayerNorm):
    """The gradient of layer normalisation by its three arguments, for a given cotangent."""

    name = "layernorm-gradient"
    what = "gradient of layer normalisation"
    derivative = True

    def inputs(self) -> tuple[Array, ...]:
        return (*super().inputs(), rng(1).standard_normal(self.shape, np.float32))

    def numpy(self) -> Program:
        def gradient(x: Any, gain: Any, bias: Any, cotangent: Any) -> Any:
            centred = x - np.mean(x, axis=1, keepdims=True)
            inverse = 1 / np.sqrt(np.mean(centred * centred, axis=1, keepdims=True) + 1e-5)
            normal = centred * inverse
            g = cotangent * gain
            along = np.mean(g * normal, axis=1, keepdims=True)
            dx = (g - np.mean(g, axis=1, keepdims=True) - normal * along) * inverse
            return dx, np.sum(cotangent * normal, axis=0), np.sum(cotangent, axis=0)

        return gradient

    def graphc(self) -> Program:
        import graphc

        def product(x: Any, gain: Any, bias: Any, cotangent: Any) -> Any:
            return np.sum(layer_norm(np, x, gain, bias) * cotangent)

        return graphc.grad(product, argnums=(0, 1, 2))

    def jax(self) -> Program:
        import jax
        import jax.numpy as jnp

        def gradient(x: Any, gain: Any, bias: Any, cotangent: Any) -> Any:
            _, pullback = jax.vjp(lambda *arrays: layer_norm(jnp, *arrays), x, gain, bias)
            return pullback(cotangent)

        return gradient

    def torch(self) -> Program:
        import torch

        from benchmarks.peers.torch import pullback

        def forward(x: Any, gain: Any, bias: Any) -> Any:
            return torch.nn.functional.layer_norm(x, x.shape[1:], gain, bias)

        return pullback(forward)

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        def gradient(x: Any, gain: Any, bias: Any, cotangent: Any) -> Any:
            return pt.grad(None, [x, gain, bias], known_grads={layer_norm(pt, x, gain, bias): cotangent})

        return gradient

    def numba(self) -> Program:
        raise Unavailable("Numba has no derivatives")

    def autograd(self) -> Program:
        import autograd.numpy as anp
        from autograd import make_vjp

        def gradient(x: Any, gain: Any, bias: Any, cotangent: Any) -> Any:
            pullback, _ = make_vjp(lambda arrays: layer_norm(anp, *arrays))((x, gain, bias))
            return pullback(cotangent)

        return gradient


class LogSumExp(Float32):
    """log of the sum of exponentials of every column."""

    name = "logsumexp-columns"
    what = "logsumexp over the first axis"

    def numpy(self) -> Program:
        def logsumexp(x: Any) -> Any:
            largest = np.max(x, axis=0)
            return largest + np.log(np.sum(np.exp(x - largest), axis=0))

        return logsumexp

    def jax(self) -> Program:
        from jax.scipy.special import logsumexp

        return lambda x: logsumexp(x, axis=0)

    def torch(self) -> Program:
        import torch

        return lambda x: torch.logsumexp(x, 0)

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        return lambda x: pt.logsumexp(x, axis=0)

    def numba(self) -> Program:
        from benchmarks.peers.numba import njit

        @njit
        def logsumexp(x: Any) -> Any:
            rows, columns = x.shape
            largest = x[0].copy()
            for i in range(rows):
                for j in range(columns):
                    largest[j] = max(largest[j], x[i, j])
            total = np.zeros_like(largest)
            for i in range(rows):
                for j in range(columns):
                    total[j] += math.exp(x[i, j] - largest[j])
            for j in range(columns):
                total[j] = largest[j] + math.log(total[j])
            return total

        return logsumexp


class Standardise(Float32):
    """Every column to mean 0 and standard deviation 1."""

    name = "standardise-columns"
    what = "normalisation over the first axis"

    def numpy(self) -> Program:
        return lambda x: (x - np.mean(x, axis=0)) / np.std(x, axis=0)

    def jax(self) -> Program:
        import jax.numpy as jnp

        return lambda x: (x - jnp.mean(x, axis=0)) / jnp.std(x, axis=0)

    def torch(self) -> Program:
        import torch

        def standardise(x: Any) -> Any:
            deviation, mean = torch.std_mean(x, dim=0, correction=0)
            return (x - mean) / deviation

        return standardise

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        return lambda x: (x - pt.mean(x, axis=0)) / pt.std(x, axis=0)

    def numba(self) -> Program:
        from benchmarks.peers.numba import njit

        one = np.float32(1)

        @njit
        def standardise(x: Any) -> Any:
            rows, columns = x.shape
            mean = np.zeros(columns, np.float32)
            for i in range(rows):
                for j in range(columns):
                    mean[j] += x[i, j]
            for j in range(columns):
                mean[j] /= np.float32(rows)
            inverse = np.zeros(columns, np.float32)
            for i in range(rows):
                for j in range(columns):
                    inverse[j] += (x[i, j] - mean[j]) * (x[i, j] - mean[j])
            for j in range(columns):
                inverse[j] = one / math.sqrt(inverse[j] / np.float32(rows))
            out = np.empty_like(x)
            for i in range(rows):
                for j in range(columns):
                    out[i, j] = (x[i, j] - mean[j]) * inverse[j]
            return out

        return standardise


class SumOfSquares(Float32):
    """A full reduction: fast, and as exact as it may be."""

    name = "sum-of-squares"
    what = "sum of squares"
    tolerance = 2.0**16

    def numpy(self) -> Program:
        return lambda x: np.dot(x, x)

    def reference(self) -> list[Array]:
        (x,) = self.inputs()
        return [np.asarray(math.fsum(x.astype(np.float64) ** 2))]  # squares of float32 are exact in float64

    def graphc(self) -> Program:
        return lambda x: np.sum(x * x)

    def jax(self) -> Program:
        import jax.numpy as jnp

        return lambda x: jnp.sum(x * x)

    def torch(self) -> Program:
        import torch

        return lambda x: torch.sum(x * x)

    def torch_eager(self) -> Program:
        import torch

        return lambda x: torch.dot(x, x)

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        return lambda x: pt.sum(x * x)

    def numba(self) -> Program:
        from benchmarks.peers.numba import njit

        @njit
        def sum_of_squares(x: Any) -> Any:
            total = np.float32(0)
            for i in range(x.size):
                total += x[i] * x[i]
            return total

        return sum_of_squares

    def numexpr(self) -> Program:
        import numexpr

        text = "sum(x * x)"
        numexpr.validate(text, local_dict={"x": self.inputs()[0]})
        return lambda x: numexpr.re_evaluate(local_dict={"x": x})


def rows(quick: bool) -> list[Workload]:
    height = 256 if quick else 2048
    return [
        Gelu(100_000 if quick else 1_000_000),
        Softmax(height, 1024),
        LayerNorm(height, 1024),
        LayerNormGradient(height, 1024),
        LogSumExp(height, 1024),
        Standardise(height, 1024),
        SumOfSquares(1_000_000 if quick else 10_000_000),
    ]
