"""How much of its time LLVM spends on a kernel: which functions are called, and how carefully code is made.

Measured on kernels of benchmarks and on chains and fans of elementary functions, with 1,000 and 100,000 elements:

- A function that is called can't be computed side by side with another one. Where functions do not wait for each other
  that costs a tenth to a half of the speed; where each waits for the one before, nothing.
- Values that live across calls lie in memory anyway. So where most of a kernel is calls, to choose registers with care
  gains a twentieth of the speed, and takes most of LLVM's time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from graphc.backends.numpy.llvm.machine import BRIEF, BUSY, LONG
from graphc.backends.numpy.llvm.schedule import WEIGHTS, Work, weight
from graphc.kernels import Apply, Kernel, Reduce

CALLED: Final = 24  # transcendental functions: more of them are called in any case
REPEATED: Final = 3  # written out again, of those that wait for each other: more of them are called
WAITING: Final = 0.75  # of the functions follow one on another, at least
MANY: Final = 100  # values of all kernels of a program: from here on a second look at their order gains nothing
BETWEEN: Final = 3  # other operations for each call, at most, where code is made in a hurry
MUCH: Final = 1e8  # additions: kernels that are known to cost more are worth all care


def calls(kernel: Kernel) -> bool:
    """Whether the kernel calls its transcendental functions, instead of having them written out."""
    found = _transcendental(kernel)
    if len(found) <= REPEATED:
        return False
    again = len(found) - len({found[i].op for i in found})
    return len(found) > CALLED or (again > REPEATED and _depth(kernel, found) >= WAITING * len(found))


def level(kernels: Sequence[Kernel]) -> int:
    """`BUSY`, `LONG` or `BRIEF`, for the module of all kernels of a program."""
    if sum(len(kernel.values) for kernel in kernels) <= MANY:
        return BUSY
    if any(Work.of(kernel).each > MUCH for kernel in kernels):
        return LONG
    called = sum(len(_transcendental(kernel)) for kernel in kernels if calls(kernel))
    applied = sum(isinstance(value, Apply) for kernel in kernels for value in kernel.values)
    return BRIEF if applied <= (1 + BETWEEN) * called else LONG


def _transcendental(kernel: Kernel) -> dict[int, Apply]:
    """The elementary functions that take tens of instructions, by the numbers of their values."""
    return {
        i: value
        for i, value in enumerate(kernel.values)
        if isinstance(value, Apply) and weight(value) == WEIGHTS["transcendental"]
    }


def _depth(kernel: Kernel, among: dict[int, Apply]) -> int:
    """How many of some values follow one on another, at most."""
    found: list[int] = []
    for i, value in enumerate(kernel.values):
        operands = value.operands if isinstance(value, Apply) else (value.operand,) if isinstance(value, Reduce) else ()
        found.append(max((found[j] for j in operands), default=0) + (i in among))
    return max(found, default=0)
