"""Kernels without loops: equal functions of different numbers are computed together, as the lanes of one vector.

Such kernels come from loops that were unrolled. Putting single numbers into a vector, and taking the results out, costs
a few instructions; an elementary function has dozens. It is superword-level parallelism (S. Larsen and S. Amarasinghe,
"Exploiting superword level parallelism with multimedia instruction sets", 2000), of functions alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from graphc.backends.numpy.llvm.effort import CALLED
from graphc.backends.numpy.llvm.emit import Emitter
from graphc.backends.numpy.llvm.nest import Env, Nest
from graphc.backends.numpy.llvm.values import Value, llvm_type
from graphc.backends.numpy.llvm.work import WEIGHTS, weight
from graphc.kernels import Apply, Fixed, Kernel
from graphc.ops import TABLE

FEWEST: Final = 3  # numbers that are worth a vector


def compute(nest: Nest, env: Env) -> None:
    """All values of a kernel without loops."""
    order = list(together(nest.kernel, nest.register))
    nest.k.calls = (
        sum(weight(nest.kernel.values[numbers[0]]) == WEIGHTS["transcendental"] for numbers in order) > CALLED
    )
    for numbers in order:
        if len(numbers) < FEWEST:
            nest.compute(numbers, env)
        else:
            _as_lanes(nest, numbers, env)


def together(kernel: Kernel, register: int) -> Iterator[tuple[int, ...]]:
    """The numbers of all values in an order in which they can be computed, those together that are lanes of a vector.

    register: bytes of a vector.

    A value's level is how many functions, at most, are computed one after the other before it. Functions of one level
    do not wait for each other, and everything else of it comes before them.
    """
    groups: list[dict[object, list[int]]] = []
    levels: list[int] = []
    keys = [_key(kernel, i) for i in range(len(kernel.values))]
    for i, value in enumerate(kernel.values):
        operands = value.operands if isinstance(value, Apply) else ()
        level = max((levels[j] + (keys[j] is not None) for j in operands), default=0)
        levels.append(level)
        while len(groups) <= level:
            groups.append(defaultdict(list))
        groups[level][keys[i]].append(i)
    for found in groups:
        for i in found.pop(None, ()):
            yield (i,)
        for members in found.values():
            lanes = register // kernel.values[members[0]].dtype.itemsize
            for start in range(0, len(members), lanes):
                part = tuple(members[start : start + lanes])
                yield from [part] if len(part) >= FEWEST else ((i,) for i in part)


def _key(kernel: Kernel, number: int) -> object:
    """What values that may be lanes of one vector have in common; None for those that are better off alone."""
    value = kernel.values[number]
    if not isinstance(value, Apply) or weight(value) < WEIGHTS["div"] or value.dtype.kind != "f":
        return None
    operands = [kernel.values[j] for j in value.operands]
    if any(o.dtype != value.dtype for o in operands) or not isinstance(TABLE[value.op].kernel, str):
        return None
    # a function of a constant may be another one: a power, say
    constants = tuple(o if isinstance(o, Fixed) else None for o in operands)
    return value.op, value.dtype, value.attrs, constants


def _as_lanes(nest: Nest, numbers: Sequence[int], env: Env) -> None:
    """Compute values as lanes of a vector; lanes beyond the last value compute it again."""
    e, kernel = nest.e, nest.kernel
    lanes = 1 << (len(numbers) - 1).bit_length()
    members = [value for n in numbers if isinstance(value := kernel.values[n], Apply)]
    given = []
    for operands in zip(*(member.operands for member in members), strict=True):
        shared = kernel.values[operands[0]]
        if isinstance(shared, Fixed):
            given.append(e.const(shared.number, shared.dtype, lanes))
        else:
            given.append(_joined(e, [env[j] for j in operands], lanes))
    result = nest.applied(members[0], given, lanes)
    for lane, n in enumerate(numbers):
        env[n] = e.lane(result, lane)


def _joined(e: Emitter, values: Sequence[Value], lanes: int) -> Value:
    """Single numbers as a vector, the last one again and again to its end."""
    dtype = values[0].dtype
    text = "poison"
    for lane in range(lanes):
        value = values[min(lane, len(values) - 1)]
        made = f"insertelement {llvm_type(dtype, lanes)} {text}, {value!r}, i32 {lane}"
        text = e.instruction(made, dtype, lanes).text
    return e.value(text, dtype, lanes)
