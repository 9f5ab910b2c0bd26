"""A native program in the making: its storages, constants, kernels and instructions, and what moves elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.backends.numpy.llvm.instructions import Clear, Copy, Instruction, Place, Run, Storage
from graphc.backends.numpy.llvm.layouts import Box, Index, Layout, around, extent
from graphc.dims import Size
from graphc.ir import TensorType
from graphc.kernels import Affine, Apply, Fixed, Kernel, Load, Store, simplified, without_halves

AT_ONCE: Final = 4096  # bytes of an array that are filled whole, though a part of it is filled again


class Builder:
    """Lists to which lowering a plan adds; equal kernels are one."""

    def __init__(self) -> None:
        self.storages: list[Storage] = []
        self.instructions: list[Instruction] = []
        self.constants: list[Any] = []
        self.dense_copies: dict[Layout, Layout] = {}
        self.kernels: list[Kernel] = []
        self.numbers: dict[Kernel, int] = {}

    # storages

    def stored(self, type: TensorType, origin: Any = "temporary", index: int = 0) -> Layout:
        """A new storage for an array, and the array in it."""
        number = len(self.storages)
        self.storages.append(Storage(number, type.dtype, dims.product(type.shape), origin, index))
        return Layout.dense(number, type.dtype, type.shape)

    def constant(self, array: np.ndarray[Any, Any]) -> Place:
        """An array of the program's own."""
        self.constants.append(array)
        return Place.of(self.stored(TensorType(array.shape, array.dtype), "constant", len(self.constants) - 1))

    def dense(self, layout: Layout) -> Layout:
        """The same array with adjacent elements: as it is, or a copy."""
        if layout.is_dense:
            return layout
        found = self.dense_copies.get(layout)
        if found is None:
            found = self.stored(TensorType(layout.shape, layout.dtype))
            self.copy(layout, found)
            # a storage that a later step overwrites must not be read from here: see `overwritten`
            self.dense_copies[layout] = found
        return found

    def overwritten(self, storage: int) -> None:
        """Forget copies of what is no longer there."""
        for layout in [known for known in self.dense_copies if known.storage == storage]:
            del self.dense_copies[layout]

    # kernels

    def do(self, kernel: Kernel, reads: Sequence[Place], writes: Sequence[Place]) -> None:
        """Run a kernel over few loops; equal ones are one function. Its roots are -1, -2, ..."""
        kernel = without_halves(simplified(kernel))
        self.instructions.append(Run(self.number(kernel), tuple(reads), tuple(writes)))

    def number(self, kernel: Kernel) -> int:
        found = self.numbers.get(kernel)
        if found is None:
            found = self.numbers[kernel] = len(self.kernels)
            self.kernels.append(kernel)
        return found

    def of_rows(self, op: str, dtype: np.dtype[Any], row: Size) -> int:
        """The kernel that applies an op to two rows of so many elements."""
        here = Affine.index(0, 1)
        both = Load(dtype, -1, here), Load(dtype, -2, here)
        return self.number(without_halves(Kernel((row,), (*both, Apply(dtype, op, (0, 1))), (Store(2, -1, here),))))

    def loaded(self, layout: Layout, number: int) -> tuple[Load, Place]:
        """The element of an array at a loop's indices, the array being the kernel's root of this number."""
        loops = len(layout.shape)
        return Load(layout.dtype, -1 - number, layout.at(indices(loops), loops)), Place.of(layout)

    # moving elements

    def copy(self, source: Layout, target: Layout) -> None:
        """Copy an array of the same shape and dtype."""
        nbytes = dims.product(source.shape) * source.dtype.itemsize
        if source.is_dense and target.is_dense:
            self.instructions.append(Copy(Place.of(source), Place.of(target), nbytes))
            return
        loops = len(source.shape)
        at = indices(loops)
        bits = np.dtype(f"u{source.dtype.itemsize}")
        load = Load(bits, -1, source.at(at, loops))
        store = Store(0, -1, target.at(at, loops))
        self.do(Kernel(source.shape, (load,), (store,)), [Place.of(source)], [Place.of(target)])

    def clear(self, layout: Layout) -> None:
        """Fill an array with zeros."""
        nbytes = dims.product(layout.shape) * layout.dtype.itemsize
        if layout.is_dense:
            self.instructions.append(Clear(Place.of(layout), nbytes))
            return
        loops = len(layout.shape)
        zero = Fixed(np.dtype(f"u{layout.dtype.itemsize}"), 0)
        store = Store(0, -1, layout.at(indices(loops), loops))
        self.do(Kernel(layout.shape, (zero,), (store,)), [], [Place.of(layout)])

    def around(self, layout: Layout, index: Index) -> list[Box]:
        """The slices of an array to fill before this one is; all of it, if it is small or the slice has gaps."""
        nbytes = dims.product(layout.shape) * layout.dtype.itemsize
        found = None if isinstance(nbytes, int) and nbytes <= AT_ONCE else around(layout.shape, index)
        return [tuple([(0, d, 1) for d in layout.shape])] if found is None else found

    def copy_around(self, source: Layout, target: Layout, index: Index) -> None:
        """Copy what of an array of the same shape lies outside of a slice that is filled next."""
        for box in self.around(target, index):
            self.copy(source.sliced(box, extent(box)), target.sliced(box, extent(box)))


def anonymous(kernel: Kernel) -> Kernel:
    """The same kernel whatever nodes it reads and writes: its roots are -1, -2, ... in their order, its nodes too."""
    roots = {root: -1 - n for n, root in enumerate(kernel.roots)}
    nodes = {node: -1 - n for n, node in enumerate(kernel.nodes)}
    values = [replace(v, root=roots[v.root]) if isinstance(v, Load) else v for v in kernel.values]
    stores = [Store(s.value, nodes[s.node], s.at) for s in kernel.stores]
    return Kernel(kernel.sizes, tuple(values), tuple(stores), kernel.reduced)


def indices(loops: int) -> list[Affine]:
    """The index of each loop."""
    return [Affine.index(k, loops) for k in range(loops)]
