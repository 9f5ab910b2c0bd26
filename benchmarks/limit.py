"""What the machine can do at most of a row's work: programs that only move its bytes, or only multiply as much.

They run in a worker of their own, in turn with the peers: so a clock that slows down while a row is measured slows its
limit down too. Of several ways to do the same, the fastest is found when a limit is prepared, and timed from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import numpy as np

from benchmarks.machine import best_of, copies, updates
from benchmarks.prepared import Array, Prepared
from benchmarks.workload import Workload

LEAST: Final = 2**18
"""Bytes that are moved at once: a copy of fewer would mostly measure NumPy's call. Of that smaller rows get a part."""

EDGES: Final = (0.6, 0.8, 1.0, 1.25, 1.6)
"""Of the result of a product, in terms of the cube with as many operations."""

SECONDS: Final = 0.1
"""For which each way is tried."""


class Limit(Prepared):
    """The work of so many calls of a row, done so many times at once as `calls_at_once` says."""

    def __init__(self, work: Callable[[], object], calls_at_once: float = 1.0) -> None:
        self.work = work
        self.calls_at_once = calls_at_once

    def reset(self) -> None:
        """The arguments are there, and what they are does not matter."""

    def run(self, calls: int) -> None:
        work = self.work
        for _ in range(max(1, round(calls / self.calls_at_once))):
            work()

    def results(self) -> list[Array]:
        return []


def limit(workload: Workload, nbytes: int) -> Limit:
    """The limit of a row whose arguments and results are so many bytes, as `Row.bound` names it.

    It is NumPy's product of matrices with as many operations, where those dominate. Else as many bytes are read and
    written: in place, where a step replaces its arguments, or from one array to another, in whichever way is fastest.
    """
    if workload.flops:
        return Limit(fastest(products(workload.flops, workload.dtype)))
    moved = max(nbytes, LEAST)
    ways = updates if workload.carry else copies
    return Limit(fastest(ways(moved)), moved / nbytes)


def products(flops: float, dtype: type[np.floating[Any]]) -> Iterable[Callable[[], object]]:
    """Products of matrices that are nearly square, of so many operations each."""
    draw = np.random.default_rng(0)
    cube = (flops / 2) ** (1 / 3)
    for scale in EDGES:
        edge = max(1, round(scale * cube))
        edge = edge if edge < 64 else edge // 16 * 16
        inner = max(1, round(flops / 2 / edge**2))
        a, b = (draw.random(shape, np.float64).astype(dtype) for shape in ((edge, inner), (inner, edge)))
        yield partial(np.matmul, a, b, out=np.empty((edge, edge), dtype))


def fastest(ways: Iterable[Callable[[], object]]) -> Callable[[], object]:
    """The way with the shortest time of several runs."""
    return min(ways, key=lambda way: best_of(way, SECONDS))
