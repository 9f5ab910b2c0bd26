"""The steps of a program while fusion chooses their nodes, and which of them come after which."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphc.dims import Size
from graphc.passes.groups import Axes
from graphc.passes.reading import VIEWS, Nodes


@dataclass(slots=True)
class Unit:
    """A kernel under construction, or a single step. `bits` are the numbers merged into it, `before` its ancestors."""

    bits: int
    before: int
    nodes: list[int] = field(default_factory=list)
    domain: tuple[Size, ...] = ()
    reduced: frozenset[int] | None = None
    axes: dict[int, Axes] = field(default_factory=dict)
    across: set[int] = field(default_factory=set)
    stages: dict[int, int] = field(default_factory=dict)  # how many folds of this kernel a node is known after, if any
    users: set[int] = field(default_factory=set)
    kernel: bool = False
    most: int = 0  # nodes of a kernel
    until: int | None = None  # the last position in the graph from which a node may join, once that is decided


class Units:
    """Kernels under construction and single steps, by numbers. One that is merged into another goes by that one's.

    Each unit knows all that it comes after, as the bits of an integer: so whether one needs another is seen at once,
    however long the path between them is.
    """

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.all: list[Unit] = []
        self.merged: dict[int, int] = {}
        self._unit_of: dict[int, int] = {}

    def of(self, node: int) -> int | None:
        """The unit that computes what `node` shows; None for inputs, constants and sizes."""
        while self.nodes[node]["op"] in VIEWS:
            node = self.nodes[node]["args"][0]
        found = self._unit_of.get(node)
        return None if found is None else self.current(found)

    def current(self, number: int) -> int:
        """The unit that one has been merged into, or itself."""
        while number in self.merged:
            number = self.merged[number]
        return number

    def operands(self, node: int) -> set[int]:
        """The units that compute what a node reads."""
        return {u for a in self.nodes[node]["args"] if (u := self.of(a)) is not None}

    def add(self, node: int) -> int:
        """A unit of its own for a node, after everything that it reads."""
        number = len(self.all)
        unit = Unit(1 << number, 0, [node])
        self.all.append(unit)
        self._unit_of[node] = number
        for u in self.operands(node) - {number}:
            unit.before |= self.all[u].bits | self.all[u].before
            self.all[u].users.add(number)
        return number

    def enter(self, node: int, number: int) -> None:
        """Make a node one of a unit's, which then comes after all that the node reads."""
        self.all[number].nodes.append(node)
        self._unit_of[node] = number
        for u in self.operands(node) - {number}:
            self.all[u].users.add(number)
            self._gain(number, self.all[u].bits | self.all[u].before)

    def depends(self, later: int, earlier: int) -> bool:
        """Whether one unit comes after another."""
        return bool(self.all[later].before & self.all[earlier].bits)

    def only_by(self, node: int, into: int, other: int) -> bool:
        """Whether `into` comes after `other` only because `node` reads it."""
        if self.depends(other, into):
            return False
        bits = self.all[other].bits
        for member in self.all[into].nodes:
            for u in self.operands(member) - {into}:
                if u == other:
                    if member != node:
                        return False
                elif self.all[u].before & bits:
                    return False
        return True

    def merge(self, into: int, other: int) -> None:
        """Make one unit of two: it comes after all that either came after, and what used either comes after it."""
        a, b = self.all[into], self.all[other]
        a.nodes += b.nodes
        a.bits |= b.bits
        a.users |= b.users
        self.merged[other] = into
        b.users.clear()
        a.users.discard(into)
        a.before &= ~a.bits
        self._gain(into, b.before & ~a.bits)
        for user in {self.current(user) for user in a.users}:
            if user != into:
                self._gain(user, a.bits | a.before)

    def _gain(self, number: int, before: int) -> None:
        """Let a unit come after more of the others, and with it what comes after the unit."""
        stack = [number]
        while stack:
            unit = self.all[stack.pop()]
            if before & ~unit.before:
                unit.before |= before
                stack.extend(map(self.current, unit.users))
