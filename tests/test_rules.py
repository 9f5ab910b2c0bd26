"""The op table against exact mathematics: one row per record, and mutants that must not survive."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest

from graphc.ops import TABLE
from graphc.ops.record import Jvp, Linear, Masked, Multilinear, Op, Partials, Reason
from graphc.verification.cases import cases
from graphc.verification.rules import check_op, installed


@pytest.mark.parametrize("name", TABLE)
def test_a_record_agrees_with_exact_mathematics(name: str) -> None:
    assert check_op(TABLE[name]) == []


def test_every_float_op_has_an_exact_meaning_and_a_derivative() -> None:
    structural = "structural: acts on exact values as NumPy acts on object arrays"
    reasons: Counter[str] = Counter()
    for op in TABLE.values():
        reasons.update(op.reasons.values())
        assert op.exact is not None or op.reasons["exact"] == structural or op.opaque
        if op.opaque:
            continue
        for case in cases(op):
            if case.floats and case.result.differentiable:
                assert op.rule is not None, op.name
    assert set(reasons) <= set(get_args(Reason))
    # few ops may do without a field; more need a look
    assert reasons["integer or boolean result: no tangent"] <= 33
    assert reasons[structural] <= 12
    assert {name for name, op in TABLE.items() if op.opaque} == {"debug_print", "pure_callback"}


def test_every_record_with_operands_is_tried_on_some() -> None:
    untried = [name for name, op in TABLE.items() if op.domains and not list(cases(op))]
    assert untried == []


# --- mutants -------------------------------------------------------------------------------------------------


def negated(value: Any) -> Any:
    if isinstance(value, Masked):
        return Masked(value.mask, negated(value.factor))
    if isinstance(value, tuple):
        return tuple(negated(v) for v in value)
    return None if value is None else -value


def doubled(value: Any) -> Any:
    if isinstance(value, Masked):
        return Masked(value.mask, doubled(value.factor))
    if isinstance(value, tuple):
        return tuple(doubled(v) for v in value)
    return None if value is None else 2 * value


def unmasked(value: Any) -> Any:
    return value.factor if isinstance(value, Masked) else value


def after(change: Any, rule: Any) -> Any:
    return lambda *args, **attrs: change(rule(*args, **attrs))


def wrong_rules(op: Op) -> Iterator[tuple[str, Any]]:
    """Derivative rules that differ from the record's in one place."""
    rule = op.rule
    changes = (("negated", negated), ("doubled", doubled))
    if isinstance(rule, Partials):
        for i, partial in enumerate(rule.partials):

            def put(new: Any, i: int = i) -> Partials:
                return Partials(*rule.partials[:i], new, *rule.partials[i + 1 :])

            if partial is None:
                yield f"partial {i} made 1", put(lambda w, y, *x, **attrs: 1)
                continue
            for label, change in changes:
                yield f"partial {i} {label}", put(after(change, partial))
            yield f"partial {i} dropped", put(None)
            if op.name in ("pow", "hypot"):
                yield f"partial {i} unmasked", put(after(unmasked, partial))
        if len(rule.partials) == 2 and op.name not in ("add", "floor_divide"):
            yield "partials swapped", Partials(*rule.partials[::-1])
    elif isinstance(rule, Linear):
        for label, change in changes:
            yield f"transpose {label}", Linear(rule.positions, after(change, rule.transpose), rule.mask)
        yield "transpose dropped", Linear(rule.positions, lambda w, ct, *x, **attrs: (None,) * len(x), None)
        if rule.mask is not None:
            everything = after(
                lambda marks: tuple(m.world.logical_or(m, m.world.logical_not(m)) for m in marks), rule.mask
            )
            yield "mask widened", Linear(rule.positions, rule.transpose, everything)
    elif isinstance(rule, Multilinear):
        for i, transpose in enumerate(rule.transposes):
            for label, change in changes:
                rest = rule.transposes
                yield f"transpose {i} {label}", Multilinear(*rest[:i], after(change, transpose), *rest[i + 1 :])
        yield "transposes swapped", Multilinear(*rule.transposes[::-1])
    elif isinstance(rule, Jvp):
        for label, change in changes:
            yield f"jvp {label}", dataclasses.replace(rule, jvp=after(change, rule.jvp))
            if rule.transpose is not None:
                yield f"transpose {label}", dataclasses.replace(rule, transpose=after(change, rule.transpose))
        yield "jvp dropped", dataclasses.replace(rule, jvp=lambda *args, **attrs: None)


def wrong_meanings(op: Op) -> Iterator[tuple[str, Any]]:
    """Exact meanings that differ from the record's in one place."""
    exact = op.exact
    if exact is None or op.name in ("const", "dim", "iota", "pi"):
        return
    result = next(case.result for case in cases(op))

    def meaning(s: Any, *x: Any, **attrs: Any) -> Any:
        return getattr(s, exact)(*x, **attrs) if isinstance(exact, str) else exact(s, *x, **attrs)

    if result.dtype == np.bool_:
        yield "meaning dropped", lambda s, *x, **attrs: x[0]
        if op.elementwise:
            yield "meaning negated", lambda s, *x, **attrs: s.logical_not(meaning(s, *x, **attrs))
    elif op.name != "cast":
        yield "meaning negated", lambda s, *x, **attrs: -meaning(s, *x, **attrs)
        yield "meaning doubled", lambda s, *x, **attrs: 2 * meaning(s, *x, **attrs)
    if op.name in ("sub", "div", "floor_divide", "remainder", "pow", "lt", "le", "gt", "ge", "fmod", "arctan2"):
        yield "operands swapped", lambda s, a, b: meaning(s, b, a)


MUTANTS = [
    *((name, f"{name}: {label}", "rule", rule) for name, op in TABLE.items() for label, rule in wrong_rules(op)),
    *((name, f"{name}: {label}", "exact", new) for name, op in TABLE.items() for label, new in wrong_meanings(op)),
]


@pytest.mark.parametrize(("name", "field", "value"), [(m[0], m[2], m[3]) for m in MUTANTS], ids=[m[1] for m in MUTANTS])
def test_no_mutant_survives(name: str, field: str, value: Any) -> None:
    assert check_op(dataclasses.replace(TABLE[name], **{field: value}), prove=False) != []


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("tanh", {"errors": ()}, "no errors, and no reason"),
        ("tanh", {"reasons": {"rule": "no operands"}}, "a reason is given for a missing rule"),
        ("tanh", {"doc": "Hyperbolic tangent"}, "not a sentence"),
        ("expm1", {"numpy": "np.exp({0}) - 1"}, "NumPy gives"),
        ("add", {"type": TABLE["lt"].type}, "the type rule says bool"),
        ("reshape", {"type": TABLE["transpose"].type}, "TypeError"),
        ("sub", {"errors": TABLE["add"].errors[:1] + TABLE["matmul"].errors[:1]}, "does not say"),
        ("sin", {"rule": Partials(lambda w, y, x: w.cos(x) + w.constant(2.0**-60, x.dtype))}, "forward derivative"),
    ],
)
def test_a_broken_field_is_named(name: str, changes: dict[str, Any], words: str) -> None:
    (problem, *_) = check_op(dataclasses.replace(TABLE[name], **changes))
    assert words in problem


def test_a_replaced_record_leaves_no_trace() -> None:
    wrong = dataclasses.replace(TABLE["sin"], rule=Partials(lambda w, y, x: y))
    with installed(wrong):
        assert TABLE["sin"] is wrong
    assert TABLE["sin"] is not wrong
    assert check_op(TABLE["sin"]) == []
