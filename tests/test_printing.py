"""`debug_print`: what is printed when, in which order, how often, and what a graph with effects is."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.compiler import check
from graphc.errors import GraphcError, IRError, TraceError
from graphc.ir import NOTHING, Graph, without_effects
from graphc.passes import pipeline
from graphc.printing import printing_to

Function = Callable[..., Any]
X = np.array([1.0, -2.0, 0.5])


@pytest.fixture
def lines() -> Iterator[list[str]]:
    found: list[str] = []
    with printing_to(found.append):
        yield found


def noisy(x: Any) -> Any:
    graphc.debug_print("first {}", x)
    y = np.sin(x)
    graphc.debug_print("second {}", y)
    graphc.debug_print("second {}", y)
    graphc.debug_print("third")
    return np.sum(y * y)


PRINTED = [f"first {X}", f"second {np.sin(X)}", f"second {np.sin(X)}", "third"]

# --- formats ------------------------------------------------------------------------------------------------

N = 7
FORMATS: tuple[tuple[str, Function, Any], ...] = (
    ("{}", lambda x: ((x,), {}), X),
    ("{0} {0} {x}", lambda x: ((x,), {"x": x[0]}), X),
    ("{:.3f}", lambda x: ((x,), {}), 1.23456),
    ("{x:>12.3e}|", lambda x: ((), {"x": x}), 1.23456),
    ("{!r}", lambda x: ((x,), {}), X),
    ("{0!s:>30}|{0!a}", lambda x: ((x,), {}), X),
    ("{} {}", lambda x: ((x.shape, x.ndim), {}), np.ones((2, 3))),
    ("{x.shape} {x.dtype} {x.ndim} {x.T.shape}", lambda x: ((), {"x": x}), np.ones((2, 3))),
    ("{x[0]} {x[1]}", lambda x: ((), {"x": x}), X),
    ("{}", lambda x: (({"a": x, "b": [x[0], (1, "text", None)]},), {}), X),
    ("{0[b][1]} {0[a]}", lambda x: (({"a": x, "b": [x[0], (1, "text")]},), {}), X),
    ("{{}} {{{0}}}", lambda x: ((x,), {}), X),
    ("{:{}}|{:{width}.{precision}f}|", lambda x: ((x, 9, x), {"width": 12, "precision": 2}), np.float64(1.5)),
    ("{} {} {} {}", lambda x: ((1, 2.5, "{braces}", None), {}), X),
    ("{:d} {:x} {:,}", lambda x: ((x, x, x), {}), 12345),
    ("{}", lambda x: ((x,), {}), True),
    ("{} of {n:03d}", lambda x: ((x,), {"n": N}), X),
    ("{}", lambda x: ((X,), {}), X),
    ("a\nb\t{}\\ \"' \x00 ü", lambda x: ((x,), {}), X),
    ("{}", lambda x: ((x,), {}), np.zeros((0, 3))),
    ("{}", lambda x: ((x,), {}), np.arange(5000)),
    ("{}", lambda x: ((x,), {}), np.float32([1.5, np.nan, np.inf])),
)


@pytest.mark.parametrize(("fmt", "arguments", "value"), FORMATS)
def test_texts_are_those_of_str_format(fmt: str, arguments: Function, value: Any, lines: list[str]) -> None:
    array = np.asarray(value)[()]
    args, kwargs = arguments(array)
    if isinstance(array, (int, float)):
        # in the graph a Python number is one of NumPy's
        array = np.asarray(array)[()]
    expected = fmt.format(*args, **kwargs)

    def f(x: Any) -> Any:
        args, kwargs = arguments(x)
        graphc.debug_print(fmt, *args, **kwargs)

    for run in (f, graphc.jit(f), graphc.compile(f, array), graphc.compile(f, array, exact_order=True)):
        run(array)
        assert lines.pop() == expected
        assert not lines


def test_a_spec_of_an_array_is_that_of_its_elements(lines: list[str]) -> None:
    for f in (graphc.debug_print, graphc.jit(lambda fmt, x: graphc.debug_print(fmt, x), static_argnums=0)):
        f("{:.1f}", X)
        f("{:+d}", np.array([[1, -2], [3, 4]]))
        assert lines == ["[1.0 -2.0 0.5]", "[[+1 -2]\n [+3 +4]]"]
        lines.clear()


def test_sizes_that_are_known_when_the_graph_runs(lines: list[str]) -> None:
    @graphc.jit
    def f(x: Any) -> Any:
        n, k = x.shape
        graphc.debug_print("{n:04d} {} {n} {} {}", x.shape, n * k, [n, x.size], n=n)
        return x

    for n in (3, 4, 5, 6):
        f(np.ones((n, 2)))
        assert lines.pop() == f"{n:04d} {(n, 2)} {n} {2 * n} {[n, 2 * n]}"
    assert len(f.explain().splitlines()) == 2


WRONG: tuple[tuple[tuple[Any, ...], dict[str, Any], str], ...] = (
    (("{}",), {}, "no argument for {}"),
    (("{1}", X), {}, "no argument for {1}"),
    (("{y}", X), {"x": X}, "no argument for {y}"),
    (("{} {0}", X), {}, "mixes"),
    (("{0} {}", X), {}, "mixes"),
    (("x", X), {}, "no field"),
    (("{x}",), {"x": X, "y": X}, "no field"),
    (("{",), {}, "the format is none"),
    (("}",), {}, "the format is none"),
    (("{:q}", X[0]), {}, "does not fit"),
    (("{:d}", X), {}, "does not fit"),
    (("{:>3}", (X, X)), {}, "does not fit"),
    (("{!z}", X), {}, "no such conversion"),
    ((X,), {}, "not a text"),
)


@pytest.mark.parametrize(("args", "kwargs", "words"), WRONG)
def test_wrong_formats_are_refused_where_they_stand(
    args: tuple[Any, ...], kwargs: dict[str, Any], words: str, lines: list[str]
) -> None:
    with pytest.raises(TraceError, match=words) as plain:
        graphc.debug_print(*args, **kwargs)
    with pytest.raises(TraceError, match=words) as traced:
        graphc.jit(lambda *a, **k: graphc.debug_print(args[0], *a, **k))(*args[1:], **kwargs)
    for error in (plain.value, traced.value):
        assert error.loc is not None
        assert "debug_print" in error.loc.source
    assert not lines


def test_a_traced_width_is_refused() -> None:
    with pytest.raises(TraceError, match="part of a format spec"):
        graphc.trace(lambda x, w: graphc.debug_print("{:{}}", x, w), "f64[]", "i64[]")
    with pytest.raises(AttributeError):
        graphc.trace(lambda x: graphc.debug_print("{x.nothing}", x=x), "f64[]")


# --- when, in which order, how often ------------------------------------------------------------------------


@pytest.mark.parametrize("exact_order", [False, True])
def test_once_for_each_call_in_the_order_written(exact_order: bool, lines: list[str]) -> None:
    noisy(X)
    assert lines == PRINTED
    for f in (graphc.jit(noisy, exact_order=exact_order), graphc.compile(noisy, "f64[n]", exact_order=exact_order)):
        for _ in range(3):
            lines.clear()
            f(X)
            assert lines == PRINTED
    lines.clear()
    graphc.trace(noisy, "f64[n]")
    assert not lines


TRANSFORMS: tuple[tuple[str, Function], ...] = (
    ("grad", lambda: graphc.grad(noisy)(X)),
    ("value_and_grad", lambda: graphc.value_and_grad(noisy)(X)),
    ("jvp", lambda: graphc.jvp(noisy, (X,), (X,))),
    ("vjp", lambda: graphc.vjp(noisy, X)),
    ("linearize", lambda: graphc.linearize(noisy, X)),
    ("jacrev", lambda: graphc.jacrev(noisy)(X)),
    ("jacfwd", lambda: graphc.jacfwd(noisy)(X)),
    ("hessian", lambda: graphc.hessian(noisy)(X)),
    ("hvp", lambda: graphc.hvp(noisy)(X, X)),
    ("grad of jit", lambda: graphc.grad(graphc.jit(noisy))(X)),
    ("jit of grad", lambda: graphc.jit(graphc.grad(noisy))(X)),
    ("jit of vjp", lambda: graphc.jit(lambda x: graphc.vjp(noisy, x)[1](1.0))(X)),
    ("jit of linearize", lambda: graphc.jit(lambda x: graphc.linearize(noisy, x)[1](x))(X)),
    ("jit of jit", lambda: graphc.jit(graphc.jit(noisy))(X)),
    ("compile of compiled", lambda: graphc.compile(graphc.compile(noisy, "f64[n]"), "f64[3]")(X)),
    ("grad of compiled", lambda: graphc.grad(graphc.compile(noisy, "f64[3]"))(X)),
    ("grad of grad", lambda: graphc.grad(lambda x: np.sum(graphc.grad(noisy)(x)))(X)),
)


@pytest.mark.parametrize("run", [row[1] for row in TRANSFORMS], ids=[row[0] for row in TRANSFORMS])
def test_a_derivative_prints_what_the_function_prints(run: Function, lines: list[str]) -> None:
    run()
    assert lines == PRINTED


def test_a_pullback_prints_nothing(lines: list[str]) -> None:
    _, pullback = graphc.vjp(noisy, X)
    _, push = graphc.linearize(noisy, X)
    lines.clear()
    for _ in range(2):
        pullback(1.0)
        push(X)
    assert not lines


def test_calls_with_plain_arrays_inside_a_trace_print_when_the_graph_runs(lines: list[str]) -> None:
    jitted, compiled = graphc.jit(noisy), graphc.compile(noisy, "f64[3]")
    jitted(X)
    for inner in (jitted, compiled, graphc.grad(noisy), lambda x: graphc.vjp(noisy, x)[0], noisy):
        lines.clear()
        outer = graphc.compile(lambda y, inner=inner: np.sum(inner(X)) * y, "f64[]")
        assert not lines
        outer(2.0)
        outer(2.0)
        assert lines == PRINTED * 2


def test_inner_and_outer_traces_keep_the_order(lines: list[str]) -> None:
    @graphc.jit
    def f(x: Any) -> Any:
        graphc.debug_print("1 {}", x)

        def inner(y: Any) -> Any:
            graphc.debug_print("2 {} {}", x, y)  # x of the outer trace
            graphc.debug_print("3 {}", x)
            return y * x * y

        slope = graphc.grad(inner)(x)
        graphc.debug_print("4 {}", slope)
        twice = [graphc.jit(inner)(x), inner(x)]
        graphc.debug_print("5")
        return twice[0] + twice[1]

    f(2.0)
    assert lines == ["1 2.0", "2 2.0 2.0", "3 2.0", "4 8.0", "2 2.0 2.0", "3 2.0", "2 2.0 2.0", "3 2.0", "5"]


def test_a_value_that_only_a_print_needs_is_kept(lines: list[str]) -> None:
    @graphc.jit
    def f(x: Any) -> Any:
        graphc.debug_print("{:.4f}", np.exp(np.log(1 + np.exp(x))))
        return x

    assert f(0.0) == 0.0
    assert lines == ["2.0000"]


def test_functions_without_results_and_arguments(lines: list[str]) -> None:
    assert graphc.jit(lambda: graphc.debug_print("here"))() is None
    assert graphc.compile(lambda: graphc.debug_print("here"))() is None
    assert graphc.jit(lambda x: graphc.debug_print("{}", x))(1) is None
    assert lines == ["here", "here", "1"]


def test_symbols_print_where_what_they_print_is_computed(lines: list[str]) -> None:
    x, y = graphc.symbol("x", "f64[]"), graphc.symbol("y", "f64[]")
    z = x * 2
    graphc.debug_print("z = {}", z)
    assert not lines
    graphc.compile([x], [z + 1])(3.0)
    assert lines == ["z = 6.0"]
    graphc.compile([x, y], [y + x])(3.0, 4.0)
    assert lines == ["z = 6.0"]
    graphc.compile([x], [z**2, *graphc.gradients(z**2, [x])])(3.0)
    assert lines == ["z = 6.0"] * 2


def test_an_ended_trace_is_refused() -> None:
    kept: list[Any] = []
    graphc.trace(lambda x: kept.append(x) or x, "f64[]")  # type: ignore[func-returns-value]
    with pytest.raises(GraphcError, match="after its trace has ended"):
        graphc.debug_print("{}", kept[0])
    with pytest.raises(GraphcError, match="after its trace has ended"):
        graphc.trace(lambda x: graphc.debug_print("{} {}", x, kept[0]), "f64[]")


def test_a_function_that_draws_once_prints_once(lines: list[str]) -> None:
    made: list[Any] = []

    def f(x: Any) -> Any:
        if not made:
            made.append(np.random.normal())
        graphc.debug_print("x = {}", x)
        return x * made[0]

    graphc.jit(f)(1.0)
    assert lines == ["x = 1.0"]


# --- where to -----------------------------------------------------------------------------------------------


def test_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    graphc.jit(noisy)(X)
    assert capsys.readouterr().out.splitlines() == PRINTED


def test_sinks_nest_and_belong_to_their_thread(capsys: pytest.CaptureFixture[str]) -> None:
    f = graphc.jit(lambda x: graphc.debug_print("{}", x))
    outer: list[str] = []
    inner: list[str] = []
    with printing_to(outer.append):
        f(1)
        with printing_to(inner.append):
            f(2)
        with pytest.raises(ZeroDivisionError), printing_to(inner.append):
            raise ZeroDivisionError
        f(3)
        thread = threading.Thread(target=f, args=(4,))
        thread.start()
        thread.join()
    f(5)
    assert (outer, inner) == (["1", "3"], ["2"])
    assert capsys.readouterr().out == "4\n5\n"


def test_an_error_of_the_sink_ends_the_call() -> None:
    def refuse(text: str) -> None:
        raise OSError("full")

    with printing_to(refuse), pytest.raises(OSError, match="full"):
        graphc.jit(noisy)(X)


def test_on_the_command_line_texts_go_to_stderr(tmp_path: Path, root: Path) -> None:
    (tmp_path / "model.py").write_text(
        "import graphc\ndef f(x):\n    graphc.debug_print('x = {}', x)\n    return 2 * x\n"
    )
    command = [sys.executable, "-m", "graphc", "run", "model.py:f", "--args", "1.5"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "x = 1.5" in done.stderr
    assert "x = 1.5" not in done.stdout
    assert "3." in done.stdout


# --- effects in the IR --------------------------------------------------------------------------------------


@pytest.fixture
def graph() -> Graph:
    return graphc.trace(noisy, "f64[n]")


def test_the_text_is_read_back(graph: Graph, golden: Callable[[str, str], None]) -> None:
    text = graphc.dump(graph, locations=False)
    golden("effects", text)
    again = graphc.parse(text)
    assert again == graph
    assert [again._node[i]["op"] for i in again.effects] == ["debug_print"] * 4
    assert graphc.dump(again) == text
    assert graphc.dump(graph, "json").count("debug_print") == 4
    assert graphc.dump(graph, "dot").count("debug_print") == 4


def test_graphs_with_other_effects_differ(graph: Graph) -> None:
    def other(x: Any) -> Any:
        graphc.debug_print("first {}", x)
        y = np.sin(x)
        graphc.debug_print("second {}", y)
        graphc.debug_print("third")
        graphc.debug_print("second {}", y)
        return np.sum(y * y)

    other.__name__ = "noisy"
    assert graphc.trace(other, "f64[n]") != graph
    assert without_effects(graph) != graph
    assert without_effects(graph) == graphc.trace(_quiet, "f64[n]")
    assert without_effects(graph).effects == ()
    assert without_effects(without_effects(graph)) == without_effects(graph)


def _quiet(x: Any) -> Any:
    y = np.sin(x)
    return np.sum(y * y)


_quiet.__name__ = "noisy"


def test_every_pass_keeps_effects(graph: Graph) -> None:
    for step in pipeline.run(graph, pipeline.PIPELINE, check):
        formats = [step.graph.attrs(i)["format"] for i in step.graph.effects]
        assert formats == ["first {0}", "second {0}", "second {0}", "third"]
    assert pipeline.cse(graph) == (graph, {})
    assert pipeline.dce(graph) == (graph, {})


def test_copies_and_pickles_keep_effects(graph: Graph, lines: list[str]) -> None:
    for made in (pickle.loads(pickle.dumps(graph)), copy.deepcopy(graph), copy.copy(graph)):
        assert made == graph
        assert [made._node[i]["type"] is NOTHING for i in made.effects] == [True] * 4
    compiled = pickle.loads(pickle.dumps(graphc.compile(noisy, "f64[n]")))
    compiled(X)
    assert lines == PRINTED


def test_an_effect_is_no_operand_and_no_result() -> None:
    text = 'graph f(%x: f64[]) -> f64[] {{ %1: () = debug_print[format="{{0}}"](%x) {} return {} }}'
    assert graphc.parse(text.format("", "%x")).effects == (1,)
    with pytest.raises(IRError, match="an effect"):
        graphc.parse(text.format("%2: f64[] = sin(%1)", "%2"))
    with pytest.raises(IRError, match="an effect"):
        graphc.parse(text.format('%2: () = debug_print[format="{0}"](%1)', "%x"))
    with pytest.raises(GraphcError):
        graphc.parse(text.replace("-> f64[]", "-> ()").format("", "%1"))


@pytest.mark.parametrize("bad", ["{}", "{1}", "{x}", "{0.__class__}", "{0[0]}", "{0:{0}}", "{0!z}", "{", "}"])
def test_a_format_from_a_file_reaches_nothing_but_operands(bad: str) -> None:
    with pytest.raises(IRError):
        graphc.parse(f'graph f(%x: f64[]) -> f64[] {{ %1: () = debug_print[format="{bad}"](%x) return %x }}')


def test_exact_mathematics_ignores_effects(lines: list[str]) -> None:
    assert graphc.verify(noisy, "f64[2]").verdict == "proved"
    assert str(graphc.trace(noisy, "f64[1]").to_sympy()) == "sin(x_0)**2"
    graphc.compile(noisy, "f64[2]", backend="sympy")([1, 2])
    assert not lines


def test_threads_share_a_compiled_function() -> None:
    f = graphc.compile(lambda x: graphc.debug_print("{}", x), "i64[]")
    found: dict[int, list[str]] = {k: [] for k in range(8)}

    def work(k: int) -> None:
        with printing_to(found[k].append):
            for i in range(50):
                f(100 * k + i)

    threads = [threading.Thread(target=work, args=(k,)) for k in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {k: [str(100 * k + i) for i in range(50)] for k in range(8)}
