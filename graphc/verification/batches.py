"""The batching rule of a record: rows computed at once against rows computed one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.backends.exact.fields import Array
from graphc.dims import Size
from graphc.ir import Builder, Graph, TensorType, TupleType
from graphc.ops.batching import rule_of
from graphc.ops.record import Batch, Op, Sample
from graphc.ops.world import GraphWorld, Value
from graphc.passes.batch import batched_graph
from graphc.verification import points
from graphc.verification.cases import F64, Case, cases, domain_of, rounded, samples
from graphc.verification.limits import emitted

MOST_ROWS: Final = 3
SIZES: Final[tuple[tuple[int, Size], ...]] = (
    *((count, count) for count in (0, 1, MOST_ROWS)),
    (MOST_ROWS, dims.symbol("rows")),
)


def batching(op: Op) -> Iterator[str]:
    """Every way in which the op on a batch differs from the op on its rows, one by one.

    Each set of operands is batched in turn, in batches of 0, 1 and 3 rows and of a size that has only a name. Integers
    and booleans are equal; floats lie as near to each other as `ulps` lets either lie to the exact value.
    """
    rule = rule_of(op)
    if rule is None:
        return
    if op.name == "get":
        yield from _one_result(op, rule)
    for case, sample in zip(cases(op), samples(op), strict=True):
        for batched in product((False, True), repeat=len(case.types)):
            if any(batched):
                yield from _problems(case, rows_of(case, sample, MOST_ROWS), batched)


def _one_result(op: Op, rule: Batch) -> Iterator[str]:
    """What takes one of several results takes that one of them, rows and all."""
    builder = Builder()
    w = GraphWorld(builder)
    type = TupleType([TensorType((MOST_ROWS, 2), F64)] * 2)
    several = Value(w, builder.add("several", (), (), type, (), None))
    for index in range(2):
        data = builder.nodes[rule(w, op.name, MOST_ROWS, [several], (True,), {"index": index}).id]
        if (data["op"], data["args"], data["attrs"]) != (op.name, (several.id,), (("index", index),)):
            yield f"{op.name}: batched, it is {data['op']}{data['attrs']} of %{data['args']}"


def one_node(case: Case) -> Graph:
    """The op alone, of inputs of the case's types."""
    builder = Builder(case.op.name)
    w = GraphWorld(builder)
    operands = [Value(w, builder.input(f"x{k}", t)) for k, t in enumerate(case.types)]
    return builder.finish([w.apply(case.op.name, operands, **case.attrs).id])


def rows_of(case: Case, sample: Sample, count: int) -> list[list[Any]]:
    """For each row, operands of the case: its own, then others of its domains and types.

    In the last row operands that can be equal are, and booleans are the opposite of those in the first: else
    comparisons would give the same in every row.
    """
    rows: list[list[Any]] = []
    for number in range(count):
        rng = random.Random(f"{case} {number}")
        seen: set[Fraction | bool] = set()
        row: list[Any] = []
        last = number == count - 1 > 0
        for k, (given, exact, t) in enumerate(zip(sample.operands, case.operands, case.types, strict=True)):
            domain = domain_of(case.op, k)
            if isinstance(given, np.ndarray):
                row.append(_varied(given, number))
            elif last and domain == "bool":
                row.append(~rows[0][k])
            elif last and k and (t, domain) == (case.types[0], domain_of(case.op, 0)):
                row.append(row[0])
            else:
                row.append(rounded(points.draw(domain, given, rng, seen) if number else exact, t.dtype))
        rows.append(row)
    return rows


def _varied(array: Array, number: int) -> Array:
    """An operand that a sample gives, changed into another that serves as well."""
    if array.dtype.kind == "f":
        return np.asarray(array * (1 + number))  # what ascends goes on ascending
    if array.dtype.kind == "u":
        return np.asarray(array ^ array.dtype.type(number))
    # positions stay positions, counted from the other end where there is but one
    return np.roll(array, number) if array.ndim else np.asarray(~array if number % 2 else array)


def stacked(rows: Sequence[Any], like: TensorType) -> Array:
    """Rows, of which there may be none, as one array."""
    return np.stack(rows) if rows else np.empty((0, *like.shape), like.dtype)


def _problems(case: Case, rows: list[list[Any]], batched: Sequence[bool]) -> Iterator[str]:
    single = one_node(case)
    result = case.result
    chosen = [[row[k] if b else rows[0][k] for k, b in enumerate(batched)] for row in rows]
    expected = [emitted(single, operands)[0] for operands in chosen]
    for count, size in SIZES:
        graph, carried = batched_graph(single, batched, size)
        (type,) = graph.output_types
        if carried != (True,) or type.shape != (size, *result.shape) or type.dtype != result.dtype:
            yield f"{case} batched {batched}: gives {type} of {size} rows of {result}"
            return
        operands = [
            stacked([row[k] for row in rows[:count]], t) if b else rows[0][k]
            for k, (b, t) in enumerate(zip(batched, case.types, strict=True))
        ]
        (found,) = emitted(graph, operands)
        wanted = stacked(expected[:count], result)
        if not _near(found, wanted, case, operands):
            yield f"{case} batched {batched}: {count} rows give {found.tolist()}, one by one {wanted.tolist()}"
            return


def _near(found: Array, wanted: Array, case: Case, operands: Sequence[Array]) -> bool:
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return False
    if wanted.dtype.kind != "f":
        return bool(np.array_equal(found, wanted))
    # as in a sum of several terms: the last place is that of the largest
    largest = 0.0 if case.op.elementwise else max((float(np.abs(x).max()) for x in operands if x.size), default=0.0)
    with np.errstate(all="ignore"):
        close = np.abs(found - wanted) <= 2 * case.op.ulps * np.spacing(np.maximum(np.abs(wanted), largest))
    return bool(np.all(close | (found == wanted) | (np.isnan(found) & np.isnan(wanted))))
