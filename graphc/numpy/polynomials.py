"""Polynomials given by their coefficients, from the highest power down."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import ShapeError, UnsupportedError
from graphc.numpy.diagonals import vander
from graphc.numpy.dispatch import common_world, refuse, strong, traceable
from graphc.numpy.elementwise import sqrt
from graphc.numpy.equations import floats, inv, pinv
from graphc.numpy.making import zeros_like
from graphc.numpy.picking import fixed_size, whole_number
from graphc.numpy.products import matmul
from graphc.numpy.reductions import sum
from graphc.numpy.shaping import atleast, concatenate, expand_dims, matrix_transpose, reshape
from graphc.numpy.vectors import full_convolution, numeric_pair

__all__ = ["poly", "polyadd", "polyder", "polyfit", "polyint", "polymul", "polysub", "polyval"]


@traceable(np.poly)
def poly(seq_of_zeros: Any) -> Any:
    """The coefficients of the polynomial with given zeros and the first coefficient 1.

    Zeros only: of a square matrix NumPy takes the eigenvalues, which cannot be traced yet.
    """
    world = common_world(seq_of_zeros)
    zeros = atleast(1, strong(seq_of_zeros, world))
    if zeros.ndim == 2:
        raise UnsupportedError(
            "np.poly: the eigenvalues of a matrix cannot be traced yet",
            expected="a vector of zeros",
            actual=repr(zeros.type),
        )
    if zeros.ndim != 1:
        raise ValueError("input must be 1d or non-empty square 2d array.")
    kind = zeros.type.dtype if zeros.type.dtype.kind == "f" and zeros.type.dtype.itemsize > 2 else np.dtype(np.float64)
    zeros = world.convert(zeros, kind)
    count = fixed_size("poly", zeros.type.shape[0])
    result = world.full(1, type(zeros.type)((1,), kind))
    for k in range(count):
        shifted = concatenate([result, world.full(0, type(zeros.type)((1,), kind))])
        result = shifted - concatenate([world.full(0, type(zeros.type)((1,), kind)), zeros[k] * result])
    return result if count else world.constant(1.0, kind)


@traceable(np.polymul)
def polymul(a1: Any, a2: Any) -> Any:
    """The coefficients of the product of two polynomials.

    Leading coefficients that are 0 stay: which ones NumPy would leave out depends on their values.
    """
    _, a, b = numeric_pair(a1, a2)
    a, b = (atleast(1, v) for v in (a, b))
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError("polymul: coefficients must be vectors", actual=f"{a.type!r} and {b.type!r}")
    return full_convolution(a, b)


@traceable(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """The value of a polynomial at points x, by Horner's rule.

    The coefficients are elements of an array, whose number must be known; a polynomial as `x` is refused.
    """
    world = common_world(p, x)
    coefficients, points = strong(p, world), strong(x, world)
    y = zeros_like(points)
    for k in range(fixed_size("polyval", coefficients.type.shape[0])):
        y = y * points + coefficients[k]
    return y


@traceable(np.polyder, view=True)
def polyder(p: Any, m: int = 1) -> Any:
    """The coefficients of the derivative of a polynomial, taken m times."""
    x = strong(p, common_world(p))
    times = whole_number("polyder", "m", m)
    if times < 0:
        raise ValueError("Order of derivative must be positive (see polyint)")
    for _ in range(times):
        n = fixed_size("polyder", x.type.shape[0]) - 1
        x = x[:-1] * np.arange(n, 0, -1)
    return x


@traceable(np.polyfit)
def polyfit(
    x: Any, y: Any, deg: int, rcond: float | None = None, full: bool = False, w: Any = None, cov: Any = False
) -> Any:
    """The coefficients of the polynomial of a degree that fits points best, by least squares.

    full=True is refused, since the size of one of its results depends on a rank, and there is no warning of a low rank.
    """
    refuse("polyfit", full=full or None)
    order = whole_number("polyfit", "deg", deg) + 1
    if order < 1:
        raise ValueError("expected deg >= 0")
    points, values = floats(x, y)
    if points.ndim != 1 or not 1 <= values.ndim <= 2:
        raise ShapeError(
            "polyfit: the points must be a vector, and their values a vector or columns",
            expected="x of 1 axis, y of 1 or 2",
            actual=f"{points.type!r} and {values.type!r}",
        )
    count = fixed_size("polyfit", points.type.shape[0])
    if count == 0:
        raise TypeError("expected non-empty vector for x")
    if not points.world.facts.equal(count, values.type.shape[0]):
        raise ShapeError("polyfit: points and values differ in number", actual=f"{points.type!r} and {values.type!r}")
    powers, sides = vander(points, order), values
    if w is not None:
        weights, _ = floats(w, points)
        if weights.ndim != 1 or not points.world.facts.equal(count, weights.type.shape[0]):
            raise ShapeError(
                "polyfit: there must be a weight for each point",
                expected=f"a vector of {count}",
                actual=repr(weights.type),
            )
        powers = powers * expand_dims(weights, 1)
        sides = sides * (expand_dims(weights, 1) if sides.ndim == 2 else weights)
    scale = sqrt(sum(powers * powers, axis=0))
    powers = powers / scale
    cut = count * float(np.finfo(points.type.dtype).eps) if rcond is None else rcond
    scaled = matmul(pinv(powers, cut), sides)
    found = scaled / (expand_dims(scale, 1) if sides.ndim == 2 else scale)
    if not cov:
        return found
    base = inv(matmul(matrix_transpose(powers), powers)) / (expand_dims(scale, 1) * scale)
    if cov == "unscaled":
        factor: Any = 1
    else:
        if count <= order:
            raise ValueError("the number of data points must exceed order to scale the covariance matrix")
        rest = matmul(powers, scaled) - sides
        factor = sum(rest * rest, axis=0) / (count - order)
    return found, (base if sides.ndim == 1 else expand_dims(base, 2)) * factor


@traceable(np.polyint)
def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    """The coefficients of the integral of a polynomial, taken m times, with constants k."""
    world = common_world(p, k)
    x, times = strong(p, world), whole_number("polyint", "m", m)
    if times < 0:
        raise ValueError("Order of integral must be positive (see polyder)")
    constants = [0.0] * times if k is None else list(atleast(1, strong(k, world)))
    if len(constants) == 1 and times > 1:
        constants *= times
    if len(constants) < times:
        raise ValueError("k must be a scalar or a rank-1 array of length 1 or >m.")
    for constant in constants[:times]:
        divisors = np.arange(fixed_size("polyint", x.type.shape[0]), 0, -1)
        x = concatenate([x / divisors, reshape(strong(constant, world), (1,))])
    return x


def _padded_sum(function: Any, combine: Any, doc: str) -> Any:
    def apply(a1: Any, a2: Any) -> Any:
        world = common_world(a1, a2)
        a, b = (atleast(1, strong(v, world)) for v in (a1, a2))
        n, m = (fixed_size(function.__name__, v.type.shape[0]) for v in (a, b))
        size = max(n, m)
        a, b = (
            v if k == size else concatenate([world.full(0, type(v.type)((size - k,), v.type.dtype)), v])
            for v, k in ((a, n), (b, m))
        )
        return combine(a, b)

    apply.__doc__ = doc
    return traceable(function)(apply)


polyadd = _padded_sum(np.polyadd, lambda a, b: a + b, "The coefficients of the sum of two polynomials.")
polysub = _padded_sum(np.polysub, lambda a, b: a - b, "The coefficients of the difference of two polynomials.")
