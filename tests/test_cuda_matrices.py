"""Linear algebra of the CuPy backend, on a stand-in for CuPy that is as strict and as careless as cuSOLVER is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.linalg import lapack

import graphc
from graphc.backends.cupy import executor, functions, launching, linear_algebra, replaying
from graphc.backends.numpy.executor import define
from graphc.ir import TensorType
from graphc.ops import TABLE
from graphc.ops.meaning import evaluate
from graphc.verification.cases import cases, rounded
from tests.cuda_emulation import COMPILER
from tests.matrices import ATTRS, GOOD, LINEAR, REFUSED, SIGNED, ZEROS, assert_same, rows, spoilt
from tests.op_kernels import one_node
from tests.test_cuda_programs import Constant, on_processor, plan_of

Array = np.ndarray[Any, Any]
NAMES = sorted(LINEAR)


def in_columns(x: Array) -> Array:
    """The same in memory by columns, as cuSOLVER's results are."""
    return np.swapaxes(np.swapaxes(x, -1, -2).copy(), -1, -2)


def each(f: Callable[..., Array], result: Array, *operands: Array) -> Array:
    """A function of single matrices, on stacks of the same shape."""
    for index in np.ndindex(operands[0].shape[:-2]):
        result[index] = f(*(x[index] for x in operands))
    return in_columns(result)


def solved(a: Array, b: Array) -> Array:
    """By LAPACK's elimination, whose zero pivots nobody looks at."""
    assert a.shape[:-1] == b.shape[:-1], "CuPy does not broadcast"
    assert b.size, "CuPy divides by the size"
    kind = "d" if a.dtype == np.float64 else "s"
    factor, substitute = (getattr(lapack, f"{kind}{name}") for name in ("getrf", "getrs"))

    def one(a: Array, b: Array) -> Array:
        lu, pivots, _ = factor(a)
        x: Array = substitute(lu, pivots, b)[0]
        return x

    return each(one, np.empty(b.shape, b.dtype), a, b)


def substituted(a: Array, b: Array, lower: bool, unit_diagonal: bool) -> Array:
    assert a.shape[:-1] == b.shape[:-1], "CuPy does not broadcast"
    assert b.size, "CuPy takes it for a single matrix"

    def one(a: Array, b: Array) -> Array:
        x = b.copy()
        order = range(len(a)) if lower else range(len(a))[::-1]
        for k in order:
            known = slice(0, k) if lower else slice(k + 1, None)
            x[k] -= a[k, known] @ x[known]
            if not unit_diagonal:
                with np.errstate(all="ignore"):
                    x[k] /= a[k, k]
        return x

    return each(one, np.empty(b.shape, b.dtype), a, b)


def stopped(a: Array) -> Array:
    """LAPACK's factorisation, which stops at a pivot."""
    name = "dpotrf" if a.dtype == np.float64 else "spotrf"
    found: Array = getattr(lapack, name)(a, lower=1, clean=1)[0]
    return found


def by_rows(pivot: Callable[[Any], Any]) -> Callable[[Array], Array]:
    """A factorisation that goes on, whatever it makes of a pivot."""

    def one(a: Array) -> Array:
        root = np.tril(a)
        with np.errstate(all="ignore"):
            for k in range(len(a)):
                root[k, k] = pivot(root[k, k] - root[k, :k] @ root[k, :k])
                root[k + 1 :, k] = (root[k + 1 :, k] - root[k + 1 :, :k] @ root[k, :k]) / root[k, k]
        return root

    return one


def untouched(a: Array) -> Array:
    try:
        root: Array = np.linalg.cholesky(a)
        return root
    except np.linalg.LinAlgError:
        return np.tril(a)


# what may be left of a matrix that is not positive definite
LEFT: dict[str, Callable[[Array], Array]] = {
    "what LAPACK leaves": stopped,
    "the matrix": untouched,
    "a root of a negative number": by_rows(np.sqrt),
    "a root of its size": by_rows(lambda p: np.sqrt(abs(p))),
    "the pivot": by_rows(lambda p: np.sqrt(p) if p > 0 else p),
}


def refuse(a: Array) -> None:
    """What is not finite makes cuSOLVER fail."""
    assert np.isfinite(a).all()


def iterated(values: Array, a: Array) -> Array:
    """NaN, where a matrix has nothing but zeros."""
    still = ~a.any(axis=(-2, -1))
    found: Array = np.where(still[..., None], values.dtype.type(np.nan), values)
    return found


def turned(x: Array, axis: int) -> Array:
    """Vectors of other signs."""
    shape = [1] * x.ndim
    other = -3 - axis
    shape[other] = x.shape[other]
    return in_columns(x * (-1.0 + 2.0 * (np.arange(x.shape[other]) % 2)).astype(x.dtype).reshape(shape))


class Cupy:
    """NumPy under CuPy's name, with what differs in linear algebra."""

    def __init__(self, left: Callable[[Array], Array] = stopped) -> None:
        self.linalg = SimpleNamespace(
            solve=solved,
            det=np.linalg.det,
            slogdet=np.linalg.slogdet,
            cholesky=lambda a: each(left, np.empty(a.shape, a.dtype), a),
            eigvalsh=self.eigvalsh,
            eigh=self.eigh,
            svd=self.svd,
            qr=self.qr,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def eigvalsh(a: Array) -> Array:
        refuse(a)
        return iterated(np.linalg.eigvalsh(a), a)

    @staticmethod
    def eigh(a: Array) -> tuple[Array, Array]:
        refuse(a)
        values, vectors = np.linalg.eigh(a)
        return iterated(values, a), turned(vectors, -2)

    @staticmethod
    def svd(a: Array, full_matrices: bool = True, compute_uv: bool = True) -> Any:
        refuse(a)
        if not compute_uv:
            return iterated(np.linalg.svd(a, compute_uv=False), a)
        assert not full_matrices
        u, s, v = np.linalg.svd(a, full_matrices=False)
        return turned(u, -2), iterated(s, a), turned(v, -1)

    @staticmethod
    def qr(a: Array, mode: str = "reduced") -> Any:
        q, r = np.linalg.qr(a)
        return turned(r, -1) if mode == "r" else (turned(q, -2), turned(r, -1))


@pytest.fixture(params=LEFT)
def cupy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Cupy:
    return stand_in(monkeypatch, LEFT[request.param])


def stand_in(monkeypatch: pytest.MonkeyPatch, left: Callable[[Array], Array] = stopped) -> Cupy:
    found = Cupy(left)
    monkeypatch.setattr(linear_algebra, "cupy", lambda: found)
    monkeypatch.setitem(sys.modules, "cupyx.scipy.linalg", SimpleNamespace(solve_triangular=substituted))  # type: ignore[misc]
    return found


def computed(cupy: Cupy, name: str, operands: tuple[Array, ...], attrs: dict[str, Any]) -> Array:
    """What the function that is written for CuPy gives."""
    graph = one_node(TABLE[name], [TensorType(x.shape, x.dtype) for x in operands], attrs)
    plan = plan_of(graphc.compile(graph))
    writer, source = executor.written(plan)
    assert not all(writer.recordable(step) for step in plan.steps)
    scope = {**writer.scope, "cp": cupy, "ck": functions, "ndarray": np.ndarray}
    scope.update((key, Constant(array)) for key, array in writer.constants.items())
    with np.errstate(all="ignore"):
        (result,) = define("one", source, scope)(*operands)
    assert isinstance(result, np.ndarray | np.generic)
    assert not any(np.may_share_memory(result, x) for x in operands)
    return np.asarray(result)


def meant(name: str, operands: tuple[Array, ...], attrs: dict[str, Any]) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(evaluate(TABLE[name], operands, attrs))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", NAMES)
def test_stacks_and_sizes(name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = stand_in(monkeypatch)
    for row in rows(name, dtype):
        if dtype == np.float32 and name in SIGNED and max(row.operands[0].shape[-2:]) > 5:
            continue  # vectors of values that lie close together
        expected = meant(name, row.operands, row.attrs)
        assert_same(name, computed(cupy, name, row.operands, row.attrs), expected, row)


@pytest.mark.parametrize("name", NAMES)
def test_the_samples_of_the_record(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = stand_in(monkeypatch)
    for case in cases(TABLE[name]):
        operands = tuple(rounded(x, type.dtype) for x, type in zip(case.operands, case.types, strict=True))
        actual = computed(cupy, name, operands, case.attrs)
        assert_same(name, actual, meant(name, operands, case.attrs), case)


@pytest.mark.parametrize("name", REFUSED)
def test_what_numpy_refuses_has_no_numbers(name: str, cupy: Cupy) -> None:
    """Alone, and in a stack, of which the other matrices have their results."""
    for attrs in ATTRS.get(name, [{}]):
        if attrs.get("unit"):
            continue
        sides = (np.ones((3, 2)),) if name in ("solve", "solve_triangular") else ()
        for bad in REFUSED[name]:
            missing = np.isnan if not sides and name != "inv" else lambda x: np.array(not np.isfinite(x).all())
            assert missing(computed(cupy, name, (bad, *sides), attrs)).all(), (name, attrs, bad)
            stack = np.stack([GOOD, bad, GOOD])
            found = computed(cupy, name, (stack, *sides), attrs)
            assert missing(found[1]).all(), (name, attrs, bad)
            for k in (0, 2):
                assert_same(name, found[k], meant(name, (GOOD, *sides), attrs), (name, attrs, bad))


@pytest.mark.parametrize("name", ["cholesky", "eigvalsh", "eigh_vectors", "solve_triangular"])
def test_one_triangle_counts(name: str, cupy: Cupy) -> None:
    sides = (np.ones((3, 2)),) if name == "solve_triangular" else ()
    for attrs in ATTRS.get(name, [{}]):
        for a, good in spoilt(name, attrs):
            assert_same(name, computed(cupy, name, (a, *sides), attrs), meant(name, (good, *sides), attrs), attrs)


@pytest.mark.parametrize("name", ZEROS)
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_zeros(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = stand_in(monkeypatch)
    for stack in ((), (2,)):
        operands = (np.zeros((*stack, size, size)),)
        for attrs in ATTRS.get(name, [{}]):
            np.testing.assert_array_equal(computed(cupy, name, operands, attrs), meant(name, operands, attrs))


@pytest.mark.parametrize("name", ["eigh_vectors", "svd_vectors"])
def test_vectors_of_zeros_are_orthonormal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = stand_in(monkeypatch)
    v = computed(cupy, name, (np.zeros((2, 3, 3)),), ATTRS.get(name, [{}])[0])[..., :3, :]
    np.testing.assert_allclose(np.swapaxes(v, -1, -2) @ v, np.broadcast_to(np.eye(3), (2, 3, 3)), atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_cofactors_of_singular_and_nearly_singular_matrices(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one stack, and beside matrices that are not numbers."""
    cupy = stand_in(monkeypatch)
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
        found, wanted = computed(cupy, "cofactor", operands, {}), meant("cofactor", operands, {})
        assert np.isnan(found[6]).all()
        for k in (0, 1, 2, 3, 4, 5, 7):
            assert_same("cofactor", found[k], wanted[k], (size, k))


def test_cofactors_of_small_matrices_that_are_not_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = stand_in(monkeypatch)
    for a in (np.array([[np.nan]]), np.array([[np.inf, -0.0], [np.nan, 2.0]])):
        np.testing.assert_array_equal(computed(cupy, "cofactor", (a,), {}), meant("cofactor", (a,), {}))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e-42, 1e-30, 1.0, 1e30, 1e300])
def test_definite_matrices_are_seen_as_such(scale: float, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they nearly are not, and of all magnitudes."""
    limits = np.finfo(dtype)
    if not float(limits.smallest_subnormal) < scale < float(limits.max):
        pytest.skip("it has no such numbers")
    few = scale < float(limits.tiny)  # digits
    cupy = stand_in(monkeypatch, untouched)
    rng = np.random.default_rng(4)
    seen = 0
    for size in (1, 2, 7, 60, 200):
        for least in (1.0, 1e-3, 10 * float(np.finfo(dtype).eps) * size):
            q = np.linalg.qr(rng.normal(size=(size, size)))[0]
            a = (((q * np.geomspace(least, 1, size)) @ q.T) * scale).astype(dtype)
            try:
                np.linalg.cholesky(a)
            except np.linalg.LinAlgError:
                continue
            seen += 1
            assert np.isfinite(computed(cupy, "cholesky", (a,), {})).all(), (size, least)
    assert seen >= (4 if few else 12)


def test_nothing_of_it_is_recorded_or_ahead_of_noted_launches() -> None:
    assert not LINEAR & replaying.RECORDABLE
    assert not LINEAR & launching.HARMLESS
    ordered = launching.Ordered(functions)
    for name in LINEAR:
        assert getattr(ordered, name) is not getattr(functions, name)


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler: install g++, or set CXX")
def test_programs_with_derivatives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels and linear algebra in turn, whose results need not be dense."""
    stand_in(monkeypatch)

    def likelihood(x: Any, y: Any) -> Any:
        covariance = np.exp(-((x[:, None] - x) ** 2)) + 0.1 * np.eye(6)
        root = np.linalg.cholesky(covariance)
        return y @ np.linalg.solve(covariance, y) + 2 * np.sum(np.log(np.diagonal(root))) + np.linalg.det(covariance)

    def decomposed(x: Any, y: Any) -> Any:
        a = np.outer(y, x) + np.diag(x)
        u, s, v = np.linalg.svd(a)
        w, vectors = np.linalg.eigh(a + a.T)
        q, r = np.linalg.qr(a)
        return np.sum(u * s @ v + np.tanh(s)) + np.sum(vectors * w @ vectors.T) + np.sum(np.exp(q @ r))

    rng = np.random.default_rng(6)
    given = rng.normal(size=6), rng.normal(size=6)
    more = {name: getattr(linear_algebra, name) for name in LINEAR}
    for f in (likelihood, decomposed):
        compiled = graphc.compile(graphc.value_and_grad(f, argnums=(0, 1)), *given)
        value, (by_x, by_y) = compiled(*given)
        found = on_processor(compiled, tmp_path, more)(*given)
        for a, b in zip(found, (value, by_x, by_y), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)


def test_wrong_results_are_told_from_right_ones() -> None:
    """A vector of another sign is the same; another vector, or another order, is none."""
    q, r = np.linalg.qr(GOOD)
    signs = np.array([1.0, -1.0, -1.0])
    assert_same("qr_q", q * signs, q, "")
    assert_same("qr_r", r * signs[:, None], r, "")
    for name, wrong, right in (
        ("qr_q", q[:, ::-1], q),
        ("qr_q", q * np.array([[1.0], [-1.0], [1.0]]), q),
        ("qr_q", q * np.nan, q),
        ("qr_r", r * signs, r),
        ("inv", -GOOD, GOOD),
        ("solve", GOOD * (1 + 1e-9), GOOD),
        ("det_sign", np.array(1), np.array(-1)),
    ):
        with pytest.raises(AssertionError):
            assert_same(name, wrong, right, "")
