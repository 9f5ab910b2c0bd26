"""Fusion: which nodes run together as one kernel.

Fusion is a schedule, not a rewrite: the graph stays as it is, and every node belongs to one kernel or to none. So what
a fused graph computes is beyond doubt, and forgetting the groups gives the identical graph back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graphc.dims import Size
from graphc.ir import Graph, static_shape
from graphc.kernels import HALF
from graphc.ops import TABLE
from graphc.passes.groups import (
    Axes,
    Fusion,
    Group,
    Refusal,
    cheap_scalars,
    in_place,
    kernel_node,
    loops_along,
    operand_index,
    whole_axes,
)
from graphc.passes.liveness import Liveness
from graphc.passes.reading import VIEWS, Nodes, behind_markers, read

GIVEN: Final = VIEWS | {"input", "const", "dim", "iota", "pi"}
# Nodes of a kernel: beyond, registers spill and compiling takes longer than it saves.
LIMIT: Final = 256
NEAR: Final = 192  # nodes after which it ends where the fewest values are read by what follows
MOST: Final = 1024  # where there are far fewer of them further on; each of them may take a vector of the stack
FEWER: Final = 4  # times
SWEEPS: Final = 4  # folds one after the other: what each of them needs is in memory, or computed once more
SHORT: Final = 128  # elements of a row: a function of one number takes as long as the sum of fewer
MANY: Final = 256  # rows: fewer are done before another step has begun
LARGE: Final = 1 << 16  # elements: a second sweep over more of them finds nothing left in the cache

# of a fold in a kernel: over its reduced loops, over the others, or over loops that become the reduced ones
ROLES: Final = ("reduced", "across", "instead")


def fuse(graph: Graph, every: bool = False) -> Fusion:
    """Group the nodes that kernels can compute. Law: nothing changes but what runs together.

    With `every`, a single cheap op is a kernel too; else NumPy, which is as fast, runs it.

    Nodes are taken in order. One joins the kernel of an operand if it runs over the same loops and reads the operand
    where it was just computed, and if no path leads from the kernel to the node through other steps.
    """
    return _Fuser(graph, every).run()


@dataclass(slots=True)
class _Unit:
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
    most: int = LIMIT  # nodes
    until: int | None = None  # the last position in the graph from which a node may join, once that is decided


class _Fuser:
    def __init__(self, graph: Graph, every: bool) -> None:
        self.graph = graph
        self.every = every
        self.nodes: Nodes = graph._node
        self.scalars = cheap_scalars(graph)
        self.liveness = Liveness(graph, self.unstored)
        self.units: list[_Unit] = []
        self.unit_of: dict[int, int] = {}
        self.merged: dict[int, int] = {}
        self.readers: dict[tuple[int, tuple[Size, ...]], list[int]] = {}
        self.refusals: list[Refusal] = []

    def run(self) -> Fusion:
        for i in self.nodes:
            if self.unstored(i):
                continue
            if kernel_node(self.nodes, i):
                self.place(i)
            else:
                self.alone(i)
        groups = [
            Group(tuple(sorted(u.nodes)), u.domain, u.reduced or frozenset(), u.axes, frozenset(u.across))
            for number, u in enumerate(self.units)
            if u.kernel and number not in self.merged and self.worthwhile(u)
        ]
        return Fusion(self.graph, tuple(groups), tuple(self.refusals))

    def unstored(self, node: int) -> bool:
        """Whether no step computes a node: it is there already, or in the memory of another, or a number."""
        return self.nodes[node]["op"] in GIVEN or node in self.scalars

    def worthwhile(self, unit: _Unit) -> bool:
        """Whether a kernel gains anything: NumPy does a single cheap operation as fast, and without compiling."""
        if len(unit.nodes) > 1 or self.every or self.has_halves(unit.nodes[0]):
            return True
        op = TABLE[self.nodes[unit.nodes[0]]["op"]]
        return op.fold is not None or op.work in (None, "transcendental") or not op.ufunc

    def folds_halves(self, nodes: Iterable[int]) -> bool:
        """Whether one of the nodes is a fold to half precision."""
        return any(self.nodes[i]["type"].dtype == HALF for i in nodes if self.fold_of(i))

    def has_halves(self, node: int) -> bool:
        """Whether an op computes with half precision, which NumPy takes apart by integer operations."""
        return any(self.nodes[i]["type"].dtype == HALF for i in (node, *self.nodes[node]["args"]))

    # dependencies

    def unit(self, node: int) -> int | None:
        """The unit that computes what `node` shows; None for inputs, constants and sizes."""
        while self.nodes[node]["op"] in VIEWS:
            node = self.nodes[node]["args"][0]
        found = self.unit_of.get(node)
        return None if found is None else self.current(found)

    def current(self, number: int) -> int:
        """The unit that one has been merged into, or itself."""
        while number in self.merged:
            number = self.merged[number]
        return number

    def operand_units(self, node: int) -> set[int]:
        return {u for a in self.nodes[node]["args"] if (u := self.unit(a)) is not None}

    def alone(self, node: int) -> int:
        """A unit of its own for a node, after everything that it reads."""
        number = len(self.units)
        unit = _Unit(1 << number, 0, [node])
        self.units.append(unit)
        self.unit_of[node] = number
        for u in self.operand_units(node) - {number}:
            unit.before |= self.units[u].bits | self.units[u].before
            self.units[u].users.add(number)
        return number

    def depends(self, later: int, earlier: int) -> bool:
        return bool(self.units[later].before & self.units[earlier].bits)

    def gain(self, number: int, before: int) -> None:
        """Let a unit come after more of the others, and with it what comes after the unit."""
        stack = [number]
        while stack:
            unit = self.units[stack.pop()]
            if before & ~unit.before:
                unit.before |= before
                stack.extend(map(self.current, unit.users))

    # joining

    def place(self, node: int) -> None:
        """Put a node into the kernel of one of its operands, merging kernels if that helps, or begin another."""
        operands = self.operand_units(node)
        for number in sorted(operands, reverse=True):
            if not self.units[number].kernel:
                continue
            axes = self.fit(node, number, operands - {number})
            if isinstance(axes, str):
                self.refuse(node, number, axes)
                continue
            self.join(node, number, axes)
            for other in sorted(operands - {number}, reverse=True):
                self.merge(number, other, node)
            return
        self.begin(node)

    def fit(self, node: int, number: int, others: set[int]) -> Axes | str:
        """The axes that the node, which reads `others` too, would have in a kernel; or why it cannot join."""
        unit = self.units[number]
        if self.full(node, unit):
            return f"the kernel has {len(unit.nodes)} nodes already"
        for u in others:
            if self.depends(u, number):
                return "another step between the two needs the kernel's results first"
        fold = self.fold_of(node)
        stage = self.stage(node, unit)
        if fold is not None and (stage >= SWEEPS or (stage >= 2 and self.heavy(unit) > 1)):
            return "another sweep would compute again what others have computed"
        axes = self.fold_axes(node, unit) if fold is not None else self.element_axes(node, number)
        if isinstance(axes, str) or fold is not None:
            return axes
        if unit.reduced is not None and stage:
            if self.sweeps_again(unit, axes):
                return "a second sweep over so many elements would find nothing left in the cache"
            if self.one_at_a_time(node, unit, axes):
                return "a function of the sums of short rows is faster for many rows at once"
        return axes

    def full(self, node: int, unit: _Unit) -> bool:
        """Whether a kernel takes no more nodes: what it leaves to others should be few values."""
        if len(unit.nodes) < NEAR:
            return False
        position = self.liveness.positions[node]
        if unit.until is None:
            # how many values it would leave to later nodes if it ended here, or after some of them
            left = self.liveness.left(unit.nodes[0], node, MOST - len(unit.nodes))
            near, far = left[: LIMIT - len(unit.nodes) + 1], left[LIMIT - len(unit.nodes) + 1 :]
            unit.until = position + len(near) - 1 - near[::-1].index(min(near))
            if far and FEWER * min(far) <= min(near):
                unit.most, unit.until = MOST, position + len(near) + far.index(min(far))
        return position >= unit.until or len(unit.nodes) >= unit.most

    def one_at_a_time(self, node: int, unit: _Unit, axes: Axes) -> bool:
        """Whether a transcendental function would be computed once for each of many short rows."""
        assert unit.reduced is not None
        work = TABLE[self.nodes[node]["op"]].work
        last = max(k for k, d in enumerate(unit.domain) if d != 1)
        if work not in (None, "transcendental") or last not in unit.reduced or unit.reduced & set(axes):
            return False
        row = math.prod(d if isinstance(d, int) else SHORT for k, d in enumerate(unit.domain) if k in unit.reduced)
        rows = math.prod(d if isinstance(d, int) else MANY for k, d in enumerate(unit.domain) if k not in unit.reduced)
        return row < SHORT and rows >= MANY

    def stage(self, node: int, unit: _Unit) -> int:
        """After how many folds of the kernel, one after the other, the node's operands are known."""
        stage = 0
        for a in self.nodes[node]["args"]:
            while self.nodes[a]["op"] in VIEWS:
                a = self.nodes[a]["args"][0]
            stage = max(stage, unit.stages.get(a, 0))
        return stage

    def know(self, node: int, unit: _Unit) -> None:
        """Note after how many folds a node is known."""
        stage = self.stage(node, unit) + (self.fold_of(node) is not None)
        if stage:
            unit.stages[node] = stage

    def heavy(self, unit: _Unit) -> int:
        """How many transcendental functions are computed at each point of the reduced loops."""
        assert unit.reduced is not None
        return sum(
            not unit.reduced.isdisjoint(axes) and TABLE[self.nodes[i]["op"]].work in (None, "transcendental")
            for i, axes in unit.axes.items()
        )

    def uses_folds(self, unit: _Unit) -> bool:
        """Whether a node of the kernel needs the result of a fold."""
        return any(stage > 1 or self.fold_of(i) is None for i, stage in unit.stages.items())

    def sweeps_again(self, unit: _Unit, axes: Axes) -> bool:
        """Whether a node would walk a whole large array again after a reduction of it to one number."""
        assert unit.reduced is not None
        shape = static_shape(unit.domain)
        varies = any(loop in unit.reduced for loop in axes if loop is not None)
        whole = all(k in unit.reduced or d == 1 for k, d in enumerate(unit.domain))
        return varies and whole and shape is not None and math.prod(shape) > LARGE

    def fold_axes(self, node: int, unit: _Unit) -> Axes | str:
        data = self.nodes[node]
        attrs = dict(data["attrs"])
        operand = data["args"][0]
        shape = self.nodes[operand]["type"].shape
        own = unit.axes.get(behind_markers(self.nodes, operand))
        if own is None or self.nodes[behind_markers(self.nodes, operand)]["type"].shape != shape:
            return "it folds a rearranged result of the kernel"
        over = loops_along(own, attrs["axes"])
        role = self.role(node, unit, over, own)
        return role if role not in ROLES else self.folded(own, attrs)

    def role(self, node: int, unit: _Unit, over: frozenset[int], own: Axes) -> str:
        """What `node`, a fold over some loops of a value with these axes, would be in a kernel; or why it cannot be."""
        loops = {k for k, d in enumerate(unit.domain) if d != 1}
        named = {loop for loop in own if loop is not None}
        if not over:
            return "it folds over no loop of the kernel"
        reduced = unit.reduced
        if reduced is None:
            if named != loops:
                return "it folds what not all loops of the kernel run along"
            return "reduced" if not any(self.lower(unit, i) for i in unit.nodes) else "the kernel has other axes"
        if named == loops and over == reduced:
            return "reduced"
        last = max(loops)
        rest = loops - reduced
        if self.folds_halves((node, *unit.nodes)):
            # what goes across is stored as it was added up, and half precision is not added up in
            return "folds of half precision run over the same loops"
        if over != rest or not rest or named not in (loops, rest):
            return "the kernel folds over other loops"
        if last in reduced:
            return "across"
        if named == loops and not unit.across and all(self.unread(unit, i) for i in unit.nodes if self.fold_of(i)):
            return "instead"
        return "the kernel folds over other loops, and uses the results"

    def fold_of(self, node: int) -> str | None:
        return TABLE[self.nodes[node]["op"]].fold

    def unread(self, unit: _Unit, node: int) -> bool:
        """Whether no other node of the kernel reads this one."""
        inside = set(unit.nodes)
        stack = [node]
        while stack:
            for user in self.graph.successors(stack.pop()):
                if user in inside:
                    return False
                if self.nodes[user]["op"] in VIEWS:
                    stack.append(user)
        return True

    def take(self, unit: _Unit, node: int, role: str, over: frozenset[int]) -> None:
        """Note what a fold is in the kernel."""
        if role == "across":
            unit.across.add(node)
            return
        if role == "instead":
            unit.across = {i for i in unit.nodes if self.fold_of(i)}
            unit.across.discard(node)
        unit.reduced = over

    def lower(self, unit: _Unit, node: int) -> bool:
        """Whether the node is the same along one of the kernel's loops."""
        return set(unit.axes[node]) - {None} != {k for k, d in enumerate(unit.domain) if d != 1}

    @staticmethod
    def folded(own: Axes, attrs: Mapping[str, Any]) -> Axes:
        if attrs["keepdims"]:
            return tuple(None if a in attrs["axes"] else loop for a, loop in enumerate(own))
        return tuple(loop for a, loop in enumerate(own) if a not in attrs["axes"])

    def element_axes(self, node: int, number: int) -> Axes | str:
        """Axes that follow from where the node reads the kernel's values; the whole domain is tried first."""
        unit = self.units[number]
        shape = self.nodes[node]["type"].shape
        candidates = []
        if shape == unit.domain:
            whole = whole_axes(shape)
            if all(self.same_place(a, number, whole) for a in self.nodes[node]["args"]):
                return whole
            candidates.append(whole)
        derived = self.derived_axes(node, unit)
        if derived is not None and derived not in candidates:
            candidates.append(derived)
        for axes in candidates:
            if self.reads_in_place(node, number, axes):
                return axes
        return "it reads elements of the kernel's results at other places, or runs over other loops"

    def same_place(self, operand: int, number: int, whole: Axes) -> bool:
        """Whether it is plain that a node over all loops of a kernel takes an operand from the same iteration."""
        data = self.nodes[operand]
        if data["op"] in VIEWS:
            return False
        unit = self.units[number]
        if operand in unit.axes:
            return len(data["type"].shape) == len(whole) and unit.axes[operand] == whole and operand not in unit.across
        return self.unit(operand) != number

    def derived_axes(self, node: int, unit: _Unit) -> Axes | None:
        shape = self.nodes[node]["type"].shape
        rank = len(shape)
        own: list[int | None] = [None] * rank
        identity: Axes = tuple(range(rank))
        for a in self.nodes[node]["args"]:
            found = read(self.nodes, a, operand_index(self.nodes, node, a, identity, rank), rank)
            loops = unit.axes.get(found.root)
            if loops is None or found.index is None or found.within:
                continue
            for index, loop in zip(found.index, loops, strict=True):
                axis = index.loop
                if loop is None:
                    continue
                if axis is None or own[axis] not in (None, loop):
                    return None
                own[axis] = loop
        named = [loop for loop in own if loop is not None]
        fits = all(
            (loop is None and d == 1) or (loop is not None and unit.domain[loop] == d)
            for loop, d in zip(own, shape, strict=True)
        )
        return tuple(own) if fits and len(set(named)) == len(named) else None

    def reads_in_place(self, node: int, number: int, axes: Axes) -> bool:
        """Whether every value that a node with these axes takes from a kernel is the one of the same iteration."""
        unit = self.units[number]
        loops = len(unit.domain)
        for a in self.nodes[node]["args"]:
            found = read(self.nodes, a, operand_index(self.nodes, node, a, axes, loops), loops)
            if self.unit(found.root) != number:
                continue
            own = unit.axes.get(found.root)
            if own is None or found.root in unit.across or not in_place(found, own):
                return False
        return True

    def join(self, node: int, number: int, axes: Axes) -> None:
        unit = self.units[number]
        data = self.nodes[node]
        if TABLE[data["op"]].fold is not None:
            own = unit.axes[behind_markers(self.nodes, data["args"][0])]
            over = loops_along(own, dict(data["attrs"])["axes"])
            self.take(unit, node, self.role(node, unit, over, own), over)
        self.enter(node, number, axes)

    def enter(self, node: int, number: int, axes: Axes) -> None:
        """Make the node one of a kernel's, which then comes after all that the node reads."""
        unit = self.units[number]
        self.know(node, unit)
        unit.nodes.append(node)
        unit.axes[node] = axes
        self.unit_of[node] = number
        self.register(node, number)
        for u in self.operand_units(node) - {number}:
            self.units[u].users.add(number)
            self.gain(number, self.units[u].bits | self.units[u].before)

    def register(self, node: int, number: int) -> None:
        """Remember which arrays the kernel reads, for kernels beside it that read the same."""
        domain = self.units[number].domain
        for root in self.roots(node):
            known = self.readers.setdefault((root, domain), [])
            if number not in known:
                known.append(number)

    def roots(self, node: int) -> Iterator[int]:
        """Arrays of the kernel's rank that the node reads, other than scalars."""
        for a in self.nodes[node]["args"]:
            while self.nodes[a]["op"] in VIEWS:
                a = self.nodes[a]["args"][0]
            if self.nodes[a]["type"].shape:
                yield a

    def begin(self, node: int) -> None:
        """A new kernel, or one that already reads the same array over the same loops."""
        data = self.nodes[node]
        fold = TABLE[data["op"]].fold
        domain = self.nodes[data["args"][0]]["type"].shape if fold is not None else data["type"].shape
        whole = whole_axes(domain)
        if fold is None:
            axes, reduced = whole, None
        else:
            attrs = dict(data["attrs"])
            over = loops_along(whole, attrs["axes"])
            if not over:
                self.alone(node)
                return
            axes, reduced = self.folded(whole, attrs), over
        number = self.beside(node, domain, reduced, whole)
        if number is None:
            number = self.alone(node)
            unit = self.units[number]
            unit.kernel, unit.domain, unit.reduced = True, domain, reduced
            unit.axes[node] = axes
            self.know(node, unit)
            self.register(node, number)
            return
        unit = self.units[number]
        if reduced is not None:
            self.take(unit, node, self.role(node, unit, reduced, whole), reduced)
        self.enter(node, number, axes)

    def beside(self, node: int, domain: tuple[Size, ...], reduced: frozenset[int] | None, whole: Axes) -> int | None:
        """A kernel over the same loops that reads one of the node's arrays, and is no ancestor of the node's."""
        operands = self.operand_units(node)
        for root in self.roots(node):
            for known in reversed(self.readers.get((root, domain), ())[-8:]):
                number = self.current(known)
                unit = self.units[number]
                if number in operands or self.full(node, unit):
                    continue
                if reduced is not None and self.role(node, unit, reduced, whole) not in ROLES:
                    continue
                if any(self.depends(u, number) for u in operands):
                    continue
                return number
        return None

    def merge(self, into: int, other: int, node: int) -> None:
        """Make one kernel of two that `node` reads, if they run over the same loops and neither needs the other."""
        a, b = self.units[into], self.units[other]
        if not b.kernel or a.domain != b.domain or self.full(node, b):
            return
        if len(a.nodes) + len(b.nodes) > max(a.most, b.most):
            return
        turned: _Unit | None = None
        if a.reduced is not None and b.reduced is not None and a.reduced != b.reduced:
            turned = a if self.turns(a, b, node) else b if self.turns(b, a, node) else None
            if turned is None:
                return
        if (a.reduced is None) != (b.reduced is None):
            plain = a if a.reduced is None else b
            if any(self.lower(plain, i) for i in plain.nodes):
                return
        # `node` has joined `into`: it reads `other`, and may be all that does
        apart = not (self.depends(into, other) or self.depends(other, into))
        if not apart and not self.only_by(node, into, other):
            return
        if self.fold_of(node) is None and not self.reads_in_place(node, other, a.axes[node]):
            return
        if turned is not None:
            turned.across = {i for i in turned.nodes if self.fold_of(i)}
            turned.reduced = a.reduced if turned is b else b.reduced
        a.nodes += b.nodes
        a.most = max(a.most, b.most)
        a.until = max((u.until for u in (a, b) if u.until is not None), default=None)
        a.across |= b.across
        a.stages.update(b.stages)
        a.axes.update(b.axes)
        self.know(node, a)
        a.reduced = a.reduced if a.reduced is not None else b.reduced
        a.bits |= b.bits
        a.users |= b.users
        self.merged[other] = into
        b.users.clear()
        a.users.discard(into)
        a.before &= ~a.bits
        self.gain(into, b.before & ~a.bits)
        for user in {self.current(user) for user in a.users}:
            if user != into:
                self.gain(user, a.bits | a.before)

    def turns(self, unit: _Unit, other: _Unit, node: int) -> bool:
        """Whether all folds of a kernel can become folds across in another one, which folds over the other loops."""
        assert unit.reduced is not None
        assert other.reduced is not None
        loops = {k for k, d in enumerate(unit.domain) if d != 1}
        rest = loops - other.reduced
        if unit.across or self.uses_folds(unit) or unit.reduced != rest or max(loops) not in other.reduced:
            return False
        if self.folds_halves(unit.nodes):
            return False
        return all(self.unread(unit, i) for i in unit.nodes if self.fold_of(i)) and self.fold_of(node) is None

    def only_by(self, node: int, into: int, other: int) -> bool:
        """Whether `into` comes after `other` only because `node` reads it."""
        if self.depends(other, into):
            return False
        bits = self.units[other].bits
        for member in self.units[into].nodes:
            for u in self.operand_units(member) - {into}:
                if u == other:
                    if member != node:
                        return False
                elif self.units[u].before & bits:
                    return False
        return True

    def refuse(self, node: int, number: int, why: str) -> None:
        for a in self.nodes[node]["args"]:
            if self.unit(a) == number:
                self.refusals.append(Refusal(a, node, why))
