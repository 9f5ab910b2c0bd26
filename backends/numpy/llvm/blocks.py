"""The loops of a kernel that reads arrays across: by blocks of two loops, for which parts of these are transposed."""

from __future__ import annotations

from collections.abc import Callable

from graphc.backends.numpy.llvm import memory, transposes
from graphc.backends.numpy.llvm.memory import stored
from graphc.backends.numpy.llvm.nest import Copied, Nest
from graphc.backends.numpy.llvm.transposes import Turned
from graphc.backends.numpy.llvm.values import Value
from graphc.kernels import Affine, Load


def walk(nest: Nest, turned: Turned, block: Callable[[], None]) -> None:
    """Write the loops over all blocks of an outer loop and the vector loop; `block` writes the loops inside of one."""
    e, kernel = nest.e, nest.kernel
    down, along = turned.loop, nest.vector_loop
    slots = {i: nest.slot(kernel.values[i].dtype, turned.height * turned.width) for i in turned.loads}

    def inside(first_row: Value, first: Value) -> None:
        nest.index[down], nest.index[along] = first_row, first
        (_, last_row), (_, last) = nest.bounds[down], nest.bounds[along]
        for i, slot in slots.items():
            _transpose(nest, turned, i, slot, last_row - first_row, last - first)
        strides = [0] * len(kernel.sizes)
        strides[down], strides[along] = turned.width, 1
        at = Affine(0, tuple(strides))
        begin = nest.affine(at)
        nest.copies = {i: Copied(slot, at, begin) for i, slot in slots.items()}
        block()
        nest.copies = {}

    def cut(loop: int, step: int, body: Callable[[Value], None]) -> None:
        start, stop = before = nest.range(loop)

        def part(first: Value) -> None:
            last = first + step
            nest.bounds[loop] = first, e.select(last < stop, last, stop)
            body(first)
            nest.bounds[loop] = before

        e.span(start, stop, step, part)

    cut(down, turned.height, lambda row: cut(along, turned.width, lambda first: inside(row, first)))


def _transpose(nest: Nest, turned: Turned, load: int, slot: str, rows: Value, columns: Value) -> None:
    """Copy what a load finds in the block at the loops' indices."""
    e, value = nest.e, nest.kernel.values[load]
    assert isinstance(value, Load)
    source = memory.element(e, nest.source(value.root), nest.affine(value.at), value.dtype)
    apart = nest.size(value.at.strides[nest.vector_loop])
    name = transposes.declared(e.module, stored(value.dtype), nest.register)
    arguments = f"ptr {source}, {apart!r}, ptr {slot}, i64 {turned.width}, {rows!r}, {columns!r}"
    e.statement(f"call void @{name}({arguments})")
