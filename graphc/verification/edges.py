"""The edge audit: gradients emitted in float64 where derivatives are delicate, against one-sided limits.

Audited are 0, 1 and -1 everywhere, and every kink, tie and pole of the graph that can be hit exactly by moving one
input element: there the emitted gradient has to be the limit from both sides, where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any, Final

import numpy as np

from graphc.backends.exact.fields import Array, ExactError, Undecided, as_array, empty
from graphc.backends.exact.jets import JetField
from graphc.backends.exact.reals import reals
from graphc.backends.exact.world import run
from graphc.ir import Graph
from graphc.ops import lookup
from graphc.verification.limits import emitted, limits
from graphc.verification.report import Edge, Finding
from graphc.verification.sampling import Point

TOLERANCE: Final = 1e-6
MAX_POINTS: Final = 24
MAX_DIRECTIONS: Final = 6
COMPARISONS: Final = frozenset({"lt", "le", "gt", "ge", "eq", "ne", "maximum", "minimum"})
POLES: Final = {"log": 0, "div": 0, "sqrt": 0, "log1p": -1, "reduce_norm": 0}


@dataclass(frozen=True, slots=True)
class Place:
    """An input point worth auditing, and why."""

    point: Point
    why: str


def audit(
    graph: Graph,
    gradient: Graph,
    wrt: Sequence[int],
    outputs: Sequence[int],
    base: Sequence[Point],
    sizes: Mapping[str, int],
    names: tuple[Sequence[str], Sequence[str]],
) -> list[Edge]:
    """Audit `gradient`, the cotangents of `graph` that a user runs, at every delicate point found."""
    found: list[Edge] = []
    if not base:
        return found
    for place in islice(places(graph, wrt, base[0], sizes), MAX_POINTS):
        for o in outputs:
            found.extend(_audit_place(graph, gradient, wrt, outputs, o, place, sizes, names))
    return found


def places(graph: Graph, wrt: Sequence[int], base: Point, sizes: Mapping[str, int]) -> Iterator[Place]:
    """0, 1 and -1 in every element; then kinks, ties and poles on a line through the base point."""
    for value in (0, 1, -1):
        inputs = [np.full(x.shape, Fraction(value), object) if k in wrt else x for k, x in enumerate(base.inputs)]
        yield Place(Point(tuple(as_array(x) for x in inputs), base.types), f"all {value}")
    seen: set[tuple[Any, ...]] = set()
    for k in wrt:
        shape = base.inputs[k].shape
        for i in islice(np.ndindex(shape), 4):
            for value in (0, 1, -1):
                yield Place(_replaced(base, k, i, Fraction(value)), f"{value} in one element")
            for number, why in _crossings(graph, k, i, base, sizes):
                key = (k, i, number)
                if key not in seen:
                    seen.add(key)
                    yield Place(_replaced(base, k, i, number), why)


def _replaced(point: Point, k: int, i: tuple[int, ...], value: Fraction) -> Point:
    inputs = list(point.inputs)
    inputs[k] = inputs[k].copy()
    inputs[k][i] = value
    return Point(tuple(inputs), point.types)


def _crossings(
    graph: Graph, k: int, i: tuple[int, ...], base: Point, sizes: Mapping[str, int]
) -> Iterator[tuple[Fraction, str]]:
    """Values of one input element that put some node exactly on a kink, tie or pole, by one secant step."""
    field = JetField(reals())
    start = base.inputs[k][i]
    with field.working():
        rows = [dict(_margins(graph, _replaced(base, k, i, v), field, sizes)) for v in (start, start + 1)]
        for key, g0 in rows[0].items():
            g1 = rows[1].get(key)
            if g1 is None or g1 == g0:
                continue
            value = Fraction(float(start) - g0 / (g1 - g0))
            if abs(value) < 2**20 and dict(_margins(graph, _replaced(base, k, i, value), field, sizes)).get(key) == 0:
                yield value, f"{key[1]} on its kink"


def _margins(
    graph: Graph, point: Point, field: JetField, sizes: Mapping[str, int]
) -> Iterator[tuple[tuple[int, str, int], float]]:
    """How far each delicate node's first elements are from their kink."""
    numbers: Any = field.numbers
    nodes = graph._node
    try:
        values = run(graph, [field.array(x) for x in point.inputs], field, sizes)
    except (Undecided, ExactError, IndexError, ZeroDivisionError):
        return
    for node, data in nodes.items():
        name = data["op"]
        if name == "input":
            continue
        op = lookup(name)
        args = [values[a] for a in data["args"]]
        targets: list[Array] = []
        if name in COMPARISONS and nodes[data["args"][0]]["type"].dtype.kind == "f":
            targets.append(as_array(args[0] - args[1]))
        elif op.kinks:
            targets.extend(as_array(args[0] - int(kink)) for kink in op.kinks if kink == int(kink))
        elif name in POLES:
            targets.append(as_array(args[-1] - POLES[name]))
        for target in targets:
            for number, v in enumerate(islice(target.ravel(), 4)):
                yield (node, name, number), numbers.centre(v.c[0])


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
    value = emitted(graph, floats, sizes)
    if not all(np.isfinite(v).all() for v in value):
        return  # outside the domain, or a pole of the function itself
    shape = value[o].shape
    weights = np.zeros(shape)
    if weights.size == 0:
        return
    weights[(0,) * len(shape)] = 1
    seeds = [weights.astype(value[p].dtype) if p == o else np.zeros_like(value[p]) for p in outputs]
    cotangents = emitted(gradient, [*floats, *seeds], sizes)
    for k, ct in zip(wrt, cotangents, strict=True):
        for label, direction in islice(_directions(ct.shape), MAX_DIRECTIONS):
            with np.errstate(all="ignore"):
                found = float(np.sum(ct[direction != 0], dtype=np.float64))
            yield _edge(graph, o, k, label, direction, place, sizes, found, names)


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
