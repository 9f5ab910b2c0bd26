"""What only a run shows to be wrong: positions outside an array, singular matrices. The error says where they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Final, NamedTuple

import numpy as np

from graphc.errors import IndexingError, LinAlgError
from graphc.ir import Graph
from graphc.text import format_node

Array = np.ndarray[Any, Any]

POSITIONS: Final = frozenset({"gather", "scatter_add", "last_write"})
"""Ops that take positions."""

LOOKED_THROUGH: Final = 10_000  # elements of matrices, beyond which nothing is computed to be told
_SAID: Final = re.compile(r"index (-?\d+) is out of bounds for axis \d+ with size (\d+)")


class Refusal(NamedTuple):
    """What an op of linear algebra takes, how it sees that a matrix is no such thing, and what to do about that.

    seen: what is wrong with a matrix, in words; None if nothing is.
    """

    expected: str
    seen: Callable[[Array], str | None]
    fix: str


def _singular(a: Array) -> str | None:
    sign = np.linalg.slogdet(a)[0]
    return f"rank {np.linalg.matrix_rank(a)}, {len(a)} rows" if sign == 0 else None


def _zero_on_diagonal(a: Array) -> str | None:
    zeros = np.flatnonzero(np.diagonal(a) == 0)
    return f"0 at position {zeros[0]}" if zeros.size else None


def _indefinite(a: Array) -> str | None:
    try:
        np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        return f"the eigenvalue {np.linalg.eigvalsh(a)[0]:.3g}"
    return None


def _not_finite(a: Array) -> str | None:
    count = a.size - np.count_nonzero(np.isfinite(a))
    return f"{count} of {a.size} elements are NaN or infinite" if count else None


MATRICES: Final[Mapping[str, Refusal]] = {
    **dict.fromkeys(
        ("solve", "inv"),
        Refusal(
            "a matrix that has an inverse",
            _singular,
            "np.linalg.pinv(a) is defined for singular matrices too; or add to the diagonal: a + 1e-6 * np.eye(n)",
        ),
    ),
    "solve_triangular": Refusal(
        "no 0 on the diagonal", _zero_on_diagonal, "check np.diagonal(a), and add to it where it may be 0"
    ),
    "cholesky": Refusal(
        "eigenvalues above 0",
        _indefinite,
        "check np.linalg.eigvalsh(a); where rounding takes them below 0, add to the diagonal: a + 1e-6 * np.eye(n)",
    ),
    **dict.fromkeys(
        ("pinv", "eigvalsh", "eigh_vectors", "svdvals", "svd_vectors"),
        Refusal(
            "finite numbers",
            _not_finite,
            "look for NaN and infinities: graphc.debug_print('{}', np.isfinite(a).all())",
        ),
    ),
}
"""Ops of linear algebra that refuse some matrices."""

# steps of other ops raise no such error, or one of the user's own Python code
OPS: Final = POSITIONS | MATRICES.keys()


def located(run: Callable[..., Any], graph: Graph, nodes: Mapping[int, tuple[int, str]]) -> Callable[..., Any]:
    """The same function, whose errors show the node, by the line of the text of `run` that computes it.

    nodes: by the number of the line, the node and the name of its first operand in the text.
    """
    code = run.__code__

    def call(*args: Any) -> Any:
        try:
            return run(*args)
        except (IndexError, np.linalg.LinAlgError) as error:
            trace = error.__traceback__
            while trace is not None and trace.tb_frame.f_code is not code:
                trace = trace.tb_next
            found = nodes.get(trace.tb_lineno) if trace is not None else None
            if trace is None or found is None:
                raise
            node, name = found
            if isinstance(error, IndexError):
                raise outside(error, graph, node) from None
            raise refused(error, graph, node, _value(trace.tb_frame, name)) from None

    return call


def _value(frame: FrameType, name: str) -> Any:
    here = frame.f_locals
    return here[name] if name in here else frame.f_globals[name]


def outside(error: IndexError, graph: Graph, node: int) -> IndexingError:
    """NumPy's error of positions that a node was given, with all that is known of them."""
    said = _SAID.search(str(error))
    expected = actual = None
    if said:
        actual, size = said[1], int(said[2])
        expected = f"an index from -{size} to {size - 1}" if size else "no index (the axis is empty)"
    fix = "check the positions; np.clip(i, 0, x.shape[0] - 1) keeps those along the first axis inside"
    return IndexingError(str(error), expected=expected, actual=actual, fix=fix, **_place(graph, node))


def refused(error: np.linalg.LinAlgError, graph: Graph, node: int, matrices: Array) -> LinAlgError:
    """NumPy's error of matrices that a node was given, with all that is known of them."""
    refusal = MATRICES[graph._node[node]["op"]]
    actual = _seen(refusal, matrices)
    return LinAlgError(str(error), expected=refusal.expected, actual=actual, fix=refusal.fix, **_place(graph, node))


def _place(graph: Graph, node: int) -> dict[str, Any]:
    # without a place, as that of a graph that was read, who called is looked for further up
    places = graph._node[node]["loc"]
    return {"loc": places[0] if places else None, "graph_line": format_node(graph, node)}


def _seen(refusal: Refusal, matrices: Array) -> str | None:
    """What is wrong with the first matrix of a stack that is refused; None if it takes long to find."""
    if matrices.size > LOOKED_THROUGH:
        return None
    for index in np.ndindex(matrices.shape[:-2]):
        try:
            with np.errstate(all="ignore"):
                words = refusal.seen(matrices[index])
        except np.linalg.LinAlgError:
            words = _not_finite(matrices[index])
        if words:
            return f"{words}; at [{', '.join(map(str, index))}] of the stack" if index else words
    return None
