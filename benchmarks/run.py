"""Measure graphc beside its peers: `python -m benchmarks.run`.

Every peer works in a process of its own; one batch of each is taken in turn, again and again, so that whatever the
machine does meanwhile touches all alike. Results are checked against a reference of higher precision before anything
is timed. Writes a JSON file and plots, and prints tables.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import page, plots, tables
from benchmarks.harness import Missing, Process, Settings, interleave, last_cpus, make_byte_code, make_machine_code
from benchmarks.machine import best_limits, description, measured_limits
from benchmarks.peers import PEERS
from benchmarks.prepared import Array
from benchmarks.results import BASE, Outcome, Peer, Report, Row, pair
from benchmarks.tree import leaves
from benchmarks.workload import Workload
from benchmarks.workloads import compiled, timed

BATCH = 0.01
"""Seconds that a batch takes at least."""

REPEATS = 3
"""How often a compile latency is measured, unless it is long."""

PAIRS = 3
"""Of processes with one thread and with two, unless the run is quick."""

LIMIT = "limit"
"""The name of the worker that does what the machine can at most. It is NumPy's own."""

Start = Callable[[str, Path], Process]


class Crew:
    """The worker of every peer, started again if it dies."""

    def __init__(self, titles: Mapping[str, str], start: Start, caches: Path) -> None:
        self.start, self.caches = start, caches
        self.workers: dict[str, Process] = {}
        self.found: dict[str, Peer] = {}
        for name, title in titles.items():
            self.found[name] = Peer(title)
            try:
                self.workers[name] = worker = start(name, caches)
                self.found[name].version, self.found[name].seconds = worker.hello["version"], worker.hello["import"]
            except Missing as reason:
                self.found[name].reason = str(reason)

    def ready(self) -> dict[str, Process]:
        """The workers, all of them alive."""
        for name, worker in list(self.workers.items()):
            if not worker.alive:
                try:
                    self.workers[name] = self.start(name, self.caches)
                except Missing as reason:
                    self.found[name].reason = str(reason)
                    del self.workers[name]
        return dict(self.workers)

    def release(self) -> None:
        """Let every worker forget its program."""
        for worker in self.workers.values():
            with suppress(Missing):
                worker.ask("release")

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()


def checked(workload: Workload, results: list[Array], reference: list[Array]) -> Outcome:
    """An outcome without samples yet; with a reason if the results are wrong."""
    try:
        error = workload.error(results, reference)
    except ValueError as problem:
        return Outcome(reason=str(problem), wrong=True)
    if not error <= workload.tolerance:
        reason = f"off by {error:.3g} eps where {workload.tolerance:.3g} are allowed"
        return Outcome(error=error, reason=reason, wrong=True)
    return Outcome(error=error)


def described(workload: Workload, reference: list[Array]) -> Row:
    """The row of a workload, still empty."""
    results = sum(array.size for array in reference) * workload.dtype(0).nbytes
    inputs = sum(leaf.nbytes for leaf in leaves(workload.inputs()))
    moved = inputs + results
    dtype, in_place = workload.dtype.__name__, workload.carry > 0
    return Row(workload.name, workload.title, moved, workload.flops, dtype, workload.note, in_place)


def prepared(crew: Crew, workload: Workload, settings: Settings, reference: list[Array]) -> dict[str, Outcome]:
    """Compile the program of every peer and check its results; side by side in a quick run, else one after another."""
    outcomes: dict[str, Outcome] = {}

    def collect(name: str, worker: Process, patience: float) -> None:
        try:
            outcomes[name] = checked(workload, worker.answer(patience), reference)
        except Missing as reason:
            outcomes[name] = Outcome(reason=str(reason))

    workers = crew.ready()
    if settings.quick:
        for worker in workers.values():
            with suppress(Missing):  # it is missed again when it should answer
                worker.send("prepare", workload.name)
        deadline = time.monotonic() + settings.patience
        for name, worker in workers.items():
            collect(name, worker, max(0.1, deadline - time.monotonic()))
    else:
        for name, worker in workers.items():
            with suppress(Missing):
                worker.send("prepare", workload.name)
            collect(name, worker, settings.patience)
    return outcomes


def measure(crew: Crew, workload: Workload, settings: Settings, bound: Crew | None = None) -> Row:
    """One row: check, calibrate, and take the batches of all peers in turn, and of its limit with them."""
    reference = workload.reference()
    row = described(workload, reference)
    row.outcomes = prepared(crew, workload, settings, reference)
    batches: dict[str, Callable[[], float]] = {}
    for name, outcome in row.outcomes.items():
        if outcome.reason is None:
            try:
                crew.workers[name].ask("calibrate", BATCH)
                batches[name] = partial(crew.workers[name].ask, "batch")
            except Missing as reason:
                outcome.reason = str(reason)
    if bound is not None and (worker := bound.ready().get(LIMIT)) is not None:
        with suppress(Missing):  # then the share is that of what was measured once
            worker.ask("limit", workload.name, row.bytes)
            worker.ask("calibrate", BATCH)
            batches[LIMIT] = partial(worker.ask, "batch")
    samples, lost = interleave(batches, settings.rounds, settings.budget)
    row.limit = samples.pop(LIMIT, [])
    for name, outcome in row.outcomes.items():
        outcome.samples = samples.get(name, [])
        outcome.reason = lost.get(name, outcome.reason)
    crew.release()
    if bound is not None:
        bound.release()
    return row


def fresh(name: str, start: Start, caches: Path, patience: float, *request: Any) -> tuple[Any, float]:
    """The answer of a fresh process, and the seconds that it took to import the peer."""
    worker = start(name, caches)
    try:
        return worker.ask(*request, timeout=patience), worker.hello["import"]
    finally:
        worker.close()


def latency(
    peer: str, workload: Workload, reference: list[Array], start: Start, settings: Settings
) -> tuple[Outcome, Outcome]:
    """How long a peer takes from the program to its first results; and together with its import before that."""
    outcome, whole = Outcome(), Outcome()
    try:
        while len(outcome.samples) < (1 if settings.quick or sum(outcome.samples) > 15 else REPEATS):
            with tempfile.TemporaryDirectory(prefix="benchmark-") as empty:
                answer, imported = fresh(peer, start, Path(empty), settings.patience, "latency", workload.name)
            elapsed, results = answer
            check = checked(workload, results, reference)
            outcome.error, outcome.reason, outcome.wrong = check.error, check.reason, check.wrong
            if outcome.wrong:
                return outcome, replace(outcome, samples=[])
            outcome.samples.append(elapsed)
            whole.samples.append(imported + elapsed)
    except Missing as reason:
        outcome.reason = whole.reason = str(reason)
    return outcome, whole


def memory(peers: list[str], workload: Workload, start: Start, caches: Path, settings: Settings) -> Row:
    """How much a process grows during a call: the first one, where that compiles nothing, else a later one."""
    row = described(workload, workload.reference())
    for peer in peers:
        try:
            found, _ = fresh(peer, start, caches, settings.patience, "memory", workload.name)
        except Missing as reason:
            row.outcomes[peer] = Outcome(reason=str(reason))
            continue
        row.outcomes[peer] = Outcome([found.get("first", found["later"])])
        if peer == BASE:
            row.note = f"a later call of graphc adds {tables.size(found['later'])}"
    return row


def with_threads(workloads: list[Workload], settings: Settings, caches: Path) -> list[Row]:
    """graphc on one thread and on two, in turn; nothing where there are no two CPUs to pin them to."""
    if len(last_cpus(2)) < 2:
        return []
    counts = {name: k for number in range(1 if settings.quick else PAIRS) for k, name in enumerate(pair(number), 1)}

    def start(name: str, folder: Path) -> Process:
        number = counts[name]
        return Process(BASE, replace(settings, threads=number, cpus=last_cpus(number)), folder)

    with closing(Crew({name: name for name in counts}, start, caches)) as crew:
        return [measure(crew, workload, settings) for workload in workloads]


def chosen(rows: dict[str, Workload], only: list[str]) -> list[Workload]:
    """The workloads whose name fits one of the patterns; all without patterns."""
    return [row for name, row in rows.items() if not only or any(fnmatch(name, f"*{text}*") for text in only)]


def run(settings: Settings, peers: list[str], only: list[str], caches: Path, console: Console, results: Path) -> Report:
    """Everything that was asked for; what is there so far is in the file of results after every row."""

    def start(name: str, folder: Path) -> Process:
        return Process(name, settings, folder)

    machine = description(settings)  # the load before we add to it
    make_byte_code()
    if not settings.quick:  # it takes seconds
        make_machine_code()
    limits = measured_limits(settings, caches)
    titles = {name: PEERS[name].title for name in peers}
    bound = Crew({LIMIT: "the limit"}, lambda _, folder: start("numpy", folder), caches)
    with closing(Crew(titles, start, caches)) as crew, closing(bound):
        report = Report(machine, limits, crew.found)
        for workload in chosen(timed(settings.quick), only):
            row = measure(crew, workload, settings, bound)
            report.rows.append(row)
            report.save(results)
            console.print(tables.row_table(row, report), "")
    if BASE in peers and report.rows:
        report.threads = with_threads(chosen(timed(settings.quick), only), settings, caches)
        report.save(results)
        console.print(tables.threads_table(report), "")
    present = [name for name, peer in report.peers.items() if peer.reason is None]
    for workload in chosen(compiled(settings.quick), only):
        reference = workload.reference()
        row, whole = described(workload, reference), described(workload, reference)
        for name in present:
            if PEERS[name].compiles and name not in ("jax-resident", "graphc-fast"):  # compilers that are there already
                row.outcomes[name], whole.outcomes[name] = latency(name, workload, reference, start, settings)
        report.latency.append(row)
        report.start.append(whole)
        report.save(results)
        console.print(tables.plain_table("compile latency", [row], report, "seconds"))
        console.print(tables.plain_table("with the import", [whole], report, "seconds"))
    hungry = [workload for workload in chosen(timed(settings.quick), only) if workload.memory]
    for workload in hungry[:1] if settings.quick else hungry:
        report.memory.append(memory(present, workload, start, caches, settings))
        console.print(tables.plain_table("peak memory", report.memory[-1:], report, "bytes"))
    report.limits = best_limits(limits, measured_limits(settings, caches))
    report.save(results)
    return report


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: a check that all is well")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORKLOAD", help="names of rows, or parts of names")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS), metavar="PEER")
    parser.add_argument("--threads", type=int, default=1, help="how many each peer may use (default: 1)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for plots and results (default: out)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the results go (default: OUT/benchmarks.json)")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="show what changed since these results")
    parser.add_argument("--load", type=Path, metavar="FILE", help="measure nothing: show these results")
    parser.add_argument("--publish", action="store_true", help="renew docs/benchmarks.md, its plots and its results")
    options = parser.parse_args(argv)
    if options.publish and (options.quick or options.only or options.peers != list(PEERS)):
        parser.error("--publish takes a whole run: no --quick, --only or --peers")
    return options


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    console = Console(width=max(Console().width, 160))
    if options.load:
        report = Report.load(options.load)
    else:
        settings = Settings(options.quick, options.threads, last_cpus(options.threads))
        caches = options.out / "caches"  # kept: only latencies are measured without
        caches.mkdir(parents=True, exist_ok=True)
        whole = not options.only and options.peers == list(PEERS)
        results = options.json or options.out / ("benchmarks.json" if whole else "partial.json")
        report = run(settings, options.peers, options.only, caches.resolve(), console, results)
    tables.show(report, console, with_rows=bool(options.load))
    if options.compare:
        console.print(tables.comparison_table(report, Report.load(options.compare)))
    plots.draw_all(report, options.out)
    if options.publish:
        if report.machine["quick"] or {row.name for row in report.rows} != set(timed(quick=False)):
            raise SystemExit(f"{options.load} is not a whole run: nothing published")
        page.publish(report)
    return 1 if any(row.outcomes[BASE].wrong for row in report.rows if BASE in row.outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
