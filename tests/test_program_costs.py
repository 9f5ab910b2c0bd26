"""What programs are thought to cost, before any has run: whether other threads run meanwhile depends on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.backends.numpy.llvm import costs
from graphc.backends.numpy.llvm.machine import X86_AVX512
from graphc.backends.numpy.llvm.steps import lower


def total(f: Callable[..., Any], *specs: str) -> float:
    found = costs.total(lower(graphc.compile(f, *specs, kernels="llvm").plan, X86_AVX512))
    assert found is not None
    return found


def test_long_rows_cost_by_their_bytes() -> None:
    single, double = (total(lambda x, i: x[i], f"{dtype}[100,1000]", "i64[50]") for dtype in ("f32", "f64"))
    assert 1.9 < double / single < 2


def test_short_rows_cost_by_their_number() -> None:
    few, many = (total(lambda x, i: x[i], "f32[1000]", f"i64[{n}]") for n in (100, 1000))
    assert many == pytest.approx(10 * few)
    assert few > 10 * total(lambda x: x + 1, "f32[100]"), "an addition goes by vectors"


def test_searches_cost_by_the_length_of_what_they_search() -> None:
    short, long = (total(np.searchsorted, f"f64[{n}]", "f64[100]") for n in (15, 255))
    assert long == pytest.approx(2 * short)


def test_zeros_cost_by_their_bytes_and_the_numbers_between_them_by_their_number() -> None:
    def chain(x: Any) -> Any:
        return np.sum((x[1:] - x[:-1] ** 2) ** 2)

    few, many = (total(graphc.hessian(chain), f"f64[{n}]") for n in (100, 200))
    assert 2 * few < many < 4 * few


def test_what_depends_on_sizes_is_not_known() -> None:
    compiled = graphc.compile(lambda x, i: x[i], "f64[n]", "i64[k]", kernels="llvm")
    assert costs.total(lower(compiled.plan, X86_AVX512)) is None
