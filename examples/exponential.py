"""Learn y = e^x with a small network: the forward pass, its gradient and the Adam update compiled as one function.

The network is 1-16-32-1 with leaky ReLU after every layer, the loss the mean squared error, the optimiser Adam; each
of the 10,000 iterations sees a fresh batch of 100 points from [0, 1).

    python examples/exponential.py [FOLDER]     pictures go to FOLDER, by default out/
"""

import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import graphc

BATCH = 100
ITERATIONS = 10_000
ALPHA, BETA1, BETA2, EPS = 0.001, 0.9, 0.999, 1e-8


def init(sizes, rng):
    """Weights from N(0, 1 / fan-in) and zero biases, one entry per layer."""
    params = {}
    for n, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        scale = np.sqrt(1 / fan_in)
        params[f"l{n}"] = {
            "W": rng.normal(0.0, scale, (fan_out, fan_in)).astype(np.float32),
            "b": np.zeros(fan_out, np.float32),
        }
    return params


def leaky_relu(x):
    return np.where(x >= 0, x, 0.2 * x)


def predict(params, x):
    """The network: x of shape (n, 1) to predictions of the same shape."""
    for layer in params.values():
        x = leaky_relu(x @ layer["W"].T + layer["b"])
    return x


def loss(params, x, t):
    """The mean squared error against the targets t."""
    return np.mean((predict(params, x) - t) ** 2)


def adam(p, g, m, v, rate):
    """One Adam update of one array (Kingma and Ba, 2015), with Chainer's placement of eps: (p, m, v) after it."""
    m = m + (1 - BETA1) * (g - m)
    v = v + (1 - BETA2) * (g * g - v)
    return p - rate * m / (np.sqrt(v) + EPS), m, v


def step(params, state, iteration, x, t):
    """Everything one iteration does: loss, gradient, and the update of every array and of the optimiser's state."""
    value, gradient = graphc.value_and_grad(loss)(params, x, t)
    # only Python numbers: a NumPy float64 (np.sqrt would give one) would turn the float32 parameters into float64
    rate = ALPHA * (1 - BETA2**iteration) ** 0.5 / (1 - BETA1**iteration)
    new_params, new_state = {}, {}
    for layer, arrays in params.items():
        new_params[layer], new_state[layer] = {}, {}
        for name, p in arrays.items():
            m, v = state[layer][name]
            p, m, v = adam(p, gradient[layer][name], m, v, rate)
            new_params[layer][name], new_state[layer][name] = p, (m, v)
    return value, new_params, new_state


def train(iterations=ITERATIONS, seed=0):
    """Train from a seed: the final parameters, and the loss of every iteration."""
    rng = np.random.RandomState(seed)  # the same numbers as np.random after np.random.seed(seed)
    params = init((1, 16, 32, 1), rng)
    state = {
        name: {k: (np.zeros_like(p), np.zeros_like(p)) for k, p in layer.items()} for name, layer in params.items()
    }
    compiled = graphc.jit(step, donate_argnums=(0, 1))  # the new parameters and state lie where the old ones did
    losses = []
    for iteration in range(1, iterations + 1):
        x = rng.rand(BATCH, 1).astype(np.float32)
        value, params, state = compiled(params, state, iteration, x, np.exp(x))
        losses.append(float(value))
    return params, losses


def plot(params, losses, folder):
    """Two pictures: the loss on a logarithmic axis, and the network beside the function it learned."""
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    axes.semilogy(range(1, len(losses) + 1), losses, linewidth=0.6)
    axes.set(title="Learning $e^x$", xlabel="iteration", ylabel="mean squared error of the batch")
    axes.grid(alpha=0.3)
    figure.savefig(folder / "exponential_loss.png", dpi=120)

    x = np.linspace(0, 1, 101, dtype=np.float32)[:, None]
    figure = Figure(figsize=(6.4, 5.5), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(2, 1))
    above.plot(x, np.exp(x), linewidth=4, color="#bcd7ee", label="$e^x$")
    above.plot(x, predict(params, x), linewidth=1.2, color="#c0262d", label="network")
    above.set(title="The fit")
    above.legend()
    below.plot(x, predict(params, x) - np.exp(x), linewidth=1, color="#c0262d")
    below.axhline(0, color="#888888", linewidth=0.6)
    below.set(xlabel="x", ylabel="network $-$ $e^x$")
    figure.savefig(folder / "exponential_fit.png", dpi=120)


def main(folder="out"):
    start = time.perf_counter()
    params, losses = train()
    print(f"{len(losses):,} iterations in {time.perf_counter() - start:.1f} s, compilation included")
    for iteration in (1, 10, 100, 1_000, 10_000):
        if iteration <= len(losses):
            print(f"  loss at iteration {iteration:>6,}: {losses[iteration - 1]:.6g}")
    x = np.array([[0.2]], np.float32)
    print(f"the network at 0.2: {predict(params, x).item():.5f}, e^0.2: {np.exp(0.2):.5f}")
    plot(params, losses, Path(folder))
    print(f"pictures: {folder}/exponential_loss.png, {folder}/exponential_fit.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
