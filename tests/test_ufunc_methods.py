"""reduce, accumulate, reduceat and outer of every ufunc on traced values, and the keywords that all ufuncs take."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.numpy as gnp
from graphc.errors import GraphcError, UnsupportedError
from graphc.numpy.assignment import REPEATABLE
from graphc.numpy.dispatch import FUNCTIONS
from tests.test_numpy import agrees, outcome, same

Function = Callable[..., Any]
UFUNCS = sorted(
    {f for f in FUNCTIONS if isinstance(f, np.ufunc) and getattr(np, f.__name__, None) is f}, key=lambda f: f.__name__
)
# the operands of ldexp differ in kind, so that it has no reductions
BINARY = [f for f in UFUNCS if f.nin == 2 and f.nout == 1 and f.signature is None and f is not np.ldexp]
# elements for which every binary ufunc has a result, and whose results stay small
FLOATS = np.array([[0.5, 2.0, 1.5], [1.0, 0.25, 3.0]])
INTEGERS = np.array([[3, 2, 1], [5, 1, 2]], np.int16)
BOOLEANS = np.array([[True, False, True], [True, True, True]])
MASK = np.array([True, False, True])
# NumPy adds and multiplies in pairs, and graphc may group otherwise
ROUNDED = {"logaddexp": 8, "logaddexp2": 8, "hypot": 8, "float_power": 2, "power": 2}


def ufunc_agrees(ufunc: np.ufunc, f: Function, x: Any) -> None:
    __tracebackhide__ = True
    agrees(f, x, ulps=ROUNDED.get(ufunc.__name__, 2))


def arrays(ufunc: np.ufunc) -> list[Any]:
    """Operands of several dtypes.

    Where the processor has AVX-512, NumPy's own reductions of floats by these two leave out elements.
    """
    floats = [] if ufunc in (np.power, np.arctan2) else [FLOATS, FLOATS.astype(np.float32)]
    return [*floats, *([INTEGERS] if ufunc is not np.arctan2 else []), BOOLEANS]


@pytest.mark.parametrize("ufunc", BINARY, ids=lambda f: f.__name__)
def test_reduce(ufunc: np.ufunc) -> None:
    for x in arrays(ufunc):
        for options in (
            {},
            {"axis": 1},
            {"axis": -1, "keepdims": True},
            {"axis": None},
            {"axis": (0, 1)},
            {"axis": ()},
        ):
            ufunc_agrees(ufunc, lambda v, o=options: ufunc.reduce(v, **o), x)
        ufunc_agrees(ufunc, lambda v: ufunc.reduce(v, axis=1, where=MASK), x)
        ufunc_agrees(ufunc, lambda v: ufunc.reduce(v, axis=1, where=MASK, initial=v[0, 0]), x)
        ufunc_agrees(ufunc, lambda v: ufunc.reduce(v, initial=2), x)
        ufunc_agrees(ufunc, lambda v: ufunc.reduce(v[:0]), x)
        ufunc_agrees(ufunc, lambda v: ufunc.reduce(v[:0], initial=1), x)
        ufunc_agrees(ufunc, lambda v: ufunc.reduce(v[:1]), x)
        ufunc_agrees(ufunc, lambda v: ufunc.reduce(v[0, 0]), x)
        ufunc_agrees(ufunc, lambda v: ufunc.reduce(v, dtype=np.float32), x)
        ufunc_agrees(ufunc, lambda v: ufunc.reduce(v, axis=2), x)
        ufunc_agrees(ufunc, lambda v: FUNCTIONS[ufunc].reduce(v, axis=1), x)


@pytest.mark.parametrize("ufunc", BINARY, ids=lambda f: f.__name__)
def test_accumulate(ufunc: np.ufunc) -> None:
    for x in arrays(ufunc):
        for options in ({}, {"axis": 1}, {"axis": -1}, {"dtype": np.float32}):
            ufunc_agrees(ufunc, lambda v, o=options: ufunc.accumulate(v, **o), x)
        for part in (lambda v: v[:0], lambda v: v[:1], lambda v: v[0, 0], lambda v: v.reshape(6)):
            ufunc_agrees(ufunc, lambda v, p=part: ufunc.accumulate(p(v)), x)


@pytest.mark.parametrize("ufunc", BINARY, ids=lambda f: f.__name__)
def test_reduceat(ufunc: np.ufunc) -> None:
    for x in arrays(ufunc):
        for indices in ([0, 2], [2, 1, 0], [1], [0, 0], []):
            ufunc_agrees(ufunc, lambda v, i=indices: ufunc.reduceat(v, np.array(i, int), axis=1), x)
        ufunc_agrees(ufunc, lambda v: ufunc.reduceat(v, [0, 3], axis=1), x)
        ufunc_agrees(ufunc, lambda v: ufunc.reduceat(v, [0]), x)
    with pytest.raises(UnsupportedError, match="indices"):
        graphc.trace(lambda v, i: np.add.reduceat(v, i), "f64[3]", "i64[2]")


@pytest.mark.parametrize("ufunc", BINARY, ids=lambda f: f.__name__)
def test_outer(ufunc: np.ufunc) -> None:
    for x in arrays(ufunc):
        ufunc_agrees(ufunc, lambda v: ufunc.outer(v[0], v), x)
        ufunc_agrees(ufunc, lambda v: ufunc.outer(v, np.array([1, 2, 1])), x)


def changed(ufunc: np.ufunc, index: Any, *values: Any) -> Function:
    def f(v: Any) -> Any:
        v = v.copy()
        ufunc.at(v, index, *values)
        return v

    return f


@pytest.mark.parametrize("ufunc", [*BINARY, np.negative, np.sqrt, np.isnan], ids=lambda f: f.__name__)
def test_at(ufunc: np.ufunc) -> None:
    for x in arrays(ufunc):
        for index in ([1, 0], (0, [2, 0]), np.array([[True, False, True], [False] * 3]), (..., 1)):
            values = (x[0, 1],) if ufunc.nin == 2 else ()
            ufunc_agrees(ufunc, changed(ufunc, index, *values), x)


@pytest.mark.parametrize("ufunc", BINARY, ids=lambda f: f.__name__)
def test_at_an_element_that_is_named_twice(ufunc: np.ufunc) -> None:
    if ufunc.__name__ in REPEATABLE:
        for x in arrays(ufunc) if ufunc is not np.divide else [FLOATS]:
            ufunc_agrees(ufunc, changed(ufunc, ([0, 1, 0], [2, 0, 2]), x[0, 1]), x)
    else:
        with pytest.raises(UnsupportedError, match="may name an element twice"):
            graphc.trace(changed(ufunc, [0, 0], 1), INTEGERS)


def test_at_takes_only_traced_arrays() -> None:
    with pytest.raises(UnsupportedError, match="into a plain NumPy array"):
        graphc.trace(lambda v: np.add.at(np.zeros(3), [0], v), "f64[]")
    with pytest.raises(ValueError, match="takes one operand"):
        graphc.trace(lambda v: gnp.add.at(v, [0]), "f64[3]")
    with pytest.raises(ValueError, match="takes one operand"):
        graphc.trace(lambda v: gnp.divmod.at(v, [0], 1.0), "f64[3]")


@pytest.mark.parametrize("method", ["reduce", "accumulate", "reduceat"])
@pytest.mark.parametrize("ufunc", [np.sin, np.divmod, np.matmul, np.ldexp], ids=lambda f: f.__name__)
def test_methods_of_other_ufuncs(ufunc: np.ufunc, method: str) -> None:
    arguments = ([0],) if method == "reduceat" else ()
    expected = outcome(lambda v: getattr(ufunc, method)(v, *arguments), FLOATS)
    actual = outcome(lambda: graphc.trace(lambda v: getattr(ufunc, method)(v, *arguments), FLOATS))
    assert isinstance(expected, Exception)
    assert isinstance(actual, (type(expected), GraphcError))


@pytest.mark.parametrize("ufunc", [np.power, np.arctan2, np.copysign], ids=lambda f: f.__name__)
def test_the_order_of_elements(ufunc: np.ufunc) -> None:
    steps = [FLOATS[0], ufunc(FLOATS[0], FLOATS[1]), ufunc(ufunc(FLOATS[0], FLOATS[1]), 0.5)]
    x = np.stack([*FLOATS, np.full(3, 0.5)])
    same(graphc.compile(ufunc.reduce, x)(x), steps[-1], 1)
    same(graphc.compile(ufunc.accumulate, x)(x), np.stack(steps), 1)


def test_nan_in_running_extremes() -> None:
    x = np.array([[1.0, np.nan, 3.0], [np.nan, 5.0, 0.0]])
    for ufunc in (np.maximum, np.minimum, np.fmax, np.fmin):
        agrees(lambda v, u=ufunc: u.accumulate(v), x)
        agrees(lambda v, u=ufunc: u.accumulate(v, axis=1), x)
        agrees(lambda v, u=ufunc: u.reduce(v, axis=1), x)


def test_ties_of_running_extremes_share_the_derivative() -> None:
    x = np.array([1.0, 3.0, 2.0, 3.0, 3.0, 0.0])
    expected = np.array(
        [
            [1, 0, 0, 0, 0, 0],
            [0, 1, 0, 0, 0, 0],
            [0, 1, 0, 0, 0, 0],
            [0, 1, 0, 1, 0, 0],
            [0, 1, 0, 1, 1, 0],
            [0, 1, 0, 1, 1, 0],
        ]
    )
    rows = expected / expected.sum(axis=1, keepdims=True)
    for spec in (x, "f64[n]"):
        for k, row in enumerate(rows):
            f = graphc.compile(graphc.grad(lambda v, k=k: np.maximum.accumulate(v)[k]), spec)
            np.testing.assert_allclose(f(x), row)
            f = graphc.compile(graphc.grad(lambda v, k=k: np.minimum.accumulate(-v)[k]), spec)
            np.testing.assert_allclose(f(x), -row)


def test_reductions_along_symbolic_sizes() -> None:
    x = FLOATS[0]
    for ufunc in (np.add, np.multiply, np.maximum, np.minimum, np.hypot, np.logaddexp, np.fmax, np.fmin):
        np.testing.assert_allclose(graphc.compile(ufunc.reduce, "f64[n]")(x), ufunc.reduce(x), rtol=1e-15)
    for ufunc in (np.add, np.multiply, np.maximum, np.minimum):
        np.testing.assert_allclose(graphc.compile(ufunc.accumulate, "f64[n]")(x), ufunc.accumulate(x), rtol=1e-15)
    for f in (np.subtract.reduce, np.logaddexp2.reduce, np.subtract.accumulate, np.hypot.accumulate):
        with pytest.raises(UnsupportedError, match=r"reduce|accumulate"):
            graphc.trace(f, "f64[n]")


# --- keywords -----------------------------------------------------------------------------------------------


def operands(ufunc: np.ufunc) -> list[list[Any]]:
    rows = [FLOATS, FLOATS[::-1]], [INTEGERS, INTEGERS[::-1]], [BOOLEANS, BOOLEANS[::-1]]
    if ufunc.signature is not None:
        rows = tuple([a, b.T if ufunc is np.matmul else b[0]] for a, b in rows)  # type: ignore[assignment]
    if ufunc is np.ldexp:
        rows = ([FLOATS, INTEGERS],)  # type: ignore[assignment]
    return [row[: ufunc.nin] for row in rows]


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda f: f.__name__)
def test_keywords(ufunc: np.ufunc) -> None:
    """Every keyword gives what it gives in NumPy; where= alone leaves elements without a value, and is refused."""
    for row in operands(ufunc):
        for options in (
            *({"dtype": d} for d in (np.float32, np.int64, np.bool_, None)),
            *({"casting": c} for c in ("no", "equiv", "safe", "same_kind", "unsafe")),
            {"dtype": np.int16, "casting": "unsafe"},
            *({"order": o} for o in "CFAK"),
            {"order": "B"},
            {"subok": False},
            {"signature": "d" * ufunc.nin + "->" + "d" * ufunc.nout},
            {"signature": (np.float32,) * ufunc.nargs},
            {"signature": (*(None,) * ufunc.nin, *(np.float32,) * ufunc.nout)},
            {"signature": "fffff"},
            {"signature": (np.float32,) * 5},
            {"dtype": np.float32, "signature": "d->d"},
            {"nonsense": 1},
            {"where": True},
        ):
            if ufunc.signature is not None and "where" in options:
                continue
            f = lambda *v, o=options: ufunc(*v, **o)  # noqa: E731
            expected = outcome(f, *row)
            actual = outcome(lambda f=f, row=row: graphc.compile(f, *row, exact_order=True)(*row))
            if isinstance(expected, Exception):
                assert isinstance(actual, (type(expected), TypeError)), options
            elif isinstance(actual, UnsupportedError):
                assert ufunc is np.reciprocal, actual
            else:
                same(actual, expected, 4)
        if ufunc.signature is None:
            with pytest.raises((UnsupportedError, TypeError), match="where"):
                graphc.trace(lambda *v: ufunc(*v, where=BOOLEANS), *row)


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda f: f.__name__)
def test_a_ufunc_looks_like_numpys(ufunc: np.ufunc) -> None:
    version = FUNCTIONS[ufunc]
    assert (version.nin, version.nout, version.nargs) == (ufunc.nin, ufunc.nout, ufunc.nargs)  # type: ignore[attr-defined]
    assert version.__doc__
    shown = inspect.signature(version)
    assert [p.kind for p in shown.parameters.values()][: ufunc.nin] == [inspect.Parameter.POSITIONAL_ONLY] * ufunc.nin
    try:
        expected = inspect.signature(ufunc)
    except ValueError:  # before NumPy 2.4
        return
    assert list(shown.parameters) == list(expected.parameters)


def test_methods_on_plain_arrays() -> None:
    assert gnp.add.reduce(INTEGERS, axis=1).tolist() == np.add.reduce(INTEGERS, axis=1).tolist()
    assert gnp.multiply.outer([1, 2], [3, 4]).tolist() == [[3, 4], [6, 8]]
