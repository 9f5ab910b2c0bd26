"""Kernels: every generator against the NumPy meaning of every op, and of programs over every kind of array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

import graphc
from graphc.backends.numpy import blocked
from graphc.backends.numpy.llvm import generator, machine
from graphc.ir import Graph, TensorType
from graphc.ops import TABLE
from graphc.ops.meaning import evaluate
from graphc.ops.record import Op
from graphc.verification.cases import samples
from tests.made_kernels import parts_of
from tests.op_kernels import (
    ELEMENTWISE,
    FOLDS,
    assert_near,
    dtypes_of,
    elementwise_rows,
    fold_operand,
    kernel_of,
    meant,
    one_node,
)

RNG = np.random.default_rng(5)
GENERATORS: dict[str, Callable[..., Any]] = {"llvm": generator.load, "ufunc": blocked.load}
# what runs on this processor: code for it, and for plainer ones of its kind
MACHINES = {"host": machine.host()}
if "x86_64" in machine.host().triple:
    features = machine.host().features
    MACHINES["baseline"] = machine.X86_BASELINE
    if "+avx2" in features and "+fma" in features:
        MACHINES["avx2"] = machine.X86_AVX2
RUNNERS: dict[str, Callable[..., Any]] = {
    **{name: lambda kernels, m=m: generator.load(kernels, machine=m) for name, m in MACHINES.items()},
    "ufunc": blocked.load,
}
FOREIGN = {"avx512": machine.X86_AVX512, "neon": machine.ARM_NEON}


def run(load: Callable[..., Any], graph: Graph, operands: list[Any]) -> Any:
    kernel = kernel_of(graph)
    type = graph.output_types[0]
    result = np.empty(type.shape, type.dtype)
    by_node = dict(zip(graph.inputs, operands, strict=True))
    with np.errstate(all="ignore"):
        load([kernel])[0](*[by_node[r] for r in kernel.roots], result)
    return result


@pytest.mark.parametrize("load", RUNNERS.values(), ids=RUNNERS)
@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_elementwise_ops_mean_what_numpy_means(op: Op, load: Callable[..., Any]) -> None:
    """Every pair of special numbers, at every dtype; integers bit for bit, floats within the record's ulps."""
    tried = 0
    for graph, attrs, operands in elementwise_rows(op):
        expected, ulps = meant(op, operands, attrs, graph.output_types[0].dtype)
        assert_near(run(load, graph, operands), expected, ulps, (op.name, operands[0].dtype, attrs))
        tried += 1
    assert tried


@pytest.mark.parametrize("load", RUNNERS.values(), ids=RUNNERS)
@pytest.mark.parametrize("op", FOLDS, ids=lambda op: op.name)
def test_folds_mean_what_numpy_means(op: Op, load: Callable[..., Any]) -> None:
    rng = np.random.default_rng(1)
    shapes = [((5,), (0,)), ((300,), (0,)), ((9000,), (0,)), ((7, 33), (1,)), ((7, 33), (0,)), ((4, 5, 6), (0, 2))]
    shapes += [
        ((4, 5, 6), (1,)),
        ((3, 0), (1,)),
        ((0, 3), (1,)),
        ((6, 1, 70), (0,)),
        ((2100, 3), (0,)),
        ((3, 5000), (0,)),
    ]
    for dtype in dtypes_of(op, 1):
        for shape, axes in shapes:
            for keepdims in (False, True):
                attrs = {"axes": axes, "keepdims": keepdims}
                operand = fold_operand(rng, op, shape, dtype)
                try:
                    graph = one_node(op, [TensorType(shape, dtype)], attrs)
                except graphc.errors.ShapeError:
                    continue
                actual = run(load, graph, [operand])
                exact = operand.astype(np.float64 if dtype.kind == "f" else dtype)
                expected = evaluate(op, [exact], attrs).astype(dtype)
                assert actual.dtype == expected.dtype
                assert actual.shape == expected.shape
                if dtype.kind != "f":
                    np.testing.assert_array_equal(actual, expected)
                    continue
                magnitude = np.abs(exact).sum(axis=axes, keepdims=keepdims)
                error = np.abs(actual.astype(exact.dtype) - expected.astype(exact.dtype))
                most = 0.51 if dtype == np.float16 and op.fold != "prod" else 4
                assert np.all(error <= most * np.finfo(dtype).eps * magnitude), (op.name, dtype, shape, axes)


@pytest.mark.parametrize("kernels", ["llvm", "ufunc"])
@pytest.mark.parametrize("named", [False, True], ids=["fixed sizes", "named sizes"])
@pytest.mark.parametrize("before", [0, 1, 18])
@pytest.mark.parametrize("after", [0, 2])
def test_what_lies_outside_a_slice_is_zero(kernels: str, named: bool, before: int, after: int) -> None:
    """Loops are cut where operands begin and end: elementwise, and reduced along and across the cuts."""

    def f(x: Any, y: Any) -> Any:
        line = np.pad(x, (before, after))
        plane = np.pad(y, ((after, before), (before, after)))
        both = line + np.pad(x, (after, before)) * 2  # conditions that overlap
        results = np.cos(line), np.exp(line).sum(), both, np.exp(both).max()
        return *results, plane * 2 + 1, np.exp(plane).sum(axis=0), np.exp(plane).sum(axis=1)

    for n in (1, 3, 40):
        x, y = RNG.normal(size=n), RNG.normal(size=(5, n))
        specs = ("f64[n]", "f64[m,n]") if named else (x, y)
        for actual, expected in zip(graphc.compile(f, *specs, kernels=kernels)(x, y), f(x, y), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-13)


@pytest.mark.parametrize("kernels", ["llvm", "ufunc"])
def test_slices_that_depend_on_named_sizes(kernels: str) -> None:
    """Two named sizes, of which either may be the larger: which condition ends first is not known beforehand."""

    def f(x: Any, y: Any) -> Any:
        n, m = x.shape[0], y.shape[0]
        return np.exp(np.pad(x, (1, m))) * np.pad(y, (n, 1)), np.pad(x, (m, 1)) + np.pad(y, (1, n))

    compiled = graphc.compile(f, "f64[n]", "f64[m]", kernels=kernels)
    for n in (0, 1, 2, 30):
        for m in (0, 1, 17, 31):
            x, y = RNG.normal(size=n), RNG.normal(size=m)
            for actual, expected in zip(compiled(x, y), f(x, y), strict=True):
                np.testing.assert_allclose(actual, expected, rtol=1e-13)


@pytest.mark.parametrize("load", GENERATORS.values(), ids=GENERATORS)
@pytest.mark.parametrize("fold", ["reduce_sum", "reduce_prod", "reduce_max", "reduce_min"])
@pytest.mark.parametrize("shape", [(7,), (40,), (3, 70), (70, 3)])
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_folds_carry_nan_and_infinities(
    fold: str, shape: tuple[int, ...], special: float, load: Callable[..., Any]
) -> None:
    for place in (0, 2, -1):
        x = np.ones(shape)
        x.reshape(-1)[place] = special
        attrs = {"axes": (0,), "keepdims": False}
        graph = one_node(TABLE[fold], [TensorType(shape, x.dtype)], attrs)
        np.testing.assert_array_equal(run(load, graph, [x]), evaluate(TABLE[fold], [x], attrs))


@pytest.mark.parametrize("target", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("op", [*ELEMENTWISE, *FOLDS], ids=lambda op: op.name)
def test_code_for_other_processors_is_made(op: Op, target: machine.Machine) -> None:
    """It cannot run here, but LLVM verifies and compiles it."""
    kernels = []
    attrs = next((dict(s.attrs) for s in samples(op)), {})
    for dtype in dtypes_of(op, len(op.domains)):
        types = [TensorType((3, 50), dtype)] * len(op.domains)
        if op.name == "where":
            types[0] = TensorType((3, 50), np.dtype(np.bool_))
        if op.fold is not None:
            attrs = {"axes": (1,), "keepdims": False}
        kernels.append(kernel_of(one_node(op, types, attrs)))
    assert len(machine.assemble(parts_of(kernels, target)[0].text, target)) > 500


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def layernorm(x: Any) -> Any:
    m = np.mean(x, -1, keepdims=True)
    v = np.mean((x - m) ** 2, -1, keepdims=True)
    return (x - m) / np.sqrt(v + 0.1)


def columns(x: Any) -> Any:
    m = x.mean(0)
    v = ((x - m) ** 2).mean(0)
    return (x - m) / np.sqrt(v + 0.1), m, v


def stencil(u: Any) -> Any:
    inner = u[1:-1, 1:-1]
    return inner + 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * inner)


PROGRAMS: dict[str, tuple[Callable[..., Any], int]] = {
    "chain": (lambda x: np.tanh(x * 2 + 1) * np.exp(-x), 1),
    "outer": (lambda x: np.exp(x[:, None] if x.ndim else x) * (x[0] if x.ndim else x), 1),
    "softmax": (softmax, 2),
    "layernorm": (layernorm, 2),
    "columns": (columns, 2),
    "columns of one value": (lambda x: (x - 1 / np.exp(np.broadcast_to(x[:, :1], x.shape)).sum(0)).sum(0), 2),
    "logsumexp of columns": (lambda x: np.log(np.sum(np.exp(x), axis=0)), 2),
    "stencil": (stencil, 2),
    "gradient of a stencil": (graphc.grad(lambda u: np.sum(stencil(u) ** 2)), 2),
    "gradient of layernorm": (graphc.grad(lambda x: np.sum(layernorm(x) ** 3)), 2),
    "gradient of softmax": (graphc.grad(lambda x: np.sum(softmax(x)[..., 0])), 2),
    "transposed": (lambda x: np.exp(x.T) + x.T * 2, 2),
    "flipped": (lambda x: np.sin(x[::-1]) + x[:, ::-2].sum(), 2),
    "several results": (lambda x: (x * 2 + 1, np.sum(x * x), np.max(x, axis=0) + 1, np.min(x * 3)), 2),
    "extrema": (lambda x: (np.argmax(x, axis=1), np.argmin(x * x, axis=0), np.argmax(-x, keepdims=True)), 2),
    "choices": (lambda x: (np.where((x > 0) | (x < -1), x, -x), x > 0.5, np.any(x > 2), (x > 0).sum(1)), 2),
    "casts": (lambda x: ((x * 10).astype(np.int32) // 3, (x > 0).astype(np.float32) + x.astype(np.float32)), 2),
    "middle": (lambda x: np.exp(x) - np.sum(np.exp(x), axis=1, keepdims=True), 3),
    "outer axes": (lambda x: np.sum(x * x, axis=(0, 2)), 3),
    "reshaped": (lambda x: np.exp(x.reshape(-1) * 2) + 1, 3),
    "split axis": (lambda x: np.exp(x.reshape(x.shape[0], 1, -1)).sum(0), 2),
    "padded": (lambda x: np.pad(np.exp(x), 2)[1:] * 3 + 1, 1),
    "normalised": (lambda x: x / np.sum(np.abs(x)), 1),
    "positions": (lambda x: x * np.arange(x.shape[-1]) + np.arange(x.shape[0])[:, None], 2),
}
SHAPES = {
    1: [(1,), (5,), (16,), (17,), (1000,), (0,)],
    2: [(3, 4), (7, 33), (40, 130), (5, 1)],
    3: [(2, 3, 4), (3, 5, 70)],
}
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "reversed": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "every second": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "repeated": lambda x: np.broadcast_to(x[:1], x.shape),
    "misaligned": lambda x: misaligned(x),
}


def misaligned(x: Any) -> Any:
    room = np.zeros(x.nbytes + 1, np.uint8)
    result = room[1:].view(x.dtype).reshape(x.shape)
    result[...] = x
    return result


@pytest.mark.parametrize("kernels", GENERATORS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("symbolic", [False, True], ids=["fixed", "symbolic"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_over_every_layout(name: str, symbolic: bool, dtype: Any, kernels: str) -> None:
    f, rank = PROGRAMS[name]
    rng = np.random.default_rng(2)
    for shape in SHAPES[rank]:
        if symbolic and 1 in shape:
            continue
        if 0 in shape and name in ("outer", "softmax"):
            continue
        x = rng.normal(size=shape).astype(dtype)
        spec = graphc.Spec(("n", "m", "k")[:rank], dtype) if symbolic else x
        try:
            compiled = graphc.compile(f, spec, kernels=kernels)
        except graphc.errors.GraphcError:
            assert symbolic  # a few programs need fixed sizes
            return
        plain = graphc.compile(f, x, kernels="none")
        for layout in LAYOUTS.values():
            given = layout(x)
            before = given.copy()
            actual, expected = compiled(given), plain(given)
            for a, b in zip(leaves(actual), leaves(expected), strict=True):
                assert np.asarray(a).dtype == np.asarray(b).dtype
                tolerance = 2e-4 if dtype == np.float32 else 1e-11
                np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
            np.testing.assert_array_equal(given, before)


def leaves(tree: Any) -> list[Any]:
    return list(tree) if isinstance(tree, tuple) else [tree]


@pytest.mark.parametrize("kernels", GENERATORS)
@pytest.mark.parametrize("name", ["softmax", "layernorm", "columns", "several results", "extrema", "choices", "chain"])
def test_nan_and_infinities_go_where_numpy_sends_them(name: str, kernels: str) -> None:
    f, rank = PROGRAMS[name]
    rng = np.random.default_rng(3)
    for special in (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e300):
        x = rng.normal(size=(6, 40)[2 - rank :])
        x.reshape(-1)[[3, -1]] = special
        compiled, plain = graphc.compile(f, x, kernels=kernels), graphc.compile(f, x, kernels="none")
        for a, b in zip(leaves(compiled(x)), leaves(plain(x)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-300)


def test_the_result_does_not_depend_on_where_an_element_stands() -> None:
    """The rest of a loop that fills no vector is computed as the vectors are."""
    f = graphc.compile(lambda x: np.tanh(np.exp(x) + x * 3), "f32[n]")
    x = np.random.default_rng(4).normal(size=200).astype(np.float32)
    whole = f(x)
    for n in range(1, 200, 7):
        np.testing.assert_array_equal(f(x[:n]), whole[:n])
        np.testing.assert_array_equal(f(x[n:]), whole[n:])


def test_sums_are_as_exact_as_numpys() -> None:
    rng = np.random.default_rng(5)
    x = rng.uniform(size=3_000_001).astype(np.float32)
    exact = np.sum(x.astype(np.float64) ** 2)
    ours = abs(graphc.compile(lambda x: np.sum(x * x), "f32[n]")(x) - exact)
    assert ours <= max(abs(np.sum(x * x) - exact), exact * 2**-24)


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("named", [True, False])
def test_column_sums_of_many_rows_are_as_exact(columns: int, named: bool) -> None:
    x = np.random.default_rng(8).uniform(1, 2, size=(1_000_000, columns)).astype(np.float32)
    f = graphc.compile(lambda x: np.sum(x, axis=0), "f32[n,m]" if named else x, kernels="llvm")
    np.testing.assert_allclose(f(x), np.sum(x, axis=0, dtype=np.float64), rtol=2**-21)


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("source", ["f32", "f64"])
@pytest.mark.parametrize("size", [1, 2, 21])
def test_floats_beyond_an_integer_dtype_wrap(name: str, source: str, size: int) -> None:
    numbers = [-1.0, -2.5, 300.7, -129.0, 40000.5, -70000.0, 255.0, 2.0**30 + 2.0**20, -(2.0**31)]
    f = graphc.compile(lambda x: x.astype(name), f"{source}[{size}]", kernels="llvm")
    for number in numbers:
        x = np.full(size, number, np.float32 if source == "f32" else np.float64)
        whole = np.full(size, int(number), np.int64)
        np.testing.assert_array_equal(f(x), whole.astype(name))


def test_unsigned_integers_of_64_bits_hold_large_floats() -> None:
    x = np.array([0, 0.5, 1e10, 2.0**63 - 2048, 2.0**63, 2.0**64 - 2048])
    expected = np.array([int(number) for number in x], np.uint64)
    np.testing.assert_array_equal(graphc.compile(lambda x: x.astype(np.uint64), "f64[n]", kernels="llvm")(x), expected)


def test_a_sum_that_overflows_is_infinite() -> None:
    assert graphc.compile(lambda x: np.sum(x * 2), "f64[n]")(np.full(9000, 1e308)) == np.inf


def test_kernels_are_deterministic() -> None:
    x = np.random.default_rng(6).normal(size=(300, 70))
    f = graphc.compile(PROGRAMS["several results"][0], x)
    first = f(x)
    for _ in range(20):
        for a, b in zip(first, f(x), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kernels", ["ufunc", "llvm"])
@pytest.mark.parametrize("n", [3, 100, 1500])
def test_totals_of_what_is_the_same_along_a_row(n: int, kernels: Literal["ufunc", "llvm"]) -> None:
    """A reduction over the outer loops whose operand does not vary along the inner ones, and whose result does."""

    def f(v: Any, c: Any) -> Any:
        return np.sum(np.sum(v @ np.sqrt(v).T, axis=1) * c)

    v, c = np.arange(1, n + 1.0)[:, None], np.arange(1.0 * n)
    gradient = graphc.grad(f)
    by_kernels = graphc.compile(gradient, v, c, kernels=kernels)
    by_numpy = graphc.compile(gradient, v, c, kernels="none")
    np.testing.assert_allclose(by_kernels(v, c), by_numpy(v, c), rtol=1e-12)
    named = graphc.compile(gradient, "f64[n,1]", "f64[n]", kernels=kernels)
    np.testing.assert_array_equal(named(v, c), by_kernels(v, c))


@pytest.mark.parametrize("kernels", ["ufunc", "llvm"])
@pytest.mark.parametrize("spec", ["f64[n,m]", "f64[0,m]", "f64[n,5]", "f64[n,3]"])
def test_reductions_of_nothing(spec: str, kernels: Literal["ufunc", "llvm"]) -> None:
    """Memory that others have used holds what they left: results that nothing is added to are written all the same."""

    def f(x: Any) -> Any:
        e = np.exp(x)
        down = (np.sum(e, axis=0), np.prod(e, axis=0), np.all(x > 0, axis=0), np.any(x > 0, axis=0))
        return (*down, np.sum(x), e / np.sum(e, axis=0), np.sum(x, axis=1))

    compiled = graphc.compile(f, spec, kernels=kernels)
    x = np.empty((0, 3 if "3" in spec else 5))
    for _ in range(3):
        used = [np.full(n, fill) for n in (1, 3, 5, 8) for fill in (7.0, True, False) for _ in range(30)]
        del used
        for found, wanted in zip(compiled(x), f(x), strict=True):
            np.testing.assert_array_equal(found, wanted)
            assert np.shape(found) == np.shape(wanted)
