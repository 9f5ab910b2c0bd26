"""The logarithm of the gamma function and its derivative.

Near 1 and 2, where the logarithm has zeros, and around the zero of the derivative, by polynomials that vanish there;
for larger numbers by Stirling's formula with a polynomial for its rest; for negative ones by reflection, a branch that
a vector takes only if one of its lanes needs it. Formulas: https://dlmf.nist.gov/5.
"""

from __future__ import annotations

import math
from typing import Final

from graphc.backends.numpy.llvm import coefficients
from graphc.backends.numpy.llvm.emit import F32, F64, Emitter, Value
from graphc.backends.numpy.llvm.functions.logarithmic import log, log_pair
from graphc.backends.numpy.llvm.functions.pairs import two_product
from graphc.backends.numpy.llvm.functions.trigonometric import cos_near, sin_near

HALF_LOG_2PI: Final = math.log(2 * math.pi) / 2
# the positive zero of digamma as a sum
ROOT: Final = {
    F32: (float.fromhex("0x1.762d86p+0"), float.fromhex("0x1.ab5f20p-27")),
    F64: (float.fromhex("0x1.762d86356be3fp+0"), float.fromhex("0x1.b86a722197829p-54")),
}


def gammaln(e: Emitter, x: Value) -> Value:
    """log |gamma(x)|."""
    left = x < 0.5
    z = e.select(left, 1.0 - x, x)
    log_z, rest = log_pair(e, z)
    y = _gammaln_right(e, z, log_z, rest)

    def reflected() -> tuple[Value, ...]:
        # what 1 - x lost, times the derivative, which is nearly log(z)
        lost = ((1.0 - z) - x) * log_z
        sine = _sine(e, x)
        other = e.select(sine.equals(0.0), math.inf, -(log(e, sine) + (y + lost)))
        return (e.select(left, other, y),)

    (y,) = e.rarely(e.any(left), (y,), reflected)
    return e.select(e.abs(x) < math.inf, y, x)  # SciPy gives -inf at -inf


def _gammaln_right(e: Emitter, z: Value, log_z: Value, rest: Value) -> Value:
    """For z >= 1/2, from the logarithm of z as a sum of two floats."""
    first = z < 1.5
    u = e.select(first, z - 1.0, z - 2.0)
    zero = e.const(0.0, z.dtype, z.lanes)
    near = e.fma(u, e.horner(u, coefficients.GAMMALN[z.dtype]), -e.select(first, log_z, zero))
    near = near - e.select(first, rest, zero)
    inverse = 1.0 / z
    tail = inverse * e.estrin(inverse * inverse, coefficients.STIRLING[z.dtype])
    # half of all, as the product may overflow where its correction brings it back
    by = e.fma(z, 0.5, -0.25)
    # (z - 1/2) log(z) - z is (z - 1/2) (log(z) - 1) - 1/2
    less = log_z - 1.0
    product, lost = two_product(e, by, less)
    tail = e.fma(tail + (HALF_LOG_2PI - 0.5), 0.5, e.fma(by, rest + ((log_z - less) - 1.0), lost))
    # the correction is no number where the product overflows all the same
    far = e.select(product < math.inf, product + tail, product) * 2.0
    return e.select(z < 2.5, near, far)


def _sine(e: Emitter, x: Value) -> Value:
    """|sin(pi x)| / pi."""
    r = x - e.rint(x)
    z = r * r
    return e.abs(r) * e.fma(z, e.horner(z, coefficients.SINC[x.dtype]), 1.0)


def digamma(e: Emitter, x: Value) -> Value:
    """The derivative of log |gamma(x)|: NaN at negative whole numbers, and infinite at 0, by its sign."""
    left = x <= 0
    y = _digamma_right(e, e.select(left, 1.0 - x, x))
    (y,) = e.rarely(e.any(left), (y,), lambda: (e.select(left, y - _pi_cotangent(e, x), y),))
    return e.select(x.equals(0.0), e.copysign(math.inf, -x), y)


def _digamma_right(e: Emitter, z: Value) -> Value:
    """For z > 0; between 0 and 3 from z + 1, z or z - 1, whichever lies between 1 and 2."""
    zero, one = (e.const(number, z.dtype, z.lanes) for number in (0.0, 1.0))
    below, above = z < 1.0, z > 2.0
    w = z + e.select(below, one, e.select(above, -one, zero))
    step = e.select(below, -one, e.select(above, one, zero)) / e.select(below, z, w)
    high, low = ROOT[z.dtype]
    near = e.fma((w - high) - low, e.estrin(w - 1.5, coefficients.DIGAMMA_NEAR[z.dtype]), step)
    inverse = 1.0 / z
    t = inverse * inverse
    far = log(e, z) + e.fma(t, e.estrin(t, coefficients.DIGAMMA_FAR[z.dtype]), inverse * -0.5)
    return e.select(z < 3.0, near, far)


def _pi_cotangent(e: Emitter, x: Value) -> Value:
    """pi / tan(pi x); NaN at whole numbers."""
    r = x - e.rint(x)
    size = e.abs(r)
    far = size > 0.25
    angle = e.select(far, 0.5 - size, size) * math.pi
    sine, cosine = sin_near(e, angle), cos_near(e, angle)
    top, below = e.select(far, sine, cosine), e.select(far, cosine, sine)
    y = e.copysign(math.pi * (top / below), r)
    return e.select(size.equals(0.0), math.nan, y)
