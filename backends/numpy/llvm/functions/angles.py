"""Reduction of angles to at most an eighth of a turn: x = n pi / 2 + r, for every finite x.

Up to a limit, n pi / 2 is subtracted in parts (W. J. Cody and W. Waite, "Software Manual for the Elementary
Functions", 1980). Beyond it, a lane at a time, x is multiplied by those bits of 2 / pi that matter, as an integer
(M. H. Payne and R. N. Hanek, "Radian reduction for trigonometric functions", 1983). The second way is a branch that a
vector takes only if one of its lanes needs it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.functions.formats import format_of
from graphc.backends.numpy.llvm.functions.pairs import two_sum
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.values import BITS, F32, F64, DType, Value, llvm_type

TWO_OVER_PI: Final = 0.6366197723675814
# pi / 2 as a sum of floats; with fused multiplication every difference is then exact or rounded once
FUSED_PARTS: Final = {
    F32: tuple(map(float.fromhex, ("0x1.921fb6p+0", "-0x1.777a5cp-25", "-0x1.ee59dap-50"))),
    F64: tuple(map(float.fromhex, ("0x1.921fb54442d18p+0", "0x1.1a62633145c07p-54", "-0x1.f1976b7ed8fbcp-110"))),
}
# the same in pieces that end at 2**-26, 2**-53 and 2**-80, so that a whole number up to 2**26 times any but the last is
# exact, and so are the first two differences
SHORT_PARTS: Final = tuple(
    map(
        float.fromhex,
        ("0x1.921fb54000000p+0", "0x1.10b4600000000p-30", "0x1.1a62630000000p-54", "0x1.8a2e03707344ap-81"),
    )
)
# the largest |x| that is reduced by subtraction
LIMIT: Final = {(F32, True): 2.0**17, (F64, True): 2.0**30, (F32, False): 2.0**26, (F64, False): 2.0**26}

WINDOW: Final = 192  # bits of 2 / pi that meet the 53 of a float: enough for the nearest multiple of pi / 2
TABLE_BITS: Final = 1168  # bits of 2 / pi after the point, for the largest exponent
LOWEST: Final = -40  # the exponent of the smallest number reduced so, counted from the last bit of its fraction
HELPER: Final = "graphc.angle"


def reduce(e: Emitter, x: Value) -> tuple[Value, Value]:
    """r, and n as an integer of which the last two bits count."""
    r, n = e.once(("angle", x.text), lambda: _reduce(e, x))
    return r, n


def reduce_moderate(e: Emitter, x: Value) -> tuple[Value, Value]:
    """The same for angles below the limit; nonsense beyond it."""
    r, n = e.once(("moderate angle", x.text), lambda: _subtracted(e, x))
    return r, n


def _reduce(e: Emitter, x: Value) -> tuple[Value, ...]:
    large = e.abs(x) > LIMIT[x.dtype, e.module.features.fma]
    usual = _subtracted(e, x)

    def exact() -> tuple[Value, ...]:
        return tuple(e.select(large, a, b) for a, b in zip(_call(e, x), usual, strict=True))

    return e.rarely(e.any(large), usual, exact)


def _subtracted(e: Emitter, x: Value) -> tuple[Value, Value]:
    fused = e.module.features.fma
    if x.dtype == F32 and not fused:
        r, n = _subtracted(e, e.convert(x, F64))
        return e.convert(r, F32), e.convert(n, BITS[F32])
    shifter = format_of(x).shifter
    shifted = e.fma(x, TWO_OVER_PI, shifter)
    n = shifted - shifter
    if fused:
        for part in FUSED_PARTS[x.dtype]:
            x = e.fma(n, -part, x)
        return x, e.bits(shifted)
    *exact, last, rest = SHORT_PARTS
    for part in exact:
        x = x - n * part
    high, low = two_sum(x, n * -last)
    return high + (low - n * rest), e.bits(shifted)


def _call(e: Emitter, x: Value) -> tuple[Value, Value]:
    values, integers = llvm_type(x.dtype, x.lanes), llvm_type(BITS[x.dtype], x.lanes)
    name = f"{HELPER}.{x.lanes}.{x.dtype}"
    pair = f"{{ {values}, {integers} }}"
    if name not in e.module.definitions:
        inside = Module(e.module.features)
        inside.define(f"{HELPER}.table", _table())
        inside.define("llvm.ctlz.i192", "declare i192 @llvm.ctlz.i192(i192, i1)")
        declaration = f"declare {pair} @{name}({x.type}) cold nounwind"
        e.module.help(name, declaration, inside, _loop(name, x.dtype, x.lanes), rarely=True)
    both = f"%{e.fresh()}"
    e.statement(f"{both} = call {pair} @{name}({x!r})")
    r = e.instruction(f"extractvalue {pair} {both}, 0", x.dtype, x.lanes)
    return r, e.instruction(f"extractvalue {pair} {both}, 1", BITS[x.dtype], x.lanes)


@lru_cache(maxsize=1)
def _table() -> str:
    """The bits of 2 / pi as bytes, the lowest first, with zeros after the highest."""
    size = (2 - WINDOW + TABLE_BITS - LOWEST) // 8 + 33
    content = "".join(f"\\{byte:02X}" for byte in two_over_pi(TABLE_BITS).to_bytes(size, "little"))
    return f'@{HELPER}.table = internal constant [{size} x i8] c"{content}"'


@lru_cache(maxsize=1)
def two_over_pi(bits: int) -> int:
    """floor(2 / pi * 2**bits), by J. Machin's formula (1706) in integers.

    >>> two_over_pi(30) / 2**30
    0.6366197718307376
    """
    one = 1 << (bits + 64)

    def arctangent_of_inverse(k: int) -> int:
        total = term = one // k
        n, sign = 3, -1
        while term:
            term //= k * k
            total += sign * (term // n)
            n, sign = n + 2, -sign
        return total

    half_pi = 2 * (4 * arctangent_of_inverse(5) - arctangent_of_inverse(239))
    return (one << bits) // half_pi


def _loop(name: str, dtype: DType, lanes: int) -> str:
    """A function that reduces every lane; numbers below the limit give nonsense.

    |x| = m 2**exponent with a whole m. The window of 2 / pi begins below its bits that give multiples of 4 with every
    m; so the product, modulo 2**192, is x 2 / pi modulo 4 in units of 2**-190.
    """
    values, integers = llvm_type(dtype, lanes), llvm_type(BITS[dtype], lanes)
    scalar, whole = llvm_type(dtype), llvm_type(BITS[dtype])
    wide = "%x" if dtype == F64 else "%xw"
    narrow = "%r" if dtype == F64 else "%rn"
    vector = lanes > 1
    lines = [
        f"define {{ {values}, {integers} }} @{name}({values} %v) cold nounwind {{",
        "entry:",
        "  br label %next",
        "next:",
        "  %i = phi i32 [ 0, %entry ], [ %i1, %next ]",
        f"  %r0 = phi {values} [ zeroinitializer, %entry ], [ %r1, %next ]" if vector else "",
        f"  %n0 = phi {integers} [ zeroinitializer, %entry ], [ %n1, %next ]" if vector else "",
        f"  %x = extractelement {values} %v, i32 %i" if vector else f"  %x = fadd {scalar} %v, -0.0",
        "" if dtype == F64 else f"  %xw = fpext {scalar} %x to double",
        f"  %bits = bitcast double {wide} to i64",
        "  %fraction = and i64 %bits, 4503599627370495",
        "  %m = or i64 %fraction, 4503599627370496",
        "  %shifted = lshr i64 %bits, 52",
        "  %field = and i64 %shifted, 2047",
        "  %exponent = sub i64 %field, 1075",
        f"  %low = icmp slt i64 %exponent, {LOWEST}",
        f"  %clipped = select i1 %low, i64 {LOWEST}, i64 %exponent",
        f"  %start = sub i64 {2 - WINDOW + TABLE_BITS}, %clipped",
        "  %clip = icmp slt i64 %start, 0",  # inf and NaN
        "  %begin = select i1 %clip, i64 0, i64 %start",
        "  %byte = lshr i64 %begin, 3",
        "  %bit = and i64 %begin, 7",
        f"  %place = getelementptr i8, ptr @{HELPER}.table, i64 %byte",
        "  %around = load i256, ptr %place, align 1",
        "  %by = zext i64 %bit to i256",
        "  %aligned = lshr i256 %around, %by",
        "  %window = trunc i256 %aligned to i192",
        "  %factor = zext i64 %m to i192",
        "  %turns = mul i192 %window, %factor",
        f"  %half = shl i192 1, {WINDOW - 3}",
        "  %up = add i192 %turns, %half",
        f"  %quarter = lshr i192 %up, {WINDOW - 2}",
        f"  %quarters = shl i192 %quarter, {WINDOW - 2}",
        "  %rest = sub i192 %turns, %quarters",
        "  %negative = icmp slt i192 %rest, 0",
        "  %minus = sub i192 0, %rest",
        "  %size = select i1 %negative, i192 %minus, i192 %rest",
        "  %zeros = call i192 @llvm.ctlz.i192(i192 %size, i1 false)",
        "  %normal = shl i192 %size, %zeros",
        f"  %top = lshr i192 %normal, {WINDOW - 64}",
        "  %top64 = trunc i192 %top to i64",
        "  %top128 = zext i64 %top64 to i128",
        "  %product = mul i128 %top128, 14488038916154245684",  # pi / 4 in units of 2**-64
        "  %high = lshr i128 %product, 65",
        "  %high64 = trunc i128 %high to i64",
        "  %mantissa = sitofp i64 %high64 to double",
        "  %zeros64 = trunc i192 %zeros to i64",
        "  %power = sub i64 963, %zeros64",  # 1023 - 60
        "  %raised = shl i64 %power, 52",
        "  %unit = bitcast i64 %raised to double",
        "  %absolute = fmul double %mantissa, %unit",
        "  %opposite = fneg double %absolute",
        f"  %below = fcmp olt double {wide}, 0.0",
        "  %flip = xor i1 %below, %negative",
        "  %finite = select i1 %flip, double %opposite, double %absolute",
        "  %special = icmp eq i64 %field, 2047",
        "  %r = select i1 %special, double 0x7FF8000000000000, double %finite",
        "" if dtype == F64 else "  %rn = fptrunc double %r to float",
        f"  %q = trunc i192 %quarter to {whole}",
        f"  %qminus = sub {whole} 0, %q",
        f"  %n = select i1 %below, {whole} %qminus, {whole} %q",
        f"  %r1 = insertelement {values} %r0, {scalar} {narrow}, i32 %i" if vector else "",
        f"  %n1 = insertelement {integers} %n0, {whole} %n, i32 %i" if vector else "",
        "  %i1 = add i32 %i, 1",
        f"  %more = icmp ult i32 %i1, {lanes}",
        "  br i1 %more, label %next, label %done",
        "done:",
        f"  %one = insertvalue {{ {values}, {integers} }} poison, {values} {'%r1' if vector else narrow}, 0",
        f"  %both = insertvalue {{ {values}, {integers} }} %one, {integers} {'%n1' if vector else '%n'}, 1",
        f"  ret {{ {values}, {integers} }} %both",
        "}",
    ]
    return "\n".join(filter(None, lines))
