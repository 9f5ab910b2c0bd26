"""Positions that lie outside an array: the error says where the program has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from graphc.errors import IndexingError
from graphc.ir import Graph
from graphc.text import format_node

OPS: Final = frozenset({"gather", "scatter_add", "last_write"})
"""Ops that take positions; other steps raise no IndexError, or one of the user's own Python code."""

_SAID: Final = re.compile(r"index (-?\d+) is out of bounds for axis \d+ with size (\d+)")


def located(run: Callable[..., Any], graph: Graph, nodes: Mapping[int, int]) -> Callable[..., Any]:
    """The same function, whose errors of positions show the node, by the line of the text of `run` that computes it."""
    code = run.__code__

    def call(*args: Any) -> Any:
        try:
            return run(*args)
        except IndexError as error:
            trace = error.__traceback__
            while trace is not None and trace.tb_frame.f_code is not code:
                trace = trace.tb_next
            node = nodes.get(trace.tb_lineno) if trace is not None else None
            if node is None:
                raise
            # without a place, as that of a graph that was read, who called is looked for further up
            raise outside(error, graph, node) from None

    return call


def outside(error: IndexError, graph: Graph, node: int) -> IndexingError:
    """NumPy's error of positions that a node was given, with all that is known of them."""
    said = _SAID.search(str(error))
    places = graph._node[node]["loc"]
    expected = actual = None
    if said:
        actual, size = said[1], int(said[2])
        expected = f"an index from -{size} to {size - 1}" if size else "no index (the axis is empty)"
    return IndexingError(
        str(error),
        expected=expected,
        actual=actual,
        loc=places[0] if places else None,
        graph_line=format_node(graph, node),
        fix="check the positions; np.clip(i, 0, x.shape[0] - 1) keeps those along the first axis inside",
    )
