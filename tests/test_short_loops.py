"""Arrays with few elements along their last axis: kernels write that loop out, and run along the one before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

import graphc
from graphc.backends.numpy.llvm import interleave
from graphc.backends.numpy.llvm.machine import ARM_NEON, X86_AVX2, X86_AVX512, X86_BASELINE, Machine, assemble
from graphc.backends.numpy.llvm.unroll import LONGEST, unrolled
from graphc.kernels import Load
from tests.made_kernels import kernel_of, parts_of

pytest.importorskip("llvmlite", reason="llvmlite is not installed: pip install llvmlite")

PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "norms": lambda x: np.sqrt(np.sum(x * x, axis=-1)),
    "unit vectors": lambda x: x / (1 + np.sum(np.abs(x), axis=-1, keepdims=True)),
    "softmax": lambda x: np.exp(x) / np.sum(np.exp(x), axis=-1, keepdims=True),
    "extrema": lambda x: (np.max(x, axis=-1), np.min(x, axis=-1), np.prod(x, axis=-1)),
    "truth": lambda x: (np.any(x > 0.5, axis=-1), np.all(x < 0.9, axis=-1), x > 0.5),
    "columns": lambda x: (np.sum(x, axis=0), np.max(np.sin(x), axis=0)),
    "everything": lambda x: (np.sum(np.sin(x)), np.max(x)),
    "rows and all": lambda x: (np.sum(np.sum(x, axis=-1) ** 2), np.sum(x, axis=-1), np.exp(x)),
    "some columns": lambda x: x[:, 0] * x[:, -1] + 1,
    "one column": lambda x: np.exp(x[:, 1]),
    "outer": lambda x: x[:, :1] * np.arange(x.shape[1]) + x[::-1],
    "shifted": lambda x: np.concatenate([x[:, 1:] * 2, x[:, :1]], axis=1) + x,
    "padded": lambda x: np.sum(np.pad(x, ((0, 0), (1, 1))) ** 2, axis=1),
    "pairs": lambda x: np.sum((x[:, None, :] - x[None, :, :]) ** 2, axis=-1),
}


def array(rows: int, columns: int, dtype: Any) -> Any:
    values = np.random.default_rng(rows + columns).random((rows, columns))
    return (values * (1 if np.dtype(dtype).kind == "f" else 5)).astype(dtype)


def agree(actual: Any, expected: Any, dtype: Any) -> None:
    if isinstance(expected, tuple):
        for a, b in zip(actual, expected, strict=True):
            agree(a, b, dtype)
        return
    assert np.shape(actual) == np.shape(expected)
    assert np.asarray(actual).dtype == np.asarray(expected).dtype
    tolerance = 2e-6 if np.float32 in (dtype, np.asarray(expected).dtype) else 1e-13
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("columns", [3, 8, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4, 5, 6, 7))])
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_number_of_rows(name: str, columns: int) -> None:
    f = PROGRAMS[name]
    compiled = graphc.compile(f, f"f64[n,{columns}]", kernels="llvm")
    for rows in (1, 7, 16, 17, 64, 101):
        x = array(rows, columns, np.float64)
        agree(compiled(x), f(x), np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_dtype(name: str, dtype: Any) -> None:
    f = PROGRAMS[name]
    x = array(67, 3, dtype)
    agree(graphc.compile(f, x, kernels="llvm")(x), f(x), dtype)


@pytest.mark.parametrize("columns", [2, 3, 7])
def test_gradients(columns: int) -> None:
    x = array(40, columns, np.float64)

    def f(x: Any) -> Any:
        return np.sum(np.sqrt(1 + np.sum(np.sin(x) ** 2, axis=1)))

    gradient = graphc.compile(graphc.grad(f), x, kernels="llvm")(x)
    s = np.sin(x)
    np.testing.assert_allclose(gradient, s * np.cos(x) / np.sqrt(1 + np.sum(s * s, axis=1))[:, None], rtol=1e-12)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, -0.0])
def test_special_values_stay_in_their_rows(special: float) -> None:
    x = array(50, 3, np.float64)
    x[7, 1] = special
    with np.errstate(all="ignore"):
        for name in ("norms", "softmax", "extrema", "truth"):
            f = PROGRAMS[name]
            agree(graphc.compile(f, x, kernels="llvm")(x), f(x), np.float64)


def test_which_loops_are_written_out() -> None:
    norms = PROGRAMS["norms"]
    assert unrolled(kernel_of(norms, "f32[100,3]", kernels="llvm")).sizes == (100,)
    assert len(unrolled(kernel_of(norms, "f32[n,3]", kernels="llvm")).sizes) == 1
    assert not unrolled(kernel_of(norms, "f32[100,3]", kernels="llvm")).reduced
    for wide in ("f32[100,9]", "f32[4,3]", "f32[n,m]"):
        kernel = kernel_of(norms, wide, kernels="llvm")
        assert unrolled(kernel) is kernel
    assert unrolled(kernel_of(lambda x: np.sum(x, axis=(0, 2)), "f64[20,30,2]", kernels="llvm")).reduced == {0}


def test_no_lane_is_gathered() -> None:
    kernel = unrolled(kernel_of(PROGRAMS["unit vectors"], "f64[1000,3]", kernels="llvm"))
    loads, stores = interleave.loads(kernel), interleave.stores(kernel)
    assert loads.keys() == {i for i, v in enumerate(kernel.values) if isinstance(v, Load)}
    assert stores.keys() == set(range(3))


@pytest.mark.parametrize("machine", [X86_BASELINE, X86_AVX2, X86_AVX512, ARM_NEON], ids=lambda m: m.cpu)
def test_code_for_other_processors_is_made(machine: Machine) -> None:
    for columns in range(2, LONGEST + 1):
        kernel = unrolled(kernel_of(PROGRAMS["unit vectors"], f"f32[1000,{columns}]", kernels="llvm"))
        assert assemble(parts_of([kernel], machine)[0].text, machine)


@pytest.mark.parametrize("kernels", ["ufunc", "llvm"])
def test_strides_that_depend_on_named_sizes(kernels: Literal["ufunc", "llvm"]) -> None:
    """A kernel that NumPy's own steps surround is called with the sizes it had before its last loop was written out."""

    def f(x: Any, y: Any) -> Any:
        return np.sort(np.exp(x) * y.T, axis=0)  # no kernel sorts

    x, y = array(40, 3, np.float64), np.ascontiguousarray(array(40, 3, np.float64).T)
    np.testing.assert_allclose(graphc.compile(f, "f64[n,3]", "f64[3,n]", kernels=kernels)(x, y), f(x, y), rtol=1e-12)
