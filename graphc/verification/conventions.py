"""What derivative rules do beside smooth points: masks, and values at kinks and ties."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import product
from typing import Any, Final

import numpy as np

from graphc.backends.exact.fields import Array, apply_each, as_array, indices
from graphc.backends.exact.jets import JetField
from graphc.backends.exact.reals import reals
from graphc.backends.exact.world import ExactWorld
from graphc.ir import TensorType
from graphc.ops.record import Linear, Masked, Op
from graphc.verification import points
from graphc.verification.cases import BOOL, F64, Case, cases, domain_of, exactly, rounded, samples
from graphc.verification.limits import emitted, limits, value_or_none
from graphc.verification.trials import coefficient, derivative_graphs, jet_apply, number_of


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
                r = world.select(r.mask, r.factor, 0) if isinstance(r, Masked) else r
                if (r is None) != (m is None):
                    yield f"{case}: mask and transpose disagree on operand {k}"
                elif r is not None:
                    expected = apply_each(lambda v: field.sign_of(v) != 0, r.array)
                    if m.dtype != BOOL or expected.shape != m.shape or (expected != m.array).any():
                        yield f"{case}: the mask of operand {k} is not what the transpose reaches"


INT: Final = np.dtype(np.int64)
SPECIAL: Final = (Fraction(-1), Fraction(0), Fraction(1), Fraction(2))


def kinks(op: Op) -> Iterator[str]:
    """At 0, 1, -1 and ties: the NumPy derivative is the two-sided limit, or at a kink the mean of the two sides.

    Where the record declares a kink, 0 is a convention too; between more than two sides anything between is.
    """
    if op.rule is None:
        return
    for case in special_cases(op):
        result = case.result
        if not result.differentiable or not case.floats:
            continue
        arrays = [rounded(v, t.dtype) for v, t in zip(case.operands, case.types, strict=True)]
        value = value_or_none(op, arrays, case.attrs)
        if value is None or not np.isfinite(value).all():
            continue  # outside the domain
        first, _ = derivative_graphs(case, 1)
        for o in _few(value.shape):
            seed = np.zeros(value.shape)
            seed[o] = 1
            try:
                cotangents = emitted(first, [*arrays, seed])
            except np.linalg.LinAlgError:
                break  # it says itself that there is none
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
                    domain = domain_of(op, k)
                    operands.append(as_array(value > 0 if domain == "bool" else value))
                    types.append(TensorType((), {"bool": BOOL, "index": INT}.get(domain, F64)))
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


def _few(shape: Any) -> list[tuple[int, ...]]:
    return list(indices(shape))[:2]


def _directions(shape: Any) -> Iterator[Array]:
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
            return number_of(field, coefficient(jet_apply(case.with_operands(moved), field, directions), k)[output])

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
