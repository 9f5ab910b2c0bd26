"""Fusion: which nodes run together, that they may, and why others do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.ir import Graph
from graphc.passes.fuse import fuse
from graphc.passes.groups import Fusion
from graphc.passes.plan import plan
from graphc.passes.reading import VIEWS


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def layernorm(x: Any, g: Any, b: Any) -> Any:
    m = np.mean(x, -1, keepdims=True)
    v = np.mean((x - m) ** 2, -1, keepdims=True)
    return (x - m) / np.sqrt(v + 1e-5) * g + b


def mlp(x: Any, w1: Any, b1: Any, w2: Any) -> Any:
    return np.mean((np.tanh(x @ w1 + b1) @ w2) ** 2)


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "softmax": (softmax, ("f32[n,m]",)),
    "layernorm": (layernorm, ("f32[n,m]", "f32[m]", "f32[m]")),
    "gradient of layernorm": (
        graphc.grad(lambda x, g, b: np.sum(layernorm(x, g, b) ** 3), (0, 1, 2)),
        ("f64[8,16]", "f64[16]", "f64[16]"),
    ),
    "network": (graphc.grad(mlp, (1, 2, 3)), ("f64[20,3]", "f64[3,5]", "f64[5]", "f64[5,2]")),
    "columns": (lambda x: (x - x.mean(0)) / x.std(0), ("f64[n,m]",)),
    "two directions": (lambda x: (np.exp(x).sum(0), np.exp(x).sum(1)), ("f64[n,m]",)),
    "beside": (lambda x: (x.sum(), (x * x).sum(), np.abs(x).max()), ("f64[n]",)),
    "transposed": (lambda x: np.exp(x) + np.exp(x).T, ("f64[n,n]",)),
    "through a product": (lambda x: np.exp(x) + np.exp(x) @ np.exp(x), ("f64[n,n]",)),
    "stencil": (lambda u: u[1:-1] + 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2]), ("f64[1000]",)),
    "scalars": (lambda x, t: x * (1 - 0.9**t) / np.sqrt(t), ("f64[n]", "f64[]")),
    "half precision": (lambda x: np.exp(x) * 2 + 1, ("f16[n]",)),
}


def fused(name: str) -> tuple[Graph, Fusion]:
    f, specs = PROGRAMS[name]
    graph = graphc.compile(f, *specs, kernels="ufunc").plan.graph
    return graph, fuse(graph)


@pytest.mark.parametrize("name", PROGRAMS)
def test_groups(name: str, golden: Callable[[str, str], None]) -> None:
    graph, fusion = fused(name)
    text = graphc.dump(graph, locations=False)
    golden(f"fuse/{name.replace(' ', '_')}", f"{text}\n{fusion}")


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_node_runs_once(name: str) -> None:
    graph, fusion = fused(name)
    grouped = [i for group in fusion.groups for i in group.nodes]
    assert len(grouped) == len(set(grouped))
    steps = plan(graph, groups=fusion.groups).steps
    run = [i for step in steps for i in step.nodes]
    assert len(run) == len(set(run))
    assert set(grouped) <= set(run)
    assert set(graph.outputs) <= {*run, *graph.inputs}


@pytest.mark.parametrize("name", PROGRAMS)
def test_steps_come_after_what_they_read(name: str) -> None:
    graph, fusion = fused(name)
    nodes = graph._node
    there = {i for i, data in nodes.items() if data["op"] in ("input", "const")}
    for step in plan(graph, groups=fusion.groups).steps:
        reads = step.kernel.roots if step.kernel is not None else nodes[step.nodes[0]]["args"]
        assert set(reads) <= there
        there.update(step.results)


def test_forgetting_the_groups_gives_the_graph_back() -> None:
    for name in PROGRAMS:
        graph, fusion = fused(name)
        assert fusion.graph is graph
        with_kernels = graphc.compile(*PROGRAMS[name][:1], *PROGRAMS[name][1], kernels="ufunc")
        assert with_kernels.plan.graph == graph


def test_explain() -> None:
    graph, fusion = fused("through a product")
    nodes = graph._node
    (product,) = (i for i, d in nodes.items() if d["op"] == "matmul")
    (total,) = (i for i, d in nodes.items() if d["op"] == "add")
    (power,) = (i for i, d in nodes.items() if d["op"] == "exp")
    assert fusion.explain(power, total) == "another step between the two needs the kernel's results first"
    assert fusion.explain(product, total) == "they are not neighbours that kernels could join"
    assert fusion.explain("%1", "%3") == fusion.explain(power, total)
    with pytest.raises(graphc.errors.IRError, match=r"no node %77\n(.*\n)*.*fix .*f\.graph"):
        fusion.explain("%77", "%1")
    graph, fusion = fused("softmax")
    exp, div = (next(i for i, d in graph._node.items() if d["op"] == op) for op in ("exp", "div"))
    assert fusion.explain(exp, div) == "they run in one kernel"
    plain = graphc.compile(lambda x: np.exp(x) + 1, "f64[n]", kernels="none").fusion
    assert plain.explain("%1", "%2") == "nothing is fused: the function was compiled without kernels"


def test_a_pair_kept_apart_is_listed_once() -> None:
    def weights(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        e = np.exp(x)
        share = e / np.sum(e, axis=1, keepdims=True)
        total = np.sum(share, axis=0)
        return share, total * total  # which reads the other kernel's result twice

    f = graphc.compile(weights, "f64[64,5]")
    lines = str(f.fusion).splitlines()
    assert any("apart" in line for line in lines)
    assert len(set(lines)) == len(lines)


def test_sums_in_two_directions_are_one_kernel() -> None:
    _, fusion = fused("two directions")
    (group,) = fusion.groups
    assert len(group.across) == 1


def test_sums_in_three_directions_are_not() -> None:
    f = lambda x: (np.exp(x).sum(0), np.exp(x).sum(1), np.exp(x).sum(2))  # noqa: E731
    compiled = graphc.compile(f, "f64[n,m,k]")
    assert len(compiled.fusion.groups) == 3
    assert any("folds over other loops" in r.why for r in compiled.fusion.refusals)
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    for actual, expected in zip(compiled(x), f(x), strict=True):
        np.testing.assert_allclose(actual, expected)


def test_long_chains_are_cut() -> None:
    def chain(x: Any) -> Any:
        for k in range(1000):
            x = x * 1.5 + k
        return x

    compiled = graphc.compile(chain, "f64[3]")
    assert len(compiled.fusion.groups) > 1
    np.testing.assert_allclose(compiled(np.zeros(3)), chain(np.zeros(3)), rtol=1e-12)


def test_a_view_that_only_kernels_read_is_not_run() -> None:
    compiled = graphc.compile(lambda x: np.exp(x.T) + 1, "f64[n,m]")
    assert [step.kernel is not None for step in compiled.plan.steps] == [True]
    assert any(d["op"] in VIEWS for d in compiled.plan.graph._node.values())


def test_one_cheap_operation_stays_numpys_where_numpy_is_called_anyway() -> None:
    assert graphc.compile(lambda x: x + 1, "f64[n]", kernels="ufunc").fusion.groups == ()
    assert graphc.compile(lambda x: np.sort(x) + 1, "f64[n]").fusion.groups == ()
    assert len(graphc.compile(lambda x: x + 1, "f64[n]", kernels="llvm").fusion.groups) == 1
    assert len(graphc.compile(np.exp, "f64[n]").fusion.groups) == 1


def test_exact_order_fuses_nothing() -> None:
    assert graphc.compile(softmax, "f64[n,m]", exact_order=True).fusion.groups == ()


def test_an_operand_that_dies_is_overwritten() -> None:
    compiled = graphc.compile(lambda x: np.tanh(np.sort(x)) * 2, "f64[n]", kernels="ufunc")
    (kernel,) = (step for step in compiled.plan.steps if step.kernel is not None)
    assert list(kernel.into.values()) == list(kernel.kernel.roots)
    x = np.random.default_rng(0).normal(size=9)
    np.testing.assert_allclose(compiled(x), np.tanh(np.sort(x)) * 2)


def test_an_unknown_generator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(graphc.errors.UnsupportedError, match="no kernel generator called 'cuda'"):
        graphc.compile(np.exp, "f64[n]", kernels="cuda")
    monkeypatch.setenv("GRAPHC_KERNELS", "none")
    assert graphc.compile(np.exp, "f64[n]").fusion.groups == ()
    monkeypatch.setenv("GRAPHC_KERNELS", "cuda")
    with pytest.raises(graphc.errors.UnsupportedError, match="the variable GRAPHC_KERNELS is 'cuda'"):
        graphc.compile(np.exp, "f64[n]")
