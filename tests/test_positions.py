"""Reads and additions at positions, in machine code, mean what they mean by NumPy's functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc

pytest.importorskip("llvmlite", reason="the functions are machine code")
from graphc.backends.numpy.llvm import positions
from graphc.ops import functions

RNG = np.random.default_rng(8)
# shape of the array, axis, sizes of the positions along adjacent axes
CASES = [
    ((9000,), 0, (5000,)),
    ((5000, 3), 0, (7000,)),
    ((100, 64), 0, (300,)),
    ((100, 64), 1, (90,)),
    ((30, 20, 17), 0, (3, 200)),
    ((30, 20, 17), 1, (200, 3)),
    ((30, 20, 17), 2, (40,)),
    ((30, 0, 170), 0, (40,)),
    ((90, 170), 0, (0,)),
    ((5, 5), 0, (2, 3)),
    ((100, 64), 0, ()),
    ((100, 64), 1, ()),
]


def indices(shape: tuple[int, ...], axis: int, wanted: tuple[int, ...], count: int, dtype: Any) -> tuple[Any, ...]:
    sizes = shape[axis : axis + count]
    return tuple(RNG.integers(-d, d, wanted if k == 0 else wanted[-1:]).astype(dtype) for k, d in enumerate(sizes))


@pytest.mark.parametrize(("shape", "axis", "wanted"), CASES)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i8", "u1", "f2", "c16", "?"])
def test_as_numpy(shape: tuple[int, ...], axis: int, wanted: tuple[int, ...], dtype: str) -> None:
    for count in (1, 2):
        if axis + count > len(shape) or 0 in shape[axis : axis + count]:
            continue
        where = indices(shape, axis, wanted, count, "i4" if count == 1 else "i8")
        x = (RNG.normal(size=shape) * 50).astype(dtype)
        found = positions.gather(x, where, axis)
        expected = functions.gather(x, where, axis)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
        assert not np.shares_memory(found, x)
        added = positions.scatter_add(expected, where, axis, shape)
        reference = functions.scatter_add(expected, where, axis, shape)
        assert added.dtype == reference.dtype
        np.testing.assert_array_equal(added, reference)


def test_arrays_that_are_not_dense() -> None:
    x = RNG.normal(size=(200, 60)).T
    where = (RNG.integers(0, 60, 400),)
    np.testing.assert_array_equal(positions.gather(x, where, 0), x[where[0]])
    u = RNG.normal(size=(200, 400)).T
    np.testing.assert_array_equal(
        positions.scatter_add(u, where, 0, (60, 200)), functions.scatter_add(u, where, 0, (60, 200))
    )


@pytest.mark.parametrize("bad", [60, -61])
def test_positions_outside_are_numpys_error(bad: int) -> None:
    f = graphc.compile(lambda x, i: x[i], "f64[60,200]", "i64[n]")
    with pytest.raises(IndexError, match=f"index {bad} is out of bounds for axis 0 with size 60"):
        f(np.zeros((60, 200)), np.array([0, bad]))
    g = graphc.compile(lambda x, u, i: x.at[i].add(u), "f64[60]", "f64[n]", "i64[n]")
    with pytest.raises(IndexError, match=f"index {bad} is out of bounds for axis 0 with size 60"):
        g(np.zeros(60), np.ones(9000), np.full(9000, bad))


def test_the_gradient_of_an_embedding() -> None:
    table, w = RNG.normal(size=(500, 16)), RNG.normal(size=16)
    words = RNG.integers(0, 500, 900)
    gradient = graphc.grad(lambda table: ((table[words] @ w) ** 2).sum())(table)
    expected = np.zeros_like(table)
    np.add.at(expected, words, 2 * (table[words] @ w)[:, None] * w)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)


def test_the_gradient_of_numbers_picked_by_a_table_of_named_size() -> None:
    """Whether the numbers that are added are one and the same is then a question of sizes."""

    def loss(x: Any, positions: Any, w: Any) -> Any:
        return np.sum(np.take(x, positions, axis=0) * w)

    compiled = graphc.compile(graphc.grad(loss), "f64[4,1]", "i64[2,m]", "f64[2,m,1]", kernels="llvm")
    positions, w = np.array([[0, 3, 0], [1, 0, 3]]), np.arange(1.0, 7.0).reshape(2, 3, 1)
    np.testing.assert_array_equal(compiled(np.zeros((4, 1)), positions, w), [[9.0], [4.0], [0.0], [8.0]])
