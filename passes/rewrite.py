"""The rewriting engine: rows of (name, pattern, replacement, condition, law), applied in one sweep.

A sweep copies the graph in topological order. Each new node is matched against the rows for its op, and what a
replacement builds is matched in turn, so one sweep reaches a local fixpoint. A replacement never changes a
node's type: a smaller shape is broadcast back, anything else is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol

import numpy as np

from graphc.ir import Builder, Graph, TensorType, copy_inputs, copy_into, copy_node
from graphc.ops import TABLE
from graphc.ops.record import Op
from graphc.ops.world import GraphWorld, Value


class Law(Enum):
    """What a rewrite preserves."""

    EXACT = "float-exact: every bit of the result, NaN payloads aside"
    ROUNDED = "correctly rounded: the result may be nearer to the exact value, never further"
    REAL = "real-exact: equal over the real numbers; rounding, overflow and cancellation improve"


@dataclass(frozen=True, slots=True)
class Var:
    """Matches any node; the same variable matches the same node throughout a pattern."""

    name: str


@dataclass(frozen=True, slots=True)
class Scalar:
    """Matches a constant of one repeated value: exactly `value`, or any that `accept` takes."""

    name: str
    value: float | None = None
    accept: Callable[[float], bool] | None = None

    def takes(self, value: Any) -> bool:
        if self.value is None:
            return self.accept is None or self.accept(float(value))
        # the sign of zero counts
        return bool(value == self.value) and not (self.value == 0 and bool(np.signbit(value)))


@dataclass(frozen=True, slots=True)
class Pattern:
    """Matches a node of op `op` whose operands match; attribute values may be literals or `Attr`."""

    op: str
    args: tuple[Term, ...]
    attrs: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Attr:
    """Binds an attribute's value; the same name must mean the same value."""

    name: str


Term = Pattern | Var | Scalar
Match = dict[str, Any]
CONSTANTS: Final = frozenset(("const", "broadcast_to"))  # what may hold one value
REMEMBERED: Final = 4096  # combinations of ops and values, at most
COMMUTATIVE: Final = frozenset(
    {"add", "mul", "maximum", "minimum", "eq", "ne", "logical_and", "logical_or", "hypot", "logaddexp"}
)


class Patterns:
    """Writes patterns as calls: `P.log(P.add(ONE, X))`."""

    def __getattr__(self, op: str) -> Callable[..., Pattern]:
        if op.startswith("_"):
            raise AttributeError(op)
        return lambda *args, **attrs: Pattern(op, args, tuple(sorted(attrs.items())))


P: Final = Patterns()
ONE: Final = Scalar("one", 1.0)
ZERO: Final = Scalar("zero", 0.0)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One row. `replacement` is a term, or a function `(w, match) -> value`."""

    name: str
    pattern: Pattern
    replacement: Term | Callable[[GraphWorld, Match], Any]
    law: Law
    condition: Callable[[GraphWorld, Match], bool] | None = None


class Nodes(Protocol):
    """Node data by id: a builder's list or a graph's dict."""

    def __getitem__(self, node: int, /) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Procedure:
    """A rewrite that is not a pattern. It looks at nodes that no row changed.

    `may_apply(nodes, data)` is a cheap test of whether `apply(world, id, data)` could give a value. It is asked of
    nodes with this `op` alone, if one is given.
    """

    name: str
    may_apply: Callable[[Nodes, dict[str, Any]], bool]
    apply: Callable[[RewritingWorld, int, dict[str, Any]], Value | None]
    op: str | None = None


class Procedures:
    """Procedures by the ops of the nodes that they look at, in the order given."""

    def __init__(self, procedures: Sequence[Procedure]) -> None:
        self._all = procedures
        self._by_op: dict[str, tuple[Procedure, ...]] = {}

    def possible(self, nodes: Nodes, data: dict[str, Any]) -> Iterator[Procedure]:
        """Those that may change the node."""
        op = data["op"]
        found = self._by_op.get(op)
        if found is None:
            found = self._by_op[op] = tuple(p for p in self._all if p.op in (None, op))
        for procedure in found:
            if procedure.may_apply(nodes, data):
                yield procedure


class Rows:
    """Rows by what stands at the root of their patterns and one level below, in the order given.

    Nearly every node matches no row; remembering which rows a combination of ops, and of constants of one value, could
    match makes that one lookup.
    """

    def __init__(self, rows: Sequence[Rewrite]) -> None:
        self._by_root: dict[str, list[Rewrite]] = {}
        self._possible: dict[tuple[Any, ...], tuple[Rewrite, ...]] = {}
        for row in rows:
            self._by_root.setdefault(row.pattern.op, []).append(row)

    def possible(self, nodes: Nodes, data: dict[str, Any]) -> tuple[Rewrite, ...]:
        """The rows that the node's op, and its operands' ops or values, allow."""
        root = data["op"]
        if root not in self._by_root:
            return ()
        key: list[Any] = [nodes[a]["op"] for a in data["args"]]
        values: list[Any] = [None] * len(key)
        if not CONSTANTS.isdisjoint(key):
            for k, a in enumerate(data["args"]):
                value = scalar_value(nodes, a) if key[k] in CONSTANTS else None
                if value is not None:
                    values[k] = value
                    # of bits, as NaN and zeros of both signs are values too
                    key[k] = key[k], value.dtype.char, value.tobytes()
        key.append(root)
        known = tuple(key)
        found = self._possible.get(known)
        if found is None:
            if len(self._possible) > REMEMBERED:
                self._possible.clear()
            operands = [(nodes[a]["op"], value) for a, value in zip(data["args"], values, strict=True)]
            found = tuple(r for r in self._by_root[root] if _allows(r.pattern, operands))
            self._possible[known] = found
        return found


def _allows(pattern: Pattern, operands: Sequence[tuple[str, Any]]) -> bool:
    orders = (operands, operands[::-1]) if pattern.op in COMMUTATIVE else (operands,)
    return len(operands) == len(pattern.args) and any(all(map(_fits, pattern.args, order)) for order in orders)


def _fits(term: Term, operand: tuple[str, Any]) -> bool:
    op, value = operand
    if isinstance(term, Pattern):
        return term.op == op
    return isinstance(term, Var) or (value is not None and term.takes(value))


def scalar_value(nodes: Nodes, node: int) -> Any:
    """The value of a constant scalar, or of one broadcast to a shape; None for anything else."""
    data = nodes[node]
    while data["op"] == "broadcast_to":
        data = nodes[data["args"][0]]
    if data["op"] != "const":
        return None
    array = data["attrs"][0][1].array
    return array.reshape(())[()] if array.size == 1 else None


def matches(nodes: Nodes, node: int, term: Term, match: Match) -> Iterator[Match]:
    """Every way in which the node matches the term, extending `match`."""
    if isinstance(term, Var):
        known = match.get(term.name)
        if known is None:
            yield {**match, term.name: node}
        elif known == node:
            yield match
        return
    if isinstance(term, Scalar):
        value = scalar_value(nodes, node)
        if value is not None and term.takes(value):
            yield match if term.value is not None else {**match, term.name: node}
        return
    data = nodes[node]
    args = data["args"]
    if data["op"] != term.op or len(args) != len(term.args):
        return
    if term.attrs:
        attrs = dict(data["attrs"])
        for name, wanted in term.attrs:
            if isinstance(wanted, Attr):
                if match.setdefault(wanted.name, attrs[name]) != attrs[name]:
                    return
                match = {**match, wanted.name: attrs[name]}
            elif attrs[name] != wanted:
                return
    orders = (args, args[::-1]) if term.op in COMMUTATIVE and args[0] != args[1] else (args,)
    for order in orders:
        yield from _match_all(nodes, order, term.args, match)


def _match_all(nodes: Nodes, args: tuple[int, ...], terms: tuple[Term, ...], match: Match) -> Iterator[Match]:
    if not args:
        yield match
        return
    for extended in matches(nodes, args[0], terms[0], match):
        yield from _match_all(nodes, args[1:], terms[1:], extended)


class RewritingWorld(GraphWorld):
    """A graph world in which every node built is rewritten before it is seen.

    `broadcast`: whether a smaller value may be broadcast in a node's place. NumPy adds up a broadcast array, whose
    elements lie in one place, in another order.
    """

    def __init__(self, builder: Builder, rows: Rows, procedures: Procedures, broadcast: bool = True) -> None:
        super().__init__(builder)
        self.broadcast = broadcast
        self.rows = rows
        self.procedures = procedures
        self.applied: dict[str, int] = {}
        self._rewritten: dict[int, int] = {}

    def emit(self, op: Op, operands: Sequence[Any], attrs: Any) -> Any:
        return Value(self, self.rewrite(super().emit(op, operands, attrs).id))

    def rewrite(self, node: int) -> int:
        """The node that takes this one's place."""
        known = self._rewritten.get(node)
        if known is not None:
            return known
        self._rewritten[node] = node  # a row that builds its own left side stops here
        data = self.builder.nodes[node]
        outer = self.loc, self.origin
        self.loc, self.origin = data["loc"], data["origin"]
        result = self._apply_rows(node, data)
        self.loc, self.origin = outer
        self._rewritten[node] = result
        return result

    def _apply_rows(self, node: int, data: dict[str, Any]) -> int:
        for row in self.rows.possible(self.builder.nodes, data):
            for match in matches(self.builder.nodes, node, row.pattern, {}):
                found: Match = {
                    k: Value(self, v) if type(v) is int and _names_node(row, k) else v for k, v in match.items()
                }
                if row.condition is not None and not row.condition(self, found):
                    continue
                new = self.fit(self.build(row.replacement, found), data["type"])
                if new is not None and new.id != node:
                    self.applied[row.name] = self.applied.get(row.name, 0) + 1
                    return new.id
        for procedure in self.procedures.possible(self.builder.nodes, data):
            value = procedure.apply(self, node, data)
            if value is not None and value.id != node:
                self.applied[procedure.name] = self.applied.get(procedure.name, 0) + 1
                return value.id
        return node

    def build(self, term: Term | Callable[[GraphWorld, Match], Any], match: Match) -> Any:
        """Instantiate a replacement."""
        if isinstance(term, (Var, Scalar)):
            return term.value if isinstance(term, Scalar) and term.value is not None else match[term.name]
        if isinstance(term, Pattern):
            attrs = {k: match[v.name] if isinstance(v, Attr) else v for k, v in term.attrs}
            return self.apply(term.op, self.lift([self.build(a, match) for a in term.args]), **attrs)
        return term(self, match)

    def fit(self, value: Any, type: TensorType) -> Value | None:
        """The value broadcast to `type`'s shape; None if the row does not fit here."""
        if value is None or not isinstance(value, Value):
            return None
        have = value.type
        if have is type:
            return value
        if have.dtype != type.dtype or have.ndim > type.ndim:
            return None
        if have.shape != type.shape:
            if not self.broadcast:
                return None
            value = self.broadcast_to(value, shape=type.shape)
        fitted: Value = value if value.type is type else self.convert(value, type.dtype, type.weak)
        return fitted


def _names_node(row: Rewrite, name: str) -> bool:
    return name not in _attr_names(row.pattern)


def _attr_names(term: Term) -> frozenset[str]:
    if not isinstance(term, Pattern):
        return frozenset()
    own = {v.name for _, v in term.attrs if isinstance(v, Attr)}
    return frozenset(own).union(*map(_attr_names, term.args))


def rewrite_graph(
    graph: Graph, rows: Rows, procedures: Sequence[Procedure] = (), broadcast: bool = True
) -> tuple[Graph, dict[str, int]]:
    """Sweep once; return the new graph (the same object if nothing changed) and how often each row applied."""
    by_op = Procedures(procedures)
    if not _may_change(graph, rows, by_op):
        return graph, {}
    builder = Builder(graph.name)
    w = RewritingWorld(builder, rows, by_op, broadcast)
    nodes = graph._node

    def node_rule(old: int, data: dict[str, Any], args: tuple[int, ...]) -> int:
        return w.rewrite(copy_node(builder, data, args, ids))

    ids: dict[int, int] = {}
    copy_into(builder, graph, copy_inputs(builder, graph), node_rule, ids)
    outputs = [ids[o] for o in graph.outputs]
    if not w.applied and len(builder.nodes) == len(nodes):
        return graph, {}
    return builder.finish(outputs, graph.graph["donated"]), w.applied


def _may_change(graph: Graph, rows: Rows, procedures: Procedures) -> bool:
    """Whether anything in the graph as it stands matches; looking costs far less than copying."""
    nodes = graph._node
    for i, data in nodes.items():
        for row in rows.possible(nodes, data):
            if next(matches(nodes, i, row.pattern, {}), None) is not None:
                return True
        if next(procedures.possible(nodes, data), None) is not None:
            return True
    return False


def is_elementwise(name: str) -> bool:
    op = TABLE.get(name)
    return op is not None and op.elementwise
