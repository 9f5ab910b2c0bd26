"""How long tracing, differentiating and all passes take as graphs grow, beside networkx's own cost.

Programs: the chain `x = sin(x) * x`, and random DAGs, from 100 to 10,000 ops; as written, with `grad`, and with
`grad` of `grad`. Prints a table and the exponent of growth, and writes `compile_time.json` and `compile_time.png`.

    python benchmarks/compile_time.py [--quick] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

import graphc
from graphc.ir import Builder, Graph
from graphc.passes import pipeline
from graphc.passes.plan import plan

SIZES = (100, 300, 1000, 3000, 10_000)
BINARY = (np.add, np.multiply, np.maximum, np.hypot)
UNARY = (np.sin, np.tanh, np.exp, np.negative, np.sqrt)


def chain(ops: int) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        for _ in range(ops // 2):
            x = np.sin(x) * x
        return x

    return f


def random_dag(ops: int) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        draw = random.Random(ops)
        values = [x, x + 1.0]
        while len(values) < ops:
            if draw.random() < 0.5:
                values.append(draw.choice(UNARY)(draw.choice(values[-20:])))
            else:
                values.append(draw.choice(BINARY)(draw.choice(values[-20:]), draw.choice(values[-20:])))
        return sum(values[-20:])

    return f


PROGRAMS = {"chain": chain, "random": random_dag}
ORDERS: dict[str, Callable[[Any], Any]] = {
    "forward": lambda f: f,
    "grad": graphc.grad,
    "grad of grad": lambda f: graphc.grad(graphc.grad(f)),
}


class EmittedNodes:
    """Counts the nodes of every graph under construction while active."""

    def __enter__(self) -> EmittedNodes:
        self.count = 0
        self._finish = Builder.finish

        def finish(builder: Builder, *args: Any, **kwargs: Any) -> Graph:
            self.count += len(builder.nodes)
            return self._finish(builder, *args, **kwargs)

        Builder.finish = finish  # type: ignore[method-assign,assignment]
        return self

    def __exit__(self, *_: object) -> None:
        Builder.finish = self._finish  # type: ignore[method-assign]


def measure(f: Callable[[Any], Any]) -> dict[str, float]:
    """Seconds for tracing (with its derivatives), all passes, planning and lowering; nodes emitted on the way."""
    with EmittedNodes() as emitted:
        t0 = time.perf_counter()
        graph = graphc.trace(f, "f64[]")
        t1 = time.perf_counter()
        optimised = pipeline.run(graph, pipeline.PIPELINE)[-1].graph
        t2 = time.perf_counter()
    plan(optimised)
    t3 = time.perf_counter()
    return {
        "trace": t1 - t0,
        "passes": t2 - t1,
        "plan": t3 - t2,
        "total": t3 - t0,
        "emitted": emitted.count,
        "nodes": len(optimised),
        "networkx": networkx_cost(optimised) * emitted.count,
    }


def networkx_cost(graph: Graph) -> float:
    """Seconds per node for networkx to build a graph of the same nodes and edges, and to copy it."""
    nodes = [(i, dict(data)) for i, data in graph.nodes(data=True)]
    edges = list(graph.edges)
    t0 = time.perf_counter()
    built: nx.DiGraph[int] = nx.DiGraph()
    for i, data in nodes:
        built.add_node(i, **data)
    for a, b in edges:
        built.add_edge(a, b)
    built.copy()
    return (time.perf_counter() - t0) / len(nodes)


def run(sizes: tuple[int, ...], repeats: int) -> list[dict[str, Any]]:
    rows = []
    for size in sizes:
        for program, make in PROGRAMS.items():
            for order, transform in ORDERS.items():
                runs = [
                    measure(transform(make(size))) for _ in range(repeats if size < 10_000 else max(1, repeats // 2))
                ]
                row = {key: statistics.median(r[key] for r in runs) for key in runs[0]}
                rows.append({"program": program, "order": order, "ops": size, **row})
                ratio = row["total"] / row["networkx"]
                print(
                    f"{program:8} {order:13} {size:6} ops  {row['nodes']:7.0f} nodes  trace {row['trace']:7.3f} s"
                    f"  passes {row['passes']:7.3f} s  total {row['total']:7.3f} s  {ratio:5.2f} x networkx",
                    flush=True,
                )
    return rows


def exponents(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The slope of log time against log ops, by least squares, for each curve."""
    result = {}
    for program in PROGRAMS:
        for order in ORDERS:
            curve = [r for r in rows if r["program"] == program and r["order"] == order]
            slope, _ = np.polyfit(np.log([r["ops"] for r in curve]), np.log([r["total"] for r in curve]), 1)
            result[f"{program}, {order}"] = float(slope)
    return result


def plot(rows: list[dict[str, Any]], slopes: dict[str, float], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    for program, colour in zip(PROGRAMS, ("tab:blue", "tab:orange"), strict=True):
        for order, style in zip(ORDERS, (":", "--", "-"), strict=True):
            curve = [r for r in rows if r["program"] == program and r["order"] == order]
            label = f"{program}, {order}: exponent {slopes[f'{program}, {order}']:.2f}"
            axes.loglog(
                [r["ops"] for r in curve],
                [r["total"] for r in curve],
                style,
                marker="o",
                color=colour,
                label=label,
            )
    axes.set(
        xlabel="ops in the program",
        ylabel="seconds: trace, derivatives, all passes, plan",
        title="graphc compile time",
    )
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="up to 3,000 ops, one run each")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the results")
    options = parser.parse_args()
    rows = run(SIZES[:-1] if options.quick else SIZES, 1 if options.quick else 3)
    slopes = exponents(rows)
    for curve, slope in slopes.items():
        print(f"{curve:24} grows as ops ** {slope:.2f}")
    options.out.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "networkx": nx.__version__}
    report = {"machine": machine, "rows": rows, "exponents": slopes}
    (options.out / "compile_time.json").write_text(json.dumps(report, indent=1))
    plot(rows, slopes, options.out / "compile_time.png")


if __name__ == "__main__":
    main()
