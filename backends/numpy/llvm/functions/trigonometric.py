"""Sine, cosine and tangent of every finite angle."""

from __future__ import annotations

from graphc.backends.numpy.llvm import coefficients
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.functions import angles
from graphc.backends.numpy.llvm.functions.pairs import remainder
from graphc.backends.numpy.llvm.values import Value, width


def sin_near(e: Emitter, r: Value) -> Value:
    """sin(r) for |r| <= pi / 4."""
    z = r * r
    return e.fma(r * z, e.horner(z, coefficients.SIN[r.dtype]), r)


def cos_near(e: Emitter, r: Value) -> Value:
    """cos(r) for |r| <= pi / 4."""
    z = r * r
    return e.fma(z * z, e.horner(z, coefficients.COS[r.dtype]), e.fma(z, -0.5, 1.0))


def turned(e: Emitter, r: Value, n: Value) -> Value:
    """sin(r + n pi / 2)."""
    y = e.select((n & 1).differs(0), cos_near(e, r), sin_near(e, r))
    sign = (n & 2) << (width(n.dtype) - 2)
    return e.bitcast(e.bits(y) ^ sign, y.dtype)


def sin(e: Emitter, x: Value) -> Value:
    r, n = angles.reduce(e, x)
    return e.select(x.equals(0), x, turned(e, r, n))


def cos(e: Emitter, x: Value) -> Value:
    r, n = angles.reduce(e, x)
    return turned(e, r, n + 1)


def tan(e: Emitter, x: Value) -> Value:
    """Sine over cosine, or minus the inverse, each with what was lost in its last place."""
    r, n = angles.reduce(e, x)
    z = r * r
    more = r * z * e.horner(z, coefficients.SIN[r.dtype])
    s = r + more
    s_rest = (r - s) + more
    w = e.fma(z, -0.5, 1.0)
    more = e.fma(z * z, e.horner(z, coefficients.COS[r.dtype]), e.fma(z, -0.5, 1.0 - w))
    c = w + more
    c_rest = (w - c) + more
    odd = (n & 1).differs(0)
    top, top_rest = e.select(odd, -c, s), e.select(odd, -c_rest, s_rest)
    below, below_rest = e.select(odd, s, c), e.select(odd, s_rest, c_rest)
    inverse = 1.0 / below
    y = top * inverse
    lost = remainder(e, top, y, below) + e.fma(-y, below_rest, top_rest)
    return e.select(x.equals(0), x, e.fma(lost, inverse, y))
