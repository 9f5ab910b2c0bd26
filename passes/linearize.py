"""Forward mode: one sweep from the inputs on, pushing tangents by the same derivative rules.

A tangent that a mask makes 0 (below `maximum(x, 0)`, say) stays 0 whatever it is multiplied by: as in reverse mode,
value and mask are carried side by side, and the selection is made after all multiplications.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphc.errors import GraphcError
from graphc.ir import TensorType
from graphc.ops import TABLE
from graphc.ops.record import Jvp, Linear, Masked, Multilinear, Op, Partials
from graphc.ops.world import GraphWorld, Value
from graphc.passes.barriers import FLAT, no_rule

# ops that only place the elements of their first operand elsewhere, and place those of its mask alike
MOVES: Final = frozenset({"reshape", "transpose", "broadcast_to", "slice", "gather"})
# elementwise ops that are linear in their first operand
ALONG: Final = frozenset({"cast", "identity", "deg2rad", "rad2deg", "ldexp"})


@dataclass(slots=True)
class Tangent:
    """A tangent with a lazy selection: `value` counts where `mask` holds, 0 elsewhere.

    `clean` says that `value` already is 0 elsewhere.
    """

    value: Any
    mask: Callable[[], Any] | None = None
    clean: bool = True

    def select(self, w: Any) -> Any:
        """The tangent as one plain value."""
        if self.mask is None or self.clean:
            return self.value
        return w.select(self.mask(), self.value, 0)


def forward(
    w: GraphWorld, outputs: Sequence[int], wrt: Sequence[int], tangents: Sequence[Value | None]
) -> list[Value | None]:
    """Append the tangents of `outputs`, given those of the nodes `wrt`; None where nothing depends."""
    nodes = w.builder.nodes
    known = {i: Tangent(t) for i, t in zip(wrt, tangents, strict=True) if t is not None}
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
        t = _advance(
            w,
            TABLE[data["op"]],
            w.value_class(w, i),
            [w.value_class(w, a) for a in args],
            [known.get(a) for a in args],
            dict(data["attrs"]),
        )
        if t is not None:
            known[i] = t
    results = []
    for o in outputs:
        if o in unknown:
            w.loc, w.origin = (), None
            raise _unknown(nodes[unknown[o]])
        w.loc, w.origin = nodes[o]["loc"], o
        results.append(known[o].select(w) if o in known else None)
    w.loc, w.origin = (), None
    return results


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
    given = [None if t is None else Tangent(t) for t in tangents]
    found = _advance(w, op, y, operands, given, attrs)
    return None if found is None else found.select(w)


def _advance(
    w: Any, op: Op, y: Any, operands: Sequence[Any], tangents: Sequence[Tangent | None], attrs: dict[str, Any]
) -> Tangent | None:
    rule = op.rule
    if isinstance(rule, Partials):
        terms = []
        for k, t in enumerate(tangents):
            partial = None if t is None else rule.partials[k if len(rule.partials) > 1 else 0]
            factor = None if partial is None else partial(w, y, *operands, **attrs)
            if t is not None and factor is not None:
                terms.append(_times(w, t, factor))
        return _fill(w, _sum(w, terms), y) if terms else None
    if op.name == "where" and isinstance(rule, Linear) and rule.positions == (1, 2):
        return _selected(w, operands[0], tangents[1:], operands[1:], y)
    plain = [None if t is None else t.select(w) for t in tangents]
    if isinstance(rule, Linear):
        return _linear(w, op, rule, operands, tangents, plain, attrs)
    out = None
    if isinstance(rule, Multilinear):
        for k, t in enumerate(plain):
            if t is not None:
                term = w.apply(op.name, [t if j == k else x for j, x in enumerate(operands)], **attrs)
                out = term if out is None else out + term
    elif isinstance(rule, Jvp):
        out = rule.jvp(w, y, tuple(operands), tuple(plain), **attrs)
    else:
        raise no_rule(op, attrs, getattr(w, "loc", ()))
    return None if out is None else Tangent(out)


def _linear(
    w: Any,
    op: Op,
    rule: Linear,
    operands: Sequence[Any],
    tangents: Sequence[Tangent | None],
    plain: Sequence[Any],
    attrs: dict[str, Any],
) -> Tangent | None:
    varying = range(len(operands)) if rule.positions is None else rule.positions
    if not any(plain[k] is not None for k in varying):
        return None
    moved = [
        (w.full(0, x.type) if t is None else t) if k in varying else x
        for k, (x, t) in enumerate(zip(operands, plain, strict=True))
    ]
    value = w.apply(op.name, moved, **attrs)
    first = tangents[0]
    mask = None if first is None else first.mask
    if mask is None or op.name not in MOVES | ALONG:
        return Tangent(value)
    if op.name in ALONG:
        return Tangent(value, mask)
    kept = mask
    return Tangent(value, lambda: w.apply(op.name, [w.broadcast_mask(kept(), operands[0]), *operands[1:]], **attrs))


def _selected(
    w: Any, condition: Any, tangents: Sequence[Tangent | None], operands: Sequence[Any], y: Any
) -> Tangent | None:
    """The tangent of `where`."""
    x, z = tangents
    if x is None and z is None:
        return None
    if x is not None and z is not None:
        mask = None
        if x.mask is not None or z.mask is not None:
            mask = lambda: w.logical_or(_and(w, condition, x.mask), _and(w, w.logical_not(condition), z.mask))  # noqa: E731
        return Tangent(w.where(condition, x.select(w), z.select(w)), mask)
    if x is not None:
        t, mask = x, lambda: _and(w, condition, x.mask)
    else:
        assert z is not None
        t, mask = z, lambda: _and(w, w.logical_not(condition), z.mask)
    return _fill(w, Tangent(t.value, mask, clean=False), y)


def _and(w: Any, mask: Any, other: Callable[[], Any] | None) -> Any:
    return mask if other is None else w.logical_and(mask, other())


def _times(w: Any, t: Tangent, factor: Any) -> Tangent:
    """A tangent times a partial derivative."""
    if isinstance(factor, Masked):
        scaled, own = _times(w, t, factor.factor), factor.mask
        return Tangent(scaled.value, lambda: _and(w, own, t.mask), clean=False)
    if isinstance(factor, (bool, int, float)):
        value = t.value if factor == 1 else -t.value if factor == -1 else t.value * factor
        return Tangent(value, t.mask, t.clean)
    return Tangent(t.value * factor, t.mask, clean=t.mask is None)


def _sum(w: Any, terms: Sequence[Tangent]) -> Tangent:
    """The sum of tangents: 0 where none of them counts, whatever it is multiplied by later."""
    first = terms[0]
    if len(terms) == 1:
        return first
    masks = [t.mask for t in terms if t.mask is not None]
    if len(masks) == len(terms) and not any(t.clean for t in terms):
        known = [mask() for mask in masks]
        if all(_same(m, known[0]) for m in known):
            total = first.value
            for t in terms[1:]:
                total = total + t.value
            return Tangent(total, lambda: known[0], clean=False)
    total = first.select(w)
    for t in terms[1:]:
        total = total + t.select(w)
    if len(masks) < len(terms):
        return Tangent(total)

    def union() -> Any:
        found = masks[0]()
        for mask in masks[1:]:
            found = w.logical_or(found, mask())
        return found

    return Tangent(total, union)


def _same(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, Value) and isinstance(b, Value) and a.id == b.id)


def _fill(w: Any, tangent: Tangent, y: Any) -> Tangent:
    """Broadcast a tangent to the shape of its primal."""
    if tangent.value.type.shape == y.type.shape:
        return tangent
    return Tangent(w.broadcast_to(tangent.value, shape=y.type.shape), tangent.mask, tangent.clean)
