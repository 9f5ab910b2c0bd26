"""A heat stencil by slicing, the gradient of an N-body potential, and second derivatives of Rosenbrock's function."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.prepared import Array, Program
from benchmarks.workload import Unavailable, Workload, rng

DIFFUSION = 0.2


def laplacian(u: Any) -> Any:
    return u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1]


class Heat(Workload):
    """One explicit step of the heat equation on a square, the border held fixed; fed to itself."""

    name = "heat-stencil"
    carry = 1

    def __init__(self, n: int) -> None:
        self.n = n
        self.title = f"heat equation, one step by slicing, {n:,} × {n:,} float64, fed to itself"

    def inputs(self) -> tuple[Array]:
        return (rng().random((self.n, self.n)),)

    def numpy(self) -> Program:
        def step(u: Any) -> Any:
            u[1:-1, 1:-1] += DIFFUSION * laplacian(u)
            return u

        return step

    def graphc(self) -> Program:
        return lambda u: u.at[1:-1, 1:-1].add(DIFFUSION * laplacian(u))

    jax = graphc
    torch = numpy

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        return lambda u: pt.inc_subtensor(u[1:-1, 1:-1], DIFFUSION * laplacian(u))

    def numba(self) -> Program:
        from benchmarks.peers.numba import njit

        @njit
        def kernel(u: Any, out: Any) -> None:
            out[0], out[-1] = u[0], u[-1]
            for i in range(1, u.shape[0] - 1):
                out[i, 0], out[i, -1] = u[i, 0], u[i, -1]
                for j in range(1, u.shape[1] - 1):
                    around = u[i + 1, j] + u[i - 1, j] + u[i, j + 1] + u[i, j - 1]
                    out[i, j] = u[i, j] + DIFFUSION * (around - 4 * u[i, j])

        return self.double_buffered(kernel)

    def double_buffered(self, kernel: Any) -> Program:
        """Steps that write into one of two arrays in turn."""
        spare = [np.empty((self.n, self.n))]

        def step(u: Any) -> Any:
            out = spare.pop()
            kernel(u, out)
            spare.append(u)
            return out

        return step

    def numexpr(self) -> Program:
        import numexpr

        text = "c + 0.2 * (s + n + e + w - 4 * c)"

        def kernel(u: Any, out: Any) -> None:
            out[0], out[-1], out[:, 0], out[:, -1] = u[0], u[-1], u[:, 0], u[:, -1]
            views = {"c": u[1:-1, 1:-1], "s": u[2:, 1:-1], "n": u[:-2, 1:-1], "e": u[1:-1, 2:], "w": u[1:-1, :-2]}
            numexpr.evaluate(text, local_dict=views, out=out[1:-1, 1:-1])

        return self.double_buffered(kernel)

    def casadi(self) -> Any:
        raise Unavailable("CasADi has a graph node for every element or copies every slice")


SOFTENING = 0.05


class NBody(Workload):
    """The gravitational energy of a softened N-body system, and its gradient by the positions: the forces."""

    name = "nbody-gradient"
    derivative = True

    def __init__(self, n: int) -> None:
        self.n = n
        self.title = f"N-body energy and forces, {n} bodies, float64"

    def inputs(self) -> tuple[Array, Array]:
        draw = rng()
        return draw.standard_normal((self.n, 3)), draw.uniform(0.5, 1.5, self.n)

    @staticmethod
    def energy(xp: Any) -> Program:
        """Half the sum over all ordered pairs; a body's pair with itself is a constant."""

        def energy(q: Any, m: Any) -> Any:
            d = q[:, None, :] - q[None, :, :]
            squares = xp.sum(d * d, -1) + SOFTENING**2
            return -0.5 * xp.sum(m[:, None] * m[None, :] / xp.sqrt(squares))

        return energy

    def numpy(self) -> Program:
        def gradient(q: Any, m: Any) -> Any:
            d = q[:, None, :] - q[None, :, :]
            inverse = 1 / np.sqrt(np.sum(d * d, axis=-1) + SOFTENING**2)
            pairs = m[:, None] * m[None, :] * inverse
            return -0.5 * np.sum(pairs), np.sum((pairs * inverse * inverse)[:, :, None] * d, axis=1)

        return gradient

    def graphc(self) -> Program:
        import graphc

        return graphc.value_and_grad(self.energy(np))

    def jax(self) -> Program:
        import jax
        import jax.numpy as jnp

        return jax.value_and_grad(self.energy(jnp))

    def torch(self) -> Program:
        import torch

        from benchmarks.peers.torch import value_and_grad

        return value_and_grad(self.energy(torch), (0,))

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        def gradient(q: Any, m: Any) -> Any:
            energy = self.energy(pt)(q, m)
            return energy, pt.grad(energy, q)

        return gradient

    def casadi(self) -> Any:
        import casadi

        from benchmarks.peers.casadi import Symbolic

        q, m = casadi.MX.sym("q", self.n, 3), casadi.MX.sym("m", self.n)
        squares: Any = SOFTENING**2
        for k in range(3):
            columns = casadi.repmat(q[:, k], 1, self.n)
            difference = columns - columns.T
            squares = squares + difference * difference
        energy = -0.5 * casadi.bilin(1 / casadi.sqrt(squares), m, m)
        return Symbolic([q, m], [energy, casadi.gradient(energy, q)])

    def autograd(self) -> Program:
        import autograd.numpy as anp
        from autograd import value_and_grad

        return value_and_grad(self.energy(anp))


def rosenbrock(xp: Any) -> Program:
    """Rosenbrock's function (1960) of many variables."""

    def f(x: Any) -> Any:
        return xp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    return f


class Hessian(Workload):
    """The Hessian of Rosenbrock's function of 100 variables."""

    name = "rosenbrock-hessian"
    derivative = True

    def __init__(self, n: int = 100) -> None:
        self.n = n
        self.title = f"Hessian of Rosenbrock's function of {n} variables, float64"

    def inputs(self) -> tuple[Array, ...]:
        return (rng().standard_normal(self.n),)

    def numpy(self) -> Program:
        def hessian(x: Any) -> Any:
            off = -400 * x[:-1]
            diagonal = np.zeros_like(x)
            diagonal[:-1] = 1200 * x[:-1] ** 2 - 400 * x[1:] + 2
            diagonal[1:] += 200
            return np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)

        return hessian

    def graphc(self) -> Program:
        import graphc

        return graphc.hessian(rosenbrock(np))

    def jax(self) -> Program:
        import jax
        import jax.numpy as jnp

        return jax.hessian(rosenbrock(jnp))

    def torch(self) -> Program:
        import torch

        return torch.func.hessian(rosenbrock(torch))

    def pytensor(self) -> Program:
        import pytensor.tensor as pt
        from pytensor.gradient import hessian

        return lambda x: hessian(rosenbrock(pt)(x), x)

    def casadi(self) -> Any:
        import casadi

        from benchmarks.peers.casadi import Symbolic

        x = casadi.SX.sym("x", self.n)
        value = casadi.sum1(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
        hessian, _ = casadi.hessian(value, x)
        return Symbolic([x], [casadi.densify(hessian)])

    def autograd(self) -> Program:
        import autograd.numpy as anp
        from autograd import hessian

        return hessian(rosenbrock(anp))


class Hvp(Hessian):
    """The product of that Hessian with a vector, without forming it."""

    name = "rosenbrock-hvp"

    def __init__(self, n: int = 100) -> None:
        super().__init__(n)
        self.title = f"Hessian–vector product of Rosenbrock's function of {n} variables, float64"

    def inputs(self) -> tuple[Array, ...]:
        return (*super().inputs(), rng(1).standard_normal(self.n))

    def numpy(self) -> Program:
        def product(x: Any, v: Any) -> Any:
            result = np.zeros_like(x)
            result[:-1] = (1200 * x[:-1] ** 2 - 400 * x[1:] + 2) * v[:-1] - 400 * x[:-1] * v[1:]
            result[1:] += 200 * v[1:] - 400 * x[:-1] * v[:-1]
            return result

        return product

    def graphc(self) -> Program:
        import graphc

        return graphc.hvp(rosenbrock(np))

    def jax(self) -> Program:
        import jax
        import jax.numpy as jnp

        return lambda x, v: jax.jvp(jax.grad(rosenbrock(jnp)), (x,), (v,))[1]

    def torch(self) -> Program:
        import torch

        return lambda x, v: torch.func.jvp(torch.func.grad(rosenbrock(torch)), (x,), (v,))[1]

    def torch_eager(self) -> Program:
        import torch

        f = rosenbrock(torch)

        def product(x: Any, v: Any) -> Any:
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(f(x), x, create_graph=True)
            return torch.autograd.grad(slope, x, v)[0]

        return product

    def pytensor(self) -> Program:
        import pytensor.tensor as pt

        def product(x: Any, v: Any) -> Any:
            slope = pt.grad(rosenbrock(pt)(x), x)
            return pt.grad(pt.sum(slope * v), x, consider_constant=[v])

        return product

    def casadi(self) -> Any:
        import casadi

        from benchmarks.peers.casadi import Symbolic

        x, v = casadi.SX.sym("x", self.n), casadi.SX.sym("v", self.n)
        value = casadi.sum1(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
        return Symbolic([x, v], [casadi.jtimes(casadi.gradient(value, x), x, v)])

    def autograd(self) -> Program:
        import autograd.numpy as anp
        from autograd import hessian_vector_product

        return hessian_vector_product(rosenbrock(anp))


def rows(quick: bool) -> list[Workload]:
    return [Heat(256 if quick else 1000), NBody(128 if quick else 512), Hessian(), Hvp()]
