"""The kernels of compiled functions, and the modules that machine code is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import graphc
from graphc.backends.numpy.llvm import effort, generator
from graphc.backends.numpy.llvm.code import Part
from graphc.backends.numpy.llvm.machine import Machine
from graphc.kernels import Kernel

Generator = Literal["llvm", "ufunc"]


def kernels_of(f: Callable[..., Any], *specs: Any, kernels: Generator = "ufunc") -> list[Kernel]:
    """The kernels of a compiled function: by default those that every generator makes code for, and none made."""
    plan = graphc.compile(f, *specs, kernels=kernels).plan
    return [step.kernel for step in plan.steps if step.kernel is not None]


def kernel_of(f: Callable[..., Any], *specs: Any, kernels: Generator = "ufunc") -> Kernel:
    """The only one."""
    (kernel,) = kernels_of(f, *specs, kernels=kernels)
    return kernel


def parts_of(kernels: Sequence[Kernel], machine: Machine, fast: bool = False, hurried: bool = False) -> list[Part]:
    """Their module, and those of the functions that they call."""
    return generator.parts(kernels, [*map(effort.look, kernels)], machine, fast, hurried)
