"""Donated arguments: their memory holds results, nothing else is touched, and what may not be used is copied."""

from __future__ import annotations

import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import DonationWarning, GuardError, ShapeError, TraceError
from tests.random_programs import DIVISION, Program, draw

KERNELS = ("llvm", "ufunc", "none")


@pytest.fixture(params=KERNELS)
def kernels(request: pytest.FixtureRequest) -> Any:
    return request.param


def values(*shapes: tuple[int, ...], dtype: Any = np.float64) -> list[Any]:
    rng = np.random.default_rng(len(shapes))
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def memory(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def leaves(tree: Any) -> list[Any]:
    return list(tree) if isinstance(tree, (tuple, list)) else [tree]


# --- what is used --------------------------------------------------------------------------------------------

M, V = (3, 4), (4,)
Case = tuple[Callable[..., Any], tuple[tuple[int, ...], ...], tuple[int, ...], tuple[int, ...]]
# a function, the shapes of its arguments, which are donated, and which results lie in donated memory
USED: dict[str, Case] = {
    "an update": (lambda w, g: w - 0.1 * g, (M, M), (0,), (0,)),
    "several": (lambda w, m, g: (w - 0.1 * m, 0.9 * m + g), (M, M, M), (0, 1), (0, 1)),
    "a row and a sum": (lambda b, g: b - 0.1 * np.sum(g, axis=0), (V, M), (0,), (0,)),
    "a result and its sum": (lambda x, y: ((h := np.tanh(x) * y), np.sum(h * h), x - h), (M, M), (0, 1), (0, 2)),
    "returned": (lambda x, y: (x, y * 2), (M, M), (0,), (0,)),
    "a slice replaced": (lambda x, y: gnp_set(x, y), ((5, 4), (2, 4)), (0,), (0,)),
    "read no more": (lambda x, y: np.exp(y @ x.T), ((3, 3), (3, 3)), (0,), (0,)),
    "returned twice": (lambda x, y: (x, x, x.T), (M, M), (0,), (0,)),
}  # fmt: skip


def gnp_set(x: Any, y: Any) -> Any:
    x = graphc.numpy.array(x)
    x[1:3] = np.exp(y)
    return x


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", USED)
def test_results_lie_in_donated_memory(name: str, dtype: Any, kernels: str) -> None:
    f, shapes, donated, held = USED[name]
    arrays = values(*shapes, dtype=dtype)
    expected = leaves(graphc.compile(f, *arrays, kernels=kernels)(*arrays))
    g = graphc.compile(f, *arrays, donate_argnums=donated, kernels=kernels)
    if kernels == "none" and not g.plan.donated:
        pytest.skip("no single call of NumPy can write there")
    for _ in range(2):
        given = [a.copy() for a in arrays]
        places = {memory(given[k]) for k in donated}
        found = leaves(g(*given))
        for k, (a, b) in enumerate(zip(found, expected, strict=True)):
            np.testing.assert_allclose(a, b, rtol=1e-6 if dtype == np.float32 else 1e-13)
            if not isinstance(a, np.ndarray):
                continue
            assert a.flags.owndata
            assert a.flags.writeable
            if kernels == "llvm":
                assert (memory(a) in places) == (k in held)
            assert not any(np.shares_memory(a, other) for other in found[:k])
        for k, (a, b) in enumerate(zip(given, arrays, strict=True)):
            if k not in donated:
                np.testing.assert_array_equal(a, b)


def test_the_result_is_the_array_itself(kernels: str) -> None:
    f = graphc.compile(lambda w, g: w - g, "f64[n]", "f64[n]", donate_argnums=0, kernels=kernels)
    w, g = np.arange(3.0), np.ones(3)
    assert f(w, g) is w
    assert w.tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.filterwarnings("ignore::graphc.errors.DonationWarning")
def test_a_value_that_is_read_later_is_not_overwritten(kernels: str) -> None:
    def f(x: Any, y: Any) -> Any:
        z = x * 2 + y
        return z, np.cumsum(x), x[::-1] - z

    x, y = values((6,), (6,))
    expected = graphc.compile(f, x, y, kernels=kernels)(x, y)
    g = graphc.compile(f, x, y, donate_argnums=(0, 1), kernels=kernels)
    for a, b in zip(g(x.copy(), y.copy()), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rows", [(3, 14), (0, 5), (20, 20)])
def test_what_a_written_slice_leaves_out_is_there(rows: tuple[int, int], kernels: str) -> None:
    """The kernel writes the slice alone, into an array that it continues; the unread argument's memory is another."""

    def f(x: Any, y: Any, unread: Any) -> Any:
        middle = np.minimum(x, y)
        written = middle * 1
        written[slice(*rows)] += 3
        return written, middle + y

    x, y, unread = values((33, 1), (33, 4), (33, 4))
    expected = f(x, y, unread)
    g = graphc.compile(f, x, y, unread, donate_argnums=2, kernels=kernels)
    assert g.plan.donated == (2,)
    for a, b in zip(g(x, y, unread.copy()), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def columns(b: Any, x: Any) -> Any:
    total = np.sum(x, axis=0)
    return b - 0.1 * total, x * b / total


def rows(b: Any, x: Any) -> Any:
    total = np.sum(x, axis=1)
    return b - 0.1 * total, x * b[:, None] / total[:, None]


def everything(b: Any, x: Any) -> Any:
    total = np.sum(x)
    return b - total, x * b / total


@pytest.mark.filterwarnings("ignore::graphc.errors.DonationWarning")
@pytest.mark.parametrize(
    ("f", "shapes"),
    [
        (columns, ((7,), (5, 7))),
        (columns, ((3000,), (50, 3000))),
        (rows, ((5,), (5, 7))),
        (everything, ((1,), (9,))),
        (everything, ((1,), (900_000,))),
    ],
)
def test_what_a_later_sweep_reads_is_not_overwritten_before(f: Any, shapes: Any, kernels: str) -> None:
    """The kernel's second pass over the elements needs the donated array, which its first pass could replace."""
    b, x = values(*shapes)
    x = np.abs(x) + 0.1
    expected = graphc.compile(f, b, x, kernels=kernels)(b, x)
    found = graphc.compile(f, b, x, kernels=kernels, donate_argnums=(0, 1))(b.copy(), x.copy())
    for a, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, other)


def test_training_steps_feed_themselves() -> None:
    def loss(p: Any, x: Any) -> Any:
        return np.mean((np.tanh(x @ p["w"]) @ p["v"] + p["b"]) ** 2)

    def step(p: Any, m: Any, x: Any) -> Any:
        value, g = graphc.value_and_grad(loss)(p, x)
        m = {k: 0.9 * m[k] + g[k] for k in m}
        return {k: p[k] - 0.01 * m[k] for k in p}, m, value

    def start() -> tuple[Any, Any]:
        w, v = values((20, 30), (30,))
        p = {"w": w, "v": v, "b": np.zeros(3)}
        return p, {k: np.zeros_like(a) for k, a in p.items()}

    x = values((3, 20))[0]
    plain, donating = graphc.jit(step), graphc.jit(step, donate_argnums=(0, 1))
    one, other = start(), start()
    held = {memory(a) for tree in other for a in tree.values()}
    for _ in range(5):
        *one, value = plain(*one, x)  # type: ignore[assignment]
        *other, again = donating(*other, x)  # type: ignore[assignment]
        assert value == again
    for a, b in zip(one, other, strict=True):
        for k in a:
            np.testing.assert_array_equal(a[k], b[k])
    assert {memory(a) for tree in other for a in tree.values()} == held


@pytest.mark.filterwarnings("ignore::graphc.errors.DonationWarning")
@pytest.mark.parametrize("first", range(0, 120, 12))
def test_random_programs_give_the_same(first: int, table_with_division: None) -> None:
    used = 0
    for seed in range(first, first + 12):
        program = draw(seed)
        if not isinstance(program, Program):
            continue
        graph = program.trace()
        inputs = [np.asarray(a.value, a.type.dtype) for a in program.arguments]
        for kernels in KERNELS:
            expected = graphc.compile(graph, kernels=kernels)(*inputs)
            given = [np.array(x) for x in inputs]
            f = graphc.compile(graph, donate_argnums=range(len(inputs)), kernels=kernels)
            found = f(*given)
            used += len(f.plan.donated)
            for k, (a, b) in enumerate(zip(found, expected, strict=True)):
                np.testing.assert_array_equal(a, b, err_msg=f"{program}\n{kernels}")
                assert not any(np.shares_memory(a, other) for other in found[:k]), program
            for k, (x, before) in enumerate(zip(given, inputs, strict=True)):
                if k not in f.plan.donated:
                    np.testing.assert_array_equal(x, before)
    assert used


@pytest.fixture
def table_with_division(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from graphc.ops import TABLE

    monkeypatch.setitem(TABLE, DIVISION.name, DIVISION)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


# --- what is not used ----------------------------------------------------------------------------------------


def read_only(x: Any) -> Any:
    x.flags.writeable = False
    return x


UNUSABLE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "read-only": (read_only, "is read-only"),
    "a view": (lambda x: np.concatenate([x, x])[: len(x)], "a view of memory that another object owns"),
    "reversed": (lambda x: x[::-1].copy()[::-1], "a view of memory"),
    "by columns": (np.asfortranarray, "not adjacent in C's order"),
    "a buffer's": (lambda x: np.frombuffer(bytearray(x.tobytes())).reshape(x.shape), "a view of memory"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_given_is_copied_and_reported(name: str, kernels: str) -> None:
    make, why = UNUSABLE[name]
    f = graphc.compile(lambda w, g: w - g, "f64[3,4]", "f64[3,4]", donate_argnums=0, kernels=kernels)
    w, g = values(M, M)
    given = make(w.copy())
    with pytest.warns(DonationWarning, match=f"argument w is donated, but.*{why}") as caught:
        found = f(given, g)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(found, w - g)
    np.testing.assert_array_equal(given, w)
    assert not np.shares_memory(found, given)


def test_arguments_that_overlap_stay_as_they_are(kernels: str) -> None:
    f = graphc.compile(lambda w, g: w - 2 * g[::-1], "f64[n]", "f64[n]", donate_argnums=0, kernels=kernels)
    w = np.arange(4.0)
    others = [w, w[:], w.reshape(2, 2).T.T.reshape(4), w[::-1]]
    for g in others:
        expected = w - 2 * g[::-1]
        with pytest.warns(DonationWarning, match="shows the same memory"):
            found = f(w, g)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(w, np.arange(4.0))


def test_a_number_inside_a_donated_array_overlaps(kernels: str) -> None:
    f = graphc.compile(lambda w, a: w * 0 + a + w, "f64[n]", "f64[]", donate_argnums=0, kernels=kernels)
    w = np.arange(1.0, 4.0)
    with pytest.warns(DonationWarning, match="shows the same memory"):
        found = f(w, w[1:2].reshape(()))
    assert found.tolist() == [3.0, 4.0, 5.0]
    assert w.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.filterwarnings("ignore:.*no result can take:graphc.errors.DonationWarning")
def test_one_array_given_twice_is_not_used(kernels: str) -> None:
    f = graphc.compile(lambda a, b: (a + b, a - b), "f64[n]", "f64[n]", donate_argnums=(0, 1), kernels=kernels)
    assert f.plan.donated
    x = np.arange(3.0)
    with pytest.warns(DonationWarning, match="shows the same memory"):
        total, difference = f(x, x)
    assert (total.tolist(), difference.tolist()) == ([0.0, 2.0, 4.0], [0.0, 0.0, 0.0])
    assert x.tolist() == [0.0, 1.0, 2.0]


def test_other_types_are_converted_without_a_word(kernels: str) -> None:
    f = graphc.compile(lambda w, g: w - g, "f64[n]", "f64[n]", donate_argnums=0, kernels=kernels)
    for given in ([1.0, 2.0], np.ones(2, np.float32), np.ones(2, ">f8"), (1, 2)):
        before = np.array(given)
        np.testing.assert_array_equal(f(given, np.ones(2)), before - 1)
        np.testing.assert_array_equal(given, before)


def test_an_unpickled_array_is_taken_once_and_its_result_again() -> None:
    f = graphc.compile(lambda w, g: w - g, "f64[n]", "f64[n]", donate_argnums=0)
    w = pickle.loads(pickle.dumps(np.arange(3.0)))
    first = f(w, np.ones(3))
    assert first.tolist() == [-1.0, 0.0, 1.0]
    assert f(first, np.ones(3)) is first


def test_memory_that_no_result_can_take_is_reported_when_it_is_compiled() -> None:
    with pytest.warns(DonationWarning, match=r"no result can take the memory.*w: f64\[3\]") as caught:
        f = graphc.compile(lambda w: np.sum(w), "f64[3]", donate_argnums=0)
    assert caught[0].filename == __file__
    assert str(caught[0].message).endswith("the results are: f64[].")
    with pytest.warns(DonationWarning, match=r"the results are: f64\[2\], f64\[3\], f64\[4\], f64\[5\], f64\[6\], …"):
        graphc.compile(lambda w: [np.full(n, 2.0) * w[0] for n in range(2, 9)], "f64[9]", donate_argnums=0)
    w = np.arange(3.0)
    assert f(w) == 3.0
    assert w.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.filterwarnings("error")
def test_numbers_have_no_memory_to_give() -> None:
    f = graphc.compile(lambda a, w: (a + 1, w * a), "f64[]", "f64[3]", donate_argnums=(0, 1))
    count = np.array(2.0)
    assert f(count, np.ones(3))[0] == 3.0
    assert count == 2.0


# --- what goes wrong leaves everything untouched ----------------------------------------------------------------


def test_a_guard_that_fails_leaves_everything_untouched(kernels: str) -> None:
    f = graphc.compile(lambda w, g: w - g, "f64[n]", "f64[m]", donate_argnums=0, kernels=kernels)
    w = np.arange(3.0)
    with pytest.raises(GuardError):
        f(w, np.ones(4))
    g = graphc.compile(lambda w, g: w - g, "f64[n]", "f64[n]", donate_argnums=0, kernels=kernels)
    with pytest.raises(ShapeError):
        g(w, np.ones(4))
    with pytest.raises(graphc.errors.DTypeError):
        g(w, np.ones(3, complex))
    assert w.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.filterwarnings("ignore:.*no result can take:graphc.errors.DonationWarning")
def test_positions_out_of_bounds_leave_everything_untouched(kernels: str) -> None:
    def f(w: Any, table: Any, i: Any) -> Any:
        return w * 2, table.at[i].add(1.0), table[i] * 3

    g = graphc.compile(f, "f64[3,2]", "f64[n,2]", "i64[k]", donate_argnums=(0, 1), kernels=kernels)
    w, table = values((3, 2), (5, 2))
    before = w.copy(), table.copy()
    with pytest.raises(IndexError):
        g(w, table, np.array([0, 7]))
    np.testing.assert_array_equal(w, before[0])
    np.testing.assert_array_equal(table, before[1])
    doubled, updated, picked = g(w, table, np.array([0, 4, 0]))
    np.testing.assert_array_equal(doubled, 2 * before[0])
    np.testing.assert_array_equal(updated, before[1] + np.array([[2.0], [0.0], [0.0], [0.0], [1.0]]))
    np.testing.assert_array_equal(picked, 3 * before[1][[0, 4, 0]])


def test_no_memory_leaves_everything_untouched() -> None:
    f = graphc.compile(
        lambda w, x: (w * 2, np.sum((x[:, None] * x) @ np.exp(x[:, None] * x), axis=0)),
        "f64[k]",
        "f64[n]",
        donate_argnums=0,
    )
    w = np.arange(3.0)
    with pytest.raises(MemoryError):
        f(w, np.ones(1 << 22))
    assert w.tolist() == [0.0, 1.0, 2.0]


# --- naming what is donated --------------------------------------------------------------------------------------


def test_by_position_and_by_name() -> None:
    def f(a: Any, b: Any, *, c: Any) -> Any:
        return a + 1, b + 2, c + 3

    def donated(**settings: Any) -> list[bool]:
        arrays = values(V, V, V)
        results = graphc.jit(f, **settings)(arrays[0], arrays[1], c=arrays[2])
        return [found is given for found, given in zip(results, arrays, strict=True)]

    assert donated(donate_argnums=0) == [True, False, False]
    assert donated(donate_argnums=-1) == [False, True, False]
    assert donated(donate_argnums=(0, 1)) == [True, True, False]
    assert donated(donate_argnames="b") == [False, True, False]
    assert donated(donate_argnames=["a", "c"]) == [True, False, True]
    assert donated(donate_argnums=1, donate_argnames="c") == [False, True, True]
    a, b = values(V, V)
    assert graphc.jit(f, donate_argnums=1)(a, b=b, c=a)[1] is b  # however it is passed
    found = graphc.compile(f, a, b, c="f64[4]", donate_argnames="c")
    c = a.copy()
    assert found(a, b, c=c)[2] is c


def test_static_arguments_do_not_count_among_the_arrays() -> None:
    def f(power: int, x: Any, y: Any) -> Any:
        return x**power, y + 1

    g = graphc.jit(f, static_argnums=0, donate_argnums=2)
    x, y = values(V, V)
    first, second = g(3, x, y)
    assert first is not x
    assert second is y


def test_pytrees() -> None:
    f = graphc.jit(lambda p, q: ({k: v + 1 for k, v in p.items()}, [v * 2 for v in q]), donate_argnums=0)
    p, q = {"b": np.ones(2), "a": np.zeros(3)}, [np.ones(2)]
    for _ in range(3):
        found, other = f(p, q)
        assert found["b"] is p["b"]
        assert found["a"] is p["a"]
        assert other[0] is not q[0]
        p = found
    assert p["a"].tolist() == [3.0] * 3
    assert q[0].tolist() == [1.0] * 2


def test_graphs_and_expressions() -> None:
    graph = graphc.trace(lambda w, g: w - g, "f64[3]", "f64[3]")
    w, g = np.ones(3), np.ones(3)
    assert graphc.compile(graph, donate_argnums=0)(w, g)[0] is w
    assert graphc.compile(graph, donate_argnames="w")(w, g)[0] is w
    older = graphc.symbol("x", "f64[3]")
    x, y = graphc.symbol("x", "f64[3]"), graphc.symbol("y", "f64[3]")
    assert graphc.compile([x, y], [x + y], donate_argnames="x")(w, g)[0] is w
    assert graphc.compile([older, x], [x + older], donate_argnames="x_")(g, w)[0] is w
    text = graphc.dump(graphc.compile(graph, donate_argnums=0).graph)
    assert "donated %w" in text
    assert graphc.compile(graphc.parse(text))(w, g)[0] is w


def test_a_pickled_function_takes_the_same() -> None:
    f = pickle.loads(pickle.dumps(graphc.compile(lambda w: w + 1, "f64[n]", donate_argnums=0)))
    w = np.ones(3)
    assert f(w) is w


def doubled(w: Any) -> Any:
    return w * 2


def test_a_pickled_jitted_function_donates() -> None:
    f = pickle.loads(pickle.dumps(graphc.jit(doubled, donate_argnums=0)))
    w = np.ones(3)
    assert f(w) is w


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"donate_argnums": 2}, "-2 to 1"),
        ({"donate_argnums": "a"}, "numbers of positional parameters"),
        ({"donate_argnames": "z"}, "a b"),
        ({"donate_argnames": 1}, "names of parameters"),
        ({"donate_argnums": True}, "numbers of positional parameters"),
    ],
)
def test_wrong_names_are_refused(settings: dict[str, Any], words: str) -> None:
    def f(a: Any, b: Any) -> Any:
        return a + b

    with pytest.raises(TraceError, match=words):
        graphc.jit(f, **settings)
    with pytest.raises(TraceError, match=words):
        graphc.compile(f, "f64[3]", "f64[3]", **settings)


def test_a_static_argument_cannot_be_donated() -> None:
    with pytest.raises(TraceError, match="no memory to donate"):
        graphc.jit(lambda a, n: a * n, static_argnums=1, donate_argnums=(0, 1))


def test_inputs_that_there_are_not() -> None:
    graph = graphc.trace(lambda w, g: w - g, "f64[3]", "f64[3]")
    with pytest.raises(TraceError, match="numbers below 2, or w g"):
        graphc.compile(graph, donate_argnums=2)
    with pytest.raises(TraceError, match="numbers below 2, or w g"):
        graphc.compile(graph, donate_argnames="x")


# --- elsewhere ------------------------------------------------------------------------------------------------


def test_inside_a_trace_nothing_is_donated() -> None:
    inner = graphc.jit(lambda w: w * 2, donate_argnums=0)
    outer = graphc.jit(lambda w: (inner(w), w + 1))
    w = np.ones(3)
    assert [a.tolist() for a in outer(w)] == [[2.0] * 3, [2.0] * 3]
    assert w.tolist() == [1.0] * 3
    assert graphc.grad(lambda w: np.sum(inner(w) ** 2))(w).tolist() == [8.0] * 3
    compiled = graphc.compile(lambda w: w * 2, "f64[n]", donate_argnums=0)
    assert [a.tolist() for a in graphc.jit(lambda w: (compiled(w), w))(w)] == [[2.0] * 3, [1.0] * 3]


def test_exact_order_takes_no_memory() -> None:
    f = graphc.compile(lambda w: w * 2, "f64[n]", donate_argnums=0, exact_order=True)
    w = np.ones(3)
    assert f(w).tolist() == [2.0] * 3
    assert w.tolist() == [1.0] * 3


def test_threads_with_arrays_of_their_own() -> None:
    f = graphc.jit(lambda w, g: (np.tanh(w) @ g, w - 0.001 * np.sin(g)), donate_argnums=0)
    start, g = values((12, 12), (12, 12))

    def trained() -> Any:
        w = start.copy()
        for _ in range(1000):
            _, w = f(w, g)
        return w

    expected = trained()
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(trained())) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 8
    for w in found:
        np.testing.assert_array_equal(w, expected)
