"""Factorisations of stacks of matrices: Cholesky's, eigenvalues of symmetric matrices, singular values, QR.

What NumPy gives in pairs are two ops here, each with one result: values, which cost a part of what vectors do, and
vectors. Derivatives are those of M. B. Giles, "An extended collection of matrix derivative results for forward and
reverse mode algorithmic differentiation", 2008, but where another source is given.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from graphc.dims import Size
from graphc.ir import TensorType, Type
from graphc.ops import exact_matrices as exact
from graphc.ops.batching import leading
from graphc.ops.contraction import swap
from graphc.ops.matrices import (
    NO_MATRIX,
    NOT_SQUARE,
    alike,
    as_column,
    as_row,
    gaps,
    halved,
    matrices,
    mirrored,
    projected,
    smaller,
    square,
    triangle,
)
from graphc.ops.record import Jvp, Op, Sample
from graphc.ops.systems import with_attrs
from graphc.ops.typing import Facts
from graphc.ops.work import eigenvalues, eigenvectors, orthogonal, singular_values, singular_vectors, square_root


def eigvalsh_type(facts: Facts, a: Type, *, lower: bool) -> TensorType:
    x = square(facts, "eigvalsh", a)
    return TensorType(x.shape[:-1], x.dtype)


def svdvals_type(facts: Facts, a: Type) -> TensorType:
    x = matrices("svdvals", a)
    return TensorType((*x.shape[:-2], smaller(x)), x.dtype)


def svd_vectors_type(facts: Facts, a: Type) -> TensorType:
    x = matrices("svd_vectors", a)
    return TensorType((*x.shape[:-2], x.shape[-2] + x.shape[-1], smaller(x)), x.dtype)


def qr_q_type(facts: Facts, a: Type) -> TensorType:
    x = matrices("qr_q", a)
    return TensorType((*x.shape[:-1], smaller(x)), x.dtype)


def qr_r_type(facts: Facts, a: Type) -> TensorType:
    x = matrices("qr_r", a)
    return TensorType((*x.shape[:-2], smaller(x), x.shape[-1]), x.dtype)


def cholesky_jvp(w: Any, y: Any, operands: Any, tangents: Any) -> Any:
    """I. Murray, "Differentiation of the Cholesky decomposition", 2016: forward mode, eq. 8."""
    left = w.solve_triangular(y, mirrored(w, tangents[0], lower=True), lower=True, unit=False)
    both = swap(w, w.solve_triangular(y, swap(w, left), lower=True, unit=False))
    return w.matmul(y, halved(w, both))


def eigvalsh_jvp(w: Any, y: Any, operands: Any, tangents: Any, *, lower: bool) -> Any:
    vectors = w.eigh_vectors(operands[0], lower=lower)
    moved = w.matmul(mirrored(w, tangents[0], lower), vectors)
    return w.reduce_sum(vectors * moved, axes=(vectors.ndim - 2,), keepdims=False)


def eigh_vectors_jvp(w: Any, y: Any, operands: Any, tangents: Any, *, lower: bool) -> Any:
    values = w.eigvalsh(operands[0], lower=lower)
    turned = w.matmul(swap(w, y), w.matmul(mirrored(w, tangents[0], lower), y))
    return w.matmul(y, gaps(w, values) * turned)


def _halves(w: Any, both: Any, rows: Size) -> tuple[Any, Any]:
    """Left and right singular vectors."""
    lead = tuple((0, d, 1) for d in both.shape[:-2])
    columns = (0, both.shape[-1], 1)
    ends = (0, rows, 1), (rows, both.shape[-2], 1)
    left, right = (w.slice(both, index=(*lead, end, columns)) for end in ends)
    return left, right


def svdvals_jvp(w: Any, y: Any, operands: Any, tangents: Any) -> Any:
    u, v = _halves(w, w.svd_vectors(operands[0]), operands[0].shape[-2])
    return w.reduce_sum(u * w.matmul(tangents[0], v), axes=(u.ndim - 2,), keepdims=False)


def svd_vectors_jvp(w: Any, y: Any, operands: Any, tangents: Any) -> Any:
    """J. Townsend, "Differentiating the Singular Value Decomposition", 2016."""
    (a,), (t,) = operands, tangents
    s = w.svdvals(a)
    u, v = _halves(w, y, a.shape[-2])
    row, column = as_row(w, s), as_column(w, s)
    core = w.matmul(swap(w, u), w.matmul(t, v))
    scale = gaps(w, s * s)
    du = w.matmul(u, scale * (core * row + column * swap(w, core)))
    dv = w.matmul(v, scale * (column * core + swap(w, core) * row))
    rows, columns = a.shape[-2:]
    count = s.shape[-1]
    if rows != count:
        du = du + w.matmul(projected(w, u, swap(w, u), rows), w.matmul(t, v)) / row
    if columns != count:
        dv = dv + w.matmul(projected(w, v, swap(w, v), columns), w.matmul(swap(w, t), u)) / row
    return w.concatenate(du, dv, axis=y.ndim - 2)


def _turning(w: Any, q: Any, r: Any, t: Any) -> tuple[Any, Any]:
    """For the first, square part of a matrix: t times the inverse of r, and q.T dq, which is antisymmetric."""
    count = r.shape[-2]
    lead = tuple((0, d, 1) for d in r.shape[:-2])
    first = w.slice(r, index=(*lead, (0, count, 1), (0, count, 1)))
    moved = w.slice(t, index=(*lead, (0, t.shape[-2], 1), (0, count, 1)))
    # t inv(r), by a lower triangular system of the transposes
    relative = swap(w, w.solve_triangular(swap(w, first), swap(w, moved), lower=True, unit=False))
    below = triangle(w, w.matmul(swap(w, q), relative), lower=True, diagonal=False)
    return relative, below - swap(w, below)


def qr_q_jvp(w: Any, y: Any, operands: Any, tangents: Any) -> Any:
    """S. F. Walter, L. Lehmann, R. Lamour, "On evaluating higher-order derivatives of the QR decomposition", 2012."""
    relative, turn = _turning(w, y, w.qr_r(operands[0]), tangents[0])
    turned = w.matmul(y, turn)
    if y.shape[-2] == y.shape[-1]:
        return turned
    return turned + w.matmul(projected(w, y, swap(w, y), y.shape[-2]), relative)


def qr_r_jvp(w: Any, y: Any, operands: Any, tangents: Any) -> Any:
    q = w.qr_q(operands[0])
    _, turn = _turning(w, q, y, tangents[0])
    return triangle(w, w.matmul(swap(w, q), tangents[0]) - w.matmul(turn, y), lower=False)


ONE: Final = np.array([[2.25]])
# positive definite by their lower triangles, which alone are read
DEFINITE: Final = np.array([[4.0, 9.0], [1.0, 2.25]])
DEFINITE3: Final = np.array([[4.0, 0.0, 7.0], [1.0, 2.25, 0.0], [-0.5, 0.5, 1.5]])
# with the signs of eigenvectors and singular vectors that LAPACK gives
SYMMETRIC: Final = np.array([[3.0, 1.0], [1.25, 0.5]])
TALL: Final = np.array([[2.0, 0.5], [-0.25, 1.5], [0.5, 1.0]])

# stacks of more than a few elements: in small ones all are tried at 0 and at 1 too, where vectors are anybody's choice
COLUMNS: Final = np.array([[[1.5], [2.0]], [[0.5], [1.0]], [[3.0], [0.25]], [[1.0], [-2.0]]])
SYMMETRICS: Final = np.stack([SYMMETRIC, 2 * SYMMETRIC + np.diag([2.0, 0.5])])

OPS = (
    Op(
        "cholesky",
        type=alike("cholesky"),
        numpy="np.linalg.cholesky({0})",
        work=square_root,
        exact=exact.cholesky,
        rule=Jvp(cholesky_jvp),
        batch=leading,
        domains=("positive",),
        samples=(
            *(Sample(((1, 1),)), Sample((DEFINITE,)), Sample((DEFINITE3,))),
            *(Sample((np.stack([DEFINITE, DEFINITE3[:2, :2]]),)), Sample(((0, 0),))),
        ),
        errors=NOT_SQUARE,
        ulps=16,
        doc="The lower triangular l with l l.T = a of a positive definite matrix, of which the lower triangle is read.",
    ),
    Op(
        "eigvalsh",
        type=eigvalsh_type,
        numpy="np.linalg.eigvalsh({0}, UPLO='L' if {lower} else 'U')",
        work=eigenvalues,
        exact=exact.eigvalsh,
        rule=Jvp(eigvalsh_jvp),
        batch=leading,
        domains=("real",),
        samples=(
            *(Sample((ONE,), {"lower": True}), Sample((DEFINITE,), {"lower": True})),
            *(Sample((DEFINITE,), {"lower": False}), Sample((np.stack([SYMMETRIC] * 2),), {"lower": True})),
        ),
        errors=with_attrs(NOT_SQUARE, lower=True),
        ulps=16,
        doc="The eigenvalues of a symmetric matrix, of which one triangle is read, in ascending order.",
    ),
    Op(
        "eigh_vectors",
        type=lambda facts, a, *, lower: alike("eigh_vectors")(facts, a),
        numpy="nk.eigh_vectors({0}, {lower})",
        work=eigenvectors,
        exact=exact.eigh_vectors,
        rule=Jvp(eigh_vectors_jvp),
        batch=leading,
        domains=("real",),
        samples=(*(Sample((SYMMETRICS,), {"lower": True}), Sample((SYMMETRICS,), {"lower": False})),),
        errors=with_attrs(NOT_SQUARE, lower=True),
        ulps=16,
        doc="Orthonormal eigenvectors of a symmetric matrix, as columns in the order of `eigvalsh`.",
    ),
    Op(
        "svdvals",
        type=svdvals_type,
        numpy="np.linalg.svd({0}, compute_uv=False)",
        work=singular_values,
        exact=exact.svdvals,
        rule=Jvp(svdvals_jvp),
        batch=leading,
        domains=("real",),
        samples=(
            Sample((SYMMETRIC,)),
            Sample((TALL,)),
            Sample((TALL.T[:1],)),
            Sample((np.stack([TALL.T[:, :1]] * 2),)),
        ),
        kinks=(0.0,),
        errors=NO_MATRIX,
        ulps=16,
        doc="The singular values of a matrix, in descending order.",
    ),
    Op(
        "svd_vectors",
        type=svd_vectors_type,
        numpy="nk.svd_vectors({0})",
        work=singular_vectors,
        exact=exact.svd_vectors,
        rule=Jvp(svd_vectors_jvp),
        batch=leading,
        domains=("real",),
        samples=(Sample(((4, 2, 1),)), Sample((np.swapaxes(COLUMNS, 1, 2) * [-1, 1],))),
        errors=NO_MATRIX,
        kinks=(0.0,),
        ulps=16,
        doc="Left singular vectors above the right ones they belong to, as columns in the order of `svdvals`.",
    ),
    Op(
        "qr_q",
        type=qr_q_type,
        numpy="np.linalg.qr({0})[0]",
        work=orthogonal,
        exact=exact.qr_q,
        rule=Jvp(qr_q_jvp),
        batch=leading,
        domains=("real",),
        samples=(Sample((SYMMETRIC,)), Sample((TALL[:, :1],)), Sample((TALL[1:2],)), Sample(((4, 2, 1),))),
        errors=NO_MATRIX,
        ulps=16,
        doc="The orthonormal columns q of the factorisation a = q r.",
    ),
    Op(
        "qr_r",
        type=qr_r_type,
        numpy="np.linalg.qr({0}, mode='r')",
        work=orthogonal,
        exact=exact.qr_r,
        rule=Jvp(qr_r_jvp),
        batch=leading,
        domains=("real",),
        samples=(Sample((SYMMETRIC,)), Sample((TALL[:, :1],)), Sample((TALL[1:2],)), Sample(((4, 2, 1),))),
        errors=NO_MATRIX,
        ulps=16,
        doc="The upper triangular r of the factorisation a = q r with orthonormal columns q.",
    ),
)
