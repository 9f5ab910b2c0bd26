"""Processes, rounds and statistics: measure several peers so that the machine's moods touch all of them alike."""

from __future__ import annotations

import compileall
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]


class Missing(Exception):
    """A peer gave no figure; the message says why."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What many samples say: the median, and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Summary:
        if len(samples) == 1:
            return cls(samples[0], samples[0], samples[0])
        low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(median, low, high)

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, relative to the median."""
        return (self.high - self.low) / 2 / self.median


def ratio(times: Sequence[float], base: Sequence[float]) -> float:
    """How much longer `times` are: the median over rounds, each compared with the base in the same round."""
    return statistics.median(a / b for a, b in zip(times, base, strict=True))


def geometric_mean(values: Sequence[float]) -> float:
    return statistics.geometric_mean(values)


def interleave(
    batches: Mapping[str, Callable[[], float]],
    rounds: int,
    budget: float = float("inf"),
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Take one batch of each peer in turn, A B C A B C ..., for so many rounds or seconds, but at least five rounds.

    Returns the samples of the peers that lasted, all equally many, and why the others did not.
    """
    samples: dict[str, list[float]] = {name: [] for name in batches}
    lost: dict[str, str] = {}
    start = clock()
    for done in range(rounds):
        if done >= 5 and clock() - start > budget:
            break
        for name, batch in batches.items():
            if name not in lost:
                try:
                    samples[name].append(batch())
                except Missing as reason:
                    lost[name] = str(reason)
                    del samples[name]
    return samples, lost


THREAD_VARIABLES = (
    "GRAPHC_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
)
"""Read by the libraries when they are imported, so they are set before."""

CACHE_VARIABLES = ("TORCHINDUCTOR_CACHE_DIR", "NUMBA_CACHE_DIR", "GRAPHC_CACHE_DIR", "XDG_CACHE_HOME")


def make_byte_code() -> None:
    """Compile graphc and the benchmarks to byte code, as installing a package does: the peers have theirs."""
    for folder in ("graphc", "passes", "backends", "benchmarks"):
        compileall.compile_dir(ROOT / folder, quiet=2)  # where it can't be written, imports take longer


def make_machine_code() -> None:
    """Compile what graphc's kernels call, as installing graphc does."""
    command = [sys.executable, "-m", "graphc.backends.numpy.llvm.prebuilt"]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


def environment(threads: int, caches: Path) -> dict[str, str]:
    """The variables of a worker: how many threads a library may have, and where it keeps what it compiled."""
    single = " --xla_cpu_multi_thread_eigen=false" if threads == 1 else ""
    return {
        **os.environ,
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        **{name: str(caches / name.lower()) for name in CACHE_VARIABLES},
        "PYTENSOR_FLAGS": f"base_compiledir={caches / 'pytensor'}",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # a pool of processes would share the CPU with what is measured
        "OMP_WAIT_POLICY": "passive",  # idle threads sleep while others are measured
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": (os.environ.get("XLA_FLAGS", "") + single).strip(),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONHASHSEED": "0",
    }


class Process:
    """A worker process and its pipe. Whatever goes wrong in it is `Missing` here, with the reason."""

    def __init__(
        self, peer: str, settings: Settings, caches: Path, module: str = "benchmarks.worker", timeout: float = 120
    ) -> None:
        self.peer = peer
        self.connection, theirs = Pipe()
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process)
        quick = "quick" if settings.quick else "full"
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, peer, str(theirs.fileno()), quick, *map(str, settings.cpus)],
            cwd=caches,  # compilers leave files where they run
            env=environment(settings.threads, caches),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self.errors,
            stderr=self.errors,
            start_new_session=True,
        )
        theirs.close()
        try:
            self.hello: dict[str, Any] = self.answer(timeout)
        except Missing:
            self.close()
            raise

    def send(self, *request: Any) -> None:
        try:
            self.connection.send(request)
        except OSError:
            raise Missing(self.ending()) from None

    def answer(self, timeout: float) -> Any:
        """The answer to the request that was sent."""
        try:
            if not self.connection.poll(timeout):
                self.close()
                raise Missing(f"no answer in {timeout:.0f} s")
            kind, value = self.connection.recv()
        except (EOFError, OSError):
            raise Missing(self.ending()) from None
        if kind != "ok":
            raise Missing(value)
        return value

    def ask(self, *request: Any, timeout: float = 120) -> Any:
        self.send(*request)
        return self.answer(timeout)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def ending(self) -> str:
        """How the process died."""
        self.end()
        code = self.process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        said: list[str] = []
        if not self.errors.closed:
            self.errors.seek(0)
            said = self.errors.read().decode(errors="replace").strip().splitlines()
            self.errors.close()
        return f"crashed ({how}){': ' + said[-1].strip()[:150] if said else ''}"

    def close(self) -> None:
        """End the process, and forget what it printed."""
        self.end()
        self.errors.close()

    def end(self) -> None:
        """End the process and what it started."""
        self.connection.close()
        if self.alive:
            try:
                self.process.wait(0.5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run is made."""

    quick: bool = False
    threads: int = 1
    cpus: tuple[int, ...] = ()
    """The CPUs that are measured on; empty if the system can't pin processes."""

    @property
    def rounds(self) -> int:
        return 7 if self.quick else 25

    @property
    def budget(self) -> float:
        """Seconds for the rounds of one workload, all peers together."""
        return 2.0 if self.quick else 20.0

    @property
    def patience(self) -> float:
        """Seconds to wait for a program to be compiled."""
        return 60.0 if self.quick else 300.0


def last_cpus(threads: int) -> tuple[int, ...]:
    """The last CPUs that this process may use: the first ones serve interrupts and everybody else."""
    if not hasattr(os, "sched_getaffinity"):
        return ()
    return tuple(sorted(os.sched_getaffinity(0))[-threads:])
