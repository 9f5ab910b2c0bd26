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
None, integers, floats, strings, sizes as `2*n+1` (`size(f64)` where a symbol is a word of the format), dtypes,
types, Python's tuples, `const` with a type and its elements, `callback "name"` for a function of the user's,
and graphs. An input's name that is no identifier stands in quotes: `%"a b"`. Elements: `True`, `3`, `2.0`,
`nan`, `-inf`, `(1.0, -0.0)` if complex, and `0x7fc00001` for the bit pattern of a float that no decimal gives.

A scalar constant that only nodes of its own region use stands among their operands. Its dtype and weakness
are those of the first operand of its kind that is not such a scalar, or else of the result, or those written
after it: `2.0:f32`, `2:i64~`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from graphc.errors import IRError
from graphc.ir import Graph, check_graph
from graphc.text.exporting import dump_dot, dump_json
from graphc.text.reading import parse, parse_type
from graphc.text.scalars import Line, Locations
from graphc.text.sections import Fold
from graphc.text.views import view
from graphc.text.writing import Writer, callbacks_of, constants_of, format_node, labels

__all__ = [
    "Line",
    "Locations",
    "callbacks_of",
    "constants_of",
    "dump",
    "dump_dot",
    "dump_json",
    "format_node",
    "labels",
    "parse",
    "parse_type",
]


def dump(
    graph: Graph,
    fmt: Literal["text", "json", "dot"] = "text",
    *,
    locations: Locations = True,
    fold: Fold | None = None,
    depth: int = 0,
    only: str | Iterable[str] | None = None,
    around: str | int | None = None,
    radius: int = 2,
) -> str:
    """The graph as text that `parse` reads back, as JSON for other programs, or as a Graphviz drawing.

    With `fold`, `only` or `around` it is a view of the text, for people alone: its first line says so.

    Args:
        graph: what to write.
        fmt: "text", "json" or "dot".
        locations: how much of where each node comes from is written: True the first user line as a comment, "full" all
            of them with whole paths, False nothing.
        fold: what to write as one line: "function" the calls of each user function, "repeat" blocks of nodes that
            repeat, such as an unrolled loop, "all" both.
        depth: how many levels of folds to open.
        only: write only these: ops, functions of the user's, labels; one, or several.
        around: write only what lies near this node: a label such as "%h", or a node's id.
        radius: how near, in edges.

    Raises:
        IRError: there is no such format, fold, op or label.
        TraceError: it is no graph.

    >>> print(dump(parse("graph twice(%x: f64[n]) -> f64[n] { %y: f64[n] = mul(%x, 2.0) return %y }")))
    graph twice(%x: f64[n]) -> f64[n] {
      %y: f64[n] = mul(%x, 2.0)
      return %y
    }
    """
    check_graph("dump", graph)
    viewed = fold is not None or only is not None or around is not None
    if fmt != "text" and viewed:
        raise IRError("a view is text", expected='fmt="text"', actual=repr(fmt), fix="leave out fold, only and around")
    if fmt == "json":
        return dump_json(graph)
    if fmt == "dot":
        return dump_dot(graph)
    if fmt != "text":
        raise IRError(f"no format {fmt!r} of graphs", expected="text, json or dot")
    if viewed:
        return view(graph, locations=locations, fold=fold, depth=depth, only=only, around=around, radius=radius)
    return "\n".join(Writer(graph, locations).lines())
