"""`vmap` against loops over the rows: values, derivatives, axes, pytrees, nesting, and what it refuses."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import random, vmap
from graphc.errors import AxisError, ShapeError, StructureError, UnsupportedError
from tests.test_transforms import FUNCTIONS, MATRIX, close, scalar

Function = Callable[..., Any]
RNG = np.random.default_rng(3)
X = RNG.normal(size=(4, 3))
EACH = pytest.mark.parametrize(("f", "x"), [row[1:] for row in FUNCTIONS], ids=[row[0] for row in FUNCTIONS])


def rows_like(x: Any, count: int) -> Any:
    """The point, and others as far from kinks as it is."""
    return np.stack([x * (1 + 0.01 * k) for k in range(count)]) if count else np.empty((0, *np.shape(x)))


def run(f: Function, *args: Any) -> Any:
    """The result of a function compiled without kernels, which takes less time."""
    return graphc.compile(f, *args, kernels="none")(*args)


def loop(f: Function, *columns: Any) -> Any:
    return np.stack([f(*row) for row in zip(*columns, strict=True)])


@EACH
def test_rows_at_once_are_rows_one_by_one(f: Function, x: Any) -> None:
    rows = rows_like(x, 3)
    expected = loop(f, rows)
    close(vmap(f)(rows), expected)
    close(run(vmap(f), rows[:1]), expected[:1])
    shape = ",".join(["rows", *map(str, np.shape(x))])
    close(graphc.compile(vmap(f), f"f64[{shape}]", kernels="none", exact_order=True)(rows), expected)


@EACH
def test_no_rows_give_no_results(f: Function, x: Any) -> None:
    found = run(vmap(f), rows_like(x, 0))
    expected = np.asarray(f(x))
    assert found.shape == (0, *expected.shape)
    assert found.dtype == expected.dtype


@EACH
def test_derivatives_of_rows_are_rows_of_derivatives(f: Function, x: Any) -> None:
    rows, g = rows_like(x, 3), scalar(f)
    slope = graphc.grad(g)

    def curve(r: Any) -> Any:
        return graphc.jvp(slope, (r,), (r,))[1]

    def total(v: Any) -> Any:
        return np.sum(vmap(g)(v))

    expected = np.stack([run(slope, r) for r in rows])
    close(run(vmap(slope), rows), expected, 1e-11)
    close(run(graphc.grad(total), rows), expected, 1e-11)
    expected = np.stack([run(curve, r) for r in rows])
    close(run(vmap(curve), rows), expected, 1e-10)
    close(run(lambda v: graphc.jvp(graphc.grad(total), (v,), (v,))[1], rows), expected, 1e-10)
    close(run(graphc.grad(lambda v: np.sum(vmap(slope)(v) * rows)), rows), expected, 1e-10)


def test_only_mapped_arguments_have_rows() -> None:
    w = RNG.normal(size=3)
    close(vmap(np.dot, in_axes=(0, None))(X, w), X @ w)
    close(vmap(np.dot, in_axes=(None, 0))(w, X), X @ w)
    close(vmap(lambda a, b: a + b, (0, None))(X, MATRIX), X[:, None] + MATRIX)
    gradient = graphc.grad(lambda v: np.sum(vmap(lambda r, u: np.sin(r @ u), (0, None))(X, v)))(w)
    close(gradient, np.cos(X @ w) @ X)


def test_rows_lie_along_any_axis() -> None:
    x = RNG.normal(size=(2, 3, 4))
    for axis in range(-3, 3):
        rows = np.moveaxis(x, axis, 0)
        expected = np.stack([r.T * 2 for r in rows])
        for place in range(-3, 3):
            close(vmap(lambda r: r.T * 2, axis, place)(x), np.moveaxis(expected, 0, place))
    close(vmap(lambda a, b: a * b, in_axes=(1, -2))(x, x[0]), np.moveaxis(x, 1, 0) * x[0][:, None])


def test_arguments_and_results_may_be_trees() -> None:
    tree = {"a": X, "b": [X.T, np.ones(3)]}

    def f(t: Any, k: int) -> Any:
        return {"sum": t["a"] + t["b"][0] * t["b"][1], "same": t["b"][1] * k}, (t["a"][0],)

    found, (first,) = vmap(f, in_axes=({"a": 0, "b": [1, None]}, None), out_axes=({"sum": 1, "same": None}, 0))(tree, 2)
    close(found["sum"], (X + X).T)
    close(found["same"], 2 * np.ones(3))
    close(first, X[:, 0])
    whole = vmap(lambda t: t["x"] + t["y"])({"x": X, "y": X})
    close(whole, X + X)
    close(vmap(lambda t, u: t[0] + u, in_axes=[0, None])((X, X), 1.0), X + 1)


def test_a_result_that_is_the_same_for_all_rows_is_repeated_or_given_once() -> None:
    close(vmap(lambda r: np.arange(2.0))(X), np.tile(np.arange(2.0), (4, 1)))
    close(vmap(lambda r: np.arange(2.0), out_axes=1)(X), np.tile(np.arange(2.0), (4, 1)).T)
    rows, once = vmap(lambda r, y: (r, y * 2), (0, None), (0, None))(X, 3.0)
    close(rows, X)
    assert once == 6.0
    assert vmap(lambda r: (1, True))(X)[0].tolist() == [1] * 4
    assert vmap(lambda r: (1, True))(X)[1].dtype == bool


def test_keyword_arguments_are_mapped_over_their_first_axes() -> None:
    close(vmap(lambda a, *, b: a * b)(X, b=X[:, 0]), X * X[:, :1])


def test_other_arguments_stay_python_values() -> None:
    def power(x: Any, n: int, name: str) -> Any:
        assert type(n) is int
        assert name == "name"
        return x**n

    close(vmap(power, in_axes=(0, None, None))(X, 3, "name"), X**3)


def test_nested_maps_are_nested_loops() -> None:
    a, b = RNG.normal(size=(2, 3)), RNG.normal(size=(4, 3))
    table = vmap(vmap(lambda x, y: np.sum((x - y) ** 2), (None, 0)), (0, None))(a, b)
    close(table, ((a[:, None] - b[None]) ** 2).sum(-1))
    pairs = vmap(lambda x: vmap(lambda y: x @ y * x)(b))(a)
    close(pairs, np.stack([[x @ y * x for y in b] for x in a]))
    cube = RNG.normal(size=(2, 3, 4))
    close(vmap(vmap(np.sort, in_axes=1, out_axes=1), in_axes=2)(cube), np.moveaxis(np.sort(cube, axis=0), 2, 0))


def test_in_a_trace_and_around_one() -> None:
    close(graphc.jit(lambda x: vmap(np.sum)(x))(X), X.sum(1))
    close(vmap(graphc.jit(np.sum))(X), X.sum(1))
    close(graphc.jit(lambda x: vmap(lambda i: x[i])(np.array([2, 0])))(X), X[[2, 0]])
    close(vmap(graphc.hessian(lambda r: np.prod(r)))(X), loop(graphc.hessian(lambda r: np.prod(r)), X))
    close(graphc.jacobian(vmap(np.prod))(X)[1, 1], graphc.grad(np.prod)(X[1]))
    _, pullback = graphc.vjp(np.sin, X[0])
    close(vmap(lambda ct: pullback(ct)[0])(X), X * np.cos(X[0]))
    _, derivative = graphc.linearize(np.sin, X[0])
    close(vmap(derivative)(X), X * np.cos(X[0]))


def test_sizes_stay_symbolic() -> None:
    f = graphc.compile(vmap(lambda r, s: r / s + r.shape[0], in_axes=(1, 0)), "f64[m,n]", "f64[n]")
    for m, n in ((0, 2), (3, 1), (2, 4), (3, 0)):
        x, s = RNG.normal(size=(m, n)), RNG.normal(size=n)
        close(f(x, s), x.T / s[:, None] + m)
    guarded = graphc.compile(vmap(lambda a, b: a + b), "f64[n]", "f64[m]")
    close(guarded(np.ones(3), np.ones(3)), 2 * np.ones(3))
    with pytest.raises(ValueError, match="n == m"):
        guarded(np.ones(3), np.ones(2))
    counted = vmap(lambda r: np.sum(r))
    for n in (2, 3, 4, 5):
        close(counted(np.ones((n, 3))), 3 * np.ones(n))
    assert len(counted.explain().splitlines()) == 2


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint64, bool])
def test_dtypes_are_numpys(dtype: Any) -> None:
    x = np.ones((3, 2), dtype)
    for f in (lambda r: r * 2, lambda r: r / 3, lambda r: r + r, np.sum, np.mean, lambda r: r[0] + 1.5):
        found, expected = vmap(f)(x), loop(f, x)
        assert found.dtype == expected.dtype
        close(found, expected, 1e-3)


def test_only_what_depends_on_rows_is_batched() -> None:
    def f(r: Any, w: Any) -> Any:
        return r * np.sum(np.exp(w))

    graph = graphc.trace(vmap(f, (0, None)), "f64[5]", "f64[3]")
    types = {data["op"]: str(data["type"]) for data in graph._node.values()}
    assert types["exp"] == "f64[3]"
    assert types["reduce_sum"] == "f64[]"
    assert types["mul"] == "f64[5]"
    assert "broadcast_to" not in types


def test_values_keep_the_names_and_lines_of_the_function() -> None:
    def f(r: Any) -> Any:
        total = np.sum(r)
        return total * r

    text = str(graphc.trace(vmap(f), "f64[n,3]"))
    assert "%total: f64[n] = reduce_sum[axes=(1,), keepdims=False](%r)" in text
    assert "total = np.sum(r)" not in text
    assert "test_vmap.py" in text


def test_naive_formulas_stay_stable() -> None:
    large = np.array([[1000.0, 999.0], [-1000.0, -1001.0]])
    expected = large.max(1) + np.log1p(np.exp(-1.0))
    close(vmap(lambda r: np.log(np.sum(np.exp(r))))(large), expected)
    close(vmap(lambda r: np.exp(r) / np.sum(np.exp(r)))(large)[:, 0], np.full(2, 1 / (1 + np.exp(-1))))
    close(vmap(graphc.grad(lambda r: np.log(np.sum(np.exp(r)))))(large)[:, 0], np.full(2, 1 / (1 + np.exp(-1))))
    # a number in each row beside a vector in each row
    first, rest = large[:, 0], large[:, 1:]
    together = np.maximum(first, rest[:, 0]) + np.log1p(np.exp(-1.0))
    close(vmap(lambda a, b: np.log(np.exp(a) + np.exp(b)))(first, rest)[:, 0], together)
    close(vmap(lambda a, b: np.exp(a) / (np.exp(a) + np.exp(b)))(first, rest)[:, 0], np.full(2, 1 / (1 + np.exp(-1))))
    close(
        vmap(lambda a, b: np.sqrt(a * a + b * b))(first * 1e200, rest * 1e200),
        np.hypot(first, rest[:, 0])[:, None] * 1e200,
    )
    slope = vmap(graphc.grad(lambda a, b: np.sum(b / (1 + np.exp(a)))))(np.array([1000.0, -1000.0]), rest)
    close(slope, np.zeros(2))
    close(vmap(lambda r: np.sqrt(r @ r))(large * 1e200), np.linalg.norm(large, axis=1) * 1e200)


def test_keys_draw_each_for_itself() -> None:
    keys = random.split(random.key(3), 4)
    spread = np.arange(1.0, 5.0)
    draws: tuple[Function, ...] = (
        lambda k: random.normal(k, 3),
        lambda k: random.permutation(k, 5),
        lambda k: random.integers(k, (2,), 0, 10),
        lambda k: random.uniform(random.fold_in(k, 1), (2, 2)),
        lambda k: random.split(k, 2),
    )
    for draw in draws:
        close(vmap(draw)(keys), np.stack([draw(k) for k in keys]), 1e-15)
    close(
        vmap(lambda k, s: s * random.normal(k, 2))(keys, spread),
        loop(lambda k, s: s * random.normal(k, 2), keys, spread),
    )
    same = vmap(lambda s: s * random.normal(random.key(0), 2))(spread)
    close(same, spread[:, None] * random.normal(random.key(0), 2))


def test_prints_show_all_rows() -> None:
    lines: list[str] = []
    with graphc.printing.printing_to(lines.append):
        vmap(lambda x: graphc.debug_print("x = {}", x) or x)(np.array([1.0, 2.0]))
        vmap(lambda x: graphc.debug_print("y = {}", 3) or x)(np.array([1.0, 2.0]))
    assert lines == ["x = [1. 2.]", "y = 3"]


def test_callbacks_of_what_has_no_rows() -> None:
    sort = partial(graphc.pure_callback, np.sort, "f64[3]")
    close(vmap(lambda r, w: r * sort(w), (0, None))(X, X[0]), X * np.sort(X[0]))
    with pytest.raises(UnsupportedError, match="cannot be batched"):
        vmap(sort)(X)


def test_a_method_and_a_pickle() -> None:
    class Model:
        scale = 2.0

        @partial(vmap, in_axes=(None, 0))
        def double(self, x: Any) -> Any:
            return self.scale * x

        def rows(self, x: Any) -> Any:
            return vmap(self.row)(x)

        def row(self, x: Any) -> Any:
            return self.scale * x

    close(Model().rows(X), 2 * X)
    close(Model().double(X), 2 * X)
    close(pickle.loads(pickle.dumps(vmap(np.sum, 1, 0)))(X), X.sum(0))
    assert repr(vmap(np.sum)) == "<vmap_sum>"


REFUSED: tuple[tuple[str, Function, type[Exception], str], ...] = (
    ("sizes", lambda: vmap(np.add)(X, np.ones(3)), ShapeError, "x1.shape[0] is 4, x2.shape[0] is 3"),
    ("axis", lambda: vmap(np.add, (0, 2))(X, X), AxisError, "x2 has no axis 2"),
    ("axis of a number", lambda: vmap(np.sin)(2.0), AxisError, "an array with at least one axis"),
    ("too few axes", lambda: vmap(np.add, (0,))(X, X), StructureError, "differ in number"),
    ("nothing mapped", lambda: vmap(np.add, None)(X, X), StructureError, "no argument of add is mapped"),
    ("all None", lambda: vmap(np.add, (None, None))(X, X), StructureError, "no argument of add is mapped"),
    ("no argument", lambda: vmap(lambda: 1.0)(), StructureError, "is mapped"),
    (
        "tree",
        lambda: vmap(lambda d: d["a"], ({"a": 0, "c": 0},))({"a": X}),
        StructureError,
        "does not fit the arguments",
    ),
    ("tree for all", lambda: vmap(lambda d: d["a"], {"a": 0}), StructureError, "in_axes=({'a': 0},)"),
    ("no axes", lambda: vmap(np.sin, "a"), StructureError, "no axis"),
    ("a float", lambda: vmap(np.sin, 0.0), StructureError, "no axis"),
    ("a bool", lambda: vmap(np.sin, True), StructureError, "no axis"),
    ("out_axes", lambda: vmap(np.sin, out_axes=2)(X), AxisError, "out_axes=2 is no place"),
    ("out_axes None", lambda: vmap(np.sin, out_axes=None)(X), StructureError, "differs from row to row"),
    (
        "tree of results",
        lambda: vmap(lambda x: (x, x), out_axes=(0, 0, 0))(X),
        StructureError,
        "does not fit the results",
    ),
    ("no function", lambda: vmap(3), TypeError, "no function"),
    ("text", lambda: vmap(np.sin)("a"), TypeError, "not an array"),
)


@pytest.mark.parametrize(("call", "kind", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refusals_say_what_to_do(call: Function, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as raised:
        call()
    assert words in str(raised.value)
