"""`y += x` of a plain array `y` and a traced `x`, where the variable `y` can simply become a traced array.

NumPy would write into `y`, which cannot hold traced values. But if the statement assigns to a local variable, and
nothing else refers to the array, nobody can tell a new array under that name from the old one.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from types import FrameType
from typing import Any

import numpy as np

from graphc.tracing.places import augmented_variable


def is_replaceable(ufunc: np.ufunc, out: Any, frame: FrameType) -> bool:
    """Whether a frame is at `y += ...` of a local variable that alone holds the plain array which `out` names.

    `ufunc` and `out` are what NumPy hands to `__array_ufunc__`, which calls this.
    """
    if not (type(out) is tuple and len(out) == 1 and type(out[0]) is np.ndarray and out[0].base is None):
        return False
    name = augmented_variable(frame)
    return name is not None and _references(out, frame, name) == _alone(ufunc is np.matmul)


def _references(out: tuple[Any, ...], frame: FrameType, name: str) -> int:
    """How many references to the array there are; 0 if it is not the variable's."""
    # up to Python 3.12 this makes a dict that refers to every variable once more; so it always exists when we count
    held = frame.f_locals.get(name)
    if held is not out[0]:
        return 0
    del held
    return sys.getrefcount(out[0])


@lru_cache(maxsize=2)
def _alone(matmul: bool) -> int:
    """How many references are counted to an array that only a variable holds, by this version of Python and NumPy."""
    found = [-1]

    class Probe:
        def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
            found[0] = _counted(ufunc, kwargs.get("out"), sys._getframe(1))
            return self

    array: Any = np.zeros((1, 1))
    if matmul:
        array @= Probe()
    else:
        array += Probe()
    return found[0]


def _counted(ufunc: np.ufunc, out: Any, frame: FrameType) -> int:
    """The count of `_references` from as deep in calls as `is_replaceable`."""
    return _references(out, frame, "array")
