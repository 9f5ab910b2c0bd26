"""The function of a kernel, being written: its arrays and their sizes, its room on the stack, its text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from graphc.backends.numpy.llvm import memory
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.values import I64, DType, Value, llvm_type
from graphc.dims import Size
from graphc.kernels import Kernel


class Frame:
    """A function ``i32 name(ptr arrays, ptr sizes, i64 first, i64 last)`` of a kernel; see `loops.function`."""

    def __init__(self, kernel: Kernel, module: Module) -> None:
        self.kernel = kernel
        self.e = Emitter(module, lanes=1)
        self.slots: list[str] = []
        self.e.label("entry")
        self._bases: dict[int, str] = {}
        # without loops an array is looked up where it is used, so that few addresses are held at a time
        for n in range(len(kernel.roots) + len(kernel.nodes)) if kernel.sizes else ():
            self._base(n)
        self._sources = {root: n for n, root in enumerate(kernel.roots)}
        places = {node: len(kernel.roots) + n for n, node in enumerate(kernel.nodes)}
        self._targets = [places[store.node] for store in kernel.stores]
        self.sizes: dict[Size, Value] = {
            size: self.e.value(self._argument("sizes", n, "i64"), I64, 1) for n, size in enumerate(kernel.symbolic)
        }
        self.extents = [self.size(s) for s in kernel.sizes]
        self._allocations = len(self.e.lines)

    def finished(self, name: str, linkage: str = "") -> str:
        """The text of the function, once its body stands."""
        self.e.statement("ret i32 0")
        lines = self.e.lines
        # stack slots stand in the entry block
        lines[self._allocations : self._allocations] = self.slots
        header = f"define {linkage} i32 @{name}(ptr %arrays, ptr %sizes, i64 %first, i64 %last) nounwind {{"
        return "\n".join([header, *lines, "}"]) + "\n"

    @property
    def context(self) -> str:
        """What the function's array `arrays` has after the results: see `pieces`."""
        return self._argument("arrays", len(self.kernel.roots) + len(self.kernel.nodes), "ptr")

    def _base(self, number: int) -> str:
        """The address of one of the arrays."""
        if number not in self._bases:
            self._bases[number] = self._argument("arrays", number, "ptr")
        return self._bases[number]

    def source(self, root: int) -> str:
        """The address of the array of a root."""
        return self._base(self._sources[root])

    def target(self, store: int) -> str:
        """The address of the array of a store."""
        return self._base(self._targets[store])

    @property
    def addresses(self) -> list[str]:
        """The addresses of all arrays, in order."""
        return [self._base(n) for n in range(len(self.kernel.roots) + len(self.kernel.nodes))]

    def number(self, address: str) -> Value:
        """An address as a number."""
        name = f"%{self.e.fresh('number')}"
        self.e.statement(f"{name} = ptrtoint ptr {address} to i64")
        return self.e.value(name, I64, 1)

    def pointer(self, number: Value) -> str:
        """The address again."""
        name = f"%{self.e.fresh('pointer')}"
        self.e.statement(f"{name} = inttoptr {number!r} to ptr")
        return name

    @contextmanager
    def instead(self, store: int, address: str) -> Iterator[None]:
        """Another array in the place of that of a store, in what is written meanwhile."""
        number, own = self._targets[store], self.target(store)
        self._bases[number] = address
        yield
        self._bases[number] = own

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

    @property
    def zero(self) -> Value:
        return self.e.const(0, I64, 1)

    @property
    def ends(self) -> tuple[Value, Value]:
        """The function's `first` and `last`."""
        return self.e.value("%first", I64, 1), self.e.value("%last", I64, 1)

    def size(self, size: Size) -> Value:
        return self.e.const(size, I64, 1) if isinstance(size, int) else self.sizes[size]
