"""Floor division, remainder, maximum and minimum of sizes: atoms of their own where no law applies."""

from __future__ import annotations

from math import gcd

from graphc.dims.comparison import atom_bounds, less, less_equal
from graphc.dims.polynomials import (
    ATOMS,
    MAX_COEFFICIENT,
    Atom,
    Dim,
    Monomial,
    Size,
    atoms_of,
    divide_exactly,
    operand_text,
    over,
    polynomial,
    remember,
    sole,
    symbols,
    terms_of,
    to_size,
    variable,
)

MAX_DEPTH = 32  # of atoms inside atoms
MAX_OPERANDS = 32  # of one max or min


def _opaque(op: str, args: tuple[Size, ...]) -> Dim:
    """Return `op(*args)` as an atom, with the bounds that follow from those of its operands."""
    text = f"{op}({', '.join(map(str, args))})" if op in ("max", "min") else op.join(map(operand_text, args))
    if (known := ATOMS.get(text)) is not None:
        return variable(known)
    names = frozenset[str]().union(*map(symbols, args))
    if any(isinstance(arg, int) and abs(arg) >= MAX_COEFFICIENT for arg in args):
        raise ValueError(f"size too large: a constant of 2**128 or more in {op}")
    depth = 1 + max(atom.depth for arg in args for atom in atoms_of(arg))
    if depth > MAX_DEPTH:
        raise ValueError(f"size too large: more than {MAX_DEPTH} divisions, max or min inside one another")
    weight = 1 + sum(arg.weight if isinstance(arg, Dim) else 1 for arg in args)
    return variable(Atom(op, args, text, *atom_bounds(op, args), names, weight, depth))


@remember
def floordiv(a: Size, b: Size) -> Size:
    """Floor a/b, b != 0; an atom only where no law applies, so that reading its text gives it back."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if b == 0:
        raise ZeroDivisionError(f"size {a} divided by zero")
    if (exact := divide_exactly(a, b)) is not None:
        return exact
    if terms_of(b)[0][1] < 0:
        return floordiv(-a, -b)
    whole, rest = _split(a, b)  # (w*b + r)//b -> w + r//b
    if whole != 0:
        return whole + floordiv(rest, b)
    factor, dropped = _common(a, b)  # (f*a + k)//(f*b) -> a//b
    if factor != 1:
        return floordiv(_exactly(a - dropped, factor), _exactly(b, factor))
    if less_equal(0, a) and less(a, b):
        return 0
    if isinstance(b, int):
        (monomial, c), *constant = terms_of(a)
        if c < 0:  # (-a)//b -> -((a + b-1)//b): the ceiling
            return -floordiv(b - 1 - a, b)
        if (atom := sole(monomial, c)) and atom.op == "//" and not (constant and constant[0][0]):
            inner, step = atom.args  # (a//s + k)//b -> (a + k*s)//(s*b)
            if isinstance(step, int):
                return floordiv(inner + step * sum(k for _, k in constant), step * b)
    return _opaque("//", (a, b))


@remember
def modulo(a: Size, b: Size) -> Size:
    """Subtract b*floor(a/b) from a, b != 0; as `floordiv`, an atom only where no law applies."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if b == 0:
        raise ZeroDivisionError(f"size {a} modulo zero")
    if divide_exactly(a, b) is not None:
        return 0
    if terms_of(b)[0][1] < 0:
        return -modulo(-a, -b)
    if isinstance(b, int):
        rest = polynomial({monomial: c % b for monomial, c in terms_of(a)})
    else:
        rest = _split(a, b)[1]
    if rest is not a and rest != a:  # (w*b + r)%b -> r%b
        return modulo(rest, b)
    factor, dropped = _common(a, b)  # (f*a + k)%(f*b) -> f*(a%b) + k
    if factor != 1:
        return factor * modulo(_exactly(a - dropped, factor), _exactly(b, factor)) + dropped
    if less_equal(0, a) and less(a, b):
        return a
    return _opaque("%", (a, b))


def _split(a: Size, b: Size) -> tuple[Size, Size]:
    """Return (whole, rest), a == whole*b + rest, taking what a one-term b divides out of each term of a.

    Coefficients are cut towards zero, so that (m-n)//2 keeps its look; a constant over a constant is floored.
    """
    (lead, scale), *more = terms_of(b)
    whole: dict[Monomial, int] = {}
    for monomial, c in () if more else terms_of(a):
        if (shared := over(monomial, lead)) is not None:
            whole[shared] = c // scale if c > 0 or not monomial else -(-c // scale)
    taken = polynomial(whole)
    return taken, a - taken * b


def _common(a: Size, b: Size) -> tuple[Size, int]:
    """Return (f, k) with f dividing a - k and b, where 0 <= k < f if b is an int and k == 0 otherwise."""
    if isinstance(b, int):
        factor = gcd(b, *(c for monomial, c in terms_of(a) if monomial))
        return factor, sum(c for monomial, c in terms_of(a) if not monomial) % factor
    terms = (*terms_of(a), *terms_of(b))
    powers = dict(terms[0][0])
    for monomial, _ in terms:
        present = dict(monomial)
        powers = {atom: min(power, present[atom]) for atom, power in powers.items() if atom in present}
    return polynomial({tuple(powers.items()): gcd(*(c for _, c in terms))}), 0


def _exactly(a: Size, b: Size) -> Size:
    quotient = divide_exactly(a, b)
    assert quotient is not None
    return quotient


def maximum(a: Size, *others: Size) -> Size:
    """Return the largest size; operands proved no larger than another drop out.

    >>> from graphc.dims import symbol
    >>> n = symbol("n")
    >>> maximum(n, 1), maximum(n, n + 1), maximum(n, 0)
    (max(n, 1), n+1, n)
    """
    return _extreme("max", (a, *others))


def minimum(a: Size, *others: Size) -> Size:
    """Return the smallest size; operands proved no smaller than another drop out.

    >>> from graphc.dims import symbol
    >>> n = symbol("n")
    >>> minimum(n, 4), minimum(n, n + 1), minimum(n, 0)
    (min(n, 4), n, 0)
    """
    return _extreme("min", (a, *others))


@remember
def _extreme(op: str, sizes: tuple[Size, ...]) -> Size:
    if all(type(size) is int for size in sizes):
        return max(sizes) if op == "max" else min(sizes)  # type: ignore[type-var]
    operands: set[Size] = set()
    for size in map(to_size, sizes):
        (monomial, c), *more = terms_of(size) or (((), 0),)
        atom = None if more else sole(monomial, c)
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
