"""Monte Carlo with derivatives: the price of an option by simulation, and how it moves with what it depends on.

A share worth S today follows a geometric Brownian motion; a call option pays max(S_T - K, 0) at time T. Its price is
the discounted mean of that over simulated ends, and the derivatives of the mean are the means of the derivatives: one
gradient of the simulation gives all of them. Black and Scholes (1973) have a formula for both, to compare with.

    python examples/monte_carlo.py [FOLDER]     pictures go to FOLDER, by default out/
"""

import math
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import graphc
from graphc import random

SPOT, STRIKE, RATE, VOLATILITY, TIME = 100.0, 105.0, 0.03, 0.25, 1.0
NAMES = {"spot": "delta", "volatility": "vega", "rate": "rho"}


def payoffs(market, noise):
    """The discounted payoff for each number of standard normal noise."""
    drift = (market["rate"] - 0.5 * market["volatility"] ** 2) * TIME
    end = market["spot"] * np.exp(drift + market["volatility"] * math.sqrt(TIME) * noise)
    return np.exp(-market["rate"] * TIME) * np.maximum(end - STRIKE, 0)


@graphc.jit(static_argnames="paths")
def simulate(key, market, paths):
    """The price, its standard error and its derivatives by everything in the market, from so many paths."""
    noise = random.normal(key, paths)
    paid = payoffs(market, noise)
    price, slopes = graphc.value_and_grad(lambda m: np.mean(payoffs(m, noise)))(market)
    return price, np.std(paid) / math.sqrt(paths), slopes


def market(spot=SPOT):
    return {"spot": spot, "volatility": VOLATILITY, "rate": RATE}


def normal_distribution(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


def black_scholes(spot=SPOT):
    """The price and its derivatives in closed form."""
    spread = VOLATILITY * math.sqrt(TIME)
    d1 = (math.log(spot / STRIKE) + (RATE + VOLATILITY**2 / 2) * TIME) / spread
    d2 = d1 - spread
    discounted = STRIKE * math.exp(-RATE * TIME)
    price = spot * normal_distribution(d1) - discounted * normal_distribution(d2)
    density = math.exp(-(d1**2) / 2) / math.sqrt(2 * math.pi)
    return price, {
        "spot": normal_distribution(d1),
        "volatility": spot * density * math.sqrt(TIME),
        "rate": TIME * discounted * normal_distribution(d2),
    }


def table(key, paths=1_000_000):
    price, error, slopes = simulate(key, market(), paths=paths)
    exact, exact_slopes = black_scholes()
    print(f"{paths:,} paths from the key {key.tolist()}")
    print(f"price : {price:.4f} ± {error:.4f}, by the formula {exact:.4f}")
    for name, greek in NAMES.items():
        print(f"{greek:6}: {slopes[name]:.4f}, by the formula {exact_slopes[name]:.4f}")
    return price, error, slopes


def convergence(key):
    """The running mean of one million payoffs: the first n numbers of a draw do not depend on how many follow."""
    paid = payoffs(market(), random.normal(key, 1_000_000))
    counts = np.unique(np.geomspace(100, len(paid), 300).astype(int))
    return counts, np.cumsum(paid)[counts - 1] / counts, np.std(paid) / np.sqrt(counts)


def curves(key, paths=2_000):
    """Delta at many spot prices, all from the same noise, which makes the curve smooth; and by the formula."""
    spots = np.linspace(60.0, 160.0, 41)
    found = [simulate(key, market(spot), paths=paths)[2]["spot"] for spot in spots]
    return spots, np.array(found), np.array([black_scholes(spot)[1]["spot"] for spot in spots])


def plot(keys, folder):
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    exact, _ = black_scholes()
    for number, key in enumerate(keys):
        counts, means, errors = convergence(key)
        left.semilogx(counts, means, linewidth=1.2, label=f"key {number}")
    left.fill_between(counts, exact - 2 * errors, exact + 2 * errors, color="0.85", label="two standard errors")
    left.axhline(exact, color="black", linewidth=0.8, label="Black–Scholes")
    left.set(title="Price of the call", xlabel="paths", ylabel="mean payoff", ylim=(exact - 3, exact + 3))
    left.legend(fontsize=8)
    spots, found, formula = curves(keys[0])
    right.plot(spots, formula, color="black", linewidth=0.8, label="Black–Scholes")
    right.plot(spots, found, "o", markersize=3.5, label="gradient of 2,000 paths")
    right.axvline(STRIKE, color="0.7", linewidth=0.8, linestyle="--", label="strike")
    right.set(title="Delta, the derivative by the spot price", xlabel="spot price", ylabel="delta")
    right.legend(fontsize=8)
    figure.savefig(folder / "monte_carlo.png", dpi=120)
    print(f"picture: {folder}/monte_carlo.png")


def main(folder="out"):
    keys = random.split(random.key(1973), 3)
    table(keys[0])
    plot(keys, Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
