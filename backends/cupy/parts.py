"""Taking a kernel apart: one that needs several sweeps, as kernels of one sweep each with arrays between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from graphc.backends.cupy.rows import swept
from graphc.dims import Size
from graphc.kernels import Affine, Apply, Kernel, Load, Reduce, Store, Value, simplified


@dataclass(frozen=True, slots=True)
class Part:
    """A kernel of a sequence; nodes below 0 are arrays that live only between its parts, with these sizes."""

    kernel: Kernel
    temporaries: tuple[tuple[int, tuple[Size, ...]], ...] = ()


def taken_apart(kernel: Kernel) -> list[Part]:
    """Kernels of one sweep: the folds of each stage, folds over the other loops, and what uses the results.

    Law: run one after the other they store what the kernel stores.
    """
    kept = tuple(k for k in range(len(kernel.sizes)) if k not in kernel.reduced)
    loops = len(kernel.sizes)
    shape = tuple(kernel.sizes[k] for k in kept)
    place = Affine.row_major(shape, [Affine.index(k, loops) for k in kept], loops)
    values: list[Value] = list(kernel.values)
    parts: list[Part] = []
    stages = kernel.stages
    last = max((stages[i] for i, v in enumerate(kernel.values) if isinstance(v, Reduce) and not v.across), default=0)
    across = [i for i, v in enumerate(kernel.values) if isinstance(v, Reduce) and v.across]
    rest = [(n, s) for n, s in enumerate(kernel.stores) if s.value not in across]
    everywhere = tuple(s for n, s in rest if swept(kernel, n))
    single = tuple(s for n, s in rest if not swept(kernel, n))

    def fold(kept_values: Iterable[int], stores: Iterable[Store]) -> None:
        """A part that folds, and keeps these values, which are the same all along the reduced loops."""
        temporary = tuple(Store(i, -1 - i, place) for i in kept_values)
        part = pruned(Kernel(kernel.sizes, tuple(values), (*temporary, *stores), kernel.reduced))
        parts.append(Part(_fewer_loops(part, kernel), tuple((s.node, shape) for s in temporary)))
        for s in temporary:
            values[s.value] = Load(kernel.values[s.value].dtype, s.node, place)

    for stage in range(1, last + 1):
        found = [
            i for i, v in enumerate(kernel.values) if isinstance(v, Reduce) and not v.across and stages[i] == stage
        ]
        if stage == last and not across:
            # what follows from the results is computed along with them
            fold(_hoisted(kernel, values, everywhere), single)
            single = ()
        elif found:
            fold(found, ())
    for i, value in enumerate(kernel.values):
        stores = tuple(s for s in kernel.stores if s.value == i)
        if isinstance(value, Reduce) and value.across and stores:
            turned = [*values]
            turned[i] = replace(value, across=False)
            part = pruned(Kernel(kernel.sizes, tuple(turned), stores, frozenset(kept)))
            parts.append(Part(_fewer_loops(part, kernel)))
    hoisted = _hoisted(kernel, values, everywhere) if kernel.reduced else []
    if hoisted:
        sizes = tuple(1 if k in kernel.reduced else size for k, size in enumerate(kernel.sizes))
        stores = tuple(Store(i, -1 - i, place) for i in hoisted)
        part = pruned(Kernel(sizes, tuple(values), stores))
        parts.append(Part(_fewer_loops(part, kernel), tuple((-1 - i, shape) for i in hoisted)))
        for i in hoisted:
            values[i] = Load(kernel.values[i].dtype, -1 - i, place)
    if everywhere:
        parts.append(Part(_fewer_loops(pruned(Kernel(kernel.sizes, tuple(values), everywhere)), kernel)))
    if single:
        # once for each point of the other loops, also where the reduced ones are empty
        sizes = tuple(1 if k in kernel.reduced else size for k, size in enumerate(kernel.sizes))
        parts.append(Part(_fewer_loops(pruned(Kernel(sizes, tuple(values), single)), kernel)))
    return parts


def _hoisted(kernel: Kernel, values: list[Value], stores: tuple[Store, ...]) -> list[int]:
    """Results of folds, and what is computed from them and the same all along the reduced loops, if used there."""
    fold = [isinstance(v, Reduce) for v in kernel.values]
    follows: list[bool] = []  # from a fold
    for i, value in enumerate(kernel.values):
        follows.append(fold[i] or (isinstance(value, Apply) and any(follows[j] for j in value.operands)))
    found: set[int] = set()
    seen: set[int] = set()
    stack = [s.value for s in stores]
    while stack:
        i = stack.pop()
        value = values[i]
        if i in seen or not isinstance(value, Apply | Reduce):
            continue
        seen.add(i)
        if isinstance(value, Reduce) or (follows[i] and not kernel.varies[i] & kernel.reduced):
            found.add(i)
        else:
            stack.extend(value.operands)
    return sorted(found)


def _fewer_loops(part: Kernel, whole: Kernel) -> Kernel:
    """The same kernel over fewer loops, unless that takes sizes of which a call of the whole kernel is not told."""
    fewer = simplified(part)
    return fewer if set(fewer.symbolic) <= set(whole.symbolic) else part


def pruned(kernel: Kernel) -> Kernel:
    """Without the values that no store needs."""
    needed: set[int] = set()
    stack = [s.value for s in kernel.stores]
    while stack:
        i = stack.pop()
        if i in needed:
            continue
        needed.add(i)
        match kernel.values[i]:
            case Apply(operands=operands):
                stack.extend(operands)
            case Reduce(operand=operand):
                stack.append(operand)
    number = {old: new for new, old in enumerate(sorted(needed))}
    values: list[Value] = []
    for i in sorted(needed):
        value = kernel.values[i]
        match value:
            case Apply(operands=operands):
                value = replace(value, operands=tuple(number[j] for j in operands))
            case Reduce(operand=operand):
                value = replace(value, operand=number[operand])
        values.append(value)
    stores = tuple(Store(number[s.value], s.node, s.at) for s in kernel.stores)
    return Kernel(kernel.sizes, tuple(values), stores, kernel.reduced)
