"""Adjacent elements: which arrays a kernel reads and writes by 16 bytes, and the statements that do so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graphc.backends.cupy.body import Body, Env, Index, in_memory
from graphc.backends.numpy.llvm.values import BOOL
from graphc.dims import Size
from graphc.kernels import Affine, Kernel, Load

BYTES: Final = 16  # the widest access
MOST: Final = 8  # elements of a thread


@dataclass(frozen=True, slots=True)
class Packing:
    """How many neighbours along the last loop a thread takes, and for which arrays by one access.

    loads: numbers of values; stores: numbers of stores.
    """

    width: int = 1
    loads: frozenset[int] = frozenset()
    stores: frozenset[int] = frozenset()


def packing(
    kernel: Kernel,
    number: Callable[[Size], int],
    aligned: Mapping[int, int],
    apart: frozenset[int] = frozenset(),
    tail: bool = False,
) -> Packing:
    """The widest packing that sizes and addresses allow.

    number: sizes as numbers. aligned: for each array's node, the largest power of two, up to 16, that divides its
    address.
    apart: stores that are not made along the last loop. tail: whether the last loop need not be a multiple.
    """
    last = len(kernel.sizes) - 1
    if last < 0:
        return Packing()
    places: list[tuple[bool, int, int, Affine, int]] = []
    for i, value in enumerate(kernel.values):
        if isinstance(value, Load) and number(value.at.strides[last]) == 1 and not value.within:
            places.append((True, i, value.dtype.itemsize, value.at, aligned[value.root]))
    for n, store in enumerate(kernel.stores):
        if n not in apart and number(store.at.strides[last]) == 1:
            places.append((False, n, kernel.values[store.value].dtype.itemsize, store.at, aligned[store.node]))
    extent = number(kernel.sizes[last])
    if not places:
        return Packing()
    # numbers in registers count too, if only by half
    widest = max(*(size for _, _, size, _, _ in places), max(v.dtype.itemsize for v in kernel.values) // 2, 1)
    width = min(MOST, BYTES // widest)
    while width > 1 and not tail and extent % width:
        width //= 2
    if width == 1:
        return Packing()

    def fits(place: tuple[bool, int, int, Affine, int]) -> bool:
        _, _, itemsize, at, address = place
        steps = [number(at.offset), *(number(s) for s in at.strides[:last])]
        return address % (itemsize * width) == 0 and all(step % width == 0 for step in steps)

    fitting = [place for place in places if fits(place)]
    if not fitting:
        return Packing()
    return Packing(
        width,
        frozenset(n for is_load, n, *_ in fitting if is_load),
        frozenset(n for is_load, n, *_ in fitting if not is_load),
    )


class Packed:
    """The statements around the neighbours of one thread: loads before, the loop over them, stores after."""

    def __init__(self, body: Body, packing: Packing) -> None:
        self.body = body
        self.packing = packing
        self.last = len(body.kernel.sizes) - 1

    def run(
        self,
        numbers: Sequence[int],
        stores: Iterable[int],
        env: Env,
        index: Index,
        each: Callable[[Env, str], None] | None = None,
        known: Callable[[str], Env] | None = None,
    ) -> None:
        """Compute values for each neighbour, write stores, and let `each` write more.

        index: of the first neighbour. known: values that are kept for each, given the number of the neighbour.
        """
        body, e, width = self.body, self.body.e, self.packing.width
        kernel = body.kernel
        last = self.last
        # what does not vary along the last loop is the same for all
        outside = [i for i in numbers if last not in kernel.varies[i]]
        for i in outside:
            env[i] = body.value(i, env, index)
        inside = [i for i in numbers if i not in env]
        if width == 1:
            here = dict(env)
            if known is not None:
                here.update(known("0"))
            for i in inside:
                here[i] = body.value(i, here, index)
            for n in stores:
                body.store(n, here, index)
            if each is not None:
                each(here, "0")
            return
        loads: dict[int, str] = {}
        for i in inside:
            value = kernel.values[i]
            if isinstance(value, Load) and i in self.packing.loads:
                loads[i] = e.fresh("p")
                kind = f"Pack<{in_memory(value.dtype)}, {width}>"
                place = f"{body.reads[value.root]} + ({body.affine(value.at, index)})"
                e.statement(f"const {kind} {loads[i]} = *(const {kind}*)({place});")
        results: dict[int, str] = {}
        for n in stores:
            if n in self.packing.stores:
                results[n] = e.fresh("p")
                dtype = kernel.values[kernel.stores[n].value].dtype
                e.statement(f"Pack<{in_memory(dtype)}, {width}> {results[n]};")
        e.statement("#pragma unroll")
        j = e.fresh("j")
        with e.scope(f"for (int {j} = 0; {j} < {width}; ++{j})"):
            here = dict(env)
            if known is not None:
                here.update(known(j))
            at = {**index, last: f"({index[last]} + {j})"}
            for i in inside:
                if i in loads:
                    dtype = kernel.values[i].dtype
                    text = f"{loads[i]}.v[{j}]" + (" != 0" if dtype == BOOL else "")
                    here[i] = e.instruction(text, dtype, pure=False)
                else:
                    here[i] = body.value(i, here, at)
            for n in stores:
                if n in results:
                    e.statement(f"{results[n]}.v[{j}] = {here[kernel.stores[n].value].text};")
                else:
                    body.store(n, here, at)
            if each is not None:
                each(here, j)
        for n, name in results.items():
            store = kernel.stores[n]
            kind = f"Pack<{in_memory(kernel.values[store.value].dtype)}, {width}>"
            e.statement(f"*({kind}*)({body.writes[n]} + ({body.affine(store.at, index)})) = {name};")
