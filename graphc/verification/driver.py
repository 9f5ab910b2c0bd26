"""The verification tool: every derivative of a function against exact mathematics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any, Final

from graphc.backends.exact import reals
from graphc.compiler import trace
from graphc.errors import DifferentiationError, TraceError
from graphc.ir import Graph, without_effects
from graphc.ops import lookup
from graphc.passes import pipeline
from graphc.passes.derive import differentiable_outputs, vjp_graph
from graphc.tracing import located
from graphc.verification.branches import choices
from graphc.verification.coverage import capped, cover
from graphc.verification.edges import audit
from graphc.verification.evidence import Evidence
from graphc.verification.identities import Derived, derive
from graphc.verification.points import FLOATS
from graphc.verification.report import Entry, Report
from graphc.verification.sampling import choose_sizes, inexact_constant, sample_points
from graphc.verification.search import Search

WITHOUT_FLINT: Final = 'limits at edges need python-flint, which is not installed: pip install "graphc[verify]"'


def verify(
    fn: Callable[..., Any] | Graph,
    *specs: Any,
    kwargs: Mapping[str, Any] | None = None,
    order: int = 2,
    wrt: Sequence[int] | None = None,
    points: int = 3,
    budget: float = 5.0,
    seed: int = 0,
    domain: str | None = None,
    env: Mapping[str, int] | None = None,
    edges: bool = True,
) -> Report:
    """Check every derivative of a function, to first and second order, against exact mathematics.

    The reference is SymPy's `diff`, or Taylor jets, of the forward function; never graphc's own derivative rules.

    Args:
        fn: a function of arrays, or a graph.
        specs: the types of its arguments, as for `trace`.
        kwargs: the types of its keyword arguments, by name.
        order: 1 or 2.
        wrt: positions of the flattened arguments to differentiate by; all that are floats if None.
        points: sample points, rational and with exact float values.
        budget: seconds of computing that SymPy may spend on proofs; what is not proved in time stays certified.
        seed: of the random points and directions.
        domain: where float arguments are drawn from: "real", "positive", "above 1", "inside -1 to 1", "inside 0 to 1",
            and others that an error lists; found by trial if None.
        env: sizes of symbolic dims; small ones of at least 2 if None.
        edges: whether to audit kinks, poles, 0, 1 and -1.

    Returns:
        A `Report`; print it, or ask its `verdict`.

    Raises:
        DifferentiationError: no output or no argument is a float; or there is no such order, argument or domain.
        TraceError: types are given for a graph; and what `trace` raises.
        ShapeError: `env` has a size that the function has not.
        GuardError: no small sizes satisfy the function's guards.

    >>> import numpy as np
    >>> verify(lambda x: np.tanh(x) * x, "f64[]").verdict
    'proved'
    """
    with located():  # every error has the user's line
        graph = _traced(fn, specs, kwargs or {})
        return _report(graph, order, wrt, points, budget, seed, domain, env or {}, edges)


def _traced(fn: Callable[..., Any] | Graph, specs: Sequence[Any], kwargs: Mapping[str, Any]) -> Graph:
    if isinstance(fn, Graph) and (specs or kwargs):
        raise TraceError("verify: a graph has its types already", expected="verify(graph)", actual="specs with it")
    # what is printed is no mathematics
    return without_effects(fn if isinstance(fn, Graph) else trace(fn, *specs, **kwargs))


def _report(
    graph: Graph,
    order: int,
    wrt: Sequence[int] | None,
    points: int,
    budget: float,
    seed: int,
    domain: str | None,
    env: Mapping[str, int],
    edges: bool,
) -> Report:
    if order not in (1, 2):
        raise DifferentiationError("verify: order must be 1 or 2", expected="1 or 2", actual=str(order))
    if domain is not None and domain not in FLOATS:
        raise DifferentiationError(
            f"verify: there is no domain {domain!r}",
            expected=", ".join(FLOATS),
            actual=repr(domain),
            fix="leave it out, and one is found by trial",
        )
    started = time.monotonic()
    names = [graph.attrs(i)["name"] for i in graph.inputs]
    if wrt is None:
        wrt = [k for k, t in enumerate(graph.input_types) if t.differentiable]
    for k in wrt:
        if k not in range(len(names)):
            raise DifferentiationError(
                f"verify: {graph.name} has no argument {k!r}",
                expected="positions of the flattened arguments: "
                + ", ".join(f"{position} {name}" for position, name in enumerate(names)),
                actual=f"wrt={list(wrt)}",
            )
        if not graph.input_types[k].differentiable:
            raise DifferentiationError(f"verify: argument {names[k]} is not a float", actual=repr(graph.input_types[k]))
    outputs = differentiable_outputs(graph)
    results = [f"y{o}" if len(graph.outputs) > 1 else "y" for o in range(len(graph.outputs))]
    if wrt and outputs and (calls := python_calls(graph, range(len(results)))):
        unknown = f"not verified: it may depend on {', '.join(calls)}"
        nobody = [
            Entry(results[o], tuple(names[k] for k in inputs), len(inputs), "undecided", unknown)
            for o in outputs
            for inputs in _inputs(wrt, order)
        ]
        return Report(graph.name, tuple(nobody), (), (f"{', '.join(calls)}: Python code is not looked into",))
    derived = derive(graph, wrt, order) if wrt else None
    if derived is None or not derived.outputs:
        raise DifferentiationError("verify: nothing to differentiate", expected="a float argument and a float output")
    sizes = choose_sizes(graph, env)
    obstacle = inexact_constant(graph)
    sampled = [] if obstacle else sample_points(graph, sizes, points, seed, domain)
    chosen = choices(graph, derived.outputs, sizes, domain) if sampled else []
    roots = Search(graph, wrt, derived.outputs, sampled[0], sizes).run() if sampled and (edges or chosen) else []
    sampled, unseen = cover(graph, chosen, sampled, roots, sizes, seed, domain)
    evidence = Evidence(derived, sizes, sampled, names, results, seed, obstacle or "no sample point found")
    keys = [(o, inputs) for o in derived.outputs for inputs in _inputs(wrt, order)]
    entries = evidence.prove({key: evidence.entry(key) for key in keys}, time.thread_time() + budget)
    entries = [capped(graph, key[0], entry, unseen) for key, entry in zip(keys, entries, strict=True)]
    notes = [*disconnected(derived, names), *map(str, unseen)]
    found = []
    if edges:
        # what users run is the gradient of the simplified, stabilised forward
        prepared = pipeline.run(graph, pipeline.FORWARD)[-1].graph
        found = audit(graph, vjp_graph(prepared, wrt), wrt, derived.outputs, sampled, sizes, (names, results), roots)
        if found and not reals.have_flint():
            notes.append(WITHOUT_FLINT)
    seconds = round(time.monotonic() - started, 3)
    return Report(graph.name, tuple(entries), tuple(found), tuple(notes), seconds)


def python_calls(graph: Graph, outputs: Sequence[int]) -> list[str]:
    """The calls of the user's Python code that the outputs at these positions depend on."""
    nodes = graph._node
    needed: set[int] = set()
    stack = [graph.outputs[o] for o in outputs]
    while stack:
        i = stack.pop()
        if i not in needed:
            needed.add(i)
            stack.extend(nodes[i]["args"])
    found = []
    for i in sorted(needed):
        if nodes[i]["op"] != "input" and lookup(nodes[i]["op"]).opaque:
            loc = nodes[i]["loc"]
            found.append(f"{graph.attrs(i)['callback'].name}{f' at {loc[0]}' if loc else ''}")
    return found


def _inputs(wrt: Sequence[int], order: int) -> Iterator[tuple[int, ...]]:
    yield from ((k,) for k in wrt)
    if order > 1:
        yield from combinations_with_replacement(wrt, 2)


def disconnected(derived: Derived, names: Sequence[str]) -> list[str]:
    """A note for each input that no output depends on: its derivative is zeros."""
    graph = derived.graph
    reached: set[int] = set()
    stack = [graph.outputs[o] for o in derived.outputs]
    while stack:
        i = stack.pop()
        if i not in reached:
            reached.add(i)
            stack.extend(graph._node[i]["args"])
    return [f"no output depends on {names[k]}: zeros" for k in derived.wrt if graph.inputs[k] not in reached]
