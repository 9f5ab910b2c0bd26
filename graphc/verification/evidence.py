"""Evidence for the derivatives of one graph: GF(p) screen, Arb at points, dispute, SymPy proof."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib import import_module
from itertools import islice, product
from typing import Any, Final

import numpy as np

from graphc.backends.exact.fields import Array, ExactError, Undecided, empty
from graphc.backends.exact.finite import Residues
from graphc.backends.exact.jets import Numbers
from graphc.backends.exact.reals import reals
from graphc.verification.blame import locate
from graphc.verification.identities import Derived, Direction, Space
from graphc.verification.limits import emitted
from graphc.verification.report import Entry, Verdict, Witness
from graphc.verification.sampling import Point

Key = tuple[int, tuple[int, ...]]  # an output position, and one or two input positions
ELEMENTS: Final = {1: 48, 2: 12}  # single elements checked beside the contractions, by order
RESAMPLES: Final = 40  # points drawn in GF(p) until every square root exists


@dataclass(frozen=True, slots=True)
class Identity:
    """One contraction of an entry: weights on the output, a direction for each input."""

    output: int
    weights: Direction
    directions: tuple[tuple[int, Direction], ...]

    def evaluate(self, space: Space) -> tuple[Any, Any]:
        """The value by our rules, and by jets."""
        if len(self.directions) == 1:
            ((k, u),) = self.directions
            return space.first_order(self.output, self.weights, k, u)
        (k, u), (j, d) = self.directions
        return space.second_order(self.output, self.weights, k, u, j, d)


@dataclass(slots=True)
class Evidence:
    """Collects what speaks for and against each entry."""

    derived: Derived
    sizes: Mapping[str, int]
    points: Sequence[Point]
    names: Sequence[str]
    results: Sequence[str]
    seed: int
    without_points: str  # why, should there be none
    numbers: Any = field(default_factory=reals)
    _spaces: dict[tuple[str, int], Space] = field(default_factory=dict)
    _residues: dict[int, int] = field(default_factory=dict)

    def entry(self, key: Key) -> Entry:
        """The verdict on one derivative, short of a proof."""
        o, inputs = key
        made = Entry(
            self.results[o], tuple(self.names[k] for k in inputs), len(inputs), "undecided", self.without_points
        )
        if not self.points:
            return made
        screen = self._screen(key)
        numbers = self.numbers
        largest, count = 0.0, 0
        for number, point in enumerate(self.points):
            space = self._space("reals", number, numbers)
            for identity in self._identities(key, singles=number == 0):
                try:
                    with numbers.working():
                        found, expected = identity.evaluate(space)
                        difference = found - expected
                        if not numbers.close(difference, numbers.magnitude(expected)):
                            return self._dispute(made, key, number, identity)
                        largest, count = max(largest, numbers.radius(difference)), count + 1
                except (Undecided, ExactError) as error:
                    return replace(made, method=f"undecided at {point.shown(self.names)}: {error}")
        tested = f"at {len(self.points)} points, {count} identities"
        method = (
            f"Arb {tested}, radius {largest:.0e}" if numbers.certified else f"mpmath {tested}, difference {largest:.0e}"
        )
        verdict: Verdict = "certified" if numbers.certified or screen else "checked"
        return replace(made, verdict=verdict, method="; ".join(filter(None, (screen, method))))

    def prove(self, entries: Mapping[Key, Entry], deadline: float) -> list[Entry]:
        """Raise certified entries to proved while SymPy's time lasts."""
        fit = [k for k, e in entries.items() if e.verdict in ("certified", "checked") and not e.to_constants]
        proved: dict[Key, Entry] = {}
        if fit and time.thread_time() < deadline:
            prover = import_module("graphc.verification.proofs").Prover(self.derived, self.sizes, self.points)
            for done, key in enumerate(sorted(fit, key=lambda key: len(key[1]))):
                # a hard entry may use three shares of the time that is left, not all of it
                left = deadline - time.thread_time()
                share = time.thread_time() + min(left, 3 * left / (len(fit) - done))
                method = prover.prove(key[0], key[1], share)
                if method is not None:
                    entry = entries[key]
                    proved[key] = replace(entry, verdict="proved", method=f"{method}; {entry.method}")
        return [proved.get(key, entry) for key, entry in entries.items()]

    # identities

    def _identities(self, key: Key, singles: bool) -> Iterator[Identity]:
        """Random contractions, one for each order of the inputs; then single elements."""
        o, inputs = key
        shapes = [self.points[0].inputs[k].shape for k in inputs]
        weights = self._random(f"w{o}", self._output_shape(o))
        for order in dict.fromkeys((inputs, inputs[::-1])):
            yield Identity(
                o,
                weights,
                tuple((k, self._random(f"{'ud'[n]}{k}", self.points[0].inputs[k].shape)) for n, k in enumerate(order)),
            )
        if not singles:
            return
        axes = [list(np.ndindex(*s)) for s in (weights.values.shape, *shapes)]
        limit = ELEMENTS[len(inputs)]
        rng = random.Random(f"{self.seed} {key}")
        if np.prod([float(len(a)) for a in axes]) > limit:
            rows: Any = ([rng.choice(a) for a in axes] for _ in range(limit)) if all(axes) else ()
        else:
            rows = product(*axes)
        for row in rows:
            yield self._single(key, row)

    def _single(self, key: Key, row: Sequence[tuple[int, ...]]) -> Identity:
        o, inputs = key
        weights = Direction.one_hot(f"e{o}", self._output_shape(o), row[0])
        directions = [
            (k, Direction.one_hot(f"{'ud'[n]}{k}", self.points[0].inputs[k].shape, i))
            for n, (k, i) in enumerate(zip(inputs, row[1:], strict=True))
        ]
        return Identity(o, weights, tuple(directions))

    def _output_shape(self, o: int) -> tuple[int, ...]:
        return self._space("reals", 0, self.numbers).output_shape(o)

    def _random(self, name: str, shape: tuple[int, ...]) -> Direction:
        rng = random.Random(f"{self.seed} {name}")
        values = empty(shape)
        for i in np.ndindex(*shape):
            values[i] = Fraction(rng.choice((-1, 1)) * rng.randrange(1, 64), 16)
        return Direction(name, values)

    def _space(self, name: str, number: int, numbers: Numbers) -> Space:
        key = (name, number)
        if key not in self._spaces:
            order = 1 if self.derived.second is None else 2
            self._spaces[key] = Space(self.derived, numbers, self.points[number], self.sizes, order)
        return self._spaces[key]

    # the steps

    def _screen(self, key: Key) -> str:
        """GF(p) at every point: what it certifies, or nothing, which means little."""
        degree = 0
        for number in range(len(self.points)):
            result = self._residue_identity(key, number)
            if result is None:
                return ""
            degree = max(degree, result)
        return f"GF(2^61-1) at {len(self.points)} points, degree {degree}/p"

    def _residue_identity(self, key: Key, number: int) -> int | None:
        """The degree of the identities that hold; None if one fails or no point with all roots is found."""
        start = self._residues.get(number, 0)
        for attempt in range(start, start + RESAMPLES):
            numbers = Residues(hash((self.seed, number, attempt)))
            space = self._space(f"residues {attempt}", number, numbers)
            degree = 0
            try:
                with numbers.working():
                    for identity in self._identities(key, singles=False):
                        found, expected = identity.evaluate(space)
                        if found.v is None or found.v != expected.v:
                            return None
                        difference = found - expected
                        degree = max(degree, difference.above + difference.below)
            except (Undecided, ExactError):
                self._spaces.pop((f"residues {attempt}", number))
                continue
            self._residues[number] = attempt
            return degree
        self._residues[number] = start + RESAMPLES
        return None

    def _dispute(self, made: Entry, key: Key, number: int, identity: Identity) -> Entry:
        """An identity fails in exact arithmetic: float constants' rounding, NaN beyond doubt, or a wrong rule."""
        numbers = self.numbers
        point = self.points[number]
        space = self._space("reals", number, numbers)
        with numbers.working():
            found, expected = identity.evaluate(space)
            values = (numbers.centre(found), numbers.centre(expected))
        if not np.isfinite(values[1]):
            return replace(made, method=f"the reference is not finite at {point.shown(self.names)}")
        if not np.isfinite(values[0]) and all(np.isfinite(v).all() for v in self._emitted(point)):
            return replace(made, method=f"not finite in exact arithmetic at {point.shown(self.names)}")
        if np.isfinite(values[0]):
            radius = self._widened(key)
            if radius is not None:
                method = f"{'Arb' if numbers.certified else 'mpmath'}, constants widened by 1 ulp, radius {radius:.0e}"
                verdict: Verdict = "certified" if numbers.certified else "checked"
                return replace(made, verdict=verdict, method=method, to_constants=True)
        witness = self._witness(made, key, number, identity)
        blame = locate((self.derived.graph, self.derived.first), point, self.sizes)
        if (
            not numbers.certified
            and np.isfinite(values[0])
            and abs(values[0] - values[1]) < 1e-9 * (1 + abs(values[1]))
        ):
            return replace(made, method="mpmath cannot tell this from rounding", witness=witness)
        method = "Arb excludes 0" if numbers.certified else "wrong in 60 digits"
        return replace(made, verdict="refuted", method=method, witness=witness, blame=blame)

    def _emitted(self, point: Point) -> list[Array]:
        floats = point.floats()
        ones = [np.ones(self._output_shape(o), self.derived.graph.output_types[o].dtype) for o in self.derived.outputs]
        return emitted(self.derived.first, [*floats, *ones], self.sizes)

    def _widened(self, key: Key) -> float | None:
        """The largest radius if every identity may hold once float constants are widened to their neighbours."""
        numbers = reals(widen=True)
        largest = 0.0
        for number in range(len(self.points)):
            space = self._space("widened", number, numbers)
            for identity in self._identities(key, singles=number == 0):
                try:
                    with numbers.working():
                        found, expected = identity.evaluate(space)
                        if not numbers.close(found - expected, numbers.magnitude(expected)):
                            return None
                        largest = max(largest, numbers.radius(found - expected))
                except (Undecided, ExactError):
                    return None
        return largest

    def _witness(self, made: Entry, key: Key, number: int, identity: Identity) -> Witness:
        """The first single element that fails at the point, or the contraction that did."""
        space = self._space("reals", number, self.numbers)
        shapes = [self._output_shape(key[0]), *(self.points[0].inputs[k].shape for k in key[1])]
        for row in islice(product(*(list(np.ndindex(*s)) for s in shapes)), 200):
            at = [str(list(i)) if i else "" for i in row]
            below = " ".join(f"d{name}{i}" for name, i in zip(made.inputs, at[1:], strict=True))
            element = f"d{made.order if made.order > 1 else ''} {made.output}{at[0]} / {below}"
            witness = self._failure(self._single(key, row), space, element)
            if witness is not None:
                return witness
        witness = self._failure(identity, space, f"a random contraction of {made.name}")
        assert witness is not None
        return witness

    def _failure(self, identity: Identity, space: Space, element: str) -> Witness | None:
        numbers = self.numbers
        with numbers.working():
            try:
                found, expected = identity.evaluate(space)
            except (Undecided, ExactError):
                return None
            if numbers.close(found - expected, numbers.magnitude(expected)):
                return None
            values = [numbers.centre(v) for v in (found, expected, found - expected)]
        return Witness(space.point.shown(self.names), values[0], values[1], values[2], element)
