"""No mutant of the op table survives the table's own checks."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from graphc.backends.numpy.llvm import generator
from graphc.compiler import Compiled, Options
from graphc.ir import TensorType
from graphc.ops import TABLE
from graphc.ops.meaning import evaluate
from graphc.ops.record import Op
from graphc.passes import pipeline
from graphc.verification.cases import cases, rounded, samples
from graphc.verification.rules import check_op, installed
from tests.mutation import EQUIVALENT, EXACT, MUTATIONS, SYMMETRIC, Mutant, equivalent, mutants
from tests.op_kernels import assert_near, dtypes_of, numbers, one_node
from tests.test_cost import complaint
from tests.test_kernels import run
from tests.test_kernels import test_folds_mean_what_numpy_means as fold_means


def killed(mutant: Mutant) -> bool:
    """Whether a check of the table sees the mutant."""
    op = mutant.op
    if mutant.field == "work":
        return any(map(complaint, cases(op)))
    if mutant.field in ("kernel", "kernel_kinds", "fold", "expansion") and misfits(op):
        return True
    return bool(check_op(op, prove=False))


def misfits(op: Op) -> bool:
    """Whether generated kernels, or the op written out, give something else than its NumPy meaning."""
    with installed(op):
        try:
            if op.kernel is not None:
                kernel_means(op)
            if op.fold is not None:
                fold_means(op, generator.load)
            if op.expansion is not None:
                written_out(op)
        except Exception:  # an assertion, or whatever a wrong field leads to
            return True
    return False


def kernel_means(op: Op) -> None:
    """Every pair of a few numbers, at the widest dtype that kernels of the op hold."""
    arity = len(op.domains)
    dtype = max(dtypes_of(op, arity), key=lambda d: (d.itemsize, d.kind == "i"))
    line = numbers(dtype)[:20]
    for attrs in [dict(s.attrs) for s in samples(op)] or [{}]:
        operands = []
        for k in range(arity):
            first = numbers(np.dtype(np.bool_)) if op.name == "where" and k == 0 else line
            operands.append(first.reshape((-1, *(1,) * (arity - 1 - k))))
        graph = one_node(op, [TensorType(x.shape, x.dtype) for x in operands], attrs)
        with np.errstate(all="ignore"):
            assert_near(run(generator.load, graph, operands), evaluate(op, operands, attrs), 2 * op.ulps + 3, op.name)


def written_out(op: Op) -> None:
    for case in cases(op):
        operands = [rounded(v, t.dtype) for v, t in zip(case.operands, case.types, strict=True)]
        graph, applied = pipeline.expand(one_node(op, list(case.types), case.attrs))
        assert applied
        (found,) = Compiled(graph, None, None, Options(passes=()))(*operands)
        np.testing.assert_allclose(found, evaluate(op, operands, case.attrs), rtol=1e-13)


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
