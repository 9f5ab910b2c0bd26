"""Ctrl-C at any moment of a compilation leaves nothing behind: the next call compiles, traces and prints as ever."""

from __future__ import annotations

import gc
import inspect
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.printing import printing_to
from graphc.tracing import STACK

FILES = ("contextlib.py", "jitting.py", "worlds.py", "building.py", "capture.py", "calls.py", "compiled.py", "stack.py")


def interrupted(run: Callable[[], Any], when: int) -> bool:
    """Run with a KeyboardInterrupt at one of the moments at which Python looks for one; False if it ends before.

    Those are the beginnings of functions, and their ends, where the caller goes on.
    """
    moments = 0

    def look(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal moments
        frame.f_trace_lines = False
        code = frame.f_code
        # an error where a generator yields would end it without its `finally`, which Ctrl-C does not
        possible = event == "call" or (event == "return" and not code.co_flags & inspect.CO_GENERATOR)
        if possible and code.co_name != "<genexpr>" and code.co_filename.endswith(FILES):
            moments += 1
            if moments == when:
                raise KeyboardInterrupt
        return look

    before = sys.gettrace()
    try:
        sys.settrace(look)
        run()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("kernels", ["ufunc", "none"])
def test_nothing_is_left_behind(kernels: Any) -> None:
    x = np.array([1.0, 4.0])
    when = 0
    more = True
    while more:
        when += 1

        def plain(x: Any) -> Any:
            graphc.debug_print("{}", x)
            return np.sqrt(x) + 1

        f = graphc.jit(plain, kernels=kernels)
        lines: list[str] = []
        with printing_to(lines.append):
            more = interrupted(lambda f=f: f(x), when)  # type: ignore[misc]
            assert STACK.worlds == [], when
            assert gc.isenabled(), when
            lines.clear()
            np.testing.assert_array_equal(f(x), [2.0, 3.0])
        assert lines == ["[1. 4.]"], when
        assert type(graphc.numpy.zeros(2)) is np.ndarray
        if when % 50 == 0:
            # another thread waits for no lock
            other = threading.Thread(target=f, args=(np.float32([1, 4]),))
            with printing_to(lines.append):
                other.start()
                other.join(60)
            assert not other.is_alive(), when
    assert when > 100
