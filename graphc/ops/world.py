"""Worlds: where ops are built. Derivative rules are written once against a world and run in any of them.

`GraphWorld` appends nodes to a graph under construction. The exact backend has a world over SymPy, mpmath or
finite-field numbers; rules cannot tell the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.errors import REAL_PARTS, DTypeError, GraphcError, UnsupportedError
from graphc.ir import Attrs, Builder, Callback, Constant, Locs, TensorType, Type
from graphc.ops import lookup
from graphc.ops.record import Op
from graphc.ops.typing import Facts, reduced_shape

Literal = bool | int | float
_WEAK_SAMPLE: Final[dict[str, Literal]] = {"b": True, "i": 1, "u": 1, "f": 1.0}
FLOAT_OPS: Final = frozenset({"div"})
# NumPy's first loop for these is int8; booleans are cast to it
INTEGER_OPS: Final = frozenset({"floor_divide", "remainder"})
# what each comparison gives when its right side lies above the range of its left side
ABOVE: Final = {"eq": False, "ne": True, "lt": True, "le": True, "gt": False, "ge": False}


class Operand:
    """A value in some world. Python's operators build ops with NumPy's promotion (NEP 50)."""

    __slots__ = ()
    __hash__ = object.__hash__
    __array_ufunc__: Any = None  # NumPy defers to our reflected operators
    world: World

    @property
    def type(self) -> TensorType:
        raise NotImplementedError

    @property
    def shape(self) -> tuple[Any, ...]:
        return self.type.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    def __neg__(self) -> Any:
        return self.world.neg(self)

    def __add__(self, other: Any) -> Any:
        return self.world.binary("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return self.world.binary("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return self.world.binary("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return self.world.binary("sub", other, self)

    def __mul__(self, other: Any) -> Any:
        return self.world.binary("mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return self.world.binary("mul", other, self)

    def __truediv__(self, other: Any) -> Any:
        return self.world.binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.world.binary("div", other, self)

    def __floordiv__(self, other: Any) -> Any:
        return self.world.binary("floor_divide", self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return self.world.binary("floor_divide", other, self)

    def __mod__(self, other: Any) -> Any:
        return self.world.binary("remainder", self, other)

    def __rmod__(self, other: Any) -> Any:
        return self.world.binary("remainder", other, self)

    def __lt__(self, other: Any) -> Any:
        return self.world.binary("lt", self, other)

    def __le__(self, other: Any) -> Any:
        return self.world.binary("le", self, other)

    def __gt__(self, other: Any) -> Any:
        return self.world.binary("gt", self, other)

    def __ge__(self, other: Any) -> Any:
        return self.world.binary("ge", self, other)

    def __eq__(self, other: Any) -> Any:
        return self.world.binary("eq", self, other)

    def __ne__(self, other: Any) -> Any:
        return self.world.binary("ne", self, other)


class World:
    """Builds ops. `w.sin(x)` applies the op `sin`; attributes are keyword arguments."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        op = lookup(name)

        def apply(*operands: Any, **attrs: Any) -> Any:
            return self.emit(op, self.lift(operands), tuple(sorted(attrs.items())) if attrs else ())

        self.__dict__[name] = apply
        return apply

    def emit(self, op: Op, operands: Sequence[Any], attrs: Attrs) -> Any:
        """Apply `op`; operands are values of this world that satisfy its type rule."""
        raise NotImplementedError

    def constant(self, value: Any, dtype: np.dtype[Any] | None = None, weak: bool = False) -> Any:
        """A constant value of this world."""
        raise NotImplementedError

    def apply(self, name: str, operands: Sequence[Any], **attrs: Any) -> Any:
        """Apply the op called `name`."""
        return self.emit(lookup(name), operands, tuple(sorted(attrs.items())))

    def lift(self, operands: Sequence[Any]) -> Sequence[Any]:
        """Replace literals by constants of the other operands' dtype."""
        for operand in operands:
            if not isinstance(operand, Operand):
                return self.promote(operands)
        return operands

    def promote(self, operands: Sequence[Any], to_float: bool = False) -> list[Any]:
        """Bring operands to the dtype NumPy's promotion gives, by explicit casts and constants."""
        types: list[Any] = []
        for operand in operands:
            if isinstance(operand, Operand):
                types.append(operand.type)
            elif type(operand) in (bool, int, float):
                types.append(type(operand))
            elif isinstance(operand, (np.ndarray, np.generic)):
                types.append(operand.dtype)
            else:
                raise UnsupportedError(
                    f"cannot use a {type(operand).__name__} in traced arithmetic",
                    expected="a traced value, a NumPy array or a Python number",
                    actual=repr(operand)[:60],
                )
        dtype, weak = promotion(tuple(types), to_float)
        return [self.convert(operand, dtype, weak) for operand in operands]

    def convert(self, operand: Any, dtype: np.dtype[Any], weak: bool = False) -> Any:
        """The operand as a value of the given dtype."""
        if isinstance(operand, Operand):
            known = operand.type
            if known.dtype == dtype and known.weak == weak:
                return operand
            return self.emit(lookup("cast"), (operand,), (("dtype", dtype), ("weak", weak)))
        if isinstance(operand, (bool, int)) and not isinstance(operand, np.generic) and dtype.kind in "iu":
            np.array(operand, dtype)  # NumPy's own OverflowError for a literal out of range
        return self.constant(operand, dtype, weak)

    def binary(self, name: str, a: Any, b: Any) -> Any:
        """Apply a two-operand op with NumPy's promotion."""
        if not (_acceptable(a) and _acceptable(b)):
            return NotImplemented
        if isinstance(a, Operand) and isinstance(b, Operand):
            ta, tb = a.type, b.type
            if (
                ta.dtype == tb.dtype
                and ta.weak == tb.weak
                and (name not in FLOAT_OPS or ta.dtype.kind == "f")
                and (name not in INTEGER_OPS or ta.dtype.kind != "b")
            ):
                return self.emit(lookup(name), (a, b), ())
        elif name in ABOVE:
            known = _known_comparison(name, a, b)
            if known is not None:
                shape = a.type.shape if isinstance(a, Operand) else b.type.shape
                return self.full(known, TensorType(shape, np.dtype(np.bool_)))
        if name in ABOVE:
            a, b = self.whole_integers(a, b)
            if _differ_in_sign(a, b):
                return self._compare_signs(name, a, b)
        a, b = self.promote((a, b), to_float=name in FLOAT_OPS)
        if name in INTEGER_OPS and a.type.dtype.kind == "b":
            a, b = (self.convert(x, np.dtype(np.int8), x.type.weak) for x in (a, b))
        return self.emit(lookup(name), (a, b), ())

    def whole_integers(self, a: Any, b: Any) -> tuple[Any, Any]:
        """Operands of a comparison: a Python integer is compared as it is, not cut to a narrow array's dtype."""
        pair = (a, b)
        if all(isinstance(x, Operand) and x.type.dtype.kind in "iu" for x in pair) and a.type.weak != b.type.weak:
            a, b = (self.convert(x, np.dtype(np.int64)) if x.type.weak else x for x in pair)
        return a, b

    def _compare_signs(self, name: str, a: Any, b: Any) -> Any:
        """Compare a signed integer with an unsigned one that no signed dtype holds: exactly, as NumPy does."""
        a, b = (x if isinstance(x, Operand) else self.constant(x) for x in (a, b))
        first = a.type.dtype.kind == "i"
        signed, unsigned = (a, b) if first else (b, a)
        below = self.binary("lt", signed, 0)
        wrapped = self.convert(signed, unsigned.type.dtype)
        found = self.emit(lookup(name), (wrapped, b) if first else (a, wrapped), ())
        # a negative number lies below all that are unsigned
        if ABOVE[name] == (first or name in ("eq", "ne")):
            return self.emit(lookup("logical_or"), (below, found), ())
        return self.emit(lookup("logical_and"), (self.emit(lookup("logical_not"), (below,), ()), found), ())

    # Shapes that rules need again and again

    def select(self, mask: Any, x: Any, y: Any) -> Any:
        """`where` with literals; x and y share a dtype."""
        x, y = self.lift((x, y))
        return self.emit(lookup("where"), (mask, x, y), ())

    def full(self, value: Literal, type: TensorType) -> Any:
        """An array of one repeated value."""
        scalar = self.constant(value, type.dtype)
        return scalar if not type.shape else self.broadcast_to(scalar, shape=type.shape)

    def expand(self, x: Any, axes: Iterable[int], shape: Sequence[Size], keepdims: bool) -> Any:
        """Undo the shape of a reduction over `axes`: the inverse of `keepdims=False`, then broadcast."""
        if not keepdims and x.type.shape:
            x = self.reshape(x, shape=reduced_shape(shape, set(axes), True))
        return x if x.type.shape == tuple(shape) else self.broadcast_to(x, shape=tuple(shape))

    def broadcast_mask(self, mask: Any, x: Any) -> Any:
        """The mask in the shape of `x`."""
        return mask if mask.type.shape == x.type.shape else self.broadcast_to(mask, shape=x.type.shape)

    def unbroadcast(self, x: Any, shape: Sequence[Size]) -> Any:
        """Sum `x` down to a shape that broadcasts to its own."""
        return self.reduce_to("reduce_sum", x, shape)

    def reduce_to(self, reducer: str, x: Any, shape: Sequence[Size]) -> Any:
        """Reduce `x` over the axes along which `shape` was broadcast."""
        have = x.type.shape
        if have == tuple(shape):
            return x
        lead = len(have) - len(shape)
        axes = tuple(range(lead)) + tuple(lead + i for i, d in enumerate(shape) if d == 1 and have[lead + i] != 1)
        if axes:
            x = self.apply(reducer, (x,), axes=axes, keepdims=False)
        return x if x.type.shape == tuple(shape) else self.reshape(x, shape=tuple(shape))


def _known_comparison(name: str, a: Any, b: Any) -> bool | None:
    """What comparing with a Python integer gives, if the other operand's dtype cannot hold that integer."""
    value, literal = (a, b) if isinstance(a, Operand) else (b, a)
    if type(literal) is not int or value.type.dtype.kind not in "iu":
        return None
    limits = np.iinfo(value.type.dtype)
    if limits.min <= literal <= limits.max:
        return None
    ordered = name in ("lt", "le", "gt", "ge")
    turned = ordered and (literal < limits.min) != (value is b)
    return ABOVE[name] != turned


def _differ_in_sign(a: Any, b: Any) -> bool:
    """Whether of two integers one is signed, and the other unsigned and of 64 bits: they promote to float64."""
    pair = [x.type.dtype if isinstance(x, Operand) else getattr(x, "dtype", None) for x in (a, b)]
    return {d.kind for d in pair if d is not None} == {"i", "u"} and np.dtype(np.uint64) in pair


def _acceptable(operand: Any) -> bool:
    return isinstance(operand, (Operand, bool, int, float, np.generic)) or type(operand) is np.ndarray


@lru_cache(maxsize=4096)
def promotion(types: tuple[Any, ...], to_float: bool = False) -> tuple[np.dtype[Any], bool]:
    """NumPy's result dtype of tensor types, dtypes and Python scalar classes, and whether the result is weak.

    Reference: NEP 50, https://numpy.org/neps/nep-0050-scalar-promotion.html
    """
    weak = True
    operands: list[Any] = []
    for t in types:
        if isinstance(t, TensorType):
            weak = weak and t.weak
            operands.append(_WEAK_SAMPLE[t.dtype.kind] if t.weak else t.dtype)
        elif isinstance(t, type):
            operands.append(t(1))
        else:
            weak = False
            operands.append(t)
    try:
        dtype = np.result_type(*operands)
    except TypeError as error:
        raise DTypeError("no common dtype", actual=", ".join(map(str, types))) from error
    if dtype.kind not in "biuf":
        raise UnsupportedError(
            f"dtype {dtype} cannot be traced yet",
            expected="bool, integer or real float",
            actual=str(dtype),
            fix=REAL_PARTS if dtype.kind == "c" else None,
        )
    if to_float and dtype.kind != "f":
        # true division of integers gives what NumPy's loop for them gives: float64, or float16/32 for small ints
        dtype = np.true_divide(np.ones((), dtype), np.ones((), dtype)).dtype
    return dtype, weak


class Value(Operand):
    """A node of a graph under construction."""

    __slots__ = ("id", "world")
    world: GraphWorld

    def __init__(self, world: GraphWorld, id: int) -> None:
        self.world = world
        self.id = id

    @property
    def type(self) -> TensorType:
        return self.world.builder.nodes[self.id]["type"]  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<%{self.id}: {self.type}>"


_TYPES: dict[tuple[Any, ...], Type] = {}


def infer(op: Op, types: tuple[Type, ...], attrs: Attrs, facts: Facts) -> Type:
    """The result type by the op's rule; remembered when no guard took part in it, and no array is kept by it."""
    key = (op.name, types, attrs)
    found = _TYPES.get(key)
    if found is not None:
        return found
    facts.consulted = False
    result = op.type(facts, *types, **dict(attrs))
    if not facts.consulted and not any(isinstance(value, (Constant, Callback)) for _, value in attrs):
        if len(_TYPES) > 50_000:
            _TYPES.clear()
        _TYPES[key] = result
    return result


class GraphWorld(World):
    """Builds ops as nodes of a `Builder`."""

    value_class: type[Value] = Value

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.facts = Facts(builder.guards)
        self.loc: Locs = ()
        self.origin: int | None = None

    def locate(self) -> Locs:
        """Where the op being built comes from."""
        return self.loc

    def emit(self, op: Op, operands: Sequence[Any], attrs: Attrs) -> Any:
        ids = tuple([operand.id for operand in operands])
        builder = self.builder
        loc = self.locate()
        node = builder.find(op.name, ids, attrs)
        if node is not None:
            builder.merge_loc(node, loc)
        else:
            nodes = builder.nodes
            types = tuple([nodes[i]["type"] for i in ids])
            try:
                type = infer(op, types, attrs, self.facts)
            except GraphcError as error:
                if error.loc is None and loc:
                    error.loc = loc[0]
                error.graph_line = error.graph_line or self.line(op.name, ids, attrs)
                raise
            node = builder.add(op.name, ids, attrs, type, loc, self.origin)
        return self.value_class(self, node)

    def constant(self, value: Any, dtype: np.dtype[Any] | None = None, weak: bool = False) -> Any:
        constant = Constant(np.asarray(value, dtype))
        return self.emit(lookup("const"), (), (("value", constant), ("weak", weak)))

    def line(self, name: str, ids: tuple[int, ...], attrs: Attrs, node: int | None = None) -> str:
        """A node, or the one that would come next, as errors show it."""
        self.builder.settle_names()
        operands = []
        for i in ids:
            data = self.builder.nodes[i]
            value = data["attrs"][0][1].array if data["op"] == "const" else None
            scalar = value is not None and value.ndim == 0
            operands.append(str(value) if scalar else f"{self.label(i)}: {data['type']}")
        shown = "[" + ", ".join(f"{k}={v}" for k, v in attrs) + "]" if attrs else ""
        label = f"%{len(self.builder.nodes)}" if node is None else self.label(node)
        return f"{label} = {name}{shown}({', '.join(operands)})"

    def label(self, node: int) -> str:
        """A node as errors name it: by its variable, else by its number."""
        data = self.builder.nodes[node]
        name = dict(data["attrs"])["name"] if data["op"] == "input" else data.get("name", node)
        return f"%{name}"


def size_value(world: GraphWorld, size: Size) -> Any:
    """A size as an int64 value: a weak constant, or the op that reads it when the graph runs."""
    if isinstance(size, dims.Dim):
        return world.emit(lookup("dim"), (), (("size", size),))
    return world.constant(size, np.dtype(np.int64), weak=True)
