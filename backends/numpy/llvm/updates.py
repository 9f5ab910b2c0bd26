"""Products that go into a sum: ``w - rate * x.T @ g`` as one, which is added into an array as it is multiplied.

A program has a product and, later, a kernel that does nothing but combine it with another array. BLAS computes
``alpha a b + beta c``, and so do `panels`: the two become one where nothing between them touches what they read and
write, and the product never lies in memory. Long sums are added up in parts, each of which is added to c: only products
with short sums are merged, so that what rounding that costs stays within that of a few additions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from graphc import dims
from graphc.backends.numpy.llvm.instructions import (
    Between,
    Choice,
    Copy,
    Instruction,
    Matrix,
    Nonzero,
    Place,
    Product,
    Program,
    Run,
    Storage,
)
from graphc.backends.numpy.llvm.layouts import row_major
from graphc.dims import Size
from graphc.kernels import Affine, Apply, Fixed, Kernel, Load, Position, Store, Value

MOST: Final = 16  # values of a kernel: more are no sum of two arrays
SHORT: Final = 1024  # terms of a sum: BLAS adds some hundred at a time


def merged(program: Program) -> Program:
    """The program with products and the kernels that add them to something as one instruction each."""
    merging = _Merging(program)
    number = 0
    while number < len(merging.instructions):
        if isinstance(merging.instructions[number], Run):
            number = merging.run(number)
        number += 1
    return merging.program()


@dataclass(frozen=True, slots=True)
class _Term:
    """An array times a number: a constant, times some values of the kernel, divided by others, the same everywhere."""

    load: Load
    constant: float = 1.0
    factors: tuple[int, ...] = ()
    divisors: tuple[int, ...] = ()

    def negative(self) -> _Term:
        return replace(self, constant=-self.constant)

    @property
    def is_constant(self) -> bool:
        return not (self.factors or self.divisors)


def combination(kernel: Kernel) -> tuple[_Term, ...] | None:
    """The one result of an elementwise kernel as a sum of arrays times numbers; None if it is something else."""
    if kernel.reduced or len(kernel.stores) != 1 or len(kernel.values) > MOST:
        return None
    found = _terms(kernel, kernel.stores[0].value)
    if found is None or len({t.load.root for t in found}) != len(found):
        return None
    return found


def _terms(kernel: Kernel, number: int) -> tuple[_Term, ...] | None:
    value = kernel.values[number]
    if isinstance(value, Load):
        return None if value.within else (_Term(value),)
    if not isinstance(value, Apply):
        return None
    match value.op:
        case "neg":
            found = _terms(kernel, value.operands[0])
            return None if found is None else tuple(t.negative() for t in found)
        case "add" | "sub":
            first, second = (_terms(kernel, operand) for operand in value.operands)
            if first is None or second is None:
                return None
            return first + (second if value.op == "add" else tuple(t.negative() for t in second))
        case "mul":
            for operand, other in (value.operands, value.operands[::-1]):
                if not kernel.varies[other]:
                    return _scaled(kernel, operand, other)
        case "div":
            if not kernel.varies[value.operands[1]]:
                return _scaled(kernel, value.operands[0], value.operands[1], divided=True)
    return None


def _scaled(kernel: Kernel, operand: int, by: int, divided: bool = False) -> tuple[_Term, ...] | None:
    """One term times a number, or divided by it. A sum that is scaled stays as it is: its terms would round apart."""
    found = _terms(kernel, operand) if kernel.varies[operand] else None
    if found is None or len(found) != 1:
        return None
    (term,) = found
    value = kernel.values[by]
    if not isinstance(value, Fixed):
        if divided:
            return (replace(term, divisors=(*term.divisors, by)),)
        return (replace(term, factors=(*term.factors, by)),)
    if divided:
        return (replace(term, constant=term.constant / value.number),) if value.number else None
    return (replace(term, constant=term.constant * value.number),)


class _Merging:
    def __init__(self, program: Program) -> None:
        self.before = program
        self.instructions: list[Instruction] = list(program.instructions)
        self.storages: list[Storage] = list(program.storages)
        self.kernels: list[Kernel] = list(program.kernels)
        self.results = {r.layout.storage for r in program.results}

    def program(self) -> Program:
        return replace(
            self.before,
            storages=tuple(self.storages),
            instructions=tuple(self.instructions),
            kernels=tuple(self.kernels),
        )

    def run(self, number: int) -> int:
        """Merge the kernel that runs here with a product, if it can be; where the instructions then are."""
        run = self.instructions[number]
        assert isinstance(run, Run)
        kernel = self.kernels[run.kernel]
        terms = combination(kernel)
        if terms is None or len(terms) != 2:
            return number
        places = dict(zip(kernel.roots, run.reads, strict=True))
        for other, term in (terms, terms[::-1]):
            made = self.maker(number, places[term.load.root])
            if made is None or not other.is_constant or not _usable(other) or not _usable(term):
                continue
            product = self.instructions[made]
            assert isinstance(product, Product)
            joined = self.joined(kernel.stores[0], kernel.sizes, product, term, other, run.writes[0])
            if joined is None or not self.may_move(made, number, product, places[other.load.root], run):
                continue
            start: list[Instruction] = []
            if places[other.load.root] != run.writes[0]:
                nbytes = dims.product((*product.stack, product.rows, product.columns, product.dtype.itemsize))
                start.append(Copy(places[other.load.root], run.writes[0], nbytes))
            new: list[Instruction] = [*start, joined]
            if not term.is_constant:
                new = self.chosen(kernel, places, term, start, joined, (product, run))
            if not isinstance(product.inner, int):
                first = new[:-1] if isinstance(new[-1], Choice) else []
                new = [*first, Choice(Between(product.inner, SHORT), tuple(new[len(first) :]), (product, run))]
            self.instructions[number : number + 1] = new
            del self.instructions[made]
            return number - 2 + len(new)
        return number

    def maker(self, number: int, place: Place) -> int | None:
        """The product that fills what is read here, and what nothing else reads."""
        if place.offset != 0 or self.storages[place.storage].origin != "temporary":
            return None
        made = None
        for k in reversed(range(number)):
            instruction = self.instructions[k]
            if any(p.storage == place.storage for p in instruction.writes):
                made = k
                break
            if any(p.storage == place.storage for p in instruction.reads):
                return None
        if made is None or not isinstance(self.instructions[made], Product):
            return None
        written = place.storage in {p.storage for p in self.instructions[number].writes}
        if not written and (place.storage in self.results or self.touched(place.storage, number + 1)):
            return None
        return made

    def touched(self, storage: int, start: int) -> bool:
        """Whether an instruction from here on reads or writes a storage."""
        return any(storage in {p.storage for p in (*i.reads, *i.writes)} for i in self.instructions[start:])

    def joined(
        self, store: Store, sizes: Sequence[Size], product: Product, term: _Term, other: _Term, target: Place
    ) -> Product | None:
        """The product that adds into the target; None if the arrays do not lie alike."""
        dtype = product.dtype
        if product.beta or product.alpha != 1.0 or (isinstance(product.inner, int) and not 0 < product.inner <= SHORT):
            return None
        if term.load.dtype != dtype or other.load.dtype != dtype or other.load.at != store.at:
            return None
        shape = (*product.stack, product.rows, product.columns)
        if product.c.place.offset != 0 or product.c.strides != row_major(shape):
            return None
        if dims.equal(dims.product(sizes), dims.product(shape)) is not True or not _covers(store.at, sizes):
            return None
        alpha = term.constant if term.is_constant else 1.0
        if term.load.at == store.at:
            return replace(product, c=Matrix(target, product.c.strides), alpha=alpha, beta=other.constant)
        turned = len(sizes) == 2 and not product.stack and term.load.at == Affine(0, (1, sizes[0]))
        if not turned or tuple(sizes) != (product.columns, product.rows):
            return None
        a, b = (Matrix(m.place, m.strides[::-1]) for m in (product.b, product.a))
        c = Matrix(target, row_major(sizes))
        return Product(dtype, (), product.columns, product.inner, product.rows, a, b, c, alpha, other.constant)

    def may_move(self, made: int, number: int, product: Product, other: Place, run: Run) -> bool:
        """Whether the product can wait for the kernel, and then write where the kernel would."""
        (target,) = run.writes
        operands = {product.a.place.storage, product.b.place.storage}
        if target.storage in operands:
            return False
        if other.storage == target.storage and other != target:
            return False
        between = self.instructions[made + 1 : number]
        return not any(p.storage in operands for i in between for p in i.writes)

    def chosen(
        self,
        kernel: Kernel,
        places: dict[int, Place],
        term: _Term,
        start: list[Instruction],
        joined: Product,
        apart: tuple[Instruction, Instruction],
    ) -> list[Instruction]:
        """The same with a number that is computed first; 0 times infinity is not 0, so then all is done as written."""
        values, stored = _number(kernel, term, joined)
        roots = tuple(dict.fromkeys(v.root for v in values if isinstance(v, Load)))
        at = len(self.storages)
        self.storages.append(Storage(at, joined.dtype, 1))
        place = Place(at, 0)
        self.kernels.append(Kernel((), values, (Store(stored, -1, Affine(0, ())),)))
        return [
            Run(len(self.kernels) - 1, tuple(places[r] for r in roots), (place,)),
            Choice(Nonzero(joined.dtype, place), (*start, replace(joined, alpha=place)), apart),
        ]


def _usable(term: _Term) -> bool:
    """Whether BLAS means the same by the number: it takes 0 for something that makes any other number 0."""
    return math.isfinite(term.constant) and term.constant != 0


def _covers(at: Affine, sizes: Sequence[Size]) -> bool:
    """Whether the points of all loops are the elements of a dense array, in order."""
    return at == Affine(0, row_major(sizes))


def _number(kernel: Kernel, term: _Term, product: Product) -> tuple[tuple[Value, ...], int]:
    """The values that compute a term's number, without loops, and which of them it is."""
    values: list[Value] = []
    numbers: dict[int, int] = {}

    def copied(i: int) -> int:
        if i not in numbers:
            value = kernel.values[i]
            match value:
                case Load():
                    value = replace(value, at=Affine(value.at.offset, ()))
                case Position():
                    value = replace(value, at=Affine(value.at.offset, ()))
                case Apply():
                    value = replace(value, operands=tuple(map(copied, value.operands)))
            numbers[i] = len(values)
            values.append(value)
        return numbers[i]

    values.append(Fixed(product.dtype, term.constant))
    result = 0
    for op, operands in (("mul", term.factors), ("div", term.divisors)):
        for i in operands:
            other = copied(i)
            values.append(Apply(product.dtype, op, (result, other)))
            result = len(values) - 1
    return tuple(values), result
