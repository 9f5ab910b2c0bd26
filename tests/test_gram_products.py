"""Products of a matrix with its own transpose: one triangle by BLAS, and its mirror image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.backends.numpy.llvm import entry, grams
from graphc.backends.numpy.llvm.instructions import Choice, Product, usual
from graphc.backends.numpy.llvm.machine import ARM_NEON, X86_AVX2, X86_AVX512, X86_BASELINE, Machine, assemble
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.steps import lower

pytestmark = pytest.mark.skipif(not entry.SUPPORTED, reason="arrays of this interpreter are not laid out as known")

DTYPES = (np.float32, np.float64)
FORMS: dict[str, Callable[[Any], Any]] = {
    "rows": lambda x: x @ x.T,
    "columns": lambda x: x.T @ x,
    "tensordot": lambda x: np.tensordot(x, x, axes=([1], [1])),
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x),
    "every other": lambda x: x[::-1, ::2] @ x[::-1, ::2].T,
    "computed": lambda x: np.exp(-x * x) @ np.exp(-x * x).T,
    "stacked": lambda x: np.stack([x, 2 * x]) @ np.swapaxes(np.stack([x, 2 * x]), 1, 2),
}
OTHERS: dict[str, Callable[[Any], Any]] = {
    "another array": lambda x: x @ (2 * x).T,
    "not turned": lambda x: x[:, :80] @ x[:80],
    "rows apart": lambda x: x[:-1] @ x[1:].T,
    "in reverse": lambda x: x @ x[::-1].T,
    "added": lambda x: x - 0.5 * (x @ x.T),
}


def marked(f: Any) -> list[bool]:
    """Of the products that the program does usually, whether each is known as one with its own transpose."""
    return [i.gram for i in usual(lower(f.plan).instructions) if isinstance(i, Product)]


def close(found: Any, wanted: Any, terms: int) -> bool:
    """Whether a product is as exact as sums of so many terms are."""
    return bool((np.abs(found - wanted) <= terms * np.finfo(found.dtype).eps * np.abs(wanted).max()).all())


def specs(x: Any) -> Sequence[Any]:
    kind = f"f{8 * x.itemsize}"
    return x, f"{kind}[n,k]", f"{kind}[n,{x.shape[1]}]", f"{kind}[{x.shape[0]},k]"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_is_symmetric_and_right(form: str, dtype: Any) -> None:
    rng = np.random.default_rng(len(form))
    for rows in (80, 81, int(rng.integers(82, 140)), 192):
        x = rng.normal(size=(rows, int(rng.integers(80, 200)))).astype(dtype)
        wanted = FORMS[form](x.astype(np.longdouble))
        for spec in specs(x):
            f = graphc.compile(FORMS[form], spec, kernels="llvm")
            assert marked(f) == [True]
            found = f(x)
            assert found.dtype == dtype
            assert close(found, wanted, max(x.shape))
            assert np.array_equal(found, np.swapaxes(found, -1, -2))


@pytest.mark.parametrize("form", OTHERS)
def test_others_are_left_alone(form: str) -> None:
    x = np.random.default_rng(0).normal(size=(120, 120))
    for spec in (x, "f64[120,120]"):
        f = graphc.compile(OTHERS[form], spec, kernels="llvm")
        assert not any(marked(f))
        assert close(f(x), OTHERS[form](x.astype(np.longdouble)), 120)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_size_of_the_mirror(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grams, "LEAST", 0)
    f = graphc.compile(lambda x: x @ x.T, f"{'f32' if dtype is np.float32 else 'f64'}[n,k]", kernels="llvm")
    rng = np.random.default_rng(1)
    for rows in [*range(70), 127, 128, 129, 130, 255, 257]:
        for inner in (0, 1, 5):
            x = rng.integers(-3, 4, size=(rows, inner)).astype(dtype)  # of which products are exact
            assert np.array_equal(f(x), x @ x.T)


def test_few_rows_are_chosen_at_run_time() -> None:
    f = graphc.compile(lambda x: x @ x.T, "f64[n,5]", kernels="llvm")
    (choice,) = (i for i in lower(f.plan).instructions if isinstance(i, Choice))
    assert [i.gram for i in choice.otherwise if isinstance(i, Product)] == [False]
    for rows in (0, 1, grams.LEAST - 1, grams.LEAST):
        x = np.random.default_rng(rows).integers(-3, 4, size=(rows, 5)).astype(np.float64)
        assert np.array_equal(f(x), x @ x.T)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_the_memory_held_does_not_count(dtype: Any) -> None:
    f = graphc.compile(lambda x: x.T @ x, f"{'f32' if dtype is np.float32 else 'f64'}[200,200]", kernels="llvm")
    x = np.ones((200, 200), dtype)
    bad = x.copy()
    bad[3, 5], bad[7, 9] = np.nan, np.inf
    for _ in range(3):
        spoilt = f(bad)
        assert np.array_equal(np.isfinite(spoilt), np.isfinite(bad.T @ bad))
        assert np.array_equal(np.isnan(spoilt), np.isnan(bad.T @ bad))
        del spoilt  # whose memory the next result takes
        assert np.array_equal(f(x), np.full((200, 200), 200, dtype))


def test_gradients() -> None:
    rng = np.random.default_rng(2)
    x, w = rng.normal(size=(90, 100)), rng.normal(size=(90, 90))
    f = graphc.compile(graphc.value_and_grad(lambda x, w: np.sum(w * (x @ x.T) ** 2)), x, w, kernels="llvm")
    assert True in marked(f)
    value, slope = f(x, w)
    product = x @ x.T
    part = 2 * w * product
    assert np.allclose(value, np.sum(w * product**2), rtol=1e-12)
    assert np.allclose(slope, (part + part.T) @ x, rtol=1e-10)


@pytest.mark.parametrize("machine", [X86_BASELINE, X86_AVX2, X86_AVX512, ARM_NEON], ids=lambda m: m.cpu)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_processor_has_the_mirror(machine: Machine, dtype: Any) -> None:
    module = Module(machine.features_used)
    name = grams.declared(module, np.dtype(dtype))
    assert assemble(module.helpers[name], machine)
