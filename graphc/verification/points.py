"""Sample points: exact dyadic rationals, so that float, Arb ball and SymPy number are the same value."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, Final

from graphc.backends.exact.fields import Array, empty, indices
from graphc.errors import RuleError

Draw = Callable[[random.Random], "Fraction | bool"]


# distinct primes: no two points tie, and no quotient of two is whole
PRIMES: Final = (5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103)


def _real(rng: random.Random) -> Fraction:
    return Fraction(rng.choice((-1, 1)) * rng.choice(PRIMES), 32)


def _positive(rng: random.Random) -> Fraction:
    return abs(_real(rng))


def _unit(rng: random.Random) -> Fraction:
    return Fraction(2 * rng.randrange(-28, 28) + 1, 64)


DOMAINS: Final[dict[str, Draw]] = {
    "real": _real,
    "positive": _positive,
    "nonzero": _real,
    "above -1": lambda rng: _positive(rng) - 1 + Fraction(1, 8),
    "above 1": lambda rng: 1 + _positive(rng),
    "inside -1 to 1": _unit,
    "unit": _unit,
    "off the poles of gamma": _positive,
    "inside 0 to 2": lambda rng: 1 + _unit(rng),
    "inside 0 to 1": lambda rng: abs(_unit(rng)),
    "bool": lambda rng: rng.random() < 0.5,
}

FLOATS: Final = tuple(name for name in DOMAINS if name != "bool")
"""The domains of floats."""

# where NumPy meanings lose accuracy if they can: near 0, near 1, far out, and where a last place has to be rounded
PROBES: Final = (
    *(Fraction(n, d) for n, d in ((1, 2**40), (1, 1), (257, 256), (5, 1), (20, 1))),
    Fraction(1 / 3),
)


def belongs(domain: str, value: Fraction) -> bool:
    """Whether a point lies in the open domain."""
    if domain in ("positive",):
        return value > 0
    if domain == "nonzero":
        return value != 0
    if domain == "above -1":
        return value > -1
    if domain == "above 1":
        return value > 1
    if domain in ("unit", "inside -1 to 1"):
        return -1 < value < 1
    if domain == "off the poles of gamma":
        return value > 0 or value.denominator > 1
    if domain == "inside 0 to 1":
        return 0 < value < 1
    if domain == "inside 0 to 2":
        return 0 < value < 2
    return domain not in ("bool", "index")


def draw(domain: str, shape: Any, rng: random.Random, seen: set[Fraction | bool] | None = None) -> Array:
    """An object array of points of a domain, unlike in size to each other and to `seen` while that is possible."""
    if domain not in DOMAINS:
        raise RuleError(f"no sample points for domain {domain!r}", expected=" or ".join(DOMAINS))
    result = empty(shape)
    seen = set() if seen is None else seen
    for i in indices(shape):
        value: Any = DOMAINS[domain](rng)
        for _ in range(200):
            if domain == "bool" or abs(value) not in seen:
                break
            value = DOMAINS[domain](rng)
        if domain != "bool":
            seen.add(abs(value))
        result[i] = value
    return result


def candidates() -> tuple[Fraction, ...]:
    """0 and the probes of both signs, whatever the domain."""
    return (Fraction(0), *PROBES, *(-p for p in PROBES))


def probes(domain: str) -> Iterator[Fraction]:
    """Points at which an inaccurate float formula shows."""
    for value in candidates():
        if belongs(domain, value):
            yield value
