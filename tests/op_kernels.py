"""Ops of the table as kernels of one node: at which numbers they are tried, and what NumPy means by them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import graphc
from graphc.ir import Builder, Graph, TensorType
from graphc.kernels import KERNEL_DTYPES, Kernel
from graphc.ops import TABLE
from graphc.ops.meaning import evaluate
from graphc.ops.record import Op
from graphc.ops.world import GraphWorld, Value
from graphc.passes.folds import Folds
from graphc.passes.groups import Group, cheap_scalars, loops_along, whole_axes
from graphc.passes.lowering import lower
from graphc.verification.cases import samples

Array = np.ndarray[Any, Any]

ELEMENTWISE = [op for op in TABLE.values() if op.kernel is not None]
FOLDS = [op for op in TABLE.values() if op.fold is not None]
# numbers at which floats differ from reals, and at which functions turn
FLOATS = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, -3.0, 0.1, 1e-3, 40.0, -40.0, 88.5, -104.0, 710.0, -746.0, 1e-300,
     -1e-320, 1e300, np.inf, -np.inf, np.nan, 1e-38, 1e-45, 3e38, 1e7, -1e9, 0.7853981633974483, 1.5707963]
)  # fmt: skip
WHOLE = (0, 1, -1, 2, 3, 5, -7, 31, 63, 64, 100, -128, 127, -(2**31), 2**31 - 1, -(2**63), 2**63 - 1)


def numbers(dtype: np.dtype[Any]) -> Any:
    """The special numbers that a dtype holds."""
    if dtype.kind == "f":
        with np.errstate(all="ignore"):
            return FLOATS.astype(dtype)
    if dtype.kind == "b":
        return np.array([True, False, True])
    limits = np.iinfo(dtype)
    return np.array([w for w in WHOLE if limits.min <= w <= limits.max], dtype)


def one_node(op: Op, types: list[TensorType], attrs: dict[str, Any]) -> Graph:
    """A graph of one op."""
    builder = Builder("one")
    world = GraphWorld(builder)
    operands = [Value(world, builder.input(f"x{k}", t)) for k, t in enumerate(types)]
    result = world.apply(op.name, operands, **attrs)
    return builder.finish([result.id])


def kernel_of(graph: Graph) -> Kernel:
    """The kernel of the one node of a graph."""
    node = graph.outputs[0]
    data = graph._node[node]
    if TABLE[data["op"]].fold is None:
        domain = data["type"].shape
        group = Group((node,), domain, frozenset(), {node: whole_axes(domain)})
    else:
        domain, attrs = graph._node[data["args"][0]]["type"].shape, dict(data["attrs"])
        own = whole_axes(domain)
        group = Group((node,), domain, loops_along(own, attrs["axes"]), {node: Folds.left(own, attrs)})
    return lower(graph, group, cheap_scalars(graph))


def assert_near(actual: Any, expected: Any, ulps: float, what: object) -> None:
    """Equal, or for floats within units in the last place; the same NaN, infinities and dtype."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype, what
    assert actual.shape == expected.shape, what
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected, err_msg=str(what))
        return
    with np.errstate(all="ignore"):
        close = np.abs(actual - expected) <= ulps * np.spacing(np.abs(expected))
        # where rounding decides between the largest number and infinity either is right
        top = np.finfo(expected.dtype).max
        border = (np.abs(actual) >= top) & (np.abs(expected) >= top) & (np.sign(actual) == np.sign(expected))
        fine = (actual == expected) | (np.isnan(actual) & np.isnan(expected)) | close | border
    assert np.all(fine), (what, actual[~fine][:5], expected[~fine][:5])


def meant(op: Op, operands: list[Any], attrs: dict[str, Any], dtype: np.dtype[Any]) -> tuple[Any, float]:
    """What NumPy means, and how many units in the last place a kernel may be away from it.

    Of half precision NumPy computes each op in single precision and rounds it; where a meaning has several steps, a
    kernel rounds after the last alone.
    """
    halves = np.float16 in (dtype, *(x.dtype for x in operands))
    wide = [x.astype(np.float32) if x.dtype == np.float16 else x for x in operands]
    if attrs.get("dtype") == np.float16:
        wide = operands
    with np.errstate(all="ignore"):
        return evaluate(op, wide, attrs).astype(dtype), 1 if halves else 2 * op.ulps + 3


def dtypes_of(op: Op, arity: int) -> Iterator[np.dtype[Any]]:
    """The dtypes that kernels hold and the op takes."""
    for dtype in sorted((d for d in KERNEL_DTYPES if d.kind in op.kernel_kinds), key=str):
        types = [TensorType((2,), dtype)] * arity
        if op.name == "where":
            types[0] = TensorType((2,), np.dtype(np.bool_))
        attrs = dict(samples(op)[0].attrs) if samples(op) else {}
        try:
            one_node(op, types, attrs)
        except graphc.errors.GraphcError:
            continue
        yield dtype


def elementwise_rows(op: Op) -> Iterator[tuple[Graph, dict[str, Any], list[Array]]]:
    """Every pair of special numbers, at every dtype and attribute that the op takes."""
    arity = len(op.domains)
    for dtype in dtypes_of(op, arity):
        line = numbers(dtype)
        first = numbers(np.dtype(np.bool_)) if op.name == "where" else line
        shapes = [(-1, *(1,) * (arity - 1 - k)) for k in range(arity)]
        operands = [np.ascontiguousarray((first if k == 0 else line).reshape(shape)) for k, shape in enumerate(shapes)]
        for attrs in {str(dict(s.attrs)): dict(s.attrs) for s in samples(op)}.values() or [{}]:
            try:
                graph = one_node(op, [TensorType(o.shape, o.dtype) for o in operands], attrs)
            except graphc.errors.GraphcError:
                continue
            given = operands
            if attrs.get("dtype", dtype).kind in "iu" and dtype.kind == "f":
                # integers hold no others, and what comes of those is not specified
                given = [np.nan_to_num(o, posinf=5, neginf=-5).clip(-100, 100) for o in operands]
            yield graph, attrs, given


def fold_operand(rng: np.random.Generator, op: Op, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Numbers to fold; those to multiply are so near to 1 that a product of many is a float."""
    if dtype.kind != "f":
        return rng.integers(0, 2 if dtype.kind == "b" else 100, shape).astype(dtype)
    found: Array = rng.normal(size=shape).astype(dtype)
    return 1 + found / 10_000 if op.fold == "prod" else found
