"""What traced values call from above, and what called them from a library."""

from __future__ import annotations

import sys
from importlib import import_module
from types import CodeType, FrameType
from typing import Any, Final

from graphc.tracing.places import user_frame

_LIBRARIES: Final = ("numpy", "scipy")


def namespace() -> Any:
    """The NumPy versions of traced values, which stand on tracing."""
    return import_module("graphc.numpy")


def library_function(frame: FrameType | None) -> str | None:
    """The function of NumPy or SciPy that the user's code called to come to this frame, by the name to import it by.

    None if there is none that is written in Python, as `numpy.array` is not.
    """
    user, found = user_frame(frame), None
    while frame is not None and frame is not user:
        found = _public_name(frame.f_globals.get("__name__") or "", frame.f_code) or found
        frame = frame.f_back
    return found


def _public_name(module: str, code: CodeType) -> str | None:
    """Where a function of a library is shown: in the outermost package around its module that shows the same one."""
    parts = module.split(".")
    name = code.co_qualname.partition(".")[0]
    if parts[0] not in _LIBRARIES or name.startswith("_"):
        return None
    packages = [".".join(parts[:k]) for k in range(1, len(parts) + 1)]
    shown = {package: getattr(sys.modules.get(package), name, None) for package in packages if "._" not in package}
    own = next((value for value in reversed(shown.values()) if callable(value)), None)
    return next((f"{package}.{name}" for package, value in shown.items() if own is not None and value is own), None)
