"""CUDA graphs: the launches of a call recorded once, and sent to the GPU again by a single call.

A small step spends its time on launches, not on arithmetic. After a few calls with the same shapes its launches are
recorded on arrays that the recording owns; from then on a call copies its arguments there, launches the recording, and
copies the results out, so that they are the caller's own. Result arrays that the caller has dropped serve again; where
the same arguments come with the same result arrays again, as in a loop that trains, a recording of its own reads and
writes them where they are. Large arguments are not worth the copies. What cannot be recorded, or fails to, runs as
before.
"""

from __future__ import annotations

import os
import sys
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from graphc.backends.cupy import merging
from graphc.backends.cupy.allocation import Arena, Block, Directed, Given
from graphc.backends.cupy.arguments import DeviceSpec
from graphc.backends.cupy.compiling import function, spills
from graphc.backends.cupy.copies import UNIT, Copy, Gather
from graphc.backends.cupy.launching import Call, Tape, dense, taped
from graphc.backends.cupy.library import cupy

PATIENCE: Final = 2  # calls with the same shapes before they are recorded
MOST_RECORDINGS: Final = 8  # of a compiled function; each keeps its arrays
MOST_BYTES: Final = 16 << 20  # of arguments and results that are copied
FEWEST_STEPS: Final = 2
COUNTED: Final = 1024
MOST_DIRECT: Final = 8  # graphs that read arguments and write results where they are
MOST_MADE: Final = 32  # of them in all: addresses that never come again are not worth more
MOST_GIVEN: Final = 2  # sets of results of a recording that may serve again: one is often the next call's arguments
COUNTED_REFERENCES: Final = getattr(sys, "_is_gil_enabled", lambda: True)()

# Ops whose CuPy meaning neither waits for the GPU nor copies from the host; where sizes decide, it refuses by itself.
RECORDABLE: Final = frozenset(
    (
        *("identity", "stop_gradient", "reshape", "transpose", "broadcast_to", "slice", "get"),
        *("iota", "concatenate", "unslice", "insert_slice", "gather", "scatter_add"),
        *("matmul", "derived_key", "random_bits", "random_below"),
    )
)

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


class Replayed:
    """A function of CuPy arrays that is recorded when it is called again with the same shapes."""

    def __init__(self, run: Run, specs: Sequence[DeviceSpec]) -> None:
        self.run = run
        self.specs = specs
        self.dtypes = [spec.type.dtype for spec in specs]
        self.cp = cupy()
        # an attribute of CuPy's that costs a small part of what `flags` does
        quick = hasattr(self.cp.ndarray, "_c_contiguous")
        self.dense: Callable[[Any], bool] = attrgetter("_c_contiguous" if quick else "flags.c_contiguous")
        self.lock = threading.Lock()
        self.counts: dict[Any, int] = {}
        self.recordings: OrderedDict[Any, Recording | None] = OrderedDict()
        self.failures: list[str] = []  # why calls were not recorded

    def __call__(self, *args: Any) -> tuple[Any, ...]:
        ndarray, dense = self.cp.ndarray, self.dense
        if len(args) != len(self.specs):
            return self.run(*args)
        arguments = [
            a if type(a) is ndarray and a.dtype == dtype and dense(a) else spec.convert(a)
            for a, dtype, spec in zip(args, self.dtypes, self.specs, strict=True)
        ]
        key = self._key(arguments)
        recording = self.recordings.get(key)
        if recording is None and key not in self.recordings:
            recording = self._consider(key, arguments)
        found = None if recording is None else self._replayed(recording, arguments)
        return self.run(*arguments) if found is None else found

    def bind(self, otherwise: Callable[..., Any], unpacked: bool, strict: bool) -> Callable[..., Any]:
        """A function that does the same for what is recorded, and hands all else to `otherwise`; see `Loaded`."""
        ndarray, dense, dtypes = self.cp.ndarray, self.dense, self.dtypes
        if strict and any(spec.type.weak for spec in self.specs):
            return otherwise

        def bound(*args: Any) -> Any:
            if len(args) != len(dtypes):
                return otherwise(*args)
            for a, dtype in zip(args, dtypes, strict=True):
                if type(a) is not ndarray or a.dtype != dtype or not dense(a):
                    return otherwise(*args)
            key = self._key(args)
            recording = self.recordings.get(key)
            if recording is not None:
                found = self._replayed(recording, args)
            else:
                # a call that is not recorded has been made before; it needs no more than these arrays
                found = self.run(*args) if key in self.recordings else None
            if found is None:
                return otherwise(*args)
            return found[0] if unpacked else found

        return bound

    def _key(self, arguments: Sequence[Any]) -> Any:
        cuda = self.cp.cuda
        # the order on one stream is what keeps a call from overwriting what another still reads
        return cuda.runtime.getDevice(), cuda.get_current_stream().ptr, tuple([a.shape for a in arguments])

    def _replayed(self, recording: Recording, arguments: Sequence[Any]) -> tuple[Any, ...] | None:
        """The results of a recorded call; None if another thread is about one."""
        if not recording.lock.acquire(blocking=False):
            return None
        try:
            return recording(arguments)
        finally:
            recording.lock.release()

    def _consider(self, key: Any, arguments: Sequence[Any]) -> Recording | None:
        """Record a call that has been made often enough; None if it is not recorded, now or ever."""
        with self.lock:
            count = self.counts[key] = self.counts.get(key, 0) + 1
            if count <= PATIENCE or key in self.recordings:
                if len(self.counts) > COUNTED:
                    self.counts.clear()
                return self.recordings.get(key)
            found: Recording | None = None
            if sum(a.nbytes for a in arguments) <= MOST_BYTES:
                try:
                    if key[1] and self.cp.cuda.get_current_stream().is_capturing():
                        return None  # the caller records, and this call is a part of that
                    found = Recording(self.run, arguments)
                except Exception as error:
                    found = None  # it runs without
                    self.failures.append(f"{type(error).__name__}: {error}")
            self.recordings[key] = found
            while len(self.recordings) > MOST_RECORDINGS:
                self.recordings.popitem(last=False)
            return found


def wanted() -> bool:
    """Whether calls are recorded in this process: not under ``GRAPHC_CUDA_GRAPHS=off``."""
    return os.environ.get("GRAPHC_CUDA_GRAPHS", "on") != "off"
