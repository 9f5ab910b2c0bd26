"""Positions of the largest and the smallest elements, in kernels; and what runs by NumPy without warnings."""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np
import pytest

import graphc
from graphc.ops import TABLE
from graphc.ops.sorting import MANY

KERNELS: Final = ("llvm", "ufunc", "none")
FUNCTIONS: Final = {"argmax": np.argmax, "argmin": np.argmin}
SHAPES: Final = ((7, 9), (40, 3), (3, 40), (1, 1), (2, 3, 4))


def array(shape: tuple[int, ...], dtype: str) -> Any:
    """Few different numbers, so that the best one is often there again; NaN in floats."""
    x = (np.random.default_rng(sum(shape)).standard_normal(shape) * 3).round().astype(dtype)
    if x.dtype.kind == "f" and x.size > 5:
        x.flat[3] = x.flat[-1] = np.nan
        x.flat[1], x.flat[2], x.flat[4] = np.inf, -np.inf, -0.0
    return x


def agree(actual: Any, expected: Any) -> None:
    assert type(actual) is type(expected)
    assert np.asarray(actual).dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i1", "u8", "?"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_axis(name: str, dtype: str, kernels: Any) -> None:
    f = FUNCTIONS[name]
    for shape in SHAPES:
        x = array(shape, dtype)
        for axis in (None, 0, -1):
            for keepdims in (False, True):

                def g(x: Any, axis: Any = axis, keepdims: bool = keepdims) -> Any:
                    return f(x, axis=axis, keepdims=keepdims)

                agree(graphc.compile(g, x, kernels=kernels)(x), g(x))


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_named_sizes(name: str, axis: int, kernels: Any) -> None:
    f = FUNCTIONS[name]
    compiled = graphc.compile(lambda x: f(x, axis=axis), "f64[n,m]", kernels=kernels)
    for shape in ((5, 7), (1, 300), (300, 1), *([(4, 0)] if axis == 0 else [(0, 4)])):
        x = array(shape, "f8")
        agree(compiled(x), f(x, axis=axis))
    for shape in ((0, 0), (0, 4) if axis == 0 else (4, 0)):
        with pytest.raises(ValueError, match=f"attempt to get {name} of an empty sequence"):
            compiled(np.zeros(shape))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_of_nothing_but_the_identity(name: str) -> None:
    """What a maximum starts from, and gives to an empty range, is the first of its equals here."""
    f = FUNCTIONS[name]
    for number in (np.inf, -np.inf, np.nan):
        x = np.full((3, 50), number)
        agree(graphc.compile(lambda x: f(x, axis=1), x)(x), f(x, axis=1))
    least = np.full((3, 50), np.iinfo(np.int8).min, np.int8)
    agree(graphc.compile(lambda x: f(x, axis=1), least)(least), f(least, axis=1))


def test_with_what_is_computed_before() -> None:
    x, w = array((20, 8), "f4"), array((8, 10), "f4")
    x, w = np.nan_to_num(x, posinf=2, neginf=-2), np.nan_to_num(w, posinf=2, neginf=-2)

    def classes(x: Any, w: Any) -> Any:
        return np.argmax(x @ w + np.arange(10, dtype=np.float32), axis=1)

    agree(graphc.compile(classes, x, w)(x, w), classes(x, w))


def test_which_run_in_kernels() -> None:
    pytest.importorskip("llvmlite", reason="llvmlite is not installed: pip install llvmlite")

    def in_kernels(spec: str, axis: int) -> bool:
        source = graphc.compile(lambda x: np.argmax(x, axis=axis), spec, kernels="llvm").source
        return "np.argmax" not in source

    assert in_kernels("f64[n,m]", 1)
    assert in_kernels("f64[30,40]", 1)
    assert in_kernels(f"f64[{MANY},10]", 0)
    assert not in_kernels(f"f64[{MANY},10]", 1)


CALLS: Final = {
    "argmax": lambda x: np.argmax(x, axis=0),
    "argmin": lambda x: np.argmin(x, axis=0),
    "sort": lambda x: np.sort(x, axis=0),
    "argsort": lambda x: np.argsort(x, axis=0),
    "searchsorted": lambda x: np.searchsorted(x[:, 0], x[:, 1]),
    "concatenate": lambda x: np.concatenate([x, x]),
    "gather": lambda x: np.take(x, np.array([1, 0]), axis=0),
}


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8"])
@pytest.mark.parametrize("name", CALLS)
def test_what_runs_unguarded_never_warns(name: str, dtype: str) -> None:
    x = array((6, 5), dtype)
    f = graphc.compile(CALLS[name], x, kernels="none")
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        f(x)
    assert "errstate" not in f.source


def test_all_that_runs_unguarded_is_tested() -> None:
    assert CALLS.keys() == {op.name for op in TABLE.values() if op.silent}
