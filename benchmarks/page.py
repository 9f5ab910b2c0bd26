"""Results as a page of the documentation, written from the results alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks import plots
from benchmarks.harness import ROOT
from benchmarks.reasons import MEASURED_ON, REASONS
from benchmarks.results import BASE, FAST, Gain, Outcome, Report, Row
from benchmarks.tables import percent, seconds, size, span, times

PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "benchmarks" / "results.json"
IMAGES = ROOT / "docs" / "images"

INTRODUCTION = """\
# Benchmarks

graphc beside its peers, on one machine, in one run. This page is written by `make bench-publish` from
`benchmarks/results.json`; `make bench` measures on your machine and writes to `out/`.
"""

METHOD = """\
## How it is measured

- Every peer works in a process of its own, on the same CPU. One batch of calls of each peer is taken in turn, again
  and again, while the others are idle, so that whatever the machine does meanwhile touches all alike. A batch takes
  at least 10 ms. Times are medians over batches; a ratio is the median over rounds of the ratio within a round.
- Before anything is timed, results are compared with a reference: float64 for float32, long double for float64 where
  NumPy has the functions, exact sums for the sum of squares. A wrong result is a missing time, and said so.
- Each program is what a user of that library would write, in its best setting. **graphc** rounds as NumPy does;
  **graphc, fast_math** may round a product and a sum once and takes faster elementary functions, as others do.
  **jax** takes and gives NumPy arrays; **jax, resident** keeps its own arrays, donates those that a step feeds
  to itself, and waits for each result. **torch.compile** compiles the whole program, derivatives included, in
  its default mode or, where matrix products dominate, in max-autotune mode if that is faster; without
  derivatives under `inference_mode`. **PyTensor** is in Numba mode with static shapes, trusted inputs, borrowed
  outputs, and shared variables for what a step feeds to itself. **Numba** is hand-written loops with `fastmath`
  and NumPy's error model. **CasADi** is called through buffers that are bound once, so a call passes no
  arguments; on its virtual machine or as compiled C, whichever is faster. **NumPy** has its derivatives written
  by hand.
- Where a step feeds itself ("fed to itself", training steps), peers may work in place: NumPy, Numba, PyTorch,
  PyTensor and NumExpr do, and graphc and jax donate.
- Compile latency is measured in fresh processes with empty caches, from the program to its first results, the import
  of the library left out where nothing else is said; the start of Python and the import of NumPy, which are the same
  for all, are in no figure. The imports at the top of the page were timed once each, in the processes whose running
  times are measured: the first of two with one library may have to read its files from the disk. All libraries have
  their modules as byte code, graphc too, which is compiled to it before the first process starts, as `pip` does; and
  the functions that its kernels call, as building it does.
- Peak memory is by how much a fresh process grows during a call, by the system's own count, when all memory that is
  free has been given back to the system before.
- The copy bandwidth is the best of many copies between two arrays that are in memory already, by the C library, by a
  loop of vectors or by one that writes past the cache, whichever is fastest; the update bandwidth is the best of
  negating an array in place. Both count each byte that is read and each that is written. They are measured for several
  sizes, and interpolated between them. The traffic of a row is what has to move at least: its arguments and results,
  once.
"""

LIMITS = """\
The limit is what the machine reaches with the row's traffic, its arguments read and its results written once: by a
copy; by an update in place, where a step replaces its own arguments, which touches half the memory and fetches no
line only to overwrite it; or, where matrix products dominate, by NumPy's. Rows that compute little come near 100%, and
may come out a little above it: repeated calls find a part of their data in the processor's cache.
"""

IN_TURN = """\
Each limit was measured with its row: a process of its own, on the same CPU, takes its batches in turn with the peers.
It copies as many bytes from one array to another (by the C library, a loop of vectors, or one that writes past the
cache, whichever was fastest when it began), negates as many in place, or multiplies with NumPy, by as many operations,
matrices that are nearly square and of the shape that was the fastest of five. Of what is less than 256 KiB, it is that
part of the time for 256 KiB. The share is the median over rounds of its time divided by the row's, as all ratios here
are; so it may differ from what the rates at the top of the page say, which are the best of many runs before and after
all rows. Before a batch a call is made that is not timed, unless one takes more than 50 ms: other processes have filled
the caches meanwhile.
"""

PAIRS = """\
Two processes with the same program differ by some hundredths, as their memory lies: so there are several pairs of
processes, all taking their batches in turn. Times are medians over processes of the median of their batches; the gain
is the median over pairs, beside the lowest and the highest of them.
"""

MEMORY = """\
What a call adds to its arguments, which are there before: results and temporaries. graphc's is that of the first call
after compiling. Later ones add less, since memory of results that have been dropped is
[used again](kernels.md#memory-of-large-results): how much is said below the table. For the others, many of which
compile in their first call, it is that of a later one, after their allocators have given back what is free. CasADi, and
steps in place, write into memory that is there: the buffers bound before, or the arguments.
"""

ERRORS = """\
The largest error of a result, relative to its largest element, in units of its precision's epsilon. What a step
replaces is judged relative to how much the step changed it: to round a weight to single precision is hundreds of units
of a small update, in every library. SciPy's `erf` has no long double, so the reference of Black–Scholes in double
precision is NumPy's own program: there NumPy has 0, and the others how far they are from it.
"""

UNEXAMINED = "not examined yet: only the ratio of this run is known"
"""What stands beside a row with a faster peer for which nothing was found by measuring."""


def table(headings: Iterable[str], rows: Iterable[Iterable[str]], left: int = 1) -> str:
    """A Markdown table whose first columns are text and whose others are numbers."""
    headings = list(headings)
    lines = [
        f"| {' | '.join(headings)} |",
        f"|{'|'.join('---' if k < left else '---:' for k in range(len(headings)))}|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def circumstances(report: Report) -> str:
    """The machine, the date, the versions."""
    machine, limits = report.machine, report.limits
    bandwidths = [
        (f"{kind} bandwidth", ", ".join(f"{rate / 1e9:.3g} GB/s at {size(amount)}" for amount, rate in limits[kind]))
        for kind in ("copy", "update")
        if kind in limits
    ]
    pinned = f", pinned to CPU {', '.join(map(str, machine['pinned']))}" if machine["pinned"] else ""
    memory = f", {size(machine['memory'])} of memory" if machine["memory"] else ""
    facts = [
        ("date", f"{machine['date']}{', a quick run: small sizes, few rounds' if machine['quick'] else ''}"),
        ("graphc", f"commit {machine['commit']}"),
        ("processor", f"{machine['cpu']} ({', '.join(machine['flags'])}), {machine['cores']} cores{memory}"),
        ("threads", f"{machine['threads']} for each peer{pinned}; load average before the run {machine['load']}"),
        ("system", f"{machine['system']}, Python {machine['python']}"),
        *bandwidths,
        ("matrix product", f"{limits['sgemm'] / 1e9:.3g} GFLOP/s float32, {limits['dgemm'] / 1e9:.3g} float64"),
    ]
    # an import of no time was not measured
    found = [
        (peer.title, peer.version, seconds(peer.seconds) if peer.seconds else "")
        for peer in report.peers.values()
        if not peer.reason
    ]
    absent = [f"- {peer.title}: {peer.reason}\n" for peer in report.peers.values() if peer.reason]
    return (
        "## The machine\n\n"
        + table(("", ""), facts, left=2)
        + "\n"
        + table(("peer", "version", "import"), found, left=2)
        + ("\nMissing:\n\n" + "".join(absent) if absent else "")
    )


def running_times(report: Report) -> str:
    """Each peer relative to graphc."""
    peers = [peer for peer in report.peers if peer != BASE and any(peer in row.measured() for row in report.rows)]
    rows = []
    for row in report.rows:
        base = row.measured().get(BASE)
        best = row.best_peer()
        cells = [
            row.name,
            seconds(base.summary.median) if base else "",
            f"±{100 * base.summary.spread:.0f}%" if base else "",
        ]
        for peer in peers:
            value = row.ratio(peer)
            text = times(value) if value is not None else ""
            cells.append(f"**{text}**" if peer == best and text else text)
        rows.append(cells)
    means = [report.mean_ratio(peer) for peer in peers]
    rows.append(["geometric mean", "", "", *(times(mean[0]) if mean else "" for mean in means)])
    rows.append(["over rows", "", "", *(str(mean[1]) if mean else "" for mean in means)])
    best_mean = report.mean_ratio_to_best()
    lead = "How many times as long as graphc each peer takes: above 1, graphc is faster. Bold is the fastest peer.\n"
    if best_mean:
        lead += (
            f"Against the fastest peer of every row, graphc is {times(best_mean[0])} as fast in geometric mean over "
            f"{best_mean[1]} rows.\n"
        )
    fast_mean = report.mean_ratio_to_best(FAST)
    if fast_mean:
        lead += f"With `fast_math=True` it is {times(fast_mean[0])} as fast.\n"
    headings = ["workload", "graphc", "spread", *(report.peers[peer].title for peer in peers)]
    notes: dict[str, list[str]] = {}
    for row in report.rows:
        if row.note:
            notes.setdefault(row.note, []).append(row.name)
    below = [f"- {', '.join(names)}: {note}.\n" for note, names in notes.items()]
    return "\n".join(["## Running time\n", lead, table(headings, rows), *(["".join(below)] if below else [])])


def slower(report: Report) -> str:
    """The rows on which a peer is faster, and why; empty if there are none."""
    rows = []
    for row in report.rows:
        best = row.best_peer()
        value = None if best is None else row.ratio(best)
        if best is not None and value is not None and value < 1:
            rows.append((row.name, report.peers[best].title, times(value), REASONS.get(row.name, UNEXAMINED)))
    if not rows:
        return ""
    lead = (
        "All rows with a ratio below 1, the fastest peer, and what limits graphc. The numbers were measured on\n"
        f"{MEASURED_ON}: the shortest of many calls, one thread.\n"
    )
    return f"## Where a peer is faster\n\n{lead}\n{table(('workload', 'peer', 'ratio', 'why'), rows, left=4)}"


def two_threads(report: Report) -> str:
    """What a second thread brings; empty if that was not measured."""
    rows = []
    for row in report.threads:
        if gain := Gain.of(row):
            cells = [text for found in gain.times for text in (seconds(found.median), f"±{percent(found.spread)}")]
            rows.append([row.name, *cells, times(gain.ratio), span(gain.ratios)])
    if not rows:
        return ""
    lead = (
        "graphc alone, with `GRAPHC_NUM_THREADS` (and the threads of BLAS) 1 and 2, pinned to as many CPUs; batches\n"
        "are taken in turn. Above 1, two threads are faster. Small kernels run on one thread in either case. On one\n"
        "thread a program may take another time here than above, most where its data have some megabytes: it is\n"
        "another process, and fewer take turns with it. Programs of microseconds run on one thread in both processes;\n"
        "what they differ by is the CPU that the system chose. Pinned to one CPU, rosenbrock-hvp took the same time,\n"
        "within 4%, in 8 processes of each kind.\n"
    )
    headings = ["workload", "one thread", "spread", "two threads", "spread", "gain"]
    if any(cells[-1] for cells in rows):
        lead += PAIRS
        headings.append("of pairs")
    return f"## Two threads\n\n{lead}\n{table(headings, (cells[: len(headings)] for cells in rows))}"


def workloads(report: Report) -> str:
    """What the rows are, and how near graphc and its best peer come to the machine's limits."""
    rows = []
    for row in report.rows:
        best = row.best_peer()
        cells = [row.name, row.title, row.bound]
        for peer in (BASE, best):
            outcome = row.measured().get(peer or "")
            cells.append(percent(report.share(row, outcome)) if outcome else "")
        rows.append([*cells, report.peers[best].title if best else ""])
    lead, others = LIMITS, [row.name for row in report.rows if not row.limit]
    if len(others) < len(report.rows):
        lead += f"\n{IN_TURN}"
        lead += f"\nNot so the limits of {', '.join(others)}: these follow from the rates.\n" if others else ""
    headings = ("workload", "what is computed", "limit", "graphc reaches", "best peer reaches", "best peer")
    return f"## The workloads, and the machine's limits\n\n{lead}\n{table(headings, rows, left=3)}"


def by_peer(rows: list[Row], report: Report, cell: str) -> str:
    """A table of rows and peers; `cell` is "seconds", "bytes" or "error"."""
    peers = [peer for peer in report.peers if any(shown(row.outcomes.get(peer), cell) for row in rows)]
    cells = [[row.name, *(shown(row.outcomes.get(peer), cell) for peer in peers)] for row in rows]
    return table(["", *(report.peers[peer].title for peer in peers)], cells)


def shown(outcome: Outcome | None, cell: str) -> str:
    if outcome is None:
        return ""
    if cell == "error":
        return f"{outcome.error:.2g}" if outcome.error is not None else ""
    if not outcome.samples:
        return ""
    median = outcome.summary.median
    return seconds(median) if cell == "seconds" else size(median)


def missing(report: Report) -> str:
    """Why there is no figure: the rows of each peer by reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for rows in (report.rows, report.latency, report.memory):
        for row in rows:
            for peer, outcome in row.outcomes.items():
                if outcome.reason is not None:
                    reason = ("wrong: " if outcome.wrong else "") + outcome.reason.replace("|", "/")
                    names = found.setdefault((report.peers[peer].title, reason), [])
                    if row.name not in names:
                        names.append(row.name)
    lines = [(peer, reason, ", ".join(names)) for (peer, reason), names in sorted(found.items())]
    return "## Missing figures\n\n" + table(("peer", "why", "rows"), lines, left=3) if lines else ""


def render(report: Report) -> str:
    """The page."""
    pictures = plots.figures(report)

    def picture(name: str, text: str) -> str:
        return f"\n![{text}](images/benchmarks-{name}.png)\n" if name in pictures else ""

    parts = [INTRODUCTION, circumstances(report)]
    if report.rows:
        parts += [
            running_times(report) + picture("times", "Running times relative to graphc"),
            slower(report),
            two_threads(report),
            workloads(report) + picture("limits", "Shares of the machine's limits"),
        ]
    if report.latency:
        table = by_peer(report.latency, report, "seconds")
        if report.start:
            table += (
                f"\nFrom the import of the library to the first results:\n\n{by_peer(report.start, report, 'seconds')}"
            )
        titles = "".join(f"- {row.name}: {row.title}\n" for row in report.latency)
        parts.append(
            f"## Compile latency\n\n{table}\n{titles}{picture('latency', 'Compile latency against operations')}"
        )
    if report.memory:
        rows = [
            f"- {row.name}: arguments and results are {size(row.bytes)}{f'; {row.note}' if row.note else ''}\n"
            for row in report.memory
        ]
        lead = f"{MEMORY}\n" if any(row.note for row in report.memory) else ""
        table = by_peer(report.memory, report, "bytes")
        parts.append(f"## Peak memory of a call\n\n{lead}{table}\n{''.join(rows)}{picture('memory', 'Peak memory')}")
    if report.rows:
        parts.append(f"## Errors\n\n{ERRORS}\n{by_peer(report.rows, report, 'error')}")
    parts += [missing(report), METHOD]
    return "\n".join(part for part in parts if part)


def publish(report: Report, page: Path = PAGE, results: Path = RESULTS, images: Path = IMAGES) -> None:
    """Renew the page, its pictures, and the results they come from."""
    report.save(results)
    report = Report.load(results)  # as rounded in the file, so that the page can be made again from it
    plots.draw_all(report, images)
    page.write_text(render(report), encoding="utf-8")
