"""The inverse of the normal distribution function.

By the quotients of polynomials of M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution",
1988: one in the square of the distance from 1/2, two in sqrt(-log(p)) for the tails.
"""

from __future__ import annotations

from typing import Final

from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.functions.logarithmic import log
from graphc.backends.numpy.llvm.values import F32, F64, DType, Value

Quotient = tuple[tuple[float, ...], tuple[float, ...]]  # numerator and denominator, that of x**0 first

HALF_WIDTH: Final = 0.425  # of the middle part
TAIL: Final = 1.6
FAR: Final = 5.0

MIDDLE_QUOTIENT: Final[dict[DType, Quotient]] = {
    F32: (
        (3.3871327179, 50.434271938, 159.29113202, 59.109374720),
        (1.0, 17.895169469, 78.757757664, 67.187563600),
    ),
    F64: (
        (
            *(3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125),
            *(45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727),
        ),
        (
            *(1.0, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077),
            *(21213.794301586595867, 39307.895800092710610, 28729.085735721942674, 5226.4952788528545610),
        ),
    ),
}
TAIL_QUOTIENT: Final[dict[DType, Quotient]] = {
    F32: ((1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103), (1.0, 0.73700164250, 0.12021132975)),
    F64: (
        (
            *(1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504),
            *(1.27045825245236838258, 0.241780725177450611770, 0.0227238449892691845833, 7.74545014278341407640e-4),
        ),
        (
            *(1.0, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550),
            *(0.148103976427480074590, 0.0151986665636164571966, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
        ),
    ),
}
FAR_QUOTIENT: Final[dict[DType, Quotient]] = {
    F32: ((6.6579051150, 3.0812263860, 0.42868294337, 0.017337203997), (1.0, 0.24197894225, 0.012258202635)),
    F64: (
        (
            *(6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 0.296560571828504891230),
            *(
                0.0265321895265761230930,
                1.24266094738807843860e-3,
                2.71155556874348757815e-5,
                2.01033439929228813265e-7,
            ),
        ),
        (
            *(1.0, 0.599832206555887937690, 0.136929880922735805310, 0.0148753612908506148525),
            *(
                7.86869131145613259100e-4,
                1.84631831751005468180e-5,
                1.42151175831644588870e-7,
                2.04426310338993978564e-15,
            ),
        ),
    ),
}


def ndtri(e: Emitter, p: Value) -> Value:
    """The number below which a standard normal number lies with probability p."""
    q = p - 0.5
    middle = e.abs(q) <= HALF_WIDTH
    # of the tail beyond, from 1 - p without rounding
    r = e.sqrt(-log(e, e.select(q < 0, p, 1.0 - p)))
    far = r > FAR
    square = e.fma(-q, q, HALF_WIDTH**2)
    parts = []
    for k in range(2):
        near_part = e.estrin(square, MIDDLE_QUOTIENT[p.dtype][k])
        tail_part = e.estrin(r - TAIL, TAIL_QUOTIENT[p.dtype][k])
        far_part = e.estrin(r - FAR, FAR_QUOTIENT[p.dtype][k])
        parts.append(e.select(middle, near_part, e.select(far, far_part, tail_part)))
    above, below = parts
    y = e.select(middle, q * above, e.copysign(above, q)) / below
    return e.select(p.equals(0.0) | p.equals(1.0), e.copysign(e.const(float("inf"), p.dtype, p.lanes), q), y)
