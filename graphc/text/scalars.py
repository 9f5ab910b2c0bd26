"""Elements of constants as text, bit for bit, and the words of the format."""

from __future__ import annotations

import math
import re
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeVar

import numpy as np

from graphc.ir import DTYPES, Graph, TensorType, Type

MAX_NESTING: Final = 48  # of graphs, tuples and arrays inside one another: a text never exhausts Python's stack
MAX_DIGITS: Final = 4000  # of a decimal integer: Python reads longer ones in quadratic time, or not at all
COMMENT_COLUMN: Final = 56
VIEW: Final = "# a view of "  # how a text begins that shows a graph and is not read back
NAME: Final = re.compile(r"[^\W\d]\w*(?:\.\w+)*")
WORDS: Final = frozenset({*DTYPES, "callback", "const", "graph", "inf", "nan", "size"})
BITS: Final = {2: "e", 4: "f", 8: "d"}  # struct's letters of the floats, by size
DIGITS: Final = {"e": 5, "f": 9}  # significant decimals that tell all floats apart
PARTS: Final[dict[str, np.dtype[Any]]] = {"c8": np.dtype("f4"), "c16": np.dtype("f8")}

Line = Callable[[Graph, int], str]
Locations = bool | Literal["full"]
Element = str | tuple[str, str]
Operand = int | tuple[Element, TensorType | None, int]  # a node, or a scalar, the type written after it, where
T = TypeVar("T")


def element_text(raw: bytes, dtype: np.dtype[Any]) -> str:
    """The text of one array element that `element_bytes` reads back to the same bits."""
    if dtype.kind == "c":
        half, part = len(raw) // 2, PARTS[dtype.str[1:]]
        return f"({element_text(raw[:half], part)}, {element_text(raw[half:], part)})"
    if dtype.kind == "b":
        return str(raw != b"\0")
    if dtype.kind in "iu":
        return str(int.from_bytes(raw, sys.byteorder, signed=dtype.kind == "i"))
    letter = BITS[dtype.itemsize]
    (value,) = struct.unpack(letter, raw)
    if struct.pack(letter, value) == raw and (value == value or struct.pack(letter, math.nan) == raw):
        return _shortest(value, letter)
    return f"0x{int.from_bytes(raw, sys.byteorder):0{2 * len(raw)}x}"


def _shortest(value: float, letter: str) -> str:
    """The fewest decimals that name this float among those of its size."""
    for digits in range(1, DIGITS.get(letter, 0) + 1):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.pack(letter, short) == struct.pack(letter, value):
                return repr(short)
        except OverflowError:  # rounded up beyond the largest
            continue
    return repr(value)


def element_bytes(element: Element, dtype: np.dtype[Any]) -> bytes:
    """The bytes of one array element; ValueError where it is none of this dtype."""
    kind, size = dtype.kind, dtype.itemsize
    if kind == "c" and isinstance(element, tuple):
        return b"".join(element_bytes(part, PARTS[dtype.str[1:]]) for part in element)
    if isinstance(element, str) and (element in ("True", "False")) == (kind == "b"):
        if kind == "b":
            return b"\1" if element == "True" else b"\0"
        if kind in "iu" and re.fullmatch("-?[0-9]+", element) and len(element) <= MAX_DIGITS:
            try:
                return int(element).to_bytes(size, sys.byteorder, signed=kind == "i")
            except OverflowError:
                raise ValueError("out of range") from None
        if kind == "f" and element.startswith("0x"):
            if len(element) != 2 + 2 * size:
                raise ValueError(f"{2 * size} hexadecimal digits are the bit pattern")
            return int(element, 16).to_bytes(size, sys.byteorder)
        if kind == "f":
            try:
                return struct.pack(BITS[size], _float(element))
            except OverflowError:
                raise ValueError("out of range") from None
    raise ValueError("of another kind")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value) and "inf" not in text:
        raise ValueError("out of range")
    return value


def _kinds(element: Element) -> str:
    """The kinds of dtype that an element's text may belong to."""
    if isinstance(element, tuple):
        return "c"
    if element in ("True", "False"):
        return "b"
    return "f" if re.search(r"[.enx]", element) else "iu"


def _implied(element: Element, types: Sequence[Type]) -> tuple[np.dtype[Any], bool] | None:
    """Dtype and weakness of a scalar operand that says neither, from the types beside it."""
    kinds = _kinds(element)
    for type in types:
        if isinstance(type, TensorType) and type.dtype.kind in kinds:
            return type.dtype, type.weak
    return None


def quote(text: str) -> str:
    """The text in double quotes, in ASCII, with Python's escapes."""
    return '"' + re.sub(r"[^ !#-\[\]-~]", _escape, text) + '"'


def _word(name: str) -> str:
    """A name as it stands in the text: in quotes if it is none of the format's."""
    return name if NAME.fullmatch(name) else quote(name)


def printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] in '"\\':
        return "\\" + match[0]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
