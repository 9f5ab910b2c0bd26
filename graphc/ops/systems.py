"""Systems of linear equations, inverses and determinants, of stacks of matrices.

Derivatives are those of M. B. Giles, "An extended collection of matrix derivative results for forward and reverse mode
algorithmic differentiation", 2008, but where another source is given.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.ir import TensorType, Type
from graphc.ops import exact_matrices as exact
from graphc.ops.batching import leading, lined_up
from graphc.ops.contraction import swap
from graphc.ops.matrices import (
    INT,
    NO_MATRIX,
    NOT_SQUARE,
    alike,
    as_column,
    diagonal_of,
    matrices,
    number_of,
    numbered,
    projected,
    system,
    total,
    triangle,
)
from graphc.ops.record import ErrorSample, Jvp, Op, Reason, Sample
from graphc.ops.typing import Facts
from graphc.ops.work import elimination, inversion, pseudo_inversion, solution, substitution

NO_TANGENT: Final[dict[str, Reason]] = {"rule": "integer or boolean result: no tangent"}


def pinv_type(facts: Facts, a: Type, *, rcond: float) -> TensorType:
    x = matrices("pinv", a)
    return TensorType((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)


def _side(w: Any, y: Any, ta: Any, tb: Any) -> Any:
    """The right-hand side whose solution is the tangent of a solution: tb - ta y."""
    if ta is None:
        return tb
    product = w.matmul(ta, y)
    return -product if tb is None else tb - product


def solve_jvp(w: Any, y: Any, operands: Any, tangents: Any) -> Any:
    return w.solve(operands[0], _side(w, y, *tangents))


def solve_transpose(w: Any, ct: Any, a: Any, b: Any) -> Any:
    return None, w.unbroadcast(w.solve(swap(w, a), ct), b.shape)


def solve_triangular_jvp(w: Any, y: Any, operands: Any, tangents: Any, *, lower: bool, unit: bool) -> Any:
    ta, tb = tangents
    kept = None if ta is None else triangle(w, ta, lower, diagonal=not unit)
    return w.solve_triangular(operands[0], _side(w, y, kept, tb), lower=lower, unit=unit)


def solve_triangular_transpose(w: Any, ct: Any, a: Any, b: Any, *, lower: bool, unit: bool) -> Any:
    return None, w.unbroadcast(w.solve_triangular(swap(w, a), ct, lower=not lower, unit=unit), b.shape)


def inv_jvp(w: Any, y: Any, operands: Any, tangents: Any) -> Any:
    return -w.matmul(w.matmul(y, tangents[0]), y)


def det_jvp(w: Any, y: Any, operands: Any, tangents: Any) -> Any:
    return total(w, w.cofactor(operands[0]) * tangents[0])


def cofactor_jvp(w: Any, y: Any, operands: Any, tangents: Any) -> Any:
    (a,), (t,) = operands, tangents
    size = a.shape[-1]
    if size in (0, 1):
        return None
    if size == 2:
        # [[d, -c], [-b, a]]
        order = w.constant(np.array([1, 0]), INT)
        turned = w.gather(w.gather(t, order, axis=t.ndim - 1), order, axis=t.ndim - 2)
        i, j = numbered(w, 2, 2)
        return w.select(i == j, turned, -turned)
    if size == 3:
        # the rows are cross products of the other two rows, in turn
        rows = [(_row(w, a, k), _row(w, t, k)) for k in range(3)]
        parts = []
        for k in range(3):
            (p, dp), (q, dq) = rows[(k + 1) % 3], rows[(k + 2) % 3]
            parts.append(_cross(w, dp, q) + _cross(w, p, dq))
        return w.concatenate(*parts, axis=a.ndim - 2)
    # of det(a) inv(a).T
    relative = diagonal_of(w, w.solve(a, t))
    trace = w.reduce_sum(relative, axes=(relative.ndim - 1,), keepdims=True)
    turned = w.solve(swap(w, a), w.matmul(swap(w, t), y))
    return y * as_column(w, trace) - turned


def _row(w: Any, x: Any, k: int) -> Any:
    index = (*((0, d, 1) for d in x.shape[:-2]), (k, k + 1, 1), (0, 3, 1))
    return w.slice(x, index=index)


def _cross(w: Any, p: Any, q: Any) -> Any:
    one, two = (w.constant(np.array(k), INT) for k in ([1, 2, 0], [2, 0, 1]))
    p1, p2, q1, q2 = (w.gather(x, k, axis=x.ndim - 1) for x in (p, q) for k in (one, two))
    return p1 * q2 - p2 * q1


def log_abs_det_jvp(w: Any, y: Any, operands: Any, tangents: Any) -> Any:
    return total(w, swap(w, w.inv(operands[0])) * tangents[0])


def pinv_jvp(w: Any, y: Any, operands: Any, tangents: Any, *, rcond: float) -> Any:
    """G. H. Golub and V. Pereyra, SIAM J. Numer. Anal. 10 (1973), eq. 4.12: for changes that keep the rank."""
    (a,), (t,) = operands, tangents
    turned = swap(w, t)
    rows, columns = a.shape[-2:]
    below = w.matmul(turned, projected(w, a, y, rows))
    beside = w.matmul(projected(w, y, a, columns), turned)
    gram, outer = w.matmul(y, swap(w, y)), w.matmul(swap(w, y), y)
    return w.matmul(gram, below) + w.matmul(beside, outer) - w.matmul(w.matmul(y, t), y)


ONE: Final = np.array([[-1.5]])
TWO: Final = np.array([[2.0, 0.5], [-0.25, 1.5]])
THREE: Final = np.array([[2.0, 0.5, -0.25], [0.75, -1.5, 0.5], [0.5, -0.5, 1.25]])
STACK: Final = np.array([[[1.0, 0.25], [0.5, -2.0]], [[0.5, 2.0], [-1.0, 0.25]]])
SINGULAR: Final = np.array([[1.0, 2.0, 0.5], [0.5, -1.0, -1.0], [1.5, 1.0, -0.5]])
SQUARES: Final = (*(Sample((a,)) for a in (ONE, TWO, THREE, STACK)), Sample(((2, 2),)), Sample(((0, 0),)))

SYSTEM_ERRORS: Final = (
    ErrorSample(("f64[2,3]", "f64[2,1]"), {}, ShapeError, "must be square"),
    ErrorSample(("f64[2,2]", "f64[3,1]"), {}, ShapeError, "another number of rows"),
    ErrorSample(("f64[2,2]", "f64[2]"), {}, ShapeError, "must be a matrix"),
    ErrorSample(("f64[2,2]", "f32[2,1]"), {}, DTypeError, "differ in dtype"),
    ErrorSample(("i64[2,2]", "i64[2,1]"), {}, DTypeError, "not defined for i64"),
    ErrorSample(("f64[3,2,2]", "f64[2,2,1]"), {}, ShapeError, "do not broadcast"),
)


def with_attrs(samples: tuple[ErrorSample, ...], **attrs: Any) -> tuple[ErrorSample, ...]:
    """The same refusals of an op that has attributes."""
    return tuple(ErrorSample(one.operands, attrs, one.error, one.words) for one in samples)


OPS = (
    Op(
        "solve",
        type=system("solve"),
        numpy="np.linalg.solve({0}, {1})",
        work=solution,
        exact=exact.solve,
        rule=Jvp(solve_jvp, linear=(1,), transpose=solve_transpose),
        batch=lined_up(2, 2),
        domains=("real", "real"),
        samples=(
            Sample((TWO, (2, 2))),
            Sample((THREE, (3, 1))),
            Sample((STACK, (2, 1))),
            Sample((TWO, (2, 2, 1))),
            Sample(((0, 0), (0, 2))),
        ),
        errors=SYSTEM_ERRORS,
        ulps=16,
        doc="The solutions x of a x = b by elimination with pivots: a square matrix, right-hand sides as columns.",
    ),
    Op(
        "solve_triangular",
        type=lambda facts, a, b, *, lower, unit: system("solve_triangular")(facts, a, b),
        numpy="nk.solve_triangular({0}, {1}, {lower}, {unit})",
        work=substitution,
        exact=exact.solve_triangular,
        rule=Jvp(solve_triangular_jvp, linear=(1,), transpose=solve_triangular_transpose),
        batch=lined_up(2, 2),
        domains=("real", "real"),
        samples=(
            Sample((THREE, (3, 2)), {"lower": True, "unit": False}),
            Sample((TWO, (2, 1)), {"lower": False, "unit": False}),
            Sample((TWO, (2, 2)), {"lower": True, "unit": True}),
            Sample((STACK, (2, 1)), {"lower": False, "unit": True}),
            Sample((TWO, (2, 2, 1)), {"lower": False, "unit": False}),
            Sample(((0, 0), (0, 1)), {"lower": True, "unit": False}),
        ),
        errors=with_attrs(SYSTEM_ERRORS, lower=True, unit=False),
        ulps=16,
        doc="The solutions x of a x = b, where a is one triangle of a matrix, with ones on its diagonal if `unit`.",
    ),
    Op(
        "inv",
        type=alike("inv"),
        numpy="np.linalg.inv({0})",
        work=inversion,
        exact=exact.inv,
        rule=Jvp(inv_jvp),
        batch=leading,
        domains=("real",),
        samples=SQUARES,
        errors=NOT_SQUARE,
        ulps=16,
        doc="The inverse of a square matrix.",
    ),
    Op(
        "pinv",
        type=pinv_type,
        numpy="np.linalg.pinv({0}, rcond={rcond})",
        work=pseudo_inversion,
        exact=exact.pinv,
        rule=Jvp(pinv_jvp),
        batch=leading,
        domains=("real",),
        samples=(
            Sample((TWO,), {"rcond": 1e-15}),
            Sample((THREE[:2, :1],), {"rcond": 1e-15}),
            Sample((THREE[:1],), {"rcond": 1e-15}),
            Sample((STACK[:, :, :1],), {"rcond": 1e-15}),
        ),
        errors=with_attrs(NO_MATRIX, rcond=1e-15),
        kinks=(0.0,),
        ulps=16,
        doc="The Moore-Penrose inverse; singular values up to `rcond` times the largest count as 0.",
    ),
    Op(
        "det",
        type=number_of("det"),
        numpy="np.linalg.det({0})",
        work=elimination,
        exact=exact.det,
        rule=Jvp(det_jvp),
        batch=leading,
        domains=("real",),
        samples=(*SQUARES, Sample((SINGULAR,)), Sample(((4, 4),))),
        errors=NOT_SQUARE,
        ulps=16,
        doc="The determinant of a square matrix.",
    ),
    Op(
        "cofactor",
        type=alike("cofactor"),
        numpy="nk.cofactor({0})",
        work=inversion,
        exact=exact.cofactor,
        rule=Jvp(cofactor_jvp),
        batch=leading,
        domains=("real",),
        samples=(*(Sample((a,)) for a in (ONE, TWO, THREE, STACK, SINGULAR)), Sample(((0, 0),))),
        errors=NOT_SQUARE,
        ulps=16,
        doc="The cofactors of a square matrix, the derivatives of its determinant by its elements: det(a) inv(a).T.",
    ),
    Op(
        "det_sign",
        type=number_of("det_sign", INT),
        numpy="np.linalg.slogdet({0})[0].astype(np.int64)",
        work=elimination,
        exact=exact.det_sign,
        batch=leading,
        domains=("real",),
        samples=SQUARES,
        errors=NOT_SQUARE,
        reasons=NO_TANGENT,
        doc="The sign of the determinant of a square matrix: 1, 0 or -1.",
    ),
    Op(
        "log_abs_det",
        type=number_of("log_abs_det"),
        numpy="np.linalg.slogdet({0})[1]",
        work=elimination,
        exact=exact.log_abs_det,
        rule=Jvp(log_abs_det_jvp),
        batch=leading,
        domains=("real",),
        samples=SQUARES,
        errors=NOT_SQUARE,
        ulps=16,
        doc="The logarithm of the size of the determinant of a square matrix.",
    ),
)
