"""What only a run shows to be wrong, positions and matrices: NumPy's error, and the line of the program that has it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.backends.numpy import failures
from graphc.errors import GraphcError, IndexingError, LinAlgError
from graphc.ir import TensorType
from graphc.ops import factorisations, systems
from graphc.ops.meaning import evaluate
from graphc.printing import printing_to
from graphc.verification.cases import samples
from tests.op_kernels import one_node

X = np.arange(6.0)
KERNELS = ("none", "ufunc", "llvm")


def picked(x: Any, i: Any) -> Any:
    y = np.exp(x)
    return y[i] + 1


def written(x: Any, i: Any) -> Any:
    y = np.zeros_like(x)
    y[i] = x[0]
    return y


def added(x: Any, i: Any) -> Any:
    y = np.ones_like(x)
    np.add.at(y, i, 2.0)
    return y


def counted(x: Any, i: Any) -> Any:
    return np.bincount(i, minlength=6) * x


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(
    ("f", "line", "op"), [(picked, 2, "gather"), (written, 2, "last_write"), (added, 2, "last_write")]
)
@pytest.mark.parametrize("bad", [6, -7, 2**40])
def test_the_line_and_the_position(f: Callable[..., Any], line: int, op: str, bad: int, kernels: str) -> None:
    if kernels == "llvm":
        pytest.importorskip("llvmlite")
    with pytest.raises(IndexError) as numpys:
        f(X.copy(), np.array([0, bad]))
    for compiled in (graphc.compile(f, "f64[n]", "i64[k]", kernels=kernels), graphc.jit(f, kernels=kernels)):
        np.testing.assert_array_equal(compiled(X, np.array([0, -6])), f(X.copy(), np.array([0, -6])))
        with pytest.raises(IndexingError) as caught:
            compiled(X, np.array([0, bad]))
        error = caught.value
        assert error.problem == str(numpys.value) == f"index {bad} is out of bounds for axis 0 with size 6"
        assert (error.expected, error.actual) == ("an index from -6 to 5", str(bad))
        assert error.loc is not None
        assert error.loc.file == __file__
        assert error.loc.line == inspect.getsourcelines(f)[1] + line
        assert f" = {op}[" in str(error.graph_line)
        assert error.fix


@pytest.mark.parametrize("size", [1, 20_000])
def test_large_and_small_arrays(size: int) -> None:
    f = graphc.compile(picked, "f64[n]", "i64[k]")
    with pytest.raises(IndexingError, match=f"index {size} is out of bounds for axis 0 with size {size}"):
        f(np.zeros(size), np.arange(2 * size))


def test_an_empty_axis() -> None:
    with pytest.raises(IndexingError, match=r"no index \(the axis is empty\)"):
        graphc.compile(picked, "f64[n]", "i64[k]")(np.ones(0), np.array([0]))


@pytest.mark.parametrize("kernels", KERNELS)
def test_every_step_that_takes_positions(kernels: str) -> None:
    """Which of the steps raised is seen by the line of the generated text."""
    if kernels == "llvm":
        pytest.importorskip("llvmlite")

    def f(x: Any, y: Any, i: Any, j: Any) -> Any:
        a = np.tanh(x)[i]
        b = np.sinh(y)[j]
        return a * b

    start = inspect.getsourcelines(f)[1]
    compiled = graphc.compile(f, "f64[n]", "f64[m]", "i64[k]", "i64[k]", kernels=kernels)
    good, bad = np.array([0, 1]), np.array([0, 9])
    for positions, line in (((bad, good), 1), ((good, bad), 2), ((bad, bad), 1)):
        with pytest.raises(IndexingError) as caught:
            compiled(X, X, *positions)
        assert caught.value.loc is not None
        assert caught.value.loc.line == start + line


def test_derivatives_name_the_line_of_the_function() -> None:
    def loss(x: Any, i: Any) -> Any:
        return np.sum(x[i])

    with pytest.raises(IndexingError) as caught:
        graphc.grad(loss)(X, np.array([0, 6]))
    assert caught.value.loc is not None
    assert caught.value.loc.line == inspect.getsourcelines(loss)[1] + 1


def test_a_graph_without_places_names_the_call() -> None:
    graph = graphc.parse("graph f(%x: f64[n], %i: i64[k]) -> f64[k] { %2: f64[k] = gather[axis=0](%x, %i) return %2 }")
    compiled = graphc.compile(graph)
    with pytest.raises(IndexingError, match=r"compiled\(X, np.array"):
        compiled(X, np.array([6]))


def test_the_errors_of_ones_own_code_stay_what_they_are() -> None:
    def fail(x: Any) -> Any:
        return {"list": [1.0]}["list"][7]

    def f(x: Any, i: Any) -> Any:
        return x[i] + graphc.pure_callback(fail, "f64[]", x)

    with pytest.raises(IndexError, match="list index out of range") as caught:
        graphc.jit(f)(X, np.array([0]))
    assert not isinstance(caught.value, GraphcError)

    def emit(text: str) -> None:
        raise IndexError("index 9 is out of bounds for axis 0 with size 3")

    def g(x: Any, i: Any) -> Any:
        graphc.debug_print("{}", x)
        return x[i]

    with printing_to(emit), pytest.raises(IndexError) as caught:
        graphc.jit(g)(X, np.array([0]))
    assert not isinstance(caught.value, GraphcError)


def test_numbers_of_bins_that_lie_outside() -> None:
    with pytest.raises(IndexingError, match=r"np\.bincount\(i, minlength=6\)"):
        graphc.jit(counted)(X, np.array([0, 6]))


def test_positions_of_constants_are_no_error_of_the_compiler() -> None:
    def f(x: Any) -> Any:
        table = graphc.numpy.ones(3) * np.array([1.0, 2.0, 3.0])
        return x + table[graphc.numpy.ones(1, dtype=int) * np.array([9])]

    compiled = graphc.compile(f, "f64[]")
    with pytest.raises(IndexingError) as caught:
        compiled(1.0)
    assert caught.value.loc is not None
    assert caught.value.loc.line == inspect.getsourcelines(f)[1] + 2


# --- matrices -----------------------------------------------------------------------------------------------------

GOOD = np.array([[4.0, 1.0], [1.0, 3.0]])
SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
NO_NUMBERS = np.array([[1.0, np.nan], [np.nan, 1.0]])


def halved(a: Any) -> Any:
    b = a * 0.5
    return np.linalg.solve(b, np.ones(2))


def inverted(a: Any) -> Any:
    b = a * 0.5
    return np.linalg.inv(b)


def rooted(a: Any) -> Any:
    b = a * 0.5
    return np.linalg.cholesky(b)


def measured(a: Any) -> Any:
    b = a * 0.5
    return np.linalg.svdvals(b)


def inverted_by_parts(a: Any) -> Any:
    b = a * 0.5
    return np.linalg.pinv(b)


# (function, its op, a matrix that it refuses, what is seen there)
REFUSED = [
    (halved, "solve", SINGULAR, "rank 1, 2 rows"),
    (inverted, "inv", SINGULAR, "rank 1, 2 rows"),
    (rooted, "cholesky", SINGULAR - 4, "the eigenvalue -2"),
    (measured, "svdvals", NO_NUMBERS, "2 of 4 elements are NaN or infinite"),
    (inverted_by_parts, "pinv", NO_NUMBERS, "2 of 4 elements are NaN or infinite"),
]


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(("f", "op", "bad", "seen"), REFUSED)
def test_the_line_of_a_matrix(f: Callable[..., Any], op: str, bad: Any, seen: str, kernels: str) -> None:
    if kernels == "llvm":
        pytest.importorskip("llvmlite")
    with pytest.raises(np.linalg.LinAlgError) as numpys:
        f(bad)
    for spec in ("f64[n,n]", "f64[2,2]", "f64[k,n,n]"):
        compiled = graphc.compile(f, spec, kernels=kernels)
        jitted = graphc.jit(f, kernels=kernels)
        good, wrong = (np.stack([GOOD, x, GOOD, x]) if "k" in spec else x for x in (GOOD, bad))
        for run in (compiled, jitted):
            np.testing.assert_allclose(run(good), f(good), rtol=1e-12)
            with pytest.raises(np.linalg.LinAlgError) as caught:
                run(wrong)
            error = caught.value
            assert isinstance(error, LinAlgError)
            assert error.problem == str(numpys.value)
            assert str(error).startswith(str(numpys.value))
            assert error.expected == failures.MATRICES[op].expected
            assert error.actual == (f"{seen}; at [1] of the stack" if "k" in spec else seen)
            assert error.fix
            assert error.loc is not None
            assert error.loc.file == __file__
            assert error.loc.line == inspect.getsourcelines(f)[1] + 2
            assert f" = {op}" in str(error.graph_line)


def test_the_ops_that_refuse_matrices() -> None:
    """They are those of which NumPy raises LinAlgError for zeros or NaN, and all are told of."""
    raised = set()
    for op in (*systems.OPS, *factorisations.OPS):
        attrs = dict(samples(op)[0].attrs)
        if "unit" in attrs:
            attrs["unit"] = False
        graph = one_node(op, [TensorType((3, 3), np.dtype(np.float64))] * len(op.domains), attrs)
        for number in (0.0, np.nan):
            given = [np.full((3, 3), number)] * len(op.domains)
            try:
                with np.errstate(all="ignore"):
                    evaluate(op, given, attrs)
            except np.linalg.LinAlgError:
                raised.add(op.name)
                with pytest.raises(LinAlgError) as caught:
                    graphc.compile(graph)(*given)
                assert caught.value.actual, op.name
    assert raised == failures.MATRICES.keys()


def test_matrices_that_are_told_of() -> None:
    """In stacks of several axes; beside matrices that are not numbers; and none where looking takes long."""

    def f(a: Any) -> Any:
        return np.linalg.inv(a)

    stack = np.broadcast_to(GOOD, (2, 3, 2, 2)).copy()
    stack[0, 1] = np.nan
    stack[1, 2] = 0
    with pytest.raises(LinAlgError) as caught:
        graphc.jit(f)(stack)
    assert caught.value.actual == "rank 0, 2 rows; at [1, 2] of the stack"
    with pytest.raises(LinAlgError) as caught:
        graphc.jit(f)(np.ones((300, 300)))
    assert caught.value.actual is None
    assert "Singular matrix\n  expected" in str(caught.value)
    with pytest.raises(LinAlgError) as caught:
        graphc.jit(np.linalg.cholesky)(np.diag([-1.0, 1.0, 1.0]) + np.where(np.eye(3), 0, np.nan))
    assert caught.value.actual == "6 of 9 elements are NaN or infinite"


def test_derivatives_name_the_line_of_the_matrix() -> None:
    """Of the logarithm of a determinant too, which itself is -inf there."""

    def loss(a: Any) -> Any:
        return np.linalg.slogdet(a)[1]

    with pytest.raises(LinAlgError, match="Singular matrix") as caught:
        graphc.grad(loss)(SINGULAR)
    assert caught.value.loc is not None
    assert caught.value.loc.line == inspect.getsourcelines(loss)[1] + 1
    assert graphc.jit(loss)(SINGULAR) == -np.inf

    for f, _, bad, seen in REFUSED:
        with pytest.raises(LinAlgError) as caught:
            graphc.grad(lambda a, f=f: np.sum(f(a)))(bad)
        assert caught.value.actual == seen
        assert caught.value.loc is not None
        assert caught.value.loc.line == inspect.getsourcelines(f)[1] + 2


def test_matrices_of_constants_are_no_error_of_the_compiler() -> None:
    def f(x: Any) -> Any:
        a = graphc.numpy.ones((2, 2)) * SINGULAR
        return np.linalg.inv(a) @ x

    compiled = graphc.compile(f, "f64[2]")
    with pytest.raises(LinAlgError) as caught:
        compiled(np.ones(2))
    assert caught.value.loc is not None
    assert caught.value.loc.line == inspect.getsourcelines(f)[1] + 2


def test_a_matrix_in_a_graph_without_places_names_the_call() -> None:
    graph = graphc.parse("graph f(%x: f64[n,n]) -> f64[n,n] { %1: f64[n,n] = inv(%x) return %1 }")
    compiled = graphc.compile(graph)
    with pytest.raises(LinAlgError, match=r"compiled\(SINGULAR\)"):
        compiled(SINGULAR)


def test_the_errors_of_ones_own_linear_algebra_stay_what_they_are() -> None:
    def fail(x: Any) -> Any:
        return np.linalg.inv(x)

    def f(x: Any) -> Any:
        return np.linalg.inv(x + np.eye(2)) + graphc.pure_callback(fail, "f64[2,2]", x)

    with pytest.raises(np.linalg.LinAlgError, match=r"^Singular matrix$") as caught:
        graphc.jit(f)(SINGULAR)
    assert not isinstance(caught.value, GraphcError)
