"""Sums of an array and its neighbours: vectors that begin a few elements apart are read once, and nothing beyond."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.kernels import Kernel

pytest.importorskip("llvmlite", reason="machine code")
from graphc.backends.numpy.llvm import interleave, machine
from graphc.backends.numpy.llvm.generator import load
from tests.made_kernels import parts_of

DTYPES = ["f32", "f64", "i32", "i64", "u8", "i16"]
SIZES = [9, 17, 40, 64, 65, 127, 200, 1000]


def values(dtype: str, *shape: int) -> Any:
    kind = {"f": "f", "i": "i", "u": "u"}[dtype[0]] + str(int(dtype[1:]) // 8)
    return np.random.default_rng(sum(shape)).integers(-50, 50, shape).astype(kind)


def window(x: Any, taps: int) -> Any:
    """A different whole number times each of so many neighbours: exact, whatever the order."""
    count = x.shape[0] - taps + 1
    total = x[:count] * 3
    for k in range(1, taps):
        total = total + x[k : k + count] * (k + 1)
    return total


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("taps", [2, 3, 4, 5, 8, 9])
def test_along_a_line(taps: int, dtype: str, size: int) -> None:
    x = values(dtype, size)
    for spec in (f"{dtype}[{size}]", f"{dtype}[n]"):
        found = graphc.compile(lambda x: window(x, taps), spec, kernels="llvm")(x)
        np.testing.assert_array_equal(found, window(x, taps))


def around(u: Any) -> Any:
    return u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1]


def blurred(u: Any) -> Any:
    rows, columns = u.shape[0] - 2, u.shape[1] - 2
    total = u[:rows, :columns] * 1
    for k in range(1, 9):
        total = total + u[k // 3 : k // 3 + rows, k % 3 : k % 3 + columns] * (k + 1)
    return total


@pytest.mark.parametrize("shape", [(3, 3), (4, 9), (12, 18), (7, 35), (5, 66), (6, 130), (3, 515)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("f", [around, blurred])
def test_in_a_plane(f: Any, dtype: str, shape: tuple[int, int]) -> None:
    u = values(dtype, *shape)
    for spec in (f"{dtype}[{shape[0]},{shape[1]}]", f"{dtype}[n,m]"):
        np.testing.assert_array_equal(graphc.compile(f, spec, kernels="llvm")(u), f(u))


def test_sums_and_functions_of_neighbours() -> None:
    x = np.random.default_rng(0).random(500)

    def f(x: Any) -> Any:
        near = x[2:] - 2 * x[1:-1] + x[:-2]
        return near * near, np.sum(near * near), np.exp(x[2:]) + x[1:-1] + x[:-2]

    for fast in (False, True):
        found = graphc.compile(f, "f64[500]", kernels="llvm", fast_math=fast)(x)
        for a, b in zip(found, f(x), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


def line_kernel(taps: int, spec: str) -> Kernel:
    compiled = graphc.compile(lambda x: window(x, taps), spec, kernels="llvm")
    (kernel,) = [s.kernel for s in compiled.plan.steps if s.kernel is not None]
    return kernel


def test_which_loads_are_beside_each_other() -> None:
    assert not interleave.shifted(line_kernel(2, "f64[100]"))
    groups = set(interleave.shifted(line_kernel(5, "f64[100]")).values())
    assert [g.places for g in groups] == [(0, 1, 2, 3, 4)]
    assert {g.places for g in interleave.shifted(line_kernel(11, "f64[100]")).values()} == {
        tuple(range(8)),
        (0, 1, 2),
    }
    assert not interleave.shifted(line_kernel(5, "u8[100]"))


@pytest.mark.parametrize("spec", ["f32[200]", "f64[n]"])
def test_code_for_other_processors(spec: str) -> None:
    kernel = line_kernel(5, spec)
    for one in (machine.X86_BASELINE, machine.X86_AVX2, machine.X86_AVX512, machine.ARM_NEON):
        assert machine.assemble(parts_of([kernel], one)[0].text, one)


@pytest.mark.skipif(not machine.host().triple.startswith("x86_64"), reason="of processors with AVX-512")
def test_fewer_vectors_are_read_where_one_is_a_line_of_the_cache() -> None:
    kernel = line_kernel(5, "f64[1000]")
    loads = [parts_of([kernel], one)[0].text.count(" = load <") for one in (machine.X86_AVX2, machine.X86_AVX512)]
    assert loads == [5, 2]


def test_nothing_beyond_the_last_element_is_read() -> None:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mprotect"):
        pytest.skip("no page can be protected here")
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 4 * page)
    anchor = ctypes.c_char.from_buffer(memory)
    start = ctypes.addressof(anchor)
    # the last page: no access
    assert libc.mprotect(ctypes.c_void_p(start + 3 * page), ctypes.c_size_t(page), 0) == 0
    try:
        for spec in ("f64[{}]", "f32[{}]"):
            dtype = np.dtype(spec[:3].replace("f64", "f8").replace("f32", "f4"))
            for taps in (3, 5, 8):
                for size in (16, 36, 64, 68, 100, 131):
                    raw = (ctypes.c_char * (size * dtype.itemsize)).from_address(
                        start + 3 * page - size * dtype.itemsize
                    )
                    x = np.frombuffer(raw, dtype)
                    x[:] = np.arange(size)
                    (run,) = load([line_kernel(taps, spec.format(size))])
                    y = np.empty(size - taps + 1, dtype)
                    run(x, y)
                    np.testing.assert_array_equal(y, window(x.copy(), taps))
    finally:
        libc.mprotect(ctypes.c_void_p(start + 3 * page), ctypes.c_size_t(page), 3)
