"""A function of one row as a function of many: `vmap`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import optree

from graphc.compiler import Traceout, flatten, function_name, leaf_names, show_tree, trace_call, unflatten
from graphc.dims import Size
from graphc.errors import AxisError, ShapeError, StructureError
from graphc.ir import TensorType
from graphc.ops.batching import moved, repeated
from graphc.passes.batch import batched_graph
from graphc.tracing import Traced, TracingWorld, definition, inline, lift, located
from graphc.transforms.arguments import Transform, surrounding

Axes = Any  # an int, None, or a pytree of them


class _Vmap(Transform):
    """The function on all rows at once."""

    def __init__(self, f: Callable[..., Any], in_axes: Axes, out_axes: Axes) -> None:
        self.in_axes = tuple(in_axes) if isinstance(in_axes, list) else in_axes
        self.out_axes = out_axes
        if not isinstance(self.in_axes, tuple):
            check_axes(in_axes, "in_axes")
            if not (in_axes is None or isinstance(in_axes, int)):
                raise StructureError(
                    "vmap: in_axes says too little: it is for one argument",
                    expected="an int for all arguments, or a tuple with an entry for each",
                    actual=repr(in_axes)[:60],
                    fix=f"in_axes=({in_axes!r},)",
                )
        for axes in self.in_axes if isinstance(self.in_axes, tuple) else ():
            check_axes(axes, "in_axes")
        check_axes(out_axes, "out_axes")
        super().__init__(f, "vmap")

    def _varying(self, count: int) -> Collection[int]:
        if not isinstance(self.in_axes, tuple):
            return range(0 if self.in_axes is None else count)
        return [n for n, axes in enumerate(self.in_axes) if any(a is not None for a in leaves_of(axes))]

    def _made_of(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _Vmap, (self._f, self.in_axes, self.out_axes)

    def _traced(self, /, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self.in_axes, tuple) and len(self.in_axes) != len(args):
            raise StructureError(
                "vmap: in_axes and the arguments differ in number",
                expected=f"an entry for each of the {len(args)} positional arguments",
                actual=f"in_axes={self.in_axes!r}",
                loc=definition(self._f),
                fix="None for an argument that is the same for all rows",
            )
        per_argument = self.in_axes if isinstance(self.in_axes, tuple) else (self.in_axes,) * len(args)
        leaves, structure = flatten((args, kwargs))
        # as in JAX, keyword arguments are mapped over their first axes
        axes = axis_for_each_leaf((per_argument, dict.fromkeys(kwargs, 0)), (args, kwargs), "in_axes")
        if all(axis is None for axis in axes):
            raise StructureError(
                f"vmap: no argument of {function_name(self._f)} is mapped",
                expected="in_axes with an axis for at least one array",
                actual=f"in_axes={self.in_axes!r}, {len(leaves)} array{'s' if len(leaves) != 1 else ''}",
                fix="call the function itself: all rows would be the same",
            )
        world = surrounding((args, kwargs), "vmap")
        names = leaf_names(self._f, (args, kwargs))
        # traced values that are the same for all rows are inputs too, for their names
        inputs = [n for n, axis in enumerate(axes) if axis is not None or isinstance(leaves[n], Traced)]
        operands = []
        sizes: dict[str, Size] = {}
        for n in inputs:
            name, value = names[n], lift(leaves[n], world)
            if axes[n] is None:
                operands.append(value)
                continue
            axis = checked_axis(axes[n], value.type.ndim, f"vmap: {name} has no axis {axes[n]}", repr(value.type))
            sizes[f"{name}.shape[{axis}]"] = value.type.shape[axis]
            others = [k for k in range(value.type.ndim) if k != axis]
            operands.append(moved(world, value, [axis, *others]))
            leaves[n] = TensorType([value.type.shape[k] for k in others], value.type.dtype)
        size = common_size(world, sizes)
        arguments, keywords = unflatten(structure, leaves)
        out = trace_call(self._f, arguments, keywords, inputs=inputs, within=world)
        has_rows = [*(axes[n] is not None for n in inputs), *(False for _ in out.captures)]
        graph, carried = batched_graph(out.graph, has_rows, size)
        values = inline(world, graph, [*operands, *out.captures])
        return unflatten(out.out_tree, self._placed(world, out, values, carried, size))

    def _placed(
        self, world: TracingWorld, out: Traceout, values: Sequence[Any], carried: Sequence[bool], size: Size
    ) -> list[Any]:
        """The results with their rows along the axes that `out_axes` says."""
        types = out.graph.output_types
        axes = axis_for_each_leaf(self.out_axes, unflatten(out.out_tree, types), "out_axes")
        results = []
        for value, has_rows, axis, type in zip(values, carried, axes, types, strict=True):
            if axis is None:
                if has_rows:
                    raise StructureError(
                        f"vmap: out_axes is None for a result of {function_name(self._f)} that differs from row to row",
                        expected="an axis, or a result that depends on no mapped argument",
                        actual=repr(type),
                        loc=definition(self._f),
                    )
                results.append(value)
                continue
            wide = value if has_rows else repeated(world, value, size)
            rank = wide.type.ndim
            place = checked_axis(axis, rank, f"vmap: out_axes={axis} is no place for the rows of a result", repr(type))
            order = list(range(1, rank))
            results.append(moved(world, wide, [*order[:place], 0, *order[place:]]))
        return results


def leaves_of(axes: Axes) -> list[Any]:
    """The entries of in_axes or out_axes, None among them."""
    return optree.tree_leaves(axes, none_is_leaf=True, namespace="graphc")


def check_axes(axes: Axes, what: str) -> None:
    """Raise StructureError unless all entries are ints or None."""
    for axis in leaves_of(axes):
        if axis is not None and type(axis) is not int:
            raise StructureError(
                f"vmap: {what} holds something that is no axis",
                expected="ints, None, and tuples, lists and dicts of them",
                actual=repr(axis)[:60],
            )


def axis_for_each_leaf(axes: Axes, tree: Any, what: str) -> list[int | None]:
    """The axis of each leaf of a tree, where one entry may stand for a whole branch."""
    entries, structure = optree.tree_flatten(axes, none_is_leaf=True, namespace="graphc")
    try:
        branches = structure.flatten_up_to(tree)
    except ValueError as error:
        given, wanted = (axes[0], tree[0]) if what == "in_axes" else (axes, tree)
        leaves, inner = flatten(wanted)
        raise StructureError(
            f"vmap: {what} does not fit the {'arguments' if what == 'in_axes' else 'results'}",
            expected=f"an axis, or None, for each branch of {show_tree(inner, leaves)}",
            actual=f"{what}={given!r}: {str(error).partition(';')[0]}",
        ) from None
    return [axis for axis, branch in zip(entries, branches, strict=True) for _ in flatten(branch)[0]]


def checked_axis(axis: Any, rank: int, problem: str, actual: str) -> int:
    """The axis counted from the front, or AxisError."""
    if not -rank <= axis < rank:
        raise AxisError(
            problem,
            axis=axis,
            ndim=rank,
            expected=f"an axis from {-rank} to {rank - 1}" if rank else "an array with at least one axis",
            actual=actual,
            fix=None if rank else "in_axes=None for an argument that is the same for all rows",
        )
    return int(axis) % rank


def common_size(world: TracingWorld, sizes: dict[str, Size]) -> Size:
    """The one size of all mapped axes; sizes that only might agree leave a guard."""
    (name, size), *others = sizes.items()
    for other, found in others:
        if not world.facts.equal(size, found):
            raise ShapeError(
                "vmap: mapped axes differ in size",
                expected="as many rows in each mapped argument",
                actual=f"{name} is {size}, {other} is {found}",
                fix="in_axes says which axis of each argument holds the rows; None: the same for all rows",
            )
        size = found if isinstance(found, int) else size
    return size


def vmap(f: Callable[..., Any], in_axes: Axes = 0, out_axes: Axes = 0) -> Callable[..., Any]:
    """The function on all rows at once: what a loop over the rows and a stack of the results would give.

    Args:
        f: a function of arrays and pytrees of arrays, written for one row.
        in_axes: along which axis of each argument the rows lie. An int, for all arguments; or a tuple with an entry
            for each positional argument: an int, None where the argument is the same for all rows, or a pytree of
            them for an argument that is one. Keyword arguments are mapped over their first axes.
        out_axes: along which axis of each result the rows are put: an int, or a pytree of ints for results that are
            one. None gives a result once, if it is the same for all rows.

    Returns:
        A function of the same arguments, each mapped one with one more axis. Axes count from 0, or from the end if
        negative. Only what depends on mapped arguments is computed for each row.

    Raises:
        ShapeError: the mapped axes differ in size.
        AxisError: an argument lacks its axis, or a result its place.
        StructureError: in_axes or out_axes does not fit the arguments or results, or nothing is mapped.
        UnsupportedError: a `pure_callback` depends on a mapped argument.

    >>> import numpy as np
    >>> distance = lambda x, y: np.sqrt(np.sum((x - y) ** 2))
    >>> points = np.array([[0.0, 0.0], [3.0, 4.0]])
    >>> vmap(distance, in_axes=(0, None))(points, np.zeros(2))
    array([0., 5.])
    >>> vmap(vmap(distance, in_axes=(None, 0)), in_axes=(0, None))(points, points)
    array([[0., 5.],
           [5., 0.]])
    """
    with located():
        return _Vmap(f, in_axes, out_axes)
