"""`graphc.scipy.linalg`'s solvers and factorisations: derivatives, stacks, structures, signs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
import scipy.linalg

import graphc
from graphc.errors import ShapeError, UnsupportedError
from graphc.scipy import linalg
from tests.matrices import assert_derivatives, weighed

Array = np.ndarray[Any, Any]
RNG: Final = np.random.default_rng(11)
GENERAL: Final = RNG.normal(size=(4, 4)) + 2 * np.eye(4)
DEFINITE: Final = GENERAL @ GENERAL.T
SIDES: Final = RNG.normal(size=(4, 3))


def signless(values: Any, vectors: Any) -> Any:
    """Of eigenvectors only what does not depend on their signs."""
    return weighed(values, vectors * vectors[:1])


def diagonals(a: Any, count: int, main: int) -> Any:
    """The first rows of a matrix as diagonals, the main one large."""
    return np.stack([a[k] + 9.0 if k == main else a[k] for k in range(count)])


LEADING: Final = np.array([6.0, 0.0, 0.0, 0.0])
FUNCTIONS: Final[dict[str, tuple[Callable[[Any], Any], Array]]] = {
    **{
        f"solve, {structure}, lower={lower}, transposed={transposed}": (
            lambda a, s=structure, low=lower, t=transposed: weighed(
                linalg.solve(a, a[0] + SIDES[:, 0], assume_a=s, lower=low, transposed=t)
            ),
            DEFINITE if structure in ("pos", "sym") else GENERAL,
        )
        for structure in ("gen", "sym", "pos")
        for lower in (False, True)
        for transposed in (False, True)
    },
    **{
        f"solve_triangular, {trans}, {lower}, {unit}": (
            lambda a, t=trans, low=lower, u=unit: weighed(
                linalg.solve_triangular(a, SIDES, trans=t, lower=low, unit_diagonal=u)
            ),
            GENERAL,
        )
        for trans in (0, "T")
        for lower in (False, True)
        for unit in (False, True)
    },
    "inv of a symmetric matrix": (lambda a: weighed(linalg.inv(a, assume_a="sym")), DEFINITE),
    "det": (linalg.det, GENERAL),
    "pinv": (lambda a: weighed(linalg.pinv(a[:, :3])), GENERAL),
    "cholesky": (lambda a: weighed(linalg.cholesky(a)), DEFINITE),
    "cho_solve": (lambda a: weighed(linalg.cho_solve(linalg.cho_factor(a, lower=True), a[:, 0] ** 2)), DEFINITE),
    "cho_solve, upper": (lambda a: weighed(linalg.cho_solve(linalg.cho_factor(a), a[:, :2] ** 2)), DEFINITE),
    "solve_toeplitz": (lambda a: weighed(linalg.solve_toeplitz(a[0] + LEADING, SIDES)), GENERAL),
    "solve_toeplitz, column and row": (
        lambda a: weighed(linalg.solve_toeplitz((a[:, 0] + LEADING, a[1]), a[2])),
        GENERAL,
    ),
    **{
        f"solve_banded, {below} and {above}": (
            lambda a, k=below, m=above: weighed(linalg.solve_banded((k, m), diagonals(a, k + m + 1, m), SIDES)),
            GENERAL,
        )
        for below, above in ((1, 1), (0, 2), (2, 1))
    },
    **{
        f"solveh_banded, {count}, lower={lower}": (
            lambda a, n=count, low=lower: weighed(
                linalg.solveh_banded(diagonals(a, n, 0 if low else n - 1), a[0], lower=low)
            ),
            GENERAL,
        )
        for count in (2, 3)
        for lower in (False, True)
    },
    "eigvalsh": (lambda a: weighed(linalg.eigvalsh(a, lower=False)), DEFINITE),
    "eigvalsh of two": (lambda a: weighed(linalg.eigvalsh(a, a.T @ a)), GENERAL),
    "eigh of two": (lambda a: signless(*linalg.eigh(a, a @ a.T)), GENERAL),
    "eigh of two, upper": (lambda a: signless(*linalg.eigh(a @ a, a, lower=False)), DEFINITE),
    "svd": (lambda a: weighed(*linalg.svd(a[:, :3], full_matrices=False)), GENERAL),
    "qr": (lambda a: weighed(*linalg.qr(a)), GENERAL),
    "qr, r alone": (lambda a: weighed(*linalg.qr(a[:, :2], mode="r")), GENERAL),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_agree_with_differences_and_rows_with_each_other(name: str) -> None:
    f, x = FUNCTIONS[name]
    assert graphc.jit(f)(x) == pytest.approx(f(x), rel=1e-12)
    assert_derivatives(f, x, near=1e-6)
    gradient = graphc.grad(f)
    rows = np.stack([x, x + 0.01 * x * x])
    expected = np.stack([gradient(row) for row in rows])
    np.testing.assert_allclose(graphc.vmap(gradient)(rows), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "pinv"])
def test_sizes_may_be_names(name: str) -> None:
    f, x = FUNCTIONS[name]
    value, gradient = graphc.compile(graphc.value_and_grad(f), "f64[n,n]")(x)
    assert value == pytest.approx(f(x), rel=1e-10)
    np.testing.assert_allclose(gradient, graphc.grad(f)(x), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("structure", ["diagonal", "tridiagonal", "lower triangular", "upper triangular", "banded"])
@pytest.mark.parametrize("transposed", [False, True])
def test_of_a_structured_matrix_only_the_structure_is_read(structure: str, transposed: bool) -> None:
    kept = {
        "diagonal": np.triu(np.tril(GENERAL)),
        "tridiagonal": np.triu(np.tril(GENERAL, 1), -1),
        "lower triangular": np.tril(GENERAL),
        "upper triangular": np.triu(GENERAL),
        "banded": GENERAL,
    }[structure]
    wanted = np.linalg.solve(kept.T if transposed else kept, SIDES)
    f = graphc.jit(lambda a: linalg.solve(a, SIDES, assume_a=structure, transposed=transposed))
    np.testing.assert_allclose(f(GENERAL), wanted, rtol=1e-10)


def test_vectors_are_scipys_up_to_their_signs() -> None:
    for lower in (False, True):
        values, vectors = graphc.jit(lambda a, low=lower: linalg.eigh(a, lower=low))(GENERAL)
        wanted, known = scipy.linalg.eigh(GENERAL, lower=lower)
        np.testing.assert_allclose(values, wanted, rtol=1e-12)
        np.testing.assert_allclose(np.abs(vectors), np.abs(known), rtol=1e-9)


def test_the_gradient_of_a_logarithmic_determinant_is_the_inverse() -> None:
    def f(a: Any) -> Any:
        return 2 * np.sum(np.log(np.diagonal(linalg.cho_factor(a, lower=True)[0])))

    gradient = graphc.grad(f)(DEFINITE)
    inverse = np.linalg.inv(DEFINITE)
    # by the lower triangle, which alone is read
    np.testing.assert_allclose(gradient, 2 * np.tril(inverse, -1) + np.diag(np.diag(inverse)), rtol=1e-9, atol=1e-12)


def test_gradients_of_the_sum_of_the_eigenvalues_of_two_matrices() -> None:
    """It is the trace of inv(b) a, by the triangle that is read of each."""
    symmetric = GENERAL + GENERAL.T
    inverse = np.linalg.inv(DEFINITE)
    for lower in (False, True):
        f = graphc.grad(lambda a, b, low=lower: np.sum(linalg.eigvalsh(a, b, lower=low)), argnums=(0, 1))
        kept = np.tril(np.ones((4, 4))) if lower else np.triu(np.ones((4, 4)))
        weights = kept * (2 - np.eye(4))
        by_a, by_b = f(symmetric, DEFINITE)
        np.testing.assert_allclose(by_a, weights * inverse, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(by_b, -weights * (inverse @ symmetric @ inverse), rtol=1e-9, atol=1e-11)
        unread = np.where(kept, 0, np.nan)
        found = graphc.jit(lambda a, b, low=lower: linalg.eigvalsh(a, b, lower=low))(
            symmetric + unread, DEFINITE + unread
        )
        np.testing.assert_allclose(found, scipy.linalg.eigvalsh(symmetric, DEFINITE), rtol=1e-12)


def test_vectors_of_two_matrices_solve_their_problem() -> None:
    for lower in (False, True):
        f = graphc.jit(lambda a, b, low=lower: linalg.eigh(a, b, lower=low))
        values, vectors = f(GENERAL, DEFINITE)
        wanted, known = scipy.linalg.eigh(GENERAL, DEFINITE, lower=lower)
        triangle = np.tril(GENERAL) if lower else np.triu(GENERAL)
        symmetric = triangle + triangle.T - np.diag(np.diag(GENERAL))
        np.testing.assert_allclose(values, wanted, rtol=1e-12)
        np.testing.assert_allclose(np.abs(vectors), np.abs(known), rtol=1e-9)
        np.testing.assert_allclose(symmetric @ vectors, DEFINITE @ vectors * values, atol=1e-12)
        np.testing.assert_allclose(vectors.T @ DEFINITE @ vectors, np.eye(4), atol=1e-12)


BANDS: Final[dict[str, tuple[Callable[[Any, Any], Any], tuple[int, int]]]] = {
    "solve_banded": (lambda ab, b: linalg.solve_banded((1, 2), ab, b), (1, 2)),
    "solveh_banded": (lambda ab, b: linalg.solveh_banded(ab, b), (0, 2)),
    "solveh_banded, lower": (lambda ab, b: linalg.solveh_banded(ab, b, lower=True), (2, 0)),
}


@pytest.mark.parametrize("name", BANDS)
def test_what_lies_beyond_the_ends_of_diagonals_is_not_read(name: str) -> None:
    f, (below, above) = BANDS[name]
    band = np.random.default_rng(2).normal(size=(below + above + 1, 4))
    band[above] += 9
    row = np.arange(below + above + 1)[:, None] - above + np.arange(4)
    beyond = (row < 0) | (row > 3)
    assert beyond.any()
    wanted = f(band, SIDES)
    matrix = np.zeros((4, 4))
    for k, j in np.argwhere(~beyond):
        matrix[row[k, j], j] = band[k, j]
    if name != "solve_banded":
        matrix = matrix + matrix.T - np.diag(np.diag(matrix))
    np.testing.assert_allclose(wanted, np.linalg.solve(matrix, SIDES), rtol=1e-10)
    spoilt = np.where(beyond, np.nan, band)
    np.testing.assert_allclose(graphc.jit(f)(spoilt, SIDES), wanted, rtol=1e-10)
    gradient = graphc.grad(lambda ab: weighed(f(ab, SIDES)))(spoilt)
    assert (gradient[beyond] == 0).all()
    assert (gradient[~beyond] != 0).all()


def test_sizes_of_diagonals_may_be_names() -> None:
    band = diagonals(GENERAL, 3, 1)
    f = graphc.compile(lambda ab, b: linalg.solve_banded((1, 1), ab, b), "f64[3,n]", "f64[n,k]")
    np.testing.assert_allclose(f(band, SIDES), scipy.linalg.solve_banded((1, 1), band, SIDES), rtol=1e-12)
    f = graphc.compile(linalg.solveh_banded, "f64[2,n]", "f64[n]")
    band = diagonals(GENERAL, 2, 1)
    np.testing.assert_allclose(f(band, SIDES[:, 0]), scipy.linalg.solveh_banded(band, SIDES[:, 0]), rtol=1e-12)
    f = graphc.compile(linalg.solve_toeplitz, "f64[n]", "f64[n,k]")
    column = GENERAL[0] + LEADING
    np.testing.assert_allclose(f(column, SIDES), scipy.linalg.solve_toeplitz(column, SIDES), rtol=1e-12)


@pytest.mark.parametrize("name", ["solve_banded", "solveh_banded", "solve_toeplitz", "eigvalsh"])
def test_rows_of_a_batch_are_as_alone(name: str) -> None:
    f: Callable[..., Any]
    f, first, second = {
        "solve_banded": (lambda a, b: linalg.solve_banded((1, 1), a, b), diagonals(GENERAL, 3, 1), SIDES),
        "solveh_banded": (linalg.solveh_banded, diagonals(GENERAL, 3, 2), SIDES),
        "solve_toeplitz": (lambda a, b: linalg.solve_toeplitz((a, a + 1), b), GENERAL[0] + LEADING, SIDES),
        "eigvalsh": (linalg.eigvalsh, GENERAL, DEFINITE),
    }[name]
    ones, others = np.stack([first, 1.25 * first]), np.stack([second, 0.5 * second])
    for axes, rows in (
        ((0, 0), [(ones[k], others[k]) for k in range(2)]),
        ((0, None), [(ones[k], second) for k in range(2)]),
        ((None, 0), [(first, others[k]) for k in range(2)]),
    ):
        operands = [
            x if axis is None else stack for x, stack, axis in zip((first, second), (ones, others), axes, strict=True)
        ]
        found = graphc.vmap(f, in_axes=axes)(*operands)
        np.testing.assert_allclose(found, np.stack([f(*row) for row in rows]), rtol=1e-10)


def test_what_is_not_definite_or_not_regular_is_refused_when_it_runs() -> None:
    for f, operands in (
        (linalg.eigvalsh, (GENERAL, -DEFINITE)),
        (linalg.solveh_banded, (-diagonals(GENERAL, 2, 1), SIDES)),
        (lambda a, b: linalg.solve_banded((1, 1), a, b), (np.zeros((3, 4)), SIDES)),
        (linalg.solve_toeplitz, (np.zeros(4), SIDES)),
    ):
        with pytest.raises(np.linalg.LinAlgError):
            graphc.jit(f)(*operands)


def test_toeplitz_systems_whose_leading_minors_are_singular() -> None:
    column = np.array([0.0, 1.0, 0.5])
    found = graphc.jit(linalg.solve_toeplitz)(column, SIDES[:3])
    np.testing.assert_allclose(scipy.linalg.toeplitz(column) @ found, SIDES[:3], rtol=1e-12)


@pytest.mark.parametrize(
    ("f", "specs", "error", "words"),
    [
        (lambda a, b: linalg.solve_banded((1, 1), a, b), ("f64[2,3]", "f64[3]"), ShapeError, "a row for each diagonal"),
        (lambda a, b: linalg.solve_banded((-1, 3), a, b), ("f64[3,3]", "f64[3]"), ValueError, "must not be negative"),
        (lambda a, b: linalg.solve_banded((1, 1), a, b), ("f64[3,3]", "f64[4]"), ShapeError, "number of rows"),
        (lambda a, b: linalg.solve_banded((1, 1), a, b), ("f64[3]", "f64[3]"), ShapeError, "must be a matrix"),
        (linalg.solveh_banded, ("f64[n,3]", "f64[3]"), UnsupportedError, "solveh_banded"),
        (linalg.solveh_banded, ("f64[0,3]", "f64[3]"), ShapeError, "no diagonal"),
        (lambda a, b: linalg.solve_toeplitz((a, b), b), ("f64[3]", "f64[2]"), ShapeError, "differ in size"),
        (linalg.solve_toeplitz, ("f64[]", "f64[1]"), ShapeError, "differ in size"),
        (linalg.eigh, ("f64[3,3]", "f64[2,2]"), ShapeError, "eigh: the matrices differ in size"),
        (linalg.eigvalsh, ("f64[3,3]", "f64[3,2]"), ShapeError, "eigvalsh: the matrix must be square"),
        (lambda a, b: linalg.eigh(a, b, type=3), ("f64[3,3]", "f64[3,3]"), UnsupportedError, "type="),
        (lambda a, b: linalg.eigh(a, b, type=4), ("f64[3,3]", "f64[3,3]"), ValueError, "1, 2, and 3"),
        (lambda a, b: linalg.pinv(a, rtol=-1e-3) @ b, ("f64[3,3]", "f64[3]"), ValueError, "must be positive"),
    ],
)
def test_arguments_that_are_refused(
    f: Callable[..., Any], specs: tuple[str, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        graphc.trace(f, *specs)


def test_an_indefinite_matrix_is_no_positive_definite_one() -> None:
    f = graphc.jit(lambda a: linalg.solve(a, SIDES, assume_a="pos"))
    with pytest.raises(np.linalg.LinAlgError):
        f(-DEFINITE)


@pytest.mark.parametrize("structure", ["diagonal", "sym", "pos", "tridiagonal", "lower triangular"])
@pytest.mark.parametrize(
    ("specs", "words"),
    [
        (("f64[3,2]", "f64[2]"), "must be square"),
        (("f64[3]", "f64[3]"), "must be a matrix"),
        (("f64[3,3]", "f64[1,2]"), "number of rows"),
    ],
)
def test_systems_that_are_none(structure: str, specs: tuple[str, ...], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        graphc.trace(lambda a, b: linalg.solve(a, b, assume_a=structure), *specs)
