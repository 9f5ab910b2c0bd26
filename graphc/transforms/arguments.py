"""What every transform does with its arguments, and with the function it differentiates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import Any

import numpy as np

from graphc.compiler import Compiled, Jitted, Wrapper, flatten, function_name, show_tree
from graphc.errors import DifferentiationError, DTypeError, ShapeError, StructureError, TraceError
from graphc.ir import Graph, TensorType
from graphc.passes import pipeline
from graphc.tracing import Traced, TracingWorld, innermost, lift, snapshot, user_locs, world_of


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
            fix="a float: 3.0 in place of 3, x.astype(float) of an array; or leave the argument out of argnums",
        )


class Transform(Wrapper):
    """A differentiated function. Inside a trace it inlines; on arrays it compiles once per signature and runs.

    Of the arguments that are not differentiated, what is no array, NumPy scalar or Python float stays as it is.
    """

    def __init__(self, f: Callable[..., Any], name: str) -> None:
        super().__init__(f, name)
        self.__name__ = f"{name}_{function_name(self._f)}"

        @wraps(self._f)  # the inputs of the graph get the function's names
        def traced(*args: Any, **kwargs: Any) -> Any:
            return self._traced(*args, **kwargs)

        traced.__name__ = self.__name__
        self._jitted = Jitted(traced, varying=self._varying)

    def _traced(self, /, *args: Any, **kwargs: Any) -> Any:
        """The derivative at traced arguments."""
        raise NotImplementedError

    def _varying(self, count: int) -> Collection[int]:
        """The positions of the arguments that are differentiated, or are such tangents, out of `count`."""
        return range(count)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._jitted(*args, **kwargs)

    def explain(self) -> str:
        """What was compiled so far and why, one line each."""
        return self._jitted.explain()

    def compiled_for(self, /, *args: Any, **kwargs: Any) -> Compiled:
        """What runs for a call with these arguments; see `jit`."""
        return self._jitted.compiled_for(*args, **kwargs)

    def clear_cache(self) -> None:
        """Forget what was compiled, and why."""
        self._jitted.clear_cache()

    def __repr__(self) -> str:
        return f"<{self.__name__}>"


def surrounding(args: Any, transform: str) -> TracingWorld:
    world = trace_around(flatten(args)[0])
    if world is None:
        raise TraceError(f"{transform}: no traced argument")
    return world


def trace_around(leaves: Sequence[Any]) -> TracingWorld | None:
    """The trace that a derivative at these arguments becomes part of; None if none of them is traced.

    It is the running one, also where all arguments are older: the function may read values that are not.
    """
    world, running = world_of(leaves), innermost()
    return running if world is not None and running is not None and running.depth > world.depth else world


def positions(argnums: int | Sequence[int], count: int, transform: str) -> list[int]:
    numbers = [argnums] if isinstance(argnums, (int, str)) else list(argnums)
    if not all(isinstance(n, int) for n in numbers):
        raise DifferentiationError(
            f"{transform}: argnums are positions",
            expected="an int, or a tuple of ints",
            actual=f"argnums={argnums!r}",
            fix="count the arguments from 0, and pass those to differentiate by position",
        )
    for n in numbers:
        if not -count <= n < count:
            raise DifferentiationError(
                f"{transform}: argnums={argnums} names an argument that was not passed by position",
                expected=f"argnums from {-count} to {count - 1}" if count else "an argument passed by position",
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
    values = [lift(leaf, world) for leaf in leaves]
    check_fit([value.type for value in values], types, what)
    return [world.convert(value, type.dtype, type.weak) for value, type in zip(values, types, strict=True)]


def check_fit(given: Sequence[TensorType], wanted: Sequence[TensorType], what: str) -> None:
    """Raise ShapeError or DTypeError unless values of the types given can stand for those wanted."""
    for have, want in zip(given, wanted, strict=True):
        if have.shape != want.shape:
            raise ShapeError(
                f"{what} differ in shape",
                expected=repr(want),
                actual=repr(have),
                fix="each has the shape of the value it belongs to",
            )
        if not have.weak and not np.can_cast(have.dtype, want.dtype, "safe"):
            raise DTypeError(f"{what}: no safe cast", expected=repr(want), actual=repr(have))


def check_structure(given: Any, wanted: Any, leaves: Sequence[Any], types: Sequence[TensorType], what: str) -> None:
    """Raise StructureError unless a pytree has the structure wanted."""
    if given != wanted:
        raise StructureError(
            f"{what} differ in structure",
            expected=show_tree(wanted, types),
            actual=show_tree(given, leaves),
            fix="give them the same tuples, lists and dicts",
        )
