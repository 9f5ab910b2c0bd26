"""Recordings: the launches of a call with certain shapes, as one kernel or as a CUDA graph.

A recording owns the arrays that it runs on: a call copies its arguments there, launches the recording, and copies the
results out, so that they are the caller's own. Result arrays that the caller has dropped serve again; where the same
arguments come with the same result arrays again, as in a loop that trains, a graph of its own reads and writes them
where they are. A call that is one kernel needs no copies.
"""

from __future__ import annotations

import sys
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphc.backends.cupy import merging
from graphc.backends.cupy.allocation import Arena, Block, Directed, Given
from graphc.backends.cupy.compiling import function, spills
from graphc.backends.cupy.copies import UNIT, Copy, Gather
from graphc.backends.cupy.launching import Call, Tape, dense, taped
from graphc.backends.cupy.library import cupy

PATIENCE: Final = 2  # calls alike before they are recorded
MOST_BYTES: Final = 16 << 20  # of arguments and results that are copied
COUNTED: Final = 1024  # kinds of calls that are counted
MOST_DIRECT: Final = 8  # graphs that read arguments and write results where they are
MOST_MADE: Final = 32  # of them in all: addresses that never come again are not worth more
MOST_GIVEN: Final = 2  # sets of results of a recording that may serve again: one is often the next call's arguments
COUNTED_REFERENCES: Final = getattr(sys, "_is_gil_enabled", lambda: True)()

Run = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Graph:
    """Recorded launches. held: constants whose addresses they have."""

    graph: Any
    held: list[Any]


class Whole:
    """A call that is one kernel, which reads arguments and writes results where they are."""

    def __init__(self, one: merging.Merged, arena: Arena, inputs: int) -> None:
        self.run = function(one.text)
        self.block = *one.block, 1
        self.arena = arena  # where the temporaries are
        names: dict[str | int, int] = {
            "results": inputs,
            "arena": inputs + 1,
            **{f"input {k}": k for k in range(inputs)},
        }
        self.fixed = [n for n in one.arguments if isinstance(n, int)]
        # the place of each parameter among addresses of inputs, of results, of the arena, and the others
        self.places = [names[n] if n in names else inputs + 2 + self.fixed.index(int(n)) for n in one.arguments]
        self.tail = [arena.memory.ptr, *self.fixed]

    def __call__(self, addresses: list[int], results: Any) -> None:
        known = [*addresses, results.ptr, *self.tail]
        self.run((1, 1, 1), self.block, tuple([known[k] for k in self.places]))


def whole(
    calls: Sequence[Call], inputs: Sequence[Any], results: Sequence[Any], block: Block, arena: Arena
) -> Whole | None:
    """The launches of a call as one kernel, if they can be that, and write the results to memory of the arena."""
    found = list(merging.runs(calls, merging.MOST_WORK))
    if len(found) != 1 or not merging.small(found[0][0]):
        return None
    start, stop = arena.memory.ptr, arena.memory.ptr + arena.bytes
    regions: list[merging.Region] = []
    for array, (place, _, _) in zip(results, block.kinds, strict=True):
        first = array.data.ptr
        if array.nbytes and not (start <= first and first + array.nbytes <= stop):
            return None
        if any(r.start < first + array.nbytes and first < r.start + r.bytes for r in regions):
            return None
        if array.nbytes:
            regions.append(merging.Region(first, array.nbytes, "results", place))
    regions.append(merging.Region(start, arena.bytes, "arena"))
    for k, array in enumerate(inputs):
        regions.append(merging.Region(array.data.ptr, array.nbytes, f"input {k}"))

    def piece(address: int) -> tuple[str, int]:
        """The allocation, argument or constant that an address lies in."""
        region = next((r for r in regions[-1 - len(inputs) :] if r.start <= address < r.start + r.bytes), None)
        if region is None:
            return "", address
        if region.name != "arena":
            return region.name, 0
        return "arena", bisect_right(arena.places, address - start)

    one = merging.merged(found[0], regions, piece, merging.MANY_THREADS)
    if spills(one.text):
        one = merging.merged(found[0], regions, piece)
    return Whole(one, arena, len(inputs))


def apart(calls: Sequence[Call]) -> None:
    """Launch what was noted, each by itself."""
    for call in calls:
        function(call.text)((*call.grid, 1), (*call.block, 1), call.arguments)


def send(calls: Sequence[Call]) -> None:
    """Launch what was noted, small neighbours as one kernel."""
    for run in merging.runs(calls):
        if len(run) == 1:
            apart(run)
        else:
            one = merging.merged(run)
            function(one.text)((1, 1, 1), (*one.block, 1), one.arguments)


class Recording:
    """The launches of a call with certain shapes, on one device and stream."""

    def __init__(self, run: Run, arguments: Sequence[Any]) -> None:
        cp = cupy()
        self.cp = cp
        self.lock = threading.Lock()
        self.pool = cp.cuda.MemoryPool()
        self.run = run
        self.held: list[Any] = []  # constants whose addresses the launches have
        self.given: list[Given] = []
        self.turn = 0
        # by addresses of arguments and results
        self.direct: OrderedDict[Any, Graph] = OrderedDict()
        self.seen: dict[Any, int] = {}
        self.made = 0
        self.numbers: list[int] | None = None  # the allocations that are results
        current = cp.cuda.get_current_stream()
        stream = self.stream = cp.cuda.Stream(non_blocking=True)
        with cp.cuda.using_allocator(self.pool.malloc), stream:
            stream.wait_event(current.record())
            self.inputs = [cp.empty_like(a, order="C") for a in arguments]
            for mine, given in zip(self.inputs, arguments, strict=True):
                mine[...] = given
            with taped(Tape(apart)) as tape:
                results = self._dense(self.inputs)
                tape.flush()
            self.block = Block(results)
            del results
            if sum(a.nbytes for a in self.inputs) + self.block.bytes > MOST_BYTES:
                raise ValueError("too much to copy")
            self.whole = self._as_one()
            if self.whole is None:
                self._record(stream)
        stream.synchronize()
        if self.whole is None:
            # outside of the pool: memory that the recorded call has given back to it is written to at each launch
            self.copy_in = Copy(self.inputs)
            self.gather = Gather(self.results, self.block)

    def _as_one(self) -> Whole | None:
        """The call as one kernel, if it is small enough, and nothing else than kernels."""
        arena = Arena(self.pool.malloc)
        tape = Tape(send)
        for _ in range(2):
            with self.cp.cuda.using_allocator(arena), taped(tape):
                results = self._dense(self.inputs)
            if tape.flushes:
                tape.flush()
                return None
            if arena.memory is None:
                tape.calls = []
                del results
                arena.make()
            self.held = tape.held
            tape.held = []
        return whole(tape.calls, self.inputs, results, self.block, arena)

    def _record(self, stream: Any) -> None:
        """Record the call as a CUDA graph."""
        # the memory that the call takes lies in the pool then, and its libraries and kernels are ready
        for _ in range(2):
            allocator = Directed(self.pool.malloc, {})
            with self.cp.cuda.using_allocator(allocator):
                self.numbers = allocator.numbers(self._noted(self.inputs, []))
        stream.synchronize()
        stream.begin_capture()
        try:
            self.results = self._noted(self.inputs, self.held)
        finally:
            self.graph = stream.end_capture()

    def _noted(self, inputs: Sequence[Any], held: list[Any]) -> list[Any]:
        """Run the call with small kernels joined; `held` gets the constants they read."""
        with taped(Tape(send)) as tape:
            results = self._dense(inputs)
            tape.flush()
        held += tape.held
        return results

    def _dense(self, inputs: Sequence[Any]) -> list[Any]:
        """The results, dense: they are copied by bytes."""
        return [dense(a) for a in self.run(*inputs)]

    def _directed(self, key: Any, arguments: Sequence[Any], found: Given) -> Graph | None:
        """The graph that reads these arguments and writes these results, if they have come before."""
        graph = self.direct.get(key)
        if graph is not None or self.numbers is None:
            return graph
        if len(self.seen) > COUNTED:
            self.seen.clear()
        count = self.seen[key] = self.seen.get(key, 0) + 1
        current = self.cp.cuda.get_current_stream()
        if count < PATIENCE or self.made >= MOST_MADE or (current.ptr and current.is_capturing()):
            return None  # while the caller records, this call is a part of that
        self.made += 1
        try:
            graph = self._record_there(arguments, found)
        except Exception:
            graph = None
        if graph is None:
            self.numbers = None  # it goes on with copies
            return None
        self.direct[key] = graph
        while len(self.direct) > MOST_DIRECT:
            self.direct.popitem(last=False)
        return graph

    def _record_there(self, arguments: Sequence[Any], found: Given) -> Graph | None:
        """Record the call on these arguments and results; None if its results come to lie elsewhere."""
        assert self.numbers is not None
        cp, stream = self.cp, self.stream
        wanted = [found.memory + place for place, _, _ in self.block.kinds]
        places = {
            number: (array.nbytes, memory)
            for number, array, memory in zip(self.numbers, found.arrays, wanted, strict=True)
            if number >= 0
        }
        held: list[Any] = []
        current = cp.cuda.get_current_stream()
        with stream:
            stream.wait_event(current.record())
            # once without: kernels for addresses like these are compiled then
            for captured in (False, True):
                if captured:
                    stream.synchronize()
                    stream.begin_capture()
                try:
                    with cp.cuda.using_allocator(Directed(self.pool.malloc, places)):
                        results = self._noted(arguments, held)
                finally:
                    graph = stream.end_capture() if captured else None
                if any(
                    array.nbytes and array.data.ptr != memory.ptr for array, memory in zip(results, wanted, strict=True)
                ):
                    return None
        return Graph(graph, held)

    def __call__(self, arguments: Sequence[Any]) -> tuple[Any, ...] | None:
        """The results; None for arguments at addresses that the kernel is not written for."""
        addresses = [a.data.ptr for a in arguments]
        if self.whole is not None:
            for address in addresses:
                if address % UNIT:
                    return None
            found = self._room()
            self.whole(addresses, found.memory)
            return tuple(found.arrays)
        found = self._room()
        direct = self._directed((found.memory.ptr, *addresses), arguments, found)
        stream = self.cp.cuda.get_current_stream()
        if direct is not None:
            direct.graph.launch(stream)
        else:
            self.copy_in(arguments)
            self.graph.launch(stream)
            self.gather(found.memory)
        return tuple(found.arrays)

    def _room(self) -> Given:
        """Arrays for results. Those of an earlier call, which are in the order of the same stream, cost least."""
        for given in self.given:
            if COUNTED_REFERENCES and given.free():
                return given
        fresh = Given(self.block)
        if len(self.given) < MOST_GIVEN:
            self.given.append(fresh)
        else:
            self.given[self.turn % MOST_GIVEN] = fresh  # those are the caller's alone from now on
            self.turn += 1
        return fresh
