"""`jit`: what is compiled when, which guards hold, and that every call gives what the plain function gives."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc
from graphc.compiler import Compiled, Jitted
from graphc.errors import GraphcError, TraceError

Function = Callable[..., Any]
X = np.array([1.0, 2.0, 3.0])


def compiles(f: Any) -> int:
    text = f.explain()
    return 0 if text == "nothing compiled yet" else len(text.splitlines())


def check(f: Any, plain: Function, *arguments: Any) -> None:
    __tracebackhide__ = True
    expected, actual = np.asarray(plain(*arguments)), np.asarray(f(*arguments))
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


# --- how often ----------------------------------------------------------------------------------------------


def test_two_compiles_serve_all_sizes() -> None:
    f = graphc.jit(lambda x: np.tanh(x).sum(axis=0) * x.shape[0])
    assert f.explain() == "nothing compiled yet"
    for n in (3, 4, 5, 100, 0, 2):
        check(f, lambda x: np.tanh(x).sum(axis=0) * x.shape[0], np.ones((n, 2)))
    assert compiles(f) == 2


def test_two_compiles_per_dimension() -> None:
    f = graphc.jit(lambda x, y: x @ y)
    for n, k, m in [(2, 3, 4), (5, 3, 4), (6, 3, 4), (6, 7, 4), (6, 8, 4), (6, 8, 9), (3, 4, 5), (2, 2, 2), (9, 8, 7)]:
        check(f, lambda x, y: x @ y, np.ones((n, k)), np.ones((k, m)))
    assert compiles(f) == 4


def test_sizes_that_change_alike_share_a_name() -> None:
    f = graphc.jit(lambda x, y: x * y)
    for n in (2, 3, 4):
        f(np.ones(n), np.ones(n))
    assert compiles(f) == 2
    assert "(x: f64[n], y: f64[n])" in f.explain()
    with pytest.raises((GraphcError, ValueError)):
        f(np.ones(5), np.ones(6))
    check(f, lambda x, y: x * y, np.ones(7), np.ones(7))


def test_size_1_is_its_own_signature() -> None:
    def plain(x: Any, y: Any) -> Any:
        return (x + y) * 2

    f = graphc.jit(plain)
    for n, m in [(3, 3), (1, 3), (3, 1), (4, 4), (1, 4), (4, 1), (1, 1), (5, 5), (1, 5), (0, 0), (1, 0), (0, 1)]:
        check(f, plain, np.arange(float(n)), np.arange(float(m)))
    assert compiles(f) <= 8


def test_a_derived_size_of_1_broadcasts() -> None:
    def plain(x: Any, y: Any) -> Any:
        return x[: x.shape[0] // 2] + y

    f = graphc.jit(plain)
    for n, m in [(8, 4), (6, 3), (4, 2), (2, 4), (2, 3), (10, 5), (3, 7)]:
        check(f, plain, np.arange(float(n)), np.arange(float(m)))


def test_dtypes_ranks_and_weakness_compile_anew() -> None:
    f = graphc.jit(lambda x: x * 2)
    calls = [
        np.ones(3), np.ones(3, np.float32), np.ones((3, 3)), np.float64(2), 2.0, 2, True,
        np.array(2.0), np.ones(3, int), np.ones(3, ">f8"), np.asfortranarray(np.ones((3, 3))), [1.0, 2.0][0],
    ]  # fmt: skip
    for x in calls:
        expected = np.asarray(x) * 2
        np.testing.assert_array_equal(f(x), expected)
        assert f(x).dtype == expected.dtype.newbyteorder("=")
    assert compiles(f) == 8


def test_a_guard_adds_one_compile_for_each_answer() -> None:
    def plain(x: Any) -> Any:
        return x * 2 if x.shape[0] > 3 else x - 1

    f = graphc.jit(plain)
    for n in (2, 3, 4, 5, 2, 3, 9, 0, 4):
        check(f, plain, np.arange(float(n)))
    assert compiles(f) <= 3
    assert "guard" in f.explain()


@pytest.mark.parametrize(
    "plain",
    [
        lambda x: sum(x[i] * i for i in range(x.shape[0])) + x.sum(),
        lambda x: x * {3: 10.0, 4: 20.0}.get(x.shape[0], 30.0),
        lambda x: x * (2 if x.shape[0] in (3, 5) else 1),
        lambda x: x * (2 if x.shape == (4,) else 1),
        lambda x: x * len(x),
        lambda x: x * (2 if x.shape[0] % 2 == 0 else 3),
        lambda x: x * (2 if x.size else 3),
        lambda x: x * (1 if not x.shape[0] else x.shape[0]),
        lambda x: x * float(x.shape[0]) + int(x.shape[0]),
        lambda x: x.reshape(-1, 1) if x.shape[0] < 4 else x.reshape(1, -1),
        lambda x: x * max(x.shape[0], 4) + min(2, x.shape[0]),
        lambda x: np.zeros(x.shape[0]) + x,
        lambda x: x[: max(x.shape[0] - 2, 0)],
        lambda x: x * 2 ** x.shape[0],
        lambda x: x * (x.shape[0] / 2) * divmod(x.shape[0], 2)[1],
        lambda x: x * sorted([x.shape[0], 4])[0],
        lambda x: x * np.prod(x.shape),
        lambda x: x * round(x.shape[0] / 2) if isinstance(x, np.ndarray) else x * round(int(x.shape[0]) / 2),
        lambda x: x * len({x.shape[0], 4}),
        lambda x: x * int(f"{x.shape[0]:d}") if isinstance(x, np.ndarray) else x * int(x.shape[0]),
        lambda x: x + np.arange(x.shape[0]) if isinstance(x, np.ndarray) else x + graphc.numpy.arange(x.shape[0]),
    ],
)  # fmt: skip
def test_python_on_sizes(plain: Function) -> None:
    f = graphc.jit(plain)
    for n in (3, 4, 5, 6, 3, 4, 8, 2, 0, 1):
        check(f, plain, np.arange(float(n)) + 1)


def test_the_number_of_variants_is_bounded() -> None:
    f = graphc.jit(lambda x: sum(x[i] for i in range(x.shape[0])) + x.sum())
    for n in range(2, 60):
        assert f(np.ones(n)) == 2 * n
    assert len(f._variants) == 58
    g = graphc.jit(lambda x, k: x * k, static_argnums=1, cache_size=10)
    for k in range(50):
        assert g(2.0, k) == 2.0 * k
        assert g(3.0, 0) == 0.0  # used all the time, so it is kept
    assert len(g._variants) == 10
    assert len(g._signatures) == 10
    assert len(g._fast) <= 10
    assert compiles(g) == 50
    assert g(2.0, 5) == 10.0
    assert g.explain().endswith("k=5): needed again after it was dropped: cache_size is 10")
    everything = graphc.jit(lambda x, k: x * k, static_argnums=1, cache_size=None)
    for k in range(300):
        everything(2.0, k)
    assert len(everything._variants) == 300


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "3"])
def test_a_cache_size_is_a_positive_number(size: Any) -> None:
    with pytest.raises(TraceError, match="cache_size"):
        graphc.jit(np.sin, cache_size=size)


def test_one_compiled_function_is_enough_to_keep() -> None:
    f = graphc.jit(lambda x: x * 2, cache_size=1)
    for x in (1, 1.0, np.ones(3), np.ones((2, 2)), 1, 1.0):
        np.testing.assert_array_equal(f(x), np.asarray(x) * 2)
    assert len(f._variants) == len(f._signatures) == 1
    assert compiles(f) == 6


# --- arguments ----------------------------------------------------------------------------------------------


def test_static_arguments() -> None:
    def plain(x: Any, n: int, flag: bool = False, *, mode: str = "a") -> Any:
        for _ in range(n):
            x = x * 2
        return x + 1 if flag else -x if mode == "b" else x

    f = graphc.jit(plain, static_argnums=(1, 2), static_argnames="mode")
    for _ in range(2):
        assert f(1.0, 3) == 8.0
        assert f(1.0, 2, True) == 5.0
        assert f(1.0, 2, mode="b") == -4.0
        assert f(1.0, 2, mode="a") == 4.0
    named = graphc.jit(plain, static_argnames=("n", "flag", "mode"))
    assert named(1.0, n=3) == 8.0
    assert named(1.0, 3) == 8.0
    assert named(1.0, 3, True) == 9.0
    numbered = graphc.jit(plain, static_argnums=(1, 2))
    assert numbered(1.0, n=3, flag=True) == 9.0
    with pytest.raises(TraceError, match="hashable"):
        f(1.0, [3])


def test_static_arguments_that_are_equal_but_not_the_same() -> None:
    f = graphc.jit(lambda x, c: x * c, static_argnums=1)
    x = np.ones(2, np.float32)
    for c in (1, True, 1.0, np.float64(1), np.int64(1), 0.0, -0.0):
        check(f, lambda v, c: v * c, x, c)
        assert np.signbit(f(x, c)).tolist() == np.signbit(x * c).tolist()
    g = graphc.jit(lambda x, c: x * c[0], static_argnums=1)
    for one in (1, True, 1.0, np.float64(1)):
        check(g, lambda v, c: v * c[0], x, (one,))


def test_pytrees_and_keywords() -> None:
    def plain(p: Any, x: Any, *, scale: Any = 1.0, rest: Any = ()) -> Any:
        return {"y": p["w"] * x * scale, "n": [x, (scale,), None], "k": len(rest)}

    f = graphc.jit(plain)
    result = f({"w": np.ones(2)}, 3.0, scale=2.0)
    np.testing.assert_array_equal(result["y"], [6.0, 6.0])
    assert result["n"] == [3.0, (2.0,), None]
    assert result["k"] == 0
    assert f({"w": np.ones(2)}, 3.0, rest=(1.0, 2.0), scale=2.0)["k"] == 2
    f({"w": np.ones(2)}, scale=2.0, x=3.0)
    assert compiles(f) == 3
    f({"w": np.ones(2)}, 3.0, scale=5.0)
    assert compiles(f) == 3


def test_weak_arguments_follow_nep_50() -> None:
    f = graphc.jit(lambda x, c: x * c)
    x = np.ones(2, np.float32)
    for c, dtype in (
        (2.0, "float32"),
        (2, "float32"),
        (np.float64(2), "float64"),
        (np.float32(2), "float32"),
        (True, "float32"),
    ):
        assert f(x, c).dtype == dtype
    assert f(np.ones(2, np.int8), 2).dtype == np.int8
    assert f(np.ones(2, np.int8), 2.0).dtype == np.float64
    assert type(f(2, 3)) is np.int64
    with pytest.raises((OverflowError, GraphcError)):
        f(np.ones(2, np.int8), 2**70)


def test_not_arrays_are_refused() -> None:
    f = graphc.jit(lambda x: x)
    for bad in ("f64[3]", object(), b"x", np.array(["a"]), np.array([object()]), 1j, graphc.Spec((3,))):
        with pytest.raises((GraphcError, TypeError)):
            f(bad)
    assert compiles(f) == 0


def test_as_a_decorator() -> None:
    @graphc.jit
    def double(x: Any) -> Any:
        """Twice x."""
        return x * 2

    @graphc.jit(static_argnames=("n",))
    def power(x: Any, n: int) -> Any:
        return x**n

    assert double(3.0) == 6.0
    assert (double.__name__, double.__doc__) == ("double", "Twice x.")
    assert power(3.0, n=2) == 9.0
    assert graphc.jit(functools.partial(lambda a, x: a * x, 3.0))(2.0) == 6.0
    assert graphc.jit(np.sin)(0.0) == 0.0
    assert graphc.jit(lambda *xs: sum(xs))(1.0, 2.0, 3.0) == 6.0
    assert graphc.jit(lambda **k: k["a"] * k["b"])(a=2.0, b=3.0) == 6.0


def test_as_a_method() -> None:
    class Model:
        weight = 3.0

        @graphc.jit(static_argnums=0)
        def scaled(self, x: Any) -> Any:
            return self.weight * x

    assert Model().scaled(2.0) == 6.0
    assert isinstance(Model.scaled, Jitted)


def test_inside_other_traces() -> None:
    inner = graphc.jit(lambda x, y: np.sin(x) * y)
    outer = graphc.jit(lambda x: inner(x, x) + inner(x, 2.0))
    check(outer, lambda x: np.sin(x) * x + np.sin(x) * 2, np.arange(3.0))
    assert compiles(inner) == 0
    assert graphc.grad(inner)(0.0, 3.0) == 3.0
    assert graphc.grad(graphc.jit(graphc.grad(graphc.jit(lambda x: x**3))))(2.0) == 12.0
    constant = graphc.jit(lambda x: x * inner(0.5, 2.0))
    assert constant(1.0) == pytest.approx(2 * np.sin(0.5))
    static = graphc.jit(lambda x, n: x * n, static_argnums=1)
    assert graphc.jit(lambda x: static(x, 3) + static(x, n=4))(1.0) == 7.0


def test_explain_tells_why() -> None:
    f = graphc.jit(lambda x: x[0] + x[-1])
    f(np.ones(3))
    f(np.ones(4))
    f(np.ones(3, np.float32))
    assert f.explain().splitlines() == [
        "compiled for (x: f64[3]): first call",
        "compiled for (x: f64[n]): new sizes (x.shape[0] is 4, 3 was compiled); guards: 1 <= n",
        "compiled for (x: f32[3]): x is float32, before float64",
    ]


REASONS: tuple[tuple[tuple[Any, ...], dict[str, Any], str], ...] = (
    ((X.astype(np.float32),), {}, "x is float32, before float64"),
    ((X.reshape(1, 3),), {}, "x has 2 axes, before 1"),
    ((X[:1],), {}, "x.shape[0] is 1, which broadcasts"),
    ((2.0,), {}, "x is a Python float, before float64 with 1 axis"),
    ((3,), {}, "x is a Python int, before float64 with 1 axis"),
    ((True,), {}, "x is a Python bool, before float64 with 1 axis"),
    ((X, 2.0), {}, "y is new"),
    ((X,), {"y": 2.0}, "y is new"),
    (({"a": X},), {}, "x_a is new; x is missing"),
    ((X,), {"mode": "b"}, "mode='b', before 'a'"),
    ((X,), {"y": 2.0, "mode": "b"}, "mode='b', before 'a'; y is new"),
    ((), {"x": X}, "the arguments come in other tuples, lists or dicts, or by other names"),
)


@pytest.mark.parametrize(("args", "kwargs", "reason"), REASONS)
def test_explain_names_what_is_new(args: tuple[Any, ...], kwargs: dict[str, Any], reason: str) -> None:
    def plain(x: Any, y: Any = 1.0, *, mode: str = "a") -> Any:
        return {"m": mode == "a"}, x

    f = graphc.jit(plain, static_argnames="mode")
    f(X, mode="a")
    f(*args, **{"mode": "a", **kwargs})
    first, second = f.explain().splitlines()
    assert first == "compiled for (x: f64[3], mode='a'): first call"
    assert second.split("): ")[1] == reason


def test_explain_compares_with_the_nearest() -> None:
    f = graphc.jit(lambda x, n: x * n, static_argnames="n")
    f(X, 2)
    f(X.reshape(1, 3), 2)
    f(X.reshape(1, 3), 3)
    assert f.explain().splitlines()[-1] == "compiled for (x: f64[1,3], n=3): n=3, before 2"
    f(X[:1], 3)
    assert f.explain().splitlines()[-1].endswith("x has 1 axis, before 2")


def test_explain_says_where_a_size_was_asked_for() -> None:
    @graphc.jit
    def f(x: Any) -> Any:
        y = x + np.ones(x.shape[0])
        return y if x.shape[0] > 3 else -y

    for n in (5, 6):
        f(np.ones(n))
    asked = f.__wrapped__.__code__.co_firstlineno + 2
    assert f.explain().splitlines()[1].endswith(f"guards: n == 6 (test_jit.py:{asked})")
    g = graphc.jit(lambda x: x if x.shape[0] > 3 else -x)
    for n in (5, 6):
        g(np.ones(n))
    asked = g.__wrapped__.__code__.co_firstlineno
    assert g.explain().splitlines()[1].endswith(f"guards: 3 < n (test_jit.py:{asked})")


def test_explain_names_the_function_that_takes_sizes() -> None:
    f = graphc.jit(lambda x: x + np.arange(x.shape[0]))
    for n in (5, 6, 7):
        np.testing.assert_array_equal(f(np.ones(n)), 1 + np.arange(n))
    assert compiles(f) == 3
    line = f.explain().splitlines()[1]
    assert "could not be made symbolic" in line
    assert f"at test_jit.py:{f.__wrapped__.__code__.co_firstlineno}, fix: graphc.numpy.arange" in line
    g = graphc.jit(lambda x: x + graphc.numpy.arange(x.shape[0]))
    for n in (5, 6, 7):
        np.testing.assert_array_equal(g(np.ones(n)), 1 + np.arange(n))
    assert compiles(g) == 2


def test_a_retrace_that_fails_falls_back_to_one_size_at_a_time() -> None:
    def plain(x: Any) -> Any:
        return np.reshape(x, (2, 3) if x.shape[0] == 6 else (2, 2)) if isinstance(x, np.ndarray) else _by_table(x)

    def _by_table(x: Any) -> Any:
        if not isinstance(x.shape[0], int):
            raise KeyError("a size that is no int")
        return np.reshape(x, (2, x.shape[0] // 2))

    f = graphc.jit(plain)
    for n in (6, 4):
        assert f(np.arange(float(n))).shape == (2, n // 2)
    assert "could not be made symbolic" in f.explain()


# --- errors and threads -------------------------------------------------------------------------------------


def test_an_error_inside_leaves_nothing_behind() -> None:
    fail = [True]

    def plain(x: Any) -> Any:
        if fail[0]:
            raise ZeroDivisionError("on purpose")
        return x + 1

    f = graphc.jit(plain)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="on purpose"):
            f(1.0)
    assert compiles(f) == 0
    fail[0] = False
    assert f(1.0) == 2.0
    assert graphc.grad(lambda x: x**2)(3.0) == 6.0


def test_errors_at_run_time_pass_through() -> None:
    f = graphc.jit(lambda x, i: x[i])
    with pytest.raises(IndexError):
        f(np.ones(3), np.array([5]))
    np.testing.assert_array_equal(f(np.ones(3), np.array([2])), [1.0])


def test_leaked_values_are_refused() -> None:
    kept: list[Any] = []
    graphc.jit(lambda x: kept.append(x) or x)(1.0)  # type: ignore[func-returns-value]
    for use in (
        lambda: kept[0] + 1,
        lambda: np.sin(kept[0]),
        lambda: graphc.jit(lambda x: x)(kept[0]),
        lambda: bool(kept[0]),
    ):
        with pytest.raises(TraceError):
            use()
    with pytest.raises(TraceError):
        graphc.jit(lambda x: x * kept[0])(1.0)


def test_many_threads_compile_and_call() -> None:
    f = graphc.jit(lambda x, y: np.tanh(x @ y) * x.shape[0] + graphc.grad(lambda v: np.sum(v**3))(y).sum())
    rng = np.random.default_rng(3)
    inputs = [
        (rng.normal(size=(n, 3)), rng.normal(size=(3, m))) for n, m in [(2, 2), (3, 2), (4, 5), (1, 2), (5, 1), (6, 7)]
    ]
    expected = [np.tanh(x @ y) * x.shape[0] + (3 * y**2).sum() for x, y in inputs]
    errors: list[BaseException] = []
    start = threading.Barrier(8)

    def work(k: int) -> None:
        try:
            start.wait()
            for i in range(200):
                j = (i * 5 + k) % len(inputs)
                np.testing.assert_allclose(f(*inputs[j]), expected[j], rtol=1e-12)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert compiles(f) <= 8


def test_a_compiled_function_takes_the_sizes_of_the_trace_it_is_called_in() -> None:
    scaled = graphc.compile(lambda v: v * v.shape[0] + np.zeros_like(v).reshape(-1), "f64[n]")
    np.testing.assert_array_equal(graphc.jit(scaled)(np.ones(3)), [3, 3, 3])
    both = graphc.jit(lambda x: scaled(x[1:]) + scaled(x)[1:])
    for n in (2, 4, 5, 6):
        np.testing.assert_array_equal(both(np.ones(n)), np.full(n - 1, 2 * n - 1.0))
    assert compiles(both) == 2


def test_a_compiled_function_keeps_its_guards_where_it_is_inlined() -> None:
    added = graphc.compile(lambda x, y: x + y, "f64[n]", "f64[m]")
    with pytest.raises(graphc.errors.GuardError, match="assumption"):
        graphc.trace(lambda x, y: added(x, y), "f64[3]", "f64[4]")


# --- what runs ----------------------------------------------------------------------------------------------


def test_what_runs_can_be_looked_at() -> None:
    @graphc.jit(static_argnames="n")
    def f(x: Any, n: int = 2) -> Any:
        return np.log(1 + np.exp(x)) * n

    compiled = f.compiled_for(X, n=3)
    assert isinstance(compiled, Compiled)
    assert compiles(f) == 1
    assert "softplus" in compiled.source
    assert [compiled.graph.attrs(i)["name"] for i in compiled.graph.inputs] == ["x"]
    np.testing.assert_array_equal(compiled(X), f(X, n=3))
    assert f.compiled_for(X + 1, n=3) is compiled
    assert f.compiled_for(X, 3) is compiled
    assert f.compiled_for(X) is not compiled
    assert compiles(f) == 2
    g = graphc.grad(lambda p, k: np.sum(p["w"] ** k))
    assert repr(g.compiled_for({"w": X}, 3).graph.output_types) == "(f64[3],)"
    with pytest.raises(TraceError, match="part of their trace"):
        graphc.jit(lambda x: f.compiled_for(x))(X)


def test_the_cache_can_be_cleared() -> None:
    scale = [2.0]
    f = graphc.jit(lambda x: x * scale[0])
    assert f(1.0) == 2.0
    scale[0] = 3.0
    assert f(1.0) == 2.0
    f.clear_cache()
    assert f.explain() == "nothing compiled yet"
    assert f(1.0) == 3.0
    g = graphc.grad(lambda x: x * scale[0])
    assert g(1.0) == 3.0
    scale[0] = 4.0
    g.clear_cache()
    assert g(1.0) == 4.0


def test_names_of_graphs_and_inputs_are_the_users() -> None:
    def loss(w: Any, *, scale: Any, bias: Any = 0.0) -> Any:
        return np.sum(w["a"] * scale + bias)

    graph = graphc.jit(loss).compiled_for({"a": X}, scale=2.0).graph
    assert graph.name == "loss"
    assert [graph.attrs(i)["name"] for i in graph.inputs] == ["w_a", "scale"]
    graph = graphc.grad(loss).compiled_for({"a": X}, scale=2.0).graph
    assert graph.name == "grad_loss"
    assert [graph.attrs(i)["name"] for i in graph.inputs] == ["w_a", "scale"]


# --- threads and re-entrancy --------------------------------------------------------------------------------


def test_calling_itself() -> None:
    @graphc.jit(static_argnames="n")
    def power(x: Any, n: int) -> Any:
        return x if n == 1 else x * power(x, n - 1)

    np.testing.assert_array_equal(power(X, 4), X**4)
    assert compiles(power) == 1
    forever = graphc.jit(lambda x: forever(x))
    with pytest.raises(RecursionError):
        forever(X)
    np.testing.assert_array_equal(power(X, 3), X**3)


def test_compiling_itself_while_it_is_traced() -> None:
    @graphc.jit(static_argnames="n")
    def f(x: Any, n: int) -> Any:
        return x * (1.0 if n == 0 else float(f(2.0, n - 1)))  # on plain numbers: compiled and run in the trace

    assert f(3.0, 3) == 3.0 * 2.0**3
    assert compiles(f) == 4


def test_two_threads_that_call_each_others_functions() -> None:
    start = threading.Barrier(2)
    waited = [False, False]

    def make(k: int) -> Any:
        def f(x: Any, deep: bool) -> Any:
            if deep and not waited[k]:
                waited[k] = True
                start.wait(timeout=30)
            return x + (float(functions[1 - k](1.0, False)) if deep else 0.0)

        return graphc.jit(f, static_argnames="deep")

    functions = [make(0), make(1)]
    found: list[Any] = [None, None]

    def work(k: int) -> None:
        found[k] = functions[k](2.0, True)

    threads = [threading.Thread(target=work, args=(k,), daemon=True) for k in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == [3.0, 3.0]


def test_eviction_while_other_threads_call() -> None:
    f = graphc.jit(lambda x, k: x * k, static_argnames="k", cache_size=3)
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for i in range(60):
                k = (i * seed) % 7
                assert f(2.0, k) == 2.0 * k
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2, 3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(f._variants) == 3


# --- any calls, in any order --------------------------------------------------------------------------------


def _mixed(x: Any, y: Any = 2.0, *, mode: Any = "a", n: int = 1) -> Any:
    x = x["v"] if isinstance(x, dict) else x
    for _ in range(n):
        x = x * 2 if mode == "a" else x + y
    return {"x": x, "shape": (x.sum(), x if x.ndim and x.shape[0] > 3 else -x)}


ARRAYS = st.builds(
    lambda shape, dtype: np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape).astype(dtype),
    st.lists(st.integers(0, 6), max_size=2).map(tuple),
    st.sampled_from(["f8", "f4", "i8", ">f8"]),
)
NUMBERS = st.sampled_from([2, 2.0, True, np.float32(2), np.int64(3), -0.0])
CALLS = st.tuples(
    st.one_of(ARRAYS, ARRAYS.map(lambda x: {"v": x})),
    st.one_of(st.none(), NUMBERS),
    st.fixed_dictionaries({}, optional={"mode": st.sampled_from(["a", "b"]), "n": st.integers(0, 2)}),
)


@given(st.lists(CALLS, min_size=1, max_size=8), st.sampled_from([1, 2, 256]))
@settings(max_examples=60)
def test_any_calls_in_any_order(calls: list[Any], cache_size: int) -> None:
    f = graphc.jit(_mixed, static_argnames=("mode", "n"), cache_size=cache_size, kernels="none")
    for x, y, kwargs in calls * 2:
        args = (x,) if y is None else (x, y)
        expected, result = _mixed(*args, **kwargs), f(*args, **kwargs)
        for one, other in zip((result["x"], *result["shape"]), (expected["x"], *expected["shape"]), strict=True):
            np.testing.assert_array_equal(one, other)
            assert np.asarray(one).dtype == np.asarray(other).dtype.newbyteorder("=")
        assert len(f._variants) <= cache_size
        assert sum(len(v.variants) for v in f._signatures.values()) == len(f._variants)
        assert all(v.variants for v in f._signatures.values())
        assert {id(v) for v in (*f._fast.values(), *f._exact.values())} <= set(f._variants)
    once = len({repr(call) for call in calls})
    if cache_size == 256:
        assert compiles(f) <= 2 * once


def test_errors_of_calls_made_before_have_a_line() -> None:
    answers = [np.ones(3), np.ones(4)]
    f = graphc.jit(lambda x: graphc.pure_callback(lambda v: answers.pop(0), "f64[3]", x))
    f(X)
    with pytest.raises(GraphcError) as found:
        f(X)
    assert found.value.loc is not None
    assert found.value.loc.source == "f(X)"


def test_a_size_guarded_inside_and_outside_a_derivative_is_explained_once() -> None:
    def loss(w: Any, x: Any, t: Any) -> Any:
        return np.mean((x @ w)[np.arange(len(x)), t])

    f = graphc.jit(graphc.value_and_grad(loss))
    x, t = np.ones((5, 2)), np.array([0, 1, 2, 1, 0])
    for n in (5, 4):
        f(np.ones((2, 3)), x[:n], t[:n])
    guards = f.explain().rpartition("guards: ")[2]
    assert guards.count(" == ") == 1, guards
    np.testing.assert_array_equal(f(np.ones((2, 3)), x[:3], t[:3])[1], [[1 / 3] * 3] * 2)


DERIVED: dict[str, Callable[[Any], Any]] = {
    "grad": graphc.grad,
    "jit of grad": lambda f: graphc.jit(graphc.grad(f)),
    "grad of grad": lambda f: graphc.grad(lambda x, y: np.sum(graphc.grad(f)(x, y))),
    "jacobian": graphc.jacobian,
    "hessian": graphc.hessian,
    "jvp": lambda f: graphc.jit(lambda x, y: graphc.jvp(f, (x, y), (x, y))),
    "vjp": lambda f: graphc.jit(lambda x, y: graphc.vjp(f, x, y)[1](1.0)),
    "linearize": lambda f: graphc.jit(lambda x, y: graphc.linearize(f, x, y)[1](x, y)),
    "vmap": lambda f: graphc.jit(lambda x, y: graphc.vmap(f, in_axes=(None, 1))(x, y[:, None])),
}


@pytest.mark.parametrize("name", DERIVED)
def test_sizes_that_do_not_fit_are_the_same_error_in_a_derivative(name: str) -> None:
    f = DERIVED[name](lambda x, y: np.sum((x - y) ** 2))
    for n in (4, 5):
        f(np.ones(n), np.ones(n))
    with pytest.raises(graphc.errors.ShapeError, match="sub: shapes do not broadcast") as found:
        f(np.ones(5), np.ones(3))
    assert found.value.loc is not None
    assert "(x - y) ** 2" in found.value.loc.source
    assert "guards" not in f.explain()


@pytest.mark.parametrize("name", DERIVED)
def test_questions_about_sizes_are_guards_in_a_derivative(name: str) -> None:
    def loss(x: Any, y: Any) -> Any:
        return np.sum(x[:3] * y[:3]) ** 2 if x.shape[0] > 3 else np.sum(x * y) ** 2

    f, plain = DERIVED[name](loss), DERIVED[name](lambda x, y: np.sum(x[:3] * y[:3]) ** 2)
    for n in (10, 12, 2, 30, 3):
        x, y = np.arange(1.0, n + 1), np.linspace(0.5, 2.0, n)
        for found, wanted in zip(*(graphc.compiler.flatten(g(x, y))[0] for g in (f, plain)), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert compiles(f) == 3
    assert "test_jit.py" in f.explain().splitlines()[1].rpartition("guards: ")[2]
