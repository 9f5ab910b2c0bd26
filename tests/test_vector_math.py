"""Every vector function against exact values, in units in the last place, and against NumPy at special points."""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="llvmlite is not installed: kernels cannot be compiled")
pytest.importorskip("flint", reason="python-flint is not installed: there is nothing exact to compare with")

from graphc.backends.numpy.llvm import approximants, coefficients, fit, functions
from graphc.backends.numpy.llvm.machine import Machine, assembly
from graphc.backends.numpy.llvm.values import F32, F64
from tests.kernel_loops import Loop, loop_text
from tests.test_emit import INTEGERS, MACHINES, here
from tests.ulps import exact
from tests.vector_functions import (
    EXACT,
    FAST_ULPS,
    QUICK,
    REAL,
    ROWS,
    ULPS,
    of_similar_size,
    reference,
    samples,
)

Array = np.ndarray[Any, Any]
DType = np.dtype[Any]
INF = math.inf
REFERENCE = re.compile(r"(?:\tcallq?\t|\tbl\t|\$|:abs_g\d(?:_nc)?:)([A-Za-z_.][\w.]*)")


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
