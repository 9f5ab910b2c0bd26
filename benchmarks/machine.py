"""What the machine is, and how fast it can copy and multiply: `python -m benchmarks.machine CPU...` prints the limits.

The limits are measured in a process of their own, with the threads and CPUs of the workers.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import ROOT, Settings, environment

COPY_SIZES = (2**18, 2**21, 2**24, 2**26, 2**27, 2**28)
"""Bytes read and written, from what a core's own cache holds to main memory."""

VECTOR_FLAGS = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512dq",
    "avx512_bf16",
    "amx_tile",
    "asimd",
    "sve",
    "sve2",
)


def best_of(work: Callable[[], object], seconds: float) -> float:
    """The shortest time of many runs within so many seconds; at least three."""
    best, runs, stop = math.inf, 0, time.perf_counter() + seconds
    while runs < 3 or time.perf_counter() < stop:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
        runs += 1
    return best


def copies(size: int) -> tuple[Callable[[], object], ...]:
    """Ways to read and write so many bytes in all, from one array to another whose pages are there already.

    The C library's copy, a plain loop of vectors and, where it can be made, one that writes past the cache: any of them
    may be the fastest.
    """
    from benchmarks import streaming  # graphc with it, whose import is timed in a process that has not yet done so

    source = np.ones(size // 16)
    target = np.zeros_like(source)
    ways = partial(np.copyto, target, source), partial(np.negative, source, out=target)
    return (*ways, streaming.copy_of(size // 2)) if streaming.available() else ways


def updates(size: int) -> tuple[Callable[[], object], ...]:
    """The way to read and write so many bytes in all, replacing each number in its place.

    It is faster than a copy: half as much memory is touched, and no line is fetched only to be overwritten.
    """
    array = np.ones(size // 16)
    return (partial(np.negative, array, out=array),)


def bandwidth_of(ways: Callable[[int], tuple[Callable[[], object], ...]], size: int, seconds: float = 0.3) -> float:
    """Bytes read and written per second by the fastest of some ways to move so many."""
    found = ways(size)
    return max(rate(way, size, seconds / len(found)) for way in found)


def rate(work: Callable[[], object], nbytes: int, seconds: float) -> float:
    """Bytes per second, if `work` moves so many."""
    inner = max(1, 2**22 // nbytes)

    def several() -> None:
        for _ in range(inner):
            work()

    return inner * nbytes / best_of(several, seconds)


def product_rate(dtype: type[np.floating[Any]], n: int = 1024, seconds: float = 0.5) -> float:
    """Floating-point operations per second of a square matrix product by NumPy's BLAS."""
    a = np.random.default_rng(0).random((n, n), np.float64).astype(dtype)
    out = np.empty_like(a)
    return 2 * n**3 / best_of(lambda: np.matmul(a, a, out=out), seconds)


def limits() -> dict[str, Any]:
    return {
        "copy": [[size, bandwidth_of(copies, size)] for size in COPY_SIZES],
        "update": [[size, bandwidth_of(updates, size)] for size in COPY_SIZES],
        "sgemm": product_rate(np.float32),
        "dgemm": product_rate(np.float64),
    }


def measured_limits(settings: Settings, caches: Path) -> dict[str, Any]:
    """The limits as a worker would meet them."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.machine", *map(str, settings.cpus)],
        env=environment(settings.threads, caches),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def best_limits(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The higher of two measurements: a machine that was busy for one of them is as fast as in the other."""

    def higher(kind: str) -> list[list[float]]:
        return [[size, max(a, b)] for (size, a), (_, b) in zip(first[kind], second[kind], strict=True)]

    return {
        **{kind: higher(kind) for kind in ("copy", "update")},
        **{name: max(first[name], second[name]) for name in ("sgemm", "dgemm")},
    }


def bandwidth(found: dict[str, Any], size: float, in_place: bool = False) -> float:
    """The measured bandwidth for so many bytes read and written, of a copy or in place.

    Between two sizes that were measured it is interpolated, in the logarithms of both.
    """
    points = found["update" if in_place and "update" in found else "copy"]
    sizes, rates = zip(*points, strict=True)
    return float(np.exp(np.interp(math.log(max(size, 1)), np.log(sizes), np.log(rates))))


def description(settings: Settings) -> dict[str, Any]:
    """The machine, the software around the peers, and the circumstances."""
    cpuinfo = _cpuinfo()
    flags = cpuinfo.get("flags", cpuinfo.get("Features", "")).split()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": cpuinfo.get("model name", platform.processor() or platform.machine()),
        "flags": [flag for flag in VECTOR_FLAGS if flag in flags],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "commit": _commit(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "threads": settings.threads,
        "pinned": list(settings.cpus),
        "quick": settings.quick,
    }


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    lines = [line.split(":", 1) for line in path.read_text().split("\n\n")[0].splitlines() if ":" in line]
    return {key.strip(): value.strip() for key, value in lines}


def _memory() -> int | None:
    """Bytes of main memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _commit() -> str | None:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or None


def main() -> None:
    from benchmarks.worker import run_on

    run_on([int(cpu) for cpu in sys.argv[1:]])
    print(json.dumps(limits()))


if __name__ == "__main__":
    main()
