"""Arrays that lie otherwise than they are read: transposed, reversed, or in columns of short rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

import graphc
from graphc.backends.numpy.llvm import interleave, transposes
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.generator import load
from graphc.backends.numpy.llvm.machine import ARM_NEON, X86_AVX2, X86_AVX512, X86_BASELINE, Machine, assemble, host
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.schedule import Schedule
from graphc.backends.numpy.llvm.unroll import unrolled
from tests.made_kernels import kernel_of, parts_of

pytest.importorskip("llvmlite", reason="llvmlite is not installed: pip install llvmlite")

PROGRAMS: Final[dict[str, Callable[[Any], Any]]] = {
    "transposed": lambda x: x.T * 3,
    "transposed twice over": lambda x: x.T * x.T[::-1] + x.T[:, :1],
    "both ways": lambda x: (x * 3, x.T * 5, x.T[1:, 2:] * 7),
    "with itself": lambda x: x[: min(x.shape), : min(x.shape)] + x[: min(x.shape), : min(x.shape)].T * 2,
    "upside down": lambda x: x.T[::-1] * 3,
    "every other one": lambda x: x.T[::2, ::3] * 3,
    "padded around": lambda x: np.pad(x.T, 2) * 2,
    "beside padding": lambda x: np.pad(x.T * 2, 3) + np.pad(x, 3).T,
    "backwards": lambda x: x[:, ::-1] * 3,
    "backwards both ways": lambda x: x[::-1, ::-1] * x,
    "transposed backwards": lambda x: x.T[:, ::-1] * 3,
    "padded backwards": lambda x: np.pad(x[:, ::-1], 3) * 2,
    "written backwards": lambda x: np.concatenate([x, x], axis=1)[:, ::-1] * 2,
    "truth": lambda x: (x > 0).T & (x.T < 30),
    "two dtypes": lambda x: x.T * 2 + (x.T > 0),
}
SHAPES: Final = (
    *((8, 8), (9, 17), (64, 64), (65, 130), (300, 40), (33, 1), (1, 40)),
    *((0, 30), (30, 0), (15, 200), (200, 15)),
)
DTYPES: Final = ("f8", "f4", "f2", "i1", "u2", "i8")


def array(shape: tuple[int, ...], dtype: Any) -> Any:
    return (np.random.default_rng(shape[0]).standard_normal(shape) * 40).astype(dtype)


def agree(actual: Any, expected: Any) -> None:
    """The same bits: these programs round nothing otherwise than NumPy."""
    for a, b in zip(actual, expected, strict=True) if isinstance(expected, tuple) else [(actual, expected)]:
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_shape(name: str, dtype: str) -> None:
    f = PROGRAMS[name]
    for shape in SHAPES if dtype in ("f8", "f4") else SHAPES[2:4]:
        x = array(shape, dtype)
        agree(graphc.compile(f, x, kernels="llvm")(x), f(x))


@pytest.mark.parametrize("dtype", ["f64", "f32", "i8"])
@pytest.mark.parametrize("name", [name for name in PROGRAMS if name != "with itself"])
def test_named_sizes(name: str, dtype: str) -> None:
    f = PROGRAMS[name]
    compiled = graphc.compile(f, f"{dtype}[n,m]", kernels="llvm")
    for shape in SHAPES:
        if min(shape) >= 2:
            x = array(shape, {"f64": "f8", "f32": "f4", "i8": "i1"}[dtype])
            agree(compiled(x), f(x))


def test_arrays_that_are_not_dense() -> None:
    f = graphc.compile(lambda x: x.T * 3, "f64[40,50]", kernels="llvm")
    x = array((100, 120), "f8")
    for given in (x[20::2, 5:55], x[60:20:-1, 50:0:-1], np.asfortranarray(x[:40, :50])):
        np.testing.assert_array_equal(f(given), given.T * 3)


@pytest.mark.parametrize("perm", [(2, 0, 1), (0, 2, 1), (2, 1, 0), (1, 2, 0), (1, 0, 2)])
@pytest.mark.parametrize("shape", [(3, 17, 33), (40, 2, 50), (20, 30, 4), (9, 9, 9)])
def test_three_axes(shape: tuple[int, ...], perm: tuple[int, ...]) -> None:
    x, y = array(shape, "f8"), array(tuple(shape[k] for k in perm), "f8")

    def f(x: Any, y: Any) -> Any:
        return np.transpose(x, perm) * y + y[..., :1]

    agree(graphc.compile(f, x, y, kernels="llvm")(x, y), f(x, y))


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 9])
@pytest.mark.parametrize("dtype", ["f8", "f4", "u1", "?"])
def test_columns_of_short_rows(count: int, dtype: str) -> None:
    x = array((37, 5, count), dtype)

    def f(x: Any) -> Any:
        return np.moveaxis(x, 2, 0) & True if dtype == "?" else np.moveaxis(x, 2, 0) * 3

    agree(graphc.compile(f, x, kernels="llvm")(x), f(x))


def test_any_number_of_arrays() -> None:
    given = [array((30 + 10, 50), dtype) for dtype in ("f8", "f4", "i1", "i8", "u2", "f8", "?")]

    def f(*given: Any) -> Any:
        return sum(x.T * (k + 1.0) for k, x in enumerate(given))

    agree(graphc.compile(f, *given, kernels="llvm")(*given), f(*given))


def test_nan_and_signed_zeros_stay_where_they_are() -> None:
    x = array((40, 40), "f8")
    x[3, 7], x[30, 2], x[0, 39], x[8, 8] = np.nan, -0.0, np.inf, -np.inf
    for f in (lambda x: x.T + 0.0, lambda x: x[:, ::-1] * 1.0):
        actual, expected = graphc.compile(f, x, kernels="llvm")(x), f(x)
        np.testing.assert_array_equal(actual.view("u8"), expected.view("u8"))


def test_of_which_arrays_blocks_are_transposed() -> None:
    def loads(f: Callable[..., Any], *specs: str) -> int:
        turned = Schedule(unrolled(kernel_of(f, *specs, kernels="llvm"))).turned
        return 0 if turned is None else len(turned.loads)

    assert loads(lambda x: x.T + 1, "f32[n,m]") == 1
    assert loads(lambda x, y: x.T + y, "f32[n,m]", "f32[m,n]") == 1
    assert loads(lambda x, y: x.T + y.T * x.T, "f32[300,200]", "f32[300,200]") == 2
    assert loads(lambda x: x + 1, "f32[n,m]") == 0
    assert loads(lambda x: x[:, ::-1] + 1, "f32[n,m]") == 0
    assert loads(lambda x: x.T + 1, "f32[7,300]") == loads(lambda x: x.T + 1, "f32[300,7]") == 0
    # sums have an order of their own
    assert loads(lambda x, y: np.sum(x.T * y, axis=1), "f32[n,m]", "f32[m,n]") == 0


def test_short_loops_of_which_rows_consist_are_written_out() -> None:
    kernel = unrolled(kernel_of(lambda x: np.moveaxis(x, 1, 0) * 2, "f64[1000,4]", kernels="llvm"))
    assert kernel.sizes == (1000,)
    assert len(interleave.loads(kernel)) == 4


def test_threads_take_whole_blocks() -> None:
    schedule = Schedule(kernel_of(lambda x: x.T + 1, "f64[4000,5000]", kernels="llvm"))
    assert schedule.turned is not None
    assert schedule.division is not None
    assert schedule.division.step == schedule.turned.height


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_squares_change_places(lanes: int) -> None:
    """What the shuffles do, read off their masks."""
    e = Emitter(Module(host().features_used))
    e.label("entry")
    vectors = [e.value(f"%row{k}", np.dtype(np.float32), lanes) for k in range(lanes)]
    held = {f"%row{k}": [(k, lane) for lane in range(lanes)] for k in range(lanes)}
    found = transposes.transposed(e, vectors)
    for line in e.lines[1:]:
        name, _, text = line.strip().partition(" = shufflevector ")
        operands, _, mask = text.rpartition("<")
        both = [element for operand in operands.split("%")[1:] for element in held["%" + operand.split(",")[0]]]
        held[name] = [both[int(lane.split()[1])] for lane in mask.rstrip(">").split(", ")]
    assert [held[v.text] for v in found] == [[(k, lane) for k in range(lanes)] for lane in range(lanes)]


@pytest.mark.parametrize("machine", [X86_BASELINE, X86_AVX2, X86_AVX512, ARM_NEON], ids=lambda m: m.cpu)
def test_code_for_other_processors_is_made(machine: Machine) -> None:
    for dtype in ("f64", "f32", "i16", "u8"):
        for f in (lambda x: x.T * 3, lambda x: x[:, ::-1] * 3):
            for part in parts_of([kernel_of(f, f"{dtype}[n,m]", kernels="llvm")], machine):
                assert assemble(part.text, machine)


@pytest.mark.skipif(host().register < 32, reason="this processor has no wider registers")
@pytest.mark.parametrize("machine", [X86_BASELINE, X86_AVX2], ids=lambda m: m.cpu)
@pytest.mark.parametrize("dtype", ["f8", "f4", "u2", "i1"])
def test_code_for_smaller_registers_runs(machine: Machine, dtype: str) -> None:
    for name in ("transposed", "transposed twice over", "two dtypes", "backwards", "transposed backwards"):
        f = PROGRAMS[name]
        x = array((70, 43), dtype)
        expected = f(x)
        result = np.empty_like(expected, order="C")
        (run,) = load([kernel_of(f, x, kernels="llvm")], machine=machine)
        run(x, result)
        agree(result, expected)
