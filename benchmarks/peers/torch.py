"""PyTorch on its own tensors: eager, and `torch.compile`.

Without derivatives it runs under `torch.inference_mode`. Where matrix products dominate, `torch.compile` is tried in
its default and its max-autotune mode, and the faster is kept: on a CPU the modes differ in how products are done.
https://docs.pytorch.org/docs/stable/generated/torch.compile.html
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.peers import Peer
from benchmarks.prepared import Array, Calls, Prepared, Program, Steps
from benchmarks.tree import leaves, mapped, rebuilt
from benchmarks.workload import Workload

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def value_and_grad(loss: Program, argnums: tuple[int, ...]) -> Program:
    """Value and gradients; by `torch.func` where it is compiled, which the compiler sees through, else by the tape."""
    gradient = torch.func.grad_and_value(loss, argnums)

    def compiled(*args: Any) -> Any:
        g, value = gradient(*args)
        return value, g

    def eager(*args: Any) -> Any:
        args = tuple(a.detach().requires_grad_() if k in argnums else a for k, a in enumerate(args))
        value = loss(*args)
        return value.detach(), torch.autograd.grad(value, [args[k] for k in argnums])

    def value_and_gradient(*args: Any) -> Any:
        return compiled(*args) if torch.compiler.is_compiling() else eager(*args)

    return value_and_gradient


def pullback(f: Program) -> Program:
    """From the arguments of `f` and a cotangent to the gradients by all arguments."""

    def gradient(*given: Any) -> Any:
        *args, cotangent = given
        if torch.compiler.is_compiling():
            return torch.func.vjp(f, *args)[1](cotangent)
        args = [a.detach().requires_grad_() for a in args]
        return torch.autograd.grad(f(*args), args, cotangent)

    return gradient


def tensors(tree: Any) -> Any:
    """Fresh tensors."""
    return mapped(lambda leaf: torch.tensor(leaf), tree)


def host(tensor: Any) -> Array:
    array: Array = tensor.detach().numpy()
    return array


def ready(program: Program, workload: Workload) -> Prepared:
    if not workload.derivative:
        program = torch.inference_mode()(program)
    if workload.carry:
        return Steps(program, lambda: tensors(workload.inputs()), workload.carry, host=host)
    return Calls(program, tensors(workload.inputs()), host=host)


class Training(Prepared):
    """A training step as PyTorch users write it: a loss, `backward()`, and an optimiser that works in place.

    `state_of(optimiser, parameters)` lists the optimiser's state for comparison with the reference.
    """

    def __init__(
        self,
        loss: Program,
        optimiser: Callable[[list[Any]], Any],
        params: Any,
        data: Sequence[Array],
        state_of: Callable[[Any, list[Any]], list[Any]] = lambda optimiser, parameters: [],
    ) -> None:
        self.loss, self.optimiser, self.params = loss, optimiser, params
        self.data = tensors(tuple(data))
        self.state_of = state_of
        self.reset()

    def reset(self) -> None:
        self.parameters = [torch.tensor(p, requires_grad=True) for p in leaves(self.params)]
        self.tree = rebuilt(self.params, self.parameters)
        self.steps = self.optimiser(self.parameters)

    def run(self, calls: int) -> None:
        loss, tree, data, optimiser = self.loss, self.tree, self.data, self.steps
        for _ in range(calls):
            optimiser.zero_grad()
            value = loss(tree, *data)
            value.backward()
            optimiser.step()
        self.value = value

    def results(self) -> list[Array]:
        self.reset()
        self.run(1)
        found = [*self.parameters, *self.state_of(self.steps, self.parameters), self.value]
        return [np.array(host(tensor)) for tensor in found]


class Eager(Peer):
    """PyTorch without its compiler."""

    def version(self) -> str:
        return str(torch.__version__)

    def prepare(self, workload: Workload) -> Prepared:
        program = workload.torch_eager()
        return program if isinstance(program, Prepared) else ready(program, workload)


class Compiled(Peer):
    """`torch.compile` of the whole program, without graph breaks."""

    def version(self) -> str:
        return str(torch.__version__)

    def prepare(self, workload: Workload) -> Prepared:
        torch.compiler.reset()
        modes = ("default", "max-autotune-no-cudagraphs") if workload.flops else ("default",)
        choices = []
        for mode in modes:
            program = torch.compile(workload.torch(), mode=mode, fullgraph=True, dynamic=False)
            choices.append(ready(program, workload))
        return min(choices, key=_seconds) if len(choices) > 1 else choices[0]


def _seconds(prepared: Prepared) -> float:
    """The best of a few calls, after the one that compiles."""
    prepared.run(1)
    found = []
    for _ in range(5):
        start = time.perf_counter()
        prepared.run(1)
        found.append(time.perf_counter() - start)
    prepared.reset()
    return min(found)


PEERS = {"torch.compile": Compiled, "torch eager": Eager}
