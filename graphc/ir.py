"""The intermediate representation: types, constants, guards, and the graph itself."""

from __future__ import annotations

import gc
import hashlib
import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import networkx as nx
import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.errors import IRError, Loc

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "bool": np.dtype(np.bool_),
    **{f"i{8 * n}": np.dtype(f"i{n}") for n in (1, 2, 4, 8)},
    **{f"u{8 * n}": np.dtype(f"u{n}") for n in (1, 2, 4, 8)},
    **{f"f{8 * n}": np.dtype(f"f{n}") for n in (2, 4, 8)},
    **{f"c{8 * n}": np.dtype(f"c{n}") for n in (8, 16)},
}
DTYPE_NAMES: Final[dict[np.dtype[Any], str]] = {dtype: name for name, dtype in DTYPES.items()}

type_table: weakref.WeakValueDictionary[tuple[Any, ...], Any] = weakref.WeakValueDictionary()


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
        found = type_table.get(key)
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
        return type_table.setdefault(key, self)  # type: ignore[no-any-return]

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
        found = type_table.get(key)
        if found is not None:
            return found  # type: ignore[no-any-return]
        self = super().__new__(cls)
        object.__setattr__(self, "items", tuple(items))
        return type_table.setdefault(key, self)  # type: ignore[no-any-return]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a TupleType is immutable")

    def __reduce__(self) -> tuple[object, ...]:
        return TupleType, (self.items,)

    def __repr__(self) -> str:
        return f"({', '.join(map(repr, self.items))})"


Type = TensorType | TupleType
NOTHING: Final = TupleType(())
"""The type of an effect: a node without results, which is there for what it does when the graph runs."""


class Callback:
    """A function of the user's inside a graph, which is called when the graph runs.

    Two of them are equal if they are the same function. One that was read from a text, where only its name stands,
    equals every function of that name; a graph with it compares but does not run.
    """

    __slots__ = ("_function", "name")

    def __init__(self, name: str, function: Callable[..., Any] | None) -> None:
        self.name = name
        self._function = function

    @property
    def function(self) -> Callable[..., Any]:
        """The function; IRError where only its name is known."""
        if self._function is None:
            raise IRError(
                f"the function {self.name} is not here: a text holds only its name",
                fix="give it to parse: callbacks=[...], in the order in which the text names them",
            )
        return self._function

    @property
    def known(self) -> bool:
        """Whether the function is here, and not its name alone."""
        return self._function is not None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Callback) or self.name != other.name:
            return False
        mine, others = self._function, other._function
        return mine is None or others is None or mine is others or bool(mine == others)

    def __hash__(self) -> int:
        return hash(self.name)

    def __reduce__(self) -> tuple[object, ...]:
        return Callback, (self.name, self._function)

    def __repr__(self) -> str:
        return f"Callback({self.name})"


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


@dataclass(frozen=True, slots=True)
class Guard:
    """A fact about sizes that the graph relies on and that each run must check."""

    relation: Literal["==", "!=", "<", "<="]
    left: Size
    right: Size

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether the fact is true of these sizes."""
        left, right = dims.evaluate(self.left, sizes), dims.evaluate(self.right, sizes)
        return {"==": left == right, "!=": left != right, "<": left < right, "<=": left <= right}[self.relation]


@contextmanager
def paused_gc() -> Iterator[None]:
    """Hold the cyclic garbage collector while a graph is built.

    A graph is many small containers and no garbage; collecting while they appear doubles the time of large compiles.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


Attrs = tuple[tuple[str, Any], ...]
Locs = tuple[Loc, ...]


class Graph(nx.DiGraph):  # type: ignore[type-arg]
    """A frozen dataflow graph in single-assignment form.

    Node ids are ints in topological order. Each node has the attributes `op`, `args` (ordered operand ids),
    `attrs`, `type`, `loc`, `region` and `origin` (the forward node a derivative came from, or None).
    Edges are only the derived index of `args`, so every networkx algorithm applies. The graph's own state is
    kept in `self.graph` as tuples. Two graphs are equal when their computations are: ids and locations do not count.
    """

    _node: dict[int, dict[str, Any]]
    _succ: dict[int, dict[int, dict[str, Any]]]
    _pred: dict[int, dict[int, dict[str, Any]]]

    @property
    def inputs(self) -> tuple[int, ...]:
        """Ids of the input nodes, in argument order."""
        return self.graph["inputs"]  # type: ignore[no-any-return]

    @property
    def outputs(self) -> tuple[int, ...]:
        """Ids of the result nodes, in result order; an id may stand twice."""
        return self.graph["outputs"]  # type: ignore[no-any-return]

    @property
    def guards(self) -> tuple[Guard, ...]:
        """Facts about sizes that each run checks."""
        return self.graph["guards"]  # type: ignore[no-any-return]

    @property
    def effects(self) -> tuple[int, ...]:
        """Ids of the nodes without results, in the order in which they act. No pass drops, merges or reorders them."""
        return tuple(i for i, data in self._node.items() if data["type"] is NOTHING)

    @property
    def input_types(self) -> tuple[TensorType, ...]:
        return tuple(self._node[i]["type"] for i in self.inputs)

    @property
    def output_types(self) -> tuple[TensorType, ...]:
        return tuple(self._node[i]["type"] for i in self.outputs)

    def attrs(self, node: int) -> dict[str, Any]:
        """The attributes of a node's op as a new dict."""
        return dict(self._node[node]["attrs"])

    def canonical(self) -> tuple[Any, ...]:
        """The graph's content, free of ids and locations; equal for equal graphs."""
        state = self.__dict__
        if "_canonical" not in state:
            state["_canonical"] = _canonical(self)
        return state["_canonical"]  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and (self is other or self.canonical() == other.canonical())

    def __hash__(self) -> int:
        return hash(self.canonical())

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = self.__dict__.copy()
        state.pop("_canonical", None)
        return state

    def __str__(self) -> str:
        from graphc.text import dump

        return dump(self)

    def _repr_html_(self) -> str:
        from graphc.inspection.picture import repr_html

        return repr_html(self)

    def to_sympy(self, **sizes: int) -> Any:
        """The outputs as SymPy expressions of symbols named after the inputs; named sizes as keywords."""
        from graphc.symbolic import to_sympy

        return to_sympy(self, sizes)


def _typed(attrs: Attrs) -> tuple[Any, ...]:
    """Attributes with the classes of their values, which `==` does not tell apart: 1 is not True."""
    return tuple((name, type(value), value) for name, value in attrs)


def _canonical(graph: Graph) -> tuple[Any, ...]:
    """Number the nodes depth-first from outputs, then effects; ids, dead nodes and locations drop out."""
    number: dict[int, int] = {}
    regions: dict[int, int] = {0: 0}
    rows: list[tuple[Any, ...]] = []
    nodes = graph._node
    for i in graph.inputs:
        number[i] = len(number)
        rows.append(("input", nodes[i]["attrs"], nodes[i]["type"]))
    for output in (*graph.outputs, *graph.effects):
        stack = [output]
        while stack:
            node = stack[-1]
            if node in number:
                stack.pop()
                continue
            waiting = [a for a in nodes[node]["args"] if a not in number]
            if waiting:
                stack.extend(reversed(waiting))
                continue
            stack.pop()
            data = nodes[node]
            number[node] = len(number)
            region = regions.setdefault(data["region"], len(regions))
            rows.append(
                (data["op"], tuple(number[a] for a in data["args"]), _typed(data["attrs"]), data["type"], region)
            )
    outputs = tuple(number[o] for o in graph.outputs)
    return (
        graph.name,
        tuple(rows),
        len(graph.inputs),
        outputs,
        frozenset(graph.guards),
        graph.graph["donated"],
    )


class Builder:
    """Appends nodes, each after its operands, and merges the ones that compute the same thing.

    The key of a node is its op, operands, attributes and region; merging unions locations. A builder knows no
    op's meaning: types come from the caller. A node of type `NOTHING` is an effect, and never merged.
    """

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self.nodes: list[dict[str, Any]] = []
        self.inputs: list[int] = []
        self._names: set[str] = set()
        self.guards: dict[Guard, None] = {}
        self.region = 0
        self._last_region = 0
        self._table: dict[tuple[Any, ...], int] = {}
        self._effects: list[int] = []

    def input(self, name: str, type: TensorType, loc: Locs = ()) -> int:
        """Append the next input; a name that is taken gets underscores."""
        node = len(self.nodes)
        while name in self._names:
            name += "_"
        self._names.add(name)
        self.nodes.append(
            {
                "op": "input",
                "args": (),
                "attrs": (("name", name),),
                "type": type,
                "loc": loc,
                "region": 0,
                "origin": None,
            }
        )
        self.inputs.append(node)
        return node

    def find(self, op: str, args: tuple[int, ...], attrs: Attrs) -> int | None:
        """The existing node that computes this in the current region, if there is one."""
        return self._table.get((op, args, attrs, self.region))

    def add(self, op: str, args: tuple[int, ...], attrs: Attrs, type: Type, loc: Locs, origin: int | None) -> int:
        """The node that computes this, appended if it is new."""
        key = (op, args, attrs, self.region)
        node = self._table.get(key)
        if node is None:
            node = len(self.nodes)
            if type is NOTHING:
                self._effects.append(node)
            else:
                self._table[key] = node
            self.nodes.append(
                {
                    "op": op,
                    "args": args,
                    "attrs": attrs,
                    "type": type,
                    "loc": loc,
                    "region": self.region,
                    "origin": origin,
                }
            )
        elif loc:
            self.merge_loc(node, loc)
        return node

    def fresh_region(self) -> int:
        """A region number that no node bears yet: nothing in it merges with anything outside."""
        self._last_region += 1
        return self._last_region

    def merge_loc(self, node: int, loc: Locs) -> None:
        """Union `loc` into the node's locations; the first one stays first."""
        data = self.nodes[node]
        known: Locs = data["loc"]
        if known is not loc and len(known) < 8:
            data["loc"] = known + tuple(x for x in loc if x not in known)

    def finish(self, outputs: Iterable[int], donated: Sequence[int] = (), effects: bool = True) -> Graph:
        """Freeze what outputs and effects need, and every input, into a graph with dense ids."""
        outputs = tuple(outputs)
        nodes = self.nodes
        live = bytearray(len(nodes))
        for i in (*outputs, *self.inputs, *(self._effects if effects else ())):
            live[i] = 1
        for i in range(len(nodes) - 1, -1, -1):
            if live[i]:
                for a in nodes[i]["args"]:
                    live[a] = 1
        # inputs come first, so that dumps number them 0, 1, ... and the rest follows
        ids: dict[int, int] = {i: k for k, i in enumerate(self.inputs)}
        for i, alive in enumerate(live):
            if alive and i not in ids:
                ids[i] = len(ids)
        return _assemble(
            self.name,
            ((ids[i], nodes[i]) for i in ids),
            ids,
            tuple(ids[i] for i in self.inputs),
            tuple(ids[o] for o in outputs),
            tuple(self.guards),
            tuple(donated),
        )


def _assemble(
    name: str,
    nodes: Iterator[tuple[int, dict[str, Any]]],
    ids: Mapping[int, int],
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    guards: tuple[Guard, ...],
    donated: tuple[int, ...],
) -> Graph:
    graph = Graph(name=name, inputs=inputs, outputs=outputs, guards=guards, donated=donated)
    # networkx's own dictionaries are filled directly: add_node and add_edge cost several times as much
    node_table, successors, predecessors = graph._node, graph._succ, graph._pred
    for i, data in nodes:
        args = tuple([ids[a] for a in data["args"]])
        copy = data.copy()
        copy["args"] = args
        origin = data["origin"]
        if origin is not None:
            copy["origin"] = ids.get(origin)
        node_table[i] = copy
        successors[i] = {}
        before: dict[int, dict[str, Any]] = {}
        predecessors[i] = before
        for a in args:
            if a not in before:
                edge: dict[str, Any] = {}
                before[a] = edge
                successors[a][i] = edge
    return nx.freeze(graph)  # type: ignore[no-any-return]


def copy_into(
    builder: Builder,
    graph: Graph,
    arguments: Sequence[int],
    node_rule: Callable[[int, dict[str, Any], tuple[int, ...]], int] | None = None,
    ids: dict[int, int] | None = None,
) -> dict[int, int]:
    """Append `graph` to `builder` with its inputs bound to `arguments`; return old id -> new id.

    `node_rule(old id, node data, new operand ids)` may put something else in a node's place; this is the
    copy-with-substitution sweep that every rewriting pass is made of. `ids`, if given, is filled as the sweep goes.
    """
    ids = {} if ids is None else ids
    ids.update(zip(graph.inputs, arguments, strict=True))
    for guard in graph.guards:
        builder.guards.setdefault(guard)
    regions: dict[int, int] = {0: builder.region}
    base = builder.region
    for i, data in graph._node.items():
        if i in ids:
            continue
        region = data["region"]
        if region not in regions:
            regions[region] = builder.fresh_region()
        builder.region = regions[region]
        args = tuple([ids[a] for a in data["args"]])
        if node_rule is not None:
            ids[i] = node_rule(i, data, args)
        else:
            origin = data["origin"]
            ids[i] = builder.add(
                data["op"],
                args,
                data["attrs"],
                data["type"],
                data["loc"],
                None if origin is None else ids.get(origin),
            )
    builder.region = base
    return ids


def without_effects(graph: Graph) -> Graph:
    """The graph with nothing but what its outputs need."""
    if not graph.effects:
        return graph
    builder = Builder(graph.name)
    nodes = graph._node
    inputs = [builder.input(dict(nodes[i]["attrs"])["name"], nodes[i]["type"], nodes[i]["loc"]) for i in graph.inputs]
    ids = copy_into(builder, graph, inputs)
    return builder.finish([ids[o] for o in graph.outputs], graph.graph["donated"], effects=False)


def static_shape(shape: Sequence[Size]) -> tuple[int, ...] | None:
    """The shape if every size in it is a plain int, else None."""
    sizes = tuple(d for d in shape if isinstance(d, int))
    return sizes if len(sizes) == len(shape) else None
