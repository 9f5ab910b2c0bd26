"""Searches in ascending arrays, in machine code: the places that NumPy finds; and what is made of them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

pytest.importorskip("llvmlite", reason="the searches are machine code")
from graphc.backends.numpy.llvm import code, entry, prebuilt, searching
from graphc.backends.numpy.llvm.instructions import Rows, Search
from graphc.backends.numpy.llvm.machine import ARM_NEON, X86_AVX2, X86_AVX512, X86_BASELINE, Machine, host
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.steps import lower
from graphc.kernels import KERNEL_DTYPES

native = pytest.mark.skipif(not entry.SUPPORTED, reason="arrays of this interpreter are not laid out as known")
SIDES = ("left", "right")


def search(dtype: Any, side: str) -> Callable[[Any, Any], Any]:
    """The function for a dtype and a side."""
    module = Module(host().features_used)
    name = searching.declared(module, dtype, side == "right")
    library = code.library(tuple(code.helpers(module)), host(), (name,))
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 2)(library.addresses[name])

    def call(edges: Any, values: Any, _: Any = library) -> Any:
        places = np.full(values.size + 1, -7)
        function(edges.ctypes.data, values.ctypes.data, places.ctypes.data, edges.size, values.size)
        assert places[-1] == -7
        return places[:-1]

    return call


def numbers(rng: Any, count: int, dtype: Any) -> Any:
    """Numbers of which many are equal, and which are of both signs where there are two."""
    spread = np.round(rng.normal(size=count) * 9)
    return (
        (spread > 0)
        if dtype.kind == "b"
        else np.abs(spread).astype(dtype)
        if dtype.kind == "u"
        else spread.astype(dtype)
    )


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("dtype", sorted(KERNEL_DTYPES, key=str), ids=str)
def test_as_numpy(dtype: Any, side: str) -> None:
    rng, found = np.random.default_rng(3), search(dtype, side)
    for count in (*range(10), 15, 16, 17, 31, 64, 100, 1025):
        edges = np.sort(numbers(rng, count, dtype))
        for number in (0, 1, 15, 16, 17, 50):
            values = numbers(rng, number, dtype)
            assert np.array_equal(found(edges, values), np.searchsorted(edges, values, side))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_is_not_finite(dtype: Any, side: str) -> None:
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, np.nan] * 3, dtype)
    found = search(np.dtype(dtype), side)
    for edges in (
        [],
        [np.nan],
        [np.nan] * 3,
        [0.0, np.nan],
        [-np.inf, -0.0, 0.0, np.inf],
        [-np.inf, 1, np.inf, np.nan],
    ):
        array = np.array(edges, dtype)
        assert np.array_equal(found(array, values), np.searchsorted(array, values, side))


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int8])
def test_the_ends_of_integers(dtype: Any) -> None:
    ends = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)
    for side in SIDES:
        edges = np.array([ends[0], 3, ends[1]], dtype)
        assert np.array_equal(search(np.dtype(dtype), side)(edges, ends), np.searchsorted(edges, ends, side))


@pytest.mark.parametrize("machine", [X86_BASELINE, X86_AVX2, X86_AVX512, ARM_NEON], ids=lambda m: m.cpu)
def test_they_come_with_the_package(machine: Machine) -> None:
    assert len({code.name(part, machine) for part in prebuilt.searches(machine)}) == 2 * len(KERNEL_DTYPES)


EDGES = np.array([-2.0, -0.5, -0.5, 0.25, 1.5])
PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "searchsorted": lambda x: np.searchsorted(EDGES, x),
    "searchsorted, right": lambda x: np.searchsorted(EDGES, x, side="right"),
    "in a traced array": lambda x: np.searchsorted(np.cumsum(np.abs(x[0])), x),
    "turned and cut": lambda x: np.searchsorted(EDGES, x.T[::-1, ::2]),
    "digitize": lambda x: np.digitize(x, EDGES),
    "descending": lambda x: np.digitize(x, EDGES[::-1], right=True),
    "histogram": lambda x: np.histogram(x, bins=7, range=(-2, 2))[0],
    "given edges": lambda x: np.histogram(x, bins=EDGES)[0],
    "weights": lambda x: np.histogram(x, bins=7, range=(-2, 2), weights=x * x)[0],
    "density": lambda x: np.histogram(x, bins=7, range=(-2, 2), density=True)[0],
    "two axes": lambda x: np.histogram2d(x[0], x[1], bins=5, range=((-2, 2), (-1, 1)))[0],
    "interp": lambda x: np.interp(x, EDGES, EDGES**2),
    "interp of traced samples": lambda x: np.interp(x, np.cumsum(np.abs(x[0])), x[1]),
    "bincount": lambda x: np.bincount((np.abs(x) * 9).astype(int).ravel(), minlength=60),
    "bincount of weights": lambda x: np.bincount((np.abs(x) * 9).astype(int).ravel(), x.ravel() * 0.5, 60),
}


@native
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str, dtype: Any) -> None:
    f, kind = PROGRAMS[name], f"f{8 * np.dtype(dtype).itemsize}"
    rng = np.random.default_rng(4)
    known = {shape: graphc.compile(f, f"{kind}{list(shape)}", kernels="llvm") for shape in ((3, 40), (2, 7))}
    named = graphc.compile(f, f"{kind}[n,m]", kernels="llvm")
    by_numpy = graphc.compile(f, f"{kind}[n,m]", kernels="none")
    wanted_one = Rows if name.startswith("bincount") else Search
    assert any(isinstance(i, wanted_one) for i in lower(named.plan).instructions)
    for shape, compiled in known.items():
        x = (np.round(rng.normal(size=shape) * 8) / 4).astype(dtype)  # often at an edge
        x[0, :2] = 2, -2
        for found in (compiled(x), named(x), by_numpy(x), compiled(np.asfortranarray(x))):
            wanted = f(x)
            assert found.dtype == wanted.dtype
            assert np.allclose(found, wanted, rtol=1e-5 if dtype is np.float32 else 1e-13, atol=0)
            assert wanted.dtype.kind == "f" or np.array_equal(found, wanted)


@native
def test_histograms_leave_out_what_is_outside_and_hold_the_right_edge() -> None:
    x = np.array([-2.0, 2.0, np.nextafter(2, 3), np.nextafter(-2, -3), 0.0, -0.0, np.inf, -np.inf, np.nan])
    for f in (lambda x: np.histogram(x, bins=4, range=(-2, 2)), lambda x: np.histogram(x, bins=[-2, -1, 0, 2])):
        for found, wanted in zip(graphc.compile(f, x, kernels="llvm")(x), f(x), strict=True):
            assert np.array_equal(found, wanted)


@native
def test_counting_takes_its_one_from_one_place() -> None:
    f = graphc.compile(lambda i: np.bincount(i, minlength=9), "i64[n]", kernels="llvm")
    (rows,) = (i for i in lower(f.plan).instructions if isinstance(i, Rows))
    assert rows.same
    for size in (0, 1, 5000):
        i = np.random.default_rng(size).integers(0, 9, size)
        assert np.array_equal(f(i), np.bincount(i, minlength=9))
    for i in (np.array([9]), np.array([-1])):
        with pytest.raises(IndexError):
            f(i)


@native
def test_one_number_of_every_dtype_is_added_up() -> None:
    i = np.random.default_rng(5).integers(0, 9, 500)
    for dtype in ("f8", "f4", "f2", "i8", "i2", "u1"):
        bits = 8 * np.dtype(dtype).itemsize

        def f(i: Any, x: Any) -> Any:
            y = graphc.numpy.zeros(9, x.dtype)
            np.add.at(y, i, x)
            return y

        number = np.array(3, dtype)
        found = graphc.compile(f, "i64[500]", f"{dtype[0]}{bits}[]", kernels="llvm")(i, number)
        wanted = np.zeros(9, dtype)
        np.add.at(wanted, i, number)
        assert np.array_equal(found, wanted)


def test_interpolation_by_a_single_sample() -> None:
    x = np.array([np.nan, 0.0, 0.5, 1.0])
    found = graphc.compile(lambda x: np.interp(x, [0.5], [7.0], left=1.0), x)(x)
    assert np.array_equal(found, np.interp(x, [0.5], [7.0], left=1.0))
