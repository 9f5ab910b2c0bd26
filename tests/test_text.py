"""The text format: golden dumps, reading back what was written, and refusing everything else."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import graphc
from graphc import dims
from graphc.check_ir import check_ir
from graphc.errors import GraphcError, IRError, Loc, ParseError
from graphc.ir import DTYPES, Builder, Constant, Graph, Guard, TensorType, TupleType
from graphc.ops import TABLE
from graphc.ops.typing import Facts
from graphc.ops.world import GraphWorld, Value
from graphc.text import constants_of, dump, dump_dot, dump_json, format_node, parse, parse_type

F64, F32, I64, BOOL = (DTYPES[name] for name in ("f64", "f32", "i64", "bool"))
n, m = dims.symbol("n"), dims.symbol("m")


def check(graph: Graph, line: Any = None) -> None:
    check_ir(graph, TABLE, partial(Facts, assume=False), line)


def read(text: str, **constants: Any) -> Graph:
    return parse(text, check=check, **constants)


def assert_round_trip(graph: Graph, verify: Any = check) -> None:
    constants = constants_of(graph)
    for locations in (True, False, "full"):
        text = dump(graph, locations=locations)  # type: ignore[arg-type]
        again = parse(text, constants, check=verify)
        assert again == graph, text
        assert dump(again, locations=locations) == text  # type: ignore[arg-type]
        assert parse(text, check=verify) == graph, text
    assert [again.nodes[i]["loc"] for i in again] == [again.nodes[i]["loc"] for i in parse(text)]
    assert dump(pickle.loads(pickle.dumps(graph)), locations=locations) == text  # type: ignore[arg-type]


class Sketch:
    """A world on a builder of its own, for graphs made by hand."""

    def __init__(self, name: str = "f") -> None:
        self.builder = Builder(name)
        self.w = GraphWorld(self.builder)

    def input(self, name: str, type: str) -> Value:
        return Value(self.w, self.builder.input(name, parse_type(type)))

    def node(self, op: str, kind: Any, *operands: Any, **attrs: Any) -> Value:
        """A node of any op, known or not."""
        result = parse_type(kind) if isinstance(kind, str) else kind
        ids = tuple(x.id for x in operands)
        return Value(self.w, self.builder.add(op, ids, tuple(sorted(attrs.items())), result, (), None))

    def finish(self, *outputs: Value, donated: tuple[int, ...] = ()) -> Graph:
        return self.builder.finish([x.id for x in outputs], donated)


# --- how graphs look ----------------------------------------------------------------------------------------


def loss() -> Graph:
    """Softmax cross-entropy of a linear model, with a guard and user lines."""
    s = Sketch("loss")
    w = s.w
    weights, x = s.input("w", "f32[784,10]"), s.input("x", "f32[n,784]")
    targets = s.input("t", "i32[m]")
    w.loc = (Loc("models/model.py", 12, "predict"),)
    y = w.matmul(x, weights)
    w.loc = (Loc("models/model.py", 13, "loss"),)
    total = w.log_softmax(y, axes=(1,))
    rows = w.iota(size=n, dtype=DTYPES["i32"])
    picked = w.gather(total, rows, targets, axis=0)
    w.loc = ()
    return s.finish(-w.reduce_sum(picked, axes=(0,), keepdims=False) / w.convert(w.dim(size=n), F32))


def everything() -> Graph:
    """All of the grammar in one graph, of ops that do not exist."""
    body = Sketch("step")
    c = body.input("c", "f32[]")
    body.w.loc = (Loc("model.py", 3, "step"),)
    inner = body.finish(body.w.sin(c * 2))
    s = Sketch("every thing")
    b = s.builder
    s.w.loc = (Loc("dir/model.py", 12, "predict"), Loc("dir/train.py", 40, "<lambda>"))
    x, y = s.input("x", "f32[n,3]"), s.input("layers[0].w", "f32[2*n+1]")
    z = s.w.mul(x, s.w.constant(2.0, F32))
    both = s.node("scan", TupleType([parse_type("f32[n]"), parse_type("i64[]~")]), z, y, body=inner)
    first = s.node("get", "f32[n]", both, index=0)
    b.region = b.fresh_region()
    again = s.w.mul(first, s.w.constant(2.0, F32))
    b.region = 0
    attrs = {
        "nothing": None, "yes": True, "count": -3, "huge": 2**200, "size": n // 2 + 1,
        "clash": dims.symbol("f64"), "one": (n,), "none": (), "deep": ((1, (n, 2)),),
        "floats": (1.0, -0.0, 1e300, float("inf")), "text": 'a "b"\n\\ ∂',
        "dtype": F32, "type": parse_type("f64[n,3]~"), "small": Constant(np.array([[1, 2], [3, 4]], np.int8)),
        "large": Constant(np.zeros((5, 3))), "graph": inner,
    }  # fmt: skip
    odd = s.node("odd", "f64[]~", again, **attrs)
    b.nodes[odd.id]["origin"] = z.id
    b.nodes[odd.id]["loc"] = s.w.loc
    nan = s.w.constant(np.array(0x7FF8000000000001, np.uint64).view(F64))
    scalars = (s.w.constant(1, I64, weak=True), s.w.constant(True), s.w.constant(0.1, F32))
    mixed = s.node("mixed", "f64[]", nan, *scalars, odd)
    table = s.w.constant(np.array([1.5, -0.0, np.nan, -np.inf]))
    large = s.w.constant(np.arange(100, dtype=np.int16).reshape(4, 25))
    scalar = s.w.constant(1 - 2j)
    b.guards |= dict.fromkeys([Guard("==", n, m), Guard("<=", n // 2, 40), Guard("!=", 1, n)])
    return s.finish(z, mixed, table, large, scalar, odd, donated=(1,))


@pytest.mark.parametrize("graph", [loss(), everything()], ids=["loss", "everything"])
def test_dump(graph: Graph, golden: Callable[[str, str], None]) -> None:
    golden(f"text_{'loss' if graph.name == 'loss' else 'everything'}", dump(graph))
    assert_round_trip(graph, check if graph.name == "loss" else None)


def test_dump_json(golden: Callable[[str, str], None]) -> None:
    golden("text_json", dump_json(loss()))
    everything_json = json.loads(dump(everything(), "json"))
    assert [node["id"] for node in everything_json["nodes"]] == list(everything().nodes)


def test_dump_dot(golden: Callable[[str, str], None]) -> None:
    golden("text_dot", dump_dot(loss()))
    dump(everything(), "dot")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(IRError, match="no format 'yaml'"):
        dump(loss(), "yaml")  # type: ignore[arg-type]


def test_full_locations_are_read_back_in_full() -> None:
    graph = everything()
    again = parse(dump(graph, locations="full"))
    found = {one for i in again for one in again.nodes[i]["loc"]}
    assert found == {Loc("dir/model.py", 12, "predict"), Loc("dir/train.py", 40, "<lambda>")}


def test_comments_are_read_back_as_locations() -> None:
    again = read(dump(loss()))
    assert again.nodes[3]["loc"] == (Loc("model.py", 12, "predict"),)
    assert "#" not in dump(loss(), locations=False)


def test_equal_graphs_have_one_text() -> None:
    """Ids and region numbers do not show."""
    graph = everything()
    shuffled = nx.relabel_nodes(nx.DiGraph(graph), {i: i for i in graph})
    assert set(shuffled) == set(graph)
    text = dump(graph)
    renamed = Graph(graph)
    for i in renamed:
        data = dict(renamed._node[i])
        renamed._node[i] = {**data, "region": 7 * data["region"]}
    assert dump(renamed) == text


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("x", "%x"), ("params.w", "%params.w"), ("α", "%α"), ("_0", "%_0"),
        ("3", '%"3"'), ("a b", '%"a b"'), ("", '%""'), ('"\\', r'%"\"\\"'),
        ("w[0]", '%"w[0]"'), ("a.", '%"a."'), ("donated", "%donated"),
        ("\n", r'%"\x0a"'), ("∂", r'%"\u2202"'), ("😀", r'%"\U0001f600"'), ("inf", "%inf"), ("²", "%²"),
        ("\ud800", r'%"\ud800"'),
    ],
)  # fmt: skip
def test_input_names(name: str, label: str) -> None:
    s = Sketch()
    graph = s.finish(s.w.sin(s.input(name, "f64[]")))
    assert dump(graph).startswith(f"graph f({label}: f64[])")
    assert_round_trip(graph)


def test_format_node_shows_the_line_of_the_dump() -> None:
    graph = everything()
    lines = dump(graph, locations=False).split("\n")
    shown = [format_node(graph, i) for i in graph]
    assert shown[:2] == ["%x: f32[n,3]", '%"layers[0].w": f32[2*n+1]']
    assert all("\n" not in line for line in shown)
    assert sum(f"  {line}" in lines for line in shown) >= 7
    assert "body=graph step" in "".join(shown)


# --- scalar operands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "dtype", "weak", "shown"),
    [
        (2.0, "f64", False, "2.0"), (-0.0, "f64", False, "-0.0"), (1e22, "f64", False, "1e+22"),
        (np.inf, "f64", False, "inf"), (-np.inf, "f64", False, "-inf"), (np.nan, "f64", False, "nan"),
        (2.0, "f64", True, "2.0:f64~"), (0.1, "f32", False, "0.1:f32"), (0.1, "f16", False, "0.1:f16"),
        (65504, "f16", False, "65500.0:f16"), (5e-324, "f64", False, "5e-324"),
        (2, "i64", False, "2:i64"), (2, "i64", True, "2:i64~"),
        (2**64 - 1, "u64", False, "18446744073709551615:u64"), (-128, "i8", False, "-128:i8"),
        (True, "bool", False, "True:bool"),
        (1 + 2j, "c128", False, "(1.0, 2.0):c128"), (0.1j, "c64", True, "(0.0, 0.1):c64~"),
    ],
)  # fmt: skip
def test_a_scalar_operand(value: Any, dtype: str, weak: bool, shown: str) -> None:
    s = Sketch()
    x = s.input("x", "f64[3]")
    constant = s.w.constant(np.array(value, DTYPES[dtype]), DTYPES[dtype], weak)
    graph = s.finish(s.node("op", "f64[3]", x, constant))
    assert f"op(%x, {shown})" in dump(graph)
    assert_round_trip(graph, None)


@pytest.mark.parametrize(("name", "bits"), [("f16", "u16"), ("f32", "u32"), ("f64", "u64")])
def test_every_bit_pattern_survives(name: str, bits: str) -> None:
    generator = np.random.default_rng(0)
    dtype = DTYPES[name]
    size = 8 * dtype.itemsize
    edges = [0, 1, 2**size - 1, 2 ** (size - 1)]
    some = [int(v) for v in generator.integers(0, 2**size - 1, 3000, np.uint64, endpoint=True)]
    patterns = range(2**16) if size == 16 else edges + some
    for k in range(0, len(patterns), 60 // dtype.itemsize):
        array = np.array(patterns[k : k + 60 // dtype.itemsize], DTYPES[bits]).view(dtype)
        s = Sketch()
        graph = s.finish(s.w.constant(array))
        (output,) = parse(dump(graph)).outputs
        again = parse(dump(graph)).nodes[output]["attrs"][0][1].array
        assert again.tobytes() == array.tobytes(), dump(graph)


def test_one_constant_stays_one_and_two_stay_two() -> None:
    s = Sketch()
    x = s.input("x", "f64[]")
    one = s.w.mul(s.w.add(x, s.w.constant(2.0)), s.w.constant(2.0))
    assert dump(s.finish(one)).count(" = ") == 2
    assert_round_trip(s.finish(one))
    s.builder.nodes.append(dict(s.builder.nodes[1]))  # the same constant, not merged
    two = s.finish(s.w.mul(one, Value(s.w, len(s.builder.nodes) - 1)))
    assert two.number_of_nodes() == 6
    assert dump(two).count(" = 2.0") == 2
    assert_round_trip(two)


def test_constants_that_need_a_line() -> None:
    s = Sketch()
    x = s.input("x", "f64[]")
    a, b, c, d = (s.w.constant(v) for v in (1.0, 2.0, 3.0, 4.0))
    s.builder.region = s.builder.fresh_region()
    inside = s.w.add(x, a)  # of another region
    s.builder.region = 0
    y = s.w.mul(s.w.mul(inside, b), s.w.add(c, d))
    s.builder.nodes[y.id]["origin"] = c.id
    graph = s.finish(y, b)  # b is a result, c an origin
    assert [line for line in dump(graph).split("\n") if re.search(r"= \d", line)] == [
        "  %1: f64[] = 1.0",
        "  %2: f64[] = 2.0",
        "  %3: f64[] = 3.0",
    ]
    assert "4.0" in dump(graph)
    assert_round_trip(graph)


# --- large constants ----------------------------------------------------------------------------------------


def large() -> Graph:
    s = Sketch()
    x = s.input("x", "f64[3,4]")
    body = Sketch("body")
    inner = body.finish(body.w.constant(np.ones((9, 3), np.float32)))
    return s.finish(s.w.matmul(x, s.w.constant(np.arange(20.0).reshape(4, 5))), s.node("call", "f64[]", body=inner))


def test_large_constants_are_named() -> None:
    graph = large()
    constants = constants_of(graph)
    assert sorted(a.shape for a in constants.values()) == [(4, 5), (9, 3)]
    text = dump(graph)
    assert all(f"sha256:{digest}" in text for digest in constants)
    assert_round_trip(graph, None)


def test_without_its_content_a_graph_compares_and_prints() -> None:
    graph = large()
    bare = parse(dump(graph))
    assert bare == graph
    assert hash(bare) == hash(graph)
    # all but the words that say what the content is
    assert dump(bare).split("\n") == [line for line in dump(graph).split("\n") if not line.lstrip().startswith("#")]
    assert pickle.loads(pickle.dumps(bare)) == graph
    with pytest.raises(IRError, match=r"content of constant sha256:[0-9a-f]{64} is not here"):
        constants_of(bare)
    assert_round_trip(parse(dump(graph), constants_of(graph)), None)


def test_a_named_constant_passes_the_verifier() -> None:
    text = "graph f() -> f64[9] {\n %1: f64[9] = sha256:" + "0" * 64 + "\n return %1\n}"
    (output,) = read(text).outputs
    with pytest.raises(IRError, match="is not here"):
        _ = read(text).nodes[output]["attrs"][0][1].array


def test_wrong_content_is_refused() -> None:
    graph = large()
    constants = constants_of(graph)
    wrong = {digest: a + 1 for digest, a in constants.items()}
    with pytest.raises(ParseError, match="SHA-256 among the constants"):
        parse(dump(graph), wrong)
    with pytest.raises(ParseError):
        parse(dump(graph), {digest: a.astype(np.float16) for digest, a in constants.items()})


# --- random graphs ------------------------------------------------------------------------------------------

DTYPE = st.sampled_from(list(DTYPES.values()))
SYMBOLS = st.sampled_from(["n", "m", "f64", "size", "batch_0", "inf"]).map(dims.symbol)
SIZES = st.recursive(
    st.integers(0, 9) | SYMBOLS,
    lambda inner: st.builds(
        lambda a, b, k: (a + b, a * b, a // 2 + b, dims.maximum(a, b))[k], inner, inner, st.integers(0, 3)
    ),
    max_leaves=4,
)
TYPES = st.builds(TensorType, st.lists(SIZES, max_size=3), DTYPE, st.booleans())
LOCS = st.lists(st.builds(Loc, st.text(), st.integers(0, 10**6), st.text()), max_size=2).map(tuple)
CONSTANTS = st.builds(
    lambda raw, dtype, shape: Constant(
        np.frombuffer(
            bytes(b & 1 for b in raw) if dtype.kind == "b" else raw, dtype, int(np.prod(shape, dtype=int))
        ).reshape(shape)
    ),
    st.binary(min_size=16 * 36, max_size=16 * 36),
    DTYPE,
    st.lists(st.integers(0, 3), max_size=3),
)
SCALARS = st.builds(
    lambda raw, dtype: np.frombuffer(bytes(b & 1 for b in raw) if dtype.kind == "b" else raw, dtype, 1).reshape(()),
    st.binary(min_size=16, max_size=16),
    DTYPE,
) | st.sampled_from([1.0, 2.0, 0.5, -0.0, 1, 2, True, 1j]).map(np.array)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(),
        SIZES,
        DTYPE,
        TYPES,
        CONSTANTS,
    ),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=5,
)
NAMES = st.from_regex(r"[a-z_]\w{0,5}", fullmatch=True)


@st.composite
def wild_graphs(draw: st.DrawFn, depth: int = 0) -> Graph:
    """Graphs of ops that do not exist, with any attributes, types, regions, origins and duplicates."""
    builder = Builder(draw(st.text(max_size=8)))
    names = draw(st.lists(st.text(max_size=6) | NAMES, max_size=3, unique=True))
    for name in names:
        builder.input(name, draw(TYPES))
    for _ in range(draw(st.integers(1, 8))):
        builder.region = draw(st.sampled_from([0, 0, 1, 5]))
        known = range(len(builder.nodes))
        kind = draw(st.integers(0, 3))
        op, attrs, type = "", (), None
        args: tuple[int, ...] = ()
        if kind == 0:
            array, weak = draw(SCALARS), draw(st.booleans())
            op, attrs = "const", (("value", Constant(array)), ("weak", weak))
            type = TensorType((), array.dtype, weak)
        else:
            op = draw(NAMES.filter(lambda name: name not in ("const", "input", "inf", "nan")))
            if known:
                args = tuple(draw(st.lists(st.sampled_from(known), max_size=3)))
            found = draw(st.dictionaries(NAMES, VALUES, max_size=2))
            if depth < 2 and draw(st.integers(0, 5)) == 0:
                found["body"] = draw(wild_graphs(depth + 1))
            attrs = tuple(sorted(found.items()))
            type = draw(TYPES | st.lists(TYPES, max_size=2).map(TupleType))
        origin = draw(st.none() | st.sampled_from(known)) if known else None
        builder.nodes.append(
            {
                "op": op, "args": args, "attrs": attrs, "type": type, "loc": draw(LOCS),
                "region": builder.region, "origin": origin,
            }
        )  # fmt: skip
    outputs = draw(st.lists(st.sampled_from(range(len(builder.nodes))), max_size=3))
    for relation in draw(st.lists(st.sampled_from(["==", "!=", "<", "<="]), max_size=2)):
        builder.guards[Guard(relation, draw(SIZES), draw(SIZES))] = None  # type: ignore[arg-type]
    donated = draw(st.sets(st.sampled_from(range(len(names))))) if names else ()
    return builder.finish(outputs, sorted(donated))


@given(wild_graphs())
def test_any_graph_is_read_back(graph: Graph) -> None:
    assert_round_trip(graph, None)
    json.loads(dump_json(graph))
    dump_dot(graph)
    assert all("\n" not in format_node(graph, i) for i in graph)


@st.composite
def real_graphs(draw: st.DrawFn) -> Graph:
    """Graphs of all ops of the table, well typed, with symbolic sizes, weak scalars, regions and guards."""
    s = Sketch(draw(NAMES))
    w, builder = s.w, s.builder
    shapes = ["", "3", "n", "n,3", "m", "2,3", "1,3", "2*n"]
    pool = []
    for k in range(draw(st.integers(1, 5))):
        dtype = draw(st.sampled_from(["f64", "f64", "f32", "i64", "bool"]))
        pool.append(s.input(f"x{k}", f"{dtype}[{draw(st.sampled_from(shapes))}]"))
    names = st.sampled_from(sorted(TABLE.keys() - {"get"}))
    for _ in range(draw(st.integers(1, 12))):
        builder.region = draw(st.sampled_from([0, 0, 0, 1, 2]))
        w.loc = draw(st.sampled_from([(), (Loc("a/b.py", 3, "f"),)]))
        w.origin = draw(st.none() | st.sampled_from(range(len(builder.nodes))))
        op = TABLE[draw(names)]
        dtype = BOOL if "bool" in op.domains and op.name != "where" else draw(st.sampled_from([F64, F32, I64]))
        operands: list[Any] = []
        attrs: dict[str, Any] = {}
        if op.samples and (not op.elementwise or draw(st.booleans())):
            sample = draw(st.sampled_from(op.samples))
            attrs = dict(sample.attrs)
            for one in sample.operands:
                shape = np.shape(one) if isinstance(one, np.ndarray) else one
                alike = [v for v in pool if v.type.shape == shape and v.type.dtype == dtype]
                if isinstance(one, np.ndarray):
                    operands.append(w.constant(one))
                elif alike and draw(st.booleans()):
                    operands.append(draw(st.sampled_from(alike)))
                else:
                    operands.append(w.broadcast_to(w.constant(draw(st.sampled_from([0, 1])), dtype), shape=shape))
        else:
            attrs = dict(draw(st.sampled_from(op.samples)).attrs) if op.samples else {}
            first = draw(st.sampled_from(pool))
            for kind in op.domains:
                wanted = BOOL if kind == "bool" else first.type.dtype
                alike = [v for v in pool if v.type.dtype == wanted]
                if alike and draw(st.integers(0, 2)):
                    operands.append(draw(st.sampled_from(alike)))
                else:
                    bits = draw(st.binary(min_size=8, max_size=8))
                    raw = np.frombuffer(bits[: wanted.itemsize], wanted).reshape(()) if wanted != BOOL else True
                    operands.append(w.constant(raw, wanted, weak=draw(st.booleans())))
        try:
            made = w.apply(op.name, operands, **attrs)
        except GraphcError:
            continue
        if isinstance(made.type, TensorType):
            pool.append(made)
        else:
            pool += [w.get(made, index=k) for k in range(len(made.type.items))]
    w.origin = None
    builder.region = 0
    if draw(st.booleans()):
        pool.append(w.dim(size=n) + 1 if draw(st.booleans()) and "n" in _symbols(pool) else w.pi(dtype=F32))
    outputs = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=4))
    return s.finish(*outputs)


def _symbols(pool: list[Value]) -> set[str]:
    return {name for v in pool for size in v.type.shape for name in dims.symbols(size)}


@given(real_graphs())
def test_graphs_of_the_table_are_read_back_and_verified(graph: Graph) -> None:
    check(graph)
    assert_round_trip(graph)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_each_op_is_read_back(name: str) -> None:
    dtype = "bool" if name in ("reduce_any", "reduce_all") else "f64"
    for sample in TABLE[name].samples:
        s = Sketch(name)
        operands = [
            s.w.constant(one) if isinstance(one, np.ndarray) else s.input(f"x{k}", f"{dtype}{[*one]}")
            for k, one in enumerate(sample.operands)
        ]
        made = s.w.apply(name, operands, **sample.attrs)
        several = isinstance(made.type, TupleType)
        results = [s.w.get(made, index=k) for k in range(len(made.type.items))] if several else [made]
        graph = s.finish(*results)
        assert TABLE[name].opaque or not several
        assert name in [data["op"] for data in graph._node.values()]
        check(graph)
        assert_round_trip(graph)


@given(arrays(st.sampled_from(list(DTYPES.values())), st.integers(0, 12)))
def test_any_array_is_read_back(array: np.ndarray[Any, Any]) -> None:
    s = Sketch()
    assert_round_trip(s.finish(s.w.constant(array)))


@given(SIZES)
def test_any_type_is_read_back(size: Any) -> None:
    type = TensorType((size, 3), F32, True)
    assert parse_type(repr(type)) is type


# --- what is no graph ---------------------------------------------------------------------------------------

TEXTS = [dump(loss()), dump(everything()), dump(everything(), locations="full"), dump(large())]
PIECES = st.sampled_from(
    [
        *"()[]{}%:,=@#\"\\-~<>.", "\n", "%3", "%x", "f64[", "n", "2", "1.5", "nan", "True", "None", "(((",
        "graph f() -> () {return}", "return", "guard ", "from=%1", "@r1", "sha256:", "const ", "max(",
        "size(", "0x7f", "99999999999999999999", "1e999",
    ]
) | st.text(max_size=3)  # fmt: skip


@given(st.data())
@settings(max_examples=400)
def test_a_changed_text_gives_a_graph_or_a_clear_error(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 6))
        text = text[:start] + data.draw(PIECES) + text[end:]
    for verify in (None, check):
        with contextlib.suppress(ParseError, IRError):
            parse(text, check=verify)


@given(st.text() | st.lists(PIECES).map("".join))
def test_any_text_gives_a_clear_error(text: str) -> None:
    for reader in (parse, parse_type):
        with pytest.raises(ParseError, match=r"text, line \d+:\d+\n  expected  "):
            reader("\0" + text)
        with contextlib.suppress(ParseError):
            reader(text)


HEAD = "graph f(%x: f64[3], %y: f64[n]) -> f64[3] {\n"


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "1:1", "'graph'"),
        ("graph", "1:6", "the graph's name"),
        ("graph f(%x) -> () {return}", "1:11", "':'"),
        ("graph f(%x: f8[]) -> () {return}", "1:13", "a type such as"),
        ("graph f(%x: f64) -> () {return}", "1:16", "write f64[] for a scalar"),
        ("graph f(%x: f64[-1]) -> () {return}", "1:17", "a size of at least 0"),
        ("graph f(%x: f64[n+]) -> () {return}", "1:17", "a size such as"),
        ("graph f(%x: f64[], %x: f64[]) -> () {return}", "1:20", "a second time"),
        ("graph f(%0: f64[]) -> () {return}", "1:9", "an input's name"),
        (HEAD + "%z: f64[3] = sin(%q)\nreturn %z}", "2:18", "a label defined above"),
        (HEAD + "%z: f64[3] = sin(%z)\nreturn %z}", "2:18", "a label defined above"),
        (HEAD + "%x: f64[3] = sin(%x)\nreturn %x}", "2:1", "a label of its own"),
        (HEAD + "%z: f64[3] = sin(%x\nreturn %z}", "3:1", "')'"),
        (HEAD + "%z: f64[3] = sum[axis=](%x)\nreturn %z}", "2:23", "a value"),
        (HEAD + "%z: f64[3] = sum[a=1, a=2](%x)\nreturn %z}", "2:27", "each attribute once"),
        (HEAD + "%z: f64[3] = sum[f=<function f>](%x)\nreturn %z}", "2:20", "has no text"),
        (HEAD + "%z: f64[3] = add(%x, 2:f6)\nreturn %z}", "2:24", "a dtype such as f64"),
        (HEAD + "%z: f64[3] = add(%x, 2)\nreturn %z}", "2:22", "the scalar's dtype"),
        (HEAD + "%z: f64[3] = add(%x, 300:u8)\nreturn %z}", "2:22", "out of range"),
        (HEAD + "%z: f64[3] = add(%x, 1e999)\nreturn %z}", "2:22", "out of range"),
        (HEAD + "%z: f64[3] = add(%x, 0x7f:f64)\nreturn %z}", "2:22", "16 hexadecimal digits"),
        (HEAD + "%z: f64[3] = add(%x, True:f64)\nreturn %z}", "2:22", "of another kind"),
        (HEAD + "%z: f64[3] = [1.0, 2.0]\nreturn %z}", "2:23", "','"),
        (HEAD + "%z: f64[n] = [1.0, 2.0]\nreturn %z}", "2:14", "in integers"),
        (HEAD + "%z: (f64[3]) = 1.0\nreturn %z}", "2:16", "an op"),
        (HEAD + "%z: f64[1] = sha256:" + "0" * 64 + "\nreturn %z}", "2:14", "at most 64 bytes"),
        (HEAD + "%z: f64[3] = sin(%x) @x1\nreturn %z}", "2:23", "a region such as r1"),
        (HEAD + "%z: f64[3] = sin(%x) from=%z\nreturn %z}", "2:27", "a label defined above"),
        (HEAD + "guard n = 3\nreturn %x}", "2:1", "a guard such as"),
        (HEAD + "guard n == \nreturn %x}", "2:11", "a size such as"),
        (HEAD + "return %y}", "1:36", "the types of what is returned"),
        (HEAD + "return %x} x", "2:12", "the end"),
        (HEAD + "return %x", "2:10", "'}'"),
        ("graph f() -> f64[3] {\nreturn $}", "2:8", "a label such as"),
    ],
)  # fmt: skip
def test_an_error_says_where(text: str, place: str, words: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert f"graph text, line {place}" in str(caught.value)
    assert words in str(caught.value)


def test_the_layout_of_an_error() -> None:
    with pytest.raises(ParseError) as caught:
        parse(HEAD + "  %z: f64[3] = add(%x %y)\n  return %z\n}")
    assert str(caught.value) == (
        "graph text, line 2:23\n  expected  ')'\n  actual    '%y'\n  in        %z: f64[3] = add(%x %y)"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%z: f64[3] = sinn(%x)", "no op called sinn"),
        ("%z: f64[3] = sin(%x, %x)", "wrong number of operands"),
        ("%z: f64[3] = sin()", "wrong number of operands"),
        ("%z: f64[4] = sin(%x)", "type is not what its op gives"),
        ("%z: f64[3] = add(%x, %y)", "do not broadcast"),
        ("%z: f64[3] = transpose(%x)", "cannot take these operands and attributes"),
        ("%z: f64[3] = transpose[perm=1](%x)", "cannot take these operands and attributes"),
        ("%z: f64[3] = reshape[shape=(10000000000000000000000, 3)](%x)", "number of elements changes"),
        ("%z: f64[k] = broadcast_to[shape=(k,)](0.0)", "no input's shape has k"),
        ('%z: f64[3] = identity[a="b"](%x)', "cannot take these"),
    ],
)
def test_the_verifier_names_the_line(line: str, words: str) -> None:
    with pytest.raises(IRError, match=re.escape(words)) as caught:
        read(HEAD + "  " + line + "  # model.py:3 f\n  return %x\n}")
    assert str(caught.value.graph_line).startswith("line 2: %z: f64[")


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "%z: f64[3] = a[b=" + "(" * 100_000,
        HEAD + "%z: f64[3] = a[b=" + "(" * 500 + "1" + ",)" * 500 + "](%x)\nreturn %z}",
        HEAD + "%z: f64[3] = a[b=" + "(n+" * 100_000,
        HEAD + "%z: f64[" + "-" * 200_000 + "1",
        HEAD + "%z: f64[3] = a[b=" + "graph f() -> () { %1: f64[] = a[b=" * 1000,
        HEAD + "%z: f64[" + "1," * 100 + "] = " + "[" * 100_000,
        HEAD + "%z: f64[100000000000000000000] = [1.0, 2.0]",
        HEAD + "%z: f64[3] = add(%x, " + "9" * 100_000 + ":i64)",
        HEAD + "%z: f64[3] = a[b=" + "9" * 100_000 + "](%x)\nreturn %z}",
        HEAD + '%z: f64[3] = a[b="' + "\\" * 100_001,
        HEAD + '%z: f64[3] = a[b="\\U99999999"](%x)',
        HEAD + "%" * 100_000,
        "#" * 200_000,
        "# \n" * 100_000 + "$",
        " " * 200_000 + "graph f(" + "%x: f64[3], " * 1000,
        "graph f() -> (" + "(" * 100_000,
    ],
    ids=range(16),
)
def test_hostile_texts_fail_fast(text: str) -> None:
    start = time.process_time()
    with pytest.raises(ParseError):
        parse(text)
    assert time.process_time() - start < 2


def test_a_comment_is_never_read_as_tokens() -> None:
    with pytest.raises(ParseError, match="1:8"):
        parse("graph f$ # () -> () { return }")
    with pytest.raises(ParseError, match="the end"):
        parse("graph f # () -> () { return }")


@pytest.mark.parametrize(
    "text", ["f64", "f64[", "f64[]~~", "f64[] x", "", "float64[3]", "f64[(3]", "(f64[])", "f64[1.5]"]
)
def test_what_is_no_type(text: str) -> None:
    with pytest.raises(ParseError, match="type text, line 1:"):
        parse_type(text)


def test_labels_of_a_text_by_hand() -> None:
    graph = parse(
        """graph f(%x: f64[(n+1)//2],) -> (f64[(n+1)//2], f64[(n+1)//2],) {
        %h: f64[(n+1)//2] = mul(%x, 2.0)
        %"h 2": f64[(n+1)//2] = thing[b=(n), a=((n+1)//2, 2*n)](%h) return %h, %"h 2" }  # the end"""
    )
    assert graph.nodes[3]["attrs"] == (("a", ((n + 1) // 2, 2 * n)), ("b", n))
    assert_round_trip(graph, None)


def chain(length: int) -> Graph:
    s = Sketch("chain")
    x = y = s.input("x", "f64[n]")
    for k in range(length):
        s.w.loc = (Loc("model.py", k, "f"),)
        y = s.w.sin(y) if k % 2 else s.w.mul(y, x) if k % 4 else s.w.mul(y, 2.0)
    return s.finish(y)


def test_large_graphs_are_written_and_read_fast() -> None:
    graph = chain(10_000)
    start = time.process_time()
    text = dump(graph)
    written = time.process_time()
    again = read(text)
    done = time.process_time()
    print(f"10,000 nodes: dump {written - start:.2f} s, parse and check {done - written:.2f} s")
    assert written - start < 2  # 0.2 s where nothing else runs
    assert done - written < 6  # 0.7 s
    assert again == graph


@pytest.mark.parametrize(
    ("f", "specs", "expected"),
    [
        (np.sin, ("f64[n]",), "<graph sin(f64[n]) -> f64[n]: 1 node>"),
        (divmod, ("i64[]", "i64[3]"), "<graph divmod(i64[], i64[3]) -> i64[3], i64[3]: 2 nodes>"),
        (lambda: None, (), "<graph f() -> (): 0 nodes>"),
    ],
    ids=["one result", "two results", "nothing"],
)
def test_a_graph_in_a_prompt_is_one_line(f: Callable[..., Any], specs: tuple[str, ...], expected: str) -> None:
    assert repr(graphc.trace(f, *specs)) == expected
