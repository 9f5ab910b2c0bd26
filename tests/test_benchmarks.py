"""The benchmark harness: its statistics, its turns, what it does when a peer fails, its page. No time is asserted."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import cache_from_source
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from benchmarks import harness, machine, page, plots, run, tables, workloads
from benchmarks.harness import Missing, Process, Settings, Summary, interleave, last_cpus, ratio
from benchmarks.limit import Limit, limit, products
from benchmarks.peers import PEERS
from benchmarks.prepared import Array, Calls, Prepared, Steps
from benchmarks.reasons import REASONS
from benchmarks.results import Gain, Outcome, Peer, Report, Row, pair
from benchmarks.tree import leaves, mapped, rebuilt
from benchmarks.worker import Worker
from benchmarks.workload import Workload

ROWS = {**workloads.timed(quick=True), **workloads.compiled(quick=True)}


# --- statistics


def test_a_summary_is_the_median_and_its_quartiles() -> None:
    assert Summary.of([5.0, 1.0, 2.0, 4.0, 3.0]) == Summary(3.0, 2.0, 4.0)
    assert Summary.of([7.0]) == Summary(7.0, 7.0, 7.0)
    assert Summary(4.0, 3.0, 5.0).spread == 0.25


def test_a_ratio_compares_within_a_round() -> None:
    """The machine slowed down tenfold in the last rounds: medians alone would say 2 or 20."""
    base, times = [1.0, 1.0, 10.0, 10.0, 10.0], [2.0, 2.0, 20.0, 20.0, 20.0]
    assert ratio(times, base) == 2.0


# --- imports


def test_a_worker_has_loaded_no_library_before_it_times_the_import() -> None:
    code = (
        "import sys, benchmarks.worker as worker; worker.timed(True), worker.compiled(True)\n"
        f"print(*sorted({{*{[entry.module for entry in PEERS.values()]!r}, 'llvmlite', 'scipy'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=harness.ROOT)
    assert done.stdout.split() == ["numpy"]


# --- taking turns


def recorder(calls: list[str], name: str, fails_at: int = -1) -> Callable[[], float]:
    def batch() -> float:
        calls.append(name)
        if calls.count(name) - 1 == fails_at:
            raise Missing("crashed (SIGSEGV)")
        return float(calls.count(name))

    return batch


def test_peers_take_turns() -> None:
    calls: list[str] = []
    samples, lost = interleave({name: recorder(calls, name) for name in "ABC"}, rounds=3)
    assert "".join(calls) == "ABCABCABC"
    assert samples == {name: [1.0, 2.0, 3.0] for name in "ABC"}
    assert lost == {}


def test_a_peer_that_fails_leaves_and_the_others_go_on() -> None:
    calls: list[str] = []
    batches = {"A": recorder(calls, "A"), "B": recorder(calls, "B", fails_at=1), "C": recorder(calls, "C")}
    samples, lost = interleave(batches, rounds=3)
    assert "".join(calls) == "ABCABCAC"
    assert samples == {"A": [1.0, 2.0, 3.0], "C": [1.0, 2.0, 3.0]}
    assert lost == {"B": "crashed (SIGSEGV)"}


def test_rounds_end_with_the_budget_but_not_before_the_fifth() -> None:
    clock = iter(range(0, 1000, 10))
    samples, _ = interleave({"A": recorder([], "A")}, rounds=50, budget=3, clock=lambda: float(next(clock)))
    assert len(samples["A"]) == 5


# --- worker processes

MISBEHAVING = """
import os, sys, time
from multiprocessing.connection import Connection

connection = Connection(int(sys.argv[2]))
connection.send(("ok", {"version": "1", "import": 0.0}))
while True:
    request, *_ = connection.recv()
    if request == "sleep":
        time.sleep(60)
    if request == "abort":
        os.abort()
    if request == "leave":
        print("out of memory", file=sys.stderr, flush=True)
        os._exit(3)
    connection.send(("failed", "ValueError: no") if request == "fail" else ("ok", request))
"""


@pytest.fixture
def misbehaving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    (tmp_path / "misbehaving.py").write_text(MISBEHAVING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = Process("nobody", Settings(), tmp_path, module="misbehaving")
    yield process
    process.close()


def test_an_answer(misbehaving: Process) -> None:
    assert misbehaving.ask("anything") == "anything"
    assert misbehaving.alive


def test_an_error_in_a_worker_is_missing_and_it_lives_on(misbehaving: Process) -> None:
    with pytest.raises(Missing, match=r"^ValueError: no$"):
        misbehaving.ask("fail")
    assert misbehaving.ask("anything") == "anything"


def test_a_worker_that_hangs_is_ended(misbehaving: Process) -> None:
    with pytest.raises(Missing, match="no answer in 0 s"):
        misbehaving.ask("sleep", timeout=0.2)
    assert not misbehaving.alive


def test_a_worker_that_crashes_says_how(misbehaving: Process) -> None:
    with pytest.raises(Missing, match="SIGABRT"):
        misbehaving.ask("abort")
    assert not misbehaving.alive
    with pytest.raises(Missing):
        misbehaving.ask("anything")


def test_a_worker_that_leaves_says_what_it_printed_last(misbehaving: Process) -> None:
    with pytest.raises(Missing, match=r"exit code 3.*: out of memory"):
        misbehaving.ask("leave")


def test_a_peer_that_is_not_installed_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numexpr.py").write_text("raise ImportError('No module named numexpr')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(Missing, match="not installed: No module named numexpr"):
        Process("numexpr", Settings(quick=True), tmp_path)


# --- programs


def test_trees() -> None:
    tree = {"b": (1, [2]), "a": 3}
    assert leaves(tree) == [3, 1, 2]
    assert rebuilt(tree, [30, 10, 20]) == {"b": (10, [20]), "a": 30}
    assert mapped(str, tree) == {"b": ("1", ["2"]), "a": "3"}


def test_calls_wait_for_every_result() -> None:
    waited: list[int] = []
    Calls(lambda x: x + 1, (1,), wait=waited.append).run(3)
    assert waited == [2, 2, 2]


def test_steps_feed_themselves_and_start_again() -> None:
    def step(total: Any, x: Any) -> Any:
        total += x  # in place, as it may
        return total, total.copy()

    steps = Steps(step, lambda: (np.zeros(1), np.ones(1)), carry=1)
    steps.run(3)
    assert steps.args[0] == 3
    assert [float(result[0]) for result in steps.results()] == [1, 1]
    assert steps.args[0] == 0


@pytest.mark.parametrize("rest", [(), (2.0,)])
def test_steps_hold_no_state_but_the_newest(rest: tuple[float, ...]) -> None:
    """As a loop of a user's: with more of them alive, a step would not find the memory of the last but one."""
    states: list[weakref.ref[Any]] = []

    def step(x: Any, *others: Any) -> Any:
        states.append(weakref.ref(x))
        assert [state() is not None for state in states] == [False] * (len(states) - 1) + [True]
        return x + 1 if not others else (x + 1, 0)

    steps = Steps(step, lambda: (np.zeros(3), *rest), carry=1)
    steps.run(3)
    steps.run(2)
    assert len(states) == 5


class Pausing(Prepared):
    """A program that takes some time; `ran` has the calls of each run."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.ran: list[int] = []

    def reset(self) -> None:
        self.ran.append(0)

    def run(self, calls: int) -> None:
        self.ran.append(calls)
        time.sleep(calls * self.seconds)

    def results(self) -> list[Array]:
        return []


@pytest.mark.parametrize(("seconds", "before"), [(0.06, []), (0.001, [1])])
def test_a_call_that_is_not_timed_comes_first_unless_calls_are_long(seconds: float, before: list[int]) -> None:
    found = Worker("numpy", quick=True, cpus=[])
    found.prepared = program = Pausing(seconds)
    assert found.calibrate(0.001) == 1
    program.ran.clear()
    assert found.batch() > 0
    assert program.ran == [0, *before, 1]


def test_a_long_call_after_a_short_one_is_not_repeated_as_often_before_it_is_timed() -> None:
    found = Worker("numpy", quick=True, cpus=[])
    found.before = 100
    found.prepared = program = Pausing(0.001)
    assert found.calibrate(0.001) == 1
    assert set(program.ran) == {0, 1}


# --- workloads


@pytest.mark.parametrize("name", ROWS)
def test_the_programs_of_numpy_and_graphc_are_right(name: str) -> None:
    """Derivatives written by hand, and graphc's own, against the same in higher precision."""
    workload, reference = ROWS[name], ROWS[name].reference()
    for peer in ("numpy", "graphc"):
        results = PEERS[peer].load().prepare(workload).results()
        assert workload.error(results, reference) <= workload.tolerance, peer


@pytest.mark.parametrize("name", ROWS)
def test_inputs_are_the_same_every_time(name: str) -> None:
    first, second = (leaves(ROWS[name].inputs()) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(a.dtype in (ROWS[name].dtype, np.int32) for a in first)


def test_names_are_unique_and_the_full_run_has_them_all() -> None:
    full = {**workloads.timed(quick=False), **workloads.compiled(quick=False)}
    assert set(ROWS) <= set(full)
    assert all(workload.name == name for name, workload in full.items())


class Doubling(Workload):
    name = "doubling"
    title = "twice three numbers"

    def inputs(self) -> tuple[Any, ...]:
        return (np.arange(3.0),)

    def numpy(self) -> Any:
        return lambda x: 2 * x


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (np.array([0.0, 2.0, 5.0]), "off by"),
        (np.array([0.0, 2.0, np.nan]), "not finite"),
        (np.array([0.0, 2.0, 4.0], np.float32), "float32 where float64"),
        (np.array([0.0, 2.0]), "shape"),
    ],
)
def test_wrong_results_are_found(result: Any, reason: str) -> None:
    outcome = run.checked(Doubling(), [result], Doubling().reference())
    assert outcome.wrong
    assert outcome.reason is not None
    assert reason in outcome.reason


def test_right_results_pass_with_their_error() -> None:
    outcome = run.checked(Doubling(), [np.array([0.0, 2.0, 4.0 + 16 * np.finfo(float).eps])], Doubling().reference())
    assert (outcome.reason, outcome.wrong) == (None, False)
    assert outcome.error == 4


def test_a_missing_result_is_wrong() -> None:
    assert run.checked(Doubling(), [], Doubling().reference()).reason == "0 results where 1 were expected"


def test_a_step_is_judged_by_how_much_it_changes() -> None:
    """A step that does nothing would be right to many digits, if it were judged by the size of its state."""

    class Nudge(Doubling):
        carry = 1

        def numpy(self) -> Any:
            return lambda x: x + 1e-12

    workload = Nudge()
    assert run.checked(workload, [np.arange(3.0)], workload.reference()).wrong


# --- the machine's limits


def test_bandwidth_between_two_sizes_is_interpolated() -> None:
    limits = {"copy": [[2**20, 8e10], [2**22, 2e10]], "update": [[2**20, 9e10], [2**22, 5e10]]}
    assert machine.bandwidth(limits, 2**20) == pytest.approx(8e10)
    assert machine.bandwidth(limits, 2**21) == pytest.approx(4e10)
    assert machine.bandwidth(limits, 2**30) == pytest.approx(2e10)
    assert machine.bandwidth(limits, 2**30, in_place=True) == pytest.approx(5e10)
    assert machine.bandwidth({"copy": limits["copy"]}, 2**22, in_place=True) == pytest.approx(2e10)


def test_the_higher_of_two_limits_counts() -> None:
    first = {"copy": [[8, 1.0], [16, 4.0]], "update": [[8, 3.0]], "sgemm": 1.0, "dgemm": 2.0}
    second = {"copy": [[8, 2.0], [16, 3.0]], "update": [[8, 2.0]], "sgemm": 2.0, "dgemm": 1.0}
    highest = {"copy": [[8, 2.0], [16, 4.0]], "update": [[8, 3.0]], "sgemm": 2.0, "dgemm": 2.0}
    assert machine.best_limits(first, second) == highest


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells no peak")
def test_the_first_call_of_graphc_counts_its_results(tmp_path: Path) -> None:
    """Later calls have the memory of results that were dropped."""
    row = run.memory(["graphc"], ROWS["chain-f64"], lambda n, f: Process(n, Settings(), f), tmp_path, Settings())
    assert row.outcomes["graphc"].reason is None
    assert row.outcomes["graphc"].samples[0] > 70 * 2**20
    assert re.fullmatch(r"a later call of graphc adds [\d.]+ (B|KiB)", row.note)


# --- the limits of rows


class Counted:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


def test_a_limit_that_does_several_calls_at_once_runs_less_often() -> None:
    work = Counted()
    Limit(work, calls_at_once=4.0).run(100)
    assert work.calls == 25
    Limit(work, calls_at_once=4.0).run(1)
    assert work.calls == 26


@pytest.mark.parametrize(("flops", "rounding"), [(16.0, 0.5), (2.0e4, 0.05), (2.0e8, 0.005)])
def test_the_products_of_a_limit_have_as_many_operations(flops: float, rounding: float) -> None:
    ways = [way for way in products(flops, np.float32) if isinstance(way, partial)]
    assert len(ways) == 5
    for way in ways:
        (rows, inner), (_, columns) = (a.shape for a in way.args)
        assert 2 * rows * inner * columns == pytest.approx(flops, rel=rounding)
        way()
        assert way.keywords["out"].dtype == np.float32
        np.testing.assert_allclose(way.keywords["out"], way.args[0] @ way.args[1], rtol=1e-4)


@pytest.mark.parametrize("name", ["chain-f64", "chain-f64-carried", "call-overhead", "mlp-mnist-step"])
def test_the_limit_of_a_row_moves_what_the_row_moves(name: str) -> None:
    """Or that part of it that a row of a few bytes counts for."""
    workload = ROWS[name]
    row = run.described(workload, workload.reference())
    found = limit(workload, row.bytes)
    assert isinstance(found.work, partial)
    arrays = {id(a): a for a in (*found.work.args, *found.work.keywords.values()) if isinstance(a, np.ndarray)}
    assert row.bound == {"chain-f64-carried": "update", "mlp-mnist-step": "gemm"}.get(name, "copy")
    if row.bound == "gemm":
        assert found.calls_at_once == 1
    else:
        assert len(arrays) == (1 if row.bound == "update" else 2)
        moved = sum(a.nbytes for a in arrays.values()) * (2 if row.bound == "update" else 1)
        assert moved == pytest.approx(found.calls_at_once * row.bytes, abs=16)
    found.run(2)


def test_a_share_is_that_of_the_limit_in_the_same_round() -> None:
    """Or, without one in turn, that of the machine."""
    found = report()
    first = found.rows[0]
    assert found.share(first, first.outcomes["graphc"]) == pytest.approx(
        2**20 / 2e-3 / machine.bandwidth(found.limits, 2**20)
    )
    first.limit = [1e-3, 1e-3, 2e-3]
    assert found.share(first, first.outcomes["graphc"]) == 0.5
    assert found.share(first, first.outcomes["jax"]) == 1.0
    assert found.share(first, Outcome([4e-3])) == 0.25


# --- pairs of processes


def test_a_gain_is_the_median_of_pairs() -> None:
    row = Row("first", "", 0)
    for number, (one, two) in enumerate([([4.0, 6.0, 5.0], [5.0] * 3), ([3.0] * 3, [1.5] * 3), ([9.0] * 3, [3.0] * 3)]):
        for name, samples in zip(pair(number), (one, two), strict=True):
            row.outcomes[name] = Outcome(samples)
    gain = Gain.of(row)
    assert gain is not None
    assert gain.ratios == [1.0, 2.0, 3.0]
    assert gain.ratio == 2.0
    assert [summary.median for summary in gain.times] == [5.0, 3.0]
    row.outcomes[pair(1)[0]] = Outcome(reason="crashed")
    gain = Gain.of(row)
    assert gain is not None
    assert gain.ratios == [1.0, 3.0]
    row.outcomes.update(dict.fromkeys((*pair(0), *pair(1)), Outcome(reason="crashed")))
    gain = Gain.of(row)
    assert gain is not None
    assert gain.ratios == [3.0]


def test_a_gain_of_one_pair_has_the_spread_of_its_samples() -> None:
    gain = Gain.of(report().threads[0])
    assert gain is not None
    assert gain.times == (Summary.of([3e-3] * 3), Summary.of([2e-3] * 3))
    assert gain.ratio == pytest.approx(1.5)
    assert Gain.of(Row("none", "", 0, outcomes={"1": Outcome([1.0])})) is None


# --- the report


def report() -> Report:
    """Two rows: jax twice as fast on the first, missing on the second; numpy wrong on the second."""
    machine = {
        "date": "2030-01-02 03:04 UTC",
        "cpu": "a processor",
        "flags": ["avx2"],
        "cores": 2,
        "memory": 2**33,
        "system": "Linux",
        "python": "3.12.0",
        "commit": "0123abc",
        "load": 0.1,
        "threads": 1,
        "pinned": [1],
        "quick": False,
    }
    limits = {"copy": [[2**18, 4e10], [2**28, 1e10]], "sgemm": 5e10, "dgemm": 2.5e10}
    peers = {"graphc": Peer("graphc", "1"), "jax": Peer("jax", "2"), "numpy": Peer("NumPy", "3")}
    peers["numba"] = Peer("Numba", reason="not installed: No module named 'numba'")
    first = Row("first", "the first row", 2**20, None, "float64")
    first.outcomes = {
        "graphc": Outcome([2e-3, 2e-3, 4e-3], 1.0),
        "jax": Outcome([1e-3, 1e-3, 2e-3], 2.0),
        "numpy": Outcome([8e-3, 8e-3, 16e-3], 0.0),
    }
    second = Row("second", "the second row", 2**20, 1e6, "float32")
    second.note = "graphc unrolls it"
    second.outcomes = {
        "graphc": Outcome([1e-4], 1.0),
        "jax": Outcome(reason="crashed (SIGSEGV)"),
        "numpy": Outcome(reason="off by 1e+05 eps where 512 are allowed", wrong=True),
    }
    compile_30 = Row("compile-30", "a graph", 0, outcomes={"graphc": Outcome([0.25]), "jax": Outcome([0.5])})
    start_30 = Row("compile-30", "a graph", 0, outcomes={"graphc": Outcome([0.75]), "jax": Outcome([1.5])})
    memory = Row("first", "the first row", 2**20, outcomes={"graphc": Outcome([2**20]), "jax": Outcome([2**21])})
    memory.note = "a later call of graphc adds 4 KiB"
    threads = Row("first", "the first row", 2**20, outcomes={"1": Outcome([3e-3] * 3), "2": Outcome([2e-3] * 3)})
    return Report(machine, limits, peers, [first, second], [compile_30], [memory], [threads], [start_30])


def test_ratios_and_their_means() -> None:
    found = report()
    assert found.rows[0].ratio("jax") == 0.5
    assert found.rows[0].ratio("numpy") == 4.0
    assert found.rows[1].ratio("numpy") is None
    assert found.rows[0].best_peer() == "jax"
    assert found.rows[1].best_peer() is None
    assert found.mean_ratio("numpy") == (4.0, 1)
    assert found.mean_ratio_to_best() == (0.5, 1)


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    report().save(tmp_path / "new" / "results.json")
    assert Report.load(tmp_path / "new" / "results.json") == report()


def test_the_page_says_all() -> None:
    text = page.render(report())
    assert "| first | 2 ms | ±25% | **0.50×** | 4.00× |" in text
    assert "| compile-30 | 250 ms | 500 ms |" in text
    assert "| compile-30 | 750 ms | 1.5 s |" in text
    assert "| first | 1 MiB | 2 MiB |" in text
    assert "- first: arguments and results are 1 MiB; a later call of graphc adds 4 KiB\n" in text
    assert "- compile-30: a graph\n" in text
    assert "- Numba: not installed: No module named 'numba'" in text
    assert "| jax | crashed (SIGSEGV) | second |" in text
    assert "| NumPy | wrong: off by 1e+05 eps where 512 are allowed | second |" in text
    assert "- second: graphc unrolls it.\n" in text
    assert "| first | 3 ms | ±0% | 2 ms | ±0% | 1.50× |" in text
    assert "20%" in text  # 1e6 operations in 1e-4 s are 1e10 of 5e10 per second
    for fact in ("2030-01-02 03:04 UTC", "a processor (avx2)", "1 for each peer, pinned to CPU 1", "Python 3.12.0"):
        assert fact in text


def test_the_page_says_how_limits_and_threads_were_measured() -> None:
    found = report()
    before = page.render(found)
    assert page.IN_TURN not in before
    assert page.PAIRS not in before
    found.rows[0].limit = [5e-4]
    for name in pair(1):
        found.threads[0].outcomes[name] = Outcome([3e-3] * 3)
    text = page.render(found)
    assert page.IN_TURN in text
    assert "Not so the limits of second: these follow from the rates.\n" in text
    assert page.PAIRS in text
    assert "| first | the first row | copy | 25% | 50% | jax |" in text
    assert "| first | 3 ms | ±0% | 2.5 ms | ±10% | 1.25× | 1.00× to 1.50× |" in text
    found.rows[1].limit = [5e-4]
    assert "Not so the limits" not in page.render(found)


def test_a_row_with_a_faster_peer_has_a_reason_or_says_that_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"| first | jax | 0.50× | {page.UNEXAMINED} |" in page.render(report())
    monkeypatch.setitem(page.REASONS, "first", "1 ns of 2 is spent in vain")
    assert "| first | jax | 0.50× | 1 ns of 2 is spent in vain |" in page.render(report())
    faster = report()
    faster.rows[0].outcomes["graphc"].samples = [1e-4] * 3
    assert "Where a peer is faster" not in page.render(faster)


def test_reasons_are_those_of_rows() -> None:
    assert REASONS.keys() <= ROWS.keys()
    assert not any("|" in reason or "\n" in reason or reason.endswith(".") for reason in REASONS.values())


def test_results_without_threads_are_read(tmp_path: Path) -> None:
    found = report()
    found.threads.clear()
    found.save(tmp_path / "results.json")
    text = (tmp_path / "results.json").read_text(encoding="utf-8")
    (tmp_path / "results.json").write_text(re.sub(r',\s*"threads": \[\]', "", text), encoding="utf-8")
    assert '"threads": []' not in (tmp_path / "results.json").read_text(encoding="utf-8")
    assert Report.load(tmp_path / "results.json") == found
    assert "Two threads" not in page.render(found)


def test_tables_show_every_peer() -> None:
    console = Console(width=200, record=True, file=StringIO())
    tables.show(report(), console)
    text = console.export_text()
    for part in (
        "wrong: off by",
        "crashed (SIGSEGV)",
        "0.50×",
        "10 GFLOP/s, 20%",
        "0.524 GB/s, 2%",
        "250 ms",
        "750 ms",
        "2 MiB",
        "1.50×",
    ):
        assert part in text


def test_a_comparison_tells_graphc_from_the_machine() -> None:
    old, new = report(), report()
    for outcome in old.rows[0].outcomes.values():
        outcome.samples = [3 * sample for sample in outcome.samples]
    old.rows[0].outcomes["graphc"].samples = [6 * sample for sample in new.rows[0].outcomes["graphc"].samples]
    console = Console(width=200, record=True, file=StringIO())
    console.print(tables.comparison_table(new, old))
    assert re.search(r"first .*12 ms.*2 ms.*6\.00×.*3\.00×", console.export_text())


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.5, "2.5 s"), (0.9996, "1e+03 ms"), (1.234e-3, "1.23 ms"), (5e-7, "500 ns"), (2e-11, "0.02 ns")],
)
def test_times_are_shown_with_their_unit(value: float, text: str) -> None:
    assert tables.seconds(value) == text.replace("1e+03", "1000")


def test_publishing_writes_page_pictures_and_results(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page.publish(report(), tmp_path / "page.md", tmp_path / "results.json", tmp_path / "images")
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert text == page.render(Report.load(tmp_path / "results.json"))
    for image in re.findall(r"\]\((images/[^)]+)\)", text):
        assert (tmp_path / image).stat().st_size > 5_000
    assert set(plots.figures(report())) == {"times", "limits", "latency", "memory"}


def test_the_page_of_the_documentation_comes_from_its_results() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.render(Report.load(page.RESULTS)), "make bench-publish"


def test_graphc_has_byte_code_as_its_peers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process that may write none finds it made."""
    folder = tmp_path / "graphc"
    folder.mkdir()
    (folder / "module.py").write_text("x = 1\n")
    monkeypatch.setattr(harness, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    harness.make_byte_code()
    assert Path(cache_from_source(str(folder / "module.py"))).exists()


# --- the command line


@pytest.mark.parametrize("more", [["--quick"], ["--only", "gelu"], ["--peers", "numpy"]])
def test_only_a_whole_run_is_published(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.arguments(["--publish", *more])
    assert "whole run" in capsys.readouterr().err


def test_patterns_choose_rows() -> None:
    names = [workload.name for workload in run.chosen(ROWS, ["softmax", "hess*"])]
    assert names == ["softmax", "rosenbrock-hessian"]


def test_a_run_from_beginning_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--quick", "--only", "call-overhead", "compile-30", "--peers", "graphc", "numpy", "--out", str(tmp_path)]
    assert run.main(words) == 0
    found = Report.load(tmp_path / "partial.json")
    (row,) = found.rows
    assert {peer: len(outcome.samples) for peer, outcome in row.outcomes.items()} == {"graphc": 7, "numpy": 7}
    assert len(row.limit) == 7
    assert [set(row.measured()) for row in found.latency] == [{"graphc"}]
    if len(last_cpus(2)) > 1:
        assert [set(row.measured()) for row in found.threads] == [{"1", "2"}]
    (before,), (whole,) = found.latency, found.start
    # the worker that measured has imported graphc first
    assert whole.outcomes["graphc"].samples[0] > before.outcomes["graphc"].samples[0]
    assert (tmp_path / "benchmarks-times.png").exists()
    assert run.main(["--load", str(tmp_path / "partial.json"), "--out", str(tmp_path / "again")]) == 0
    assert "call-overhead" in capsys.readouterr().out
