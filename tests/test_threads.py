"""Kernels on several threads: the same bits for any number of them, and a pool that nothing upsets."""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="llvmlite is not installed: kernels cannot be compiled")

import graphc
from graphc import dims
from graphc.backends.numpy.llvm import (
    body,
    code,
    entry,
    generator,
    machine,
    pieces,
    pool,
    systems,
    threads,
    work,
    workers,
)
from graphc.backends.numpy.llvm.machine import Machine, assemble, assembly, host
from graphc.backends.numpy.llvm.schedule import Schedule
from graphc.errors import UnsupportedError

COUNTS = (1, 2, 3, 7)
KNOWN = sys.platform in ("linux", "darwin", "win32")


@lru_cache(maxsize=1)
def eager() -> pool.Pool:
    """A pool that wakes threads for little work."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(workers, "SHARE", 200_000.0)
        return pool.Pool(2)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[pool.Pool]:
    """A pool that takes part whatever else the machine does, in kernels that cost an eighth of what is worth it."""
    found = eager()
    monkeypatch.setitem(pool._made, True, found)
    for module in (work, body, pieces, entry, generator):
        monkeypatch.setattr(module, "SHARED", 400_000.0)
    before = found.threads
    found.wary = False
    yield found
    found.threads, found.wary = before, True


def values(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


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


def flat(results: Any) -> list[Any]:
    return list(results) if isinstance(results, tuple) else [results]


def bits(results: Any) -> list[bytes]:
    return [np.asarray(r).tobytes() for r in flat(results)]


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
        parts = generator.parts(kernels, FAR[name])
        assert "@parallel = global" in parts[0].text
        assert all(assemble(part.text, FAR[name]) for part in parts)


def test_kernels_that_ctypes_calls_run_on_threads(counted: pool.Pool) -> None:
    """As where arrays are not laid out as the built-in functions expect."""
    f = graphc.compile(lambda x: np.exp(np.sin(x)), "f64[n,m]", kernels="llvm")
    (kernel,) = [s.kernel for s in f.plan.steps if s.kernel is not None]
    found = code.library(generator.parts([kernel], host()), host(), ("kernel0",))
    (run,) = generator.callers(enumerate([kernel]), found)
    x = values(701, 523)
    for count in COUNTS:
        counted.threads = count
        result = np.empty_like(x)
        run(x, result, *(dims.evaluate(size, {"n": 701, "m": 523}) for size in kernel.symbolic))
        assert bits(result) == bits(f(x))


# --- the pool ------------------------------------------------------------------------------------------------------

TALLY = """
; one more for each number from first to last, and for the words after them
define i32 @tally(ptr %counts, ptr %unused, i64 %first, i64 %last) {
entry:
  br label %head
head:
  %i = phi i64 [ %first, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %last
  br i1 %more, label %body, label %end
body:
  %at = getelementptr i64, ptr %counts, i64 %i
  %old = atomicrmw add ptr %at, i64 1 monotonic
  %next = add i64 %i, 1
  br label %head
end:
  ret i32 0
}
"""


def tally() -> Any:
    """A function of an array, a count, some work and a step, which has the pool count up the array."""
    library = code.library((code.Part(TALLY),), host(), ("tally",))

    def run(counts: Any, count: int, work: float, step: int) -> None:
        pool.pool().run(library.addresses["tally"], counts.ctypes.data, None, count, work, step)

    return run


@pytest.mark.parametrize("step", [1, 3, 64, 1000])
def test_every_piece_runs_once(step: int, counted: pool.Pool) -> None:
    run = tally()
    for threads_ in (1, 2, 5, 16):
        counted.threads = threads_
        for count in (0, 1, 2, 7, step - 1, step, step + 1, 999, 5000):
            counts = np.zeros(max(count, 0) + 8, np.int64)
            run(counts, count, 1e9, step)
            assert np.all(counts[:count] == 1)
            assert not np.any(counts[count:])


def test_no_worker_is_forgotten_while_it_falls_asleep(counted: pool.Pool) -> None:
    """Pauses around the time after which workers sleep."""
    run = tally()
    counted.threads = 4
    counts = np.zeros(64, np.int64)
    pause = threading.Event()
    for k in range(3000):
        run(counts, 64, 1e9, 1)
        for _ in range(k % 97):
            pass
        if k % 100 == 0:
            pause.wait(0.002)
    assert np.all(counts == 3000)


SLOW = """
declare i64 @pthread_self()
declare i32 @usleep(i32)
@caller = internal global i64 0

; the caller's pieces take 0.2 milliseconds, and those of others, which are counted, 50
define i32 @slow(ptr %count, ptr %unused, i64 %first, i64 %last) {
entry:
  %before = load i64, ptr @caller
  %self = call i64 @pthread_self()
  %own = icmp eq i64 %before, %self
  br i1 %own, label %short, label %long
short:
  %a = call i32 @usleep(i32 200)
  ret i32 0
long:
  %more = atomicrmw add ptr %count, i64 1 seq_cst
  %b = call i32 @usleep(i32 50000)
  ret i32 0
}
define void @begin() {
  %self = call i64 @pthread_self()
  store i64 %self, ptr @caller
  ret void
}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no usleep")
def test_after_a_call_that_lost_time_others_run_alone_for_a_while(counted: pool.Pool) -> None:
    library = code.library((code.Part(SLOW),), host(), ("slow", "begin"))
    ctypes.CFUNCTYPE(None)(library.addresses["begin"])()
    helped = np.zeros(1, np.int64)
    counted.threads = 2
    counted.wary = True

    def helps() -> bool:
        before = helped[0]
        counted.run(library.addresses["slow"], helped.ctypes.data, None, 16, 1e9, 1)
        return bool(helped[0] > before)

    def comes() -> bool:
        """A worker may be late."""
        return any(helps() for _ in range(100))

    assert comes()
    # 16 times as long as the loss, of more than 40 milliseconds: many more calls than these, also of a busy machine
    assert not any(helps() for _ in range(5))
    threading.Event().wait(workers.LONGEST / 1e9)
    assert comes()
    threading.Event().wait(workers.LONGEST / 1e9)  # whoever uses the pool next finds it ready


def test_who_finds_the_pool_busy_runs_alone(counted: pool.Pool) -> None:
    run = tally()
    counted.threads = 3
    arrays = [np.zeros(100, np.int64) for _ in range(8)]

    def work(counts: Any) -> None:
        for _ in range(1000):
            run(counts, 100, 1e9, 1)

    callers = [threading.Thread(target=work, args=(a,)) for a in arrays]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all(np.all(a == 1000) for a in arrays)


def test_many_python_threads_get_the_same_bits(counted: pool.Pool) -> None:
    f = graphc.compile(lambda x: (np.exp(x), np.sum(np.exp(x), axis=1)), "f64[n,m]", kernels="llvm")
    counted.threads = 3
    inputs = [values(150, 300, seed=k) for k in range(4)]
    expected = [bits(f(x)) for x in inputs]
    wrong: list[Any] = []

    def work(number: int) -> None:
        for k in range(1000):
            which = (number + k) % 4
            results = f(inputs[which])
            if k % 50 == 0 and bits(results) != expected[which]:
                wrong.append((number, k))

    callers = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


ROUNDING = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define void @get(ptr %at) {
  call void @llvm.x86.sse.stmxcsr(ptr %at)
  ret void
}
define void @set(ptr %at) {
  call void @llvm.x86.sse.ldmxcsr(ptr %at)
  ret void
}
"""


@pytest.mark.skipif("x86_64" not in host().triple, reason="sets a register of x86 processors")
def test_workers_take_subnormal_numbers_as_the_caller_does(counted: pool.Pool) -> None:
    library = code.library((code.Part(ROUNDING),), host(), ("get", "set"))
    get, put = (ctypes.CFUNCTYPE(None, ctypes.c_void_p)(library.addresses[name]) for name in ("get", "set"))
    f = graphc.compile(lambda x, y: x * 0.5 + 0 * np.exp(np.sin(y)), "f64[n]", "f64[n]", kernels="llvm")
    x, y = np.full(400_003, 2.0**-1022), np.ones(400_003)
    counted.threads = 3
    kept, flushed = f(x, y), ctypes.c_uint32()
    assert np.all(kept == 2.0**-1023)
    get(ctypes.addressof(flushed))
    usual = ctypes.c_uint32(flushed.value)
    flushed.value |= 0x8040  # subnormal operands and results count as zero
    found = []
    try:
        for count in COUNTS:
            counted.threads = count
            put(ctypes.addressof(flushed))
            found.append(f(x, y))
            put(ctypes.addressof(usual))
    finally:
        put(ctypes.addressof(usual))
    for result in found:
        assert result.tobytes() == bytes(result.nbytes)
    assert np.array_equal(f(x, y), kept)


FOREIGN = {
    "linux, x86": ("linux", Machine("x86_64-unknown-linux-gnu", "x86-64", "", 16)),
    "linux, arm": ("linux", machine.ARM_NEON),
    "macos, x86": ("darwin", Machine("x86_64-apple-darwin", "x86-64", "", 16)),
    "macos, arm": ("darwin", Machine("arm64-apple-darwin", "apple-m1", "", 16)),
    "windows, x86": ("win32", Machine("x86_64-pc-windows-msvc", "x86-64", "", 16)),
    "windows, arm": ("win32", Machine("aarch64-pc-windows-msvc", "generic", "", 16)),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_the_pool_compiles_for_other_systems(name: str) -> None:
    platform, other = FOREIGN[name]
    text = workers.source(platform, other)
    assert assemble(text, other)
    listing = assembly(text, other)
    assert ("CreateThread" if platform == "win32" else "pthread_create") in listing
    assert ("pause" if "x86" in name else "isb") in listing


PLACES = """
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

; the CPU before, and the one after stepping aside from a job that runs on it, or that runs nowhere
define void @places(ptr %where, i1 %crowded) {
entry:
  br i1 %crowded, label %first, label %aside
first:
  call void @occupy_first()
  br label %aside
aside:
  %before = call i32 @sched_getcpu()
  store i32 %before, ptr %where
  call void @step_aside()
  %after = call i32 @sched_getcpu()
  %after_at = getelementptr i32, ptr %where, i64 1
  store i32 %after, ptr %after_at
  ret void
}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads are not moved")
def test_a_thread_on_the_cpu_of_another_one_of_its_job_is_moved() -> None:
    """It may run wherever it might before, and stays where there is nowhere else."""
    library = code.library((code.Part(systems.LINUX_PLACES + PLACES),), host(), ("places",))
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_bool)(library.addresses["places"])
    allowed = os.sched_getaffinity(0)
    where = (ctypes.c_int32 * 2)()
    try:
        for cpu in sorted(allowed)[:4]:
            os.sched_setaffinity(0, {cpu})
            run(where, False)
            assert tuple(where) == (cpu, cpu)
            run(where, True)
            assert tuple(where) == (cpu, cpu)
            assert os.sched_getaffinity(0) == {cpu}
            os.sched_setaffinity(0, allowed)
            run(where, True)
            assert os.sched_getaffinity(0) == allowed
            if len(allowed) > 1:
                assert where[0] != where[1]
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_system_that_is_not_known_runs_on_one_thread() -> None:
    assert "thread" not in workers.source("emscripten", host()).replace("graphc_threads", "")
    assert assemble(workers.source("emscripten", host()), host())
    assert assemble(workers.source("linux", Machine("riscv64-unknown-linux-gnu", "generic-rv64", "", 16)), host())


# --- what it costs where it does not help -----------------------------------------------------------------------


def test_small_kernels_never_see_the_pool() -> None:
    f = graphc.compile(lambda x: np.exp(x) * 2, "f64[1000]", kernels="llvm")
    kernel = next(s.kernel for s in f.plan.steps if s.kernel is not None)
    assert "parallel" not in entry.function(kernel, "kernel", "entry")
    g = graphc.compile(lambda x: np.exp(x) * 2, "f64[n]", kernels="llvm")
    kernel = next(s.kernel for s in g.plan.steps if s.kernel is not None)
    assert "parallel" in entry.function(kernel, "kernel", "entry")


def fresh(script: str, **variables: str) -> str:
    """What a script prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=os.getcwd(),
        env={**os.environ, **variables},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_threads_are_made_when_work_needs_them() -> None:
    script = """
import numpy as np, graphc
f = graphc.compile(lambda x: np.exp(np.sin(x)), "f64[n]", kernels="llvm")
from graphc.backends.numpy.llvm.pool import pool
f(np.ones(10)); print(pool().started)
f(np.ones(1_000_000)); print(pool().started, pool().threads)
"""
    assert fresh(script, GRAPHC_NUM_THREADS="3") == "0\n2 3\n"
    assert fresh(script, GRAPHC_NUM_THREADS="1") == "0\n0 1\n"
    assert fresh(script, GRAPHC_NUM_THREADS="", OMP_NUM_THREADS="2,1") == "0\n1 2\n"


# --- processes, signals, the end -------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_forked_process_makes_its_own_threads(busy: bool, counted: pool.Pool) -> None:
    f = graphc.compile(lambda x: np.exp(np.sin(x)), "f64[n]", kernels="llvm")
    x = values(300_000)
    counted.threads = 3
    expected = bits(f(x))
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            f(x)

    caller = threading.Thread(target=work)
    if busy:
        caller.start()
    for _ in range(5 if busy else 1):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                before = counted.started
                same = all(bits(f(x)) == expected for _ in range(3))
                os.write(writer, f"{before} {same} {counted.started}".encode())
            finally:
                os._exit(0)
        os.close(writer)
        said = os.read(reader, 100).decode()
        os.close(reader)
        os.waitpid(child, 0)
        assert said == "0 True 2"
    stop.set()
    if busy:
        caller.join()
    assert bits(f(x)) == expected


def test_a_spawned_process_runs_on_threads(counted: pool.Pool) -> None:
    f = graphc.compile(lambda x: np.exp(np.sin(x)), "f64[n]", kernels="llvm")
    x = values(300_000)
    counted.threads = 3
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        assert bits(workers.apply(f, (x,))) == bits(f(x))


@pytest.mark.parametrize("when", ["asleep", "running"])
def test_a_process_ends_while_its_threads_sleep_or_run(when: str) -> None:
    script = f"""
import threading, time, numpy as np, graphc
f = graphc.compile(lambda x: np.exp(np.sin(x)), "f64[n]", kernels="llvm")
x = np.ones(2_000_000)
f(x)
def work():
    while True: f(x)
if {when == "running"}:
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
print("end")
"""
    assert fresh(script, GRAPHC_NUM_THREADS="3") == "end\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_signals_are_left_to_the_threads_of_python() -> None:
    script = """
import os, signal, time, numpy as np, graphc
f = graphc.compile(lambda x: np.exp(np.sin(x)), "f64[n]", kernels="llvm")
before = set(os.listdir("/proc/self/task"))
f(np.ones(1_000_000))
end = time.monotonic() + 20
for task in set(os.listdir("/proc/self/task")) - before:
    mask = -1
    # a thread that has not begun to run, on a busy machine, still has all signals blocked
    while mask >> (signal.SIGSEGV - 1) & 1 and time.monotonic() < end:
        status = open(f"/proc/self/task/{task}/status").read()
        mask = int(next(l for l in status.splitlines() if l.startswith("SigBlk")).split()[1], 16)
    print(mask)
"""
    masks = [int(line) for line in fresh(script, GRAPHC_NUM_THREADS="2", OPENBLAS_NUM_THREADS="1").splitlines()]
    assert len(masks) == 1
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM, signal.SIGCHLD):
        assert masks[0] >> (number - 1) & 1
    for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL):
        assert not masks[0] >> (number - 1) & 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_ctrl_c_leaves_the_pool_whole() -> None:
    script = """
import os, signal, threading, numpy as np, graphc
f = graphc.compile(lambda x: np.exp(np.sin(x)), "f64[n]", kernels="llvm")
x = np.ones(1_000_000)
expected = f(x)
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where tests run in the background
for _ in range(3):
    threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        while True:
            f(x)
    except KeyboardInterrupt:
        print(np.array_equal(f(x), expected))
"""
    assert fresh(script, GRAPHC_NUM_THREADS="3") == "True\n" * 3


def test_errors_leave_the_pool_whole(counted: pool.Pool) -> None:
    counted.threads = 3
    f = graphc.compile(lambda x, i: np.exp(np.sin(x))[i], "f64[n]", "i64[k]", kernels="llvm")
    g = graphc.compile(lambda x, y: np.exp(x) + y, "f64[n]", "f64[n]", kernels="llvm")
    x, right, wrong = values(400_000), np.array([0, 399_999]), np.array([0, 400_000])
    expected = bits(f(x, right))
    for _ in range(3):
        with pytest.raises(IndexError):
            f(x, wrong)
        with pytest.raises(graphc.errors.ShapeError):
            g(x, x[1:])
        assert bits(f(x, right)) == expected


# --- how many ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({"GRAPHC_NUM_THREADS": "3"}, 3),
        ({"GRAPHC_NUM_THREADS": " 2 ", "OMP_NUM_THREADS": "5"}, 2),
        ({"GRAPHC_NUM_THREADS": "100000"}, threads.MOST),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "4,3,2"}, 4),
        ({"GRAPHC_NUM_THREADS": "", "OMP_NUM_THREADS": "6"}, 6),
        ({"OMP_NUM_THREADS": "many"}, None),
        ({"OMP_NUM_THREADS": "0"}, None),
        ({"OMP_NUM_THREADS": "-2"}, None),
        ({}, None),
    ],
)
def test_variables_say_how_many(variables: dict[str, str], count: int | None) -> None:
    assert threads.wanted(variables) == (threads.cpus() if count is None else count)


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "٣"])
def test_a_variable_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedError, match="GRAPHC_NUM_THREADS"):
        threads.wanted({"GRAPHC_NUM_THREADS": text})


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be pinned")
def test_a_pinned_process_counts_its_cpus() -> None:
    one = min(os.sched_getaffinity(0))
    script = f"""
import os; os.sched_setaffinity(0, [{one}])
from graphc.backends.numpy.llvm import threads
print(threads.cpus())
"""
    assert fresh(script) == "1\n"


MOUNTS = """\
22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw
30 23 0:26 {root2} {at2} rw,nosuid shared:4 - cgroup2 cgroup2 rw
31 23 0:27 {root1} {at1} rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
32 23 0:28 / /sys/fs/cgroup/memory rw,nosuid shared:10 - cgroup cgroup rw,memory
short line
"""


def control_groups(
    tmp_path: Path, groups: str, files: dict[str, str], at1: str = "/sys/fs/cgroup/cpu,cpuacct",
    at2: str = "/sys/fs/cgroup", root1: str = "/", root2: str = "/",
) -> float | None:  # fmt: skip
    proc = tmp_path / "proc" / "self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(groups)
    (proc / "mountinfo").write_text(MOUNTS.format(at1=at1, at2=at2, root1=root1, root2=root2))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return threads.quota(tmp_path)


V1, V2 = "sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {f"{V2}/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {f"{V2}/cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {f"{V2}/a/b/cpu.max": "400000 100000\n", f"{V2}/a/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/a/b\n", {f"{V2}/a/b/cpu.max": "max 100000\n", f"{V2}/cpu.max": "300000 100000\n"}, 3.0),
        ("4:cpu,cpuacct:/\n", {f"{V1}/cpu.cfs_quota_us": "50000", f"{V1}/cpu.cfs_period_us": "100000"}, 0.5),
        ("4:cpu,cpuacct:/\n", {f"{V1}/cpu.cfs_quota_us": "-1", f"{V1}/cpu.cfs_period_us": "100000"}, None),
        ("4:cpu,cpuacct:/x\n", {f"{V1}/x/cpu.cfs_quota_us": "500000", f"{V1}/x/cpu.cfs_period_us": "250000"}, 2.0),
        ("3:memory:/x\n", {"sys/fs/cgroup/memory/x/cpu.max": "100000 100000"}, None),
        ("0::/\n", {f"{V2}/cpu.max": "much\n"}, None),
        ("0::/../../up\n", {f"{V2}/cpu.max": "100000 100000\n"}, 1.0),
        ("nonsense\n", {f"{V2}/cpu.max": "100000 100000\n"}, None),
    ],
)
def test_control_groups_limit_the_threads(
    tmp_path: Path, groups: str, files: dict[str, str], expected: float | None
) -> None:
    assert control_groups(tmp_path, groups, files) == expected


def test_control_groups_of_a_container_without_a_namespace(tmp_path: Path) -> None:
    """Its own group is mounted as if it were the top."""
    files = {f"{V1}/cpu.cfs_quota_us": "200000", f"{V1}/cpu.cfs_period_us": "100000"}
    assert control_groups(tmp_path, "4:cpu,cpuacct:/docker/ab\n", files, root1="/docker/ab") == 2.0


def test_a_mount_with_a_blank_in_its_name(tmp_path: Path) -> None:
    files = {"my groups/cpu.max": "700000 100000"}
    assert control_groups(tmp_path, "0::/\n", files, at2=r"/my\040groups") == 7.0


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert threads.quota(tmp_path) is None
