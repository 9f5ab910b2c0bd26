"""Calling the user's function inside a trace: errors that NumPy hides come out, draws of random numbers are seen."""

from __future__ import annotations

import dis
import re
import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Final

import numpy as np

from graphc.errors import GraphcError, Loc, TraceError
from graphc.tracing import STACK, locate, tracing, user_frame

_RAISE: Final = dis.opmap["RAISE_VARARGS"]
_MAKER: Final = re.compile(r"\b(?:np|numpy)\.(arange|zeros|ones|empty|full|eye|identity|tri)\(")
_DRAW: Final = re.compile(r"\b(?:np|numpy)\.random\.(\w+)")


def call(f: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """`f(*args, **kwargs)`; every error of graphc that leaves it has the user's line."""
    # the generator is shared by all threads: with several running, a changed state says nothing of this one
    outermost = len(STACK.worlds) == 1 and threading.active_count() == 1
    before = generator_state() if outermost else None
    try:
        result = f(*args, **kwargs)
    except GraphcError as error:
        locate(error)
        _name_maker(error)
        raise
    except Exception as error:
        hidden = hidden_error(error) or _failed_maker(error)
        if hidden is None:
            raise
        _name_maker(hidden)
        error.__cause__ = None  # the two would name each other as causes
        raise hidden from error
    if outermost and generator_state() != before:
        refuse_draw(f, args, kwargs)
    return result


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


def _name_maker(error: GraphcError) -> None:
    """Where NumPy was to make an array of a size that is not known yet, name the function that can."""
    made = _MAKER.search(error.loc.source) if error.loc is not None else None
    if made is not None and isinstance(error, TraceError) and "known only when the graph runs" in error.problem:
        error.fix = f"graphc.numpy.{made[1]}, which takes sizes that are known only when the graph runs"


def _failed_maker(error: Exception) -> GraphcError | None:
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
    error.fix = "make the array with np.zeros_like(x) of a traced x, or with graphc.numpy.zeros, ones, empty or full"


def _raised_by_user(error: Exception) -> bool:
    """Whether a `raise` statement of the user's code raised it, rather than C code or a library."""
    trace = error.__traceback__
    if trace is None:
        return True
    while trace.tb_next is not None:
        trace = trace.tb_next
    frame = trace.tb_frame
    return user_frame(frame) is frame and frame.f_code.co_code[trace.tb_lasti] == _RAISE


def generator_state() -> Any:
    """The state of NumPy's global generator, as a value to compare."""
    return _frozen(np.random.get_state(legacy=False))


def _frozen(state: Any) -> Any:
    if isinstance(state, dict):
        return tuple((name, _frozen(value)) for name, value in state.items())
    return state.tobytes() if isinstance(state, np.ndarray) else state


def refuse_draw(f: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise TraceError if `f` draws from NumPy's global generator.

    The state has changed; another thread may have done it, or code that draws only once, such as weights made on
    first use. So `f` runs again, watched line by line in this thread alone.
    """
    watcher = _Watcher()
    before = sys.gettrace()
    sys.settrace(watcher.enter)
    try:
        with tracing("again"):  # takes in the effects, which are in the graph already
            f(*args, **kwargs)
    finally:
        sys.settrace(before)
    if watcher.found is None:
        return
    name = _DRAW.search(watcher.found.source)
    draw = f"np.random.{name[1]}" if name else "a draw from NumPy's global generator"
    raise TraceError(
        f"{draw} inside a traced function runs once: its numbers would become constants of the graph",
        expected="random numbers as an argument of the function",
        actual="NumPy's global generator was used or seeded while the function was traced",
        loc=watcher.found,
        fix="draw before the call and pass the array in",
    )


class _Watcher:
    """Finds the first line of the user's code that moves NumPy's global generator."""

    def __init__(self) -> None:
        self.state = generator_state()
        self.lines: dict[FrameType, int] = {}
        self.found: Loc | None = None

    def enter(self, frame: FrameType, event: str, arg: Any) -> Any:
        caller = user_frame(frame.f_back)
        if self.found is not None or user_frame(frame) is not frame:
            return None
        if caller in self.lines:
            self.look(caller)
        self.lines[frame] = frame.f_lineno
        return self.step

    def step(self, frame: FrameType, event: str, arg: Any) -> Any:
        self.look(frame)
        self.lines[frame] = frame.f_lineno
        return self.step

    def look(self, frame: FrameType) -> None:
        state = generator_state()
        if self.found is None and state != self.state:
            self.found = Loc(frame.f_code.co_filename, self.lines[frame], frame.f_code.co_name)
        self.state = state
