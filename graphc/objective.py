"""A compiled function as `scipy.optimize.minimize` takes it: functions of one flat vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from graphc import dims
from graphc.compiler import Compiled, flatten, show_call, show_tree, type_of, unflatten
from graphc.dims import Size
from graphc.errors import DifferentiationError, ShapeError, StructureError
from graphc.ir import Graph, TensorType, static_shape
from graphc.passes.derive import jvp_graph, value_and_gradient_graph
from graphc.tracing import Traced, inline, located, tracing
from graphc.transforms.arguments import check_structure, positions, prepared
from graphc.transforms.linear_map import SplitFunction

Vector: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]


class Objective:
    """A scalar function of a flat vector, with its derivatives: unpacks as `(fun, jac, hessp)`.

    Made by `Compiled.scipy`. The vector holds, in double precision, every element of the arguments that are
    minimised over, in the order of the pytree; `flatten` and `unflatten` lead from one to the other. The other
    arguments of the function follow the vector in each call, as SciPy's `args` does.

    `fun` and `jac` are computed together, once for each point; `hessp` computes what it needs of the point once, and
    then one linear map for each vector. A point is known by the elements of x and by the identity of the other
    arguments, so these must not be changed in place between the calls at one point.
    """

    def __init__(self, compiled: Compiled, argnums: int | Sequence[int] = 0) -> None:
        self._compiled = compiled
        self._argnums = argnums
        self._graph = compiled.graph
        parts = _arguments(compiled)
        chosen = positions(argnums, len(parts), "scipy")
        starts = [sum(part.num_leaves for part in parts[:n]) for n in range(len(parts))]
        self._wrt = [k for n in chosen for k in range(starts[n], starts[n] + parts[n].num_leaves)]
        rest = [n for n in range(len(parts)) if n not in chosen]
        self._others = [k for n in rest for k in range(starts[n], starts[n] + parts[n].num_leaves)]
        self._structures = [parts[n] for n in chosen]
        self._rest = [parts[n] for n in rest]
        self._types = [self._graph.input_types[k] for k in self._wrt]
        self._check()
        self._at_sizes: dict[Any, _Sized] = {}
        self._called: tuple[int, tuple[Any, ...], _Sized] | None = None  # the last call of plain arrays
        # what was computed at the last point and not asked for yet; the residuals of the Hessian at its last point
        self._last: tuple[Vector, tuple[Any, ...], dict[str, Any]] | None = None
        self._residuals: tuple[Vector, tuple[Any, ...], _Sized, Sequence[Any]] | None = None

    def _check(self) -> None:
        outputs = self._graph.output_types
        if len(outputs) != 1 or outputs[0].shape != () or not outputs[0].differentiable:
            raise DifferentiationError(
                f"scipy: {self._graph.name} must return one real scalar",
                expected="f16[], f32[] or f64[]",
                actual=", ".join(map(repr, outputs)) or "nothing",
                fix="reduce the result, for instance with np.sum",
            )
        for k, type in zip(self._wrt, self._types, strict=True):
            if not type.differentiable:
                name = self._graph.attrs(self._graph.inputs[k])["name"]
                raise DifferentiationError(
                    f"scipy: {self._graph.name} is to be minimised over {name}, which is not a real float",
                    expected="f16, f32 or f64",
                    actual=repr(type),
                    fix="argnums names the arguments to minimise over; the others are passed as args",
                )

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        return iter((self.fun, self.jac, self.hessp))

    def fun(self, x: Any, /, *args: Any) -> float:
        """The value at the vector x."""
        with located():
            return float(self._evaluate("fun", x, args))

    def jac(self, x: Any, /, *args: Any) -> Vector:
        """The gradient at the vector x, as a vector."""
        with located():
            gradient: Vector = self._evaluate("jac", x, args)
            return gradient

    def hessp(self, x: Any, p: Any, /, *args: Any) -> Vector:
        """The product of the Hessian at the vector x with the vector p."""
        with located():
            x, p = self._vector(x, "x"), self._vector(p, "p")
            if p.size != x.size:
                raise ShapeError(
                    f"scipy: the vector p has {p.size} elements, and x has {x.size}",
                    expected=f"f64[{x.size}]",
                    actual=f"f64[{p.size}]",
                )
            known = self._residuals
            if known is None or not _same(known, x, args):
                sized, leaves = self._sized(x.size, args)
                known = x.copy(), args, sized, sized.hessian.at(sized.inputs(x, leaves))[1]
                self._residuals = known
            _, _, sized, residuals = known
            return sized.joined(sized.hessian.linear._run(*residuals, *sized.parts(p)))

    def flatten(self, params: Any) -> Vector:
        """The vector for the arguments that are minimised over: one pytree, or a tuple of them for several argnums."""
        with located():
            given = [params] if isinstance(self._argnums, (int, np.integer)) else list(params)
            if len(given) != len(self._structures):
                raise StructureError(
                    "scipy: another number of arguments to minimise over",
                    expected=f"a tuple of {len(self._structures)}",
                    actual=str(len(given)),
                )
            pieces: list[Any] = []
            start = 0
            for one, wanted in zip(given, self._structures, strict=True):
                leaves, structure = flatten(one)
                types = self._types[start : start + wanted.num_leaves]
                check_structure(structure, wanted, leaves, types, "scipy: the arguments to minimise over")
                for leaf, type in zip(leaves, types, strict=True):
                    have = type_of(leaf)
                    fits = [not isinstance(d, int) or d == s for d, s in zip(type.shape, have.shape, strict=False)]
                    if have.ndim != type.ndim or not all(fits):
                        raise ShapeError("scipy: an argument has another shape", expected=repr(type), actual=repr(have))
                    pieces.append(np.asarray(leaf, np.float64).ravel())
                start += wanted.num_leaves
            return np.concatenate(pieces) if pieces else np.zeros(0)

    def unflatten(self, x: Any, /, *args: Any) -> Any:
        """The arguments for a vector, in their structure, shapes and dtypes.

        The other arguments are needed only where sizes have names that x alone does not determine.
        """
        with located():
            x = self._vector(x, "x")
            types = self._sizes(x.size, args, bool(args))[0]
            found = iter(_parts(x, [types[k] for k in self._wrt]))
            params = [unflatten(s, [next(found)[()] for _ in range(s.num_leaves)]) for s in self._structures]
            return params[0] if isinstance(self._argnums, (int, np.integer)) else tuple(params)

    def _evaluate(self, what: str, x: Any, args: tuple[Any, ...]) -> Any:
        """Value or gradient; the other of the two waits for the next call at this point."""
        x = self._vector(x, "x")
        last = self._last
        if last is not None and _same(last, x, args):
            waiting = last[2].pop(what, None)
            if waiting is not None:
                return waiting
        sized, leaves = self._sized(x.size, args)
        value, *gradient = sized.value_and_gradient._run(*sized.inputs(x, leaves))
        computed = {"fun": value, "jac": sized.joined(gradient)}
        result = computed.pop(what)
        self._last = x.copy(), args, computed
        return result

    def _vector(self, x: Any, name: str) -> Vector:
        vector = np.asarray(x)
        if vector.ndim != 1 or vector.dtype.kind not in "biuf":
            raise ShapeError(
                f"scipy: {name} is no vector of real numbers",
                expected="f64[n]",
                actual=f"{vector.dtype} of shape {vector.shape}",
                fix="objective.flatten(arguments)",
            )
        return vector.astype(np.float64, copy=False)

    def _sized(self, length: int, args: tuple[Any, ...]) -> tuple[_Sized, Sequence[Any]]:
        """The derivatives for the sizes of a call, and the leaves of its other arguments."""
        called = self._called
        if called is not None and called[0] == length and _identical(called[1], args):
            return called[2], args
        types, leaves, env = self._sizes(length, args, True)
        key = tuple(t.shape for t in types)
        found = self._at_sizes.get(key)
        if found is None:
            found = self._at_sizes[key] = _Sized(_at_sizes(self._graph, types, env), self._wrt, self._others)
        if all(type(a) is np.ndarray for a in args):
            self._called = length, args, found
        return found, leaves

    def _sizes(
        self, length: int, args: tuple[Any, ...], given: bool
    ) -> tuple[list[TensorType], Sequence[Any], dict[str, Size]]:
        """The types of all inputs without named sizes, by the length of the vector and the other arguments."""
        leaves = self._leaves(args) if given else []
        equations: list[tuple[Size, int, str]] = []
        for k, leaf in zip(self._others, leaves, strict=False):
            want, have = self._graph.input_types[k], type_of(leaf)
            name = f"argument {self._graph.attrs(self._graph.inputs[k])['name']}"
            if have.ndim != want.ndim:
                raise ShapeError(f"scipy: {name} has another shape", expected=repr(want), actual=repr(have))
            equations += [(d, int(size), name) for d, size in zip(want.shape, have.shape, strict=True)]  # type: ignore[arg-type]
        total: Size = 0
        for type in self._types:
            total = total + dims.product(type.shape)
        equations.append((total, length, "the vector"))
        env = self._solved(equations)
        types = [
            TensorType([dims.substitute(d, env) for d in t.shape], t.dtype, t.weak) for t in self._graph.input_types
        ]
        return types, leaves, env

    def _leaves(self, args: tuple[Any, ...]) -> Sequence[Any]:
        """The leaves of the arguments beside the vector."""
        structures = [flatten(a)[1] for a in args]
        if structures != self._rest:
            wanted = _shown(self._rest, [self._graph.input_types[k] for k in self._others])
            given = [show_tree(s, flatten(a)[0]) for a, s in zip(args, structures, strict=True)]
            raise StructureError(
                f"scipy: {self._graph.name} was compiled for other arguments beside the vector",
                expected=f"args=({', '.join(wanted)})",
                actual=f"args=({', '.join(given)})",
                fix="pass what is not minimised over, in its order: minimize(fun, x0, args=(...))",
            )
        return [leaf for a in args for leaf in flatten(a)[0]]

    def _solved(self, equations: Sequence[tuple[Size, int, str]]) -> dict[str, Size]:
        """The named sizes, from equations of a size, its number, and what has it."""
        env: dict[str, Size] = {}
        waiting = equations
        while waiting:
            later = []
            for size, number, name in waiting:
                left = dims.substitute(size, env)
                try:
                    found = None if isinstance(left, int) else dims.solve(left, number)
                except ValueError:
                    found, left = None, -1  # no whole number solves it
                if found is not None:
                    env[found[0]] = found[1]
                elif not isinstance(left, int):
                    later.append((size, number, name))
                elif left != number:
                    raise ShapeError(
                        f"scipy: {name} has another size",
                        expected=f"{size}: {', '.join(map(repr, self._graph.input_types))}",
                        actual=str(number),
                        fix="objective.flatten(arguments) gives the vector",
                    )
            if len(later) == len(waiting):
                raise ShapeError(
                    "scipy: the vector does not determine the sizes of the arguments",
                    expected=", ".join(map(repr, self._types)),
                    actual=", ".join(f"{size} = {number}" for size, number, _ in later),
                    fix="compile for numbers in place of names, or for example arrays",
                )
            waiting = later
        return env

    def __reduce__(self) -> tuple[Any, ...]:
        return Objective, (self._compiled, self._argnums)

    def __repr__(self) -> str:
        return f"<objective {self._graph.name} of {', '.join(map(repr, self._types))}>"


class _Sized:
    """Value, gradient and Hessian product of a graph without named sizes."""

    def __init__(self, graph: Graph, wrt: Sequence[int], others: Sequence[int]) -> None:
        self.graph = graph
        self.wrt, self.others = wrt, others
        self.types = [graph.input_types[k] for k in wrt]
        self._derived = value_and_gradient_graph(prepared(graph), wrt)
        self.value_and_gradient = Compiled(self._derived, None, None)
        self._hessian: SplitFunction | None = None

    @property
    def hessian(self) -> SplitFunction:
        """The Hessian product, split into what depends on the point and the linear map."""
        if self._hessian is None:
            gradient = _outputs(self._derived, slice(1, None))
            joint = jvp_graph(prepared(gradient), self.wrt)
            self._hessian = SplitFunction.of(joint, len(self.graph.inputs), 0)
        return self._hessian

    def parts(self, x: Vector) -> list[Any]:
        """The vector cut into the arguments that it stands for."""
        return _parts(x, self.types)

    def inputs(self, x: Vector, others: Sequence[Any]) -> list[Any]:
        """All inputs of the graph."""
        found: list[Any] = [None] * len(self.graph.inputs)
        for k, part in zip((*self.wrt, *self.others), (*self.parts(x), *others), strict=True):
            found[k] = part
        return found

    def joined(self, parts: Sequence[Any]) -> Vector:
        """The vector for parts of it."""
        vector = np.empty(sum(np.size(part) for part in parts))
        start = 0
        for part in parts:
            stop = start + np.size(part)
            vector[start:stop] = np.ravel(part)
            start = stop
        return vector


def _arguments(compiled: Compiled) -> list[Any]:
    """The structure of each positional argument of a compiled function."""
    if compiled.in_tree is None:
        leaf = flatten(0)[1]
        return [leaf] * len(compiled.graph.inputs)
    args, kwargs = compiled.in_tree.children()
    if kwargs.num_leaves:
        raise StructureError(
            f"scipy: {compiled.graph.name} was compiled for keyword arguments, which minimize cannot pass",
            expected="positional arguments",
            actual=show_call(compiled.graph.name, compiled.in_tree, compiled.graph.input_types),
            fix="compile a function that takes them by position, or has them filled in",
        )
    return list(args.children())


def _shown(structures: Sequence[Any], types: Sequence[TensorType]) -> Iterator[str]:
    start = 0
    for structure in structures:
        yield show_tree(structure, types[start : start + structure.num_leaves])
        start += structure.num_leaves


def _parts(x: Vector, types: Sequence[TensorType]) -> list[Any]:
    parts = []
    start = 0
    for type in types:
        shape = static_shape(type.shape)
        assert shape is not None, "the sizes are known here"
        stop = start + int(np.prod(shape))
        parts.append(x[start:stop].reshape(shape).astype(type.dtype))
        start = stop
    return parts


def _at_sizes(graph: Graph, types: Sequence[TensorType], env: Mapping[str, Size]) -> Graph:
    """The graph for inputs of these types, which have numbers for the named sizes."""
    if not env:
        return graph
    with tracing(graph.name) as world:
        inputs = [
            Traced(world, world.builder.input(graph.attrs(i)["name"], type, graph._node[i]["loc"]))
            for i, type in zip(graph.inputs, types, strict=True)
        ]
        return world.builder.finish([v.id for v in inline(world, graph, inputs, env)])


def _outputs(graph: Graph, which: slice) -> Graph:
    """The graph of some of the outputs alone, without effects."""
    with tracing(graph.name) as world:
        inputs = [
            Traced(world, world.builder.input(graph.attrs(i)["name"], graph._node[i]["type"])) for i in graph.inputs
        ]
        values = inline(world, graph, inputs)
        return world.builder.finish([v.id for v in values[which]], effects=False)


def _same(known: tuple[Any, ...], x: Vector, args: tuple[Any, ...]) -> bool:
    """Whether something was computed at this point."""
    return _identical(known[1], args) and bool(np.array_equal(known[0], x))


def _identical(known: tuple[Any, ...], args: tuple[Any, ...]) -> bool:
    return len(known) == len(args) and all(a is b for a, b in zip(known, args, strict=True))
