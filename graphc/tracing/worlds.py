"""The graphs being traced: which are running in this thread, and which of them an operation belongs to."""

from __future__ import annotations

import sys
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from graphc.dims import Size
from graphc.errors import REAL_PARTS, Loc, UnsupportedError
from graphc.ir import Builder, Guard, Locs, TensorType, set_name
from graphc.ops.record import Op
from graphc.ops.world import GraphWorld, Operand
from graphc.tracing.delegates import namespace
from graphc.tracing.layout import arrange, like, ordered_as
from graphc.tracing.places import Goal, here, holder, user_frame, user_locs
from graphc.tracing.refusals import raise_leaked
from graphc.tracing.stack import STACK
from graphc.tracing.storage import snapshot

if TYPE_CHECKING:
    from graphc.tracing.values import Traced

STALE_BYTES: Final = 1 << 16  # a writable closed-over array of this size is likely a weight that will change


# Python's own types that no operator takes beside a traced value, and what to write instead.
_NO_OPERANDS: Final[dict[type, str]] = {
    list: "np.array([...]), beside which a traced number is an array too",
    tuple: "np.array([...]), beside which a traced number is an array too",
    complex: REAL_PARTS,
    str: "numbers, not text",
    bytes: "numbers, not text",
    dict: "take a value out of the dict",
    set: "np.array(sorted(...))",
    type(None): "check for None before: `if x is None` works in a trace",
}


# Operators by which Python computes with a bool as with the integer that it is, and NumPy does not.
_ARITHMETIC: Final = frozenset({"add", "sub", "mul", "div", "floor_divide", "remainder", "pow"})

# No element of an array is equal to one of these.
_NEVER_EQUAL: Final = (str, bytes, dict, set, type(None))

# Modules whose functions take a call from the user's code and give its result back unchanged.
_PASSING_ON: Final = frozenset({
    "graphc.compiler.compiled", "graphc.compiler.jitting", "graphc.numpy.dispatch", "graphc.tracing.values",
    "graphc.transforms.arguments",
})  # fmt: skip


class TracingWorld(GraphWorld):
    """A graph being traced. Values of enclosing traces become extra inputs (captures)."""

    value_class: type[Traced]  # set where that class is made

    def __init__(self, builder: Builder, hints: Mapping[str, int] | None = None, depth: int = 0) -> None:
        super().__init__(builder)
        self.facts.hints = hints
        self.depth = depth
        self.active = True
        self.captured: dict[tuple[int, int], int] = {}
        self.captures: list[Traced] = []
        self.asked: dict[Guard, Loc] = {}
        self._constants: dict[int, tuple[Any, int]] = {}
        # arrays that may change after the trace, and what to say of each: a text, where, and what was said there
        self._suspects: list[tuple[weakref.ref[Any], str, tuple[str, int, str], dict[Any, Any]]] = []
        self._goal: Goal | None = None  # where the program assigns the value that it is making

    def locate(self) -> Locs:
        locs, self._goal = here(sys._getframe(2))
        return locs

    def emit(self, op: Op, operands: Sequence[Any], attrs: Any) -> Any:
        remembered = False
        for operand in operands:
            if operand.world is not self:
                world = deepest(operands)
                return world.emit(op, [world.adopt(o) for o in operands], attrs)
            remembered = remembered or operand.memory is not None
        if not self.active:
            deepest(operands)
        result = super().emit(op, operands, attrs)
        if op.name != "const":
            self.assign(result.id)
        if remembered:
            arrange(op, operands, result, dict(attrs))
        return result

    def assign(self, node: int) -> None:
        """Note that the program assigns the node where it last applied an op, if it does."""
        if self._goal is not None:
            self.builder.assign(*self._goal, node)

    def binary(self, name: str, a: Any, b: Any) -> Any:
        for one, other in ((a, b), (b, a)):
            if type(other) not in _NO_OPERANDS:
                continue
            if isinstance(other, (list, tuple)) and not one.type.weak:
                # beside an array NumPy makes an array of it; beside a number, as weak values are, Python repeats it
                other = namespace().asarray(other)
                return self.binary(name, *((a, other) if one is a else (other, b)))
            if name in ("eq", "ne") and isinstance(other, _NEVER_EQUAL):
                return self._everywhere(name == "ne", one.type.shape)
            raise UnsupportedError(
                f"a {type(other).__name__} cannot be an operand of traced arithmetic",
                expected="a traced value, a NumPy array or a list of numbers, or a bool, int or float",
                actual=repr(other)[:60],
                loc=(user_locs() or (None,))[0],
                fix=_NO_OPERANDS[type(other)],
            )
        if name in _ARITHMETIC and all(_is_python_number(x) for x in (a, b)):
            a, b = (self.python_number(x) for x in (a, b))
        return super().binary(name, a, b)

    def python_number(self, operand: Any) -> Any:
        """The operand, a Python bool as the integer that it is in Python's arithmetic."""
        if isinstance(operand, Operand) and operand.type.weak and operand.type.dtype.kind == "b":
            return self.convert(operand, np.dtype(np.int64), weak=True)
        return int(operand) if type(operand) is bool else operand

    def _everywhere(self, value: bool, shape: tuple[Size, ...]) -> Any:
        """A boolean for every element: a plain array, as it is known now, unless a size is not."""
        known = [size for size in shape if isinstance(size, int)]
        if len(known) < len(shape):
            return self.full(value, TensorType(shape, np.dtype(np.bool_)))
        return np.full(known, value) if shape else np.bool_(value)

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
            self.captures.append(snapshot(operand))
        return like(operand, self.value_class(self, node))

    def constant(self, value: Any, dtype: np.dtype[Any] | None = None, weak: bool = False) -> Any:
        if not isinstance(value, np.ndarray) or value.ndim == 0:
            return super().constant(value, dtype, weak)
        # a writable array may have changed since it was last used
        known = None if value.flags.writeable else self._constants.get(id(value))
        if known is not None and (dtype is None or self.builder.nodes[known[1]]["type"].dtype == dtype):
            return ordered_as(self.value_class(self, known[1]), value)
        if value.flags.writeable and value.nbytes >= STALE_BYTES:
            self._suspect(value)
        result = super().constant(value, dtype, weak)
        set_name(self.builder.nodes[result.id], holder(value))
        if not value.flags.writeable:
            self._constants[id(value)] = (value, result.id)
        return ordered_as(result, value)

    def _suspect(self, array: np.ndarray[Any, Any]) -> None:
        """Warn of an array that may change, unless the function drops it: then nobody can change it any more."""
        text = (
            f"a writable array of shape {array.shape} is copied into the graph as a constant: later changes to it "
            "are not seen. Pass it as an argument, or make it read-only to silence this."
        )
        frame = user_frame(sys._getframe(1))
        if frame is None:
            return
        place = frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__", "<unknown>")
        known = frame.f_globals.setdefault("__warningregistry__", {})
        owner = _owner(array)
        if owner is not None and self in STACK.worlds:
            self._suspects.append((weakref.ref(owner), text, place, known))
        else:
            warnings.warn_explicit(text, UserWarning, *place, registry=known)

    def warn_of_changes(self) -> None:
        """Warn of writable arrays that were taken for constants and have outlived the trace."""
        suspects, self._suspects = self._suspects, []
        for array, text, place, known in suspects:
            if array() is not None:
                warnings.warn_explicit(text, UserWarning, *place, registry=known)


def _owner(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """The array whose memory it is, which outlives its views; None if the memory is no array's."""
    base: Any = array.base
    while isinstance(base, np.ndarray):
        array, base = base, base.base
    return array if base is None else None


def _is_python_number(operand: Any) -> bool:
    return operand.type.weak if isinstance(operand, Operand) else type(operand) in (bool, int, float)


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


def assigned(result: Any, caller: FrameType | None) -> Any:
    """The result of a function that the user's code has called, after noting where the program puts it.

    Needed where the last node made may not be the result: for sequences of values, for functions that make several
    nodes, and for graphs that are inlined. `caller` is the frame that called, or one of graphc's own that only passed
    the call on.
    """
    results = result if isinstance(result, (tuple, list)) else (result,)
    if not results or not all(isinstance(r, TracingWorld.value_class) for r in results):
        return result
    while caller is not None and caller.f_globals.get("__name__") in _PASSING_ON:
        caller = caller.f_back
    goal = here(caller)[1] if caller is not None and user_frame(caller) is caller else None
    if goal is not None:
        site, name = goal
        world = results[0].world
        fits = isinstance(name, str) or (results is result and len(name) == len(results))
        if fits and all(r.world is world for r in results):
            world.builder.assign(site, name, tuple(r.id for r in results))
    return result


@contextmanager
def tracing(name: str, hints: Mapping[str, int] | None = None) -> Iterator[TracingWorld]:
    """Context of one trace: a fresh graph, on top of the traces already running in this thread."""
    world = TracingWorld(Builder(name), hints, depth=len(STACK.worlds) + 1)
    # Ctrl-C may come anywhere, between two steps of entering or leaving too; a generator that is dropped still ends
    try:
        STACK.worlds.append(world)
        yield world
        world.warn_of_changes()
    finally:
        world.active = False
        if world in STACK.worlds:
            STACK.worlds.remove(world)
