"""Matrix products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphc.dims import Size
from graphc.errors import DTypeError, ShapeError
from graphc.ir import TensorType, Type
from graphc.ops.batching import lined_up
from graphc.ops.record import ErrorSample, Multilinear, Op, Sample
from graphc.ops.typing import Facts, broadcast, check_kind, tensor
from graphc.ops.work import matrix_product


def matmul_type(facts: Facts, left: Type, right: Type) -> TensorType:
    a, b = tensor(left, "matmul"), tensor(right, "matmul")
    check_kind("matmul", a, "iuf")
    if a.dtype != b.dtype:
        raise DTypeError("matmul: operands differ in dtype", actual=f"{a!r} and {b!r}")
    if a.ndim < 2 or b.ndim < 2:
        raise ShapeError("matmul: a node's operands are matrices", actual=f"{a!r} and {b!r}")
    if not facts.equal(a.shape[-1], b.shape[-2]):
        raise ShapeError(
            "matmul: inner sizes differ",
            expected="a.shape[-1] == b.shape[-2]",
            actual=f"{a.shape[-1]} != {b.shape[-2]}",
        )
    batch = broadcast(facts, "matmul", a.shape[:-2], b.shape[:-2])
    return TensorType((*batch, a.shape[-2], b.shape[-1]), a.dtype)


def swap(w: Any, x: Any) -> Any:
    return w.transpose(x, perm=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


STACKS: Final = lined_up(2, 2)


def matmul_rows(
    w: Any, name: str, size: Size, operands: Sequence[Any], batched: Sequence[bool], attrs: Mapping[str, Any]
) -> Any:
    """Where a matrix meets a batch, one product of more rows if that moves nothing; else a stack of products."""
    a, b = operands
    if not batched[1] and a.ndim == 3 and b.ndim == 2:
        rows, inner = a.shape[1:]
        found = w.matmul(w.reshape(a, shape=(size * rows, inner)), b)
        return w.reshape(found, shape=(size, rows, b.shape[1]))
    if not batched[0] and a.ndim == 2 and b.ndim == 3 and b.shape[2] == 1:
        # one column: the same as one row times the transpose
        found = w.matmul(w.reshape(b, shape=b.shape[:2]), swap(w, a))
        return w.reshape(found, shape=(size, a.shape[0], 1))
    return STACKS(w, name, size, operands, batched, attrs)


OPS = (
    Op(
        "matmul",
        type=matmul_type,
        numpy="np.matmul({0}, {1})",
        work=matrix_product,
        exact=lambda s, a, b: s.matmul(a, b),
        rule=Multilinear(
            lambda w, ct, a, b: w.unbroadcast(w.matmul(ct, swap(w, b)), a.shape),
            lambda w, ct, a, b: w.unbroadcast(w.matmul(swap(w, a), ct), b.shape),
        ),
        batch=matmul_rows,
        domains=("real", "real"),
        samples=(
            Sample(((2, 3), (3, 2))),
            Sample(((2, 2, 3), (3, 1))),
            Sample(((2, 1, 1, 2), (1, 3, 2, 2))),
            Sample(((2, 0), (0, 3))),
        ),
        errors=(
            ErrorSample(("f64[2,3]", "f64[4,2]"), {}, ShapeError, "inner sizes differ"),
            ErrorSample(("f64[3]", "f64[3,2]"), {}, ShapeError, "matrices"),
            ErrorSample(("f64[2,3]", "f32[3,2]"), {}, DTypeError, "differ in dtype"),
            ErrorSample(("f64[5,2,3]", "f64[4,3,2]"), {}, ShapeError, "do not broadcast"),
        ),
        ulps=16,
        doc="Matrix product of stacks of matrices, which broadcast.",
    ),
)
