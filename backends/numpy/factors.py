"""One factorisation for all ops of a plan that need it.

Such are systems with the same matrix, or its transpose, its inverse and its determinant; eigenvalues and eigenvectors,
singular values and vectors, the two factors of QR. The first of them makes the factorisation and gives it a name, the
others read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from graphc.ir import Graph
from graphc.ops.lapack import routine
from graphc.plan import Step

Array = np.ndarray[Any, Any]
Key = tuple[Any, ...]


ALONE: Final = 64
"""Rows up to which a system is solved from its matrix again: OpenBLAS wakes its threads to substitute, however little
there is to do, and not to eliminate as little."""


class Factors(NamedTuple):
    """A matrix, its triangles in one, rows swapped, and the first zero on the diagonal, counted from 1, if any."""

    matrix: Array
    triangles: Array
    swaps: Array
    zero: int


def lu_factor(a: Array) -> Factors:
    """The triangular factors of a square matrix, by elimination with pivots."""
    if not a.size:
        return Factors(a, a, np.zeros(0, np.intp), 0)
    return Factors(a, *routine("getrf", a.dtype.char)(a))


def lu_solve(factors: Factors, b: Array, transposed: bool) -> Array:
    """The solutions of systems with the matrix of the factors, or its transpose; right-hand sides are columns."""
    _check(factors)
    if not b.size:
        return np.empty(b.shape, b.dtype)
    kind = b.dtype.char
    if len(factors.swaps) <= ALONE:
        found = routine("gesv", kind)(factors.matrix.T if transposed else factors.matrix, b)[2]
    else:
        found = routine("getrs", kind)(factors.triangles, factors.swaps, b, trans=int(transposed))[0]
    return np.ascontiguousarray(found)


def lu_inverse(factors: Factors, transposed: bool) -> Array:
    """The inverse of the matrix of the factors, or of its transpose: as NumPy's, by solving for the identity."""
    return lu_solve(factors, np.eye(len(factors.swaps), dtype=factors.triangles.dtype), transposed)


def _check(factors: Factors) -> None:
    if factors.zero:
        raise np.linalg.LinAlgError("Singular matrix")


def lu_sign(factors: Factors) -> Any:
    """The sign of the determinant of the factors' matrix."""
    diagonal = factors.triangles.diagonal()
    swapped = np.count_nonzero(factors.swaps != np.arange(len(diagonal)))
    if factors.zero:
        return np.int64(0)
    return np.int64(-1 if (swapped + np.count_nonzero(diagonal < 0)) % 2 else 1)


def lu_log_det(factors: Factors) -> Any:
    """The logarithm of the size of the determinant of the factors' matrix."""
    if factors.zero:  # whatever the rest is, NaN too
        return factors.triangles.dtype.type(-np.inf)
    return np.log(np.abs(factors.triangles.diagonal())).sum()


def lu_det(factors: Factors) -> Any:
    """The determinant of the factors' matrix."""
    size = np.exp(lu_log_det(factors))
    return size * size.dtype.type(lu_sign(factors))


FUNCTIONS: Final = (lu_factor, lu_solve, lu_inverse, lu_det, lu_sign, lu_log_det)
"""What the texts of shared steps may call."""

BY_ELIMINATION: Final = frozenset({"solve", "inv", "det", "det_sign", "log_abs_det"})
# each op of a pair, as a part of what one call gives
PAIRS: Final[dict[str, dict[str, str]]] = {
    "np.linalg.eigh({0}, UPLO='L' if {lower} else 'U')": {"eigvalsh": "{0}[0]", "eigh_vectors": "{0}[1]"},
    "np.linalg.svd({0}, full_matrices=False)": {"svdvals": "{0}[1]", "svd_vectors": "nk.stacked_vectors(*{0})"},
    "np.linalg.qr({0})": {"qr_q": "{0}[0]", "qr_r": "{0}[1]"},
    "np.linalg.slogdet({0})": {"det_sign": "{0}[0].astype(np.int64)", "log_abs_det": "{0}[1]"},
}


@dataclass(frozen=True, slots=True)
class Use:
    """One op's part in a shared factorisation: which, the first and the last of those that use it, and the text.

    text: of the op's value, with the factorisation, or its name, in place of the first field, and the second operand
        in that of the second.
    made: the text that makes the factorisation of the first operand. name: what it may be called.
    """

    first: int
    last: int
    text: str
    made: str
    name: str


def shared(graph: Graph, steps: Sequence[Step]) -> dict[int, Use]:
    """The nodes that share a factorisation, in plans of NumPy's calls."""
    groups: dict[Key, list[int]] = {}
    for step in steps:
        for i in step.nodes if step.kernel is None else ():
            key = _key(graph, i)
            if key is not None:
                groups.setdefault(key, []).append(i)
    uses: dict[int, Use] = {}
    for key, nodes in groups.items():
        if len(nodes) > 1:
            for i in nodes:
                if key[0] == "lu":
                    text, made, name = _text(graph, i, nodes[0]), "lu_factor({0})", "lu"
                else:
                    text, made, name = PAIRS[key[0]][graph._node[i]["op"]], key[0], "factors"
                uses[i] = Use(nodes[0], nodes[-1], text, made, name)
    return uses


def _matrix(graph: Graph, i: int) -> tuple[int, bool]:
    """The node that a node is the transpose of, or itself."""
    data = graph._node[i]
    if data["op"] == "transpose" and dict(data["attrs"])["perm"] == (1, 0):
        return data["args"][0], True
    return i, False


def _key(graph: Graph, i: int) -> Key | None:
    """Equal for nodes that one factorisation serves."""
    nodes = graph._node
    data = nodes[i]
    # of stacks, NumPy's own loop is faster than one in Python
    if data["op"] in BY_ELIMINATION and all(nodes[a]["type"].ndim == 2 for a in data["args"]):
        return "lu", _matrix(graph, data["args"][0])[0]
    for made, parts in PAIRS.items():
        if data["op"] in parts:
            return made, data["args"][0], data["attrs"]
    return None


def _text(graph: Graph, i: int, first: int) -> str:
    data, beginning = graph._node[i], graph._node[first]
    turned = _matrix(graph, data["args"][0])[1] != _matrix(graph, beginning["args"][0])[1]
    return {
        "solve": f"lu_solve({{0}}, {{1}}, {turned})",
        "inv": f"lu_inverse({{0}}, {turned})",
        "det": "lu_det({0})",
        "det_sign": "lu_sign({0})",
        "log_abs_det": "lu_log_det({0})",
    }[data["op"]]
