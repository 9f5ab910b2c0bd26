"""Learn y = e^x with a small network: the forward pass, its gradient and the Adam update compiled as one function.

The network is 1-16-32-1 with leaky ReLU after every layer, the loss the mean squared error, the optimiser Adam; each
of the 10,000 iterations sees a fresh batch of 100 points from [0, 1).

    python examples/exponential.py [FOLDER]     pictures go to FOLDER, by default out/
"""

import time

import numpy as np

import graphc

BATCH = 100
ITERATIONS = 10_000
ALPHA, BETA1, BETA2, EPS = 0.001, 0.9, 0.999, 1e-8


def init(sizes, rng):
    """Weights from N(0, 1 / fan-in) and zero biases, one entry per layer."""
    params = {}
    for n, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:]), start=1):
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
    rate = ALPHA * np.sqrt(1 - BETA2**iteration) / (1 - BETA1**iteration)
    new_params, new_state = {}, {}
    for layer, arrays in params.items():
        new_params[layer], new_state[layer] = {}, {}
        for name, p in arrays.items():
            m, v = state[layer][name]
            p, m, v = adam(p, gradient[layer][name], m, v, rate)
            new_params[layer][name], new_state[layer][name] = p, (m, v)
    return value, new_params, new_state


def train(iterations=ITERATIONS, seed=0):
    """Train from a seed; the parameters and the loss of every iteration."""
    rng = np.random.RandomState(seed)
    params = init((1, 16, 32, 1), rng)
    state = {l: {k: (np.zeros_like(p), np.zeros_like(p)) for k, p in a.items()} for l, a in params.items()}
    compiled = graphc.jit(step)
    losses = []
    for iteration in range(1, iterations + 1):
        x = rng.rand(BATCH, 1).astype(np.float32)
        value, params, state = compiled(params, state, iteration, x, np.exp(x))
        losses.append(float(value))
    return params, losses


if __name__ == "__main__":
    t=time.perf_counter()
    p,l=train()
    print(time.perf_counter()-t)
    g=np.load("/work/shared/golden_chainer_mlp.npz")
    l=np.array(l); r=np.abs(l/g["losses"]-1)
    for i in (0,9,99,999,9999): print(i+1,l[i],g["losses"][i],r[:i+1].max())
    print(np.abs(predict(p,g["probe_x"])-g["probe_y"]).max())
