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

from typing import Literal

from graphc.errors import IRError
from graphc.ir import Graph
from graphc.text.exporting import dump_dot, dump_json
from graphc.text.reading import parse, parse_type
from graphc.text.scalars import Line, Locations
from graphc.text.writing import Writer, constants_of, format_node

__all__ = ["Line", "Locations", "constants_of", "dump", "dump_dot", "dump_json", "format_node", "parse", "parse_type"]


def dump(graph: Graph, fmt: Literal["text", "json", "dot"] = "text", *, locations: Locations = True) -> str:
    """The graph as text that `parse` reads back, as JSON for other programs, or as a Graphviz drawing.

    `locations` says how much of where each node comes from is written: True the first user line as a comment,
    "full" all of them with whole paths, False nothing.

    >>> print(dump(parse("graph twice(%x: f64[n]) -> f64[n] { %y: f64[n] = mul(%x, 2.0) return %y }")))
    graph twice(%x: f64[n]) -> f64[n] {
      %y: f64[n] = mul(%x, 2.0)
      return %y
    }
    """
    if fmt == "json":
        return dump_json(graph)
    if fmt == "dot":
        return dump_dot(graph)
    if fmt != "text":
        raise IRError(f"no format {fmt!r} of graphs", expected="text, json or dot")
    return "\n".join(Writer(graph, locations).lines())
