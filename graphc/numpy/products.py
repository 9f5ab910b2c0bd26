"""Matrix and tensor products."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import dims
from graphc.errors import ShapeError
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.generalised import generalised
from graphc.numpy.shaping import ravel, transpose
from graphc.ops.typing import normalise_axis
from graphc.tracing import placed

__all__ = [
    "dot",
    "inner",
    "matmul",
    "outer",
    "tensordot",
    "vdot",
]


def _pair(a: Any, b: Any) -> tuple[Any, Any, Any]:
    world = common_world(a, b)
    x, y = world.promote([strong(v, world) for v in (a, b)])
    return world, x, y


def matrix_product(a: Any, b: Any) -> Any:
    """The product of stacks of matrices; of booleans, whether any pair of elements holds."""
    world, kind = a.world, a.type.dtype
    if kind.kind != "b":
        return world.matmul(a, b)
    a, b = (world.convert(x, np.dtype(np.int64)) for x in (a, b))
    return world.convert(world.matmul(a, b), kind)


@generalised("matmul", "(n?,k),(k,m?)->(n?,m?)")
def matmul(x1: Any, x2: Any, /) -> Any:
    """The matrix product of vectors, matrices or stacks of matrices, which broadcast."""
    world, a, b = _pair(x1, x2)
    if not a.ndim or not b.ndim:
        raise ShapeError(
            "matmul: operands need at least one axis",
            expected="vectors, matrices or stacks of matrices",
            actual=f"{a.type!r} and {b.type!r}",
            fix="use * for a product with a scalar",
        )
    left, right = a.ndim == 1, b.ndim == 1
    if not world.facts.equal(a.type.shape[-1], b.type.shape[0 if right else -2]):
        raise ShapeError(
            "matmul: inner sizes differ",
            expected="a.shape[-1] == b.shape[-2]" if not right else "a.shape[-1] == b.shape[0]",
            actual=f"{a.type.shape[-1]} != {b.type.shape[0 if right else -2]}",
            graph_line=world.line("matmul", (world.adopt(a).id, world.adopt(b).id), ()),
            fix="transpose an operand (x.T), or check which axis holds what",
        )
    if left:
        a = world.reshape(a, shape=(1, *a.type.shape))
    if right:
        b = world.reshape(b, shape=(*b.type.shape, 1))
    product = matrix_product(a, b)
    if left or right:
        shape = list(product.type.shape)
        shape = shape[:-2] + ([] if left else [shape[-2]]) + ([] if right else [shape[-1]])
        product = world.reshape(product, shape=tuple(shape))
    return product


@traceable(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """The sum of products over the last axis of `a` and the last but one of `b` (of a vector, its only one)."""
    _, x, y = _pair(a, b)
    if not x.ndim or not y.ndim:
        return placed(x * y) if x.ndim or y.ndim else x * y
    return matmul(x, y) if y.ndim <= 2 else tensordot(x, y, (x.ndim - 1, y.ndim - 2))


@traceable(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    """The dot product of all elements of two arrays, each laid in one line."""
    _, x, y = _pair(a, b)
    return matmul(ravel(x), ravel(y))


@traceable(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    """The sum of products over the last axes of both."""
    _, x, y = _pair(a, b)
    if not x.ndim or not y.ndim:
        return placed(x * y) if x.ndim or y.ndim else x * y
    return tensordot(x, y, (-1, -1))


@traceable(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    """The product of every element of one array with every element of the other, each laid in one line."""
    world = common_world(a, b)
    x, y = world.promote([strong(v, world) for v in (a, b)])
    return ravel(x)[:, None] * ravel(y)[None, :]


@traceable(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """The sum of products over named axes of both, or over the last of `a` and the first of `b`."""
    world, x, y = _pair(a, b)
    if isinstance(axes, int):
        over_x, over_y = list(range(x.ndim - axes, x.ndim)), list(range(axes))
    else:
        over_x, over_y = ([k] if isinstance(k, int) else list(k) for k in axes)
    over_x = [normalise_axis("tensordot", k, x.ndim) for k in over_x]
    over_y = [normalise_axis("tensordot", k, y.ndim) for k in over_y]
    sizes = [(x.type.shape[i], y.type.shape[j]) for i, j in zip(over_x, over_y, strict=True)]
    if not all(world.facts.equal(i, j) for i, j in sizes):
        raise ShapeError(
            "tensordot: summed sizes differ",
            expected="the same sizes along the summed axes of both",
            actual=f"{x.type!r} over {over_x}, {y.type!r} over {over_y}",
            fix="axes=([of the first], [of the second])",
        )
    keep_x = [k for k in range(x.ndim) if k not in over_x]
    keep_y = [k for k in range(y.ndim) if k not in over_y]
    rows = [x.type.shape[k] for k in keep_x]
    columns = [y.type.shape[k] for k in keep_y]
    summed = dims.product([i for i, _ in sizes])
    left = world.reshape(transpose(x, keep_x + over_x), shape=(dims.product(rows), summed))
    right = world.reshape(transpose(y, over_y + keep_y), shape=(summed, dims.product(columns)))
    return world.reshape(matrix_product(left, right), shape=(*rows, *columns))
