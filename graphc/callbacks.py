"""Calling Python code from inside a graph, when the graph runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any

import numpy as np

from graphc import dims
from graphc.compiler import flatten, show_tree, type_of, unflatten
from graphc.errors import StructureError, TraceError
from graphc.ir import Callback, TensorType
from graphc.ops import lookup
from graphc.ops.calls import pure_callback as call
from graphc.tracing import STACK, TracingWorld, assigned, lift, located, user_locs, world_of


def pure_callback(callback: Callable[..., Any], result_spec: Any, /, *args: Any, **kwargs: Any) -> Any:
    """The results of `callback(*args, **kwargs)`, which is called with plain arrays when the graph runs.

    Args:
        callback: any Python function without effects: its result depends on its arguments alone. So a call whose
            result is not used may be dropped, and equal calls may become one.
        result_spec: what it returns, as a spec or a pytree of specs: ``"f64[3]"``, an array or traced value of that
            type, or ``graphc.Spec(x.shape, x.dtype)`` where sizes are known only when the graph runs.
        args, kwargs: arrays, numbers and pytrees of them. The function gets copies: arrays, and NumPy scalars for what
            has no axes.

    Returns:
        The results, in the structure of `result_spec`. Outside a trace the function is called at once.

    Raises:
        ShapeError, DTypeError, StructureError: when the graph runs, if a result is not what `result_spec` says. A
            Python number takes on the dtype, any other result has to have it.
        DifferentiationError: a derivative depends on the result. `stop_gradient` of its arguments
            makes it a constant.

    `graphc.verify` does not look into Python code, and says so.

    >>> import graphc
    >>> import numpy as np
    >>> table = {1: 10.0, 2: 20.0}
    >>> f = graphc.jit(lambda k: 2 * pure_callback(lambda k: table[int(k)], "f64[]", k))
    >>> f(2)
    np.float64(40.0)
    """
    if not callable(callback):
        raise TraceError(
            "pure_callback: there is nothing to call",
            expected="pure_callback(function, result_spec, *args)",
            actual=repr(callback)[:60],
            loc=(user_locs() or (None,))[0],
        )
    specs, out_tree = flatten(result_spec)
    types = [type_of(spec) for spec in specs]
    if not types:
        raise TraceError(
            f"pure_callback: {_name(callback)} returns nothing, so it would never have to be called",
            expected="a spec for each result",
            actual=repr(result_spec)[:60],
            loc=(user_locs() or (None,))[0],
            fix="graphc.debug_print, to print; or return something that the function's result depends on",
        )
    leaves, in_tree = flatten((args, kwargs))
    function = Callback(_name(callback), _Flat(callback, in_tree, out_tree, tuple(types)))
    world = world_of(leaves) or (STACK.worlds[-1] if STACK.worlds else None)
    _check_sizes(types, world)
    shapes, dtypes = tuple(t.shape for t in types), tuple(t.dtype for t in types)
    if world is None:
        with located():
            results = call(function, shapes, dtypes, *map(np.asarray, leaves))  # type: ignore[arg-type]  # sizes: ints
        return unflatten(out_tree, [result[()] for result in results])
    attrs = (("callback", function), ("dtypes", dtypes), ("shapes", shapes))
    several = world.emit(lookup("pure_callback"), [world.adopt(lift(leaf, world)) for leaf in leaves], attrs)
    # results have no storage in common, so each may be changed in place
    results = unflatten(out_tree, [world.get(several, index=k) for k in range(len(types))])
    return assigned(results, sys._getframe(1))


def _check_sizes(types: Sequence[TensorType], world: TracingWorld | None) -> None:
    """Refuse named sizes that nothing around the call has."""
    used = frozenset[str]().union(*(dims.symbols(size) for t in types for size in t.shape))
    worlds = [*STACK.worlds, *([world] if world is not None else [])]
    inputs = [w.builder.nodes[i]["type"] for w in worlds for i in w.builder.inputs]
    if free := used - {name for t in inputs for size in t.shape for name in dims.symbols(size)}:
        raise TraceError(
            f"pure_callback: no argument has the size {', '.join(sorted(free))}",
            expected="numbers, or sizes of traced values",
            actual=", ".join(map(repr, types)),
            loc=(user_locs() or (None,))[0],
            fix="graphc.Spec(x.shape, x.dtype), with x a value of those sizes",
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Flat:
    """A function between pytrees as one between their leaves."""

    function: Callable[..., Any]
    in_tree: Any
    out_tree: Any
    types: tuple[TensorType, ...]

    def __call__(self, *leaves: Any) -> tuple[Any, ...]:
        args, kwargs = unflatten(self.in_tree, leaves)
        # the graph may run while another is being traced; what the function does is no part of that trace
        around, STACK.worlds = STACK.worlds, []
        try:
            results, structure = flatten(self.function(*args, **kwargs))
        finally:
            STACK.worlds = around
        if structure != self.out_tree:
            raise StructureError(
                f"pure_callback {_name(self.function)}: its result is not what the graph was built for",
                expected=show_tree(self.out_tree, self.types),
                actual=show_tree(structure, results),
                fix="return the tuples, lists and dicts of result_spec, with an array for each spec",
            )
        return tuple(results)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Flat):
            return NotImplemented
        mine, others = self.function, other.function
        # methods are made anew at each access; any other object may have an == of its own
        same = mine is others or (isinstance(mine, MethodType) and isinstance(others, MethodType) and mine == others)
        return same and (self.in_tree, self.out_tree, self.types) == (other.in_tree, other.out_tree, other.types)

    def __hash__(self) -> int:
        return hash((self.in_tree, self.out_tree, self.types))


def _name(function: Callable[..., Any]) -> str:
    """What a text calls a function: its module and qualified name."""
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__qualname__", type(function).__qualname__)
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{module}.{name}"
