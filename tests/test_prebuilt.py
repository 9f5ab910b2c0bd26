"""Machine code that comes with the package: for which processors, what it is, how it is found, how it is built."""

from __future__ import annotations

import ctypes
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="llvmlite is not installed: kernels cannot be compiled")

import graphc
from graphc.backends.numpy import cache
from graphc.backends.numpy.llvm import archive, code, effort, kinds, prebuilt
from graphc.backends.numpy.llvm.code import Part, helpers
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.functions import ACCURATE
from graphc.backends.numpy.llvm.kinds import Kind, kind_of
from graphc.backends.numpy.llvm.machine import LEVEL_3, LEVEL_4, Machine, assemble, assembly, host, link
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.scalars import LlvmScalars
from graphc.backends.numpy.llvm.values import F32, F64, DType, Value
from graphc.errors import UnsupportedError
from tests.kernel_loops import loop_text
from tests.made_kernels import kernels_of, parts_of
from tests.test_compile_cost import functions
from tests.test_import import copied
from tests.vector_functions import ROWS

LINUX = "x86_64-unknown-linux-gnu"
KINDS = {kind.name: kind for kind in kinds.every()}
HERE = kind_of(host())
known = pytest.mark.skipif(HERE is None, reason="this processor is of no kind that is known")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where archives are looked for; nothing comes from elsewhere, nor from what ran before."""

    def forget() -> None:
        code._shared.cache_clear()
        code._linked.cache_clear()
        archive._opened.cache_clear()

    monkeypatch.setattr(archive, "FOLDER", tmp_path)
    monkeypatch.setenv("GRAPHC_CACHE_DIR", "off")
    forget()
    yield tmp_path
    forget()


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions that LLVM compiles meanwhile."""
    names: list[str] = []
    monkeypatch.setattr(code, "assemble", lambda text, *rest: names.extend(functions(text)) or assemble(text, *rest))
    return names


def chain(x: Any) -> Any:
    for _ in range(15):
        x = np.sin(x) + np.tanh(x) * x
    return x


X = np.array([0.0, -0.0, np.nan, np.inf, 1e-310, 5e9, 2.0**40, *np.linspace(-3, 3, 994)])


def run() -> bytes:
    """The bits of a program that calls functions."""
    with np.errstate(all="ignore"):
        return np.asarray(graphc.compile(chain, X, kernels="llvm")(X)).tobytes()


def write(folder: Path, kind: Kind, parts: list[Part]) -> Path:
    path = folder / (kind.name + archive.SUFFIX)
    archive.write(path, {code.name(p, kind.machine): assemble(p.text, kind.machine, p.level) for p in parts})
    return path


def of_chain(kind: Kind) -> list[Part]:
    """What the chain calls, whatever the lanes of its vectors."""
    return [
        part
        for lanes in prebuilt.lanes(F64, kind.machine)
        for name in ("sin", "tanh")
        for part in prebuilt.called(name, F64, lanes, kind.machine)
    ]


# --- kinds ------------------------------------------------------------------------------------------------------

OLDER = "+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16"
PROCESSORS: dict[str, tuple[Machine, str | None]] = {
    "plain": (Machine(LINUX, "x86-64", "+sse2,-avx", 16), "x86_64-baseline-linux"),
    "Haswell": (Machine("x86_64-conda-linux-gnu", "haswell", LEVEL_3 + ",+aes", 32), "x86_64-avx2-linux"),
    "Skylake server": (Machine(LINUX, "skylake-avx512", LEVEL_4 + ",+pku", 64), "x86_64-avx512-linux"),
    "Intel Mac": (Machine("x86_64-apple-darwin22.6.0", "skylake", LEVEL_3, 32), "x86_64-avx2-darwin"),
    "M1": (Machine("arm64-apple-darwin23.5.0", "apple-m1", "", 16), "aarch64-neon-darwin"),
    "Graviton": (Machine("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon,+sve", 16), "aarch64-neon-linux"),
    "Windows": (Machine("x86_64-pc-windows-msvc", "znver4", LEVEL_4, 64), "x86_64-avx512-windows"),
    # text for these differs from that of every kind, or they hand over vectors in other registers
    "Nehalem": (Machine(LINUX, "nehalem", OLDER, 16), None),
    "Sandy Bridge": (Machine(LINUX, "sandybridge", OLDER + ",+avx,+xsave", 16), None),
    "Piledriver": (Machine(LINUX, "bdver2", OLDER + ",+avx,+fma,+f16c,+bmi,+lzcnt", 16), None),
    "Knights Landing": (Machine(LINUX, "knl", LEVEL_3 + ",+avx512f,+avx512cd", 64), None),
    "AVX2 without BMI": (Machine(LINUX, "", LEVEL_3.replace("+bmi,", ""), 32), None),
    "another system": (Machine("x86_64-unknown-freebsd14.1", "skylake", LEVEL_3, 32), None),
    "another architecture": (Machine("riscv64-unknown-linux-gnu", "generic-rv64", "", 16), None),
    "32 bits": (Machine("i686-unknown-linux-gnu", "haswell", LEVEL_3, 32), None),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_the_kind_of_a_processor(name: str) -> None:
    processor, wanted = PROCESSORS[name]
    found = kind_of(processor)
    assert (None if found is None else found.name) == wanted
    assert found is None or found == KINDS[found.name]
    assert found is None or found.machine.features_used == processor.features_used


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_kind_is_of_itself(kind: Kind) -> None:
    assert kind_of(kind.machine) == kind


SAME_REGISTERS = {
    "x86_64-avx512-linux": ("skylake-avx512", "cascadelake", "icelake-server", "sapphirerapids", "znver4", "znver5"),
    "x86_64-avx2-linux": ("haswell", "skylake", "alderlake", "znver1", "znver3"),
    "aarch64-neon-linux": ("apple-m1", "cortex-a72", "neoverse-n1", "neoverse-v2"),
}


def vector(element: str, lanes: int) -> str:
    return element if lanes == 1 else f"<{lanes} x {element}>"


def handed_over(target: Machine) -> dict[str, list[str]]:
    """How vectors are taken and given back: the operands of functions that do nothing else, in any order."""
    texts = []
    for dtype, element, whole in ((F32, "float", "i32"), (F64, "double", "i64")):
        for lanes in prebuilt.lanes(dtype, target):
            v, i = vector(element, lanes), vector(whole, lanes)
            texts += [
                f"define {v} @second.{element}.{lanes}({v} %a, {v} %b) nounwind {{",
                f"  ret {v} %b\n}}",
                f"define {{ {v}, {i} }} @both.{element}.{lanes}({v} %a, {i} %b) nounwind {{",
                f"  %one = insertvalue {{ {v}, {i} }} poison, {v} %a, 0",
                f"  %two = insertvalue {{ {v}, {i} }} %one, {i} %b, 1",
                f"  ret {{ {v}, {i} }} %two\n}}",
            ]
    listing = re.split(r"^((?:second|both)[\w.]+):.*$", assembly("\n".join(texts), target), flags=re.MULTILINE)
    found = {}
    for name, body in zip(listing[1::2], listing[2::2], strict=True):
        lines = (re.split("#|//", line)[0].split() for line in body.splitlines())
        operands = (" ".join(line[1:]) for line in lines if line and not line[0].startswith("."))
        # aarch64 has several names for a register
        found[name] = sorted(re.sub(r"\b[sdqv](\d+)(\.\w+)?", r"v\1", operand) for operand in operands if operand)
    assert len(found) == len(texts) / 3
    return found


@pytest.mark.parametrize("kind", SAME_REGISTERS)
def test_vectors_are_handed_over_alike(kind: str) -> None:
    """Between a kernel, which is made for a model, and a function, which is made for its kind."""
    target = KINDS[kind].machine
    wanted = handed_over(target)
    for model in SAME_REGISTERS[kind]:
        assert handed_over(replace(target, cpu=model)) == wanted, model


def test_other_registers_hand_over_otherwise() -> None:
    """So the test above can fail."""
    wide, narrow = (handed_over(Machine(LINUX, "x86-64", features, 64)) for features in (LEVEL_4, LEVEL_3))
    assert wide["second.double.4"] == narrow["second.double.4"]
    assert wide["second.double.8"] != narrow["second.double.8"]


# --- what is in an archive --------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def names(kind: str) -> frozenset[str]:
    """What an archive has, by name."""
    return frozenset(code.name(part, KINDS[kind].machine) for part in prebuilt.parts(KINDS[kind]))


def check_archives_have(f: Callable[..., Any], *specs: str, fast: bool = False) -> list[str]:
    """That archives have what kernels call; the names of that."""
    called: list[str] = []
    kernels = kernels_of(f, *specs)
    for kind in SAME_REGISTERS:
        target = KINDS[kind].machine
        parts = parts_of(kernels, target, fast)[1:]
        missing = [functions(part.text) for part in parts if code.name(part, target) not in names(kind)]
        assert missing == [], (kind, specs)
        called += [name for part in parts for name in functions(part.text)]
    return called


PUBLIC = [name for name in ACCURATE if hasattr(graphc.numpy, name) or hasattr(graphc.scipy.special, name)]


def every(x: Any) -> Any:
    total = x
    for name in PUBLIC:
        function = getattr(graphc.numpy, name, None) or getattr(graphc.scipy.special, name)
        total = total + function(*[x] * (len(ROWS[name].domains) if name in ROWS else 2))
    return total


def calling(calls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether kernels call their functions."""
    look = effort.look
    monkeypatch.setattr(effort, "look", lambda kernel: look(kernel)._replace(calls=calls))


@pytest.mark.parametrize("calls", [True, False])
@pytest.mark.parametrize("dtype", ["f16", "f32", "f64"])
def test_archives_have_every_function(dtype: str, calls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none of them is called, too: the rare branches are."""
    calling(calls, monkeypatch)
    for fast in (False, True):
        called = check_archives_have(every, f"{dtype}[n]", fast=fast)
        stems = {name.split("_")[0] for name in called if "." not in name}
        assert {"exp", "sin", "arctan2", "erf"} <= stems if calls else not stems
        assert any(name.startswith("graphc.fmod") for name in called)
        assert any(name.startswith("graphc.angle") for name in called) == (not fast)


ALONE: dict[str, Callable[..., Any]] = {
    "alone": np.sin,
    "with others": lambda x: np.polyval(np.arange(9.0), np.sin(x)),
    "many": lambda x: sum(np.sin(x * k) for k in range(45)),
    "narrower": lambda x: np.sin(x) + np.sin(x.astype(np.float32)) + np.sin(x.astype(np.float64)),
    "reduced": lambda x: np.sum(np.sin(x), axis=0),
    "integers": lambda x: np.sin(np.exp(x).astype(np.int32)),
}


@pytest.mark.parametrize("name", ALONE)
def test_archives_have_every_number_of_lanes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calling(True, monkeypatch)
    sizes = ("[1]", "[2]", "[3]", "[7]", "[n]", "[n,3]", "[3,n]", "[1000]", *(["[]"] if name != "reduced" else []))
    for size in sizes:
        for dtype in ("f16", "f32", "f64"):
            assert check_archives_have(ALONE[name], dtype + size)


def test_archives_have_numbers_as_lanes() -> None:
    """Of unrolled loops."""
    assert check_archives_have(lambda x: sum(np.exp(np.sin(x[k])) for k in range(40)), "f64[40]")
    assert check_archives_have(lambda x: sum(np.exp(np.sin(x[k])) for k in range(40)), "f32[40]")


BEGINS = {  # of object files
    "linux": {"x86_64": b"\x7fELF\2\1\1", "aarch64": b"\x7fELF\2\1\1"},
    "darwin": {"x86_64": b"\xcf\xfa\xed\xfe\x07\0\0\1", "aarch64": b"\xcf\xfa\xed\xfe\x0c\0\0\1"},
    "windows": {"x86_64": b"\x64\x86", "aarch64": b"\x64\xaa"},
}


def check_machine_code(kind: Kind, parts: Iterable[Part]) -> None:
    for part in parts:
        object_file = assemble(part.text, kind.machine, part.level)
        architecture, _, system = kind.name.split("-")
        assert object_file.startswith(BEGINS[system][architecture]), functions(part.text)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_machine_code_of_every_kind(kind: Kind) -> None:
    """Some of each sort, in the format of the system's object files."""
    register = kind.machine.register
    sine, *reduction = prebuilt.called("sin", F64, 2 * register // 8, kind.machine)
    assert len(reduction) == 1
    parts = [sine, *reduction, *prebuilt.services(kind)]
    for name, dtype, lanes in (("remainder", F32, 4), ("hypot", F64, 1), ("log_ndtr", F32, register)):
        parts += prebuilt.called(name, dtype, lanes, kind.machine)
    check_machine_code(kind, parts)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_all_machine_code_of_every_kind(kind: Kind) -> None:
    check_machine_code(kind, prebuilt.parts(kind))


# --- finding it -------------------------------------------------------------------------------------------------


def test_what_is_written_is_found(tmp_path: Path) -> None:
    objects = {code.name(Part(str(k)), host()): bytes([k]) * (100 * k) for k in range(50)}
    archive.write(tmp_path / "a", objects)
    opened = archive._opened(tmp_path / "a")
    assert opened is not None
    assert {name: opened.get(name) for name in objects} == objects
    assert opened.get(code.name(Part("another"), host())) is None
    # half of one name and half of the next, as they lie one after the other
    first, second = list(objects)[:2]
    assert opened.get(first[32:] + second[:32]) is None
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) & 0o444 == 0o444 or sys.platform == "win32"


@known
def test_a_program_takes_what_there_is(folder: Path, compiled: list[str]) -> None:
    """And has the same bits then. LLVM compiles the kernel and what is around it, and nothing else."""
    assert HERE is not None
    wanted = run()
    assert {"kernel0", "program"} < set(compiled)
    compiled_before = set(compiled)
    compiled.clear()
    write(folder, HERE, of_chain(HERE))
    archive._opened.cache_clear()
    code._shared.cache_clear()
    code._linked.cache_clear()
    assert run() == wanted
    assert set(compiled) == {"kernel0", "program"}
    assert any(name.startswith("sin") for name in compiled_before)
    assert any(name.startswith("graphc.angle") for name in compiled_before)


@known
def test_what_is_found_is_not_kept_on_disk(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert HERE is not None
    write(folder, HERE, of_chain(HERE))
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "kernels"))
    cache._usable.cache_clear()
    run()
    assert len(list((tmp_path / "kernels").iterdir())) == 2  # the kernel, and what is around it
    cache._usable.cache_clear()


@known
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", ["sin", "exp", "pow", "remainder", "hypot", "log_ndtr"])
def test_functions_for_a_kind_have_the_same_bits(name: str, dtype: DType) -> None:
    """As those made for this very processor, with any number of lanes."""
    assert HERE is not None
    count = len(ROWS[name].domains) if name in ROWS else 2
    rng = np.random.default_rng(5)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, 3e38, 2.0**31, 12345.75]
    numbers = [np.concatenate([rng.permutation(special), rng.normal(0, 4, 119)]).astype(dtype) for _ in range(count)]
    for lanes in prebuilt.lanes(dtype, host()):
        found = []
        for target in (host(), HERE.machine):
            module = Module(host().features_used)

            def body(e: Emitter, *operands: Value) -> Value:
                return getattr(LlvmScalars(e, calls=True), name)(*operands)

            text, _ = loop_text(body, [dtype] * count, host(), lanes, module)
            parts = helpers(module)
            objects = [assemble(text, host()), *(assemble(part.text, target, part.level) for part in parts)]
            library = link(objects, ["loop"])
            arguments = [ctypes.c_void_p] * (count + 1) + [ctypes.c_int64]
            function = ctypes.CFUNCTYPE(None, *arguments)(library.addresses["loop"])
            result = np.empty(len(numbers[0]), dtype)
            function(result.ctypes.data, *(x.ctypes.data for x in numbers), len(result))
            found.append(result.tobytes())
        assert found[0] == found[1], lanes


@known
@pytest.mark.parametrize(
    "damage", ["empty", "head", "index", "cut", "bit of the head", "length", "bit", "foreign", "folder"]
)
def test_a_damaged_archive_is_as_none(damage: str, folder: Path, compiled: list[str]) -> None:
    assert HERE is not None
    path = write(folder, HERE, of_chain(HERE))
    content = bytearray(path.read_bytes())
    index = archive.HEAD.size + (len(of_chain(HERE))) * (archive.NAME + archive.PLACE.size)
    match damage:
        case "empty" | "head" | "index" | "cut":
            kept = {"empty": 0, "head": archive.HEAD.size - 1, "index": index - 1, "cut": index + 1}[damage]
            content = content[:kept]
        case "bit of the head":
            content[3] ^= 1
        case "length":
            content[len(archive.MAGIC) : len(archive.MAGIC) + 4] = b"\xff" * 4
        case "bit":
            for place in range(index, len(content), 64):
                content[place] ^= 1
        case "foreign":
            content = bytearray(b"PK\3\4" * 100)
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes(content)
    run()
    assert any(name.startswith("sin") for name in compiled)
    assert any(name.startswith("tanh") for name in compiled)


@known
@pytest.mark.parametrize("change", ["text", "level", "machine"])
def test_an_archive_that_is_out_of_date_has_nothing(change: str, folder: Path, compiled: list[str]) -> None:
    assert HERE is not None
    kind = HERE
    parts = of_chain(kind)
    if change == "text":
        parts = [part._replace(text=part.text + "; as it was before\n") for part in parts]
    elif change == "level":
        parts = [part._replace(level=1) for part in parts]
    else:
        kind = kind._replace(machine=replace(kind.machine, cpu="", features=host().features))
    write(folder, kind, parts)
    run()
    assert any(name.startswith("sin") for name in compiled)


def test_a_processor_of_no_kind_compiles(folder: Path, compiled: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "kind_of", lambda machine: None)
    monkeypatch.setattr(archive, "find", lambda *_: pytest.fail("there is no archive for it"))
    run()
    assert any(name.startswith("sin") for name in compiled)


# --- building it ------------------------------------------------------------------------------------------------


def test_the_choice_of_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    def wanted(choice: str) -> list[str]:
        monkeypatch.setenv("GRAPHC_BUILD_FOR", choice)
        return [kind.name for kind in prebuilt.wanted()]

    assert wanted("all") == list(KINDS)
    assert wanted("none") == []
    assert wanted("host") == wanted("") == ([] if HERE is None else [HERE.name])
    with pytest.raises(UnsupportedError, match="GRAPHC_BUILD_FOR is 'avx'"):
        wanted("avx")


def test_building_takes_away_what_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = KINDS["aarch64-neon-linux"]
    monkeypatch.setattr(prebuilt, "parts", lambda kind: prebuilt.called("sin", F64, 4, kind.machine))
    stale = folder / "x86_64-avx2-linux.objects"
    stale.write_bytes(b"")
    (path,) = prebuilt.build(folder, (kind,))
    assert list(folder.iterdir()) == [path]
    for part in prebuilt.called("sin", F64, 4, kind.machine):
        found = archive.find(kind.name, code.name(part, kind.machine))
        assert found == assemble(part.text, kind.machine, part.level)
    assert prebuilt.build(folder, ()) == list(folder.iterdir()) == []


def test_two_builds_of_one_folder_take_away_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = folder / "x86_64-avx2-linux.objects"
    stale.write_bytes(b"")
    unlink = Path.unlink

    def twice(path: Path, missing_ok: bool = False) -> None:
        unlink(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", twice)
    assert prebuilt.build(folder, ()) == list(folder.iterdir()) == []


BUILD = """
import os, sys
from setuptools import build_meta
os.chdir(sys.argv[1])
print(build_meta.build_editable(sys.argv[2]))
"""


@pytest.mark.parametrize("choice", ["none", "nonsense"])
def test_an_editable_install_is_renewed_in_place(
    choice: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And goes on where nothing can be built."""
    pytest.importorskip("setuptools")
    source = copied(root, tmp_path / "source")
    stale = source / "backends" / "numpy" / "llvm" / "x86_64-avx2-linux.objects"
    stale.write_bytes(b"")
    monkeypatch.setenv("GRAPHC_BUILD_FOR", choice)
    command = [sys.executable, "-c", BUILD, source, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert stale.exists() == (choice == "nonsense")
    assert ("compiled when first used" in done.stdout + done.stderr) == (choice == "nonsense")
    assert len(list(tmp_path.glob("*.whl"))) == 1
