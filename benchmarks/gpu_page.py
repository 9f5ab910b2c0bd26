"""The table "Measured" of docs/gpu.md, from what `benchmarks.gpu` has written.

python -m benchmarks.gpu_page out/gpu/gpu.json    # renews benchmarks/gpu-results.json and the table
python -m benchmarks.gpu_page                     # renews the table from the results that are kept
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
    lines = [
        f"{about['gpu']}, driver {driver}, CUDA {about['driver'] // 1000}.{about['driver'] % 1000 // 10}; {versions}; "
        f"{about['date']}.",
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


def renewed(page: str, content: dict[str, Any]) -> str:
    """The page with the table of these results."""
    return TABLE.sub(lambda found: found[1] + table(content) + found[3], page)


def main() -> None:
    """Renew the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="?", type=Path, default=RESULTS)
    content = json.loads(parser.parse_args().results.read_text(encoding="utf-8"))
    RESULTS.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), content), encoding="utf-8")


if __name__ == "__main__":
    main()
