"""Derivatives in expression style, of values rather than functions; and values taken as constant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.compiler import extract, flatten, type_of, unflatten
from graphc.errors import DifferentiationError, TraceError
from graphc.passes.derive import gradients_graph
from graphc.tracing import Traced, free_symbol, inline, lift, located, user_locs, world_of
from graphc.transforms.arguments import matching, prepared


def symbol(name: str, spec: Any) -> Traced:
    """A free variable of the given type, for expression style.

    Raises:
        TraceError: the name is no text.

    >>> x = symbol("x", "f64[3]")
    >>> (2 * x).type
    f64[3]
    """
    with located():
        if not isinstance(name, str):
            raise TraceError("symbol: a name is text", expected='symbol("x", "f64[3]")', actual=repr(name)[:60])
        return free_symbol(name, type_of(spec))


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
            "gradients: xs is a list of values",
            expected="gradients(y, [x])",
            actual=repr(xs)[:60],
            loc=(user_locs() or (None,))[0],
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
            loc=(user_locs() or (None,))[0],
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
            else matching([ct], flatten((ct,))[1], [value.type], world, "grad_outputs")[0]
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
    >>> from graphc.transforms import grad
    >>> grad(lambda x: x * stop_gradient(x))(3.0)
    np.float64(3.0)
    """
    leaves, structure = flatten(x)
    return unflatten(structure, [v.world.stop_gradient(v) if isinstance(v, Traced) else v for v in leaves])
