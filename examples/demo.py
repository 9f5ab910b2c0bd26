"""graphc in a minute: trace a network, differentiate it, optimise the graph, prove the gradient, train.

python examples/demo.py [FOLDER]     pictures go to FOLDER, by default out/
"""

import sys
import time
from pathlib import Path

import exponential
import numpy as np
from rich.console import Console
from rich.table import Table

import graphc
from graphc.inspection import draw

SMALL = {"l1": {"W": "f32[4,1]", "b": "f32[4]"}, "l2": {"W": "f32[1,4]", "b": "f32[1]"}}

console = Console(highlight=False)


def heading(number, text):
    console.print(f"\n[bold]{number}. {text}[/bold]\n", soft_wrap=True)


def show(text):
    """Print text as it is, long lines too."""
    console.print(text, markup=False, soft_wrap=True)


def trace():
    heading(1, "Plain NumPy code, traced for any batch size n: a typed graph that says where each line comes from")
    graph = graphc.trace(exponential.loss, SMALL, "f32[n,1]", "f32[n,1]")
    show(str(graph))
    return graph


def differentiate(folder):
    heading(2, "Its value and gradient: more graph, then the passes")
    compiled = graphc.compile(graphc.value_and_grad(exponential.loss), SMALL, "f32[n,1]", "f32[n,1]")
    table = Table("pass", "nodes after", "applied", box=None, pad_edge=False)
    table.add_row("(as traced)", str(len(compiled.graph)), "")
    for step in compiled.passes:
        applied = "\n".join(f"{count} × {name}" for name, count in step.applied.items())
        table.add_row(step.name, str(len(step.graph)), applied)
    console.print(table)
    final = compiled.passes[-1].graph
    console.print("\nafter the passes (from=%k: derived from node k):\n")
    show(str(final))
    draw(final, folder / "demo_graph.png", title="value and gradient of the small network's loss")
    console.print(
        f"\npicture: {folder}/demo_graph.png; the most memory a batch of 100 needs: {compiled.memory(n=100):,} bytes"
    )


def verify():
    heading(3, "Every partial derivative of it, checked against exact mathematics, not against our own rules")
    report = graphc.verify(exponential.loss, SMALL, "f32[n,1]", "f32[n,1]", order=1)
    show(str(report))


def stabilise():
    heading(4, "Naive formulas survive, and so do their derivatives")
    x = np.array([-1000.0, 0.0, 1000.0])
    softplus = graphc.compile(lambda x: np.log(1 + np.exp(x)), "f64[n]")
    slope = graphc.grad(lambda x: np.sum(np.log(1 + np.exp(x))))
    with np.errstate(over="ignore"):
        console.print(f"x                    {x}")
        console.print(f"NumPy                {np.log(1 + np.exp(x))}")
        console.print(f"graphc               {softplus(x)}")
        console.print(f"graphc's derivative  {slope(x)}")


def train(folder):
    heading(5, "Training: forward, backward and the Adam update are one compiled function")
    exponential.main(folder)


def main(folder="out"):
    start = time.perf_counter()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    trace()
    differentiate(folder)
    verify()
    stabilise()
    train(folder)
    console.print(f"\n[bold]done in {time.perf_counter() - start:.1f} s[/bold]")


if __name__ == "__main__":
    main(*sys.argv[1:])
