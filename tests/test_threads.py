"""Kernels on several threads: the same bits for any number of them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="llvmlite is not installed: kernels cannot be compiled")

import graphc
from graphc import dims
from graphc.backends.numpy.llvm import code, entry, generator, machine, pool
from graphc.backends.numpy.llvm.machine import Machine, assemble, host
from graphc.backends.numpy.llvm.schedule import Schedule
from tests.made_kernels import parts_of
from tests.threaded import bits, flat, fresh, values

COUNTS = (1, 2, 3, 7)
KNOWN = sys.platform in ("linux", "darwin", "win32")


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def normalised(x: Any) -> Any:
    return (x - np.mean(x, axis=-1, keepdims=True)) / np.sqrt(np.var(x, axis=-1, keepdims=True) + 1e-5)


def stencil(x: Any) -> Any:
    y = np.zeros_like(x)
    y[1:-1, 1:-1] = 0.25 * (x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:])
    return y


def several(x: Any) -> Any:
    h = np.tanh(x @ x.T)
    return h, np.sum(h, axis=1), np.sum(h, axis=0), softmax(h)


def layer(g: Any, b: Any, x: Any) -> Any:
    return np.sum(np.tanh(normalised(x) * g + b))


def logistic(w: Any, x: Any) -> Any:
    return np.sum(np.log(1 + np.exp(x @ w)))


def both_ways(x: Any) -> Any:
    rows = np.sum(np.exp(x), axis=1)
    return rows, np.sum(rows), np.max(rows), np.sum(x, axis=0), np.min(x, axis=0)


def noisy(x: Any) -> Any:
    key = graphc.random.fold_in(graphc.random.key(3), x[0].astype(np.int64))
    return x + graphc.random.normal(key, x.shape)


F32, F64 = np.float32, np.float64
# a function, the shapes of its arguments, their dtype; some sizes are no multiple of anything
PROGRAMS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]], Any]] = {
    "elementwise": (lambda x: np.exp(np.sin(x)) * x, [(400_003,)], np.float64),
    "elementwise, single": (lambda x: np.exp(np.sin(x)) * x, [(400_003,)], F32),
    "integers": (lambda x: (x.astype(np.int64) * 7 + 3) // 5 % 11, [(300_001,)], np.float64),
    "one fewer than a line": (lambda x: np.tanh(np.exp(np.sin(x))), [(1024 * 40 - 1,)], np.float64),
    "several results": (lambda x, y: (x + y, np.exp(x * y), x > y), [(500_009,), (500_009,)], np.float64),
    "broadcast": (lambda x, y: np.exp(x * y) + y, [(701, 1), (1, 523)], np.float64),
    "points": (lambda x: x / np.sqrt(np.sum(x * x, axis=1, keepdims=True)), [(100_003, 3)], np.float64),
    "points, both ways": (lambda x: (np.sum(np.exp(x), axis=1), np.sum(x, axis=0)), [(100_003, 3)], np.float64),
    "points, over pairs": (lambda x: (np.sum(np.exp(x), axis=1), np.sum(x, axis=0)), [(311, 401, 3)], F32),
    "few rows": (lambda x, y: np.exp(x * y) + y, [(3, 1), (1, 150_001)], np.float64),
    "second axis": (lambda x, y: np.sum(np.exp(x * y), axis=2), [(3, 1, 1), (1, 67, 1003)], np.float64),
    "transposed": (lambda x: np.exp(x.T) + 1, [(611, 503)], np.float64),
    "three axes": (lambda x: np.exp(x) * np.arange(5.0), [(211, 307, 5)], np.float64),
    "sum of rows": (lambda x: np.sum(np.exp(x), axis=1), [(509, 400)], F32),
    "extrema of rows": (lambda x: (np.max(x, axis=1), np.argmin(x, axis=1)), [(1009, 800)], np.float64),
    "softmax": (softmax, [(333, 500)], np.float64),
    "softmax, single": (softmax, [(333, 501)], F32),
    "normalised": (normalised, [(407, 301)], np.float64),
    "sum of squares": (lambda x: np.sum(x * x), [(600_011,)], np.float64),
    "sum of squares, single": (lambda x: np.sum(x * x), [(600_011,)], F32),
    "sum of single numbers": (lambda x: np.sum(np.arange(5.0, dtype=F32) * np.sum(x)), [(600_011,)], F32),
    "little to sum": (lambda x: np.sum(x * x), [(90_001,)], np.float64),
    "several folds": (
        lambda x: (np.sum(x), np.prod(1 + x * 1e-6), np.max(x), np.min(x), np.any(x > 4), np.all(x > -9), np.argmax(x)),
        [(600_011,)],
        np.float64,
    ),
    "sum of integers": (lambda x: np.sum((x * 100).astype(np.int8)), [(600_011,)], np.float64),
    "variance": (lambda x: np.var(x), [(401_003,)], np.float64),
    "softmax of everything": (lambda x: softmax(x.ravel()), [(401, 1003)], np.float64),
    "softmax of everything, single": (softmax, [(401_003,)], F32),
    "sum over a broadcast": (lambda x, y: np.sum(np.exp(x * y)), [(701, 1), (1, 523)], np.float64),
    "sum over a long broadcast": (lambda x, y: np.sum(np.exp(x * y)), [(3, 1), (1, 200_003)], np.float64),
    "columns": (lambda x: np.sum(x, axis=0), [(523, 2051)], np.float64),
    "columns, single": (lambda x: np.std(x, axis=0), [(301, 1300)], F32),
    "columns of rows": (lambda x: np.sum(np.exp(x), axis=1), [(31, 40, 601)], np.float64),
    "gradient of a layer": (graphc.grad(layer, argnums=(0, 1, 2)), [(301,), (301,), (407, 301)], np.float64),
    "gradient of a layer, single": (graphc.grad(layer, argnums=(0, 1, 2)), [(97,), (97,), (2003, 97)], F32),
    "gradient of a regression": (graphc.grad(logistic), [(11,), (30_011, 11)], np.float64),
    "value and gradient of a regression": (graphc.value_and_grad(logistic), [(11,), (50_011, 11)], np.float64),
    "few columns": (lambda x: (np.sum(x, axis=0), np.max(x, axis=0), np.any(x > 4, axis=0)), [(100_003, 7)], F64),
    "few columns, single": (lambda x: np.mean(x, axis=0), [(100_003, 3)], F32),
    "few columns, standardised": (lambda x: (x - np.mean(x, axis=0)) / np.std(x, axis=0), [(20_011, 13)], F64),
    "a tile of columns": (lambda x: np.std(x, axis=0), [(2003, 512)], F64),
    "more than a tile of columns": (lambda x: np.std(x, axis=0), [(2003, 513)], F64),
    "few columns, two axes": (lambda x: np.sum(np.exp(x), axis=(0, 1)), [(211, 31, 5)], F64),
    "few columns, conditions": (lambda x: np.sum(np.pad(x, ((5, 9), (0, 0))) + 1, axis=0), [(60_007, 5)], F64),
    "both ways": (both_ways, [(1201, 307)], np.float64),
    "both ways, single": (both_ways, [(1201, 307)], F32),
    "both ways over three axes": (
        lambda x: (np.sum(np.exp(x), axis=(1, 2)), np.sum(x, axis=0)),
        [(301, 17, 67)],
        np.float64,
    ),
    "stencil": (stencil, [(517, 733)], np.float64),
    "products": (several, [(301, 17)], np.float64),
    "gradient": (graphc.grad(lambda x: np.sum(softmax(x) ** 3)), [(301, 401)], np.float64),
    "noise": (noisy, [(100_003,)], np.float64),
}


def arguments(name: str) -> tuple[Callable[..., Any], list[Any]]:
    function, shapes, dtype = PROGRAMS[name]
    return function, [values(*shape, seed=k, dtype=dtype) for k, shape in enumerate(shapes)]


def compiled(function: Callable[..., Any], args: list[Any], named: bool, kernels: str = "llvm") -> Any:
    """Compiled for the sizes of some arrays, or for any sizes."""
    letters = iter("abcdefgh")
    sizes = dict.fromkeys(d for a in args for d in a.shape if d > 1)
    names = {d: next(letters) if named else str(d) for d in sizes}
    kinds = {np.dtype(np.float64): "f64", np.dtype(F32): "f32"}
    specs = [f"{kinds[a.dtype]}[{','.join(names.get(d, str(d)) for d in a.shape)}]" for a in args]
    return graphc.compile(function, *specs, kernels=kernels)


@pytest.mark.parametrize("name", PROGRAMS)
def test_any_number_of_threads_gives_the_same_bits(name: str, counted: pool.Pool) -> None:
    function, args = arguments(name)
    expected = flat(compiled(function, args, False, "none")(*args))
    for named in (False, True):
        f = compiled(function, args, named)
        found = []
        for count in COUNTS:
            counted.threads = count
            found.append(f(*args))
        assert counted.started >= 6 or not KNOWN
        for other in found[1:]:
            assert bits(other) == bits(found[0])
        for a, b in zip(flat(found[0]), expected, strict=True):
            if np.asarray(a).dtype.kind == "f":
                single = a.dtype == F32
                np.testing.assert_allclose(a, b, rtol=2e-4 if single else 1e-9, atol=1e-4 if single else 1e-9)
            else:
                np.testing.assert_array_equal(a, b)


DONATED: dict[str, tuple[Callable[..., Any], tuple[int, ...], tuple[int, ...]]] = {
    "everything": (lambda w, x: (w - np.sum(x), x * (w + np.sum(x))), (1,), (600_011,)),
    "few columns": (lambda w, x: (w - np.mean(x, axis=0), x - w), (7,), (100_003, 7)),
    "columns": (lambda w, x: (w - np.mean(x, axis=0), x * w), (700,), (2003, 700)),
    "rows": (lambda w, x: (w - np.mean(x, axis=1), np.sum(x * w[:, None], axis=0)), (2003,), (2003, 300)),
    "elementwise": (lambda w, x: (w - 0.1 * np.exp(x), np.sum(w * x)), (600_011,), (600_011,)),
}


@pytest.mark.parametrize("name", DONATED)
def test_results_in_the_memory_of_arguments(name: str, counted: pool.Pool) -> None:
    function, *shapes = DONATED[name]
    w, x = (values(*shape, seed=k) for k, shape in enumerate(shapes))
    expected = graphc.compile(function, w, x, kernels="none")(w, x)
    f = graphc.compile(function, w, x, kernels="llvm", donate_argnums=0)
    found = []
    for count in COUNTS:
        counted.threads = count
        given = w.copy()
        results = f(given, x)
        assert results[0] is given
        found.append(bits(results))
        for a, b in zip(results, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    assert all(other == found[0] for other in found)


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 90_001, 133_332, 133_334, 600_011])
def test_sums_are_cut_by_their_sizes_alone(size: int, counted: pool.Pool) -> None:
    """Whether these are known when the function is compiled or not; around the size from which there are pieces."""
    x = values(size) * np.logspace(0, 9, size)
    found = []
    for named in (False, True):
        f = compiled(lambda x: (np.sum(x * x), np.max(x, initial=0), np.sum(x.astype(F32))), [x], named)
        for count in COUNTS:
            counted.threads = count
            with np.errstate(all="ignore"):
                found.append(bits(f(x)))
    assert all(other == found[0] for other in found[1:])
    total = math.fsum(x * x)
    assert abs(np.frombuffer(found[0][0])[0] - total) <= np.spacing(total)


@pytest.mark.parametrize("name", ["gradient of a layer", "both ways", "both ways over three axes"])
def test_kernels_that_fold_both_ways_run_in_strips(name: str) -> None:
    function, args = arguments(name)
    for named in (False, True):
        kernels = [s.kernel for s in compiled(function, args, named).plan.steps if s.kernel is not None]
        assert any(Schedule(kernel).in_strips for kernel in kernels)


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_strips_without_memory_are_an_error() -> None:
    script = """
import resource, numpy as np, graphc
f = graphc.compile(lambda x: (np.sum(np.exp(x), axis=1), np.sum(x, axis=0)), "f64[n,m]", kernels="llvm")
x, small = np.ones((4000, 2000)), np.ones((3, 2))
f(small)
expected = [np.sum(np.exp(x), axis=1), np.sum(x, axis=0)]
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize(), resource.RLIM_INFINITY))
held = []
try:
    while True:
        held.append(bytearray(1 << 19))
except MemoryError:
    pass
try:
    f(x)
except MemoryError:
    print("refused", f(small)[1].tolist())
del held
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(all(np.allclose(a, b) for a, b in zip(f(x), expected)))
"""
    assert fresh(script, GRAPHC_NUM_THREADS="2") == "refused [3.0, 3.0]\nTrue\n"


def test_kernels_between_steps_of_numpy_run_on_threads_too(counted: pool.Pool) -> None:
    f = graphc.compile(lambda x: np.sort(np.exp(np.sin(x)), axis=0) * 2, "f64[n]", kernels="llvm")
    x = values(300_001)
    found = []
    for count in COUNTS:
        counted.threads = count
        found.append(bits(f(x)))
    assert all(other == found[0] for other in found)
    assert "sort" in f.source


FAR = {
    "baseline": machine.X86_BASELINE,
    "avx512": machine.X86_AVX512,
    "neon": machine.ARM_NEON,
    "macos": Machine("arm64-apple-darwin", "apple-m1", "+neon", 16),
    "windows": Machine("x86_64-pc-windows-msvc", "x86-64-v3", "+sse4.1,+avx2,+fma", 32),
}


@pytest.mark.parametrize("name", FAR)
def test_kernels_in_pieces_compile_for_other_processors(name: str) -> None:
    for program in ("softmax of everything", "few columns, standardised", "both ways, single"):
        function, args = arguments(program)
        kernels = [s.kernel for s in compiled(function, args, True).plan.steps if s.kernel is not None]
        parts = parts_of(kernels, FAR[name])
        assert "@parallel = global" in parts[0].text
        assert all(assemble(part.text, FAR[name]) for part in parts)


def test_kernels_that_ctypes_calls_run_on_threads(counted: pool.Pool) -> None:
    """As where arrays are not laid out as the built-in functions expect."""
    f = graphc.compile(lambda x: np.exp(np.sin(x)), "f64[n,m]", kernels="llvm")
    (kernel,) = [s.kernel for s in f.plan.steps if s.kernel is not None]
    found = code.library(parts_of([kernel], host()), host(), ("kernel0",))
    (run,) = generator.callers(enumerate([kernel]), found)
    x = values(701, 523)
    for count in COUNTS:
        counted.threads = count
        result = np.empty_like(x)
        run(x, result, *(dims.evaluate(size, {"n": 701, "m": 523}) for size in kernel.symbolic))
        assert bits(result) == bits(f(x))


def test_small_kernels_never_see_the_pool() -> None:
    f = graphc.compile(lambda x: np.exp(x) * 2, "f64[1000]", kernels="llvm")
    kernel = next(s.kernel for s in f.plan.steps if s.kernel is not None)
    assert "parallel" not in entry.function(kernel, "kernel", "entry")
    g = graphc.compile(lambda x: np.exp(x) * 2, "f64[n]", kernels="llvm")
    kernel = next(s.kernel for s in g.plan.steps if s.kernel is not None)
    assert "parallel" in entry.function(kernel, "kernel", "entry")
