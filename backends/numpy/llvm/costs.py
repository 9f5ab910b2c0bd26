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

SEARCH: Final = 20.0  # additions for a search of a length with a name


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
            case Rows(lead=lead, count=count, row=row) | Running(lead=lead, count=count, row=row):
                yield Work.times(2.0, (lead, count, row))
            case Search(count=count, number=number):
                yield Work.times(2.0 * count.bit_length() if isinstance(count, int) else SEARCH, (number,))
            case Moves(count=count, cleared=cleared):
                yield Work.times(1.0, (count if cleared is None else count + cleared.nbytes // 10,))
            case Copy(nbytes=nbytes) | Clear(nbytes=nbytes):
                yield Work.times(0.1, (nbytes,))


def total(program: Program) -> float | None:
    """What a call costs; None if that depends on sizes."""
    found = [*each(program)]
    return None if any(cost.sizes for cost in found) else sum(cost.each for cost in found)
