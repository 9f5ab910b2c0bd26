"""What the functions of one module of LLVM's language share, and what of the processor decides how they are written."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Features:
    """What the processor offers beyond its baseline, as far as the text depends on it.

    fma: multiply and add with one rounding; without it `Emitter.fma` rounds twice.
    rounding: instructions for floor, ceil, trunc and rint; without them LLVM would call the C library.
    half: instructions that convert between half and single precision.
    masked: from how many bytes on elements are read and written by vectors under a mask; 0 where none are.
    mask_registers: masks are for free, and for elements that lie apart too.
    streaming: vectors are written past the cache.
    """

    fma: bool
    rounding: bool
    half: bool = False
    masked: int = 0
    mask_registers: bool = False
    streaming: bool = False

    @classmethod
    def of(cls, triple: str, features: str) -> Features:
        """From LLVM's words for a machine: a target triple and a list like ``"+avx2,+fma,-avx512f"``.

        >>> Features.of("x86_64-unknown-linux-gnu", "+sse2")
        Features(fma=False, rounding=False, half=False, masked=0, mask_registers=False, streaming=True)
        >>> Features.of("aarch64-unknown-linux-gnu", "")
        Features(fma=True, rounding=True, half=True, masked=0, mask_registers=False, streaming=False)
        """
        if not triple.startswith(("x86_64", "i686", "i386")):
            return cls(fma=True, rounding=True, half=triple.startswith(("aarch64", "arm64")))
        has = set(features.split(","))
        registers = "+avx512f" in has
        masked = 1 if registers and "+avx512bw" in has else 4 if registers or "+avx2" in has else 0
        streaming = triple.startswith("x86_64")
        return cls("+fma" in has, "+sse4.1" in has, "+f16c" in has, masked, registers, streaming)


@dataclass(slots=True)
class Module:
    """What the functions of one module share: declared intrinsics, constant tables and helper functions, each once.

    helpers: functions that have a module of their own. They are the same for many programs, and compiled once for all.
    rare: those of them that are seldom called.
    hurried: whether kernels call all functions that can be called.
    """

    features: Features
    hurried: bool = False
    definitions: dict[str, str] = field(default_factory=dict)
    helpers: dict[str, str] = field(default_factory=dict)
    rare: set[str] = field(default_factory=set)

    def define(self, name: str, text: str) -> None:
        """Add a definition or declaration of the global called `name`, unless it is there."""
        self.definitions.setdefault(name, text)

    def help(self, name: str, declaration: str, inside: Module, text: str, rarely: bool = False) -> None:
        """Declare a function, whose text is that of a helper; `inside` is what it shares with others, as here."""
        if name not in self.helpers:
            self.helpers[name] = inside.text() + text
            self.helpers.update(inside.helpers)
            self.rare |= inside.rare | ({name} if rarely else set())
        self.define(name, declaration)

    def text(self) -> str:
        return "\n".join(self.definitions.values()) + "\n"
