"""Typed values in the text of LLVM's intermediate language, and how its types and constants are written.

A `Value` is one SSA name with a dtype and a number of lanes; its operators write instructions by its `Emitter`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from graphc.backends.numpy.llvm.emit import Emitter

DType: TypeAlias = np.dtype[Any]

BOOL: Final = np.dtype(np.bool_)
F16: Final = np.dtype(np.float16)
F32: Final = np.dtype(np.float32)
F64: Final = np.dtype(np.float64)
I32: Final = np.dtype(np.int32)
I64: Final = np.dtype(np.int64)
U32: Final = np.dtype(np.uint32)
U64: Final = np.dtype(np.uint64)

ELEMENTS: Final[dict[DType, str]] = {
    BOOL: "i1",
    F16: "i16",  # its bits: values of half precision are only converted
    F32: "float",
    F64: "double",
    **{np.dtype(f"{sign}{size}"): f"i{8 * size}" for sign in "iu" for size in (1, 2, 4, 8)},
}
# the integer with as many bits, by which a float is taken apart
BITS: Final[dict[DType, DType]] = {F32: I32, F64: I64}


class Value:
    """One SSA name or constant: `lanes` elements of a dtype (one lane is a plain scalar).

    Operators take another value of the same dtype and lanes, or a Python number. Comparisons give boolean lanes; those
    of floats are false on NaN, `!=` excepted.
    """

    __slots__ = ("dtype", "emitter", "lanes", "text")

    def __init__(self, emitter: Emitter, text: str, dtype: DType, lanes: int) -> None:
        self.emitter = emitter
        self.text = text
        self.dtype = dtype
        self.lanes = lanes

    @property
    def type(self) -> str:
        """The type in LLVM's words."""
        return llvm_type(self.dtype, self.lanes)

    @property
    def is_float(self) -> bool:
        return self.dtype.kind == "f"

    def __repr__(self) -> str:
        return f"{self.type} {self.text}"

    def __add__(self, other: Operand) -> Value:
        return self.emitter.binary("add", self, other)

    def __radd__(self, other: float) -> Value:
        return self.emitter.binary("add", other, self)

    def __sub__(self, other: Operand) -> Value:
        return self.emitter.binary("sub", self, other)

    def __rsub__(self, other: float) -> Value:
        return self.emitter.binary("sub", other, self)

    def __mul__(self, other: Operand) -> Value:
        return self.emitter.binary("mul", self, other)

    def __rmul__(self, other: float) -> Value:
        return self.emitter.binary("mul", other, self)

    def __truediv__(self, other: Operand) -> Value:
        return self.emitter.binary("fdiv", self, other)

    def __rtruediv__(self, other: float) -> Value:
        return self.emitter.binary("fdiv", other, self)

    def __neg__(self) -> Value:
        return self.emitter.negative(self)

    def __and__(self, other: Operand) -> Value:
        return self.emitter.binary("and", self, other)

    def __or__(self, other: Operand) -> Value:
        return self.emitter.binary("or", self, other)

    def __xor__(self, other: Operand) -> Value:
        return self.emitter.binary("xor", self, other)

    def __invert__(self) -> Value:
        return self.emitter.binary("xor", self, -1)

    def __lshift__(self, bits: Operand) -> Value:
        return self.emitter.binary("shl", self, bits)

    def __rshift__(self, bits: Operand) -> Value:
        """Arithmetic for signed integers, logical for unsigned ones."""
        return self.emitter.binary("ashr" if self.dtype.kind == "i" else "lshr", self, bits)

    def shift_right_logical(self, bits: Operand) -> Value:
        """Zeros come in from the left, whatever the sign."""
        return self.emitter.binary("lshr", self, bits)

    def __lt__(self, other: Operand) -> Value:
        return self.emitter.compare("<", self, other)

    def __le__(self, other: Operand) -> Value:
        return self.emitter.compare("<=", self, other)

    def __gt__(self, other: Operand) -> Value:
        return self.emitter.compare(">", self, other)

    def __ge__(self, other: Operand) -> Value:
        return self.emitter.compare(">=", self, other)

    # not __eq__: a value stays usable in sets and as a key
    def equals(self, other: Operand) -> Value:
        return self.emitter.compare("==", self, other)

    def differs(self, other: Operand) -> Value:
        return self.emitter.compare("!=", self, other)


Operand: TypeAlias = Value | float


def llvm_type(dtype: DType, lanes: int = 1) -> str:
    """The type in LLVM's words.

    >>> llvm_type(F32, 16), llvm_type(I64)
    ('<16 x float>', 'i64')
    """
    element = ELEMENTS[dtype]
    return element if lanes == 1 else f"<{lanes} x {element}>"


def literal(number: float, dtype: DType) -> str:
    """A number as LLVM writes a constant of the dtype; floats by their bits, rounded to the dtype first.

    >>> literal(1.0, F32), literal(-1, I32), literal(True, BOOL)
    ('0x3FF0000000000000', '-1', 'true')
    """
    if dtype == F16:
        return str(np.float16(number).view(np.int16))
    if dtype.kind == "f":
        # LLVM writes a float constant as the double of the same value
        with np.errstate(over="ignore"):
            rounded = float(dtype.type(number))
        return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"
    if dtype.kind == "b":
        return "true" if number else "false"
    return str(int(number))


def width(dtype: DType) -> int:
    """Bits of one lane.

    >>> width(F32), width(BOOL)
    (32, 1)
    """
    return 1 if dtype == BOOL else 8 * dtype.itemsize
