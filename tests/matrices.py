"""Operands for ops of linear algebra, and how results are compared: vectors up to the sign that each may have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from graphc.ops import factorisations, systems

Array = np.ndarray[Any, Any]

LINEAR: Final = frozenset(op.name for op in (*systems.OPS, *factorisations.OPS))
# the axis of each vector whose sign is anybody's choice
SIGNED: Final = {"eigh_vectors": -2, "svd_vectors": -2, "qr_q": -2, "qr_r": -1}
RECTANGULAR: Final = frozenset({"pinv", "svdvals", "svd_vectors", "qr_q", "qr_r"})
TRIANGULAR: Final = [{"lower": lower, "unit": unit} for lower in (True, False) for unit in (True, False)]
ATTRS: Final[dict[str, list[dict[str, Any]]]] = {
    "solve_triangular": TRIANGULAR,
    "pinv": [{"rcond": 1e-15}],
    "eigvalsh": [{"lower": True}, {"lower": False}],
    "eigh_vectors": [{"lower": True}, {"lower": False}],
}

STACKS: Final[tuple[tuple[int, ...], ...]] = ((), (3,), (2, 1, 3), (0,), (1,))
SIZES: Final = (0, 1, 2, 3, 5, 40)
SHAPES: Final = ((4, 2), (2, 4), (1, 3), (3, 1), (40, 33), (0, 3), (3, 0))
# stacks of matrices and of right-hand sides, and how many of these there are
BESIDE: Final[tuple[tuple[tuple[int, ...], tuple[int, ...], int], ...]] = (
    *(((), (), 2), ((3,), (), 1), ((), (3,), 2), ((2, 1), (3,), 2), ((3,), (3,), 0), ((1,), (3,), 1)),
    *(((0,), (), 2), ((0,), (1,), 1), ((2, 3), (2, 3), 2)),
)


@dataclass(frozen=True, slots=True)
class Row:
    """An op on operands of some shapes."""

    name: str
    attrs: dict[str, Any]
    operands: tuple[Array, ...]

    def __str__(self) -> str:
        return f"{self.name}{self.attrs}{[x.shape for x in self.operands]}{self.operands[0].dtype}"


def rows(name: str, dtype: Any, larger: tuple[int, ...] = ()) -> Iterator[Row]:
    """An op on matrices and stacks of many shapes; of `larger` sizes too."""
    rng = np.random.default_rng(5)
    for attrs in ATTRS.get(name, [{}]):
        for size in (*SIZES, *larger):
            if name in ("solve", "solve_triangular"):
                for left, right, count in BESIDE:
                    a, b = _matrices(name, rng, (*left, size, size)), rng.normal(size=(*right, size, count))
                    yield Row(name, attrs, (a.astype(dtype), b.astype(dtype)))
                continue
            for stack in STACKS:
                yield Row(name, attrs, (_matrices(name, rng, (*stack, size, size)).astype(dtype),))
        for shape in SHAPES if name in RECTANGULAR else ():
            for stack in STACKS:
                yield Row(name, attrs, (rng.normal(size=(*stack, *shape)).astype(dtype),))


def _matrices(name: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Matrices on which an op is well conditioned, of which both triangles differ."""
    x = rng.normal(size=shape)
    size = shape[-1]
    if name == "cholesky":
        return np.asarray(x @ np.swapaxes(x, -1, -2) + size * np.eye(size) + np.triu(x, 1))
    if name == "solve_triangular":
        return np.asarray(x / max(size, 1) + 2 * np.eye(size))
    if name in ("solve", "inv", "det", "det_sign", "log_abs_det"):
        return np.asarray(x / np.sqrt(max(size, 1)) - 2.5 * np.eye(size))
    return np.asarray(x)


def assert_same(name: str, actual: Any, expected: Any, what: object) -> None:
    """Equal but for rounding, and for the signs of vectors."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype, what
    assert actual.shape == expected.shape, what
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected, err_msg=str(what))
        return
    if name in SIGNED:
        # both halves of singular vectors turn together
        actual = actual * np.sign((actual * expected).sum(axis=SIGNED[name], keepdims=True))
    tolerance = 20_000 * float(np.finfo(expected.dtype).eps)
    scale = float(np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale, err_msg=str(what))


GOOD: Final = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -1.0], [0.5, -1.0, 2.0]])
SINGULAR: Final = np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 1.0]])
NO_NUMBER: Final = np.where(np.eye(3, dtype=bool), np.nan, 1.0)
INFINITE: Final = np.where(np.eye(3, dtype=bool), np.inf, 1.0)
# indefinite by their first, second and last pivot, the last by rounding's breadth only
INDEFINITE: Final = (
    *(-GOOD, GOOD - 3.5 * np.eye(3), np.zeros((3, 3)), NO_NUMBER, 1e-12 * (SINGULAR - np.diag([0, 1e-8, 0]))),
    np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
)
# what NumPy refuses
REFUSED: Final[dict[str, tuple[Array, ...]]] = {
    **dict.fromkeys(("solve", "inv"), (SINGULAR, np.zeros((3, 3)))),
    "solve_triangular": (np.triu(GOOD) - np.diag([0.0, 3.0, 0.0]), np.zeros((3, 3))),
    "cholesky": INDEFINITE,
    **dict.fromkeys(("pinv", "eigvalsh", "eigh_vectors", "svdvals", "svd_vectors"), (NO_NUMBER, INFINITE)),
}
# zeros alone, of which NumPy has a result
ZEROS: Final = ("pinv", "det", "cofactor", "det_sign", "log_abs_det", "eigvalsh", "svdvals")


def spoilt(name: str, attrs: dict[str, Any]) -> Iterator[tuple[Array, Array]]:
    """Matrices with NaN in the triangle that an op does not read, and the same without."""
    lower = attrs.get("lower", True)
    unread = np.triu(np.ones((3, 3), bool), 1) if lower else np.tril(np.ones((3, 3), bool), -1)
    if attrs.get("unit"):
        unread |= np.eye(3, dtype=bool)
    for stack in ((), (2,)):
        good = np.broadcast_to(GOOD, (*stack, 3, 3)).copy()
        yield np.where(unread, np.nan, good), good
