"""Products of matrices that are multiplied by panels: every size, layout, machine and number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.backends.numpy.llvm import code, entry, panels, prebuilt
from graphc.backends.numpy.llvm.effort import look
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
from graphc.backends.numpy.llvm.pool import Pool, pool
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
    for name in ("LIMITS", "LEFT_TURNED"):
        monkeypatch.setattr(panels, name, {register: panels.Limits(1, 1, 1, 1) for register in (16, 32, 64)})
    for name, least in (("FEWEST", 1), ("NARROWEST", 1), ("COPIED", 1), ("TURNED", (1, 1))):
        monkeypatch.setattr(panels, name, least)


@pytest.fixture
def resized() -> Iterator[Pool]:
    """The pool, whose threads may be counted anew."""
    found = pool()
    before = found.threads
    yield found
    found.threads = before


FORMS: dict[str, Callable[..., Any]] = {
    "plain": lambda a, b: a @ b,
    "turned": lambda a, b: a @ b.T,
    "left": lambda a, b: a.T @ b,
    "both": lambda a, b: a.T @ b.T,
}


def factors(rng: Any, form: str, rows: int, inner: int, columns: int, dtype: Any) -> tuple[Any, Any]:
    """Two matrices as a form takes them."""
    a = rng.normal(size=(inner, rows) if form in ("left", "both") else (rows, inner)).astype(dtype)
    b = rng.normal(size=(columns, inner) if form in ("turned", "both") else (inner, columns)).astype(dtype)
    return a, b


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
def test_the_number_of_threads_and_the_place_of_a_row_change_nothing(dtype: Any, turned: bool, resized: Pool) -> None:
    rng = np.random.default_rng(0)
    a, b, f = operands(rng, 101, 600, 700, turned, dtype)
    g = graphc.compile(f, a, b, kernels="llvm")
    assert by_panels(g)
    resized.threads = 1
    alone = g(a, b)
    for count in (2, 3, 8):
        resized.threads = count
        for _ in range(5):
            np.testing.assert_array_equal(g(a, b), alone)
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


def sums(form: str) -> dict[str, Callable[..., Any]]:
    """Sums that a product of a form goes into."""
    f = FORMS[form]
    return {
        "descent": lambda c, a, b, rate: c - 0.01 * f(a, b),
        "both scaled": lambda c, a, b, rate: 0.5 * c + 3 * f(a, b),
        "a number of the call": lambda c, a, b, rate: c - rate * f(a, b),
        "turned": lambda c, a, b, rate: (c.T - 0.25 * f(a, b).T).T,
    }


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("what", sums("plain"))
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_products_that_are_added(dtype: Any, form: str, what: str) -> None:
    """Sizes around blocks, registers and panels; one panel of terms, and several."""
    rng = np.random.default_rng(0)
    f = sums(form)[what]
    for rows, inner, columns in ((3, 400, 33), (7, 256, 64), (38, 35, 65), (101, 257, 130), (64, 700, 201)):
        a, b = factors(rng, form, rows, inner, columns, dtype)
        c, rate = rng.normal(size=(rows, columns)).astype(dtype), dtype(0.125)
        expected = f(*(x.astype(np.longdouble) for x in (c, a, b, rate)))
        scale = 3 * FORMS[form](np.abs(a), np.abs(b)) + np.abs(c)
        given, kept = c.copy(), c.copy()
        for donated in ((),) if what == "turned" else ((), (0,)):
            g = graphc.compile(f, c, a, b, rate, kernels="llvm", donate_argnums=donated)
            assert by_panels(g)
            found = g(given, a, b, rate)
            assert np.all(np.abs(found - expected) <= (inner + 4) * np.finfo(dtype).eps * scale)
            if not donated:
                np.testing.assert_array_equal(given, kept)


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_do_not_depend_on_the_number_of_threads(dtype: Any, form: str, resized: Pool) -> None:
    rng = np.random.default_rng(0)
    for rows, inner, columns in ((300, 100, 784), (101, 600, 700), (2050, 33, 129)):
        a, b = factors(rng, form, rows, inner, columns, dtype)
        c = rng.normal(size=(rows, columns)).astype(dtype)
        f = graphc.compile(lambda c, a, b: c - 0.01 * FORMS[form](a, b), c, a, b, kernels="llvm")
        assert by_panels(f)
        resized.threads = 1
        alone = f(c, a, b)
        for count in (2, 3, 8):
            resized.threads = count
            for _ in range(3):
                np.testing.assert_array_equal(f(c, a, b), alone)


@pytest.mark.usefixtures("everywhere")
def test_many_python_threads_update_at_once(resized: Pool) -> None:
    """Each its own weights, in place, by one function."""
    rng = np.random.default_rng(0)
    x, g, w = (rng.normal(size=s).astype(np.float32) for s in ((100, 300), (100, 400), (300, 400)))
    f = graphc.compile(lambda w, x, g: w - 0.01 * (x.T @ g), w, x, g, kernels="llvm", donate_argnums=0)
    assert by_panels(f)

    def trained() -> Any:
        mine = w.copy()
        for _ in range(20):
            mine = f(mine, x, g)
        return mine

    resized.threads = 1
    alone = trained()
    resized.threads = 3
    with ThreadPoolExecutor(8) as callers:
        for found in callers.map(lambda _: trained(), range(16)):
            np.testing.assert_array_equal(found, alone)


@pytest.mark.usefixtures("everywhere")
def test_a_rate_of_zero_means_what_it_says() -> None:
    """0 times infinity is not a number."""
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(size=s).astype(np.float32) for s in ((40, 70), (40, 90), (70, 90)))
    f = graphc.compile(lambda c, a, b, rate: c - rate * (a.T @ b), c, a, b, np.float32(1), kernels="llvm")
    np.testing.assert_array_equal(f(c, a, b, np.float32(0)), c)
    a[3, 5] = np.inf
    assert np.isnan(f(c, a, b, np.float32(0))[5]).all()
    c[2, 7] = np.nan
    assert np.isnan(f(c, a, b, np.float32(0.5))[2, 7])


@has_limits
@pytest.mark.parametrize("spec", ["f32[n,784]", "f32[n,m]"])
def test_gradients_of_weights_with_named_sizes(spec: str) -> None:
    """Each call chooses; no terms are a sum, too."""
    second = "f32[n,300]" if "784" in spec else "f32[n,k]"
    third = "f32[784,300]" if "784" in spec else "f32[m,k]"
    f = graphc.compile(lambda w, x, g: w - 0.1 * (x.T @ g), third, spec, second, kernels="llvm")
    assert by_panels(f, X86_AVX512)
    assert not by_panels(f, X86_AVX2)
    rng = np.random.default_rng(0)
    w = rng.normal(size=(784, 300)).astype(np.float32)
    for rows in (0, 1, 31, 32, 100, 1024, 1025):
        x, g = (rng.normal(size=(rows, k)).astype(np.float32) for k in (784, 300))
        np.testing.assert_allclose(f(w, x, g), w - 0.1 * (x.T @ g), rtol=0, atol=1e-3)


def test_many_rows_go_one_part_after_the_other() -> None:
    rng = np.random.default_rng(0)
    for rows in (2047, 2049, 4097):
        a, b = rng.normal(size=(rows, 40)), rng.normal(size=(40, 70))
        f = graphc.compile(lambda a, b: a @ b, a, b, kernels="llvm")
        assert by_panels(f, X86_AVX512)
        assert close(f(a, b), a, b, 40)


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
    for rows in (0, 1, 3, 4, 15, 16, 100, 512, 513, 2049):
        x = rng.normal(size=(rows, 784)).astype(np.float32)
        np.testing.assert_allclose(f(x, w), np.maximum(x @ w.T, 0), rtol=0, atol=1e-3)


@pytest.mark.parametrize("sizes", [(1, 4000, 4000), (3, 1000, 1000), (1000, 3, 1000), (1000, 1000, 7)])
def test_others_are_left_to_blas(sizes: tuple[int, int, int]) -> None:
    rows, inner, columns = sizes
    f = graphc.compile(lambda a, b: a @ b, f"f32[{rows},{inner}]", f"f32[{inner},{columns}]", kernels="llvm")
    assert not by_panels(f, X86_AVX512)
    assert not by_panels(f, X86_AVX2)


def test_narrow_registers_leave_many_rows_and_turned_ones_to_blas() -> None:
    f = graphc.compile(lambda a, b: a @ b, "f32[1000,1000]", "f32[1000,1000]", kernels="llvm")
    g = graphc.compile(lambda a, b: a.T @ b, "f32[500,100]", "f32[500,500]", kernels="llvm")
    for compiled in (f, g):
        assert by_panels(compiled, X86_AVX512)
        assert not by_panels(compiled, X86_AVX2)


@pytest.mark.parametrize("machine", [X86_BASELINE, X86_AVX2, X86_AVX512, ARM_NEON], ids=lambda m: m.cpu)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_machine_has_them(dtype: Any, machine: Machine, everywhere: None) -> None:
    bits = 8 * np.dtype(dtype).itemsize
    for f in FORMS.values():
        compiled = graphc.compile(f, f"f{bits}[500,500]", f"f{bits}[500,500]", kernels="llvm")
        assert by_panels(compiled, machine)
        (kernel,) = (k for k in lower(compiled.plan, machine).kernels if panels.panels(k))
        module = Module(machine.features_used)
        text = function(kernel, "kernel", machine, module, False, look(kernel))
        assert len(assemble(f"{module.text()}\n{text}", machine)) > 200
        (helper,) = module.helpers.values()
        assert len(assemble(helper, machine)) > 2000


@pytest.mark.parametrize("machine", [X86_AVX2, X86_AVX512], ids=lambda m: m.cpu)
def test_they_come_with_the_package(machine: Machine) -> None:
    built = {code.name(part, machine) for part in prebuilt.products(machine)}
    forms = [form for form in FORMS if form in ("plain", "turned") or machine.register in panels.LEFT_TURNED]
    assert len(built) == 2 * len(forms) + 2  # for all layouts, and what completes symmetric products
    for form in forms:
        first = "f32[100,500]" if form in ("plain", "turned") else "f32[500,100]"
        compiled = graphc.compile(FORMS[form], first, "f32[500,500]", kernels="llvm")
        (kernel,) = (k for k in lower(compiled.plan, machine).kernels if panels.panels(k))
        module = Module(machine.features_used)
        function(kernel, "kernel", machine, module, False, look(kernel))
        (part,) = code.helpers(module)
        assert code.name(part, machine) in built


def test_registers_that_were_not_measured_leave_all_to_blas() -> None:
    f = graphc.compile(lambda x, w: x @ w.T, "f32[100,784]", "f32[1000,784]", kernels="llvm")
    for machine in (X86_BASELINE, ARM_NEON):
        assert not by_panels(f, machine)
