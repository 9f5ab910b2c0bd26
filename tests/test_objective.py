"""`Compiled.scipy`: minimisation with SciPy, derivatives computed once for each point, vectors and pytrees."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

import graphc
from graphc.errors import DifferentiationError, GraphcError, ShapeError, StructureError
from graphc.objective import Objective
from graphc.printing import printing_to

Function = Callable[..., Any]
METHODS = ("L-BFGS-B", "Newton-CG", "trust-krylov", "trust-ncg", "BFGS", "CG", "trust-constr")
WITH_HESSIAN = ("Newton-CG", "trust-krylov", "trust-ncg", "trust-constr")
START = np.array([1.3, 0.7, 0.8, 1.9, 1.2])


def rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def logistic(p: Any, x: Any, t: Any) -> Any:
    """The penalised negative log-likelihood of a logistic regression, written naively."""
    z = x @ p["w"] + p["b"]
    return np.mean(np.log(1 + np.exp(z)) - t * z) + 0.05 * np.sum(p["w"] ** 2)


def observations() -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(80, 3))
    return x, (x @ np.array([1.0, -2.0, 0.5]) + 0.3 + rng.normal(size=80) > 0).astype(float)


def logistic_minimum(x: Any, t: Any) -> Any:
    """(w, b) by Newton's method, with the gradient and the Hessian written out."""
    design = np.column_stack([x, np.ones(len(x))])
    ridge = np.diag([0.1, 0.1, 0.1, 0.0])
    p = np.zeros(4)
    for _ in range(50):
        s = 1 / (1 + np.exp(-design @ p))
        gradient = design.T @ (s - t) / len(t) + ridge @ p
        p = p - np.linalg.solve((design.T * (s * (1 - s))) @ design / len(t) + ridge, gradient)
    assert np.abs(gradient).max() < 1e-14
    return p


# --- minimising ---------------------------------------------------------------------------------------------


# SciPy's trlib multiplies what it has not set
TRLIB = pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered:RuntimeWarning")


@TRLIB
@pytest.mark.parametrize("method", METHODS)
def test_rosenbrock(method: str) -> None:
    fun, jac, hessp = graphc.compile(rosenbrock, "f64[n]").scipy()
    extra = {"hessp": hessp} if method in WITH_HESSIAN else {}
    found = minimize(fun, START, jac=jac, method=method, tol=1e-10, **extra)
    assert found.success
    np.testing.assert_allclose(found.x, np.ones(5), atol=1e-5)
    assert found.fun < 1e-10


@TRLIB
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sizes", ["named", "fixed", "examples"])
def test_logistic_regression(method: str, sizes: str) -> None:
    x, t = observations()
    data = {"named": ("f64[n,3]", "f64[n]"), "fixed": ("f64[80,3]", "f64[80]"), "examples": (x, t)}[sizes]
    objective = graphc.compile(logistic, {"w": "f64[3]", "b": "f64[]"}, *data).scipy()
    start = objective.flatten({"w": np.zeros(3), "b": 0.0})
    extra = {"hessp": objective.hessp} if method in WITH_HESSIAN else {}
    found = minimize(objective.fun, start, args=(x, t), jac=objective.jac, method=method, tol=1e-9, **extra)
    params = objective.unflatten(found.x)
    w, b = np.split(logistic_minimum(x, t), [3])
    np.testing.assert_allclose(params["w"], w, atol=1e-5)
    np.testing.assert_allclose(params["b"], b[0], atol=1e-5)


def test_large_and_bounded() -> None:
    n = 500
    target = np.linspace(-2, 2, n)
    fun, jac, _ = graphc.compile(lambda x, c: np.sum((x - c) ** 2), "f64[n]", "f64[n]").scipy()
    found = minimize(fun, np.zeros(n), args=(target,), jac=jac, method="L-BFGS-B", bounds=[(-1, 1)] * n)
    np.testing.assert_allclose(found.x, np.clip(target, -1, 1), atol=1e-5)


# --- values -------------------------------------------------------------------------------------------------

Layer = namedtuple("Layer", "w b")


def test_values_are_those_of_the_transforms() -> None:
    def f(layers: Any, x: Any, scale: Any) -> Any:
        for layer in layers:
            x = np.tanh(x @ layer.w + layer.b) * scale["s"]
        return np.sum(x**2)

    rng = np.random.default_rng(1)
    layers = [Layer(rng.normal(size=(3, 4)), rng.normal(size=4)), Layer(rng.normal(size=(4, 2)), rng.normal(size=2))]
    tangent = [Layer(rng.normal(size=(3, 4)), rng.normal(size=4)), Layer(rng.normal(size=(4, 2)), rng.normal(size=2))]
    x, scale = rng.normal(size=(5, 3)), {"s": 0.5}
    objective = graphc.compile(f, layers, x, scale).scipy()
    point, direction = objective.flatten(layers), objective.flatten(tangent)
    assert point.shape == (26,)
    assert point.dtype == np.float64
    assert type(objective.fun(point, x, scale)) is float
    assert objective.fun(point, x, scale) == f(layers, x, scale)
    gradient = objective.flatten(graphc.grad(f)(layers, x, scale))
    np.testing.assert_allclose(objective.jac(point, x, scale), gradient, rtol=1e-13)
    product = objective.flatten(graphc.hvp(f)(layers, x, scale, tangent))
    np.testing.assert_allclose(objective.hessp(point, direction, x, scale), product, rtol=1e-11)
    again = objective.unflatten(point, x, scale)
    assert type(again) is list
    assert type(again[0]) is Layer
    for one, other in zip(again, layers, strict=True):
        np.testing.assert_array_equal(one.w, other.w)
        np.testing.assert_array_equal(one.b, other.b)


def test_the_hessian_product_is_that_of_the_matrix() -> None:
    objective = graphc.compile(rosenbrock, "f64[5]").scipy()
    hessian = graphc.hessian(rosenbrock)(START)
    for p in (*np.eye(5), START, np.zeros(5)):
        np.testing.assert_allclose(objective.hessp(START, p), hessian @ p, rtol=1e-12, atol=1e-10)
    linear = graphc.compile(lambda x: np.sum(2 * x), "f64[3]").scipy()
    np.testing.assert_array_equal(linear.hessp(np.ones(3), np.ones(3)), np.zeros(3))
    np.testing.assert_array_equal(linear.jac(np.ones(3)), [2, 2, 2])
    constant = graphc.compile(lambda x: np.sum(np.ones(3)), "f64[3]").scipy()
    np.testing.assert_array_equal(constant.jac(np.ones(3)), np.zeros(3))


def test_dtypes_and_shapes_are_the_arguments() -> None:
    objective = graphc.compile(
        lambda p: p[0].sum() * p[1] + p[2].astype(float).sum(), ("f64[2,3]", "f32[]", "f16[2]")
    ).scipy()
    params = (np.arange(6.0).reshape(2, 3), np.float32(0.1), np.float16([1, 2]))
    x = objective.flatten(params)
    assert x.dtype == np.float64
    assert x[6] == np.float64(np.float32(0.1))
    again = objective.unflatten(x)
    assert [np.asarray(v).dtype for v in again] == ["float64", "float32", "float16"]
    assert [np.shape(v) for v in again] == [(2, 3), (), (2,)]
    assert type(again[1]) is np.float32
    assert objective.jac(x).dtype == np.float64
    assert objective.jac(x).shape == (9,)


@pytest.mark.parametrize("argnums", [0, 1, -1, (0, 1), (1, 0), (2, 0), [1]])
def test_argnums(argnums: Any) -> None:
    arguments = (np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0]), np.float64(6.0))

    def f(a: Any, b: Any, c: Any) -> Any:
        return np.sum(a**2) * c + np.sum(b**3) * a[0]

    objective = graphc.compile(f, *arguments).scipy(argnums)
    numbers = [n % 3 for n in ([argnums] if isinstance(argnums, int) else argnums)]
    params = arguments[numbers[0]] if isinstance(argnums, int) else tuple(arguments[n] for n in numbers)
    rest = tuple(a for n, a in enumerate(arguments) if n not in numbers)
    x = objective.flatten(params)
    assert objective.fun(x, *rest) == f(*arguments)
    gradients = graphc.grad(f, argnums=(0, 1, 2))(*arguments)
    expected = np.concatenate([np.ravel(gradients[n]) for n in numbers])
    np.testing.assert_allclose(objective.jac(x, *rest), expected, rtol=1e-14)
    again = objective.unflatten(x, *rest)
    for one, n in zip([again] if isinstance(argnums, int) else again, numbers, strict=True):
        np.testing.assert_array_equal(one, arguments[n])


def test_expressions_graphs_and_jitted_functions() -> None:
    x, c = graphc.symbol("x", "f64[2]"), graphc.symbol("c", "f64[]")
    y = np.sum((x - c) ** 2)
    graph = graphc.trace(lambda x, c: np.sum((x - c) ** 2), "f64[2]", "f64[]")
    jitted = graphc.jit(lambda x, c: np.sum((x - c) ** 2))
    for compiled in (graphc.compile([x, c], y), graphc.compile(graph), jitted.compiled_for(np.ones(2), 1.0)):
        fun, jac, hessp = compiled.scipy()
        found = minimize(fun, np.zeros(2), args=(3.0,), jac=jac, hessp=hessp, method="trust-ncg")
        np.testing.assert_allclose(found.x, [3.0, 3.0])


def test_named_sizes_are_solved() -> None:
    two = graphc.compile(lambda p, x: np.sum((p["w"] @ x + p["b"]) ** 2), {"w": "f64[k,n]", "b": "f64[k]"}, "f64[n]")
    objective = two.scipy()
    x = np.arange(3.0)
    params = {"w": np.ones((2, 3)), "b": np.zeros(2)}
    vector = objective.flatten(params)
    assert objective.fun(vector, x) == 18.0
    assert objective.unflatten(vector, x)["w"].shape == (2, 3)
    assert objective.fun(np.ones(4 * 6), np.arange(5.0)) == 4 * 11.0**2
    with pytest.raises(ShapeError, match="does not determine"):
        objective.unflatten(vector)
    doubled = graphc.compile(lambda x, y: np.sum(x) + np.sum(y), "f64[2*n]", "f64[n]").scipy()
    assert doubled.fun(np.ones(6), np.ones(3)) == 9.0
    with pytest.raises(ShapeError, match="has another size"):
        doubled.fun(np.ones(5), np.ones(3))
    with pytest.raises(ShapeError, match="has another size"):
        graphc.compile(lambda x: np.sum(x), "f64[2*n]").scipy().fun(np.ones(5))
    assert graphc.compile(lambda x: np.sum(x), "f64[2*n]").scipy().fun(np.ones(6)) == 6.0
    empty = graphc.compile(lambda x: np.sum(x), "f64[n]").scipy()
    assert empty.fun(np.zeros(0)) == 0.0
    assert empty.jac(np.zeros(0)).shape == empty.hessp(np.zeros(0), np.zeros(0)).shape == (0,)


# --- once for each point ------------------------------------------------------------------------------------


def test_value_and_gradient_are_computed_together() -> None:
    def f(x: Any, c: Any) -> Any:
        graphc.debug_print("run")
        return np.sum(x**2) * c

    objective = graphc.compile(f, "f64[2]", "f64[]").scipy()
    c, d = np.array(2.0), np.array(3.0)
    x = np.array([1.0, 2.0])
    lines: list[str] = []
    with printing_to(lines.append):
        assert objective.fun(x, c) == 10.0
        np.testing.assert_array_equal(objective.jac(x, c), [4, 8])
        assert len(lines) == 1
        np.testing.assert_array_equal(objective.jac(x, c), [4, 8])  # asked for again: computed again
        assert objective.fun(x, c) == 10.0
        assert len(lines) == 2
        assert objective.fun(x, d) == 15.0  # another argument
        np.testing.assert_array_equal(objective.jac(x + 1, d), [12, 18])  # another point
        assert len(lines) == 4
        lines.clear()
        # what was computed at the first point is not taken for the second
        objective.fun(x, c)
        x[0] = 5.0
        np.testing.assert_array_equal(objective.jac(x, c), [20, 8])
        lines.clear()
        objective.hessp(x, x, c)
        assert not lines
        found = minimize(objective.fun, x, args=(c,), jac=objective.jac, method="L-BFGS-B")
        assert len(lines) == found.nfev


def test_results_belong_to_the_caller() -> None:
    objective = graphc.compile(lambda x: np.sum(x**2), "f64[2]").scipy()
    x = np.array([1.0, 2.0])
    objective.fun(x)
    gradient = objective.jac(x)
    gradient[:] = -1
    np.testing.assert_array_equal(objective.jac(x), [2, 4])
    product = objective.hessp(x, x)
    product[:] = -1
    np.testing.assert_array_equal(objective.hessp(x, x), [2, 4])
    np.testing.assert_array_equal(x, [1, 2])
    params = objective.unflatten(x)
    params[:] = -1
    np.testing.assert_array_equal(x, [1, 2])


def test_the_residuals_of_the_hessian_are_kept_for_a_point() -> None:
    calls: list[Any] = []

    def f(x: Any) -> Any:
        k = graphc.pure_callback(lambda v: (calls.append(v), 3)[1], "i64[]", x)
        return np.sum(x**k)

    objective = graphc.compile(f, "f64[2]").scipy()
    x = np.array([1.0, 2.0])
    for p in np.eye(2):
        np.testing.assert_allclose(objective.hessp(x, p), 6 * x * p)
    assert len(calls) == 1
    np.testing.assert_allclose(objective.hessp(x + 1, x), 6 * (x + 1) * x)
    assert len(calls) == 2


def test_threads() -> None:
    objective = graphc.compile(lambda x, c: np.sum((x - c) ** 4), "f64[n]", "f64[n]").scipy()
    errors: list[BaseException] = []

    def work(k: int) -> None:
        try:
            c = np.arange(3.0) + k
            for i in range(40):
                x = c + i
                assert objective.fun(x, c) == 3.0 * i**4
                np.testing.assert_allclose(objective.jac(x, c), np.full(3, 4.0 * i**3))
                np.testing.assert_allclose(objective.hessp(x, c, c), 12.0 * i**2 * c)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_pickles() -> None:
    objective = graphc.compile(rosenbrock, "f64[n]").scipy()
    objective.hessp(START, START)
    again = pickle.loads(pickle.dumps(objective))
    assert isinstance(again, Objective)
    assert again.fun(START) == objective.fun(START)
    assert repr(again) == "<objective rosenbrock of f64[n]>"


def test_scipy_itself_is_not_loaded(root: Path) -> None:
    program = (
        "import sys, numpy as np, graphc\n"
        "fun, jac, hessp = graphc.compile(lambda x: np.sum(x**2), 'f64[n]').scipy()\n"
        "fun(np.ones(3)), jac(np.ones(3)), hessp(np.ones(3), np.ones(3))\n"
        "assert not any(name.startswith('scipy') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True)


# --- errors -------------------------------------------------------------------------------------------------

WRONG_FUNCTIONS: tuple[tuple[Function, tuple[str, ...], Any, type[GraphcError], str], ...] = (
    (lambda x: x, ("f64[3]",), 0, DifferentiationError, "one real scalar"),
    (lambda x: (np.sum(x), x), ("f64[3]",), 0, DifferentiationError, "one real scalar"),
    (lambda x: np.sum(x) > 0, ("f64[3]",), 0, DifferentiationError, "one real scalar"),
    (lambda x: None, ("f64[3]",), 0, DifferentiationError, "one real scalar"),
    (lambda x, n: x * n, ("f64[]", "i64[]"), 1, DifferentiationError, "minimised over n"),
    (lambda x: np.sum(x), ("f64[3]",), 1, DifferentiationError, "argnums=1"),
    (lambda x, y: np.sum(x), ("f64[3]", "f64[3]"), (0, 0), DifferentiationError, "twice"),
)


@pytest.mark.parametrize(("f", "specs", "argnums", "kind", "words"), WRONG_FUNCTIONS)
def test_functions_that_cannot_be_minimised(
    f: Function, specs: tuple[str, ...], argnums: Any, kind: type[GraphcError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        graphc.compile(f, *specs).scipy(argnums)


def test_keywords_are_refused() -> None:
    with pytest.raises(StructureError, match="keyword arguments"):
        graphc.compile(lambda x, *, c: np.sum(x) * c, "f64[3]", c="f64[]").scipy()


def test_wrong_calls() -> None:
    x, t = observations()
    objective = graphc.compile(logistic, {"w": "f64[3]", "b": "f64[]"}, "f64[n,3]", "f64[n]").scipy()
    good = np.zeros(4)
    calls: tuple[tuple[Function, type[GraphcError], str], ...] = (
        (lambda: objective.fun(np.zeros(5), x, t), ShapeError, "the vector has another size"),
        (lambda: objective.fun(np.zeros((4, 1)), x, t), ShapeError, "no vector"),
        (lambda: objective.fun("text", x, t), ShapeError, "no vector"),
        (lambda: objective.fun(good * 1j, x, t), ShapeError, "no vector"),
        (lambda: objective.fun(good), StructureError, "beside the vector"),
        (lambda: objective.jac(good, x), StructureError, "beside the vector"),
        (lambda: objective.jac(good, x, t, t), StructureError, "beside the vector"),
        (lambda: objective.jac(good, x, {"t": t}), StructureError, "beside the vector"),
        (lambda: objective.jac(good, x, t[:3]), ShapeError, "argument t has another size"),
        (lambda: objective.jac(good, x[:, :2], t), ShapeError, "argument x has another size"),
        (lambda: objective.jac(good, t, t), ShapeError, "argument x has another shape"),
        (lambda: objective.hessp(good, np.zeros(3), x, t), ShapeError, "p has 3 elements"),
        (lambda: objective.flatten({"w": np.zeros(4), "b": 0.0}), ShapeError, "another shape"),
        (lambda: objective.flatten({"w": np.zeros((3, 1)), "b": 0.0}), ShapeError, "another shape"),
        (lambda: objective.flatten({"w": np.zeros(3)}), StructureError, "differ in structure"),
        (lambda: objective.unflatten(np.zeros(3)), ShapeError, "the vector has another size"),
    )
    for call, kind, words in calls:
        with pytest.raises(kind, match=words) as found:
            call()
        assert found.value.loc is not None
    pair = graphc.compile(lambda a, b: np.sum(a) + b, "f64[2]", "f64[]").scipy((0, 1))
    with pytest.raises(StructureError, match="another number"):
        pair.flatten((np.zeros(2),))
