"""Derivative graphs against jets of the forward graph, in any field of numbers.

An identity is a contraction: of an output with weights and of one or two inputs with directions. One-hot weights
and directions make it a single element of the derivative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from graphc.backends.exact.fields import Array, apply_each, as_array, empty
from graphc.backends.exact.jets import JetField, Numbers
from graphc.backends.exact.world import bind, evaluate
from graphc.ir import Builder, Graph, copy_inputs, copy_into
from graphc.ops.world import GraphWorld, Value
from graphc.passes.derive import differentiable_outputs, vjp_graph
from graphc.verification.sampling import Point


@dataclass(frozen=True, slots=True)
class Derived:
    """A graph with its first and second reverse derivatives by the inputs at positions `wrt`."""

    graph: Graph
    wrt: tuple[int, ...]
    outputs: tuple[int, ...]
    first: Graph
    second: Graph | None


def derive(graph: Graph, wrt: Sequence[int], order: int) -> Derived:
    """The derivative graphs that are to be verified: cotangents, and cotangents of their contraction."""
    first = vjp_graph(graph, wrt)
    second = vjp_graph(contracted(first), wrt) if order > 1 else None
    return Derived(graph, tuple(wrt), differentiable_outputs(graph), first, second)


def contracted(graph: Graph) -> Graph:
    """One scalar output: the sum of all outputs, each times a direction that is a further input."""
    builder = Builder(graph.name)
    ids = copy_into(builder, graph, copy_inputs(builder, graph))
    w = GraphWorld(builder)
    total: Any = None
    for number, o in enumerate(graph.outputs):
        value = Value(w, ids[o])
        direction = Value(w, builder.input(f"direction_{number}", value.type))
        term = w.reduce_sum(value * direction, axes=tuple(range(value.ndim)), keepdims=False)
        total = term if total is None else total + w.convert(term, total.dtype)
    return builder.finish([total.id])


@dataclass(frozen=True, slots=True)
class Direction:
    """A named direction (or weights) with rational elements; in GF(p) the nonzero ones become random residues."""

    name: str
    values: Array

    @staticmethod
    def one_hot(name: str, shape: tuple[int, ...], at: tuple[int, ...]) -> Direction:
        """The direction of one element."""
        values = empty(shape)
        for i in np.ndindex(*shape):
            values[i] = Fraction(int(i == at))
        return Direction(f"{name}{list(at)}", values)


@dataclass(slots=True)
class Space:
    """The graphs over one field of numbers at one point; results are remembered per direction."""

    derived: Derived
    numbers: Numbers
    point: Point
    sizes: Mapping[str, int]
    order: int
    _jets: dict[Any, list[Array]] = field(default_factory=dict)
    _first: dict[Any, list[Array]] = field(default_factory=dict)
    _second: dict[Any, list[Array]] = field(default_factory=dict)

    def first_order(self, o: int, weights: Direction, k: int, u: Direction) -> tuple[Any, Any]:
        """<cotangent of input k, u> by our rules, and the same by jets."""
        found = self._cotangents(o, weights)[self.derived.wrt.index(k)]
        moved = self._moved(((k, u),))[o]
        return (
            self._dot(found, self._direction(u)),
            self._dot(_coefficient(moved, 1), self._direction(weights)),
        )

    def second_order(self, o: int, weights: Direction, k: int, u: Direction, j: int, d: Direction) -> tuple[Any, Any]:
        """<derivative of <cotangent of input j, d> by input k, u> by our rules, and the same by jets."""
        found = self._curvature(o, weights, j, d)[self.derived.wrt.index(k)]
        both = self._moved(((k, u), (j, d)))[o]
        alone = (self._moved(((k, u),))[o], self._moved(((j, d),))[o])
        curved = [_coefficient(v, 2) for v in (both, *alone)]
        mixed = apply_each(lambda whole, a, b: whole - a - b, *curved)
        return self._dot(found, self._direction(u)), self._dot(mixed, self._direction(weights))

    def _base(self, jets: JetField) -> list[Array]:
        arrays = []
        for k, (x, t) in enumerate(zip(self.point.inputs, self.point.types, strict=True)):
            array = empty(x.shape)
            for i, v in np.ndenumerate(x):
                varies = t.differentiable and k in self.derived.wrt
                array[i] = jets.jet(self.numbers.variable((k, i), v)) if varies else jets.admit(v)
            arrays.append(array)
        return arrays

    def _direction(self, direction: Direction) -> Array:
        array = empty(direction.values.shape)
        for i, v in np.ndenumerate(direction.values):
            array[i] = self.numbers.direction((direction.name, i), v)
        return array

    def _moved(self, along: tuple[tuple[int, Direction], ...]) -> list[Array]:
        """The outputs as jets along the sum of the given directions."""
        key = tuple((k, d.name) for k, d in along)
        if key not in self._jets:
            jets = JetField(self.numbers, self.order)
            inputs = self._base(jets)
            slopes: dict[int, Array] = {}
            for k, d in along:
                step = self._direction(d)
                slopes[k] = as_array(slopes[k] + step) if k in slopes else step
            for k, slope in slopes.items():
                moved = empty(slope.shape)
                for i, c in np.ndenumerate(slope):
                    base: Any = inputs[k][i]
                    moved[i] = jets.jet(base.c[0], c)
                inputs[k] = moved
            self._jets[key] = evaluate(self.derived.graph, inputs, jets, self.sizes)
        return self._jets[key]

    def _seeds(self, plain: JetField, o: int, weights: Direction) -> list[Array]:
        shapes = [self.output_shape(k) for k in self.derived.outputs]
        seeds = [plain.array(np.zeros(shape, np.int64)) for shape in shapes]
        seeds[self.derived.outputs.index(o)] = self._jetted(plain, self._direction(weights))
        return seeds

    def output_shape(self, output: int) -> tuple[int, ...]:
        """The shape of an output at this point's sizes."""
        return bind(self.derived.graph.output_types[output].shape, self.sizes)  # type: ignore[no-any-return]

    def _jetted(self, plain: JetField, values: Array) -> Array:
        result = empty(values.shape)
        for i, v in np.ndenumerate(values):
            result[i] = plain.jet(v)
        return result

    def _cotangents(self, o: int, weights: Direction) -> list[Array]:
        key = (o, weights.name)
        if key not in self._first:
            plain = JetField(self.numbers)
            inputs = [*self._base(plain), *self._seeds(plain, o, weights)]
            self._first[key] = evaluate(self.derived.first, inputs, plain, self.sizes)
        return self._first[key]

    def _curvature(self, o: int, weights: Direction, j: int, d: Direction) -> list[Array]:
        key = (o, weights.name, j, d.name)
        if key not in self._second:
            assert self.derived.second is not None
            plain = JetField(self.numbers)
            directions = [
                self._jetted(plain, self._direction(d))
                if k == j
                else plain.array(np.zeros(self.point.types[k].shape, np.int64))
                for k in self.derived.wrt
            ]
            one = [plain.array(np.ones((), np.int64))]
            inputs = [*self._base(plain), *self._seeds(plain, o, weights), *directions, *one]
            self._second[key] = evaluate(self.derived.second, inputs, plain, self.sizes)
        return self._second[key]

    def _dot(self, a: Array, b: Array) -> Any:
        total = self.numbers.number(0)
        for x, y in zip(as_array(a).ravel(), as_array(b).ravel(), strict=True):
            total = total + (x.c[0] if hasattr(x, "c") else x) * y
        return total


def _coefficient(jets: Array, k: int) -> Array:
    result = empty(jets.shape)
    for i, j in np.ndenumerate(jets):
        result[i] = j.coefficient(k)
    return result
