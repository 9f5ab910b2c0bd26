"""Ops applied to exact values at once: derivative rules run here without a graph, and graphs are evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from graphc import dims
from graphc.backends.exact.fields import Array, Field, apply_each, as_array
from graphc.dims import Dim, Size
from graphc.errors import ShapeError, UnsupportedError
from graphc.ir import NOTHING, Attrs, Constant, Graph, TensorType, Type
from graphc.ops import lookup
from graphc.ops.meaning import evaluate as numpy_meaning
from graphc.ops.record import Op
from graphc.ops.typing import Facts
from graphc.ops.world import Operand, World, infer


class ExactValue(Operand):
    """An object array of exact scalars, with the type it stands for."""

    __slots__ = ("_type", "array", "world")

    def __init__(self, world: ExactWorld, array: Any, type: TensorType) -> None:
        self.world = world
        self.array = array
        self._type = type

    @property
    def type(self) -> TensorType:
        return self._type

    def __repr__(self) -> str:
        return f"<{self._type} {self.array!r}>"


class ExactWorld(World):
    """Applies each op to exact arrays as it is built.

    >>> from graphc.backends.exact.jets import JetField
    >>> from graphc.backends.exact.reals import Digits
    >>> w = ExactWorld(JetField(Digits()))
    >>> x = w.constant(3, np.dtype("f8"))
    >>> float((x * x + 1).array.item().c[0].value)
    10.0
    """

    def __init__(self, field: Field) -> None:
        self.field = field
        self.facts = Facts({}, assume=False)

    def value(self, array: Array, type: TensorType) -> ExactValue:
        """An array of this world's scalars as a value."""
        if array.shape != type.shape:
            raise ShapeError("exact value: shape and type differ", expected=str(type), actual=str(array.shape))
        return ExactValue(self, array, type)

    def emit(self, op: Op, operands: Sequence[Any], attrs: Attrs) -> Any:
        type = infer(op, tuple([x.type for x in operands]), attrs, self.facts)
        result = apply(self.field, op, [x.array for x in operands], dict(attrs), type)
        if isinstance(type, TensorType):
            return self.value(result, type)
        return ExactValue(self, result, type)  # type: ignore[arg-type]

    def constant(self, value: Any, dtype: np.dtype[Any] | None = None, weak: bool = False) -> Any:
        constant = Constant(np.asarray(value, dtype))
        return self.emit(lookup("const"), (), (("value", constant), ("weak", weak)))


def apply(field: Field, op: Op, operands: Sequence[Any], attrs: Mapping[str, Any], result_type: Type) -> Any:
    """The op's exact meaning on object arrays; ops that only move elements act as they do in NumPy."""
    exact = op.exact
    if op.opaque:
        raise UnsupportedError(
            f"{op.name} has no exact meaning: it runs Python code",
            expected="ops of NumPy",
            actual=attrs["callback"].name if "callback" in attrs else op.name,
            fix='backend="numpy"',
        )
    if exact is None:
        moved = [field.integers(x) if _is_index(op, k) else x for k, x in enumerate(operands)]
        result = numpy_meaning(op, moved, attrs)
    else:
        function: Callable[..., Any] = getattr(field, exact) if isinstance(exact, str) else partial(exact, field)
        if op.elementwise:
            result = apply_each(partial(function, **attrs), *operands)
        else:
            result = function(*operands, **attrs)
    if not isinstance(result_type, TensorType):
        return tuple(_admitted(field, r, t) for r, t in zip(result, result_type.items, strict=True))
    return _admitted(field, result, result_type)


def _is_index(op: Op, position: int) -> bool:
    domains = op.domains
    return bool(domains) and domains[min(position, len(domains) - 1)] == "index"


def _admitted(field: Field, result: Any, result_type: TensorType) -> Array:
    array = as_array(result)
    dtype = result_type.dtype
    for i, element in np.ndenumerate(array):
        # True + True is 2 to Python and True to NumPy
        admitted = element != 0 if dtype.kind == "b" and type(element) is int else field.admit(element)
        if dtype.kind in "iu" and not isinstance(admitted, bool):
            admitted = field.wrap(admitted, dtype)
        if admitted is not element:
            if not array.flags.writeable:
                array = array.copy()
            array[i] = admitted
    return array


def evaluate(graph: Graph, inputs: Sequence[Array], field: Field, env: Mapping[str, int] | None = None) -> list[Array]:
    """Run a graph on object arrays of the field's scalars; one array for each output.

    Symbolic sizes are read off the input shapes; `env` gives those that no input shows.
    """
    with field.working():
        values = run(graph, inputs, field, env)
        return [values[o] for o in graph.outputs]


def run(graph: Graph, inputs: Sequence[Array], field: Field, env: Mapping[str, int] | None = None) -> dict[int, Any]:
    """The value of every node; must be called inside `field.working()`."""
    sizes = bind_sizes(graph, [x.shape for x in inputs], env)
    values: dict[int, Any] = dict(zip(graph.inputs, inputs, strict=True))
    for i, data in graph._node.items():
        if i in values or data["type"] is NOTHING:
            continue  # effects are no mathematics
        attrs = {name: bind(value, sizes) for name, value in data["attrs"]}
        type = bind_type(data["type"], sizes)
        values[i] = apply(field, lookup(data["op"]), [values[a] for a in data["args"]], attrs, type)
    return values


def bind_sizes(graph: Graph, shapes: Sequence[tuple[int, ...]], env: Mapping[str, int] | None = None) -> dict[str, int]:
    """The value of every size symbol, solved from the shapes of the inputs."""
    known: dict[str, int] = dict(env or {})
    equations: list[tuple[Size, int]] = []
    for type, shape in zip(graph.input_types, shapes, strict=True):
        if len(type.shape) != len(shape):
            raise ShapeError("an input has another rank", expected=str(type), actual=str(shape))
        equations.extend(zip(type.shape, shape, strict=True))
    waiting = equations
    while waiting:
        later = []
        for size, value in waiting:
            left = dims.substitute(size, known)
            if isinstance(left, Dim):
                found = dims.solve(left, value)
                if found is None:
                    later.append((size, value))
                else:
                    known[found[0]] = found[1]
            elif left != value:
                raise ShapeError("an input has another size", expected=str(size), actual=str(value))
        if len(later) == len(waiting):
            raise ShapeError("sizes cannot be read off the inputs", actual=", ".join(str(s) for s, _ in later))
        waiting = later
    return known


def bind(value: Any, sizes: Mapping[str, int]) -> Any:
    """An attribute with its symbolic sizes replaced by numbers."""
    if isinstance(value, Dim):
        return dims.evaluate(value, sizes)
    if isinstance(value, tuple):
        return tuple(bind(v, sizes) for v in value)
    return value


def bind_type(type: Type, sizes: Mapping[str, int]) -> Type:
    """A type with its symbolic sizes replaced by numbers."""
    if not isinstance(type, TensorType):
        return type
    if any(isinstance(d, Dim) for d in type.shape):
        return TensorType(bind(type.shape, sizes), type.dtype, type.weak)
    return type
