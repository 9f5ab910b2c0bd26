"""Forward mode: a function's value, and its derivative in a direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.compiler import Compiled, flatten, show_tree, trace_call, type_of, unflatten
from graphc.errors import StructureError
from graphc.ir import Graph
from graphc.passes.derive import jvp_graph
from graphc.tracing import Traced, TracingWorld, inline, located, user_locs, world_of
from graphc.transforms.arguments import (
    Transform,
    check_fit,
    check_structure,
    lift_argument,
    matching,
    prepared,
    surrounding,
    trace_around,
)
from graphc.transforms.linear_map import LinearMap, SplitFunction, derived, surroundings, trace_point, zeros


class Jvp(Transform):
    """Takes (primals, tangents), gives (outputs, output tangents)."""

    def __init__(self, f: Callable[..., Any]) -> None:
        super().__init__(f, "jvp")

    def _traced(self, primals: Any, tangents: Any) -> Any:
        world = surrounding((primals, tangents), "jvp")
        lifted, structure = lift_argument(tuple(primals), world, "jvp")
        pushed = matching(tangents, structure, [x.type for x in lifted], world, "jvp: tangents")
        out = trace_call(self._f, unflatten(structure, lifted), {}, within=world)
        graph = jvp_graph(prepared(out.graph), range(len(lifted)), with_value=True)
        values = inline(world, graph, [*lifted, *out.captures, *pushed])
        count = len(out.graph.outputs)
        tangent_values = iter(values[count:])
        filled = [next(tangent_values) if t.differentiable else world.full(0, t) for t in out.graph.output_types]
        return unflatten(out.out_tree, values[:count]), unflatten(out.out_tree, filled)


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The value of `f(*primals)` and its derivative in the direction of `tangents` (forward mode).

    Args:
        f: a function of arrays and pytrees of arrays.
        primals: its arguments, as a tuple or list: one entry for each.
        tangents: the direction: an entry for each primal, in its structure and shapes.

    Returns:
        (out, tangent_out) in the structure of the result.

    Raises:
        StructureError: primals or tangents are no tuple or list, or differ in structure.
        ShapeError, DTypeError: a tangent does not fit its primal.
        DifferentiationError: a primal is not a float.

    >>> import numpy as np
    >>> jvp(np.sin, (0.0,), (1.0,))
    (np.float64(0.0), np.float64(1.0))
    """
    primals, tangents = _listed("primals", primals), _listed("tangents", tangents)
    arrays, structure = flatten(primals)
    pushed, given = flatten(tangents)
    if world_of([*arrays, *pushed]) is None:
        with located():
            out = trace_point(f, primals, "jvp")
            if surroundings(out) is None:
                types = out.graph.input_types
                check_structure(given, structure, pushed, types, "jvp: tangents")
                check_fit([type_of(t) for t in pushed], types, "jvp: tangents")
                values = derived("jvp", out.graph, _joint)._run(*arrays, *pushed)
                count = len(out.graph.outputs)
                found = iter(values[count:])
                filled = [next(found) if t.differentiable else zeros(t) for t in out.graph.output_types]
                return unflatten(out.out_tree, values[:count]), unflatten(out.out_tree, filled)
    return Jvp(f)(primals, tangents)  # type: ignore[no-any-return]


def _listed(name: str, given: Any) -> tuple[Any, ...]:
    """The primals or tangents of `jvp`: an array would be taken apart into its rows."""
    if not isinstance(given, (tuple, list)):
        raise StructureError(
            f"jvp: {name} are not a tuple or list",
            expected="an entry for each argument of the function: jvp(f, (x,), (v,))",
            actual=show_tree(*reversed(flatten(given))),
            loc=(user_locs() or (None,))[0],
            fix=f"{name}=({name[:-1]},) for a function of one argument",
        )
    return tuple(given)


def _joint(graph: Graph) -> Compiled:
    return Compiled(jvp_graph(prepared(graph), range(len(graph.inputs)), with_value=True), None, None)


def _split(graph: Graph) -> SplitFunction:
    joint = jvp_graph(prepared(graph), range(len(graph.inputs)), with_value=True)
    return SplitFunction.of(joint, len(graph.inputs), len(graph.outputs))


def linearize(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of `f` at `primals` and the linear function that approximates it there.

    The function takes tangents in the primals' structure. What it needs of the primals is computed once, here.

    >>> import numpy as np
    >>> value, derivative = linearize(np.exp, 0.0)
    >>> derivative(2.0)
    np.float64(2.0)
    """
    leaves, structure = flatten(primals)
    world = trace_around(leaves)
    if world is not None:
        return _traced_linearize(f, primals, world)
    with located():
        out = trace_point(f, primals, "linearize")
    if (around := surroundings(out)) is not None:
        return _traced_linearize(f, primals, around)
    parts = derived("linearize", out.graph, _split)
    value, residuals = parts.at(leaves)
    ins = (structure, out.graph.input_types)
    map_ = LinearMap(parts.linear, residuals, ins, (out.out_tree, out.graph.output_types), "tangents")
    return unflatten(out.out_tree, value), map_


def _traced_linearize(f: Callable[..., Any], primals: Any, world: TracingWorld) -> tuple[Any, Callable[..., Any]]:
    lifted, structure = lift_argument(primals, world, "linearize")
    return traced_linearize(f, lifted, structure, world)


def traced_linearize(
    f: Callable[..., Any], lifted: Sequence[Traced], structure: Any, world: TracingWorld
) -> tuple[Any, Callable[..., Any]]:
    """`linearize` inside a trace, at leaves of the structure that belong to the trace."""
    out = trace_call(f, unflatten(structure, lifted), {}, within=world)
    graph = prepared(out.graph)
    types = [x.type for x in lifted]
    operands = [*lifted, *out.captures]
    values = inline(world, graph, operands)
    linear = jvp_graph(graph, range(len(lifted)))

    def push(*tangents: Any) -> Any:
        """The tangent of the result for tangents of the primals."""
        here = world_of([*flatten(tangents)[0], *operands]) or world
        pushed = matching(tangents, structure, types, here, "tangents")
        found = iter(inline(here, linear, [*operands, *pushed]))
        filled = [next(found) if t.differentiable else here.full(0, t) for t in graph.output_types]
        return unflatten(out.out_tree, filled)

    return unflatten(out.out_tree, values), push
