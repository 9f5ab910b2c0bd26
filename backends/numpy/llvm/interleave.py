"""Vectors of every stride-th element from adjacent ones and back, by shuffles: far cheaper than gathering each lane."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.values import Value
from graphc.dims import Size
from graphc.kernels import Affine, Kernel, Load

WIDEST: Final = 8  # elements between two lanes
DENSE: Final = 2  # of so many neighbours one at least must be wanted, if the lanes lie far apart
FEWEST: Final = 3  # vectors that begin some elements apart, and are worth making of those that begin with the first


@dataclass(frozen=True, slots=True)
class Group:
    """Accesses to neighbours: lane `k` of member `m` is element ``start + stride * k + places[m]`` of an array.

    members: numbers of values, for loads, or of stores.
    """

    start: Affine
    stride: int
    members: tuple[int, ...]
    places: tuple[int, ...]

    def fits(self, lanes: int) -> bool:
        """Whether as many vectors of adjacent elements as two lanes lie apart hold all members, and little else."""
        return lanes > self.stride or (lanes == self.stride and len(self.members) == self.stride)


def loads(kernel: Kernel) -> dict[int, Group]:
    """For each load along whose vectors elements lie a few apart, its group."""
    found: dict[Any, list[tuple[Size, int]]] = defaultdict(list)
    for i, value in enumerate(kernel.values):
        if isinstance(value, Load) and kernel.sizes and not value.within:
            found[value.root, value.dtype, value.at.strides].append((value.at.offset, i))
    return {i: g for g in _groups(found) if g.stride <= 4 or DENSE * len(g.members) >= g.stride for i in g.members}


def shifted(kernel: Kernel) -> dict[int, Group]:
    """For each load of adjacent elements beside others that begin a few elements on, as in a stencil, its group."""
    found: dict[Any, list[tuple[Size, int]]] = defaultdict(list)
    for i, value in enumerate(kernel.values):
        if not isinstance(value, Load) or not kernel.sizes or value.within:
            continue
        if value.at.strides[-1] == 1 and value.dtype.itemsize >= 4:
            found[value.root, value.dtype, value.at.strides].append((value.at.offset, i))
    groups = (g for key, accesses in found.items() for g in _neighbours(key[-1], accesses, WIDEST))
    return {i: g for g in groups if len(set(g.places)) >= FEWEST for i in g.members}


def stores(kernel: Kernel) -> dict[int, Group]:
    """For each store along whose vectors all of the elements in between are written too, its group."""
    found: dict[Any, list[tuple[Size, int]]] = defaultdict(list)
    for n, store in enumerate(kernel.stores):
        if kernel.sizes:
            key = store.node, kernel.values[store.value].dtype, kernel.stages[store.value], store.at.strides
            found[key].append((store.at.offset, n))
    return {n: g for g in _groups(found) if len(g.members) == g.stride for n in g.members}


def _groups(found: Mapping[Any, list[tuple[Size, int]]]) -> Iterator[Group]:
    """Accesses in groups of neighbours: offsets and numbers, by what they have in common, the strides last."""
    for key, accesses in found.items():
        stride = key[-1][-1]
        if isinstance(stride, int) and 2 <= stride <= WIDEST:
            yield from _neighbours(key[-1], accesses, stride)


def _neighbours(strides: tuple[Size, ...], accesses: list[tuple[Size, int]], within: int) -> list[Group]:
    """Accesses of the same strides of which the first and the last lie less than so many elements apart."""
    stride = strides[-1]
    assert isinstance(stride, int)
    near: list[list[tuple[int, int]]] = []
    for offset, number in sorted((o, n) for o, n in accesses if isinstance(o, int)):
        if near and offset - near[-1][0][0] < within:
            near[-1].append((offset, number))
        else:
            near.append([(offset, number)])
    return [
        Group(
            Affine(some[0][0], strides),
            stride,
            tuple(number for _, number in some),
            tuple(offset - some[0][0] for offset, _ in some),
        )
        for some in near
    ]


def deinterleaved(e: Emitter, vectors: Sequence[Value]) -> list[Value]:
    """Of adjacent elements, as many vectors of them as two lanes lie apart, those of each place between two lanes."""
    stride, lanes = len(vectors), vectors[0].lanes
    if stride == 1:
        return list(vectors)
    if stride % 2 == 0:
        pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
        even = deinterleaved(e, [e.shuffle(a, b, range(0, 2 * lanes, 2)) for a, b in pairs])
        odd = deinterleaved(e, [e.shuffle(a, b, range(1, 2 * lanes, 2)) for a, b in pairs])
        return [v for pair in zip(even, odd, strict=True) for v in pair]
    found = []
    for place in range(stride):
        total = vectors[0]
        wanted = [place + stride * lane for lane in range(lanes)]
        for m in range(1, stride):
            # lanes that the vectors so far hold, and those of this one
            first = wanted if m == 1 else range(lanes)
            mask = [f if w < m * lanes else w - (m - 1) * lanes for f, w in zip(first, wanted, strict=True)]
            total = e.shuffle(total, vectors[m], [k if k < 2 * lanes else -1 for k in mask])
        found.append(total)
    return found


def moved(e: Emitter, first: Value, others: Value, places: Sequence[int]) -> list[Value]:
    """Of a vector and some elements that follow on it, the vectors that begin at each of some places."""
    lanes = first.lanes
    if others.lanes == 1:
        more = e.instruction(f"insertelement {first.type} poison, {others!r}, i32 0", first.dtype, lanes)
    else:
        more = widened(e, others, lanes)
    return [first if p == 0 else e.shuffle(first, more, range(p, p + lanes)) for p in places]


def joined(e: Emitter, vectors: Sequence[Value]) -> Value:
    """One vector of the lanes of several, of which there is a power of two."""
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [e.shuffle(a, b, range(2 * a.lanes)) for a, b in pairs]
    return vectors[0]


def interleaved(e: Emitter, vectors: Sequence[Value]) -> list[Value]:
    """The inverse of `deinterleaved`."""
    stride, lanes = len(vectors), vectors[0].lanes
    if stride == 1:
        return list(vectors)
    if stride % 2 == 0:
        found = []
        for a, b in zip(interleaved(e, vectors[::2]), interleaved(e, vectors[1::2]), strict=True):
            zipped = [k // 2 + (k % 2) * lanes for k in range(2 * lanes)]
            found += [e.shuffle(a, b, zipped[:lanes]), e.shuffle(a, b, zipped[lanes:])]
        return found
    found = []
    for m in range(stride):
        total = vectors[0]
        wanted = [divmod(m * lanes + lane, stride) for lane in range(lanes)]
        for place in range(1, stride):
            first = [lane for lane, _ in wanted] if place == 1 else range(lanes)
            mask = [
                f if p < place else lanes + lane if p == place else -1
                for f, (lane, p) in zip(first, wanted, strict=True)
            ]
            total = e.shuffle(total, vectors[place], mask)
        found.append(total)
    return found


def widened(e: Emitter, vector: Value, lanes: int) -> Value:
    """The vector with more lanes; what these hold is left open."""
    return e.shuffle(vector, None, [k if k < vector.lanes else -1 for k in range(lanes)])
