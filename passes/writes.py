"""Writes into arrays, one after the other: reads that find what was written, and chains of writes as one concatenation.

In-place code traces to a chain of `insert_slice`, each a copy of the array with a part replaced. Most of such a chain
need not be: a read that only sees what one write put there is that value, and an array that many writes fill is their
values side by side. A loop of n writes then costs n elements, not n arrays, and so does its derivative.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from graphc.ir import Builder, Graph, copy_inputs, copy_into, copy_node, static_shape
from graphc.ops.world import GraphWorld, Value
from graphc.passes.rewrite import Nodes, Procedure, RewritingWorld, Rows, rewrite_graph

MOST_WRITES: Final = 256  # so many writes a read looks through; a longer way back could make a sweep quadratic
MOST_PIECES: Final = 8  # so many values a read is put together from
FEWEST_WRITES: Final = 4  # so many writes become one concatenation where they leave elements of the array as they are

Index = tuple[tuple[Any, Any, int], ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Elements start to stop along an axis, all others whole; without an axis, of the elements in one line."""

    axis: int | None
    start: int
    stop: int


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """Elements start to stop of an array: those of a node's value from `offset` on."""

    start: int
    stop: int
    node: int
    offset: int


@lru_cache(maxsize=2**14)
def span_along(index: Index, shape: tuple[Any, ...], axis: int | None) -> Span | None:
    """A slice as one span along an axis, or in one line; None if it is not."""
    bounds = []
    for start, stop, step in index:
        if step != 1 or not isinstance(start, int) or not isinstance(stop, int):
            return None
        bounds.append((start, stop))
    whole = [one == (0, size) for one, size in zip(bounds, shape, strict=True)]
    if axis is not None:
        return Span(axis, *bounds[axis]) if all(whole[:axis]) and all(whole[axis + 1 :]) else None
    # in one line: single positions first, then one range, then whole axes
    split = next((k for k, (start, stop) in enumerate(bounds) if stop - start != 1), len(bounds) - 1)
    if not all(whole[split + 1 :]):
        return None
    first = sum(start * math.prod(shape[k + 1 :]) for k, (start, _) in enumerate(bounds))
    count = (bounds[split][1] - bounds[split][0]) * math.prod(shape[split + 1 :])
    return Span(None, first, first + count)


def spans(data: Mapping[str, Any], shape: tuple[Any, ...]) -> Iterator[Span]:
    """The ways to see the slice of a node as one span; none where sizes are symbolic, or there is no axis."""
    if static_shape(shape) is not None and shape:
        for axis in (None, *range(len(shape))):
            span = span_along(index_of(data), shape, axis)
            if span is not None:
                yield span


def index_of(data: Mapping[str, Any]) -> Index:
    """The attribute `index` of a slice or of a write."""
    return next(value for name, value in data["attrs"] if name == "index")


def may_read(nodes: Nodes, data: dict[str, Any]) -> bool:
    return bool(nodes[data["args"][0]]["op"] == "insert_slice")


def read(w: RewritingWorld, node: int, data: dict[str, Any]) -> Value | None:
    """slice(insert_slice(x, u)) -> what of u and of x it shows (float-exact)."""
    nodes = w.builder.nodes
    array = data["args"][0]
    shape = nodes[array]["type"].shape
    for span in spans(data, shape):
        found = _looked_up(nodes, array, span, shape, data["region"])
        if found is not None:
            value = joined(w, found, span.axis, shape)
            return value if value.type.shape == data["type"].shape else w.reshape(value, shape=data["type"].shape)
    return None


def _looked_up(nodes: Nodes, array: int, span: Span, shape: tuple[Any, ...], region: int) -> list[Piece] | None:
    """Where the elements of a span come from, past the writes that do not touch it; None if nothing is won."""
    if span.start >= span.stop:
        return None
    pieces: list[Piece] = []
    missing = [(span.start, span.stop)]
    at = array
    for _ in range(MOST_WRITES):
        data = nodes[at]
        if data["op"] != "insert_slice" or data["region"] != region or not missing:
            break
        written = span_along(index_of(data), shape, span.axis)
        if written is None:
            break
        left: list[tuple[int, int]] = []
        for start, stop in missing:
            low, high = max(start, written.start), min(stop, written.stop)
            if low >= high:
                left.append((start, stop))
                continue
            pieces.append(Piece(low, high, data["args"][1], low - written.start))
            left.extend((a, b) for a, b in ((start, low), (high, stop)) if a < b)
        missing = left
        at = data["args"][0]
    pieces.extend(Piece(start, stop, at, start) for start, stop in missing)
    if at == array or len(pieces) > MOST_PIECES:
        return None
    return sorted(pieces)


def joined(w: GraphWorld, pieces: list[Piece], axis: int | None, shape: tuple[Any, ...]) -> Value:
    """The pieces side by side, in one line or along an axis."""
    parts = []
    for piece in pieces:
        value: Any = Value(w, piece.node)
        if axis is None and value.type.ndim != 1:
            value = w.reshape(value, shape=(math.prod(value.type.shape),))
        along = axis or 0
        if piece.stop - piece.start != value.type.shape[along]:
            one = (piece.offset, piece.offset + piece.stop - piece.start, 1)
            value = w.slice(
                value, index=tuple(one if k == along else (0, d, 1) for k, d in enumerate(value.type.shape))
            )
        parts.append(value)
    return parts[0] if len(parts) == 1 else w.apply("concatenate", parts, axis=axis or 0)  # type: ignore[no-any-return]


READ: Final = Procedure("slice(insert_slice(x, u)) -> what it shows", may_read, read, "slice")
NO_ROWS: Final = Rows(())


def forward_writes(graph: Graph) -> tuple[Graph, Mapping[str, int]]:
    """Give each read of an array the values that were written there (float-exact)."""
    if not any(data["op"] == "insert_slice" for data in graph._node.values()):
        return graph, {}
    graph, applied = rewrite_graph(graph, NO_ROWS, (READ,))
    graph, more = join_writes(graph)
    return graph, {**applied, **more}


def join_writes(graph: Graph) -> tuple[Graph, Mapping[str, int]]:
    """Make one concatenation of each chain of writes of which only the end is read (float-exact)."""
    nodes = graph._node
    chains = {end: pieces for end in nodes if (pieces := _chain(graph, end)) is not None}
    if not chains:
        return graph, {}
    builder = Builder(graph.name)
    w = GraphWorld(builder)
    ids: dict[int, int] = {}

    def node_rule(old: int, data: dict[str, Any], args: tuple[int, ...]) -> int:
        if old not in chains:
            return copy_node(builder, data, args, ids)
        axis, pieces = chains[old]
        w.loc, w.origin = data["loc"], ids.get(data["origin"])
        value = joined(w, [Piece(p.start, p.stop, ids[p.node], p.offset) for p in pieces], axis, data["type"].shape)
        return (value if axis is not None else w.reshape(value, shape=data["type"].shape)).id

    copy_into(builder, graph, copy_inputs(builder, graph), node_rule, ids)
    outputs = [ids[o] for o in graph.outputs]
    return builder.finish(outputs, graph.graph["donated"]), {"writes -> concatenate": len(chains)}


def _chain(graph: Graph, end: int) -> tuple[int | None, list[Piece]] | None:
    """The pieces of which a chain of writes that ends here is made, and along which axis; None if it stays."""
    nodes = graph._node
    data = nodes[end]
    if data["op"] != "insert_slice" or _is_inner(graph, end):
        return None
    shape = data["type"].shape
    best: tuple[int, int | None, list[Piece]] | None = None
    for span in spans(data, shape):
        total = math.prod(shape) if span.axis is None else shape[span.axis]
        if not total:
            continue
        pieces: list[Piece] = []
        covered = _Covered()
        at, count = end, 0
        while (
            nodes[at]["op"] == "insert_slice"
            and nodes[at]["region"] == data["region"]
            and (at == end or _is_inner(graph, at))
        ):
            written = span_along(index_of(nodes[at]), shape, span.axis)
            if written is None:
                break
            source = nodes[at]["args"][1]
            for start, stop in covered.add(written.start, written.stop):
                pieces.append(Piece(start, stop, source, start - written.start))
            at, count = nodes[at]["args"][0], count + 1
        rest = covered.add(0, total)
        pieces.extend(Piece(start, stop, at, start) for start, stop in rest)
        if count > 1 and (not rest or count >= FEWEST_WRITES) and (best is None or count > best[0]):
            best = count, span.axis, sorted(pieces)
    return None if best is None else best[1:]


def _is_inner(graph: Graph, node: int) -> bool:
    """Whether a write is read only by the next one."""
    if node in graph.outputs:
        return False
    readers = list(graph._succ[node])
    if len(readers) != 1:
        return False
    data = graph._node[readers[0]]
    return bool(data["op"] == "insert_slice" and data["args"][0] == node and data["args"][1] != node)


class _Covered:
    """Disjoint intervals of which it is known where they come from."""

    def __init__(self) -> None:
        self.known: list[tuple[int, int]] = []

    def add(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Add an interval; what of it was not there."""
        new: list[tuple[int, int]] = []
        k = bisect_left(self.known, (start,))
        if k and self.known[k - 1][1] > start:
            start = self.known[k - 1][1]
        while start < stop:
            nearest = self.known[k][0] if k < len(self.known) else stop
            end = min(stop, nearest)
            if start < end:
                new.append((start, end))
            if k < len(self.known):
                start = max(start, self.known[k][1])
                k += 1
            else:
                break
        for one in new:
            insort(self.known, one)
        return new
