"""Whole Jacobians and Hessians, and the product of a Hessian with a vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

import graphc.numpy as gnp
from graphc.compiler import flatten, unflatten
from graphc.errors import DifferentiationError
from graphc.ir import TensorType, static_shape
from graphc.tracing import TracingWorld, lift
from graphc.transforms.arguments import Transform, lift_argument, positions, surrounding
from graphc.transforms.forward import jvp, traced_linearize
from graphc.transforms.reverse import grad, traced_vjp


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

        def chosen(*parts: Any) -> Any:
            call = list(args)
            for n, part in zip(numbers, parts, strict=True):
                call[n] = part
            return self._f(*call, **kwargs)

        picked = tuple(args[n] for n in numbers)
        build = _forward_jacobian if self.forward else _reverse_jacobian
        result, structure = build(chosen, picked, world)
        single = isinstance(self.argnums, int)
        return unflatten(structure, [row[0] if single else tuple(row) for row in result])


def _units(type: TensorType, world: TracingWorld, what: str) -> list[Any]:
    """The unit vectors of a type, as constants."""
    shape = static_shape(type.shape)
    if shape is None:
        raise DifferentiationError(
            f"jacobian: the {what} has a size known only at run time",
            expected="fixed sizes",
            actual=repr(type),
            fix="write a number in the spec; or use vjp, jvp or hvp, which need no rows",
        )
    return [world.constant(row.reshape(shape)) for row in np.eye(math.prod(shape), dtype=type.dtype)]


def _reverse_jacobian(
    f: Callable[..., Any], picked: tuple[Any, ...], world: TracingWorld
) -> tuple[list[list[Any]], Any]:
    """Rows by pullbacks of unit cotangents; result[output][argument]."""
    value, pullback = traced_vjp(f, picked, world)
    outputs, out_tree = flatten(value)
    result = []
    for k, y in enumerate(outputs):
        rows = []
        for unit in _units(y.type, world, "result"):
            ct = unflatten(out_tree, [unit if j == k else world.full(0, v.type) for j, v in enumerate(outputs)])
            rows.append(pullback(ct))
        result.append(
            [_stack_trees([row[n] for row in rows], y, picked[n], world, front=True) for n in range(len(picked))]
        )
    return result, out_tree


def _forward_jacobian(
    f: Callable[..., Any], picked: tuple[Any, ...], world: TracingWorld
) -> tuple[list[list[Any]], Any]:
    """Columns by pushing unit tangents; result[output][argument]."""
    leaves, structure = lift_argument(picked, world, "jacobian")
    value, push = traced_linearize(f, leaves, structure, world)
    outputs, out_tree = flatten(value)
    columns: list[list[Any]] = []
    for k, x in enumerate(leaves):
        units = _units(x.type, world, "argument")
        zeros = [world.full(0, v.type) for v in leaves]
        columns.append([flatten(push(*unflatten(structure, [*zeros[:k], u, *zeros[k + 1 :]])))[0] for u in units])
    result = []
    for j, y in enumerate(outputs):
        blocks = [
            _stack(
                [column[j] for column in columns[k]],
                (*y.type.shape, *x.type.shape),
                y.type,
                world,
                front=False,
            )
            for k, x in enumerate(leaves)
        ]
        parts = iter(blocks)
        row = []
        for argument in picked:
            inner, inner_structure = flatten(argument)
            row.append(unflatten(inner_structure, [next(parts) for _ in inner]))
        result.append(row)
    return result, out_tree


def _stack_trees(rows: list[Any], y: Any, argument: Any, world: TracingWorld, front: bool) -> Any:
    leaves, structure = flatten(argument)
    flat = [flatten(row)[0] for row in rows]
    blocks = []
    for k, leaf in enumerate(leaves):
        x = lift(leaf, world)
        blocks.append(_stack([row[k] for row in flat], (*y.type.shape, *x.type.shape), x.type, world, front))
    return unflatten(structure, blocks)


def _stack(rows: list[Any], shape: tuple[Any, ...], like: TensorType, world: TracingWorld, front: bool) -> Any:
    """Rows stacked along a new first (or last) axis, then reshaped."""
    if not rows:
        return world.full(0, TensorType(shape, like.dtype))
    return gnp.reshape(gnp.stack(rows, axis=0 if front else -1), shape)


def jacrev(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The Jacobian by reverse mode, row by row: good for few outputs. See `jacobian`."""
    return _Jacobian(f, argnums, forward=False)


def jacfwd(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The Jacobian by forward mode, column by column: good for few inputs. See `jacobian`."""
    return _Jacobian(f, argnums, forward=True)


def jacobian(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The Jacobian of a function: for each result, an array of shape ``result.shape + argument.shape``.

    Reverse mode (`jacrev`); `jacfwd` gives the same by forward mode. Sizes must be fixed.

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

    >>> import numpy as np
    >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    return jacfwd(grad(f, argnums), argnums)


def hvp(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """The product of the Hessian with a vector: call ``hvp(f)(*args, v)``, v shaped like the chosen argument.

    >>> import numpy as np
    >>> hvp(lambda x: np.sum(x**3))(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    array([6., 0.])
    """
    return _HessianProduct(f, argnums)
