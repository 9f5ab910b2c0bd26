"""SymPy's proofs that derivative rules are right, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from graphc.backends.exact.cells import CellField
from graphc.backends.exact.fields import Array
from graphc.backends.exact.world import ExactWorld, evaluate
from graphc.backends.exact.world import apply as exact_apply
from graphc.ir import TensorType
from graphc.passes.linearize import push
from graphc.verification.zero import vanishes

if TYPE_CHECKING:
    from graphc.verification.rules import Case


def symbols(name: str, shape: tuple[int, ...]) -> Array:
    """An object array of real symbols: `x` for a scalar, `x_0_1` for an element."""
    result = np.empty(shape, object)
    for i in np.ndindex(shape):
        result[i] = sp.Symbol("_".join([name, *map(str, i)]), real=True)
    return result


def point_of(names: Array, values: Array) -> dict[Any, Any]:
    """The sample value of each symbol."""
    return dict(zip(names.ravel().tolist(), values.ravel().tolist(), strict=True))


def prove_rule(case: Case) -> Iterator[str]:
    """What could not be proved of one op on one sample: every entry of its Jacobian, in both modes."""
    from graphc.verification.rules import derivative_graphs

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
            tangents = [world.value(field.symbols(moving[k]), case.types[k]) if j == k else None for j in range(len(handles))]
            out = push(world, case.op, result, handles, tangents, case.attrs)
            pushed = None if out is None else out.array
            for o in np.ndindex(y.shape):
                for i in np.ndindex(names[k].shape):
                    mine = sp.Integer(0) if pushed is None else _part(field, pushed[o], moving[k], i)
                    if not vanishes(mine - jacobian[k, o, i]):
                        yield f"{case}: not proved, forward, d y{list(o)} / d x{k}{list(i)}: {mine} against {jacobian[k, o, i]}"
                        return
        first, _ = derivative_graphs(case)
        cotangents = evaluate(first, [*operands, field.symbols(weights)], field)
        for k, ct in zip(case.floats, cotangents, strict=True):
            for i in np.ndindex(names[k].shape):
                for o in np.ndindex(y.shape):
                    mine = _part(field, ct[i], weights, o)
                    if not vanishes(mine - jacobian[k, o, i]):
                        yield f"{case}: not proved, reverse, d y{list(o)} / d x{k}{list(i)}: {mine} against {jacobian[k, o, i]}"
                        return


def _part(field: CellField, value: Any, variables: Array, i: tuple[int, ...]) -> Any:
    """The coefficient of one variable in an expression that is linear in all of them."""
    expr = field.expression(value)
    return expr.xreplace({v: sp.Integer(int(j == i)) for j, v in np.ndenumerate(variables)})


__all__ = ["TensorType", "point_of", "prove_rule", "symbols"]
