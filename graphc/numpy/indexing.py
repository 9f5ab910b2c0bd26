"""Indexing: slices, integers, new axes, integer arrays, constant boolean masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.errors import IndexingError, ShapeError, UnsupportedError
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.marked import Marked, check_mask
from graphc.numpy.methods import axes_of
from graphc.numpy.views import Picked, Reshaped, Sliced, Transposed
from graphc.ops.structure import sliced_size
from graphc.ops.typing import broadcast, normalise_axis, show
from graphc.tracing import (
    SymbolicSize,
    Traced,
    TracingWorld,
    View,
    as_size,
    copied,
    is_scalar,
    lift,
    snapshot,
    view_of,
)
from graphc.tracing.layout import ordered_as, samples, unordered

__all__ = [
    "diff",
    "flip",
    "take",
]

Slice = tuple[Size, Size | None, int]


@dataclass(frozen=True, slots=True)
class Selection:
    """What an index means: a basic slice of the value, then a gather along the axes that have index arrays.

    `layout` says for each item of the key what it is: "new", "slice", "drop" (an integer) or "array".
    """

    world: TracingWorld
    value: Any
    index: tuple[Slice, ...]
    layout: tuple[str, ...]
    arrays: tuple[Any, ...]

    @property
    def whole(self) -> bool:
        """Whether the basic slice is everything."""
        return all(one == (0, d, 1) for one, d in zip(self.index, self.value.type.shape, strict=True))

    @property
    def sliced(self) -> Any:
        return self.value if self.whole else self.world.slice(self.value, index=self.index)


def getitem(x: Traced, key: Any) -> Any:
    """`x[key]` as NumPy indexes; masks and index arrays follow its advanced-indexing rules."""
    mask = traced_mask(key)
    if mask is not None and mask.ndim:
        check_mask(x, mask)
        return Marked(x, mask)
    items = key if isinstance(key, tuple) else (key,)
    part = resolve(x, key)
    if any(a.ndim for a in part.arrays):
        value, layout = _gather(part.world, part.sliced, part.layout, part.arrays)
        return _as_picked(part, _lay_out(part.world, value, layout))
    # integers and slices, traced integers among them: a view, or a number if no axis is left
    shown = view_of(part.value if x.type.weak else x, *_views(part))
    by_array = any(getattr(i, "ndim", None) == 0 and not is_number(i) for i in items)
    if shown.ndim or any(i is Ellipsis for i in items):
        return copied(shown) if by_array else shown
    return snapshot(shown)


def traced_mask(key: Any) -> Any:
    """The key, if it is a traced boolean mask."""
    only = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    return only if isinstance(only, Traced) and only.type.dtype.kind == "b" else None


def is_number(item: Any) -> bool:
    """Whether an item of a key without axes is a number rather than an array, of which NumPy gives a copy."""
    return is_scalar(item) if isinstance(item, Traced) else isinstance(item, np.generic)


def _views(part: Selection) -> list[View]:
    """The views that an index of integers and slices takes, one after the other."""
    views: list[View] = [] if part.whole else [Sliced(part.index)]
    shape = tuple(sliced_size(*one) for one in part.index)
    layout = part.layout
    if part.arrays:
        axes, together = array_axes(layout)
        if not together:
            perm = (*axes, *(k for k in range(len(shape)) if k not in axes))
            views.append(Transposed(perm))
            shape = tuple(shape[k] for k in perm)
        first = axes[0] if together else 0
        views.append(Picked(first, tuple(map(snapshot, part.arrays))))
        shape = (*shape[:first], *shape[first + len(axes) :])
        layout = picked_layout(layout, 0)
    target = laid_out(shape, layout)
    return views if target == shape else [*views, Reshaped(target)]


def _as_picked(part: Selection, result: Any) -> Any:
    """The result of an index with arrays, in the order in memory that NumPy says for small arrays."""
    if result.ndim < 2 or 0 in result.type.shape:
        return snapshot(result)
    small = samples([part.value])
    if small is None:
        return unordered(snapshot(result))
    sizes = iter(small[0].shape)
    arrays = iter(part.arrays)
    key: list[Any] = []
    for kind in part.layout:
        if kind == "new":
            key.append(None)
        else:
            size = next(sizes)
            key.append(slice(size) if kind == "slice" else 0)
        if kind == "array":
            key[-1] = np.zeros([min(d, 2) if isinstance(d, int) else 2 for d in next(arrays).type.shape], np.intp)
    return ordered_as(snapshot(result), small[0][tuple(key)])


def resolve(x: Traced, key: Any) -> Selection:
    """The meaning of `x[key]`, in the innermost of the traces that take part."""
    items = _expand(key if isinstance(key, tuple) else (key,), x)
    world = common_world(x, *[i for i in items if isinstance(i, Traced)])
    value = strong(world.adopt(x), world)
    advanced = any(isinstance(i, (Traced, np.ndarray)) for i in items)
    index: list[Slice] = []
    layout: list[str] = []
    arrays: list[Any] = []
    for item in items:
        if item is None:
            layout.append("new")
            continue
        size = value.type.shape[len(index)]
        if isinstance(item, slice):
            index.append(_slice(world, item, size))
            layout.append("slice")
        elif isinstance(item, (Traced, np.ndarray)):
            arrays.append(_index_array(world, item, size))
            index.append((0, size, 1))
            layout.append("array")
        elif advanced:
            # beside index arrays an integer is one of them
            arrays.append(lift(np.asarray(_integer(world, item, size)), world))
            index.append((0, size, 1))
            layout.append("array")
        else:
            at = _integer(world, item, size)
            index.append((at, at + 1, 1))
            layout.append("drop")
    return Selection(world, value, tuple(index), tuple(layout), tuple(arrays))


def _expand(items: tuple[Any, ...], x: Traced) -> list[Any]:
    """The key with lists as arrays, masks as index arrays, and the ellipsis written out."""
    plain = written_out([_item(i) for i in items], x)
    result: list[Any] = []
    axis = 0
    for item in plain:
        if isinstance(item, np.ndarray) and item.dtype == np.bool_:
            result.extend(_mask_indices(item, x, axis))
        else:
            result.append(item)
        axis += _axes_taken(item)
    return result


def written_out(items: Sequence[Any], x: Traced) -> list[Any]:
    """The key with slices for all that it leaves out, and for its ellipsis."""
    plain = list(items)
    used = sum(map(_axes_taken, plain))
    if used > x.ndim:
        raise IndexingError(
            f"too many indices for a {x.ndim}-d array",
            expected=f"at most {x.ndim} for {x.type!r}",
            actual=str(used),
            fix="leave out an index, or insert an axis first: x[:, None]",
        )
    places = [k for k, i in enumerate(plain) if i is Ellipsis]
    if len(places) > 1:
        raise IndexingError(
            "an index can only have a single ellipsis ('...')",
            expected="one ...",
            actual=str(len(places)),
            fix="write : for the axes between",
        )
    at = places[0] if places else len(plain)
    plain[at : at + 1] = [slice(None)] * (x.ndim - used)
    return plain


def _item(item: Any) -> Any:
    """One item of a key, lists as arrays and 0-d arrays as integers."""
    if isinstance(item, list):
        item = np.asarray(item, dtype=None if item else np.int64)
    if isinstance(item, (bool, np.bool_)) or (isinstance(item, Traced) and item.type.dtype.kind == "b"):
        raise UnsupportedError(
            "a traced boolean mask gives a result whose size depends on values",
            expected="a slice, integers, or a mask known when the graph is traced",
            actual=repr(item.type) if isinstance(item, Traced) else repr(item),
            fix="np.where(mask, x, 0) keeps the shape",
        )
    return int(item) if isinstance(item, np.ndarray) and item.ndim == 0 else item


def _axes_taken(item: Any) -> int:
    """How many axes of the operand an item of a key speaks of."""
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if isinstance(item, (np.ndarray, Traced)) and item.dtype == np.bool_ else 1


def _mask_indices(mask: np.ndarray[Any, Any], x: Traced, axis: int) -> tuple[Any, ...]:
    shape = x.type.shape[axis : axis + mask.ndim]
    if mask.shape != shape:
        raise IndexingError(
            "a boolean index did not match the axes it indexes",
            expected=f"a mask of shape {show(shape)}",
            actual=show(mask.shape),
            fix="make the mask from an array of that shape",
        )
    return np.nonzero(mask)


def _integer(world: TracingWorld, item: Any, size: Size) -> Size:
    if not isinstance(item, SymbolicSize) and not hasattr(type(item), "__index__"):
        raise IndexingError(
            f"a {type(item).__name__} is not an index",
            expected="integers, slices, ..., None, and arrays of integers or booleans",
            actual=repr(item)[:60],
            fix="convert it with int(), or use // for a whole quotient",
        )
    at = as_size(item) if isinstance(item, SymbolicSize) else int(item.__index__())
    shifted = at + size if isinstance(at, int) and at < 0 else at
    if not (world.facts.settle("<=", 0, shifted) and world.facts.settle("<=", shifted + 1, size)):
        raise _outside(at, size)
    return shifted


def _outside(at: Size, size: Size) -> IndexingError:
    return IndexingError(
        f"index {at} is out of bounds for axis with size {size}",
        expected=f"an index from {-1 * size} to {size - 1}" if size != 0 else "no index (the axis is empty)",
        actual=str(at),
        fix="check the index against the array's shape",
    )


def _slice(world: TracingWorld, item: slice, size: Size) -> Slice:
    step = 1 if item.step is None else int(item.step.__index__())
    if step == 0:
        raise ValueError("slice step cannot be zero")
    if isinstance(size, int) and not any(isinstance(v, SymbolicSize) for v in (item.start, item.stop)):
        start, stop, _ = slice(item.start, item.stop, step).indices(size)
        count = len(range(start, stop, step))
        if step > 0:
            return start, start + (count - 1) * step + 1 if count else start, step
        if not count:
            return 0, 0, 1
        end = start + (count - 1) * step
        return start, end - 1 if end > 0 else None, step
    low: Size = 0 if step > 0 else -1
    high = size + low

    def bound(value: Any, default: Size) -> Size:
        if value is None:
            return default
        at = as_size(value)
        if isinstance(at, int) and at < 0:
            at = at + size
        if not world.facts.settle("<=", low, at):
            return low
        return at if world.facts.settle("<=", at, high) else high

    first, last = (
        (bound(item.start, low), bound(item.stop, high))
        if step > 0
        else (bound(item.start, high), bound(item.stop, low))
    )
    if step > 0:
        return (first, last, step) if world.facts.settle("<=", first, last) else (first, first, step)
    if not world.facts.settle("<=", last, first):
        return 0, 0, 1
    return first, None if last == -1 else last, step


def _index_array(world: TracingWorld, item: Any, size: Size) -> Any:
    if isinstance(item, np.ndarray):
        if item.dtype.kind not in "iu":
            raise IndexingError(
                "arrays used as indices must be of integer (or boolean) type",
                expected="integers or booleans",
                actual=str(item.dtype),
                fix="index.astype(int)",
            )
        if isinstance(size, int) and item.size and not (-size <= item.min() and item.max() < size):
            raise _outside(int(item.max() if item.max() >= size else item.min()), size)
    return strong(item, world)


def array_axes(layout: Sequence[str]) -> tuple[list[int], bool]:
    """The axes of the value that have index arrays, and whether these stand together in the key."""
    places = [k for k, kind in enumerate(layout) if kind == "array"]
    axes = [k for k, kind in enumerate([kind for kind in layout if kind != "new"]) if kind == "array"]
    return axes, places == list(range(places[0], places[0] + len(places)))


def picked_layout(layout: Sequence[str], rank: int) -> tuple[str, ...]:
    """The layout of the result: the `rank` picked axes stand where NumPy puts them."""
    _, together = array_axes(layout)
    first = layout.index("array") if together else 0
    rest = [kind for kind in layout if kind != "array"]
    return (*rest[:first], *["slice"] * rank, *rest[first:])


def _gather(
    world: TracingWorld, value: Any, layout: tuple[str, ...], arrays: tuple[Any, ...]
) -> tuple[Any, tuple[str, ...]]:
    """Gather along the array axes."""
    axes, together = array_axes(layout)
    rank = len(broadcast(world.facts, "index", *[a.type.shape for a in arrays]))
    if not together:
        value = world.transpose(value, perm=(*axes, *(k for k in range(value.ndim) if k not in axes)))
    return world.gather(value, *arrays, axis=axes[0] if together else 0), picked_layout(layout, rank)


def _lay_out(world: TracingWorld, value: Any, layout: Sequence[str]) -> Any:
    """Drop the integers' axes and insert the new ones."""
    shape = laid_out(value.type.shape, layout)
    return value if shape == value.type.shape else world.reshape(value, shape=shape)


def laid_out(sizes_of: Sequence[Size], layout: Sequence[str]) -> tuple[Size, ...]:
    """A shape without the integers' axes and with the new ones."""
    sizes = iter(sizes_of)
    shape: list[Size] = []
    for kind in layout:
        if kind == "new":
            shape.append(1)
        else:
            size = next(sizes)
            if kind != "drop":
                shape.append(size)
    return tuple(shape)


@traceable(np.take)
def take(a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise") -> Any:
    """Elements at integer positions along an axis, or in the flattened array."""
    if mode != "raise":
        raise UnsupportedError(f"np.take: mode={mode!r} cannot be traced", expected="'raise'")
    world = common_world(a, indices)
    x = strong(a, world)
    if axis is None or not x.ndim:
        x = world.reshape(x, shape=(dims.product(x.type.shape),))
    place = 0 if axis is None else normalise_axis("take", axis, x.ndim)
    index = indices if isinstance(indices, Traced) else np.asarray(indices)
    if 0 in x.type.shape[:place]:
        # no position is looked at
        others = (*x.type.shape[:place], *x.type.shape[place + 1 :])
        picked = index.type.shape if isinstance(index, Traced) else index.shape
        return world.full(0, type(x.type)((*others[:place], *picked, *others[place:]), x.type.dtype))
    return snapshot(x[(slice(None),) * place + (index,)])


@traceable(np.flip, view=True)
def flip(m: Any, axis: Any = None) -> Any:
    """The elements in reverse order along axes, all of them by default."""
    axes = axes_of("flip", axis, m.ndim)
    return m[tuple(slice(None, None, -1) if k in axes else slice(None) for k in range(m.ndim))]


@traceable(np.diff, view=True)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = np._NoValue, append: Any = np._NoValue) -> Any:
    """Differences of neighbours along an axis, taken n times; values may be put before and after first."""
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n}")
    prepend, append = (None if v is np._NoValue else v for v in (prepend, append))
    world = common_world(a, prepend, append)
    a = strong(a, world)
    if n == 0:
        return a
    if a.ndim == 0:
        raise ShapeError("diff: the operand has no axis", expected="at least one axis", actual=repr(a.type))
    place = normalise_axis("diff", axis, a.ndim)
    ends = [v if v is None else strong(v, world) for v in (prepend, append)]
    thin = (*a.type.shape[:place], 1, *a.type.shape[place + 1 :])
    ends = [world.broadcast_to(v, shape=thin) if isinstance(v, Traced) and not v.ndim else v for v in ends]
    parts = [v for v in (ends[0], a, ends[1]) if isinstance(v, Traced)]
    if len(parts) > 1:
        a = world.apply("concatenate", [strong(v, world) for v in world.promote(parts)], axis=place)
    lead = (slice(None),) * place
    for _ in range(n):
        later, earlier = a[(*lead, slice(1, None))], a[(*lead, slice(None, -1))]
        a = later != earlier if a.type.dtype.kind == "b" else later - earlier
    return a
