"""Derivative transforms against central differences, against each other, and in every nesting."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.numpy as gnp
from graphc.errors import DifferentiationError, DTypeError, ShapeError, StructureError, TraceError

Function = Callable[..., Any]
RNG = np.random.default_rng(20)
VECTOR = np.array([0.3, -1.2, 2.1])
MATRIX = np.array([[0.5, -0.7, 1.1], [2.0, 0.4, -0.3]])
ROWS = np.array([0, 2, 2, 1])
MASK = np.array([True, False, True])


def log_softmax_loss(z: Any) -> Any:
    e = np.exp(z)
    p = e / e.sum(axis=1, keepdims=True)
    return -np.mean(np.log(p[np.arange(2), np.array([2, 0])]))


# name, function of one float array, point
FUNCTIONS: tuple[tuple[str, Function, Any], ...] = (
    ("polynomial", lambda x: x**3 - 2 * x**2 + x / 3, VECTOR),
    ("quotient", lambda x: (1 + x) / (2 + x * x), VECTOR),
    ("negative powers", lambda x: x**-2 + x**-1, VECTOR),
    ("real power", lambda x: np.abs(x) ** 1.7 + 2.5**x, VECTOR),
    ("power of two variables", lambda x: np.abs(x) ** x[::-1], VECTOR),
    ("remainder", lambda x: x % 0.8 + 2.3 % np.abs(x), VECTOR),
    ("exp and log", lambda x: np.exp(x) * np.log(2 + x), VECTOR),
    ("expm1 and log1p", lambda x: np.expm1(x) + np.log1p(x * x), VECTOR),
    ("roots", lambda x: np.sqrt(x * x + 0.3) + np.hypot(x, 0.5), VECTOR),
    ("trigonometric", lambda x: np.sin(x) * np.cos(2 * x) + np.tan(x / 3), VECTOR),
    ("tanh", lambda x: np.tanh(x) ** 2, VECTOR),
    ("logaddexp", lambda x: np.logaddexp(x, 2 * x[::-1]), VECTOR),
    ("abs and sign", lambda x: np.abs(x) * np.sign(x) + np.fabs(x), VECTOR),
    ("maximum and minimum", lambda x: np.maximum(x, x[::-1] + 0.1) + np.minimum(x * x, 1.0), VECTOR),
    ("clip", lambda x: np.clip(x * x, 0.2, 2.0), VECTOR),
    ("where", lambda x: np.where(x > 0, np.sin(x), x * x), VECTOR),
    ("sum", lambda x: (x * x).sum(axis=1), MATRIX),
    ("mean, var and std", lambda x: np.mean(x, axis=0) + np.var(x, axis=0) + np.std(x, axis=0, ddof=1), MATRIX),
    ("prod", lambda x: np.prod(x, axis=1), MATRIX),
    ("max and min", lambda x: np.max(x, axis=1) * np.min(x, axis=1), MATRIX),
    ("cumsum", lambda x: np.cumsum(x, axis=1) ** 2, MATRIX),
    ("norm", lambda x: np.linalg.norm(x, axis=1) ** 3, MATRIX),
    ("matmul", lambda x: np.tanh(x @ x.T), MATRIX),
    ("vector matmul", lambda x: x @ np.outer(x, x) @ x, VECTOR),
    ("tensordot", lambda x: np.tensordot(x, x, axes=([0], [0])), MATRIX),
    ("outer and inner", lambda x: np.outer(x, x) * np.inner(x, x), VECTOR),
    ("transposes", lambda x: np.swapaxes(x, 0, 1) * np.moveaxis(x * x, 0, 1), MATRIX),
    ("reshape", lambda x: (x.reshape(3, 2) * x.ravel()[:2]).reshape(-1), MATRIX),
    ("broadcast", lambda x: np.broadcast_to(x, (2, 3)) * np.arange(6.0).reshape(2, 3), VECTOR),
    ("unbroadcast", lambda x: x[:, None] * x[None, :] + x, VECTOR),
    ("concatenate and stack", lambda x: np.concatenate([x, x * x]) * np.stack([x, 2 * x]).ravel(), VECTOR),
    ("slices", lambda x: x[1:] * x[:-1] + x[::2] ** 2, VECTOR),
    ("gather", lambda x: x[ROWS] ** 2 * x[0], VECTOR),
    ("separated gather", lambda x: x[np.array([0, 1, 1]), None, np.array([2, 0, 0])] ** 2, MATRIX),
    ("mask", lambda x: x[MASK] ** 3, VECTOR),
    ("integer steps", lambda x: x * (x > 0).astype(int) + x * (x > 0), VECTOR),
    ("array of traced values", lambda x: gnp.array([x[0] * x[1], x[2] ** 2]), VECTOR),
    ("softmax loss", log_softmax_loss, MATRIX),
    ("logsumexp", lambda x: np.log(np.sum(np.exp(x), axis=1)), MATRIX),
    ("empty", lambda x: x[:0] * 2, VECTOR),
    ("scalar", lambda x: np.sin(x) * x, np.float64(0.7)),
)
EACH = pytest.mark.parametrize(("f", "x"), [row[1:] for row in FUNCTIONS], ids=[row[0] for row in FUNCTIONS])


def scalar(f: Function) -> Function:
    """A scalar function with the derivatives of all results of `f` in it."""
    return lambda x: np.sum(np.sin(f(x) + 0.3))


def numeric(f: Function, x: Any, step: float = 1e-6) -> Any:
    """The Jacobian by central differences, in the shape result.shape + x.shape."""
    x = np.asarray(x, float)
    y = np.asarray(f(x))
    result = np.zeros((*y.shape, *x.shape))
    for place in np.ndindex(x.shape):
        h = np.zeros(x.shape)
        h[place] = step
        result[(..., *place)] = (np.asarray(f(x + h)) - np.asarray(f(x - h))) / (2 * step)
    return result


def close(actual: Any, expected: Any, rtol: float = 1e-12) -> None:
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol)
    assert np.shape(actual) == np.shape(expected)


# --- each transform against central differences and against the others -------------------------------------


@EACH
def test_gradient_is_the_slope(f: Function, x: Any) -> None:
    close(
        graphc.grad(scalar(f))(x),
        numeric(lambda v: graphc.compile(scalar(f), "f64[]" if not np.ndim(v) else v)(v), x),
        1e-7,
    )


@EACH
def test_values_are_numpys(f: Function, x: Any) -> None:
    expected = f(x)
    assert graphc.value_and_grad(scalar(f))(x)[0] == pytest.approx(float(np.sum(np.sin(expected + 0.3))), rel=1e-12)
    close(graphc.vjp(f, x)[0], expected)
    close(graphc.linearize(f, x)[0], expected)
    close(graphc.jvp(f, (x,), (x,))[0], expected)


@EACH
def test_forward_and_reverse_agree(f: Function, x: Any) -> None:
    forward, reverse = graphc.jacfwd(f)(x), graphc.jacrev(f)(x)
    close(forward, reverse, 1e-10)
    y, pullback = graphc.vjp(f, x)
    _, derivative = graphc.linearize(f, x)
    t, ct = RNG.normal(size=np.shape(x)), RNG.normal(size=np.shape(y))
    pushed = graphc.jvp(f, (x,), (t,))[1]
    close(pushed, np.tensordot(forward, t, axes=np.ndim(x)), 1e-10)
    close(derivative(t), pushed)
    close(pullback(ct)[0], np.tensordot(ct, reverse, axes=np.ndim(y)), 1e-10)


@EACH
def test_second_order_agrees_in_every_nesting(f: Function, x: Any) -> None:
    g = scalar(f)
    expected = graphc.hessian(g)(x)
    close(expected, numeric(graphc.grad(g), x), 1e-5)
    for outer, inner in itertools.product((graphc.jacfwd, graphc.jacrev), repeat=2):
        close(outer(inner(g))(x), expected, 1e-8)
    v = RNG.normal(size=np.shape(x))
    product = np.tensordot(expected, v, axes=np.ndim(x))
    close(graphc.hvp(g)(x, v), product, 1e-8)
    close(graphc.jvp(graphc.grad(g), (x,), (v,))[1], product, 1e-8)
    close(graphc.grad(lambda z: graphc.jvp(g, (z,), (v,))[1])(x), product, 1e-8)
    close(graphc.grad(lambda z: np.sum(graphc.grad(g)(z) * v))(x), product, 1e-8)
    close(graphc.vjp(graphc.grad(g), x)[1](v)[0], product, 1e-8)
    close(graphc.linearize(graphc.grad(g), x)[1](v), product, 1e-8)
    close(graphc.grad(lambda z: graphc.linearize(g, z)[1](v))(x), product, 1e-8)
    close(graphc.grad(lambda z: np.sum(graphc.vjp(g, z)[1](1.0)[0] * v))(x), product, 1e-8)


D = graphc.grad


def by_jvp(f: Function) -> Function:
    return lambda x: graphc.jvp(f, (x,), (1.0,))[1]


def by_vjp(f: Function) -> Function:
    return lambda x: graphc.vjp(f, x)[1](1.0)[0]


def by_linearize(f: Function) -> Function:
    return lambda x: graphc.linearize(f, x)[1](1.0)


FIRST = {
    "grad": D,
    "jvp": by_jvp,
    "vjp": by_vjp,
    "linearize": by_linearize,
    "jacfwd": graphc.jacfwd,
    "jacrev": graphc.jacrev,
}


@pytest.mark.parametrize("names", list(itertools.product(FIRST, repeat=3)), ids="-".join)
def test_third_order_in_every_nesting(names: tuple[str, ...]) -> None:
    def f(x: Any) -> Any:
        return np.sin(x) * np.exp(x / 2) + x**4

    derived = f
    for name in names:
        derived = FIRST[name](derived)
    x = 0.7
    s, c = np.sin(x), np.cos(x)
    expected = np.exp(x / 2) * (s / 8 + 3 / 4 * c - 3 / 2 * s - c) + 24 * x
    close(derived(x), expected)


def test_fifth_order() -> None:
    f: Function = np.sin
    for _ in range(5):
        f = graphc.grad(f)
    close(f(0.4), np.cos(0.4))


# --- perturbation confusion ---------------------------------------------------------------------------------


def beside(inner: Callable[[Function, Any], Any]) -> Function:
    """The derivative by a of that of a c**2 by c, at a c that is older: an argument which is not differentiated."""
    return lambda x: graphc.grad(lambda a, c: inner(lambda y: a * y * y, c))(x, 2.0 * x)


CONFUSION: tuple[tuple[str, Function, float, float], ...] = (
    ("d/dx x d/dy (x + y)", D(lambda x: x * D(lambda y: x + y)(1.0)), 2.0, 1.0),
    ("d/dx x d/dy (x y)", D(lambda x: x * D(lambda y: x * y)(1.0)), 3.0, 6.0),
    ("d/dz z x at z = x", D(lambda x: D(lambda z: z * x)(x)), 3.0, 1.0),
    ("d/dz z x at z = x, undifferentiated", lambda x: D(lambda z: z * x)(x), 3.0, 3.0),
    ("d/dz z z x at z = x", D(lambda x: D(lambda z: z * z * x)(x)), 3.0, 12.0),
    ("forward in forward", by_jvp(lambda x: x * by_jvp(lambda y: x * y)(2.0)), 3.0, 6.0),
    ("forward in reverse", D(lambda x: x * by_jvp(lambda y: x * y)(2.0)), 3.0, 6.0),
    ("reverse in forward", by_jvp(lambda x: x * D(lambda y: x * y)(2.0)), 3.0, 6.0),
    ("pullback of a closure", D(lambda x: graphc.vjp(lambda y: y * x * x, 2.0)[1](1.0)[0]), 3.0, 6.0),
    ("linear map of a closure", D(lambda x: graphc.linearize(lambda y: y * x * x, 2.0)[1](1.0)), 3.0, 6.0),
    ("jit of a closure", D(lambda x: graphc.jit(lambda y: y * x * x)(2.0)), 3.0, 12.0),
    ("hvp of a closure", D(lambda x: graphc.hvp(lambda y: y**3 * x)(2.0, 1.0)), 3.0, 12.0),
    ("hessian of a closure", D(lambda x: graphc.hessian(lambda y: y**3 * x)(2.0)), 3.0, 12.0),
    ("pullback used outside", D(lambda x: graphc.vjp(lambda y: y * x, x)[1](x)[0]), 3.0, 6.0),
    ("linear map used outside", D(lambda x: graphc.linearize(lambda y: y * x, x)[1](x)), 3.0, 6.0),
    ("two levels of closures", D(lambda x: D(lambda y: D(lambda z: x * y * z)(y) * y)(x)), 3.0, 12.0),
    ("closed-over result of the outer level", D(lambda x: (lambda w: D(lambda y: w * y)(x))(x * x)), 3.0, 6.0),
    ("inner jit", D(lambda x: graphc.jit(lambda y: D(lambda z: z * x)(y))(x)), 3.0, 1.0),
    ("inner function constant in its argument", D(lambda x: D(lambda y: x * x)(x)), 3.0, 0.0),
    ("inner second derivative", D(lambda x: D(D(lambda y: x * y**3))(x)), 2.0, 24.0),
    ("gradient at an older value", beside(lambda f, c: D(f)(c)), 3.0, 12.0),
    ("tangent at an older value", beside(lambda f, c: graphc.jvp(f, (c,), (1.0,))[1]), 3.0, 12.0),
    ("pullback at an older value", beside(lambda f, c: graphc.vjp(f, c)[1](1.0)[0]), 3.0, 12.0),
    ("linear map at an older value", beside(lambda f, c: graphc.linearize(f, c)[1](1.0)), 3.0, 12.0),
    ("jacobian at an older value", beside(lambda f, c: graphc.jacobian(f)(c)), 3.0, 12.0),
    ("hvp at an older value", beside(lambda f, c: graphc.hvp(f)(c, 1.0)), 3.0, 2.0),
    ("cotangent of the outer level", D(lambda x: graphc.vjp(lambda y: y**2, 2.0 * x)[1](x**2)[0]), 3.0, 108.0),
)


@pytest.mark.parametrize(("f", "x", "expected"), [row[1:] for row in CONFUSION], ids=[row[0] for row in CONFUSION])
@pytest.mark.parametrize("wrap", [lambda f: f, graphc.jit], ids=["called", "jitted"])
def test_perturbations_are_not_confused(f: Function, x: float, expected: float, wrap: Function) -> None:
    close(wrap(f)(x), expected)


# --- arguments, results, structures -------------------------------------------------------------------------


def test_arguments_are_pytrees() -> None:
    params = {"w": MATRIX, "b": (VECTOR, 2.0), "unused": np.ones(2)}

    def loss(p: Any, x: Any) -> Any:
        return np.sum(np.tanh(p["w"] * x + p["b"][0])) * p["b"][1]

    gradient = graphc.grad(loss)(params, VECTOR)
    assert gradient.keys() == params.keys()
    inner = 1 - np.tanh(MATRIX * VECTOR + VECTOR) ** 2
    close(gradient["w"], inner * VECTOR * 2)
    close(gradient["b"][0], inner.sum(axis=0) * 2)
    close(gradient["b"][1], np.sum(np.tanh(MATRIX * VECTOR + VECTOR)))
    close(gradient["unused"], np.zeros(2))
    jacobian = graphc.jacrev(lambda p: {"y": p["b"][0] * p["b"][1]})({"b": params["b"]})
    close(jacobian["y"]["b"][0], np.eye(3) * 2)
    close(jacobian["y"]["b"][1], VECTOR)
    forward = graphc.jacfwd(lambda p: {"y": p["b"][0] * p["b"][1]})({"b": params["b"]})
    close(forward["y"]["b"][0], np.eye(3) * 2)
    close(forward["y"]["b"][1], VECTOR)


def test_hessian_of_a_pytree_has_every_block() -> None:
    blocks = graphc.hessian(lambda p: np.sum(p["a"] ** 2 * p["b"]))({"a": VECTOR, "b": 3.0})
    close(blocks["a"]["a"], np.eye(3) * 6)
    close(blocks["a"]["b"], 2 * VECTOR)
    close(blocks["b"]["a"], 2 * VECTOR)
    close(blocks["b"]["b"], 0.0)


@pytest.mark.parametrize(
    ("argnums", "expected"),
    [
        (0, 12.0),
        (1, 4.0),
        (-1, 4.0),
        ((0,), (12.0,)),
        ((1, 0), (4.0, 12.0)),
        ([0, 1], (12.0, 4.0)),
        ((-1, 0), (4.0, 12.0)),
    ],
)
def test_argnums(argnums: Any, expected: Any) -> None:
    def f(x: Any, y: Any) -> Any:
        return x * x * y

    for transform in (graphc.grad, graphc.jacfwd, graphc.jacrev):
        assert transform(f, argnums)(2.0, 3.0) == expected
    assert graphc.value_and_grad(f, argnums)(2.0, 3.0) == (12.0, expected)


def test_hessian_of_two_arguments_is_a_table() -> None:
    table = graphc.hessian(lambda x, y: x * x * y, argnums=(0, 1))(2.0, 3.0)
    assert table == ((6.0, 4.0), (4.0, 0.0))


def test_hvp_takes_argnums_and_the_vector_last() -> None:
    f = graphc.hvp(lambda a, x: np.sum(a * x**3), argnums=1)
    close(f(2.0, VECTOR, np.ones(3)), 12 * VECTOR)


def test_auxiliary_results_pass_through() -> None:
    def f(x: Any) -> Any:
        return np.sum(x**2), {"twice": 2 * x, "count": (x > 0).sum()}

    gradient, aux = graphc.grad(f, has_aux=True)(VECTOR)
    close(gradient, 2 * VECTOR)
    close(aux["twice"], 2 * VECTOR)
    assert aux["count"] == 2
    (value, aux), gradient = graphc.value_and_grad(f, has_aux=True)(VECTOR)
    close(value, np.sum(VECTOR**2))
    close(gradient, 2 * VECTOR)
    with pytest.raises(DifferentiationError):
        graphc.grad(f)(VECTOR)
    with pytest.raises(DifferentiationError):
        graphc.grad(lambda x: x * x, has_aux=True)(2.0)


def test_keyword_arguments_are_constants_of_differentiation() -> None:
    f = graphc.grad(lambda x, *, scale, shift=0.0: scale * x**2 + shift)
    assert f(3.0, scale=2.0) == 12.0
    assert f(3.0, scale=2.0, shift=1.0) == 12.0
    assert graphc.jacfwd(lambda x, *, scale: scale * x)(3.0, scale=2.0) == 2.0
    assert graphc.hvp(lambda x, *, scale: scale * x**2)(3.0, 1.0, scale=2.0) == 4.0
    assert graphc.hessian(lambda x, *, scale: scale * x**2)(3.0, scale=2.0) == 4.0
    assert graphc.value_and_grad(lambda x, scale: scale * x)(3.0, scale=2.0) == (6.0, 2.0)


def test_closed_over_arrays_are_constants() -> None:
    weights = np.array([1.0, 2.0, 3.0])
    close(graphc.grad(lambda x: np.sum(x * weights))(VECTOR), weights)
    close(graphc.hessian(lambda x: np.sum(x**2 * weights))(VECTOR), 2 * np.diag(weights))


@pytest.mark.parametrize("transform", [graphc.jacfwd, graphc.jacrev])
def test_the_same_array_twice_is_two_variables(transform: Function) -> None:
    x = np.array([1.0, 2.0])
    first, second = transform(lambda a, b: a * b * b, (0, 1))(x, x)
    close(first, np.diag(x * x))
    close(second, np.diag(2 * x * x))
    tree = transform(lambda p: p[0] * p[1] * p[1])([x, x])
    close(tree[0], np.diag(x * x))
    close(tree[1], np.diag(2 * x * x))
    traced = graphc.jit(lambda v: transform(lambda a, b: a * b * b, (0, 1))(v, v))(x)
    close(traced[0], np.diag(x * x))
    close(traced[1], np.diag(2 * x * x))
    close(graphc.grad(lambda a, b: np.sum(a * b * b))(x, x), x * x)
    close(graphc.jvp(lambda a, b: a * b * b, (x, x), (np.ones(2), np.zeros(2)))[1], x * x)
    close(graphc.vjp(lambda a, b: a * b * b, x, x)[1](np.ones(2)), [x * x, 2 * x * x])


def test_the_same_tracer_in_both_a_differentiated_and_a_constant_argument() -> None:
    assert graphc.jit(lambda v: graphc.grad(lambda a, b: a * b)(v, v))(3.0) == 3.0
    assert graphc.grad(lambda v: graphc.grad(lambda a, b: a * a * b)(v, v))(3.0) == 12.0


def test_disconnected_inputs_get_zeros() -> None:
    gradient = graphc.grad(lambda x, y: np.sum(x), argnums=1)(VECTOR, MATRIX.astype(np.float32))
    close(gradient, np.zeros((2, 3)))
    assert gradient.dtype == np.float32
    close(graphc.jacrev(lambda x: np.ones(2))(VECTOR), np.zeros((2, 3)))
    close(graphc.jacfwd(lambda x: np.ones(2))(VECTOR), np.zeros((2, 3)))
    close(graphc.jvp(lambda x: np.ones(2), (VECTOR,), (VECTOR,))[1], np.zeros(2))
    close(graphc.vjp(lambda x: np.ones(2), VECTOR)[1](np.ones(2))[0], np.zeros(3))
    close(graphc.hessian(np.sum)(VECTOR), np.zeros((3, 3)))
    assert graphc.grad(lambda x: np.sign(x) + np.floor_divide(x, 1.0))(1.5) == 0.0


def test_integers_and_booleans_between_stop_the_derivative() -> None:
    assert graphc.grad(lambda x: x * x.astype(int))(2.5) == 2.0
    assert graphc.grad(lambda x: x * (x > 1))(2.5) == 1.0
    close(graphc.grad(lambda x: np.sum(x[(x > 0).astype(int)]))(VECTOR), [1.0, 2.0, 0.0])
    with pytest.raises(DifferentiationError, match="not a real float"):
        graphc.grad(lambda x: x * 1.0)(3)
    with pytest.raises(DifferentiationError, match="real scalar"):
        graphc.grad(lambda x: (x > 0).sum())(VECTOR)


def test_integer_results_have_no_tangents() -> None:
    value, tangent = graphc.jvp(lambda x: (x**2, x > 0), (VECTOR,), (np.ones(3),))
    close(tangent[0], 2 * VECTOR)
    assert not tangent[1].any()
    assert value[1].tolist() == (VECTOR > 0).tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_derivatives_have_the_variables_dtype(dtype: Any) -> None:
    x = VECTOR.astype(dtype)
    assert graphc.grad(lambda v: np.sum(v * np.float64(2)))(x).dtype == dtype
    assert graphc.grad(lambda v: np.sum(v * 2.0))(x).dtype == dtype
    assert graphc.vjp(lambda v: v.astype(np.float64) ** 2, x)[1](np.ones(3))[0].dtype == dtype
    assert graphc.jacrev(lambda v: v.astype(np.float64) ** 2)(x).dtype == dtype
    assert graphc.jacfwd(lambda v: v.astype(np.float64) ** 2)(x).dtype == np.float64
    assert graphc.jvp(lambda v: v * 2, (x,), (x,))[1].dtype == dtype


def test_errors_say_what_to_do() -> None:
    with pytest.raises(DifferentiationError, match="jacobian, vjp"):
        graphc.grad(lambda x: x * 2)(VECTOR)
    with pytest.raises(DifferentiationError, match="argnums=2"):
        graphc.grad(lambda x: x * 2, argnums=2)(1.0)
    with pytest.raises(ShapeError, match="tangents"):
        graphc.jvp(np.sin, (VECTOR,), (np.ones(2),))
    with pytest.raises(StructureError, match="structure"):
        graphc.jvp(np.sin, (VECTOR,), (VECTOR, VECTOR))
    with pytest.raises(ShapeError):
        graphc.vjp(np.sin, VECTOR)[1](np.ones(2))
    with pytest.raises(ShapeError):
        graphc.linearize(np.sin, VECTOR)[1](np.ones(2))


def test_python_numbers_are_taken_as_tangents_and_cotangents() -> None:
    assert graphc.linearize(lambda x: x * 2, 1.0)[1](3) == 6.0
    assert graphc.vjp(lambda x: x * 2, 1.0)[1](3) == (6.0,)
    assert graphc.jvp(lambda x: x * 2, (1.0,), (3,)) == (2.0, 6.0)


def test_tangents_and_cotangents_are_cast_only_safely() -> None:
    x = VECTOR.astype(np.float32)
    for narrow in (
        lambda: graphc.vjp(np.sin, x)[1](np.ones(3)),
        lambda: graphc.linearize(np.sin, x)[1](np.ones(3)),
        lambda: graphc.jvp(np.sin, (x,), (np.ones(3),)),
        lambda: graphc.jit(lambda v: graphc.vjp(np.sin, v)[1](np.ones(3)))(x),
    ):
        with pytest.raises(DTypeError, match="no safe cast"):
            narrow()
    assert graphc.vjp(np.sin, VECTOR)[1](np.ones(3, np.float32))[0].dtype == np.float64


def test_sizes_stay_symbolic() -> None:
    gradient = graphc.compile(graphc.grad(lambda x: np.sum(np.log(1 + np.exp(x)) * x.shape[0])), "f64[n]")
    for n in (0, 1, 5):
        x = np.linspace(-1, 1, n)
        close(gradient(x), n / (1 + np.exp(-x)))
    product = graphc.compile(graphc.grad(np.prod), "f64[n]")
    for n in (0, 1, 4):
        x = np.arange(1.0, n + 1)
        close(product(x), np.prod(x) / x)


# --- gradients of expressions -------------------------------------------------------------------------------


def test_gradients_of_symbols_and_intermediate_values() -> None:
    x, y = graphc.symbol("x", "f64[3]"), graphc.symbol("y", "f64[]")
    z = x * y
    out = np.sum(z**2)
    gx, gy, gz = graphc.gradients(out, [x, y, z])
    f = graphc.compile([x, y], [gx, gy, gz])
    results = f(VECTOR, 2.0)
    close(results[0], 8 * VECTOR)
    close(results[1], 4 * np.sum(VECTOR**2))
    close(results[2], 4 * VECTOR)
    (gg,) = graphc.gradients(gy, [y])
    close(graphc.compile([x, y], [gg])(VECTOR, 2.0)[0], 2 * np.sum(VECTOR**2))


def test_gradients_takes_several_results_and_cotangents() -> None:
    x = graphc.symbol("x", "f64[3]")
    (g,) = graphc.gradients([x**2, x[0] * 3], [x], grad_outputs=[np.array([1.0, 2.0, 3.0]), 5.0])
    close(graphc.compile([x], [g])(VECTOR)[0], 2 * VECTOR * [1, 2, 3] + [15, 0, 0])
    with pytest.raises(DifferentiationError, match="grad_outputs"):
        graphc.gradients(x**2, [x])


def test_gradients_of_disconnected_and_repeated_values() -> None:
    x, y = graphc.symbol("x", "f64[2]"), graphc.symbol("y", "f32[2]")
    out = np.sum(x * 3)
    results = graphc.compile([x, y], graphc.gradients(out, [x, y, x, out]))(np.ones(2), np.ones(2, np.float32))
    close(results[0], [3.0, 3.0])
    close(results[1], np.zeros(2, np.float32))
    assert results[1].dtype == np.float32
    close(results[2], [3.0, 3.0])
    close(results[3], 1.0)


def test_gradients_inside_a_trace() -> None:
    def f(x: Any) -> Any:
        y = x**3
        return graphc.gradients(np.sum(y**2), [x, y])

    gx, gy = graphc.jit(f)(VECTOR)
    close(gx, 6 * VECTOR**5)
    close(gy, 2 * VECTOR**3)
    close(graphc.grad(lambda x: np.sum(f(x)[0]))(VECTOR), 30 * VECTOR**4)


def test_a_missing_input_is_named() -> None:
    x, y = graphc.symbol("x", "f64[]"), graphc.symbol("y", "f64[]")
    with pytest.raises(TraceError, match="depend on y"):
        graphc.compile([x], [x * y])


def test_an_input_is_listed_once() -> None:
    """Of two arguments for one symbol, one would be ignored."""
    x, y = graphc.symbol("x", "f64[]"), graphc.symbol("y", "f64[]")
    with pytest.raises(TraceError, match=r"x stands twice among the inputs\n.*\n.*compile\(\[x, y, x\]"):
        graphc.compile([x, y, x], [x * y])


def test_the_name_of_a_symbol_is_text() -> None:
    with pytest.raises(TraceError, match=r"a name is text\n.*\n.*actual +3"):
        graphc.symbol(3, "f64[]")  # type: ignore[arg-type]


def test_contributions_are_added_up_as_they_come() -> None:
    """Not at the end: a parameter that many steps use does not keep an array for each of them in memory."""

    def last(w: Any, x: Any) -> Any:
        for _ in range(40):
            x = np.sin(x * w)
        return np.sum(x)

    graph = graphc.trace(graphc.grad(last), "f64[3]", "f64[3]")
    adds = [(i, data["args"]) for i, data in graph._node.items() if data["op"] == "add"]
    assert len(adds) == 39
    assert max(i - min(args) for i, args in adds) < 40
    # in the order of the steps, last ones first
    w, x = np.array([0.3, 1.7, -2.0]), np.array([0.5, -1.0, 3.0])
    states = [x]
    for _ in range(40):
        states.append(np.sin(states[-1] * w))
    cotangent, total = np.ones(3), None
    for state in reversed(states[:-1]):
        inner = cotangent * np.cos(state * w)
        cotangent = inner * w
        total = inner * state if total is None else total + inner * state
    found = graphc.compile(graphc.grad(last), "f64[3]", "f64[3]", kernels="none")(w, x)
    np.testing.assert_array_equal(found, total)
