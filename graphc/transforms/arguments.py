"""What every transform does with its arguments, and with the function it differentiates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.compiler import Jitted, flatten, function_name, show_tree
from graphc.errors import DifferentiationError, DTypeError, ShapeError, StructureError, TraceError
from graphc.ir import Graph, TensorType
from graphc.passes import pipeline
from graphc.tracing import Traced, TracingWorld, lift, snapshot, user_locs, world_of


def prepared(graph: Graph) -> Graph:
    """The simplified, stabilised graph that derivatives are taken of."""
    return pipeline.run(graph, pipeline.FORWARD)[-1].graph


def lift_argument(argument: Any, world: TracingWorld, transform: str) -> tuple[list[Traced], Any]:
    """The leaves of an argument to differentiate, and its structure.

    Each leaf is an object of its own: one value passed twice is two variables, and in-place operators may change the
    caller's later on.
    """
    leaves, structure = flatten(argument)
    lifted = [snapshot(lift(leaf, world)) for leaf in leaves]
    for leaf in lifted:
        check_differentiable(leaf.type, transform)
    return lifted, structure


def check_differentiable(type: TensorType, transform: str) -> None:
    """Raise DifferentiationError unless values of the type carry tangents."""
    if not type.differentiable:
        raise DifferentiationError(
            f"{transform}: an argument is not a real float",
            expected="f16, f32 or f64",
            actual=repr(type),
            loc=(user_locs() or (None,))[0],
            fix="convert it: x.astype(float), or leave it out of argnums",
        )


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

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._jitted(*args, **kwargs)

    def explain(self) -> str:
        """What was compiled so far and why."""
        return self._jitted.explain()

    def __repr__(self) -> str:
        return f"<{self.__name__}>"


def surrounding(args: Any, transform: str) -> TracingWorld:
    leaves, _ = flatten(args)
    world = world_of(leaves)
    if world is None:
        raise TraceError(f"{transform}: no traced argument")
    return world


def positions(argnums: int | Sequence[int], count: int, transform: str) -> list[int]:
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    for n in numbers:
        if not -count <= n < count:
            raise DifferentiationError(
                f"{transform}: argnums={argnums} names an argument that was not passed by position",
                expected=f"argnums from {-count} to {count - 1}",
                actual=f"{n}, with {count} positional argument{'s' if count != 1 else ''}",
                fix="pass the arguments to differentiate by position",
            )
    positions = [n % count for n in numbers]
    if len(set(positions)) != len(positions):
        raise DifferentiationError(f"{transform}: argnums={argnums} names an argument twice")
    return positions


def matching(tree: Any, structure: Any, types: Sequence[TensorType], world: TracingWorld, what: str) -> list[Any]:
    """The leaves of `tree`, which has to have the structure, as values of the shapes and dtypes of `types`."""
    leaves, given = flatten(tuple(tree) if isinstance(tree, list) else tree)
    check_structure(given, structure, leaves, types, what)
    values = []
    for leaf, type in zip(leaves, types, strict=True):
        value = lift(leaf, world)
        if value.type.shape != type.shape:
            raise ShapeError(
                f"{what} differ in shape",
                expected=repr(type),
                actual=repr(value.type),
                fix="each has the shape of the value it belongs to",
            )
        if not value.type.weak and not np.can_cast(value.type.dtype, type.dtype, "safe"):
            raise DTypeError(f"{what}: no safe cast", expected=repr(type), actual=repr(value.type))
        values.append(world.convert(value, type.dtype, type.weak))
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
