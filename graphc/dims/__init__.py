"""Symbolic sizes: integer polynomials in named symbols, each symbol at least 0.

A size is an int or a `Dim`. Dims are interned: two equal polynomials are one object, so `==`, hashing and
comparing whole shapes are identity tests. They never *decide* anything; `equal`, `less` and `less_equal` do,
and answer None when the symbols leave the matter open.

A size that is divided by is taken to be nonzero, so `(n*m)//m` is `n`.
"""

from graphc.dims.comparison import equal, less, less_equal
from graphc.dims.division import maximum, minimum
from graphc.dims.polynomials import MAX_COEFFICIENT, Dim, Size, divide_exactly, product, symbol, symbols
from graphc.dims.reading import MAX_TEXT, parse
from graphc.dims.substitution import evaluate, solve, substitute

__all__ = [
    "MAX_COEFFICIENT", "MAX_TEXT", "Dim", "Size", "divide_exactly", "equal", "evaluate", "less", "less_equal",
    "maximum", "minimum", "parse", "product", "solve", "substitute", "symbol", "symbols",
]  # fmt: skip
