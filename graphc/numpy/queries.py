"""Questions about dtypes, answered from the types of traced values."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.numpy.dispatch import traceable
from graphc.tracing import SymbolicSize, Traced

__all__ = ["can_cast", "common_type", "min_scalar_type", "result_type"]


def _stand_in(value: Any) -> Any:
    """What has the same dtype to NumPy: weak values are Python numbers."""
    if isinstance(value, SymbolicSize):
        return 1
    if not isinstance(value, Traced):
        return value
    if value.type.weak:
        return {"b": True, "i": 1, "u": 1, "f": 1.0}[value.type.dtype.kind]
    return value.type.dtype


@traceable(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype that NumPy's promotion gives for arrays, dtypes and Python numbers together."""
    return np.result_type(*map(_stand_in, arrays_and_dtypes))


@traceable(np.can_cast)
def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    """Whether one dtype, or the dtype of an array, can be cast to another."""
    return np.can_cast(_stand_in(from_), to, casting)


@traceable(np.common_type)
def common_type(*arrays: Any) -> Any:
    """The float type that holds what several arrays hold."""
    return np.common_type(*(np.empty(0, a.type.dtype) if isinstance(a, Traced) else a for a in arrays))


@traceable(np.min_scalar_type)
def min_scalar_type(a: Any, /) -> Any:
    """The dtype of an array; of a number, the smallest dtype that holds it.

    A traced value has no number yet: the answer is its dtype.
    """
    return a.type.dtype if isinstance(a, Traced) else np.min_scalar_type(_stand_in(a))
