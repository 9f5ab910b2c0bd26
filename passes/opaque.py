"""Ops without a derivative rule, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphc.errors import DifferentiationError, GraphcError, RuleError
from graphc.ir import Callback, Locs
from graphc.ops.record import Op


def no_rule(op: Op, attrs: Mapping[str, Any], loc: Locs) -> GraphcError:
    """The error of a derivative that has to pass through an op without a rule."""
    if not op.opaque:
        return RuleError(f"{op.name}: has a float result but no derivative rule")
    callback = attrs.get("callback")
    name = callback.name if isinstance(callback, Callback) else "Python code"
    return DifferentiationError(
        f"{op.name}: the derivative of {name} is not known",
        expected="a function written with NumPy's functions, or one whose derivative is given",
        actual=f"{op.name}({name}, ...), whose result a derivative depends on",
        loc=loc[0] if loc else None,
        fix="give its derivative by graphc.custom_jvp or graphc.custom_vjp; "
        "or graphc.stop_gradient on its arguments, to take the result as a constant",
    )
