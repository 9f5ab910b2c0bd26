"""The traces that are running in each thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from graphc.tracing.worlds import TracingWorld


class _Stack(threading.local):
    """The traces that are running in this thread, outermost first."""

    def __init__(self) -> None:
        self.worlds: list[TracingWorld] = []


STACK: Final = _Stack()


def innermost() -> TracingWorld | None:
    """The innermost trace that is running in this thread; None outside all traces."""
    worlds = STACK.worlds
    return worlds[-1] if worlds else None
