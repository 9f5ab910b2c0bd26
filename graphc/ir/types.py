"""Types of values: shape, dtype and weakness, interned."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from graphc.dims import Size
from graphc.errors import IRError

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "bool": np.dtype(np.bool_),
    **{f"i{8 * n}": np.dtype(f"i{n}") for n in (1, 2, 4, 8)},
    **{f"u{8 * n}": np.dtype(f"u{n}") for n in (1, 2, 4, 8)},
    **{f"f{8 * n}": np.dtype(f"f{n}") for n in (2, 4, 8)},
    **{f"c{8 * n}": np.dtype(f"c{n}") for n in (8, 16)},
}
REAL_DTYPES: Final = tuple(name for name, dtype in DTYPES.items() if dtype.kind != "c")
"""The dtypes that can be traced."""
DTYPE_NAMES: Final[dict[np.dtype[Any], str]] = {dtype: name for name, dtype in DTYPES.items()}

_types: weakref.WeakValueDictionary[tuple[Any, ...], Any] = weakref.WeakValueDictionary()


class TensorType:
    """Shape, dtype and weakness of one array. Interned: equal types are the same object.

    A weak type is that of a Python scalar; NEP 50 decides what it does to the other operand's dtype.

    >>> TensorType((2, 3), np.dtype("f8"))
    f64[2,3]
    """

    __slots__ = ("__weakref__", "dtype", "shape", "weak")
    shape: tuple[Size, ...]
    dtype: np.dtype[Any]
    weak: bool

    def __new__(cls, shape: Sequence[Size], dtype: np.dtype[Any], weak: bool = False) -> TensorType:
        key = (tuple(shape), dtype, weak)
        found = _types.get(key)
        if found is not None:
            return found  # type: ignore[no-any-return]
        if dtype not in DTYPE_NAMES:
            raise IRError(f"no graph type for dtype {dtype!r}", expected="one of " + " ".join(DTYPES))
        self = super().__new__(cls)
        object.__setattr__(self, "shape", key[0])
        object.__setattr__(self, "dtype", DTYPES[DTYPE_NAMES[dtype]])
        object.__setattr__(self, "weak", weak)
        if any(type(d) is bool for d in key[0]):
            return self  # the verifier refuses it; kept, it would stand for the sizes 0 and 1 that it equals
        return _types.setdefault(key, self)  # type: ignore[no-any-return]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a TensorType is immutable")

    def __reduce__(self) -> tuple[object, ...]:
        return TensorType, (self.shape, self.dtype, self.weak)

    def __repr__(self) -> str:
        return f"{DTYPE_NAMES[self.dtype]}[{','.join(map(str, self.shape))}]{'~' if self.weak else ''}"

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def differentiable(self) -> bool:
        """Whether values of this type carry tangents (real and complex floats do)."""
        return self.dtype.kind in "fc"


class TupleType:
    """The type of a node with several results; `get(i)` takes one of them. Interned."""

    __slots__ = ("__weakref__", "items")
    items: tuple[TensorType, ...]

    def __new__(cls, items: Sequence[TensorType]) -> TupleType:
        key = ("tuple", *items)
        found = _types.get(key)
        if found is not None:
            return found  # type: ignore[no-any-return]
        self = super().__new__(cls)
        object.__setattr__(self, "items", tuple(items))
        return _types.setdefault(key, self)  # type: ignore[no-any-return]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a TupleType is immutable")

    def __reduce__(self) -> tuple[object, ...]:
        return TupleType, (self.items,)

    def __repr__(self) -> str:
        return f"({', '.join(map(repr, self.items))})"


Type = TensorType | TupleType
NOTHING: Final = TupleType(())
"""The type of an effect: a node without results, which is there for what it does when the graph runs."""


def static_shape(shape: Sequence[Size]) -> tuple[int, ...] | None:
    """The shape if every size in it is a plain int, else None."""
    sizes = tuple(d for d in shape if isinstance(d, int))
    return sizes if len(sizes) == len(shape) else None
