"""Kernels without folds: every thread takes some neighbours, and jumps on by the width of the grid."""

from __future__ import annotations

from typing import Final

from graphc.backends.cupy.body import Body, Settings
from graphc.backends.cupy.packs import Packed, Packing
from graphc.backends.numpy.llvm.values import F64
from graphc.kernels import Kernel

THREADS: Final = 256
RESIDENT: Final = 4  # blocks on a processor at the same time, at least


def source(kernel: Kernel, settings: Settings, packing: Packing, whole: bool) -> str:
    """The text of `kernel`; `whole` if the last loop is known to be a multiple of the packing's width."""
    body = Body(kernel, settings)
    e = body.e
    loops = tuple(range(len(kernel.sizes)))
    stores = range(len(kernel.stores))
    wanted = [s.value for s in kernel.stores]
    width = packing.width
    e.statement(f"const idx count = {body.product(loops)};")
    e.statement("const idx step = (idx)blockDim.x * gridDim.x;")
    e.statement("const idx first = (idx)blockIdx.x * blockDim.x + threadIdx.x;")
    with e.scope(f"for (idx t = first; t < count / {width}; t += step)"):
        index = body.unravel(loops, "t", "i", width)
        Packed(body, packing).run(body.closure(wanted, ()), stores, {}, index)
    if not whole:
        # only with a single loop: the last few elements
        with e.scope(f"for (idx t = count / {width} * {width} + first; t < count; t += step)"):
            index = body.unravel(loops, "t", "i")
            Packed(body, Packing()).run(body.closure(wanted, ()), stores, {}, index)
    # arithmetic in double precision takes long: there have to be others to do meanwhile
    long = width > 1 and any(v.dtype == F64 for v in kernel.values)
    return body.text("kernel", THREADS, RESIDENT if long else 1)
