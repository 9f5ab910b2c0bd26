"""What a verification found: entries, edges, the verdict, as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

Verdict = Literal["proved", "certified", "checked", "undecided", "refuted"]
# from the best to the worst; a report's verdict is the worst it contains
ORDER: Final[tuple[Verdict, ...]] = ("proved", "certified", "checked", "undecided", "refuted")
EXIT_CODES: Final[dict[Verdict, int]] = {"proved": 0, "certified": 0, "checked": 2, "undecided": 2, "refuted": 1}


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst of several verdicts; nothing to verify is proved.

    >>> worst(["proved", "certified"])
    'certified'
    """
    return max(verdicts, key=ORDER.index, default="proved")


@dataclass(frozen=True, slots=True)
class Witness:
    """A point at which a derivative is wrong, the value that came out and the right one."""

    point: dict[str, Any]
    found: float
    expected: float
    difference: float
    element: str

    def __str__(self) -> str:
        at = ", ".join(f"{name}={value}" for name, value in self.point.items())
        right = f"not {self.expected!r}" if self.found != self.expected else f"off by {self.difference:.3g}"
        return f"{self.element} is {self.found!r}, {right}, at {at}"


@dataclass(frozen=True, slots=True)
class Blame:
    """The op whose rule is wrong, and where the user wrote it."""

    op: str
    problem: str
    place: str
    source: str

    def __str__(self) -> str:
        line = f" at {self.place}" if self.place else ""
        return f"{self.problem}{line}" + (f"   {self.source}" if self.source else "")


@dataclass(frozen=True, slots=True)
class Entry:
    """One derivative: of an output, by one input (order 1) or two (order 2).

    `to_constants` says that the derivative is right only to within the rounding of float constants in the graph.
    """

    output: str
    inputs: tuple[str, ...]
    order: int
    verdict: Verdict
    method: str
    to_constants: bool = False
    witness: Witness | None = None
    blame: tuple[Blame, ...] = ()

    @property
    def name(self) -> str:
        """The entry as people write it.

        >>> Entry("y", ("x", "w"), 2, "proved", "").name
        'd2 y / dx dw'
        """
        below = " ".join(f"d{name}" for name in self.inputs)
        return f"d{'' if self.order == 1 else self.order} {self.output} / {below}"

    @property
    def label(self) -> str:
        """The verdict in words."""
        return f"{self.verdict} to float constants" if self.to_constants else self.verdict


Finding = Literal["agrees", "convention", "no limit", "undecided", "refuted"]


@dataclass(frozen=True, slots=True)
class Edge:
    """The gradient emitted in float64 at a kink, pole or border, against the limits from both sides.

    `agrees`: it is the two-sided limit. `convention`: between the two sides of a kink. `no limit`: nothing to agree
    with. `undecided`: not finite, or outside the two sides. `refuted`: wrong or NaN where the limit exists.
    """

    output: str
    input: str
    direction: str
    point: dict[str, Any]
    why: str
    limits: str
    found: float
    finding: Finding

    @property
    def name(self) -> str:
        """What was audited."""
        return f"d {self.output} / d{self.input}{self.direction} at {self.why}"


@dataclass(frozen=True, slots=True)
class Report:
    """The result of `verify`. `str(report)` is a table; `.verdict` is the worst verdict, edges included."""

    name: str
    entries: tuple[Entry, ...]
    edges: tuple[Edge, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all entries and edges."""
        found: list[Verdict] = [entry.verdict for entry in self.entries]
        bad: tuple[Verdict, ...] = ("refuted", "undecided")
        found.extend(v for v in bad for edge in self.edges if edge.finding == v)
        return worst(found)

    @property
    def exit_code(self) -> int:
        """0 proved or certified, 1 refuted, 2 checked or undecided."""
        return EXIT_CODES[self.verdict]

    def to_json(self) -> str:
        """The whole report as JSON text."""
        rows = [asdict(item) | {"name": item.name} for item in self.entries]
        edges = [asdict(item) | {"name": item.name} for item in self.edges]
        content = {
            "name": self.name,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "seconds": self.seconds,
            "entries": rows,
            "edges": edges,
            "notes": self.notes,
        }
        return json.dumps(_plain(content), indent=2, allow_nan=False)

    def __str__(self) -> str:
        width = max((len(e.name) for e in self.entries), default=0)
        labels = max((len(e.label) for e in self.entries), default=0)
        lines = [f"{self.name}: {self.verdict} ({self.seconds:.2f} s)"]
        for entry in self.entries:
            lines.append(f"  {entry.name:<{width}}  {entry.label:<{labels}}  {entry.method}".rstrip())
            if entry.witness is not None:
                lines.append(f"    witness  {entry.witness}")
            lines.extend(f"    wrong    {blame}" for blame in entry.blame)
        bad = [e for e in self.edges if e.finding in ("undecided", "refuted")]
        if self.edges:
            lines.append(f"  edges: {len(self.edges)} audited, {len(bad)} in question")
        lines.extend(f"    {e.finding:<9}  {e.name}: {e.found!r}, limits {e.limits}" for e in bad)
        lines.extend(f"  note: {note}" for note in self.notes)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinities: they become text."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value
