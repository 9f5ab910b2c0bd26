"""The edge audit: gradients emitted in float64 where derivatives are delicate, against one-sided limits.

Audited are 0, 1 and -1 everywhere, and every kink, tie and pole of the graph that the search along lines in input space
hits: there the emitted gradient has to be the limit from both sides, where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, zip_longest
from typing import Any, Final

import numpy as np

from graphc.backends.exact.fields import Array, ExactError, Undecided, as_array, empty
from graphc.backends.exact.jets import JetField
from graphc.backends.exact.reals import reals
from graphc.backends.exact.world import run
from graphc.ir import Graph
from graphc.verification.branches import margins
from graphc.verification.limits import emitted, limits
from graphc.verification.report import Edge, Finding
from graphc.verification.sampling import Point
from graphc.verification.search import Root

TOLERANCE: Final = 1e-6
MAX_POINTS: Final = 24
MAX_DIRECTIONS: Final = 6
CHOICE: Final = 1e-2  # two values that differ by less are one, rounded
MAX_KINKS: Final = 16


@dataclass(frozen=True, slots=True)
class Place:
    """An input point worth auditing, and why."""

    point: Point
    why: str
    exact: bool = True  # False: the operands meet the kink only by the rounding of floats


def audit(
    graph: Graph,
    gradient: Graph,
    wrt: Sequence[int],
    outputs: Sequence[int],
    base: Sequence[Point],
    sizes: Mapping[str, int],
    names: tuple[Sequence[str], Sequence[str]],
    roots: Sequence[Root] = (),
) -> list[Edge]:
    """Audit `gradient`, the cotangents of `graph` that a user runs, at every delicate point found."""
    found: list[Edge] = []
    if not base:
        return found
    for place in islice(places(graph, wrt, base[0], sizes, roots), MAX_POINTS):
        for o in outputs:
            found.extend(_audit_place(graph, gradient, wrt, outputs, o, place, sizes, names))
    return found


def places(
    graph: Graph, wrt: Sequence[int], base: Point, sizes: Mapping[str, int], roots: Sequence[Root]
) -> Iterator[Place]:
    """0, 1 and -1 in all elements; then the kinks, ties and poles found; then 0, 1 and -1 in single elements."""
    seen: set[Any] = set()
    for value in (0, 1, -1):
        inputs = [np.full(x.shape, Fraction(value), object) if k in wrt else x for k, x in enumerate(base.inputs)]
        point = Point(tuple(as_array(x) for x in inputs), base.types)
        seen.add(_values(point))
        yield Place(point, f"all {value}")
    used: set[Any] = set()
    for root in _in_turn([root for root in roots if root.met]):
        values = _values(root.point)
        if values not in used and len(used) < MAX_KINKS:
            used.add(values)
            yield Place(root.point, f"{graph._node[root.node]['op']} on its kink", _exactly(graph, root, sizes))
    for k in wrt:
        for i in islice(np.ndindex(base.inputs[k].shape), 4):
            for value in (0, 1, -1):
                point = _replaced(base, k, i, Fraction(value))
                if _values(point) not in seen | used:
                    yield Place(point, f"{value} in one element")


def _values(point: Point) -> tuple[Any, ...]:
    return tuple(v for x in point.inputs for v in x.ravel())


def _in_turn(roots: Sequence[Root]) -> Iterator[Root]:
    """One root of each node, then the next of each."""
    by_node: dict[int, list[Root]] = {}
    for root in roots:
        by_node.setdefault(root.node, []).append(root)
    for row in zip_longest(*by_node.values()):
        yield from (root for root in row if root is not None)


def _replaced(point: Point, k: int, i: tuple[int, ...], value: Fraction) -> Point:
    inputs = list(point.inputs)
    inputs[k] = inputs[k].copy()
    inputs[k][i] = value
    return Point(tuple(inputs), point.types)


def _exactly(graph: Graph, root: Root, sizes: Mapping[str, int]) -> bool:
    """Whether some margin of the node is 0 in exact arithmetic, too."""
    field = JetField(reals())
    numbers: Any = field.numbers
    with field.working():
        try:
            values = run(graph, [field.array(x) for x in root.point.inputs], field, sizes)
        except (Undecided, ExactError, IndexError, ZeroDivisionError):
            return True
        return any(numbers.centre(v.c[0]) == 0 for m in margins(graph, root.node, values) for v in as_array(m).ravel())


def _audit_place(
    graph: Graph,
    gradient: Graph,
    wrt: Sequence[int],
    outputs: Sequence[int],
    o: int,
    place: Place,
    sizes: Mapping[str, int],
    names: tuple[Sequence[str], Sequence[str]],
) -> Iterator[Edge]:
    floats = place.point.floats()
    try:
        value = emitted(graph, floats, sizes)
    except np.linalg.LinAlgError:
        return
    if not all(np.isfinite(v).all() for v in value):
        return  # outside the domain, or a pole of the function itself
    shape = value[o].shape
    weights = np.zeros(shape)
    if weights.size == 0 or not _same_choice(graph, o, place, sizes, value[o]):
        return
    weights[(0,) * len(shape)] = 1
    seeds = [weights.astype(value[p].dtype) if p == o else np.zeros_like(value[p]) for p in outputs]
    try:
        cotangents = emitted(gradient, [*floats, *seeds], sizes)
    except np.linalg.LinAlgError:
        return  # it says itself that there is no derivative
    for k, ct in zip(wrt, cotangents, strict=True):
        for label, direction in islice(_directions(ct.shape), MAX_DIRECTIONS):
            with np.errstate(all="ignore"):
                found = float(np.sum(ct[direction != 0], dtype=np.float64))
            if not place.exact and not np.isnan(found):
                continue  # a tie by rounding may choose either side
            yield _edge(graph, o, k, label, direction, place, sizes, found, names)


def _same_choice(graph: Graph, o: int, place: Place, sizes: Mapping[str, int], emitted: Array) -> bool:
    """Whether the emitted value is the exact one: LAPACK may turn the sign of a vector round, and of its derivative."""
    field = JetField(reals())
    numbers: Any = field.numbers
    with field.working():
        try:
            exact = run(graph, [field.array(x) for x in place.point.inputs], field, sizes)[graph.outputs[o]]
            centres = [numbers.centre(v.c[0]) for v in as_array(exact).ravel()]
        except (Undecided, ExactError, IndexError, ZeroDivisionError):
            return True
    return np.allclose(np.asarray(centres, np.float64), emitted.ravel(), rtol=CHOICE, atol=CHOICE, equal_nan=True)


def _directions(shape: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    for i in islice(np.ndindex(shape), MAX_DIRECTIONS - 1):
        one = np.zeros(shape, np.int64)
        one[i] = 1
        yield (str(list(i)) if i else ""), one
    if shape:
        yield "[all]", np.ones(shape, np.int64)


def _edge(
    graph: Graph,
    o: int,
    k: int,
    label: str,
    direction: Array,
    place: Place,
    sizes: Mapping[str, int],
    found: float,
    names: tuple[Sequence[str], Sequence[str]],
) -> Edge:
    field = JetField(reals(), 1)
    number = field.numbers.number

    def slope(offset: Fraction) -> Any:
        inputs = [field.array(x) for x in place.point.inputs]
        moved = empty(direction.shape)
        for i, d in np.ndenumerate(direction):
            v: Any = place.point.inputs[k][i]
            moved[i] = field.jet(number(v + offset * int(d)), number(int(d))) if d else field.number(v)
        inputs[k] = moved
        result = run(graph, inputs, field, sizes)[graph.outputs[o]]
        return number(0) + result[(0,) * result.ndim].coefficient(1)

    with field.working():
        sides = limits(slope, field)
    return Edge(
        names[1][o],
        names[0][k],
        label,
        place.point.shown(names[0]),
        place.why,
        str(sides),
        found,
        judge(found, sides.below, sides.above, sides.two_sided, np.finfo(graph.input_types[k].dtype).eps),
    )


def judge(found: float, below: float | None, above: float | None, both: float | None, eps: float) -> Finding:
    """What an emitted value is worth, given the limits.

    >>> judge(0.0, -1.0, 1.0, None, 2e-16), judge(float("nan"), 2.0, 2.0, 2.0, 2e-16)
    ('convention', 'refuted')
    """
    tolerance = max(TOLERANCE, float(eps) * 1e3)
    if both is not None:
        return "agrees" if abs(found - both) <= tolerance * (1 + abs(both)) else "refuted"
    if below is None and above is None:
        return "no limit"
    if below is None or above is None:
        return "no limit" if np.isfinite(found) or np.isinf(found) else "undecided"
    low, high = sorted((below, above))
    return "convention" if low - tolerance <= found <= high + tolerance else "undecided"
