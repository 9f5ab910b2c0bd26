"""Where launches of kernels go: to the GPU at once, or onto a tape, so that small neighbours become one.

While a call is recorded, launches are noted in order and made later. Whatever else reaches the GPU meanwhile has to
come after those noted before it, and so calls `flush` first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from graphc.backends.cupy.compiling import function
from graphc.backends.cupy.library import cupy

# Functions of CuPy and of `graphc.backends.cupy.functions` that send nothing to the GPU, or note what they send.
HARMLESS: Final = frozenset(
    (
        *("empty", "transpose", "broadcast_to", "on_device", "slices"),
        *("matmul", "gather", "scatter_add", "fill", "concatenate"),
    )
)


@dataclass(frozen=True, slots=True)
class Call:
    """A launch that was noted. arguments: addresses and numbers, in the order of the text's parameters.

    work: about how many operations on numbers it makes.
    """

    text: str
    grid: tuple[int, int]
    block: tuple[int, int]
    arguments: tuple[int, ...]
    work: int


class Tape:
    """Launches in order; `send` makes those noted so far. held: arrays from outside that launches were given."""

    def __init__(self, send: Callable[[Sequence[Call]], None]) -> None:
        self.send = send
        self.calls: list[Call] = []
        self.held: list[Any] = []
        self.flushes = 0

    def flush(self) -> None:
        calls, self.calls = self.calls, []
        self.flushes += 1
        self.send(calls)


class _Here(threading.local):
    tape: Tape | None = None


_here: Final = _Here()


@contextmanager
def taped(tape: Tape) -> Iterator[Tape]:
    """Note this thread's launches on a tape."""
    before, _here.tape = _here.tape, tape
    try:
        yield tape
    finally:
        _here.tape = before


def flush() -> None:
    """Make the launches noted so far, before something else goes to the GPU."""
    if _here.tape is not None:
        _here.tape.flush()


def recording() -> bool:
    """Whether this thread's launches are noted, to be made again."""
    return _here.tape is not None


def captured() -> bool:
    """Whether what reaches the GPU now is made again later, without the host: we record, or the caller does."""
    if recording():
        return True
    stream = cupy().cuda.get_current_stream()
    return bool(stream.ptr) and bool(stream.is_capturing())


def launch(text: str, grid: tuple[int, int], block: tuple[int, int], arguments: Sequence[int], work: int) -> None:
    """Launch a kernel on the current stream, or note it."""
    if _here.tape is None:
        function(text)((*grid, 1), (*block, 1), tuple(arguments))
    else:
        _here.tape.calls.append(Call(text, grid, block, tuple(arguments), work))


def held(x: Any) -> Any:
    """The array, kept as long as launches that are noted now may be made again."""
    if _here.tape is not None:
        _here.tape.held.append(x)
    return x


def dense(x: Any) -> Any:
    """The array, or a dense copy."""
    if x.flags.c_contiguous:
        return x
    flush()
    return cupy().ascontiguousarray(x)


class Ordered:
    """A module whose functions come after the launches noted before; harmless ones are the module's own."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if name == "ascontiguousarray":
            found = dense
        elif callable(found) and not isinstance(found, type) and name not in HARMLESS:
            found = _after(found)
        setattr(self, name, found)
        return found


def _after(f: Callable[..., Any]) -> Callable[..., Any]:
    def after(*args: Any, **kwargs: Any) -> Any:
        flush()
        return f(*args, **kwargs)

    return after
