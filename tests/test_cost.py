"""Costs: every count of the op table against an execution that counts, and the formulas of whole graphs."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import dims
from graphc.errors import ShapeError, TraceError, UnsupportedError
from graphc.inspection.costs import Ratio, cost
from graphc.inspection.counting import work_of
from graphc.ir import TensorType
from graphc.ops import TABLE, functions, philox
from graphc.ops.meaning import evaluate
from graphc.ops.record import Op
from graphc.verification.cases import Case, cases, rounded

n, m, k = map(dims.symbol, "nmk")

# --- counting while NumPy runs -------------------------------------------------------------------------------

SIMPLE = {
    "add": "add subtract",
    "mul": "multiply deg2rad rad2deg radians degrees ldexp square",
    "div": "divide true_divide floor_divide remainder fmod sqrt reciprocal",
    "other": "negative positive absolute sign signbit copysign floor ceil trunc rint heaviside equal not_equal less "
    "less_equal greater greater_equal logical_and logical_or logical_not maximum minimum fmax fmin isfinite isinf "
    "isnan frexp bitwise_and bitwise_or bitwise_xor invert left_shift right_shift bitwise_count gcd lcm clip",
    "transcendental": "exp log expm1 log1p exp2 log2 log10 logaddexp logaddexp2 cbrt hypot power float_power sin "
    "cos tan arcsin arccos arctan arctan2 sinh cosh tanh arcsinh arccosh arctanh",
}
CLASS = {name: kind for kind, names in SIMPLE.items() for name in names.split()}
# what no polynomial says: the record counts 1 for each element
UNCOUNTED = {"sort": 0, "argsort": 0, "searchsorted": 1, "average_ties": 0}


def _words(case: Case, more: int = 0) -> dict[str, int]:
    """25 operations for each random word of 32 bits, and some more for each number."""
    n, size = int(dims.product(case.result.shape)), case.result.dtype.itemsize
    total = n * size * 25 // 4 + more * n
    return {"other": total} if total else {}


def _lerp(case: Case) -> dict[str, int]:
    n = int(dims.product(case.result.shape))
    return {"add": 2 * n, "mul": n, "other": n}


def _counted(run: Callable[[int, Counter[str]], None], columns: bool = False) -> Callable[[Case], dict[str, int]]:
    """An algorithm for one matrix, run step by step: so often for a stack, or for all its right-hand sides."""

    def count(case: Case) -> dict[str, int]:
        counts: Counter[str] = Counter()
        size = int(case.types[0].shape[-1])
        stack = int(dims.product(case.types[0].shape[:-2]))
        for _ in range(stack):
            run(size, counts)
        if columns:
            sides = int(dims.product(case.result.shape)) // max(size, 1)
            for _ in range(sides):
                _substituted(size, counts)
                _substituted(size, counts)
                counts["div"] += size  # by the diagonal of one of the triangles
        return +counts

    return count


def _eliminated(size: int, counts: Counter[str]) -> None:
    for k in range(size):
        for _ in range(k + 1, size):
            counts["div"] += 1
            counts.update({"mul": size - k - 1, "add": size - k - 1})


def _substituted(size: int, counts: Counter[str]) -> None:
    for k in range(size):
        counts.update({"mul": k, "add": k})


def _rooted(size: int, counts: Counter[str]) -> None:
    for i in range(size):
        for j in range(i + 1):
            counts.update({"mul": j, "add": j, "div": 1})


def _triangular(case: Case) -> dict[str, int]:
    counts: Counter[str] = Counter()
    size = int(case.types[0].shape[-1])
    for _ in range(int(dims.product(case.result.shape)) // max(size, 1)):
        _substituted(size, counts)
        counts["div"] += 0 if case.attrs["unit"] else size
    return +counts


def _golub(operations: Callable[[int, int], int]) -> Callable[[Case], dict[str, int]]:
    """Leading terms of Golub and Van Loan's, for the larger and the smaller size, rounded down."""

    def count(case: Case) -> dict[str, int]:
        *stack, rows, columns = map(int, case.types[0].shape)
        half = math.prod(stack) * (operations(max(rows, columns), min(rows, columns)) // 2)
        return {"mul": half, "add": half} if half else {}

    return count


# where NumPy's loops run over arrays that no operand leads to, or over selections of elements
BY_HAND: dict[str, Callable[[Case], dict[str, int]]] = {
    "solve": _counted(_eliminated, columns=True),
    "inv": _counted(_eliminated, columns=True),
    "cofactor": _counted(_eliminated, columns=True),
    "det": _counted(_eliminated),
    "det_sign": _counted(_eliminated),
    "log_abs_det": _counted(_eliminated),
    "solve_triangular": _triangular,
    "cholesky": _counted(_rooted),
    "eigvalsh": _golub(lambda m, n: 4 * n**3 // 3),
    "eigh_vectors": _golub(lambda m, n: 9 * n**3),
    "svdvals": _golub(lambda m, n: 4 * m * n**2 - 4 * n**3 // 3),
    "svd_vectors": _golub(lambda m, n: 6 * m * n**2 + 20 * n**3),
    "pinv": _golub(lambda m, n: 8 * m * n**2 + 20 * n**3),
    "qr_q": _golub(lambda m, n: 4 * m * n**2 - 4 * n**3 // 3),
    "qr_r": _golub(lambda m, n: 4 * m * n**2 - 4 * n**3 // 3),
    "lerp": _lerp,
    "random_bits": _words,
    "random_word": lambda case: {"other": 110 * int(dims.product(case.result.shape))},
    "random_below": lambda case: _words(case, 6 if case.result.dtype.itemsize == 4 else 24),
    "random_order": lambda case: _words(case, 1),
    "derived_key": _words,
}


class Number:
    """A number that counts the multiplications and additions it takes part in."""

    def __init__(self, counts: Counter[str]) -> None:
        self.counts = counts

    def __mul__(self, other: Any) -> Number:
        self.counts["mul"] += 1
        return self

    def __add__(self, other: Any) -> Number:
        self.counts["add"] += 1
        return self


class Counting(np.ndarray):
    """An array that counts, by class, every element that NumPy's loops compute from it."""

    counts: Counter[str]

    def __array_finalize__(self, source: Any) -> None:
        self.counts = getattr(source, "counts", Counter())

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        plain = [np.asarray(x) if isinstance(x, Counting) else x for x in inputs]
        if isinstance(kwargs.get("where"), Counting):
            kwargs["where"] = np.asarray(kwargs["where"])
        result = getattr(ufunc, method)(*plain, **kwargs)
        if ufunc is np.matmul:
            self.products(*plain)
        elif ufunc is np.power and isinstance(plain[1], int):
            self.powers(plain[1], np.size(result))
        else:
            # a reduction adds its first element too: to an accumulator that starts at 0
            work = {"reduce": plain[0], "accumulate": plain[0], "at": plain[-1]}.get(method, result)
            self.counts[CLASS[ufunc.__name__]] += np.size(work[0] if isinstance(work, tuple) else work)
        if isinstance(result, tuple):
            return tuple(map(self.counted, result))
        return None if result is None else self.counted(result)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        result = super().__array_function__(function, (Counting,), args, kwargs)
        if function is np.where:
            self.counts["other"] += np.size(result)
        return result

    def counted(self, result: Any) -> Any:
        array = np.asarray(result).view(Counting)
        array.counts = self.counts
        return array

    def products(self, a: Any, b: Any) -> None:
        """A product of objects, each of which counts; every sum has one addition more, to its accumulator."""
        fill = np.frompyfunc(lambda _: Number(self.counts), 1, 1)
        result = np.matmul(fill(a), fill(b))
        if a.shape[-1]:
            self.counts["add"] += np.size(result)

    def powers(self, exponent: int, size: int) -> None:
        """Powers by repeated squaring, as one would by hand."""
        x, done, left = Number(self.counts), None, abs(exponent)
        for _ in range(size):
            done, left = None, abs(exponent)
            while left:
                if left % 2:
                    done = x if done is None else done * x
                left //= 2
                if left:
                    x = x * x
        if exponent < 0:
            self.counts["div"] += size

    def astype(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("copy", True):
            self.counts["other"] += self.size
        return self.counted(np.asarray(self).astype(*args, **kwargs))

    def argmax(self, *args: Any, **kwargs: Any) -> Any:
        self.counts["other"] += self.size
        return np.asarray(self).argmax(*args, **kwargs)

    def argmin(self, *args: Any, **kwargs: Any) -> Any:
        self.counts["other"] += self.size
        return np.asarray(self).argmin(*args, **kwargs)


def executed(case: Case) -> Counter[str]:
    """The operations that the NumPy meaning of an op does on a sample."""
    counts: Counter[str] = Counter()
    operands = []
    for values, type in zip(case.operands, case.types, strict=True):
        array = rounded(values, type.dtype).view(Counting)
        array.counts = counts
        operands.append(array)

    def special(name: str, *operands: Any, **order: Any) -> Any:
        """SciPy's functions, some of which are Python that no array sees: each counts 1 for each element."""
        result = from_scipy(name, *map(np.asarray, operands), **order)
        counts["transcendental"] += result.size
        return result

    from_scipy = functions.special
    with np.errstate(all="ignore"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(functions, "special", special)
        evaluate(case.op, operands, case.attrs)
    return +counts


def declared(case: Case) -> dict[str, int]:
    counts = work_of(case.op, case.result, list(case.types), case.attrs)
    return {kind: int(count) for kind, count in counts.items() if count != 0}


def complaint(case: Case) -> str | None:
    """What is wrong with the record's counts on a sample."""
    said, op = declared(case), case.op
    if op.name in UNCOUNTED:
        sizes = [int(dims.product(t.shape)) for t in case.types]
        right: dict[str, int] = {"other": sizes[UNCOUNTED[op.name]]} if sizes[UNCOUNTED[op.name]] else {}
        return None if said == right else f"{case}: {said}, not {right}"
    if op.name in BY_HAND:
        right = BY_HAND[op.name](case)
        return None if said == right else f"{case}: {said}, not {right}"
    found = executed(case)
    if not any(t.differentiable for t in (case.result, *case.types)):
        found = Counter(other=found.total()) if found else found
        # counted alike, but planned as tens of instructions
        if op.elementwise and op.work is None:
            return f"{case}: what computes no floats is no elementary function"
    size = int(dims.product(case.result.shape))
    composite = op.elementwise and found.total() > size and not callable(op.work)
    if composite and said == {"transcendental": size} and found["transcendental"] >= size:
        return None  # a function that NumPy lacks counts 1 for each element, whatever it is made of
    return None if said == dict(found) else f"{case}: the record says {said}, NumPy did {dict(found)}"


@pytest.mark.parametrize("name", TABLE)
def test_the_work_of_a_record_is_what_numpy_does(name: str) -> None:
    op = TABLE[name]
    counted = [case for case in cases(op) if isinstance(case.result, TensorType) and not op.view]
    assert [c for c in map(complaint, counted) if c] == []


def test_a_random_word_takes_twenty_five_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's functions that the generator calls on whole arrays, counted."""
    blocks, done = 1000, Counter[str]()

    class Watched:
        def __getattr__(self, name: str) -> Any:
            function = getattr(np, name)
            if not isinstance(function, np.ufunc):
                return function

            def call(*args: Any, **kwargs: Any) -> Any:
                result = function(*args, **kwargs)
                done[name] += result.size
                return result

            return call

    monkeypatch.setattr(philox, "np", Watched())
    philox.blocks(np.zeros(4, np.uint32), np.arange(blocks, dtype=np.uint64))
    assert done.total() == 25 * 4 * blocks
    assert set(done) == {"multiply", "left_shift", "right_shift", "bitwise_xor"}


@pytest.mark.parametrize(
    ("name", "work"),
    [
        ("add", "mul"),
        ("exp", "add"),
        ("sqrt", None),
        ("floor", None),
        ("softplus", "add"),
        ("reduce_sum", None),
        ("reduce_sum", lambda result, x, **attrs: {"add": dims.product(x.shape) - dims.product(result.shape)}),
        ("matmul", lambda result, a, b: {"mul": dims.product(result.shape) * a.shape[-1]}),
        ("integer_pow", "transcendental"),
        ("logsumexp", lambda result, x, **attrs: {"transcendental": dims.product(x.shape)}),
        ("transpose", "add"),
    ],
)
def test_a_wrong_count_is_seen(name: str, work: Any) -> None:
    wrong: Op = dataclasses.replace(TABLE[name], work=work, view=False)
    assert any(map(complaint, cases(wrong)))


# --- formulas of whole graphs --------------------------------------------------------------------------------


def test_a_matrix_product() -> None:
    def product(a: Any, b: Any) -> Any:
        return a @ b

    found = cost(product, "f64[n,k]", "f64[k,m]")
    assert (found.total.mul, found.total.add, found.total.flops) == (n * k * m, n * k * m, 2 * n * m * k)
    assert found.total.read == 8 * n * k + 8 * k * m
    assert found.total.written == 8 * n * m == found.peak
    assert found.least == 8 * (n * k + k * m + n * m)
    assert found.at(n=3, m=4, k=5).total.flops == 2 * 3 * 4 * 5
    assert found.at(n=3).total.flops == 6 * m * k
    assert cost(product, "f64[n,k]", "f64[k,m]", n=3, m=4, k=5) == found.at(n=3, m=4, k=5)


def softmax_loss(w: Any, x: Any, t: Any) -> Any:
    h = np.tanh(x @ w)
    e = np.exp(h - np.max(h, axis=1, keepdims=True))
    p = e / np.sum(e, axis=1, keepdims=True)
    return np.mean(np.sum((p - t) ** 2, axis=1))


def test_a_traced_graph_counts_as_it_stands() -> None:
    graph = graphc.trace(softmax_loss, "f64[k,m]", "f64[n,k]", "f64[n,m]")
    total = cost(graph).total
    # add: x @ w, h - max, sum e, p - t, the sum over m, the mean over n; div: e / sum, the mean
    assert total.add == n * m * k + 4 * n * m + n
    assert total.mul == n * m * k + n * m
    assert total.div == n * m + 1
    assert total.transcendental == 2 * n * m
    assert total.other == n * m + 1


def test_every_number_is_that_of_the_formula() -> None:
    """Counting at given sizes, and substituting sizes in formulas, agree; so do rows and totals."""
    compiled = graphc.compile(graphc.value_and_grad(softmax_loss), "f64[k,m]", "f64[n,k]", "f64[n,m]")
    sizes = {"n": 7, "k": 5, "m": 3}
    symbolic, numeric = cost(compiled), cost(compiled, **sizes)
    assert symbolic.at(**sizes) == numeric
    assert numeric.peak == compiled.plan.peak_bytes(sizes)
    for rows in (numeric.by_op, numeric.by_line):
        for field in ("nodes", "flops", "other", "read", "written"):
            assert sum(getattr(row, field) for row in rows.values()) == getattr(numeric.total, field)


def test_kernels_keep_what_is_between() -> None:
    def f(x: Any, y: Any) -> Any:
        return np.sum(np.tanh(x * y) + x)

    found = cost(f, "f64[n]", "f64[n]")
    # every value of the chain written and read again; against x and y read once, and the sum
    assert found.total.bytes == 16 * n + 8 * n + 2 * 8 * n + 3 * 8 * n + 8 * n + 8
    assert found.planned == found.least == 16 * n + 8
    assert "as planned   16*n+8" in str(found)
    traced = cost(graphc.trace(f, "f64[n]", "f64[n]"))
    assert traced.planned == traced.total.bytes
    assert "as planned" not in str(traced)
    assert found.at(n=10).planned == 168


def test_the_peak_formula_is_the_peak() -> None:
    compiled = graphc.compile(graphc.value_and_grad(softmax_loss), "f64[k,m]", "f64[n,k]", "f64[n,m]")
    peak = cost(compiled).peak
    assert peak is not None
    rng = np.random.default_rng(0)
    for _ in range(50):
        sizes = {name: int(rng.integers(0, 60)) for name in "nkm"}
        assert dims.evaluate(peak, sizes) == compiled.plan.peak_bytes(sizes)


def test_a_jitted_function() -> None:
    assert cost(graphc.jit(np.matmul), "f64[n,k]", "f64[k,m]").total.flops == 2 * n * m * k
    assert cost(graphc.compile(lambda x, *, scale: x * scale, "f64[n]", scale=2.0)).total.flops == n


def test_lines_of_the_user_and_their_derivatives() -> None:
    found = cost(graphc.value_and_grad(softmax_loss), "f64[k,m]", "f64[n,k]", "f64[n,m]")
    forward = {str(line).partition("   ")[2]: row for line, row in found.by_line.items() if not line.derivative}
    assert forward["h = np.tanh(x @ w)"].flops == 2 * n * m * k + n * m
    backward = {str(line).partition("   ")[2]: row for line, row in found.by_line.items() if line.derivative}
    # the gradient by w alone is one more product, and the slope of tanh
    assert backward["h = np.tanh(x @ w) (derivative)"].flops == 2 * n * m * k + 2 * n * m


def test_views_move_nothing_and_broadcast_values_are_read_once() -> None:
    assert cost(graphc.trace(lambda x: x.reshape(-1).T, "f64[n,3]")).total.bytes == 0
    graph = graphc.trace(lambda x, b: x + np.broadcast_to(b, (x.shape[0], 3)), "f64[n,3]", "f64[3]")
    assert cost(graph).total.read == 24 * n + 24
    assert cost(graphc.trace(lambda x: x[:2] * 2.0, "f64[9]")).total.read == 16 + 8
    assert cost(graphc.trace(lambda x: x * x, "f64[n]")).total.read == 8 * n
    picked = graphc.trace(lambda x: x[np.array([0, 2])], "f64[1000]")
    assert cost(picked).total.read == 16 + 16


def test_unused_inputs_need_not_be_read() -> None:
    assert cost(graphc.trace(lambda x, y: x + x, "f64[n]", "f64[m]")).least == 16 * n


def test_integers_count_as_other() -> None:
    total = cost(graphc.trace(lambda i: i * i + i, "i64[n]")).total
    assert (total.flops, total.other) == (0, 2 * n)


def test_a_graph_without_arithmetic() -> None:
    found = cost(graphc.trace(lambda x: x, "f64[n]"))
    assert (found.total.flops, found.total.bytes, found.peak) == (0, 0, 0)
    assert str(found.intensity) == "none moved"
    assert "cost of f, 0 nodes" in str(found)


def test_ops_without_a_count_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An op that runs a graph of its own says nothing of its work unless its record does."""
    body = graphc.parse("graph f(%x: f64[n]) -> f64[n] { %y: f64[n] = sin(%x) return %y }")
    monkeypatch.setitem(TABLE, "apply", dataclasses.replace(TABLE["concatenate"], name="apply"))
    graph = body.copy()
    graph.add_node(1, **{**body.nodes[1], "op": "apply", "attrs": (("body", body),)})
    found = cost(graph)
    assert found.unknown == ("apply",)
    assert "not counted: apply" in str(found)
    assert (found.total.flops, found.total.written) == (0, 8 * n)


def test_python_code_in_a_graph_is_not_counted() -> None:
    def f(x: Any) -> Any:
        graphc.debug_print("{}", x)
        return graphc.pure_callback(np.cbrt, "f64[3]", x) + 1

    found = cost(f, "f64[3]")
    assert found.unknown == ("pure_callback",)
    assert found.total.flops == 3


def test_the_table(golden: Any) -> None:
    graph = graphc.trace(softmax_loss, "f64[k,m]", "f64[n,k]", "f64[n,m]")
    for name, sizes in (("symbolic", {}), ("numbers", {"n": 1000, "m": 10, "k": 784})):
        golden(f"cost/{name}", re.sub(r"(test_cost\.py):[0-9]+", r"\1:LINE", str(cost(graph, **sizes))))


def test_json() -> None:
    content = json.loads(cost(graphc.grad(softmax_loss), "f64[k,m]", "f64[n,k]", "f64[n,m]").to_json())
    assert content["by_op"]["tanh"]["flops"] == "m*n"
    assert content["total"]["nodes"] == sum(row["nodes"] for row in content["by_line"])
    assert {line["derivative"] for line in content["by_line"]} == {True, False}


@pytest.mark.parametrize(
    ("above", "below", "text", "value"),
    [
        (6 * n * m, 24 * n, "m/4", None),
        (6 * n, 24 * n, "1/4", 0.25),
        (3, 24, "0.125", 0.125),
        (2 * n, n, "2", 2.0),
        (10 * n + 1, 96 * n + 80, "(10*n+1)/(96*n+80)", None),
        (0, 8 * n, "0", 0.0),
        (5, 0, "none moved", None),
        (2 * n * n, 8 * n + 8 * n * m, "n/(4*m+4)", None),
        (n // 2, 8 * (n // 2), "1/8", 0.125),
    ],
)
def test_ratios(above: Any, below: Any, text: str, value: float | None) -> None:
    ratio = Ratio(above, below)
    assert (str(ratio), ratio.value) == (text, value)


def test_what_cannot_be_counted() -> None:
    with pytest.raises(TraceError, match=r"(?s)a str is nothing.*a function and its specs"):
        cost("loss")  # type: ignore[arg-type]
    with pytest.raises(TraceError, match="has its types already"):
        cost(graphc.trace(np.sin, "f64[n]"), "f64[n]")
    with pytest.raises(ShapeError, match=r"(?s)no size called N.*expected  k, n"):
        cost(graphc.trace(np.matmul, "f64[n,k]", "f64[k,2]"), N=5)
    with pytest.raises(ShapeError, match=r"(?s)size n: not a size.*-5"):
        cost(graphc.trace(np.sin, "f64[n]"), n=-5)
    with pytest.raises(ShapeError, match="all are numbers"):
        cost(graphc.trace(np.sin, "f64[n]"), n=5).at(n=6)


def test_formulas_too_long_ask_for_sizes() -> None:
    graph = graphc.trace(lambda *arrays: [a * a for a in arrays], *(f"f64[n{i}]" for i in range(300)))
    with pytest.raises(UnsupportedError, match=r"(?s)too long.*give the sizes"):
        cost(graph)
    assert cost(graph, **{f"n{i}": 10 for i in range(300)}).total.mul == 3000
    # what most of the sizes are is enough
    assert dims.symbols(cost(graph, **{f"n{i}": 10 for i in range(1, 300)}).total.mul) == {"n0"}


def test_no_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes beyond any memory are counted like others."""
    found = cost(lambda x: np.sum(np.sin(x)), "f64[n]", n=10**15)
    assert found.total.flops == 2 * 10**15


def test_kernels_say_how_many_threads_they_are_worth() -> None:
    def f(x: Any) -> Any:
        return np.exp(x), np.sum(x * x), np.cumsum(np.sum(x, axis=0))

    found = cost(graphc.compile(f, "f64[n,m]"))
    assert [load.threads for load in found.kernels] == [None] * len(found.kernels)
    assert "if much  exp" in str(found)
    small, large = found.at(n=10, m=10), found.at(n=4000, m=1000)
    assert [load.threads for load in small.kernels] == [1] * len(small.kernels)
    counts = {load.ops[0]: load.threads for load in large.kernels}
    assert counts["exp"] is not None
    assert counts["exp"] > 30
    assert f"up to {counts['exp']:,}" in str(large)
    assert all(load.threads <= load.parts for load in large.kernels if load.threads is not None)
    assert json.loads(large.to_json())["kernels"][0]["threads"] == large.kernels[0].threads
    assert cost(found_graph := graphc.trace(f, "f64[n,m]")).kernels == ()
    assert "by kernel" not in str(cost(found_graph))


@pytest.mark.parametrize(
    ("function", "spec", "threads"),
    [
        (lambda x: np.sum(x, axis=0), "f64[10000000,20]", 128),  # rows are cut
        (lambda x: np.sum(x, axis=0), "f64[10000,1000]", 2),  # columns are
        (lambda x: np.sum(x), "f64[10000000]", 26),
        (lambda x: np.sum(x), "f64[100000000]", 128),
        (lambda x: np.exp(x), "f64[3,5000000]", 240),
        (lambda x: np.exp(x) + np.arange(3.0)[:, None], "f64[3,5000000]", 260),  # its first loop has three points
        (lambda x: np.sum(np.exp(x), axis=2) + np.arange(50.0), "f64[3,50,100000]", 50),
        (lambda x: np.exp(x), "f64[1000]", 1),
    ],
)
def test_threads_are_no_more_than_parts(function: Any, spec: str, threads: int) -> None:
    (load,) = cost(graphc.compile(function, spec)).kernels
    assert load.threads == threads


def test_parts_of_columns_are_known_once_the_sizes_are() -> None:
    (load,) = cost(graphc.compile(lambda x: np.sum(x, axis=0), "f64[n,m]")).kernels
    assert load.threads is None
    assert load.at(n=1_000_000, m=10).parts == 128
    assert load.at(n=10_000, m=1000).parts == 2
    assert load.at(n=0, m=0).threads == 1
