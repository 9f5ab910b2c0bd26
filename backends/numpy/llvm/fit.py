"""Computes the polynomials of the vector functions and writes them down: ``python -m graphc.backends.numpy.llvm.fit``.

Each is the best in the sense of Chebyshev: of its degree, the one with the smallest largest weighted error, found by
the exchange algorithm (E. Y. Remez, 1934; J.-M. Muller, "Elementary Functions", 3rd edition, section 3.5) in 60 digits.
Coefficients are then rounded to the dtype. For single precision that costs more than the approximation itself, so they
are afterwards moved by single units in the last place, as long as the error gets smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mpmath
import numpy as np

from graphc.backends.numpy.llvm.approximants import FITS, QUOTIENTS, Fit, Quotient
from graphc.backends.numpy.llvm.values import F32, DType

DIGITS: Final = 60
Real = Any  # an mpmath number


@dataclass(frozen=True, slots=True)
class Approximation:
    """Coefficients, that of x**0 first, and the largest weighted error with them."""

    coefficients: tuple[float, ...]
    error: float


def solve(fit: Fit, degree: int, dtype: DType) -> Approximation:
    """The best polynomial of a degree with coefficients in the dtype."""
    with mpmath.workdps(DIGITS):
        grid = _grid(fit, 40 * (degree + 2))
        values = [fit.function(x) for x in grid]
        weights = [abs(fit.weight(x)) for x in grid]
        exact = exchange(grid, values, weights, degree)
        rounded = _rounded(exact, dtype)
        if dtype == F32:
            rounded = polish(grid, values, weights, rounded, np.polynomial.polynomial.polyval)
        error = max(
            w * abs(mpmath.polyval(rounded[::-1], x) - y) for x, y, w in zip(grid, values, weights, strict=True)
        )
        return Approximation(tuple(rounded), float(error))


def solve_quotient(fit: Quotient) -> tuple[Approximation, Approximation]:
    """A quotient of polynomials whose largest weighted error is nearly the smallest.

    Weighted least squares, linear in the coefficients for a given denominator (H. L. Loeb, 1957), with weights that
    grow where the error is large (C. L. Lawson, 1961).
    """
    with mpmath.workdps(DIGITS // 2):
        p, q = fit.degrees
        grid = _grid(fit, 12 * (p + q))
        start = fit.start()
        values = [fit.function(x) / start for x in grid]
        weights = [abs(fit.weight(x)) * start for x in grid]
        below, stress = [mpmath.mpf(1)] * len(grid), [mpmath.mpf(1)] * len(grid)
        best: tuple[Any, list[Any], list[Any]] | None = None
        for _ in range(40):
            system, right = mpmath.matrix(len(grid), p + q), mpmath.matrix(len(grid), 1)
            for row, (x, y) in enumerate(zip(grid, values, strict=True)):
                scale = mpmath.sqrt(stress[row]) * weights[row] / below[row]
                for k in range(p):
                    system[row, k] = scale * x ** (k + 1)
                for k in range(q):
                    system[row, p + k] = -scale * y * x ** (k + 1)
                right[row] = scale * (y - 1)
            solution = mpmath.lu_solve(system.T * system, system.T * right)
            top_c = [mpmath.mpf(1), *(solution[k] for k in range(p))]
            below_c = [mpmath.mpf(1), *(solution[p + k] for k in range(q))]
            below = [mpmath.polyval(below_c[::-1], x) for x in grid]
            errors = [
                w * abs(mpmath.polyval(top_c[::-1], x) / b - y)
                for x, y, w, b in zip(grid, values, weights, below, strict=True)
            ]
            if best is None or max(errors) < best[0]:
                best = max(errors), top_c, below_c
            total = sum(s * e for s, e in zip(stress, errors, strict=True))
            stress = [s * e / total * len(grid) for s, e in zip(stress, errors, strict=True)]
        assert best is not None
        rounded = _rounded([start * c for c in best[1]], F32) + _rounded(best[2], F32)

        def quotient(x: Any, c: Sequence[float]) -> Any:
            value = np.polynomial.polynomial.polyval
            return value(x, c[: p + 1]) / value(x, c[p + 1 :])

        true = [y * start for y in values]
        rounded = polish(grid, true, [w / start for w in weights], rounded, quotient, fixed=p + 1)
        x64, y64 = (np.array([float(v) for v in column]) for column in (grid, true))
        error = float(np.max(np.abs(quotient(x64, rounded) / y64 - 1)))
        return Approximation(tuple(rounded[: p + 1]), error), Approximation(tuple(rounded[p + 1 :]), error)


def _rounded(exact: Sequence[Real], dtype: DType) -> list[float]:
    return [float(dtype.type(mpmath.nstr(c, 30))) for c in exact]


def _grid(fit: Fit | Quotient, count: int) -> list[Real]:
    """Points of the interval, dense at its ends, where the errors of good polynomials vary fastest."""
    low, high = fit.interval()
    middle, half = (low + high) / 2, (high - low) / 2
    return [middle - half * mpmath.cos(mpmath.pi * (2 * k + 1) / (2 * count)) for k in range(count)]


def exchange(grid: Sequence[Real], values: Sequence[Real], weights: Sequence[Real], degree: int) -> list[Real]:
    """The polynomial whose weighted errors on the grid alternate between equal extremes (Remez)."""
    count = degree + 2
    chosen = [round(k * (len(grid) - 1) / (count - 1)) for k in range(count)]
    coefficients: list[Real] = []
    for _ in range(60):
        system = mpmath.matrix(count, count)
        right = mpmath.matrix(count, 1)
        for row, i in enumerate(chosen):
            for k in range(degree + 1):
                system[row, k] = weights[i] * grid[i] ** k
            system[row, degree + 1] = (-1) ** row
            right[row] = weights[i] * values[i]
        solution = mpmath.lu_solve(system, right)
        coefficients = [solution[k] for k in range(degree + 1)]
        level = abs(solution[degree + 1])
        errors = [
            w * (y - mpmath.polyval(coefficients[::-1], x)) for x, y, w in zip(grid, values, weights, strict=True)
        ]
        if max(map(abs, errors)) <= level * mpmath.mpf("1.001"):
            break
        chosen = _extremes(errors, count)
    return coefficients


def _extremes(errors: Sequence[Real], count: int) -> list[int]:
    """Where the error is largest between its changes of sign: `count` neighbours, the largest among them."""
    peaks: list[int] = []
    for i, error in enumerate(errors):
        if peaks and (errors[peaks[-1]] > 0) == (error > 0):
            if abs(error) > abs(errors[peaks[-1]]):
                peaks[-1] = i
        else:
            peaks.append(i)
    while len(peaks) > count:
        peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
    if len(peaks) < count:
        raise ArithmeticError("the error changes its sign too rarely: the degree is too high for the digits")
    return peaks


def polish(
    grid: Sequence[Real],
    values: Sequence[Real],
    weights: Sequence[Real],
    start: list[float],
    evaluate: Callable[[Any, Sequence[float]], Any],
    fixed: int | None = None,
) -> list[float]:
    """Move coefficients to neighbouring floats of single precision while the largest error falls; one may be fixed."""
    x, y, w = (np.array([float(v) for v in column]) for column in (grid, values, weights))

    def largest(coefficients: Sequence[float]) -> float:
        return float(np.max(w * np.abs(evaluate(x, coefficients) - y)))

    best, error = list(start), largest(start)
    moves = [move for move in _moves(len(best)) if fixed is None or move[fixed] == 0]
    improved = True
    while improved:
        improved = False
        for move in moves:
            trial = [float(np.float32(c) + s * np.spacing(np.float32(c))) for c, s in zip(best, move, strict=True)]
            found = largest(trial)
            if found < error:
                best, error, improved = trial, found, True
    return best


def _moves(count: int) -> list[tuple[int, ...]]:
    """Up to three steps of one coefficient together with up to three of another."""
    steps = range(-3, 4)
    moves = set()
    for i in range(count):
        for j in range(i, count):
            for a in steps:
                for b in steps:
                    move = [0] * count
                    move[i] += a
                    move[j] += b
                    moves.add(tuple(move))
    return sorted(moves)


HEADER: Final = '''"""Coefficients of the polynomials in the vector functions, that of x**0 first.

Written by ``python -m graphc.backends.numpy.llvm.fit`` from the table in `approximants.py`: do not edit. After each
dtype stands the largest error on the interval, relative to the function for which the polynomial is made.
"""

from __future__ import annotations

from typing import Final

from graphc.backends.numpy.llvm.values import F32, F64, DType

Table = dict[DType, tuple[float, ...]]
'''


def table(name: str, note: str, found: dict[DType, Approximation]) -> str:
    """The lines of one table."""
    lines = [f"# {note}", f"{name}: Final[Table] = {{"]
    for dtype, approximation in found.items():
        size = f"2**{np.log2(approximation.error):.1f}"
        degree = len(approximation.coefficients) - 1
        lines.append(f"    {'F32' if dtype == F32 else 'F64'}: (  # degree {degree}, {size}")
        lines += [f"        {c!r}," for c in approximation.coefficients]
        lines.append("    ),")
    return "\n".join([*lines, "}"])


def written(fit: Fit) -> str:
    return table(fit.name, fit.note, {dtype: solve(fit, degree, dtype) for dtype, degree in fit.degrees.items()})


def written_quotient(fit: Quotient) -> str:
    top, below = solve_quotient(fit)
    first = table(f"{fit.name}_TOP", f"{fit.note}; P", {F32: top})
    return first + "\n\n" + table(f"{fit.name}_BELOW", "Q of the same quotient", {F32: below})


def module() -> str:
    """The text of coefficients.py."""
    return HEADER + "\n" + "\n\n".join([*map(written, FITS), *map(written_quotient, QUOTIENTS)]) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("coefficients.py").write_text(module(), encoding="utf-8")
