"""Products by cuBLAS, with a stand-in that reads memory as cuBLAS is documented to: column by column."""

from __future__ import annotations

import ctypes
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from graphc.backends.cupy import cublas, products, tiled_products
from graphc.backends.cupy.launching import Tape, taped
from graphc.backends.cupy.library import PER_THREAD
from graphc.backends.cupy.schedule import Device
from graphc.errors import GraphcError
from tests.cuda_emulation import COMPILER, ORDERS, Emulator, placed

Array = np.ndarray[Any, Any]


class Wrapped(np.ndarray):  # type: ignore[type-arg]
    """A NumPy array that says its address as CuPy's do."""

    @property
    def data(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(ptr=self.ctypes.data)


def wrapped(x: Any) -> Any:
    return np.asarray(x).view(Wrapped)


class Library:
    """cuBLAS, as far as it is called, by NumPy."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.reads: set[int] = set()
        self.handles = 0
        self.streams: list[tuple[int, int]] = []
        self.workspaces: list[tuple[int, int]] = []
        self.used: list[int] = []
        self.modes: list[int] = []
        self.stream = 0

    def cublasCreate_v2(self, made: Any) -> int:
        self.handles += 1
        made._obj.value = self.handles
        return 0

    def cublasSetStream_v2(self, handle: int, stream: int) -> int:
        self.streams.append((handle, stream))
        return 0

    def cublasSetWorkspace_v2(self, handle: int, place: int, size: int) -> int:
        self.workspaces.append((handle, size))
        return 0

    def cublasSetMathMode(self, handle: int, mode: int) -> int:
        self.modes.append(mode)
        return 0

    @staticmethod
    def matrices(place: int, dtype: Any, rows: int, columns: int, leading: int, step: int, count: int) -> Array:
        """Matrices that lie column by column in memory."""
        assert leading >= max(1, rows)
        item = np.dtype(dtype).itemsize
        size = step * (count - 1) + leading * (columns - 1) + rows
        memory = np.frombuffer((ctypes.c_char * (size * item)).from_address(place), dtype)
        return as_strided(memory, (count, rows, columns), (step * item, item, leading * item), writeable=True)

    def stacks(self, dtype: Any, handle: int, *given: Any) -> int:
        op_a, op_b, m, n, k, alpha, a, lda, step_a, b, ldb, step_b, beta, c, ldc, step_c, count = given
        assert (alpha._obj.value, beta._obj.value) == (1, 0)
        assert isinstance(alpha._obj, ctypes.c_float if dtype == np.float32 else ctypes.c_double)
        self.calls.append(count)
        self.used.append(handle)
        self.reads |= {a, b}
        x = self.matrices(a, dtype, *((k, m) if op_a else (m, k)), lda, step_a, count)
        y = self.matrices(b, dtype, *((n, k) if op_b else (k, n)), ldb, step_b, count)
        x, y = (x.swapaxes(1, 2) if op_a else x), (y.swapaxes(1, 2) if op_b else y)
        self.matrices(c, dtype, m, n, ldc, step_c, count)[...] = x @ y
        return 0

    def pair(self, dtype: Any, handle: int, *given: Any) -> int:
        op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc = given
        return self.stacks(dtype, handle, op_a, op_b, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1)

    def cublasSgemm_v2(self, *given: Any) -> int:
        return self.pair(np.float32, *given)

    def cublasDgemm_v2(self, *given: Any) -> int:
        return self.pair(np.float64, *given)

    def cublasSgemmStridedBatched(self, *given: Any) -> int:
        return self.stacks(np.float32, *given)

    def cublasDgemmStridedBatched(self, *given: Any) -> int:
        return self.stacks(np.float64, *given)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    found = Library()
    memory = SimpleNamespace(ptr=0)
    cuda = SimpleNamespace(
        runtime=SimpleNamespace(getDevice=lambda: 0),
        alloc=lambda size: memory,
        get_current_stream=lambda: SimpleNamespace(ptr=found.stream),
    )
    stand_in = SimpleNamespace(
        cuda=cuda,
        empty=lambda shape, dtype: wrapped(np.full(shape, np.nan, dtype)),
        zeros=lambda shape, dtype: wrapped(np.zeros(shape, dtype)),
        ascontiguousarray=lambda x: wrapped(np.array(x, order="C")),
        broadcast_to=np.broadcast_to,
        matmul=np.matmul,
    )
    for module in (products, cublas):
        monkeypatch.setattr(module, "cupy", lambda: stand_in)
    monkeypatch.setattr(products.small_products, "MOST", 0)
    monkeypatch.setattr(products, "device", lambda number: Device())
    monkeypatch.setattr(products, "_products", {})
    monkeypatch.setattr(cublas, "library", lambda: found)
    monkeypatch.setattr(cublas, "_handles", cublas.Handles())
    return found


def drawn(*shape: int, dtype: Any = np.float64) -> Array:
    return np.random.default_rng(len(shape)).integers(-8, 9, shape).astype(dtype)


AS_IT_IS: dict[str, tuple[Array, Array]] = {
    "plain": (drawn(3, 4), drawn(4, 5)),
    "single": (drawn(3, 4, dtype=np.float32), drawn(4, 5, dtype=np.float32)),
    "left transposed": (drawn(4, 3).T, drawn(4, 5)),
    "right transposed": (drawn(3, 4), drawn(5, 4).T),
    "both": (drawn(4, 3).T, drawn(5, 4).T),
    "a column and a row": (drawn(3, 1), drawn(1, 5)),
    "a row and a column": (drawn(1, 4), drawn(4, 1)),
    "turned columns": (drawn(1, 3).T, drawn(5, 1).T),
    "numbers": (drawn(1, 1), drawn(1, 1)),
    "vectors": (drawn(4), drawn(4)),
    "vector, matrix": (drawn(4), drawn(4, 5)),
    "matrix, vector": (drawn(3, 4), drawn(4)),
    "stacks": (drawn(6, 3, 4), drawn(6, 4, 5)),
    "stacks, transposed": (drawn(6, 4, 3).swapaxes(1, 2), drawn(6, 5, 4).swapaxes(1, 2)),
    "stacks of stacks": (drawn(2, 6, 3, 4), drawn(2, 6, 4, 5)),
    "one on the left": (drawn(3, 4), drawn(6, 4, 5)),
    "one on the right": (drawn(6, 3, 4), drawn(4, 5)),
    "a stack of one": (drawn(1, 3, 4), drawn(6, 4, 5)),
    "part of the columns": (drawn(3, 9)[:, 2:6], drawn(4, 9)[:, 1:6]),
    "every other row": (drawn(6, 4)[::2], drawn(8, 5)[::2]),
    "every other matrix": (drawn(6, 3, 4)[::2], drawn(3, 4, 5)),
    "heads": (drawn(6, 3, 4).swapaxes(0, 1), drawn(4, 3, 5).swapaxes(0, 1)),
}
COPIED: dict[str, tuple[Array, Array]] = {
    "every other column": (drawn(3, 8)[:, ::2], drawn(4, 5)),
    "backwards": (drawn(3, 4)[::-1], drawn(4, 5)[:, ::-1]),
    "repeated": (np.broadcast_to(drawn(4), (3, 4)), drawn(4, 5)),
    "repeated in the middle": (drawn(2, 1, 3, 4), drawn(2, 6, 4, 5)),
    "repeated outside": (drawn(2, 6, 3, 4), drawn(6, 4, 5)),
    "stacks backwards": (drawn(6, 3, 4)[::-1], drawn(6, 4, 5)),
    "stacks turned": (drawn(6, 2, 3, 4).swapaxes(0, 1), drawn(2, 6, 4, 5)),
}


@pytest.mark.parametrize("name", [*AS_IT_IS, *COPIED])
def test_products(name: str, library: Library) -> None:
    a, b = map(wrapped, (AS_IT_IS | COPIED)[name])
    result = products.matmul(a, b)
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, np.matmul(np.asarray(a), np.asarray(b)), strict=False)
    assert np.shape(result) == np.shape(np.matmul(np.asarray(a), np.asarray(b)))
    assert len(library.calls) == 1
    if name in AS_IT_IS:
        assert library.reads == {a.ctypes.data, b.ctypes.data}


def test_one_matrix_on_the_right_makes_one_product(library: Library) -> None:
    products.matmul(wrapped(drawn(6, 3, 4)), wrapped(drawn(4, 5)))
    assert library.calls == [1]


@pytest.mark.parametrize(
    "shapes", [((0, 4), (4, 5)), ((3, 0), (0, 5)), ((3, 4), (4, 0)), ((0, 3, 4), (4, 5)), ((0,), (0,))]
)
def test_empty_products(shapes: Any, library: Library) -> None:
    a, b = (wrapped(drawn(*s)) for s in shapes)
    np.testing.assert_array_equal(products.matmul(a, b), np.matmul(np.asarray(a), np.asarray(b)))
    assert not library.calls


def test_integers_are_left_to_cupy(library: Library) -> None:
    a, b = wrapped(drawn(3, 4, dtype=np.int32)), wrapped(drawn(4, 5, dtype=np.int32))
    np.testing.assert_array_equal(products.matmul(a, b), a @ b)
    assert not library.calls


def test_a_failure_of_the_library_is_an_error(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "cublasDgemm_v2", lambda *_: 13)
    with pytest.raises(GraphcError, match="cuBLAS failed at a product"):
        products.matmul(wrapped(drawn(3, 4)), wrapped(drawn(4, 5)))


def test_a_stream_keeps_its_handle_and_workspace(library: Library) -> None:
    a, b = wrapped(drawn(3, 4)), wrapped(drawn(4, 5))
    for _ in range(5):
        products.matmul(a, b)
    library.stream = 8
    for _ in range(2):
        products.matmul(a, b)
    library.stream = 0
    products.matmul(a, b)
    assert library.streams == [(1, 0), (2, 8)]
    assert library.workspaces == [(1, cublas.WORKSPACE), (2, cublas.WORKSPACE)]
    assert library.used == [1] * 5 + [2] * 2 + [1]


def test_a_recording_has_workspaces_of_its_own(library: Library) -> None:
    a, b = wrapped(drawn(3, 4)), wrapped(drawn(4, 5))
    products.matmul(a, b)
    with taped(Tape(lambda calls: None)):
        products.matmul(a, b)
        products.matmul(a, b)
    products.matmul(a, b)
    assert library.used == [1, 2, 2, 1]
    assert len(library.workspaces) == 3


def test_default_streams_of_threads_have_workspaces_of_their_own(library: Library) -> None:
    a, b = wrapped(drawn(3, 4)), wrapped(drawn(4, 5))
    library.stream = PER_THREAD
    products.matmul(a, b)
    thread = threading.Thread(target=products.matmul, args=(a, b))
    thread.start()
    thread.join()
    products.matmul(a, b)
    assert library.used == [1, 2, 1]


def test_few_streams_keep_workspaces(library: Library) -> None:
    a, b = wrapped(drawn(3, 4)), wrapped(drawn(4, 5))
    for stream in range(cublas.MOST_STREAMS + 4):
        library.stream = stream
        products.matmul(a, b)
    assert library.handles == cublas.MOST_STREAMS  # those of the first streams serve again
    assert len(cublas._handles.bound) == cublas.MOST_STREAMS


# Our own products of tiles, on the processor

LAYOUTS = ("plain", "transposed", "part", "stack", "one of a stack")


def operand(layout: str, rows: int, columns: int, offset: int) -> Array:
    """A matrix, or a stack of two, of small numbers."""
    rng = np.random.default_rng(rows)

    def draw(*shape: int) -> Array:
        return placed(rng.integers(-4, 5, shape).astype(np.float32), offset)

    match layout:
        case "plain":
            return draw(rows, columns)
        case "transposed":
            return draw(columns, rows).T
        case "part":
            return draw(rows, columns + 3)[:, 1 : columns + 1]
        case "stack":
            return draw(2, rows, columns)
    return draw(1, rows, columns)


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler: install g++, or set CXX")
@pytest.mark.parametrize("sizes", [(100, 128, 68), (33, 131, 70), (34, 1300, 33), (65, 144, 129)])
def test_products_of_tiles(sizes: tuple[int, int, int], library: Library, tmp_path: Any, monkeypatch: Any) -> None:
    rows, inner, columns = sizes
    launches: list[Any] = []
    monkeypatch.setattr(products, "launch", lambda *launch: launches.append(launch))
    stand_in = products.cupy()
    stand_in.empty = lambda shape, dtype: wrapped(placed(np.full(shape, np.nan, dtype), 0))
    rooms: list[Array] = []

    def room(size: int) -> Any:
        rooms.append(placed(np.full(size, 0xFF, np.uint8), 0))
        return SimpleNamespace(ptr=rooms[-1].ctypes.data)

    stand_in.cuda.alloc = room
    cases = []
    for k, left in enumerate(LAYOUTS):
        for right in (LAYOUTS[k], LAYOUTS[(k + 1) % len(LAYOUTS)]):
            for offset in (0, 4):
                a, b = operand(left, rows, inner, offset), operand(right, inner, columns, offset)
                result = products.matmul(wrapped(a), wrapped(b))
                assert len(launches) == 2
                cases.append((a, b, result, [*launches]))
                launches.clear()
    assert not library.calls
    emulator = Emulator([launch[0] for *_, made in cases for launch in made], tmp_path)
    for order in ORDERS:
        for a, b, result, made in cases:
            result[...] = np.nan
            for text, grid, block, arguments, _ in made:
                pointers = 3 if len(arguments) > 4 else 2
                shape = (ctypes.c_longlong * 4)(*grid, *block)
                numbers = (ctypes.c_longlong * 16)(*arguments[pointers:])
                run = getattr(emulator.library, f"launch_{emulator.number[text]}")
                assert run(shape, order, (ctypes.c_void_p * 3)(*arguments[:pointers]), numbers) == 0
            np.testing.assert_array_equal(result, a @ b)  # whole numbers: no step is rounded


def test_which_products_are_taken_in_tiles() -> None:
    chunk_of = tiled_products.chunk_of
    assert chunk_of(132, 1, 100, 784, 1000) == 112
    assert chunk_of(132, 1, 100, 1000, 1000) == 128
    assert tiled_products.sharers(100_000, 8) == tiled_products.sharers(1000, 4) == 1
    assert tiled_products.sharers(4096, 264) == 8
    assert chunk_of(132, 2, 100, 1000, 1000) == 256
    assert chunk_of(132, 1, 2000, 1000, 2000) is None  # tiles enough
    assert chunk_of(132, 1, 16, 1000, 1000) is None  # tiles would be empty for the most part
    assert chunk_of(132, 1, 100, 100, 100) is None  # too short to share
    for inner in (128, 129, 1000, 1023, 100_000):
        chunk = chunk_of(132, 1, 64, inner, 64)
        assert chunk is not None
        assert chunk % tiled_products.DEPTH == 0
        grid = tiled_products.grid_of(1, 64, inner, 64, chunk)
        assert (grid[1] - 1) * chunk < inner <= grid[1] * chunk


def test_tf32_is_left_to_cublas(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPY_TF32", "1")
    a, b = drawn(64, 1000, dtype=np.float32), drawn(1000, 64, dtype=np.float32)
    np.testing.assert_array_equal(products.matmul(wrapped(a), wrapped(b)), a @ b)
    assert library.calls == [1]
    assert library.modes == [cublas.TF32]


def test_single_precision_is_single_precision(library: Library) -> None:
    products.matmul(wrapped(drawn(3, 4, dtype=np.float32)), wrapped(drawn(4, 3, dtype=np.float32)))
    assert library.calls == [1]
    assert not library.modes
