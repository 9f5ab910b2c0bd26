"""Donated arguments: those whose memory results may take, and which arrays of a call they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optree

from graphc.compiler.statics import Statics, named_parameters
from graphc.errors import TraceError
from graphc.ir import Builder, Graph, copy_inputs, copy_into
from graphc.tracing import user_locs


@dataclass(frozen=True, slots=True)
class Donation:
    """The arguments of a function that a call gives away, of those that are not static."""

    chosen: Statics
    statics: Statics

    def __bool__(self) -> bool:
        return bool(self.chosen)

    def leaves(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[int, ...]:
        """The positions of what is donated among the leaves of `(args, kwargs)`, of which the static ones are gone."""
        positions, names = self.chosen.positions, self.chosen.names
        kept: list[int] = []
        number = 0
        while len(kept) < len(args):
            if number not in self.statics.positions:
                kept.append(number)
            number += 1
        paths = optree.tree_paths((tuple(args), dict(kwargs)), namespace="graphc")  # type: ignore[arg-type]
        return tuple(
            n
            for n, (kind, which, *_) in enumerate(paths)
            if (kept[which] in positions if kind == 0 else which in names)
        )


NO_STATICS = Statics(frozenset(), frozenset(), ())


def donation(f: Callable[..., Any], argnums: Any, argnames: Any, maker: str, statics: Statics = NO_STATICS) -> Donation:
    """The donation that `donate_argnums` and `donate_argnames` name.

    Raises:
        TraceError: one of them is no number or no name, the function has no such parameter, or it is static.
    """
    chosen = named_parameters(f, argnums, argnames, "donate", maker)
    both = sorted({statics.label(n) for n in chosen.positions & statics.positions} | (chosen.names & statics.names))
    if both:
        raise TraceError(
            f"{maker}: a static argument has no memory to donate",
            expected="other arguments in donate_argnums and donate_argnames than in static_argnums and static_argnames",
            actual=", ".join(both),
            loc=(user_locs() or (None,))[0],
        )
    return Donation(chosen, statics)


def donated_inputs(count: int, names: Sequence[str], argnums: Any, argnames: Any) -> tuple[int, ...]:
    """The inputs of a graph, or of a list of symbols, that are named by position or by name."""

    def f(*inputs: Any) -> None: ...

    numbers = named_parameters(f, argnums, (), "donate", "compile").positions
    wanted = named_parameters(lambda **_: None, (), argnames, "donate", "compile").names
    if any(n >= count for n in numbers) or not wanted <= set(names):
        raise TraceError(
            "compile: donate_argnums and donate_argnames name inputs that there are not",
            expected=f"numbers below {count}, or {' '.join(names)}",
            actual=", ".join(map(str, (*sorted(n for n in numbers if n >= count), *sorted(wanted - set(names))))),
            loc=(user_locs() or (None,))[0],
        )
    return tuple(sorted({*numbers, *(names.index(name) for name in wanted)}))


def with_donated(graph: Graph, donated: Sequence[int]) -> Graph:
    """The graph with more of its inputs donated."""
    together = sorted({*graph.graph["donated"], *donated})
    if together == list(graph.graph["donated"]):
        return graph
    builder = Builder(graph.name)
    ids = copy_into(builder, graph, copy_inputs(builder, graph))
    return builder.finish([ids[o] for o in graph.outputs], together)
