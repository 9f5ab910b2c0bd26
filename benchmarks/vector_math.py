"""How exact and how fast the vector functions are; writes the table of docs/vector-math.md.

    python -m benchmarks.vector_math [--stride 1] [--points 20000] [--only NAME...] [--publish]

Functions of one number are tried in single precision on every `stride`-th of all 2**32 floats, against the
double-precision function; all others on points of every magnitude and around hard places, against Arb. Both for this
processor and for plain x86-64 without fused multiplication, where this processor can run that. Times are those of a
loop over numbers in the first-level cache, of NumPy too, which gets `out=`.
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from graphc.backends.numpy.llvm.emit import Emitter  # noqa: E402
from graphc.backends.numpy.llvm.functions import ACCURATE, FAST, Function  # noqa: E402
from graphc.backends.numpy.llvm.machine import X86_BASELINE, Machine, host  # noqa: E402
from graphc.backends.numpy.llvm.values import F32, F64, DType, Value  # noqa: E402
from tests.kernel_loops import Loop  # noqa: E402
from tests.ulps import single_distance  # noqa: E402
from tests.vector_functions import QUICK, ROWS, Row, reference  # noqa: E402

PAGE: Final = ROOT / "docs" / "vector-math.md"
TABLE: Final = re.compile(r"(<!-- functions:[^\n]*-->\n)(.*?)(<!-- end -->)", re.DOTALL)
CHUNK: Final = 1 << 22
LENGTH: Final = 2048
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the table."""

    name: str
    dtype: str
    tier: str
    ulps: float
    ulps_baseline: float | None
    nanoseconds: float
    nanoseconds_numpy: float

    def line(self) -> str:
        baseline = "" if self.ulps_baseline is None else f"{self.ulps_baseline:.2f}"
        times = f"{self.nanoseconds:.2f} | {self.nanoseconds_numpy:.2f}"
        return f"| `{self.name}` | {self.dtype} | {self.tier} | {self.ulps:.2f} | {baseline} | {times} |"


def normal(name: str, x: Array) -> Array:
    """Where the fast tier makes promises: normal numbers, moderate angles."""
    size = np.abs(x)
    inside: Array = size >= 4 * np.finfo(x.dtype).smallest_normal
    if name in ("sin", "cos", "tan"):
        inside &= size < 2.0**17
    return inside


def largest_error_in_single(name: str, function: Function, fast: bool, machine: Machine, stride: int) -> float:
    """Over all floats of the domain that the stride meets, with the double-precision function as the truth."""

    def distance(e: Emitter, x: Value) -> Value:
        exact = ACCURATE[name](e, e.convert(x, F64))
        found = single_distance(e, function(e, x), exact)
        small = e.convert(e.abs(exact), F32) < 4 * 2.0**-126
        return e.select(small, 0.0, found) if fast else found

    loop = Loop(distance, [F32], machine, lanes=2 * machine.register // 8)
    ((low, high),) = ROWS[name].domains
    worst = 0.0
    for start in range(0, 1 << 32, CHUNK * stride):
        bits = np.arange(start, min(start + CHUNK * stride, 1 << 32), stride, dtype=np.uint64)
        x = bits.astype(np.uint32).view(np.float32)
        inside = (x > low) & (x < high) & (normal(name, x) if fast else True)
        worst = max(worst, float(np.max(np.where(inside, loop(x), 0))))
    return worst


def largest_error(name: str, function: Function, fast: bool, dtype: DType, machine: Machine, points: int) -> float:
    operands, values = reference(name, dtype, points)
    distances = values.distances(Loop(function, [dtype] * len(operands), machine)(*operands))
    if fast:
        smallest = 4 * np.finfo(dtype).smallest_normal
        distances = np.where(normal(name, operands[0]) & (np.abs(values.nearest) >= smallest), distances, 0)
    return float(np.max(distances))


def best_of(*runs: Callable[[], object]) -> list[float]:
    """Of each, the shortest time of many batches taken in turn, for one run."""
    best = [np.inf] * len(runs)
    for _ in range(300):
        for k, run in enumerate(runs):
            start = time.perf_counter()
            for _ in range(10):
                run()
            best[k] = min(best[k], (time.perf_counter() - start) / 10)
    return best


def times(row: Row, function: Function, dtype: DType) -> tuple[float, float]:
    """Nanoseconds for each element: the compiled loop, less the cost of calling it, and NumPy."""
    rng = np.random.default_rng(0)
    operands = [
        rng.uniform(max(low, -2) + 1e-3, min(high, 2) - 1e-3, LENGTH).astype(dtype) for low, high in row.domains
    ]
    loop = Loop(function, [dtype] * len(operands))
    result = np.empty(LENGTH, dtype)
    addresses = [array.ctypes.data for array in (result, *operands)]
    numpy = row.numpy
    arguments = {"out": result} if isinstance(numpy, np.ufunc) else {}
    short, long, other = best_of(
        lambda: loop.run(*addresses, loop.lanes),
        lambda: loop.run(*addresses, LENGTH),
        lambda: numpy(*operands, **arguments),
    )
    return (long - short) / (LENGTH - loop.lanes) * 1e9, other / LENGTH * 1e9


def measure(names: list[str], stride: int, points: int) -> Iterator[Measured]:
    baseline = X86_BASELINE if host().triple.startswith("x86_64") else None
    for name in names:
        for dtype, label in ((F32, "f32"), (F64, "f64")):
            for tier, table in (("accurate", ACCURATE), ("fast", FAST)):
                fast = tier == "fast"
                if fast and (name not in QUICK or (name in ("log", "tanh", "erf") and dtype == F64)):
                    continue
                errors: list[float | None] = []
                for machine in (host(), baseline):
                    if machine is None:
                        errors.append(None)
                    elif dtype == F32 and len(ROWS[name].domains) == 1:
                        errors.append(largest_error_in_single(name, table[name], fast, machine, stride))
                    else:
                        errors.append(largest_error(name, table[name], fast, dtype, machine, points))
                assert errors[0] is not None
                yield Measured(name, label, tier, errors[0], errors[1], *times(ROWS[name], table[name], dtype))


def machine() -> str:
    here = host()
    return f"Processor {here.cpu} ({8 * here.register}-bit vectors), {platform.system()}, NumPy {np.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stride", type=int, default=64, help="try every stride-th float (64)")
    parser.add_argument("--points", type=int, default=2000, help="how many points of each kind (2000)")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[*ROWS], help="these functions")
    parser.add_argument("--publish", action="store_true", help="renew the table of docs/vector-math.md")
    given = parser.parse_args()
    head = "| function | dtype | tier | ULP | without FMA | ns | NumPy, ns |\n|---|---|---|---:|---:|---:|---:|\n"
    lines = []
    with np.errstate(all="ignore"):
        for measured in measure(given.only, given.stride, given.points):
            lines.append(measured.line() + "\n")
            print(lines[-1], end="", flush=True)
    if given.publish:
        page = PAGE.read_text(encoding="utf-8")
        found = TABLE.search(page)
        assert found is not None
        seen = "all floats" if given.stride == 1 else f"every {given.stride}th float"
        note = f"\n{machine()}. Errors of functions of one number in single precision are those of {seen}.\n\n"
        PAGE.write_text(page[: found.start(2)] + note + head + "".join(lines) + "\n" + page[found.end(2) :], "utf-8")


if __name__ == "__main__":
    main()
