"""What a run found: one JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness import Summary, geometric_mean, ratio
from benchmarks.machine import bandwidth

BASE = "graphc"
FAST = "graphc-fast"
OWN = (BASE, FAST)


@dataclass(slots=True)
class Outcome:
    """One peer on one row: samples in seconds or bytes, or the reason why there are none."""

    samples: list[float] = field(default_factory=list)
    error: float | None = None
    reason: str | None = None
    wrong: bool = False

    @property
    def summary(self) -> Summary:
        return Summary.of(self.samples)


def relative(times: list[float], base: list[float]) -> float:
    """How many times as long as `base`: within rounds, where both have the same ones."""
    if len(times) == len(base):
        return ratio(times, base)
    return Summary.of(times).median / Summary.of(base).median


@dataclass(slots=True)
class Row:
    """One workload: its size, and what each peer made of it."""

    name: str
    title: str
    bytes: int
    """Those of the arguments and results, each once: what has to be moved at least."""

    flops: float | None = None
    dtype: str = "float64"
    note: str = ""
    in_place: bool = False
    """Whether a call replaces its first arguments, so that results need no memory of their own."""

    limit: list[float] = field(default_factory=list)
    """Seconds in which the machine does nothing but move these bytes, or multiply as much: see `bound`.

    A sample for each round of the peers. Results of old have none.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def bound(self) -> str:
        """What bounds it: matrix products, or the memory's bandwidth by a copy or by an update in place."""
        return "gemm" if self.flops else "update" if self.in_place else "copy"

    def measured(self) -> dict[str, Outcome]:
        return {peer: outcome for peer, outcome in self.outcomes.items() if outcome.samples}

    def ratio(self, peer: str, own: str = BASE) -> float | None:
        """How many times as long as graphc the peer takes."""
        found = self.measured()
        if peer not in found or own not in found:
            return None
        return relative(found[peer].samples, found[own].samples)

    def best_peer(self) -> str | None:
        """The fastest but graphc: the one of the least ratio, or of the shortest time where graphc was not measured."""
        found = {peer: outcome for peer, outcome in self.measured().items() if peer not in OWN}
        return min(found, key=lambda peer: self.ratio(peer) or found[peer].summary.median) if found else None


def pair(number: int) -> tuple[str, str]:
    """The names of the outcomes of one thread and of two in a pair of processes: "1" and "2" in the first."""
    suffix = f", {number + 1}" if number else ""
    return f"1{suffix}", f"2{suffix}"


@dataclass(frozen=True, slots=True)
class Gain:
    """What a second thread brings, by one or more pairs of processes."""

    times: tuple[Summary, Summary]
    """Of one thread and of two: over the medians of the processes; of a single one, over its samples."""

    ratios: list[float]
    """How many times as fast two threads are, in each pair."""

    @classmethod
    def of(cls, row: Row) -> Gain | None:
        """What the outcomes of a row say; None unless a pair was measured."""
        found = row.measured()
        names = [pair(number) for number in range(len(row.outcomes))]
        pairs = [(found[one].samples, found[two].samples) for one, two in names if {one, two} <= found.keys()]
        if not pairs:
            return None
        several = len(pairs) > 1
        one, two = (
            Summary.of([Summary.of(samples).median for samples in processes] if several else processes[0])
            for processes in zip(*pairs, strict=True)
        )
        return cls((one, two), [relative(first, second) for first, second in pairs])

    @property
    def ratio(self) -> float:
        return Summary.of(self.ratios).median


@dataclass(slots=True)
class Peer:
    """A library as it was found: its version and the seconds its import took, or why it is missing."""

    title: str
    version: str = ""
    seconds: float = 0.0
    reason: str | None = None


@dataclass(slots=True)
class Report:
    """A whole run."""

    machine: dict[str, Any]
    limits: dict[str, Any]
    peers: dict[str, Peer]
    rows: list[Row] = field(default_factory=list)
    latency: list[Row] = field(default_factory=list)
    """Samples are seconds from the program to its first results, in a fresh process with empty caches."""

    memory: list[Row] = field(default_factory=list)
    """A sample is the bytes by which the process grew during one call. A note says what later calls need."""

    threads: list[Row] = field(default_factory=list)
    """graphc alone; the outcomes are those of one thread and of two, named by `pair`."""

    start: list[Row] = field(default_factory=list)
    """As `latency`, with the seconds that importing the library took before, in the same process."""

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_rounded(asdict(self)), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Report:
        found = json.loads(path.read_text(encoding="utf-8"))
        names = ("rows", "latency", "memory", "threads", "start")
        tables = {name: [_row(entry) for entry in found.get(name, ())] for name in names}
        peers = {name: Peer(**entry) for name, entry in found["peers"].items()}
        return cls(found["machine"], found["limits"], peers, **tables)

    def share(self, row: Row, outcome: Outcome) -> float:
        """The part of the row's limit that was reached: as it was measured in turn, or else once for the machine."""
        if row.limit:
            return relative(row.limit, outcome.samples)
        seconds = outcome.summary.median
        if row.flops:
            peak: float = self.limits["sgemm" if row.dtype == "float32" else "dgemm"]
            return row.flops / seconds / peak
        return row.bytes / seconds / bandwidth(self.limits, row.bytes, row.in_place)

    def mean_ratio(self, peer: str) -> tuple[float, int] | None:
        """The geometric mean of a peer's ratios, and how many there are."""
        found = [value for row in self.rows if (value := row.ratio(peer)) is not None]
        return (geometric_mean(found), len(found)) if found else None

    def mean_ratio_to_best(self, own: str = BASE) -> tuple[float, int] | None:
        """The same against the fastest peer of each row."""
        ratios = [row.ratio(best, own) for row in self.rows if (best := row.best_peer()) is not None]
        found = [value for value in ratios if value is not None]
        return (geometric_mean(found), len(found)) if found else None


def _row(entry: dict[str, Any]) -> Row:
    outcomes = {peer: Outcome(**outcome) for peer, outcome in entry.pop("outcomes").items()}
    return Row(**entry, outcomes=outcomes)


def _rounded(value: Any) -> Any:
    """Floats to five digits: more is noise."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value
