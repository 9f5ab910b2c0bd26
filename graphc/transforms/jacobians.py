"""Whole Jacobians and Hessians, and the product of a Hessian with a vector.

A Jacobian is a pullback (or a tangent pushed forward) of all unit vectors at once: the graph of one, batched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.compiler import flatten, trace_call, unflatten
from graphc.dims import Size
from graphc.errors import DifferentiationError
from graphc.ir import Graph, TensorType
from graphc.ops.batching import moved
from graphc.passes.batch import batched_graph
from graphc.passes.derive import jvp_graph, vjp_graph
from graphc.passes.sparsity import colours, dependence
from graphc.tracing import TracingWorld, inline, user_locs
from graphc.transforms.arguments import Transform, lift_argument, positions, prepared, surrounding
from graphc.transforms.forward import jvp
from graphc.transforms.reverse import grad

SMALLEST: Final = 16  # unit vectors; with fewer, zeros cost next to nothing
HELD: Final = 1 << 16  # bytes of directions that a graph holds; more are computed in each call


class _Jacobian(Transform):
    def __init__(self, f: Callable[..., Any], argnums: int | Sequence[int], forward: bool) -> None:
        self.argnums = argnums
        self.forward = forward
        super().__init__(f, "jacfwd" if forward else "jacrev")

    def _varying(self, count: int) -> Collection[int]:
        return positions(self.argnums, count, "jacobian")

    def _made_of(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _Jacobian, (self._f, self.argnums, self.forward)

    def _traced(self, /, *args: Any, **kwargs: Any) -> Any:
        world = surrounding((args, kwargs), "jacobian")
        numbers = positions(self.argnums, len(args), "jacobian")
        lifted, structure = lift_argument(tuple(args[n] for n in numbers), world, "jacobian")
        call = list(args)
        for n, part in zip(numbers, unflatten(structure, lifted), strict=True):
            call[n] = part
        place = {id(leaf): k for k, leaf in enumerate(flatten((call, kwargs))[0])}
        out = trace_call(self._f, tuple(call), kwargs, inputs=[place[id(leaf)] for leaf in lifted], within=world)
        graph = prepared(out.graph)
        operands = [*lifted, *out.captures]
        inline(world, graph, operands)  # the effects of the function are part of its derivative
        blocks = (_columns if self.forward else _rows)(world, graph, operands, len(lifted))
        rows = [unflatten(structure, row) for row in blocks]
        return unflatten(out.out_tree, [row[0] if isinstance(self.argnums, int) else row for row in rows])


def _rows(world: TracingWorld, graph: Graph, operands: Sequence[Any], count: int) -> list[list[Any]]:
    """For each output, the blocks by the first `count` inputs: pullbacks of all unit cotangents at once."""
    xs, ys = graph.input_types[:count], graph.output_types
    blocks = []
    for k, y in enumerate(ys):
        found: list[Any] = [None] * count
        if y.differentiable:
            found = _at_units(world, vjp_graph(graph, range(count), seeds=(k,)), operands, y)
        blocks.append([_block(world, part, y, x, x.dtype) for part, x in zip(found, xs, strict=True)])
    return blocks


def _columns(world: TracingWorld, graph: Graph, operands: Sequence[Any], count: int) -> list[list[Any]]:
    """For each output, the blocks by the first `count` inputs: pushed forward from all unit tangents at once."""
    xs, ys = graph.input_types[:count], graph.output_types
    columns = []
    for k, x in enumerate(xs):
        pushed = iter(_at_units(world, jvp_graph(graph, (k,)), operands, x, last=True))
        parts = [next(pushed) if y.differentiable else None for y in ys]
        columns.append([_block(world, part, y, x, y.dtype) for part, y in zip(parts, ys, strict=True)])
    return [list(row) for row in zip(*columns, strict=True)] if columns else [[] for _ in ys]


def _at_units(
    world: TracingWorld, linear: Graph, operands: Sequence[Any], type: TensorType, last: bool = False
) -> list[Any]:
    """What a graph that is linear in its last input, of that type, gives for each unit vector; None for zeros.

    The results for the vectors stand along a first axis of each part; along its last one, if `last`.
    """
    size = dims.product(type.shape)
    if size == 0:
        return [None] * len(linear.outputs)
    if size == 1:
        parts = inline(world, linear, [*operands, world.full(1, type)])
        return [world.reshape(p, shape=(*p.type.shape, 1) if last else (1, *p.type.shape)) for p in parts]
    if isinstance(size, int) and size >= SMALLEST:
        most = size // 3
        marks = dependence(linear, len(operands), most)
        groups = None if marks is None else colours(_side_by_side(marks, size), most)
        if marks is not None and groups is not None:
            return _at_groups(world, linear, operands, type, marks, groups, last)
    found = _batched(world, linear, operands, _units(world, type, size))
    if not last:
        return found
    return [None if part is None else moved(world, part, [*range(1, part.type.ndim), 0]) for part in found]


def _batched(world: TracingWorld, linear: Graph, operands: Sequence[Any], directions: Any) -> list[Any]:
    """What a graph gives for each row of its last operand; None where it does not depend on it."""
    batch, carried = batched_graph(linear, [*(False for _ in operands), True], directions.type.shape[0])
    parts = inline(world, batch, [*operands, directions])
    return [part if has_rows else None for part, has_rows in zip(parts, carried, strict=True)]


def _at_groups(
    world: TracingWorld,
    linear: Graph,
    operands: Sequence[Any],
    type: TensorType,
    marks: Sequence[Any],
    groups: Any,
    last: bool,
) -> list[Any]:
    """The same, by directions that are sums of unit vectors, of which no element of a result depends on two."""
    size, count = len(groups), int(groups.max()) + 1
    if count * size * type.dtype.itemsize <= HELD:
        table = np.arange(count)[:, None] == groups
        directions = _constant(world, table.astype(type.dtype).reshape(count, *type.shape))
    else:
        number = world.reshape(world.iota(size=count, dtype=groups.dtype), shape=(count, 1))
        directions = world.convert(number == _constant(world, groups), type.dtype)
        directions = world.reshape(directions, shape=(count, *type.shape))
    parts = _batched(world, linear, operands, directions)
    return [
        None if part is None else _spread(world, part, np.reshape(own, (size, -1)), groups, last)
        for part, own in zip(parts, marks, strict=True)
    ]


def _spread(world: TracingWorld, part: Any, marks: Any, groups: Any, last: bool) -> Any:
    """Each marked element from the row of its group; zeros elsewhere. If `last`, the transpose of that."""
    (count, *part_shape), (size, width) = part.type.shape, marks.shape
    if last:
        columns, rows = np.nonzero(marks.T)
        places, shape = columns * size + rows, (*part_shape, size)
    else:
        rows, columns = np.nonzero(marks)
        places, shape = rows * width + columns, (size, *part_shape)
    flat = world.reshape(part, shape=(count * width,))
    values = world.gather(flat, _constant(world, groups[rows] * width + columns), axis=0)
    spread = world.scatter_add(values, _constant(world, places), axis=0, shape=(size * width,))
    return world.reshape(spread, shape=shape)


def _side_by_side(marks: Sequence[Any], size: int) -> Any:
    """The marks of all outputs in one table."""
    return np.concatenate(
        [np.zeros((size, 0), bool), *(np.reshape(m, (size, -1)) for m in marks if m is not None)], axis=1
    )


def _constant(world: TracingWorld, array: Any) -> Any:
    """An array that nobody else writes to, as a constant."""
    array.flags.writeable = False
    return world.constant(array)


def _units(world: TracingWorld, type: TensorType, size: Size) -> Any:
    """The unit vectors of a type, along a first axis."""
    place = world.iota(size=size, dtype=np.dtype(np.int64))
    diagonal = world.reshape(place, shape=(size, 1)) == world.reshape(place, shape=(1, size))
    return world.reshape(world.convert(diagonal, type.dtype), shape=(size, *type.shape))


def _block(world: TracingWorld, part: Any, y: TensorType, x: TensorType, dtype: np.dtype[Any]) -> Any:
    """A part of the Jacobian in the shape of a result and an argument."""
    shape = (*y.shape, *x.shape)
    if part is None:
        return world.full(0, TensorType(shape, dtype))
    return world.reshape(part, shape=shape)


def jacrev(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The Jacobian by reverse mode, from the results back: good for few results. See `jacobian`."""
    return _Jacobian(f, argnums, forward=False)


def jacfwd(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The Jacobian by forward mode, from the arguments on: good for few of them. See `jacobian`."""
    return _Jacobian(f, argnums, forward=True)


def jacobian(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The Jacobian of a function: for each result, an array of shape ``result.shape + argument.shape``.

    Reverse mode (`jacrev`), all rows at once; `jacfwd` gives the same by forward mode, all columns at once. Sizes may
    be symbolic.

    Args:
        f: a function of arrays and pytrees of arrays, with float results.
        argnums: which positional arguments to differentiate; each may be a pytree of float arrays.

    Returns:
        A function of the same arguments. Its result has the structure of that of `f`, and in each place the structure
        of the argument (a tuple of them for several argnums), with an array for each pair.

    Raises:
        DifferentiationError: an argument is not a float.

    >>> import numpy as np
    >>> jacobian(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    return jacrev(f, argnums)


class _HessianProduct(Transform):
    """Takes the arguments of the function and a vector after them."""

    def __init__(self, f: Callable[..., Any], argnums: int) -> None:
        self.argnums = argnums
        self._gradient = grad(f, argnums)
        super().__init__(f, "hvp")

    def _varying(self, count: int) -> Collection[int]:
        return (*positions(self.argnums, count - 1, "hvp"), count - 1)

    def _made_of(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _HessianProduct, (self._f, self.argnums)

    def _traced(self, /, *args: Any, **kwargs: Any) -> Any:
        *point, v = args
        (n,) = positions(self.argnums, len(point), "hvp")

        def along(x: Any) -> Any:
            return self._gradient(*point[:n], x, *point[n + 1 :], **kwargs)

        return jvp(along, (point[n],), (v,))[1]


def hessian(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The matrix of second derivatives of a scalar function, forward over reverse.

    Args:
        f: returns one real scalar.
        argnums: which positional arguments to differentiate; each may be a pytree of float arrays.

    Returns:
        A function of the same arguments: an array of shape ``argument.shape + argument.shape``; for pytrees, and for
        several argnums, their structure within their structure, with an array for each pair.

    Raises:
        DifferentiationError: the result is not a real scalar, or an argument is not a float.

    >>> import numpy as np
    >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    return jacfwd(grad(f, argnums), argnums)


def hvp(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """The product of the Hessian with a vector: call ``hvp(f)(*args, v)``, v shaped like the chosen argument.

    It costs about as much as a gradient: the Hessian is never formed.

    Args:
        f: returns one real scalar.
        argnums: the position of one argument, which may be a pytree of float arrays.

    Raises:
        DifferentiationError: argnums is not one position, the result is not a real scalar, or the argument not a float.

    >>> import numpy as np
    >>> hvp(lambda x: np.sum(x**3))(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    array([6., 0.])
    """
    if not isinstance(argnums, int):
        raise DifferentiationError(
            "hvp: argnums is not one position",
            expected="an int",
            actual=f"argnums={argnums!r}",
            loc=(user_locs() or (None,))[0],
            fix="make one argument of several, a tuple or dict of them: hvp(lambda p: f(*p))((x, y), (v, w))",
        )
    return _HessianProduct(f, argnums)
