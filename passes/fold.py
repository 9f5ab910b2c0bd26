"""Constant folding."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from graphc.dims import Dim
from graphc.ir import TensorType, static_shape
from graphc.ops import TABLE
from graphc.ops.meaning import evaluate
from graphc.ops.world import Value
from graphc.passes.rewrite import Nodes, Procedure, RewritingWorld

LIMIT: Final = 1024  # bytes; larger results would only bloat the graph and its text
KEEP: Final = frozenset({"const", "stop_gradient", "identity", "broadcast_to", "pure_callback", "debug_print"})


def may_fold(nodes: Nodes, data: dict[str, Any]) -> bool:
    """Whether every operand is a constant."""
    name, args = data["op"], data["args"]
    if not args:
        return bool(name == "pi")
    for a in args:
        if nodes[a]["op"] != "const":
            return False
    return name in TABLE and name not in KEEP


def fold(w: RewritingWorld, node: int, data: dict[str, Any]) -> Value | None:
    """Evaluate an op whose operands are all constants, by its own NumPy meaning (float-exact)."""
    name, args, type = data["op"], data["args"], data["type"]
    nodes = w.builder.nodes
    if not isinstance(type, TensorType):
        return None
    shape = static_shape(type.shape)
    if shape is None or any(symbolic(v) for _, v in data["attrs"]):
        return None
    if math.prod(shape) * type.dtype.itemsize > LIMIT:
        return None
    operands = [nodes[a]["attrs"][0][1].array for a in args]
    try:
        with np.errstate(all="ignore"):
            result = evaluate(TABLE[name], operands, dict(data["attrs"]))
    except (IndexError, np.linalg.LinAlgError):
        return None  # the error is that of the run, which says where it is
    return w.constant(result, type.dtype, type.weak)  # type: ignore[no-any-return]


def symbolic(value: Any) -> bool:
    """Whether an attribute holds a size that is known only when the graph runs."""
    return isinstance(value, Dim) or (isinstance(value, tuple) and any(map(symbolic, value)))


FOLD: Final = Procedure("fold", may_fold, fold)
