"""The tables "Measured" of docs/gpu.md, from what `benchmarks.gpu` has written.

python -m benchmarks.gpu_page out/gpu/gpu.json --commit 1a2b3c4    # adds to benchmarks/gpu-results.json and the page
python -m benchmarks.gpu_page                                      # renews the page from the results that are kept

The newest measurement comes first. An older one is kept as long as it has rows that no newer one has.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "benchmarks" / "gpu-results.json"
PAGE: Final = ROOT / "docs" / "gpu.md"
TABLE: Final = re.compile(r"(<!-- measured[^\n]*-->\n)(.*?)(<!-- end -->)", re.DOTALL)
OTHERS: Final = ("jax", "torch.compile")


def faster(row: dict[str, Any]) -> float | None:
    """How many times as fast as the best of jax.jit and torch.compile graphc is."""
    seconds = row["seconds"]
    others = [seconds[p] for p in OTHERS if p in seconds]
    return min(others) / seconds["graphc"] if others and "graphc" in seconds else None


def table(content: dict[str, Any]) -> str:
    """What stands between the marks of the page."""
    about, known = content["machine"], content["limits"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    driver = about.get("driver_version", "unknown")
    cuda = f"{about['driver'] // 1000}.{about['driver'] % 1000 // 10}"
    lines = [
        f"At commit {content['commit']}: {about['gpu']}, driver {driver}, CUDA {cuda}; {versions}; {about['date']}.",
        f"A copy moves {known['copy_bytes_per_second'] / 1e12:.2f} TB/s there, a product in single precision makes "
        f"{known['product_flops_per_second'] / 1e12:.1f} TFLOP/s.",
        "",
        "| microseconds of a call | graphc | jax.jit | torch.compile | CuPy | best ÷ graphc | of a copy's speed |",
        "|---|---|---|---|---|---|---|",
    ]
    ratios = []
    for row in content["rows"]:
        seconds, ratio = row["seconds"], faster(row)
        times = [f"{seconds[p] * 1e6:.1f}" if p in seconds else "–" for p in ("graphc", *OTHERS, "cupy")]
        share = "–"
        if "graphc" in seconds:
            share = f"{row['bytes'] / seconds['graphc'] / known['copy_bytes_per_second']:.0%}"
        if ratio is not None:
            ratios.append(ratio)
        cells = [row["title"], *times, "–" if ratio is None else f"{ratio:.2f}×", share]
        lines.append(f"| {' | '.join(cells)} |")
    mean = f"{statistics.geometric_mean(ratios):.2f}×" if ratios else "–"
    return "\n".join([*lines, f"| geometric mean | | | | | {mean} | |", ""])


def kept(measurements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The measurements, newest first, without those whose rows newer ones have."""
    seen: set[str] = set()
    found = []
    for content in measurements:
        names = {row["name"] for row in content["rows"]}
        if not names <= seen:
            found.append(content)
        seen |= names
    return found


def renewed(page: str, measurements: list[dict[str, Any]]) -> str:
    """The page with the tables of these results."""
    tables = "\n".join(map(table, measurements))
    return TABLE.sub(lambda found: found[1] + tables + found[3], page)


def main() -> None:
    """Renew the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="?", type=Path, help="what benchmarks.gpu has written")
    parser.add_argument("--commit", help="the commit that was measured")
    arguments = parser.parse_args()
    measurements = json.loads(RESULTS.read_text(encoding="utf-8"))
    if arguments.results is not None:
        if not arguments.commit:
            parser.error("the commit that was measured is missing: --commit")
        content = json.loads(arguments.results.read_text(encoding="utf-8"))
        measurements = kept([{"commit": arguments.commit, **content}, *measurements])
    RESULTS.write_text(json.dumps(measurements, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), measurements), encoding="utf-8")


if __name__ == "__main__":
    main()
