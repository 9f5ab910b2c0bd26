"""From a kernel to the text of one LLVM function: which loops go where, and what is computed in which.

The last loop runs by vectors. If it is reduced, each point of the other loops gets a sweep over the reduced ones, with
accumulators in registers. If it is not but others are, the columns are taken in tiles, with accumulators in a row that
stays in the first cache. A value that depends on the result of a reduction, and varies over the reduced loops again, is
computed in a further sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from graphc.backends.numpy.llvm import memory
from graphc.backends.numpy.llvm.emit import BOOL, F64, I64, DType, Emitter, Module, Value, llvm_type
from graphc.backends.numpy.llvm.folding import across, combine, folded, identity, wide
from graphc.backends.numpy.llvm.machine import Machine
from graphc.backends.numpy.llvm.scalars import LlvmScalars
from graphc.dims import Size
from graphc.kernels import Affine, Apply, Fixed, Fold, Kernel, Load, Position, Reduce, Store
from graphc.ops import TABLE

BLOCK: Final = 4096  # elements summed in vectors before the sum moves to a wider total
TILE: Final = 2048  # columns whose accumulators stay in the first cache; narrower tiles read memory in jumps
ROWS: Final = 4  # rows that one pass over a tile takes together, where little is computed for each
LIGHT: Final = 12  # additions
CALLS: Final = 24  # transcendental functions: more of them are called, not written out
HEAVY: Final = 8  # operations: more are kept in memory for a later sweep rather than repeated


WEIGHTS: Final = {"add": 1, "mul": 1, "other": 1, "div": 4, "transcendental": 10}


def weight(value: object) -> int:
    """About how many additions a value costs."""
    if not isinstance(value, Apply):
        return 0
    work = TABLE[value.op].work
    return WEIGHTS["transcendental" if work is None else work if isinstance(work, str) else "div"]


@dataclass(frozen=True, slots=True)
class Shape:
    """How a kernel's loops are arranged: `outer` one point at a time, then `inner` in sweeps, its last one by vectors.

    tiled: the vector loop lies outside the reduced loops, in tiles.
    """

    outer: tuple[int, ...]
    inner: tuple[int, ...]
    tiled: bool

    @classmethod
    def of(cls, kernel: Kernel) -> Shape:
        loops = range(len(kernel.sizes))
        if not kernel.sizes:
            return cls((), (), False)
        kept = tuple(k for k in loops if k not in kernel.reduced)
        reduced = tuple(k for k in loops if k in kernel.reduced)
        last = len(kernel.sizes) - 1
        if last in kernel.reduced:
            return cls(kept, reduced, False)
        return cls(kept[:-1], (*reduced, last), bool(reduced))


def lanes_for(kernel: Kernel, machine: Machine) -> int:
    """Lanes of the vectors: some registers' worth, fewer the more values are alive, and no more than there is work."""
    if not kernel.sizes:
        return 1
    last = len(kernel.sizes) - 1
    work = [v for v, loops in zip(kernel.values, kernel.varies, strict=True) if last in loops or not loops]
    widest = max((v.dtype.itemsize for v in work), default=8)
    total = sum(map(weight, kernel.values))
    registers = 4 if total <= 12 else 2 if total <= 400 else 1
    lanes = max(1, registers * machine.register // widest)
    size = kernel.sizes[last]
    while isinstance(size, int) and lanes >= 2 * max(size, 1):
        lanes //= 2
    return lanes


def function(kernel: Kernel, name: str, machine: Machine, module: Module, fast: bool = False) -> str:
    """The text of ``i32 name(ptr arrays, ptr sizes, i64 first, i64 last)``.

    `arrays` points to the data of the kernel's roots, then of its results; `sizes` to its symbolic sizes. The outermost
    loop that is not reduced (of tiles, if those come first) runs from `first` to `last`.
    """
    return _Function(kernel, name, machine, module, fast).write()


Env = dict[int, Value]


class _Function:
    def __init__(self, kernel: Kernel, name: str, machine: Machine, module: Module, fast: bool) -> None:
        self.kernel = kernel
        self.name = name
        self.e = Emitter(module, lanes=1)
        calls = sum(weight(v) == WEIGHTS["transcendental"] for v in kernel.values) > CALLS
        self.k = LlvmScalars(self.e, fast, calls)
        self.shape = Shape.of(kernel)
        self.lanes = lanes_for(kernel, machine)
        self.vector_loop = len(kernel.sizes) - 1
        self.extents: list[Value] = []
        self.sizes: dict[Size, Value] = {}
        self.bases: dict[int, str] = {}
        self.index: dict[int, Value] = {}  # of the loops that are open
        self.homes = self._homes()

    def write(self) -> str:
        e = self.e
        header = f"define i32 @{self.name}(ptr %arrays, ptr %sizes, i64 %first, i64 %last) nounwind {{"
        e.label("entry")
        for number in range(len(self.kernel.roots) + len(self.kernel.nodes)):
            self.bases[number] = self._argument("arrays", number, "ptr")
        for number, size in enumerate(self.kernel.symbolic):
            self.sizes[size] = e.value(self._argument("sizes", number, "i64"), I64, 1)
        self.extents = [self.size(s) for s in self.kernel.sizes]
        # stack slots stand in the entry block, so their lines come in here
        allocations = len(e.lines)
        self.slots: list[str] = []
        env: Env = {}
        self._begin_across()
        self._at_depth(0, env)
        self._end_across()
        e.statement("ret i32 0")
        e.lines[allocations:allocations] = self.slots
        return "\n".join([header, *e.lines, "}"]) + "\n"

    def _argument(self, array: str, number: int, kind: str) -> str:
        e = self.e
        place, name = f"%{e.fresh('a')}", f"%{e.fresh('a')}"
        e.statement(f"{place} = getelementptr {kind}, ptr %{array}, i64 {number}")
        e.statement(f"{name} = load {kind}, ptr {place}")
        return name

    def slot(self, dtype: DType, count: int) -> str:
        """Room for elements on the stack."""
        name = f"%{self.e.fresh('slot')}"
        kind = llvm_type(memory.stored(dtype))
        self.slots.append(f"  {name} = alloca {kind}, i64 {count}, align 64")
        return name

    # Numbers of loops and sizes

    def size(self, size: Size) -> Value:
        return self.e.const(size, I64, 1) if isinstance(size, int) else self.sizes[size]

    def affine(self, at: Affine, without: int | None = None) -> Value:
        """The number at the open loops' indices, the part of one loop left out."""
        total = self.size(at.offset)
        for loop, stride in enumerate(at.strides):
            if stride == 0 or loop == without:
                continue
            index = self.index[loop]
            part = index if stride == 1 else index * self.size(stride)
            total = part if total.text == "0" else total + part
        return total

    def loop(
        self,
        start: Value,
        stop: Value,
        step: int | Value,
        carried: Sequence[Value],
        body: Callable[[Value, list[Value]], Sequence[Value]],
    ) -> list[Value]:
        """``for index in range(start, stop, step)``; `body` maps the carried values to their next ones."""
        e = self.e
        before = e.block
        head, inside, after = (e.fresh(stem) for stem in ("head", "body", "after"))
        e.statement(f"br label %{head}")
        e.label(head)
        index = e.value(f"%{e.fresh('i')}", I64, 1)
        held = [e.value(f"%{e.fresh('c')}", c.dtype, c.lanes) for c in carried]
        phis = len(e.lines)
        more = e.instruction(f"icmp slt {index!r}, {stop.text}", BOOL, 1)
        e.statement(f"br {more!r}, label %{inside}, label %{after}")
        e.label(inside)
        new = body(index, held)
        following = index + step
        latch = e.block
        e.statement(f"br label %{head}")
        e.lines[phis:phis] = [
            f"  {h.text} = phi {h.type} [ {c.text}, %{before} ], [ {n.text}, %{latch} ]"
            for h, c, n in zip([index, *held], [start, *carried], [following, *new], strict=True)
        ]
        e.label(after)
        return held

    # Reductions over the outer loops

    def _begin_across(self) -> None:
        """Start them: arrays of results filled, single numbers in slots, a total and what it has lost by rounding."""
        e, zero = self.e, self.e.const(0, I64, 1)
        self.totals: dict[int, tuple[tuple[str, DType], ...]] = {}
        arrays = []
        for n, reduce, _ in self._across():
            if self._inner(reduce.operand):
                arrays.append((n, reduce))
                continue
            kept = wide(reduce.fold, reduce.dtype)
            self.totals[n] = tuple((self.slot(kept, 1), kept) for _ in range(2))
            for start, (slot, _) in zip(
                (identity(e, reduce.fold, kept, 1), e.const(0, kept, 1)), self.totals[n], strict=True
            ):
                memory.store(e, start, slot, zero, 1, None)
        if arrays:
            self._fill_nest(0, arrays)

    def _fill_nest(self, depth: int, arrays: Sequence[tuple[int, Reduce]]) -> None:
        e, zero = self.e, self.e.const(0, I64, 1)
        loop = self.shape.inner[depth]
        if depth + 1 < len(self.shape.inner):

            def body(index: Value, _: list[Value]) -> list[Value]:
                self.index[loop] = index
                self._fill_nest(depth + 1, arrays)
                return []

            self.loop(zero, self.extents[loop], 1, [], body)
            return

        def fill(_: list[Value], lanes: int, mask: Value | None) -> list[Value]:
            for n, reduce in arrays:
                self._write(n, identity(e, reduce.fold, reduce.dtype, lanes), lanes, mask)
            return []

        self._vectors(zero, self.extents[loop], [], fill)

    def _end_across(self) -> None:
        """Store the single numbers."""
        e, zero = self.e, self.e.const(0, I64, 1)
        for n, reduce, store in self._across():
            if n in self.totals:
                total, rest = (memory.load(e, slot, zero, 1, kept, 1, None) for slot, kept in self.totals[n])
                base = self.bases[len(self.kernel.roots) + n]
                value = folded(e, reduce.fold, total, rest, reduce.dtype)
                memory.store(e, value, base, self.size(store.at.offset), 1, None)

    # Outer loops

    def _level(self, loops: Iterable[int]) -> int:
        """How many of the outer loops have to be open for a value that varies over these."""
        order = self.shape.outer
        return max((order.index(k) + 1 for k in loops if k in order), default=0)

    def _at_depth(self, depth: int, env: Env) -> None:
        """Emit what the first `depth` outer loops, now open, allow; then the next loop, or the sweeps."""
        inner = frozenset(self.shape.inner)
        for i, loops in enumerate(self.kernel.varies):
            due = self.kernel.stages[i] == 0 and not loops & inner and self._level(loops) <= depth
            if due and i not in env and not isinstance(self.kernel.values[i], Reduce):
                env[i] = self.scalar(i, env)
        if depth == len(self.shape.outer):
            self._sweeps(env)
            return
        loop = self.shape.outer[depth]
        start, stop = self.e.const(0, I64, 1), self.extents[loop]
        if depth == 0:
            start, stop = (self.e.value(f"%{end}", I64, 1) for end in ("first", "last"))

        def body(index: Value, _: list[Value]) -> list[Value]:
            self.index[loop] = index
            self._at_depth(depth + 1, dict(env))
            return []

        self.loop(start, stop, 1, [], body)

    def scalar(self, i: int, env: Env) -> Value:
        """A value of one lane."""
        return self.emit(i, env, 1, None)

    # Values

    def emit(self, i: int, env: Env, lanes: int, mask: Value | None) -> Value:
        """The instructions of one value, of `lanes` lanes; its operands are in `env`."""
        e = self.e
        value = self.kernel.values[i]
        saved, e.lanes = e.lanes, lanes
        try:
            match value:
                case Fixed(dtype=dtype, number=number):
                    return e.const(number, dtype, lanes)
                case Position(dtype=dtype, at=at):
                    return e.convert(self._position(at, lanes), dtype)
                case Load(dtype=dtype, root=root, at=at, within=within):
                    condition = self._within(within, lanes, mask)
                    stride = self._stride(at) if lanes > 1 else 1
                    base = self.bases[self.kernel.roots.index(root)]
                    return memory.load(e, base, self.affine(at), stride, dtype, lanes, condition)
                case Apply(dtype=dtype, op=op, operands=operands, attrs=attrs):
                    kernel = TABLE[op].kernel
                    given = [self.wide(env[j], lanes) for j in operands]
                    if isinstance(kernel, str):
                        result: Value = getattr(self.k, kernel)(*given)
                    else:
                        assert kernel is not None
                        result = kernel(self.k, *given, **dict(attrs))
                    assert result.dtype == dtype, (op, result.dtype, dtype)
                    return result
                case Reduce():
                    raise AssertionError("reductions are emitted by sweeps")
        finally:
            e.lanes = saved

    def wide(self, value: Value, lanes: int) -> Value:
        return value if value.lanes == lanes else self.e.splat(value, lanes)

    def _stride(self, at: Affine) -> Value | int:
        stride = at.strides[self.vector_loop]
        return stride if isinstance(stride, int) else self.size(stride)

    def _position(self, at: Affine, lanes: int) -> Value:
        base = self.affine(at)
        if lanes == 1:
            return base
        stride = self._stride(at)
        step = self.e.const(stride, I64, 1) if isinstance(stride, int) else stride
        return self.e.splat(base, lanes) + memory.lane_numbers(self.e, lanes) * self.e.splat(step, lanes)

    def _within(self, within: Sequence[object], lanes: int, mask: Value | None) -> Value | None:
        """Where a load's conditions hold, and the mask."""
        e = self.e
        for w in within:
            loop, start, stop = w.loop, self.size(w.start), self.size(w.stop)  # type: ignore[attr-defined]
            index = self.index[loop]
            if lanes > 1 and loop == self.vector_loop:
                index = e.splat(index, lanes) + memory.lane_numbers(e, lanes)
            inside = (index >= self.wide(start, index.lanes)) & (index < self.wide(stop, index.lanes))
            inside = self.wide(inside, lanes)
            mask = inside if mask is None else mask & inside
        return mask

    # Sweeps

    def _sweeps(self, env: Env) -> None:
        """Everything at one point of the outer loops."""
        if not self.shape.inner:
            self._results(env, range(len(self.kernel.stores)), 1, None)
            return
        if self.shape.tiled:
            self._tiles(env)
            return
        e, zero = self.e, self.e.const(0, I64, 1)
        last = max(self.kernel.stages)
        for stage in range(last + 1):
            self._sweep(stage, env)
            self._after(stage + 1, env)
        late = [n for n in range(len(self.kernel.stores)) if not self._swept(n) and not self._is_across(n)]
        self._results(env, late, 1, None)
        for n, reduce, _ in self._across():
            if not self._inner(reduce.operand):
                total, rest = (memory.load(e, slot, zero, 1, kept, 1, None) for slot, kept in self.totals[n])
                new = added(e, reduce.fold, env[reduce.operand], total, rest)
                for value, (slot, _) in zip(new, self.totals[n], strict=True):
                    memory.store(e, value, slot, zero, 1, None)

    def _inner(self, i: int) -> bool:
        """Whether a value varies over the inner loops."""
        return bool(self.kernel.varies[i] & frozenset(self.shape.inner))

    def _after(self, stage: int, env: Env) -> None:
        """Values that a sweep's results make known at this point of the outer loops."""
        for i, value in enumerate(self.kernel.values):
            if i in env or isinstance(value, Reduce) or self.kernel.stages[i] != stage or self._inner(i):
                continue
            env[i] = self.scalar(i, env)

    def _folds(self, stage: int) -> list[int]:
        """Reductions whose operands a sweep gives."""
        return [
            i
            for i, v in enumerate(self.kernel.values)
            if isinstance(v, Reduce) and not v.across and self.kernel.stages[v.operand] == stage
        ]

    def _across(self) -> list[tuple[int, Reduce, Store]]:
        """Reductions over the outer loops, with the stores of their results."""
        values = self.kernel.values
        return [
            (n, v, s) for n, s in enumerate(self.kernel.stores) if isinstance(v := values[s.value], Reduce) and v.across
        ]

    def _stores(self, stage: int) -> list[int]:
        """Stores that a sweep makes."""
        return [n for n, s in enumerate(self.kernel.stores) if self.kernel.stages[s.value] == stage and self._swept(n)]

    def _is_across(self, n: int) -> bool:
        value = self.kernel.values[self.kernel.stores[n].value]
        return isinstance(value, Reduce) and value.across

    def _swept(self, n: int) -> bool:
        """Whether a store runs along the loops of the sweeps, those outside a tile's rows aside."""
        store = self.kernel.stores[n]
        if self._is_across(n):
            return False
        sweeps = self.kernel.reduced if self.shape.tiled else frozenset(self.shape.inner)
        return bool((self.kernel.varies[store.value] | store.at.loops) & sweeps)

    def _needed(self, stage: int) -> list[int]:
        """What a sweep computes: what its reductions and stores need, down to values at home in memory."""
        values = self.kernel.values
        folds = [values[i].operand for i in self._folds(stage)]  # type: ignore[union-attr]
        wanted = [*folds, *(self.kernel.stores[n].value for n in self._stores(stage))]
        wanted += [r.operand for _, r, _ in self._across() if self.kernel.stages[r.operand] == stage]
        wanted += [i for i in self.homes if self.kernel.stages[i] == stage]
        found: set[int] = set()
        stack = list(wanted)
        while stack:
            i = stack.pop()
            if i in found or not self._inner(i):
                continue
            found.add(i)
            value = values[i]
            if isinstance(value, Apply) and not (i in self.homes and self.kernel.stages[i] < stage):
                stack.extend(value.operands)
        return sorted(found)

    def _homes(self) -> dict[int, int]:
        """Values to keep for later sweeps, each in the array of a store: its own, or one that is written later."""
        kernel, stages = self.kernel, self.kernel.stages
        homes: dict[int, int] = {}
        if max(stages, default=0) == 0:
            return homes
        taken: set[int] = set()
        for i, value in enumerate(kernel.values):
            if not isinstance(value, Apply) or not self._inner(i):
                continue
            last = max((self._last_need(j) for j in self._users(i)), default=0)
            if last <= stages[i] or self._repeated(i) < HEAVY:
                continue
            for n, store in enumerate(kernel.stores):
                same = kernel.values[store.value].dtype == value.dtype
                own = store.value == i
                if n in taken or not same or not self._swept(n) or not self._covers(store):
                    continue
                if own or stages[store.value] >= last:
                    homes[i] = n
                    taken.add(n)
                    break
        return homes

    def _covers(self, store: Store) -> bool:
        """Whether every point of all loops has an element of its own in the store's array."""
        return all(s != 0 for s in store.at.strides)

    def _users(self, i: int) -> list[int]:
        return [
            j
            for j, v in enumerate(self.kernel.values)
            if (isinstance(v, Apply) and i in v.operands) or (isinstance(v, Reduce) and v.operand == i)
        ]

    def _last_need(self, i: int) -> int:
        """The last sweep in which a value is computed, for itself or for what follows from it."""
        value, stage = self.kernel.values[i], self.kernel.stages[i]
        if isinstance(value, Reduce):
            return stage - 1
        if not self._inner(i):
            return stage
        return max([stage, *(self._last_need(j) for j in self._users(i))])

    def _repeated(self, i: int) -> int:
        """What computing a value again would cost."""
        seen: set[int] = set()
        stack = [i]
        total = 0
        while stack:
            j = stack.pop()
            if j in seen or not self._inner(j):
                continue
            seen.add(j)
            value = self.kernel.values[j]
            total += weight(value)
            if isinstance(value, Apply):
                stack.extend(value.operands)
        return total

    def _body(self, stage: int, needed: Sequence[int], env: Env, lanes: int, mask: Value | None) -> Env:
        """One vector of a sweep: its values and stores."""
        e = self.e
        here = dict(env)
        for i in needed:
            if i in here:
                continue
            if i in self.homes and self.kernel.stages[i] < stage:
                store = self.kernel.stores[self.homes[i]]
                here[i] = memory.load(
                    e,
                    self.bases[len(self.kernel.roots) + self.homes[i]],
                    self.affine(store.at),
                    self._stride(store.at) if lanes > 1 else 1,
                    self.kernel.values[i].dtype,
                    lanes,
                    mask,
                )
                continue
            varies = self.vector_loop in self.kernel.varies[i]
            here[i] = self.emit(i, here, lanes if varies else 1, mask if varies else None)
        for i, n in self.homes.items():
            if self.kernel.stages[i] == stage and self.kernel.stores[n].value != i:
                self._write(n, here[i], lanes, mask)
        self._results(here, self._stores(stage), lanes, mask)
        for n, reduce, store in self._across():
            if self.kernel.stages[reduce.operand] == stage and self._inner(reduce.operand):
                base, stride = self.bases[len(self.kernel.roots) + n], self._stride(store.at) if lanes > 1 else 1
                so_far = memory.load(e, base, self.affine(store.at), stride, reduce.dtype, lanes, mask)
                self._write(n, combine(e, reduce.fold, so_far, self.wide(here[reduce.operand], lanes)), lanes, mask)
        return here

    def _results(self, env: Env, numbers: Iterable[int], lanes: int, mask: Value | None) -> None:
        for n in numbers:
            value = env[self.kernel.stores[n].value]
            self._write(n, value, lanes, mask)

    def _write(self, n: int, value: Value, lanes: int, mask: Value | None) -> None:
        store = self.kernel.stores[n]
        along = lanes > 1 and store.at.strides[self.vector_loop] != 0
        stride = self._stride(store.at) if along else 1
        value = self.wide(value, lanes) if along else self.e.lane(value, 0)
        base = self.bases[len(self.kernel.roots) + n]
        memory.store(self.e, value, base, self.affine(store.at), stride, mask if along else None)

    def _vectors(
        self,
        start: Value,
        stop: Value,
        carried: list[Value],
        body: Callable[[list[Value], int, Value | None], list[Value]],
    ) -> list[Value]:
        """Run the vector loop from `start` to `stop`: whole vectors, then a masked rest."""
        e, lanes, loop = self.e, self.lanes, self.vector_loop
        if lanes == 1:

            def single(index: Value, held: list[Value]) -> list[Value]:
                self.index[loop] = index
                return body(held, 1, None)

            return self.loop(start, stop, 1, carried, single)

        def whole(index: Value, held: list[Value]) -> list[Value]:
            self.index[loop] = index
            return body(held, lanes, None)

        # held values after the loop, and the index that it reached: start + lanes * count
        count = e.binary("sdiv", stop - start, lanes)
        end = start + count * lanes
        held = self.loop(start, end, lanes, carried, whole)
        before, inside, after = e.block, e.fresh("rest"), e.fresh("done")
        more = e.instruction(f"icmp slt {end!r}, {stop.text}", BOOL, 1)
        e.statement(f"br {more!r}, label %{inside}, label %{after}")
        e.label(inside)
        self.index[loop] = end
        left = e.splat(stop - end, lanes)
        mask = memory.lane_numbers(e, lanes) < left
        new = body(held, lanes, mask)
        latch = e.block
        e.statement(f"br label %{after}")
        e.label(after)
        return [
            e.instruction(f"phi {h.type} [ {h.text}, %{before} ], [ {n.text}, %{latch} ]", h.dtype, h.lanes, pure=False)
            for h, n in zip(held, new, strict=True)
        ]

    def _hoisted(self, needed: Sequence[int], env: Env) -> Env:
        """The same values, those that vectors will use in every lane already spread."""
        wanted = {j for i in needed if isinstance(v := self.kernel.values[i], Apply) for j in v.operands}
        return {
            i: self.e.splat(v, self.lanes)
            if i in wanted and v.lanes == 1 and self.lanes > 1 and v.text.startswith("%")
            else v
            for i, v in env.items()
        }

    def _sweep(self, stage: int, env: Env) -> None:
        """One pass over the inner loops, and the results of the reductions that end with it."""
        folds, stores = self._folds(stage), self._stores(stage)
        needed = self._needed(stage)
        across = any(self.kernel.stages[r.operand] == stage and self._inner(r.operand) for _, r, _ in self._across())
        if not folds and not stores and not across:
            return
        reduces = [self.kernel.values[i] for i in folds]
        totals = [identity(self.e, r.fold, wide(r.fold, r.dtype), 1) for r in reduces]  # type: ignore[union-attr]
        rests = [self.e.const(0, t.dtype, 1) for t in totals]
        held = self._nest(stage, 0, needed, env, [*totals, *rests])
        for i, total, rest in zip(folds, held[: len(folds)], held[len(folds) :], strict=True):
            value = self.kernel.values[i]
            env[i] = folded(self.e, value.fold, total, rest, value.dtype)  # type: ignore[union-attr]

    def _nest(self, stage: int, depth: int, needed: Sequence[int], env: Env, carried: list[Value]) -> list[Value]:
        """The inner loops from `depth` on."""
        zero = self.e.const(0, I64, 1)
        loop = self.shape.inner[depth]
        opened = frozenset(self.shape.inner[:depth])
        here = dict(env)
        for i in needed:
            inner = self.kernel.varies[i] & frozenset(self.shape.inner)
            if i not in here and inner <= opened and not (i in self.homes and self.kernel.stages[i] < stage):
                here[i] = self.scalar(i, here)
        if depth == len(self.shape.inner) - 1:
            return self._vector_loop(stage, needed, here, carried)

        def body(index: Value, held: list[Value]) -> list[Value]:
            self.index[loop] = index
            return self._nest(stage, depth + 1, needed, here, held)

        return self.loop(zero, self.extents[loop], 1, carried, body)

    def _vector_loop(self, stage: int, needed: Sequence[int], env: Env, carried: list[Value]) -> list[Value]:
        e, lanes = self.e, self.lanes
        loop = self.vector_loop
        start, stop = e.const(0, I64, 1), self.extents[loop]
        if not self.shape.outer and not self.kernel.reduced:
            start, stop = (e.value(f"%{end}", I64, 1) for end in ("first", "last"))
        env = self._hoisted(needed, env)
        folds = self._folds(stage)
        values = self.kernel.values

        def body(held: list[Value], width: int, mask: Value | None) -> list[Value]:
            here = self._body(stage, needed, env, width, mask)
            result = []
            for i, acc in zip(folds, held, strict=True):
                value = values[i]
                assert isinstance(value, Reduce)
                x = self.wide(here[value.operand], width)
                if mask is not None:
                    x = e.select(mask, x, identity(e, value.fold, value.dtype, width))
                result.append(combine(e, value.fold, acc, x))
            return result

        if not folds:
            self._vectors(start, stop, [], body)
            return carried
        size = self.kernel.sizes[loop]
        width = lanes

        def block(first: Value, last: Value, held: list[Value]) -> list[Value]:
            starts = [identity(e, values[i].fold, values[i].dtype, width) for i in folds]  # type: ignore[union-attr]
            vectors = self._vectors(first, last, starts, body)
            totals, rests = held[: len(folds)], held[len(folds) :]
            new_totals, new_rests = [], []
            for i, vector, total, rest in zip(folds, vectors, totals, rests, strict=True):
                value = values[i]
                assert isinstance(value, Reduce)
                total, rest = added(e, value.fold, vector, total, rest)
                new_totals.append(total)
                new_rests.append(rest)
            return [*new_totals, *new_rests]

        if isinstance(size, int) and size <= BLOCK:
            return block(start, stop, carried)

        def blocks(index: Value, held: list[Value]) -> list[Value]:
            end = index + BLOCK
            end = e.select(end < stop, end, stop)
            return block(index, end, held)

        return self.loop(start, stop, BLOCK, carried, blocks)

    # Tiles

    def _tiles(self, env: Env) -> None:
        """Reductions over loops outside the vector loop: a tile of columns at a time."""
        e, loop = self.e, self.vector_loop
        zero, extent = e.const(0, I64, 1), self.extents[loop]
        rows = {i: self.slot(self.kernel.values[i].dtype, TILE) for i in self._rows()}
        start, stop = zero, extent
        if not self.shape.outer:
            start = e.value("%first", I64, 1) * TILE
            stop = e.value("%last", I64, 1) * TILE
            stop = e.select(stop < extent, stop, extent)

        def tile(first: Value, _: list[Value]) -> list[Value]:
            last = first + TILE
            last = e.select(last < stop, last, stop)
            self._tile(first, last, env, rows)
            return []

        self.loop(start, stop, TILE, [], tile)

    def _rows(self) -> list[int]:
        """Values that a tile keeps for its columns: results of reductions, and what follows from them alone."""
        reduced = self.kernel.reduced
        return [i for i, loops in enumerate(self.kernel.varies) if self.kernel.stages[i] > 0 and not loops & reduced]

    def _tile(self, first: Value, last: Value, env: Env, rows: dict[int, str]) -> None:
        stages = self.kernel.stages
        reduced = tuple(k for k in self.shape.inner if k != self.vector_loop)
        self._tile_after(0, first, last, env, rows)
        for stage in range(max(stages) + 1):
            folds = self._folds(stage)
            if folds:
                self._fill(first, last, folds, rows)
            if folds or self._stores(stage):
                self._tile_nest(stage, 0, reduced, first, last, env, rows)
            self._tile_after(stage + 1, first, last, env, rows)

    def _row_index(self, first: Value) -> Value:
        """Where the current column lies in a tile's rows."""
        return self.index[self.vector_loop] - first

    def _fill(self, first: Value, last: Value, folds: Sequence[int], rows: dict[int, str]) -> None:
        e = self.e

        def body(_: list[Value], lanes: int, mask: Value | None) -> list[Value]:
            for i in folds:
                value = self.kernel.values[i]
                assert isinstance(value, Reduce)
                start = identity(e, value.fold, value.dtype, lanes)
                memory.store(e, start, rows[i], self._row_index(first), 1, mask)
            return []

        self._vectors(first, last, [], body)

    def _tile_nest(
        self,
        stage: int,
        depth: int,
        reduced: tuple[int, ...],
        first: Value,
        last: Value,
        env: Env,
        rows: dict[int, str],
    ) -> None:
        needed = self._needed(stage)
        opened = frozenset(reduced[:depth])
        here = dict(env)
        for i in needed:
            loops = self.kernel.varies[i]
            inner = loops & frozenset(self.shape.inner)
            if i not in here and inner <= opened and self.vector_loop not in loops and i not in self.homes:
                here[i] = self.scalar(i, here)
        zero, loop = self.e.const(0, I64, 1), reduced[depth]
        stop = self.extents[loop]
        if depth + 1 < len(reduced):

            def body(index: Value, _: list[Value]) -> list[Value]:
                self.index[loop] = index
                self._tile_nest(stage, depth + 1, reduced, first, last, here, rows)
                return []

            self.loop(zero, stop, 1, [], body)
            return

        def together(count: int) -> Callable[[Value, list[Value]], list[Value]]:
            def body(index: Value, _: list[Value]) -> list[Value]:
                self._tile_rows(stage, needed, loop, [index + k for k in range(count)], first, last, here, rows)
                return []

            return body

        light = self._folds(stage) and sum(weight(self.kernel.values[i]) for i in needed) <= LIGHT
        if not light:
            self.loop(zero, stop, 1, [], together(1))
            return
        whole = self.e.binary("sdiv", stop, ROWS) * ROWS
        self.loop(zero, whole, ROWS, [], together(ROWS))
        self.loop(whole, stop, 1, [], together(1))

    def _read(self, stage: int, needed: Sequence[int]) -> set[int]:
        """The values that a sweep reads or computes."""
        values = self.kernel.values
        found = {*needed, *(values[i].operand for i in self._folds(stage))}  # type: ignore[union-attr]
        found.update(self.kernel.stores[n].value for n in self._stores(stage))
        return found.union(*(v.operands for i in needed if isinstance(v := values[i], Apply)))

    def _tile_rows(
        self,
        stage: int,
        needed: Sequence[int],
        loop: int,
        indices: Sequence[Value],
        first: Value,
        last: Value,
        env: Env,
        rows: dict[int, str],
    ) -> None:
        """Some rows of a tile: their vectors, folded into the tile's accumulators."""
        e = self.e
        folds = self._folds(stage)
        kept = [i for i in rows if i in self._read(stage, needed)]
        starts = []
        for index in indices:
            self.index[loop] = index
            here = dict(env)
            for i in needed:
                if i not in here and i not in self.homes and self.vector_loop not in self.kernel.varies[i]:
                    here[i] = self.scalar(i, here)
            starts.append(self._hoisted(needed, here))

        def body(_: list[Value], lanes: int, mask: Value | None) -> list[Value]:
            results: list[list[Value]] = [[] for _ in folds]
            for index, known in zip(indices, starts, strict=True):
                self.index[loop] = index
                here = dict(known)
                for i in kept:
                    dtype = self.kernel.values[i].dtype
                    here[i] = memory.load(e, rows[i], self._row_index(first), 1, dtype, lanes, mask)
                here = self._body(stage, [i for i in needed if i not in rows], here, lanes, mask)
                for result, i in zip(results, folds, strict=True):
                    value = self.kernel.values[i]
                    assert isinstance(value, Reduce)
                    result.append(self.wide(here[value.operand], lanes))
            for result, i in zip(results, folds, strict=True):
                value = self.kernel.values[i]
                assert isinstance(value, Reduce)
                while len(result) > 1:
                    pairs = zip(result[::2], result[1::2], strict=True)
                    result = [combine(e, value.fold, a, b) for a, b in pairs]
                acc = memory.load(e, rows[i], self._row_index(first), 1, value.dtype, lanes, mask)
                new = combine(e, value.fold, acc, result[0])
                memory.store(e, new, rows[i], self._row_index(first), 1, mask)
            return []

        self._vectors(first, last, [], body)

    def _tile_after(self, stage: int, first: Value, last: Value, env: Env, rows: dict[int, str]) -> None:
        """What a sweep's results make known for each column, and the stores of it."""
        e = self.e
        wanted = [i for i in rows if self.kernel.stages[i] == stage]
        stores = [
            n for n, s in enumerate(self.kernel.stores) if self.kernel.stages[s.value] == stage and not self._swept(n)
        ]
        computed = [i for i in wanted if not isinstance(self.kernel.values[i], Reduce)]
        if not computed and not stores:
            return

        def body(_: list[Value], lanes: int, mask: Value | None) -> list[Value]:
            here = dict(env)

            def get(i: int) -> None:
                if i in here:
                    return
                value = self.kernel.values[i]
                if i in rows and (isinstance(value, Reduce) or self.kernel.stages[i] < stage):
                    here[i] = memory.load(e, rows[i], self._row_index(first), 1, value.dtype, lanes, mask)
                    return
                if isinstance(value, Apply):
                    for j in value.operands:
                        get(j)
                varies = self.vector_loop in self.kernel.varies[i]
                here[i] = self.emit(i, here, lanes if varies else 1, mask if varies else None)

            for i in computed:
                get(i)
                value = self.wide(here[i], lanes)
                memory.store(e, value, rows[i], self._row_index(first), 1, mask)
            for n in stores:
                get(self.kernel.stores[n].value)
                self._write(n, here[self.kernel.stores[n].value], lanes, mask)
            return []

        self._vectors(first, last, [], body)


def added(e: Emitter, fold: Fold, vector: Value, total: Value, rest: Value) -> tuple[Value, Value]:
    """A vector of partial folds brought into the total; `rest` is what sums have lost by rounding."""
    x = e.convert(across(e, fold, vector), total.dtype)
    if fold != "sum" or total.dtype != F64:
        return combine(e, fold, total, x), rest
    # the error of a sum is a float: D. E. Knuth, The Art of Computer Programming 2, section 4.2.2
    new = total + x
    back = new - total
    error = (total - (new - back)) + (x - back)
    return new, rest + error
