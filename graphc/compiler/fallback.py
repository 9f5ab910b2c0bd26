"""A call of a compiled function whose arguments machine code does not take as they are: in Python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final

import optree
from numpy import ndarray

from graphc.compiler.pytrees import flatten, show_call, unflatten
from graphc.compiler.sizes import bind_sizes
from graphc.dims import Size
from graphc.errors import GraphcError, ShapeError, StructureError
from graphc.ir import Graph
from graphc.tracing import STACK, Traced, TracingWorld, assigned, inline, lift, locate, world_of

MISSED: Final = object()  # what a function returns for arguments that it does not serve
Quick = Callable[[tuple[Any, ...], dict[str, Any]], Any]


class Fallback:
    """Calls a graph on whatever it is given: pytrees, keywords, arrays to convert, traced values, or what is wrong.

    `run` takes the graph's inputs and gives a tuple of its outputs. `flat`: the structure is that of positional arrays.
    """

    def __init__(
        self, graph: Graph, in_tree: Any, out_tree: Any, flat: bool, run: Callable[..., tuple[Any, ...]]
    ) -> None:
        self.graph = graph
        self.in_tree = in_tree
        self.out_tree = out_tree
        self.flat = flat
        self.run = run
        self.single = out_tree is not None and optree.treespec_is_leaf(out_tree)
        self._arity = len(graph.inputs)
        self._effects = bool(graph.effects)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._call(args, kwargs, sys._getframe(1))

    def after(self, quick: Quick | None) -> Callable[..., Any]:
        """The same, once `quick` has missed the arguments."""
        if quick is None:
            return self._plain() if self.flat and not self._effects else self

        def call(*args: Any, **kwargs: Any) -> Any:
            result = quick(args, kwargs)
            return self._call(args, kwargs, sys._getframe(1)) if result is MISSED else result

        return call

    def _plain(self) -> Callable[..., Any]:
        """The same with as little as possible around a run on positional arrays."""
        run, arity, single = self.run, self._arity, self.single

        def call(*args: Any, **kwargs: Any) -> Any:
            plain = not kwargs and len(args) == arity
            for leaf in args:  # a loop costs less than a generator
                if type(leaf) is not ndarray:
                    plain = False
            if not plain:
                return self._call(args, kwargs, sys._getframe(1))
            try:
                results = run(*args)
            except GraphcError as error:
                locate(error)
                raise
            return results[0] if single else self.pack(results)

        return call

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any], caller: FrameType) -> Any:
        try:
            if kwargs or not self.flat or len(args) != self._arity:
                args = tuple(self._leaves(args, kwargs))
            if self._effects and STACK.worlds:
                # acts when the graph that is being traced runs
                return assigned(self._inline(STACK.worlds[-1], args), caller)
            for leaf in args:
                if isinstance(leaf, Traced):
                    return assigned(self._inline(world_of(args), args), caller)
            results = self.run(*args)
        except GraphcError as error:
            locate(error)
            raise
        return results[0] if self.single else self.pack(results)

    def pack(self, results: Sequence[Any]) -> Any:
        """The results in their structure."""
        return list(results) if self.out_tree is None else unflatten(self.out_tree, results)

    def _leaves(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        leaves, structure = flatten((args, kwargs))
        if structure != self.in_tree:
            by_name = bool(kwargs) and not self.in_tree.child(1).num_leaves
            raise StructureError(
                f"{self.graph.name}: the arguments differ in structure from those it was compiled for",
                expected=show_call(self.graph.name, self.in_tree, self.graph.input_types),
                actual=show_call(self.graph.name, structure, leaves),
                fix=("pass the arguments by position" if by_name else "pass tuples, lists and dicts as in the specs")
                + ", or use jit, which compiles for each structure",
            )
        return leaves

    def _inline(self, world: TracingWorld | None, args: Sequence[Any]) -> Any:
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
        return results[0] if self.single else self.pack(results)
