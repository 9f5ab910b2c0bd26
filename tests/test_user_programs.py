"""Programs as people write them: values, gradients, products with the Hessian, dtypes; and Python numbers as arguments.

The reference is NumPy itself: differences of the program's own values and gradients, of sixth order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
from scipy import special

import graphc
from tests.user_programs import PROGRAMS, UserProgram

STEP: Final = 2e-3
# https://en.wikipedia.org/wiki/Finite_difference_coefficient: the central difference of order 6
STENCIL: Final = ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with np.errstate(all="ignore"):
        yield


def along(f: Callable[[Any], Any], x: Any, direction: Any) -> Any:
    """The derivative of `f` at `x` along a direction, by differences."""
    steps = ((k * STEP, c / STEP) for k, c in STENCIL)
    return sum(c * (f(x + h * direction) - f(x - h * direction)) for h, c in steps)


def with_argument(program: UserProgram, k: int) -> tuple[Callable[[Any], Any], Any]:
    """The program as a function of its argument k, and that argument."""
    head, x, tail = program.arguments[:k], program.arguments[k], program.arguments[k + 1 :]
    return (lambda v: program.function(*head, v, *tail)), x


def directions(x: Any, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=np.shape(x))[()] for _ in range(3 if np.ndim(x) else 1)]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_value_and_gradient(program: UserProgram) -> None:
    value, gradients = graphc.value_and_grad(program.function, argnums=program.floats)(*program.arguments)
    np.testing.assert_allclose(value, program.function(*program.arguments), rtol=1e-12)
    for k, gradient in zip(program.floats, gradients, strict=True):
        f, x = with_argument(program, k)
        assert np.shape(gradient) == np.shape(x)
        scale = np.sum(np.abs(gradient)) + abs(value)
        for d in directions(x, k):
            np.testing.assert_allclose(np.sum(gradient * d), along(f, x, d), rtol=1e-7, atol=1e-9 * scale)
            (forward,) = (graphc.jvp(f, (x,), (d,))[1],)
            np.testing.assert_allclose(forward, np.sum(gradient * d), rtol=1e-11, atol=1e-13 * scale)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_product_with_the_hessian(program: UserProgram) -> None:
    f, x = with_argument(program, program.floats[0])
    gradient = graphc.grad(f)
    (d, *_) = directions(x, 7)
    product = graphc.hvp(f)(x, d)
    scale = np.max(np.abs(product)) + np.max(np.abs(gradient(x)))
    np.testing.assert_allclose(product, along(gradient, x, d), rtol=1e-6, atol=1e-8 * scale)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_single_precision_stays_single(program: UserProgram) -> None:
    arguments = [
        a.astype(np.float32) if isinstance(a, np.ndarray) and a.dtype == np.float64 else a for a in program.arguments
    ]
    wanted = program.function(*arguments)
    value, gradients = graphc.value_and_grad(program.function, argnums=program.floats)(*arguments)
    assert value.dtype == np.asarray(wanted).dtype
    np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-5)
    _, exact = graphc.value_and_grad(program.function, argnums=program.floats)(*program.arguments)
    for k, found, reference in zip(program.floats, gradients, exact, strict=True):
        if isinstance(arguments[k], np.ndarray):
            assert found.dtype == np.float32
        np.testing.assert_allclose(found, reference, rtol=5e-3, atol=2e-4 * np.max(np.abs(reference)))


# --- Python numbers as arguments -----------------------------------------------------------------------------

WITH_A_NUMBER: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "clip below": lambda x, c: np.clip(x, c, 0.6),
    "clip above": lambda x, c: np.clip(x, 0, c),
    "where": lambda x, c: np.where(x > 0.3, x, c),
    "select": lambda x, c: np.select([x > 0.3], [x], c),
    "select of numbers": lambda x, c: np.select([x > 0.3], [c], x),
    "maximum": np.maximum,
    "power": lambda x, c: x**c,
    "power of a number": lambda x, c: c**x,
    "trapezoid": lambda x, c: np.trapezoid(x, dx=c),
    "full_like": np.full_like,
    "pad": lambda x, c: np.pad(x, 1, constant_values=c),
    "nan_to_num": lambda x, c: np.nan_to_num(x, nan=c),
    "hypot": np.hypot,
    "arctan2": np.arctan2,
    "dot": np.dot,
    "append": np.append,
    "polyval": np.polyval,
    "gradient": np.gradient,
    "diff": lambda x, c: np.diff(x, prepend=c),
    "insert": lambda x, c: np.insert(x, 1, c),
    "copysign": np.copysign,
    "a function of the number": lambda x, c: np.sin(c) * x,
    "arithmetic of numbers": lambda x, c: (c + c * 2) * x,
    "xlogy": lambda x, c: special.xlogy(x, c),
}


@pytest.mark.parametrize("number", [0.5, 2], ids=str)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", WITH_A_NUMBER)
def test_a_number_is_weak(name: str, dtype: Any, number: float) -> None:
    """A Python number passed to a compiled function promotes as it does in NumPy."""
    f, x = WITH_A_NUMBER[name], (np.array([1, 2, 3]) / (1 if dtype == np.int8 else 4)).astype(dtype)
    wanted = np.asarray(f(x, number))
    found = np.asarray(graphc.compile(f, x, number)(x, number))
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    np.testing.assert_allclose(found, wanted, rtol=2e-3)
