"""The complementary error function on a GPU, where every lane pays for every branch: one formula for all arguments.

As in the CPU's kernels, `graphc.backends.numpy.llvm.functions.error`, it is exp(-x**2) times a function that varies
little. Here that is (1 + G) / (2 (x + c)) with a polynomial G in (x - c) / (x + c): both come from one inverse, by the
processor's approximation. What that approximation, the sum x + c and the square x**2 lost is small; to the first order
it changes the result by a factor, which the exponential takes along.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from graphc.backends.cupy.emit import CudaEmitter
from graphc.backends.cupy.exponential import power
from graphc.backends.numpy.llvm import coefficients
from graphc.backends.numpy.llvm.values import F32, F64, DType, Value

I32: Final = np.dtype(np.int32)


@dataclass(frozen=True, slots=True)
class Form:
    """The formula for a dtype.

    table: of G. centre: c. highest: from here on erfc is 0.
    slope: that of log(erfcx(x)) over log(x + c), with the sign changed, as a line in (x - c) / (x + c).
    raised: powers of two are taken so much larger that they are normal numbers down to where erfc is 0.
    """

    table: tuple[float, ...]
    centre: float
    highest: float
    slope: tuple[float, float]
    raised: int


FORMS: Final[dict[DType, Form]] = {
    F32: Form(coefficients.ERFC_SINGLE[F32], 1.1875, 10.5, (1.2, 0.0), 64),
    F64: Form(coefficients.ERFC_DOUBLE[F64], 2.125, 27.25, (1.7, -0.75), 512),
}


def erfc(e: CudaEmitter, x: Value) -> Value:
    with e.keeping():
        return _erfc(e, x)


def _erfc(e: CudaEmitter, x: Value) -> Value:
    form = FORMS[x.dtype]
    # the square as it stands in the derivative, so that the exponential there is this one
    of = e.opposite(x)
    negative = x < 0 if of is x else of > 0
    size = e.abs(of)
    if x.dtype == F32:
        size = of = e.at_most(form.highest, size)
    square = of * of
    inverse = e.call("near_inverse", e.fma(size, 2.0, 2 * form.centre))
    # half of 1 - 2 (x + c) times the inverse
    lost = e.fma(-inverse, size, e.fma(inverse, -form.centre, 0.5))
    t = e.fma(inverse, -4 * form.centre, 1.0)
    slope = e.fma(t, 2 * form.slope[1], 2 * form.slope[0]) if form.slope[1] else 2 * form.slope[0]
    factor = e.fma(lost, slope, e.fma(-of, of, square))
    g = e.horner(t, form.table)
    # the derivative's exponential has no offset
    parts = power(e, -square, form.raised if x.dtype == F32 else 0)
    u = parts.above(factor)
    # the power of two goes where NaN does not: its bits would be made a number
    more = () if x.dtype == F32 else (e.const(form.raised, I32),)
    y = e.call("raised", inverse, parts.shifted, *more)
    tail = e.fma(y, e.fma(u, g, u) + g, y) * 2.0**-form.raised
    if x.dtype == F64:
        tail = e.select(size > form.highest, 0.0, tail)
    return e.select(negative, 2.0 - tail, tail)
