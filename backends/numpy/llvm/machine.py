"""From LLVM's text to machine code, for this processor or another: the only module that loads llvmlite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from itertools import count
from typing import Any, Final

from graphc.backends.numpy.llvm.module import Features

# How much of its time LLVM spends on the choice and the order of instructions; no passes over the text run before that.
BUSY: Final = 2  # for what runs once for each element
LONG: Final = 1  # for thousands of operations: without a last look at their order, which grows faster than they do
BRIEF: Final = 0  # for what runs once in a call: made several times faster
_serial = count()


@dataclass(frozen=True, slots=True)
class Machine:
    """A processor in LLVM's words: target triple, model, features, and the bytes of a vector register.

    >>> Machine("aarch64-unknown-linux-gnu", "generic", "+neon", 16).features_used
    Features(fma=True, rounding=True, half=True, masked=0, mask_registers=False, streaming=False)
    """

    triple: str
    cpu: str
    features: str
    register: int

    @property
    def features_used(self) -> Features:
        return Features.of(self.triple, self.features)

    @property
    def registers(self) -> int:
        """How many vector registers there are."""
        return 16 if self.triple.startswith("x86_64") and self.register < 64 else 32


# What is in levels 3 and 4 of x86-64 beyond the baseline, as the "x86-64 psABI" defines them.
LEVEL_3: Final = (
    "+sse3,+ssse3,+sse4.1,+sse4.2,+crc32,+cx16,+popcnt,+sahf,+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+xsave"
)
LEVEL_4: Final = f"{LEVEL_3},+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl"
X86_BASELINE: Final = Machine("x86_64-unknown-linux-gnu", "x86-64", "", 16)
X86_AVX2: Final = Machine("x86_64-unknown-linux-gnu", "x86-64-v3", LEVEL_3, 32)
X86_AVX512: Final = Machine("x86_64-unknown-linux-gnu", "x86-64-v4", LEVEL_4, 64)
ARM_NEON: Final = Machine("aarch64-unknown-linux-gnu", "generic", "+neon", 16)


@lru_cache(maxsize=1)
def _llvm() -> Any:
    binding = import_module("llvmlite.binding")
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


@lru_cache(maxsize=1)
def _foreign() -> None:
    """Prepare LLVM for processors of other kinds."""
    _llvm().initialize_all_targets()
    _llvm().initialize_all_asmprinters()


@lru_cache(maxsize=1)
def host() -> Machine:
    """The processor this runs on."""
    llvm = _llvm()
    features = llvm.get_host_cpu_features()
    wide = 64 if features.get("avx512f") else 32 if features.get("avx2") else 16
    return Machine(llvm.get_process_triple(), llvm.get_host_cpu_name(), features.flatten(), wide)


@lru_cache(maxsize=16)
def _target(machine: Machine, level: int = BUSY) -> Any:
    if machine.triple.split("-")[0] != host().triple.split("-")[0]:
        _foreign()
    target = _llvm().Target.from_triple(machine.triple)
    return target.create_target_machine(
        cpu=machine.cpu,
        features=machine.features,
        opt=level,
        jit=True,
        reloc="default",
        codemodel="jitdefault",
    )


def assemble(text: str, machine: Machine, level: int = BUSY) -> bytes:
    """The object file of a module's text; RuntimeError if LLVM finds the text wrong."""
    module = _llvm().parse_assembly(text)
    module.triple = machine.triple
    module.verify()
    return bytes(_target(machine, level).emit_object(module))


def assembly(text: str, machine: Machine) -> str:
    """The same as assembly language, to read."""
    module = _llvm().parse_assembly(text)
    module.triple = machine.triple
    return str(_target(machine).emit_assembly(module))


def llvm_version() -> str:
    """Which LLVM compiles, to tell code made by another."""
    return ".".join(map(str, _llvm().llvm_version_info))


@dataclass(frozen=True, slots=True)
class Library:
    """Code in memory; it stays as long as this object lives."""

    addresses: Mapping[str, int]
    tracker: Any


@lru_cache(maxsize=1)
def _linker() -> Any:
    return _llvm().create_lljit_compiler(_target(host()), use_jit_link=False, suppress_errors=False)


# A loop over vectors with a call in it, as kernels are.
FIRST: Final = """
declare <8 x double> @function(<8 x double>)
declare <8 x double> @llvm.fma.v8f64(<8 x double>, <8 x double>, <8 x double>)
define i32 @first(ptr %array, i64 %last) nounwind {
entry:
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %last
  br i1 %more, label %body, label %after
body:
  %place = getelementptr double, ptr %array, i64 %i
  %x = load <8 x double>, ptr %place, align 8
  %positive = fcmp ogt <8 x double> %x, zeroinitializer
  %y = select <8 x i1> %positive, <8 x double> %x, <8 x double> splat (double 1.0)
  %z = call <8 x double> @function(<8 x double> %y)
  %w = call <8 x double> @llvm.fma.v8f64(<8 x double> %z, <8 x double> %x, <8 x double> %y)
  store <8 x double> %w, ptr %place, align 8
  %next = add i64 %i, 8
  br label %head
after:
  ret i32 0
}
"""


def prepare() -> None:
    """Load LLVM, and make what compiles and links for this processor."""
    for level in (BUSY, BRIEF):
        _target(host(), level)
    _linker()
    # the first module takes LLVM milliseconds more than the same one later: its code is read, its tables are set up
    assemble(FIRST, host(), BRIEF)


def link(objects: Sequence[bytes], names: Sequence[str]) -> Library:
    """Load object files made for this processor, which may refer to each other, and give the addresses of functions."""
    builder = _llvm().JITLibraryBuilder()
    for code in objects:
        builder.add_object_img(code)
    builder.add_current_process()
    for name in names:
        builder.export_symbol(name)
    tracker = builder.link(_linker(), f"graphc{next(_serial)}")
    return Library({name: tracker[name] for name in names}, tracker)
