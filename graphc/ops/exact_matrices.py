"""Exact meanings of the ops of linear algebra, in the scalars of a field `s`: no pivots, so that nothing is decided."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import combinations
from typing import Any

import numpy as np

from graphc.errors import UnsupportedError

Array = np.ndarray[Any, Any]
Matrix = Array  # of two axes, of a field's scalars


def each(function: Callable[..., Matrix], shape: tuple[int, ...], *stacks: Array) -> Array:
    """A function of matrices on stacks of them, which broadcast; it gives matrices of a shape."""
    lead = np.broadcast_shapes(*(x.shape[:-2] for x in stacks))
    wide = [np.broadcast_to(x, (*lead, *x.shape[-2:])) for x in stacks]
    result = np.empty((*lead, *shape), object)
    for i in np.ndindex(lead):
        result[i] = function(*(x[i] for x in wide))
    return result


def _scaled(x: Array, factor: Any) -> Array:
    """An array times a scalar, which need know nothing of arrays."""
    scaled: Array = np.frompyfunc(lambda e: e * factor, 1, 1)(x)
    return scaled


def _det(s: Any, a: Matrix) -> Any:
    """By minors of more and more of the last rows: no division, 2**n of them."""
    size = len(a)
    minors: dict[tuple[int, ...], Any] = {(): s.number(1)}
    for row in range(size - 1, -1, -1):
        grown = {}
        for columns in combinations(range(size), size - row):
            value: Any = None
            for k, column in enumerate(columns):
                term = a[row, column] * minors[columns[:k] + columns[k + 1 :]]
                term = -term if k % 2 else term
                value = term if value is None else value + term
            grown[columns] = value
        minors = grown
    return minors[tuple(range(size))]


def _cofactor(s: Any, a: Matrix) -> Matrix:
    result = np.empty(a.shape, object)
    for i, j in np.ndindex(a.shape):
        minor = _det(s, np.delete(np.delete(a, i, 0), j, 1))
        result[i, j] = -minor if (i + j) % 2 else minor
    return result


def _product(s: Any, a: Matrix, b: Matrix) -> Matrix:
    product: Matrix = s.matmul(a, b)
    return product


def _solve(s: Any, a: Matrix, b: Matrix) -> Matrix:
    """Cramer's rule."""
    return _product(s, _inv(s, a), b) if a.size else b


def _inv(s: Any, a: Matrix) -> Matrix:
    return _scaled(_cofactor(s, a).T, 1 / s.lift(_det(s, a))) if a.size else a


def _substitute(s: Any, a: Matrix, b: Matrix, lower: bool, unit: bool) -> Matrix:
    x = np.empty(b.shape, object)
    size = len(a)
    for i in range(size) if lower else range(size - 1, -1, -1):
        done = range(i) if lower else range(i + 1, size)
        row = b[i]
        for k in done:
            row = row - _scaled(x[k], a[i, k])
        x[i] = row if unit else _scaled(row, 1 / a[i, i])
    return x


def _cholesky(s: Any, a: Matrix) -> Matrix:
    size = len(a)
    result = np.full(a.shape, s.number(0), object)
    for j in range(size):
        for i in range(j, size):
            left = a[i, j]
            for k in range(j):
                left = left - result[i, k] * result[j, k]
            result[i, j] = s.sqrt(left) if i == j else left / result[j, j]
    return result


def _two(name: str, size: int) -> None:
    if size > 2:
        raise UnsupportedError(
            f"{name}: eigenvalues and singular values have an exact meaning up to two by two",
            expected="matrices with at most two eigenvalues or singular values",
            actual=f"{size} of them",
            fix="verify the function at a smaller size: specs such as f64[2,2], or env={'n': 2} for a named one",
        )


def _eigenvalues(s: Any, a: Matrix) -> list[Any]:
    """Of a symmetric matrix of up to two rows, in ascending order."""
    _two("eigvalsh", len(a))
    if len(a) < 2:
        return [a[k, k] for k in range(len(a))]
    middle, half = (a[0, 0] + a[1, 1]) / 2, (a[0, 0] - a[1, 1]) / 2
    radius = s.sqrt(half * half + a[0, 1] * a[0, 1])
    return [middle - radius, middle + radius]


def _eigenvectors(s: Any, a: Matrix) -> Matrix:
    """As columns. The signs, which are anybody's choice, are LAPACK's for a[0, 0] > a[1, 1] > 0 and a[0, 1] > 0."""
    size = len(a)
    if size < 2:
        return np.full((size, size), s.number(1), object)
    low, high = _eigenvalues(s, a)
    result = np.empty((2, 2), object)
    for k, (x, y) in enumerate(((a[0, 1], low - a[0, 0]), (-a[0, 1], a[0, 0] - high))):
        length = s.sqrt(x * x + y * y)
        result[:, k] = x / length, y / length
    return result


def _symmetric(a: Matrix, lower: bool) -> Matrix:
    i, j = np.indices(a.shape)
    return np.where((i >= j) == lower, a, a.T) if a.size else a


def _singular(s: Any, a: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Left vectors, values and right vectors; columns, in descending order of the values.

    The signs are LAPACK's for some matrices whose columns (rows, of a wide one) become shorter and have an acute angle.
    """
    rows, columns = a.shape
    turned = rows < columns
    tall = a.T if turned else a
    gram = _product(s, tall.T, tall)
    _two("svdvals", len(gram))
    values = np.array([s.sqrt(x) for x in reversed(_eigenvalues(s, gram))], object)
    right = _eigenvectors(s, gram)[:, ::-1]
    left = _product(s, tall, right) / values if values.size else np.empty((len(tall), 0), object)
    if not turned:
        return left, values, right
    signs = np.array([1, -1][: values.size], object)
    return right * signs, values, left * signs


def _qr(s: Any, a: Matrix) -> tuple[Matrix, Matrix]:
    """By Householder's reflections, with LAPACK's signs: the diagonal of r has those opposite to what it replaces."""
    rows, columns = a.shape
    count = min(rows, columns)
    r = a.copy()
    q = np.full((rows, rows), s.number(0), object)
    for k in range(rows):
        q[k, k] = s.number(1)
    for k in range(min(count, rows - 1)):
        x = r[k:, k]
        length = s.sqrt(sum((v * v for v in x[1:]), x[0] * x[0]))
        v = x.copy()
        v[0] = x[0] + s.where(s.less(x[0], s.number(0)), -length, length)  # at 0 as above it
        scale = s.number(2) / sum((e * e for e in v[1:]), v[0] * v[0])
        w = _scaled(v, scale)
        # what has nothing below its diagonal is left alone
        done = reduce(s.logical_and, (s.equal(e, s.number(0)) for e in x[1:]))
        choose = np.frompyfunc(lambda old, new, done=done: s.where(done, old, new), 2, 1)
        r[k:] = choose(r[k:], r[k:] - w[:, None] * (v[:, None] * r[k:]).sum(0))
        q[:, k:] = choose(q[:, k:], q[:, k:] - (q[:, k:] * v).sum(1)[:, None] * w)
    i, j = np.indices(r.shape)
    return q[:, :count], np.where(i <= j, r, s.number(0))[:count]


# --- the meanings -------------------------------------------------------------------------------------------


def solve(s: Any, a: Array, b: Array) -> Array:
    return each(lambda p, q: _solve(s, p, q), b.shape[-2:], a, b)


def solve_triangular(s: Any, a: Array, b: Array, *, lower: bool, unit: bool) -> Array:
    return each(lambda p, q: _substitute(s, p, q, lower, unit), b.shape[-2:], a, b)


def inv(s: Any, a: Array) -> Array:
    return each(lambda p: _inv(s, p), a.shape[-2:], a)


def det(s: Any, a: Array) -> Array:
    return each(lambda p: _det(s, p), (), a)


def cofactor(s: Any, a: Array) -> Array:
    return each(lambda p: _cofactor(s, p), a.shape[-2:], a)


def det_sign(s: Any, a: Array) -> Array:
    return each(lambda p: s.sign(_det(s, p)), (), a)


def log_abs_det(s: Any, a: Array) -> Array:
    return each(lambda p: s.log(s.abs(_det(s, p))), (), a)


def pinv(s: Any, a: Array, *, rcond: float) -> Array:
    """Of matrices of full rank."""

    def one(p: Matrix) -> Matrix:
        if len(p) >= p.shape[1]:
            return _solve(s, _product(s, p.T, p), p.T)
        return _solve(s, _product(s, p, p.T), p).T

    return each(one, a.shape[:-3:-1], a)


def cholesky(s: Any, a: Array) -> Array:
    return each(lambda p: _cholesky(s, p), a.shape[-2:], a)


def eigvalsh(s: Any, a: Array, *, lower: bool) -> Array:
    return each(lambda p: np.array(_eigenvalues(s, _symmetric(p, lower)), object), a.shape[-1:], a)


def eigh_vectors(s: Any, a: Array, *, lower: bool) -> Array:
    return each(lambda p: _eigenvectors(s, _symmetric(p, lower)), a.shape[-2:], a)


def svdvals(s: Any, a: Array) -> Array:
    return each(lambda p: _singular(s, p)[1], (min(a.shape[-2:]),), a)


def svd_vectors(s: Any, a: Array) -> Array:
    rows, columns = a.shape[-2:]
    return each(lambda p: np.concatenate(_singular(s, p)[::2]), (rows + columns, min(rows, columns)), a)


def qr_q(s: Any, a: Array) -> Array:
    rows, columns = a.shape[-2:]
    return each(lambda p: _qr(s, p)[0], (rows, min(rows, columns)), a)


def qr_r(s: Any, a: Array) -> Array:
    rows, columns = a.shape[-2:]
    return each(lambda p: _qr(s, p)[1], (min(rows, columns), columns), a)
