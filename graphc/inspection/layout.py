"""A layered layout of a dataflow graph: operands above results, few crossings, long edges led around boxes.

The method is that of Gansner, Koutsofios, North and Vo, "A technique for drawing directed graphs" (1993): rank the
nodes, split long edges by dummy nodes, order each layer by barycentres, then place the nodes by a linear program.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import networkx as nx
import numpy as np

Node = Hashable
Point = tuple[float, float]
Link = tuple[Node, Node]

SWEEPS: Final = 24
GAP: Final = 0.25  # between neighbours in a layer
DUMMY_WIDTH: Final = 0.05  # what an edge that passes through a layer takes there
STRAIGHT: Final = (1.0, 2.0, 8.0)  # how much an edge between boxes, at a box, or between dummies wants to be vertical


@dataclass(frozen=True, slots=True)
class Layout:
    """Centres of the boxes and the points each edge passes; y is the layer's number, growing downwards."""

    centres: Mapping[Any, Point]
    routes: Mapping[tuple[Any, Any], tuple[Point, ...]]
    width: float
    layers: int


def layered(graph: nx.DiGraph[Any], widths: Mapping[Any, float]) -> Layout:
    """Lay out an acyclic graph whose nodes are boxes of the given widths.

    The edge attribute `port`, if present, says how far from the middle of the lower box the edge ends.

    >>> layout = layered(nx.DiGraph([("x", "y"), ("y", "z"), ("x", "z")]), {"x": 1.0, "y": 1.0, "z": 1.0})
    >>> [layout.centres[node][1] for node in "xyz"]
    [0.0, 1.0, 2.0]
    """
    ranks = _ranks(graph)
    layers, links = _split(graph, ranks)
    _order(layers, links)
    x = _coordinates(layers, links, widths)
    left = min((x[n] - widths[n] / 2 for n in graph), default=0.0)
    right = max((x[n] + widths[n] / 2 for n in graph), default=0.0)
    routes = {}
    for a, b, port in graph.edges(data="port", default=0.0):
        between = [("edge", a, b, rank) for rank in range(ranks[a] + 1, ranks[b])]
        points = [(x[n] - left, float(rank)) for rank, n in enumerate((a, *between, b), start=ranks[a])]
        points[-1] = (points[-1][0] + port, points[-1][1])
        routes[a, b] = tuple(points)
    centres = {node: (x[node] - left, float(ranks[node])) for node in graph}
    return Layout(centres, routes, right - left, len(layers))


def _ranks(graph: nx.DiGraph[Any]) -> dict[Node, int]:
    """The layer of each node: below its operands, and down at its consumers where that shortens the edges."""
    ranks = {node: rank for rank, layer in enumerate(nx.topological_generations(graph)) for node in layer}
    for node in reversed(list(nx.topological_sort(graph))):
        if graph.in_degree(node) <= graph.out_degree(node) and graph.out_degree(node):
            ranks[node] = min(ranks[consumer] for consumer in graph.successors(node)) - 1
    highest = min(ranks.values(), default=0)
    return {node: rank - highest for node, rank in ranks.items()}


def _split(graph: nx.DiGraph[Any], ranks: Mapping[Node, int]) -> tuple[list[list[Node]], dict[Link, float]]:
    """Layers with dummy nodes, so that every link joins neighbouring layers; links map to their ports."""
    layers: list[list[Node]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    links: dict[Link, float] = {}
    for node in graph:
        layers[ranks[node]].append(node)
    for a, b, port in graph.edges(data="port", default=0.0):
        last = a
        for rank in range(ranks[a] + 1, ranks[b]):
            dummy = ("edge", a, b, rank)
            layers[rank].append(dummy)
            links[last, dummy] = 0.0
            last = dummy
        links[last, b] = port
    return layers, links


def _order(layers: list[list[Node]], links: Mapping[Link, float]) -> None:
    """Sort each layer by the barycentres of its neighbours, down and up; keep the order with the fewest crossings."""
    above: dict[Node, list[tuple[Node, float]]] = {node: [] for layer in layers for node in layer}
    below: dict[Node, list[tuple[Node, float]]] = {node: [] for layer in layers for node in layer}
    for (a, b), port in links.items():
        above[b].append((a, 0.0))
        below[a].append((b, port))
    best, fewest = [list(layer) for layer in layers], _crossings(layers, below)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for rank in range(1, len(layers)) if down else range(len(layers) - 2, -1, -1):
            fixed = layers[rank - 1] if down else layers[rank + 1]
            place = {node: k for k, node in enumerate(fixed)}
            key = {}
            for k, node in enumerate(layers[rank]):
                near = [place[m] + port for m, port in (above if down else below)[node]]
                # a node without neighbours there keeps its place, relative to the length of the other layer
                key[node] = sum(near) / len(near) if near else k * len(fixed) / len(layers[rank])
            layers[rank].sort(key=key.__getitem__)
        crossings = _crossings(layers, below)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
        if not fewest:
            break
    layers[:] = best


def _crossings(layers: Sequence[Sequence[Node]], below: Mapping[Node, list[tuple[Node, float]]]) -> int:
    """Pairs of links that cross, over all neighbouring layers."""
    total = 0
    for upper, lower in pairwise(layers):
        place = {node: k for k, node in enumerate(lower)}
        ends = np.array([e for node in upper for e in sorted(place[m] + port for m, port in below[node])])
        total += int(np.triu(ends[:, None] > ends[None, :]).sum())
    return total


def _coordinates(
    layers: Sequence[Sequence[Node]], links: Mapping[Link, float], widths: Mapping[Any, float]
) -> dict[Node, float]:
    """The horizontal positions that keep the order and the gaps, with the least total deviation from vertical links.

    A linear program: minimise the sum of weight * t over the links, where t >= |x[b] + port - x[a]|.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    number = {node: k for k, node in enumerate(node for layer in layers for node in layer)}
    rows: list[tuple[int, int, float]] = []
    bounds: list[float] = []
    cost = [0.0] * len(number)
    for k, ((a, b), port) in enumerate(links.items()):
        cost.append(STRAIGHT[(a not in widths) + (b not in widths)])
        for sign in (1.0, -1.0):
            row = len(bounds)
            rows += [(row, number[b], sign), (row, number[a], -sign), (row, len(number) + k, -1.0)]
            bounds.append(-sign * port)
    for layer in layers:
        for a, b in pairwise(layer):
            row = len(bounds)
            rows += [(row, number[a], 1.0), (row, number[b], -1.0)]
            bounds.append(-(widths.get(a, DUMMY_WIDTH) + widths.get(b, DUMMY_WIDTH)) / 2 - GAP)
    if not rows:
        return dict.fromkeys(number, 0.0)
    i, j, values = zip(*rows, strict=True)
    matrix = coo_array((values, (i, j)), shape=(len(bounds), len(cost))).tocsr()
    solved = linprog(cost, A_ub=matrix, b_ub=bounds, bounds=(0, None), method="highs")
    return {node: float(solved.x[k]) for node, k in number.items()}
