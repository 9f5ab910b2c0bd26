"""What a large array holds, in a few words: its SHA-256, by which texts name it, says nothing to people."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from graphc.ir import Constant

REMEMBERED: Final = 1024
_known: dict[tuple[str, tuple[int, ...], str], str] = {}  # by what names an array; no array is kept


def summary(constant: Constant) -> str | None:
    """A few words on the elements of a large constant; None where only its name is known.

    >>> summary(Constant(np.eye(5))), summary(Constant(np.arange(0.0, 50.0, 5.0)))
    ('the identity', 'evenly from 0 to 45')
    >>> summary(Constant(np.array([[0.5, -1.0, np.nan, 2.0, 0.0]] * 4)))
    '-1 to 2, mean 0.375; 4 NaN'
    """
    if not constant.loaded:
        return None
    key = (constant.digest, constant.shape, constant.dtype.str)
    found = _known.get(key)
    if found is None:
        if len(_known) >= REMEMBERED:
            _known.clear()
        with np.errstate(all="ignore"):
            found = _known[key] = _describe(constant.array)
    return found


def _describe(array: np.ndarray[Any, Any]) -> str:
    if not array.size:
        return "empty"
    first = array.flat[0]
    if np.all(array == first) or np.all(array != array):
        return f"all {_number(first)}"
    if array.dtype.kind == "b":
        return f"{np.count_nonzero(array)} of {array.size} True"
    return _pattern(array) or _range(array)


def _pattern(array: np.ndarray[Any, Any]) -> str | None:
    """A few words that say what every element is, for arrays that allow it."""
    if array.ndim == 2 and array.shape[0] == array.shape[1]:
        diagonal = np.diagonal(array)
        if np.all(diagonal == diagonal[0]) and np.count_nonzero(array) == np.count_nonzero(diagonal):
            return "the identity" if diagonal[0] == 1 else f"{_number(diagonal[0])} on the diagonal, else 0"
    if array.ndim == 1 and array.dtype.kind in "iuf":
        wide = array.astype(np.float64)
        even = np.linspace(wide[0], wide[-1], array.size)
        rounding = float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0
        if np.all(np.abs(wide - even) <= 1e-6 * np.abs(wide[1] - wide[0]) + rounding * np.abs(wide).max()):
            return f"evenly from {_number(array[0])} to {_number(array[-1])}"
    return None


def _range(array: np.ndarray[Any, Any]) -> str:
    """The extremes and the mean of the finite elements, and how many are others, or zero."""
    values = np.abs(array) if array.dtype.kind == "c" else array
    finite = values[np.isfinite(values)]
    words = []
    if finite.size:
        mean = np.mean(finite, dtype=np.float64)
        what = "magnitudes " if array.dtype.kind == "c" else ""
        words.append(f"{what}{_number(finite.min())} to {_number(finite.max())}, mean {_number(mean)}")
    for name, found in (("NaN", np.isnan(values)), ("inf", values == np.inf), ("-inf", values == -np.inf)):
        if np.any(found):
            words.append(f"{np.count_nonzero(found)} {name}")
    zeros = array.size - np.count_nonzero(array)
    if 2 * zeros >= array.size:
        words.append(f"{zeros} of {array.size} zero")
    return "; ".join(words)


def _number(value: Any) -> str:
    return f"{value:.4g}" if np.asarray(value).dtype.kind in "fc" else str(value)
