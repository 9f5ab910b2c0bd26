"""How much of its time LLVM spends on kernels: which functions are called, and how carefully code is made.

Measured on the kernels of the benchmarks, and on chains and fans of elementary functions of 1,000 to 200,000 elements:

- A function that is called can't be computed side by side with another one. Where functions do not wait for each other
  that costs a tenth to a half of the speed; where each waits for the one before, nothing.
- In such a chain nothing else does, either: what lies in memory between two calls is there when it is needed. To choose
  registers with care gains a hundredth of the speed, and takes two thirds of LLVM's time.
- Kernels that call all functions, and are compiled in a hurry, take LLVM a tenth to a half of the time for the others,
  and take up to twice as long to run. So programs start with these, and get the others when they have run for a part
  of the time that making them takes: see `renewal`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Final

from graphc.backends.numpy.llvm import latency
from graphc.backends.numpy.llvm.machine import BRIEF, BUSY, LONG, Machine
from graphc.backends.numpy.llvm.schedule import WEIGHTS, weight
from graphc.errors import UnsupportedError
from graphc.kernels import Apply, Kernel, Reduce

CALLED: Final = 24  # transcendental functions: more of them are called in any case
REPEATED: Final = 3  # written out again, of those that wait for each other: more of them are called
WAITING: Final = 0.75  # of the functions follow one on another, at least
BETWEEN: Final = 4  # other operations for each call, at most, in a chain of calls
SELECTED: Final = 0.55  # milliseconds that care takes longer for a thousand characters of text
WRITTEN: Final = 3.0  # milliseconds that LLVM takes for a function that is written out
ABREAST: Final = 0.02  # and for an instruction of vectors side by side, which hurried kernels do without
ADDITIONS: Final = 1e7  # in a millisecond: between what `WEIGHTS` says of single and of double precision
ENOUGH: Final = 8.0  # milliseconds that a hurried start must save
ENOUGH_ABREAST: Final = 4.0  # the same where vectors go side by side: what that gains can wait a while
SHARE: Final = 0.25  # of these milliseconds a program may run before it is compiled with care
CALLS: Final = 10  # what spends its budget in fewer calls is compiled with care at once
CALL: Final = re.compile(r"= call .* @\w+_\d+x\w+\(")  # of a function of the mathematics
KERNEL: Final = re.compile(r"^define .*@kernel(\d+)\(", re.MULTILINE)
MANY: Final = 100  # values of all kernels of a program: from here on a second look at their order gains nothing


def calls(kernel: Kernel) -> bool:
    """Whether the kernel calls its transcendental functions, instead of having them written out."""
    found = _transcendental(kernel)
    return len(found) > CALLED or (_often(found) and _wait(kernel, found))


def level(kernels: Sequence[Kernel]) -> int:
    """`BUSY`, `LONG` or `BRIEF`, for the module of all kernels of a program."""
    if all(map(is_chain, kernels)):
        return BRIEF
    return LONG if sum(len(kernel.values) for kernel in kernels) > MANY else BUSY


def starts_hurried() -> bool:
    """Whether programs start in a hurry: ``GRAPHC_EFFORT`` is ``adaptive``, the default, or ``full``."""
    chosen = os.environ.get("GRAPHC_EFFORT") or "adaptive"
    if chosen not in ("adaptive", "full"):
        raise UnsupportedError(
            f"GRAPHC_EFFORT is {chosen!r}",
            expected="adaptive or full",
            actual=repr(chosen),
            fix="GRAPHC_EFFORT=full to compile with care at once; leave it out to do so when it pays",
        )
    return chosen == "adaptive"


def budget(
    kernels: Sequence[Kernel], machine: Machine, text: str, around: str, careful_around: bool, work: float | None
) -> float | None:
    """How many additions a program may cost before it is compiled with care; None if it had better be at once.

    text: the module of the kernels, in a hurry; around: that of the function around them, and whether it gains by care
    as well. work: what a call costs, if that is known.
    """
    longer = SELECTED * len(around) / 1000 if careful_around else 0.0
    abreast = 0
    if not all(map(is_chain, kernels)):
        abreast = sum(latency.instructions(kernel, machine) for kernel in kernels)
        longer += SELECTED * len(text) / 1000 + WRITTEN * _written(kernels, text) + ABREAST * abreast
    found = SHARE * longer * ADDITIONS
    if longer < (ENOUGH_ABREAST if abreast else ENOUGH) or (work is not None and work * CALLS >= found):
        return None
    return found


def _written(kernels: Sequence[Kernel], text: str) -> int:
    """How many of the calls in a module would be written out with care."""
    _, *functions = KERNEL.split(text)
    numbers, bodies = map(int, functions[::2]), functions[1::2]
    return sum(
        len(CALL.findall(body)) for number, body in zip(numbers, bodies, strict=True) if not calls(kernels[number])
    )


def is_chain(kernel: Kernel) -> bool:
    """Whether a kernel mostly calls functions, each of which waits for the one before."""
    found = _transcendental(kernel)
    if not _often(found):
        return False
    applied = sum(isinstance(value, Apply) for value in kernel.values)
    return applied <= (1 + BETWEEN) * len(found) and _wait(kernel, found)


def _often(found: Mapping[int, Apply]) -> bool:
    """Whether functions are there again and again."""
    return len(found) > REPEATED and len(found) - len({value.op for value in found.values()}) > REPEATED


def _transcendental(kernel: Kernel) -> dict[int, Apply]:
    """The elementary functions that take tens of instructions, by the numbers of their values."""
    return {
        i: value
        for i, value in enumerate(kernel.values)
        if isinstance(value, Apply) and weight(value) == WEIGHTS["transcendental"]
    }


def _wait(kernel: Kernel, functions: Mapping[int, Apply]) -> bool:
    """Whether some values nearly all follow one on another."""
    depths: list[int] = []
    for i, value in enumerate(kernel.values):
        operands = value.operands if isinstance(value, Apply) else (value.operand,) if isinstance(value, Reduce) else ()
        depths.append(max((depths[j] for j in operands), default=0) + (i in functions))
    return max(depths, default=0) >= WAITING * len(functions)
