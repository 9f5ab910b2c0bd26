"""What a record declares about its op, held against what the op does: flags, accuracy, domains, kinks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, Final

import numpy as np

from graphc.backends.exact.fields import Array, apply_each, as_array
from graphc.backends.exact.jets import JetField
from graphc.backends.exact.reals import reals
from graphc.errors import GraphcError, IRError
from graphc.ir import TensorType, TupleType
from graphc.ops.meaning import evaluate as numpy_meaning
from graphc.ops.meaning import evaluate_into
from graphc.ops.record import Linear, Op
from graphc.ops.typing import Facts
from graphc.verification import points
from graphc.verification.cases import F64, Case, cases, rounded
from graphc.verification.limits import emitted, limits, value_or_none
from graphc.verification.trials import coefficient, derivative_graphs, jet_apply, number_of

MOST_ULPS: Final = 16  # a larger error is no statement about accuracy
LOUD: Final = (np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-300, -1.0, 0.0)  # numbers of which functions warn
SPECIAL: Final = tuple(map(Fraction, (-1, 0, 1, 2)))


def declarations(op: Op) -> Iterator[str]:
    """Every declaration of the record that its op does not keep."""
    for check in (flags, silence, accuracy, widest_domains, declared_kinks, taken_apart):
        yield from check(op)


def flags(op: Op) -> Iterator[str]:
    """`view`: whether a result may show an operand's storage. `elementwise`: whether elements go one by one.

    `updates`: whether the meaning can write the result into the first operand.
    """
    shown, alone, updates = False, bool(op.domains), bool(op.domains)
    for case in cases(op):
        # as an executor hands them on: results without axes are scalars
        arrays: list[Any] = [rounded(v, t.dtype)[()] for v, t in zip(case.operands, case.types, strict=True)]
        with np.errstate(all="ignore"):
            found = numpy_meaning(op, arrays, case.attrs)
            shares = any(np.shares_memory(found, x) for x in arrays if isinstance(x, np.ndarray))
            alone = alone and _one_by_one(case, arrays, np.asarray(found))
        shown = shown or shares
        updates = updates and _in_place(case, arrays, np.asarray(found))
        if shares and not op.view:
            yield f"{case}: the result shows an operand's storage, but the op is not declared a view"
    if op.view and not shown and op.name != "get":
        yield f"{op.name}: declared a view, but never shows an operand's storage"
    if updates != op.updates:
        yield f"{op.name}: updates is {op.updates}, but on the samples it is {updates}"
    if alone != op.elementwise:
        yield f"{op.name}: elementwise is {op.elementwise}, but on the samples it is {alone}"


def silence(op: Op) -> Iterator[str]:
    """`silent`: that the meaning never warns, whatever the numbers."""
    if op.silent and op.view:
        yield f"{op.name}: declared silent, which goes without saying for a view"
    for case in cases(op) if op.silent else ():
        for turn in range(len(LOUD)):
            arrays = [rounded(v, t.dtype) for v, t in zip(case.operands, case.types, strict=True)]
            for x in (x for x in arrays if x.dtype.kind == "f"):
                with np.errstate(over="ignore"):
                    x[...] = np.resize(np.roll(LOUD, turn), x.shape)
            with np.errstate(all="raise"):
                try:
                    numpy_meaning(op, arrays, case.attrs)
                except FloatingPointError as error:
                    yield f"{case}: declared silent, but of some numbers NumPy says: {error}"


def _in_place(case: Case, arrays: list[Any], found: Array) -> bool:
    """Whether the meaning writes its result into the first operand, if that is given as `out`."""
    if not arrays or case.op.elementwise:
        return False
    first = np.array(arrays[0])
    try:
        result = evaluate_into(case.op, [first, *arrays[1:]], case.attrs)
    except (TypeError, ValueError, SyntaxError, NameError):
        return False
    return result is first and bool(np.array_equal(first, found, equal_nan=True))


def _one_by_one(case: Case, arrays: list[Any], found: Array) -> bool:
    """Whether the op applied to single elements gives the elements of its result."""
    try:
        case.op.type(Facts({}), *(TensorType((), t.dtype) for t in case.types), **case.attrs)
        spread = np.broadcast_arrays(*arrays)
    except (GraphcError, ValueError):
        return False
    if spread[0].shape != found.shape:
        return False
    alone = [numpy_meaning(case.op, [x[i] for x in spread], case.attrs) for i in np.ndindex(found.shape)]
    return np.allclose(np.array(alone, found.dtype).reshape(found.shape), found, rtol=1e-12, atol=0, equal_nan=True)


def accuracy(op: Op) -> Iterator[str]:
    """`ulps` states an accuracy."""
    if not 0 <= op.ulps <= MOST_ULPS:
        yield f"{op.name}: ulps is {op.ulps}, outside 0 to {MOST_ULPS}"


def widest_domains(op: Op) -> Iterator[str]:
    """Outside an operand's domain the op, or its derivative, is not finite at some sample; else it is too narrow."""
    for k, domain in enumerate(op.domains):
        if domain not in points.FLOATS:
            continue
        outside = [p for p in points.candidates() if not points.belongs(domain, p)]
        for p in outside:
            if all(_finite(case, k, p) for case in cases(op) if k < len(case.operands)):
                yield f"{op.name}: operand {k} may be {float(p)}, outside the domain {domain!r} that is declared"
                break


def _finite(case: Case, position: int, value: Fraction) -> bool:
    moved = list(case.operands)
    moved[position] = apply_each(lambda _: value, moved[position])
    arrays = [rounded(v, t.dtype) for v, t in zip(moved, case.types, strict=True)]
    found = value_or_none(case.op, arrays, case.attrs)
    if found is None:
        return False
    with np.errstate(all="ignore"):
        if not found.size or not np.isfinite(found).all() or case.op.rule is None or not case.result.differentiable:
            return bool(found.size == 0 or np.isfinite(found).all())
        first, _ = derivative_graphs(case, 1)
        return all(np.isfinite(ct).all() for ct in emitted(first, [*arrays, np.ones(found.shape)]))


def declared_kinks(op: Op) -> Iterator[str]:
    """`kinks` are the values, among 0, 1, -1 and 2, where an op of one operand lacks a two-sided derivative."""
    found: set[Fraction] = set()
    declared = {Fraction(k) for k in op.kinks}
    if len(op.domains) == 1 and op.rule is not None and not isinstance(op.rule, Linear):
        found = {v for v in {*SPECIAL, *declared} if any(_kinked(case) for case in _single(op, v))}
    if found != declared or len(declared) != len(op.kinks):
        shown = [sorted(map(float, kinks)) for kinks in (declared, found)]
        yield f"{op.name}: kinks {shown[0]} are declared, but the derivative lacks two sides at {shown[1]}"


def _single(op: Op, value: Fraction) -> Iterator[Case]:
    """The op on one element of the given value, for each set of attributes that allows it."""
    for case in cases(op):
        types = tuple(TensorType((1,) * t.ndim, t.dtype) for t in case.types)
        single = Case(op, tuple(as_array(value).reshape(t.shape) for t in types), types, case.attrs)
        try:
            result = single.result
        except GraphcError:
            continue
        y = value_or_none(op, [rounded(v, F64) for v in single.operands], case.attrs)
        if result.differentiable and y is not None and np.isfinite(y).all():
            yield single


def _kinked(case: Case) -> bool:
    field = JetField(reals(), 1)
    direction = apply_each(lambda _: Fraction(1), case.operands[0])

    def along(k: int) -> Callable[[Fraction], Any]:
        def at(offset: Fraction) -> Any:
            moved = case.with_operands([apply_each(lambda v: v + offset, case.operands[0])])
            return number_of(field, coefficient(jet_apply(moved, field, [direction]), k).ravel()[0])

        return at

    with field.working():
        slope, value = limits(along(1), field), limits(along(0), field)
    return slope.two_sided is None or value.two_sided is None


def taken_apart(op: Op) -> Iterator[str]:
    """`get` takes one result of several; it is the one op whose operand no sample can give."""
    if op.name != "get":
        return
    items = (np.array([1.5, -2.0]), np.array(3))
    types = [TensorType(x.shape, x.dtype) for x in items]
    for index, (item, type) in enumerate(zip(items, types, strict=True)):
        found = numpy_meaning(op, [items], {"index": index})
        if found is not item:
            yield f"get({index}) gives {found!r}, not {item!r}"
        if op.type(Facts({}), TupleType(types), index=index) is not type:
            yield f"get({index}): the type is not that of the result"
    if not op.view or op.elementwise:
        yield "get: shows the storage of one result, whatever its elements"
    try:
        op.type(Facts({}), TupleType(types), index=len(items))
    except IRError:
        return
    yield "get: takes a result that is not there"
