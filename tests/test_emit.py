"""The operations of the emitter against NumPy: run for every processor whose code runs here, assembled for others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="llvmlite is not installed: kernels cannot be compiled")

from graphc.backends.numpy.llvm import machine as machines
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.machine import Machine, assemble, assembly, host, link
from graphc.backends.numpy.llvm.module import Features, Module
from graphc.backends.numpy.llvm.values import BOOL, F32, F64, I32, I64, Value, width
from tests.kernel_loops import Loop, loop_text

Array = np.ndarray[Any, Any]
MACHINES = {
    "baseline": machines.X86_BASELINE,
    "avx2": machines.X86_AVX2,
    "avx512": machines.X86_AVX512,
    "neon": machines.ARM_NEON,
}
FLOATS = (F32, F64)
INTEGERS = tuple(np.dtype(f"{sign}{size}") for sign in "iu" for size in (1, 2, 4, 8))


def runnable(machine: Machine) -> bool:
    """Whether this processor can run code for that one."""
    here = host()
    has = set(here.features.split(","))
    same = machine.triple.split("-")[0] == here.triple.split("-")[0]
    return same and {f for f in machine.features.split(",") if f} <= has


def here() -> list[Any]:
    """The host, and those of the named machines that it can stand in for, without its own widest."""
    able = {name: m for name, m in MACHINES.items() if runnable(m) and m.register < host().register}
    return [pytest.param(m, id=name) for name, m in {"host": host(), **able}.items()]


EDGES = [
    0.0,
    0.5,
    1.0,
    1.5,
    2.5,
    3.0,
    1e-40,
    1e-310,
    7.25,
    2.0**22 + 0.5,
    2.0**23,
    2.0**51 + 0.5,
    2.0**52,
    1e300,
    np.inf,
]


def floats(dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore", under="ignore"):
        edges = np.array(EDGES, dtype)
    return np.concatenate([edges, -edges, [np.nan], np.linspace(-9, 9, 37)]).astype(dtype)


def pairs(values: Array) -> tuple[Array, Array]:
    first, second = np.meshgrid(values, values)
    return first.ravel(), second.ravel()


def same(actual: Array, expected: Array) -> None:
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)
    if expected.dtype.kind == "f":
        number = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(actual[number]), np.signbit(expected[number]))


UNARY: dict[str, tuple[Callable[..., Value], Callable[[Array], Array]]] = {
    "neg": (lambda e, x: -x, np.negative),
    "abs": (lambda e, x: e.abs(x), np.abs),
    "sqrt": (lambda e, x: e.sqrt(x), np.sqrt),
    "floor": (lambda e, x: e.floor(x), np.floor),
    "ceil": (lambda e, x: e.ceil(x), np.ceil),
    "trunc": (lambda e, x: e.trunc(x), np.trunc),
    "rint": (lambda e, x: e.rint(x), np.rint),
    "isnan": (lambda e, x: e.is_nan(x), np.isnan),
    "signbit": (lambda e, x: e.sign_bit(x), np.signbit),
    "horner": (lambda e, x: e.horner(x, (1.0, 2.0, 0.5)), lambda x: (0.5 * x + 2) * x + 1),
    "bits": (lambda e, x: e.bits(x) ^ 1, lambda x: x.view(f"i{x.itemsize}") ^ 1),
}
BINARY: dict[str, tuple[Callable[..., Value], Callable[[Array, Array], Array]]] = {
    "add": (lambda e, a, b: a + b, np.add),
    "sub": (lambda e, a, b: a - b, np.subtract),
    "mul": (lambda e, a, b: a * b, np.multiply),
    "div": (lambda e, a, b: a / b, np.divide),
    "copysign": (lambda e, a, b: e.copysign(a, b), np.copysign),
    "less": (lambda e, a, b: a < b, np.less),
    "less_equal": (lambda e, a, b: a <= b, np.less_equal),
    "greater": (lambda e, a, b: a > b, np.greater),
    "greater_equal": (lambda e, a, b: a >= b, np.greater_equal),
    "equal": (lambda e, a, b: a.equals(b), np.equal),
    "not_equal": (lambda e, a, b: a.differs(b), np.not_equal),
    "not_less": (lambda e, a, b: ~(a < b), lambda a, b: ~(a < b)),
    "where": (lambda e, a, b: e.select(a < b, a, b), lambda a, b: np.where(a < b, a, b)),
}
WHOLE: dict[str, tuple[Callable[..., Value], Callable[[Array, Array], Array]]] = {
    "add": (lambda e, a, b: a + b, np.add),
    "sub": (lambda e, a, b: a - b, np.subtract),
    "mul": (lambda e, a, b: a * b, np.multiply),
    "neg": (lambda e, a, b: -a, lambda a, b: np.negative(a)),
    "abs": (lambda e, a, b: e.abs(a), lambda a, b: np.abs(a)),
    "and": (lambda e, a, b: a & b, np.bitwise_and),
    "or": (lambda e, a, b: a | b, np.bitwise_or),
    "xor": (lambda e, a, b: a ^ b, np.bitwise_xor),
    "invert": (lambda e, a, b: ~a, lambda a, b: np.invert(a)),
    "left": (lambda e, a, b: a << (b & 7), lambda a, b: np.left_shift(a, b & b.dtype.type(7))),
    "right": (lambda e, a, b: a >> (b & 7), lambda a, b: np.right_shift(a, b & b.dtype.type(7))),
    "less": (lambda e, a, b: a < b, np.less),
    "greater_equal": (lambda e, a, b: a >= b, np.greater_equal),
    "equal": (lambda e, a, b: a.equals(b), np.equal),
    "maximum": (lambda e, a, b: e.maximum(a, b), np.maximum),
    "minimum": (lambda e, a, b: e.minimum(a, b), np.minimum),
}


@pytest.mark.parametrize("machine", here())
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", UNARY)
@np.errstate(all="ignore")
def test_of_one_float(name: str, dtype: np.dtype[Any], machine: Machine) -> None:
    emit, numpy = UNARY[name]
    x = floats(dtype)
    same(Loop(emit, [dtype], machine)(x), numpy(x))


@pytest.mark.parametrize("machine", here())
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", BINARY)
@np.errstate(all="ignore")
def test_of_two_floats(name: str, dtype: np.dtype[Any], machine: Machine) -> None:
    emit, numpy = BINARY[name]
    a, b = pairs(floats(dtype))
    same(Loop(emit, [dtype, dtype], machine)(a, b), numpy(a, b))


@pytest.mark.parametrize("machine", here())
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_the_larger_and_the_smaller(dtype: np.dtype[Any], machine: Machine) -> None:
    """As NumPy; a zero may have either sign where both are given."""
    a, b = pairs(floats(dtype))
    np.testing.assert_array_equal(Loop(Emitter.maximum, [dtype, dtype], machine)(a, b), np.maximum(a, b))
    np.testing.assert_array_equal(Loop(Emitter.minimum, [dtype, dtype], machine)(a, b), np.minimum(a, b))
    np.testing.assert_array_equal(
        Loop(lambda e, x: e.at_least(2, x), [dtype], machine)(a), np.maximum(a, dtype.type(2))
    )
    np.testing.assert_array_equal(Loop(lambda e, x: e.at_most(2, x), [dtype], machine)(a), np.minimum(a, dtype.type(2)))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("name", WHOLE)
@np.errstate(all="ignore")
def test_of_integers(name: str, dtype: np.dtype[Any]) -> None:
    emit, numpy = WHOLE[name]
    info = np.iinfo(dtype)
    a, b = pairs(np.array([*range(16), 100, info.max, info.max - 1, info.min, info.min + 1], dtype))
    same(Loop(emit, [dtype, dtype])(a, b), numpy(a, b))


@pytest.mark.parametrize("machine", here())
def test_conversions(machine: Machine) -> None:
    """From every dtype to every other; floats only where the integers hold them."""
    for source in (BOOL, *INTEGERS, *FLOATS):
        x = np.array([0, 1, 1, 0] if source == BOOL else [0, 1, 2, 100], source)
        if source.kind in "if":
            x = np.concatenate([x, -x])
        if source.kind == "f":
            x = np.concatenate([x, x + source.type(0.75)])
        elif source != BOOL:
            x = np.concatenate([x, np.array([np.iinfo(source).max, np.iinfo(source).min], source)])
        for target in (BOOL, *INTEGERS, *FLOATS):
            values = x[x >= 0] if source.kind == "f" and target.kind == "u" else x
            loop = Loop(lambda e, v, target=target: e.convert(v, target), [source], machine, lanes=4)
            same(loop(values), values.astype(target))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_fma_rounds_once_where_the_processor_can(dtype: np.dtype[Any]) -> None:
    tiny = np.finfo(dtype).eps / 2
    x = np.array([1 + 2 * tiny], dtype)
    body = lambda e, x: e.fma(x, x, -1.0)  # noqa: E731
    if runnable(machines.X86_BASELINE):
        assert Loop(body, [dtype], machines.X86_BASELINE)(x)[0] == dtype.type(4 * tiny)
    if host().features_used.fma:
        assert Loop(body, [dtype])(x)[0] == dtype.type(4 * tiny + 4 * tiny * tiny)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_polynomials_in_either_order(dtype: np.dtype[Any]) -> None:
    x = np.linspace(-1, 1, 16).astype(dtype)
    for count in range(1, 12):
        c = [1 / (k + 1) for k in range(count)]
        expected = np.polynomial.polynomial.polyval(x.astype(np.float64), c)
        for method in (Emitter.horner, Emitter.estrin):
            found = Loop(lambda e, v, method=method, c=c: method(e, v, c), [dtype])(x)
            np.testing.assert_allclose(found, expected, rtol=64 * np.finfo(dtype).eps)


@pytest.mark.parametrize("lanes", [1, 2, 8, 64])
def test_any_and_splat(lanes: int) -> None:
    def body(e: Emitter, x: Value) -> Value:
        return e.select(e.splat(e.any(x > 3)), e.splat(e.lane(x, lanes - 1)), -x)

    quiet, loud = np.arange(-lanes, 0, dtype=F64), np.arange(lanes, dtype=F64) + 4 - lanes
    same(Loop(body, [F64], lanes=lanes)(quiet), -quiet)
    same(Loop(body, [F64], lanes=lanes)(loud + 0.5), np.full(lanes, 3.5))


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_no_machine_calls_the_c_library(machine: Machine, dtype: np.dtype[Any]) -> None:
    """Every operation becomes instructions, also where it can only be assembled."""

    def everything(e: Emitter, a: Value, b: Value) -> Value:
        found = [emit(e, a) for emit, _ in UNARY.values()] + [emit(e, a, b) for emit, _ in BINARY.values()]
        found += [e.maximum(a, b), e.minimum(a, b), e.fma(a, b, a), e.convert(e.convert(a, I32), a.dtype)]
        total = a
        for value in found:
            total = total + e.convert(value, a.dtype)
        return total

    text, _ = loop_text(everything, [dtype, dtype], machine, 2 * machine.register // dtype.itemsize)
    assert len(assemble(text, machine)) > 1000
    lines = assembly(text, machine).splitlines()
    assert [line for line in lines if line.split("\t")[1:2] in (["call"], ["callq"], ["bl"])] == []


def test_equal_instructions_are_written_once_within_a_block() -> None:
    e = Emitter(Module(Features(fma=True, rounding=True)), lanes=4)
    x, y = e.value("%x", F64), e.value("%y", F64)
    assert (x + y) is (x + y)
    assert (x + y) is not (y + x)
    first = x * y
    e.label("next")
    assert (x * y) is not first
    assert e.load("%p", F64) is not e.load("%p", F64)


def test_signs_of_integers_stay_apart() -> None:
    """Signed and unsigned integers have one type in LLVM."""
    e = Emitter(Module(Features(fma=True, rounding=True)))
    signed, unsigned = e.value("%x", I64), e.value("%x", np.dtype(np.uint64))
    assert [(v + 1).dtype.kind for v in (signed, unsigned)] == ["i", "u"]


def test_wrong_text_is_refused() -> None:
    with pytest.raises(RuntimeError, match="undefined value"):
        assemble("define void @f() {\n  store i32 %nothing, ptr null\n  ret void\n}\n", host())


def test_a_library_keeps_its_code_alive() -> None:
    loops = [Loop(lambda e, x, k=k: x + float(k), [F64]) for k in range(3)]
    x = np.arange(8.0)
    for k, loop in enumerate(loops):
        same(loop(x), x + k)


def test_linking_an_unknown_name() -> None:
    code = assemble("define void @f() {\n  ret void\n}\n", host())
    with pytest.raises(RuntimeError, match="nothing"):
        link([code], ["nothing"])


def test_widths() -> None:
    assert [width(d) for d in (BOOL, np.dtype("i1"), F32, F64)] == [1, 8, 32, 64]
