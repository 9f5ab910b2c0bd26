"""Constants: arrays inside a graph."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from graphc.errors import IRError


class Constant:
    """A read-only array inside a graph, compared by dtype, shape and bit pattern (0.0 is not -0.0).

    One that was read from a text without its content (`Constant.named`) compares like the array it stands for.
    """

    __slots__ = ("_array", "_key")
    INLINE: Final = 64  # bytes; larger arrays are named by their SHA-256

    def __init__(self, value: Any) -> None:
        array = np.array(value, order="C")
        array.flags.writeable = False
        self._array: np.ndarray[Any, Any] | None = array
        content: bytes = array.tobytes() if array.nbytes <= self.INLINE else hashlib.sha256(array.tobytes()).digest()
        self._key = (array.dtype.str, array.shape, content)

    @classmethod
    def named(cls, digest: str, shape: Sequence[int], dtype: np.dtype[Any]) -> Constant:
        """The large constant with this SHA-256, without its content: a graph with it compares but does not run."""
        self = cls.__new__(cls)
        self._array = None
        self._key = (dtype.str, tuple(shape), bytes.fromhex(digest))
        if self.inline:
            raise IRError(f"a constant of at most {cls.INLINE} bytes is written in full, not named by its SHA-256")
        return self

    @property
    def array(self) -> np.ndarray[Any, Any]:
        """The content; IRError where only its name is known."""
        if self._array is None:
            raise IRError(
                f"the content of constant sha256:{self.digest} is not here",
                fix="give it to parse: constants={digest: array}",
            )
        return self._array

    @property
    def loaded(self) -> bool:
        """Whether the content is here, and not only its name."""
        return self._array is not None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._key[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self._key[0])

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, in hexadecimal: the name of a large constant in texts."""
        return hashlib.sha256(self._key[2]).hexdigest() if self.inline else self._key[2].hex()

    @property
    def inline(self) -> bool:
        """Whether the constant is small enough for texts to show its elements."""
        return math.prod(self.shape) * self.dtype.itemsize <= self.INLINE

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> tuple[object, ...]:
        if self._array is None:
            return Constant.named, (self.digest, self.shape, self.dtype)
        return Constant, (self._array,)

    def __repr__(self) -> str:
        return f"Constant({self.array.tolist()})" if self.inline else f"Constant(sha256:{self.digest[:12]})"
