"""Which loops of a kernel go where, and which sweep over them computes what.

The last loop runs by vectors. If it is reduced, each point of the other loops gets a sweep over the reduced ones, with
accumulators in registers. If it is not but others are, the columns are taken in tiles, with accumulators in a row that
stays in the first cache. A value that depends on the result of a reduction, and varies over the reduced loops again, is
computed in a further sweep.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from graphc import dims
from graphc.backends.numpy.llvm import interleave, latency, panels, transposes
from graphc.backends.numpy.llvm.machine import Machine
from graphc.backends.numpy.llvm.segments import Segment, segments
from graphc.backends.numpy.llvm.work import Work, weight
from graphc.kernels import Apply, Kernel, Load, Reduce, Store

TILE: Final = 2048  # columns whose accumulators stay in the first cache; narrower tiles read memory in jumps
STACK: Final = 1 << 17  # bytes of all rows of a tile: threads may have small stacks
MOST_REGISTERS: Final = 4  # of a vector
FEW: Final = 12  # additions that an element costs, for which so many pay
MANY: Final = 400  # additions from which on more values live at a time than there are registers for two of each
HEAVY: Final = 8  # operations: more are kept in memory for a later sweep rather than repeated

MOST_FOLDS: Final = 32  # reductions of a kernel that runs in pieces: each takes 2 KiB of the stack
ENOUGH: Final = 32  # parts of a division
COLUMNS: Final = 512  # of a tile are divided at once
LINE: Final = 1024  # elements of a vector loop are
REPEATS: Final = 15  # of the innermost code, by the segments of all loops


class Division(NamedTuple):
    """How a kernel is divided between calls: the iterations of a loop, in pieces of some width.

    A call takes a multiple of `step` pieces, or what is left, so that arrays are cut between lines of the cache.
    """

    loop: int
    width: int
    step: int = 1


@dataclass(frozen=True)
class Schedule:
    """The arrangement of a kernel's loops, and the turn of each of its values."""

    kernel: Kernel

    # Loops

    @property
    def vector_loop(self) -> int:
        """The loop that runs by vectors."""
        return len(self.kernel.sizes) - 1

    @cached_property
    def tiled(self) -> bool:
        """Whether the vector loop lies outside the reduced loops, in tiles."""
        return bool(self.kernel.reduced) and self.vector_loop not in self.kernel.reduced

    @cached_property
    def outer(self) -> tuple[int, ...]:
        """The loops that run one point at a time, outermost first: last the one of which blocks are transposed."""
        turned = None if self.turned is None else self.turned.loop
        loops = (k for k in range(len(self.kernel.sizes)) if k not in self.inner)
        return tuple(sorted(loops, key=lambda k: k == turned))

    @cached_property
    def turned(self) -> transposes.Turned | None:
        """The loads of which blocks are transposed first."""
        return transposes.turned(self.kernel, self.loads_apart)

    @cached_property
    def inner(self) -> tuple[int, ...]:
        """The loops of the sweeps, the vector loop last."""
        if not self.kernel.sizes:
            return ()
        return (*sorted(self.kernel.reduced - {self.vector_loop}), self.vector_loop)

    @cached_property
    def division(self) -> Division | None:
        """What the function's `first` and `last` count; None for a kernel that runs as a whole."""
        if panels.panels(self.kernel):
            return Division(self.vector_loop, panels.COLUMNS)
        if self.outer:
            return self._divided_outside()
        if not self.inner or (self.kernel.reduced and not self.tiled):
            return None
        return Division(self.vector_loop, COLUMNS) if self.tiled else Division(self.vector_loop, 1, LINE)

    def _divided_outside(self) -> Division:
        """The outermost loop that has points enough for many threads, or else the longest one."""
        known = [size if isinstance(size, int) else math.inf for size in self.kernel.sizes]
        enough = [k for k in self.outer if known[k] >= ENOUGH]
        if enough:
            turned = self.turned
            return Division(enough[0], 1, 1 if turned is None or turned.loop != enough[0] else turned.height)
        if not self.kernel.reduced and known[self.vector_loop] >= ENOUGH * LINE:
            return Division(self.vector_loop, 1, LINE)
        return Division(max(self.outer, key=lambda k: known[k]), 1)

    @property
    def divisible(self) -> bool:
        """Whether calls of the kernel for parts of its division may run at once."""
        return self.division is not None and not self.across

    @property
    def shared(self) -> bool:
        """Whether calls for parts of its division do run at once, because there may be enough to do."""
        return self.divisible and Work.of(self.kernel).may_be_much

    @cached_property
    def reduces_all(self) -> bool:
        """Whether all loops are reduced, and can be swept over in pieces: see `pieces`."""
        all_reduced = bool(self.inner) and len(self.kernel.reduced) == len(self.kernel.sizes)
        return all_reduced and sum(map(len, self._folds)) <= MOST_FOLDS

    @property
    def in_pieces(self) -> bool:
        """Whether all loops are reduced and swept over in pieces, because there may be enough to do."""
        return self.reduces_all and Work.of(self.kernel).may_be_much

    @property
    def in_tiles(self) -> bool:
        """Whether it reduces outside of its vector loop, in tiles of all columns, and may be long: see `narrow`."""
        return self.tiled and not self.outer and Work.of(self.kernel).may_be_much

    @cached_property
    def folds_strips(self) -> bool:
        """Whether it folds over its outer loops, and can do so in strips of the first one: see `strips`."""
        strides = [d for _, _, store in self.across for d in store.at.strides]
        ascending = all(dims.less_equal(0, d) is True for d in strides)
        # each strip has an array of its own for each of them
        arrays = [store.node for _, r, store in self.across if self.swept[r.operand]]
        apart = len(set(arrays)) == len(arrays)
        return bool(self.across and self.outer) and ascending and apart and len(self.across) <= MOST_FOLDS

    @property
    def in_strips(self) -> bool:
        """Whether it folds in strips, because there may be enough to do. A call can run out of memory."""
        return self.folds_strips and Work.of(self.kernel).may_be_much

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """Values that have an element for each column of a tile: reductions, and what follows from them alone."""
        kernel = self.kernel
        return tuple(i for i, loops in enumerate(kernel.varies) if kernel.stages[i] > 0 and not loops & kernel.reduced)

    @cached_property
    def tile(self) -> int:
        """Columns of a tile."""
        columns = TILE
        while columns * 8 * len(self.rows) > STACK and columns > 1:
            columns //= 2
        return columns

    @cached_property
    def segments(self) -> Mapping[int, tuple[Segment, ...]]:
        """The segments of each loop, in order. Each begins where the one before it has ended."""
        found: dict[int, tuple[Segment, ...]] = {}
        repeats = 1
        for loop in reversed(range(len(self.kernel.sizes))):
            conditions = Counter(
                w for v in self.kernel.values if isinstance(v, Load) for w in v.within if w.loop == loop
            )
            cut = segments(self.kernel.sizes[loop], conditions)
            repeats *= len(cut)
            found[loop] = cut if repeats <= REPEATS else (Segment(self.kernel.sizes[loop], {}),)
        return found

    @cached_property
    def loads_apart(self) -> Mapping[int, interleave.Group]:
        """For each load along whose vectors elements lie a few apart, its group."""
        return interleave.loads(self.kernel)

    def lanes(self, machine: Machine, together: bool = False, hurried: bool = False) -> int:
        """Lanes of the vectors: some registers' worth, fewer the more values live, and no more than there is work.

        together: whether no more values live, as their number grows: all wait for the same ones. hurried: as few as
        the bits of the results allow, as LLVM takes half as long where each vector is one register.
        """
        kernel, last = self.kernel, self.vector_loop
        if not kernel.sizes:
            return 1
        total = sum(map(weight, kernel.values))
        registers = MOST_REGISTERS if total <= FEW else 2 if total <= MANY or together else 1
        apart = max((g.stride for g in self.loads_apart.values()), default=1)
        registers = min(registers, max(1, 4 // apart))
        if hurried and total > FEW and not any(isinstance(v, Reduce) for v in kernel.values):
            registers = 1
        lanes = max(1, registers * machine.register // self._widest)
        size = kernel.sizes[last]
        while isinstance(size, int) and lanes >= 2 * max(size, 1):
            lanes //= 2
        return lanes

    def abreast(self, machine: Machine, lanes: int) -> int:
        """Lanes of vectors side by side, for a loop before that of vectors of `lanes`; 0 where that gains nothing."""
        found = latency.side_by_side(self.kernel, machine) * machine.register // self._widest
        size = self.kernel.sizes[self.vector_loop] if self.kernel.sizes else 0
        while isinstance(size, int) and found > size // 2:
            found //= 2
        return found if found > lanes else 0

    @cached_property
    def _widest(self) -> int:
        """Bytes of the largest elements that vectors have."""
        kernel, last = self.kernel, self.vector_loop
        work = (v for v, loops in zip(kernel.values, kernel.varies, strict=True) if last in loops or not loops)
        return max((v.dtype.itemsize for v in work), default=8)

    @cached_property
    def varies(self) -> tuple[frozenset[int], ...]:
        """For each value the loops at whose points it is computed.

        Besides those on which it depends that is the vector loop, for what follows from the reductions of a tile: their
        rows have an element for each column.
        """
        columns = frozenset({self.vector_loop} if self.tiled else ())
        return tuple(
            loops | columns if stage else loops
            for loops, stage in zip(self.kernel.varies, self.kernel.stages, strict=True)
        )

    # Sweeps

    @cached_property
    def last_stage(self) -> int:
        return max(self.kernel.stages, default=0)

    @cached_property
    def swept(self) -> tuple[bool, ...]:
        """For each value whether it varies over the loops of the sweeps."""
        inner = frozenset(self.inner)
        return tuple(bool(loops & inner) for loops in self.varies)

    @cached_property
    def across(self) -> tuple[tuple[int, Reduce, Store], ...]:
        """Reductions over the outer loops: the number of the store, the reduction, the store."""
        values = self.kernel.values
        return tuple(
            (n, v, s) for n, s in enumerate(self.kernel.stores) if isinstance(v := values[s.value], Reduce) and v.across
        )

    @cached_property
    def _folds(self) -> tuple[tuple[tuple[int, Reduce], ...], ...]:
        found: list[list[tuple[int, Reduce]]] = [[] for _ in range(self.last_stage + 1)]
        for i, v in enumerate(self.kernel.values):
            if isinstance(v, Reduce) and not v.across:
                found[self.kernel.stages[v.operand]].append((i, v))
        return tuple(map(tuple, found))

    def folds(self, stage: int) -> tuple[tuple[int, Reduce], ...]:
        """Reductions whose operands a sweep gives, with their numbers."""
        return self._folds[stage]

    @cached_property
    def stored_in_sweeps(self) -> tuple[bool, ...]:
        """For each store whether it runs along the loops of the sweeps, those outside a tile's rows aside."""
        sweeps = self.kernel.reduced if self.tiled else frozenset(self.inner)
        across = {n for n, _, _ in self.across}
        return tuple(
            n not in across and bool((self.varies[s.value] | s.at.loops) & sweeps)
            for n, s in enumerate(self.kernel.stores)
        )

    def sweeps(self, stage: int) -> bool:
        """Whether a sweep folds or stores something."""
        return bool(self.folds(stage) or self.stores(stage))

    def stores(self, stage: int) -> list[int]:
        """Stores that a sweep makes."""
        return [n for n in self.due(stage) if self.stored_in_sweeps[n]]

    def late_stores(self, stage: int) -> list[int]:
        """Stores that follow a sweep: of what is known once it has ended."""
        across = {n for n, _, _ in self.across}
        return [n for n in self.due(stage) if not self.stored_in_sweeps[n] and n not in across]

    def due(self, stage: int) -> list[int]:
        """Stores of what this many ended sweeps make known."""
        return [n for n, s in enumerate(self.kernel.stores) if self.kernel.stages[s.value] == stage]

    def needed(self, stage: int) -> tuple[int, ...]:
        """What a sweep computes: what its reductions and stores need, down to values at home in memory."""
        return self._needed[stage]

    def work(self, stage: int) -> int:
        """What a sweep costs for an element, in additions."""
        return sum(weight(self.kernel.values[i]) for i in self.computed(stage))

    def computed(self, stage: int) -> list[int]:
        """What a sweep computes, without what it reads."""
        return [
            i for i in self.needed(stage) if isinstance(self.kernel.values[i], Apply) and not self.at_home(i, stage)
        ]

    def accesses(self, stage: int) -> int:
        """How often a sweep reads, writes or folds a vector."""
        written = (
            len(self.folds(stage)) + len(self.stores(stage)) + sum(self.kernel.stages[i] == stage for i in self.homes)
        )
        read = [i for i in self.needed(stage) if isinstance(self.kernel.values[i], Load) or self.at_home(i, stage)]
        return written + sum(self.vector_loop in self.varies[i] for i in read)

    @cached_property
    def _needed(self) -> tuple[tuple[int, ...], ...]:
        return tuple(self._needed_in(stage) for stage in range(self.last_stage + 1))

    def _needed_in(self, stage: int) -> tuple[int, ...]:
        values, stages = self.kernel.values, self.kernel.stages
        stack = [r.operand for _, r in self.folds(stage)]
        stack += [self.kernel.stores[n].value for n in self.stores(stage)]
        stack += [r.operand for _, r, _ in self.across if stages[r.operand] == stage]
        stack += [i for i in self.homes if stages[i] == stage]
        found: set[int] = set()
        while stack:
            i = stack.pop()
            if i in found or not self.swept[i]:
                continue
            found.add(i)
            value = values[i]
            if isinstance(value, Apply) and not self.at_home(i, stage):
                stack.extend(value.operands)
        return tuple(sorted(found))

    def at_home(self, value: int, stage: int) -> bool:
        """Whether a sweep finds the value in memory, where an earlier one left it."""
        return value in self.homes and self.kernel.stages[value] < stage

    @cached_property
    def homes(self) -> dict[int, int]:
        """Values to keep for later sweeps, each in the array of a store: its own, or one that is written later.

        One array may hold several in turn: a sweep reads what it needs of an element before it writes there.
        """
        kernel, stages = self.kernel, self.kernel.stages
        homes: dict[int, int] = {}
        # of each array that can be a home: its dtype, and of what lies there the value, its first and its last sweep
        rooms = {
            n: (kernel.values[store.value].dtype, [(store.value, stages[store.value], self.last_stage + 1)])
            for n, store in enumerate(kernel.stores if self.last_stage else ())
            # every point of all loops has an element of its own in the array
            if self.stored_in_sweeps[n] and all(s != 0 for s in store.at.strides)
        }
        if not rooms:
            return homes
        last_use = self._uses()
        # later values first: what has a home is not computed again, and what it follows from may be needed no longer
        for i in reversed(range(len(last_use))):
            value, first, last = kernel.values[i], stages[i], last_use[i]
            if not isinstance(value, Apply) or not self.swept[i] or last <= first:
                continue
            if self._repeated(i, last_use) >= HEAVY:
                for n, (dtype, guests) in rooms.items():
                    free = all(j == i or last <= comes or first >= goes for j, comes, goes in guests)
                    if free and dtype == value.dtype:
                        guests.append((i, first, last))
                        homes[i] = n
                        break
            if i not in homes:
                for j in value.operands:
                    last_use[j] = max(last_use[j], last)
        return homes

    def _uses(self) -> list[int]:
        """For each value the last sweep in which something is computed from it, if nothing is computed twice."""
        last = [0] * len(self.kernel.values)
        for value, stage in zip(self.kernel.values, self.kernel.stages, strict=True):
            if isinstance(value, Reduce):
                last[value.operand] = max(last[value.operand], stage - 1)
            elif isinstance(value, Apply):
                for j in value.operands:
                    last[j] = max(last[j], stage)
        return last

    def _repeated(self, i: int, last_use: Sequence[int]) -> int:
        """What computing a value again would cost in the last sweep that uses it, with what that one needs anyway."""
        seen: set[int] = set()
        stack = [i]
        total = 0
        while stack:
            j = stack.pop()
            if j in seen or not self.swept[j] or (j != i and last_use[j] >= last_use[i]):
                continue
            seen.add(j)
            value = self.kernel.values[j]
            total += weight(value)
            if isinstance(value, Apply):
                stack.extend(value.operands)
        return total
