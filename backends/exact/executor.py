"""SymPy mode, `backend="sympy"`: the compiled graph evaluated over SymPy expressions."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.backends.exact.expressions import Expressions
from graphc.backends.exact.world import evaluate
from graphc.plan import Loaded, Plan


def load(plan: Plan) -> Loaded:
    """A function over arrays of numbers or SymPy expressions, and the graph it evaluates as text.

    Numbers become exact rationals. Results are object arrays, and plain expressions where there are no axes.
    """
    field = Expressions()

    def run(*inputs: Any) -> tuple[Any, ...]:
        arrays = [field.array(np.asarray(x)) for x in inputs]
        return tuple(r[()] if r.ndim == 0 else r for r in evaluate(plan.graph, arrays, field))

    return Loaded(run, str(plan.graph))
