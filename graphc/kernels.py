"""Kernels: loop nests over scalar operations. One description, from which every kernel generator emits.

A kernel runs its values at each point of a rectangle of loops, in row-major order as far as anyone can tell. A value
may depend on some of the loops only: a generator computes it as far outside as it can. Reductions fold a value over the
reduced loops, the same ones for all reductions of a kernel; what depends on their results can vary over the reduced
loops again, and then needs another sweep over them. A kernel may also fold over all its other loops, for results that
it does not use itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Final, Literal

import numpy as np

from graphc import dims
from graphc.dims import Size

DType = np.dtype[Any]
# only backends make the last two: the sum of exp(x - the largest x), and a sum that loses what it rounds
Fold = Literal["sum", "prod", "max", "min", "any", "all", "exp_sum", "plain_sum"]

# What kernels can load and store; complex numbers run by NumPy.
KERNEL_DTYPES: Final = frozenset(
    np.dtype(name) for name in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
)
HALF: Final = np.dtype(np.float16)
SINGLE: Final = np.dtype(np.float32)
# Ops, and folds, that make of numbers of half precision one that half precision has, be they computed in a wider one.
EXACT_IN_HALF: Final = frozenset(
    (
        *("where", "neg", "abs", "sign", "copysign", "heaviside", "fmod", "floor", "ceil", "trunc", "rint"),
        *("maximum", "minimum", "fmax", "fmin", "max", "min"),
    )
)
# Ops that stop short of a neighbour at their operands' precision, which single precision does not see.
NOT_IN_HALF: Final = frozenset({"lerp"})


def computes(op: str, kinds: str, dtype: DType) -> bool:
    """Whether kernels compute an op to a dtype; `kinds` are those at which its scalar meaning is NumPy's.

    >>> computes("exp", "f", HALF), computes("lerp", "f", HALF), computes("exp", "f", np.dtype(np.int64))
    (True, False, False)
    """
    return dtype.kind in kinds and (dtype != HALF or op not in NOT_IN_HALF)


def fold_identity(fold: Fold, dtype: DType) -> bool | int | float:
    """What a fold starts from, and gives over an empty range.

    >>> fold_identity("sum", np.dtype("f8")), fold_identity("max", np.dtype("i1")), fold_identity("all", np.dtype("?"))
    (0, -128, True)
    """
    match fold:
        case "sum" | "any":
            return dtype.type(0).item() if dtype.kind == "b" else 0
        case "prod" | "all":
            return dtype.type(1).item() if dtype.kind == "b" else 1
    sign = -1 if fold == "max" else 1
    if dtype.kind == "f":
        return sign * float("inf")
    if dtype.kind == "b":
        return sign > 0
    limits = np.iinfo(dtype)
    return int(limits.min if sign < 0 else limits.max)


@dataclass(frozen=True, slots=True)
class Affine:
    """The number ``offset + sum(strides[k] * index of loop k)``."""

    offset: Size
    strides: tuple[Size, ...]

    @staticmethod
    def constant(offset: Size, loops: int) -> Affine:
        return Affine(offset, (0,) * loops)

    @staticmethod
    @lru_cache(maxsize=256)
    def index(loop: int, loops: int) -> Affine:
        """The index of one loop."""
        return Affine(0, tuple(int(k == loop) for k in range(loops)))

    @staticmethod
    def row_major(shape: Sequence[Size], indices: Sequence[Affine], loops: int) -> Affine:
        """Where the element with these indices lies in a dense array of this shape."""
        total: Affine | None = None
        stride: Size = 1
        for size, index in zip(reversed(shape), reversed(indices), strict=True):
            part = index.scaled(stride)
            total = part if total is None else total + part
            stride = stride * size
        return Affine.constant(0, loops) if total is None else total

    def __add__(self, other: Affine) -> Affine:
        return Affine(
            self.offset + other.offset, tuple([a + b for a, b in zip(self.strides, other.strides, strict=True)])
        )

    def scaled(self, factor: Size) -> Affine:
        """The number times a factor."""
        return self if factor == 1 else Affine(self.offset * factor, tuple([s * factor for s in self.strides]))

    def moved(self, distance: Size) -> Affine:
        """The number plus a distance."""
        return Affine(self.offset + distance, self.strides)

    @property
    def loop(self) -> int | None:
        """The loop whose index this is, if it is just that."""
        unit = [k for k, s in enumerate(self.strides) if s != 0]
        return unit[0] if len(unit) == 1 and self.strides[unit[0]] == 1 and self.offset == 0 else None

    @property
    def loops(self) -> frozenset[int]:
        """The loops on which it depends."""
        return frozenset(k for k, s in enumerate(self.strides) if s != 0)


@dataclass(frozen=True, slots=True)
class Within:
    """A condition on one loop: ``start <= index of loop < stop``."""

    loop: int
    start: Size
    stop: Size


@dataclass(frozen=True, slots=True)
class Load:
    """An element of the dense array that graph node `root` holds; 0 where a condition fails."""

    dtype: DType
    root: int
    at: Affine
    within: tuple[Within, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """A number known when the kernel is made. Those written alike are equal: 0.0 and -0.0 are not.

    >>> Fixed(SINGLE, 0.0) == Fixed(SINGLE, -0.0), Fixed(SINGLE, 0.0) == Fixed(SINGLE, 0.0)
    (False, True)
    """

    dtype: DType
    number: bool | int | float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fixed) and self._written() == other._written()

    def __hash__(self) -> int:
        return hash(self._written())

    def _written(self) -> tuple[DType, str]:
        return self.dtype, repr(self.number)


@dataclass(frozen=True, slots=True)
class Position:
    """A number computed from the indices of the loops."""

    dtype: DType
    at: Affine


@dataclass(frozen=True, slots=True)
class Apply:
    """An elementwise op on earlier values of the kernel."""

    dtype: DType
    op: str
    operands: tuple[int, ...]
    attrs: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Reduce:
    """The fold of an earlier value over the reduced loops; if it is `across`, over all the others instead.

    What goes across is known only when the kernel ends: nothing else in the kernel reads it.
    """

    dtype: DType
    fold: Fold
    operand: int
    across: bool = False


Value = Load | Fixed | Position | Apply | Reduce


@dataclass(frozen=True, slots=True)
class Store:
    """Write a value into the dense array that graph node `node` gets."""

    value: int
    node: int
    at: Affine


@dataclass(frozen=True)
class Kernel:
    """A loop nest: `sizes` of the loops, outermost first; values in order; stores; which loops are reduced."""

    sizes: tuple[Size, ...]
    values: tuple[Value, ...]
    stores: tuple[Store, ...]
    reduced: frozenset[int] = frozenset()

    @cached_property
    def varies(self) -> tuple[frozenset[int], ...]:
        """For each value the loops on which it depends."""
        found: list[frozenset[int]] = []
        for value in self.values:
            match value:
                case Load(at=at, within=within):
                    loops = at.loops | {w.loop for w in within}
                case Position(at=at):
                    loops = at.loops
                case Apply(operands=operands):
                    loops = frozenset().union(*(found[i] for i in operands))
                case Reduce(operand=operand, across=True):
                    loops = found[operand] & self.reduced
                case Reduce(operand=operand):
                    loops = found[operand] - self.reduced
                case Fixed():
                    loops = frozenset()
            found.append(frozenset(loops))
        return tuple(found)

    @cached_property
    def stages(self) -> tuple[int, ...]:
        """For each value how many sweeps over the reduced loops have to end before it can be computed."""
        found: list[int] = []
        for value in self.values:
            match value:
                case Apply(operands=operands):
                    found.append(max((found[i] for i in operands), default=0))
                case Reduce(operand=operand):
                    found.append(found[operand] + 1)
                case _:
                    found.append(0)
        return tuple(found)

    @cached_property
    def roots(self) -> tuple[int, ...]:
        """Graph nodes whose arrays are read, in order of their first read."""
        return tuple(dict.fromkeys(v.root for v in self.values if isinstance(v, Load)))

    @cached_property
    def nodes(self) -> tuple[int, ...]:
        """Graph nodes whose arrays are written."""
        return tuple(dict.fromkeys(s.node for s in self.stores))

    @cached_property
    def symbolic(self) -> tuple[Size, ...]:
        """Every size in the kernel that is known only when it runs, in a fixed order."""
        return tuple(dict.fromkeys(s for s in self._sizes() if isinstance(s, dims.Dim)))

    def _sizes(self) -> Iterator[Size]:
        yield from self.sizes
        for value in self.values:
            if isinstance(value, (Load, Position)):
                yield from (value.at.offset, *value.at.strides)
            if isinstance(value, Load):
                for w in value.within:
                    yield from (w.start, w.stop)
        for store in self.stores:
            yield from (store.at.offset, *store.at.strides)

    def _affines(self) -> list[Affine]:
        return [v.at for v in self.values if isinstance(v, (Load, Position))] + [s.at for s in self.stores]


def simplified(kernel: Kernel) -> Kernel:
    """The same kernel over fewer loops: those of size 1 dropped, neighbours that all arrays walk as one joined."""
    for k in reversed(range(len(kernel.sizes))):
        if kernel.sizes[k] == 1 and not _conditional(kernel, k):
            kernel = _without(kernel, k)
    k = len(kernel.sizes) - 2
    while k >= 0:
        if _joins(kernel, k):
            kernel = _joined(kernel, k)
        k -= 1
    return kernel


def _joins(kernel: Kernel, k: int) -> bool:
    """Whether loops k and k + 1 can be one."""
    if (k in kernel.reduced) != (k + 1 in kernel.reduced):
        return False
    if _conditional(kernel, k) or _conditional(kernel, k + 1):
        return False
    size = kernel.sizes[k + 1]
    return all(a.strides[k] == a.strides[k + 1] * size for a in kernel._affines())


def _conditional(kernel: Kernel, k: int) -> bool:
    """Whether a load asks where loop k is."""
    return any(w.loop == k for v in kernel.values if isinstance(v, Load) for w in v.within)


def _joined(kernel: Kernel, k: int) -> Kernel:
    sizes = (*kernel.sizes[:k], kernel.sizes[k] * kernel.sizes[k + 1], *kernel.sizes[k + 2 :])
    return _over(kernel, sizes, _others(kernel, k))


def _without(kernel: Kernel, k: int) -> Kernel:
    return _over(kernel, (*kernel.sizes[:k], *kernel.sizes[k + 1 :]), _others(kernel, k))


def _others(kernel: Kernel, k: int) -> tuple[int, ...]:
    return tuple(loop for loop in range(len(kernel.sizes)) if loop != k)


def reordered(kernel: Kernel, order: Sequence[int]) -> Kernel:
    """The same kernel with its loops in another order: their numbers, outermost first.

    >>> here = Affine.row_major((2, 3), (Affine.index(0, 2), Affine.index(1, 2)), 2)
    >>> kernel = Kernel((2, 3), (Load(SINGLE, -1, here),), (Store(0, -1, here),))
    >>> turned = reordered(kernel, (1, 0))
    >>> turned.sizes, turned.stores[0].at.strides
    ((3, 2), (1, 3))
    """
    return _over(kernel, tuple([kernel.sizes[k] for k in order]), order)


def _over(kernel: Kernel, sizes: tuple[Size, ...], loops: Sequence[int]) -> Kernel:
    """The kernel over other loops: for each of them its size, and that of the old ones whose strides it has."""
    place = {old: new for new, old in enumerate(loops)}

    def affine(a: Affine) -> Affine:
        return Affine(a.offset, tuple([a.strides[k] for k in loops]))

    values: list[Value] = []
    for value in kernel.values:
        match value:
            case Load(dtype=dtype, root=root, at=at, within=within):
                kept = tuple(Within(place[w.loop], w.start, w.stop) for w in within)
                value = Load(dtype, root, affine(at), kept)
            case Position(dtype=dtype, at=at):
                value = Position(dtype, affine(at))
        values.append(value)
    stores = tuple(Store(s.value, s.node, affine(s.at)) for s in kernel.stores)
    return Kernel(sizes, tuple(values), stores, frozenset(place[k] for k in kernel.reduced if k in place))


def without_halves(kernel: Kernel) -> Kernel:
    """The same kernel with the arithmetic of half precision written as that of single precision.

    Half precision is what arrays hold, and what `cast` makes of single or double precision and makes single precision
    of: no other value has it. Each op is computed in single precision and rounded, as NumPy does it. Sums, products,
    quotients and square roots are those of half precision then, since 24 bits are twice 11 and two: S. A. Figueroa,
    "When is double rounding innocuous?", 1995. Reductions are rounded once, when they end.
    """
    if all(v.dtype != HALF for v in kernel.values):
        return kernel
    return _WithoutHalves(kernel).run()


class _WithoutHalves:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.values: list[Value] = []
        self.casts: dict[tuple[int, DType], int] = {}
        self.number: list[int] = []  # of each value of the kernel, the one instead; of halves, in either precision

    def run(self) -> Kernel:
        kernel = self.kernel
        for value in kernel.values:
            self.number.append(self.replaced(value))
        stores = []
        for store in kernel.stores:
            number = self.number[store.value]
            if kernel.values[store.value].dtype == HALF:
                number = self.cast(number, HALF)
            stores.append(Store(number, store.node, store.at))
        return Kernel(kernel.sizes, tuple(self.values), tuple(stores), kernel.reduced)

    def append(self, value: Value) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def cast(self, number: int, dtype: DType) -> int:
        """The number of a value at another dtype; an equal cast is there once."""
        if self.values[number].dtype == dtype:
            return number
        if (number, dtype) not in self.casts:
            made = Apply(dtype, "cast", (number,), (("dtype", dtype), ("weak", False)))
            self.casts[number, dtype] = self.append(made)
        return self.casts[number, dtype]

    def operand(self, number: int) -> int:
        """A value of the kernel as it is computed with."""
        dtype = self.kernel.values[number].dtype
        return self.cast(self.number[number], SINGLE if dtype == HALF else dtype)

    def replaced(self, value: Value) -> int:
        if value.dtype != HALF:
            match value:
                case Apply(op="cast", operands=(operand,)) if self.kernel.values[operand].dtype == HALF:
                    return self.cast(self.operand(operand), value.dtype)
                case Apply(operands=operands):
                    return self.append(replace(value, operands=tuple([self.operand(i) for i in operands])))
                case Reduce(operand=operand):
                    return self.append(replace(value, operand=self.operand(operand)))
            return self.append(value)
        match value:
            case Load():
                return self.append(value)
            case Fixed(number=number):
                return self.append(Fixed(SINGLE, HALF.type(number).item()))
            case Position(at=at):
                return self.cast(self.append(Position(SINGLE, at)), HALF)
            case Reduce(fold=name, operand=operand, across=across):
                assert not across, "what goes across is known when it is too late to round it"
                found = self.append(Reduce(SINGLE, name, self.operand(operand)))
            case Apply(op="cast", operands=(operand,)):
                return self.cast_to_half(operand)
            case Apply(op=name, operands=operands, attrs=attrs):
                found = self.append(Apply(SINGLE, name, tuple([self.operand(i) for i in operands]), attrs))
        return found if name in EXACT_IN_HALF else self.cast(found, HALF)

    def cast_to_half(self, operand: int) -> int:
        """Round once: of integers single precision has all below 65520, from where on half precision has infinity."""
        source, number = self.kernel.values[operand].dtype, self.number[operand]
        if source.kind != "f":
            number = self.cast(number, SINGLE)
        return number if source.itemsize == 1 else self.cast(number, HALF)
