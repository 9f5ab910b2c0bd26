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
from tests.cuda_emulation import COMPILER
from tests.matrices import (
    GOOD,
    LINEAR,
    ONE_TRIANGLE,
    REFUSED,
    ZEROS,
    Compute,
    assert_same,
    check_cofactors,
    check_definite,
    check_refused,
    check_shapes,
    check_triangles,
    check_zeros,
    decomposed,
    likelihood,
)
from tests.op_kernels import one_node
from tests.test_cuda_programs import on_processor, plan_of

Array = np.ndarray[Any, Any]


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


def stand_in(monkeypatch: pytest.MonkeyPatch, left: Callable[[Array], Array] = stopped) -> Compute:
    """What the functions that are written for CuPy give; `left`: what there is of Cholesky's factorisation."""
    cupy: Any = Cupy(left)
    monkeypatch.setattr(linear_algebra, "cupy", lambda: cupy)
    monkeypatch.setitem(sys.modules, "cupyx.scipy.linalg", SimpleNamespace(solve_triangular=substituted))

    def compute(name: str, operands: tuple[Array, ...], attrs: dict[str, Any]) -> Array:
        graph = one_node(TABLE[name], [TensorType(x.shape, x.dtype) for x in operands], attrs)
        plan = plan_of(graphc.compile(graph))
        writer, source = executor.written(plan)
        assert not all(writer.recordable(step) for step in plan.steps)
        scope = {**writer.scope, "cp": cupy, "ck": functions, "ndarray": np.ndarray}
        with np.errstate(all="ignore"):
            (result,) = define("one", source, scope)(*operands)
        assert not any(np.may_share_memory(result, x) for x in operands)
        return np.asarray(result)

    return compute


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", sorted(LINEAR))
def test_stacks_and_sizes(name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check_shapes(stand_in(monkeypatch), name, dtype)


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("name", REFUSED)
def test_what_numpy_refuses_has_no_numbers(name: str, left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_refused(stand_in(monkeypatch, LEFT[left]), name)


@pytest.mark.parametrize("name", ONE_TRIANGLE)
def test_one_triangle_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_triangles(stand_in(monkeypatch), name)


@pytest.mark.parametrize("name", ZEROS)
def test_zeros(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_zeros(stand_in(monkeypatch), name)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_cofactors_of_matrices_that_have_no_inverse(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check_cofactors(stand_in(monkeypatch), dtype)


def in_longer_numbers(a: Array) -> Array:
    """As processors may that round a product and a sum once."""
    return by_rows(np.sqrt)(a.astype(np.longdouble)).astype(a.dtype)


@pytest.mark.parametrize("left", [stopped, in_longer_numbers])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_definite_matrices_are_seen_as_such(
    dtype: Any, left: Callable[[Array], Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_definite(stand_in(monkeypatch, left), dtype)


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
