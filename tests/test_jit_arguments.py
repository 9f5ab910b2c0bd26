"""What `jit` and the transforms take: static arguments, methods, pytrees, Python values; and what they are made of."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import pickle
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import optree
import pytest

import graphc
from graphc.compiler import Jitted
from graphc.errors import DTypeError, GraphcError, IntegerRangeError, TraceError

Function = Callable[..., Any]
X = np.array([1.0, 2.0, 3.0])


def compiles(f: Any) -> int:
    text = f.explain()
    return 0 if text == "nothing compiled yet" else len(text.splitlines())


# --- static arguments ---------------------------------------------------------------------------------------


def power(x: Any, n: int = 2, *, shift: int = 0) -> Any:
    assert type(n) is int
    assert type(shift) is int
    return x**n + shift


@pytest.mark.parametrize(
    "static",
    [
        {"static_argnums": (1,), "static_argnames": "shift"},
        {"static_argnums": 1, "static_argnames": ("shift",)},
        {"static_argnums": -1, "static_argnames": ["shift"]},
        {"static_argnums": [np.int64(1)], "static_argnames": ("shift",)},
        {"static_argnames": ("n", "shift")},
        {"static_argnums": (1, -1), "static_argnames": ("n", "shift")},
    ],
)
def test_static_however_they_are_passed(static: dict[str, Any]) -> None:
    f = graphc.jit(power, **static)
    for args, kwargs in (
        ((X,), {}),
        ((X, 3), {}),
        ((X,), {"n": 3}),
        ((), {"n": 3, "x": X}),
        ((), {"x": X}),
        ((X, 3), {"shift": 1}),
        ((X,), {"shift": 1, "n": 3}),
    ):
        for _ in range(2):
            np.testing.assert_array_equal(f(*args, **kwargs), power(*args, **kwargs))
    assert graphc.jit(f)(X).tolist() == (X**2).tolist()
    assert graphc.grad(lambda x: f(x, 3))(2.0) == 12.0


WRONG: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"static_argnums": 2}, "does not have", "-2 to 1"),
    ({"static_argnums": -3}, "does not have", "-2 to 1"),
    ({"static_argnames": "m"}, "does not have", "n shift x"),
    ({"static_argnums": "n"}, "not understood", "numbers"),
    ({"static_argnums": 1.0}, "not understood", "numbers"),
    ({"static_argnums": True}, "not understood", "numbers"),
    ({"static_argnums": (0, None)}, "not understood", "numbers"),
    ({"static_argnames": 1}, "not understood", "names"),
    ({"static_argnames": ["n", 2]}, "not understood", "names"),
)


@pytest.mark.parametrize(("static", "words", "expected"), WRONG)
def test_what_names_no_parameter_is_refused_when_it_is_made(static: dict[str, Any], words: str, expected: str) -> None:
    with pytest.raises(TraceError, match=words) as found:
        graphc.jit(power, **static)
    assert found.value.expected is not None
    assert found.value.expected.startswith(expected)
    assert found.value.loc is not None
    assert "graphc.jit(power" in found.value.loc.source


def test_static_numbers_of_any_number_of_arguments() -> None:
    f = graphc.jit(lambda *a: a[0] * (a[1] if isinstance(a[1], int) else 1) * len(a), static_argnums=(1, 5))
    assert f(2.0, 3) == 12.0
    assert f(2.0, 3, 4.0) == 18.0
    with pytest.raises(TraceError, match="any number") as found:
        graphc.jit(lambda *a: a, static_argnums=-1)
    assert "from 0" in str(found.value.expected)
    g = graphc.jit(lambda x, **k: x * len(k["mode"]), static_argnames="mode")
    assert g(2.0, mode="abc") == 6.0
    with pytest.raises(TraceError):
        graphc.jit(lambda *, n: n, static_argnums=0)


def test_static_arguments_have_to_be_hashable() -> None:
    f = graphc.jit(power, static_argnames=("n", "shift"))
    for args, kwargs, shown in (
        ((X, [3]), {}, "n=[3]"),
        ((X,), {"n": {"a": 1}}, "n={'a': 1}"),
        ((X, 2), {"shift": np.ones(2)}, "shift=array"),
        ((X, (1, [2])), {}, "n=(1, [2])"),
    ):
        with pytest.raises(TraceError, match="must be hashable") as found:
            f(*args, **kwargs)
        assert str(found.value.actual).startswith(shown)
        assert found.value.loc is not None
    assert compiles(f) == 0


def test_static_values_are_told_apart_by_type_and_sign() -> None:
    seen: list[Any] = []
    f = graphc.jit(lambda x, c: (seen.append(c), x)[1], static_argnames="c")
    values = (0, False, 0.0, -0.0, np.float32(0), np.int64(0), "0", (0,), (False,), (0.0,), None, frozenset({0}))
    for value in (*values, *values):
        f(X, value)
    assert len(seen) == len(values)
    assert [type(v) for v in seen] == [type(v) for v in values]
    f(X, float("nan"))
    f(X, float("nan"))
    assert len(seen) == len(values) + 1


# --- functions of every kind --------------------------------------------------------------------------------


class Model:
    """Methods of every kind."""

    scale = 2.0

    def __init__(self, weight: float = 3.0) -> None:
        self.weight = weight

    @graphc.jit
    def dynamic(self, x: Any) -> Any:
        return x * self.weight

    @graphc.jit(static_argnums=0)
    def by_number(self, x: Any) -> Any:
        """Weighted."""
        return x * self.weight

    @graphc.jit(static_argnames=("self", "n"))
    def by_name(self, x: Any, n: int = 1) -> Any:
        return x * self.weight * n

    @staticmethod
    @graphc.jit
    def outer_static(x: Any) -> Any:
        return x + 1

    @graphc.jit
    @staticmethod
    def inner_static(x: Any) -> Any:
        return x + 2

    @classmethod
    @graphc.jit(static_argnums=0)
    def of_class(cls, x: Any) -> Any:
        return x * cls.scale

    @functools.partial(graphc.grad, argnums=1)
    def slope(self, x: Any) -> Any:
        return x**2 * self.weight

    def plain(self, x: Any) -> Any:
        return x * self.weight

    def __call__(self, x: Any) -> Any:
        return -x * self.weight


def test_methods() -> None:
    model, other = Model(), Model(5.0)
    for _ in range(2):
        assert model.by_number(2.0) == 6.0
        assert other.by_number(2.0) == 10.0
        assert Model.by_number(model, 2.0) == 6.0
        assert model.by_name(2.0, n=4) == 24.0
        assert model.outer_static(2.0) == Model.outer_static(2.0) == 3.0
        assert model.inner_static(2.0) == Model.inner_static(2.0) == 4.0
        assert model.of_class(2.0) == Model.of_class(2.0) == 4.0
        assert model.slope(2.0) == 12.0
        assert Model.slope(other, 2.0) == 20.0
    assert isinstance(Model.by_number, Jitted)
    assert Model.by_number.__doc__ == "Weighted."
    with pytest.raises(TraceError, match="argument self: a Model is not an array") as found:
        model.dynamic(2.0)
    assert "static_argnames='self'" in str(found.value.fix)


def test_functions_of_every_kind() -> None:
    model = Model()
    functions: tuple[tuple[Any, float], ...] = (
        (graphc.jit(model.plain), 6.0),
        (graphc.jit(model), -6.0),
        (graphc.jit(functools.partial(lambda a, x: a * x, 3.0)), 6.0),
        (graphc.jit(functools.partial(lambda x, a: a * x, a=3.0)), 6.0),
        (graphc.jit(functools.partial(lambda a, x, n: a * x * n, 3.0, n=1)), 6.0),
        (graphc.jit(graphc.jit(lambda x: 3 * x)), 6.0),
        (graphc.jit(graphc.grad(lambda x: 1.5 * x**2)), 6.0),
        (graphc.jit(graphc.compile(lambda x: 3 * x, "f64[]")), 6.0),
        (graphc.jit(functools.lru_cache(lambda x: 3 * x)), 6.0),
        (graphc.jit(lambda *xs: sum(xs) * 3), 6.0),
        (graphc.jit(np.abs), 2.0),
        (graphc.jit(Model.__call__, static_argnums=0), None),
    )
    for f, expected in functions:
        if expected is not None:
            assert f(2.0) == f(2.0) == expected
    assert functions[-1][0](model, 2.0) == -6.0
    for nothing in (3, None, "f", classmethod(lambda cls, x: x)):
        with pytest.raises(TraceError, match="there is no function"):
            graphc.jit(nothing) if nothing is not None else graphc.grad(nothing)  # type: ignore[arg-type]


def test_calls_that_do_not_fit_the_signature_fail_as_the_function_does() -> None:
    def f(x: Any, y: Any) -> Any:
        return x + y

    for jitted in (graphc.jit(f), graphc.jit(f, static_argnames="y"), graphc.grad(f)):
        for args, kwargs in (((X,), {}), ((X, X, X), {}), ((X, 2), {"y": 2}), ((X, 2), {"z": 2})):
            with pytest.raises(TypeError, match="argument"):
                jitted(*args, **kwargs)
        assert compiles(jitted) == 0


def documented(x: float, n: int = 2) -> float:
    """Twice x."""
    return x * n


def test_metadata_are_the_functions() -> None:
    f = graphc.jit(documented, static_argnames="n")
    assert (f.__name__, f.__qualname__, f.__module__, f.__doc__) == (
        "documented",
        "documented",
        __name__,
        "Twice x.",
    )
    assert f.__wrapped__ is documented
    assert inspect.signature(f) == inspect.signature(documented)
    assert inspect.unwrap(f) is documented
    assert f.__annotations__ == documented.__annotations__
    assert repr(f) == "<jit documented>"
    g = graphc.grad(documented)
    assert inspect.signature(g) == inspect.signature(documented)
    assert (g.__name__, g.__doc__) == ("grad_documented", "Twice x.")
    assert callable(f)
    assert graphc.jit(lambda x: x).__name__ == "<lambda>"
    documented.explain = "not ours"  # type: ignore[attr-defined]
    try:
        assert graphc.jit(documented).explain() == "nothing compiled yet"
    finally:
        del documented.explain  # type: ignore[attr-defined]


# --- pickles and copies -------------------------------------------------------------------------------------


@graphc.jit(static_argnames="n")
def decorated(x: Any, n: int = 2) -> Any:
    return x * n


@graphc.grad
def decorated_slope(x: Any) -> Any:
    return x**3


def test_pickles() -> None:
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    assert pickle.loads(pickle.dumps(decorated_slope)) is decorated_slope
    assert pickle.loads(pickle.dumps(Model.by_number)) is Model.by_number
    assert copy.deepcopy(decorated) is decorated
    f = graphc.jit(power, static_argnums=1, static_argnames="shift", exact_order=True, cache_size=7)
    f(X, 3, shift=1)
    again = pickle.loads(pickle.dumps(f))
    assert compiles(again) == 0
    assert again._arguments == f._arguments
    np.testing.assert_array_equal(again(X, 3, shift=1), f(X, 3, shift=1))
    for made in (
        graphc.grad(power),
        graphc.value_and_grad(power),
        graphc.jacfwd(power),
        graphc.jacrev(power),
        graphc.hessian(power),
        graphc.jit(graphc.grad(power)),
        graphc.grad(graphc.jit(power, static_argnames=("n", "shift"))),
    ):
        expected = made(2.0)
        for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made), copy.copy(made)):
            assert again(2.0) == expected
    product = pickle.loads(pickle.dumps(graphc.hvp(power)))
    assert product(2.0, 3.0) == 6.0
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(graphc.jit(lambda x: x))


# --- pytrees ------------------------------------------------------------------------------------------------

Pair = namedtuple("Pair", "first second")


@dataclasses.dataclass
class Point:
    x: Any
    y: Any


@dataclasses.dataclass
class Registered:
    weight: Any
    name: str


optree.register_pytree_node(
    Registered,
    lambda r: ((r.weight,), r.name, ("weight",)),
    lambda name, children: Registered(children[0], name),
    namespace="graphc",
)


def test_pytrees_of_every_kind() -> None:
    trees: tuple[tuple[Any, Function], ...] = (
        (Pair(X, 2.0), lambda t: Pair(t.second, t.first * t.second)),
        ({"b": X, "a": 2.0}, lambda t: {"c": t["a"] * t["b"]}),
        (OrderedDict(b=X, a=2.0), lambda t: OrderedDict((k, v * 2) for k, v in t.items())),
        (defaultdict(list, a=X), lambda t: [t["a"] * 2]),
        ([X, (2.0, [X])], lambda t: (t[0] * t[1][0], t[1][1])),
        ({1: X, 2: X}, lambda t: t[1] + t[2]),
        ((X, None, {}), lambda t: (t[0] * 2, t[1], None, [], {})),
        (Registered(X, "w"), lambda t: Registered(t.weight * 2, t.name + "2")),
        ({}, lambda t: X * 2),
        ((), lambda t: ()),
    )
    for tree, f in trees:
        jitted = graphc.jit(f)
        expected, result = f(tree), jitted(tree)
        assert type(result) is type(expected)
        leaves, structure = optree.tree_flatten(expected, namespace="graphc")
        found, given = optree.tree_flatten(result, namespace="graphc")
        assert given == structure
        for one, other in zip(found, leaves, strict=True):
            np.testing.assert_array_equal(one, other)
        jitted(tree)
        assert compiles(jitted) == 1


def test_what_a_pytree_holds_beside_arrays_is_a_part_of_its_structure() -> None:
    f = graphc.jit(lambda r: r.weight * len(r.name))
    assert f(Registered(2.0, "ab")) == 4.0
    assert f(Registered(2.0, "abc")) == 6.0
    assert compiles(f) == 2
    g = graphc.jit(lambda x, y: x if y is None else x * y)
    assert (g(2.0, None), g(2.0, 3.0), g(2.0, None)) == (2.0, 6.0, 2.0)
    h = graphc.jit(lambda d: sum(d.values()))
    assert h({"a": 1.0, "b": 2.0}) == h({"b": 2.0, "a": 1.0}) == 3.0
    assert compiles(h) == 1


def test_a_class_that_is_no_pytree_is_refused_with_the_way_out() -> None:
    with pytest.raises(TraceError, match="argument p: a Point is not an array") as found:
        graphc.jit(lambda p: p.x)(Point(X, X))
    assert "register_pytree_node(Point" in str(found.value.fix)
    with pytest.raises(TraceError, match="argument q_a_1: a Point"):
        graphc.jit(lambda p, q: p)(X, {"a": [X, Point(X, X)]})


def test_results_of_every_kind() -> None:
    for f in (lambda x: None, lambda x: (), lambda x: [], lambda x: {}, lambda x: (None, {"a": ()})):
        assert graphc.jit(f)(X) == f(X)
    x = X.copy()
    same, twice = graphc.jit(lambda x: (x, [x, x]))(x)
    for result in (same, *twice):
        assert not np.shares_memory(result, x)
        np.testing.assert_array_equal(result, x)
    assert not np.shares_memory(*twice)
    assert graphc.jit(lambda x: (1, 2.5, True, np.float32(3), np.arange(3)))(X)[:4] == (1, 2.5, True, 3.0)
    for bad in ("text", object(), np.sin, {"a": "text"}):
        with pytest.raises(GraphcError):
            graphc.jit(lambda x, bad=bad: bad)(X)


# --- arrays of every kind -----------------------------------------------------------------------------------


class Sub(np.ndarray):  # type: ignore[type-arg]
    def __array_finalize__(self, other: Any) -> None:
        pass

    def __add__(self, other: Any) -> Any:
        raise AssertionError("a subclass's own arithmetic")


def test_arrays_of_every_kind() -> None:
    f = graphc.jit(lambda x: x * 2 + x.sum())
    base = np.arange(24.0).reshape(4, 6)
    arrays: tuple[Any, ...] = (
        base,
        np.asfortranarray(base),
        base[::2, ::-1],
        base.T,
        base[:, 1:1],
        base.astype(">f8"),
        base.astype(">i4"),
        np.broadcast_to(np.float32(3), (2, 2)),
        base.view(Sub),
        np.frombuffer(base.tobytes(), float).reshape(4, 6),
        np.array(3.0),
        np.float16(2),
        np.bool_(True),
    )
    for x in arrays:
        plain = np.asarray(x).astype(np.asarray(x).dtype.newbyteorder("="))
        expected = plain * 2 + plain.sum()
        for _ in range(2):
            result = f(x)
            np.testing.assert_array_equal(result, expected)
            assert np.asarray(result).dtype == np.asarray(expected).dtype
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix([[1.0]])
    for bad in (np.ma.masked_array(X, [True, False, False]), matrix):
        with pytest.raises(DTypeError, match="not taken"):
            f(bad)
    for bad in (np.array(["a"]), np.array([object()]), np.array(["2020"], "M8[D]"), np.zeros(2, [("a", "f8")])):
        with pytest.raises(DTypeError, match="cannot be traced"):
            f(bad)


def test_numbers_of_every_kind() -> None:
    f = graphc.jit(lambda x: (x, x * 2, x / 2))
    for x in (3, 3.0, True, np.int8(3), np.float32(3), np.bool_(1), np.array(3), -(2**62), 2**62 - 1, 1e300, np.inf):
        for _ in range(2):
            for one, other in zip(f(x), (x, np.asarray(x)[()] * 2, x / 2), strict=True):
                np.testing.assert_array_equal(one, other)
                assert np.asarray(one).dtype == np.asarray(other).dtype
    for large in (2**63, -(2**63) - 1, 2**70):
        with pytest.raises(IntegerRangeError, match="does not fit into int64") as found:
            f(large)
        assert found.value.loc is not None
        with pytest.raises(OverflowError):
            graphc.trace(lambda x: x, large)


COMPLEX = (np.array([1 + 2j, 3 - 4j]), np.complex64(1j), [np.ones(2), np.array(1j)], np.zeros((0, 2), np.complex64), 1j)


@pytest.mark.parametrize("z", COMPLEX, ids=repr)
@pytest.mark.parametrize(
    "use",
    [
        lambda f, z: graphc.jit(f)(z),
        lambda f, z: graphc.compile(f, z),
        lambda f, z: graphc.trace(f, z),
        lambda f, z: graphc.grad(f)(z),
        lambda f, z: graphc.jvp(f, (z,), (z,)),
        lambda f, z: graphc.vmap(f)(z),
    ],
)
def test_complex_arguments_are_refused_whatever_the_function_does_with_them(use: Any, z: Any) -> None:
    def f(z: Any) -> Any:
        pytest.fail("the function was called")

    with pytest.raises((TraceError, DTypeError), match="complex") as found:
        use(f, z)
    assert "pass z.real and z.imag as two arguments" in str(found.value)
    assert found.value.loc is not None


@pytest.mark.parametrize(
    "spec", ["c128[3]", "c64[]", graphc.Spec(("n",), complex), graphc.Spec((), np.complex64)], ids=repr
)
def test_complex_specs_are_refused(spec: Any) -> None:
    for use in (graphc.trace, graphc.compile, graphc.verify):
        with pytest.raises(DTypeError, match="an argument of dtype complex"):
            use(lambda z: z.real, spec)


def test_a_function_called_for_floats_before_refuses_complex_numbers_after() -> None:
    f = graphc.jit(lambda x: (x.real, x.conj()))
    for x in (np.ones(2), np.float64(1), 1.0):
        for _ in range(3):
            f(x)
        with pytest.raises((TraceError, DTypeError), match="complex"):
            f(x * 1j)


# --- Python values in the arguments of a derivative ---------------------------------------------------------


def test_arguments_that_are_not_differentiated_stay_python_values() -> None:
    def f(x: Any, n: Any, mode: Any = "sum", **options: Any) -> Any:
        assert type(n) is int
        for _ in range(n):
            x = x * x
        if options.get("flag"):
            x = -x
        return np.sum(x) if mode == "sum" else np.max(x)

    g = graphc.grad(f)
    np.testing.assert_array_equal(g(X, 1), 2 * X)
    np.testing.assert_array_equal(g(X, 2), 4 * X**3)
    np.testing.assert_array_equal(g(X, 1, "max"), [0, 0, 6])
    np.testing.assert_array_equal(g(X, 1, flag=True), -2 * X)
    np.testing.assert_array_equal(g(X, 1, flag=False, mode="max"), [0, 0, 6])
    np.testing.assert_array_equal(graphc.hvp(f)(X, 2, X), 12 * X**3)
    np.testing.assert_array_equal(graphc.jacfwd(f)(X, 1), 2 * X)
    np.testing.assert_array_equal(graphc.hessian(f)(X, 1), 2 * np.eye(3))
    assert graphc.grad(lambda x, *, self, f: x * self * len(f))(2.0, self=3.0, f="ab") == 6.0
    for index in (1, -1, slice(0, 2), (slice(None, None, 2),), np.int64(1), np.array([0, 0])):
        expected = np.zeros(3)
        np.add.at(expected, index, 1)
        np.testing.assert_array_equal(graphc.grad(lambda x, i: np.sum(x[i]))(X, index), expected)
    np.testing.assert_array_equal(graphc.grad(lambda x, g: np.sum(g(x)))(X, np.sin), np.cos(X))
    np.testing.assert_array_equal(graphc.grad(lambda x, t: np.sum(x.astype(t)))(X, np.dtype("f4")), np.ones(3))
    before = compiles(g)
    g(X + 1, 2)
    assert compiles(g) == before
    assert "n=2, before 1" in g.explain()


@pytest.mark.parametrize("x", [2.0, -2.0, 0.0, -0.5, np.float32(3), 1e100])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, -1, -2])
def test_a_power_with_a_python_exponent_is_exact(x: Any, n: int) -> None:
    with np.errstate(all="ignore"):
        expected = np.float64(0) if n == 0 else n * np.float64(x) ** (n - 1)
        for value in (graphc.grad(lambda x, n: x**n)(x, n), graphc.grad(lambda x: x**n)(x)):
            np.testing.assert_allclose(value, expected, rtol=1e-6 if isinstance(x, np.float32) else 1e-15)
        second = graphc.grad(graphc.grad(lambda x, n: x**n))(x, n)
        expected = np.float64(0) if n in (0, 1) else n * (n - 1) * np.float64(x) ** (n - 2)
        np.testing.assert_allclose(second, expected, rtol=1e-6 if isinstance(x, np.float32) else 1e-15)


def test_floats_are_traced_unless_python_needs_them() -> None:
    traced = graphc.grad(lambda x, s: np.sum(x**2) * s)
    for s in (0.5, 0.25, 2.0):
        np.testing.assert_array_equal(traced(X, s), 2 * X * s)
    assert compiles(traced) == 1
    calls: list[Any] = []

    def f(x: Any, s: float) -> Any:
        calls.append(s)
        return np.sum(x**2) * (1.0 if s > 0.3 else 2.0)

    needed = graphc.grad(f)
    for s in (0.5, 0.25, 0.5, 0.25):
        np.testing.assert_array_equal(needed(X, s), 2 * X * (1.0 if s > 0.3 else 2.0))
    assert compiles(needed) == 2
    assert "s=0.25, before 0.5" in needed.explain()
    assert [s for s in calls if type(s) is float] == [0.5, 0.25]
    assert graphc.grad(lambda x, s: x * np.float64(float(s)))(2.0, 3.0) == 3.0


def test_errors_of_the_function_are_its_own() -> None:
    def f(x: Any, s: float, n: int) -> Any:
        raise ZeroDivisionError("on purpose")

    for args in ((X, 0.5, 3), (2.0, 0.5, 3), (X, X, 3)):
        with pytest.raises(ZeroDivisionError, match="on purpose"):
            graphc.grad(f)(*args)
    with pytest.raises(TraceError, match="must be hashable"):
        graphc.grad(lambda x, s: x)(2.0, {1, 2})
    with pytest.raises(TraceError, match="must be hashable") as found:
        graphc.grad(lambda x, s: x)(2.0, {"a": {1, 2}})
    assert found.value.actual == "s_a={1, 2}"
    for transform in (graphc.vjp, graphc.linearize):
        with pytest.raises(TraceError, match="a str is not an array"):
            transform(lambda x: x, "f64[3]")


def test_the_differentiated_argument_is_never_static() -> None:
    with pytest.raises(GraphcError, match="not a real float"):
        graphc.grad(lambda x: x**2)(3)
    with pytest.raises(GraphcError):
        graphc.grad(lambda x: x**2)("text")
    assert graphc.grad(lambda n, x: x**n, argnums=1)(3, 2.0) == 12.0
    assert graphc.grad(lambda n, x: x**n, argnums=-1)(3, 2.0) == 12.0
    assert graphc.grad(lambda x, n, y: x**n * y, argnums=(0, 2))(2.0, 3, 5.0) == (60.0, 8.0)
    with pytest.raises(GraphcError, match="was not passed by position"):
        graphc.grad(lambda x, n: x**n)(x=2.0, n=3)


def test_a_jitted_derivative_traces_integers() -> None:
    f = graphc.jit(graphc.grad(lambda x, n: x**n))
    assert [f(2.0, n) for n in (1, 2, 3, 4)] == [1.0, 4.0, 12.0, 32.0]
    assert compiles(f) == 1


# --- derivatives at a point are compiled once ---------------------------------------------------------------


@pytest.mark.parametrize(
    "derive",
    [
        lambda f, x: graphc.jvp(f, (x,), (x,))[1],
        lambda f, x: graphc.vjp(f, x)[1](np.float64(1.0))[0] @ x,
        lambda f, x: graphc.linearize(f, x)[1](x),
    ],
    ids=["jvp", "vjp", "linearize"],
)
def test_a_derivative_at_a_point_is_derived_once_for_each_graph(derive: Function, monkeypatch: Any) -> None:
    made: list[Any] = []
    original = graphc.passes.pipeline.run

    def counted(graph: Any, *args: Any) -> Any:
        made.append(graph.name)
        return original(graph, *args)

    monkeypatch.setattr(graphc.passes.pipeline, "run", counted)
    scale = [2.0]
    weights = X.copy()

    def f(x: Any) -> Any:
        return np.sum(weights * x**3) * scale[0] * 1.0625

    def expected(x: Any) -> Any:
        return np.sum(3 * weights * x**2 * x) * scale[0] * 1.0625

    np.testing.assert_allclose(derive(f, X), expected(X))
    assert made
    made.clear()
    np.testing.assert_allclose(derive(f, X + 1), expected(X + 1))
    np.testing.assert_allclose(derive(lambda x: f(x), X + 2), expected(X + 2))
    assert made in ([], ["f"], ["f", "f"])  # a lambda's graph has another name
    scale[0] = 5.0
    np.testing.assert_allclose(derive(f, X), expected(X))
    weights[0] = 7.0
    np.testing.assert_allclose(derive(f, X), expected(X))
    made.clear()
    np.testing.assert_allclose(derive(f, X[:2].repeat(2)[:3]), expected(X[:2].repeat(2)[:3]))
    assert not made
    np.testing.assert_allclose(derive(f, X.astype(np.float32)), expected(X), rtol=1e-6)
    assert made
