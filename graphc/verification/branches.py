"""The choices a graph makes: which outcomes each has, which a point takes, and which no sample point took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from graphc.backends.exact.fields import Array
from graphc.backends.exact.world import bind
from graphc.ir import Graph, TensorType
from graphc.ops import lookup
from graphc.verification.bounds import bounds, difference

COMPARISONS: Final = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
EXTREMES: Final = frozenset({"maximum", "minimum", "fmax", "fmin"})
SIGNED: Final = {"abs": 0, "sign": 0, "heaviside": 0, "signbit": 0, "copysign": 1}  # by the operand whose sign counts
WINNERS: Final = {"reduce_max": 1, "argmax": 1, "reduce_min": -1, "argmin": -1}
STEPS: Final = frozenset({"floor", "ceil", "trunc", "rint", "floor_divide", "sort", "argsort"})
QUOTIENTS: Final = {"remainder": np.floor, "fmod": np.trunc}
ALL_WINNERS: Final = 8  # reductions of no more elements than this are seen with each of them as the winner

# operand and values at which an op has a pole, a branch point or the border of its domain, besides its kinks
SINGULAR: Final[dict[str, tuple[int, tuple[float, ...]]]] = {
    "log": (0, (0,)),
    "log2": (0, (0,)),
    "log10": (0, (0,)),
    "log1p": (0, (-1,)),
    "log1mexp": (0, (0,)),
    "sqrt": (0, (0,)),
    "cbrt": (0, (0,)),
    "div": (1, (0,)),
    "floor_divide": (1, (0,)),
    "remainder": (1, (0,)),
    "fmod": (1, (0,)),
    "pow": (0, (0,)),
    "xlogy": (1, (0,)),
    "xlog1py": (1, (-1,)),
    "arctanh": (0, (-1, 1)),
    "erfinv": (0, (-1, 1)),
    "erfcinv": (0, (0, 2)),
    "ndtri": (0, (0, 1)),
    "logit": (0, (0, 1)),
    "gamma": (0, (0, -1)),
    "gammaln": (0, (0, -1)),
    "digamma": (0, (0, -1)),
    "polygamma": (0, (0, -1)),
    "sinc": (0, (0,)),
    "spherical_jn": (0, (0,)),
    "heaviside": (0, (0,)),
    "signbit": (0, (0,)),
    "copysign": (1, (0,)),
}
LENGTHS: Final = frozenset({"reduce_norm", "hypot"})  # singular where the result is 0


def live(graph: Graph, outputs: Sequence[int]) -> set[int]:
    """The nodes that some of the outputs, given by position, depend on."""
    reached: set[int] = set()
    stack = [graph.outputs[o] for o in outputs]
    while stack:
        i = stack.pop()
        if i not in reached:
            reached.add(i)
            stack.extend(graph._node[i]["args"])
    return reached


def varying(graph: Graph) -> set[int]:
    """The nodes that depend on an input; the rest are constant by construction."""
    found: set[int] = set()
    for i, data in graph._node.items():
        if data["op"] == "input" or any(a in found for a in data["args"]):
            found.add(i)
    return found


@dataclass(slots=True)
class Choice:
    """One node that chooses, and the outcomes seen so far for each of its elements.

    `needed`: the codes of outcomes to be seen; None for two of any.
    """

    node: int
    op: str
    needed: dict[int, str] | None
    touching: frozenset[int] = frozenset()  # outcomes taken only where the operands tie
    seen: dict[int, Array] = field(default_factory=dict)

    def add(self, codes: Array) -> None:
        """Count the outcomes of one point as seen."""
        for code in np.unique(codes).tolist():
            hit = codes == code
            self.seen[code] = self.seen[code] | hit if code in self.seen else hit

    def gain(self, codes: Array) -> int:
        """How many elements have an outcome that they lacked."""
        if self.needed is None:
            if not self.seen:
                return int(codes.size)
            short = np.sum(list(self.seen.values()), axis=0) < 2
            old = np.zeros(codes.shape, bool)
            for code, seen in self.seen.items():
                old |= seen & (codes == code)
            return int(np.sum(short & ~old))
        empty = np.zeros(codes.shape, bool)
        return sum(int(np.sum((codes == c) & ~self.seen.get(c, empty))) for c in self.needed)

    def missing(self) -> list[tuple[str, int, int]]:
        """Each outcome that some elements never had: in words, in how many elements, of how many."""
        if not self.seen:
            return []
        size = next(iter(self.seen.values())).size
        if self.needed is None:
            short = int(np.sum(np.sum(list(self.seen.values()), axis=0) < 2))
            return [("more than one value", short, size)] if short else []
        empty = np.zeros(next(iter(self.seen.values())).shape, bool)
        counts = [(words, int(np.sum(~self.seen.get(c, empty)))) for c, words in self.needed.items()]
        return [(words, count, size) for words, count in counts if count]


def choices(graph: Graph, outputs: Sequence[int], sizes: Mapping[str, int], domain: str | None) -> list[Choice]:
    """Every node that chooses by the inputs, less the outcomes that no inputs lead to."""
    limits = bounds(graph, sizes, domain)
    reached, moving = live(graph, outputs), varying(graph)
    found = []
    for i, data in graph._node.items():
        name, args = data["op"], data["args"]
        if i not in reached or i not in moving or name == "input":
            continue
        touching: set[int] = set()
        needed: dict[int, str] | None = None
        if name in COMPARISONS:
            if args[0] == args[1]:
                continue
            gap = difference(limits[args[0]], limits[args[1]])
            never = _impossible(name, gap.low, gap.high, gap.nonzero)
            needed = {c: w for c, w in ((1, "true"), (0, "false")) if c not in never}
            if gap.low >= 0 or gap.high <= 0:
                touching = {int(name in ("le", "ge", "eq"))}
            elif name in ("eq", "ne"):
                touching = {int(name == "eq")}
            if graph._node[args[0]]["type"].dtype.kind != "f":
                touching = set()
        elif name in EXTREMES:
            if args[0] == args[1]:
                continue
            gap = difference(limits[args[0]], limits[args[1]])
            sides = ((1, "first operand the larger"), (-1, "second operand the larger"))
            needed = {c: w for c, w in sides if (gap.high > 0 if c > 0 else gap.low < 0)}
        elif name in SIGNED:
            gap = limits[args[SIGNED[name]]]
            signs = ((1, "positive"), (-1, "negative"))
            needed = {c: w for c, w in signs if (gap.high > 0 if c > 0 else gap.low < 0)}
        elif name in WINNERS:
            codes = _winner_count(graph, i, sizes)
            if codes < 2:
                continue
            needed = {c: f"element {c} chosen" for c in range(codes)} if codes <= ALL_WINNERS else None
        elif name == "searchsorted":
            needed = None
        elif name == "cast" and _truncates(graph, i):
            if data["type"].dtype.kind == "b":
                needed, touching = {1: "nonzero", 0: "zero"}, {0}
        elif name not in STEPS and name not in QUOTIENTS:
            continue
        found.append(Choice(i, name, needed, frozenset(touching)))
    return found


def _impossible(name: str, low: float, high: float, nonzero: bool) -> set[int]:
    """The results of a comparison that a difference in [low, high] cannot give."""
    below, above = low < 0, high > 0
    equal = low <= 0 <= high and not nonzero
    truth = {
        "lt": (below, above or equal),
        "le": (below or equal, above),
        "gt": (above, below or equal),
        "ge": (above or equal, below),
        "eq": (equal, below or above),
        "ne": (below or above, equal),
    }[name]
    return {code for code, possible in zip((1, 0), truth, strict=True) if not possible}


def _truncates(graph: Graph, i: int) -> bool:
    source = graph._node[graph._node[i]["args"][0]]["type"]
    return isinstance(source, TensorType) and source.dtype.kind == "f" and graph._node[i]["type"].dtype.kind in "biu"


def _winner_count(graph: Graph, i: int, sizes: Mapping[str, int]) -> int:
    data = graph._node[i]
    shape = bind(graph._node[data["args"][0]]["type"].shape, sizes)
    return int(np.prod([shape[a] for a in _axes(graph, i, len(shape))], dtype=np.int64))


def _axes(graph: Graph, i: int, rank: int) -> tuple[int, ...]:
    attrs = dict(graph._node[i]["attrs"])
    axes = attrs.get("axes", attrs.get("axis"))
    if axes is None:
        return tuple(range(rank))
    return tuple(a % rank for a in (axes if isinstance(axes, tuple) else (axes,)))


def codes(graph: Graph, choice: Choice, values: Mapping[int, Any]) -> Array:
    """The outcome of a choice at one point, for each element, given the float value of every node."""
    name = choice.op
    args = [np.asarray(values[a]) for a in graph._node[choice.node]["args"]]
    with np.errstate(all="ignore"):
        if name in EXTREMES:
            return _signs(args[0].astype(np.float64) - args[1].astype(np.float64))
        if name in SIGNED:
            return _signs(args[SIGNED[name]].astype(np.float64))
        if name in WINNERS:
            rank = args[0].ndim
            axes = _axes(graph, choice.node, rank)
            rest = [a for a in range(rank) if a not in axes]
            flat = np.transpose(args[0], (*rest, *axes)).reshape([args[0].shape[a] for a in rest] + [-1])
            best: Array = np.argmax(flat if WINNERS[name] > 0 else -flat, axis=-1)
            return best
        if name in QUOTIENTS:
            return np.asarray(np.nan_to_num(QUOTIENTS[name](args[0] / args[1])))
        if name in ("sort", "argsort"):
            axis = _axes(graph, choice.node, args[0].ndim)[-1]
            return np.asarray(np.argsort(args[0], axis=axis, kind="stable"))
    return np.asarray(np.nan_to_num(np.asarray(values[choice.node]).astype(np.float64)))


def _signs(x: Array) -> Array:
    return np.asarray(np.nan_to_num(np.sign(x)))


def margins(graph: Graph, i: int, values: Mapping[int, Any]) -> Iterator[Any]:
    """How far a node's operands are from each of its boundaries; of float or of exact arrays."""
    data = graph._node[i]
    name, args = data["op"], data["args"]
    if name == "input" or not args:
        return
    first = graph._node[args[0]]["type"]
    if not isinstance(first, TensorType) or first.dtype.kind != "f":
        return
    if name in COMPARISONS or name in EXTREMES:
        if args[0] != args[1]:
            yield values[args[0]] - values[args[1]]
        return
    if name in LENGTHS:
        yield values[i]
        return
    targets = {(0, kink) for kink in lookup(name).kinks}
    if name in SINGULAR:
        operand, numbers = SINGULAR[name]
        targets |= {(operand, float(v)) for v in numbers}
    if name == "integer_pow" and dict(data["attrs"])["exponent"] < 0:
        targets.add((0, 0.0))
    if name == "arctan2":
        yield values[args[0]] * values[args[0]] + values[args[1]] * values[args[1]]
    for operand, number in sorted(targets):
        # every kink of the record is a whole number
        yield values[args[operand]] - int(number)
