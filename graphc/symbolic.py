"""Graphs as SymPy expressions: for reading, printing as LaTeX, and hand checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp

from graphc import dims
from graphc.backends.exact.expressions import Expressions
from graphc.backends.exact.fields import Array, empty, indices
from graphc.backends.exact.world import bind_type, evaluate
from graphc.errors import ShapeError
from graphc.ir import Graph, TensorType


def input_symbols(graph: Graph, env: Mapping[str, int] | None = None) -> list[Array]:
    """For each input an object array of symbols: `x` for a scalar, `x_0_1` for element [0, 1] of an array.

    Floats are real symbols, integers integer ones.

    Raises:
        ShapeError: a size is symbolic and `env` does not give it.
    """
    sizes = dict(env or {})
    for type in graph.input_types:
        for size in type.shape:
            if missing := sorted(dims.symbols(size) - sizes.keys()):
                raise ShapeError(
                    f"{graph.name}: expressions need every size",
                    expected=f"a number for {', '.join(missing)}",
                    actual=repr(type),
                    fix=f"graph.to_sympy({missing[0]}=3)",
                )
    arrays = []
    for node, type in zip(graph.inputs, graph.input_types, strict=True):
        bound = bind_type(type, sizes)
        assert isinstance(bound, TensorType)
        arrays.append(_symbols(graph.attrs(node)["name"], bound))
    return arrays


def _symbols(name: str, type: TensorType) -> Array:
    assumptions: dict[str, bool] = {"f": {"real": True}, "b": {}}.get(type.dtype.kind, {"integer": True})
    result = empty(type.shape)
    for i in indices(type.shape):
        result[i] = sp.Symbol("_".join([name, *map(str, i)]), **assumptions)
    return result


def to_sympy(graph: Graph, env: Mapping[str, int] | None = None) -> Any:
    """The graph's outputs as SymPy expressions of symbols named after its inputs.

    Args:
        graph: any graph; floats in it stand for their exact binary value.
        env: a number for each symbolic size.

    Returns:
        One output's expression, or a tuple for several; an output with axes is a SymPy `Array`.

    Raises:
        ShapeError: a size is symbolic and `env` does not give it.

    >>> from graphc.compiler import trace
    >>> import numpy as np
    >>> to_sympy(trace(lambda x: np.sum(np.sin(x) * x), "f64[2]"))
    x_0*sin(x_0) + x_1*sin(x_1)
    """
    results = evaluate(graph, input_symbols(graph, env), Expressions(), env)
    shown = tuple(r[()] if r.ndim == 0 else sp.Array(r.ravel().tolist(), r.shape) for r in results)
    return shown[0] if len(shown) == 1 else shown


def latex(graph: Graph, env: Mapping[str, int] | None = None) -> str:
    r"""The graph's outputs as LaTeX; several are separated by commas.

    >>> from graphc.compiler import trace
    >>> import numpy as np
    >>> latex(trace(lambda x: np.exp(-x * x), "f64[]"))
    'e^{- x^{2}}'
    """
    found = to_sympy(graph, env)
    return ", ".join(map(sp.latex, found)) if isinstance(found, tuple) else str(sp.latex(found))
