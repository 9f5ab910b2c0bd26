"""The driver: trace, run the passes, plan, hand to a backend; and jit's cache of the results."""

from __future__ import annotations

import inspect
import math
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MethodType
from typing import Any, Final

import numpy as np
import optree

from graphc import dims
from graphc.calling import call
from graphc.check_ir import check_ir
from graphc.dims import Dim, Size
from graphc.errors import GraphcError, ShapeError, StructureError, TraceError, UnsupportedError
from graphc.ir import Builder, Graph, TensorType, paused_gc
from graphc.ops import TABLE
from graphc.ops.typing import Facts
from graphc.passes import pipeline
from graphc.passes.plan import plan as make_plan
from graphc.plan import Plan
from graphc.text import constants_of, dump, format_node, parse_type
from graphc.text import parse as parse_text
from graphc.tracing import (
    SymbolicSize,
    Traced,
    TracingWorld,
    deepest,
    definition,
    inline,
    lift,
    locate,
    located,
    tracing,
    user_locs,
    world_of,
)

BACKENDS: Final = {"numpy": "graphc.backends.numpy.executor", "sympy": "graphc.backends.exact.executor"}


@dataclass(frozen=True, slots=True)
class Spec:
    """Shape and dtype of an argument that is not there yet.

    >>> Spec((2, "n"), "float32").type
    f32[2,n]
    """

    shape: tuple[int | str | Dim, ...]
    dtype: Any = np.float64

    @property
    def type(self) -> TensorType:
        sizes = tuple(dims.parse(d) if isinstance(d, str) else d for d in self.shape)
        return TensorType(sizes, np.dtype(self.dtype))


def type_of(spec: Any) -> TensorType:
    """The type a spec stands for: a type text, a Spec, an example array, or a Python number (weak)."""
    if isinstance(spec, TensorType):
        return spec
    if isinstance(spec, Spec):
        return spec.type
    if isinstance(spec, str):
        return parse_type(spec)
    if isinstance(spec, Traced):
        return spec.type
    if isinstance(spec, (bool, int, float)) and not isinstance(spec, np.generic):
        return TensorType((), np.asarray(spec).dtype, weak=True)
    if hasattr(spec, "shape") and hasattr(spec, "dtype"):
        array = np.asarray(spec)
        return TensorType(array.shape, array.dtype.newbyteorder("="))
    raise _not_an_array(spec, 'a type such as "f64[n,3]", a Spec, an example array or a number')


def _not_an_array(given: Any, expected: str = "an array or a number") -> TraceError:
    return TraceError(
        f"a {type(given).__name__} is not an array",
        expected=expected,
        actual=repr(given)[:60],
        fix="name arguments that are not arrays in static_argnums or static_argnames",
    )


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """Leaves and structure of a pytree."""
    leaves, structure = optree.tree_flatten(tree, namespace="graphc")
    return leaves, structure


def unflatten(structure: Any, leaves: Sequence[Any]) -> Any:
    return optree.tree_unflatten(structure, leaves)


def leaf_names(f: Callable[..., Any], tree: Any) -> list[str]:
    """A name for each leaf of `(args, kwargs)`: the parameter, and the path within it."""
    try:
        parameters = [
            p.name
            for p in inspect.signature(f).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        parameters = []
    names: list[str] = []
    for path in optree.tree_paths(tree, namespace="graphc"):
        where, argument, *inner = path
        if where == 0:
            base = parameters[argument] if argument < len(parameters) else f"arg{argument}"
        else:
            base = str(argument)
        name = "_".join([base, *(str(p) for p in inner)])
        name = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
        name = name if name.isidentifier() else f"arg_{name}"
        while name in names:
            name += "_"
        names.append(name)
    return names


@dataclass(frozen=True, slots=True)
class Traceout:
    """A traced function: its graph, the structures of its arguments and result, captured outer values."""

    graph: Graph
    in_tree: Any
    out_tree: Any
    captures: tuple[Traced, ...]


def trace_call(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    hints: Mapping[str, int] | None = None,
) -> Traceout:
    """Run `f` once on traced stand-ins for the specs in `args` and `kwargs`."""
    tree = (tuple(args), dict(kwargs))
    specs, in_tree = flatten(tree)
    names = leaf_names(f, tree)
    with paused_gc(), tracing(function_name(f), hints) as world:
        values = [
            Traced(world, world.builder.input(n, type_of(s), user_locs())) for n, s in zip(names, specs, strict=True)
        ]
        call_args, call_kwargs = unflatten(in_tree, values)
        result = call(f, call_args, call_kwargs)
        outputs, out_tree = flatten(result)
        graph = world.builder.finish([output_value(o, world, f).id for o in outputs])
        return Traceout(graph, in_tree, out_tree, tuple(world.captures))


def show_call(name: str, structure: Any, leaves: Sequence[Any]) -> str:
    """A call as errors show it, with a type for every array: `f(f64[3], k={'a': f64[]})`."""
    shown = [_Shown(leaf) for leaf in leaves]
    args, kwargs = (shown, {}) if structure is None else unflatten(structure, shown)
    return f"{name}({', '.join([*map(repr, args), *(f'{key}={value!r}' for key, value in kwargs.items())])})"


def show_tree(structure: Any, leaves: Sequence[Any]) -> str:
    """A pytree as errors show it, with a type for every array."""
    return repr(unflatten(structure, [_Shown(leaf) for leaf in leaves]))


class _Shown:
    """An array that prints as its type, also inside tuples, lists and dicts."""

    def __init__(self, leaf: Any) -> None:
        try:
            self.text = repr(type_of(leaf))
        except (GraphcError, TypeError, ValueError):
            self.text = f"a {type(leaf).__name__}"

    def __repr__(self) -> str:
        return self.text


def function_name(f: Callable[..., Any]) -> str:
    name = getattr(f, "__name__", type(f).__name__)
    return name if name.isidentifier() else "f"


def output_value(output: Any, world: TracingWorld, f: Callable[..., Any]) -> Any:
    """A leaf that `f` returned as a value of the trace."""
    if isinstance(output, (str, bytes)) or (callable(output) and not hasattr(output, "dtype")):
        raise TraceError(
            f"{function_name(f)} returned something that is not an array",
            expected="arrays, numbers, and tuples, lists and dicts of them",
            actual=repr(output)[:60],
            loc=definition(f),
            fix="return the arrays only",
        )
    return world.adopt(lift(output, world))


class CaptureError(TraceError):
    """A function that was to stand alone closes over values of running traces, or free symbols."""

    captures: tuple[Traced, ...] = ()


def check_no_captures(out: Traceout) -> None:
    """Refuse values of other traces or free symbols in a graph that is to stand alone."""
    if out.captures:
        first = out.captures[0]
        made = first.world.builder.nodes[first.id]
        name = dict(made["attrs"]).get("name", "a value")
        error = CaptureError(
            f"the function uses {name}, a symbol or traced value from outside, which has no value here",
            actual=repr(first.type),
            loc=made["loc"][0] if made["loc"] else None,
            fix="pass it as an argument",
        )
        error.captures = out.captures
        raise error


def trace(f: Callable[..., Any], /, *specs: Any, **kwargs: Any) -> Graph:
    """Trace a function into a graph, without running or changing anything.

    Args:
        f: a function of arrays (or pytrees of arrays), written with NumPy.
        specs: for each argument a type text such as ``"f64[n,3]"``, a `Spec`, an example array, or a pytree of these.

    Returns:
        The graph as traced: no derivative, no rewriting.

    Raises:
        TraceError: the function asked a traced value for its numbers.
        ShapeError, DTypeError, AxisError: the shapes or dtypes do not fit.

    >>> import numpy as np
    >>> print(trace(lambda x: np.sin(x) * 2, "f64[3]").output_types)
    (f64[3],)
    """
    with located():
        out = trace_call(f, specs, kwargs)
        check_no_captures(out)
    return out.graph


@dataclass(frozen=True, slots=True)
class Options:
    """How a graph is lowered."""

    backend: str = "numpy"
    exact_order: bool = False
    passes: tuple[pipeline.Pass, ...] | None = None

    @property
    def pipeline(self) -> tuple[pipeline.Pass, ...]:
        if self.passes is not None:
            return self.passes
        return pipeline.EXACT_PIPELINE if self.exact_order else pipeline.PIPELINE


class Compiled:
    """A compiled function: immutable, thread-safe, picklable. Call it on arrays of the types it was compiled for.

    Attributes: `graph` as traced, `passes` (every step with the graph after it), `plan`, `source`.
    """

    def __init__(self, graph: Graph, in_tree: Any, out_tree: Any, options: Options | None = None) -> None:
        options = options or Options()
        self.graph = graph
        self.options = options
        self.in_tree = in_tree
        self.out_tree = out_tree
        with paused_gc():
            self.passes = pipeline.run(graph, options.pipeline, checker())
            optimised = self.passes[-1].graph if self.passes else graph
            self.plan: Plan = make_plan(optimised, overwrite=not options.exact_order)
            self._run, self.source = backend_module(options.backend).load(self.plan)
        self._flat = in_tree is None or _is_flat(in_tree)
        self._single = out_tree is not None and optree.treespec_is_leaf(out_tree)
        self._arity = len(graph.inputs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if kwargs or not self._flat or len(args) != self._arity:
                args = tuple(self._leaves(args, kwargs))
            for leaf in args:
                if isinstance(leaf, Traced):
                    return self._inline(args)
            results = self._run(*args)
        except GraphcError as error:
            locate(error)
            raise
        return results[0] if self._single else self._pack(results)

    def _pack(self, results: Sequence[Any]) -> Any:
        return list(results) if self.out_tree is None else unflatten(self.out_tree, results)

    def _leaves(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        leaves, structure = flatten((args, kwargs))
        if structure != self.in_tree:
            raise StructureError(
                f"{self.graph.name}: the arguments differ in structure from those it was compiled for",
                expected=show_call(self.graph.name, self.in_tree, self.graph.input_types),
                actual=show_call(self.graph.name, structure, leaves),
                fix="pass tuples, lists and dicts as in the specs, or use jit, which compiles for each structure",
            )
        return leaves

    def _inline(self, args: Sequence[Any]) -> Any:
        world = world_of(args)
        assert world is not None
        values = [lift(a, world) for a in args]
        sizes: dict[str, Size] = {}
        for value, wanted in zip(values, self.graph.input_types, strict=True):
            fits = value.type.ndim == wanted.ndim and value.type.dtype == wanted.dtype
            if not fits or not bind_sizes(wanted.shape, value.type.shape, sizes):
                raise ShapeError(
                    f"{self.graph.name} was compiled for other types",
                    expected=repr(wanted),
                    actual=repr(value.type),
                    fix="compile it for these types, or call the function itself inside the trace",
                )
        results = inline(world, self.graph, values, sizes)
        return results[0] if self._single else self._pack(results)

    def __reduce__(self) -> tuple[Any, ...]:
        options = Options(self.options.backend, self.options.exact_order)
        return _from_text, (dump(self.graph), constants_of(self.graph), self.in_tree, self.out_tree, options)

    def __repr__(self) -> str:
        arguments = ", ".join(map(repr, self.graph.input_types))
        return f"<compiled {self.graph.name}({arguments}) -> {', '.join(map(repr, self.graph.output_types))}>"

    def memory(self, **sizes: int) -> int:
        """The most bytes of results and temporaries alive at once in a call; named sizes as keywords."""
        return self.plan.peak_bytes(sizes)


def _from_text(text: str, constants: Any, in_tree: Any, out_tree: Any, options: Options) -> Compiled:
    return Compiled(parse(text, constants), in_tree, out_tree, options)


def _is_flat(in_tree: Any) -> bool:
    """Whether the structure is that of plain positional arrays."""
    leaves = [optree.treespec_leaf(namespace="graphc")] * in_tree.num_leaves
    plain = optree.treespec_tuple(leaves, namespace="graphc")
    return bool(
        in_tree == optree.treespec_tuple([plain, optree.treespec_dict({}, namespace="graphc")], namespace="graphc")
    )


def backend_module(name: str) -> Any:
    """The module that loads plans for a backend."""
    if name not in BACKENDS:
        raise UnsupportedError(
            f"there is no backend called {name!r}",
            expected=" or ".join(BACKENDS),
            actual=repr(name),
            fix='backend="numpy"',
        )
    return import_module(BACKENDS[name])


def checker() -> Callable[[Graph], None] | None:
    """The verifier that runs between passes under GRAPHC_CHECK=1."""
    return check if os.environ.get("GRAPHC_CHECK") == "1" else None


def check(graph: Graph, line: Callable[[Graph, int], str] = format_node) -> None:
    """Raise IRError, with the line of the graph, unless the graph keeps the rules of the IR."""
    check_ir(graph, TABLE, lambda guards: Facts(dict(guards), assume=False), line)


def parse(source: str, constants: Mapping[str, np.ndarray[Any, Any]] | None = None) -> Graph:
    """The graph that a text written by `dump` describes; checked, and never running code.

    Args:
        source: the text.
        constants: the arrays that the text only names, by SHA-256. Without them the graph compares but does not run.

    Raises:
        ParseError: the text is not a graph; the message has line and column.
        IRError: it is a graph that breaks the rules of the IR.

    >>> parse("graph f(%x: f64[n]) -> f64[n] { return %x }").input_types
    (f64[n],)
    """
    return parse_text(source, constants, check)


def compile(f: Any, /, *specs: Any, backend: str = "numpy", exact_order: bool = False, **kwargs: Any) -> Compiled:
    """Compile a function for arguments of given types, or expressions of symbols.

    Args:
        f: a function of arrays; or a `Graph`; or a list of symbols, and then the one further argument is the list of
            expressions to compute: ``compile([x], [y])``.
        specs: as for `trace`.
        backend: "numpy", or "sympy" to evaluate on SymPy expressions.
        exact_order: keep NumPy's own operations and rounding; skip the stabilising rewrites.

    Returns:
        A `Compiled` that takes arrays in the structure of the specs.

    >>> import numpy as np
    >>> f = compile(lambda x: np.log(1 + np.exp(x)), "f64[n]")
    >>> f(np.array([0.0, 1000.0]))
    array([6.93147181e-01, 1.00000000e+03])
    """
    options = Options(backend, exact_order)
    with located():
        if isinstance(f, Graph):
            if specs or kwargs:
                raise TraceError(
                    "compile: a graph has its types already",
                    expected="compile(graph)",
                    actual=f"{len(specs)} specs with it",
                )
            return Compiled(f, None, None, options)
        if isinstance(f, (list, tuple)):
            if len(specs) != 1 or kwargs:
                raise TraceError(
                    "compile: expressions come as two lists",
                    expected="compile([inputs], [outputs])",
                    actual=f"{len(specs) + 1} arguments",
                )
            return _compile_expressions(list(f), specs[0], options)
        if not callable(f):
            raise TraceError(
                "compile: there is nothing to compile",
                expected="a function, a graph, or a list of symbols: compile([x], [y])",
                actual=repr(f)[:60],
            )
        out = trace_call(f, specs, kwargs)
        check_no_captures(out)
        return Compiled(out.graph, out.in_tree, out.out_tree, options)


def _compile_expressions(symbols: list[Any], outputs: Any, options: Options) -> Compiled:
    leaves, out_tree = flatten(outputs)
    worlds = {id(v.world): v.world for v in [*symbols, *leaves] if isinstance(v, Traced)}
    if len(worlds) != 1 or not all(isinstance(s, Traced) for s in symbols):
        raise TraceError(
            "compile([inputs], [outputs]) takes symbols and expressions of them",
            expected="traced values that belong together",
            actual=show_call("compile", None, [*symbols, *leaves]),
            fix='make inputs with graphc.symbol("x", "f64[3]")',
        )
    world = next(iter(worlds.values()))
    graph, _ = extract(world, symbols, [lift(v, world) for v in leaves], name="expression")
    _, in_tree = flatten((tuple(symbols), {}))
    return Compiled(graph, in_tree, out_tree, options)


def extract(
    world: TracingWorld,
    inputs: Sequence[Traced],
    outputs: Sequence[Traced],
    name: str,
    marked: Sequence[Traced] = (),
    open_inputs: bool = False,
) -> tuple[Graph, list[int]]:
    """The part of a running trace that computes `outputs` from `inputs`, and the ids its inputs had there.

    Inputs of the trace that are needed but not listed are refused, or appended if `open_inputs`. Values in
    `marked` are wrapped in `identity`, and their wrapped nodes are appended to the outputs.
    """
    nodes = world.builder.nodes
    cut = {v.id for v in inputs}
    needed: set[int] = set()
    stack = [v.id for v in (*outputs, *marked)]
    while stack:
        i = stack.pop()
        if i not in needed:
            needed.add(i)
            if i not in cut:
                stack.extend(nodes[i]["args"])
    builder = Builder(name)
    builder.guards.update(world.builder.guards)
    ids: dict[int, int] = {}
    origins = [v.id for v in inputs]
    for number, value in enumerate(inputs):
        data = nodes[value.id]
        ids[value.id] = builder.input(dict(data["attrs"]).get("name", f"x{number}"), data["type"], data["loc"])
    barriers = {v.id for v in marked}
    for i in sorted(needed | cut):
        data = nodes[i]
        if i not in ids:
            if data["op"] == "input":
                if not open_inputs:
                    label = dict(data["attrs"])["name"]
                    made = f", made at {data['loc'][0].described}" if data["loc"] else ""
                    raise TraceError(
                        f"the outputs depend on {label}, which is not among the inputs",
                        expected=f"{label} in the list of inputs",
                        actual=f"{label}: {data['type']!r}{made}",
                        fix=f"compile([{', '.join([*map(_input_name, inputs), label])}], [...])",
                    )
                ids[i] = builder.input(dict(data["attrs"])["name"], data["type"], data["loc"])
                origins.append(i)
            else:
                builder.region = data["region"]
                args = tuple(ids[a] for a in data["args"])
                ids[i] = builder.add(data["op"], args, data["attrs"], data["type"], data["loc"], None)
        if i in barriers:
            ids[i] = builder.add("identity", (ids[i],), (), data["type"], data["loc"], None)
    return builder.finish([ids[v.id] for v in (*outputs, *marked)]), origins


def _input_name(value: Traced) -> str:
    return str(dict(value.world.builder.nodes[value.id]["attrs"]).get("name", f"%{value.id}"))


class Jitted:
    """A function compiled on demand: per structure, dtype, weakness, rank and static arguments.

    The first call is specialised to its sizes. When sizes change, those that did become symbolic; a call that
    breaks a guard compiles again. `explain()` tells what was compiled and why.
    """

    LIMIT: Final = 64

    def __init__(
        self,
        f: Callable[..., Any],
        static_argnums: Sequence[int] = (),
        static_argnames: Sequence[str] = (),
        options: Options | None = None,
    ) -> None:
        self._f = f
        self._static_argnums, self._static_argnames = _static_parameters(f, static_argnums, static_argnames)
        self._options = options or Options()
        self._fast: dict[Any, Compiled] = {}
        self._buckets: OrderedDict[Any, _Bucket] = OrderedDict()
        self._lock = threading.RLock()
        self._log: deque[str] = deque(maxlen=1000)
        self.__name__ = function_name(f)
        self.__doc__ = f.__doc__
        self.__wrapped__ = f

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._static_argnums or self._static_argnames:
            return self._call_static(args, kwargs)
        return self._call(self._f, (), args, kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def _call_static(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nums = {n % len(args) for n in self._static_argnums if -len(args) <= n < len(args)}
        statics = tuple((n, args[n]) for n in sorted(nums)) + tuple(
            (k, kwargs[k]) for k in sorted(self._static_argnames & kwargs.keys())
        )
        try:
            hash(statics)
        except TypeError:
            raise TraceError(
                "a static argument must be hashable: it is part of the key of what was compiled",
                expected="numbers, strings, tuples of them",
                actual=", ".join(f"{name}={value!r}" for name, value in statics)[:80],
                loc=(user_locs() or (None,))[0],
                fix="pass a tuple in place of a list, or pass it as an array",
            ) from None

        def call(*dynamic: Any, **keywords: Any) -> Any:
            rest = iter(dynamic)
            merged = [args[n] if n in nums else next(rest) for n in range(len(args))]
            return self._f(*merged, **keywords, **{k: v for k, v in statics if isinstance(k, str)})

        call.__name__ = self.__name__
        dynamic = tuple(a for n, a in enumerate(args) if n not in nums)
        keywords = {k: v for k, v in kwargs.items() if k not in self._static_argnames}
        return self._call(call, _typed(statics), dynamic, keywords)

    def _call(self, f: Callable[..., Any], statics: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return self._run(f, statics, args, kwargs)
        except GraphcError as error:
            locate(error)
            raise

    def _run(self, f: Callable[..., Any], statics: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        leaves, structure = flatten((args, kwargs))
        key = [structure, statics]
        for leaf in leaves:
            if type(leaf) is np.ndarray:
                key.append((leaf.dtype, leaf.shape))
            elif isinstance(leaf, (Traced, SymbolicSize)):
                world_of(leaves)  # refuses values of a trace that has ended
                return f(*args, **kwargs)
            else:
                if isinstance(leaf, (str, Spec, TensorType)):
                    raise _not_an_array(leaf)  # a type may be traced with, but not called with
                t = type_of(leaf)
                key.append((t.dtype, t.shape, t.weak))
        exact = tuple(key)
        compiled = self._fast.get(exact)
        if compiled is None:
            try:
                compiled = self._find(f, exact, leaves, structure, args, kwargs)
            except CaptureError as error:
                # only the closure is traced: the call is a part of that trace
                world = deepest(error.captures)
                args, kwargs = unflatten(structure, [lift(leaf, world) for leaf in leaves])
                return f(*args, **kwargs)
        results = compiled._run(*leaves)
        return results[0] if compiled._single else compiled._pack(results)

    def _find(
        self, f: Callable[..., Any], exact: Any, leaves: list[Any], structure: Any, args: Any, kwargs: Any
    ) -> Compiled:
        types = [type_of(leaf) for leaf in leaves]
        signature = (
            structure,
            exact[1],
            tuple((t.dtype, t.weak, t.ndim, tuple(d == 1 for d in t.shape)) for t in types),
        )
        with self._lock:
            bucket = self._buckets.get(signature)
            if bucket is None:
                bucket = self._buckets[signature] = _Bucket()
                while len(self._buckets) > self.LIMIT:
                    self._buckets.popitem(last=False)
                    self._fast.clear()
            self._buckets.move_to_end(signature)
            compiled = bucket.find(types)
            if compiled is None:
                compiled = self._compile(f, bucket, types, structure)
            if len(self._fast) >= 1024:
                self._fast.clear()
            self._fast[exact] = compiled
            return compiled

    def _compile(self, f: Callable[..., Any], bucket: _Bucket, types: list[TensorType], structure: Any) -> Compiled:
        symbolic, hints = bucket.generalise(types)
        why = bucket.why(types)
        if hints:
            try:
                compiled = self._build(f, symbolic, structure, hints)
                self._note(symbolic, why, compiled.graph)
                bucket.add(compiled, types)
                return compiled
            except CaptureError:
                raise
            except Exception as error:
                # what the function itself raises, the specialised trace raises again
                first = (str(error).splitlines() or [type(error).__name__])[0]
                why = f"{why}; the sizes could not be made symbolic ({first})"
        compiled = self._build(f, types, structure, None)
        self._note(types, why, compiled.graph)
        bucket.add(compiled, types)
        return compiled

    def _build(self, f: Callable[..., Any], types: Sequence[TensorType], structure: Any, hints: Any) -> Compiled:
        args, kwargs = unflatten(structure, types)
        out = trace_call(f, args, kwargs, hints)
        check_no_captures(out)
        return Compiled(out.graph, out.in_tree, out.out_tree, self._options)

    def _note(self, types: Sequence[TensorType], why: str, graph: Graph) -> None:
        guards = f"; guards: {', '.join(map(str, graph.guards))}" if graph.guards else ""
        self._log.append(f"compiled for ({', '.join(map(repr, types))}): {why}{guards}")

    def explain(self) -> str:
        """What was compiled so far and why, one line each."""
        return "\n".join(self._log) if self._log else "nothing compiled yet"

    def __getstate__(self) -> dict[str, Any]:
        """The function and how to compile it; what was compiled so far is compiled again where it is needed."""
        kept = ("_f", "_static_argnums", "_static_argnames", "_options", "__name__")
        return {k: self.__dict__[k] for k in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(  # type: ignore[misc]
            state["_f"], state["_static_argnums"], tuple(state["_static_argnames"]), state["_options"]
        )
        self.__name__ = state["__name__"]

    def __repr__(self) -> str:
        return f"<jit {self.__name__}>"


def _static_parameters(
    f: Callable[..., Any], numbers: Sequence[int], names: Sequence[str]
) -> tuple[tuple[int, ...], frozenset[str]]:
    """The static arguments by position and by name: one named here is static however the call passes it."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        return tuple(numbers), frozenset(names)
    either = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    by_number = {positional[n] for n in numbers if -len(positional) <= n < len(positional)}
    by_name = {positional.index(name) for name in names if name in positional}
    return tuple(sorted({*numbers, *by_name})), frozenset({*names, *(by_number & {*either})})


def _typed(value: Any) -> Any:
    """A key for a static value that tells 1 from True and 1.0, and 0.0 from -0.0."""
    if isinstance(value, tuple):
        return type(value), tuple(map(_typed, value))
    return (type(value), value, math.copysign(1, value)) if isinstance(value, float) else (type(value), value)


class _Bucket:
    """The compiled variants of one signature, and the shapes seen."""

    LIMIT: Final = 32

    def __init__(self) -> None:
        self.variants: OrderedDict[int, Compiled] = OrderedDict()
        self.seen: deque[tuple[tuple[Size, ...], ...]] = deque(maxlen=self.LIMIT)
        self.broken: str | None = None

    def find(self, types: list[TensorType]) -> Compiled | None:
        self.broken = None
        for key, compiled in self.variants.items():
            broken = mismatch(compiled.plan.graph, types)
            if broken is None:
                self.variants.move_to_end(key)
                return compiled
            self.broken = broken
        return None

    def add(self, compiled: Compiled, types: list[TensorType]) -> None:
        self.seen.append(tuple(t.shape for t in types))
        self.variants[id(compiled)] = compiled
        while len(self.variants) > self.LIMIT:
            self.variants.popitem(last=False)

    def why(self, types: list[TensorType]) -> str:
        if not self.seen:
            return "first call with this structure, dtypes and ranks"
        return f"new sizes ({self.broken})" if self.broken else "new sizes"

    def generalise(self, types: list[TensorType]) -> tuple[list[TensorType], dict[str, int]]:
        """Make the sizes that changed between calls symbolic; those that changed alike share a symbol."""
        history = [*self.seen, tuple(t.shape for t in types)]
        symbols: dict[tuple[Size, ...], str] = {}
        hints: dict[str, int] = {}
        result = []
        for position, t in enumerate(types):
            shape: list[Size] = []
            for axis, d in enumerate(t.shape):
                track = tuple(shapes[position][axis] for shapes in history)
                if len(set(track)) == 1:
                    shape.append(d)
                    continue
                name = symbols.setdefault(track, f"n{len(symbols)}" if symbols else "n")
                hints[name] = int(d)  # type: ignore[arg-type]
                shape.append(dims.symbol(name))
            result.append(TensorType(shape, t.dtype, t.weak))
        return result, hints


def bind_sizes(wanted: Sequence[Size], have: Sequence[Size], sizes: dict[str, Size]) -> bool:
    """Whether a shape fits one with named sizes; `sizes` learns what the names stand for."""
    for want, size in zip(wanted, have, strict=True):
        name = str(want)
        if name in dims.symbols(want) and name not in sizes:
            sizes[name] = size
        elif dims.equal(dims.substitute(want, sizes), size) is not True:
            return False
    return True


def mismatch(graph: Graph, types: Sequence[TensorType]) -> str | None:
    """Why arguments of these types do not fit a graph's sizes and guards; None if they fit."""
    env: dict[str, int] = {}
    for want, have in zip(graph.input_types, types, strict=True):
        for d, s in zip(want.shape, have.shape, strict=True):
            if isinstance(d, Dim):
                if env.setdefault(str(d), int(s)) != s:  # type: ignore[arg-type]
                    return f"{d} is {env[str(d)]} in one place and {s} in another"
            elif d != s:
                return f"{s} where {d} was compiled"
    for guard in graph.guards:
        if not guard.holds(env):
            return f"guard {guard} fails"
    return None


def jit(
    f: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    backend: str = "numpy",
    exact_order: bool = False,
) -> Any:
    """Compile a function on its first call, and again only when types, structure or static arguments change.

    Args:
        f: a function of arrays and pytrees of arrays. Inside another trace it is traced through.
        static_argnums, static_argnames: arguments that stay Python values; they must be hashable.

    Usable as a decorator, with or without arguments.

    >>> import numpy as np
    >>> double = jit(lambda x: 2 * x)
    >>> double(np.arange(3.0))
    array([0., 2., 4.])
    """
    numbers = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    options = Options(backend, exact_order)
    if f is None:
        return lambda g: Jitted(g, numbers, names, options)
    return Jitted(f, numbers, names, options)
