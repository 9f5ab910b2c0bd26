"""Symbolic sizes: integer polynomials in named symbols, each symbol at least 0.

A size is an int or a `Dim`. Dims are interned: two equal polynomials are one object, so `==`, hashing and
comparing whole shapes are identity tests. They never *decide* anything; `equal`, `less` and `less_equal` do,
and answer None when the symbols leave the matter open.

A polynomial's variables are atoms: symbols, and the `//`, `%`, `max` and `min` of sizes that do not simplify.
A size that is divided by is taken to be nonzero, so `(n*m)//m` is `n`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from keyword import iskeyword
from math import gcd
from numbers import Integral
from operator import add, floordiv, index, mod, mul, sub
from threading import RLock
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

__all__ = [
    "Dim", "Size", "divide_exactly", "equal", "evaluate", "less", "less_equal", "maximum", "minimum", "parse",
    "product", "solve", "substitute", "symbol", "symbols",
]  # fmt: skip

# Limits that every Dim obeys, chosen so that the text of any Dim fits in MAX_TEXT and nests less than
# MAX_NESTING: whatever can be built can be pickled, and hostile text is refused in bounded time.
MAX_COEFFICIENT = 2**128
MAX_DEGREE = 64
MAX_WEIGHT = 512  # leaves of the expression tree, roughly
MAX_DEPTH = 32  # of atoms inside atoms
MAX_OPERANDS = 32  # of one max or min
MAX_NAME = 50
MAX_TEXT = 2**15
MAX_NESTING = 100

Monomial: TypeAlias = "tuple[tuple[Atom, int], ...]"  # (atom, power), sorted by the atoms' text; () is 1


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Atom:
    """A variable of polynomials, interned by its text: a symbol (no args) or an opaque //, %, max or min."""

    op: str
    args: tuple[Size, ...]
    text: str
    low: int | None  # proved bounds; None is unknown
    high: int | None
    names: frozenset[str]
    weight: int
    depth: int


@dataclass(frozen=True, slots=True, eq=False, repr=False, weakref_slot=True)
class Dim:
    """A size that is not a constant. Made by `symbol`, `parse` and arithmetic, never by calling the class.

    >>> n = symbol("n")
    >>> 2 * n + 1, (4 * n + 2) // 2, n - n, n + 1 is 1 + n
    (2*n+1, 2*n+1, 0, True)
    """

    terms: tuple[tuple[Monomial, int], ...]  # highest degree first, the constant last; no zero coefficients
    weight: int

    def __add__(self, other: Size) -> Size:
        return _add(self, other) if isinstance(other, _SIZE) else NotImplemented

    __radd__ = __add__

    def __sub__(self, other: Size) -> Size:
        return _subtract(self, other) if isinstance(other, _SIZE) else NotImplemented

    def __rsub__(self, other: int) -> Size:
        return _subtract(other, self) if isinstance(other, _SIZE) else NotImplemented

    def __mul__(self, other: Size) -> Size:
        return _multiply(self, other) if isinstance(other, _SIZE) else NotImplemented

    __rmul__ = __mul__

    def __neg__(self) -> Dim:
        return _dim({monomial: -c for monomial, c in self.terms})

    def __floordiv__(self, other: Size) -> Size:
        return _floordiv(self, _size(other)) if isinstance(other, _SIZE) else NotImplemented

    def __rfloordiv__(self, other: int) -> Size:
        return _floordiv(_size(other), self) if isinstance(other, _SIZE) else NotImplemented

    def __mod__(self, other: Size) -> Size:
        return _mod(self, _size(other)) if isinstance(other, _SIZE) else NotImplemented

    def __rmod__(self, other: int) -> Size:
        return _mod(_size(other), self) if isinstance(other, _SIZE) else NotImplemented

    def __pow__(self, exponent: int) -> Size:
        exponent = index(exponent)
        if not 0 <= exponent <= MAX_DEGREE:
            raise ValueError(f"size {self} to the power {exponent}: expected a power from 0 to {MAX_DEGREE}")
        return product([self] * exponent)

    def __bool__(self) -> bool:
        if equal(self, 0) is not False:
            raise TypeError(f"whether size {self} is nonzero is undecided; ask graphc.dims.equal")
        return True

    def __str__(self) -> str:
        return _text(self)

    __repr__ = __str__

    def __reduce__(self) -> tuple[Any, ...]:
        return parse, (_text(self),)

    def __copy__(self) -> Dim:
        return self

    def __deepcopy__(self, memo: object) -> Dim:
        return self


Size: TypeAlias = int | Dim
_SIZE: Any = (int, Dim, Integral)  # Integral admits NumPy's integers

_remember = lru_cache(maxsize=2**12)  # bounds how many unused sizes stay alive

_NAME = re.compile("[A-Za-z_][A-Za-z_0-9]*")

_ATOMS: WeakValueDictionary[str, Atom] = WeakValueDictionary()
_DIMS: WeakValueDictionary[frozenset[tuple[Monomial, int]], Dim] = WeakValueDictionary()
_LOCK = RLock()


# --- interning ----------------------------------------------------------------------------------------------


def symbol(name: str) -> Dim:
    """Return the size called `name`, an ASCII identifier other than `max` and `min`.

    >>> symbol("n") is symbol("n")
    True
    """
    if not isinstance(name, str):
        raise TypeError(f"size symbol: expected a str, got {type(name).__name__}")
    if not _NAME.fullmatch(name) or iskeyword(name) or name in ("max", "min"):
        raise ValueError(f"size symbol: expected an ASCII identifier, got {name[:MAX_NAME]!r}")
    if len(name) > MAX_NAME:
        raise ValueError(f"size symbol: expected at most {MAX_NAME} characters, got {len(name)}")
    return _variable(Atom("", (), name, 0, None, frozenset([name]), 1, 0))


def _opaque(op: str, args: tuple[Size, ...]) -> Dim:
    """Return `op(*args)` as an atom, with the bounds that follow from those of its operands."""
    text = f"{op}({', '.join(map(str, args))})" if op in ("max", "min") else op.join(map(_operand, args))
    if (known := _ATOMS.get(text)) is not None:
        return _dim({((known, 1),): 1})
    names = frozenset[str]().union(*map(symbols, args))
    if any(isinstance(arg, int) and abs(arg) >= MAX_COEFFICIENT for arg in args):
        raise ValueError(f"size too large: a constant of 2**128 or more in {op}")
    depth = 1 + max(atom.depth for arg in args for atom in _atoms(arg))
    if depth > MAX_DEPTH:
        raise ValueError(f"size too large: more than {MAX_DEPTH} divisions, max or min inside one another")
    weight = 1 + sum(arg.weight if isinstance(arg, Dim) else 1 for arg in args)
    return _variable(Atom(op, args, text, *_opaque_bounds(op, args), names, weight, depth))


def _variable(atom: Atom) -> Dim:
    with _LOCK:
        interned = _ATOMS.get(atom.text)
        if interned is None:
            _ATOMS[atom.text] = interned = atom
    return _dim({((interned, 1),): 1})


def _intern(terms: dict[Monomial, int]) -> Size:
    """Return the one object for these terms; a plain int if they are constant."""
    if 0 in terms.values():
        terms = {monomial: c for monomial, c in terms.items() if c}
    if len(terms) > 1 or (terms and () not in terms):
        return _dim(terms)
    return terms.get((), 0)


def _dim(terms: dict[Monomial, int]) -> Dim:
    key = frozenset(terms.items())
    if (known := _DIMS.get(key)) is not None:
        return known
    weight = 0
    for monomial, c in terms.items():
        weight += 1 + sum([atom.weight for atom, _ in monomial])
        if not -MAX_COEFFICIENT < c < MAX_COEFFICIENT or _degree(monomial) > MAX_DEGREE:
            raise ValueError(f"size too large: a coefficient of 2**128 or more, or a degree above {MAX_DEGREE}")
    if weight > MAX_WEIGHT:
        raise ValueError(f"size too large: {len(terms)} terms that weigh more than {MAX_WEIGHT}")
    made = Dim(tuple(sorted(terms.items(), key=_order) if len(terms) > 1 else terms.items()), weight)
    with _LOCK:
        if (known := _DIMS.get(key)) is not None:
            return known
        _DIMS[key] = made
    return made


def _order(term: tuple[Monomial, int]) -> tuple[int, list[tuple[str, int]]]:
    """Sort key: graded lexicographic by the atoms' text, an order under which polynomial division ends."""
    monomial = term[0]
    return -_degree(monomial), [(atom.text, -power) for atom, power in monomial]


def _degree(monomial: Monomial) -> int:
    return sum([power for _, power in monomial])


def _terms(size: Size) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(size, Dim):
        return size.terms
    return (((), int(size)),) if size else ()


def _atoms(size: Size) -> Iterator[Atom]:
    return (atom for monomial, _ in _terms(size) for atom, _ in monomial)


def _size(value: object) -> Size:
    if isinstance(value, Dim):
        return value
    if isinstance(value, _SIZE):
        return int(value)
    raise TypeError(f"size: expected an int or a Dim, got {type(value).__name__}")


# --- arithmetic ---------------------------------------------------------------------------------------------


@_remember
def _add(a: Size, b: Size) -> Size:
    terms = dict(_terms(a))
    for monomial, c in _terms(b):
        terms[monomial] = terms.get(monomial, 0) + c
    return _intern(terms)


@_remember
def _subtract(a: Size, b: Size) -> Size:
    terms = dict(_terms(a))
    for monomial, c in _terms(b):
        terms[monomial] = terms.get(monomial, 0) - c
    return _intern(terms)


@_remember
def _multiply(a: Size, b: Size) -> Size:
    left, right = _terms(a), _terms(b)
    if len(left) * len(right) > 16 * MAX_WEIGHT:
        raise ValueError(f"size too large: a product of {len(left)} by {len(right)} terms")
    terms: dict[Monomial, int] = {}
    for p, c in left:
        for q, d in right:
            pq = _times(p, q)
            terms[pq] = terms.get(pq, 0) + c * d
    return _intern(terms)


def _times(p: Monomial, q: Monomial) -> Monomial:
    if not p or not q:
        return p or q
    powers = dict(p)
    for atom, power in q:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda factor: factor[0].text))


def _over(p: Monomial, q: Monomial) -> Monomial | None:
    """Return p / q, or None if q does not divide p."""
    powers = dict(p)
    for atom, power in q:
        powers[atom] = powers.get(atom, 0) - power
    if any(power < 0 for power in powers.values()):
        return None
    return tuple((atom, power) for atom, power in powers.items() if power)


def product(sizes: Iterable[Size]) -> Size:
    """Return the product of sizes, 1 for none.

    >>> product([symbol("n"), 3, symbol("n")])
    3*n**2
    """
    result: Size = 1
    for size in sizes:
        result = result * size
    return _size(result)


def divide_exactly(a: Size, b: Size) -> Size | None:
    """Return the polynomial q with q*b == a and integer coefficients, or None if there is none.

    >>> n, m = symbol("n"), symbol("m")
    >>> divide_exactly(n * m + 2 * n, m + 2), divide_exactly(n, 2)
    (n, None)
    """
    a, b = _size(a), _size(b)
    if b == 0 or (isinstance(a, int) and isinstance(b, int)):
        return None if b == 0 or a % b else a // b
    (lead, scale), quotient = _terms(b)[0], dict[Monomial, int]()
    try:
        while a != 0:
            monomial, c = _terms(a)[0]
            shared = _over(monomial, lead)
            if shared is None or c % scale:
                return None
            quotient[shared] = c // scale
            a = a - _intern({shared: c // scale}) * b
    except ValueError:  # a remainder beyond the limits of a Dim
        return None
    return _intern(quotient)


@_remember
def _floordiv(a: Size, b: Size) -> Size:
    """Floor a/b, b != 0; an atom only where no law applies, so that reading its text gives it back."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if b == 0:
        raise ZeroDivisionError(f"size {a} divided by zero")
    if (exact := divide_exactly(a, b)) is not None:
        return exact
    if _terms(b)[0][1] < 0:
        return _floordiv(-a, -b)
    whole, rest = _split(a, b)  # (w*b + r)//b -> w + r//b
    if whole != 0:
        return whole + _floordiv(rest, b)
    factor, dropped = _common(a, b)  # (f*a + k)//(f*b) -> a//b
    if factor != 1:
        return _floordiv(_exactly(a - dropped, factor), _exactly(b, factor))
    if less_equal(0, a) and less(a, b):
        return 0
    if isinstance(b, int):
        (monomial, c), *constant = _terms(a)
        if c < 0:  # (-a)//b -> -((a + b-1)//b): the ceiling
            return -_floordiv(b - 1 - a, b)
        if (atom := _sole(monomial, c)) and atom.op == "//" and not (constant and constant[0][0]):
            inner, step = atom.args  # (a//s + k)//b -> (a + k*s)//(s*b)
            if isinstance(step, int):
                return _floordiv(inner + step * sum(k for _, k in constant), step * b)
    return _opaque("//", (a, b))


@_remember
def _mod(a: Size, b: Size) -> Size:
    """Subtract b*floor(a/b) from a, b != 0; as `_floordiv`, an atom only where no law applies."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if b == 0:
        raise ZeroDivisionError(f"size {a} modulo zero")
    if divide_exactly(a, b) is not None:
        return 0
    if _terms(b)[0][1] < 0:
        return -_mod(-a, -b)
    if isinstance(b, int):
        rest = _intern({monomial: c % b for monomial, c in _terms(a)})
    else:
        rest = _split(a, b)[1]
    if rest is not a and rest != a:  # (w*b + r)%b -> r%b
        return _mod(rest, b)
    factor, dropped = _common(a, b)  # (f*a + k)%(f*b) -> f*(a%b) + k
    if factor != 1:
        return factor * _mod(_exactly(a - dropped, factor), _exactly(b, factor)) + dropped
    if less_equal(0, a) and less(a, b):
        return a
    return _opaque("%", (a, b))


def _split(a: Size, b: Size) -> tuple[Size, Size]:
    """Return (whole, rest), a == whole*b + rest, taking what a one-term b divides out of each term of a.

    Coefficients are cut towards zero, so that (m-n)//2 keeps its look; a constant over a constant is floored.
    """
    (lead, scale), *more = _terms(b)
    whole: dict[Monomial, int] = {}
    for monomial, c in () if more else _terms(a):
        if (shared := _over(monomial, lead)) is not None:
            whole[shared] = c // scale if c > 0 or not monomial else -(-c // scale)
    taken = _intern(whole)
    return taken, a - taken * b


def _common(a: Size, b: Size) -> tuple[Size, int]:
    """Return (f, k) with f dividing a - k and b, where 0 <= k < f if b is an int and k == 0 otherwise."""
    if isinstance(b, int):
        factor = gcd(b, *(c for monomial, c in _terms(a) if monomial))
        return factor, sum(c for monomial, c in _terms(a) if not monomial) % factor
    terms = (*_terms(a), *_terms(b))
    powers = dict(terms[0][0])
    for monomial, _ in terms:
        present = dict(monomial)
        powers = {atom: min(power, present[atom]) for atom, power in powers.items() if atom in present}
    return _intern({tuple(powers.items()): gcd(*(c for _, c in terms))}), 0


def _exactly(a: Size, b: Size) -> Size:
    quotient = divide_exactly(a, b)
    assert quotient is not None
    return quotient


def _sole(monomial: Monomial, c: int) -> Atom | None:
    """Return the atom if the term is nothing but one atom."""
    return monomial[0][0] if c == 1 and len(monomial) == 1 and monomial[0][1] == 1 else None


def maximum(a: Size, *others: Size) -> Size:
    """Return the largest size; operands proved no larger than another drop out.

    >>> n = symbol("n")
    >>> maximum(n, 1), maximum(n, n + 1), maximum(n, 0)
    (max(n, 1), n+1, n)
    """
    return _extreme("max", (a, *others))


def minimum(a: Size, *others: Size) -> Size:
    """Return the smallest size; operands proved no smaller than another drop out.

    >>> n = symbol("n")
    >>> minimum(n, 4), minimum(n, n + 1), minimum(n, 0)
    (min(n, 4), n, 0)
    """
    return _extreme("min", (a, *others))


@_remember
def _extreme(op: str, sizes: tuple[Size, ...]) -> Size:
    if all(type(size) is int for size in sizes):
        return max(sizes) if op == "max" else min(sizes)  # type: ignore[type-var]
    operands: set[Size] = set()
    for size in map(_size, sizes):
        (monomial, c), *more = _terms(size) or (((), 0),)
        atom = None if more else _sole(monomial, c)
        operands.update(atom.args if atom and atom.op == op else (size,))
    if len(operands) > MAX_OPERANDS:
        raise ValueError(f"size too large: {op} of {len(operands)} sizes, expected at most {MAX_OPERANDS}")
    kept: list[Size] = []
    for size in sorted(operands, key=lambda size: (isinstance(size, int), str(size))):
        if not any(_beats(op, other, size) for other in kept):
            kept = [*(other for other in kept if not _beats(op, size, other)), size]
    return kept[0] if len(kept) == 1 else _opaque(op, tuple(kept))


def _beats(op: str, a: Size, b: Size) -> bool | None:
    return less_equal(b, a) if op == "max" else less_equal(a, b)


# --- comparison ---------------------------------------------------------------------------------------------

_NEGATIVE, _ZERO, _POSITIVE = 1, 2, 4


def equal(a: Size, b: Size) -> bool | None:
    """Return True if a == b whatever the symbols, False if never, None if that depends or is unknown.

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
        difference = _subtract(_size(a), _size(b))
        low, high = _bounds(difference)
        if any(atom.args for atom in _atoms(difference)):
            low, below = _lower(difference), _lower(-difference)
            high = None if below is None else -below
    except ValueError:  # beyond the limits: nothing is proved
        return _NEGATIVE | _ZERO | _POSITIVE
    signs = _NEGATIVE if low is None or low < 0 else 0
    signs |= _POSITIVE if high is None or high > 0 else 0
    possible = (low is None or low <= 0) and (high is None or high >= 0)
    factor = gcd(*(c for monomial, c in _terms(difference) if monomial))
    constant = sum(c for monomial, c in _terms(difference) if not monomial)
    return signs | (_ZERO if possible and (constant % factor == 0 if factor else constant == 0) else 0)


def _lower(size: Size) -> int | None:
    """Return a proved lower bound: the best interval bound of the size and a few weaker ones, or None."""
    best: int | None = None
    work = [(size, 1)]  # (weaker, scale) with scale*size >= weaker
    for weaker, scale in work:  # grows on the way
        low, _ = _bounds(weaker)
        if low is not None and (best is None or best * scale < low):
            best = -(-low // scale)
        if best is not None and best >= 0:
            break
        work.extend((found, scale * k) for found, k in _weaken(weaker) if len(work) < 24)
    return best


def _bounds(size: Size) -> tuple[int | None, int | None]:
    """Return interval bounds (low, high) of a polynomial, term by term; None is unknown."""
    low: int | None = 0
    high: int | None = 0
    for monomial, c in _terms(size):
        bottom, top = _monomial_bounds(monomial)
        if c < 0:
            bottom, top = top, bottom
        low = None if low is None or bottom is None else low + c * bottom
        high = None if high is None or top is None else high + c * top
    return low, high


def _monomial_bounds(monomial: Monomial) -> tuple[int | None, int | None]:
    if atom := _sole(monomial, 1):
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


def _opaque_bounds(op: str, args: tuple[Size, ...]) -> tuple[int | None, int | None]:
    lows, highs = zip(*map(_bounds, args), strict=True)
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
    for monomial, c in _terms(size):
        for atom, power in monomial:
            rest = _over(monomial, ((atom, 1),)) or ()
            if power > 1 or any(other.low is None or other.low < 0 for other, _ in rest):
                continue
            for scale, limit in _limits(atom, upper=c < 0):
                term = _intern({monomial: c})
                if isinstance(scale, int):
                    yield scale * (size - term) + _intern({rest: c}) * limit, scale
                elif (share := divide_exactly(_intern({rest: c}), scale)) is not None:
                    yield size - term + share * limit, 1


def _limits(atom: Atom, upper: bool) -> Iterator[tuple[Size, Size]]:
    """Yield (scale, limit) with scale > 0 and scale*atom <= limit if `upper`, else scale*atom >= limit."""
    if atom.op == ("min" if upper else "max"):
        yield from ((1, arg) for arg in atom.args)
    elif atom.op in ("//", "%"):
        a, b = atom.args
        (low, _), (bottom, _) = _bounds(a), _bounds(b)
        if bottom is None or bottom < 0:
            return
        if atom.op == "//":
            yield (b, a if upper else a - b + 1)
        elif upper:
            yield (1, b - 1)
        if upper and low is not None and low >= 0:
            yield (1, a)


# --- values -------------------------------------------------------------------------------------------------


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
    return _substitute(size, {name: _size(env[name]) for name in symbols(size) & env.keys()})


def _substitute(size: Size, env: Mapping[str, Size]) -> Size:
    for name, value in env.items():
        if isinstance(value, int) and value < 0:
            raise ValueError(f"size symbol {name}: expected a value of at least 0, got {value}")
    return _replace(size, env)


def _replace(size: Size, env: Mapping[str, Size]) -> Size:
    total: Size = 0
    for monomial, c in _terms(size):
        total = total + product([c, *(_replace_atom(atom, env) ** power for atom, power in monomial)])
    return total


def _replace_atom(atom: Atom, env: Mapping[str, Size]) -> Size:
    if env.keys().isdisjoint(atom.names):
        return _variable(atom)
    if not atom.args:
        return env[atom.text]
    result: Size = _OPERATORS[atom.op](*(_replace(arg, env) for arg in atom.args))
    return result


def symbols(size: Size) -> frozenset[str]:
    """Return the names of the symbols in a size.

    >>> sorted(symbols(symbol("n") * symbol("m") // 2))
    ['m', 'n']
    """
    return frozenset[str]().union(*(atom.names for atom in _atoms(size)))


def solve(size: Size, value: int) -> tuple[str, int] | None:
    """Return (s, x) such that s = x makes a size of the form a*s+b equal to `value`; None for any other form.

    Raises ValueError where no integer x >= 0 does.

    >>> solve(2 * symbol("n") + 1, 7), solve(symbol("n") // 2, 7)
    (('n', 3), None)
    """
    (monomial, scale), *constant = _terms(size) or (((), 0),)
    if len(monomial) != 1 or monomial[0][1] != 1 or monomial[0][0].args or (constant and constant[0][0]):
        return None
    solution, remainder = divmod(index(value) - sum(c for _, c in constant), scale)
    if remainder or solution < 0:
        raise ValueError(f"size {size} cannot be {value}: no {monomial[0][0].text} >= 0 makes it so")
    return monomial[0][0].text, solution


# --- text ---------------------------------------------------------------------------------------------------

_OPERATORS: dict[str, Any] = {
    "+": add, "-": sub, "*": mul, "//": floordiv, "%": mod, "**": pow,
    "max": maximum, "min": minimum, "symbol": symbol,
}  # fmt: skip
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "//": 2, "%": 2}
_DIGITS = frozenset("0123456789")
_TOKEN = re.compile(r"[ \t\n]*([0-9]+|[A-Za-z_][A-Za-z_0-9]*|\*\*|//|.|\Z)", re.DOTALL)


@_remember
def _text(dim: Dim) -> str:
    parts: list[str] = []
    for monomial, c in dim.terms:
        factors = [_bracketed(atom) + (f"**{power}" if power > 1 else "") for atom, power in monomial]
        if atom := _sole(monomial, c):
            factors = [atom.text]
        elif abs(c) != 1 or not monomial:
            factors.insert(0, str(abs(c)))
        parts += "-" if c < 0 else "+", "*".join(factors)
    return "".join(parts).removeprefix("+")


def _bracketed(atom: Atom) -> str:
    return f"({atom.text})" if atom.op in _PRECEDENCE else atom.text


def _operand(size: Size) -> str:
    """Return the text of an operand of // or %, in parentheses unless a symbol, a call or an integer >= 0."""
    if isinstance(size, int):
        return str(size) if size >= 0 else f"({size})"
    atom = _sole(*size.terms[0]) if len(size.terms) == 1 else None
    return _bracketed(atom) if atom else f"({size})"


def parse(text: str) -> Size:
    """Read a size from text: integers, symbols, + - * // % **, max, min and parentheses, as in Python.

    >>> parse("(n + 1)//2*m - max(n, 1)")
    ((n+1)//2)*m-max(n, 1)
    """
    if not isinstance(text, str):
        raise TypeError(f"size text: expected a str, got {type(text).__name__}")
    if len(text) > MAX_TEXT:
        raise ValueError(f"size text of {len(text)} characters: expected at most {MAX_TEXT}")
    reader = _Reader(text)
    size = reader.expression(1, 0)
    if reader.token:
        raise reader.error("an operator or the end")
    return size


class _Reader:
    """A precedence-climbing reader: `token` is the next token ("" at the end), starting at `start`."""

    __slots__ = ("start", "stop", "text", "token")

    def __init__(self, text: str) -> None:
        self.text, self.token, self.start, self.stop = text, "", 0, 0
        self.advance()

    def advance(self) -> str:
        passed, self.start = self.token, self.stop
        match = _TOKEN.match(self.text, self.stop)
        assert match is not None
        self.token, self.start, self.stop = match[1], match.start(1), match.end()
        return passed

    def expect(self, token: str) -> None:
        if self.token != token:
            raise self.error(repr(token))
        self.advance()

    def error(self, expected: str, found: str = "") -> ValueError:
        found = found or repr(self.text[self.start : self.start + 20] or "the end")
        return ValueError(f"size text, position {self.start}: expected {expected}, found {found}")

    def expression(self, level: int, nesting: int) -> Size:
        """Read operators that bind at least as tightly as `level`."""
        left = self.operand(nesting)
        while _PRECEDENCE.get(self.token, 0) >= level:
            operator, start = self.token, self.start
            self.advance()
            right = self.expression(_PRECEDENCE[operator] + 1, nesting)
            left = self.apply(start, operator, left, right)
        return left

    def operand(self, nesting: int) -> Size:
        if nesting > MAX_NESTING:
            raise self.error(f"at most {MAX_NESTING} levels", "deeper nesting")
        negative = False
        while self.token == "-":
            self.advance()
            negative = not negative
        start, token = self.start, self.advance()
        size: Size
        if token == "(":
            size = self.expression(1, nesting + 1)
            self.expect(")")
        elif token in ("max", "min"):
            self.expect("(")
            operands = [self.expression(1, nesting + 1)]
            while self.token == ",":
                self.advance()
                operands.append(self.expression(1, nesting + 1))
            self.expect(")")
            size = self.apply(start, token, *operands)
        elif token[:1] in _DIGITS:
            size = self.integer(start, token)
        elif token.isidentifier():
            size = self.apply(start, "symbol", token)
        else:
            self.start = start
            raise self.error("a size")
        if self.token == "**":
            self.advance()
            start, token = self.start, self.advance()
            size = self.apply(start, "**", size, self.integer(start, token))
        return -size if negative else size

    def integer(self, start: int, token: str) -> int:
        if token[:1] not in _DIGITS or len(token) > 40:
            self.start = start
            raise self.error("an integer of at most 40 digits")
        return int(token)

    def apply(self, start: int, operator: str, *operands: Any) -> Size:
        try:
            result: Size = _OPERATORS[operator](*operands)
        except (ValueError, ZeroDivisionError) as error:
            raise ValueError(f"size text, position {start}: {error}") from None
        if isinstance(result, int) and abs(result) >= MAX_COEFFICIENT:
            raise ValueError(f"size text, position {start}: a value of 2**128 or more")
        return result
