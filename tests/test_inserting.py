"""Results of kernels that go into a slice of a larger array are stored there, whatever else needs the array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

Program = Callable[[Any, Any], Any]
X, Y = np.linspace(-1, 1, 42).reshape(6, 7), np.cos(np.arange(42.0)).reshape(6, 7)


def inner(x: Any, y: Any) -> Any:
    x = x.copy()
    x[1:-1, 1:-1] += 0.2 * (x[2:, 1:-1] + x[:-2, 1:-1] + x[1:-1, 2:] + x[1:-1, :-2] - 4 * x[1:-1, 1:-1])
    return x


def computed_before(x: Any, y: Any) -> Any:
    z = x * y + 1
    z[2:4] = np.exp(x[2:4]) * y[2:4]
    return z


def read_afterwards(x: Any, y: Any) -> Any:
    z = x * y + 1
    w = np.sin(z) * 2
    z[:, 2:4] = np.exp(x[:, 2:4]) * y[:, 2:4]
    return z, w, z.sum(axis=0)


def backwards(x: Any, y: Any) -> Any:
    z = x + 0
    z[::-2, 5:0:-2] = np.exp(y[::2, ::3]) + 1
    return z


def two_writes(x: Any, y: Any) -> Any:
    z = np.zeros_like(x)
    z[:3] = np.exp(x[:3]) + 1
    z[2:] = np.exp(y[2:]) + z[1:-1]
    return z


def two_arrays(x: Any, y: Any) -> Any:
    v = np.exp(x[1:5]) + y[1:5]
    a, b = x.copy(), y.copy()
    a[1:5] = v
    b[1:5] = v * 2
    return a, b


def shown_itself(x: Any, y: Any) -> Any:
    v = np.exp(x[1:5]) + y[1:5]
    a = x.copy()
    a[1:5] = v
    return a, v


def base_made_later(x: Any, y: Any) -> Any:
    v = np.exp(x[1:5]) + y[1:5]
    a = np.sort(x, axis=0)
    a[1:5] = v
    return a, np.sort(a[:, ::-1], axis=1)


def base_needs_the_update(x: Any, y: Any) -> Any:
    v = np.exp(x[1:5]) + y[1:5]
    a = np.concatenate([v, v[:2] * 2 + 1])
    a[1:5] = v
    return a


def base_needs_the_kernel(x: Any, y: Any) -> Any:
    v, u = np.exp(x[1:5]) + y[1:5], np.exp(x[1:5]) * 3
    a = np.concatenate([u, u[:2] * 2 + 1])
    a[1:5] = v
    return a


def sums_too(x: Any, y: Any) -> Any:
    v = np.exp(x[1:5]) + y[1:5]
    a = y.copy()
    a[1:5] = v
    return a, v.sum(axis=1), v.max()


def rows_of_sums(x: Any, y: Any) -> Any:
    a = y.copy()
    a[2] = (np.exp(x) * y).sum(axis=0)
    a[:, 3] = (np.exp(x) * y).sum(axis=1)
    return a


def in_a_loop(x: Any, y: Any) -> Any:
    a = x.copy()
    for k in range(1, 6):
        a[k] = np.tanh(a[k - 1] * y[k]) + a[k]
    return a


PROGRAMS = [
    inner, computed_before, read_afterwards, backwards, two_writes, two_arrays, shown_itself, base_made_later,
    base_needs_the_update, base_needs_the_kernel, sums_too, rows_of_sums, in_a_loop,
]  # fmt: skip


@pytest.mark.parametrize("kernels", ["llvm", "ufunc", "none"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
@pytest.mark.parametrize("specs", [("f64[6,7]", "f64[6,7]"), ("f64[n,7]", "f64[n,7]")], ids=["fixed", "named"])
def test_as_numpy(program: Program, specs: tuple[str, str], kernels: str) -> None:
    if kernels == "llvm":
        pytest.importorskip("llvmlite")
    x, y = X.copy(), Y.copy()
    expected = program(X, Y)
    actual = graphc.compile(program, *specs, kernels=kernels)(x, y)
    if not isinstance(expected, tuple):
        expected, actual = (expected,), (actual,)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)
        assert not np.shares_memory(one, x)
        assert not np.shares_memory(one, y)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize("program", [inner, computed_before], ids=lambda p: p.__name__)
def test_no_array_between(program: Program) -> None:
    compiled = graphc.compile(program, X, Y)
    assert all(step.kernel is not None for step in compiled.plan.steps)
    assert compiled.plan.peak_bytes() <= X.nbytes + 64


def test_a_base_that_is_made_later_is_made_first() -> None:
    compiled = graphc.compile(base_made_later, X, Y)
    nodes = compiled.plan.graph.nodes
    single = [nodes[step.nodes[0]]["op"] for step in compiled.plan.steps if step.kernel is None]
    assert single.count("sort") == 2
    assert "insert_slice" not in single
