"""Where derivatives end: ops through which none passes, and ops whose derivative is not known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graphc.errors import DifferentiationError, GraphcError, RuleError
from graphc.ir import Callback, Locs
from graphc.ops import TABLE
from graphc.ops.record import Op, Partials

FLAT: Final = frozenset(
    op.name
    for op in TABLE.values()
    if isinstance(op.rule, Partials) and all(partial is None for partial in op.rule.partials)
)
"""Ops whose derivative is 0 wherever it exists, or said to be: `sign`, `stop_gradient`."""


def no_rule(op: Op, attrs: Mapping[str, Any], loc: Locs) -> GraphcError:
    """The error of a derivative that has to pass through an op without a rule."""
    if not op.opaque:
        return RuleError(f"{op.name}: has a float result but no derivative rule")
    callback = attrs.get("callback")
    name = callback.name if isinstance(callback, Callback) else "Python code"
    return DifferentiationError(
        f"{op.name}: the derivative of {name} is not known",
        expected="a function written with NumPy's functions",
        actual=f"{op.name}({name}, ...), whose result a derivative depends on",
        loc=loc[0] if loc else None,
        fix="graphc.stop_gradient on its arguments, to take the result as a constant; "
        "or write the function with NumPy's, which have derivatives",
    )
