"""Recorded calls end to end: memory, streams and captures stand in for CUDA's, kernels are emulated."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import graphc
from benchmarks.tree import leaves, rebuilt
from benchmarks.workloads.learning import ExponentialNetwork
from graphc.backends.cupy import arguments, executor, merging
from graphc.backends.cupy.arguments import DeviceSpec
from graphc.backends.cupy.recording import PATIENCE
from graphc.backends.cupy.replaying import MOST_RECORDINGS, Replayed
from graphc.errors import UnsupportedError
from tests.cuda_emulation import COMPILER, instead_of_cupy
from tests.test_cuda_merging import Machine, loaded
from tests.test_cuda_programs import plan_of

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler: install g++, or set CXX")


class Pointer:
    """CuPy's pointer into a piece of memory."""

    def __init__(self, mem: Any, place: int = 0) -> None:
        self.mem = mem
        self.ptr = mem.ctypes.data + -mem.ctypes.data % 256 + place
        self.place = place

    def __add__(self, place: int) -> Pointer:
        return Pointer(self.mem, self.place + place)


def malloc(size: int) -> Pointer:
    return Pointer(np.full(size + 256, 0xA5, np.uint8))


class Ndarray(np.ndarray):  # type: ignore[type-arg]
    """An array in memory that a pointer points to; made as CuPy's are."""

    pointer: Any = None
    device_id = 0

    def __new__(cls, shape: Any, dtype: Any, memory: Pointer) -> Ndarray:
        dtype = np.dtype(dtype)
        count = int(np.prod(shape))
        raw = (ctypes.c_char * max(1, count * dtype.itemsize)).from_address(memory.ptr)
        made = np.frombuffer(raw, dtype, count).reshape(shape).view(cls)
        made.pointer = memory
        return made

    def __array_finalize__(self, parent: Any) -> None:
        self.pointer = getattr(parent, "pointer", None)

    @property
    def data(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(ptr=self.ctypes.data, device_id=self.device_id)


class Driver(Machine):
    """A machine with allocators, one stream, and captures of launches."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.allocator: Callable[[int], Pointer] = malloc
        self.captured: list[Any] | None = None
        self.made = 0
        self.pieces: list[Pointer] = []
        runtime = SimpleNamespace(getDevice=lambda: 0, getDeviceCount=lambda: 1)
        self.stream = stream = SimpleNamespace(ptr=0, is_capturing=lambda: False, record=lambda: None)
        cuda = SimpleNamespace(
            runtime=runtime,
            MemoryPool=lambda: SimpleNamespace(malloc=self.lasting),
            alloc=lambda size: self.allocator(size),
            using_allocator=self.using,
            get_current_stream=lambda: stream,
            Stream=lambda non_blocking: self,
        )
        for name, value in {
            "cuda": cuda,
            "ndarray": Ndarray,
            "empty": lambda shape, dtype: Ndarray(shape, dtype, self.allocator(int(np.prod(shape)) * dtype.itemsize)),
            "empty_like": lambda a, order: Ndarray(a.shape, a.dtype, self.allocator(a.nbytes)),
            "asarray": self.keep,
        }.items():
            setattr(self.cupy, name, value)

    def lasting(self, size: int) -> Pointer:
        """Memory of a pool, which stays when it is freed: launches that were noted still use it."""
        self.pieces.append(malloc(size))
        return Pointer(self.pieces[-1].mem)

    def keep(self, array: Any) -> Any:
        array = np.asarray(array)
        made = Ndarray(array.shape, array.dtype, self.allocator(array.nbytes) if hasattr(self, "allocator") else None)
        made[...] = array
        self.kept.append(made)
        return made

    @contextmanager
    def using(self, allocator: Callable[[int], Pointer]) -> Iterator[None]:
        before, self.allocator = self.allocator, allocator
        try:
            yield
        finally:
            self.allocator = before

    def function(self, text: str) -> Callable[..., None]:
        run = super().function(text)

        def captured(*call: Any) -> None:
            if self.captured is not None:
                self.captured.append((run, call))
            else:
                self.made += 1
                run(*call)

        return captured

    # a stream

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None: ...

    def wait_event(self, event: Any) -> None: ...

    def synchronize(self) -> None: ...

    def begin_capture(self) -> None:
        self.captured = []

    def end_capture(self) -> Any:
        calls, self.captured = self.captured, None
        assert calls is not None

        def launch(stream: Any) -> None:
            self.made += 1
            for run, call in calls:
                run(*call)

        return SimpleNamespace(launch=launch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recording")


@pytest.fixture
def driver(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    found = Driver(folder)
    instead_of_cupy(found, monkeypatch)
    return found


def replayed(compiled: Any, driver: Driver) -> Replayed:
    graph = compiled.graph
    specs = [DeviceSpec(f"argument {k}", type, ()) for k, type in enumerate(graph.input_types)]
    return Replayed(loaded(compiled, driver), specs)


def test_a_small_step_is_a_launch(driver: Driver) -> None:
    inputs = ExponentialNetwork().inputs()
    compiled = graphc.compile(ExponentialNetwork().graphc(), *inputs)
    f = replayed(compiled, driver)
    given = [driver.keep(x) for x in leaves(inputs)]
    first = [np.array(r) for r in f(*given)]
    for _ in range(4):
        f(*given)
    (recording,) = f.recordings.values()
    assert recording is not None, f.failures
    assert recording.whole is not None
    # the network trains: results are the next arguments
    slow = [np.array(x) for x in leaves(inputs)]
    bound = f.bind(lambda *_: pytest.fail("not recorded"), False, False)
    for step in range(3):
        before = driver.made
        results = bound(*given)
        assert driver.made == before + 1
        if step == 0:
            for a, b in zip(results, first, strict=True):
                np.testing.assert_array_equal(a, b)
        given = [*results[:-1], *given[-2:]]
        slow = [*leaves(compiled(*rebuilt(inputs, slow)))[:-1], *slow[-2:]]
        for a, c in zip(given, slow, strict=True):
            np.testing.assert_allclose(a, c, rtol=1e-4, atol=1e-6)


def test_what_is_no_kernel_makes_a_graph(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any, i: Any) -> Any:
        k = i[:, None] + np.arange(3)
        z = np.exp(x @ x.T) + (k.T @ k)[:1, :1]  # whole numbers are multiplied by CuPy
        return np.sum(np.take(z, i, axis=0) ** 2, axis=1), z, x.T + 1

    rng = np.random.default_rng(0)
    x, i = rng.normal(size=(8, 3)), np.array([1, 7, -2])
    compiled = graphc.compile(f, x, i)

    def matmul(a: Any, b: Any) -> Any:
        result = driver.cupy.empty((a.shape[0], b.shape[1]), a.dtype)

        def multiply(*_: Any) -> None:
            result[...] = np.matmul(a, b)

        if driver.captured is not None:
            driver.captured.append((multiply, ()))
        multiply()
        return result

    monkeypatch.setattr(driver.cupy, "matmul", matmul, raising=False)
    run = replayed(compiled, driver)
    given = [driver.keep(a) for a in (x, i)]
    first = [np.array(r) for r in run(*given)]
    for _ in range(3):
        run(*given)
    (recording,) = run.recordings.values()
    assert recording is not None, run.failures
    assert recording.whole is None
    before = driver.made
    others = [driver.keep(2 * x), driver.keep(i)]
    results = run(*others)
    assert driver.made == before + 3  # arguments, the graph, results
    for a, b in zip(results, leaves(compiled(2 * x, i)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    for a, b in zip(run(*given), first, strict=True):
        np.testing.assert_array_equal(a, b)


def test_results_that_are_arguments_are_copied(driver: Driver) -> None:
    """A kernel that writes results where they are would leave out those that nothing writes."""
    x = np.arange(6.0).reshape(2, 3)
    compiled = graphc.compile(lambda x: (x, np.exp(x), np.exp(x).T + 1, np.sum(x, axis=1)), x)
    run = replayed(compiled, driver)
    given = driver.keep(x)
    first = [np.array(r) for r in run(given)]
    for _ in range(3):
        results = run(given)
    for a, b in zip(results, first, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.shares_memory(results[0], given)


def test_no_recording_has_a_table_from_the_host(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where arrays are many, CuPy copies their addresses to the GPU: what a graph copies when it runs is not those."""

    def f(x: Any) -> Any:
        rows = [np.exp(x[k]) * np.sum(x[k]) for k in range(12)]
        return np.stack(rows), np.stack(rows, axis=1), np.concatenate([x[:, :1], x, x[:, :0], x.T[:1].T], axis=1)

    x = np.random.default_rng(1).normal(size=(12, 5))
    compiled = graphc.compile(f, x)
    calls: list[int] = []

    def concatenate(arrays: Any, axis: int) -> Any:
        calls.append(len(arrays))
        return driver.keep(np.concatenate(arrays, axis))

    monkeypatch.setattr(driver.cupy, "concatenate", concatenate)
    run = replayed(compiled, driver)
    given = driver.keep(x)
    for k in range(5):
        for a, b in zip(run(given), compiled(x), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
        if k == PATIENCE - 1:
            before = len(calls)
            assert before
    assert len(calls) == before
    assert run.recordings
    driver.stream.ptr, driver.stream.is_capturing = 8, lambda: True
    run(given)
    assert len(calls) == before


@pytest.mark.parametrize("most", [1 << 17, 10])
def test_what_a_kernel_writes_a_part_of_is_filled_in_time(
    most: int, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of it is copied from what an earlier kernel writes."""
    monkeypatch.setattr(merging, "MOST_WORK", most)

    def f(x: Any, u: Any) -> Any:
        y = np.exp(x)
        total = np.sum(y, axis=0)
        z = y.copy()
        z[1:3] = np.sin(u) * 2
        return z, total, y

    rng = np.random.default_rng(0)
    given = rng.normal(size=(300, 50)), rng.normal(size=(2, 50))
    compiled = graphc.compile(f, *given)
    run = replayed(compiled, driver)
    arguments = [driver.keep(x) for x in given]
    for _ in range(5):
        for a, b in zip(run(*arguments), compiled(*given), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    (recording,) = run.recordings.values()
    assert (recording.whole is None) == (most < 100)


def test_a_call_that_the_caller_records_has_memory_of_its_own(driver: Driver) -> None:
    """The caller runs what it has recorded again, whatever came in between: no array may serve another call."""
    x = np.arange(12.0).reshape(3, 4)
    compiled = graphc.compile(lambda x: (np.exp(x), np.sum(np.exp(x).T, axis=1)), x / 30)
    run = replayed(compiled, driver)
    bound = run.bind(lambda *_: "otherwise", False, False)
    given = driver.keep(x / 30)
    driver.stream.ptr = 8
    for _ in range(4):
        run(given)
    (recording,) = run.recordings.values()
    ours = [found.memory.ptr for found in recording.given]
    assert ours
    assert bound(given) != "otherwise"
    driver.stream.is_capturing = lambda: True
    assert bound(given) == "otherwise"
    results = run(given)
    for a, b in zip(results, compiled(x / 30), strict=True):
        np.testing.assert_allclose(a, b)
        assert not any(found.memory.ptr <= a.ctypes.data < found.memory.ptr + 1024 for found in recording.given)


def test_many_kinds_of_calls_do_not_push_each_other_out(driver: Driver) -> None:
    run = replayed(graphc.compile(lambda x: (np.exp(x), np.sum(np.exp(x).T, axis=1)), "f64[n,m]"), driver)
    given = [driver.keep(np.ones((2, 1 + k))) for k in range(MOST_RECORDINGS + 2)]
    for _ in range(3):
        for x in given:
            run(x)
    assert len(run.recordings) == MOST_RECORDINGS
    assert len(run.plain) == 2
    recordings = list(run.recordings.values())
    for _ in range(4):
        for x in given:
            run(x)
    assert list(run.recordings.values()) == recordings
    assert not run.failures


def test_default_streams_of_threads_are_told_apart(driver: Driver) -> None:
    """They have one number, and run at the same time: none may write to what another's recording reads."""
    run = replayed(graphc.compile(lambda x: (np.exp(x), np.sum(np.exp(x).T, axis=1)), "f64[2,3]"), driver)
    given = driver.keep(np.ones((2, 3)))

    def work() -> None:
        for _ in range(4):
            run(given)

    for stream, count in ((0, 1), (2, 3)):
        driver.stream.ptr = stream
        work()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert len(run.recordings) == count


def test_arrays_on_other_devices_are_refused(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "cupy", lambda: driver.cupy)
    driver.cupy.cuda.runtime.getDeviceCount = lambda: 2
    compiled = graphc.compile(lambda x: (np.exp(x), np.sum(np.exp(x).T, axis=1)), "f64[2,3]")
    run = replayed(compiled, driver)
    here = driver.keep(np.ones((2, 3)))
    run(here)
    monkeypatch.setattr(Ndarray, "device_id", 1)
    bound = run.bind(lambda *_: "otherwise", False, False)
    assert bound(here) == "otherwise"
    with pytest.raises(UnsupportedError, match="argument 0: it lies on another GPU"):
        run(here)
    _, source = executor.written(plan_of(compiled), several=True)
    assert "x.data.device_id != cp.cuda.runtime.getDevice()" in source


def test_numpy_arrays_are_left_to_others(driver: Driver) -> None:
    inputs = np.ones((3, 4)), np.ones((4, 2))
    compiled = graphc.compile(lambda a, b: np.exp(a @ b) + 1, *inputs)
    run = replayed(compiled, driver)
    bound = run.bind(lambda *given: ("otherwise", given), True, False)
    assert bound(*inputs)[0] == "otherwise"
    given = [driver.keep(a) for a in inputs]
    assert bound(*given)[0] == "otherwise"  # not recorded yet
    for _ in range(4):
        run(*given)
    np.testing.assert_allclose(bound(*given), np.exp(inputs[0] @ inputs[1]) + 1)
    assert bound(given[0])[0] == "otherwise"
