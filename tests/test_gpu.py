"""The CuPy backend on a real GPU, against the NumPy meaning: ops, programs, sizes, products, functions."""

from __future__ import annotations

import doctest
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special

import graphc
import graphc.random as gr
from graphc.backends.cupy import products, small_products, tiled_products
from graphc.backends.cupy.library import device
from graphc.backends.cupy.meanings import MEANINGS, MISSING
from graphc.backends.cupy.products import matmul
from graphc.errors import DTypeError, ShapeError, UnsupportedError
from graphc.ir import TensorType
from graphc.ops import TABLE
from graphc.ops.meaning import evaluate
from graphc.ops.record import Op
from graphc.verification.cases import cases, rounded
from graphc.verification.rules import installed
from tests import matrices
from tests.matrices import LINEAR
from tests.op_kernels import ELEMENTWISE, FOLDS, assert_near, dtypes_of, elementwise_rows, fold_operand, meant, one_node
from tests.random_programs import DIVISION, draw
from tests.test_cuda_kernels import deviations, far_from_zero, gradient_of_weights, with_weights
from tests.test_cuda_products import AS_IT_IS, COPIED, LAYOUTS, operand
from tests.test_half import EXACT as HALF_EXACT
from tests.test_half import near_halves
from tests.test_kernels import PROGRAMS, leaves

pytestmark = [
    pytest.mark.gpu,
    # libraries that are not graphc's warn as they like
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("ignore:a writable array:UserWarning", "ignore::RuntimeWarning"),
]
Array = np.ndarray[Any, Any]


def host(value: Any) -> Any:
    """A result as NumPy arrays."""
    import cupy

    return [cupy.asnumpy(v) for v in (value if isinstance(value, (tuple, list)) else [value])]


# --- ops --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_elementwise_ops_mean_what_numpy_means(op: Op, cp: Any) -> None:
    tried = 0
    for graph, attrs, operands in elementwise_rows(op):
        expected, ulps = meant(op, operands, attrs, graph.output_types[0].dtype)
        actual = host(graphc.compile(graph, backend="cupy")(*operands))[0]
        assert_near(actual, expected, ulps, (op.name, operands[0].dtype, attrs))
        tried += 1
    assert tried


FOLD_SHAPES = [((5,), (0,)), ((300,), (0,)), ((1_000_003,), (0,)), ((7, 33), (1,)), ((7, 33), (0,)),
               ((4, 5, 6), (0, 2)), ((3, 0), (1,)), ((0, 3), (1,)), ((0, 3), (0,)), ((5000, 130), (0,)),
               ((5, 400_000), (1,)), ((3000, 1000), (1,)), ((100_000, 8), (1,)), ((100_000, 8), (0,))]  # fmt: skip


@pytest.mark.parametrize("op", FOLDS, ids=lambda op: op.name)
def test_folds_mean_what_numpy_means(op: Op, cp: Any) -> None:
    rng = np.random.default_rng(1)
    for dtype in dtypes_of(op, 1):
        for shape, axes in FOLD_SHAPES:
            attrs = {"axes": axes, "keepdims": False}
            operand = fold_operand(rng, op, shape, dtype)
            try:
                graph = one_node(op, [TensorType(shape, dtype)], attrs)
            except ShapeError:
                continue
            actual = host(graphc.compile(graph, backend="cupy")(operand))[0]
            exact = operand.astype(np.float64 if dtype.kind == "f" else dtype)
            expected = evaluate(op, [exact], attrs).astype(dtype)
            assert actual.dtype == dtype
            if dtype.kind != "f":
                np.testing.assert_array_equal(actual, expected)
                continue
            magnitude = np.abs(exact).sum(axis=axes)
            error = np.abs(actual.astype(exact.dtype) - expected.astype(exact.dtype))
            most = 0.51 if dtype == np.float16 and op.fold != "prod" else 4
            assert np.all(error <= most * np.finfo(dtype).eps * magnitude), (op.name, dtype, shape, axes)


@pytest.mark.parametrize("name", [n for n in MEANINGS if n not in ("debug_print", "pure_callback", "get", *LINEAR)])
def test_ops_of_cupy_mean_what_numpy_means(name: str, cp: Any) -> None:
    op = TABLE[name]
    for case in cases(op):
        operands = [rounded(x, type.dtype) for x, type in zip(case.operands, case.types, strict=True)]
        attrs = case.attrs
        graph = one_node(op, list(case.types), attrs)
        with np.errstate(all="ignore"):
            expected = np.asarray(evaluate(op, operands, attrs))
        actual = host(graphc.compile(graph, backend="cupy")(*operands))[0]
        ulps = 2 * op.ulps + 8 if name in ("erfinv", "erfcinv", "gamma", "gammaln", "digamma") else 2 * op.ulps + 3
        if name in ("matmul", "cumsum", "cumprod", "scatter_add") and expected.dtype.kind == "f":
            np.testing.assert_allclose(actual, expected, rtol=1e-12)
        else:
            assert_near(actual, expected, ulps, (name, attrs))


def on_gpu(name: str, operands: tuple[Array, ...], attrs: dict[str, Any]) -> Array:
    """What an op gives."""
    graph = one_node(TABLE[name], [TensorType(x.shape, x.dtype) for x in operands], attrs)
    found: Array = host(graphc.compile(graph, backend="cupy")(*operands))[0]
    return found


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", sorted(LINEAR))
def test_linear_algebra(name: str, dtype: Any, cp: Any) -> None:
    """Sizes on both sides of those up to which libraries take stacks at once; but 300! has no room in a number."""
    matrices.check_shapes(on_gpu, name, dtype, larger=() if name == "cofactor" else (300,))


@pytest.mark.parametrize("name", matrices.REFUSED)
def test_matrices_that_numpy_refuses_have_no_numbers(name: str, cp: Any) -> None:
    matrices.check_refused(on_gpu, name)


@pytest.mark.parametrize("name", matrices.ONE_TRIANGLE)
def test_one_triangle_counts(name: str, cp: Any) -> None:
    matrices.check_triangles(on_gpu, name)


@pytest.mark.parametrize("name", matrices.ZEROS)
def test_linear_algebra_of_zeros(name: str, cp: Any) -> None:
    matrices.check_zeros(on_gpu, name)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_cofactors_and_definite_matrices(dtype: Any, cp: Any) -> None:
    matrices.check_cofactors(on_gpu, dtype)
    matrices.check_definite(on_gpu, dtype)


@pytest.mark.parametrize("f", [matrices.likelihood, matrices.decomposed])
def test_derivatives_of_linear_algebra(f: Callable[..., Any], cp: Any) -> None:
    """Called more often than what is recorded."""
    given = tuple(np.random.default_rng(6).normal(size=(2, 6)))
    g = graphc.value_and_grad(f, argnums=(0, 1))
    value, slopes = graphc.compile(g, *given)(*given)
    compiled = graphc.compile(g, *given, backend="cupy")
    for _ in range(5):
        found, by = compiled(*given)
        for a, b in zip(host((found, *by)), (value, *slopes), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_refused_when_compiled(name: str, cp: Any) -> None:
    op = TABLE[name]
    if op.expansion is not None:
        pytest.skip("it is written out for kernels")
    case = next(cases(op))
    graph = one_node(op, list(case.types), case.attrs)
    with pytest.raises(UnsupportedError, match=name):
        graphc.compile(graph, backend="cupy")


# --- programs ----------------------------------------------------------------------------------------------------

SHAPES = {
    1: [(1,), (5,), (16,), (1_000_003,), (1 << 20,), (0,)],
    2: [(3, 4), (7, 33), (1024, 1024), (400, 1030), (5, 1), (3, 90_000), (200_000, 3), (0, 4), (4, 0)],
    3: [(2, 3, 4), (30, 50, 70), (40, 4, 160)],
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str, dtype: Any, cp: Any) -> None:
    f, rank = PROGRAMS[name]
    rng = np.random.default_rng(2)
    for shape in SHAPES[rank]:
        if (0 in shape and name in ("outer", "softmax")) or (name == "outer" and shape[0] > 1000):
            continue
        x = rng.normal(size=shape).astype(dtype)
        try:
            plain = graphc.compile(f, x, kernels="none")
            expected = leaves(plain(x))
        except (graphc.errors.GraphcError, ValueError):
            continue
        compiled = graphc.compile(f, x, backend="cupy")
        tolerance = 2e-4 if dtype == np.float32 else 1e-11
        for given in (cp.asarray(x), cp.asarray(np.concatenate([x.reshape(-1)[:1], x.reshape(-1)]))[1:].reshape(shape)):
            actual = host(compiled(given))
            for a, b in zip(actual, expected, strict=True):
                assert a.dtype == np.asarray(b).dtype
                scale = max(1.0, float(np.max(np.abs(b), initial=0))) if np.asarray(b).dtype.kind == "f" else 1.0
                np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale, err_msg=str(shape))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(20, 64), (20, 256), (4096, 1024), (30, 1000), (3000, 131), (5, 4100), (2, 33)])
def test_folds_in_both_directions(shape: tuple[int, int], dtype: Any, cp: Any) -> None:
    given = with_weights(*shape, dtype)
    specs = [TensorType(x.shape, x.dtype) for x in given]
    expected = graphc.compile(gradient_of_weights, *specs, kernels="none")(*given)
    actual = host(graphc.compile(gradient_of_weights, *specs, backend="cupy")(*given))
    for a, b in zip(actual, expected, strict=True):
        tolerance = 3e-4 if dtype == np.float32 else 1e-10
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * float(np.max(np.abs(b))))


@pytest.mark.parametrize("shape", [(7, 33), (1024, 1024), (3, 90_000), (200_000, 3), (400, 1030)])
@pytest.mark.parametrize("name", ["softmax", "layernorm", "columns", "choices", "casts", "gradient of softmax"])
def test_half_precision(name: str, shape: tuple[int, int], cp: Any) -> None:
    """As the kernels of the CPU, which round at the same places, at addresses that allow 16 bytes and that do not."""
    f, _ = PROGRAMS[name]
    x = np.random.default_rng(2).normal(size=shape).astype(np.float16)
    expected = leaves(graphc.compile(f, x, kernels="ufunc")(x))
    compiled = graphc.compile(f, x, backend="cupy")
    for given in (cp.asarray(x), cp.asarray(np.concatenate([x.reshape(-1)[:1], x.reshape(-1)]))[1:].reshape(shape)):
        for a, b in zip(host(compiled(given)), expected, strict=True):
            assert a.dtype == np.asarray(b).dtype
            np.testing.assert_allclose(a, b, rtol=4e-3, atol=1e-3)


@pytest.mark.parametrize("f", HALF_EXACT)
def test_all_numbers_of_half_precision(f: Callable[..., Any], cp: Any) -> None:
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    with np.errstate(all="ignore"):
        expected = f(x)
    actual = host(graphc.compile(f, x, backend="cupy")(cp.asarray(x)))[0]
    assert_near(actual, expected, 0, f)
    np.testing.assert_array_equal(np.signbit(actual)[~np.isnan(x)], np.signbit(expected)[~np.isnan(x)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_to_half_precision(dtype: Any, cp: Any) -> None:
    x = near_halves(dtype)
    with np.errstate(all="ignore"):
        expected = x.astype(np.float16)
    actual = host(graphc.compile(lambda x: x.astype(np.float16), x, backend="cupy")(cp.asarray(x)))[0]
    assert_near(actual, expected, 0, dtype)


def test_half_precision_by_libraries_and_positions(cp: Any) -> None:
    """Products, and sums at positions, which are rounded once here and step by step on the CPU."""
    rng = np.random.default_rng(6)
    x, y = (rng.normal(size=s).astype(np.float16) for s in ((64, 96), (96, 32)))
    at = rng.integers(0, 10, 64)

    def f(x: Any, y: Any) -> Any:
        return x @ y, x @ y[:, 0], graphc.numpy.zeros((10, 96), np.float16).at[at].add(x), x[at]

    expected = graphc.compile(f, x, y, kernels="ufunc")(x, y)
    actual = host(graphc.compile(f, x, y, backend="cupy")(cp.asarray(x), cp.asarray(y)))
    for a, b in zip(actual, expected, strict=True):
        assert a.dtype == np.float16
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=3e-2)


def test_running_sums_of_half_precision(cp: Any) -> None:
    x = np.random.default_rng(7).normal(size=(64, 96)).astype(np.float16)
    actual = host(graphc.compile(lambda x: np.cumsum(x, axis=1), x, backend="cupy")(cp.asarray(x)))[0]
    assert actual.dtype == np.float16
    np.testing.assert_allclose(actual, np.cumsum(x, axis=1, dtype=np.float64), rtol=2e-2, atol=0.1)


@pytest.mark.parametrize("batch", range(16))
def test_random_programs(batch: int, cp: Any) -> None:
    ran = 0
    with installed(DIVISION), np.errstate(all="ignore"):
        for seed in range(1000 + 12 * batch, 1012 + 12 * batch):
            program = draw(seed)
            if program is None or not hasattr(program, "trace"):
                continue
            graph = program.trace()
            if any(data["op"] in matrices.SIGNED for data in graph._node.values()):
                continue  # its vectors may have other signs here
            given = [np.asarray(v) for v in program.values[: len(graph.inputs)]]
            try:
                compiled = graphc.compile(graph, backend="cupy")
            except UnsupportedError:
                continue
            expected = graphc.compile(graph, kernels="none")(*given)
            for a, b in zip(host(compiled(*given)), expected, strict=True):
                wanted = np.asarray(b)
                assert a.dtype == wanted.dtype, program
                assert a.shape == wanted.shape, program
                if wanted.dtype.kind != "f":
                    same = np.mean(a == wanted) if a.size else 1.0
                    assert same > 0.9, f"{program}\n{a}\n{wanted}"  # a rounding may decide a comparison
                    continue
                close = np.isclose(a, wanted, rtol=1e-3, atol=1e-3 * max(1, _scale(wanted)), equal_nan=True)
                assert np.mean(close) > 0.9 if a.size else True, f"{program}\n{a}\n{wanted}"
            ran += 1
    assert ran


def _scale(x: Array) -> float:
    finite = np.abs(x[np.isfinite(x)]) if x.size else x
    return float(np.max(finite, initial=0.0))


# --- sizes, layouts, empty and large ------------------------------------------------------------------------------


def test_more_elements_than_32_bits_count(cp: Any) -> None:
    n = (1 << 31) + 4099
    f = graphc.compile(lambda x: (x + np.int8(1), np.sum((x > 0).astype(np.int64))), "i8[n]", backend="cupy")
    x = cp.ones(n, np.int8)
    x[-3:] = -7
    y, total = f(x)
    assert int(total) == n - 3
    assert cp.asnumpy(y[-4:]).tolist() == [2, -6, -6, -6]
    assert int(cp.count_nonzero(y[:-3] == 2)) == n - 3
    del x, y
    cp.get_default_memory_pool().free_all_blocks()


def test_layouts_are_read_as_they_are(cp: Any) -> None:
    x = np.random.default_rng(3).normal(size=(60, 50))
    f = graphc.compile(lambda x: np.exp(x) * 2 + x.sum(0), "f64[n,m]", backend="cupy")
    expected = np.exp(x) * 2 + x.sum(0)
    device = cp.asarray(x)
    for given in (device, cp.asfortranarray(device), cp.concatenate([device, device], axis=1)[:, :50], x, x[::1]):
        np.testing.assert_allclose(host(f(given))[0], expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(host(f(device[::-1]))[0], expected[::-1], rtol=1e-12, atol=1e-13)


def test_scalars_and_nothing(cp: Any) -> None:
    f = graphc.compile(lambda x, a: (x * a, np.sum(x), a + 1), "f32[n]", "f32[]", backend="cupy")
    for n in (0, 1, 5):
        y, total, b = f(cp.ones(n, np.float32), 3.0)
        assert y.shape == (n,)
        assert total.shape == b.shape == ()
        assert float(total) == n
        assert float(b) == 4.0


def test_folds_over_one_element(cp: Any) -> None:
    x = np.array([[0.0, -0.0, np.nan, 3.0]])
    for function in (np.sum, np.prod, np.max, np.min, np.any, np.all):
        f = graphc.compile(lambda x, g=function: (g(x > 1 if g in (np.any, np.all) else x, axis=0),), x, backend="cupy")
        wanted = function(x > 1 if function in (np.any, np.all) else x, axis=0)
        np.testing.assert_array_equal(host(f(cp.asarray(x)))[0], wanted)


def test_wrong_arguments_are_refused(cp: Any) -> None:
    f = graphc.compile(lambda x: x + 1, "f32[3]", backend="cupy")
    with pytest.raises(DTypeError, match="no safe cast"):
        f(cp.ones(3))
    with pytest.raises(ShapeError, match="wrong shape"):
        f(cp.ones(4, np.float32))
    with pytest.raises(UnsupportedError, match="exact_order"):
        graphc.compile(lambda x: x + 1, "f32[3]", backend="cupy", exact_order=True)


# --- products, sums, functions ---------------------------------------------------------------------------------------


def network_step(w: Any, v: Any, x: Any, t: Any) -> Any:
    """Products that cuBLAS computes, or we do, and adding up at positions."""

    def loss(w: Any, v: Any) -> Any:
        y = np.maximum(x @ w.T, 0) @ v
        return np.mean(np.log(np.sum(np.exp(y), axis=1)) - y[np.arange(64), t])

    value, (gw, gv) = graphc.value_and_grad(loss, argnums=(0, 1))(w, v)
    return value, w - 0.1 * gw, v - 0.1 * gv


@pytest.fixture(params=["small ones by us", "all by cuBLAS"])
def multiplier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(products, "_products", {})
    if request.param == "all by cuBLAS":
        monkeypatch.setattr(small_products, "MOST", 0)
    return str(request.param)


@pytest.mark.usefixtures("multiplier")
def test_products_are_recorded(cp: Any) -> None:
    rng = np.random.default_rng(3)
    given = [rng.normal(size=s).astype(np.float32) for s in ((100, 30), (100, 10), (64, 30))]
    given.append(rng.integers(0, 10, 64))
    f = graphc.compile(network_step, *given, backend="cupy")
    assert "ck.matmul" in f.source
    wanted = graphc.compile(network_step, *given)(*given)
    arguments = [cp.asarray(x) for x in given]
    first = host(f(*arguments))
    for _ in range(6):
        for a, b, c in zip(host(f(*arguments)), wanted, first, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(a, c)
    (recording,) = f._run.recordings.values()
    assert recording is not None, f._run.failures
    assert recording.whole is None  # the first product is too much for a kernel of one block


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_of_exponentials_of_columns(dtype: Any, cp: Any) -> None:
    rng = np.random.default_rng(8)
    for shape in ((5000, 260), (70, 3), (20000, 7)):
        x = (rng.normal(size=shape) * rng.choice([1, 30], shape[1])).astype(dtype)
        x[::7, 0] = -np.inf
        x[:, 1] = -np.inf
        x[shape[0] // 2, 2] = np.inf
        f = graphc.compile(lambda x: np.log(np.sum(np.exp(x), axis=0)), x, backend="cupy")
        wanted = scipy.special.logsumexp(x.astype(np.float64), axis=0)
        actual = host(f(cp.asarray(x)))[0]
        np.testing.assert_allclose(actual, wanted, rtol=8 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize(("count", "span", "rest"), [(50_000, 20_000, 64), (3000, 10, 3), (40_000, 3, 1), (100, 7, 2)])
def test_adding_up_at_many_positions(count: int, span: int, rest: int, cp: Any) -> None:
    rng = np.random.default_rng(9)
    u = rng.integers(-5, 6, (count, rest)).astype(np.float32)
    i = rng.integers(-span, span, count).astype(np.int32)
    f = graphc.compile(
        graphc.grad(lambda w, i, u: np.sum(w[i] * u)), np.zeros((span, rest), np.float32), i, u, backend="cupy"
    )
    wanted = np.zeros((span, rest))
    np.add.at(wanted, i, u)
    given = [cp.asarray(v) for v in (np.zeros((span, rest), np.float32), i, u)]
    for _ in range(4):
        np.testing.assert_array_equal(host(f(*given))[0], wanted)


@pytest.mark.parametrize("how", ["a few much more often than others", "one alone", "more than a block marks at a time"])
def test_adding_up_at_positions_that_are_not_even(how: str, cp: Any) -> None:
    """In a fixed order, whatever the order in which they arrive."""
    rng = np.random.default_rng(11)
    count, span = (200_000, 3000) if how.startswith("more") else (50_000, 20_000)
    i = np.minimum(rng.zipf(1.3, count) - 1, span - 1)
    if how == "one alone":
        i[:] = 17
    if how.startswith("more"):
        i[::3] = span - 1
    u = (rng.normal(size=(count, 6)) * 10.0 ** rng.integers(-6, 6, (count, 1))).astype(np.float32)
    f = graphc.compile(
        graphc.grad(lambda w, i, u: np.sum(w[i] * u)), np.zeros((span, 6), np.float32), i, u, backend="cupy"
    )
    exact, size = np.zeros((2, span, 6))
    np.add.at(exact, i, u.astype(np.float64))
    np.add.at(size, i, np.abs(u.astype(np.float64)))
    given = [cp.asarray(v) for v in (np.zeros((span, 6), np.float32), i, u)]
    first = host(f(*given))[0]
    assert np.all(np.abs(first - exact) <= 6e-8 * np.abs(exact) + 1e-12 * size)
    for _ in range(4):
        np.testing.assert_array_equal(host(f(*given))[0], first)


@pytest.mark.parametrize(("shape", "axis"), [((30_000, 260), 0), ((3, 90_000), 1), ((2000, 3000), None), ((70, 3), 0)])
def test_squared_deviations_take_one_sweep(shape: tuple[int, int], axis: int | None, cp: Any) -> None:
    x = far_from_zero(shape, axis)
    wide = x.astype(np.float64)
    mean, variance, normal = host(graphc.compile(lambda x: deviations(x, axis), x, backend="cupy")(cp.asarray(x)))
    np.testing.assert_allclose(mean, np.mean(wide, axis=axis, keepdims=True), rtol=2e-7)
    about = np.mean((wide - mean) ** 2, axis=axis, keepdims=True)
    np.testing.assert_allclose(variance, about, rtol=3e-7, atol=1e-12)
    spread = 1 + np.sqrt(about)
    np.testing.assert_allclose(normal * spread, wide - mean, rtol=1e-6, atol=1e-6 * float(np.max(spread)))


def test_squared_deviations_of_what_is_not_finite(cp: Any) -> None:
    x = np.random.default_rng(12).normal(size=(5000, 12)).astype(np.float32)
    x[0, 0], x[3, 1], x[0, 2], x[4999, 3] = np.inf, -np.inf, np.nan, np.nan
    x[:, 4] = np.inf
    actual = host(graphc.compile(lambda x: np.var(x, axis=0), x, backend="cupy")(cp.asarray(x)))[0]
    assert np.all(np.isnan(actual[:5]))
    np.testing.assert_allclose(actual[5:], np.var(x[:, 5:].astype(np.float64), axis=0), rtol=1e-6)


# (function, dtype, largest error in units in the last place, where)
STATED = [
    ("erfc", np.float32, 2.5, (-6, 9)),
    ("erfc", np.float64, 2.3, (-6, 26)),
    ("exp", np.float64, 1, (-750, 712)),
    ("log", np.float32, 1, (0, 3)),
    ("log", np.float64, 1, (0, 3)),
]
WRITTEN: dict[str, tuple[Any, Any]] = {
    "erfc": (scipy.special.erfc, mpmath.erfc),
    "exp": (np.exp, mpmath.exp),
    "log": (np.log, mpmath.log),
}


@pytest.mark.parametrize(("name", "dtype", "ulps", "where"), STATED)
def test_functions_are_as_exact_as_stated(name: str, dtype: Any, ulps: float, where: Any, cp: Any) -> None:
    x = np.random.default_rng(10).uniform(*where, 3000).astype(dtype)
    f, exactly = WRITTEN[name]
    actual = host(graphc.compile(f, x, backend="cupy")(cp.asarray(x)))[0]
    with mpmath.workprec(120):
        for a, y in zip(x, actual, strict=True):
            exact = exactly(mpmath.mpf(float(a)))
            near = dtype(float(exact))
            if np.isinf(near):
                assert y == near, a
            else:
                assert abs(mpmath.mpf(float(y)) - exact) <= ulps * abs(float(np.spacing(near))), a


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quotients_and_roots_are_rounded_correctly(dtype: Any, cp: Any) -> None:
    """Of numbers of all sizes, and of ones that differ by few units; several quotients share a divisor."""
    rng = np.random.default_rng(11)
    fits, n = np.finfo(dtype), 1 << 19
    x, y = (np.exp2(rng.uniform(fits.minexp - fits.nmant, fits.maxexp, n)).astype(dtype) for _ in range(2))
    x[::2], y[::2] = (1 + (rng.integers(0, 1 << 12, n // 2) * fits.eps).astype(dtype) for _ in range(2))

    def f(x: Any, y: Any) -> Any:
        return x / y, 1 / y, (x + 1) / y, np.sqrt(x)

    actual = host(graphc.compile(f, x, y, backend="cupy")(cp.asarray(x), cp.asarray(y)))
    with np.errstate(all="ignore"):
        for got, wanted in zip(actual, f(x, y), strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values_of_functions(name: str, dtype: Any, cp: Any) -> None:
    """Each beside others in the same thread; NaN stays NaN whatever its bits."""
    with np.errstate(all="ignore"):
        x = np.array([0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-310, -1e-310, 5e-324, 1, -1, 800, -800], dtype)
        x = np.resize(x, 1 << 18)
        expected = np.array([float(special_value(name, v)) for v in x[:13]], dtype)
        actual = host(graphc.compile(WRITTEN[name][0], x, backend="cupy")(cp.asarray(x)))[0]
    np.testing.assert_allclose(actual, np.resize(expected, 1 << 18), rtol=4 * np.finfo(dtype).eps, atol=0)


def special_value(name: str, x: Any) -> float:
    if name == "erfc":
        return math.erfc(x)
    return float(np.exp(x) if name == "exp" else np.log(x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_all_layouts(dtype: Any, multiplier: str, cp: Any) -> None:
    for a, b in {**AS_IT_IS, **COPIED}.values():
        # the same strides on the GPU
        x, y = (_alike(cp, v.astype(v.dtype), v).astype(dtype, order="K") for v in (a, b))
        actual = cp.asnumpy(matmul(x, y))
        np.testing.assert_array_equal(actual, np.matmul(a, b))


@pytest.mark.parametrize("sizes", [(100, 784, 1000), (100, 1000, 1000), (65, 1023, 130), (33, 129, 67)])
def test_products_of_tiles(sizes: tuple[int, int, int], cp: Any) -> None:
    rows, inner, columns = sizes
    processors = device(cp.cuda.runtime.getDevice()).processors
    rng = np.random.default_rng(5)
    for k, left in enumerate(LAYOUTS):
        for right in (LAYOUTS[k], LAYOUTS[(k + 1) % len(LAYOUTS)]):
            a, b = operand(left, rows, inner, 0), operand(right, inner, columns, 0)
            a, b = (rng.normal(size=v.shape).astype(np.float32) if v.flags.c_contiguous else v for v in (a, b))
            stack = max(a.shape[0] if a.ndim > 2 else 1, b.shape[0] if b.ndim > 2 else 1)
            if tiled_products.chunk_of(processors, stack, rows, inner, columns) is None:
                continue
            x, y = _alike(cp, a, a), _alike(cp, b, b)
            found = cp.asnumpy(matmul(x, y))
            exact = a.astype(np.float64) @ b.astype(np.float64)
            size = np.abs(a).astype(np.float64) @ np.abs(b)
            # each step rounded once: some ulps of the sum of magnitudes, whatever the order
            assert np.all(np.abs(found - exact) <= 8 * np.finfo(np.float32).eps * size)
            np.testing.assert_array_equal(cp.asnumpy(matmul(x, y)), found)


def _alike(cp: Any, values: Any, model: Any) -> Any:
    """An array on the GPU whose axes lie in memory in the same order."""
    order = np.argsort([-abs(s) for s in model.strides], kind="stable")
    return cp.asarray(np.ascontiguousarray(values.transpose(order))).transpose(np.argsort(order))


def test_results_are_the_same_bits_every_time(cp: Any) -> None:
    x = cp.asarray(np.random.default_rng(6).normal(size=(3000, 700)).astype(np.float32))
    indices = cp.asarray(np.random.default_rng(7).integers(0, 50, 3000))
    f = graphc.compile(PROGRAMS["several results"][0], "f32[n,m]", backend="cupy")
    g = graphc.compile(
        graphc.grad(lambda w, i, x: np.sum(np.take(w, i, axis=0) * x)),
        "f32[50,700]",
        "i64[n]",
        "f32[n,700]",
        backend="cupy",
    )
    w = cp.ones((50, 700), np.float32)
    first = [*host(f(x)), *host(g(w, indices, x))]
    for _ in range(10):
        for a, b in zip([*host(f(x)), *host(g(w, indices, x))], first, strict=True):
            np.testing.assert_array_equal(a, b)
    exact = np.zeros((50, 700))
    np.add.at(exact, cp.asnumpy(indices), cp.asnumpy(x).astype(np.float64))
    np.testing.assert_allclose(first[-1], exact, rtol=1e-5, atol=1e-4)


# --- random numbers, jit, other libraries ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draw_numbers",
    [
        lambda key: gr.bits(key, (1000,)),
        lambda key: gr.uniform(key, (1000,)),
        lambda key: gr.normal(key, (1000,)),
        lambda key: gr.split(key, 5),
        lambda key: gr.fold_in(key, 7),
        lambda key: gr.integers(key, (1000,), 0, 1_000_000_007),
    ],
)
def test_keys_give_the_numbers_of_the_cpu(draw_numbers: Callable[..., Any], cp: Any) -> None:
    key = gr.key(42)
    spec = TensorType(key.shape, key.dtype)
    wanted = graphc.compile(draw_numbers, spec)(key)
    (actual,) = host(graphc.compile(draw_numbers, spec, backend="cupy")(key))
    if wanted.dtype.kind == "f":
        np.testing.assert_allclose(actual, wanted, rtol=4e-15, atol=1e-15)
    else:
        np.testing.assert_array_equal(actual, wanted)


def test_jit(cp: Any) -> None:
    f = graphc.jit(lambda x: np.sum(np.exp(x) * 2), backend="cupy")
    for n in (3, 5, 7):
        x = np.linspace(0, 1, n)
        np.testing.assert_allclose(float(f(cp.asarray(x))), np.sum(np.exp(x) * 2), rtol=1e-14)


def test_arrays_of_other_libraries_are_taken_without_a_copy(cp: Any) -> None:
    torch = pytest.importorskip("torch")
    f = graphc.compile(lambda x: x * 2 + 1, "f32[n]", backend="cupy")
    x = torch.arange(5, dtype=torch.float32, device="cuda")
    torch.cuda.synchronize()
    y = f(x)
    assert host(y)[0].tolist() == [1, 3, 5, 7, 9]
    assert torch.from_dlpack(y).device.type == "cuda"
    from graphc.backends.cupy.arguments import on_device

    assert on_device(cp, x).data.ptr == x.data_ptr()


def test_arrays_of_jax(cp: Any) -> None:
    jnp = pytest.importorskip("jax.numpy")
    f = graphc.compile(lambda x: x * 2 + 1, "f32[n]", backend="cupy")
    x = jnp.arange(5, dtype=jnp.float32)
    x.block_until_ready()
    assert host(f(x))[0].tolist() == [1, 3, 5, 7, 9]


def test_printing_and_callbacks(cp: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> Any:
        graphc.debug_print("x = {}", x)
        return graphc.pure_callback(np.sinc, "f64[3]", x) + 1

    y = graphc.compile(f, "f64[3]", backend="cupy")(np.zeros(3))
    assert host(y)[0].tolist() == [2.0, 2.0, 2.0]
    assert "x = [0. 0. 0.]" in capsys.readouterr().out


def test_the_examples_of_the_page(cp: Any, root: Path) -> None:
    """On a GPU none of them is skipped."""
    text = (root / "docs" / "gpu.md").read_text(encoding="utf-8").replace("  # doctest: +SKIP", "")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    found = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "gpu.md", None, 0)
    assert len(found.examples) >= 6
    assert doctest.DocTestRunner().run(found).failed == 0
