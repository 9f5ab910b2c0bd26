"""A text read as a graph: a recursive descent that runs no code and says where it stopped."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import networkx as nx
import numpy as np

from graphc import dims
from graphc.dims import Dim, Size
from graphc.errors import REAL_PARTS, IRError, Loc, ParseError
from graphc.ir import (
    DTYPE_NAMES,
    DTYPES,
    REAL_DTYPES,
    Attrs,
    Callback,
    Constant,
    Graph,
    Guard,
    TensorType,
    TupleType,
    Type,
)
from graphc.text.scalars import (
    MAX_DIGITS,
    MAX_NESTING,
    NAME,
    VIEW,
    Element,
    Line,
    Operand,
    T,
    _float,
    _implied,
    _kinds,
    element_bytes,
    printable,
)

_STRING = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}))*+"'


@cache
def _tokens() -> re.Pattern[str]:
    """What the next token is. Made for the first text: that takes longer than all the others together."""
    # Blanks and comments are skipped possessively: a comment never gives characters back to be read as tokens.
    return re.compile(
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
_COMMENT_LOC = re.compile(r"[ \t]*# ([^\r\n]*?):([0-9]{1,9})(?: ([^\r\n]*))?\r?$", re.MULTILINE)
_ESCAPED = re.compile(r"\\(?:([\"\\])|x(..)|u(.{4})|U(.{8}))")


# of the dtypes, as NumPy and Python have them
_LONG_NAMES = {
    "bool_": "bool",
    "int": "i64",
    "half": "f16",
    "single": "f32",
    "double": "f64",
    "float": "f64",
    **{dtype.name: name for name, dtype in DTYPES.items()},
}


def parse(
    text: str,
    constants: Mapping[str, np.ndarray[Any, Any]] | None = None,
    check: Callable[[Graph, Line], None] | None = None,
    callbacks: Sequence[Callable[..., Any]] | None = None,
) -> Graph:
    """The graph that a text describes; ParseError, with line and column, if it describes none.

    `constants` holds the arrays that the text only names, by SHA-256 (see `constants_of`); without one of
    them the graph compares equal but does not run. `callbacks` holds the functions that the text only names, in
    its order (see `callbacks_of`); without them likewise. `check(graph, line)` is the verifier: it knows the ops,
    which this module does not, and `line` gives it the line that a node stands in. No text runs code.

    >>> parse("graph f(%x: f64[n]) -> f64[n] { return %x }").input_types
    (f64[n],)
    """
    reader = _Reader(text, "graph text", constants or {}, callbacks)
    if text.lstrip().startswith(VIEW):
        raise ParseError(
            "this text is a view of a graph",
            expected="a graph in full",
            actual="a text with parts folded or left out",
            fix="dump(graph) without fold, only and around writes what parse reads",
        )
    graph = reader.graph(0)
    reader.finish()
    if callbacks is not None and reader.called != len(callbacks):
        raise ParseError(
            "graph text: the callbacks given are not those of the text",
            expected=f"{reader.called} functions, one for each callback in the text, in its order",
            actual=str(len(callbacks)),
        )
    if check is not None:
        check(graph, reader.line)
    return graph


def parse_type(text: str) -> TensorType:
    """The type of an array, written as in dumps; ParseError if it is none.

    >>> parse_type("f64[n,3]"), parse_type("f64[]~").weak
    (f64[n,3], True)
    """
    reader = _Reader(text, "type text", {}, dtypes=REAL_DTYPES)
    type = reader.tensor_type()
    reader.finish()
    return type


def _dtype_fix(word: str, dtypes: Sequence[str]) -> str:
    """What to write where one of these dtypes was expected, and NumPy's name of one or something else stands."""
    short = _LONG_NAMES.get(word)
    if short is not None and short not in dtypes:
        return REAL_PARTS
    known = f"the dtypes are {' '.join(dtypes)}"
    return f"write {short} for {word}; {known}" if short is not None else known


class _Reader:
    """A recursive-descent reader, one token ahead: `kind` and `token`, from `start` to `stop`."""

    def __init__(
        self,
        text: str,
        what: str,
        constants: Mapping[str, np.ndarray[Any, Any]],
        callbacks: Sequence[Callable[..., Any]] | None = None,
        dtypes: Sequence[str] = tuple(DTYPES),
    ) -> None:
        if not isinstance(text, str):
            raise ParseError(f"{what}: expected a str, got {type(text).__name__}")
        self.text, self.what, self.constants, self.callbacks = text, what, constants, callbacks
        self.dtypes = dtypes  # those that errors offer
        self.called = 0  # how many callbacks the text has named so far
        self.types: dict[str, TensorType] = {}
        self.known: dict[Any, Constant] = {}
        self.locs: dict[str, tuple[Loc, ...]] = {}
        self.places: list[tuple[Graph, list[int]]] = []  # where the nodes of each graph stand
        self.kind = self.token = ""
        self.tokens = _tokens()
        self.start = self.stop = self.before = 0  # `before`: the end of the token already taken
        self.advance()

    # tokens

    def advance(self) -> str:
        passed, self.before = self.token, self.stop
        match = self.tokens.match(self.text, self.stop)
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
        return printable(shown.strip())

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
            raise self.error("a type such as f64[n,3]", fix=_dtype_fix(self.token, self.dtypes))
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
        if token == "callback":
            self.advance()
            return self.callback()
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

    def callback(self) -> Callback:
        name = self.string()
        given = self.callbacks
        self.called += 1
        return Callback(name, given[self.called - 1] if given is not None and self.called <= len(given) else None)

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
        if NAME.fullmatch(key):
            self.nodes[-1]["name"] = key
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
