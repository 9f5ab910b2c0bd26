"""The plan: a graph as a list of steps over values, with storage decided. Executors only write it down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from graphc import dims
from graphc.dims import Size
from graphc.ir import Graph, TensorType, Type
from graphc.kernels import Kernel

COMPILER: Final = "graphc-compiler"  # a thread of a backend's own has this name: it runs nothing of the user's
MOST_CANDIDATES: Final = 32  # formulas of which the largest depends on the named sizes


@dataclass(frozen=True, slots=True)
class Step:
    """Run one node by its NumPy meaning, or a group of nodes as a kernel.

    nodes: what the step computes, in order.
    into: for results that overwrite an operand's storage, that operand, or for those that get the memory of a donated
        input that nothing reads any more, that input; the others get fresh storage.
    frees: nodes whose storage nobody reads after this step.
    kernel: what computes the group; its stores are the results. None for a single node run by NumPy.
    fills: for results of which the kernel writes a part, the node that first fills them.
    """

    nodes: tuple[int, ...]
    into: Mapping[int, int]
    frees: tuple[int, ...]
    kernel: Kernel | None = None
    fills: Mapping[int, int] = field(default_factory=dict)

    @property
    def results(self) -> tuple[int, ...]:
        """The nodes whose values the step leaves behind."""
        return self.nodes if self.kernel is None else self.kernel.nodes


@dataclass(frozen=True, slots=True)
class Range:
    """How many elements `operation` folds into one, of which there must be some, whatever the number of results."""

    operation: str
    elements: Size

    def refuse(self) -> NoReturn:
        """The error of NumPy's functions."""
        if self.operation.startswith("arg"):
            raise ValueError(f"attempt to get {self.operation} of an empty sequence")
        raise ValueError(f"zero-size array to reduction operation {self.operation} which has no identity")


class Memory(int):
    """The most bytes that a call takes: its arguments, the results that have memory of their own, and temporaries.

    >>> Memory(800, 800, 64), Memory(800, 800, 64).temporaries
    (1664, 64)
    """

    arguments: int
    results: int
    temporaries: int

    def __new__(cls, arguments: int, results: int, temporaries: int) -> Memory:
        found = super().__new__(cls, arguments + results + temporaries)
        found.arguments, found.results, found.temporaries = arguments, results, temporaries
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return Memory, (self.arguments, self.results, self.temporaries)


@dataclass(frozen=True, slots=True)
class Plan:
    """What an executor does for one call.

    graph: the optimised graph.
    ranges: what must not be empty, of those of which only named sizes say whether they are.
    steps: in order; inputs and constants need none.
    copies: positions of outputs that would share storage with an input, a constant or another output.
    storage: for each node that owns storage at some time, its size in bytes as a formula in the named sizes.
    donated: positions of the donated inputs whose memory some step writes to, or an output is.
    """

    graph: Graph
    ranges: tuple[Range, ...]
    steps: tuple[Step, ...]
    copies: frozenset[int]
    storage: Mapping[int, Size]
    donated: tuple[int, ...] = ()

    def peak_bytes(self, sizes: Mapping[str, int] | None = None) -> int:
        """The most bytes of results and temporaries alive at once, given values for the named sizes.

        Inputs and constants are not counted; what a library call allocates inside itself is not either.
        """
        env = sizes or {}
        return max(self._live({node: dims.evaluate(size, env) for node, size in self.storage.items()}), default=0)

    def memory(self, sizes: Mapping[str, int], arena: Size | None = None) -> Memory:
        """What a call takes, given values for the named sizes; `arena` is all that temporaries get, if it is known."""
        nodes = self.graph._node
        types = [nodes[o]["type"] for o in self.graph.outputs]
        made = [k for k, type in enumerate(types) if type.shape and not self._given(k)]
        arguments, results, copied = (
            sum(dims.evaluate(nbytes(t), sizes) for t in some)
            for some in (self.graph.input_types, [types[k] for k in made], [types[k] for k in made if k in self.copies])
        )
        if arena is not None:
            return Memory(arguments, results, dims.evaluate(arena, sizes))
        # the largest is reached before, or when the last copies are made
        return Memory(arguments, results, max(0, self.peak_bytes(sizes) + copied - results))

    def _given(self, position: int) -> bool:
        """Whether an output lies in the memory of a donated input."""
        into = {result: operand for step in self.steps for result, operand in step.into.items()}
        node = self.graph.outputs[position]
        while node in into:
            node = into[node]
        return position not in self.copies and node in {self.graph.inputs[k] for k in self.donated}

    def peak_formula(self, sizes: Mapping[str, int] | None = None) -> Size:
        """The peak as a formula in the named sizes that have no value; ValueError where it is too long to be one."""
        env = sizes or {}
        largest: list[Size] = [0]
        for size in dict.fromkeys(self._live({n: dims.substitute(size, env) for n, size in self.storage.items()})):
            if not any(dims.less_equal(size, other) for other in largest):
                largest = [*(other for other in largest if not dims.less_equal(other, size)), size]
                if len(largest) > MOST_CANDIDATES:
                    raise ValueError(f"size too large: the largest of more than {MOST_CANDIDATES} formulas")
        return dims.maximum(*largest)

    def _live(self, storage: Mapping[int, Any]) -> Iterator[Any]:
        """The bytes of results and temporaries alive after each step, given those of each node that owns storage."""
        alive: Any = 0
        held: dict[int, Any] = {}
        for step in self.steps:
            for node in step.results:
                if node in storage:
                    held[node] = storage[node]
                    alive = alive + held[node]
                elif node in step.into:
                    held[node] = held.pop(step.into[node], 0)
            yield alive
            for node in step.frees:
                alive = alive - held.pop(node, 0)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A plan that a backend has made ready to run.

    run: a function of the inputs that returns a tuple of the results.
    source: readable Python that does the same.
    bind: if the plan runs as one native function, `bind(fallback, unpacked, strict)` gives another one of it, which
        hands arguments other than dense arrays of the right types to `fallback`; if `unpacked` returns the one result
        that there is, and no tuple; and if `strict` tells Python's numbers, which are for weak inputs, from NumPy's.
    arena: if the plan runs as one native function, the bytes of all its temporaries as a formula in the named sizes.
    """

    run: Callable[..., tuple[Any, ...]]
    source: str
    bind: Callable[[Callable[..., Any], bool, bool], Callable[..., Any]] | None = None
    arena: Size | None = None


def nbytes(type: Type) -> Size:
    """The size of a dense array of this type, or of several of them, in bytes."""
    if isinstance(type, TensorType):
        return dims.product((*type.shape, type.dtype.itemsize))
    total: Size = 0
    for item in type.items:
        total = total + nbytes(item)
    return total
