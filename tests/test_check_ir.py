"""The verifier: it accepts every graph that the compiler builds, and refuses each kind of corruption."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from graphc import dims
from graphc.check_ir import check_ir
from graphc.errors import IRError, Loc
from graphc.ir import DTYPES, Builder, Constant, Graph, Guard, TensorType, TupleType
from graphc.ops import TABLE
from graphc.ops.typing import Facts
from graphc.ops.world import GraphWorld, Value
from graphc.passes.pipeline import PIPELINE, run
from graphc.text import dump, format_node, parse, parse_type
from graphc.verification.cases import cases

n, m, k = (dims.symbol(name) for name in "nmk")
F64 = DTYPES["f64"]
check = partial(check_ir, table=TABLE, facts=partial(Facts, assume=False))


def example() -> Graph:
    """%0 and %1 are inputs, %2 is 2.0, %3 and %4 multiply, %5 sums."""
    builder = Builder("example")
    w = GraphWorld(builder)
    x = Value(w, builder.input("x", parse_type("f64[n,3]")))
    y = Value(w, builder.input("y", parse_type("f64[m,3]")))
    w.loc = (Loc("model.py", 12, "predict"),)
    z = w.mul(w.mul(x, 2.0), y)
    return builder.finish([w.reduce_sum(z, axes=(0, 1), keepdims=False).id, z.id], donated=(1,))


def corrupted(change: Callable[[Graph], None]) -> Graph:
    graph = Graph(copy.deepcopy(example()))
    graph.graph.update(example().graph)
    change(graph)
    return graph


def setting(node: int, **fields: Any) -> Callable[[Graph], None]:
    return lambda graph: graph._node[node].update(fields)


def state(**fields: Any) -> Callable[[Graph], None]:
    return lambda graph: graph.graph.update(fields)


def test_a_sound_graph_passes() -> None:
    assert example().guards == (Guard("==", n, m),)
    check(example())
    check(corrupted(lambda graph: None))
    check(parse("graph empty() -> () { return }"))


ATTR = (("axes", (0, 1)), ("keepdims", False))
MANY = (1.0, np.nan)
CORRUPTIONS: dict[str, tuple[Callable[[Graph], None], str]] = {
    "no name": (lambda graph: graph.graph.pop("name"), "needs a name"),
    "list of inputs": (state(inputs=[0, 1]), "inputs are no tuple"),
    "no donation": (lambda graph: graph.graph.pop("donated"), "donated are no tuple"),
    "gap in the ids": (lambda graph: graph.remove_node(4), "in order"),
    "id of another kind": (lambda graph: graph.add_node("x"), "in order"),
    "ids out of order": (
        lambda graph: graph._node.__setitem__(0, graph._node.pop(0)),
        "in order",
    ),
    "missing field": (lambda graph: graph._node[3].pop("region"), "other fields"),
    "extra field": (setting(3, colour="red"), "other fields"),
    "op is no name": (setting(3, op=None), "op's name"),
    "list of operands": (setting(3, args=[0, 2]), "operands are no tuple"),
    "operand is missing": (setting(3, args=(0, 99)), "come before"),
    "operand is the node": (setting(3, args=(0, 3)), "come before"),
    "operand is bool": (setting(3, args=(False, 2)), "come before"),
    "cycle": (setting(3, args=(0, 4)), "come before"),
    "operand without edge": (setting(3, args=(1, 2)), "edges"),
    "edge without operand": (lambda graph: graph.add_edge(0, 5), "edges"),
    "edge on one side": (lambda graph: graph._succ[0].__setitem__(5, {}), "edges"),
    "lost edge": (lambda graph: graph.remove_edge(0, 3), "edges"),
    "region is no int": (setting(3, region="r1"), "region"),
    "negative region": (setting(3, region=-1), "region"),
    "origin comes later": (setting(3, origin=4), "origin"),
    "origin is itself": (setting(3, origin=3), "origin"),
    "location is no Loc": (setting(3, loc=("model.py:12",)), "locations"),
    "attrs are a dict": (setting(5, attrs=dict(ATTR)), "no tuple of pairs"),
    "attrs out of order": (setting(5, attrs=ATTR[::-1]), "not in order"),
    "attr twice": (setting(5, attrs=(ATTR[0], ATTR[0])), "not in order"),
    "attr's name": (setting(5, attrs=(("a b", 1),)), "no identifier"),
    "attr is a list": (setting(5, attrs=(("axes", [0, 1]), ATTR[1])), "graphs do not hold"),
    "attr of NumPy": (setting(5, attrs=(("axes", (np.int64(0), 1)), ATTR[1])), "graphs do not hold"),
    "attr is an array": (setting(5, attrs=(("axes", np.zeros(2)), ATTR[1])), "graphs do not hold"),
    "attr with nan": (setting(5, attrs=(("axes", MANY), ATTR[1])), "graphs do not hold"),
    "attr's dtype": (setting(5, attrs=(("axes", np.dtype("U3")), ATTR[1])), "graphs do not hold"),
    "attr is missing": (setting(5, attrs=ATTR[:1]), "cannot take these"),
    "attr is unknown": (setting(5, attrs=(*ATTR, ("out", 1))), "cannot take these"),
    "attr of another kind": (setting(5, attrs=(("axes", 0), ATTR[1])), "cannot take these"),
    "attr out of range": (setting(5, attrs=(("axes", (0, 2)), ATTR[1])), "out of bounds"),
    "free symbol in an attr": (setting(5, attrs=(("axes", (k,)), ATTR[1])), "no input's shape has k"),
    "unknown op": (setting(3, op="multiply"), "no op called multiply"),
    "arity": (setting(3, op="sin"), "number of operands"),
    "type is none": (setting(3, type="f64[n,3]"), "type is none"),
    "wrong dtype": (setting(3, type=parse_type("f32[n,3]")), "not what its op gives"),
    "wrong shape": (setting(5, type=parse_type("f64[1]")), "not what its op gives"),
    "wrong weakness": (setting(5, type=parse_type("f64[]~")), "not what its op gives"),
    "operand's type": (setting(0, type=parse_type("f32[n,3]")), "differ in dtype"),
    "negative size": (setting(3, type=TensorType((-1, 3), F64)), "size of the type"),
    "bool size": (setting(3, type=TensorType((True, 5), F64)), "size of the type"),
    "free symbol": (setting(3, type=parse_type("f64[k,3]")), "no input's shape has k"),
    "constant's type": (setting(2, type=parse_type("f32[]")), "not what its op gives"),
    "constant without value": (setting(2, attrs=()), "a constant has a value"),
    "constant of a number": (setting(2, attrs=(("value", 2.0), ("weak", False))), "a constant has a value"),
    "input is missing": (state(inputs=(0,), donated=()), "not its nodes of op input"),
    "input is another node": (state(inputs=(0, 1, 3)), "not its nodes of op input"),
    "input is no node": (state(inputs=(0, 1, 77)), "is no node"),
    "input twice": (state(inputs=(0, 1, 1)), "stands twice"),
    "input's name": (setting(1, attrs=(("name", "x"),)), "one name"),
    "input without name": (setting(1, attrs=()), "an input has a name"),
    "input in a region": (setting(1, region=1), "an input has a name"),
    "input is a tuple": (setting(1, type=TupleType([parse_type("f64[m,3]")])), "an input is an array"),
    "output is no node": (state(outputs=(99,)), "is no node"),
    "output is a tuple": (setting(5, type=TupleType([parse_type("f64[]")])), "is a tuple"),
    "guard is none": (state(guards=("n == m",)), "a guard is none"),
    "guard's relation": (state(guards=(Guard(">", n, m),)), "a guard is none"),  # type: ignore[arg-type]
    "guard's side": (state(guards=(Guard("==", n, "m"),)), "no size"),  # type: ignore[arg-type]
    "guard of a free symbol": (state(guards=(Guard("==", n, k),)), "no input's shape has k"),
    "guard is lost": (state(guards=()), "do not broadcast"),
    "donated is no input": (state(donated=(2,)), "not positions"),
    "donated twice": (state(donated=(1, 1)), "not positions"),
    "donated out of order": (state(donated=(1, 0)), "not positions"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruption_is_refused(name: str) -> None:
    change, words = CORRUPTIONS[name]
    graph = corrupted(change)
    with pytest.raises(IRError, match=words):
        check(graph)


def test_the_error_shows_the_graph_line_and_the_users() -> None:
    graph = corrupted(setting(3, type=parse_type("f64[n,4]")))
    with pytest.raises(IRError) as caught:
        check(graph, line=format_node)
    assert str(caught.value) == (
        "mul: the node's type is not what its op gives\n"
        "  expected  f64[n,3]\n"
        "  actual    f64[n,4]\n"
        "  at        model.py:12 in predict\n"
        "  in        %2: f64[n,4] = mul(%x, 2.0)"
    )
    with pytest.raises(IRError) as caught:
        check(graph)
    assert caught.value.graph_line == "%3: f64[n,4] = mul(%0: f64[n,3], %2: f64[])"
    with pytest.raises(IRError) as caught:
        check(corrupted(setting(3, args=(0, 99))), line=format_node)
    assert caught.value.graph_line == "%3: f64[n,3] = mul(%0: f64[n,3], %99: ?)"


# --- nested graphs ------------------------------------------------------------------------------------------


class Call:
    """The record of an op that applies a nested graph."""

    domains = ()
    elementwise = False

    @staticmethod
    def type(facts: Facts, *operands: Any, body: Graph) -> Any:
        return body.output_types[0]


def outer(body: Graph) -> Graph:
    builder = Builder("outer")
    x = builder.input("x", parse_type("f64[n,3]"))
    builder.input("y", parse_type("f64[m,3]"))
    builder.guards[Guard("==", n, m)] = None
    kind = body.output_types[0]
    return builder.finish([builder.add("call", (x,), (("body", body),), kind, (), None)])


def check_nested(graph: Graph) -> None:
    check_ir(graph, {**TABLE, "call": Call()}, partial(Facts, assume=False), format_node)


def inner(text: str) -> Graph:
    return parse(text)


def test_nested_graphs_are_checked() -> None:
    check_nested(outer(example()))
    with pytest.raises(IRError, match="not what its op gives") as caught:
        check_nested(outer(corrupted(setting(3, type=parse_type("f64[n,4]")))))
    assert caught.value.graph_line == "%2: f64[n,4] = mul(%x, 2.0)"


def test_a_nested_graph_may_use_the_symbols_and_guards_around_it() -> None:
    line = "%1: f64[n] = broadcast_to[shape=(n,)](%c) %2: f64[m] = broadcast_to[shape=(m,)](%c)"
    text = f"graph body(%c: f64[]) -> f64[n] {{ {line} %3: f64[n] = add(%1, %2) return %3 }}"
    check_nested(outer(inner(text)))
    with pytest.raises(IRError, match="no input's shape has n"):
        check_nested(inner(text))
    with pytest.raises(IRError, match="no input's shape has k"):
        check_nested(outer(inner(text.replace("m", "k"))))


def test_deep_nesting_is_refused() -> None:
    graph = inner("graph f(%x: f64[n,3], %y: f64[m,3]) -> f64[n,3] { return %x }")
    for _ in range(40):
        graph = outer(graph)
    check_nested(graph)
    assert parse(dump(graph)) == graph
    with pytest.raises(IRError, match="nested too deeply"):
        check_nested(outer(graph))
    deep: Any = 1
    for _ in range(60):
        deep = (deep,)
    with pytest.raises(IRError, match="nested too deeply"):
        check(corrupted(setting(5, attrs=(("axes", deep), ATTR[1]))))


# --- what the compiler builds -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(TABLE))
def test_elementwise_records_say_their_arity(name: str) -> None:
    """The verifier takes the arity of an elementwise op from its domains."""
    assert not TABLE[name].elementwise or TABLE[name].domains


@pytest.mark.parametrize("name", TABLE)
def test_records_refuse_attributes_that_they_do_not_have(name: str) -> None:
    for case in cases(TABLE[name]):
        with pytest.raises(TypeError, match="unknown"):
            case.op.type(Facts({}), *case.types, **case.attrs, unknown=True)


def test_every_pass_keeps_the_rules() -> None:
    builder = Builder("f")
    w = GraphWorld(builder)
    x = Value(w, builder.input("x", parse_type("f64[n,3]")))
    y = w.log(w.reduce_sum(w.exp(x + 0.0), axes=(1,), keepdims=True)) * w.constant(np.full((1, 1), 2.0))
    graph = builder.finish([w.sub(x, y).id, w.mul(x, 1.0).id])
    steps = run(graph, PIPELINE, check)
    assert sum(len(step.applied) for step in steps)


def test_a_constant_without_content_is_accepted() -> None:
    constant = Constant(np.zeros((5, 5)))
    builder = Builder("f")
    attrs = (("value", Constant.named(constant.digest, (5, 5), F64)), ("weak", False))
    graph = builder.finish([builder.add("const", (), attrs, parse_type("f64[5,5]"), (), None)])
    check(graph)
    with pytest.raises(IRError, match="written in full"):
        Constant.named(constant.digest, (5,), F64)
