"""The CuPy executor: a plan written down as readable straight-line Python over CuPy arrays."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from graphc.backends.cupy import functions, replaying, running
from graphc.backends.cupy.arguments import DeviceSpec
from graphc.backends.cupy.launching import Ordered, flush, held
from graphc.backends.cupy.library import cupy, resident, several_devices
from graphc.backends.cupy.meanings import meaning
from graphc.backends.numpy.arguments import integer_casts
from graphc.backends.numpy.executor import Writer, define
from graphc.errors import UnsupportedError
from graphc.ir import NOTHING, TensorType
from graphc.kernels import Kernel
from graphc.ops import TABLE
from graphc.ops.meaning import namespace, render
from graphc.plan import Loaded, Plan, Step
from graphc.text import format_node

HOST: Final = frozenset({"dim", "pi"})  # 0-d values that are known before anything runs on the GPU


def load(plan: Plan, fast: bool = False) -> Loaded:
    """Compile the plan to a Python function over CuPy arrays, and give its source.

    Raises:
        UnsupportedError: an op has no meaning in CuPy; or there is no CuPy, or no GPU.
    """
    cp = cupy()
    writer, source = written(plan, several_devices(cp))
    scope = {**writer.scope, "cp": Ordered(cp), "ck": Ordered(functions), "ndarray": cp.ndarray}
    scope.update((name, _Resident(array)) for name, array in writer.constants.items())
    scope.update((f"kernel{i}", run) for i, run in enumerate(running.load(writer.kernels, fast)))
    run = define(plan.graph.name, source, scope)
    recordable = (
        replaying.wanted()
        and len(plan.steps) >= replaying.FEWEST_STEPS
        and all(s.kernel is not None or writer.recordable(s) for s in plan.steps)
    )
    if not recordable:
        return Loaded(run, source)
    specs = [scope[f"spec{k}"] for k in range(len(plan.graph.inputs))]
    replayed = replaying.Replayed(run, specs)
    return Loaded(replayed, source, bind=replayed.bind)


def written(plan: Plan, several: bool = False) -> tuple[DeviceWriter, str]:
    """The plan's source, and the writer that knows what it refers to; this needs no GPU.

    several: whether arrays may lie on another GPU than the current one.
    """
    writer = DeviceWriter(plan, several)
    source, _ = writer.write()
    return writer, source


class _Resident:
    """A constant, copied to each device when it is first wanted there."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array
        self.copies: dict[int, Any] = {}

    def __call__(self) -> Any:
        cp = cupy()
        device = cp.cuda.runtime.getDevice()
        found = self.copies.get(device)
        if found is None:
            flush()  # its memory may be what a launch noted before still reads
            found = self.copies[device] = resident(self.array)
        return held(found)


class DeviceWriter(Writer):
    """Writes the function of a plan in the words of CuPy. 0-d values that follow from sizes stay on the host."""

    module = "cp"

    def __init__(self, plan: Plan, several: bool = False) -> None:
        super().__init__(plan)
        self.several = several  # whether arrays may lie on another GPU than the current one
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self.host: set[int] = set()
        # arrays that are dense whatever they come from
        self.dense: set[int] = set(self.graph.inputs)

    def _silent(self) -> bool:
        return not self.host

    def _fill_scope(self, source: str) -> None:
        self.scope.update(namespace(source), errstate=np.errstate)

    def _spec(self, i: int, type: TensorType) -> DeviceSpec:
        return DeviceSpec(dict(self.nodes[i]["attrs"])["name"], type, integer_casts(self.graph, i))

    def _also(self, name: str) -> str:
        elsewhere = f" or {name}.data.device_id != cp.cuda.runtime.getDevice()" if self.several else ""
        return f" or not {name}.flags.c_contiguous{elsewhere}"

    def recordable(self, step: Step) -> bool:
        """Whether a step that is no kernel can be part of a recording."""
        return all(self.nodes[i]["op"] in replaying.RECORDABLE or i in self.host for i in step.nodes)

    def _call(self, i: int, step: Step) -> str:
        data = self.nodes[i]
        args = data["args"]
        type = data["type"]
        if type is not NOTHING and isinstance(type, TensorType) and not type.shape and self._follows(i):
            self.host.add(i)
            return render(TABLE[data["op"]], [self._on_host(a) for a in args], self._attrs(i))
        types = [self.nodes[a]["type"] for a in args if isinstance(self.nodes[a]["type"], TensorType)]
        if isinstance(type, TensorType):
            types.append(type)
        op = meaning(data, types, format_node(self.graph, i))
        return render(op, [self._operand(a) for a in args], self._attrs(i))

    def _follows(self, i: int) -> bool:
        """Whether a 0-d value follows from constants and sizes alone."""
        data = self.nodes[i]
        op = TABLE.get(data["op"])
        if data["op"] in HOST:
            return True
        known = op is not None and op.elementwise and bool(data["args"])
        return known and all(self._known_on_host(a) for a in data["args"])

    def _known_on_host(self, i: int) -> bool:
        return i in self.host or (self.nodes[i]["op"] == "const" and not self.nodes[i]["type"].shape)

    def _on_host(self, i: int) -> str:
        if self.nodes[i]["op"] != "const":
            return self.names[i]
        return f"{self._constant(i)}.array[()]"

    def _constant(self, i: int) -> str:
        name = f"c{i}"
        self.constants[name] = dict(self.nodes[i]["attrs"])["value"].array
        return name

    def _operand(self, i: int) -> str:
        data = self.nodes[i]
        if data["op"] == "const":
            return f"{self._constant(i)}()"
        return f"ck.on_device({self.names[i]})" if i in self.host else self.names[i]

    def _kernel(self, step: Step, kernel: Kernel) -> list[str]:
        # what CuPy's functions give need not be dense
        loose = [i for i in kernel.roots if i not in self.dense and self.nodes[i]["op"] != "const"]
        lines = [
            f"{self.names[i]} = cp.ascontiguousarray({self.names[i]})"
            for i in loose
            if i not in self.host and self.nodes[i]["type"].shape
        ]
        self.dense.update((*loose, *kernel.nodes))
        return [*lines, *super()._kernel(step, kernel)]

    def _filled(self, name: str, operand: str) -> str:
        return f"ck.fill({name}, {operand})"

    def _results(self) -> list[str]:
        results = []
        for position, o in enumerate(self.graph.outputs):
            name = self._operand(o)
            copied = position in self.plan.copies or o in self.host
            results.append(f"cp.array({name})" if copied else name)
        return results


def refuse_options(exact_order: bool, kernels: str | None) -> None:
    """Raise UnsupportedError for what only NumPy's executor offers."""
    for name, given, default in (("exact_order", exact_order, False), ("kernels", kernels, None)):
        if given != default:
            raise UnsupportedError(
                f'{name} is an option of backend="numpy"',
                expected=f"{name}={default!r}, the default",
                actual=f'{name}={given!r} with backend="cupy"',
                fix="leave it out",
            )
