"""What an argument is before it is there: specs, and the types they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.errors import TraceError
from graphc.ir import TensorType
from graphc.text import parse_type
from graphc.tracing import SymbolicSize, Traced, as_size


@dataclass(frozen=True, slots=True)
class Spec:
    """Shape and dtype of an argument that is not there yet.

    >>> Spec((2, "n"), "float32").type
    f32[2,n]
    """

    shape: tuple[int | str | Dim | SymbolicSize, ...]
    dtype: Any = np.float64

    @property
    def type(self) -> TensorType:
        sizes = tuple(dims.parse(d) if isinstance(d, str) else as_size(d) for d in self.shape)
        return TensorType(sizes, np.dtype(self.dtype))


def type_of(spec: Any) -> TensorType:
    """The type a spec stands for: a type text, a Spec, an example array, or a Python number (weak)."""
    if isinstance(spec, TensorType):
        return spec
    if isinstance(spec, Spec):
        return spec.type
    if isinstance(spec, str):
        return parse_type(spec)
    if isinstance(spec, Traced):
        return spec.type
    if isinstance(spec, (bool, int, float)) and not isinstance(spec, np.generic):
        dtype = np.asarray(spec).dtype
        if isinstance(spec, int) and dtype not in (np.int64, np.bool_):
            raise OverflowError(f"the Python integer {spec} does not fit into int64")
        return TensorType((), dtype, weak=True)
    if hasattr(spec, "shape") and hasattr(spec, "dtype"):
        array = np.asarray(spec)
        return TensorType(array.shape, array.dtype.newbyteorder("="))
    raise not_an_array(spec, 'a type such as "f64[n,3]", a Spec, an example array or a number')


def not_an_array(given: Any, expected: str = "an array or a number") -> TraceError:
    return TraceError(
        f"a {type(given).__name__} is not an array",
        expected=expected,
        actual=repr(given)[:60],
        fix="name arguments that are not arrays in static_argnums or static_argnames",
    )
