"""The CuPy backend beside jax.jit, torch.compile and plain CuPy on one GPU, at sizes that fill it.

    python -m benchmarks.gpu --out out/gpu

Every library has its arrays on the GPU, and single precision is single precision: no TF32. Programs are compiled first,
in several processes at once, into the caches that each library keeps; then they are timed one after another, in one
process. Where a library's stream is known, CUDA events enclose a batch of calls; jax is timed by the clock, from call
to `block_until_ready`. A row counts the bytes that have to move at least, and says which share of the speed of a copy,
measured in the same run, that makes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.tree import leaves, mapped
from benchmarks.workload import Unavailable, Workload
from benchmarks.workloads.attention import Attention
from benchmarks.workloads.chain import Chain
from benchmarks.workloads.finance import BlackScholes, Greeks, call_price
from benchmarks.workloads.learning import Embedding, ExponentialNetwork, Mnist
from benchmarks.workloads.normalisation import (
    Gelu,
    LayerNorm,
    LayerNormGradient,
    LogSumExp,
    Softmax,
    Standardise,
    SumOfSquares,
)

PEERS: Final = ("graphc", "jax", "torch.compile", "cupy")
BATCH_SECONDS: Final = 0.05
ROUNDS: Final = 7
WARMERS: Final = 6  # processes that compile at the same time
Run = Callable[[], Any]


def rows() -> list[Workload]:
    """The workloads, those that matter most first: a run that is short of time leaves out the last."""
    return [
        Softmax(16_384, 1024),
        LayerNorm(16_384, 1024),
        Gelu(8192, 4096),
        BlackScholes("black-scholes-f32", 1 << 24, np.float32),
        Mnist(1000),
        ExponentialNetwork(),
        Attention(64, 512, 64),
        LayerNormGradient(16_384, 1024),
        BlackScholes("black-scholes-f64", 1 << 23, np.float64),
        LogSumExp(32_768, 1024),
        Standardise(32_768, 1024),
        Greeks("greeks-f64", 1 << 22, np.float64),
        Embedding(20_000, 50_000),
        SumOfSquares(1 << 26),
        Chain("chain-f32", 1 << 26, np.float32),
    ]


@dataclass
class Row:
    """What was measured of a workload: seconds of a call by peer, and why a peer has none."""

    name: str
    title: str
    bytes: int
    flops: float
    seconds: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    differs: dict[str, float] = field(default_factory=dict)


def prepared(peer: str, workload: Workload, inputs: Any) -> tuple[Run, Callable[[Any], list[np.ndarray[Any, Any]]]]:
    """A call of the program on arguments that lie on the GPU, and what makes NumPy arrays of its results."""
    if peer == "graphc":
        import cupy

        import graphc

        compiled = graphc.compile(workload.graphc(), *inputs, backend="cupy")
        arguments = mapped(cupy.asarray, inputs)
        return lambda: compiled(*arguments), lambda found: [cupy.asnumpy(x) for x in leaves(found)]
    if peer == "cupy":
        import cupy

        if workload.derivative:
            raise Unavailable("CuPy has no derivatives")
        program = workload.numpy()
        if isinstance(workload, BlackScholes):
            from cupyx.scipy.special import erf

            program = lambda *market: call_price(cupy, erf, *market)  # noqa: E731  SciPy's own takes no CuPy arrays
        arguments = mapped(cupy.asarray, inputs)
        return lambda: program(*arguments), lambda found: [cupy.asnumpy(x) for x in leaves(found)]
    if peer == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_default_matmul_precision", "highest")
        program = jax.jit(workload.jax())
        arguments = mapped(jax.device_put, inputs)
        return lambda: program(*arguments), lambda found: [np.asarray(x) for x in leaves(found)]
    import torch

    torch.set_float32_matmul_precision("highest")
    program = torch.compile(workload.torch(), fullgraph=True, dynamic=False)
    # what a program changes in place goes on changing: it trains, as the others do not
    arguments = mapped(lambda x: torch.tensor(x, device="cuda"), inputs)
    return lambda: program(*arguments), lambda found: [x.detach().cpu().numpy() for x in leaves(found)]


def events(peer: str) -> tuple[Callable[[], Any], Callable[[Any, Any], float]]:
    """How to mark a moment on the peer's stream, and the seconds between two of them once both are over."""
    if peer == "jax":
        return time.perf_counter, lambda a, b: b - a
    if peer == "torch.compile":
        import torch

        def torch_mark() -> Any:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            return event

        def torch_between(a: Any, b: Any) -> float:
            b.synchronize()
            return float(a.elapsed_time(b)) / 1e3

        return torch_mark, torch_between
    import cupy

    def mark() -> Any:
        event = cupy.cuda.Event()
        event.record()
        return event

    def between(a: Any, b: Any) -> float:
        b.synchronize()
        return float(cupy.cuda.get_elapsed_time(a, b)) / 1e3

    return mark, between


def waited(peer: str, found: Any) -> None:
    """Wait for a result of jax; the others are waited for by their events."""
    if peer == "jax":
        import jax

        jax.block_until_ready(found)


def seconds(peer: str, run: Run) -> float:
    """The median time of a call, in batches long enough that marks do not count."""
    mark, between = events(peer)

    def batch(calls: int) -> float:
        start = mark()
        for _ in range(calls):
            found = run()
        waited(peer, found)
        return between(start, mark()) / calls

    for _ in range(4):
        one = batch(1)
    calls = max(3, min(2000, int(BATCH_SECONDS / max(one, 1e-6))))
    one = batch(calls)
    calls = max(3, min(5000, int(BATCH_SECONDS / max(one, 1e-6))))
    return statistics.median(batch(calls) for _ in range(ROUNDS))


def difference(a: list[np.ndarray[Any, Any]], b: list[np.ndarray[Any, Any]]) -> float:
    """The largest difference of two libraries' results, relative to the largest element of each array."""
    worst = 0.0
    for x, y in zip(a, b, strict=True):
        x, y = (np.asarray(v, np.float64).squeeze() for v in (x, y))
        scale = float(np.max(np.abs(y), initial=0)) or 1.0
        worst = max(worst, float(np.max(np.abs(x - y), initial=0)) / scale)
    return worst


def warm(names: list[str]) -> None:
    """Compile programs, so that the libraries' caches hold them."""
    for row in rows():
        for peer in ("graphc", "torch.compile"):
            if f"{row.name}:{peer}" in names:
                try:
                    run, host = prepared(peer, row, row.inputs())
                    for _ in range(2):
                        host(run())
                except Exception as error:
                    print(f"{row.name} {peer}: {type(error).__name__}: {str(error)[:300]}", flush=True)


def warm_all(limit: float) -> None:
    """Compile everything in several processes, for at most so many seconds."""
    jobs = [f"{row.name}:{peer}" for row in rows() for peer in ("torch.compile", "graphc")]
    processes = []
    for k in range(WARMERS):
        command = [sys.executable, "-m", "benchmarks.gpu", "--warm", *jobs[k::WARMERS]]
        processes.append(subprocess.Popen(command))
    end = time.monotonic() + limit
    for process in processes:
        try:
            process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def limits() -> dict[str, float]:
    """The speed of a copy, bytes read and written, and of a product of matrices in single precision."""
    import cupy as cp

    a = cp.ones(1 << 28, np.float32)
    b = cp.empty_like(a)
    copy = 2 * a.nbytes / seconds("cupy", lambda: cp.copyto(b, a))
    m = cp.asarray(np.random.default_rng(0).random((8192, 8192), np.float32))
    product = 2 * 8192.0**3 / seconds("cupy", lambda: cp.matmul(m, m))
    return {"copy_bytes_per_second": copy, "product_flops_per_second": product}


def moved(inputs: Any, results: list[np.ndarray[Any, Any]]) -> int:
    """The bytes that have to move at least: arguments read once, results written once."""
    return sum(np.asarray(x).nbytes for x in leaves(inputs)) + sum(x.nbytes for x in results)


def measure(limit: float, keep: Callable[[list[Row]], None]) -> list[Row]:
    """Time every row by every peer, until the time is over; `keep` is given the rows so far after each."""
    end = time.monotonic() + limit
    found = []
    for workload in rows():
        if time.monotonic() > end:
            print(f"out of time before {workload.name}", flush=True)
            break
        row = Row(workload.name, workload.title, 0, float(workload.flops or 0))
        inputs = workload.inputs()
        results: dict[str, list[np.ndarray[Any, Any]]] = {}
        for peer in PEERS:
            try:
                run, host = prepared(peer, workload, inputs)
                results[peer] = host(run())
                row.seconds[peer] = seconds(peer, run)
                del run
            except Exception as error:
                row.missing[peer] = f"{type(error).__name__}: {str(error)[:200]}"
        if "graphc" in results:
            row.bytes = moved(inputs, results["graphc"])
            for peer in ("jax", "cupy"):
                if peer in results:
                    try:
                        row.differs[peer] = difference(results["graphc"], results[peer])
                    except ValueError as error:
                        row.missing[f"{peer}, compared"] = str(error)[:200]
        found.append(row)
        keep(found)
        print(line(row, {}), flush=True)
        for peer, why in row.missing.items():
            if "has no derivatives" not in why:
                print(f"    {peer}: {why}", flush=True)
        free()
    return found


def free() -> None:
    """Give the GPU's memory back between rows."""
    import gc

    import cupy

    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    if "torch" in sys.modules:
        sys.modules["torch"].cuda.empty_cache()


def line(row: Row, known: dict[str, float]) -> str:
    """A row of the table: microseconds by peer, how much faster graphc is than the best of the others."""
    times = " ".join(f"{row.seconds[p] * 1e6:10.1f}" if p in row.seconds else "         –" for p in PEERS)
    others = [row.seconds[p] for p in ("jax", "torch.compile") if p in row.seconds]
    mine = row.seconds.get("graphc")
    speed = f"{min(others) / mine:6.2f}×" if mine and others else "       "
    share = ""
    if mine and known:
        share = f"{row.bytes / mine / known['copy_bytes_per_second']:7.0%}"
        if row.flops:
            share += f" {row.flops / mine / known['product_flops_per_second']:7.0%} of a product"
    worst = max(row.differs.values(), default=float("nan"))
    return f"{row.name:24} {times} {speed} {share} {worst:9.1e}"


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    import cupy as cp

    properties = cp.cuda.runtime.getDeviceProperties(0)
    versions = {"cupy": cp.__version__, "numpy": np.__version__}
    for name in ("jax", "torch"):
        if name in sys.modules:
            versions[name] = str(sys.modules[name].__version__)
    return {
        "gpu": properties["name"].decode(),
        "driver": cp.cuda.runtime.driverGetVersion(),
        "driver_version": driver_version(),
        "runtime": cp.cuda.runtime.runtimeGetVersion(),
        "versions": versions,
        "date": time.strftime("%Y-%m-%d"),
    }


@lru_cache(maxsize=1)
def driver_version() -> str:
    """The version of the driver, in the words of nvidia-smi."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return (made.stdout.splitlines() or ["unknown"])[0].strip()


def report(found: list[Row], known: dict[str, float], about: dict[str, Any]) -> str:
    """The table, and the geometric mean of how much faster graphc is than the best of jax.jit and torch.compile."""
    head = f"{'µs a call':24} {' '.join(f'{p:>10.10}' for p in PEERS)}   best/graphc, share of a copy, difference"
    ratios = []
    for row in found:
        others = [row.seconds[p] for p in ("jax", "torch.compile") if p in row.seconds]
        if "graphc" in row.seconds and others:
            ratios.append(min(others) / row.seconds["graphc"])
    mean = statistics.geometric_mean(ratios) if ratios else float("nan")
    return "\n".join(
        [
            f"{about['gpu']}, {about['date']}, {about['versions']}",
            f"copy {known['copy_bytes_per_second'] / 1e12:.2f} TB/s, "
            f"product {known['product_flops_per_second'] / 1e12:.1f} TFLOP/s in single precision",
            head,
            *(line(row, known) for row in found),
            f"geometric mean {mean:.2f}×",
        ]
    )


def main() -> None:
    """Measure, print the table, write it beside `gpu.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/gpu"))
    parser.add_argument("--seconds", type=float, default=95.0, help="to time rows; those left over are not timed")
    parser.add_argument("--warm-seconds", type=float, default=55.0, help="to compile programs beforehand")
    parser.add_argument("--warm", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if arguments.warm is not None:
        warm(arguments.warm)
        return
    start = time.monotonic()
    warm_all(arguments.warm_seconds)
    print(f"compiled for {time.monotonic() - start:.0f} s", flush=True)
    known = limits()
    arguments.out.mkdir(parents=True, exist_ok=True)

    def keep(found: list[Row]) -> None:
        content = {"machine": machine(), "limits": known, "rows": [asdict(row) for row in found]}
        (arguments.out / "gpu.json").write_text(json.dumps(content, indent=1), encoding="utf-8")

    found = measure(arguments.seconds, keep)
    text = report(found, known, machine())
    (arguments.out / "gpu.txt").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
