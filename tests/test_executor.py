"""What the NumPy executor promises: no aliasing, no changed arguments, safe casts, planned memory, threads, pickles."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc
import graphc.numpy as gnp
from graphc import dims
from graphc.backends.numpy.llvm import reuse
from graphc.errors import DTypeError, GuardError, ShapeError, StructureError
from graphc.ops import TABLE
from graphc.ops.meaning import evaluate

Function = Callable[..., Any]
X = np.arange(12.0).reshape(3, 4)


class Subclass(np.ndarray):  # type: ignore[type-arg]
    def __mul__(self, other: Any) -> Any:
        raise AssertionError("a subclass's own arithmetic")


CONSTANT = np.arange(12.0).reshape(3, 4) * 2

# --- aliasing -----------------------------------------------------------------------------------------------

ALIASING: tuple[tuple[str, Function], ...] = (
    ("the argument", lambda x: x),
    ("the argument twice", lambda x: (x, x)),
    ("a transpose", lambda x: x.T),
    ("a transpose and the argument", lambda x: (x, x.T, x)),
    ("a slice", lambda x: x[1:]),
    ("reversed", lambda x: x[::-1, ::-1]),
    ("a row", lambda x: x[0]),
    ("reshaped", lambda x: x.reshape(-1)),
    ("a broadcast", lambda x: np.broadcast_to(x, (2, 3, 4))),
    ("a broadcast of a result", lambda x: np.broadcast_to(x * 2, (2, 3, 4))),
    ("a result and its views", lambda x: (lambda y: (y, y.T, y[1:], y.reshape(-1), y))(x * 2)),
    ("a result twice", lambda x: (lambda y: (y, y))(x + 1)),
    ("a slice of a result", lambda x: (x + 1)[1:, ::2]),
    ("a constant", lambda x: CONSTANT),
    ("a constant twice", lambda x: (gnp.asarray(CONSTANT), CONSTANT, CONSTANT.T)),
    ("a view of a constant", lambda x: (CONSTANT[1:], x[:, 0])),
    ("zeros", lambda x: (np.zeros_like(x), np.zeros_like(x))),
    ("a cast to the same dtype", lambda x: x.astype(np.float64)),
    ("a copy", lambda x: np.copy(x)),
    ("plus 0", lambda x: (x + 0, x * 1)),
    ("where of constants", lambda x: np.where(True, x, 0)),
    ("views of views", lambda x: (x.T[1:].T.reshape(-1), x.T[1:].T)),
    ("reshaped transposes", lambda x: ((x * 2).T.reshape(-1), (x * 2).T)),
)


def arrays(value: Any) -> list[Any]:
    return [v for v in (value if isinstance(value, (tuple, list)) else [value]) if isinstance(v, np.ndarray)]


@pytest.mark.parametrize("f", [row[1] for row in ALIASING], ids=[row[0] for row in ALIASING])
def test_results_share_storage_with_nothing(f: Function) -> None:
    compiled = graphc.compile(f, X)
    x = X.copy()
    first, second = compiled(x), compiled(x)
    results = [*arrays(first), *arrays(second)]
    for k, one in enumerate(results):
        assert one.flags.writeable
        assert not np.may_share_memory(one, x)
        assert not np.may_share_memory(one, CONSTANT)
        assert not any(np.shares_memory(one, other) for other in results[k + 1 :])
    expected = [np.array(v) for v in arrays(f(x))]
    for result, wanted in zip(results, expected * 2, strict=True):
        np.testing.assert_array_equal(result, wanted)
        result[...] = -1  # what the caller does with a result changes no later one
    for result, wanted in zip(arrays(compiled(x)), expected, strict=True):
        np.testing.assert_array_equal(result, wanted)
    np.testing.assert_array_equal(x, X)


def test_arguments_are_never_changed() -> None:
    def f(x: Any, y: Any) -> Any:
        z = (x + y) * 2 - x
        return np.exp(z) / (1 + z * z), x[::-1] + y, np.maximum(x, y)

    compiled = graphc.compile(f, "f64[4]", "f64[4]")
    store = np.arange(6.0)
    for x, y in ((store[:4], store[2:]), (store[1:5], store[1:5]), (store[4::-1][:4], store[:4])):
        before = store.copy()
        with np.errstate(all="ignore"):
            expected = f(x.copy(), y.copy())
        for actual, wanted in zip(compiled(x, y), expected, strict=True):
            np.testing.assert_allclose(actual, wanted, rtol=1e-14)
        np.testing.assert_array_equal(store, before)
    frozen = np.arange(4.0)
    frozen.flags.writeable = False
    assert all(r.flags.writeable for r in compiled(frozen, frozen))


def test_closed_over_arrays_are_copied() -> None:
    weights = np.ones(3)
    compiled = graphc.compile(lambda x: x * weights, "f64[3]")
    weights[:] = 5
    np.testing.assert_array_equal(compiled(np.ones(3)), np.ones(3))


def test_large_writable_closures_warn_of_staleness() -> None:
    big = np.zeros(1 << 14)
    with pytest.warns(UserWarning, match="later changes"):
        graphc.compile(lambda x: x + big, "f64[16384]")
    big.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graphc.compile(lambda x: x + big, "f64[16384]")


def test_arrays_that_a_function_makes_and_drops_cannot_change() -> None:
    def shifted(x: Any) -> Any:
        noise = 0.1 * np.eye(200)
        return x + noise + np.ones((200, 200))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graphc.compile(shifted, "f64[200,200]")
        graphc.compile(graphc.grad(lambda x: np.sum(shifted(x))), "f64[200,200]")
    kept: list[Any] = []

    def keeping(x: Any) -> Any:
        kept.append(np.eye(200))
        return x + kept[0]

    with pytest.warns(UserWarning, match="later changes") as caught:
        graphc.compile(keeping, "f64[200,200]")
    assert caught[0].filename == __file__
    assert caught[0].lineno == keeping.__code__.co_firstlineno + 2
    x = graphc.symbol("x", "f64[200,200]")
    with pytest.warns(UserWarning, match="later changes"):
        _ = x + kept[0]


@pytest.mark.parametrize(
    "view", [np.transpose, lambda a: a.reshape(100, 400).reshape(200, 200), lambda a: a[::-1], np.asarray]
)
def test_views_of_arrays_that_outlive_a_function_can_change(view: Any) -> None:
    """Of `x @ weights.T` the view is dropped, and its memory is not."""
    weights = np.ones((200, 200))
    with pytest.warns(UserWarning, match="later changes"):
        graphc.compile(lambda x: x + view(weights), "f64[200,200]")
    memory = bytearray(8 * 200 * 200)
    with pytest.warns(UserWarning, match="later changes"):
        graphc.compile(lambda x: x + np.frombuffer(memory).reshape(200, 200), "f64[200,200]")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graphc.compile(lambda x: x + view(np.ones((200, 200))), "f64[200,200]")


# --- arguments and results ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x,
        lambda x: x * 2,
        lambda x: x.reshape(()),
        lambda x: x > 1,
        lambda x: np.float32(3),
        lambda x: x.astype(int),
    ],
)
def test_scalar_results_are_numpy_scalars(f: Function) -> None:
    for argument in (2.0, np.float64(2), np.array(2.0), 2):
        result = graphc.compile(f, "f64[]")(argument)
        assert isinstance(result, np.generic), type(result)
        assert result == f(np.float64(2))
    assert isinstance(graphc.compile(lambda x: x.sum(), X)(X), np.float64)
    assert isinstance(graphc.compile(lambda x: x[0, 0], X)(X), np.float64)


@pytest.mark.parametrize(
    ("spec", "argument"),
    [
        ("f64[2]", [1, 2]),
        ("f64[2]", (1.0, 2)),
        ("f64[2]", np.array([1, 2], np.int32)),
        ("f64[2]", np.array([1, 2], np.float32)),
        ("f64[2]", np.array([True, False])),
        ("f32[2]", np.array([1, 2], np.int16)),
        ("f64[2]", np.array([1, 2], ">f8")),
        ("f64[3,4]", X.view(Subclass)),
        ("f32[]", 1.5),
        ("f16[]", 2),
        ("f64[]", True),
        ("i64[]", 3),
        ("i8[]", 3),
        ("i64[2]", np.array([1, 2], np.uint32)),
        ("bool[]", True),
    ],
)
def test_arguments_are_cast_safely(spec: str, argument: Any) -> None:
    def f(x: Any) -> Any:
        return np.where(x > 0, x, x)

    result = graphc.compile(f, spec)(argument)
    np.testing.assert_array_equal(result, np.asarray(argument))
    assert type(result) is np.ndarray or isinstance(result, np.generic)


@pytest.mark.parametrize(
    ("spec", "argument", "error"),
    [
        ("f32[2]", np.array([1.0, 2.0]), DTypeError),
        ("f32[2]", [1.0, 2.0], DTypeError),
        ("i64[2]", np.array([1.0, 2.0]), DTypeError),
        ("i32[2]", np.array([1, 2]), DTypeError),
        ("i64[]", 1.5, DTypeError),
        ("bool[]", 1, DTypeError),
        ("f32[]", np.float64(1), DTypeError),
        ("f64[2]", np.array([1j, 2]), DTypeError),
        ("f64[2]", np.array(["a", "b"]), DTypeError),
        ("f64[2]", np.array([None, 1.0]), DTypeError),
        ("f64[2]", None, (DTypeError, StructureError)),
        ("f64[2]", np.ma.masked_array([1.0, 2.0], [True, False]), DTypeError),
        ("f64[2]", np.ones(3), ShapeError),
        ("f64[2]", np.ones((1, 2)), ShapeError),
        ("f64[2]", 1.0, ShapeError),
        ("f64[]", np.ones(1), ShapeError),
        ("f64[2]", [[1.0, 2.0]], ShapeError),
        ("u8[]", 300, OverflowError),
        ("u8[]", -1, OverflowError),
        ("f64[n,n]", np.ones((2, 3)), ShapeError),
        ("f64[n,2]", np.ones((3, 3)), ShapeError),
        ("f64[2*n]", np.ones(3), ShapeError),
    ],
)
def test_other_arguments_are_refused(spec: str, argument: Any, error: Any) -> None:
    with pytest.raises(error):
        graphc.compile(lambda x: x, spec)(argument)


def test_wrong_numbers_of_arguments_are_refused() -> None:
    compiled = graphc.compile(lambda x, y: x + y, "f64[]", "f64[]")
    for arguments in ((), (1.0,), (1.0, 2.0, 3.0), ((1.0, 2.0),)):
        with pytest.raises((StructureError, TypeError)):
            compiled(*arguments)


def test_structures_are_checked() -> None:
    compiled = graphc.compile(lambda p: p["a"] + p["b"], {"a": "f64[]", "b": "f64[]"})
    assert compiled({"b": 1.0, "a": 2.0}) == 3.0
    for wrong in ({"a": 1.0}, {"a": 1.0, "c": 2.0}, [1.0, 2.0], {"a": 1.0, "b": (1.0, 2.0)}):
        with pytest.raises((StructureError, TypeError)):
            compiled(wrong)


def test_sizes_and_guards_are_checked_before_the_run() -> None:
    compiled = graphc.compile(lambda x, y: x + y[:-1], "f64[n]", "f64[m]")
    np.testing.assert_array_equal(compiled(np.ones(2), np.ones(3)), [2, 2])
    with pytest.raises((GuardError, ShapeError)):
        compiled(np.ones(2), np.ones(4))
    derived = graphc.compile(lambda x: x.reshape(2, -1), "f64[2*n]")
    assert derived(np.ones(6)).shape == (2, 3)
    two = graphc.compile(lambda x, y: y[: x.shape[0]] + x, "f64[n]", "f64[n+m]")
    assert two(np.ones(2), np.ones(5)).shape == (2,)
    with pytest.raises(ShapeError):
        two(np.ones(5), np.ones(2))


def test_no_floating_point_warning_leaks() -> None:
    compiled = graphc.compile(lambda x: (np.log(x), 1 / x, np.exp(x * 1e9), np.sqrt(x), x % 0.0, x**0.5), "f64[3]")
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        compiled(np.array([-1.0, 0.0, 1.0]))
        graphc.grad(lambda x: np.sum(np.log(x)))(np.array([-1.0, 0.0]))
        with pytest.raises(FloatingPointError):
            np.divide(1.0, np.zeros(1))  # the caller's own settings are back


@pytest.mark.parametrize(
    "name",
    ["v1", "c1", "np", "nk", "slices", "dtype0", "spec0", "guard0", "run", "errstate", "x", "in0", "f64", "slice"],
)
def test_names_of_sizes_and_arguments_do_not_collide(name: str) -> None:
    compiled = graphc.compile(lambda x: np.cumsum(x * x.shape[0] + 1)[1:] + 2.5, f"f64[{name}]")
    np.testing.assert_array_equal(compiled(np.ones(3)), np.cumsum(np.ones(3) * 3 + 1)[1:] + 2.5)
    scope: dict[str, Any] = {"np": np}
    exec(
        f"def f({name}, y): return np.cumsum({name} * y.shape[0] + 1)[1:]"
        if name != "np"
        else "def f(np_, y): return np_[1:]",
        scope,
    )
    graphc.compile(scope["f"], "f64[n]", "f64[n]")(np.ones(3), np.ones(3))


# --- memory -------------------------------------------------------------------------------------------------

PROGRAMS: tuple[tuple[str, Function], ...] = (
    ("chain", lambda x: np.tanh(np.exp(np.sin(x) + 1) * 2)),
    ("tree", lambda x: (np.sin(x) + np.cos(x)) * (np.exp(x) - np.tanh(x))),
    ("reduction", lambda x: np.sum(np.exp(x) * 2, axis=0) + 1),
    ("matmul", lambda x: np.tanh(x @ x.T) @ x),
    ("views", lambda x: (np.exp(x).T * 2).reshape(-1)[::2] + 1),
    ("held result", lambda x: (lambda y: (y, np.sin(y) * 2 + y))(np.exp(x))),
    ("concatenation", lambda x: np.concatenate([np.sin(x), np.cos(x)]) * 2),
    ("softmax", lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)),
    ("gradient", graphc.grad(lambda x: np.sum(np.tanh(x @ x.T) ** 2))),
    ("dead values", lambda x: (np.exp(x), np.sin(x))[1]),
)


def replay(compiled: Any, sizes: dict[str, int]) -> int:
    """Peak bytes by following which values are alive, written without a look at the plan's own storage table."""
    nodes = compiled.plan.graph._node
    size = {
        i: int(dims.evaluate(dims.product(d["type"].shape), sizes)) * d["type"].dtype.itemsize for i, d in nodes.items()
    }
    owner: dict[int, int] = {}  # node -> buffer
    alive: dict[int, int] = {}  # buffer -> bytes
    peak = 0
    for step in compiled.plan.steps:
        for i in step.results:
            data = nodes[i]
            if TABLE[data["op"]].view:
                if data["args"][0] in owner:
                    owner[i] = owner[data["args"][0]]
            elif i in step.into:
                assert size[owner[step.into[i]]] == size[i]
                owner[i] = owner[step.into[i]]
            else:
                owner[i] = i
                alive[i] = size[i]
        peak = max(peak, sum(alive.values()))
        for i in step.frees:
            alive.pop(owner[i], None)
    return peak


@pytest.mark.parametrize("f", [row[1] for row in PROGRAMS], ids=[row[0] for row in PROGRAMS])
@pytest.mark.parametrize("spec", ["f64[n,m]", "f64[30,20]"])
def test_peak_memory_is_that_of_a_replay(f: Function, spec: str) -> None:
    compiled = graphc.compile(f, spec)
    sizes = {"n": 30, "m": 20}
    assert compiled.plan.peak_bytes(sizes) == replay(compiled, sizes)


@pytest.mark.parametrize("f", [row[1] for row in PROGRAMS[:4]], ids=[row[0] for row in PROGRAMS[:4]])
def test_peak_memory_is_what_the_allocator_sees(f: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    # memory that is kept from earlier calls would not be seen, or twice
    monkeypatch.setattr(reuse, "store", lambda: None)
    x = np.linspace(-1, 1, 40_000).reshape(200, 200)
    compiled = graphc.compile(f, x)
    tracemalloc.start()
    try:
        result = compiled(x)
        _, seen = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del result
    # matrix products and reductions may take a little more inside the library
    assert compiled.plan.peak_bytes() <= seen + 1000
    assert seen <= compiled.plan.peak_bytes() * 1.1 + 50_000


def op_by_op(graph: Any, *arguments: Any) -> list[Any]:
    """A graph evaluated node by node, nothing reused and nothing freed."""
    values = dict(zip(graph.inputs, map(np.asarray, arguments), strict=True))
    with np.errstate(all="ignore"):
        for i, data in graph._node.items():
            if i not in values:
                values[i] = evaluate(TABLE[data["op"]], [values[a] for a in data["args"]], dict(data["attrs"]))
    return [values[o] for o in graph.outputs]


UNARY: tuple[Function, ...] = (
    np.sin,
    np.exp,
    np.negative,
    lambda v: v.T.T,
    lambda v: v[::-1],
    lambda v: v.reshape(2, 3),
    np.abs,
)
BINARY: tuple[Function, ...] = (
    np.add,
    np.multiply,
    np.subtract,
    np.maximum,
    lambda a, b: np.where(a > b, a, b),
    np.divide,
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=14),
    st.lists(st.integers(0, 30), min_size=1, max_size=4),
)
def test_reused_storage_is_never_read_again(steps: list[tuple[int, int, int]], picks: list[int]) -> None:
    def f(x: Any, y: Any) -> Any:
        values: list[Any] = [x, y, x[:1], np.full((2, 3), 0.5)]
        for which, a, b in steps:
            left, right = values[a % len(values)], values[b % len(values)]
            if which < len(UNARY):
                left = left if left.shape == (2, 3) else left + y
                values.append(UNARY[which](left))
            else:
                values.append(BINARY[which - len(UNARY)](left, right))
        return tuple(values[p % len(values)] for p in picks)

    x, y = np.arange(6.0).reshape(2, 3) / 7, np.cos(np.arange(6.0)).reshape(2, 3)
    compiled = graphc.compile(f, x, y, kernels="none")
    expected = op_by_op(compiled.plan.graph, x, y)
    for _ in range(2):
        for actual, wanted in zip(compiled(x, y), expected, strict=True):
            np.testing.assert_array_equal(actual, wanted)
    with np.errstate(all="ignore"):
        direct = f(x, y)
    for kernels in ("none", "ufunc", "llvm"):
        for actual, wanted in zip(graphc.compile(f, x, y, kernels=kernels)(x, y), direct, strict=True):
            np.testing.assert_allclose(actual, wanted, rtol=1e-9, atol=1e-9)


# --- pickles and threads ------------------------------------------------------------------------------------


def test_a_compiled_function_is_pickled_to_a_fresh_process(tmp_path: Path, root: Path) -> None:
    big = np.arange(100.0)
    big.flags.writeable = False
    compiled = graphc.compile(
        lambda p, x: {"y": np.tanh(p["w"] @ x) + big[:3], "z": (x.sum(), x[0] > 1)}, {"w": "f64[3,n]"}, "f64[n]"
    )
    path = tmp_path / "compiled.pickle"
    path.write_bytes(pickle.dumps(compiled))
    script = (
        "import pickle, sys, pathlib, numpy as np\n"
        f"f = pickle.loads(pathlib.Path({str(path)!r}).read_bytes())\n"
        "r = f({'w': np.ones((3, 2))}, np.array([0.25, 0.5]))\n"
        "print(r['y'].tolist(), r['z'], list(f.graph.input_types))\n"
    )
    shown = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True).stdout
    here = compiled({"w": np.ones((3, 2))}, np.array([0.25, 0.5]))
    assert shown == f"{here['y'].tolist()} {here['z']} {list(compiled.graph.input_types)}\n"
    again = pickle.loads(pickle.dumps(compiled))
    assert again.graph == compiled.graph
    assert again.source.count("\n") == compiled.source.count("\n")


def test_one_compiled_function_in_many_threads() -> None:
    compiled = graphc.compile(lambda x: np.tanh(np.exp(x) * x - x) @ x.T + x.sum(), "f64[n,3]")
    inputs = [np.random.default_rng(k).normal(size=(k % 5 + 1, 3)) for k in range(8)]
    expected = [compiled(x) for x in inputs]
    wrong: list[int] = []

    def work(k: int) -> None:
        for i in range(100):
            j = (k + i) % len(inputs)
            if not np.array_equal(compiled(inputs[j]), expected[j]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
