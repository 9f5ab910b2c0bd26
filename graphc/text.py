"""The text format of graphs: `dump` writes it, `parse` reads it back, and `parse(dump(g)) == g`.

```
graph loss(%w: f32[784,10], donated %x: f32[n,784]) -> (f32[n], f32[784]) {
  guard n <= 4096                    # a fact that each run checks; it ends with its line
  %2: f32[n,10] = matmul(%x, %w)     # model.py:12 predict
  %3: f32[n] = reduce_max[axes=(1,), keepdims=False](%2) @r1    # in region 1; nothing is said of region 0
  %4: f32[n] = mul(%3, 2.0) from=%2                             # the derivative of %2, or a part of it
  %5: (f32[n], i64[]~) = scan[body=graph step(%c: f32[]) -> f32[] {
    return %c
  }](%4) loc("model.py":14 "loss")   # all locations, as locations="full" writes them
  %6: f32[2] = [1.5, -0.0]
  %7: f32[784] = sha256:<64 hexadecimal digits>
  return %4, %7
}
```

Types: `f64[n,3]`; `i64[]~` is weak; `(f64[], i64[2])` has several results. Values of attributes: True, False,
None, integers, floats, strings, sizes as `2*n+1` (`size(f64)` where a symbol is a word of the format),
dtypes, types, Python's tuples, `const` with a type and its elements, and graphs. An input's name that is no
identifier stands in quotes: `%"a b"`. Elements: `True`, `3`, `2.0`, `nan`, `-inf`, `(1.0, -0.0)` if complex,
and `0x7fc00001` for the bit pattern of a float that no decimal gives.

A scalar constant that only nodes of its own region use stands among their operands. Its dtype and weakness
are those of the first operand of its kind that is not such a scalar, or else of the result, or those written
after it: `2.0:f32`, `2:i64~`.
"""

from __future__ import annotations

import json
import math
import re
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import networkx as nx
import numpy as np

from graphc import dims
from graphc.dims import Dim, Size
from graphc.errors import IRError, Loc, ParseError
from graphc.ir import DTYPE_NAMES, DTYPES, Attrs, Constant, Graph, Guard, TensorType, TupleType, Type

MAX_NESTING: Final = 48  # of graphs, tuples and arrays inside one another: a text never exhausts Python's stack
MAX_DIGITS: Final = 4000  # of a decimal integer: Python reads longer ones in quadratic time, or not at all
COMMENT_COLUMN: Final = 56
NAME: Final = re.compile(r"[^\W\d]\w*(?:\.\w+)*")
WORDS: Final = frozenset({*DTYPES, "const", "graph", "inf", "nan", "size"})
BITS: Final = {2: "e", 4: "f", 8: "d"}  # struct's letters of the floats, by size
DIGITS: Final = {"e": 5, "f": 9}  # significant decimals that tell all floats apart
PARTS: Final[dict[str, np.dtype[Any]]] = {"c8": np.dtype("f4"), "c16": np.dtype("f8")}

Line = Callable[[Graph, int], str]
Locations = bool | Literal["full"]
Element = str | tuple[str, str]
Operand = int | tuple[Element, TensorType | None, int]  # a node, or a scalar, the type written after it, where
T = TypeVar("T")


# --- scalars ------------------------------------------------------------------------------------------------


def element_text(raw: bytes, dtype: np.dtype[Any]) -> str:
    """The text of one array element that `element_bytes` reads back to the same bits."""
    if dtype.kind == "c":
        half, part = len(raw) // 2, PARTS[dtype.str[1:]]
        return f"({element_text(raw[:half], part)}, {element_text(raw[half:], part)})"
    if dtype.kind == "b":
        return str(raw != b"\0")
    if dtype.kind in "iu":
        return str(int.from_bytes(raw, sys.byteorder, signed=dtype.kind == "i"))
    letter = BITS[dtype.itemsize]
    (value,) = struct.unpack(letter, raw)
    if struct.pack(letter, value) == raw and (value == value or struct.pack(letter, math.nan) == raw):
        return _shortest(value, letter)
    return f"0x{int.from_bytes(raw, sys.byteorder):0{2 * len(raw)}x}"


def _shortest(value: float, letter: str) -> str:
    """The fewest decimals that name this float among those of its size."""
    for digits in range(1, DIGITS.get(letter, 0) + 1):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.pack(letter, short) == struct.pack(letter, value):
                return repr(short)
        except OverflowError:  # rounded up beyond the largest
            continue
    return repr(value)


def element_bytes(element: Element, dtype: np.dtype[Any]) -> bytes:
    """The bytes of one array element; ValueError where it is none of this dtype."""
    kind, size = dtype.kind, dtype.itemsize
    if kind == "c" and isinstance(element, tuple):
        return b"".join(element_bytes(part, PARTS[dtype.str[1:]]) for part in element)
    if isinstance(element, str) and (element in ("True", "False")) == (kind == "b"):
        if kind == "b":
            return b"\1" if element == "True" else b"\0"
        if kind in "iu" and re.fullmatch("-?[0-9]+", element) and len(element) <= MAX_DIGITS:
            try:
                return int(element).to_bytes(size, sys.byteorder, signed=kind == "i")
            except OverflowError:
                raise ValueError("out of range") from None
        if kind == "f" and element.startswith("0x"):
            if len(element) != 2 + 2 * size:
                raise ValueError(f"{2 * size} hexadecimal digits are the bit pattern")
            return int(element, 16).to_bytes(size, sys.byteorder)
        if kind == "f":
            try:
                return struct.pack(BITS[size], _float(element))
            except OverflowError:
                raise ValueError("out of range") from None
    raise ValueError("of another kind")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value) and "inf" not in text:
        raise ValueError("out of range")
    return value


def _kinds(element: Element) -> str:
    """The kinds of dtype that an element's text may belong to."""
    if isinstance(element, tuple):
        return "c"
    if element in ("True", "False"):
        return "b"
    return "f" if re.search(r"[.enx]", element) else "iu"


def _implied(element: Element, types: Sequence[Type]) -> tuple[np.dtype[Any], bool] | None:
    """Dtype and weakness of a scalar operand that says neither, from the types beside it."""
    kinds = _kinds(element)
    for type in types:
        if isinstance(type, TensorType) and type.dtype.kind in kinds:
            return type.dtype, type.weak
    return None


def quote(text: str) -> str:
    """The text in double quotes, in ASCII, with Python's escapes."""
    return '"' + re.sub(r"[^ !#-\[\]-~]", _escape, text) + '"'


def _word(name: str) -> str:
    """A name as it stands in the text: in quotes if it is none of the format's."""
    return name if NAME.fullmatch(name) else quote(name)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] in '"\\':
        return "\\" + match[0]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# --- writing ------------------------------------------------------------------------------------------------


class _Writer:
    """What the lines of one graph share: labels, which constants stand inline, region numbers."""

    def __init__(self, graph: Graph, locations: Locations | None = None) -> None:
        self.graph = graph
        self.locations = locations  # None: nested graphs are only named
        self.nodes: dict[int, dict[str, Any]] = graph._node
        self.labels: dict[int, str] = {}
        self.regions: dict[int, int] = {0: 0}
        self.types: dict[Type, str] = {}
        for i in graph.inputs:
            self.labels[i] = f"%{_word(dict(self.nodes[i]['attrs'])['name'])}"
        self.inputs = set(graph.inputs)
        self.inline = self._inline()
        number = len(graph.inputs)
        for i, data in self.nodes.items():
            if i not in self.labels and i not in self.inline:
                self.labels[i] = f"%{number}"
                number += 1
                self.regions.setdefault(data["region"], len(self.regions))

    def _inline(self) -> dict[int, tuple[str, TensorType]]:
        """The scalar constants without a line of their own."""
        nodes = self.nodes
        scalars = {i: data for i, data in nodes.items() if data["op"] == "const" and self._inlinable(data)}
        count = Counter((data["attrs"], data["region"]) for data in scalars.values())
        used: set[int] = set()
        refused = set(self.graph.outputs)
        for data in nodes.values():
            refused.add(data["origin"])
            for a in data["args"]:
                if a in scalars:
                    used.add(a)
                    if data["region"] != scalars[a]["region"]:
                        refused.add(a)
        texts: dict[int, tuple[str, TensorType]] = {}
        for i, data in scalars.items():
            # of equal constants none stands inline: the reader takes equal scalars for one node
            if i in used and i not in refused and count[data["attrs"], data["region"]] == 1:
                constant = data["attrs"][0][1]
                texts[i] = element_text(constant.array.tobytes(), constant.dtype), data["type"]
        return texts

    def _inlinable(self, data: dict[str, Any]) -> bool:
        type = data["type"]
        return isinstance(type, TensorType) and type.shape == () and data["origin"] is None and plain_constant(data)

    def type(self, type: Type) -> str:
        return self.types.get(type) or self.types.setdefault(type, repr(type))

    def operands(self, data: dict[str, Any]) -> list[str]:
        inline, labels = self.inline, self.labels
        if inline.keys().isdisjoint(data["args"]):
            return [labels[a] for a in data["args"]]
        beside = [*(self.nodes[a]["type"] for a in data["args"] if a not in inline), data["type"]]
        return [self._scalar(*inline[a], beside) if a in inline else labels[a] for a in data["args"]]

    def _scalar(self, text: str, type: TensorType, beside: Sequence[Type]) -> str:
        element = ("", "") if type.dtype.kind == "c" else text
        if _implied(element, beside) == (type.dtype, type.weak):
            return text
        return f"{text}:{DTYPE_NAMES[type.dtype]}{'~' if type.weak else ''}"

    def meaning(self, data: dict[str, Any]) -> str:
        """What stands right of the equals sign."""
        if data["op"] == "const" and plain_constant(data):
            return _content(data["attrs"][0][1])
        attrs = ", ".join([f"{name}={_value(value, self.nested)}" for name, value in data["attrs"]])
        return f"{data['op']}{f'[{attrs}]' if attrs else ''}({', '.join(self.operands(data))})"

    def node(self, i: int) -> str:
        data = self.nodes[i]
        if i in self.inline:
            return self._scalar(*self.inline[i], ())
        label = f"{self.labels[i]}: {self.type(data['type'])}"
        if i in self.inputs:
            return label
        text = f"{label} = {self.meaning(data)}"
        if data["region"]:
            text += f" @r{self.regions[data['region']]}"
        if data["origin"] is not None:
            text += f" from={self.labels[data['origin']]}"
        return text

    def lines(self) -> Iterator[str]:
        graph = self.graph
        donated = set(graph.graph["donated"])
        parameters = [("donated " if k in donated else "") + self.node(i) for k, i in enumerate(graph.inputs)]
        results = [self.type(self.nodes[i]["type"]) for i in graph.outputs]
        one = len(results) == 1 and not results[0].startswith("(")
        result = results[0] if one else f"({', '.join(results)})"
        yield f"graph {_word(graph.name)}({', '.join(parameters)}) -> {result} {{"
        for guard in graph.guards:
            yield f"  guard {guard}"
        for i, data in self.nodes.items():
            if i not in self.inputs and i not in self.inline:
                yield self._located("  " + self.node(i).replace("\n", "\n  "), data["loc"])
        yield f"  return {', '.join(self.labels[i] for i in graph.outputs)}".rstrip()
        yield "}"

    def _located(self, line: str, loc: tuple[Loc, ...]) -> str:
        if not loc or not self.locations:
            return line
        if self.locations == "full":
            places = [f"{quote(one.file)}:{one.line} {quote(one.function)}" for one in loc]
            return f"{line} loc({', '.join(places)})"
        width = len(line) - line.rfind("\n") - 1
        return f"{line}{' ' * (COMMENT_COLUMN - width)}  # {_printable(f'{loc[0]} {loc[0].function}')}"

    def nested(self, graph: Graph) -> str:
        if self.locations is None:
            return f"graph {_word(graph.name)}"
        return "\n".join(_Writer(graph, self.locations).lines())


def plain_constant(data: Mapping[str, Any]) -> bool:
    """Whether the type of a `const` node says all that its attributes say, but for the elements."""
    match data["attrs"]:
        case (("value", Constant() as value), ("weak", bool() as weak)) if not data["args"]:
            type = data["type"]
            said = (value.shape, value.dtype, weak)
            return isinstance(type, TensorType) and (type.shape, type.dtype, type.weak) == said
    return False


def _content(constant: Constant) -> str:
    """The elements of a small constant, nested as its axes are, or the name of a large one."""
    if not constant.inline:
        return f"sha256:{constant.digest}"
    raw, dtype, shape = constant.array.tobytes(), constant.dtype, constant.shape
    if not raw:
        return "[]"
    step = dtype.itemsize
    rows = [element_text(raw[k : k + step], dtype) for k in range(0, len(raw), step)]
    for size in reversed(shape):
        rows = ["[" + ", ".join(rows[k : k + size]) + "]" for k in range(0, len(rows), size)]
    return rows[0]


def _value(value: Any, nested: Callable[[Graph], str]) -> str:
    """The text of an attribute's value; a Python object that is no part of the format shows as `<...>`."""
    match value:
        case None | bool() | float():
            return repr(value)
        case int():
            return str(value) if abs(value) < dims.MAX_COEFFICIENT else hex(value)
        case Dim():
            return f"size({value})" if dims.symbols(value) & WORDS else str(value)
        case str():
            return quote(value)
        case tuple():
            items = [_value(one, nested) for one in value]
            return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
        case np.dtype() if value in DTYPE_NAMES:
            return DTYPE_NAMES[value]
        case TensorType():
            return repr(value)
        case Constant() if value.dtype in DTYPE_NAMES:
            return f"const {TensorType(value.shape, value.dtype)!r} {_content(value)}"
        case Graph():
            return nested(value)
    shown = str(value) if isinstance(value, np.generic) else getattr(value, "__qualname__", "")
    return f"<{f'{type(value).__name__} {shown}'.strip()}>"


def dump(graph: Graph, fmt: Literal["text", "json", "dot"] = "text", *, locations: Locations = True) -> str:
    """The graph as text that `parse` reads back, as JSON for other programs, or as a Graphviz drawing.

    `locations` says how much of where each node comes from is written: True the first user line as a comment,
    "full" all of them with whole paths, False nothing.

    >>> print(dump(parse("graph twice(%x: f64[n]) -> f64[n] { %y: f64[n] = mul(%x, 2.0) return %y }")))
    graph twice(%x: f64[n]) -> f64[n] {
      %1: f64[n] = mul(%x, 2.0)
      return %1
    }
    """
    if fmt == "json":
        return dump_json(graph)
    if fmt == "dot":
        return dump_dot(graph)
    if fmt != "text":
        raise IRError(f"no format {fmt!r} of graphs", expected="text, json or dot")
    return "\n".join(_Writer(graph, locations).lines())


def format_node(graph: Graph, node: int) -> str:
    """One node as its line in the dump, with nested graphs by their names only.

    >>> format_node(parse("graph f(%x: f64[]) -> f64[] { %y: f64[] = sin(%x) return %y }"), 1)
    '%1: f64[] = sin(%x)'
    """
    return _Writer(graph).node(node)


def constants_of(graph: Graph) -> dict[str, np.ndarray[Any, Any]]:
    """The large constants that the graph's text only names, by SHA-256: what `parse` takes as `constants`.

    >>> constants_of(parse("graph f() -> () { return }"))
    {}
    """
    found: dict[str, np.ndarray[Any, Any]] = {}
    waiting: list[Any] = [data["attrs"] for data in graph._node.values()]
    while waiting:
        match waiting.pop():
            case Constant(inline=False) as constant:
                found[constant.digest] = constant.array
            case tuple() as several:
                waiting.extend(several)
            case Graph() as nested:
                waiting.extend(data["attrs"] for data in nested._node.values())
    return dict(sorted(found.items()))


def dump_json(graph: Graph) -> str:
    """The graph in JSON, for other programs: nodes by their ids, types and sizes as text.

    >>> json.loads(dump_json(parse("graph f(%x: f64[n]) -> f64[n] { return %x }")))["nodes"][0]["type"]
    'f64[n]'
    """
    return json.dumps(_plain_graph(graph), indent=1)


def _plain_graph(graph: Graph) -> dict[str, Any]:
    nodes = [
        {
            "id": i,
            "op": data["op"],
            "args": data["args"],
            "attrs": {name: _plain(value) for name, value in data["attrs"]},
            "type": repr(data["type"]),
            "region": data["region"],
            "origin": data["origin"],
            "loc": [{"file": one.file, "line": one.line, "function": one.function} for one in data["loc"]],
        }
        for i, data in graph._node.items()
    ]
    state = {"inputs": graph.inputs, "outputs": graph.outputs, "donated": graph.graph["donated"]}
    return {"name": graph.name, **state, "guards": [str(guard) for guard in graph.guards], "nodes": nodes}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Graph):
        return _plain_graph(value)
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _value(value, str)


def dump_dot(graph: Graph) -> str:
    r"""The graph as a drawing in Graphviz's language.

    >>> print(dump_dot(parse("graph f(%x: f64[]) -> f64[] { %y: f64[] = sin(%x) return %y }")))
    digraph "f" {
      node [shape=box, fontname=monospace];
      0 [label="%x: f64[]", shape=ellipse];
      1 [label="%1: f64[] = sin(%x)"];
      0 -> 1;
      return [label="return %1", shape=plaintext];
      1 -> return;
    }
    """
    writer = _Writer(graph)
    lines = ["node [shape=box, fontname=monospace];"]
    for i, data in graph._node.items():
        if i in writer.inline:
            continue
        shape = ", shape=ellipse" if i in graph.inputs else ""
        lines.append(f"{i} [label={_dot_string(writer.node(i))}{shape}];")
        lines += [f"{a} -> {i};" for a in dict.fromkeys(data["args"]) if a not in writer.inline]
    result = f"return {', '.join(writer.labels[i] for i in graph.outputs)}".rstrip()
    lines.append(f"return [label={_dot_string(result)}, shape=plaintext];")
    lines += [f"{i} -> return;" for i in dict.fromkeys(graph.outputs)]
    return "\n".join([f"digraph {_dot_string(graph.name)} {{", *(f"  {line}" for line in lines), "}"])


def _dot_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_printable(escaped)}"'


# --- reading ------------------------------------------------------------------------------------------------

_STRING = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}))*+"'
# Blanks and comments are skipped possessively: a comment never gives characters back to be read as tokens.
_TOKEN = re.compile(
    rf"""[ \t\r\n]*+(?:\#[^\n]*+[ \t\r\n]*+)*+
    (?: (?P<label> %(?:[0-9]+|{NAME.pattern}|{_STRING}))
      | (?P<digest> sha256:[0-9a-f]{{64}}\b)
      | (?P<number> 0x[0-9a-f]+\b | -?(?:inf|nan)(?![\w.]) | -?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)
      | (?P<name> {NAME.pattern})
      | (?P<string> {_STRING})
      | (?P<mark> -> | [-\[\](){{}}:,=~@])
      | (?P<end> \Z)
      | (?P<unknown> .) )""",
    re.VERBOSE | re.DOTALL,
)
_ALONE = re.compile(r"[ \t\r\n]*[,)\]]")  # what follows a value that is no longer expression
_TYPE = re.compile(r"[a-z0-9]+\[[^\[\]\n]*\]~?")
_SIZE_END = re.compile(r"[()\[\],]|[^A-Za-z0-9_+*/% \t()-]")
_GUARD = re.compile(r"([^=!<#\n]*)(==|!=|<=|<)([^=!<#\n]*)")
_COMMENT_LOC = re.compile(r"[ \t]*# (.*?):([0-9]{1,9})(?: ([^\r\n]*))?\r?$", re.MULTILINE)
_ESCAPED = re.compile(r"\\(?:([\"\\])|x(..)|u(.{4})|U(.{8}))")


def parse(
    text: str,
    constants: Mapping[str, np.ndarray[Any, Any]] | None = None,
    check: Callable[[Graph, Line], None] | None = None,
) -> Graph:
    """The graph that a text describes; ParseError, with line and column, if it describes none.

    `constants` holds the arrays that the text only names, by SHA-256 (see `constants_of`); without one of
    them the graph compares equal but does not run. `check(graph, line)` is the verifier: it knows the ops,
    which this module does not, and `line` gives it the line that a node stands in. No text runs code.

    >>> parse("graph f(%x: f64[n]) -> f64[n] { return %x }").input_types
    (f64[n],)
    """
    reader = _Reader(text, "graph text", constants or {})
    graph = reader.graph(0)
    reader.finish()
    if check is not None:
        check(graph, reader.line)
    return graph


def parse_type(text: str) -> TensorType:
    """The type of an array, written as in dumps; ParseError if it is none.

    >>> parse_type("f64[n,3]"), parse_type("f64[]~").weak
    (f64[n,3], True)
    """
    reader = _Reader(text, "type text", {})
    type = reader.tensor_type()
    reader.finish()
    return type


class _Reader:
    """A recursive-descent reader, one token ahead: `kind` and `token`, from `start` to `stop`."""

    def __init__(self, text: str, what: str, constants: Mapping[str, np.ndarray[Any, Any]]) -> None:
        if not isinstance(text, str):
            raise ParseError(f"{what}: expected a str, got {type(text).__name__}")
        self.text, self.what, self.constants = text, what, constants
        self.types: dict[str, TensorType] = {}
        self.known: dict[Any, Constant] = {}
        self.locs: dict[str, tuple[Loc, ...]] = {}
        self.places: list[tuple[Graph, list[int]]] = []  # where the nodes of each graph stand
        self.kind = self.token = ""
        self.start = self.stop = self.before = 0  # `before`: the end of the token already taken
        self.advance()

    # tokens

    def advance(self) -> str:
        passed, self.before = self.token, self.stop
        match = _TOKEN.match(self.text, self.stop)
        assert match is not None
        assert match.lastgroup is not None
        self.kind = match.lastgroup
        self.token, self.start, self.stop = match[self.kind], match.start(self.kind), match.end()
        return passed

    def seek(self, position: int) -> None:
        """Go on reading at `position`."""
        self.stop = position
        self.advance()

    def accept(self, token: str) -> bool:
        if self.token != token:
            return False
        self.advance()
        return True

    def expect(self, token: str) -> None:
        if self.token != token:
            raise self.error(repr(token))
        self.advance()

    def finish(self) -> None:
        if self.kind != "end":
            raise self.error("the end")

    def error(
        self, expected: str, found: str | None = None, at: int | None = None, fix: str | None = None
    ) -> ParseError:
        at = self.start if at is None else at
        line = self.text.count("\n", 0, at) + 1
        first = self.text.rfind("\n", 0, at) + 1
        found = found or (repr(self.text[at : self.stop][:40]) if self.kind != "end" else "the end")
        return ParseError(
            f"{self.what}, line {line}:{at - first + 1}",
            expected=expected,
            actual=found,
            graph_line=self._excerpt(first, at),
            fix=fix,
        )

    def _excerpt(self, first: int, at: int) -> str:
        end = self.text.find("\n", first)
        first = max(first, at - 60)
        shown = self.text[first : min(len(self.text) if end < 0 else end, first + 120)]
        return _printable(shown.strip())

    def line(self, graph: Graph, node: int) -> str:
        """The line of the text in which a node stands."""
        for known, starts in self.places:
            if known is graph:
                at = starts[node]
                first = self.text.rfind("\n", 0, at) + 1
                return f"line {self.text.count(chr(10), 0, at) + 1}: {self._excerpt(first, at)}"
        raise KeyError(node)

    # words

    def string(self) -> str:
        if self.kind != "string":
            raise self.error("a string in double quotes")
        return self._unquote(self.advance())

    def _unquote(self, token: str) -> str:
        def character(match: re.Match[str]) -> str:
            return match[1] or chr(int(match[match.lastindex or 0], 16))

        try:
            return _ESCAPED.sub(character, token[1:-1])
        except (ValueError, OverflowError):
            raise self.error("characters", "an escape beyond Unicode", self.before) from None

    def word(self, expected: str) -> str:
        if self.kind == "string":
            return self.string()
        if self.kind not in ("name", "number") or not NAME.fullmatch(self.token):
            raise self.error(expected)
        return self.advance()

    def several(self, close: str, read: Callable[[], T]) -> list[T]:
        """Read items, with commas between them, up to a closing bracket."""
        items = []
        while self.token != close:
            items.append(read())
            if not self.accept(","):
                break
        self.expect(close)
        return items

    def integer(self, expected: str, limit: int = MAX_DIGITS) -> int:
        token = self.token
        if self.kind != "number" or not re.fullmatch("-?[0-9]+", token) or len(token) > limit:
            raise self.error(expected)
        return int(self.advance())

    def label(self) -> tuple[str, str]:
        """A node's label as a key, and as the name of an input."""
        if self.kind != "label":
            raise self.error("a label such as %x")
        key = self.advance()[1:]
        if not key.startswith('"'):
            return key, key
        name = self._unquote(key)
        return (name if NAME.fullmatch(name) else f'"{name}'), name

    # types and sizes

    def type(self) -> Type:
        if self.accept("("):
            return TupleType(self.several(")", self.tensor_type))
        return self.tensor_type()

    def tensor_type(self) -> TensorType:
        match = _TYPE.match(self.text, self.start)
        if match is not None and (known := self.types.get(match[0])) is not None:
            self.seek(match.end())
            return known
        dtype = DTYPES.get(self.token)
        if self.kind != "name" or dtype is None:
            raise self.error("a type such as f64[n,3]", fix=f"the dtypes are {' '.join(DTYPES)}")
        self.advance()
        if self.token != "[":
            raise self.error("'[' and the sizes", fix="write f64[] for a scalar")
        self.advance()
        shape = self.several("]", self.axis)
        type = TensorType(shape, dtype, self.accept("~"))
        if match is not None:
            self.types[match[0]] = type
        return type

    def axis(self) -> Size:
        at = self.start
        size = self.size()
        if size < 0 if isinstance(size, int) else dims.less(size, 0):
            raise self.error("a size of at least 0", str(size)[:40], at)
        return size

    def size(self) -> Size:
        """A size, read by `dims` from here to the bracket or comma that ends it."""
        start, depth = self.start, 0
        end = min(len(self.text), start + dims.MAX_TEXT)
        for match in _SIZE_END.finditer(self.text, start, end):
            if match[0] not in "()," or (match[0] != "(" and not depth):
                end = match.start()
                break
            depth += {"(": 1, ",": 0, ")": -1}[match[0]]
        size = self._read_size(start, end)
        self.seek(end)
        return size

    def _read_size(self, start: int, end: int) -> Size:
        try:
            return dims.parse(self.text[start:end])
        except ValueError as error:
            raise self.error("a size such as 2*n+1", str(error).removeprefix("size text, "), start) from None

    # values of attributes

    def value(self, nesting: int) -> Any:
        if nesting > MAX_NESTING:
            raise self.error(f"at most {MAX_NESTING} levels", "deeper nesting")
        token, kind = self.token, self.kind
        if kind == "string":
            return self.string()
        if kind == "number" and _ALONE.match(self.text, self.stop):
            return self.number()
        if token in ("True", "False", "None"):
            self.advance()
            return {"True": True, "False": False, "None": None}[token]
        if token == "graph":
            return self.graph(nesting)
        if token == "const":
            self.advance()
            return self.constant(self.tensor_type())
        if token == "size":
            self.advance()
            self.expect("(")
            size = self.size()
            self.expect(")")
            return size
        if token in DTYPES:
            if self.text.startswith("[", self.stop):
                return self.tensor_type()
            return DTYPES[self.advance()]
        if token == "(":
            return self.tuple_or_size(nesting)
        if kind in ("name", "number") or token == "-":
            return self.size()
        raise self.error("a value", fix="a Python object in an attribute has no text" if token == "<" else None)

    def number(self) -> int | float:
        token = self.token
        if token.startswith("0x"):
            return int(self.advance(), 16)
        if _kinds(token) == "iu":
            return self.integer(f"an integer of at most {MAX_DIGITS} digits")
        try:
            return _float(self.advance())
        except ValueError:
            raise self.error("a float64", f"{token[:40]}, which is out of range", self.before) from None

    def tuple_or_size(self, nesting: int) -> Any:
        """`(n, 3)` is a tuple, and so is `(n,)`; `(n+1)//2` and `(n)` are sizes."""
        start = self.start
        self.advance()
        items: list[Any] = []
        comma = True
        while self.token != ")" and comma:
            items.append(self.value(nesting + 1))
            comma = self.accept(",")
        if self.token == ")" and not comma and len(items) == 1 and type(items[0]) in (int, Dim):
            self.seek(start)
            return self.size()
        if not comma and len(items) == 1:
            raise self.error("',' after the one item of a tuple")
        self.expect(")")
        return tuple(items)

    # constants

    def constant(self, type: TensorType) -> Constant:
        """What follows the type of a constant: its elements, nested as the axes are, or its SHA-256."""
        at, shape, dtype = self.start, type.shape, type.dtype
        sizes = [size for size in shape if isinstance(size, int)]
        if len(sizes) != len(shape):
            raise self.error("a constant's shape in integers", repr(type), at)
        if self.kind == "digest":
            return self.named(self.advance().removeprefix("sha256:"), sizes, dtype, at)
        if len(sizes) > MAX_NESTING:
            raise self.error(f"at most {MAX_NESTING} axes", repr(type)[:40], at)
        chunks: list[bytes] = []
        if 0 in sizes:
            self.expect("[")
            self.expect("]")
        else:
            self.rows(sizes, dtype, chunks)
        return Constant(np.frombuffer(b"".join(chunks), dtype).reshape(sizes))

    def rows(self, shape: Sequence[int], dtype: np.dtype[Any], chunks: list[bytes]) -> None:
        if not shape:
            at = self.start
            chunks.append(self.encode(self.element(), dtype, at))
            return
        self.expect("[")
        for k in range(shape[0]):
            if k:
                self.expect(",")
            self.rows(shape[1:], dtype, chunks)
        self.expect("]")

    def element(self) -> Element:
        if self.kind == "number" or self.token in ("True", "False"):
            return self.advance()
        if not self.accept("("):
            raise self.error("a number, True or False")
        parts = []
        for mark in ",)":
            if self.kind != "number":
                raise self.error("a number")
            parts.append(self.advance())
            self.expect(mark)
        return parts[0], parts[1]

    def encode(self, element: Element, dtype: np.dtype[Any], at: int) -> bytes:
        try:
            return element_bytes(element, dtype)
        except ValueError as error:
            shown = element if isinstance(element, str) else f"({', '.join(element)})"
            expected = f"an element of {DTYPE_NAMES[dtype]}"
            raise self.error(expected, f"{shown[:40]}, which is {error}", at) from None

    def named(self, digest: str, shape: Sequence[int], dtype: np.dtype[Any], at: int) -> Constant:
        key = (digest, tuple(shape), dtype)
        if (known := self.known.get(key)) is not None:
            return known
        try:
            constant = Constant.named(digest, shape, dtype)
        except IRError as error:
            raise self.error("the elements", error.problem, at) from None
        if digest in self.constants:
            content = Constant(self.constants[digest])
            if content != constant:
                type = TensorType(shape, dtype)
                raise self.error(f"{type!r} with this SHA-256 among the constants", "another array", at)
            constant = content
        return self.known.setdefault(key, constant)

    # graphs

    def graph(self, nesting: int) -> Graph:
        self.expect("graph")
        name = self.word("the graph's name")
        block = _Block(self, nesting)
        self.expect("(")
        donated = [k for k, gift in enumerate(self.several(")", block.input)) if gift]
        inputs = tuple(range(len(block.nodes)))
        self.expect("->")
        at = self.start
        types = self.several(")", self.type) if self.accept("(") else [self.type()]
        self.expect("{")
        guards: list[Guard] = []
        while self.token == "guard":
            guards.append(self.guard())
        while self.kind == "label":
            block.node()
        self.expect("return")
        outputs = self.several("}", block.reference)
        if [block.nodes[i]["type"] for i in outputs] != types:
            found = ", ".join(repr(block.nodes[i]["type"]) for i in outputs)
            raise self.error("the types of what is returned", f"others; returned are {found or 'none'}", at)
        graph = Graph(name=name, inputs=inputs, outputs=tuple(outputs))
        graph.graph.update(guards=tuple(guards), donated=tuple(donated))
        for i, data in enumerate(block.nodes):
            graph.add_node(i, **data)
        graph.add_edges_from([(a, i) for i, data in enumerate(block.nodes) for a in data["args"]])
        self.places.append((graph, block.starts))
        return nx.freeze(graph)  # type: ignore[no-any-return]

    def guard(self) -> Guard:
        match = _GUARD.match(self.text, self.stop)
        if match is None:
            raise self.error("a guard such as n == m, on a line of its own")
        left, right = (self._read_size(match.start(k), match.end(k)) for k in (1, 3))
        self.seek(match.end())
        return Guard(match[2], left, right)  # type: ignore[arg-type]  # one of the four, by the pattern


class _Block:
    """The nodes of one graph as they are read; scalars among operands become nodes before their user."""

    def __init__(self, reader: _Reader, nesting: int) -> None:
        self.reader = reader
        self.nesting = nesting
        self.ids: dict[str, int] = {}
        self.nodes: list[dict[str, Any]] = []
        self.starts: list[int] = []
        self.scalars: dict[Any, int] = {}

    def input(self) -> bool:
        """Read one input; whether it is donated."""
        reader = self.reader
        start = reader.start
        donated = reader.accept("donated")
        at, numbered = reader.start, re.fullmatch("%[0-9]+", reader.token)
        key, name = reader.label()
        if numbered:
            raise reader.error("an input's name", f"%{key}, a node's number", at, f'write it in quotes: %"{key}"')
        reader.expect(":")
        self.add("input", (), (("name", name),), reader.tensor_type(), start)
        self.define(key, at)
        return donated

    def add(self, op: str, args: tuple[int, ...], attrs: Attrs, type: Type, start: int, region: int = 0) -> int:
        fields = {"op": op, "args": args, "attrs": attrs, "type": type, "loc": (), "region": region}
        self.nodes.append({**fields, "origin": None})
        self.starts.append(start)
        return len(self.nodes) - 1

    def define(self, key: str, at: int) -> None:
        """Let the label mean the last node."""
        if key in self.ids:
            raise self.reader.error("a label of its own for each node", f"%{key} a second time", at)
        self.ids[key] = len(self.nodes) - 1

    def reference(self) -> int:
        reader = self.reader
        at = reader.start
        key, _ = reader.label()
        if key not in self.ids:
            raise reader.error("a label defined above", f"%{key[:40]}", at)
        return self.ids[key]

    def node(self) -> None:
        reader = self.reader
        start = reader.start
        key, _ = reader.label()
        reader.expect(":")
        type = reader.type()
        reader.expect("=")
        operands: list[Operand] = []
        if reader.kind == "name" and reader.token not in ("True", "False"):
            op = reader.advance()
            pairs = reader.several("]", self.attribute) if reader.accept("[") else []
            if len(dict(pairs)) != len(pairs):
                raise reader.error("each attribute once", ", ".join(name for name, _ in pairs))
            attrs = tuple(sorted(pairs, key=lambda pair: pair[0]))
            reader.expect("(")
            operands = reader.several(")", self.operand)
        else:
            if not isinstance(type, TensorType):
                raise reader.error("an op", fix="a constant has one type")
            op, attrs = "const", (("value", reader.constant(type)), ("weak", type.weak))
        region, origin, loc = self.region(), self.origin(), self.loc()
        beside = [*(self.nodes[one]["type"] for one in operands if isinstance(one, int)), type]
        args = [one if isinstance(one, int) else self.scalar(*one, beside, region, start) for one in operands]
        self.add(op, tuple(args), attrs, type, start, region)
        self.nodes[-1].update(loc=loc, origin=origin)
        self.define(key, start)

    def attribute(self) -> tuple[str, Any]:
        name = self.reader.word("an attribute's name")
        self.reader.expect("=")
        return name, self.reader.value(self.nesting + 1)

    def operand(self) -> Operand:
        reader = self.reader
        if reader.kind == "label":
            return self.reference()
        at = reader.start
        return reader.element(), self.scalar_type(), at

    def scalar_type(self) -> TensorType | None:
        reader = self.reader
        if not reader.accept(":"):
            return None
        if reader.token not in DTYPES:
            raise reader.error("a dtype such as f64")
        return TensorType((), DTYPES[reader.advance()], reader.accept("~"))

    def scalar(
        self,
        element: Element,
        type: TensorType | None,
        at: int,
        beside: Sequence[Type],
        region: int,
        start: int,
    ) -> int:
        """The node of a scalar operand; equal scalars of one region are one node."""
        reader = self.reader
        if type is None:
            implied = _implied(element, beside)
            if implied is None:
                raise reader.error("the scalar's dtype, as in 2.0:f64", "no operand to take it from", at)
            type = TensorType((), *implied)
        raw = reader.encode(element, type.dtype, at)
        key = (raw, type, region)
        if key not in self.scalars:
            constant = Constant(np.frombuffer(raw, type.dtype).reshape(()))
            attrs = (("value", constant), ("weak", type.weak))
            self.scalars[key] = self.add("const", (), attrs, type, start, region)
        return self.scalars[key]

    def region(self) -> int:
        reader = self.reader
        if reader.token != "@":
            return 0
        reader.advance()
        if not re.fullmatch("r[0-9]{1,18}", reader.token):
            raise reader.error("a region such as r1")
        return int(reader.advance()[1:])

    def origin(self) -> int | None:
        if not self.reader.accept("from"):
            return None
        self.reader.expect("=")
        return self.reference()

    def loc(self) -> tuple[Loc, ...]:
        """The locations of a node: in full, or its user line in a comment."""
        reader = self.reader
        if reader.accept("loc"):
            reader.expect("(")
            return tuple(reader.several(")", self.place))
        match = _COMMENT_LOC.match(reader.text, reader.before)
        if match is None:
            return ()
        known = (Loc(match[1], int(match[2]), match[3] or ""),)
        return reader.locs.setdefault(match[0], known)

    def place(self) -> Loc:
        reader = self.reader
        file = reader.string()
        reader.expect(":")
        line = reader.integer("a line number", limit=9)
        return Loc(file, line, reader.string())
