"""Kernels that fold down columns: the last loop is not reduced, and neighbouring threads take neighbouring columns.

The threads of some columns, one below the other in a block, share their elements; a column may be shared by several
blocks too, which then leave accumulators for `finish`: `part[block * columns + column]`. One sweep only: a kernel that
needs more is taken apart before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from graphc.backends.cupy.body import UNBOUNDED, Body, Env, Index, Settings
from graphc.backends.cupy.packs import Packed, Packing
from graphc.backends.cupy.prelude import C_TYPES, acc_bytes
from graphc.backends.cupy.rows import folds, operand, swept, takes_all
from graphc.backends.numpy.llvm.values import Value
from graphc.kernels import Fixed, Kernel, Position, Reduce

WIDTH: Final = 32  # threads of a block side by side
RESIDENT: Final = 4  # blocks that run on a processor at the same time
TOGETHER: Final = 4  # elements of a column that a fold of many operations takes at a time


def source(kernel: Kernel, settings: Settings, packing: Packing, height: int, split: bool) -> str:
    """The text of `kernel`; `height` threads share a column, a power of two."""
    return _Columns(kernel, settings, packing, height, split).write()


class _Columns:
    def __init__(self, kernel: Kernel, settings: Settings, packing: Packing, height: int, split: bool) -> None:
        self.kernel = kernel
        self.packing = packing
        self.height = height
        self.split = split
        self.found = folds(kernel, across=False)
        plain = Body(kernel, settings)
        parts = [(f"part{number}", f"{plain.fold(i)}::Acc") for number, i in enumerate(self.found)] if split else []
        self.body = Body(kernel, settings, parts, ["chunk"])
        self.packed = Packed(self.body, packing)
        self.last = len(kernel.sizes) - 1

    def write(self) -> str:
        body, e, kernel, width = self.body, self.body.e, self.kernel, self.packing.width
        kept = tuple(k for k in range(len(kernel.sizes)) if k not in kernel.reduced)
        down = tuple(sorted(kernel.reduced))
        over = f" / {width}" if width > 1 else ""
        e.statement(f"const idx packs = {body.product(kept)}{over};")
        e.statement(f"const idx depth = {body.product(down)};")
        widest = max((acc_bytes(v.fold, v.dtype) for v in kernel.values if isinstance(v, Reduce)), default=1)
        e.statement(f"ROOM({self.height * WIDTH * width * max(1, -(-widest // 8))});")
        e.statement("const idx start = (idx)blockIdx.y * chunk;")
        e.statement("const idx stop = start + chunk < depth ? start + chunk : depth;")
        with e.scope(f"for (idx left = blockIdx.x * (idx){WIDTH}; left < packs; left += gridDim.x * (idx){WIDTH})"):
            # threads beyond the last column compute it once more, and write the same
            e.statement("const idx pack = left + (idx)threadIdx.x < packs ? left + (idx)threadIdx.x : packs - 1;")
            index = body.unravel(kept, "pack", "i", width)
            self._sweep(index, down)
            for i in self.found:
                gather(body, i, self.height, width)
            with having_results(body, self.height, width):
                self._finish(index)
        threads = WIDTH * self.height
        return body.text("kernel", threads, RESIDENT if threads == UNBOUNDED else 1)

    def _sweep(self, index: dict[int, str], down: tuple[int, ...]) -> None:
        body, e, kernel, width = self.body, self.body.e, self.kernel, self.packing.width
        stores = [n for n in range(len(kernel.stores)) if swept(kernel, n)]
        wanted = [operand(kernel, i) for i in self.found]
        wanted += [kernel.stores[n].value for n in stores]
        needed = body.closure(wanted, ())
        before = [i for i in needed if not kernel.varies[i] & kernel.reduced]
        inside = [i for i in needed if kernel.varies[i] & kernel.reduced]
        # what is the same all down a column is computed once, and kept for each column of the thread
        outer: Env = {}
        own = [
            i for i in before if self.last in kernel.varies[i] and not isinstance(kernel.values[i], Fixed | Position)
        ]
        for i in own:
            e.statement(f"{C_TYPES[kernel.values[i].dtype]} own{i}[{width}];")

        def keep(values: Env, j: str) -> None:
            for i in own:
                e.statement(f"own{i}[{j}] = {values[i].text};")

        if before:
            Packed(body, replace(self.packing, stores=frozenset())).run(before, (), outer, index, keep)
        again = [i for i in before if i not in outer and i not in own]  # numbers and positions
        for i in self.found:
            fold = body.fold(i)
            e.statement(f"{fold}::Acc acc{i}[{width}];")
            e.statement("#pragma unroll")
            e.statement(f"for (int j = 0; j < {width}; ++j) acc{i}[j] = {fold}::start();")

        def known(j: str) -> Env:
            return {i: Value(e, f"own{i}[{j}]", kernel.values[i].dtype, 1) for i in own}

        def take(values: Env, j: str) -> None:
            for i in self.found:
                x = values[operand(kernel, i)]
                e.statement(f"acc{i}[{j}] = {body.fold(i)}::take(acc{i}[{j}], {x.text});")

        def walk(each: Callable[[Env, str], None]) -> None:
            place: Index = {**index, **body.unravel(down, "at", "i")}
            self.packed.run(sorted([*again, *inside]), stores, dict(outer), place, each, known)

        e.statement("idx at = start + (idx)threadIdx.y;")
        heavy = [i for i in self.found if takes_all(kernel, i)]
        if heavy:
            operands = list(dict.fromkeys(operand(kernel, i) for i in heavy))

            def note(values: Env, j: str) -> None:
                for o in operands:
                    e.statement(f"several{o}[{j}][k] = {values[o].text};")
                for i in self.found:
                    if i not in heavy:
                        x = values[operand(kernel, i)]
                        e.statement(f"acc{i}[{j}] = {body.fold(i)}::take(acc{i}[{j}], {x.text});")

            with e.scope(f"for (; at + {(TOGETHER - 1) * self.height} < stop;)"):
                for o in operands:
                    e.statement(f"{C_TYPES[kernel.values[o].dtype]} several{o}[{width}][{TOGETHER}];")
                e.statement("#pragma unroll")
                with e.scope(f"for (int k = 0; k < {TOGETHER}; ++k, at += {self.height})"):
                    walk(note)
                e.statement("#pragma unroll")
                with e.scope(f"for (int j = 0; j < {width}; ++j)"):
                    for i in heavy:
                        e.statement(f"acc{i}[j] = {body.fold(i)}::take_all(acc{i}[j], several{operand(kernel, i)}[j]);")
        e.statement(body.unroll(inside) if not heavy else "#pragma unroll 1")
        with e.scope(f"for (; at < stop; at += {self.height})"):
            walk(take)

    def _finish(self, index: dict[int, str]) -> None:
        """Leave the accumulators for `finish`, or store what follows from the results."""
        body, e, width = self.body, self.body.e, self.packing.width
        if self.split:
            place = f"(blockIdx.y * packs + pack) * {width} + j"
            for number, i in enumerate(self.found):
                e.statement(f"part{number}[{place}] = acc{i}[q];")
            return
        env: Env = {i: body.folded(i, f"acc{i}[q]") for i in self.found}
        at = {**index, self.last: f"({index[self.last]} + j)"} if width > 1 else index
        finish_stores(body, env, at)


def shared(height: int, width: int) -> tuple[int, int]:
    """Of threads one below the other with `width` columns each: how many have results in the end, and of how many."""
    lanes = min(height, width)
    return lanes, width // lanes


@contextmanager
def having_results(body: Body, height: int, width: int) -> Iterator[None]:
    """Statements of the threads that have results, once for each: `acc[q]` is that of column `j`."""
    lanes, each = shared(height, width)
    e = body.e
    with e.scope(f"if (threadIdx.y < {lanes})"):
        e.statement("#pragma unroll")
        with e.scope(f"for (int q = 0; q < {each}; ++q)"):
            e.statement(f"const idx j = (idx)threadIdx.y + q * {lanes};" if height > 1 else "const idx j = q;")
            yield


def gather(body: Body, number: int, height: int, width: int = 1, side: int = WIDTH) -> None:
    """Join the accumulators of threads one below the other; see `having_results` for which has what then.

    width: of each thread's array of accumulators, `acc`. side: threads side by side. The threads share the columns:
    first each joins those of some neighbours in order, then one half joins those of the other, until one is left.
    """
    e, fold = body.e, body.fold(number)
    if height == 1:
        return
    lanes, each = shared(height, width)
    with e.scope(""):
        e.statement(f"{fold}::Acc* const kept = ({fold}::Acc*)room;")
        e.statement("__syncthreads();")
        e.statement("#pragma unroll")
        with e.scope(f"for (int j = 0; j < {width}; ++j)"):
            e.statement(f"kept[(threadIdx.y * {width} + j) * {side} + threadIdx.x] = acc{number}[j];")
        e.statement("__syncthreads();")
        if lanes > 1:
            e.statement(f"const u32 column = threadIdx.y % {lanes}, top = threadIdx.y - column;")
            e.statement("#pragma unroll")
            with e.scope(f"for (int q = 0; q < {each}; ++q)"):
                place = f"* {width} + column + q * {lanes}) * {side} + threadIdx.x"
                e.statement(f"acc{number}[q] = kept[(top {place}];")
                e.statement("#pragma unroll 1")
                with e.scope(f"for (int k = 1; k < {lanes}; ++k)"):
                    e.statement(f"acc{number}[q] = {fold}::join(acc{number}[q], kept[((top + k) {place}]);")
            if height == lanes:
                return
            # of threads with several columns each there are none left
            e.statement("__syncthreads();")
            e.statement(f"kept[threadIdx.y * {side} + threadIdx.x] = acc{number}[0];")
            e.statement("__syncthreads();")
        mine = f"kept[threadIdx.y * {side} + threadIdx.x]"
        e.statement("#pragma unroll 1")
        with e.scope(f"for (u32 o = {height // 2}; o >= {lanes}; o >>= 1)"):
            with e.scope("if (threadIdx.y < o)"):
                other = f"kept[(threadIdx.y + o) * {side} + threadIdx.x]"
                e.statement(f"{mine} = acc{number}[0] = {fold}::join(acc{number}[0], {other});")
            e.statement("__syncthreads();")


def finish_stores(body: Body, env: Env, index: Index) -> None:
    """Compute and store what follows from the results of folds."""
    kernel = body.kernel
    stores = [n for n in range(len(kernel.stores)) if not swept(kernel, n)]
    body.compute([kernel.stores[n].value for n in stores], env, index)
    for n in stores:
        body.store(n, env, index)
