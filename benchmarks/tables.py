"""Results as tables in the terminal."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.results import BASE, OWN, Gain, Outcome, Report, Row


def seconds(value: float) -> str:
    """A time with three digits and a fitting unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}" if value < 999.5 * scale else f"{value / scale:.0f} {unit}"
    return f"{value / 1e-9:.2g} ns"


def size(value: float) -> str:
    """A number of bytes with three digits and a fitting unit."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(value) >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value:.0f} B"


def times(value: float) -> str:
    """A ratio."""
    if value < 0.0995:
        return f"{value:.2g}×"
    return f"{value:.2f}×" if value < 9.995 else f"{value:.0f}×"


def rate(row: Row, outcome: Outcome, report: Report) -> str:
    """Operations of products per second, where those dominate, or bytes; and the part of the row's limit that is."""
    per_second = (row.flops or row.bytes) / outcome.summary.median
    unit = "GFLOP/s" if row.flops else "GB/s"
    return f"{per_second / 1e9:.3g} {unit}, {percent(report.share(row, outcome))}"


def percent(value: float) -> str:
    return f"{100 * value:.0f}%"


def span(ratios: list[float]) -> str:
    """The lowest and the highest of several ratios; empty if there is but one."""
    return f"{times(min(ratios))} to {times(max(ratios))}" if len(ratios) > 1 else ""


def headed(title: str, table: Table) -> RenderableType:
    """A table under a title that may be wider than it."""
    return Group(Text(title, style="bold", no_wrap=True), table)


def row_table(row: Row, report: Report) -> RenderableType:
    """One workload, a line for each peer."""
    table = Table(box=None, pad_edge=False)
    for heading in ("peer", "time", "±", "× graphc", f"rate, of {row.bound}", "error, eps", ""):
        table.add_column(heading, justify="left" if heading in ("peer", "") else "right")
    for peer, outcome in row.outcomes.items():
        title = report.peers[peer].title
        if not outcome.samples:
            table.add_row(title, "", "", "", "", "", ("wrong: " if outcome.wrong else "") + (outcome.reason or ""))
            continue
        compared = row.ratio(peer)
        table.add_row(
            title,
            seconds(outcome.summary.median),
            percent(outcome.summary.spread),
            times(compared) if compared is not None else "",
            rate(row, outcome, report),
            f"{outcome.error:.3g}" if outcome.error is not None else "",
            "",
        )
    return headed(f"{row.name}: {row.title}", table)


def summary_table(report: Report) -> RenderableType:
    """All workloads: graphc's time, and each peer's ratio to it."""
    table = Table(pad_edge=False)
    peers = [peer for peer in report.peers if peer != BASE]
    table.add_column("workload", no_wrap=True)
    table.add_column("graphc", justify="right", no_wrap=True)
    for peer in peers:
        table.add_column(report.peers[peer].title, justify="right")
    for row in report.rows:
        base = row.measured().get(BASE)
        ratios = (row.ratio(peer) for peer in peers)
        shown = [times(value) if value is not None else "" for value in ratios]
        table.add_row(row.name, seconds(base.summary.median) if base else "", *shown)
    means = [report.mean_ratio(peer) for peer in peers]
    table.add_section()
    table.add_row("geometric mean", "", *(times(mean[0]) if mean else "" for mean in means))
    table.add_row("rows", "", *(str(mean[1]) if mean else "" for mean in means))
    return headed("time of each peer / time of graphc", table)


def plain_table(title: str, rows: list[Row], report: Report, shown: str) -> RenderableType:
    """Compile latencies or peak memory: a column for each peer. `shown` is "seconds" or "bytes"."""
    table = Table(pad_edge=False)
    peers = [peer for peer in report.peers if any(peer in row.outcomes for row in rows)]
    table.add_column("")
    for peer in peers:
        table.add_column(report.peers[peer].title, justify="right")
    for row in rows:
        cells = []
        for peer in peers:
            outcome = row.outcomes.get(peer, Outcome())
            value = outcome.summary.median if outcome.samples else None
            cells.append("" if value is None else seconds(value) if shown == "seconds" else size(value))
        table.add_row(row.name, *cells)
    return headed(title, table)


def threads_table(report: Report) -> RenderableType:
    """graphc on one thread and on two."""
    table = Table(pad_edge=False)
    for heading in ("", "one thread", "±", "two threads", "±", "gain", "of pairs"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in report.threads:
        if gain := Gain.of(row):
            cells = [text for found in gain.times for text in (seconds(found.median), percent(found.spread))]
            table.add_row(row.name, *cells, times(gain.ratio), span(gain.ratios))
    return headed("one thread and two", table)


def comparison_table(new: Report, old: Report) -> RenderableType:
    """How a run differs from an older one. The drift is that of the peers: what the machine did, not graphc."""
    table = Table(pad_edge=False)
    for heading in ("workload", "graphc before", "graphc now", "speed-up", "drift of the peers"):
        table.add_column(heading, justify="left" if heading == "workload" else "right")
    before = {row.name: row for row in old.rows}
    for row in new.rows:
        if row.name not in before:
            continue
        earlier, now = before[row.name].measured(), row.measured()
        common = [peer for peer in now if peer in earlier]
        change = {peer: earlier[peer].summary.median / now[peer].summary.median for peer in common}
        if BASE not in change:
            continue
        others = sorted(value for peer, value in change.items() if peer != BASE)
        drift = times(others[len(others) // 2]) if others else ""
        table.add_row(
            row.name,
            seconds(earlier[BASE].summary.median),
            seconds(now[BASE].summary.median),
            times(change[BASE]),
            drift,
        )
    return headed(f"against the run of {old.machine['date']}", table)


def show(report: Report, console: Console, with_rows: bool = True) -> None:
    """The whole run; with a table for each row, and that of threads, unless they were shown as they came."""
    for row in report.rows if with_rows else ():
        console.print(row_table(row, report), "")
    if report.rows:
        console.print(summary_table(report))
        for own in OWN:
            if best := report.mean_ratio_to_best(own):
                title = report.peers[own].title
                text = f"{times(best[0])} over {best[1]} rows (geometric mean)"
                console.print(f"the fastest peer of each row / {title}: {text}")
    if report.threads and with_rows:
        console.print(threads_table(report))
    if report.latency:
        title = "compile latency: seconds to the first result, fresh process, empty caches"
        console.print(plain_table(title, report.latency, report, "seconds"))
    if report.start:
        title = "the same with the import of the library"
        console.print(plain_table(title, report.start, report, "seconds"))
    if report.memory:
        title = "peak memory: bytes by which the process grew during a call"
        console.print(plain_table(title, report.memory, report, "bytes"))
    for peer in report.peers.values():
        if peer.reason:
            console.print(f"{peer.title}: {peer.reason}", highlight=False)
