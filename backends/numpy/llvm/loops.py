"""From a kernel to the text of one LLVM function."""

from __future__ import annotations

from graphc.backends.numpy.llvm import blocks, panel_products, small_products, streaming, together
from graphc.backends.numpy.llvm.across import Across
from graphc.backends.numpy.llvm.effort import Look
from graphc.backends.numpy.llvm.full_reductions import FullReduction
from graphc.backends.numpy.llvm.machine import Machine
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.narrow import Narrow
from graphc.backends.numpy.llvm.nest import Env, Nest
from graphc.backends.numpy.llvm.panels import panels
from graphc.backends.numpy.llvm.strips import Strips
from graphc.backends.numpy.llvm.sweeps import Sweeps
from graphc.backends.numpy.llvm.tiles import Tiles
from graphc.backends.numpy.llvm.values import Value
from graphc.kernels import Kernel


def function(kernel: Kernel, name: str, machine: Machine, module: Module, fast: bool, look: Look) -> str:
    """The text of ``i32 name(ptr arrays, ptr sizes, i64 first, i64 last)``, and of the functions that it calls.

    `arrays` points to the data of the kernel's roots, then of its results, then a word that the function may use;
    `sizes` to its symbolic sizes. `first` and `last` say which pieces of the kernel's division run. The function gives
    0, or 1 if there was not enough memory.

    look: what `effort` finds in the kernel.
    """

    def opened() -> Nest:
        return Nest(kernel, look, machine, module, fast)

    nest = opened()
    large = panels(kernel)
    if large is not None:
        panel_products.write(nest, large, machine)
        return nest.finished(name)
    product = small_products.small_product(kernel)
    if product is not None:
        small_products.write(nest, product, machine)
        return nest.finished(name)
    if nest.schedule.in_pieces:
        return FullReduction(kernel, name, opened).write()
    if nest.schedule.in_tiles:
        return Narrow(kernel, name, opened).write()
    if nest.schedule.in_strips:
        return Strips(kernel, name, opened, lambda nest, across: _open(nest, Sweeps(nest, across), 0, {})).write()
    division = nest.schedule.division
    if division is not None and division.width == 1:
        nest.bounds[division.loop] = nest.ends
    streaming.begin(nest)
    across = Across(nest)
    inner = Tiles(nest) if nest.schedule.tiled else Sweeps(nest, across)
    across.begin()
    _open(nest, inner, 0, {})
    across.end()
    streaming.end(nest)
    return nest.finished(name)


def _open(nest: Nest, inner: Sweeps | Tiles, depth: int, env: Env) -> None:
    """What the first `depth` outer loops, now open, determine; then the next of them, or the sweeps."""
    schedule = nest.schedule
    if not nest.kernel.sizes:
        together.compute(nest, env)
    nest.compute(nest.settled(frozenset(schedule.outer[:depth])), env)
    if depth == len(schedule.outer):
        inner.write(env)
        return
    if schedule.turned is None or depth < len(schedule.outer) - 1:
        _along(nest, inner, depth, env)
    else:
        blocks.walk(nest, schedule.turned, lambda: _along(nest, inner, depth, env))


def _along(nest: Nest, inner: Sweeps | Tiles, depth: int, env: Env) -> None:
    """The next outer loop, or the part of it that runs."""
    loop = nest.schedule.outer[depth]

    def body(_: list[Value]) -> list[Value]:
        _open(nest, inner, depth + 1, dict(env))
        return []

    nest.along(loop, *nest.range(loop), [], body)
