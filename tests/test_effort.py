"""How carefully kernels are compiled, what they call, how wide their vectors are: not a bit depends on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="llvmlite is not installed: kernels cannot be compiled")

import graphc
from graphc.backends.numpy.llvm import code, effort
from graphc.backends.numpy.llvm.effort import Look
from graphc.backends.numpy.llvm.machine import BRIEF, BUSY, LONG

Program = Callable[[Any], Any]
STEPS = 6


def chain(step: Program, steps: int = STEPS) -> Program:
    """A step, applied to what it gives, again and again."""

    def f(x: Any) -> Any:
        for _ in range(steps):
            x = step(x)
        return x

    return f


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def written(x: Any) -> Any:
    y = np.zeros_like(x)
    y[1:-1] = np.sin(np.cos(x[2:])) * x[:-2]
    return y


PROGRAMS: dict[str, Program] = {
    "sines": chain(lambda x: np.sin(x) * x),
    "gates": chain(lambda x: np.tanh(x) * x + 0.5),
    "choices": chain(lambda x: np.where(x > 0, np.exp(-x), np.maximum(x, -1.0))),
    "logarithms": chain(lambda x: np.log1p(np.abs(x)) - 0.25),
    "powers": chain(lambda x: np.abs(x) ** 0.7 + np.fmod(x, 0.3)),
    "integers": chain(lambda x: np.sin(x.astype(np.int32) * 3 + x)),
    "rows": lambda x: np.sum(chain(np.sin)(x), axis=-1),
    "columns": lambda x: np.sum(chain(np.cos)(x), axis=0),
    "everything": lambda x: np.sum(chain(lambda x: np.exp(-x * x))(x)),
    "any": lambda x: np.any(chain(np.tanh)(x) > 0.5, axis=-1),
    "largest": lambda x: np.max(chain(np.arctan)(x), axis=0),
    "softmax": lambda x: softmax(chain(np.sin)(x)),
    "gradient": graphc.grad(lambda x: np.sum(chain(lambda x: np.sin(x) * x)(x))),
    "views": lambda x: chain(np.sin)(x.T[::-1, 1:]),
    "written": chain(written, 3),
    "several": lambda x: (chain(np.sin)(x), chain(np.exp, 2)(-x) > 0.5, x.T * 2),
}
SHAPES = ((37,), (16,), (5, 33), (40, 3), (3, 4, 8))


def results(program: Program, x: Any, monkeypatch: pytest.MonkeyPatch, level: int, calls: bool) -> list[bytes]:
    """What a program gives if everything is compiled so, as bits."""
    monkeypatch.setattr(effort, "level", lambda looks: level)
    monkeypatch.setattr(effort, "look", lambda kernel: Look(calls=calls, chain=calls, values=len(kernel.values)))
    code._linked.cache_clear()
    found = graphc.compile(program, x, kernels="llvm")(x)
    return [np.asarray(part).tobytes() for part in (found if isinstance(found, tuple) else (found,))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_effort_gives_the_same_bits(
    name: str, dtype: type[np.floating[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", "off")
    for shape in SHAPES if name in ("sines", "choices", "columns") else SHAPES[2:3]:
        x = np.random.default_rng(7).normal(size=shape, scale=2).astype(dtype)
        with np.errstate(all="ignore"):
            wanted = results(PROGRAMS[name], x, monkeypatch, BUSY, calls=False)
            assert results(PROGRAMS[name], x, monkeypatch, BRIEF, calls=True) == wanted, shape
            assert results(PROGRAMS[name], x, monkeypatch, LONG, calls=False) == wanted, shape


def test_special_values_pass_through_a_chain_in_a_hurry() -> None:
    f = chain(np.sin, 20)
    x = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e300, -1e-310, 1.0, 5e9, 2.0**40, -3.0])
    compiled = graphc.compile(f, x, kernels="llvm")
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(compiled(x), f(x), rtol=1e-9)
    assert np.signbit(compiled(x)).tolist()[:2] == np.signbit(f(x[:2])).tolist()
