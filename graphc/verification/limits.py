"""One-sided limits of derivatives at kinks, poles and borders, and the floats that are emitted there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np

from graphc.backends.exact.fields import Array, ExactError, Undecided
from graphc.backends.exact.jets import JetField
from graphc.backends.exact.world import bind, bind_sizes, bind_type
from graphc.ir import Graph
from graphc.ops import lookup
from graphc.ops.meaning import evaluate
from graphc.ops.record import Op

STEPS: Final = (Fraction(1, 2**64), Fraction(1, 2**128))
CLOSE: Final = 1e-9
ZERO: Final = 1e-15


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a directional derivative from below and above; None where there is none that is finite."""

    below: float | None
    above: float | None

    @property
    def two_sided(self) -> float | None:
        """The limit, where both sides have one and they agree."""
        below, above = self.below, self.above
        if below is None or above is None or abs(below - above) > CLOSE * (1 + abs(below)):
            return None
        return above

    def __str__(self) -> str:
        # what two steps of 2**-64 and less leave of a limit of 0
        shown = ["none" if v is None else f"{0.0 if abs(v) < ZERO else v:.6g}" for v in (self.below, self.above)]
        return shown[0] if self.two_sided is not None else " | ".join(shown)


def one_sided(slope: Callable[[Fraction], Any], field: JetField, side: int) -> float | None:
    """The limit of `slope(offset)` as the offset goes to 0 from one side, judged by two steps."""
    values = []
    for step in STEPS:
        try:
            value = field.numbers.centre(slope(side * step))  # type: ignore[attr-defined]
        except (Undecided, ExactError, ZeroDivisionError):
            return None
        values.append(value)
    first, last = values
    return last if abs(first - last) <= CLOSE * (1 + abs(last)) else None


def limits(slope: Callable[[Fraction], Any], field: JetField) -> Limits:
    """Both one-sided limits of a directional derivative given as a function of the offset along the direction."""
    return Limits(one_sided(slope, field, -1), one_sided(slope, field, 1))


def value_or_none(op: Op, operands: Sequence[Any], attrs: Mapping[str, Any]) -> Array | None:
    """The NumPy meaning at some operands; None where an inverse or a factor does not exist."""
    with np.errstate(all="ignore"):
        try:
            return np.asarray(evaluate(op, operands, attrs))
        except np.linalg.LinAlgError:
            return None


def emitted(graph: Graph, inputs: Sequence[Array], env: Mapping[str, int] | None = None) -> list[Array]:
    """Run a graph by the NumPy meanings, one op at a time; LinAlgError where one has no value."""
    values = every_node(graph, inputs, env, partial=False)
    return [np.asarray(values[o]) for o in graph.outputs]


def every_node(
    graph: Graph, inputs: Sequence[Array], env: Mapping[str, int] | None = None, partial: bool = True
) -> dict[int, Any]:
    """The value of each node by the NumPy meanings; NaN, if `partial`, where an inverse or a factor does not exist."""
    sizes = bind_sizes(graph, [np.shape(x) for x in inputs], env)
    values: dict[int, Any] = dict(zip(graph.inputs, inputs, strict=True))
    with np.errstate(all="ignore"):
        for i, data in graph._node.items():
            if i in values:
                continue
            attrs = {name: bind(value, sizes) for name, value in data["attrs"]}
            try:
                values[i] = evaluate(lookup(data["op"]), [values[a] for a in data["args"]], attrs)
            except np.linalg.LinAlgError:
                if not partial:
                    raise
                type = bind_type(data["type"], sizes)
                values[i] = np.full(type.shape, np.nan, type.dtype)  # type: ignore[union-attr]
    return values
