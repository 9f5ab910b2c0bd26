"""Where a graph's branches, kinks and poles are: values along lines in input space, and roots between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import chain, islice, zip_longest
from typing import Any, Final

import numpy as np

from graphc.backends.exact.fields import Array, apply_each
from graphc.ir import Graph
from graphc.verification.branches import live, margins
from graphc.verification.limits import every_node
from graphc.verification.sampling import Point

Key = tuple[int, int, int]  # a node, one of its boundaries, and an element
Line = Callable[[float], list[Array]]  # float inputs by the place on the line

POSITIVE: Final = (1e-12, 1e-6, 0.01, 0.1, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 300.0, 1e3, 1e4, 1e6)
GRID: Final = (*(-t for t in reversed(POSITIVE)), 0.0, *POSITIVE)
WORK: Final = 60_000  # nodes evaluated at most, all lines together
MAX_ELEMENTS: Final = 16  # of a node, whose boundaries are looked for
MAX_COORDINATES: Final = 24
PER_NODE: Final = 4  # roots wanted of each boundary
NEAR: Final = 19 / 32
BESIDE: Final = (0.5, 2.0**-5, 2.0**-12, 2.0**-22, 2.0**-30)  # how far from a root, by its size
GOLDEN: Final = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class Root:
    """A point at which a node's operands meet one of its boundaries, in float64, and two points beside it."""

    node: int
    point: Point
    beside: tuple[Point, ...]
    met: bool  # whether the margin is 0 in floats


@dataclass(slots=True)
class Search:
    """Looks along lines through a base point for the places where operands meet a boundary."""

    graph: Graph
    wrt: Sequence[int]
    outputs: Sequence[int]
    base: Point
    sizes: Mapping[str, int]
    keys: list[Key] = field(default_factory=list)
    roots: list[Root] = field(default_factory=list)
    _nodes: list[int] = field(default_factory=list)
    _left: int = 0
    _floats: list[Array] = field(default_factory=list)

    def __post_init__(self) -> None:
        reached = live(self.graph, self.outputs)
        self._floats = self.base.floats()
        values = every_node(self.graph, self._floats, self.sizes)
        for i in self.graph._node:
            if i in reached:
                with np.errstate(all="ignore"):
                    sizes = [np.size(m) for m in margins(self.graph, i, values)]
                if sizes:
                    self._nodes.append(i)
                self.keys.extend((i, b, e) for b, n in enumerate(sizes) for e in range(min(n, MAX_ELEMENTS)))
        self._left = min(4000, max(200, WORK // max(1, len(self.graph._node))))

    def run(self) -> list[Root]:
        """Roots of every boundary, sign changes and touching ones, as far as the work allowed."""
        if self.keys:
            with np.errstate(all="ignore"):
                for line in self._lines():
                    if self._left <= 0:
                        break
                    self._along(line)
                self._descend()
        return self.roots

    # evaluation

    def values(self, floats: Sequence[Array]) -> dict[int, Any]:
        """The value of each node, counted as work."""
        self._left -= 1
        return every_node(self.graph, floats, self.sizes)

    def _margins(self, floats: Sequence[Array]) -> Array:
        values = self.values(floats)
        with np.errstate(all="ignore"):
            parts = [
                np.ravel(m)[:MAX_ELEMENTS].astype(np.float64)
                for i in self._nodes
                for m in margins(self.graph, i, values)
            ]
        return np.concatenate(parts) if parts else np.zeros(0)

    # lines

    def _lines(self) -> Iterator[Line]:
        """All elements of an input alike; then one element alone, inputs in turn; then all inputs moved or scaled."""
        yield from (self._line(k, None) for k in self.wrt)
        singles = [[self._line(k, i) for i in islice(np.ndindex(self._floats[k].shape), 8)] for k in self.wrt]
        yield from (line for line in chain.from_iterable(zip_longest(*singles)) if line is not None)
        if len(self._floats[self.wrt[0]].ravel()) > 1 or len(self.wrt) > 1:
            yield self._all_alike
            yield self._scaled

    def _line(self, k: int, i: tuple[int, ...] | None) -> Line:
        def at(t: float) -> list[Array]:
            floats = list(self._floats)
            floats[k] = np.full_like(floats[k], t) if i is None else floats[k].copy()
            if i is not None:
                floats[k][i] = t
            return floats

        return at

    def _all_alike(self, t: float) -> list[Array]:
        return [np.full_like(x, t) if k in self.wrt else x for k, x in enumerate(self._floats)]

    def _scaled(self, t: float) -> list[Array]:
        return [(x * t).astype(x.dtype) if k in self.wrt else x for k, x in enumerate(self._floats)]

    def point(self, floats: Sequence[Array]) -> Point:
        """Float arrays as an exact point."""
        exact = [apply_each(lambda v: v if isinstance(v, bool) else Fraction(v), x.astype(object)) for x in floats]
        return Point(tuple(exact), self.base.types)

    # roots on one line

    def _along(self, line: Line) -> None:
        rows = np.array([self._margins(line(t)) for t in GRID])
        found: dict[tuple[int, int], int] = {}
        for column, key in enumerate(self.keys):
            g = rows[:, column]
            if self._left <= 0:
                return
            count = found.get(key[:2], 0)
            if count >= PER_NODE or np.ptp(np.where(np.isfinite(g), g, 0)) == 0:
                continue
            for t in self._brackets(g, partial(self._at, line, column)):
                if count >= PER_NODE or self._left <= 0:
                    break
                count += self._snap(line, column, t)
            found[key[:2]] = count

    def _at(self, line: Line, column: int, t: float) -> float:
        return float(self._margins(line(t))[column])

    def _brackets(self, g: Array, f: Callable[[float], float]) -> Iterator[float]:
        """Places of roots: on the grid, between two signs, beyond the grid, or where |g| is least."""
        size = len(GRID)
        zeros, signs = g == 0, np.sign(g)
        if zeros.sum() > 4:
            # flat: both ends of where it is 0 are boundaries of others; one is enough
            zeros &= np.cumsum(zeros) <= 1
        for j in range(size):
            if zeros[j]:
                yield GRID[j]
        for j in range(size - 1):
            if signs[j] * signs[j + 1] < 0:
                yield _bisected(f, GRID[j], GRID[j + 1], float(g[j]), float(g[j + 1]))
        for j, i in ((0, 1), (size - 1, size - 2)):
            slope = (g[j] - g[i]) / (GRID[j] - GRID[i])
            if np.isfinite(slope) and slope != 0:
                t = float(GRID[j] - g[j] / slope)
                if abs(t) > abs(GRID[j]) and abs(t) < 1e15 and t * GRID[j] > 0:
                    yield t
        a = np.abs(g)
        for j in range(1, size - 1):
            same = signs[j - 1] == signs[j] == signs[j + 1] != 0
            if same and a[j] <= a[j - 1] and a[j] <= a[j + 1] and a[j] < max(a[j - 1], a[j + 1]):
                yield _least(lambda t: abs(f(t)), GRID[j - 1], GRID[j + 1])

    def _snap(self, line: Line, column: int, t: float) -> bool:
        """Keep the nicest number at which the margin is 0, or the root itself for its neighbourhood."""
        node = self.keys[column][0]
        met = None
        for candidate in nice(t):
            if self._margins(line(candidate))[column] == 0:
                met = candidate
                break
        at = t if met is None else met
        size = max(1.0, abs(at))
        # near first: far from a root many functions are flat
        beside = [at + d for d in (NEAR, -NEAR)] + [at + s * d for d in BESIDE for s in (size, -size)]
        if not np.isfinite(beside).all():
            return False
        points = tuple(self.point(line(b)) for b in beside)
        self.roots.append(Root(node, self.point(line(at)), points, met is not None))
        return met is not None

    # touching roots in several coordinates

    def _descend(self) -> None:
        """Lengths and squares that vanish only where several elements are right: one element after the other."""
        known = {root.node for root in self.roots if root.met}
        places = [(k, i) for k in self.wrt for i in np.ndindex(self._floats[k].shape)]
        if not 1 < len(places) <= MAX_COORDINATES:
            return
        done: set[int] = set()
        for column, (node, _, element) in enumerate(self.keys):
            if node in known or node in done or element or self._left <= 0:
                continue
            done.add(node)
            floats = [x.copy() for x in self._floats]
            for k, i in places:
                f = partial(self._distance, floats, k, i, column)
                old = float(floats[k][i])
                before = f(old)
                row = [f(t) for t in GRID]
                j = int(np.argmin(np.where(np.isfinite(row), row, np.inf)))
                best = _least(f, GRID[max(0, j - 1)], GRID[min(len(GRID) - 1, j + 1)])
                short = list(nice(best))
                worth = [f(t) for t in short]
                value = min(worth)
                floats[k][i] = short[worth.index(value)] if value < before else old
                if value == 0 or self._left <= 0:
                    break
            if self._margins(floats)[column] == 0:
                self.roots.append(Root(node, self.point(floats), (), True))

    def _distance(self, floats: Sequence[Array], k: int, i: tuple[int, ...], column: int, t: float) -> float:
        floats[k][i] = t
        return abs(float(self._margins(floats)[column]))


def nice(t: float) -> Iterator[float]:
    """Short numbers near a root found in floats, then the root itself."""
    seen = set()
    scales = [float(round(t, d)) for d in range(5)] + [round(t * q) / q for q in (2, 3, 4, 6, 7, 8, 9, 12, 32, 1024)]
    near = [v for v in scales if abs(v - t) <= 0.02 * max(1.0, abs(t))]
    for v in (*near, float(round(t, 6)), float(round(t, 9)), t):
        if v not in seen:
            seen.add(v)
            yield v


def _bisected(f: Callable[[float], float], a: float, b: float, fa: float, fb: float) -> float:
    """A root between two signs: secant steps kept in the bracket (the Illinois method), at most 24."""
    side = 0
    for step in range(24):
        t = (a * fb - b * fa) / (fb - fa) if step % 4 < 3 and np.isfinite(fa - fb) and fb != fa else (a + b) / 2
        v = f(t)
        if v == 0 or not np.isfinite(v) or abs(b - a) <= 1e-14 * abs(t):
            return t
        if v * fb > 0:
            b, fb = t, v
            fa = fa / 2 if side == -1 else fa
            side = -1
        else:
            a, fa = t, v
            fb = fb / 2 if side == 1 else fb
            side = 1
    return t


def _least(f: Callable[[float], float], a: float, b: float) -> float:
    """The least value of a function of one minimum, by golden sections."""
    x, y = b - GOLDEN * (b - a), a + GOLDEN * (b - a)
    fx, fy = f(x), f(y)
    for _ in range(36):
        if fx == 0 or fy == 0:
            break
        if fx < fy:
            b, y, fy = y, x, fx
            x = b - GOLDEN * (b - a)
            fx = f(x)
        else:
            a, x, fx = x, y, fy
            y = a + GOLDEN * (b - a)
            fy = f(y)
    return x if fx <= fy else y
