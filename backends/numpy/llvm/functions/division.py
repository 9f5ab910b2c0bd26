"""Remainders and whole quotients, of floats and of integers, as NumPy defines them.

The remainder of floats is exact. Where the quotient has no more digits than a float, one fused step gives it; a vector
in which some lane needs more takes a branch that divides integers, eleven bits at a time.
"""

from __future__ import annotations

import math

import numpy as np

from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.functions.formats import format_of
from graphc.backends.numpy.llvm.functions.pairs import two_product
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.values import F64, DType, Value, llvm_type

HELPER = "graphc.fmod"


def fmod(e: Emitter, x: Value, y: Value) -> Value:
    """x - y trunc(x / y), with the sign of x; integers by zero give 0."""
    if not x.is_float:
        return _remainder_of_integers(e, x, y)
    return e.once(("fmod", x.text, y.text), lambda: (_fmod(e, x, y),))[0]


def remainder(e: Emitter, x: Value, y: Value) -> Value:
    """x - y floor(x / y), with the sign of y; integers by zero give 0."""
    rest = fmod(e, x, y)
    if x.dtype.kind == "u":
        return rest
    other_side = (rest < 0) ^ (y < 0)
    if not x.is_float:
        zero = e.const(0, x.dtype, x.lanes)
        return rest + e.select(rest.differs(0) & other_side, y, zero)
    moved = e.select(other_side, rest + y, rest)
    signed = e.select(rest.equals(0), e.copysign(0.0, y), moved)
    return e.select(y.equals(0), math.nan, signed)


def floor_divide(e: Emitter, x: Value, y: Value) -> Value:
    """floor(x / y); integers by zero give 0."""
    if not x.is_float:
        return _floor_of_integers(e, x, y)
    rest = fmod(e, x, y)
    quotient = (x - rest) / y
    quotient = e.select(rest.differs(0) & ((rest < 0) ^ (y < 0)), quotient - 1.0, quotient)
    whole = e.floor(quotient)
    whole = e.select(quotient - whole > 0.5, whole + 1.0, whole)
    plain = x / y
    signed = e.select(quotient.equals(0), e.copysign(0.0, plain), whole)
    return e.select(y.equals(0), plain, signed)


def _fmod(e: Emitter, x: Value, y: Value) -> Value:
    a, b = e.abs(x), e.abs(y)
    quotient = a / b
    n = e.trunc(quotient)
    if e.module.features.fma:
        rest = e.fma(-n, b, a)
    else:
        product, lost = two_product(e, n, b)
        rest = (a - product) - lost
    # the quotient may have been rounded up to a whole number
    rest = e.select(rest < 0, rest + b, rest)
    rest = e.select(a < b, a, rest)
    large = quotient >= 2.0 ** format_of(x).digits
    if not e.module.features.fma:
        large = large | (a > format_of(x).largest / 2)  # the product may overflow
    (rest,) = e.rarely(e.any(large), (rest,), lambda: (e.select(large, _call(e, a, b), rest),))
    return e.copysign(rest, x)


def _call(e: Emitter, a: Value, b: Value) -> Value:
    name = f"{HELPER}.{a.lanes}.{a.dtype}"
    if name not in e.module.definitions:
        inside = Module(e.module.features)
        inside.define("llvm.ctlz.i64", "declare i64 @llvm.ctlz.i64(i64, i1)")
        declaration = f"declare {a.type} @{name}({a.type}, {b.type}) cold nounwind"
        e.module.help(name, declaration, inside, _loop(name, a.dtype, a.lanes), rarely=True)
    return e.instruction(f"call {a.type} @{name}({a!r}, {b!r})", a.dtype, a.lanes)


def _loop(name: str, dtype: DType, lanes: int) -> str:
    """A function that gives the remainders of all lanes, for numbers that are not negative.

    Both are written as whole numbers of 53 bits times powers of two; the remainder of the first, times two so often as
    the exponents differ, by the second is found by shifting as far as 64 bits allow and dividing, again and again.
    """
    vector, scalar = llvm_type(dtype, lanes), llvm_type(dtype)
    wide = dtype == F64
    load = "  %{0} = extractelement {1} %v{0}, i32 %i" if lanes > 1 else "  %{0} = fadd {1} %v{0}, -0.0"
    widen = "  %{0}d = fadd double %{0}, -0.0" if wide else "  %{0}d = fpext float %{0} to double"
    lines = [
        f"define {vector} @{name}({vector} %va, {vector} %vb) cold nounwind {{",
        "entry:",
        "  br label %lane",
        "lane:",
        "  %i = phi i32 [ 0, %entry ], [ %i1, %store ]",
        f"  %r0 = phi {vector} [ zeroinitializer, %entry ], [ %r1, %store ]" if lanes > 1 else "",
    ]
    for operand in "ab":
        lines += [
            load.format(operand, vector if lanes > 1 else scalar),
            widen.format(operand),
            # subnormal numbers of double precision are scaled by a power of two, which is taken back below
            f"  %{operand}small = fcmp olt double %{operand}d, 0x0010000000000000",
            f"  %{operand}up = fmul double %{operand}d, 0x4340000000000000",
            f"  %{operand}n = select i1 %{operand}small, double %{operand}up, double %{operand}d",
            f"  %{operand}off = select i1 %{operand}small, i64 53, i64 0",
            f"  %{operand}bits = bitcast double %{operand}n to i64",
            f"  %{operand}field = lshr i64 %{operand}bits, 52",
            f"  %{operand}e = sub i64 %{operand}field, %{operand}off",
            f"  %{operand}frac = and i64 %{operand}bits, 4503599627370495",
            f"  %{operand}m = or i64 %{operand}frac, 4503599627370496",
        ]
    lines += [
        "  %afinite = fcmp olt double %ad, 0x7FF0000000000000",
        "  %bnumber = fcmp ogt double %bd, 0.0",
        "  %proper = and i1 %afinite, %bnumber",
        "  %below = fcmp olt double %ad, %bd",
        "  %apart = sub i64 %ae, %be",
        "  br i1 %proper, label %compare, label %invalid",
        "compare:",
        "  br i1 %below, label %keep, label %start",
        "start:",
        "  %m0 = urem i64 %am, %bm",
        "  br label %more",
        "more:",
        "  %m = phi i64 [ %m0, %start ], [ %m2, %shift ]",
        "  %left = phi i64 [ %apart, %start ], [ %left1, %shift ]",
        "  %ready = icmp eq i64 %left, 0",
        "  br i1 %ready, label %compose, label %shift",
        "shift:",
        "  %far = icmp ugt i64 %left, 11",
        "  %by = select i1 %far, i64 11, i64 %left",
        "  %m1 = shl i64 %m, %by",
        "  %m2 = urem i64 %m1, %bm",
        "  %left1 = sub i64 %left, %by",
        "  br label %more",
        "compose:",
        # m 2**(be - 1075), an exact number, in two factors of which neither is subnormal
        "  %mf = uitofp i64 %m to double",
        "  %down = icmp slt i64 %be, 1000",
        "  %raised = add i64 %be, 1000",
        "  %chosen = select i1 %down, i64 %raised, i64 %be",
        "  %field = sub i64 %chosen, 52",
        "  %pbits = shl i64 %field, 52",
        "  %power = bitcast i64 %pbits to double",
        "  %scaled = fmul double %mf, %power",
        # 2**-1000, and 1
        "  %back = select i1 %down, double 0x0170000000000000, double 0x3FF0000000000000",
        "  %composed = fmul double %scaled, %back",
        "  br label %store",
        "keep:",
        "  br label %store",
        "invalid:",
        "  br label %store",
        "store:",
        "  %rd = phi double [ %composed, %compose ], [ %ad, %keep ], [ 0x7FF8000000000000, %invalid ]",
        "  %r = fadd double %rd, -0.0" if wide else "  %r = fptrunc double %rd to float",
        f"  %r1 = insertelement {vector} %r0, {scalar} %r, i32 %i" if lanes > 1 else "",
        "  %i1 = add i32 %i, 1",
        f"  %next = icmp ult i32 %i1, {lanes}",
        "  br i1 %next, label %lane, label %done",
        "done:",
        f"  ret {vector} {'%r1' if lanes > 1 else '%r'}",
        "}",
    ]
    return "\n".join(filter(None, lines))


def _safe(e: Emitter, x: Value, y: Value) -> Value:
    """A divisor that the processor accepts: 1 instead of 0, and instead of -1 below the lowest integer."""
    bad = y.equals(0)
    if x.dtype.kind == "i":
        bad = bad | (x.equals(int(np.iinfo(x.dtype).min)) & y.equals(-1))
    return e.select(bad, e.const(1, x.dtype, x.lanes), y)


def _quotient(e: Emitter, x: Value, y: Value) -> Value:
    return e.binary("sdiv" if x.dtype.kind == "i" else "udiv", x, _safe(e, x, y))


def _remainder_of_integers(e: Emitter, x: Value, y: Value) -> Value:
    rest = e.binary("srem" if x.dtype.kind == "i" else "urem", x, _safe(e, x, y))
    return e.select(y.equals(0), e.const(0, x.dtype, x.lanes), rest)


def _floor_of_integers(e: Emitter, x: Value, y: Value) -> Value:
    zero, one = (e.const(number, x.dtype, x.lanes) for number in (0, 1))
    quotient = _quotient(e, x, y)
    if x.dtype.kind == "i":
        rest = _remainder_of_integers(e, x, y)
        quotient = quotient - e.select(rest.differs(0) & ((rest < 0) ^ (y < 0)), one, zero)
    return e.select(y.equals(0), zero, quotient)
