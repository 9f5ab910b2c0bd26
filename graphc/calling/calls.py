"""The call itself, with the two watches around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphc.calling.draws import Watch
from graphc.calling.hidden import failed_maker, hidden_error, name_maker
from graphc.errors import GraphcError
from graphc.tracing import STACK, locate


def call(f: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """`f(*args, **kwargs)`; every error of graphc that leaves it has the user's line."""
    # a trace inside another is a part of its function, which is watched as a whole
    watch = Watch(f, args, kwargs) if len(STACK.worlds) == 1 else None
    try:
        result = f(*args, **kwargs)
    except GraphcError as error:
        locate(error)
        name_maker(error, error.__traceback__)
        raise
    except Exception as error:
        hidden = hidden_error(error) or failed_maker(error)
        if hidden is None:
            raise
        name_maker(hidden, error.__traceback__)
        error.__cause__ = None  # the two would name each other as causes
        raise hidden from error
    if watch is not None:
        watch.check()
    return result
