"""SymPy's proofs that derivative rules are right, cell by cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from itertools import product
from typing import Any, Final

import numpy as np
import sympy as sp

from graphc.backends.exact.cells import CellField
from graphc.backends.exact.fields import Array, ExactError, Undecided, empty, indices
from graphc.backends.exact.world import ExactWorld, bind, evaluate
from graphc.backends.exact.world import apply as exact_apply
from graphc.ir import Graph, TensorType
from graphc.ops import lookup
from graphc.passes.linearize import push
from graphc.verification.cases import Case
from graphc.verification.identities import Derived
from graphc.verification.sampling import Point
from graphc.verification.trials import derivative_graphs
from graphc.verification.zero import OutOfTime, limited, vanishes


def symbols(name: str, shape: Any) -> Array:
    """An object array of real symbols: `x` for a scalar, `x_0_1` for an element."""
    result = empty(shape)
    for i in indices(shape):
        result[i] = sp.Symbol("_".join([name, *map(str, i)]), real=True)
    return result


def point_of(names: Array, values: Array) -> dict[Any, Any]:
    """The sample value of each symbol."""
    return dict(zip(names.ravel().tolist(), values.ravel().tolist(), strict=True))


def prove_rule(case: Case) -> Iterator[str]:
    """What could not be proved of one op on one sample: every entry of its Jacobian, in both modes."""
    names = {k: symbols(f"x{k}", case.types[k].shape) for k in case.floats}
    moving = {k: symbols(f"t{k}", case.types[k].shape) for k in case.floats}
    weights = symbols("ct", case.result.shape)
    point: dict[Any, Any] = {}
    for k in case.floats:
        point |= point_of(names[k], case.operands[k])
        point |= dict.fromkeys(moving[k].ravel().tolist(), 1)
    point |= dict.fromkeys(weights.ravel().tolist(), 1)
    field = CellField(point)
    with field.working():
        operands = [field.symbols(names[k]) if k in names else field.array(v) for k, v in enumerate(case.operands)]
        y = exact_apply(field, case.op, operands, case.attrs, case.result)
        jacobian = {
            (k, o, i): field.derivative(y[o], names[k][i])
            for k in case.floats
            for o in np.ndindex(y.shape)
            for i in np.ndindex(names[k].shape)
        }
        world = ExactWorld(field)
        handles = [world.value(v, t) for v, t in zip(operands, case.types, strict=True)]
        result = world.value(y, case.result)
        for k in case.floats:
            tangents = [
                world.value(field.symbols(moving[k]), case.types[k]) if j == k else None for j in range(len(handles))
            ]
            out = push(world, case.op, result, handles, tangents, case.attrs)
            pushed = None if out is None else out.array
            for o in np.ndindex(y.shape):
                for i in np.ndindex(names[k].shape):
                    mine = sp.Integer(0) if pushed is None else _part(field, pushed[o], moving[k], i)
                    if not vanishes(mine - jacobian[k, o, i]):
                        yield f"{case}: d y{list(o)} / d x{k}{list(i)} not proved, forward: {mine}"
                        return
        first, _ = derivative_graphs(case, 1)
        cotangents = evaluate(first, [*operands, field.symbols(weights)], field)
        for k, ct in zip(case.floats, cotangents, strict=True):
            for i in np.ndindex(names[k].shape):
                for o in np.ndindex(y.shape):
                    mine = _part(field, ct[i], weights, o)
                    if not vanishes(mine - jacobian[k, o, i]):
                        yield f"{case}: d y{list(o)} / d x{k}{list(i)} not proved, reverse: {mine}"
                        return


def _part(field: CellField, value: Any, variables: Array, i: tuple[int, ...]) -> Any:
    """The coefficient of one variable in an expression that is linear in all of them."""
    expr = field.expression(value)
    return expr.xreplace({v: sp.Integer(int(j == i)) for j, v in np.ndenumerate(variables)})


LIMITS: Final = {1: 1500, 2: 250}  # operations in a forward expression, by order; beyond, SymPy takes minutes
MAX_ELEMENTS: Final = 1000


class Prover:
    """SymPy's proofs of a graph's derivative graphs, on the cell of each sample point."""

    def __init__(self, derived: Derived, sizes: Mapping[str, int], points: Sequence[Point]) -> None:
        self.derived = derived
        self.sizes = sizes
        self.points = points
        self._cells: list[_GraphCell] | None = None

    def prove(self, o: int, inputs: tuple[int, ...], deadline: float) -> str | None:
        """How the entry was proved, or None."""
        if tree_size(self.derived.graph, self.sizes) > LIMITS[len(inputs)]:
            return None
        try:
            with limited(deadline):
                return self._proved(o, inputs)
        except (Undecided, ExactError, OutOfTime):
            return None

    def _proved(self, o: int, inputs: tuple[int, ...]) -> str | None:
        count = 0
        cells = self._distinct()
        for cell in cells:
            elements = list(cell.differences(o, inputs))
            if len(elements) > MAX_ELEMENTS or not all(vanishes(difference()) for difference in elements):
                return None
            count += len(elements)
        return f"SymPy, {count} element{'s' if count != 1 else ''}" + _counted(cells)

    def _distinct(self) -> list[_GraphCell]:
        """One cell for each way the comparisons come out at the sample points."""
        if self._cells is None:
            found: dict[tuple[int, ...], _GraphCell] = {}
            for point in self.points:
                cell = _GraphCell(self.derived, self.sizes, point)
                found.setdefault(cell.branches, cell)
            self._cells = list(found.values())
        return self._cells


def _counted(cells: Sequence[_GraphCell]) -> str:
    if not cells[0].branches:
        return ""
    return f" in {len(cells)} cell{'s' if len(cells) > 1 else ''}"


class _GraphCell:
    """Forward and derivative graphs as expressions that hold around one sample point."""

    def __init__(self, derived: Derived, sizes: Mapping[str, int], point: Point) -> None:
        self.derived = derived
        self.sizes = sizes
        graph = derived.graph
        self.names = {k: symbols(f"x{k}", point.inputs[k].shape) for k in derived.wrt}
        self.directions = {k: symbols(f"d{k}", point.inputs[k].shape) for k in derived.wrt}
        self.weights = {o: symbols(f"ct{o}", bind(graph.output_types[o].shape, sizes)) for o in derived.outputs}
        values: dict[Any, Any] = {}
        for k in derived.wrt:
            values |= point_of(self.names[k], point.inputs[k])
            values |= dict.fromkeys(self.directions[k].ravel().tolist(), Fraction(1))
        for array in self.weights.values():
            values |= dict.fromkeys(array.ravel().tolist(), Fraction(1))
        self.field = CellField(values)
        with self.field.working():
            self.inputs = [
                self.field.symbols(self.names[k]) if k in self.names else self.field.array(x)
                for k, x in enumerate(point.inputs)
            ]
            self.outputs = evaluate(graph, self.inputs, self.field, sizes)
        self.branches = tuple(self.field.numbers.decisions)
        self._derived: dict[tuple[int, int], list[Array]] = {}

    def differences(self, o: int, inputs: tuple[int, ...]) -> Iterator[Callable[[], Any]]:
        """For each element of the entry, a function that gives its rule's value minus SymPy's derivative."""
        for e in np.ndindex(self.outputs[o].shape):
            for where in product(*(list(np.ndindex(self.names[k].shape)) for k in inputs)):
                yield partial(self._difference, o, e, inputs, where)

    def _difference(
        self, o: int, e: tuple[int, ...], inputs: tuple[int, ...], where: tuple[tuple[int, ...], ...]
    ) -> Any:
        reference = self.field.expression(self.outputs[o][e])
        for k, i in zip(inputs, where, strict=True):
            reference = sp.diff(reference, self.names[k][i])
        chosen = {v: sp.Integer(int(j == e)) for j, v in np.ndenumerate(self.weights[o])}
        if len(inputs) == 2:
            last, at = inputs[1], where[1]
            for k, array in self.directions.items():
                chosen |= {v: sp.Integer(int(k == last and j == at)) for j, v in np.ndenumerate(array)}
        found = self._results(o, len(inputs))[self.derived.wrt.index(inputs[0])][where[0]]
        return self.field.expression(found).xreplace(chosen) - self.field.numbers.thaw(reference)

    def _results(self, o: int, order: int) -> list[Array]:
        key = (o, order)
        if key not in self._derived:
            field = self.field
            with field.working():
                seeds = [
                    field.symbols(v) if p == o else field.array(np.zeros(v.shape, np.int64))
                    for p, v in self.weights.items()
                ]
                if order == 1:
                    self._derived[key] = evaluate(self.derived.first, [*self.inputs, *seeds], field, self.sizes)
                else:
                    assert self.derived.second is not None
                    extra = [field.symbols(v) for v in self.directions.values()]
                    one = field.array(np.ones((), np.int64))
                    self._derived[key] = evaluate(
                        self.derived.second, [*self.inputs, *seeds, *extra, one], field, self.sizes
                    )
        return self._derived[key]


def tree_size(graph: Graph, sizes: Mapping[str, int]) -> float:
    """About how many operations the largest output element has as an expression, sharing undone."""
    weight: dict[int, float] = {}
    nodes = graph._node

    def elements(i: int) -> int:
        type = nodes[i]["type"]
        return math.prod(bind(type.shape, sizes)) if isinstance(type, TensorType) else 1

    for i, data in nodes.items():
        args = data["args"]
        gathered = 1.0
        if args and not lookup(data["op"]).elementwise and data["op"] != "broadcast_to":
            gathered = max(1.0, max(map(elements, args)) / max(1, elements(i)))
            if data["op"] == "matmul":
                gathered = float(bind(nodes[args[0]]["type"].shape[-1], sizes))
        weight[i] = 1 + gathered * sum(weight[a] for a in args)
    return max((weight[o] for o in graph.outputs), default=0.0)
