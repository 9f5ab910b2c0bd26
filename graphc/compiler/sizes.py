"""Whether arguments fit the sizes a graph was made for."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import dims
from graphc.dims import Dim, Size
from graphc.ir import Graph, TensorType


def bind_sizes(wanted: Sequence[Size], have: Sequence[Size], sizes: dict[str, Size]) -> bool:
    """Whether a shape fits one with named sizes; `sizes` learns what the names stand for."""
    for want, size in zip(wanted, have, strict=True):
        name = str(want)
        if name in dims.symbols(want) and name not in sizes:
            sizes[name] = size
        elif dims.equal(dims.substitute(want, sizes), size) is not True:
            return False
    return True


def mismatch(graph: Graph, types: Sequence[TensorType]) -> str | None:
    """Why arguments of these types do not fit a graph's sizes and guards; None if they fit."""
    env: dict[str, int] = {}
    for i, have in zip(graph.inputs, types, strict=True):
        for axis, (d, s) in enumerate(zip(graph._node[i]["type"].shape, have.shape, strict=True)):
            if isinstance(d, Dim):
                if env.setdefault(str(d), int(s)) != s:  # type: ignore[arg-type]
                    return f"{d} is {env[str(d)]} in one place and {s} in another"
            elif d != s:
                return f"{graph.attrs(i)['name']}.shape[{axis}] is {s}, {d} was compiled"
    for guard in graph.guards:
        if not guard.holds(env):
            return f"guard {guard} fails"
    return None
