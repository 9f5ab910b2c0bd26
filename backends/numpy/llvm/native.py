"""A plan as one built-in function: what the program needs at run time, and the function itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from graphc.backends.numpy.arguments import integer_casts
from graphc.backends.numpy.llvm import (
    blas,
    calling,
    code,
    costs,
    effort,
    entry,
    externals,
    generator,
    latency,
    places,
    program,
    returning,
    reuse,
    state,
    steps,
)
from graphc.backends.numpy.llvm.arena import arrange
from graphc.backends.numpy.llvm.instructions import Moves, Program, Rows, Running
from graphc.backends.numpy.llvm.machine import BRIEF, BUSY, LONG, Library, Machine, host
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.renewal import Renewal
from graphc.dims import Size
from graphc.ir import Graph
from graphc.plan import Plan

FEW: Final = 100  # arrays of kernels without loops that are handed over by code made in a hurry


def why_not(graph: Graph) -> str | None:
    """Why a graph cannot run as one native function, here; None if it can."""
    return steps.why_not(graph) if entry.SUPPORTED else "the interpreter's or NumPy's arrays are not laid out as known"


@dataclass(frozen=True, slots=True)
class Native:
    """A plan in machine code. `kernels` run the kernels of its steps; `arena` is the size of its temporaries.

    large: whether results may be large enough for kept memory. renewal: better code than that of `library`, for later;
    None if there is none.
    """

    library: Library
    constants: tuple[Any, ...]
    kernels: tuple[generator.Run, ...]
    arena: Size
    large: bool
    renewal: Renewal | None = None

    def bind(self, fallback: Callable[..., Any], unpacked: bool = False, strict: bool = False) -> Callable[..., Any]:
        """The plan as a built-in function of its inputs.

        It returns a tuple of the results; if `unpacked`, the one result that there is. Arguments that are not exactly
        the dense arrays it takes are handed to `fallback`, whose result it returns. If `strict`, inputs that are not
        weak take no Python numbers, and weak ones take nothing else.
        """
        # the store is made when the first function comes that may have large results
        kept = reuse.store() if self.large else None
        words = state.State.of(fallback, self, [a.ctypes.data for a in self.constants])
        words[state.UNPACKED] = unpacked
        words[state.STRICT] = strict
        if kept is not None:
            words[state.MAKER], words[state.CLEARER] = kept.maker, kept.clearer
        if self.renewal is not None:
            words.view(np.float64)[state.BUDGET] = self.renewal.budget
            words[state.RENEW] = id(self.renewal)
        words.flags.writeable = False  # for Python
        function = entry.builtin(self.library.addresses["program"], words)
        if self.renewal is not None:
            self.renewal.watch(words)
        return function  # type: ignore[no-any-return]


def load(plan: Plan, fast: bool, machine: Machine | None = None) -> Native:
    """Compile a plan, of a graph for which `why_not` gives None."""
    machine = machine or host()
    lowered = steps.lower(plan, machine)
    looks = [*map(effort.look, lowered.kernels)]

    def compiled(hurried: bool) -> _Texts:
        return _texts(lowered, looks, plan, machine, fast, hurried)

    renewal = None
    careful_around = _level(lowered) > BRIEF
    work = costs.total(lowered)
    gains = careful_around or effort.may_gain(looks, work)
    # mathematics that may be rounded otherwise gives bits that depend on how it is compiled
    first = compiled(hurried=effort.starts_hurried() and gains and not fast)
    if first.hurried:
        kernels, outside = (first.parts[0].text if lowered.kernels else ""), first.parts[-1].text
        abreast = sum(latency.instructions(kernel, machine) for kernel in lowered.kernels)
        budget = effort.budget(looks, kernels, outside, careful_around, work, abreast)
        # what was compiled in a hurry before may have been compiled with care since
        if budget is None or code.are_kept(first.parts, machine):
            careful = compiled(hurried=False)
            if budget is None or code.are_kept(careful.parts, machine):
                first, budget = careful, None
        if budget is not None:
            renewal = Renewal(budget, lambda: compiled(hurried=False).library(machine), state.lead)
    library = first.library(machine)
    constants = tuple(np.require(c, requirements=["C_CONTIGUOUS", "ALIGNED"]) for c in lowered.constants)
    planned = dict.fromkeys(lowered.planned)
    callers = generator.callers([(number, lowered.kernels[number]) for number in planned], library)
    called = dict(zip(planned, callers, strict=True))
    arena = arrange(lowered).nbytes
    large = any(returning.large(lowered, result) for result in lowered.results)
    return Native(library, constants, tuple([called[n] for n in lowered.planned]), arena, large, renewal)


class _Texts(NamedTuple):
    """A program's modules, the one around the kernels last, and the names to look up in them."""

    parts: list[code.Part]
    names: tuple[str, ...]
    hurried: bool

    def library(self, machine: Machine) -> Library:
        library = code.library(self.parts, machine, self.names)
        externals.settle(library.addresses)
        return library


def _texts(
    lowered: Program, looks: Sequence[effort.Look], plan: Plan, machine: Machine, fast: bool, hurried: bool
) -> _Texts:
    parts = generator.parts(lowered.kernels, looks, machine, fast, hurried) if lowered.kernels else []
    inside = externals.defined(parts[0].text) if parts else []
    outside, words, called = around(lowered, plan, machine, inside, hurried)
    names = [f"kernel{number}" for number in dict.fromkeys(lowered.planned)]
    return _Texts([*parts, *called, outside], ("program", *names, *words), hurried)


def around(
    lowered: Program, plan: Plan, machine: Machine, inside: Sequence[str] = (), hurried: bool = False
) -> tuple[code.Part, list[str], list[code.Part]]:
    """The module of the function around the kernels, all externals, and the modules of the functions that it calls.

    Some externals are `inside` the module of the kernels.
    """
    module = Module(machine.features_used, hurried)
    whole = [_takes_whole_numbers(plan.graph, i) for i in plan.graph.inputs]
    text, used = program.function(lowered, plan, whole, "program", module)
    words = sorted(used | set(inside))
    head = [
        externals.declarations(words, inside),
        calling.PRELUDE,
        places.PRELUDE,
        blas.PRELUDE,
        program.PRELUDE,
        *(generator.declaration(number) for number in range(len(lowered.kernels))),
    ]
    part = code.Part("\n".join([*head, module.text(), text]), BRIEF if hurried else _level(lowered))
    return part, words, code.helpers(module)


def _level(lowered: Program) -> int:
    """How much time to spend on the code around the kernels."""
    # rows and numbers are taken one by one there
    if any(isinstance(i, (Rows, Moves, Running)) for i in lowered.instructions):
        return BUSY
    # a kernel without loops takes no longer than handing over its arrays
    arrays = sum(len(k.roots) + len(k.nodes) for k in lowered.kernels if not k.sizes)
    return LONG if arrays > FEW else BRIEF


def _takes_whole_numbers(graph: Graph, node: int) -> bool:
    """Whether a Python int may be passed as it is: one that nothing casts to a narrower type."""
    type: Any = graph._node[node]["type"]
    return bool(type.weak and type.dtype == np.int64 and not integer_casts(graph, node))
