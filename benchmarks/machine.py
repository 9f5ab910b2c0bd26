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
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import ROOT, Settings, environment

COPY_SIZES = (2**18, 2**21, 2**24, 2**27, 2**28)
"""Bytes of source and destination together, from what a core's own cache holds to main memory."""

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


def copy_bandwidth(size: int, seconds: float = 0.3) -> float:
    """Bytes read and written per second by a copy between two arrays whose pages are there already."""
    source = np.ones(size // 16)
    target = np.zeros_like(source)
    inner = max(1, 2**22 // size)

    def copies() -> None:
        for _ in range(inner):
            np.copyto(target, source)

    return inner * 2 * source.nbytes / best_of(copies, seconds)


def product_rate(dtype: type[np.floating[Any]], n: int = 1024, seconds: float = 0.5) -> float:
    """Floating-point operations per second of a square matrix product by NumPy's BLAS."""
    a = np.random.default_rng(0).random((n, n), np.float64).astype(dtype)
    out = np.empty_like(a)
    return 2 * n**3 / best_of(lambda: np.matmul(a, a, out=out), seconds)


def limits() -> dict[str, Any]:
    return {
        "copy": [[size, copy_bandwidth(size)] for size in COPY_SIZES],
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
    copies = zip(first["copy"], second["copy"], strict=True)
    return {
        "copy": [[size, max(rate, other)] for (size, rate), (_, other) in copies],
        **{name: max(first[name], second[name]) for name in ("sgemm", "dgemm")},
    }


def copy_limit(found: dict[str, Any], size: float) -> float:
    """The measured copy bandwidth for a working set of so many bytes: of the nearest size that was measured."""
    nearest = min(found["copy"], key=lambda point: abs(math.log(point[0] / max(size, 1))))
    return float(nearest[1])


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
