"""The order in memory that traced arrays count as having is that of NumPy's arrays, and so is what is a view."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.numpy as gnp
from graphc.tracing import Traced, is_writeable, same_storage
from graphc.tracing.layout import strides_of
from graphc.tracing.strides import order_of, order_of_array, packed, reshaped
from tests import test_numpy, test_numpy_structure
from tests.test_numpy import outcome
from tests.test_numpy_structure import identifiers, leaves, numbers

Function = Callable[..., Any]
ROWS: list[tuple[str, Function, Any]] = [
    *((name, f, [(2, 3, 4)]) for name, f in test_numpy.SHAPING),
    *test_numpy.PRODUCTS,
    *test_numpy_structure.JOINING,
    *test_numpy_structure.ARRANGING,
    *test_numpy_structure.DIAGONALS,
    *test_numpy_structure.VECTORS,
    *test_numpy_structure.CALCULUS,
    *test_numpy_structure.SELECTING,
    *((f"einsum {text}", partial(np.einsum, text), shapes) for text, shapes in test_numpy_structure.EINSUMS),
    *((name, getattr(np, name), [(2, 3)]) for name in test_numpy.UNARY),
    *((name, getattr(np, name), [(2, 3), (2, 3)]) for name in test_numpy.BINARY),
    ("copy", lambda x: np.copy(x), [(2, 3)]),
    ("copy method", lambda x: x.copy(), [(2, 3)]),
    ("copy K", lambda x: x.copy(order="K"), [(2, 3, 4)]),
    ("copy F", lambda x: x.copy(order="F"), [(2, 3)]),
    ("copy A", lambda x: x.copy(order="A"), [(2, 3)]),
    ("zeros_like", lambda x: np.zeros_like(x), [(2, 3, 4)]),
    ("full_like", lambda x: np.full_like(x, 1, order="F"), [(2, 3)]),
    ("ones_like", lambda x: np.ones_like(x, order="C"), [(2, 3)]),
    ("empty_like", lambda x: np.empty_like(x, shape=(3, 2)), [(2, 3)]),
    ("zeros", lambda x: np.zeros((2, 3), order="F", like=x), [(2, 3)]),
    ("astype", lambda x: x.astype("f4"), [(2, 3, 4)]),
    ("astype C", lambda x: x.astype("f4", order="C"), [(2, 3)]),
    ("astype itself", lambda x: x.astype(x.dtype), [(2, 3)]),
    ("broadcast", lambda x, y: x + y, [(2, 3), (3,)]),
    ("broadcast column", lambda x, y: x * y, [(2, 3), (2, 1)]),
    ("three operands", lambda x, y: np.where(x > 0, x.T, y), [(3, 3), (3, 3)]),
    ("of a broadcast", lambda x: np.broadcast_to(x, (2, 2, 3)) + 1, [(2, 3)]),
    ("of a strided", lambda x: x[:, ::-1] * 2, [(2, 3, 4)]),
    ("of a view", lambda x: np.swapaxes(x, 0, 1)[1:] - 1, [(2, 3, 4)]),
    ("a constant", lambda x: x + np.asfortranarray(np.ones((2, 3))), [(2, 3)]),
    ("rows by positions", lambda x: x[[0, 1, 1]], [(2, 3, 4)]),
    ("columns by positions", lambda x: x[:, [0, 2, 1, 0]], [(2, 3, 4)]),
    ("last by positions", lambda x: x[..., [0, 2]], [(2, 3, 4)]),
    ("by two", lambda x: x[[0, 1], :, [1, 2]], [(2, 3, 4)]),
    ("by two together", lambda x: x[:, [0, 1, 2], [1, 2, 3]], [(2, 3, 4)]),
    ("by a table", lambda x: x[:, [[0, 1], [2, 0]]], [(2, 3, 4)]),
    ("by a mask", lambda x: x[:, np.array([True, False, True])], [(2, 3, 4)]),
    ("take", lambda x: np.take(x, [0, 2, 1], axis=1), [(2, 3, 4)]),
    ("sum", lambda x: x.sum(axis=1), [(2, 3, 4)]),
    ("keepdims", lambda x: x.sum(axis=0, keepdims=True), [(2, 3, 4)]),
    ("max", lambda x: x.max(axis=2), [(2, 3, 4)]),
    ("cumsum", lambda x: np.cumsum(x, axis=1), [(2, 3, 4)]),
    ("sort", lambda x: np.sort(x, axis=0), [(2, 3, 4)]),
    ("argsort", lambda x: np.argsort(x, axis=0), [(2, 3, 4)]),
    ("ravel K", lambda x: x.ravel(order="K"), [(2, 3, 4)]),
    ("ravel A", lambda x: x.ravel(order="A"), [(2, 3)]),
    ("ravel of a column", lambda x: x[:, 0].ravel(), [(2, 3)]),
    ("reshape of a column", lambda x: x[:, 0].reshape(2, 1), [(2, 3)]),
    ("contiguous", lambda x: gnp.ascontiguousarray(x), [(2, 3)]),
    ("fortran", lambda x: gnp.asfortranarray(x), [(2, 3)]),
    ("contiguous column", lambda x: gnp.ascontiguousarray(x[:, 0]), [(2, 3)]),
    ("as it is", lambda x: gnp.asarray(x), [(2, 3)]),
]  # fmt: skip
ORDERS: dict[str, Callable[[Any], Any]] = {
    "C": lambda x: x,
    "F": lambda x: x.T.copy().T,
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x,
}


@pytest.mark.parametrize(("name", "f", "shapes"), ROWS, ids=identifiers(ROWS))
@pytest.mark.parametrize("order", ORDERS)
def test_results_lie_in_memory_as_numpys_do(name: str, f: Function, shapes: Any, order: str) -> None:
    arrays = [numbers(shape, seed=k) for k, shape in enumerate(shapes)]
    plain = [ORDERS[order](np.array(a)) for a in arrays]
    result = outcome(f, *plain)
    if isinstance(result, Exception):
        return
    expected = leaves(result)

    def look(*values: Any) -> Any:
        values = tuple(ORDERS[order](gnp.array(v)) for v in values)
        for value, array in zip(values, plain, strict=True):
            assert_alike(value, array)
        for have, want in zip(leaves(f(*values)), expected, strict=True):
            if not isinstance(have, Traced) or not isinstance(want, np.ndarray):
                continue
            if name != "broadcast_arrays":  # whose results NumPy makes writeable, and warns
                assert_alike(have, want)
            for value, array in zip(values, plain, strict=True):
                if want.size:
                    assert (
                        same_storage(have, value) or have is value
                        if np.shares_memory(want, array)
                        else not (same_storage(have, value) or have is value)
                    )
        return values[0]

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graphc.trace(look, *arrays)


def assert_alike(have: Traced, want: Any) -> None:
    __tracebackhide__ = True
    strides = strides_of(have)
    if strides is not None and want.size:
        assert order_of(strides, want.shape) == order_of_array(np.empty_like(want), want.shape)
    assert is_writeable(have) == want.flags.writeable


def test_reshapes_are_views_where_numpys_are() -> None:
    """Against NumPy, for every way to slice and transpose small arrays."""
    rng = np.random.default_rng(0)
    asked = views = 0
    for _ in range(3000):
        shape = tuple(int(d) for d in rng.choice([1, 2, 3, 4, 6], rng.integers(1, 5)))
        x = np.zeros(shape, np.int8)
        for _ in range(rng.integers(0, 3)):
            x = x.transpose(rng.permutation(x.ndim))
            x = x[tuple(slice(None, None, rng.choice([1, 1, 2, -1])) for _ in x.shape)]
            if rng.integers(3) == 0:
                x = np.broadcast_to(x, (2, *x.shape))
        divisors = [d for d in range(1, x.size + 1) if x.size % d == 0]
        first = int(rng.choice(divisors))
        second = int(rng.choice([d for d in divisors if x.size // first % d == 0]))
        target = (first, second, x.size // first // second)
        expected = np.shares_memory(np.reshape(x, target), x)
        view, strides = reshaped(x.shape, x.strides, target)
        assert view == expected, (x.shape, x.strides, target)
        if view:
            y = np.reshape(x, target)
            assert strides is not None
            assert all(a == b for a, b, d in zip(strides, y.strides, target, strict=True) if d != 1)
        asked, views = asked + 1, views + bool(view)
    assert 500 < views < asked - 500


def test_packed() -> None:
    assert packed((2, 3, 4)) == (12, 4, 1)
    assert packed((2, 3, 4), (2, 0, 1)) == (3, 1, 6)
    assert packed(()) == ()
