"""Gaussian process regression: length, height and noise of the kernel by maximum likelihood, with exact derivatives.

The likelihood takes a Cholesky factorisation; its gradient and its products with the Hessian come from the same trace
and go to SciPy's Newton method. Then the process is compiled once for predictions at any number of points.

    python examples/gaussian_process.py [FOLDER]     the picture goes to FOLDER, by default out/
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import minimize

import graphc
from graphc.scipy.linalg import solve_triangular

POINTS = 30
NOISE = 0.15


def kernel(params, a, b):
    """The covariance of the process at points a with that at points b, as a matrix."""
    distance = (a[:, None] - b) / np.exp(params["length"])
    return np.exp(2 * params["height"] - 0.5 * distance**2)


def factor(params, x):
    """The Cholesky factor of the covariance of noisy observations at points x."""
    return np.linalg.cholesky(kernel(params, x, x) + np.exp(2 * params["noise"]) * np.eye(x.shape[0]))


def surprise(params, x, y):
    """Minus the logarithm of the likelihood of observations y (Rasmussen and Williams, 2006, eq. 2.30)."""
    lower = factor(params, x)
    white = solve_triangular(lower, y, lower=True)
    return 0.5 * white @ white + np.sum(np.log(np.diagonal(lower))) + 0.5 * x.shape[0] * np.log(2 * np.pi)


def predict(params, x, y, at):
    """Mean and standard deviation of the process at new points, given observations."""
    lower = factor(params, x)
    across = solve_triangular(lower, kernel(params, x, at), lower=True)
    mean = across.T @ solve_triangular(lower, y, lower=True)
    return mean, np.sqrt(np.exp(2 * params["height"]) - np.sum(across * across, axis=0))


def observations(seed=0):
    """Noisy values of a function that is known here, and to nobody else."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(-4, 4, POINTS))
    return x, truth(x) + NOISE * rng.normal(size=POINTS)


def truth(x):
    return np.sin(1.5 * x) + 0.3 * x


def main(folder):
    x, y = observations()
    start = {"length": 0.0, "height": 0.0, "noise": -1.0}  # logarithms: any number will do
    compiled = graphc.compile(surprise, dict.fromkeys(start, "f64[]"), f"f64[{POINTS}]", f"f64[{POINTS}]")
    fun, jac, hessp = objective = compiled.scipy()
    first = objective.flatten(start)
    found = minimize(fun, first, args=(x, y), jac=jac, hessp=hessp, method="trust-ncg")
    fitted = objective.unflatten(found.x)
    print(f"surprise: {fun(first, x, y):.4f} at first, {found.fun:.4f} after {found.nit} steps")
    print("fitted:", ", ".join(f"{name} {np.exp(value):.4f}" for name, value in fitted.items()))

    at = np.linspace(-6, 6, 200)
    mean, deviation = graphc.jit(predict)(fitted, x, y, at)
    inside = np.abs(mean - truth(at))[np.abs(at) < 4] < 2 * deviation[np.abs(at) < 4]
    print(f"truth within two deviations, between the observations: {inside.mean():.0%}")

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(
        at, mean - 2 * deviation, mean + 2 * deviation, color="tab:blue", alpha=0.2, label="two deviations"
    )
    axes.plot(at, mean, color="tab:blue", label="mean")
    axes.plot(at, truth(at), color="black", linestyle="--", linewidth=1, label="truth")
    axes.plot(x, y, "o", color="tab:red", markersize=4, label="observations")
    axes.set(title="Gaussian process, fitted by its likelihood", xlabel="x", ylabel="y")
    axes.legend(loc="upper left")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "gaussian_process.png", dpi=120)
    print("picture:", folder / "gaussian_process.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
