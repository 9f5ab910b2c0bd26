"""The methods of NumPy's universal functions on traced values: reduce, accumulate, reduceat, outer."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from functools import lru_cache, wraps
from itertools import pairwise
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.errors import IndexingError
from graphc.numpy.checks import real_dtype
from graphc.numpy.dispatch import FUNCTIONS, any_traced, common_world, given, name_dtype, strong
from graphc.numpy.into import Out, store
from graphc.numpy.picking import fixed_size, static_array
from graphc.numpy.shaping import broadcast_to
from graphc.numpy.universal import METHODS_OF_TRACED
from graphc.ops.typing import check_axes, normalise_axis, reduced_shape
from graphc.tracing import Traced

Combine = Callable[[Any, Any], Any]

# ufuncs whose reduction is one op
REDUCERS: Final[dict[np.ufunc, str]] = {
    np.add: "reduce_sum",
    np.multiply: "reduce_prod",
    np.maximum: "reduce_max",
    np.minimum: "reduce_min",
    np.logical_and: "reduce_all",
    np.logical_or: "reduce_any",
    np.hypot: "reduce_norm",
    np.logaddexp: "logsumexp",
}
RUNNERS: Final[dict[np.ufunc, str]] = {
    np.add: "cumsum",
    np.multiply: "cumprod",
    np.maximum: "cummax",
    np.minimum: "cummin",
}
# of booleans, sums and products are `or` and `and`
OF_BOOLEANS: Final[dict[np.ufunc, np.ufunc]] = {np.add: np.logical_or, np.multiply: np.logical_and}
# ufuncs that give the same, but for rounding, however the elements are grouped
ASSOCIATIVE: Final[frozenset[np.ufunc]] = frozenset(
    {
        *REDUCERS,
        *(np.fmax, np.fmin, np.logaddexp2, np.logical_xor, np.gcd, np.lcm),
        *(np.bitwise_and, np.bitwise_or, np.bitwise_xor),
    }
)


def axes_of(name: str, axis: Any, rank: int) -> tuple[int, ...]:
    """NumPy's axis argument as ascending axes counted from the front."""
    if axis is None:
        return tuple(range(rank))
    given = axis if isinstance(axis, tuple) else (axis,)
    return check_axes(name, sorted(normalise_axis(name, operator.index(a), rank) for a in given), rank)


def reduced_axes(name: str, axis: Any, rank: int) -> tuple[int, ...]:
    """As `axes_of`, but that NumPy's reductions by ufunc let a scalar have an axis 0."""
    if rank == 0 and not isinstance(axis, tuple) and axis in (0, -1):
        return ()
    return axes_of(name, axis, rank)


def flag(keepdims: Any) -> bool:
    """NumPy's keepdims argument, which may be left out."""
    return keepdims is not np._NoValue and bool(keepdims)


@lru_cache(maxsize=1024)
def _loop(ufunc: np.ufunc, dtype: np.dtype[Any], wanted: np.dtype[Any] | None) -> np.dtype[Any]:
    """The dtype in which NumPy reduces; NumPy's own TypeError where there is none."""
    options: dict[str, Any] = {} if wanted is None else {"signature": (wanted, None, None), "casting": "unsafe"}
    found = ufunc.resolve_dtypes((None, dtype, None), reduction=True, **options)
    if len(set(found)) > 1:
        raise TypeError(f"the resolved dtypes are not compatible with {ufunc.__name__}.reduce. Resolved {found}")
    return found[0]


@lru_cache(maxsize=1024)
def _identity(ufunc: np.ufunc, dtype: np.dtype[Any]) -> Any:
    """What NumPy's reduction of nothing gives, as a Python number; None where it raises."""
    try:
        return ufunc.reduce(np.zeros(0, dtype), dtype=dtype).item()
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _check_reorderable(ufunc: np.ufunc, dtype: np.dtype[Any], count: int) -> None:
    """Raise as NumPy does for several axes at once, where the order of the elements matters."""
    ufunc.reduce(np.ones((1,) * count, dtype), axis=tuple(range(count)), dtype=dtype)


def check_binary(ufunc: np.ufunc, method: str) -> None:
    """Raise ValueError unless the ufunc takes two operands to one result."""
    if ufunc.nin != 2:
        raise ValueError(f"{method} only supported for binary functions")
    if ufunc.nout != 1:
        raise ValueError(f"{method} only supported for functions returning a single value")
    if ufunc.signature is not None:
        raise RuntimeError("Reduction is not defined on ufunc's with signatures")


def reduce(
    ufunc: np.ufunc,
    array: Any,
    axis: Any = 0,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = np._NoValue,
    where: Any = True,
    *,
    name: str | None = None,
) -> Any:
    """The elements along axes combined by a ufunc, first to last; `name` is what errors call it."""
    name = name or f"{ufunc.__name__}.reduce"
    check_binary(ufunc, "reduce")
    world = common_world(array, where, initial)
    x = strong(array, world)
    axes = reduced_axes(name, axis, x.ndim)
    kind = _loop(ufunc, x.type.dtype, None if dtype is None else real_dtype(dtype))
    _check_reorderable(ufunc, kind, len(axes))
    x = world.convert(x, kind)
    begin = world.convert(strong(initial, world), kind) if given(initial) else None
    mask = mask_of(name, where, x)
    if mask is not None and begin is None and _identity(ufunc, kind) is None:
        raise ValueError(
            f"reduction operation '{ufunc.__name__}' does not have an identity, so to use a where mask one has to "
            "specify 'initial'"
        )
    return _reduced(ufunc, name, x, axes, flag(keepdims), begin, mask)


def mask_of(name: str, where: Any, x: Any) -> Any:
    """The argument `where` of a reduction in the shape of its operand; None if every element counts."""
    if where is True or not given(where):
        return None
    mask = strong(where, x.world)
    if mask.type.dtype.kind != "b":
        raise TypeError(f"{name}: where= must be boolean, not {mask.type!r}")
    if mask.ndim > x.ndim:
        raise ValueError("input operand has more dimensions than allowed by the axis remapping")
    return broadcast_to(mask, x.type.shape)


def _reduced(ufunc: np.ufunc, name: str, x: Any, axes: tuple[int, ...], keep: bool, begin: Any, mask: Any) -> Any:
    world, kind = x.world, x.type.dtype
    operation = OF_BOOLEANS.get(ufunc, ufunc) if kind.kind == "b" else ufunc
    identity = _identity(ufunc, kind)
    if mask is not None and ufunc in ASSOCIATIVE:
        x = world.select(mask, x, begin if begin is not None and identity is None else identity)
    combine: Combine = FUNCTIONS[operation]
    if begin is not None and _is_empty(x, axes, identity is not None):
        return broadcast_to(begin, reduced_shape(x.type.shape, axes, keep))
    if operation in (np.fmax, np.fmin):
        total = _skipping(operation, x, axes, keep)
    elif operation in REDUCERS:
        total = world.apply(REDUCERS[operation], (x,), axes=axes, keepdims=keep)
    else:
        total = _folded(operation, name, x, axes, keep, begin, mask, identity)
        if operation not in ASSOCIATIVE:
            return total
    return total if begin is None else combine(begin, total)


def _is_empty(x: Any, axes: tuple[int, ...], may_be: bool) -> bool:
    """Whether the range over axes has no element; what the sizes leave open, a guard settles, unless it `may_be` so."""
    count = dims.product([x.type.shape[k] for k in axes])
    return dims.equal(count, 0) is True if may_be else not x.world.facts.settle("<=", 1, count)


def _skipping(ufunc: np.ufunc, x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    """The reduction of fmax or fmin: the extreme of what is no NaN."""
    world = x.world
    operation = "reduce_max" if ufunc is np.fmax else "reduce_min"
    if x.type.dtype.kind != "f":
        return world.apply(operation, (x,), axes=axes, keepdims=keep)
    missing = x != x
    neutral = -np.inf if ufunc is np.fmax else np.inf
    found = world.apply(operation, (world.select(missing, neutral, x),), axes=axes, keepdims=keep)
    return world.select(world.reduce_all(missing, axes=axes, keepdims=keep), np.nan, found)


def _folded(
    ufunc: np.ufunc, name: str, x: Any, axes: tuple[int, ...], keep: bool, begin: Any, mask: Any, identity: Any
) -> Any:
    """A reduction that no op does: in pairs of halves if the ufunc is associative, element by element otherwise."""
    world = x.world
    rest = tuple(k for k in range(x.ndim) if k not in axes)
    count = fixed_size(name, dims.product([x.type.shape[k] for k in axes]), "the size of a reduced axis")
    kept = tuple(x.type.shape[k] for k in rest)

    def in_front(v: Any) -> Any:
        return world.reshape(world.transpose(v, perm=(*axes, *rest)), shape=(count, *kept))

    x = in_front(x)
    combine: Combine = FUNCTIONS[ufunc]
    first = begin if identity is None or begin is not None else world.constant(identity, x.type.dtype)
    if count == 0 and first is None:
        raise ValueError(f"zero-size array to reduction operation {ufunc.__name__} which has no identity")
    if ufunc in ASSOCIATIVE:
        total = _by_halves(combine, x, count) if count else broadcast_to(first, kept)
    else:
        total = broadcast_to(begin, kept) if begin is not None else x[0]
        masks = None if mask is None else in_front(mask)
        for k in range(0 if begin is not None else 1, count):
            new = combine(total, x[k])
            total = new if masks is None else world.select(masks[k], new, total)
    return world.reshape(total, shape=_spread(axes, rest, kept)) if keep else total


def _spread(axes: tuple[int, ...], rest: tuple[int, ...], kept: tuple[Size, ...]) -> tuple[Size, ...]:
    """The sizes that are kept in their places, 1 in the others."""
    sizes: list[Size] = [1] * (len(axes) + len(rest))
    for k, size in zip(rest, kept, strict=True):
        sizes[k] = size
    return tuple(sizes)


def _by_halves(combine: Combine, x: Any, count: int) -> Any:
    """Combine the first half of the first axis with the second until one element is left."""
    world = x.world
    while count > 1:
        half = count // 2
        joined = combine(x[:half], x[half : 2 * half])
        x = world.concatenate(joined, x[2 * half :], axis=0) if count % 2 else joined
        count = half + count % 2
    return x[0]


def accumulate(ufunc: np.ufunc, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    """What `reduce` gives for the first element along an axis, the first two, and so on."""
    name = f"{ufunc.__name__}.accumulate"
    check_binary(ufunc, "accumulate")
    world = common_world(array)
    x = strong(array, world)
    if not x.ndim:
        raise TypeError("cannot accumulate on a scalar")
    place = normalise_axis(name, operator.index(0 if axis is None else axis), x.ndim)
    x = world.convert(x, _loop(ufunc, x.type.dtype, None if dtype is None else real_dtype(dtype)))
    operation = OF_BOOLEANS.get(ufunc, ufunc) if x.type.dtype.kind == "b" else ufunc
    if operation in RUNNERS:
        options = {"reverse": False} if operation in (np.add, np.multiply) else {}
        return world.apply(RUNNERS[operation], (x,), axis=place, **options)
    combine: Combine = FUNCTIONS[operation]
    count = fixed_size(name, x.type.shape[place], "the size along the axis")
    if count < 2:
        return x
    front = (place, *(k for k in range(x.ndim) if k != place))
    x = world.transpose(x, perm=front)
    result = _by_doubling(combine, x, count) if operation in ASSOCIATIVE else _one_by_one(combine, x, count)
    return world.transpose(result, perm=tuple(sorted(range(len(front)), key=front.__getitem__)))


def _by_doubling(combine: Combine, x: Any, count: int) -> Any:
    """Running combinations of 2, 4, 8, ... neighbours.

    W. D. Hillis and G. L. Steele, "Data parallel algorithms", Communications of the ACM 29, 1986.
    """
    step = 1
    while step < count:
        x = x.world.concatenate(x[:step], combine(x[:-step], x[step:]), axis=0)
        step *= 2
    return x


def _one_by_one(combine: Combine, x: Any, count: int) -> Any:
    rows = [x[0:1]]
    for k in range(1, count):
        rows.append(combine(rows[-1], x[k : k + 1]))
    return x.world.concatenate(*rows, axis=0)


def reduceat(ufunc: np.ufunc, array: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    """Reductions over the slices between indices, which must be known when the graph is traced."""
    name = f"{ufunc.__name__}.reduceat"
    check_binary(ufunc, "reduceat")
    x = strong(array, common_world(array))
    starts = static_array(name, "indices", indices)
    if starts.ndim != 1 or starts.dtype.kind not in "iub":
        raise TypeError(f"{name}: indices must be a vector of integers")
    place = normalise_axis(name, operator.index(axis), x.ndim)
    size = fixed_size(name, x.type.shape[place], "the size along the axis")
    outside = starts[(starts < 0) | (starts >= size)]
    if outside.size:
        raise IndexingError(f"index {outside[0]} out-of-bounds in {name} [0, {size})")
    kind = _loop(ufunc, x.type.dtype, None if dtype is None else real_dtype(dtype))
    x = x.world.convert(x, kind)
    whole = (slice(None),) * place
    parts = []
    for start, stop in pairwise([*starts.tolist(), size]):
        piece = x[(*whole, slice(start, stop if stop > start else start + 1))]
        parts.append(reduce(ufunc, piece, axis=place, dtype=kind, keepdims=True))
    if not parts:
        return x[(*whole, slice(0, 0))]
    return x.world.concatenate(*parts, axis=place)


def outer(ufunc: np.ufunc, a: Any, b: Any, /, **options: Any) -> Any:
    """The ufunc of every element of one array with every element of another."""
    if ufunc.signature is not None:
        raise TypeError("method outer is not allowed in ufunc with non-trivial signature")
    if ufunc.nin != 2:
        raise ValueError("outer product only supported for binary functions")
    first, second = (x if isinstance(x, Traced) else np.asarray(x) for x in (a, b))
    return FUNCTIONS[ufunc](first[(..., *(None,) * second.ndim)], second, **options)


def into(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of ufuncs that takes the argument `out` too."""
    signature = inspect.signature(method)

    @wraps(method)
    def apply(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        out = bound.arguments.pop("out", None)
        out = out[0] if isinstance(out, tuple) else out
        name_dtype(bound, out)
        ufunc, *rest = bound.args
        compute = method if any_traced((*rest,), bound.kwargs) else getattr(np.ufunc, method.__name__)
        result = compute(ufunc, *rest, **bound.kwargs)
        return store(f"np.{ufunc.__name__}.{method.__name__}", out, result, Out("unsafe")) if given(out) else result

    return apply


METHODS_OF_TRACED.update(reduce=into(reduce), accumulate=into(accumulate), reduceat=into(reduceat), outer=outer)
