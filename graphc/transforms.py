"""Derivative transforms: functions to functions, of any order, in any nesting.

Every transform traces its function into a graph of its own, stabilises that, differentiates it, and inlines the
result into the surrounding trace. Called on arrays, the transform itself is traced and compiled, once per signature.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np

import graphc.numpy as gnp
from graphc.calling import call
from graphc.compiler import (
    Compiled,
    Jitted,
    Traceout,
    extract,
    flatten,
    function_name,
    leaf_names,
    output_value,
    show_tree,
    type_of,
    unflatten,
)
from graphc.errors import DifferentiationError, DTypeError, ShapeError, StructureError, TraceError
from graphc.ir import Graph, TensorType, static_shape
from graphc.passes import pipeline
from graphc.passes.derive import gradients_graph, jvp_graph, split, value_and_gradient_graph, vjp_graph
from graphc.tracing import (
    Traced,
    TracingWorld,
    deepest,
    definition,
    free_symbol,
    fresh,
    inline,
    lift,
    located,
    tracing,
    user_locs,
    world_of,
)


def symbol(name: str, spec: Any) -> Traced:
    """A free variable of the given type, for expression style.

    >>> x = symbol("x", "f64[3]")
    >>> (2 * x).type
    f64[3]
    """
    return free_symbol(name, type_of(spec))


def _with_keywords(f: Callable[..., Any], kwargs: Mapping[str, Any]) -> Callable[..., Any]:
    """`f` with keyword arguments that are not differentiated."""
    if not kwargs:
        return f

    @wraps(f)
    def bound(*args: Any) -> Any:
        return f(*args, **kwargs)

    return bound


def prepared(graph: Graph) -> Graph:
    """The simplified, stabilised graph that derivatives are taken of."""
    return pipeline.run(graph, pipeline.FORWARD)[-1].graph


def _trace_on(
    f: Callable[..., Any], args: tuple[Any, ...], chosen: Sequence[Any], names: Sequence[str]
) -> tuple[Traceout, Any]:
    """Trace `f(*args)` with fresh inputs in place of the leaves in `chosen` (identified by identity)."""
    fresh: dict[int, Any] = {}
    with tracing(function_name(f)) as world:
        for leaf, name in zip(chosen, names, strict=True):
            fresh[id(leaf)] = Traced(world, world.builder.input(name, leaf.type, user_locs()))
        leaves, structure = flatten(args)
        bound = unflatten(structure, [fresh.get(id(leaf), leaf) for leaf in leaves])
        result = call(f, bound, {})
        outputs, out_tree = flatten(result)
        values = [output_value(o, world, f) for o in outputs]
        graph = world.builder.finish([v.id for v in values])
        return Traceout(graph, structure, out_tree, tuple(world.captures)), result


class _Lifted:
    """A leaf of a differentiated argument; a fresh object each, so that one value passed twice is two variables."""

    __slots__ = ("type", "value")

    def __init__(self, value: Any) -> None:
        # in-place operators may change the caller's object later on
        self.value = fresh(value)
        self.type: TensorType = value.type


def _lift_argument(argument: Any, world: TracingWorld, transform: str) -> tuple[list[_Lifted], Any]:
    leaves, structure = flatten(argument)
    lifted = [_Lifted(lift(leaf, world)) for leaf in leaves]
    for leaf in lifted:
        if not leaf.type.differentiable:
            raise DifferentiationError(
                f"{transform}: an argument is not a real float",
                expected="f16, f32 or f64",
                actual=repr(leaf.type),
                loc=(user_locs() or (None,))[0],
                fix="convert it: x.astype(float), or leave it out of argnums",
            )
    return lifted, structure


class Transform:
    """A differentiated function. Inside a trace it inlines; on arrays it compiles once per signature and runs."""

    def __init__(self, f: Callable[..., Any], name: str) -> None:
        self._f = f
        self._jitted = Jitted(self._traced)
        self.__name__ = f"{name}_{function_name(f)}"
        self._jitted.__name__ = self.__name__
        self.__doc__ = f.__doc__
        self.__wrapped__ = f

    def _traced(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._jitted(*args, **kwargs)

    def explain(self) -> str:
        """What was compiled so far and why."""
        return self._jitted.explain()

    def __repr__(self) -> str:
        return f"<{self.__name__}>"


def _world(args: Any, transform: str) -> TracingWorld:
    leaves, _ = flatten(args)
    world = world_of(leaves)
    if world is None:
        raise TraceError(f"{transform}: no traced argument")
    return world


class _Gradient(Transform):
    def __init__(self, f: Callable[..., Any], argnums: int | Sequence[int], has_aux: bool, with_value: bool) -> None:
        self.argnums = argnums
        self.has_aux = has_aux
        self.with_value = with_value
        super().__init__(f, "value_and_grad" if with_value else "grad")

    def _traced(self, *args: Any, **kwargs: Any) -> Any:
        world = _world((args, kwargs), "grad")
        numbers = _positions(self.argnums, len(args), "grad")
        lifted: list[_Lifted] = []
        structures = []
        arguments = list(args)
        for n in numbers:
            leaves, structure = _lift_argument(args[n], world, "grad")
            structures.append((structure, len(leaves)))
            arguments[n] = unflatten(structure, leaves)
            lifted.extend(leaves)
        names = self._names(arguments, lifted)
        out, result = _trace_on(_with_keywords(self._f, kwargs), tuple(arguments), lifted, names)
        self._check_scalar(out.graph, result)
        graph = value_and_gradient_graph(prepared(out.graph), range(len(lifted)))
        values = inline(world, graph, [*(leaf.value for leaf in lifted), *out.captures])
        count = len(out.graph.outputs)
        gradients = iter(values[count:])
        parts = [unflatten(s, [next(gradients) for _ in range(k)]) for s, k in structures]
        gradient = parts[0] if isinstance(self.argnums, int) else tuple(parts)
        value = unflatten(out.out_tree, values[:count])
        if self.with_value:
            return value, gradient
        return (gradient, value[1]) if self.has_aux else gradient

    def _names(self, arguments: list[Any], lifted: Sequence[_Lifted]) -> list[str]:
        """The user's names of the differentiated leaves."""
        tree: Any = (tuple(arguments), {})
        names = {id(leaf): name for leaf, name in zip(flatten(tree)[0], leaf_names(self._f, tree), strict=True)}
        return [names[id(leaf)] for leaf in lifted]

    def _check_scalar(self, graph: Graph, result: Any) -> None:
        ok = (
            isinstance(result, tuple) and len(result) == 2
            if self.has_aux
            else not isinstance(result, (tuple, list, dict))
        )
        type = graph.output_types[0] if graph.outputs else None
        if not ok or type is None or type.shape != () or not type.differentiable:
            loc = graph._node[graph.outputs[0]]["loc"] if graph.outputs else ()
            raise DifferentiationError(
                f"grad: {function_name(self._f)} must return one real scalar"
                + (" and the auxiliary result" if self.has_aux else ""),
                expected="f16[], f32[] or f64[]" + (", aux" if self.has_aux else ""),
                actual=", ".join(map(repr, graph.output_types)) or "nothing",
                loc=loc[0] if loc else definition(self._f),
                fix="reduce the result with np.sum; or use jacobian, vjp, or gradients(y, xs, grad_outputs=...)",
            )


def _positions(argnums: int | Sequence[int], count: int, transform: str) -> list[int]:
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    for n in numbers:
        if not -count <= n < count:
            raise DifferentiationError(
                f"{transform}: argnums={argnums} names an argument that was not passed by position",
                expected=f"argnums from {-count} to {count - 1}",
                actual=f"{n}, with {count} positional argument{'s' if count != 1 else ''}",
                fix="pass the arguments to differentiate by position",
            )
    return [n % count for n in numbers]


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The gradient of a scalar function.

    Args:
        f: returns one real scalar (with `has_aux`: a pair of it and anything else made of arrays).
        argnums: which positional arguments to differentiate; each may be a pytree of float arrays.

    Returns:
        A function of the same arguments: the gradient in the argument's structure, shapes and dtypes (a tuple of them
        for several argnums), with `has_aux` a pair of gradient and auxiliary result. Arguments that do not
        influence the result get zeros.

    Raises:
        DifferentiationError: the result is not a real scalar, or an argument is not a float.

    >>> import numpy as np
    >>> grad(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    array([ 3., 12.])
    """
    return _Gradient(f, argnums, has_aux, with_value=False)


def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """The value and the gradient of a scalar function, computed together; see `grad`.

    >>> import numpy as np
    >>> value_and_grad(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    (np.float64(9.0), array([ 3., 12.]))
    """
    return _Gradient(f, argnums, has_aux, with_value=True)


class _Jvp(Transform):
    """Takes (primals, tangents), gives (outputs, output tangents)."""

    def __init__(self, f: Callable[..., Any]) -> None:
        super().__init__(f, "jvp")

    def _traced(self, primals: Any, tangents: Any) -> Any:
        world = _world((primals, tangents), "jvp")
        lifted, structure = _lift_argument(tuple(primals), world, "jvp")
        pushed = _matching(tangents, structure, lifted, world, "jvp: tangents")
        out, _ = _trace_on(self._f, unflatten(structure, lifted), lifted, leaf_names(self._f, (tuple(primals), {})))
        graph = jvp_graph(prepared(out.graph), range(len(lifted)), with_value=True)
        values = inline(world, graph, [*(leaf.value for leaf in lifted), *out.captures, *pushed])
        count = len(out.graph.outputs)
        tangent_values = iter(values[count:])
        filled = [next(tangent_values) if t.differentiable else world.full(0, t) for t in out.graph.output_types]
        return unflatten(out.out_tree, values[:count]), unflatten(out.out_tree, filled)


def _matching(tree: Any, structure: Any, like: Sequence[Any], world: TracingWorld, what: str) -> list[Any]:
    """The leaves of `tree`, in the structure, shapes and dtypes of `like`."""
    leaves, given = flatten(tuple(tree) if isinstance(tree, list) else tree)
    check_structure(given, structure, leaves, [model.type for model in like], what)
    values = []
    for leaf, model in zip(leaves, like, strict=True):
        value = lift(leaf, world)
        if value.type.shape != model.type.shape:
            raise ShapeError(
                f"{what} differ in shape",
                expected=repr(model.type),
                actual=repr(value.type),
                fix="each has the shape of the value it belongs to",
            )
        if not value.type.weak and not np.can_cast(value.type.dtype, model.type.dtype, "safe"):
            raise DTypeError(f"{what}: no safe cast", expected=repr(model.type), actual=repr(value.type))
        values.append(world.convert(value, model.type.dtype, model.type.weak))
    return values


def check_structure(given: Any, wanted: Any, leaves: Sequence[Any], types: Sequence[TensorType], what: str) -> None:
    """Raise StructureError unless a pytree has the structure wanted."""
    if given != wanted:
        raise StructureError(
            f"{what} differ in structure",
            expected=show_tree(wanted, types),
            actual=show_tree(given, leaves),
            fix="give them the same tuples, lists and dicts",
        )


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The value of `f(*primals)` and its derivative in the direction of `tangents` (forward mode).

    Returns:
        (out, tangent_out) in the structure of the result.

    >>> import numpy as np
    >>> jvp(np.sin, (0.0,), (1.0,))
    (np.float64(0.0), np.float64(1.0))
    """
    return _Jvp(f)(tuple(primals), tuple(tangents))  # type: ignore[no-any-return]


def _joint_graph(f: Callable[..., Any], primals: tuple[Any, ...], transform: str) -> tuple[Traceout, Any]:
    """Trace `f` on the types of concrete primals."""
    with tracing(function_name(f)) as world:
        leaves, structure = flatten(primals)
        inputs = [
            Traced(world, world.builder.input(name, type_of(leaf), user_locs()))
            for name, leaf in zip(leaf_names(f, (primals, {})), leaves, strict=True)
        ]
        _lift_argument(inputs, world, transform)
        outputs, out_tree = flatten(call(f, unflatten(structure, inputs), {}))
        graph = world.builder.finish([output_value(o, world, f).id for o in outputs])
        return Traceout(prepared(graph), structure, out_tree, tuple(world.captures)), leaves


class _LinearMap:
    """The compiled linear part of a function at a point, holding its residuals.

    It takes arguments of the structure `in_tree` and the types `in_types`, and gives `out_tree` and `out_types`.
    Integers and booleans among them carry no tangents: those given are not used, those returned are zeros.
    """

    def __init__(
        self,
        linear: Graph,
        residuals: Sequence[Any],
        ins: tuple[Any, Sequence[TensorType]],
        outs: tuple[Any, Sequence[TensorType]],
        what: str,
    ) -> None:
        self._compiled = Compiled(linear, None, None)
        self._residuals = residuals
        self._in_tree, self._in_types = ins
        self._out_tree, self._out_types = outs
        self._what = what

    def __call__(self, *given: Any) -> Any:
        with located():
            return self._apply(given)

    def _apply(self, given: tuple[Any, ...]) -> Any:
        leaves, structure = flatten(given)
        check_structure(structure, self._in_tree, leaves, self._in_types, self._what)
        world = world_of(leaves)
        if world is not None:
            leaves = _matching(given, self._in_tree, [_Model(t) for t in self._in_types], world, self._what)
        kept = [leaf for leaf, t in zip(leaves, self._in_types, strict=True) if t.differentiable]
        if world is None:
            values: Sequence[Any] = self._compiled._run(*self._residuals, *kept)
        else:
            values = inline(world, self._compiled.graph, [lift(v, world) for v in (*self._residuals, *kept)])
        found = iter(values)
        filled = [
            next(found) if t.differentiable else np.zeros(static_shape(t.shape) or (), t.dtype) for t in self._out_types
        ]
        return unflatten(self._out_tree, filled)


@dataclass(frozen=True, slots=True)
class _Model:
    """Something with the type that an argument must have."""

    type: TensorType


def linearize(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of `f` at `primals` and the linear function that approximates it there.

    The function takes tangents in the primals' structure. What it needs of the primals is computed once, here.

    >>> import numpy as np
    >>> value, derivative = linearize(np.exp, 0.0)
    >>> derivative(2.0)
    np.float64(2.0)
    """
    leaves, _ = flatten(primals)
    world = world_of(leaves)
    if world is not None:
        return _traced_linearize(f, primals, world)
    with located():
        out, arrays = _joint_graph(f, primals, "linearize")
    if out.captures:
        return _traced_linearize(f, primals, deepest(out.captures))
    joint = jvp_graph(out.graph, range(len(arrays)), with_value=True)
    value, residuals, linear = _split_at(joint, arrays, len(out.graph.outputs))
    ins = (out.in_tree, out.graph.input_types)
    map_ = _LinearMap(linear, residuals, ins, (out.out_tree, out.graph.output_types), "tangents")
    return unflatten(out.out_tree, value), map_


def _split_at(joint: Graph, arrays: Sequence[Any], outputs: int) -> tuple[Sequence[Any], Sequence[Any], Graph]:
    """Run what a joint graph computes of its first inputs: the outputs, the residuals, and the linear rest."""
    known, linear = split(joint, range(len(arrays), len(joint.inputs)), outputs)
    first = Compiled(known, None, None)._run(*arrays)
    return first[:outputs], first[outputs:], linear


def _traced_linearize(f: Callable[..., Any], primals: Any, world: TracingWorld) -> tuple[Any, Callable[..., Any]]:
    lifted, structure = _lift_argument(primals, world, "linearize")
    out, _ = _trace_on(f, unflatten(structure, lifted), lifted, leaf_names(f, (primals, {})))
    values = inline(world, prepared(out.graph), [*(leaf.value for leaf in lifted), *out.captures])
    point = unflatten(structure, [leaf.value for leaf in lifted])
    return unflatten(out.out_tree, values), lambda *tangents: _Jvp(f)._traced(point, tangents)[1]


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The value of `f` at `primals`, and the pullback from cotangents of the result to cotangents of the primals.

    The pullback takes one cotangent in the structure of the result and gives a tuple, one part per primal. What it
    needs of the primals is computed once, here.

    >>> import numpy as np
    >>> value, pullback = vjp(lambda x, y: x * y, 2.0, 3.0)
    >>> pullback(1.0)
    (np.float64(3.0), np.float64(2.0))
    """
    leaves, _ = flatten(primals)
    world = world_of(leaves)
    if world is not None:
        return _traced_vjp(f, primals, world)
    with located():
        out, arrays = _joint_graph(f, primals, "vjp")
    if out.captures:
        return _traced_vjp(f, primals, deepest(out.captures))
    joint = vjp_graph(out.graph, range(len(arrays)), with_value=True)
    value, residuals, linear = _split_at(joint, arrays, len(out.graph.outputs))
    result = unflatten(out.out_tree, value)
    ins = (flatten((result,))[1], out.graph.output_types)
    return result, _LinearMap(linear, residuals, ins, (out.in_tree, out.graph.input_types), "cotangents")


def _traced_vjp(f: Callable[..., Any], primals: Any, world: TracingWorld) -> tuple[Any, Callable[[Any], Any]]:
    lifted, structure = _lift_argument(primals, world, "vjp")
    out, _ = _trace_on(f, unflatten(structure, lifted), lifted, leaf_names(f, (primals, {})))
    graph = prepared(out.graph)
    operands = [*(leaf.value for leaf in lifted), *out.captures]
    values = inline(world, graph, operands)
    backward_graph = vjp_graph(graph, range(len(lifted)))

    def pullback(ct: Any) -> Any:
        """Cotangents of the primals for a cotangent of the result."""
        here = world_of([*flatten(ct)[0], *operands]) or world
        cts = _matching(ct, out.out_tree, values, here, "cotangents")
        wanted = [c for c, t in zip(cts, graph.output_types, strict=True) if t.differentiable]
        return unflatten(structure, inline(here, backward_graph, [*operands, *wanted]))

    return unflatten(out.out_tree, values), pullback


class _Jacobian(Transform):
    def __init__(self, f: Callable[..., Any], argnums: int | Sequence[int], forward: bool) -> None:
        self.argnums = argnums
        self.forward = forward
        super().__init__(f, "jacfwd" if forward else "jacrev")

    def _traced(self, *args: Any, **kwargs: Any) -> Any:
        world = _world((args, kwargs), "jacobian")
        numbers = _positions(self.argnums, len(args), "jacobian")

        def chosen(*parts: Any) -> Any:
            call = list(args)
            for n, part in zip(numbers, parts, strict=True):
                call[n] = part
            return self._f(*call, **kwargs)

        picked = tuple(args[n] for n in numbers)
        build = _forward_jacobian if self.forward else _reverse_jacobian
        result, structure = build(chosen, picked, world)
        single = isinstance(self.argnums, int)
        return unflatten(structure, [row[0] if single else tuple(row) for row in result])


def _units(type: TensorType, world: TracingWorld, what: str) -> list[Any]:
    """The unit vectors of a type, as constants."""
    shape = static_shape(type.shape)
    if shape is None:
        raise DifferentiationError(
            f"jacobian: the {what} has a size known only at run time",
            expected="fixed sizes",
            actual=repr(type),
            fix="write a number in the spec; or use vjp, jvp or hvp, which need no rows",
        )
    return [world.constant(row.reshape(shape)) for row in np.eye(math.prod(shape), dtype=type.dtype)]


def _reverse_jacobian(
    f: Callable[..., Any], picked: tuple[Any, ...], world: TracingWorld
) -> tuple[list[list[Any]], Any]:
    """Rows by pullbacks of unit cotangents; result[output][argument]."""
    value, pullback = _traced_vjp(f, picked, world)
    outputs, out_tree = flatten(value)
    result = []
    for k, y in enumerate(outputs):
        rows = []
        for unit in _units(y.type, world, "result"):
            ct = unflatten(out_tree, [unit if j == k else world.full(0, v.type) for j, v in enumerate(outputs)])
            rows.append(pullback(ct))
        result.append(
            [_stack_trees([row[n] for row in rows], y, picked[n], world, front=True) for n in range(len(picked))]
        )
    return result, out_tree


def _forward_jacobian(
    f: Callable[..., Any], picked: tuple[Any, ...], world: TracingWorld
) -> tuple[list[list[Any]], Any]:
    """Columns by pushing unit tangents; result[output][argument]."""
    leaves, structure = flatten(picked)
    leaves = [lift(leaf, world) for leaf in leaves]
    point = unflatten(structure, leaves)
    columns: list[list[Any]] = []
    out_tree = None
    outputs: list[Any] = []
    push = _Jvp(f)
    for k, x in enumerate(leaves):
        columns.append([])
        for unit in _units(x.type, world, "argument"):
            tangents = unflatten(structure, [unit if j == k else world.full(0, v.type) for j, v in enumerate(leaves)])
            value, tangent = push._traced(point, tangents)
            outputs, out_tree = flatten(value)
            columns[k].append(flatten(tangent)[0])
    if not outputs:
        outputs, out_tree = flatten(
            push._traced(point, unflatten(structure, [world.full(0, v.type) for v in leaves]))[0]
        )
    result = []
    for j, y in enumerate(outputs):
        blocks = [
            _stack(
                [column[j] for column in columns[k]],
                (*y.type.shape, *x.type.shape),
                y.type,
                world,
                front=False,
            )
            for k, x in enumerate(leaves)
        ]
        parts = iter(blocks)
        row = []
        for argument in picked:
            inner, inner_structure = flatten(argument)
            row.append(unflatten(inner_structure, [next(parts) for _ in inner]))
        result.append(row)
    return result, out_tree


def _stack_trees(rows: list[Any], y: Any, argument: Any, world: TracingWorld, front: bool) -> Any:
    leaves, structure = flatten(argument)
    flat = [flatten(row)[0] for row in rows]
    blocks = []
    for k, leaf in enumerate(leaves):
        x = lift(leaf, world)
        blocks.append(_stack([row[k] for row in flat], (*y.type.shape, *x.type.shape), x.type, world, front))
    return unflatten(structure, blocks)


def _stack(rows: list[Any], shape: tuple[Any, ...], like: TensorType, world: TracingWorld, front: bool) -> Any:
    """Rows stacked along a new first (or last) axis, then reshaped."""
    if not rows:
        return world.full(0, TensorType(shape, like.dtype))
    return gnp.reshape(gnp.stack(rows, axis=0 if front else -1), shape)


def jacrev(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The Jacobian by reverse mode, row by row: good for few outputs. See `jacobian`."""
    return _Jacobian(f, argnums, forward=False)


def jacfwd(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The Jacobian by forward mode, column by column: good for few inputs. See `jacobian`."""
    return _Jacobian(f, argnums, forward=True)


def jacobian(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The Jacobian of a function: for each result, an array of shape ``result.shape + argument.shape``.

    Reverse mode (`jacrev`); `jacfwd` gives the same by forward mode. Sizes must be fixed.

    >>> import numpy as np
    >>> jacobian(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    return jacrev(f, argnums)


def hessian(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The matrix of second derivatives of a scalar function, forward over reverse.

    >>> import numpy as np
    >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    return jacfwd(grad(f, argnums), argnums)


def hvp(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """The product of the Hessian with a vector: call ``hvp(f)(*args, v)``, v shaped like the chosen argument.

    >>> import numpy as np
    >>> hvp(lambda x: np.sum(x**3))(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    array([6., 0.])
    """
    gradient = grad(f, argnums)

    def product(*args: Any, **kwargs: Any) -> Any:
        *point, v = args
        n = _positions(argnums, len(point), "hvp")[0]

        def along(x: Any) -> Any:
            return gradient(*point[:n], x, *point[n + 1 :], **kwargs)

        return jvp(along, (point[n],), (v,))[1]

    product.__name__ = f"hvp_{function_name(f)}"
    return Jitted(product)


def gradients(y: Any, xs: Sequence[Any], grad_outputs: Any = None) -> list[Any]:
    """Gradients of an expression with respect to symbols or intermediate values, as further expressions.

    Args:
        y: a traced value, or a list of them; without `grad_outputs` each must be a scalar.
        xs: traced values that `y` was computed from.
        grad_outputs: a cotangent per y, in its shape.

    Returns:
        One expression per x, in its shape and dtype; zeros where y does not depend on x.

    >>> x = symbol("x", "f64[]")
    >>> (g,) = gradients(x**3, [x])
    >>> from graphc.compiler import compile
    >>> compile([x], [g])(2.0)
    [np.float64(12.0)]
    """
    if not isinstance(xs, (list, tuple)):
        raise DifferentiationError(
            "gradients: xs is a list of values", expected="gradients(y, [x])", actual=repr(xs)[:60]
        )
    ys = list(y) if isinstance(y, (list, tuple)) else [y]
    cts = (
        [None] * len(ys)
        if grad_outputs is None
        else list(grad_outputs)
        if isinstance(grad_outputs, (list, tuple))
        else [grad_outputs]
    )
    world = world_of([*ys, *xs, *cts])
    if world is None or not all(isinstance(x, Traced) for x in xs):
        raise DifferentiationError(
            "gradients: needs traced values",
            expected="symbols, or values inside a trace",
            actual=repr(y)[:60],
        )
    ys = [world.adopt(lift(v, world)) for v in ys]
    targets = [world.adopt(x) for x in xs]
    seeds = []
    for value, ct in zip(ys, cts, strict=True):
        if not value.type.differentiable or (ct is None and value.type.shape != ()):
            made = world.builder.nodes[value.id]["loc"]
            raise DifferentiationError(
                "gradients: y must be a real scalar, or grad_outputs given",
                expected="a float scalar",
                actual=repr(value.type),
                loc=made[0] if made else None,
                fix="gradients(y, xs, grad_outputs=np.ones_like(y)), or reduce y with np.sum",
            )
        seeds.append(
            world.full(1, value.type)
            if ct is None
            else _matching([ct], flatten((ct,))[1], [value], world, "grad_outputs")[0]
        )
    # every target is marked, inputs too: marks are the outputs that gradients_graph differentiates by
    graph, inputs = extract(world, [], ys, "gradients", marked=targets, open_inputs=True)
    arguments = [Traced(world, i) for i in inputs]
    derived = gradients_graph(prepared(graph), len(ys))
    return list(inline(world, derived, [*arguments, *seeds]))


def stop_gradient(x: Any) -> Any:
    """The same values as constants of differentiation: every derivative through them is 0.

    Takes any pytree; outside a trace it gives its argument back.

    >>> import numpy as np
    >>> grad(lambda x: x * stop_gradient(x))(3.0)
    np.float64(3.0)
    """
    leaves, structure = flatten(x)
    return unflatten(structure, [v.world.stop_gradient(v) if isinstance(v, Traced) else v for v in leaves])
