"""The command line: `graphc dump`, `graphc verify`, `graphc run`, `graphc cost`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import graphc
from graphc.cli import arguments, output
from graphc.cli.running import Command, Commands, users_code
from graphc.cli.target import UsageError, load, nearest
from graphc.compiler import Compiled, Options, check_no_captures, flatten, trace_call
from graphc.ir import Graph
from graphc.passes.pipeline import Step
from graphc.text import dump as dump_graph

app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
)

Target = Annotated[str, typer.Argument(metavar="MODULE:FUNCTION", help="As in model:loss or path/model.py:loss.")]
Args = Annotated[
    list[str] | None,
    typer.Option(
        "--args",
        metavar="SPEC...",
        help='One per parameter: a type ("f64[n,3]"), x.npy, data.npz:x, a number, JSON of these, or name=SPEC.',
    ),
]
Grad = Annotated[
    str | None,
    typer.Option(metavar="ARG[/ORDER]", help="Of a derivative: 0 or w, 0,1 for two arguments, 0/2 for second order."),
]
Sizes = Annotated[list[str] | None, typer.Option(metavar="NAME=NUMBER", help="The number behind a named size.")]
ExactOrder = Annotated[bool, typer.Option("--exact-order", help="Leave out what changes rounding.")]
Traceback = Annotated[bool, typer.Option("--traceback", help="Show every call that led to an error.")]


class Format(StrEnum):
    """How a graph is written."""

    text = "text"
    json = "json"
    dot = "dot"


class Fold(StrEnum):
    """What a view folds."""

    function = "function"
    repeat = "repeat"
    all = "all"


@app.callback(invoke_without_command=True)
def _graphc(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """NumPy code compiled to static graphs, with derivatives of any order that can be proved.

    Exit codes: 0 done, 1 an error in the function (or a refuted derivative), 2 a derivative that is only
    checked or stays undecided, 64 a command that cannot be understood.
    """
    if version:
        typer.echo(f"graphc {graphc.__version__}")
        raise typer.Exit


@app.command(cls=Command)
def dump(
    target: Target,
    args: Args = None,
    after: Annotated[str | None, typer.Option(metavar="PASS", help="Show the graph after this pass.")] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show what each pass changed; with --after, all up to it as one.")
    ] = False,
    fmt: Annotated[Format, typer.Option(help="The graph's own text, JSON, or a drawing for Graphviz.")] = Format.text,
    grad: Grad = None,
    fold: Annotated[
        Fold | None, typer.Option(help="A view: calls of functions, what repeats, or both, each in one line.")
    ] = None,
    depth: Annotated[int, typer.Option(min=0, help="How many levels of folds to open.")] = 0,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A view: only this op, function or label; may be repeated.")
    ] = None,
    around: Annotated[str | None, typer.Option(metavar="LABEL", help="A view: only what lies near this node.")] = None,
    radius: Annotated[int, typer.Option(min=0, help="How near, in edges.")] = 2,
    exact_order: ExactOrder = False,
    to: Annotated[str | None, typer.Option("-o", "--output", metavar="FILE", help="Write to a file.")] = None,
    traceback: Traceback = False,
) -> None:
    """Show the graph that a function is traced to.

    \b
    Examples:
      graphc dump model:loss --args "f64[n,3]" "f64[3]"
      graphc dump model.py:loss --args "f64[3]" --grad 0 --after simplify
      graphc dump model:loss --args '{"w": "f64[3]", "b": 0.5}' --diff
      graphc dump model:loss --args "f64[3]" --fmt dot -o loss.dot
      graphc dump model:loss --args "f64[n,3]" "f64[3]" --grad 0 --fold all --depth 1
      graphc dump model:loss --args "f64[n,3]" "f64[3]" --around %h --radius 1
    """  # noqa: D301  click reads the backspace: keep these lines as they are
    if diff and fmt is not Format.text:
        raise UsageError(
            "a diff is text", expected="--fmt text", actual=f"--fmt {fmt.value}", fix="leave out --diff or --fmt"
        )
    views = {"fold": fold.value if fold is not None else None, "only": only or None, "around": around}
    used = [f"--{name}" for name, value in views.items() if value is not None]
    if used and (diff or fmt is not Format.text):
        raise UsageError(
            "a view is text, and of one graph",
            expected=f"{used[0]} without --diff, and with --fmt text",
            actual=f"{used[0]} {'--diff' if diff else f'--fmt {fmt.value}'}",
            fix=f"leave out {used[0]} or the other",
        )
    with users_code():
        function = load(target)
        specs, keywords = arguments.read(args or [], function)
        graph = graphc.trace(derivative(function, grad, len(specs)), *specs, **keywords)
        steps: tuple[Step, ...] = ()
        if after is not None or diff:
            steps = graphc.compile(graph, exact_order=exact_order).passes
    if after is not None:
        steps = up_to(after, steps)
    shown = steps[-1].graph if steps else graph
    if diff:
        text = changes(graph, steps, after)
    elif used:
        text = dump_graph(shown, depth=depth, radius=radius, **views)  # type: ignore[arg-type]
    else:
        text = dump_graph(shown, fmt.value)
    output.emit(text, to)


def compiled(function: Any, specs: tuple[Any, ...], keywords: dict[str, Any], exact_order: bool) -> Compiled:
    """The function compiled; its keywords may have the names of `graphc.compile`'s own."""
    out = trace_call(function, specs, keywords)
    check_no_captures(out)
    return Compiled(out.graph, out.in_tree, out.out_tree, Options(exact_order=exact_order))


def derivative(function: Any, text: str | None, count: int) -> Any:
    """The function itself, or the derivative of it that `--grad` names; `count` arguments have a position."""
    if text is None:
        return function
    match = re.fullmatch(r"([\w-]+(?:,[\w-]+)*)(?:/([1-9]))?", text)
    words = match[1].split(",") if match is not None else []
    if match is None or not all(re.fullmatch(r"-?\d+", word) or word.isidentifier() for word in words):
        raise UsageError(
            f"--grad {text}: not a derivative",
            expected="ARG or ARG/ORDER, where ARG is the number or the name of an argument",
            actual=text,
            fix="--grad 0 or --grad 0/2",
        )
    names = arguments.positional(function)[:count]
    numbers = tuple(_position(word, names, count, function) for word in words)
    argnums = numbers if len(numbers) > 1 else numbers[0]
    derived = graphc.grad(function, argnums)
    for _ in range(int(match[2] or 1) - 1):
        derived = graphc.jacfwd(derived, argnums)
    return derived


def _position(word: str, names: list[str], count: int, function: Any) -> int:
    """The position of the argument that a word of `--grad` names."""
    if word in names:
        return names.index(word)
    if not word.isidentifier() and -count <= int(word) < count:
        return int(word)
    called = getattr(function, "__name__", "the function")
    shown = ", ".join(f"{n} ({name})" for n, name in enumerate(names)) if names else f"0 to {count - 1}"
    raise UsageError(
        f"--grad {word}: {called} is given no argument {word} that has a position",
        expected=shown if count else "an argument that has a position",
        actual=word,
        fix="give it a value in --args"
        if count
        else f"only an argument with a position is differentiated: remove the * from the parameters of {called}",
    )


def up_to(name: str, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps up to the last one of this name."""
    names = [step.name for step in steps]
    if name not in names:
        raise UsageError(
            f"there is no pass {name!r}",
            expected=" ".join(names),
            actual=name,
            fix=nearest(name, names) or "leave out --after for the graph as traced",
        )
    return steps[: len(names) - names[::-1].index(name)]


def changes(graph: Graph, steps: tuple[Step, ...], after: str | None) -> str:
    """The diff of every step, or of all of them as one."""
    if after is None:
        return "\n".join(output.diff_steps(graph, steps))
    applied = output.total(steps)
    return "\n".join(output.diff(graph, steps[-1].graph, "as traced", f"after {after}", f"up to {after}", applied))


@app.command(cls=Command)
def verify(
    target: Target,
    args: Args = None,
    order: Annotated[int, typer.Option(min=1, max=2, help="The highest order of derivatives to verify.")] = 2,
    wrt: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only by this input, as the graph names it; may be repeated."),
    ] = None,
    edges: Annotated[bool, typer.Option("--edges/--no-edges", help="Audit kinks, poles, borders, 0, 1 and -1.")] = True,
    domain: Annotated[
        str | None,
        typer.Option(metavar="DOMAIN", help='Where floats are drawn from, as "positive"; else found by trial.'),
    ] = None,
    points: Annotated[int, typer.Option(min=1, help="How many sample points.")] = 3,
    budget: Annotated[float, typer.Option(min=0, help="Seconds of computing that proofs may take.")] = 5.0,
    size: Sizes = None,
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write the report as JSON; - for stdout.")] = None,
    traceback: Traceback = False,
) -> None:
    """Verify the derivatives of a function against exact mathematics.

    Exit code: 0 proved or certified, 1 refuted, 2 checked or undecided.

    \b
    Examples:
      graphc verify model:loss --args "f64[3]"
      graphc verify model.py:loss --args "f64[2,2]" "f64[2]" --order 1 --json report.json
      graphc verify model:price --args "f64[]" "f64[n]" --wrt rate --domain positive --no-edges
    """  # noqa: D301  click reads the backspace: keep these lines as they are
    from graphc.verification import verify as verify_function

    sizes = arguments.sizes(size or [])
    with users_code():
        function = load(target)
        specs, keywords = arguments.read(args or [], function)
        # traced first: the function's keywords may have the names of verify's own
        graph = graphc.trace(function, *specs, **keywords)
        report = verify_function(
            graph,
            order=order,
            wrt=None if wrt is None else inputs_called(graph, wrt),
            edges=edges,
            domain=domain,
            points=points,
            budget=budget,
            env=sizes,
        )
    if json != "-":
        output.emit(str(report), None)
    if json is not None:
        output.emit(report.to_json(), json)
    raise typer.Exit(VERDICT_CODES[report.verdict])


def inputs_called(graph: Graph, wanted: Sequence[str]) -> list[int]:
    """The positions of inputs by their names."""
    names = [graph.attrs(i)["name"] for i in graph.inputs]
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise UsageError(
            f"{graph.name} has no input {unknown[0]!r}",
            expected=" ".join(names),
            actual=unknown[0],
            fix=nearest(unknown[0], names) or "the names are those of the inputs in what `graphc dump` shows",
        )
    return [names.index(name) for name in wanted]


VERDICT_CODES = {"proved": 0, "certified": 0, "refuted": 1, "checked": 2, "undecided": 2}


@app.command(cls=Command)
def run(
    target: Target,
    args: Args = None,
    seed: Annotated[int, typer.Option(min=0, help="Seeds the arrays drawn for types.")] = 0,
    size: Sizes = None,
    exact_order: ExactOrder = False,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Write the results: .npz, or .npy for one.")
    ] = None,
    traceback: Traceback = False,
) -> None:
    """Compile a function, run it, print what it returns.

    Arguments are arrays from files, numbers, or types, for which random arrays are drawn.

    \b
    Examples:
      graphc run model:predict --args "f64[n,3]" weights.npz:w --size n=5
      graphc run model.py:loss --args x.npy 0.5 --out results.npz
    """  # noqa: D301  click reads the backspace: keep these lines as they are
    with users_code():
        function = load(target)
        given = arguments.read(args or [], function)
        positional, keywords = arguments.draw(given, seed, arguments.sizes(size or []))
        result = compiled(function, positional, keywords, exact_order)(*positional, **keywords)
    named = name_results(result)
    if out is not None:
        output.save_arrays(Path(out), named)
    output.results(named)


@app.command(cls=Command)
def cost(
    target: Target,
    args: Args = None,
    grad: Grad = None,
    size: Sizes = None,
    exact_order: ExactOrder = False,
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write all counts as JSON; - for stdout.")] = None,
    traceback: Traceback = False,
) -> None:
    """Count what a function would compute and move, without running it.

    Counts are formulas in the named sizes that --size gives no number for.

    \b
    Examples:
      graphc cost model:loss --args "f64[n,3]" "f64[3]"
      graphc cost model.py:loss --args "f64[n,3]" "f64[3]" --size n=1000 --grad 1
      graphc cost model:loss --args "f64[n,3]" "f64[3]" --json cost.json
    """  # noqa: D301  click reads the backspace: keep these lines as they are
    sizes = arguments.sizes(size or [])
    with users_code():
        function = load(target)
        specs, keywords = arguments.read(args or [], function)
        derived = derivative(function, grad, len(specs))
        found = graphc.cost(compiled(derived, specs, keywords, exact_order), **sizes)
    if json != "-":
        output.emit(str(found), None)
    if json is not None:
        output.emit(found.to_json(), json)


def name_results(result: Any) -> dict[str, Any]:
    """A name for every array in a result: its path in it."""
    import optree

    leaves, _ = flatten(result)
    paths = optree.tree_paths(result, namespace="graphc")
    return {"_".join(["result", *map(str, path)]): leaf for path, leaf in zip(paths, leaves, strict=True)}


def main() -> None:
    """Run the command line; the process ends with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="graphc")
