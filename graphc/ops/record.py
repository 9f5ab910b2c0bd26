"""The op record: everything graphc knows about an operation stands in one of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from graphc.dims import Size
from graphc.ir import Type
from graphc.kernels import Fold

# Rules receive the world `w` they build in: a graph under construction, or exact arithmetic.
Rule = Callable[..., Any]
TypeRule = Callable[..., Type]


@dataclass(frozen=True, slots=True)
class Partials:
    """Derivative of an elementwise op: one function per operand, `(w, y, *operands, **attrs) -> dy/doperand`.

    A partial is a value, a literal, `None` for structurally zero, or `Masked`.
    """

    partials: tuple[Rule | None, ...]

    def __init__(self, *partials: Rule | None) -> None:
        object.__setattr__(self, "partials", partials)


@dataclass(frozen=True, slots=True)
class Linear:
    """Derivative of an op that is jointly linear in the operands at `positions` (all of them if None).

    `transpose(w, ct, *operands, **attrs)` gives a cotangent, or None, for every operand. Operands at linear
    positions must not be used for their values, only for their types. An op that only moves or adds elements can
    carry the mask of a lazily selected cotangent along: `mask(w, m, *operands, **attrs)` gives the masks.
    """

    positions: tuple[int, ...] | None
    transpose: Rule
    mask: Rule | None = None


@dataclass(frozen=True, slots=True)
class Multilinear:
    """Derivative of an op that is linear in each operand alone: one transpose per operand.

    `transposes[i](w, ct, *operands, **attrs)` gives the cotangent of operand i.
    """

    transposes: tuple[Rule, ...]

    def __init__(self, *transposes: Rule) -> None:
        object.__setattr__(self, "transposes", transposes)


@dataclass(frozen=True, slots=True)
class Jvp:
    """Derivative of any other op: `jvp(w, y, operands, tangents, **attrs)`, written in ops linear in the tangents.

    A tangent is None where the operand does not vary. An op that is linear in the operands at the positions `linear`,
    all others fixed, as a solution is in its right-hand side, is one that its own `jvp` may use; there
    `transpose(w, ct, *operands, **attrs)` gives a cotangent, or None, for every operand.
    """

    jvp: Rule
    linear: tuple[int, ...] = ()
    transpose: Rule | None = None


Derivative = Partials | Linear | Multilinear | Jvp


@dataclass(frozen=True, slots=True)
class Masked:
    """A partial that is `factor` where `mask` holds and 0 elsewhere, selected only after all multiplications.

    The lazy selection is what keeps `where(x > 0, log(x), 0)` free of NaN in every derivative.
    """

    mask: Any
    factor: Any


# Classes of arithmetic. `div` has division, remainder and square root; `other` what compares, selects, rounds or
# changes signs, and all arithmetic of integers and booleans.
Arithmetic = Literal["add", "mul", "div", "transcendental", "other"]
# (result type, *operand types, **attrs) -> how often an operation of each class is done
Work = Callable[..., Mapping[Arithmetic, Size]]


# (w, name, size, operands, batched, attrs) -> the results of all rows; see graphc.ops.batching
Batch = Callable[[Any, str, Size, Sequence[Any], Sequence[bool], Mapping[str, Any]], Any]


# Why a field of a record may be missing; the table test counts them.
Reason = Literal[
    "integer or boolean result: no tangent",
    "no operands",
    "structural: acts on exact values as NumPy acts on object arrays",
    "any input is accepted",
    "gives masks itself, or adds up elements under different ones",
    "computed by a library: not part of kernels",
    "opaque: what the user's Python code does is not known",
    "its operand has several results, which no sample gives",
]
OPAQUE: Final[Reason] = "opaque: what the user's Python code does is not known"


NOT_FUSED: Final[Mapping[str, Reason]] = {"kernel": "computed by a library: not part of kernels"}


@dataclass(frozen=True, slots=True)
class Sample:
    """Operand shapes (or explicit arrays) and attributes on which the table tests try an op."""

    operands: tuple[Any, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ErrorSample:
    """Operand types in text form, attributes, and the error class and words they must raise."""

    operands: tuple[str, ...]
    attrs: Mapping[str, Any]
    error: type[Exception]
    words: str


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """One operation.

    name: unique name, as dumps show it.
    type: `(facts, *operand types, **attrs) -> type`; raises ShapeError, DTypeError or AxisError.
    numpy: a dotted NumPy or SciPy name, or an expression over `{0}`, `{1}`, ... and `{attribute}`.
    exact: scalar meaning `(s, *scalars, **attrs)` in the functions of an exact field `s`; a string names one.
    rule: the derivative, said once.
    batch: how the op acts on operands of which some carry one more axis, in front. If not given, an elementwise op
        lines its operands up.
    domains: for each operand, the name of the set that samples are drawn from.
    samples: shapes and attributes for the table tests.
    errors: what must be refused.
    kinks: values of the first operand at which the derivative is a convention.
    work: the arithmetic of one evaluation: a class, of which one operation is done for each element of the result; or
        the counts by class. If not given: transcendental for an elementwise op, nothing for any other.
    ulps: how far from the exact value the NumPy meaning may lie, in units in the last place of the result.
    elementwise: whether elements of the result are made of those of the operands at the same place.
    view: whether the NumPy meaning may show an operand's elements instead of copying them.
    silent: whether the NumPy meaning only moves numbers or compares them, and so never warns. Views need not say so.
    updates: whether the result is the first operand with elements replaced; the NumPy meaning takes it as `out` too.
    kernel: scalar meaning for generated kernels, `(k, *scalars, **attrs)` in the functions of a generator `k`, which
        go by the names of the exact fields; a string names one of them.
    kernel_kinds: the kinds of dtype, in NumPy's letters, at which it means what NumPy means.
    fold: for a reduction that kernels compute, what it folds by.
    expansion: for an op that stands for several, `(w, *operands, **attrs)` built of simple ones that kernels can fuse.
    doc: one or two lines with the formula; cites its source where it is not obvious.
    reasons: for each missing field, why.
    """

    name: str
    type: TypeRule
    numpy: str
    doc: str
    exact: str | Rule | None = None
    kernel: str | Rule | None = None
    kernel_kinds: str = "biuf"
    fold: Fold | None = None
    expansion: Rule | None = None
    rule: Derivative | None = None
    batch: Batch | None = None
    domains: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()
    errors: tuple[ErrorSample, ...] = ()
    kinks: tuple[float, ...] = ()
    work: Arithmetic | Work | None = None
    ulps: float = 0.5
    elementwise: bool = False
    view: bool = False
    silent: bool = False
    updates: bool = False
    reasons: Mapping[str, Reason] = field(default_factory=dict)

    @property
    def opaque(self) -> bool:
        """Whether the op runs Python code of the user's, of which nothing is known."""
        return self.reasons.get("exact") == OPAQUE

    @property
    def ufunc(self) -> bool:
        """Whether the NumPy meaning is a ufunc, which can write into an `out` buffer."""
        return self.elementwise and "{" not in self.numpy

    def __reduce__(self) -> str | tuple[Any, ...]:
        from graphc.ops import lookup

        return lookup, (self.name,)
