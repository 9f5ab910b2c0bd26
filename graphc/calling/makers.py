"""Calls of NumPy's functions that make arrays of a size, found where they failed."""

from __future__ import annotations

import ast
import linecache
from itertools import islice
from types import CodeType, FrameType, TracebackType
from typing import Any, Final

import numpy as np

from graphc.tracing import user_frame
from graphc.tracing.bytecode import Program

MAKERS: Final = ("arange", "zeros", "ones", "empty", "full", "eye", "identity", "tri")


def called_maker(trace: TracebackType | None) -> str | None:
    """The name of the function that makes arrays, if it is what the user's innermost instruction called.

    A refused value elsewhere on the same line, such as the condition before `np.ones(3)`, is none of its arguments.
    """
    found: tuple[FrameType, int] | None = None
    while trace is not None:
        if user_frame(trace.tb_frame) is trace.tb_frame:
            found = trace.tb_frame, trace.tb_lasti
        trace = trace.tb_next
    if found is None:
        return None
    frame, at = found
    program = Program(frame.f_code)
    if at < 0 or not program.opname(at).startswith("CALL"):
        return None
    try:
        node = ast.parse(f"({_source(frame.f_code, program.start(at))})", mode="eval").body
    except (SyntaxError, ValueError):  # the file is not there, or has changed
        return None
    function = _named(frame, node.func) if isinstance(node, ast.Call) else None
    return next((name for name in MAKERS if function is getattr(np, name)), None)


def _source(code: CodeType, at: int) -> str:
    """The text of the expression that an instruction evaluates; empty where Python does not know it."""
    first, last, start, end = next(islice(code.co_positions(), at // 2, None), (None,) * 4)
    if first is None or last is None or start is None or end is None:
        return ""
    lines = [linecache.getline(code.co_filename, n).encode() for n in range(first, last + 1)]  # columns are of bytes
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    return b"".join(lines).decode(errors="replace")


def _named(frame: FrameType, expression: ast.expr) -> Any:
    """What a name, or a name of NumPy's, stands for in a frame; None for any other expression."""
    if isinstance(expression, ast.Name):
        return frame.f_locals.get(expression.id, frame.f_globals.get(expression.id))
    if isinstance(expression, ast.Attribute) and _named(frame, expression.value) is np:
        return getattr(np, expression.attr, None)
    return None
