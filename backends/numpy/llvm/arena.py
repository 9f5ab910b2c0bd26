"""Where temporaries lie: in results that are not written yet, or in one block, the arena, whose places are reused."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from graphc import dims
from graphc.backends.numpy.llvm.instructions import Program, Storage
from graphc.dims import Size

ALIGNMENT: Final = 64  # bytes: a line of the cache
MOST: Final = 1 << 62  # bytes that are counted in machine words


@dataclass(frozen=True, slots=True)
class Arena:
    """Offsets of temporaries in the arena, in bytes; temporaries that lie in a result; the arena's size."""

    offsets: Mapping[int, Size]
    within: Mapping[int, int]
    nbytes: Size


@dataclass(frozen=True, slots=True)
class _Life:
    """A temporary, and the first and last instruction that touch it."""

    storage: Storage
    first: int
    last: int


def arrange(program: Program) -> Arena:
    """Give every temporary that is no result a place, such that no two that live at once overlap."""
    lives = _lives(program)
    owned = {r.layout.storage for r in program.results if r.owned}
    hosts = _Hosts([life for number, life in lives.items() if number in owned])
    within: dict[int, int] = {}
    resting: list[_Life] = []
    tiny: list[_Life] = []
    for number, life in lives.items():
        nbytes = life.storage.nbytes
        if number in owned:
            continue
        if isinstance(nbytes, int) and nbytes <= ALIGNMENT:
            tiny.append(life)
        elif (host := hosts.take(life)) is not None:
            within[number] = host
        else:
            resting.append(life)
    known = [nbytes for life in resting if isinstance(nbytes := life.storage.nbytes, int)]
    fits = len(known) == len(resting) and sum(known) < MOST
    offsets, total = (_fitted if fits else _shared)(resting)
    more, small = _slots(tiny)
    offsets.update({number: total + start for number, start in more.items()})
    return Arena(offsets, within, total + small)


def _lives(program: Program) -> dict[int, _Life]:
    """The life of every temporary, in the order of their first writes. Numbers that are results live to the end."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    end = len(program.instructions)
    for n, instruction in enumerate(program.instructions):
        for place in (*instruction.writes, *instruction.reads):
            first.setdefault(place.storage, n)
            last[place.storage] = n
    for result in program.results:
        last[result.layout.storage] = end
        first.setdefault(result.layout.storage, end)
    return {
        number: _Life(program.storages[number], start, last[number])
        for number, start in first.items()
        if program.storages[number].origin == "temporary"
    }


class _Hosts:
    """Results, in whose memory temporaries lie that end before the result is written."""

    def __init__(self, results: list[_Life]) -> None:
        """The results in the order of their first writes."""
        self.rooms: dict[Size, list[_Life]] = {}  # by their sizes, those that are written last in front
        for life in reversed(results):
            self.rooms.setdefault(life.storage.nbytes, []).append(life)
        self.busy: dict[int, int] = {}  # of each result that has had a guest, when the latest one leaves

    def take(self, life: _Life) -> int | None:
        """A result that is long enough, and that nothing else uses meanwhile; lives come by their first writes."""
        for room, hosts in self.rooms.items():
            while hosts and hosts[-1].first <= life.first:
                hosts.pop()
            if not hosts or dims.less_equal(life.storage.nbytes, room) is not True:
                continue
            for host in hosts:
                number = host.storage.number
                if host.first <= life.last:
                    break
                if self.busy.get(number, -1) < life.first:
                    self.busy[number] = life.last
                    return number
        return None


def _padded(nbytes: Size) -> Size:
    return (nbytes + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def _fitted(lives: list[_Life]) -> tuple[dict[int, Size], Size]:
    """Places by first fit, the largest temporaries first."""
    offsets: dict[int, Size] = {}
    total = 0
    # of what has a place already, in the order of the places: where it begins and ends, and its first and last use
    placed = np.zeros((4, len(lives)), np.int64)
    for count, life in enumerate(sorted(lives, key=lambda one: (-_static(one), one.first))):
        size = -(-_static(life) // ALIGNMENT) * ALIGNMENT
        begins, ends, firsts, lasts = placed[:, :count]
        meets = (firsts <= life.last) & (life.first <= lasts)
        # below each of those that live at the same time, and above all of them: where the ones before have ended
        free = np.maximum.accumulate(np.concatenate(([0], ends[meets])))
        gaps = np.flatnonzero(free[:-1] + size <= begins[meets])
        start = int(free[gaps[0] if gaps.size else -1])
        at = int(np.searchsorted(begins, start))
        placed[:, at + 1 : count + 1] = placed[:, at:count].copy()
        placed[:, at] = start, start + size, life.first, life.last
        offsets[life.storage.number] = start
        total = max(total, start + size)
    return offsets, total


def _slots(lives: list[_Life]) -> tuple[dict[int, int], int]:
    """Places for single numbers and the like: each takes one of its size that is free, or a new one."""
    offsets: dict[int, int] = {}
    free: dict[int, list[int]] = {}
    ending: list[tuple[int, int, int]] = []  # when a place becomes free, its size and offset
    total = 0
    for life in lives:
        while ending and ending[0][0] < life.first:
            _, size, start = heapq.heappop(ending)
            free.setdefault(size, []).append(start)
        size = max(8, 1 << (_static(life) - 1).bit_length())
        places = free.get(size)
        if places:
            start = places.pop()
        else:
            start = total = -(-total // size) * size
            total += size
        offsets[life.storage.number] = start
        heapq.heappush(ending, (life.last, size, start))
    return offsets, -(-total // ALIGNMENT) * ALIGNMENT


def _static(life: _Life) -> int:
    assert isinstance(life.storage.nbytes, int)
    return life.storage.nbytes


def _shared(lives: list[_Life]) -> tuple[dict[int, Size], Size]:
    """Places where sizes are formulas: a temporary takes over the place of one that has died, if it surely fits."""
    slots: list[tuple[Size, _Life]] = []  # the size of each place, and who uses it last
    used: dict[int, int] = {}
    for life in lives:
        need = life.storage.nbytes
        free = [k for k, (_, user) in enumerate(slots) if user.last < life.first]
        equal = [k for k in free if slots[k][0] == need]
        fits = equal or [k for k in free if dims.less_equal(need, slots[k][0]) is True]
        grows = [] if fits else [k for k in free if dims.less_equal(slots[k][0], need) is True]
        if fits or grows:
            k = (fits or grows)[0]
            slots[k] = (slots[k][0] if fits else need, life)
        else:
            k = len(slots)
            slots.append((need, life))
        used[life.storage.number] = k
    starts: list[Size] = []
    total: Size = 0
    for size, _ in slots:
        starts.append(total)
        total = total + _padded(size)
    return {number: starts[k] for number, k in used.items()}, total
