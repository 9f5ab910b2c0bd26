"""Errors of graphc that NumPy and other libraries catch and replace by their own."""

from __future__ import annotations

import dis
import re
from types import TracebackType
from typing import Final

from graphc.calling.makers import called_maker
from graphc.errors import GraphcError, TraceError
from graphc.tracing import WRITABLE, locate, user_frame

_RAISE: Final = dis.opmap["RAISE_VARARGS"]
# another function is named, or no function is to blame
_INSIDE: Final = re.compile(r" in (?:np|scipy)\.|^(?:an index|writing) into")


def hidden_error(error: Exception) -> GraphcError | None:
    """The error of graphc that other code caught and replaced by this one; None where the user's own `raise` did."""
    if _raised_by_user(error):
        return None
    seen = {id(error)}
    inner = error.__cause__ or error.__context__
    while inner is not None and id(inner) not in seen:
        if isinstance(inner, GraphcError):
            if isinstance(error, ValueError) and isinstance(inner, TraceError):
                _explain_assignment(inner)
            locate(inner)
            return inner
        seen.add(id(inner))
        inner = inner.__cause__ or inner.__context__
    return None


def name_maker(error: GraphcError, trace: TracebackType | None) -> None:
    """Where NumPy was to make an array of a size that is not known yet, name the function that can.

    `trace` is the traceback of what left the user's function, which may have replaced the error.
    """
    if not isinstance(error, TraceError) or "known only when the graph runs" not in error.problem:
        return
    made = None if _INSIDE.search(error.problem) else called_maker(trace)
    if made is not None:
        error.fix = (
            "make the argument static: graphc.jit(f, static_argnames=...); or take a size of an array, as x.shape[0]"
            if error.problem.startswith("NumPy needs") and "traced " in (error.actual or "")
            else f"graphc.numpy.{made}, which takes sizes that are known only when the graph runs"
        )


def failed_maker(error: Exception) -> GraphcError | None:
    """The error in words, if it is NumPy's for a size that is no number, of which it hides the cause."""
    if (
        not isinstance(error, TypeError)
        or "expected a sequence of integers" not in str(error)
        or _raised_by_user(error)
    ):
        return None
    found = TraceError(
        "NumPy needs a size that is known only when the graph runs",
        expected="a fixed size",
        actual=str(error).rpartition(", got ")[2].strip("'"),
        fix="write a number for it in the spec",
    )
    found.__traceback__ = error.__traceback__
    locate(found)
    return found


def _explain_assignment(error: TraceError) -> None:
    """NumPy asked a value for an array or a number in order to store it in an array."""
    error.problem = "a traced value cannot be stored in a plain NumPy array"
    error.expected = "an array made in the trace"
    error.graph_line = None
    error.fix = WRITABLE


def _raised_by_user(error: Exception) -> bool:
    """Whether a `raise` statement of the user's code raised it, rather than C code or a library."""
    trace = error.__traceback__
    if trace is None:
        return True
    while trace.tb_next is not None:
        trace = trace.tb_next
    frame = trace.tb_frame
    return user_frame(frame) is frame and frame.f_code.co_code[trace.tb_lasti] == _RAISE
