"""Tiles: the inner loops of a kernel that reduces loops outside its vector loop, a tile of columns at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from graphc import dims
from graphc.backends.numpy.llvm import memory
from graphc.backends.numpy.llvm.folding import combine, identity, wide
from graphc.backends.numpy.llvm.memory import Mask
from graphc.backends.numpy.llvm.nest import Env, Nest
from graphc.backends.numpy.llvm.schedule import COLUMNS
from graphc.backends.numpy.llvm.sweeps import BLOCK, vector_values
from graphc.backends.numpy.llvm.values import DType, Value
from graphc.kernels import Apply, Reduce

ROWS: Final = 4  # rows that one pass over a tile takes together, where little is computed for each
LIGHT: Final = 12  # additions


class Tile(NamedTuple):
    """Columns from `first` to `last`."""

    first: Value
    last: Value


class Tiles:
    """Writes what happens at one point of the outer loops, with a row of accumulators for each reduction.

    A row lies on the stack; so do values that follow from the reductions alone. Single precision is added up in double
    where there are many elements to a column.
    """

    def __init__(
        self, nest: Nest, rows: dict[int, str] | None = None, sweep: Callable[[int, Tile, Env], None] | None = None
    ) -> None:
        """`rows` says where the rows are, if they are there already; `sweep` writes sweeps, if this does not."""
        self.nest = nest
        self.schedule = nest.schedule
        self.kernel = nest.kernel
        self.reduced = self.schedule.inner[:-1]
        kernel = self.kernel
        count = dims.product(kernel.sizes[k] for k in self.reduced)
        self.few = isinstance(count, int) and count <= BLOCK
        self.rows = rows or {i: nest.slot(self._kept(i), self.schedule.tile) for i in self.schedule.rows}
        self.write_sweep = sweep or self.sweep

    def write(self, env: Env) -> None:
        """All tiles, or those of the columns of the call if they divide the kernel."""
        nest, e, tile = self.nest, self.nest.e, self.schedule.tile
        start, stop = nest.zero, nest.extents[nest.vector_loop]
        if not self.schedule.outer:
            first, last = nest.ends
            start, end = first * COLUMNS, last * COLUMNS
            stop = e.select(end < stop, end, stop)

        def body(first: Value, _: list[Value]) -> list[Value]:
            last = first + tile
            self._tile(Tile(first, e.select(last < stop, last, stop)), env)
            return []

        nest.e.loop(start, stop, tile, [], body)

    def _tile(self, tile: Tile, env: Env) -> None:
        self._after(0, tile, env)
        for stage in range(self.schedule.last_stage + 1):
            if self.schedule.sweeps(stage):
                self.write_sweep(stage, tile, env)
            self._after(stage + 1, tile, env)

    def sweep(self, stage: int, tile: Tile, env: Env) -> None:
        """One pass over the rows of a tile."""
        if self.schedule.folds(stage):
            self._fill(stage, tile)
        self._open(stage, 0, tile, env)

    def _fill(self, stage: int, tile: Tile) -> None:
        """Accumulators start with what changes nothing."""

        def body(_: list[Value], lanes: int, mask: Mask | None) -> list[Value]:
            for i, r in self.schedule.folds(stage):
                self.put(i, identity(self.nest.e, r.fold, self._kept(i), lanes), tile, mask)
            return []

        self.nest.vectors(*tile, [], body)

    def put(self, i: int, value: Value, tile: Tile, mask: Mask | None) -> None:
        """Write to the row of a value."""
        nest = self.nest
        memory.store(nest.e, value, self.rows[i], nest.index[nest.vector_loop] - tile.first, 1, mask)

    def _kept(self, i: int) -> DType:
        """The dtype of a value's row: reductions of many elements have a wider one."""
        value = self.kernel.values[i]
        return wide(value.fold, value.dtype) if isinstance(value, Reduce) and not self.few else value.dtype

    def stored(self, i: int, tile: Tile, lanes: int, mask: Mask | None) -> Value:
        """What the row of a value holds."""
        nest = self.nest
        place = nest.index[nest.vector_loop] - tile.first
        return memory.load(nest.e, self.rows[i], place, 1, self._kept(i), lanes, mask)

    def _get(self, i: int, tile: Tile, lanes: int, mask: Mask | None) -> Value:
        return self.nest.e.convert(self.stored(i, tile, lanes, mask), self.kernel.values[i].dtype)

    def _open(self, stage: int, depth: int, tile: Tile, env: Env) -> None:
        """The reduced loops from `depth` on; the last one by several rows at once if they are light."""
        nest, loop = self.nest, self.reduced[depth]
        opened = frozenset(self.reduced[:depth])
        here = dict(env)
        self._compute_columnless(stage, here, opened)
        if depth + 1 < len(self.reduced):

            def deeper(_: list[Value]) -> list[Value]:
                self._open(stage, depth + 1, tile, here)
                return []

            nest.along(loop, *nest.range(loop), [], deeper)
            return

        def together(count: int) -> Callable[[Value, list[Value]], list[Value]]:
            def body(index: Value, _: list[Value]) -> list[Value]:
                self._several(stage, loop, [index + k for k in range(count)], tile, here)
                return []

            return body

        light = self.schedule.folds(stage) and self.schedule.work(stage) <= LIGHT
        for first, last in nest.parts(loop, *nest.range(loop)):
            whole = first
            if light:
                whole = first + nest.e.binary("sdiv", last - first, ROWS) * ROWS
                nest.e.loop(first, whole, ROWS, [], together(ROWS))
            nest.e.loop(whole, last, 1, [], together(1))

    def _compute_columnless(self, stage: int, env: Env, opened: frozenset[int]) -> None:
        """Values of a sweep that the open loops determine for all columns."""
        outside = frozenset(self.schedule.outer) | opened
        homes = self.schedule.homes
        self.nest.compute(
            (i for i in self.schedule.needed(stage) if self.schedule.varies[i] <= outside and i not in homes), env
        )

    def _several(self, stage: int, loop: int, indices: Sequence[Value], tile: Tile, env: Env) -> None:
        """Some rows of a tile: their vectors, folded into the tile's accumulators."""
        nest, e = self.nest, self.nest.e
        folds, needed = self.schedule.folds(stage), self.schedule.needed(stage)
        operands = [r.operand for _, r in folds]
        kept = [i for i in self.rows if i in self._read(stage)]
        starts = []
        lanes = nest.lanes_of(stage)
        for index in indices:
            nest.index[loop] = index
            here = dict(env)
            self._compute_columnless(stage, here, frozenset(self.reduced))
            starts.append(nest.hoisted(needed, here, lanes))

        def body(_: list[Value], lanes: int, mask: Mask | None) -> list[Value]:
            results: list[list[Value]] = [[] for _ in folds]
            for index, known in zip(indices, starts, strict=True):
                nest.index[loop] = index
                here = dict(known)
                for i in kept:
                    here[i] = self._get(i, tile, lanes, mask)
                here = vector_values(nest, stage, [i for i in needed if i not in self.rows], here, lanes, mask)
                for result, operand in zip(results, operands, strict=True):
                    result.append(nest.wide(here[operand], lanes))
            for result, (i, r) in zip(results, folds, strict=True):
                while len(result) > 1:
                    pairs = zip(result[::2], result[1::2], strict=True)
                    result = [combine(e, r.fold, a, b) for a, b in pairs]
                total = self.stored(i, tile, lanes, mask)
                self.put(i, combine(e, r.fold, total, e.convert(result[0], total.dtype)), tile, mask)
            return []

        once = nest.once(self.schedule.computed(stage), self.schedule.accesses(stage), len(indices))
        nest.vectors(*tile, [], body, once, lanes)

    def _read(self, stage: int) -> set[int]:
        """The values that a sweep reads or computes."""
        values, needed = self.kernel.values, self.schedule.needed(stage)
        found = {*needed, *(r.operand for _, r in self.schedule.folds(stage))}
        found.update(self.kernel.stores[n].value for n in self.schedule.stores(stage))
        return found.union(*(v.operands for i in needed if isinstance(v := values[i], Apply)))

    def _after(self, stage: int, tile: Tile, env: Env) -> None:
        """What a sweep's results make known for each column, and the stores of it."""
        nest, kernel = self.nest, self.kernel
        computed = [i for i in self.rows if kernel.stages[i] == stage and not isinstance(kernel.values[i], Reduce)]
        stores = self.schedule.late_stores(stage)
        if not computed and not stores:
            return

        def body(_: list[Value], lanes: int, mask: Mask | None) -> list[Value]:
            here = dict(env)

            def get(i: int) -> Value:
                if i in here:
                    return here[i]
                value = kernel.values[i]
                if i in self.rows and (isinstance(value, Reduce) or kernel.stages[i] < stage):
                    here[i] = self._get(i, tile, lanes, mask)
                    return here[i]
                for j in value.operands if isinstance(value, Apply) else ():
                    get(j)
                nest.compute((i,), here, lanes, mask)
                return here[i]

            for i in computed:
                self.put(i, nest.wide(get(i), lanes), tile, mask)
            # all are read before any is written: a result may lie where an operand does
            found = [(n, get(kernel.stores[n].value)) for n in stores]
            for n, value in found:
                nest.write(n, value, lanes, mask)
            return []

        nest.vectors(*tile, [], body, nest.once(computed, 2 * len(computed) + len(stores)))
