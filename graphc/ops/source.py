"""Ops without differentiable operands: constants, sizes, index ranges, pi."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from graphc.dims import Size
from graphc.errors import DTypeError
from graphc.ir import Constant, TensorType
from graphc.ops.record import ErrorSample, Op, Reason, Sample
from graphc.ops.typing import Facts

NO_OPERANDS: Final[Mapping[str, Reason]] = {
    "rule": "no operands",
    "batch": "no operands",
    "domains": "no operands",
    "errors": "any input is accepted",
}


def const_type(facts: Facts, *, value: Constant, weak: bool) -> TensorType:
    return TensorType(value.shape, value.dtype, weak)


def dim_type(facts: Facts, *, size: Size) -> TensorType:
    return TensorType((), np.dtype(np.int64), weak=True)


def iota_type(facts: Facts, *, size: Size, dtype: np.dtype[Any]) -> TensorType:
    return TensorType((size,), dtype)


def pi_type(facts: Facts, *, dtype: np.dtype[Any]) -> TensorType:
    if dtype.kind != "f":
        raise DTypeError("pi: needs a float dtype", actual=str(dtype))
    return TensorType((), dtype)


OPS = (
    Op(
        "const",
        type=const_type,
        numpy="{value}",
        exact=lambda s, *, value, weak: s.array(value.array),
        doc="An array fixed when the graph was traced.",
        samples=(
            Sample((), {"value": Constant(np.array([1.5, -0.0])), "weak": False}),
            Sample((), {"value": Constant(2.0), "weak": True}),
        ),
        reasons=NO_OPERANDS,
    ),
    Op(
        "dim",
        type=dim_type,
        numpy="np.int64({size})",
        exact=lambda s, *, size: s.array(np.asarray(size)),
        doc="A symbolic size as a weak int64 scalar.",
        samples=(Sample((), {"size": 3}),),
        reasons=NO_OPERANDS,
    ),
    Op(
        "iota",
        type=iota_type,
        numpy="np.arange({size}, dtype={dtype})",
        exact=lambda s, *, size, dtype: s.array(np.arange(size)),
        doc="0, 1, ..., size - 1.",
        samples=(
            Sample((), {"size": 4, "dtype": np.dtype(np.int64)}),
            Sample((), {"size": 0, "dtype": np.dtype(np.float32)}),
        ),
        reasons=NO_OPERANDS,
    ),
    Op(
        "pi",
        type=pi_type,
        numpy="{dtype}.type(np.pi)",
        exact=lambda s, *, dtype: s.array(s.pi()),
        doc="The circle constant, exact in proofs and rounded to the dtype in runs.",
        samples=(Sample((), {"dtype": np.dtype(np.float64)}), Sample((), {"dtype": np.dtype(np.float32)})),
        reasons={"rule": "no operands", "batch": "no operands", "domains": "no operands"},
        errors=(ErrorSample((), {"dtype": np.dtype(np.int64)}, DTypeError, "needs a float"),),
    ),
)
