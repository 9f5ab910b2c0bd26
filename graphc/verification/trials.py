"""One op's derivatives at one point along random directions, against jets of its exact meaning."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from graphc.backends.exact.fields import Array, apply_each, as_array, empty, indices
from graphc.backends.exact.jets import Jet, JetField
from graphc.backends.exact.reals import reals
from graphc.backends.exact.world import ExactWorld, evaluate
from graphc.backends.exact.world import apply as exact_apply
from graphc.ir import Builder, Graph, TensorType
from graphc.ops.world import GraphWorld, Value
from graphc.passes.linearize import forward, push
from graphc.passes.transpose import backward
from graphc.verification.cases import Case


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
        if differs(plain, dot(plain, ct, trial.u[k]), dot(plain, reference, trial.weights)) is not None:
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
    parts = [dot(plain, row, trial.u[k]) for k, row in zip(case.floats, rows, strict=True)]
    total = parts[0]
    for part in parts[1:]:
        total = as_array(total + part)
    if differs(plain, total, dot(plain, mixed, trial.weights)) is not None:
        return "the second derivative is wrong, reverse over reverse"
    if differs(plain, tangent, mixed) is not None:
        return "the second derivative is wrong, forward over forward"
    return None


def _direction(t: TensorType, rng: random.Random) -> Array:
    result = empty(t.shape)
    for i in indices(t.shape):
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
    return as_array(exact_apply(field, case.op, operands, case.attrs, case.result))


def constants(field: JetField, value: Array) -> Array:
    """Fractions, or jets of another field over the same numbers, as constants of this field."""
    return apply_each(lambda v: field.jet(v.c[0]) if isinstance(v, Jet) else field.admit(v), value)


def line(field: JetField, value: Array, direction: Array) -> Array:
    """value + t direction as jets."""
    number = field.numbers.number
    return apply_each(lambda c, d: field.jet(c.c[0], number(d)) if d else c, constants(field, value), direction)


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


def dot(field: JetField, a: Array, b: Array) -> Array:
    total = field.number(0).c[0]
    for x, y in zip(as_array(a).ravel(), as_array(b).ravel(), strict=True):
        total = total + number_of(field, x) * number_of(field, y)
    return as_array(total)


def number_of(field: JetField, x: Any) -> Any:
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
        x, y = number_of(field, a[i]), number_of(field, b[i])
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
    d, u = ([Value(w, builder.input(f"{name}{k}", case.types[k])) for k in case.floats] for name in ("d", "u"))
    total: Any = None
    for g, direction in zip(found, d, strict=True):
        term = w.reduce_sum(g * direction, axes=tuple(range(g.ndim)), keepdims=False)
        total = term if total is None else total + term
    rows = backward(w, [total.id], [w.full(1, total.type)], wrt)
    hessian = [filled(w, g, operands[k]) for k, g in zip(case.floats, rows, strict=True)]
    (tangent,) = forward(w, [y.id], wrt, d)
    tangent = filled(w, tangent, y)
    (curved,) = forward(w, [tangent.id], wrt, u)
    return first, builder.finish([*(h.id for h in hessian), filled(w, curved, y).id])


def filled(w: GraphWorld, value: Value | None, like: Value) -> Any:
    """A derivative, zeros where it is structurally absent."""
    return w.full(0, like.type) if value is None else value
