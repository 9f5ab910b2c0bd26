"""What compiling costs: how much text there is for LLVM, what is looked at on the way. Nothing here takes the time."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.backends.numpy.llvm import archive, body, code, machine, native, reuse, steps
from graphc.backends.numpy.llvm.builder import Builder, anonymous
from graphc.backends.numpy.llvm.code import Part
from graphc.backends.numpy.llvm.instructions import Program
from graphc.backends.numpy.llvm.schedule import Schedule
from graphc.calling.generators import Search
from graphc.kernels import Affine, Fixed, Kernel, Store
from tests.made_kernels import kernels_of, parts_of


def part_of(f: Callable[..., Any], *specs: Any, target: machine.Machine = machine.X86_AVX2) -> Part:
    return parts_of(kernels_of(f, *specs), target)[0]


def lines(text: str) -> int:
    return len(text.splitlines())


def functions(text: str) -> list[str]:
    """The names of the functions that a text defines."""
    return re.findall(r"^define .*@([\w.]+)\(", text, re.MULTILINE)


def chain(ops: int) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        for _ in range(ops // 2):
            x = np.sin(x) * x
        return x

    return f


@pytest.mark.parametrize("size", ["f64[]", "f64[1000]", "f64[n]"])
def test_the_text_grows_as_the_program(size: str) -> None:
    """Ten times the operations give ten times the lines; the mathematics is there once for each number of lanes."""
    few, many = part_of(chain(300), size), part_of(chain(3000), size)
    assert lines(many.text) < 12 * lines(few.text)
    assert all(name.startswith("kernel") for name in functions(many.text))
    helpers = [parts_of(kernels_of(chain(ops), size), machine.X86_AVX2)[1:] for ops in (300, 3000)]
    assert len(helpers[1]) <= 2 * len(helpers[0])


def test_what_a_derivative_reads_of_a_function_stays_in_its_kernel() -> None:
    """Cut in two, a kernel would store hundreds of arrays, and the other read them, each under a mask."""
    gradient = graphc.grad(lambda x: np.sum(chain(280)(x)))
    found = kernels_of(gradient, "f64[1000]")
    assert [len(kernel.stores) for kernel in found] == [1]
    text = parts_of(found, machine.X86_AVX2)[0].text
    assert lines(text) < 1.2 * len(found[0].values)


def test_kernels_end_where_few_values_are_read_later() -> None:
    """So those of an unrolled loop of any length are alike, and one function."""

    def f(x: Any) -> Any:
        for _ in range(300):
            y = np.tanh(x)
            x = (y * x + 1) * (y - x)
            x = x + np.exp(x * y) * 0.5
        return x

    found = kernels_of(f, "f64[n]")
    assert max(len(kernel.roots) for kernel in found) == 1
    assert len({anonymous(kernel) for kernel in found}) <= 3 < len(found)


def centred(layers: int) -> Callable[[Any], Any]:
    """Reductions that follow one on another, a function of all elements between them."""

    def f(h: Any) -> Any:
        for _ in range(layers):
            h = np.tanh(h - h.mean(axis=1, keepdims=True)) + h * 0.1
        return h

    return f


def test_reductions_one_after_the_other_share_their_kernels() -> None:
    few, many = (lowered(centred(layers), "f64[20,50]").kernels for layers in (12, 120))
    assert len(many) == len(few)
    texts = [parts_of(kernels, machine.X86_AVX2)[0].text for kernels in (few, many)]
    assert lines(texts[1]) < 1.1 * lines(texts[0])


def test_sweeps_compute_nothing_again_that_costs_much() -> None:
    """What they read of earlier ones lies in the array of the result, one value after the other."""
    layer = Schedule(kernels_of(centred(1), "f64[20,50]")[0]).work(1)
    for kernel in kernels_of(centred(9), "f64[20,50]"):
        schedule = Schedule(kernel)
        assert all(schedule.work(stage) <= 1.2 * layer for stage in range(schedule.last_stage + 1))


def test_bodies_that_mostly_read_and_write_have_no_choices() -> None:
    """They are written once for whole vectors and once for the rest, with masks."""

    def f(x: Any, y: Any) -> Any:
        results = [x]
        for _ in range(20):
            results.append(results[-1] * y + 1)
        return results

    def g(x: Any, y: Any) -> Any:
        return f(x, y)[-1]

    assert "label %yes" not in part_of(f, "f64[n]", "f64[n]").text
    assert "label %yes" in part_of(g, "f64[n]", "f64[n]").text


def test_functions_that_kernels_call_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are modules of their own, which the next program finds; here none comes with the package."""
    monkeypatch.setattr(archive, "FOLDER", tmp_path)
    texts: list[str] = []
    assemble = code.assemble
    monkeypatch.setattr(code, "assemble", lambda text, *rest: texts.append(text) or assemble(text, *rest))
    monkeypatch.setenv("GRAPHC_CACHE_DIR", "off")
    monkeypatch.setenv("GRAPHC_EFFORT", "full")
    code._shared.cache_clear()
    for factor in (2.0, 3.0):
        graphc.compile(lambda x, c=factor: np.sin(x * c), np.ones(10), kernels="llvm")
    assert sum(name.startswith("graphc.angle") for text in texts for name in functions(text)) == 1
    assert len(texts) == 5  # a kernel and what is around it, twice


def test_a_long_body_is_written_once() -> None:
    """Whole vectors and the rest of a loop share one body; where sizes leave no rest there is nothing to share."""

    def f(x: Any) -> Any:
        return np.exp(x) * np.tanh(x)

    whole, rest, named, few = (lines(part_of(f, size).text) for size in ("f64[800]", "f64[801]", "f64[n]", "f64[5]"))
    assert rest < 1.4 * whole
    assert named < 1.4 * whole
    assert few < 1.2 * whole


@pytest.mark.parametrize("target", [machine.X86_BASELINE, machine.ARM_NEON], ids=["baseline", "neon"])
def test_masks_that_a_processor_lacks_are_loops(target: machine.Machine) -> None:
    """LLVM would write a branch for each lane of each access: thousands of lines for a reduction of bytes."""

    def f(x: Any, y: Any) -> Any:
        return x + 1, (x > 1).any(), y.T[:, ::2] * 2, y.max(axis=1)

    found = part_of(f, "i8[n]", "f32[n,9]", target=target)
    declared = set(re.findall(r"@llvm\.masked\.(\w+)\.", found.text))
    assert declared <= {"gather", "scatter"}  # whole vectors of elements that lie apart
    helpers = [name for name in functions(found.text) if name.startswith("graphc.")]
    assert helpers
    assert len(set(helpers)) == len(helpers)
    object_file = machine.assemble(found.text, target)
    assert len(object_file) < 40 * lines(found.text)


def lowered(f: Callable[..., Any], *specs: Any) -> Program:
    """A function as a native program."""
    return steps.lower(graphc.compile(f, *specs, kernels="ufunc").plan)


def around(f: Callable[..., Any], *specs: Any) -> Part:
    """The module of the function around the kernels."""
    plan = graphc.compile(f, *specs, kernels="ufunc").plan
    return native.around(steps.lower(plan), plan, machine.host())[0]


def test_around_kernels_there_is_only_what_is_used() -> None:
    assert functions(around(lambda x: x + 1, "f64[n]").text) == ["program"]
    assert functions(around(lambda x, s: x + s, "f64[n]", "f64[]").text) == ["number", "program"]


def recurrence(length: int) -> Callable[[Any, Any], Any]:
    """An unrolled loop whose steps are a product and a kernel."""

    def f(w: Any, h: Any) -> Any:
        for _ in range(length):
            h = np.tanh(h @ w)
        return h

    return f


def test_steps_that_are_alike_share_their_kernels() -> None:
    few, many = (lowered(recurrence(n), "f64[40,40]", "f64[40,40]") for n in (4, 12))
    assert len(few.kernels) == len(many.kernels) < 4
    assert len(many.planned) == 12


def test_kernels_with_zeros_of_other_signs_differ() -> None:
    """0.0 equals -0.0, and yet they are not the same number."""

    def filled(number: float) -> Kernel:
        return Kernel((3,), (Fixed(np.dtype(np.float64), number),), (Store(0, -1, Affine.index(0, 1)),))

    made = Builder()
    assert [made.number(filled(number)) for number in (0.0, -0.0, 1.0, 0.0, -0.0)] == [0, 1, 2, 0, 1]


def test_long_programs_are_of_several_blocks() -> None:
    """LLVM's time for a basic block grows with the square of its length."""
    texts = [around(recurrence(n), "f64[40,40]", "f64[40,40]").text for n in (40, 400)]
    short, long = (max(map(lines, re.split(r"^[\w.]+:$", text, flags=re.MULTILINE))) for text in texts)
    assert long < 1.5 * short


def test_what_runs_once_in_a_call_is_compiled_in_a_hurry() -> None:
    """But a loop over rows is not left so, nor is a kernel, nor what hands thousands of numbers to kernels."""
    assert around(lambda x: np.exp(x) @ x, "f64[n,n]").level == machine.BRIEF
    assert around(lambda x, i: x[i], "f64[n,3]", "i64[m]").level == machine.BUSY
    assert around(lambda x: [chain(20)(x + k) for k in range(60)], "f64[]").level == machine.LONG
    assert part_of(np.exp, "f64[n]").level == machine.BUSY


def fan(functions: int, of: Callable[[Any], Any] = np.exp) -> Callable[[Any], Any]:
    """Functions of one array, none of which waits for another."""

    def f(x: Any) -> Any:
        return sum(of(x * k) for k in range(functions))

    return f


def gates(steps: int) -> Callable[[Any], Any]:
    """A chain of which most are cheap operations."""

    def f(x: Any) -> Any:
        for _ in range(steps):
            y = np.tanh(x)
            x = (y * x + 1) * (y - x) + y * 2 - x
        return x

    return f


@pytest.mark.parametrize(
    ("program", "level", "called"),
    [
        (chain(6), machine.BUSY, False),
        (chain(20), machine.BRIEF, True),
        (chain(3000), machine.BRIEF, True),
        (gates(20), machine.LONG, True),
        (fan(20), machine.BUSY, False),
        (fan(40), machine.LONG, True),
        (lambda x: np.log(np.sqrt(np.exp(np.tanh(np.sin(np.cos(x)))))), machine.BUSY, False),
        (lambda x: (chain(20)(x), np.exp(x[:, None] - x)), machine.BUSY, True),
    ],
    ids=["few", "chain", "long", "between", "fan", "wide", "different", "two"],
)
def test_care_is_taken_where_it_makes_kernels_faster(program: Any, level: int, called: bool) -> None:
    """Functions that wait for each other are called, and what lies between them is compiled in a hurry."""
    part = part_of(program, "f64[n]")
    assert part.level == level
    # the functions that are seldom called are never written out
    assert bool(re.search(r"call <\d+ x double> @(sin|tanh|exp)_", part.text)) == called


def test_a_chain_of_calls_has_vectors_of_two_registers() -> None:
    """However long it is: their number of values that live at a time does not grow."""
    for ops in (20, 300):
        assert "@sin_8xfloat64" in part_of(chain(ops), "f64[n]").text
    assert "@exp_4xfloat64" in part_of(fan(60), "f64[n]").text


def test_functions_called_and_written_out_share_what_is_rare() -> None:
    """A function that is called brings its helpers along, which other kernels of the program refer to as well."""

    def f(x: Any) -> Any:
        return fan(30, np.sin)(x), np.sin(x[:, None] * x) * x - np.sqrt(x) + x

    x = np.linspace(0.1, 1e6, 41)
    found = part_of(f, "f64[41]", target=machine.host())
    assert {"kernel0", "kernel1"} <= set(functions(found.text))
    assert len(re.findall(r"declare .*@graphc.angle", found.text)) == 1
    for got, wanted in zip(graphc.compile(f, x, kernels="llvm")(x), f(x), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


def test_one_thread_alone_needs_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    for alone in (True, False):
        monkeypatch.setattr(body, "is_alone", lambda alone=alone: alone)
        assert ("@parallel" in around(lambda x: np.exp(x) * 2, "f64[n]").text) != alone


def test_only_large_results_bring_in_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its functions are machine code too."""
    asked: list[int] = []
    monkeypatch.setattr(reuse, "store", lambda: asked.append(1))
    graphc.compile(lambda x: x + 1, "f64[10]", kernels="llvm")
    assert not asked
    graphc.compile(lambda x: x + 1, "f64[n]", kernels="llvm")
    assert asked


def test_generators_are_not_looked_for_in_libraries() -> None:
    """A module in a closure, as `xp` of code for several libraries, does not lead through all of NumPy."""
    xp = np

    def f(x: Any) -> Any:
        return xp.sin(x)

    found = Search(f, (), {})
    assert len(found.sources) == 2  # the global ones
    assert len(found._seen) < 10
