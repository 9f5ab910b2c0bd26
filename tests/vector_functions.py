"""The vector functions as a table: their exact meaning, NumPy's, and where to look for their largest errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from graphc.backends.numpy.llvm import functions
from graphc.ops import lookup
from graphc.ops.meaning import evaluate
from tests.ulps import Exact, exact

Array = np.ndarray[Any, Any]
DType = np.dtype[Any]
INF = math.inf
ULPS = 2.5


@dataclass(frozen=True, slots=True)
class Row:
    """One function.

    exact: the function of Arb balls.
    numpy: the function of arrays that special values are compared with.
    domains: for each operand, the interval where it has finite values, ends left out.
    hard: points around which errors are expected to be large.
    shape: makes telling operands of independent ones.
    ulps: the bound on the error.
    simple: whether a result of 1/2, 1, 2 or 3 comes out exactly.
    """

    exact: Callable[..., Any]
    numpy: Callable[..., Array]
    domains: tuple[tuple[float, float], ...]
    hard: tuple[float, ...]
    shape: Callable[[Array, Array], tuple[Array, Array]] | None = None
    ulps: float = ULPS
    simple: bool = True


def ball(x: float) -> Any:
    import flint

    return flint.arb(x)


def exact_softplus(x: Any) -> Any:
    return x.exp().log1p() if x < 0 else x + (-x).exp().log1p()


def exact_logaddexp(a: Any, b: Any) -> Any:
    return a + exact_softplus(b - a)


def exact_logaddexp2(a: Any, b: Any) -> Any:
    two = ball(2)
    return a + (1 + two ** (b - a)).log() / two.log() if b < a else b + (1 + two ** (a - b)).log() / two.log()


def exact_log1mexp(x: Any) -> Any:
    return (-(-x).expm1()).log() if x < 1 else (-((-x).exp())).log1p()


def exact_log_cosh(x: Any) -> Any:
    half = (x / 2).sinh()
    return (2 * half * half).log1p() if abs(x) < 1 else abs(x) + (-2 * abs(x)).exp().log1p() - ball(2).log()


def exact_erfcx(x: Any) -> Any:
    return (x * x).exp() * x.erfc()


def exact_ndtr(x: Any) -> Any:
    return (-x / ball(2).sqrt()).erfc() / 2


def exact_ndtri(p: Any) -> Any:
    """By the complement on either side, for 2 p - 1 would lose the tail."""
    root = ball(2).sqrt()
    return -root * (2 * p).erfcinv() if p < 0.5 else root * (2 * (1 - p)).erfcinv()


def exact_log_ndtr(x: Any) -> Any:
    return exact_ndtr(x).log() if x < 0 else (-exact_ndtr(-x)).log1p()


def exact_log_erfc(x: Any) -> Any:
    return x.erfc().log() if x > 0 else (-x.erf()).log1p()


def exact_cbrt(x: Any) -> Any:
    return -((-x).root(3)) if x < 0 else x.root(3)


def meaning(name: str) -> Callable[..., Array]:
    """What the op of that name does to NumPy arrays."""
    return lambda *operands: np.asarray(evaluate(lookup(name), operands, {}))


def finite_powers(x: Array, y: Array) -> tuple[Array, Array]:
    """Half of the exponents such that the power is a finite number, or just not."""
    reach = np.finfo(x.dtype).maxexp * 1.1
    exponents = np.resize(np.linspace(-reach, reach, 997), len(x)) / np.log2(x.astype(np.float64))
    return x, np.where((np.arange(len(x)) % 2 == 0) & (x != 1), exponents, y).astype(x.dtype)


def of_similar_size(x: Array, y: Array) -> tuple[Array, Array]:
    """Half of the second operands between a third and three times the first."""
    similar = x * np.resize(np.linspace(-3, 3, 1009), len(x)).astype(x.dtype)
    y = np.where((np.arange(len(x)) % 2 == 0) & np.isfinite(similar), similar, y).astype(x.dtype)
    return x[y != 0], y[y != 0]


def by_rule_of_c(y: Array, x: Array) -> Array:
    return np.arctan2(y, x)


REAL = (-INF, INF)
UNIT = (-1.0, 1.0)
LOG2 = math.log(2)
PI = math.pi
AROUND_CIRCLE = (*(k * PI / 4 for k in range(1, 9)), 1e3 * PI, 1e5 * PI, 2.0**17, 2.0**26, 2.0**30, 1e22)
ROWS: dict[str, Row] = {
    "exp": Row(lambda x: x.exp(), np.exp, (REAL,), (0, LOG2 / 2, 88.7, -87.3, -103.9, 709.7, -708.4, -745.1)),
    "exp2": Row(lambda x: ball(2) ** x, np.exp2, (REAL,), (0, 0.5, -0.5, 128, -126, -149, 1024, -1022, -1074)),
    "expm1": Row(lambda x: x.expm1(), np.expm1, (REAL,), (0, LOG2 / 2, -LOG2 / 2, -17, -37, 88.7, 709.7)),
    "sinh": Row(lambda x: x.sinh(), np.sinh, (REAL,), (0, 0.17, 0.35, 89.4, 710.4)),
    "cosh": Row(lambda x: x.cosh(), np.cosh, (REAL,), (0, 0.17, 0.35, 89.4, 710.4)),
    "tanh": Row(lambda x: x.tanh(), np.tanh, (REAL,), (0, 0.55, -0.55, 9, 19)),
    "sigmoid": Row(lambda x: 1 / (1 + (-x).exp()), meaning("sigmoid"), (REAL,), (0, -88, -103, 17, 37, -709, -745)),
    "log": Row(lambda x: x.log(), np.log, ((0, INF),), (1, 2, math.sqrt(0.5), math.sqrt(2))),
    "log2": Row(lambda x: x.log() / ball(2).log(), np.log2, ((0, INF),), (1, 2, 1024, math.sqrt(0.5))),
    "log10": Row(lambda x: x.log() / ball(10).log(), np.log10, ((0, INF),), (1, 10, 1000, math.sqrt(0.5))),
    "log1p": Row(lambda x: x.log1p(), np.log1p, ((-1, INF),), (0, 1, -1, math.sqrt(0.5) - 1, math.sqrt(2) - 1)),
    "softplus": Row(exact_softplus, lambda x: np.logaddexp(x, 0), (REAL,), (0, -88, -103, -709, -745, 37)),
    "log_sigmoid": Row(lambda x: -exact_softplus(-x), lambda x: -np.logaddexp(-x, 0), (REAL,), (0, 88, 103, 709, 745)),
    "logaddexp": Row(exact_logaddexp, np.logaddexp, ((0, INF), (0, INF)), (0, 1, 37), of_similar_size),
    "logaddexp2": Row(
        exact_logaddexp2, np.logaddexp2, ((0, INF), (0, INF)), (0, 1, 37), of_similar_size, ulps=3, simple=False
    ),
    "log1mexp": Row(exact_log1mexp, meaning("log1mexp"), ((0, INF),), (LOG2, 17, 37, 103, 745)),
    "log_cosh": Row(exact_log_cosh, meaning("log_cosh"), (REAL,), (0, 1, -1)),
    "logit": Row(lambda x: (x / (1 - x)).log(), meaning("logit"), ((0, 1),), (0.25, 0.5, 0.75)),
    "ndtri": Row(exact_ndtri, meaning("ndtri"), ((0, 1),), (0.5, 0.075, 0.925, 1e-11, 1.4e-11, 1, 1e-300), ulps=6),
    "xlogy": Row(lambda x, y: x * y.log(), meaning("xlogy"), (REAL, (0, INF)), (1, 2)),
    "xlog1py": Row(lambda x, y: x * y.log1p(), meaning("xlog1py"), (REAL, (-1, INF)), (0, 1)),
    "sin_arctan": Row(lambda x: x / (1 + x * x).sqrt(), meaning("sin_arctan"), (REAL,), (0, 1, 1e4, 1e8)),
    "cos_arctan": Row(lambda x: 1 / (1 + x * x).sqrt(), meaning("cos_arctan"), (REAL,), (0, 1, 1e4, 1e8)),
    "sinc": Row(lambda x: x.sinc_pi(), meaning("sinc"), (REAL,), (0, 0.5, 1, 1.5, 2, 100)),
    "pow": Row(lambda x, y: x**y, np.power, ((0, INF), REAL), (0.5, 1, 2, 3, 10), finite_powers),
    "cbrt": Row(exact_cbrt, np.cbrt, (REAL,), (0, 1, 8, math.sqrt(0.5))),
    "hypot": Row(lambda x, y: (x * x + y * y).sqrt(), np.hypot, (REAL, REAL), (0, 1), of_similar_size),
    "sin": Row(lambda x: x.sin(), np.sin, (REAL,), AROUND_CIRCLE),
    "cos": Row(lambda x: x.cos(), np.cos, (REAL,), AROUND_CIRCLE),
    "tan": Row(lambda x: x.tan(), np.tan, (REAL,), AROUND_CIRCLE),
    "arcsin": Row(lambda x: x.asin(), np.arcsin, (UNIT,), (0, 0.5, 1)),
    "arccos": Row(lambda x: x.acos(), np.arccos, (UNIT,), (0, 0.5, -0.5, 1)),
    "arctan": Row(lambda x: x.atan(), np.arctan, (REAL,), (0, 1, -1)),
    "arctan2": Row(lambda y, x: type(y).atan2(y, x), by_rule_of_c, (REAL, REAL), (0, 1), of_similar_size),
    "arcsinh": Row(lambda x: x.asinh(), np.arcsinh, (REAL,), (0, 0.5, 2.0**14, 2.0**28)),
    "arccosh": Row(lambda x: x.acosh(), np.arccosh, ((1, INF),), (1, 2, 2.0**14, 2.0**28)),
    "arctanh": Row(lambda x: x.atanh(), np.arctanh, (UNIT,), (0, 0.5, 1, -1)),
    "erf": Row(lambda x: x.erf(), meaning("erf"), (REAL,), (0, 1, -1, 3.9, 5.8)),
    "erfc": Row(lambda x: x.erfc(), meaning("erfc"), (REAL,), (0, 0.6, 1, -1, 7.2, 9.2, 10, 26.5, 27.2)),
    "erfcx": Row(exact_erfcx, meaning("erfcx"), ((-30, INF),), (0, -0.5, -1, -9.3, -26.6, 1.9e7)),
    "log_erfc": Row(exact_log_erfc, meaning("log_erfc"), (REAL,), (0, 0.6, 1)),
    "ndtr": Row(exact_ndtr, meaning("ndtr"), (REAL,), (0, 0.7, -0.7, -13, -14, -37, -38), ulps=3),
    "log_ndtr": Row(exact_log_ndtr, meaning("log_ndtr"), ((-1e5, INF),), (0, 0.7, 0.83, -0.7, 5, -13, 37), ulps=3),
}
# exact to the bit
EXACT = {"fmod": np.fmod, "remainder": np.remainder, "floor_divide": np.floor_divide}


def samples(dtype: DType, domain: tuple[float, float], hard: tuple[float, ...], count: int, seed: int) -> Array:
    """Points of a domain: of all magnitudes, of the usual ones, around the hard points, and subnormal."""
    rng = np.random.default_rng([seed, dtype.itemsize])
    low, high = domain
    fits = np.finfo(dtype)
    whole = np.dtype(f"i{dtype.itemsize}")
    bits = rng.integers(np.iinfo(whole).min, np.iinfo(whole).max, count, whole).view(dtype).astype(np.float64)
    usual = [rng.uniform(max(low, -size), min(high, size), count // 4) for size in (1, 4, 20, 120, 1000)]
    magnitudes = np.exp(rng.uniform(-45, 45, count // 4)) * rng.choice([-1, 1], count // 4)
    around = [h + rng.normal(size=count // 8) * 10.0 ** rng.uniform(-16, 0, count // 8) for h in (*hard, low, high)]
    steps = rng.integers(-40, 40, count // 8)
    beside = [h + steps * np.spacing(dtype.type(h)).astype(np.float64) for h in hard]
    tiny = rng.integers(1, 2**20, count // 8) * float(fits.smallest_subnormal) * rng.choice([-1, 1], count // 8)
    x: Array = np.concatenate([bits, *usual, magnitudes, *around, *beside, tiny]).astype(dtype)
    inside: Array = x[np.isfinite(x) & (x > low) & (x < high)]
    return inside


@lru_cache(maxsize=4)
def reference(name: str, dtype: DType, count: int) -> tuple[list[Array], Exact]:
    row = ROWS[name]
    columns = [samples(dtype, domain, row.hard, count, seed) for seed, domain in enumerate(row.domains)]
    n = min(map(len, columns))
    rng = np.random.default_rng(5)
    operands = [column[rng.permutation(len(column))[:n]] if len(columns) > 1 else column for column in columns]
    if row.shape is not None:
        operands = list(row.shape(*operands))
    return operands, exact(row.exact, operands)


# what the fast tier computes otherwise, and the bounds on its errors for normal numbers
QUICK: Final = {name: function for name, function in functions.FAST.items() if function is not functions.ACCURATE[name]}
FAST_ULPS: Final = {"tanh": 6.0, "erf": 7.0, "tan": 4.0}
