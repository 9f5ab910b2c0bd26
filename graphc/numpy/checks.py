"""Arguments that NumPy checks and a graph has little use for: dtypes, the order in memory, the device."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import REAL_PARTS, UnsupportedError
from graphc.ir import DTYPE_NAMES


def real_dtype(dtype: Any) -> np.dtype[Any]:
    """A dtype that an argument names, in the byte order of this machine; UnsupportedError if none of graphc's."""
    found: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    if found not in DTYPE_NAMES or found.kind == "c":
        raise UnsupportedError(
            f"dtype={found} cannot be traced",
            expected="bool, an integer or a real float",
            actual=str(found),
            fix=REAL_PARTS if found.kind == "c" else "use a number's dtype",
        )
    return found


def check_device(device: Any) -> None:
    """Raise ValueError unless NumPy knows the device, which means nothing here."""
    if device not in (None, "cpu"):
        raise ValueError(f'Device not understood. Only "cpu" is allowed, but received: {device}')


def memory_order(order: Any, default: str = "K", known: str = "CFAK") -> str:
    """NumPy's name of an order in memory, `default` for None; ValueError unless it is one of those known here."""
    name = default if order is None else str(order).upper()
    if name not in ("C", "F", "A", "K"):
        raise ValueError(f"order must be one of 'C', 'F', 'A', or 'K' (got {order!r})")
    if name not in known:
        raise ValueError(
            "only 'C' or 'F' order is permitted" if known == "CF" else f"order {order!r} is not permitted here"
        )
    return name


def clip_mode(mode: Any) -> str:
    """NumPy's name of what to do with a position outside: "raise", "wrap" or "clip", which have numbers too."""
    numbers: dict[Any, str] = {0: "clip", 1: "wrap", 2: "raise"}
    name = numbers.get(mode, mode) if isinstance(mode, (int, str)) else mode
    if name not in ("raise", "wrap", "clip"):
        raise ValueError(f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})")
    return str(name)


def check_cast(function: str, have: np.dtype[Any], want: np.dtype[Any], casting: Any) -> None:
    """Raise TypeError unless a cast is allowed."""
    if not np.can_cast(have, want, casting):
        raise TypeError(
            f"{function}: cannot cast array data from {have!r} to {want!r} according to the rule {casting!r}"
        )
