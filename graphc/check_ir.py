"""The verifier: a graph keeps the rules of the IR, and its nodes have the types that their ops give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import numpy as np

from graphc import dims
from graphc.dims import Dim, Size
from graphc.errors import GraphcError, IRError, Loc
from graphc.ir import DTYPES, NOTHING, Callback, Constant, Graph, Guard, TensorType, TupleType, Type

FIELDS: Final = frozenset({"op", "args", "attrs", "type", "loc", "region", "origin"})
RELATIONS: Final = ("==", "!=", "<", "<=")
MAX_NESTING: Final = 40  # of graphs and tuples inside one another: each of them has a text that can be read back


class Record(Protocol):
    """What the verifier reads of an op's record."""

    @property
    def type(self) -> Callable[..., Type]: ...
    @property
    def domains(self) -> tuple[str, ...]: ...
    @property
    def elementwise(self) -> bool: ...


Line = Callable[[Graph, int], str]


def check_ir(
    graph: Graph,
    table: Mapping[str, Record],
    facts: Callable[[dict[Guard, None]], Any],
    line: Line | None = None,
) -> None:
    """Raise IRError, with the graph line, unless the graph keeps the rules of the IR.

    `table` holds the records of the ops. `facts(guards)` makes what their type rules ask about sizes: it must
    accept the guards and assume nothing more. `line` shows a node, as `text.format_node` does; without it,
    ids are shown as they are.

    >>> from graphc.ir import Builder
    >>> check_ir(Builder("empty").finish(()), {}, dict)
    """
    _Check(graph, table, facts, line, {}, frozenset(), 0).run()


class _Check:
    """One graph under check: `guards` and `symbols` are also those of the graphs around it."""

    def __init__(
        self,
        graph: Graph,
        table: Mapping[str, Record],
        facts: Callable[[dict[Guard, None]], Any],
        line: Line | None,
        guards: Mapping[Guard, None],
        symbols: frozenset[str],
        nesting: int,
    ) -> None:
        self.graph, self.table, self.facts, self.line, self.nesting = graph, table, facts, line, nesting
        self.nodes: dict[int, dict[str, Any]] = graph._node
        self.guards: dict[Guard, None] = dict(guards)
        self.symbols = symbols
        self.sound = False  # whether `line` may be asked
        self.bound: dict[Type, bool] = {}
        self.results: dict[tuple[Any, ...], Type] = {}

    def run(self) -> None:
        # Structure first: what follows, `line` included, then meets only ids that exist.
        self.state()
        for i, data in self.nodes.items():
            self.structure(i, data)
        self.edges()
        self.interface()
        self.check_guards()
        self.sound = True
        fresh = self.facts(self.guards)
        for i, data in self.nodes.items():
            self.meaning(i, data, fresh)

    # the parts of a graph

    def state(self) -> None:
        state = self.graph.graph
        if not isinstance(state.get("name"), str):
            raise IRError("a graph needs a name", expected="a str", actual=repr(state.get("name")))
        for key in ("inputs", "outputs", "guards", "donated"):
            if type(state.get(key)) is not tuple:
                raise IRError(f"the graph's {key} are no tuple", actual=repr(state.get(key))[:80])
        for position, i in enumerate(self.nodes):
            if type(i) is not int or i != position:
                raise IRError("node ids are not 0, 1, 2, ... in order", expected=str(position), actual=repr(i))

    def structure(self, i: int, data: dict[str, Any]) -> None:
        if data.keys() - {"name"} != FIELDS:
            raise IRError(f"node {i} has other fields", expected=" ".join(sorted(FIELDS)), actual=repr(set(data)))
        if not isinstance(data["op"], str):
            raise self.broken(i, "the op's name is no str")
        if not isinstance(data.get("name", ""), str):
            raise self.broken(i, "a name is a str", actual=repr(data["name"]))
        if type(data["args"]) is not tuple:
            raise self.broken(i, "the operands are no tuple")
        for a in data["args"]:
            if type(a) is not int or not 0 <= a < i:
                raise self.broken(i, "an operand does not come before its user", f"an id below {i}", repr(a))
        if type(data["region"]) is not int or data["region"] < 0:
            raise self.broken(i, "a region is an int of at least 0", actual=repr(data["region"]))
        origin = data["origin"]
        if origin is not None and (type(origin) is not int or not 0 <= origin < i):
            raise self.broken(i, "the origin does not come before", f"None or an id below {i}", repr(origin))
        if type(data["loc"]) is not tuple or not all(isinstance(one, Loc) for one in data["loc"]):
            raise self.broken(i, "the locations are no tuple of Loc", actual=repr(data["loc"]))
        self.attributes(i, data["attrs"])
        self.sizes_of(i, data["type"])

    def attributes(self, i: int, attrs: Any) -> None:
        if type(attrs) is not tuple or not all(type(pair) is tuple and len(pair) == 2 for pair in attrs):
            raise self.broken(i, "the attributes are no tuple of pairs", actual=repr(attrs)[:80])
        names = [name for name, _ in attrs]
        if not all(isinstance(name, str) and name.isidentifier() for name in names):
            raise self.broken(i, "an attribute's name is no identifier", actual=repr(names))
        if sorted(set(names)) != names:
            raise self.broken(i, "the attributes are not in order", " ".join(sorted(set(names))), " ".join(names))
        for name, value in attrs:
            self.value(i, name, value, self.nesting)

    def value(self, i: int, name: str, value: Any, nesting: int) -> None:
        """Values are compared by ==, so that a NaN would make a graph differ from itself."""
        if nesting > MAX_NESTING:
            raise self.broken(i, f"attribute {name} is nested too deeply", f"at most {MAX_NESTING} levels")
        match value:
            case tuple() if type(value) is tuple:
                for one in value:
                    self.value(i, name, one, nesting + 1)
            case None | bool() | Dim() | TensorType() | Constant() | Callback() | Graph():
                return
            case int() | str() if type(value) in (int, str):
                return
            case float() if type(value) is float and value == value:
                return
            case np.dtype() if value in DTYPES.values():
                return
            case _:
                raise self.broken(
                    i,
                    f"attribute {name} has a value that graphs do not hold",
                    "None, a Python bool, int, float (not nan) or str, a size, dtype, type, constant, callback, "
                    "graph, or a tuple of these",
                    f"{type(value).__name__} {value!r}"[:80],
                )

    def sizes_of(self, i: int, kind: Any) -> None:
        items = kind.items if isinstance(kind, TupleType) else (kind,)
        for item in items:
            if not isinstance(item, TensorType):
                raise self.broken(i, "the type is none", "a TensorType, or a TupleType of them", repr(item)[:80])
            for size in item.shape:
                if not _is_size(size) or _negative(size):
                    raise self.broken(i, "a size of the type is none", "at least 0", repr(size)[:80])

    def edges(self) -> None:
        """The edges are the index of the operands, no more and no less."""
        graph = self.graph
        count = 0
        for i, data in self.nodes.items():
            before = graph._pred[i].keys()
            count += len(before)
            if before != set(data["args"]) or any(i not in graph._succ[a] for a in before):
                raise self.broken(i, "the edges are not the operands", str(sorted(set(data["args"]))), str([*before]))
        if sum(map(len, graph._succ.values())) != count:
            raise IRError("the graph has edges that are no operands")

    def interface(self) -> None:
        graph, nodes = self.graph, self.nodes
        for what in ("inputs", "outputs"):
            for i in graph.graph[what]:
                if type(i) is not int or i not in nodes:
                    raise IRError(f"one of the graph's {what} is no node", actual=repr(i))
        listed = set(graph.inputs)
        for i, data in nodes.items():
            if (data["op"] == "input") != (i in listed):
                raise self.broken(i, "the graph's inputs are not its nodes of op input", actual=str(graph.inputs))
        if len(listed) != len(graph.inputs):
            raise IRError("an input stands twice", actual=str(graph.inputs))
        names: dict[str, int] = {}
        for i in graph.inputs:
            self.input(i, nodes[i], names)
        for i in graph.outputs:
            if isinstance(nodes[i]["type"], TupleType):
                raise self.broken(i, "a result of the graph is a tuple", "an array", "take one by get[index=0]")
        donated = graph.graph["donated"]
        if not all(type(k) is int and 0 <= k < len(graph.inputs) for k in donated) or [*donated] != sorted({*donated}):
            raise IRError("the donated are not positions of inputs, each once, in order", actual=repr(donated))

    def input(self, i: int, data: dict[str, Any], names: dict[str, int]) -> None:
        match data["attrs"]:
            case (("name", str() as name),) if not data["args"] and not data["region"] and data["origin"] is None:
                if names.setdefault(name, i) != i:
                    raise self.broken(i, "two inputs have one name", actual=name)
            case _:
                raise self.broken(i, "an input has a name, and no operands, region or origin")
        if not isinstance(data["type"], TensorType):
            raise self.broken(i, "an input is an array", actual=repr(data["type"]))
        self.symbols |= _symbols(data["type"].shape)

    def check_guards(self) -> None:
        for guard in self.graph.guards:
            if getattr(guard, "relation", None) not in RELATIONS:
                raise IRError("a guard is none", expected=f"a Guard: {' '.join(RELATIONS)}", actual=repr(guard)[:80])
            for size in (guard.left, guard.right):
                if not _is_size(size):
                    raise IRError("a side of a guard is no size", actual=repr(size)[:80])
            if free := _symbols((guard.left, guard.right)) - self.symbols:
                raise IRError(
                    f"guard {guard}: no input's shape has {', '.join(sorted(free))}",
                    expected=f"symbols among {', '.join(sorted(self.symbols)) or 'none'}",
                )
            self.guards[guard] = None

    # what nodes mean

    def meaning(self, i: int, data: dict[str, Any], fresh: Any) -> None:
        op, attrs, type = data["op"], data["attrs"], data["type"]
        if type not in self.bound:
            items = type.items if isinstance(type, TupleType) else (type,)
            self.free_symbols(i, frozenset[str]().union(*(_symbols(item.shape) for item in items)))
            self.bound[type] = True
        if op == "input":
            return
        for _, value in attrs:
            self.inner(i, value, self.nesting)
        types = tuple([self.nodes[a]["type"] for a in data["args"]])
        if NOTHING in types:
            raise self.broken(i, "an operand has no result: it is an effect", actual=str(types))
        key = (op, types, attrs)
        expected = self.results.get(key)
        if expected is None:
            expected = self.results[key] = self.result(i, op, types, dict(attrs), fresh)
        if expected != type:
            raise self.broken(i, f"{op}: the node's type is not what its op gives", repr(expected), repr(type))

    def result(self, i: int, op: str, types: tuple[Type, ...], attrs: dict[str, Any], fresh: Any) -> Type:
        if op == "const":
            # the IR's own op, like input: its type is known even where the content is only named
            match attrs:
                case {"value": Constant() as value, "weak": bool() as weak} if len(attrs) == 2 and not types:
                    return TensorType(value.shape, value.dtype, weak)
            raise self.broken(i, "a constant has a value and a weakness, and no operands")
        record = self.table.get(op)
        if record is None:
            raise self.broken(i, f"there is no op called {op}")
        arity = len(record.domains)
        if record.elementwise and len(types) != arity:
            raise self.broken(i, f"{op}: wrong number of operands", str(arity), str(len(types)))
        try:
            return record.type(fresh, *types, **attrs)
        except GraphcError as error:
            raise self.broken(i, error.problem, error.expected, error.actual) from error
        except Exception as error:
            # a rule trusts the number of operands and the kinds of attributes, which a graph read from a text
            # may have wrong in any way
            problem = f"{op}: its type rule cannot take these operands and attributes"
            raise self.broken(i, problem, actual=f"{type(error).__name__}: {error}"[:200]) from error

    def inner(self, i: int, value: Any, nesting: int) -> None:
        """Check nested graphs, and that the sizes among attributes can be known."""
        if isinstance(value, tuple):
            for one in value:
                self.inner(i, one, nesting + 1)
        elif isinstance(value, Dim):
            self.free_symbols(i, dims.symbols(value))
        elif isinstance(value, TensorType):
            self.free_symbols(i, _symbols(value.shape))
        elif isinstance(value, Graph):
            if nesting >= MAX_NESTING:
                raise self.broken(i, "graphs are nested too deeply", f"at most {MAX_NESTING} levels")
            _Check(value, self.table, self.facts, self.line, self.guards, self.symbols, nesting + 1).run()

    def free_symbols(self, i: int, used: frozenset[str]) -> None:
        if free := used - self.symbols:
            raise self.broken(
                i,
                f"no input's shape has {', '.join(sorted(free))}",
                f"symbols among {', '.join(sorted(self.symbols)) or 'none'}",
            )

    def broken(self, i: int, problem: str, expected: str | None = None, actual: str | None = None) -> IRError:
        loc = self.nodes[i]["loc"]
        first = loc[0] if type(loc) is tuple and loc and isinstance(loc[0], Loc) else None
        line = self.line(self.graph, i) if self.line is not None and self.sound else self.plain_line(i)
        return IRError(problem, expected=expected, actual=actual, loc=first, graph_line=line)

    def plain_line(self, i: int) -> str:
        """The node by its ids, whatever they are."""
        data = self.nodes[i]
        args = data["args"] if isinstance(data["args"], (tuple, list)) else (data["args"],)
        known = [self.nodes[a].get("type") if isinstance(a, int) and a in self.nodes else "?" for a in args]
        operands = ", ".join(f"%{a}: {kind!s}" for a, kind in zip(args, known, strict=True))
        return f"%{i}: {data['type']} = {data['op']}({operands})"


def _is_size(size: Any) -> bool:
    return type(size) is int or isinstance(size, Dim)


def _negative(size: Size) -> bool:
    return size < 0 if isinstance(size, int) else dims.less(size, 0) is True


def _symbols(sizes: Iterable[Size]) -> frozenset[str]:
    return frozenset[str]().union(*(dims.symbols(size) for size in sizes if isinstance(size, Dim)))
