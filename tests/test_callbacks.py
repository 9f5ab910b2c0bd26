"""`pure_callback`: Python code called when the graph runs, its results held to what was promised."""

from __future__ import annotations

import math
import pickle
import threading
from collections import namedtuple
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.compiler import check
from graphc.errors import (
    DifferentiationError,
    DTypeError,
    GraphcError,
    IRError,
    ParseError,
    ShapeError,
    StructureError,
    TraceError,
    UnsupportedError,
)
from graphc.ir import Callback
from graphc.printing import printing_to
from graphc.text import callbacks_of

Function = Callable[..., Any]
X = np.array([3.0, 1.0, 2.0])
TABLE = {1: 10.0, 2: 20.0}


def look_up(k: Any) -> float:
    return TABLE[int(k)]


def halves(x: Any) -> tuple[Any, Any]:
    return x[: len(x) // 2], x[len(x) // 2 :]


class Counter:
    """A function that counts its calls."""

    def __init__(self, f: Function = np.sort) -> None:
        self.f = f
        self.calls = 0

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        return self.f(*args)


# --- values -------------------------------------------------------------------------------------------------

Pair = namedtuple("Pair", "left right")

VALUES: tuple[tuple[str, Function, Any], ...] = (
    ("a number", lambda x: 2 * graphc.pure_callback(lambda v: float(v[0]), "f64[]", x), 6.0),
    ("an array", lambda x: graphc.pure_callback(np.sort, "f64[3]", x), [1, 2, 3]),
    ("the argument's own type", lambda x: graphc.pure_callback(np.sort, x, x), [1, 2, 3]),
    ("an example", lambda x: graphc.pure_callback(np.argsort, np.arange(3), x), [1, 2, 0]),
    ("a spec of sizes", lambda x: graphc.pure_callback(np.sort, graphc.Spec(x.shape, x.dtype), x), [1, 2, 3]),
    ("a scalar argument", lambda x: graphc.pure_callback(math.sqrt, "f64[]", x[0] + 1), 2.0),
    ("a keyword", lambda x: graphc.pure_callback(lambda a, *, b: a - b, "f64[3]", x, b=1.0), [2, 0, 1]),
    ("no argument", lambda x: x + graphc.pure_callback(lambda: 1.0, "f64[]"), [4, 2, 3]),
    ("several results", lambda x: np.concatenate(graphc.pure_callback(halves, ("f64[1]", "f64[2]"), x)), [3, 1, 2]),
    (
        "pytrees",
        lambda x: graphc.pure_callback(
            lambda p, q: {"sum": p.left + q["k"], "n": [len(p.right)]},
            {"sum": "f64[3]", "n": ["i64[]"]},
            Pair(x, x[:2]),
            {"k": x},
        )["sum"],
        [6, 2, 4],
    ),
    ("a Python number as float32", lambda x: graphc.pure_callback(lambda: 0.1, "f32[]"), np.float32(0.1)),
    ("a Python bool as int", lambda x: graphc.pure_callback(lambda: True, "i64[]"), 1),
    ("a bool", lambda x: graphc.pure_callback(lambda v: bool(v[0] > 0), "bool[]", x), True),
    ("int8", lambda x: graphc.pure_callback(lambda v: v.astype(np.int8), "i8[3]", x), np.int8([3, 1, 2])),
    ("another byte order", lambda x: graphc.pure_callback(lambda v: v.astype(">f8"), "f64[3]", x), [3, 1, 2]),
    ("an empty array", lambda x: graphc.pure_callback(lambda v: v[:0], "f64[0]", x), []),
    ("a partial", lambda x: graphc.pure_callback(partial(np.quantile, q=0.5), "f64[]", x), 2.0),
    ("a bound method", lambda x: graphc.pure_callback(TABLE.__getitem__, "f64[]", x.astype(int)[2]), 20.0),
    ("a jitted function", lambda x: graphc.pure_callback(graphc.jit(np.cumsum), "f64[3]", x), [3, 4, 6]),
    ("a callback in a callback", lambda x: graphc.pure_callback(_outer, "f64[3]", x), [2, 4, 6]),
)  # fmt: skip


def _outer(x: Any) -> Any:
    return graphc.jit(lambda v: 2 * graphc.pure_callback(np.sort, v, v))(x)


@pytest.mark.parametrize(("f", "expected"), [row[1:] for row in VALUES], ids=[row[0] for row in VALUES])
def test_values(f: Function, expected: Any) -> None:
    eager = np.asarray(f(X))
    for run in (f, graphc.jit(f), graphc.compile(f, "f64[3]"), graphc.jit(graphc.jit(f))):
        result = np.asarray(run(X))
        np.testing.assert_array_equal(result, expected)
        assert (result.dtype, result.shape) == (eager.dtype, eager.shape)
        assert result.dtype.isnative


def test_the_function_gets_arrays_and_scalars() -> None:
    seen: list[Any] = []

    def look(*args: Any) -> float:
        seen.extend(args)
        return 0.0

    x = np.ones((2, 3), np.float32)
    graphc.jit(lambda x, n, k: graphc.pure_callback(look, "f64[]", x, x[0, 0], n, k))(x, 3, np.int16(4))
    assert [type(v) for v in seen] == [np.ndarray, np.float32, np.int64, np.int16]
    assert (seen[0].dtype, seen[0].shape) == (np.float32, (2, 3))


def test_sizes_that_are_known_when_the_graph_runs() -> None:
    @graphc.jit
    def f(x: Any) -> Any:
        return graphc.pure_callback(np.sort, graphc.Spec(x.shape, x.dtype), x) * x.shape[0]

    for n in (3, 4, 5, 6):
        np.testing.assert_array_equal(f(np.arange(float(n))[::-1]), np.arange(float(n)) * n)
    assert len(f.explain().splitlines()) == 2
    g = graphc.compile(lambda x: graphc.pure_callback(lambda v: np.append(v, v), "f64[2*n]", x), "f64[n]")
    assert g(X).shape == (6,)
    with pytest.raises(TraceError, match="has the size m"):
        graphc.trace(lambda x: graphc.pure_callback(np.sort, "f64[m]", x), "f64[n]")
    with pytest.raises(TraceError, match="has the size n"):
        graphc.pure_callback(np.sort, "f64[n]", X)


def test_neither_side_sees_the_others_storage() -> None:
    kept: list[Any] = []
    own = np.array([1.0, 2.0, 3.0])

    def greedy(x: Any) -> Any:
        kept.append(x)
        x[0] = 99.0
        return own

    f = graphc.jit(lambda x: ((lambda y: (y + 1, y * 2, y))(graphc.pure_callback(greedy, x, x)), x * 3))
    x = X.copy()
    for _ in range(2):
        (one, two, three), other = f(x)
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(other, X * 3)
        np.testing.assert_array_equal(own, [1, 2, 3])
        for result in (one, two, three):
            assert not np.shares_memory(result, own)
            result[...] = -1
    np.testing.assert_array_equal(kept[0], [99, 1, 2])


def test_results_may_be_changed_in_place_in_the_trace() -> None:
    def f(x: Any) -> Any:
        a, b = graphc.pure_callback(lambda v: (v, v), (x, x), x)
        a += 1.0
        b *= 2.0
        return a, b

    a, b = graphc.jit(f)(X)
    np.testing.assert_array_equal(a, X + 1)
    np.testing.assert_array_equal(b, X * 2)


# --- how often ----------------------------------------------------------------------------------------------


def test_a_call_is_made_when_the_graph_runs_and_dropped_or_merged() -> None:
    counter = Counter()
    f = graphc.compile(lambda x: graphc.pure_callback(counter, x, x) + graphc.pure_callback(counter, x, x), "f64[3]")
    assert counter.calls == 0
    f(X)
    assert counter.calls == 1
    unused = graphc.compile(lambda x: (graphc.pure_callback(counter, x, x), x)[1], "f64[3]")
    unused(X)
    assert counter.calls == 1
    constant = graphc.compile(lambda x: x + graphc.pure_callback(counter, "f64[3]", X), "f64[3]")
    assert counter.calls == 1
    constant(X)
    constant(X)
    assert counter.calls == 3


def test_other_functions_of_one_name_are_not_merged() -> None:
    f = graphc.jit(lambda x: [graphc.pure_callback(lambda v, k=k: v + k, x, x) for k in range(3)])
    np.testing.assert_array_equal(f(X), [X, X + 1, X + 2])

    class Plus:
        def __init__(self, k: float) -> None:
            self.k = k

        def __eq__(self, other: object) -> bool:
            raise AssertionError("a function is told by its identity")

        __hash__ = None  # type: ignore[assignment]

        def __call__(self, x: Any) -> Any:
            return x + self.k

        def method(self, x: Any) -> Any:
            return x * self.k

    two, three = Plus(2.0), Plus(3.0)

    def g(x: Any) -> Any:
        made = [two, three, two, two.method, three.method, two.method]
        return [graphc.pure_callback(h, x, x) for h in made]

    np.testing.assert_array_equal(graphc.jit(g)(X), [X + 2, X + 3, X + 2, X * 2, X * 3, X * 2])
    graph = graphc.compile(g, "f64[3]").passes[-1].graph
    assert [data["op"] for data in graph._node.values()].count("pure_callback") == 4


# --- what breaks the promise --------------------------------------------------------------------------------

BROKEN: tuple[tuple[str, Any, Function, type[GraphcError], str, str], ...] = (
    ("another shape", "f64[4]", np.sort, ShapeError, "f64[4]", "f64[3]"),
    ("another rank", "f64[]", np.sort, ShapeError, "f64[]", "f64[3]"),
    ("another dtype", "f32[3]", np.sort, DTypeError, "f32[3]", "f64[3]"),
    ("an integer for a float", "f64[3]", np.argsort, DTypeError, "f64[3]", "i64[3]"),
    ("a NumPy scalar of another dtype", "f32[]", lambda x: x[0], DTypeError, "f32[]", "f64[]"),
    ("a Python float for an int", "i64[]", lambda x: 2.5, DTypeError, "i64[]", "f64[]"),
    ("a text", "f64[]", lambda x: "no", DTypeError, "f64[]", "a str"),
    ("an object", "f64[]", lambda x: object(), DTypeError, "f64[]", "a object"),
    ("masked elements", "f64[3]", lambda x: np.ma.masked_less(x, 2), DTypeError, "f64[3]", "a MaskedArray"),
    ("nothing", "f64[]", lambda x: None, StructureError, "f64[]", "None"),
    ("a list for an array", "f64[2]", lambda x: [1.0, 2.0], StructureError, "f64[2]", "[f64[]~, f64[]~]"),
    ("one for two", ("f64[3]", "f64[3]"), np.sort, StructureError, "(f64[3], f64[3])", "f64[3]"),
    ("another key", {"a": "f64[3]"}, lambda x: {"b": x}, StructureError, "{'a': f64[3]}", "{'b': f64[3]}"),
    ("a wrong second", ("f64[3]", "f64[]"), lambda x: (x, x), ShapeError, "f64[]", "f64[3]"),
)


@pytest.mark.parametrize(
    ("spec", "function", "kind", "expected", "actual"), [r[1:] for r in BROKEN], ids=[r[0] for r in BROKEN]
)
def test_results_that_are_not_as_promised(
    spec: Any, function: Function, kind: type[GraphcError], expected: str, actual: str
) -> None:
    def f(x: Any) -> Any:
        return graphc.pure_callback(function, spec, x)

    for run in (f, graphc.jit(f), graphc.compile(f, "f64[3]")):
        with pytest.raises(kind, match="not what the graph was built for") as found:
            run(X)
        error = found.value
        assert (error.expected, error.actual) == (expected, actual)
        assert "pure_callback" in error.problem
        assert error.loc is not None


def test_a_python_integer_out_of_range() -> None:
    with pytest.raises(OverflowError):
        graphc.jit(lambda: graphc.pure_callback(lambda: 300, "i8[]"))()


def test_errors_of_the_function_pass_through() -> None:
    f = graphc.jit(lambda k: graphc.pure_callback(look_up, "f64[]", k))
    for _ in range(2):
        with pytest.raises(KeyError, match="7"):
            f(7)
    assert f(1) == 10.0


def test_wrong_uses() -> None:
    with pytest.raises(TraceError, match="nothing to call"):
        graphc.pure_callback(3, "f64[]")  # type: ignore[arg-type]
    for nothing in (None, (), {}):
        with pytest.raises(TraceError, match="returns nothing"):
            graphc.pure_callback(np.sin, nothing, 1.0)
    with pytest.raises(ParseError):
        graphc.pure_callback(np.sin, "f65[]", 1.0)
    with pytest.raises(UnsupportedError):
        graphc.trace(lambda x: graphc.pure_callback(np.sin, "f64[]", x, "text"), "f64[]")


# --- derivatives --------------------------------------------------------------------------------------------


def test_a_derivative_that_depends_on_it_is_refused() -> None:
    def f(x: Any) -> Any:
        return np.sum(x * graphc.pure_callback(np.sort, x, x))

    for run in (
        lambda: graphc.grad(f)(X),
        lambda: graphc.jvp(f, (X,), (X,)),
        lambda: graphc.vjp(f, X),
        lambda: graphc.hessian(f)(X),
        lambda: graphc.jit(graphc.grad(f))(X),
    ):
        with pytest.raises(DifferentiationError, match=r"derivative of numpy.sort is not known") as found:
            run()
        assert found.value.loc is not None
        assert "graphc.pure_callback(np.sort" in found.value.loc.source


def test_derivatives_that_need_none() -> None:
    cases: tuple[tuple[Function, Any], ...] = (
        (lambda x: np.sum(x * graphc.pure_callback(np.argsort, "i64[3]", x)), np.argsort(X)),
        (lambda x: np.sum(x[graphc.pure_callback(np.argsort, "i64[3]", x)] * np.array([1.0, 10, 100])), [100, 1, 10]),
        (lambda x: np.sum(x * graphc.pure_callback(np.sort, x, graphc.stop_gradient(x))), np.sort(X)),
        (lambda x: np.sum(x * graphc.stop_gradient(graphc.pure_callback(np.sort, x, x))), np.sort(X)),
        (lambda x: np.sum(x * graphc.pure_callback(np.sort, "f64[3]", X)), np.sort(X)),
        (lambda x: np.sum(np.where(graphc.pure_callback(np.isfinite, "bool[3]", x), x, 0)), np.ones(3)),
        (lambda x: (graphc.pure_callback(np.sort, x, x), np.sum(x))[1], np.ones(3)),
    )
    for f, expected in cases:
        np.testing.assert_array_equal(graphc.grad(f)(X), expected)
        np.testing.assert_array_equal(graphc.jvp(f, (X,), (X,))[1], np.sum(np.multiply(expected, X)))


def test_the_argument_that_is_not_differentiated() -> None:
    f = graphc.grad(lambda x, k: x**2 * graphc.pure_callback(look_up, "f64[]", k))
    assert f(3.0, 2) == 120.0


# --- the graph ----------------------------------------------------------------------------------------------


def test_the_text_names_the_function(golden: Callable[[str, str], None]) -> None:
    def f(x: Any) -> Any:
        y = graphc.pure_callback(np.sort, graphc.Spec(x.shape, x.dtype), x)
        low, high = graphc.pure_callback(halves, (y, "i64[2]"), y)
        return low * high[0]

    graph = graphc.trace(f, "f64[n]")
    text = graphc.dump(graph, locations=False)
    golden("callbacks", text)
    again = graphc.parse(text)
    assert again == graph
    assert hash(again) == hash(graph)
    assert graphc.dump(again, locations=False) == text
    assert "numpy.sort" in graphc.dump(graph, "json")
    assert "numpy.sort" in graphc.dump(graph, "dot")
    with pytest.raises(IRError, match=r"numpy.sort is not here"):
        graphc.compile(again)
    assert [f.function for f in callbacks_of(graph)] == [np.sort, halves]
    with pytest.raises(IRError, match="not here"):
        callbacks_of(again)


def test_functions_are_given_to_parse_in_the_order_of_the_text() -> None:
    def f(x: Any) -> Any:
        return graphc.pure_callback(lambda v: v + 1, x, x) * graphc.pure_callback(lambda v: v * 2, x, x)

    graph = graphc.trace(f, "f64[3]")
    text = graphc.dump(graph)
    again = graphc.parse(text, callbacks=[lambda v: v + 10, lambda v: v * 20])
    np.testing.assert_array_equal(graphc.compile(again)(X)[0], (X + 10) * (X * 20))
    assert again != graph
    assert graphc.parse(text) == graph == graphc.parse(text, callbacks=callbacks_of(graph))
    for wrong in ([], [np.sin], [np.sin] * 3):
        with pytest.raises(ParseError, match="callbacks given"):
            graphc.parse(text, callbacks=wrong)


def test_reading_a_text_runs_nothing() -> None:
    text = (
        'graph f(%x: f64[]) -> f64[] { %1: (f64[]) = pure_callback[callback=callback "os.abort", dtypes=(f64,), '
        "shapes=((),)](%x) %2: f64[] = get[index=0](%1) return %2 }"
    )
    graph = graphc.parse(text)
    with pytest.raises(IRError, match="not here"):
        graphc.compile(graph)
    for bad in (
        text.replace('callback "os.abort"', '"os.abort"'),
        text.replace("dtypes=(f64,)", "dtypes=()"),
        text.replace("shapes=((),)", "shapes=((2,),)"),
        text.replace('callback "os.abort"', "callback os.abort"),
        text.replace('callback "os.abort"', "callback"),
    ):
        with pytest.raises(GraphcError):
            graphc.parse(bad)


def test_a_size_called_callback_is_read_back() -> None:
    graph = graphc.trace(lambda x: np.ones_like(x).sum() * x.shape[0], graphc.Spec(("callback",)))
    assert graphc.parse(graphc.dump(graph)) == graph


def test_pickles() -> None:
    def f(x: Any) -> Any:
        return np.sum(graphc.pure_callback(np.sort, x, x)) + graphc.pure_callback(look_up, "f64[]", 2)

    compiled = graphc.compile(f, "f64[3]")
    again = pickle.loads(pickle.dumps(compiled))
    assert again(X) == compiled(X) == 26.0
    assert pickle.loads(pickle.dumps(compiled.graph)) == compiled.graph
    local = graphc.compile(lambda x: graphc.pure_callback(lambda v: v, x, x), "f64[3]")
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(local)


def test_every_pass_keeps_the_rules() -> None:
    compiled = graphc.compile(lambda x: graphc.pure_callback(halves, ("f64[1]", "f64[2]"), np.exp(x))[1] * 2, "f64[3]")
    for step in compiled.passes:
        check(step.graph)
    assert compiled.memory() >= 3 * 8 + 3 * 8


def test_callbacks_compare_by_function_or_else_by_name() -> None:
    sort, flip, name = Callback("f", np.sort), Callback("f", np.flip), Callback("f", None)
    assert sort == Callback("f", np.sort)
    assert sort != flip
    assert sort != Callback("g", np.sort)
    assert sort == name == flip
    assert len({hash(sort), hash(flip), hash(name)}) == 1
    assert pickle.loads(pickle.dumps(sort)) == sort
    assert not name.known
    assert sort.known


def test_exact_mathematics_says_that_it_does_not_look_inside() -> None:
    def f(x: Any) -> Any:
        return np.sum(x * graphc.pure_callback(np.argsort, "i64[2]", x))

    with pytest.raises(UnsupportedError, match="runs Python code"):
        graphc.compile(f, "f64[2]", backend="sympy")([1, 2])
    with pytest.raises(UnsupportedError, match="runs Python code"):
        graphc.trace(f, "f64[2]").to_sympy()
    report = graphc.verify(f, "f64[2]", order=1)
    assert report.verdict == "undecided"
    assert report.exit_code == 2
    assert [entry.name for entry in report.entries] == ["d y / dx"]
    assert "numpy.argsort at test_callbacks.py" in report.entries[0].method
    assert "numpy.argsort" in str(report)
    unused = graphc.verify(lambda x: (graphc.pure_callback(np.argsort, "i64[2]", x), np.sum(x))[1], "f64[2]")
    assert unused.verdict == "proved"


def test_what_the_function_does_is_no_part_of_a_trace_around_it() -> None:
    lines: list[str] = []

    def talk(x: Any) -> Any:
        graphc.debug_print("called with {}", x)
        return graphc.grad(lambda v: v**2)(x)

    inner = graphc.jit(lambda x: graphc.pure_callback(talk, "f64[]", x))
    with printing_to(lines.append):
        outer = graphc.compile(lambda y: y * inner(3.0), "f64[]")
        assert lines == ["called with 3.0"]  # a call of plain numbers runs while the outer function is traced
        assert outer(2.0) == 12.0
    assert lines == ["called with 3.0"]
    assert outer.graph.effects == ()


def test_threads() -> None:
    f = graphc.compile(lambda x: graphc.pure_callback(lambda v: v * 2, x, x) + 1, "f64[3]")
    errors: list[BaseException] = []

    def work(k: int) -> None:
        try:
            for i in range(100):
                np.testing.assert_array_equal(f(X * k + i), (X * k + i) * 2 + 1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
