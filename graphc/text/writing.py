"""A graph written down as text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.errors import Loc
from graphc.ir import DTYPE_NAMES, Callback, Constant, Graph, TensorType, Type
from graphc.text.scalars import (
    COMMENT_COLUMN,
    NAME,
    WORDS,
    Locations,
    _implied,
    _word,
    element_text,
    printable,
    quote,
)
from graphc.text.summaries import summary

_NUMBERED: Final = re.compile(r"\.[0-9]+\Z")


class Writer:
    """What the lines of one graph share: labels, which constants stand inline, region numbers.

    `known` are labels that some nodes have from elsewhere; nodes without a name or such a label are numbered from
    `first` on.
    """

    def __init__(
        self,
        graph: Graph,
        locations: Locations | None = None,
        known: Mapping[int, str] | None = None,
        first: int | None = None,
    ) -> None:
        self.graph = graph
        self.locations = locations  # None: nested graphs are only named
        self.nodes: dict[int, dict[str, Any]] = graph._node
        self.regions: dict[int, int] = {0: 0}
        self.types: dict[Type, str] = {}
        self.inputs = set(graph.inputs)
        self.inline = self._inline()
        self.labels = {i: f"%{_word(dict(self.nodes[i]['attrs'])['name'])}" for i in graph.inputs}
        self.labels.update(known or {})
        taken = Labels(self.labels.values())
        number = len(graph.inputs) if first is None else first
        for i, data in self.nodes.items():
            if i in self.inputs or i in self.inline:
                continue
            if i not in self.labels:
                name = data.get("name", "")
                self.labels[i] = taken.fresh(f"%{name}") if NAME.fullmatch(name) else f"%{number}"
            # a named node has a number too, so that a name more or less changes no other line
            number += known is None or i not in known
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
                if (words := summary_of(data)) is not None:
                    yield f"  # {words}"
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
        return f"{line}{' ' * (COMMENT_COLUMN - width)}  # {printable(f'{loc[0]} {loc[0].function}')}"

    def nested(self, graph: Graph) -> str:
        if self.locations is None:
            return f"graph {_word(graph.name)}"
        return "\n".join(Writer(graph, self.locations).lines())


class Labels:
    """Labels that are taken, and new ones: `%h`, then `%h.1`, `%h.2`.

    >>> labels = Labels(["%x"])
    >>> [labels.fresh("%x"), labels.fresh("%h"), labels.fresh("%x.1")]
    ['%x.1', '%h', '%x.2']
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)
        self.last: dict[str, int] = {}

    def fresh(self, wanted: str) -> str:
        label = wanted
        if label in self.taken:
            base = _NUMBERED.sub("", wanted)
            while label in self.taken:
                self.last[base] = self.last.get(base, 0) + 1
                label = f"{base}.{self.last[base]}"
        self.taken.add(label)
        return label


def summary_of(data: Mapping[str, Any]) -> str | None:
    """What a node holds, in words, if it is a constant that the text only names."""
    if data["op"] != "const" or not plain_constant(data) or data["attrs"][0][1].inline:
        return None
    return summary(data["attrs"][0][1])


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
        case Callback():
            return f"callback {quote(value.name)}"
        case Graph():
            return nested(value)
    shown = str(value) if isinstance(value, np.generic) else getattr(value, "__qualname__", "")
    return f"<{f'{type(value).__name__} {shown}'.strip()}>"


def labels(graph: Graph) -> dict[int, str]:
    """What the dump of a graph calls its nodes; constants that stand among operands have no label."""
    return Writer(graph).labels


def format_node(graph: Graph, node: int) -> str:
    """One node as its line in the dump, with nested graphs by their names only.

    >>> from graphc.text.reading import parse
    >>> format_node(parse("graph f(%x: f64[]) -> f64[] { %y: f64[] = sin(%x) return %y }"), 1)
    '%y: f64[] = sin(%x)'
    """
    return Writer(graph).node(node)


def constants_of(graph: Graph) -> dict[str, np.ndarray[Any, Any]]:
    """The large constants that the graph's text only names, by SHA-256: what `parse` takes as `constants`.

    >>> from graphc.text.reading import parse
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


def callbacks_of(graph: Graph) -> list[Callable[..., Any]]:
    """The functions that the graph's text only names, in the order of the text: what `parse` takes as `callbacks`.

    >>> from graphc.text.reading import parse
    >>> callbacks_of(parse("graph f() -> () { return }"))
    []
    """
    return [callback.function for callback in _callbacks(graph)]


def _callbacks(value: Any) -> Iterator[Callback]:
    match value:
        case Callback():
            yield value
        case tuple():
            for one in value:
                yield from _callbacks(one)
        case Graph():
            for data in value._node.values():
                for _, one in data["attrs"]:
                    yield from _callbacks(one)
