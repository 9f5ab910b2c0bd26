"""Large results are written past the cache.

Before a processor writes to a line that its cache lacks, it reads the line from memory. For a result that has no room
in the cache that is in vain. Streaming stores (MOVNT of x86) leave the reading out where whole lines are written: a
copy of 64 MB takes 0.6 of the time. What they write may reach other processors late, so a fence ends them.

A result that lies where an operand does has just been read, and gains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from graphc import dims
from graphc.backends.numpy.llvm.memory import LINE, stored
from graphc.backends.numpy.llvm.nest import Nest, Streaming
from graphc.backends.numpy.llvm.schedule import FEW, MOST_REGISTERS
from graphc.backends.numpy.llvm.values import BOOL, I64, DType, Value
from graphc.backends.numpy.llvm.work import weight
from graphc.dims import Size
from graphc.kernels import Apply

# Bytes of a kernel's results. What reads half as many next finds them in the last cache, and would lose more than is
# gained. With as many as here, writing and reading take as long either way, and with more both are faster.
LEAST: Final = 1 << 24
LINES: Final = 2  # that a store fills in a row; streaming one at a time between reads takes longer than to read it too
ROW: Final = 1 << 14  # bytes of a row that is kept on the stack from one sweep to the next, and
ROOM: Final = 1 << 15  # of all such rows: a thread may have a small stack
LONG: Final = 4  # vectors of a row: from there on wider ones are worth their rest


def begin(nest: Nest) -> None:
    """At the entry of a kernel's function: find whether stores stream, and have them written so that they can."""
    e, kernel = nest.e, nest.kernel
    if not e.module.features.streaming or e.module.hurried:
        return
    nbytes: Size = sum(_nbytes(nest, n) for n in range(len(kernel.stores)))
    if dims.less_equal(LEAST, nbytes) is False:
        return
    inside = [store.value for store, swept in zip(kernel.stores, nest.schedule.stored_in_sweeps, strict=True) if swept]
    lanes = {stage: _lanes(nest, stage) for stage in {kernel.stages[value] for value in inside}}
    rooms = _rooms(nest)
    stores = _stores(nest, lanes, rooms)
    if not stores:
        return
    places = nest.zero  # the low bits of all that has to be whole lines
    for n in stores:
        places = places | nest.number(nest.target(n))
        at = kernel.stores[n].at
        for size in (at.offset, *at.strides[:-1]):
            if not isinstance(size, int):
                places = places | nest.size(size) * _width(nest, n)
    division = nest.schedule.division
    if division is not None and division.loop == nest.vector_loop and division.width == 1:
        places = places | nest.ends[0]
    wanted = (places & (LINE - 1)).equals(0)
    if not isinstance(nbytes, int):
        wanted = wanted & (_total(nest) >= LEAST)
    for target in dict.fromkeys(nest.target(n) for n in stores):
        for root in kernel.roots:
            wanted = wanted & e.instruction(f"icmp ne ptr {nest.source(root)}, {target}", BOOL, 1)
    stages = {kernel.stages[kernel.stores[n].value] for n in stores}
    slots = {n: nest.slot(_dtype(nest, n), count) for n, count in rooms.items() if n in stores}
    nest.streaming = Streaming(wanted, frozenset(stores), {stage: lanes[stage] for stage in stages}, slots)


def end(nest: Nest) -> None:
    """At its end: what was written is there for every thread."""
    if nest.streaming is not None:
        e = nest.e
        e.module.define("llvm.x86.sse.sfence", "declare void @llvm.x86.sse.sfence()")
        e.either(nest.streaming.wanted, lambda: e.statement("call void @llvm.x86.sse.sfence()"), lambda: None)


def _stores(nest: Nest, lanes: Mapping[int, int], rooms: Mapping[int, int]) -> list[int]:
    """Stores of adjacent elements in sweeps, in whole lines, which the kernel does not read again."""
    kernel, schedule = nest.kernel, nest.schedule
    if len(schedule.segments.get(nest.vector_loop, ())) != 1:
        return []
    # elements from one place where the vector loop begins anew to the next
    steps = [schedule.tile] if schedule.tiled else []
    steps += [schedule.turned.width] if schedule.turned is not None else []
    read = {n for n, _, _ in schedule.across} | (set(schedule.homes.values()) - rooms.keys())
    found = []
    for n in (n for n, inside in enumerate(schedule.stored_in_sweeps) if inside and n not in read):
        store, width = kernel.stores[n], _width(nest, n)
        places = [store.at.offset, *store.at.strides[:-1], *steps]
        whole = all(not isinstance(place, int) or place * width % LINE == 0 for place in places)
        adjacent = store.at.strides[-1] == 1 and n not in nest.stores
        if whole and adjacent and (nest.abreast or lanes[kernel.stages[store.value]]) * width >= LINES * LINE:
            found.append(n)
    return found


def _rooms(nest: Nest) -> dict[int, int]:
    """Elements of a row on the stack, for stores in whose array other values would be kept for later sweeps."""
    kernel, schedule = nest.kernel, nest.schedule
    size = kernel.sizes[-1]
    found: dict[int, int] = {}
    if len(schedule.inner) != 1 or schedule.tiled or not isinstance(size, int):
        return found
    left = ROOM
    for n in dict.fromkeys(schedule.homes.values()):
        nbytes = size * _width(nest, n)
        if schedule.homes.get(kernel.stores[n].value) != n and nbytes <= min(left, ROW):
            found[n] = size
            left -= nbytes
    return found


def _lanes(nest: Nest, stage: int) -> int:
    """Lanes of the vectors of a sweep: as many as fill several lines of a result, if it computes little."""
    kernel, schedule = nest.kernel, nest.schedule
    inside = set(schedule.needed(stage)) - set(schedule.rows)
    applied = [v for i in inside if isinstance(v := kernel.values[i], Apply) and not schedule.at_home(i, stage)]
    if nest.abreast or schedule.folds(stage) or sum(map(weight, applied)) > FEW:
        return nest.lanes
    inside.update(j for v in applied for j in v.operands)
    inside.update(kernel.stores[n].value for n in schedule.stores(stage))
    lanes = MOST_REGISTERS * nest.register // max(kernel.values[i].dtype.itemsize for i in inside)
    size = kernel.sizes[nest.vector_loop]
    return nest.lanes if isinstance(size, int) and size < LONG * lanes else max(nest.lanes, lanes)


def _nbytes(nest: Nest, n: int) -> Size:
    """Bytes that a store writes in all."""
    kernel = nest.kernel
    return dims.product(kernel.sizes[loop] for loop in kernel.stores[n].at.loops) * _width(nest, n)


def _total(nest: Nest) -> Value:
    """Bytes that the kernel writes in all, when the function is called."""
    total = nest.zero
    for n in range(len(nest.kernel.stores)):
        nbytes = nest.e.const(_width(nest, n), I64, 1)
        for loop in sorted(nest.kernel.stores[n].at.loops):
            nbytes = nbytes * nest.extents[loop]
        total = total + nbytes
    return total


def _width(nest: Nest, n: int) -> int:
    """Bytes of an element that a store writes."""
    return stored(_dtype(nest, n)).itemsize


def _dtype(nest: Nest, n: int) -> DType:
    return nest.kernel.values[nest.kernel.stores[n].value].dtype
