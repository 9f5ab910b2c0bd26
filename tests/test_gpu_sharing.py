"""What calls on a GPU share, and must not: streams, threads, devices, the caller's own graphs, memory of results."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.backends.cupy.replaying import MOST_RECORDINGS
from graphc.errors import UnsupportedError
from tests.test_gpu import _gpus, host, step, step_arguments

pytestmark = [
    pytest.mark.gpu,
    # libraries that are not graphc's warn as they like
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("ignore:a writable array:UserWarning", "ignore::RuntimeWarning"),
]


@pytest.fixture(scope="module")
def cp() -> Any:
    if not _gpus():
        pytest.skip("there is no GPU that CuPy can use")
    import cupy

    return cupy


def all_at_once(work: Callable[[], Any], count: int = 4) -> list[Any]:
    """What several threads get from the same function; errors are raised here."""
    found: list[Any] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return found


def large_step(x: Any, w: Any) -> Any:
    """Products by cuBLAS, kernels between them, and a sum that several blocks share."""
    y = np.tanh(x @ w)
    return np.exp(-(y @ w.T)), np.sum(y * y, axis=0), np.mean(y)


def large_arguments(cp: Any) -> list[Any]:
    rng = np.random.default_rng(4)
    return [cp.asarray(rng.normal(size=s).astype(np.float32) / 10) for s in ((600, 500), (500, 700))]


@pytest.mark.parametrize(("f", "arguments"), [(step, step_arguments), (large_step, large_arguments)])
def test_default_streams_of_threads(f: Callable[..., Any], arguments: Callable[..., Any], cp: Any) -> None:
    """They have one number, and run at the same time: memory, workspaces and recordings are each thread's own."""
    given = arguments(cp)
    compiled = graphc.compile(f, *map(cp.asnumpy, given), backend="cupy")
    wanted = host(compiled(*given))
    cp.cuda.Device().synchronize()

    def work() -> bool:
        with cp.cuda.Stream.ptds:
            found = [compiled(*given) for _ in range(60)]
            cp.cuda.Stream.ptds.synchronize()
            return all(np.array_equal(a, b) for results in found for a, b in zip(host(results), wanted, strict=True))

    assert all(all_at_once(work))


@pytest.mark.parametrize(("f", "arguments"), [(step, step_arguments), (large_step, large_arguments)])
@pytest.mark.parametrize("before", [1, 6])
def test_calls_in_a_graph_of_the_caller(before: int, f: Any, arguments: Callable[..., Any], cp: Any) -> None:
    """The caller runs it again, whatever came in between, and on what lies in the arguments then."""
    given = arguments(cp)
    compiled = graphc.compile(f, *map(cp.asnumpy, given), backend="cupy")
    with cp.cuda.Stream(non_blocking=True) as stream:
        for _ in range(before):
            wanted = host(compiled(*given))
        stream.synchronize()
        # what the call takes meanwhile has to stay with the graph
        pool = cp.cuda.MemoryPool()
        with cp.cuda.using_allocator(pool.malloc):
            stream.begin_capture()
            results = compiled(*given)
            graph = stream.end_capture()
        others = [2 * x for x in given]
        kept = compiled(*others)
        expected = host(kept)
        for _ in range(3):
            graph.launch(stream)
            for a, b in zip(host(results), wanted, strict=True):
                np.testing.assert_array_equal(a, b)
        for a, b in zip(host(kept), expected, strict=True):
            np.testing.assert_array_equal(a, b)
        given[0][...] *= 2
        graph.launch(stream)
        for a, b in zip(host(results), host(compiled(*given)), strict=True):
            np.testing.assert_array_equal(a, b)


def test_constants_are_there_for_every_stream(cp: Any) -> None:
    """Also for one that comes right after that which wanted them first, and is not told to wait."""
    table = np.random.default_rng(5).normal(size=4_000_000)
    for _ in range(5):
        f = graphc.compile(lambda x: np.sqrt(x + table * table), "f64[4000000]", backend="cupy")
        x = cp.ones(table.size)
        cp.cuda.Device().synchronize()
        streams = [cp.cuda.Stream(non_blocking=True) for _ in range(2)]
        found = []
        for stream in streams:
            with stream:
                found.append(f(x))
        for stream, y in zip(streams, found, strict=True):
            stream.synchronize()
            np.testing.assert_allclose(cp.asnumpy(y), np.sqrt(1 + table * table), rtol=1e-15)


def test_a_first_call_in_a_graph_of_the_caller(cp: Any) -> None:
    """Its constants come to the GPU at once, not when the graph runs: other calls need them too."""
    table = np.random.default_rng(6).normal(size=1000)
    f = graphc.compile(lambda x: np.exp(x) + table, "f64[1000]", backend="cupy")
    x = cp.ones(1000)
    graphc.compile(lambda x: np.exp(x) + 1, "f64[1000]", backend="cupy")(x)
    with cp.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        y = f(x)
        graph = stream.end_capture()
        np.testing.assert_allclose(host(f(x))[0], np.e + table, rtol=1e-14)
        graph.launch(stream)
        np.testing.assert_allclose(host(y)[0], np.e + table, rtol=1e-14)


def written_in_part(x: Any, u: Any) -> Any:
    y = np.exp(x)
    total = np.sum(y, axis=0)
    z = y.copy()
    z[1:3] = np.sin(u) * 2
    return z, total, y


@pytest.mark.parametrize("rows", [6, 3000])
def test_what_is_written_in_part_when_it_is_recorded(rows: int, cp: Any) -> None:
    rng = np.random.default_rng(7)
    given = rng.normal(size=(rows, 130)), rng.normal(size=(2, 130))
    f, wanted = graphc.compile(written_in_part, *given, backend="cupy"), written_in_part(*given)
    assert "ck.fill" in f.source
    arguments = [cp.asarray(x) for x in given]
    for _ in range(8):
        for a, b in zip(host(f(*arguments)), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)
    (recording,) = f._run.recordings.values()
    assert (recording.whole is None) == (rows > 1000), f._run.failures


def test_many_sums_side_by_side_are_one_kernel(cp: Any) -> None:
    """Their rooms in shared memory are more than a block has: they take turns."""
    rng = np.random.default_rng(8)
    given = [rng.normal(size=(40 + k, 30 + k)) for k in range(9)]
    f = graphc.compile(lambda *xs: [np.sum(x, axis=0) for x in xs], *given, backend="cupy")
    arguments = [cp.asarray(x) for x in given]
    for _ in range(5):
        for a, b in zip(host(f(*arguments)), given, strict=True):
            np.testing.assert_allclose(a, b.sum(axis=0), rtol=1e-12, atol=1e-13)
    (recording,) = f._run.recordings.values()
    assert recording.whole is not None, f._run.failures


def test_many_shapes_do_not_push_each_other_out(cp: Any) -> None:
    f = graphc.compile(step, "f32[1,k]", "f32[k,1]", "f32[n,1]", "f32[n,1]", backend="cupy")
    calls = []
    for n in range(20, 20 + MOST_RECORDINGS + 3):
        w, v, x, t = step_arguments(cp, n)
        calls.append((w, v, x[:n].copy(), t[:n].copy()))
    wanted = [host(f(*call)) for call in calls]
    for _ in range(5):
        for call, expected in zip(calls, wanted, strict=True):
            for a, b in zip(host(f(*call)), expected, strict=True):
                np.testing.assert_array_equal(a, b)
    assert len(f._run.recordings) == MOST_RECORDINGS
    assert not f._run.failures


def test_positions_outside_wrap_around(cp: Any) -> None:
    """As they do where elements are read, whichever way sums at positions take."""
    rng = np.random.default_rng(9)
    for span, count, rest in ((7, 20, 3), (300, 1500, 5), (900, 9000, 4)):
        i = rng.integers(-3 * span, 3 * span, count)
        u = rng.integers(-4, 5, (count, rest)).astype(np.float32)
        w = rng.normal(size=(span, rest)).astype(np.float32)
        f = graphc.compile(
            lambda w, i, u: (w[i], graphc.grad(lambda w: np.sum(w[i] * u))(w)), w, i % span, u, backend="cupy"
        )
        taken, gradient = host(f(cp.asarray(w), cp.asarray(i), cp.asarray(u)))
        np.testing.assert_array_equal(taken, w[i % span])
        wanted = np.zeros_like(w)
        np.add.at(wanted, i % span, u)
        np.testing.assert_array_equal(gradient, wanted)


@pytest.mark.parametrize("count", [65_535, 65_536, 200_000])
def test_products_of_very_many_matrices(count: int, cp: Any) -> None:
    rng = np.random.default_rng(10)
    a, b = (cp.asarray(rng.integers(-3, 4, (count, 4, 4)).astype(np.float32)) for _ in range(2))
    f = graphc.compile(lambda a, b: a @ b, "f32[k,4,4]", "f32[k,4,4]", backend="cupy")
    np.testing.assert_array_equal(host(f(a, b))[0], cp.asnumpy(a) @ cp.asnumpy(b))


@pytest.fixture
def other_device(cp: Any) -> Iterator[int]:
    if _gpus() < 2:
        pytest.skip("there is one GPU")
    with cp.cuda.Device(0):
        yield 1


def test_arrays_on_other_devices(other_device: int, cp: Any) -> None:
    f = graphc.compile(step, "f32[1,10]", "f32[10,1]", "f32[64,1]", "f32[64,1]", backend="cupy")
    here = step_arguments(cp)
    for _ in range(5):
        wanted = host(f(*here))
    with cp.cuda.Device(other_device):
        there = step_arguments(cp)
        for _ in range(5):
            results = f(*there)
        assert all(r.device.id == other_device for r in results)
        for a, b in zip(host(results), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    with pytest.raises(UnsupportedError, match="it lies on another GPU"):
        f(*there)
