"""Callables made of a function: they have its name and signature, work as methods, and pickle by name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import update_wrapper
from types import MethodType
from typing import Any

from graphc.errors import TraceError
from graphc.tracing import user_locs


class Wrapper:
    """What stands for a function: with its name, documentation and signature, bound like a method in a class."""

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __init__(self, f: Callable[..., Any], maker: str) -> None:
        # on a static method, `@jit @staticmethod def f`, the function is the one inside
        self._bound = not isinstance(f, staticmethod)
        self._f: Callable[..., Any] = f.__func__ if isinstance(f, staticmethod) else f
        given: Any = f
        if not callable(given) or isinstance(given, classmethod):
            raise TraceError(
                f"{maker}: there is no function",
                expected=f"{maker}(f, ...) of a function",
                actual="a classmethod" if isinstance(given, classmethod) else repr(f)[:60],
                loc=(user_locs() or (None,))[0],
                fix=f"write @classmethod above @{maker}" if isinstance(given, classmethod) else None,
            )
        # not the function's attributes: one of them could be called as one of ours
        update_wrapper(self, self._f, updated=())

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return MethodType(self, instance) if instance is not None and self._bound else self

    def _made_of(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """A function and its arguments that make an object like this one."""
        raise NotImplementedError

    def __reduce__(self) -> str | tuple[Any, ...]:
        """By name, if that is where it is found: a decorated function hides the one it was made of."""
        name = getattr(self, "__qualname__", "")
        found: Any = sys.modules.get(getattr(self, "__module__", ""))
        for part in name.split("."):
            found = getattr(found, part, None)
        return name if found is self else self._made_of()
