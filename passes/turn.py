"""Products turned round: the transpose of a product as the product of the transposes, for memory to be read in order.

The gradient by weights that a network multiplies transposed is the transpose of a product. Left as it is, whoever reads
it goes through memory by columns; the product itself can be written either way, at no cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from graphc.ir import Builder, Graph, copy_inputs, copy_into, copy_node
from graphc.ops.contraction import swap
from graphc.ops.world import Value
from graphc.passes.rewrite import Procedures, RewritingWorld, Rows


def turn_products(graph: Graph, rows: Rows) -> tuple[Graph, Mapping[str, int]]:
    """`(a @ b).T -> b.T @ a.T` where nothing else uses `a @ b`; `rows` simplify what that makes.

    Real-exact: a library may add up the two in different orders.
    """
    nodes = graph._node
    uses = Counter(graph.outputs)
    for data in nodes.values():
        uses.update(data["args"])

    def turns(data: dict[str, Any]) -> bool:
        if data["op"] != "transpose" or nodes[data["args"][0]]["op"] != "matmul" or uses[data["args"][0]] > 1:
            return False
        perm = dict(data["attrs"])["perm"]
        n = len(perm)
        return bool(perm == (*range(n - 2), n - 1, n - 2))

    turned = {i for i, data in nodes.items() if turns(data)}
    if not turned:
        return graph, {}
    builder = Builder(graph.name)
    w = RewritingWorld(builder, rows, Procedures(()))

    def node_rule(old: int, data: dict[str, Any], args: tuple[int, ...]) -> int:
        if old not in turned:
            return w.rewrite(copy_node(builder, data, args, ids))
        w.loc, w.origin = data["loc"], data["origin"]
        a, b = (Value(w, operand) for operand in builder.nodes[args[0]]["args"])
        found: int = w.matmul(swap(w, b), swap(w, a)).id
        return found

    ids: dict[int, int] = {}
    copy_into(builder, graph, copy_inputs(builder, graph), node_rule, ids)
    return builder.finish([ids[o] for o in graph.outputs], graph.graph["donated"]), {"turned": len(turned)}
