"""Proof of the op table: each record's fields against each other and against SymPy.

`check_op` is what the table tests run. The reference for a derivative is never one of our rules: it is the jet,
or SymPy's `diff`, of the op's forward exact meaning.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import product
from typing import Any, Final, get_args

import numpy as np

from graphc import ops
from graphc.backends.exact.fields import Array, Undecided, apply_each
from graphc.backends.exact.jets import JetField
from graphc.backends.exact.reals import reals
from graphc.backends.exact.world import apply as exact_apply
from graphc.errors import DTypeError, GraphcError
from graphc.ir import DTYPES, TensorType
from graphc.ops import world as ops_world
from graphc.ops.batching import rule_of
from graphc.ops.meaning import evaluate as numpy_meaning
from graphc.ops.record import Linear, Op, Reason
from graphc.ops.typing import Facts
from graphc.verification import points
from graphc.verification.batches import batching
from graphc.verification.cases import F64, Case, cases, domain_of, rounded, samples
from graphc.verification.conventions import kinks, masks
from graphc.verification.declarations import declarations
from graphc.verification.trials import derivative_problems

CANCELLED: Final = 1e-40

# what a field that is no code, or code for something else, raises
BROKEN: Final = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, NameError, SyntaxError)


def check_op(op: Op, prove: bool = True) -> list[str]:
    """Every problem found in one record; an empty list means that its fields agree and its derivative is right.

    The order is cheapest first, and a stage is entered only if those before it found nothing: completeness,
    refusals, NumPy against the exact meaning (value, dtype, shape), what the record declares against what the op
    does, the rule against jets at a rational point (forward, reverse, second order), masks, kinks, rows at once against
    rows one by one, and last, unless `prove` is false, SymPy's proof.

    >>> from graphc.ops import lookup
    >>> check_op(lookup("tanh"))
    []
    """
    with installed(op):
        stages = [completeness, refusals]
        if not op.opaque:
            stages += [values, declarations, derivatives, masks, kinks, batching]
        if prove and not op.opaque:
            stages.append(proof)
        for stage in stages:
            try:
                problems = list(stage(op))
            except (GraphcError, *BROKEN) as error:
                problems = [f"{stage.__name__}: {type(error).__name__}: {error}"]
            except Undecided as error:
                problems = [f"{stage.__name__}: undecided: {error}"]
            if problems:
                return problems
    return []


@contextmanager
def installed(op: Op) -> Iterator[None]:
    """Put a record in the op table, so that one that differs from the table's can be checked."""
    known = ops.TABLE.get(op.name)
    if known is op:
        yield
        return
    ops.TABLE[op.name] = op
    ops_world._TYPES.clear()
    try:
        yield
    finally:
        ops_world._TYPES.clear()
        if known is None:
            del ops.TABLE[op.name]
        else:
            ops.TABLE[op.name] = known


def completeness(op: Op) -> Iterator[str]:
    """A missing field needs a reason, and a reason needs a missing field."""
    fields = {
        "exact": op.exact is not None,
        "rule": op.rule is not None,
        "batch": rule_of(op) is not None,
        "mask": not isinstance(op.rule, Linear) or op.rule.mask is not None,
        "domains": bool(op.domains),
        "errors": bool(op.errors),
        "samples": bool(samples(op)),
        # only elementwise ops have scalar meanings, and those that show their operand need none
        "kernel": op.kernel is not None or not op.elementwise or op.view,
    }
    for name, present in fields.items():
        if not present and name not in op.reasons:
            yield f"{op.name}: no {name}, and no reason for that"
        if name in op.reasons and op.reasons[name] not in get_args(Reason):
            yield f"{op.name}: {op.reasons[name]!r} is none of the reasons for which a field may be missing"
        if present and name in op.reasons:
            yield f"{op.name}: a reason is given for a missing {name} that is there"
    for name in op.reasons.keys() - fields.keys():
        yield f"{op.name}: a reason for the unknown field {name}"
    for domain in op.domains:
        if domain not in points.DOMAINS and domain != "index":
            yield f"{op.name}: there is no domain {domain!r}"
    if op.elementwise and any(len(sample.operands) != len(op.domains) for sample in samples(op)):
        yield f"{op.name}: a sample has another number of operands than there are domains"
    if not op.doc.endswith("."):
        yield f"{op.name}: doc is not a sentence"


def refusals(op: Op) -> Iterator[str]:
    """Every error sample raises its error, in its words."""
    for sample in op.errors:
        types = [read_type(text) for text in sample.operands]
        try:
            found = op.type(Facts({}), *types, **sample.attrs)
        except sample.error as error:
            if sample.words not in str(error):
                yield f"{op.name}{types}: the error does not say {sample.words!r}: {error}"
        else:
            yield f"{op.name}{types}: gives {found} where {sample.error.__name__} is due"


def read_type(text: str) -> TensorType:
    """The type of an error sample, such as f64[2,3]."""
    name, _, sizes = text.rstrip("]").partition("[")
    return TensorType([int(s) for s in sizes.split(",") if s], DTYPES[name])


def values(op: Op) -> Iterator[str]:
    """The NumPy meaning lies within `ulps` of the exact one, in the dtype and shape of the type rule."""
    for case in cases(op):
        for dtype in map(np.dtype, (np.float64, np.float32, np.int64, np.int32, np.bool_)):
            yield from _value(case, dtype)
        if not op.elementwise:
            thirds = [_third(v) if t.differentiable else v for v, t in zip(case.operands, case.types, strict=True)]
            yield from _value(case.with_operands(thirds), F64)
    if op.elementwise and not any(isinstance(o, np.ndarray) for s in samples(op) for o in s.operands):
        attrs = [s.attrs for s in samples(op)] or [{}]
        unique = {str(a): a for a in attrs}.values()
        for own in unique:
            yield from _probe(op, dict(own))


def _value(case: Case, dtype: np.dtype[Any]) -> Iterator[str]:
    """One sample, its float operands in another dtype."""
    op = case.op
    if dtype != F64 and not case.floats:
        return
    types, operands = list(case.types), list(case.operands)
    for k in case.floats:
        types[k] = TensorType(types[k].shape, dtype)
        if dtype.kind != "f":
            operands[k] = apply_each(lambda v, k=k: _whole(v, domain_of(op, k), dtype), operands[k])
    try:
        result = op.type(Facts({}), *types, **case.attrs)
    except DTypeError:
        return
    with np.errstate(all="ignore"):
        arrays = [rounded(v, t.dtype) for v, t in zip(operands, types, strict=True)]
        try:
            found = np.asarray(numpy_meaning(op, arrays, case.attrs))
        except ValueError:
            if dtype.kind == "f":
                raise
            return  # NumPy refuses some integers for their values: negative powers
    typed = Case(op, tuple(operands), tuple(types), case.attrs)
    if not isinstance(result, TensorType) or found.shape != result.shape or found.dtype != result.dtype:
        yield f"{typed}: the type rule says {result}, NumPy gives {found.dtype}{list(found.shape)}"
        return
    yield from _compare(typed, found, result)


def _third(operand: Array) -> Array:
    """A third of each element, rounded to a float: unlike the sample points these have sums that round."""
    return apply_each(lambda v: Fraction(float(v) / 3), operand)


def _whole(value: Any, domain: str, dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "b":
        return value > 1
    number = Fraction(int(value * 2))
    return number if points.belongs(domain, number) else Fraction(1)


def _probe(op: Op, attrs: dict[str, Any]) -> Iterator[str]:
    """An elementwise op where inaccuracy shows; several operands take the probes in step, and crossed."""
    if any(domain_of(op, k) == "bool" for k in range(len(op.domains))):
        return
    lists = [list(points.probes(domain)) for domain in op.domains]
    rows = list(product(*lists)) if len(lists) < 3 else list(zip(*lists, strict=False))
    operands = tuple(np.array([row[k] for row in rows], object) for k in range(len(lists)))
    types = tuple(TensorType((len(rows),), F64) for _ in lists)
    case = Case(op, operands, types, attrs)
    with np.errstate(all="ignore"):
        found = np.asarray(numpy_meaning(op, [rounded(v, F64) for v in operands], attrs))
    yield from _compare(case, found, case.result)


def _compare(case: Case, found: Array, result: TensorType) -> Iterator[str]:
    field = JetField(reals())
    with field.working():
        operands = [field.array(v) for v in case.operands]
        exact = exact_apply(field, case.op, operands, case.attrs, result)
        if exact.shape != found.shape:
            yield f"{case}: the exact meaning has shape {exact.shape}, NumPy's {found.shape}"
            return
        # sums of several terms cancel: their last place is that of the largest term
        largest = 0.0
        if case.op.ulps > 0.5 and (len(operands) > 1 or not case.op.elementwise):
            largest = max((abs(float(v)) for x in case.operands for v in x.ravel()), default=0.0)
        for i, number in np.ndenumerate(found):
            if not _within(field, number, exact[i], case.op.ulps, largest):
                yield f"{case}: NumPy gives {number!r} at {i}, the exact meaning {exact[i]}"
                return


def _within(field: JetField, number: Any, exact: Any, ulps: float, scale: float) -> bool:
    if isinstance(exact, bool) or number.dtype.kind == "b":
        return bool(exact) == bool(number) and isinstance(exact, bool)
    if not np.isfinite(number):
        return False
    if number.dtype.kind != "f":
        return field.equal(exact, field.number(int(number)))
    numbers: Any = field.numbers
    error = exact.c[0] - numbers.number(Fraction(float(number)))
    place = np.spacing(number.dtype.type(max(abs(float(number)), scale)))
    slack = min(2 * numbers.radius(error), CANCELLED)  # of an exact value that is 0 by cancellation
    return bool(numbers.magnitude(error) <= (ulps + 1e-6) * float(place) + slack)


def derivatives(op: Op) -> Iterator[str]:
    """The rule, forward and reverse, to second order, against jets of the exact meaning along random directions."""
    if op.rule is None:
        for case in cases(op):
            if case.result.differentiable and case.floats:
                yield f"{op.name}: has a float result but no derivative rule"
        return
    for number, case in enumerate(cases(op)):
        if not case.floats or not case.result.differentiable:
            continue
        yield from derivative_problems(case, random.Random(number))


def proof(op: Op) -> Iterator[str]:
    """SymPy proves both modes of the rule against its own `diff` of the exact meaning, element by element."""
    from graphc.verification.proofs import prove_rule

    if op.rule is None:
        return
    for case in cases(op):
        if case.floats and case.result.differentiable:
            yield from prove_rule(case)
