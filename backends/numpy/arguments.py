"""What arguments of a compiled function must be: conversion of what fits, errors for the rest."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.errors import DonationWarning, DTypeError, GuardError, ShapeError
from graphc.ir import DTYPE_NAMES, Graph, Guard, TensorType

SHOWN: Final = 60  # characters of an argument that an error shows


def integer_casts(graph: Graph, node: int) -> tuple[np.dtype[Any], ...]:
    """The integer dtypes that a Python number passed as this input is cast to."""
    type: TensorType = graph._node[node]["type"]
    if not type.weak or type.dtype.kind not in "iu":
        return ()
    readers = (graph._node[k] for k in graph.successors(node))
    found = {d["type"].dtype for d in readers if d["op"] == "cast" and d["type"].dtype.kind in "iu"}
    return tuple(sorted(found, key=str))


class InputSpec:
    """What one argument must be; converts what fits and refuses the rest by name."""

    def __init__(self, name: str, type: TensorType, casts: Sequence[np.dtype[Any]] = ()) -> None:
        self.name = name
        self.type = type
        self.casts = casts  # the integer dtypes that a Python number is cast to

    def admits(self, value: Any) -> bool:
        """Whether the value is an array that fits but for its sizes, and how it lies in memory."""
        return type(value) is np.ndarray and value.dtype == self.type.dtype and value.ndim == self.type.ndim

    def convert(self, value: Any) -> np.ndarray[Any, Any]:
        """The value as an array of the input's dtype: only safe casts, Python numbers as weak scalars."""
        want = self.type
        if isinstance(value, (np.ma.MaskedArray, np.matrix)):
            masked = isinstance(value, np.ma.MaskedArray)
            raise DTypeError(
                f"argument {self.name}: {'masked arrays' if masked else 'matrices'} are not taken",
                expected=repr(want),
                actual=f"a {type(value).__name__}",
                fix=f"{self.name}.filled(value)" if masked else f"np.asarray({self.name})",
            )
        try:
            array = np.asarray(value)
        except ValueError as error:
            if not isinstance(value, (list, tuple)):
                raise
            raise ShapeError(
                f"argument {self.name}: no array can be made of a {type(value).__name__}",
                expected=repr(want),
                actual=f"{str(value)[:SHOWN]}: {str(error).partition('. ')[2] or error}",
                fix="rows of equal lengths, as an array has them",
            ) from None
        scalar = isinstance(value, (bool, int, float)) and not isinstance(value, np.generic)
        for dtype in self.casts if isinstance(value, int) else ():
            np.array(value, dtype)  # NumPy's own OverflowError where a Python number does not fit
        if array.dtype != want.dtype:
            weak_fits = scalar and (want.dtype.kind == "f" or (want.dtype.kind in "iu" and array.dtype.kind in "bi"))
            if not weak_fits and not np.can_cast(array.dtype, want.dtype, "safe"):
                plain = array.dtype in DTYPE_NAMES
                given = f"an array of {array.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
                raise DTypeError(
                    f"argument {self.name}: no safe cast from {array.dtype} to {want.dtype}",
                    expected=f"{want!r}",
                    actual=repr(TensorType(array.shape, array.dtype)) if plain else given,
                    fix=self._fix(array.dtype) if plain else "pass an array of numbers",
                )
            array = np.asarray(value, want.dtype) if scalar else array.astype(want.dtype)
        if array.ndim != want.ndim or any(
            isinstance(d, int) and d != s for d, s in zip(want.shape, array.shape, strict=True)
        ):
            raise ShapeError(
                f"argument {self.name}: wrong shape",
                expected=repr(want),
                actual=repr(TensorType(array.shape, array.dtype)),
                fix="pass an array of this shape, or compile for other sizes: a name such as n stands for any",
            )
        return array

    def _fix(self, given: np.dtype[Any]) -> str:
        """What to do about an array of another dtype, from which no cast is safe."""
        if given.kind == "c" != self.type.dtype.kind:
            return f"{self.name}.real; or compile a function of {self.name}.real and {self.name}.imag, if both count"
        return f"{self.name}.astype(np.{self.type.dtype.name}), or compile for this dtype"

    def owned(self, array: np.ndarray[Any, Any], *others: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The array itself if it is the caller's to give away, and no other argument shows its memory; else a copy."""
        why = not_given(array, others)
        if why is None:
            return array
        warnings.warn(
            f"argument {self.name} is donated, but {why}: it is copied, and its memory is not used",
            DonationWarning,
            stacklevel=_levels(),
        )
        return np.array(array, order="C")

    def refuse_size(self, axis: int, actual: int, expected: int) -> None:
        raise ShapeError(
            f"argument {self.name}: wrong size along axis {axis}",
            expected=f"{expected} (from {self.type!r})",
            actual=str(actual),
            fix="pass an array of this size, or compile for other sizes: a name such as n stands for any",
        )


def not_given(array: np.ndarray[Any, Any], others: Sequence[Any]) -> str | None:
    """Why the memory of an array cannot be taken; None if it can."""
    if not array.flags.writeable:
        return "is read-only"
    if not array.flags.owndata:
        return "is a view of memory that another object owns"
    if not (array.flags.c_contiguous and array.flags.aligned):
        return "its elements are not adjacent in C's order"
    if any(array is other or np.may_share_memory(array, other) for other in others):
        return "another argument shows the same memory"
    return None


def _levels() -> int:
    """How far above its caller the user's frame lies, for warnings."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and (
        frame.f_globals.get("__name__", "graphc").partition(".")[0] == "graphc"
        or frame.f_code.co_filename.startswith("<graphc ")
    ):
        frame, level = frame.f_back, level + 1
    return level


def solve_size(size: Size, actual: int, spec: InputSpec, /, **known: int) -> int:
    """The symbol's value for which a derived size such as 2*n + m has the actual value, others being known."""
    try:
        solved = dims.solve(dims.substitute(size, known), actual)
    except ValueError as error:
        raise ShapeError(f"argument {spec.name}: {error}", expected=repr(spec.type), actual=str(actual)) from None
    if solved is None:
        raise ShapeError(
            f"argument {spec.name}: its size {size} does not determine the named sizes",
            fix="name each size alone in some argument",
        )
    return solved[1]


def refuse_guard(guard: Guard, **sizes: int) -> None:
    raise GuardError(
        f"the graph was traced under the assumption {guard}",
        expected=str(guard),
        actual=", ".join(f"{k} = {v}" for k, v in sizes.items()),
        fix="compile for these sizes, or use jit, which does so by itself",
    )
