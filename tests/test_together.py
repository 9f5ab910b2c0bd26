"""Equal functions of single numbers in unrolled loops run as lanes of vectors: the same bits as one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc.kernels import Affine, Apply, Fixed, Kernel, Load, Store, Value

pytest.importorskip("llvmlite", reason="machine code")
from graphc.backends.numpy.llvm.together import FEWEST, together

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
NONE = Affine(0, ())


def numbers(dtype: np.dtype[Any], count: int) -> list[Value]:
    return [Load(dtype, 0, Affine(k, ())) for k in range(count)]


def kernel(*values: Value) -> Kernel:
    return Kernel((), tuple(values), (Store(len(values) - 1, 1, NONE),))


def apart(found: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    return [numbers for numbers in found if len(numbers) > 1]


def test_functions_that_do_not_wait_for_each_other_are_together() -> None:
    values = [*numbers(F64, 5), *(Apply(F64, "log", (k,)) for k in range(5)), Apply(F64, "add", (5, 6))]
    assert apart(list(together(kernel(*values), 64))) == [(5, 6, 7, 8, 9)]
    assert apart(list(together(kernel(*values), 32))) == [(5, 6, 7, 8)]
    found = list(together(kernel(*values), 16))
    assert apart(found) == []
    assert sorted(i for part in found for i in part) == list(range(11))


def test_zeros_of_other_signs_are_other_constants() -> None:
    def f(a: Any, b: Any, c: Any, d: Any) -> Any:
        at_right, at_left = np.arctan2(a, 0.0), np.arctan2(b, -0.0)
        return at_right + 10 * at_left + 100 * np.arctan2(c, 0.0) + 1000 * np.arctan2(d, -0.0)

    compiled = graphc.compile(f, *["f64[]"] * 4, kernels="llvm")
    assert compiled(0.0, 0.0, 0.0, 0.0) == f(0.0, 0.0, 0.0, 0.0)


def test_a_chain_stays_a_chain() -> None:
    values: list[Value] = numbers(F64, 1)
    for _ in range(6):
        values.append(Apply(F64, "exp", (len(values) - 1,)))
    assert list(together(kernel(*values), 64)) == [(k,) for k in range(7)]


def test_everything_comes_after_what_it_reads() -> None:
    values: list[Value] = numbers(F64, 4)
    for level in range(3):
        first = 4 * level + level
        values += [Apply(F64, "log", (first + k,)) for k in range(4)]
        values.append(Apply(F64, "add", (len(values) - 1, len(values) - 2)))
    done: set[int] = set()
    for part in together(kernel(*values), 64):
        for i in part:
            value = values[i]
            assert not isinstance(value, Apply) or done.issuperset(value.operands)
        done.update(part)
    assert len(done) == len(values)


def test_other_dtypes_and_other_constants_are_other_functions() -> None:
    values: list[Value] = [*numbers(F64, 4), *numbers(F32, 4)]
    values += [Apply(values[k].dtype, "exp", (k,)) for k in range(8)]
    values += [Fixed(F64, 2.0), Fixed(F64, 0.5)]
    values += [Apply(F64, "pow", (k % 4, 16 + k // 4)) for k in range(8)]
    assert apart(list(together(kernel(*values), 64))) == [
        (8, 9, 10, 11),
        (12, 13, 14, 15),
        (18, 19, 20, 21),
        (22, 23, 24, 25),
    ]


FUNCTIONS = {
    "log": np.log,
    "exp": np.exp,
    "tanh": np.tanh,
    "power": lambda x: x**0.3,
    "power of itself": lambda x: x**x,
    "quotient": lambda x: 1.7 / x,
    "quotient of two": lambda x: (x + 1) / x,
    "logaddexp": lambda x: np.logaddexp(x, x * 2),
    "root": np.sqrt,
    "sin": np.sin,
}
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, -1.5, 1e-310, 1e308, 3e5]


@pytest.mark.parametrize("count", [FEWEST - 1, FEWEST, 5, 8, 19])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS)
def test_the_same_bits_as_along_an_array(f: Any, dtype: str, count: int) -> None:
    draw = np.random.default_rng(count)
    for x in (draw.uniform(0.1, 3, count), draw.choice(SPECIAL, count)):
        with np.errstate(over="ignore"):
            x = x.astype({"f32": F32, "f64": F64}[dtype])
        one_by_one = graphc.compile(lambda x: [f(x[k]) for k in range(count)], f"{dtype}[{count}]", kernels="llvm")
        along = graphc.compile(f, f"{dtype}[{count}]", kernels="llvm")
        np.testing.assert_array_equal(np.array(one_by_one(x)), along(x))


@pytest.mark.parametrize("fast_math", [False, True])
def test_an_unrolled_recurrence_and_its_gradient(fast_math: bool) -> None:
    def likelihood(p: Any, returns: Any) -> Any:
        variance, total = p[0] / (1 - p[1] - p[2]), 0.0
        for k in range(40):
            square = returns[k] * returns[k]
            total = total + np.log(variance) + square / variance
            variance = p[0] + p[1] * square + p[2] * variance
        return 0.5 * total

    p, returns = np.array([1e-5, 0.1, 0.8]), 0.01 * np.random.default_rng(0).standard_normal(40)
    both = graphc.value_and_grad(likelihood)
    value, slope = graphc.compile(both, "f64[3]", "f64[40]", fast_math=fast_math, kernels="llvm")(p, returns)
    expected, slopes = graphc.compile(both, "f64[3]", "f64[40]", kernels="none")(p, returns)
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    np.testing.assert_allclose(slope, slopes, rtol=1e-12)
