"""From a plan to a native program: each step as kernels, copies and products over storages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.backends.numpy.llvm import chains, grams, moves, panels, picking, updates
from graphc.backends.numpy.llvm.builder import Builder, anonymous, indices
from graphc.backends.numpy.llvm.instructions import (
    Place,
    Program,
    Result,
    Run,
    Running,
    Search,
    Storage,
    same_count,
)
from graphc.backends.numpy.llvm.layouts import Layout, extent
from graphc.backends.numpy.llvm.machine import Machine, host
from graphc.backends.numpy.llvm.matmul import multiply
from graphc.backends.numpy.llvm.small_products import small_product
from graphc.backends.numpy.llvm.unroll import unrolled
from graphc.dims import Dim, Size
from graphc.ir import Graph, TensorType, Type
from graphc.kernels import (
    KERNEL_DTYPES,
    Affine,
    Apply,
    Fixed,
    Kernel,
    Position,
    Store,
    Value,
    computes,
)
from graphc.ops import TABLE
from graphc.plan import Plan, Step


def why_not(graph: Graph) -> str | None:
    """What of a graph a native program cannot do; None if it can do everything."""
    if graph.effects:
        return "it prints, or calls Python"
    bound = {str(d) for t in graph.input_types for d in t.shape if isinstance(d, Dim) and str(d) in dims.symbols(d)}
    for t in graph.input_types:
        if any(not dims.symbols(d) <= bound for d in t.shape):
            return "a named size stands only inside other sizes"
    for i, data in graph._node.items():
        why = _refused(data)
        if why is not None:
            return f"%{i} {data['op']}: {why}"
    return None


def _refused(data: dict[str, Any]) -> str | None:
    type: Type = data["type"]
    if not isinstance(type, TensorType) or type.dtype not in KERNEL_DTYPES:
        return "a dtype that kernels do not hold"
    if data["op"] in ("input", "const") or data["op"] in STEPS:
        return None
    op = TABLE[data["op"]]
    if op.view:
        return None
    if op.kernel is None and op.fold is None:
        return "an op that no kernel has"
    return None if computes(op.name, op.kernel_kinds, type.dtype) else "a dtype at which kernels differ"


def lower(plan: Plan, machine: Machine | None = None) -> Program:
    """The program of a plan, for whose graph `why_not` gives None; for this processor, unless one is given."""
    program = panels.chosen(grams.chosen(moves.merged(updates.merged(_Steps(plan).run()))), machine or host())
    kernels = (k if small_product(k) or panels.panels(k) else unrolled(k) for k in program.kernels)
    return replace(program, kernels=tuple(kernels))


class _Steps(Builder):
    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.nodes = plan.graph._node
        self.layouts: dict[int, Layout] = {}
        self.planned: list[int] = []
        self.into: Mapping[int, int] = {}  # of the step at hand, the operands that results overwrite

    def run(self) -> Program:
        for k, i in enumerate(self.plan.graph.inputs):
            type = self.nodes[i]["type"]
            self.layouts[i] = self.stored(type, "argument", k)
        for step in self.plan.steps:
            self.step(step)
        results = self.results()
        return Program(
            tuple(self.storages),
            tuple(self.instructions),
            results,
            tuple(self.kernels),
            tuple(self.constants),
            tuple(self.planned),
        )

    # layouts

    def layout(self, node: int) -> Layout:
        """Where a node's value lies; views and constants are followed when they are asked for."""
        found = self.layouts.get(node)
        if found is None:
            data = self.nodes[node]
            if data["op"] == "const":
                self.constants.append(data["attrs"][0][1].array)
                found = self.stored(data["type"], "constant", len(self.constants) - 1)
            else:
                assert TABLE[data["op"]].view, data["op"]
                found = self.view(data)
            self.layouts[node] = found
        return found

    def view(self, data: dict[str, Any]) -> Layout:
        attrs = dict(data["attrs"])
        operand = self.layout(data["args"][0])
        shape = data["type"].shape
        match data["op"]:
            case "transpose":
                return operand.transposed(attrs["perm"])
            case "broadcast_to":
                return operand.broadcast(shape)
            case "slice":
                return operand.sliced(attrs["index"], shape)
            case "reshape":
                found = operand.reshaped(shape)
                if found is None:
                    found = self.dense(operand).reshaped(shape)
                    assert found is not None
                return found
            case _:
                return operand

    # steps

    def step(self, step: Step) -> None:
        self.into = step.into
        if step.kernel is not None:
            self.fused(step.kernel, step.fills)
            return
        (node,) = step.nodes
        data = self.nodes[node]
        op = TABLE[data["op"]]
        if op.view:
            self.layout(node)
        elif data["op"] in STEPS:
            STEPS[data["op"]](self, node, data)
        elif op.fold is not None:
            self.folded(node, data)
        else:
            self.elementwise(node, data)

    def result(self, node: int) -> Layout:
        """Room for a node's value: an operand's, if the plan says so, or new."""
        if node in self.into:
            operand = self.layout(self.into[node])
            assert operand.is_whole
            assert self.may_write(self.storages[operand.storage])
            self.overwritten(operand.storage)
            found = Layout.dense(operand.storage, operand.dtype, self.nodes[node]["type"].shape)
        else:
            found = self.stored(self.nodes[node]["type"])
        self.layouts[node] = found
        return found

    def may_write(self, storage: Storage) -> bool:
        """Whether a storage is not the caller's, or given away."""
        return storage.origin == "temporary" or (storage.origin == "argument" and storage.index in self.plan.donated)

    def fused(self, kernel: Kernel, fills: Mapping[int, int]) -> None:
        reads = tuple(Place.of(self.dense(self.layout(root))) for root in kernel.roots)
        writes = tuple(Place.of(self.result(node)) for node in kernel.nodes)
        for node, base in fills.items():
            self.copy_around(self.layout(base), self.layout(node), dict(self.nodes[node]["attrs"])["index"])
        self.planned.append(self.number(anonymous(kernel)))
        self.instructions.append(Run(self.planned[-1], reads, writes))

    def elementwise(self, node: int, data: dict[str, Any]) -> None:
        shape = data["type"].shape
        loops = len(shape)
        values: list[Value] = []
        places: list[Place] = []
        operands = []
        for a in data["args"]:
            value, place = self.loaded(self.layout(a).broadcast(shape), len(places))
            operands.append(len(values))
            values.append(value)
            places.append(place)
        values.append(Apply(data["type"].dtype, data["op"], tuple(operands), data["attrs"]))
        target = self.result(node)
        store = Store(len(values) - 1, node, target.at(indices(loops), loops))
        self.do(Kernel(shape, tuple(values), (_renamed(store, 0),)), places, [Place.of(target)])

    def folded(self, node: int, data: dict[str, Any]) -> None:
        """A reduction that is in no group: it folds over axes of one element, or over none."""
        operand = self.layout(data["args"][0])
        shape = data["type"].shape
        source = operand.reshaped(shape) or self.dense(operand).reshaped(shape)
        assert source is not None
        assert source.dtype == data["type"].dtype
        self.copy(source, self.result(node))

    def number_of(self, node: int, data: dict[str, Any]) -> None:
        """A size, pi or a range as an array."""
        attrs = dict(data["attrs"])
        dtype, shape = data["type"].dtype, data["type"].shape
        loops = len(shape)
        value: Value
        match data["op"]:
            case "dim":
                value = Position(dtype, Affine.constant(attrs["size"], loops))
            case "pi":
                value = Fixed(dtype, dtype.type(np.pi).item())
            case _:
                value = Position(dtype, Affine.index(0, loops))
        target = self.result(node)
        store = Store(0, -1, target.at(indices(loops), loops))
        self.do(Kernel(shape, (value,), (store,)), [], [Place.of(target)])

    # moving elements

    def concatenate(self, node: int, data: dict[str, Any]) -> None:
        axis = dict(data["attrs"])["axis"]
        operands = [self.layout(a) for a in data["args"]]
        target = self.result(node)
        start: Size = 0
        for operand in operands:
            stop = start + operand.shape[axis]
            index = [(start, stop, 1) if k == axis else (0, d, 1) for k, d in enumerate(target.shape)]
            self.copy(operand, target.sliced(index, operand.shape))
            start = stop

    def unslice(self, node: int, data: dict[str, Any]) -> None:
        operand = self.layout(data["args"][0])
        target = self.result(node)
        index = dict(data["attrs"])["index"]
        for box in self.around(target, index):
            self.clear(target.sliced(box, extent(box)))
        self.copy(operand, target.sliced(index, operand.shape))

    def insert_slice(self, node: int, data: dict[str, Any]) -> None:
        base, part = (self.layout(a) for a in data["args"])
        target = self.result(node)
        index = dict(data["attrs"])["index"]
        if target.storage != base.storage:
            self.copy_around(base, target, index)
        self.copy(part, target.sliced(index, part.shape))

    # by positions

    def gather(self, node: int, data: dict[str, Any]) -> None:
        array, *positions = (self.layout(a) for a in data["args"])
        array = self.dense(array)
        picking.gather(self, array, self.result(node), positions, dict(data["attrs"])["axis"])

    def scatter_add(self, node: int, data: dict[str, Any]) -> None:
        added, *positions = (self.layout(a) for a in data["args"])
        shape, axis = data["type"].shape, dict(data["attrs"])["axis"]
        row = dims.product(shape[axis + len(positions) :])
        same = row == 1 and all(stride == 0 for stride in added.strides)  # one number everywhere, as in counting
        added = added if same else self.dense(added)
        picking.scatter_add(self, added, self.result(node), positions, axis, same)

    def searchsorted(self, node: int, data: dict[str, Any]) -> None:
        edges, values = (self.dense(self.layout(a)) for a in data["args"])
        target = self.result(node)
        (count,), number = edges.shape, dims.product(values.shape)
        places = Place.of(edges), Place.of(values), Place.of(target)
        right = dict(data["attrs"])["right"]
        self.instructions.append(Search(edges.dtype, count, number, *places, right))

    def running(self, node: int, data: dict[str, Any]) -> None:
        attrs = dict(data["attrs"])
        source = self.dense(self.layout(data["args"][0]))
        target = self.result(node)
        axis, shape, dtype = attrs["axis"], target.shape, target.dtype
        row = dims.product(shape[axis + 1 :])
        op = RUNNING[data["op"]]
        self.instructions.append(
            Running(
                dtype,
                lead=dims.product(shape[:axis]),
                count=shape[axis],
                row=row,
                source=Place.of(source),
                target=Place.of(target),
                reverse=attrs.get("reverse", False),
                op=op,
                kernel=None if chains.apart(row) else self.of_rows(op, dtype, row),
            )
        )

    # products and results

    def matmul(self, node: int, data: dict[str, Any]) -> None:
        a, b = (self.layout(x) for x in data["args"])
        multiply(self, a, b, self.result(node))

    def results(self) -> tuple[Result, ...]:
        found: list[Result] = []
        taken: set[int] = set()
        for o in self.plan.graph.outputs:
            layout = self.layout(o)
            storage = self.storages[layout.storage]
            if not layout.shape:
                found.append(Result(layout, owned=False))
                continue
            fits = layout.is_whole and same_count(storage.count, dims.product(layout.shape))
            given = None
            if storage.origin == "argument" and self.may_write(storage):
                given = storage.index
                fits = fits and layout.shape == self.nodes[self.plan.graph.inputs[given]]["type"].shape
            if not self.may_write(storage) or storage.number in taken or not fits:
                copied = self.stored(TensorType(layout.shape, layout.dtype))
                self.copy(layout, copied)
                layout, given = copied, None
            taken.add(layout.storage)
            found.append(Result(layout, given is None, given))
        return tuple(found)


RUNNING: Final = {"cumsum": "add", "cumprod": "mul", "cummax": "maximum", "cummin": "minimum"}
STEPS: Final[dict[str, Callable[[_Steps, int, dict[str, Any]], None]]] = {
    "dim": _Steps.number_of,
    "pi": _Steps.number_of,
    "iota": _Steps.number_of,
    "concatenate": _Steps.concatenate,
    "unslice": _Steps.unslice,
    "insert_slice": _Steps.insert_slice,
    "gather": _Steps.gather,
    "scatter_add": _Steps.scatter_add,
    "searchsorted": _Steps.searchsorted,
    "matmul": _Steps.matmul,
    **dict.fromkeys(RUNNING, _Steps.running),
}


def _renamed(store: Store, number: int) -> Store:
    return Store(store.value, -1 - number, store.at)
