"""Indexing of every kind against NumPy: values, and gradients, which scatter what the index gathered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import graphc

X = np.arange(60.0).reshape(3, 4, 5) + 1
MASK2 = np.array([[True, False, True, False], [False] * 4, [True, True, False, True]])
KEYS: tuple[Any, ...] = (
    0,
    -1,
    np.int64(2),
    (1, 2, 3),
    (-1, -1),
    Ellipsis,
    (),
    (Ellipsis, 0),
    (0, Ellipsis, 0),
    None,
    (None, 0, None, Ellipsis, None),
    slice(None),
    slice(None, None, -1),
    slice(1, None, 2),
    slice(-1, None, -2),
    slice(5, 1),
    slice(2, 0, -1),
    slice(-100, 100),
    slice(100, -100, -1),
    (slice(None), slice(3, 0, -2), slice(-2, None)),
    (slice(None), 1, slice(None, None, -1)),
    [0, 2, 2],
    np.array([], int),
    [],
    np.array([[0, -1], [1, 1]]),
    (slice(None), [3, 0, 0]),
    ([0, 1], [1, 2]),
    ([0, 1], [1, 2], [3, 4]),
    ([0, 1], slice(None), [3, 4]),
    (0, slice(None), [3, 4]),
    ([0, 1], slice(None), 2),
    (slice(None), [0, 1], 2),
    (slice(None), 2, [0, 1]),
    (2, [0, 1], slice(None)),
    ([[0], [1]], [0, 2]),
    ([[0], [1]], slice(None), [0, 2]),
    (None, [0, 1], None, [1, 2]),
    ([0, 1], None, [1, 2]),
    (np.array(1), slice(None)),
    (np.array(1), [0, 1]),
    (Ellipsis, [0, 1], None),
    (np.array([0, 2], np.uint8), slice(1, 3)),
    (np.array([0, -1], np.int8),),
    MASK2,
    X > 30,
    X < 0,
    (slice(None), MASK2[0]),
    (MASK2[:, 0], [0, 1]),
    (MASK2[:, 0], slice(None), np.array([0, 1])),
    (MASK2, 0),
    (MASK2, [0, 1, 2, 3, 4]),
    (slice(None), np.array([True, False, True, False]), -1),
    [True, False, True],
    (Ellipsis, np.array([True, False, True, True, False])),
)
BAD_KEYS: tuple[Any, ...] = (
    3,
    -4,
    (0, 0, 0, 0),
    (Ellipsis, Ellipsis),
    1.0,
    "a",
    [0, 3],
    np.array([-4]),
    np.array([0.5]),
    ([0, 1], [0, 1, 2]),
    slice(None, None, 0),
    np.array([True, False]),
    (slice(None), MASK2),
)


def weights(shape: Any) -> Any:
    return np.cos(np.arange(np.prod(shape, dtype=int)) + 1.0).reshape(shape)


def check(x: Any, key: Any) -> None:
    __tracebackhide__ = True
    expected = x[key]
    same(graphc.compile(lambda v: v[key], x)(x), expected)
    # the gradient of a weighted sum of what was picked is the weights, added up where they were picked from
    w = weights(np.shape(expected))
    scattered = np.zeros(x.shape)
    np.add.at(scattered, key, w)
    np.testing.assert_allclose(graphc.grad(lambda v: np.sum(v[key] * w))(x), scattered, rtol=1e-14, atol=1e-14)
    t = weights(x.shape)
    same(graphc.jvp(lambda v: v[key], (x,), (t,))[1], t[key])


def same(actual: Any, expected: Any) -> None:
    __tracebackhide__ = True
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: repr(key).replace("\n", "")[:40])
def test_keys(key: Any) -> None:
    check(X, key)


@pytest.mark.parametrize("key", BAD_KEYS, ids=lambda key: repr(key).replace("\n", "")[:40])
def test_bad_keys(key: Any) -> None:
    with pytest.raises((IndexError, ValueError, TypeError)) as expected:
        X[key]
    with pytest.raises((IndexError, ValueError, TypeError)) as actual:
        graphc.compile(lambda v: v[key], X)
    if isinstance(expected.value, IndexError):
        assert isinstance(actual.value, (IndexError, ValueError))


def test_python_booleans_as_keys_are_refused() -> None:
    for key in (True, False, np.True_):
        with pytest.raises(TypeError, match="mask"):
            graphc.compile(lambda v, k=key: v[k], X)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_random_basic_and_advanced_keys(data: Any) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
    x = np.arange(np.prod(shape, dtype=int), dtype=float).reshape(shape)
    kind = data.draw(st.sampled_from(["basic", "integers", "mixed"]))
    if kind == "basic" or 0 in shape:
        key: Any = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
    elif kind == "integers":
        key = data.draw(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3)))
    else:
        key = tuple(data.draw(item(size)) for size in shape[: data.draw(st.integers(1, len(shape)))])
        for place in data.draw(st.lists(st.integers(0, len(key)), max_size=2)):
            key = (*key[:place], None, *key[place:])
    check(x, key)


def item(size: int) -> Any:
    index = st.integers(-size, size - 1)
    return st.one_of(
        index,
        st.slices(size),
        st.lists(index, min_size=2, max_size=2).map(np.array),
        st.lists(st.lists(index, min_size=2, max_size=2), min_size=1, max_size=2).map(np.array),
    )


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8])
def test_traced_indices(dtype: Any) -> None:
    index = np.array([0, 2, 2, 1], dtype)
    same(graphc.compile(lambda v, i: v[i], X, index)(X, index), X[index])
    same(graphc.compile(lambda v, i: v[:, 0, i], X, index)(X, index), X[:, 0, index])
    same(graphc.compile(lambda v, i: v[i, None, i], X, index)(X, index), X[index, None, index])
    same(graphc.compile(lambda v, i: v[i[0]], X, index)(X, index), X[index[0]])
    same(graphc.compile(lambda v, i: v[:, i[1], i], X, index)(X, index), X[:, index[1], index])
    gradient = graphc.grad(lambda v, i: np.sum(v[i] ** 2))(X, index)
    counts = np.bincount(index.astype(int), minlength=3)
    np.testing.assert_allclose(gradient, 2 * X * counts[:, None, None])
    with pytest.raises(IndexError):
        graphc.compile(lambda v, i: v[i], X, index)(X, np.array([0, 3, 0, 0], dtype))


def test_traced_masks_are_refused() -> None:
    with pytest.raises(TypeError, match=r"np\.where"):
        graphc.trace(lambda v: v[v > 0], "f64[3]")


def test_constants_indexed_by_traced_values() -> None:
    table = np.arange(6.0).reshape(3, 2)
    index = np.array([2, 0])
    same(graphc.compile(lambda i: graphc.numpy.take(table, i, axis=0), index)(index), table[index])


def test_size_0_and_size_1() -> None:
    for shape in ((0,), (1,), (0, 3), (1, 0), (1, 1)):
        x = np.ones(shape)
        for key in (slice(None), slice(None, None, -1), slice(1, None), slice(-1, None), Ellipsis, None, slice(0, 0)):
            check(x, key)
