"""A function compiled once for named sizes gives NumPy's result at every size, or says that it does not hold there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.numpy as gnp
from graphc.compiler import check
from graphc.errors import GraphcError, GuardError, ShapeError

Function = Callable[..., Any]
SIZES = (0, 1, 2, 3, 4, 7)
WIDTHS = (0, 1, 3)

# Functions of x: f64[n,m]. Those of the second table may be refused while they are traced.
FUNCTIONS: tuple[tuple[str, Function], ...] = (
    ("elementwise", lambda x: np.sin(x) * 2 + x / 3),
    ("with itself transposed", lambda x: x @ x.T),
    ("sum", lambda x: x.sum()),
    ("sum over an axis", lambda x: (x.sum(axis=0), x.sum(axis=1, keepdims=True))),
    ("prod", lambda x: x.prod(axis=0)),
    ("mean", lambda x: np.mean(x, axis=0)),
    ("var", lambda x: np.var(x, axis=1)),
    ("std", lambda x: np.std(x)),
    ("ddof", lambda x: np.var(x, axis=0, ddof=1)),
    ("max", lambda x: x.max(axis=0)),
    ("min of all", lambda x: x.min()),
    ("max and min from a value on", lambda x: (x.max(axis=0, initial=0.5), np.fmin.reduce(x, axis=1, initial=0.5))),
    ("any and all", lambda x: ((x > 2).any(axis=0), (x > 2).all())),
    ("cumsum", lambda x: (np.cumsum(x, axis=0), np.cumsum(x))),
    ("norm", lambda x: np.linalg.norm(x, axis=1)),
    ("softmax", lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)),
    ("logsumexp", lambda x: np.log(np.sum(np.exp(x), axis=0))),
    ("reshape", lambda x: (x.reshape(-1), x.ravel(), x.reshape(x.shape[1], x.shape[0]))),
    ("reshape of a size that is 0 or 1", lambda x: np.diagonal(x[None]).reshape(-1) + np.diagonal(x[None]).T.ravel()),
    ("reshape with -1", lambda x: x.reshape(x.shape[0], -1)),
    ("reshape with 1", lambda x: (x[:, None], x.reshape(1, -1), np.expand_dims(x, 1))),
    ("pairs", lambda x: np.concatenate([x, x], axis=1).reshape(-1, 2)),
    ("transpose", lambda x: (x.T, np.swapaxes(x, 0, 1), np.moveaxis(x, 0, -1))),
    ("reverse", lambda x: (x[::-1], x[:, ::-1], np.flip(x))),
    ("every second", lambda x: (x[::2], x[1::2], x[::-2])),
    ("tail", lambda x: (x[1:], x[:-1], x[:, 1:])),
    ("differences", lambda x: np.diff(x, axis=0)),
    ("first and last", lambda x: (x[0], x[-1])),
    ("second", lambda x: x[1]),
    ("last two", lambda x: x[-2:]),
    ("first three", lambda x: x[:3]),
    ("from two", lambda x: x[2:]),
    ("middle", lambda x: x[1:-1]),
    ("backwards from the middle", lambda x: x[2::-1]),
    ("gather", lambda x: x[[0, 0]]),
    ("gather last", lambda x: x[np.array([-1, 0])]),
    ("two gathers", lambda x: x[[0, 1], [0, 1]]),
    ("take along the second axis", lambda x: np.take(x, [0], axis=1)),
    ("outer", lambda x: np.outer(x[:, 0], x[0])),
    ("broadcast of a row", lambda x: np.broadcast_to(x[0], x.shape)),
    ("broadcast to more axes", lambda x: np.broadcast_to(x, (2, *x.shape))),
    (
        "concatenate",
        lambda x: (np.concatenate([x, x]), np.concatenate([x, x[:1]]), np.concatenate([x, np.ones_like(x)])),
    ),
    ("stack", lambda x: np.stack([x, 2 * x], axis=1)),
    ("stack after concatenate", lambda x: np.vstack([x, x]) * 2),
    ("like", lambda x: np.zeros_like(x) + np.full_like(x, 3) + np.ones_like(x)),
    ("makers", lambda x: gnp.zeros(x.shape) + x + gnp.arange(x.shape[1])),
    ("identity", lambda x: (gnp.arange(x.shape[0])[:, None] == gnp.arange(x.shape[1])) * 1.0),
    ("sizes as values", lambda x: x * x.shape[0] + x.size / 2),
    ("root of a size", lambda x: x / np.sqrt(x.shape[-1])),
    ("sizes in Python arithmetic", lambda x: x * (x.shape[0] * 2 + x.shape[1] - 1)),
    ("floor of a size", lambda x: x * (x.shape[0] // 2) + x.shape[0] % 2),
    ("first half", lambda x: x[: x.shape[0] // 2]),
    ("second half", lambda x: x[x.shape[0] // 2 :]),
    ("upper bound from the other axis", lambda x: x[: x.shape[1]]),
    ("sum with itself reversed", lambda x: x + x[::-1]),
    ("row plus square", lambda x: x + x[:1]),
    ("matmul with a constant", lambda x: x @ np.ones((3, 2))),
    ("plus a constant row", lambda x: x + np.arange(3.0)),
    ("plus a constant column", lambda x: x + np.arange(4.0)[:, None]),
    ("where", lambda x: np.where(x > x.mean() + 0.1, x, 0)),  # no element equals the mean, which may round otherwise
    ("square", lambda x: x + x.T),
    ("clip", lambda x: np.clip(x, 1, x.shape[0])),
    ("squeeze", lambda x: np.squeeze(x[:, None])),
    ("tensordot", lambda x: np.tensordot(x, x, axes=([0], [0]))),
    ("length in a condition", lambda x: x * 2 if x.shape[0] > 3 else x),
    ("size 1 in a condition", lambda x: x * 2 if x.shape[0] == 1 else x),
    ("loop over rows", lambda x: sum(row.sum() for row in x)),
)


def outcome(f: Function, *arguments: Any) -> Any:
    try:
        with np.errstate(all="ignore"):
            return f(*arguments)
    except (GraphcError, ValueError, IndexError, TypeError, ZeroDivisionError) as error:
        return error


def agree(actual: Any, expected: Any, label: str) -> None:
    __tracebackhide__ = True
    if isinstance(expected, tuple):
        for one, other in zip(actual, expected, strict=True):
            agree(one, other, label)
        return
    expected = np.asarray(expected)
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype), label
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12, err_msg=label)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("f", [row[1] for row in FUNCTIONS], ids=[row[0] for row in FUNCTIONS])
@pytest.mark.parametrize("spec", ["f64[n,m]", "f64[n,3]", "f64[n,n]"])
def test_compiled_for_named_sizes(f: Function, spec: str) -> None:
    compiled = outcome(graphc.compile, f, spec)
    if isinstance(compiled, Exception):
        assert "size" in str(compiled) or "elements" in str(compiled), "a refusal speaks of the sizes"
        return
    held = 0
    for n in SIZES:
        for m in (n,) if spec == "f64[n,n]" else (3,) if spec == "f64[n,3]" else WIDTHS:
            x = np.arange(1.0, 1 + n * m).reshape(n, m) / 3
            expected, actual = outcome(f, x), outcome(compiled, x)
            label = f"{spec} at {n}, {m}"
            if isinstance(actual, (GuardError, ShapeError, IndexError)):
                continue
            if isinstance(expected, Exception):
                # NumPy cannot tell what -1 stands for beside a size 0
                assert "reshape array of size 0" in str(expected) or isinstance(actual, Exception), (
                    f"{label}: NumPy raises {expected!r}"
                )
                continue
            if isinstance(actual, Exception):
                raise AssertionError(label) from actual
            agree(actual, expected, label)
            held += 1
    assert held, "the guards hold at no size at all"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("f", [row[1] for row in FUNCTIONS], ids=[row[0] for row in FUNCTIONS])
def test_jitted_at_changing_sizes(f: Function) -> None:
    """`jit` has no excuse: where NumPy gives a result, so does it."""
    jitted = graphc.jit(f)
    for n in (2, 3, 4, 7, 1, 0, 5):
        x = np.arange(1.0, 1 + n * 3).reshape(n, 3) / 3
        expected, actual = outcome(f, x), outcome(jitted, x)
        if isinstance(expected, Exception):
            told = "reshape array of size 0" in str(expected) or isinstance(actual, Exception)
            assert told, f"NumPy raises {expected!r} at {n}"
        elif isinstance(actual, Exception):
            raise AssertionError(f"at {n}") from actual
        else:
            agree(actual, expected, f"at {n}")


SMOOTH = {
    "elementwise", "with itself transposed", "sum", "prod", "mean", "var", "cumsum", "softmax", "logsumexp", "reshape",
    "pairs", "transpose", "reverse", "every second", "tail", "differences", "first and last", "middle", "last two",
    "gather", "gather last", "concatenate", "stack", "sizes as values", "first half", "second half", "max",
    "sum with itself reversed", "row plus square", "where", "clip", "tensordot", "outer", "norm",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "f", [row[1] for row in FUNCTIONS if row[0] in SMOOTH], ids=[r[0] for r in FUNCTIONS if r[0] in SMOOTH]
)
def test_gradients_at_changing_sizes(f: Function) -> None:
    def loss(x: Any) -> Any:
        y = f(x)
        parts = y if isinstance(y, tuple) else (y,)
        return sum(np.sum(np.sin(p)) for p in parts)

    compiled = graphc.compile(graphc.grad(loss), "f64[n,3]")
    for n in (0, 1, 2, 3, 5):
        x = np.arange(1.0, 1 + n * 3).reshape(n, 3) / 3
        actual = outcome(compiled, x)
        if isinstance(actual, (GuardError, ShapeError)) or isinstance(outcome(f, x), Exception):
            continue
        expected = graphc.compile(graphc.grad(loss), x)(x)
        agree(actual, expected, f"at {n}")


# Guards that follow only from several others, or through a quotient: the verifier has to see it as the trace did.
GUARDED: tuple[tuple[str, Function, tuple[str, str]], ...] = (
    ("halves that are equal", lambda x, y: (np.dot(y, x) * y)[::2] + (x * y)[1::2], ("f64[n]", "f64[m]")),
    ("a half, then the whole", lambda x, y: (y[::2] + x[1::2], np.dot(x, y) * x), ("f64[2*n]", "f64[m]")),
    ("a size and its double", lambda x, y: (x + y, np.dot(y[:2], x) * y[:2]), ("f64[2*n]", "f64[m]")),
    ("differences", lambda x, y: (x[1:] - y[:-1], x * y), ("f64[n]", "f64[m]")),
    ("a half and a quarter", lambda x, y: (x[::2] + y, x[::2][::2] + y[1::2]), ("f64[n]", "f64[m]")),
    ("parts", lambda x, y: np.split(x, 2)[0] + y, ("f64[n]", "f64[m]")),
)


@pytest.mark.parametrize(("f", "specs"), [row[1:] for row in GUARDED], ids=[row[0] for row in GUARDED])
def test_what_a_trace_assumed_the_verifier_knows(f: Function, specs: tuple[str, str]) -> None:
    graph = graphc.trace(f, *specs)
    check(graph)
    assert graphc.parse(graphc.dump(graph)) == graph
    for step in graphc.compile(f, *specs).passes:
        check(step.graph)


@pytest.mark.parametrize("f", [np.median, np.nanmedian])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_only_element_in_the_middle_is_not_added_to_itself(f: Function, dtype: Any) -> None:
    compiled = graphc.compile(lambda x: f(x, axis=0), f"f{8 * np.dtype(dtype).itemsize}[n,m]")
    for count in (1, 2, 3, 4, 5):
        x = np.zeros((count, 4), dtype)
        x[:, 0], x[:, 1], x[:, 2] = np.finfo(dtype).max, -np.inf, np.finfo(dtype).smallest_subnormal
        expected = x[0].copy()
        if count % 2 == 0 and dtype != np.float16:  # whose sum is one of single precision
            expected[0] = np.inf
        np.testing.assert_array_equal(compiled(x), expected)


def test_a_part_that_may_be_empty_is_rolled() -> None:
    rolled = graphc.compile(lambda x: np.roll(x[1:], 1), "f64[n]")
    for n in (1, 2, 3):
        x = np.arange(float(n))
        np.testing.assert_array_equal(rolled(x), np.roll(x[1:], 1))


@pytest.mark.parametrize("columns", [7, 512, 513, 2000, 5000])
@pytest.mark.parametrize("spec", ["f32[n,m]", "f32[n,{}]"])
def test_columns_without_rows_are_filled(columns: int, spec: str) -> None:
    """Narrow arrays and wide ones: with what changes nothing, and not with what their memory held."""

    def f(x: Any) -> Any:
        return np.sum(x > 0, axis=0), np.sum(x * x, axis=0), np.prod(x, axis=0), np.any(x > 0, axis=0)

    compiled = graphc.compile(f, spec.format(columns))
    x = np.zeros((0, columns), np.float32)
    for _ in range(5):
        left = [np.full(columns, 7, dtype) for dtype in (np.int64, np.float32, np.float32, np.bool_) for _ in range(3)]
        del left
        agree(compiled(x), f(x), f"{columns} columns")
