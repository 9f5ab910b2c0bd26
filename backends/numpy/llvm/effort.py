"""How much of its time LLVM spends on kernels: which functions are called, and how carefully code is made.

Measured on the kernels of the benchmarks, and on chains and fans of elementary functions of 1,000 to 200,000 elements:

- A function that is called can't be computed side by side with another one. Where functions do not wait for each other
  that costs a tenth to a half of the speed; where each waits for the one before, nothing.
- In such a chain nothing else does, either: what lies in memory between two calls is there when it is needed. To choose
  registers with care gains a hundredth of the speed, and takes two thirds of LLVM's time.
- Kernels that call all functions, have vectors of one register, and are compiled in a hurry, take LLVM a tenth to a
  half of the time for the others, and take up to twice as long to run. So programs start with these, and get the others
  when they have run for a part of the time that making them takes: see `renewal`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from graphc.backends.numpy.llvm.machine import BRIEF, BUSY, LONG
from graphc.backends.numpy.llvm.work import is_transcendental
from graphc.environment import choice
from graphc.kernels import Apply, Kernel, Reduce

CALLED: Final = 24  # transcendental functions: more of them are called in any case
REPEATED: Final = 3  # written out again, of those that wait for each other: more of them are called
WAITING: Final = 0.75  # of the functions follow one on another, at least
BETWEEN: Final = 4  # other operations for each call, at most, in a chain of calls
SELECTED: Final = 0.55  # milliseconds that care takes longer for a thousand characters of text
WRITTEN: Final = 3.0  # milliseconds that LLVM takes for a function that is written out
ABREAST: Final = 0.02  # and for an instruction of vectors side by side, which hurried kernels do without
NARROWER: Final = 0.012  # milliseconds that it takes longer for a value of a chain in two registers than in one
ADDITIONS: Final = 2e7  # in a millisecond: between what `WEIGHTS` says of single and of double precision
ENOUGH: Final = 3.0  # milliseconds that a hurried start must save
SHARE: Final = 0.25  # of these milliseconds a program may run before it is compiled with care
CALLS: Final = 4  # what spends its budget in fewer calls is compiled with care at once
CALL: Final = re.compile(r"= call .* @\w+_\d+x\w+\(")  # of a function of the mathematics
KERNEL: Final = re.compile(r"^define .*@kernel(\d+)\(", re.MULTILINE)
MANY: Final = 100  # values of all kernels of a program: from here on a second look at their order gains nothing


class Look(NamedTuple):
    """What one look at a kernel finds.

    calls: whether it calls its transcendental functions, instead of having them written out.
    chain: whether it mostly calls functions, each of which waits for the one before.
    values: how many values it has.
    """

    calls: bool
    chain: bool
    values: int


def look(kernel: Kernel) -> Look:
    """See `Look`."""
    functions = applied = 0
    ops: set[str] = set()
    depths: list[int] = []  # for each value how many functions wait for each other up to it
    for value in kernel.values:
        depth = 0
        if isinstance(value, Apply):
            applied += 1
            depth = max([depths[j] for j in value.operands], default=0)
            if is_transcendental(value.op):
                functions += 1
                depth += 1
                ops.add(value.op)
        elif isinstance(value, Reduce):
            depth = depths[value.operand]
        depths.append(depth)
    often = functions > REPEATED and functions - len(ops) > REPEATED
    wait = often and max(depths) >= WAITING * functions
    return Look(functions > CALLED or wait, wait and applied <= (1 + BETWEEN) * functions, len(depths))


def level(looks: Sequence[Look]) -> int:
    """`BUSY`, `LONG` or `BRIEF`, for the module of all kernels of a program."""
    if all(look.chain for look in looks):
        return BRIEF
    return LONG if sum(look.values for look in looks) > MANY else BUSY


def may_gain(looks: Sequence[Look], work: float | None) -> bool:
    """Whether kernels are compiled faster in a hurry, as far as is known without their text; `work` as for `budget`."""
    return level(looks) > BRIEF or _share(_narrower(looks), work) is not None


def starts_hurried() -> bool:
    """Whether programs start in a hurry: ``GRAPHC_EFFORT`` is ``adaptive``, the default, or ``full``."""
    return choice("GRAPHC_EFFORT", ("adaptive", "full")) == "adaptive"


def budget(
    looks: Sequence[Look], text: str, around: str, careful_around: bool, work: float | None, abreast: int
) -> float | None:
    """How many additions a program may cost before it is compiled with care; None if it had better be at once.

    text: the module of the kernels, in a hurry; around: that of the function around them, and whether it gains by care
    as well. work: what a call costs, if that is known. abreast: how many instructions go to vectors side by side.
    """
    longer = SELECTED * len(around) / 1000 if careful_around else 0.0
    if level(looks) > BRIEF:
        longer += SELECTED * len(text) / 1000 + WRITTEN * _written(looks, text) + ABREAST * abreast
    else:
        longer += _narrower(looks)
    return _share(longer, work)


def _narrower(looks: Sequence[Look]) -> float:
    """How many milliseconds longer chains take than in a hurry."""
    return NARROWER * sum(look.values for look in looks)


def _share(longer: float, work: float | None) -> float | None:
    """The budget if care takes so many milliseconds longer; None if that does not pay."""
    found = SHARE * longer * ADDITIONS
    if longer < ENOUGH or (work is not None and work * CALLS >= found):
        return None
    return found


def _written(looks: Sequence[Look], text: str) -> int:
    """How many of the calls in a module would be written out with care."""
    _, *functions = KERNEL.split(text)
    numbers, bodies = map(int, functions[::2]), functions[1::2]
    return sum(len(CALL.findall(body)) for number, body in zip(numbers, bodies, strict=True) if not looks[number].calls)
