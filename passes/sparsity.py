"""Which elements of a graph's outputs depend on which elements of an input, and how few directions tell them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any, Final

import numpy as np

from graphc.ir import Attrs, Graph, TensorType, static_shape
from graphc.ops import TABLE
from graphc.ops.batching import rule_of
from graphc.ops.meaning import evaluate
from graphc.ops.record import Op
from graphc.ops.world import Operand, World
from graphc.passes.fold import symbolic

Array = np.ndarray[Any, Any]

LARGEST: Final = 1 << 24  # elements of a pattern; beyond, looking for zeros may cost more than they do
INDEXED: Final = frozenset({"gather", "scatter_add"})
# Ops whose NumPy meaning on marks says where an element of the result comes from: a sum of booleans is a disjunction.
MOVES: Final = frozenset({"reshape", "transpose", "broadcast_to", "concatenate", "slice", "unslice", "insert_slice"})
PLACING: Final = INDEXED | MOVES | {"reduce_sum"}
# What positions are made of.
COUNTING: Final = PLACING | {"const", "iota", "dim"}


class _Marks(Operand):
    """A plain array as a value of `_Arrays`."""

    __slots__ = ("array", "world")

    def __init__(self, world: _Arrays, array: Array) -> None:
        self.world = world
        self.array = array

    @property
    def type(self) -> TensorType:
        return TensorType(self.array.shape, self.array.dtype)


class _Arrays(World):
    """Applies ops to arrays at once, so that the batching rules of ops move marks about."""

    def emit(self, op: Op, operands: Sequence[Any], attrs: Attrs) -> Any:
        return _Marks(self, np.asarray(evaluate(op, [x.array for x in operands], dict(attrs))))


class Dense(Exception):
    """There are too few zeros to be worth finding."""


def dependence(graph: Graph, position: int, most: int) -> list[Array | None] | None:
    """For each output, marks of shape (elements of the input at `position`, *shape of the output); None for no marks.

    Where there is no mark, the element of the output does not depend on that element of the input, whatever the values
    are; where there is one it may. None altogether if sizes are symbolic, the marks too many, or an element anywhere
    may depend on more than `most`.
    """
    try:
        return _Dependence(graph, position, most).of_outputs()
    except Dense:
        return None


class _Dependence:
    def __init__(self, graph: Graph, position: int, most: int) -> None:
        self.graph = graph
        self.nodes = graph._node
        self.source = graph.inputs[position]
        self.size = math.prod(self.shape(self.source))
        self.most = most
        self.marks: dict[int, Array] = {}
        self.positions: dict[int, Array] = {}  # of integers that depend on no input, their values
        self.world = _Arrays()

    def shape(self, node: int) -> tuple[int, ...]:
        type = self.nodes[node]["type"]
        shape = static_shape(type.shape) if isinstance(type, TensorType) else None
        if shape is None:
            raise Dense
        return shape

    def of_outputs(self) -> list[Array | None]:
        if self.size**2 > LARGEST:
            raise Dense
        self.marks[self.source] = np.eye(self.size, dtype=bool).reshape(self.size, *self.shape(self.source))
        for i, data in self.nodes.items():
            if any(a in self.marks for a in data["args"]):
                self.marks[i] = self.of_node(i, data)
            else:
                self.count(i, data)
        return [self.marks.get(o) for o in self.graph.outputs]

    def count(self, i: int, data: dict[str, Any]) -> None:
        """Note the values of what may be positions."""
        op, args, type = TABLE.get(data["op"]), data["args"], data["type"]
        if op is None or not (op.elementwise or op.name in COUNTING) or not all(a in self.positions for a in args):
            return
        if type.dtype.kind in "biu" and not any(symbolic(v) for _, v in data["attrs"]):
            with np.errstate(all="ignore"):
                operands = [self.positions[a] for a in args]
                self.positions[i] = np.asarray(evaluate(op, operands, dict(data["attrs"])))

    def of_node(self, i: int, data: dict[str, Any]) -> Array:
        shape = self.shape(i)
        if self.size * math.prod(shape) > LARGEST:
            raise Dense
        op, args = TABLE[data["op"]], data["args"]
        if op.elementwise:
            found = reduce(np.logical_or, [self.widened(a, len(shape)) for a in args if a in self.marks])
        elif op.name == "matmul":
            found = self.of_product(args, len(shape))
        elif op.name in PLACING:
            found = self.placed(op, args, dict(data["attrs"]))
        else:
            raise Dense
        found = np.broadcast_to(found, (self.size, *shape))
        if np.count_nonzero(found, axis=0).max(initial=0) > self.most:
            raise Dense
        return found

    def widened(self, node: int, rank: int) -> Array:
        """Marks whose rows have `rank` axes."""
        marks = self.marks[node]
        return marks.reshape(self.size, *(1,) * (rank + 1 - marks.ndim), *marks.shape[1:])

    def of_product(self, args: tuple[int, int], rank: int) -> Array:
        """An element of the left operand goes into a whole row of the result, one of the right into a whole column."""
        parts: list[Array] = [
            np.logical_or.reduce(self.widened(a, rank), axis=axis, keepdims=True)
            for a, axis in zip(args, (-1, -2), strict=True)
            if a in self.marks
        ]
        return reduce(np.logical_or, parts)

    def placed(self, op: Op, args: tuple[int, ...], attrs: dict[str, Any]) -> Array:
        """The op on marks; operands without marks are positions, or add none."""
        rule = rule_of(op)
        assert rule is not None
        operands = []
        for k, a in enumerate(args):
            if k and op.name in INDEXED:
                if a not in self.positions:
                    raise Dense
                plain = self.positions[a]
            else:
                plain = np.zeros(self.shape(a), bool)
            operands.append(_Marks(self.world, self.marks.get(a, plain)))
        result: _Marks = rule(self.world, op.name, self.size, operands, [a in self.marks for a in args], attrs)
        return result.array


def colours(marks: Array, most: int) -> Array | None:
    """Numbers for rows of marks, 0, 1, ..., such that no two of one number have a mark in the same place.

    The first number that fits is taken, row by row; None if that takes more than `most`. The groups are those of A. R.
    Curtis, M. J. D. Powell and J. K. Reid, "On the estimation of sparse Jacobian matrices", 1974.
    """
    taken = np.zeros((most, marks.shape[1]), bool)
    result = np.zeros(len(marks), np.int64)
    for row, own in enumerate(marks):
        places = np.flatnonzero(own)
        free = np.flatnonzero(~taken[:, places].any(axis=1))
        if not free.size:
            return None
        result[row] = free[0]
        taken[free[0], places] = True
    return result
