"""Vectors side by side: where operations wait for each other, the loop runs several vectors at a time."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

pytest.importorskip("llvmlite", reason="llvmlite is not installed: kernels cannot be compiled")

from graphc.backends.numpy.llvm import latency, machine
from graphc.backends.numpy.llvm.schedule import Schedule
from graphc.kernels import Kernel
from tests.made_kernels import kernel_of, parts_of

Program = Callable[[Any], Any]
MACHINES = {
    "sse": machine.X86_BASELINE,
    "avx2": machine.X86_AVX2,
    "avx512": machine.X86_AVX512,
    "neon": machine.ARM_NEON,
}
ARITHMETIC = re.compile(r"^\tv?(?:(?:mul|add|sub|and)p[sd]|pand\w*|fmul|fadd|fsub|fabd|fabs)\t(.*)")
REGISTER = re.compile(r"\b[xyz]mm(\d+)|\bv(\d+)\.")


def steps(count: int) -> Program:
    """Three operations a step, each of which waits for the one before."""

    def f(x: Any) -> Any:
        for k in range(count):
            x = abs(x * (0.9 - 0.01 * k) - 0.3)
        return x

    return f


def horner(count: int) -> Program:
    """A polynomial: products that wait for sums, and x beside them all the way."""

    def f(x: Any) -> Any:
        total = x * 0.01 + 0.5
        for k in range(count):
            total = total * x + (0.1 + 0.01 * k)
        return total

    return f


def choices(x: Any) -> Any:
    for _ in range(8):
        x = np.where(x > 0.5, x * 0.7 + 0.1, x * 1.3)
    return x


def shifts(x: Any) -> Any:
    for _ in range(6):
        x = x ^ (x << 13)
        x = x ^ (x >> 7)
        x = x ^ (x << 17)
    return x


def beside(x: Any) -> Any:
    """Many operations, few of which wait for each other: each vector alone keeps a processor busy."""
    found = [x * (1 + 0.1 * k) for k in range(16)]
    while len(found) > 1:
        found = [a + b for a, b in zip(found[::2], found[1::2], strict=True)]
    return found[0]


def text_of(kernel: Kernel, target: machine.Machine, hurried: bool = False) -> str:
    return parts_of([kernel], target, hurried=hurried)[0].text


def widest(text: str) -> int:
    """Lanes of the widest vectors of floats that are multiplied."""
    return max(int(lanes) for lanes in re.findall(r"= fmul <(\d+) x ", text))


def distances(listing: str, target: machine.Machine) -> list[int]:
    """Of each operand that an arithmetic instruction takes from another, how many of them lie between, and one."""
    found = []
    written: dict[str, int] = {}
    lines = [match for line in listing.splitlines() if (match := ARITHMETIC.match(line))]
    for number, line in enumerate(lines):
        registers = ["".join(names) for names in REGISTER.findall(line[1])]
        if target is machine.ARM_NEON:
            result, *operands = registers
        else:
            # an instruction of two operands writes over the second one
            *operands, result = registers if target is not machine.X86_BASELINE else (*registers, registers[-1])
        found += [number - written[name] for name in operands if name in written]
        written[result] = number
    return found


@pytest.mark.parametrize("dtype", ["f64", "f32"])
@pytest.mark.parametrize("name", MACHINES)
def test_operations_of_several_vectors_stand_together(name: str, dtype: str) -> None:
    """In machine code too: LLVM may order instructions within a block otherwise."""
    target = MACHINES[name]
    kernel = kernel_of(steps(8), f"{dtype}[n]")
    count = latency.side_by_side(kernel, target)
    assert count == latency.MOST
    text = text_of(kernel, target)
    assert widest(text) == count * target.register // kernel.values[0].dtype.itemsize
    apart = distances(machine.assembly(text, target), target)
    assert len(apart) >= 16 * count
    assert np.median(apart) > count / 2


def test_what_is_asked_of_a_processor() -> None:
    found = latency.demand(kernel_of(lambda x: abs(x * 2.0 - 1.0), "f64[n]"), machine.X86_AVX2)
    assert found is not None
    sequence = latency.READ + latency.CYCLES["mul"] + latency.CYCLES["add"] + latency.CYCLES["other"]
    assert found == latency.Demand(sequence, 3, 3, values=1, masks=0, constants=2)
    found = latency.demand(kernel_of(horner(3), "f64[n]"), machine.X86_AVX2)
    assert found is not None
    assert (found.operations, found.values) == (8, 2)


def test_masks_have_registers_of_their_own() -> None:
    kernel = kernel_of(choices, "f64[n]")
    found = {name: latency.demand(kernel, target) for name, target in MACHINES.items()}
    assert {name: d.masks for name, d in found.items() if d is not None} == {
        "sse": 0,
        "avx2": 0,
        "avx512": 1,
        "neon": 0,
    }


def test_no_more_vectors_than_registers() -> None:
    for count in (6, 12, 20, 40):
        kernel = kernel_of(horner(count), "f64[n]")
        for target in MACHINES.values():
            found = latency.demand(kernel, target)
            assert found is not None
            assert found.values * latency.side_by_side(kernel, target) <= latency.VALUES * target.registers


def test_long_bodies_have_fewer() -> None:
    counts = [latency.side_by_side(kernel_of(steps(k), "f64[n]"), machine.X86_AVX512) for k in (8, 20, 40, 70)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == latency.MOST > counts[-1]


@pytest.mark.parametrize(
    ("f", "specs"),
    [
        (steps(2), ("f64[n]",)),
        (beside, ("f64[n]",)),
        (lambda x: np.sum(steps(8)(x)), ("f64[n]",)),
        (lambda x: np.exp(steps(8)(x)), ("f64[n]",)),
        (lambda x: steps(8)(x[::3]), ("f64[n]",)),
        (steps(8), ("f16[n]",)),
        (steps(8), ("f64[]",)),
        (steps(8), ("f64[20]",)),
    ],
    ids=["short", "beside", "sum", "function", "apart", "half", "number", "few"],
)
def test_others_have_one_loop(f: Program, specs: tuple[str, ...]) -> None:
    for target in MACHINES.values():
        schedule = Schedule(kernel_of(f, *specs))
        lanes = schedule.lanes(target)
        found = schedule.abreast(target, lanes)
        # short vectors leave room in as few elements
        assert found == 0 or (specs == ("f64[20]",) and found <= 10)


def test_hurried_kernels_have_one_loop() -> None:
    kernel = kernel_of(steps(8), "f64[n]")
    hurried, careful = (text_of(kernel, machine.X86_AVX512, hurried) for hurried in (True, False))
    assert widest(hurried) < widest(careful)
    assert [len(re.findall(r"^head\d*:$", text, re.MULTILINE)) for text in (hurried, careful)] == [1, 2]


def test_whole_sizes_have_no_rest() -> None:
    def f(x: Any, each: Any) -> Any:
        return steps(8)(x * each)

    whole, more = (text_of(kernel_of(f, f"f64[8,{n}]", "f64[8,1]"), machine.X86_AVX512) for n in (512, 520))
    assert len(set(re.findall(r"= fmul <(\d+) x ", whole))) == 1
    assert len(set(re.findall(r"= fmul <(\d+) x ", more))) == 2


@pytest.mark.parametrize("name", MACHINES)
def test_arrays_are_read_in_their_order(name: str) -> None:
    """The cache reads ahead of those who do so, not of others."""
    target = MACHINES[name]
    text = text_of(kernel_of(lambda x, y: steps(8)(x * y), "f64[n]", "f64[n]"), target)
    _, listing = machine.assembly(text, target).split("kernel0:\n")
    read = r"\tldr\tq\d+, \[x\d+(?:, #(\d+))?\]" if name == "neon" else r"\tv?mov\w+\t(-?\d*)\(%\w+,%\w+,8\), %"
    places = [int(place or "0") for place in re.findall(read, listing)]
    # of both arrays, where the loop begins that has vectors side by side
    first, second = places[: latency.MOST], places[latency.MOST : 2 * latency.MOST]
    assert first == second == [*range(first[0], first[0] + latency.MOST * target.register, target.register)]


SIZES = [0, 1, 7, 8, 63, 64, 65, 100, 127, 128, 130, 300]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("f", [steps(8), horner(12), choices, steps(30)], ids=["steps", "horner", "choices", "long"])
def test_bits_are_numpys(f: Program, dtype: type[np.floating[Any]], named: bool) -> None:
    spec = {np.float32: "f32", np.float64: "f64"}[dtype]
    compiled = graphc.compile(f, f"{spec}[n]", kernels="llvm") if named else None
    for size in SIZES:
        x = np.random.default_rng(size).random(size, dtype)
        x[::5] = -x[::5]
        found = (compiled or graphc.compile(f, f"{spec}[{size}]", kernels="llvm"))(x)
        np.testing.assert_array_equal(found, f(x), strict=True)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.uint64])
def test_bits_of_integers_are_numpys(dtype: type[np.integer[Any]]) -> None:
    for size in SIZES:
        x = np.random.default_rng(size).integers(0, 2**31 - 1, size).astype(dtype)
        np.testing.assert_array_equal(graphc.compile(shifts, x, kernels="llvm")(x), shifts(x), strict=True)


@pytest.mark.parametrize("columns", [1, 5, 64, 70, 200])
def test_rows_and_what_holds_for_all_of_one(columns: int) -> None:
    def f(x: Any, each: Any) -> Any:
        for _ in range(8):
            x = abs(x * each - 0.3)
        return x

    x, each = np.random.default_rng(0).random((7, columns)), np.random.default_rng(1).random((7, 1))
    for specs in (("f64[k,n]", "f64[k,1]"), (f"f64[7,{columns}]", "f64[7,1]")):
        np.testing.assert_array_equal(graphc.compile(f, *specs, kernels="llvm")(x, each), f(x, each))
