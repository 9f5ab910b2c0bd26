"""What the instructions of programs cost, in additions of single precision: about, as in `work`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from graphc.backends.numpy.llvm.instructions import (
    Clear,
    Copy,
    Moves,
    Product,
    Program,
    Rows,
    Run,
    Running,
    Search,
    usual,
)
from graphc.backends.numpy.llvm.work import ALONE, Work

# measured on Zen 4, in the first cache
ROW: Final = 40.0  # for a row that is found by its position, or that a kernel is called for
MOVE: Final = 10.0  # for a number at a known position
STEP: Final = 20.0  # for each halving of what is searched
BYTE: Final = 0.1  # that is copied or cleared
STEPS: Final = 10  # of a search of a length with a name


def each(program: Program) -> Iterator[Work]:
    """About how many additions the instructions of a program cost."""
    for instruction in usual(program.instructions):
        match instruction:
            case Run(kernel=number):
                yield Work.of(program.kernels[number])
            case Product(stack=stack, rows=rows, inner=inner, columns=columns, dtype=dtype, gram=gram):
                yield Work.times(dtype.itemsize / (16 if gram else 8), (*stack, rows, inner, columns))
            case Running(lead=lead, count=count, row=row, kernel=None):
                yield Work.times(ALONE, (lead, count, row))
            case (
                Rows(dtype=dtype, lead=lead, count=count, row=row)
                | Running(dtype=dtype, lead=lead, count=count, row=row)
            ):
                yield Work.times(ROW, (lead, count))
                yield Work.times(dtype.itemsize / 2, (lead, count, row))
            case Search(count=count, number=number):
                yield Work.times(STEP * (count.bit_length() if isinstance(count, int) else STEPS), (number,))
            case Moves(count=count, cleared=cleared):
                yield Work.times(MOVE, (count,))
                if cleared is not None:
                    yield Work.times(BYTE, (cleared.nbytes,))
            case Copy(nbytes=nbytes) | Clear(nbytes=nbytes):
                yield Work.times(BYTE, (nbytes,))


def total(program: Program) -> float | None:
    """What a call costs; None if that depends on sizes."""
    found = [*each(program)]
    return None if any(cost.sizes for cost in found) else sum(cost.each for cost in found)
