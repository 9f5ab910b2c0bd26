"""Linear algebra: derivatives beyond the samples of the op table, stacks, sizes that only have a name, and refusals."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from itertools import permutations
from typing import Any, Final

import numpy as np
import pytest

import graphc
from graphc.errors import DTypeError, ShapeError, UnsupportedError
from graphc.ir import TensorType
from graphc.ops import TABLE
from graphc.verification.cases import Case, exactly
from graphc.verification.trials import derivative_problems
from tests.matrices import assert_derivatives, weighed

Array = np.ndarray[Any, Any]
F64: Final = np.dtype(np.float64)
LA: Final = np.linalg
FOUR: Final = np.array(
    [[2.0, 0.5, -0.25, 1.0], [0.75, -1.5, 0.5, 0.25], [0.25, -0.5, 1.25, 2.0], [1.0, 0.5, -1.0, 0.5]]
)
TALL: Final = np.array([[2.0, 0.5], [-0.25, 1.5], [0.5, 1.0]])


def case(name: str, *operands: Array, **attrs: Any) -> Case:
    return Case(TABLE[name], tuple(map(exactly, operands)), tuple(TensorType(x.shape, F64) for x in operands), attrs)


# what SymPy takes too long to prove in the table
LARGER: Final = {
    "solve, 4 by 4": case("solve", FOUR, FOUR[:, :1]),
    "solve, one matrix for a stack": case("solve", FOUR[:2, :2], np.stack([TALL[:2], TALL[1:]])),
    "solve_triangular, 4 by 4": case("solve_triangular", FOUR, FOUR[:, :2], lower=False, unit=False),
    "inv, 4 by 4": case("inv", FOUR),
    "cofactor, 4 by 4": case("cofactor", FOUR),
    "log_abs_det, 4 by 4": case("log_abs_det", FOUR),
    "pinv, tall": case("pinv", TALL, rcond=1e-15),
    "pinv, wide": case("pinv", TALL.T, rcond=1e-15),
    "cholesky, 4 by 4": case("cholesky", FOUR @ FOUR.T + np.eye(4)),
    "svdvals, wide": case("svdvals", TALL.T),
    "svd_vectors, square": case("svd_vectors", FOUR[:2, :2]),
    "svd_vectors, tall": case("svd_vectors", TALL),
    "svd_vectors, wide": case("svd_vectors", TALL.T),
    "qr_q, tall": case("qr_q", TALL),
    "qr_q, wide": case("qr_q", TALL.T),
    "qr_q, 4 by 4": case("qr_q", FOUR),
    "qr_r, tall": case("qr_r", TALL),
    "qr_r, wide": case("qr_r", TALL.T),
    "qr_r, 4 by 4": case("qr_r", FOUR),
}


@pytest.mark.parametrize("name", LARGER)
def test_derivatives_are_those_of_the_exact_meaning(name: str) -> None:
    """Forward, reverse and second order, to 70 digits."""
    assert list(derivative_problems(LARGER[name], random.Random(name))) == []


# --- against differences -------------------------------------------------------------------------------------

RNG: Final = np.random.default_rng(7)
GENERAL: Final = RNG.normal(size=(5, 5))
DEFINITE: Final = GENERAL @ GENERAL.T + 0.5 * np.eye(5)
LONG: Final = RNG.normal(size=(6, 4))


FUNCTIONS: Final[dict[str, tuple[Callable[[Any], Any], Array]]] = {
    "solve": (lambda a: weighed(LA.solve(a, a[:, :2] ** 2)), GENERAL),
    "solve a vector": (lambda a: weighed(LA.solve(a, a[0])), GENERAL),
    "inv": (lambda a: weighed(LA.inv(a)), GENERAL),
    "det": (LA.det, GENERAL),
    "slogdet": (lambda a: LA.slogdet(a).logabsdet, GENERAL),
    "pinv": (lambda a: weighed(LA.pinv(a)), LONG),
    "pinv of symmetric": (lambda a: weighed(LA.pinv(a, hermitian=True)), DEFINITE),
    "cholesky": (lambda a: weighed(LA.cholesky(a)), DEFINITE),
    "cholesky, upper": (lambda a: weighed(LA.cholesky(a, upper=True)), DEFINITE),
    "eigh": (lambda a: weighed(*LA.eigh(a)), DEFINITE),
    "eigh, upper": (lambda a: weighed(*LA.eigh(a, UPLO="U")), DEFINITE),
    "svd": (lambda a: weighed(*LA.svd(a, full_matrices=False)), LONG),
    "svd, wide": (lambda a: weighed(*LA.svd(a.T, full_matrices=False)), LONG),
    "svd of symmetric": (lambda a: weighed(*LA.svd(a - 2 * np.eye(5), hermitian=True)), DEFINITE),
    "qr": (lambda a: weighed(*LA.qr(a)), LONG),
    "qr, wide": (lambda a: weighed(*LA.qr(a.T)), LONG),
    "qr, complete": (lambda a: weighed(*LA.qr(a.T, "complete")), LONG),
    "spectral norm": (lambda a: LA.norm(a, 2), LONG),
    "nuclear norm": (lambda a: LA.norm(a, "nuc"), LONG),
    "condition": (LA.cond, LONG),
    "condition in another norm": (lambda a: LA.cond(a, 1), GENERAL),
    "negative power": (lambda a: weighed(LA.matrix_power(a, -2)), GENERAL),
    "tensorinv": (lambda a: weighed(LA.tensorinv(a, ind=1)), GENERAL),
    "tensorsolve": (lambda a: weighed(LA.tensorsolve(a, a[1])), GENERAL),
    "polyfit": (lambda a: weighed(np.polyfit(a[:, 0], a[:, 1:], 2, w=a[:, 1] ** 2)), LONG),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_and_hessian_products_agree_with_differences(name: str) -> None:
    f, x = FUNCTIONS[name]
    assert_derivatives(f, x, near=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_at_once_are_the_rows_one_by_one(name: str) -> None:
    f, x = FUNCTIONS[name]
    rows = np.stack([x, x + 0.01 * x * x, x - 0.02])
    for one in (f, graphc.grad(f)):
        expected = np.stack([one(row) for row in rows])
        np.testing.assert_allclose(graphc.vmap(one)(rows), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in ("qr, complete", "polyfit")])
def test_sizes_may_be_names(name: str) -> None:
    f, x = FUNCTIONS[name]
    spec = "f64[n,n]" if x.shape[0] == x.shape[1] else "f64[n,m]"
    value, gradient = graphc.compile(graphc.value_and_grad(f), spec)(x)
    np.testing.assert_allclose(value, f(x), rtol=1e-10)
    np.testing.assert_allclose(gradient, graphc.grad(f)(x), rtol=1e-9, atol=1e-11)


# --- determinants of singular matrices -----------------------------------------------------------------------


def cofactors(a: Array) -> Array:
    """By the sum over all permutations that leave out a row and a column."""
    size = len(a)
    result = np.zeros_like(a)
    for order in permutations(range(size)):
        sign = LA.det(np.eye(size)[list(order)])
        for i in range(size):
            result[i, order[i]] += sign * np.prod([a[k, order[k]] for k in range(size) if k != i])
    return result


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("rank", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_of_a_determinant_needs_no_inverse(size: int, rank: int, dtype: Any) -> None:
    rng = np.random.default_rng(size)
    a = (rng.normal(size=(size, min(rank, size))) @ rng.normal(size=(min(rank, size), size))).astype(dtype)
    found = graphc.grad(LA.det)(a)
    expected = cofactors(a.astype(np.float64))
    assert found.dtype == dtype
    tolerance = 200 * np.finfo(dtype).eps * max(1.0, np.abs(a).max() ** (size - 1))
    np.testing.assert_allclose(found, expected, rtol=200 * np.finfo(dtype).eps, atol=tolerance)


def test_the_hessian_of_a_determinant_of_up_to_three_rows_needs_none_either() -> None:
    a = np.outer([1.0, 2.0, -1.0], [0.5, 1.0, 2.0])
    hessian = graphc.hessian(LA.det)(a)
    for i, j, k, m in np.ndindex(3, 3, 3, 3):
        minor = np.delete(np.delete(np.arange(9).reshape(3, 3), (i, k), 0), (j, m), 1)
        sign = (-1) ** (i + j + k + m) * (1 if (k > i) == (m > j) else -1)
        expected = sign * a.ravel()[minor.item()] if i != k and j != m else 0.0
        assert hessian[i, j, k, m] == pytest.approx(expected, abs=1e-12)


def test_cofactors_of_what_is_not_finite_are_not() -> None:
    a = np.eye(4)
    a[1, 2] = np.nan
    assert np.isnan(graphc.grad(LA.det)(a)).any()


# --- what is read, and what comes back -----------------------------------------------------------------------


def test_derivatives_are_by_the_triangle_that_is_read() -> None:
    above = np.triu(np.ones((5, 5), bool), 1)
    for f in (LA.cholesky, LA.eigvalsh):
        gradient = graphc.grad(lambda a, f=f: weighed(f(a)))(DEFINITE)
        assert not gradient[above].any()
        assert gradient[above.T].any()
        # of a symmetric matrix made of parameters, either triangle gives the same
        made = graphc.grad(lambda p, f=f: weighed(f(p @ p.T + 5 * np.eye(5))))(GENERAL)
        turned = graphc.grad(lambda p, f=f: weighed(f((p @ p.T + 5 * np.eye(5)).T)))(GENERAL)
        np.testing.assert_allclose(made, turned, rtol=1e-9, atol=1e-12)


def test_results_have_numpys_names() -> None:
    assert graphc.jit(LA.eigh)(DEFINITE)._fields == ("eigenvalues", "eigenvectors")
    assert graphc.jit(LA.slogdet)(DEFINITE)._fields == ("sign", "logabsdet")
    assert graphc.jit(LA.svd)(DEFINITE)._fields == ("U", "S", "Vh")
    again = pickle.loads(pickle.dumps(graphc.compile(LA.qr, "f64[3,3]")))
    assert again(DEFINITE[:3, :3])._fields == ("Q", "R")


def test_one_factorisation_serves_both_results() -> None:
    graph = graphc.trace(lambda a: (LA.eigh(a).eigenvalues, LA.eigvalsh(a), LA.eigh(a).eigenvectors), "f64[3,3]")
    compiled = graphc.compile(lambda a: (LA.inv(a), LA.inv(a) @ a), "f64[3,3]")
    assert [d["op"] for d in graph._node.values()].count("eigvalsh") == 1
    assert compiled.source.count("linalg.inv") == 1


# --- one factorisation for several ops -----------------------------------------------------------------------


def several(a: Any, b: Any, c: Any) -> Any:
    """Every op that elimination serves, of a matrix and of its transpose."""
    sign, size = LA.slogdet(a)
    return LA.solve(a, b), LA.solve(a.T, c), LA.inv(a), LA.inv(a.T), LA.det(a), LA.det(a.T), sign, size


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 2, 5, 64, 65])
def test_one_elimination_serves_all(size: int, dtype: Any) -> None:
    a, b, c = np.random.default_rng(size).normal(size=(3, size, size)).astype(dtype)
    a = (a + 2 * np.eye(size, dtype=dtype)) / dtype(max(size, 1)) ** dtype(0.5)  # lest determinants overflow
    compiled = graphc.compile(several, *[f"{'f32' if dtype == np.float32 else 'f64'}[n,n]"] * 3)
    assert compiled.source.count("lu_factor(") == 1
    assert "np.linalg" not in compiled.source
    for found, expected in zip(compiled(a, b, c), several(a, b, c), strict=True):
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert found.flags.c_contiguous
        np.testing.assert_allclose(found, expected, rtol=2e4 * np.finfo(dtype).eps, atol=2e3 * np.finfo(dtype).eps)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_sign_of_a_determinant_counts_swaps(order: tuple[int, ...]) -> None:
    a = (np.diag([2.0, -3.0, 0.5, 4.0]) + 0.01)[list(order)]
    sign, size, det, inverse = graphc.jit(lambda a: (*LA.slogdet(a), LA.det(a), LA.inv(a)))(a)
    np.testing.assert_allclose([sign, size, det], [*LA.slogdet(a), LA.det(a)], rtol=1e-13)
    np.testing.assert_allclose(inverse, LA.inv(a), rtol=1e-12, atol=1e-15)


def test_singular_matrices_are_found_by_whichever_op_comes() -> None:
    singular = np.ones((3, 3))
    f = graphc.compile(lambda a: (*LA.slogdet(a), LA.det(a)), "f64[n,n]")
    assert f.source.count("lu_factor(") == 1
    assert f(singular) == (0, -np.inf, 0)
    for g in (lambda a: (LA.solve(a, a), LA.det(a)), lambda a: (LA.det(a), LA.inv(a))):
        with pytest.raises(LA.LinAlgError, match="Singular matrix"):
            graphc.jit(g)(singular)


@pytest.mark.parametrize("last", [np.nan, np.inf])
def test_determinants_that_share_elimination_are_0_beside_nan_too(last: float) -> None:
    """A pivot 0 decides, as LAPACK tells NumPy."""
    a = np.diag([1.0, 0.0, last])
    with np.errstate(all="ignore"):
        found = graphc.jit(lambda a: (*LA.slogdet(a), LA.det(a), LA.det(a.T)))(a)
        np.testing.assert_array_equal(found, [*LA.slogdet(a), LA.det(a), LA.det(a.T)])


@pytest.mark.parametrize("diagonal", [[0.0, -2.0, 2.0], [-0.0, 0.0, 3.0]])
def test_singular_vectors_of_symmetric_matrices_that_are_singular(diagonal: list[float]) -> None:
    a = np.diag(diagonal)
    for found, expected in zip(
        graphc.jit(lambda a: LA.svd(a, hermitian=True))(a), LA.svd(a, hermitian=True), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(0, 0), (0, 2), (2, 0), (2, 0, 0), (0, 2, 2)])
def test_ranks_of_nothing(shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(graphc.jit(LA.matrix_rank)(np.zeros(shape)), LA.matrix_rank(np.zeros(shape)))


def test_pairs_are_found_in_one_call_to_the_bit() -> None:
    stack = np.random.default_rng(3).normal(size=(4, 5, 5))
    stack = stack @ stack.swapaxes(-1, -2)
    f = graphc.compile(lambda a: (LA.eigh(a), LA.eigh(a, "U"), LA.svd(a), LA.qr(a), LA.slogdet(a)), "f64[k,n,n]")
    assert f.source.count("np.linalg.") == 5
    expected = LA.eigh(stack), LA.eigh(stack, "U"), LA.svd(stack), LA.qr(stack), LA.slogdet(stack)
    for results, wanted in zip(f(stack), expected, strict=True):
        for found, one in zip(results, wanted, strict=True):
            np.testing.assert_array_equal(found, one)


def test_a_factorisation_has_a_name_of_its_own() -> None:
    def f(lu: Any, b: Any) -> Any:
        lu_factor = LA.solve(lu, b)
        return LA.det(lu) * lu_factor, lu_factor @ lu

    a, b = np.random.default_rng(4).normal(size=(2, 3, 3))
    for found, expected in zip(graphc.jit(f)(a, b), f(a, b), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_arrays_without_elements() -> None:
    for f in (LA.inv, LA.cholesky, LA.eigvalsh, lambda a: LA.solve(a, a)):
        np.testing.assert_array_equal(graphc.jit(f)(np.zeros((0, 0))), f(np.zeros((0, 0))))
        np.testing.assert_array_equal(graphc.jit(f)(np.zeros((0, 3, 3))), f(np.zeros((0, 3, 3))))
    assert graphc.jit(LA.det)(np.zeros((0, 0))) == 1
    assert graphc.jit(LA.matrix_rank)(np.zeros((0, 0))) == 0
    assert graphc.jit(LA.pinv)(np.zeros((0, 2), np.int32)).dtype == LA.pinv(np.zeros((0, 2), np.int32)).dtype
    assert graphc.grad(lambda a: np.sum(LA.det(a)))(np.zeros((0, 2, 2))).shape == (0, 2, 2)


def test_one_compiled_function_serves_all_sizes_and_layouts() -> None:
    f = graphc.compile(LA.solve, "f64[n,n]", "f64[n,m]")
    for size in (1, 2, 7, 40):
        a, b = np.random.default_rng(size).normal(size=(2, size, size))
        np.testing.assert_array_equal(f(a, b), LA.solve(a, b))
        np.testing.assert_allclose(f(a.T, b[:, ::-1]), LA.solve(a.T, b[:, ::-1]), rtol=1e-9)


# --- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "specs", "error", "words"),
    [
        (LA.inv, ("f64[2,3]",), ShapeError, "inv: the matrix must be square"),
        (LA.inv, ("f64[3]",), ShapeError, "inv: the operand must be a matrix"),
        (LA.det, ("f16[2,2]",), DTypeError, "det: not defined for f16"),
        (LA.solve, ("f64[2,2]", "f64[3]"), ShapeError, "another number of rows"),
        (lambda a: LA.pinv(a, hermitian=True), ("f64[3]",), ShapeError, "pinv: the operand must be a matrix"),
        (LA.svd, ("f64[3,2]",), UnsupportedError, "full_matrices=False"),
        (LA.svd, ("f64[n,m]",), UnsupportedError, "full_matrices=False"),
        (lambda a: LA.qr(a, "complete"), ("f64[3,2]",), UnsupportedError, "more rows than columns"),
        (lambda a: LA.qr(a, "raw"), ("f64[3,2]",), UnsupportedError, "mode='raw' cannot be traced"),
        (LA.eigvals, ("f64[3,3]",), UnsupportedError, "np.linalg.eigh"),
        (lambda a: LA.lstsq(a, a), ("f64[3,3]",), UnsupportedError, "np.linalg.pinv"),
        (lambda a: LA.pinv(a, rcond=a[0, 0]), ("f64[3,3]",), UnsupportedError, "rcond must be a number"),
        (lambda a: LA.pinv(a, rtol=None), ("f64[n,3]",), UnsupportedError, "rtol=None takes the sizes"),
        (LA.tensorsolve, ("f64[2,3]", "f64[2]"), ShapeError, "is no square matrix"),
        (lambda x: np.polyfit(x, x, 1), ("f64[n]",), UnsupportedError, "must be a number when"),
        (lambda x, w: np.polyfit(x, x, 1, w=w), ("f64[4]", "f64[1]"), ShapeError, "a weight for each point"),
        (lambda x, w: np.polyfit(x, x, 1, w=w), ("f64[4]", "f64[4,1]"), ShapeError, "a weight for each point"),
    ],
)
def test_what_is_refused(f: Any, specs: tuple[str, ...], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        graphc.trace(f, *specs)
    assert words in str(caught.value)
    assert caught.value.loc is not None  # type: ignore[attr-defined]


def test_exact_eigenvalues_of_three_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="up to two by two"):
        graphc.verify(LA.eigvalsh, "f64[3,3]")


@pytest.mark.parametrize(
    ("f", "verdict"), [(LA.inv, "proved"), (LA.cholesky, "proved"), (lambda a: LA.slogdet(a)[1], "proved")]
)
def test_what_has_no_value_somewhere_is_verified_elsewhere(f: Any, verdict: str) -> None:
    """The audit of edges meets singular and indefinite matrices."""
    assert graphc.verify(f, "f64[2,2]").verdict == verdict
