"""What kernels cost, in additions of single precision: about, and before any of them has run."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from graphc.backends.numpy.llvm import panels
from graphc.dims import Size
from graphc.kernels import Apply, Kernel
from graphc.ops import TABLE

# What an operation costs, in additions. With registers of 64 bytes (Zen 4) an addition takes about 0.03 ns in single
# precision, and in double 0.1 to 0.25 ns, as functions are longer there than their weight says.
WEIGHTS: Final = {"add": 1, "mul": 1, "other": 1, "div": 4, "transcendental": 10}
ALONE: Final = 8  # what an operation on one number costs, of those that go by vectors and wait for nothing
SHARED: Final = 3e6  # additions: kernels that cost more, 80 microseconds in single precision, run on several threads


def weight(value: object) -> int:
    """About how many additions a value costs."""
    if not isinstance(value, Apply):
        return 0
    return _weight(value.op)


def is_transcendental(op: str) -> bool:
    """Whether an elementwise op is an elementary function that takes tens of instructions.

    >>> is_transcendental("tanh"), is_transcendental("sqrt")
    (True, False)
    """
    return _weight(op) == WEIGHTS["transcendental"]


@lru_cache(maxsize=1024)
def _weight(op: str) -> int:
    work = TABLE[op].work
    return WEIGHTS["transcendental" if work is None else work if isinstance(work, str) else "div"]


class Work(NamedTuple):
    """About how many additions in single precision a kernel costs: `each`, times every one of the sizes."""

    each: float
    sizes: tuple[Size, ...]

    @classmethod
    def of(cls, kernel: Kernel) -> Work:
        each = panels.COST if panels.panels(kernel) else 2.0 + sum(map(weight, kernel.values))
        # half as many of twice the width fit into a register, and into a line of the cache
        each *= max([1.0, *(value.dtype.itemsize / 4 for value in kernel.values)])
        return cls.times(each if kernel.sizes else ALONE * each, kernel.sizes)

    @classmethod
    def times(cls, each: float, sizes: Iterable[Size]) -> Work:
        """So much for each element of an array of these sizes."""
        named = []
        for size in sizes:
            if isinstance(size, int):
                each *= size
            else:
                named.append(size)
        return cls(each, tuple(named))

    @property
    def may_be_much(self) -> bool:
        """Whether it can be worth more than one thread."""
        return bool(self.sizes) or self.each >= SHARED
