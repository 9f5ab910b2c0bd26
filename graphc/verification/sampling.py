"""Sample points of whole graphs: sizes for the symbolic dims, and inputs inside the domain."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.backends.exact.fields import Array, ExactError, Undecided, apply_each
from graphc.backends.exact.jets import JetField
from graphc.backends.exact.reals import reals
from graphc.backends.exact.world import bind_type, run
from graphc.errors import GuardError, ShapeError
from graphc.ir import Graph, TensorType
from graphc.verification import points

DOMAINS: Final = ("real", "positive", "unit", "above 1")
ATTEMPTS: Final = 60


@dataclass(frozen=True, slots=True)
class Point:
    """One value for every input element: Fractions for floats, ints and bools."""

    inputs: tuple[Array, ...]
    types: tuple[TensorType, ...]

    def floats(self) -> list[Array]:
        """The point as NumPy arrays; it was chosen so that none of them rounds."""
        kinds = {"f": float, "b": bool}
        return [
            np.array([kinds.get(t.dtype.kind, int)(v) for v in x.ravel()], t.dtype).reshape(x.shape)
            for x, t in zip(self.inputs, self.types, strict=True)
        ]

    def shown(self, names: Sequence[str]) -> dict[str, Any]:
        """The point by input name, as nested lists of numbers."""
        return {name: x.tolist() for name, x in zip(names, self.floats(), strict=True)}


def choose_sizes(graph: Graph, env: Mapping[str, int] | None) -> dict[str, int]:
    """Small sizes of at least 2 for the symbolic dims, such that every guard holds."""
    known = dict(env or {})
    named = frozenset[str]().union(*(dims.symbols(d) for t in graph.input_types for d in t.shape))
    for name in known.keys() - named:
        raise ShapeError(
            f"{graph.name} has no size called {name}",
            expected=", ".join(sorted(named)) or "no sizes: none is named",
            actual=f"{name}={known[name]}",
        )
    names = sorted(named - known.keys())
    first = tuple(range(2, 2 + len(names)))
    for sizes in (first, *product(range(2, 7), repeat=min(len(names), 5)), (1,) * len(names)):
        candidate = known | dict(zip(names, sizes, strict=False))
        if len(candidate) == len(known) + len(names) and all(g.holds(candidate) for g in graph.guards):
            return candidate
    raise GuardError(
        f"{graph.name}: no small sizes satisfy its guards",
        expected=", ".join(map(str, graph.guards)),
        actual=f"sizes from 2 to 6 for {', '.join(names)}",
        fix="give the sizes: verify(..., env={...})",
    )


def bound_types(graph: Graph, sizes: Mapping[str, int]) -> tuple[TensorType, ...]:
    """The input types at given sizes."""
    return tuple(bind_type(t, sizes) for t in graph.input_types)  # type: ignore[misc]


def inexact_constant(graph: Graph) -> str | None:
    """What to say of the first NaN or infinity among the constants: exact arithmetic has no such number."""
    for i, data in graph._node.items():
        if data["op"] == "const":
            array = graph.attrs(i)["value"].array
            odd = array[~np.isfinite(array)]
            if odd.size:
                place = f" at {data['loc'][0]}" if data["loc"] else ""
                return f"the constant {odd[0]}{place} has no exact meaning"
    return None


def sample_points(graph: Graph, sizes: Mapping[str, int], count: int, seed: int, domain: str | None) -> list[Point]:
    """Random points at which the graph is finite and no branch ties; fewer if they are hard to find."""
    types = bound_types(graph, sizes)
    found: list[Point] = []
    for point in _candidates(types, seed, domain):
        if inside(graph, point, sizes):
            found.append(point)
            if len(found) == count:
                break
    return found


def _candidates(types: Sequence[TensorType], seed: int, domain: str | None) -> Iterator[Point]:
    for attempt in range(ATTEMPTS):
        rng = random.Random(f"{seed} {attempt}")
        seen: set[Fraction | bool] = set()
        inputs = []
        for t in types:
            if t.dtype.kind == "b":
                inputs.append(points.draw("bool", t.shape, rng))
            elif t.dtype.kind in "iu":
                inputs.append(apply_each(lambda _, rng=rng: Fraction(rng.randrange(2)), np.zeros(t.shape, object)))
            else:
                # plain reals first; a graph with logarithms or roots may need a smaller set
                name = domain or ("real" if attempt < 6 else rng.choice(DOMAINS))
                inputs.append(points.draw(name, t.shape, rng, seen))
        yield Point(tuple(inputs), tuple(types))


def inside(graph: Graph, point: Point, sizes: Mapping[str, int]) -> bool:
    """Whether the graph is finite at a point, with every branch decided."""
    field = JetField(reals())
    numbers: Any = field.numbers
    with field.working():
        try:
            values = run(graph, [field.array(x) for x in point.inputs], field, sizes)
        except (Undecided, ExactError, IndexError, ZeroDivisionError):
            return False
        return all(
            isinstance(v, bool) or np.isfinite(numbers.centre(v.c[0])) for o in graph.outputs for v in values[o].ravel()
        )
