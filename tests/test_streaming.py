"""Large results are written past the cache: the same bits as ever, and never to where an address does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

import graphc
from graphc.backends.numpy.llvm import entry, reuse, streaming
from graphc.backends.numpy.llvm.generator import load
from graphc.backends.numpy.llvm.machine import (
    ARM_NEON,
    X86_AVX2,
    X86_AVX512,
    X86_BASELINE,
    Machine,
    assembly,
    host,
)
from tests.made_kernels import kernel_of, parts_of

pytest.importorskip("llvmlite", reason="llvmlite is not installed: pip install llvmlite")

X86: Final = (X86_BASELINE, X86_AVX2, X86_AVX512)
WIDE: Final = (X86_AVX2, X86_AVX512)  # elsewhere vectors are too short
NEVER: Final = 1 << 62
PROGRAMS: Final[dict[str, Callable[[Any], Any]]] = {
    "one": lambda x: x * 3 + 1,
    "several": lambda x: (x * 3, x + 1, x - 2, x > 1),
    "of another dtype": lambda x: (x.astype(np.float64) * 2, x.astype(np.int16) + 1, x.astype(np.uint8)),
    "many operations": lambda x: sum(((x * (k + 2) - 1) * (x + k) for k in range(9)), x),
    "one after another": lambda x: (((((x * 3 + 1) * 5 - 2) * 7 + 3) * 9 - 4) * 11 + 5) * 13 - 6,
    "a function": lambda x: np.exp(-abs(x) / 64),
    "rows without means": lambda x: x - np.mean(x, axis=1, keepdims=True),
    "columns without means": lambda x: (x - np.mean(x, axis=0)) / (np.std(x, axis=0) + 1),
    "beside sums": lambda x: (x * 2, np.sum(x, axis=0), np.sum(x, axis=1), np.sum(x)),
    "written twice": lambda x: np.exp(x / 64) / np.sum(np.exp(x / 64), axis=1, keepdims=True),
    "transposed": lambda x: x.T + 1,
    "backwards": lambda x: x[:, ::-1] * 2,
    "of rows and columns": lambda x: x[:, :1] * x[0] + x[1],
    "side by side": lambda x: np.stack([x, x + 1, x * 2, x * 3], axis=-1),
    "one below another": lambda x: np.concatenate([x * 2, x + 1]),
    "padded": lambda x: np.pad(x, 1) * 2,
    "a slice set": lambda x: np.where(np.arange(x.shape[0])[:, None] < 2, x, x[:1] * 2),
    "a part": lambda x: x[1:, 16:] * 2,
}
SHAPES: Final = ((4, 16), (3, 64), (2, 100), (5, 128), (7, 512), (3, 2048), (64, 64), (33, 65), (1, 4096), (0, 64))


def text_of(f: Callable[..., Any], *specs: str, machine: Machine = X86_AVX512, hurried: bool = False) -> str:
    return parts_of([kernel_of(f, *specs, kernels="llvm")], machine, hurried=hurried)[0].text


def streams(text: str) -> bool:
    """Whether some store does, in which case there is a fence too."""
    found = "!nontemporal" in text
    assert ("call void @llvm.x86.sse.sfence" in text) == found
    return found


def bits(found: Any) -> list[tuple[Any, ...]]:
    arrays = found if isinstance(found, tuple) else (found,)
    return [(a.shape, a.dtype, a.tobytes()) for a in map(np.asarray, arrays)]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same_bits(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f = PROGRAMS[name]
    for shape in SHAPES:
        if name in ("a part", "of rows and columns") and (shape[0] < 2 or shape[1] < 32):
            continue
        x = (np.random.default_rng(1).standard_normal(shape) * 40).astype(dtype)
        found = []
        for least in (1, NEVER):
            monkeypatch.setattr(streaming, "LEAST", least)
            found.append(bits(graphc.compile(f, x, kernels="llvm")(x)))
        assert found[0] == found[1], shape


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name != "a slice set"])
def test_named_sizes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is streamed at one size and not at another is the same function."""
    f, compiled = PROGRAMS[name], []
    for least in (1 << 14, NEVER):
        monkeypatch.setattr(streaming, "LEAST", least)
        compiled.append(graphc.compile(f, "f32[n,m]", kernels="llvm"))
    for shape in ((2, 32), (3, 100), (64, 64), (63, 65), (64, 128), (17, 1024), (40, 1001)):
        x = (np.random.default_rng(2).standard_normal(shape) * 40).astype(np.float32)
        assert bits(compiled[0](x)) == bits(compiled[1](x)), shape


@pytest.mark.parametrize("machine", [m for m in X86 if m.register <= host().register], ids=lambda m: m.cpu)
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1"])
def test_results_wherever_they_lie(machine: Machine, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where an operand does, and where no line of the cache begins."""
    if not host().triple.startswith("x86_64"):
        pytest.skip("streams on x86 alone")
    monkeypatch.setattr(streaming, "LEAST", 1)
    count = 5000
    (run,) = load([kernel_of(lambda x: x * 3 + 1, np.zeros(count, dtype), kernels="llvm")], machine=machine)
    memory = reuse.empty((1 << 17,), np.dtype(np.uint8))
    for offset in (0, 1, 3, 8, 16, 32, 64):
        memory[:] = 77
        start = offset * np.dtype(dtype).itemsize
        result = memory[start : start + count * np.dtype(dtype).itemsize].view(dtype)
        x = np.arange(count).astype(dtype)
        run(x, result)
        np.testing.assert_array_equal(result, x * 3 + 1)
        assert (memory[:start] == 77).all()
        assert (memory[start + result.nbytes :] == 77).all()
        run(result, result)
        np.testing.assert_array_equal(result, (x * 3 + 1) * 3 + 1)


@pytest.mark.parametrize("machine", WIDE, ids=lambda m: m.cpu)
def test_machine_code_streams_several_lines_in_a_row(machine: Machine) -> None:
    for f, spec in ((lambda x: x + 1, "f64[4000000]"), (PROGRAMS["rows without means"], "f32[4096,2048]")):
        listing = assembly(text_of(f, spec, machine=machine), machine)
        runs = re.findall(r"(?:^\s+v?movnt\w+.*\n)+", listing, re.MULTILINE)
        assert runs, "nothing streams"
        assert all(run.count("\n") * machine.register >= streaming.LINES * 64 for run in runs)
        assert listing.count("sfence") == 1


def test_which_results_stream() -> None:
    large, small = f"f64[{streaming.LEAST // 8}]", f"f64[{streaming.LEAST // 8 - 8}]"
    assert streams(text_of(lambda x: x + 1, large))
    assert not streams(text_of(lambda x: x + 1, small))
    assert streams(text_of(lambda x: x + 1, "f64[n]"))
    # both results together are large
    assert streams(text_of(lambda x: (x + 1, x * 2), small))
    # with neither code for it, nor a gain
    assert not streams(text_of(lambda x: x + 1, large, machine=ARM_NEON))
    assert not streams(text_of(lambda x: x + 1, large, hurried=True))
    # nothing is written along the rows
    assert not streams(text_of(lambda x: np.sum(x, axis=1), "f64[4096,4096]"))
    # exponentials that are kept until they are divided lie on the stack, or in the result if rows are long
    assert streams(text_of(PROGRAMS["written twice"], "f64[4096,1024]"))
    assert not streams(text_of(PROGRAMS["written twice"], "f64[4096,4096]"))
    assert not streams(text_of(PROGRAMS["written twice"], "f64[n,m]"))
    # no row but the first begins with a line
    assert streams(text_of(PROGRAMS["rows without means"], "f64[4096,4096]"))
    assert not streams(text_of(PROGRAMS["rows without means"], "f64[4096,4097]"))
    # bytes beside numbers of eight: a vector of them is half a line
    assert not streams(text_of(lambda x: x > 0, "f64[n]"))


def test_rows_on_the_stack_are_few() -> None:
    """A thread may have a small stack: what finds no room there is kept in the results."""

    def softmaxes(x: Any) -> tuple[Any, ...]:
        scaled = [np.exp(x * k) for k in range(1, 13)]
        return tuple(y / np.sum(y, axis=1, keepdims=True) for y in scaled)

    text = text_of(softmaxes, "f32[2048,4096]")
    rows = [4 * int(count) for count in re.findall(r"alloca float, i64 (\d+)", text)]
    assert 0 < sum(rows) <= 1 << 15
    assert streams(text)


@pytest.mark.skipif(not entry.SUPPORTED, reason="the store relies on the lock of the interpreter")
def test_large_results_begin_with_a_line() -> None:
    for count in (1 << 14, (1 << 14) + 1, 1 << 20, (1 << 20) + 12345):
        blocks = [reuse.empty((count,), np.dtype(np.float64)) for _ in range(3)]
        assert all(block.ctypes.data % 64 == 0 for block in blocks)
        blocks[0][:] = np.arange(count)
        blocks[0].resize(2 * count, refcheck=False)
        assert blocks[0].ctypes.data % 64 == 0
        np.testing.assert_array_equal(blocks[0][:count], np.arange(count))
        blocks[0].resize(count // 2, refcheck=False)
        np.testing.assert_array_equal(blocks[0], np.arange(count // 2))
