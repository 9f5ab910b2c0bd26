"""Stabilisation: naive formulas become ones that neither overflow nor cancel.

Every derivative is taken of the stabilised forward graph, so derivatives stay finite where the formula is.
All rows are equalities over the reals on the domain of the left side.
"""

from __future__ import annotations

from typing import Any, Final

from graphc.ops.world import GraphWorld, Value
from graphc.passes.rewrite import (
    ONE,
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
    scalar_value,
)
from graphc.passes.simplify import only_units, without_axes

X, Y, Z = Var("x"), Var("y"), Var("z")
A, B, C, KEEP = Attr("a"), Attr("b"), Attr("c"), Attr("keep")
REAL: Final = Law.REAL
POSITIVE: Final = Scalar("c", accept=lambda v: 0 < v < float("inf"))
# log(c) is rounded: for any larger c, the result would lose more near 0 than the naive formula does
MODERATE: Final = Scalar("c", accept=lambda v: 0.25 <= v <= 4)
HALF: Final = Scalar("half", 0.5)
MINUS_ONE: Final = Scalar("minus_one", -1.0)
SUM_EXP: Final = P.reduce_sum(P.exp(X), axes=A, keepdims=KEEP)


def spans(w: GraphWorld, m: Match) -> bool:
    """A reduced operand meets the unreduced one so that each row meets its own result."""
    axes, rank = m["a"], m["x"].type.ndim
    return bool(m["keep"] or axes == tuple(range(len(axes)))) and rank > 0


def is_own_maximum(w: GraphWorld, m: Match) -> bool:
    """The shift `y` is a maximum of `x` itself, one value along each of the softmax axes."""
    x, y = m["x"].type.shape, m["y"].type.shape
    lead = len(x) - len(y)
    nodes = w.builder.nodes
    data = nodes[m["y"].id]
    while data["op"] in ("reshape", "broadcast_to"):
        data = nodes[data["args"][0]]
    own = data["op"] == "reduce_max" and data["args"][0] == m["x"].id
    return own and lead >= 0 and all(i < lead or y[i - lead] == 1 for i in m["a"])


def is_own_maximum_again(w: GraphWorld, m: Match) -> bool:
    """The same, where the maximum meets the result of the reduction too, and has not more axes than that."""
    axes = m["a"]
    leading = axes == tuple(range(len(axes))) and m["y"].type.ndim <= m["x"].type.ndim - len(axes)
    return is_own_maximum(w, m) and bool(m["keep"] or leading)


def are_own_products(w: GraphWorld, m: Match) -> bool:
    """Each vector along the last axis of `x` is one row times the same as a column; the result has no more axes."""
    shape = m["x"].type.shape
    if not shape:
        return False
    lead, size = shape[:-1], shape[-1]
    return bool(m["a"] == (*lead, 1, size) and m["b"] == (*lead, size, 1) and m["c"] == lead)


def is_count(w: GraphWorld, m: Match) -> bool:
    """`y` is a positive constant or a size: what a sum is divided by to make a mean."""
    nodes = w.builder.nodes
    data = nodes[m["y"].id]
    while data["op"] in ("cast", "broadcast_to"):
        data = nodes[data["args"][0]]
    if data["op"] == "dim":
        return True
    value = scalar_value(nodes, m["y"].id)
    return value is not None and 0 < value < float("inf")


def is_size(w: GraphWorld, m: Match) -> bool:
    """`y` is a size or a constant that could be one: its log is small, so that little is lost where the result is 0."""
    value = scalar_value(w.builder.nodes, m["y"].id)
    return is_count(w, m) and (value is None or (1 <= value < 2**31 and value == int(value)))


ROWS: Final = (
    # log and exp near their zeros
    Rewrite("log(1 + x) -> log1p(x)", P.log(P.add(ONE, X)), P.log1p(X), REAL),
    Rewrite("log(1 - x) -> log1p(-x)", P.log(P.sub(ONE, X)), P.log1p(P.neg(X)), REAL),
    Rewrite("exp(x) - 1 -> expm1(x)", P.sub(P.exp(X), ONE), P.expm1(X), REAL),
    Rewrite("exp(x) + -1 -> expm1(x)", P.add(P.exp(X), MINUS_ONE), P.expm1(X), REAL),
    Rewrite("1 - exp(x) -> -expm1(x)", P.sub(ONE, P.exp(X)), P.neg(P.expm1(X)), REAL),
    Rewrite("log(exp(x)) -> x", P.log(P.exp(X)), X, REAL),
    Rewrite("log1p(expm1(x)) -> x", P.log1p(P.expm1(X)), X, REAL),
    # at 0 the limits of the value and of its derivative
    Rewrite("x * log(x) -> xlogx(x)", P.mul(X, P.log(X)), P.xlogx(X), REAL),
    Rewrite("-x * log(x) -> -xlogx(x)", P.mul(P.neg(X), P.log(X)), P.neg(P.xlogx(X)), REAL),
    # softplus and log(1 - exp)
    Rewrite("log1p(exp(x)) -> softplus(x)", P.log1p(P.exp(X)), P.softplus(X), REAL),
    Rewrite(
        "logaddexp(x, 0) -> softplus(x)",
        P.logaddexp(X, Scalar("zero", accept=lambda v: v == 0)),
        P.softplus(X),
        REAL,
    ),
    Rewrite("log1p(-exp(x)) -> log1mexp(-x)", P.log1p(P.neg(P.exp(X))), P.log1mexp(P.neg(X)), REAL),
    Rewrite("log(-expm1(x)) -> log1mexp(-x)", P.log(P.neg(P.expm1(X))), P.log1mexp(P.neg(X)), REAL),
    # the logistic function
    Rewrite("1 / (1 + exp(x)) -> sigmoid(-x)", P.div(ONE, P.add(ONE, P.exp(X))), P.sigmoid(P.neg(X)), REAL),
    Rewrite(
        "y / (1 + exp(x)) -> y * sigmoid(-x)",
        P.div(Y, P.add(ONE, P.exp(X))),
        P.mul(Y, P.sigmoid(P.neg(X))),
        REAL,
    ),
    Rewrite("exp(x) * sigmoid(-x) -> sigmoid(x)", P.mul(P.exp(X), P.sigmoid(P.neg(X))), P.sigmoid(X), REAL),
    Rewrite("exp(-x) * sigmoid(x) -> sigmoid(-x)", P.mul(P.exp(P.neg(X)), P.sigmoid(X)), P.sigmoid(P.neg(X)), REAL),
    Rewrite(
        "exp(x) / (exp(x) + exp(y)) -> share(x, y)", P.div(P.exp(X), P.add(P.exp(X), P.exp(Y))), P.share(X, Y), REAL
    ),
    Rewrite("1 - sigmoid(x) -> sigmoid(-x)", P.sub(ONE, P.sigmoid(X)), P.sigmoid(P.neg(X)), REAL),
    Rewrite("log(sigmoid(x)) -> -softplus(-x)", P.log(P.sigmoid(X)), P.neg(P.softplus(P.neg(X))), REAL),
    Rewrite("log1p(-sigmoid(x)) -> -softplus(x)", P.log1p(P.neg(P.sigmoid(X))), P.neg(P.softplus(X)), REAL),
    # the hyperbolic tangent
    Rewrite(
        "(exp(x) - exp(-x)) / (exp(x) + exp(-x)) -> tanh(x)",
        P.div(P.sub(P.exp(X), P.exp(P.neg(X))), P.add(P.exp(X), P.exp(P.neg(X)))),
        P.tanh(X),
        REAL,
    ),
    Rewrite(
        "expm1(x) / (1 + exp(x)) -> tanh(x / 2)",
        P.mul(P.expm1(X), P.sigmoid(P.neg(X))),
        P.tanh(P.mul(X, HALF)),
        REAL,
    ),
    Rewrite(
        "-expm1(x) / (1 + exp(x)) -> -tanh(x / 2)",
        P.mul(P.neg(P.expm1(X)), P.sigmoid(P.neg(X))),
        P.neg(P.tanh(P.mul(X, HALF))),
        REAL,
    ),
    Rewrite("1 - tanh(x)**2 -> sech2(x)", P.sub(ONE, P.mul(P.tanh(X), P.tanh(X))), P.sech2(X), REAL),
    # sums of exponentials
    Rewrite("log(exp(x) + exp(y)) -> logaddexp(x, y)", P.log(P.add(P.exp(X), P.exp(Y))), P.logaddexp(X, Y), REAL),
    Rewrite(
        "log((exp(x) + exp(y)) / c) -> logaddexp(x, y) - log(c)",
        P.log(P.div(P.add(P.exp(X), P.exp(Y)), MODERATE)),
        lambda w, m: w.logaddexp(m["x"], m["y"]) - w.log(m["c"]),
        REAL,
    ),
    Rewrite(
        "log(c * (exp(x) + exp(y))) -> logaddexp(x, y) + log(c)",
        P.log(P.mul(P.add(P.exp(X), P.exp(Y)), MODERATE)),
        lambda w, m: w.logaddexp(m["x"], m["y"]) + w.log(m["c"]),
        REAL,
    ),
    Rewrite(
        "log(sum(exp(x))) -> logsumexp(x)",
        P.log(SUM_EXP),
        P.logsumexp(X, axes=A, keepdims=KEEP),
        REAL,
    ),
    Rewrite(
        "log(sum(exp(x)) / y) -> logsumexp(x) - log(y)",
        P.log(P.div(SUM_EXP, Y)),
        lambda w, m: w.logsumexp(m["x"], axes=m["a"], keepdims=m["keep"]) - w.log(m["y"]),
        REAL,
        is_size,
    ),
    Rewrite("exp(x) / sum(exp(x)) -> softmax(x)", P.div(P.exp(X), SUM_EXP), P.softmax(X, axes=A), REAL, spans),
    Rewrite(
        "exp(x) / broadcast(sum(exp(x))) -> softmax(x)",
        P.div(P.exp(X), P.broadcast_to(SUM_EXP, shape=B)),
        P.softmax(X, axes=A),
        REAL,
        spans,
    ),
    Rewrite("log(softmax(x)) -> log_softmax(x)", P.log(P.softmax(X, axes=A)), P.log_softmax(X, axes=A), REAL),
    Rewrite(
        "x - logsumexp(x) -> log_softmax(x)",
        P.sub(X, P.logsumexp(X, axes=A, keepdims=KEEP)),
        P.log_softmax(X, axes=A),
        REAL,
        spans,
    ),
    Rewrite(
        "softmax(x - y) -> softmax(x)",
        P.softmax(P.sub(X, Y), axes=A),
        P.softmax(X, axes=A),
        REAL,
        is_own_maximum,
    ),
    Rewrite(
        "log_softmax(x - y) -> log_softmax(x)",
        P.log_softmax(P.sub(X, Y), axes=A),
        P.log_softmax(X, axes=A),
        REAL,
        is_own_maximum,
    ),
    Rewrite(
        "logsumexp(x - y) + y -> logsumexp(x)",
        P.add(P.logsumexp(P.sub(X, Y), axes=A, keepdims=KEEP), Y),
        P.logsumexp(X, axes=A, keepdims=KEEP),
        REAL,
        is_own_maximum_again,
    ),
    # roots of sums of squares
    Rewrite("sqrt(x * x) -> abs(x)", P.sqrt(P.mul(X, X)), P.abs(X), REAL),
    Rewrite("sqrt(x*x + y*y) -> hypot(x, y)", P.sqrt(P.add(P.mul(X, X), P.mul(Y, Y))), P.hypot(X, Y), REAL),
    Rewrite(
        "sqrt(x*x + c) -> hypot(x, sqrt(c))",
        P.sqrt(P.add(P.mul(X, X), POSITIVE)),
        lambda w, m: w.hypot(m["x"], w.sqrt(m["c"])),
        REAL,
    ),
    Rewrite(
        "sqrt(x*x + y*y + z*z) -> hypot(hypot(x, y), z)",
        P.sqrt(P.add(P.add(P.mul(X, X), P.mul(Y, Y)), P.mul(Z, Z))),
        P.hypot(P.hypot(X, Y), Z),
        REAL,
    ),
    Rewrite("sqrt(1 - x*x) -> cos(arcsin(x))", P.sqrt(P.sub(ONE, P.mul(X, X))), P.cos_arcsin(X), REAL),
    Rewrite("x / hypot(x, 1) -> sin(arctan(x))", P.div(X, P.hypot(X, ONE)), P.sin_arctan(X), REAL),
    Rewrite("1 / hypot(x, 1) -> cos(arctan(x))", P.div(ONE, P.hypot(X, ONE)), P.cos_arctan(X), REAL),
    Rewrite("y / hypot(x, 1) -> y * cos(arctan(x))", P.div(Y, P.hypot(X, ONE)), P.mul(Y, P.cos_arctan(X)), REAL),
    Rewrite(
        "sqrt(sum(x * x)) -> norm(x)",
        P.sqrt(P.reduce_sum(P.mul(X, X), axes=A, keepdims=KEEP)),
        P.reduce_norm(X, axes=A, keepdims=KEEP),
        REAL,
    ),
    Rewrite(
        "sqrt(x @ x) -> norm(x)",
        P.sqrt(P.reshape(P.matmul(P.reshape(X, shape=A), P.reshape(X, shape=B)), shape=C)),
        lambda w, m: w.reduce_norm(m["x"], axes=(m["x"].type.ndim - 1,), keepdims=False),
        REAL,
        are_own_products,
    ),
    Rewrite(
        "sqrt(sum(x * x) / y) -> norm(x) / sqrt(y)",
        P.sqrt(P.div(P.reduce_sum(P.mul(X, X), axes=A, keepdims=KEEP), Y)),
        lambda w, m: w.reduce_norm(m["x"], axes=m["a"], keepdims=m["keep"]) / w.sqrt(m["y"]),
        REAL,
        is_count,
    ),
    Rewrite(
        "sqrt(reshape(x * x)) -> reshape(abs(x))",
        P.sqrt(P.reshape(P.mul(X, X), shape=A)),
        P.reshape(P.abs(X), shape=A),
        REAL,
    ),
    Rewrite(
        "norm(x) * norm(x) -> sum(x * x)",
        P.mul(P.reduce_norm(X, axes=A, keepdims=KEEP), P.reduce_norm(X, axes=A, keepdims=KEEP)),
        P.reduce_sum(P.mul(X, X), axes=A, keepdims=KEEP),
        REAL,
    ),
    Rewrite(
        "hypot(x, y) * hypot(x, y) -> x*x + y*y",
        P.mul(P.hypot(X, Y), P.hypot(X, Y)),
        P.add(P.mul(X, X), P.mul(Y, Y)),
        REAL,
    ),
    # the sign of a zero is no reason to add up
    Rewrite(
        "sum over axes of size 1 -> reshape",
        P.reduce_sum(X, axes=A, keepdims=KEEP),
        without_axes,
        REAL,
        only_units,
    ),
    # hyperbolic and inverse functions written out
    Rewrite("log(cosh(x)) -> log_cosh(x)", P.log(P.cosh(X)), P.log_cosh(X), REAL),
    Rewrite("sinh(x) / cosh(x) -> tanh(x)", P.div(P.sinh(X), P.cosh(X)), P.tanh(X), REAL),
    Rewrite(
        "log((1 + x) / (1 - x)) -> 2 arctanh(x)",
        P.log(P.div(P.add(ONE, X), P.sub(ONE, X))),
        lambda w, m: 2 * w.arctanh(m["x"]),
        REAL,
    ),
    Rewrite("log(x + hypot(x, 1)) -> arcsinh(x)", P.log(P.add(X, P.hypot(X, ONE))), P.arcsinh(X), REAL),
    Rewrite("log(expm1(x)) -> x + log1mexp(x)", P.log(P.expm1(X)), P.add(X, P.log1mexp(X)), REAL),
    Rewrite("log(x / (1 - x)) -> logit(x)", P.log(P.div(X, P.sub(ONE, X))), P.logit(X), REAL),
    # the error function, the normal distribution and the gamma function
    Rewrite("1 - erf(x) -> erfc(x)", P.sub(ONE, P.erf(X)), P.erfc(X), REAL),
    Rewrite("1 + erf(x) -> erfc(-x)", P.add(ONE, P.erf(X)), P.erfc(P.neg(X)), REAL),
    Rewrite("1 - erfc(x) -> erf(x)", P.sub(ONE, P.erfc(X)), P.erf(X), REAL),
    Rewrite("1 - ndtr(x) -> ndtr(-x)", P.sub(ONE, P.ndtr(X)), P.ndtr(P.neg(X)), REAL),
    Rewrite("log(ndtr(x)) -> log_ndtr(x)", P.log(P.ndtr(X)), P.log_ndtr(X), REAL),
    Rewrite("log(erfc(x)) -> log_erfc(x)", P.log(P.erfc(X)), P.log_erfc(X), REAL),
    Rewrite("exp(x * x) * erfc(x) -> erfcx(x)", P.mul(P.exp(P.mul(X, X)), P.erfc(X)), P.erfcx(X), REAL),
    Rewrite("log(gamma(x)) -> gammaln(x)", P.log(P.gamma(X)), P.gammaln(X), REAL),
    # differences that cancel
    Rewrite(
        "sqrt(x + c) - sqrt(x) -> c / (sqrt(x + c) + sqrt(x))",
        P.sub(P.sqrt(P.add(X, POSITIVE)), P.sqrt(X)),
        lambda w, m: m["c"] / (w.sqrt(m["x"] + m["c"]) + w.sqrt(m["x"])),
        REAL,
    ),
    Rewrite(
        "1 - cos(x) -> 2 sin(x/2)**2",
        P.sub(ONE, P.cos(X)),
        lambda w, m: 2 * w.sin(0.5 * m["x"]) * w.sin(0.5 * m["x"]),
        REAL,
    ),
)

# Ops that only place the elements of their first operand elsewhere; a function of each element commutes with them.
MOVES: Final = frozenset({"slice", "reshape", "transpose", "broadcast_to", "gather"})


def behind_moves(nodes: Nodes, node: int) -> dict[str, Any]:
    """What the elements of a node are, before anything moved them."""
    while nodes[node]["op"] in MOVES:
        node = nodes[node]["args"][0]
    return nodes[node]


def has_stable_log(nodes: Nodes, node: int) -> bool:
    """Whether the log of this node's elements is better taken before they were exponentiated or normalised."""
    data = behind_moves(nodes, node)
    if data["op"] == "reduce_sum":
        return bool(nodes[data["args"][0]]["op"] == "exp")
    return bool(data["op"] in ("softmax", "sigmoid", "exp"))


def moved_log(w: GraphWorld, node: int) -> Value:
    """The log of a node, taken behind the moves."""
    data = w.builder.nodes[node]
    if data["op"] not in MOVES:
        return w.log(Value(w, node))  # type: ignore[no-any-return]
    first, *rest = data["args"]
    operands = [moved_log(w, first), *(Value(w, a) for a in rest)]
    return w.apply(data["op"], operands, **dict(data["attrs"]))  # type: ignore[no-any-return]


def may_move_log(nodes: Nodes, data: dict[str, Any]) -> bool:
    (operand,) = data["args"]
    return nodes[operand]["op"] in MOVES and has_stable_log(nodes, operand)


def move_log(w: RewritingWorld, node: int, data: dict[str, Any]) -> Value | None:
    """log(move(y)) -> move(log(y)) for softmax and other y whose log has a stable form (real-exact)."""
    return moved_log(w, data["args"][0])


def may_divide_exponentials(nodes: Nodes, data: dict[str, Any]) -> bool:
    above, below = (behind_moves(nodes, a) for a in data["args"])
    return bool(above["op"] == "exp" and below["op"] == "reduce_sum" and nodes[below["args"][0]]["op"] == "exp")


def divide_exponentials(w: RewritingWorld, node: int, data: dict[str, Any]) -> Value | None:
    """exp(x) / sum(exp(y)), elements moved or not -> exp(x - logsumexp(y)) (real-exact)."""
    above, below = (moved_log(w, a) for a in data["args"])
    return w.exp(above - below)  # type: ignore[no-any-return]


def overflows(nodes: Nodes, data: dict[str, Any]) -> bool:
    """Whether a node is what rows look for below a sum or a quotient: exp(x), 1 + exp(x), x * x."""
    args = data["args"]
    if data["op"] == "add":
        return any(nodes[a]["op"] == "exp" and scalar_value(nodes, b) is not None for a, b in (args, args[::-1]))
    return bool(data["op"] == "exp" or (data["op"] == "mul" and args[0] == args[1]))


def may_move_units(nodes: Nodes, data: dict[str, Any]) -> bool:
    inner = nodes[data["args"][0]]
    if not overflows(nodes, inner) or inner["region"] != data["region"]:
        return False
    before, after = ([d for d in part["type"].shape if d != 1] for part in (inner, data))
    return before == after


def move_units(w: RewritingWorld, node: int, data: dict[str, Any]) -> Value | None:
    """exp(x)[:, None] -> exp(x[:, None]), so that rows see an exp or a square that meets more axes (float-exact)."""
    nodes = w.builder.nodes
    inner, shape = nodes[data["args"][0]], data["type"].shape
    operands = [
        w.reshape(Value(w, a), shape=shape) if nodes[a]["type"].shape == inner["type"].shape else Value(w, a)
        for a in inner["args"]
    ]
    if any(x.type.shape not in (shape, ()) for x in operands):
        return None
    return w.apply(inner["op"], operands, **dict(inner["attrs"]))  # type: ignore[no-any-return]


MOVE_UNITS: Final = Procedure("exp(x)[:, None] -> exp(x[:, None])", may_move_units, move_units, "reshape")
MOVE_LOG: Final = Procedure("log(move(y)) -> move(log(y))", may_move_log, move_log, "log")
DIVIDE_EXPONENTIALS: Final = Procedure(
    "exp(x) / sum(exp(y)) -> exp(x - logsumexp(y))", may_divide_exponentials, divide_exponentials, "div"
)
PROCEDURES: Final = (MOVE_UNITS, MOVE_LOG, DIVIDE_EXPONENTIALS)
