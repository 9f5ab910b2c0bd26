"""Whose memory recorded launches read and write, with stand-ins for CuPy's pools that give freed memory out again."""

from __future__ import annotations

import ctypes
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from benchmarks.tree import leaves
from benchmarks.workloads.learning import Embedding, ExponentialNetwork
from graphc.backends.cupy import functions, launching, merging, products, scattering
from graphc.backends.cupy.recording import Recording
from tests.cuda_emulation import COMPILER, instead_of_cupy
from tests.test_cuda_programs import PROGRAMS
from tests.test_cuda_recording import Driver, Ndarray, Pointer, replayed
from tests.test_gpu import network_step

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler: install g++, or set CXX")
ROUNDED = 512  # bytes that sizes in CuPy's pool are multiples of
ROOM = 256  # so that pieces begin at a multiple of 256


class Piece:
    """Memory of a heap, as long as something refers to it."""

    def __init__(self, raw: Any) -> None:
        self.ctypes = raw.ctypes


class Heap:
    """A pool as CuPy's: freed memory serves again, as it was left; nothing goes back to the system."""

    def __init__(self) -> None:
        self.free: dict[int, list[Any]] = defaultdict(list)
        self.all: list[Any] = []
        self.sealed = False

    def malloc(self, size: int) -> Pointer:
        assert not self.sealed, "memory of a recording goes to what is not recorded"
        rounded = -(-max(size, 1) // ROUNDED) * ROUNDED
        if not self.free[rounded]:
            self.all.append(np.full(rounded + ROOM, 0xA5, np.uint8))
            self.free[rounded].append(self.all[-1])
        raw = self.free[rounded].pop()
        piece = Piece(raw)
        weakref.finalize(piece, self.free[rounded].append, raw)
        return Pointer(piece)

    def poison(self) -> None:
        """Write what nobody expects to all that is free."""
        for pieces in self.free.values():
            for raw in pieces:
                raw[...] = 0xA5

    def has(self, address: int, freed: bool) -> bool:
        """Whether it gave out a piece with this address; `freed`: or had it back since."""
        free = {id(raw) for pieces in self.free.values() for raw in pieces}
        return any(0 <= address - raw.ctypes.data < raw.size for raw in self.all if freed or id(raw) not in free)


def bare(x: Any) -> Any:
    """The same numbers, by their address alone: it keeps no memory alive."""
    extent = sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True)) + x.itemsize if x.size else 1
    raw = (ctypes.c_char * extent).from_address(x.ctypes.data)
    return np.ndarray(x.shape, x.dtype, raw, strides=x.strides)


class Pooled(Driver):
    """A driver whose memory is given out again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.heap = Heap()
        self.pools: list[Heap] = []
        self.allocator = self.heap.malloc
        self.texts: list[tuple[str, Any]] = []  # of what was recorded
        self.cupy.cuda.MemoryPool = self.pool
        self.cupy.ascontiguousarray = lambda x: self.made_by(lambda a: a, x)
        self.cupy.concatenate = lambda arrays, axis: self.made_by(lambda *a: np.concatenate(a, axis), *arrays)
        self.cupy.zeros = lambda shape, dtype: self.made_by(lambda: np.zeros(shape, dtype))
        self.cupy.array = lambda x: self.made_by(lambda a: a, x)

    def pool(self) -> Heap:
        self.pools.append(Heap())
        return self.pools[-1]

    def made_by(self, f: Callable[..., Any], *operands: Any) -> Ndarray:
        """What a function of CuPy's gives, in the order of launches."""
        like = f(*operands)
        result = Ndarray(like.shape, like.dtype, self.allocator(like.nbytes))
        seen, written = [bare(x) for x in operands], bare(result)

        def do(*_: Any) -> None:
            written[...] = f(*seen)

        self.do(do)
        return result

    def do(self, step: Callable[..., None]) -> None:
        if self.captured is None:
            step()
        else:
            self.captured.append((step, ()))

    def keep(self, array: Any) -> Any:
        if not hasattr(self, "heap"):
            return super().keep(array)
        assert self.captured is None, "a copy from the host cannot be recorded"
        array = np.asarray(array)
        made = Ndarray(array.shape, array.dtype, self.allocator(array.nbytes))
        made[...] = array
        return made

    def room(self, size: int) -> Any:
        return Ndarray((size,), np.uint8, self.allocator(size))

    def on_device(self, number: Any) -> Any:
        return functions.on_device(number)

    def function(self, text: str) -> Callable[..., None]:
        run = super().function(text)

        def noted(*call: Any) -> None:
            if self.captured is not None:
                self.texts.append((text, call[2]))
            run(*call)

        return noted

    def __enter__(self) -> Driver:
        self.pools[-1].sealed = False
        return self

    def __exit__(self, *_: object) -> None:
        self.pools[-1].sealed = True

    def product(self, a: Any, b: Any) -> Any:
        """A product by cuBLAS, which writes to a workspace."""
        launching.flush()
        result = self.cupy.empty(np.matmul(bare(a), bare(b)).shape, a.dtype)
        workspace = self.room(1 << 16)
        x, y, z, w = map(bare, (a, b, result, workspace))

        def multiply(*_: Any) -> None:
            w[...] = 0x5A
            z[...] = x @ y

        self.do(multiply)
        return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memory")


@pytest.fixture
def driver(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pooled]:
    found = Pooled(folder)
    instead_of_cupy(found, monkeypatch)
    monkeypatch.setattr(scattering, "function", found.function)
    functions._scalar.cache_clear()
    yield found
    functions._scalar.cache_clear()


def network() -> tuple[Any, ...]:
    """The program of `test_products_are_recorded`, whose table of results lay in memory that its launches write to."""
    rng = np.random.default_rng(3)
    given = [rng.normal(size=s).astype(np.float32) for s in ((100, 30), (100, 10), (64, 30))]
    return network_step, (*given, rng.integers(0, 10, 64))


def looked_up(words: int, batch: int) -> tuple[Any, ...]:
    workload = Embedding(words, batch)
    return workload.graphc(), workload.inputs()


def drawn(shape: Any) -> Any:
    return shape if isinstance(shape, np.ndarray) else np.random.default_rng(4).normal(size=shape)


def written_at_positions(x: Any, i: Any) -> Any:
    """Many positions, of which a block owns some; and sizes that are numbers on the GPU."""
    y = np.take(np.exp(x), i, axis=0)
    g = graphc.grad(lambda x: np.sum(np.take(x, i, axis=0) ** 3))(x)
    return np.mean(y), g / x.shape[0], x.shape[0] * 2.5


FAMILIES: dict[str, tuple[Any, ...]] = {
    "positions and products": network(),
    "a step in one kernel": (ExponentialNetwork().graphc(), leaves(ExponentialNetwork().inputs())),
    "look-ups": looked_up(50, 300),
    "many look-ups": looked_up(40, 2500),
    "sizes as numbers": (written_at_positions, (drawn((7, 5)), np.array([1, 6, 1, -1, 0, 2, 2]))),
    **{name: (f, tuple(map(drawn, shapes))) for name, (f, shapes) in PROGRAMS.items() if "h5" not in name},
}

# what is recorded as a graph, whoever multiplies
GRAPHS = {"positions and products", "many look-ups"}


@pytest.mark.parametrize("multiplier", ["small ones by us", "all by cuBLAS"])
@pytest.mark.parametrize("name", FAMILIES)
def test_recorded_launches_touch_what_the_recording_owns(
    name: str, multiplier: str, driver: Pooled, monkeypatch: pytest.MonkeyPatch
) -> None:
    if multiplier == "all by cuBLAS":
        monkeypatch.setattr(products, "_found", lambda *_: driver.product)
    f, given = FAMILIES[name]
    if name == "a step in one kernel":
        compiled = graphc.compile(f, *ExponentialNetwork().inputs())
        wanted = leaves(compiled(*ExponentialNetwork().inputs()))
    else:
        compiled = graphc.compile(f, *given)
        wanted = leaves(compiled(*given))
    run = replayed(compiled, driver)
    arguments = [driver.keep(x) for x in given]
    first = [np.array(r) for r in run(*arguments)]
    for a, b in zip(first, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5)
    for _ in range(5):
        results = [np.array(r) for r in run(*arguments)]
        for a, b in zip(results, first, strict=True):
            np.testing.assert_array_equal(a, b)
        # what is free may be written to by anybody, between a call and the next
        for heap in (driver.heap, *driver.pools):
            heap.poison()
        if run.recordings:
            functions._scalar.cache_clear()
    (recording,) = run.recordings.values()
    assert recording is not None, run.failures
    if name in GRAPHS:
        assert recording.whole is None
    if name == "a step in one kernel" and multiplier == "small ones by us":
        assert recording.whole is not None
    assert bool(recording.direct) == (recording.whole is None)  # the same arguments came again
    assert_owned(recording, driver)


def assert_owned(recording: Recording, driver: Pooled) -> None:
    """No launch has an address in memory that may become somebody else's."""
    (pool,) = driver.pools
    addresses = list(recording.whole.tail if recording.whole is not None else ())
    for text, arguments in driver.texts:
        kinds = merging.parameters(text)
        addresses += [a for a, (_, pointer) in zip(arguments, kinds, strict=True) if pointer]
    assert addresses
    for address in addresses:
        assert pool.has(address, freed=True) or driver.heap.has(address, freed=False)
    if recording.whole is None:
        # the recorded launches write to what is free in the pool: the tables lie elsewhere
        for copy in (recording.copy_in, recording.gather):
            table = getattr(copy, "table", None)
            assert table is None or not pool.has(table.data.ptr, freed=True)


def test_a_loop_that_trains_needs_no_copies(driver: Pooled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are the next arguments: soon the same arrays come in turn, and a graph reads and writes them."""
    monkeypatch.setattr(merging, "MOST_WORK", 1000)

    def f(w: Any, x: Any) -> Any:
        g = np.tanh(x @ w) * 0.1
        return w - x.T @ g, np.sum(g, axis=0), np.sum(g * g)

    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(6, 30)), rng.normal(size=(20, 6))
    compiled = graphc.compile(f, w, x)
    run = replayed(compiled, driver)
    given, slow = driver.keep(w), w
    fixed = driver.keep(x)
    launches = []
    for _ in range(14):
        before = driver.made
        results = run(given, fixed)
        launches.append(driver.made - before)
        wanted = compiled(slow, x)
        for a, b in zip(results, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9)
        given, slow = results[0], wanted[0]
    (recording,) = run.recordings.values()
    assert recording is not None, run.failures
    assert recording.whole is None
    assert len(recording.direct) == 2
    assert launches[-4:] == [1] * 4
    other = driver.keep(2 * w)
    for a, b in zip(run(other, fixed), compiled(2 * w, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_arguments_that_never_come_again_are_not_recorded(driver: Pooled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "MOST_WORK", 10)
    x = np.arange(12.0).reshape(3, 4)
    compiled = graphc.compile(lambda x: np.exp(x @ x.T) @ x, x)
    run = replayed(compiled, driver)
    kept = [driver.keep(x / (30 + k)) for k in range(12)]
    for given in kept:
        np.testing.assert_allclose(run(given)[0], compiled(np.array(given)))
    (recording,) = run.recordings.values()
    assert recording is not None, run.failures
    assert recording.whole is None
    assert not recording.direct
    assert recording.numbers is not None


def test_nothing_is_recorded_while_the_caller_records(driver: Pooled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "MOST_WORK", 10)
    x = np.arange(12.0).reshape(3, 4)
    compiled = graphc.compile(lambda x: np.exp(x @ x.T) @ x, x / 30)
    run = replayed(compiled, driver)
    given = driver.keep(x / 30)
    stream = driver.cupy.cuda.get_current_stream()
    stream.ptr = 8
    for k in range(8):
        stream.is_capturing = (lambda: True) if 3 <= k < 6 else (lambda: False)
        np.testing.assert_allclose(run(given)[0], compiled(x / 30))
        (recording,) = run.recordings.values() or [None]
        assert bool(recording and recording.direct) == (k >= 6)
