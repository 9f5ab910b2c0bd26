"""Traced values: stand-ins for arrays that record what NumPy code does to them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final, NoReturn

import numpy as np

from graphc import dims
from graphc.errors import GraphcError, UnsupportedError
from graphc.ops.world import Value
from graphc.tracing.delegates import namespace
from graphc.tracing.layout import copied, placed
from graphc.tracing.places import access, locate, located, user_frame, user_locs
from graphc.tracing.rebinding import is_replaceable
from graphc.tracing.refusals import WRITABLE, describe, refuse
from graphc.tracing.sizes import wrap_size
from graphc.tracing.stack import STACK
from graphc.tracing.storage import Memory, refresh
from graphc.tracing.worlds import TracingWorld, assigned

# What a condition on a traced value may be replaced by, by the word its line begins with.
_CONDITIONS: Final = {
    "if": "np.where(condition, a, b) computes both and picks",
    "elif": "np.where(condition, a, b) computes both and picks",
    "while": "a for loop of a fixed number of steps, with np.where(condition, new, old) to keep what is done",
    "assert": "assert on shapes and dtypes here, and check values in the result",
}
# Python's functions that compare what they are given, and what does the same in a graph
_COMPARING: Final = {
    "max": "np.maximum(a, b), or np.max(x) of an array, in place of Python's max",
    "min": "np.minimum(a, b), or np.min(x) of an array, in place of Python's min",
    "sorted": "np.sort(x) in place of Python's sorted",
    "any": "np.any(x) in place of Python's any",
    "all": "np.all(x) in place of Python's all",
}
_CALLED: Final = re.compile(rf"(?<![\w.])({'|'.join(_COMPARING)})\(")


class UnsupportedAttribute(UnsupportedError, AttributeError):
    """An ndarray attribute that traced values do not have."""


class Traced(Value):
    """An array inside a trace. It takes NumPy's functions, operators, methods and indexing."""

    __slots__ = ("__weakref__", "home", "memory")
    world: TracingWorld
    memory: Memory | None  # what other values it shares elements with; None for an array of its own, in C's order
    home: TracingWorld | None  # the trace that was running when it was made
    __array_priority__ = 1000

    def __init__(self, world: TracingWorld, id: int) -> None:
        self.world = world
        self.id = id
        self.memory = None
        running = STACK.worlds
        self.home = running[-1] if running else None

    def __repr__(self) -> str:
        return f"<traced {self.type}>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        if spec:
            refuse(
                self,
                "formatting with a format spec",
                "{x} without a format, which shows the type",
                "format the result of the compiled function",
            )
        return repr(self)

    @property
    def shape(self) -> tuple[Any, ...]:
        return tuple(d if type(d) is int else wrap_size(self.world, d) for d in self.type.shape)

    @shape.setter
    def shape(self, shape: Any) -> None:
        namespace().set_shape(self, shape)

    @property
    def size(self) -> Any:
        return wrap_size(self.world, dims.product(self.type.shape))

    @property
    def itemsize(self) -> int:
        return self.type.dtype.itemsize

    @property
    def nbytes(self) -> Any:
        return self.size * self.itemsize

    @property
    def T(self) -> Any:
        return namespace().transpose(self)

    @property
    def mT(self) -> Any:
        return namespace().matrix_transpose(self)

    @property
    def real(self) -> Any:
        return self

    @property
    def imag(self) -> Any:
        return namespace().imag(self)

    @property
    def flat(self) -> Any:
        """The elements in C's order, to read, assign to and iterate over."""
        return namespace().flat(self)

    @flat.setter
    def flat(self, values: Any) -> None:
        namespace().flat(self)[...] = values

    @property
    def device(self) -> str:
        """Where NumPy's arrays are."""
        return "cpu"

    def to_device(self, device: str, /, *, stream: Any = None) -> Any:
        """The value itself: NumPy knows the device "cpu" alone."""
        if stream is not None or device != "cpu":
            raise ValueError('Only "cpu" is allowed as a device, without a stream')
        return self

    @property
    def at(self) -> Any:
        """Parts of the value that can be replaced: `x.at[index].set(values)` gives a new value."""
        return namespace().at(self)

    # NumPy's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out")
        if out is not None and method == "__call__" and is_replaceable(ufunc, out, sys._getframe(1)):
            inputs, kwargs["out"] = self._replaced(inputs, out[0])
        result = namespace().apply_ufunc(ufunc, method, inputs, kwargs)
        return result if isinstance(result, Traced) else assigned(result, sys._getframe(1))

    def _replaced(self, inputs: tuple[Any, ...], array: Any) -> tuple[tuple[Any, ...], tuple[Traced]]:
        """Operands and target of a ufunc, a plain array among them made a traced one that can be written to."""
        content = array.copy("K")
        content.flags.writeable = False  # nobody will change it
        constant = self.world.constant(content)
        new = placed(constant, "K", constant)
        return tuple(new if x is array else x for x in inputs), (new,)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if not all(issubclass(t, (Traced, np.ndarray)) for t in types):
            return NotImplemented
        return namespace().apply_function(self, function, args, kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        self._refuse_access(sys._getframe(1))
        refuse(
            self,
            "making a plain NumPy array",
            "functions that keep a traced value traced",
            "graphc.numpy.array or graphc.numpy.asarray in place of NumPy's; or np.stack, np.concatenate",
        )

    # What Python may not ask

    def __bool__(self) -> NoReturn:  # noqa: PLE0304  it only raises
        here = user_locs()
        source = here[0].source if here else ""
        word = source.partition(" ")[0]
        called = _CALLED.search(source)
        fix = "np.where(condition, a, b); &, | and ~ for `and`, `or` and `not`"
        if word in _CONDITIONS:
            fix = _CONDITIONS[word]
        elif called is not None:
            fix = f"{_COMPARING[called[1]]}; else {fix}"
        refuse(
            self,
            f"`{word}`" if word in _CONDITIONS else "a Python condition (if, while, and, or, not)",
            "a condition on Python values, shapes or dtypes",
            fix,
        )

    def _refuse_access(self, frame: FrameType) -> None:
        """Raise TraceError if a part of a plain array or list is read or written, by the value or with it."""
        kind = access(frame) if user_frame(frame) is frame else None
        if kind == "read":
            name = describe(self)
            one = name if name.isidentifier() else "index"
            refuse(
                self,
                "an index into a plain array or list",
                "an index that is known now, or an array made in the trace",
                f"np.asarray(array, like={one})[{one}]",
            )
        if kind == "write":
            refuse(
                self,
                "writing into a plain array or list",
                "an array made in the trace",
                WRITABLE,
            )

    def _number(self, *_: Any) -> NoReturn:
        self._refuse_access(sys._getframe(1))
        refuse(
            self,
            "conversion to a Python number",
            "functions that keep a traced value traced",
            "compute with the traced value itself (np.sin, not math.sin); or make the argument static",
        )

    def __index__(self) -> NoReturn:  # noqa: PLE0305  it only raises
        self._refuse_access(sys._getframe(1))
        refuse(
            self,
            "a Python count or position",
            "a number known when the function is traced, as range(n) and x[:n] take",
            "make the argument static: graphc.jit(f, static_argnames=...); or take a size of an array, as x.shape[0]",
        )

    __int__ = __float__ = __complex__ = __round__ = item = tolist = tobytes = _number

    def __len__(self) -> int:
        if not self.type.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0].__index__()  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[Any]:
        if not self.type.shape:
            raise TypeError("iteration over a 0-d array")
        return iter([self[i] for i in range(len(self))])

    def __contains__(self, item: Any) -> bool:
        return bool((self == item).any())

    def __setitem__(self, key: Any, value: Any) -> None:
        with located():
            namespace().setitem(self, key, value)

    def __getitem__(self, key: Any) -> Any:
        try:
            return namespace().getitem(self, key)
        except GraphcError as error:
            locate(error)
            raise

    def __getattr__(self, name: str) -> Any:
        if name in ("id", "world"):
            refresh(self)  # something was written to the array under another name
            return getattr(self, name)
        if name.startswith("_") or not (hasattr(np.ndarray, name) or namespace().is_method(name)):
            raise AttributeError(f"a traced value has no attribute {name!r}")
        raise UnsupportedAttribute(
            f"the array method {name} cannot be traced",
            expected="a method or function of graphc.numpy",
            actual=f"{describe(self)}.{name} of a traced {self.type!r}",
            loc=(user_locs() or (None,))[0],
            fix=namespace().method_advice(name),
        )

    def __pow__(self, other: Any) -> Any:
        return namespace().power_operator(self, other)

    def __rpow__(self, other: Any) -> Any:
        return namespace().power_operator(other, self)

    def __neg__(self) -> Any:
        return self.world.neg(self.world.python_number(self))

    def __abs__(self) -> Any:
        return self.world.abs(self.world.python_number(self))

    def __pos__(self) -> Any:
        return copied(self.world.python_number(self))

    def __invert__(self) -> Any:
        return namespace().invert(self.world.python_number(self))

    def __and__(self, other: Any) -> Any:
        return namespace().bitwise_and(self, other)

    def __rand__(self, other: Any) -> Any:
        return namespace().bitwise_and(other, self)

    def __or__(self, other: Any) -> Any:
        return namespace().bitwise_or(self, other)

    def __ror__(self, other: Any) -> Any:
        return namespace().bitwise_or(other, self)

    def __xor__(self, other: Any) -> Any:
        return namespace().bitwise_xor(self, other)

    def __rxor__(self, other: Any) -> Any:
        return namespace().bitwise_xor(other, self)

    def __matmul__(self, other: Any) -> Any:
        return namespace().matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return namespace().matmul(other, self)

    def __divmod__(self, other: Any) -> Any:
        return assigned((self // other, self % other), sys._getframe(1))

    def __rdivmod__(self, other: Any) -> Any:
        return assigned((other // self, other % self), sys._getframe(1))

    def __lshift__(self, other: Any) -> Any:
        return namespace().left_shift(self, other)

    def __rlshift__(self, other: Any) -> Any:
        return namespace().left_shift(other, self)

    def __rshift__(self, other: Any) -> Any:
        return namespace().right_shift(self, other)

    def __rrshift__(self, other: Any) -> Any:
        return namespace().right_shift(other, self)

    # In-place operators

    def __iadd__(self, other: Any) -> Any:
        return namespace().in_place(self, "+=", self + other)

    def __isub__(self, other: Any) -> Any:
        return namespace().in_place(self, "-=", self - other)

    def __imul__(self, other: Any) -> Any:
        return namespace().in_place(self, "*=", self * other)

    def __itruediv__(self, other: Any) -> Any:
        return namespace().in_place(self, "/=", self / other)

    def __ifloordiv__(self, other: Any) -> Any:
        return namespace().in_place(self, "//=", self // other)

    def __imod__(self, other: Any) -> Any:
        return namespace().in_place(self, "%=", self % other)

    def __ipow__(self, other: Any) -> Any:
        return namespace().in_place(self, "**=", self**other)

    def __imatmul__(self, other: Any) -> Any:
        return namespace().in_place(self, "@=", self @ other)

    def __iand__(self, other: Any) -> Any:
        return namespace().in_place(self, "&=", self & other)

    def __ior__(self, other: Any) -> Any:
        return namespace().in_place(self, "|=", self | other)

    def __ixor__(self, other: Any) -> Any:
        return namespace().in_place(self, "^=", self ^ other)

    def __ilshift__(self, other: Any) -> Any:
        return namespace().in_place(self, "<<=", self << other)

    def __irshift__(self, other: Any) -> Any:
        return namespace().in_place(self, ">>=", self >> other)

    # Methods that write into the array

    def fill(self, value: Any) -> None:
        """As `numpy.ndarray.fill`."""
        namespace().fill(self, value)

    def sort(self, axis: int = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> None:
        """As `numpy.ndarray.sort`."""
        namespace().sort_in_place(self, axis, kind, order, stable=stable)

    def partition(self, kth: Any, axis: int = -1, kind: str = "introselect", order: Any = None) -> None:
        """As `numpy.ndarray.partition`."""
        namespace().partition_in_place(self, kth, axis, kind, order)

    def put(self, indices: Any, values: Any, mode: str = "raise") -> None:
        """As `numpy.ndarray.put`."""
        namespace().put(self, indices, values, mode)

    def __copy__(self) -> Traced:
        return copied(self)

    def __deepcopy__(self, memo: Any) -> Traced:
        return copied(self)

    def __reduce__(self) -> NoReturn:
        refuse(self, "pickling", "values outside a trace", "pickle the compiled function or the graph instead")


TracingWorld.value_class = Traced


def _method(name: str, function: str | None = None) -> Callable[..., Any]:
    def method(self: Traced, *args: Any, **kwargs: Any) -> Any:
        return getattr(namespace(), function or name)(self, *args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"As `numpy.ndarray.{name}`."
    return method


for _name in [
    "sum",
    "prod",
    "mean",
    "var",
    "std",
    "max",
    "min",
    "any",
    "all",
    "cumsum",
    "cumprod",
    "argmax",
    "argmin",
    "argsort",
    "searchsorted",
    "round",
    "dot",
    "ravel",
    "squeeze",
    "swapaxes",
    "take",
]:
    setattr(Traced, _name, _method(_name))


def _astype(
    self: Traced, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
) -> Any:
    """As `numpy.ndarray.astype`."""
    return namespace().cast(self, dtype, order, casting, subok, copy)


def _clip(self: Traced, min: Any = None, max: Any = None, out: Any = None, **kwargs: Any) -> Any:
    """As `numpy.ndarray.clip`."""
    return namespace().clip(self, min, max, out, **kwargs)


def _copy(self: Traced, order: str = "C") -> Traced:
    """As `numpy.ndarray.copy`."""
    return copied(self, order)


def _flatten(self: Traced, order: str = "C") -> Traced:
    """As `numpy.ndarray.flatten`."""
    return copied(namespace().ravel(self, order=order), "C")


Traced.astype = _astype  # type: ignore[attr-defined]
Traced.clip = _clip  # type: ignore[attr-defined]
Traced.copy = _copy  # type: ignore[attr-defined]
Traced.flatten = _flatten  # type: ignore[attr-defined]


for _name in ["argpartition", "choose", "diagonal", "repeat", "trace"]:
    setattr(Traced, _name, _method(_name))


def _itself(self: Traced) -> Traced:
    """As `numpy.ndarray.conj`: the value itself, for it is real."""
    return self


Traced.conj = Traced.conjugate = _itself  # type: ignore[attr-defined]


def _compress(self: Traced, condition: Any, axis: int | None = None, out: Any = None) -> Any:
    """As `numpy.ndarray.compress`."""
    return namespace().compress(condition, self, axis, out)


Traced.compress = _compress  # type: ignore[attr-defined]


def _reshape(self: Traced, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
    """As `numpy.ndarray.reshape`."""
    return namespace().reshape(self, shape[0] if len(shape) == 1 else shape, order=order, copy=copy)


def _transpose(self: Traced, *axes: Any) -> Any:
    """As `numpy.ndarray.transpose`."""
    return namespace().transpose(self, (axes[0] if len(axes) == 1 else axes) if axes else None)


Traced.reshape = _reshape  # type: ignore[attr-defined]
Traced.transpose = _transpose  # type: ignore[attr-defined]


def is_traced(value: Any) -> bool:
    """Whether a value stands for an array inside a trace.

    >>> is_traced(1.0)
    False
    """
    return isinstance(value, Traced)
