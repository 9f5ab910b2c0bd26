"""The op table: one record per operation, one file per family."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from graphc.errors import UnsupportedError
from graphc.ops.record import Op

FAMILIES: Final = (
    "source",
    "arithmetic",
    "exponential",
    "trigonometric",
    "special",
    "bessel",
    "integrals",
    "rounding",
    "comparison",
    "integer",
    "reduction",
    "cumulative",
    "sorting",
    "structure",
    "indexing",
    "contraction",
    "systems",
    "factorisations",
    "random",
    "python",
)


def _load() -> dict[str, Op]:
    table: dict[str, Op] = {}
    for family in FAMILIES:
        for op in import_module(f"graphc.ops.{family}").OPS:
            if op.name in table:
                raise RuntimeError(f"op {op.name} is defined twice")
            table[op.name] = op
    return table


TABLE: Final[dict[str, Op]] = _load()


def lookup(name: str) -> Op:
    """The record of the op called `name`.

    >>> lookup("sin").doc
    'Sine of x in radians.'
    """
    try:
        return TABLE[name]
    except KeyError:
        raise UnsupportedError(f"there is no op called {name}") from None
