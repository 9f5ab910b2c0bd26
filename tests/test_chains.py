"""Running sums, products and extrema: along any axis, in the order of its elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

import graphc
from graphc.backends.numpy.llvm import chains, native, steps
from graphc.backends.numpy.llvm.chains import SIDE_BY_SIDE
from graphc.backends.numpy.llvm.instructions import Running
from graphc.backends.numpy.llvm.machine import ARM_NEON, X86_AVX2, X86_AVX512, X86_BASELINE, Machine, assemble

pytest.importorskip("llvmlite", reason="llvmlite is not installed: pip install llvmlite")

OPS: Final[dict[str, Callable[..., Any]]] = {
    "cumsum": np.cumsum,
    "cumprod": np.cumprod,
    "maximum": np.maximum.accumulate,
    "minimum": np.minimum.accumulate,
    "logical_or": lambda x, axis: np.maximum.accumulate(x > 0, axis=axis),
}
# as many rows as go side by side, some more, some fewer, none; few columns and many
SHAPES: Final = (
    *((1, 1), (7, 5), (8, 30), (9, 2), (16, 9), (35, 8), (3, 40)),
    *((0, 5), (5, 0), (2, 3, 4), (19, 7, 1), (9, 6, 9), (1, 50)),
)


def array(shape: tuple[int, ...], dtype: str) -> Any:
    values = np.random.default_rng(sum(shape)).standard_normal(shape)
    return (values * (1 if np.dtype(dtype).kind == "f" else 5)).astype(dtype)


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "u1", "?"])
@pytest.mark.parametrize("name", OPS)
def test_every_shape_and_axis(name: str, dtype: str) -> None:
    """The same bits as NumPy's: one after the other, each rounded."""
    op = OPS[name]
    for shape in SHAPES:
        x = array(shape, dtype)
        for axis in range(x.ndim):
            with np.errstate(all="ignore"):
                expected = op(x, axis=axis)
            found = graphc.compile(lambda x, axis=axis: op(x, axis=axis), x, kernels="llvm")(x)
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", OPS)
def test_named_sizes(name: str, axis: int) -> None:
    op = OPS[name]
    compiled = graphc.compile(lambda x: op(x, axis=axis), "f64[n,m]", kernels="llvm")
    for shape in SHAPES:
        if len(shape) == 2:
            x = array(shape, "f8")
            np.testing.assert_array_equal(compiled(x), op(x, axis=axis))


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, -0.0])
@pytest.mark.parametrize("name", OPS)
def test_special_values_run_on_along_their_own_row(name: str, special: float) -> None:
    op = OPS[name]
    x = array((21, 30), "f8")
    x[3, 7] = x[8, 0] = x[20, 29] = special
    for axis in (0, 1):
        with np.errstate(all="ignore"):
            expected = op(x, axis=axis)
        np.testing.assert_array_equal(graphc.compile(lambda x, a=axis: op(x, axis=a), x, kernels="llvm")(x), expected)


def test_from_the_end() -> None:
    """The gradient of running sums adds up from the end of each row."""
    x, w = array((21, 30), "f8"), array((21, 30), "f8") + 1
    gradient = graphc.compile(graphc.grad(lambda x, w: np.sum(np.cumsum(x, axis=1) * w)), x, w, kernels="llvm")(x, w)
    np.testing.assert_array_equal(gradient, np.cumsum(w[:, ::-1], axis=1)[:, ::-1])


def running(spec: str, axis: int) -> Running:
    plan = graphc.compile(lambda x: np.cumsum(x, axis=axis), spec, kernels="llvm").plan
    (found,) = [i for i in steps.lower(plan).instructions if isinstance(i, Running)]
    return found


def test_what_runs_by_numbers_and_what_by_rows() -> None:
    for spec, axis in (("f64[n,m]", 1), ("f64[n]", 0), ("f64[n,3]", 0), (f"f64[n,m,{SIDE_BY_SIDE}]", 1)):
        assert running(spec, axis).kernel is None
    for spec, axis in (("f64[n,m]", 0), (f"f64[n,{SIDE_BY_SIDE + 1}]", 0)):
        assert running(spec, axis).kernel is not None
    assert not chains.apart(SIDE_BY_SIDE + 1)


@pytest.mark.parametrize("machine", [X86_BASELINE, X86_AVX2, X86_AVX512, ARM_NEON], ids=lambda m: m.cpu)
def test_code_for_other_processors_is_made(machine: Machine) -> None:
    for spec in ("f64[n,m]", "f16[n,m]", "i8[n,m]"):
        plan = graphc.compile(lambda x: np.maximum.accumulate(x, axis=1), spec, kernels="llvm").plan
        part, *_ = native.around(steps.lower(plan, machine), plan, machine)
        assert assemble(part.text, machine)
