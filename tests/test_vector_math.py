"""Every vector function against exact values, in units in the last place, and against NumPy at special points."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="llvmlite is not installed: kernels cannot be compiled")
pytest.importorskip("flint", reason="python-flint is not installed: there is nothing exact to compare with")

from graphc.backends.numpy.llvm import approximants, coefficients, fit, functions
from graphc.backends.numpy.llvm.emit import F32, F64
from graphc.backends.numpy.llvm.machine import Machine, assembly
from graphc.ops import lookup
from graphc.ops.meaning import evaluate
from tests.kernel_loops import Loop, loop_text
from tests.test_emit import INTEGERS, MACHINES, here
from tests.ulps import Exact, exact

Array = np.ndarray[Any, Any]
DType = np.dtype[Any]
INF = math.inf
ULPS = 2.5
REFERENCE = re.compile(r"(?:\tcallq?\t|\tbl\t|\$|:abs_g\d(?:_nc)?:)([A-Za-z_.][\w.]*)")


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
    "erfc": Row(lambda x: x.erfc(), meaning("erfc"), (REAL,), (0, 0.6, 1, -1, 9.2, 10, 26.5, 27.2)),
    "erfcx": Row(lambda x: (x * x).exp() * x.erfc(), meaning("erfcx"), ((-30, INF),), (0, -1, -9.3, -26.6)),
    "log_erfc": Row(exact_log_erfc, meaning("log_erfc"), (REAL,), (0, 0.6, 1)),
    "ndtr": Row(exact_ndtr, meaning("ndtr"), (REAL,), (0, 0.7, -0.7, -13, -14, -37, -38), ulps=3.5),
    "log_ndtr": Row(exact_log_ndtr, meaning("log_ndtr"), ((-1e5, INF),), (0, 0.7, -0.7, 5, -13, 37), ulps=3.5),
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
    x = np.concatenate([bits, *usual, magnitudes, *around, *beside, tiny]).astype(dtype)
    return x[np.isfinite(x) & (x > low) & (x < high)]


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


@cache
def compiled(name: str, dtype: DType, machine: Machine) -> Loop:
    return Loop(functions.ACCURATE[name], [dtype] * len(ROWS[name].domains), machine)


def worst(name: str, dtype: DType, machine: Machine, count: int) -> None:
    operands, values = reference(name, dtype, count)
    distances = values.distances(compiled(name, dtype, machine)(*operands))
    i = int(np.argmax(distances))
    at = ", ".join(repr(operand[i]) for operand in operands)
    assert distances[i] <= ROWS[name].ulps, f"{name}({at}) is {distances[i]:.3f} ULP off"


@np.errstate(all="ignore")
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", ROWS)
def test_accuracy(name: str, dtype: DType) -> None:
    for machine in (p.values[0] for p in here()):
        worst(name, dtype, machine, 300)


@np.errstate(all="ignore")
@pytest.mark.slow
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", ROWS)
def test_accuracy_on_many_points(name: str, dtype: DType) -> None:
    for machine in (p.values[0] for p in here()):
        worst(name, dtype, machine, 20_000)


def special_points(dtype: DType, operands: int) -> list[Array]:
    """Zeros, infinities, NaN, and the ends of the format, in every combination."""
    fits = np.finfo(dtype)
    ends = (fits.max, -fits.max, fits.smallest_normal, -fits.smallest_normal, fits.smallest_subnormal)
    numbers = (0.0, -0.0, 1, -1, INF, -INF, math.nan, 2, -2, 3, -3, 0.5, -0.5, 1.5, -2.5, 1e6, -1e6)
    points = np.array([*numbers, *ends], dtype)
    return [grid.ravel() for grid in np.meshgrid(*[points] * operands)]


def same(found: Array, expected: Array) -> None:
    """Equal to the bit, but for the sign of NaN."""
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    if expected.dtype.kind == "f":
        number = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(expected[number]))


@np.errstate(all="ignore")
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", ROWS)
def test_special_values(name: str, dtype: DType) -> None:
    """Zeros with their signs, infinities, NaN and simple numbers are NumPy's."""
    row = ROWS[name]
    operands = special_points(dtype, len(row.domains))
    expected = row.numpy(*operands)
    plain = ~np.isfinite(expected) | np.isin(np.abs(expected), (0, 0.5, 1, 2, 3) if row.simple else (0,))
    for machine in (p.values[0] for p in here()):
        found = compiled(name, dtype, machine)(*operands)
        same(found[plain], expected[plain])
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
        number = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(expected[number]))


@np.errstate(all="ignore")
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", EXACT)
def test_remainders_are_exact(name: str, dtype: DType) -> None:
    x, y = (samples(dtype, REAL, (0, 1, 3), 2000, seed) for seed in (1, 2))
    n = min(len(x), len(y))
    x, y = of_similar_size(x[:n], y[:n][::-1])
    multiples = (x[::3] / np.resize(np.arange(1, 50), len(x[::3]))).astype(dtype)
    a, b = special_points(dtype, 2)
    x, y = np.concatenate([x, x[::3], a]), np.concatenate([y, multiples, b])
    for machine in (p.values[0] for p in here()):
        same(Loop(functions.ACCURATE[name], [dtype, dtype], machine)(x, y), EXACT[name](x, y))


@np.errstate(all="ignore")
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("name", EXACT)
def test_remainders_of_integers(name: str, dtype: DType) -> None:
    info = np.iinfo(dtype)
    rng = np.random.default_rng(3)
    values = np.concatenate(
        [np.array([info.min, info.max], dtype), np.arange(8, dtype=dtype), rng.integers(info.min, info.max, 40, dtype)]
    )
    if dtype.kind == "i":
        values = np.concatenate([values, -np.arange(8, dtype=dtype)])
    x, y = (grid.ravel() for grid in np.meshgrid(values, values))
    same(Loop(functions.ACCURATE[name], [dtype, dtype])(x, y), EXACT[name](x, y))


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_exact_cases(dtype: DType) -> None:
    """Where the result is a float, it is that one."""
    whole = np.arange(-120, 121, dtype=dtype)
    powers = np.exp2(whole)
    same(Loop(functions.ACCURATE["exp2"], [dtype])(whole), powers)
    same(Loop(functions.ACCURATE["log2"], [dtype])(powers), whole)
    tens = np.array([10.0**k for k in range(11 if dtype == F32 else 23)], dtype)
    same(Loop(functions.ACCURATE["log10"], [dtype])(tens), np.arange(len(tens), dtype=dtype))
    same(Loop(functions.ACCURATE["cbrt"], [dtype])(whole**3), whole)
    x, y = (grid.ravel() for grid in np.meshgrid(np.arange(-9, 10, dtype=dtype), np.arange(7, dtype=dtype)))
    same(Loop(functions.ACCURATE["pow"], [dtype, dtype])(x, y), x**y)


@np.errstate(all="ignore")
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("exponent", [-7, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 4, 5, 7, 10, 31, 100, 2.5, INF])
def test_powers_with_a_known_exponent(exponent: float, dtype: DType) -> None:
    domain = (0.0, INF) if exponent != int(exponent if abs(exponent) < INF else 0) else REAL
    x = samples(dtype, domain, (1, 2, 10, 1e30, 1e-30), 400, 1)
    integer = float(exponent).is_integer()
    for machine in (p.values[0] for p in here()):
        loop = Loop(lambda e, v: functions.pow_constant(e, v, exponent), [dtype], machine)
        if abs(exponent) < INF:
            values = exact(lambda v: v ** (int(exponent) if integer else exponent), [x])
            assert values.distances(loop(x)).max() <= ULPS
        (points,) = special_points(dtype, 1)
        expected = np.power(points, dtype.type(exponent))
        plain = ~np.isfinite(expected) | (expected == 0)
        same(loop(points)[plain], expected[plain])


@np.errstate(all="ignore")
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_powers_of_integers(dtype: DType) -> None:
    info = np.iinfo(dtype)
    x = np.array([0, 1, 2, 3, 5, info.max, info.min, info.min + 1], dtype)
    for exponent in range(12):
        loop = Loop(lambda e, v, n=exponent: functions.integer_pow(e, v, n), [dtype])
        same(loop(x), np.power(x, dtype.type(exponent)))


# the bounds on the errors of the fast tier on normal numbers
FAST_ULPS = {"tanh": 6, "erf": 7, "tan": 4}
QUICK = {name: function for name, function in functions.FAST.items() if function is not functions.ACCURATE[name]}


@np.errstate(all="ignore")
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", QUICK)
def test_accuracy_of_the_fast_tier(name: str, dtype: DType) -> None:
    (x,), values = reference(name, dtype, 300)
    smallest = 4 * np.finfo(dtype).smallest_normal
    normal = (np.abs(x) >= smallest) & ~(np.abs(values.nearest) < smallest)
    if name in ("sin", "cos", "tan"):
        normal &= np.abs(x) < 2.0**17
    for machine in (p.values[0] for p in here()):
        found = Loop(QUICK[name], [dtype], machine)(x)
        distances = np.where(normal, values.distances(found), 0)
        i = int(np.argmax(distances))
        assert distances[i] <= FAST_ULPS.get(name, ULPS + 0.5), f"{name}({x[i]!r}) is {distances[i]:.3f} ULP off"
        tiny = np.abs(values.nearest) < smallest
        assert np.all(np.abs(found[tiny]) <= 2 * smallest)


@np.errstate(all="ignore")
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", QUICK)
def test_special_values_of_the_fast_tier(name: str, dtype: DType) -> None:
    """Infinities and NaN are NumPy's, and so are zeros but for their signs."""
    x = np.array([0.0, -0.0, INF, -INF, math.nan, 1.0, -1.0], dtype)
    expected = ROWS[name].numpy(x)
    plain = ~np.isfinite(expected) | (expected == 0)
    for machine in (p.values[0] for p in here()):
        found = Loop(QUICK[name], [dtype], machine)(x)
        np.testing.assert_array_equal(found[plain], expected[plain])


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_no_function_calls_the_c_library(machine: Machine, dtype: DType) -> None:
    """Also where the code can only be assembled; the rare branches call what the module itself defines."""
    for name, function in [*functions.ACCURATE.items(), *QUICK.items()]:
        operands = [dtype] * (len(ROWS[name].domains) if name in ROWS else 2)
        text, _ = loop_text(function, operands, machine, 2 * machine.register // dtype.itemsize)
        used = set(REFERENCE.findall(assembly(text, machine)))
        assert {target for target in used if not target.startswith(("graphc.", ".L"))} == set(), name


def test_every_function_is_tested() -> None:
    assert set(ROWS) | set(EXACT) == set(functions.ACCURATE)


@pytest.mark.parametrize("name", ["EXP", "LOG", "SIN"])
def test_the_coefficients_are_those_of_the_fit(name: str) -> None:
    """Computed anew they are the same floats."""
    (row,) = [row for row in approximants.FITS if row.name == name]
    for dtype, degree in row.degrees.items():
        assert fit.solve(row, degree, dtype).coefficients == getattr(coefficients, name)[dtype]


@pytest.mark.slow
def test_the_file_of_coefficients_is_that_of_the_fit(root: Path) -> None:
    found = (root / "backends" / "numpy" / "llvm" / "coefficients.py").read_text(encoding="utf-8")
    assert found == fit.module()
