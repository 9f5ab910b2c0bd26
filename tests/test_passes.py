"""The passes: each row fires and keeps its law, regions stay apart, guards and types stay, the pipeline settles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from benchmarks.tree import leaves
from graphc.backends.exact.jets import JetField
from graphc.backends.exact.reals import Digits
from graphc.backends.exact.world import evaluate as exact_evaluate
from graphc.compiler import Compiled, Options, check, trace_call
from graphc.dims import symbol
from graphc.errors import UnsupportedError
from graphc.ir import Builder, Graph, Guard, TensorType
from graphc.ops import TABLE
from graphc.ops.meaning import evaluate
from graphc.ops.world import GraphWorld, Value
from graphc.passes import pipeline, simplify, stabilise
from graphc.passes.rewrite import Attr, Law, Pattern, Rewrite, Rows, Scalar, Var, rewrite_graph

Function = Callable[..., Any]
F64, F32, I64, U8, BOOL = (np.dtype(d) for d in ("f8", "f4", "i8", "u1", "?"))
N = symbol("n")

# --- an example for every row, made from its pattern -------------------------------------------------------

# Of rows with attributes: what they are bound to, and the shapes of the variables.
BOUND: dict[str, dict[str, Any]] = {
    "cast to the same type -> x": {"a": F64, "b": False},
    "reshape to the same shape -> x": {"a": (2, 3)},
    "reshape(reshape(x)) -> reshape(x)": {"a": (6,), "b": (3, 2)},
    "transpose that moves nothing -> x": {"a": (0, 1)},
    "transpose(transpose(x)) -> transpose(x)": {"a": (1, 0), "b": (1, 0)},
    "broadcast to the same shape -> x": {"a": (2, 3)},
    "broadcast(broadcast(x)) -> broadcast(x)": {"a": (4, 2, 3), "b": (5, 4, 2, 3)},
    "sqrt(reshape(x * x)) -> reshape(abs(x))": {"a": (6,)},
    "sqrt(x @ x) -> norm(x)": {"a": (2, 1, 3), "b": (2, 3, 1), "c": (2,)},
    "slice of everything -> x": {"a": ((0, 2, 1), (0, 3, 1))},
    "slice(unslice(x)) -> x": {"a": ((1, 3, 1), (4, None, -2)), "b": (4, 5)},
    "sum of integers over axes of size 1 -> reshape": {"a": (0,), "keep": False, "shape": (1, 6), "dtype": I64},
    "sum over axes of size 1 -> reshape": {"a": (0,), "keep": False, "shape": (1, 6)},
    "max over axes of size 1 -> reshape": {"a": (0,), "keep": True, "shape": (1, 6)},
    "min over axes of size 1 -> reshape": {"a": (0,), "keep": False, "shape": (1, 6)},
    **{
        f"reshape({name}(x)) -> {name}[keepdims](x)": {"a": (1,), "b": (2, 1)}
        for name in ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "logsumexp", "reduce_norm")
    },
}
SOFTMAX = {"a": (1,), "keep": True, "b": (2, 3)}
# Where a formula is defined, if not everywhere.
POSITIVE_ARGUMENTS = {
    "log1p(-exp(x)) -> log1mexp(-x)": -1,
    "log(-expm1(x)) -> log1mexp(-x)": -1,
    "log(1 - x) -> log1p(-x)": -1,
    "log(1 + x) -> log1p(x)": 1,
    "log(expm1(x)) -> x + log1mexp(x)": 1,
    "log(gamma(x)) -> gammaln(x)": 1,
    "exp(x * x) * erfc(x) -> erfcx(x)": 1,
    "log(x / (1 - x)) -> logit(x)": 1,
    "x * log(x) -> xlogx(x)": 1,
    "-x * log(x) -> -xlogx(x)": 1,
    "sqrt(x + c) - sqrt(x) -> c / (sqrt(x + c) + sqrt(x))": 1,
    "log(sum(exp(x)) / y) -> logsumexp(x) - log(y)": 1,
    "sqrt(sum(x * x) / y) -> norm(x) / sqrt(y)": 1,
}
# Rows whose variables lie between -1 and 1 (and in the sign above).
INSIDE = {"log((1 + x) / (1 - x)) -> 2 arctanh(x)", "log(x / (1 - x)) -> logit(x)", "sqrt(1 - x*x) -> cos(arcsin(x))"}
# Rows whose condition asks more of a variable than its type.
DERIVED: dict[str, Function] = {
    "softmax(x - y) -> softmax(x)": lambda w, x: w.reduce_max(x, axes=(1,), keepdims=True),
    "log_softmax(x - y) -> log_softmax(x)": lambda w, x: w.reduce_max(x, axes=(1,), keepdims=True),
    "logsumexp(x - y) + y -> logsumexp(x)": lambda w, x: w.reduce_max(x, axes=(1,), keepdims=True),
    "sqrt(sum(x * x) / y) -> norm(x) / sqrt(y)": lambda w, x: w.constant(3.0, x.dtype),
    "log(sum(exp(x)) / y) -> logsumexp(x) - log(y)": lambda w, x: w.constant(3.0, x.dtype),
}
LOGICAL = {"logical_and", "logical_or", "logical_not"}


class Example:
    """A graph that a row's pattern matches, its variables being the inputs."""

    def __init__(self, row: Rewrite, dtype: np.dtype[Any], shape: tuple[Any, ...] | None = None) -> None:
        self.row = row
        self.bound = {**SOFTMAX, **BOUND.get(row.name, {})}
        self.dtype = self.bound.get("dtype", dtype)
        self.shape = self.bound.get("shape", shape or (2, 3))
        self.w = GraphWorld(Builder("example"))
        self.values: dict[str, Any] = {}
        self.graph = self.w.builder.finish([self.build(row.pattern, "").id])

    def build(self, term: Any, place: str) -> Any:
        if isinstance(term, Var):
            if term.name not in self.values:
                if term.name == "y" and self.row.name in DERIVED:
                    self.values["y"] = DERIVED[self.row.name](self.w, self.values["x"])
                else:
                    dtype = BOOL if place in LOGICAL or term.name == "c" else self.dtype
                    type = TensorType(self.shape, dtype)
                    self.values[term.name] = Value(self.w, self.w.builder.input(term.name, type))
            return self.values[term.name]
        if isinstance(term, Scalar):
            if term.value is not None:
                return self.w.constant(term.value, BOOL if place in {*LOGICAL, "condition"} else self.dtype)
            return self.w.constant(
                next(v for v in (-0.0, 0.0, 2.5) if term.accept is None or term.accept(v)), self.dtype
            )
        assert isinstance(term, Pattern)
        operands = [
            self.build(a, "condition" if term.op == "where" and not k else term.op) for k, a in enumerate(term.args)
        ]
        attrs = {k: self.bound[v.name] if isinstance(v, Attr) else v for k, v in term.attrs}
        return self.w.apply(term.op, operands, **attrs)


def specials(dtype: np.dtype[Any], shape: tuple[int, ...], shift: int) -> Any:
    """NaN, infinities, both zeros, the largest and the smallest, in another order for each input."""
    count = int(np.prod(shape))
    if dtype.kind == "b":
        pool = np.array([True, False, False])
    elif dtype.kind == "f":
        top = np.finfo(dtype)
        pool = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1.5, -2.5, top.max, -top.max, top.tiny / 4, 1.0], dtype)
    else:
        limits = np.iinfo(dtype)
        pool = np.array([0, 1, limits.max, limits.min, 3, limits.max - 1], dtype)
    return np.resize(np.roll(np.resize(pool, count * 11), shift * 3)[:: shift + 1], shape)


def by_numpy(graph: Graph, arrays: Any) -> list[Any]:
    values = dict(zip(graph.inputs, arrays, strict=True))
    with np.errstate(all="ignore"):
        for i, data in graph._node.items():
            if i not in values:
                values[i] = np.asarray(
                    evaluate(TABLE[data["op"]], [values[a] for a in data["args"]], dict(data["attrs"]))
                )
    return [values[o] for o in graph.outputs]


def bits(array: Any) -> Any:
    """The bit patterns, all NaNs alike."""
    if array.dtype.kind != "f":
        return array
    plain = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
    return np.ascontiguousarray(plain).view(f"u{array.dtype.itemsize}")


ROW_LIST = [*simplify.ROWS, *stabilise.ROWS]
PROCEDURES = list(dict.fromkeys([*stabilise.PROCEDURES, *pipeline.PROCEDURES]))


def dtypes_of(row: Rewrite) -> list[np.dtype[Any]]:
    """The dtypes that the row's pattern can be built in."""
    found = []
    for dtype in (F64, F32, I64, U8):
        try:
            Example(row, dtype)
        except (TypeError, OverflowError):
            continue
        found.append(dtype)
    return found


@pytest.mark.parametrize("row", ROW_LIST, ids=lambda row: row.name)
def test_each_row_fires_once_and_keeps_the_type(row: Rewrite) -> None:
    fired = 0
    for dtype in dtypes_of(row):
        example = Example(row, dtype)
        after, applied = rewrite_graph(example.graph, Rows([row]))
        if not applied:
            continue
        fired += 1
        assert applied == {row.name: 1}
        assert after.output_types == example.graph.output_types
        assert after.input_types == example.graph.input_types
        assert rewrite_graph(after, Rows([row]))[0] is after, "the row does not come to an end"
        assert after.name == example.graph.name
        check(after)
    assert fired


@pytest.mark.parametrize("row", [r for r in ROW_LIST if r.law is Law.EXACT], ids=lambda row: row.name)
def test_exact_rows_keep_every_bit(row: Rewrite) -> None:
    for dtype in dtypes_of(row):
        for shape in ((2, 3),) if row.name in BOUND or "softmax" in row.name else ((2, 3), (121,), ()):
            example = Example(row, dtype, shape)
            after, _ = rewrite_graph(example.graph, Rows([row]))
            for shift in range(4):
                arrays = [specials(t.dtype, t.shape, shift + 2 * k) for k, t in enumerate(example.graph.input_types)]  # type: ignore[arg-type]
                for before, now in zip(by_numpy(example.graph, arrays), by_numpy(after, arrays), strict=True):
                    assert (before.dtype, before.shape) == (now.dtype, now.shape)
                    np.testing.assert_array_equal(bits(now), bits(before))


POINTS = np.array([1e-9, 3e-4, 0.3, 1.0, 2.25, 7.0, 0.015625, 30.0, 1e-3, 0.75, 5.5, 12.0])


@pytest.mark.parametrize("row", [r for r in ROW_LIST if r.law is not Law.EXACT], ids=lambda row: row.name)
def test_real_rows_are_right_on_their_domain(row: Rewrite) -> None:
    example = Example(row, F64)
    after, _ = rewrite_graph(example.graph, Rows([row]))
    numbers = Digits(120)
    field = JetField(numbers)
    only = POSITIVE_ARGUMENTS.get(row.name, 0)
    points = POINTS / 32 if row.name in INSIDE else POINTS
    for shift, sign in ((0, 1), (5, -1), (3, 1), (2, -1)):
        if only and sign != only:
            continue
        arrays = [
            sign * np.roll(points, shift + 5 * k)[: int(np.prod(t.shape))].reshape(t.shape)  # type: ignore[arg-type]
            for k, t in enumerate(example.graph.input_types)
        ]
        (exact,) = exact_evaluate(example.graph, [field.array(a) for a in arrays], field)
        expected = np.vectorize(lambda v: numbers.centre(v.c[0]), otypes=[float])(exact)
        (now,) = by_numpy(after, arrays)
        np.testing.assert_allclose(now, expected, rtol=1e-13, atol=1e-300 if "cos" not in row.name else 1e-17)


def test_row_names_are_unique() -> None:
    names = [row.name for row in ROW_LIST]
    every = [*names, *(row.name for row in simplify.MARKERS), *(procedure.name for procedure in PROCEDURES)]
    assert [name for name in every if every.count(name) > 1] == []
    assert set(BOUND) <= set(names)
    assert set(POSITIVE_ARGUMENTS) <= set(names)
    assert set(names) >= INSIDE
    assert all(row.law is Law.EXACT for row in simplify.ROWS)


# --- procedures: rewrites without a pattern ------------------------------------------------------------------


def behind_a_cast(w: Any, x: Any) -> Any:
    """A weak sine, made strong."""
    weak = w.builder.input("weak", TensorType((), F64, weak=True))
    return x * w.cast(w.sin(Value(w, weak)), dtype=F64, weak=False)


def square(x: Any) -> Any:
    return x * x


# (procedure, a graph of x: f64[2,3] in which it fires, what it leaves out)
PROCEDURAL: tuple[tuple[str, Function, str], ...] = (
    (
        "exp(x)[:, None] -> exp(x[:, None])",
        lambda w, x: w.log(w.exp(x) + w.reshape(w.exp(w.reduce_max(x, axes=(1,), keepdims=False)), shape=(2, 1))),
        "exp",
    ),
    (
        "exp(x)[:, None] -> exp(x[:, None])",
        lambda w, x: x / w.reshape(1 + w.exp(w.reduce_max(x, axes=(1,), keepdims=False)), shape=(2, 1)),
        "div",
    ),
    (
        "exp(x)[:, None] -> exp(x[:, None])",
        lambda w, x: w.sqrt(x * x + w.reshape(square(w.reduce_max(x, axes=(1,), keepdims=False)), shape=(2, 1))),
        "sqrt",
    ),
    ("log(move(y)) -> move(log(y))", lambda w, x: w.log(w.transpose(w.softmax(x, axes=(1,)), perm=(1, 0))), "softmax"),
    ("log(move(y)) -> move(log(y))", lambda w, x: w.log(w.reshape(w.sigmoid(x), shape=(6,))), "sigmoid"),
    (
        "log(move(y)) -> move(log(y))",
        lambda w, x: w.log(w.slice(w.softmax(x, axes=(0,)), index=((0, 2, 1), (1, 2, 1)))),
        "softmax",
    ),
    (
        "log(move(y)) -> move(log(y))",
        lambda w, x: w.log(
            w.broadcast_to(
                w.reshape(w.reduce_sum(w.exp(x), axes=(1,), keepdims=False), shape=(2, 1)),
                shape=(2, 3),
            )
        ),
        "reduce_sum",
    ),
    (
        "exp(x) / sum(exp(y)) -> exp(x - logsumexp(y))",
        lambda w, x: (
            w.transpose(w.exp(x - 1), perm=(1, 0))
            / w.broadcast_to(w.reduce_sum(w.exp(x), axes=(1,), keepdims=False), shape=(3, 2))
        ),
        "div",
    ),
    (
        "exp(x) / sum(exp(y)) -> exp(x - logsumexp(y))",
        lambda w, x: w.reshape(w.exp(x), shape=(3, 2)) / w.reduce_sum(w.exp(x), axes=(0, 1), keepdims=False),
        "div",
    ),
    (
        "drop_broadcast",
        lambda w, x: x + w.broadcast_to(w.reduce_sum(x, axes=(0,), keepdims=False), shape=(2, 3)),
        "broadcast_to",
    ),
    ("strengthen", behind_a_cast, "nothing"),
    ("fold", lambda w, x: x * w.sin(w.constant(0.5, F64)), "sin"),
    ("pick", lambda w, x: w.gather(x, w.constant(np.array([2, -2, 0])), axis=1), "gather"),
)


def of_numbers(build: Function) -> Graph:
    w = GraphWorld(Builder("procedural"))
    x = Value(w, w.builder.input("x", TensorType((2, 3), F64)))
    return w.builder.finish([build(w, x).id])


@pytest.mark.parametrize(("name", "build", "gone"), PROCEDURAL)
def test_each_procedure_fires_and_keeps_its_law(name: str, build: Function, gone: str) -> None:
    (one,) = [procedure for procedure in PROCEDURES if procedure.name == name]
    before = of_numbers(build)
    rows = Rows((*stabilise.ROWS, *simplify.ROWS)) if one in stabilise.PROCEDURES else Rows(())
    after, applied = rewrite_graph(before, rows, (one,))
    assert applied.get(name)
    assert gone not in {data["op"] for data in after._node.values()}
    assert after.output_types == before.output_types
    assert rewrite_graph(after, rows, (one,))[0] is after, "the procedure does not come to an end"
    check(after)
    arrays = [np.resize(POINTS, t.shape) for t in before.input_types]  # type: ignore[arg-type]
    (expected,), (now,) = by_numpy(before, arrays), by_numpy(after, arrays)
    if one in stabilise.PROCEDURES:
        np.testing.assert_allclose(now, expected, rtol=1e-12, atol=1e-12)
        (large,) = by_numpy(after, [1e3 * a for a in arrays])
        assert np.isfinite(large).all(), "it is there for large numbers"
    else:
        np.testing.assert_array_equal(bits(now), bits(expected))


def test_every_procedure_has_an_example() -> None:
    assert {row[0] for row in PROCEDURAL} == {procedure.name for procedure in PROCEDURES}


# --- where a row must not fire ------------------------------------------------------------------------------

UNTOUCHED: tuple[tuple[str, Function], ...] = (
    ("0 * x keeps NaN and inf", lambda x: 0 * x),
    ("x - x keeps NaN", lambda x: x - x),
    ("x / x keeps NaN", lambda x: x / x),
    ("x + 0 turns -0.0 into 0.0", lambda x: x + 0),
    ("x + (y - x) rounds", lambda x: x + (1 - x)),
    ("x == x is false for NaN", lambda x: x == x),
    ("not (x < y) is not y <= x", lambda x: ~(x < 1)),
    ("sqrt(x)**2 is NaN below 0", lambda x: np.sqrt(x) * np.sqrt(x)),
    ("exp(log(x)) is NaN below 0", lambda x: np.exp(np.log(x))),
    ("(x * 2) / 2 may overflow", lambda x: x * 2 / 2),
    ("log of an unrelated sum", lambda x: np.log(2 + np.cos(x))),
    ("softmax over the wrong axis", lambda x: np.exp(x[:2, None]) / np.exp(x[:2, None]).sum(axis=0, keepdims=True).T),
)


@pytest.mark.parametrize("f", [row[1] for row in UNTOUCHED], ids=[row[0] for row in UNTOUCHED])
def test_what_no_row_may_touch(f: Function) -> None:
    x = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1.5, -2.5, 1e308])
    exact = graphc.compile(f, x, exact_order=True)(x)
    stable = graphc.compile(f, x, kernels="none")(x)
    with np.errstate(all="ignore"):
        expected = f(x)
    np.testing.assert_array_equal(bits(exact), bits(expected))
    np.testing.assert_array_equal(bits(stable), bits(expected))


def test_log1mexp_beyond_its_domain_is_numpys() -> None:
    x = np.array([1e-20, 1e-3, 1.0, 800.0, 0.0, -0.0, -1e-20, -1e-3, np.inf, -np.inf, np.nan])
    for f in (lambda v: np.log(1 - np.exp(v)), lambda v: np.log1p(-np.exp(v))):
        compiled = graphc.compile(f, x)
        assert "log1mexp" in graphc.dump(compiled.passes[-1].graph)
        with np.errstate(all="ignore"):
            expected, now = f(x), compiled(x)
        better = x == -1e-20
        np.testing.assert_array_equal(np.isnan(now), np.isnan(expected))
        np.testing.assert_allclose(now[~better], expected[~better], rtol=1e-12)
        np.testing.assert_allclose(now[better], np.log(1e-20), rtol=1e-15)


def test_logs_of_factors_are_split_off_only_where_little_is_lost() -> None:
    def close(f: Function, *arrays: Any) -> None:
        np.testing.assert_allclose(graphc.compile(f, *arrays)(*arrays), f(*arrays), rtol=4e-16, atol=1e-15)

    x, y = np.array([-690.8, -690.0]), np.array([-690.9, -692.0])
    for c in (1e300, 1e-300, 1e3, 1e-3, 5.0, 4.0, 0.25):
        up, down = np.log(c) - x[0], -np.log(c) - x[0]  # near the zeros of the logarithms
        close(lambda a, b, c=c: np.log(c * (np.exp(a) + np.exp(b))), x + down, y + down)
        close(lambda a, b, c=c: np.log((np.exp(a) + np.exp(b)) / c), x + up, y + up)
        close(lambda a, c=c: np.log(np.sum(np.exp(a)) / c), x + up)
    # what is gained for c = 2
    far = np.array([800.0, -800.0])
    np.testing.assert_allclose(
        graphc.compile(lambda v: np.log((np.exp(v) + np.exp(-v)) / 2), far)(far), 800 - np.log(2), rtol=1e-15
    )


def test_quotients_of_exponentials_keep_numpys_accuracy() -> None:
    x, y = np.array([600.1, -20.3, 3.0]), np.array([60.01, 33.7, 2.9])
    f = lambda a, b: np.exp(a) / np.exp(b)  # noqa: E731
    np.testing.assert_array_equal(graphc.compile(f, x, y, kernels="none")(x, y), f(x, y))
    # the difference of a logistic quotient is rounded, and finite where the exponentials are not
    f = lambda a, b: np.exp(a) / (np.exp(a) + np.exp(b))  # noqa: E731
    np.testing.assert_allclose(graphc.compile(f, x, y)(x, y), f(x, y), rtol=600 * 2.0**-53)
    np.testing.assert_array_equal(graphc.compile(f, x, y)(x + 1e4, x), 1.0)


def test_softmax_rows_need_matching_axes() -> None:
    """A square matrix over the wrong axis, without keepdims, broadcasts: it is no softmax."""
    x = np.array([[1.0, 2.0], [3.0, 5.0]])
    for f in (
        lambda v: np.exp(v) / np.exp(v).sum(axis=1),
        lambda v: np.exp(v) / np.exp(v).sum(axis=0),
        lambda v: np.log(np.exp(v) / np.exp(v).sum(axis=1)),
        lambda v: v - np.log(np.exp(v).sum(axis=1)),
        lambda v: v - np.log(np.exp(v).sum(axis=0)),
        lambda v: np.exp(v) / np.exp(v.T).sum(axis=1, keepdims=True),
        lambda v: np.exp(v) / np.exp(v).sum(),
        lambda v: v - np.log(np.exp(v).sum()),
        lambda v: np.exp(v[0]) / np.exp(v).sum(axis=1),
        lambda v: np.exp(v) / np.exp(v[0]).sum(),
    ):
        np.testing.assert_allclose(graphc.compile(f, x)(x), f(x), rtol=1e-14)


def test_weakness_hides_no_pattern() -> None:
    """What a Python number is passed to is stabilised like what an array is passed to."""
    for f, x in (
        (lambda v: np.log(1 + np.exp(v)), 1000.0),
        (lambda v: np.sqrt(v * v), -3.0),
        (lambda v: 1 / (1 + np.exp(-v)), -800.0),
    ):
        np.testing.assert_allclose(graphc.jit(f)(x), graphc.jit(f)(np.array([x]))[0])
        np.testing.assert_allclose(graphc.grad(f)(x), graphc.grad(lambda v, g=f: np.sum(g(v)))(np.array([x]))[0])


# --- passes as a whole --------------------------------------------------------------------------------------

PROGRAMS: tuple[tuple[str, Function, tuple[Any, ...]], ...] = (
    ("elementwise", lambda x: (x + 1) * (x + 1) - -x, ("f64[n]",)),
    ("softmax loss", lambda z: -np.mean(np.log(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))[:, 0]), ("f64[4,3]",)),
    ("gradient", graphc.grad(lambda x: np.sum(np.log(1 + np.exp(x @ x.T)))), ("f64[3,2]",)),
    ("guards", lambda x, y: x[:2] + y[:2] + np.squeeze(x[:1]), ("f64[n]", "f64[m]")),
    ("constants", lambda x: x * (np.ones(3) * 2 + np.arange(3.0)) + np.sin(0.5), ("f64[3]",)),
    ("weak", lambda x, c: np.sqrt(c * c) * x + np.log(1 + np.exp(c)), ("f64[3]", 1.0)),
    ("views", lambda x: x.T.T.reshape(2, 3).reshape(3, 2)[:, :].sum(axis=1, keepdims=True), ("f64[3,2]",)),
    (
        "second order",
        graphc.hvp(lambda x: np.sum(np.sqrt(x * x + 1) + np.where(x > 0, np.log(x), 0))),
        ("f64[3]", "f64[3]"),
    ),
)
EACH = pytest.mark.parametrize(("f", "specs"), [row[1:] for row in PROGRAMS], ids=[row[0] for row in PROGRAMS])
PASSES = pytest.mark.parametrize("one", pipeline.PIPELINE, ids=lambda p: p.name)


@EACH
@PASSES
def test_a_pass_keeps_types_guards_names_and_values(one: pipeline.Pass, f: Function, specs: Any) -> None:
    graph = trace_call(f, specs, {}).graph
    after, applied = one.run(graph)
    assert after.input_types == graph.input_types
    assert after.output_types == graph.output_types
    assert set(after.guards) == set(graph.guards)
    assert [after.attrs(i) for i in after.inputs] == [graph.attrs(i) for i in graph.inputs]
    check(after)
    assert (after is graph) == (not applied), "a pass that applies nothing gives the graph itself"
    assert one.run(graph)[0] == after, "a pass is a function of the graph"


@EACH
def test_the_pipeline_settles(f: Function, specs: Any) -> None:
    for passes in (pipeline.PIPELINE, pipeline.EXACT_PIPELINE, pipeline.FORWARD):
        graph = trace_call(f, specs, {}).graph
        for _ in range(3):
            once = pipeline.run(graph, passes, check)[-1].graph
            if once is graph:
                break
            graph = once
        assert pipeline.run(graph, passes)[-1].graph is graph


def test_a_pass_that_finds_nothing_gives_the_same_object() -> None:
    graph = trace_call(lambda x, y: np.sin(x) @ np.cos(y), ("f64[2,3]", "f64[3,2]"), {}).graph
    for one in pipeline.PIPELINE:
        assert one.run(graph) == (graph, {})
        assert one.run(graph)[0] is graph


def test_passes_are_found_by_name() -> None:
    assert pipeline.named("simplify") is pipeline.SIMPLIFY
    with pytest.raises(UnsupportedError, match="no pass called"):
        pipeline.named("nothing")


# --- regions ------------------------------------------------------------------------------------------------


def in_regions(regions: tuple[int, ...], build: Function) -> Graph:
    """The same computation once in each region, added up in region 0."""
    w = GraphWorld(Builder("regions"))
    x = Value(w, w.builder.input("x", TensorType((3,), F64)))
    fresh = {0: 0}
    results = []
    for region in regions:
        w.builder.region = fresh.setdefault(region, len(fresh))
        results.append(build(w, x))
    w.builder.region = 0
    return w.builder.finish([r.id for r in results])


REGIONAL: tuple[tuple[str, Function, str], ...] = (
    ("sin", lambda w, x: w.sin(x), "sin"),
    ("constant", lambda w, x: w.sin(x) * w.constant(np.arange(3.0)), "sin"),
    ("stabilised", lambda w, x: w.log(1 + w.exp(x)), "softplus"),
    ("simplified", lambda w, x: w.cos(w.neg(w.neg(x))), "cos"),
    ("folded", lambda w, x: w.exp(x * w.sin(w.constant(0.5))), "exp"),
    ("broadcast", lambda w, x: w.tanh(w.broadcast_to(w.constant(2.0), shape=(3,)) * x), "tanh"),
)


@pytest.mark.parametrize(("build", "op"), [row[1:] for row in REGIONAL], ids=[row[0] for row in REGIONAL])
def test_regions_stay_apart(build: Function, op: str) -> None:
    graph = in_regions((0, 1, 2, 1), build)
    for one in pipeline.PIPELINE:
        graph, _ = one.run(graph)
    for passes in (pipeline.PIPELINE, pipeline.EXACT_PIPELINE):
        graph = in_regions((0, 1, 2, 1), build)
        last = pipeline.run(graph, passes, check)[-1].graph
        found = [
            d["region"]
            for d in last._node.values()
            if d["op"] == (op if passes is pipeline.PIPELINE else op.replace("softplus", "log"))
        ]
        assert len(found) == len(set(found)) == 3
        assert len(set(last.outputs)) == 3, "equal nodes of one region are one node"
        x = np.array([0.1, 2.0, -3.0])
        for a, b in zip(by_numpy(last, [x]), by_numpy(graph, [x]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)


def test_derivatives_keep_regions_of_the_forward_graph() -> None:
    graph = in_regions((0, 1), lambda w, x: w.sin(x))
    compiled = graphc.compile(graph)
    first, second = compiled(np.arange(3.0))
    np.testing.assert_array_equal(first, second)
    assert not np.shares_memory(first, second)


# --- single passes ------------------------------------------------------------------------------------------


def test_cse_merges_and_dce_drops() -> None:
    w = GraphWorld(Builder("g"))
    x = Value(w, w.builder.input("x", TensorType((3,), F64)))
    y = w.sin(x)
    again = w.builder.nodes[y.id].copy()
    w.builder.nodes.append(again)  # what a builder would have merged
    total = Value(w, w.builder.add("add", (y.id, len(w.builder.nodes) - 1), (), y.type, (), None))
    graph = w.builder.finish([total.id])
    merged, applied = pipeline.cse(graph)
    assert applied == {"merged": 1}
    assert [d["op"] for d in merged._node.values()] == ["input", "sin", "add"]
    assert pipeline.dce(merged)[0] is merged


def test_constants_fold_by_numpys_own_arithmetic() -> None:
    def f(x: Any) -> Any:
        c = graphc.numpy.asarray(x) * 0 + (np.float32(0.1) + np.float32(0.2))
        return c + np.sin(np.arange(3.0)).sum()

    compiled = graphc.compile(f, "f64[3]")
    np.testing.assert_array_equal(compiled(np.zeros(3)), f(np.zeros(3)))
    w = GraphWorld(Builder("g"))
    folded = pipeline.fold(w.builder.finish([w.sin(w.constant(0.5)).id]))[0]
    assert [d["op"] for d in folded._node.values()] == ["const"]
    big = w.builder.finish([w.sin(w.constant(np.arange(1000.0))).id])
    assert pipeline.fold(big)[0] is big, "large results are not worth their place"


def test_markers_are_seen_by_differentiation_and_gone_after() -> None:
    graph = trace_call(lambda x: np.sin(x), ("f64[3]",), {}).graph
    w = GraphWorld(Builder("g"))
    x = Value(w, w.builder.input("x", TensorType((3,), F64)))
    marked = w.builder.finish([w.identity(w.neg(w.identity(w.neg(x)))).id])
    assert pipeline.simplify(marked)[0] is marked, "no row sees through a marker"
    assert [d["op"] for d in pipeline.run(marked, pipeline.PIPELINE)[-1].graph._node.values()] == ["input"]
    assert pipeline.unmark(graph)[0] is graph


def test_guards_survive_even_when_their_nodes_do_not() -> None:
    def f(x: Any, y: Any) -> Any:
        _ = x + y  # n == m is decided here
        return x * 2

    graph = trace_call(f, ("f64[n]", "f64[m]"), {}).graph
    assert graph.guards == (Guard("==", N, symbol("m")),)
    for step in pipeline.run(graph, pipeline.PIPELINE):
        assert step.graph.guards == graph.guards
    with pytest.raises(ValueError, match="assumption"):
        graphc.compile(f, "f64[n]", "f64[m]")(np.ones(2), np.ones(3))


# --- products turned round -----------------------------------------------------------------------------------


def turned(f: Function, *arguments: Any) -> tuple[Graph, int]:
    """The graph after the pass, checked against the function; and how many products were turned."""
    compiled = Compiled(graphc.compile(f, *arguments).graph, None, None, Options(passes=(pipeline.CSE, pipeline.TURN)))
    for a, b in zip(compiled(*arguments), leaves(f(*arguments)), strict=True):
        np.testing.assert_array_equal(a, b)  # of whole numbers
    return compiled.passes[-1].graph, compiled.passes[-1].applied.get("turned", 0)


def whole(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).integers(-9, 10, shape).astype(np.float64)


@pytest.mark.parametrize(
    ("f", "shapes"),
    [
        (lambda a, b: (a @ b).T + 1, ((3, 4), (4, 5))),
        (lambda a, b: (a.T @ b).T, ((4, 3), (4, 5))),
        (lambda a, b: np.swapaxes(a @ b, 1, 2) * 2, ((6, 3, 4), (4, 5))),
        (lambda a, b: np.swapaxes(a @ np.swapaxes(b, 1, 2), 1, 2), ((3, 4), (6, 5, 4))),
    ],
)
def test_the_transpose_of_a_product_is_a_product(f: Function, shapes: tuple[tuple[int, ...], ...]) -> None:
    found, count = turned(f, *[whole(*s) for s in shapes])
    assert count == 1
    nodes = found._node.values()
    assert sum(d["op"] == "matmul" for d in nodes) == 1
    for data in nodes:
        if data["op"] == "transpose":  # what is left is of operands, not of the product
            assert found._node[data["args"][0]]["op"] == "input"


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: ((a @ b).T, a @ b),
        lambda a, b: (a @ b).T + np.sum(a @ b),
        lambda a, b: (a + b).T,
        lambda a, b: np.transpose(np.stack([a, b]) @ a, (1, 0, 2)),
    ],
)
def test_other_products_are_left(f: Function) -> None:
    assert turned(f, whole(4, 4), whole(4, 4))[1] == 0
