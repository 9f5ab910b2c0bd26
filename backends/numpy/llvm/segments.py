"""Loops cut where conditions on their index begin or end to hold, so that each part is written without asking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cmp_to_key
from itertools import pairwise
from typing import Final, NamedTuple

from graphc import dims
from graphc.dims import Size
from graphc.kernels import Within

SEGMENTS: Final = 5  # into which the conditions on a loop may cut it: each repeats the loop's code


class Segment(NamedTuple):
    """A part of a loop, up to `stop`, and which conditions on the loop hold in it and which do not."""

    stop: Size
    decided: Mapping[Within, bool]


def segments(size: Size, conditions: Mapping[Within, int]) -> tuple[Segment, ...]:
    """A loop cut where conditions on it begin or end to hold; they come with how often each is asked.

    Conditions whose ends have no known order, or too many of them, are left open but for the most frequent one.

    >>> [(s.stop, *s.decided.values()) for s in segments(9, {Within(0, 2, 7): 1})]
    [(2, False), (7, True), (9, False)]
    """
    if not conditions:
        return (Segment(size, {}),)
    wanted = sorted(conditions, key=lambda w: -conditions[w])
    ends = _ordered({end for w in wanted for end in (w.start, w.stop)} | {0, size})
    if ends is None or len(ends) > SEGMENTS + 1:
        # where the end of the one condition comes before its start, the segment between them is empty
        wanted = wanted[:1]
        ends = [0, wanted[0].start, wanted[0].stop, size]
    place = {end: k for k, end in enumerate(ends)}
    found = []
    for k, (start, stop) in enumerate(pairwise(ends)):
        if start != stop:
            found.append(Segment(stop, {w: place[w.start] <= k < place[w.stop] for w in wanted}))
    return tuple(found) or (Segment(size, {}),)


def _ordered(sizes: Iterable[Size]) -> list[Size] | None:
    """Sizes in ascending order; None if the order depends on what the named sizes are."""
    undecided = False

    def compare(a: Size, b: Size) -> int:
        nonlocal undecided
        if dims.less_equal(a, b):
            return -1
        if dims.less_equal(b, a):
            return 1
        undecided = True
        return 0

    result = sorted(sizes, key=cmp_to_key(compare))
    return None if undecided else result
