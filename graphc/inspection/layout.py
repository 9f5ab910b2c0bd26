"""A layered layout of a dataflow graph: operands above results, few crossings, long edges led around boxes.

The method is that of Sugiyama, Tagawa and Toda (1981): rank the nodes, split long edges by dummy nodes, order each
layer by barycentres, then give coordinates.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import networkx as nx

Node = Hashable
Point = tuple[float, float]

SWEEPS: Final = 24
GAP: Final = 0.3  # between neighbours in a layer
DUMMY_WIDTH: Final = 0.1  # what an edge that passes through a layer takes there


@dataclass(frozen=True, slots=True)
class Layout:
    """Centres of the nodes and the points each edge passes; y grows downwards, one layer after another."""

    centres: Mapping[Any, Point]
    routes: Mapping[tuple[Any, Any], tuple[Point, ...]]
    width: float
    layers: int


def layered(graph: nx.DiGraph[Any], widths: Mapping[Any, float]) -> Layout:
    """Lay out an acyclic graph whose nodes are boxes of the given widths.

    >>> layout = layered(nx.DiGraph([("x", "y"), ("y", "z"), ("x", "z")]), {"x": 1.0, "y": 1.0, "z": 1.0})
    >>> [layout.centres[node][1] for node in "xyz"]
    [0, 1, 2]
    """
    layers, above, below = _with_dummies(graph, _ranks(graph))
    _order(layers, above, below)
    x = _coordinates(layers, above, below, widths)
    height = {node: rank for rank, layer in enumerate(layers) for node in layer}
    left = min((x[n] - widths[n] / 2 for n in graph), default=0.0)
    right = max((x[n] + widths[n] / 2 for n in graph), default=0.0)
    centres = {node: (x[node] - left, height[node]) for node in graph}
    routes = {}
    for a, b in graph.edges:
        between = [("edge", a, b, rank) for rank in range(height[a] + 1, height[b])]
        routes[a, b] = tuple((x[n] - left, float(height[n])) for n in (a, *between, b))
    return Layout(centres, routes, right - left, len(layers))


def _ranks(graph: nx.DiGraph[Any]) -> dict[Node, int]:
    """The layer of each node: below all its operands, and a source just above its first consumer."""
    ranks = {node: rank for rank, layer in enumerate(nx.topological_generations(graph)) for node in layer}
    for node in graph:
        if not graph.in_degree(node) and graph.out_degree(node):
            ranks[node] = min(ranks[consumer] for consumer in graph.successors(node)) - 1
    return ranks


def _with_dummies(graph: nx.DiGraph[Any], ranks: Mapping[Node, int]) -> tuple[list[list[Node]], dict[Node, list[Node]], dict[Node, list[Node]]]:
    """Layers in which every edge joins neighbours, and each node's neighbours above and below."""
    layers: list[list[Node]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    for node in graph:
        layers[ranks[node]].append(node)
    above: dict[Node, list[Node]] = {node: [] for node in graph}
    below: dict[Node, list[Node]] = {node: [] for node in graph}
    for a, b in graph.edges:
        last = a
        for rank in range(ranks[a] + 1, ranks[b]):
            dummy = ("edge", a, b, rank)
            layers[rank].append(dummy)
            above[dummy], below[dummy] = [last], []
            below[last].append(dummy)
            last = dummy
        above[b].append(last)
        below[last].append(b)
    return layers, above, below


def _order(layers: list[list[Node]], above: Mapping[Node, list[Node]], below: Mapping[Node, list[Node]]) -> None:
    """Sort each layer by the barycentres of its neighbours, down and up; keep the order with the fewest crossings."""
    best = [list(layer) for layer in layers]
    fewest = _crossings(layers, below)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        neighbours = above if down else below
        for rank in range(1, len(layers)) if down else range(len(layers) - 2, -1, -1):
            fixed = layers[rank - 1] if down else layers[rank + 1]
            place = {node: k for k, node in enumerate(fixed)}
            own = {node: k for k, node in enumerate(layers[rank])}
            # a node without neighbours there stays where it stands, relative to the length of the other layer
            stretch = len(fixed) / len(own)
            layers[rank].sort(key=lambda n: _mean([place[m] for m in neighbours[n]], own[n] * stretch))
        crossings = _crossings(layers, below)
        if crossings < fewest:
            fewest, best = crossings, [list(layer) for layer in layers]
        if not fewest:
            break
    layers[:] = best


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(layers: Sequence[Sequence[Node]], below: Mapping[Node, list[Node]]) -> int:
    """Pairs of edges that cross, over all neighbouring layers."""
    total = 0
    for upper, lower in zip(layers, layers[1:], strict=False):
        place = {node: k for k, node in enumerate(lower)}
        ends = [e for node in upper for e in sorted(place[m] for m in below[node])]
        total += sum(ends[i] > ends[j] for i in range(len(ends)) for j in range(i + 1, len(ends)))
    return total


def _coordinates(
    layers: Sequence[Sequence[Node]],
    above: Mapping[Node, list[Node]],
    below: Mapping[Node, list[Node]],
    widths: Mapping[Any, float],
) -> dict[Node, float]:
    """Horizontal positions: each node as near to the mean of its neighbours as the order in its layer allows."""
    x: dict[Node, float] = {}
    offsets: list[list[float]] = []
    for layer in layers:
        position, row = 0.0, []
        for k, node in enumerate(layer):
            width = widths.get(node, DUMMY_WIDTH)
            position += (widths.get(layer[k - 1], DUMMY_WIDTH) + width) / 2 + GAP if k else 0.0
            row.append(position)
        offsets.append(row)
        for node, offset in zip(layer, row, strict=True):
            x[node] = offset - row[-1] / 2
    for sweep in range(SWEEPS):
        for rank in range(len(layers)) if sweep % 2 == 0 else reversed(range(len(layers))):
            layer = layers[rank]
            wanted, weights = [], []
            for node in layer:
                near = [*above[node], *below[node]]
                wanted.append(_mean([x[m] for m in near], x[node]))
                # straight long edges matter more than centred boxes
                weights.append(4.0 if node not in widths else 1.0)
            shifts = [w - o for w, o in zip(wanted, offsets[rank], strict=True)]
            for node, shift, offset in zip(layer, _increasing(shifts, weights), offsets[rank], strict=True):
                x[node] = shift + offset
    return x


def _increasing(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The non-decreasing numbers nearest to `values` by weighted least squares (pool adjacent violators).

    >>> _increasing([1.0, 3.0, 2.0], [1.0, 1.0, 1.0])
    [1.0, 2.5, 2.5]
    """
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        mean, total, count = value, weight, 1
        while blocks and blocks[-1][0] > mean:
            before, mass, length = blocks.pop()
            mean = (before * mass + mean * total) / (mass + total)
            total, count = total + mass, count + length
        blocks.append((mean, total, count))
    return [mean for mean, _, count in blocks for _ in range(count)]
