"""Backends: each runs a compiled graph on one kind of array. Installed as ``graphc.backends``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from graphc.errors import UnsupportedError

if __name__ != "graphc.backends":
    raise ImportError("`backends` is a folder of the source tree; import graphc.backends", name=__name__)

__all__ = ["use"]

# the module of each backend, loaded on first use
MODULES: Final = {
    "numpy": "graphc.backends.numpy.executor",
    "cupy": "graphc.backends.cupy.executor",
    "sympy": "graphc.backends.exact.executor",
}
_current: Final[ContextVar[str]] = ContextVar("backend", default="numpy")


@contextmanager
def use(backend: str) -> Iterator[None]:
    """Context in which functions are compiled for a backend, unless `compile` or `jit` is told another.

    It holds for the thread (more exactly, the `contextvars` context) that enters it.

    Args:
        backend: "numpy"; "cupy" for an NVIDIA GPU; or "sympy".

    Raises:
        UnsupportedError: there is no such backend.

    >>> import graphc
    >>> with use("sympy"):
    ...     f = graphc.compile(lambda x: x * x, "f64[]")
    >>> f.options.backend
    'sympy'
    """
    module(backend)
    before = _current.set(backend)
    try:
        yield
    finally:
        _current.reset(before)


def chosen(backend: str | None) -> str:
    """The backend that was asked for, or the one in use."""
    return _current.get() if backend is None else backend


def module(backend: str) -> str:
    """The name of the module that loads plans for a backend."""
    if backend not in MODULES:
        raise UnsupportedError(
            f"there is no backend called {backend!r}",
            expected=" or ".join(MODULES),
            actual=repr(backend),
            fix='backend="numpy"',
        )
    return MODULES[backend]
