"""Sample points on both sides of every choice a graph makes, and the outcomes for which none was found."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, islice
from typing import Any, Final

import numpy as np

from graphc.backends.exact.fields import Array, ExactError, Undecided, apply_each, empty
from graphc.backends.exact.jets import JetField
from graphc.backends.exact.reals import reals
from graphc.backends.exact.world import run
from graphc.ir import Graph
from graphc.verification import points
from graphc.verification.branches import EXTREMES, STEPS, Choice, codes, live
from graphc.verification.limits import every_node
from graphc.verification.report import Entry
from graphc.verification.sampling import Point
from graphc.verification.search import GRID, Root

# (scale, shift) of random points, the near ones first
NEAR: Final = 6
SCALES: Final = (
    *((Fraction(1), Fraction(0)),) * NEAR,
    *((Fraction(s), Fraction(0)) for s in (8, 32, Fraction(1, 64), 1024, 2**20, Fraction(1, 2**40))),
    *((Fraction(1), Fraction(s)) for s in (4, -4, 16, -16, 128, -128, 1024, -1024, 2**20, -(2**20))),
)
MAX_POINTS: Final = 12  # added to those there are
MAX_CANDIDATES: Final = 400
MAX_JOINT: Final = 4  # elements of choices of which combinations are visited, too
MAX_CELLS: Final = 8


@dataclass(frozen=True, slots=True)
class Unseen:
    """An outcome that no sample point has."""

    node: int
    text: str
    source: str

    def __str__(self) -> str:
        return f"{self.text}   {self.source}".rstrip()


def cover(
    graph: Graph,
    found: Sequence[Choice],
    sampled: Sequence[Point],
    roots: Sequence[Root],
    sizes: Mapping[str, int],
    seed: int,
    domain: str | None,
) -> tuple[list[Point], list[Unseen]]:
    """The sample points and those added for the outcomes that they lack; then what is still not seen."""
    result = list(sampled)
    for point in sampled:
        _mark(graph, found, point, sizes)
    for choice in found:
        met = any(root.met and root.node == choice.node for root in roots)
        for code in choice.touching:
            # a tie of no width has no derivative of its own: the edge audit goes there
            if met and choice.needed is not None:
                choice.needed.pop(code, None)
    beside = (p for root in roots for p in root.beside)
    drawn = _random(sampled[0], seed) if sampled else iter(())
    stream = chain(islice(drawn, NEAR), beside, drawn, _alike(sampled[0])) if sampled else iter(())
    batch: list[tuple[Point, dict[int, Array]]] = []
    for number, point in enumerate(stream):
        if number >= MAX_CANDIDATES or not any(choice.missing() for choice in found):
            break
        if domain is None or _belongs(point, domain):
            outcome = _codes(graph, found, point, sizes)
            if outcome is not None:
                batch.append((point, outcome))
        if len(batch) >= 12:
            _pick(graph, found, batch, result, sizes, len(sampled))
            batch = []
    _pick(graph, found, batch, result, sizes, len(sampled))
    if found and sampled:
        more = chain((p for root in roots for p in root.beside), _random(sampled[0], seed))
        allowed = (p for p in more if domain is None or _belongs(p, domain))
        _combine(graph, found, [*result], allowed, result, sizes)
    return result, [u for choice in found for u in _unseen(graph, choice)]


def _pick(
    graph: Graph,
    found: Sequence[Choice],
    batch: list[tuple[Point, dict[int, Array]]],
    result: list[Point],
    sizes: Mapping[str, int],
    start: int,
) -> None:
    """Take the candidates that show most outcomes not seen before, as long as they show any."""
    while batch and len(result) < start + MAX_POINTS:
        gains = [sum(c.gain(outcome[c.node]) for c in found) for _, outcome in batch]
        best = int(np.argmax(gains))
        if gains[best] == 0:
            return
        point, _ = batch.pop(best)
        if _mark(graph, found, point, sizes):
            result.append(point)


def _combine(
    graph: Graph,
    found: Sequence[Choice],
    known: Sequence[Point],
    candidates: Iterator[Point],
    result: list[Point],
    sizes: Mapping[str, int],
) -> None:
    """Add points with combinations of outcomes not seen before, where there are few choices."""

    def joined(outcome: Mapping[int, Array]) -> tuple[float, ...]:
        return tuple(v for c in found for v in outcome[c.node].ravel().tolist())

    seen = {joined(o) for p in known if (o := _codes(graph, found, p, sizes)) is not None}
    if any(len(cell) > MAX_JOINT or any(c.op in STEPS for c in found) for cell in seen):
        return
    for point in islice(candidates, MAX_CANDIDATES):
        if len(seen) >= MAX_CELLS:
            return
        outcome = _codes(graph, found, point, sizes)
        if outcome is not None and joined(outcome) not in seen and _mark(graph, found, point, sizes):
            seen.add(joined(outcome))
            result.append(point)


def _random(base: Point, seed: int) -> Iterator[Point]:
    for number, (scale, shift) in enumerate(SCALES):
        rng = random.Random(f"cover {seed} {number}")
        inputs = []
        for t in base.types:
            if t.dtype.kind == "f":
                drawn = points.draw("real", t.shape, rng, set())
                inputs.append(apply_each(lambda v, a=scale, b=shift: a * v + b, drawn))
            else:
                inputs.append(_discrete(t.dtype.kind, t.shape, rng, number))
        yield from _exact(Point(tuple(inputs), base.types))


def _discrete(kind: str, shape: Any, rng: random.Random, number: int) -> Array:
    values = empty(shape)
    low, high = ((0, 1), (0, 3), (-3, 3))[number % 3] if kind == "i" else (0, (1, 3, 9)[number % 3])
    for i in np.ndindex(shape):
        values[i] = rng.random() < 0.5 if kind == "b" else Fraction(rng.randint(low, high))
    return values


def _alike(base: Point) -> Iterator[Point]:
    """All floats about alike, far and near; then one input element far out and the rest as they were."""
    for t in GRID:
        value = Fraction(t) * Fraction(33, 32)
        inputs = [
            apply_each(lambda v, s=value: s + v / 2**10, x) if y.dtype.kind == "f" else x
            for x, y in zip(base.inputs, base.types, strict=True)
        ]
        yield from _exact(Point(tuple(inputs), base.types))
    for k, type in enumerate(base.types):
        if type.dtype.kind == "f":
            for i in np.ndindex(base.inputs[k].shape):
                for far in (64, -64, 2**20, -(2**20)):
                    inputs = [x.copy() for x in base.inputs]
                    inputs[k][i] = Fraction(far) + Fraction(5, 32)
                    yield from _exact(Point(tuple(inputs), base.types))


def _exact(point: Point) -> Iterator[Point]:
    """The point as its floats are."""
    with np.errstate(all="ignore"):
        floats = point.floats()
    if all(np.isfinite(x).all() for x in floats):
        exact = [apply_each(lambda v: v if isinstance(v, bool) else Fraction(v), x.astype(object)) for x in floats]
        yield Point(tuple(exact), point.types)


def _belongs(point: Point, domain: str) -> bool:
    return all(
        points.belongs(domain, v)
        for x, t in zip(point.inputs, point.types, strict=True)
        if t.dtype.kind == "f"
        for v in x.ravel()
    )


def _codes(graph: Graph, found: Sequence[Choice], point: Point, sizes: Mapping[str, int]) -> dict[int, Array] | None:
    """The outcome of each choice in floats; None where an output is not finite or an index out of bounds."""
    try:
        values = every_node(graph, point.floats(), sizes)
    except (IndexError, OverflowError, ValueError, ZeroDivisionError):
        return None
    if not all(np.isfinite(values[o]).all() for o in graph.outputs):
        return None
    return {c.node: codes(graph, c, values) for c in found}


def _mark(graph: Graph, found: Sequence[Choice], point: Point, sizes: Mapping[str, int]) -> bool:
    """Count the outcomes at a point as seen, in exact arithmetic; False if it is on a tie or not inside."""
    field = JetField(reals(), 2)
    numbers: Any = field.numbers
    rng = random.Random(0)
    with field.working():
        try:
            inputs = []
            for x, t in zip(point.inputs, point.types, strict=True):
                if t.dtype.kind == "f":
                    # along a line in general position a tie of no width is undecided
                    slopes = [numbers.number(Fraction(rng.randint(1, 999), 1024)) for _ in range(x.size)]
                    moved = empty(x.shape)
                    for i, slope in zip(np.ndindex(x.shape), slopes, strict=True):
                        moved[i] = field.jet(numbers.number(x[i]), slope)
                    inputs.append(moved)
                else:
                    inputs.append(field.array(x))
            values = run(graph, inputs, field, sizes)
        except (Undecided, ExactError, IndexError, ZeroDivisionError, OverflowError):
            return False

        def number(v: Any) -> Any:
            return v if isinstance(v, (bool, int)) else numbers.centre(v.c[0])

        def centres(x: Any) -> Array:
            return np.array([number(v) for v in np.ravel(x)], np.float64).reshape(np.shape(x))

        if not all(_finite(numbers, v) for o in graph.outputs for v in np.ravel(values[o])):
            return False
        for choice in found:
            args = graph._node[choice.node]["args"]
            if choice.op in EXTREMES and graph._node[args[0]]["type"].dtype.kind != "b":
                choice.add(np.nan_to_num(np.sign(centres(values[args[0]] - values[args[1]]))))
            else:
                floats = {a: centres(values[a]) for a in (*args, choice.node)}
                choice.add(codes(graph, choice, floats))
    return True


def _finite(numbers: Any, v: Any) -> bool:
    if isinstance(v, (bool, int)):
        return True
    return all(isinstance(c, int) or np.isfinite(numbers.centre(c)) for c in v.c)


def _unseen(graph: Graph, choice: Choice) -> Iterator[Unseen]:
    data = graph._node[choice.node]
    place = data["loc"][0] if data["loc"] else None
    where = f" at {place}" if place else ""
    for words, count, size in choice.missing():
        part = f" in {count} of {size} elements" if size > 1 else ""
        yield Unseen(choice.node, f"{choice.op}{where} was never seen {words}{part}", place.source if place else "")


def capped(graph: Graph, o: int, entry: Entry, unseen: Sequence[Unseen]) -> Entry:
    """The entry, checked at best if its output depends on a choice of which an outcome was never seen."""
    reached = live(graph, [o])
    lacking = [u for u in unseen if u.node in reached]
    if not lacking or entry.verdict not in ("proved", "certified"):
        return entry
    more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    method = f"{entry.verdict} only on the cells seen: {lacking[0].text}{more}; {entry.method}"
    return replace(entry, verdict="checked", method=method)
