"""Draws of random numbers inside a trace: which are refused, what the refusal says, and which are no draws."""

from __future__ import annotations

import functools
import random
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.calling.advice import DRAWS, draw_in
from graphc.calling.generators import MOST, Search
from graphc.errors import TraceError
from graphc.plan import COMPILER

RNG = np.random.default_rng(1)
LEGACY = np.random.RandomState(2)
PYTHON = random.Random(3)
TABLE = {"noise": [np.random.default_rng(4)]}
OTHER = types.ModuleType("their_module")
OTHER.rng = np.random.default_rng(5)  # type: ignore[attr-defined]
SYSTEM = random.SystemRandom()


def by_helper(x: Any) -> Any:
    return x * RNG.random(3)


class Layer:
    """A model that holds its generator."""

    shared = np.random.default_rng(6)

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)

    def __call__(self, x: Any) -> Any:
        return x * self.keep()

    def keep(self) -> Any:
        return self.rng.random(3) > 0.5

    def of_class(self, x: Any) -> Any:
        return x + self.shared.normal(size=3)


LAYER = Layer()


class Slotted:
    """A model without a dict."""

    __slots__ = ("rng", "unset")

    def __init__(self) -> None:
        self.rng = np.random.default_rng(13)

    @property
    def noise(self) -> Any:
        return self.rng.normal(size=3)

    @staticmethod
    def mask(x: Any) -> Any:
        return x * RNG.random(3)

    @classmethod
    def scale(cls, x: Any) -> Any:
        return x * RNG.random()


SLOTTED = Slotted()
INNER = types.ModuleType("their_package.inner")
INNER.rng = np.random.default_rng(14)  # type: ignore[attr-defined]
PACKAGE = types.ModuleType("their_package")
PACKAGE.inner = INNER  # type: ignore[attr-defined]


class MadeInside:
    def __call__(self, x: Any) -> Any:
        return x + RNG.normal(size=3)


def with_default(x: Any, rng: Any = np.random.default_rng(8)) -> Any:  # noqa: B008  what is tested
    return x + rng.normal(size=3)


def with_keyword_default(x: Any, *, rng: Any = np.random.default_rng(9)) -> Any:  # noqa: B008  what is tested
    return x + rng.normal(size=3)


def in_closure() -> Callable[[Any], Any]:
    rng = np.random.default_rng(10)
    return lambda x: x + rng.normal(size=3)


def static(x: Any, rng: Any) -> Any:
    return x + rng.normal(size=3)


def decorated(f: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(f)
    def call(*args: Any) -> Any:
        return f(*args)

    return call


def in_nested_function(x: Any) -> Any:
    def inner() -> Any:
        return RNG.normal(size=3)

    return x + inner()


def unseeded(x: Any) -> Any:
    return x + np.random.default_rng().normal(size=3)


def by_the_system(x: Any) -> Any:
    return x * SYSTEM.random()


def of_python_unseeded(x: Any) -> Any:
    return x * random.Random().random()


DRAWN: dict[str, tuple[Callable[..., Any], str]] = {
    "global": (lambda x: x + np.random.rand(3), "np.random.rand"),
    "python's global": (lambda x: x + random.random(), "random.random"),
    "python's gauss": (lambda x: x + random.gauss(0, 1), "random.gauss"),
    "a generator of the module": (lambda x: x + RNG.normal(size=3), "RNG.normal"),
    "an old generator": (lambda x: x + LEGACY.normal(size=3), "LEGACY.normal"),
    "python's generator": (lambda x: x * PYTHON.uniform(0, 1), "PYTHON.uniform"),
    "in a table": (lambda x: x * TABLE["noise"][0].random(3), "a draw from TABLE"),
    "in another module": (lambda x: x + OTHER.rng.random(3), "OTHER.rng.random"),
    "in a package": (lambda x: x + PACKAGE.inner.rng.random(3), "PACKAGE.inner.rng.random"),
    "in a slot": (lambda x: x + SLOTTED.noise, "self.rng.normal"),
    "in a static method": (lambda x: Slotted.mask(x), "RNG.random"),
    "in a class method": (lambda x: SLOTTED.scale(x), "RNG.random"),
    "in an object made inside": (lambda x: MadeInside()(x), "RNG.normal"),
    "a bit generator": (lambda x: x + RNG.bit_generator.random_raw(), "a draw from"),
    "in another function": (by_helper, "RNG.random"),
    "in a nested function": (in_nested_function, "RNG.normal"),
    "in a closure": (in_closure(), "rng.normal"),
    "in a default": (with_default, "rng.normal"),
    "in a keyword default": (with_keyword_default, "rng.normal"),
    "in an object": (LAYER, "self.rng.random"),
    "in a class": (LAYER.of_class, "self.shared.normal"),
    "in a partial": (functools.partial(static, rng=np.random.default_rng(11)), "rng.normal"),
    "in a decorated function": (decorated(by_helper), "RNG.random"),
    "through jit": (graphc.jit(by_helper), "RNG.random"),
    "through grad": (graphc.grad(lambda x: np.sum(by_helper(x))), "RNG.random"),
    "unseeded": (unseeded, "np.random.default_rng().normal"),
    "python's, unseeded": (of_python_unseeded, "random.Random().random"),
    "of the operating system": (by_the_system, "SYSTEM.random"),
    "decides a branch": (lambda x: x if RNG.random() < 2 else -x, "RNG.random"),
}


@contextmanager
def company() -> Iterator[None]:
    """Another thread that runs, and draws, meanwhile."""
    stop, started = threading.Event(), threading.Event()

    def draw() -> None:
        while not stop.is_set():
            RNG.random()
            np.random.random()
            random.random()
            started.set()

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        started.wait()
        yield
    finally:
        stop.set()
        thread.join()


def test_the_compilers_thread_draws_nothing() -> None:
    """While it runs, the line that draws is still found, as where there is no other thread."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait, name=COMPILER)
    thread.start()
    try:
        with pytest.raises(TraceError) as caught:
            graphc.trace(DRAWN["in a table"][0], "f64[3]")
    finally:
        done.set()
        thread.join()
    assert caught.value.problem.startswith("a draw from TABLE")


@pytest.mark.parametrize("name", DRAWN)
def test_a_draw_is_refused(name: str) -> None:
    f, words = DRAWN[name]
    with pytest.raises(TraceError, match="inside a traced function runs once") as caught:
        graphc.trace(f, "f64[3]")
    assert caught.value.problem.startswith(words)
    assert caught.value.loc is not None
    assert caught.value.loc.file == __file__
    assert "graphc.random." in str(caught.value.fix)


@pytest.mark.parametrize("name", [name for name in DRAWN if name != "decides a branch"])
def test_a_draw_is_refused_beside_other_threads(name: str) -> None:
    with company(), pytest.raises(TraceError, match="inside a traced function runs once"):
        graphc.trace(DRAWN[name][0], "f64[3]")


def test_a_static_generator() -> None:
    with pytest.raises(TraceError, match=r"^rng\.normal"):
        graphc.jit(static, static_argnames="rng")(np.ones(3), np.random.default_rng(12))


def test_a_caught_draw_does_not_hide_the_next() -> None:
    for _ in range(3):
        with pytest.raises(TraceError):
            graphc.trace(by_helper, "f64[3]")


NOT_DRAWN: dict[str, Callable[[Any], Any]] = {
    "no random numbers": np.sin,
    "seeded inside": lambda x: x + np.random.default_rng(0).normal(size=3),
    "python's, seeded inside": lambda x: x * random.Random(0).random(),
    "an old one, seeded inside": lambda x: x + np.random.RandomState(0).rand(3),
    "a generator that is not used": lambda x: x if RNG is not None else -x,
    "from a key": lambda x: x + graphc.random.normal(graphc.random.key(0), 3),
}


@pytest.mark.parametrize("name", NOT_DRAWN)
@pytest.mark.parametrize("alone", [True, False])
def test_what_is_no_draw_is_not_refused(name: str, alone: bool) -> None:
    if alone:
        assert graphc.trace(NOT_DRAWN[name], "f64[3]")
        return
    with company():
        for _ in range(5):
            assert graphc.trace(NOT_DRAWN[name], "f64[3]")


@pytest.mark.parametrize("alone", [True, False])
def test_what_is_drawn_once_is_not_refused(alone: bool) -> None:
    """Weights that are made on first use are part of the state, not noise."""
    weights: list[Any] = []

    def model(x: Any) -> Any:
        if not weights:
            weights.append(RNG.normal(size=3))
        return x * weights[0]

    if alone:
        assert graphc.trace(model, "f64[3]")
    else:
        with company():
            assert graphc.trace(model, "f64[3]")
    assert len(weights) == 1


def test_a_function_without_generators_runs_once() -> None:
    calls = []

    def f(x: Any) -> Any:
        calls.append(1)
        return np.sin(x)

    graphc.trace(f, "f64[3]")
    assert len(calls) == 1


def test_looking_again_leaves_no_second_effect(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> Any:
        graphc.debug_print("x = {}", x)
        return x * np.random.default_rng(0).random()

    graphc.compile(f, "f64[]")(1.0)
    assert capsys.readouterr().out.count("x = ") == 1


def test_a_search_ends() -> None:
    many = [[k] for k in range(10 * MOST)]
    rows: list[Any] = [many, {"again": None}]
    rows[1]["again"] = rows
    nested: list[Any] = []
    for _ in range(5 * MOST):
        nested = [nested]
    found = Search(lambda x: (rows, nested, x), (), {})
    assert len(found.sources) == 2


def test_looking_for_a_draw_leaves_the_debugger_alone() -> None:
    def watch(frame: Any, event: str, arg: Any) -> Any:
        return None

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        with pytest.raises(TraceError, match=r"np\.random\.rand"):
            graphc.trace(lambda x: x + np.random.rand(3), "f64[3]")
        assert sys.gettrace() is watch
    finally:
        sys.settrace(before)


def test_a_trace_moves_no_generator() -> None:
    before = np.random.get_state(legacy=False)["state"]["pos"]
    graphc.trace(np.sin, "f64[]")
    assert np.random.get_state(legacy=False)["state"]["pos"] == before


# Advice


@pytest.mark.parametrize("name", DRAWS)
def test_advice_can_be_followed(name: str) -> None:
    """What stands in the fix runs, once its names are given values."""
    arguments = {"rand": "2, 3", "randn": "2, 3", "permutation": "x", "permuted": "x", "shuffle": "x"}
    arguments |= {"choice": "x, 2", "choices": "x", "sample": "x, 2", "integers": "0, 9, (2,)", "randint": "9"}
    arguments |= {"randrange": "9", "bytes": "4", "getrandbits": "8", "expovariate": "1.0", "random": "size=(2,)"}
    found = draw_in(f"y = rng.{name}({arguments.get(name, '')})")
    assert found is not None
    assert found[0] == f"rng.{name}"
    scope = {"graphc": graphc, "np": np, "key": graphc.random.key(0), "x": np.arange(5.0), "shape": (2,)}
    assert np.all(np.isfinite(eval(found[1], scope)))


@pytest.mark.parametrize(
    ("source", "draw", "fix"),
    [
        ("if rng.random() < 0.5:", "rng.random", "graphc.random.uniform(key)"),
        ("elif random.random() > p:", "random.random", "graphc.random.uniform(key)"),
        (
            "a = r.uniform(-1, 1, (2, 3)) + r.normal()",
            "r.uniform",
            "graphc.random.uniform(key, (2, 3), minval=-1, maxval=1)",
        ),
        ("k = np.random.randint(5, size=3)", "np.random.randint", "graphc.random.integers(key, 3, 5)"),
        ("return rng.choice(a, 3, replace=False)", "rng.choice", "graphc.random.choice(key, a, 3, replace=False)"),
        ("z = g.standard_normal(x.shape, dtype=t)", "g.standard_normal", "graphc.random.normal(key, x.shape, dtype=t)"),
    ],
)
def test_advice(source: str, draw: str, fix: str) -> None:
    assert draw_in(source) == (draw, fix)


@pytest.mark.parametrize("source", ["", "x = (np.random.rand(", "y = np.sin(x)", "\0"])
def test_no_advice(source: str) -> None:
    assert draw_in(source) is None
