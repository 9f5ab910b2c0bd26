"""Half precision in kernels: all its numbers, roundings to it, and programs, by every generator against NumPy."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.backends.cupy.schedule import Device, Program
from graphc.backends.numpy.llvm import code, machine, memory
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.values import F16, F32, F64, I64
from graphc.ir import TensorType
from graphc.kernels import (
    EXACT_IN_HALF,
    HALF,
    SINGLE,
    Affine,
    Apply,
    Fixed,
    Kernel,
    Load,
    Reduce,
    Store,
    without_halves,
)
from graphc.ops import TABLE
from graphc.ops.meaning import evaluate
from tests.cuda_emulation import COMPILER, Case, Emulator
from tests.op_kernels import one_node
from tests.test_kernels import LAYOUTS, MACHINES, PROGRAMS, RUNNERS, leaves, run

pytestmark = [pytest.mark.filterwarnings("ignore::RuntimeWarning")]

Array = np.ndarray[Any, Any]
ALL = np.arange(1 << 16, dtype=np.uint16).view(np.float16)

# functions whose results half precision has, or to which they are rounded correctly
EXACT: tuple[Callable[..., Any], ...] = (
    lambda x: -x,
    lambda x: abs(x),
    lambda x: np.sqrt(x),
    lambda x: np.floor(x),
    lambda x: np.rint(x),
    lambda x: np.sign(x),
    lambda x: np.maximum(x, 1),
    lambda x: np.where(x > 0.5, x, -0.0),
    lambda x: x + x[::-1],
    lambda x: x - np.float16(0.1),
    lambda x: x * x[::-1],
    lambda x: 1 / x,
    lambda x: x / x[::-1],
    lambda x: x % 3,
    lambda x: x // 0.3,
    lambda x: x.astype(np.float32),
    lambda x: x.astype(np.float64),
    lambda x: x.astype(np.bool_),
    lambda x: np.isnan(x),
    lambda x: np.signbit(x),
    lambda x: x.astype(np.float32).astype(np.float16),
)


def near_halves(dtype: Any) -> Array:
    """Numbers at which rounding to half precision is decided: between its neighbours, just beside, and at the ends."""
    upward = ALL[:0x7C01].astype(np.float64)
    upward[-1] = 65536  # where the number after the largest would be
    middle = (upward[:-1] + upward[1:]) / 2
    found = np.concatenate([upward, middle, [1e30, 0.0, 1e-30, np.inf, np.nan]]).astype(dtype)
    every = np.concatenate([found, np.nextafter(found, dtype(0)), np.nextafter(found, dtype(np.inf))])
    return np.concatenate([every, -every])


def assert_same(actual: Any, expected: Any) -> None:
    """The same numbers, signs of zeros and NaN; a NaN may have other bits."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)
    if expected.dtype.kind == "f":
        known = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(actual)[known], np.signbit(expected)[known])


# --- conversions -------------------------------------------------------------------------------------------------


def conversion(source: Any, target: Any, machine_: machine.Machine, lanes: int) -> Callable[[Array], Array]:
    """A function of machine code that converts whole vectors."""
    e = Emitter(Module(machine_.features_used), lanes)
    e.label("entry")

    def body(at: Any) -> None:
        x = memory.load(e, "%x", at, 1, source, lanes, None)
        memory.store(e, e.convert(x, target), "%y", at, 1, None)

    e.span(e.const(0, I64, 1), e.value("%n", I64, 1), lanes, body)
    e.statement("ret void")
    head = "define void @convert(ptr %x, ptr %y, i64 %n) nounwind {"
    text = "\n".join([e.module.text(), head, *e.lines, "}", ""])
    assert "call" not in machine.assembly(text, machine_), "no function of a library"
    library = code.library((code.Part(text),), machine_, ("convert",))
    kinds = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64
    function = ctypes.CFUNCTYPE(None, *kinds)(library.addresses["convert"])

    def converted(x: Array, library: Any = library) -> Array:
        x = np.concatenate([x, np.zeros(-x.size % lanes, x.dtype)])
        y = np.empty(x.shape, target)
        function(x.ctypes.data, y.ctypes.data, x.size)
        return y

    return converted


@pytest.mark.parametrize("lanes", [1, 8, 16])
@pytest.mark.parametrize("which", MACHINES)
def test_conversions_by_machine_code(which: str, lanes: int) -> None:
    here = MACHINES[which]
    assert_same(conversion(F16, F32, here, lanes)(ALL), ALL.astype(np.float32))
    single = np.random.default_rng(1).integers(0, 1 << 32, 1 << 18, np.uint32).view(np.float32)
    for x, dtype in ((single, F32), (near_halves(np.float32), F32), (near_halves(np.float64), F64)):
        actual = conversion(dtype, F16, here, lanes)(x)[: x.size]
        with np.errstate(all="ignore"):
            assert_same(actual, x.astype(np.float16))


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler: install g++, or set CXX")
def test_conversions_by_cuda(tmp_path: Path) -> None:
    at = Affine(0, (1,))
    pairs = [(ALL, np.float32), (ALL, np.float64), (near_halves(np.float32), np.float16)]
    pairs += [(near_halves(np.float64), np.float16), (np.arange(-70000, 70001), np.float16)]
    cases = []
    for x, target in pairs:
        dtype = np.dtype(target)
        cast = Apply(dtype, "cast", (0,), (("dtype", dtype), ("weak", False)))
        kernel = without_halves(Kernel((x.size,), (Load(x.dtype, 1, at), cast), (Store(1, 2, at),)))
        cases.append((x, dtype, Case(kernel, {1: x}, {2: (x.shape, dtype)}, device=Device(processors=2))))
    emulator = Emulator((text for *_, case in cases for text in case.texts), tmp_path)
    for x, dtype, case in cases:
        assert_same(case.run(emulator)[2], x.astype(dtype))


def test_memory_is_read_and_written_by_16_bytes() -> None:
    at = Affine(0, (1,))
    cast = Apply(SINGLE, "cast", (0,), (("dtype", SINGLE), ("weak", False)))
    kernel = without_halves(Kernel((1 << 20,), (Load(HALF, 1, at), Apply(HALF, "exp", (0,))), (Store(1, 2, at),)))
    assert cast in kernel.values
    (launch,) = Program(kernel).schedule((), {1: 16, 2: 16}, Device()).launches
    assert "*(const Pack<f16, 8>*)(r0" in launch.source
    assert "*(Pack<f16, 8>*)(w0" in launch.source


# --- the description of kernels -----------------------------------------------------------------------------------


def test_arithmetic_of_half_precision_is_written_as_that_of_single() -> None:
    at = Affine(0, (1,))
    values = (Load(HALF, 1, at), Fixed(HALF, 0.1), Apply(HALF, "add", (0, 1)), Apply(HALF, "neg", (2,)))
    kernel = without_halves(Kernel((5,), values, (Store(3, 2, at), Store(2, 3, at))))
    for value in kernel.values:
        match value:
            case Apply(op="cast"):
                assert HALF in (value.dtype, kernel.values[value.operands[0]].dtype)
            case Load():
                assert value.dtype == HALF
            case _:
                assert value.dtype == SINGLE
    assert Fixed(SINGLE, float(np.float16(0.1))) in kernel.values
    # the sum is rounded once, for the store and for what follows; its negative is one of half precision already
    assert sum(v.dtype == HALF and isinstance(v, Apply) for v in kernel.values) == 2
    assert without_halves(kernel) == kernel


def test_reductions_are_rounded_when_they_end() -> None:
    at, one = Affine(0, (1,)), Affine(0, (0,))
    values = Load(HALF, 1, at), Reduce(HALF, "sum", 0)
    kernel = without_halves(Kernel((5,), values, (Store(1, 2, one),), frozenset([0])))
    assert [v.dtype for v in kernel.values] == [HALF, SINGLE, SINGLE, HALF]


@pytest.mark.parametrize("name", sorted(name for name in EXACT_IN_HALF if name in TABLE))
def test_what_is_exact_in_half_precision(name: str) -> None:
    """Results of single precision are not rounded; for ops of two operands, on a sample of all pairs."""
    op = TABLE[name]
    rng = np.random.default_rng(3)
    operands = [rng.permutation(ALL) for _ in op.domains] if len(op.domains) > 1 else [ALL]
    if name == "where":
        operands[0] = operands[0] > 0
    wide = [x.astype(np.float32) if x.dtype == np.float16 else x for x in operands]
    with np.errstate(all="ignore"):
        result = evaluate(op, wide, {})
        assert_same(result.astype(np.float16).astype(np.float32), result)


# --- ops and programs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernels", ["llvm", "ufunc"])
@pytest.mark.parametrize("f", EXACT)
def test_all_numbers(f: Callable[..., Any], kernels: str) -> None:
    with np.errstate(all="ignore"):
        expected = f(ALL)
    compiled = graphc.compile(f, ALL, kernels=kernels)
    assert compiled.fusion.groups, "a kernel runs it"
    assert_same(compiled(ALL), expected)


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler: install g++, or set CXX")
def test_all_numbers_by_cuda(tmp_path: Path) -> None:
    """The numbers of NumPy, and those bits, by the text for a GPU; at addresses that allow 16 bytes and that do not."""
    cases = []
    for f in EXACT:
        compiled = graphc.compile(f, ALL, kernels="ufunc")
        (output,) = compiled.plan.graph.outputs
        (kernel,) = [step.kernel for step in compiled.plan.steps if step.kernel is not None]
        with np.errstate(all="ignore"):
            expected = f(ALL)
        for offset in (0, 2):
            given = dict.fromkeys(kernel.roots, ALL)
            results = {kernel.nodes[0]: (expected.shape, expected.dtype)}
            case = Case(kernel, given, results, device=Device(processors=2), offset=offset)
            cases.append((kernel.nodes[0], expected, case))
        assert output == kernel.nodes[0]
    emulator = Emulator((text for *_, case in cases for text in case.texts), tmp_path)
    for node, expected, case in cases:
        assert_same(case.run(emulator)[node], expected)


@pytest.mark.parametrize("load", RUNNERS.values(), ids=RUNNERS)
@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sin", "sigmoid", "erf", "cbrt", "log1p", "expm1", "arctan"])
def test_functions_of_all_numbers(name: str, load: Callable[..., Any]) -> None:
    """Within one unit in the last place of the function of the same number in double precision."""
    op = TABLE[name]
    actual = run(load, one_node(op, [TensorType(ALL.shape, ALL.dtype)], {}), [ALL])
    with np.errstate(all="ignore"):
        exact = evaluate(op, [ALL.astype(np.float64)], {})
        expected = exact.astype(np.float16)
        wrong = np.abs(actual.astype(np.float64) - exact) > 0.502 * np.spacing(np.abs(expected)).astype(np.float64)
    finite = np.isfinite(expected) & np.isfinite(actual)
    assert not np.any(wrong & finite)
    np.testing.assert_array_equal(actual[~finite], expected[~finite])


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("kernels", ["llvm", "ufunc"])
def test_programs(kernels: str, layout: Callable[[Any], Any]) -> None:
    """Against the same programs in double precision; each rounding on the way may have lost half a unit."""
    rng = np.random.default_rng(4)
    for name, (f, rank) in PROGRAMS.items():
        for shape in {1: [(1,), (17,), (1000,)], 2: [(3, 4), (7, 33), (40, 130)], 3: [(3, 5, 70)]}[rank]:
            if name in ("casts", "choices", "positions", "extrema"):
                continue
            x = layout(rng.normal(size=shape).astype(np.float16))
            compiled = graphc.compile(f, x, kernels=kernels)
            wide = graphc.compile(f, x.astype(np.float64), kernels="none")(x.astype(np.float64))
            for actual, exact in zip(leaves(compiled(x)), leaves(wide), strict=True):
                assert np.asarray(actual).dtype == np.float16
                scale = float(np.max(np.abs(exact), initial=1e-2))
                np.testing.assert_allclose(actual, exact, rtol=0.02, atol=0.02 * scale, err_msg=f"{name} {shape}")


@pytest.mark.parametrize("kernels", ["llvm", "ufunc"])
def test_steps_beside_kernels(kernels: str) -> None:
    """Products, running sums, gathers, sums at positions, joins and 0-d results, of native programs too."""
    rng = np.random.default_rng(6)
    x, y = (rng.normal(size=s).astype(np.float16) for s in ((20, 33), (33, 7)))
    at = rng.integers(0, 10, 20)

    def f(x: Any, y: Any) -> Any:
        summed = graphc.numpy.zeros((10, 33), np.float16).at[at].add(x)
        return x @ y, x @ y[:, 0], np.cumsum(x, axis=1), summed, x[at], np.concatenate([x, x[::-1]]), x[0, 1], x.T[::2]

    added = np.zeros((10, 33), np.float16)
    np.add.at(added, at, x)
    expected = (x @ y, x @ y[:, 0], np.cumsum(x, axis=1), added, x[at], np.concatenate([x, x[::-1]]), x[0, 1], x.T[::2])
    for actual, wanted in zip(graphc.compile(f, x, y, kernels=kernels)(x, y), expected, strict=True):
        assert type(actual) is type(wanted)
        assert actual.dtype == np.float16
        np.testing.assert_allclose(actual, wanted, rtol=2e-3, atol=4e-3)


@pytest.mark.parametrize("shapes", [((20, 33), (33, 7)), ((64, 64), (64, 64)), ((3, 5, 8), (8, 4)), ((1, 90), (90, 5))])
def test_products_are_rounded_once(shapes: tuple[tuple[int, ...], ...]) -> None:
    """As NumPy's, the products of numbers are added up in single precision."""
    rng = np.random.default_rng(7)
    a, b = (rng.normal(size=s).astype(np.float16) for s in shapes)
    for x, y in ((a, b), (a[..., :1], b[:1]), (b.T, np.swapaxes(a, -1, -2))):
        exact = x.astype(np.float64) @ y.astype(np.float64)
        most = 0.51 * np.spacing(np.abs(exact).astype(np.float16)).astype(np.float64) + 1e-5
        for kernels in ("llvm", "ufunc"):
            actual = graphc.compile(lambda x, y: x @ y, x, y, kernels=kernels)(x, y)
            assert actual.dtype == np.float16
            assert np.all(np.abs(actual - exact) <= most)


@pytest.mark.parametrize("kernels", ["llvm", "ufunc"])
def test_sums_are_exact_but_for_one_rounding(kernels: str) -> None:
    """Half precision cannot count beyond 2048 by ones; along columns NumPy does not either."""
    x = np.full((5000, 3), 0.1, np.float16)
    compiled = graphc.compile(lambda x: (x.sum(0), x.sum(1), x.sum(), np.prod(1 + x[:9], axis=0)), x, kernels=kernels)
    wide = x.astype(np.float64)
    for actual, exact in zip(compiled(x), (wide.sum(0), wide.sum(1), wide.sum()), strict=False):
        np.testing.assert_array_equal(actual, exact.astype(np.float16))


@pytest.mark.parametrize("kernels", ["llvm", "ufunc"])
def test_ops_that_stand_for_several_round_once(kernels: str) -> None:
    x = np.random.default_rng(8).normal(size=(30, 200), scale=4).astype(np.float16)

    def f(x: Any) -> Any:
        return graphc.scipy.special.logsumexp(x, axis=1), graphc.scipy.special.softmax(x, axis=1)

    wide = graphc.compile(f, x.astype(np.float64), kernels="none")(x.astype(np.float64))
    for actual, exact in zip(graphc.compile(f, x, kernels=kernels)(x), wide, strict=True):
        assert np.all(
            np.abs(actual - exact) <= 0.5001 * np.spacing(np.abs(exact).astype(np.float16)).astype(np.float64)
        )


def test_gradients_in_both_directions() -> None:
    """Folds over rows and over columns of one array: rounded, they are kernels of their own."""

    def loss(x: Any, g: Any, b: Any) -> Any:
        m = np.mean(x, -1, keepdims=True)
        v = np.mean((x - m) ** 2, -1, keepdims=True)
        return np.sum(((x - m) / np.sqrt(v + 0.1) * g + b) ** 2)

    rng = np.random.default_rng(9)
    given = [rng.normal(size=s).astype(np.float16) for s in ((40, 64), (64,), (64,))]
    wide = [x.astype(np.float64) for x in given]
    exact = graphc.compile(graphc.grad(loss, argnums=(0, 1, 2)), *wide, kernels="none")(*wide)
    for kernels in ("llvm", "ufunc"):
        found = graphc.compile(graphc.grad(loss, argnums=(0, 1, 2)), *given, kernels=kernels)(*given)
        for actual, wanted in zip(found, exact, strict=True):
            assert actual.dtype == np.float16
            np.testing.assert_allclose(actual, wanted, rtol=0.03, atol=0.03 * np.max(np.abs(wanted)))


def test_two_roundings_stay_two_instructions() -> None:
    """A sum in double precision is rounded to single and then to half; LLVM has no instruction for both at once."""
    x, y = np.array([[-1.0, 2.0, 2.0]], np.float16), np.array([0.2], np.float16)

    def f(x: Any, y: Any) -> Any:
        squares = np.inner(x, x)
        sine = np.fmin(squares / np.sqrt(squares * squares + 1), y)
        return np.arctanh(np.tanh(sine)), np.argmax(sine, axis=0)

    found, _ = graphc.compile(f, x, y, kernels="llvm")(x, y)
    np.testing.assert_allclose(found, [[0.2]], rtol=2e-3)
