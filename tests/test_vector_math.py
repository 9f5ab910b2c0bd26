"""Every vector function against exact values, in units in the last place, and against NumPy at special points."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="llvmlite is not installed: kernels cannot be compiled")
pytest.importorskip("flint", reason="python-flint is not installed: there is nothing exact to compare with")

from graphc.backends.numpy.llvm import functions
from graphc.backends.numpy.llvm.emit import F32, F64
from graphc.backends.numpy.llvm.machine import Machine
from tests.kernel_loops import Loop
from tests.test_emit import MACHINES, here
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
    """

    exact: Callable[..., Any]
    numpy: Callable[..., Array]
    domains: tuple[tuple[float, float], ...]
    hard: tuple[float, ...]


def ball(x: float) -> Any:
    import flint

    return flint.arb(x)


def exact_softplus(x: Any) -> Any:
    return x.exp().log1p() if x < 0 else x + (-x).exp().log1p()


def exact_logaddexp(a: Any, b: Any) -> Any:
    return a + exact_softplus(b - a)


def expit(x: Array) -> Array:
    from scipy.special import expit as scipy_expit

    return np.asarray(scipy_expit(x))


REAL = (-INF, INF)
LOG2 = math.log(2)
ROWS: dict[str, Row] = {
    "exp": Row(
        lambda x: x.exp(), np.exp, (REAL,), (0, LOG2 / 2, -LOG2 / 2, 88.7, -87.3, -103.9, 709.7, -708.4, -745.1)
    ),
    "exp2": Row(lambda x: ball(2) ** x, np.exp2, (REAL,), (0, 0.5, -0.5, 128, -126, -149, 1024, -1022, -1074)),
    "expm1": Row(lambda x: x.expm1(), np.expm1, (REAL,), (0, LOG2 / 2, -LOG2 / 2, -17, -37, 88.7, 709.7)),
    "sinh": Row(lambda x: x.sinh(), np.sinh, (REAL,), (0, 0.17, 0.35, 89.4, 710.4)),
    "cosh": Row(lambda x: x.cosh(), np.cosh, (REAL,), (0, 0.17, 0.35, 89.4, 710.4)),
    "tanh": Row(lambda x: x.tanh(), np.tanh, (REAL,), (0, 0.55, -0.55, 9, 19)),
    "sigmoid": Row(lambda x: 1 / (1 + (-x).exp()), expit, (REAL,), (0, -88, -103, 17, 37, -709, -745)),
    "log": Row(lambda x: x.log(), np.log, ((0, INF),), (1, 2, math.sqrt(0.5), math.sqrt(2))),
    "log1p": Row(lambda x: x.log1p(), np.log1p, ((-1, INF),), (0, 1, -1, math.sqrt(0.5) - 1, math.sqrt(2) - 1)),
    "softplus": Row(exact_softplus, lambda x: np.logaddexp(x, 0), (REAL,), (0, -88, -103, -709, -745, 37)),
    "log_sigmoid": Row(lambda x: -exact_softplus(-x), lambda x: -np.logaddexp(-x, 0), (REAL,), (0, 88, 103, 709, 745)),
    "logaddexp": Row(exact_logaddexp, np.logaddexp, ((0, INF), (0, INF)), (0, 1, 37)),
}


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
    return operands, exact(row.exact, operands)


def worst(name: str, dtype: DType, machine: Machine, count: int) -> None:
    operands, values = reference(name, dtype, count)
    distances = values.distances(Loop(functions.ACCURATE[name], [dtype] * len(operands), machine)(*operands))
    i = int(np.argmax(distances))
    at = ", ".join(repr(operand[i]) for operand in operands)
    assert distances[i] <= ULPS, f"{name}({at}) is {distances[i]:.3f} ULP off"


@np.errstate(all="ignore")
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", functions.ACCURATE)
def test_accuracy(name: str, dtype: DType) -> None:
    for machine in (p.values[0] for p in here()):
        worst(name, dtype, machine, 400)


@np.errstate(all="ignore")
@pytest.mark.slow
@pytest.mark.parametrize("machine", here())
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", functions.ACCURATE)
def test_accuracy_on_many_points(name: str, dtype: DType, machine: Machine) -> None:
    worst(name, dtype, machine, 40_000)


SPECIAL = (0.0, -0.0, 1.0, -1.0, INF, -INF, math.nan)


@np.errstate(all="ignore")
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", functions.ACCURATE)
def test_special_values(name: str, dtype: DType) -> None:
    """Zeros with their signs, infinities and NaN are NumPy's; so are values that NumPy gives exactly."""
    row = ROWS[name]
    fits = np.finfo(dtype)
    points = np.array([*SPECIAL, 2, -2, 0.5, -0.5, fits.max, -fits.max, fits.smallest_normal], dtype)
    operands = [grid.ravel() for grid in np.meshgrid(*[points] * len(row.domains))]
    expected = row.numpy(*operands)
    for machine in (p.values[0] for p in here()):
        found = Loop(functions.ACCURATE[name], [dtype] * len(operands), machine)(*operands)
        plain = ~np.isfinite(expected) | (expected == 0) | np.isin(expected, (0.5, 1, 2))
        np.testing.assert_array_equal(found[plain], expected[plain])
        number = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(expected[number]))
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_no_function_calls_the_c_library(machine: Machine) -> None:
    """Also where the code can only be assembled."""
    from graphc.backends.numpy.llvm.machine import assembly
    from tests.kernel_loops import loop_text

    for dtype in (F32, F64):
        for name, function in functions.ACCURATE.items():
            operands = [dtype] * len(ROWS[name].domains)
            text, _ = loop_text(function, operands, machine, 2 * machine.register // dtype.itemsize)
            lines = assembly(text, machine).splitlines()
            assert [line for line in lines if line.split("\t")[1:2] in (["call"], ["callq"], ["bl"])] == [], name


def test_every_function_is_tested() -> None:
    assert set(ROWS) == set(functions.ACCURATE)
