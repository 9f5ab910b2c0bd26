"""Products of vectors, chains of matrices, and convolutions."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphc.errors import ShapeError
from graphc.numpy.diagonals import eye
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.generalised import generalised
from graphc.numpy.indexing import flip
from graphc.numpy.products import matmul
from graphc.numpy.shaping import atleast, broadcast_arrays, expand_dims, moveaxis, ravel, stack
from graphc.ops.typing import normalise_axis
from graphc.tracing import lift
from graphc.tracing.layout import unordered

__all__ = [
    "convolve",
    "correlate",
    "cross",
    "kron",
    "matvec",
    "vecdot",
    "vecmat",
]


def numeric_pair(a: Any, b: Any) -> tuple[Any, Any, Any]:
    """Two operands in one dtype."""
    world = common_world(a, b)
    x, y = world.promote((lift(a, world), lift(b, world)))
    return world, strong(x, world), strong(y, world)


@traceable(np.kron)
def kron(a: Any, b: Any) -> Any:
    """The Kronecker product: every element of the first array times the whole second one."""
    world, x, y = numeric_pair(a, b)
    rank = max(x.ndim, y.ndim)
    x, y = atleast(rank, x), atleast(rank, y)
    wide = world.reshape(x, shape=tuple(d for size in x.type.shape for d in (size, 1)))
    narrow = world.reshape(y, shape=tuple(d for size in y.type.shape for d in (1, size)))
    shape = tuple(m * n for m, n in zip(x.type.shape, y.type.shape, strict=True))
    return world.reshape(wide * narrow, shape=shape)


@traceable(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """The cross product of vectors of three elements, or of two, which lie in the plane of the first two."""
    if axis is not None:
        axisa = axisb = axisc = axis
    _, x, y = numeric_pair(a, b)
    if not x.ndim or not y.ndim:
        raise ShapeError("cross: the operands need at least one axis", actual=f"{x.type!r} and {y.type!r}")
    x = moveaxis(x, normalise_axis("cross", axisa, x.ndim), -1)
    y = moveaxis(y, normalise_axis("cross", axisb, y.ndim), -1)
    sizes = x.type.shape[-1], y.type.shape[-1]
    if not set(sizes) <= {2, 3}:
        raise ShapeError(
            "cross: only vectors of two or three elements have a cross product",
            expected="size 2 or 3 along the axis of both",
            actual=f"{sizes[0]} and {sizes[1]}",
        )
    u, v = ([w[..., k] for k in range(n)] for w, n in zip((x, y), sizes, strict=True))
    if sizes == (2, 2):
        return u[0] * v[1] - u[1] * v[0]
    # a third element that a vector lacks is 0
    parts = broadcast_arrays(*(_difference(u, v, k, n) for k, n in ((1, 2), (2, 0), (0, 1))))
    result = stack(parts, axis=-1)
    return moveaxis(result, -1, normalise_axis("cross", axisc, result.ndim))


def _difference(u: Any, v: Any, k: int, n: int) -> Any:
    """u[k] v[n] - u[n] v[k], of what there is."""
    left = u[k] * v[n] if k < len(u) and n < len(v) else None
    right = u[n] * v[k] if n < len(u) and k < len(v) else None
    if left is None:
        return 0 if right is None else -right
    return left if right is None else left - right


@generalised("vecdot", "(n),(n)->()")
def vecdot(x1: Any, x2: Any, /) -> Any:
    """The sum of products along an axis of both operands, the last by default; the other axes broadcast."""
    _, x, y = numeric_pair(x1, x2)
    for v in (x, y):
        if not v.ndim:
            raise ShapeError("vecdot: the operands need at least one axis", actual=repr(v.type))
    if not x.world.facts.equal(x.type.shape[-1], y.type.shape[-1]):
        raise ShapeError(
            "vecdot: inner sizes differ",
            expected="the same size along the summed axes",
            actual=f"{x.type.shape[-1]} and {y.type.shape[-1]} of {x.type!r} and {y.type!r}",
        )
    if x.ndim == 1 and y.ndim == 1:
        return matmul(x, y)
    return matmul(expand_dims(x, -2), expand_dims(y, -1))[..., 0, 0]


@generalised("matvec", "(m,n),(n)->(m)")
def matvec(x1: Any, x2: Any, /) -> Any:
    """Stacks of matrices times stacks of vectors."""
    _, x, y = numeric_pair(x1, x2)
    _check_matrix("matvec", x, y)
    return matmul(x, expand_dims(y, -1))[..., 0]


@generalised("vecmat", "(n),(n,m)->(m)")
def vecmat(x1: Any, x2: Any, /) -> Any:
    """Stacks of vectors times stacks of matrices."""
    _, x, y = numeric_pair(x1, x2)
    _check_matrix("vecmat", y, x)
    return matmul(expand_dims(x, -2), y)[..., 0, :]


def _check_matrix(function: str, matrix: Any, vector: Any) -> None:
    if matrix.ndim < 2 or vector.ndim < 1:
        raise ShapeError(
            f"{function}: too few axes",
            expected="a matrix and a vector, or stacks of them",
            actual=f"{matrix.type!r} and {vector.type!r}",
        )


@traceable(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """The product of a chain of matrices, in the order that takes the fewest multiplications.

    Symbolic sizes count as 64 where the order is chosen.
    """
    world = common_world(list(arrays))
    values = [strong(a, world) for a in arrays]
    if len(values) < 2:
        raise ValueError("Expecting at least two arrays.")
    for k, v in enumerate(values):
        ends = k in (0, len(values) - 1)
        if v.ndim != 2 and not (ends and v.ndim == 1):
            raise ShapeError(
                "multi_dot: the operands must be matrices; the first and the last may be vectors",
                actual=", ".join(repr(v.type) for v in values),
            )
    if len(values) == 2:
        return matmul(*values)
    matrices = [v if v.ndim == 2 else v[None, :] if k == 0 else v[:, None] for k, v in enumerate(values)]
    result = _chain(matrices, 0, len(matrices) - 1, _splits([_length(m.type.shape) for m in matrices]))
    if values[0].ndim == 1:
        result = result[0]
    return result[..., 0] if values[-1].ndim == 1 else result


def _length(shape: Any) -> tuple[int, int]:
    rows, columns = (d if isinstance(d, int) else 64 for d in shape)
    return rows, columns


def _splits(shapes: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Where to split the chain i..j, by dynamic programming (Cormen et al., Introduction to Algorithms, 15.2)."""
    count = len(shapes)
    sizes = [shapes[0][0], *(columns for _, columns in shapes)]
    cost = {(k, k): 0 for k in range(count)}
    split: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            options = [(cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)]
            cost[i, j], split[i, j] = min(options)
    return split


def _chain(matrices: list[Any], first: int, last: int, split: dict[tuple[int, int], int]) -> Any:
    if first == last:
        return matrices[first]
    k = split[first, last]
    return matmul(_chain(matrices, first, k, split), _chain(matrices, k + 1, last, split))


@traceable(np.linalg.matrix_power, view=True)
def matrix_power(a: Any, n: int) -> Any:
    """The product of n equal square matrices, or of as many inverses of them where n is negative."""
    x = strong(a, common_world(a))
    if x.ndim < 2 or not x.world.facts.equal(x.type.shape[-1], x.type.shape[-2]):
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    exponent = operator.index(n)
    if exponent < 0:
        x, exponent = np.linalg.inv(x), -exponent
    if exponent == 0:
        one = eye(x.shape[-1], dtype=x.type.dtype, like=x)
        return unordered(x.world.broadcast_to(one, shape=x.type.shape) if x.ndim > 2 else one)
    if exponent == 1:
        return x
    result: Any = None
    while exponent:
        if exponent % 2:
            result = x if result is None else matmul(result, x)
        exponent //= 2
        if exponent:
            x = matmul(x, x)
    return unordered(result)


def full_convolution(a: Any, v: Any) -> Any:
    """Sum over j of v[j] a[k - j] for every k where the two overlap.

    The rows v[j] * a, each shifted by j, come from one reshape: n + m zeros-padded columns read as n + m - 1.
    """
    world, n, m = a.world, a.type.shape[0], v.type.shape[0]
    rows = world.reshape(v, shape=(m, 1)) * world.reshape(a, shape=(1, n))
    wide = world.unslice(rows, index=((0, m, 1), (0, n, 1)), shape=(m, n + m))
    flat = world.slice(world.reshape(wide, shape=(m * (n + m),)), index=((0, m * (n + m - 1), 1),))
    return world.reduce_sum(world.reshape(flat, shape=(m, n + m - 1)), axes=(0,), keepdims=False)


_MODES = {0: "valid", 1: "same", 2: "full"}


def _windows(function: str, a: Any, v: Any, mode: Any, reverse: bool) -> Any:
    world, x, y = numeric_pair(a, v)
    if x.ndim > 1 or y.ndim > 1:
        raise ShapeError(f"{function}: object too deep for desired array", actual=f"{x.type!r} and {y.type!r}")
    x, y = ravel(x), ravel(y)
    for which, one in (("first", x), ("second", y)):
        if not world.facts.settle("<=", 1, one.type.shape[0]):
            raise ShapeError(f"{function}: {which} array argument cannot be empty")
    mode = _MODES.get(mode, mode)
    if mode not in ("valid", "same", "full"):
        raise ValueError(f"mode must be one of 'valid', 'same', or 'full' (got {mode!r})")
    dtype = x.type.dtype
    if dtype.kind == "b":
        x, y = (world.convert(w, np.dtype(np.int64)) for w in (x, y))
    n, m = x.type.shape[0], y.type.shape[0]
    swapped = mode != "full" and not world.facts.settle("<=", m, n)
    if swapped:
        x, y, n, m = y, x, m, n
    result = full_convolution(x, y if not reverse else flip(y, 0))
    start, count = {"full": (0, n + m - 1), "same": ((m - 1) // 2, n), "valid": (m - 1, n - m + 1)}[mode]
    if mode != "full":
        result = world.slice(result, index=((start, start + count, 1),))
    return world.convert(flip(result, 0) if swapped and reverse else result, dtype)


@traceable(np.convolve)
def convolve(a: Any, v: Any, mode: Any = "full") -> Any:
    """The convolution of two vectors: sums over j of a[j] v[k - j].

    It takes the product of both sizes in memory. With mode "same" or "valid" it must be known which is longer.
    """
    return _windows("convolve", a, v, mode, reverse=False)


@traceable(np.correlate)
def correlate(a: Any, v: Any, mode: Any = "valid") -> Any:
    """The correlation of two vectors: sums over j of a[j + k] v[j].

    It takes the product of both sizes in memory. With mode "same" or "valid" it must be known which is longer.
    """
    return _windows("correlate", a, v, mode, reverse=True)
