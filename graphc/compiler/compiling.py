"""Ahead of time: a function, a graph or expressions, compiled for types that are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc import backends
from graphc.compiler.capture import check_no_captures, trace_call
from graphc.compiler.compiled import Compiled, Options
from graphc.compiler.donation import donated_inputs, donation, with_donated
from graphc.compiler.expressions import compile_expressions
from graphc.errors import TraceError
from graphc.ir import Graph
from graphc.tracing import located


def compile(
    f: Any,
    /,
    *specs: Any,
    backend: str | None = None,
    exact_order: bool = False,
    kernels: str | None = None,
    fast_math: bool = False,
    donate_argnums: int | Sequence[int] = (),
    donate_argnames: str | Sequence[str] = (),
    **kwargs: Any,
) -> Compiled:
    """Compile a function for arguments of given types, or expressions of symbols.

    Args:
        f: a function of arrays; or a `Graph`; or a list of symbols, and then the one further argument is the list of
            expressions to compute: ``compile([x], [y])``.
        specs: as for `trace`.
        backend: "numpy", the default (see `graphc.backends.use`); "cupy" to run on an NVIDIA GPU, and return CuPy
            arrays; or "sympy" to evaluate on SymPy expressions.
        exact_order: keep NumPy's own operations and rounding; no kernels, no stabilising rewrites.
        kernels: what runs fused operations: "llvm" (machine code), "ufunc" (NumPy's functions on blocks), or "none". By
            default ``GRAPHC_KERNELS``, else "llvm" if llvmlite is there, else "ufunc".
        fast_math: take elementary functions with a larger, documented error where that is faster, and round a product
            and the sum that it goes into once.
        donate_argnums, donate_argnames: arguments whose memory results may take, by position or by name; of a graph or
            of expressions, inputs. After a call it is unspecified what such an array holds, unless it is a result.

    Returns:
        A `Compiled` that takes arrays in the structure of the specs.

    Raises:
        TraceError: there is nothing to compile, or an argument is named that there is not.

    >>> import numpy as np
    >>> f = compile(lambda x: np.log(1 + np.exp(x)), "f64[n]")
    >>> f(np.array([0.0, 1000.0]))
    array([6.93147181e-01, 1.00000000e+03])
    """
    options = Options(backends.chosen(backend), exact_order, kernels, fast_math)
    with located():
        if isinstance(f, Graph):
            if specs or kwargs:
                raise TraceError(
                    "compile: a graph has its types already",
                    expected="compile(graph)",
                    actual=f"{len(specs)} specs with it",
                )
            names = [dict(f._node[i]["attrs"])["name"] for i in f.inputs]
            donated = donated_inputs(len(names), names, donate_argnums, donate_argnames)
            return Compiled(with_donated(f, donated), None, None, options)
        if isinstance(f, (list, tuple)):
            if len(specs) != 1 or kwargs:
                raise TraceError(
                    "compile: expressions come as two lists",
                    expected="compile([inputs], [outputs])",
                    actual=f"{len(specs) + 1} arguments",
                )
            return compile_expressions(list(f), specs[0], options, (donate_argnums, donate_argnames))
        if not callable(f):
            raise TraceError(
                "compile: there is nothing to compile",
                expected="a function, a graph, or a list of symbols: compile([x], [y])",
                actual=repr(f)[:60],
            )
        given = donation(f, donate_argnums, donate_argnames, "compile")
        out = trace_call(f, specs, kwargs, donated=given.leaves(specs, kwargs) if given else ())
        check_no_captures(out)
        return Compiled(out.graph, out.in_tree, out.out_tree, options)
