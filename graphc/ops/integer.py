"""Functions of integers: bits, shifts, divisors."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from math import gcd, lcm
from typing import Any, Final

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.ops.record import NOT_FUSED, ErrorSample, Op, Reason, Sample
from graphc.ops.typing import elementwise

NO_TANGENT: Final[Mapping[str, Reason]] = {"rule": "integer or boolean result: no tangent"}
BY_LIBRARY: Final = frozenset({"gcd", "lcm"})
A = np.array([[0, 1, 12, -5], [6, -8, 7, 2**40]])
B = np.array([3, 5, 18, 2])
UNSIGNED = np.array([0, 5, 200, 255], np.uint8)
PLACES = np.array([1, 7, 8, 3], np.uint8)


def left_shift(a: int, b: int) -> int:
    """As NumPy has it: a shift by as many places as there are, or by a negative number, leaves no bit of a."""
    return a << b if 0 <= b < 64 else 0


def right_shift(a: int, b: int) -> int:
    return a >> b if 0 <= b < 64 else -(a < 0)


def integers(
    name: str,
    function: Callable[..., int],
    doc: str,
    arity: int = 2,
    result: str | None = None,
    more: tuple[Sample, ...] = (),
) -> Op:
    def exact(s: Any, *operands: Any) -> Any:
        return s.number(function(*[s.integer(s.lift(x)) for x in operands]))

    return Op(
        name,
        type=elementwise(name, "iu", result=result),
        numpy=f"np.{name}",
        kernel=None if name in BY_LIBRARY else name,
        work="other",
        exact=exact,
        domains=("real",) * arity,
        samples=(Sample((A, B)[:arity]), Sample((B, np.array(3))[:arity]), *more),
        errors=(
            ErrorSample(("f64[2]",) * arity, {}, DTypeError, "not defined for f64"),
            *((ErrorSample(("i64[2]", "i64[3]"), {}, ShapeError, "do not broadcast"),) if arity == 2 else ()),
        ),
        elementwise=True,
        reasons={**NO_TANGENT, **(NOT_FUSED if name in BY_LIBRARY else {})},
        doc=doc,
    )


OPS = (
    integers("bitwise_and", operator.and_, "The bits set in both a and b."),
    integers("bitwise_or", operator.or_, "The bits set in a or b."),
    integers("bitwise_xor", operator.xor, "The bits set in one of a and b."),
    integers("invert", operator.invert, "Every bit of a the other way.", arity=1, more=(Sample((UNSIGNED,)),)),
    integers(
        "left_shift",
        left_shift,
        "The bits of a moved up by b places, zeros moved in.",
        more=(Sample((UNSIGNED, PLACES)), Sample((A, np.array([62, 63, 64, -1])))),
    ),
    integers(
        "right_shift",
        right_shift,
        "The bits of a moved down by b places, the sign moved in.",
        more=(Sample((UNSIGNED, PLACES)), Sample((A, np.array([62, 63, 64, -1])))),
    ),
    integers(
        "bitwise_count",
        lambda a: abs(a).bit_count(),
        "How many bits of the size of a are set.",
        arity=1,
        result="uint8",
        # of these the count is not that of their negatives
        more=(Sample((np.array([5, 200], np.uint8),)),),
    ),
    integers("gcd", gcd, "The greatest common divisor of a and b."),
    integers("lcm", lcm, "The least common multiple of a and b."),
)
