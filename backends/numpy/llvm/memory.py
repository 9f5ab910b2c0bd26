"""Reading and writing arrays from kernels: adjacent, strided or repeated elements, some of them masked."""

from __future__ import annotations

import numpy as np

from graphc.backends.numpy.llvm.emit import BOOL, ELEMENTS, I64, DType, Emitter, Value, llvm_type

BYTE = np.dtype(np.uint8)


def stored(dtype: DType) -> DType:
    """How a dtype lies in memory: booleans are bytes."""
    return BYTE if dtype == BOOL else dtype


def element(e: Emitter, base: str, index: Value, dtype: DType) -> str:
    """A pointer to an element of an array."""
    name = f"%{e.fresh('p')}"
    e.statement(f"{name} = getelementptr {ELEMENTS[stored(dtype)]}, ptr {base}, i64 {index.text}")
    return name


def lane_numbers(e: Emitter, lanes: int) -> Value:
    """0, 1, 2, ... by lane."""
    text = "<" + ", ".join(f"i64 {k}" for k in range(lanes)) + ">"
    return e.value(text, I64, lanes)


def load(
    e: Emitter, base: str, index: Value, stride: Value | int, dtype: DType, lanes: int, mask: Value | None
) -> Value:
    """Elements `index`, `index + stride`, ... of an array; 0 where the mask, if there is one, is false."""
    kept = stored(dtype)
    if stride == 1:
        pointer = element(e, base, index, dtype)
        if mask is None:
            return e.load(pointer, dtype, lanes)
        if lanes == 1:
            return _guarded(e, pointer, dtype, mask)
        kind = llvm_type(kept, lanes)
        name = f"llvm.masked.load.v{lanes}{_suffix(kept)}.p0"
        e.module.define(name, f"declare {kind} @{name}(ptr, i32, <{lanes} x i1>, {kind})")
        result = e.instruction(
            f"call {kind} @{name}(ptr {pointer}, i32 {kept.itemsize}, {mask!r}, {kind} zeroinitializer)",
            kept,
            lanes,
            pure=False,
        )
    elif lanes == 1:
        pointer = element(e, base, index, dtype)
        return e.load(pointer, dtype, 1) if mask is None else _guarded(e, pointer, dtype, mask)
    else:
        pointers = _pointers(e, base, index, stride, kept, lanes)
        kind = llvm_type(kept, lanes)
        name = f"llvm.masked.gather.v{lanes}{_suffix(kept)}.v{lanes}p0"
        e.module.define(name, f"declare {kind} @{name}(<{lanes} x ptr>, i32, <{lanes} x i1>, {kind})")
        shown = repr(e.const(True, BOOL, lanes)) if mask is None else repr(mask)
        result = e.instruction(
            f"call {kind} @{name}(<{lanes} x ptr> {pointers}, i32 {kept.itemsize}, {shown}, {kind} zeroinitializer)",
            kept,
            lanes,
            pure=False,
        )
    return result.differs(0) if dtype == BOOL else result


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


def store(e: Emitter, value: Value, base: str, index: Value, stride: Value | int, mask: Value | None) -> None:
    """Write elements `index`, `index + stride`, ... of an array, where the mask, if there is one, is true."""
    if value.dtype == BOOL:
        value = e.convert(value, BYTE)
    dtype, lanes = value.dtype, value.lanes
    if lanes == 1 or (stride == 1 and mask is None):
        e.store(value, element(e, base, index, dtype))
        return
    mask = e.const(True, BOOL, lanes) if mask is None else mask
    kind = llvm_type(dtype, lanes)
    if stride == 1:
        pointer = element(e, base, index, dtype)
        name = f"llvm.masked.store.v{lanes}{_suffix(dtype)}.p0"
        e.module.define(name, f"declare void @{name}({kind}, ptr, i32, <{lanes} x i1>)")
        e.statement(f"call void @{name}({value!r}, ptr {pointer}, i32 {dtype.itemsize}, {mask!r})")
        return
    pointers = _pointers(e, base, index, stride, dtype, lanes)
    name = f"llvm.masked.scatter.v{lanes}{_suffix(dtype)}.v{lanes}p0"
    e.module.define(name, f"declare void @{name}({kind}, <{lanes} x ptr>, i32, <{lanes} x i1>)")
    e.statement(f"call void @{name}({value!r}, <{lanes} x ptr> {pointers}, i32 {dtype.itemsize}, {mask!r})")


def _pointers(e: Emitter, base: str, index: Value, stride: Value | int, dtype: DType, lanes: int) -> str:
    """A vector of pointers to every stride-th element from `index`."""
    step = e.const(stride, I64, 1) if isinstance(stride, int) else stride
    places = e.splat(index, lanes) + lane_numbers(e, lanes) * e.splat(step, lanes)
    name = f"%{e.fresh('p')}"
    e.statement(f"{name} = getelementptr {ELEMENTS[dtype]}, ptr {base}, {places!r}")
    return name


def _suffix(dtype: DType) -> str:
    return f"f{8 * dtype.itemsize}" if dtype.kind == "f" else f"i{8 * dtype.itemsize}"
