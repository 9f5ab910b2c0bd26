"""Parts of a graph that a reader may want to see as one: calls of user functions, and what repeats.

A graph is taken as the sequence of its nodes. A function's part is a run of nodes made by one function of the user's; a
repetition is a stretch of the sequence that consists of blocks alike in ops, types and the way values flow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from graphc.errors import IRError, Loc
from graphc.ir import Constant, Graph
from graphc.text.scalars import printable

Fold = Literal["function", "repeat", "all"]
FOLDS: Final = ("function", "repeat", "all")
LONGEST_BLOCK: Final = 2000  # items of a block that is looked for
MOST_CANDIDATES: Final = 400  # stretches whose flow of values is looked at


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a graph.

    function: the name of the user's function that made all of it, or None.
    count: how many blocks alike it consists of; 1 for what does not repeat.
    body: the first block, in order: nodes and sections.
    nodes: all nodes of all blocks.
    """

    function: str | None
    count: int
    body: tuple[int | Section, ...]
    nodes: tuple[int, ...]


def check_fold(fold: object) -> None:
    """Raise IRError unless it is a fold, or None."""
    if fold is not None and fold not in FOLDS:
        raise IRError(f"no fold {fold!r}", expected=", ".join(map(repr, FOLDS)), actual=repr(fold))


def sections(graph: Graph, items: Sequence[int], fold: Fold) -> list[int | Section]:
    """The nodes in `items`, in order, with what can be folded as sections."""
    found: list[int | Section] = list(items)
    if fold != "repeat":
        found = _functions(graph, items, repeats=fold == "all")
    if fold != "function":
        found = _repeats(graph, found)
    return found


# functions


def _functions(graph: Graph, items: Sequence[int], repeats: bool) -> list[int | Section]:
    """Join runs of nodes of one function, but for the function that the graph was traced from."""
    nodes = graph._node
    own = _own_function(graph)
    result: list[int | Section] = []
    run: list[int] = []
    last: Any = None

    def close() -> None:
        if len(run) == 1:
            result.extend(run)
        elif run:
            result.append(_call(graph, last[1], tuple(run), repeats))
        run.clear()

    for node in items:
        loc = nodes[node]["loc"]
        key = (loc[0].file, loc[0].function, nodes[node]["origin"] is not None) if loc else None
        if key != last:
            close()
            last = key
        if key is None or key[:2] == own:
            result.append(node)
        else:
            run.append(node)
    close()
    return result


def _own_function(graph: Graph) -> tuple[str, str] | None:
    """The function that the graph was traced from: the one of its name, or else the one its first result is from."""
    places: list[Loc] = [data["loc"][0] for data in graph._node.values() if data["loc"]]
    for loc in places:
        if loc.function == graph.name:
            return loc.file, loc.function
    for output in graph.outputs:
        for loc in graph._node[output]["loc"][:1]:
            return loc.file, loc.function
    return None


def _call(graph: Graph, function: str, run: tuple[int, ...], repeats: bool) -> Section:
    """A run of one function's nodes: one call, or several alike."""
    for stretch in _stretches(graph, run):
        if stretch.start == 0 and stretch.size * stretch.count == len(run):
            run_body = run[: stretch.size]
            body = tuple(_repeats(graph, run_body)) if repeats else run_body
            return Section(function, stretch.count, body, run)
    return Section(function, 1, tuple(_repeats(graph, run)) if repeats else run, run)


# repetitions


@dataclass(frozen=True, slots=True)
class _Stretch:
    """`count` blocks of `size` items each, from the item `start` on."""

    start: int
    size: int
    count: int

    @property
    def length(self) -> int:
        return self.size * self.count


def _repeats(graph: Graph, items: Sequence[int | Section]) -> list[int | Section]:
    """Fold repetitions, the longest first, then those inside of it and beside it."""
    best = next(iter(_stretches(graph, items)), None)
    if best is None:
        return list(items)
    end = best.start + best.length
    body = _repeats(graph, items[best.start : best.start + best.size])
    only = body[0] if len(body) == 1 else None
    everything = tuple(_flat(items[best.start : end]))
    if isinstance(only, Section) and only.count == 1:
        section = replace(only, count=best.count, nodes=everything)
    else:
        section = Section(None, best.count, tuple(body), everything)
    return [*_repeats(graph, items[: best.start]), section, *_repeats(graph, items[end:])]


def _stretches(graph: Graph, items: Sequence[int | Section]) -> Iterator[_Stretch]:
    """The repetitions in a sequence, those that cover most first; of equal ones that with the shortest block."""
    numbers: dict[Any, int] = {}
    tokens = np.array([numbers.setdefault(_token(graph, item), len(numbers)) for item in items])
    candidates = []
    for size in range(1, min(len(items) // 2, LONGEST_BLOCK) + 1):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], tokens[:-size] == tokens[size:], [0]))))
        for start, stop in edges.reshape(-1, 2).tolist():
            if stop - start >= size:
                candidates.append((start - stop - size, size, start))
    flow = _Flow(graph, items)
    for length, size, start in sorted(candidates)[:MOST_CANDIDATES]:
        yield from flow.chains(start, -length, size)


class _Flow:
    """Where the operands of a sequence of items come from, by their places in the sequence."""

    def __init__(self, graph: Graph, items: Sequence[int | Section]) -> None:
        self.nodes = graph._node
        self.lines = [_line(graph, item) for item in items]
        self.named = ["name" in graph._node[item] if isinstance(item, int) else False for item in items]
        self.order: list[int] = []
        self.starts: list[int] = []  # of each item in `order`, and the end
        for item in items:
            self.starts.append(len(self.order))
            self.order.extend(_flat((item,)))
        self.starts.append(len(self.order))
        self.place = {node: k for k, node in enumerate(self.order)}

    def chains(self, start: int, length: int, size: int) -> list[_Stretch]:
        """In a stretch whose items are alike, the chains of blocks through which values flow alike, longest first."""
        start, length = self.rotated(start, length, size)
        count = length // size
        bounds = [self.starts[start + k * size] for k in range(count + 1)]
        found = []
        first = 0
        while first < count - 1:
            last = first
            while last + 1 < count and self.alike(bounds, first, last):
                last += 1
            if _worth_folding(size, last - first + 1):
                found.append(_Stretch(start + first * size, size, last - first + 1))
            first = max(last, first + 1)
        return sorted(found, key=lambda stretch: -stretch.count)

    def rotated(self, start: int, length: int, size: int) -> tuple[int, int]:
        """The stretch from where the program begins a round.

        That is at an item that stands above its predecessor in the program; or else after one that is assigned to a
        variable.
        """
        lines = self.lines[start : start + size]
        named = self.named[start : start + size]
        for shift in range(size):
            before, here = lines[shift - 1], lines[shift]
            if before is not None and here is not None and before > here:
                return start + shift, length - shift
        for shift in range(size):
            if named[shift - 1]:
                return start + shift, length - shift
        return start, length

    def alike(self, bounds: Sequence[int], first: int, last: int) -> bool:
        """Whether block `last + 1` takes its operands as block `last` of the chain from block `first` on does.

        An operand from within the chain has to come from the same place, as many blocks before. One from outside may be
        any other value from outside: the parameters of a layer, the initial value of a loop.
        """
        begin, size = bounds[first], bounds[first + 1] - bounds[first]
        here, there = bounds[last], bounds[last + 1]
        if bounds[last + 2] - there != size or there - here != size:
            return False
        for k in range(size):
            ours, theirs = self.nodes[self.order[here + k]]["args"], self.nodes[self.order[there + k]]["args"]
            for a, b in zip(ours, theirs, strict=True):
                from_a, from_b = self.place.get(a, -1), self.place.get(b, -1)
                if from_b < begin:
                    if from_a >= begin:
                        return False
                elif from_b - there != from_a - here and (from_a >= begin or from_b - size >= begin):
                    return False
        return True


def _worth_folding(size: int, count: int) -> bool:
    return size * count >= 4 and (count >= 3 or size >= 3) and count >= 2


def _line(graph: Graph, item: int | Section) -> int | None:
    loc = graph._node[item]["loc"] if isinstance(item, int) else ()
    return loc[0].line if loc else None


def _token(graph: Graph, item: int | Section) -> Any:
    """What two items have in common when they may stand for each other."""
    if isinstance(item, Section):
        return item.function, item.count, tuple(_token(graph, one) for one in item.body)
    data = graph._node[item]
    attrs = tuple((name, None if isinstance(value, Constant) else value) for name, value in data["attrs"])
    types = tuple(graph._node[a]["type"] for a in data["args"])
    return data["op"], data["type"], types, data["origin"] is None, attrs


def _flat(items: Sequence[int | Section]) -> Iterator[int]:
    for item in items:
        if isinstance(item, int):
            yield item
        else:
            yield from item.nodes


# what a section says of itself


def ends(graph: Graph, section: Section) -> tuple[list[int], list[int]]:
    """The values from outside that a section reads, and those of its own that are read outside."""
    inside = set(section.nodes)
    operands = dict.fromkeys(a for i in section.nodes for a in graph._node[i]["args"] if a not in inside)
    outputs = set(graph.outputs)
    results = [i for i in section.nodes if i in outputs or not inside.issuperset(graph.successors(i))]
    return list(operands), results


def title(graph: Graph, section: Section, most: int = 4) -> str:
    """What a section is: so many times a function, or its ops, of which `most` are named."""
    ops = [graph._node[i]["op"] if isinstance(i, int) else title(graph, i, most) for i in section.body]
    what = f"({some(ops, most)})"
    if section.function is not None:
        derived = graph._node[section.nodes[0]]["origin"] is not None
        what = f"{'derivative of ' if derived else ''}{printable(section.function)}"
    return f"{section.count} x {what}" if section.count > 1 else what


def some(words: Sequence[str], most: int = 4) -> str:
    """The first of several words, and how many more there are.

    >>> some(["a", "b"]), some(list("abcdef"))
    ('a, b', 'a, b, c, ... 3 more')
    """
    if len(words) <= most:
        return ", ".join(words)
    return f"{', '.join(words[: most - 1])}, ... {len(words) - most + 1} more"
