"""The NumPy executor: a plan written down as readable straight-line Python."""

from __future__ import annotations

import builtins
import linecache
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import count
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.backends.numpy import factors, failures, selecting
from graphc.backends.numpy.arguments import InputSpec, integer_casts, refuse_guard, solve_size
from graphc.backends.numpy.arrays import LARGE
from graphc.dims import Dim, Size
from graphc.ir import DTYPE_NAMES, DTYPES, NOTHING, Callback, Graph, Guard, TensorType
from graphc.kernels import Kernel
from graphc.ops import TABLE
from graphc.ops.meaning import attr_text, into, namespace, render
from graphc.plan import Loaded, Plan, Step, nbytes
from graphc.text.scalars import printable

GENERATORS: Final = {
    "llvm": "graphc.backends.numpy.llvm.generator",
    "ufunc": "graphc.backends.numpy.blocked",
}
# functions in machine code that serve instead of NumPy's
NATIVE: Final = {
    "empty": "graphc.backends.numpy.llvm.reuse",
    "gather": "graphc.backends.numpy.llvm.positions",
    "scatter_add": "graphc.backends.numpy.llvm.positions",
}
PROGRAM: Final = "graphc.backends.numpy.llvm.native"  # a whole plan in machine code
KEYWORDS: Final = frozenset(
    [
        "np",
        "nk",
        "cp",
        "ck",
        "scipy",
        "calls",
        *NATIVE,
        *(function.__name__ for function in factors.FUNCTIONS),
        "ndarray",
        "errstate",
        "slices",
        "solve_size",
        "refuse_guard",
        *DTYPES,
        *dir(builtins),
    ]
)
_serial = count()
_ended: Final[deque[str]] = deque()  # the files of functions that are gone


def generate(plan: Plan, kernels: str | None) -> tuple[str, dict[str, Any], list[Kernel], dict[int, tuple[int, str]]]:
    """Source text of the plan's function, the constants and helpers it refers to, and its kernels.

    Then the nodes whose errors are told, and their first operands, by the number of their line in the text.
    """
    writer = Writer(plan, native=kernels == "llvm", shares=kernels is not None)
    source, scope = writer.write()
    for name in writer.native_calls:
        scope[name] = getattr(import_module(NATIVE[name]), name)
    return source, scope, writer.kernels, writer.failing


def runs_natively(graph: Graph, kernels: str | None) -> bool:
    """Whether a plan of the graph would run as one native function."""
    return kernels == "llvm" and import_module(PROGRAM).why_not(graph) is None


def load(plan: Plan, kernels: str | None = None, fast: bool = False, natively: bool = False) -> Loaded:
    """Make a plan ready to run; `kernels` names the generator of its kernels, None that NumPy runs it op by op.

    natively: whether it runs as one native function, which `runs_natively` allows.
    """
    source, scope, described, failing = generate(plan, kernels)
    native = import_module(PROGRAM).load(plan, fast) if natively else None
    functions: Sequence[Any] = ()
    if native is not None:
        functions = native.kernels
    elif described and kernels is not None:
        functions = import_module(GENERATORS[kernels]).load(described, fast)
    scope.update((f"kernel{i}", function) for i, function in enumerate(functions))
    run = define(plan.graph.name, source, scope)
    if failing:
        run = failures.located(run, plan.graph, failing)
    if native is None:
        return Loaded(run, source)
    specs = [scope[f"spec{position}"] for position in range(len(plan.graph.inputs))]
    call = native.bind(densely(native.bind(run), run, specs, plan.donated))
    return Loaded(call, source, native.bind, native.arena)


def densely(
    native: Callable[..., Any], run: Callable[..., Any], specs: Sequence[InputSpec], donated: Sequence[int]
) -> Callable[..., Any]:
    """A function of any arguments that fit: it hands dense arrays to `native`, and memory that may be written.

    So results do not hang on how arguments lie in memory: products in `run` may round otherwise.
    """

    def call(*args: Any) -> Any:
        if len(args) != len(specs):
            return run(*args)  # which says so
        arrays = [a if spec.admits(a) else spec.convert(a) for spec, a in zip(specs, args, strict=True)]
        given = [*arrays]
        for k in donated:
            given[k] = specs[k].owned(arrays[k], *arrays[:k], *arrays[k + 1 :])
            if given[k].dtype is not specs[k].type.dtype:
                given[k] = given[k].astype(specs[k].type.dtype)
        dense = [np.require(a, requirements=("C", "A")) for a in given]
        # an array that was pickled has a dtype object of its own, equal to NumPy's
        known = (spec.type.dtype for spec in specs)
        return native(*[a if a.dtype is dtype else a.view(dtype) for a, dtype in zip(dense, known, strict=True)])

    return call


def define(name: str, source: str, scope: dict[str, Any]) -> Callable[..., tuple[Any, ...]]:
    """The function `run` that a source text defines."""
    filename = f"<graphc {name} {next(_serial)}>"
    # tracebacks and debuggers show the generated lines
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec"), scope)
    # removed here and not by the collector of garbage, which may come while linecache walks through its own entries
    while _ended:
        linecache.cache.pop(_ended.popleft(), None)
    run: Callable[..., tuple[Any, ...]] = scope["run"]
    weakref.finalize(run, _ended.append, filename)
    return run


class Writer:
    """Writes the function of a plan. Another backend writes the same in the words of its own arrays."""

    module = "np"

    def __init__(self, plan: Plan, native: bool = False, shares: bool = False) -> None:
        self.plan = plan
        self.native = native  # whether machine code may serve instead of NumPy's functions
        self.native_calls: set[str] = set()
        self.graph: Graph = plan.graph
        self.nodes = self.graph._node
        self.scope: dict[str, Any] = {}
        self.names: dict[int, str] = {}
        self.kernels: list[Kernel] = []
        # nodes whose errors are told, and the names of their first operands, by the number of their line
        self.failing: dict[int, tuple[int, str]] = {}
        used = {s for t in self.graph.input_types for d in t.shape for s in dims.symbols(d)}
        # named sizes whose names mean something else in the text
        self.renamed: dict[str, Size] = {}
        for name in sorted(s for s in used if s in KEYWORDS or _reserved(s)):
            new = f"size_{name}"
            while new in used:
                new += "_"
            used.add(new)
            self.renamed[name] = dims.symbol(new)
        self.used = set(KEYWORDS) | used
        self.numbers: dict[str, int] = {}  # the last number given to each name
        # nodes that share a factorisation, and the names of factorisations by the first node that uses each
        self.shared = factors.shared(self.graph, plan.steps) if shares else {}
        self.factorisations: dict[int, str] = {}

    def _spelled(self, value: Any) -> Any:
        """A size, or an attribute that holds sizes, in the names that the text gives them."""
        if not self.renamed:
            return value
        if isinstance(value, Dim):
            return dims.substitute(value, self.renamed)
        if isinstance(value, Guard):
            return Guard(value.relation, self._spelled(value.left), self._spelled(value.right))
        return tuple(map(self._spelled, value)) if isinstance(value, tuple) else value

    def write(self) -> tuple[str, dict[str, Any]]:
        inputs = self._name_inputs()
        checks = self._input_checks()
        silent = self._silent()
        above = 1 + len(checks) + (not silent)  # lines before the body
        body: list[str] = []
        for step in self.plan.steps:
            first = above + len(body) + 1
            body.extend(self._step(step))
            if step.kernel is None:  # a line for each node
                for line, i in enumerate(step.nodes, first):
                    if self.nodes[i]["op"] in failures.OPS:
                        self.failing[line] = i, self._operand(self.nodes[i]["args"][0])
        body.append(f"return ({''.join(f'{r}, ' for r in self._results())})")
        lines = [
            f"def run({', '.join(inputs)}):",
            *(f"    {line}" for line in checks),
            *([] if silent else ['    with errstate(all="ignore"):']),
            *(f"    {line}" if silent else f"        {line}" for line in body),
        ]
        source = "\n".join(lines) + "\n"
        self._fill_scope(source)
        return source, self.scope

    def _silent(self) -> bool:
        """Whether no step raises floating-point warnings: kernels do not, and rearranging does not either."""
        ops = [TABLE[self.nodes[s.nodes[0]]["op"]] for s in self.plan.steps if s.kernel is None]
        return all(op.view or op.silent for op in ops)

    def _fill_scope(self, source: str) -> None:
        """Bring in what the text refers to."""
        self.scope.update(namespace(source), ndarray=np.ndarray, errstate=np.errstate)
        if self.factorisations:
            self.scope.update((function.__name__, function) for function in factors.FUNCTIONS)

    def _name_inputs(self) -> list[str]:
        used = self.used
        for i in self.graph.inputs:
            wanted = dict(self.nodes[i]["attrs"])["name"]
            name = wanted if wanted.isascii() and wanted.isidentifier() and not _reserved(wanted) else f"in{i}"
            while name in used:
                name += "_"
            used.add(name)
            self.names[i] = name
        return [self.names[i] for i in self.graph.inputs]

    def _fresh(self, wanted: str | None) -> str | None:
        """A name of the generated function after a variable of the user's: `h`, then `h_1`, `h_2`."""
        if wanted is None:
            return None
        base = wanted.replace(".", "_")
        if not (base.isascii() and base.isidentifier()) or _reserved(base) or base in KEYWORDS:
            return None
        name, number = base, self.numbers.get(base, 0)
        while name in self.used:
            number += 1
            name = f"{base}_{number}"
        self.numbers[base] = number
        self.used.add(name)
        return name

    def _input_checks(self) -> list[str]:
        """Check or convert each input, bind the named sizes, check the guards."""
        lines: list[str] = []
        bound: set[str] = set()
        later: list[tuple[str, Size, str, int]] = []
        for position, i in enumerate(self.graph.inputs):
            type: TensorType = self.nodes[i]["type"]
            name, spec = self.names[i], f"spec{position}"
            self.scope[spec] = self._spec(i, type)
            self.scope[f"dtype{position}"] = type.dtype
            static = all(isinstance(d, int) for d in type.shape)
            shape = f" or {name}.shape != {attr_text('', type.shape)}" if static else f" or {name}.ndim != {type.ndim}"
            lines.append(f"if type({name}) is not ndarray or {name}.dtype != dtype{position}{shape}{self._also(name)}:")
            lines.append(f"    {name} = {spec}.convert({name})")
            if static:
                continue
            for axis, d in enumerate(self._spelled(type.shape)):
                at = f"{name}.shape[{axis}]"
                if isinstance(d, Dim) and str(d) in dims.symbols(d) and str(d) not in bound:
                    lines.append(f"{d} = {at}")
                    bound.add(str(d))
                else:
                    later.append((at, d, spec, axis))
        for at, d, spec, axis in sorted(later, key=lambda c: not isinstance(c[1], int)):
            missing = [s for s in dims.symbols(d) if s not in bound]
            if missing:
                self.scope["solve_size"] = solve_size
                self.scope[f"{spec}_size{axis}"] = d
                known = "".join(f", {s}={s}" for s in sorted(dims.symbols(d) - set(missing)))
                lines.append(f"{missing[0]} = solve_size({spec}_size{axis}, {at}, {spec}{known})")
                bound.add(missing[0])
            lines.append(f"if {at} != {d}: {spec}.refuse_size({axis}, {at}, {d})")
        for number, guard in enumerate(self.graph.guards):
            self.scope[f"guard{number}"] = guard
            self.scope["refuse_guard"] = refuse_guard
            sizes = ", ".join(
                f"{s}={self._spelled(dims.symbol(s))}"
                for s in sorted(dims.symbols(guard.left) | dims.symbols(guard.right))
            )
            lines.append(f"if not ({self._spelled(guard)}): refuse_guard(guard{number}, {sizes})")
        for number, one in enumerate(self.plan.ranges):
            self.scope[f"range{number}"] = one
            lines.append(f"if {self._spelled(one.elements)} == 0: range{number}.refuse()")
        # last, when nothing is wrong with the arguments
        names = [self.names[i] for i in self.graph.inputs]
        owned = [f"spec{k}.owned({', '.join([names[k], *names[:k], *names[k + 1 :]])})" for k in self.plan.donated]
        if owned:
            lines.append(f"{', '.join(names[k] for k in self.plan.donated)} = {', '.join(owned)}")
        return lines

    def _spec(self, i: int, type: TensorType) -> InputSpec:
        return InputSpec(dict(self.nodes[i]["attrs"])["name"], type, integer_casts(self.graph, i))

    def _also(self, name: str) -> str:
        """Further reasons to convert an input."""
        return ""

    def _step(self, step: Step) -> list[str]:
        lines = [] if step.kernel is None else self._kernel(step, step.kernel)
        for i in step.nodes if step.kernel is None else ():
            data = self.nodes[i]
            call = self._call(i, step)
            loc = data["loc"]
            # nothing in a file's or function's name may end the comment
            comment = f"  # {printable(f'{loc[0]} {loc[0].function}')}" if loc else ""
            if data["type"] is NOTHING:
                lines.append(f"{call}{comment}")
                continue
            name = self.names[i] = self._fresh(data.get("name")) or f"v{i}"
            lines.append(f"{name} = {call}{comment}")
        dead = [self.names[i] for i in step.frees if i in self.names]
        ended = [use.first for i in step.nodes if (use := self.shared.get(i)) is not None and use.last == i]
        dead.extend(self.factorisations[first] for first in ended)
        if dead:
            lines.append(f"del {', '.join(dead)}")
        return lines

    def _call(self, i: int, step: Step) -> str:
        """The NumPy meaning of a single node."""
        data = self.nodes[i]
        op = TABLE[data["op"]]
        call = (
            self._partition(i)
            or self._factor(i)
            or render(op, [self._operand(a) for a in data["args"]], self._attrs(i))
        )
        if i in step.into:
            return into(call, self.names[step.into[i]])
        if self.native and op.name in NATIVE:
            self.native_calls.add(op.name)
            return call.removeprefix("nk.")
        if self.native and (op.ufunc or op.name == "matmul") and self._large(data["type"]):
            return into(call, self._empty(data["type"]))
        return call

    def _partition(self, i: int) -> str | None:
        """The call that sorts as far as it is seen; None where that is no sorting, or all of it."""
        data = self.nodes[i]
        found = selecting.places(self.graph, i) if data["op"] == "sort" and self.module == "np" else None
        if found is None:
            return None
        axis = dict(data["attrs"])["axis"]
        size, shown = data["type"].shape[axis], attr_text("", self._spelled(found))
        return selecting.call(self._operand(data["args"][0]), shown, axis, size, data["type"].dtype)

    def _factor(self, i: int) -> str | None:
        """The value by a factorisation that other steps use too; None where that is not so."""
        use = self.shared.get(i)
        if use is None:
            return None
        matrix, *sides = [self._operand(a) for a in self.nodes[i]["args"]]
        if use.first == i:
            name = self._fresh(use.name)
            assert name is not None
            self.factorisations[i] = name
            return use.text.format(f"({name} := {use.made.format(matrix, **self._attrs(i))})", *sides)
        return use.text.format(self.factorisations[use.first], *sides)

    def _attrs(self, i: int) -> dict[str, str]:
        return {name: self._attr(i, name, value) for name, value in self.nodes[i]["attrs"]}

    def _kernel(self, step: Step, kernel: Kernel) -> list[str]:
        """Room for the results, and the call."""
        lines = []
        number = len(self.kernels)
        self.kernels.append(kernel)
        reads = [self._operand(i) for i in kernel.roots]
        for i in kernel.nodes:
            name = self.names[i] = self._fresh(self.nodes[i].get("name")) or f"v{i}"
            if i in step.into:
                lines.append(f"{name} = {self.names[step.into[i]]}")
            else:
                lines.append(f"{name} = {self._empty(self.nodes[i]['type'])}")
            if i in step.fills:
                lines.append(self._filled(name, self._operand(step.fills[i])))
        results = [self.names[i] for i in kernel.nodes]
        sizes = [str(self._spelled(s)) for s in kernel.symbolic]
        ops = " ".join(self.nodes[i]["op"] for i in step.nodes[:6]) + (" ..." if len(step.nodes) > 6 else "")
        lines.append(f"kernel{number}({', '.join([*reads, *results, *sizes])})  # {ops}")
        return lines

    def _filled(self, name: str, operand: str) -> str:
        """The statement that writes an operand to room for a result."""
        return f"{name}[...] = {operand}"

    def _empty(self, type: TensorType) -> str:
        """The call that makes room for a result."""
        make = f"{self.module}.empty"
        if self.native and self._large(type):
            self.native_calls.add("empty")
            make = "empty"
        return f"{make}({attr_text('', self._spelled(type.shape))}, {self._dtype(type.dtype)})"

    @staticmethod
    def _large(type: TensorType) -> bool:
        """Whether an array may be as large as what is worth keeping the memory of."""
        size = nbytes(type)
        return not isinstance(size, int) or size >= LARGE

    def _dtype(self, dtype: np.dtype[Any]) -> str:
        label = DTYPE_NAMES[dtype]
        self.scope[label] = dtype
        return label

    def _operand(self, i: int) -> str:
        data = self.nodes[i]
        if data["op"] != "const":
            return self.names[i]
        if i not in self.names:
            array = data["attrs"][0][1].array
            name = self.names[i] = self._fresh(data.get("name")) or f"c{i}"
            # a 0-d constant as a NumPy scalar: same dtype rules, cheaper calls
            self.scope[name] = array[()] if array.ndim == 0 else array
        return self.names[i]

    def _attr(self, i: int, name: str, value: Any) -> str:
        value = self._spelled(value)
        if isinstance(value, np.dtype):
            return self._dtype(value)
        if isinstance(value, Callback):
            label = f"callback{i}"
            self.scope[label] = Callback(value.name, value.function)  # which refuses one known by its name alone
            return label
        if name == "index":
            return attr_text(name, value) if "!slice" in TABLE[self.nodes[i]["op"]].numpy else attr_text("", value)
        return attr_text("", value)

    def _results(self) -> list[str]:
        results = []
        for position, o in enumerate(self.graph.outputs):
            name = self._operand(o)
            type: TensorType = self.nodes[o]["type"]
            if not type.shape:
                # 0-d results are NumPy scalars
                results.append(f"{name}[()]")
            elif position in self.plan.copies:
                results.append(f"np.array({name})")
            else:
                results.append(name)
        return results


def _reserved(name: str) -> bool:
    import keyword

    return (
        keyword.iskeyword(name)
        or (name[0] in "vc" and name[1:].isdigit())
        or name.startswith(("spec", "dtype", "guard", "callback", "kernel", "range"))
    )
