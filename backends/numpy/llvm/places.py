"""Where things lie in the function of a program, and the little that all of its instructions are written with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from graphc.backends.numpy.llvm.arena import Arena
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.instructions import Place, Program
from graphc.backends.numpy.llvm.sizes import Sizes
from graphc.backends.numpy.llvm.values import ELEMENTS, I64, DType, Value
from graphc.backends.numpy.llvm.work import Work
from graphc.dims import Size

PRELUDE: Final = """
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""


class Places:
    """Writes addresses and numbers. What they refer to stands around them, in the same function.

    That is `%argument0`, ... and `%result0`, ... for the elements of arguments and results, and `%arena`; and what is
    found here once all instructions are written:

    constants: names of the constants' elements, by their numbers.
    callees: names of the functions that are called by address, by theirs.
    """

    def __init__(self, program: Program, arena: Arena, e: Emitter, sizes: Sizes) -> None:
        self.program = program
        self.arena = arena
        self.e = e
        self.sizes = sizes
        self.owners = {r.layout.storage: k for k, r in enumerate(program.results) if r.owned}
        self.constants: dict[int, str] = {}
        self.callees: dict[str, str] = {}

    def pointer(self, place: Place) -> str:
        """The address of a place."""
        number, offset = place.storage, place.offset
        storage = self.program.storages[number]
        host = self.arena.within.get(number, number)
        if storage.origin == "argument":
            base = f"%argument{storage.index}"
        elif storage.origin == "constant":
            base = self.constants.setdefault(storage.index, f"%constant{storage.index}")
        elif host in self.owners:
            base = f"%result{self.owners[host]}"
        else:
            base, offset = "%arena", offset + self.arena.offsets[number]
        return base if offset == 0 else self.moved(base, self.sizes.value(offset))

    def moved(self, base: str, nbytes: Value) -> str:
        name = f"%{self.e.fresh('p')}"
        self.e.statement(f"{name} = getelementptr i8, ptr {base}, i64 {nbytes.text}")
        return name

    def move(self, source: str, target: str, nbytes: int) -> None:
        """Copy a number."""
        value = f"%{self.e.fresh('moved')}"
        self.e.statement(f"{value} = load i{8 * nbytes}, ptr {source}, align 1")
        self.e.statement(f"store i{8 * nbytes} {value}, ptr {target}, align 1")

    def callee(self, name: str) -> str:
        """The function of a name, called by its address."""
        return self.callees.setdefault(name, f"%callee_{name}")

    def loaded(self, pointer: str, kind: DType, index: Value) -> Value:
        """An integer of an array, as 64 bits."""
        e = self.e
        place, found = f"%{e.fresh('p')}", f"%{e.fresh('position')}"
        e.statement(f"{place} = getelementptr {ELEMENTS[kind]}, ptr {pointer}, {index!r}")
        e.statement(f"{found} = load {ELEMENTS[kind]}, ptr {place}, align {kind.itemsize}")
        return e.convert(e.value(found, kind, 1), I64)

    def work(self, work: Work) -> Value:
        """About how many additions something costs, in floating point."""
        return self.sizes.times(work.each, map(self.sizes.value, work.sizes))

    def copy(self, source: str, target: str, nbytes: Size) -> None:
        if nbytes in (1, 2, 4, 8):
            assert isinstance(nbytes, int)
            self.move(source, target, nbytes)
            return
        size = self.sizes.value(nbytes)
        self.e.statement(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, {size!r}, i1 false)")

    def clear(self, target: str, nbytes: Value) -> None:
        self.e.statement(f"call void @llvm.memset.p0.i64(ptr {target}, i8 0, {nbytes!r}, i1 false)")

    def count(self, size: Size, body: Callable[[Value], None]) -> None:
        """``for index in range(size)``."""
        self.e.span(self.e.const(0, I64, 1), self.sizes.value(size), 1, body)

    def when(self, condition: Value, body: Callable[[], None]) -> None:
        e = self.e
        inside, after = e.fresh("inside"), e.fresh("after")
        e.statement(f"br {condition!r}, label %{inside}, label %{after}")
        e.label(inside)
        body()
        e.statement(f"br label %{after}")
        e.label(after)
