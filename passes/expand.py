"""Expansion: ops that stand for several simple ones, written out for kernels to fuse with their neighbours."""

from __future__ import annotations

from typing import Any, Final

from graphc.ir import TensorType
from graphc.kernels import HALF, KERNEL_DTYPES, SINGLE
from graphc.ops import TABLE
from graphc.ops.contraction import swap
from graphc.ops.world import Value
from graphc.passes.reading import MARKERS
from graphc.passes.rewrite import Nodes, Procedure, RewritingWorld


def may_expand(nodes: Nodes, data: dict[str, Any]) -> bool:
    """Whether the op's record has an expansion, over ranges that are not empty, at a dtype that kernels hold."""
    op = TABLE.get(data["op"])
    if op is None or op.expansion is None:
        return False
    type = nodes[data["args"][0]]["type"]
    return isinstance(type, TensorType) and type.dtype in KERNEL_DTYPES and 0 not in type.shape


def expand(w: RewritingWorld, node: int, data: dict[str, Any]) -> Value | None:
    """Write the op out, by the rule in its record (real-exact: the rounding is that of the steps).

    The steps of half precision are taken in single precision.
    """
    expansion = TABLE[data["op"]].expansion
    assert expansion is not None
    operands = [_wide(w, a) for a in data["args"]]
    return _as_node(w, expansion(w, *operands, **dict(data["attrs"])), data)  # type: ignore[no-any-return]


def _wide(w: RewritingWorld, node: int) -> Value:
    """A node as operand of several steps: not in half precision, to which each of them would be rounded."""
    value: Value = w.value_class(w, node)
    return w.convert(value, SINGLE) if value.dtype == HALF else value


def _as_node(w: RewritingWorld, result: Any, data: dict[str, Any]) -> Any:
    """What the steps give as what the node gives."""
    dtype = data["type"].dtype
    return w.convert(result, dtype) if dtype == HALF and result is not None else result


def may_multiply(nodes: Nodes, data: dict[str, Any]) -> bool:
    """Whether the node is a product of matrices of which one is a row or a column, at a dtype that kernels add up."""
    a, b = (nodes[i]["type"] for i in data["args"])
    return a.dtype in KERNEL_DTYPES and a.dtype.kind != "b" and 1 in (a.shape[-1], b.shape[-1], a.shape[-2])


def multiply(w: RewritingWorld, node: int, data: dict[str, Any]) -> Value:
    """Write a product with a row or a column as products of numbers, and sums (real-exact: the sums' order is free).

    Memory bounds its speed, as it does a library's; but kernels fuse it with its neighbours. The matrix keeps the order
    in which it lies in memory: the transpose of one is summed over its rows.
    """
    a, b = (_wide(w, i) for i in data["args"])
    if a.shape[-1] == 1:
        result: Value = w.mul(a, b)
    elif b.shape[-1] == 1:
        result = _sum_of_products(w, a, b)
    else:
        # a row times a matrix is the transpose of the transposed matrix times a column
        result = swap(w, _sum_of_products(w, swap(w, b), swap(w, a)))
    return _as_node(w, result, data)  # type: ignore[no-any-return]


def _sum_of_products(w: RewritingWorld, matrix: Value, column: Value) -> Value:
    last = max(matrix.ndim, column.ndim) - 1
    if _transposed(w.builder.nodes, matrix.id):
        result: Value = swap(w, w.reduce_sum(w.mul(swap(w, matrix), column), axes=(last - 1,), keepdims=True))
    else:
        result = w.reduce_sum(w.mul(matrix, swap(w, column)), axes=(last,), keepdims=True)
    return result


def _transposed(nodes: Nodes, node: int) -> bool:
    """Whether a matrix lies in memory by columns, as far as its last node tells."""
    while nodes[node]["op"] in MARKERS or nodes[node]["op"] == "cast":
        node = nodes[node]["args"][0]
    data = nodes[node]
    if data["op"] != "transpose":
        return False
    *_, one, other = dict(data["attrs"])["perm"]
    return bool(one > other)


EXPAND: Final = Procedure("expand", may_expand, expand)
MULTIPLY: Final = Procedure("multiply", may_multiply, multiply, "matmul")
