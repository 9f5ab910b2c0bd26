"""Reductions in registers: what they start from, how they combine, how lanes and totals come together."""

from __future__ import annotations

from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.values import F32, F64, DType, Value
from graphc.kernels import Fold, fold_identity


def wide(fold: Fold, dtype: DType) -> DType:
    """The dtype of a reduction's total: sums of single precision are added up in double."""
    return F64 if dtype == F32 and fold in ("sum", "prod") else dtype


def identity(e: Emitter, fold: Fold, dtype: DType, lanes: int) -> Value:
    """What changes nothing, in every lane."""
    return e.const(fold_identity(fold, dtype), dtype, lanes)


def combine(e: Emitter, fold: Fold, a: Value, b: Value) -> Value:
    """Two partial results as one."""
    match fold:
        case "sum":
            return a + b
        case "prod":
            return a * b
        case "any":
            return a | b
        case "all":
            return a & b
        case "max":
            return e.maximum(a, b)
        case _:
            return e.minimum(a, b)


def across(e: Emitter, fold: Fold, vector: Value) -> Value:
    """All lanes as one, in a fixed order: halves upon halves."""
    while vector.lanes > 1:
        half = vector.lanes // 2
        if half == 1:
            low, high = e.lane(vector, 0), e.lane(vector, 1)
        else:
            low, high = (e.shuffle(vector, None, range(first, first + half)) for first in (0, half))
        vector = combine(e, fold, low, high)
    return vector


def folded(e: Emitter, fold: Fold, total: Value, rest: Value, dtype: DType) -> Value:
    """The result of a reduction, from its total and the rounding errors of it."""
    if fold == "sum" and total.dtype == F64 and not _is_zero(rest):
        # where the total has overflowed, the errors are no numbers
        exact = total + rest
        total = e.select(e.is_nan(exact), total, exact)
    return e.convert(total, dtype)


def added(e: Emitter, fold: Fold, vector: Value, total: Value, rest: Value) -> tuple[Value, Value]:
    """A vector of partial folds brought into the total; `rest` is what sums have lost by rounding."""
    x = e.convert(across(e, fold, vector), total.dtype)
    if fold != "sum" or total.dtype != F64:
        return combine(e, fold, total, x), rest
    if _is_zero(total) and _is_zero(rest):
        return total + x, rest  # nothing is lost
    # the error of a sum is a float: D. E. Knuth, The Art of Computer Programming 2, section 4.2.2
    new = total + x
    back = new - total
    error = (total - (new - back)) + (x - back)
    return new, rest + error


def _is_zero(value: Value) -> bool:
    """Whether a scalar is known to be zero."""
    return value.text == value.emitter.const(0, value.dtype, 1).text


def joined(e: Emitter, fold: Fold, first: tuple[Value, Value], second: tuple[Value, Value]) -> tuple[Value, Value]:
    """Two totals as one, each with what it has lost by rounding."""
    total, rest = added(e, fold, second[0], *first)
    return total, rest + second[1] if fold == "sum" and total.dtype == F64 else rest
