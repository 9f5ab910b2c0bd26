"""The second pass of a fold that several blocks share: their accumulators joined, in the order of the blocks."""

from __future__ import annotations

from graphc.backends.cupy.body import Body, Env, Settings
from graphc.backends.cupy.columns import finish_stores, gather, having_results
from graphc.backends.cupy.prelude import acc_bytes
from graphc.kernels import Kernel, Reduce


def rows_source(kernel: Kernel, settings: Settings, numbers: list[int], loops: tuple[int, ...], threads: int) -> str:
    """The text of `kernel` where accumulators of one result lie side by side: `part[result * blocks + block]`.

    numbers: the folds. loops: those over which results run. A warp's or a block's `threads` take each result.
    """
    body, env = _begin(kernel, settings, numbers, loops)
    e = body.e
    rows = finish_rows(threads)
    e.statement(f"ROOM({max(1, threads // 32) * _words(kernel, numbers)});")
    with e.scope(f"for (idx top = blockIdx.x * (idx){rows}; top < results; top += gridDim.x * (idx){rows})"):
        e.statement("const idx at = top + (idx)threadIdx.y < results ? top + (idx)threadIdx.y : results - 1;")
        index = body.unravel(loops, "at", "i")
        for number, i in enumerate(numbers):
            fold = body.fold(i)
            e.statement(f"{fold}::Acc acc{i} = {fold}::start();")
            with e.scope(f"for (idx b = threadIdx.x; b < blocks; b += {threads})"):
                e.statement(f"acc{i} = {fold}::join(acc{i}, part{number}[at * blocks + b]);")
            env[i] = body.folded(i, f"over_row<{fold}, {threads}>(acc{i}, room)")
        with e.scope("if (threadIdx.x == 0)"):
            _store(body, env, index, numbers)
    return body.text("kernel", threads * rows)


def finish_rows(threads: int) -> int:
    """How many results a block of `rows_source` joins."""
    return max(1, 128 // threads) if threads <= 32 else 1


def columns_source(
    kernel: Kernel, settings: Settings, numbers: list[int], loops: tuple[int, ...], height: int, side: int
) -> str:
    """The same where accumulators of one block lie side by side: `part[block * results + result]`.

    A block has `side` results, and `height` threads for each.
    """
    body, env = _begin(kernel, settings, numbers, loops)
    e = body.e
    e.statement(f"ROOM({height * side * _words(kernel, numbers)});")
    with e.scope(f"for (idx left = blockIdx.x * (idx){side}; left < results; left += gridDim.x * (idx){side})"):
        e.statement("const idx at = left + (idx)threadIdx.x < results ? left + (idx)threadIdx.x : results - 1;")
        index = body.unravel(loops, "at", "i")
        for number, i in enumerate(numbers):
            fold = body.fold(i)
            e.statement(f"{fold}::Acc acc{i}[1] = {{{fold}::start()}};")
            with e.scope(f"for (idx b = threadIdx.y; b < blocks; b += {height})"):
                e.statement(f"acc{i}[0] = {fold}::join(acc{i}[0], part{number}[b * results + at]);")
        for i in numbers:
            gather(body, i, height, side=side)
        with having_results(body, height, 1):
            for i in numbers:
                env[i] = body.folded(i, f"acc{i}[q]")
            _store(body, env, index, numbers)
    return body.text("kernel", side * height)


def _begin(kernel: Kernel, settings: Settings, numbers: list[int], loops: tuple[int, ...]) -> tuple[Body, Env]:
    plain = Body(kernel, settings)
    parts = [(f"part{number}", f"const {plain.fold(i)}::Acc") for number, i in enumerate(numbers)]
    body = Body(kernel, settings, parts, ["blocks"])
    body.e.statement(f"const idx results = {body.product(loops)};")
    return body, {}


def _words(kernel: Kernel, numbers: list[int]) -> int:
    """The doubles that the widest accumulator takes."""
    found = [v for i in numbers if isinstance(v := kernel.values[i], Reduce)]
    return max((-(-acc_bytes(v.fold, v.dtype) // 8) for v in found), default=1)


def _store(body: Body, env: Env, index: dict[int, str], numbers: list[int]) -> None:
    kernel = body.kernel
    reduce = kernel.values[numbers[0]]
    assert isinstance(reduce, Reduce)
    if not reduce.across:
        finish_stores(body, env, index)
        return
    for n, store in enumerate(kernel.stores):
        if store.value in numbers:
            body.store(n, env, index)
