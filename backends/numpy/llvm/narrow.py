"""Kernels that reduce outside of their vector loop: a sweep over a tile is a function that runs for pieces of its rows.

Wide arrays are divided by columns, as other kernels are divided by what they keep, and then a tile's rows are one
piece. Where there are few columns the rows are cut. The first piece folds into the tile's own accumulators, the others
into memory beside, which is joined to them in order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from graphc.backends.numpy.llvm import memory, streaming
from graphc.backends.numpy.llvm.folding import combine
from graphc.backends.numpy.llvm.memory import LINE, Mask
from graphc.backends.numpy.llvm.nest import Env, Nest
from graphc.backends.numpy.llvm.pieces import Context, Cut, bound, cut, larger, quotient, spread
from graphc.backends.numpy.llvm.schedule import COLUMNS, Schedule
from graphc.backends.numpy.llvm.tiles import Tile, Tiles
from graphc.backends.numpy.llvm.values import I64, Value
from graphc.kernels import Kernel

BESIDE: Final = 1 << 15  # bytes of accumulators beside a tile's own; they lie on the stack
# words of the context: rows of a piece; the tile; the memory beside, and bytes of one row of it; then the tile's rows
LENGTH, FIRST, LAST, MEMORY, WIDTH, ROWS = range(6)


class Narrow:
    """Writes the functions of one kernel; `opened` begins one."""

    def __init__(self, kernel: Kernel, name: str, opened: Callable[[], Nest]) -> None:
        self.kernel = kernel
        self.name = name
        self.opened = opened
        self.schedule = Schedule(kernel)
        self.loop = self.schedule.inner[0]
        self.stages = [s for s in range(self.schedule.last_stage + 1) if self.schedule.sweeps(s)]

    def write(self) -> str:
        """The text of all functions."""
        return "\n".join([*map(self._sweep, self.stages), self._whole()])

    def _whole(self) -> str:
        """The kernel itself. Calls for other columns may run at once, so its context is no word of the caller's."""
        nest = self.opened()
        e = nest.e
        addresses = nest.addresses
        nest.slots += [
            f"  %own = alloca ptr, i64 {len(addresses) + 1}",
            f"  %beside = alloca i8, i64 {BESIDE}, align 64",
        ]
        for k, address in enumerate(addresses):
            place = f"%{e.fresh('place')}"
            e.statement(f"{place} = getelementptr ptr, ptr %own, i64 {k}")
            e.statement(f"store ptr {address}, ptr {place}")
        context = Context(nest, ROWS + len(self.schedule.rows), 0, made=True, arrays="%own")
        columns = nest.extents[nest.vector_loop]
        width = quotient(nest, larger(nest, columns, 1) * 8, e.const(LINE, I64, 1)) * LINE
        pieces = cut(nest, self.loop, self.schedule.inner[1:], most=partial(self._most, nest, width))
        rows, few = nest.extents[self.loop], columns <= COLUMNS
        length = e.select(few, pieces.length, larger(nest, rows, 1))
        count = e.select(few, pieces.count, e.const(1, I64, 1))
        pieces = Cut(length, count, pieces.work)
        context.put(LENGTH, length)
        context.put(WIDTH, width)
        context.put(MEMORY, nest.number("%beside"))

        def sweep(stage: int, tile: Tile, _: Env) -> None:
            context.put(FIRST, tile.first)
            context.put(LAST, tile.last)
            spread(nest, f"@{self.name}_sweep{stage}", pieces, "%own")
            if self.schedule.folds(stage):
                e.span(e.const(1, I64, 1), pieces.count, 1, lambda piece: self._join(tiles, stage, tile, piece, width))

        tiles = Tiles(nest, sweep=sweep)
        for k, slot in enumerate(tiles.rows.values()):
            context.put(ROWS + k, nest.number(slot))
        env: Env = {}
        nest.compute(nest.settled(frozenset()), env)
        tiles.write(env)
        return nest.finished(self.name)

    def _most(self, nest: Nest, width: Value) -> Value:
        """For how many pieces there is memory."""
        folds = max(len(self.schedule.folds(stage)) for stage in self.stages)
        return nest.e.binary("sdiv", nest.e.const(BESIDE, I64, 1), width * max(folds, 1)) + 1

    def _join(self, tiles: Tiles, stage: int, tile: Tile, piece: Value, width: Value) -> None:
        """Fold the accumulators of a piece into those of the tile."""
        nest = tiles.nest
        places = self._places(nest, stage, piece, "%beside", width)

        def body(_: list[Value], lanes: int, mask: Mask | None) -> list[Value]:
            at = nest.index[nest.vector_loop] - tile.first
            for i, r in self.schedule.folds(stage):
                so_far = tiles.stored(i, tile, lanes, mask)
                other = memory.load(nest.e, places[i], at, 1, so_far.dtype, lanes, mask)
                tiles.put(i, combine(nest.e, r.fold, so_far, other), tile, mask)
            return []

        nest.vectors(*tile, [], body)

    def _places(self, nest: Nest, stage: int, piece: Value, beside: str, width: Value) -> dict[int, str]:
        """Where a piece that is not the first has its accumulators."""
        folds = self.schedule.folds(stage)
        found = {}
        for k, (i, _) in enumerate(folds):
            found[i] = f"%{nest.e.fresh('beside')}"
            row = ((piece - 1) * len(folds) + k) * width
            nest.e.statement(f"{found[i]} = getelementptr i8, ptr {beside}, {row!r}")
        return found

    def _sweep(self, stage: int) -> str:
        """A sweep over the tile, as a function of the numbers of the first piece and of the one after the last."""
        nest = self.opened()
        e = nest.e
        if self.schedule.stores(stage):
            streaming.begin(nest)
        context = Context(nest, ROWS + len(self.schedule.rows), 0, made=False)
        length, width = context.get(LENGTH, I64), context.get(WIDTH, I64)
        tile = Tile(context.get(FIRST, I64), context.get(LAST, I64))
        beside = nest.pointer(context.get(MEMORY, I64))
        rows = {i: nest.pointer(context.get(ROWS + k, I64)) for k, i in enumerate(self.schedule.rows)}
        tiles = Tiles(nest, dict(rows))
        env: Env = {}
        nest.compute(nest.settled(frozenset()), env)

        def body(piece: Value) -> None:
            bound(nest, self.loop, piece, length)
            first = piece.equals(0)
            for i, place in self._places(nest, stage, piece, beside, width).items():
                tiles.rows[i] = f"%{e.fresh('row')}"
                e.statement(f"{tiles.rows[i]} = select {first!r}, ptr {rows[i]}, ptr {place}")
            tiles.sweep(stage, tile, env)

        first, last = nest.ends
        e.span(first, last, 1, body)
        streaming.end(nest)
        return nest.finished(f"{self.name}_sweep{stage}", "internal")
