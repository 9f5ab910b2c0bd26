"""Structured matrices, norms and questions of symmetry."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from graphc.dims import Size
from graphc.errors import ShapeError
from graphc.numpy.closeness import allclose
from graphc.numpy.closeness import array_equal as same_elements
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.elementwise import absolute
from graphc.numpy.norms import norm as numpy_norm
from graphc.numpy.picking import fixed_size, whole_number
from graphc.numpy.products import matmul
from graphc.numpy.shaping import atleast, concatenate, expand_dims, reshape, swapaxes
from graphc.ops.matrices import numbered

__all__ = [
    "block_diag",
    "circulant",
    "companion",
    "convolution_matrix",
    "diagsvd",
    "fiedler",
    "hankel",
    "ishermitian",
    "issymmetric",
    "khatri_rao",
    "leslie",
    "matmul_toeplitz",
    "norm",
    "toeplitz",
]


def _zeros(x: Any, shape: tuple[Size, ...]) -> Any:
    return x.world.full(0, type(x.type)(shape, x.type.dtype))


def _vector(function: str, a: Any) -> Any:
    x = strong(a, common_world(a))
    if x.ndim != 1:
        raise ShapeError(f"{function}: the operand must be a vector", expected="1-d", actual=repr(x.type))
    return x


def _joined(function: str, *parts: Any) -> Any:
    world = common_world(*parts)
    values = [atleast(1, strong(p, world)) for p in parts]
    for v in values:
        if v.ndim != 1:
            raise ShapeError(f"{function}: the operands must be vectors", expected="1-d", actual=repr(v.type))
    return world, [strong(v, world) for v in world.promote(values)]


@traceable(scipy.linalg.toeplitz)
def toeplitz(c: Any, r: Any = None) -> Any:
    """The matrix that is constant along its diagonals, by its first column and its first row."""
    _, (column, row) = _joined("toeplitz", c, c if r is None else r)
    rows, columns = column.type.shape[0], row.type.shape[0]
    i, j = numbered(column.world, rows, columns)
    values = concatenate([column[::-1], row[1:]])
    return column.world.gather(values, j - i + (column.shape[0] - 1), axis=0)


@traceable(scipy.linalg.circulant)
def circulant(c: Any) -> Any:
    """The matrix whose columns are a vector, rolled on by one each time."""
    x = _vector("circulant", c)
    i, j = numbered(x.world, x.type.shape[0], x.type.shape[0])
    return x.world.gather(x, (i - j) % x.shape[0], axis=0)


@traceable(scipy.linalg.hankel)
def hankel(c: Any, r: Any = None) -> Any:
    """The matrix that is constant along its anti-diagonals, by its first column and its last row."""
    world = common_world(c, r)
    column = strong(c, world)
    last = _zeros(column, column.type.shape) if r is None else r
    _, (column, row) = _joined("hankel", column, last)
    i, j = numbered(column.world, column.type.shape[0], row.type.shape[0])
    return column.world.gather(concatenate([column, row[1:]]), i + j, axis=0)


@traceable(scipy.linalg.block_diag)
def block_diag(*arrs: Any) -> Any:
    """Matrices along the diagonal of a matrix, zeros elsewhere."""
    world = common_world(*arrs)
    blocks = [atleast(2, strong(a, world)) for a in arrs]
    if any(b.ndim != 2 for b in blocks):
        raise ShapeError("block_diag: the operands must be matrices", actual=", ".join(repr(b.type) for b in blocks))
    blocks = [strong(b, world) for b in world.promote(blocks)]
    width: Size = 0
    for b in blocks:
        width = width + b.type.shape[1]
    rows, start = [], 0
    for b in blocks:
        stop = start + b.type.shape[1]
        index = ((0, b.type.shape[0], 1), (start, stop, 1))
        rows.append(world.unslice(b, index=index, shape=(b.type.shape[0], width)))
        start = stop
    return concatenate(rows, axis=0)


@traceable(scipy.linalg.companion)
def companion(a: Any) -> Any:
    """The companion matrix of a polynomial, from its highest coefficient down.

    That the first coefficient is not 0 is not checked.
    """
    x = _vector("companion", a)
    count = fixed_size("companion", x.type.shape[0])
    if count < 2:
        raise ValueError("The length of `a` must be at least 2.")
    world = x.world
    if x.type.dtype.kind != "f":
        x = world.convert(x, np.dtype(np.float64))
    first = reshape(-x[1:] / x[0], (1, count - 1))
    return concatenate([first, strong(np.eye(count - 2, count - 1, dtype=x.type.dtype), world)], axis=0)


@traceable(scipy.linalg.convolution_matrix)
def convolution_matrix(a: Any, n: Any, mode: str = "full") -> Any:
    """The matrix whose product with a vector of n elements is the convolution with `a`."""
    x = _vector("convolution_matrix", a)
    count = whole_number("convolution_matrix", "n", n)
    if count <= 0:
        raise ValueError("n must be a positive integer.")
    if mode not in ("full", "valid", "same"):
        raise ValueError("'mode' argument must be one of ('full', 'valid', 'same')")
    length = fixed_size("convolution_matrix", x.type.shape[0])
    if length == 0:
        raise ValueError("len(a) must be at least 1.")
    rows = length + count - 1
    i, j = numbered(x.world, rows, count)
    padded = concatenate([x, _zeros(x, (1,))])
    place = np.where((i >= j) & (i - j < length), i - j, length)
    full = x.world.gather(padded, place, axis=0)
    if mode == "full":
        return full
    if mode == "same":
        size, start = max(length, count), (min(length, count) - 1) // 2
        return full[start : start + size]
    edge = min(length, count) - 1
    return full[edge : rows - edge]


@traceable(scipy.linalg.khatri_rao)
def khatri_rao(a: Any, b: Any) -> Any:
    """Kronecker products of the columns of two matrices."""
    world = common_world(a, b)
    x, y = (strong(v, world) for v in world.promote([strong(a, world), strong(b, world)]))
    if x.ndim != 2 or y.ndim != 2 or not world.facts.equal(x.type.shape[1], y.type.shape[1]):
        raise ValueError("The number of columns for both arrays should be equal, and both must be 2-d.")
    product = expand_dims(x, 1) * expand_dims(y, 0)
    return reshape(product, (x.shape[0] * y.shape[0], x.shape[1]))


@traceable(scipy.linalg.fiedler)
def fiedler(a: Any) -> Any:
    """The sizes of the differences of each pair of a vector's elements."""
    x = _vector("fiedler", a)
    return absolute(expand_dims(x, 1) - expand_dims(x, 0))


@traceable(scipy.linalg.leslie)
def leslie(f: Any, s: Any) -> Any:
    """The Leslie matrix of fecundities, its first row, and survivals, below its diagonal."""
    _, (first, below) = _joined("leslie", f, s)
    count = fixed_size("leslie", first.type.shape[0])
    if count < 2:
        raise ValueError("The length of f must be at least 2.")
    if below.type.shape[0] != count - 1:
        raise ValueError("The length of s must be one less than the length of f.")
    lower = np.eye(count - 1, count, dtype=first.type.dtype) * expand_dims(below, 1)
    return concatenate([expand_dims(first, 0), lower], axis=0)


@traceable(scipy.linalg.matmul_toeplitz)
def matmul_toeplitz(c_or_cr: Any, x: Any, check_finite: bool = False, workers: Any = None) -> Any:
    """The product of a Toeplitz matrix, given by its first column or by that and its first row, with an array."""
    matrix = toeplitz(*c_or_cr) if isinstance(c_or_cr, tuple) else toeplitz(c_or_cr)
    return matmul(matrix, x)


@traceable(scipy.linalg.diagsvd)
def diagsvd(s: Any, M: Any, N: Any) -> Any:
    """A matrix of a given shape with singular values along its diagonal."""
    x = _vector("diagsvd", s)
    rows, columns = whole_number("diagsvd", "M", M), whole_number("diagsvd", "N", N)
    count = fixed_size("diagsvd", x.type.shape[0])
    if count not in (rows, columns) or count > min(rows, columns):
        raise ValueError("Length of s must be M or N.")
    diagonal = expand_dims(x, 1) * np.eye(count, columns, dtype=x.type.dtype)
    return diagonal if count == rows else concatenate([diagonal, _zeros(x, (rows - count, columns))], axis=0)


@traceable(scipy.linalg.norm)
def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, check_finite: bool = True) -> Any:
    """A norm of a vector or a matrix, as `numpy.linalg.norm`; the derivative at 0 is 0.

    That elements are finite is not checked.
    """
    return numpy_norm(a, ord, axis, keepdims)


def _symmetric(a: Any, atol: Any, rtol: Any) -> Any:
    x = strong(a, common_world(a))
    if x.ndim != 2 or not x.world.facts.equal(*x.type.shape):
        raise ValueError("Input array must be square.")
    turned = swapaxes(x, 0, 1)
    if not atol and not rtol:
        return same_elements(x, turned)
    return allclose(x, turned, rtol=rtol or 0.0, atol=atol or 0.0)


@traceable(scipy.linalg.issymmetric)
def issymmetric(a: Any, atol: Any = None, rtol: Any = None) -> Any:
    """Whether a matrix is its own transpose, exactly or within a tolerance, as a traced boolean."""
    return _symmetric(a, atol, rtol)


@traceable(scipy.linalg.ishermitian)
def ishermitian(a: Any, atol: Any = None, rtol: Any = None) -> Any:
    """Whether a matrix is its own transpose, as traced values are real; as a traced boolean."""
    return _symmetric(a, atol, rtol)
