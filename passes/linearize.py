"""Forward mode: one sweep from the inputs on, pushing tangents by the same derivative rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.errors import GraphcError
from graphc.ir import TensorType
from graphc.ops import TABLE
from graphc.ops.record import Jvp, Linear, Masked, Multilinear, Op, Partials
from graphc.ops.world import GraphWorld, Value
from graphc.passes.barriers import FLAT, no_rule


def forward(
    w: GraphWorld, outputs: Sequence[int], wrt: Sequence[int], tangents: Sequence[Value | None]
) -> list[Value | None]:
    """Append the tangents of `outputs`, given those of the nodes `wrt`; None where nothing depends."""
    nodes = w.builder.nodes
    known: dict[int, Value] = {i: t for i, t in zip(wrt, tangents, strict=True) if t is not None}
    unknown: dict[int, int] = {}  # nodes that vary in ways that nobody knows, and the op they come from
    needed = _ancestors(nodes, outputs)
    for i in range(min(wrt, default=0), max(outputs, default=-1) + 1):
        if i in known or not needed[i]:
            continue
        data = nodes[i]
        args = data["args"]
        if not any(a in known or a in unknown for a in args):
            continue
        type = data["type"]
        if isinstance(type, TensorType) and not type.differentiable:
            continue
        source = next((unknown[a] for a in args if a in unknown), None)
        if TABLE[data["op"]].opaque or (data["op"] == "get" and source is not None):
            unknown[i] = i if source is None else source
            continue
        if source is not None and data["op"] not in FLAT:
            raise _unknown(nodes[source])
        w.loc, w.origin = data["loc"], i
        t = push(
            w,
            TABLE[data["op"]],
            w.value_class(w, i),
            [w.value_class(w, a) for a in args],
            [known.get(a) for a in args],
            dict(data["attrs"]),
        )
        if t is not None:
            known[i] = t
    w.loc, w.origin = (), None
    for o in outputs:
        if o in unknown:
            raise _unknown(nodes[unknown[o]])
    return [known.get(o) for o in outputs]


def _unknown(source: dict[str, Any]) -> GraphcError:
    return no_rule(TABLE[source["op"]], dict(source["attrs"]), source["loc"])


def _ancestors(nodes: list[dict[str, Any]], outputs: Sequence[int]) -> bytearray:
    needed = bytearray(len(nodes))
    for o in outputs:
        needed[o] = 1
    for i in range(max(outputs, default=-1), -1, -1):
        if needed[i]:
            for a in nodes[i]["args"]:
                needed[a] = 1
    return needed


def push(w: Any, op: Op, y: Any, operands: Sequence[Any], tangents: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """The tangent of `y = op(*operands)`; None where it is structurally zero."""
    rule = op.rule
    if isinstance(rule, Partials):
        out = None
        for k, t in enumerate(tangents):
            partial = None if t is None else rule.partials[k if len(rule.partials) > 1 else 0]
            factor = None if partial is None else partial(w, y, *operands, **attrs)
            if factor is not None:
                term = _times(w, t, factor)
                out = term if out is None else out + term
        return None if out is None else _fill(w, out, y)
    if isinstance(rule, Linear):
        varying = range(len(operands)) if rule.positions is None else rule.positions
        moved = [
            (w.full(0, x.type) if t is None else t) if k in varying else x
            for k, (x, t) in enumerate(zip(operands, tangents, strict=True))
        ]
        return w.apply(op.name, moved, **attrs) if any(tangents[k] is not None for k in varying) else None
    if isinstance(rule, Multilinear):
        out = None
        for k, t in enumerate(tangents):
            if t is not None:
                term = w.apply(op.name, [t if j == k else x for j, x in enumerate(operands)], **attrs)
                out = term if out is None else out + term
        return out
    if isinstance(rule, Jvp):
        return rule.jvp(w, y, tuple(operands), tuple(tangents), **attrs)
    raise no_rule(op, attrs, getattr(w, "loc", ()))


def _times(w: Any, t: Any, factor: Any) -> Any:
    if isinstance(factor, Masked):
        return w.select(factor.mask, _times(w, t, factor.factor), 0)
    if isinstance(factor, (bool, int, float)):
        return t if factor == 1 else -t if factor == -1 else t * factor
    return t * factor


def _fill(w: Any, tangent: Any, y: Any) -> Any:
    """Broadcast a tangent to the shape of its primal."""
    return tangent if tangent.type.shape == y.type.shape else w.broadcast_to(tangent, shape=y.type.shape)
