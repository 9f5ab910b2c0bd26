"""Results as pictures."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.limit import LEAST
from benchmarks.results import BASE, Report, Row
from benchmarks.tables import size

PAGE = 4096
"""Bytes of a page of memory."""

# Okabe and Ito's colours, told apart by colour-blind readers too; the markers differ as well.
STYLES = {
    "graphc": ("#000000", "D"),
    "graphc-fast": ("#000000", "d"),
    "jax": ("#0072B2", "o"),
    "jax-resident": ("#56B4E9", "o"),
    "torch-compile": ("#D55E00", "s"),
    "torch": ("#E69F00", "s"),
    "pytensor": ("#009E73", "^"),
    "numba": ("#CC79A7", "v"),
    "numexpr": ("#882255", "P"),
    "casadi": ("#999933", "X"),
    "autograd": ("#888888", "<"),
    "numpy": ("#444444", ">"),
}


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _circumstances(report: Report) -> str:
    machine = report.machine
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    return f"{machine['cpu']}, {threads}, {machine['date'][:10]}{', quick run' if machine['quick'] else ''}"


def times(report: Report) -> Any:
    """The time of each peer relative to graphc, a line for each workload."""
    rows = [row for row in report.rows if BASE in row.measured()]
    figure, axes = _figure(10, 1.6 + 0.3 * len(rows))
    for peer in report.peers:
        ratios = [(row.ratio(peer), y) for y, row in enumerate(rows)]
        points = [(value, y) for value, y in ratios if value is not None]
        if peer != BASE and points:
            colour, marker = STYLES[peer]
            label = report.peers[peer].title
            axes.scatter(
                *zip(*points, strict=True), color=colour, marker=marker, s=34, alpha=0.85, label=label, zorder=3
            )
    axes.axvline(1, color="black", linewidth=1, zorder=2)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("time of the peer / time of graphc (right of the line, graphc is faster)")
    axes.set_title(f"Running time: {_circumstances(report)}", fontsize=10)
    axes.grid(alpha=0.3, which="major")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return figure


def limits(report: Report) -> Any:
    """How near graphc and the best peer come to what the machine can copy or multiply."""
    rows = _limited(report)
    figure, axes = _figure(9, 1.6 + 0.3 * len(rows))
    best = [(row, row.outcomes[peer]) for row in rows if (peer := row.best_peer()) is not None]
    for label, (colour, marker), found in (
        ("graphc", STYLES[BASE], [(row, row.outcomes[BASE]) for row in rows]),
        ("best peer", ("#D55E00", "o"), best),
    ):
        axes.scatter(
            [report.share(row, outcome) for row, outcome in found],
            [rows.index(row) for row, _ in found],
            color=colour,
            marker=marker,
            label=label,
            zorder=3,
        )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [f"{row.name} ({row.bound})" for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("share of the measured limit: bandwidth of a copy or an update of that size, or matrix product")
    axes.set_title(f"Machine limits, but of the smallest rows: {_circumstances(report)}", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def _limited(report: Report) -> list[Row]:
    """The rows that are not so small that a call costs more than the work."""
    return [row for row in report.rows if BASE in row.measured() and (row.flops or row.bytes >= LEAST)]


def latency(report: Report) -> Any:
    """Compile latency against the number of operations."""
    figure, axes = _figure(8.5, 5)
    graphs = [row for row in report.latency if re.fullmatch(r"compile-\d+", row.name)]
    sizes = {row.name: int(row.name.removeprefix("compile-")) for row in graphs}
    for peer in report.peers:
        found = [row for row in graphs if peer in row.measured()]
        points = [(sizes[row.name], row.outcomes[peer].summary.median) for row in found]
        if points:
            colour, marker = STYLES[peer]
            axes.loglog(*zip(*points, strict=True), color=colour, marker=marker, label=report.peers[peer].title)
    axes.set_xticks(list(sizes.values()), [f"{size:,}" for size in sizes.values()])
    axes.minorticks_off()
    axes.set_xlabel("operations of an elementwise graph")
    axes.set_ylabel("seconds to the first result")
    axes.set_title(f"Compile latency, fresh process, empty caches\n{_circumstances(report)}", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return figure


def memory(report: Report) -> Any:
    """By how much a process grows during a call: the rows of the table, a point for each peer."""
    rows = [row for row in report.memory if row.measured()]
    figure, axes = _figure(10, 2.6 + 0.5 * len(rows))
    for place, peer in enumerate(report.peers):
        # a little apart, or equal ones would hide each other; a page of memory is the least that can be counted
        offset = 0.6 * (place / max(1, len(report.peers) - 1) - 0.5)
        points = [
            (max(row.outcomes[peer].samples[0], PAGE), y + offset)
            for y, row in enumerate(rows)
            if peer in row.measured()
        ]
        if points:
            colour, marker = STYLES[peer]
            axes.scatter(*zip(*points, strict=True), color=colour, marker=marker, s=34, label=report.peers[peer].title)
    axes.set_xscale("log", base=2)
    ticks = [2**k for k in range(12, 31, 3)]
    axes.set_xticks(ticks, ["4 KiB or less", *(size(tick) for tick in ticks[1:])])
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    for y in range(1, len(rows)):
        axes.axhline(y - 0.5, color="black", linewidth=0.5)
    axes.set_xlabel("bytes by which the process grows during one call")
    axes.set_title(f"Peak memory: {_circumstances(report)}", fontsize=10)
    axes.grid(alpha=0.3, axis="x")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return figure


def figures(report: Report) -> dict[str, Callable[[Report], Any]]:
    """The pictures that a report has numbers for, by name."""
    found: dict[str, Callable[[Report], Any]] = {}
    if any(BASE in row.measured() and row.best_peer() for row in report.rows):
        found["times"] = times
    if _limited(report):
        found["limits"] = limits
    if any(row.measured() and re.fullmatch(r"compile-\d+", row.name) for row in report.latency):
        found["latency"] = latency
    if any(row.measured() for row in report.memory):
        found["memory"] = memory
    return found


def draw_all(report: Report, folder: Path) -> list[Path]:
    """Write every picture there are numbers for: `benchmarks-NAME.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures(report).items():
        path = folder / f"benchmarks-{name}.png"
        figure(report).savefig(path, dpi=110)
        written.append(path)
    return written
