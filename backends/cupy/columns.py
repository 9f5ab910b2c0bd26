"""Kernels that fold down columns: the last loop is not reduced, and neighbouring threads take neighbouring columns.

The threads of a column, one below the other in a block, share its elements; a column may be shared by several blocks
too, which then leave accumulators for `finish`. One sweep only: a kernel that needs more is taken apart before.
"""

from __future__ import annotations

from typing import Final

from graphc.backends.cupy.body import Body, Env, Settings
from graphc.backends.cupy.prelude import acc_bytes
from graphc.backends.cupy.rows import folds, operand, swept
from graphc.kernels import Kernel, Reduce

WIDTH: Final = 32  # columns of a block


def source(kernel: Kernel, settings: Settings, height: int, split: bool) -> str:
    """The text of `kernel`; `height` threads share a column, a power of two."""
    found = folds(kernel, across=False)
    plain = Body(kernel, settings)
    parts = [(f"part{number}", f"{plain.fold(i)}::Acc") for number, i in enumerate(found)] if split else []
    body = Body(kernel, settings, parts, ["chunk"])
    e = body.e
    kept = tuple(k for k in range(len(kernel.sizes)) if k not in kernel.reduced)
    down = tuple(sorted(kernel.reduced))
    e.statement(f"const idx columns = {body.product(kept)};")
    e.statement(f"const idx depth = {body.product(down)};")
    widest = max((acc_bytes(v.fold, v.dtype) for v in kernel.values if isinstance(v, Reduce)), default=1)
    e.statement(f"ROOM({height * WIDTH * max(1, -(-widest // 8))});")
    e.statement("const idx start = (idx)blockIdx.y * chunk;")
    e.statement("const idx stop = start + chunk < depth ? start + chunk : depth;")
    with e.scope(f"for (idx left = blockIdx.x * (idx){WIDTH}; left < columns; left += gridDim.x * (idx){WIDTH})"):
        # threads beyond the last column compute it once more, and write the same
        e.statement("const idx column = left + (idx)threadIdx.x < columns ? left + (idx)threadIdx.x : columns - 1;")
        index = body.unravel(kept, "column", "i")
        env: Env = {}
        stores = [n for n in range(len(kernel.stores)) if swept(kernel, n)]
        wanted = [operand(kernel, i) for i in found]
        wanted += [kernel.stores[n].value for n in stores]
        needed = body.closure(wanted, ())
        for i in needed:
            if not kernel.varies[i] & kernel.reduced:
                env[i] = body.value(i, env, index)
        for i in found:
            e.statement(f"{body.fold(i)}::Acc acc{i} = {body.fold(i)}::start();")
        e.statement("#pragma unroll 4")
        with e.scope(f"for (idx at = start + (idx)threadIdx.y; at < stop; at += {height})"):
            here = dict(env)
            place = {**index, **body.unravel(down, "at", "i")}
            for i in needed:
                if i not in here:
                    here[i] = body.value(i, here, place)
            for n in stores:
                body.store(n, here, place)
            for i in found:
                x = here[operand(kernel, i)]
                e.statement(f"acc{i} = {body.fold(i)}::take(acc{i}, {x.text});")
        for i in found:
            gather(body, i, height)
        with e.scope("if (threadIdx.y == 0)"):
            if split:
                for number, i in enumerate(found):
                    e.statement(f"part{number}[column * (idx)gridDim.y + (idx)blockIdx.y] = acc{i};")
            else:
                for i in found:
                    env[i] = body.folded(i, f"acc{i}")
                finish_stores(body, env, index)
    return body.text("kernel", WIDTH * height)


def gather(body: Body, number: int, height: int) -> None:
    """Join the accumulators of threads one below the other, from the top down; the topmost thread has the result."""
    e, fold = body.e, body.fold(number)
    if height == 1:
        return
    with e.scope(""):
        e.statement(f"{fold}::Acc* const kept = ({fold}::Acc*)room;")
        e.statement("__syncthreads();")
        e.statement(f"kept[threadIdx.y * {WIDTH} + threadIdx.x] = acc{number};")
        e.statement("__syncthreads();")
        with e.scope("if (threadIdx.y == 0)"), e.scope(f"for (int k = 1; k < {height}; ++k)"):
            e.statement(f"acc{number} = {fold}::join(acc{number}, kept[k * {WIDTH} + threadIdx.x]);")


def finish_stores(body: Body, env: Env, index: dict[int, str]) -> None:
    """Compute and store what follows from the results of folds."""
    kernel = body.kernel
    stores = [n for n in range(len(kernel.stores)) if not swept(kernel, n)]
    body.compute([kernel.stores[n].value for n in stores], env, index)
    for n in stores:
        body.store(n, env, index)
