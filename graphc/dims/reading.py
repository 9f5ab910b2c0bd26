"""Sizes read from text: Python's own notation for what arithmetic on sizes can give."""

from __future__ import annotations

import re
from typing import Any

from graphc.dims.polynomials import MAX_COEFFICIENT, PRECEDENCE, Size
from graphc.dims.substitution import OPERATORS

MAX_TEXT = 2**15
MAX_NESTING = 100


_DIGITS = frozenset("0123456789")
_TOKEN = re.compile(r"[ \t\n]*([0-9]+|[A-Za-z_][A-Za-z_0-9]*|\*\*|//|.|\Z)", re.DOTALL)


def parse(text: str) -> Size:
    """Read a size from text: integers, symbols, + - * // % **, max, min and parentheses, as in Python.

    >>> parse("(n + 1)//2*m - max(n, 1)")
    ((n+1)//2)*m-max(n, 1)
    """
    if not isinstance(text, str):
        raise TypeError(f"size text: expected a str, got {type(text).__name__}")
    if len(text) > MAX_TEXT:
        raise ValueError(f"size text of {len(text)} characters: expected at most {MAX_TEXT}")
    reader = _Reader(text)
    size = reader.expression(1, 0)
    if reader.token:
        raise reader.error("an operator or the end")
    return size


class _Reader:
    """A precedence-climbing reader: `token` is the next token ("" at the end), starting at `start`."""

    __slots__ = ("start", "stop", "text", "token")

    def __init__(self, text: str) -> None:
        self.text, self.token, self.start, self.stop = text, "", 0, 0
        self.advance()

    def advance(self) -> str:
        passed, self.start = self.token, self.stop
        match = _TOKEN.match(self.text, self.stop)
        assert match is not None
        self.token, self.start, self.stop = match[1], match.start(1), match.end()
        return passed

    def expect(self, token: str) -> None:
        if self.token != token:
            raise self.error(repr(token))
        self.advance()

    def error(self, expected: str, found: str = "") -> ValueError:
        found = found or repr(self.text[self.start : self.start + 20] or "the end")
        return ValueError(f"size text, position {self.start}: expected {expected}, found {found}")

    def expression(self, level: int, nesting: int) -> Size:
        """Read operators that bind at least as tightly as `level`."""
        left = self.operand(nesting)
        while PRECEDENCE.get(self.token, 0) >= level:
            operator, start = self.token, self.start
            self.advance()
            right = self.expression(PRECEDENCE[operator] + 1, nesting)
            left = self.apply(start, operator, left, right)
        return left

    def operand(self, nesting: int) -> Size:
        if nesting > MAX_NESTING:
            raise self.error(f"at most {MAX_NESTING} levels", "deeper nesting")
        negative = False
        while self.token == "-":
            self.advance()
            negative = not negative
        start, token = self.start, self.advance()
        size: Size
        if token == "(":
            size = self.expression(1, nesting + 1)
            self.expect(")")
        elif token in ("max", "min"):
            self.expect("(")
            operands = [self.expression(1, nesting + 1)]
            while self.token == ",":
                self.advance()
                operands.append(self.expression(1, nesting + 1))
            self.expect(")")
            size = self.apply(start, token, *operands)
        elif token[:1] in _DIGITS:
            size = self.integer(start, token)
        elif token.isidentifier():
            size = self.apply(start, "symbol", token)
        else:
            self.start = start
            raise self.error("a size")
        if self.token == "**":
            self.advance()
            start, token = self.start, self.advance()
            size = self.apply(start, "**", size, self.integer(start, token))
        return -size if negative else size

    def integer(self, start: int, token: str) -> int:
        if token[:1] not in _DIGITS or len(token) > 40:
            self.start = start
            raise self.error("an integer of at most 40 digits")
        return int(token)

    def apply(self, start: int, operator: str, *operands: Any) -> Size:
        try:
            result: Size = OPERATORS[operator](*operands)
        except (ValueError, ZeroDivisionError) as error:
            raise ValueError(f"size text, position {start}: {error}") from None
        if isinstance(result, int) and abs(result) >= MAX_COEFFICIENT:
            raise ValueError(f"size text, position {start}: a value of 2**128 or more")
        return result
