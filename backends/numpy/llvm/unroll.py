"""Short last loops written out: arrays of points, pairs and the like have few elements along their last axis.

Vectors along such an axis would have empty lanes, and a sum over it would need shuffles for each of its results. So the
values of all its points stand side by side, and the loop before it runs by vectors.
"""

from __future__ import annotations

from typing import Final

from graphc.backends.numpy.llvm.work import weight
from graphc.kernels import Affine, Apply, Fixed, Fold, Kernel, Load, Position, Reduce, Store, Value, Within, reordered

LONGEST: Final = 8  # points of a loop that is written out
FEWEST: Final = 16  # points of the loop that runs by vectors instead
HEAVIEST: Final = 400  # additions of all that is written out
OPS: Final[dict[Fold, str]] = {
    "sum": "add",
    "prod": "mul",
    "max": "maximum",
    "min": "minimum",
    "any": "logical_or",
    "all": "logical_and",
}


def unrolled(kernel: Kernel) -> Kernel:
    """The kernel without its last loop, if that is short and the one before it is not; else as it is.

    A short loop along which arrays are read that lie apart along the last one takes the place of the last.
    """
    written = _short_last(kernel)
    if not _worth_it(written):
        return kernel
    found = _Unrolling(written).run()
    # callers know the arguments of the kernel as it was: arrays that are read at no point, and named strides, would
    # change them
    same = found.roots == kernel.roots and found.nodes == kernel.nodes and found.symbolic == kernel.symbolic
    return found if same else kernel


def _worth_it(kernel: Kernel) -> bool:
    if len(kernel.sizes) < 2:
        return False
    before, last = kernel.sizes[-2:]
    if not isinstance(last, int) or not 2 <= last <= LONGEST or (isinstance(before, int) and before < FEWEST):
        return False
    loop = len(kernel.sizes) - 1
    for value in kernel.values:
        if isinstance(value, Reduce) and not _pairs_up(kernel, value):
            return False
        if isinstance(value, Load) and any(_points(w) is None for w in value.within if w.loop == loop):
            return False
    return last * sum(weight(v) for v, loops in zip(kernel.values, kernel.varies, strict=True) if loop in loops) <= (
        HEAVIEST
    )


def _short_last(kernel: Kernel) -> Kernel:
    """The kernel with the loop last along whose points all elements of some array lie that are read together."""
    last = len(kernel.sizes) - 1
    if last < 1 or any(isinstance(v, Reduce) for v in kernel.values):
        return kernel
    for value in kernel.values:
        apart = value.at.strides[last] if isinstance(value, Load) else None
        if isinstance(value, Load) and isinstance(apart, int) and 2 <= apart <= LONGEST:
            short = (k for k in range(last) if kernel.sizes[k] == apart and value.at.strides[k] == 1)
            if (loop := next(short, None)) is not None:
                return reordered(kernel, (*(k for k in range(last + 1) if k != loop), loop))
    return kernel


def _pairs_up(kernel: Kernel, reduce: Reduce) -> bool:
    """Whether an op on two elements does what the reduction does on many."""
    logical = reduce.fold in ("any", "all")
    return logical == (reduce.dtype.kind == "b") and kernel.values[reduce.operand].dtype == reduce.dtype


class _Unrolling:
    """copies: for each value of the kernel those for the points of the last loop, by number; one, if it is for all."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.loop = len(kernel.sizes) - 1
        size = kernel.sizes[-1]
        assert isinstance(size, int)
        self.size = size
        self.reduced = kernel.reduced - {self.loop}
        # without reduced loops what goes across them goes over all there are
        self.across = bool(self.reduced)
        self.values: list[Value] = []
        self.copies: list[list[int]] = []

    def run(self) -> Kernel:
        kernel = self.kernel
        for value, loops in zip(kernel.values, kernel.varies, strict=True):
            if isinstance(value, Reduce):
                self.copies.append(self.folded(value))
            else:
                count = self.size if self.loop in loops else 1
                self.copies.append([self.append(self.at(value, k)) for k in range(count)])
        stores = []
        for store in kernel.stores:
            points = range(self.size if store.at.strides[self.loop] != 0 else 1)
            stores += [Store(self.copy(store.value, k), store.node, self.affine(store.at, k)) for k in points]
        reduced = self.reduced
        if not reduced and any(isinstance(v, Reduce) for v in self.values):
            reduced = frozenset(range(self.loop))
        return Kernel(kernel.sizes[:-1], tuple(self.values), tuple(stores), reduced)

    def append(self, value: Value) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def copy(self, value: int, point: int) -> int:
        found = self.copies[value]
        return found[point if len(found) > 1 else 0]

    def affine(self, at: Affine, point: int) -> Affine:
        return Affine(at.offset + at.strides[self.loop] * point, at.strides[: self.loop])

    def at(self, value: Load | Fixed | Position | Apply, point: int) -> Value:
        """A value at one point of the last loop."""
        match value:
            case Load(dtype=dtype, root=root, at=at, within=within):
                if any(point not in (_points(w) or ()) for w in within if w.loop == self.loop):
                    return Fixed(dtype, dtype.type(0).item())
                return Load(dtype, root, self.affine(at, point), tuple(w for w in within if w.loop != self.loop))
            case Position(dtype=dtype, at=at):
                return Position(dtype, self.affine(at, point))
            case Apply(dtype=dtype, op=op, operands=operands, attrs=attrs):
                return Apply(dtype, op, tuple(self.copy(i, point) for i in operands), attrs)
            case Fixed():
                return value

    def folded(self, value: Reduce) -> list[int]:
        """A reduction: over the last loop, pairs of pairs."""
        over = (self.loop in self.kernel.reduced) != value.across
        if not over:
            operands = self.copies[value.operand]
            return [self.append(Reduce(value.dtype, value.fold, i, value.across and self.across)) for i in operands]
        parts = [self.copy(value.operand, point) for point in range(self.size)]
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=False)
            joined = [self.append(Apply(value.dtype, OPS[value.fold], pair)) for pair in pairs]
            parts = joined if len(parts) % 2 == 0 else [*joined, parts[-1]]
        (total,) = parts
        # over the other loops, if there are any
        others = (frozenset(range(self.loop)) - self.reduced) if value.across else self.reduced
        across = value.across and self.across
        return [self.append(Reduce(value.dtype, value.fold, total, across)) if others else total]


def _points(condition: Within) -> range | None:
    """Where a condition holds; None if that depends on named sizes."""
    start, stop = condition.start, condition.stop
    return range(start, stop) if isinstance(start, int) and isinstance(stop, int) else None
