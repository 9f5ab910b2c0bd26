"""What an argument is before it is there: specs, and the types they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.errors import DTypeError, IntegerRangeError, TraceError
from graphc.ir import DTYPE_NAMES, DTYPES, REAL_DTYPES, TensorType
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
    """The type a spec stands for: a type text, a Spec, an example array, or a Python number (weak).

    Raises:
        DTypeError: it has a dtype that cannot be traced. Complex ones are refused here, whatever stands for them, so
            that no function of NumPy ever meets a complex traced value: graphs written as text may have them.
    """
    type = _any_type_of(spec)
    if type.dtype.kind == "c":
        raise DTypeError(
            f"an argument of dtype {type.dtype} cannot be traced",
            expected=_REAL,
            actual=repr(type),
            fix=_TWO_ARGUMENTS,
        )
    return type


def _any_type_of(spec: Any) -> TensorType:
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
            raise IntegerRangeError(
                f"the Python integer {spec} does not fit into int64",
                expected="-2**63 to 2**63 - 1",
                actual=str(spec),
                fix="a float, or np.uint64 of it if that holds it",
            )
        return TensorType((), dtype, weak=True)
    if on_gpu(spec):
        # such as "torch.float32", which NumPy does not know
        name = str(spec.dtype).rpartition(".")[2]
        if name in DTYPES or name in _LONG_NAMES:
            return TensorType(tuple(spec.shape), _LONG_NAMES.get(name) or DTYPES[name])
        raise DTypeError(
            f"an array of dtype {spec.dtype} cannot be traced",
            expected=_REAL,
            actual=f"{spec.dtype} of shape {tuple(spec.shape)}",
            fix="convert it to another dtype",
        )
    if is_array(spec):
        array = np.asarray(spec)
        dtype = array.dtype.newbyteorder("=")
        if dtype not in DTYPE_NAMES:
            raise DTypeError(
                f"an array of dtype {array.dtype} cannot be traced",
                expected=_REAL,
                actual=f"{array.dtype} of shape {array.shape}",
                fix="convert it with astype, or pass parts of it that are numbers",
            )
        return TensorType(array.shape, dtype)
    if isinstance(spec, (type, np.dtype)):
        raise DTypeError(
            "a dtype alone is no type of an argument: it lacks the shape",
            expected='a type such as "f64[n,3]", a Spec, an example array or a number',
            actual=repr(spec),
            fix=f'"f64[]" for a number, "f64[n]" for a vector; or graphc.Spec((3, "n"), {_written(spec)})',
        )
    raise not_an_array(spec, None, 'a type such as "f64[n,3]", a Spec, an example array or a number')


def _written(dtype: Any) -> str:
    """How a dtype is written in a program."""
    if isinstance(dtype, np.dtype):
        return f"np.{dtype.name}"
    return f"{'np.' if issubclass(dtype, np.generic) else ''}{dtype.__name__}"


_REAL: Final = f"one of {' '.join(REAL_DTYPES)}"
_TWO_ARGUMENTS: Final = "pass z.real and z.imag as two arguments: complex numbers cannot be traced yet"
_LONG_NAMES: Final = {dtype.name: dtype for dtype in DTYPES.values()}


def on_gpu(value: Any) -> bool:
    """Whether something is an array that lies on a GPU: of CuPy, PyTorch, JAX or another library."""
    if isinstance(value, (np.ndarray, np.generic)):
        return False
    kind = getattr(value, "__dlpack_device__", None)
    if kind is not None and hasattr(value, "dtype"):
        return kind()[0] in (2, 13)  # DLPack's numbers of CUDA, and of memory that it manages
    return hasattr(value, "__cuda_array_interface__")


def is_array(value: Any) -> bool:
    """Whether something is an array or a real number, by what it has."""
    if isinstance(value, (bool, int, float)):
        return True
    # NumPy's scalar types have both attributes too
    return hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, type)


def not_an_array(given: Any, name: str | None, expected: str = "an array or a number") -> TraceError:
    """The error of an argument, called `name` if that is known, that is neither an array nor stands for one."""
    kind = type(given)
    static = f"jit's static_argnames={name!r}" if name is not None and name.isidentifier() else "jit's static_argnames"
    if isinstance(given, complex):
        fix = _TWO_ARGUMENTS
    elif isinstance(given, (np.random.Generator, np.random.RandomState)):
        fix = "pass a key, which graphc.random.key(seed) makes, and draw with graphc.random's functions"
    elif isinstance(given, (str, bytes, type)) or callable(given):
        fix = f"{static}, if it decides what the function does"
    elif hasattr(kind, "__array__"):
        fix = "pass what np.asarray makes of it"
    else:
        fix = f"optree.register_pytree_node({kind.__name__}, ..., namespace='graphc'), if it holds arrays; or {static}"
    return TraceError(
        f"{f'argument {name}: ' if name is not None else ''}a {kind.__name__} is not an array",
        expected=expected,
        actual=repr(given)[:60],
        fix=fix,
    )
