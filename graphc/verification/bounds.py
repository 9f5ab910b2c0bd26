"""Bounds of every node over all inputs: which outcome of a comparison is impossible whatever the inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphc.backends.exact.world import bind
from graphc.ir import Graph, TensorType

INF: Final = math.inf


@dataclass(frozen=True, slots=True)
class Bounds:
    """All elements lie in [low, high]; `nonzero`: and none is 0."""

    low: float = -INF
    high: float = INF
    nonzero: bool = False

    def union(self, other: Bounds) -> Bounds:
        """Bounds of a value that is either."""
        return Bounds(min(self.low, other.low), max(self.high, other.high), self.nonzero and other.nonzero)


DOMAINS: Final = {
    "positive": Bounds(0.0, INF, True),
    "nonzero": Bounds(-INF, INF, True),
    "above -1": Bounds(-1.0),
    "above 1": Bounds(1.0, INF, True),
    "inside -1 to 1": Bounds(-1.0, 1.0),
    "unit": Bounds(-1.0, 1.0),
}
RANGES: Final = {
    "exp": Bounds(0.0, INF, True),
    "exp2": Bounds(0.0, INF, True),
    "softplus": Bounds(0.0, INF, True),
    "sigmoid": Bounds(0.0, 1.0, True),
    "softmax": Bounds(0.0, 1.0, True),
    "ndtr": Bounds(0.0, 1.0, True),
    "erfc": Bounds(0.0, 2.0, True),
    "erfcx": Bounds(0.0, INF, True),
    "cosh": Bounds(1.0, INF, True),
    "abs": Bounds(0.0),
    "sqrt": Bounds(0.0),
    "hypot": Bounds(0.0),
    "reduce_norm": Bounds(0.0),
    "arccosh": Bounds(0.0),
    "tanh": Bounds(-1.0, 1.0),
    "erf": Bounds(-1.0, 1.0),
    "sin": Bounds(-1.0, 1.0),
    "cos": Bounds(-1.0, 1.0),
    "sign": Bounds(-1.0, 1.0),
    "log_ndtr": Bounds(-INF, 0.0, True),
    "log_softmax": Bounds(-INF, 0.0),
    "argmax": Bounds(0.0),
    "argmin": Bounds(0.0),
    "argsort": Bounds(0.0),
}
MOVES: Final = frozenset(
    {"identity", "stop_gradient", "reshape", "transpose", "broadcast_to", "slice", "gather", "reduce_max"}
    | {"reduce_min", "sort"}
)


def bounds(graph: Graph, sizes: Mapping[str, int], domain: str | None = None) -> dict[int, Bounds]:
    """Bounds of each tensor node, for float inputs anywhere in a domain."""
    found: dict[int, Bounds] = {}
    for i, data in graph._node.items():
        type = data["type"]
        if not isinstance(type, TensorType):
            found[i] = Bounds()
        elif data["op"] == "input":
            found[i] = DOMAINS.get(domain or "", Bounds()) if type.dtype.kind == "f" else Bounds()
        elif type.dtype.kind == "b":
            found[i] = Bounds(0.0, 1.0)
        elif data["op"] == "matmul" and type.shape == () and data["args"][0] == data["args"][1]:
            found[i] = Bounds(0.0)  # a vector times itself
        else:
            args = data["args"]
            attrs = {name: bind(value, sizes) for name, value in data["attrs"]}
            count = 1
            if data["op"] == "reduce_sum":
                inner = math.prod(bind(graph._node[args[0]]["type"].shape, sizes))
                count = inner // max(1, math.prod(bind(type.shape, sizes)))
            found[i] = _of(data["op"], args, [found[a] for a in args], attrs, count)
    return found


def _of(name: str, nodes: Any, args: list[Bounds], attrs: Mapping[str, Any], count: int) -> Bounds:
    if name == "const":
        array = attrs["value"].array
        if array.size == 0 or array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
            return Bounds()
        return Bounds(_below(float(array.min())), _above(float(array.max())), bool((array != 0).all()))
    if name in RANGES:
        return RANGES[name]
    if name in MOVES:
        return args[0]
    if name == "neg":
        return Bounds(-args[0].high, -args[0].low, args[0].nonzero)
    if name == "add":
        return _sum(*args)
    if name == "sub":
        return difference(*args)
    if name == "mul" and nodes[0] == nodes[1]:
        return Bounds(0.0, INF, args[0].nonzero)
    if name == "mul":
        return _product(*args)
    if name == "div":
        a, b = args
        if b.low >= 0 and (a.low >= 0 or a.high <= 0):
            return Bounds(0.0, INF, a.nonzero) if a.low >= 0 else Bounds(-INF, 0.0, a.nonzero)
        return Bounds()
    if name == "integer_pow" and (attrs["exponent"] % 2 == 0 or args[0].low >= 0):
        return Bounds(0.0, INF, args[0].nonzero)
    if name == "where":
        return args[1].union(args[2])
    if name == "maximum":
        a, b = args
        low = max(a.low, b.low)
        return Bounds(low, max(a.high, b.high), low > 0 or (low == 0 and (a.low == 0 and a.nonzero)))
    if name == "minimum":
        a, b = args
        return Bounds(min(a.low, b.low), min(a.high, b.high), a.low >= 0 and b.low >= 0 and a.nonzero and b.nonzero)
    if name == "reduce_sum" and count > 0:
        (a,) = args
        low = 0.0 if a.low == 0 else (-INF if a.low < 0 else a.low)
        high = 0.0 if a.high == 0 else (INF if a.high > 0 else a.high)
        return Bounds(low, high, a.nonzero and (a.low >= 0 or a.high <= 0))
    return Bounds()


def difference(a: Bounds, b: Bounds) -> Bounds:
    """Bounds of a - b; that it is not 0 is known only where b is 0."""
    return _sum(a, Bounds(-b.high, -b.low, b.nonzero))


def _sum(a: Bounds, b: Bounds) -> Bounds:
    low, high = _outward(a.low, b.low, -1), _outward(a.high, b.high, 1)
    # 0 is left out by any bound away from it, and by a sum of two of one sign of which one is not 0
    one_sign = (a.low >= 0 and b.low >= 0) or (a.high <= 0 and b.high <= 0)
    zero = Bounds(0.0, 0.0)
    same = (b == zero and a.nonzero) or (a == zero and b.nonzero)
    return Bounds(low, high, low > 0 or high < 0 or same or (one_sign and (a.nonzero or b.nonzero)))


def _outward(x: float, y: float, side: int) -> float:
    total = x + y
    return total if x == 0 or y == 0 or x == -y else math.nextafter(total, side * INF)


def _product(a: Bounds, b: Bounds) -> Bounds:
    nonzero = a.nonzero and b.nonzero
    corners = [x * y if x and y else 0.0 for x in (a.low, a.high) for y in (b.low, b.high)]
    # signs survive rounding; magnitudes are widened
    low, high = (c if c == 0 or math.isinf(c) else math.nextafter(c, s) for c, s in _ends(corners))
    if any(x and y and abs(x) < 1e-150 and abs(y) < 1e-150 for x in (a.low, a.high) for y in (b.low, b.high)):
        return Bounds(nonzero=nonzero)
    return Bounds(low, high, nonzero)


def _ends(corners: list[float]) -> tuple[tuple[float, float], tuple[float, float]]:
    return (min(corners), -INF), (max(corners), INF)


def _below(x: float) -> float:
    return x if abs(x) < 2**53 else math.nextafter(x, -INF)


def _above(x: float) -> float:
    return x if abs(x) < 2**53 else math.nextafter(x, INF)
