"""What callers pass: Python integers out of range, matrices, odd names, and names that would be code."""

from __future__ import annotations

import builtins
import threading
import time
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import DifferentiationError, DTypeError, GraphcError, IndexingError


@pytest.mark.parametrize("signed", ["int8", "int32", "int64"])
@pytest.mark.parametrize("compare", [np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal])
def test_integers_of_either_sign_compare_exactly(compare: Any, signed: str) -> None:
    """As double precision, in which the two dtypes meet, the largest ones would be equal."""
    operator = {
        "equal": "eq",
        "not_equal": "ne",
        "less": "lt",
        "less_equal": "le",
        "greater": "gt",
        "greater_equal": "ge",
    }
    method = f"__{operator[compare.__name__]}__"
    limits = np.iinfo(signed)
    a = np.array([limits.min, -1, 0, 5, limits.max, limits.max, -1], signed)
    b = np.array([2**63, 2**64 - 1, 0, 4, 2**63, limits.max, 0], np.uint64)
    for kernels in ("none", "llvm"):
        for x, y in ((a, b), (b, a), (a[:1], b), (a, b[5])):
            expected = [compare(int(p), int(q)) for p, q in np.broadcast(x, y)]
            for f in (compare, lambda x, y: getattr(x, method)(y), lambda x, y, given=y: compare(x, given)):
                assert graphc.compile(f, x, y, kernels=kernels)(x, y).tolist() == expected


@pytest.mark.parametrize("value", [300, -1, 50, 100])
def test_python_integers_compare_as_they_are(value: int) -> None:
    def f(x: Any, s: Any) -> Any:
        return x < s, np.greater(x, s), s == x, x != s

    x = np.array([100, 50], "u1")
    for have, want in zip(graphc.jit(f)(x, value), f(x, value), strict=True):
        np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize("f", [lambda x, s: x + s, lambda x, s: s * x, np.maximum, lambda x, s: x // s])
def test_python_integers_that_do_not_fit_are_refused(f: Any) -> None:
    x = np.array([100], "u1")
    with pytest.raises(OverflowError):
        f(x, 300)
    with pytest.raises(OverflowError):
        graphc.jit(f)(x, 300)
    np.testing.assert_array_equal(graphc.jit(f)(x, 3), f(x, 3))


def test_integers_beyond_int64_are_refused() -> None:
    with pytest.raises(OverflowError, match="int64"):
        graphc.jit(lambda s: s + 1)(2**63)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_matrices_are_refused() -> None:
    with pytest.raises(DTypeError, match="matrices"):
        graphc.jit(lambda x: x * x)(np.matrix([[1.0, 2.0], [3.0, 4.0]]))


def test_any_keyword_is_the_functions() -> None:
    f = graphc.jit(lambda **k: k["self"] * k["ﬁ"] - k["fi"])
    arguments = {"self": np.ones(2), "ﬁ": np.full(2, 3.0), "fi": np.ones(2)}
    np.testing.assert_array_equal(f(**arguments), [2, 2])


def test_static_values_are_told_apart() -> None:
    f = graphc.jit(lambda x, s: x * next(iter(s)), static_argnums=1)
    x = np.array([2])
    assert f(x, frozenset([1])).dtype == np.int64
    assert f(x, frozenset([1.0])).dtype == np.float64
    g = graphc.jit(lambda x, s: x / s, static_argnums=1)
    assert g(np.ones(1), np.float32(0.0))[0] == np.inf
    assert g(np.ones(1), np.float32(-0.0))[0] == -np.inf


def test_an_argument_is_differentiated_once() -> None:
    with pytest.raises(DifferentiationError, match="twice"):
        graphc.grad(lambda a: a.sum(), argnums=(0, -1))(np.ones(2))


def test_the_absolute_value_and_text_of_a_size() -> None:
    f = graphc.compile(lambda x: x * 0 + abs(2 - x.shape[0]), "f64[n]")
    for n in (1, 2, 5):
        np.testing.assert_array_equal(f(np.ones(n)), np.full(n, abs(2.0 - n)))
    g = graphc.jit(lambda x: x * len(f"{x.shape[0]}") + len(str(x.shape)))
    for n in (3, 5, 2, 7, 12):
        assert g(np.ones(n))[0] == len(str(n)) + len(str((n,)))


INJECTED = "        import builtins; builtins.graphc_was_here = 1 #"


def test_the_text_of_a_graph_cannot_reach_the_generated_code() -> None:
    for end in ("\r", "\n", "\x0b", "\x0c", "\u2028", "\x85"):
        text = f"graph f(%x: f64[n]) -> f64[n] {{\n  %1: f64[n] = sin(%x)   # a{end}{INJECTED}.py:3 f\n  return %1\n}}"
        try:
            graphc.compile(graphc.parse(text))(np.ones(2))
        except GraphcError:
            continue
    assert not hasattr(builtins, "graphc_was_here")


def test_a_functions_name_cannot_reach_the_generated_code() -> None:
    def f(x: Any) -> Any:
        return np.sin(x)

    f.__code__ = f.__code__.replace(co_name=f"a\n{INJECTED}")
    graphc.compile(f, "f64[2]")(np.ones(2))
    assert not hasattr(builtins, "graphc_was_here")


def test_functions_that_call_each_other_do_not_wait_for_ever() -> None:
    def call(other: str, x: Any) -> Any:
        if x.shape[0] == 3:
            time.sleep(0.1)
            functions[other](np.ones(2))
        return x * 2

    functions = {"p": graphc.jit(lambda x: call("q", x)), "q": graphc.jit(lambda x: call("p", x))}
    threads = [threading.Thread(target=f, args=(np.ones(3),), daemon=True) for f in functions.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_what_is_no_number_is_shown_with_its_dtype() -> None:
    f = graphc.compile(lambda x: x + 1, "f64[n]")
    with pytest.raises(DTypeError, match="actual    an array of object"):
        f(np.array([None] * 3))
    with pytest.raises(DTypeError, match="actual    a str"):
        f("abc")


def test_positions_that_are_no_integers_name_the_cast() -> None:
    with pytest.raises(IndexingError, match=r"fix       indices\.astype\(int\)"):
        graphc.trace(lambda x, i: np.take_along_axis(x, i, 0), "f64[3]", "f32[3]")
