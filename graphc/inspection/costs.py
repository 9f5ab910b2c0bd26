"""The cost of a graph before it runs: arithmetic, bytes moved and peak memory, as formulas in named sizes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from math import gcd
from numbers import Integral
from typing import Any, Final

from graphc import dims
from graphc.compiler import Compiled, compile
from graphc.dims import Dim, Size
from graphc.errors import Loc, ShapeError, TraceError, UnsupportedError
from graphc.inspection.counting import CLASSES, Traffic, add_up, arithmetic, substituted
from graphc.inspection.loads import Load, loads
from graphc.ir import Graph
from graphc.passes.plan import plan
from graphc.plan import Plan

FLOPS: Final = CLASSES[:-1]
NARROW: Final = 24  # columns of a formula that leaves room for a note beside it


@dataclass(frozen=True, slots=True)
class Ratio:
    """A quotient of two formulas, in lowest terms of integers and symbols.

    >>> n = dims.symbol("n")
    >>> str(Ratio(6 * n, 24 * n)), Ratio(6, 24).value
    ('1/4', 0.25)
    """

    above: Size
    below: Size

    @property
    def value(self) -> float | None:
        """The number, where no symbol is left; None also where nothing is moved."""
        above, below = self._reduced()
        return above / below if isinstance(above, int) and isinstance(below, int) and below else None

    def _reduced(self) -> tuple[Size, Size]:
        if self.above == 0 or self.below == 0:
            return (0, 1) if self.below != 0 else (self.above, 0)
        terms = [term for size in (self.above, self.below) for term in _terms(size)]
        factor: Size = gcd(*(c for _, c in terms))
        powers = [{atom.text: power for atom, power in monomial} for monomial, _ in terms]
        for text in powers[0]:
            factor = factor * dims.parse(text) ** min(p.get(text, 0) for p in powers)
        above, below = dims.divide_exactly(self.above, factor), dims.divide_exactly(self.below, factor)
        return (self.above, self.below) if above is None or below is None else (above, below)

    def __str__(self) -> str:
        value = self.value
        above, below = self._reduced()
        if value is not None and not (isinstance(self.above, Dim) or isinstance(self.below, Dim)):
            return f"{value:.3g}"
        if below in (0, 1):
            return str(above) if below else "none moved"
        sides = [
            f"({side})" if isinstance(side, Dim) and not str(side).isidentifier() else str(side)
            for side in (above, below)
        ]
        return "/".join(sides)


def _terms(size: Size) -> Iterable[tuple[Any, int]]:
    return size.terms if isinstance(size, Dim) else (((), size),)


@dataclass(frozen=True, slots=True)
class Row:
    """What some nodes cost together. Every count is an int, or a formula in the named sizes.

    `add`, `mul`, `div` (division, remainder, square root) and `transcendental` count operations on floats;
    `other` counts comparisons, selections, rounding, changes of sign, and all arithmetic of integers and booleans.
    `read` and `written` are the bytes moved if every node runs alone.
    """

    nodes: int
    add: Size
    mul: Size
    div: Size
    transcendental: Size
    other: Size
    read: Size
    written: Size

    @property
    def flops(self) -> Size:
        """All operations on floats, each counted once."""
        return self.add + self.mul + self.div + self.transcendental

    @property
    def bytes(self) -> Size:
        """What is read and written."""
        return self.read + self.written

    @property
    def intensity(self) -> Ratio:
        """Operations on floats for each byte moved."""
        return Ratio(self.flops, self.bytes)

    def at(self, **sizes: int) -> Row:
        """The same with numbers for named sizes."""
        return Row(self.nodes, *(substituted(getattr(self, name), sizes) for name in COUNTS))

    def as_dict(self) -> dict[str, Any]:
        """The counts by name; formulas as text."""
        named = {name: getattr(self, name) for name in ("nodes", "flops", *COUNTS, "bytes")}
        return {name: str(size) if isinstance(size, Dim) else size for name, size in named.items()}


COUNTS: Final = (*CLASSES, "read", "written")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the user's program, or the derivatives of what it computes. No `loc`: nodes without a line."""

    loc: Loc | None
    derivative: bool

    def __str__(self) -> str:
        place = self.loc.described if self.loc is not None else "no line"
        return f"{place} (derivative)" if self.derivative else place


@dataclass(frozen=True, slots=True)
class Cost:
    """What `cost` found. `str(cost)` is a table.

    total: all nodes. by_op, by_line: the same by the name of the op and by the user's line, in the graph's order.
    planned: bytes that the steps of the plan move, where a kernel that does several ops at once keeps what is between.
    least: bytes of the inputs, constants and results, each once: what has to be moved even if all is fused.
    peak: most bytes of results and temporaries alive at once in the NumPy executor; None if its formula is too long.
    unknown: ops that no record counts, left out of the totals.
    names: the named sizes that have no number yet.
    kernels: of a compiled function, the work of each, in additions that would take about as long, and the threads that
        it is worth, where machine code runs it.
    """

    name: str
    total: Row
    by_op: Mapping[str, Row]
    by_line: Mapping[Line, Row]
    planned: Size
    least: Size
    peak: Size | None
    unknown: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    kernels: tuple[Load, ...] = ()

    @property
    def intensity(self) -> Ratio:
        """Operations on floats for each byte, if every node runs alone."""
        return self.total.intensity

    @property
    def intensity_at_best(self) -> Ratio:
        """Operations on floats for each byte that has to be moved."""
        return Ratio(self.total.flops, self.least)

    def at(self, **sizes: int) -> Cost:
        """The same with numbers for named sizes.

        >>> from graphc import trace
        >>> cost(trace(lambda x: x * x, "f64[n]")).at(n=10).total.flops
        10
        """
        _check_names(self.name, sizes, self.names)
        return replace(
            self,
            names=tuple(name for name in self.names if name not in sizes),
            total=self.total.at(**sizes),
            by_op={name: row.at(**sizes) for name, row in self.by_op.items()},
            by_line={line: row.at(**sizes) for line, row in self.by_line.items()},
            planned=substituted(self.planned, sizes),
            least=substituted(self.least, sizes),
            peak=None if self.peak is None else substituted(self.peak, sizes),
            kernels=tuple(load.at(**sizes) for load in self.kernels),
        )

    def to_json(self) -> str:
        """All of it as JSON; formulas as text."""
        lines = []
        for line, row in self.by_line.items():
            loc = line.loc
            place = None if loc is None else {"file": loc.file, "line": loc.line, "function": loc.function}
            lines.append({"loc": place, "derivative": line.derivative, **row.as_dict()})
        content = {
            "name": self.name,
            "total": self.total.as_dict(),
            "planned": _plain(self.planned),
            "least": _plain(self.least),
            "peak": _plain(self.peak),
            "unknown": self.unknown,
            "by_op": {name: row.as_dict() for name, row in self.by_op.items()},
            "by_line": lines,
            "kernels": [load.as_dict() for load in self.kernels],
        }
        return json.dumps(content, indent=2)

    def __str__(self) -> str:
        total = self.total
        classes = [f"{name} {shown(getattr(total, name))}" for name in FLOPS if getattr(total, name) != 0]
        moved = [f"read {shown(total.read)}", f"written {shown(total.written)}"]
        peak = "give sizes: its formula is too long" if self.peak is None else shown(self.peak)
        rows = [
            ("flops", shown(total.flops), ", ".join(classes)),
            ("other", shown(total.other), "comparisons, selection, rounding, signs, integers"),
            ("bytes", shown(total.bytes), f"each op alone: {', '.join(moved)}"),
            ("as planned", shown(self.planned), "with ops joined in kernels"),
            ("least bytes", shown(self.least), "inputs, constants and results once"),
            ("flops/byte", str(self.intensity), f"at best {self.intensity_at_best}"),
            ("peak bytes", peak, "results and temporaries alive at once"),
        ]
        if self.planned == total.bytes:
            rows = [row for row in rows if row[0] != "as planned"]
        wide = min(max(len(row[1]) for row in rows), NARROW)
        lines = [f"cost of {self.name}, {total.nodes} node{'s' if total.nodes != 1 else ''}"]
        for label, value, note in rows:
            lines.append(f"  {label:<11}  {value:<{wide}}")
            if len(value) > wide:
                lines.append(" " * 15)
            lines[-1] += f"  {note}"
        lines += _table("by line", {str(line): row for line, row in self.by_line.items()})
        lines += _table("by op", self.by_op)
        if self.kernels:
            heads = ("work", "threads", "by kernel")
            lines += _columns([heads, *((shown(load.work), load.shown, str(load)) for load in self.kernels)])
        if self.unknown:
            lines += ["", f"not counted: {', '.join(self.unknown)}"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _check_names(graph: str, sizes: Mapping[str, Any], names: Iterable[str]) -> None:
    for name, number in sizes.items():
        if name not in names:
            raise ShapeError(
                f"{graph} has no size called {name}",
                expected=", ".join(names) or "no sizes: all are numbers",
                actual=f"{name}={number}",
            )
        if isinstance(number, bool) or not isinstance(number, Integral) or number < 0:
            raise ShapeError(f"size {name}: not a size", expected="an integer of at least 0", actual=repr(number))


def shown(size: Size) -> str:
    """A count as the tables show it.

    >>> shown(1234567), shown(2 * dims.symbol("n"))
    ('1,234,567', '2*n')
    """
    return f"{size:,}" if isinstance(size, int) else str(size)


def _plain(size: Size | None) -> Any:
    return str(size) if isinstance(size, Dim) else size


def _table(title: str, rows: Mapping[str, Row]) -> list[str]:
    """Rows that cost something, the dearest first where all are numbers."""
    dear = [(name, row) for name, row in rows.items() if any(getattr(row, count) != 0 for count in COUNTS)]
    numbers = [(row.flops, row.bytes) for _, row in dear]
    if all(isinstance(flops, int) and isinstance(moved, int) for flops, moved in numbers):
        dear.sort(key=lambda item: (item[1].flops, item[1].bytes), reverse=True)
    cells = [("nodes", "flops", "bytes", title)]
    cells += [(str(row.nodes), shown(row.flops), shown(row.bytes), name) for name, row in dear]
    return _columns(cells)


def _columns(cells: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines below an empty one: numbers to the right, and a name."""
    wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [""]
    for *columns, name in cells:
        numbers = "  ".join(f"{text:>{width}}" for text, width in zip(columns, wide[:-1], strict=True))
        lines.append(f"  {numbers}  {name}".rstrip())
    return lines


class _Tally:
    """Counts of a group of nodes: equal sizes are counted first and added up once."""

    def __init__(self) -> None:
        self.nodes = 0
        self.counts: dict[str, Counter[Size]] = {name: Counter() for name in COUNTS}

    def row(self) -> Row:
        return Row(self.nodes, *(add_up(self.counts[name]) for name in COUNTS))


def cost(target: Graph | Compiled | Callable[..., Any], /, *specs: Any, **sizes: int) -> Cost:
    """Count the arithmetic of a graph and the bytes it moves, without running it.

    An operation on floats counts 1, whether an addition or a sine; ``cost(...).total`` has them by class. A
    matrix product of (n, k) with (k, m) counts n*m*k multiplications and as many additions, a sum of n elements n
    additions. A function that is one op, such as `logsumexp`, counts what its NumPy code does; a special function of
    one variable counts 1 for each element. Sorting counts 1 `other` for each element: it compares as they demand.

    Args:
        target: a function, which is compiled for `specs`: the cost is that of the optimised graph; a `Compiled`; or a
            `Graph`, which is counted as it stands.
        specs: as for `trace`, by position; only with a function. One that takes keywords is compiled first.
        sizes: numbers for named sizes. Others stay names, and the counts are formulas in them.

    Returns:
        A `Cost`: print it, or read `.total`, `.by_op`, `.by_line`, `.least`, `.peak`, `.to_json()`.

    Raises:
        TraceError: `target` is none of these, or specs were given with a graph.
        ShapeError: a name in `sizes` is none of the graph's, or its number is no size.
        UnsupportedError: a formula has too many terms to be written; give the sizes.

    >>> found = cost(lambda a, b: a @ b, "f64[n,k]", "f64[k,m]")
    >>> found.total.flops, found.least, found.at(n=10, k=20, m=30).total.flops
    (2*k*m*n, 8*k*m+8*k*n+8*m*n, 12000)
    """
    storage = _plan(target, specs)
    names = sorted({s for t in storage.graph.input_types for d in t.shape for s in dims.symbols(d)})
    _check_names(storage.graph.name, sizes, names)
    try:
        return _count(storage, sizes, tuple(name for name in names if name not in sizes))
    except ValueError as error:
        if isinstance(error, UnsupportedError) or not str(error).startswith("size"):
            raise
        raise UnsupportedError(
            f"{storage.graph.name}: the formulas of its cost are too long",
            actual=str(error),
            fix="give the sizes: cost(graph, n=100)",
        ) from None


def _plan(target: Any, specs: tuple[Any, ...]) -> Plan:
    if isinstance(target, (Graph, Compiled)):
        if specs:
            raise TraceError(
                "cost: a graph has its types already",
                expected="specs only with a function",
                actual=f"{len(specs)} specs",
                fix="cost(graph)",
            )
        return target.plan if isinstance(target, Compiled) else plan(target)
    if not callable(target):
        raise TraceError(
            f"cost: a {type(target).__name__} is nothing that can be counted",
            expected="a function and its specs, a Graph, or a Compiled",
            actual=repr(target)[:60],
            fix='cost(f, "f64[n,3]")',
        )
    return compile(target, *specs).plan


def _count(storage: Plan, sizes: Mapping[str, int], names: tuple[str, ...]) -> Cost:
    graph = storage.graph
    traffic = Traffic(graph)
    total, by_op, by_line = _Tally(), dict[str, _Tally](), dict[Line, _Tally]()
    unknown: dict[str, None] = {}
    for node, data in graph._node.items():
        if data["op"] == "input":
            continue
        counts = arithmetic(graph, node)
        if counts is None:
            unknown[data["op"]] = None
            counts = {}
        read, written = traffic.read(node), traffic.written(node)
        line = Line(data["loc"][0] if data["loc"] else None, data["origin"] is not None)
        groups = (total, by_op.setdefault(data["op"], _Tally()), by_line.setdefault(line, _Tally()))
        for tally in groups:
            tally.nodes += 1
            for name, size in counts.items():
                tally.counts[name][substituted(size, sizes)] += 1
            for size, times in read.items():
                tally.counts["read"][substituted(size, sizes)] += times
            tally.counts["written"][substituted(written, sizes)] += 1
    planned: Counter[Size] = Counter()
    for step in storage.steps:
        planned.update(traffic.step(step))
    try:
        peak: Size | None = storage.peak_formula(sizes)
    except ValueError:
        peak = None
    return Cost(
        graph.name,
        total.row(),
        {name: tally.row() for name, tally in by_op.items()},
        {line: tally.row() for line, tally in by_line.items()},
        add_up(_with(planned, sizes)),
        add_up(_with(traffic.least(graph), sizes)),
        peak,
        tuple(unknown),
        names,
        tuple(load.at(**sizes) for load in loads(storage)),
    )


def _with(counted: Mapping[Size, int], sizes: Mapping[str, int]) -> Counter[Size]:
    found: Counter[Size] = Counter()
    for size, times in counted.items():
        found[substituted(size, sizes)] += times
    return found
