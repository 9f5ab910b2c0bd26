"""Expansion: ops that stand for several simple ones, written out for kernels to fuse with their neighbours."""

from __future__ import annotations

from typing import Any, Final

from graphc.ir import TensorType
from graphc.kernels import KERNEL_DTYPES
from graphc.ops import TABLE
from graphc.ops.world import Value
from graphc.passes.rewrite import Nodes, Procedure, RewritingWorld


def may_expand(nodes: Nodes, data: dict[str, Any]) -> bool:
    """Whether the op's record has an expansion, over ranges that are not empty, at a dtype that kernels hold."""
    op = TABLE.get(data["op"])
    if op is None or op.expansion is None:
        return False
    type = nodes[data["args"][0]]["type"]
    return isinstance(type, TensorType) and type.dtype in KERNEL_DTYPES and 0 not in type.shape


def expand(w: RewritingWorld, node: int, data: dict[str, Any]) -> Value | None:
    """Write the op out, by the rule in its record (real-exact: the rounding is that of the steps)."""
    expansion = TABLE[data["op"]].expansion
    assert expansion is not None
    operands = [w.value_class(w, a) for a in data["args"]]
    return expansion(w, *operands, **dict(data["attrs"]))  # type: ignore[no-any-return]


EXPAND: Final = Procedure("expand", may_expand, expand)
