"""The pipelines: explicit tuples of passes, run in order, each step recorded and, on demand, verified."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graphc.errors import UnsupportedError
from graphc.ir import Builder, Graph, copy_inputs, copy_into
from graphc.passes import expand as expansion
from graphc.passes import fold as folding
from graphc.passes import simplify as simplification
from graphc.passes import stabilise as stabilisation
from graphc.passes.picks import PICK
from graphc.passes.rewrite import Rows, rewrite_graph
from graphc.passes.turn import turn_products
from graphc.passes.writes import forward_writes


@dataclass(frozen=True, slots=True)
class Pass:
    """A named pure function from graph to graph; `run` also counts what it applied. `law` is what it keeps."""

    name: str
    law: str
    run: Callable[[Graph], tuple[Graph, Mapping[str, int]]]


@dataclass(frozen=True, slots=True)
class Step:
    """One pass as it ran: the graph after it, and how often each rewrite applied."""

    name: str
    graph: Graph
    applied: Mapping[str, int]


SIMPLIFY_ROWS: Final = Rows(simplification.ROWS)
STABILISE_ROWS: Final = Rows((*stabilisation.ROWS, *simplification.ROWS))
NO_ROWS: Final = Rows(())
MARKER_ROWS: Final = Rows(simplification.MARKERS)
IN_ORDER: Final = (simplification.STRENGTHEN, simplification.DROP_BROADCAST, folding.FOLD)
PROCEDURES: Final = (*IN_ORDER, PICK)


def cse(graph: Graph) -> tuple[Graph, Mapping[str, int]]:
    """Merge nodes of one region that apply the same op to the same operands; never effects."""
    nodes = graph._node
    apart = {*graph.inputs, *graph.effects}
    keys = {(d["op"], d["args"], d["attrs"], d["region"]) for i, d in nodes.items() if i not in apart}
    if len(keys) + len(apart) == len(nodes):
        return graph, {}
    merged = _copied(graph)
    return merged, {"merged": len(nodes) - len(merged)}


def dce(graph: Graph) -> tuple[Graph, Mapping[str, int]]:
    """Drop every node that no output and no effect needs."""
    nodes = graph._node
    live = set(graph.inputs)
    stack = [*graph.outputs, *graph.effects]
    while stack:
        i = stack.pop()
        if i not in live:
            live.add(i)
            stack.extend(nodes[i]["args"])
    dead = len(nodes) - len(live)
    return (_copied(graph), {"dropped": dead}) if dead else (graph, {})


def _copied(graph: Graph) -> Graph:
    """The graph built anew: a builder merges equal nodes and keeps only live ones."""
    builder = Builder(graph.name)
    ids = copy_into(builder, graph, copy_inputs(builder, graph))
    return builder.finish([ids[o] for o in graph.outputs], graph.graph["donated"])


def fold(graph: Graph) -> tuple[Graph, Mapping[str, int]]:
    """Evaluate ops of constant operands."""
    return rewrite_graph(graph, NO_ROWS, (folding.FOLD,))


def simplify(graph: Graph) -> tuple[Graph, Mapping[str, int]]:
    """Apply the float-exact rows, folding what they make constant."""
    return rewrite_graph(graph, SIMPLIFY_ROWS, PROCEDURES)


def simplify_in_order(graph: Graph) -> tuple[Graph, Mapping[str, int]]:
    """As `simplify`, but for the rows that would put a broadcast value, or a view, in place of an array of its own."""
    return rewrite_graph(graph, SIMPLIFY_ROWS, IN_ORDER, broadcast=False)


def stabilise(graph: Graph) -> tuple[Graph, Mapping[str, int]]:
    """Apply the stabilising rows, and the float-exact ones to what they build."""
    return rewrite_graph(graph, STABILISE_ROWS, (*stabilisation.PROCEDURES, *PROCEDURES))


def expand(graph: Graph) -> tuple[Graph, Mapping[str, int]]:
    """Write out ops that stand for several, for kernels to fuse."""
    return rewrite_graph(graph, SIMPLIFY_ROWS, (expansion.EXPAND, expansion.MULTIPLY))


def turn(graph: Graph) -> tuple[Graph, Mapping[str, int]]:
    """Write transposes of products as products of transposes."""
    return turn_products(graph, SIMPLIFY_ROWS)


def unmark(graph: Graph) -> tuple[Graph, Mapping[str, int]]:
    """Remove the markers that only differentiation reads."""
    return rewrite_graph(graph, MARKER_ROWS)


WRITES: Final = Pass("writes", "float-exact", forward_writes)
FOLD: Final = Pass("fold", "float-exact", fold)
CSE: Final = Pass("cse", "float-exact", cse)
DCE: Final = Pass("dce", "float-exact", dce)
SIMPLIFY: Final = Pass("simplify", "float-exact", simplify)
STABILISE: Final = Pass("stabilise", "real-exact", stabilise)
EXPAND: Final = Pass("expand", "real-exact", expand)
TURN: Final = Pass("turn", "real-exact", turn)
UNMARK: Final = Pass("unmark", "float-exact", unmark)

# Before a derivative is taken, at every order.
FORWARD: Final = (WRITES, STABILISE)
# What a graph goes through to be run.
PIPELINE: Final = (UNMARK, FOLD, CSE, DCE, WRITES, SIMPLIFY, STABILISE)
# What follows where kernels run it.
KERNEL_PIPELINE: Final = (*PIPELINE, EXPAND)
# What follows on a GPU, where reading by columns costs most.
DEVICE_PIPELINE: Final = (*KERNEL_PIPELINE, TURN)
# The same as PIPELINE without the pass that changes rounding, and without what changes the order of sums.
EXACT_PIPELINE: Final = (UNMARK, FOLD, CSE, DCE, WRITES, Pass("simplify", "float-exact", simplify_in_order))


def run(graph: Graph, passes: Sequence[Pass], check: Callable[[Graph], None] | None = None) -> tuple[Step, ...]:
    """Run the passes in order; `check`, if given, is applied to every intermediate graph."""
    steps = []
    if check is not None:
        check(graph)
    for one in passes:
        graph, applied = one.run(graph)
        if check is not None and applied:
            check(graph)
        steps.append(Step(one.name, graph, dict(applied)))
    return tuple(steps)


def named(name: str, passes: Sequence[Pass] = PIPELINE) -> Pass:
    """The pass called `name`."""
    for one in passes:
        if one.name == name:
            return one
    raise UnsupportedError(f"there is no pass called {name}", expected=" ".join(p.name for p in passes))
