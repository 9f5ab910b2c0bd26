"""Fusion: which nodes run together as one kernel.

Fusion is a schedule, not a rewrite: the graph stays as it is, and every node belongs to one kernel or to none. So what
a fused graph computes is beyond doubt, and forgetting the groups gives the identical graph back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from graphc.dims import Size
from graphc.ir import Graph, static_shape
from graphc.kernels import HALF
from graphc.ops import TABLE
from graphc.passes.folds import ROLES, Folds
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
from graphc.passes.units import Unit, Units

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


def fuse(graph: Graph, every: bool = False) -> Fusion:
    """Group the nodes that kernels can compute. Law: nothing changes but what runs together.

    With `every`, a single cheap op is a kernel too; else NumPy, which is as fast, runs it.

    Nodes are taken in order. One joins the kernel of an operand if it runs over the same loops and reads the operand
    where it was just computed, and if no path leads from the kernel to the node through other steps.
    """
    return _Fuser(graph, every).run()


class _Fuser:
    def __init__(self, graph: Graph, every: bool) -> None:
        self.graph = graph
        self.every = every
        self.nodes: Nodes = graph._node
        self.scalars = cheap_scalars(graph)
        self.liveness = Liveness(graph, self.unstored)
        self.units = Units(self.nodes)
        self.folds = Folds(graph)
        self.readers: dict[tuple[int, tuple[Size, ...]], list[int]] = {}
        self.refusals: list[Refusal] = []

    def run(self) -> Fusion:
        for i in self.nodes:
            if self.unstored(i):
                continue
            if kernel_node(self.nodes, i):
                self.place(i)
            else:
                self.units.add(i)
        groups = [
            Group(tuple(sorted(u.nodes)), u.domain, u.reduced or frozenset(), u.axes, frozenset(u.across))
            for number, u in enumerate(self.units.all)
            if u.kernel and number not in self.units.merged and self.worthwhile(u)
        ]
        return Fusion(self.graph, tuple(groups), tuple(self.refusals))

    def unstored(self, node: int) -> bool:
        """Whether no step computes a node: it is there already, or in the memory of another, or a number."""
        return self.nodes[node]["op"] in GIVEN or node in self.scalars

    def worthwhile(self, unit: Unit) -> bool:
        """Whether a kernel gains anything: NumPy does a single cheap operation as fast, and without compiling."""
        if len(unit.nodes) > 1 or self.every or self.has_halves(unit.nodes[0]):
            return True
        op = TABLE[self.nodes[unit.nodes[0]]["op"]]
        return op.fold is not None or op.work in (None, "transcendental") or not op.ufunc

    def has_halves(self, node: int) -> bool:
        """Whether an op computes with half precision, which NumPy takes apart by integer operations."""
        return any(self.nodes[i]["type"].dtype == HALF for i in (node, *self.nodes[node]["args"]))

    # joining

    def place(self, node: int) -> None:
        """Put a node into the kernel of one of its operands, merging kernels if that helps, or begin another."""
        operands = self.units.operands(node)
        for number in sorted(operands, reverse=True):
            if not self.units.all[number].kernel:
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
        unit = self.units.all[number]
        if self.full(node, unit):
            return f"the kernel has {len(unit.nodes)} nodes already"
        for u in others:
            if self.units.depends(u, number):
                return "another step between the two needs the kernel's results first"
        fold = self.folds.of(node)
        stage = self.stage(node, unit)
        if fold is not None and (stage >= SWEEPS or (stage >= 2 and self.heavy(unit) > 1)):
            return "another sweep would compute again what others have computed"
        axes = self.folds.axes(node, unit) if fold is not None else self.element_axes(node, number)
        if isinstance(axes, str) or fold is not None:
            return axes
        if unit.reduced is not None and stage:
            if self.sweeps_again(unit, axes):
                return "a second sweep over so many elements would find nothing left in the cache"
            if self.one_at_a_time(node, unit, axes):
                return "a function of the sums of short rows is faster for many rows at once"
        return axes

    def full(self, node: int, unit: Unit) -> bool:
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

    def one_at_a_time(self, node: int, unit: Unit, axes: Axes) -> bool:
        """Whether a transcendental function would be computed once for each of many short rows."""
        assert unit.reduced is not None
        work = TABLE[self.nodes[node]["op"]].work
        last = max(k for k, d in enumerate(unit.domain) if d != 1)
        if work not in (None, "transcendental") or last not in unit.reduced or unit.reduced & set(axes):
            return False
        row = math.prod(d if isinstance(d, int) else SHORT for k, d in enumerate(unit.domain) if k in unit.reduced)
        rows = math.prod(d if isinstance(d, int) else MANY for k, d in enumerate(unit.domain) if k not in unit.reduced)
        return row < SHORT and rows >= MANY

    def stage(self, node: int, unit: Unit) -> int:
        """After how many folds of the kernel, one after the other, the node's operands are known."""
        stage = 0
        for a in self.nodes[node]["args"]:
            while self.nodes[a]["op"] in VIEWS:
                a = self.nodes[a]["args"][0]
            stage = max(stage, unit.stages.get(a, 0))
        return stage

    def know(self, node: int, unit: Unit) -> None:
        """Note after how many folds a node is known."""
        stage = self.stage(node, unit) + (self.folds.of(node) is not None)
        if stage:
            unit.stages[node] = stage

    def heavy(self, unit: Unit) -> int:
        """How many transcendental functions are computed at each point of the reduced loops."""
        assert unit.reduced is not None
        return sum(
            not unit.reduced.isdisjoint(axes) and TABLE[self.nodes[i]["op"]].work in (None, "transcendental")
            for i, axes in unit.axes.items()
        )

    def sweeps_again(self, unit: Unit, axes: Axes) -> bool:
        """Whether a node would walk a whole large array again after a reduction of it to one number."""
        assert unit.reduced is not None
        shape = static_shape(unit.domain)
        varies = any(loop in unit.reduced for loop in axes if loop is not None)
        whole = all(k in unit.reduced or d == 1 for k, d in enumerate(unit.domain))
        return varies and whole and shape is not None and math.prod(shape) > LARGE

    def element_axes(self, node: int, number: int) -> Axes | str:
        """Axes that follow from where the node reads the kernel's values; the whole domain is tried first."""
        unit = self.units.all[number]
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
        unit = self.units.all[number]
        if operand in unit.axes:
            return len(data["type"].shape) == len(whole) and unit.axes[operand] == whole and operand not in unit.across
        return self.units.of(operand) != number

    def derived_axes(self, node: int, unit: Unit) -> Axes | None:
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
        unit = self.units.all[number]
        loops = len(unit.domain)
        for a in self.nodes[node]["args"]:
            found = read(self.nodes, a, operand_index(self.nodes, node, a, axes, loops), loops)
            if self.units.of(found.root) != number:
                continue
            own = unit.axes.get(found.root)
            if own is None or found.root in unit.across or not in_place(found, own):
                return False
        return True

    def join(self, node: int, number: int, axes: Axes) -> None:
        unit = self.units.all[number]
        data = self.nodes[node]
        if self.folds.of(node) is not None:
            own = unit.axes[behind_markers(self.nodes, data["args"][0])]
            over = loops_along(own, dict(data["attrs"])["axes"])
            self.folds.note(unit, node, self.folds.role(node, unit, over, own), over)
        self.enter(node, number, axes)

    def enter(self, node: int, number: int, axes: Axes) -> None:
        """Make the node one of a kernel's, which then comes after all that the node reads."""
        unit = self.units.all[number]
        self.know(node, unit)
        unit.axes[node] = axes
        self.register(node, number)
        self.units.enter(node, number)

    def register(self, node: int, number: int) -> None:
        """Remember which arrays the kernel reads, for kernels beside it that read the same."""
        domain = self.units.all[number].domain
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
        fold = self.folds.of(node)
        domain = self.nodes[data["args"][0]]["type"].shape if fold is not None else data["type"].shape
        whole = whole_axes(domain)
        if fold is None:
            axes, reduced = whole, None
        else:
            attrs = dict(data["attrs"])
            over = loops_along(whole, attrs["axes"])
            if not over:
                self.units.add(node)
                return
            axes, reduced = self.folds.left(whole, attrs), over
        number = self.beside(node, domain, reduced, whole)
        if number is None:
            number = self.units.add(node)
            unit = self.units.all[number]
            unit.kernel, unit.most, unit.domain, unit.reduced = True, LIMIT, domain, reduced
            unit.axes[node] = axes
            self.know(node, unit)
            self.register(node, number)
            return
        unit = self.units.all[number]
        if reduced is not None:
            self.folds.note(unit, node, self.folds.role(node, unit, reduced, whole), reduced)
        self.enter(node, number, axes)

    def beside(self, node: int, domain: tuple[Size, ...], reduced: frozenset[int] | None, whole: Axes) -> int | None:
        """A kernel over the same loops that reads one of the node's arrays, and is no ancestor of the node's."""
        operands = self.units.operands(node)
        for root in self.roots(node):
            for known in reversed(self.readers.get((root, domain), ())[-8:]):
                number = self.units.current(known)
                unit = self.units.all[number]
                if number in operands or self.full(node, unit):
                    continue
                if reduced is not None and self.folds.role(node, unit, reduced, whole) not in ROLES:
                    continue
                if any(self.units.depends(u, number) for u in operands):
                    continue
                return number
        return None

    def merge(self, into: int, other: int, node: int) -> None:
        """Make one kernel of two that `node` reads, if they run over the same loops and neither needs the other."""
        a, b = self.units.all[into], self.units.all[other]
        if not b.kernel or a.domain != b.domain or self.full(node, b):
            return
        if len(a.nodes) + len(b.nodes) > max(a.most, b.most):
            return
        turned: Unit | None = None
        if a.reduced is not None and b.reduced is not None and a.reduced != b.reduced:
            turned = a if self.folds.turns(a, b, node) else b if self.folds.turns(b, a, node) else None
            if turned is None:
                return
        if (a.reduced is None) != (b.reduced is None):
            plain = a if a.reduced is None else b
            if any(self.folds.lower(plain, i) for i in plain.nodes):
                return
        # `node` has joined `into`: it reads `other`, and may be all that does
        apart = not (self.units.depends(into, other) or self.units.depends(other, into))
        if not apart and not self.units.only_by(node, into, other):
            return
        if self.folds.of(node) is None and not self.reads_in_place(node, other, a.axes[node]):
            return
        if turned is not None:
            turned.across = {i for i in turned.nodes if self.folds.of(i)}
            turned.reduced = a.reduced if turned is b else b.reduced
        a.most = max(a.most, b.most)
        a.until = max((u.until for u in (a, b) if u.until is not None), default=None)
        a.across |= b.across
        a.stages.update(b.stages)
        a.axes.update(b.axes)
        self.know(node, a)
        a.reduced = a.reduced if a.reduced is not None else b.reduced
        self.units.merge(into, other)

    def refuse(self, node: int, number: int, why: str) -> None:
        for a in self.nodes[node]["args"]:
            if self.units.of(a) == number:
                self.refusals.append(Refusal(a, node, why))
