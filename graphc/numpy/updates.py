"""Updates of parts of an array, each giving a new array: `x.at[index].set(values)`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.errors import DTypeError, ShapeError, UnsupportedError
from graphc.numpy.dispatch import common_world, strong
from graphc.numpy.elementwise import where
from graphc.numpy.indexing import Selection, array_axes, picked_layout, resolve, traced_mask
from graphc.numpy.marked import Marked, check_mask, over
from graphc.numpy.shaping import broadcast_to, concatenate, transpose
from graphc.ops.structure import sliced_size
from graphc.ops.typing import broadcast, show
from graphc.ops.world import size_value
from graphc.tracing import Traced, holds_traced, lift, user_locs

__all__ = [
    "at",
]


class at:
    """An array whose parts can be replaced: `at(x)[index].set(values)`, for traced values `x.at[index].set(values)`.

    The index is anything that `x[index]` takes. Nothing is changed in place: the result is a new array of the shape
    and dtype of `x`. Where an index names an element twice, `set` keeps the last value and the others apply all of
    them, as NumPy's `ufunc.at`.

    >>> import numpy as np, graphc
    >>> graphc.compile(lambda x: x.at[1:].add(10.0), "f64[3]")(np.array([1.0, 2.0, 3.0]))
    array([ 1., 12., 13.])
    >>> graphc.numpy.at(np.arange(4))[::2].set(0)
    array([0, 1, 0, 3])
    """

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = array

    def __getitem__(self, index: Any) -> Part:
        return Part(self.array, index)


class Part:
    """A part of an array that can be read or replaced."""

    __slots__ = ("array", "index")

    def __init__(self, array: Any, index: Any) -> None:
        self.array = array
        self.index = index

    def get(self) -> Any:
        """The part itself, `x[index]`."""
        return self._traced()[self.index] if self._is_traced() else np.asarray(self.array)[self.index]

    def set(self, values: Any) -> Any:
        """The array with the part replaced; values are cast to the array's dtype, as in an assignment."""
        return self._update("set", values)

    def add(self, values: Any) -> Any:
        """The array with values added to the part."""
        return self._update("add", values)

    def subtract(self, values: Any) -> Any:
        """The array with values subtracted from the part."""
        return self._update("subtract", values)

    def multiply(self, values: Any) -> Any:
        """The array with the part multiplied by values."""
        return self._update("multiply", values)

    def divide(self, values: Any) -> Any:
        """The array with the part divided by values."""
        return self._update("divide", values)

    def min(self, values: Any) -> Any:
        """The array with the part lowered to values where these are smaller."""
        return self._update("minimum", values)

    def max(self, values: Any) -> Any:
        """The array with the part raised to values where these are larger."""
        return self._update("maximum", values)

    def _is_traced(self, *values: Any) -> bool:
        index = self.index if isinstance(self.index, tuple) else (self.index,)
        return any(map(holds_traced, (self.array, *index, *values)))

    def _traced(self, *values: Any) -> Any:
        index = self.index if isinstance(self.index, tuple) else (self.index,)
        world = common_world(self.array, list(index), *values)
        return world.adopt(strong(self.array, world))

    def _update(self, function: str, values: Any) -> Any:
        if self._is_traced(values):
            return update(self._traced(values), self.index, function, values)
        result = np.array(self.array)
        if function == "set":
            result[self.index] = values
        else:
            getattr(np, function).at(result, self.index, values)
        return result


def update(x: Traced, key: Any, function: str, values: Any) -> Any:
    """The value with `function` applied to the part `x[key]` and `values`; "set" assigns."""
    world = x.world
    mask = traced_mask(key)
    if isinstance(values, Marked):
        return _marked(x, mask, function, values)
    new = _values(x, function, values)
    kind = new.type.dtype
    if mask is not None:
        return _masked(world, x, mask, function, new)
    part = resolve(x, key)
    value = part.sliced
    shape = _selected_shape(part)
    new = _fit(new, shape)
    if part.arrays:
        changed = _by_arrays(part, value, function, new)
    else:
        new = _shaped(new, value.type.shape)
        changed = new if function == "set" else _combine(function, world.convert(value, kind), new)
    changed = world.convert(changed, x.type.dtype)
    if part.whole:
        return changed
    return world.insert_slice(x, changed, index=tuple(part.index))


def _values(x: Traced, function: str, values: Any) -> Any:
    """The values in the dtype that is computed in: the array's own where they are assigned or weak."""
    own = x.type.dtype
    if function == "divide" and own.kind != "f":
        raise _unfit(function, own, "float64")
    if function == "set" or type(values) in (bool, int, float):
        if function != "set" and not np.can_cast(np.result_type(own, values), own, "same_kind"):
            raise _unfit(function, own, type(values).__name__)
        return strong(
            x.world.convert(values if type(values) in (bool, int, float) else lift(values, x.world), own), x.world
        )
    value = lift(values, x.world)
    common = x.world.promote((x, value))[1]
    kind = common.type.dtype
    if function == "subtract" and kind.kind == "b":
        raise DTypeError("numpy boolean subtract, the `-` operator, is not supported", fix="use ^ on booleans")
    if not np.can_cast(kind, own, "same_kind"):
        raise _unfit(function, own, str(kind))
    return strong(common, x.world)


def _unfit(function: str, own: np.dtype[Any], found: str) -> DTypeError:
    return DTypeError(
        f"at[...].{function}: the result cannot be stored in the array",
        expected=f"values that keep the dtype {own}",
        actual=found,
        fix=f"cast the array first: x.astype({found!r}).at[...]",
    )


def _fit(new: Any, shape: Any) -> Any:
    """The values broadcast to the part; NumPy's assignments ignore leading axes of size 1."""
    extra = new.ndim - len(shape)
    if extra > 0 and all(d == 1 for d in new.type.shape[:extra]):
        new = _shaped(new, new.type.shape[extra:])
    sizes = zip(new.type.shape[::-1], shape[::-1], strict=False)
    if new.ndim > len(shape) or not all(a == 1 or new.world.facts.equal(a, b) for a, b in sizes):
        raise ShapeError(
            "could not broadcast the values into the part of the array",
            expected=f"values that broadcast to {show(shape)}",
            actual=repr(new.type),
        )
    return broadcast_to(new, shape)


def _shaped(x: Any, shape: tuple[Any, ...]) -> Any:
    return x if x.type.shape == shape else x.world.reshape(x, shape=shape)


def _selected_shape(part: Selection) -> tuple[Any, ...]:
    """The shape of `x[key]`, without building it."""
    sizes = [sliced_size(*one) for one in part.index]
    layout = part.layout
    if not part.arrays:
        axes = iter(sizes)
        kept = [1 if kind == "new" else next(axes) for kind in layout]
        return tuple(d for d, kind in zip(kept, layout, strict=True) if kind != "drop")
    picked = broadcast(part.world.facts, "index", *[a.type.shape for a in part.arrays])
    axes = iter(sizes)
    rest = [(1 if kind == "new" else next(axes), kind) for kind in layout]
    others = [d for d, kind in rest if kind != "array"]
    _, together = array_axes(layout)
    first = layout.index("array") if together else 0
    return (*others[:first], *picked, *others[first:])


def _by_arrays(part: Selection, value: Any, function: str, new: Any) -> Any:
    """Update along the axes that have index arrays, brought to the front."""
    world, layout = part.world, part.layout
    axes, together = array_axes(layout)
    picked = broadcast(world.facts, "index", *[a.type.shape for a in part.arrays])
    shown = picked_layout(layout, len(picked))
    new = _shaped(new, tuple(d for d, kind in zip(new.type.shape, shown, strict=True) if kind != "new"))
    first = axes[0] if together else 0
    rank = len(picked)
    new = transpose(new, [*range(first, first + rank), *range(first), *range(first + rank, new.ndim)])
    others = [k for k in range(value.ndim) if k not in axes]
    y = transpose(value, [*axes, *others])
    count = dims.product(picked)
    new = _shaped(new, (count, *y.type.shape[len(axes) :]))
    index = [_shaped(broadcast_to(a, picked), (count,)) for a in part.arrays]
    result = _scatter(world, y, index, function, new, count)
    perm = [*axes, *others]
    return transpose(result, sorted(range(len(perm)), key=perm.__getitem__))


def _scatter(world: Any, y: Any, index: list[Any], function: str, new: Any, count: Any) -> Any:
    if count == 0:
        return y
    indexed = len(index)
    shape = y.type.shape[:indexed]
    rest = y.ndim - indexed
    last = world.last_write(*index, shape=shape)
    written = _shaped(last >= 0, (*shape, *(1,) * rest))
    own, kind = y.type.dtype, new.type.dtype
    distinct = count == 1 or _distinct(world, index, shape)
    if function in ("add", "subtract") and not distinct and kind.kind != "b":
        if function == "subtract":
            new = -new
        total = world.scatter_add(new, *index, axis=0, shape=y.type.shape)
        return where(written, world.convert(world.convert(y, kind) + total, own), y)
    if function != "set":
        if not distinct:
            function, new = _together(world, index, shape, function, new, count)
        current = world.convert(world.gather(y, *index, axis=0), kind)
        new = world.convert(_combine(function, current, new), own)
    if not isinstance(count, int):
        # there may be no update at all: a row to take where nothing was written
        new = concatenate([new, world.full(0, type(new.type)((1, *new.type.shape[1:]), own))])
    else:
        last = np.maximum(last, 0)
    return where(written, world.gather(new, last, axis=0), y)


def _distinct(world: Any, index: list[Any], shape: Any) -> bool:
    """Whether the positions are known, and no two are the same."""
    nodes = world.builder.nodes
    arrays = []
    for one, size in zip(index, shape, strict=True):
        array = _known(nodes, one.id)
        if array is None or not isinstance(size, int):
            return False
        arrays.append(array % size if size else array)
    rows = np.stack(arrays, axis=-1)
    return len(np.unique(rows, axis=0)) == len(rows)


def _known(nodes: Any, node: int) -> Any:
    """The array behind a constant, if need be a reshaped or broadcast one."""
    data = nodes[node]
    if data["op"] == "const":
        return data["attrs"][0][1].array
    if data["op"] in ("reshape", "broadcast_to"):
        inner = _known(nodes, data["args"][0])
        shape = data["type"].shape
        if inner is None or not all(isinstance(d, int) for d in shape):
            return None
        return inner.reshape(shape) if data["op"] == "reshape" else np.broadcast_to(inner, shape)
    return None


REDUCERS: Final = {
    "multiply": "reduce_prod",
    "divide": "reduce_prod",
    "minimum": "reduce_min",
    "maximum": "reduce_max",
}


def _identity(function: str, dtype: np.dtype[Any]) -> Any:
    """What leaves every value as it is."""
    if function in ("multiply", "divide"):
        return 1
    lowest = function == "maximum"
    if dtype.kind == "b":
        return not lowest
    if dtype.kind == "f":
        return -np.inf if lowest else np.inf
    return np.iinfo(dtype).min if lowest else np.iinfo(dtype).max


def _together(world: Any, index: list[Any], shape: Any, function: str, new: Any, count: Any) -> tuple[str, Any]:
    """For each update, all updates of the same element joined: quadratic in their number."""
    if new.type.dtype.kind == "b":
        # products and sums of booleans are `and` and `or`
        function = {"multiply": "minimum", "add": "maximum"}.get(function, function)
    same = None
    for one, size in zip(index, shape, strict=True):
        place = where(one < 0, one + size_value(world, size), one)
        equal = _shaped(place, (count, 1)) == _shaped(place, (1, count))
        same = equal if same is None else same & equal
    rest = new.type.shape[1:]
    mask = _shaped(same, (count, count, *(1,) * len(rest)))
    spread = _shaped(new, (1, count, *rest))
    neutral = world.constant(_identity(function, new.type.dtype), new.type.dtype)
    joined = where(mask, spread, neutral)
    if not isinstance(count, int):
        # there may be no update at all, and nothing has no largest element
        extra = broadcast_to(neutral, (count, 1, *rest))
        joined = world.concatenate(joined, extra, axis=1)
    return function, world.apply(REDUCERS[function], (joined,), axes=(1,), keepdims=False)


def _combine(function: str, current: Any, new: Any) -> Any:
    return getattr(np, function)(current, new)


def uncounted(new: Any, rest: tuple[Any, ...]) -> UnsupportedError:
    """The refusal of as many values as a traced mask marks elements."""
    return UnsupportedError(
        "values for a traced mask would have to be counted when the graph runs",
        expected=f"one value, values of shape {show(rest)}, or values[mask] with the same mask",
        actual=repr(new.type),
        loc=(user_locs() or (None,))[0],
        fix="np.where(mask, new, x) with values in the shape of x",
    )


def _marked(x: Any, mask: Any, function: str, values: Marked) -> Any:
    """An update where a traced mask holds, by values that stand under the same mask."""
    if mask is None:
        raise UnsupportedError(
            "elements under a traced mask can only be assigned where that mask holds",
            expected="y[mask] = x[mask], with one and the same mask",
            actual="another index",
            loc=(user_locs() or (None,))[0],
            fix="np.where(mask, x, y)",
        )
    check_mask(x, mask)
    new = _values(x, function, values.under(mask))
    if new.ndim > x.ndim:
        raise ShapeError("could not broadcast the values into the part of the array", actual=repr(new.type))
    new = _shaped(new, (*mask.type.shape, *(1,) * (x.ndim - new.ndim), *new.type.shape[mask.ndim :]))
    if function != "set":
        new = x.world.convert(_combine(function, x.world.convert(x, new.type.dtype), new), x.type.dtype)
    return where(over(mask, x.ndim - mask.ndim), broadcast_to(new, x.type.shape), x)


def _masked(world: Any, x: Any, mask: Any, function: str, new: Any) -> Any:
    """An update where a traced mask holds: possible if the values do not depend on how many elements that are."""
    check_mask(x, mask)
    rest = x.type.shape[mask.ndim :]
    if new.ndim > len(rest):
        if not (new.ndim == len(rest) + 1 and new.type.shape[0] == 1):
            raise uncounted(new, rest)
        new = _shaped(new, new.type.shape[1:])
    new = broadcast_to(new, rest) if new.type.shape != rest else new
    mask = over(mask, len(rest))
    if function != "set":
        new = world.convert(_combine(function, world.convert(x, new.type.dtype), new), x.type.dtype)
    return where(mask, new, x)
