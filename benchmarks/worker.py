"""The process of one peer: `python -m benchmarks.worker PEER DESCRIPTOR QUICK CPU...`, driven over a pipe.

It answers one request at a time and is idle between them. A request is a tuple of a name and its arguments; an answer
is `("ok", value)`, `("missing", reason)` or `("failed", reason)`.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from benchmarks.limit import limit
from benchmarks.peers import PEERS
from benchmarks.prepared import Array, Prepared
from benchmarks.workload import Unavailable
from benchmarks.workloads import compiled, timed

LONG: Final = 0.05
"""Seconds of a call that finds the caches as it may: it works for much longer than they take to fill."""


def run_on(cpus: list[int]) -> None:
    """Keep every thread of this process on some CPUs."""
    if hasattr(os, "sched_setaffinity") and cpus:
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), cpus)


class Worker:
    """One peer, and the program it has ready."""

    def __init__(self, peer: str, quick: bool, cpus: list[int]) -> None:
        self.rows = {**timed(quick), **compiled(quick)}
        self.cpus = cpus
        self.everywhere = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        run_on(cpus)  # before the import: thread pools are made to fit
        start = time.perf_counter()
        self.peer = PEERS[peer].load()
        self.hello = {"version": self.peer.version(), "import": time.perf_counter() - start}
        self.prepared: Prepared | None = None
        self.calls = 1
        """Of a batch."""
        self.before = 1
        """Calls before a batch that are not timed."""

    def prepare(self, name: str) -> list[Array]:
        """Compile on any CPU; the results of a first call."""
        self.release()
        run_on(self.everywhere)
        try:
            self.prepared = self.peer.prepare(self.rows[name])
            return self.prepared.results()
        finally:
            run_on(self.cpus)

    def limit(self, name: str, nbytes: int) -> None:
        """Get ready what the machine can do at most of a row's work, instead of a program."""
        self.release()
        self.prepared = limit(self.rows[name], nbytes)

    def calibrate(self, seconds: float) -> int:
        """Choose how many calls make a batch of about so many seconds; that many."""
        self.calls = self.before = 1  # not what suits the program before, which may have been a thousand times as short
        while True:
            elapsed = min(self.batch(), self.batch()) * self.calls
            self.before = 0 if self.calls == 1 and elapsed > LONG else max(1, self.calls // 100)
            if elapsed >= 0.8 * seconds:
                return self.calls
            growth = 1.1 * seconds / max(elapsed, 1e-9)
            self.calls = max(self.calls + 1, int(self.calls * min(growth, 100.0)))

    def batch(self) -> float:
        """Seconds per call of one batch."""
        prepared = self.ready()
        prepared.reset()
        if self.before:
            prepared.run(self.before)  # other processes have filled the caches meanwhile
        start = time.perf_counter_ns()
        prepared.run(self.calls)
        return (time.perf_counter_ns() - start) / self.calls / 1e9

    def latency(self, name: str) -> tuple[float, list[Array]]:
        """Seconds from the program to its first results, nothing compiled before; the results."""
        start = time.perf_counter()
        prepared = self.peer.prepare(self.rows[name])
        results = prepared.results()
        return time.perf_counter() - start, results

    def memory(self, name: str) -> dict[str, int]:
        """The most memory that calls take beyond what is there before, in bytes: "first" and "later" calls.

        There is no "first" where it is the first call that compiles: it would count the compiler.
        """
        self.prepared = self.peer.prepare(self.rows[name])
        found = {"first": self.growth()} if self.peer.compiles_ahead else {}
        self.prepared.results()
        return {**found, "later": self.growth()}

    def growth(self) -> int:
        """By how many bytes the process grows during a call at most, all free memory given back before."""
        prepared = self.ready()
        prepared.reset()
        self.trim()
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        prepared.run(1)
        return resident("VmHWM") - before

    def ready(self) -> Prepared:
        assert self.prepared is not None, "prepare comes first"
        return self.prepared

    def release(self) -> None:
        """Forget the program and its arrays."""
        self.prepared = None
        self.trim()

    @staticmethod
    def trim() -> None:
        """Give memory that is free back to the system."""
        gc.collect()
        if sys.platform == "linux":
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
            if trim is not None:
                trim(0)


def resident(field: str) -> int:
    """A size from /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise Unavailable(f"the system does not tell {field}")


def described(error: BaseException) -> str:
    """An error in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]


def serve(connection: Connection, peer: str, quick: bool, cpus: list[int]) -> None:
    """Answer requests until the pipe closes."""
    try:
        worker = Worker(peer, quick, cpus)
    except ImportError as error:
        connection.send(("missing", f"not installed: {error}"))
        return
    connection.send(("ok", worker.hello))
    gc.disable()
    while True:
        try:
            request, *arguments = connection.recv()
        except EOFError:
            return
        answer: tuple[str, Any]
        try:
            answer = ("ok", getattr(worker, request)(*arguments))
        except Unavailable as error:
            answer = ("missing", str(error))
        except Exception as error:
            answer = ("failed", described(error))
        connection.send(answer)


def main() -> None:
    peer, descriptor, quick, *cpus = sys.argv[1:]
    serve(Connection(int(descriptor)), peer, quick == "quick", [int(cpu) for cpu in cpus])


if __name__ == "__main__":
    main()
