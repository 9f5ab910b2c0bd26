"""Integer polynomials in named sizes, interned: two equal ones are one object.

A polynomial's variables are atoms: symbols, and the `//`, `%`, `max` and `min` of sizes that do not simplify.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from keyword import iskeyword
from numbers import Integral
from operator import index
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from graphc.forks import Lock

# Limits that every Dim obeys, chosen so that the text of any Dim fits in MAX_TEXT and nests less than
# MAX_NESTING: whatever can be built can be pickled, and hostile text is refused in bounded time.
MAX_COEFFICIENT = 2**128
MAX_DEGREE = 64
MAX_WEIGHT = 512  # leaves of the expression tree, roughly
MAX_DEPTH = 32  # of atoms inside atoms
MAX_NAME = 50

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
        return _add(self, other) if isinstance(other, SIZES) else NotImplemented

    __radd__ = __add__

    def __sub__(self, other: Size) -> Size:
        return subtract(self, other) if isinstance(other, SIZES) else NotImplemented

    def __rsub__(self, other: int) -> Size:
        return subtract(other, self) if isinstance(other, SIZES) else NotImplemented

    def __mul__(self, other: Size) -> Size:
        return _multiply(self, other) if isinstance(other, SIZES) else NotImplemented

    __rmul__ = __mul__

    def __neg__(self) -> Dim:
        return _dim({monomial: -c for monomial, c in self.terms})

    def __floordiv__(self, other: Size) -> Size:
        from graphc.dims.division import floordiv

        return floordiv(self, to_size(other)) if isinstance(other, SIZES) else NotImplemented

    def __rfloordiv__(self, other: int) -> Size:
        from graphc.dims.division import floordiv

        return floordiv(to_size(other), self) if isinstance(other, SIZES) else NotImplemented

    def __mod__(self, other: Size) -> Size:
        from graphc.dims.division import modulo

        return modulo(self, to_size(other)) if isinstance(other, SIZES) else NotImplemented

    def __rmod__(self, other: int) -> Size:
        from graphc.dims.division import modulo

        return modulo(to_size(other), self) if isinstance(other, SIZES) else NotImplemented

    def __pow__(self, exponent: int) -> Size:
        exponent = index(exponent)
        if not 0 <= exponent <= MAX_DEGREE:
            raise ValueError(f"size {self} to the power {exponent}: expected a power from 0 to {MAX_DEGREE}")
        return product([self] * exponent)

    def __bool__(self) -> bool:
        from graphc.dims.comparison import equal

        if equal(self, 0) is not False:
            raise TypeError(f"whether size {self} is nonzero is undecided; ask graphc.dims.equal")
        return True

    def __str__(self) -> str:
        return text_of(self)

    __repr__ = __str__

    def __reduce__(self) -> tuple[Any, ...]:
        from graphc.dims.reading import parse

        return parse, (text_of(self),)

    def __copy__(self) -> Dim:
        return self

    def __deepcopy__(self, memo: object) -> Dim:
        return self


Size: TypeAlias = int | Dim
SIZES: Any = (int, Dim, Integral)  # Integral admits NumPy's integers

remember = lru_cache(maxsize=2**12)  # bounds how many unused sizes stay alive

_NAME = re.compile("[A-Za-z_][A-Za-z_0-9]*")

ATOMS: WeakValueDictionary[str, Atom] = WeakValueDictionary()
DIMS: WeakValueDictionary[frozenset[tuple[Monomial, int]], Dim] = WeakValueDictionary()
_LOCK = Lock()


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
    return variable(Atom("", (), name, 0, None, frozenset([name]), 1, 0))


def variable(atom: Atom) -> Dim:
    with _LOCK.held:
        interned = ATOMS.get(atom.text)
        if interned is None:
            ATOMS[atom.text] = interned = atom
    return _dim({((interned, 1),): 1})


def polynomial(terms: dict[Monomial, int]) -> Size:
    """Return the one object for these terms; a plain int if they are constant."""
    if 0 in terms.values():
        terms = {monomial: c for monomial, c in terms.items() if c}
    if len(terms) > 1 or (terms and () not in terms):
        return _dim(terms)
    return terms.get((), 0)


def _dim(terms: dict[Monomial, int]) -> Dim:
    key = frozenset(terms.items())
    if (known := DIMS.get(key)) is not None:
        return known
    weight = 0
    for monomial, c in terms.items():
        weight += 1 + sum([atom.weight for atom, _ in monomial])
        if not -MAX_COEFFICIENT < c < MAX_COEFFICIENT or _degree(monomial) > MAX_DEGREE:
            raise ValueError(f"size too large: a coefficient of 2**128 or more, or a degree above {MAX_DEGREE}")
    if weight > MAX_WEIGHT:
        raise ValueError(f"size too large: {len(terms)} terms that weigh more than {MAX_WEIGHT}")
    made = Dim(tuple(sorted(terms.items(), key=_order) if len(terms) > 1 else terms.items()), weight)
    with _LOCK.held:
        if (known := DIMS.get(key)) is not None:
            return known
        DIMS[key] = made
    return made


def _order(term: tuple[Monomial, int]) -> tuple[int, list[tuple[str, int]]]:
    """Sort key: graded lexicographic by the atoms' text, an order under which polynomial division ends."""
    monomial = term[0]
    return -_degree(monomial), [(atom.text, -power) for atom, power in monomial]


def _degree(monomial: Monomial) -> int:
    return sum([power for _, power in monomial])


def terms_of(size: Size) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(size, Dim):
        return size.terms
    return (((), int(size)),) if size else ()


def atoms_of(size: Size) -> Iterator[Atom]:
    return (atom for monomial, _ in terms_of(size) for atom, _ in monomial)


def to_size(value: object) -> Size:
    if isinstance(value, Dim):
        return value
    if isinstance(value, SIZES):
        return int(value)
    raise TypeError(f"size: expected an int or a Dim, got {type(value).__name__}")


@remember
def _add(a: Size, b: Size) -> Size:
    terms = dict(terms_of(a))
    for monomial, c in terms_of(b):
        terms[monomial] = terms.get(monomial, 0) + c
    return polynomial(terms)


@remember
def subtract(a: Size, b: Size) -> Size:
    terms = dict(terms_of(a))
    for monomial, c in terms_of(b):
        terms[monomial] = terms.get(monomial, 0) - c
    return polynomial(terms)


@remember
def _multiply(a: Size, b: Size) -> Size:
    left, right = terms_of(a), terms_of(b)
    if len(left) * len(right) > 16 * MAX_WEIGHT:
        raise ValueError(f"size too large: a product of {len(left)} by {len(right)} terms")
    terms: dict[Monomial, int] = {}
    for p, c in left:
        for q, d in right:
            pq = _times(p, q)
            terms[pq] = terms.get(pq, 0) + c * d
    return polynomial(terms)


def _times(p: Monomial, q: Monomial) -> Monomial:
    if not p or not q:
        return p or q
    powers = dict(p)
    for atom, power in q:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda factor: factor[0].text))


def over(p: Monomial, q: Monomial) -> Monomial | None:
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
    return to_size(result)


def divide_exactly(a: Size, b: Size) -> Size | None:
    """Return the polynomial q with q*b == a and integer coefficients, or None if there is none.

    >>> n, m = symbol("n"), symbol("m")
    >>> divide_exactly(n * m + 2 * n, m + 2), divide_exactly(n, 2)
    (n, None)
    """
    a, b = to_size(a), to_size(b)
    if b == 0 or (isinstance(a, int) and isinstance(b, int)):
        return None if b == 0 or a % b else a // b
    (lead, scale), quotient = terms_of(b)[0], dict[Monomial, int]()
    try:
        while a != 0:
            monomial, c = terms_of(a)[0]
            shared = over(monomial, lead)
            if shared is None or c % scale:
                return None
            quotient[shared] = c // scale
            a = a - polynomial({shared: c // scale}) * b
    except ValueError:  # a remainder beyond the limits of a Dim
        return None
    return polynomial(quotient)


def sole(monomial: Monomial, c: int) -> Atom | None:
    """Return the atom if the term is nothing but one atom."""
    return monomial[0][0] if c == 1 and len(monomial) == 1 and monomial[0][1] == 1 else None


def symbols(size: Size) -> frozenset[str]:
    """Return the names of the symbols in a size.

    >>> sorted(symbols(symbol("n") * symbol("m") // 2))
    ['m', 'n']
    """
    return frozenset[str]().union(*(atom.names for atom in atoms_of(size)))


PRECEDENCE = {"+": 1, "-": 1, "*": 2, "//": 2, "%": 2}


@remember
def text_of(dim: Dim) -> str:
    parts: list[str] = []
    for monomial, c in dim.terms:
        factors = [bracketed(atom) + (f"**{power}" if power > 1 else "") for atom, power in monomial]
        if atom := sole(monomial, c):
            factors = [atom.text]
        elif abs(c) != 1 or not monomial:
            factors.insert(0, str(abs(c)))
        parts += "-" if c < 0 else "+", "*".join(factors)
    return "".join(parts).removeprefix("+")


def bracketed(atom: Atom) -> str:
    return f"({atom.text})" if atom.op in PRECEDENCE else atom.text


def operand_text(size: Size) -> str:
    """Return the text of an operand of // or %, in parentheses unless a symbol, a call or an integer >= 0."""
    if isinstance(size, int):
        return str(size) if size >= 0 else f"({size})"
    atom = sole(*size.terms[0]) if len(size.terms) == 1 else None
    return bracketed(atom) if atom else f"({size})"
