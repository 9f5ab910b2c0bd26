"""The native call, one built-in function for a whole plan: what it computes, takes, and leaves alone."""

from __future__ import annotations

import gc
import inspect
import itertools
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import optree
import pytest

import graphc
from graphc.backends.numpy.llvm import entry, native
from graphc.backends.numpy.llvm.arena import arrange
from graphc.backends.numpy.llvm.layouts import Layout, row_major
from graphc.backends.numpy.llvm.lease import KEPT, ON_STACK
from graphc.backends.numpy.llvm.steps import lower
from graphc.errors import DTypeError, GuardError, ShapeError, StructureError

pytestmark = pytest.mark.skipif(not entry.SUPPORTED, reason="arrays of this interpreter are not laid out as known")

F64 = np.dtype(np.float64)


def compiled(f: Callable[..., Any], *specs: Any) -> Any:
    """The function compiled, and surely run natively."""
    found = graphc.compile(f, *specs, kernels="llvm")
    assert native.why_not(found.plan.graph) is None
    assert type(found._run).__name__ == "builtin_function_or_method"
    return found


def values(*shapes: tuple[int, ...], dtype: Any = np.float64, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def leaves(tree: Any) -> list[Any]:
    return list(tree) if isinstance(tree, (tuple, list)) else [tree]


def agree(actual: Any, expected: Any, tolerance: float = 1e-12) -> None:
    for a, b in zip(leaves(actual), leaves(expected), strict=True):
        assert type(a) is type(b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# --- steps -----------------------------------------------------------------------------------------------------

STEPS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "concatenate": (lambda a, b: np.concatenate([a, np.exp(b), a[::-1]]), ((3, 4), (2, 4))),
    "concatenate columns": (lambda a, b: np.concatenate([a, b * 2, a], axis=1), ((3, 4), (3, 1))),
    "stack of numbers": (lambda a: np.stack([a[0] * 2, a[1], np.sum(a)]), ((5,),)),
    "transposed and joined": (lambda a, b: np.concatenate([a.T, b]), ((3, 4), (2, 3))),
    "pad": (lambda a: np.pad(np.sin(a) @ a.T, 2), ((3, 4),)),
    "view of a view": (lambda a: np.swapaxes(a, 0, 2)[::-1, 1:].reshape(-1), ((3, 4, 5),)),
    "split and joined axes": (lambda a: a.reshape(2, -1, 4).transpose(1, 0, 2).reshape(-1, 8) + 1, ((6, 4),)),
    "broadcast": (lambda a: np.broadcast_to(a, (4, *a.shape)), ((3, 1),)),
    "no axes": (lambda a: (np.sum(a), a[0, 1], np.max(a) > 0), ((3, 4),)),
    "sizes": (lambda a: (a.shape[0] * np.sum(a), np.arange(a.shape[1]) * 2.0), ((3, 4),)),
    "sum over one": (lambda a: (np.sum(a[:1], axis=0), np.max(a[:, :1], axis=1, keepdims=True)), ((3, 4),)),
    "products": (lambda a, b: (a @ b, a.T @ a, b @ a, b.T @ a.T), ((5, 7), (7, 5))),
    "outer product": (lambda a, b: a[:, None] @ b[None, :], ((5,), (7,))),
    "vector products": (lambda a, b: (a @ b, b @ a.T, b @ b), ((5, 7), (7,))),
    "sliced product": (lambda a, b: a[::2, 1:] @ b[1:, ::-1], ((6, 7), (7, 5))),
    "stacked products": (lambda a, b: (a @ b, a.swapaxes(1, 2) @ a, b.T @ a.swapaxes(1, 2)), ((3, 5, 7), (7, 4))),
    "stacks that broadcast": (lambda a, b: a[:, None] @ b[None], ((3, 2, 5), (4, 5, 2))),
    "gather": (lambda a: (a[np.array([2, -1, 0, 2])], a[:, np.array([[1, 0], [-1, 2]])]), ((3, 4),)),
    "gather pairs": (lambda a: a[np.array([2, 1, -3]), np.array([0, -1, 1])], ((3, 4, 2),)),
    "update": (lambda a: a.at[np.array([0, 2, 2])].add(a[:3] * 2), ((4, 3),)),
    "gradient of gather": (graphc.grad(lambda a: np.sum(np.sin(a[np.array([0, 0, 3, -1])]) ** 2)), ((5, 3),)),
    "running": (lambda a: (np.cumsum(a, 0), np.cumprod(a[:, ::-1], 1), np.cumsum(np.cos(a))), ((3, 4),)),
    "running alone": (lambda a: np.cumsum(a, 1), ((3, 4),)),
    "running backwards": (graphc.grad(lambda a: np.sum(np.cumsum(np.sin(a), 1) ** 2)), ((3, 4),)),
    "running extremes": (lambda a: (np.maximum.accumulate(a), np.minimum.accumulate(np.exp(a), axis=1)), ((3, 4),)),
    "gradient of slices": (graphc.grad(lambda a: np.sum(a[1:] * a[:-1]) + np.sum(a[::2] ** 3)), ((7,),)),
}  # fmt: skip


def numpy_meaning(f: Callable[..., Any], *specs: Any) -> Any:
    return graphc.compile(f, *specs, kernels="none")


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", STEPS)
def test_steps_mean_what_numpy_means(name: str, dtype: Any, large: bool) -> None:
    f, shapes = STEPS[name]
    if large:
        shapes = tuple(tuple(d if d == 1 else 13 * d for d in shape) for shape in shapes)
    arrays = values(*shapes, dtype=dtype)
    before = [a.copy() for a in arrays]
    agree(compiled(f, *arrays)(*arrays), numpy_meaning(f, *arrays)(*arrays), 1e-11 if dtype == np.float64 else 2e-3)
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.bool_])
def test_integers_and_booleans(dtype: Any) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 2 if dtype == np.bool_ else 100, (5, 6)).astype(dtype)

    def f(x: Any) -> Any:
        product = (x @ x.T, x[:1] @ x.T) if dtype != np.bool_ else ()
        return (np.concatenate([x, x[::-1]]), x[np.array([1, -1])], x.T, x[2, 3], np.any(x > 3), *product)

    for a, b in zip(compiled(f, x)(x), f(x), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0, 3), (4, 3, 0), (0, 0, 0), (1, 1, 1), (2, 300, 1), (1, 300, 40)])
def test_products_of_any_size(shape: tuple[int, int, int]) -> None:
    """Fixed and named sizes, empty ones too; uninitialised memory would show as something else than zeros."""
    n, k, m = shape
    a, b = values((n, k), (k, m))
    np.testing.assert_allclose(compiled(lambda a, b: a @ b, a, b)(a, b), a @ b, rtol=1e-12, atol=1e-12)
    named = compiled(lambda a, b: (a @ b, b.T @ a.T), "f64[n,k]", "f64[k,m]")
    for _ in range(2):
        agree(named(a, b), (a @ b, np.ascontiguousarray((a @ b).T)))


def test_products_of_reversed_stacks_of_named_sizes() -> None:
    def f(x: Any, y: Any) -> Any:
        stack = np.tanh(x)[:, ::-1]
        return np.swapaxes(stack, -1, -2) @ stack, np.tanh(y)[::-1, ::-1] @ np.tanh(x)

    g = compiled(f, "f64[b,n,m]", "f64[m,n]")
    for shape in itertools.product((0, 1, 3), (1, 2, 40), (0, 1, 35)):
        x, y = values(shape, (shape[2], shape[1]))
        agree(g(x, y), f(x, y), 1e-11)


def test_named_sizes() -> None:
    f = compiled(
        lambda x, y: (np.concatenate([x, y]) * x.shape[0], x[1:] - x[:-1], np.outer(np.sum(x, 1), np.sum(y, 1))),
        "f64[n,m]",
        "f64[k,m]",
    )
    for n, k, m in [(1, 1, 1), (7, 3, 5), (2, 9, 0), (300, 200, 4)]:
        x, y = values((n, m), (k, m))
        expected = (np.concatenate([x, y]) * n, x[1:] - x[:-1], np.outer(np.sum(x, 1), np.sum(y, 1)))
        agree(f(x, y), expected, 1e-11)


def test_sizes_that_do_not_fit_are_python_s_to_refuse() -> None:
    f = compiled(lambda x, y: x @ y, "f64[n,3]", "f64[3,n]")
    with pytest.raises(ShapeError, match="argument y: wrong size along axis 1"):
        f(np.ones((4, 3)), np.ones((3, 5)))
    with pytest.raises(ShapeError, match="argument x: wrong size along axis 1"):
        f(np.ones((4, 2)), np.ones((3, 4)))
    with pytest.raises(DTypeError, match="no safe cast"):
        f(np.ones((4, 3), complex), np.ones((3, 4)))
    guarded = compiled(lambda x, y: x + y, "f64[n]", "f64[m]")
    assert guarded.graph.guards
    with pytest.raises(GuardError):
        guarded(np.ones(5), np.ones(6))
    np.testing.assert_array_equal(guarded(np.ones(5), np.ones(5)), np.full(5, 2.0))


def test_a_huge_result_is_refused_and_not_computed_from_sizes_that_wrapped() -> None:
    f = compiled(
        lambda x, y: np.broadcast_to(np.sum(x) + np.sum(y), (x.shape[0], y.shape[0], x.shape[0], 8)) * 1,
        "f64[n,0]",
        "f64[m,0]",
    )
    assert f(np.ones((2, 0)), np.ones((3, 0))).shape == (2, 3, 2, 8)
    with pytest.raises((MemoryError, ValueError)):
        f(np.ones((1 << 31, 0)), np.ones((1 << 31, 0)))


# --- arguments -------------------------------------------------------------------------------------------------


def test_numbers_as_arguments() -> None:
    f = compiled(lambda a, x: a * x, "f64[]", "f64[3]")
    x = np.arange(3.0)
    for a in (2, 2.0, np.float64(2), np.float32(2), np.array(2.0), np.int32(2), True):
        np.testing.assert_array_equal(f(a, x), float(a) * x)
    g = compiled(lambda a, n: (a + 1, n + 1), 2.0, 3)
    for n in (0, -5, 2**62, np.int64(7), np.array(7)):
        assert g(1.5, n) == (2.5, int(n) + 1)
    with pytest.raises(DTypeError):
        g(1.5, 2**70)
    h = compiled(lambda a: a * np.float32(2), "f32[]")
    assert h(np.float32(1.25)) == np.float32(2.5)
    assert h(1.25) == np.float32(2.5)


def test_a_python_int_that_is_cast_must_fit() -> None:
    f = graphc.compile(lambda x, n: x + n, np.ones(2, np.uint8), 3, kernels="llvm")
    np.testing.assert_array_equal(f(np.ones(2, np.uint8), 5), [6, 6])
    with pytest.raises(OverflowError):
        f(np.ones(2, np.uint8), 300)


def test_any_other_array_is_converted() -> None:
    f = compiled(lambda x: (np.exp(x), x.T), "f64[n,3]")
    x = values((4, 3))[0]
    other = [np.asfortranarray(x), x[::-1][::-1], np.repeat(x, 2, axis=0)[::2], x.astype(">f8"), x.tolist()]
    other.append(np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float64).reshape(4, 3))
    read_only = x.copy()
    read_only.flags.writeable = False
    for given in [*other, read_only, x.view(type("Mine", (np.ndarray,), {}))]:
        agree(f(given), (np.exp(x), np.ascontiguousarray(x.T)))
    agree(f(x.astype(np.float32)), (np.exp(x.astype(np.float32).astype(float)), x.T.astype(np.float32).astype(float)))


def test_wrong_numbers_of_arguments() -> None:
    f = compiled(lambda x: x * 2, "f64[2]")
    for arguments in ((), (np.ones(2), np.ones(2))):
        with pytest.raises(graphc.errors.GraphcError, match="structure"):
            f(*arguments)


def test_a_call_inside_a_trace_is_a_part_of_it() -> None:
    f = compiled(lambda x: np.sin(x) * 2, "f64[n]")
    graph = graphc.trace(lambda y: f(y) + 1, "f64[4]")
    assert [data["op"] for data in graph._node.values()].count("sin") == 1
    np.testing.assert_allclose(graphc.grad(lambda y: np.sum(f(y)))(np.zeros(3)), 2 * np.ones(3))


# --- aliasing --------------------------------------------------------------------------------------------------

TABLE_OF_NUMBERS = np.arange(6.0).reshape(2, 3)
ALIASES: dict[str, Callable[..., Any]] = {
    "identity": lambda x: x,
    "transposed": lambda x: (x.T, x.T),
    "same result twice": lambda x: (y := np.exp(x), y, y[0]),
    "views of one result": lambda x: ((y := np.exp(x)).T, y.reshape(-1), y[1:], y),
    "constant": lambda x: (TABLE_OF_NUMBERS * 1, x + TABLE_OF_NUMBERS, np.zeros_like(x) + TABLE_OF_NUMBERS),
    "constant alone": lambda x: (np.zeros_like(x), np.ones_like(x)),
    "overwritten": lambda x: (y := np.exp(x) @ x.T, np.tanh(y) * 2),
}


@pytest.mark.parametrize("name", ALIASES)
def test_results_share_storage_with_nothing(name: str) -> None:
    x = values((2, 3))[0]
    f = compiled(ALIASES[name], x)
    before = x.copy()
    first = leaves(f(x))
    expected = [np.array(r) for r in first]
    arrays = [r for r in first if isinstance(r, np.ndarray)]
    for k, a in enumerate(arrays):
        assert a.flags.owndata
        assert a.flags.writeable
        assert not np.shares_memory(a, x)
        assert not any(np.shares_memory(a, b) for b in arrays[:k])
        a[...] = np.nan
    np.testing.assert_array_equal(x, before)
    for a, b in zip(leaves(f(x)), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_overlapping_arguments() -> None:
    f = compiled(lambda x, y: (x * 2 + y[::-1], x @ y), "f64[n]", "f64[n]")
    base = np.arange(10.0)
    for x, y in ((base, base), (base[:8], base[2:]), (base[2:], base[:8])):
        agree(f(x, y), (x * 2 + y[::-1], x @ y))
    np.testing.assert_array_equal(base, np.arange(10.0))


# --- positions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint16, np.uint64])
def test_positions_out_of_bounds_are_refused(dtype: Any) -> None:
    f = compiled(lambda x, i: (np.exp(x) @ x.T, x[i]), "f64[n,4]", graphc.Spec(("k",), dtype))
    x = values((200, 4))[0]
    i = np.array([0, 5, 99], dtype)
    agree(f(x, i), (np.exp(x) @ x.T, x[i]), 1e-11)
    for _ in range(50):
        with pytest.raises(IndexError, match="out of bounds"):
            f(x[:100], np.array([0, 100], dtype))
    agree(f(x, i), (np.exp(x) @ x.T, x[i]), 1e-11)


def test_updates_out_of_bounds_leave_everything_untouched() -> None:
    f = compiled(graphc.grad(lambda x, i, u: np.sum(x[i] * u)), "f64[n,2]", "i64[k]", "f64[k,1]")
    x, u = np.arange(10.0).reshape(5, 2), np.array([[1.0], [2.0], [3.0]])
    np.testing.assert_array_equal(f(x, np.array([0, -1, 0]), u), [[4, 4], [0, 0], [0, 0], [0, 0], [2, 2]])
    with pytest.raises(IndexError):
        f(x, np.array([0, 5, 0]), u)
    np.testing.assert_array_equal(x, np.arange(10.0).reshape(5, 2))


# --- memory ----------------------------------------------------------------------------------------------------


def several(x: Any) -> Any:
    e = np.exp(x)
    return e @ x.T, np.sum(e), e.T, x[0, 0], np.concatenate([x, e])


@pytest.mark.parametrize("shape", [(3, 4), (60, 50)], ids=["on the stack", "a block"])
def test_nothing_leaks(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_EFFORT", "full")  # better code, made meanwhile, would be counted
    f = compiled(several, values(shape)[0])
    x = values(shape)[0]
    wrong = np.ones((1, 1))

    def rounds(count: int) -> None:
        for k in range(count):
            f(x)
            if not k % 10:
                f(x.tolist())
                with pytest.raises(ShapeError):
                    f(wrong)

    rounds(100)
    gc.collect()
    watched = (x, wrong, f._run, x.dtype, np.ndarray, None, np.float64)
    references = [sys.getrefcount(o) for o in watched]
    tracemalloc.start()
    try:
        rounds(50)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        rounds(2000)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000
    for o, count in zip(watched, references, strict=True):
        assert abs(sys.getrefcount(o) - count) < 100, o


def test_a_function_that_is_gone_takes_its_arena_along() -> None:
    x = values((120, 120))[0]
    f = compiled(lambda x: np.sum(np.exp(x) @ x), x)
    assert arrange(lower(f.plan)).nbytes > ON_STACK
    tracemalloc.start()
    try:
        f(x)
        held, _ = tracemalloc.get_traced_memory()
        assert held >= 2 * x.nbytes  # kept for the next call
        state = weakref.ref(f._run.__self__)
        del f
        gc.collect()
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left < x.nbytes  # some words of Python's own, and no arena
    assert state() is None


def test_a_large_arena_is_not_kept() -> None:
    n = 1600
    assert 8 * n * n < KEPT < 16 * n * n
    f = compiled(lambda x: np.sum((x @ x) @ x), "f64[n,n]")
    x = np.zeros((n, n))
    tracemalloc.start()
    try:
        f(x)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak >= 16 * n * n
    assert held < n * n  # some texts of the compiler, at most


def test_an_arena_grows_with_named_sizes() -> None:
    f = compiled(lambda x: np.sum((x @ x.T) @ x, axis=1), "f64[n,m]")
    for n in (3, 60, 2, 200, 5, 61, 1, 0):
        x = values((n, 7))[0]
        agree(f(x), np.sum((x @ x.T) @ x, axis=1), 1e-10)


def test_no_memory_is_an_error_and_no_crash() -> None:
    f = compiled(lambda x: (np.exp(x), np.sum((x[:, None] * x) @ np.exp(x[:, None] * x))), "f64[n]")
    x = np.ones(50)
    first = f(x)
    for _ in range(20):
        with pytest.raises(MemoryError):
            f(np.ones(1 << 22))  # 2**47 bytes for an outer product
    agree(f(x), first)


CROWDED: dict[str, Callable[..., Any]] = {
    "several": several,
    "gradient": graphc.grad(lambda a: np.sum(np.tanh((a @ a.T)[np.array([0, 2])] @ a) ** 2)),
    "many results": lambda a: [(np.tanh(a @ a.T * k) @ a, a[:, :k] @ a[:k]) for k in (3, 5, 8)],
}


@pytest.mark.parametrize("name", CROWDED)
def test_temporaries_that_live_at_once_do_not_overlap(name: str) -> None:
    f = compiled(CROWDED[name], values((30, 20))[0])
    program = lower(f.plan)
    arena = arrange(program)
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for n, instruction in enumerate(program.instructions):
        for place in (*instruction.reads, *instruction.writes):
            first.setdefault(place.storage, n)
            last[place.storage] = n
    for result in program.results:
        last[result.layout.storage] = len(program.instructions)

    def interval(number: int) -> tuple[Any, int, int]:
        size = int(program.storages[number].nbytes)
        if number in arena.offsets:
            start = int(arena.offsets[number])
            return "arena", start, start + size
        return arena.within.get(number, number), 0, size

    temporaries = [n for n in first if program.storages[n].origin == "temporary"]
    assert len(temporaries) > 2
    for k, a in enumerate(temporaries):
        for b in temporaries[:k]:
            if first[a] <= last[b] and first[b] <= last[a]:
                (where, start, stop), (other, begin, end) = interval(a), interval(b)
                assert where != other or stop <= begin or end <= start


# --- threads and processes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [20, 150], ids=["quick", "releases the lock"])
def test_threads_get_the_same_results(n: int) -> None:
    f = compiled(several, "f64[n,m]")
    inputs = [values((n, n), seed=k)[0] for k in range(4)]
    expected = [f(x) for x in inputs]
    wrong: list[Any] = []

    def work(number: int) -> None:
        for k in range(1000 if n < 100 else 40):
            x = (number + k) % 4
            for a, b in zip(f(inputs[x]), expected[x], strict=True):
                if not np.array_equal(a, b):
                    wrong.append((number, k))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_other_threads_run_meanwhile() -> None:
    f = compiled(lambda x: np.sum(np.sin(np.exp(np.cos(x)))), "f64[n]")
    x = np.linspace(0, 1, 4_000_000)
    f(x)
    ticks = 0
    stop = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not stop.is_set():
            ticks += 1
            stop.wait(0.0005)

    interval = sys.getswitchinterval()
    thread = threading.Thread(target=tick)
    try:
        sys.setswitchinterval(100.0)  # nobody is asked to let go of the lock
        thread.start()
        ticks = 0
        f(x)
        during = ticks
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        thread.join()
    assert during > 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_goes_on() -> None:
    f = compiled(several, "f64[n,m]")
    x = values((60, 50))[0]
    expected = f(x)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            same = all(np.array_equal(a, b) for _ in range(5) for a, b in zip(f(x), expected, strict=True))
            os.write(writer, b"y" if same else b"n")
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"y"
    os.close(reader)
    os.waitpid(child, 0)
    agree(f(x), expected)


def test_in_a_fresh_process() -> None:
    x = values((5, 4))[0]
    f = compiled(several, x)
    script = (
        "import pickle, sys; f, x = pickle.load(sys.stdin.buffer); "
        "sys.stdout.buffer.write(pickle.dumps((f(x), type(f._run).__name__)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps((f, x)), capture_output=True, check=True, cwd=os.getcwd()
    )
    result, kind = pickle.loads(done.stdout)
    assert kind == "builtin_function_or_method"
    agree(result, f(x))


def test_a_spawned_process() -> None:
    x = values((5, 4))[0]
    f = compiled(several, x)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        agree(pool.apply(f, (x,)), f(x))


def test_a_thread_may_have_a_small_stack() -> None:
    script = """
import threading, numpy as np, graphc
def chain(x):
    s = np.sum(x, axis=0)
    for k in range(100):
        s = s * 0.99 + k
    return s
f, x = graphc.compile(chain, "f64[n,m]", kernels="llvm"), np.ones((5, 3000))
threading.stack_size(1 << 18)
found = []
thread = threading.Thread(target=lambda: found.append(f(x)))
thread.start()
thread.join()
print(np.allclose(found[0], chain(x)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert done.stdout == "True\n"


def test_a_call_is_ended_by_ctrl_c() -> None:
    script = """
import os, signal, threading, numpy as np, graphc
f = graphc.compile(lambda x: np.sum(np.sin(np.exp(np.cos(x)))), "f64[n]", kernels="llvm")
x = np.linspace(0, 1, 3_000_000)
f(x)
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where tests run in the background
threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    for _ in range(1000):
        f(x)
except KeyboardInterrupt:
    print("interrupted", f(x[:3]).shape)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert done.stdout == "interrupted ()\n"


# --- the calls above -------------------------------------------------------------------------------------------


def test_jit_calls_machine_code_directly_and_still_tells_signatures_apart() -> None:
    f = graphc.jit(lambda x: x * 2, kernels="llvm")
    assert f(np.ones(3)).tolist() == [2.0] * 3
    assert f(np.ones(3)).dtype == np.float64
    assert f(np.ones(3, np.float32)).dtype == np.float32
    assert f(np.ones((2, 2))).shape == (2, 2)
    assert f(3) == 6
    assert type(f(3)) is type(graphc.jit(lambda x: x * 2, kernels="none")(3))
    for n in (3, 4, 5, 3):
        assert f(np.ones(n)).shape == (n,)
    f.clear_cache()
    assert f(np.ones(5)).shape == (5,)


def test_jit_tells_python_s_numbers_from_numpy_s() -> None:
    f = graphc.jit(lambda x, a: x * a, kernels="llvm")
    x = np.ones(2, np.float32)
    for _ in range(2):
        assert f(x, 2.0).dtype == np.float32
        assert f(x, np.float64(2)).dtype == np.float64
        assert f(x, 2).dtype == np.float32


def test_an_only_variant_tells_python_s_numbers_from_numpy_s() -> None:
    """It looks at the arguments itself, before any other is compiled."""
    numbers: tuple[Any, ...] = (2.0, np.float64(2), np.array(2.0), 2, np.int64(2), True, np.float32(2))
    x = np.ones(2, np.float32)
    plain = graphc.jit(lambda x, a: x * a, kernels="none")
    for first in numbers:
        for second in numbers:
            f = graphc.jit(lambda x, a: x * a, kernels="llvm")
            g = graphc.jit(lambda p: p["x"] * p["a"], kernels="llvm")
            for a in (first, first, second):
                assert f(x, a).dtype == g({"x": x, "a": a}).dtype == plain(x, a).dtype, (first, second)


class Pair(NamedTuple):
    first: Any
    second: Any


def test_arguments_and_results_of_any_structure() -> None:
    def f(p: Any, *rest: Any, scale: Any = 1.0) -> Any:
        h = np.tanh(p["w"] * scale)
        return {"z": h, "a": [h * 2, (rest[0][0],)], "n": None, "scalar": np.sum(h)}

    def same(a: Any, b: Any) -> None:
        flat_a, tree_a = optree.tree_flatten(a)
        flat_b, tree_b = optree.tree_flatten(b)
        assert tree_a == tree_b
        for x, y in zip(flat_a, flat_b, strict=True):
            assert type(x) is type(y)
            np.testing.assert_allclose(x, y, rtol=1e-12)

    w, y = values((3,), (2,))
    jitted, plain = graphc.jit(f, kernels="llvm"), graphc.jit(f, kernels="none")
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        (({"w": w, "extra": y}, [y]), {}),
        (({"extra": y, "w": w}, [y]), {}),  # in another order
        (({"w": w, "extra": y}, (y,)), {}),
        (({"w": w}, [y]), {}),
        (({"w": w, "extra": [y, y]}, [y]), {}),
        (({"w": w, "extra": None}, [y]), {}),
        (({"w": w, "other": y}, [y]), {}),
        ((OrderedDict(w=w, extra=y), [y]), {}),
        (({"w": w, "extra": Pair(y, y)}, [y]), {}),
        (({"w": w, "extra": y}, [y]), {"scale": 2.0}),
        (({"w": w.tolist()[0], "extra": y}, [y]), {"scale": np.float64(2)}),
        (({"w": w, "extra": y}, [y, y]), {}),
    ]
    for arguments, names in calls * 2:
        same(jitted(*arguments, **names), plain(*arguments, **names))
        same(graphc.jit(f, kernels="llvm")(*arguments, **names), plain(*arguments, **names))
        alone = graphc.compile(f, *arguments, kernels="llvm", **names)
        for _ in range(2):
            same(alone(*arguments, **names), plain(*arguments, **names))
    assert list(jitted(*calls[0][0])) == ["z", "a", "n", "scalar"]
    with pytest.raises(graphc.errors.StructureError):
        graphc.compile(f, *calls[0][0], kernels="llvm")(*calls[2][0])


def test_structures_deeper_than_python_reads() -> None:
    tree: Any = np.arange(3.0)
    for depth in range(300):
        tree = {"inside": tree} if depth % 2 else [tree, None]

    def double(tree: Any) -> Any:
        return optree.tree_map(lambda x: 2 * x, tree)

    f = graphc.jit(double)
    for _ in range(2):
        result = f(tree)
        assert optree.tree_structure(result) == optree.tree_structure(tree)
        np.testing.assert_array_equal(optree.tree_leaves(result)[0], [0.0, 2.0, 4.0])


def test_a_compiled_function_that_nobody_holds_is_gone() -> None:
    f = compiled(lambda x: x * 2, "f64[n]")
    f(np.ones(3))
    f([1.0])
    gone = weakref.ref(f)
    del f
    assert gone() is None


# --- layouts ---------------------------------------------------------------------------------------------------


def test_layouts_say_what_numpy_s_strides_say() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        shape = tuple(int(d) for d in rng.integers(1, 4, rng.integers(1, 4)))
        array, layout = np.arange(float(np.prod(shape))).reshape(shape), Layout.dense(0, F64, shape)
        start = array.__array_interface__["data"][0]
        for _ in range(3):
            which = rng.integers(3)
            if which == 0:
                perm = tuple(int(k) for k in rng.permutation(array.ndim))
                array, layout = array.transpose(perm), layout.transposed(perm)
            elif which == 1:
                index = [(int(rng.integers(d)), d, 1) if rng.random() < 0.5 else (d - 1, None, -1) for d in array.shape]
                array = array[tuple(slice(*one) for one in index)]
                layout = layout.sliced(index, array.shape)
            else:
                wanted = (array.size,) if rng.random() < 0.5 else (*array.shape[::-1],)
                moved = array.reshape(wanted)
                found = layout.reshaped(wanted)
                if found is None:
                    assert not np.shares_memory(moved, array) or array.size == 1 or array.shape == wanted
                    break
                assert np.shares_memory(moved, array)
                array, layout = moved, found
            assert layout.shape == array.shape
            assert layout.offset * 8 == array.__array_interface__["data"][0] - start
            for d, s, t in zip(array.shape, layout.strides, array.strides, strict=True):
                assert d == 1 or s * 8 == t
        assert layout.is_dense == array.flags.c_contiguous


def test_dense_strides() -> None:
    assert row_major((2, 3, 4)) == (12, 4, 1)
    assert row_major(()) == ()


def test_arrays_lie_and_come_as_they_may() -> None:
    """Strided, misaligned and unpickled arrays run natively too, so that products round alike."""
    f = graphc.compile(lambda v: np.matmul(v[::-1], v), "f64[2,3,3]")
    v = np.random.default_rng(4).normal(size=(2, 3, 3))
    misaligned = np.frombuffer(b"x" + v.tobytes(), np.float64, offset=1).reshape(v.shape)
    for other in (np.asfortranarray(v), v[::-1].copy()[::-1], misaligned, pickle.loads(pickle.dumps(v))):
        np.testing.assert_array_equal(f(other), f(v))


# --- calls -----------------------------------------------------------------------------------------------------


def test_a_call_is_one_of_machine_code() -> None:
    f = compiled(lambda x, y: x * y + 1, "f64[3]", "f64[3]")
    assert type(f.__call__).__name__ == "builtin_function_or_method"
    call, x = f.__call__, np.arange(3.0)
    del f
    gc.collect()
    np.testing.assert_array_equal(call(x, x), x * x + 1)
    np.testing.assert_array_equal(call([1, 2, 3], x), [1, 3, 7])  # as Python does it, which outlives the function too


def test_keywords_are_no_part_of_positional_arguments() -> None:
    f = compiled(lambda x, y: x * y + 1, "f64[3]", "f64[3]")
    x = np.arange(3.0)
    for args, keywords in (((x,), {"y": x}), ((), {"x": x, "y": x}), ((x, x), {"z": x})):
        with pytest.raises(StructureError, match="differ in structure"):
            f(*args, **keywords)
    none: dict[str, Any] = {}
    np.testing.assert_array_equal(f(x, x, **none), x * x + 1)


def test_a_compiled_function_has_a_signature() -> None:
    for f in (compiled(lambda x: x + 1, "f64[3]"), graphc.compile(lambda d: d["x"] + 1, {"x": "f64[3]"})):
        assert [str(p).split(":")[0] for p in inspect.signature(f).parameters.values()] == ["*args", "**kwargs"]
    assert "graph" in inspect.signature(type(f)).parameters
