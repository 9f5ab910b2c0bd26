"""Numbers that are picked and then put somewhere else, as a compressed Jacobian is spread: moved once."""

from __future__ import annotations

from dataclasses import replace

from graphc.backends.numpy.llvm.instructions import Instruction, Moves, Program


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
