"""Assignment into arrays: `x[index] = values`, and NumPy's functions and methods that write into their operand."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.errors import DTypeError, ShapeError, UnsupportedError
from graphc.ir import static_shape
from graphc.numpy.checks import clip_mode
from graphc.numpy.dispatch import FUNCTIONS, common_world, strong, traceable
from graphc.numpy.elementwise import astype
from graphc.numpy.elementwise import where as where_
from graphc.numpy.indexing import getitem, written_out
from graphc.numpy.into import Out, refuse_plain, store
from graphc.numpy.joining import without_leading_ones
from graphc.numpy.marked import check_mask, over
from graphc.numpy.picking import fixed_size
from graphc.numpy.shaping import ravel, reshape
from graphc.numpy.sorting import partition, sort
from graphc.numpy.universal import METHODS_OF_TRACED
from graphc.numpy.updates import uncounted, update
from graphc.ops.typing import normalise_axis
from graphc.ops.world import size_value
from graphc.tracing import (
    Traced,
    check_writable,
    is_scalar,
    lift,
    same_storage,
    snapshot,
    user_locs,
    variable_name,
    write,
)

__all__ = ["copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask"]


def setitem(x: Traced, key: Any, values: Any) -> None:
    """`x[key] = values`: every name of the array, and every view of it, shows the new elements."""
    what = f"{variable_name(x) or 'x'}[...] = ..."
    check_writable(x, what)
    if isinstance(values, Traced) and same_storage(x, values):
        part = getitem(x, key)
        # `x[key] += y` ends with the assignment of the part to itself
        if part.memory is not None and values.memory is not None and part.memory.path == values.memory.path:
            return
    items = key if isinstance(key, tuple) else (key,)
    if len(items) == x.ndim and all(map(_is_position, items)) and np.ndim(values):
        raise ShapeError(
            "setting an array element with a sequence",
            expected="a number for one element",
            actual=repr(values.type) if isinstance(values, Traced) else f"an array of shape {np.shape(values)}",
            fix="assign values[()] or values[0], or a slice: x[i : i + 1] = values",
        )
    if len(items) > 1 and any(map(_is_mask, items)):
        _assign_where(x, items, values, what)
    else:
        write(x, _updated(x, key, "set", values), what)


def _is_mask(item: Any) -> bool:
    return isinstance(item, Traced) and item.type.dtype.kind == "b"


def _assign_where(x: Traced, items: tuple[Any, ...], values: Any, what: str) -> None:
    """`x[:, mask] = values` and the like: a traced mask beside slices and integers."""
    items = tuple(written_out(items, x))
    place = next(k for k, i in enumerate(items) if _is_mask(i))
    mask, before, after = items[place], items[:place], items[place + 1 :]
    simple = all(i is None or isinstance(i, slice) for i in (*before, *after))
    if not mask.ndim or not all(i is None or isinstance(i, slice) or _is_position(i) for i in (*before, *after)):
        raise UnsupportedError(
            "a traced boolean mask beside index arrays gives a part whose size depends on values",
            expected="one mask beside slices, integers and new axes",
            actual=f"an index of {len(items)} parts",
            loc=(user_locs() or (None,))[0],
            fix="np.where(mask, new, x)",
        )
    part = getitem(x, (*before, *(slice(None),) * mask.ndim, *after))
    axis = sum(not _is_position(i) for i in before)
    check_mask(part, mask, axis)
    rest = part.ndim - axis - mask.ndim
    world = common_world(part, mask, values)
    new = world.convert(lift(values, world), x.type.dtype)
    if new.ndim > rest:
        # where the marked elements are counted, there has to be a 1; and integers apart from the mask move that axis
        lead = new.ndim - rest - 1
        if not simple or new.type.shape[lead] != 1:
            raise uncounted(new, part.type.shape[axis + mask.ndim :])
        new = reshape(new, (*new.type.shape[:lead], *(1,) * mask.ndim, *new.type.shape[lead + 1 :]))
    write(part, where_(over(mask, rest), new, part), what)


def _is_position(item: Any) -> bool:
    """Whether an item of a key is a single integer."""
    if isinstance(item, Traced):
        return is_scalar(item) and item.type.dtype.kind in "iu"
    return isinstance(item, (int, np.integer)) and not isinstance(item, bool)


def _updated(x: Traced, key: Any, function: str, values: Any) -> Traced:
    items = list(key) if isinstance(key, tuple) else [key]
    world = common_world(x, items, values)
    return update(world.adopt(snapshot(x)), key, function, values)  # type: ignore[no-any-return]


def target_of(what: str, array: Any) -> Traced:
    """The array that a function writes into; UnsupportedError where it is a plain one."""
    if not isinstance(array, Traced):
        refuse_plain(what)
    check_writable(array, what)
    return array


# ufuncs of which each element takes all its updates, however often an index names it
REPEATABLE = ("add", "subtract", "multiply", "divide", "minimum", "maximum")


def ufunc_at(ufunc: np.ufunc, array: Any, indices: Any, *values: Any) -> None:
    """`ufunc.at(array, indices, values)`: elements that are named twice are changed twice."""
    name = f"np.{ufunc.__name__}.at"
    x = target_of(name, array)
    if len(values) != ufunc.nin - 1 or ufunc.nout != 1:
        raise ValueError(f"{name} takes one operand, its indices, and values for a second operand if there is one")
    if _named_once(x, indices):
        # here NumPy casts whatever comes out to what the array holds
        write(x, _updated(x, indices, "set", FUNCTIONS[ufunc](getitem(x, indices), *values)), name)
    elif ufunc.__name__ in REPEATABLE:
        write(x, _updated(x, indices, ufunc.__name__, *values), name)
    else:
        raise UnsupportedError(
            f"{name} cannot be traced where an index may name an element twice",
            expected="positions that are known when the graph is traced, each named once",
            actual=f"an index into {x.type!r}",
            loc=(user_locs() or (None,))[0],
            fix=f"x[index] = np.{ufunc.__name__}(x[index], ...), if no element is named twice",
        )


def _named_once(x: Traced, indices: Any) -> bool:
    """Whether an index is known, and names no element twice."""
    items = indices if isinstance(indices, tuple) else (indices,)
    shape = static_shape(x.type.shape)
    if shape is None or any(isinstance(i, Traced) for i in items):
        return False
    named = np.arange(math.prod(shape)).reshape(shape)[indices]
    return bool(np.unique(named).size == named.size)


METHODS_OF_TRACED["at"] = ufunc_at


@traceable(np.copyto)
def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """Write values into an array, where a mask holds; they are broadcast to it, and cast as `casting` allows."""
    x = target_of("np.copyto", dst)
    value = src
    if type(src) in (bool, int, float):
        # a Python number is cast as the scalar that it is
        if not np.can_cast(np.result_type(x.type.dtype, src), x.type.dtype, casting):
            raise _no_cast("np.copyto", x, type(src).__name__, casting)
        value = lift(np.asarray(src).astype(x.type.dtype), x.world)
    if not isinstance(value, Traced):
        value = lift(value, x.world)
    store("np.copyto", x, without_leading_ones(value, x.ndim), Out(casting, spread=True), where)


def _no_cast(what: str, x: Traced, found: str, casting: Any) -> DTypeError:
    return DTypeError(
        f"{what}: a {found} cannot be stored in an array of dtype {x.type.dtype}",
        expected=f"values that casting={str(casting)!r} allows to cast to {x.type!r}",
        actual=found,
        fix="cast the values, or the array",
    )


def fill(x: Traced, value: Any) -> None:
    """`x.fill(value)`: every element becomes the value, cast to the array's dtype."""
    if np.ndim(value):
        raise ShapeError("fill: the value must be a number", expected="a scalar", actual=f"{np.ndim(value)} axes")
    write(x, _updated(x, ..., "set", value), "x.fill(...)")


def sort_in_place(x: Traced, axis: int = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> None:
    """`x.sort()`."""
    write(x, sort(x, normalise_axis("sort", axis, x.ndim), kind, order, stable=stable), "x.sort()")


def partition_in_place(x: Traced, kth: Any, axis: int = -1, kind: str = "introselect", order: Any = None) -> None:
    """`x.partition(kth)`."""
    write(x, partition(x, kth, normalise_axis("partition", axis, x.ndim), kind, order), "x.partition(...)")


def _count(x: Any) -> Any:
    size = dims.product(x.type.shape)
    return size if isinstance(size, int) else size_value(x.world, size)


def _repeated(values: Any, world: Any, places: Any) -> Any:
    """Values in one line, taken again from the first where they are too few: those at the places."""
    line = ravel(strong(values, world))
    count = _count(line)
    if isinstance(count, int) and count == 1:
        return line
    return world.gather(line, strong(places % count, world), axis=0)


@traceable(np.put)
def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    """Write values at positions of the array in one line, repeating them where they are too few."""
    x = target_of("np.put", a)
    world = common_world(x, ind, v)
    index: Any = ravel(ind) if isinstance(ind, Traced) else np.asarray(ind, None if np.size(ind) else int).ravel()
    if index.dtype.kind not in "iub":
        raise TypeError("Cannot cast array data to int64 according to the rule 'safe': np.put takes whole positions")
    index = astype(index, np.int64)
    size, mode = _count(x), clip_mode(mode)
    if mode == "wrap":
        index = index % size
    elif mode == "clip":
        index = np.clip(index, 0, size - 1)
    if dims.equal(_elements(index), 0):
        return
    if dims.equal(dims.product(x.type.shape), 0):
        raise IndexError("cannot replace elements of an empty array")
    if dims.equal(_elements(v), 0):
        return
    positions = world.iota(size=_elements(index), dtype=np.dtype(np.int64))
    _write_line(x, index, _repeated(v, world, positions), "np.put")


def _elements(values: Any) -> Size:
    return dims.product(values.type.shape) if isinstance(values, Traced) else int(np.size(values))


def _write_line(x: Traced, key: Any, values: Any, what: str) -> None:
    """Write into an array as if its elements stood in one line, in C's order."""
    line = snapshot(x).world.reshape(snapshot(x), shape=(dims.product(x.type.shape),))
    changed = _updated(line, key, "set", values)
    write(x, changed.world.reshape(changed, shape=x.type.shape), what)


@traceable(np.putmask)
def putmask(a: Any, /, mask: Any, values: Any) -> None:
    """Write values where a mask holds: at the n-th element, the n-th value, repeating them where they are too few."""
    x = target_of("np.putmask", a)
    world = common_world(x, mask, values)
    chosen = _mask("putmask", x, mask, world)
    if dims.equal(_elements(values), 0):
        return
    positions = world.iota(size=dims.product(x.type.shape), dtype=np.dtype(np.int64))
    given = strong(values, world)
    new = given if given.type.shape == x.type.shape else _line_like(x, _repeated(values, world, positions))
    write(x, where_(chosen, world.convert(new, x.type.dtype), x), "np.putmask")


def _line_like(x: Traced, line: Any) -> Any:
    """Elements in one line in the shape of the array; one alone is broadcast."""
    return reshape(line, ()) if line.type.shape == (1,) else reshape(line, x.type.shape)


def _mask(function: str, x: Traced, mask: Any, world: Any) -> Any:
    chosen = strong(mask, world)
    if chosen.type.dtype.kind != "b":
        chosen = chosen != 0
    if not dims.equal(dims.product(chosen.type.shape), dims.product(x.type.shape)):
        raise ShapeError(
            f"{function}: mask and data must be the same size",
            expected=f"a mask with as many elements as {x.type!r}",
            actual=repr(chosen.type),
        )
    return reshape(chosen, x.type.shape)


@traceable(np.place)
def place(arr: Any, mask: Any, vals: Any) -> None:
    """Write values where a mask holds: at the n-th place that it marks, the n-th value, repeating them."""
    x = target_of("np.place", arr)
    world = common_world(x, mask, vals)
    chosen = _mask("place", x, mask, world)
    if dims.equal(_elements(vals), 0):
        if dims.equal(dims.product(x.type.shape), 0):
            return
        raise ValueError("Cannot insert from an empty array!")
    line = ravel(chosen)
    number = np.cumsum(line) - 1
    # before the first place the number is -1, and nothing is written
    new = _line_like(x, _repeated(vals, world, np.maximum(number, 0)))
    write(x, where_(chosen, world.convert(new, x.type.dtype), x), "np.place")


@traceable(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    """Write values along the main diagonal, repeating them where they are too few; with `wrap`, again below it."""
    x = target_of("np.fill_diagonal", a)
    if x.ndim < 2:
        raise ValueError("array must be at least 2-d")
    shape = tuple(fixed_size("fill_diagonal", d) for d in x.type.shape)
    total = int(np.prod(shape, dtype=int))
    end: int | None = None
    if len(shape) == 2:
        step = shape[1] + 1
        if not wrap:
            end = shape[1] * shape[1]
    else:
        if len(set(shape)) > 1:
            raise ValueError("All dimensions of input must be of equal length")
        step = 1 + int(np.cumprod(shape[:-1], dtype=int).sum())
    places = range(total)[:end:step]
    if not len(places) or dims.equal(_elements(val), 0):
        return
    world = common_world(x, val)
    numbers = lift(np.arange(len(places)), world)
    _write_line(x, slice(0, end, step), _repeated(val, world, numbers), "np.fill_diagonal")


@traceable(np.put_along_axis)
def put_along_axis(arr: Any, indices: Any, values: Any, axis: int | None) -> None:
    """Write values at positions along an axis, one line of positions for each line of the array."""
    x = target_of("np.put_along_axis", arr)
    world = common_world(x, indices, values)
    index = strong(indices, world)
    if index.type.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    if axis is None:
        if index.ndim != 1:
            raise ValueError("when axis=None, `indices` must have a single dimension.")
        _write_line(x, index, values, "np.put_along_axis")
        return
    line = normalise_axis("put_along_axis", axis, x.ndim)
    if index.ndim != x.ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    places = []
    for k, size in enumerate(x.type.shape):
        if k == line:
            places.append(index)
        else:
            counted = world.iota(size=size, dtype=np.dtype(np.int64))
            places.append(world.reshape(counted, shape=tuple(size if i == k else 1 for i in range(x.ndim))))
    write(x, _updated(x, tuple(places), "set", values), "np.put_along_axis")


def set_shape(x: Traced, shape: Any) -> None:
    """`x.shape = shape`: the same elements, under the same name, in another shape; never a copy."""
    if is_scalar(x):
        raise AttributeError("the shape of a number cannot be set")
    result = reshape(x, shape)
    if not same_storage(x, result):
        raise AttributeError(
            "Incompatible shape for in-place modification. Use `.reshape()` to make a copy with the desired shape."
        )
    x.world, x.id, x.memory = result.world, result.id, result.memory


class flat:
    """The elements of an array in C's order: `x.flat[3]`, `x.flat[::2] = 0`, or one after the other in a loop."""

    __slots__ = ("array",)

    def __init__(self, array: Traced) -> None:
        self.array = array

    def _line(self) -> Any:
        x = snapshot(self.array)
        return x.world.reshape(x, shape=(dims.product(x.type.shape),))

    def __getitem__(self, index: Any) -> Any:
        return snapshot(self._line()[index])

    def __setitem__(self, index: Any, values: Any) -> None:
        check_writable(self.array, "x.flat[...] = ...")
        line = self._line()
        part = line[index]
        count = dims.product(part.type.shape)
        if dims.equal(_elements(values), 0) or dims.equal(count, 0):
            return
        world = common_world(line, values)
        numbers = world.iota(size=count, dtype=np.dtype(np.int64))
        _write_line(self.array, index, _shaped_as(part, _repeated(values, world, numbers)), "x.flat[...] = ...")

    def __iter__(self) -> Any:
        return iter(self._line())

    def __len__(self) -> int:
        return builtins.len(self._line())

    @property
    def base(self) -> Traced:
        """The array whose elements these are."""
        return self.array

    def copy(self) -> Any:
        """The elements in an array of one axis."""
        return snapshot(self._line())


def _shaped_as(part: Any, line: Any) -> Any:
    return reshape(line, ()) if line.type.shape == (1,) else reshape(line, part.type.shape)
