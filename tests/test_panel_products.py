"""Products of matrices with few rows, multiplied by panels: every size, layout, machine and number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc.backends.numpy.llvm import code, entry, panels, prebuilt
from graphc.backends.numpy.llvm.instructions import Choice, Product, usual
from graphc.backends.numpy.llvm.loops import function
from graphc.backends.numpy.llvm.machine import (
    ARM_NEON,
    X86_AVX2,
    X86_AVX512,
    X86_BASELINE,
    Machine,
    assemble,
    host,
)
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.pool import pool
from graphc.backends.numpy.llvm.steps import lower

pytestmark = pytest.mark.skipif(not entry.SUPPORTED, reason="arrays of this interpreter are not laid out as known")
has_limits = pytest.mark.skipif(host().register not in panels.LIMITS, reason="panels are not measured here")

DTYPES = (np.float32, np.float64)


def by_panels(f: Any, machine: Machine | None = None) -> bool:
    """Whether the program's product is multiplied by panels, usually."""
    program = lower(f.plan, machine)
    return not any(isinstance(i, Product) for i in usual(program.instructions)) and any(
        panels.panels(kernel) is not None for kernel in program.kernels
    )


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Panels for all sizes that they can be used for, on every processor."""
    monkeypatch.setattr(panels, "LIMITS", {register: panels.Limits(1, 1 << 30) for register in (16, 32, 64)})
    for name, least in (("FEWEST", 1), ("NARROWEST", 1), ("COPIED", 1), ("TURNED", (1, 1))):
        monkeypatch.setattr(panels, name, least)


def operands(rng: Any, rows: int, inner: int, columns: int, turned: bool, dtype: Any) -> tuple[Any, Any, Any]:
    """Two matrices, the second one turned or not, and the function that multiplies them."""
    a = rng.normal(size=(rows, inner)).astype(dtype)
    if turned:
        return a, rng.normal(size=(columns, inner)).astype(dtype), lambda a, b: a @ b.T
    return a, rng.normal(size=(inner, columns)).astype(dtype), lambda a, b: a @ b


def close(found: Any, a: Any, b: Any, inner: int) -> bool:
    """Whether a product is as exact as sums of so many terms are."""
    wide = a.astype(np.longdouble) @ b.astype(np.longdouble)
    scale = np.abs(a).astype(np.longdouble) @ np.abs(b).astype(np.longdouble)
    return found.shape == wide.shape and bool((np.abs(found - wide) <= inner * np.finfo(a.dtype).eps * scale).all())


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(4))
def test_every_size(seed: int, dtype: Any, turned: bool) -> None:
    rng = np.random.default_rng(seed)
    for inner in (40, int(rng.integers(33, 256)), 256, 257, int(rng.integers(258, 700))):
        rows, columns = int(rng.integers(33, 60)), int(rng.integers(33, 200))
        a, b, f = operands(rng, rows, inner, columns, turned, dtype)
        g = graphc.compile(f, a, b, kernels="llvm")
        assert by_panels(g)
        assert close(g(a, b), a, b.T if turned else b, inner)


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("turned", [False, True])
def test_every_number_of_rows_and_of_columns_left_over(turned: bool) -> None:
    rng = np.random.default_rng(0)
    f = graphc.compile(
        (lambda a, b: a @ b.T) if turned else (lambda a, b: a @ b),
        "f32[n,70]",
        "f32[600,70]" if turned else "f32[70,600]",
        kernels="llvm",
    )
    assert by_panels(f)
    for rows in (*range(1, 14), 100):
        a, b, _ = operands(rng, rows, 70, 600, turned, np.float32)
        assert close(f(a, b), a, b.T if turned else b, 70)
    for columns in range(512, 577):
        a, b, g = operands(rng, 5, 70, columns, turned, np.float32)
        assert close(graphc.compile(g, a, b, kernels="llvm")(a, b), a, b.T if turned else b, 70)


@pytest.mark.usefixtures("everywhere")
def test_parts_of_larger_matrices() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(70, 400)), rng.normal(size=(400, 300))
    f = graphc.compile(lambda a, b: (a[3:53, 17:317] @ b[50:350, 11:211], b[:300, 5:85].T @ b[:300]), a, b)
    first, second = f(a, b)
    assert close(first, a[3:53, 17:317], b[50:350, 11:211], 300)
    assert close(second, b[:300, 5:85].T, b[:300], 300)


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_number_of_threads_and_the_place_of_a_row_change_nothing(dtype: Any, turned: bool) -> None:
    rng = np.random.default_rng(0)
    a, b, f = operands(rng, 101, 600, 700, turned, dtype)
    g = graphc.compile(f, a, b, kernels="llvm")
    assert by_panels(g)
    before = pool().threads
    try:
        pool().threads = 1
        alone = g(a, b)
        for threads in (2, 3, 8):
            pool().threads = threads
            for _ in range(5):
                np.testing.assert_array_equal(g(a, b), alone)
    finally:
        pool().threads = before
    turned_round = graphc.compile(f, a, b, kernels="llvm")(a[::-1].copy(), b)
    np.testing.assert_array_equal(turned_round[::-1], alone)


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("turned", [False, True])
def test_what_is_not_finite_stays_where_it_belongs(turned: bool) -> None:
    rng = np.random.default_rng(0)
    a, b, f = operands(rng, 40, 300, 75, turned, np.float32)
    a[3, 250] = np.nan
    b[(70, 280) if turned else (280, 70)] = np.inf
    found = graphc.compile(f, a, b, kernels="llvm")(a, b)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(f(a, b)))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(f(a, b)))


@has_limits
def test_layers_of_a_network_are_multiplied_by_panels() -> None:
    assert by_panels(graphc.compile(lambda x, w: x @ w.T, "f32[100,784]", "f32[1000,784]", kernels="llvm"))
    assert by_panels(graphc.compile(lambda x, w: x @ w, "f64[64,512]", "f64[512,512]", kernels="llvm"))
    f = graphc.compile(lambda x, w: np.maximum(x @ w.T, 0), "f32[n,784]", "f32[1000,784]", kernels="llvm")
    assert by_panels(f)
    # by BLAS where there are few rows, or many
    assert any(isinstance(i, Choice) for i in lower(f.plan).instructions)
    rng = np.random.default_rng(0)
    w = rng.normal(size=(1000, 784)).astype(np.float32)
    for rows in (0, 1, 15, 16, 100, 512, 513):
        x = rng.normal(size=(rows, 784)).astype(np.float32)
        np.testing.assert_allclose(f(x, w), np.maximum(x @ w.T, 0), rtol=0, atol=1e-3)


@has_limits
@pytest.mark.parametrize("sizes", [(1, 4000, 4000), (1000, 1000, 1000), (100, 10, 1000), (100, 1000, 10)])
def test_others_are_left_to_blas(sizes: tuple[int, int, int]) -> None:
    rows, inner, columns = sizes
    assert not by_panels(
        graphc.compile(lambda a, b: a @ b, f"f32[{rows},{inner}]", f"f32[{inner},{columns}]", kernels="llvm")
    )


def test_columns_that_lie_apart_are_left_to_blas() -> None:
    assert not by_panels(graphc.compile(lambda a, b: a.T @ b, "f32[500,100]", "f32[500,500]", kernels="llvm"))


@pytest.mark.parametrize("machine", [X86_BASELINE, X86_AVX2, X86_AVX512, ARM_NEON], ids=lambda m: m.cpu)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_machine_has_them(dtype: Any, machine: Machine, everywhere: None) -> None:
    bits = 8 * np.dtype(dtype).itemsize
    for f, second in ((lambda a, b: a @ b, "[500,500]"), (lambda a, b: a @ b.T, "[500,500]")):
        compiled = graphc.compile(f, f"f{bits}[n,500]", f"f{bits}{second}", kernels="llvm")
        assert by_panels(compiled, machine)
        (kernel,) = (k for k in lower(compiled.plan, machine).kernels if panels.panels(k))
        module = Module(machine.features_used)
        text = function(kernel, "kernel", machine, module)
        assert len(assemble(f"{module.text()}\n{text}", machine)) > 200
        (helper,) = module.helpers.values()
        assert len(assemble(helper, machine)) > 2000


@pytest.mark.parametrize("machine", [X86_AVX2, X86_AVX512], ids=lambda m: m.cpu)
def test_they_come_with_the_package(machine: Machine) -> None:
    built = {code.name(part, machine) for part in prebuilt.products(machine)}
    assert len(built) == 6  # for both layouts, and what completes symmetric products
    for f in (lambda a, b: a @ b, lambda a, b: a @ b.T):
        compiled = graphc.compile(f, "f32[100,500]", "f32[500,500]", kernels="llvm")
        (kernel,) = (k for k in lower(compiled.plan, machine).kernels if panels.panels(k))
        module = Module(machine.features_used)
        function(kernel, "kernel", machine, module)
        (part,) = code.helpers(module)
        assert code.name(part, machine) in built


def test_registers_that_were_not_measured_leave_all_to_blas() -> None:
    f = graphc.compile(lambda x, w: x @ w.T, "f32[100,784]", "f32[1000,784]", kernels="llvm")
    for machine in (X86_BASELINE, ARM_NEON):
        assert not by_panels(f, machine)
