"""Where a recorded call has its arrays: memory of results that is given out again, and allocators of known places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from sys import getrefcount
from typing import Any, Final

from graphc.backends.cupy.library import cupy

APART: Final = 256  # bytes that the addresses of results are multiples of


class Block:
    """Arrays of certain types side by side in one piece of memory."""

    def __init__(self, like: Sequence[Any]) -> None:
        self.kinds: list[tuple[int, tuple[int, ...], Any]] = []
        total = 0
        for array in like:
            self.kinds.append((total, array.shape, array.dtype))
            total += -(-array.nbytes // APART) * APART
        self.bytes = max(total, 1)

    def arrays(self, memory: Any) -> list[Any]:
        """The arrays in a piece of memory."""
        ndarray = cupy().ndarray
        return [ndarray(shape, dtype, memory + place) for place, shape, dtype in self.kinds]


class Given:
    """Results that were handed out: the same arrays serve again once nobody else refers to them."""

    def __init__(self, block: Block) -> None:
        self.memory = cupy().cuda.alloc(block.bytes)
        self.arrays = block.arrays(self.memory)
        self.shapes = [a.shape for a in self.arrays]
        self.alone = self._references()

    def free(self) -> bool:
        """Whether the arrays are ours alone, and still of the shapes they had."""
        return self._references() == self.alone and [a.shape for a in self.arrays] == self.shapes

    def _references(self) -> list[int]:
        """How many there are to the arrays (views have one), to their pointers, and to the memory."""
        arrays = self.arrays
        return [*map(getrefcount, arrays), *[getrefcount(a.data) for a in arrays], getrefcount(self.memory.mem)]


class Arena:
    """An allocator of one piece of memory, from which nothing is given back. Until `made`, it only counts."""

    def __init__(self, malloc: Callable[[int], Any]) -> None:
        self.malloc = malloc
        self.held: list[Any] = []
        self.memory: Any = None
        self.bytes = 0
        self.places: list[int] = []  # where allocations begin

    def make(self) -> None:
        """Take as much memory as has been asked for; what is asked for next is the same again."""
        self.memory = self.malloc(max(self.bytes, 1))
        self.held = []
        self.bytes = 0
        self.places = []

    def __call__(self, size: int) -> Any:
        place = self.bytes
        self.places.append(place)
        self.bytes += -(-size // APART) * APART
        if self.memory is None:
            self.held.append(self.malloc(size))
            return self.held[-1]
        return self.memory + place


class Directed:
    """An allocator that counts, and gives some allocations places of their own.

    places: bytes and memory, by the number of the allocation.
    """

    def __init__(self, malloc: Callable[[int], Any], places: Mapping[int, tuple[int, Any]]) -> None:
        self.malloc = malloc
        self.places = places
        self.sizes: list[int] = []
        self.addresses: list[int] = []

    def __call__(self, size: int) -> Any:
        place = self.places.get(len(self.sizes))
        found = place[1] if place is not None and place[0] == size else self.malloc(size)
        self.sizes.append(size)
        self.addresses.append(found.ptr)
        return found

    def numbers(self, results: Sequence[Any]) -> list[int] | None:
        """Which allocations the results are; None if some is a part of one, or one is the memory of several."""
        last = {address: number for number, address in enumerate(self.addresses)}
        found = [last.get(a.data.ptr, -1) if a.nbytes else None for a in results]
        known = [n for n in found if n is not None]
        alone = len(set(known)) == len(known) and -1 not in known
        fits = alone and all(n is None or self.sizes[n] == a.nbytes for n, a in zip(found, results, strict=True))
        return [-1 if n is None else n for n in found] if fits else None
