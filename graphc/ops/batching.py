"""How ops act on a batch: on operands of which some carry one more axis, in front, with one row for each element of it.

A rule is `(w, name, size, operands, batched, attrs)`: it builds, in the world `w`, what the op called `name` gives for
each of the `size` rows, along the first axis of its result. `batched` says which operands carry that axis; the
others are the same for all rows. Most ops need one of the rules here; the others have theirs beside their records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from graphc.dims import Size
from graphc.ops.record import Batch, Op

# What one more axis in front does to an attribute, by the attribute's name. Others stay as they are.
WITH_AXIS: Final[Mapping[str, Callable[[Size, Any], Any]]] = {
    "axis": lambda size, axis: axis + 1,
    "axes": lambda size, axes: tuple(a + 1 for a in axes),
    "perm": lambda size, perm: (0, *(a + 1 for a in perm)),
    "shape": lambda size, shape: (size, *shape),
    "index": lambda size, index: ((0, size, 1), *index),
}


def repeated(w: Any, x: Any, size: Size) -> Any:
    """The same row, `size` times."""
    return w.broadcast_to(x, shape=(size, *x.type.shape))


def widened(w: Any, x: Any, rank: int) -> Any:
    """A batch whose rows get axes of size 1 in front, so that they have `rank` axes."""
    size, *row = x.type.shape
    missing = rank - len(row)
    return w.reshape(x, shape=(size, *(1,) * missing, *row)) if missing > 0 else x


def row_rank(x: Any, batched: bool) -> int:
    """How many axes an operand has in each row."""
    return len(x.type.shape) - batched


def row_numbers(w: Any, size: Size, rank: int) -> Any:
    """0, 1, ..., size - 1 along the first axis, as an index for rows of `rank` axes."""
    numbers = w.iota(size=size, dtype=np.dtype(np.int64))
    return w.reshape(numbers, shape=(size, *(1,) * rank)) if rank else numbers


def moved(w: Any, x: Any, perm: Sequence[int]) -> Any:
    """The axes in another order."""
    return x if tuple(perm) == tuple(range(len(perm))) else w.transpose(x, perm=tuple(perm))


def carried(
    w: Any, name: str, size: Size, operands: Sequence[Any], batched: Sequence[bool], attrs: Mapping[str, Any]
) -> Any:
    """The op itself, on operands that all carry the axis; attributes that count axes or list sizes take it in."""
    wide = [x if b else repeated(w, x, size) for x, b in zip(operands, batched, strict=True)]
    return w.apply(name, wide, **{k: WITH_AXIS[k](size, v) if k in WITH_AXIS else v for k, v in attrs.items()})


def leading(
    w: Any, name: str, size: Size, operands: Sequence[Any], batched: Sequence[bool], attrs: Mapping[str, Any]
) -> Any:
    """The op itself: it takes any number of leading axes as they come."""
    return w.apply(name, operands, **attrs)


def lined_up(*cores: int) -> Batch:
    """The op itself, where operands broadcast but for the last `cores[k]` axes of operand k (none, if not given)."""

    def rule(
        w: Any, name: str, size: Size, operands: Sequence[Any], batched: Sequence[bool], attrs: Mapping[str, Any]
    ) -> Any:
        own = cores or (0,) * len(operands)
        free = [row_rank(x, b) - c for x, b, c in zip(operands, batched, own, strict=True)]
        rank = max(free)
        wide = [widened(w, x, rank + c) if b else x for x, b, c in zip(operands, batched, own, strict=True)]
        return w.apply(name, wide, **attrs)

    return rule


ELEMENTWISE: Final = lined_up()


def rule_of(op: Op) -> Batch | None:
    """The rule of an op; that of an elementwise op need not be said."""
    return ELEMENTWISE if op.batch is None and op.elementwise else op.batch
