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

from graphc.backends.cupy.arguments import DeviceSpec
from graphc.backends.cupy.compiling import function
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

# Ops whose CuPy meaning neither waits for the GPU nor copies from the host; where sizes decide, it refuses by itself.
RECORDABLE: Final = frozenset(
    (
        *("identity", "stop_gradient", "reshape", "transpose", "broadcast_to", "slice", "get"),
        *("iota", "concatenate", "unslice", "insert_slice", "gather", "scatter_add"),
        *("matmul", "derived_key", "random_bits", "random_below"),
    )
)

Run = Callable[..., tuple[Any, ...]]


def copy_text(count: int) -> str:
    """The text of a kernel that copies so many arrays by bytes, to the addresses in a table, with their sizes."""
    parameters = ", ".join(f"const u8* a{k}" for k in range(count))
    cases = "\n".join(
        f"    case {k}: copied(a{k}, (u8*)table[{2 * k}], table[{2 * k + 1}]); break;" for k in range(count)
    )
    return f"""{TYPES}
struct alignas({UNIT}) Unit {{ u64 v[2]; }};
__device__ void copied(const u8* a, u8* b, i64 n) {{
  const i64 first = (i64)blockIdx.x * blockDim.x + threadIdx.x, step = (i64)blockDim.x * gridDim.x;
  const bool aligned = (((u64)a | (u64)b) & {UNIT - 1}) == 0;
  const i64 whole = aligned ? n / {UNIT} : 0;
  for (i64 t = first; t < whole; t += step) ((Unit*)b)[t] = ((const Unit*)a)[t];
  for (i64 t = whole * {UNIT} + first; t < n; t += step) b[t] = a[t];
}}
extern "C" __global__ void kernel(const i64* table, {parameters}) {{
  switch (blockIdx.y) {{
{cases}
  }}
}}
"""


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
        units = -(-max(array.nbytes for array in kept) // UNIT)
        self.grid = max(1, min(-(-units // THREADS), 1024)), len(kept), 1

    def __call__(self, sources: Sequence[Any]) -> None:
        if self.places:
            self.run(self.grid, (THREADS, 1, 1), (self.table.data.ptr, *[sources[k].data.ptr for k in self.places]))


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


class Recording:
    """The launches of a call with certain shapes, on one device and stream."""

    def __init__(self, run: Run, arguments: Sequence[Any]) -> None:
        cp = cupy()
        self.cp = cp
        self.lock = threading.Lock()
        self.pool = cp.cuda.MemoryPool()
        current = cp.cuda.get_current_stream()
        stream = cp.cuda.Stream(non_blocking=True)
        with cp.cuda.using_allocator(self.pool.malloc), stream:
            stream.wait_event(current.record())
            self.inputs = [cp.empty_like(a, order="C") for a in arguments]
            for mine, given in zip(self.inputs, arguments, strict=True):
                mine[...] = given
            # before the recording: memory that the recorded call gives back to the pool is written to at each launch
            self.copy_in = Copy(self.inputs)
            # the memory that the call takes lies in the pool then, and its libraries are ready
            results = self._dense(run)
            self.block = Block(results)
            if sum(a.nbytes for a in self.inputs) + self.block.bytes > MOST_BYTES:
                raise ValueError("too much to copy")
            self.memory = cp.cuda.alloc(self.block.bytes)
            gather = Copy(self.block.arrays(self.memory))
            gather(results)
            del results
            gather(self._dense(run))
            stream.synchronize()
            stream.begin_capture()
            try:
                self.results = self._dense(run)
                gather(self.results)
            finally:
                self.graph = stream.end_capture()
            self.gather = gather  # its table is read whenever the graph runs
        self.given: list[Given] = []
        self.turn = 0
        stream.synchronize()

    def _dense(self, run: Run) -> list[Any]:
        """The results, dense: they are copied by bytes."""
        results = run(*self.inputs)
        return [a if a.flags.c_contiguous else self.cp.ascontiguousarray(a) for a in results]

    def __call__(self, arguments: Sequence[Any]) -> tuple[Any, ...]:
        stream = self.cp.cuda.get_current_stream()
        self.copy_in(arguments)
        self.graph.launch(stream)
        found = self._room()
        found.memory.copy_from_device_async(self.memory, self.block.bytes, stream)
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
        cp, ndarray = self.cp, self.cp.ndarray
        if len(args) != len(self.specs):
            return self.run(*args)
        dense = self.dense
        arguments = [
            a if type(a) is ndarray and a.dtype == dtype and dense(a) else spec.convert(a)
            for a, dtype, spec in zip(args, self.dtypes, self.specs, strict=True)
        ]
        stream = cp.cuda.get_current_stream()
        # the order on one stream is what keeps a call from overwriting what another still reads
        key = cp.cuda.runtime.getDevice(), stream.ptr, tuple([a.shape for a in arguments])
        recording = self.recordings.get(key)
        if recording is None:
            if key in self.recordings:
                return self.run(*arguments)
            recording = self._consider(key, arguments)
        if recording is None or not recording.lock.acquire(blocking=False):
            return self.run(*arguments)
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
