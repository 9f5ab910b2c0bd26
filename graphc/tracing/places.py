"""Where in the user's code something happens: frames, locations, and errors that get one."""

from __future__ import annotations

import inspect
import os
import sys
from types import FrameType
from typing import Any, Final

from graphc.errors import GraphcError, Loc
from graphc.ir import Locs

# Code objects compare equal across files, so the file's name is the key.
_locs: dict[tuple[str, int, str], Locs] = {}
_is_user: dict[tuple[str, str], bool] = {}

_LIBRARIES: Final = frozenset({"graphc", "numpy", "scipy", "optree", "typer", "click"})
_STDLIB: Final = os.path.dirname(os.__file__)


def _users(module: str, file: str) -> bool:
    """Whether a module is the user's: neither one of ours or NumPy's, nor the standard library, nor generated."""
    root = module.partition(".")[0]
    standard = root in sys.stdlib_module_names and file.startswith((_STDLIB, "<frozen "))
    return root not in _LIBRARIES and not standard and not file.startswith("<graphc ")


def user_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of the user's code, told by its module; None above the command line."""
    while frame is not None:
        module: str = frame.f_globals.get("__name__") or ""
        key = (module, frame.f_code.co_filename)
        users = _is_user.get(key)
        if users is None:
            users = _is_user[key] = _users(*key)
        if users:
            return frame
        if module.startswith("graphc.cli"):
            return None
        frame = frame.f_back
    return None


def user_locs() -> Locs:
    """The user's line that is running, as node locations."""
    frame = user_frame(sys._getframe(1))
    if frame is None:
        return ()
    code = frame.f_code
    key = (code.co_filename, frame.f_lineno, code.co_name)
    found = _locs.get(key)
    if found is None:
        if len(_locs) > 10_000:
            _locs.clear()
        found = _locs[key] = (Loc(*key),)
    return found


def locate(error: GraphcError) -> None:
    """Give an error that has no place the user's innermost line on its way; without one, the line that called us."""
    if error.loc is not None:
        return
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if user_frame(frame) is frame:
            error.loc = Loc(frame.f_code.co_filename, trace.tb_lineno, frame.f_code.co_name)
        trace = trace.tb_next
    if error.loc is None:
        error.loc = (user_locs() or (None,))[0]


class located:
    """Context in which every error of graphc gets a place, see `locate`."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, GraphcError):
            locate(error)


def definition(f: Any) -> Loc | None:
    """Where a function is defined, if it is one of Python's."""
    code = getattr(inspect.unwrap(f), "__code__", None)
    return Loc(code.co_filename, code.co_firstlineno, code.co_name) if code is not None else None


def stacklevel() -> int:
    """How far above the caller the user's frame lies, for warnings."""
    frame: FrameType | None = sys._getframe(1)
    user, level = user_frame(frame), 1
    while frame is not None and frame is not user:
        level, frame = level + 1, frame.f_back
    return level
