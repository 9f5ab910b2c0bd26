"""A graph written down for people alone: parts folded into one line, or only a part shown. `parse` does not read it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from graphc.errors import IRError
from graphc.ir import Graph
from graphc.text.scalars import COMMENT_COLUMN, VIEW, Locations, printable
from graphc.text.sections import Fold, Section, check_fold, ends, sections, some, title
from graphc.text.writing import Writer, summary_of

PARAMETERS: Final = 5  # of the graph, that the first line names


def view(
    graph: Graph,
    *,
    locations: Locations = True,
    fold: Fold | None = None,
    depth: int = 0,
    only: str | Iterable[str] | None = None,
    around: str | int | None = None,
    radius: int = 2,
) -> str:
    """What `dump` shows of a graph with `fold`, `only` or `around`."""
    viewer = _Viewer(graph, locations)
    if fold is not None:
        check_fold(fold)
        if only is not None or around is not None:
            raise IRError("fold shows the whole graph, only and around a part of it", fix="give one of them")
        body = list(viewer.folded(sections(graph, viewer.shown, fold), depth))
    else:
        chosen = set(viewer.shown)
        if only is not None:
            chosen &= viewer.named([only] if isinstance(only, str) else list(only))
        if around is not None:
            chosen &= viewer.near(around, radius)
        body = list(viewer.chosen(chosen))
    whole = len(viewer.shown)
    return "\n".join(
        [
            f"{VIEW}{_count(whole, 'node')} in {_count(len(body), 'line')}; parse reads dump(graph), not this",
            viewer.head(),
            *(f"  guard {guard}" for guard in graph.guards),
            *(f"  {line}" for line in body),
            f"  return {some([viewer.writer.labels[o] for o in graph.outputs], PARAMETERS)}".rstrip(),
            "}",
        ]
    )


class _Viewer:
    """The lines of a view, by the labels that the whole dump has."""

    def __init__(self, graph: Graph, locations: Locations) -> None:
        self.graph = graph
        self.nodes = graph._node
        self.writer = Writer(graph)
        self.locations = locations
        self.shown = [i for i in graph if i not in self.writer.inline and i not in self.writer.inputs]

    def head(self) -> str:
        """The first line, with as many inputs and results as fit."""
        parameters = [self.writer.node(i) for i in self.graph.inputs]
        results = [self.writer.type(self.nodes[o]["type"]) for o in self.graph.outputs]
        result = results[0] if len(results) == 1 else f"({some(results, PARAMETERS)})"
        return f"graph {printable(self.graph.name)}({some(parameters, PARAMETERS)}) -> {result} {{"

    def line(self, node: int, indent: str = "") -> str:
        data = self.nodes[node]
        words = summary_of(data)
        label, type = self.writer.labels[node], self.writer.type(data["type"])
        text = self.writer.node(node) if words is None else f"{label}: {type} = {words}"
        return _commented(indent + text, self.place([node]))

    def place(self, nodes: Sequence[int]) -> str:
        """Where in the user's program some nodes come from: a line, or the lines from the first to the last."""
        locs = {self.nodes[i]["loc"][0] for i in nodes if self.nodes[i]["loc"]}
        if not self.locations or len({(loc.file, loc.function) for loc in locs}) != 1:
            return ""
        lines = sorted(locs, key=lambda loc: loc.line)
        last = f"-{lines[-1].line}" if len(lines) > 1 else ""
        return f"{lines[0]}{last} {lines[0].function}"

    # folded

    def folded(self, items: Iterable[int | Section], depth: int, indent: str = "") -> Iterator[str]:
        for item in items:
            if isinstance(item, int):
                yield self.line(item, indent)
                continue
            size, place = _count(len(item.nodes), "node"), self.place(item.nodes)
            if depth <= 0:
                yield _commented(f"{indent}{self.whole(item)}  {{ {size} }}", place)
                continue
            yield _commented(f"{indent}{title(self.graph, item)} {{", f"{size}, {place}" if place else size)
            yield from self.folded(item.body, depth - 1, f"{indent}  ")
            last = self.writer.labels[item.nodes[-1]]
            more = f" and {_count(item.count - 1, 'time')} more, up to {last}" if item.count > 1 else ""
            yield f"{indent}}}{more}"

    def whole(self, section: Section) -> str:
        """A section in one line: what it gives, what it is, what it takes."""
        operands, results = ends(self.graph, section)
        given = [f"{self.writer.labels[i]}: {self.writer.type(self.nodes[i]['type'])}" for i in results]
        taken = [self.writer.labels[a] for a in operands if a not in self.writer.inline]
        return f"{some(given)} = {title(self.graph, section)}({some(taken)})"

    # parts

    def named(self, wanted: Collection[str]) -> set[int]:
        """The nodes whose op, label or user's function is one of those wanted."""
        found: set[int] = set()
        for name in wanted:
            label = name if name.startswith("%") else f"%{name}"
            here = {
                i
                for i in self.shown
                if name in (self.nodes[i]["op"], *(loc.function for loc in self.nodes[i]["loc"]))
                or label in (self.writer.labels[i], f"%{self.nodes[i].get('name')}")
            }
            if not here:
                raise self.unknown("only", name)
            found |= here
        return found

    def near(self, around: str | int, radius: int) -> set[int]:
        """The nodes at most `radius` edges from one."""
        if radius < 0:
            raise IRError("radius: expected at least 0", actual=str(radius))
        reached = frontier = {self.find(around)}
        for _ in range(radius):
            frontier = {
                other
                for i in frontier
                for other in (*self.graph.predecessors(i), *self.graph.successors(i))
                if other not in reached
            }
            reached = reached | frontier
        return reached

    def find(self, around: str | int) -> int:
        if isinstance(around, int):
            if around in self.nodes:
                return around
            raise self.unknown("around", str(around))
        label = around if around.startswith("%") else f"%{around}"
        for i, known in self.writer.labels.items():
            if known == label:
                return i
        raise self.unknown("around", around)

    def unknown(self, option: str, name: str) -> IRError:
        known = [*dict.fromkeys(self.nodes[i]["op"] for i in self.shown)] if option == "only" else []
        known += self.writer.labels.values()
        near = difflib.get_close_matches(name, [*known, *(k.removeprefix("%") for k in known)], n=1)
        return IRError(
            f"{option}: {self.graph.name} has nothing called {name}",
            expected="an op, a label such as %h, or a function of yours" if option == "only" else "a label such as %h",
            actual=repr(name),
            fix=f"did you mean {near[0]}?" if near else None,
        )

    def chosen(self, chosen: Collection[int]) -> Iterator[str]:
        skipped = 0
        for i in self.shown:
            if i in chosen:
                if skipped:
                    yield _gap(skipped)
                    skipped = 0
                yield self.line(i)
            else:
                skipped += 1
        if skipped:
            yield _gap(skipped)


def _gap(count: int) -> str:
    return f"... {_count(count, 'node')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _commented(line: str, comment: str) -> str:
    return f"{line:<{COMMENT_COLUMN}}  # {printable(comment)}" if comment else line
