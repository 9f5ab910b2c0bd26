"""Systems of linear equations, inverses and determinants."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import scipy.linalg

from graphc.errors import ShapeError, UnsupportedError
from graphc.numpy.diagonals import diagonal, eye, tril, triu
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.equations import DOUBLE, floats
from graphc.numpy.equations import pinv as numpy_pinv
from graphc.numpy.picking import fixed_size, whole_number
from graphc.numpy.shaping import expand_dims, reshape, swapaxes
from graphc.ops.matrices import matrices, mirrored, numbered, square, system

__all__ = [
    "cho_solve",
    "det",
    "inv",
    "pinv",
    "solve",
    "solve_banded",
    "solve_toeplitz",
    "solve_triangular",
    "solveh_banded",
]

# what a matrix is said to be, by all its names, and which parts of it are read then
STRUCTURES: Final[dict[str | None, str]] = {
    None: "general",
    **dict.fromkeys(("gen", "general", "banded"), "general"),
    **dict.fromkeys(("sym", "symmetric", "her", "hermitian"), "symmetric"),
    **dict.fromkeys(("pos", "positive definite"), "definite"),
    **{name: name for name in ("diagonal", "tridiagonal", "lower triangular", "upper triangular")},
}
# what the transpose is, where that is something else
TURNED: Final[dict[str | None, str]] = {
    "lower triangular": "upper triangular",
    "upper triangular": "lower triangular",
}

SYSTEM: Final = system("solve")
"""The type rule of systems; it refuses what is none."""


def _columns(a: Any, b: Any, solution: Any) -> Any:
    """The solution for a vector, or for right-hand sides as columns."""
    if b.ndim != 1:
        return solution(a, b)
    found = solution(a, reshape(b, (b.type.shape[0], 1)))
    return reshape(found, found.type.shape[:-1])


def _by_cholesky(factor: Any, lower: bool) -> Any:
    """How systems are solved by a triangle that holds a Cholesky factor."""

    def solution(c: Any, b: Any) -> Any:
        first, second = (c, swapaxes(c, -1, -2)) if lower else (swapaxes(c, -1, -2), c)
        half = c.world.solve_triangular(first, b, lower=True, unit=False)
        return c.world.solve_triangular(second, half, lower=False, unit=False)

    return lambda a, b: solution(factor(a), b)


def _by_division(a: Any, b: Any) -> Any:
    """The solution of a system by the diagonal alone; where that is 0, the quotient."""
    SYSTEM(a.world.facts, a.type, b.type)
    return b / expand_dims(diagonal(a, 0, -2, -1), -1)


def _structured(function: str, structure: Any, lower: bool) -> Any:
    """How systems with a matrix of a structure are solved."""
    known = STRUCTURES.get(structure)
    if known == "general":
        return lambda a, b: a.world.solve(a, b)
    if known == "symmetric":
        return lambda a, b: a.world.solve(mirrored(a.world, a, lower), b)
    if known == "definite":
        return _by_cholesky(lambda a: a.world.cholesky(mirrored(a.world, a, lower)), lower=True)
    if known == "tridiagonal":
        return lambda a, b: a.world.solve(tril(triu(a, -1), 1), b)
    if known == "diagonal":
        return _by_division
    if known is not None:
        below = known == "lower triangular"
        return lambda a, b: a.world.solve_triangular(a, b, lower=below, unit=False)
    raise ValueError(f"{function}: {structure!r} is not a recognized matrix structure")


@traceable(scipy.linalg.solve)
def solve(
    a: Any,
    b: Any,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    assume_a: str | None = None,
    transposed: bool = False,
) -> Any:
    """The solution x of a x = b, where of a matrix with a structure only what it needs is read.

    What a matrix is, is not looked for; a banded one is solved as any other. The derivative is by what is read.
    """
    matrix, side = floats(a, b)
    square(matrix.world.facts, "solve", matrix.type)
    if transposed:
        matrix, lower = swapaxes(matrix, -1, -2), not lower
        assume_a = TURNED.get(assume_a, assume_a)
    return _columns(matrix, side, _structured("solve", assume_a, lower))


@traceable(scipy.linalg.solve_triangular)
def solve_triangular(
    a: Any,
    b: Any,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    """The solution x of a x = b (of a.T x = b, if `trans`), where one triangle of a is read."""
    matrix, side = floats(a, b)
    if trans not in (0, 1, 2, "N", "T", "C"):
        raise ValueError(f"solve_triangular: trans must be 0, 1, 2, 'N', 'T' or 'C', not {trans!r}")
    turned = trans not in (0, "N")
    if turned:
        matrix = swapaxes(matrix, -1, -2)
    below, unit = bool(lower) != turned, bool(unit_diagonal)
    return _columns(matrix, side, lambda m, s: m.world.solve_triangular(m, s, lower=below, unit=unit))


@traceable(scipy.linalg.cho_solve)
def cho_solve(c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """The solution of a x = b by what `cho_factor` gave for a."""
    c, lower = c_and_lower
    factor, side = floats(c, b)
    return _columns(factor, side, _by_cholesky(lambda a: a, bool(lower)))


def _of_diagonals(function: str, ab: Any, below: int, above: int) -> Any:
    """The square matrix of which the rows of ab are diagonals: a[i, j] = ab[above + i - j, j]."""
    world, given = ab.world, matrices(function, ab.type)
    rows, size = given.shape[-2:]
    if not world.facts.equal(rows, below + above + 1):
        raise ShapeError(
            f"{function}: ab must have a row for each diagonal",
            expected=f"{below + above + 1} rows",
            actual=repr(given),
        )
    i, j = numbered(world, size, size)
    offset = i - j
    there = (offset <= below) & (offset >= -above)
    place = world.select(there, (offset + above) * ab.shape[-1] + j, 0)
    flat = reshape(ab, (*given.shape[:-2], rows * size))
    return world.select(there, world.gather(flat, place, axis=flat.ndim - 1), 0)


@traceable(scipy.linalg.solve_banded)
def solve_banded(
    l_and_u: Any, ab: Any, b: Any, overwrite_ab: bool = False, overwrite_b: bool = False, check_finite: bool = True
) -> Any:
    """The solution x of a x = b, where ab holds the diagonals of a; of them l are below the main one and u above.

    It takes the arithmetic of a matrix without a structure.
    """
    below, above = l_and_u
    below, above = whole_number("solve_banded", "l", below), whole_number("solve_banded", "u", above)
    if below < 0 or above < 0:
        raise ValueError(f"solve_banded: the numbers of diagonals must not be negative, as in {(below, above)}")
    diagonals, side = floats(ab, b)
    matrix = _of_diagonals("solve_banded", diagonals, below, above)
    return _columns(matrix, side, lambda a, b: a.world.solve(a, b))


@traceable(scipy.linalg.solveh_banded)
def solveh_banded(
    ab: Any,
    b: Any,
    overwrite_ab: bool = False,
    overwrite_b: bool = False,
    lower: bool = False,
    check_finite: bool = True,
) -> Any:
    """The solution x of a x = b, where ab holds the diagonals of one triangle of a positive definite a.

    It takes the arithmetic of a matrix without a structure, and the number of diagonals must be known.
    """
    diagonals, side = floats(ab, b)
    beside = fixed_size("solveh_banded", matrices("solveh_banded", diagonals.type).shape[-2]) - 1
    if beside < 0:
        raise ShapeError("solveh_banded: ab has no diagonal", expected="at least one row", actual=repr(diagonals.type))
    triangle = _of_diagonals("solveh_banded", diagonals, *((beside, 0) if lower else (0, beside)))
    factor = triangle if lower else swapaxes(triangle, -1, -2)
    return _columns(factor, side, _by_cholesky(lambda a: a.world.cholesky(a), lower=True))


@traceable(scipy.linalg.solve_toeplitz)
def solve_toeplitz(c_or_cr: Any, b: Any, check_finite: bool = True) -> Any:
    """The solution x of a x = b, where a is constant along its diagonals, by its first column, or column and row.

    It takes the arithmetic of a matrix without a structure; leading minors may be singular, which SciPy refuses.
    """
    c, r = c_or_cr if isinstance(c_or_cr, tuple) else (c_or_cr, c_or_cr)
    world = common_world(c, r, b)
    column, row, side = (world.convert(strong(x, world), DOUBLE) for x in (c, r, b))
    if not (column.ndim and row.ndim and world.facts.equal(column.type.shape[-1], row.type.shape[-1])):
        raise ShapeError(
            "solve_toeplitz: the first column and the first row differ in size",
            expected="c.shape[-1] == r.shape[-1]",
            actual=f"{column.type!r} and {row.type!r}",
        )
    i, j = numbered(world, column.type.shape[-1], column.type.shape[-1])
    below = world.gather(column, world.select(i >= j, i - j, 0), axis=column.ndim - 1)
    above = world.gather(row, world.select(i < j, j - i, 0), axis=row.ndim - 1)
    return _columns(world.select(i >= j, below, above), side, lambda a, b: a.world.solve(a, b))


@traceable(scipy.linalg.inv)
def inv(
    a: Any, overwrite_a: bool = False, check_finite: bool = True, *, assume_a: str | None = None, lower: bool = False
) -> Any:
    """The inverse of a square matrix, of which, if it has a structure, only what that needs is read."""
    (x,) = floats(a)
    square(x.world.facts, "inv", x.type)
    if STRUCTURES.get(assume_a) == "general":
        return x.world.inv(x)
    return _structured("inv", assume_a, lower)(x, eye(x.type.shape[-1], dtype=x.type.dtype, like=x))


@traceable(scipy.linalg.det)
def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The determinant of a square matrix, computed in float64 whatever its dtype, which SciPy's result has."""
    (x,) = floats(a)
    return x.world.det(x.world.convert(x, DOUBLE))


@traceable(scipy.linalg.pinv)
def pinv(a: Any, *, atol: Any = None, rtol: Any = None, return_rank: bool = False, check_finite: bool = True) -> Any:
    """The Moore-Penrose inverse; singular values up to rtol times the largest count as 0.

    rtol is a Python number, and must be given where a size is only a name; an absolute tolerance and return_rank=True
    are refused.
    """
    if isinstance(rtol, (int, float, np.number)) and rtol < 0:
        raise ValueError("atol and rtol values must be positive.")
    (x,) = floats(a)
    if return_rank or atol not in (None, 0):
        raise UnsupportedError(
            "pinv: atol= and return_rank= cannot be traced",
            expected="a relative tolerance, rtol=",
            actual=f"atol={atol!r}"[:60] + f", return_rank={return_rank!r}",
            fix="np.linalg.matrix_rank gives the rank",
        )
    return numpy_pinv(x, rtol=rtol)
