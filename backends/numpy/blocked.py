"""The ufunc generator: kernels run by NumPy's own functions, on blocks small enough to stay in the cache.

It needs no compiler, so it serves where llvmlite is missing; and as it shares nothing with the machine code but the
description of the kernel, the two check each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np

from graphc.backends.numpy.arrays import Arguments
from graphc.dims import Size
from graphc.kernels import Affine, Apply, Fixed, Fold, Kernel, Load, Position, Reduce, fold_identity
from graphc.ops import lookup
from graphc.ops.meaning import evaluate

Array = np.ndarray[Any, Any]
BLOCK: Final = 1 << 15  # elements
COMBINE: Final[dict[Fold, Any]] = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "any": np.logical_or,
    "all": np.logical_and,
}


def load(kernels: Sequence[Kernel], fast: bool = False) -> list[Callable[..., None]]:
    """Functions that run the kernels: called with the arrays of the roots, those of the results, and the sizes."""
    return [_Run(kernel) for kernel in kernels]


@dataclass(frozen=True, slots=True)
class _Run:
    kernel: Kernel

    def __call__(self, *args: Any) -> None:
        kernel = self.kernel
        arguments = Arguments(kernel, args)
        sizes = dict(zip(kernel.symbolic, arguments.sizes, strict=True))
        extents = [_number(s, sizes) for s in kernel.sizes]
        arrays = dict(zip((*kernel.roots, *kernel.nodes), arguments.dense, strict=True))
        kept = [k for k in range(len(extents)) if k not in kernel.reduced]
        across: dict[int, Any] = {}
        with np.errstate(all="ignore"):
            for block in _blocks(extents, kept):
                _Block(kernel, arrays, sizes, block, across).run()
        _Block(kernel, arrays, sizes, tuple(range(n) for n in extents), across).end()
        arguments.write_back()


def _number(size: Size, sizes: dict[Size, int]) -> int:
    return size if isinstance(size, int) else sizes[size]


def _blocks(extents: Sequence[int], kept: Sequence[int]) -> list[tuple[range, ...]]:
    """Cut the loops that are not reduced, outermost first, until a block holds few enough elements."""
    if 0 in (extents[k] for k in kept):
        return []
    steps = list(extents)
    for k in kept:
        total = math.prod(steps)
        if total <= BLOCK:
            break
        steps[k] = max(1, steps[k] * BLOCK // total)
    axes = [
        [range(start, min(start + step, extent)) for start in range(0, extent, step)] if k in kept else [range(extent)]
        for k, (step, extent) in enumerate(zip(steps, extents, strict=True))
    ]
    return list(product(*axes))


class _Block:
    """One block: each value an array with an axis for each loop, of size 1 where it does not vary."""

    def __init__(
        self,
        kernel: Kernel,
        arrays: dict[int, Array],
        sizes: dict[Size, int],
        ranges: tuple[range, ...],
        across: dict[int, Any],
    ) -> None:
        self.kernel = kernel
        self.arrays = arrays
        self.sizes = sizes
        self.ranges = ranges
        self.across = across  # what the blocks so far give of reductions over all of them, by value

    def run(self) -> None:
        values: list[Any] = []
        for value in self.kernel.values:
            match value:
                case Fixed(dtype=dtype, number=number):
                    values.append(np.full((1,) * len(self.ranges), number, dtype))
                case Position(dtype=dtype, at=at):
                    values.append(self.position(at).astype(dtype))
                case Load():
                    values.append(self.load(value))
                case Apply(op=op, operands=operands, attrs=attrs):
                    values.append(evaluate(lookup(op), [values[i] for i in operands], dict(attrs)))
                case Reduce(fold=fold, operand=operand, across=across):
                    loops = frozenset(range(len(self.ranges))) - self.kernel.reduced if across else self.kernel.reduced
                    part = self.reduce(fold, values[operand], loops)
                    if across:
                        number = len(values)
                        so_far = self.across.get(number)
                        self.across[number] = part if so_far is None else COMBINE[fold](so_far, part)
                    values.append(part)
        for store in self.kernel.stores:
            if store.value in self.across:
                continue
            array = self.arrays[store.node]
            if array.size:
                self.view(array, store.at, self.ranges)[...] = values[store.value]

    def end(self) -> None:
        """Store the results of the reductions over all blocks."""
        for store in self.kernel.stores:
            value = self.kernel.values[store.value]
            if isinstance(value, Reduce) and value.across and self.arrays[store.node].size:
                # without a block they fold nothing
                found = self.across.get(store.value, fold_identity(value.fold, value.dtype))
                self.view(self.arrays[store.node], store.at, self.ranges)[...] = found

    def number(self, size: Size) -> int:
        return _number(size, self.sizes)

    def position(self, at: Affine) -> Array:
        total = np.full((1,) * len(self.ranges), self.number(at.offset), np.int64)
        for k, stride in enumerate(at.strides):
            if stride != 0:
                shape = [1] * len(self.ranges)
                shape[k] = len(self.ranges[k])
                total = total + self.number(stride) * np.asarray(self.ranges[k], np.int64).reshape(shape)
        return total

    def view(self, array: Array, at: Affine, ranges: Sequence[range]) -> Array:
        """The elements that an affine place runs over, without a copy."""
        flat = array.reshape(-1)
        strides = [self.number(s) for s in at.strides]
        shape = [len(r) if s else 1 for s, r in zip(strides, ranges, strict=True)]
        if 0 in shape:
            return np.empty(shape, array.dtype)
        first = self.number(at.offset) + sum(s * r.start for s, r in zip(strides, ranges, strict=True))
        steps = [s * array.itemsize for s in strides]
        return np.lib.stride_tricks.as_strided(flat[first:], shape, steps)

    def load(self, load: Load) -> Array:
        array = self.arrays[load.root]
        if not load.within:
            return self.view(array, load.at, self.ranges)
        inside = list(self.ranges)
        for w in load.within:
            r = inside[w.loop]
            inside[w.loop] = range(max(r.start, self.number(w.start)), max(r.start, min(r.stop, self.number(w.stop))))
        varies = load.at.loops | {w.loop for w in load.within}
        result = np.zeros([len(r) if k in varies else 1 for k, r in enumerate(self.ranges)], array.dtype)
        if result.size and all(len(r) for r in inside):
            place = tuple(
                slice(i.start - r.start, i.stop - r.start) if k in varies else slice(None)
                for k, (i, r) in enumerate(zip(inside, self.ranges, strict=True))
            )
            result[place] = self.view(array, load.at, inside)
        return result

    def reduce(self, fold: Fold, x: Array, loops: frozenset[int]) -> Any:
        """The fold over some loops, kept as axes of size 1; a value that does not vary over one counts all the same."""
        full = [len(r) if k in loops else n for k, (r, n) in enumerate(zip(self.ranges, x.shape, strict=True))]
        if 0 in full:
            shape = [1 if k in loops else n for k, n in enumerate(x.shape)]
            return np.full(shape, fold_identity(fold, x.dtype), x.dtype)
        axes = {"axes": tuple(sorted(loops)), "keepdims": True}
        return evaluate(lookup(f"reduce_{fold}"), [np.broadcast_to(x, full)], axes)
