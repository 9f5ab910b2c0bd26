"""Small kernels, one after another, as a single kernel of one block.

What a launch costs, a kernel on a few thousand numbers takes several times less. So the blocks of each launch are run
by groups of threads of one block, in turn, and all threads wait for each other before what needs its results begins.
Launches that have nothing to do with each other run side by side, each by groups of its own. Every group runs a whole
block as the GPU would: the same threads, the same indices, so the same bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from graphc.backends.cupy.launching import Call
from graphc.backends.cupy.prelude import PRELUDE

THREADS: Final = 512
MANY_THREADS: Final = 1024  # where each needs few registers
MOST_GROUPS: Final = 15  # that wait for each other: the processor has 16 barriers, and the whole block takes one
MOST_WORK: Final = 1 << 17  # operations of a launch that pays in one block
MOST_BESIDE: Final = 1 << 15  # of one that is joined to its neighbours, where other launches are beside: it waits less
MOST_TOTAL: Final = 1 << 20  # of all launches that become one
MOST_CALLS: Final = 64
MOST_ROOM: Final = (48 << 10) // 8  # doubles of shared memory that any kernel may have
ROOM: Final = re.compile(r"ROOM\((\d+)\);")
HEAD: Final = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\(\d+, \d+\) )?kernel\((.*)\) \{')
BETWEEN: Final = re.compile(r", (?![^<]*>)")  # parameters; not the arguments of a template

GROUPS: Final = """\
struct Index { u32 x, y, z; };

__device__ __forceinline__ void group_wait(u32 barrier, u32 count) {
#ifdef __CUDACC__
  asm volatile("bar.sync %0, %1;" : : "r"(barrier), "r"(count) : "memory");
#else
  emulation::group_wait(barrier, count);
#endif
}

// some threads of a block, with a barrier and a room of their own
struct Group {
  u32 thread, count, barrier;
  double* room;
  __device__ void wait() const { group_wait(barrier, count); }
  template <class F, int N> __device__ typename F::Acc over_row(typename F::Acc a, void* kept) const {
    const Group& group = *this;
    return over_threads<F, N>(a, kept, thread, [&group] { group.wait(); });
  }
};
"""
MACROS: Final = """\
#undef ROOM
#define ROOM(n) double* const room = group.room
#define over_row group.over_row
#define __syncthreads group.wait
"""
END_OF_MACROS: Final = """\
#undef ROOM
#define ROOM(n) __shared__ double room[n]
#undef over_row
#undef __syncthreads
"""


@dataclass(frozen=True, slots=True)
class Region:
    """Memory that a kernel is given the address of as a whole, under a name.

    start, bytes: where it lies now. shift: what an address in it is ahead of the one that the kernel is given, beyond
    its distance from `start`.
    """

    start: int
    bytes: int
    name: str
    shift: int = 0


@dataclass(frozen=True, slots=True)
class Merged:
    """One text for several launches. arguments: names of regions, and addresses in none, in order."""

    text: str
    arguments: tuple[str | int, ...]
    threads: int

    @property
    def block(self) -> tuple[int, int]:
        return self.threads, 1


def small(call: Call, most: int = MOST_WORK) -> bool:
    """Whether a launch may be a part of a kernel of one block."""
    threads = call.block[0] * call.block[1]
    return call.work <= most and threads % 32 == 0 and THREADS % threads == 0 and HEAD.search(call.text) is not None


def runs(calls: Sequence[Call], most: int = MOST_BESIDE) -> Iterator[list[Call]]:
    """Launches in order, cut so that those of each list become one kernel; a list of one is launched as it is.

    most: operations of a launch that is joined to others.
    """
    run: list[Call] = []
    total = 0
    for call in calls:
        fits = small(call, most) and len(run) < MOST_CALLS and total + call.work <= MOST_TOTAL
        if run and not (fits and small(run[0], most)):
            yield run
            run, total = [], 0
        run.append(call)
        total += call.work
    if run:
        yield run


def merged(
    calls: Sequence[Call],
    regions: Sequence[Region] = (),
    piece: Callable[[int], Hashable] | None = None,
    threads: int = THREADS,
) -> Merged:
    """The kernel that does what the launches do, one after another; addresses in regions are told by their names.

    piece: what memory an address lies in, so that launches on different ones may run side by side; without it, each
    waits for the one before. threads: of the kernel.
    """
    number = {text: k for k, text in enumerate(dict.fromkeys(call.text for call in calls))}
    kinds = {text: parameters(text) for text in number}
    names: dict[str | int, str] = {}

    def place(address: int) -> str:
        for region in regions:
            if region.start <= address < region.start + region.bytes:
                name = names.setdefault(region.name, f"a{len(names)}")
                return f"({name} + {address - region.start + region.shift})"
        return names.setdefault(address, f"a{len(names)}")

    stages = [[call] for call in calls] if piece is None else levels(calls, piece)
    steps = []
    room = 1
    for stage in stages:
        # groups in use since all threads waited for each other, the first free thread, and the words of rooms in use
        barriers = first = words = 0
        lines: list[str] = []
        for call in stage:
            given = []
            for (kind, pointer), argument in zip(kinds[call.text], call.arguments, strict=True):
                given.append(f"({kind}){place(argument)}" if pointer else f"({kind}){argument}ll")
            (gx, gy), (bx, by) = call.grid, call.block
            width = bx * by
            wide = max((int(n) for n in ROOM.findall(call.text)), default=0)
            groups = max(1, min(threads // width, MOST_GROUPS, gx * gy, MOST_ROOM // max(1, wide)))
            if barriers + groups > MOST_GROUPS or words + groups * wide > MOST_ROOM:
                lines.append("  __syncthreads();")
                barriers = first = words = 0
            if first + groups * width > threads:
                first = 0
            index = f"Index{{thread % {bx}u, thread / {bx}u, 0}}"
            lines.append(
                f"  if (threadIdx.x - {first}u < {groups * width}u) {{\n"
                f"    const u32 mine = threadIdx.x - {first}u, thread = mine % {width}u, number = mine / {width}u;\n"
                f"    const Group group{{thread, {width}u, number + {barriers + 1}, "
                f"shared + ({words}u + number * {wide}u)}};\n"
                f"    for (u32 b = number; b < {gx * gy}u; b += {groups}u) {{\n"
                f"      part{number[call.text]}::kernel({', '.join([*given, 'group', index])}, "
                f"Index{{b % {gx}u, b / {gx}u, 0}}, Index{{{bx}, {by}, 1}}, Index{{{gx}, {gy}, 1}});\n"
                "    }\n"
                "  }"
            )
            barriers += groups
            first = (first + groups * width) % threads
            words += groups * wide
            room = max(room, words)
        steps.append("\n".join(lines))
    arrays = ", ".join(f"const u8* {name}" for name in names.values())
    body = "\n  __syncthreads();\n".join(steps)
    parts = "".join(_part(text, k) for text, k in number.items())
    text = (
        f"{PRELUDE}{GROUPS}{MACROS}{parts}{END_OF_MACROS}"
        f'extern "C" __global__ void __launch_bounds__({threads}, 1) kernel({arrays}) {{\n'
        f"  __shared__ double shared[{room}];\n{body}\n}}\n"
    )
    return Merged(text, tuple(names), threads)


def levels(calls: Sequence[Call], piece: Callable[[int], Hashable]) -> list[list[Call]]:
    """Launches that may run side by side, in lists that have to follow each other.

    Law: of two launches of which one writes what the other reads or writes, the earlier one is in an earlier list.
    """
    found: list[list[Call]] = []
    read: dict[Hashable, int] = {}  # the last list that reads a piece, or writes to it
    written: dict[Hashable, int] = {}
    for call in calls:
        reads: set[Hashable] = set()
        writes: set[Hashable] = set()
        for (kind, pointer), argument in zip(parameters(call.text), call.arguments, strict=True):
            if pointer:
                (reads if kind.startswith("const ") else writes).add(piece(argument))
        after = [written.get(p, -1) for p in reads | writes] + [read.get(p, -1) for p in writes]
        level = max(after, default=-1) + 1
        while len(found) <= level:
            found.append([])
        found[level].append(call)
        for p in reads | writes:
            read[p] = max(level, read.get(p, -1))
        for p in writes:
            written[p] = level
    return found


def parameters(text: str) -> list[tuple[str, bool]]:
    """The types of a text's parameters, and which of them are addresses."""
    found = HEAD.search(text)
    assert found is not None
    kinds = [p.rpartition(" ")[0] for p in BETWEEN.split(found[1]) if p]
    return [(kind, kind.endswith("*")) for kind in kinds]


def _part(text: str, number: int) -> str:
    """A text's kernel as a function, in a namespace of its own."""
    more = "const Group& group, const Index threadIdx, const Index blockIdx, const Index blockDim, const Index gridDim"
    head = f"static __device__ void kernel(\\1, {more}) {{"
    return f"namespace part{number} {{\n{HEAD.sub(head, text.removeprefix(PRELUDE))}}}\n"
