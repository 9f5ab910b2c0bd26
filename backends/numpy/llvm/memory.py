"""Reading and writing arrays from kernels: adjacent, strided or repeated elements, some of them masked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.values import BOOL, ELEMENTS, I64, DType, Value, llvm_type

BYTE: Final = np.dtype(np.uint8)
LINE: Final = 64  # bytes of a line of the cache


def stored(dtype: DType) -> DType:
    """How a dtype lies in memory: booleans are bytes."""
    return BYTE if dtype == BOOL else dtype


def element(e: Emitter, base: str, index: Value, dtype: DType) -> str:
    """A pointer to an element of an array."""
    if index.text == "0":
        return base
    name = f"%{e.fresh('p')}"
    e.statement(f"{name} = getelementptr {ELEMENTS[stored(dtype)]}, ptr {base}, i64 {index.text}")
    return name


def lane_numbers(e: Emitter, lanes: int, dtype: DType = I64) -> Value:
    """0, 1, 2, ... by lane."""
    text = "<" + ", ".join(f"{ELEMENTS[dtype]} {k}" for k in range(lanes)) + ">"
    return e.value(text, dtype, lanes)


@dataclass(frozen=True, slots=True)
class Tail:
    """The first lanes, `left` of them. `whole` is a scalar, whether these are all; None where they never are.

    Reads and writes of a whole vector have a way of their own, so the mask is made where it is needed. It is made from
    integers of dtype `counts`, which should be as wide as the elements. `reverse`: these are the last lanes instead.
    """

    left: Value
    lanes: int
    counts: DType
    whole: Value | None = None
    reverse: bool = False

    @classmethod
    def of(cls, left: Value, lanes: int, counts: DType) -> Tail:
        """`left` lanes, or all where there are more to come."""
        return cls(left, lanes, counts, left >= lanes)

    def mask(self) -> Value:
        e = self.left.emitter
        lanes = lane_numbers(e, self.lanes, self.counts)
        if self.reverse:
            return lanes >= e.splat(e.convert(self.lanes - self.at_most(), self.counts), self.lanes)
        return lanes < e.splat(e.convert(self.at_most(), self.counts), self.lanes)

    def of_elements(self, each: int, before: int, lanes: int) -> Tail:
        """Of a vector of adjacent elements, `each` to a lane of this one: which of its lanes those that are left fill.

        before: how many elements come before it, those that stay out at the end included.
        """
        return Tail(self.left * each - before, lanes, self.counts, self.whole)

    def at_most(self) -> Value:
        """The number of lanes."""
        if self.whole is None:
            return self.left
        e = self.left.emitter
        return e.select(self.whole, e.const(self.lanes, I64, 1), self.left)


Mask: TypeAlias = Value | Tail


def backwards(e: Emitter, vector: Value) -> Value:
    """The lanes of a vector, the last one first."""
    return e.shuffle(vector, None, range(vector.lanes)[::-1])


def _reversed(mask: Mask | None) -> Mask | None:
    """The mask for lanes in the opposite order."""
    if mask is None:
        return None
    return replace(mask, reverse=not mask.reverse) if isinstance(mask, Tail) else backwards(mask.emitter, mask)


def masked(e: Emitter, mask: Mask, value: Value, other: Value) -> Value:
    """The value where the mask is true, the other one elsewhere."""
    if isinstance(mask, Value):
        return e.select(mask, value, other)
    found = mask.mask
    if mask.whole is None:
        return e.select(found(), value, other)
    result: Value = e.either(mask.whole, lambda: value, lambda: e.select(found(), value, other))
    return result


def load(
    e: Emitter, base: str, index: Value, stride: Value | int, dtype: DType, lanes: int, mask: Mask | None
) -> Value:
    """Elements `index`, `index + stride`, ... of an array; 0 where the mask, if there is one, is false."""
    kept = stored(dtype)
    if lanes == 1:
        assert not isinstance(mask, Tail), "of vectors alone"
        pointer = element(e, base, index, dtype)
        return e.load(pointer, dtype, 1) if mask is None else _guarded(e, pointer, dtype, mask)
    if stride == -1:
        ascending = load(e, base, index - (lanes - 1), 1, kept, lanes, _reversed(mask))
        result = backwards(e, ascending)
    elif isinstance(mask, Tail):
        some = mask.mask

        def partly() -> Value:
            return load(e, base, index, stride, kept, lanes, some())

        if mask.whole is None:
            result = partly()
        else:
            result = e.either(mask.whole, lambda: load(e, base, index, stride, kept, lanes, None), partly)
    elif mask is not None and not _masks(e, kept, stride):
        call = f"call {llvm_type(kept, lanes)} @{_reader(e, kept, lanes)}({_chosen(e, base, index, stride, mask)})"
        result = e.instruction(call, kept, lanes, pure=False)
    elif stride != 1:
        result = _gathered(e, base, index, stride, kept, e.const(True, BOOL, lanes) if mask is None else mask)
    elif mask is None:
        result = e.load(element(e, base, index, dtype), kept, lanes)
    else:
        kind = llvm_type(kept, lanes)
        name = f"llvm.masked.load.v{lanes}{_suffix(kept)}.p0"
        e.module.define(name, f"declare {kind} @{name}(ptr, i32, <{lanes} x i1>, {kind})")
        pointer = element(e, base, index, dtype)
        result = e.instruction(
            f"call {kind} @{name}(ptr {pointer}, i32 {kept.itemsize}, {mask!r}, {kind} zeroinitializer)",
            kept,
            lanes,
            pure=False,
        )
    return result.differs(0) if dtype == BOOL else result


def _gathered(e: Emitter, base: str, index: Value, stride: Value | int, dtype: DType, mask: Value) -> Value:
    """Elements that lie apart, by one instruction where there is one."""
    lanes = mask.lanes
    kind = llvm_type(dtype, lanes)
    places = _pointers(e, base, index, stride, dtype, lanes)
    name = f"llvm.masked.gather.v{lanes}{_suffix(dtype)}.v{lanes}p0"
    e.module.define(name, f"declare {kind} @{name}(<{lanes} x ptr>, i32, <{lanes} x i1>, {kind})")
    return e.instruction(
        f"call {kind} @{name}(<{lanes} x ptr> {places}, i32 {dtype.itemsize}, {mask!r}, {kind} zeroinitializer)",
        dtype,
        lanes,
        pure=False,
    )


def _guarded(e: Emitter, pointer: str, dtype: DType, mask: Value) -> Value:
    """One element, read only if the mask holds."""
    kept = stored(dtype)
    before, inside, after = e.block, e.fresh("read"), e.fresh("then")
    e.statement(f"br {mask!r}, label %{inside}, label %{after}")
    e.label(inside)
    found = e.load(pointer, kept, 1)
    e.statement(f"br label %{after}")
    e.label(after)
    zero = e.const(0, kept, 1)
    kind = ELEMENTS[kept]
    result = e.instruction(f"phi {kind} [ {zero.text}, %{before} ], [ {found.text}, %{inside} ]", kept, 1, pure=False)
    return result.differs(0) if dtype == BOOL else result


def store(
    e: Emitter,
    value: Value,
    base: str,
    index: Value,
    stride: Value | int,
    mask: Mask | None,
    streams: Value | None = None,
) -> None:
    """Write elements `index`, `index + stride`, ... of an array, where the mask, if there is one, is true.

    streams: a scalar, whether vectors are written past the cache; if they are, all lie within lines or fill some.
    """
    if value.dtype == BOOL:
        value = e.convert(value, BYTE)
    dtype, lanes = value.dtype, value.lanes
    if lanes == 1 or (stride == 1 and mask is None):
        pointer = element(e, base, index, dtype)
        if streams is None or lanes == 1:
            e.store(value, pointer)
        else:
            e.either(streams, lambda: e.stream(value, pointer, LINE), lambda: e.store(value, pointer))
        return
    if stride == -1:
        store(e, backwards(e, value), base, index - (lanes - 1), 1, _reversed(mask))
        return
    kind = llvm_type(dtype, lanes)
    if isinstance(mask, Tail):
        some = mask.mask

        def partly() -> None:
            store(e, value, base, index, stride, some())

        if mask.whole is None:
            partly()
        else:
            e.either(mask.whole, lambda: store(e, value, base, index, stride, None, streams), partly)
    elif mask is not None and not _masks(e, dtype, stride):
        e.statement(f"call void @{_writer(e, dtype, lanes)}({value!r}, {_chosen(e, base, index, stride, mask)})")
    elif stride == 1:
        pointer = element(e, base, index, dtype)
        name = f"llvm.masked.store.v{lanes}{_suffix(dtype)}.p0"
        e.module.define(name, f"declare void @{name}({kind}, ptr, i32, <{lanes} x i1>)")
        e.statement(f"call void @{name}({value!r}, ptr {pointer}, i32 {dtype.itemsize}, {mask!r})")
    else:
        mask = e.const(True, BOOL, lanes) if mask is None else mask
        pointers = _pointers(e, base, index, stride, dtype, lanes)
        name = f"llvm.masked.scatter.v{lanes}{_suffix(dtype)}.v{lanes}p0"
        e.module.define(name, f"declare void @{name}({kind}, <{lanes} x ptr>, i32, <{lanes} x i1>)")
        e.statement(f"call void @{name}({value!r}, <{lanes} x ptr> {pointers}, i32 {dtype.itemsize}, {mask!r})")


def _masks(e: Emitter, dtype: DType, stride: Value | int) -> bool:
    """Whether the processor has masks for such elements. Without, LLVM would write a branch for each lane."""
    features = e.module.features
    return 0 < features.masked <= dtype.itemsize and (stride == 1 or (features.mask_registers and dtype.itemsize >= 4))


def _chosen(e: Emitter, base: str, index: Value, stride: Value | int, mask: Value) -> str:
    """What `_lane_by_lane` is told of the elements: the first of them, how far they lie apart, and the mask."""
    flags = e.instruction(f"zext {mask!r} to {llvm_type(BYTE, mask.lanes)}", BYTE, mask.lanes)
    step = e.const(stride, I64, 1) if isinstance(stride, int) else stride
    return f"ptr {base}, {index!r}, {step!r}, {flags!r}"


def _reader(e: Emitter, dtype: DType, lanes: int) -> str:
    """The function of the module that reads elements under a mask."""
    name, kind = f"graphc.read.{lanes}.{dtype.name}", llvm_type(dtype, lanes)
    before = f"  store {kind} zeroinitializer, ptr %lanes"
    each = f"  %x = load {ELEMENTS[dtype]}, ptr %there\n  store {ELEMENTS[dtype]} %x, ptr %here"
    after = f"  %result = load {kind}, ptr %lanes\n  ret {kind} %result"
    e.module.define(name, _lane_by_lane(kind, name, "", dtype, lanes, (before, each, after)))
    return name


def _writer(e: Emitter, dtype: DType, lanes: int) -> str:
    """The function of the module that writes elements under a mask."""
    name, kind = f"graphc.write.{lanes}.{dtype.name}", llvm_type(dtype, lanes)
    before = f"  store {kind} %value, ptr %lanes"
    each = f"  %x = load {ELEMENTS[dtype]}, ptr %here\n  store {ELEMENTS[dtype]} %x, ptr %there"
    e.module.define(name, _lane_by_lane("void", name, f"{kind} %value, ", dtype, lanes, (before, each, "  ret void")))
    return name


def _lane_by_lane(result: str, name: str, first: str, dtype: DType, lanes: int, parts: tuple[str, str, str]) -> str:
    """A function that goes over the lanes for which a mask has a byte that is not 0.

    `parts` is what it does with all lanes before, with each one, `%here` on the stack and `%there` in the array, and
    with all after.
    """
    before, each, after = parts
    kind, flags = ELEMENTS[dtype], llvm_type(BYTE, lanes)
    parameters = f"{first}ptr %base, i64 %index, i64 %stride, {flags} %mask"
    return f"""define internal {result} @{name}({parameters}) noinline nounwind {{
entry:
  %lanes = alloca {llvm_type(dtype, lanes)}, align 64
  %flags = alloca {flags}, align 64
  %start = getelementptr {kind}, ptr %base, i64 %index
  store {flags} %mask, ptr %flags
{before}
  br label %head
head:
  %k = phi i64 [ 0, %entry ], [ %following, %next ]
  %flag_at = getelementptr i8, ptr %flags, i64 %k
  %flag = load i8, ptr %flag_at
  %wanted = icmp ne i8 %flag, 0
  br i1 %wanted, label %take, label %next
take:
  %apart = mul i64 %k, %stride
  %there = getelementptr {kind}, ptr %start, i64 %apart
  %here = getelementptr {kind}, ptr %lanes, i64 %k
{each}
  br label %next
next:
  %following = add i64 %k, 1
  %more = icmp ult i64 %following, {lanes}
  br i1 %more, label %head, label %done
done:
{after}
}}
"""


def _pointers(e: Emitter, base: str, index: Value, stride: Value | int, dtype: DType, lanes: int) -> str:
    """A vector of pointers to every stride-th element from `index`."""
    step = e.const(stride, I64, 1) if isinstance(stride, int) else stride
    places = e.splat(index, lanes) + lane_numbers(e, lanes) * e.splat(step, lanes)
    name = f"%{e.fresh('p')}"
    e.statement(f"{name} = getelementptr {ELEMENTS[dtype]}, ptr {base}, {places!r}")
    return name


def _suffix(dtype: DType) -> str:
    return f"{'i' if ELEMENTS[dtype].startswith('i') else 'f'}{8 * dtype.itemsize}"
