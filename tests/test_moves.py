"""Numbers at constant positions are moved by machine code, into arrays that are cleared piece by piece on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc.backends.numpy.arrays import LARGE
from graphc.compiler import Compiled
from graphc.ir import Builder, TensorType
from graphc.ops import functions
from graphc.ops.world import GraphWorld, Value

pytest.importorskip("llvmlite", reason="machine code moves them")
from graphc.backends.numpy.llvm import entry, moves, steps
from graphc.backends.numpy.llvm.instructions import Clear, Moves, Rows

pytestmark = pytest.mark.skipif(not entry.SUPPORTED, reason="arrays are not laid out as machine code expects")
RNG = np.random.default_rng(21)
F64 = np.dtype(np.float64)
# bytes of a result: around the least that is cleared by pieces, ends within a piece, around the most
SIZES = (8, 4096, moves.FROM - 8, moves.FROM, moves.FROM + 8, 80_000, moves.UP_TO, moves.UP_TO + 8)


def scattered(
    count: int, dtype: Any, positions: tuple[Any, ...], shape: tuple[int, ...], axis: int = 0
) -> tuple[Compiled, Any]:
    """The function that adds to zeros, and numbers for it, zeros of either sign among them."""
    w = GraphWorld(Builder("scattered"))
    type = TensorType((count,), np.dtype(dtype))
    u = Value(w, w.builder.input("u", type))
    result = w.scatter_add(u, *[w.constant(np.asarray(p)) for p in positions], axis=axis, shape=shape)
    numbers = (RNG.normal(size=count) * 50).astype(dtype)
    numbers[::3] = 0
    if type.dtype.kind == "f":
        numbers[::6] = -0.0
        numbers[1::7] = np.nan
    return Compiled(w.builder.finish([result.id]), None, None), numbers


def agree(compiled: Compiled, numbers: Any, positions: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    expected = functions.scatter_add(numbers, tuple(map(np.asarray, positions)), 0, shape)
    for _ in range(2):  # the second time in memory that the first has filled
        (found,) = compiled(numbers)
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        np.testing.assert_array_equal(found, expected)
        if found.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
        found[...] = 7


def kinds(compiled: Compiled) -> list[type]:
    return [type(instruction) for instruction in steps.lower(compiled.plan).instructions]


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i4", "i2", "u1"])
@pytest.mark.parametrize("nbytes", SIZES)
def test_distinct_positions(nbytes: int, dtype: str) -> None:
    size = nbytes // np.dtype(dtype).itemsize
    for count in sorted({1, min(size, 5), max(size // 3, 1), max(size // 2, 1)}):
        places = np.sort(RNG.choice(size, count, replace=False))
        if count > 1:
            places[[0, -1]] = 0, size - 1
        compiled, numbers = scattered(count, dtype, (places,), (size,))
        assert Rows not in kinds(compiled)
        assert (Clear in kinds(compiled)) == (not moves.FROM <= nbytes <= moves.UP_TO)
        agree(compiled, numbers, (places,), (size,))


def test_all_numbers_in_one_piece() -> None:
    for first in (0, 511, 512, 3000, 9700):
        places = np.arange(first, first + 300)
        agree(*scattered(300, "f8", (places,), (10_000,)), (places,), (10_000,))


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        pytest.param(np.array([9, 4, 7000]), [Clear, Moves], id="not ascending"),
        pytest.param(np.array([4, 9, -1]), [Moves], id="from the end"),
        pytest.param(np.array([-9999, 5000, -1], np.int16), [Moves], id="small integers"),
        pytest.param(np.array([4, 4, 9]), [Clear, Rows], id="twice"),
        pytest.param(np.array([4, 9996, -4]), [Clear, Rows], id="twice, once from the end"),
        pytest.param(np.zeros(0, np.int64), [Clear, Rows], id="none"),
    ],
)
def test_which_positions_are_moved(places: Any, expected: list[type]) -> None:
    compiled, numbers = scattered(len(places), "f8", (places,), (10_000,))
    assert kinds(compiled) == expected
    agree(compiled, numbers, (places,), (10_000,))


@pytest.mark.parametrize("bad", [10_000, -10_001])
def test_positions_outside_are_numpys_error(bad: int) -> None:
    compiled, numbers = scattered(2, "f8", (np.array([3, bad]),), (10_000,))
    with pytest.raises(IndexError, match=f"index {bad} is out of bounds for axis 0 with size 10000"):
        compiled(numbers)


def test_positions_along_two_axes() -> None:
    rows, columns = np.arange(0, 90, 3), -1 - np.arange(30)
    compiled, numbers = scattered(30, "f8", (rows, columns), (90, 110))
    assert kinds(compiled) == [Moves]
    agree(compiled, numbers, (rows, columns), (90, 110))


def test_half_precision_is_added() -> None:
    places = np.arange(0, 20_000, 7)
    compiled, numbers = scattered(len(places), "f2", (places,), (20_000,))
    assert Moves not in kinds(compiled)
    agree(compiled, numbers, (places,), (20_000,))


def test_one_number_without_axes() -> None:
    w = GraphWorld(Builder("one"))
    u = Value(w, w.builder.input("u", TensorType((), F64)))
    graph = w.builder.finish([w.scatter_add(u, w.constant(np.array(8192)), axis=0, shape=(10_000,)).id])
    (found,) = Compiled(graph, None, None)(np.float64(-0.5))
    assert found[8192] == -0.5
    assert np.count_nonzero(found) == 1


def stencil(x: Any) -> Any:
    return x[1:-1] * (x[2:] - 2 * x[1:-1] + x[:-2]) + np.sin(x[1:-1])


def bilinear(x: Any) -> Any:
    return np.sum(x[:-2] * x[1:-1] * 3 + x[:-2] * x[2:])


def blocks(x: Any) -> Any:
    return np.sum(np.prod(x.reshape(-1, 4), axis=1))


def by_positions(x: Any) -> Any:
    i = np.arange(0, 98, 2)
    return np.sum(x[i] ** 2 * x[i + 1])


@pytest.mark.parametrize("f", [graphc.jacfwd(stencil), graphc.jacrev(stencil), graphc.hessian(bilinear)])
def test_banded_derivatives(f: Any) -> None:
    x = RNG.normal(size=100)
    compiled = graphc.compile(f, x)
    found = compiled(x)
    assert kinds(compiled)[-1] is Moves
    assert Clear not in kinds(compiled)
    np.testing.assert_array_equal(found, f(x))
    step = 1e-6
    g = graphc.grad(bilinear) if found.shape == (100, 100) else stencil
    for k in (0, 1, 50, 99):
        e = np.eye(100)[k] * step
        np.testing.assert_allclose(found[:, k], (g(x + e) - g(x - e)) / (2 * step), atol=1e-7)


@pytest.mark.parametrize("f", [blocks, by_positions])
def test_hessians_of_blocks(f: Any) -> None:
    x = RNG.normal(size=100)
    found = graphc.compile(graphc.hessian(f), x)(x)
    dense = np.stack([graphc.hvp(f)(x, row) for row in np.eye(100)])
    np.testing.assert_allclose(found, dense, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(found == 0, dense == 0)


def test_a_result_that_was_written_to_is_cleared_again() -> None:
    """Memory that a caller has written to serves again."""
    x = RNG.normal(size=100)
    f = graphc.compile(graphc.hessian(bilinear), x)
    first = f(x)
    expected = first.copy()
    assert first.nbytes >= LARGE
    first[...] = np.inf
    address = first.ctypes.data
    del first
    again = f(x)
    assert again.ctypes.data == address
    np.testing.assert_array_equal(again, expected)
