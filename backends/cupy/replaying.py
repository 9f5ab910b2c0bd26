"""CUDA graphs: the launches of a call recorded once, and sent to the GPU again by a single call.

A small step spends its time on launches, not on arithmetic. After a few calls with the same shapes its launches are
recorded on arrays that the recording owns; from then on a call copies its arguments there, launches the recording, and
copies the results out, so that they are the caller's own. Result arrays that the caller has dropped serve again. Large
arguments are not worth the copies. What cannot be recorded, or fails to, runs as before.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from operator import attrgetter
from sys import getrefcount
from typing import Any, Final

import numpy as np

from graphc.backends.cupy import merging
from graphc.backends.cupy.arguments import DeviceSpec
from graphc.backends.cupy.compiling import function
from graphc.backends.cupy.launching import Call, Tape, dense, taped
from graphc.backends.cupy.library import cupy
from graphc.backends.cupy.prelude import TYPES

PATIENCE: Final = 2  # calls with the same shapes before they are recorded
MOST_RECORDINGS: Final = 8  # of a compiled function; each keeps its arrays
MOST_BYTES: Final = 16 << 20  # of arguments and results that are copied
FEWEST_STEPS: Final = 2
COUNTED: Final = 1024
MOST_GIVEN: Final = 2  # sets of results of a recording that may serve again: one is often the next call's arguments
COUNTED_REFERENCES: Final = getattr(sys, "_is_gil_enabled", lambda: True)()
THREADS: Final = 256
APART: Final = 256  # bytes that the addresses of results are multiples of
UNIT: Final = 16  # bytes that a thread copies at a time
TOGETHER: Final = 4  # units on their way at the same time

# Ops whose CuPy meaning neither waits for the GPU nor copies from the host; where sizes decide, it refuses by itself.
RECORDABLE: Final = frozenset(
    (
        *("identity", "stop_gradient", "reshape", "transpose", "broadcast_to", "slice", "get"),
        *("iota", "concatenate", "unslice", "insert_slice", "gather", "scatter_add"),
        *("matmul", "derived_key", "random_bits", "random_below"),
    )
)

Run = Callable[..., tuple[Any, ...]]


COPIED: Final = f"""{TYPES}
struct alignas({UNIT}) Unit {{ u64 v[2]; }};
__device__ void copied(const u8* a, u8* b, i64 n) {{
  const i64 first = (i64)blockIdx.x * blockDim.x + threadIdx.x, step = (i64)blockDim.x * gridDim.x;
  const bool aligned = (((u64)a | (u64)b) & {UNIT - 1}) == 0;
  const i64 whole = aligned ? n / {UNIT} : 0;
  i64 at = first;
  for (; at + {TOGETHER - 1} * step < whole; at += {TOGETHER} * step) {{
    Unit some[{TOGETHER}];
#pragma unroll
    for (i32 k = 0; k < {TOGETHER}; ++k) some[k] = ((const Unit*)a)[at + k * step];
#pragma unroll
    for (i32 k = 0; k < {TOGETHER}; ++k) ((Unit*)b)[at + k * step] = some[k];
  }}
  for (; at < whole; at += step) ((Unit*)b)[at] = ((const Unit*)a)[at];
  for (i64 t = whole * {UNIT} + first; t < n; t += step) b[t] = a[t];
}}
"""


def copy_text(count: int) -> str:
    """The text of a kernel that copies so many arrays by bytes, to the addresses in a table, with their sizes."""
    parameters = ", ".join(f"const u8* a{k}" for k in range(count))
    cases = "\n".join(
        f"    case {k}: copied(a{k}, (u8*)table[{2 * k}], table[{2 * k + 1}]); break;" for k in range(count)
    )
    return f"""{COPIED}
extern "C" __global__ void kernel(const i64* table, {parameters}) {{
  switch (blockIdx.y) {{
{cases}
  }}
}}
"""


# copies arrays, whose addresses and sizes are in a table, to places of one piece of memory
GATHER: Final = f"""{COPIED}
extern "C" __global__ void kernel(const i64* table, u8* to) {{
  const i64* const row = table + 3 * blockIdx.y;
  copied((const u8*)row[0], to + row[1], row[2]);
}}
"""


def _grid(arrays: Sequence[Any]) -> tuple[int, int, int]:
    """Blocks enough for the largest of some arrays; a row of blocks for each."""
    units = -(-max(array.nbytes for array in arrays) // UNIT)
    return max(1, min(-(-units // (THREADS * TOGETHER)), 1024)), len(arrays), 1


class Copy:
    """Copies arrays into fixed ones of the same types by one launch."""

    def __init__(self, fixed: Sequence[Any]) -> None:
        self.places = [k for k, array in enumerate(fixed) if array.nbytes]
        if not self.places:
            return
        kept = [fixed[k] for k in self.places]
        rows = [[array.data.ptr, array.nbytes] for array in kept]
        self.table = cupy().asarray(np.asarray(rows, np.int64))
        self.run = function(copy_text(len(kept)))
        self.grid = _grid(kept)

    def __call__(self, sources: Sequence[Any]) -> None:
        if self.places:
            self.run(self.grid, (THREADS, 1, 1), (self.table.data.ptr, *[sources[k].data.ptr for k in self.places]))


class Gather:
    """Copies fixed arrays to where a block has them, in some piece of memory, by one launch."""

    def __init__(self, fixed: Sequence[Any], block: Block) -> None:
        kept = [(array, place) for array, (place, _, _) in zip(fixed, block.kinds, strict=True) if array.nbytes]
        self.any = bool(kept)
        if not kept:
            return
        rows = [[array.data.ptr, place, array.nbytes] for array, place in kept]
        self.table = cupy().asarray(np.asarray(rows, np.int64))
        self.run = function(GATHER)
        self.grid = _grid([array for array, _ in kept])

    def __call__(self, memory: Any) -> None:
        if self.any:
            self.run(self.grid, (THREADS, 1, 1), (self.table.data.ptr, memory.ptr))


class Block:
    """Arrays of certain types side by side in one piece of memory."""

    def __init__(self, like: Sequence[Any]) -> None:
        self.kinds: list[tuple[int, tuple[int, ...], Any]] = []
        total = 0
        for array in like:
            self.kinds.append((total, array.shape, array.dtype))
            total += -(-array.nbytes // APART) * APART
        self.bytes = max(total, 1)

    def arrays(self, memory: Any) -> list[Any]:
        """The arrays in a piece of memory."""
        ndarray = cupy().ndarray
        return [ndarray(shape, dtype, memory + place) for place, shape, dtype in self.kinds]


class Given:
    """Results that were handed out: the same arrays serve again once nobody else refers to them."""

    def __init__(self, block: Block) -> None:
        self.memory = cupy().cuda.alloc(block.bytes)
        self.arrays = block.arrays(self.memory)
        self.shapes = [a.shape for a in self.arrays]
        self.alone = self._references()

    def free(self) -> bool:
        """Whether the arrays are ours alone, and still of the shapes they had."""
        return self._references() == self.alone and [a.shape for a in self.arrays] == self.shapes

    def _references(self) -> list[int]:
        """How many there are to the arrays (views have one), to their pointers, and to the memory."""
        arrays = self.arrays
        return [*map(getrefcount, arrays), *[getrefcount(a.data) for a in arrays], getrefcount(self.memory.mem)]


class Arena:
    """An allocator of one piece of memory, from which nothing is given back. Until `made`, it only counts."""

    def __init__(self, malloc: Callable[[int], Any]) -> None:
        self.malloc = malloc
        self.held: list[Any] = []
        self.memory: Any = None
        self.bytes = 0

    def make(self) -> None:
        """Take as much memory as has been asked for; what is asked for next is the same again."""
        self.memory = self.malloc(max(self.bytes, 1))
        self.held = []
        self.bytes = 0

    def __call__(self, size: int) -> Any:
        place = self.bytes
        self.bytes += -(-size // APART) * APART
        if self.memory is None:
            self.held.append(self.malloc(size))
            return self.held[-1]
        return self.memory + place


class Whole:
    """A call that is one kernel, which reads arguments and writes results where they are."""

    def __init__(self, one: merging.Merged, arena: Arena, inputs: int) -> None:
        self.run = function(one.text)
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
        self.run((1, 1, 1), (merging.THREADS, 1, 1), tuple([known[k] for k in self.places]))


def whole(
    calls: Sequence[Call], inputs: Sequence[Any], results: Sequence[Any], block: Block, arena: Arena
) -> Whole | None:
    """The launches of a call as one kernel, if they can be that, and write the results to memory of the arena."""
    found = list(merging.runs(calls))
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
    return Whole(merging.merged(found[0], regions), arena, len(inputs))


def send(calls: Sequence[Call]) -> None:
    """Launch what was noted, small neighbours as one kernel."""
    for run in merging.runs(calls):
        if len(run) == 1:
            function(run[0].text)((*run[0].grid, 1), (*run[0].block, 1), run[0].arguments)
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
        self.held: list[Any] = []  # constants whose addresses the launches have
        self.given: list[Given] = []
        self.turn = 0
        current = cp.cuda.get_current_stream()
        stream = cp.cuda.Stream(non_blocking=True)
        with cp.cuda.using_allocator(self.pool.malloc), stream:
            stream.wait_event(current.record())
            self.inputs = [cp.empty_like(a, order="C") for a in arguments]
            for mine, given in zip(self.inputs, arguments, strict=True):
                mine[...] = given
            self.block = Block(self._dense(run))
            if sum(a.nbytes for a in self.inputs) + self.block.bytes > MOST_BYTES:
                raise ValueError("too much to copy")
            self.whole = self._as_one(run)
            if self.whole is None:
                self._record(run, stream)
        stream.synchronize()
        if self.whole is None:
            # outside of the pool: memory that the recorded call has given back to it is written to at each launch
            self.copy_in = Copy(self.inputs)
            self.gather = Gather(self.results, self.block)

    def _as_one(self, run: Run) -> Whole | None:
        """The call as one kernel, if it is small enough, and nothing else than kernels."""
        arena = Arena(self.pool.malloc)
        tape = Tape(send)
        for _ in range(2):
            with self.cp.cuda.using_allocator(arena), taped(tape):
                results = self._dense(run)
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

    def _record(self, run: Run, stream: Any) -> None:
        """Record the call as a CUDA graph."""
        # the memory that the call takes lies in the pool then, and its libraries and kernels are ready
        for _ in range(2):
            self._dense(run)
            self._noted(run, [])
        stream.synchronize()
        stream.begin_capture()
        try:
            self.results = self._noted(run, self.held)
        finally:
            self.graph = stream.end_capture()

    def _noted(self, run: Run, held: list[Any]) -> list[Any]:
        """Run the call with small kernels joined; `held` gets the constants they read."""
        with taped(Tape(send)) as tape:
            results = self._dense(run)
            tape.flush()
        held += tape.held
        return results

    def _dense(self, run: Run) -> list[Any]:
        """The results, dense: they are copied by bytes."""
        return [dense(a) for a in run(*self.inputs)]

    def __call__(self, arguments: Sequence[Any]) -> tuple[Any, ...] | None:
        """The results; None for arguments at addresses that the kernel is not written for."""
        if self.whole is not None:
            addresses = [a.data.ptr for a in arguments]
            for address in addresses:
                if address % UNIT:
                    return None
            found = self._room()
            self.whole(addresses, found.memory)
            return tuple(found.arrays)
        self.copy_in(arguments)
        self.graph.launch(self.cp.cuda.get_current_stream())
        found = self._room()
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
            recording = self.recordings.get(self._key(args))
            found = None if recording is None else self._replayed(recording, args)
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
