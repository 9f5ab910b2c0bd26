"""How many vectors go side by side through a kernel whose operations wait for each other.

A processor starts two operations on vectors in a cycle, and each takes several cycles. In the meantime it needs others
that wait for nothing: those of the next vectors. It finds them by itself as far as it looks ahead. Where the operations
of few vectors are all it sees, only their order helps: each operation for several vectors, then the next one.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Final, NamedTuple

from graphc.backends.numpy.llvm import interleave
from graphc.backends.numpy.llvm.machine import Machine
from graphc.kernels import HALF, Apply, Fixed, Kernel, Load, Position, Reduce
from graphc.ops import TABLE

# Cycles until a result is there: the longest of Zen 4, Golden Cove and Neoverse V2, about, of which their makers'
# optimisation guides tell; `other` is a mean.
CYCLES: Final = {"add": 4, "mul": 4, "other": 2, "div": 14}
READ: Final = 7  # from the first cache
STARTED: Final = 2  # operations in a cycle
OCCUPIED: Final = {"add": 1, "mul": 1, "other": 1, "div": 16}  # of these starts
AHEAD: Final = 100  # operations that a processor holds until their operands are there, about
MOST: Final = 8  # vectors: enough for sums and products that wait for one another
BODY: Final = 1024  # instructions: more take LLVM too long, and the processor has to decode them again each time
VALUES: Final = 0.75  # of the registers; the others are for results on their way, and constants
MASKS: Final = 6  # of eight registers of masks


class Demand(NamedTuple):
    """What a kernel asks of a processor for one vector.

    path: cycles from reading to writing, if nothing has to wait for a unit.
    operations, starts: how many there are, and how many starts they occupy.
    values, masks: how many are held at once at most.
    constants: those that hold for all vectors.
    """

    path: int
    operations: int
    starts: int
    values: int
    masks: int
    constants: int

    @property
    def vectors(self) -> float:
        """How many have to be on their way at once for all starts to be used."""
        return STARTED * self.path / self.starts


def side_by_side(kernel: Kernel, machine: Machine) -> int:
    """A power of two; 1 where the order is no matter, or nothing is known about it."""
    return _count(demand(kernel, machine), machine)


def instructions(kernel: Kernel, machine: Machine) -> int:
    """How many there are, about, for vectors side by side; 0 if there is one after the other."""
    found = demand(kernel, machine)
    count = _count(found, machine)
    return 0 if found is None or count == 1 else count * found.operations


def _count(found: Demand | None, machine: Machine) -> int:
    if found is None or found.vectors * found.operations <= AHEAD:
        return 1
    count = 1
    while count < MOST and count < found.vectors:
        count *= 2
    while count > 1 and (count * found.operations > BODY or not _fits(found, count, machine)):
        count //= 2
    return count


def _fits(found: Demand, count: int, machine: Machine) -> bool:
    """Whether LLVM leaves so many vectors side by side."""
    registers = machine.registers
    if count * found.values > VALUES * registers or count * found.masks > MASKS:
        return False
    # LLVM keeps constants in registers as long as there are some for all of them. If there are, but none for the values
    # beside them, it takes one vector after the other, unless it holds no more of each than it has read.
    crowded = found.constants < registers < count * found.values + found.constants
    return not crowded or found.values == 1


def demand(kernel: Kernel, machine: Machine) -> Demand | None:
    """Of sums, products, quotients, choices and comparisons of adjacent elements; None for any other kernel."""
    if not kernel.sizes or interleave.loads(kernel) or interleave.stores(kernel):
        return None
    last = len(kernel.sizes) - 1
    if any(store.at.strides[last] != 1 for store in kernel.stores):
        return None
    ready: list[int] = []  # after how many cycles each value is
    fixed: set[object] = set()
    operations = starts = 0
    for i, value in enumerate(kernel.values):
        varies = last in kernel.varies[i]
        match value:
            case Reduce() | Position():
                return None
            case Fixed(dtype=dtype, number=number):
                fixed.add((dtype, repr(number)))
                ready.append(0)
                continue
            case Load(at=at, within=within):
                if within or at.strides[last] not in (0, 1):
                    return None
                ready.append(READ)
            case Apply() if varies:
                kinds = _kinds(value)
                if kinds is None:
                    return None
                operations += len(kinds)
                starts += sum(OCCUPIED[kind] for kind in kinds)
                ready.append(max(ready[j] for j in value.operands) + sum(CYCLES[kind] for kind in kinds))
            case _:
                ready.append(0)
        if value.dtype.kind != "b" and (value.dtype == HALF or value.dtype.itemsize < 4):
            return None
        if not varies:
            fixed.add(i)
    if not operations:
        return None
    values, masks = _held(kernel, machine.features_used.mask_registers)
    return Demand(max(ready), operations, starts, values, masks, len(fixed))


def _kinds(value: Apply) -> tuple[str, ...] | None:
    """The operations that one stands for, each waiting for the one before; None if that is not known."""
    if value.op == "integer_pow":
        size = abs(exponent := dict(value.attrs)["exponent"])
        products = max(size.bit_length() + size.bit_count() - 2, 0)
        kinds = ("mul",) * products + ("div",) * (exponent < 0)
    else:
        work = TABLE[value.op].work
        if not isinstance(work, str) or work not in CYCLES:
            return None
        kinds = (work,)
    # integers are divided by many instructions
    return None if "div" in kinds and value.dtype.kind != "f" else kinds


def _held(kernel: Kernel, mask_registers: bool) -> tuple[int, int]:
    """How many values and how many masks are held at once, at most, if arrays are read when they are needed."""
    last = len(kernel.sizes) - 1
    first: dict[int, int] = {}
    until: dict[int, int] = {}
    for i, value in enumerate(kernel.values):
        if isinstance(value, Apply) and last in kernel.varies[i]:
            first[i] = i
            for j in value.operands:
                first.setdefault(j, i)
                until[j] = i
    until.update((store.value, len(kernel.values)) for store in kernel.stores)
    found = []
    for masks in (False, True):
        changes = [0] * (len(kernel.values) + 1)
        for j in first.keys() & until.keys():
            if last in kernel.varies[j] and masks == (mask_registers and kernel.values[j].dtype.kind == "b"):
                changes[first[j]] += 1
                changes[until[j]] -= 1
        found.append(max(accumulate(changes)))
    return found[0], found[1]
