"""From a kernel and the sizes of a call to launches: which texts run, on how many threads, with which workspaces."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from graphc.backends.cupy import columns, elementwise, finish, rows
from graphc.backends.cupy.body import NARROW, Settings
from graphc.backends.cupy.deviations import without_means
from graphc.backends.cupy.exponential_sums import in_one_sweep
from graphc.backends.cupy.packs import Packing, packing
from graphc.backends.cupy.parts import Part, pruned, taken_apart
from graphc.backends.cupy.prelude import acc_bytes
from graphc.backends.cupy.rows import RowShape, by_column, folds, sweeps, swept
from graphc.dims import Size
from graphc.kernels import Affine, Kernel, Load, Position, Reduce

WARP: Final = 32
MOST_THREADS: Final = 1024
KEPT_THREADS: Final = 512  # of a row in registers: each may have 128 of them
MOST_BLOCKS: Final = 1 << 20
REGISTERS: Final = 64  # 32-bit words that a thread may spend on what it keeps of a row
DOWN_REGISTERS: Final = 112  # the same for kernels that fold over rows too, which keep accumulators beside
MORE_REGISTERS: Final = 12  # beside what a thread keeps
REGISTERS_IN_ALL: Final = 1 << 16  # of a processor
MOST_KEPT: Final = 32  # elements of a row that a thread keeps
SHARED_ROWS: Final = 8192  # elements from which on a row is worth several blocks, where there are few rows
LEAST_SIDE: Final = 8  # accumulators side by side that a block joins
WORKSPACE: Final = -1_000_000  # arrays with lower numbers hold accumulators


@dataclass(frozen=True, slots=True)
class Device:
    """What of a GPU decides how kernels are launched."""

    processors: int = 132


@dataclass(frozen=True, slots=True)
class Launch:
    """One text, on a grid of blocks. arrays: graph nodes in the order of the parameters; below 0, workspaces.

    work: about how many operations it makes.
    """

    source: str
    grid: tuple[int, int]
    block: tuple[int, int]
    arrays: tuple[int, ...]
    numbers: tuple[int, ...]
    work: int = 0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Launches in order; workspaces: bytes of each array that lives only between them."""

    launches: tuple[Launch, ...]
    workspaces: Mapping[int, int]


class Program:
    """A kernel for the GPU: texts are written for the sizes that turn up, each once."""

    def __init__(self, kernel: Kernel, fast: bool = False) -> None:
        self.kernel = kernel
        self.fast = fast
        self._fewer: dict[bool, Kernel] = {}
        self._parts: dict[bool, list[Part]] = {}
        self._texts: dict[Any, str] = {}

    def schedule(self, sizes: Sequence[int], aligned: Mapping[int, int], device: Device) -> Schedule:
        """How to run it. sizes: of `kernel.symbolic`. aligned: see `packing`."""
        return _Scheduler(self, dict(zip(self.kernel.symbolic, sizes, strict=True)), aligned, device).run()

    def fewer_sweeps(self, empty: bool) -> Kernel:
        """The kernel with folds that take fewer sweeps. empty: whether there is nothing to fold."""
        if empty not in self._fewer:
            found = in_one_sweep(self.kernel)
            # in double precision, which those who want to be fast avoid
            self._fewer[empty] = pruned(found if empty or self.fast else without_means(found))
        return self._fewer[empty]

    def parts(self, empty: bool) -> list[Part]:
        if empty not in self._parts:
            self._parts[empty] = taken_apart(self.fewer_sweeps(empty))
        return self._parts[empty]

    def text(self, write: Callable[..., str], kernel: Kernel, *settings: Any) -> str:
        """What `write` gives, or gave before."""
        key = write, id(kernel), *settings
        if key not in self._texts:
            self._texts[key] = write(kernel, *settings)
        return self._texts[key]


def power_of_two(number: int) -> int:
    """The smallest power of two that is not below a number."""
    return 1 << max(0, number - 1).bit_length()


class _Scheduler:
    def __init__(self, program: Program, sizes: Mapping[Size, int], aligned: Mapping[int, int], device: Device) -> None:
        self.program = program
        self.sizes = sizes
        self.aligned = dict(aligned)
        self.device = device
        self.launches: list[Launch] = []
        self.workspaces: dict[int, int] = {}

    def number(self, size: Size) -> int:
        return size if isinstance(size, int) else self.sizes[size]

    def points(self, kernel: Kernel, loops: Sequence[int]) -> int:
        return math.prod(self.number(kernel.sizes[k]) for k in loops)

    def run(self) -> Schedule:
        self.whole(self.program.kernel)
        return Schedule(tuple(self.launches), self.workspaces)

    # Which kind of kernel

    def whole(self, kernel: Kernel) -> None:
        if not any(isinstance(v, Reduce) for v in kernel.values):
            self.elementwise(kernel)
            return
        empty = self.extents(kernel)[1] == 0
        if self.one_sweep(kernel) or self.kept_rows(kernel) or self.one_sweep(self.program.fewer_sweeps(empty)):
            return
        for part in self.program.parts(empty):
            self.part(part)

    def part(self, part: Part) -> None:
        for node, shape in part.temporaries:
            dtype = next(part.kernel.values[s.value].dtype for s in part.kernel.stores if s.node == node)
            self.workspaces[node] = math.prod(self.number(d) for d in shape) * dtype.itemsize
            self.aligned[node] = 16
        if not any(isinstance(v, Reduce) for v in part.kernel.values):
            self.elementwise(part.kernel)
        elif not self.one_sweep(part.kernel):
            raise AssertionError("a part takes one sweep")

    def one_sweep(self, kernel: Kernel) -> bool:
        """Launch a kernel that runs over its elements once, if it is one."""
        if folds(kernel, across=True) or sweeps(kernel) > 1:
            return False
        if self.row_wise(kernel):
            self.rows(kernel)
        else:
            self.columns(kernel)
        return True

    @staticmethod
    def row_wise(kernel: Kernel) -> bool:
        """Whether neighbours along the last loop belong to one fold."""
        return not kernel.reduced or len(kernel.sizes) - 1 in kernel.reduced

    # Launching

    def settings(self, kernel: Kernel) -> Settings:
        return Settings(self.program.fast, self.wide(kernel))

    def wide(self, kernel: Kernel) -> bool:
        """Whether some index needs more than 32 bits."""
        extents = [self.number(s) for s in kernel.sizes]
        if math.prod(extents) >= NARROW or max(extents, default=0) >= NARROW:
            return True

        def reach(at: Affine) -> int:
            return abs(self.number(at.offset)) + sum(
                abs(self.number(s)) * max(0, n - 1) for s, n in zip(at.strides, extents, strict=True)
            )

        places = [v.at for v in kernel.values if isinstance(v, (Load, Position))] + [s.at for s in kernel.stores]
        numbers = [
            abs(self.number(x))
            for v in kernel.values
            if isinstance(v, Load)
            for w in v.within
            for x in (w.start, w.stop)
        ]
        return max([*map(reach, places), *numbers], default=0) >= NARROW

    def launch(
        self,
        kernel: Kernel,
        source: str,
        grid: tuple[int, int],
        block: tuple[int, int],
        workspaces: Sequence[int] = (),
        numbers: Sequence[int] = (),
        work: int | None = None,
    ) -> None:
        arrays = (*kernel.roots, *kernel.nodes, *workspaces)
        sizes = (*(self.sizes[s] for s in kernel.symbolic), *numbers)
        if work is None:
            work = self.points(kernel, range(len(kernel.sizes))) * len(kernel.values)
        self.launches.append(Launch(source, grid, block, arrays, sizes, work))

    def workspace(self, size: int) -> int:
        number = WORKSPACE - len(self.workspaces)
        self.workspaces[number] = max(size, 1)
        return number

    def accumulators(self, kernel: Kernel, numbers: Sequence[int], count: int) -> list[int]:
        """Room for so many accumulators of each fold."""
        found = []
        for i in numbers:
            value = kernel.values[i]
            assert isinstance(value, Reduce)
            found.append(self.workspace(count * acc_bytes(value.fold, value.dtype)))
        return found

    # Kernels without folds

    def elementwise(self, kernel: Kernel) -> None:
        count = self.points(kernel, range(len(kernel.sizes)))
        if count == 0:
            return
        wide = Packing()
        # few elements are spread over as many threads as there are
        if count >= self.device.processors * MOST_THREADS:
            wide = packing(kernel, self.number, self.aligned, tail=len(kernel.sizes) == 1)
        whole = wide.width == 1 or (
            len(kernel.sizes) > 1 or (isinstance(kernel.sizes[0], int) and kernel.sizes[0] % wide.width == 0)
        )
        text = self.program.text(elementwise.source, kernel, self.settings(kernel), wide, whole)
        threads = elementwise.THREADS
        blocks = min(-(-count // (wide.width * threads)), MOST_BLOCKS)
        self.launch(kernel, text, (blocks, 1), (threads, 1))

    # Folds along rows

    def extents(self, kernel: Kernel) -> tuple[int, int]:
        """The points of the loops that are not reduced, and of those that are."""
        kept = [k for k in range(len(kernel.sizes)) if k not in kernel.reduced]
        return self.points(kernel, kept), self.points(kernel, sorted(kernel.reduced))

    def row_packing(self, kernel: Kernel) -> Packing:
        if len(kernel.sizes) - 1 not in kernel.reduced:
            return Packing()
        apart = frozenset(n for n in range(len(kernel.stores)) if not swept(kernel, n))
        return packing(kernel, self.number, self.aligned, apart)

    def rows(self, kernel: Kernel) -> None:
        """A kernel of one sweep over rows."""
        count, length = self.extents(kernel)
        if count == 0:
            return
        packs = self.row_packing(kernel)
        settings = self.settings(kernel)
        if count < 2 * self.device.processors and length >= SHARED_ROWS:
            threads = 256
            most = max(1, length // (threads * packs.width * 2))
            blocks = min(-(-4 * self.device.processors // count), most)
            if blocks > 1:
                chunk = -(-length // (blocks * packs.width)) * packs.width
                self.split_rows(kernel, settings, packs, threads, count, -(-length // chunk), chunk)
                return
        threads = self.row_threads(count, length, packs.width, 4)
        height = self.rows_of_block(threads)
        shape = RowShape(threads, height, 0)
        text = self.program.text(rows.source, kernel, settings, packs, shape)
        self.launch(kernel, text, (min(-(-count // height), MOST_BLOCKS), 1), (threads, height))

    @staticmethod
    def rows_of_block(threads: int) -> int:
        return max(1, 256 // threads) if threads <= WARP else 1

    def row_threads(self, count: int, length: int, width: int, packs: int) -> int:
        """Threads for a row: so that each takes some packs, and fewer if the GPU would not be full."""
        threads = min(power_of_two(-(-length // (width * packs))), WARP)
        threads = max(threads, min(power_of_two(-(-length // (width * 4 * packs))), MOST_THREADS // 2))
        while (
            threads < MOST_THREADS // 2
            and 2 * threads * count <= self.device.processors * MOST_THREADS
            and length > threads * width
        ):
            threads *= 2
        return threads

    def split_rows(
        self, kernel: Kernel, settings: Settings, packs: Packing, threads: int, count: int, blocks: int, chunk: int
    ) -> None:
        shape = RowShape(threads, 1, 0, split=True)
        numbers = folds(kernel, across=False)
        spaces = self.accumulators(kernel, numbers, count * blocks)
        text = self.program.text(rows.source, kernel, settings, packs, shape)
        self.launch(kernel, text, (count, blocks), (threads, 1), spaces, (chunk,))
        self.join(kernel, settings, numbers, spaces, count, blocks)

    def join(
        self, kernel: Kernel, settings: Settings, numbers: list[int], spaces: list[int], results: int, blocks: int
    ) -> None:
        """The second pass, over accumulators of one result side by side."""
        loops = tuple(k for k in range(len(kernel.sizes)) if k not in kernel.reduced)
        if any(v.across for i in numbers if isinstance(v := kernel.values[i], Reduce)):
            loops = ()
        threads = min(256, power_of_two(blocks))
        height = finish.finish_rows(threads)
        text = self.program.text(_finish_rows, kernel, settings, tuple(numbers), loops, threads)
        grid = min(-(-results // height), MOST_BLOCKS), 1
        work = results * blocks * len(numbers)
        self.launch(kernel, text, grid, (threads, height), spaces, (blocks,), work)

    # Rows that stay in registers, or are read again

    def kept_rows(self, kernel: Kernel) -> bool:
        """Launch a kernel of several sweeps over rows as one, if its rows are short enough, or many enough."""
        if not self.row_wise(kernel):
            return False
        down = folds(kernel, across=True)
        count, length = self.extents(kernel)
        if count == 0 and not down:
            return True
        packs = self.row_packing(kernel)
        settings = self.settings(kernel)
        loads = [v for i, v in enumerate(kernel.values) if isinstance(v, Load) and kernel.varies[i] & kernel.reduced]
        widest = max((v.dtype.itemsize for v in kernel.values), default=4)
        words = sum(-(-v.dtype.itemsize // 4) for v in loads) + widest // 4 + 1
        for i in down:
            reduce = kernel.values[i]
            assert isinstance(reduce, Reduce)
            words += acc_bytes(reduce.fold, reduce.dtype) // 4 if by_column(kernel, i) else 0
        if down:
            return self.rows_and_down(kernel, settings, packs, words, count, length)
        most = max(packs.width, min(MOST_KEPT, REGISTERS // words))
        few = max(1, -(-length // most))
        threads = max(power_of_two(few), min(power_of_two(-(-length // (4 * packs.width))), WARP))
        if threads > KEPT_THREADS:
            if count < self.device.processors:
                return False
            fewer = self.program.fewer_sweeps(length == 0)
            if sweeps(fewer) < sweeps(kernel):
                kernel, packs = fewer, self.row_packing(fewer)
            shape = RowShape(KEPT_THREADS, 1, 0)
        else:
            while (
                threads < KEPT_THREADS
                and 2 * threads * count <= self.device.processors * MOST_THREADS
                and length > threads * packs.width
            ):
                threads *= 2
            shape = self.kept_shape(kernel, packs, threads, self.rows_of_block(threads), length)
        text = self.program.text(rows.source, kernel, settings, packs, shape)
        blocks = min(-(-count // shape.rows), MOST_BLOCKS)
        self.launch(kernel, text, (blocks, 1), (shape.threads, shape.rows))
        return True

    def kept_shape(self, kernel: Kernel, packs: Packing, threads: int, height: int, length: int) -> RowShape:
        items = max(1, -(-length // (threads * packs.width)))
        static = all(isinstance(kernel.sizes[k], int) for k in kernel.reduced)
        return RowShape(threads, height, items, static and items * threads * packs.width == length)

    def rows_and_down(
        self, kernel: Kernel, settings: Settings, packs: Packing, words: int, count: int, length: int
    ) -> bool:
        """The same for a kernel that folds over its rows too. words: 32-bit ones that are kept of each element."""
        if length < 2 * WARP:
            return False
        most = DOWN_REGISTERS // words
        threads = min(max(power_of_two(-(-length // (2 * packs.width))), WARP), KEPT_THREADS)
        while threads < KEPT_THREADS and -(-length // threads) > most:
            threads *= 2
        shape = self.kept_shape(kernel, packs, threads, 1, length)
        if shape.items * packs.width > max(most, packs.width):
            return False
        # so few that all run at the same time: each leaves accumulators for every column
        registers = threads * (shape.items * packs.width * words + MORE_REGISTERS)
        resident = max(1, min(REGISTERS_IN_ALL // registers, MOST_THREADS // threads))
        shape = replace(shape, resident=resident)
        blocks = max(1, min(count, self.device.processors * resident))
        down = folds(kernel, across=True)
        numbers = [i for i in down if by_column(kernel, i)]
        single = [i for i in down if i not in numbers]
        spaces = {i: self.accumulators(kernel, [i], blocks * (length if i in numbers else 1))[0] for i in down}
        text = self.program.text(rows.source, kernel, settings, packs, shape)
        self.launch(kernel, text, (blocks, 1), (threads, 1), [spaces[i] for i in down])
        if numbers and length:
            loops = tuple(sorted(kernel.reduced))
            self.join_columns(kernel, settings, numbers, [spaces[i] for i in numbers], loops, length, blocks)
        if single:
            self.join(kernel, settings, single, [spaces[i] for i in single], 1, blocks)
        return True

    # Folds down columns

    def columns(self, kernel: Kernel) -> None:
        count, depth = self.extents(kernel)
        if count == 0:
            return
        apart = frozenset(n for n in range(len(kernel.stores)) if not swept(kernel, n))
        packs, widest = Packing(), 1
        # few elements are spread over as many threads as there are
        spread = count * depth < self.device.processors * MOST_THREADS
        if not spread:
            packs = packing(kernel, self.number, self.aligned, apart)
            # where columns are cut must not depend on addresses: sums would
            widest = packing(kernel, self.number, dict.fromkeys(self.aligned, 16), apart).width
        height = min(16 if spread else 8, power_of_two(-(-depth // 2)))
        strips = -(-count // (columns.WIDTH * widest))
        # as many blocks as run at the same time; more would leave some processors idle while the last ones run
        most = columns.RESIDENT * self.device.processors // strips
        blocks = max(1, min(most, depth // (height * 8), 4096))
        chunk = max(1, -(-depth // blocks))
        blocks = max(1, -(-depth // chunk))
        settings = self.settings(kernel)
        numbers = folds(kernel, across=False)
        spaces = self.accumulators(kernel, numbers, count * blocks) if blocks > 1 else []
        text = self.program.text(columns.source, kernel, settings, packs, height, blocks > 1)
        grid = min(-(-count // (columns.WIDTH * packs.width)), MOST_BLOCKS), blocks
        self.launch(kernel, text, grid, (columns.WIDTH, height), spaces, (chunk,))
        if blocks > 1:
            loops = tuple(k for k in range(len(kernel.sizes)) if k not in kernel.reduced)
            self.join_columns(kernel, settings, numbers, spaces, loops, count, blocks)

    def join_columns(
        self,
        kernel: Kernel,
        settings: Settings,
        numbers: list[int],
        spaces: list[int],
        loops: tuple[int, ...],
        results: int,
        blocks: int,
    ) -> None:
        """The second pass, over accumulators of one block side by side."""
        # few results are spread over as many processors as there are; fewer side by side would waste accesses
        side = columns.WIDTH
        while side > LEAST_SIDE and results < side * self.device.processors:
            side //= 2
        height = min(MOST_THREADS // 2 // side, max(power_of_two(blocks), WARP // side))
        text = self.program.text(_finish_columns, kernel, settings, tuple(numbers), loops, height, side)
        grid = min(-(-results // side), MOST_BLOCKS), 1
        work = results * blocks * len(numbers)
        self.launch(kernel, text, grid, (side, height), spaces, (blocks,), work)


def _finish_rows(kernel: Kernel, settings: Settings, numbers: tuple[int, ...], loops: tuple[int, ...], n: int) -> str:
    return finish.rows_source(kernel, settings, list(numbers), loops, n)


def _finish_columns(
    kernel: Kernel, settings: Settings, numbers: tuple[int, ...], loops: tuple[int, ...], n: int, side: int
) -> str:
    return finish.columns_source(kernel, settings, list(numbers), loops, n, side)


def texts(kernel: Kernel, sizes: Sequence[int], fast: bool = False) -> Iterator[str]:
    """The texts of a kernel for some sizes, and arrays that are aligned as a whole allocation is."""
    aligned = dict.fromkeys((*kernel.roots, *kernel.nodes), 16)
    for launch in Program(kernel, fast).schedule(sizes, aligned, Device()).launches:
        yield launch.source
