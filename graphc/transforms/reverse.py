"""Reverse mode: gradients of scalars, and the pullback of cotangents."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from graphc.compiler import Traceout, flatten, function_name, show_tree, trace_call, unflatten
from graphc.errors import DifferentiationError
from graphc.ir import Graph
from graphc.passes.derive import value_and_gradient_graph, vjp_graph
from graphc.tracing import Traced, TracingWorld, definition, inline, located, world_of
from graphc.transforms.arguments import (
    Transform,
    lift_argument,
    matching,
    positions,
    prepared,
    surrounding,
    trace_around,
)
from graphc.transforms.linear_map import LinearMap, SplitFunction, derived, surroundings, trace_point


class _Gradient(Transform):
    def __init__(self, f: Callable[..., Any], argnums: int | Sequence[int], has_aux: bool, with_value: bool) -> None:
        self.argnums = argnums
        self.has_aux = has_aux
        self.with_value = with_value
        super().__init__(f, "value_and_grad" if with_value else "grad")

    def _varying(self, count: int) -> Collection[int]:
        return positions(self.argnums, count, "grad")

    def _made_of(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _Gradient, (self._f, self.argnums, self.has_aux, self.with_value)

    def _traced(self, /, *args: Any, **kwargs: Any) -> Any:
        world = surrounding((args, kwargs), "grad")
        numbers = positions(self.argnums, len(args), "grad")
        lifted: list[Traced] = []
        structures = []
        arguments = list(args)
        for n in numbers:
            leaves, structure = lift_argument(args[n], world, "grad")
            structures.append((structure, len(leaves)))
            arguments[n] = unflatten(structure, leaves)
            lifted.extend(leaves)
        place = {id(leaf): k for k, leaf in enumerate(flatten((arguments, kwargs))[0])}
        out = trace_call(self._f, tuple(arguments), kwargs, inputs=[place[id(leaf)] for leaf in lifted], within=world)
        self._check_scalar(out)
        graph = value_and_gradient_graph(prepared(out.graph), range(len(lifted)))
        values = inline(world, graph, [*lifted, *out.captures])
        count = len(out.graph.outputs)
        gradients = iter(values[count:])
        parts = [unflatten(s, [next(gradients) for _ in range(k)]) for s, k in structures]
        gradient = parts[0] if isinstance(self.argnums, int) else tuple(parts)
        value = unflatten(out.out_tree, values[:count])
        if self.with_value:
            return value, gradient
        return (gradient, value[1]) if self.has_aux else gradient

    def _check_scalar(self, out: Traceout) -> None:
        graph = out.graph
        result = unflatten(out.out_tree, graph.output_types)
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
                actual=show_tree(out.out_tree, graph.output_types) if graph.outputs else "nothing",
                loc=loc[0] if loc else definition(self._f),
                fix="reduce the result with np.sum; or use jacobian, vjp, or gradients(y, xs, grad_outputs=...)",
            )


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


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The value of `f` at `primals`, and the pullback from cotangents of the result to cotangents of the primals.

    The pullback takes one cotangent in the structure of the result and gives a tuple, one part per primal. What it
    needs of the primals is computed once, here.

    >>> import numpy as np
    >>> value, pullback = vjp(lambda x, y: x * y, 2.0, 3.0)
    >>> pullback(1.0)
    (np.float64(3.0), np.float64(2.0))
    """
    leaves, structure = flatten(primals)
    world = trace_around(leaves)
    if world is not None:
        return traced_vjp(f, primals, world)
    with located():
        out = trace_point(f, primals, "vjp")
    if (around := surroundings(out)) is not None:
        return traced_vjp(f, primals, around)
    parts = derived("vjp", out.graph, _split)
    value, residuals = parts.at(leaves)
    result = unflatten(out.out_tree, value)
    ins = (flatten((result,))[1], out.graph.output_types)
    return result, LinearMap(parts.linear, residuals, ins, (structure, out.graph.input_types), "cotangents")


def _split(graph: Graph) -> SplitFunction:
    joint = vjp_graph(prepared(graph), range(len(graph.inputs)), with_value=True)
    return SplitFunction.of(joint, len(graph.inputs), len(graph.outputs))


def traced_vjp(f: Callable[..., Any], primals: Any, world: TracingWorld) -> tuple[Any, Callable[[Any], Any]]:
    lifted, structure = lift_argument(primals, world, "vjp")
    out = trace_call(f, unflatten(structure, lifted), {}, within=world)
    graph = prepared(out.graph)
    operands = [*lifted, *out.captures]
    values = inline(world, graph, operands)
    backward_graph = vjp_graph(graph, range(len(lifted)))

    def pullback(ct: Any) -> Any:
        """Cotangents of the primals for a cotangent of the result."""
        here = world_of([*flatten(ct)[0], *operands]) or world
        cts = matching(ct, out.out_tree, graph.output_types, here, "cotangents")
        wanted = [c for c, t in zip(cts, graph.output_types, strict=True) if t.differentiable]
        return unflatten(structure, inline(here, backward_graph, [*operands, *wanted]))

    return unflatten(out.out_tree, values), pullback
