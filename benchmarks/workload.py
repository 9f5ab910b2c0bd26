"""What a workload is: inputs, a reference, and the program that a user of each library would write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from benchmarks.prepared import Array, Prepared, Program
from benchmarks.tree import leaves, mapped


class Unavailable(Exception):
    """A library has no program for a workload; the message says why."""


class Workload(ABC):
    """One row of the benchmark.

    A subclass says its programs, one method to a library, each giving a function of the arguments. A method that is
    not overridden says why there is none. Programs import their library inside the method: a worker loads one library
    only.
    """

    name: str
    """The key of the row."""

    title: str
    """What is computed, with sizes, for the tables."""

    dtype: type[np.floating[Any]] = np.float64
    """The precision of every floating-point argument and result."""

    derivative = False
    """Whether it needs derivatives."""

    carry = 0
    """How many results are the first arguments of the next call; such arguments may be donated or changed in place."""

    memory = False
    """Whether its peak memory is measured too."""

    flops: float | None = None
    """Floating-point operations of its matrix products, where those dominate."""

    note = ""
    """What graphc cannot do yet here, and does instead."""

    tolerance = 512.0
    """The largest error allowed, in units of the precision's epsilon relative to the largest element."""

    @abstractmethod
    def inputs(self) -> tuple[Any, ...]:
        """The arguments: NumPy arrays, or trees of them; the same at every call."""

    @abstractmethod
    def numpy(self) -> Program:
        """Plain NumPy; derivatives are written by hand."""

    def graphc(self) -> Program:
        """The function that graphc compiles: the NumPy code itself, unless it needs derivatives."""
        if self.derivative:
            raise NotImplementedError
        return self.numpy()

    def jax(self) -> Program:
        raise Unavailable("not written for jax")

    def torch(self) -> Program:
        raise Unavailable("not written for torch")

    def torch_eager(self) -> Program | Prepared:
        """Where PyTorch without its compiler is written otherwise."""
        return self.torch()

    def pytensor(self) -> Program:
        """A function of symbolic variables."""
        raise Unavailable("not written for PyTensor")

    def numba(self) -> Program:
        if self.derivative:
            raise Unavailable("Numba has no derivatives")
        raise Unavailable("not written for Numba")

    def numexpr(self) -> Program:
        if self.derivative:
            raise Unavailable("NumExpr has no derivatives")
        raise Unavailable("NumExpr has elementwise expressions only")

    def casadi(self) -> Any:
        """A `benchmarks.peers.casadi.Symbolic`."""
        raise Unavailable("not written for CasADi")

    def autograd(self) -> Program:
        if not self.derivative:
            raise Unavailable("autograd runs NumPy itself: see NumPy")
        raise Unavailable("not written for autograd")

    def reference(self) -> list[Array]:
        """The results in higher precision: the NumPy program in float64 for float32, in long double for float64."""
        results = self.numpy()(*mapped(self.widened, self.inputs()))
        return [np.asarray(leaf) for leaf in leaves(results)]

    def widened(self, leaf: Any) -> Any:
        """An argument in the precision of the reference."""
        wide = np.float64 if self.dtype == np.float32 else np.longdouble
        array = np.asarray(leaf)
        return array.astype(wide) if array.dtype.kind == "f" else array.copy()

    def error(self, results: list[Array], reference: list[Array]) -> float:
        """The largest error of the results, in units of epsilon.

        Each array is judged relative to its largest element; one that is fed to the next call, by how much it changed.

        Raises:
            ValueError: a result has another dtype or shape, or is not finite where the reference is.
        """
        if len(results) != len(reference):
            raise ValueError(f"{len(results)} results where {len(reference)} were expected")
        before = [np.asarray(leaf) for leaf in leaves(self.inputs()[: self.carry])]
        worst = 0.0
        for position, (result, wanted) in enumerate(zip(results, reference, strict=True)):
            if result.dtype != self.dtype:
                raise ValueError(f"result {position} is {result.dtype} where {np.dtype(self.dtype)} was expected")
            if result.squeeze().shape != wanted.squeeze().shape:
                raise ValueError(f"result {position} has shape {result.shape} where {wanted.shape} was expected")
            if not np.isfinite(result).all():
                raise ValueError(f"result {position} is not finite")
            difference = np.abs(result.squeeze() - wanted.squeeze()).max()
            scale = np.abs(wanted - before[position]).max() if position < len(before) else np.abs(wanted).max()
            worst = max(worst, float(difference / (scale or 1.0)))
        return worst / float(np.finfo(self.dtype).eps)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)
