"""The verification tool: right derivatives are proved, wrong ones refuted and located, edges audited."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special
import sympy as sp

import graphc
from graphc.backends.exact import reals as reals_module
from graphc.errors import DifferentiationError, GuardError, TraceError
from graphc.ops import TABLE
from graphc.ops.record import Linear, Masked, Multilinear, Partials
from graphc.verification import Entry, Report, verify
from graphc.verification.edges import judge
from graphc.verification.limits import Limits
from graphc.verification.rules import installed
from graphc.verification.zero import OutOfTime, limited


def mlp(activation: Callable[[Any], Any]) -> Callable[..., Any]:
    def loss(x: Any, w1: Any, b1: Any, w2: Any, b2: Any, t: Any) -> Any:
        error = activation(x @ w1 + b1) @ w2 + b2 - t
        return np.mean(error * error)

    return loss


def cross_entropy(z: Any, t: Any) -> Any:
    s = z - np.max(z)
    return -np.sum(t * (s - np.log(np.sum(np.exp(s)))))


def layer_norm(x: Any, gain: Any, bias: Any) -> Any:
    c = x - np.mean(x)
    return c / np.sqrt(np.mean(c * c) + 1e-5) * gain + bias


MLP = ("f64[1,2]", "f64[2,3]", "f64[3]", "f64[3,1]", "f64[1]", "f64[1,1]")
PROGRAMS: dict[str, tuple[Any, ...]] = {
    "mlp tanh": (mlp(np.tanh), *MLP),
    "mlp relu": (mlp(lambda v: np.maximum(v, 0)), *MLP),
    "cross-entropy": (cross_entropy, "f64[3]", "f64[3]"),
    "layer norm": (layer_norm, "f64[3]", "f64[3]", "f64[3]"),
    "batched": (lambda x, w: np.sum(np.sin(x @ w), axis=0), "f64[n,2]", "f64[2]"),
    "norm": (lambda x: np.sqrt(np.sum(x * x)), "f64[n]"),
    "guarded log": (lambda x: np.where(x > 0, np.log(x), 0), "f64[2]"),
    "positive domain": (lambda x, y: np.log(x) * np.sqrt(y) ** x, "f64[]", "f64[]"),
    "labels": (lambda z, i: z[i] - np.log(np.sum(np.exp(z))), "f64[2]", "i64[2]"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_right_derivatives_are_proved_or_certified(name: str) -> None:
    fn, *specs = PROGRAMS[name]
    started = time.process_time()
    report = verify(fn, *specs, budget=4.0)
    assert report.verdict in ("proved", "certified"), str(report)
    assert report.exit_code == 0
    assert {entry.order for entry in report.entries} == {1, 2}
    assert time.process_time() - started < 30


def test_small_derivatives_are_proved() -> None:
    report = verify(lambda x, y: np.exp(x * y) / (1 + x * x), "f64[]", "f64[]")
    assert [entry.verdict for entry in report.entries] == ["proved"] * 5
    assert [entry.name for entry in report.entries] == [
        "d y / dx",
        "d y / dy",
        "d2 y / dx dx",
        "d2 y / dx dy",
        "d2 y / dy dy",
    ]
    assert all("SymPy" in entry.method and "GF(2^61-1)" in entry.method for entry in report.entries)


def test_kinked_graphs_are_proved_cell_by_cell() -> None:
    report = verify(lambda x: np.sum(np.abs(x) * np.maximum(x, 0.5)), "f64[3]")
    assert report.verdict == "proved"
    assert "cells" in report.entries[0].method


@pytest.mark.parametrize(
    ("fn", "count"),
    [
        (lambda x: np.where(x > 100, x**2, x), 2),
        (lambda x: np.where(x > 1e9, x**2, x), 2),
        (lambda x: np.where(np.abs(x) < 1e-9, x**2, x), 3),
        (lambda x: np.where(np.abs(x - 77.7) < 1e-7, x**2, np.sin(x)), 3),
        (lambda x: np.where(x > 1, np.log(x), x - 1), 2),
        (lambda x: np.clip(x, -1, 1), 3),
        (lambda x: np.clip(x, 500, 501), 3),
    ],
)
def test_every_branch_has_a_sample_point(fn: Callable[[Any], Any], count: int) -> None:
    report = verify(fn, "f64[]", order=1)
    assert report.verdict == "proved", str(report)
    cells = re.search(r"in (\d+) cells", report.entries[0].method)
    assert cells is not None
    assert int(cells[1]) >= count
    assert report.notes == ()


def test_a_wrong_branch_far_out_is_refuted() -> None:
    wrong = Partials(lambda w, y, x: 1 - y)
    with installed(dataclasses.replace(TABLE["tanh"], rule=wrong)):
        report = verify(lambda x: np.where(x > 300, np.tanh(x - 301), x), "f64[]", order=1)
    assert report.entries[0].verdict == "refuted", str(report)


def test_a_branch_that_is_never_seen_is_said_and_not_proved() -> None:
    def fn(x: Any, y: Any) -> Any:
        return {"a": np.where(np.sin(x) + np.cos(x) > 1.8, x, 0), "b": x * y}

    report = verify(fn, "f64[]", "f64[]", order=1)
    assert report.verdict == "checked"
    assert report.exit_code == 2
    assert [entry.verdict for entry in report.entries if entry.output == "y1"] == ["proved", "proved"]
    (capped,) = (entry for entry in report.entries if entry.output == "y0" and entry.inputs == ("x",))
    assert "only on the cells seen: gt at test_verify.py" in capped.method
    assert "never seen true" in capped.method
    assert any("never seen true" in note and "np.cos(x) > 1.8" in note for note in report.notes)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: np.where(x * x + 1 > 0, x, 2 * x),
        lambda x: np.where(np.isnan(x), 0, x),
        lambda x: np.where(x == 0, 1, np.sin(x) / np.where(x == 0, 1, x)),
        lambda x: np.maximum(np.exp(x), -1),
        lambda x: np.where(np.arange(2) < 1, x, x * x),
    ],
)
def test_an_outcome_that_is_impossible_or_a_tie_needs_no_point(fn: Callable[[Any], Any]) -> None:
    report = verify(fn, "f64[]", order=1)
    assert report.verdict == "proved", str(report)


def test_one_cell_is_not_cells() -> None:
    method = verify(lambda x: np.where(x * x + 1 > 0, x, 2 * x), "f64[]", order=1).entries[0].method
    assert "in 1 cell;" in method


# --- planted wrong rules -------------------------------------------------------------------------------------


def loss(x: Any, w: Any) -> Any:
    h = np.tanh(x @ w)
    z = np.exp(h)
    s = np.sum(z) / np.sqrt(np.sum(x * x) + 1)
    return np.log(s) + np.sum(np.maximum(h, 0)) + np.mean(np.sin(h))


def sum_twice(w: Any, ct: Any, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> tuple[Any]:
    return (2 * w.expand(ct, axes, x.shape, keepdims),)


def turned(w: Any, x: Any) -> Any:
    return w.transpose(x, perm=(1, 0))


WRONG: dict[str, tuple[str, Any, str]] = {
    "tanh": ("tanh", Partials(lambda w, y, x: 1 - y), "h = np.tanh(x @ w)"),
    "tanh off by 1e-18": (
        "tanh",
        Partials(lambda w, y, x: (1 - y * y) * (1 + w.constant(2.0**-30, x.dtype) * w.constant(2.0**-30, x.dtype))),
        "h = np.tanh(x @ w)",
    ),
    "exp doubled": ("exp", Partials(lambda w, y, x: 2 * y), "z = np.exp(h)"),
    "sqrt halved": ("sqrt", Partials(lambda w, y, x: 0.25 / y), "s = np.sum(z) / np.sqrt(np.sum(x * x) + 1)"),
    "log negated": ("log", Partials(lambda w, y, x: -1 / x), "return np.log(s)"),
    "sin": ("sin", Partials(lambda w, y, x: -w.cos(x)), "np.mean(np.sin(h))"),
    "div": ("div", Partials(lambda w, y, a, b: 1 / b, lambda w, y, a, b: y / b), "s = np.sum(z) / np.sqrt"),
    "mul": ("mul", Partials(lambda w, y, a, b: b, lambda w, y, a, b: 2 * a), "np.sum(x * x)"),
    "maximum": (
        "maximum",
        Partials(lambda w, y, a, b: Masked(a <= b, 1), lambda w, y, a, b: Masked(b > a, 1)),
        "np.maximum(h, 0)",
    ),
    "reduce_sum": ("reduce_sum", Linear(None, sum_twice), "s = np.sum(z)"),
    "matmul": (
        "matmul",
        Multilinear(lambda w, ct, a, b: w.matmul(ct, turned(w, b)), lambda w, ct, a, b: -w.matmul(turned(w, a), ct)),
        "h = np.tanh(x @ w)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_refuted_and_located(name: str) -> None:
    op, rule, line = WRONG[name]
    with installed(dataclasses.replace(TABLE[op], rule=rule)):
        report = verify(loss, "f64[2,2]", "f64[2,3]", budget=0, edges=False)
    assert report.verdict == "refuted"
    assert report.exit_code == 1
    refuted = [entry for entry in report.entries if entry.verdict == "refuted"]
    assert refuted[0].witness is not None
    assert refuted[0].witness.difference != 0
    blamed = {blame.op for entry in refuted for blame in entry.blame}
    assert op in blamed
    assert any(line in blame.source for entry in refuted for blame in entry.blame if blame.op == op)
    assert blamed == {op}
    assert "witness" in str(report)
    assert "test_verify.py" in str(report)


def test_a_right_program_is_not_refuted_by_the_same_means() -> None:
    report = verify(loss, "f64[2,2]", "f64[2,3]", budget=0)
    assert report.verdict == "certified", str(report)


def test_a_mask_that_is_dropped_is_refuted_at_the_edge() -> None:
    by_value = Linear((1, 2), lambda w, ct, c, x, y: (None, w.select(c, ct, 0), w.select(c, w.full(0, ct.type), ct)))
    fn = PROGRAMS["guarded log"][0]
    with installed(dataclasses.replace(TABLE["where"], rule=by_value)):
        report = verify(fn, "f64[2]")
    assert report.verdict == "refuted"
    assert [entry.verdict for entry in report.entries] == ["proved", "proved"]
    assert any(np.isnan(edge.found) and edge.finding == "refuted" for edge in report.edges)


def test_a_float_constant_is_no_refutation() -> None:
    rounded = Partials(lambda w, y, x: 1.1283791670955126 * w.exp(-(x * x)))
    with installed(dataclasses.replace(TABLE["erf"], rule=rounded)):
        report = verify(scipy.special.erf, "f64[]")
    assert report.verdict == "certified"
    assert all(entry.label == "certified to float constants" for entry in report.entries)
    off = Partials(lambda w, y, x: 1.12837916710 * w.exp(-(x * x)))
    with installed(dataclasses.replace(TABLE["erf"], rule=off)):
        assert verify(scipy.special.erf, "f64[]").verdict == "refuted"


# --- edges ---------------------------------------------------------------------------------------------------


def test_kinks_on_the_way_are_found_and_audited() -> None:
    report = verify(lambda x: np.maximum(3 * x - 0.75, 0), "f64[1]")
    kinks = [edge for edge in report.edges if edge.why == "maximum on its kink"]
    assert kinks
    assert kinks[0].point == {"x": [0.25]}
    assert kinks[0].limits == "0 | 3"
    assert kinks[0].found == 1.5
    assert kinks[0].finding == "convention"


def test_a_smooth_product_with_a_kinked_factor_passes_the_audit() -> None:
    # the kink of |x| at 0 is multiplied by x: the derivative there is 1
    report = verify(lambda x: np.exp(-np.sqrt(x * x)) * x, "f64[]")
    assert report.verdict in ("proved", "certified"), str(report)


@pytest.mark.parametrize(
    ("fn", "spec", "at"),
    [
        (lambda x: np.sqrt((x - 2) ** 4), "f64[]", 2.0),
        (lambda x: np.where(x > 100, np.sqrt((x - 200) ** 4), x), "f64[]", 200.0),
        (lambda x: np.sqrt((3 * x - 1) ** 4), "f64[]", 1 / 3),
        (lambda x: np.sqrt(np.sum((x - np.array([7.0, -40.0])) ** 4)), "f64[2]", [7.0, -40.0]),
    ],
)
def test_nan_at_a_touching_root_away_from_0_is_refuted(fn: Callable[[Any], Any], spec: str, at: Any) -> None:
    report = verify(fn, spec, order=1)
    assert report.verdict == "refuted", str(report)
    wrong = [edge for edge in report.edges if edge.finding == "refuted"]
    assert any(edge.point == {"x": at} and np.isnan(edge.found) for edge in wrong)
    assert wrong[0].limits == "0"


def test_a_tie_by_rounding_is_no_fault() -> None:
    assert verify(lambda x: np.maximum(3 * x - 1, 0), "f64[]", order=1).verdict == "proved"


def test_a_limit_of_0_is_printed_as_0() -> None:
    assert str(Limits(-8.13152e-20, 8.13152e-20)) == "0"
    assert str(Limits(-1.0, 8.13152e-20)) == "-1 | 0"


@pytest.mark.parametrize(
    ("found", "below", "above", "both", "finding"),
    [
        (1.0, 1.0, 1.0, 1.0, "agrees"),
        (0.0, -1.0, 1.0, None, "convention"),
        (float("nan"), -1.0, 1.0, None, "undecided"),
        (float("nan"), 1.0, 1.0, 1.0, "refuted"),
        (2.0, 1.0, 1.0, 1.0, "refuted"),
        (float("inf"), None, None, None, "no limit"),
        (float("inf"), 0.0, None, None, "no limit"),
    ],
)
def test_findings(found: float, below: float | None, above: float | None, both: float | None, finding: str) -> None:
    assert judge(found, below, above, both, 2.2e-16) == finding


# --- the tool ------------------------------------------------------------------------------------------------


def test_without_python_flint_nothing_is_certified_that_gf_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reals_module, "have_flint", lambda: False)
    report = verify(lambda x: x ** np.float64(1.5), "f64[]", budget=0, domain="positive")
    assert report.verdict == "checked", str(report)
    assert report.exit_code == 2
    assert "mpmath" in report.entries[0].method
    with installed(dataclasses.replace(TABLE["tanh"], rule=Partials(lambda w, y, x: 1 - y))):
        assert verify(np.tanh, "f64[]", budget=0).verdict == "refuted"


def test_without_python_flint_the_report_says_what_limits_at_edges_need(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "python-flint" not in str(verify(np.abs, "f64[]", order=1))
    monkeypatch.setattr(reals_module, "have_flint", lambda: False)
    report = verify(np.abs, "f64[]", order=1)
    assert report.edges
    assert any("limits at edges need python-flint" in note for note in report.notes)
    assert 'pip install "graphc[verify]"' in str(report)
    assert "python-flint" not in str(verify(np.abs, "f64[]", order=1, edges=False))


def test_an_input_that_nothing_depends_on_is_noted() -> None:
    report = verify(lambda x, y: x * 2, "f64[]", "f64[]", order=1)
    assert report.notes == ("no output depends on y: zeros",)
    assert report.verdict == "proved"


def test_what_has_no_points_is_undecided() -> None:
    report = verify(lambda x: np.log(-x * x - 1), "f64[]", order=1)
    assert report.verdict == "undecided"
    assert report.exit_code == 2


@pytest.mark.parametrize("constant", [np.inf, -np.inf, np.nan, np.array([1.0, np.inf])])
def test_a_constant_without_exact_meaning_is_the_reason_given(constant: Any) -> None:
    report = verify(lambda x: np.where(x > 0, x, constant), "f64[2]", order=1)
    assert report.verdict == "undecided"
    assert "test_verify.py" in report.entries[0].method
    assert report.entries[0].method.startswith("the constant ")
    assert report.entries[0].method.endswith("has no exact meaning")


def test_keyword_arguments_may_have_any_name() -> None:
    def f(x: Any, *, points: Any, f: Any) -> Any:
        return x * points + f

    report = verify(f, "f64[]", kwargs={"points": "f64[]", "f": "f64[]"}, order=1)
    assert report.verdict == "proved", str(report)
    assert [entry.inputs for entry in report.entries] == [("x",), ("f",), ("points",)]


def test_nothing_to_differentiate_is_an_error() -> None:
    with pytest.raises(DifferentiationError, match="nothing to differentiate"):
        verify(lambda n: n + 1, "i64[]")
    with pytest.raises(DifferentiationError, match="argument n is not a float"):
        verify(lambda n, x: n * x, "i64[]", "f64[]", wrt=[0])
    with pytest.raises(DifferentiationError, match="order"):
        verify(np.sin, "f64[]", order=3)


def test_sizes_obey_the_guards() -> None:
    graph = graphc.trace(lambda x, y: np.sum(x * y), "f64[n]", "f64[m]")
    assert graph.guards
    assert verify(graph, order=1).verdict == "proved"
    with pytest.raises(TraceError, match="has its types already"):
        verify(graph, "f64[2]", "f64[2]")
    with pytest.raises(GuardError, match="no small sizes"):
        verify(graph, env={"n": 2, "m": 3})


def test_several_outputs_and_dtypes() -> None:
    report = verify(lambda x, y: {"a": x * y.astype(np.float64), "b": np.sin(y)}, "f64[2]", "f32[2]", order=1)
    assert {entry.output for entry in report.entries} == {"y0", "y1"}
    assert report.verdict == "proved", str(report)


def test_a_report_is_json() -> None:
    report = verify(lambda x: np.where(x > 0, np.log(x), 0), "f64[]", order=1)
    content = json.loads(report.to_json())
    assert content["verdict"] == report.verdict
    assert content["entries"][0]["name"] == "d y / dx"
    assert len(content["edges"]) == len(report.edges)
    json.loads(Report("f", (Entry("y", ("x",), 1, "proved", ""),), (), (), float("nan")).to_json())


def test_proofs_keep_to_their_time() -> None:
    started = time.process_time()
    report = verify(loss, "f64[2,2]", "f64[2,3]", budget=1.0, edges=False)
    assert report.verdict == "certified"
    assert time.process_time() - started < 10
    x = sp.Symbol("x")
    with pytest.raises(OutOfTime), limited(time.thread_time() + 0.05):
        all(sp.expand((x + 1) ** n) for n in range(20, 200))  # some seconds


def test_a_vector_may_have_either_sign() -> None:
    """The sign of an eigenvector is LAPACK's choice, and the exact meaning's another: neither is wrong."""
    for f in (np.linalg.eigh, lambda a: np.linalg.svd(a).Vh):
        report = verify(f, "f64[2,2]")
        assert all(entry.verdict in ("proved", "certified") for entry in report.entries)
        assert not any(edge.finding == "refuted" for edge in report.edges)
