"""Memory of large results: it goes to the next result of the same size, and to nothing that is still alive."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import tracemalloc
from typing import Any, Final

import numpy as np
import pytest
from numpy._core import multiarray

import graphc
from graphc.backends.numpy.arrays import LARGE
from graphc.errors import UnsupportedError

pytest.importorskip("llvmlite", reason="large results are kept by machine code")
from graphc.backends.numpy.llvm import entry, reuse
from graphc.backends.numpy.llvm.memory import LINE

pytestmark = pytest.mark.skipif(not entry.SUPPORTED, reason="the store relies on the lock of the interpreter")
F64: Final = np.dtype(np.float64)
COUNT: Final = LARGE // 8


def kept() -> int:
    store = reuse.store()
    assert store is not None
    return store.kept


def emptied() -> None:
    """Nothing in the store: blocks of sizes that nobody wants push each other out."""
    while kept():
        held = kept()
        block = reuse.empty((COUNT + 12345,), F64)  # a miss: the oldest goes
        assert kept() < held
        block.resize(1, refcheck=False)  # too small to be kept


@pytest.fixture(autouse=True)
def _from_an_empty_store() -> None:
    emptied()


def double(count: int) -> Any:
    return graphc.compile(lambda x: x * 2 + 0, f"f64[{count}]")


def test_a_dropped_result_serves_the_next() -> None:
    f, x = double(COUNT), np.arange(float(COUNT))
    y = f(x)
    address = y.ctypes.data
    assert y.flags.owndata
    assert y.base is None
    del y
    assert kept() == LARGE
    z = f(x + 1)
    assert z.ctypes.data == address
    assert kept() == 0
    np.testing.assert_array_equal(z, (x + 1) * 2)


def test_what_is_alive_is_never_handed_out() -> None:
    f, x = double(COUNT), np.ones(COUNT)
    results = [f(x * k) for k in range(20)]
    view = results[3][5:7]
    del results[3]
    more = [f(x * -k) for k in range(20)]
    assert len({r.ctypes.data for r in (*results, *more)}) == 39
    np.testing.assert_array_equal(view, 6.0)
    for k, result in enumerate(more):
        np.testing.assert_array_equal(result, -2.0 * k)


@pytest.mark.parametrize("f", [lambda x: x * 2, lambda x: x[:, None] @ x[None, ::512]])
def test_operations_of_numpy_fill_kept_memory_too(f: Any) -> None:
    g, x = graphc.compile(f, f"f64[{COUNT}]"), np.arange(float(COUNT))
    y = g(x)
    address = y.ctypes.data
    del y
    z = g(x + 1)
    assert z.ctypes.data == address
    np.testing.assert_array_equal(z, f(x + 1))


@pytest.mark.parametrize("text", ["", " ", str(1 << 64), " 1000000 "])
def test_limits(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_KEPT_BYTES", text)
    limits: list[int] = []
    monkeypatch.setattr(reuse, "Store", limits.append)
    reuse.store.__wrapped__()
    assert limits == [{"": reuse.LIMIT, str(1 << 64): sys.maxsize}.get(text.strip(), 1_000_000)]


def test_a_limit_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_KEPT_BYTES", "1 GB")
    with pytest.raises(UnsupportedError, match="GRAPHC_KEPT_BYTES"):
        reuse.store.__wrapped__()


def test_small_arrays_are_numpys_own() -> None:
    y = reuse.empty((COUNT - 1,), F64)
    del y
    assert kept() == 0


def test_other_sizes_leave_the_store() -> None:
    for k in range(3 * reuse.BLOCKS):
        block = reuse.empty((COUNT + k,), F64)
        del block
    # each size was new, so each time the one before it went
    assert kept() == 8 * (COUNT + 3 * reuse.BLOCKS - 1)


def test_a_bounded_number_of_blocks() -> None:
    blocks = [reuse.empty((COUNT + k,), F64) for k in range(3 * reuse.BLOCKS)]
    blocks.clear()
    assert kept() <= reuse.BLOCKS * 8 * (COUNT + 3 * reuse.BLOCKS)


def test_a_resized_array() -> None:
    y = reuse.empty((COUNT,), F64)
    y[:] = np.arange(COUNT)
    y.resize(2 * COUNT, refcheck=False)
    np.testing.assert_array_equal(y[:COUNT], np.arange(COUNT))
    np.testing.assert_array_equal(y[COUNT:], 0)
    del y
    assert kept() == 2 * LARGE
    z = reuse.empty((2 * COUNT,), F64)
    z[:] = 1  # all of the block is there


def test_nothing_else_uses_the_store() -> None:
    f, x = double(COUNT), np.ones(COUNT)
    f(x)
    held = kept()
    others = [np.empty(COUNT), x + 1, np.zeros(COUNT)]
    others.clear()
    assert kept() == held


def test_arrays_are_as_numpy_makes_them() -> None:
    f = graphc.compile(lambda x: x * 2 + 0, f"f64[{COUNT},1]")
    for y in (f(np.ones((COUNT, 1))), reuse.empty((4, COUNT), F64), reuse.empty((2, 3, COUNT), np.dtype(np.int16))):
        usual = np.empty(y.shape, y.dtype)
        assert (y.flags.num, y.strides, y.dtype) == (usual.flags.num, usual.strides, usual.dtype)
        assert type(y) is np.ndarray
        assert y.base is None
        assert multiarray.get_handler_name(y) == "graphc"
        assert y.ctypes.data % LINE == 0
    assert multiarray.get_handler_name() == "default_allocator"


def test_tracemalloc_sees_them() -> None:
    def held() -> list[int]:
        own = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
        return [trace.size for trace in tracemalloc.take_snapshot().filter_traces([own]).traces if trace.size >= LARGE]

    tracemalloc.start()
    try:
        assert not held()
        y = reuse.empty((COUNT,), F64)
        assert held() == [LARGE]
        del y
        assert not held()
    finally:
        tracemalloc.stop()


def test_tracemalloc_counts_them_once() -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        y = reuse.empty((COUNT + 4321,), F64)  # of no size that is kept
        held, _ = tracemalloc.get_traced_memory()
        assert y.nbytes <= held - before < 1.5 * y.nbytes
        y.resize(2 * len(y), refcheck=False)
        held, _ = tracemalloc.get_traced_memory()
        assert y.nbytes <= held - before < 1.5 * y.nbytes
        del y
        held, _ = tracemalloc.get_traced_memory()
        assert held - before < LARGE // 2
    finally:
        tracemalloc.stop()


def test_no_memory() -> None:
    """NumPy says how much there was to be."""
    with pytest.raises(
        MemoryError, match=r"Unable to allocate 2\.00 EiB for an array with shape \(288230376151711744,\)"
    ):
        reuse.empty((1 << 58,), F64)
    outer = graphc.compile(lambda x, y: x[:, None] * y, "f64[n]", "f64[m]")
    x = np.ones(1 << 23)
    with pytest.raises(MemoryError, match=r"Unable to allocate 512\. TiB for an array with shape \(8388608, 8388608\)"):
        outer(x, x)


def test_threads() -> None:
    f = double(COUNT)
    wrong: list[int] = []

    def work(k: int) -> None:
        x = np.full(COUNT, float(k))
        for _ in range(30):
            y = f(x)
            if not (y == 2.0 * k).all():
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


PROGRAM: Final = """
import builtins, os, sys
import numpy as np, graphc
from graphc.backends.numpy.llvm import reuse
f = graphc.compile(lambda x: x * 2 + 0, "f64[n]")
x = np.ones(1 << 15)
y = f(x)
del y
{body}
"""


@pytest.mark.parametrize(
    ("limit", "body"),
    [
        pytest.param("0", "assert reuse.store() is None", id="switched off"),
        pytest.param("300000", "assert reuse.store().kept == 1 << 18", id="within the limit"),
        pytest.param("200000", "assert reuse.store().kept == 0", id="above the limit"),
        pytest.param(
            "500000",
            "ys = [f(np.ones((1 << 15) + k)) for k in range(5)]; ys.clear(); assert 0 < reuse.store().kept <= 500000",
            id="as many as the limit allows",
        ),
        pytest.param("9999999", "builtins.kept_for_ever = [f(x), f(x)]; sys.kept = f(x)", id="alive at exit"),
        pytest.param(
            "9999999",
            "pid = os.fork() if hasattr(os, 'fork') else 0\n"
            "z = f(x); assert (z == 2).all()\n"
            "if pid: assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0",
            id="fork",
        ),
    ],
)
def test_a_process(limit: str, body: str) -> None:

    env = {**os.environ, "GRAPHC_KEPT_BYTES": limit, "GRAPHC_KERNELS": "llvm"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)], env=env, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")


SHORT: Final = """
import resource
import numpy as np
import graphc
double = graphc.compile(lambda x: x * 2, "f64[n]")
last = graphc.compile(lambda x, y: (x * 2, np.cumsum(y * 3)[-1]), "f64[n]", "f64[m]")
M = 1 << 17  # numbers in a MiB
double(np.ones(M)), last(np.ones(M), np.ones(M))
x, y = np.ones(20 * M), np.ones(70 * M)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (200 << 20), -1))
for f in (lambda: double(y), lambda: last(x, y)):
    held = [double(x) for _ in range(7)]
    del held  # 140 of the 200 MiB stay with the store
    f()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells what a process has")
def test_kept_memory_goes_when_there_is_no_other() -> None:
    """A large result takes its place, and so do temporaries."""
    env = {**os.environ, "GRAPHC_KEPT_BYTES": str(1 << 30), "GRAPHC_KERNELS": "llvm", "GRAPHC_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", SHORT], env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
