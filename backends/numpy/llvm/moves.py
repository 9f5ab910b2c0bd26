"""Numbers that are picked and then put somewhere else, as a compressed Jacobian is spread: moved once.

What they are put into is filled with zeros first. An array that outgrows the first cache would have left most of it
until the numbers come, and the time to fill it is that of the second cache, which leaves the processor idle. So it is
filled piece by piece, and each piece gets its numbers at once: they find it in the first cache, and cost nothing.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np

from graphc.backends.numpy.llvm.instructions import Instruction, Moves, Program
from graphc.backends.numpy.llvm.layouts import Layout

Positions = np.ndarray[Any, Any]

PIECE: Final = 4096  # bytes
FROM: Final = 16384  # bytes of an array that is filled by pieces
UP_TO: Final = 1 << 20  # beyond the second cache, the C library fills whole arrays faster than pieces


def nbytes(target: Layout) -> int:
    """Bytes of an array of fixed sizes."""
    count = math.prod(d for d in target.shape if isinstance(d, int))
    return count * target.dtype.itemsize


def pieces(targets: Positions, target: Layout) -> tuple[Positions, Positions] | None:
    """The targets, each counted from the start of its piece, and for each piece and the end how many lie before.

    None if the array is better filled at once. `targets` are positions in the array, which has fixed sizes; they must
    ascend to come by pieces.
    """
    total = nbytes(target)
    if not FROM <= total <= UP_TO or (np.diff(targets) < 0).any():
        return None
    width = PIECE // target.dtype.itemsize
    starts = np.searchsorted(targets, np.arange(0, total // target.dtype.itemsize + width, width))
    return targets % width, starts


def brief(positions: Positions) -> Positions:
    """Positions, none of which is negative, in as few bytes as they fit: they come from the cache as well."""
    return positions.astype(np.min_scalar_type(int(positions.max(initial=0))))


def merged(program: Program) -> Program:
    """The program without arrays that only hold what one `Moves` has picked until another puts it somewhere.

    The second one then takes the numbers from where they were. Nothing may have been written there meanwhile.
    """
    instructions: list[Instruction | None] = list(program.instructions)
    for later, second in enumerate(program.instructions):
        if not isinstance(second, Moves) or second.sources is not None:
            continue
        held = second.source.storage
        uses = [
            n
            for n, one in enumerate(instructions)
            if one is not None and any(held == place.storage for place in (*one.reads, *one.writes))
        ]
        first = instructions[uses[0]]
        if (
            len(uses) == 2
            and isinstance(first, Moves)
            and first.targets is None
            and first.count == second.count
            and all(held != result.layout.storage for result in program.results)
            and not _written(instructions[uses[0] + 1 : later], first.source.storage)
        ):
            instructions[uses[0]] = None
            zero = first.zero or second.zero
            instructions[later] = replace(second, source=first.source, sources=first.sources, zero=zero)
    return replace(program, instructions=tuple(one for one in instructions if one is not None))


def _written(instructions: list[Instruction | None], storage: int) -> bool:
    return any(place.storage == storage for one in instructions if one is not None for place in one.writes)
