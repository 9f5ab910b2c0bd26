"""Reverse mode: one sweep from the outputs back, transposing each node by its op's one derivative rule.

`Partials`, `Linear` and `Multilinear` rules transpose directly. A `Jvp` rule is linearised in place, but where only
operands vary that the op is linear in: its tangent is built from placeholders, and the same sweep then transposes that
small linear piece. The scheme follows
A. Radul et al., "You Only Linearize Once: Tangents Transpose to Gradients", POPL 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphc.errors import RuleError
from graphc.ir import TensorType
from graphc.ops import TABLE
from graphc.ops.record import Jvp, Linear, Masked, Multilinear, Partials
from graphc.ops.world import GraphWorld, Value
from graphc.passes.barriers import FLAT, no_rule

WAITING: Final = 4
"""Contributions to a cotangent that wait for the others. Beyond, the first two are added up, as they would be at last:
so a parameter that a thousand steps use does not keep a thousand arrays in memory."""


@dataclass(slots=True)
class Cotangent:
    """A cotangent with a lazy selection: `value` counts where `mask` holds, 0 elsewhere.

    `clean` says that `value` already is 0 elsewhere. Selecting only where contributions meet, after all
    multiplications, is what keeps an unselected branch's inf and NaN out of the gradient.
    """

    value: Value
    mask: Callable[[], Value] | None = None
    clean: bool = True

    def select(self, w: GraphWorld) -> Value:
        """The cotangent as one plain value."""
        if self.mask is None or self.clean:
            return self.value
        return w.select(self.mask(), self.value, 0)  # type: ignore[no-any-return]


def backward(
    w: GraphWorld,
    outputs: Sequence[int],
    cotangents: Sequence[Value | None],
    wrt: Sequence[int],
    trace_origin: bool = True,
) -> list[Value | None]:
    """Append the cotangents of the nodes `wrt`, given those of `outputs`; None where nothing depends."""
    nodes = w.builder.nodes
    stop = max(outputs, default=-1) + 1
    active = _active(nodes, wrt, stop)
    pending: dict[int, list[Cotangent]] = {}
    for output, ct in zip(outputs, cotangents, strict=True):
        if ct is not None and active[output]:
            pending.setdefault(output, []).append(Cotangent(ct))
    result: dict[int, Value] = {}
    targets = set(wrt)
    first = min(wrt, default=stop)
    for i in range(stop - 1, first - 1, -1):
        contributions = pending.pop(i, None)
        if contributions is None:
            continue
        if trace_origin:
            w.loc, w.origin = nodes[i]["loc"], i
        met = _meet(w, contributions)
        if i in targets:
            result[i] = met.select(w)
        _transpose_node(w, i, met, active, pending)
    if trace_origin:
        w.loc, w.origin = (), None
    return [result.get(i) for i in wrt]


def _active(nodes: list[dict[str, Any]], wrt: Sequence[int], stop: int) -> bytearray:
    """Mark the nodes that depend on `wrt` and can vary with it."""
    active = bytearray(max(stop, max(wrt, default=0) + 1))
    for i in wrt:
        active[i] = 1
    for i in range(min(wrt, default=stop), stop):
        if not active[i]:
            data = nodes[i]
            for a in data["args"]:
                if active[a]:
                    type = data["type"]
                    carries = not isinstance(type, TensorType) or type.differentiable
                    active[i] = carries and data["op"] not in FLAT
                    break
    return active


def _meet(w: GraphWorld, contributions: list[Cotangent]) -> Cotangent:
    """Sum contributions: 0 where none of them counts, whatever is multiplied by later."""
    if len(contributions) == 1:
        return contributions[0]
    first = contributions[0]
    if first.mask is not None and not first.clean:
        mask = first.mask()
        if all(c.mask is not None and not c.clean and c.mask().id == mask.id for c in contributions):
            total = first.value
            for c in contributions[1:]:
                total = total + c.value
            return Cotangent(total, lambda: mask, clean=False)
    total = first.select(w)
    for c in contributions[1:]:
        total = total + c.select(w)
    return Cotangent(total, _either(w, [c.mask for c in contributions]))


def _either(w: GraphWorld, masks: list[Callable[[], Value] | None]) -> Callable[[], Value] | None:
    """Where any of the contributions counts; None if that is everywhere, as far as can be told."""
    known = [mask() for mask in masks if mask is not None]
    if len(known) < len(masks):
        return None
    nodes = w.builder.nodes
    distinct = list({m.id: m for m in known}.values())
    negated = {nodes[m.id]["args"][0] for m in distinct if nodes[m.id]["op"] == "logical_not"}
    if not negated.isdisjoint(m.id for m in distinct):
        return None

    def union() -> Value:
        total = distinct[0]
        for m in distinct[1:]:
            total = w.logical_or(total, m)
        return total

    return union


def _transpose_node(
    w: GraphWorld, i: int, ct: Cotangent, active: bytearray, pending: dict[int, list[Cotangent]]
) -> None:
    data = w.builder.nodes[i]
    args: tuple[int, ...] = data["args"]
    wanted = [k for k, a in enumerate(args) if active[a]]
    if not wanted:
        return
    op = TABLE[data["op"]]
    attrs = dict(data["attrs"])
    rule = op.rule
    operands = [w.value_class(w, a) for a in args]
    if isinstance(rule, Partials):
        y = w.value_class(w, i)
        for k in wanted:
            partial = rule.partials[k if len(rule.partials) > 1 else 0]
            factor = None if partial is None else partial(w, y, *operands, **attrs)
            if factor is not None:
                _deposit(w, pending, operands[k], args[k], _scale(w, ct, factor))
    elif isinstance(rule, Linear):
        lazy = op.elementwise
        given = ct if lazy else Cotangent(ct.select(w), ct.mask)
        parts = rule.transpose(w, given.value, *operands, **attrs)
        for k in wanted:
            part = parts[k]
            if part is None:
                continue
            mask = _carried_mask(w, rule, given, operands, attrs, k)
            if isinstance(part, Masked):
                new = _scale(w, Cotangent(part.factor, given.mask, given.clean), Masked(part.mask, 1))
            else:
                new = Cotangent(part, mask, given.clean if lazy else True)
            _deposit(w, pending, operands[k], args[k], new)
    elif isinstance(rule, Multilinear):
        value = ct.select(w)
        for k in wanted:
            part = rule.transposes[k](w, value, *operands, **attrs)
            _deposit(w, pending, operands[k], args[k], Cotangent(part))
    elif isinstance(rule, Jvp) and rule.transpose is not None and all(k in rule.linear for k in wanted):
        parts = rule.transpose(w, ct.select(w), *operands, **attrs)
        for k in wanted:
            _deposit(w, pending, operands[k], args[k], Cotangent(parts[k]))
    elif isinstance(rule, Jvp):
        _transpose_jvp(w, i, ct.select(w), rule, operands, wanted, attrs, pending)
    elif op.name == "get":
        producer = w.builder.nodes[args[0]]
        raise no_rule(TABLE[producer["op"]], dict(producer["attrs"]), producer["loc"])
    else:
        raise no_rule(op, attrs, data["loc"])


def _carried_mask(
    w: GraphWorld, rule: Linear, given: Cotangent, operands: list[Value], attrs: dict[str, Any], k: int
) -> Callable[[], Value] | None:
    """The mask that goes with operand k's cotangent, built only if a later multiplication needs it."""
    if given.mask is None or rule.mask is None:
        return None
    mask, carry = given.mask, rule.mask
    return lambda: carry(w, w.broadcast_mask(mask(), given.value), *operands, **attrs)[k]


def _scale(w: GraphWorld, ct: Cotangent, factor: Any) -> Cotangent:
    """Multiply a cotangent by a partial derivative."""
    if isinstance(factor, Masked):
        scaled = _scale(w, ct, factor.factor)
        own, other = factor.mask, ct.mask
        mask = (lambda: own) if other is None else (lambda: w.logical_and(other(), own))
        return Cotangent(scaled.value, mask, clean=False)
    if isinstance(factor, (bool, int, float)):
        if factor == 1:
            return ct
        value = -ct.value if factor == -1 else ct.value * factor
    else:
        value = ct.value * factor
    return Cotangent(value, ct.mask, clean=ct.mask is None)


def _deposit(w: GraphWorld, pending: dict[int, list[Cotangent]], operand: Value, node: int, ct: Cotangent) -> None:
    """Add a contribution to a node, summed down to the node's shape where it was broadcast."""
    shape = operand.type.shape
    if ct.value.type.shape != shape:
        mask = ct.mask
        if ct.value.type.ndim < len(shape):
            raise RuleError(f"a cotangent of shape {ct.value.type} is too small for {operand.type}")
        value = w.unbroadcast(ct.select(w), shape)
        given = ct.value
        reduced = None if mask is None else (lambda: w.reduce_to("reduce_any", w.broadcast_mask(mask(), given), shape))
        ct = Cotangent(value, reduced)
    contributions = pending.setdefault(node, [])
    contributions.append(ct)
    if len(contributions) > WAITING and all(c.mask is None for c in contributions[:2]):
        outer = w.loc, w.origin
        if w.origin is not None:
            w.loc, w.origin = w.builder.nodes[node]["loc"], node
        contributions[:2] = [Cotangent(contributions[0].value + contributions[1].value)]
        w.loc, w.origin = outer


def _transpose_jvp(
    w: GraphWorld,
    i: int,
    ct: Value,
    rule: Jvp,
    operands: list[Value],
    wanted: list[int],
    attrs: dict[str, Any],
    pending: dict[int, list[Cotangent]],
) -> None:
    tangents: list[Value | None] = [None] * len(operands)
    for k in wanted:
        tangents[k] = placeholder(w, operands[k].type)
    out = rule.jvp(w, w.value_class(w, i), tuple(operands), tuple(tangents), **attrs)
    if out is None:
        return
    placeholders = [t.id for t in tangents if t is not None]
    parts = backward(w, [out.id], [ct], placeholders, trace_origin=False)
    if _reaches(w.builder.nodes, [p.id for p in parts if p is not None], set(placeholders)):
        raise RuleError(f"{w.builder.nodes[i]['op']}: its tangent is not linear in the operands' tangents")
    for k, part in zip(wanted, parts, strict=True):
        if part is not None:
            _deposit(w, pending, operands[k], operands[k].id, Cotangent(part))


def _reaches(nodes: list[dict[str, Any]], start: list[int], targets: set[int]) -> bool:
    """Whether any of `targets` is an ancestor of `start`; nothing older than they are can tell."""
    oldest = min(targets)
    seen: set[int] = set()
    stack = [i for i in start if i >= oldest]
    while stack:
        i = stack.pop()
        if i in targets:
            return True
        if i not in seen:
            seen.add(i)
            stack.extend(a for a in nodes[i]["args"] if a >= oldest)
    return False


def placeholder(w: GraphWorld, type: TensorType) -> Value:
    """A node that stands for a tangent until its linear piece has been transposed; nothing live keeps it."""
    serial = len(w.builder.nodes)
    return w.value_class(w, w.builder.add("tangent", (), (("serial", serial),), type, (), None))
