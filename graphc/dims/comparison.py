"""What is proved about sizes: True or False whatever the symbols, None where they leave it open."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import gcd

from graphc.dims.polynomials import (
    Atom,
    Monomial,
    Size,
    atoms_of,
    divide_exactly,
    over,
    polynomial,
    sole,
    subtract,
    terms_of,
    to_size,
)

_NEGATIVE, _ZERO, _POSITIVE = 1, 2, 4


def equal(a: Size, b: Size) -> bool | None:
    """Return True if a == b whatever the symbols, False if never, None if that depends or is unknown.

    >>> from graphc.dims import symbol
    >>> n = symbol("n")
    >>> equal(n + 1, 1 + n), equal(n, n + 1), equal(2 * n, 3), equal(n, 1)
    (True, False, False, None)
    """
    if a is b:
        return True
    if type(a) is int and type(b) is int:
        return a == b
    signs = _signs(a, b)
    return None if signs != _ZERO and signs & _ZERO else signs == _ZERO


def less(a: Size, b: Size) -> bool | None:
    """Return True if a < b whatever the symbols, False if never, None if that depends or is unknown.

    >>> from graphc.dims import symbol
    >>> n = symbol("n")
    >>> less(n, n + 1), less(n, 0), less(n, 1)
    (True, False, None)
    """
    if type(a) is int and type(b) is int:
        return a < b
    signs = _signs(a, b)
    return None if signs != _NEGATIVE and signs & _NEGATIVE else signs == _NEGATIVE


def less_equal(a: Size, b: Size) -> bool | None:
    """Return True if a <= b whatever the symbols, False if never, None if that depends or is unknown.

    >>> from graphc.dims import symbol
    >>> n = symbol("n")
    >>> less_equal(n // 2, n), less_equal(n + 1, n), less_equal(n, 1)
    (True, False, None)
    """
    if type(a) is int and type(b) is int:
        return a <= b
    signs = _signs(b, a)
    return None if signs != _NEGATIVE and signs & _NEGATIVE else signs != _NEGATIVE


@lru_cache(maxsize=2**14)
def _signs(a: Size, b: Size) -> int:
    """Return the set of signs, as bits, that a - b may take."""
    try:
        difference = subtract(to_size(a), to_size(b))
        low, high = bounds(difference)
        if any(atom.args for atom in atoms_of(difference)):
            low, below = _lower(difference), _lower(-difference)
            high = None if below is None else -below
    except ValueError:  # beyond the limits: nothing is proved
        return _NEGATIVE | _ZERO | _POSITIVE
    signs = _NEGATIVE if low is None or low < 0 else 0
    signs |= _POSITIVE if high is None or high > 0 else 0
    possible = (low is None or low <= 0) and (high is None or high >= 0)
    factor = gcd(*(c for monomial, c in terms_of(difference) if monomial))
    constant = sum(c for monomial, c in terms_of(difference) if not monomial)
    return signs | (_ZERO if possible and (constant % factor == 0 if factor else constant == 0) else 0)


def _lower(size: Size) -> int | None:
    """Return a proved lower bound: the best interval bound of the size and a few weaker ones, or None."""
    best: int | None = None
    work = [(size, 1)]  # (weaker, scale) with scale*size >= weaker
    for weaker, scale in work:  # grows on the way
        low, _ = bounds(weaker)
        if low is not None and (best is None or best * scale < low):
            best = -(-low // scale)
        if best is not None and best >= 0:
            break
        work.extend((found, scale * k) for found, k in _weaken(weaker) if len(work) < 24)
    return best


def bounds(size: Size) -> tuple[int | None, int | None]:
    """Return interval bounds (low, high) of a polynomial, term by term; None is unknown."""
    low: int | None = 0
    high: int | None = 0
    for monomial, c in terms_of(size):
        bottom, top = _monomial_bounds(monomial)
        if c < 0:
            bottom, top = top, bottom
        low = None if low is None or bottom is None else low + c * bottom
        high = None if high is None or top is None else high + c * top
    return low, high


def _monomial_bounds(monomial: Monomial) -> tuple[int | None, int | None]:
    if atom := sole(monomial, 1):
        return atom.low, atom.high
    low = high = 1
    bounded = True
    for atom, power in monomial:
        if atom.low is None or atom.low < 0:
            return None, None
        low *= atom.low**power
        bounded = bounded and atom.high is not None
        high *= (atom.high or 0) ** power
    return low, high if bounded else None


def atom_bounds(op: str, args: tuple[Size, ...]) -> tuple[int | None, int | None]:
    lows, highs = zip(*map(bounds, args), strict=True)
    known_lows = [low for low in lows if low is not None]
    known_highs = [high for high in highs if high is not None]
    if op == "max":
        return max(known_lows, default=None), max(known_highs) if len(known_highs) == len(args) else None
    if op == "min":
        return min(known_lows) if len(known_lows) == len(args) else None, min(known_highs, default=None)
    (low, bottom), (high, top) = lows, highs
    if bottom is None or bottom < 0:  # the divisor's sign is unknown
        return None, None
    if op == "%":
        limits = [top - 1 if top is not None else None, high if low is not None and low >= 0 else None]
        return 0, min((limit for limit in limits if limit is not None), default=None)
    least = max(bottom, 1)
    if low is not None:
        low = low // least if low < 0 else low // top if top else 0
    if high is not None:
        high = high // least if high >= 0 else high // top if top else -1
    return low, high


def _weaken(size: Size) -> Iterator[tuple[Size, int]]:
    """Yield (weaker, scale) with scale*size >= weaker, putting a limit of an opaque atom in its place."""
    for monomial, c in terms_of(size):
        for atom, power in monomial:
            rest = over(monomial, ((atom, 1),)) or ()
            if power > 1 or any(other.low is None or other.low < 0 for other, _ in rest):
                continue
            for scale, limit in _limits(atom, upper=c < 0):
                term = polynomial({monomial: c})
                if isinstance(scale, int):
                    yield scale * (size - term) + polynomial({rest: c}) * limit, scale
                elif (share := divide_exactly(polynomial({rest: c}), scale)) is not None:
                    yield size - term + share * limit, 1


def _limits(atom: Atom, upper: bool) -> Iterator[tuple[Size, Size]]:
    """Yield (scale, limit) with scale > 0 and scale*atom <= limit if `upper`, else scale*atom >= limit."""
    if atom.op == ("min" if upper else "max"):
        yield from ((1, arg) for arg in atom.args)
    elif atom.op in ("//", "%"):
        a, b = atom.args
        (low, _), (bottom, _) = bounds(a), bounds(b)
        if bottom is None or bottom < 0:
            return
        if atom.op == "//":
            yield (b, a if upper else a - b + 1)
        elif upper:
            yield (1, b - 1)
        if upper and low is not None and low >= 0:
            yield (1, a)
