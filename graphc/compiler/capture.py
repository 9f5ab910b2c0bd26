"""Calling a function on traced stand-ins: the graph of one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphc.calling import call
from graphc.compiler.pytrees import flatten, function_name, leaf_names, unflatten
from graphc.compiler.specs import type_of
from graphc.errors import Loc, TraceError
from graphc.ir import Graph, Guard, paused_gc
from graphc.tracing import Traced, TracingWorld, definition, lift, located, snapshot, tracing, user_locs


@dataclass(frozen=True, slots=True)
class Traceout:
    """A traced function: its graph, the structures of its arguments and result, captured outer values.

    `asked` says where the function asked what the graph's guards answer.
    """

    graph: Graph
    in_tree: Any
    out_tree: Any
    captures: tuple[Traced, ...]
    asked: Mapping[Guard, Loc]


def trace_call(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    hints: Mapping[str, int] | None = None,
    inputs: Sequence[int] | None = None,
    donated: Sequence[int] = (),
    within: TracingWorld | None = None,
) -> Traceout:
    """Run `f` once on traced stand-ins for the leaves of `args` and `kwargs`, which are specs.

    `inputs` numbers the leaves to replace, in the order of the graph's inputs, and leaves the others as they are;
    `donated` those of which the graph may take the memory. `hints` are the sizes of the call that is being compiled;
    a function that is a part of the trace `within`, and has its named sizes, has its hints too.
    """
    tree = (tuple(args), dict(kwargs))
    leaves, in_tree = flatten(tree)
    names = leaf_names(f, tree)
    if within is not None:
        hints = within.facts.hints
    with paused_gc(), tracing(function_name(f), hints) as world:
        replaced = range(len(leaves)) if inputs is None else inputs
        for n in replaced:
            leaves[n] = Traced(world, world.builder.input(names[n], type_of(leaves[n]), user_locs()))
        # arrays of the surrounding trace come as copies: what the function writes into them stays inside
        leaves = [snapshot(leaf) if isinstance(leaf, Traced) and leaf.world is not world else leaf for leaf in leaves]
        call_args, call_kwargs = unflatten(in_tree, leaves)
        outputs, out_tree = flatten(call(f, call_args, call_kwargs))
        given = [k for k, n in enumerate(replaced) if n in set(donated)]
        graph = world.builder.finish([output_value(o, world, f).id for o in outputs], given)
        if within is not None:
            within.asked.update(world.asked)
        return Traceout(graph, in_tree, out_tree, tuple(world.captures), world.asked)


def copied_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments whose traced arrays are copies, for a function that may write into them."""

    def copied(argument: Any) -> Any:
        leaves, structure = flatten(argument)
        if not any(isinstance(leaf, Traced) for leaf in leaves):
            return argument
        return unflatten(structure, [snapshot(leaf) if isinstance(leaf, Traced) else leaf for leaf in leaves])

    return tuple(map(copied, args)), {name: copied(value) for name, value in kwargs.items()}


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
