"""Proof of the op table: each record's fields against each other and against SymPy.

`check_op` is what the table tests run. The reference for a derivative is never one of our rules: it is the jet,
or SymPy's `diff`, of the op's forward exact meaning.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any, Final

import numpy as np

from graphc import ops
from graphc.backends.exact.fields import Array, ExactError, Undecided, apply_each, as_array
from graphc.backends.exact.jets import Jet, JetField
from graphc.backends.exact.reals import reals
from graphc.backends.exact.world import ExactWorld, evaluate
from graphc.backends.exact.world import apply as exact_apply
from graphc.errors import DTypeError, GraphcError
from graphc.ir import DTYPES, Builder, Graph, TensorType
from graphc.ops import world as ops_world
from graphc.ops.meaning import evaluate as numpy_meaning
from graphc.ops.record import Linear, Op, Sample
from graphc.ops.typing import Facts
from graphc.ops.world import GraphWorld, Value
from graphc.passes.linearize import forward, push
from graphc.passes.transpose import backward
from graphc.verification import points
from graphc.verification.limits import emitted, limits

F64: Final = np.dtype(np.float64)
BOOL: Final = np.dtype(np.bool_)
SHAPES: Final[dict[int, tuple[tuple[tuple[int, ...], ...], ...]]] = {
    1: (((3,),), ((),)),
    2: (((2, 3), (3,)), ((), (2,)), ((2,), (2,))),
    3: (((2, 3), (3,), (2, 1)), ((), (), ())),
}


def check_op(op: Op, prove: bool = True) -> list[str]:
    """Every problem found in one record; an empty list means that its fields agree and its derivative is right.

    The order is cheapest first, and a stage is entered only if those before it found nothing: completeness,
    refusals, NumPy against the exact meaning (value, dtype, shape), the rule against jets at a rational point
    (forward, reverse, second order), masks, kinks, and last, unless `prove` is false, SymPy's proof.

    >>> from graphc.ops import lookup
    >>> check_op(lookup("tanh"))
    []
    """
    with installed(op):
        stages = [completeness, refusals, values, derivatives, masks, kinks, *([proof] if prove else [])]
        for stage in stages:
            try:
                problems = list(stage(op))
            except (GraphcError, ValueError, TypeError, ArithmeticError, IndexError, AttributeError) as error:
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
        "domains": bool(op.domains),
        "errors": bool(op.errors),
    }
    for name, present in fields.items():
        if not present and name not in op.reasons:
            yield f"{op.name}: no {name}, and no reason for that"
        if present and name in op.reasons:
            yield f"{op.name}: a reason is given for a missing {name} that is there"
    for name in op.reasons.keys() - fields.keys():
        yield f"{op.name}: a reason for the unknown field {name}"
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


# --- operands ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """An op on one sample: exact operand values, and the float64 (or bool, int) types they stand for."""

    op: Op
    operands: tuple[Array, ...]  # of Fraction, bool
    types: tuple[TensorType, ...]
    attrs: dict[str, Any]

    @property
    def floats(self) -> tuple[int, ...]:
        """Positions of the operands that can vary."""
        return tuple(k for k, t in enumerate(self.types) if t.differentiable)

    @property
    def result(self) -> TensorType:
        """The result's type by the op's rule."""
        return self.op.type(Facts({}), *self.types, **self.attrs)  # type: ignore[return-value]

    def with_operands(self, operands: Sequence[Array]) -> Case:
        """The same op, types and attributes on other values."""
        return Case(self.op, tuple(operands), self.types, self.attrs)

    def __str__(self) -> str:
        shown = "".join(f", {k}={v}" for k, v in self.attrs.items())
        return f"{self.op.name}({', '.join(map(str, self.types))}{shown})"


def samples(op: Op) -> tuple[Sample, ...]:
    """The record's samples; an elementwise op without any gets shapes that broadcast."""
    return op.samples or tuple(Sample(shapes) for shapes in SHAPES.get(len(op.domains), ()))


def cases(op: Op) -> Iterator[Case]:
    """The op on each of its samples, at random points of its domains."""
    for number, sample in enumerate(samples(op)):
        rng = random.Random(f"{op.name} {number}")
        operands, types = [], []
        seen: set[Fraction | bool] = set()
        for k, operand in enumerate(sample.operands):
            domain = domain_of(op, k)
            if isinstance(operand, np.ndarray):
                operands.append(exactly(operand))
                types.append(TensorType(operand.shape, operand.dtype))
            else:
                operands.append(points.draw(domain, operand, rng, seen))
                types.append(TensorType(operand, BOOL if domain == "bool" else F64))
        yield Case(op, tuple(operands), tuple(types), dict(sample.attrs))


def domain_of(op: Op, position: int) -> str:
    """The domain of an operand; the last one named serves for all that follow."""
    return op.domains[min(position, len(op.domains) - 1)]


def exactly(array: Array) -> Array:
    """A NumPy array as Fractions, bools kept."""
    return apply_each(lambda v: v if isinstance(v, bool) else Fraction(v), array.astype(object))


def rounded(array: Array, dtype: np.dtype[Any]) -> Array:
    """Fractions as an array of the dtype."""
    number = {"f": float, "b": bool}.get(dtype.kind, int)
    return np.array([number(v) for v in array.ravel()], dtype).reshape(array.shape)


# --- NumPy against the exact meaning ------------------------------------------------------------------------


def values(op: Op) -> Iterator[str]:
    """The NumPy meaning lies within `ulps` of the exact one, in the dtype and shape of the type rule."""
    for case in cases(op):
        for dtype in map(np.dtype, (np.float64, np.float32, np.int64, np.bool_)):
            yield from _value(case, dtype)
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
    return bool(numbers.magnitude(error) <= (ulps + 1e-6) * float(place))


# --- derivatives by jets ------------------------------------------------------------------------------------


def derivatives(op: Op) -> Iterator[str]:
    """The rule, forward and reverse, to second order, against jets of the exact meaning along random directions."""
    if op.rule is None:
        for case in cases(op):
            if case.result.differentiable and case.floats:
                yield f"{op.name}: has a float result but no derivative rule"
        return
    for number, case in enumerate(cases(op)):
        if not case.floats or not isinstance(case.result, TensorType) or not case.result.differentiable:
            continue
        yield from derivative_problems(case, random.Random(number))


def derivative_problems(case: Case, rng: random.Random) -> Iterator[str]:
    """What is wrong with the op's derivatives at one case's operands, to second order."""
    trial = Trial.of(case, rng)
    with trial.plain.working():
        for stage in (forward_problem, reverse_problem, second_problem):
            problem = stage(trial)
            if problem is not None:
                yield f"{case}: {problem}"
                return


@dataclass(frozen=True, slots=True)
class Trial:
    """A case with random directions u and d of its operands and weights of its result."""

    case: Case
    plain: JetField
    jets: JetField
    exact: list[Array]
    u: list[Array]
    d: list[Array]
    weights: Array

    @staticmethod
    def of(case: Case, rng: random.Random) -> Trial:
        """The case along random directions."""
        numbers = reals()
        plain = JetField(numbers)
        u, d = ([_direction(t, rng) for t in case.types] for _ in range(2))
        with plain.working():
            exact = [constants(plain, v) for v in case.operands]
        return Trial(case, plain, JetField(numbers, 2), exact, u, d, _direction(case.result, rng))

    def moved(self, along: Sequence[Array | None], k: int) -> Array:
        """The k-th Taylor coefficients of the result along a direction of the operands: the reference."""
        return coefficient(jet_apply(self.case, self.jets, along), k)

    def one(self, k: int) -> list[Array | None]:
        """The direction u of operand k alone."""
        return [direction if j == k else None for j, direction in enumerate(self.u)]


def forward_problem(trial: Trial) -> str | None:
    """The rule pushes tangents as jets do, one operand at a time and all together."""
    case = trial.case
    for wanted in dict.fromkeys([*((k,) for k in case.floats), case.floats]):
        along = [direction if k in wanted else None for k, direction in enumerate(trial.u)]
        found = _pushed(case, trial.plain, trial.exact, along)
        where = differs(trial.plain, found, trial.moved(along, 1))
        if where is not None:
            at = f" at {list(where)}" if where else ""
            return f"the forward derivative by operand {', '.join(map(str, wanted))} is wrong{at}"
    return None


def reverse_problem(trial: Trial) -> str | None:
    """The rule pulls cotangents back as the transposed jets do."""
    case, plain = trial.case, trial.plain
    first, _ = derivative_graphs(case, 1)
    cotangents = evaluate(first, [*trial.exact, plain.array(trial.weights)], plain)
    for k, ct in zip(case.floats, cotangents, strict=True):
        reference = trial.moved(trial.one(k), 1)
        if differs(plain, _dot(plain, ct, trial.u[k]), _dot(plain, reference, trial.weights)) is not None:
            return f"the reverse derivative by operand {k} is wrong"
    return None


def second_problem(trial: Trial) -> str | None:
    """Reverse over reverse and forward over forward give the second derivative of the jets."""
    case, plain = trial.case, trial.plain
    _, second = derivative_graphs(case, 2)
    both = [as_array(a + b) for a, b in zip(trial.u, trial.d, strict=True)]
    quadratic = [trial.moved(along, 2) for along in (both, trial.u, trial.d)]
    mixed = apply_each(lambda whole, a, b: whole - a - b, *quadratic)
    directions = [plain.array(v[k]) for v in (trial.d, trial.u) for k in case.floats]
    *rows, tangent = evaluate(second, [*trial.exact, plain.array(trial.weights), *directions], plain)
    parts = [_dot(plain, row, trial.u[k]) for k, row in zip(case.floats, rows, strict=True)]
    total = parts[0]
    for part in parts[1:]:
        total = as_array(total + part)
    if differs(plain, total, _dot(plain, mixed, trial.weights)) is not None:
        return "the second derivative is wrong, reverse over reverse"
    if differs(plain, tangent, mixed) is not None:
        return "the second derivative is wrong, forward over forward"
    return None


def _direction(t: TensorType, rng: random.Random) -> Array:
    result = np.empty(t.shape, object)
    for i in np.ndindex(t.shape):
        result[i] = Fraction(rng.choice((-1, 1)) * rng.randrange(1, 64), 16)
    return result


def jet_apply(case: Case, field: JetField, along: Sequence[Array | None]) -> Array:
    """The exact meaning on operands that move along a direction (None: fixed)."""
    operands = []
    for value, t, direction in zip(case.operands, case.types, along, strict=True):
        if direction is None or not t.differentiable:
            operands.append(constants(field, value))
        else:
            operands.append(line(field, value, direction))
    return exact_apply(field, case.op, operands, case.attrs, case.result)


def constants(field: JetField, value: Array) -> Array:
    """Fractions, or jets of another field over the same numbers, as constants of this field."""
    return apply_each(lambda v: field.jet(v.c[0]) if isinstance(v, Jet) else field.admit(v), value)


def line(field: JetField, value: Array, direction: Array) -> Array:
    """value + t direction as jets."""
    number = field.numbers.number
    return apply_each(
        lambda c, d: field.jet(c.c[0], number(d)) if d else c, constants(field, value), direction
    )


def coefficient(jets: Array, k: int) -> Array:
    """The k-th coefficients of an array of jets, as numbers."""
    return apply_each(lambda j: 0 if isinstance(j, bool) else j.coefficient(k), jets)


def _pushed(case: Case, field: JetField, operands: Sequence[Array], along: Sequence[Array | None]) -> Array:
    world = ExactWorld(field)
    handles = [world.value(v, t) for v, t in zip(operands, case.types, strict=True)]
    tangents = [
        None if v is None or not t.differentiable else world.value(field.array(v), t)
        for v, t in zip(along, case.types, strict=True)
    ]
    y = world.emit(case.op, handles, tuple(sorted(case.attrs.items())))
    out = push(world, case.op, y, handles, tangents, case.attrs)
    if out is None:
        return field.array(np.zeros(y.shape, np.int64))
    if out.type.shape != y.type.shape or out.dtype != y.dtype:
        raise ValueError(f"a tangent of type {out.type} for a result of type {y.type}")
    return as_array(out.array)


def _dot(field: JetField, a: Array, b: Array) -> Array:
    total = field.number(0).c[0]
    for x, y in zip(as_array(a).ravel(), as_array(b).ravel(), strict=True):
        total = total + _number(field, x) * _number(field, y)
    return as_array(total)


def _number(field: JetField, x: Any) -> Any:
    if isinstance(x, Fraction):
        return field.numbers.number(x)
    return x.c[0] if hasattr(x, "c") else field.numbers.number(0) + x


def differs(field: JetField, a: Array, b: Array) -> tuple[int, ...] | None:
    """The first position at which two arrays of exact numbers certainly differ, or are not finite."""
    numbers: Any = field.numbers
    a, b = as_array(a), as_array(b)
    if a.shape != b.shape:
        return ()
    for i in np.ndindex(a.shape):
        x, y = _number(field, a[i]), _number(field, b[i])
        if not numbers.close(x - y, numbers.magnitude(y)):
            return i
    return None


def derivative_graphs(case: Case, order: int) -> tuple[Graph, Graph]:
    """The op's cotangents, and its second derivatives, as graphs.

    First: inputs are the operands and a cotangent. Second: then a direction d, then a direction u, for each float
    operand; outputs are the cotangents of <cotangents, d>, and the second tangent along d and u. With order 1 the
    second graph is the first.
    """
    builder = Builder()
    w = GraphWorld(builder)
    operands = [Value(w, builder.input(f"x{k}", t)) for k, t in enumerate(case.types)]
    ct = Value(w, builder.input("ct", case.result))
    y = w.emit(case.op, operands, tuple(sorted(case.attrs.items())))
    wrt = [operands[k].id for k in case.floats]
    found = [filled(w, g, operands[k]) for k, g in zip(case.floats, backward(w, [y.id], [ct], wrt), strict=True)]
    first = builder.finish([g.id for g in found])
    if order == 1:
        return first, first
    d, u = (
        [Value(w, builder.input(f"{name}{k}", case.types[k])) for k in case.floats] for name in ("d", "u")
    )
    total = None
    for g, direction in zip(found, d, strict=True):
        term = w.reduce_sum(g * direction, axes=tuple(range(g.ndim)), keepdims=False)
        total = term if total is None else total + term
    rows = backward(w, [total.id], [w.full(1, total.type)], wrt)  # type: ignore[attr-defined]
    hessian = [filled(w, g, operands[k]) for k, g in zip(case.floats, rows, strict=True)]
    (tangent,) = forward(w, [y.id], wrt, d)
    tangent = filled(w, tangent, y)
    (curved,) = forward(w, [tangent.id], wrt, u)
    return first, builder.finish([*(h.id for h in hessian), filled(w, curved, y).id])


def filled(w: GraphWorld, value: Value | None, like: Value) -> Any:
    """A derivative, zeros where it is structurally absent."""
    return w.full(0, like.type) if value is None else value


# --- masks and kinks ----------------------------------------------------------------------------------------


def masks(op: Op) -> Iterator[str]:
    """A `Linear` rule that carries masks marks what the transpose of the marked cotangents reaches."""
    rule = op.rule
    if not isinstance(rule, Linear) or rule.mask is None:
        return
    field = JetField(reals())
    for number, case in enumerate(cases(op)):
        if not case.result.differentiable:
            continue
        rng = random.Random(number)
        with field.working():
            world = ExactWorld(field)
            handles = [world.value(field.array(v), t) for v, t in zip(case.operands, case.types, strict=True)]
            result = case.result
            marked = points.draw("bool", result.shape, rng)
            mask = world.value(marked, TensorType(result.shape, BOOL))
            ct = world.value(field.array(marked.astype(np.int64)), result)
            reached = rule.transpose(world, ct, *handles, **case.attrs)
            carried = rule.mask(world, mask, *handles, **case.attrs)
            for k, (r, m) in enumerate(zip(reached, carried, strict=True)):
                if (r is None) != (m is None):
                    yield f"{case}: mask and transpose disagree on operand {k}"
                elif r is not None:
                    expected = apply_each(lambda v: field.sign_of(v) != 0, r.array)
                    if m.dtype != BOOL or expected.shape != m.shape or (expected != m.array).any():
                        yield f"{case}: the mask of operand {k} is not what the transpose reaches"


SPECIAL: Final = (Fraction(-1), Fraction(0), Fraction(1), Fraction(2))


def kinks(op: Op) -> Iterator[str]:
    """At 0, 1, -1 and ties: the NumPy derivative is the two-sided limit, or at a kink the mean of the two sides.

    Where the record declares a kink, 0 is a convention too; between more than two sides anything between is.
    """
    if op.rule is None:
        return
    for case in special_cases(op):
        result = case.result
        if not isinstance(result, TensorType) or not result.differentiable or not case.floats:
            continue
        arrays = [rounded(v, t.dtype) for v, t in zip(case.operands, case.types, strict=True)]
        with np.errstate(all="ignore"):
            if not np.isfinite(numpy_meaning(op, arrays, case.attrs)).all():
                continue  # outside the domain
        first, _ = derivative_graphs(case, 1)
        for o in _few(result.shape):
            seed = np.zeros(result.shape)
            seed[o] = 1
            with np.errstate(all="ignore"):
                cotangents = emitted(first, [*arrays, seed])
            for k, ct in zip(case.floats, cotangents, strict=True):
                for direction in _directions(case.types[k].shape):
                    problem = _kink(case, k, direction, o, float(np.sum(ct[direction != 0])))
                    if problem:
                        yield problem
                        return


def special_cases(op: Op) -> Iterator[Case]:
    """Operands at 0, 1 and -1: every combination for elementwise ops, constant arrays for the others."""
    if op.elementwise:
        for sample in samples(op)[-1:] if not op.samples else samples(op):
            for row in product(SPECIAL, repeat=len(op.domains)):
                operands, types = [], []
                for k, value in enumerate(row):
                    boolean = domain_of(op, k) == "bool"
                    operands.append(as_array(value > 0 if boolean else value))
                    types.append(TensorType((), BOOL if boolean else F64))
                yield Case(op, tuple(operands), tuple(types), dict(sample.attrs))
        return
    for case in cases(op):
        if sum(v.size for v in case.operands) > 6 or any(not v.size for v in case.operands):
            continue
        for value in (Fraction(0), Fraction(1)):
            yield case.with_operands(
                [
                    apply_each(lambda _, value=value: value, v) if t.differentiable else v
                    for v, t in zip(case.operands, case.types, strict=True)
                ]
            )


def _few(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    return list(np.ndindex(shape))[:2]


def _directions(shape: tuple[int, ...]) -> Iterator[Array]:
    for i in _few(shape):
        one = np.zeros(shape, np.int64)
        one[i] = 1
        yield exactly(one)
    if shape:
        yield exactly(np.ones(shape, np.int64))


def _kink(case: Case, operand: int, direction: Array, output: tuple[int, ...], found: float) -> str | None:
    field = JetField(reals(), 1)

    def along(k: int) -> Callable[[Fraction], Any]:
        def at(offset: Fraction) -> Any:
            moved = list(case.operands)
            moved[operand] = apply_each(lambda v, d: v + offset * d, moved[operand], direction)
            directions: list[Array | None] = [None] * len(moved)
            directions[operand] = direction
            return _number(field, coefficient(jet_apply(case.with_operands(moved), field, directions), k)[output])

        return at

    with field.working():
        sides = limits(along(1), field)
        jumps = sides.two_sided is None and limits(along(0), field).two_sided is None
    both = sides.two_sided
    allowed: str | None = None
    if both is not None:
        allowed = None if abs(found - both) <= 1e-9 * (1 + abs(both)) else f"the limit is {sides}"
    elif sides.below is not None and sides.above is not None:
        mean = (sides.below + sides.above) / 2
        inside = min(sides.below, sides.above) <= found <= max(sides.below, sides.above)
        fair = abs(found - mean) < 1e-9 or (case.op.kinks and found == 0)
        if not (fair if case.op.elementwise and not jumps else inside):
            allowed = f"the sides are {sides}"
    if allowed is None:
        return None
    at = ", ".join(str(v.tolist()) for v in case.operands)
    return f"{case} at {at}: the derivative by operand {operand} is {found}, but {allowed}"


# --- proof --------------------------------------------------------------------------------------------------


def proof(op: Op) -> Iterator[str]:
    """SymPy proves both modes of the rule against its own `diff` of the exact meaning, element by element."""
    from graphc.verification.proofs import prove_rule

    if op.rule is None:
        return
    for case in cases(op):
        if case.floats and case.result.differentiable:
            yield from prove_rule(case)


__all__ = ["Case", "ExactError", "cases", "check_op", "installed"]
