"""Train a classifier of the size of Chainer's MNIST example: 784-1000-1000-10, cross-entropy, SGD with momentum.

The whole step (loss, gradient, and the update of every array) is one compiled function, to which the parameters and
the optimiser's state are donated: what it returns lies in the same memory. There is no data set to load: the pictures
of ten classes are noisy mixtures of a few patterns.

    python examples/classifier.py [WIDTH]     WIDTH of the hidden layers, by default 1000
"""

import sys
import time
from itertools import pairwise

import numpy as np

import graphc

CLASSES, PIXELS, BATCH = 10, 784, 100
RATE, MOMENTUM = 0.02, 0.9


def init(sizes, rng):
    """Weights from N(0, 2 / fan-in) and zero biases, one entry per layer."""
    return [
        {
            "W": rng.normal(0.0, np.sqrt(2 / fan_in), (fan_in, fan_out)).astype(np.float32),
            "b": np.zeros(fan_out, np.float32),
        }
        for fan_in, fan_out in pairwise(sizes)
    ]


def logits(params, x):
    """The network: pictures of shape (n, 784) to scores of shape (n, 10)."""
    *hidden, last = params
    for layer in hidden:
        x = np.maximum(x @ layer["W"] + layer["b"], 0)
    return x @ last["W"] + last["b"]


def loss(params, x, labels):
    """The mean cross-entropy of the scores; `labels` are the numbers of the classes."""
    y = logits(params, x)
    y = y - np.max(y, axis=1, keepdims=True)
    right = y[np.arange(x.shape[0]), labels]
    return np.mean(np.log(np.sum(np.exp(y), axis=1)) - right)


def step(params, velocity, x, labels):
    """Everything that one batch does: the loss, the new parameters, the new velocity."""
    value, gradient = graphc.value_and_grad(loss)(params, x, labels)
    velocity = [{k: MOMENTUM * v[k] - RATE * g[k] for k in v} for v, g in zip(velocity, gradient, strict=True)]
    params = [{k: p[k] + v[k] for k in p} for p, v in zip(params, velocity, strict=True)]
    return value, params, velocity


def pictures(count, patterns, rng):
    """Some pictures and the numbers of their classes."""
    labels = rng.integers(0, CLASSES, count).astype(np.int32)
    shades = rng.normal(1.0, 0.3, (count, patterns.shape[1], 1))
    clean = np.sum(patterns[labels] * shades, axis=1)
    return (clean + rng.normal(0.0, 1.5, clean.shape)).astype(np.float32), labels


def train(width=1000, batches=120, seed=0):
    """Train from a seed: the losses, the share of new pictures that is classified rightly, and seconds for a step."""
    rng = np.random.default_rng(seed)
    patterns = rng.normal(0.0, 0.15, (CLASSES, 3, PIXELS))
    params = init((PIXELS, width, width, CLASSES), rng)
    velocity = [{k: np.zeros_like(p) for k, p in layer.items()} for layer in params]
    compiled = graphc.jit(step, donate_argnums=(0, 1))
    losses, seconds = [], []
    for _ in range(batches):
        x, labels = pictures(BATCH, patterns, rng)
        start = time.perf_counter()
        value, params, velocity = compiled(params, velocity, x, labels)
        seconds.append(time.perf_counter() - start)
        losses.append(float(value))
    x, labels = pictures(1000, patterns, rng)
    right = np.mean(np.argmax(logits(params, x), axis=1) == labels)
    return losses, float(right), sorted(seconds)[len(seconds) // 2]


def main(width="1000"):
    losses, right, seconds = train(int(width))
    print(f"{len(losses)} batches of {BATCH}, {1e3 * seconds:.2f} ms each")
    print(
        f"mean loss of the first ten batches: {np.mean(losses[:10]):.3f}, of the last ten: {np.mean(losses[-10:]):.3f}"
    )
    print(f"right: {100 * right:.1f} % of 1,000 new pictures")


if __name__ == "__main__":
    main(*sys.argv[1:])
