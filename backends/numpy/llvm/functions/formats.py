"""The numbers that a float format brings into every formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from graphc.backends.numpy.llvm.values import F32, F64, DType, Value


@dataclass(frozen=True, slots=True)
class Format:
    """An IEEE 754 binary format.

    digits: fraction bits that are stored.
    bias: what is added to an exponent.
    shifter: adding it rounds a small number to a whole one and leaves that in the low bits of the sum.
    smallest: the smallest normal number; largest: the largest finite one.
    log2_high, log2_low: log(2) as a sum; times a whole number as large as any exponent, the first part is exact.
    """

    digits: int
    bias: int
    shifter: float
    smallest: float
    largest: float
    log2_high: float
    log2_low: float


FORMATS: Final[dict[DType, Format]] = {
    F32: Format(
        23, 127, 1.5 * 2.0**23, 2.0**-126, (2 - 2.0**-23) * 2.0**127, float.fromhex("0x1.62e4p-1"),
        float.fromhex("0x1.7f7d1cp-20"),
    ),
    F64: Format(
        52, 1023, 1.5 * 2.0**52, 2.0**-1022, (2 - 2.0**-52) * 2.0**1023, float.fromhex("0x1.62e42fefa38p-1"),
        float.fromhex("0x1.ef35793c76730p-45"),
    ),
}  # fmt: skip


def format_of(x: Value) -> Format:
    return FORMATS[x.dtype]
