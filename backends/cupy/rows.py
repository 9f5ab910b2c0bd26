"""Kernels that fold along rows: the last loop is a reduced one, and neighbouring threads take neighbours along it.

A row belongs to `across` threads of a block. Each sweep over the row ends with what a fold gives, in all of them, so
that the next sweep can use it. Rows that fit are kept in registers between sweeps; others are read again, mostly from
the cache. A kernel may also fold over the rows: then each block keeps an accumulator for each column and leaves them in
a workspace, where `finish` joins them.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.backends.cupy.body import Body, Env, Index, Settings
from graphc.backends.cupy.packs import Packed, Packing
from graphc.backends.cupy.prelude import C_TYPES, acc_bytes
from graphc.backends.numpy.llvm.values import Value
from graphc.kernels import Fixed, Kernel, Position, Reduce


@dataclass(frozen=True, slots=True)
class RowShape:
    """How rows lie on threads.

    threads: of a row, a power of two. rows: of a block; 1 if a row has more than a warp.
    items: packs that each thread keeps of a row; 0 if rows are read again in each sweep.
    whole: whether the packs of all threads cover the row exactly.
    split: whether a row is shared by several blocks, which leave accumulators for `finish`.
    resident: how many blocks should run on a processor at the same time.
    """

    threads: int
    rows: int
    items: int
    whole: bool = False
    split: bool = False
    resident: int = 1


def folds(kernel: Kernel, across: bool) -> list[int]:
    """The values that fold over the reduced loops, or those that fold over the others."""
    return [i for i, v in enumerate(kernel.values) if isinstance(v, Reduce) and v.across == across]


def operand(kernel: Kernel, number: int) -> int:
    """What a fold folds."""
    value = kernel.values[number]
    assert isinstance(value, Reduce)
    return value.operand


def takes_all(kernel: Kernel, number: int) -> bool:
    """Whether a fold takes several elements at a time with less effort than one after another."""
    value = kernel.values[number]
    if not isinstance(value, Reduce) or value.dtype.kind != "f":
        return False
    # the largest exponent is looked for by both
    exponents = {v.operand for v in kernel.values if isinstance(v, Reduce) and v.fold == "exp_sum"}
    return value.fold == "exp_sum" or (value.fold == "max" and value.operand in exponents)


def sweeps(kernel: Kernel) -> int:
    """How many sweeps over the reduced loops the kernel takes."""
    stages = kernel.stages
    last = 0
    for value in kernel.values:
        if isinstance(value, Reduce):
            last = max(last, stages[value.operand])
    for n, store in enumerate(kernel.stores):
        if swept(kernel, n):
            last = max(last, stages[store.value])
    return last + 1


def swept(kernel: Kernel, number: int) -> bool:
    """Whether a store is made at each point of the reduced loops."""
    store = kernel.stores[number]
    value = kernel.values[store.value]
    if isinstance(value, Reduce) and value.across:
        return False
    return bool((kernel.varies[store.value] | store.at.loops) & kernel.reduced)


def by_column(kernel: Kernel, number: int) -> bool:
    """Whether a fold over the rows gives a number for each column."""
    places = [s.at.loops for s in kernel.stores if s.value == number]
    return bool(kernel.varies[number].union(*places) & kernel.reduced)


def source(kernel: Kernel, settings: Settings, packing: Packing, shape: RowShape) -> str:
    """The text of `kernel`."""
    return _Rows(kernel, settings, packing, shape).write()


class _Rows:
    def __init__(self, kernel: Kernel, settings: Settings, packing: Packing, shape: RowShape) -> None:
        self.kernel = kernel
        self.shape = shape
        self.packing = packing
        self.kept = tuple(k for k in range(len(kernel.sizes)) if k not in kernel.reduced)
        self.columns = tuple(sorted(kernel.reduced))
        self.down = folds(kernel, across=True)
        parts = self.down if not shape.split else folds(kernel, across=False)
        self.part = {i: f"part{number}" for number, i in enumerate(parts)}
        extra = ["chunk"] if shape.split else []
        writer = Body(kernel, settings)
        kinds = [(self.part[i], f"{writer.fold(i)}::Acc") for i in parts]
        self.body = Body(kernel, settings, kinds, extra)
        self.e = self.body.e
        self.packed = Packed(self.body, packing)
        self.registers: dict[int, str] = {}  # of each value that is kept for later sweeps, the array

    def write(self) -> str:
        e, shape, kernel = self.e, self.shape, self.kernel
        e.statement(f"const idx rows = {self.body.product(self.kept)};")
        e.statement(f"const idx columns = {self.body.product(self.columns)};")
        if shape.threads > 32:
            room = max((acc_bytes(v.fold, v.dtype) for v in kernel.values if isinstance(v, Reduce)), default=1)
            e.statement(f"ROOM({shape.threads // 32 * max(1, -(-room // 8))});")
        elif folds(kernel, across=False):
            e.statement("void* const room = nullptr;")
        for i in self.down:
            fold = self.body.fold(i)
            e.statement(f"{fold}::Acc down{i}[{self._length(i)}];")
            e.statement("#pragma unroll")
            e.statement(f"for (int k = 0; k < {self._length(i)}; ++k) down{i}[k] = {fold}::start();")
        step = f"gridDim.x * (idx){shape.rows}"
        with e.scope(f"for (idx top = blockIdx.x * (idx){shape.rows}; top < rows; top += {step})"):
            if shape.rows > 1:
                # threads beyond the last row compute it once more, and write the same
                e.statement("const idx row = top + (idx)threadIdx.y < rows ? top + (idx)threadIdx.y : rows - 1;")
            else:
                e.statement("const idx row = top;")
            self._row()
        self._end()
        return self.body.text("kernel", shape.threads * shape.rows, shape.resident)

    def _length(self, number: int) -> int:
        """Elements of an array that each thread keeps: one for each of its columns, or a single one."""
        return self.shape.items * self.packing.width if by_column(self.kernel, number) else 1

    def _along(self, number: int) -> bool:
        """Whether a value varies along the row."""
        return bool(self.kernel.varies[number] & self.kernel.reduced)

    def _row(self) -> None:
        kernel, e = self.kernel, self.e
        row_index = self.body.unravel(self.kept, "row", "i")
        env: Env = {}
        stages = kernel.stages
        computed: set[int] = set()
        plans = []
        for stage in range(sweeps(kernel)):
            targets = [i for i in self._folds(stage) if self.shape.items or i not in self.down]
            stores = self._stores(stage)
            wanted = [operand(kernel, i) for i in targets]
            wanted += [kernel.stores[n].value for n in stores]
            reduces = [i for i, v in enumerate(kernel.values) if isinstance(v, Reduce)]
            before = computed if self.shape.items else set()
            needed = self.body.closure(wanted, {*reduces, *before})
            plans.append((stage, targets, stores, wanted, needed))
            computed.update(i for i in needed if self._along(i) and not self._cheap(i))
        if self.shape.items:
            self._declare(plans)
        for _, targets, stores, _, needed in plans:
            for i in needed:
                if not self._along(i) and i not in env:
                    env[i] = self.body.value(i, env, row_index)
            self._sweep(targets, stores, [i for i in needed if i not in env], env, row_index)
            if self.shape.split:
                continue
            for i in targets:
                fold = self.body.fold(i)
                if i not in self.down:
                    env[i] = self.body.folded(i, f"over_row<{fold}, {self.shape.threads}>(acc{i}, room)")
                elif not by_column(kernel, i):
                    e.statement(f"down{i}[0] = {fold}::take(down{i}[0], {env[operand(kernel, i)].text});")
        if self.shape.split:
            return
        results = [n for n, s in enumerate(kernel.stores) if not swept(kernel, n) and s.value not in self.down]
        if results:
            self.body.compute([kernel.stores[n].value for n in results], env, row_index)
            with e.scope("if (threadIdx.x == 0)"):
                for n in results:
                    self.body.store(n, env, row_index)
        assert max(stages, default=0) <= len(plans)

    def _cheap(self, number: int) -> bool:
        return isinstance(self.kernel.values[number], (Fixed, Position))

    def _folds(self, stage: int) -> list[int]:
        values, stages = self.kernel.values, self.kernel.stages
        return [i for i, v in enumerate(values) if isinstance(v, Reduce) and stages[v.operand] == stage]

    def _stores(self, stage: int) -> list[int]:
        stages = self.kernel.stages
        return [n for n, s in enumerate(self.kernel.stores) if swept(self.kernel, n) and stages[s.value] == stage]

    def _declare(self, plans: list[tuple[int, list[int], list[int], list[int], list[int]]]) -> None:
        """Arrays in registers for what a later sweep needs of an earlier one."""
        home: dict[int, int] = {}
        for number, (_, _, _, wanted, needed) in enumerate(plans):
            reads = set(wanted)
            for i in needed:
                value = self.kernel.values[i]
                reads.update(getattr(value, "operands", ()))
                home.setdefault(i, number)
            for i in sorted(reads):
                if i in home and home[i] < number and self._along(i) and i not in self.registers:
                    self.registers[i] = f"kept{i}"
                    length = self.shape.items * self.packing.width
                    self.e.statement(f"{C_TYPES[self.kernel.values[i].dtype]} kept{i}[{length}];")

    def _sweep(
        self, targets: list[int], stores: list[int], needed: list[int], env: Env, row_index: dict[int, str]
    ) -> None:
        e, shape, width = self.e, self.shape, self.packing.width
        for i in targets:
            if i not in self.down:
                e.statement(f"{self.body.fold(i)}::Acc acc{i} = {self.body.fold(i)}::start();")
        if not targets and not stores:
            return
        outside = dict(env)
        if shape.items:
            e.statement("#pragma unroll")
            with e.scope(f"for (int item = 0; item < {shape.items}; ++item)"):
                e.statement(f"const idx column = ((idx)item * {shape.threads} + (idx)threadIdx.x) * {width};")
                if shape.whole:
                    self._columns(targets, stores, needed, outside, row_index)
                else:
                    with e.scope("if (column < columns)"):
                        self._columns(targets, stores, needed, outside, row_index)
            return
        start, stop = "(idx)threadIdx.x", "columns"
        if shape.split:
            e.statement("const idx start = (idx)blockIdx.y * chunk;")
            e.statement("const idx stop = start + chunk < columns ? start + chunk : columns;")
            start, stop = f"start / {width} + (idx)threadIdx.x", "stop"
        e.statement(self.body.unroll(needed))
        with e.scope(f"for (idx c = {start}; c < {stop} / {width}; c += {shape.threads})"):
            e.statement(f"const idx column = c * {width};")
            self._columns(targets, stores, needed, outside, row_index)
        if shape.split:
            place = "row * (idx)gridDim.y + (idx)blockIdx.y"
            for i in targets:
                e.statement(f"acc{i} = over_row<{self.body.fold(i)}, {shape.threads}>(acc{i}, room);")
            with e.scope("if (threadIdx.x == 0)"):
                for i in targets:
                    e.statement(f"{self.part[i]}[{place}] = acc{i};")

    def _columns(
        self, targets: list[int], stores: list[int], needed: list[int], env: Env, row_index: dict[int, str]
    ) -> None:
        """Some neighbours of a row."""
        e, kernel = self.e, self.kernel
        here = dict(env)
        index: Index = {**row_index, **self._column_index()}
        used = {i for i in self.registers if i not in needed}
        width = self.packing.width
        heavy = [i for i in targets if width > 1 and i not in self.down and takes_all(kernel, i)]
        several = list(dict.fromkeys(operand(kernel, i) for i in heavy))
        for o in several:
            e.statement(f"{C_TYPES[kernel.values[o].dtype]} several{o}[{width}];")

        def known(j: str) -> Env:
            found = {}
            for i in used:
                text = f"{self.registers[i]}[{self._slot(j)}]"
                found[i] = Value(e, text, kernel.values[i].dtype, 1)
            return found

        def each(values: Env, j: str) -> None:
            for i in needed:
                if i in self.registers:
                    e.statement(f"{self.registers[i]}[{self._slot(j)}] = {values[i].text};")
            for o in several:
                e.statement(f"several{o}[{j}] = {values[o].text};")
            for i in targets:
                if i in heavy:
                    continue
                reduce = kernel.values[i]
                assert isinstance(reduce, Reduce)
                x = values[reduce.operand].text
                fold = self.body.fold(i)
                if i in self.down:
                    if by_column(kernel, i):
                        e.statement(f"down{i}[{self._slot(j)}] = {fold}::take(down{i}[{self._slot(j)}], {x});")
                else:
                    e.statement(f"acc{i} = {fold}::take(acc{i}, {x});")

        self.packed.run(needed, stores, here, index, each, known)
        for i in heavy:
            e.statement(f"acc{i} = {self.body.fold(i)}::take_all(acc{i}, several{operand(kernel, i)});")

    def _slot(self, j: str) -> str:
        """Where a thread keeps what belongs to one of its columns."""
        width = self.packing.width
        return "item" if width == 1 else f"item * {width} + {j}"

    def _column_index(self) -> dict[int, str]:
        if not self.columns:
            return {}
        if len(self.columns) == 1:
            return {self.columns[0]: "column"}
        width = self.packing.width
        flat = f"column / {width}" if width > 1 else "column"
        return self.body.unravel(self.columns, flat, "i", width)

    def _end(self) -> None:
        """Leave the accumulators of the folds over rows in the workspace."""
        e, width = self.e, self.packing.width
        along = [i for i in self.down if by_column(self.kernel, i)]
        if along:
            e.statement("#pragma unroll")
            with e.scope(f"for (int item = 0; item < {self.shape.items}; ++item)"):
                e.statement(f"const idx column = ((idx)item * {self.shape.threads} + (idx)threadIdx.x) * {width};")
                with e.scope("if (column < columns)"):
                    e.statement("#pragma unroll")
                    with e.scope(f"for (int j = 0; j < {width}; ++j)"):
                        for i in along:
                            place = "(i64)blockIdx.x * columns + column + j"
                            e.statement(f"{self.part[i]}[{place}] = down{i}[{self._slot('j')}];")
        single = [i for i in self.down if i not in along]
        if single:
            with e.scope("if (threadIdx.x == 0)"):
                for i in single:
                    e.statement(f"{self.part[i]}[blockIdx.x] = down{i}[0];")
