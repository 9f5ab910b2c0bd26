"""What a native program consists of: storages, and instructions that read and write them, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from graphc import dims
from graphc.backends.numpy.llvm.layouts import Layout
from graphc.dims import Size
from graphc.kernels import Kernel

DType = np.dtype[Any]
Origin = Literal["argument", "constant", "temporary"]


@dataclass(frozen=True, slots=True)
class Storage:
    """A block of elements: those of argument or constant `index`, or a temporary, which may become a result."""

    number: int
    dtype: DType
    count: Size
    origin: Origin = "temporary"
    index: int = 0

    @property
    def nbytes(self) -> Size:
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Place:
    """Where an array begins: an offset, in bytes, into a storage."""

    storage: int
    offset: Size

    @classmethod
    def of(cls, layout: Layout) -> Place:
        return cls(layout.storage, layout.offset * layout.dtype.itemsize)


@dataclass(frozen=True, slots=True)
class Run:
    """Call kernel number `kernel` of the program on these arrays: the `reads` first, then the `writes`."""

    kernel: int
    reads: tuple[Place, ...]
    writes: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy adjacent bytes."""

    source: Place
    target: Place
    nbytes: Size

    @property
    def reads(self) -> tuple[Place, ...]:
        return (self.source,)

    @property
    def writes(self) -> tuple[Place, ...]:
        return (self.target,)


@dataclass(frozen=True, slots=True)
class Clear:
    """Fill adjacent bytes with zeros."""

    target: Place
    nbytes: Size

    @property
    def reads(self) -> tuple[Place, ...]:
        return ()

    @property
    def writes(self) -> tuple[Place, ...]:
        return (self.target,)


@dataclass(frozen=True, slots=True)
class Matrix:
    """A stack of matrices: where the first begins, rows and columns, the stride of each axis, those of the stack first.

    One of the last two strides is 1.
    """

    place: Place
    strides: tuple[Size, ...]


@dataclass(frozen=True, slots=True)
class Product:
    """Matrix products by BLAS: for each index of `stack`, c = alpha a b + beta c.

    They have `rows` and `columns`, and `inner` in between. `alpha` may be a number that is known only at run time, at a
    place; it must not be 0 there, where BLAS reads neither a nor b. `gram`: that b is a, turned, and only one triangle
    of the result is computed; see `grams`.
    """

    dtype: DType
    stack: tuple[Size, ...]
    rows: Size
    inner: Size
    columns: Size
    a: Matrix
    b: Matrix
    c: Matrix
    alpha: float | Place = 1.0
    beta: float = 0.0
    gram: bool = False

    @property
    def reads(self) -> tuple[Place, ...]:
        found = [self.a.place, self.b.place]
        if isinstance(self.alpha, Place):
            found.append(self.alpha)
        if self.beta:
            found.append(self.c.place)
        return tuple(found)

    @property
    def writes(self) -> tuple[Place, ...]:
        return (self.c.place,)


@dataclass(frozen=True, slots=True)
class Rows:
    """Gather or scatter rows of adjacent elements, by positions along axes of the sizes `axes`.

    An array of shape (lead, *axes, row) is gathered from, or added into; the other one has the shape (lead, count,
    row). `positions` holds `count` positions for each axis, of dtype `kinds`. Negative ones count from the end; one
    that is out of bounds ends the program. `kernel` adds one row into another; None to gather. With `same` the other
    one has a single element, which goes everywhere.
    """

    dtype: DType
    lead: Size
    axes: tuple[Size, ...]
    count: Size
    row: Size
    array: Place
    rows: Place
    positions: tuple[Place, ...]
    kinds: tuple[DType, ...]
    kernel: int | None = None
    same: bool = False

    @property
    def reads(self) -> tuple[Place, ...]:
        return (*self.positions, self.array, self.rows)

    @property
    def writes(self) -> tuple[Place, ...]:
        return (self.rows if self.kernel is None else self.array,)


@dataclass(frozen=True, slots=True)
class Search:
    """Write a place for each of `number` values: how many of `count` ascending edges are less; see `searching`."""

    dtype: DType
    count: Size
    number: Size
    edges: Place
    values: Place
    target: Place
    right: bool

    @property
    def reads(self) -> tuple[Place, ...]:
        return (self.edges, self.values)

    @property
    def writes(self) -> tuple[Place, ...]:
        return (self.target,)


@dataclass(frozen=True, slots=True)
class Cleared:
    """That the `nbytes` of a target of `Moves` are filled with zeros, `piece` bytes at a time, each before it is used.

    Its targets ascend, and are counted from the start of their piece. `starts` holds for each piece the number of its
    first target, and how many there are in the end.
    """

    nbytes: int
    piece: int
    starts: Place


@dataclass(frozen=True, slots=True)
class Moves:
    """Put single numbers of one array into another, from and to positions that were known before: within bounds.

    `sources` and `targets` hold `count` unsigned positions, counted from the arrays' first elements; None for 0, 1, 2,
    ... With `zero`, 0 is added to each number, as where it goes 0 is: it makes 0.0 of -0.0. No two targets are one.

    cleared: what else the target holds is to be zeros; see `moves`.
    """

    dtype: DType
    count: int
    source: Place
    target: Place
    sources: Place | None = None
    targets: Place | None = None
    zero: bool = False
    cleared: Cleared | None = None

    @property
    def reads(self) -> tuple[Place, ...]:
        starts = None if self.cleared is None else self.cleared.starts
        return (self.source, *(p for p in (self.sources, self.targets, starts) if p is not None))

    @property
    def writes(self) -> tuple[Place, ...]:
        return (self.target,)


@dataclass(frozen=True, slots=True)
class Running:
    """Running results along an axis: each row of `target` by an op from the one before it and a row of `source`.

    Both have the shape (lead, count, row). With `reverse` the first row is the last one of the array. They may be one.
    `kernel` does that for a row; None for rows of few numbers, which are computed one by one.
    """

    dtype: DType
    lead: Size
    count: Size
    row: Size
    source: Place
    target: Place
    reverse: bool
    op: str
    kernel: int | None

    @property
    def reads(self) -> tuple[Place, ...]:
        return (self.source,)

    @property
    def writes(self) -> tuple[Place, ...]:
        return (self.target,)


@dataclass(frozen=True, slots=True)
class Nonzero:
    """That the number of a float dtype at a place is not 0, which NaN is not."""

    dtype: DType
    place: Place


@dataclass(frozen=True, slots=True)
class Between:
    """That a size is at least some number, and at most another one."""

    size: Size
    most: int
    least: int = 1


@dataclass(frozen=True, slots=True)
class Many:
    """That the product of some sizes, which need not fit into 64 bits, is at least some number."""

    sizes: tuple[Size, ...]
    least: int


@dataclass(frozen=True, slots=True)
class All:
    """That all of some conditions hold."""

    conditions: tuple[Between | Many, ...]


Condition = Nonzero | Between | Many | All


@dataclass(frozen=True, slots=True)
class Choice:
    """Do one thing if a condition holds, as it nearly always does, and another if not."""

    condition: Condition
    usual: tuple[Instruction, ...]
    otherwise: tuple[Instruction, ...]

    @property
    def reads(self) -> tuple[Place, ...]:
        number = (self.condition.place,) if isinstance(self.condition, Nonzero) else ()
        return (*number, *(place for i in (*self.usual, *self.otherwise) for place in i.reads))

    @property
    def writes(self) -> tuple[Place, ...]:
        return tuple(place for i in (*self.usual, *self.otherwise) for place in i.writes)


Instruction = Run | Copy | Clear | Product | Rows | Search | Moves | Running | Choice


def usual(instructions: Sequence[Instruction]) -> Iterator[Instruction]:
    """The instructions one by one; of a choice those that are done nearly always."""
    for instruction in instructions:
        if isinstance(instruction, Choice):
            yield from usual(instruction.usual)
        else:
            yield instruction


@dataclass(frozen=True, slots=True)
class Result:
    """One result of the program: a whole storage of its own; or, without axes, a number at a place.

    argument: for a result that is an argument, given away with its memory, its number.
    """

    layout: Layout
    owned: bool
    argument: int | None = None

    @property
    def number(self) -> bool:
        return not (self.owned or self.argument is not None)


@dataclass(frozen=True, slots=True)
class Program:
    """A plan in instructions.

    `constants` are the arrays of the constant storages, by index; `planned` has the
    number of the kernel of each step that has one.
    """

    storages: tuple[Storage, ...]
    instructions: tuple[Instruction, ...]
    results: tuple[Result, ...]
    kernels: tuple[Kernel, ...]
    constants: tuple[Any, ...]
    planned: tuple[int, ...]


def same_count(a: Size, b: Size) -> bool:
    """Whether two numbers of elements are certainly the same."""
    return dims.equal(a, b) is True
