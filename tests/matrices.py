"""What ops of linear algebra have to give, whoever computes them: vectors up to the sign that each may have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pytest

import graphc
from graphc.ops import TABLE, factorisations, systems
from graphc.ops.meaning import evaluate
from graphc.verification.cases import cases, rounded

Array = np.ndarray[Any, Any]
Compute = Callable[[str, tuple[Array, ...], dict[str, Any]], Array]  # an op by its name, on operands, with attributes

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


def weighed(*results: Any) -> Any:
    """A number that all elements have a part in, each another."""
    return sum(np.sum(np.sin(1.7 * x + np.cumsum(np.ones_like(x), axis=-1) + k)) for k, x in enumerate(results))


def assert_derivatives(f: Callable[[Any], Any], x: Array, near: float) -> None:
    """Gradient, tangent and Hessian product along a direction agree with differences."""
    direction = np.random.default_rng(1).normal(size=x.shape)
    step = 1e-5 * direction
    gradient = graphc.grad(f)
    slope = (f(x + step) - f(x - step)) / 2e-5
    assert np.sum(gradient(x) * direction) == pytest.approx(slope, rel=near, abs=1e-6)
    _, tangent = graphc.jvp(f, (x,), (direction,))
    assert tangent == pytest.approx(np.sum(gradient(x) * direction), rel=1e-9)
    curve = (gradient(x + step) - gradient(x - step)) / 2e-5
    np.testing.assert_allclose(graphc.hvp(f)(x, direction), curve, rtol=1e-5, atol=1e-5 * np.abs(curve).max())


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
    most = 20_000 if name in SIGNED else 2000
    tolerance = most * max((10, *expected.shape[-2:])) * float(np.finfo(expected.dtype).eps)
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
ZEROS: Final = (
    *("pinv", "det", "cofactor", "det_sign", "log_abs_det", "eigvalsh", "eigh_vectors", "svdvals", "svd_vectors"),
)


# with vectors that rounding changes little
SMALL: Final = 5


def meant(name: str, operands: tuple[Array, ...], attrs: dict[str, Any]) -> Array:
    """NumPy's result."""
    with np.errstate(all="ignore"):
        return np.asarray(evaluate(TABLE[name], operands, attrs))


def check_shapes(compute: Compute, name: str, dtype: Any, larger: tuple[int, ...] = ()) -> None:
    """Matrices and stacks of many shapes, and the samples of the record."""
    for row in rows(name, dtype, larger):
        if dtype == np.float32 and name in SIGNED and max(row.operands[0].shape[-2:]) > SMALL:
            continue
        expected = meant(name, row.operands, row.attrs)
        assert_same(name, compute(name, row.operands, row.attrs), expected, row)
    for case in cases(TABLE[name]):
        operands = tuple(rounded(x, type.dtype) for x, type in zip(case.operands, case.types, strict=True))
        assert_same(name, compute(name, operands, case.attrs), meant(name, operands, case.attrs), case)


def _sides(name: str) -> tuple[Array, ...]:
    return (np.ones((3, 2)),) if name in ("solve", "solve_triangular") else ()


def check_refused(compute: Compute, name: str) -> None:
    """What NumPy refuses is NaN, or division by 0, also in a stack, of which the other matrices have their results."""
    sides = _sides(name)
    divided = name in ("solve", "solve_triangular", "inv")
    for attrs in ATTRS.get(name, [{}]):
        if attrs.get("unit"):
            continue
        for bad in REFUSED[name]:
            what = name, attrs, bad
            found = compute(name, (np.stack([GOOD, bad, GOOD]), *sides), attrs)
            for one in (compute(name, (bad, *sides), attrs), found[1]):
                assert not np.isfinite(one).all() if divided else np.isnan(one).all(), what
            for k in (0, 2):
                assert_same(name, found[k], meant(name, (GOOD, *sides), attrs), what)


def check_triangles(compute: Compute, name: str) -> None:
    """NaN in the triangle that an op does not read changes nothing."""
    sides = _sides(name)
    for attrs in ATTRS.get(name, [{}]):
        unread = np.triu(np.ones((3, 3), bool), 1)
        unread = unread if attrs.get("lower", True) else unread.T
        if attrs.get("unit"):
            unread = unread | np.eye(3, dtype=bool)
        for stack in ((), (2,)):
            good = np.broadcast_to(GOOD, (*stack, 3, 3)).copy()
            found = compute(name, (np.where(unread, np.nan, good), *sides), attrs)
            assert_same(name, found, meant(name, (good, *sides), attrs), (name, attrs))


def check_zeros(compute: Compute, name: str) -> None:
    """Zeros alone, of which NumPy has a result; of vectors any that are orthonormal."""
    for size in (1, 2, 3, 4, 23):
        for stack in ((), (2,)):
            operands = (np.zeros((*stack, size, size)),)
            for attrs in ATTRS.get(name, [{}]):
                found = compute(name, operands, attrs)
                if name not in SIGNED:
                    np.testing.assert_array_equal(found, meant(name, operands, attrs))
                    continue
                for v in (found[..., :size, :], found[..., -size:, :]):
                    product = np.swapaxes(v, -1, -2) @ v
                    np.testing.assert_allclose(product, np.broadcast_to(np.eye(size), v.shape), atol=1e-14)


def check_cofactors(compute: Compute, dtype: Any) -> None:
    """Of singular and nearly singular matrices, in stacks, and beside matrices that are not numbers."""
    rng = np.random.default_rng(3)
    for size in (3, 4, 6):
        x = rng.normal(size=(8, size, size))
        for k, rank in enumerate((size - 1, size - 2, 1)):
            x[k] = x[k, :, :rank] @ rng.normal(size=(rank, size))
        x[3, 0] = x[3, 1] * (1 + 1e-9)
        x[4] *= 1e-30
        x[5] = 0
        x[6, 1, 1] = np.nan
        operands = (x.astype(dtype),)
        found, wanted = compute("cofactor", operands, {}), meant("cofactor", operands, {})
        assert np.isnan(found[6]).all()
        for k in (0, 1, 2, 3, 4, 5, 7):
            assert_same("cofactor", found[k], wanted[k], (size, k))
    for a in (np.array([[np.nan]], dtype), np.array([[np.inf, -0.0], [np.nan, 2.0]], dtype)):
        np.testing.assert_array_equal(compute("cofactor", (a,), {}), meant("cofactor", (a,), {}))


def check_definite(compute: Compute, dtype: Any) -> None:
    """Definite matrices are seen as such, also where they nearly are not, and of all magnitudes."""
    rng = np.random.default_rng(4)
    limits = np.finfo(dtype)
    for size in (1, 2, 7, 60, 200):
        q = np.linalg.qr(rng.normal(size=(size, size)))[0]
        for least in (0.1, 1e-3, 100 * float(limits.eps) * size):
            plain = (q * np.geomspace(least, 1, size)) @ q.T
            for scale in (1e-320, 1e-300, 1e-42, 1e-30, 1.0, 1e30, 1e300):
                if not float(limits.smallest_subnormal) < scale < float(limits.max):
                    continue
                if scale < float(limits.tiny) and (least < 0.1 or size > 7):
                    continue  # they have few digits
                a = (plain * scale).astype(dtype)
                assert np.isfinite(compute("cholesky", (a,), {})).all(), (size, least, scale)


ONE_TRIANGLE: Final = ("cholesky", "eigvalsh", "eigh_vectors", "solve_triangular")


def likelihood(x: Any, y: Any) -> Any:
    """A program with a covariance, of which nothing is singular."""
    covariance = np.exp(-((x[:, None] - x) ** 2)) + 0.1 * np.eye(len(x))
    root = np.linalg.cholesky(covariance)
    return y @ np.linalg.solve(covariance, y) + 2 * np.sum(np.log(np.diagonal(root))) + np.linalg.det(covariance)


def decomposed(x: Any, y: Any) -> Any:
    """A program of factorisations, in which no sign counts."""
    a = np.outer(y, x) + np.diag(x)
    u, s, v = np.linalg.svd(a)
    w, vectors = np.linalg.eigh(a + a.T)
    q, r = np.linalg.qr(a)
    return np.sum(u * s @ v + np.tanh(s)) + np.sum(vectors * w @ vectors.T) + np.sum(np.exp(q @ r))
