"""The arena of a call: on the stack if it is small, else a block of memory that calls hand to one another."""

from __future__ import annotations

from typing import Final

from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.state import CLEARER
from graphc.backends.numpy.llvm.values import BOOL, Value
from graphc.dims import Size

ON_STACK: Final = 1 << 14  # bytes of an arena that needs no block of its own
KEPT: Final = 1 << 25  # bytes of an arena that are kept for the next call
HEADER: Final = 64  # bytes before an arena: its size

PRELUDE: Final = """declare ptr @PyMem_RawMalloc(i64)
declare void @PyMem_RawFree(ptr)
"""


class Lease:
    """Writes how a call comes by its arena, `%arena`, and what becomes of it afterwards.

    Around that, in the same function, `%block` has room for a pointer, `%state` points to the state, `%slot_at` to its
    word for the block that is kept, and `%no_memory` is where to go for want of memory. Each call takes the word's
    block, so no two have one at once.
    """

    def __init__(self, e: Emitter, nbytes: Size) -> None:
        self.e = e
        self.nbytes = nbytes

    @property
    def on_stack(self) -> bool:
        """Whether the arena needs no block of its own."""
        return isinstance(self.nbytes, int) and self.nbytes <= ON_STACK

    @property
    def slots(self) -> list[str]:
        """The arena itself, if it is on the stack."""
        return [f"  %arena = alloca i8, i64 {self.nbytes or 1}, align 64"] if self.on_stack else []

    def take(self, nbytes: Value) -> None:
        """An arena: on the stack, the one kept from an earlier call, or a new one."""
        e = self.e
        if self.on_stack:
            return
        need = nbytes.text
        e.statement("%kept = atomicrmw xchg ptr %slot_at, i64 0 acquire")
        e.statement("%kept_block = inttoptr i64 %kept to ptr")
        e.statement("%nothing = icmp eq i64 %kept, 0")
        e.statement("br i1 %nothing, label %fresh_arena, label %kept_arena")
        e.label("kept_arena")
        e.statement("%capacity = load i64, ptr %kept_block")
        e.statement(f"%enough = icmp sge i64 %capacity, {need}")
        e.statement("br i1 %enough, label %leased, label %too_small")
        e.label("too_small")
        e.statement("call void @PyMem_RawFree(ptr %kept_block)")
        e.statement("br label %fresh_arena")
        e.label("fresh_arena")
        e.statement(f"%room = add i64 {need}, {2 * HEADER}")
        e.statement("%new_block = call ptr @PyMem_RawMalloc(i64 %room)")
        e.statement("%no_room = icmp eq ptr %new_block, null")
        e.statement("br i1 %no_room, label %lacks_room, label %has_room")
        # memory that is kept for results may serve
        e.label("lacks_room")
        e.statement(f"%clearer_at = getelementptr ptr, ptr %state, i64 {CLEARER}")
        e.statement("%clearer = load ptr, ptr %clearer_at")
        e.statement("%keeps_none = icmp eq ptr %clearer, null")
        e.statement("br i1 %keeps_none, label %no_memory, label %try_again")
        e.label("try_again")
        e.statement("call void %clearer()")
        e.statement("%second_block = call ptr @PyMem_RawMalloc(i64 %room)")
        e.statement("%no_room_again = icmp eq ptr %second_block, null")
        e.statement("br i1 %no_room_again, label %no_memory, label %has_room")
        e.label("has_room")
        e.statement("%made_block = phi ptr [ %new_block, %fresh_arena ], [ %second_block, %try_again ]")
        e.statement(f"store i64 {need}, ptr %made_block")
        e.statement("br label %leased")
        e.label("leased")
        e.statement("%leased_block = phi ptr [ %kept_block, %kept_arena ], [ %made_block, %has_room ]")
        e.statement("store ptr %leased_block, ptr %block")
        # the next address after the header that is aligned
        e.statement("%leased_at = ptrtoint ptr %leased_block to i64")
        e.statement(f"%after_header = add i64 %leased_at, {HEADER + 63}")
        e.statement("%aligned = and i64 %after_header, -64")
        e.statement("%arena = inttoptr i64 %aligned to ptr")

    def give_back(self, stem: str) -> None:
        """Keep the arena for the next call, unless it is large, or another call has left one meanwhile."""
        e = self.e
        if self.on_stack:
            return
        keep, drop, there, done = (f"{stem}_{what}" for what in ("keep", "drop", "there", "done"))
        block, capacity, number = (f"%{e.fresh(what)}" for what in ("block", "capacity", "number"))
        e.statement(f"{block} = load ptr, ptr %block")
        e.statement(f"{capacity} = load i64, ptr {block}")
        e.statement(f"{number} = ptrtoint ptr {block} to i64")
        small = e.instruction(f"icmp sle i64 {capacity}, {KEPT}", BOOL, 1)
        e.statement(f"br {small!r}, label %{keep}, label %{drop}")
        e.label(keep)
        old = f"%{e.fresh('old')}"
        e.statement(f"{old} = atomicrmw xchg ptr %slot_at, i64 {number} acq_rel")
        other = f"%{e.fresh('other')}"
        e.statement(f"{other} = inttoptr i64 {old} to ptr")
        empty = e.instruction(f"icmp eq i64 {old}, 0", BOOL, 1)
        e.statement(f"br {empty!r}, label %{done}, label %{there}")
        e.label(there)
        e.statement(f"call void @PyMem_RawFree(ptr {other})")
        e.statement(f"br label %{done}")
        e.label(drop)
        e.statement(f"call void @PyMem_RawFree(ptr {block})")
        e.statement(f"br label %{done}")
        e.label(done)
