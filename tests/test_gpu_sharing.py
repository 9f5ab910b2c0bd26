"""Recorded calls on a GPU, and what calls must not share: streams, threads, devices, memory, graphs of the caller."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphc
from benchmarks.tree import leaves as arrays_of
from benchmarks.tree import mapped
from benchmarks.workloads.learning import ExponentialNetwork
from graphc.backends.cupy.replaying import MOST_RECORDINGS
from graphc.errors import UnsupportedError
from graphc.ir import TensorType
from tests.test_gpu import host
from tests.test_kernels import PROGRAMS

pytestmark = [
    pytest.mark.gpu,
    # libraries that are not graphc's warn as they like
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("ignore:a writable array:UserWarning", "ignore::RuntimeWarning"),
]


def step(w: Any, v: Any, x: Any, t: Any) -> Any:
    def loss(w: Any, v: Any) -> Any:
        return np.mean((np.tanh(x @ w) @ v - t) ** 2)

    value, (gw, gv) = graphc.value_and_grad(loss, argnums=(0, 1))(w, v)
    return value, w - 0.1 * gw, v - 0.1 * gv


def step_arguments(cp: Any, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [cp.asarray(rng.normal(size=s).astype(np.float32)) for s in ((1, 10), (10, 1), (64, 1), (64, 1))]


# --- recordings -------------------------------------------------------------------------------------------------


def test_recorded_calls_give_what_plain_calls_give(cp: Any) -> None:
    given = step_arguments(cp)
    specs = [TensorType(x.shape, x.dtype) for x in map(cp.asnumpy, given)]
    f = graphc.compile(step, *specs, backend="cupy")
    wanted = graphc.compile(step, *specs)(*map(cp.asnumpy, given))
    kept = []
    for _ in range(8):
        results = f(*given)
        kept.append(results)
        for a, b in zip(host(results), wanted, strict=True):
            assert a.shape == np.shape(b)
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert f._run.recordings, f._run.failures
    first = host(kept[-2])
    other = step_arguments(cp, 1)
    changed = host(f(*other))
    assert not np.allclose(changed[1], first[1])
    for a, b in zip(host(kept[-2]), first, strict=True):
        np.testing.assert_array_equal(a, b)  # results are the caller's own
    for a, b in zip(host(f(*given)), first, strict=True):
        np.testing.assert_array_equal(a, b)
    pointers = {r.data.ptr for results in kept for r in results}
    assert len(pointers) == 3 * len(kept)


@pytest.mark.parametrize("n", [8, 100])
def test_a_small_training_step_is_one_kernel(n: int, cp: Any) -> None:
    """It goes on giving the bits of the first calls, which launch each kernel by itself."""
    inputs = ExponentialNetwork().inputs()
    inputs = (*inputs[:2], inputs[2][:n], inputs[3][:n])
    f = graphc.compile(ExponentialNetwork().graphc(), *inputs, backend="cupy")
    given = mapped(cp.asarray, inputs)
    runs = [[cp.asnumpy(x) for x in arrays_of(f(*given))] for _ in range(6)]
    assert len(f._run.recordings) == 1, f._run.failures
    (recording,) = f._run.recordings.values()
    assert recording.whole is not None
    for run in runs[1:]:
        for a, b in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(a, b)
    on_host = graphc.compile(ExponentialNetwork().graphc(), *inputs)
    slow = inputs
    for _ in range(50):
        params, state, _ = f(*given)
        given = (params, state, *given[2:])
        slow = (*on_host(*slow)[:2], *slow[2:])
    for a, b in zip(arrays_of(given[0]), arrays_of(slow[0]), strict=True):
        np.testing.assert_allclose(cp.asnumpy(a), b, rtol=1e-3, atol=1e-4)
    # arguments where 16 bytes at a time cannot be read
    odd = cp.zeros(n + 1, np.float32)
    odd[1:] = given[2][:, 0]
    moved = (*given[:2], odd[1:].reshape(n, 1), given[3])
    for a, b in zip(arrays_of(f(*moved)), arrays_of(f(*given)), strict=True):
        np.testing.assert_allclose(cp.asnumpy(a), cp.asnumpy(b), rtol=1e-5, atol=1e-7)


def wide_step(w: Any, v: Any, x: Any, t: Any) -> Any:
    """A step of which no part is small, and one product is shared by several blocks."""

    def loss(w: Any, v: Any) -> Any:
        return np.mean((np.tanh(x @ w.T) @ v - t) ** 2)

    value, (gw, gv) = graphc.value_and_grad(loss, argnums=(0, 1))(w, v)
    return w - 0.1 * gw, v - 0.1 * gv, value


def test_a_loop_that_trains_needs_no_copies(cp: Any) -> None:
    rng = np.random.default_rng(9)
    given = [rng.normal(size=s).astype(np.float32) / 10 for s in ((500, 600), (500, 40), (100, 600), (100, 40))]
    f = graphc.compile(wide_step, *given, backend="cupy")
    plain = graphc.compile(wide_step, *given)
    arguments, slow = [cp.asarray(x) for x in given], given
    kept = None
    for k in range(16):
        results = f(*arguments)
        if k == 11:
            kept, copy = results[0], cp.asnumpy(results[0])
        wanted = plain(*slow)
        for a, b in zip(host(results), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
        arguments, slow = [*results[:2], *arguments[2:]], [*wanted[:2], *slow[2:]]
    assert len(f._run.recordings) == 1, f._run.failures
    (recording,) = f._run.recordings.values()
    assert recording.whole is None
    assert recording.direct, recording.numbers
    np.testing.assert_array_equal(cp.asnumpy(kept), copy)  # what the caller holds is left alone
    # where results and arguments lie makes no difference
    other = [cp.asarray(x) for x in given]
    first = host(f(*other))
    for _ in range(6):
        for a, b in zip(host(f(*other)), first, strict=True):
            np.testing.assert_array_equal(a, b)


def test_training_goes_the_same_way(cp: Any) -> None:
    rng = np.random.default_rng(5)
    x = rng.uniform(-1, 1, size=(64, 1))
    t = np.exp(x)
    w, v = rng.normal(size=(1, 10)), rng.normal(size=(10, 1))
    specs = [TensorType(a.shape, a.dtype) for a in (w, v, x, t)]
    on_host, on_device = graphc.compile(step, *specs), graphc.compile(step, *specs, backend="cupy")
    a, b = (w, v), (cp.asarray(w), cp.asarray(v))
    xd, td = cp.asarray(x), cp.asarray(t)
    before, *_ = on_host(*a, x, t)
    for _ in range(200):
        loss, *a = on_host(*a, x, t)
        device_loss, *b = on_device(*b, xd, td)
    np.testing.assert_allclose(float(device_loss), loss, rtol=1e-8)
    assert loss < 0.9 * before
    for one, other in zip(host(b), a, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7)


# --- memory, streams, threads, graphs of the caller ------------------------------------------------------------------


def test_results_share_storage_with_nothing(cp: Any) -> None:
    f = graphc.compile(lambda x: (x, x.T, x[1:], x + 1, (x + 1).T), "f64[4,4]", backend="cupy")
    x = cp.arange(16.0).reshape(4, 4)
    results = f(x)
    expected = host(results)
    for r in results:
        r[...] = -1
    np.testing.assert_array_equal(cp.asnumpy(x), np.arange(16.0).reshape(4, 4))
    for a, b in zip(host(f(x)), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_memory_does_not_grow(cp: Any) -> None:
    pool = cp.get_default_memory_pool()
    x = cp.ones((1000, 1000), np.float32)
    f = graphc.compile(PROGRAMS["gradient of layernorm"][0], "f32[n,m]", backend="cupy")
    for _ in range(3):
        f(x)
    before = pool.used_bytes()
    for _ in range(20):
        f(x)
    cp.cuda.get_current_stream().synchronize()
    assert pool.used_bytes() <= before


def test_streams_and_threads(cp: Any) -> None:
    given = step_arguments(cp)
    f = graphc.compile(step, *[TensorType(x.shape, x.dtype) for x in given], backend="cupy")
    wanted = host(f(*given))
    failures: list[str] = []
    cp.cuda.get_current_stream().synchronize()

    def work() -> None:
        with cp.cuda.Stream(non_blocking=True) as stream:
            for _ in range(30):
                results = f(*given)
                stream.synchronize()
                for a, b in zip(host(results), wanted, strict=True):
                    if not np.array_equal(a, b):
                        failures.append(f"{a} {b}")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_products_on_several_streams(cp: Any) -> None:
    rng = np.random.default_rng(8)
    a, b = (cp.asarray(rng.normal(size=s).astype(np.float32)) for s in ((8, 256, 64), (8, 64, 256)))
    f = graphc.compile(lambda a, b: np.tanh(a @ b) @ np.exp(a), "f32[k,n,m]", "f32[k,m,n]", backend="cupy")
    wanted = cp.asnumpy(f(a, b))
    cp.cuda.get_current_stream().synchronize()
    streams = [cp.cuda.Stream(non_blocking=True) for _ in range(4)]
    found = []
    for _ in range(10):
        for stream in streams:
            with stream:
                found.append(f(a, b))
    for stream in streams:
        stream.synchronize()
    for y in found:
        np.testing.assert_array_equal(cp.asnumpy(y), wanted)


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


def test_many_arrays_put_together_when_it_is_recorded(cp: Any) -> None:
    """By launches, and not by a table of addresses from the host, which is gone when a graph runs."""

    def f(x: Any) -> Any:
        rows = [np.exp(x[k]) * np.sum(x[k]) for k in range(12)]
        return np.stack(rows), np.stack(rows, axis=1), np.concatenate([x[:, :1], x, x[:, :0], x.T[:1].T], axis=1)

    for columns in (5, 3000):
        f_on_gpu = graphc.compile(f, f"f64[12,{columns}]", backend="cupy")
        for seed in range(10):
            x = np.random.default_rng(seed).normal(size=(12, columns))
            junk = [cp.asarray(np.full(64, -1)) for _ in range(20)]  # goes over the host's memory of earlier tables
            for a, b in zip(host(f_on_gpu(cp.asarray(x))), f(x), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
            del junk
        assert f_on_gpu._run.recordings, f_on_gpu._run.failures


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
    if cp.cuda.runtime.getDeviceCount() < 2:
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
