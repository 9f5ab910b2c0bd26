"""What is left over at the end of a loop of known length: narrower vectors, with the same bits as whole ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.backends.numpy.llvm.machine import ARM_NEON, X86_AVX2, X86_AVX512, X86_BASELINE, Machine, assemble
from tests.made_kernels import kernels_of, parts_of

pytest.importorskip("llvmlite", reason="llvmlite is not installed: pip install llvmlite")
LARGE = 256
RNG = np.random.default_rng(5)
LENGTHS = (1, 2, 3, 5, 8, 13, 17, 31, 33, 66, 99, 131)

PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "few operations": lambda x: x * 2 + 1,
    "functions": lambda x: np.exp(np.sin(x)) / (1 + x * x),
    "truth": lambda x: (x > 0.25) & (x < 0.75),
    "of a number": lambda x: x * np.sqrt(x[..., :1]) + 0.5,
    "positions": lambda x: x + np.arange(x.shape[-1]),
    "turned": lambda x: x[..., ::-1] - x,
    "softmax": lambda x: x / (1 + np.sum(np.abs(x), axis=-1, keepdims=True)),
}


def bits(array: Any) -> Any:
    return np.asarray(array).view(f"u{np.asarray(array).itemsize}")


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("name", ["few operations", "functions", "truth", "positions"])
def test_elements_do_not_hang_on_where_they_stand(name: str, dtype: str) -> None:
    f = PROGRAMS[name]
    x = RNG.random((3, LARGE)).astype(dtype)
    whole = graphc.compile(f, x, kernels="llvm")(x)
    for n in LENGTHS:
        part = np.ascontiguousarray(x[:, :n])
        found = graphc.compile(f, part, kernels="llvm")(part)
        assert found.shape == (3, n)
        np.testing.assert_array_equal(bits(found), bits(whole[:, :n]))


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "u1"])
@pytest.mark.parametrize("name", [name for name in PROGRAMS if name != "functions"])
def test_as_numpy(name: str, dtype: str) -> None:
    f = PROGRAMS[name]
    for n in (1, 2, 3, 7, 35, 98):
        x = (RNG.random((3, n)) * 5 + 0.5).astype(dtype)
        found, expected = graphc.compile(f, x, kernels="llvm")(x), f(x)
        assert found.dtype == expected.dtype
        tolerance = {"f2": 4e-3, "f4": 1e-5}.get(dtype, 1e-12)
        np.testing.assert_allclose(
            found.astype(np.float64), expected.astype(np.float64), rtol=tolerance, atol=tolerance
        )


def test_nothing_beyond_the_end_is_written() -> None:
    """Rows of one array, each of which ends within a vector that would reach into the next."""
    for n in (3, 17, 35, 99):
        x = RNG.random((5, n))

        def f(x: Any, n: int = n) -> Any:
            y = np.zeros_like(x, shape=(5, n + 1))
            y[:, :n] = np.sqrt(x) * 2
            return y

        np.testing.assert_allclose(graphc.compile(f, x, kernels="llvm")(x), f(x), rtol=1e-15)


def test_stencils_end_in_segments() -> None:
    def f(x: Any) -> Any:
        return np.pad(x[:-1], (1, 0)) - 3 * x + np.pad(x[2:], (0, 2))

    for n in (3, 4, 9, 34, 99, 130):
        x = RNG.random(n)
        np.testing.assert_allclose(graphc.compile(f, x, kernels="llvm")(x), f(x), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("machine", [X86_AVX512, X86_AVX2, X86_BASELINE, ARM_NEON], ids=lambda m: m.cpu)
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_processor(name: str, machine: Machine) -> None:
    for dtype in ("f4", "i2"):
        if dtype == "i2" and name == "functions":
            continue
        for part in parts_of(kernels_of(PROGRAMS[name], np.ones((3, 39), dtype), kernels="llvm"), machine):
            assert assemble(part.text, machine)
