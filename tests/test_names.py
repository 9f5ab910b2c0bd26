"""Names of the user's variables in graphs: found for every form of assignment, never wrong, and only text."""

from __future__ import annotations

import gc
import pickle
import re
import textwrap
import weakref
from functools import reduce
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.numpy as gnp
from graphc.errors import ShapeError
from graphc.ir import Builder, Graph
from graphc.ir.naming import settle
from graphc.tracing import bytecode


def names(graph: Graph) -> list[str]:
    """`op:name` of every node but inputs, small constants and the sizes that a mean divides by."""
    left_out = ("input", "const", "dim", "cast", "broadcast_to", "reshape")
    return [
        data["op"] + (f":{data['name']}" if "name" in data else "")
        for _, data in graph.nodes(data=True)
        if data["op"] not in left_out
    ]


def run(source: str, *specs: str, **scope: Any) -> Graph:
    """Trace the function `f` of a program that no file holds."""
    space: dict[str, Any] = {"np": np, "gnp": gnp, "graphc": graphc, "reduce": reduce, "__name__": "program", **scope}
    exec(textwrap.dedent(source), space)
    return graphc.trace(space["f"], *(specs or ("f64[4]",)))


PROGRAMS = {
    "plain": ("def f(x):\n h = np.sin(x)\n return np.cos(h)", "sin:h cos"),
    "expression": ("def f(x, w):\n h = np.tanh(x @ w)\n return h + 1", "matmul tanh:h add"),
    "several nodes make one value": ("def f(x):\n m = np.mean(x)\n return m * x", "reduce_sum div:m mul"),
    "a variable of one op repeated inside": (
        "def f(x):\n v = np.var(x)\n return v * x",
        "reduce_sum div sub mul reduce_sum div:v mul",
    ),
    "augmented": ("def f(x):\n y = x * 2\n y += np.sin(x)\n y /= 3\n return y", "mul:y sin add:y div:y"),
    "chained": ("def f(x):\n a = b = np.sin(x)\n return a + b", "sin:a add"),
    "chained three times": ("def f(x):\n a = b = c = np.sin(x)\n return a * b * c", "sin:a mul mul"),
    "tuple of two": ("def f(x):\n a, b = np.sin(x), np.cos(x)\n return a * b", "sin:a cos:b mul"),
    "tuple of three": (
        "def f(x):\n a, b, c = np.sin(x), np.cos(x), x + 1\n return a * b * c",
        "sin:a cos:b add:c mul mul",
    ),
    "tuple of five": (
        "def f(x):\n a, b, c, d, e = -x, abs(x), ~(x > 0), x * x, np.exp(x)\n return a * b * d * e, c",
        "neg:a abs:b gt logical_not:c mul:d exp:e mul mul mul",
    ),
    "swap": ("def f(x, y):\n a = x + 1\n b = y + 2\n a, b = b * a, a - b\n return a, b", "add:a add:b mul:a sub:b"),
    "list target": ("def f(x):\n [a, b] = np.sin(x), np.cos(x)\n return a * b", "sin:a cos:b mul"),
    "unpacked result": ("def f(x):\n q, r = np.divmod(x, 2)\n return q * r", "floor_divide:q remainder:r mul"),
    "unpacked result of Python's divmod": (
        "def f(x):\n q, r = divmod(x, 2)\n return q * r",
        "floor_divide:q remainder:r mul",
    ),
    "unpacked in another order than made": ("def f(x):\n frac, whole = np.modf(x)\n return frac, whole", None),
    "a list": ("def f(x):\n parts = np.split(x, 2)\n return parts[0] * parts[1]", "slice:parts slice:parts mul"),
    "parts of a list": ("def f(x):\n a, b = np.split(x, 2)\n return a * b", "slice:a slice:b mul"),
    "graphc's own function": ("def f(x):\n a, b = gnp.split(x, 2)\n c = gnp.sin(a)\n return c * b", None),
    "too few to unpack": ("def f(x):\n (a, b), c = np.split(x, 2), x\n return a, b, c", None),
    "starred": ("def f(x):\n a, *b = np.split(x, 4)\n return a * b[0]", None),
    "walrus": ("def f(x):\n return (y := np.sin(x)) * y", "sin:y mul"),
    "annotated": ("def f(x):\n y: object = np.sin(x)\n return y * y", "sin:y mul"),
    "attribute": (
        "def f(x):\n class A: pass\n a = A()\n a.b = A()\n a.h = np.sin(x)\n a.b.c = a.h * 2\n return a.b.c",
        "sin:h mul:c",
    ),
    "item": ("def f(x):\n d = {}\n d['h'] = np.sin(x)\n return d['h'] * 2", "sin mul"),
    "conditional": ("def f(x):\n y = np.sin(x) if x.ndim else np.cos(x)\n return y * 2", "sin:y mul"),
    "other branch": ("def f(x):\n y = np.sin(x) if x.ndim > 1 else np.cos(x)\n return y * 2", "cos:y mul"),
    "or": ("def f(x):\n y = None or np.sin(x)\n return y * 2", "sin:y mul"),
    "loop": (
        "def f(x):\n for _ in range(3):\n  x = np.sin(x)\n return x * 2",
        "sin:x sin:x sin:x mul",
    ),
    "loop of several nodes": (
        "def f(x):\n y = x\n for _ in range(2):\n  y = np.mean(y * x)\n return y * x",
        "mul reduce_sum div:y mul reduce_sum div:y mul",
    ),
    "while": ("def f(x):\n i = 0\n while i < 2:\n  x = x + i\n  i += 1\n return x * 2", "add:x add:x mul"),
    "comprehension": ("def f(x):\n ys = [np.sin(x * k) for k in range(2)]\n return ys[0] * ys[1]", None),
    "generator": ("def f(x):\n y = sum(np.sin(x * k) for k in range(2))\n return y * 2", None),
    "lambda": ("def f(x):\n g = lambda v: np.sin(v)\n h = g(x)\n return h * 2", "sin:h mul"),
    "lambda of a global": ("g = lambda v: np.sin(v)\ndef f(x):\n h = g(x)\n return h * 2", "sin:h mul"),
    "call": ("def g(v):\n return np.sin(v) + 1\ndef f(x):\n h = g(x)\n return g(h)", "sin add:h sin add"),
    "inner name first": ("def g(v):\n s = np.sin(v)\n return s\ndef f(x):\n h = g(x)\n return h * 2", "sin:s mul"),
    "call in a call": (
        "def g(v):\n return np.sin(v)\ndef k(v):\n return g(v)\ndef f(x):\n h = k(x)\n return h * 2",
        "sin:h mul",
    ),
    "call of a pair": (
        "def g(v):\n return np.sin(v), np.cos(v)\ndef f(x):\n s, c = g(x)\n return s * c",
        "sin:s cos:c mul",
    ),
    "call of a pair as one": (
        "def g(v):\n return np.sin(v), np.cos(v)\ndef f(x):\n p = g(x)\n return p[0] * p[1]",
        "sin cos mul",
    ),
    "pair through a call": (
        "def g(v):\n return np.sin(v), np.cos(v)\ndef k(v):\n return g(v)\ndef f(x):\n s, c = k(x)\n return s * c",
        "sin:s cos:c mul",
    ),
    "keyword call": ("def g(v, k):\n return np.sin(v) * k\ndef f(x):\n h = g(k=2, v=x)\n return -h", "sin mul:h neg"),
    "star call": (
        "def g(v, k):\n return np.sin(v) * k\ndef f(x):\n h = g(*(x, 2), **{})\n return -h",
        "sin mul:h neg",
    ),
    "method": (
        "class N:\n def run(self, v):\n  return np.sin(v)\n def __call__(self, v):\n  return self.run(v) * 2\n"
        "net = N()\ndef f(x):\n h = net(x)\n y = net.run(h)\n return y + 1",
        "sin mul:h sin:y add",
    ),
    "property": (
        "class N:\n def __init__(self, v):\n  self.v = v\n @property\n def sine(self):\n  return np.sin(self.v)\n"
        "def f(x):\n h = N(x).sine\n return h + 1",
        "sin:h add",
    ),
    "decorated": (
        "import functools\ndef deco(g):\n @functools.wraps(g)\n def inner(*a, **k):\n  return g(*a, **k)\n"
        " return inner\n@deco\ndef g(v):\n return np.sin(v)\ndef f(x):\n h = g(x)\n return h + 1",
        "sin:h add",
    ),
    "partial": (
        "import functools\ndef g(k, v):\n return np.sin(v) * k\ng2 = functools.partial(g, 2)\n"
        "def f(x):\n h = g2(x)\n return h + 1",
        "sin mul:h add",
    ),
    "constructor": (
        "class N:\n def __init__(self, v):\n  self.h = np.sin(v)\ndef f(x):\n n = N(x)\n return n.h + 1",
        "sin:h add",
    ),
    "not the value of map": (
        "def g(v):\n return np.sin(v)\ndef f(x):\n h = list(map(g, [x]))\n return h[0] + 1",
        "sin add",
    ),
    "not the value of max": (
        "def g(v):\n np.sin(v)\n return np.cos(v)\ndef f(x):\n h = sorted([x], key=lambda v: [g(v)])\n return h[0] + 1",
        "add",
    ),
    "not every value of reduce": (
        "import functools\ndef f(x):\n h = functools.reduce(lambda a, b: a * b, [x, x, x])\n return h + 1",
        "mul mul add",
    ),
    "derivative": (
        "def g(v):\n return np.sum(v * v * v)\ndef f(x):\n d = graphc.grad(g)(x)\n return d * 2",
        "mul mul mul mul add add:d mul",
    ),
    "value and derivative": (
        "def g(v):\n return np.sum(v * v)\ndef f(x):\n l, d = graphc.value_and_grad(g)(x)\n return l * d",
        "mul reduce_sum:l mul add:d mul",
    ),
    "jit": (
        "@graphc.jit\ndef g(v):\n return np.sin(v) * 2\ndef f(x):\n h = g(x)\n return h + 1",
        "sin mul:h add",
    ),
    "compiled": (
        "g = graphc.compile(lambda v: np.sin(v) * 2, 'f64[4]')\ndef f(x):\n h = g(x)\n return h + 1",
        "sin mul:h add",
    ),
    "merged": ("def f(x):\n a = np.sin(x)\n b = np.sin(x)\n return a * b", "sin:a mul"),
    "the input itself": ("def f(x):\n y = x.reshape(4)\n z = y * 1.0\n return z", "mul:z"),
    "in place": ("def f(x):\n y = np.sin(x)\n z = y\n z *= 2\n return y + z", "sin:y mul:z add"),
    "cell": ("def f(x):\n h = np.sin(x)\n def g():\n  return h * 2\n y = g()\n return y + 1", "sin:h mul:y add"),
    "nonlocal": (
        "def f(x):\n h = x\n def g():\n  nonlocal h\n  h = np.sin(x)\n g()\n return h + 1",
        "sin:h add",
    ),
    "global": ("def f(x):\n global keep\n keep = np.sin(x)\n return keep + 1", "sin:keep add"),
    "with": (
        "import contextlib\ndef f(x):\n with contextlib.nullcontext():\n  h = np.sin(x)\n return h + 1",
        "sin:h add",
    ),
    "try": ("def f(x):\n try:\n  h = np.sin(x)\n finally:\n  pass\n return h + 1", "sin:h add"),
    "match": ("def f(x):\n match 1:\n  case 1:\n   h = np.sin(x)\n return h + 1", "sin:h add"),
    "dropped": ("def f(x):\n np.sin(x)\n _ = np.cos(x)\n __ = x * 2\n return __ + _", "cos mul add"),
    "mangled": (
        "class N:\n def run(self, v):\n  __h = np.sin(v)\n  return __h + 1\ndef f(x):\n return N().run(x)",
        "sin:_N__h add",
    ),
    "not ASCII": ("def f(x):\n λ = np.sin(x)\n β̂ = λ + 1\n return β̂ * λ", "sin:λ add mul"),
    "too long": (f"def f(x):\n {'h' * 61} = np.sin(x)\n return {'h' * 61} + 1", "sin add"),
    "a word of the format": (
        "def f(x):\n graph = np.sin(x)\n f64 = graph + 1\n nan = f64 * 2\n return nan - 1",
        "sin:graph add:f64 mul:nan sub",
    ),
}


@pytest.mark.parametrize("case", PROGRAMS)
def test_names_of_a_program(case: str) -> None:
    source, expected = PROGRAMS[case]
    graph = run(source, *(["f64[4]", "f64[4]"] if re.search(r"def f\(x, \w\)", source) else ["f64[4]"]))
    if expected is not None:
        assert " ".join(names(graph)) == expected
    text = graphc.dump(graph)
    assert graphc.parse(text) == graph
    assert graphc.dump(graphc.parse(text)) == text


def test_several_results_are_never_mixed_up() -> None:
    graph = run("def f(x):\n frac, whole = np.modf(x)\n return frac, whole")
    assert [graph.nodes[o].get("name") for o in graph.outputs] == ["frac", "whole"]
    graph = run("def f(x):\n a, b = gnp.split(x, 2)\n c = gnp.sin(a)\n return a, b, c")
    assert [graph.nodes[o].get("name") for o in graph.outputs] == ["a", "b", "c"]


def test_operators_slices_and_attributes() -> None:
    graph = run(
        "def f(x):\n a = -x\n b = x[1:]\n c = x[0]\n d = a < 0\n e = a.T\n g = x ** 2.5\n return a, b, c, d, e, g"
    )
    found = [graph.nodes[o].get("name") for o in graph.outputs]
    assert found == ["a", "b", "c", "d", "a", "g"]  # the transpose of one axis is the value itself


@pytest.mark.parametrize("case", ["comprehension", "generator", "starred"])
def test_no_wrong_name(case: str) -> None:
    """Where no variable holds exactly this value, a name is only that of a list it lies in."""
    graph = run(PROGRAMS[case][0])
    assert not {name for name in names(graph) if re.search(r":(y|ys)$", name) and name.startswith(("sin", "mul"))}


def program(rng: np.random.Generator, length: int) -> str:
    """A random function of straight lines and loops that returns all of its variables."""
    variables, lines = ["x"], ["def helper(u, v):", "    inner = u * v", "    return inner + u, np.sin(v)", "def f(x):"]
    for k in range(length):
        a, b = rng.choice(variables, 2)
        target = f"v{rng.integers(0, 12)}"
        other = f"w{rng.integers(0, 12)}"
        match int(rng.integers(0, 8)):
            case 0:
                lines.append(f"    {target} = np.sin({a}) + {b} * {k}")
            case 1:
                lines.append(f"    {target}, {other} = {a} * {b}, np.exp(-{a} * {a}) - {k}")
                variables.append(other)
            case 2:
                lines.append(f"    {target}, {other} = helper({a}, {b} + {k})")
                variables.append(other)
            case 3:
                lines.append(f"    {target} = {other} = np.var({a}) * {b}")
                variables.append(other)
            case 4:
                lines += [f"    {target} = {a}", "    for _ in range(3):", f"        {target} = np.cos({target} + {k})"]
            case 5:
                lines.append(f"    {target}, {other} = np.divmod({a} + {k}, 2.0)")
                variables.append(other)
            case 6:
                lines.append(f"    {target} = ({other} := {a} / {k + 1}) * {b}")
                variables.append(other)
            case 7:
                lines.append(f"    {target} = np.mean({a}) if {k % 2} else {b} * np.tanh({a})")
        variables.append(target)
    return "\n".join(
        [*lines, "    held = dict(locals())", "    return {k: v for k, v in held.items() if k[0] in 'vw'}"]
    )


@pytest.mark.parametrize("seed", range(25))
def test_names_are_those_of_the_variables_at_the_end(seed: int) -> None:
    """What a variable holds in the end has its name, or that of another variable that held the value before."""
    space: dict[str, Any] = {"np": np, "__name__": "program"}
    exec(program(np.random.default_rng(seed), 25), space)
    graph = graphc.trace(space["f"], "f64[4]")
    keys = sorted(space["f"](np.ones(4)))
    for key, node in zip(keys, graph.outputs, strict=True):
        data = graph.nodes[node]
        if data["op"] != "input":
            holders = {k for k, o in zip(keys, graph.outputs, strict=True) if o == node}
            name = data.get("name")
            assert name in holders or name == "inner" or seen_before(space["f"], graph, node, name), (key, name)


def seen_before(f: Any, graph: Graph, node: int, name: str | None) -> bool:
    """Whether the variable `name` held this value at some time, replayed on numbers line by line."""
    import sys

    values = graphc.compile(with_output(graph, node))(np.ones(4))
    held: list[Any] = []

    def watch(frame: Any, event: str, arg: Any) -> Any:
        if frame.f_code is f.__code__ and name in frame.f_locals:
            held.append(np.array(frame.f_locals[name]))
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        with np.errstate(all="ignore"):
            f(np.ones(4))
    finally:
        sys.settrace(before)
    return any(h.shape == np.shape(values[0]) and np.allclose(h, values[0], equal_nan=True) for h in held)


def with_output(graph: Graph, node: int) -> Graph:
    builder = Builder("one")
    ids: dict[int, int] = {}
    for i, data in graph.nodes(data=True):
        if data["op"] == "input":
            ids[i] = builder.input("x", data["type"])
        else:
            args = tuple(ids[a] for a in data["args"])
            ids[i] = builder.add(data["op"], args, data["attrs"], data["type"], (), None)
    return builder.finish([ids[node]])


# --- bytecode ------------------------------------------------------------------------------------------------


def test_many_variables_and_names() -> None:
    """Instructions with arguments beyond 255 are told from their parts."""
    lines = [f" v{k} = np.sin(x) + {k}" for k in range(400)]
    graph = run("\n".join(["def f(x):", *lines, " return v399 * v300"]))
    assert names(graph) == ["sin", "add:v300", "add:v399", "mul"]
    attributes = [f" box.a{k} = x + {k}" for k in range(400)]
    graph = run("\n".join(["def f(x):", " class box: pass", *attributes, " return box.a399 * box.a300"]))
    assert names(graph) == ["add:a300", "add:a399", "mul"]


def test_each_instruction_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    use = bytecode.Program.use
    monkeypatch.setattr(bytecode.Program, "use", lambda self, offset: looked.append(offset) or use(self, offset))

    def f(x: Any) -> Any:
        for _ in range(100):
            x = np.sin(x)
            x = x * 2
        return x

    graphc.trace(f, "f64[n]")
    first = len(looked)
    assert 0 < first < 10
    graphc.trace(f, "f64[n]")
    assert len(looked) - first < 3


@pytest.mark.parametrize("runs", [["sin"], ["sin", "sin"], ["sum", "div"], ["sum", "div"] * 3, ["a", "b", "a"]])
def test_rounds_of_an_instruction(runs: list[str]) -> None:
    nodes: list[dict[str, Any]] = [{"op": op} for op in runs]
    settle(nodes, [("site", "y", k) for k in range(len(runs))])
    size = {3: 3, 6: 2}.get(len(runs), 1 if runs == ["sin", "sin"] else len(runs))
    assert [k for k, data in enumerate(nodes) if "name" in data] == list(range(size - 1, len(runs), max(size, 1)))


def test_results_that_are_known_exactly() -> None:
    nodes: list[dict[str, Any]] = [{"op": "mul"} for _ in range(6)]
    settle(nodes, [("site", "y", 0), ("site", "y", 1), ("site", "y", (1,)), ("site", "y", 2), ("site", "y", (3, 2))])
    assert [data.get("name") for data in nodes] == [None, "y", "y", "y", None, None]
    settle(nodes, [("other", ("a", None), 4), ("other", ("a", None), (4, 5))])
    assert [data.get("name") for data in nodes[4:]] == ["a", None]


ROUNDS = ["np.diff(x, 3)", "np.linalg.matrix_power(x[:4], 3)", "np.roll(x, (1, -1), (0, 1))", "np.rot90(x, 2)"]


@pytest.mark.parametrize("call", [*ROUNDS, "np.column_stack(x)", "np.repeat(x, 2)", "x.var()", "x.std(axis=0)"])
def test_what_a_function_does_inside_has_no_name(call: str) -> None:
    """Only the result has the name, though the function may do the same several times."""
    graph = run(f"def f(x):\n y = {call}\n return y", "f64[4,4]")
    (result,) = graph.outputs
    assert [node for node, data in graph.nodes(data=True) if data.get("name") == "y"] == [result]


def test_a_node_keeps_its_first_name() -> None:
    nodes: list[dict[str, Any]] = [{"op": "sin"}]
    settle(nodes, [("here", "a", 0), ("there", "b", 0)])
    assert nodes[0]["name"] == "a"


# --- lives of values and frames ------------------------------------------------------------------------------


class Thing:
    """Something of the user's that must die when the user lets it go."""


def test_nothing_of_the_user_is_kept_alive() -> None:
    things: list[weakref.ref[Any]] = []

    def f(x: Any) -> Any:
        thing = Thing()
        things.append(weakref.ref(thing))
        y = np.sin(x) + 1
        del thing
        assert things[-1]() is None, "gone while the trace goes on"
        late = Thing()
        things.append(weakref.ref(late))
        a, b = np.divmod(y, 2)
        return a * b

    graph = graphc.trace(f, "f64[n]")
    assert [data.get("name") for _, data in graph.nodes(data=True)][-3:] == ["a", "b", None]
    assert things
    assert not any(thing() for thing in things)


def test_functions_that_are_gone_leave_nothing() -> None:
    from graphc.tracing import places

    def names_of_code() -> int:
        return len(places._codes)

    run("def f(x):\n y = np.sin(x)\n return y")
    gc.collect()
    before = names_of_code()
    for _ in range(20):
        run("def f(x):\n y = np.sin(x)\n return y")
    gc.collect()
    assert names_of_code() <= before + 1


# --- names in texts, sources and passes ----------------------------------------------------------------------


def test_equality_ignores_names() -> None:
    one = run("def f(x):\n h = np.sin(x)\n return h + 1")
    other = run("def f(x):\n return np.sin(x) + 1")
    assert one == other
    assert hash(one) == hash(other)
    assert graphc.dump(one, locations=False) != graphc.dump(other, locations=False)


def test_numbers_do_not_depend_on_names() -> None:
    one = graphc.dump(run("def f(x):\n h = np.sin(x)\n return np.cos(h) + 1"), locations=False)
    other = graphc.dump(run("def f(x):\n return np.cos(np.sin(x)) + 1"), locations=False)
    assert one.replace("%h", "%1") == other


def test_labels_are_unique() -> None:
    graph = run("def f(x, h):\n for _ in range(3):\n  h = np.sin(h) * x\n x = h + 1\n return x", "f64[4]", "f64[4]")
    assert re.findall(r"^  (%\S+):", graphc.dump(graph), re.MULTILINE) == [
        "%2", "%h.1", "%4", "%h.2", "%6", "%h.3", "%x.1",
    ]  # fmt: skip


def test_a_text_keeps_its_labels() -> None:
    text = """\
graph f(%x: f64[n], %"odd one": f64[n]) -> (f64[n], f64[n]) {
  %a.1: f64[n] = sin(%x)
  %α: f64[n] = cos(%a.1)
  %4: f64[n] = mul(%α, %"odd one")
  %b_2.c.7: f64[n] = add(%4, 2.0)
  return %4, %b_2.c.7
}"""
    graph = graphc.parse(text)
    assert graphc.dump(graph) == text
    assert graphc.parse(text.replace("%4", "%17")) == graph


@pytest.mark.parametrize("name", ["a b", 'a"; import os; "', "a\nreturn %x", "", "1", "#", "%x", "class", "a\u202eb"])
def test_a_name_that_is_none_stays_out_of_texts(name: str) -> None:
    graph = run("def f(x):\n h = x @ x\n return h @ x", "f64[4,4]")
    odd = graph.copy()
    odd.nodes[1]["name"] = name
    text = graphc.dump(odd, locations=False)
    label = f"%{name}" if name == "class" else "%1"
    assert f"  {label}: f64[4,4] = matmul(%x, %x)" in text
    assert graphc.parse(text) == graph
    source = graphc.compile(odd).source
    assert "v1 = np.matmul(x, x)" in source
    assert "import os" not in source


def test_the_source_uses_the_names() -> None:
    program = "def f(x, w):\n h = (x @ w) @ w\n for _ in range(2):\n  h = h @ w\n k = np.exp(h) * h + 1\n return k @ w"
    source = graphc.compile(run(program, "f64[n,3]", "f64[3,3]")).source
    # where the results are put is not said here
    for line in ("v2 = np.matmul(x, w", "h = np.matmul(v2, w", "h_1 = np.matmul(h, w", "h_2 = np.matmul(h_1, w"):
        assert re.search(rf"\b{re.escape(line)}[,)]", source)
    assert re.search(r"np\.matmul\(k, w[,)]", source)  # the result of a kernel has its name, too


# what generated sources use themselves, and words that are no names there
TAKEN = [
    "nk", "scipy", "ndarray", "errstate", "type", "max", "min", "slice", "len", "print", "f64", "i64",
    "v1", "c2", "spec0", "dtype0", "guard0", "n", "solve_size", "λ", "run", "_", "x_1", "match",
]  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_any_name_compiles_and_runs(name: str) -> None:
    graph = run(f"def f(x):\n {name} = np.sum(x * 2 + 1)\n y = np.log({name})\n return y, x.max() * {name}", "f64[n]")
    x = np.arange(1.0, 4.0)
    value, product = graphc.compile(graph)(x)
    assert (value, product) == (np.log(np.sum(x * 2 + 1)), 3 * np.sum(x * 2 + 1))


def test_passes_keep_names() -> None:
    def loss(x: Any) -> Any:
        e = np.exp(x)
        h = np.log(1 + e)
        k = h * 1
        return np.sum(k)

    graph = graphc.compile(loss, "f64[n]").passes[-1].graph
    assert names(graph) == ["softplus:h", "reduce_sum"]
    derived = graphc.compile(graphc.value_and_grad(loss), "f64[n]").passes[-1].graph
    assert "softplus:h" in names(derived)


def test_compiled_functions_keep_names_when_pickled() -> None:
    compiled = graphc.compile(run("def f(x):\n h = x @ x\n return h @ x", "f64[4,4]"))
    assert pickle.loads(pickle.dumps(compiled)).source == compiled.source
    assert "h = np.matmul(x, x)" in compiled.source


def test_constants_have_the_names_of_arrays() -> None:
    graph = run("W = np.arange(16.0).reshape(4, 4)\ndef f(x):\n b = np.ones(4)\n h = x @ W + b\n return h")
    assert {data.get("name") for _, data in graph.nodes(data=True) if data["op"] == "const"} == {"W", "b"}
    weights = np.arange(4.0)

    def closed(x: Any) -> Any:
        return x * weights

    assert "%weights: f64[4] = [0.0, 1.0, 2.0, 3.0]" in graphc.dump(graphc.trace(closed, "f64[4]"))


def test_a_constant_that_no_variable_holds_has_no_name() -> None:
    graph = run("class box:\n W = np.arange(4.0)\ndef f(x):\n return x * box.W + np.arange(4.0)")
    assert not [data["name"] for _, data in graph.nodes(data=True) if data["op"] == "const" and "name" in data]


def test_errors_use_the_names() -> None:
    with pytest.raises(ShapeError, match=r"in        %5 = matmul\(%z: f64\[3,3\], %4: f64\[2,4\]\)"):
        run("def f(x):\n h = np.sin(x)\n z = h @ h.T\n return z @ x[:2]", "f64[3,4]")


def test_json_has_the_names() -> None:
    graph = run("def f(x):\n h = np.sin(x)\n return h + 1")
    assert '"name": "h"' in graphc.dump(graph, "json")


def test_a_name_is_a_str() -> None:
    from graphc.compiler.checking import check
    from graphc.errors import IRError

    graph = run("def f(x):\n h = np.sin(x)\n return h + 1").copy()
    graph.nodes[1]["name"] = 3
    with pytest.raises(IRError, match="a name is a str"):
        check(graph)


def test_names_inside_expressions_of_symbols() -> None:
    """At module level too, and in a world that never ends, names are found when a graph is made."""
    x = graphc.symbol("x", "f64[3]")
    z = 2 * x
    y = np.sin(z) + 1
    assert names(graphc.compile([x], [y]).graph) == ["mul:z", "sin", "add:y"]
