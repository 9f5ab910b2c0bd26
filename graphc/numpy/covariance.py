"""Covariance and correlation."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import ShapeError
from graphc.numpy.checks import real_dtype
from graphc.numpy.diagonals import diag
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.elementwise import clip, maximum, sqrt
from graphc.numpy.products import matmul
from graphc.numpy.reductions import sum
from graphc.numpy.shaping import atleast, concatenate, squeeze

__all__ = [
    "corrcoef",
    "cov",
]


@traceable(np.cov)
def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    """The covariance of every pair of variables, whose observations lie along the rows, or columns if not `rowvar`."""
    world = common_world(m, y, fweights, aweights)
    if ddof is not None and ddof != int(ddof):
        raise ValueError("ddof must be integer")
    values = [strong(v, world) for v in (m, y) if v is not None]
    if any(v.ndim > 2 for v in values):
        raise ShapeError("cov: an operand has more than 2 dimensions", actual=", ".join(repr(v.type) for v in values))
    kind = np.result_type(*[v.type.dtype for v in values], np.float64) if dtype is None else real_dtype(dtype)
    if kind.kind != "f":
        raise TypeError(f"cov: differences from the mean cannot be stored as {kind}")
    rows = []
    for k, v in enumerate(values):
        row = atleast(2, world.convert(v, kind))
        turned = not rowvar and (v.ndim != 1 if k == 0 else row.type.shape[0] != 1)
        rows.append(row.T if turned else row)
    x = rows[0] if len(rows) == 1 else concatenate(rows, axis=0)
    degrees = ddof if ddof is not None else 0 if bias else 1
    weights = _weights(world, x, fweights, aweights, kind)
    if weights is None:
        total: Any = x.shape[1]
        mean = sum(x, axis=1, keepdims=True) / total
        factor = total - degrees
    else:
        total = sum(weights)
        mean = sum(x * weights, axis=1, keepdims=True) / total
        if degrees == 0:
            factor = total
        elif aweights is None:
            factor = total - degrees
        else:
            factor = total - degrees * sum(weights * strong(aweights, world)) / total
    centred = x - mean
    right = centred if weights is None else centred * weights
    # NumPy has no negative degrees of freedom
    inverse = 1 / maximum(strong(factor, world), 0)
    return squeeze(matmul(centred, right.T) * inverse.astype(kind))


def _weights(world: Any, x: Any, fweights: Any, aweights: Any, kind: np.dtype[Any]) -> Any:
    result = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        value = strong(given, world)
        if name == "fweights" and value.type.dtype.kind not in "iu":
            raise TypeError("fweights must be integer")
        if value.ndim != 1 or not world.facts.equal(value.type.shape[0], x.type.shape[1]):
            raise ShapeError(
                f"cov: {name} do not fit the observations",
                expected=f"a vector of {x.type.shape[1]}",
                actual=repr(value.type),
            )
        value = world.convert(value, kind)
        result = value if result is None else result * value
    return result


@traceable(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """The correlation of every pair of variables: their covariance over both standard deviations, in -1 to 1."""
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return c / c
    deviation = sqrt(diag(c))
    return clip(c / deviation[:, None] / deviation[None, :], -1, 1)
