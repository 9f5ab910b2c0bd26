"""Memory of large arrays, kept for the next one of the same size.

The operating system hands out large blocks page by page, each cleared when it is first touched, and takes them back
when they are freed: for a function that fills one large array at each call, that takes longer than the function. So
large results take their memory from a small store, and give it back. To NumPy they are ordinary arrays that own their
memory: each knows the handler (NEP 49) that frees it. NumPy itself would ask the handler that is set for a context of
the interpreter; setting one and the other again takes longer than all else that is done for an array, so arrays are
made around memory here, and told of their handler afterwards.

The store keeps at most `LIMIT` bytes in `BLOCKS` blocks. The oldest goes when another comes, and when a size is wanted
that it does not have. All go when there is no other memory left.

Blocks begin with a line of the cache, so that their lines can be written past it (see `streaming`). Before each lie its
size and where the memory begins that the C library gave.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from graphc.backends.numpy.arrays import LARGE
from graphc.backends.numpy.llvm import code, entry, externals
from graphc.backends.numpy.llvm.machine import BRIEF, host
from graphc.backends.numpy.llvm.memory import LINE
from graphc.environment import whole

BLOCKS: Final = 64
LIMIT: Final = 1 << 30
HUGE_PAGES: Final = 14  # MADV_HUGEPAGE of Linux: fewer, larger pages
PAGE: Final = 4096
DEFAULT: Final = 0x0001 | 0x0100 | 0x0400  # NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | NPY_ARRAY_WRITEABLE
HEADER: Final = 16  # bytes before a block, in which its size and the start of its memory lie

NAMES: Final = ("graphc_malloc", "graphc_calloc", "graphc_realloc", "graphc_free")
STATE: Final = ("graphc_kept", "graphc_limit", "graphc_new", "graphc_type", "graphc_handler")
MAKER: Final = "graphc_array"
CLEARER: Final = "graphc_clear"
TRACED: Final = 389047  # as NumPy's arrays are known to tracemalloc: `numpy.lib.tracemalloc_domain`


def source(platform: str) -> str:
    """The handler's functions, in LLVM's language, for an operating system as `sys.platform` names it.

    NumPy calls them while it holds the lock of the interpreter.

    `allocate` and `deallocate` are the C library's functions for memory that begins with a line of the cache. To
    tracemalloc that is none of Python's: what NumPy tells it of an array would be counted twice.

    Blocks lie in a ring: `next` is where the next freed one goes, which is where the oldest lies.
    """
    advise = platform == "linux"
    fresh = f"""
  %up = add i64 %address, {PAGE - 1}
  %first = and i64 %up, -{PAGE}
  %lost = sub i64 %first, %address
  %length = sub i64 %room, %lost
  %page = inttoptr i64 %first to ptr
  %ignored = call i32 @madvise(ptr %page, i64 %length, i32 {HUGE_PAGES})
"""
    own = "ptr %type, i32 %rank, ptr %axes, i32 %kind, ptr null, ptr null, i32 0, i32 0, ptr null"
    arguments = f"ptr %type, i32 %rank, ptr %axes, i32 %kind, ptr null, ptr %memory, i32 0, i32 {DEFAULT}, ptr null"
    return f"""
%block = type {{ ptr, i64 }}
@blocks = internal global [{BLOCKS} x %block] zeroinitializer
@next = internal global i64 0
@graphc_kept = global i64 0
@graphc_limit = global i64 0
@graphc_new = global i64 0
@graphc_type = global i64 0
@graphc_handler = global i64 0
declare void @Py_IncRef(ptr)
declare i32 @PyTraceMalloc_Track(i32, i64, i64)
declare i32 @PyTraceMalloc_Untrack(i32, i64)
declare ptr @PyMem_RawMalloc(i64)
declare void @PyMem_RawFree(ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare {{ i64, i1 }} @llvm.umul.with.overflow.i64(i64, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
{"declare i32 @madvise(ptr, i64, i32)" if advise else ""}

define internal ptr @allocate(i64 %size) {{
entry:
  %room = add i64 %size, {HEADER + LINE}
  %wraps = icmp ult i64 %room, %size
  br i1 %wraps, label %failed, label %try
try:
  %new = call ptr @PyMem_RawMalloc(i64 %room)
  %none = icmp eq ptr %new, null
  br i1 %none, label %failed, label %advise
failed:
  ret ptr null
advise:
  %address = ptrtoint ptr %new to i64
  %untraced = call i32 @PyTraceMalloc_Untrack(i32 0, i64 %address)
  %large = icmp uge i64 %size, {LARGE}
  br i1 %large, label %fresh, label %begin
fresh:{fresh if advise else ""}
  br label %begin
begin:
  %beyond = add i64 %address, {HEADER + LINE - 1}
  %start = and i64 %beyond, -{LINE}
  %memory = inttoptr i64 %start to ptr
  %size_at = getelementptr i8, ptr %memory, i64 -{HEADER}
  store i64 %size, ptr %size_at
  %new_at = getelementptr i8, ptr %memory, i64 -8
  store ptr %new, ptr %new_at
  ret ptr %memory
}}

define internal void @deallocate(ptr %memory) {{
entry:
  %none = icmp eq ptr %memory, null
  br i1 %none, label %end, label %some
some:
  %at = getelementptr i8, ptr %memory, i64 -8
  %given = load ptr, ptr %at
  call void @PyMem_RawFree(ptr %given)
  ret void
end:
  ret void
}}

define internal ptr @place(i64 %number) {{
  %index = urem i64 %number, {BLOCKS}
  %place = getelementptr [{BLOCKS} x %block], ptr @blocks, i64 0, i64 %index
  ret ptr %place
}}

define internal void @release(i64 %number) {{
  %place = call ptr @place(i64 %number)
  %memory = load ptr, ptr %place
  %at = getelementptr %block, ptr %place, i64 0, i32 1
  %size = load i64, ptr %at
  store ptr null, ptr %place
  store i64 0, ptr %at
  %kept = load i64, ptr @graphc_kept
  %less = sub i64 %kept, %size
  store i64 %less, ptr @graphc_kept
  call void @deallocate(ptr %memory)
  ret void
}}

; the oldest blocks go, as many as it takes for no more than `most` bytes to stay
define internal void @shrink(i64 %most) {{
entry:
  br label %head
head:
  %k = phi i64 [ 0, %entry ], [ %following, %body ]
  %kept = load i64, ptr @graphc_kept
  %enough = icmp ule i64 %kept, %most
  %done = icmp eq i64 %k, {BLOCKS}
  %stop = or i1 %enough, %done
  br i1 %stop, label %end, label %body
body:
  %start = load i64, ptr @next
  %number = add i64 %start, %k
  call void @release(i64 %number)
  %following = add i64 %k, 1
  br label %head
end:
  ret void
}}

define void @{CLEARER}() {{
entry:
  call void @shrink(i64 0)
  ret void
}}

define ptr @graphc_malloc(ptr %context, i64 %size) {{
entry:
  %small = icmp ult i64 %size, {LARGE}
  br i1 %small, label %plain, label %head
plain:
  %other = call ptr @allocate(i64 %size)
  ret ptr %other
head:
  %k = phi i64 [ 1, %entry ], [ %following, %body ]
  %done = icmp ugt i64 %k, {BLOCKS}
  br i1 %done, label %miss, label %body
body:
  %start = load i64, ptr @next
  %moved = add i64 %start, {BLOCKS}
  %number = sub i64 %moved, %k
  %place = call ptr @place(i64 %number)
  %at = getelementptr %block, ptr %place, i64 0, i32 1
  %has = load i64, ptr %at
  %same = icmp eq i64 %has, %size
  %following = add i64 %k, 1
  br i1 %same, label %hit, label %head
hit:
  %memory = load ptr, ptr %place
  store ptr null, ptr %place
  store i64 0, ptr %at
  %kept = load i64, ptr @graphc_kept
  %less = sub i64 %kept, %size
  store i64 %less, ptr @graphc_kept
  ret ptr %memory
miss:
  %held = load i64, ptr @graphc_kept
  %none = icmp eq i64 %held, 0
  %fewer = sub i64 %held, 1
  %most = select i1 %none, i64 0, i64 %fewer
  call void @shrink(i64 %most)
  %new = call ptr @allocate(i64 %size)
  %lacks = icmp eq ptr %new, null
  br i1 %lacks, label %clear, label %made
made:
  ret ptr %new
clear:
  call void @{CLEARER}()
  %second = call ptr @allocate(i64 %size)
  ret ptr %second
}}

define ptr @graphc_calloc(ptr %context, i64 %count, i64 %width) {{
entry:
  %product = call {{ i64, i1 }} @llvm.umul.with.overflow.i64(i64 %count, i64 %width)
  %overflows = extractvalue {{ i64, i1 }} %product, 1
  br i1 %overflows, label %failed, label %try
try:
  %size = extractvalue {{ i64, i1 }} %product, 0
  %new = call ptr @graphc_malloc(ptr %context, i64 %size)
  %none = icmp eq ptr %new, null
  br i1 %none, label %failed, label %clear
failed:
  ret ptr null
clear:
  call void @llvm.memset.p0.i64(ptr %new, i8 0, i64 %size, i1 false)
  ret ptr %new
}}

define ptr @graphc_realloc(ptr %context, ptr %old, i64 %size) {{
entry:
  %new = call ptr @allocate(i64 %size)
  %failed = icmp eq ptr %new, null
  %first = icmp eq ptr %old, null
  %done = or i1 %failed, %first
  br i1 %done, label %end, label %move
move:
  %size_at = getelementptr i8, ptr %old, i64 -{HEADER}
  %held = load i64, ptr %size_at
  %shrinks = icmp ult i64 %size, %held
  %both = select i1 %shrinks, i64 %size, i64 %held
  call void @llvm.memcpy.p0.p0.i64(ptr %new, ptr %old, i64 %both, i1 false)
  call void @deallocate(ptr %old)
  br label %end
end:
  ret ptr %new
}}

define void @graphc_free(ptr %context, ptr %memory, i64 %size) {{
entry:
  %limit = load i64, ptr @graphc_limit
  %small = icmp ult i64 %size, {LARGE}
  %large = icmp ugt i64 %size, %limit
  %plain = or i1 %small, %large
  br i1 %plain, label %drop, label %keep
drop:
  call void @deallocate(ptr %memory)
  ret void
keep:
  %number = load i64, ptr @next
  call void @release(i64 %number)
  %room = sub i64 %limit, %size
  call void @shrink(i64 %room)
  %place = call ptr @place(i64 %number)
  store ptr %memory, ptr %place
  %at = getelementptr %block, ptr %place, i64 0, i32 1
  store i64 %size, ptr %at
  %kept = load i64, ptr @graphc_kept
  %more = add i64 %kept, %size
  store i64 %more, ptr @graphc_kept
  %beyond = add i64 %number, 1
  store i64 %beyond, ptr @next
  ret void
}}

; a new array of `size` bytes, which owns them; where there is no memory, NumPy is asked for it, and says so
define ptr @{MAKER}(i32 %rank, ptr %axes, i32 %kind, i64 %size) {{
entry:
  %new = load ptr, ptr @graphc_new
  %type = load ptr, ptr @graphc_type
  %memory = call ptr @graphc_malloc(ptr null, i64 %size)
  %none = icmp eq ptr %memory, null
  br i1 %none, label %lacking, label %found
lacking:
  %own = call ptr %new({own})
  ret ptr %own
found:
  %array = call ptr %new({arguments})
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %back, label %made
back:
  call void @graphc_free(ptr null, ptr %memory, i64 %size)
  ret ptr null
made:
  %flags_at = getelementptr i8, ptr %array, i64 {entry.FLAGS}
  %flags = load i32, ptr %flags_at
  %owning = or i32 %flags, {entry.OWNDATA}
  store i32 %owning, ptr %flags_at
  %handler = load ptr, ptr @graphc_handler
  %handler_at = getelementptr i8, ptr %array, i64 {entry.HANDLER}
  store ptr %handler, ptr %handler_at
  call void @Py_IncRef(ptr %handler)
  %address = ptrtoint ptr %memory to i64
  %traced = call i32 @PyTraceMalloc_Track(i32 {TRACED}, i64 %address, i64 %size)
  ret ptr %array
}}
"""


class _Allocator(ctypes.Structure):
    _fields_ = (("context", ctypes.c_void_p), *((name, ctypes.c_void_p) for name in NAMES))


class _Handler(ctypes.Structure):
    """PyDataMem_Handler."""

    _fields_ = (("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("allocator", _Allocator))


class Store:
    """The kept blocks, and how to make arrays of them.

    maker: the address of a function ``PyObject *(int rank, npy_intp *axes, int kind, npy_intp nbytes)`` that does so.
    clearer: the address of a function ``void (void)`` that gives all kept blocks back to the system.
    """

    def __init__(self, limit: int) -> None:
        library = code.library(
            (code.Part(source(sys.platform), BRIEF, shared=True),), host(), (*NAMES, *STATE, MAKER, CLEARER)
        )
        # arrays may outlive everything else in the process, and are freed by this code
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(library.tracker))
        self._state = {name: ctypes.c_int64.from_address(library.addresses[name]) for name in STATE}
        self._state["graphc_limit"].value = limit
        self._handler = _Handler(b"graphc", 1, _Allocator(None, *(library.addresses[name] for name in NAMES)))
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        # NumPy compares the name's text; the capsule and what it points to must stay as well
        self._capsule = new(ctypes.addressof(self._handler), b"mem_handler", None)
        for kept in (self._capsule, self._handler):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
        self._state["graphc_new"].value = externals.address("new_array")
        self._state["graphc_type"].value = id(np.ndarray)
        self._state["graphc_handler"].value = id(self._capsule)
        self.maker: int = library.addresses[MAKER]
        self.clearer: int = library.addresses[CLEARER]
        kinds = ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
        self._make = ctypes.PYFUNCTYPE(ctypes.py_object, *kinds)(self.maker)

    @property
    def kept(self) -> int:
        """Bytes in the store."""
        return self._state["graphc_kept"].value

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """An array with whatever values its memory holds."""
        axes = (ctypes.c_int64 * len(shape))(*shape)
        made: np.ndarray[Any, Any] = self._make(len(shape), axes, dtype.num, math.prod(shape) * dtype.itemsize)
        return made


@lru_cache(maxsize=1)
def store() -> Store | None:
    """The process's store; None where it is switched off, or the interpreter runs without a lock."""
    wanted = whole("GRAPHC_KEPT_BYTES", "says how many bytes of dropped results are kept", "a whole number, 0 for none")
    limit = LIMIT if wanted is None else min(wanted, sys.maxsize)
    return Store(limit) if limit > 0 and entry.SUPPORTED else None


def empty(shape: Sequence[int], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """As `numpy.empty`; a large array gets memory of an earlier one."""
    if math.prod(shape) * dtype.itemsize < LARGE:
        return np.empty(shape, dtype)
    kept = store()
    return np.empty(shape, dtype) if kept is None else kept.empty(shape, dtype)
