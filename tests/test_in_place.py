"""In-place NumPy code on traced values: what it computes, what it refuses, and what it differentiates to."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import optree
import pytest

import graphc
import graphc.numpy as gnp
from graphc.errors import DTypeError, IndexingError, LeakedTracerError, ReadOnlyError, ShapeError, UnsupportedError

Function = Callable[..., Any]
OPERATORS = {
    "+=": operator.iadd,
    "-=": operator.isub,
    "*=": operator.imul,
    "/=": operator.itruediv,
    "//=": operator.ifloordiv,
    "%=": operator.imod,
    "**=": operator.ipow,
}
OTHERS = {"a number": 3, "an array": np.array([1.5, 2.0, 4.0]), "a wider dtype": np.float64(2.5), "a row": np.ones(1)}


def agrees(f: Function, *arrays: Any) -> None:
    """The function gives the same on arrays as traced, and leaves the arrays as they are."""
    __tracebackhide__ = True
    before = [np.array(a) for a in arrays]
    expected = optree.tree_leaves(f(*(np.array(a) for a in arrays)))
    actual = optree.tree_leaves(graphc.jit(f)(*arrays))
    for want, have in zip(expected, actual, strict=True):
        assert (np.shape(have), np.asarray(have).dtype) == (np.shape(want), np.asarray(want).dtype)
        np.testing.assert_allclose(have, want, rtol=1e-13, atol=1e-15)
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)


# --- operators ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_result_is_numpys(symbol: str, other: str, dtype: str) -> None:
    def f(x: Any) -> Any:
        return OPERATORS[symbol](x + 1, OTHERS[other])

    x = np.array([0.5, 1.0, 2.0], dtype)
    expected, actual = f(x), graphc.jit(f)(x)
    assert actual.dtype == expected.dtype == dtype
    np.testing.assert_allclose(actual, expected, rtol=4 * np.finfo(dtype).eps)


def second_name(x: Any) -> Any:
    y = x * 1
    z = y
    z += 1
    return y, z


def in_another_function(x: Any) -> Any:
    def step(v: Any) -> None:
        v *= 2
        v[0] = -1

    y = x * 1
    step(y)
    return y


def in_a_list(x: Any) -> Any:
    parts = [x * 1, x * 2]
    first = parts[0]
    parts[0] += 1
    parts[1][0] = 5
    return first, parts


def copies(x: Any) -> Any:
    y = x * 1
    made = [y.copy(), +y, y.astype(y.dtype), gnp.array(y), y.flatten(), y**1, np.copy(y), np.abs(y), np.tile(y, 1)]
    y += 1
    for copy in made:
        copy -= 1
    return y, made


def not_copies(x: Any) -> Any:
    y = x * 1
    same = gnp.asarray(y)
    same += 1
    return y


def scalars(x: Any) -> Any:
    total = x.sum()
    before = total
    total += 1
    element = x[0]
    element += 1
    return before, total, element, x


def arrays_without_axes(x: Any) -> Any:
    y = np.zeros_like(x[0])
    z = y
    y += x.sum()
    y[...] = y * 2
    w = x[..., 0]
    w[()] = 7
    return y, z, x, w


def accumulated(x: Any) -> Any:
    y = x[:, None] - x[None, :]
    x = x + 0
    for k in range(3):
        x += (x[:, None] * y).sum(axis=1) * 0.1**k
    return x


def before_a_pullback(x: Any) -> Any:
    y = x * 1.0
    if not graphc.is_traced(x):
        return y * y, 2 * y
    square, pullback = graphc.vjp(lambda v: v * v, y)
    y += 1
    return square, pullback(np.ones(2))[0]


def view_of_a_base(x: Any) -> Any:
    y = x * 2
    z = y[:1]
    z += 1
    return y, z


def base_of_a_view(x: Any) -> Any:
    y = x * 2
    z = y.reshape(2, 1)
    y += 1
    return y, z


def parts_swapped(x: Any) -> Any:
    x[0], x[1] = x[1], x[0]
    return x


def rows_in_a_loop(x: Any) -> Any:
    y = np.zeros((3, 2), like=x)
    for k, row in enumerate(y):
        row += k * x
        row[1:] *= 2
    return y


def shifted(x: Any) -> Any:
    x[1:] += x[:-1]
    x[::-1] = x
    return x


def equal_values(x: Any) -> Any:
    a, b = x * 2, x * 2
    a += 1
    return a, b


@pytest.mark.parametrize(
    "f",
    [
        second_name, in_another_function, in_a_list, copies, not_copies, scalars, arrays_without_axes, accumulated,
        before_a_pullback, view_of_a_base, base_of_a_view, parts_swapped, rows_in_a_loop, shifted, equal_values,
    ],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_every_name_of_an_array_sees_the_change(f: Function) -> None:
    agrees(f, np.array([1.0, 2.0]))


# --- values, dtypes and errors ------------------------------------------------------------------------------

ASSIGNMENTS: dict[str, Function] = {
    "a number": lambda x: operator.setitem(x, 0, 1.75),
    "a weak number": lambda x: operator.setitem(x, (0, 1), x.shape[0]),
    "an array": lambda x: operator.setitem(x, slice(None), np.array([1.75, -2.5])),
    "a list": lambda x: operator.setitem(x, 1, [1.75, 2.25]),
    "a column": lambda x: operator.setitem(x, slice(1, None), np.ones((2, 1), np.int16)),
    "leading axes of size 1": lambda x: operator.setitem(x, 0, np.ones((1, 1, 2))),
    "a boolean": lambda x: operator.setitem(x, ..., True),
    "a mask": lambda x: operator.setitem(x, x > 1, 0),
    "a mask of rows": lambda x: operator.setitem(x, x[:, 0] > 1, np.array([5, 6])),
    "a known mask": lambda x: operator.setitem(x, np.array([True, False, True]), np.array([[1, 2], [3, 4]])),
    "positions": lambda x: operator.setitem(x, ([0, 2, 0], [1, 1, 1]), np.array([1, 2, 3])),
    "traced positions": lambda x: operator.setitem(x, np.argmax(x, axis=0), 9),
    "a traced row": lambda x: operator.setitem(x, np.argmax(x[:, 0]), 9),
    "a traced element": lambda x: operator.setitem(x, (np.argmin(x[:, 0]), -1), 9),
    "nothing": lambda x: operator.setitem(x, slice(0, 0), 9),
    "a traced row through a view": lambda x: operator.setitem(x[np.argmax(x[:, 1])], 0, 9),
    "a traced element of a view": lambda x: operator.setitem(x.T, (slice(None), np.argmax(x[:, 1])), 9),
    "fill": lambda x: x.fill(2),
    "flat": lambda x: operator.setitem(x.flat, [0, 3], [7, 8]),
}


@pytest.mark.parametrize("name", ASSIGNMENTS)
@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "u1", "?"])
def test_assignments_cast_as_numpy_does(name: str, dtype: str) -> None:
    def f(x: Any) -> Any:
        with np.errstate(all="ignore"):
            ASSIGNMENTS[name](x)
        return x

    if dtype in ("u1", "?") and name == "an array":
        return  # what a negative number becomes is up to the processor
    agrees(f, np.array([[1, 0], [3, 4], [0, 2]], dtype))


REFUSED: dict[str, tuple[Function, type[Exception], type[Exception], str]] = {
    "assigned shape": (
        lambda x: operator.setitem(x, slice(2), np.ones(3)),
        ValueError, ShapeError, "could not broadcast",
    ),
    "assigned rank": (lambda x: operator.setitem(x, 0, np.ones((2, 2))), ValueError, ShapeError, "could not broadcast"),
    "a sequence for an element": (
        lambda x: operator.setitem(x, (0, 0), np.ones(1)),
        ValueError, ShapeError, "setting an array element with a sequence",
    ),
    "assigned position": (lambda x: operator.setitem(x, 5, 0), IndexError, IndexingError, "out of bounds"),
    "grown": (lambda x: operator.iadd(x, np.ones((3, 3, 2))), ValueError, ShapeError, "does not fit"),
    "stretched": (lambda x: operator.iadd(x[:1], x), ValueError, ShapeError, "does not fit"),
    "out shape": (lambda x: np.add(x, 1, out=x[:, :1]), ValueError, ShapeError, "does not fit"),
    "out rank": (lambda x: np.sum(x, axis=0, out=x), ValueError, ShapeError, "does not fit"),
    "out of a product": (lambda x: np.dot(x, x.T, out=x), ValueError, ShapeError, "does not fit"),
    "out mask": (lambda x: np.add(x, 1, out=x, where=np.ones(3, bool)), ValueError, ShapeError, "mask does not fit"),
    "where that is no mask": (lambda x: np.add(x, 1, out=x, where=x), TypeError, DTypeError, "must be boolean"),
    "broadcast": (
        lambda x: operator.setitem(np.broadcast_to(x, (2, 3, 2)), 0, 1),
        ValueError, ReadOnlyError, "read-only",
    ),
    "broadcast in place": (
        lambda x: operator.iadd(np.broadcast_to(x, (2, 3, 2)), 1),
        ValueError, ReadOnlyError, "read-only",
    ),
    "view of a broadcast": (
        lambda x: operator.setitem(np.broadcast_to(x, (2, 3, 2)).T[0], 0, 1),
        ValueError, ReadOnlyError, "read-only",
    ),
    "diagonal": (lambda x: operator.setitem(np.diagonal(x), 0, 1), ValueError, ReadOnlyError, "read-only"),
    "diag": (lambda x: np.diag(x).fill(1), ValueError, ReadOnlyError, "read-only"),
    "windows": (
        lambda x: operator.setitem(np.lib.stride_tricks.sliding_window_view(x, 2, 0), 0, 1),
        ValueError, ReadOnlyError, "read-only",
    ),
    "number": (lambda x: operator.setitem(x.sum(), (), 1), TypeError, UnsupportedError, "a number cannot be"),
    "number of an index": (
        lambda x: operator.setitem(x[0, 0], ..., 1),
        TypeError, UnsupportedError, "a number cannot be written to",
    ),
    "shape": (lambda x: setattr(x.T, "shape", (6,)), AttributeError, AttributeError, "Incompatible shape"),
    "copyto shape": (lambda x: np.copyto(x, np.ones(3)), ValueError, ShapeError, "does not fit"),
    "place of nothing": (lambda x: np.place(x, x > 0, []), ValueError, ValueError, "Cannot insert from an empty array"),
    "putmask size": (lambda x: np.putmask(x, np.ones(2, bool), 1), ValueError, ShapeError, "same size"),
    "put outside": (lambda x: np.put(x, [6], 1), IndexError, IndexingError, "out of bounds"),
    "diagonal of a vector": (lambda x: np.fill_diagonal(x[0], 1), ValueError, ValueError, "at least 2-d"),
    "fill with an array": (lambda x: x.fill(np.ones(2)), ValueError, ShapeError, "must be a number"),
    "nan_to_num of a number": (lambda x: np.nan_to_num(x[0, 0], copy=False), ValueError, ValueError, "avoid copy"),
    "reshape that copies": (lambda x: x.T.reshape(-1, copy=False), ValueError, ValueError, "avoid creating a copy"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_numpy_refuses_is_refused(name: str) -> None:
    f, numpys, ours, words = REFUSED[name]
    x = np.arange(6.0).reshape(3, 2)
    if not (name == "reshape that copies" and np.lib.NumpyVersion(np.__version__) < "2.1.0"):
        with pytest.raises(numpys):
            f(x.copy())
    assert issubclass(ours, numpys)
    with pytest.raises(ours, match=words):
        graphc.trace(lambda x: f(x.copy()), x)


CASTS: dict[str, Function] = {
    "+= float": lambda x: operator.iadd(x, 1.5),
    "+= float array": lambda x: operator.iadd(x, np.ones(3)),
    "/=": lambda x: operator.itruediv(x, 2),
    "add out": lambda x: np.add(x, 1.5, out=x),
    "sqrt out": lambda x: np.sqrt(x, out=x),
    "copyto": lambda x: np.copyto(x, np.ones(3)),
    "copyto a number": lambda x: np.copyto(x, 1.5),
    "concatenate out": lambda x: np.concatenate([x[:1], np.ones(2)], out=x),
    "clip out": lambda x: np.clip(x, 0.5, 1.5, out=x),
}


@pytest.mark.parametrize("name", CASTS)
@pytest.mark.parametrize("dtype", ["i8", "i2", "?"])
def test_a_float_cannot_be_stored_among_integers(name: str, dtype: str) -> None:
    x = np.ones(3, dtype)
    with pytest.raises(TypeError):
        CASTS[name](x.copy())
    with pytest.raises(DTypeError, match="cannot be stored"):
        graphc.trace(lambda x: CASTS[name](x.copy()), x)


OUT: dict[str, Function] = {
    "ufunc": lambda x, y: np.add(x, 1, out=y),
    "positional": lambda x, y: np.add(x, 1, y),
    "a tuple": lambda x, y: np.add(x, 1, out=(y,)),
    "of plain operands": lambda x, y: np.add(np.ones(3), 1, out=y),
    "broadcast": lambda x, y: np.add(x[0], x[0, :1], out=y),
    "where": lambda x, y: np.sqrt(x, out=y, where=x > 2),
    "a known mask": lambda x, y: np.divide(1, x, out=y, where=np.array([True, False, True])),
    "casting": lambda x, y: np.add(x, 1, out=y.astype(int), casting="unsafe"),
    "two results": lambda x, y: np.modf(x, out=(y, x))[0],
    "one of two": lambda x, y: np.modf(x, out=(None, y)),
    "itself": lambda x, y: np.multiply(x, x[::-1], out=x),
    "a view": lambda x, y: (np.exp(x[0], out=y[1]), y),
    "sum": lambda x, y: np.sum(x, axis=1, out=y[:, 0]),
    "sum in its dtype": lambda x, y: np.sum(x * 1.6, axis=0, out=y[0].astype(int)),
    "sum method": lambda x, y: x.sum(axis=0, out=y[0]),
    "positional sum": lambda x, y: np.sum(x, 0, None, y[0]),
    "prod": lambda x, y: np.prod(x, axis=0, out=y[0].astype("f4")),
    "max": lambda x, y: np.max(x, axis=0, out=y[0].astype(int)),
    "any": lambda x, y: np.any(x > 3, axis=0, out=y[0]),
    "mean": lambda x, y: np.mean(x, axis=0, out=y[0]),
    "std": lambda x, y: np.std(x, axis=0, out=y[0]),
    "cumsum": lambda x, y: np.cumsum(x, axis=0, out=y),
    "argmax": lambda x, y: np.argmax(x, axis=0, out=y[0].astype(int)),
    "matmul": lambda x, y: np.matmul(x.T, x, out=y),
    "dot": lambda x, y: np.dot(x, x, out=y),
    "clip": lambda x, y: np.clip(x, 1, 3, out=y),
    "clip method": lambda x, y: x.clip(1, 3, out=y),
    "round": lambda x, y: np.round(x / 3, 1, out=y),
    "take": lambda x, y: np.take(x, [2, 0, 1], axis=0, out=y),
    "concatenate": lambda x, y: np.concatenate([x[:1], x[1:]], out=y),
    "stack": lambda x, y: np.stack([x[0], x[1], x[2]], out=y),
    "einsum": lambda x, y: np.einsum("ij,jk->ik", x, x, out=y),
    "outer": lambda x, y: np.outer(x[0], x[1], out=y),
    "median": lambda x, y: np.median(x, axis=0, out=y[0]),
    "nansum": lambda x, y: np.nansum(x, axis=0, out=y[0]),
    "reduce": lambda x, y: np.add.reduce(x, out=y[0]),
    "reduce in its dtype": lambda x, y: np.add.reduce(x * 1.6, 0, None, y[0].astype(int)),
    "accumulate": lambda x, y: np.multiply.accumulate(x, out=y),
    "outer method": lambda x, y: np.subtract.outer(x[0], x[1], out=y),
}


@pytest.mark.parametrize("name", OUT)
def test_results_are_written_into_out(name: str) -> None:
    def f(x: Any, y: Any) -> Any:
        return OUT[name](x, y), x, y

    agrees(f, np.array([[1.5, 2.0, 3.5], [4.0, 2.5, 0.5], [1.0, 6.0, 2.0]]), np.full((3, 3), 7.0))


def test_out_is_what_comes_back() -> None:
    def f(x: Any) -> Any:
        y = np.zeros_like(x)
        assert np.add(x, 1, out=y) is y
        assert np.sum(x[None], axis=0, out=y) is y
        assert np.add.reduce(x[None], out=y) is y
        assert np.modf(x, out=(y, None))[0] is y
        return y

    agrees(lambda x: f(x) if graphc.is_traced(x) else np.modf(x)[0], np.array([1.5, 2.25]))


def test_plain_arrays_are_not_written_to() -> None:
    def other_name(x: Any) -> Any:
        total = same = np.zeros(3)
        total += x
        return same

    def view(x: Any) -> Any:
        total = np.zeros(3)
        part = total[:]
        part += x
        return total

    def viewed(x: Any) -> Any:
        total = np.zeros(3)
        part = total[:2]
        total += x
        return part

    def in_a_list(x: Any) -> Any:
        totals = [np.zeros(3)]
        totals[0] += x
        return totals

    def of_the_caller(x: Any) -> Any:
        def add(total: Any) -> None:
            total += x

        total = np.zeros(3)
        add(total)
        return total

    outside = np.zeros(3)

    def closed_over(x: Any) -> Any:
        nonlocal outside
        outside += x
        return outside

    def of_a_closure(x: Any) -> Any:
        total = outside
        total += x
        return total

    for f in (
        other_name,
        view,
        viewed,
        in_a_list,
        of_the_caller,
        closed_over,
        of_a_closure,
        lambda x: np.add(x, 1, out=np.zeros(3)),
        lambda x: np.sum(x[None], axis=0, out=np.zeros(3)),
        lambda x: np.matmul(x, np.eye(3), out=np.zeros(3)),
        lambda x: np.copyto(np.zeros(3), x),
        lambda x: np.put(np.zeros(3), [0], x[0]),
        lambda x: np.add.reduce(x[None], out=np.zeros(3)),
    ):
        with pytest.raises(UnsupportedError, match=r"into a plain NumPy array(.|\n)*zeros_like"):
            graphc.trace(f, "f64[3]")
    assert not outside.any()


def test_a_variable_that_alone_holds_a_plain_array_becomes_a_traced_one() -> None:
    def loop(x: Any) -> Any:
        total = np.zeros((2, 3))
        for k in range(3):
            total += x * k
        total[0] = 1
        return total, total[1]

    def operators(x: Any) -> Any:
        y = np.full(3, 7.0)
        y -= x
        y *= x + 1
        z = np.full(3, 7.0)
        z /= x + 1
        w = np.full(3, 7.0)
        w **= x
        v = np.full(3, 7.0)
        v //= x + 1
        u = np.full(3, 7.0)
        u %= x + 1
        return y, z, w, v, u

    def integers(x: Any) -> Any:
        k = x.astype(int)
        y = np.full(3, 7)
        y <<= k
        z = np.full(3, 7)
        z >>= k
        w = np.full(3, 7)
        w &= k
        v = np.full(3, 7)
        v |= k
        u = np.full(3, 7)
        u ^= k
        return y, z, w, v, u

    def product(x: Any) -> Any:
        y = np.eye(3) * 2
        y @= x[:, None] * np.ones(3)
        return y

    def without_axes(x: Any) -> Any:
        y = np.array(2.0)
        y += x.sum()
        return y

    def order(x: Any) -> Any:
        y = np.ones((3, 3), order="F")
        y += x
        return y.ravel("K")

    def after_other_writes(x: Any) -> Any:
        first = x.copy()
        first[0] = 5
        y = np.zeros(3)
        y += first
        return y

    def argument(x: Any) -> Any:
        def add(total: Any) -> Any:
            total += x
            return total

        return add(np.zeros(3))

    x = np.arange(3.0)
    for f in (loop, operators, integers, product, without_axes, order, after_other_writes, argument):
        for actual, expected in zip(leaves(graphc.jit(f)(x)), leaves(f(x)), strict=True):
            np.testing.assert_array_equal(actual, expected)
            assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(graphc.grad(lambda v: loop(v)[1] @ v)(x), 6 * x)
    inner = graphc.grad(lambda v: graphc.grad(lambda w: (loop(w)[1] * w).sum())(v).sum())
    np.testing.assert_array_equal(inner(x), [6, 6, 6])

    def kinds(x: Any) -> Any:
        y = np.zeros(3, int)
        y += x
        return y

    with pytest.raises(DTypeError, match="int64"):
        graphc.jit(kinds)(x)


def leaves(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple) else [result]


# --- where arrays come from ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda x: np.zeros_like(x), lambda x: np.empty_like(x), lambda x: np.full_like(x, 3),
        lambda x: np.zeros(3, like=x), lambda x: np.ones(3, like=x), lambda x: np.full(3, 2.0, like=x),
        lambda x: gnp.zeros(3), lambda x: gnp.ones(3), lambda x: gnp.empty(3), lambda x: gnp.full(3, 2.0),
        lambda x: gnp.zeros_like(np.ones(3)), lambda x: gnp.eye(3)[0].copy(), lambda x: gnp.identity(3)[1].copy(),
        lambda x: np.eye(3, like=x)[0].copy(), lambda x: np.arange(3.0, like=x),
        lambda x: np.array([1.0, 2.0, 3.0], like=x),
        lambda x: gnp.array([x[0], 1.0, 2.0]), lambda x: x * 2, lambda x: np.concatenate([x[:1], np.ones(2)]),
        lambda x: np.stack([x, x])[0],
    ],
)  # fmt: skip
def test_arrays_made_in_a_trace_can_be_written_to(make: Function) -> None:
    def f(x: Any) -> Any:
        y = make(x)
        y[0] = x[1]
        y[1:] = x[:-1] * 2
        return y

    x = np.array([1.0, 2.0, 4.0])
    np.testing.assert_array_equal(graphc.jit(f)(x), [2, 2, 4])
    np.testing.assert_array_equal(x, [1, 2, 4])


def test_makers_outside_a_trace_make_plain_arrays() -> None:
    assert type(gnp.zeros(3)) is np.ndarray
    assert type(gnp.full_like(np.ones(2), 3)) is np.ndarray


# --- nested traces ------------------------------------------------------------------------------------------


def test_an_array_of_the_surrounding_trace_is_not_written_to() -> None:
    def outer(write: Function, x: Any) -> Any:
        y = x * 2
        view = y[:1]

        def inner(v: Any) -> Any:
            write(y, view, v)
            return v.sum()

        return graphc.grad(inner)(x)

    for one in (
        lambda y, view, v: operator.iadd(y, v),
        lambda y, view, v: operator.setitem(y, 0, 3.0),
        lambda y, view, v: operator.setitem(view, 0, v[0]),
        lambda y, view, v: y.sort(),
        lambda y, view, v: np.add(v, v, out=y),
    ):
        with pytest.raises(UnsupportedError, match=r"of the surrounding trace(.|\n)*copy\(\)"):
            graphc.trace(lambda x, write=one: outer(write, x), "f64[2]")


def test_inner_functions_write_into_their_own_arrays() -> None:
    def f(x: Any, scale: Any) -> Any:
        def inner(v: Any, s: Any) -> Any:
            s *= v[0]
            buffer = np.zeros_like(scale)  # of the surrounding trace's values, made here
            buffer[0] = v.sum()
            buffer[1:] = s[1:] * v[1:]
            v[1] = 0
            return (buffer * v).sum()

        value, slope = graphc.value_and_grad(inner)(x, scale)
        return value, slope, x, scale

    def exact(x: Any, scale: Any) -> Any:
        s = scale * x[0]
        a, b, c = x
        value = (a + b + c) * a + s[2] * c * c
        return value, np.array([2 * a + b + c + scale[2] * c * c, a, a + 2 * s[2] * c]), x, scale

    x, scale = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.25, 2.0])
    for have, want in zip(graphc.jit(f)(x, scale), exact(x, scale), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-14)


def test_jit_and_transforms_never_touch_their_arguments() -> None:
    @graphc.jit
    def clear(v: Any) -> Any:
        v[...] = 0
        return v

    def f(x: Any) -> Any:
        y = x * 1
        zeros = clear(y)
        return y, zeros, graphc.jvp(clear, (y,), (y,))[0], graphc.vjp(clear, y)[0], y

    x = np.array([1.0, 2.0])
    found = graphc.jit(f)(x)
    for k, want in enumerate([x, 0 * x, 0 * x, 0 * x, x]):
        np.testing.assert_array_equal(found[k], want)


def test_a_write_to_a_leaked_value_is_refused() -> None:
    kept: list[Any] = []
    graphc.trace(lambda x: kept.append(x * 2) or x, "f64[3]")
    graphc.trace(lambda x: kept.extend([(y := x * 3), y[1:], y.T]) or x, "f64[3]")
    for value in kept:
        with pytest.raises(LeakedTracerError):
            value[0] = 1.0
        with pytest.raises(LeakedTracerError):
            value += 1


def test_expressions() -> None:
    x = graphc.symbol("x", "f64[3]")
    y = np.zeros_like(x)
    part = y[1:]
    part += x[:2] ** 2
    (slope,) = graphc.gradients(y.sum(), [x])
    f = graphc.compile([x], [y, slope])
    np.testing.assert_array_equal(f(np.array([1.0, 2.0, 3.0]))[0], [0, 1, 4])
    np.testing.assert_array_equal(f(np.array([1.0, 2.0, 3.0]))[1], [2, 4, 0])


# --- derivatives --------------------------------------------------------------------------------------------


def recurrence(x: Any) -> Any:
    y = np.zeros_like(x)
    y[0] = x[0]
    for k in range(1, len(x)):
        y[k] = np.sin(y[k - 1]) * x[k]
    return y


def recurrence_exactly(x: Any) -> Any:
    values = [x[0]]
    for k in range(1, len(x)):
        values.append(np.sin(values[-1]) * x[k])
    return gnp.stack(values)


def smoothing(x: Any) -> Any:
    y = x**2
    for _ in range(2):
        y[1:-1] += 0.1 * (y[2:] - 2 * y[1:-1] + y[:-2])
    y[0] = y[-1]
    return y


def smoothing_exactly(x: Any) -> Any:
    y = x**2
    for _ in range(2):
        y = gnp.concatenate([y[:1], y[1:-1] + 0.1 * (y[2:] - 2 * y[1:-1] + y[:-2]), y[-1:]])
    return gnp.concatenate([y[-1:], y[1:]])


def masked(x: Any) -> Any:
    y = np.log(x - 1)
    y[x <= 2] = 0
    y[x > 3] *= x[0]
    return y


def masked_exactly(x: Any) -> Any:
    y = np.where(x <= 2, 0, np.log(x - 1))
    return np.where(x > 3, y * x[0], y)


def matrix_views(x: Any) -> Any:
    a = np.outer(x, x)
    a.T[0] = x**3
    np.fill_diagonal(a, x)
    a.ravel()[1::2] *= 2
    a[[0, 2]] = a[[2, 0]]
    return a


def matrix_views_exactly(x: Any) -> Any:
    a = np.outer(x, x)
    a = gnp.concatenate([(x**3)[:, None], a[:, 1:]], axis=1)
    n = len(x)
    a = np.where(np.eye(n, dtype=bool), x[:, None], a)
    a = np.where(np.arange(n * n).reshape(n, n) % 2 == 1, 2 * a, a)
    return a[np.array([2, 1, 0, *range(3, n)])]


def scattered(x: Any) -> Any:
    y = np.zeros_like(x)
    np.add.at(y, [0, 1, 0, 3], x)
    np.multiply(y, x, out=y, where=x > 2)
    y.sort()
    y[np.argmax(x)] += x[0]
    return y


def scattered_exactly(x: Any) -> Any:
    y = gnp.stack([x[0] + x[2], x[1], 0 * x[0], x[3]])
    y = np.sort(np.where(x > 2, y * x, y))
    return y + np.where(np.arange(4) == np.argmax(x), x[0], 0)


PROGRAMS = [
    (recurrence, recurrence_exactly),
    (smoothing, smoothing_exactly),
    (masked, masked_exactly),
    (matrix_views, matrix_views_exactly),
    (scattered, scattered_exactly),
]
POINT = np.array([1.5, 2.5, 3.25, 4.0])


@pytest.mark.parametrize(("f", "exact"), PROGRAMS, ids=lambda f: f.__name__)
def test_derivatives_of_every_order_and_mode(f: Function, exact: Function) -> None:
    np.testing.assert_allclose(f(POINT), exact(POINT), rtol=1e-14)

    def total(g: Function) -> Function:
        return lambda x: (g(x) ** 2).sum() + g(x).sum()

    for transform in (
        lambda g: g,
        graphc.jacrev,
        graphc.jacfwd,
        lambda g: graphc.grad(total(g)),
        lambda g: graphc.hessian(total(g)),
        lambda g: graphc.grad(lambda x: graphc.grad(total(g))(x).sum()),
        lambda g: graphc.jacfwd(graphc.jacrev(graphc.jacfwd(total(g)))),
        lambda g: lambda x: graphc.jvp(g, (x,), (x,)),
        lambda g: lambda x: graphc.vjp(g, x)[1](g(x)),
        lambda g: lambda x: graphc.linearize(g, x)[1](x),
    ):
        have, want = (optree.tree_leaves(graphc.jit(transform(g))(POINT)) for g in (f, exact))
        for a, b in zip(have, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("f", [f for f, _ in PROGRAMS], ids=lambda f: f.__name__)
def test_derivatives_are_finite_differences(f: Function) -> None:
    step = 1e-6
    columns = [(f(POINT + step * e) - f(POINT - step * e)) / (2 * step) for e in np.eye(4)]
    np.testing.assert_allclose(graphc.jacobian(f)(POINT), np.stack(columns, axis=-1), rtol=1e-7, atol=1e-7)


def test_what_was_overwritten_leaves_no_nan() -> None:
    def f(x: Any) -> Any:
        y = np.log(x)
        y[0] = 0
        y[x > 3] = 1
        return y.sum()

    x = np.array([0.0, 2.0, np.inf])
    np.testing.assert_array_equal(graphc.grad(f)(x), [0, 0.5, 0])
    np.testing.assert_array_equal(graphc.hessian(f)(x)[1, 1], -0.25)


def test_verified() -> None:
    def f(x: Any) -> Any:
        y = np.zeros_like(x)
        y[0] = x[1] ** 2
        y[1:] += x[:-1] * y[0]
        return y

    assert graphc.verify(f, "f64[3]").verdict == "proved"


# --- sizes with names ---------------------------------------------------------------------------------------


def symbolic_sizes(x: Any) -> Any:
    n, m = x.shape
    y = gnp.zeros((n + 1, m))
    y[1:] += x
    y[0] = x[-1]
    rows = y[::-1]
    y[:, 0] = 0
    y.T[1] *= 2
    y.reshape(-1)[1] = 7
    flat = x.reshape(n * m)
    flat[::2] = 1
    y[:-1] -= x
    np.diagonal(y)
    np.einsum("ii->i", y[:2, :2])[...] = 5
    return y, rows, x, flat


def test_symbolic_sizes() -> None:
    compiled = graphc.compile(symbolic_sizes, "f64[n,m]")
    for shape in ((2, 2), (3, 4), (4, 3), (5, 2)):
        x = np.arange(float(np.prod(shape))).reshape(shape)
        for have, want in zip(compiled(x), symbolic_sizes(x.copy()), strict=True):
            np.testing.assert_array_equal(have, want)
    assert graphc.jit(symbolic_sizes)(np.ones((2, 3)))[0].shape == (3, 3)


def test_jit_compiles_in_place_code_once_for_all_sizes() -> None:
    @graphc.jit
    def f(x: Any) -> Any:
        x[1:] += x[:-1]
        return x

    for n in (4, 5, 6, 7):
        np.testing.assert_array_equal(f(np.ones(n)), [1, *[2] * (n - 1)])
    assert len(f.explain().splitlines()) == 2


def test_a_reshape_that_copies_unless_a_size_is_1() -> None:
    def f(x: Any) -> Any:
        flat = x.T.reshape(-1)
        flat[0] = 7
        return x, flat

    compiled = graphc.compile(f, "f64[n,3]")
    x = np.arange(6.0).reshape(2, 3)
    for have, want in zip(compiled(x), f(x.copy()), strict=True):
        np.testing.assert_array_equal(have, want)
    with pytest.raises(graphc.errors.GuardError, match="n != 1"):
        compiled(np.ones((1, 3)))
    # where nothing is written to, it makes no difference
    assert graphc.trace(lambda x: x.T.reshape(-1) + 1, "f64[n,3]").guards == ()
    assert graphc.trace(lambda x: f(x * 2)[1], "f64[n,3]").guards != ()


def test_an_order_in_memory_that_is_not_known() -> None:
    def f(x: Any, whole: bool) -> Any:
        a = np.kron(x.T, np.ones((2, 1)))  # how NumPy lays this out is not asked
        line = a.reshape(-1)
        if whole:
            del a
        line[0] = 3
        return line

    with pytest.raises(UnsupportedError, match=r"order in memory(.|\n)*copy"):
        graphc.trace(lambda x: f(x, False), "f64[2,3]")
    assert graphc.trace(lambda x: f(x, True), "f64[2,3]").output_types[0].shape == (12,)


# --- cost ---------------------------------------------------------------------------------------------------


def test_a_loop_of_writes_traces_to_a_graph_of_its_length() -> None:
    def f(x: Any) -> Any:
        y = np.zeros_like(x)
        for k in range(len(x)):
            y[k] = x[k] + (y[k - 1] if k else 0)
        return y

    sizes = [len(graphc.trace(f, f"f64[{n}]")) for n in (100, 200, 400)]
    assert sizes[2] - sizes[1] == 2 * (sizes[1] - sizes[0])
    compiled = graphc.compile(f, "f64[400]")
    assert "insert_slice" not in compiled.source
    np.testing.assert_allclose(compiled(np.ones(400)), np.arange(1.0, 401.0))


def test_views_that_nobody_reads_cost_nothing() -> None:
    def f(x: Any) -> Any:
        rows = [x[k] for k in range(50)]
        for k in range(50):
            x[k] = k
        return x, rows[3]

    graph = graphc.trace(f, "f64[50,2]")
    assert len(graph) < 50 * 5 + 10
