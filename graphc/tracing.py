"""Traced values: stand-ins for arrays that record what NumPy code does to them."""

from __future__ import annotations

import inspect
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from types import FrameType
from typing import Any, Final, NoReturn

import numpy as np

from graphc import dims
from graphc.dims import Dim, Size
from graphc.errors import (
    DTypeError,
    GraphcError,
    GuardError,
    LeakedTracerError,
    Loc,
    ShapeError,
    TraceError,
    UnsupportedError,
)
from graphc.ir import Builder, Graph, Guard, Locs, TensorType, copy_into
from graphc.ops import lookup
from graphc.ops.record import Op
from graphc.ops.world import GraphWorld, Operand, Value, size_value

STALE_BYTES: Final = 1 << 16  # a writable closed-over array of this size is likely a weight that will change

# Code objects compare equal across files, so the file's name is the key.
_locs: dict[tuple[str, int, str], Locs] = {}
_is_user: dict[tuple[str, str], bool] = {}

_LIBRARIES: Final = frozenset({"graphc", "numpy", "scipy", "optree", "typer", "click"})
_STDLIB: Final = os.path.dirname(os.__file__)


def _users(module: str, file: str) -> bool:
    """Whether a module is the user's: neither one of ours or NumPy's, nor the standard library, nor generated."""
    root = module.partition(".")[0]
    standard = root in sys.stdlib_module_names and file.startswith((_STDLIB, "<frozen "))
    return root not in _LIBRARIES and not standard and not file.startswith("<graphc ")


def user_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of the user's code, told by its module; None above the command line."""
    while frame is not None:
        module: str = frame.f_globals.get("__name__") or ""
        key = (module, frame.f_code.co_filename)
        users = _is_user.get(key)
        if users is None:
            users = _is_user[key] = _users(*key)
        if users:
            return frame
        if module.startswith("graphc.cli"):
            return None
        frame = frame.f_back
    return None


def user_locs() -> Locs:
    """The user's line that is running, as node locations."""
    frame = user_frame(sys._getframe(1))
    if frame is None:
        return ()
    code = frame.f_code
    key = (code.co_filename, frame.f_lineno, code.co_name)
    found = _locs.get(key)
    if found is None:
        if len(_locs) > 10_000:
            _locs.clear()
        found = _locs[key] = (Loc(*key),)
    return found


def locate(error: GraphcError) -> None:
    """Give an error that has no place the user's innermost line on its way; without one, the line that called us."""
    if error.loc is not None:
        return
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if user_frame(frame) is frame:
            error.loc = Loc(frame.f_code.co_filename, trace.tb_lineno, frame.f_code.co_name)
        trace = trace.tb_next
    if error.loc is None:
        error.loc = (user_locs() or (None,))[0]


class located:
    """Context in which every error of graphc gets a place, see `locate`."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, GraphcError):
            locate(error)


def definition(f: Any) -> Loc | None:
    """Where a function is defined, if it is one of Python's."""
    code = getattr(inspect.unwrap(f), "__code__", None)
    return Loc(code.co_filename, code.co_firstlineno, code.co_name) if code is not None else None


class _Stack(threading.local):
    """The traces that are running in this thread, outermost first."""

    def __init__(self) -> None:
        self.worlds: list[TracingWorld] = []


STACK: Final = _Stack()


# Python's own types that no operator takes beside a traced value, and what to write instead.
_NO_OPERANDS: Final[dict[type, str]] = {
    list: "np.array([...]) of numbers; graphc.numpy.array([...]) where it holds traced values",
    tuple: "np.array([...]) of numbers; graphc.numpy.array([...]) where it holds traced values",
    complex: "compute with real and imaginary parts: complex values cannot be traced yet",
    str: "numbers, not text",
    bytes: "numbers, not text",
    dict: "take a value out of the dict",
    set: "np.array(sorted(...))",
    type(None): "check for None before: `if x is None` works in a trace",
}


class TracingWorld(GraphWorld):
    """A graph being traced. Values of enclosing traces become extra inputs (captures)."""

    def __init__(self, builder: Builder, hints: Mapping[str, int] | None = None, depth: int = 0) -> None:
        super().__init__(builder)
        self.facts.hints = hints
        self.depth = depth
        self.active = True
        self.captured: dict[tuple[int, int], int] = {}
        self.captures: list[Traced] = []
        self._constants: dict[int, tuple[Any, Any]] = {}

    def locate(self) -> Locs:
        return user_locs()

    def emit(self, op: Op, operands: Sequence[Any], attrs: Any) -> Any:
        for operand in operands:
            if operand.world is not self:
                world = deepest(operands)
                result = GraphWorld.emit(world, op, [world.adopt(o) for o in operands], attrs)
                break
        else:
            if not self.active:
                deepest(operands)
            result = GraphWorld.emit(self, op, operands, attrs)
        if op.view and operands:
            _share(operands[0], result)
        return result

    def binary(self, name: str, a: Any, b: Any) -> Any:
        for other in (a, b):
            # a comparison for equality with something else is false, as everywhere in Python
            if type(other) in _NO_OPERANDS and name not in ("eq", "ne"):
                raise UnsupportedError(
                    f"a {type(other).__name__} cannot be an operand of traced arithmetic",
                    expected="a traced value, a NumPy array, or a bool, int or float",
                    actual=repr(other)[:60],
                    loc=(user_locs() or (None,))[0],
                    fix=_NO_OPERANDS[type(other)],
                )
        return super().binary(name, a, b)

    def promote(self, operands: Sequence[Any], to_float: bool = False) -> list[Any]:
        if not self.active:
            deepest([operand for operand in operands if isinstance(operand, Operand)])
        return super().promote(operands, to_float)

    def adopt(self, operand: Any) -> Any:
        """The operand as a value of this trace: captured if it belongs to an enclosing one."""
        if operand.world is self:
            return operand
        key = (id(operand.world), operand.id)
        node = self.captured.get(key)
        if node is None:
            node = self.builder.input(
                f"captured_{len(self.captures)}", operand.type, operand.world.builder.nodes[operand.id]["loc"]
            )
            self.captured[key] = node
            self.captures.append(fresh(operand))
        return Traced(self, node)

    def constant(self, value: Any, dtype: np.dtype[Any] | None = None, weak: bool = False) -> Any:
        if not isinstance(value, np.ndarray) or value.ndim == 0:
            return super().constant(value, dtype, weak)
        # a writable array may have changed since it was last used
        known = None if value.flags.writeable else self._constants.get(id(value))
        if known is not None and (dtype is None or known[1].type.dtype == dtype):
            return known[1]
        if value.flags.writeable and value.nbytes >= STALE_BYTES:
            warnings.warn(
                f"a writable array of shape {value.shape} is copied into the graph as a constant: later changes to it "
                "are not seen. Pass it as an argument, or make it read-only to silence this.",
                stacklevel=_stacklevel(),
            )
        result = super().constant(value, dtype, weak)
        self._constants[id(value)] = (value, result)
        return result


def _stacklevel() -> int:
    """How far above the caller the user's frame lies, for warnings."""
    frame: FrameType | None = sys._getframe(1)
    user, level = user_frame(frame), 1
    while frame is not None and frame is not user:
        level, frame = level + 1, frame.f_back
    return level


def deepest(operands: Sequence[Any]) -> TracingWorld:
    """The innermost of the operands' traces; raises if one of them has ended."""
    found: TracingWorld | None = None
    for operand in operands:
        world = operand.world
        if not world.active:
            raise_leaked(operand)
        if found is None or world.depth > found.depth:
            found = world
    assert found is not None
    return found


def raise_leaked(operand: Traced) -> NoReturn:
    name = variable_name(operand)
    made = operand.world.builder.nodes[operand.id]["loc"]
    raise LeakedTracerError(
        f"{name or 'a traced value'} is used after its trace has ended",
        expected="values of a trace to stay inside the traced function",
        actual=f"{operand.type!r}, made at {made[0].described}" if made else repr(operand.type),
        loc=(user_locs() or (None,))[0],
        fix="return it from the traced function instead of storing it outside",
    )


def variable_name(value: Any) -> str | None:
    """What the user's code calls this value, if a local or global variable holds it."""
    frame = user_frame(sys._getframe(1))
    while frame is not None:
        for scope in (frame.f_locals, frame.f_globals):
            for name, held in list(scope.items()):
                if (
                    isinstance(held, Traced)
                    and held.id == value.id
                    and held.world is value.world
                    and not name.startswith("_")
                ):
                    return str(name)
        frame = user_frame(frame.f_back)
    return None


def describe(value: Traced) -> str:
    """The user's name of a value; failing that, its name in the graph."""
    data = value.world.builder.nodes[value.id]
    own = dict(data["attrs"])["name"] if data["op"] == "input" else f"%{value.id}"
    return variable_name(value) or str(own)


def _refuse(value: Traced, what: str, expected: str, fix: str) -> NoReturn:
    if not value.world.active:
        raise_leaked(value)
    data = value.world.builder.nodes[value.id]
    made = value.world._line(data["op"], data["args"], data["attrs"], value.id) if data["args"] else None
    raise TraceError(
        f"{what} needs the value of {describe(value)}, which is known only when the graph runs",
        expected=expected,
        actual=f"a traced {value.type!r}",
        loc=(user_locs() or (None,))[0],
        graph_line=made,
        fix=fix,
    )


# What a condition on a traced value may be replaced by, by the word its line begins with.
_CONDITIONS: Final = {
    "if": "np.where(condition, a, b) computes both and picks",
    "elif": "np.where(condition, a, b) computes both and picks",
    "while": "a for loop of a fixed number of steps, with np.where(condition, new, old) to keep what is done",
    "assert": "assert on shapes and dtypes here, and check values in the result",
}


class SymbolicSize:
    """A size that is known only when the graph runs, as `x.shape` shows it inside a trace.

    Arithmetic gives sizes; a comparison is proved, or decided by the running call's size and guarded, or refused.
    """

    __slots__ = ("dim", "world")

    def __init__(self, world: TracingWorld, dim: Dim) -> None:
        self.world = world
        self.dim = dim

    def __repr__(self) -> str:
        # text that a program makes of a size has to be right for every call: in jit the size is pinned by a guard
        hints = self.world.facts.hints
        return str(self.dim if hints is None or not self.world.active else self.__index__())

    def __hash__(self) -> int:
        # a dict or set looks for the number, so it has to be known
        return hash(self.__index__())

    def __format__(self, spec: str) -> str:
        return format(self.__index__(), spec) if spec else repr(self)

    def value(self) -> Any:
        """The size as a traced int64."""
        return size_value(self.world, self.dim)

    def _arithmetic(self, other: Any, size_op: Callable[[Size, Size], Size], name: str, swapped: bool) -> Any:
        if isinstance(other, (SymbolicSize, int)) and not isinstance(other, bool):
            pair = (self.dim, as_size(other))
            return wrap_size(self.world, size_op(*(pair[::-1] if swapped else pair)))
        other_value = other.value() if isinstance(other, SymbolicSize) else other
        pair_values = (other_value, self.value()) if swapped else (self.value(), other_value)
        return self.world.binary(name, *pair_values)

    def __add__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a + b, "add", False)

    def __radd__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a + b, "add", True)

    def __sub__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a - b, "sub", False)

    def __rsub__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a - b, "sub", True)

    def __mul__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a * b, "mul", False)

    def __rmul__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a * b, "mul", True)

    def __floordiv__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a // b, "floor_divide", False)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a // b, "floor_divide", True)

    def __mod__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a % b, "remainder", False)

    def __rmod__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a % b, "remainder", True)

    def __truediv__(self, other: Any) -> Any:
        return self.world.binary("div", self.value(), other.value() if isinstance(other, SymbolicSize) else other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.world.binary("div", other, self.value())

    def __pow__(self, other: Any) -> Any:
        return (
            wrap_size(self.world, self.dim**other) if isinstance(other, int) and other >= 0 else self.value() ** other
        )

    def __rpow__(self, other: Any) -> Any:
        return other ** self.__index__()

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return wrap_size(self.world, dims.maximum(self.dim, -self.dim))

    def __neg__(self) -> Any:
        return wrap_size(self.world, -self.dim)

    def __eq__(self, other: Any) -> Any:
        return decide(self.world, "==", self.dim, as_size(other)) if _is_size(other) else NotImplemented

    def __ne__(self, other: Any) -> Any:
        return not decide(self.world, "==", self.dim, as_size(other)) if _is_size(other) else NotImplemented

    def __lt__(self, other: Any) -> Any:
        return decide(self.world, "<", self.dim, as_size(other)) if _is_size(other) else NotImplemented

    def __le__(self, other: Any) -> Any:
        return decide(self.world, "<=", self.dim, as_size(other)) if _is_size(other) else NotImplemented

    def __gt__(self, other: Any) -> Any:
        return decide(self.world, "<", as_size(other), self.dim) if _is_size(other) else NotImplemented

    def __ge__(self, other: Any) -> Any:
        return decide(self.world, "<=", as_size(other), self.dim) if _is_size(other) else NotImplemented

    def __bool__(self) -> bool:
        return bool(not decide(self.world, "==", self.dim, 0))

    def __index__(self) -> int:
        hints = self.world.facts.hints
        if hints is not None and dims.symbols(self.dim) <= hints.keys():
            value = dims.evaluate(self.dim, hints)
            self.world.builder.guards.setdefault(Guard("==", self.dim, value))
            return value
        raise TraceError(
            f"Python needs the number behind the size {self.dim}, which is known only when the graph runs",
            expected="a fixed size, for instance in range(n) or as an index",
            actual=f"the size {self.dim}",
            loc=(user_locs() or (None,))[0],
            fix=f"write a number for {self.dim} in the spec, or use jit, which compiles again for a new size",
        )

    __int__ = __index__

    def __float__(self) -> float:
        return float(self.__index__())

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        values = [x.value() if isinstance(x, SymbolicSize) else x for x in inputs]
        return getattr(ufunc, method)(*values, **kwargs)


def _is_size(other: Any) -> bool:
    return isinstance(other, (int, np.integer, SymbolicSize, Dim))


def as_size(size: Any) -> Size:
    """A size the user wrote, as the IR's own."""
    if isinstance(size, SymbolicSize):
        return size.dim
    return size if isinstance(size, Dim) else int(size)


def wrap_size(world: TracingWorld, size: Size) -> int | SymbolicSize:
    """A size of the IR, as the user sees it."""
    return SymbolicSize(world, size) if isinstance(size, Dim) else size


def decide(world: TracingWorld, relation: Any, a: Size, b: Size) -> bool:
    """Whether `a relation b`: by proof, by a guard already there, or by the running call's sizes and a new guard."""
    facts = world.facts
    known = facts.known(relation, a, b)
    if known is not None:
        return known
    if facts.hints is None or not (dims.symbols(a) | dims.symbols(b)) <= facts.hints.keys():
        raise TraceError(
            f"whether {a} {relation} {b} is known only when the graph runs",
            expected="a comparison of sizes that holds, or fails, for every size",
            actual=f"{a} {relation} {b}",
            loc=(user_locs() or (None,))[0],
            fix="write numbers for these sizes in the spec, or use jit, which guards the answer and compiles again",
        )
    return facts.record(relation, a, b)


class UnsupportedAttribute(UnsupportedError, AttributeError):
    """An ndarray attribute that traced values do not have."""


def _namespace() -> Any:
    return import_module("graphc.numpy")


def _key_text(key: Any) -> str:
    """An index as it is written; arrays as `index`."""
    if isinstance(key, tuple):
        return ", ".join(map(_key_text, key)) or "()"
    if isinstance(key, slice):
        ends = ":".join("" if v is None else str(v) for v in (key.start, key.stop))
        return ends if key.step is None else f"{ends}:{key.step}"
    if key is Ellipsis:
        return "..."
    return str(key) if key is None or isinstance(key, (int, list, SymbolicSize)) else "index"


class Traced(Value):
    """An array inside a trace. It takes NumPy's functions, operators, methods and indexing."""

    __slots__ = ("__weakref__", "sharing")
    world: TracingWorld
    sharing: list[weakref.ref[Traced]]  # the values that show the same storage; unset while there is only this one
    __array_priority__ = 1000

    def __repr__(self) -> str:
        return f"<traced {self.type}>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        if spec:
            _refuse(
                self,
                "formatting with a format spec",
                "{x} without a format, which shows the type",
                "format the result of the compiled function",
            )
        return repr(self)

    @property
    def shape(self) -> tuple[Any, ...]:
        return tuple(d if type(d) is int else wrap_size(self.world, d) for d in self.type.shape)

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
        return _namespace().transpose(self)

    @property
    def mT(self) -> Any:
        return _namespace().matrix_transpose(self)

    @property
    def real(self) -> Any:
        return self

    @property
    def imag(self) -> Any:
        return _namespace().imag(self)

    @property
    def at(self) -> Any:
        """Parts of the value that can be replaced: `x.at[index].set(values)` gives a new value."""
        return _namespace().at(self)

    # NumPy's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return _namespace().apply_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return _namespace().apply_function(function, args, kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        _refuse(
            self,
            "making a plain NumPy array",
            "functions that keep a traced value traced",
            "graphc.numpy.array or graphc.numpy.asarray in place of NumPy's; or np.stack, np.concatenate",
        )

    # What Python may not ask

    def __bool__(self) -> NoReturn:  # noqa: PLE0304  it only raises
        here = user_locs()
        word = here[0].source.partition(" ")[0] if here else ""
        _refuse(
            self,
            f"`{word}`" if word in _CONDITIONS else "a Python condition (if, while, and, or, not)",
            "a condition on Python values, shapes or dtypes",
            _CONDITIONS.get(word, "np.where(condition, a, b); &, | and ~ for `and`, `or` and `not`"),
        )

    def _number(self, *_: Any) -> NoReturn:
        _refuse(
            self,
            "conversion to a Python number",
            "functions that keep a traced value traced",
            "compute with the traced value itself (np.sin, not math.sin); or make the argument static",
        )

    __int__ = __float__ = __complex__ = __index__ = __round__ = item = tolist = tobytes = _number

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

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        name = describe(self)
        raise UnsupportedError(
            f"{name}[...] = ... would change a traced value in place",
            expected="an expression that gives a new array",
            actual=f"an assignment into a traced {self.type!r}",
            loc=(user_locs() or (None,))[0],
            fix=f"{name} = {name}.at[{_key_text(key)}].set(value); .add, .multiply, .min and .max update likewise",
        )

    def __getitem__(self, key: Any) -> Any:
        try:
            return _namespace().getitem(self, key)
        except GraphcError as error:
            locate(error)
            raise

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"a traced value has no attribute {name!r}")
        raise UnsupportedAttribute(
            f"the array method {name} cannot be traced",
            expected="a method or function of graphc.numpy",
            actual=f"{describe(self)}.{name} of a traced {self.type!r}",
            loc=(user_locs() or (None,))[0],
            fix=_namespace().unsupported(name).fix,
        )

    def __pow__(self, other: Any) -> Any:
        return _namespace().power_operator(self, other)

    def __rpow__(self, other: Any) -> Any:
        return _namespace().power_operator(other, self)

    def __abs__(self) -> Any:
        return self.world.abs(self)

    def __pos__(self) -> Any:
        return fresh(self)

    def __invert__(self) -> Any:
        return _namespace().invert(self)

    def __and__(self, other: Any) -> Any:
        return _namespace().bitwise_and(self, other)

    def __rand__(self, other: Any) -> Any:
        return _namespace().bitwise_and(other, self)

    def __or__(self, other: Any) -> Any:
        return _namespace().bitwise_or(self, other)

    def __ror__(self, other: Any) -> Any:
        return _namespace().bitwise_or(other, self)

    def __xor__(self, other: Any) -> Any:
        return _namespace().bitwise_xor(self, other)

    def __rxor__(self, other: Any) -> Any:
        return _namespace().bitwise_xor(other, self)

    def __matmul__(self, other: Any) -> Any:
        return _namespace().matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _namespace().matmul(other, self)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __lshift__(self, other: Any) -> Any:
        return _namespace().left_shift(self, other)

    def __rlshift__(self, other: Any) -> Any:
        return _namespace().left_shift(other, self)

    def __rshift__(self, other: Any) -> Any:
        return _namespace().right_shift(self, other)

    def __rrshift__(self, other: Any) -> Any:
        return _namespace().right_shift(other, self)

    # In-place operators: one value object is one array, so every name of it sees the change

    def __iadd__(self, other: Any) -> Any:
        return _update(self, "+=", self + other)

    def __isub__(self, other: Any) -> Any:
        return _update(self, "-=", self - other)

    def __imul__(self, other: Any) -> Any:
        return _update(self, "*=", self * other)

    def __itruediv__(self, other: Any) -> Any:
        return _update(self, "/=", self / other)

    def __ifloordiv__(self, other: Any) -> Any:
        return _update(self, "//=", self // other)

    def __imod__(self, other: Any) -> Any:
        return _update(self, "%=", self % other)

    def __ipow__(self, other: Any) -> Any:
        return _update(self, "**=", self**other)

    def __imatmul__(self, other: Any) -> Any:
        return _update(self, "@=", self @ other)

    def __iand__(self, other: Any) -> Any:
        return _update(self, "&=", self & other)

    def __ior__(self, other: Any) -> Any:
        return _update(self, "|=", self | other)

    def __ixor__(self, other: Any) -> Any:
        return _update(self, "^=", self ^ other)

    def __ilshift__(self, other: Any) -> Any:
        return _update(self, "<<=", self << other)

    def __irshift__(self, other: Any) -> Any:
        return _update(self, ">>=", self >> other)

    def __copy__(self) -> Traced:
        return fresh(self)

    def __deepcopy__(self, memo: Any) -> Traced:
        return fresh(self)

    def __reduce__(self) -> NoReturn:
        _refuse(self, "pickling", "values outside a trace", "pickle the compiled function or the graph instead")


TracingWorld.value_class = Traced


def fresh(value: Traced) -> Traced:
    """A copy in NumPy's sense: the same content, with a life of its own under in-place operators."""
    return Traced(value.world, value.id)


def _share(base: Traced, view: Traced) -> None:
    """Note that two values show the same storage."""
    group: list[weakref.ref[Traced]] = getattr(base, "sharing", None) or [weakref.ref(base)]
    group.append(weakref.ref(view))
    base.sharing = view.sharing = group


def _update(old: Traced, operator: str, new: Any) -> Any:
    """Carry out `old operator other` as NumPy does: the old shape and dtype, seen under every name of the value.

    Refused where a view that is still alive would have to change too.
    """
    if old.type.weak or not old.type.shape or not isinstance(new, Traced):
        return new  # Python numbers and NumPy scalars are immutable: the name is bound anew
    name = variable_name(old) or "x"
    shown = [v for ref in getattr(old, "sharing", None) or () if (v := ref()) is not None and v is not old]
    if shown or new.world is not old.world:
        other = (variable_name(shown[0]) or "another value") if shown else "the surrounding trace"
        raise UnsupportedError(
            f"{name} {operator} ... would change a traced value in place that {other} shows too",
            expected="a value that no view shares, of this trace",
            actual=f"a traced {old.type!r}",
            loc=(user_locs() or (None,))[0],
            fix=f"{name} = {name} {operator[:-1]} ...",
        )
    if new.type.shape != old.type.shape:
        raise ShapeError(
            f"{name} {operator} ...: the result does not fit the array it replaces",
            expected=repr(old.type),
            actual=repr(new.type),
            loc=(user_locs() or (None,))[0],
        )
    if not np.can_cast(new.type.dtype, old.type.dtype, "same_kind"):
        raise DTypeError(
            f"{name} {operator} ...: the result cannot be stored in the array it replaces",
            expected=repr(old.type),
            actual=repr(new.type),
            loc=(user_locs() or (None,))[0],
            fix=f"{name} = {name} {operator[:-1]} ...",
        )
    old.id = new.world.convert(new, old.type.dtype).id
    return old


def _method(name: str, function: str | None = None) -> Callable[..., Any]:
    def method(self: Traced, *args: Any, **kwargs: Any) -> Any:
        return getattr(_namespace(), function or name)(self, *args, **kwargs)

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
    "conj",
    "conjugate",
    "clip",
    "dot",
    "ravel",
    "squeeze",
    "swapaxes",
    "take",
    "astype",
]:
    setattr(Traced, _name, _method(_name))
Traced.copy = _method("copy", "copy")  # type: ignore[attr-defined]


def _flatten(self: Traced, order: str = "C") -> Any:
    """As `numpy.ndarray.flatten`."""
    return fresh(_namespace().ravel(self, order=order))


Traced.flatten = _flatten  # type: ignore[attr-defined]


for _name in ["choose", "diagonal", "repeat", "trace"]:
    setattr(Traced, _name, _method(_name))


def _itself(self: Traced) -> Traced:
    """As `numpy.ndarray.conj`: the value itself, for it is real."""
    return self


Traced.conj = Traced.conjugate = _itself  # type: ignore[attr-defined]


def _compress(self: Traced, condition: Any, axis: int | None = None, out: Any = None) -> Any:
    """As `numpy.ndarray.compress`."""
    return _namespace().compress(condition, self, axis, out)


Traced.compress = _compress  # type: ignore[attr-defined]


def _reshape(self: Traced, *shape: Any, order: str = "C") -> Any:
    """As `numpy.ndarray.reshape`."""
    return _namespace().reshape(self, shape[0] if len(shape) == 1 else shape, order=order)


def _transpose(self: Traced, *axes: Any) -> Any:
    """As `numpy.ndarray.transpose`."""
    return _namespace().transpose(self, (axes[0] if len(axes) == 1 else axes) if axes else None)


Traced.reshape = _reshape  # type: ignore[attr-defined]
Traced.transpose = _transpose  # type: ignore[attr-defined]


def is_traced(value: Any) -> bool:
    """Whether a value stands for an array inside a trace.

    >>> is_traced(1.0)
    False
    """
    return isinstance(value, Traced)


class tracing:
    """Context of one trace: a fresh graph, on top of the traces already running in this thread."""

    def __init__(self, name: str, hints: Mapping[str, int] | None = None) -> None:
        self.world = TracingWorld(Builder(name), hints, depth=len(STACK.worlds) + 1)

    def __enter__(self) -> TracingWorld:
        STACK.worlds.append(self.world)
        return self.world

    def __exit__(self, *_: object) -> None:
        STACK.worlds.remove(self.world)
        self.world.active = False


def inline(
    world: TracingWorld, graph: Graph, arguments: Sequence[Any], sizes: Mapping[str, Size] | None = None
) -> list[Traced]:
    """Append a graph to a running trace, its inputs bound to values; the values of its outputs.

    `sizes` says what the graph's named sizes stand for in this trace, where they are not the trace's own.
    """
    bound = [world.adopt(a) for a in arguments]
    own = {s: dims.symbol(s) for t in graph.input_types for d in t.shape for s in dims.symbols(d)}
    if sizes is None or sizes == own:
        ids = copy_into(world.builder, graph, [a.id for a in bound])
        return [Traced(world, ids[o]) for o in graph.outputs]
    return _instantiate(world, graph, bound, sizes)


def _instantiate(
    world: TracingWorld, graph: Graph, arguments: Sequence[Traced], sizes: Mapping[str, Size]
) -> list[Traced]:
    """Build a graph's ops anew with other sizes: their types follow by the ops' own rules."""
    for guard in graph.guards:
        left, right = dims.substitute(guard.left, sizes), dims.substitute(guard.right, sizes)
        relation = "==" if guard.relation == "!=" else guard.relation
        if world.facts.settle(relation, left, right) == (guard.relation == "!="):
            raise GuardError(f"{graph.name} was traced under the assumption {guard}", actual=f"{left} and {right}")
    values = dict(zip(graph.inputs, arguments, strict=True))
    for i, data in graph._node.items():
        if i not in values:
            attrs = tuple((name, _resize(value, sizes)) for name, value in data["attrs"])
            values[i] = world.emit(lookup(data["op"]), [values[a] for a in data["args"]], attrs)
    return [values[o] for o in graph.outputs]


def _resize(value: Any, sizes: Mapping[str, Size]) -> Any:
    """An attribute with its named sizes replaced."""
    if isinstance(value, tuple):
        return tuple(_resize(v, sizes) for v in value)
    return dims.substitute(value, sizes) if isinstance(value, Dim) else value


# The world of free symbols lives as long as any value in it.
_symbols: list[weakref.ref[TracingWorld]] = []
_symbols_lock: Final = threading.Lock()


def free_symbol(name: str, type: TensorType) -> Traced:
    """A free variable, for building expressions without a function."""
    with _symbols_lock:
        world = _symbols[0]() if _symbols else None
        if world is None:
            world = TracingWorld(Builder("expression"))
            _symbols[:] = [weakref.ref(world)]
        return Traced(world, world.builder.input(name, type, user_locs()))


def lift(value: Any, world: TracingWorld) -> Any:
    """A Python number, array or size as a value of a trace; traced values pass."""
    if isinstance(value, Operand):
        return value
    if isinstance(value, SymbolicSize):
        return value.value()
    if isinstance(value, Dim):
        return size_value(world, value)
    if isinstance(value, (bool, int, float)) and not isinstance(value, np.generic):
        return world.constant(value, np.asarray(value).dtype, weak=True)
    if isinstance(value, (list, tuple)) and any(map(_holds_traced, value)):
        return _namespace().stack([lift(v, world) for v in value])
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise UnsupportedError(
            f"a {type(value).__name__} of dtype {array.dtype} cannot be traced",
            expected="a bool, integer or real float array",
            actual=repr(value)[:60],
            loc=(user_locs() or (None,))[0],
        )
    return world.constant(array)


def _holds_traced(value: Any) -> bool:
    return isinstance(value, (Operand, SymbolicSize)) or (
        isinstance(value, (list, tuple)) and any(map(_holds_traced, value))
    )


def world_of(values: Sequence[Any]) -> TracingWorld | None:
    """The innermost trace that the values belong to; None if no value is traced."""
    traced = [v for v in values if isinstance(v, (Traced, SymbolicSize))]
    return deepest(traced) if traced else None
