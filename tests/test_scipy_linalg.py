"""`graphc.scipy.linalg`'s solvers and factorisations: derivatives, stacks, structures, signs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
import scipy.linalg

import graphc
from graphc.errors import ShapeError
from graphc.scipy import linalg

Array = np.ndarray[Any, Any]
RNG: Final = np.random.default_rng(11)
GENERAL: Final = RNG.normal(size=(4, 4)) + 2 * np.eye(4)
DEFINITE: Final = GENERAL @ GENERAL.T
SIDES: Final = RNG.normal(size=(4, 3))


def weighed(*results: Any) -> Any:
    return sum(np.sum(np.sin(1.7 * x + np.cumsum(np.ones_like(x), axis=-1) + k)) for k, x in enumerate(results))


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
    "eigvalsh": (lambda a: weighed(linalg.eigvalsh(a, lower=False)), DEFINITE),
    "svd": (lambda a: weighed(*linalg.svd(a[:, :3], full_matrices=False)), GENERAL),
    "qr": (lambda a: weighed(*linalg.qr(a)), GENERAL),
    "qr, r alone": (lambda a: weighed(*linalg.qr(a[:, :2], mode="r")), GENERAL),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_agree_with_differences_and_rows_with_each_other(name: str) -> None:
    f, x = FUNCTIONS[name]
    direction = np.random.default_rng(1).normal(size=x.shape)
    step = 1e-5 * direction
    gradient = graphc.grad(f)
    assert graphc.jit(f)(x) == pytest.approx(f(x), rel=1e-12)
    slope = (f(x + step) - f(x - step)) / 2e-5
    assert np.sum(gradient(x) * direction) == pytest.approx(slope, rel=1e-6, abs=1e-6)
    curve = (gradient(x + step) - gradient(x - step)) / 2e-5
    np.testing.assert_allclose(graphc.hvp(f)(x, direction), curve, rtol=1e-5, atol=1e-5 * np.abs(curve).max())
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
