"""Constant folding."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from graphc.dims import Dim
from graphc.ir import TensorType
from graphc.ops import TABLE
from graphc.ops.meaning import evaluate
from graphc.ops.world import Value
from graphc.passes.rewrite import RewritingWorld

LIMIT: Final = 1024  # bytes; larger results would only bloat the graph and its text
KEEP: Final = frozenset({"const", "stop_gradient", "identity", "broadcast_to"})


def fold(w: RewritingWorld, node: int, data: dict[str, Any]) -> Value | None:
    """Evaluate an op whose operands are all constants, by its own NumPy meaning (float-exact)."""
    name, args = data["op"], data["args"]
    type = data["type"]
    if name in KEEP or name not in TABLE or not isinstance(type, TensorType):
        return None
    nodes = w.builder.nodes
    if not args and name != "pi":
        return None
    for a in args:
        if nodes[a]["op"] != "const":
            return None
    if any(isinstance(d, Dim) for d in type.shape) or any(_symbolic(v) for _, v in data["attrs"]):
        return None
    count = 1
    for d in type.shape:
        count *= d
    if count * type.dtype.itemsize > LIMIT:
        return None
    operands = [nodes[a]["attrs"][0][1].array for a in args]
    with np.errstate(all="ignore"):
        result = evaluate(TABLE[name], operands, dict(data["attrs"]))
    return w.constant(result, type.dtype, type.weak)  # type: ignore[no-any-return]


def _symbolic(value: Any) -> bool:
    return isinstance(value, Dim) or (isinstance(value, tuple) and any(map(_symbolic, value)))
