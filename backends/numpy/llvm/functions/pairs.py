"""Sums and products of floats together with their rounding errors: unevaluated sums of two floats.

References: T. J. Dekker, "A floating-point technique for extending the available precision", 1971; D. E. Knuth, "The
Art of Computer Programming", volume 2, section 4.2.2; J.-M. Muller et al., "Handbook of Floating-Point Arithmetic".
"""

from __future__ import annotations

from typing import TypeAlias

from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.functions.formats import format_of
from graphc.backends.numpy.llvm.values import Operand, Value

Pair: TypeAlias = tuple[Value, Value]


def two_sum(a: Value, b: Value) -> Pair:
    """a + b rounded, and what that lost; exact whatever the sizes."""
    s = a + b
    part = s - a
    return s, (a - (s - part)) + (b - part)


def fast_two_sum(a: Value, b: Value) -> Pair:
    """a + b rounded, and what that lost; exact where |a| >= |b| or a is 0."""
    s = a + b
    return s, b - (s - a)


def two_product(e: Emitter, a: Value, b: Operand) -> Pair:
    """a * b rounded, and what that lost; exact where neither overflows nor becomes subnormal."""
    b = e.like(b, a)
    p = a * b
    if e.module.features.fma:
        return p, e.fma(a, b, -p)
    a_high, b_high = head(e, a), head(e, b)
    a_low, b_low = a - a_high, b - b_high
    return p, a_low * b_low - (((p - a_high * b_high) - a_low * b_high) - a_high * b_low)


def product_and_sum(e: Emitter, a: Value, b: Operand, c: Operand) -> Pair:
    """a * b + c rounded, and what that lost; exact where c minus the sum is."""
    if e.module.features.fma:
        s = e.fma(a, b, c)
        return s, e.fma(a, b, c - s)
    p, lost = two_product(e, a, b)
    s = p + c
    return s, (p + (c - s)) + lost


def remainder(e: Emitter, a: Value, q: Value, b: Value) -> Value:
    """a - q b, where q is a / b up to rounding; exact then."""
    if e.module.features.fma:
        return e.fma(-q, b, a)
    product, lost = two_product(e, q, b)
    return (a - product) - lost


def head(e: Emitter, a: Value) -> Value:
    """a rounded to half its digits, so that products of halves are exact."""
    cut = (format_of(a).digits + 2) // 2
    return e.bitcast((e.bits(a) + (1 << (cut - 1))) & -(1 << cut), a.dtype)
