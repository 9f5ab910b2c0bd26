"""Medians, quantiles and other few elements of a sorted array: by partitions, with the results of sorting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.ops.functions import partition_from

DTYPES = (np.float64, np.float32, np.float16, np.int64, np.uint8)
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "median": lambda x: np.median(x, axis=1),
    "median of all": lambda x: np.median(x),
    "between elements": lambda x: np.quantile(x, 0.3, axis=1, method="lower"),
    "levels": lambda x: np.percentile(x, [10, 90], axis=1, method="higher"),
    "a slice of a sort": lambda x: np.sort(x, axis=1)[:, 5:11:2],
    "from the end": lambda x: np.sort(x, axis=1)[:1, -3:],
}
SORTED: dict[str, Callable[[Any], Any]] = {
    "the whole": lambda x: np.sort(x, axis=1),
    "a result too": lambda x: [np.sort(x, axis=1), np.sort(x, axis=1)[:, 3]],
    "much": lambda x: np.sort(x, axis=1)[:, :100],
    "many levels": lambda x: np.quantile(x, np.linspace(0, 1, 20), axis=1, method="nearest"),
    "all of it": lambda x: np.max(np.sort(x, axis=1) * x, axis=1) + np.sort(x, axis=1)[:, 3],
    "traced places": lambda x: np.sort(x, axis=1)[:, np.argmax(x[0]) % 9],
    "by columns": lambda x: np.median(x, axis=0),
}


def numbers(dtype: Any, length: int) -> Any:
    x = np.random.default_rng(length).normal(size=(3, length)) * 50 + 100
    return np.clip(x, 0, 255).astype(dtype)


@pytest.mark.parametrize("kernels", ["llvm", "none"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_partitions_give_what_sorting_gives(name: str, dtype: Any, kernels: str) -> None:
    f, length = FUNCTIONS[name], partition_from(np.dtype(dtype))
    kind = f"{np.dtype(dtype).kind}{8 * np.dtype(dtype).itemsize}"
    named = graphc.compile(f, f"{kind}[n,m]", kernels=kernels)
    for size in (20, length - 1, length, length + 1):
        x = numbers(dtype, size)
        compiled = graphc.compile(f, x, kernels=kernels)
        assert ("partition(" in compiled.source) == (size >= length or (name == "median of all" and 3 * size >= length))
        wanted = f(x)
        for found in (compiled(x), named(x)):
            assert np.array_equal(found, wanted)
            assert np.asarray(found).dtype == np.asarray(wanted).dtype


@pytest.mark.parametrize("name", SORTED)
def test_what_needs_more_is_sorted(name: str) -> None:
    x = numbers(np.float64, 3000)
    f = graphc.compile(SORTED[name], x)
    assert "np.sort(" in f.source
    assert "partition" not in f.source
    for found, wanted in zip(f(x), SORTED[name](x), strict=True):
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_nan_comes_last(dtype: Any) -> None:
    x = numbers(dtype, 9000)
    x[0, 17], x[1, 5], x[1, 6] = np.nan, np.inf, -np.inf
    for f in (lambda x: np.median(x, axis=1), lambda x: np.sort(x, axis=1)[:, -2:], lambda x: np.median(x)):
        assert np.array_equal(graphc.compile(f, x)(x), f(x), equal_nan=True)


def test_named_sizes_are_chosen_for_at_run_time() -> None:
    f = graphc.compile(lambda x: np.median(x), "f64[n]")
    assert "nk.sorted_at(x, (" in f.source
    for size in (1, 2, 3, 2047, 2048, 4001):
        x = numbers(np.float64, size)[0]
        assert f(x) == np.median(x)


def test_derivatives_share_ties_as_ever() -> None:
    x = np.round(numbers(np.float64, 3000)[0] / 20)
    slope = graphc.compile(graphc.grad(lambda x: np.median(x)), x)(x)
    tied = x == np.median(x)
    assert np.allclose(slope, tied / tied.sum())
