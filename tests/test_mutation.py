"""No mutant of the op table survives the table's own checks."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable

import pytest

from graphc.ops import TABLE
from graphc.ops.record import Op
from graphc.verification.cases import cases
from graphc.verification.rules import check_op
from tests.mutation import EQUIVALENT, EXACT, MUTATIONS, SYMMETRIC, Mutant, equivalent, mutants
from tests.test_cost import complaint


def killed(mutant: Mutant) -> bool:
    """Whether a check of the table sees the mutant. What the counts of work are held against is an execution."""
    if mutant.field == "work":
        return any(map(complaint, cases(mutant.op)))
    return bool(check_op(mutant.op, prove=False))


@pytest.mark.parametrize("name", [name for name, op in TABLE.items() if not op.opaque])
def test_no_mutant_survives(name: str, record_property: Callable[[str, object], None]) -> None:
    alive: list[str] = []
    counts = Counter({"survivors": 0})
    for mutant in mutants(name):
        if killed(mutant):
            counts[f"killed: {mutant.field}"] += 1
        else:
            alive.append(str(mutant))
    counts["survivors"] = len(alive)
    record_property("counts: mutants of the op table", dict(counts))
    assert alive == []
    assert counts.total() > 20


def test_every_field_is_mutated() -> None:
    assert set(MUTATIONS) == {field.name for field in dataclasses.fields(Op)}


def test_every_excuse_is_needed() -> None:
    """A mutant that is listed as meaning the same exists, and does survive."""
    found = {}
    for op in (op for op in TABLE.values() if not op.opaque):
        for field, mutate in MUTATIONS.items():
            for kind, value in mutate(op):
                if equivalent(op, field, kind) is not None:
                    found[op.name, field, kind] = check_op(dataclasses.replace(op, **{field: value}), prove=False)
    assert [key for key, problems in found.items() if problems] == []
    listed = {*EQUIVALENT, *((name, "ulps", "zero") for name in EXACT)}
    assert listed <= set(found)
    assert {name for name, _, kind in found if kind == "swapped"} - {"add", "floor_divide"} <= SYMMETRIC
