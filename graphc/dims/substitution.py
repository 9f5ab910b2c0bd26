"""Sizes with their symbols replaced: by numbers, by other sizes, and by what solves an equation."""

from __future__ import annotations

from collections.abc import Mapping
from operator import add, floordiv, index, mod, mul, sub
from typing import Any

from graphc.dims.division import maximum, minimum
from graphc.dims.polynomials import Atom, Size, product, symbol, symbols, terms_of, to_size, variable

OPERATORS: dict[str, Any] = {
    "+": add, "-": sub, "*": mul, "//": floordiv, "%": mod, "**": pow,
    "max": maximum, "min": minimum, "symbol": symbol,
}  # fmt: skip


def evaluate(size: Size, env: Mapping[str, int]) -> int:
    """Return the value of a size, given every symbol's.

    >>> evaluate(symbol("n") // 2 + 1, {"n": 5})
    3
    """
    if missing := symbols(size) - env.keys():
        raise ValueError(f"size {size}: no value given for {', '.join(sorted(missing))}")
    value = _substitute(size, {name: index(env[name]) for name in symbols(size)})
    assert isinstance(value, int)
    return value


def substitute(size: Size, env: Mapping[str, Size]) -> Size:
    """Replace symbols by sizes, all at once; symbols not named stay.

    >>> n, m = symbol("n"), symbol("m")
    >>> substitute(n // 2 + m, {"n": 4 * m, "m": n})
    2*m+n
    """
    return _substitute(size, {name: to_size(env[name]) for name in symbols(size) & env.keys()})


def _substitute(size: Size, env: Mapping[str, Size]) -> Size:
    for name, value in env.items():
        if isinstance(value, int) and value < 0:
            raise ValueError(f"size symbol {name}: expected a value of at least 0, got {value}")
    return _replace(size, env)


def _replace(size: Size, env: Mapping[str, Size]) -> Size:
    total: Size = 0
    for monomial, c in terms_of(size):
        total = total + product([c, *(_replace_atom(atom, env) ** power for atom, power in monomial)])
    return total


def _replace_atom(atom: Atom, env: Mapping[str, Size]) -> Size:
    if env.keys().isdisjoint(atom.names):
        return variable(atom)
    if not atom.args:
        return env[atom.text]
    result: Size = OPERATORS[atom.op](*(_replace(arg, env) for arg in atom.args))
    return result


def solve(size: Size, value: int) -> tuple[str, int] | None:
    """Return (s, x) such that s = x makes a size of the form a*s+b equal to `value`; None for any other form.

    Raises ValueError where no integer x >= 0 does.

    >>> solve(2 * symbol("n") + 1, 7), solve(symbol("n") // 2, 7)
    (('n', 3), None)
    """
    (monomial, scale), *constant = terms_of(size) or (((), 0),)
    if len(monomial) != 1 or monomial[0][1] != 1 or monomial[0][0].args or (constant and constant[0][0]):
        return None
    solution, remainder = divmod(index(value) - sum(c for _, c in constant), scale)
    if remainder or solution < 0:
        raise ValueError(f"size {size} cannot be {value}: no {monomial[0][0].text} >= 0 makes it so")
    return monomial[0][0].text, solution
