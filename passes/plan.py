"""Planning: what runs when, when each value dies, which results may overwrite an operand, which outputs are copied."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from graphc import dims
from graphc.dims import Size
from graphc.ir import NOTHING, Graph, TensorType
from graphc.kernels import Apply, Kernel, Load, Reduce
from graphc.ops import TABLE
from graphc.passes.donation import Donations, fallible_first
from graphc.passes.groups import Group, cheap_scalars
from graphc.passes.lowering import lower
from graphc.passes.reading import VIEWS, Nodes
from graphc.plan import Plan, Range, Step, nbytes

SOURCES = frozenset({"input", "const"})
EXTREMA = {"reduce_max": "maximum", "reduce_min": "minimum", "argmax": "argmax", "argmin": "argmin"}


def plan(graph: Graph, overwrite: bool = True, groups: Sequence[Group] = (), traced: Graph | None = None) -> Plan:
    """Order the steps and assign storage. A value lives until the last step that reads it or a view of it.

    A result that overwrites an operand takes over its memory layout, and NumPy sums other layouts in another order;
    `overwrite=False` gives every result NumPy's own layout. The ranges that must not be empty are those of the graph as
    `traced`: passes may fold ranges of their own, and drop one that only raised an error.
    """
    nodes: Nodes = graph._node
    root = _roots(nodes)
    units = _ordered(graph, _inserting(graph, _units(graph, groups), groups))
    if graph.graph["donated"] and overwrite:
        units = [units[k] for k in fallible_first(nodes, [((*u.nodes, *u.results), u.reads) for u in units])]
    last_use = _last_uses(graph, units, root)
    donations = Donations(graph, [u.nodes for u in units], root, frozenset(i for u in units for i in u.fills))
    dying: dict[int, list[int]] = {}
    for r, at in last_use.items():
        dying.setdefault(at, []).append(r)
    steps: list[Step] = []
    storage: dict[int, Size] = {}
    for position, unit in enumerate(units):
        into: dict[int, int] = {}
        for i in unit.results:
            operand = _overwritable(nodes, root, last_use, position, unit, i, into, donations) if overwrite else None
            if operand is not None:
                into[i] = operand
            elif root[i] == i and nodes[i]["type"] is not NOTHING:
                storage[i] = nbytes(nodes[i]["type"])
        # an unread result dies where it is made; an overwritten operand's storage lives on in the result
        taken = set(into.values())
        frees = tuple(r for r in dying.get(position, ()) if r not in taken and _stored(nodes[r]))
        fills = {i: base for i, base in unit.fills.items() if i not in into}
        steps.append(Step(unit.nodes, into, frees, unit.kernel, fills))
    if overwrite:
        steps = donations.settle(steps, storage, last_use)
    into = {result: operand for step in steps for result, operand in step.into.items()}
    copies = _copies(graph, root, donations.returned() if overwrite else {}) | donations.views(into)
    donated = donations.used(into, copies)
    return Plan(graph, _ranges(traced or graph), tuple(steps), copies, storage, donated)


def _ranges(graph: Graph) -> tuple[Range, ...]:
    """The ranges of maxima and minima, and of their positions, that may be empty."""
    found = []
    for data in graph._node.values():
        if data["op"] not in EXTREMA:
            continue
        shape, attrs = graph._node[data["args"][0]]["type"].shape, dict(data["attrs"])
        axes = attrs["axes"] if "axes" in attrs else (attrs["axis"],)
        elements = dims.product([shape[a] for a in axes])
        if not isinstance(elements, int):
            found.append(Range(EXTREMA[data["op"]], elements))
    return tuple(dict.fromkeys(found))


def _stored(data: dict[str, Any]) -> bool:
    """Whether a node's result is stored by the plan: not one of the sources, and no effect."""
    return data["op"] not in SOURCES and data["type"] is not NOTHING


@dataclass(frozen=True, slots=True)
class _Unit:
    """What becomes a step: nodes, what it reads, what it leaves behind, and what first fills that."""

    nodes: tuple[int, ...]
    reads: tuple[int, ...]
    results: tuple[int, ...]
    kernel: Kernel | None
    fills: Mapping[int, int] = field(default_factory=dict)


def _units(graph: Graph, groups: Sequence[Group]) -> list[_Unit]:
    """A unit for each group, and for each other node that something reads outside the kernels."""
    nodes: Nodes = graph._node
    units: list[_Unit] = []
    grouped: set[int] = set()
    needed = {*graph.outputs, *graph.effects}
    scalars = cheap_scalars(graph) if groups else frozenset()
    for group in groups:
        kernel = lower(graph, group, scalars)
        units.append(_Unit(group.nodes, kernel.roots, kernel.nodes, kernel))
        grouped.update(group.nodes)
        needed.update(kernel.roots)
    for i in reversed(graph._node):
        data = nodes[i]
        if i in grouped or data["op"] in SOURCES:
            continue
        # without kernels an unread node runs all the same: passes have dropped what is dead
        if groups and i not in needed and (data["op"] in VIEWS or TABLE[data["op"]].elementwise or not data["args"]):
            continue
        needed.update(data["args"])
        units.append(_Unit((i,), data["args"], (i,), None))
    return units


def _inserting(graph: Graph, units: list[_Unit], groups: Sequence[Group]) -> list[_Unit]:
    """The units, results of kernels that only go into a slice of an array stored there at once."""
    nodes: Nodes = graph._node
    inserting = [
        n for n, unit in enumerate(units) if unit.kernel is None and nodes[unit.nodes[0]]["op"] == "insert_slice"
    ]
    if not groups or not inserting:
        return units
    outputs = frozenset(graph.outputs)
    maker = _makers(units)
    order = _Order(graph, units)
    inserts: dict[int, dict[int, int]] = {}
    gone: set[int] = set()
    for number in reversed(inserting):  # as the program writes them
        (node,) = units[number].nodes
        base, update = nodes[node]["args"]
        at = maker.get(update)
        if at is None or units[at].kernel is None or update in outputs or base == update:
            continue
        if set(graph.successors(update)) - set(units[at].nodes) != {node}:
            continue
        if base in maker and not order.put_after(at, maker[base]):
            continue
        into = inserts.setdefault(at, {})
        into[update] = node
        units[at] = replace(
            units[at],
            reads=tuple(dict.fromkeys((*units[at].reads, base))),
            results=tuple(node if i == update else i for i in units[at].results),
            fills={**units[at].fills, node: base},
        )
        maker[node] = at
        order.join(at, number)
        gone.add(number)
    scalars = cheap_scalars(graph) if inserts else frozenset()
    for at, into in inserts.items():
        # groups come first among the units
        kernel = lower(graph, groups[at], scalars, into)
        units[at] = replace(units[at], nodes=(*units[at].nodes, *into.values()), kernel=kernel)
    return [unit for number, unit in enumerate(units) if number not in gone]


def _makers(units: Sequence[_Unit]) -> dict[int, int]:
    """For each node that units leave behind the number of the unit."""
    return {i: number for number, unit in enumerate(units) for i in unit.results}


class _Order:
    """Units by number, each after those that it needs; kept so while units come to need more.

    users: for each unit those that need it.
    """

    def __init__(self, graph: Graph, units: Sequence[_Unit]) -> None:
        maker = _makers(units)
        earlier = dict(zip(graph.effects[1:], graph.effects, strict=False))
        self.users: list[set[int]] = [set() for _ in units]
        waiting = [0] * len(units)
        for number, unit in enumerate(units):
            reads = (*unit.reads, *(earlier[i] for i in unit.nodes if i in earlier))
            before = {maker[a] for a in reads if a in maker}
            waiting[number] = len(before)
            for b in before:
                self.users[b].add(number)
        ready = [(unit.nodes[-1], number) for number, unit in enumerate(units) if not waiting[number]]
        heapq.heapify(ready)
        self.numbers: list[int] = []
        while ready:
            _, number = heapq.heappop(ready)
            self.numbers.append(number)
            for user in self.users[number]:
                waiting[user] -= 1
                if not waiting[user]:
                    heapq.heappush(ready, (units[user].nodes[-1], user))
        assert len(self.numbers) == len(units), "kernels wait for one another"
        self.rank = {number: rank for rank, number in enumerate(self.numbers)}

    def put_after(self, later: int, earlier: int) -> bool:
        """Let a unit need another one, unless that one needs it; whether it could be done.

        Only what lies between the two is looked at, and moved. That is the idea of D. J. Pearce and P. H. J. Kelly, "A
        dynamic topological sort algorithm for directed acyclic graphs", 2006.
        """
        start, stop = self.rank[later], self.rank[earlier]
        if start <= stop:
            moving = {later}
            stack = [later]
            while stack:
                more = {u for u in self.users[stack.pop()] if self.rank[u] <= stop} - moving
                moving |= more
                stack.extend(more)
            if earlier in moving:
                return False
            between = self.numbers[start : stop + 1]
            between = [n for n in between if n not in moving] + [n for n in between if n in moving]
            self.numbers[start : stop + 1] = between
            self.rank.update((number, rank) for rank, number in enumerate(between, start))
        self.users[earlier].add(later)
        return True

    def join(self, unit: int, user: int) -> None:
        """Let everything that needs a unit's user need the unit itself."""
        self.users[unit] |= self.users[user] - {unit}


def _ordered(graph: Graph, units: list[_Unit]) -> list[_Unit]:
    """The units, each after what it reads and effects as they were written, else in the order of their last nodes."""
    return [units[number] for number in _Order(graph, units).numbers]


def _roots(nodes: Nodes) -> dict[int, int]:
    """For each node, the node whose storage it may show: itself, or for a view the root of its first operand."""
    root: dict[int, int] = {}
    for i, data in nodes.items():
        op = TABLE.get(data["op"])
        root[i] = root[data["args"][0]] if op is not None and op.view else i
    return root


def _last_uses(graph: Graph, units: Sequence[_Unit], root: Mapping[int, int]) -> dict[int, int]:
    """For each node with storage the position of the last unit that reads it; outputs outlive every unit."""
    last: dict[int, int] = {}
    for position, unit in enumerate(units):
        for i in unit.results:
            last.setdefault(root[i], position)
        for a in unit.reads:
            last[root[a]] = position
    for o in graph.outputs:
        last.pop(root[o], None)
    return last


def _overwritable(
    nodes: Nodes,
    root: Mapping[int, int],
    last_use: Mapping[int, int],
    position: int,
    unit: _Unit,
    result: int,
    taken: Mapping[int, int],
    donations: Donations,
) -> int | None:
    """An operand that dies here and whose storage fits the result exactly, of an op that can write there."""
    type = nodes[result]["type"]
    if not isinstance(type, TensorType) or not type.shape:
        return None
    op = TABLE[nodes[result]["op"]]
    if unit.kernel is None and not (op.ufunc or op.updates):
        return None
    candidates = unit.reads[:1] if unit.kernel is None and op.updates else unit.reads
    if result in unit.fills:
        candidates = (unit.fills[result],)  # what is not written keeps its values
    donated = donations.open(position, result, result in unit.fills or (unit.kernel is None and op.updates))
    for a in sorted(candidates, key=lambda a: a not in donated):
        if (
            root[a] == a
            and nodes[a]["type"] is type
            and (nodes[a]["op"] not in SOURCES or a in donated)
            and last_use.get(a) == position
            and a not in taken.values()
            and sum(root[b] == a for b in set(unit.reads)) == 1
            and (unit.kernel is None or _elementwise(unit.kernel, a, result))
        ):
            return int(a)
    return None


def _elementwise(kernel: Kernel, operand: int, result: int) -> bool:
    """Whether each element of the operand is read only before the same element of the result is written."""
    store = next(s for s in kernel.stores if s.node == result)
    loads = [k for k, v in enumerate(kernel.values) if isinstance(v, Load) and v.root == operand]
    found = [kernel.values[k] for k in loads]
    if not all(isinstance(v, Load) and v.at == store.at and not v.within for v in found):
        return False
    value, stage = kernel.values[store.value], kernel.stages[store.value]
    if isinstance(value, Reduce) and value.across:
        return False
    along = {loop for loop, stride in enumerate(store.at.strides) if stride != 0}
    whole = along == set(range(len(kernel.sizes)))
    if not whole and along != set(range(len(kernel.sizes))) - kernel.reduced:
        return False
    # what the sweeps over all elements compute before the result is written is computed no more afterwards
    start = stage + 1 if whole else stage
    depends = set(loads)
    for k, one in enumerate(kernel.values):
        if isinstance(one, Apply) and depends.intersection(one.operands):
            depends.add(k)
    again = any(kernel.stages[k] >= start and (whole or kernel.varies[k] & kernel.reduced) for k in depends)
    return not again and stage == (0 if whole else max(kernel.stages))


def _copies(graph: Graph, root: Mapping[int, int], returned: Mapping[int, int]) -> frozenset[int]:
    """Outputs that must not share storage with what the caller or another output holds.

    `returned` are inputs that the caller does not hold any more, and which of the outputs they are.
    """
    nodes = graph._node
    taken: set[int] = set()
    result = set()
    for position, o in enumerate(graph.outputs):
        r = root[o]
        partial = nodes[o]["op"] in ("broadcast_to", "slice")
        if (nodes[r]["op"] in SOURCES and returned.get(o) != position) or r in taken or partial:
            result.add(position)
        taken.add(r)
    return frozenset(result)
