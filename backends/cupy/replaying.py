"""Calls that come again: after a few with the same shapes, their launches are recorded, and sent as one from then on.

A small step spends its time on launches, not on arithmetic. Large arguments are not worth the copies that a recording
makes (see `recording`). What cannot be recorded, or fails to, runs as before.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

from graphc.backends.cupy.arguments import DeviceSpec
from graphc.backends.cupy.library import cupy, current_stream, several_devices
from graphc.backends.cupy.recording import COUNTED, MOST_BYTES, PATIENCE, Recording, Run
from graphc.environment import choice

MOST_RECORDINGS: Final = 8  # of a compiled function; each keeps its arrays
FEWEST_STEPS: Final = 2

# Ops whose CuPy meaning neither waits for the GPU nor copies from the host; where sizes decide, it refuses by itself.
RECORDABLE: Final = frozenset(
    (
        *("identity", "stop_gradient", "reshape", "transpose", "broadcast_to", "slice", "get"),
        *("iota", "concatenate", "unslice", "insert_slice", "gather", "scatter_add"),
        *("matmul", "derived_key", "random_bits", "random_below"),
    )
)


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
        if several_devices(self.cp):
            self.dense = _dense_here(self.cp, self.dense)
        self.lock = threading.Lock()
        self.counts: dict[Any, int] = {}
        self.recordings: OrderedDict[Any, Recording] = OrderedDict()
        self.plain: set[Any] = set()  # calls that are not recorded, or not any more
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
        if recording is None and key not in self.plain:
            recording = self._consider(key, arguments)
        found = None if recording is None else self._replayed(recording, key, arguments)
        return self.run(*arguments) if found is None else found

    def bind(self, fallback: Callable[..., Any], unpacked: bool, strict: bool) -> Callable[..., Any]:
        """A function that does the same for what is recorded, and hands all else to `fallback`; see `Loaded`."""
        ndarray, dense, dtypes = self.cp.ndarray, self.dense, self.dtypes
        if strict and any(spec.type.weak for spec in self.specs):
            return fallback

        def bound(*args: Any) -> Any:
            if len(args) != len(dtypes):
                return fallback(*args)
            for a, dtype in zip(args, dtypes, strict=True):
                if type(a) is not ndarray or a.dtype != dtype or not dense(a):
                    return fallback(*args)
            key = self._key(args)
            recording = self.recordings.get(key)
            if recording is not None:
                found = self._replayed(recording, key, args)
            else:
                # a call that is not recorded has been made before; it needs no more than these arrays
                found = self.run(*args) if key in self.plain else None
            if found is None:
                return fallback(*args)
            return found[0] if unpacked else found

        return bound

    def _key(self, arguments: Sequence[Any]) -> Any:
        # the order on one stream is what keeps a call from overwriting what another still reads
        return *current_stream(self.cp), tuple([a.shape for a in arguments])

    def _captured(self, key: Any) -> bool:
        """Whether the caller records the current stream, and this call is a part of that."""
        return bool(key[1]) and bool(self.cp.cuda.get_current_stream().is_capturing())

    def _replayed(self, recording: Recording, key: Any, arguments: Sequence[Any]) -> tuple[Any, ...] | None:
        """The results of a recorded call; None if another thread is about one, or the caller records."""
        # what the caller records is run whenever it pleases: it has to have memory of its own
        if self._captured(key) or not recording.lock.acquire(blocking=False):
            return None
        try:
            return recording(arguments)
        finally:
            recording.lock.release()

    def _consider(self, key: Any, arguments: Sequence[Any]) -> Recording | None:
        """Record a call that has been made often enough; None if it is not recorded, now or ever."""
        with self.lock:
            count = self.counts[key] = self.counts.get(key, 0) + 1
            if count <= PATIENCE or key in self.recordings or self._captured(key):
                if len(self.counts) > COUNTED:
                    self.counts.clear()
                return self.recordings.get(key)
            del self.counts[key]
            if len(self.plain) > COUNTED:
                self.plain.clear()
            found: Recording | None = None
            if sum(a.nbytes for a in arguments) <= MOST_BYTES:
                try:
                    found = Recording(self.run, arguments)
                except Exception as error:
                    # it runs without
                    self.failures = [*self.failures, f"{type(error).__name__}: {error}"][-MOST_RECORDINGS:]
            if found is None:
                self.plain.add(key)
                return None
            self.recordings[key] = found
            if len(self.recordings) > MOST_RECORDINGS:
                # not to be made again soon: of many kinds of calls in turn each would push out another
                self.plain.add(self.recordings.popitem(last=False)[0])
            return found


def _dense_here(cp: Any, dense: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether an array is dense, and on the current device."""
    return lambda a: a.data.device_id == cp.cuda.runtime.getDevice() and dense(a)


def wanted() -> bool:
    """Whether calls are recorded in this process: not under ``GRAPHC_CUDA_GRAPHS=off``."""
    return choice("GRAPHC_CUDA_GRAPHS", ("on", "off")) == "on"
