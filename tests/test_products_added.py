"""Products that are added to an array: one call of BLAS, which means what the product and the sum mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.backends.numpy.llvm import entry, panels
from graphc.backends.numpy.llvm.instructions import Choice, Copy, Product, Run
from graphc.backends.numpy.llvm.steps import lower
from graphc.backends.numpy.llvm.updates import SHORT

pytestmark = pytest.mark.skipif(not entry.SUPPORTED, reason="arrays of this interpreter are not laid out as known")


def values(*shapes: tuple[int, ...], dtype: Any = np.float64) -> list[Any]:
    rng = np.random.default_rng(3)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def instructions(f: Any) -> list[Any]:
    return list(lower(f.plan).instructions)


def merged(f: Any) -> bool:
    """Whether the program has one product, which adds, by BLAS or by panels, and no kernel that runs after it."""
    program = lower(f.plan)
    last = program.instructions[-1]
    while isinstance(last, Choice):
        last = last.usual[-1]
    if isinstance(last, Run):
        product = panels.panels(program.kernels[last.kernel])
        return product is not None and product.factor != 0
    return isinstance(last, Product) and last.beta != 0


W, X, G = (60, 50), (40, 60), (40, 50)
MERGED: dict[str, Callable[..., Any]] = {
    "descent": lambda w, x, g: w - 0.1 * (x.T @ g),
    "ascent": lambda w, x, g: w + x.T @ g,
    "the product first": lambda w, x, g: 0.5 * (x.T @ g) + w,
    "subtracted from": lambda w, x, g: x.T @ g - w,
    "transposed": lambda w, x, g: w - 0.1 * (g.T @ x).T,
    "divided": lambda w, x, g: w - (x.T @ g) / 40,
    "negative": lambda w, x, g: w + -(x.T @ g) * 2,
    "both scaled": lambda w, x, g: 0.9 * w - 0.1 * (x.T @ g),
    "sliced operands": lambda w, x, g: w - 0.1 * (x[::2].T @ g[20:]),
    "a mean": lambda w, x, g: w - 0.1 * (x.T @ g) / x.shape[0],
    "written in place": lambda w, x, g: in_place(w, x, g),
}


def in_place(w: Any, x: Any, g: Any) -> Any:
    w = graphc.numpy.array(w)
    w -= 0.1 * x.T @ g
    return w


@pytest.mark.parametrize("donated", [False, True], ids=["kept", "donated"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", MERGED)
def test_one_call(name: str, dtype: Any, donated: bool) -> None:
    arrays = values(W, X, G, dtype=dtype)
    f = graphc.compile(MERGED[name], *arrays, kernels="llvm", donate_argnums=0 if donated else ())
    if name != "written in place":  # NumPy's order of operations: the scaled x is an operand
        assert merged(f)
    expected = graphc.compile(MERGED[name], *arrays, kernels="none")(*arrays)
    given = [a.copy() for a in arrays]
    found = f(*given)
    np.testing.assert_allclose(found, expected, rtol=0, atol=60 * np.finfo(dtype).eps)
    assert (found is given[0]) == donated
    for a, b in zip(given[donated:], arrays[donated:], strict=True):
        np.testing.assert_array_equal(a, b)
    if donated:
        assert not any(isinstance(i, Copy) for i in instructions(f))


def test_a_rate_that_is_an_argument() -> None:
    f = graphc.compile(lambda w, x, g, rate: w - rate * (x.T @ g), *values(W, X, G), 0.5, kernels="llvm")
    assert merged(f)
    w, x, g = values(W, X, G)
    for rate in (0.5, -2.0, 1e-300, 0.0, -0.0, np.inf, np.nan):
        with np.errstate(all="ignore"):
            expected = w - rate * (x.T @ g)
        np.testing.assert_allclose(f(w, x, g, rate), expected, rtol=1e-12, atol=1e-12)
    x[3, 7] = np.inf
    found = f(w, x, g, 0.0)
    assert np.isnan(found[7]).all()  # 0 times infinity
    np.testing.assert_array_equal(np.delete(found, 7, 0), np.delete(w, 7, 0))


def test_a_rate_of_zero_writes_into_donated_memory_too() -> None:
    f = graphc.compile(
        lambda w, x, g, rate: w - rate * (x.T @ g), *values(W, X, G), 0.5, kernels="llvm", donate_argnums=0
    )
    w, x, g = values(W, X, G)
    before = w.copy()
    assert f(w, x, g, 0.0) is w
    np.testing.assert_array_equal(w, before)


def test_named_sizes() -> None:
    f = graphc.compile(lambda w, x, g: w - 0.1 * (x.T @ g), "f64[n,m]", "f64[30,n]", "f64[30,m]", kernels="llvm")
    assert merged(f)
    for n, m in ((40, 50), (1, 1), (0, 3), (3, 0)):
        w, x, g = values((n, m), (30, n), (30, m))
        np.testing.assert_allclose(f(w, x, g), w - 0.1 * (x.T @ g), rtol=1e-12, atol=1e-12)


def test_a_batch_of_any_size() -> None:
    """Short sums in one call, long ones apart; an empty batch changes nothing but the scale."""
    f = graphc.compile(
        lambda w, x, g, rate: 0.9 * w - rate * (x.T @ g),
        "f64[20,30]",
        "f64[n,20]",
        "f64[n,30]",
        "f64[]",
        kernels="llvm",
    )
    assert merged(f)
    h = graphc.compile(
        lambda w, x, g: 0.9 * w - 0.1 * (x.T @ g), "f64[20,30]", "f64[n,20]", "f64[n,30]", kernels="llvm"
    )
    assert merged(h)
    for n in (100, 1, 0, SHORT, SHORT + 1):
        w, x, g = values((20, 30), (n, 20), (n, 30))
        expected = 0.9 * w - 0.1 * (x.T @ g)
        np.testing.assert_allclose(f(w, x, g, 0.1), expected, rtol=1e-12, atol=1e-11)
        np.testing.assert_allclose(h(w, x, g), expected, rtol=1e-12, atol=1e-11)
        np.testing.assert_allclose(f(w, x, g, 0.0), 0.9 * w, rtol=1e-12)


def test_stacks() -> None:
    f = graphc.compile(lambda w, a, b: w + a @ b, "f64[5,40,30]", "f64[5,40,35]", "f64[5,35,30]", kernels="llvm")
    assert merged(f)
    w, a, b = values((5, 40, 30), (5, 40, 35), (5, 35, 30))
    np.testing.assert_allclose(f(w, a, b), w + a @ b, rtol=1e-12, atol=1e-12)


APART: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "the product is a result": (lambda w, x, g: ((p := x.T @ g), w - p), (W, X, G)),
    "the product is used again": (lambda w, x, g: w - (p := x.T @ g) + np.sum(p), (W, X, G)),
    "a function of the product": (lambda w, x, g: w - np.tanh(x.T @ g), (W, X, G)),
    "a row is added": (lambda w, x, g: w[0] - x.T @ g, (W, X, G)),
    "a scaled sum": (lambda w, x, g: 0.1 * (w - x.T @ g), (W, X, G)),
    "long sums": (lambda w, x, g: w - 0.1 * (x.T @ g), ((8, 9), (SHORT + 1, 8), (SHORT + 1, 9))),
}  # fmt: skip


@pytest.mark.parametrize("name", APART)
def test_what_stays_two_steps(name: str) -> None:
    f, shapes = APART[name]
    arrays = values(*shapes)
    g = graphc.compile(f, *arrays, kernels="llvm")
    assert any(isinstance(i, Run) for i in instructions(g))
    assert not any(isinstance(i, Product) and i.beta for i in instructions(g))
    expected = graphc.compile(f, *arrays, kernels="none")(*arrays)
    for a, b in zip(*(r if isinstance(r, (tuple, list)) else [r] for r in (g(*arrays), expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-11)


def test_a_matrix_that_is_read_by_its_own_update() -> None:
    for donated in ((), 0):
        f = graphc.compile(lambda w, x: w - 0.1 * (w @ x), "f64[40,40]", "f64[40,40]", donate_argnums=donated)
        w, x = values((40, 40), (40, 40))
        expected = w - 0.1 * (w @ x)
        np.testing.assert_allclose(f(w, x), expected, rtol=1e-12, atol=1e-12)


def test_updates_of_several_layers_see_the_old_weights() -> None:
    def step(a: Any, b: Any, x: Any) -> Any:
        h = x @ a
        g = h @ b
        return a - 0.1 * (x.T @ (g @ b.T)), b - 0.1 * (h.T @ g)

    arrays = values((60, 50), (50, 40), (45, 60))
    expected = step(*arrays)
    found = graphc.compile(step, *arrays, kernels="llvm", donate_argnums=(0, 1))(*[x.copy() for x in arrays])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("inner", [60, 500, SHORT])
def test_as_exact_as_numpy(inner: int, dtype: Any) -> None:
    """The error of NumPy's product and sum, four times over at most, where the array is much larger than the update."""
    rng = np.random.default_rng(0)
    w = (100 * rng.normal(size=(30, 40))).astype(dtype)
    x, g = rng.normal(size=(inner, 30)).astype(dtype), rng.normal(size=(inner, 40)).astype(dtype)
    f = graphc.compile(lambda w, x, g: w - dtype(0.01) * (x.T @ g), w, x, g, kernels="llvm")
    assert merged(f)
    exact = w.astype(np.longdouble) - np.longdouble(dtype(0.01)) * (x.astype(np.longdouble).T @ g)
    own = np.abs(f(w, x, g) - exact).max()
    numpy = np.abs(w - dtype(0.01) * (x.T @ g) - exact).max()
    assert own <= 4 * numpy
