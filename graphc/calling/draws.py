"""Draws of random numbers while a function is traced: their numbers would become constants of the graph."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FrameType
from typing import Any, NoReturn

from graphc.calling.advice import draw_in
from graphc.calling.generators import Search, Source
from graphc.errors import Loc, TraceError
from graphc.ir import Builder
from graphc.plan import COMPILER
from graphc.tracing import STACK, tracing, user_frame


class Watch:
    """Notices that a function drew random numbers while it was traced.

    A generator whose state has changed may have been used by another thread, or by code that draws only once, such as
    weights made on first use. So the function runs again: where it is the only thread that runs, watched line by line;
    otherwise, or where it makes generators itself, by whether the second run brings other constants than the first.
    """

    def __init__(self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.run: Callable[[], Any] = partial(f, *args, **kwargs)
        found = Search(f, args, kwargs)
        self.makers = found.makers
        self.before = [(source, source.state()) for source in found.sources]

    def check(self) -> None:
        """Raise TraceError if the function drew random numbers, and does so every time."""
        changed = [source for source, state in self.before if source.state() != state]
        alone = sum(thread.name != COMPILER for thread in threading.enumerate()) == 1
        if changed and alone:
            self._look_at_lines(changed)
        elif changed or self.makers:
            self._look_at_constants()

    def _run_again(self) -> Builder:
        """Run the function in a trace that takes in the effects, which are in the graph already, and derivatives."""
        with tracing("again") as world:
            self.run()
        return world.builder

    def _look_at_lines(self, changed: Sequence[Source]) -> None:
        watcher = _Watcher(changed)
        before = sys.gettrace()
        sys.settrace(watcher.enter)
        try:
            self._run_again()
        finally:
            sys.settrace(before)
        if watcher.found is not None:
            _refuse(*watcher.found)

    def _look_at_constants(self) -> None:
        builder = STACK.worlds[-1].builder
        first = len(builder.nodes)
        constants = {data["attrs"] for data in builder.nodes if data["op"] == "const"}
        again = self._run_again()
        for data in (*builder.nodes[first:], *again.nodes):
            if data["op"] == "const" and data["attrs"] not in constants and data["type"].dtype.kind != "b":
                _refuse("a generator", data["loc"][0] if data["loc"] else None, where="used")


def _refuse(name: str, loc: Loc | None, where: str = "drawn") -> NoReturn:
    draw, fix = (draw_in(loc.source) if loc is not None else None) or (
        f"a draw from {name}",
        "graphc.random.uniform(key, shape), graphc.random.normal(key, shape), ...",
    )
    if where == "drawn":
        actual = f"{name} was used or seeded while the function was traced"
    else:
        actual = "numbers that differ each time the function is traced enter the graph in this line"
    raise TraceError(
        f"{draw} inside a traced function runs once: its numbers would become constants of the graph",
        expected="random numbers from a key that is an argument of the function, or as an argument themselves",
        actual=actual,
        loc=loc,
        fix=f"{fix}, where key is an argument that graphc.random.key(seed) makes; "
        "or draw before the call and pass the array in",
    )


class _Watcher:
    """Finds the first line of the user's code that moves one of some generators."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self.states = [source.state() for source in sources]
        self.lines: dict[FrameType, int] = {}
        self.found: tuple[str, Loc] | None = None

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
        states = [source.state() for source in self.sources]
        if self.found is None:
            for source, old, new in zip(self.sources, self.states, states, strict=True):
                if old != new:
                    loc = Loc(frame.f_code.co_filename, self.lines[frame], frame.f_code.co_name)
                    self.found = source.name, loc
                    break
        self.states = states
