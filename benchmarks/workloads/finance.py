"""Black–Scholes prices and greeks, and the gradient of a GARCH likelihood."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.prepared import Array, Program
from benchmarks.workload import Unavailable, Workload, rng

RATE = 0.02
ROOT_HALF = 0.5**0.5


def call_price(xp: Any, erf: Any, spot: Any, strike: Any, time: Any, volatility: Any) -> Any:
    """The price of a European call (Black and Scholes, 1973)."""
    deviation = volatility * xp.sqrt(time)
    d1 = (xp.log(spot / strike) + (RATE + 0.5 * volatility * volatility) * time) / deviation
    d2 = d1 - deviation
    n1 = 0.5 * (1 + erf(d1 * ROOT_HALF))
    n2 = 0.5 * (1 + erf(d2 * ROOT_HALF))
    return spot * n1 - strike * xp.exp(-RATE * time) * n2


def market(n: int, dtype: Any) -> tuple[Array, Array, Array, Array]:
    draw = rng()
    spot = draw.uniform(50, 150, n)
    strike = spot * draw.uniform(0.7, 1.3, n)
    time = draw.uniform(0.1, 2, n)
    volatility = draw.uniform(0.1, 0.5, n)
    return spot.astype(dtype), strike.astype(dtype), time.astype(dtype), volatility.astype(dtype)


class BlackScholes(Workload):
    """Prices of many options at once."""

    def __init__(self, name: str, n: int, dtype: type[np.floating[Any]]) -> None:
        self.name = name
        self.n = n
        self.dtype = dtype
        self.title = f"Black–Scholes prices of {n:,} calls, {np.dtype(dtype)}"

    def inputs(self) -> tuple[Array, Array, Array, Array]:
        return market(self.n, self.dtype)

    def widened(self, leaf: Any) -> Any:
        return np.asarray(leaf, np.float64)  # SciPy's erf has no long double

    def numpy(self) -> Program:
        from scipy.special import erf

        return lambda *market: call_price(np, erf, *market)

    def jax(self) -> Program:
        import jax.numpy as jnp
        from jax.scipy.special import erf

        return lambda *market: call_price(jnp, erf, *market)

    def torch(self) -> Program:
        import torch

        return lambda *market: call_price(torch, torch.erf, *market)

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        return lambda *market: call_price(pt, pt.erf, *market)

    def numba(self) -> Program:
        from benchmarks.peers.numba import njit

        half, one, rate, root_half = (self.dtype(v) for v in (0.5, 1, RATE, ROOT_HALF))

        @njit
        def prices(spot: Any, strike: Any, time: Any, volatility: Any) -> Any:
            out = np.empty_like(spot)
            for i in range(spot.size):
                deviation = volatility[i] * math.sqrt(time[i])
                drift = (rate + half * volatility[i] * volatility[i]) * time[i]
                d1 = (math.log(spot[i] / strike[i]) + drift) / deviation
                d2 = d1 - deviation
                n1 = half * (one + math.erf(d1 * root_half))
                n2 = half * (one + math.erf(d2 * root_half))
                out[i] = spot[i] * n1 - strike[i] * math.exp(-rate * time[i]) * n2
            return out

        return prices

    def numexpr(self) -> Program:
        raise Unavailable("NumExpr has no erf")

    def casadi(self) -> Any:
        import casadi

        from benchmarks.peers.casadi import elementwise

        return elementwise(lambda *market: call_price(casadi, casadi.erf, *market), 4, self.n)


class Greeks(BlackScholes):
    """The sum of the prices, and its derivatives: delta, vega and theta (up to its sign) of every option."""

    derivative = True
    ARGNUMS = (0, 2, 3)

    def __init__(self, name: str, n: int, dtype: type[np.floating[Any]]) -> None:
        super().__init__(name, n, dtype)
        self.title = f"Black–Scholes greeks (gradients) of {n:,} calls, {np.dtype(dtype)}"

    def numpy(self) -> Program:
        from scipy.special import erf

        def greeks(spot: Any, strike: Any, time: Any, volatility: Any) -> Any:
            root = np.sqrt(time)
            deviation = volatility * root
            d1 = (np.log(spot / strike) + (RATE + 0.5 * volatility * volatility) * time) / deviation
            n1 = 0.5 * (1 + erf(d1 * ROOT_HALF))
            n2 = 0.5 * (1 + erf((d1 - deviation) * ROOT_HALF))
            discounted = strike * np.exp(-RATE * time)
            density = spot * np.exp(-0.5 * d1 * d1) * (1 / math.sqrt(2 * math.pi))
            theta = density * volatility / (2 * root) + RATE * discounted * n2
            return np.sum(spot * n1 - discounted * n2), (n1, theta, density * root)

        return greeks

    def graphc(self) -> Program:
        from scipy.special import erf

        import graphc

        return graphc.value_and_grad(lambda *market: np.sum(call_price(np, erf, *market)), argnums=self.ARGNUMS)

    def jax(self) -> Program:
        import jax
        import jax.numpy as jnp
        from jax.scipy.special import erf

        return jax.value_and_grad(lambda *market: jnp.sum(call_price(jnp, erf, *market)), argnums=self.ARGNUMS)

    def torch(self) -> Program:
        import torch

        from benchmarks.peers.torch import value_and_grad

        return value_and_grad(lambda *market: call_price(torch, torch.erf, *market).sum(), self.ARGNUMS)

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        def greeks(*market: Any) -> Any:
            total = pt.sum(call_price(pt, pt.erf, *market))
            return total, pt.grad(total, [market[k] for k in self.ARGNUMS])

        return greeks

    def numba(self) -> Program:
        raise Unavailable("Numba has no derivatives")

    def casadi(self) -> Any:
        raise Unavailable("CasADi sums no mapped function: it has a graph of scalars or of dense matrices")

    def autograd(self) -> Program:
        import autograd.numpy as anp
        from autograd import value_and_grad
        from autograd.scipy.special import erf

        def total(*market: Any) -> Any:
            return anp.sum(call_price(anp, erf, *market))

        def greeks(*market: Any) -> Any:
            return value_and_grad(total, argnum=self.ARGNUMS)(*market)

        return greeks


class Garch(Workload):
    """The negative log-likelihood of a GARCH(1,1) model (Bollerslev, 1986) and its gradient: a loop over days."""

    name = "garch-gradient"
    note = "graphc unrolls the loop: its graphs hold no loops yet"
    derivative = True
    tolerance = 2.0**14

    def __init__(self, days: int) -> None:
        self.days = days
        self.title = f"GARCH(1,1) likelihood and gradient over {days} days, float64"

    def inputs(self) -> tuple[Array, Array]:
        returns = 0.01 * rng().standard_normal(self.days)
        return np.array([1e-5, 0.1, 0.8]), returns

    def numpy(self) -> Program:
        def gradient(p: Any, returns: Any) -> Any:
            h, dh = p[0] / (1 - p[1] - p[2]), p[0] / (1 - p[1] - p[2]) ** 2
            derivative = np.stack([1 / (1 - p[1] - p[2]), dh, dh])
            total, slope = 0 * h, 0 * derivative
            for r in returns:
                square = r * r
                total = total + np.log(h) + square / h
                slope = slope + derivative * (1 / h - square / (h * h))
                derivative = p[2] * derivative + np.stack([1 + 0 * h, square, h])
                h = p[0] + p[1] * square + p[2] * h
            return 0.5 * total, 0.5 * slope

        return gradient

    def loop(self, log: Any) -> Program:
        """The likelihood as a plain Python loop."""

        def likelihood(p: Any, returns: Any) -> Any:
            h = p[0] / (1 - p[1] - p[2])
            total = 0.0
            for day in range(self.days):
                square = returns[day] * returns[day]
                total = total + log(h) + square / h
                h = p[0] + p[1] * square + p[2] * h
            return 0.5 * total

        return likelihood

    def graphc(self) -> Program:
        import graphc

        return graphc.value_and_grad(self.loop(np.log))

    def jax(self) -> Program:
        import jax
        import jax.numpy as jnp

        def likelihood(p: Any, returns: Any) -> Any:
            def day(h: Any, r: Any) -> Any:
                square = r * r
                return p[0] + p[1] * square + p[2] * h, jnp.log(h) + square / h

            _, terms = jax.lax.scan(day, p[0] / (1 - p[1] - p[2]), returns)
            return 0.5 * jnp.sum(terms)

        return jax.value_and_grad(likelihood)

    def torch(self) -> Program:
        import torch

        from benchmarks.peers.torch import value_and_grad

        return value_and_grad(self.loop(torch.log), (0,))

    def pytensor(self) -> Program:
        import pytensor
        import pytensor.tensor as pt

        def gradient(p: Any, returns: Any) -> Any:
            def day(r: Any, h: Any, p: Any) -> Any:
                square = r * r
                return p[0] + p[1] * square + p[2] * h, pt.log(h) + square / h

            (_, terms) = pytensor.scan(
                day,
                sequences=[returns],
                outputs_info=[p[0] / (1 - p[1] - p[2]), None],
                non_sequences=[p],
                return_updates=False,
            )
            total = 0.5 * pt.sum(terms)
            return total, pt.grad(total, p)

        return gradient

    def casadi(self) -> Any:
        import casadi

        from benchmarks.peers.casadi import Symbolic

        p, returns = casadi.SX.sym("p", 3), casadi.SX.sym("returns", self.days)
        total = self.loop(casadi.log)(p, returns)
        return Symbolic([p, returns], [total, casadi.gradient(total, p)])

    def autograd(self) -> Program:
        import autograd.numpy as anp
        from autograd import value_and_grad

        return value_and_grad(self.loop(anp.log))


def rows(quick: bool) -> list[Workload]:
    n = 100_000 if quick else 1_000_000
    return [
        BlackScholes("black-scholes-f32", n, np.float32),
        BlackScholes("black-scholes-f64", n, np.float64),
        Greeks("greeks-f32", n, np.float32),
        Greeks("greeks-f64", n, np.float64),
        Garch(50 if quick else 250),
    ]
