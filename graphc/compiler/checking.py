"""Graphs held to the rules of the IR, by the table of ops; and graphs read from text, which are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.check_ir import check_ir
from graphc.environment import choice
from graphc.ir import Graph
from graphc.ops import TABLE
from graphc.ops.typing import Facts
from graphc.text import format_node
from graphc.text import parse as parse_text


def checker() -> Callable[[Graph], None] | None:
    """The verifier that runs between passes under GRAPHC_CHECK=1."""
    return check if choice("GRAPHC_CHECK", ("0", "1")) == "1" else None


def check(graph: Graph, line: Callable[[Graph, int], str] = format_node) -> None:
    """Raise IRError, with the line of the graph, unless the graph keeps the rules of the IR."""
    check_ir(graph, TABLE, lambda guards: Facts(dict(guards), assume=False), line)


def parse(
    source: str,
    constants: Mapping[str, np.ndarray[Any, Any]] | None = None,
    callbacks: Sequence[Callable[..., Any]] | None = None,
) -> Graph:
    """The graph that a text written by `dump` describes; checked, and never running code.

    Args:
        source: the text.
        constants: the arrays that the text only names, by SHA-256. Without them the graph compares but does not run.
        callbacks: the functions that the text only names, in its order; likewise. Each takes the operands as arrays and
            gives one array, or a tuple of several.

    Raises:
        ParseError: the text is not a graph; the message has line and column.
        IRError: it is a graph that breaks the rules of the IR.

    >>> parse("graph f(%x: f64[n]) -> f64[n] { return %x }").input_types
    (f64[n],)
    """
    return parse_text(source, constants, check, callbacks)
