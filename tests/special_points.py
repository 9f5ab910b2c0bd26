"""Points where a derivative is a limit, a pole or a convention: one table for tests, documentation and comparison.

Nothing here imports graphc, so that other systems can be asked the same questions where it is not installed:
`benchmarks/special_points.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, nan, pi
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Point:
    """A function of `x` in NumPy's words, a point, and what its first and second derivative are there.

    `second` is None where it is not stated. `reason` says why the values are right, or whose convention they are.
    """

    function: str
    at: Any
    first: Any
    second: Any
    reason: str

    def __str__(self) -> str:
        return f"{self.function} at {self.at}"


LIMIT: Final = "limit"
POLE: Final = "one-sided limit"
EXACT: Final = "derivative"
SHARE: Final = "ties share equally"
MEAN: Final = "mean of the two sides"
ZERO: Final = "constant nearby"
BRANCH: Final = "the branch taken"
ORIGIN: Final = "0 at the origin, the mean of all directions"

E80: Final = exp(-80.0)
IDENTITY2: Final = [[2.0, 0.0], [0.0, 2.0]]
HALVES: Final = [[0.25, -0.25], [-0.25, 0.25]]

SECTIONS: Final[dict[str, tuple[Point, ...]]] = {
    "Poles and ends of domains": (
        Point("np.sqrt(x)", 0.0, inf, -inf, POLE),
        Point("np.log(x)", 0.0, inf, -inf, POLE),
        Point("np.log1p(x)", -1.0, inf, -inf, POLE),
        Point("x * np.log(x)", 0.0, -inf, inf, POLE),
        Point("special.xlogy(x, 0.0)", 0.0, -inf, 0.0, POLE),
        Point("special.xlogy(0.0, x)", 0.0, 0.0, 0.0, "0 times anything is 0"),
        Point("np.arcsin(x)", 1.0, inf, inf, POLE),
        Point("np.arccos(x)", 1.0, -inf, -inf, POLE),
        Point("np.arccosh(x)", 1.0, inf, -inf, POLE),
    ),
    "Kinks and jumps": (
        Point("np.abs(x)", 0.0, 0.0, 0.0, MEAN),
        Point("x * np.abs(x)", 0.0, 0.0, 0.0, EXACT),
        Point("np.sqrt(x**2)", 0.0, 0.0, 0.0, MEAN),
        Point("np.sign(x)", 0.0, 0.0, 0.0, ZERO),
        Point("np.floor(x)", 1.0, 0.0, 0.0, ZERO),
        Point("x % 1.0", 1.0, 1.0, 0.0, "the same on both sides"),
        Point("np.where(x > 0, x, 0.0)", 0.0, 0.0, 0.0, BRANCH),
        Point("np.maximum(x, 0.0)", 0.0, 0.5, 0.0, SHARE),
        Point("np.maximum(x, x)", 2.0, 1.0, 0.0, EXACT),
        Point("np.fmax(x, np.nan)", 2.0, 1.0, 0.0, EXACT),
        Point("np.clip(x, 0.0, 1.0)", 0.0, 0.5, 0.0, MEAN),
        Point("np.clip(x, 0.0, 1.0)", 1.0, 0.5, 0.0, MEAN),
        Point("np.clip(x, 1.0, 1.0)", 1.0, 0.0, 0.0, EXACT),
    ),
    "Ties": (
        Point("np.max(x)", [1.0, 1.0, 0.0], [0.5, 0.5, 0.0], 0.0, SHARE),
        Point("np.min(x)", [1.0, 0.0, 0.0], [0.0, 0.5, 0.5], 0.0, SHARE),
        Point("np.sum(np.max(x, axis=1))", [[1.0, 1.0], [0.0, 2.0]], [[0.5, 0.5], [0.0, 1.0]], 0.0, SHARE),
        Point("np.ptp(x)", [1.0, 1.0], [0.0, 0.0], 0.0, SHARE),
        Point("np.linalg.norm(x, np.inf)", [1.0, -1.0], [0.5, -0.5], 0.0, SHARE),
        Point("np.sum(np.array([1.0, 2.0, 4.0]) * np.sort(x))", [1.0, 1.0, 0.0], [3.0, 3.0, 1.0], 0.0, SHARE),
        Point("np.median(x)", [1.0, 1.0, 2.0], [0.5, 0.5, 0.0], 0.0, SHARE),
        Point("np.median(x)", [1.0, 1.0, 1.0], [1 / 3, 1 / 3, 1 / 3], 0.0, SHARE),
        Point("np.quantile(x, 0.25)", [1.0, 1.0, 0.0], [0.25, 0.25, 0.5], 0.0, SHARE),
    ),
    "Norms and angles at the origin": (
        Point("np.linalg.norm(x)", [0.0, 0.0], [0.0, 0.0], 0.0, ORIGIN),
        Point("np.sum(np.linalg.norm(x, axis=1))", [[0.0, 0.0], [3.0, 4.0]], [[0.0, 0.0], [0.6, 0.8]], None, ORIGIN),
        Point("np.linalg.norm(x)**2", [0.0, 0.0], [0.0, 0.0], IDENTITY2, EXACT),
        Point("np.linalg.norm(x, 1)", [0.0, 2.0], [0.0, 1.0], 0.0, MEAN),
        Point("np.sqrt(x[0]**2 + x[1]**2)", [0.0, 0.0], [0.0, 0.0], 0.0, ORIGIN),
        Point("np.sqrt(x[0]**2 + x[1]**2 + x[2]**2)", [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 0.0, ORIGIN),
        Point("np.hypot(x[0], x[1])", [0.0, 0.0], [0.0, 0.0], 0.0, ORIGIN),
        Point("np.arctan2(x[0], x[1])", [0.0, 0.0], [0.0, 0.0], 0.0, ORIGIN),
        Point("np.std(x)", [1.0, 1.0], [0.0, 0.0], 0.0, ORIGIN),
        Point("np.std(x)", [2.0], [0.0], 0.0, EXACT),
        Point("np.var(x)", [1.0, 1.0], [0.0, 0.0], [[0.5, -0.5], [-0.5, 0.5]], EXACT),
        Point("np.var(x)", [2.0], [0.0], 0.0, EXACT),
    ),
    "The branch that `where` does not take": (
        Point("np.where(x > 0, np.sqrt(x), 0.0)", -1.0, 0.0, 0.0, BRANCH),
        Point("np.where(x > 0, np.log(x), 0.0)", 0.0, 0.0, 0.0, BRANCH),
        Point("np.where(np.abs(x) > 0, np.sin(x) / x, 1.0)", 0.0, 0.0, 0.0, BRANCH),
        Point("np.where(x > 0, np.where(x > 1, np.log(x - 1), np.sqrt(x)), 0.0)", -1.0, 0.0, 0.0, BRANCH),
        Point(
            "np.sum(np.where(np.sum(x**2) > 0, x / np.sqrt(np.sum(x**2)), 0.0))", [0.0, 0.0], [0.0, 0.0], 0.0, BRANCH
        ),
        Point("np.nan_to_num(x)", nan, 0.0, 0.0, BRANCH),
        Point("np.nan_to_num(x)", inf, 0.0, 0.0, BRANCH),
        Point("np.nansum(x**2)", [nan, 2.0], [0.0, 4.0], [[0.0, 0.0], [0.0, 2.0]], BRANCH),
    ),
    "Powers and products": (
        Point("x**0.0", 0.0, 0.0, 0.0, EXACT),
        Point("x**1.0", 0.0, 1.0, 0.0, EXACT),
        Point("x**2.0", 0.0, 0.0, 2.0, EXACT),
        Point("x**0.5", 0.0, inf, -inf, POLE),
        Point("x**1.5", 0.0, 0.0, inf, POLE),
        Point("x**3.0", -2.0, 12.0, -12.0, EXACT),
        Point("0.0**x", 2.0, 0.0, 0.0, EXACT),
        Point("x[0]**x[1]", [0.0, 2.0], [0.0, 0.0], [[2.0, 0.0], [0.0, 0.0]], LIMIT),
        Point("np.prod(x)", [0.0, 2.0, 3.0], [6.0, 0.0, 0.0], [[0, 3, 2], [3, 0, 0], [2, 0, 0]], EXACT),
        Point("np.prod(x)", [0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [[0, 3, 0], [3, 0, 0], [0, 0, 0]], EXACT),
        Point("np.sum(np.cumprod(x))", [0.0, 2.0, 0.0], [3.0, 0.0, 0.0], [[0, 1, 2], [1, 0, 0], [2, 0, 0]], EXACT),
    ),
    "Sums of exponentials": (
        Point("np.log1p(np.exp(x))", 1000.0, 1.0, 0.0, EXACT),
        Point("-np.log(1 / (1 + np.exp(-x)))", -800.0, -1.0, 0.0, EXACT),
        Point("np.tanh(x)", 40.0, 4 * E80, -8 * E80, EXACT),
        Point("np.log(np.sum(np.exp(x)))", [1000.0, 1000.0], [0.5, 0.5], HALVES, EXACT),
        Point("np.log(np.sum(np.exp(x)))", [-inf, 0.0], [0.0, 1.0], 0.0, LIMIT),
        Point("np.log(np.sum(np.exp(x)))", [-inf, -inf], [0.5, 0.5], None, SHARE),
        Point("np.logaddexp(x[0], x[1])", [1000.0, 1000.0], [0.5, 0.5], HALVES, EXACT),
        Point("np.logaddexp(x[0], x[1])", [-inf, -inf], [0.5, 0.5], None, SHARE),
        Point("np.logaddexp(x[0], x[1])", [inf, inf], [0.5, 0.5], None, SHARE),
        Point("special.logsumexp(np.zeros(2), b=x)", [1.0, 0.0], [1.0, 1.0], [[-1, -1], [-1, -1]], EXACT),
        Point("(np.exp(x) / np.sum(np.exp(x)))[0]", [1000.0, 0.0], [0.0, 0.0], 0.0, EXACT),
        Point("(np.exp(x) / np.sum(np.exp(x)))[1]", [-inf, 0.0], [0.0, 0.0], 0.0, LIMIT),
        Point("np.log(1 - np.exp(-x))", 1e-20, 1e20, -1e40, EXACT),
    ),
    "Removable singularities": (
        Point("np.sinc(x)", 0.0, 0.0, -(pi**2) / 3, LIMIT),
        Point("special.i0(x)", 0.0, 0.0, 0.5, EXACT),
    ),
}
POINTS: Final = tuple(point for section in SECTIONS.values() for point in section)
