"""What one node costs: arithmetic by class and bytes moved, as formulas in the sizes of its types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from graphc import dims
from graphc.dims import Size
from graphc.ir import Callback, Graph, TensorType, TupleType, Type
from graphc.ops import TABLE
from graphc.ops.record import Arithmetic, Op
from graphc.ops.work import elements
from graphc.plan import Step, nbytes

CLASSES: Final[tuple[Arithmetic, ...]] = ("add", "mul", "div", "transcendental", "other")
MEMORY: Final = frozenset({"input", "const"})  # values that are there before a run
PICKS: Final = frozenset({"gather"})  # reads only as much of the first operand as it gives


def arithmetic(graph: Graph, node: int) -> Mapping[Arithmetic, Size] | None:
    """How often a node does an operation of each class; None where no record says it."""
    data = graph._node[node]
    if data["op"] == "input":
        return {}
    op = TABLE.get(data["op"])
    opaque = any(isinstance(value, (Callback, Graph)) for _, value in data["attrs"])
    if op is None or (op.work is None and opaque):
        return None
    return work_of(op, data["type"], [graph._node[a]["type"] for a in data["args"]], dict(data["attrs"]))


def work_of(op: Op, result: Any, operands: list[Any], attrs: Mapping[str, Any]) -> Mapping[Arithmetic, Size]:
    """The arithmetic of an op on operands of these types; that of integers and booleans counts as `other`."""
    if op.view:
        return {}
    counts: Mapping[Arithmetic, Size] = {}
    if callable(op.work):
        counts = op.work(result, *operands, **attrs)
    elif op.work is not None or op.elementwise:
        counts = {op.work or "transcendental": elements(result)}
    if any(isinstance(t, TensorType) and t.differentiable for t in (result, *operands)):
        return counts
    return {"other": sum(counts.values())}


class Traffic:
    """The bytes that each node of a graph reads and writes when it runs alone.

    A view moves nothing; who reads it reads what it shows, of a broadcast array each element once.
    """

    def __init__(self, graph: Graph) -> None:
        self.nodes = graph._node
        self.shown: dict[int, Size] = {}
        for i, data in self.nodes.items():
            op = TABLE.get(data["op"])
            if op is not None and op.view and data["args"] and data["op"] not in ("slice", "get"):
                self.shown[i] = self.shown[data["args"][0]]
            else:
                self.shown[i] = type_bytes(data["type"])

    def read(self, node: int) -> Counter[Size]:
        """The sizes that a node reads, by how many operands have them."""
        data = self.nodes[node]
        op = TABLE.get(data["op"])
        if op is not None and op.view:
            return Counter()
        operands = list(dict.fromkeys(data["args"]))
        sizes = [self.shown[a] for a in operands]
        if data["op"] in PICKS:
            sizes[0] = type_bytes(data["type"])
        return Counter(sizes)

    def written(self, node: int) -> Size:
        """The bytes of a node's result, unless it is a view, or was there before."""
        data = self.nodes[node]
        op = TABLE.get(data["op"])
        if data["op"] in MEMORY or (op is not None and op.view):
            return 0
        return type_bytes(data["type"])

    def step(self, step: Step) -> Counter[Size]:
        """The bytes that a step of a plan moves: a kernel reads what it loads once, and writes its results alone."""
        if step.kernel is None:
            moved: Counter[Size] = Counter()
            for node in step.nodes:
                moved.update(self.read(node))
                moved[self.written(node)] += 1
            return moved
        return Counter([*map(self.shown.__getitem__, step.kernel.roots), *(self.written(i) for i in step.results)])

    def least(self, graph: Graph) -> Counter[Size]:
        """The bytes of all inputs that something reads, of all constants, and of all results: each once."""
        read = {a for data in self.nodes.values() for a in data["args"]} | set(graph.outputs)
        memory = [i for i, data in self.nodes.items() if data["op"] in MEMORY and i in read]
        results = [type_bytes(self.nodes[o]["type"]) for o in dict.fromkeys(graph.outputs)]
        return Counter([*(type_bytes(self.nodes[i]["type"]) for i in memory), *results])


def type_bytes(type: Type) -> Size:
    """The bytes of all arrays of a type."""
    return add_up(Counter(map(nbytes, type.items if isinstance(type, TupleType) else (type,))))


def add_up(sizes: Mapping[Size, int]) -> Size:
    """The sum of sizes, each as often as it is counted."""
    total: Size = 0
    for size, count in sizes.items():
        total = total + size * count
    return total


def substituted(size: Size, sizes: Mapping[str, int]) -> Size:
    """The size with numbers in place of the symbols that have one."""
    return dims.substitute(size, sizes) if sizes and isinstance(size, dims.Dim) else size
