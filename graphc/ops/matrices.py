"""Stacks of matrices: type rules, and what the derivative rules of linear algebra are built of."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.errors import DTypeError, ShapeError
from graphc.ir import TensorType, Type
from graphc.ops.contraction import swap
from graphc.ops.record import ErrorSample
from graphc.ops.typing import Facts, broadcast, check_kind, tensor

INT: Final = np.dtype(np.int64)


def matrices(op: str, operand: Type) -> TensorType:
    """The type of a stack of float matrices; LAPACK has no half precision."""
    x = tensor(operand, op)
    check_kind(op, x, "f")
    if x.dtype.itemsize == 2:
        raise DTypeError(
            f"{op}: not defined for f16", expected="f32 or f64", actual=repr(x), fix="x.astype(np.float32)"
        )
    if x.ndim < 2:
        raise ShapeError(
            f"{op}: the operand must be a matrix, or a stack of them", expected="at least 2 axes", actual=repr(x)
        )
    return x


def square(facts: Facts, op: str, operand: Type) -> TensorType:
    """The type of a stack of square float matrices."""
    x = matrices(op, operand)
    if not facts.equal(x.shape[-1], x.shape[-2]):
        raise ShapeError(
            f"{op}: the matrix must be square",
            expected="x.shape[-1] == x.shape[-2]",
            actual=f"{x.shape[-2]} rows, {x.shape[-1]} columns",
        )
    return x


def alike(op: str) -> Any:
    """The type rule of what gives a square matrix for a square matrix."""
    return lambda facts, a: TensorType(square(facts, op, a).shape, a.dtype)


def number_of(op: str, dtype: np.dtype[Any] | None = None) -> Any:
    """The type rule of what gives a number for a square matrix."""
    return lambda facts, a: TensorType(square(facts, op, a).shape[:-2], dtype or a.dtype)


def system(op: str) -> Any:
    """The type rule of solutions: a square matrix and right-hand sides as columns, in stacks that broadcast."""

    def rule(facts: Facts, left: Type, right: Type) -> TensorType:
        a, b = square(facts, op, left), matrices(op, right)
        if a.dtype != b.dtype:
            raise DTypeError(f"{op}: operands differ in dtype", actual=f"{a!r} and {b!r}")
        if not facts.equal(a.shape[-1], b.shape[-2]):
            raise ShapeError(
                f"{op}: the right-hand side has another number of rows than the matrix",
                expected="b.shape[-2] == a.shape[-1]",
                actual=f"{b.shape[-2]} != {a.shape[-1]}",
            )
        return TensorType((*broadcast(facts, op, a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), a.dtype)

    return rule


def smaller(x: TensorType) -> Size:
    """The smaller size of a matrix."""
    return dims.minimum(*x.shape[-2:])


NO_MATRIX: Final = (
    ErrorSample(("i64[2,2]",), {}, DTypeError, "not defined for i64"),
    ErrorSample(("f16[2,2]",), {}, DTypeError, "not defined for f16"),
    ErrorSample(("f64[2]",), {}, ShapeError, "must be a matrix"),
)
NOT_SQUARE: Final = (*NO_MATRIX, ErrorSample(("f64[2,3]",), {}, ShapeError, "must be square"))


def numbered(w: Any, rows: Size, columns: Size) -> tuple[Any, Any]:
    """The numbers of rows and columns, to compare."""
    return (
        w.reshape(w.iota(size=rows, dtype=INT), shape=(rows, 1)),
        w.reshape(w.iota(size=columns, dtype=INT), shape=(1, columns)),
    )


def triangle(w: Any, x: Any, lower: bool, diagonal: bool = True) -> Any:
    """One triangle of x, zeros elsewhere."""
    i, j = numbered(w, *x.type.shape[-2:])
    kept = (i >= j if diagonal else i > j) if lower else (i <= j if diagonal else i < j)
    return w.select(kept, x, 0)


def mirrored(w: Any, x: Any, lower: bool) -> Any:
    """The symmetric matrix that has one triangle of x."""
    return triangle(w, x, lower) + swap(w, triangle(w, x, lower, diagonal=False))


def halved(w: Any, x: Any) -> Any:
    """The lower triangle of x, half of its diagonal."""
    i, j = numbered(w, *x.shape[-2:])
    return w.select(i > j, x, w.select(i == j, x * 0.5, 0))


def diagonal_of(w: Any, x: Any) -> Any:
    """The diagonal of square matrices."""
    i, j = numbered(w, *x.shape[-2:])
    return w.reduce_sum(w.select(i == j, x, 0), axes=(x.ndim - 1,), keepdims=False)


def total(w: Any, x: Any) -> Any:
    """The sum of each matrix's elements."""
    return w.reduce_sum(x, axes=(x.ndim - 2, x.ndim - 1), keepdims=False)


def as_row(w: Any, x: Any) -> Any:
    """Vectors as matrices of one row."""
    return w.reshape(x, shape=(*x.shape[:-1], 1, x.shape[-1]))


def as_column(w: Any, x: Any) -> Any:
    """Vectors as matrices of one column."""
    return w.reshape(x, shape=(*x.shape, 1))


def gaps(w: Any, squares: Any) -> Any:
    """1 / (x_j - x_i) for the numbers x of each row, 0 on the diagonal; inf where two are equal."""
    apart = as_row(w, squares) - as_column(w, squares)
    i, j = numbered(w, *apart.shape[-2:])
    return w.select(i == j, 0, 1 / w.select(i == j, 1, apart))


def projected(w: Any, p: Any, q: Any, size: Size) -> Any:
    """1 - p q."""
    i, j = numbered(w, size, size)
    product = w.matmul(p, q)
    return w.select(i == j, 1 - product, -product)
