"""Simplification: rows that keep every bit of the result."""

from __future__ import annotations

from typing import Any, Final

from graphc.ir import TensorType
from graphc.ops.world import GraphWorld, Value
from graphc.passes.rewrite import (
    ONE,
    ZERO,
    Attr,
    Law,
    Match,
    Nodes,
    P,
    Procedure,
    Rewrite,
    RewritingWorld,
    Scalar,
    Var,
    is_elementwise,
)

X, Y, Z, C = Var("x"), Var("y"), Var("z"), Var("c")
A, B, KEEP = Attr("a"), Attr("b"), Attr("keep")
MINUS_ONE: Final = Scalar("minus_one", -1.0)
NEGATIVE_ZERO: Final = Scalar("negative_zero", accept=lambda v: v == 0 and str(v)[0] == "-")
EXACT: Final = Law.EXACT


def same_shape(w: GraphWorld, m: Match) -> bool:
    return bool(m["x"].type.shape == m["a"])


def is_signed(w: GraphWorld, m: Match) -> bool:
    """An unsigned -x wraps round to another magnitude."""
    return bool(m["x"].type.dtype.kind != "u")


def compose(outer: tuple[int, ...], inner: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(inner[i] for i in outer)


def is_identity(w: GraphWorld, m: Match) -> bool:
    return bool(m["a"] == tuple(range(len(m["a"]))))


def only_units(w: GraphWorld, m: Match) -> bool:
    """The reduced axes all have size 1, or there are none."""
    return all(m["x"].type.shape[i] == 1 for i in m["a"])


def only_integer_units(w: GraphWorld, m: Match) -> bool:
    """As `only_units`; not for floats, of which a sum is never -0.0."""
    return m["x"].type.dtype.kind != "f" and only_units(w, m)


def without_axes(w: GraphWorld, m: Match) -> Any:
    shape = m["x"].type.shape
    kept = tuple(1 if i in m["a"] else d for i, d in enumerate(shape) if m["keep"] or i not in m["a"])
    return w.reshape(m["x"], shape=kept)


def restores_axes(w: GraphWorld, m: Match) -> bool:
    """The reshape after a reduction puts the reduced axes back with size 1."""
    shape = m["x"].type.shape
    return bool(m["b"] == tuple(1 if i in m["a"] else d for i, d in enumerate(shape)))


def same_cast(w: GraphWorld, m: Match) -> bool:
    x: TensorType = m["x"].type
    return bool(x.dtype == m["a"] and x.weak == m["b"])


def whole(w: GraphWorld, m: Match) -> bool:
    return all(
        start == 0 and stop is not None and step == 1 and stop == d
        for (start, stop, step), d in zip(m["a"], m["x"].type.shape, strict=True)
    )


def keepdims_row(reducer: str) -> Rewrite:
    inner = getattr(P, reducer)(X, axes=A, keepdims=False)
    return Rewrite(
        f"reshape({reducer}(x)) -> {reducer}[keepdims](x)",
        P.reshape(inner, shape=B),
        lambda w, m: w.apply(reducer, (m["x"],), axes=m["a"], keepdims=True),
        EXACT,
        restores_axes,
    )


REDUCERS: Final = ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "logsumexp", "reduce_norm")

ROWS: Final = (
    Rewrite("x * 1 -> x", P.mul(X, ONE), X, EXACT),
    Rewrite("x / 1 -> x", P.div(X, ONE), X, EXACT),
    Rewrite("x * -1 -> -x", P.mul(X, MINUS_ONE), P.neg(X), EXACT),
    Rewrite("x / -1 -> -x", P.div(X, MINUS_ONE), P.neg(X), EXACT),
    Rewrite("x - 0 -> x", P.sub(X, ZERO), X, EXACT),
    Rewrite("x + -0 -> x", P.add(X, NEGATIVE_ZERO), X, EXACT),
    Rewrite("-(-x) -> x", P.neg(P.neg(X)), X, EXACT),
    Rewrite("x + -y -> x - y", P.add(X, P.neg(Y)), P.sub(X, Y), EXACT),
    Rewrite("x - -y -> x + y", P.sub(X, P.neg(Y)), P.add(X, Y), EXACT),
    Rewrite("-x * -y -> x * y", P.mul(P.neg(X), P.neg(Y)), P.mul(X, Y), EXACT),
    Rewrite("-x / -y -> x / y", P.div(P.neg(X), P.neg(Y)), P.div(X, Y), EXACT),
    Rewrite("x**1 -> x", P.integer_pow(X, exponent=1), X, EXACT),
    Rewrite("abs(-x) -> abs(x)", P.abs(P.neg(X)), P.abs(X), EXACT, is_signed),
    Rewrite("abs(x) * abs(x) -> x * x", P.mul(P.abs(X), P.abs(X)), P.mul(X, X), EXACT),
    Rewrite("abs(abs(x)) -> abs(x)", P.abs(P.abs(X)), P.abs(X), EXACT),
    Rewrite("not not x -> x", P.logical_not(P.logical_not(X)), X, EXACT),
    Rewrite("x and x -> x", P.logical_and(X, X), X, EXACT),
    Rewrite("x or x -> x", P.logical_or(X, X), X, EXACT),
    Rewrite("where(true, x, y) -> x", P.where(ONE, X, Y), X, EXACT),
    Rewrite("where(false, x, y) -> y", P.where(ZERO, X, Y), Y, EXACT),
    Rewrite("x and true -> x", P.logical_and(X, ONE), X, EXACT),
    Rewrite("where(c, x, x) -> x", P.where(C, X, X), X, EXACT),
    Rewrite("where(not c, x, y) -> where(c, y, x)", P.where(P.logical_not(C), X, Y), P.where(C, Y, X), EXACT),
    Rewrite(
        "where(c, where(c, x, y), z) -> where(c, x, z)",
        P.where(C, P.where(C, X, Y), Z),
        P.where(C, X, Z),
        EXACT,
    ),
    Rewrite(
        "where(c, x, where(c, y, z)) -> where(c, x, z)",
        P.where(C, X, P.where(C, Y, Z)),
        P.where(C, X, Z),
        EXACT,
    ),
    Rewrite("cast to the same type -> x", P.cast(X, dtype=A, weak=B), X, EXACT, same_cast),
    Rewrite("reshape to the same shape -> x", P.reshape(X, shape=A), X, EXACT, same_shape),
    Rewrite(
        "reshape(reshape(x)) -> reshape(x)",
        P.reshape(P.reshape(X, shape=A), shape=B),
        P.reshape(X, shape=B),
        EXACT,
    ),
    Rewrite("transpose that moves nothing -> x", P.transpose(X, perm=A), X, EXACT, is_identity),
    Rewrite(
        "transpose(transpose(x)) -> transpose(x)",
        P.transpose(P.transpose(X, perm=A), perm=B),
        lambda w, m: w.transpose(m["x"], perm=compose(m["b"], m["a"])),
        EXACT,
    ),
    Rewrite("broadcast to the same shape -> x", P.broadcast_to(X, shape=A), X, EXACT, same_shape),
    Rewrite(
        "broadcast(broadcast(x)) -> broadcast(x)",
        P.broadcast_to(P.broadcast_to(X, shape=A), shape=B),
        P.broadcast_to(X, shape=B),
        EXACT,
    ),
    Rewrite("slice of everything -> x", P.slice(X, index=A), X, EXACT, whole),
    Rewrite("slice(unslice(x)) -> x", P.slice(P.unslice(X, index=A, shape=B), index=A), X, EXACT),
    Rewrite(
        "sum of integers over axes of size 1 -> reshape",
        P.reduce_sum(X, axes=A, keepdims=KEEP),
        without_axes,
        EXACT,
        only_integer_units,
    ),
    Rewrite(
        "max over axes of size 1 -> reshape",
        P.reduce_max(X, axes=A, keepdims=KEEP),
        without_axes,
        EXACT,
        only_units,
    ),
    Rewrite(
        "min over axes of size 1 -> reshape",
        P.reduce_min(X, axes=A, keepdims=KEEP),
        without_axes,
        EXACT,
        only_units,
    ),
    *map(keepdims_row, REDUCERS),
)

# Differentiation must see these; nothing else needs to.
MARKERS: Final = (
    Rewrite("identity(x) -> x", P.identity(X), X, EXACT),
    Rewrite("stop_gradient(x) -> x", P.stop_gradient(X), X, EXACT),
)


def may_drop_broadcast(nodes: Nodes, data: dict[str, Any]) -> bool:
    args = data["args"]
    if len(args) < 2:
        return False
    for a in args:
        if nodes[a]["op"] == "broadcast_to":
            return is_elementwise(data["op"])
    return False


def drop_broadcast(w: RewritingWorld, node: int, data: dict[str, Any]) -> Value | None:
    """Use an operand unbroadcast where the other operands give an elementwise op its shape (float-exact)."""
    args, nodes, shape = data["args"], w.builder.nodes, data["type"].shape
    for k, a in enumerate(args):
        if nodes[a]["op"] != "broadcast_to":
            continue
        if any(j != k and nodes[b]["type"].shape == shape for j, b in enumerate(args)):
            small = nodes[a]["args"][0]
            operands = [Value(w, small if j == k else b) for j, b in enumerate(args)]
            return w.apply(data["op"], operands, **dict(data["attrs"]))  # type: ignore[no-any-return]
    return None


DROP_BROADCAST: Final = Procedure("drop_broadcast", may_drop_broadcast, drop_broadcast)


def may_strengthen(nodes: Nodes, data: dict[str, Any]) -> bool:
    if data["type"].weak:
        return False
    operand = nodes[data["args"][0]]
    op, type = operand["op"], operand["type"]
    if not (type.weak and type.dtype == data["type"].dtype):
        return False
    # differentiation looks for the identity where it stands
    return bool(operand["args"]) and is_elementwise(op) and op != "identity"


def strengthen(w: RewritingWorld, node: int, data: dict[str, Any]) -> Value | None:
    """Move a cast that only ends weakness from an op to its operands, so that rows see the op (float-exact)."""
    inner = w.builder.nodes[data["args"][0]]
    if inner["region"] != data["region"]:
        return None
    operands = [Value(w, a) for a in inner["args"]]
    if inner["op"] == "cast":
        return w.convert(operands[0], data["type"].dtype)  # type: ignore[no-any-return]
    strong = [w.convert(x, x.type.dtype) if x.type.weak else x for x in operands]
    return w.apply(inner["op"], strong, **dict(inner["attrs"]))  # type: ignore[no-any-return]


STRENGTHEN: Final = Procedure("strengthen", may_strengthen, strengthen, "cast")
