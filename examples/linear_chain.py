"""Gradient descent on a straight line, step by step: y = W x + b fitted to e^x on [0, 1).

Five steps of one point each show that the gradient is the one computed by hand; a thousand steps of twenty points
show the way downhill over the contours of the loss.

    python examples/linear_chain.py [FOLDER]     pictures go to FOLDER, by default out/
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import graphc

RATE = 0.01


def predict(params, x):
    return x * params["W"] + params["b"]


def loss(params, x, t):
    return np.mean((predict(params, x) - t) ** 2)


@graphc.jit
def step(params, x, t):
    """One step of gradient descent: the loss, the gradient, the new parameters."""
    value, gradient = graphc.value_and_grad(loss)(params, x, t)
    new = {name: p - RATE * gradient[name] for name, p in params.items()}
    return value, gradient, new


def batch(rng, size):
    x = rng.rand(size, 1).astype(np.float32)
    return x, np.exp(x)


def zeros():
    return {"W": np.float32(0), "b": np.float32(0)}


def by_hand(seed=0, steps=5):
    """Five steps of one point, beside dE/dW = 2(y - t)x and dE/db = 2(y - t); the rows that were printed."""
    rng, params, rows = np.random.RandomState(seed), zeros(), []
    print("step   W         b           2(y-t)x   dE/dW       2(y-t)    dE/db")
    for number in range(steps):
        x, t = batch(rng, 1)
        error = (predict(params, x) - t).item()
        _, gradient, new = step(params, x, t)
        row = (params["W"], params["b"], 2 * error * x.item(), gradient["W"], 2 * error, gradient["b"])
        print(f"{number}    {row[0]:8.6f}  {row[1]:8.6f}   {row[2]:9.6f}  {row[3]:9.6f}   {row[4]:9.6f}  {row[5]:9.6f}")
        rows.append(row)
        params = new
    return rows


def descend(seed=0, steps=1_000, size=20):
    """The parameters before every tenth step, and after the last."""
    rng, params, way = np.random.RandomState(seed), zeros(), []
    for number in range(steps):
        if number % 10 == 0:
            way.append((params["W"], params["b"]))
        _, _, params = step(params, *batch(rng, size))
    return np.array([*way, (params["W"], params["b"])])


def contours(count=60):
    """The loss over a grid of parameters: the same function, given arrays of parameters."""
    w, b = np.meshgrid(np.linspace(-1, 3, count), np.linspace(-1, 3, count))
    x = np.linspace(0, 1, 50)
    error = x * w[..., None] + b[..., None] - np.exp(x)
    return w, b, np.mean(error**2, axis=-1)


def least_squares():
    """The best line there is: the integral of (W x + b - e^x)² over [0, 1] is least here."""
    return 18 - 6 * np.e, 4 * np.e - 10


def plot(way, folder):
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axes = figure.subplots()
    w, b, z = contours()
    filled = axes.contourf(w, b, z, levels=np.geomspace(z.min(), z.max(), 24), norm="log", cmap="viridis")
    figure.colorbar(filled, label="mean squared error", format="%.2g")
    axes.plot(way[:, 0], way[:, 1], "o-", color="white", markersize=3, linewidth=0.8, label="every 10th step")
    axes.plot(*least_squares(), "r*", markersize=12, label="least squares")
    axes.set(title="Gradient descent on W x + b", xlabel="W", ylabel="b")
    axes.legend(facecolor="#666666", labelcolor="white")
    figure.savefig(folder / "linear_chain.png", dpi=120)
    print(f"picture: {folder}/linear_chain.png")


def main(folder="out"):
    by_hand()
    way = descend()
    print(f"after 1,000 steps: W = {way[-1, 0]:.4f}, b = {way[-1, 1]:.4f}")
    print("the best line:     W = {:.4f}, b = {:.4f}".format(*least_squares()))
    plot(way, Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
