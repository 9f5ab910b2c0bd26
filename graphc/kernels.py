"""Kernels: loop nests over scalar operations. One description, from which every kernel generator emits.

A kernel runs its values at each point of a rectangle of loops, in row-major order as far as anyone can tell. A value
may depend on some of the loops only: a generator computes it as far outside as it can. Reductions fold a value over the
reduced loops, the same ones for all reductions of a kernel; what depends on their results can vary over the reduced
loops again, and then needs another sweep over them. A kernel may also fold over all its other loops, for results that
it does not use itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, Literal

import numpy as np

from graphc import dims
from graphc.dims import Size

DType = np.dtype[Any]
# only backends make the last two: the sum of exp(x) over exp(the largest x), and a sum that loses what it rounds
Fold = Literal["sum", "prod", "max", "min", "any", "all", "exp_sum", "plain_sum"]

# What kernels can hold in a register; half precision and complex numbers run by NumPy.
KERNEL_DTYPES: Final = frozenset(
    np.dtype(name) for name in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")
)


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


@dataclass(frozen=True, slots=True)
class Fixed:
    """A number known when the kernel is made."""

    dtype: DType
    number: bool | int | float


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

    @property
    def roots(self) -> tuple[int, ...]:
        """Graph nodes whose arrays are read, in order of their first read."""
        return tuple(dict.fromkeys(v.root for v in self.values if isinstance(v, Load)))

    @property
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
    return _rewritten(kernel, sizes, k, lambda strides: (*strides[:k], *strides[k + 1 :]))


def _without(kernel: Kernel, k: int) -> Kernel:
    sizes = (*kernel.sizes[:k], *kernel.sizes[k + 1 :])
    return _rewritten(kernel, sizes, k, lambda strides: (*strides[:k], *strides[k + 1 :]))


def _rewritten(
    kernel: Kernel,
    sizes: tuple[Size, ...],
    gone: int,
    strides: Callable[[tuple[Size, ...]], tuple[Size, ...]],
) -> Kernel:
    def loop(k: int) -> int:
        return k - (k > gone)

    def affine(a: Affine) -> Affine:
        return Affine(a.offset, strides(a.strides))

    values: list[Value] = []
    for value in kernel.values:
        match value:
            case Load(dtype=dtype, root=root, at=at, within=within):
                kept = tuple(Within(loop(w.loop), w.start, w.stop) for w in within)
                value = Load(dtype, root, affine(at), kept)
            case Position(dtype=dtype, at=at):
                value = Position(dtype, affine(at))
        values.append(value)
    stores = tuple(Store(s.value, s.node, affine(s.at)) for s in kernel.stores)
    return Kernel(sizes, tuple(values), stores, frozenset(loop(k) for k in kernel.reduced if k != gone))
