"""Chains of cheap elementwise operations: the cost of a call where arrays are small, of memory where they are large."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.prepared import Array, Program
from benchmarks.workload import Workload, rng

# Every factor is below one: a chain fed to itself settles instead of growing. The absolute values keep a compiler that
# may reassociate from folding the chain into one multiplication.
FACTORS = tuple(0.9 - 0.03 * k for k in range(6))
TERMS = tuple(0.3 + 0.02 * k for k in range(6))


def chain(x: Any) -> Any:
    """Twenty operations: six times a product, a difference and an absolute value; a product and a sum."""
    for factor, term in zip(FACTORS, TERMS, strict=True):
        x = abs(x * factor - term)
    return x * 0.9 + 0.1


class Chain(Workload):
    """Twenty operations on each element, into a fresh array or, `carried`, fed to the next call."""

    def __init__(self, name: str, n: int, dtype: type[np.floating[Any]], carried: bool = False) -> None:
        self.name = name
        self.n = n
        self.dtype = dtype
        self.carry = int(carried)
        self.memory = n >= 1_000_000 and dtype == np.float64
        feeding = ", fed to itself" if carried else ""
        self.title = f"20 cheap operations on {n:,} {np.dtype(dtype)}{feeding}"

    def inputs(self) -> tuple[Array]:
        return (rng().random(self.n, self.dtype),)

    def numpy(self) -> Program:
        def in_place(x: Any) -> Any:
            for factor, term in zip(FACTORS, TERMS, strict=True):
                x *= factor
                x -= term
                np.abs(x, out=x)
            x *= 0.9
            x += 0.1
            return x

        return in_place if self.carry else chain

    def graphc(self) -> Program:
        return chain

    def jax(self) -> Program:
        return chain

    def torch(self) -> Program:
        def in_place(x: Any) -> Any:
            for factor, term in zip(FACTORS, TERMS, strict=True):
                x.mul_(factor).sub_(term).abs_()
            return x.mul_(0.9).add_(0.1)

        return in_place if self.carry else chain

    def pytensor(self) -> Program:
        return chain

    def numba(self) -> Program:
        from benchmarks.peers.numba import njit

        factors = tuple(self.dtype(factor) for factor in FACTORS)
        terms = tuple(self.dtype(term) for term in TERMS)
        last_factor, last_term = self.dtype(0.9), self.dtype(0.1)

        @njit
        def one(y: Any) -> Any:
            for k in range(6):
                y = abs(y * factors[k] - terms[k])
            return y * last_factor + last_term

        @njit
        def in_place(x: Any) -> Any:
            for i in range(x.size):
                x[i] = one(x[i])
            return x

        @njit
        def fresh(x: Any) -> Any:
            out = np.empty_like(x)
            for i in range(x.size):
                out[i] = one(x[i])
            return out

        return in_place if self.carry else fresh

    def numexpr(self) -> Program:
        import numexpr

        text = "x"
        for k in range(6):
            text = f"abs({text} * a{k} - b{k})"
        text += " * a + b"
        # constants in the text are float64, and would make everything so
        constants = {"a": self.dtype(0.9), "b": self.dtype(0.1)}
        constants |= {f"a{k}": self.dtype(factor) for k, factor in enumerate(FACTORS)}
        constants |= {f"b{k}": self.dtype(term) for k, term in enumerate(TERMS)}
        numexpr.validate(text, local_dict={"x": self.inputs()[0], **constants})

        def evaluate(x: Any) -> Any:
            constants["x"] = x
            return numexpr.re_evaluate(local_dict=constants)

        def evaluate_in_place(x: Any) -> Any:
            return numexpr.evaluate(text, local_dict={**constants, "x": x}, out=x)

        return evaluate_in_place if self.carry else evaluate

    def casadi(self) -> Any:
        from benchmarks.peers.casadi import elementwise

        return elementwise(chain, 1, self.n)


class LogisticMap(Workload):
    """Eight steps of the logistic map (May, 1976) from many starting points: a small simulation as one expression."""

    name = "logistic-map"
    tolerance = 2.0**16  # chaos: each step may double an error, as rounding itself

    def __init__(self, n: int) -> None:
        self.n = n
        self.title = f"8 steps of the logistic map from {n:,} points, float64"

    def inputs(self) -> tuple[Array]:
        return (rng().random(self.n),)

    def numpy(self) -> Program:
        def simulate(x: Any) -> Any:
            for _ in range(8):
                x = 3.9 * x * (1 - x)
            return x

        return simulate

    jax = torch = pytensor = numpy

    def numba(self) -> Program:
        from benchmarks.peers.numba import njit

        @njit
        def simulate(x: Any) -> Any:
            out = np.empty_like(x)
            for i in range(x.size):
                y = x[i]
                for _ in range(8):
                    y = 3.9 * y * (1 - y)
                out[i] = y
            return out

        return simulate

    def numexpr(self) -> Program:
        import numexpr

        # two steps at a time: an expression that holds x twice in each step would grow without end
        text = "3.9 * (3.9 * x * (1 - x)) * (1 - 3.9 * x * (1 - x))"

        def simulate(x: Any) -> Any:
            x = numexpr.evaluate(text, local_dict={"x": x})
            for _ in range(3):
                numexpr.evaluate(text, local_dict={"x": x}, out=x)
            return x

        return simulate

    def casadi(self) -> Any:
        from benchmarks.peers.casadi import elementwise

        return elementwise(self.numpy(), 1, self.n)


def rows(quick: bool) -> list[Workload]:
    n = 1_000_000 if quick else 10_000_000
    return [
        Chain("call-overhead", 10, np.float64),
        Chain("chain-f32", n, np.float32),
        Chain("chain-f64", n, np.float64),
        Chain("chain-f64-carried", n, np.float64, carried=True),
        LogisticMap(n // 10),
    ]
